//! Arguments of `hubctl device`, `hubctl group`, `hubctl command`.

use super::{Give, Org, PageArgs, Product, TargetArgs};
use clap::Subcommand;
use hub_proto::id::CommandId;
use hub_proto::slug::Slug;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum DeviceCommand {
    /// List devices.
    List {
        #[command(flatten)]
        at: Product,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a device.
    Show {
        #[command(flatten)]
        at: Product,
        name: String,
    },
    /// Register a device.
    Create {
        #[command(flatten)]
        at: Product,
        name: Slug,
    },
    /// Delete a device with all that belongs to it.
    Delete {
        #[command(flatten)]
        at: Product,
        name: String,
    },
    /// Close a device's connection and refuse it until it is reinstated.
    Revoke {
        #[command(flatten)]
        at: Product,
        name: String,
    },
    /// Let a revoked device connect again.
    Reinstate {
        #[command(flatten)]
        at: Product,
        name: String,
    },
    /// Set or clear what a device should run.
    Target {
        #[command(flatten)]
        at: Product,
        name: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Give a command to a device.
    Command {
        #[command(flatten)]
        at: Product,
        device: String,
        #[command(flatten)]
        give: Give,
    },
    /// List commands given to a device, newest first.
    Commands {
        #[command(flatten)]
        at: Product,
        name: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// List a device's certificates.
    Certificates {
        #[command(flatten)]
        at: Product,
        name: String,
    },
    /// Pin a certificate (a PEM file) to a device.
    Pin {
        #[command(flatten)]
        at: Product,
        name: String,
        file: PathBuf,
    },
    /// Revoke a certificate for good.
    RevokeCertificate {
        #[command(flatten)]
        at: Product,
        name: String,
        sha256: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum GroupCommand {
    /// List groups.
    List {
        #[command(flatten)]
        at: Product,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a group.
    Show {
        #[command(flatten)]
        at: Product,
        name: String,
    },
    /// Make a group.
    Create {
        #[command(flatten)]
        at: Product,
        name: Slug,
        /// Among a device's groups with a target the highest priority wins.
        #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
        priority: i32,
    },
    /// Change a group's priority.
    Priority {
        #[command(flatten)]
        at: Product,
        name: String,
        #[arg(allow_negative_numbers = true)]
        priority: i32,
    },
    /// Delete a group.
    Delete {
        #[command(flatten)]
        at: Product,
        name: String,
    },
    /// List a group's members.
    Members {
        #[command(flatten)]
        at: Product,
        name: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Add devices to a group, all or none.
    Add {
        #[command(flatten)]
        at: Product,
        name: String,
        #[arg(required = true)]
        devices: Vec<Slug>,
    },
    /// End a device's membership.
    Remove {
        #[command(flatten)]
        at: Product,
        name: String,
        device: String,
    },
    /// Set or clear what a group's members should run.
    Target {
        #[command(flatten)]
        at: Product,
        name: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Give a command to all members.
    Command {
        #[command(flatten)]
        at: Product,
        group: String,
        #[command(flatten)]
        give: Give,
    },
    /// List commands given to a group, newest first.
    Commands {
        #[command(flatten)]
        at: Product,
        name: String,
        #[command(flatten)]
        page: PageArgs,
    },
}

#[derive(Subcommand)]
pub(crate) enum CommandCommand {
    /// Show a command with its counts per state.
    Show {
        #[command(flatten)]
        org: Org,
        id: CommandId,
    },
    /// List what became of a command on each device.
    Executions {
        #[command(flatten)]
        org: Org,
        id: CommandId,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Cancel what was not sent yet.
    Cancel {
        #[command(flatten)]
        org: Org,
        id: CommandId,
    },
}
