-- What channels state of the payments that they took (docs/adr/0021).

CREATE TABLE payments (
    channel   INTEGER NOT NULL,
    reference TEXT    NOT NULL,             -- the channel's own number of the payment
    order_id  INTEGER,                      -- its load order, once there is one
    lines     TEXT    NOT NULL,             -- JSON: what was stated, in the order of coming
    overdue   INTEGER NOT NULL,             -- the channel's delay was over before any line came
    refund    INTEGER NOT NULL,             -- the order is to be given back
    revision  INTEGER NOT NULL,             -- how often its postings changed
    PRIMARY KEY (channel, reference)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX payments_by_order ON payments (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX payments_awaited ON payments (channel, order_id) WHERE lines = '[]' AND overdue = 0;
CREATE INDEX payments_refunded ON payments (order_id) WHERE refund = 1;

INSERT INTO payments (channel, reference, order_id, lines, overdue, refund, revision)
SELECT channel, reference, id, '[]', 0, 0, 0 FROM orders WHERE channel > 0;

-- Each statement once: the same file again is known by its hash.
CREATE TABLE statements (
    id      INTEGER PRIMARY KEY,
    channel INTEGER NOT NULL,
    sha256  TEXT    NOT NULL,
    lines   INTEGER NOT NULL,
    known   INTEGER NOT NULL,               -- of them, stated before
    at      INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX statements_by_content ON statements (channel, sha256);

-- Files of many orders: the orders of one run have numbers in a row.
CREATE TABLE order_batches (
    first   INTEGER PRIMARY KEY,            -- the first order
    orders  INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    batch   TEXT    NOT NULL,               -- the file's name for it, or empty
    sha256  TEXT    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

-- Events that providers told, with what they were answered: each is taken once.
CREATE TABLE provider_events (
    channel INTEGER NOT NULL,
    event   TEXT    NOT NULL,               -- the provider's id of it
    sha256  TEXT    NOT NULL,               -- of its body
    answer  TEXT    NOT NULL,               -- JSON
    at      INTEGER NOT NULL,
    PRIMARY KEY (channel, event)
) STRICT, WITHOUT ROWID;
