//! `hub-node config schema`: every key, for people who write configurations and for tests that check them.

use std::io::{self, Write};

use clap::{Args as _, Command};
use serde::Serialize;
use serde_json::Value;

use super::secrets::SECRETS;
use super::{Config, ConfigFlags};
use crate::reload::{self, RELOADABLE};

#[derive(Serialize)]
struct Schema {
    keys: Vec<Key>,
}

/// One key of the configuration.
#[derive(Serialize)]
struct Key {
    /// Its name in the file.
    key: String,
    /// The environment variable that overrides the file.
    env: String,
    /// The flag that overrides both.
    flag: String,
    /// `string`, `integer`, `boolean` or `array`.
    r#type: &'static str,
    /// `null` where the key may be left out and has no value then.
    default: Value,
    /// Whether a running node takes a new value on SIGHUP.
    reload: bool,
    /// Whether it may hold a password; then there is a key with `_file` behind it for a file instead.
    secret: bool,
    help: String,
}

fn keys() -> Vec<Key> {
    let flags = ConfigFlags::augment_args(Command::new("hub-node"));
    let of = |(key, default): (String, Value)| {
        let flag = flags.get_arguments().find(|flag| *flag.get_id() == key)?;
        let kind = match &default {
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::Array(_) => "array",
            // what is optional is a path or an address
            Value::String(_) | Value::Null | Value::Object(_) => "string",
        };
        Some(Key {
            env: format!("HUB_{}", key.to_uppercase()),
            flag: format!("--{}", flag.get_long()?),
            r#type: kind,
            default,
            reload: RELOADABLE.contains(&key.as_str()),
            secret: SECRETS.contains(&key.as_str()),
            help: flag.get_help()?.to_string(),
            key,
        })
    };
    reload::keys(&Config::default())
        .into_iter()
        .filter_map(of)
        .collect()
}

/// Prints all keys as JSON.
///
/// # Errors
/// The writer's.
pub(crate) fn print(out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &Schema { keys: keys() })?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_left_out() {
        let all: Vec<String> = keys().into_iter().map(|key| key.key).collect();
        let expected: Vec<String> = reload::keys(&Config::default())
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn a_key_says_where_it_comes_from() {
        let all = keys();
        let key = all.iter().find(|key| key.key == "device_origins").unwrap();
        assert_eq!(
            (&*key.env, &*key.flag, key.r#type),
            ("HUB_DEVICE_ORIGINS", "--device-origin", "array")
        );
        let key = all.iter().find(|key| key.key == "lb_grace_s").unwrap();
        assert!(key.reload && !key.secret && key.default == 15);
    }
}
