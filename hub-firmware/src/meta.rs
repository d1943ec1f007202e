//! What `meta.conf` says: the firmware's description and the resources that the signature binds.
//!
//! Owns the uuid rule. Keys that hub does not use are kept as text; sections other than `file-resource` (the tasks
//! for the updater program) are read over.

#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use blake2::{Blake2b256, Digest};
use uuid::{Uuid, uuid};

use crate::error::FirmwareError;
use crate::limits::{Limits, META_BYTES_MAX, META_BYTES_MIN};
use crate::path;
use text::{Content, Statement};

/// Namespace of firmware uuids, a constant of the format.
const UUID_NAMESPACE: Uuid = uuid!("2053dffb-d51e-4310-b93b-956da89f9f34");

/// What is wrong with `meta.conf`, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct MetaError {
    /// Line, from 1; 0 for the text as a whole.
    pub line: usize,
    /// The fault, for people.
    pub what: String,
}

/// What the build says about a firmware.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `meta-product`.
    pub product: String,
    /// `meta-version`.
    pub version: String,
    /// `meta-platform`.
    pub platform: String,
    /// `meta-architecture`.
    pub architecture: String,
    /// `meta-author`.
    pub author: Option<String>,
    /// `meta-description`.
    pub description: Option<String>,
    /// `meta-vcs-identifier`.
    pub vcs: Option<String>,
    /// `meta-misc`.
    pub misc: Option<String>,
    /// Oldest updater program that can apply it, `require-fwup-version`.
    pub fwup_version: Option<String>,
    /// Other `meta-…` keys, without the prefix.
    pub extra: BTreeMap<String, String>,
}

/// One file inside the firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Name in `meta.conf`.
    pub name: String,
    /// Bytes of content in the archive after inflating; holes are not in it.
    pub length: u64,
    /// Bytes that it takes when written out, holes included.
    pub length_with_holes: u64,
    /// Digest of the content.
    pub blake2b_256: [u8; 32],
}

/// The uuid of the firmware that has this `meta.conf`. Signing does not change it. Its variant bits are random.
pub fn firmware_uuid(meta_conf: &[u8]) -> Uuid {
    let digest = Blake2b256::new()
        .chain_update(UUID_NAMESPACE.as_bytes())
        .chain_update(meta_conf)
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x50;
    Uuid::from_bytes(bytes)
}

/// Reads the bytes of `meta.conf`.
pub(crate) fn parse(
    bytes: &[u8],
    limits: &Limits,
) -> Result<(Metadata, Vec<Resource>), FirmwareError> {
    if bytes.len() < META_BYTES_MIN || bytes.len() > META_BYTES_MAX {
        return Err(FirmwareError::MetaSize);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| MetaError {
        line: 0,
        what: "it is not UTF-8 text".into(),
    })?;
    let mut values = BTreeMap::new();
    let mut resources = Vec::new();
    let mut entries = BTreeSet::new();
    for Statement {
        line,
        name,
        content,
    } in text::parse(text)?
    {
        match content {
            Content::Value(value) => {
                if values.insert(name.clone(), (line, value)).is_some() {
                    return Err(MetaError {
                        line,
                        what: format!("the key '{name}' comes twice"),
                    }
                    .into());
                }
            }
            Content::Section { title, body } if name == "file-resource" => {
                let resource = resource(line, title, &body)?;
                let entry = path::entry_of(&resource.name);
                path::check(entry.as_bytes())?;
                if !entries.insert(entry) {
                    return Err(FirmwareError::Duplicate {
                        name: resource.name,
                    });
                }
                resources.push(resource);
            }
            Content::List(_) | Content::Section { .. } => {}
        }
        if resources.len() > limits.resources_max {
            return Err(FirmwareError::TooLarge {
                limit: limits.resources_max as u64,
                unit: "resources",
            });
        }
    }
    Ok((metadata(values)?, resources))
}

fn metadata(mut values: BTreeMap<String, (usize, String)>) -> Result<Metadata, MetaError> {
    for (key, (line, value)) in &values {
        if value
            .chars()
            .any(|c| c.is_control() && c != '\n' && c != '\t')
        {
            return Err(MetaError {
                line: *line,
                what: format!("the value of '{key}' holds control characters"),
            });
        }
    }
    let mut take = |key: &str| {
        values
            .remove(key)
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
    };
    let missing = |key: &str| MetaError {
        line: 0,
        what: format!("the key '{key}' is missing"),
    };
    let mut metadata = Metadata {
        product: take("meta-product").ok_or_else(|| missing("meta-product"))?,
        version: take("meta-version").ok_or_else(|| missing("meta-version"))?,
        platform: take("meta-platform").ok_or_else(|| missing("meta-platform"))?,
        architecture: take("meta-architecture").ok_or_else(|| missing("meta-architecture"))?,
        author: take("meta-author"),
        description: take("meta-description"),
        vcs: take("meta-vcs-identifier"),
        misc: take("meta-misc"),
        fwup_version: take("require-fwup-version"),
        extra: BTreeMap::new(),
    };
    metadata.extra = values
        .into_iter()
        .filter_map(|(key, (_, value))| Some((key.strip_prefix("meta-")?.to_owned(), value)))
        .collect();
    Ok(metadata)
}

fn resource(line: usize, title: Option<String>, body: &[Statement]) -> Result<Resource, MetaError> {
    let fault = |what: &str| MetaError {
        line,
        what: what.into(),
    };
    let name = title.ok_or_else(|| fault("a file-resource has no name"))?;
    // A resource without a length is empty.
    let mut lengths = None;
    let mut digest = None;
    for statement in body {
        match (statement.name.as_str(), &statement.content) {
            ("length", Content::Value(one)) if lengths.is_none() => {
                lengths = Some(sizes(std::slice::from_ref(one)))
            }
            ("length", Content::List(many)) if lengths.is_none() => lengths = Some(sizes(many)),
            ("blake2b-256", Content::Value(hex)) if digest.is_none() => {
                digest = Some(from_hex(hex))
            }
            ("length" | "blake2b-256", _) => {
                return Err(fault("a length or digest is malformed or comes twice"));
            }
            (_, Content::Value(_) | Content::List(_) | Content::Section { .. }) => {}
        }
    }
    let (length, length_with_holes) = lengths
        .unwrap_or(Some((0, 0)))
        .ok_or_else(|| fault("the length of a file-resource is not a number"))?;
    let blake2b_256 = digest
        .flatten()
        .ok_or_else(|| fault("a file-resource needs a blake2b-256 of 64 hexadecimal digits"))?;
    Ok(Resource {
        name,
        length,
        length_with_holes,
        blake2b_256,
    })
}

/// Sums of a length list: content and holes take turns, content first.
fn sizes(parts: &[String]) -> Option<(u64, u64)> {
    let mut content = 0_u64;
    let mut all = 0_u64;
    for (index, part) in parts.iter().enumerate() {
        let part: u64 = part.parse().ok()?;
        all = all.checked_add(part)?;
        if index % 2 == 0 {
            content = content.checked_add(part)?;
        }
    }
    Some((content, all))
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(bytes)
}
