-- The states of devices. `record` is the state; `pending` says whether something is wanted that is not reported.
CREATE TABLE twins (
    device TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX twins_pending ON twins (device) WHERE pending = 1;
