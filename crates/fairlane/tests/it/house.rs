//! House rules that a picture alone would not hold: the import table, file headers, file sizes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The table of ARCHITECTURE.md: what each crate imports. `None`: all others.
fn import_table() -> BTreeMap<String, Option<Vec<String>>> {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = architecture.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, _, imports, _, _] = cells.as_slice() else {
            return None;
        };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        let imports = match *imports {
            "all" => None,
            "-" => Some(Vec::new()),
            some => Some(some.split(", ").map(str::to_owned).collect()),
        };
        Some((name.to_owned(), imports))
    });
    rows.collect()
}

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
    let table = import_table();
    let names: BTreeSet<String> = metadata
        .packages
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), names);
    for package in &metadata.packages {
        let name = package.name.as_str();
        let normal = package.dependencies.iter();
        let normal = normal.filter(|one| one.kind == cargo_metadata::DependencyKind::Normal);
        let imports: BTreeSet<String> = normal.map(|one| one.name.clone()).collect();
        for (owner, never) in MUST_NEVER {
            let known = never.iter().find(|never| imports.contains(**never));
            assert!(
                owner != name || known.is_none(),
                "{name} must never know {known:?}"
            );
        }
        let Some(said) = &table[name] else {
            continue;
        };
        let own: BTreeSet<String> = imports.intersection(&names).cloned().collect();
        let said: BTreeSet<String> = said.iter().cloned().collect();
        assert_eq!(
            own, said,
            "what {name} imports, and what ARCHITECTURE.md says"
        );
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
