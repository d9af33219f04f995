-- What ran, what was loaded from which file, and what was refused.
CREATE SCHEMA ops;

CREATE TABLE ops.runs (
    run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    brand text NOT NULL,
    trigger text NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'succeeded', 'nothing_new', 'failed', 'interrupted')),
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    rows_loaded bigint NOT NULL DEFAULT 0,
    rows_quarantined bigint NOT NULL DEFAULT 0,
    error text,
    -- The whole report, as `run --format json` prints it.
    report jsonb
);
CREATE INDEX ON ops.runs (pipeline, brand, run_id DESC);

CREATE TABLE ops.loads (
    load_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES ops.runs,
    pipeline text NOT NULL,
    brand text NOT NULL,
    table_name text NOT NULL,
    committed_at timestamptz NOT NULL
);
CREATE INDEX ON ops.loads (run_id);

-- A file is known by its content, in the order in which it was loaded.
CREATE TABLE ops.files (
    file_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    load_id bigint NOT NULL REFERENCES ops.loads,
    pipeline text NOT NULL,
    brand text NOT NULL,
    name text NOT NULL,
    content_hash text NOT NULL,
    size_bytes bigint NOT NULL,
    sheet text,
    rows_read bigint NOT NULL DEFAULT 0,
    -- Where it was, for files of a drive.
    drive_id text,
    item_id text,
    version text,
    modified_at timestamptz,
    modified_by text
);
CREATE INDEX ON ops.files (pipeline, brand, name, file_id DESC);
CREATE INDEX ON ops.files (pipeline, brand, content_hash);
CREATE INDEX ON ops.files (load_id);

-- Rows that were refused, kept with their reason until somebody mends them.
CREATE TABLE ops.quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES ops.runs,
    load_id bigint NOT NULL REFERENCES ops.loads,
    file_id bigint NOT NULL REFERENCES ops.files,
    pipeline text NOT NULL,
    brand text NOT NULL,
    source_row bigint NOT NULL,
    column_name text NOT NULL,
    rule text NOT NULL,
    reason text NOT NULL,
    -- What stood in that column; empty where it is personal.
    value text,
    -- The whole row as it came, by column of the contract.
    row_values jsonb NOT NULL
);
CREATE INDEX ON ops.quarantine (run_id);
