-- A key that was removed stays as a row, because firmware remembers who signed it.
CREATE TABLE signing_key (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    org_id     BIGINT NOT NULL REFERENCES org (id) ON DELETE CASCADE,
    name       TEXT   NOT NULL,
    public_key BLOB   NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    UNIQUE (org_id, id)
);
CREATE UNIQUE INDEX signing_key_name ON signing_key (org_id, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX signing_key_key ON signing_key (org_id, public_key) WHERE deleted_at IS NULL;

CREATE TABLE firmware (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    org_id       BIGINT NOT NULL,
    product_id   BIGINT NOT NULL,
    uuid         TEXT   NOT NULL,
    version      TEXT   NOT NULL,
    meta_product TEXT   NOT NULL,
    platform     TEXT   NOT NULL,
    architecture TEXT   NOT NULL,
    extra        TEXT   NOT NULL,
    size         BIGINT NOT NULL,
    sha256       BLOB   NOT NULL,
    key_id       BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    UNIQUE (product_id, uuid),
    UNIQUE (org_id, product_id, id),
    FOREIGN KEY (org_id, product_id) REFERENCES product (org_id, id),
    FOREIGN KEY (org_id, key_id) REFERENCES signing_key (org_id, id)
);
CREATE INDEX firmware_uuid ON firmware (org_id, uuid);
CREATE INDEX firmware_blob ON firmware (sha256);
CREATE INDEX firmware_key ON firmware (org_id, key_id);

-- provisioned counts the devices it ever made; deleting one gives no quota back.
CREATE TABLE authority (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    org_id      BIGINT NOT NULL REFERENCES org (id) ON DELETE CASCADE,
    der         BLOB   NOT NULL,
    sha256      BLOB   NOT NULL UNIQUE,
    key_sha256  BLOB   NOT NULL UNIQUE,
    key_id      BLOB,
    subject_der BLOB   NOT NULL,
    subject     TEXT   NOT NULL,
    not_before  BIGINT NOT NULL,
    not_after   BIGINT NOT NULL,
    product_id  BIGINT,
    quota       BIGINT NOT NULL,
    provisioned BIGINT NOT NULL,
    revoked_at  BIGINT,
    created_at  BIGINT NOT NULL,
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, product_id) REFERENCES product (org_id, id)
);
CREATE INDEX authority_key_id ON authority (key_id);
CREATE INDEX authority_subject ON authority (subject_der);
CREATE INDEX authority_product ON authority (org_id, product_id);

CREATE TABLE registration (
    code       TEXT   PRIMARY KEY,
    org_id     BIGINT NOT NULL REFERENCES org (id) ON DELETE CASCADE,
    expires_at BIGINT NOT NULL
);
CREATE INDEX registration_age ON registration (expires_at);
CREATE INDEX registration_org ON registration (org_id);

-- conn_gen rises at every join; node is set while connected. firmware is what the device said it runs, as JSON.
CREATE TABLE device (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    org_id              BIGINT NOT NULL,
    product_id          BIGINT NOT NULL,
    name                TEXT   NOT NULL,
    created_at          BIGINT NOT NULL,
    revoked_at          BIGINT,
    firmware            TEXT   NOT NULL,
    target_id           BIGINT,
    target_revision     BIGINT,
    conn_gen            BIGINT NOT NULL,
    node                TEXT,
    remote              TEXT,
    connected_at        BIGINT,
    disconnected_at     BIGINT,
    update_status       TEXT,
    update_progress     BIGINT,
    update_error        TEXT,
    update_at           BIGINT,
    update_gen          BIGINT,
    offer_ch            TEXT,
    offer_revision      BIGINT,
    offer_count         BIGINT,
    offer_at            BIGINT,
    UNIQUE (product_id, name),
    UNIQUE (org_id, id),
    UNIQUE (org_id, product_id, id),
    FOREIGN KEY (org_id, product_id) REFERENCES product (org_id, id),
    FOREIGN KEY (org_id, product_id, target_id) REFERENCES firmware (org_id, product_id, id)
);
CREATE INDEX device_connected ON device (org_id, id) WHERE node IS NOT NULL;
CREATE INDEX device_node ON device (node) WHERE node IS NOT NULL;
CREATE INDEX device_page ON device (product_id, id);
CREATE INDEX device_target ON device (target_id) WHERE target_id IS NOT NULL;

CREATE TABLE device_certificate (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    org_id       BIGINT NOT NULL,
    device_id    BIGINT NOT NULL,
    authority_id BIGINT,
    sha256       BLOB   NOT NULL UNIQUE,
    key_sha256   BLOB   NOT NULL,
    serial       TEXT   NOT NULL,
    not_before   BIGINT NOT NULL,
    not_after    BIGINT NOT NULL,
    revoked_at   BIGINT,
    created_at   BIGINT NOT NULL,
    FOREIGN KEY (org_id, device_id) REFERENCES device (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, authority_id) REFERENCES authority (org_id, id)
);
CREATE INDEX device_certificate_device ON device_certificate (org_id, device_id, id);
CREATE INDEX device_certificate_key ON device_certificate (key_sha256);
CREATE INDEX device_certificate_authority ON device_certificate (org_id, authority_id);

-- A deleted group stays as a row, because commands it was given are still due and name it.
CREATE TABLE device_group (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    org_id          BIGINT NOT NULL,
    product_id      BIGINT NOT NULL,
    name            TEXT   NOT NULL,
    priority        BIGINT NOT NULL,
    target_id       BIGINT,
    target_revision BIGINT,
    created_at      BIGINT NOT NULL,
    deleted_at      BIGINT,
    UNIQUE (org_id, id),
    UNIQUE (org_id, product_id, id),
    FOREIGN KEY (org_id, product_id) REFERENCES product (org_id, id),
    FOREIGN KEY (org_id, product_id, target_id) REFERENCES firmware (org_id, product_id, id)
);
CREATE UNIQUE INDEX device_group_name ON device_group (product_id, name) WHERE deleted_at IS NULL;
CREATE INDEX device_group_page ON device_group (product_id, id);
CREATE INDEX device_group_target ON device_group (target_id) WHERE target_id IS NOT NULL;

-- A command of the group is for a device exactly when from_seq < seq <= to_seq; an open membership has no to_seq.
-- Ended memberships are kept: they say who older commands were for.
CREATE TABLE member (
    org_id     BIGINT NOT NULL,
    product_id BIGINT NOT NULL,
    group_id   BIGINT NOT NULL,
    device_id  BIGINT NOT NULL,
    from_seq   BIGINT NOT NULL,
    to_seq     BIGINT,
    PRIMARY KEY (group_id, device_id, from_seq),
    FOREIGN KEY (org_id, product_id, group_id) REFERENCES device_group (org_id, product_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, product_id, device_id) REFERENCES device (org_id, product_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX member_open ON member (group_id, device_id) WHERE to_seq IS NULL;
CREATE INDEX member_device ON member (device_id, to_seq);
CREATE INDEX member_audience ON member (group_id, from_seq, to_seq, device_id);
