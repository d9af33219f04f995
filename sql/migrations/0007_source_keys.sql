-- Which row of a table each row of a source became, so that a deleted one is found.

-- The key holds the destination's key columns by name. A source tells of a deleted
-- row by its id alone.
CREATE TABLE ops.source_keys (
    pipeline text NOT NULL,
    brand text NOT NULL,
    source_id text NOT NULL,
    key jsonb NOT NULL,
    PRIMARY KEY (pipeline, brand, source_id)
);
