//! The command line: every command, argument and example.

mod fleet;
mod node;
mod tenant;
#[cfg(test)]
mod tests;
mod trust;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hub_cli::PageOf;
use hub_proto::slug::Slug;
use std::path::PathBuf;
use uuid::Uuid;

pub(crate) use fleet::{CommandCommand, DeviceCommand, GroupCommand};
pub(crate) use node::{NodeCommand, RebalanceArgs};
pub(crate) use tenant::{OrgCommand, ProductCommand, Role, TokenCommand};
pub(crate) use trust::{CaCommand, FirmwareCommand, KeyCommand, ProvisionArgs};

/// Run a fleet of devices from the command line.
#[derive(Parser)]
#[command(
    name = "hubctl",
    version,
    after_help = "\
Examples:
  export HUB_URL=https://hub.example:4080 HUB_TOKEN=hub_... HUB_ORG=acme HUB_PRODUCT=lamp
  hubctl device list
  hubctl firmware upload lamp-1.4.0.fw
  hubctl group target beta --firmware 0a1b2c3d-...
  hubctl device command lamp-17 reboot
  hubctl command executions 01920000-0000-7000-8000-000000000000 -o json

Exit codes:
  0  done
  1  refused by the hub for another reason
  2  wrong arguments or local files
  3  not found
  4  not authenticated or not allowed
  5  the hub cannot be reached or cannot answer now
  6  in conflict with what is stored"
)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) hub: Hub,
    /// How answers are shown.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Area,
}

/// Where the hub is and who calls.
#[derive(Args)]
pub(crate) struct Hub {
    /// Address of the hub's API, with http:// or https://.
    #[arg(
        long,
        global = true,
        env = "HUB_URL",
        default_value = "http://127.0.0.1:4080"
    )]
    pub(crate) url: String,
    /// Access token.
    #[arg(
        long,
        global = true,
        env = "HUB_TOKEN",
        hide_env_values = true,
        default_value = ""
    )]
    pub(crate) token: String,
    /// File with the certificates (PEM) that vouch for the hub.
    #[arg(long, global = true, env = "HUB_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    Table,
    /// The API's own answer.
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Area {
    /// Orgs (needs a root token).
    #[command(subcommand)]
    Org(OrgCommand),
    /// Products of an org.
    #[command(subcommand)]
    Product(ProductCommand),
    /// Devices of a product.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Groups of a product.
    #[command(subcommand)]
    Group(GroupCommand),
    /// Firmware of a product.
    #[command(subcommand)]
    Firmware(FirmwareCommand),
    /// Commands that were given.
    #[command(subcommand)]
    Command(CommandCommand),
    /// Certificate authorities of an org.
    #[command(subcommand)]
    Ca(CaCommand),
    /// Signing keys of an org.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Access tokens of an org.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Nodes of the cluster (needs a root token).
    #[command(subcommand)]
    Node(NodeCommand),
    /// Live connections of an org.
    Connections {
        #[command(flatten)]
        org: Org,
        #[command(flatten)]
        page: PageArgs,
    },
}

#[derive(Args)]
pub(crate) struct Org {
    /// Org to act for.
    #[arg(long, env = "HUB_ORG")]
    pub(crate) org: String,
}

#[derive(Args)]
pub(crate) struct Product {
    /// Org to act for.
    #[arg(long, env = "HUB_ORG")]
    pub(crate) org: String,
    /// Product to act on.
    #[arg(long, env = "HUB_PRODUCT")]
    pub(crate) product: String,
}

#[derive(Args)]
pub(crate) struct PageArgs {
    /// Items to show at most, 1 to 1,000.
    #[arg(long)]
    limit: Option<usize>,
    /// Go on where a list ended.
    #[arg(long)]
    cursor: Option<String>,
}

impl From<PageArgs> for PageOf {
    fn from(args: PageArgs) -> Self {
        Self {
            limit: args.limit,
            cursor: args.cursor,
        }
    }
}

#[derive(Args)]
pub(crate) struct TargetArgs {
    /// Uuid of the firmware to run.
    #[arg(long, required_unless_present = "clear", conflicts_with = "clear")]
    pub(crate) firmware: Option<Uuid>,
    /// Run whatever the groups say (device), or nothing in particular (group).
    #[arg(long)]
    pub(crate) clear: bool,
    /// Take a firmware that is older than the present target.
    #[arg(long)]
    pub(crate) allow_downgrade: bool,
}

#[derive(Args)]
pub(crate) struct Give {
    /// Name of the command: reboot, identify, logs, or one of your own.
    pub(crate) name: Slug,
    /// Arguments, a JSON object.
    #[arg(long)]
    pub(crate) args: Option<String>,
    /// Seconds the command waits for its device; one hour when absent.
    #[arg(long)]
    pub(crate) ttl: Option<u32>,
}
