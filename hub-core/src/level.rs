//! What the store says about one device right now: its standing, its targets, its groups.
//!
//! Level state is never queued: whoever is told that it changed reads it again, whole.

use std::sync::Arc;
use std::time::Duration;

use hub_proto::id::{ChannelId, FirmwareId, GroupId, Seq};
use hub_proto::slug::Slug;

/// Everything that decides what a connected device should run and which channels it may join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// May this device (still) be connected?
    pub standing: Standing,
    /// Head of the device's own channel at the time of the read.
    pub head: Seq,
    /// The target set on the device itself; wins over every group's.
    pub target: Option<Arc<Target>>,
    /// The groups the device is a member of, in no particular order.
    pub groups: Vec<Membership>,
    /// How often the device was offered its last target.
    pub offers: Option<Offers>,
}

/// How often a device was offered one target, over all its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// Whose decision the target was.
    pub channel: ChannelId,
    /// The target's revision.
    pub revision: Seq,
    /// Offers so far.
    pub count: u32,
    /// Time since the last one, when this was read.
    pub ago: Duration,
}

/// One group as one of its members sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group.
    pub group: GroupId,
    /// Its name, unique in the product.
    pub name: Slug,
    /// Precedence among groups: the highest one that has a target wins; ties go to the lower id.
    pub priority: i32,
    /// Commands at or below this position are not for this member.
    pub from_seq: Seq,
    /// Head of the group's channel at the time of the read.
    pub head: Seq,
    /// The group's target.
    pub target: Option<Arc<Target>>,
}

/// A firmware that a device or a group should run, with the revision of the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The firmware's row.
    pub firmware: FirmwareId,
    /// Position in the device's or group's channel at which this target was set; part of the offer's id.
    pub revision: Seq,
    /// `nerves_fw_uuid` of the container, lower case with hyphens.
    pub uuid: Box<str>,
    /// Version as the firmware's metadata has it.
    pub version: Box<str>,
    /// Product as the firmware's metadata has it.
    pub product: Box<str>,
    /// Platform as the firmware's metadata has it.
    pub platform: Box<str>,
    /// Architecture as the firmware's metadata has it.
    pub architecture: Box<str>,
    /// Bytes of the container.
    pub size: u64,
    /// SHA-256 of the container.
    pub sha256: [u8; 32],
}

/// Whether an identity may hold a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Active,
    /// It may not, for this reason.
    Refused(Refusal),
}

/// Why an identity is refused. Ordered from "never known" to "known and stopped".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// No certificate was presented.
    NoCertificate,
    /// Neither pinned nor issued by a registered authority that provisions devices.
    Unknown,
    /// The authority would provision this device, but its quota is used up.
    QuotaExceeded,
    /// The name the certificate proposes is taken by another device, or is not a valid name.
    BadIdentifier,
    /// Past `notAfter`.
    Expired,
    /// Before `notBefore`.
    NotYetValid,
    /// The certificate was revoked.
    CertificateRevoked,
    /// The authority that issued the certificate was revoked.
    AuthorityRevoked,
    /// The device was revoked or deleted.
    DeviceRevoked,
}
