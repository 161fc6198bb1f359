//! `unsafe` is forbidden in every target of the package, and in what the fuzz targets run.

use std::path::Path;

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn nothing_of_ours_may_be_unsafe() {
    // A lint of the manifest is one of the library, the program, the tests, the examples and the benchmarks.
    let manifest = text("Cargo.toml");
    let lints = manifest.split("[lints.rust]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap_or_default();
    assert!(lints.contains("unsafe_code = \"forbid\""), "{lints}");
    assert!(!manifest.contains("[workspace]"), "a member of a workspace would need the lint for itself");
    // The targets themselves are an entry point for libFuzzer, which a macro of its crate writes; one line each.
    assert!(text("fuzz/src/lib.rs").contains("#![forbid(unsafe_code)]"));
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets")).unwrap() {
        let code = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert_eq!(code.lines().filter(|line| !line.is_empty()).count(), 2, "{code}");
        assert!(!code.contains("unsafe"), "{code}");
    }
}
