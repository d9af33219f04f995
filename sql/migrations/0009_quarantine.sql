-- What became of a refused row. It stays where it is, with its reason, whatever that is.
ALTER TABLE ops.quarantine
    -- open: refused, and nobody has done anything about it. replayed: it was loaded by a later
    -- run. superseded: newer data stands where it would have gone. dismissed: somebody said so.
    ADD COLUMN state text NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'replayed', 'superseded', 'dismissed')),
    ADD COLUMN handled_at timestamptz,
    -- The run that handled it, or tried last.
    ADD COLUMN handled_run_id bigint REFERENCES ops.runs,
    ADD COLUMN handled_by text,
    ADD COLUMN handled_why text;

CREATE INDEX quarantine_open ON ops.quarantine (pipeline, brand, file_id, source_row) WHERE state = 'open';
