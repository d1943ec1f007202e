//! Whoever names a metric names one that nodes export: alerts, dashboard, autoscaling. The list is the program's own.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::places::{self, documents, list};
use crate::report;
use crate::tools;

const RULES: &str = "deploy/prometheus/rules/hub-node.rules.yml";
const DASHBOARD: &str = "deploy/grafana/dashboards/hub-node.json";
/// How names of our metrics begin; what begins so and is none must be a label.
const PREFIXES: [&str; 5] = ["hub_", "hub:", "db_", "http_", "process_"];

/// One metric, as the binary describes it.
#[derive(Debug, Deserialize)]
struct Metric {
    name: String,
    prometheus: String,
    kind: String,
    attributes: Vec<String>,
}

fn metrics() -> Vec<Metric> {
    let list = tools::hub_node(&["metrics", "list", "--json"]);
    serde_json::from_value(list).unwrap()
}

/// Words of an expression that could be names of metrics or labels.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    let inside = |letter: char| letter.is_ascii_alphanumeric() || "_:".contains(letter);
    let words = expression.split(move |letter: char| !inside(letter));
    words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
}

/// Words of an expression that are neither metrics, nor labels, nor recorded by a rule.
fn strangers(expression: &str, metrics: &[Metric], recorded: &BTreeSet<String>) -> Vec<String> {
    let known = |word: &str| {
        let is = |metric: &Metric| {
            let suffix = word.strip_prefix(metric.prometheus.as_str());
            match metric.kind.as_str() {
                "histogram" => {
                    suffix.is_some_and(|rest| ["_bucket", "_count", "_sum"].contains(&rest))
                }
                _ => suffix == Some(""),
            }
        };
        let labels = |metric: &Metric| {
            metric
                .attributes
                .iter()
                .any(|label| label.replace('.', "_") == word)
        };
        metrics.iter().any(|metric| is(metric) || labels(metric)) || recorded.contains(word)
    };
    let unknown = words(expression).filter(|word| !known(word));
    unknown.map(str::to_owned).collect()
}

#[test]
fn strangers_are_found() {
    let (metrics, recorded) = (metrics(), BTreeSet::from(["hub:a:sum".to_owned()]));
    let find = |text| strangers(text, &metrics, &recorded);
    let good = "sum by (hub_close_reason) (rate(hub_device_disconnects_total[5m])) > hub:a:sum";
    assert!(find(good).is_empty());
    assert_eq!(
        find("hub_device_disconnects > 0"),
        ["hub_device_disconnects"]
    );
    // A histogram has no series of its own name.
    let bare = "hub_command_delivery_duration_seconds";
    assert_eq!(find(bare), [bare]);
}

/// Rules of the file, flat.
pub(crate) fn rules() -> Vec<Value> {
    let file = documents(&tools::read(RULES)).remove(0);
    let groups = list(&file, "/groups").to_vec();
    groups
        .iter()
        .flat_map(|group| list(group, "/rules").to_vec())
        .collect()
}

#[test]
fn alerts_name_metrics_that_exist() {
    let (metrics, rules) = (metrics(), rules());
    let recorded = rules
        .iter()
        .filter_map(|rule| Some(rule["record"].as_str()?.to_owned()));
    let recorded: BTreeSet<_> = recorded.collect();
    let mut findings = Vec::new();
    for rule in &rules {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
        let unknown = strangers(rule["expr"].as_str().unwrap(), &metrics, &recorded);
        findings.extend(unknown.iter().map(|word| format!("{name}: {word}")));
    }
    assert!(rules.len() > 10, "no rules were found");
    report("alerts name metrics that nodes export", &findings);
}

#[test]
fn the_dashboard_names_metrics_that_exist_and_leaves_none_out() {
    let metrics = metrics();
    let dashboard: Value = serde_json::from_str(&tools::read(DASHBOARD)).unwrap();
    let mut findings = Vec::new();
    let mut all = String::new();
    for panel in list(&dashboard, "/panels") {
        for target in list(panel, "/targets") {
            let expression = target["expr"].as_str().unwrap();
            let unknown = strangers(expression, &metrics, &BTreeSet::new());
            findings.extend(
                unknown
                    .iter()
                    .map(|word| format!("{}: {word}", panel["title"])),
            );
            all.push_str(expression);
        }
        if panel["type"] != "row" && panel["datasource"]["uid"] != "${datasource}" {
            findings.push(format!(
                "{}: names a data source of one machine",
                panel["title"]
            ));
        }
    }
    let left_out = metrics
        .iter()
        .filter(|metric| !all.contains(&metric.prometheus));
    findings.extend(left_out.map(|metric| format!("not on the dashboard: {}", metric.name)));
    report("the dashboard shows what nodes export", &findings);
}

#[test]
fn autoscaling_is_by_a_metric_that_exists() {
    let metrics = metrics();
    let mut findings = Vec::new();
    for place in places::clusters() {
        for scaler in place.of("HorizontalPodAutoscaler") {
            let by = scaler.list("/spec/metrics").iter();
            let names = by.filter_map(|metric| metric.pointer("/pods/metric/name")?.as_str());
            for name in names {
                if !metrics.iter().any(|metric| metric.prometheus == name) {
                    findings.push(format!("{}: {name}", place.name));
                }
            }
        }
    }
    report("autoscaling is by metrics that nodes export", &findings);
}

#[test]
fn alerts_of_kubernetes_are_the_same() {
    let rule = documents(&tools::read(
        "k8s/components/prometheusrule/prometheusrule.yaml",
    ))
    .remove(0);
    let file = documents(&tools::read(RULES)).remove(0);
    assert_eq!(rule["spec"], file, "run deploy/prometheus/to-kubernetes");
}
