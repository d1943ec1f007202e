//! Ports have names, and the names lead somewhere: services, probes, policies, scraping, and the listeners of the configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::places::{self, Object, Place, list, pairs};
use crate::report;

/// Names of a workload's ports.
fn port_names(workload: &Object) -> BTreeSet<&str> {
    workload
        .containers()
        .flat_map(|container| list(container, "/ports"))
        .filter_map(|port| port["name"].as_str())
        .collect()
}

/// Ports that the probes of a workload ask.
fn probed(workload: &Object) -> BTreeSet<&str> {
    let probes = ["startupProbe", "readinessProbe", "livenessProbe"];
    let asked = |container| probes.map(|probe| &container_probe(container, probe)["port"]);
    workload
        .containers()
        .flat_map(asked)
        .filter_map(Value::as_str)
        .collect()
}

fn container_probe<'a>(container: &'a Value, probe: &str) -> &'a Value {
    let probe = &container[probe];
    if probe["httpGet"].is_null() {
        &probe["tcpSocket"]
    } else {
        &probe["httpGet"]
    }
}

/// Every place where a port of some pods is named: by whom, the pods' labels, the name.
fn uses(place: &Place) -> Vec<(String, BTreeMap<&str, &str>, &str)> {
    let mut uses = Vec::new();
    for service in place.of("Service") {
        let labels = pairs(&service.0["spec"]["selector"]);
        for port in service.list("/spec/ports") {
            let name = port["targetPort"].as_str().unwrap_or("a number");
            uses.push((format!("Service {}", service.name()), labels.clone(), name));
        }
    }
    for monitor in place.of("PodMonitor") {
        let labels = pairs(&monitor.0["spec"]["selector"]["matchLabels"]);
        for endpoint in monitor.list("/spec/podMetricsEndpoints") {
            let name = endpoint["port"].as_str().unwrap_or("");
            uses.push((
                format!("PodMonitor {}", monitor.name()),
                labels.clone(),
                name,
            ));
        }
    }
    for policy in place.of("NetworkPolicy") {
        let who = format!("NetworkPolicy {}", policy.name());
        let own = pairs(&policy.0["spec"]["podSelector"]["matchLabels"]);
        for rule in policy.list("/spec/ingress") {
            let names = list(rule, "/ports")
                .iter()
                .filter_map(|port| port["port"].as_str());
            uses.extend(names.map(|name| (who.clone(), own.clone(), name)));
        }
        for rule in policy.list("/spec/egress") {
            let names = list(rule, "/ports")
                .iter()
                .filter_map(|port| port["port"].as_str());
            for (name, to) in
                names.flat_map(|name| list(rule, "/to").iter().map(move |to| (name, to)))
            {
                let labels = pairs(&to["podSelector"]["matchLabels"]);
                uses.push((who.clone(), labels, name));
            }
        }
    }
    uses
}

#[test]
fn names_of_ports_lead_somewhere() {
    let mut findings = Vec::new();
    for place in places::all() {
        for (who, labels, port) in uses(&place) {
            let mut chosen = place.selected(&labels);
            if !chosen.any(|workload| port_names(workload).contains(port)) {
                findings.push(format!("{}: {who}: {port}", place.name));
            }
        }
        for workload in place.workloads() {
            let (has, asked) = (port_names(workload), probed(workload));
            for port in asked.difference(&has) {
                findings.push(format!(
                    "{}: probe of {}: {port}",
                    place.name,
                    workload.name()
                ));
            }
        }
    }
    report(
        "whoever names a port finds it at the pods it chooses",
        &findings,
    );
}

#[test]
fn every_port_is_named_and_used() {
    let mut findings = Vec::new();
    for place in places::all() {
        let uses = uses(&place);
        for workload in place.workloads() {
            let has = workload.pod_labels().unwrap_or_default();
            let mine = |labels: &BTreeMap<&str, &str>| {
                labels
                    .iter()
                    .all(|(key, value)| has.get(key) == Some(value))
            };
            let asked = probed(workload);
            for port in workload
                .containers()
                .flat_map(|container| list(container, "/ports"))
            {
                let name = port["name"].as_str().unwrap_or("");
                let by_others = uses
                    .iter()
                    .any(|(_, labels, used)| *used == name && mine(labels));
                if name.is_empty() || !(by_others || asked.contains(name)) {
                    findings.push(format!("{}: {}: {port}", place.name, workload.name()));
                }
            }
        }
    }
    report("every port has a name, and somebody uses it", &findings);
}

#[test]
fn ports_are_those_that_nodes_listen_on() {
    let listeners = [
        ("device_listen", "device-tls"),
        ("api_listen", "api"),
        ("admin_listen", "admin"),
        ("peer_listen", "peer"),
        ("proxy_listen", "device-proxy"),
    ];
    let mut findings = Vec::new();
    for place in places::all() {
        let (config, node) = (place.hub_toml(), place.node());
        let container = node
            .containers()
            .find(|one| one["name"] == "hub-node")
            .unwrap();
        for (key, name) in listeners {
            let variable = format!("HUB_{}", key.to_uppercase());
            let from_env = list(container, "/env")
                .iter()
                .find(|one| one["name"] == variable.as_str());
            let address = match from_env {
                Some(entry) => entry["value"].as_str(),
                None => config.get(key).and_then(toml::Value::as_str),
            };
            // What listens on loopback is for nobody outside of the pod.
            let listens = address.filter(|address| !address.starts_with("127."));
            let listens =
                listens.and_then(|address| address.rsplit(':').next()?.parse::<u64>().ok());
            let mut ports = list(container, "/ports").iter();
            let named = ports.find(|port| port["name"] == name);
            let named = named.and_then(|port| port["containerPort"].as_u64());
            if listens != named {
                findings.push(format!(
                    "{}: {key} {listens:?}, port {name} {named:?}",
                    place.name
                ));
            }
        }
    }
    report(
        "containers have the ports that the configuration listens on",
        &findings,
    );
}
