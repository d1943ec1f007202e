//! What a process costs: its memory as the kernel counts it, its CPU from its own clock.
//!
//! The CPU clock of a process is user and system time of all its threads, ended ones included, in nanoseconds; the
//! ticks of `/proc/<pid>/stat` are the same sum rounded to 10 ms.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::time::ClockId;
use nix::unistd::Pid;
use serde::Serialize;

/// Reads one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauge {
    pid: u32,
    clock: ClockId,
}

/// Memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Resident set, KiB: `VmRSS`.
    pub(crate) rss_kib: u64,
    /// Proportional set, KiB: pages shared with other processes count in part.
    pub(crate) pss_kib: u64,
}

impl Gauge {
    /// A gauge for this process.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn new(pid: u32) -> anyhow::Result<Self> {
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.cast_signed()))
            .with_context(|| format!("process {pid} has no CPU clock"))?;
        Ok(Self { pid, clock })
    }

    /// User and system time used so far.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let used = self.clock.now().context("the process is gone")?;
        Ok(Duration::from(used))
    }

    /// Memory right now.
    ///
    /// # Errors
    /// When the process is gone or belongs to somebody else.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let read = |file: &str| {
            let path = format!("/proc/{}/{file}", self.pid);
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        Ok(Memory {
            rss_kib: kib(&read("status")?, "VmRSS:")?,
            pss_kib: kib(&read("smaps_rollup")?, "Pss:")?,
        })
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
        assert!(monotonic_ns().unwrap() > 0);
    }

    #[test]
    fn sizes_are_found_by_their_whole_name() {
        let text = "VmHWM:\t   9 kB\nVmRSS:\t    1234 kB\nPss_Dirty: 3 kB\n";
        assert_eq!(kib(text, "VmRSS:").unwrap(), 1234);
        assert!(kib(text, "Pss:").is_err());
    }
}
