//! What a connection's lane works with, out of registry and catalog.

use std::path::Path;
use std::sync::Arc;

use catalog::Catalog;
use model::{
    Connection, ConnectionId, Destination, DestinationId, Name, Policy, Registry, Source, SourceId,
};
use serde_json::json;

use super::plans;
use crate::options::Options;

const WEBHOOK: &str = r#"
name = "Test webhook"
category = "testing"
docs = "https://example.com"
payload = "event"
rate_limit_per_s = 100
[settings.url]
type = "url"
required = true
help = "Where to."
[request]
method = "POST"
url = "{{settings.url}}"
"#;

fn catalog(dir: &Path) -> Catalog {
    std::fs::create_dir_all(dir.join("hook")).unwrap();
    std::fs::write(dir.join("hook/destination.toml"), WEBHOOK).unwrap();
    Catalog::default().with_overlay(dir).unwrap()
}

fn registry(definition: &str, settings: serde_json::Value, policy: Policy) -> Registry {
    let settings: model::Settings = serde_json::from_value(settings).unwrap();
    let name = |text| Name::new(text).unwrap();
    Registry {
        sources: vec![Source {
            id: SourceId(1),
            name: name("site"),
            write_keys: vec!["key".to_owned()],
            enabled: true,
            rate_limit_per_s: None,
        }],
        destinations: vec![Arc::new(Destination {
            id: DestinationId(1),
            name: name("dest"),
            definition: definition.to_owned(),
            enabled: true,
            settings,
        })],
        connections: vec![Arc::new(Connection {
            id: ConnectionId(1),
            name: name("site-dest"),
            source: SourceId(1),
            destination: DestinationId(1),
            enabled: true,
            filter: None,
            transform: None,
            policy: Arc::new(policy),
        })],
    }
}

fn problem(registry: &Registry, catalog: &Catalog) -> Option<String> {
    let plans = plans(registry, catalog, &Options::default());
    plans[&ConnectionId(1)].definition.as_ref().err().cloned()
}

#[test]
fn what_cannot_work_says_why_and_stops_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(dir.path());
    let url = json!({"url": "https://example.com/"});
    assert_eq!(
        problem(&registry("hook", url.clone(), Policy::default()), &catalog),
        None
    );
    let unknown = problem(&registry("hok", url.clone(), Policy::default()), &catalog).unwrap();
    assert!(
        unknown.contains("\"hok\"") && unknown.contains("\"hook\""),
        "{unknown}"
    );
    let missing = problem(&registry("hook", json!({}), Policy::default()), &catalog).unwrap();
    assert!(missing.contains("url"), "{missing}");
    let policy = Policy {
        rate_limit_per_s: Some(-1.0),
        ..Policy::default()
    };
    let policy = problem(&registry("hook", url, policy), &catalog).unwrap();
    assert!(policy.contains("rate_limit_per_s"), "{policy}");
}

#[test]
fn an_operator_narrows_what_the_definition_declares() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(dir.path());
    let policy = |policy| {
        let registry = registry("hook", json!({"url": "https://example.com/"}), policy);
        plans(&registry, &catalog, &Options::default())[&ConnectionId(1)]
            .policy
            .clone()
    };
    let default = policy(Policy::default());
    assert_eq!(default.rate_limit_per_s, Some(100.0));
    assert_eq!((default.batch_events_max, default.concurrency_max), (1, 64));
    let own = policy(Policy {
        concurrency_max: Some(2),
        rate_limit_per_s: Some(3.0),
        retry_expiry_ms: Some(60_000),
        ..Policy::default()
    });
    assert_eq!((own.concurrency_max, own.concurrency_init), (2, 2));
    assert_eq!(
        (own.rate_limit_per_s, own.expiry_us),
        (Some(3.0), 60_000_000)
    );
}
