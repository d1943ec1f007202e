//! The files of the repository, as far as the rules are about them.

use std::fs;
use std::path::{Path, PathBuf};

/// Entries that hold what was made, not what was written.
const MADE: [&str; 6] = [
    ".git",
    "target",
    "node_modules",
    "state",
    "demo-state",
    "__pycache__",
];

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.parent().expect("the package is in the workspace");
    root.to_owned()
}

/// A text file of the repository.
pub(crate) struct Text {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) content: String,
}

impl Text {
    /// Numbered lines, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.content
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }

    /// Whether the file is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the file was written by a generator and is checked in.
    pub(crate) fn is_generated(&self) -> bool {
        self.path.contains("/src/gen/") || self.path.ends_with("-lock.json")
    }

    /// Whether the file is a test: a test's own directory, or the `tests.rs` beside what it tests.
    pub(crate) fn is_test(&self) -> bool {
        let in_tests = self.path.starts_with("tests/") || self.path.contains("/tests/");
        in_tests || self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs")
    }
}

/// Every text file of the repository, sorted by path; binary files are left out.
pub(crate) fn texts() -> Vec<Text> {
    let root = root();
    let mut found = Vec::new();
    let mut left = vec![root.clone()];
    while let Some(dir) = left.pop() {
        let entries =
            fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        for entry in entries {
            let entry = entry.unwrap();
            let (kind, name) = (entry.file_type().unwrap(), entry.file_name());
            if MADE.iter().any(|made| name == *made) {
                // `.git` is a file in a worktree.
                continue;
            }
            if kind.is_dir() {
                left.push(entry.path());
            } else if kind.is_file()
                && let Ok(content) = fs::read_to_string(entry.path())
            {
                let path = entry.path();
                let path = path.strip_prefix(&root).unwrap().display().to_string();
                found.push(Text { path, content });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Every Rust file that a person wrote.
pub(crate) fn rust() -> Vec<Text> {
    let mut files = texts();
    files.retain(|file| file.is_rust() && !file.is_generated());
    files
}

#[test]
fn the_tree_is_seen() {
    let files = texts();
    for known in ["Cargo.toml", "tests/tidy/tree.rs", "hub-core/src/limits.rs"] {
        assert!(files.iter().any(|file| file.path == known), "{known}");
    }
}
