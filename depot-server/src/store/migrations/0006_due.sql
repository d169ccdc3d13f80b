-- What cards are owed after all their taps are known (docs/fares.md, ADR-0014).

-- Cards whose rides are priced again, once something unusual was known of them.
CREATE TABLE due_cards (
    card   INTEGER PRIMARY KEY,
    queued INTEGER NOT NULL                    -- 1: something is new since its due was worked out
) STRICT;
CREATE INDEX due_cards_queued ON due_cards (card) WHERE queued = 1;
-- Nobody has looked at the cards of books that are older than this table.
INSERT INTO due_cards (card, queued) SELECT card, 1 FROM cards;

-- The due journal: what a card is owed for a service day, each time that changed, and what was paid.
CREATE TABLE due_journal (
    id          INTEGER PRIMARY KEY,           -- order of booking
    after_batch INTEGER NOT NULL,              -- the newest row of `batches` then
    at          INTEGER NOT NULL,
    card        INTEGER NOT NULL,
    day         INTEGER NOT NULL,              -- service day, days since 1970
    amount      INTEGER NOT NULL,              -- owed in all from here on, or paid by this row
    revision    INTEGER,                       -- how often the day's amount was said; empty: paid
    payer       INTEGER,                       -- paid by: 1 an operation of a desk, 2 a load order
    payment     INTEGER,                       -- its number
    hash        BLOB    NOT NULL               -- SHA-256(hash of the row before || this row)
) STRICT;
CREATE INDEX due_journal_by_card ON due_journal (card, id);

-- What is set apart for a load that is on its way: neither open nor paid.
CREATE TABLE due_holds (
    payer   INTEGER NOT NULL,
    payment INTEGER NOT NULL,
    card    INTEGER NOT NULL,
    day     INTEGER NOT NULL,
    amount  INTEGER NOT NULL,
    PRIMARY KEY (payer, payment, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX due_holds_by_card ON due_holds (card);

-- So much of a load was owed to the card's holder, the rest is cash.
ALTER TABLE card_ops ADD COLUMN adjusted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE desk_journal ADD COLUMN adjusted INTEGER NOT NULL DEFAULT 0;
