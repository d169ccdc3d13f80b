-- Tickets that are shown as codes (docs/tickets.md).

-- Public keys that signed tickets: the newest signs now, all are believed.
CREATE TABLE ticket_keys (
    public_key BLOB    PRIMARY KEY,            -- Ed25519, 32 bytes
    since      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A part of the journal: every ticket that we sold.
CREATE TABLE ticket_sales (
    id          INTEGER PRIMARY KEY,           -- order of booking
    token       BLOB    NOT NULL,              -- the signed bytes, 96
    sold_at     INTEGER NOT NULL,
    after_batch INTEGER NOT NULL               -- the newest row of `batches` then: `verify` keeps the order
) STRICT;
CREATE UNIQUE INDEX ticket_sales_by_token ON ticket_sales (token);

-- What the books know of each ticket that was sold or used.
CREATE TABLE tickets (
    ticket BLOB PRIMARY KEY,                   -- what was signed, 32 bytes; begins with version and id
    state  BLOB NOT NULL                       -- clearing's bytes
) STRICT, WITHOUT ROWID;
