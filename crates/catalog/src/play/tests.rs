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

/// A definition of a look-up and a write, with one case.
fn two_steps(toml: &str, look_up: &str, write: &str, case: &Value) -> Arc<Definition> {
    let case = case.to_string();
    let files = [
        ("destination.toml", toml),
        ("event.vrl", look_up),
        ("write.vrl", write),
        ("cases/a.json", case.as_str()),
    ];
    Arc::new(Definition::load(folder("t", &files)).unwrap())
}

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
                steps = [\"event.vrl\", \"write.vrl\"]\nsteps_accept = [404]\n";
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
        let shown = play_line(&mut transformer, br#"{"type":"track"}"#, &answers).to_value();
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
    for (status, fits) in [(99, false), (100, true), (599, true), (600, false)] {
        let parsed = parse_answers(&json!([{ "status": status }]).to_string());
        assert_eq!(parsed.is_ok(), fits, "{status}");
    }
}

#[test]
fn an_answer_that_no_step_wants_ends_the_attempt_as_it_does_in_delivery() {
    let toml = "name = \"T\"\ncategory = \"t\"\nhosts = [\"a.example\"]\n\
                steps = [\"event.vrl\", \"write.vrl\"]\nsteps_accept = [404]\n\
                [[response]]\nstatus = 409\nresult = \"delivered\"\n";
    let look_up = r#"{"requests": [{"method": "GET", "url": "https://a.example/1"},
        {"method": "GET", "url": "https://a.example/2"}]}"#;
    let write = r#"{"url": "https://a.example/write", "body": length(.responses)}"#;
    let case = |status: u16, requests: usize, result: Option<&str>| {
        let all = [
            json!({"method": "GET", "url": "https://a.example/1"}),
            json!({"method": "GET", "url": "https://a.example/2"}),
            json!({"method": "POST", "url": "https://a.example/write", "body": 2}),
        ];
        let mut case = json!({"name": "n", "event": {"type": "track"},
            "responses": [{"status": status}], "requests": all[..requests]});
        if let Some(result) = result {
            case["result"] = json!(result);
        }
        let definition = two_steps(toml, look_up, write, &case);
        crate::run_cases(&definition).remove(0).failure
    };
    // 404 is one that the next step wants to see; the others are judged, and nothing comes behind.
    assert_eq!(case(404, 3, None), None);
    assert_eq!(case(200, 3, None), None);
    assert_eq!(case(500, 1, Some("failed:server_error")), None);
    assert_eq!(case(400, 1, Some("rejected:refused")), None);
    assert_eq!(case(409, 1, Some("delivered")), None);
    assert!(case(500, 3, None).is_some());
    assert!(case(500, 1, None).is_some());
    assert!(case(500, 1, Some("failed:conflict")).is_some());
    let told = case(700, 1, None).unwrap();
    assert!(
        told.contains("700 is no HTTP status: use 100 to 599"),
        "{told}"
    );
}

#[test]
fn json_bodies_are_printed_to_the_letter() {
    let line = |toml: &str, program: Option<&str>, event: &str| {
        let mut files = vec![("destination.toml", toml)];
        files.extend(program.map(|program| ("event.vrl", program)));
        let definition = Arc::new(Definition::load(folder("t", &files)).unwrap());
        let checked = definition.check_settings(&Settings::default()).unwrap();
        let mut transformer = Transformer::new(definition, checked, &[], None, None).unwrap();
        play_line(&mut transformer, event.as_bytes(), &[]).to_line()
    };
    let forwards = "name = \"T\"\ncategory = \"t\"\npayload = \"event\"\ngzip = true\n\
                    [request]\nurl = \"https://a.example/\"\n";
    let event = r#"{"type":"track","a": 1.10, "b":123456789012345678901234567890}"#;
    let shown = line(forwards, None, event);
    assert!(
        shown.contains(&format!("\"body\":{event},\"headers\"")),
        "{shown}"
    );
    let broken = "{\"type\":\"track\",\r\n\"a\":1.10}";
    let shown = line(forwards, None, broken);
    assert!(
        shown.contains(r#""body":{"type":"track","a":1.10},"#),
        "{shown}"
    );

    let top = "name = \"T\"\ncategory = \"t\"\nhosts = [\"a.example\"]\n";
    let lines =
        r#"{"url": "https://a.example/", "encoding": "lines", "body": [.event_json, "no JSON"]}"#;
    let shown = line(top, Some(lines), event);
    assert!(
        shown.contains(&format!("\"body\":[{event},\"no JSON\"],")),
        "{shown}"
    );
    let text = r#"{"url": "https://a.example/", "encoding": "text", "body": "a\nb"}"#;
    let shown = line(top, Some(text), event);
    assert!(
        shown.contains(r#""body":"a\nb","#) && !shown.contains('\n'),
        "{shown}"
    );
    // All else is as in a case.
    let shown = line(top, Some(r#"{"rejected": "why"}"#), event);
    assert_eq!(shown, r#"{"rejected":"invalid: why"}"#);
}

#[test]
fn what_a_later_step_refuses_is_told_with_the_requests_before_it() {
    let toml = "name = \"T\"\ncategory = \"t\"\nhosts = [\"a.example\"]\n\
                steps = [\"event.vrl\", \"write.vrl\"]\nsteps_accept = [404]\n";
    let look_up = r#"{"method": "GET", "url": "https://a.example/1"}"#;
    let write = r#"if .responses[0].status == 404 { {"rejected": "nobody"} } else { {"filtered": "known"} }"#;
    let case = json!({"name": "nobody there", "event": {"type": "track"}, "responses": [{"status": 404}],
        "requests": [{"method": "GET", "url": "https://a.example/1"}], "rejected": "invalid: nobody"});
    let made = |case: &Value| two_steps(toml, look_up, write, case);
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
    let shown = play_line(&mut transformer, br#"{"type":"track"}"#, &[]).to_value();
    assert_eq!(shown["filtered"], "destination: known");
    assert_eq!(shown["requests"][0]["method"], "GET");
}
