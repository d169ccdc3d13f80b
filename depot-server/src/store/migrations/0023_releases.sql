-- Releases of validators' software, as the agency signed them (ADR-0028).
CREATE TABLE release_images (
    number  INTEGER PRIMARY KEY,   -- the version of its list
    content BLOB    NOT NULL
) STRICT;
