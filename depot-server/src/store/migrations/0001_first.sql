-- The depot's books. docs/schema.md explains every table; times are milliseconds since 1970,
-- amounts are minor units, cards are the UID's 7 bytes as one big-endian integer.

CREATE TABLE validators (
    id               INTEGER PRIMARY KEY,      -- the validator's number
    name             TEXT    NOT NULL,
    public_key       BLOB    NOT NULL,         -- Ed25519, 32 bytes
    enrolled_at      INTEGER NOT NULL,
    revoked_at       INTEGER,
    intake           BLOB,                     -- fleet-sync's state of this validator's log
    epoch            INTEGER NOT NULL DEFAULT 0,
    acked_through    INTEGER NOT NULL DEFAULT 0,
    held             INTEGER NOT NULL DEFAULT 0, -- last entry number the validator reported
    taps             INTEGER NOT NULL DEFAULT 0,
    last_tapped_at   INTEGER,
    last_received_at INTEGER,
    link             INTEGER NOT NULL DEFAULT 0, -- 0 never seen, 1 down, 2 up
    link_at          INTEGER,
    connection       INTEGER NOT NULL DEFAULT 0, -- counter of its connections: a late will is older
    state            BLOB                      -- its last state message, as received
) STRICT;

-- The journal: every envelope that brought at least one new entry, as received.
CREATE TABLE batches (
    id          INTEGER PRIMARY KEY,           -- order of booking
    validator   INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    first_seq   INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    hash        BLOB    NOT NULL,              -- SHA-256(hash of the batch before || payload)
    payload     BLOB    NOT NULL
) STRICT;

-- One row per entry of a validator's log; everything but `prev` can be read again from the journal.
CREATE TABLE taps (
    id          INTEGER PRIMARY KEY,           -- order of booking
    batch       INTEGER NOT NULL,
    ix          INTEGER NOT NULL,              -- place in that batch
    validator   INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    card        INTEGER,
    prev        INTEGER,                       -- the tap of this card that was booked before
    tapped_at   INTEGER NOT NULL,              -- by the validator's clock
    clock       INTEGER NOT NULL,              -- its quality: 0 unknown, 1 saved, 2 rtc, 3 ntp, 4 gnss
    received_at INTEGER NOT NULL,              -- by the depot's clock
    role        INTEGER NOT NULL,              -- 0 board, 1 entry, 2 exit
    place       INTEGER NOT NULL,
    route       INTEGER,
    tariff      INTEGER NOT NULL,
    outcome     INTEGER NOT NULL,              -- 0 committed, 1 in doubt, 2 refused, 3 confirmed, 4 voided
    detail      INTEGER,                       -- refused: assist code; confirmed, voided: entry number
    amount      INTEGER NOT NULL,              -- debited, minor units; 0 when nothing moved
    balance     INTEGER,                       -- on the card after this entry
    ctr         INTEGER,
    duration_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX taps_by_number ON taps (validator, epoch, seq);
CREATE INDEX taps_not_committed ON taps (outcome, id) WHERE outcome <> 0;

CREATE TABLE cards (
    card       INTEGER PRIMARY KEY,
    state      BLOB    NOT NULL,               -- clearing's state of this card
    last_tap   INTEGER,                        -- newest booked tap: head of the chain taps.prev
    taps       INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL
) STRICT;

CREATE TABLE quarantine (
    id          INTEGER PRIMARY KEY,
    received_at INTEGER NOT NULL,
    topic       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,              -- stable word
    detail      TEXT    NOT NULL,
    payload     BLOB    NOT NULL,
    hash        BLOB    NOT NULL               -- SHA-256 of topic and payload: the same message twice is one row
) STRICT;
CREATE UNIQUE INDEX quarantine_by_hash ON quarantine (hash);

CREATE TABLE tariffs (
    version   INTEGER PRIMARY KEY,
    text      TEXT    NOT NULL,
    loaded_at INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- One-time login links and sessions: only hashes of the secrets are kept.
CREATE TABLE logins (
    hash       BLOB    PRIMARY KEY,
    user       INTEGER NOT NULL REFERENCES users (id),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    hash       BLOB    PRIMARY KEY,
    user       INTEGER NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Taps per minute of receipt: the overview's figures without reading the taps.
CREATE TABLE minutes (
    minute    INTEGER PRIMARY KEY,             -- received_at / 60000
    committed INTEGER NOT NULL,
    in_doubt  INTEGER NOT NULL,
    refused   INTEGER NOT NULL,
    resolved  INTEGER NOT NULL,
    debited   INTEGER NOT NULL
) STRICT;

-- Who looked at which card, before it was shown (PRV-2).
CREATE TABLE card_accesses (
    id   INTEGER PRIMARY KEY,
    who  TEXT    NOT NULL,
    card INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    how  TEXT    NOT NULL
) STRICT;

-- Single values: the key behind card handles, the depot's connection counter.
CREATE TABLE singles (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
