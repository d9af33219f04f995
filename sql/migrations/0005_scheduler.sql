-- The scheduler's memory: what each schedule is, and what became of every occurrence.
CREATE SCHEMA IF NOT EXISTS ops;

CREATE TABLE ops.schedules (
    pipeline text NOT NULL,
    brand text NOT NULL,
    cron text NOT NULL,
    time_zone text NOT NULL,
    -- Occurrences before this are nobody's: the schedule was not known, or another one.
    since_at timestamptz NOT NULL,
    PRIMARY KEY (pipeline, brand)
);

CREATE TABLE ops.schedule_occurrences (
    occurrence_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    brand text NOT NULL,
    due_at timestamptz NOT NULL,
    trigger text NOT NULL CHECK (trigger IN ('schedule', 'catch_up')),
    decision text NOT NULL CHECK (decision IN ('started', 'waiting', 'skipped')),
    -- Why it was skipped, or waits again.
    reason text,
    decided_at timestamptz NOT NULL,
    -- Which daemon runs it, and when that daemon last said so.
    daemon text,
    seen_at timestamptz,
    attempts int NOT NULL DEFAULT 0,
    started_at timestamptz,
    finished_at timestamptz,
    run_id bigint,
    status text,
    UNIQUE (pipeline, brand, due_at)
);

CREATE INDEX schedule_occurrences_open ON ops.schedule_occurrences (pipeline, brand)
    WHERE decision = 'waiting' OR (decision = 'started' AND finished_at IS NULL);
