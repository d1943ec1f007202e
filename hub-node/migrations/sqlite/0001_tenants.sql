-- Types are TEXT, BIGINT and BLOB only, so that one set of row types reads both databases. Times are UTC microseconds.
-- Every row of a tenant carries org_id, and every reference between such rows is made of org_id and the id:
-- a row that points into another org cannot be written.

-- One row: which history this is, which shape the rows have, and the last position of the change log.
CREATE TABLE meta (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    epoch  BIGINT NOT NULL,
    format BIGINT NOT NULL,
    rev    BIGINT NOT NULL
);

CREATE TABLE org (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT   NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE product (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    org_id     BIGINT NOT NULL REFERENCES org (id),
    name       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (org_id, name),
    UNIQUE (org_id, id)
);

-- Without an org: the root token.
CREATE TABLE token (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    org_id     BIGINT REFERENCES org (id) ON DELETE CASCADE,
    role       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    sha256     BLOB   NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX token_of_org ON token (org_id, id);

-- scope is the org's id, or 0 for calls that belong to no org.
CREATE TABLE idempotency (
    scope          BIGINT NOT NULL,
    key            TEXT   NOT NULL,
    org_id         BIGINT REFERENCES org (id) ON DELETE CASCADE,
    request_sha256 BLOB   NOT NULL,
    status         BIGINT NOT NULL,
    body           BLOB   NOT NULL,
    created_at     BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_age ON idempotency (created_at);
CREATE INDEX idempotency_org ON idempotency (org_id);

-- The change log, folded: one row per channel with its head and the place of its last change among all changes.
-- Rows outlive what they speak of, so that the last change of a deleted device or group is seen too.
CREATE TABLE channel_head (
    ch     TEXT PRIMARY KEY,
    org_id BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    rev    BIGINT NOT NULL
);
CREATE INDEX channel_head_rev ON channel_head (rev) WHERE rev > 0;
