-- What the columns of files were, which of them a table took over by itself, and
-- which files were refused while others of the same run were loaded.

-- The header of the last file of each pipeline and brand, to tell what changed.
CREATE TABLE ops.file_columns (
    pipeline text NOT NULL,
    brand text NOT NULL,
    file_id bigint NOT NULL REFERENCES ops.files,
    -- In the file's order: [{"name": ..., "looks_like": ...}].
    columns jsonb NOT NULL,
    PRIMARY KEY (pipeline, brand)
);

-- Columns that no contract names and `new_columns = "evolve"` made.
CREATE TABLE ops.evolved_columns (
    pipeline text NOT NULL,
    brand text NOT NULL,
    name text NOT NULL,
    -- As files spell it.
    source_name text NOT NULL,
    load_id bigint NOT NULL REFERENCES ops.loads,
    PRIMARY KEY (pipeline, brand, name)
);

-- `partial`: some files were loaded, others refused; the refused are read again.
ALTER TABLE ops.runs DROP CONSTRAINT runs_status_check;
ALTER TABLE ops.runs ADD CONSTRAINT runs_status_check
    CHECK (status IN ('running', 'succeeded', 'partial', 'nothing_new', 'failed', 'interrupted'));
