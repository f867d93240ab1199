//! The catalog: embedded, and overlaid.

use std::fmt::Write as _;

use expect_test::expect_file;

use super::*;

/// `docs/destinations.md`, from the definitions.
fn index() -> String {
    let mut text = "\
# Destinations

<!-- Made from destinations/: `UPDATE_EXPECT=1 cargo test -p catalog` writes it anew. -->

Every kind of destination in the binary. `fairlane destination show <id>` tells its settings; the
folder's README says what is sent for which event. Events of a type that is not listed are filtered.
Settings in brackets are optional.

| id | what | category | events | settings |
|---|---|---|---|---|
"
    .to_owned();
    for definition in Catalog::embedded().unwrap().definitions() {
        let id = definition.id();
        let events = definition
            .events()
            .map_or("all".to_owned(), |events| events.join(", "));
        let setting = |spec: &crate::SettingSpec| {
            let name = &spec.name;
            if spec.required {
                format!("`{name}`")
            } else {
                format!("(`{name}`)")
            }
        };
        let mut settings: Vec<_> = definition.settings().iter().collect();
        settings.sort_by_key(|spec| !spec.required);
        let settings: Vec<_> = settings.into_iter().map(setting).collect();
        writeln!(
            text,
            "| [`{id}`](../destinations/{id}/README.md) | {} | {} | {events} | {} |",
            definition.name(),
            definition.category(),
            settings.join(", ")
        )
        .unwrap();
    }
    text
}

#[test]
fn the_index_lists_every_definition() {
    expect_file!["../../../../docs/destinations.md"].assert_eq(&index());
}

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
