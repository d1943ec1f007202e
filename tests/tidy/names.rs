//! Names say what a file is about, and every file says what it does.

use crate::report;
use crate::tree;

/// File stems that hold everything and mean nothing.
const EMPTY_NAMES: [&str; 9] = [
    "utils", "util", "helpers", "helper", "common", "misc", "manager", "types", "traits",
];

#[test]
fn files_are_named_after_their_subject() {
    let mut findings = Vec::new();
    for file in tree::rust() {
        let leaf = file.path.rsplit('/').next().unwrap_or(&file.path);
        let stem = leaf.trim_end_matches(".rs");
        if stem == "mod" {
            findings.push(format!("{}: write `name.rs` beside `name/`", file.path));
        }
        let words = stem.split('_');
        if let Some(empty) = words.into_iter().find(|word| EMPTY_NAMES.contains(word)) {
            findings.push(format!("{}: {empty:?} says nothing", file.path));
        }
    }
    report("files are named after their subject", &findings);
}

#[test]
fn every_file_opens_with_its_purpose() {
    let mut findings = Vec::new();
    for file in tree::rust() {
        let words = file
            .content
            .lines()
            .skip_while(|line| line.trim().is_empty() || line.starts_with("#!"))
            .map_while(|line| line.strip_prefix("//!"))
            .flat_map(str::split_whitespace)
            .count();
        // One word is a title, not a purpose.
        if words < 3 {
            findings.push(format!("{}: no `//!` sentence at the top", file.path));
        }
    }
    report("every file opens with what it does or decides", &findings);
}

#[test]
fn nothing_is_left_for_later() {
    // In pieces, so that this file does not find itself.
    let markers = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("// TO", "DO"),
        concat!("// FIX", "ME"),
        concat!("// X", "XX"),
    ];
    let mut findings = Vec::new();
    for file in tree::rust() {
        for (number, line) in file.lines() {
            if let Some(marker) = markers.iter().find(|marker| line.contains(*marker)) {
                findings.push(format!("{}:{number}: {marker}", file.path));
            }
        }
    }
    report("nothing is left for later", &findings);
}
