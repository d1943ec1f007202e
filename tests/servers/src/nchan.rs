//! An nginx with the nchan module: one channel, which devices subscribe to by WebSocket over mutual TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use tempfile::TempDir;

use crate::process::{Launch, Program, children};
use crate::redis::TlsFiles;
use crate::{find, ports, wait};

/// Where Debian keeps the module.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
/// What has to be installed.
const PACKAGES: &str = "nginx libnginx-mod-nchan";
/// How long the master may take to end its workers.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A running server. It ends with this.
#[derive(Debug)]
pub struct Nchan {
    _dir: TempDir,
    program: Program,
    workers: Vec<u32>,
    device: SocketAddr,
    publisher: SocketAddr,
}

impl Nchan {
    /// Whether it could be started.
    ///
    /// # Errors
    /// When the server or its module is missing; the message says what to install.
    pub fn check() -> anyhow::Result<()> {
        find::program("nginx", &[], PACKAGES)?;
        ensure!(
            Path::new(MODULE).is_file(),
            "there is no {MODULE}; on Debian, as root: apt-get install {PACKAGES}"
        );
        Ok(())
    }

    /// Starts it with so many workers, each of which takes `connections` at most. Clients must show a certificate.
    ///
    /// # Errors
    /// As [`Nchan::check`], and when it does not start in time; the message holds its last words.
    pub async fn start(tls: &TlsFiles, workers: usize, connections: u64) -> anyhow::Result<Self> {
        Self::check()?;
        let dir = tempfile::Builder::new().prefix("hub-nchan").tempdir()?;
        let [device, publisher] =
            ports::free()?.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let config = config(tls, workers, connections, device, publisher);
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config)?;
        let mut program = Launch::new(find::program("nginx", &[], PACKAGES)?)
            .args(["-e", "stderr", "-p"])
            .arg(dir.path())
            .arg("-c")
            .arg(&file)
            .dir(dir.path())
            .start(dir.path().join("log"))?;
        // the master says so before each of its workers, and before each of the helpers that this configuration has none of
        let started = program.said("start worker process ", wait::PATIENCE).await;
        let mut nchan = Self {
            _dir: dir,
            program,
            workers: Vec::new(),
            device,
            publisher,
        };
        started.context("nginx does not start")?;
        let master = nchan.program.pid();
        nchan.workers = wait::until("all workers of nginx", wait::PATIENCE, async || {
            children(master).ok().filter(|found| found.len() == workers)
        })
        .await?;
        Ok(nchan)
    }

    /// Where devices subscribe, under any path.
    #[must_use]
    pub fn device(&self) -> SocketAddr {
        self.device
    }

    /// Where a body that is posted goes to all subscribers: plain HTTP, on loopback.
    #[must_use]
    pub fn publish_url(&self) -> String {
        format!("http://{}/publish", self.publisher)
    }

    /// The master and its workers.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.program.pid()];
        pids.extend(&self.workers);
        pids
    }
}

impl Drop for Nchan {
    fn drop(&mut self) {
        // The master ends its workers; killed, it could not.
        let _ = self.program.signal(Signal::SIGTERM);
        let deadline = std::time::Instant::now() + STOP_MAX;
        while std::time::Instant::now() < deadline {
            if matches!(self.program.exited(), Ok(Some(_)) | Err(_)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Its configuration: no log per request, no messages kept, small TLS buffers, and nothing outside its directory.
fn config(
    tls: &TlsFiles,
    workers: usize,
    connections: u64,
    device: SocketAddr,
    publisher: SocketAddr,
) -> String {
    // Workers of root would change to another account, whose memory only some may read.
    let user = if Uid::effective().is_root() {
        "user root;"
    } else {
        ""
    };
    let (certificate, key, ca) = (
        tls.certificate.display(),
        tls.key.display(),
        tls.ca.display(),
    );
    format!(
        "load_module {MODULE};
{user}
daemon off;
pid nginx.pid;
error_log stderr notice;
worker_processes {workers};
worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  nchan_shared_memory_size 256M;
  server {{
    listen {device} ssl reuseport backlog=4096;
    ssl_certificate \"{certificate}\";
    ssl_certificate_key \"{key}\";
    ssl_client_certificate \"{ca}\";
    ssl_verify_client on;
    ssl_protocols TLSv1.3;
    ssl_buffer_size 4k;
    location / {{
      nchan_subscriber websocket;
      nchan_channel_id everyone;
      nchan_subscriber_first_message newest;
    }}
  }}
  server {{
    listen {publisher};
    location = /publish {{
      nchan_publisher;
      nchan_channel_id everyone;
      nchan_message_buffer_length 1;
      nchan_message_timeout 5s;
    }}
  }}
}}
",
        files = connections + 100
    )
}
