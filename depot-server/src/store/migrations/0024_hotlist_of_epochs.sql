-- By which hotlist each life of a log went last: an entry names it only when it is another than before
-- (ADR-0030, docs/wire.md).
ALTER TABLE epochs ADD COLUMN hotlist INTEGER;
