-- Version 2: accepted uplinks as they came. No index by device: it would be written at random for every message, and
-- is only read when an operator corrects the past.
CREATE TABLE archive (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    at INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT;
