//! Firmware files made for a test.

use hub_device::offer::Offer;
use hub_firmware::{Builder, SigningKey};
use sha2::{Digest as _, Sha256};

/// A signed file and what is known of it.
pub(crate) struct File {
    pub(crate) key: SigningKey,
    pub(crate) bytes: Vec<u8>,
    pub(crate) uuid: String,
    pub(crate) image: Vec<u8>,
}

/// A signed file with one resource of `size` bytes that do not compress.
pub(crate) fn file(version: &str, size: usize) -> File {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ version.len() as u64;
    let image: Vec<u8> = (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect();
    let key = SigningKey::generate();
    let builder =
        Builder::new("sensor", version, "test", "generic").resource("rootfs.img", image.clone());
    let uuid = hub_firmware::firmware_uuid(builder.meta_conf().as_bytes()).to_string();
    let bytes = builder.to_vec(&key).unwrap();
    File {
        key,
        bytes,
        uuid,
        image,
    }
}

impl File {
    /// A true offer of this file.
    pub(crate) fn offer(&self, url: String) -> Offer {
        Offer {
            id: String::new(),
            url,
            uuid: self.uuid.clone(),
            version: "2.0.0".to_owned(),
            size: Some(self.bytes.len() as u64),
            sha256: Some(Sha256::digest(&self.bytes).into()),
        }
    }
}
