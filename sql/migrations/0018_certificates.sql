-- Certificates of isolation: one line for each audit. The documents are files.
CREATE TABLE ops.certificates (
    certificate_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance     text NOT NULL,
    made_at      timestamptz NOT NULL,
    -- Why: a command, an apply, or the daemon's schedule.
    occasion     text NOT NULL CHECK (occasion IN ('command', 'apply', 'schedule')),
    metabase     text NOT NULL,
    storekeeper  text NOT NULL,
    people       bigint NOT NULL,
    checks       bigint NOT NULL,
    leaks        bigint NOT NULL,
    failures     bigint NOT NULL,
    seconds      double precision NOT NULL,
    -- False where foreign places were drawn.
    complete     boolean NOT NULL,
    outcome      text NOT NULL CHECK (outcome IN ('clean', 'leaks', 'lacks')),
    -- The same findings have the same; a mail tells of each outcome once.
    outcome_hash text NOT NULL,
    json_path    text NOT NULL,
    html_path    text NOT NULL,
    sha256       text NOT NULL,
    mailed_at    timestamptz
);

CREATE INDEX certificates_newest ON ops.certificates (instance, certificate_id DESC);
