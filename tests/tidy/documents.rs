//! Markdown leads somewhere: every relative link names a file that exists, and a heading in it if it says so.

use std::path::{Component, Path, PathBuf};

use crate::report;
use crate::tree::{self, Text};

/// The targets of `[text](target)` in one line, code spans left out.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut code = false;
    for piece in line.split_inclusive('`') {
        if !code {
            let mut rest = piece;
            while let Some(at) = rest.find("](") {
                rest = &rest[at + 2..];
                if let Some(end) = rest.find(')') {
                    found.push(&rest[..end]);
                }
            }
        }
        if piece.ends_with('`') {
            code = !code;
        }
    }
    found
}

/// The anchor that a heading gets: lower case, words joined by dashes, punctuation gone.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// Lines of a Markdown file outside of code blocks.
fn prose(file: &Text) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    file.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// Removes `.` and `..` without asking the disk.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => plain.push(part),
        }
    }
    plain
}

/// What is wrong with one link, if anything.
fn fault(target: &str, from: &Text, all: &[Text]) -> Option<String> {
    let foreign = target.contains("://") || target.starts_with("mailto:");
    if foreign || target.is_empty() {
        return None;
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let here = Path::new(&from.path).parent().unwrap_or(Path::new(""));
    let full = if path.is_empty() {
        PathBuf::from(&from.path)
    } else {
        plain(&here.join(path))
    };
    if !tree::root().join(&full).exists() {
        return Some(format!("no {}", full.display()));
    }
    if heading.is_empty() {
        return None;
    }
    let page = all.iter().find(|file| Path::new(&file.path) == full)?;
    let found = prose(page).any(|(_, line)| line.starts_with('#') && anchor(line) == heading);
    (!found).then(|| format!("no heading #{heading} in {}", full.display()))
}

#[test]
fn links_lead_somewhere() {
    let all = tree::texts();
    let mut findings = Vec::new();
    for file in all.iter().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in prose(file) {
            for target in targets(line) {
                if let Some(fault) = fault(target, file, &all) {
                    findings.push(format!("{}:{number}: {fault}", file.path));
                }
            }
        }
    }
    report("every relative link leads somewhere", &findings);
}

#[test]
fn links_are_read_outside_of_code() {
    assert_eq!(
        targets("see [a](b.md) and `[c](d)` and [e](f#g)"),
        ["b.md", "f#g"]
    );
    assert_eq!(
        anchor("## 3. Device protocol (the founding dialect)"),
        "3-device-protocol-the-founding-dialect"
    );
}
