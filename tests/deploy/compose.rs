//! The compose file runs the same nodes as Kubernetes: same ports, same settings, same load balancer.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::keys;
use crate::places::{documents, list, pairs};
use crate::report;
use crate::times::END;
use crate::tools;

const FILE: &str = "deploy/compose/compose.yaml";

fn compose() -> Value {
    documents(&tools::read(FILE)).remove(0)
}

fn settings(path: &str) -> toml::Table {
    tools::read(path).parse().unwrap()
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or("")
}

/// The nodes: name and service.
fn nodes(compose: &Value) -> Vec<(&str, &Value)> {
    let services = compose["services"].as_object().unwrap().iter();
    let nodes = services.filter(|(name, _)| name.starts_with("hub-"));
    nodes
        .map(|(name, service)| (name.as_str(), service))
        .collect()
}

#[test]
fn compose_and_kubernetes_listen_alike() {
    let (compose, kubernetes) = (
        settings("deploy/compose/hub.toml"),
        settings("k8s/base/hub.toml"),
    );
    let mut findings = Vec::new();
    for (key, value) in &kubernetes {
        if key.ends_with("_listen") && compose.get(key) != Some(value) {
            findings.push(format!(
                "{key}: {value} in Kubernetes, {:?} here",
                compose.get(key)
            ));
        }
    }
    // What only one of them says is about logs, and about what is in front.
    let names = |table: &toml::Table| table.keys().cloned().collect::<BTreeSet<_>>();
    let differ: Vec<_> = names(&compose)
        .symmetric_difference(&names(&kubernetes))
        .cloned()
        .collect();
    if differ != ["log_json", "proxy_listen"] {
        findings.push(format!("settings of one and not of the other: {differ:?}"));
    }
    report("compose and Kubernetes have the same settings", &findings);
}

#[test]
fn settings_are_settings_of_the_node() {
    let compose = compose();
    let mut findings: Vec<_> = settings("deploy/compose/hub.toml")
        .keys()
        .filter(|key| !keys::known(key))
        .cloned()
        .collect();
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        for variable in pairs(&service["environment"]).keys() {
            let key = keys::setting(variable);
            if keys::is_secret(variable) || key.is_some_and(|key| !keys::known(&key)) {
                findings.push(format!("{name}: {variable}"));
            }
        }
    }
    report(
        "the compose file gives settings that the node knows",
        &findings,
    );
}

#[test]
fn nodes_differ_in_their_name_alone() {
    let compose = compose();
    let nodes = nodes(&compose);
    let hub = settings("deploy/compose/hub.toml");
    let peer = port(hub["peer_listen"].as_str().unwrap());
    let made = tools::read("deploy/certs/make");
    let mut findings = Vec::new();
    for (name, node) in &nodes {
        let variables = pairs(&node["environment"]);
        if variables.get("HUB_NODE_NAME") != Some(name) {
            findings.push(format!(
                "{name}: its name is {:?}",
                variables.get("HUB_NODE_NAME")
            ));
        }
        if variables.get("HUB_PEER_ADDRESS") != Some(&format!("{name}:{peer}").as_str()) {
            findings.push(format!(
                "{name}: its address for peers is {:?}",
                variables.get("HUB_PEER_ADDRESS")
            ));
        }
        if list(node, "/networks/hub/aliases") != ["nodes"] {
            findings.push(format!("{name}: the load balancer does not find it"));
        }
        if !made
            .lines()
            .any(|line| line.starts_with("nodes=") && line.contains(name))
        {
            findings.push(format!(
                "{name}: deploy/certs/make makes no certificate for it"
            ));
        }
        let published = list(node, "/ports").iter().filter_map(Value::as_str);
        let api = port(hub["api_listen"].as_str().unwrap());
        if !published.into_iter().any(|mapping| port(mapping) == api) {
            findings.push(format!("{name}: its API is not published"));
        }
        let patience = node["stop_grace_period"]
            .as_str()
            .and_then(|text| text.strip_suffix('s')?.parse::<u64>().ok());
        let drain: i64 = ["lb_grace_s", "drain_window_s"]
            .iter()
            .map(|key| hub[*key].as_integer().unwrap())
            .sum();
        let needs = u64::try_from(drain).unwrap() + END;
        if patience.is_none_or(|patience| patience <= needs) {
            findings.push(format!(
                "{name}: needs more than {needs} s to stop, has {patience:?}"
            ));
        }
    }
    assert_eq!(nodes.len(), 4, "three nodes and one more by profile");
    report("nodes are alike", &findings);
}

#[test]
fn the_load_balancer_finds_the_nodes() {
    let compose = compose();
    let variables = pairs(&compose["services"]["haproxy"]["environment"]);
    let hub = settings("deploy/compose/hub.toml");
    let listens = |key: &str| port(hub[key].as_str().unwrap()).to_owned();
    assert_eq!(port(variables["HUB_LB_NODES"]), listens("proxy_listen"));
    assert_eq!(variables["HUB_LB_ADMIN"], listens("admin_listen"));
    // The same in Kubernetes, where the component adds the listener.
    let component = documents(&tools::read("k8s/components/haproxy/deployment.yaml")).remove(0);
    let same = |name: &str| {
        let entries = list(&component, "/spec/template/spec/containers/0/env").iter();
        let mut values = entries.filter(|entry| entry["name"] == name);
        values
            .next()
            .and_then(|entry| entry["value"].as_str())
            .unwrap()
            .to_owned()
    };
    assert_eq!(port(&same("HUB_LB_NODES")), listens("proxy_listen"));
    assert_eq!(same("HUB_LB_ADMIN"), listens("admin_listen"));
}

#[test]
fn files_that_are_mounted_are_there_or_made() {
    let compose = compose();
    let made = tools::read("deploy/certs/make");
    let mut findings = Vec::new();
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        let mounts = list(service, "/volumes").iter().filter_map(Value::as_str);
        for path in mounts.filter_map(|mount| mount.split(':').next()) {
            // What begins with a dot is a file or folder; the rest are volumes.
            let there = match path.strip_prefix("./state/") {
                Some(path) => made.contains(path.rsplit('/').next().unwrap()),
                None => {
                    !path.starts_with('.')
                        || tools::root().join("deploy/compose").join(path).exists()
                }
            };
            if !there {
                findings.push(format!("{name}: {path}"));
            }
        }
    }
    report(
        "what the compose file mounts is in the repository or made by deploy/certs/make",
        &findings,
    );
}
