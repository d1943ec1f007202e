//! Every alert has a page, and every page an alert: who is woken up finds what to do.

use std::collections::BTreeSet;

use crate::metrics;
use crate::report;
use crate::tools;

/// Headings of a page, in order.
const HEADINGS: [&str; 3] = ["## First", "## Which is it", "## What to do"];

fn pages() -> BTreeSet<String> {
    let folder = std::fs::read_dir(tools::root().join("docs/runbooks")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().display().to_string());
    let pages = names.filter_map(|name| Some(name.strip_suffix(".md")?.to_owned()));
    pages.filter(|name| name != "README").collect()
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let pages = pages();
    let mut alerts = BTreeSet::new();
    let mut findings = Vec::new();
    for rule in metrics::rules() {
        let Some(name) = rule["alert"].as_str() else {
            continue;
        };
        alerts.insert(name.to_owned());
        let url = rule["annotations"]["runbook_url"].as_str().unwrap_or("");
        if !url.ends_with(&format!("/{name}.md")) {
            findings.push(format!("{name}: runbook_url is {url:?}"));
        }
        let severity = rule["labels"]["severity"].as_str().unwrap_or("none");
        if !["critical", "warning", "info"].contains(&severity) {
            findings.push(format!("{name}: no severity {severity}"));
        }
        if rule["annotations"]["summary"]
            .as_str()
            .is_none_or(str::is_empty)
        {
            findings.push(format!("{name}: no summary"));
        }
    }
    findings.extend(
        alerts
            .difference(&pages)
            .map(|name| format!("no page: {name}")),
    );
    findings.extend(
        pages
            .difference(&alerts)
            .map(|name| format!("no alert: {name}")),
    );
    report("alerts and pages belong together", &findings);
}

#[test]
fn every_alert_is_tested() {
    let tests = tools::read("deploy/prometheus/rules/hub-node.rules.test.yml");
    let rules = metrics::rules();
    let alerts = rules.iter().filter_map(|rule| rule["alert"].as_str());
    // That it fires is said by the annotations that are expected of it.
    let findings: Vec<_> = alerts
        .filter(|name| !tests.contains(&format!("/{name}.md")))
        .map(str::to_owned)
        .collect();
    report("every alert fires in a test", &findings);
}

#[test]
fn pages_say_what_to_do() {
    let index = tools::read("docs/runbooks/README.md");
    let mut findings = Vec::new();
    for name in pages() {
        let page = tools::read(&format!("docs/runbooks/{name}.md"));
        let headings: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with("## "))
            .collect();
        let commands = page
            .split("```")
            .nth(1)
            .map_or(0, |block| block.lines().skip(1).count());
        if headings != HEADINGS || commands != 3 {
            findings.push(format!("{name}: {headings:?}, {commands} commands"));
        }
        if !index.contains(&format!("[{name}]({name}.md)")) {
            findings.push(format!("{name}: not in the list"));
        }
    }
    report(
        "pages have their three commands, a diagnosis and a cure",
        &findings,
    );
}
