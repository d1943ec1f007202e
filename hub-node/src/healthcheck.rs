//! `hub-node healthcheck`: asks the node of this machine how it is, for containers that have no other program.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::config::{Config, ConfigFlags};

/// Longest time the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ask the node of this machine how it is.
#[derive(Debug, Args)]
#[command(
    after_help = "Exits 0 when the node takes devices, 1 when it does not answer, drains or is broken.\n\nExamples:\n  hub-node healthcheck          may devices be sent here?\n  hub-node healthcheck --live   does the process answer at all?"
)]
pub struct HealthcheckFlags {
    /// Ask only whether the process answers.
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    config: ConfigFlags,
}

impl HealthcheckFlags {
    /// Asks, and prints the answer.
    ///
    /// # Errors
    /// A node that is not well, or not there.
    pub(crate) async fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = Config::read(&self.config)?;
        let probe = if self.live { "livez" } else { "readyz" };
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        let url = |address| format!("http://{address}/{probe}");
        let (first, second) = reachable(config.admin_listen);
        let mut answer = client.get(url(first)).send().await;
        if let (Err(_), Some(second)) = (&answer, second) {
            answer = client.get(url(second)).send().await;
        }
        let url = url(first);
        let answer = answer.with_context(|| format!("{url} does not answer"))?;
        let status = answer.status();
        writeln!(out, "{}", answer.text().await?)?;
        ensure!(status.is_success(), "{url} answered {status}");
        Ok(())
    }
}

/// Where a node that listens on every address is reached from its own machine, and where it is reached if not there: one that listens on every
/// address of IPv6 hears IPv4, too, which containers always have.
fn reachable(listen: SocketAddr) -> (SocketAddr, Option<SocketAddr>) {
    let at = |ip: IpAddr| SocketAddr::new(ip, listen.port());
    match listen.ip() {
        ip if !ip.is_unspecified() => (at(ip), None),
        IpAddr::V4(_) => (at(Ipv4Addr::LOCALHOST.into()), None),
        IpAddr::V6(_) => (
            at(Ipv4Addr::LOCALHOST.into()),
            Some(at(Ipv6Addr::LOCALHOST.into())),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_listens_everywhere_is_asked_here() {
        let asked = |text: &str| {
            let (first, second) = reachable(text.parse().unwrap());
            (first.to_string(), second.map(|second| second.to_string()))
        };
        let here = "127.0.0.1:4081".to_owned();
        assert_eq!(asked("0.0.0.0:4081"), (here.clone(), None));
        assert_eq!(asked("[::]:4081"), (here, Some("[::1]:4081".into())));
        assert_eq!(asked("10.0.0.7:4081"), ("10.0.0.7:4081".into(), None));
    }
}
