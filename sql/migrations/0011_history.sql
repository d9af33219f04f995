-- What rows were before a load changed them, so that a load can be undone and a table be
-- read as it was known. The earlier rows themselves are in history_<brand>.

ALTER TABLE ops.loads
    -- The load that took this one back.
    ADD COLUMN undone_by bigint REFERENCES ops.loads,
    -- The load that this one takes back.
    ADD COLUMN undoes bigint REFERENCES ops.loads,
    -- Whether the rows that it replaced were kept. Loads of earlier versions kept none.
    ADD COLUMN kept_history boolean NOT NULL DEFAULT false,
    ADD COLUMN rows_inserted bigint NOT NULL DEFAULT 0,
    ADD COLUMN rows_updated bigint NOT NULL DEFAULT 0,
    ADD COLUMN rows_unchanged bigint NOT NULL DEFAULT 0,
    ADD COLUMN rows_deleted bigint NOT NULL DEFAULT 0,
    -- The loads whose rows this one brought again, with the same values.
    ADD COLUMN confirmed bigint[] NOT NULL DEFAULT '{}',
    -- Of which part of the table this load is the whole truth: {} for all of it, or the
    -- least and the greatest value of each column that makes a window.
    ADD COLUMN covers jsonb;

CREATE INDEX ON ops.loads (brand, table_name, load_id);

-- What a load was made of besides its files: the rows of another table up to a load, for
-- a forecast; the load whose refused rows came after all, for a replay.
CREATE TABLE ops.load_inputs (
    load_id bigint NOT NULL REFERENCES ops.loads,
    -- The last load that the input held.
    input_load_id bigint NOT NULL REFERENCES ops.loads,
    PRIMARY KEY (load_id, input_load_id)
);
CREATE INDEX ON ops.load_inputs (input_load_id);

-- A file whose load was taken back only because it built on another: its content counts as
-- never seen, so that the next run loads it again.
ALTER TABLE ops.files ADD COLUMN released boolean NOT NULL DEFAULT false;

-- Refused rows of a load that was taken back.
ALTER TABLE ops.quarantine DROP CONSTRAINT quarantine_state_check;
ALTER TABLE ops.quarantine ADD CONSTRAINT quarantine_state_check
    CHECK (state IN ('open', 'replayed', 'superseded', 'dismissed', 'undone'));

-- What is to be made again because what it was made of was taken back.
CREATE TABLE ops.stale (
    pipeline text NOT NULL,
    brand text NOT NULL,
    -- The load that took it back.
    load_id bigint NOT NULL REFERENCES ops.loads,
    since timestamptz NOT NULL,
    PRIMARY KEY (pipeline, brand)
);
