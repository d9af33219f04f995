-- How far each source was read, and what is known of each file of a drive.

-- A place is the source's own name for a part of itself; the value is what it handed
-- out to go on from there, kept as it came.
CREATE TABLE ops.cursors (
    pipeline text NOT NULL,
    brand text NOT NULL,
    place text NOT NULL,
    value text NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (pipeline, brand, place)
);

-- The files of a drive by their ids, which survive renaming.
CREATE TABLE ops.drive_items (
    pipeline text NOT NULL,
    brand text NOT NULL,
    drive_id text NOT NULL,
    item_id text NOT NULL,
    -- As it was called when it was seen last.
    name text NOT NULL,
    -- `pending`: seen and left out for now. `read`: its content was loaded. `gone`: it was
    -- loaded and is no longer in the folder; its rows stay.
    state text NOT NULL CHECK (state IN ('pending', 'read', 'gone')),
    -- The drive's tag of the content that was read.
    version text,
    -- That content's hash, by which the ledger has it.
    content_hash text,
    -- Listings in a row without it. One listing may leave out what is there.
    absences int NOT NULL DEFAULT 0,
    gone_at timestamptz,
    -- Whether it is still to be moved aside, or was.
    archive text CHECK (archive IN ('due', 'done')),
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (pipeline, brand, drive_id, item_id),
    CHECK (state = 'pending' OR (version IS NOT NULL AND content_hash IS NOT NULL)),
    CHECK ((state = 'gone') = (gone_at IS NOT NULL))
);

INSERT INTO ops.drive_items (pipeline, brand, drive_id, item_id, name, state, version, content_hash, seen_at)
SELECT DISTINCT ON (f.pipeline, f.brand, f.drive_id, f.item_id)
       f.pipeline, f.brand, f.drive_id, f.item_id, f.name, 'read', f.version, f.content_hash, l.committed_at
FROM ops.files f JOIN ops.loads l USING (load_id)
WHERE f.drive_id <> '' AND f.item_id IS NOT NULL AND f.version IS NOT NULL
ORDER BY f.pipeline, f.brand, f.drive_id, f.item_id, f.file_id DESC;
