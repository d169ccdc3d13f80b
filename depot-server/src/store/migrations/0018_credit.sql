-- Credit accounts: cards that ride first and are paid for afterwards (docs/adr/0022). What was done
-- is in the order journal; these tables are where it came to.

CREATE TABLE credit_accounts (
    id           INTEGER PRIMARY KEY,
    kind         TEXT    NOT NULL,          -- linked or post-paid
    holder       TEXT    NOT NULL,          -- the customers' file's word for the holder: no name
    channel      INTEGER NOT NULL,          -- who collects, or takes payments
    purse        INTEGER,
    credit_limit INTEGER NOT NULL,
    allowance    INTEGER NOT NULL,
    below        INTEGER NOT NULL,
    period_days  INTEGER NOT NULL,
    due_days     INTEGER NOT NULL,
    stop_days    INTEGER NOT NULL,
    grey_days    INTEGER NOT NULL,
    black_days   INTEGER NOT NULL,
    opened_on    INTEGER NOT NULL,
    spent        INTEGER NOT NULL,          -- became debt, in all
    paid         INTEGER NOT NULL,          -- in all
    charges      INTEGER NOT NULL,          -- how often something became debt
    charged_on   INTEGER NOT NULL,
    billed_on    INTEGER NOT NULL,
    dunning      TEXT    NOT NULL,          -- good, warned, stopped, grey, black
    warned_on    INTEGER,
    looked_on    INTEGER NOT NULL           -- the day on which nothing was left to do
) STRICT;

CREATE INDEX credit_to_look ON credit_accounts (looked_on);
CREATE INDEX credit_dunned ON credit_accounts (dunning) WHERE dunning <> 'good';

CREATE TABLE credit_bills (
    account   INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    amount    INTEGER NOT NULL,
    spent     INTEGER NOT NULL,             -- by the account in all, when it was made
    billed_on INTEGER NOT NULL,
    due_on    INTEGER NOT NULL,
    failed_on INTEGER,                      -- its channel could not collect it
    PRIMARY KEY (account, number)
) STRICT, WITHOUT ROWID;

-- Whose a card was when, in places between taps as they were booked.
CREATE TABLE credit_cards (
    card    INTEGER NOT NULL,
    account INTEGER NOT NULL,
    since   INTEGER NOT NULL,               -- the newest tap before
    until   INTEGER,                        -- the newest tap of it; empty while it is the account's
    PRIMARY KEY (card, since, account)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX credit_members ON credit_cards (card) WHERE until IS NULL;
CREATE INDEX credit_cards_of ON credit_cards (account);

-- What was spent and became debt, for the lines of bills.
CREATE TABLE credit_charges (
    account INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    day     INTEGER NOT NULL,
    amount  INTEGER NOT NULL,
    through INTEGER NOT NULL,               -- the newest tap in it
    PRIMARY KEY (account, number)
) STRICT, WITHOUT ROWID;

-- A payment of a channel is taken once.
CREATE TABLE credit_payments (
    channel   INTEGER NOT NULL,
    reference TEXT    NOT NULL,
    account   INTEGER NOT NULL,
    amount    INTEGER NOT NULL,
    paid_at   INTEGER NOT NULL,
    PRIMARY KEY (channel, reference)
) STRICT, WITHOUT ROWID;

ALTER TABLE orders ADD COLUMN account INTEGER;      -- on whose credit, when no channel took money
CREATE INDEX orders_on_credit ON orders (account) WHERE account IS NOT NULL AND phase < 4;
