//! Which crate may know which: proto promises, core decides, node does; devices and operators link the wire only.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::report;
use crate::tree;

/// What each crate of ours may use of ours. A crate that is not here may not exist.
const MAY_USE: [(&str, &[&str]); 9] = [
    // Starts servers of others for tests, and knows nothing of the hub.
    ("hub-servers", &[]),
    ("hub-proto", &[]),
    ("hub-core", &["hub-proto"]),
    // Builds in seconds, because it links no more than what it counts.
    ("hub-counts", &["hub-proto", "hub-core"]),
    ("hub-firmware", &[]),
    ("hub-device", &["hub-proto", "hub-firmware"]),
    ("hub-cli", &["hub-proto"]),
    // The node carries the reference device and the operators' client for its demo.
    (
        "hub-node",
        &[
            "hub-proto",
            "hub-core",
            "hub-firmware",
            "hub-device",
            "hub-cli",
        ],
    ),
    (
        "hub-tests",
        &[
            "hub-proto",
            "hub-core",
            "hub-node",
            "hub-firmware",
            "hub-device",
            "hub-cli",
            "hub-servers",
        ],
    ),
];

/// What hub-core is kept free of, whatever feature or target would ask for it.
const NOT_IN_CORE: [&str; 14] = [
    "tokio",
    "tokio-util",
    "futures-util",
    "ractor",
    "redis",
    "sqlx",
    "serde_json",
    "tracing",
    "rand",
    "rustls",
    "axum",
    "hyper",
    "reqwest",
    "dashmap",
];

/// What the wire is kept free of: whoever links it gets types and a codec, not a runtime.
const NOT_IN_PROTO: [&str; 10] = [
    "tokio",
    "tokio-util",
    "tokio-tungstenite",
    "ractor",
    "sqlx",
    "rustls",
    "axum",
    "hyper",
    "reqwest",
    "tracing",
];

/// What only hub-node may use: a second crate with actors or SQL would be a second node.
const ONLY_IN_NODE: [&str; 4] = ["ractor", "sqlx", "axum", "redis"];

/// Dependencies of every workspace member, tests and build scripts apart.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(tree::root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let shipped = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null());
            (name(package), shipped.map(name).collect())
        })
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let rules: BTreeMap<_, _> = MAY_USE.into_iter().collect();
    let mut findings = Vec::new();
    for (package, uses) in dependencies() {
        let Some(may) = rules.get(package.as_str()) else {
            findings.push(format!(
                "{package}: what may it use, and what does it keep out?"
            ));
            continue;
        };
        let ours = uses.iter().filter(|used| used.starts_with("hub-"));
        for used in ours.filter(|used| !may.contains(&used.as_str())) {
            findings.push(format!("{package} uses {used}"));
        }
    }
    report("dependencies point one way: proto, core, node", &findings);
}

#[test]
fn proto_and_core_are_pure() {
    let all = dependencies();
    let strays = |package: &str, banned: &[&str]| -> Vec<String> {
        let uses = &all[package];
        let strays = banned.iter().filter(|name| uses.contains(**name));
        strays
            .map(|name| format!("{package} uses {name}"))
            .collect()
    };
    let mut findings = strays("hub-proto", &NOT_IN_PROTO);
    findings.extend(strays("hub-core", &NOT_IN_CORE));
    report(
        "proto promises and core decides: no async, no I/O, no logging",
        &findings,
    );
}

#[test]
fn actors_and_sql_live_in_the_node() {
    let mut findings = Vec::new();
    for (package, uses) in dependencies() {
        if package != "hub-node" {
            let strays = ONLY_IN_NODE.iter().filter(|name| uses.contains(**name));
            findings.extend(strays.map(|name| format!("{package} uses {name}")));
        }
    }
    report(
        "actors, SQL and the operators' server live in hub-node",
        &findings,
    );
}

#[test]
fn members_inherit_from_the_workspace() {
    let mut findings = Vec::new();
    for file in tree::texts() {
        if !file.path.ends_with("/Cargo.toml") {
            continue;
        }
        if !file.content.contains("[lints]\nworkspace = true") {
            findings.push(format!("{}: no `[lints] workspace = true`", file.path));
        }
        let mut table = "";
        for (number, line) in file.lines() {
            if line.starts_with('[') {
                table = line;
            } else if table.contains("dependencies")
                && line.contains('=')
                && !line.trim_start().starts_with('#')
                && !line.contains("workspace = true")
            {
                findings.push(format!("{}:{number}: {line}", file.path));
            }
        }
    }
    report("versions stand in the root manifest, lints too", &findings);
}

#[test]
fn every_dependency_says_why() {
    let manifest = std::fs::read_to_string(tree::root().join("Cargo.toml")).unwrap();
    let mut findings = Vec::new();
    let (mut inside, mut explained, mut seen) = (false, false, 0);
    for (at, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        } else if inside && line.starts_with('#') {
            // A section's title explains nothing by itself.
            explained = !line.starts_with("# ---");
        } else if inside && line.contains('=') && !line.contains("path = \"hub-") {
            seen += 1;
            if !explained && !line.contains(" # ") {
                findings.push(format!("Cargo.toml:{}: {line}", at + 1));
            }
            explained = false;
        }
    }
    assert!(seen > 10, "the table of dependencies was not found");
    report("every dependency has one line of why", &findings);
}

#[test]
fn core_keeps_the_lints_of_the_root() {
    let read = |path: &str| std::fs::read_to_string(tree::root().join(path)).unwrap();
    let core = read("hub-core/clippy.toml");
    let findings: Vec<_> = read("clippy.toml")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(|line| !core.contains(line))
        .map(|line| format!("hub-core/clippy.toml: no {line:?}"))
        .collect();
    report("clippy reads the nearest clippy.toml only", &findings);
}
