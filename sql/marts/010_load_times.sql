-- rights: owner
-- When each load of this brand was committed. Readers cannot enter `ops`: this
-- shows them times, and nothing that belongs to a store.
SELECT load_id, pipeline, committed_at
FROM ops.loads
WHERE brand = {{ brand }}
