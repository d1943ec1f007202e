//! Rows as the rest of the node sees them, and what it takes to make one.
//!
#![expect(
    missing_docs,
    reason = "fields are named after the columns they hold; the types say what they are"
)]

use hub_core::command::ExecutionState;
use hub_core::level::Refusal;
use hub_proto::id::{
    CaId, CertId, CommandId, ConnGen, DeviceId, FirmwareId, GroupId, KeyId, OrgId, ProductId, Seq,
    TokenId,
};
use hub_proto::slug::Slug;
use hub_proto::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A product by name, inside an org the caller may act for.
#[derive(Clone, Copy, Debug)]
pub struct ProductPath<'a> {
    /// The org.
    pub org: OrgId,
    /// The product's name.
    pub product: &'a str,
}

/// A device by name.
#[derive(Clone, Copy, Debug)]
pub struct DevicePath<'a> {
    /// Its product.
    pub product: ProductPath<'a>,
    /// The device's name.
    pub device: &'a str,
}

/// A group by name.
#[derive(Clone, Copy, Debug)]
pub struct GroupPath<'a> {
    /// Its product.
    pub product: ProductPath<'a>,
    /// The group's name.
    pub group: &'a str,
}

/// Which page of a list: rows with an id above `after` (below, where a list is newest first), at most `limit`.
#[derive(Clone, Debug)]
pub struct PageQuery {
    /// Key of the last row already seen, as the store's [`Page::next`] gave it.
    pub after: Option<String>,
    /// 1 to 1,000.
    pub limit: usize,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page starts; `None` at the end. Only letters, digits and `-`.
    pub next: Option<String>,
}

/// An org.
#[derive(Clone, Debug)]
pub struct Org {
    pub id: OrgId,
    pub name: Slug,
    pub created_at: Timestamp,
}

/// A product.
#[derive(Clone, Debug)]
pub struct Product {
    pub id: ProductId,
    pub org: OrgId,
    pub name: Slug,
    pub created_at: Timestamp,
}

/// What a token may do inside its org.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Also targets, groups, commands, devices.
    Operator,
    /// Also certificates, keys, firmware, tokens.
    Admin,
}

/// A token to be stored.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The org it is good for; `None` is the root token, good for all and for making orgs.
    pub org: Option<OrgId>,
    pub role: Role,
    pub name: Slug,
    /// SHA-256 of the token's text.
    pub sha256: [u8; 32],
    pub expires_at: Option<Timestamp>,
    pub now: Timestamp,
}

/// A stored token.
#[derive(Clone, Debug)]
pub struct Token {
    pub id: TokenId,
    pub org: Option<OrgId>,
    pub role: Role,
    pub name: Slug,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// The stored answer of a creating call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentAnswer {
    /// SHA-256 over method, path and body of the request that was answered.
    pub request_sha256: [u8; 32],
    pub status: u16,
    /// Body of the answer.
    pub body: Vec<u8>,
}

/// The holder of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub org: OrgId,
    pub org_name: Slug,
    pub product: ProductId,
    pub product_name: Slug,
    pub device: DeviceId,
    pub device_name: Slug,
    pub certificate: [u8; 32],
    /// The registered authority that issued it, when one did.
    pub authority: Option<CaId>,
    /// `Some` when certificate, authority or device is revoked.
    pub refusal: Option<Refusal>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// A registered authority as the TLS verifier needs it.
#[derive(Clone, Debug)]
pub struct Anchor {
    pub authority: CaId,
    pub org: OrgId,
    /// Its certificate, DER.
    pub der: Arc<[u8]>,
    pub revoked: bool,
    /// It provisions unknown devices into a product.
    pub provisions: bool,
}

/// A verified but unknown certificate.
#[derive(Clone, Debug)]
pub struct Provision {
    pub authority: CaId,
    /// The certificate's common name, checked to be a slug.
    pub name: Slug,
    pub certificate: NewCertificate,
}

/// A certificate to be pinned.
#[derive(Clone, Debug)]
pub struct NewCertificate {
    pub sha256: [u8; 32],
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key_sha256: [u8; 32],
    /// Serial number, hexadecimal.
    pub serial: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub now: Timestamp,
}

/// A pinned certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub id: CertId,
    pub device: DeviceId,
    pub sha256: [u8; 32],
    pub serial: String,
    pub authority: Option<CaId>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// A one-use code that proves possession of an authority's key.
#[derive(Clone, Debug)]
pub struct Registration {
    pub org: OrgId,
    pub code: String,
    pub expires_at: Timestamp,
}

