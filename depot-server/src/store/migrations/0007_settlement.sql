-- Settled days: what each operator was told of a closed day, and by which share rules.

CREATE TABLE settlements (
    day        INTEGER PRIMARY KEY,
    rules      TEXT    NOT NULL,               -- the rules file; empty: each keeps its own
    settled_at INTEGER NOT NULL
) STRICT;

CREATE TABLE settlement_rows (
    day             INTEGER NOT NULL,
    place           INTEGER NOT NULL,          -- order in the statement
    operator        TEXT    NOT NULL,          -- its id in the tariff, or 'unattributed'
    rides           INTEGER NOT NULL,
    gross           INTEGER NOT NULL,
    shared          INTEGER NOT NULL,
    fee             INTEGER NOT NULL,
    late            INTEGER NOT NULL,
    late_amount     INTEGER NOT NULL,
    disputed        INTEGER NOT NULL,
    disputed_amount INTEGER NOT NULL,
    PRIMARY KEY (day, place)
) STRICT, WITHOUT ROWID;
