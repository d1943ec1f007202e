-- What each node holds and whether it takes devices, as of its last renewal; and the rules by which operators want
-- nodes levelled for a while, one row at most. Times are by the database's clock.
ALTER TABLE node ADD COLUMN sockets BIGINT NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN ready BIGINT NOT NULL DEFAULT 1;
CREATE TABLE rebalance (
    id               BIGINT PRIMARY KEY CHECK (id = 1),
    absolute         BIGINT NOT NULL,
    relative_percent BIGINT NOT NULL,
    per_second       BIGINT NOT NULL,
    until            BIGINT NOT NULL
);
