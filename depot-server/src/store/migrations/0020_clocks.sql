-- Clocks that disagree: taps that lie before the tap whose record they found on the card (REC-17).
CREATE TABLE clock_gaps (
    day    INTEGER NOT NULL,   -- since 1970, as the clock says that is behind (UTC)
    ahead  INTEGER NOT NULL,   -- validator
    behind INTEGER NOT NULL,   -- validator
    gap    BLOB    NOT NULL,   -- card, entry, record found, record written: 87 bytes
    PRIMARY KEY (day, ahead, behind)
) WITHOUT ROWID;
CREATE INDEX clock_gaps_by_ahead ON clock_gaps (ahead, day);
CREATE INDEX clock_gaps_by_behind ON clock_gaps (behind, day);
