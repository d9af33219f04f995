-- Who may see what, and the walls that hold the rows apart.

CREATE SCHEMA access;

-- A person is never deleted: who leaves is inactive.
CREATE TABLE access.people (
    person_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email      text NOT NULL UNIQUE CHECK (email = lower(email)),
    first_name text NOT NULL DEFAULT '',
    last_name  text NOT NULL DEFAULT '',
    language   text,
    active     boolean NOT NULL,
    changed_at timestamptz NOT NULL
);

-- A person may hold the same scope from a list and by hand: the higher level counts.
CREATE TABLE access.grants (
    person_id  bigint NOT NULL REFERENCES access.people,
    scope      text NOT NULL,
    origin     text NOT NULL CHECK (origin IN ('import', 'hand')),
    level      text NOT NULL CHECK (level IN ('viewer', 'analyst', 'owner')),
    granted_at timestamptz NOT NULL,
    PRIMARY KEY (person_id, scope, origin)
);

CREATE TABLE access.imports (
    import_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_name  text NOT NULL,
    content_hash text NOT NULL,
    people       bigint NOT NULL,
    grants       bigint NOT NULL,
    imported_at  timestamptz NOT NULL
);

-- Readers enter this schema: the row policies of every brand ask walls.stores.
CREATE SCHEMA walls;

CREATE TABLE walls.roles (
    role_name     text PRIMARY KEY,
    scope         text NOT NULL,
    -- Changes with the password; tells nothing about it.
    password_mark text NOT NULL
);

CREATE TABLE walls.stores (
    role_name text NOT NULL REFERENCES walls.roles,
    brand     text NOT NULL,
    store_id  text NOT NULL,
    PRIMARY KEY (role_name, brand, store_id)
);

ALTER TABLE walls.roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE walls.stores ENABLE ROW LEVEL SECURITY;

-- A reader learns which stores are hers and nothing of anybody else's.
CREATE POLICY storekeeper_readers ON walls.stores FOR SELECT USING (role_name = current_user);

-- What head office reads: every brand's tables side by side. Made by
-- warehouse::roles from the brands that there are.
CREATE SCHEMA mart_all;
