//! `hubctl device`, `hubctl group`, `hubctl command`.

use crate::Failure;
use crate::args::{CommandCommand, DeviceCommand, Give, GroupCommand, TargetArgs};
use crate::output::{ADDED, CERTIFICATE, COMMAND, DEVICE, EXECUTION, GROUP, Output};
use crate::trust::text_of;
use hub_cli::Client;
use hub_proto::api;
use serde_json::value::RawValue;

fn target_set(target: TargetArgs) -> api::TargetSet {
    api::TargetSet {
        firmware: target.firmware,
        allow_downgrade: target.allow_downgrade,
    }
}

fn command_create(give: Give) -> Result<api::CommandCreate, Failure> {
    let args = match give.args {
        None => None,
        Some(text) => Some(
            RawValue::from_string(text)
                .map_err(|_| Failure::Usage("--args must be JSON".to_owned()))?,
        ),
    };
    Ok(api::CommandCreate {
        name: give.name,
        args,
        ttl_s: give.ttl,
    })
}

pub(crate) async fn device(
    client: &Client,
    output: &Output,
    command: DeviceCommand,
) -> Result<(), Failure> {
    match command {
        DeviceCommand::List { at, page } => output.list(
            client.devices(&at.org, &at.product, &page.into()).await?,
            DEVICE,
        ),
        DeviceCommand::Show { at, name } => {
            output.one(client.device(&at.org, &at.product, &name).await?, DEVICE)
        }
        DeviceCommand::Create { at, name } => {
            let body = api::DeviceCreate { name };
            output.one(
                client.create_device(&at.org, &at.product, &body).await?,
                DEVICE,
            )
        }
        DeviceCommand::Delete { at, name } => {
            client.delete_device(&at.org, &at.product, &name).await?;
            output.done("deleted")
        }
        DeviceCommand::Revoke { at, name } => output.one(
            client.revoke_device(&at.org, &at.product, &name).await?,
            DEVICE,
        ),
        DeviceCommand::Reinstate { at, name } => output.one(
            client.reinstate_device(&at.org, &at.product, &name).await?,
            DEVICE,
        ),
        DeviceCommand::Target { at, name, target } => output.one(
            client
                .target_device(&at.org, &at.product, &name, &target_set(target))
                .await?,
            DEVICE,
        ),
        DeviceCommand::Command { at, device, give } => {
            let body = command_create(give)?;
            let given = client.command_device(&at.org, &at.product, &device, &body);
            output.one(given.await?, COMMAND)
        }
        DeviceCommand::Commands { at, name, page } => output.list(
            client
                .device_commands(&at.org, &at.product, &name, &page.into())
                .await?,
            COMMAND,
        ),
        DeviceCommand::Certificates { at, name } => output.list(
            client.certificates(&at.org, &at.product, &name).await?,
            CERTIFICATE,
        ),
        DeviceCommand::Pin { at, name, file } => {
            let certificate_pem = text_of(&file)?;
            let body = api::CertificateCreate { certificate_pem };
            let pinned = client.pin_certificate(&at.org, &at.product, &name, &body);
            output.one(pinned.await?, CERTIFICATE)
        }
        DeviceCommand::RevokeCertificate { at, name, sha256 } => output.one(
            client
                .revoke_certificate(&at.org, &at.product, &name, &sha256)
                .await?,
            CERTIFICATE,
        ),
    }
}

pub(crate) async fn group(
    client: &Client,
    output: &Output,
    command: GroupCommand,
) -> Result<(), Failure> {
    match command {
        GroupCommand::List { at, page } => output.list(
            client.groups(&at.org, &at.product, &page.into()).await?,
            GROUP,
        ),
        GroupCommand::Show { at, name } => {
            output.one(client.group(&at.org, &at.product, &name).await?, GROUP)
        }
        GroupCommand::Create { at, name, priority } => {
            let body = api::GroupCreate { name, priority };
            output.one(
                client.create_group(&at.org, &at.product, &body).await?,
                GROUP,
            )
        }
        GroupCommand::Priority { at, name, priority } => {
            let body = api::GroupUpdate { priority };
            output.one(
                client
                    .update_group(&at.org, &at.product, &name, &body)
                    .await?,
                GROUP,
            )
        }
        GroupCommand::Delete { at, name } => {
            client.delete_group(&at.org, &at.product, &name).await?;
            output.done("deleted")
        }
        GroupCommand::Members { at, name, page } => output.list(
            client
                .members(&at.org, &at.product, &name, &page.into())
                .await?,
            DEVICE,
        ),
        GroupCommand::Add { at, name, devices } => {
            let body = api::MembersAdd { devices };
            let added = client.add_members(&at.org, &at.product, &name, &body);
            output.one(added.await?, ADDED)
        }
        GroupCommand::Remove { at, name, device } => {
            client
                .remove_member(&at.org, &at.product, &name, &device)
                .await?;
            output.done("removed")
        }
        GroupCommand::Target { at, name, target } => output.one(
            client
                .target_group(&at.org, &at.product, &name, &target_set(target))
                .await?,
            GROUP,
        ),
        GroupCommand::Command { at, group, give } => {
            let body = command_create(give)?;
            let given = client.command_group(&at.org, &at.product, &group, &body);
            output.one(given.await?, COMMAND)
        }
        GroupCommand::Commands { at, name, page } => output.list(
            client
                .group_commands(&at.org, &at.product, &name, &page.into())
                .await?,
            COMMAND,
        ),
    }
}

pub(crate) async fn command(
    client: &Client,
    output: &Output,
    command: CommandCommand,
) -> Result<(), Failure> {
    match command {
        CommandCommand::Show { org, id } => {
            output.one(client.command(&org.org, id).await?, COMMAND)
        }
        CommandCommand::Executions { org, id, page } => output.list(
            client.executions(&org.org, id, &page.into()).await?,
            EXECUTION,
        ),
        CommandCommand::Cancel { org, id } => {
            output.one(client.cancel_command(&org.org, id).await?, COMMAND)
        }
    }
}
