//! Templates fill in settings and mark secrets.

use model::Secret;
use serde_json::json;

use super::*;
use crate::definition::settings::SettingType;

fn specs() -> Vec<SettingSpec> {
    [("host", false), ("key", true)]
        .map(|(name, secret)| SettingSpec {
            name: name.to_owned(),
            kind: SettingType::String,
            required: false,
            secret,
            default: None,
            choices: Vec::new(),
            min: None,
            max: None,
            help: String::new(),
        })
        .to_vec()
}

fn settings() -> CheckedSettings {
    let mut settings = CheckedSettings::default();
    settings.values.insert("host".to_owned(), json!("a b/c"));
    settings.secrets.insert("key".to_owned(), Secret::new("s3"));
    settings
}

#[test]
fn placeholders_become_values_and_marks() {
    let template = Template::parse("x-{{settings.host}}-{{ secret.key }}", &specs()).unwrap();
    assert_eq!(template.reveal(&settings()).unwrap(), "x-a b/c-s3");
    let marked = template.marked(&settings()).unwrap();
    assert!(!marked.contains("s3") && marks::any(&marked));
    assert_eq!(marks::show(&marked, &specs()), "x-a b/c-{{secret.key}}");
    assert_eq!(template.reveal(&CheckedSettings::default()), None);
}

#[test]
fn a_value_behind_the_host_is_encoded() {
    let template = Template::parse("https://h.example.com/{{settings.host}}", &specs()).unwrap();
    assert_eq!(
        template.marked_url(&settings()).unwrap(),
        "https://h.example.com/a%20b%2Fc"
    );
}

#[test]
fn wrong_placeholders_are_told() {
    for text in [
        "{{settings.key}}",
        "{{secret.host}}",
        "{{secret.none}}",
        "{{host}}",
        "{{secret.key",
    ] {
        assert!(Template::parse(text, &specs()).is_err(), "{text}");
    }
}
