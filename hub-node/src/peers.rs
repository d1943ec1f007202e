//! Nodes that ask each other whether they have the database, over mutually authenticated TLS.
//!
//! Used only while a node's own database is away: what the answers mean is [`hub_core::isolation`]'s to say.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use axum::Router;
use axum::response::Json;
use axum::routing::get;
use futures_util::future::join_all;
use hub_core::isolation::{Effect, Event, Isolation};
use hub_core::limits::NODES_MAX;
use reqwest::{Certificate, Client, Identity};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::serve;
use crate::config::Config;
use crate::database::Database;
use crate::renewal::Renewal;
use crate::server_certificate::{ServerCertificate, ServerFiles};
use crate::store::cluster::NodeRun;
use crate::telemetry::observed::Shown;

/// Where a node answers.
const PATH: &str = "/database";

/// What a node answers.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    /// It has the database.
    database: bool,
}

/// How a node asks the others, and its place among them.
pub(crate) struct Peers {
    client: Client,
    others: watch::Receiver<Arc<[NodeRun]>>,
    /// Where nodes answer that held a lease at any time. A lease runs out with the database, and that is when they are asked; one
    /// that is gone for good is asked in vain, which costs nothing.
    known: BTreeMap<Arc<str>, Arc<str>>,
    database: Database,
    isolated: watch::Sender<bool>,
}

/// Serves the others' question until `stop`.
///
/// # Errors
/// Certificate files that cannot be used.
pub(crate) fn answer(
    tasks: &mut JoinSet<()>,
    listener: TcpListener,
    config: &Config,
    database: Database,
    renewal: &Renewal,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let router = Router::new().route(
        PATH,
        get(async move || {
            Json(Answer {
                database: !database.is_away(),
            })
        }),
    );
    serve::start_with(tasks, listener, router, tls(config, renewal)?, stop)
}

