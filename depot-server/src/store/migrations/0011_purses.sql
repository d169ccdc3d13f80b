-- Purses in other currencies than the tariff's (docs/adr/0019). Wherever `purse` is empty, amounts
-- are in the tariff's currency.

ALTER TABLE issues ADD COLUMN purse INTEGER;         -- ISO 4217 number, as the card's profile says
ALTER TABLE card_ops ADD COLUMN purse INTEGER;
ALTER TABLE desk_journal ADD COLUMN purse INTEGER;
ALTER TABLE taps ADD COLUMN purse INTEGER;           -- as the tap read it: of `amount`, `balance`
ALTER TABLE orders ADD COLUMN purse INTEGER;
ALTER TABLE desk_grants ADD COLUMN purse INTEGER;

-- The ledger that a card's account is in, ISO 4217 number; empty while nothing is booked on it.
-- Until here all accounts of cards were in one.
ALTER TABLE cards ADD COLUMN currency INTEGER;
UPDATE cards SET currency = (SELECT currency FROM account_groups WHERE code = 1)
WHERE debits_posted <> 0 OR credits_posted <> 0 OR debits_pending <> 0 OR credits_pending <> 0;

-- A settled day has rows of each currency (one statement each).
ALTER TABLE settlement_rows ADD COLUMN purse INTEGER;
