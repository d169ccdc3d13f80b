-- Blocking cards: proposals, decisions, and the lists made of them (docs/hotlist.md).

-- One row per cause for which a card may be refused. What happened to it is in the journal below;
-- this is where it came to.
CREATE TABLE hotlist_cases (
    id           INTEGER PRIMARY KEY,           -- in the order of proposal
    card         INTEGER NOT NULL,
    grade        INTEGER NOT NULL,              -- 1 grey, 2 black
    cause        TEXT    NOT NULL,              -- stable word
    validator    INTEGER,                       -- whose records say so, when it is one
    proposer     TEXT    NOT NULL,              -- a rule or a person
    proposed_at  INTEGER NOT NULL,
    reason       TEXT    NOT NULL,
    evidence     TEXT    NOT NULL,              -- JSON: numbers of exceptions
    expires      INTEGER,                       -- the first moment at which it counts no more
    standing     INTEGER NOT NULL,              -- 1 proposed 2 approved 3 confirmed 4 in force
                                                -- 5 rejected 6 withdrawn 7 expired 8 unblocked
    approved_by  TEXT,
    approved_at  INTEGER,
    confirmed_by TEXT,
    confirmed_at INTEGER,
    version      INTEGER,                       -- the first list that has it
    in_force_at  INTEGER,
    ended_by     TEXT,
    ended_at     INTEGER,
    ended_why    TEXT,
    gone         INTEGER                        -- the first list without it
) STRICT;

-- A cause is told once as long as it is open.
CREATE UNIQUE INDEX hotlist_open ON hotlist_cases (card, cause) WHERE standing <= 4;
CREATE INDEX hotlist_by_card ON hotlist_cases (card);
CREATE INDEX hotlist_by_standing ON hotlist_cases (standing, cause, validator);
CREATE INDEX hotlist_by_expiry ON hotlist_cases (expires) WHERE expires IS NOT NULL AND standing <= 4;
CREATE INDEX hotlist_additions ON hotlist_cases (in_force_at) WHERE in_force_at IS NOT NULL;
CREATE INDEX hotlist_leaving ON hotlist_cases (id) WHERE version IS NOT NULL AND standing >= 7 AND gone IS NULL;

-- Every proposal, decision and list. Rows are added, never changed.
CREATE TABLE hotlist_journal (
    id    INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,
    event TEXT    NOT NULL,                     -- JSON
    hash  BLOB    NOT NULL                      -- covers the row before
) STRICT;

-- The circuit breaker, while it is open (REC-8).
CREATE TABLE hotlist_breaker (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    since   INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    recent  INTEGER NOT NULL,
    bound   INTEGER NOT NULL
) STRICT;

-- Every version of the list; the newest few with their content. A version has one content for ever.
CREATE TABLE hotlists (
    version INTEGER PRIMARY KEY,
    made_at INTEGER NOT NULL,
    cards   INTEGER NOT NULL,
    content BLOB
) STRICT;

-- What the rules look through.
CREATE INDEX lost_cards_by_time ON lost_cards (at);
CREATE INDEX orders_owed ON orders (id) WHERE phase = 6;
CREATE INDEX card_ops_retired ON card_ops (closed_at) WHERE kind = 3 AND outcome = 1;
