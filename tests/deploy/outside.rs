//! What outside tools say of the files: schemas of Kubernetes, policies, alert rules, load balancers, the compose file.

use crate::places;
use crate::report;
use crate::tools::{find, run};

/// The version of Kubernetes whose schemas objects must fit.
const KUBERNETES: &str = "1.33";

/// Each place's objects in a file of their own.
fn files() -> (tempfile::TempDir, Vec<(String, String)>) {
    let dir = tempfile::tempdir().unwrap();
    let write = |place: places::Place| {
        let path = dir.path().join(format!("{}.yaml", place.name));
        std::fs::write(&path, place.yaml).unwrap();
        (place.name, path.display().to_string())
    };
    let files = places::all().into_iter().map(write).collect();
    (dir, files)
}

#[test]
fn objects_fit_the_schemas_of_kubernetes() {
    let Some(validate) = find("kubernetes-validate") else {
        return;
    };
    let (_dir, files) = files();
    let mut findings = Vec::new();
    for (place, file) in &files {
        let (good, text) = run(&validate, &["--strict", "-k", KUBERNETES, file], &[]);
        if !good {
            findings.push(format!("{place}: {text}"));
        }
    }
    report("objects fit the schemas", &findings);
}

#[test]
fn policies_hold() {
    let Some(checkov) = find("checkov") else {
        return;
    };
    let (_dir, files) = files();
    let mut findings = Vec::new();
    // What is skipped says so in the file itself, with its reason.
    let mut check = |framework: &str, files: &[&str]| {
        let how = ["--skip-download", "--compact", "--quiet"];
        let named = files.iter().flat_map(|file| ["-f", file]);
        let arguments: Vec<_> = how
            .into_iter()
            .chain(["--framework", framework])
            .chain(named)
            .collect();
        let (good, text) = run(&checkov, &arguments, &[]);
        if !good {
            findings.push(format!("{framework}: {text}"));
        }
    };
    let rendered: Vec<_> = files.iter().map(|(_, file)| file.as_str()).collect();
    check("kubernetes", &rendered);
    check("dockerfile", &["deploy/docker/Dockerfile"]);
    report("policies hold", &findings);
}

#[test]
fn alert_rules_are_rules() {
    let Some(promtool) = find("promtool") else {
        return;
    };
    let file = "deploy/prometheus/rules/hub-node.rules.yml";
    let (good, text) = run(&promtool, &["check", "rules", file], &[]);
    assert!(good, "{text}");
    let (good, text) = run(
        &promtool,
        &[
            "check",
            "config",
            "--syntax-only",
            "deploy/prometheus/prometheus.yml",
        ],
        &[],
    );
    assert!(good, "{text}");
}

#[test]
fn alerts_fire_when_they_should() {
    let Some(promtool) = find("promtool") else {
        return;
    };
    let file = "deploy/prometheus/rules/hub-node.rules.test.yml";
    let (good, text) = run(&promtool, &["test", "rules", file], &[]);
    assert!(good, "{text}");
}

#[test]
fn load_balancers_are_configured_well() {
    let Some(haproxy) = find("haproxy") else {
        return;
    };
    let named = [
        ("HUB_LB_BIND", ":8443"),
        ("HUB_LB_STATUS", ":8404"),
        ("HUB_LB_MAXCONN", "1000"),
        ("HUB_LB_NODES", "nodes:4444"),
        ("HUB_LB_ADMIN", "4081"),
    ];
    let listed = [
        ("HUB_LB_BIND", ":8443"),
        ("HUB_LB_MAXCONN", "1000"),
        ("HUB_NODE_1", "127.0.0.1:4444"),
        ("HUB_NODE_2", "127.0.0.1:4445"),
        ("HUB_NODE_3", "127.0.0.1:4446"),
        ("HUB_ADMIN_1", "4081"),
        ("HUB_ADMIN_2", "4082"),
        ("HUB_ADMIN_3", "4083"),
    ];
    let mut findings = Vec::new();
    for (file, env) in [
        ("k8s/components/haproxy/haproxy.cfg", &named[..]),
        ("deploy/haproxy/haproxy.cfg", &listed[..]),
    ] {
        let (good, text) = run(&haproxy, &["-c", "-f", file], env);
        if !good {
            findings.push(format!("{file}: {text}"));
        }
    }
    report("HAProxy takes its configurations", &findings);
}
