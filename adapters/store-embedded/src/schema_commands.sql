-- Version 3: commands. `record` is the command; the columns are copies for finding it.
CREATE TABLE commands (
    id BLOB NOT NULL PRIMARY KEY, -- in the order of age
    device TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    phase INTEGER NOT NULL, -- 0 waiting, 1 sending, 2 awaiting, 3 done
    priority INTEGER NOT NULL,
    not_before INTEGER, -- null unless it waits and the bridge sends it by itself
    due INTEGER, -- when time alone changes it; null when it is over
    finished INTEGER, -- null until then
    request_key TEXT,
    replace_key TEXT,
    changes INTEGER NOT NULL,
    published INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT;
CREATE INDEX commands_device ON commands (device, id);
-- Without the phase, which changes with every step; a device has few that are open.
CREATE INDEX commands_open ON commands (device, priority DESC, id) WHERE phase < 3;
CREATE UNIQUE INDEX commands_request ON commands (device, request_key) WHERE request_key IS NOT NULL;
CREATE INDEX commands_ready ON commands (not_before, device) WHERE not_before IS NOT NULL;
CREATE INDEX commands_due ON commands (due, id) WHERE due IS NOT NULL;
CREATE INDEX commands_finished ON commands (finished, id) WHERE finished IS NOT NULL;
CREATE INDEX commands_unpublished ON commands (id) WHERE published < changes;

CREATE TABLE command_references (
    device TEXT NOT NULL,
    reference TEXT NOT NULL,
    command BLOB NOT NULL,
    PRIMARY KEY (device, reference, command)
) STRICT, WITHOUT ROWID;
CREATE INDEX command_references_command ON command_references (command);

-- How many are open, so that nobody has to count them.
INSERT INTO meta (key, value) VALUES ('open_commands', 0);
CREATE TRIGGER commands_opened AFTER INSERT ON commands WHEN new.phase < 3 BEGIN
    UPDATE meta SET value = value + 1 WHERE key = 'open_commands';
END;
CREATE TRIGGER commands_closed AFTER UPDATE OF phase ON commands WHEN old.phase < 3 AND new.phase = 3 BEGIN
    UPDATE meta SET value = value - 1 WHERE key = 'open_commands';
END;
