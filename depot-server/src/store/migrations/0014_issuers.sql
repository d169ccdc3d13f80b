-- Several issuers (docs/adr/0023). Wherever `issuer` is empty, it is the one that the books began
-- with.

ALTER TABLE issues ADD COLUMN issuer INTEGER;
ALTER TABLE card_ops ADD COLUMN issuer INTEGER;
ALTER TABLE desk_journal ADD COLUMN issuer INTEGER;
ALTER TABLE settlement_rows ADD COLUMN issuer INTEGER;

-- Issuers that the configuration named, so that the first stays the first.
CREATE TABLE issuers (
    number INTEGER PRIMARY KEY,
    name   TEXT    NOT NULL,
    first  INTEGER NOT NULL                    -- 1: the books began with it
) STRICT;
