-- Service days and their closing (docs/adr/0018). What was booked before this step belongs to no
-- day: day 0, part of the first closed day's opening balances.

ALTER TABLE transfers ADD COLUMN day INTEGER NOT NULL DEFAULT 0;
ALTER TABLE taps ADD COLUMN day INTEGER NOT NULL DEFAULT 0;

-- Where the bookings of each day begin, so that a day is found without an index of its own.
CREATE TABLE periods (
    day            INTEGER PRIMARY KEY,        -- days since 1970
    first_transfer INTEGER,                    -- none booked into it before this one
    first_tap      INTEGER
) STRICT;

-- Closed days. The signed document of each is its row of `batches`, under validator 0.
CREATE TABLE days (
    day       INTEGER PRIMARY KEY,
    batch     INTEGER NOT NULL,
    closed_at INTEGER NOT NULL,
    root      BLOB    NOT NULL,                -- SHA-256 of the document
    through   INTEGER NOT NULL                 -- the newest transfer when it was closed
) STRICT;

-- What stood on each account that moved in a closed day, before and after. Cards' accounts are one
-- row of their sums, under the account of 16 zero bytes but for code and currency.
CREATE TABLE day_accounts (
    day             INTEGER NOT NULL,
    account         BLOB    NOT NULL,
    accounts        INTEGER NOT NULL,          -- how many this row stands for
    opening_debits  INTEGER NOT NULL,
    opening_credits INTEGER NOT NULL,
    debits          INTEGER NOT NULL,          -- after
    credits         INTEGER NOT NULL,
    debits_pending  INTEGER NOT NULL,
    credits_pending INTEGER NOT NULL,
    PRIMARY KEY (day, account)
) STRICT, WITHOUT ROWID;

-- Bookings from before this step, so that `verify` books them into no day.
INSERT INTO counters (name, value)
    SELECT 'days-since', 1 + max(
        coalesce((SELECT max(received_at) FROM batches), -1),
        coalesce((SELECT max(at) FROM desk_journal), -1),
        coalesce((SELECT max(registered_at) FROM issues), -1),
        coalesce((SELECT max(sold_at) FROM ticket_sales), -1)
    );
