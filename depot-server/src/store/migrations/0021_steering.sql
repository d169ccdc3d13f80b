-- What people and rules decide about validators: desired states, settings, releases (ADR-0028).
CREATE TABLE steering_journal (
    id    INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,
    event TEXT    NOT NULL,   -- JSON
    hash  BLOB    NOT NULL    -- covers the row before
) STRICT;

-- The lists that follow from the journal, as validators are given them.
CREATE TABLE steering_lists (
    kind    INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    content BLOB    NOT NULL
) STRICT;
