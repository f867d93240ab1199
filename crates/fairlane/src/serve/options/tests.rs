//! The configuration's defaults are the parts' own, which their documentation tells.

use super::*;

/// More than any part asks for.
const SHARES: Shares = Shares {
    connections: u64::MAX,
    attempts: u64::MAX,
    idle: u64::MAX,
};

#[test]
fn an_empty_configuration_leaves_every_part_its_defaults() {
    let config = Config::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fairlane.toml");

    let default = delivery::Options::default();
    let told = delivery::Options {
        shards: default.shards,
        on_fatal: default.on_fatal,
        on_tick: default.on_tick,
        ..delivery(&path, &config, SHARES)
    };
    assert_eq!(format!("{told:#?}"), format!("{default:#?}"));

    let default = ingest::Options::default();
    let told = ingest::Options {
        threads: default.threads,
        on_tick: default.on_tick,
        ..ingest(&config, SHARES)
    };
    assert_eq!(format!("{told:#?}"), format!("{default:#?}"));

    let store = open_store_in(&dir.path().join("data")).unwrap();
    let default = eventlog::Options::new(beside(&path, &config.server.data_dir).join("log"));
    let told = eventlog::Options {
        on_fatal: default.on_fatal,
        on_idle: default.on_idle,
        ..log(&path, &config, &store).unwrap()
    };
    assert_eq!(format!("{told:#?}"), format!("{default:#?}"));

    let (told, default) = (admin(&config), admin::Options::default());
    assert_eq!(format!("{told:#?}"), format!("{default:#?}"));
}
