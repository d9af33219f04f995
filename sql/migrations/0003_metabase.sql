-- What is ours in a Metabase instance, and which views a brand's schema has.

CREATE SCHEMA IF NOT EXISTS ops;

-- An object is ours when it stands here. The line is written before the object
-- is made, without its id: after a crash it is found again by its name.
CREATE TABLE ops.metabase_objects (
    instance     text NOT NULL,
    kind         text NOT NULL,
    key          text NOT NULL,
    metabase_id  bigint,
    entity_id    text,
    -- What was written last; Metabase's own answer is not compared, it rewrites queries.
    content_hash text NOT NULL DEFAULT '',
    -- When Metabase says it was last edited, as of our last write.
    mark         text NOT NULL DEFAULT '',
    changed_at   timestamptz NOT NULL,
    PRIMARY KEY (instance, kind, key)
);

CREATE TABLE ops.mart_views (
    brand        text NOT NULL,
    view_name    text NOT NULL,
    content_hash text NOT NULL,
    -- False while a table that it reads does not exist yet.
    applied      boolean NOT NULL,
    applied_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (brand, view_name)
);
