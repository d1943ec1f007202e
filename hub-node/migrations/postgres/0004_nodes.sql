-- One row per node that runs or ran lately. run tells one start of a node from the next under the same name. lease_until is
-- by the database's clock; lapsed says that the last renewal came late, buried that the node's devices were marked as gone.
CREATE TABLE node (
    name         TEXT   PRIMARY KEY,
    run          BIGINT NOT NULL,
    peer_address TEXT,
    started_at   BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL,
    lapsed       BIGINT NOT NULL,
    buried       BIGINT NOT NULL
);

-- For a node that must look at one of its sockets: a newer generation took the device over, or the same one is asked
-- whether its peer is still there.
CREATE TABLE notice (
    node      TEXT   NOT NULL,
    device_id BIGINT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    conn_gen  BIGINT NOT NULL,
    PRIMARY KEY (node, device_id)
);
CREATE INDEX notice_device ON notice (device_id);

-- Joins that took the device from a live connection since takeovers_since, whom the last one took it from, and the
-- generation whose peer last answered a question, with when it did. Times are by the database's clock.
ALTER TABLE device ADD COLUMN taken_from TEXT;
ALTER TABLE device ADD COLUMN takeovers BIGINT NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN takeovers_since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN proved_gen BIGINT;
ALTER TABLE device ADD COLUMN proved_at BIGINT;
