-- Lists for all validators (docs/wire.md, section on lists).

-- Published tariffs: the list's content as validators get it, and when it begins to hold. Those of
-- the configuration's files have neither.
ALTER TABLE tariffs ADD COLUMN content BLOB;
ALTER TABLE tariffs ADD COLUMN starts_at INTEGER;

-- Blocks of lists that were published on the broker. Retired ones are cleared there for a while
-- and then forgotten.
CREATE TABLE list_blocks (
    id         BLOB    PRIMARY KEY,            -- SHA-256 of the block
    retired_at INTEGER                         -- since when no list needs it
) STRICT, WITHOUT ROWID;
