-- Corrections by people (docs/adr/0023).

ALTER TABLE exceptions ADD COLUMN owner TEXT;   -- who looks after it

-- What people decided that holders of cards are owed, beside what their taps make.
CREATE TABLE due_grants (
    id     INTEGER PRIMARY KEY,
    card   INTEGER NOT NULL,
    day    INTEGER NOT NULL,
    amount INTEGER NOT NULL
) STRICT;
CREATE INDEX due_grants_by_card ON due_grants (card);
