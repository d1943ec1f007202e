//! The command line parses what its help text shows.

use super::*;
use clap::CommandFactory;

#[test]
fn the_command_line_is_sound() {
    Options::command().debug_assert();
}

#[test]
fn a_hub_on_this_machine_is_found_where_it_listens_by_default() {
    let command = Options::command();
    let url = command.get_arguments().find(|arg| arg.get_id() == "url");
    let default = url.and_then(|arg| arg.get_default_values().first());
    assert_eq!(
        default.and_then(|url| url.to_str()),
        Some("http://127.0.0.1:4080")
    );
}

#[test]
fn the_examples_of_the_help_text_parse() {
    let at = ["--org", "acme", "--product", "lamp"];
    let uuid = "01920000-0000-7000-8000-000000000000";
    for line in [
        &["device", "list"][..],
        &["firmware", "upload", "lamp-1.4.0.fw"],
        &["group", "target", "beta", "--firmware", uuid],
        &["group", "target", "beta", "--clear"],
        &["group", "create", "beta", "--priority", "-3"],
        &["group", "add", "beta", "l1", "l2"],
        &["device", "command", "lamp-17", "reboot", "--ttl", "60"],
        &["device", "show", "lamp-17", "-o", "json"],
    ] {
        let line = ["hubctl"].iter().chain(line).chain(&at).copied();
        Options::try_parse_from(line.clone()).unwrap_or_else(|error| panic!("{error}"));
    }
    let executions = [
        "hubctl",
        "command",
        "executions",
        uuid,
        "--org",
        "acme",
        "-o",
        "json",
    ];
    assert!(Options::try_parse_from(executions).is_ok());
    for wrong in [
        &["group", "target", "beta"][..],
        &["group", "target", "beta", "--clear", "--firmware", uuid],
        &["device", "command", "l1", "a b"],
        &["group", "add", "beta"],
    ] {
        let line = ["hubctl"].iter().chain(wrong).chain(&at).copied();
        assert!(Options::try_parse_from(line).is_err(), "{wrong:?}");
    }
}
