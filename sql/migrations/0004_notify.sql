-- Mail on its way: written first, sent then, so that a crash neither loses nor repeats one.
CREATE SCHEMA IF NOT EXISTS ops;

CREATE TABLE ops.mail_outbox (
    mail_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- What the mail is about: a second one with the same key is not queued.
    idempotency_key text NOT NULL UNIQUE,
    message_id text NOT NULL UNIQUE,
    subject text NOT NULL,
    sender text NOT NULL,
    recipients text[] NOT NULL,
    -- The whole message: every attempt sends the same bytes.
    eml bytea NOT NULL,
    eml_path text,
    html_path text,
    -- sending: claimed by a process. uncertain: it may have arrived, and is not sent again.
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'sending', 'sent', 'uncertain', 'failed')),
    attempts int NOT NULL DEFAULT 0,
    queued_at timestamptz NOT NULL,
    next_attempt_at timestamptz NOT NULL,
    claimed_at timestamptz,
    finished_at timestamptz,
    reason text
);

CREATE INDEX mail_outbox_waiting ON ops.mail_outbox (next_attempt_at)
    WHERE state IN ('queued', 'sending');
