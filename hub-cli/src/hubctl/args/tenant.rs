//! Arguments of `hubctl org`, `hubctl product`, `hubctl token`.

use super::{Org, PageArgs};
use clap::{Subcommand, ValueEnum};
use hub_proto::id::TokenId;
use hub_proto::slug::Slug;

#[derive(Subcommand)]
pub(crate) enum OrgCommand {
    /// List orgs.
    List {
        #[command(flatten)]
        page: PageArgs,
    },
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
    List {
        #[command(flatten)]
        org: Org,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a product.
    Show {
        #[command(flatten)]
        org: Org,
        name: String,
    },
    /// Make a product.
    Create {
        #[command(flatten)]
        org: Org,
        name: Slug,
    },
    /// Delete a product without devices, groups and firmware.
    Delete {
        #[command(flatten)]
        org: Org,
        name: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// List tokens.
    List {
        #[command(flatten)]
        org: Org,
        #[command(flatten)]
        page: PageArgs,
    },
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
    Delete {
        #[command(flatten)]
        org: Org,
        id: TokenId,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    Viewer,
    Operator,
    Admin,
}
