-- Version 1. Times are milliseconds since 1970. STRICT, so that a wrong type is an error and not a surprise.
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('last_seq', 0), ('registry_version', 0);

CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    lane TEXT NOT NULL,
    at INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT;

CREATE TABLE seen (id BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX seen_at ON seen (at);

-- AUTOINCREMENT: a number is never used twice, also not after a removal.
CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    integration TEXT NOT NULL,
    device TEXT,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    replay INTEGER NOT NULL DEFAULT 0,
    method TEXT, -- null when there is no request
    path_device TEXT,
    query TEXT,
    content_type TEXT,
    body BLOB,
    record BLOB
) STRICT;
CREATE INDEX dead_letters_replay ON dead_letters (number) WHERE replay = 1;

CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    integration TEXT NOT NULL,
    external TEXT NOT NULL,
    scope TEXT,
    name TEXT,
    hub_id TEXT,
    codec TEXT,
    tags TEXT NOT NULL, -- a JSON array
    state TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER,
    UNIQUE (integration, external)
) STRICT, WITHOUT ROWID;
