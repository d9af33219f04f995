-- Partitions that went to a Parquet file and out of the table: which file, and what it
-- must hold. Written in the transaction that drops the partition.
CREATE TABLE ops.archives (
    archive_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    brand text NOT NULL,
    table_name text NOT NULL,
    -- Its first day.
    month date NOT NULL CHECK (month = date_trunc('month', month)),
    partition_column text NOT NULL,
    -- Below warehouse.archive_dir.
    file text NOT NULL,
    sha256 text NOT NULL,
    size_bytes bigint NOT NULL,
    -- The partition's rows, and their digest, which does not depend on their order.
    row_count bigint NOT NULL,
    row_digest text NOT NULL,
    -- The earlier versions of that month's rows.
    version_count bigint NOT NULL,
    version_digest text NOT NULL,
    -- Every load that brought, restored or superseded one of them.
    loads bigint[] NOT NULL,
    archived_at timestamptz NOT NULL,
    -- When the rows came back. The file stays.
    restored_at timestamptz
);
CREATE UNIQUE INDEX archives_live ON ops.archives (brand, table_name, month) WHERE restored_at IS NULL;
