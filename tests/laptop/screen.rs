//! The table of nodes and devices: on a terminal it stays at the top and the prompt scrolls below; elsewhere it is a line whenever
//! something changed.

use std::io::{IsTerminal as _, Write as _};

use hub_device::Phase;
use hub_tests::cluster::Cluster;
use hub_tests::reference::Reference;

/// Where it is drawn.
pub(crate) struct Screen {
    terminal: bool,
    rows: usize,
    last: Vec<String>,
}

impl Screen {
    /// Clears a terminal and keeps room for the table.
    pub(crate) fn start(nodes: usize) -> anyhow::Result<Self> {
        let screen = Self {
            terminal: std::io::stdout().is_terminal(),
            rows: nodes + 3,
            last: Vec::new(),
        };
        if screen.terminal {
            let below = screen.rows + 1;
            write!(std::io::stdout(), "\x1b[2J\x1b[{below}r\x1b[{below};1H")?;
        }
        Ok(screen)
    }

    /// Shows where the devices are now.
    pub(crate) async fn table(
        &mut self,
        cluster: &Cluster,
        fleet: &[Reference],
    ) -> anyhow::Result<()> {
        let mut lines = vec![format!(
            "{:<8} {:<10} {:>7}  {:<9} bus",
            "node", "state", "devices", "database"
        )];
        for node in &cluster.nodes {
            lines.push(match node.ready().await {
                Ok((_, body)) => {
                    let sockets = body["sockets"].as_u64().unwrap_or(0);
                    format!(
                        "{:<8} {:<10} {sockets:>7}  {:<9} {}",
                        node.name,
                        body["status"].as_str().unwrap_or_default(),
                        body["database"]["state"].as_str().unwrap_or_default(),
                        body["bus"]["state"].as_str().unwrap_or_default()
                    )
                }
                Err(_) => format!("{:<8} {:<10}", node.name, "gone"),
            });
        }
        let joined = |device: &&Reference| device.state.borrow().phase == Phase::Online;
        let joined = fleet.iter().filter(joined).count();
        lines.push(format!(
            "{:<8} {joined} of {} devices joined",
            "",
            fleet.len()
        ));
        if lines == self.last {
            return Ok(());
        }
        let mut out = std::io::stdout();
        if self.terminal {
            write!(out, "\x1b7")?;
            for (row, line) in (1..).zip(&lines) {
                write!(out, "\x1b[{row};1H\x1b[2K{line}")?;
            }
            write!(out, "\x1b8")?;
        } else {
            writeln!(out, "{}", lines[1..].join(" | "))?;
        }
        out.flush()?;
        self.last = lines;
        Ok(())
    }

    /// Says something below the table.
    pub(crate) fn say(&self, text: &str) -> anyhow::Result<()> {
        writeln!(std::io::stdout(), "{text}")?;
        self.prompt()
    }

    /// Invites to type.
    pub(crate) fn prompt(&self) -> anyhow::Result<()> {
        let mut out = std::io::stdout();
        if self.terminal {
            write!(out, "\r\x1b[2K> ")?;
        }
        Ok(out.flush()?)
    }

    /// Gives the terminal back.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        let mut out = std::io::stdout();
        if self.terminal {
            write!(out, "\x1b[r\x1b[999;1H")?;
        }
        writeln!(out)?;
        Ok(out.flush()?)
    }
}
