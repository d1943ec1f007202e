//! The process itself, as the kernel sees it. Where there is no `/proc`, only its age is known.

use std::fs;
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::instruments::{self as table, Instrument};

/// Clock ticks a second in `/proc`, the same on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// Shows CPU time, memory, open files and age.
pub(super) fn observe(meter: &Meter, started: Instant) {
    let cpu = &table::PROCESS_CPU;
    let _ = meter
        .f64_observable_counter(cpu.name)
        .with_unit(cpu.unit)
        .with_description(cpu.help)
        .with_callback(|observer| {
            if let Some(modes) = cpu_seconds() {
                for (mode, seconds) in ["user", "system"].into_iter().zip(modes) {
                    observer.observe(seconds, &[KeyValue::new("cpu.mode", mode)]);
                }
            }
        })
        .build();
    up_down(meter, &table::PROCESS_MEMORY, resident_bytes);
    up_down(meter, &table::PROCESS_FILES, open_files);
    let age = &table::PROCESS_UPTIME;
    let _ = meter
        .f64_observable_gauge(age.name)
        .with_unit(age.unit)
        .with_description(age.help)
        .with_callback(move |observer| observer.observe(started.elapsed().as_secs_f64(), &[]))
        .build();
}

fn up_down(meter: &Meter, instrument: &Instrument, value: fn() -> Option<i64>) {
    let _ = meter
        .i64_observable_up_down_counter(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.help)
        .with_callback(move |observer| {
            if let Some(value) = value() {
                observer.observe(value, &[]);
            }
        })
        .build();
}

/// Seconds of CPU in user mode and in the kernel.
fn cpu_seconds() -> Option<[f64; 2]> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in parentheses and may hold anything; fields are counted behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some([user, system].map(|ticks| ticks as f64 / TICKS_PER_SECOND))
}

fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Newer kernels say how many entries the directory has; on others they are counted, which takes a moment when there are many.
fn open_files() -> Option<i64> {
    let said = fs::metadata("/proc/self/fd").ok()?.len();
    let many = match said {
        0 => fs::read_dir("/proc/self/fd").ok()?.count(),
        said => usize::try_from(said).ok()?,
    };
    i64::try_from(many).ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells() {
        let before = open_files().unwrap();
        let file = fs::File::open("/proc/self/stat").unwrap();
        assert!(open_files().unwrap() > before.min(2));
        drop(file);
        assert!(resident_bytes().unwrap() > 1024 * 1024);
        let [user, system] = cpu_seconds().unwrap();
        assert!(user >= 0.0 && system >= 0.0 && user + system < 86_400.0);
    }
}
