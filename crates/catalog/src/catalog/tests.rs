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
    let catalog = catalog.with_overlay(dir.path()).unwrap();
    assert_eq!(catalog.get("mine").unwrap().name(), "Mine again");
    let error = catalog.refusal("Bad Id").unwrap().to_string();
    assert!(error.contains("a folder's name is its id"), "{error}");
    let missing = dir.path().join("missing");
    let error = Catalog::default()
        .with_overlay(&missing)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("cannot read"), "{error}");
}

#[test]
fn a_half_made_folder_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    for id in ["whole", "webhook", "half-made", "no-text"] {
        fs::create_dir_all(dir.path().join(id)).unwrap();
    }
    let toml = "name = \"N\"\ncategory = \"c\"\nsender = \"blackhole\"\n";
    fs::write(dir.path().join("whole/destination.toml"), toml).unwrap();
    fs::write(dir.path().join("webhook/destination.toml"), "name = ").unwrap();
    fs::write(dir.path().join("no-text/event.vrl"), [0xff, 0xfe]).unwrap();
    let mut catalog = Catalog::embedded()
        .unwrap()
        .with_overlay(dir.path())
        .unwrap();
    let refused: Vec<&str> = catalog.refused().map(|(id, _)| id).collect();
    assert_eq!(refused, ["half-made", "no-text", "webhook"]);
    assert!(catalog.get("whole").is_some() && catalog.get("zapier").is_some());
    assert!(
        catalog.get("webhook").is_none(),
        "the built-in one does not stand in for what an operator wanted"
    );
    let told = |id: &str| catalog.refusal(id).unwrap().to_string();
    assert!(told("half-made").contains("no destination.toml"));
    assert!(told("no-text").contains("event.vrl"));
    assert!(told("webhook").contains("webhook/destination.toml:1: "));

    // Mended, it is there.
    fs::write(dir.path().join("webhook/destination.toml"), toml).unwrap();
    catalog = catalog.with_overlay(dir.path()).unwrap();
    assert_eq!(catalog.get("webhook").unwrap().name(), "N");
    assert!(catalog.refusal("webhook").is_none());
}
