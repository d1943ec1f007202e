//! What a comparison found out: medians of all turns, side by side, and how often the hub's figure holds another's.

use std::fmt::Write as _;

use serde::Serialize;

use crate::limits::HEARTBEAT_EVERY;

/// What the hub does for its devices, beside the others.
pub(super) const ABOUT_HUB: &str = "hub: an actor per device, mutual TLS with the certificate looked up; two joins of its channels kept in the store, every command durable \
     before it is sent, bounds on slow readers. Acknowledgements are kept back here; none of the others has any";

/// The same of two nodes.
pub(super) const ABOUT_HUBS: &str = "hub: two nodes on one Postgres through Redis, half of the devices on each; an actor per device, mutual TLS with the certificate looked up; two \
     joins of its channels kept in the store, every command durable before it is sent, bounds on slow readers. Its CPU is that of both nodes. Acknowledgements are kept back here; none of \
     the others has any";

/// One server's figures in one turn, or the medians of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Figures {
    /// Resident memory for each idle socket.
    pub(super) rss_kib: f64,
    /// The same, with shared pages counted once.
    pub(super) pss_kib: f64,
    /// CPU for each connection, until it would get messages.
    pub(super) set_up_cpu_us: f64,
    /// CPU for each delivered message, the publication included.
    pub(super) delivery_cpu_us: f64,
    /// From the start of the publication to its answer.
    pub(super) published_ms_p50: f64,
    /// From the start of the publication until the last device has it.
    pub(super) last_ms_p50: f64,
    /// The same, of the slowest message in a hundred.
    pub(super) last_ms_p99: f64,
}

impl Figures {
    /// With the memory of another reading.
    pub(super) fn with_memory(self, other: Self) -> Self {
        Self {
            rss_kib: other.rss_kib,
            pss_kib: other.pss_kib,
            ..self
        }
    }

    fn median(turns: &[Self]) -> Self {
        let middle = |of: fn(&Self) -> f64| {
            let mut all: Vec<f64> = turns.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            let at = |at: usize| all.get(at).copied().unwrap_or_default();
            f64::midpoint(at(all.len().saturating_sub(1) / 2), at(all.len() / 2))
        };
        Self {
            rss_kib: middle(|figures| figures.rss_kib),
            pss_kib: middle(|figures| figures.pss_kib),
            set_up_cpu_us: middle(|figures| figures.set_up_cpu_us),
            delivery_cpu_us: middle(|figures| figures.delivery_cpu_us),
            published_ms_p50: middle(|figures| figures.published_ms_p50),
            last_ms_p50: middle(|figures| figures.last_ms_p50),
            last_ms_p99: middle(|figures| figures.last_ms_p99),
        }
    }

    fn rows(&self) -> [(&'static str, f64); 7] {
        [
            ("RSS per idle socket, KiB", self.rss_kib),
            ("PSS per idle socket, KiB", self.pss_kib),
            ("CPU per connection set-up, us", self.set_up_cpu_us),
            ("CPU per delivered message, us", self.delivery_cpu_us),
            ("publication answered, p50, ms", self.published_ms_p50),
            ("last delivery, p50, ms", self.last_ms_p50),
            ("last delivery, p99, ms", self.last_ms_p99),
        ]
    }
}

/// One server.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    name: &'static str,
    /// What it does and does not do.
    about: &'static str,
    median: Figures,
    turns: Vec<Figures>,
}

impl Row {
    /// Of all its turns.
    pub(super) fn of(name: &'static str, about: &'static str, turns: Vec<Figures>) -> Self {
        Self {
            name,
            about,
            median: Figures::median(&turns),
            turns,
        }
    }
}

/// A whole comparison.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CompareReport {
    pub(super) devices: u32,
    pub(super) rounds: u32,
    pub(super) turns: u32,
    pub(super) workers: u32,
    pub(super) node_log: String,
    pub(super) hub: Row,
    pub(super) others: Vec<Row>,
    /// Messages that a device got more than once.
    pub(super) repeats: u64,
}

impl CompareReport {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "{} devices, mutual TLS 1.3, played by {} processes on the same machine; medians of {} turns in alternation, {} messages of 256 bytes each\n\n{:<32}{:>9}",
            self.devices, self.workers, self.turns, self.rounds, "", self.hub.name
        );
        // Writing into a String cannot fail.
        for other in &self.others {
            let ratio = format!("hub/{}", other.name);
            let _ = write!(table, "{:>9}{ratio:>11}", other.name);
        }
        table.push('\n');
        for (at, (what, hub)) in self.hub.median.rows().into_iter().enumerate() {
            let _ = write!(table, "{what:<32}{hub:>9.1}");
            for other in &self.others {
                let value = other.median.rows().get(at).map_or(0.0, |row| row.1);
                let _ = write!(table, "{value:>9.1}{:>11.2}", hub / value);
            }
            table.push('\n');
        }
        table.push_str("\nThey do not do the same work:\n");
        for row in std::iter::once(&self.hub).chain(&self.others) {
            let _ = writeln!(table, "- {}.", row.about);
        }
        let _ = write!(
            table,
            "\nSet-up ends when a device would get messages: for the hub after both joins. A message is 256 bytes; the hub's carries\n\
             its command's name, id and channel besides. CPU: user and system time of all processes of the server, the\n\
             publication included; RSS of several processes counts shared pages for each, PSS once. Times run from the start of the\n\
             publication and hold the devices' own work: the floor has one thread, the others as many as there are cores.\n\
             The hub's devices send heartbeats every {} s, the others' nothing. Node log level {}.",
            HEARTBEAT_EVERY.as_secs(),
            self.node_log
        );
        if self.repeats > 0 {
            let _ = write!(
                table,
                "\nMessages that a device got twice: {}.",
                self.repeats
            );
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(rss_kib: f64) -> Figures {
        Figures {
            rss_kib,
            ..Figures::default()
        }
    }

    #[test]
    fn medians_are_in_the_middle() {
        let turns = [turn(9.0), turn(1.0), turn(2.0)];
        assert_eq!(Figures::median(&turns), turn(2.0));
        assert_eq!(Figures::median(&turns[..2]), turn(5.0));
        assert_eq!(Figures::median(&[]), Figures::default());
    }

    #[test]
    fn the_table_has_each_ratio() {
        let report = CompareReport {
            devices: 1,
            rounds: 1,
            turns: 1,
            workers: 1,
            node_log: "info".to_owned(),
            hub: Row::of("hub", ABOUT_HUB, vec![turn(30.0)]),
            others: vec![Row::of("floor", "floor: less", vec![turn(12.0)])],
            repeats: 0,
        };
        let table = report.table();
        let row = table.lines().find(|line| line.starts_with("RSS per"));
        let words: Vec<_> = row.unwrap().split_whitespace().collect();
        assert_eq!(words[words.len() - 3..], ["30.0", "12.0", "2.50"]);
    }
}
