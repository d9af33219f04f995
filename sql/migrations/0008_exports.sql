-- What was written back to Dataverse, so that only what changed is sent again.
CREATE SCHEMA IF NOT EXISTS ops;

CREATE TABLE ops.exported (
    organization_id text NOT NULL,
    entity_set text NOT NULL,
    pipeline text NOT NULL,
    brand text NOT NULL,
    -- The alternate key as an address writes it, in lower case.
    row_key text NOT NULL,
    -- SHA-256 of the row's other columns as the service keeps them.
    body_hash text NOT NULL,
    run_id bigint NOT NULL REFERENCES ops.runs,
    exported_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, entity_set, pipeline, brand, row_key)
);

-- Rows that Dataverse, or a column's type, refused; a row leaves once it is written.
CREATE TABLE ops.export_rejects (
    organization_id text NOT NULL,
    entity_set text NOT NULL,
    pipeline text NOT NULL,
    brand text NOT NULL,
    -- The key, or the row's number in the query where it has none.
    row_key text NOT NULL,
    run_id bigint NOT NULL REFERENCES ops.runs,
    source_row bigint NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    rejected_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, entity_set, pipeline, brand, row_key)
);