/// An authority to be registered; possession of its key was proved with `code`.
#[derive(Clone, Debug)]
pub struct NewAuthority {
    pub org: OrgId,
    pub code: String,
    pub der: Vec<u8>,
    pub sha256: [u8; 32],
    pub key_sha256: [u8; 32],
    /// SubjectKeyIdentifier, when it has one.
    pub key_id: Option<Vec<u8>>,
    /// Raw DER subject.
    pub subject_der: Vec<u8>,
    /// Subject for people.
    pub subject: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Product name and quota, when it shall provision.
    pub provisioning: Option<(ProductId, u32)>,
}

/// A registered authority.
#[derive(Clone, Debug)]
pub struct Authority {
    pub id: CaId,
    pub org: OrgId,
    pub sha256: [u8; 32],
    pub subject: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Product, its name and quota.
    pub provisioning: Option<(ProductId, Slug, u32)>,
    /// Devices it has provisioned so far.
    pub provisioned: u32,
    pub revoked_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// A device with what it reported.
#[derive(Clone, Debug)]
pub struct Device {
    pub id: DeviceId,
    pub product: ProductId,
    pub product_name: Slug,
    pub name: Slug,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    /// What it said it runs at its last join (`nerves_fw_*` keys without the prefix).
    pub firmware: BTreeMap<String, String>,
    /// uuid and version of its own target.
    pub target: Option<FirmwareName>,
    /// uuid and version of the target in effect: its own, else that of its highest-priority group with one.
    pub effective_target: Option<FirmwareName>,
    pub groups: Vec<Slug>,
    pub update: Option<UpdateState>,
    /// When it is connected.
    pub connection: Option<Connection>,
    /// When it was last seen to leave.
    pub disconnected_at: Option<Timestamp>,
}

/// A firmware by its two names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareName {
    pub uuid: String,
    pub version: String,
}

/// The last news about an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateState {
    pub status: String,
    pub progress: Option<u8>,
    pub error: Option<String>,
    pub at: Timestamp,
}

/// A live connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub device: DeviceId,
    pub device_name: Slug,
    pub product_name: Slug,
    pub node: String,
    pub generation: ConnGen,
    pub remote: Option<String>,
    pub since: Timestamp,
}

/// A group to be made.
#[derive(Clone, Debug)]
pub struct NewGroup {
    pub name: Slug,
    pub priority: i32,
}

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    pub id: GroupId,
    pub product: ProductId,
    pub name: Slug,
    pub priority: i32,
    pub target: Option<FirmwareName>,
    pub members: u64,
    pub head: Seq,
    pub created_at: Timestamp,
}

/// A registered public key.
#[derive(Clone, Debug)]
pub struct SigningKey {
    pub id: KeyId,
    pub name: Slug,
    pub public_key: [u8; 32],
    pub created_at: Timestamp,
}

/// A verified firmware to be recorded.
#[derive(Clone, Debug)]
pub struct NewFirmware {
    pub uuid: String,
    pub version: String,
    pub product: String,
    pub platform: String,
    pub architecture: String,
    /// author, description, vcs, misc: those that were there.
    pub extra: BTreeMap<String, String>,
    pub size: u64,
    pub sha256: [u8; 32],
    /// The key that signed it.
    pub key: KeyId,
}

/// A recorded firmware.
#[derive(Clone, Debug)]
pub struct FirmwareRecord {
    pub id: FirmwareId,
    pub firmware: NewFirmware,
    pub created_at: Timestamp,
}

/// A command to be accepted.
#[derive(Clone, Debug)]
pub struct NewCommand {
    /// Made by the caller, so that a repeated call with the same id is the same command.
    pub id: CommandId,
    pub name: Slug,
    /// JSON object as text, at most 16 KiB.
    pub args: String,
    pub expires_at: Timestamp,
    pub now: Timestamp,
}

/// Whose commands to list.
#[derive(Clone, Copy, Debug)]
pub enum CommandQuery<'a> {
    /// Those given to the device itself.
    Device(DevicePath<'a>),
    /// Those given to the group.
    Group(GroupPath<'a>),
}

/// A command.
#[derive(Clone, Debug)]
pub struct Command {
    pub id: CommandId,
    /// `device` or `group` and its name.
    pub audience: Audience,
    pub name: Slug,
    pub args: String,
    pub seq: Seq,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub cancelled_at: Option<Timestamp>,
    /// Devices per state, over the exact audience; states with none are left out.
    pub counts: Vec<(ExecutionState, u64)>,
}

/// Whom a command is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// One device.
    Device { product: Slug, device: Slug },
    /// A group's members at the moment of the command.
    Group { product: Slug, group: Slug },
}

/// One command on one device.
#[derive(Clone, Debug)]
pub struct Execution {
    pub device: DeviceId,
    pub device_name: Slug,
    pub state: ExecutionState,
    pub output: Option<String>,
    /// When it reached this state; `None` while queued.
    pub at: Option<Timestamp>,
}
