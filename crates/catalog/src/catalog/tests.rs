//! The catalog: embedded, and overlaid.

use std::fs;

use super::*;

#[test]
fn the_embedded_definitions_load() {
    let catalog = Catalog::embedded().unwrap();
    assert_eq!(catalog.ids().count(), catalog.definitions().count());
    for definition in catalog.definitions() {
        assert_eq!(catalog.get(definition.id()).unwrap().id(), definition.id());
    }
}

#[test]
fn a_directory_is_laid_over() {
    let dir = tempfile::tempdir().unwrap();
    let add = |id: &str, name: &str| {
        let folder = dir.path().join(id);
        fs::create_dir_all(&folder).unwrap();
        let toml = format!("name = \"{name}\"\ncategory = \"c\"\nsender = \"blackhole\"\n");
        fs::write(folder.join("destination.toml"), toml).unwrap();
        fs::write(folder.join("picture.png"), [0xff, 0xfe]).unwrap();
    };
    add("mine", "Mine");
    add(".git", "no definition");
    let catalog = Catalog::default().with_overlay(dir.path()).unwrap();
    assert_eq!(catalog.ids().collect::<Vec<_>>(), ["mine"]);
    assert_eq!(catalog.get("mine").unwrap().name(), "Mine");
    assert_eq!(
        (catalog.suggest("mien"), catalog.suggest("other")),
        (Some("mine"), None)
    );

    add("mine", "Mine again");
    add("Bad Id", "x");
    let error = catalog.with_overlay(dir.path()).unwrap_err().to_string();
    assert!(error.contains("a folder's name is its id"), "{error}");
    let missing = dir.path().join("missing");
    let error = Catalog::default()
        .with_overlay(&missing)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("cannot read"), "{error}");
}
