-- Callbacks of devices by kind of event. `number` and `told` are what a callback has confirmed of the state that it is told.
CREATE TABLE subscriptions (
    kind TEXT NOT NULL,
    device TEXT NOT NULL,
    callback_url TEXT NOT NULL,
    created INTEGER NOT NULL,
    number INTEGER NOT NULL,
    told BLOB NOT NULL,
    PRIMARY KEY (kind, device)
) STRICT, WITHOUT ROWID;
