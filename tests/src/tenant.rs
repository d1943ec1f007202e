//! What every hub under test holds, made through its public API: an org's product, signing key, devices, groups, firmware.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use hub_cli::Client;
use hub_firmware::{Builder, SigningKey};
use hub_proto::api::{
    CertificateCreate, DeviceCreate, GroupCreate, MembersAdd, ProductCreate, SigningKeyCreate,
};

use crate::pki::Leaf;

/// The org of every hub under test.
pub const ORG: &str = "acme";
/// The product of every hub under test.
pub const PRODUCT: &str = "sensor";

/// Makes the product and registers the key that signs its firmware.
///
/// # Errors
/// The API's.
pub async fn furnish(api: &Client, signing: &SigningKey) -> anyhow::Result<()> {
    let product = ProductCreate {
        name: PRODUCT.parse()?,
    };
    api.create_product(ORG, &product).await?;
    let key = SigningKeyCreate {
        name: "release".parse()?,
        public_key: signing.public_key().to_string(),
    };
    api.create_signing_key(ORG, &key).await?;
    Ok(())
}

/// Registers a device with this certificate.
///
/// # Errors
/// The API's.
pub async fn pin(api: &Client, name: &str, leaf: &Leaf) -> anyhow::Result<()> {
    let device = DeviceCreate {
        name: name.parse()?,
    };
    api.create_device(ORG, PRODUCT, &device).await?;
    let certificate = CertificateCreate {
        certificate_pem: leaf.pem(),
    };
    api.pin_certificate(ORG, PRODUCT, name, &certificate)
        .await?;
    Ok(())
}

/// Makes a group of these devices.
///
/// # Errors
/// The API's.
pub async fn group(
    api: &Client,
    name: &str,
    priority: i32,
    members: &[&str],
) -> anyhow::Result<()> {
    let group = GroupCreate {
        name: name.parse()?,
        priority,
    };
    api.create_group(ORG, PRODUCT, &group).await?;
    if members.is_empty() {
        return Ok(());
    }
    let devices = members
        .iter()
        .map(|member| member.parse())
        .collect::<Result<_, _>>()?;
    api.add_members(ORG, PRODUCT, name, &MembersAdd { devices })
        .await?;
    Ok(())
}

/// Builds, signs and uploads a firmware with a resource of `bytes` random bytes; its file in `dir` and its uuid.
///
/// # Errors
/// The API's.
pub async fn firmware(
    api: &Client,
    signing: &SigningKey,
    dir: &Path,
    version: &str,
    bytes: usize,
) -> anyhow::Result<(PathBuf, String)> {
    let file = dir.join(format!("{version}.fw"));
    let content: Vec<u8> = (0..bytes).map(|_| rand::random()).collect();
    let container = Builder::new(PRODUCT, version, "demo", "generic")
        .resource("rootfs", content)
        .to_vec(signing)?;
    std::fs::write(&file, container)?;
    let firmware = api
        .upload_firmware(ORG, PRODUCT, &file, Arc::new(|_| {}))
        .await
        .context("upload")?;
    Ok((file, firmware.uuid))
}
