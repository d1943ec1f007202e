//! Outside tools: where they are, and what they say.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap().to_owned()
}

/// A text file of the repository.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Where a tool is. `None`, said aloud, when it is missing and `TESTS_WITHOUT` allows that.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Python's tools are in a folder that tests/run makes; servers are in one that not everybody searches.
    let further = [root().join("target/tools/bin"), "/usr/sbin".into()];
    let found = further
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        let without = std::env::var("TESTS_WITHOUT").unwrap_or_default();
        assert!(
            without.split_whitespace().any(|one| one == name),
            "{name} is not there; tests/run installs it where it can, and TESTS_WITHOUT={name} leaves out what needs it"
        );
        eprintln!("SKIPPED: {name} is not there");
    }
    found
}

/// What the node's own program prints, as JSON.
pub(crate) fn hub_node(arguments: &[&str]) -> Value {
    let program = hub_tests::process::built("hub-node").unwrap();
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a tool at the root; what it wrote on both streams, and whether it was content.
pub(crate) fn run(tool: &Path, arguments: &[&str], env: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(tool)
        .args(arguments)
        .envs(env.iter().copied())
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", tool.display()));
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}
