//! Nothing of the machine it was written on is in the repository: no paths, no registries, no keys.

use crate::report;
use crate::tree::{self, Text};

/// Absolute paths that exist on one person's machine only, in pieces so that this file does not find itself.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
];

/// Whether `line` holds `path` where a path begins: after a word it is the middle of a relative one.
fn holds_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "._-/}*".contains(before))
    })
}

#[test]
fn no_path_of_one_machine() {
    let mut findings = Vec::new();
    for file in tree::texts() {
        for (number, line) in file.lines() {
            if let Some(path) = MACHINE_PATHS.iter().find(|path| holds_path(line, path)) {
                findings.push(format!("{}:{number}: {path}", file.path));
            }
        }
    }
    report("no absolute path of one machine", &findings);
}

#[test]
fn a_path_is_told_from_a_part_of_one() {
    let path = MACHINE_PATHS[0];
    assert!(holds_path(&format!("cd {path}hub"), path));
    assert!(holds_path(&format!("\"{path}hub\""), path));
    assert!(!holds_path(&format!("docs{path}hub"), path));
    assert!(!holds_path(&format!("https://host.example{path}hub"), path));
}

/// What is wrong with one line of a file that pins packages.
fn registry_in(file: &Text, line: &str) -> Option<&'static str> {
    let leaf = file.path.rsplit('/').next().unwrap_or(&file.path);
    match leaf {
        "Cargo.lock" => {
            let source = line.strip_prefix("source = ")?;
            (source != "\"registry+https://github.com/rust-lang/crates.io-index\"")
                .then_some("a source other than crates.io")
        }
        "package-lock.json" => line
            .trim_start()
            .starts_with("\"resolved\"")
            .then_some("where a package was downloaded from"),
        ".npmrc" => line.contains("registry=").then_some("a registry"),
        _ if file.path.ends_with(".cargo/config.toml") => line
            .contains("registry")
            .then_some("a registry or a replacement for one"),
        _ => None,
    }
}

#[test]
fn locks_name_no_registry_host() {
    let mut findings = Vec::new();
    for file in tree::texts() {
        for (number, line) in file.lines() {
            if let Some(what) = registry_in(&file, line) {
                findings.push(format!("{}:{number}: {what}", file.path));
            }
        }
    }
    report("locks pin contents, not hosts", &findings);
}

#[test]
fn no_private_key() {
    let marker = concat!("PRIVATE ", "KEY-----");
    let mut findings = Vec::new();
    for file in tree::texts() {
        for (number, line) in file.lines() {
            // A key is a line of its own; code that writes or looks for the marker has it inside a string.
            if line.starts_with("-----BEGIN") && line.ends_with(marker) {
                findings.push(format!("{}:{number}", file.path));
            }
        }
    }
    report("keys are made at test time, never kept", &findings);
}
