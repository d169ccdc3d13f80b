-- The desk: what is done to cards by hand. docs/card-desk.md is its manual.

-- Every operation: its intent, durable before the card may commit it, and its outcome.
CREATE TABLE card_ops (
    id        INTEGER PRIMARY KEY,             -- the operation's number
    station   INTEGER NOT NULL,
    kind      INTEGER NOT NULL,                -- 1 issue, 2 load, 3 retire
    card      INTEGER NOT NULL,
    before    BLOB,                            -- record found, 32 bytes; none for an issue
    after     BLOB    NOT NULL,                -- record that is to be written, 32 bytes
    other     INTEGER,                         -- issue: the card in whose place it is issued
    taken     INTEGER,                         -- retire: 1 paid out, 2 for another card, 3 held
    begun_at  INTEGER NOT NULL,
    outcome   INTEGER,                         -- 1 happened, 2 did not; empty: in doubt
    closed_at INTEGER,
    how       TEXT,                            -- by what it was decided
    proof     BLOB                             -- the card's, 8 bytes, when it was read
) STRICT;
CREATE INDEX card_ops_open ON card_ops (card) WHERE outcome IS NULL;
CREATE INDEX card_ops_by_station ON card_ops (station, kind);
CREATE INDEX card_ops_by_other ON card_ops (other) WHERE other IS NOT NULL;

-- What each station was allowed to put on cards. Rows are added, never changed (SEC-7).
CREATE TABLE desk_grants (
    id      INTEGER PRIMARY KEY,
    station INTEGER NOT NULL,
    amount  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    granted TEXT    NOT NULL,                  -- who granted it
    agreed  TEXT    NOT NULL,                  -- who agreed: somebody else (OPS-2)
    reason  TEXT    NOT NULL
) STRICT;
CREATE INDEX desk_grants_by_station ON desk_grants (station);

-- Cards that their holders say are lost: what is on them is given out after a hold only (REC-9).
CREATE TABLE lost_cards (
    card INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL
) STRICT;

-- The desk's part of the journal: operations that happened, in the order of booking.
CREATE TABLE desk_journal (
    id          INTEGER PRIMARY KEY,
    after_batch INTEGER NOT NULL,              -- the row of `batches` that it was booked after
    at          INTEGER NOT NULL,
    op          INTEGER NOT NULL,
    station     INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    card        INTEGER NOT NULL,
    before      BLOB,
    after       BLOB    NOT NULL,
    other       INTEGER,
    taken       INTEGER,
    hash        BLOB    NOT NULL               -- SHA-256(hash of the row before || this row)
) STRICT;
CREATE UNIQUE INDEX desk_journal_by_op ON desk_journal (op);

-- Where in the journal a registered card was booked, so that `verify` books it there.
ALTER TABLE issues ADD COLUMN after_batch INTEGER NOT NULL DEFAULT 0;
