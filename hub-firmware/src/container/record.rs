//! The fixed-size records of a ZIP archive, and the rules that each must satisfy on its own.

use crate::error::FirmwareError;

pub(super) const LOCAL_MARK: [u8; 4] = *b"PK\x03\x04";
pub(super) const DESCRIPTOR_MARK: [u8; 4] = *b"PK\x07\x08";
pub(super) const CENTRAL_MARK: [u8; 4] = *b"PK\x01\x02";
pub(super) const END_MARK: [u8; 4] = *b"PK\x05\x06";
/// Bytes of a local header behind its mark.
pub(super) const LOCAL_BYTES: usize = 26;
/// Bytes of a data descriptor with its mark.
pub(super) const DESCRIPTOR_BYTES: usize = 16;
/// Bytes of a directory record behind its mark.
pub(super) const CENTRAL_BYTES: usize = 42;
/// Bytes of the end record behind its mark.
pub(super) const END_BYTES: usize = 18;

const FLAG_ENCRYPTED: u16 = 1;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_PATCH: u16 = 1 << 5;
const FLAG_STRONG_ENCRYPTION: u16 = 1 << 6;
const FLAG_MASKED: u16 = 1 << 13;
const ZIP64: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// Size and checksum of one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) crc: u32,
    pub(super) packed: u32,
    pub(super) unpacked: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Local {
    pub(super) method: Method,
    /// The sums follow the data; those in the header are zero or a promise.
    pub(super) descriptor: bool,
    pub(super) sums: Sums,
    pub(super) name_bytes: usize,
    pub(super) extra_bytes: usize,
}

impl Local {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, FirmwareError> {
        let flags = le16(bytes, 2);
        Ok(Self {
            method: method(flags, le16(bytes, 4))?,
            descriptor: flags & FLAG_DESCRIPTOR != 0,
            sums: sums(bytes, 10)?,
            name_bytes: le16(bytes, 22).into(),
            extra_bytes: le16(bytes, 24).into(),
        })
    }
}

/// Reads a data descriptor, mark included. The mark is optional in ZIP at large, but every builder writes it.
pub(super) fn descriptor(bytes: &[u8]) -> Result<Sums, FirmwareError> {
    if bytes.get(..4) != Some(&DESCRIPTOR_MARK) {
        return Err(FirmwareError::Damaged {
            what: "no data descriptor follows an entry",
        });
    }
    sums(bytes, 4)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Central {
    pub(super) method: Method,
    pub(super) sums: Sums,
    pub(super) name_bytes: usize,
    /// Extra fields and comment, which nobody reads.
    pub(super) skip_bytes: usize,
    pub(super) offset: u32,
}

impl Central {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, FirmwareError> {
        // Upper half of the external attributes: the Unix mode, zero when the maker had none.
        let kind = le16(bytes, 36) & 0o170_000;
        if kind != 0 && kind != 0o100_000 {
            return Err(FirmwareError::Unsupported {
                what: "links, directories or device files",
            });
        }
        if le16(bytes, 30) != 0 {
            return Err(FirmwareError::Unsupported {
                what: "several volumes",
            });
        }
        Ok(Self {
            method: method(le16(bytes, 4), le16(bytes, 6))?,
            sums: sums(bytes, 12)?,
            name_bytes: le16(bytes, 24).into(),
            skip_bytes: usize::from(le16(bytes, 26)) + usize::from(le16(bytes, 28)),
            offset: le32(bytes, 38),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) entries: u64,
    pub(super) directory_bytes: u64,
    pub(super) directory_offset: u64,
}

impl End {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, FirmwareError> {
        if le16(bytes, 0) != 0 || le16(bytes, 2) != 0 || le16(bytes, 4) != le16(bytes, 6) {
            return Err(FirmwareError::Unsupported {
                what: "several volumes",
            });
        }
        if le16(bytes, 16) != 0 {
            return Err(FirmwareError::Unsupported {
                what: "an archive comment",
            });
        }
        Ok(Self {
            entries: le16(bytes, 6).into(),
            directory_bytes: le32(bytes, 8).into(),
            directory_offset: le32(bytes, 12).into(),
        })
    }
}

fn method(flags: u16, method: u16) -> Result<Method, FirmwareError> {
    if flags & (FLAG_ENCRYPTED | FLAG_STRONG_ENCRYPTION | FLAG_MASKED) != 0 {
        return Err(FirmwareError::Unsupported { what: "encryption" });
    }
    if flags & FLAG_PATCH != 0 {
        return Err(FirmwareError::Unsupported {
            what: "patched data",
        });
    }
    match method {
        0 => Ok(Method::Stored),
        8 => Ok(Method::Deflated),
        _ => Err(FirmwareError::Unsupported {
            what: "a compression method other than deflate",
        }),
    }
}

fn sums(bytes: &[u8], at: usize) -> Result<Sums, FirmwareError> {
    let sums = Sums {
        crc: le32(bytes, at),
        packed: le32(bytes, at + 4),
        unpacked: le32(bytes, at + 8),
    };
    if sums.packed == ZIP64 || sums.unpacked == ZIP64 {
        return Err(FirmwareError::Unsupported {
            what: "entries of 4 GiB and more",
        });
    }
    Ok(sums)
}

/// Little-endian number at a place; the caller has made sure that the record is complete.
fn le16(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|two| two.try_into().ok())
        .map_or(0, u16::from_le_bytes)
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}
