//! `hubctl ca`, `hubctl key`, `hubctl firmware`.

use crate::Failure;
use crate::args::{CaCommand, FirmwareCommand, KeyCommand, ProvisionArgs};
use crate::output::{AUTHORITY, CODE, FIRMWARE, KEY, Output};
use hub_cli::{Client, ClientError, Progress};
use hub_proto::api;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::sync::Arc;

/// The text of a local file.
pub(crate) fn text_of(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|source| {
        Failure::Call(ClientError::File {
            path: file.display().to_string(),
            source,
        })
    })
}

fn provisioning(provision: ProvisionArgs) -> Option<api::Provisioning> {
    let (product, quota) = provision.provision_product.zip(provision.quota)?;
    Some(api::Provisioning { product, quota })
}

pub(crate) async fn ca(
    client: &Client,
    output: &Output,
    command: CaCommand,
) -> Result<(), Failure> {
    match command {
        CaCommand::Code { org } => output.one(client.create_registration(&org.org).await?, CODE),
        CaCommand::Register {
            org,
            certificate,
            verification,
            provision,
        } => {
            let body = api::AuthorityCreate {
                certificate_pem: text_of(&certificate)?,
                verification_pem: text_of(&verification)?,
                provision: provisioning(provision),
            };
            output.one(client.create_authority(&org.org, &body).await?, AUTHORITY)
        }
        CaCommand::List { org, page } => {
            output.list(client.authorities(&org.org, &page.into()).await?, AUTHORITY)
        }
        CaCommand::Show { org, id } => output.one(client.authority(&org.org, id).await?, AUTHORITY),
        CaCommand::Provision { org, id, provision } => {
            let body = api::AuthorityUpdate {
                provision: provisioning(provision),
            };
            output.one(
                client.update_authority(&org.org, id, &body).await?,
                AUTHORITY,
            )
        }
        CaCommand::Revoke { org, id } => {
            output.one(client.revoke_authority(&org.org, id).await?, AUTHORITY)
        }
    }
}

pub(crate) async fn key(
    client: &Client,
    output: &Output,
    command: KeyCommand,
) -> Result<(), Failure> {
    match command {
        KeyCommand::List { org } => output.list(client.signing_keys(&org.org).await?, KEY),
        KeyCommand::Add {
            org,
            name,
            public_key,
        } => {
            let body = api::SigningKeyCreate { name, public_key };
            output.one(client.create_signing_key(&org.org, &body).await?, KEY)
        }
        KeyCommand::Delete { org, id } => {
            client.delete_signing_key(&org.org, id).await?;
            output.done("removed")
        }
    }
}

pub(crate) async fn firmware(
    client: &Client,
    output: &Output,
    command: FirmwareCommand,
) -> Result<(), Failure> {
    match command {
        FirmwareCommand::List { at, page } => output.list(
            client.firmwares(&at.org, &at.product, &page.into()).await?,
            FIRMWARE,
        ),
        FirmwareCommand::Show { at, uuid } => output.one(
            client
                .firmware(&at.org, &at.product, &uuid.to_string())
                .await?,
            FIRMWARE,
        ),
        FirmwareCommand::Upload { at, file } => {
            let bar = bar(&file);
            let shown = bar.clone();
            let progress: Progress = Arc::new(move |bytes| shown.set_position(bytes));
            let uploaded = client
                .upload_firmware(&at.org, &at.product, &file, progress)
                .await;
            bar.finish_and_clear();
            output.one(uploaded?, FIRMWARE)
        }
        FirmwareCommand::Delete { at, uuid } => {
            client
                .delete_firmware(&at.org, &at.product, &uuid.to_string())
                .await?;
            output.done("deleted")
        }
    }
}

/// A bar on the error output, hidden when that is not a terminal.
fn bar(file: &Path) -> ProgressBar {
    let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    let style =
        ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
