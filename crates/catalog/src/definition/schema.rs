//! `docs/reference/destination.schema.json`, which editors complete and check by, is held to the
//! loader: the same keys, the same words, and every definition that is shipped fits.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::load::auth::KINDS;
use super::raw::{
    RawBatch, RawDefinition, RawLogin, RawPartial, RawRequest, RawResponse, RawSetting, RetryExpiry,
};
use super::settings::SettingType;
use super::{Encoding, Payload, Sender, Verdict};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn schema() -> Value {
    let path = root().join("docs/reference/destination.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The words that serde offers in place of one that it does not know.
fn offered(error: &str) -> BTreeSet<String> {
    let words = error.split('`').skip(1).step_by(2).skip(1);
    let words: BTreeSet<String> = words.map(str::to_owned).collect();
    assert!(!words.is_empty(), "{error}");
    words
}

fn keys_of<T: DeserializeOwned>() -> BTreeSet<String> {
    let error = toml::from_str::<T>("no_such_key = 1").err().unwrap();
    offered(error.message())
}

fn words_of<T: DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(json!("no such word"))
        .err()
        .unwrap();
    offered(&error.to_string())
}

fn properties(of: &Value) -> BTreeSet<String> {
    of["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

fn words(of: &Value) -> BTreeSet<String> {
    let words = of["enum"].as_array().unwrap();
    words
        .iter()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_schema_knows_the_loaders_keys() {
    let schema = schema();
    let part = |name: &str| properties(&schema["definitions"][name]);
    assert_eq!(properties(&schema), keys_of::<RawDefinition>());
    assert_eq!(part("setting"), keys_of::<RawSetting>());
    assert_eq!(part("request"), keys_of::<RawRequest>());
    assert_eq!(part("batch"), keys_of::<RawBatch>());
    assert_eq!(part("response"), keys_of::<RawResponse>());
    assert_eq!(part("partial"), keys_of::<RawPartial>());
    let kinds = schema["definitions"]["auth"]["oneOf"].as_array().unwrap();
    assert_eq!(kinds.len(), KINDS.len());
    for ((kind, needed, optional), known) in KINDS.iter().zip(kinds) {
        assert_eq!(known["properties"]["kind"]["const"], *kind);
        let with_kind = |keys: &[&[&str]]| -> BTreeSet<String> {
            let keys = keys.concat().into_iter().chain(["kind"]);
            keys.map(str::to_owned).collect()
        };
        assert_eq!(properties(known), with_kind(&[needed, optional]), "{kind}");
        let required = known["required"].as_array().unwrap();
        let required = required.iter().map(|key| key.as_str().unwrap().to_owned());
        assert_eq!(
            required.collect::<BTreeSet<_>>(),
            with_kind(&[needed]),
            "{kind}"
        );
        if *kind == "session" {
            assert_eq!(
                properties(&known["properties"]["login"]),
                keys_of::<RawLogin>()
            );
        }
    }
}

#[test]
fn the_schema_knows_the_loaders_words() {
    let schema = schema();
    let top = |key: &str| words(&schema["properties"][key]);
    assert_eq!(top("sender"), words_of::<Sender>());
    assert_eq!(top("payload"), words_of::<Payload>());
    assert_eq!(top("body"), words_of::<Encoding>());
    assert_eq!(top("retry_expiry"), words_of::<RetryExpiry>());
    let kinds = &schema["definitions"]["setting"]["properties"]["type"];
    assert_eq!(words(kinds), words_of::<SettingType>());
    assert_eq!(
        words(&schema["definitions"]["result"]),
        words_of::<Verdict>()
    );
}

#[test]
fn the_schema_knows_the_senders_options() {
    let schema = schema();
    let rules = schema["allOf"].as_array().unwrap();
    for sender in words_of::<Sender>() {
        let known: Sender = serde_json::from_value(json!(sender)).unwrap();
        let known: BTreeSet<String> = known
            .option_names()
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        let rule = rules.iter().find(|rule| {
            rule["if"]["properties"]["sender"]["const"] == sender
                && rule["then"]["properties"]["options"].is_object()
        });
        let named = rule.map(|rule| words(&rule["then"]["properties"]["options"]["propertyNames"]));
        assert_eq!(named.unwrap_or_default(), known, "{sender}");
    }
}

#[test]
fn every_shipped_definition_fits_the_schema() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut problems = Vec::new();
    let folders = fs::read_dir(root().join("destinations")).unwrap();
    let mut files: Vec<PathBuf> = folders
        .map(|folder| folder.unwrap().path().join("destination.toml"))
        .collect();
    files.push(root().join("crates/fairlane/src/command/new/destination.toml"));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let tree: Value = toml::from_str(&text).unwrap();
        if let Err(problem) = validator.validate(&tree) {
            let place = problem.instance_path().to_string();
            problems.push(format!("{}: {place}: {problem}", file.display()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_schema_refuses_what_the_loader_does() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let good = json!({"name": "n", "category": "c", "hosts": ["a.example"]});
    assert!(validator.is_valid(&good));
    for (key, value) in [
        ("nmae", json!("n")),
        ("name", json!("")),
        ("events", json!(["trak"])),
        ("auth", json!({"kind": "bearer"})),
        ("auth", json!({"kind": "bearer", "token": "t", "user": "u"})),
        ("settings", json!({"Key": {"type": "string", "help": "h"}})),
        ("settings", json!({"key": {"type": "text", "help": "h"}})),
        ("response", json!([{"result": "refused"}])),
        ("response", json!([{"status": "6xx", "result": "refused"}])),
        ("rate_limit_per_s", json!(0)),
        ("events", json!([])),
        ("name", json!("a\u{1b}b")),
        ("hosts", json!([""])),
        ("partial", json!([{"failed": "[0]"}])),
        ("cache_when", json!("true")),
        ("request", json!({"method": "FETCH"})),
        (
            "settings",
            json!({"key": {"type": "number", "help": "h", "secret": true}}),
        ),
        (
            "settings",
            json!({"key": {"type": "integer", "help": "h", "default": "x"}}),
        ),
        (
            "settings",
            json!({"key": {"type": "string", "help": "h", "default": "x", "required": true}}),
        ),
        (
            "settings",
            json!({"key": {"type": "string", "help": "h", "max": 3}}),
        ),
        (
            "auth",
            json!({"kind": "oauth2", "grant": "refresh_token", "client_id": "c",
            "token_url": "https://a.example/"}),
        ),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}
