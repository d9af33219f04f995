-- What groups may ask of databases, as it was read last: a large instance is not asked
-- again while its revision, its groups and its databases are the same.
CREATE TABLE ops.metabase_graphs (
    instance text PRIMARY KEY,
    mark     text NOT NULL,
    asks     jsonb NOT NULL,
    read_at  timestamptz NOT NULL
);
