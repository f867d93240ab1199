//! What is said of programs and definitions of an operator's own.

use std::collections::BTreeMap;
use std::fs;

use catalog::definition::Folder;

use super::*;

const CONFIG: &str = r#"
[[sources]]
name = "web"
write_key = "k"
[[destinations]]
name = "hole"
type = "blackhole"
[[connections]]
name = "one"
source = "web"
destination = "hole"
filter = 'poison'
transform = 'poison'
[[connections]]
name = "two"
source = "web"
destination = "hole"
filter = 'poison'
ordering_key = '.a +'
ordering = "key"
"#;

fn config(text: &str) -> Config {
    let secret = |_: &str| None;
    let no_file = |_: &Path| Err("not there".to_owned());
    Config::parse("f.toml", text, &BTreeMap::new(), &secret, &no_file).unwrap()
}

/// A process apart that does not live through filters.
fn deadly(units: &[Unit]) -> anyhow::Result<Vec<Option<String>>> {
    let verdict = |unit: &Unit| match unit {
        Unit::Filter(_) => Some("it died".to_owned()),
        _ => None,
    };
    Ok(units.iter().map(verdict).collect())
}

fn harmless(units: &[Unit]) -> anyhow::Result<Vec<Option<String>>> {
    Ok(vec![None; units.len()])
}

#[test]
fn programs_of_connections_are_compiled_apart_before_they_are_here() {
    let mut catalog = Catalog::embedded().unwrap();
    let path = Path::new("f.toml");
    let told = vet(path, &config(CONFIG), &mut catalog, None, &deadly).unwrap_err();
    let told = told.to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert_eq!(lines[0], "f.toml:12: filter of one: it died");
    // What is lived through apart is compiled here, and said to be wrong with its line.
    assert!(
        lines[1].starts_with("f.toml:13: transform of one: transform, line 1: "),
        "{told}"
    );
    assert_eq!(lines[2], "f.toml:18: filter of two: it died");
    assert!(
        lines[3].starts_with("f.toml:19: ordering_key of two: ordering_key, line 1: "),
        "{told}"
    );
}

#[test]
fn each_program_goes_once() {
    let asked = std::cell::RefCell::new(Vec::new());
    let ask = |units: &[Unit]| {
        asked.borrow_mut().extend(units.to_vec());
        harmless(units)
    };
    let connections = config(CONFIG).connections;
    Programs::compile(&connections, &ask).unwrap();
    let asked = asked.into_inner();
    // `poison` as a filter and as a transform are two: what is allowed in one is not in the other.
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked.contains(&Unit::Filter("poison".to_owned())));
    assert!(asked.contains(&Unit::Transform("poison".to_owned())));
}

#[test]
fn a_definition_that_fails_its_case_harms_only_who_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("mine");
    fs::create_dir_all(folder.join("cases")).unwrap();
    let toml = "name = \"M\"\ncategory = \"c\"\nhosts = [\"a.example\"]\n";
    fs::write(folder.join("destination.toml"), toml).unwrap();
    fs::write(
        folder.join("event.vrl"),
        "{\"url\": \"https://a.example/\"}",
    )
    .unwrap();
    let case = r#"{"name": "goes elsewhere", "event": {"type": "track"}, "filtered": "x"}"#;
    fs::write(folder.join("cases/a.json"), case).unwrap();
    let catalog = || {
        let found = Folder::find_all(dir.path()).unwrap();
        Catalog::embedded().unwrap().with_folders(found)
    };
    let path = Path::new("f.toml");
    let other = "[[destinations]]\nname = \"hole\"\ntype = \"blackhole\"\n";
    let mut unused = catalog();
    vet(path, &config(other), &mut unused, None, &harmless).unwrap();
    assert!(unused.get("mine").is_none() && unused.refusal("mine").is_some());

    let used = "[[destinations]]\nname = \"d\"\ntype = \"mine\"\n";
    let told = vet(path, &config(used), &mut catalog(), None, &harmless).unwrap_err();
    let told = told.to_string();
    assert!(
        told.starts_with(
            "f.toml:1: destination d: definition mine: cases/a.json: case \"goes elsewhere\" fails"
        ),
        "{told}"
    );
}
