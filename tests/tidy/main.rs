//! The house's own rules, as tests: sizes, names, documents, and which crate may know which.
//!
//! A test target of its own, because these tests read files and manifests and start nothing: when one of
//! them fails, no node has to be up to see why. It uses no crate but serde_json (for `cargo metadata`);
//! a rule that needs a parser of Rust belongs to clippy, not here.
//!
//! A finding names file and line. Exceptions live in `sizes.rs`; the list starts empty and may only shrink.

#![allow(
    clippy::unwrap_used,
    reason = "a whole target of tests: a panic is a failed test"
)]

mod crates;
mod documents;
mod leaks;
mod names;
mod settings;
mod sizes;
mod tree;

/// Fails with every finding at once: one run should show all there is to mend.
fn report(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}\n", findings.join("\n  "));
}
