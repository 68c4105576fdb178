-- What a credential is: a token (the digest is its SHA-256), a client certificate (its fingerprint), or a key that signs (its
-- id), whose secret is sealed with a key that is not in the store.
ALTER TABLE credentials ADD COLUMN kind TEXT NOT NULL DEFAULT 'token';
ALTER TABLE credentials ADD COLUMN sealed BLOB;
