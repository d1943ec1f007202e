//! `hub-node metrics list`: the table of instruments for people and for scripts.

use std::io::{self, Write};

use serde::Serialize;

use super::instruments::{ALL, Instrument, Kind};

/// One instrument as scripts read it.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    prometheus: String,
    kind: Kind,
    unit: &'static str,
    attributes: &'static [&'static str],
    help: &'static str,
}

impl From<&Instrument> for Row {
    fn from(instrument: &Instrument) -> Self {
        Self {
            name: instrument.name,
            prometheus: instrument.prometheus(),
            kind: instrument.kind,
            unit: instrument.unit,
            attributes: instrument.attributes,
            help: instrument.help,
        }
    }
}

/// Prints one line for each instrument, or a JSON array of all.
///
/// # Errors
/// The writer's.
pub(crate) fn print(json: bool, out: &mut impl Write) -> io::Result<()> {
    let rows: Vec<Row> = ALL.iter().map(Row::from).collect();
    if json {
        serde_json::to_writer_pretty(&mut *out, &rows)?;
        return writeln!(out);
    }
    for row in rows {
        let kind = row.kind.as_str();
        write!(out, "{} {kind} {}", row.prometheus, row.unit)?;
        for attribute in row.attributes {
            write!(out, " {attribute}")?;
        }
        writeln!(out, " — {}", row.help)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_hold_every_instrument() {
        let (mut lines, mut json) = (Vec::new(), Vec::new());
        print(false, &mut lines).unwrap();
        print(true, &mut json).unwrap();
        let lines = String::from_utf8(lines).unwrap();
        assert_eq!(lines.lines().count(), ALL.len());
        let line = "hub_bus_messages_total counter {message} direction kind — ";
        assert!(lines.lines().any(|l| l.starts_with(line)), "{lines}");
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
        assert_eq!(rows.len(), ALL.len());
        assert_eq!(rows[0]["name"], ALL[0].name);
        assert_eq!(rows[0]["kind"], "up_down_counter");
        assert_eq!(rows[0]["attributes"], serde_json::json!([]));
    }
}
