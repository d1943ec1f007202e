//! A small world for the checks: an org, a product, devices with certificates, a key and a firmware.

use std::sync::Arc;

use hub_core::command::ExecutionState;
use hub_proto::event::FirmwareMetadata;
use hub_proto::id::{CommandId, ConnGen, DeviceId, KeyId, OrgId};
use hub_proto::slug::Slug;
use hub_proto::time::Timestamp;
use uuid::Uuid;

use crate::store::cluster::NodeRun;
use crate::store::delivery::{
    Attach, Attached, DeviceOutcome, DeviceWrite, ExecutionReport, Reconciled,
};
use crate::store::records::{
    Command, DevicePath, FirmwareRecord, GroupPath, NewAuthority, NewCertificate, NewCommand,
    NewFirmware, NewGroup, PageQuery, ProductPath, Registration,
};
use crate::store::{Store, StoreError, StoreResult};

/// The moment at which checks happen, unless they say otherwise.
pub(in crate::store) const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

/// A name.
pub(in crate::store) fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

/// This many seconds after [`NOW`].
pub(in crate::store) fn later(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1_000_000)
}

/// A start of a node.
pub(in crate::store) fn run(name: &str, run: i64) -> NodeRun {
    NodeRun {
        name: name.into(),
        run,
        peer_address: None,
    }
}

/// A digest that stands for a text.
pub(in crate::store) fn digest(text: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(text.as_bytes()).into()
}

/// The first page, as large as it gets.
pub(in crate::store) fn all() -> PageQuery {
    PageQuery {
        after: None,
        limit: 1000,
    }
}

/// The refusal is `NotFound`.
pub(in crate::store) fn missing<T>(result: StoreResult<T>) -> bool {
    matches!(result, Err(StoreError::NotFound { .. }))
}

/// The code of a conflict.
pub(in crate::store) fn code<T: std::fmt::Debug>(result: StoreResult<T>) -> &'static str {
    match result {
        Err(StoreError::Conflict { code, .. }) => code,
        other => panic!("no conflict: {other:?}"),
    }
}

/// A certificate by name: the text before a `/` stands for its key.
pub(in crate::store) fn certificate(text: &str) -> NewCertificate {
    let key = text.split('/').next().unwrap();
    NewCertificate {
        sha256: digest(text),
        key_sha256: digest(key),
        serial: "01".to_owned(),
        not_before: later(-1000),
        not_after: later(1000),
        now: NOW,
    }
}

/// An authority by name.
pub(in crate::store) fn authority(org: OrgId, code: &str, text: &str) -> NewAuthority {
    NewAuthority {
        org,
        code: code.to_owned(),
        der: text.as_bytes().to_vec(),
        sha256: digest(&format!("{text}/der")),
        key_sha256: digest(text),
        key_id: Some(text.as_bytes().to_vec()),
        subject_der: format!("CN={text}").into_bytes(),
        subject: format!("CN={text}"),
        not_before: later(-1000),
        not_after: later(1000),
        provisioning: None,
    }
}

/// One org with one product `p`.
pub(in crate::store) struct World {
    pub(in crate::store) store: Arc<dyn Store>,
    pub(in crate::store) org: OrgId,
    pub(in crate::store) key: KeyId,
}

impl World {
    /// Makes an org of this name.
    pub(in crate::store) async fn new(store: &Arc<dyn Store>, name: &str) -> Self {
        let org = store.create_org(&slug(name)).await.unwrap().id;
        store.create_product(org, &slug("p")).await.unwrap();
        let key = store
            .create_signing_key(org, &slug("key"), digest("key"))
            .await
            .unwrap()
            .id;
        Self {
            store: Arc::clone(store),
            org,
            key,
        }
    }

    /// The same world, through another store on its database.
    pub(in crate::store) fn on(&self, store: &Arc<dyn Store>) -> Self {
        Self {
            store: Arc::clone(store),
            org: self.org,
            key: self.key,
        }
    }

