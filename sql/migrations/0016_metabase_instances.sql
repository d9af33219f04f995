-- Which Metabase instances are ours to change, who was invited to them, and who gave a grant.

-- An instance is changed only when it stands here: we set it up, somebody told us to take
-- it over, or it was ours before this table came.
CREATE TABLE ops.metabase_instances (
    instance text PRIMARY KEY,
    origin   text NOT NULL CHECK (origin IN ('set up', 'told', 'known')),
    owned_at timestamptz NOT NULL
);
INSERT INTO ops.metabase_instances (instance, origin, owned_at)
SELECT instance, 'known', min(changed_at) FROM ops.metabase_objects GROUP BY instance;

-- Written before the mail leaves: nobody is invited twice, however a process ends.
CREATE TABLE ops.metabase_invitations (
    instance   text NOT NULL,
    person_id  bigint NOT NULL REFERENCES access.people,
    invited_at timestamptz NOT NULL,
    PRIMARY KEY (instance, person_id)
);

-- The owner in whose name it was given; none where an operator gave it.
ALTER TABLE access.grants ADD COLUMN granted_by bigint REFERENCES access.people;
