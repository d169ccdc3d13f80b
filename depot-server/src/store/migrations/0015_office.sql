-- Decisions about money: settled days that are posted, payments to operators, holds that ended
-- (docs/adr/0023).

-- Days that were settled before are posted when they are settled again.
ALTER TABLE settlements ADD COLUMN posted INTEGER NOT NULL DEFAULT 0;

-- The journal's part for decisions.
CREATE TABLE office_journal (
    id          INTEGER PRIMARY KEY,
    after_batch INTEGER NOT NULL,           -- the row of `batches` that it came after
    after_desk  INTEGER NOT NULL,           -- rows of `desk_journal` before it
    at          INTEGER NOT NULL,
    event       TEXT    NOT NULL,           -- JSON
    hash        BLOB    NOT NULL            -- covers the row before
) STRICT;
