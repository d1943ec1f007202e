//! The truth, in domain verbs: what a hub must remember, whatever database remembers it.
//!
//! Two rules hold for every implementation. A method that answers `Ok` has committed durably. Every change that a
//! connected device must learn of bumps the `channel_head` of its channel in the same transaction, under that
//! row's lock, and is returned as a [`Change`]; the caller publishes it after the commit, and nothing breaks if
//! it does not: the poller finds the change by its mark.
//!
//! Tenancy: every call names the org it acts for, and rows of another org are `NotFound`, exactly as missing rows are.

pub mod bounded;
pub mod cluster;
pub mod copy;
pub mod delivery;
pub mod postgres;
pub mod records;
pub mod sqlite;
#[cfg(test)]
mod suite;

use std::sync::Arc;

use crate::config::Config;
use async_trait::async_trait;
use hub_core::level::{Refusal, Target};
use hub_proto::id::{
    CaId, CommandId, DeviceId, Epoch, GroupId, KeyId, OrgId, ProductId, Seq, TokenId,
};
use hub_proto::slug::Slug;
use hub_proto::time::Timestamp;

use delivery::{Change, Changed, DeviceOutcome, DeviceWrite, GroupChanges, Mark, Reconciled};
use records::{
    Anchor, Authority, Certificate, Command, CommandQuery, Connection, Device, DevicePath,
    Execution, FirmwareRecord, Group, GroupPath, IdempotentAnswer, Identity, NewAuthority,
    NewCertificate, NewCommand, NewFirmware, NewGroup, NewToken, Org, Page, PageQuery, Product,
    ProductPath, Provision, Registration, SigningKey, Token,
};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such row in this org.
    #[error("{what} not found")]
    NotFound {
        /// Kind of the row: `device`, `group`, …
        what: &'static str,
    },
    /// The change contradicts what is stored: a taken name, a group in use, a used-up code.
    #[error("{detail}")]
    Conflict {
        /// Stable code for scripts, e.g. `name_taken`.
        code: &'static str,
        /// A sentence for people.
        detail: String,
    },
    /// The database does not answer; the same call may succeed later. What it would have written may be written.
    #[error("the database cannot answer now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another call holds what this one needs, or the two got into each other's way; the same call may succeed at once.
    #[error("the database is busy with another change")]
    Busy(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored row does not make sense to this version of hub.
    #[error("stored {what} is damaged or from a newer version")]
    Damaged {
        /// Kind and id of the row.
        what: String,
    },
    /// The database refuses for a reason that will not pass by itself.
    #[error("the database failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// What went wrong, in one word; `None` where the database did its part and the answer is no.
    fn fault(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { .. } | Self::Conflict { .. } => None,
            Self::Unavailable(_) => Some("unavailable"),
            Self::Busy(_) => Some("busy"),
            Self::Damaged { .. } => Some("damaged"),
            Self::Failed(_) => Some("failed"),
        }
    }
}

/// Opens the database that a configuration names: Postgres by its URL, else the SQLite file in the state directory.
///
/// # Errors
/// As [`postgres::PostgresStore::open`] and [`sqlite::SqliteStore::open`].
pub async fn open(config: &Config) -> StoreResult<Arc<dyn Store>> {
    if config.database_url.is_empty() {
        let store = sqlite::SqliteStore::open(&config.database()).await?;
        return Ok(Arc::new(store));
    }
    let store = postgres::PostgresStore::open(&config.database_url).await?;
    Ok(Arc::new(store))
}

/// Result of a store call.
pub type StoreResult<T> = Result<T, StoreError>;

/// All of the store; what the rest of the node holds as `Arc<dyn Store>`.
pub trait Store:
    TenantStore
    + IdentityStore
    + FleetStore
    + FirmwareStore
    + CommandStore
    + DeliveryStore
    + cluster::ClusterStore
    + Send
    + Sync
    + 'static
{
    /// A call was not answered in time: connections of now may be dead, even those that look alive, and are used for no further
    /// call. Nothing to do for a database that is a file.
    fn reconnect(&self) {}
}

