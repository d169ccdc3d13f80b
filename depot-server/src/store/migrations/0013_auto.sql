-- Standing instructions: cards that are topped up whenever the books see them below a threshold.
CREATE TABLE auto_top_ups (
    card        INTEGER PRIMARY KEY,
    below       INTEGER NOT NULL,
    amount      INTEGER NOT NULL,
    channel     INTEGER NOT NULL,           -- who collects the money
    per_day_max INTEGER NOT NULL,
    stopped     TEXT,                       -- why it orders nothing: asked, failed, given-back
    since       INTEGER NOT NULL            -- orders of this number and above are its own
) STRICT;
