//! Arguments of `hubctl firmware`, `hubctl ca`, `hubctl key`.

use super::{Org, PageArgs, Product};
use clap::{Args, Subcommand};
use hub_proto::id::{CaId, KeyId};
use hub_proto::slug::Slug;
use std::path::PathBuf;
use uuid::Uuid;

#[derive(Subcommand)]
pub(crate) enum FirmwareCommand {
    /// List firmware.
    List {
        #[command(flatten)]
        at: Product,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a firmware.
    Show {
        #[command(flatten)]
        at: Product,
        uuid: Uuid,
    },
    /// Upload a signed .fw file.
    Upload {
        #[command(flatten)]
        at: Product,
        file: PathBuf,
    },
    /// Delete a firmware that nothing targets.
    Delete {
        #[command(flatten)]
        at: Product,
        uuid: Uuid,
    },
}

#[derive(Subcommand)]
pub(crate) enum CaCommand {
    /// Get a code: sign a certificate with it as the common name to prove that you hold the authority's key.
    Code {
        #[command(flatten)]
        org: Org,
    },
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
        provision: ProvisionArgs,
    },
    /// List authorities.
    List {
        #[command(flatten)]
        org: Org,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show an authority.
    Show {
        #[command(flatten)]
        org: Org,
        id: CaId,
    },
    /// Turn provisioning of unknown devices on, or off without --provision-product.
    Provision {
        #[command(flatten)]
        org: Org,
        id: CaId,
        #[command(flatten)]
        provision: ProvisionArgs,
    },
    /// Revoke an authority for good.
    Revoke {
        #[command(flatten)]
        org: Org,
        id: CaId,
    },
}

#[derive(Args)]
pub(crate) struct ProvisionArgs {
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
    List {
        #[command(flatten)]
        org: Org,
    },
    /// Register a public key: 32 bytes in base64, as fwup writes them.
    Add {
        #[command(flatten)]
        org: Org,
        name: Slug,
        public_key: String,
    },
    /// Remove a key.
    Delete {
        #[command(flatten)]
        org: Org,
        id: KeyId,
    },
}
