//! A store whose every call ends in time, and that knows whether the database is there.
//!
//! A server that is frozen or cut off says nothing at all, and its connections look alive. Rule owned here: a call is answered
//! within `STORE_CALL_MAX`; one that is not tells that the database is away, and that its connections cannot be trusted; while it is away, calls are answered `Unavailable`
//! at once, and only the probe asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hub_core::level::{Refusal, Target};
use hub_core::limits::{STORE_CALL_MAX, STORE_PROBE_MAX};
use hub_core::rebalance::Rules;
use hub_proto::id::{
    CaId, CommandId, ConnGen, DeviceId, Epoch, GroupId, KeyId, OrgId, ProductId, Seq, TokenId,
};
use hub_proto::slug::Slug;
use hub_proto::time::Timestamp;
use tracing::Instrument as _;

use super::cluster::{ClusterStore, NodeLoad, NodeRow, NodeRun, Notice, Reaped, Renewal};
use super::delivery::{
    Change, Changed, DeviceOutcome, DeviceWrite, GroupChanges, Mark, Reconciled,
};
use super::records::{
    Anchor, Authority, Certificate, Command, CommandQuery, Connection, Device, DevicePath,
    Execution, FirmwareRecord, Group, GroupPath, IdempotentAnswer, Identity, NewAuthority,
    NewCertificate, NewCommand, NewFirmware, NewGroup, NewToken, Org, Page, PageQuery, Product,
    ProductPath, Provision, Registration, SigningKey, Token,
};
use super::{
    CommandStore, DeliveryStore, FirmwareStore, FleetStore, IdentityStore, Store, StoreError,
    StoreResult, TenantStore,
};
use crate::database::Database;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::spans;

/// A store behind a deadline and a circuit breaker.
pub(crate) struct Bounded {
    inner: Arc<dyn Store>,
    database: Database,
    metrics: Arc<Metrics>,
    /// What databases are called in traces.
    system: &'static str,
}

impl Bounded {
    /// Bounds and times the calls of a store, and keeps `database` told.
    pub(crate) fn new(
        inner: Arc<dyn Store>,
        database: Database,
        metrics: Arc<Metrics>,
        system: &'static str,
    ) -> Self {
        Self {
            inner,
            database,
            metrics,
            system,
        }
    }

    async fn within<T>(
        &self,
        verb: &'static str,
        limit: Duration,
        call: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        if self.database.is_away() {
            return Err(StoreError::Unavailable("the database is away".into()));
        }
        self.ask(verb, limit, call).await
    }

    async fn ask<T>(
        &self,
        verb: &'static str,
        limit: Duration,
        call: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        let begun = Instant::now();
        let span = spans::store(verb, self.system);
        let call = call.instrument(span.clone());
        let answer = tokio::time::timeout(limit, call).await;
        let outcome = answer.unwrap_or_else(|_| {
            self.inner.reconnect();
            let error = format!("the database did not answer within {limit:?}");
            Err(StoreError::Unavailable(error.into()))
        });
        self.database.note(&outcome);
        let error = outcome.as_ref().err().and_then(StoreError::fault);
        if let Some(error) = error {
            spans::store_failed(&span, error);
        }
        self.metrics.database_call(verb, error, begun.elapsed());
        outcome
    }
}

impl Store for Bounded {}

