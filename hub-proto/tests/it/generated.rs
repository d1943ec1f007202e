//! The checked-in envelope code is what its `.proto` generates.

use std::path::Path;

use prost_build::Config;

/// Generates from the `.proto` into a directory of its own and returns the text.
fn generate() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("envelope");
    std::fs::create_dir_all(&out).unwrap();
    let descriptors = protox::compile(["cluster.proto"], [root.join("proto")]).unwrap();
    Config::new()
        .out_dir(&out)
        .compile_fds(descriptors)
        .unwrap();
    std::fs::read_to_string(out.join("hub.cluster.v1.rs")).unwrap()
}

/// `HUB_GENERATE=1` writes the file instead, after a change of the `.proto`.
#[test]
fn generated_code_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen/hub.cluster.v1.rs");
    let generated = generate();
    if std::env::var_os("HUB_GENERATE").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == generated,
        "run this test once with HUB_GENERATE=1 and commit the change"
    );
}
