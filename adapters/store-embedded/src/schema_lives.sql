-- Version 9: what finds commands is written when they come and when they are over, and not with every step between.
DROP TRIGGER commands_opened;
DROP TRIGGER commands_closed;
DROP INDEX commands_open;
DROP INDEX commands_ready;
DROP INDEX commands_due;
DROP INDEX commands_unpublished;

-- Not later than the first of `not_before` and `due`, maybe earlier; null when it is over. A step that leaves it alone
-- touches no index.
ALTER TABLE commands ADD COLUMN wake INTEGER;
UPDATE commands SET wake = min(coalesce(not_before, due), due) WHERE phase < 3;
CREATE INDEX commands_open ON commands (device, priority DESC, id) WHERE wake IS NOT NULL;
CREATE INDEX commands_wake ON commands (wake) WHERE wake IS NOT NULL;

-- Commands with changes that are not all told, and how many are. What stands not here is told.
CREATE TABLE command_news (
    id BLOB PRIMARY KEY,
    published INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO command_news (id, published) SELECT id, published FROM commands WHERE published < changes;
ALTER TABLE commands DROP COLUMN published;
