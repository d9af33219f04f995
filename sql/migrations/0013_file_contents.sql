-- What loaded files held, byte for byte, so that a value can be followed to its cell.
-- These copies hold whatever the files held, personal data included.

CREATE TABLE ops.file_contents (
    content_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- As in ops.files. Two loads at once may each keep the same content: neither waits for
    -- the other.
    content_hash text NOT NULL,
    -- zstd: each piece is compressed by itself. none: as they came, e.g. workbooks.
    encoding text NOT NULL CHECK (encoding IN ('none', 'zstd')),
    size_bytes bigint NOT NULL,
    stored_bytes bigint NOT NULL,
    kept_at timestamptz NOT NULL,
    -- The pieces are gone; the line stays, to say so.
    pruned_at timestamptz
);
CREATE INDEX ON ops.file_contents (content_hash);
CREATE INDEX ON ops.file_contents (kept_at) WHERE pruned_at IS NULL;

CREATE TABLE ops.file_pieces (
    content_id bigint NOT NULL REFERENCES ops.file_contents,
    piece int NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (content_id, piece)
);
-- They are compressed already.
ALTER TABLE ops.file_pieces ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE INDEX ON ops.files (content_hash);

-- The day a load was made, as its brand's clocks had it: what it says of earlier days is
-- said late. Each load sets `storekeeper.today` before it is entered.
ALTER TABLE ops.loads ADD COLUMN made_on date;
ALTER TABLE ops.loads ALTER COLUMN made_on SET DEFAULT nullif(current_setting('storekeeper.today', true), '')::date;
