//! Precedence, unknown keys and the list of problems.

use super::*;
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    flags: ConfigFlags,
}

fn flags(args: &[&str]) -> ConfigFlags {
    Cli::parse_from([&["test"], args].concat()).flags
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hub.toml");
    std::fs::write(&file, "node_name = \"from-file\"\nlog = \"debug\"\n").unwrap();
    let file = file.to_str().unwrap();
    let config = Config::read(&flags(&["--config", file, "--node-name", "from-flag"])).unwrap();
    assert_eq!(
        (config.node_name.as_str(), config.log.as_str()),
        ("from-flag", "debug")
    );
    assert_eq!(config.device_listen, Config::default().device_listen);
}

#[test]
fn unknown_keys_and_wrong_types_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hub.toml");
    std::fs::write(&file, "device_lisen = \"0.0.0.0:1\"\n").unwrap();
    let error = Config::read(&flags(&["--config", file.to_str().unwrap()])).unwrap_err();
    assert!(error.to_string().contains("device_lisen"), "{error}");
    std::fs::write(&file, "device_listen = \"nowhere\"\n").unwrap();
    let error = Config::read(&flags(&["--config", file.to_str().unwrap()])).unwrap_err();
    assert!(error.to_string().contains("device_listen"), "{error}");
}

#[test]
fn all_problems_are_reported_at_once() {
    let config = Config {
        state_dir: "does-not-exist".into(),
        api_listen: SocketAddr::from(([0, 0, 0, 0], 1)),
        firmware_bytes_max: 0,
        log: "a=b=c".into(),
        ..Config::default()
    };
    let ConfigError(problems) = config.check().unwrap_err();
    for key in [
        "state_dir",
        "device_certificate",
        "device_key",
        "api_listen",
        "firmware_bytes_max",
        "log",
    ] {
        assert!(
            problems.iter().any(|problem| problem.starts_with(key)),
            "{key} in {problems:#?}"
        );
    }
}
