//! No secret is on the disk in clear, and none opens in another's place.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use model::{
    Connection, ConnectionId, Destination, DestinationId, Name, Policy, Registry, Secret, Settings,
    Source, SourceId, UnixMillis,
};
use serde_json::json;

use super::{NOW, open, raw};
use crate::Error;

const CANARY: &str = "canary-7f3a9c";

fn hits(dir: &Path) -> usize {
    let mut hits = 0;
    for file in fs::read_dir(dir).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        hits += bytes
            .windows(CANARY.len())
            .filter(|part| *part == CANARY.as_bytes())
            .count();
    }
    hits
}

fn destination(id: u32, name: &str, key: &str) -> Destination {
    Destination {
        id: DestinationId(id),
        name: Name::new(name).unwrap(),
        definition: "webhook".to_owned(),
        enabled: true,
        settings: Settings::from(BTreeMap::from([
            ("api_key".to_owned(), json!(key)),
            (
                "headers".to_owned(),
                json!({ "x-token": format!("{key}-2") }),
            ),
        ])),
    }
}

fn registry() -> Registry {
    Registry {
        sources: vec![Source {
            id: SourceId(1),
            name: Name::new("web").unwrap(),
            write_keys: vec!["wk".to_owned()],
            enabled: true,
            rate_limit_per_s: Some(5),
        }],
        destinations: vec![
            Arc::new(destination(1, "crm", &format!("{CANARY}-one"))),
            Arc::new(destination(2, "ads", &format!("{CANARY}-two"))),
        ],
        connections: vec![Arc::new(Connection {
            id: ConnectionId(1),
            name: Name::new("web-crm").unwrap(),
            source: SourceId(1),
            destination: DestinationId(1),
            enabled: true,
            filter: Some(".type == \"track\"".to_owned()),
            transform: None,
            policy: Arc::new(Policy {
                rate_limit_per_s: Some(2.5),
                ..Policy::default()
            }),
        })],
    }
}

#[test]
fn no_secret_is_on_the_disk_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store
        .put_secret("crm_key", &Secret::new(format!("{CANARY}-three")), NOW)
        .unwrap();
    store.record_registry(&registry(), NOW).unwrap();
    assert_eq!(hits(dir.path()), 0, "database and write-ahead file");
    store
        .put_secret("crm_key", &Secret::new(format!("{CANARY}-four")), NOW)
        .unwrap();
    store.remove_secret("crm_key").unwrap();
    drop(store);
    assert_eq!(
        hits(dir.path()),
        0,
        "after the write-ahead file was moved into the database"
    );
    let shown = format!("{:?}", open(dir.path()).recorded_registry().unwrap());
    assert!(!shown.contains(CANARY), "{shown}");
}

#[test]
fn swapped_ciphertexts_do_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.put_secret("a", &Secret::new("one"), NOW).unwrap();
    store.put_secret("b", &Secret::new("two"), NOW).unwrap();
    store.record_registry(&registry(), NOW).unwrap();
    raw(dir.path())
        .execute_batch(
            "CREATE TEMP TABLE t AS SELECT * FROM secrets;
             UPDATE secrets SET sealed = (SELECT sealed FROM t WHERE t.name != secrets.name);
             CREATE TEMP TABLE u AS SELECT * FROM settings;
             UPDATE settings SET sealed = (SELECT sealed FROM u
                 WHERE u.destination != settings.destination AND u.field = settings.field);",
        )
        .unwrap();
    for name in ["a", "b"] {
        let error = store.get_secret(name).err().unwrap();
        assert!(matches!(error, Error::Unsealable { .. }), "{error}");
    }
    let error = store.recorded_registry().err().unwrap();
    assert!(matches!(error, Error::Unsealable { .. }), "{error}");
    // The configuration is the source of settings: recording it again mends them.
    store.record_registry(&registry(), NOW).unwrap();
    assert_eq!(store.recorded_registry().unwrap().destinations.len(), 2);
}

#[test]
fn secrets_are_set_listed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store
        .put_secret("b.key", &Secret::new("one"), UnixMillis(1))
        .unwrap();
    store
        .put_secret("a", &Secret::new("two"), UnixMillis(2))
        .unwrap();
    store
        .put_secret("b.key", &Secret::new("three"), UnixMillis(3))
        .unwrap();
    let listed = store.list_secrets().unwrap();
    assert_eq!(
        listed,
        vec![
            ("a".to_owned(), UnixMillis(2)),
            ("b.key".to_owned(), UnixMillis(3))
        ]
    );
    assert_eq!(
        store.get_secret("b.key").unwrap(),
        Some(Secret::new("three"))
    );
    assert!(store.remove_secret("b.key").unwrap());
    assert!(!store.remove_secret("b.key").unwrap());
    assert_eq!(store.get_secret("b.key").unwrap(), None);
    for bad in ["", "a b", "é", &"x".repeat(129)] {
        let error = store.put_secret(bad, &Secret::new("x"), NOW).err().unwrap();
        assert!(matches!(error, Error::BadSecretName(_)), "{error}");
    }
    let long = Secret::new("x".repeat(65_537));
    let error = store.put_secret("long", &long, NOW).err().unwrap();
    assert!(matches!(error, Error::SecretTooLarge { .. }), "{error}");
}

#[test]
fn the_registry_is_recorded_with_its_removals() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (first, later) = (UnixMillis(1), UnixMillis(2));
    store.record_registry(&registry(), first).unwrap();
    let recorded = store.recorded_registry().unwrap();
    let destinations: Vec<_> = recorded
        .destinations
        .iter()
        .map(|d| Arc::new(d.item.clone()))
        .collect();
    assert_eq!(destinations, registry().destinations);
    assert_eq!(recorded.sources[0].item, registry().sources[0]);
    assert_eq!(recorded.connections[0].item, *registry().connections[0]);

    let mut changed = registry();
    changed.connections.clear();
    changed.destinations.remove(1);
    changed.destinations[0] = Arc::new(destination(1, "crm", "new"));
    changed.sources[0].enabled = false;
    store.record_registry(&changed, later).unwrap();
    drop(store);
    let store = open(dir.path());
    let recorded = store.recorded_registry().unwrap();
    assert_eq!(recorded.connections[0].removed_at, Some(later));
    assert_eq!(recorded.connections[0].item, *registry().connections[0]);
    assert_eq!(recorded.destinations[0].item, *changed.destinations[0]);
    assert_eq!(
        recorded.destinations[0].recorded_at, first,
        "its settings are not part of it"
    );
    assert_eq!(recorded.destinations[1].removed_at, Some(later));
    assert!(
        recorded.destinations[1].item.settings == Settings::default(),
        "removed secrets are forgotten"
    );
    assert_eq!(recorded.sources[0].recorded_at, later);
    store.record_registry(&registry(), UnixMillis(3)).unwrap();
    assert_eq!(
        store.recorded_registry().unwrap().connections[0].removed_at,
        None
    );
}
