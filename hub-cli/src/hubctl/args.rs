//! The command line: every command, argument and example.

use clap::{Args, Parser, Subcommand, ValueEnum};
use hub_cli::PageOf;
use hub_proto::id::{CaId, CommandId, KeyId, TokenId};
use hub_proto::slug::Slug;
use std::path::PathBuf;
use uuid::Uuid;

/// Run a fleet of devices from the command line.
#[derive(Parser)]
#[command(name = "hubctl", version, after_help = "\
Examples:
  export HUB_URL=https://hub.example:4000 HUB_TOKEN=hub_... HUB_ORG=acme HUB_PRODUCT=lamp
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
  6  in conflict with what is stored")]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) hub: Hub,
    /// How answers are shown.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the hub is and who calls.
#[derive(Args)]
pub(crate) struct Hub {
    /// Address of the hub's API, with http:// or https://.
    #[arg(long, global = true, env = "HUB_URL", default_value = "http://127.0.0.1:4000")]
    pub(crate) url: String,
    /// Access token.
    #[arg(long, global = true, env = "HUB_TOKEN", hide_env_values = true, default_value = "")]
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
pub(crate) enum Command {
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
        Self { limit: args.limit, cursor: args.cursor }
    }
}

#[derive(Args)]
pub(crate) struct Target {
    /// Uuid of the firmware to run.
    #[arg(long, required_unless_present = "clear", conflicts_with = "clear")]
    pub(crate) firmware: Option<Uuid>,
    /// Run whatever the groups say (device), or nothing in particular (group).
    #[arg(long)]
    pub(crate) clear: bool,
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

#[derive(Subcommand)]
pub(crate) enum OrgCommand {
    /// List orgs.
    List { #[command(flatten)] page: PageArgs },
    /// Show an org.
    Show { name: String },
    /// Make an org.
    Create { name: Slug },
    /// Delete an org that has no products.
    Delete { name: String },
}

#[derive(Subcommand)]
pub(crate) enum ProductCommand {
    /// List products.
    List { #[command(flatten)] org: Org, #[command(flatten)] page: PageArgs },
    /// Show a product.
    Show { #[command(flatten)] org: Org, name: String },
    /// Make a product.
    Create { #[command(flatten)] org: Org, name: Slug },
    /// Delete a product without devices, groups and firmware.
    Delete { #[command(flatten)] org: Org, name: String },
}

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// List tokens.
    List { #[command(flatten)] org: Org, #[command(flatten)] page: PageArgs },
    /// Make a token; its secret is shown this one time.
    Create {
        #[command(flatten)]
        org: Org,
        name: Slug,
        /// What it may do.
        #[arg(long, value_enum)]
        role: Role,
    },
    /// Delete a token: it stops working at once.
    Delete { #[command(flatten)] org: Org, id: TokenId },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    Viewer,
    Operator,
    Admin,
}

#[derive(Subcommand)]
pub(crate) enum DeviceCommand {
    /// List devices.
    List { #[command(flatten)] at: Product, #[command(flatten)] page: PageArgs },
    /// Show a device.
    Show { #[command(flatten)] at: Product, name: String },
    /// Register a device.
    Create { #[command(flatten)] at: Product, name: Slug },
    /// Delete a device with all that belongs to it.
    Delete { #[command(flatten)] at: Product, name: String },
    /// Close a device's connection and refuse it until it is reinstated.
    Revoke { #[command(flatten)] at: Product, name: String },
    /// Let a revoked device connect again.
    Reinstate { #[command(flatten)] at: Product, name: String },
    /// Set or clear what a device should run.
    Target { #[command(flatten)] at: Product, name: String, #[command(flatten)] target: Target },
    /// Give a command to a device.
    Command { #[command(flatten)] at: Product, device: String, #[command(flatten)] give: Give },
    /// List commands given to a device, newest first.
    Commands { #[command(flatten)] at: Product, name: String, #[command(flatten)] page: PageArgs },
    /// List a device's certificates.
    Certificates { #[command(flatten)] at: Product, name: String },
    /// Pin a certificate (a PEM file) to a device.
    Pin { #[command(flatten)] at: Product, name: String, file: PathBuf },
    /// Revoke a certificate for good.
    RevokeCertificate { #[command(flatten)] at: Product, name: String, sha256: String },
}

#[derive(Subcommand)]
pub(crate) enum GroupCommand {
    /// List groups.
    List { #[command(flatten)] at: Product, #[command(flatten)] page: PageArgs },
    /// Show a group.
    Show { #[command(flatten)] at: Product, name: String },
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
    Delete { #[command(flatten)] at: Product, name: String },
    /// List a group's members.
    Members { #[command(flatten)] at: Product, name: String, #[command(flatten)] page: PageArgs },
    /// Add devices to a group, all or none.
    Add { #[command(flatten)] at: Product, name: String, #[arg(required = true)] devices: Vec<Slug> },
    /// End a device's membership.
    Remove { #[command(flatten)] at: Product, name: String, device: String },
    /// Set or clear what a group's members should run.
    Target { #[command(flatten)] at: Product, name: String, #[command(flatten)] target: Target },
    /// Give a command to all members.
    Command { #[command(flatten)] at: Product, group: String, #[command(flatten)] give: Give },
    /// List commands given to a group, newest first.
    Commands { #[command(flatten)] at: Product, name: String, #[command(flatten)] page: PageArgs },
}

#[derive(Subcommand)]
pub(crate) enum CommandCommand {
    /// Show a command with its counts per state.
    Show { #[command(flatten)] org: Org, id: CommandId },
    /// List what became of a command on each device.
    Executions { #[command(flatten)] org: Org, id: CommandId, #[command(flatten)] page: PageArgs },
    /// Cancel what was not sent yet.
    Cancel { #[command(flatten)] org: Org, id: CommandId },
}

#[derive(Subcommand)]
pub(crate) enum FirmwareCommand {
    /// List firmware.
    List { #[command(flatten)] at: Product, #[command(flatten)] page: PageArgs },
    /// Show a firmware.
    Show { #[command(flatten)] at: Product, uuid: Uuid },
    /// Upload a signed .fw file.
    Upload { #[command(flatten)] at: Product, file: PathBuf },
    /// Delete a firmware that nothing targets.
    Delete { #[command(flatten)] at: Product, uuid: Uuid },
}

#[derive(Subcommand)]
pub(crate) enum CaCommand {
    /// Get a code: sign a certificate with it as the common name to prove that you hold the authority's key.
    Code { #[command(flatten)] org: Org },
    /// Register an authority.
    Register {
        #[command(flatten)]
        org: Org,
        /// The authority's certificate, a PEM file.
        #[arg(long)]
        certificate: PathBuf,
        /// The certificate with the code as its common name, a PEM file.
        #[arg(long)]
        verification: PathBuf,
        #[command(flatten)]
        provision: Provision,
    },
    /// List authorities.
    List { #[command(flatten)] org: Org, #[command(flatten)] page: PageArgs },
    /// Show an authority.
    Show { #[command(flatten)] org: Org, id: CaId },
    /// Turn provisioning of unknown devices on, or off without --provision-product.
    Provision { #[command(flatten)] org: Org, id: CaId, #[command(flatten)] provision: Provision },
    /// Revoke an authority for good.
    Revoke { #[command(flatten)] org: Org, id: CaId },
}

#[derive(Args)]
pub(crate) struct Provision {
    /// Product that devices with a certificate of this authority are registered in.
    #[arg(long, requires = "quota")]
    pub(crate) provision_product: Option<Slug>,
    /// Devices the authority may register.
    #[arg(long, requires = "provision_product")]
    pub(crate) quota: Option<u32>,
}

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// List signing keys.
    List { #[command(flatten)] org: Org },
    /// Register a public key: 32 bytes in base64, as fwup writes them.
    Add { #[command(flatten)] org: Org, name: Slug, public_key: String },
    /// Remove a key.
    Delete { #[command(flatten)] org: Org, id: KeyId },
}
