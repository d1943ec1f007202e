//! Why a file is not accepted as firmware: what is wrong, and what the reader of the message can do about it.

use crate::limits::{KEYS_MAX, META_BYTES_MAX, META_BYTES_MIN, SIGNATURE_BYTES};
use crate::meta::MetaError;

/// A refused file. Every variant but [`FirmwareError::Read`] is a verdict about the bytes and will not change by retrying.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// The first bytes are not those of a ZIP archive.
    #[error("this is not a .fw file: it does not start as a ZIP archive; build it with fwup")]
    NotFirmware,
    /// The bytes ended before the archive did.
    #[error("the file ends early, after {size} bytes; transfer it again")]
    Truncated {
        /// Bytes seen.
        size: u64,
    },
    /// There is something behind the archive's end record.
    #[error("bytes follow the end of the archive; use the file as the build made it")]
    Trailing,
    /// Entries are not in the order that the format demands.
    #[error(
        "the archive starts with '{found}' where '{expected}' must be; build it with fwup instead of packing it by hand"
    )]
    Order {
        /// Entry that should be there.
        expected: &'static str,
        /// Entry that is there.
        found: String,
    },
    /// No signature in the file.
    #[error("the firmware is not signed; sign it with a registered key (fwup --sign)")]
    Unsigned,
    /// The signature entry is not 64 bytes.
    #[error("the signature must be {SIGNATURE_BYTES} bytes; sign the firmware again")]
    SignatureSize,
    /// The signature does not verify with any key given.
    #[error(
        "the signature matches none of the {tried} registered keys; register the key that signed it, or sign it with one of them"
    )]
    ForeignKey {
        /// Keys tried.
        tried: usize,
    },
    /// More keys than one signature is tried against.
    #[error("{given} signing keys are registered where at most {KEYS_MAX} are tried; remove some")]
    TooManyKeys {
        /// Keys given.
        given: usize,
    },
    /// `meta.conf` is too small or too large.
    #[error(
        "meta.conf must be {META_BYTES_MIN} to {META_BYTES_MAX} bytes; build the firmware again"
    )]
    MetaSize,
    /// `meta.conf` cannot be read.
    #[error("meta.conf cannot be understood; build the firmware again")]
    Meta(#[from] MetaError),
    /// An entry name that could leave a directory or name a device file.
    #[error("the entry name {name:?} is not safe; rename the resource")]
    UnsafePath {
        /// The name, cut to a readable length.
        name: String,
    },
    /// An entry that `meta.conf` does not declare.
    #[error("the entry '{name}' is not declared in meta.conf; build the firmware again")]
    Undeclared {
        /// Entry name.
        name: String,
    },
    /// An entry name that comes twice.
    #[error("the entry '{name}' comes twice; build the firmware again")]
    Duplicate {
        /// Entry name.
        name: String,
    },
    /// A declared resource that is not in the archive.
    #[error("the resource '{name}' is missing; build the firmware again")]
    Missing {
        /// Resource name.
        name: String,
    },
    /// A resource is longer or shorter than `meta.conf` says.
    #[error(
        "the resource '{name}' must be {expected} bytes long and is not; the file was altered, build or transfer it again"
    )]
    Length {
        /// Resource name.
        name: String,
        /// Bytes that `meta.conf` promises.
        expected: u64,
    },
    /// A resource's BLAKE2b-256 is not the signed one.
    #[error(
        "the content of the resource '{name}' is not what was signed; the file was altered, build or transfer it again"
    )]
    Digest {
        /// Resource name.
        name: String,
    },
    /// The archive contradicts itself.
    #[error("the archive is damaged: {what}; transfer it again")]
    Damaged {
        /// Which part contradicts which.
        what: &'static str,
    },
    /// A ZIP feature that firmware has no use for.
    #[error("the archive uses {what}, which firmware files never do; build it with fwup")]
    Unsupported {
        /// The feature.
        what: &'static str,
    },
    /// A bound on sizes or counts was reached.
    #[error("the firmware has more than {limit} {unit}; make it smaller or raise the limit")]
    TooLarge {
        /// The bound.
        limit: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// Inflates to far more than it weighs.
    #[error(
        "the firmware inflates to more than {ratio} times its size, as attacks do; store large empty areas as holes"
    )]
    Bomb {
        /// The ratio allowed.
        ratio: u64,
    },
    /// The caller stopped in the middle or went on after a refusal.
    #[error("the check was not carried through to the end")]
    Abandoned,
    /// The bytes could not be read.
    #[error("the firmware cannot be read")]
    Read(#[from] std::io::Error),
}

impl FirmwareError {
    /// Stable code of the refusal, for problem documents and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFirmware => "not_firmware",
            Self::Truncated { .. } => "truncated",
            Self::Trailing | Self::Damaged { .. } => "damaged",
            Self::Order { .. } | Self::Unsupported { .. } => "bad_layout",
            Self::Unsigned => "unsigned",
            Self::SignatureSize => "bad_signature",
            Self::ForeignKey { .. } => "foreign_key",
            Self::TooManyKeys { .. } => "too_many_keys",
            Self::MetaSize | Self::Meta(_) => "bad_metadata",
            Self::UnsafePath { .. } => "unsafe_path",
            Self::Undeclared { .. } => "undeclared_entry",
            Self::Duplicate { .. } => "duplicate_entry",
            Self::Missing { .. } => "missing_resource",
            Self::Length { .. } | Self::Digest { .. } => "altered",
            Self::TooLarge { .. } => "too_large",
            Self::Bomb { .. } => "bomb",
            Self::Abandoned => "abandoned",
            Self::Read(_) => "unreadable",
        }
    }

    /// True when the same bytes may pass at another time: they could not be read, or the check was broken off.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Abandoned)
    }
}
