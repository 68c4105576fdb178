-- Tokens of devices, as SHA-256 digests. No foreign key: a token may outlive its device's record, and proves nothing then.
CREATE TABLE credentials (
    digest BLOB PRIMARY KEY,
    device TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX credentials_device ON credentials (device, digest);
INSERT INTO meta (key, value) VALUES ('credentials_version', 0);
