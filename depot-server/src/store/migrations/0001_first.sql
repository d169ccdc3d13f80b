-- The depot's books. docs/schema.md explains every table; times are milliseconds since 1970,
-- amounts are minor units, cards are the UID's 7 bytes as one big-endian integer.

CREATE TABLE validators (
    id          INTEGER PRIMARY KEY,           -- the validator's number
    name        TEXT    NOT NULL,
    enrolled_at INTEGER NOT NULL,
    link        INTEGER NOT NULL DEFAULT 0,    -- 0 never seen, 1 down, 2 up
    link_at     INTEGER,                       -- since when
    heard_at    INTEGER,                       -- when anything of it last arrived
    state       BLOB,                          -- its last state message, as received
    state_at    INTEGER,                       -- when that arrived
    last_tap    INTEGER,                       -- its newest booked tap
    durations   BLOB                           -- durations of its last 64 taps, u16 LSB first, ms
) STRICT;

-- The newest key is believed; older ones explain old journal rows.
CREATE TABLE validator_keys (
    validator  INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    public_key BLOB    NOT NULL,               -- Ed25519, 32 bytes
    PRIMARY KEY (validator, since)
) STRICT, WITHOUT ROWID;

-- Each life of a validator's log: everything through `through` is booked.
CREATE TABLE epochs (
    validator  INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    through    INTEGER NOT NULL,
    hash       BLOB    NOT NULL,               -- the chain's value after it
    count      INTEGER NOT NULL,               -- the registers after it
    debit_sum  INTEGER NOT NULL,
    load_sum   INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,               -- entries that arrived again
    PRIMARY KEY (validator, epoch)
) STRICT, WITHOUT ROWID;

-- The journal: every envelope that brought at least one new entry, as received.
CREATE TABLE batches (
    id          INTEGER PRIMARY KEY,           -- order of booking
    validator   INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    first       INTEGER NOT NULL,              -- its first entry
    last        INTEGER NOT NULL,              -- its last entry
    last_hash   BLOB    NOT NULL,              -- the validator's chain after the last entry
    received_at INTEGER NOT NULL,
    hash        BLOB    NOT NULL,              -- SHA-256(hash of the row before || payload)
    payload     BLOB    NOT NULL
) STRICT;
CREATE INDEX batches_by_last ON batches (validator, epoch, last);

-- The other half of the journal: opening records of cards that we issued.
CREATE TABLE issues (
    card          INTEGER NOT NULL,
    record        BLOB    NOT NULL,            -- card record, 32 bytes
    registered_at INTEGER NOT NULL,
    PRIMARY KEY (card, record)
) STRICT, WITHOUT ROWID;

-- One row per entry of a validator's log; everything but `prev` can be read again from the journal.
CREATE TABLE taps (
    id          INTEGER PRIMARY KEY,           -- order of booking
    batch       INTEGER NOT NULL,
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
    cleared     INTEGER NOT NULL,              -- 0: kept and shown, but moved nothing
    amount      INTEGER NOT NULL,              -- paid by it, minor units; 0 when nothing moved for certain
    balance     INTEGER,                       -- on the card after this entry, when known for certain
    ctr         INTEGER,                       -- of the record that it wrote, perhaps wrote, or saw
    operator    INTEGER,                       -- set when this entry is the books' record of (card, ctr):
                                               -- whose revenue it is, 65535 = not known
    duration_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX taps_by_number ON taps (validator, epoch, seq);
CREATE INDEX taps_not_committed ON taps (outcome, id) WHERE outcome <> 0;
CREATE INDEX taps_by_receipt ON taps (received_at);

-- Reconciliation's state of each card, with the card's ledger account in the same row.
CREATE TABLE cards (
    card            INTEGER PRIMARY KEY,
    state           BLOB    NOT NULL,
    debits_posted   INTEGER NOT NULL,
    credits_posted  INTEGER NOT NULL,
    debits_pending  INTEGER NOT NULL,
    credits_pending INTEGER NOT NULL,
    last_tap        INTEGER,                   -- newest booked tap: head of the chain taps.prev
    taps            INTEGER NOT NULL
) STRICT;

-- Known card records for which no tap stands (`taps.operator`): issued, recovered, forked, corrected.
CREATE TABLE records (
    card INTEGER NOT NULL,
    ctr  INTEGER NOT NULL,
    body BLOB    NOT NULL,                     -- clearing's 35 bytes
    PRIMARY KEY (card, ctr)
) STRICT, WITHOUT ROWID;

-- Ledger accounts, but for those of cards (they are in `cards`).
CREATE TABLE accounts (
    id              BLOB PRIMARY KEY,          -- ledger's 16 bytes
    debits_posted   INTEGER NOT NULL,
    credits_posted  INTEGER NOT NULL,
    debits_pending  INTEGER NOT NULL,
    credits_pending INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The trial balance, kept with every commit: sums over all accounts of one kind and currency.
CREATE TABLE account_groups (
    code            INTEGER NOT NULL,
    currency        INTEGER NOT NULL,
    accounts        INTEGER NOT NULL,
    debits_posted   INTEGER NOT NULL,
    credits_posted  INTEGER NOT NULL,
    debits_pending  INTEGER NOT NULL,
    credits_pending INTEGER NOT NULL,
    PRIMARY KEY (code, currency)
) STRICT, WITHOUT ROWID;

CREATE TABLE transfers (
    id         INTEGER PRIMARY KEY,            -- order of booking
    body       BLOB NOT NULL,                  -- ledger's 157 bytes
    pending_id BLOB,                           -- set for transfers booked as pending: their ledger id
    pending    INTEGER                         -- 0 held, 1 posted, 2 voided
) STRICT;
CREATE UNIQUE INDEX transfers_pending ON transfers (pending_id) WHERE pending_id IS NOT NULL;

CREATE TABLE exceptions (
    id           INTEGER PRIMARY KEY,
    ref          BLOB    NOT NULL,             -- clearing's 16 bytes: one finding, one row
    kind         TEXT    NOT NULL,
    card         INTEGER,
    validator    INTEGER,
    amount       INTEGER,
    currency     INTEGER,
    opened_at    INTEGER NOT NULL,
    closed_at    INTEGER,
    close_reason TEXT,
    finding      TEXT    NOT NULL,
    evidence     TEXT    NOT NULL              -- JSON
) STRICT;
CREATE UNIQUE INDEX exceptions_by_ref ON exceptions (ref);
CREATE INDEX exceptions_by_kind ON exceptions (kind, closed_at, amount, opened_at);
CREATE INDEX exceptions_open ON exceptions (id) WHERE closed_at IS NULL;
CREATE INDEX exceptions_by_card ON exceptions (card, id) WHERE card IS NOT NULL;
CREATE INDEX exceptions_by_validator ON exceptions (validator, id) WHERE validator IS NOT NULL;

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
    minute   INTEGER PRIMARY KEY,              -- received_at / 60000
    accepted INTEGER NOT NULL,                 -- committed or in doubt
    refused  INTEGER NOT NULL
) STRICT;

-- Who looked at which card, before it was shown (PRV-2).
CREATE TABLE card_accesses (
    id   INTEGER PRIMARY KEY,
    who  TEXT    NOT NULL,
    card INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    how  TEXT    NOT NULL
) STRICT;

-- Single numbers: how many connections to the broker were counted.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Single values: the key behind card handles.
CREATE TABLE singles (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
