//! Who selects pods finds some, and who names an object finds it.

use std::collections::BTreeSet;

use crate::places::{self, Object, Place, list, pairs};
use crate::report;

/// Selectors of an object, each with where it stands.
fn selectors(object: &Object) -> Vec<(String, &serde_json::Value)> {
    let spec = &object.0["spec"];
    let mut found = match object.kind() {
        "Service" => vec![("selector".to_owned(), &spec["selector"])],
        "PodDisruptionBudget" | "PodMonitor" | "Deployment" | "StatefulSet" => {
            vec![("selector".to_owned(), &spec["selector"]["matchLabels"])]
        }
        "NetworkPolicy" => vec![(
            "podSelector".to_owned(),
            &spec["podSelector"]["matchLabels"],
        )],
        _ => Vec::new(),
    };
    for constraint in object.list("/spec/template/spec/topologySpreadConstraints") {
        found.push((
            "topologySpreadConstraints".to_owned(),
            &constraint["labelSelector"]["matchLabels"],
        ));
    }
    for (direction, peers) in [("ingress", "/from"), ("egress", "/to")] {
        for rule in object.list(&format!("/spec/{direction}")) {
            let pods = list(rule, peers)
                .iter()
                .filter(|peer| !peer["podSelector"].is_null());
            found.extend(
                pods.map(|peer| (direction.to_owned(), &peer["podSelector"]["matchLabels"])),
            );
        }
    }
    found
}

#[test]
fn selectors_find_pods() {
    let mut findings = Vec::new();
    let mut seen = 0;
    for place in places::all() {
        for object in &place.objects {
            for (at, labels) in selectors(object) {
                seen += 1;
                let labels = pairs(labels);
                if labels.is_empty() || place.selected(&labels).next().is_none() {
                    findings.push(format!(
                        "{}: {} {}: {at}",
                        place.name,
                        object.kind(),
                        object.name()
                    ));
                }
            }
        }
    }
    assert!(
        seen > 20 || places::all().is_empty(),
        "no selectors were found"
    );
    report("whoever selects pods finds some", &findings);
}

/// Names of the objects of one kind.
fn names<'a>(place: &'a Place, kind: &'a str) -> BTreeSet<&'a str> {
    place.of(kind).map(Object::name).collect()
}

/// What names another object of its place, and whether that is there.
fn references(place: &Place) -> Vec<(String, &str, bool)> {
    let mut found = Vec::new();
    let mut note = |who: &Object, kind: &'static str, name: String| {
        let there = names(place, kind).contains(name.as_str());
        found.push((
            format!("{} {}: {kind} {name}", who.kind(), who.name()),
            kind,
            there,
        ));
    };
    for workload in place.workloads() {
        let account = workload.text("/spec/template/spec/serviceAccountName");
        if !account.is_empty() {
            note(workload, "ServiceAccount", account.to_owned());
        }
        for volume in workload.list("/spec/template/spec/volumes") {
            if let Some(name) = volume
                .pointer("/configMap/name")
                .and_then(|name| name.as_str())
            {
                note(workload, "ConfigMap", name.to_owned());
            }
            if let Some(name) = volume
                .pointer("/persistentVolumeClaim/claimName")
                .and_then(|name| name.as_str())
            {
                note(workload, "PersistentVolumeClaim", name.to_owned());
            }
        }
    }
    for scaler in place.of("HorizontalPodAutoscaler") {
        note(
            scaler,
            "Deployment",
            scaler.text("/spec/scaleTargetRef/name").to_owned(),
        );
    }
    for route in place.of("TLSRoute") {
        note(
            route,
            "Gateway",
            route.text("/spec/parentRefs/0/name").to_owned(),
        );
        note(
            route,
            "Service",
            route.text("/spec/rules/0/backendRefs/0/name").to_owned(),
        );
    }
    found
}

#[test]
fn named_objects_are_there() {
    let mut findings = Vec::new();
    for place in places::all() {
        let missing = references(&place).into_iter().filter(|(.., there)| !there);
        findings.extend(missing.map(|(what, ..)| format!("{}: {what}", place.name)));
    }
    report("whoever names an object finds it", &findings);
}

#[test]
fn who_scales_is_one() {
    let mut findings = Vec::new();
    for place in places::clusters() {
        let scaled = place.of("HorizontalPodAutoscaler").next().is_some();
        if scaled == place.node().number("/spec/replicas").is_some() {
            findings.push(place.name);
        }
    }
    report(
        "the number of nodes is said either by an autoscaler or by a number",
        &findings,
    );
}

#[test]
fn every_pod_has_a_policy() {
    let mut findings = Vec::new();
    for place in places::all() {
        for workload in place.workloads() {
            let has = workload.pod_labels().unwrap_or_default();
            let covered = place.of("NetworkPolicy").any(|policy| {
                let labels = pairs(&policy.0["spec"]["podSelector"]["matchLabels"]);
                labels
                    .iter()
                    .all(|(key, value)| has.get(key) == Some(value))
            });
            if !covered {
                findings.push(format!("{}: {}", place.name, workload.name()));
            }
        }
    }
    report("every pod is under a network policy", &findings);
}
