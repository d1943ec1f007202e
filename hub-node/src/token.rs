//! `hub-node token create`: the first token, made by whoever holds the state directory.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use hub_proto::slug::Slug;

use crate::api::auth::{mint_token, token_sha256};
use crate::config::{Config, ConfigFlags};
use crate::context::wall_clock;
use crate::store;
use crate::store::StoreError;
use crate::store::records::{NewToken, Role};

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

/// `hub-node token`.
#[derive(Debug, Args)]
pub struct TokenCommand {
    #[command(subcommand)]
    command: TokenSubcommand,
}

#[derive(Debug, Subcommand)]
enum TokenSubcommand {
    /// Make a token and print it, once. With --org it is good for that org, which is made if it is missing; without, for everything.
    #[command(
        after_help = "Examples:\n  hub-node token create                                  a root token\n  hub-node token create --org acme --role operator       one for people of acme\n  HUB_TOKEN=$(hub-node token create --org acme --quiet)  one for a script"
    )]
    Create(Create),
}

#[derive(Debug, Args)]
struct Create {
    /// The org it is good for; all orgs without it.
    #[arg(long)]
    org: Option<Slug>,
    /// What it may do in the org.
    #[arg(long, value_enum, default_value = "admin")]
    role: RoleName,
    /// A name to tell it by.
    #[arg(long, default_value = "first")]
    name: Slug,
    /// Days until it ends; never without it.
    #[arg(long, value_name = "DAYS")]
    expires_in: Option<u64>,
    /// Print the token and nothing else.
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    flags: ConfigFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    Viewer,
    Operator,
    Admin,
}

impl TokenCommand {
    /// Runs it against the state directory of the configuration.
    ///
    /// # Errors
    /// A database that cannot be opened or written.
    pub async fn run(self, output: &mut impl Write) -> anyhow::Result<()> {
        let TokenSubcommand::Create(create) = self.command;
        let config = Config::read(&create.flags)?;
        let lifetime = create
            .expires_in
            .map(|days| Duration::from_secs(days.saturating_mul(DAY)));
        let token = mint(
            &config,
            create.org.as_ref(),
            create.role.into(),
            &create.name,
            lifetime,
        )
        .await?;
        if create.quiet {
            writeln!(output, "{token}")?;
        } else {
            writeln!(
                output,
                "{token}\n\nIt is not shown again. Use it as: authorization: Bearer <token>, or HUB_TOKEN for hubctl."
            )?;
        }
        Ok(())
    }
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}

/// Makes a token in the state directory of a configuration and returns its text. With an org, which is made if it is missing, it is
/// good for that org; without, it is a root token.
///
/// # Errors
/// A state directory that is missing, or a database that cannot be opened or written.
pub async fn mint(
    config: &Config,
    org: Option<&Slug>,
    role: Role,
    name: &Slug,
    lifetime: Option<Duration>,
) -> anyhow::Result<String> {
    if !config.state_dir.is_dir() {
        bail!(
            "{} is no directory: name the node's with --state-dir or --config",
            config.state_dir.display()
        );
    }
    let store = store::open(config)
        .await
        .context("cannot open the database")?;
    let org = match org {
        None => None,
        Some(name) => Some(match store.org(name).await {
            Err(StoreError::NotFound { .. }) => store.create_org(name).await?.id,
            org => org?.id,
        }),
    };
    let now = wall_clock();
    let expires_at = lifetime.map(|lifetime| now.saturating_add(lifetime));
    let token = mint_token();
    let sha256 = token_sha256(&token);
    store
        .create_token(NewToken {
            org,
            role,
            name: name.clone(),
            sha256,
            expires_at,
            now,
        })
        .await?;
    Ok(token)
}
