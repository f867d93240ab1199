-- Version 1. Times are milliseconds since 1970; numbers are those of the model's ids.

-- The key check, and when the store was last opened.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- The number of every name that was ever configured: 0 source, 1 destination, 2 connection.
CREATE TABLE names (
    kind     INTEGER NOT NULL,
    id       INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    restored INTEGER NOT NULL DEFAULT 0, -- from names.txt, after the database was lost
    PRIMARY KEY (kind, id),
    UNIQUE (kind, name)
) WITHOUT ROWID;

-- What was in force, for status and for what was removed since.
CREATE TABLE registry (
    kind        INTEGER NOT NULL,
    id          INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    body        TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL,
    removed_at  INTEGER,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;

CREATE TABLE settings (
    destination INTEGER NOT NULL,
    field       TEXT    NOT NULL,
    sealed      BLOB    NOT NULL,
    PRIMARY KEY (destination, field)
) WITHOUT ROWID;

CREATE TABLE secrets (
    name       TEXT    PRIMARY KEY,
    sealed     BLOB    NOT NULL,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE lanes (
    id           INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
    connection   INTEGER NOT NULL,
    kind         INTEGER NOT NULL, -- 0 live, 1 replay, 2 redelivery
    replay       INTEGER,
    replay_from  INTEGER,
    replay_to    INTEGER,
    start        INTEGER NOT NULL,
    cursor       INTEGER NOT NULL,
    progress     BLOB,
    finished     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX lanes_by_connection ON lanes (connection);
-- Two live lanes would deliver everything twice.
CREATE UNIQUE INDEX lanes_live ON lanes (connection) WHERE kind = 0 AND finished = 0;
CREATE INDEX lanes_finished ON lanes (id) WHERE finished = 1;

CREATE TABLE dead_letters (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    connection   INTEGER NOT NULL,
    log_offset   INTEGER NOT NULL,
    stream       INTEGER NOT NULL,
    state        INTEGER NOT NULL DEFAULT 0, -- 0 waits, 1 queued to be tried again
    reason       TEXT    NOT NULL,
    expired      INTEGER NOT NULL,
    status       INTEGER,
    attempts     INTEGER NOT NULL,
    redeliveries INTEGER NOT NULL DEFAULT 0,
    received_at  INTEGER NOT NULL,
    died_at      INTEGER NOT NULL,
    bytes        INTEGER NOT NULL, -- what it counts against the limit
    event_bytes  INTEGER NOT NULL,
    message_id   TEXT    NOT NULL,
    detail       TEXT    NOT NULL,
    response     BLOB,
    event        BLOB    NOT NULL,
    UNIQUE (connection, log_offset)
);
CREATE INDEX dead_letters_by_connection ON dead_letters (connection, id);
CREATE INDEX dead_letters_queued ON dead_letters (connection, id) WHERE state = 1;

CREATE TABLE dead_letter_totals (
    connection  INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    letters     INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    evicted     INTEGER NOT NULL,
    redelivered INTEGER NOT NULL,
    PRIMARY KEY (connection, reason)
) WITHOUT ROWID;

CREATE TABLE samples (
    id           INTEGER PRIMARY KEY,
    lane         INTEGER NOT NULL,
    log_offset   INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    status       INTEGER,
    result       TEXT    NOT NULL,
    latency_ms   INTEGER NOT NULL,
    request_line TEXT    NOT NULL,
    response     BLOB    NOT NULL
);
CREATE INDEX samples_by_lane ON samples (lane, id);

CREATE TABLE minutes (
    lane            INTEGER NOT NULL,
    minute          INTEGER NOT NULL,
    delivered       INTEGER NOT NULL,
    rejected        INTEGER NOT NULL,
    filtered        INTEGER NOT NULL,
    expired         INTEGER NOT NULL,
    attempts_failed INTEGER NOT NULL,
    PRIMARY KEY (lane, minute)
) WITHOUT ROWID;
CREATE INDEX minutes_by_time ON minutes (minute);
