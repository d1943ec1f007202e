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

#[test]
fn every_bad_key_is_reported_beside_what_does_not_check() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hub.toml");
    std::fs::write(
        &file,
        "device_lisen = 1\napi_listen = \"nowhere\"\nlog = 3\nnode_name = \"\"\nfirmware_bytes_max = -1\n",
    )
    .unwrap();
    let ConfigError(problems) = Config::load(&flags(&[
        "--config",
        file.to_str().unwrap(),
        "--state-dir",
        "missing",
    ]))
    .unwrap_err();
    for key in [
        "device_lisen",
        "api_listen",
        "log",
        "node_name",
        "firmware_bytes_max",
        "state_dir",
        "device_certificate",
        "device_url",
    ] {
        let of = problems
            .iter()
            .filter(|p| p.starts_with(&format!("{key}:")));
        assert_eq!(of.count(), 1, "{key} in {problems:#?}");
    }
    assert!(
        problems.iter().any(|p| p.contains("hub.toml")),
        "{problems:#?}"
    );
}

#[test]
fn a_certificate_needs_the_key_that_belongs_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let now = time::OffsetDateTime::now_utc();
    let authority = crate::pki::Authority::generate("test", now).unwrap();
    let [one, other] = [1, 2].map(|_| authority.server(&["localhost".into()], 1, now).unwrap());
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut config = Config {
        state_dir: dir.path().to_owned(),
        device_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        device_certificate: write("server.pem", &one.certificate_pem),
        device_key: write("server-key.pem", &one.key_pem),
        ..Config::default()
    };
    config.check().unwrap();
    config.device_key = write("other-key.pem", &other.key_pem);
    let ConfigError(problems) = config.check().unwrap_err();
    assert!(
        problems[0].starts_with("device_certificate, device_key:"),
        "{problems:#?}"
    );
    config.device_key = write("no-key.pem", "nothing");
    assert_eq!(config.check().unwrap_err().0.len(), 1);
}

#[test]
fn an_address_that_is_none_needs_a_device_url() {
    let mut config = Config {
        device_listen: SocketAddr::from(([0, 0, 0, 0], 4443)),
        ..Config::default()
    };
    let named = |config: &Config| {
        let ConfigError(problems) = config.check().unwrap_err();
        problems.iter().any(|p| p.starts_with("device_url"))
    };
    assert!(named(&config));
    config.device_url = "https://hub.example.org:4443".into();
    assert!(!named(&config));
}
