//! A node has the time it needs to leave, and the next one waits for it.

use hub_core::limits;

use crate::places::{self, Object, Place};
use crate::report;
use crate::tools;

/// What a node does after its drain: the last sockets take their goodbye, telemetry is sent, and the devices come back elsewhere.
pub(crate) const END: u64 = limits::STOP_MAX.as_secs()
    + limits::TELEMETRY_STOP_MAX.as_secs()
    + limits::RECONNECT_SPREAD.as_secs();

fn seconds(config: &toml::Table, key: &str) -> u64 {
    let value = config.get(key).and_then(toml::Value::as_integer);
    let value = value.unwrap_or_else(|| panic!("{key} is not said"));
    value.try_into().unwrap()
}

/// Seconds from SIGTERM until the last device was told to go.
fn leaving(config: &toml::Table) -> u64 {
    seconds(config, "lb_grace_s") + seconds(config, "drain_window_s")
}

/// Seconds that the orchestrator waits before it says SIGTERM; they count inside its patience.
fn before(node: &Object) -> u64 {
    node.number("/spec/template/spec/containers/0/lifecycle/preStop/sleep/seconds")
        .unwrap_or(0)
}

#[test]
fn nodes_have_time_to_leave() {
    let mut findings = Vec::new();
    for place in places::all() {
        let node = place.node();
        let needs = before(node) + leaving(&place.hub_toml()) + END;
        let has = node.number("/spec/template/spec/terminationGracePeriodSeconds");
        if has.is_none_or(|has| has <= needs) {
            findings.push(format!(
                "{}: needs more than {needs} s, has {has:?}",
                place.name
            ));
        }
    }
    let service = tools::read("deploy/systemd/hub-node.service");
    let mut lines = service.lines();
    let patience = lines.find_map(|line| line.strip_prefix("TimeoutStopSec=")?.strip_suffix('s'));
    let patience: u64 = patience.unwrap().parse().unwrap();
    let needs = leaving(&tools::read("deploy/systemd/hub.toml").parse().unwrap()) + END;
    if patience <= needs {
        findings.push(format!(
            "systemd: needs more than {needs} s, has {patience}"
        ));
    }
    report("nodes are not killed while they leave", &findings);
}

#[test]
fn nodes_leave_one_after_the_other() {
    let mut findings = Vec::new();
    for place in places::clusters() {
        let node = place.node();
        let needs = before(node) + leaving(&place.hub_toml()) + END;
        let waits = node.number("/spec/minReadySeconds").unwrap_or(0);
        if waits < needs {
            findings.push(format!(
                "{}: minReadySeconds is {waits}, a node takes {needs} s",
                place.name
            ));
        }
        let all = waits * nodes_max(&place);
        let patience = node.number("/spec/progressDeadlineSeconds").unwrap_or(600);
        if patience <= all {
            findings.push(format!(
                "{}: progressDeadlineSeconds is {patience}, a rollout takes {all} s",
                place.name
            ));
        }
        let at_once = &node.0["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"];
        if at_once != 0 {
            findings.push(format!("{}: maxUnavailable is {at_once}", place.name));
        }
    }
    report(
        "a rollout moves the devices of one node at a time",
        &findings,
    );
}

/// Nodes that there may be.
fn nodes_max(place: &Place) -> u64 {
    let scaled = place.of("HorizontalPodAutoscaler").next();
    let most = scaled.and_then(|scaler| scaler.number("/spec/maxReplicas"));
    most.or_else(|| place.node().number("/spec/replicas"))
        .unwrap()
}

#[test]
fn an_outage_restarts_nobody() {
    let mut findings = Vec::new();
    for place in places::all() {
        for container in place
            .node()
            .containers()
            .filter(|one| one["name"] == "hub-node")
        {
            let path = |probe: &str| container[probe]["httpGet"]["path"].as_str().unwrap_or("");
            let probes = ["startupProbe", "livenessProbe", "readinessProbe"].map(path);
            if probes != ["/startupz", "/livez", "/readyz"] {
                findings.push(format!("{}: {probes:?}", place.name));
            }
        }
    }
    report("each probe asks what it is for", &findings);
}
