//! Settings that manifests and compose file give are settings of the node, what they name is mounted, and Secrets are documented.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::places::{self, Object, list};
use crate::report;
use crate::tools;

/// Variables that begin like settings and are none.
const NO_SETTINGS: [&str; 1] = ["config"];
/// What of ours is not the node's: the load balancer's and the collector's.
const OF_OTHERS: [&str; 2] = ["HUB_LB_", "HUB_OTLP_"];

/// One setting, as the program describes it.
#[derive(Debug, Deserialize)]
struct Setting {
    key: String,
    env: String,
    secret: bool,
}

/// All settings, by the program's own list.
fn settings() -> &'static [Setting] {
    static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
        let schema = tools::hub_node(&["config", "schema"]);
        serde_json::from_value(schema["keys"].clone()).unwrap()
    });
    &SETTINGS
}

/// Whether the node knows a setting.
pub(crate) fn known(key: &str) -> bool {
    NO_SETTINGS.contains(&key) || settings().iter().any(|one| one.key == key)
}

/// Whether a variable of the environment is a setting that must not be seen; such ones are given as files.
pub(crate) fn is_secret(variable: &str) -> bool {
    settings()
        .iter()
        .any(|one| one.env == variable && one.secret)
}

/// The setting that a variable of the environment stands for, if it stands for one.
pub(crate) fn setting(variable: &str) -> Option<String> {
    if OF_OTHERS.iter().any(|prefix| variable.starts_with(prefix)) {
        return None;
    }
    variable.strip_prefix("HUB_").map(str::to_lowercase)
}

#[test]
fn settings_are_settings_of_the_node() {
    let mut findings = BTreeSet::new();
    let mut seen = 0;
    for place in places::all() {
        let file = place.hub_toml();
        let in_file = file.keys().cloned();
        let containers = place.workloads().flat_map(Object::containers);
        let variables = containers.flat_map(|container| list(container, "/env"));
        let in_env = variables.filter_map(|variable| setting(variable["name"].as_str()?));
        for key in in_file.chain(in_env) {
            seen += 1;
            if !known(&key) {
                findings.insert(format!("{}: {key}", place.name));
            }
        }
    }
    assert!(
        seen > 20 || places::all().is_empty(),
        "no settings were found"
    );
    report(
        "manifests give settings that the node knows",
        &Vec::from_iter(findings),
    );
}

#[test]
fn files_of_the_configuration_are_mounted() {
    let mut findings = Vec::new();
    for place in places::all() {
        let node = place.node();
        let container = node
            .containers()
            .find(|one| one["name"] == "hub-node")
            .unwrap();
        let mounts = list(container, "/volumeMounts").iter();
        let mounts: Vec<_> = mounts
            .filter_map(|mount| mount["mountPath"].as_str())
            .collect();
        for (key, value) in place.hub_toml() {
            let path = value.as_str().filter(|value| value.starts_with('/'));
            let mounted = |path: &str| {
                mounts
                    .iter()
                    .any(|mount| path == *mount || path.starts_with(&format!("{mount}/")))
            };
            if path.is_some_and(|path| !mounted(path)) {
                findings.push(format!("{}: {key} = {value}", place.name));
            }
        }
    }
    report(
        "files that the configuration names are in a volume",
        &findings,
    );
}

/// Secrets that pods mount or read: name, and the key where one is said.
fn secrets(workload: &Object) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut found = Vec::new();
    for volume in workload.list("/spec/template/spec/volumes") {
        let Some(name) = text(&volume["secret"]["secretName"]) else {
            continue;
        };
        found.push((name.clone(), None));
        for item in list(volume, "/secret/items") {
            found.push((name.clone(), text(&item["key"])));
        }
    }
    found
}

#[test]
fn secrets_are_documented_and_never_in_the_environment() {
    let page = tools::read("k8s/README.md");
    let mut findings = BTreeSet::new();
    for place in places::all() {
        for workload in place.workloads() {
            for (name, key) in secrets(workload) {
                let rows = page
                    .lines()
                    .filter(|line| line.starts_with(&format!("| `{name}` |")));
                let row: String = rows.collect();
                if row.is_empty() || key.is_some_and(|key| !row.contains(&format!("`{key}`"))) {
                    findings.insert(format!(
                        "{}: {name} is not in the table of k8s/README.md",
                        place.name
                    ));
                }
            }
            for variable in workload
                .containers()
                .flat_map(|container| list(container, "/env"))
            {
                let secret = is_secret(variable["name"].as_str().unwrap_or(""));
                if secret || !variable["valueFrom"]["secretKeyRef"].is_null() {
                    findings.insert(format!(
                        "{}: {} is a secret; mount it as a file",
                        place.name, variable["name"]
                    ));
                }
            }
        }
        for secret in place.of("Secret") {
            findings.insert(format!(
                "{}: Secret {} is in Git",
                place.name,
                secret.name()
            ));
        }
    }
    report(
        "Secrets are named, documented and files",
        &Vec::from_iter(findings),
    );
}

#[test]
fn secrets_are_made_by_components_as_pods_expect_them() {
    let mut findings = Vec::new();
    for place in places::clusters() {
        let wanted: BTreeSet<_> = place
            .workloads()
            .flat_map(secrets)
            .map(|(name, _)| name)
            .collect();
        let certificates = place
            .of("Certificate")
            .map(|one| one.text("/spec/secretName"));
        let external = place
            .of("ExternalSecret")
            .map(|one| one.text("/spec/target/name"));
        for made in certificates.chain(external) {
            if !wanted.contains(made) {
                findings.push(format!("{}: nobody wants {made}", place.name));
            }
        }
    }
    report("components make the Secrets that pods mount", &findings);
}

#[test]
fn every_setting_is_documented() {
    let pages = ["docs/operations.md", "docs/cluster.md"].map(tools::read);
    let said = |key: &str| {
        let code = format!("`{key}`");
        pages.iter().any(|page| page.contains(&code))
    };
    let missing = settings().iter().filter(|one| !said(&one.key));
    let findings: Vec<_> = missing.map(|one| one.key.clone()).collect();
    report("every setting is in operations or cluster", &findings);
}