/// Orgs, products, tokens and remembered answers.
#[async_trait]
pub trait TenantStore {
    /// Creates an org. Conflict `name_taken`.
    async fn create_org(&self, name: &Slug) -> StoreResult<Org>;
    /// One org by name.
    async fn org(&self, name: &str) -> StoreResult<Org>;
    /// All orgs, by id.
    async fn orgs(&self, page: PageQuery) -> StoreResult<Page<Org>>;
    /// Deletes an org that has no products. Conflict `in_use`.
    async fn delete_org(&self, org: OrgId) -> StoreResult<()>;

    /// Creates a product. Conflict `name_taken`.
    async fn create_product(&self, org: OrgId, name: &Slug) -> StoreResult<Product>;
    /// One product.
    async fn product(&self, path: ProductPath<'_>) -> StoreResult<Product>;
    /// An org's products, by id.
    async fn products(&self, org: OrgId, page: PageQuery) -> StoreResult<Page<Product>>;
    /// Deletes a product without devices, groups and firmware. Conflict `in_use`.
    async fn delete_product(&self, path: ProductPath<'_>) -> StoreResult<()>;

    /// Stores a token's hash. The token itself is never stored.
    async fn create_token(&self, token: NewToken) -> StoreResult<Token>;
    /// The live token with this SHA-256, if any (expired and deleted ones are `None`).
    async fn token_by_hash(&self, sha256: [u8; 32], now: Timestamp) -> StoreResult<Option<Token>>;
    /// An org's tokens, by id.
    async fn tokens(&self, org: OrgId, page: PageQuery) -> StoreResult<Page<Token>>;
    /// Deletes a token.
    async fn delete_token(&self, org: OrgId, id: TokenId) -> StoreResult<()>;

    /// The remembered answer to a creating call, if this scope used this key less than a day ago.
    async fn idempotent_answer(
        &self,
        org: Option<OrgId>,
        key: &str,
        now: Timestamp,
    ) -> StoreResult<Option<IdempotentAnswer>>;
    /// Remembers an answer for a day. When two race, the first one stays and is returned.
    async fn remember_answer(
        &self,
        org: Option<OrgId>,
        key: &str,
        answer: IdempotentAnswer,
        now: Timestamp,
    ) -> StoreResult<IdempotentAnswer>;
}

/// Certificates, authorities and the verdict on an identity.
#[async_trait]
pub trait IdentityStore {
    /// Who holds each of the certificates with these SHA-256, and may it connect? One read; one that is not pinned is left
    /// out. Dates are the caller's to check.
    async fn identities(&self, certificates: Vec<[u8; 32]>) -> StoreResult<Vec<Identity>>;
    /// Registered authorities of all orgs that could have signed a certificate with this authority key id (or,
    /// without one, this raw DER issuer name). At most `limit`, active ones first. Revoked ones are included and marked.
    async fn anchors(
        &self,
        key_id: Option<&[u8]>,
        issuer_der: &[u8],
        limit: usize,
    ) -> StoreResult<Vec<Anchor>>;
    /// First use of a certificate that `provision.authority` verified: creates the device and pins the certificate, or pins
    /// a renewed certificate of the same public key to the device that authority provisioned before. Refusals: `Unknown` (authority
    /// provisions nothing), `QuotaExceeded`, `BadIdentifier` (name taken by a device with another key), `AuthorityRevoked`.
    async fn provision(&self, provision: Provision) -> StoreResult<Result<Identity, Refusal>>;

    /// Pins a certificate to a device. Conflict `certificate_taken` when any org has it, `key_taken` when another org has its key.
    async fn pin_certificate(
        &self,
        path: DevicePath<'_>,
        certificate: NewCertificate,
    ) -> StoreResult<Certificate>;
    /// A device's certificates, by id.
    async fn certificates(&self, path: DevicePath<'_>) -> StoreResult<Vec<Certificate>>;
    /// Revokes one certificate for good; changes the device's channel.
    async fn revoke_certificate(
        &self,
        path: DevicePath<'_>,
        sha256: [u8; 32],
        now: Timestamp,
    ) -> StoreResult<Changed<Certificate>>;

    /// Issues a one-use registration code for an org.
    async fn create_registration(&self, registration: Registration) -> StoreResult<()>;
    /// Registers an authority and uses up the code. Conflicts: `code_unknown` (missing, used, expired, other org), `key_taken`.
    async fn create_authority(
        &self,
        authority: NewAuthority,
        now: Timestamp,
    ) -> StoreResult<Authority>;
    /// An org's authorities, by id.
    async fn authorities(&self, org: OrgId, page: PageQuery) -> StoreResult<Page<Authority>>;
    /// One authority.
    async fn authority(&self, org: OrgId, id: CaId) -> StoreResult<Authority>;
    /// Turns provisioning on (product, quota) or off (`None`).
    async fn set_provisioning(
        &self,
        org: OrgId,
        id: CaId,
        provisioning: Option<(ProductId, u32)>,
    ) -> StoreResult<Authority>;
    /// Revokes an authority for good; changes the org's channel.
    async fn revoke_authority(
        &self,
        org: OrgId,
        id: CaId,
        now: Timestamp,
    ) -> StoreResult<Changed<Authority>>;
}

/// Devices, groups, membership, targets.
#[async_trait]
pub trait FleetStore {
    /// Registers a device. Conflict `name_taken`.
    async fn create_device(&self, path: ProductPath<'_>, name: &Slug) -> StoreResult<Device>;
    /// One device, with what it runs and its connection.
    async fn device(&self, path: DevicePath<'_>) -> StoreResult<Device>;
    /// A product's devices, by id.
    async fn devices(&self, path: ProductPath<'_>, page: PageQuery) -> StoreResult<Page<Device>>;
    /// Deletes a device with all that belongs to it; changes its channel.
    async fn delete_device(&self, path: DevicePath<'_>) -> StoreResult<Changed<()>>;
    /// Revokes or reinstates a device; changes its channel.
    async fn set_device_revoked(
        &self,
        path: DevicePath<'_>,
        revoked: bool,
        now: Timestamp,
    ) -> StoreResult<Changed<Device>>;
    /// Sets or clears a device's own target. Conflict `product_mismatch` is impossible: firmware is looked up in the device's product.
    async fn set_device_target(
        &self,
        path: DevicePath<'_>,
        firmware_uuid: Option<&str>,
    ) -> StoreResult<Changed<Device>>;
    /// An org's live connections, by device id.
    async fn connections(&self, org: OrgId, page: PageQuery) -> StoreResult<Page<Connection>>;

    /// Creates a group. Conflict `name_taken`.
    async fn create_group(&self, path: ProductPath<'_>, group: NewGroup) -> StoreResult<Group>;
    /// One group, with its member count.
    async fn group(&self, path: GroupPath<'_>) -> StoreResult<Group>;
    /// A product's groups, by id.
    async fn groups(&self, path: ProductPath<'_>, page: PageQuery) -> StoreResult<Page<Group>>;
    /// Changes a group's priority; changes its channel.
    async fn set_group_priority(
        &self,
        path: GroupPath<'_>,
        priority: i32,
    ) -> StoreResult<Changed<Group>>;
    /// Deletes a group: every membership ends now; changes its channel. Commands already accepted stay due for the members they were for.
    async fn delete_group(&self, path: GroupPath<'_>) -> StoreResult<Changed<()>>;
    /// Sets or clears a group's target; changes its channel.
    async fn set_group_target(
        &self,
        path: GroupPath<'_>,
        firmware_uuid: Option<&str>,
    ) -> StoreResult<Changed<Group>>;
    /// Members, by device id.
    async fn members(&self, path: GroupPath<'_>, page: PageQuery) -> StoreResult<Page<Device>>;
    /// Adds devices (by name; at most 10,000) in one transaction; those that are members already stay as they are. Any
    /// unknown name refuses the whole call; so does a device that is in `GROUPS_PER_DEVICE_MAX` groups (conflict `too_many_groups`). Each added device's channel changes. `from_seq` is the group's head.
    async fn add_members(&self, path: GroupPath<'_>, devices: &[&str])
    -> StoreResult<Changed<u32>>;
    /// Ends one membership; the device's channel changes. `NotFound` when it is no member.
    async fn remove_member(&self, path: GroupPath<'_>, device: &str) -> StoreResult<Changed<()>>;
}

/// Signing keys and firmware.
#[async_trait]
pub trait FirmwareStore {
    /// Registers an org's public key. Conflicts `name_taken`, `key_taken` (in this org).
    async fn create_signing_key(
        &self,
        org: OrgId,
        name: &Slug,
        public_key: [u8; 32],
    ) -> StoreResult<SigningKey>;
    /// An org's keys, by id.
    async fn signing_keys(&self, org: OrgId) -> StoreResult<Vec<SigningKey>>;
    /// Removes a key; firmware signed by it stays.
    async fn delete_signing_key(&self, org: OrgId, id: KeyId) -> StoreResult<()>;
    /// Records a verified upload. Conflict `firmware_exists` for the same uuid in the product.
    async fn create_firmware(
        &self,
        path: ProductPath<'_>,
        firmware: NewFirmware,
    ) -> StoreResult<FirmwareRecord>;
    /// One firmware.
    async fn firmware(&self, path: ProductPath<'_>, uuid: &str) -> StoreResult<FirmwareRecord>;
    /// A product's firmware, by id.
    async fn firmwares(
        &self,
        path: ProductPath<'_>,
        page: PageQuery,
    ) -> StoreResult<Page<FirmwareRecord>>;
    /// Deletes a firmware nothing targets. Conflict `in_use`. True when no other row needs its blob (same sha256) any more.
    async fn delete_firmware(&self, path: ProductPath<'_>, uuid: &str) -> StoreResult<bool>;
    /// What a signed download URL of `org` names.
    async fn download(&self, org: OrgId, uuid: &str) -> StoreResult<Arc<Target>>;
}

/// Commands as operators see them.
#[async_trait]
pub trait CommandStore {
    /// Accepts a command to a device: one row, the channel's next seq.
    async fn command_device(
        &self,
        path: DevicePath<'_>,
        command: NewCommand,
    ) -> StoreResult<Changed<Command>>;
    /// Accepts a command to all members a group has at this moment: one row, whatever the group's size.
    async fn command_group(
        &self,
        path: GroupPath<'_>,
        command: NewCommand,
    ) -> StoreResult<Changed<Command>>;
    /// One command with its counts per state at `now` (members without a row count as queued or expired).
    async fn command(&self, org: OrgId, id: CommandId, now: Timestamp) -> StoreResult<Command>;
    /// Commands of a device's or a group's channel, newest first.
    async fn commands(
        &self,
        org: OrgId,
        of: CommandQuery<'_>,
        page: PageQuery,
        now: Timestamp,
    ) -> StoreResult<Page<Command>>;
    /// One row per device of the command's exact audience, by device id.
    async fn executions(
        &self,
        org: OrgId,
        id: CommandId,
        page: PageQuery,
        now: Timestamp,
    ) -> StoreResult<Page<Execution>>;
    /// Cancels what was not sent yet. Conflict `too_late` when nothing is left to cancel. Changes the channel.
    async fn cancel_command(
        &self,
        org: OrgId,
        id: CommandId,
        now: Timestamp,
    ) -> StoreResult<Changed<Command>>;
}

/// What the device side of a node reads and writes.
#[async_trait]
pub trait DeliveryStore {
    /// Random id of this database's history; changes when it is restored from a backup.
    fn epoch(&self) -> Epoch;
    /// Applies writes of many sockets in one transaction, each on its own: one that is fenced or refused does not
    /// stop the others. Outcomes are in the order of the writes. At most 256 writes a call.
    async fn device_writes(&self, writes: Vec<DeviceWrite>) -> StoreResult<Vec<DeviceOutcome>>;
    /// Everything a connected device lacks: its level and its due commands. Takes the certificate so that a
    /// revocation of it, of its authority or of the device shows as the standing.
    async fn reconcile(
        &self,
        device: DeviceId,
        certificate: [u8; 32],
        now: Timestamp,
    ) -> StoreResult<Reconciled>;
    /// A group's state and its commands above `after`, oldest first, at most `limit`.
    async fn group_changes(
        &self,
        group: GroupId,
        after: Seq,
        limit: usize,
        now: Timestamp,
    ) -> StoreResult<GroupChanges>;
    /// The present end of the change log: where polling starts.
    async fn mark(&self) -> StoreResult<Mark>;
    /// Channels that changed since `mark`, at most `limit`, and the mark to go on from.
    async fn changes_since(&self, mark: Mark, limit: usize) -> StoreResult<(Mark, Vec<Change>)>;
}
