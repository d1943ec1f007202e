//! The settings that we ship are settings that the node knows.

use crate::report;
use crate::tree;

/// Where the node's settings are, one public field each.
const CONFIG: &str = "hub-node/src/config.rs";

#[test]
fn shipped_settings_exist() {
    let files = tree::texts();
    let config = files.iter().find(|file| file.path == CONFIG).expect(CONFIG);
    let known = |key: &str| config.content.contains(&format!("    pub {key}: "));
    let mut findings = Vec::new();
    let mut seen = 0;
    for file in files.iter().filter(|file| file.path.ends_with("hub.toml")) {
        for (number, line) in file.lines() {
            let setting = line.split_once(" = ").filter(|_| !line.starts_with('#'));
            if let Some((key, _)) = setting {
                seen += 1;
                if !known(key) {
                    findings.push(format!("{}:{number}: {key}", file.path));
                }
            }
        }
    }
    assert!(seen > 0, "no shipped settings were found");
    report(
        "every shipped setting is one that the node knows",
        &findings,
    );
}