/// Forwards the calls of one trait.
macro_rules! bounded {
    (impl $store:ident { $(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl $store for Bounded {
            $(async fn $name(&self, $($argument: $type),*) -> StoreResult<$answer> {
                self.within(stringify!($name), STORE_CALL_MAX, self.inner.$name($($argument),*)).await
            })*
        }
    };
}

#[async_trait]
impl DeliveryStore for Bounded {
    fn epoch(&self) -> Epoch {
        self.inner.epoch()
    }

    async fn device_writes(&self, writes: Vec<DeviceWrite>) -> StoreResult<Vec<DeviceOutcome>> {
        let writing = self.inner.device_writes(writes);
        self.within("device_writes", STORE_CALL_MAX, writing).await
    }

    async fn reconcile(
        &self,
        device: DeviceId,
        certificate: [u8; 32],
        now: Timestamp,
    ) -> StoreResult<Reconciled> {
        self.within(
            "reconcile",
            STORE_CALL_MAX,
            self.inner.reconcile(device, certificate, now),
        )
        .await
    }

    async fn group_changes(
        &self,
        group: GroupId,
        after: Seq,
        limit: usize,
        now: Timestamp,
    ) -> StoreResult<GroupChanges> {
        self.within(
            "group_changes",
            STORE_CALL_MAX,
            self.inner.group_changes(group, after, limit, now),
        )
        .await
    }

    /// The one call that asks a database that is away: the probe's.
    async fn mark(&self) -> StoreResult<Mark> {
        self.ask("mark", STORE_PROBE_MAX, self.inner.mark()).await
    }

    async fn changes_since(&self, mark: Mark, limit: usize) -> StoreResult<(Mark, Vec<Change>)> {
        let reading = self.inner.changes_since(mark, limit);
        self.within("changes_since", STORE_PROBE_MAX, reading).await
    }
}

bounded! { impl TenantStore {
    fn create_org(name: &Slug) -> Org;
    fn org(name: &str) -> Org;
    fn orgs(page: PageQuery) -> Page<Org>;
    fn delete_org(org: OrgId) -> ();
    fn create_product(org: OrgId, name: &Slug) -> Product;
    fn product(path: ProductPath<'_>) -> Product;
    fn products(org: OrgId, page: PageQuery) -> Page<Product>;
    fn delete_product(path: ProductPath<'_>) -> ();
    fn create_token(token: NewToken) -> Token;
    fn token_by_hash(sha256: [u8; 32], now: Timestamp) -> Option<Token>;
    fn tokens(org: OrgId, page: PageQuery) -> Page<Token>;
    fn delete_token(org: OrgId, id: TokenId) -> ();
    fn idempotent_answer(org: Option<OrgId>, key: &str, now: Timestamp) -> Option<IdempotentAnswer>;
    fn remember_answer(org: Option<OrgId>, key: &str, answer: IdempotentAnswer, now: Timestamp) -> IdempotentAnswer;
}}

bounded! { impl IdentityStore {
    fn identities(certificates: Vec<[u8; 32]>) -> Vec<Identity>;
    fn anchors(key_id: Option<&[u8]>, issuer_der: &[u8], limit: usize) -> Vec<Anchor>;
    fn provision(provision: Provision) -> Result<Identity, Refusal>;
    fn pin_certificate(path: DevicePath<'_>, certificate: NewCertificate) -> Certificate;
    fn certificates(path: DevicePath<'_>) -> Vec<Certificate>;
    fn revoke_certificate(path: DevicePath<'_>, sha256: [u8; 32], now: Timestamp) -> Changed<Certificate>;
    fn create_registration(registration: Registration) -> ();
    fn create_authority(authority: NewAuthority, now: Timestamp) -> Authority;
    fn authorities(org: OrgId, page: PageQuery) -> Page<Authority>;
    fn authority(org: OrgId, id: CaId) -> Authority;
    fn set_provisioning(org: OrgId, id: CaId, provisioning: Option<(ProductId, u32)>) -> Authority;
    fn revoke_authority(org: OrgId, id: CaId, now: Timestamp) -> Changed<Authority>;
}}

bounded! { impl FleetStore {
    fn create_device(path: ProductPath<'_>, name: &Slug) -> Device;
    fn device(path: DevicePath<'_>) -> Device;
    fn devices(path: ProductPath<'_>, page: PageQuery) -> Page<Device>;
    fn delete_device(path: DevicePath<'_>) -> Changed<()>;
    fn set_device_revoked(path: DevicePath<'_>, revoked: bool, now: Timestamp) -> Changed<Device>;
    fn set_device_target(path: DevicePath<'_>, firmware_uuid: Option<&str>) -> Changed<Device>;
    fn connections(org: OrgId, page: PageQuery) -> Page<Connection>;
    fn create_group(path: ProductPath<'_>, group: NewGroup) -> Group;
    fn group(path: GroupPath<'_>) -> Group;
    fn groups(path: ProductPath<'_>, page: PageQuery) -> Page<Group>;
    fn set_group_priority(path: GroupPath<'_>, priority: i32) -> Changed<Group>;
    fn delete_group(path: GroupPath<'_>) -> Changed<()>;
    fn set_group_target(path: GroupPath<'_>, firmware_uuid: Option<&str>) -> Changed<Group>;
    fn members(path: GroupPath<'_>, page: PageQuery) -> Page<Device>;
    fn add_members(path: GroupPath<'_>, devices: &[&str]) -> Changed<u32>;
    fn remove_member(path: GroupPath<'_>, device: &str) -> Changed<()>;
}}

bounded! { impl FirmwareStore {
    fn create_signing_key(org: OrgId, name: &Slug, public_key: [u8; 32]) -> SigningKey;
    fn signing_keys(org: OrgId) -> Vec<SigningKey>;
    fn delete_signing_key(org: OrgId, id: KeyId) -> ();
    fn create_firmware(path: ProductPath<'_>, firmware: NewFirmware) -> FirmwareRecord;
    fn firmware(path: ProductPath<'_>, uuid: &str) -> FirmwareRecord;
    fn firmwares(path: ProductPath<'_>, page: PageQuery) -> Page<FirmwareRecord>;
    fn delete_firmware(path: ProductPath<'_>, uuid: &str) -> bool;
    fn download(org: OrgId, uuid: &str) -> Arc<Target>;
}}

bounded! { impl CommandStore {
    fn command_device(path: DevicePath<'_>, command: NewCommand) -> Changed<Command>;
    fn command_group(path: GroupPath<'_>, command: NewCommand) -> Changed<Command>;
    fn command(org: OrgId, id: CommandId, now: Timestamp) -> Command;
    fn commands(org: OrgId, of: CommandQuery<'_>, page: PageQuery, now: Timestamp) -> Page<Command>;
    fn executions(org: OrgId, id: CommandId, page: PageQuery, now: Timestamp) -> Page<Execution>;
    fn cancel_command(org: OrgId, id: CommandId, now: Timestamp) -> Changed<Command>;
}}

bounded! { impl ClusterStore {
    fn start_node(node: &NodeRun) -> ();
    fn enter_node(node: &NodeRun) -> bool;
    fn renew_lease(node: &NodeRun, load: NodeLoad) -> Renewal;
    fn nodes() -> Vec<NodeRow>;
    fn order_rebalance(rules: Rules, lasting: Duration) -> Timestamp;
    fn release_lease(node: &NodeRun) -> ();
    fn reap(by: &NodeRun) -> Reaped;
    fn reclaim(node: &NodeRun, held: &[(DeviceId, ConnGen)]) -> Vec<DeviceId>;
    fn held(node: &NodeRun, after: DeviceId) -> Vec<(DeviceId, ConnGen)>;
    fn notices(node: &NodeRun) -> Vec<Notice>;
    fn clear_notices(node: &NodeRun, notices: &[Notice]) -> ();
}}
