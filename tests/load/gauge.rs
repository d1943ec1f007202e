//! What a server costs: the memory of its processes as the kernel counts it, their CPU from their own clocks.
//!
//! The CPU clock of a process is user and system time of all its threads, ended ones included, in nanoseconds; the
//! ticks of `/proc/<pid>/stat` are the same sum rounded to 10 ms.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::time::ClockId;
use nix::unistd::Pid;
use serde::Serialize;

/// Reads the processes of one server together.
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    processes: Vec<(u32, ClockId)>,
}

/// Memory of a server's processes, added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Resident set, KiB: `VmRSS`.
    pub(crate) rss_kib: u64,
    /// Proportional set, KiB: pages shared with other processes count in part.
    pub(crate) pss_kib: u64,
}

/// What the kernel keeps for itself in small pieces, on the whole machine: both ends of every socket are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Slab {
    /// All of it, KiB: `Slab`.
    pub(crate) slab_kib: u64,
    /// What it cannot give back, KiB: `SUnreclaim`.
    pub(crate) unreclaimable_kib: u64,
}

impl Slab {
    /// Right now.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let path = "/proc/meminfo";
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        Ok(Self {
            slab_kib: kib(&text, "Slab:")?,
            unreclaimable_kib: kib(&text, "SUnreclaim:")?,
        })
    }
}

impl Gauge {
    /// A gauge for one process.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn new(pid: u32) -> anyhow::Result<Self> {
        Self::of([pid])
    }

    /// A gauge for all processes of a server.
    ///
    /// # Errors
    /// When one of them is not there.
    pub(crate) fn of(pids: impl IntoIterator<Item = u32>) -> anyhow::Result<Self> {
        let clock = |pid: u32| {
            let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.cast_signed()));
            let clock = clock.with_context(|| format!("process {pid} has no CPU clock"))?;
            anyhow::Ok((pid, clock))
        };
        Ok(Self {
            processes: pids.into_iter().map(clock).collect::<Result<_, _>>()?,
        })
    }

    /// User and system time used so far.
    ///
    /// # Errors
    /// When a process is gone.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut used = Duration::ZERO;
        for (_, clock) in &self.processes {
            used += Duration::from(clock.now().context("the process is gone")?);
        }
        Ok(used)
    }

    /// Memory right now. What processes share counts for each in the resident set, and once in the proportional one.
    ///
    /// # Errors
    /// When a process is gone or belongs to somebody else.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let mut memory = Memory {
            rss_kib: 0,
            pss_kib: 0,
        };
        for (pid, _) in &self.processes {
            let read = |file: &str| {
                let path = format!("/proc/{pid}/{file}");
                fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
            };
            memory.rss_kib += kib(&read("status")?, "VmRSS:")?;
            memory.pss_kib += kib(&read("smaps_rollup")?, "Pss:")?;
        }
        Ok(memory)
    }
}

/// The number behind a name in one of the kernel's lists of sizes.
fn kib(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let Some(number) = line.and_then(|rest| rest.trim().strip_suffix(" kB")) else {
        bail!("the kernel does not tell {name}");
    };
    Ok(number.trim().parse()?)
}

/// Nanoseconds on the machine's monotonic clock, the same in every process.
///
/// # Errors
/// When the machine has none.
pub(crate) fn monotonic_ns() -> anyhow::Result<u64> {
    let now = Duration::from(ClockId::CLOCK_MONOTONIC.now()?);
    Ok(u64::try_from(now.as_nanos())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let gauge = Gauge::new(std::process::id()).unwrap();
        let before = gauge.cpu().unwrap();
        let memory = gauge.memory().unwrap();
        assert!(memory.rss_kib > 0 && memory.pss_kib > 0, "{memory:?}");
        assert!(gauge.cpu().unwrap() >= before);
        let twice = Gauge::of([std::process::id(), std::process::id()]).unwrap();
        assert!(twice.memory().unwrap().rss_kib > memory.rss_kib);
        assert!(Slab::read().unwrap().slab_kib > 0);
        assert!(monotonic_ns().unwrap() > 0);
    }

    #[test]
    fn sizes_are_found_by_their_whole_name() {
        let text = "VmHWM:\t   9 kB\nVmRSS:\t    1234 kB\nPss_Dirty: 3 kB\n";
        assert_eq!(kib(text, "VmRSS:").unwrap(), 1234);
        assert!(kib(text, "Pss:").is_err());
    }
}
