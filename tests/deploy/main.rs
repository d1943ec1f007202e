//! What it takes to run hub, held together: manifests, image, compose file, alerts, dashboard, runbooks.
//!
//! Two kinds of tests. Outside tools judge what they know: schemas, policies, rules, a load balancer's configuration (`outside`). The rest is what no
//! schema knows, because it is true between files: ports, selectors, times, keys, metrics, runbooks.
//!
//! A tool that is not there is a failure, unless `TESTS_WITHOUT` names it; `tests/run` installs what it can and says aloud what it leaves out.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a whole target of tests: a panic is a failed test"
)]

mod commands;
mod compose;
mod keys;
mod metrics;
mod outside;
mod places;
mod ports;
mod runbooks;
mod selectors;
mod times;
mod tools;

/// Fails with every finding at once: one run should show all there is to mend.
fn report(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}\n", findings.join("\n  "));
}
