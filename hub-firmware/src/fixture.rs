//! Makes archives for tests byte by byte: as fwup packs them, and as attackers would.

use std::io::Write;

use blake2::{Blake2b256, Digest};
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use crate::keys::SigningKey;

/// One entry, with everything that can be wrong about it.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) name: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) deflate: bool,
    /// Flag bit 3: sums follow in a descriptor, and the header has the unpacked size only, as fwup writes it.
    pub(crate) descriptor: bool,
    pub(crate) flags: u16,
    pub(crate) mode: u32,
    /// Name in the directory, when it lies.
    pub(crate) listed_as: Option<Vec<u8>>,
    /// Unpacked size in the local header, when it lies.
    pub(crate) size: Option<u32>,
}

impl Raw {
    pub(crate) fn new(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            content: content.to_vec(),
            deflate: true,
            descriptor: true,
            flags: 0,
            mode: 0o100_644,
            listed_as: None,
            size: None,
        }
    }

    pub(crate) fn stored(mut self) -> Self {
        self.deflate = false;
        self
    }

    fn packed(&self) -> Vec<u8> {
        if !self.deflate {
            return self.content.clone();
        }
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(&self.content).unwrap();
        deflate.finish().unwrap()
    }
}

fn numbers(bytes: &mut Vec<u8>, shorts: &[u16], words: &[u32]) {
    shorts
        .iter()
        .for_each(|n| bytes.extend_from_slice(&n.to_le_bytes()));
    words
        .iter()
        .for_each(|n| bytes.extend_from_slice(&n.to_le_bytes()));
}

/// Packs the entries.
pub(crate) fn zip(entries: &[Raw]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let packed = entry.packed();
        let mut crc = Crc::new();
        crc.update(&entry.content);
        let (flags, method) = (
            entry.flags | u16::from(entry.descriptor) << 3,
            u16::from(entry.deflate) * 8,
        );
        let sums = [crc.sum(), packed.len() as u32, entry.content.len() as u32];
        let size = entry.size.unwrap_or(sums[2]);
        let early = match (entry.descriptor, entry.deflate) {
            (true, true) => [0, 0, size],
            (true, false) => [0, size, size],
            (false, _) => [sums[0], sums[1], size],
        };
        let offset = bytes.len() as u32;
        // An extra field of 4 bytes stands for the time stamps that fwup's ZIP library adds.
        bytes.extend_from_slice(b"PK\x03\x04");
        numbers(&mut bytes, &[20, flags, method, 0, 33], &early);
        numbers(&mut bytes, &[entry.name.len() as u16, 4], &[]);
        bytes.extend_from_slice(&entry.name);
        bytes.extend_from_slice(&[0x55, 0x54, 0, 0]);
        bytes.extend_from_slice(&packed);
        if entry.descriptor {
            bytes.extend_from_slice(b"PK\x07\x08");
            numbers(&mut bytes, &[], &sums);
        }
        let name = entry.listed_as.as_ref().unwrap_or(&entry.name);
        directory.extend_from_slice(b"PK\x01\x02");
        numbers(&mut directory, &[0x031e, 20, flags, method, 0, 33], &sums);
        numbers(
            &mut directory,
            &[name.len() as u16, 0, 0, 0, 0],
            &[entry.mode << 16, offset],
        );
        directory.extend_from_slice(name);
    }
    let start = bytes.len() as u32;
    bytes.extend_from_slice(&directory);
    bytes.extend_from_slice(b"PK\x05\x06");
    let count = entries.len() as u16;
    numbers(
        &mut bytes,
        &[0, 0, count, count],
        &[directory.len() as u32, start],
    );
    numbers(&mut bytes, &[0], &[]);
    bytes
}

/// Metadata that every firmware must have.
pub(crate) const META: &str =
    "meta-product=p\nmeta-version=1.0.0\nmeta-platform=x\nmeta-architecture=y\n";

/// Declares a resource in `meta.conf`.
pub(crate) fn declare(name: &str, content: &[u8]) -> String {
    let digest: String = Blake2b256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "file-resource \"{name}\" {{\n  length={}\n  blake2b-256=\"{digest}\"\n}}\n",
        content.len()
    )
}

/// Signature, `meta.conf` and resources as fwup orders them, ready to be tampered with.
pub(crate) fn entries(key: &SigningKey, meta: &str, resources: &[(&str, &[u8])]) -> Vec<Raw> {
    let meta: String = std::iter::once(meta.to_owned())
        .chain(
            resources
                .iter()
                .map(|(name, content)| declare(name, content)),
        )
        .collect();
    let mut entries = vec![
        Raw::new("meta.conf.ed25519", &key.sign(meta.as_bytes())).stored(),
        Raw::new("meta.conf", meta.as_bytes()),
    ];
    entries.extend(
        resources
            .iter()
            .map(|(name, content)| Raw::new(crate::path::entry_of(name), content)),
    );
    entries
}
