-- Version 10: message ids are appended here, which touches a page or two, and put into `seen` later, many neighbours at a
-- time: digests are all over its tree, and each would be a page of its own to write.
CREATE TABLE seen_log (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    at INTEGER NOT NULL
) STRICT;
