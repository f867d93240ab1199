//! House rules that a picture alone would not hold: the import table, file headers, file sizes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The table of ARCHITECTURE.md: what each crate may import.
const MAY_IMPORT: [(&str, &[&str]); 9] = [
    ("model", &[]),
    ("eventlog", &["model"]),
    ("store", &["model"]),
    ("catalog", &["model"]),
    ("scheduler", &["model"]),
    ("ingest", &["model", "eventlog", "store"]),
    (
        "delivery",
        &["model", "eventlog", "store", "catalog", "scheduler"],
    ),
    ("admin", &["model", "eventlog", "store", "catalog"]),
    (
        "fairlane",
        &[
            "model",
            "eventlog",
            "store",
            "catalog",
            "scheduler",
            "ingest",
            "delivery",
            "admin",
        ],
    ),
];

/// What a crate must never depend on, whoever brings it: the seams of the design.
const MUST_NEVER: [(&str, &[&str]); 4] = [
    ("model", &["tokio", "rusqlite", "hyper", "vrl"]),
    (
        "scheduler",
        &["tokio", "vrl", "hyper", "rusqlite", "serde_json"],
    ),
    ("catalog", &["tokio", "hyper", "rusqlite"]),
    ("eventlog", &["hyper", "vrl", "rusqlite"]),
];

#[test]
fn the_import_table_is_true() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let table: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    assert_eq!(
        metadata.packages.len(),
        table.len(),
        "a crate is missing in the table"
    );
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let allowed = table[name];
        assert!(
            architecture.contains(&format!("`{name}`")),
            "ARCHITECTURE.md lacks {name}"
        );
        for dependency in &package.dependencies {
            if dependency.kind != cargo_metadata::DependencyKind::Normal {
                continue;
            }
            let import = dependency.name.as_str();
            if table.contains_key(import) {
                assert!(allowed.contains(&import), "{name} must not import {import}");
            }
            for (owner, never) in MUST_NEVER {
                assert!(
                    owner != name || !never.contains(&import),
                    "{name} must never know {import}"
                );
            }
        }
    }
}

/// All Rust files of the crates, as (path below the root, text).
fn rust_files() -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&root().join("crates"), &mut paths);
    assert!(
        paths.len() > 50,
        "the walk found only {} files",
        paths.len()
    );
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (
                path.strip_prefix(root()).unwrap().display().to_string(),
                text,
            )
        })
        .collect()
}

#[test]
fn every_file_says_what_it_is_and_stays_readable() {
    const LINES_MAX: usize = 700;
    let mut problems = Vec::new();
    for (path, text) in rust_files() {
        if !text.starts_with("//!") {
            problems.push(format!("{path}: does not open with `//!`"));
        }
        if path.ends_with("/mod.rs") {
            problems.push(format!("{path}: write foo.rs beside foo/, never mod.rs"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX && !path.contains("tests") {
            problems.push(format!("{path}: {lines} lines are more than {LINES_MAX}"));
        }
        for unfinished in ["todo!(", "unimplemented!(", "FIXME", "TODO"] {
            if text.contains(unfinished) && !path.ends_with("tests/it/house.rs") {
                problems.push(format!("{path}: {unfinished}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_scheduler_is_pure() {
    for (path, text) in rust_files() {
        if !path.starts_with("crates/scheduler/src") {
            continue;
        }
        for impure in [
            "std::time::Instant",
            "SystemTime",
            "std::fs",
            "std::net",
            "std::thread",
        ] {
            assert!(
                !text.contains(impure),
                "{path} uses {impure}: time and I/O are arguments"
            );
        }
    }
}

#[test]
fn every_destination_is_complete() {
    let folders = fs::read_dir(root().join("destinations")).unwrap();
    let mut count = 0;
    for folder in folders {
        let folder = folder.unwrap().path();
        for file in ["destination.toml", "README.md", "cases"] {
            assert!(
                folder.join(file).exists(),
                "{} lacks {file}",
                folder.display()
            );
        }
        count += 1;
    }
    assert!(count >= 9, "only {count} destinations");
}
