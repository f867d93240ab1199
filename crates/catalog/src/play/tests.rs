//! Playing events: one line, and the answers that later steps see.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Settings;

use super::*;
use crate::definition::Definition;
use crate::definition::tests::{define, folder};

const ONE: &str = r#"
hosts = ["api.example.com"]
auth = { kind = "bearer", token = "{{secret.key}}" }
[settings.key]
type = "string"
required = true
secret = true
help = "a key"
"#;

const PROGRAM: &str = r#"{"url": "https://api.example.com/e", "body": {"id": .event.messageId}}"#;

#[test]
fn a_line_shows_requests_and_refusals() {
    let definition = Arc::new(define(ONE, PROGRAM).unwrap());
    let settings = BTreeMap::from([("key".to_owned(), json!("k"))]).into();
    let checked = definition.check_settings(&settings).unwrap();
    let mut transformer =
        Transformer::new(definition, checked, &["mine".to_owned()], None, None).unwrap();
    let line = play_line(
        &mut transformer,
        br#"{"type":"track","messageId":"m"}"#,
        &[],
    )
    .to_value();
    let expected = json!({"requests": [{
        "method": "POST",
        "url": "https://api.example.com/e",
        "headers": {"authorization": "Bearer k", "content-type": "application/json"},
        "body": {"id": "m"},
    }]});
    assert_eq!(line, expected);
    let line = play_line(&mut transformer, br#"{"integrations":{"mine":false}}"#, &[]).to_value();
    assert_eq!(line, json!({"filtered": "integrations"}));
    for line in ["{", "text", "[1]", "7"] {
        assert!(check_line(line.as_bytes()).is_err(), "{line}");
        let line = play_line(&mut transformer, line.as_bytes(), &[]).to_value();
        let why = line["rejected"].as_str().unwrap();
        assert!(why.starts_with("the line is no JSON object"), "{line}");
    }
    assert!(check_line(br#" {"type": "track"}"#).is_ok());
}

#[test]
fn later_steps_see_the_given_answers_then_empty_ones() {
    let toml = "name = \"T\"\ncategory = \"t\"\nhosts = [\"a.example\"]\n\
                steps = [\"event.vrl\", \"write.vrl\"]\n";
    let look_up = r#"{"requests": [{"method": "GET", "url": "https://a.example/1"},
        {"method": "GET", "url": "https://a.example/2"}]}"#;
    let write = r#"{"url": "https://a.example/write", "body": .responses}"#;
    let files = [
        ("destination.toml", toml),
        ("event.vrl", look_up),
        ("write.vrl", write),
    ];
    let definition = Arc::new(Definition::load(folder("t", &files)).unwrap());
    let checked = definition.check_settings(&Settings::default()).unwrap();
    let mut transformer = Transformer::new(definition, checked, &[], None, None).unwrap();
    let answers =
        parse_answers(r#"[{"status": 404, "headers": {"X-A": "b"}, "body": {"found": 7}}]"#)
            .unwrap();
    // Each event is played anew.
    for _ in 0..2 {
        let shown = play_line(&mut transformer, b"{}", &answers).to_value();
        let seen = &shown["requests"][2]["body"];
        assert_eq!(
            *seen,
            json!([
                {"status": 404, "headers": {"x-a": "b"}, "body": {"found": 7}},
                {"status": 200, "headers": {}, "body": {}},
            ])
        );
    }
    assert!(parse_answers("{}").is_err());
    let problem = parse_answers(r#"[{"staus": 1}]"#).err().unwrap();
    assert!(problem.contains("unknown field `staus`"), "{problem}");
}

#[test]
fn what_a_later_step_refuses_is_told_with_the_requests_before_it() {
    let toml = "name = \"T\"\ncategory = \"t\"\nhosts = [\"a.example\"]\n\
                steps = [\"event.vrl\", \"write.vrl\"]\n";
    let look_up = r#"{"method": "GET", "url": "https://a.example/1"}"#;
    let write = r#"if .responses[0].status == 404 { {"rejected": "nobody"} } else { {"filtered": "known"} }"#;
    let case = json!({"name": "nobody there", "event": {"type": "track"}, "responses": [{"status": 404}],
        "requests": [{"method": "GET", "url": "https://a.example/1"}], "rejected": "invalid: nobody"});
    let made = |case: &Value| {
        let case = case.to_string();
        let files = [
            ("destination.toml", toml),
            ("event.vrl", look_up),
            ("write.vrl", write),
            ("cases/a.json", case.as_str()),
        ];
        Arc::new(Definition::load(folder("t", &files)).unwrap())
    };
    let told = |case: &Value| crate::run_cases(&made(case)).remove(0).failure;
    assert_eq!(told(&case), None);
    for (key, value) in [
        ("rejected", Value::Null),
        ("rejected", json!("invalid: other")),
        ("requests", Value::Null),
    ] {
        let mut other = case.clone();
        match value {
            Value::Null => drop(other.as_object_mut().unwrap().remove(key)),
            value => other[key] = value,
        }
        assert!(told(&other).is_some(), "{other}");
    }

    let definition = made(&case);
    let checked = definition.check_settings(&Settings::default()).unwrap();
    let mut transformer = Transformer::new(definition, checked, &[], None, None).unwrap();
    let shown = play_line(&mut transformer, b"{}", &[]).to_value();
    assert_eq!(shown["filtered"], "destination: known");
    assert_eq!(shown["requests"][0]["method"], "GET");
}