    /// Its product.
    pub(in crate::store) fn product(&self) -> ProductPath<'static> {
        ProductPath {
            org: self.org,
            product: "p",
        }
    }

    /// A device of it.
    pub(in crate::store) fn at<'a>(&self, device: &'a str) -> DevicePath<'a> {
        DevicePath {
            product: ProductPath {
                org: self.org,
                product: "p",
            },
            device,
        }
    }

    /// A group of it.
    pub(in crate::store) fn group<'a>(&self, group: &'a str) -> GroupPath<'a> {
        GroupPath {
            product: ProductPath {
                org: self.org,
                product: "p",
            },
            group,
        }
    }

    /// Makes a device and pins a certificate named after org and device.
    pub(in crate::store) async fn device(&self, name: &str) -> DeviceId {
        let id = self
            .store
            .create_device(self.product(), &slug(name))
            .await
            .unwrap()
            .id;
        self.store
            .pin_certificate(self.at(name), certificate(&format!("{id}")))
            .await
            .unwrap();
        id
    }

    /// Makes a group with these members.
    pub(in crate::store) async fn members(&self, group: &str, priority: i32, devices: &[&str]) {
        let new = NewGroup {
            name: slug(group),
            priority,
        };
        self.store.create_group(self.product(), new).await.unwrap();
        self.store
            .add_members(self.group(group), devices)
            .await
            .unwrap();
    }

    /// Records a firmware of this uuid.
    pub(in crate::store) async fn firmware(&self, uuid: &str) -> FirmwareRecord {
        self.store
            .create_firmware(self.product(), self.new_firmware(uuid))
            .await
            .unwrap()
    }

    /// A firmware of this uuid.
    pub(in crate::store) fn new_firmware(&self, uuid: &str) -> NewFirmware {
        NewFirmware {
            uuid: uuid.to_owned(),
            version: format!("1.0.{uuid}"),
            product: "P".to_owned(),
            platform: "board".to_owned(),
            architecture: "arm".to_owned(),
            extra: [("author".to_owned(), "us".to_owned())].into(),
            size: 123,
            sha256: digest(uuid),
            key: self.key,
        }
    }

    /// Joins; the join must be answered.
    pub(in crate::store) async fn attach(&self, device: DeviceId) -> Attached {
        let outcome = self.write(self.join(device)).await;
        let DeviceOutcome::Attached { attached, .. } = outcome else {
            panic!("no join: {outcome:?}")
        };
        *attached
    }

    /// A join at [`NOW`] from node `n`.
    pub(in crate::store) fn join(&self, device: DeviceId) -> DeviceWrite {
        DeviceWrite::Attach(Box::new(Attach {
            device,
            certificate: digest(&device.to_string()),
            node: "n".into(),
            firmware: FirmwareMetadata {
                uuid: Some("f0".into()),
                version: Some("1.0".into()),
                ..Default::default()
            },
            remote: Some("192.0.2.1:4000".into()),
            contest: None,
            at: NOW,
        }))
    }

    /// What a device lacks.
    pub(in crate::store) async fn lacks(&self, device: DeviceId) -> Reconciled {
        let certificate = digest(&device.to_string());
        self.store
            .reconcile(device, certificate, NOW)
            .await
            .unwrap()
    }

    /// Uuid of the target in effect for a device.
    pub(in crate::store) async fn effective(&self, device: &str) -> Option<String> {
        let device = self.store.device(self.at(device)).await.unwrap();
        device.effective_target.map(|target| target.uuid)
    }

    /// How many devices of the org are connected.
    pub(in crate::store) async fn connected(&self) -> usize {
        self.store
            .connections(self.org, all())
            .await
            .unwrap()
            .items
            .len()
    }

    /// One write of a socket.
    pub(in crate::store) async fn write(&self, write: DeviceWrite) -> DeviceOutcome {
        self.store
            .device_writes(vec![write])
            .await
            .unwrap()
            .pop()
            .unwrap()
    }

    /// A report about a command.
    pub(in crate::store) async fn report(
        &self,
        device: DeviceId,
        generation: ConnGen,
        command: CommandId,
        state: ExecutionState,
        at: Timestamp,
    ) -> DeviceOutcome {
        let report = ExecutionReport {
            command,
            state,
            output: Some(format!("{state:?}").into()),
        };
        self.write(DeviceWrite::Execution {
            device,
            generation,
            report,
            at,
        })
        .await
    }

    /// Accepts a command to a device, good for a minute.
    pub(in crate::store) async fn to_device(&self, device: &str) -> Command {
        self.store
            .command_device(self.at(device), command())
            .await
            .unwrap()
            .value
    }

    /// Accepts a command to a group, good for a minute.
    pub(in crate::store) async fn to_group(&self, group: &str) -> Command {
        self.store
            .command_group(self.group(group), command())
            .await
            .unwrap()
            .value
    }

    /// A command's counts.
    pub(in crate::store) async fn counts(
        &self,
        id: CommandId,
        at: Timestamp,
    ) -> Vec<(ExecutionState, u64)> {
        self.store.command(self.org, id, at).await.unwrap().counts
    }

    /// Registers an authority that provisions into `p`.
    pub(in crate::store) async fn provisioning(
        &self,
        name: &str,
        quota: u32,
    ) -> hub_proto::id::CaId {
        let code = format!("code-{name}");
        let registration = Registration {
            org: self.org,
            code: code.clone(),
            expires_at: far(),
        };
        self.store.create_registration(registration).await.unwrap();
        let product = self.store.product(self.product()).await.unwrap().id;
        let new = NewAuthority {
            provisioning: Some((product, quota)),
            ..authority(self.org, &code, name)
        };
        self.store.create_authority(new, NOW).await.unwrap().id
    }
}

/// Beyond every clock of the checks.
pub(in crate::store) fn far() -> Timestamp {
    Timestamp(9_000_000_000_000_000)
}

/// A new command, good for a minute.
pub(in crate::store) fn command() -> NewCommand {
    NewCommand {
        id: CommandId(Uuid::now_v7()),
        name: slug("reboot"),
        args: r#"{"force":true}"#.to_owned(),
        expires_at: later(60),
        now: NOW,
    }
}
