-- Sealed secrets by name; the key that opens them is not in the store.
CREATE TABLE vault (
    name TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
