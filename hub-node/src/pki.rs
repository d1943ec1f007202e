//! `hub-node pki …`: an authority, a server certificate, a device certificate and a registration proof, one
//! command each. For trying hub out, for small fleets and for tests; a fleet with its own authority needs none
//! of it. Keys are P-256, written for their owner's eyes only, and nothing is overwritten unless asked.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use hub_proto::slug::{Slug, SlugError};
use time::OffsetDateTime;

use files::Folder;
pub use issue::{Authority, Issued, registration_proof};

mod files;
mod issue;

/// Days an authority made here is valid.
pub const AUTHORITY_DAYS: u32 = 3650;
/// Days a server certificate is valid at most.
pub const SERVER_DAYS_MAX: u32 = 365;
/// Days a device certificate is valid unless told otherwise; never longer than its authority.
pub const DEVICE_DAYS: u32 = 3650;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The name is not one hub could use.
    #[error("the name {name:?} cannot be used")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: SlugError,
    },
    /// No host can have this name.
    #[error("{name:?} is no DNS name or IP address")]
    Host {
        /// The name.
        name: String,
    },
    /// A file is there already.
    #[error("{} exists; pass --force to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{} cannot be {action}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The authority's files do not hold a certificate and its key.
    #[error("this is not an authority's certificate and its key")]
    NotAnAuthority(#[source] rcgen::Error),
    /// The authority is past its dates.
    #[error("the authority has expired")]
    AuthorityExpired,
    /// The authority's name has a form that cannot be repeated exactly in the certificates it signs.
    #[error("the authority's name has an unusual form; sign with the tool that made it")]
    AuthorityName,
    /// The certificate cannot be made.
    #[error("the certificate cannot be made")]
    Issue(#[source] rcgen::Error),
    /// The result cannot be shown.
    #[error("the result cannot be written to the terminal")]
    Output(#[source] std::io::Error),
}

/// Makes the certificates a hub needs.
#[derive(Debug, Args)]
pub struct PkiCommand {
    #[command(subcommand)]
    kind: Kind,
    /// Folder the PEM files are written to; made when missing.
    #[arg(long, global = true, value_name = "DIR", default_value = "pki")]
    out: PathBuf,
    /// Replaces files that are there already.
    #[arg(long, global = true)]
    force: bool,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Makes an authority that signs server and device certificates: ca.pem, ca-key.pem.
    Ca {
        /// Its common name.
        #[arg(long, default_value = "hub device authority")]
        name: String,
    },
    /// Makes the certificate of a hub's listener: server.pem, server-key.pem.
    Server {
        #[command(flatten)]
        signer: Signer,
        /// A DNS name or IP address that devices connect to; may be repeated.
        #[arg(long = "san", required = true, value_name = "NAME|IP")]
        names: Vec<String>,
        /// Days it is valid; at most 365, and never longer than the authority.
        #[arg(long, default_value_t = SERVER_DAYS_MAX)]
        days: u32,
    },
    /// Makes the certificate that a node shows other nodes: node.pem, node-key.pem. Use an authority of their own for them.
    Node {
        #[command(flatten)]
        signer: Signer,
        /// A DNS name or IP address of the node; may be repeated.
        #[arg(long = "san", required = true, value_name = "NAME|IP")]
        names: Vec<String>,
        /// Days it is valid; at most 365, and never longer than the authority.
        #[arg(long, default_value_t = SERVER_DAYS_MAX)]
        days: u32,
    },
    /// Makes a device's certificate: NAME.pem, NAME-key.pem.
    Device {
        #[command(flatten)]
        signer: Signer,
        /// The device's name.
        name: String,
        /// Days it is valid; never longer than the authority.
        #[arg(long, default_value_t = DEVICE_DAYS)]
        days: u32,
    },
    /// Makes the secret that all nodes of a cluster share: cluster.key.
    ClusterKey,
    /// Makes the certificate that proves to a hub that you hold the authority's key: code-proof.pem.
    CodeProof {
        #[command(flatten)]
        signer: Signer,
        /// The registration code the hub gave you.
        #[arg(long)]
        code: String,
    },
}

/// Where the authority is. Both files default to those `pki ca` wrote to the same folder.
#[derive(Debug, Args)]
struct Signer {
    /// The authority's certificate.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The authority's private key.
    #[arg(long, value_name = "FILE")]
    ca_key: Option<PathBuf>,
}

impl Signer {
    fn load(&self, folder: &Folder) -> Result<Authority, PkiError> {
        let certificate = files::read(&self.ca.clone().unwrap_or_else(|| folder.path("ca.pem")))?;
        let key = files::read(
            &self
                .ca_key
                .clone()
                .unwrap_or_else(|| folder.path("ca-key.pem")),
        )?;
        Authority::from_pem(&certificate, &key)
    }
}

impl PkiCommand {
    /// Carries the command out and says on `output` what was written where.
    ///
    /// # Errors
    /// Bad names, unreadable or existing files.
    pub fn run(&self, now: OffsetDateTime, output: &mut impl Write) -> Result<(), PkiError> {
        let folder = Folder::new(self.out.clone(), self.force);
        match &self.kind {
            Kind::Ca { name } => {
                let authority = Authority::generate(name, now)?;
                show(output, &folder, "ca", authority.certificate())
            }
            Kind::Server {
                signer,
                names,
                days,
            } => {
                let issued = signer.load(&folder)?.server(names, *days, now)?;
                show(output, &folder, "server", &issued)
            }
            Kind::Node {
                signer,
                names,
                days,
            } => {
                let issued = signer.load(&folder)?.node(names, *days, now)?;
                show(output, &folder, "node", &issued)
            }
            Kind::Device { signer, name, days } => {
                let name: Slug = name.parse().map_err(|source| PkiError::Name {
                    name: name.clone(),
                    source,
                })?;
                let issued = signer.load(&folder)?.device(&name, *days, now)?;
                show(output, &folder, &name, &issued)
            }
            Kind::ClusterKey => {
                let path = folder.write_secret("cluster.key", &crate::secret::fresh_text())?;
                writeln!(output, "secret       {}", path.display()).map_err(PkiError::Output)
            }
            Kind::CodeProof { signer, code } => {
                let proof = registration_proof(&signer.load(&folder)?, code, now)?;
                let path = folder.write_public("code-proof.pem", &proof)?;
                writeln!(output, "proof        {}", path.display()).map_err(PkiError::Output)
            }
        }
    }
}

fn show(
    output: &mut impl Write,
    folder: &Folder,
    stem: &str,
    issued: &Issued,
) -> Result<(), PkiError> {
    let (certificate, key) = folder.write_pair(stem, issued)?;
    writeln!(
        output,
        "certificate  {}\nkey          {}\nsha256       {}",
        certificate.display(),
        key.display(),
        hex::encode(issued.sha256)
    )
    .map_err(PkiError::Output)
}

#[cfg(test)]
mod tests;
