//! Every command line that we ship is one that the program takes: image, manifests, compose file, unit.

use std::process::Command;

use serde_json::Value;

use crate::places::{self, documents, list};
use crate::report;
use crate::tools;

/// The texts of a list.
fn texts(value: &Value) -> Vec<String> {
    let entries = value.as_array().into_iter().flatten();
    entries
        .filter_map(|text| Some(text.as_str()?.to_owned()))
        .collect()
}

/// Exec forms of the Dockerfile that start with the program or are given to it.
fn of_the_image() -> Vec<Vec<String>> {
    let file = tools::read("deploy/docker/Dockerfile");
    let lines = file.lines().filter_map(|line| line.split_once("CMD "));
    let lists = lines.map(|(_, list)| texts(&serde_json::from_str(list).unwrap()));
    lists
        .map(|mut words| {
            words.retain(|word| word != "/usr/bin/hub-node");
            words
        })
        .collect()
}

/// Where a command line stands, and its words without the program's name.
fn all() -> Vec<(String, Vec<String>)> {
    let mut found: Vec<_> = of_the_image()
        .into_iter()
        .map(|words| ("Dockerfile".to_owned(), words))
        .collect();
    assert_eq!(found.len(), 2, "the image's health check, and what it runs");
    for place in places::all() {
        for workload in place.workloads() {
            for container in workload.containers() {
                let image = container["image"].as_str().unwrap_or("");
                let ours = image.rsplit('/').next().unwrap().starts_with("hub-node");
                if ours {
                    let at = format!("{}: {}", place.name, container["name"]);
                    found.push((at, texts(&container["args"])));
                }
            }
        }
    }
    let compose = documents(&tools::read("deploy/compose/compose.yaml")).remove(0);
    let migrate = texts(&compose["services"]["migrate"]["command"]);
    found.push(("compose: migrate".to_owned(), migrate));
    let unit = tools::read("deploy/systemd/hub-node.service");
    for line in unit
        .lines()
        .filter_map(|line| line.split_once("=/usr/bin/hub-node "))
    {
        let words = line.1.split(' ').map(str::to_owned).collect();
        found.push((format!("systemd: {}", line.0), words));
    }
    found
}

#[test]
fn the_program_takes_them() {
    let program = hub_tests::process::built("hub-node").unwrap();
    let mut findings = Vec::new();
    for (at, words) in all() {
        // Arguments are read from left to right: what comes before `--help` is judged, and nothing is done.
        let output = Command::new(&program)
            .args(&words)
            .arg("--help")
            .output()
            .unwrap();
        if words.is_empty() || !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            findings.push(format!("{at}: {words:?}: {}", text.trim()));
        }
    }
    report("command lines are the program's own", &findings);
}

#[test]
fn the_health_check_of_compose_is_the_image_s() {
    let compose = documents(&tools::read("deploy/compose/compose.yaml")).remove(0);
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services.iter().filter(|(name, _)| name.starts_with("hub-")) {
        let has = service["healthcheck"].is_null() && list(service, "/entrypoint").is_empty();
        assert!(
            has,
            "{name} has a health check or an entry point of its own"
        );
    }
}
