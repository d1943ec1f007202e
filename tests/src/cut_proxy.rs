//! A TCP proxy in front of Postgres that loses the answers to commits: the server commits, and the client never hears of it.
//!
//! It understands one thing of the protocol: a simple query `COMMIT` leaves its client in one piece.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A simple query that commits, as it is on the wire: type, length, text.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// The proxy. It ends with this.
#[derive(Debug)]
pub struct CutProxy {
    address: SocketAddr,
    /// Commits until one is cut; 0 for none.
    every: Arc<AtomicU32>,
    seen: Arc<AtomicU32>,
    cuts: Arc<AtomicU32>,
    _tasks: JoinSet<()>,
}

impl CutProxy {
    /// A proxy that passes everything on, for now.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (every, seen, cuts) = (Arc::default(), Arc::default(), Arc::default());
        let counters = (Arc::clone(&every), Arc::clone(&seen), Arc::clone(&cuts));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (every, seen, cuts) = counters.clone();
                connections.spawn(async move {
                    // one that cannot be made or is cut is what this is for
                    let _ = pass(client, target, &every, &seen, &cuts).await;
                });
            }
        });
        Ok(Self {
            address,
            every,
            seen,
            cuts,
            _tasks: tasks,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on loses the answer to every commit of so many; 0 loses none.
    pub fn cut_one_in(&self, commits: u32) {
        self.every.store(commits, Relaxed);
    }

    /// Answers that were lost.
    #[must_use]
    pub fn cuts(&self) -> u32 {
        self.cuts.load(Relaxed)
    }

    /// Commits that passed.
    #[must_use]
    pub fn commits(&self) -> u32 {
        self.seen.load(Relaxed)
    }
}

async fn pass(
    mut client: TcpStream,
    target: SocketAddr,
    every: &AtomicU32,
    seen: &AtomicU32,
    cuts: &AtomicU32,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut cut = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let bytes = &up[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                if bytes.windows(COMMIT.len()).any(|window| window == COMMIT) {
                    let number = seen.fetch_add(1, Relaxed) + 1;
                    let every = every.load(Relaxed);
                    cut = every > 0 && number.is_multiple_of(every);
                }
                server.write_all(bytes).await?;
            }
            read = server.read(&mut down) => {
                let bytes = &down[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                if cut {
                    // it is committed, and nobody will know
                    cuts.fetch_add(1, Relaxed);
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}
