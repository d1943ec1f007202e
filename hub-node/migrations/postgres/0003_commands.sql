-- Given to a device or to a group: exactly one of the two. The channel is spelled out so that (ch, seq) is one key.
CREATE TABLE command (
    id           BYTEA  NOT NULL PRIMARY KEY,
    org_id       BIGINT NOT NULL,
    device_id    BIGINT,
    group_id     BIGINT,
    ch           TEXT   NOT NULL,
    seq          BIGINT NOT NULL,
    name         TEXT   NOT NULL,
    args         TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    cancelled_at BIGINT,
    UNIQUE (ch, seq),
    UNIQUE (org_id, id),
    CHECK ((device_id IS NULL) <> (group_id IS NULL)),
    FOREIGN KEY (org_id, device_id) REFERENCES device (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, group_id) REFERENCES device_group (org_id, id) ON DELETE CASCADE
);
-- What is live in a channel, found without walking over what expired long ago.
CREATE INDEX command_live ON command (ch, expires_at, seq) WHERE cancelled_at IS NULL;
CREATE INDEX command_device ON command (org_id, device_id) WHERE device_id IS NOT NULL;
CREATE INDEX command_group ON command (org_id, group_id) WHERE group_id IS NOT NULL;

-- state: 0 queued, 1 sent, 2 delivered, 3 succeeded, 4 failed, 5 rejected, 7 cancelled. Expired (6) is never stored:
-- it follows from expires_at. A command to a device has its row from the start, a command to a group once the device reports.
CREATE TABLE execution (
    command_id BYTEA  NOT NULL,
    device_id  BIGINT NOT NULL,
    org_id     BIGINT NOT NULL,
    state      BIGINT NOT NULL,
    output     TEXT,
    at         BIGINT,
    PRIMARY KEY (command_id, device_id),
    FOREIGN KEY (org_id, command_id) REFERENCES command (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, device_id) REFERENCES device (org_id, id) ON DELETE CASCADE
);
CREATE INDEX execution_device ON execution (device_id);

-- Up to acked_seq nothing in this channel is owed to this device any more.
CREATE TABLE cursor (
    org_id    BIGINT NOT NULL,
    device_id BIGINT NOT NULL,
    ch        TEXT   NOT NULL,
    acked_seq BIGINT NOT NULL,
    PRIMARY KEY (device_id, ch),
    FOREIGN KEY (org_id, device_id) REFERENCES device (org_id, id) ON DELETE CASCADE
);
