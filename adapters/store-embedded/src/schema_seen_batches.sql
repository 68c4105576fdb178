-- Version 11: ids that were accepted within a moment are appended as one row, and sorted into `seen` when they are so many
-- that the bridge forgets some of them: until then nobody asks. What is old in `seen` is found by looking at all of it, a part
-- at a time: an index by time costs each id as much again.
CREATE TABLE seen_batches (
    -- Of what was committed, never used twice: up to some number they are sorted in.
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The times of the oldest and of the newest.
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    -- 16 bytes of id and 8 of time (milliseconds, big-endian) each.
    ids BLOB NOT NULL
) STRICT;
CREATE INDEX seen_batches_last ON seen_batches (last);
DROP INDEX seen_at;
INSERT INTO meta (key, value) VALUES ('seen_sorted', 0);
INSERT INTO seen (id, at) SELECT id, at FROM seen_log WHERE true
    ON CONFLICT (id) DO UPDATE SET at = max(at, excluded.at);
DROP TABLE seen_log;
