//! The workers, seen from the measuring process: started, ordered about, listened to under deadlines, ended by pid.

use std::ops::Range;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hub_proto::id::CommandId;
use indicatif::ProgressBar;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::limits::{FAREWELL_MAX, NOTES_MAX, ROUND_MAX, SILENCE_MAX};
use crate::orders::{Note, Order, Span};

/// All workers of a run. They end with it.
pub(crate) struct Crew {
    workers: Vec<Worker>,
    notes: mpsc::Receiver<Note>,
    /// Read the workers' pipes; end with the workers.
    readers: JoinSet<()>,
    /// Said by a fast worker while a slow one was still busy with an order; at most two for each worker.
    early: Vec<Note>,
    /// How many devices all workers play together.
    pub(crate) devices: u32,
    /// Commands that some device got a second time.
    pub(crate) repeats: u64,
    /// Acknowledgements that the hub could not commit at once, and that were said again.
    pub(crate) refusals: u64,
    /// The codes by which the hub closed devices that read nothing.
    pub(crate) closed: Vec<u16>,
    /// Devices that resumed a TLS session at their last arrival.
    pub(crate) resumed: u32,
}

struct Worker {
    process: Child,
    orders: ChildStdin,
}

impl Crew {
    /// Starts workers that play the devices of these numbers between them, and waits for their certificates.
    ///
    /// # Errors
    /// When one cannot be started or fails.
    pub(crate) async fn start(
        workers: u32,
        numbers: Range<u32>,
        pki: &Path,
        bar: &ProgressBar,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program has no path")?;
        let (sender, notes) = mpsc::channel(NOTES_MAX);
        let mut crew = Self {
            workers: Vec::new(),
            notes,
            readers: JoinSet::new(),
            early: Vec::new(),
            devices: numbers.end - numbers.start,
            repeats: 0,
            refusals: 0,
            closed: Vec::new(),
            resumed: 0,
        };
        let mut first = numbers.start;
        for left in (1..=workers).rev() {
            let share = (numbers.end - first).div_ceil(left);
            let mut process = Command::new(&program)
                .arg("swarm")
                .arg("--pki")
                .arg(pki)
                .args(["--first", &first.to_string()])
                .args(["--devices", &share.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .context("cannot start a worker")?;
            let orders = process.stdin.take().context("a worker without orders")?;
            let said = process.stdout.take().context("a worker without a voice")?;
            crew.readers.spawn(listen(said, sender.clone()));
            crew.workers.push(Worker { process, orders });
            first += share;
        }
        crew.done(bar).await.context("making certificates")?;
        Ok(crew)
    }

    /// Has every worker carry out an order, and waits until all have.
    ///
    /// # Errors
    /// When one fails or is silent for too long.
    pub(crate) async fn order(&mut self, order: &Order, bar: &ProgressBar) -> anyhow::Result<()> {
        self.resumed = 0;
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        for worker in &mut self.workers {
            let written = async {
                worker.orders.write_all(&line).await?;
                worker.orders.flush().await
            };
            timeout(SILENCE_MAX, written)
                .await
                .context("a worker takes no orders")?
                .context("a worker is gone")?;
        }
        self.done(bar).await
    }

    async fn done(&mut self, bar: &ProgressBar) -> anyhow::Result<()> {
        let mut left = self.workers.len();
        while left > 0 {
            match self.note(SILENCE_MAX).await? {
                Note::Progress(devices) => bar.inc(devices.into()),
                Note::Done => left -= 1,
                Note::Repeated => self.repeats += 1,
                Note::Refused => self.refusals += 1,
                Note::Closed(code) => self.closed.push(code),
                Note::Resumed(devices) => self.resumed += devices,
                Note::Failed(what) => bail!("a worker failed: {what}"),
                note @ (Note::Delivered(_) | Note::Acked(_)) => self.early.push(note),
            }
        }
        Ok(())
    }

    /// Waits until every device has the command, and gives the first and last moment.
    ///
    /// # Errors
    /// When a worker fails, or it takes too long.
    pub(crate) async fn delivered(&mut self, id: CommandId) -> anyhow::Result<Span> {
        let [delivered, _] = self.hear(id, [self.workers.len(), 0]).await?;
        delivered.context("there are no workers")
    }

    /// Waits until every acknowledgement of the command is answered.
    ///
    /// # Errors
    /// When a worker fails, or it takes too long.
    pub(crate) async fn acked(&mut self, id: CommandId) -> anyhow::Result<Span> {
        let [_, acked] = self.hear(id, [0, self.workers.len()]).await?;
        acked.context("there are no workers")
    }

    /// Waits for both, in whatever order workers come to them.
    ///
    /// # Errors
    /// When a worker fails, or it takes too long.
    pub(crate) async fn delivered_and_acked(
        &mut self,
        id: CommandId,
    ) -> anyhow::Result<(Span, Span)> {
        let all = self.workers.len();
        let [delivered, acked] = self.hear(id, [all, all]).await?;
        delivered.zip(acked).context("there are no workers")
    }

    /// Hears so many workers say that they have delivered and acknowledged.
    async fn hear(
        &mut self,
        id: CommandId,
        mut left: [usize; 2],
    ) -> anyhow::Result<[Option<Span>; 2]> {
        let deadline = Instant::now() + ROUND_MAX;
        let mut whole = [None; 2];
        while left != [0, 0] {
            let patience = deadline.saturating_duration_since(Instant::now());
            let note = match self.early.pop() {
                Some(note) => note,
                None => self.note(patience).await?,
            };
            let (kind, span) = match note {
                Note::Delivered(span) => (0, span),
                Note::Acked(span) => (1, span),
                Note::Failed(what) => bail!("a worker failed: {what}"),
                Note::Repeated => {
                    self.repeats += 1;
                    continue;
                }
                Note::Refused => {
                    self.refusals += 1;
                    continue;
                }
                Note::Progress(_) | Note::Resumed(_) | Note::Closed(_) | Note::Done => continue,
            };
            if span.id == id {
                left[kind] = left[kind].saturating_sub(1);
                whole[kind] = Some(whole[kind].map_or(span, |all: Span| all.and(span)));
            }
        }
        Ok(whole)
    }

    async fn note(&mut self, patience: Duration) -> anyhow::Result<Note> {
        match timeout(patience, self.notes.recv()).await {
            Ok(note) => note.context("all workers are gone"),
            Err(_) => bail!("no worker said anything for {patience:?}"),
        }
    }

    /// Ends the workers' orders and waits for their end; who stays is killed.
    ///
    /// # Errors
    /// When the system refuses to end one.
    pub(crate) async fn dismiss(self) -> anyhow::Result<()> {
        let Self {
            workers,
            notes,
            mut readers,
            early: _,
            devices: _,
            repeats: _,
            refusals: _,
            closed: _,
            resumed: _,
        } = self;
        // What they say about their lost connections is of no interest any more.
        drop(notes);
        readers.abort_all();
        for Worker {
            mut process,
            orders,
        } in workers
        {
            drop(orders);
            if timeout(FAREWELL_MAX, process.wait()).await.is_err() {
                process.kill().await?;
            }
        }
        Ok(())
    }
}

async fn listen(said: ChildStdout, notes: mpsc::Sender<Note>) {
    let mut lines = BufReader::new(said).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let note = serde_json::from_str(&line)
            .unwrap_or_else(|error| Note::Failed(format!("it said {line:?}: {error}")));
        if notes.send(note).await.is_err() {
            return;
        }
    }
    let _ = notes.send(Note::Failed("it ended".to_owned())).await;
}