fn tls(config: &Config, renewal: &Renewal) -> anyhow::Result<ServerConfig> {
    let [chain_file, key_file, ca] = files(config)?;
    let mut roots = RootCertStore::empty();
    for authority in chain(ca, "peer_ca")? {
        roots.add(authority).context("peer_ca")?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let files = ServerFiles {
        chain: chain_file.to_owned(),
        key: key_file.to_owned(),
    };
    let builder = ServerConfig::builder();
    let own = ServerCertificate::load(files, builder.crypto_provider().clone())
        .context("peer_certificate, peer_key")?;
    let own = Arc::new(own);
    renewal.watch(Shown::Peer, own.clone());
    Ok(builder
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(own))
}

fn chain(file: &Path, key: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .with_context(|| format!("{key}: {} holds no PEM certificate", file.display()))
}

fn files(config: &Config) -> anyhow::Result<[&Path; 3]> {
    let file = |file: &'_ Option<std::path::PathBuf>| file.is_some();
    let all = [&config.peer_certificate, &config.peer_key, &config.peer_ca];
    anyhow::ensure!(
        all.iter().all(|one| file(one)),
        "peer_listen: set peer_certificate, peer_key and peer_ca too"
    );
    Ok(all.map(|one| one.as_deref().unwrap_or(Path::new(""))))
}

impl Peers {
    /// Who asks these others with the node's own certificate.
    ///
    /// # Errors
    /// Certificate files that cannot be used.
    pub(crate) fn new(
        config: &Config,
        others: watch::Receiver<Arc<[NodeRun]>>,
        database: Database,
    ) -> anyhow::Result<Self> {
        let [certificate, key, ca] = files(config)?;
        let mut identity = std::fs::read(certificate).context("peer_certificate")?;
        identity.extend(std::fs::read(key).context("peer_key")?);
        let roots = Certificate::from_pem_bundle(&std::fs::read(ca).context("peer_ca")?)?;
        let client = Client::builder()
            .tls_certs_only(roots)
            .identity(Identity::from_pem(&identity).context("peer_certificate, peer_key")?)
            .timeout(Isolation::patience())
            .no_proxy()
            .build()?;
        Ok(Self {
            client,
            others,
            known: BTreeMap::new(),
            database,
            isolated: watch::Sender::new(false),
        })
    }

    /// Whether this node is cut off.
    pub(crate) fn isolated(&self) -> watch::Receiver<bool> {
        self.isolated.subscribe()
    }

    /// Asks while the database is away, until the task is dropped.
    pub(crate) async fn ask_on(mut self) {
        self.learn();
        let mut machine = Isolation::default();
        let mut away = self.database.watch();
        let mut events = vec![];
        loop {
            let mut effects = Vec::new();
            for event in events.drain(..) {
                machine.step(event, Instant::now(), &mut effects);
            }
            for effect in effects {
                match effect {
                    Effect::Ask => events.push(Event::Answered {
                        yes: self.any_has_it().await,
                    }),
                    Effect::Isolated => {
                        warn!(
                            "other nodes have the database and this one does not: it is cut off, and sends its devices away"
                        );
                        self.isolated.send_replace(true);
                    }
                    Effect::Rejoined => {
                        info!("no longer cut off");
                        self.isolated.send_replace(false);
                    }
                }
            }
            if !events.is_empty() {
                continue;
            }
            let due = machine.deadline();
            let wait = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => events.push(Event::Deadline),
                changed = self.others.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.learn();
                }
                changed = away.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let event = if self.database.is_away() { Event::Away } else { Event::Back };
                    events.push(event);
                }
            }
        }
    }

    fn learn(&mut self) {
        let others = self.others.borrow_and_update().clone();
        for other in others.iter() {
            let known = self.known.len() < NODES_MAX || self.known.contains_key(&other.name);
            if let Some(address) = other.peer_address.clone().filter(|_| known) {
                self.known.insert(other.name.clone(), address);
            }
        }
    }

    /// Asks all others at once.
    async fn any_has_it(&self) -> bool {
        let asked = self.known.values().map(|address| self.has_it(address));
        join_all(asked).await.contains(&true)
    }

    async fn has_it(&self, address: &str) -> bool {
        let url = format!("https://{address}{PATH}");
        let Ok(response) = self.client.get(url).send().await else {
            return false;
        };
        response
            .json()
            .await
            .is_ok_and(|answer: Answer| answer.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Authority;
    use crate::store::StoreError;
    use time::OffsetDateTime;

    fn config(dir: &Path, authority: &Authority, name: &str) -> Config {
        let issued = authority
            .node(&["127.0.0.1".to_owned()], 30, OffsetDateTime::now_utc())
            .unwrap();
        let write = |file: String, text: &str| {
            let path = dir.join(file);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        Config {
            peer_listen: Some(([127, 0, 0, 1], 0).into()),
            peer_certificate: write(format!("{name}.pem"), &issued.certificate_pem),
            peer_key: write(format!("{name}-key.pem"), &issued.key_pem),
            peer_ca: write(
                format!("{name}-ca.pem"),
                &authority.certificate().certificate_pem,
            ),
            ..Config::default()
        }
    }

    fn away() -> Result<(), StoreError> {
        Err(StoreError::Unavailable("gone".into()))
    }

    #[tokio::test]
    async fn a_node_hears_from_its_peers_and_from_nobody_else() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let authority = Authority::generate("peers", now).unwrap();
        let other = config(dir.path(), &authority, "other");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (database, stop) = (Database::default(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        let renewal = Renewal::new(crate::telemetry::Telemetry::kept("other").node());
        answer(
            &mut tasks,
            listener,
            &other,
            database.clone(),
            &renewal,
            stop,
        )
        .unwrap();
        let run = NodeRun {
            name: "other".into(),
            run: 1,
            peer_address: Some(address.as_str().into()),
        };
        let others = watch::Sender::new(Arc::from([run]));
        let asks = |config: &Config| {
            let mut peers = Peers::new(config, others.subscribe(), Database::default()).unwrap();
            peers.learn();
            peers
        };
        let own = config(dir.path(), &authority, "own");
        assert!(asks(&own).any_has_it().await);
        database.note(&away());
        assert!(!asks(&own).any_has_it().await);
        database.note(&Ok(()));
        let stranger = Authority::generate("strangers", now).unwrap();
        let mut strange = config(dir.path(), &stranger, "strange");
        assert!(!asks(&strange).any_has_it().await);
        // who trusts the node is not trusted by it for that
        strange.peer_ca = own.peer_ca.clone();
        assert!(!asks(&strange).any_has_it().await);
    }
}
