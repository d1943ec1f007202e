//! The floor's process, seen from the measuring one: started, ordered about and ended by pid.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::floor::{FloorNote, FloorOrder};
use crate::limits::{FAREWELL_MAX, PUBLISH_MAX, START_MAX};

/// A floor that runs. It ends with this.
pub(super) struct Floor {
    process: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    /// Where devices connect.
    pub(super) device: SocketAddr,
}

impl Floor {
    /// Starts it with the certificates of this folder.
    ///
    /// # Errors
    /// When it cannot be started or does not listen in time.
    pub(super) async fn start(pki: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program has no path")?;
        let mut process = Command::new(program)
            .arg("floor")
            .arg("--pki")
            .arg(pki)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the floor")?;
        let orders = process.stdin.take().context("a floor without orders")?;
        let said = process.stdout.take().context("a floor without a voice")?;
        let mut said = BufReader::new(said).lines();
        let device = match timeout(START_MAX, note(&mut said)).await {
            Ok(Ok(FloorNote::Listening(device))) => device,
            Ok(Ok(other)) => bail!("the floor said {other:?} instead of where it listens"),
            Ok(Err(error)) => return Err(error),
            Err(_) => bail!("the floor does not listen"),
        };
        Ok(Self {
            process,
            orders,
            said,
            device,
        })
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        self.process.id().context("the floor has ended")
    }

    /// Sends a text to every socket, and waits until all have been written to.
    ///
    /// # Errors
    /// When it fails or takes too long.
    pub(super) async fn send(&mut self, text: String) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(&FloorOrder::Send(text))?;
        line.push(b'\n');
        let sent = async {
            self.orders.write_all(&line).await?;
            self.orders.flush().await?;
            note(&mut self.said).await
        };
        match timeout(PUBLISH_MAX, sent).await {
            Ok(Ok(FloorNote::Sent(_))) => Ok(()),
            Ok(Ok(other)) => bail!("the floor said {other:?} to an order"),
            Ok(Err(error)) => Err(error),
            Err(_) => bail!("the floor does not send"),
        }
    }

    /// Ends its orders and waits for its end; if it stays, it is killed.
    ///
    /// # Errors
    /// When the system refuses to end it.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let Self {
            mut process,
            orders,
            said: _,
            device: _,
        } = self;
        drop(orders);
        if timeout(FAREWELL_MAX, process.wait()).await.is_err() {
            process.kill().await?;
        }
        Ok(())
    }
}

async fn note(said: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<FloorNote> {
    let line = said.next_line().await?.context("the floor has ended")?;
    match serde_json::from_str(&line).with_context(|| format!("the floor said {line:?}"))? {
        FloorNote::Failed(what) => bail!("the floor failed: {what}"),
        note @ (FloorNote::Listening(_) | FloorNote::Sent(_)) => Ok(note),
    }
}
