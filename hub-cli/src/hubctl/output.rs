//! How answers are shown: the API's own JSON, or columns. Text from devices is escaped, so that it cannot move the cursor.

use crate::Failure;
use crate::args::Format;
use hub_proto::api::Page;
use serde::Serialize;
use serde_json::Value;
use std::error::Error;
use std::io::Write;

/// A table's columns: heading and JSON pointer into an item.
pub(crate) type Columns = &'static [(&'static str, &'static str)];

pub(crate) const ORG: Columns = &[("ID", "/id"), ("NAME", "/name"), ("CREATED", "/created_at")];
pub(crate) const TOKEN: Columns = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("ROLE", "/role"),
    ("EXPIRES", "/expires_at"),
    ("TOKEN", "/token"),
];
pub(crate) const DEVICE: Columns = &[
    ("NAME", "/name"),
    ("VERSION", "/firmware/version"),
    ("TARGET", "/effective_target/version"),
    ("UPDATE", "/update/status"),
    ("CONNECTED", "/connection/since"),
    ("NODE", "/connection/node"),
    ("REVOKED", "/revoked_at"),
    ("GROUPS", "/groups"),
];
pub(crate) const CONNECTION: Columns = &[
    ("PRODUCT", "/product"),
    ("DEVICE", "/device"),
    ("NODE", "/node"),
    ("REMOTE", "/remote"),
    ("SINCE", "/since"),
];
pub(crate) const NODE: Columns = &[
    ("NAME", "/name"),
    ("STATE", "/state"),
    ("SOCKETS", "/sockets"),
    ("STARTED", "/started_at"),
];
pub(crate) const PLAN: Columns = &[
    ("NODE", "/name"),
    ("SOCKETS", "/sockets"),
    ("SENDS AWAY", "/sends_away"),
];
pub(crate) const GROUP: Columns = &[
    ("NAME", "/name"),
    ("PRIORITY", "/priority"),
    ("TARGET", "/target/version"),
    ("MEMBERS", "/members"),
];
pub(crate) const ADDED: Columns = &[("ADDED", "/added")];
pub(crate) const COMMAND: Columns = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("CREATED", "/created_at"),
    ("EXPIRES", "/expires_at"),
    ("COUNTS", "/counts"),
];
pub(crate) const EXECUTION: Columns = &[
    ("DEVICE", "/device"),
    ("STATE", "/state"),
    ("AT", "/at"),
    ("OUTPUT", "/output"),
];
pub(crate) const FIRMWARE: Columns = &[
    ("UUID", "/uuid"),
    ("VERSION", "/version"),
    ("PLATFORM", "/platform"),
    ("ARCHITECTURE", "/architecture"),
    ("BYTES", "/size"),
    ("CREATED", "/created_at"),
];
pub(crate) const CERTIFICATE: Columns = &[
    ("SHA256", "/sha256"),
    ("SERIAL", "/serial"),
    ("UNTIL", "/not_after"),
    ("REVOKED", "/revoked_at"),
];
pub(crate) const AUTHORITY: Columns = &[
    ("ID", "/id"),
    ("SUBJECT", "/subject"),
    ("UNTIL", "/not_after"),
    ("PROVISIONS", "/provision/product"),
    ("QUOTA", "/provision/quota"),
    ("USED", "/provisioned"),
    ("REVOKED", "/revoked_at"),
];
pub(crate) const CODE: Columns = &[("CODE", "/code"), ("EXPIRES", "/expires_at")];
pub(crate) const KEY: Columns = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("PUBLIC KEY", "/public_key"),
];

/// Shows answers in one format.
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Shows one thing.
    pub(crate) fn one(&self, item: impl Serialize, columns: Columns) -> Result<(), Failure> {
        let item = value(item)?;
        match self.format {
            Format::Json => json(&item),
            Format::Table => {
                let width = columns
                    .iter()
                    .map(|(heading, _)| heading.len())
                    .max()
                    .unwrap_or(0);
                let mut out = std::io::stdout().lock();
                for (heading, pointer) in columns {
                    let cell = cell(item.pointer(pointer));
                    if cell != "-" {
                        writeln!(out, "{heading:width$}  {cell}")?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Shows a page of a list, and on the error output how to see the next one.
    pub(crate) fn list<T: Serialize>(
        &self,
        page: Page<T>,
        columns: Columns,
    ) -> Result<(), Failure> {
        if self.format == Format::Json {
            return json(&value(page)?);
        }
        let mut rows = vec![
            columns
                .iter()
                .map(|(heading, _)| (*heading).to_owned())
                .collect::<Vec<_>>(),
        ];
        for item in page.items {
            let item = value(item)?;
            rows.push(
                columns
                    .iter()
                    .map(|(_, pointer)| cell(item.pointer(pointer)))
                    .collect(),
            );
        }
        let mut out = std::io::stdout().lock();
        for line in lines(&rows) {
            writeln!(out, "{line}")?;
        }
        if let Some(cursor) = page.next_cursor {
            writeln!(std::io::stderr(), "there is more: --cursor {cursor}")?;
        }
        Ok(())
    }

    /// Says that something without an answer was done.
    pub(crate) fn done(&self, what: &str) -> Result<(), Failure> {
        match self.format {
            Format::Json => Ok(()),
            Format::Table => Ok(writeln!(std::io::stdout(), "{what}")?),
        }
    }
}

fn value(item: impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(item).map_err(|error| Failure::Output(error.into()))
}

fn json(value: &Value) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

fn lines(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| {
        rows.iter()
            .map(|row| row[at].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => escaped(text),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| match (item.get("state"), item.get("devices")) {
                (Some(state), Some(devices)) => format!("{}:{devices}", cell(Some(state))),
                _ => cell(Some(item)),
            })
            .collect::<Vec<_>>()
            .join(","),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_))) => {
            escaped(&other.to_string())
        }
    }
}

fn escaped(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, c| {
            if c.is_control() {
                out.extend(c.escape_default())
            } else {
                out.push(c)
            }
            out
        })
}

/// Says on the error output what went wrong, with causes and wrong fields.
pub(crate) fn failed(failure: &Failure) {
    let mut text = format!("hubctl: {}", escaped(&failure.to_string()));
    let mut cause = failure.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {}", escaped(&error.to_string())));
        cause = error.source();
    }
    if let Failure::Call(error) = failure
        && let Some(problem) = error.problem()
    {
        for field in &problem.errors {
            text.push_str(&format!(
                "\n  {}: {}",
                escaped(&field.pointer),
                escaped(&field.detail)
            ));
        }
    }
    // There is nowhere left to say that this failed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_line_up_and_device_text_cannot_move_the_cursor() {
        let item = json!({ "name": "a\u{1b}[2J", "groups": ["x", "y"], "counts": [{ "state": "queued", "devices": 2 }] });
        assert_eq!(cell(item.pointer("/name")), "a\\u{1b}[2J");
        assert_eq!(cell(item.pointer("/groups")), "x,y");
        assert_eq!(cell(item.pointer("/counts")), "queued:2");
        assert_eq!(cell(item.pointer("/nothing")), "-");
        let rows = [
            vec!["A".to_owned(), "B".to_owned()],
            vec!["long".to_owned(), "-".to_owned()],
        ];
        assert_eq!(lines(&rows), ["A     B", "long  -"]);
    }
}
