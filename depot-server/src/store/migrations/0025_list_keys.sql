-- Keys that seal lists for the fleet (ADR-0032). The newest one seals.
CREATE TABLE list_keys (
    number  INTEGER PRIMARY KEY,               -- at least the second of its making; has one secret for ever
    secret  BLOB    NOT NULL,                  -- 32 bytes
    made_at INTEGER NOT NULL,
    made_by TEXT    NOT NULL,
    why     TEXT    NOT NULL
) STRICT;

-- Lost devices: whoever has the secret key to this public one is given no list keys.
CREATE TABLE list_keys_withheld (
    public_key BLOB    PRIMARY KEY,            -- Ed25519, 32 bytes
    validator  INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    said_by    TEXT    NOT NULL,
    why        TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
