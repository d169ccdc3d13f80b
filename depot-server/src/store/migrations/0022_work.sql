-- What each validator recorded in each hour of a day (UTC), to compare with what it usually does
-- (OPS-1, ADR-0030). Counted are presentations: committed, in doubt, refused, ticket. An entry counts
-- in the hour that its clock says; where that clock was not set, or says more than ten minutes after
-- the arrival, in the hour of its arrival. So all of it follows from `taps`.
CREATE TABLE work (
    day       INTEGER NOT NULL,   -- since 1970
    validator INTEGER NOT NULL,
    h0 INTEGER NOT NULL DEFAULT 0, h1 INTEGER NOT NULL DEFAULT 0,
    h2 INTEGER NOT NULL DEFAULT 0, h3 INTEGER NOT NULL DEFAULT 0,
    h4 INTEGER NOT NULL DEFAULT 0, h5 INTEGER NOT NULL DEFAULT 0,
    h6 INTEGER NOT NULL DEFAULT 0, h7 INTEGER NOT NULL DEFAULT 0,
    h8 INTEGER NOT NULL DEFAULT 0, h9 INTEGER NOT NULL DEFAULT 0,
    h10 INTEGER NOT NULL DEFAULT 0, h11 INTEGER NOT NULL DEFAULT 0,
    h12 INTEGER NOT NULL DEFAULT 0, h13 INTEGER NOT NULL DEFAULT 0,
    h14 INTEGER NOT NULL DEFAULT 0, h15 INTEGER NOT NULL DEFAULT 0,
    h16 INTEGER NOT NULL DEFAULT 0, h17 INTEGER NOT NULL DEFAULT 0,
    h18 INTEGER NOT NULL DEFAULT 0, h19 INTEGER NOT NULL DEFAULT 0,
    h20 INTEGER NOT NULL DEFAULT 0, h21 INTEGER NOT NULL DEFAULT 0,
    h22 INTEGER NOT NULL DEFAULT 0, h23 INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, validator)
) STRICT, WITHOUT ROWID;

INSERT INTO work
SELECT at / 86400000, validator,
    sum(at / 3600000 % 24 = 0), sum(at / 3600000 % 24 = 1), sum(at / 3600000 % 24 = 2),
    sum(at / 3600000 % 24 = 3), sum(at / 3600000 % 24 = 4), sum(at / 3600000 % 24 = 5),
    sum(at / 3600000 % 24 = 6), sum(at / 3600000 % 24 = 7), sum(at / 3600000 % 24 = 8),
    sum(at / 3600000 % 24 = 9), sum(at / 3600000 % 24 = 10), sum(at / 3600000 % 24 = 11),
    sum(at / 3600000 % 24 = 12), sum(at / 3600000 % 24 = 13), sum(at / 3600000 % 24 = 14),
    sum(at / 3600000 % 24 = 15), sum(at / 3600000 % 24 = 16), sum(at / 3600000 % 24 = 17),
    sum(at / 3600000 % 24 = 18), sum(at / 3600000 % 24 = 19), sum(at / 3600000 % 24 = 20),
    sum(at / 3600000 % 24 = 21), sum(at / 3600000 % 24 = 22), sum(at / 3600000 % 24 = 23)
FROM (
    SELECT validator,
           CASE WHEN clock >= 2 AND tapped_at <= received_at + 600000
                THEN tapped_at ELSE received_at END AS at
    FROM taps WHERE outcome IN (0, 1, 2, 5)
)
GROUP BY 1, 2;
