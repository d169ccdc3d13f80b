-- Load orders: value paid for elsewhere, on its way to a card (docs/adr/0015).

CREATE TABLE orders (
    id          INTEGER PRIMARY KEY,        -- never used again
    card        INTEGER NOT NULL,
    amount      INTEGER NOT NULL,
    channel     INTEGER NOT NULL,           -- who took the money
    reference   TEXT    NOT NULL,           -- the channel's own number of the payment
    paid_at     INTEGER NOT NULL,           -- by the channel's clock
    phase       INTEGER NOT NULL,           -- 1 waiting 2 out 3 withdrawn 4 loaded 5 refunded 6 owed
    load_seq    INTEGER,                    -- what readers were told last
    not_after_s INTEGER,
    without     INTEGER                     -- the first list without it
) STRICT;

-- One payment is one order, however often it is told.
CREATE UNIQUE INDEX orders_by_reference ON orders (channel, reference);
CREATE INDEX orders_by_card ON orders (card);
CREATE INDEX orders_unfinished ON orders (phase) WHERE phase < 4;

-- The journal's part for orders: what people and lists did. That a card shows an order follows from
-- the journal of taps.
CREATE TABLE order_journal (
    id          INTEGER PRIMARY KEY,
    after_batch INTEGER NOT NULL,           -- the row of `batches` that it came after
    after_desk  INTEGER NOT NULL,           -- rows of `desk_journal` before it
    at          INTEGER NOT NULL,
    event       TEXT    NOT NULL,           -- JSON
    hash        BLOB    NOT NULL            -- covers the row before
) STRICT;

-- Which list of orders each validator has told that it works by, and up to which list everything
-- that it did before is booked.
CREATE TABLE orders_told (
    validator INTEGER PRIMARY KEY,
    settled   INTEGER NOT NULL,
    told      INTEGER,
    epoch     INTEGER,
    head      INTEGER
) STRICT;

-- The list of orders that validators were given last. A version has one content for ever.
CREATE TABLE order_list (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    content BLOB    NOT NULL
) STRICT;
