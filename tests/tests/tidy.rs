//! The architecture as a test: arrows between crates, headers, sizes, the table of connectors. It reads the tree and
//! `cargo metadata`; it builds nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which crates of the workspace a crate may depend on. Arrows only point down.
const ARROWS: &[(&str, &[&str])] = &[
    ("bridge-core", &[]),
    ("http-caller", &[]),
    ("edge", &["bridge-core"]),
    ("http-edge", &["bridge-core", "edge"]),
    ("webhook", &["bridge-core", "http-edge"]),
    ("http-api", &["bridge-core", "edge", "http-edge"]),
    ("mqtt-hub", &["bridge-core"]),
    ("store-embedded", &["bridge-core"]),
    ("store-dynamodb", &["bridge-core"]),
    ("codec", &["bridge-core"]),
    ("coap-proto", &[]),
    ("coap", &["bridge-core", "edge", "coap-proto", "dtls"]),
    ("dtls", &[]),
    (
        "app",
        &[
            "bridge-core",
            "coap",
            "edge",
            "http-edge",
            "http-api",
            "http-caller",
            "webhook",
            "mqtt-hub",
            "store-embedded",
            "store-dynamodb",
            "codec",
        ],
    ),
    ("service", &["bridge-core", "http-api", "webhook", "mqtt-hub", "store-embedded", "codec", "app"]),
    ("lambda", &["bridge-core", "http-caller", "webhook", "mqtt-hub", "store-dynamodb", "app"]),
    ("bench", &["bridge-core", "coap-proto", "dtls", "store-embedded", "store-dynamodb", "codec", "app"]),
    ("plugtest", &["coap-proto", "dtls"]),
    (
        "tests",
        &[
            "bridge-core",
            "coap-proto",
            "http-caller",
            "webhook",
            "mqtt-hub",
            "store-embedded",
            "store-dynamodb",
            "codec",
            "app",
        ],
    ),
];

/// The crates without I/O.
const SANS_IO: &[&str] = &["bridge-core", "coap-proto", "dtls"];

/// What they must not know.
const NOT_IN_CORE: &[&str] = &["tokio", "axum", "hyper", "http", "rumqttc", "rusqlite", "reqwest", "toml"];

/// Lines of implementation (up to the first test module) that a file may have, and lines of a test file.
const MAX_LINES: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn rust_files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files failed");
    let files = String::from_utf8(output.stdout).unwrap();
    let files: Vec<PathBuf> =
        files.lines().map(|line| root().join(line)).filter(|path| path.exists()).collect();
    assert!(files.len() > 20, "the tree was not found");
    files
}

#[test]
fn arrows_only_point_down() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some(may) = allowed.get(name) else {
            panic!("crate {name} has no place in the house: see ARROWS")
        };
        let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
        assert_eq!(folder.file_name().unwrap().to_str(), Some(name), "folder and crate name differ");
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            let ours = allowed.contains_key(to);
            // A crate may test itself with its own test helpers.
            assert!(!ours || may.contains(&to) || to == name, "{name} must not depend on {to}");
            assert!(!SANS_IO.contains(&name) || !NOT_IN_CORE.contains(&to), "{name} must not know {to}");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for path in rust_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not open with `//!`", path.display());
    }
}

#[test]
fn files_stay_small() {
    for path in rust_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        // A test module in the file ends its implementation; one in a file of its own does not.
        let lines: Vec<&str> = text.lines().collect();
        let module = lines.windows(2).position(|two| two[0] == "#[cfg(test)]" && two[1].ends_with('{'));
        let lines = module.unwrap_or(lines.len());
        assert!(lines <= MAX_LINES, "{} has {lines} lines of implementation", path.display());
    }
}

#[test]
fn connectors_are_their_folders_and_each_has_its_cases() {
    let connectors = root().join("adapters/webhook/src/connectors");
    let folders: BTreeSet<String> = std::fs::read_dir(&connectors)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let table = std::fs::read_to_string(root().join("adapters/webhook/src/connectors.rs")).unwrap();
    let all = table.split("pub const ALL").nth(1).unwrap().split("];").next().unwrap();
    for folder in &folders {
        assert!(all.contains(&format!("{folder}::")), "{folder} is not in ALL");
        let fixtures: Vec<String> = std::fs::read_dir(connectors.join(folder).join("fixtures"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        for case in ["good-", "duplicate-", "malformed-"] {
            assert!(fixtures.iter().any(|name| name.starts_with(case)), "{folder} has no {case} fixture");
        }
    }
    assert_eq!(all.matches("::").count(), folders.len(), "ALL names a connector without a folder");
}

#[test]
fn no_line_is_a_promise() {
    for path in rust_files() {
        if path.ends_with("tests/tests/tidy.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["todo!(", "unimplemented!(", "#[ignore", "FIXME", "XXX"] {
            assert!(!text.contains(word), "{} holds {word}", path.display());
        }
    }
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.starts_with("http") && !link.starts_with('#') {
                let path = link.split('#').next().unwrap();
                assert!(root().join(path).exists(), "{document}: {path} does not exist");
            }
        }
    }
}
