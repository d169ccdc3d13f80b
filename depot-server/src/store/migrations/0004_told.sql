-- When a desk told its clerk that an operation happened. Who pulls a card away may ride with it
-- before he comes back; then the books know the outcome and the clerk does not.

ALTER TABLE card_ops ADD COLUMN told_at INTEGER;
UPDATE card_ops SET told_at = closed_at WHERE outcome IS NOT NULL;
CREATE INDEX card_ops_untold ON card_ops (card) WHERE outcome = 1 AND told_at IS NULL;
