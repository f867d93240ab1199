//! Events through a transformer, up to the request that goes out.

use serde_json::json;

use super::*;
use crate::definition::tests::folder;
use crate::events::EVENT_TYPES;

fn transformer(
    files: &[(&str, &str)],
    settings: serde_json::Value,
    filter: Option<&str>,
    transform: Option<&str>,
) -> Transformer {
    let definition = Arc::new(Definition::load(folder("test", files)).unwrap());
    let raw: model::Settings = serde_json::from_value(settings).unwrap();
    let checked = definition.check_settings(&raw).unwrap();
    Transformer::new(definition, checked, &["mine".to_owned()], filter, transform).unwrap()
}

fn stamp(message_id: &str, now_unix_s: u64) -> Stamp<'_> {
    Stamp {
        message_id,
        now_unix_s,
        token: None,
    }
}

const SECRETIVE: &str = r#"
name = "T"
category = "t"
hosts = ["a.example.com"]
events = ["track"]
[settings.key]
type = "string"
secret = true
help = "h"
[settings.other]
type = "string"
secret = true
help = "h"
"#;

fn planned(transformer: &mut Transformer, event: &str) -> Planned {
    transformer.event(
        &Bytes::copy_from_slice(event.as_bytes()),
        true,
        Origin::of_tool(0),
    )
}

fn sent(transformer: &mut Transformer, event: &str) -> FinalRequest {
    match planned(transformer, event) {
        Planned::Send { requests, .. } => {
            transformer.finish(&requests[0], stamp("m", 1_700_000_000))
        }
        other => panic!("{other:?}"),
    }
}

fn refused(transformer: &mut Transformer, event: &str) -> String {
    match planned(transformer, event) {
        Planned::Filtered(reason, detail) => format!("filtered {} {detail}", reason.as_str()),
        Planned::Rejected(reason, detail) => format!("rejected {} {detail}", reason.as_str()),
        other => format!("{other:?}"),
    }
}

#[test]
fn secrets_go_where_the_author_put_them_and_nowhere_else() {
    let program = r#"{
        "url": "https://a.example.com/{{secret.key}}",
        "query": {"k": "{{secret.key}}", "e": .event.x},
        "headers": {"x-key": "{{secret.key}}", "x-event": .event.x},
        "body": {"key": "{{secret.key}}", "event": .event.x}
    }"#;
    let files = [("destination.toml", SECRETIVE), ("event.vrl", program)];
    let key = "a \"b\"/&é";
    let mut transformer = transformer(&files, json!({"key": key}), None, None);
    let event = r#"{"type":"track","x":"{{secret.key}} {{ secret.key }} {{secret.other}}"}"#;

    let Planned::Send { requests, .. } = planned(&mut transformer, event) else {
        panic!()
    };
    let shown = format!(
        "{requests:?} {}",
        requests[0].request_line(transformer.definition())
    );
    assert!(
        !shown.contains("a \"b\"") && !shown.contains("%22b%22"),
        "{shown}"
    );
    assert!(
        shown.ends_with("POST https://a.example.com/{{secret.key}}"),
        "{shown}"
    );

    let request = transformer.finish(&requests[0], stamp("m", 0));
    let encoded = "a%20%22b%22%2F%26%C3%A9";
    let literal =
        "%7B%7Bsecret.key%7D%7D%20%7B%7B%20secret.key%20%7D%7D%20%7B%7Bsecret.other%7D%7D";
    assert_eq!(
        request.url,
        format!("https://a.example.com/{encoded}?e={literal}&k={encoded}")
    );
    let header = |name: &str| {
        request
            .headers
            .iter()
            .find(|(n, _)| n == name)
            .unwrap()
            .1
            .as_str()
    };
    assert_eq!(header("x-key"), key);
    assert_eq!(
        header("x-event"),
        "{{secret.key}} {{ secret.key }} {{secret.other}}"
    );
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["key"], key);
    assert_eq!(
        body["event"],
        "{{secret.key}} {{ secret.key }} {{secret.other}}"
    );
}

#[test]
fn a_secret_that_is_not_set_rejects_the_request() {
    let program = r#"{"url": "https://a.example.com/", "body": "{{secret.other}}"}"#;
    let files = [("destination.toml", SECRETIVE), ("event.vrl", program)];
    let mut transformer = transformer(&files, json!({"key": "k"}), None, None);
    assert_eq!(
        refused(&mut transformer, r#"{"type":"track"}"#),
        "rejected bad_request the request needs a secret that is not set"
    );
}

#[test]
fn filter_transform_and_types_come_in_their_order() {
    let program = r#"{"url": "https://a.example.com/", "body": .event}"#;
    let files = [("destination.toml", SECRETIVE), ("event.vrl", program)];
    let mut with = transformer(
        &files,
        json!({}),
        Some(".keep == true"),
        Some(
            "if .drop == true { abort }\nif .replace == true { . = 1 } else {\nif .fail == true { .x = int!(.keep) }\n.type = string(.as) ?? .type\ndel(.as) }",
        ),
    );
    let mut refusal = |event: &str| refused(&mut with, event);
    assert_eq!(
        refusal(r#"{"integrations":{"All":false},"keep":true}"#),
        "filtered integrations "
    );
    assert_eq!(refusal(r#"{"type":"track"}"#), "filtered filter ");
    assert_eq!(
        refusal(r#"{"keep":true,"drop":true}"#),
        "filtered transform "
    );
    assert_eq!(
        refusal(r#"{"keep":true,"type":"page"}"#),
        "filtered event_type "
    );
    assert_eq!(
        refusal(r#"{"keep":true,"replace":true}"#),
        "rejected transform_failed the transform made the event integer, not an object"
    );
    assert!(refusal(r#"{"keep":true,"fail":true}"#).starts_with("rejected transform_failed"));
    let request = sent(&mut with, r#"{"keep":true,"type":"page","as":"track"}"#);
    assert_eq!(&request.body[..], br#"{"keep":true,"type":"track"}"#);

    let mut without = transformer(&files, json!({}), None, None);
    assert_eq!(
        refused(&mut without, r#"{"type":"page"}"#),
        "filtered event_type "
    );
    assert!(refused(&mut without, "{").starts_with("rejected transform_failed"));
}

#[test]
fn an_events_own_type_counts_however_its_json_is_written() {
    let program = r#"{"url": "https://a.example.com/", "body": .event}"#;
    let files = [("destination.toml", SECRETIVE), ("event.vrl", program)];
    let mut transformer = transformer(&files, json!({"key": "k"}), None, None);
    for taken in [
        r#"{ "type" : "track" }"#,
        r#"{"\u0074ype":"tr\u0061ck","properties":{"type":"page"}}"#,
    ] {
        sent(&mut transformer, taken);
    }
    for other in [
        r#"{"type":"page"}"#,
        r#"{"properties":{"type":"track"},"type":"page"}"#,
        r#"{"properties":{"type":"track"}}"#,
    ] {
        let told = refused(&mut transformer, other);
        assert_eq!(told, "filtered event_type ", "{other}");
    }
}

#[test]
fn who_takes_all_types_takes_no_other_than_those_that_there_are() {
    let all = SECRETIVE.replace("events = [\"track\"]", "");
    let program = r#"{"url": "https://a.example.com/", "body": .event}"#;
    let with_program = [("destination.toml", all.as_str()), ("event.vrl", program)];
    let hole = "name = \"B\"\ncategory = \"test\"\nsender = \"blackhole\"\n";
    let unseen = |transformer: &mut Transformer, event: &str| {
        let event = Bytes::copy_from_slice(event.as_bytes());
        transformer.unseen_event(&event, Origin::of_tool(0))
    };
    for files in [&with_program[..], &[("destination.toml", hole)]] {
        let mut plain = transformer(files, json!({}), None, None);
        for event in [r#"{"type":"purchase"}"#, r#"{"event":"E"}"#, "{}"] {
            let planned = unseen(&mut plain, event);
            assert!(
                matches!(planned, Planned::Filtered(FilterReason::EventType, _)),
                "{event}: {planned:?}"
            );
        }
        for kind in EVENT_TYPES {
            let planned = unseen(&mut plain, &format!(r#"{{"type":"{kind}"}}"#));
            assert!(
                matches!(planned, Planned::Send { .. }),
                "{kind}: {planned:?}"
            );
        }
        // A connection's own transform may make another of it, or one that there is.
        let mut renamed = transformer(files, json!({}), None, Some(".type = .as"));
        let told = refused(&mut renamed, r#"{"type":"track","as":"purchase"}"#);
        assert_eq!(told, "filtered event_type ");
        let planned = unseen(&mut renamed, r#"{"type":"purchase","as":"track"}"#);
        assert!(matches!(planned, Planned::Send { .. }), "{planned:?}");
    }
}

#[test]
fn a_program_that_fails_is_told_with_its_line() {
    let why = |program: &str| {
        let files = [("destination.toml", SECRETIVE), ("event.vrl", program)];
        let mut transformer = transformer(&files, json!({}), None, None);
        refused(&mut transformer, r#"{"type":"track","n":1}"#)
    };
    assert_eq!(
        why("x = 1\n{\"url\": upcase(\n  string!(.event.n))}"),
        "rejected transform_failed event.vrl: line 3: string() failed: expected string, got integer"
    );
    assert_eq!(
        why("x = 1\nif x == 1 { abort }"),
        "rejected transform_failed event.vrl: line 2: aborted"
    );
    assert_eq!(
        why("abort \"no id\""),
        "rejected transform_failed event.vrl: line 1: aborted: no id"
    );
}

#[test]
fn a_wrong_port_is_told() {
    let toml = "name = \"T\"\ncategory = \"t\"\nhosts = [\"http://a.example:8080\"]\n";
    let program = r#"{"url": .event.to}"#;
    let files = [("destination.toml", toml), ("event.vrl", program)];
    let mut transformer = transformer(&files, json!({}), None, None);
    for (to, told) in [
        ("http://a.example:9090/x", "http://a.example:9090"),
        ("http://a.example/x", "http://a.example:80"),
        ("http://b.example/x", "http://b.example"),
    ] {
        assert_eq!(
            refused(
                &mut transformer,
                &format!(r#"{{"type":"track","to":"{to}"}}"#)
            ),
            format!("rejected bad_request {told} is none of the definition's hosts")
        );
    }
}

#[test]
fn a_url_is_judged_after_another_was_allowed() {
    let program = r#"{"url": .event.to, "body": "b"}"#;
    let files = [("destination.toml", SECRETIVE), ("event.vrl", program)];
    let mut transformer = transformer(&files, json!({"key": "k"}), None, None);
    let to = |host: &str| format!(r#"{{"type":"track","to":"https://{host}/x"}}"#);
    for _ in 0..2 {
        let request = sent(&mut transformer, &to("A.example.com"));
        assert_eq!(request.url, "https://a.example.com/x");
        let told = refused(&mut transformer, &to("b.example.com"));
        assert!(told.ends_with("none of the definition's hosts"), "{told}");
    }
}

#[test]
fn a_host_of_a_setting_ends_where_the_definition_says() {
    let toml = r#"
name = "T"
category = "t"
hosts = ["{{settings.site}}.example.com"]
[settings.site]
type = "string"
required = true
help = "h"
[request]
url = "https://{{settings.site}}.example.com/"
"#;
    let files = [("destination.toml", toml), ("event.vrl", "{}")];
    let definition = Arc::new(Definition::load(folder("test", &files)).unwrap());
    let made = |site: &str| {
        let raw = serde_json::from_value(json!({"site": site})).unwrap();
        let checked = definition.check_settings(&raw).unwrap();
        Transformer::new(Arc::clone(&definition), checked, &[], None, None)
    };
    for good in ["eu", "eu-1", "a.b"] {
        made(good).unwrap();
    }
    for bad in [
        "evil.org#",
        "evil.org/",
        "evil.org?",
        "u@evil",
        "evil.org\\",
        "..",
        "eu.",
        "%2e",
    ] {
        let told = made(bad).unwrap_err().to_string();
        assert!(told.contains("is no host"), "{bad}: {told}");
    }
}

#[test]
fn a_directory_is_an_absolute_path() {
    let toml = r#"
name = "T"
category = "t"
sender = "object_storage"
[settings.directory]
type = "string"
required = true
help = "h"
[request]
url = "file:///x"
[options]
directory = "{{settings.directory}}"
"#;
    let files = [("destination.toml", toml), ("event.vrl", "{}")];
    let definition = Arc::new(Definition::load(folder("test", &files)).unwrap());
    for (directory, fits) in [("/var/lib/events", true), ("events", false)] {
        let raw = serde_json::from_value(json!({"directory": directory})).unwrap();
        let checked = definition.check_settings(&raw).unwrap();
        let made = Transformer::new(Arc::clone(&definition), checked, &[], None, None);
        assert_eq!(made.is_ok(), fits, "{directory}");
    }
}

#[test]
fn an_answer_is_kept_without_the_secrets_that_it_repeats() {
    let files = [("destination.toml", SECRETIVE), ("event.vrl", "null")];
    let transformer = transformer(&files, json!({"key": "TOP/x \"y"}), None, None);
    let echo = r#"{"a":"TOP/x \"y","b":"TOP%2Fx%20%22y","c":"TOP%2Fx+%22y","d":"VE9QL3ggInk="}"#;
    assert_eq!(
        transformer.strike(Bytes::from_static(echo.as_bytes()), None),
        r#"{"a":"****","b":"****","c":"****","d":"****"}"#
    );
    let plain = Bytes::from_static(b"thanks");
    assert_eq!(transformer.strike(plain.clone(), None), plain);
    // As other languages escape it.
    for (secret, echo) in [
        ("ab/cd+EF==", r#"{"php":"ab\/cd+EF=="}"#),
        ("ab/cd+EF==", r#"{"net":"ab/cd\u002BEF=="}"#),
        ("ab/cd+EF==", "ab%2fcd%2bEF%3d%3d"),
        ("ab/cd+EF==", "<b>ab&#x2F;cd+EF&#x3D;&#x3D;</b>"),
    ] {
        let transformer = self::transformer(&files, json!({"key": secret}), None, None);
        let kept = transformer.strike(Bytes::from_static(echo.as_bytes()), None);
        let kept = String::from_utf8_lossy(&kept).into_owned();
        assert!(
            kept.contains("****") && !kept.contains("EF"),
            "{echo}: {kept}"
        );
    }
    // Our body, quoted as a text; and the token that was fetched.
    let body = json!({"k": "TOP/x \"y"}).to_string();
    let quoted = json!({"you": body, "auth": "Bearer tok-123"}).to_string();
    let token = Secret::new("tok-123".to_owned());
    let kept = transformer.strike(Bytes::from(quoted), Some(&token));
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    let struck = json!({"you": "{\"k\":\"****\"}", "auth": "Bearer ****"});
    assert_eq!(kept, struck);
}

#[test]
fn what_auth_makes_of_a_secret_is_struck_too() {
    let auth = r#"
[auth]
kind = "basic"
user = "user"
password = "{{secret.key}}"
"#;
    let toml = format!("{SECRETIVE}{auth}");
    let files = [("destination.toml", toml.as_str()), ("event.vrl", "null")];
    let transformer = transformer(&files, json!({"key": "simple-secret-123"}), None, None);
    let echo = Bytes::from_static(b"you sent Basic dXNlcjpzaW1wbGUtc2VjcmV0LTEyMw==");
    let kept = transformer.strike(echo, None);
    assert_eq!(kept, "you sent ****");
}

#[test]
fn an_id_becomes_a_header_and_stays_itself() {
    let toml = format!(
        "{SECRETIVE}[auth]\nkind = \"standard_webhooks\"\nsecret = \"{{{{secret.key}}}}\"\n"
    );
    let program = r#"{"url": "https://a.example.com/", "body": "b"}"#;
    let files = [("destination.toml", toml.as_str()), ("event.vrl", program)];
    let mut transformer = transformer(&files, json!({"key": "k"}), None, None);
    let Planned::Send { requests, .. } = planned(&mut transformer, r#"{"type":"track"}"#) else {
        panic!()
    };
    let mut ids = std::collections::BTreeSet::new();
    for id in ["m", " m", "m ", "%20m", "a\nb", "a\tb", "ab", "\n", "é"] {
        let request = transformer.finish(&requests[0], stamp(id, 1));
        let sent = request
            .headers
            .iter()
            .find(|(name, _)| name == "webhook-id");
        let (_, sent) = sent.unwrap();
        assert!(
            !sent.is_empty() && sent.bytes().all(|b| b.is_ascii_graphic()),
            "{sent:?}"
        );
        assert!(ids.insert(sent.clone()), "{sent} twice");
    }
}

#[test]
fn a_program_refuses_in_words() {
    let program = r#"
        if .event.a == 1 { {"filtered": "not ours"} }
        else if .event.a == 2 { {"rejected": "a is missing"} }
        else if .event.a == 3 { null }
        else if .event.a == 4 { {"requests": []} }
        else if .event.a == 5 { "text" }
        else if .event.a == 6 { {"url": "https://evil.example.org/"} }
        else if .event.a == 7 { {"rejected": "no {{secret.key}}"} }
        else { {"x": int!(.event.a)} }"#;
    let files = [("destination.toml", SECRETIVE), ("event.vrl", program)];
    let mut transformer = transformer(&files, json!({}), None, None);
    let mut refusal = |a: u32| refused(&mut transformer, &format!(r#"{{"type":"track","a":{a}}}"#));
    assert_eq!(refusal(1), "filtered destination not ours");
    assert_eq!(refusal(2), "rejected invalid a is missing");
    assert_eq!(refusal(3), "filtered destination ");
    assert_eq!(refusal(4), "filtered destination no request");
    assert!(refusal(5).starts_with("rejected bad_request"));
    assert_eq!(
        refusal(6),
        "rejected bad_request https://evil.example.org is none of the definition's hosts"
    );
    assert_eq!(refusal(7), "rejected invalid no {{secret.key}}");
}

#[test]
fn an_events_own_bytes_go_out_untouched() {
    let toml = r#"
        name = "T"
        category = "t"
        payload = "event"
        gzip = false
        retry_expiry = "webhook"
        [settings.url]
        type = "url"
        secret = true
        required = true
        help = "h"
        [settings.secret]
        type = "string"
        secret = true
        help = "h"
        [settings.headers]
        type = "map"
        help = "h"
        [request]
        url = "{{secret.url}}"
        headers_setting = "headers"
        [auth]
        kind = "standard_webhooks"
        secret = "{{secret.secret}}"
    "#;
    let files = [("destination.toml", toml)];
    let url = "https://hooks.example.com/T/B?x=1";
    let settings = json!({"url": url, "secret": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "headers": {"X-A": "b"}});
    let mut with = transformer(&files, settings, None, None);
    // Not even JSON is needed: nothing looks at it.
    let event = Bytes::from_static(b"{ \"z\":1,  \"a\":{{secret.url}} }");
    let Planned::Send {
        requests,
        then: None,
    } = with.event(&event, false, Origin::of_tool(0))
    else {
        panic!()
    };
    let line = requests[0].request_line(with.definition());
    assert_eq!(line, "POST {{secret.url}}", "a secret URL is not shown");
    let request = with.finish(&requests[0], stamp("msg\r\n1", 5));
    assert_eq!(request.url, url);
    assert_eq!(request.body.as_ptr(), event.as_ptr(), "not copied");
    let names: Vec<&str> = request
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let expected = [
        "x-a",
        "content-type",
        "webhook-signature",
        "webhook-timestamp",
        "webhook-id",
    ];
    assert_eq!(names, expected);
    assert!(
        request
            .headers
            .contains(&("webhook-id".to_owned(), "msg%0D%0A1".to_owned()))
    );

    // Without its secret the signature alone is left out; with a transform the event is written anew.
    let mut plain = transformer(&files, json!({"url": url}), None, Some("del(.b)"));
    let request = sent(&mut plain, r#"{"b":1,"type":"track","a":2}"#);
    assert_eq!(&request.body[..], br#"{"a":2,"type":"track"}"#);
    let names: Vec<&str> = request
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["content-type", "webhook-timestamp", "webhook-id"]);
}

/// From Segment's documentation of its webhooks, `x-signature`.
#[test]
fn a_body_is_signed_as_segment_signs_it() {
    let toml = "name = \"T\"\ncategory = \"t\"\npayload = \"event\"\n\
                [request]\nurl = \"https://hooks.example.com/\"\n\
                [auth]\nkind = \"hmac_sha1_hex\"\nheader = \"x-signature\"\nsecret = \"s78347\"\n";
    let mut with = transformer(&[("destination.toml", toml)], json!({}), None, None);
    let request = sent(&mut with, r#"{"sample":"t980"}"#);
    let signature = "bc24ebde87057cf3a8bff0dc6661f519ed808d7e".to_owned();
    assert!(
        request
            .headers
            .contains(&("x-signature".to_owned(), signature))
    );
}

#[test]
fn events_go_as_a_list_where_the_setting_says_so() {
    let toml = r#"
        name = "T"
        category = "t"
        payload = "event"
        [settings.size]
        type = "integer"
        help = "h"
        [request]
        url = "https://hooks.example.com/"
        [batch]
        events_setting = "size"
        events_max = 5
        bytes_max = 1000
        wait_ms = 10
        [auth]
        kind = "standard_webhooks"
        secret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "#;
    let files = [("destination.toml", toml)];
    let events = |size: serde_json::Value| {
        let with = transformer(&files, json!({}), None, None);
        let limits = with
            .definition()
            .batch(&serde_json::from_value(json!({ "size": size })).unwrap());
        limits.map(|limits| limits.events_max)
    };
    assert_eq!(events(json!(3)), Some(3));
    assert_eq!(events(json!(u64::MAX)), Some(5));
    for none in [json!(1), json!(0), json!(-7), json!(null)] {
        assert_eq!(events(none), None);
    }

    let mut with = transformer(&files, json!({"size": 3}), None, None);
    let mut list = |texts: &[&str]| {
        let entries = texts.iter().map(|text| match planned(&mut with, text) {
            Planned::Entry(entry) => entry,
            other => panic!("{other:?}"),
        });
        let entries = entries.collect();
        let Planned::Send { requests, .. } = with.batch(entries) else {
            panic!()
        };
        let request = with.finish(&requests[0], stamp("m1", 5));
        let id = request
            .headers
            .iter()
            .find(|(name, _)| name == "webhook-id");
        (id.unwrap().1.clone(), request.body)
    };
    let (two, body) = list(&[r#"{"a": 1}"#, r#"{"b":2 }"#]);
    assert_eq!(&body[..], br#"[{"a": 1},{"b":2 }]"#);
    let (one, body) = list(&[r#"{"a": 1}"#]);
    assert_eq!(&body[..], br#"[{"a": 1}]"#);
    assert_ne!(
        one, two,
        "lists that hold other events are no repeats of each other"
    );
}

#[test]
fn a_request_may_go_without_the_definitions_auth() {
    let toml = format!("{SECRETIVE}[auth]\nkind = \"bearer\"\ntoken = \"{{{{secret.key}}}}\"\n");
    let program = r#"{"url": "https://a.example.com/", "auth": .event.auth}"#;
    let files = [("destination.toml", toml.as_str()), ("event.vrl", program)];
    let mut transformer = transformer(&files, json!({"key": "k"}), None, None);
    let names = |request: FinalRequest| request.headers.into_iter().map(|(name, _)| name);
    let mut headers = |event| names(sent(&mut transformer, event)).collect::<Vec<_>>();
    assert_eq!(headers(r#"{"type":"track"}"#), ["authorization"]);
    assert_eq!(
        headers(r#"{"type":"track","auth":true}"#),
        ["authorization"]
    );
    assert_eq!(headers(r#"{"type":"track","auth":false}"#), [""; 0]);
    let wrong = refused(&mut transformer, r#"{"type":"track","auth":"no"}"#);
    assert_eq!(
        wrong,
        "rejected bad_request auth must be true or false, not string"
    );
}

#[test]
fn look_up_then_write() {
    let toml = format!(
        "{}\nsteps = [\"event.vrl\", \"write.vrl\"]\nsteps_accept = [404]\n[settings.z]\ntype = \"string\"\nhelp = \"h\"\n",
        &SECRETIVE[..SECRETIVE.find("[settings").unwrap()]
    );
    let first = r#"
        del(.event.gone)
        {"requests": [{"method": "GET", "url": "https://a.example.com/find"}], "state": {"n": 1}}"#;
    let second = r#"
        if .responses[0].status == 404 { {"filtered": "unknown"} }
        else if .responses[0].body.id == "done" { {"requests": []} }
        else { {"url": "https://a.example.com/" + string!(.responses[0].body.id), "body": {"s": .state, "e": .event.gone}} }"#;
    let files = [
        ("destination.toml", toml.as_str()),
        ("event.vrl", first),
        ("write.vrl", second),
    ];
    let mut transformer = transformer(&files, json!({}), None, None);
    let mut answered = |status, body: &'static [u8]| {
        let Planned::Send {
            requests,
            then: Some(state),
        } = planned(&mut transformer, r#"{"type":"track","gone":7}"#)
        else {
            panic!()
        };
        assert_eq!(requests[0].method(), "GET");
        assert!(transformer.step_accepts(404) && !transformer.step_accepts(500));
        let response = StepResponse {
            status,
            headers: Vec::new(),
            body: Bytes::from_static(body),
        };
        transformer.next_step(state, &[response])
    };
    let Planned::Send {
        requests,
        then: None,
    } = answered(200, br#"{"id":"u1"}"#)
    else {
        panic!()
    };
    assert_eq!(requests[0].url, "https://a.example.com/u1");
    assert_eq!(&requests[0].body.bytes()[..], br#"{"e":7,"s":{"n":1}}"#);
    assert!(matches!(
        answered(404, b""),
        Planned::Filtered(FilterReason::Destination, _)
    ));
    assert!(matches!(
        answered(200, br#"{"id":"done"}"#),
        Planned::Send { requests, then: None } if requests.is_empty()
    ));
    assert!(matches!(
        answered(200, b"{}"),
        Planned::Rejected(RejectReason::TransformFailed, _)
    ));
}

#[test]
fn entries_make_a_batch() {
    let toml = r#"
        name = "T"
        category = "t"
        hosts = ["a.example.com"]
        gzip = true
        [batch]
        events_max = 10
        bytes_max = 40
        wait_ms = 1
        [auth]
        kind = "query"
        name = "k&"
        value = "v w"
    "#;
    let event = r#"{"entry": {"v": .event.v}, "group": .event.g}"#;
    let batch = r#"{"url": "https://a.example.com/b", "body": {"all": .entries, "group": .group}}"#;
    let files = [
        ("destination.toml", toml),
        ("event.vrl", event),
        ("batch.vrl", batch),
    ];
    let mut transformer = transformer(&files, json!({}), None, None);
    let mut entry = |event: &str| match planned(&mut transformer, event) {
        Planned::Entry(entry) => entry,
        other => panic!("{other:?}"),
    };
    let (one, two) = (entry(r#"{"v":1,"g":"x"}"#), entry(r#"{"v":2,"g":"x"}"#));
    let other = entry(r#"{"v":3}"#);
    assert_eq!(
        (one.bytes(), one.group(), other.group()),
        (7, Some("x"), None)
    );
    let long = format!(r#"{{"v":"{}"}}"#, "x".repeat(50));
    assert!(refused(&mut transformer, &long).starts_with("rejected too_large"));
    assert!(matches!(
        transformer.batch(vec![one.clone(), other]),
        Planned::Rejected(RejectReason::BadRequest, _)
    ));
    let Planned::Send {
        requests,
        then: None,
    } = transformer.batch(vec![one, two])
    else {
        panic!()
    };
    let request = transformer.finish(&requests[0], stamp("m", 0));
    assert_eq!(request.url, "https://a.example.com/b?k%26=v%20w");
    let mut plain = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::GzDecoder::new(&request.body[..]),
        &mut plain,
    )
    .unwrap();
    assert_eq!(plain, r#"{"all":[{"v":1},{"v":2}],"group":"x"}"#);
}

#[test]
fn a_blackhole_takes_everything() {
    let toml = "name = \"B\"\ncategory = \"test\"\nsender = \"blackhole\"\nevents = [\"track\"]";
    let mut transformer = transformer(&[("destination.toml", toml)], json!({}), None, None);
    let Planned::Send {
        requests,
        then: None,
    } = planned(&mut transformer, r#"{"type":"track"}"#)
    else {
        panic!()
    };
    assert!(requests.is_empty());
    assert_eq!(
        refused(&mut transformer, r#"{"type":"page"}"#),
        "filtered event_type "
    );
}

proptest::proptest! {
    #[test]
    fn any_event_ends_in_some_plan(text in "\\PC{0,60}", number: f64, depth in 0_usize..70) {
        let program = r#"{
            "url": "https://a.example.com/" + encode_path_segment(to_string(.event.s) ?? ""),
            "headers": {"x-s": .event.s},
            "query": {"n": .event.n},
            "body": {"s": upcase(to_string(.event.s) ?? ""), "d": flatten(object(.event.d) ?? {})}
        }"#;
        let files = [("destination.toml", SECRETIVE), ("event.vrl", program)];
        let mut transformer = transformer(&files, json!({}), None, None);
        let deep = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let event = format!(
            r#"{{"type":"track","s":{},"n":{},"d":{deep}}}"#,
            json!(text),
            json!(number)
        );
        match planned(&mut transformer, &event) {
            Planned::Send { requests, .. } => {
                let request = transformer.finish(&requests[0], stamp("m", 0));
                proptest::prop_assert!(request.url.starts_with("https://a.example.com/"));
                for (_, value) in &request.headers {
                    proptest::prop_assert!(!value.contains(['\r', '\n', '\0']));
                }
            }
            Planned::Rejected(..) | Planned::Filtered(..) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn parts_and_xml_hold_secrets_and_are_the_same_in_every_process() {
    let program = r#"{
        "url": "https://a.example.com/", "encoding": "multipart",
        "headers": {"content-type": "multipart/form-data"},
        "body": {"key": "{{secret.key}}", "event": .event.x}
    }"#;
    let files = [("destination.toml", SECRETIVE), ("event.vrl", program)];
    let event = r#"{"type":"track","x":1}"#;
    let mut multipart = transformer(&files, json!({"key": "k&1"}), None, None);
    let request = sent(&mut multipart, event);
    // As a known answer, since the mark of the secret differs from run to run.
    let boundary = "fairlane-535509b1e793685084a02cf0bbcef8da";
    assert_eq!(
        request.headers,
        [(
            "content-type".to_owned(),
            format!("multipart/form-data; boundary={boundary}")
        )]
    );
    assert_eq!(
        String::from_utf8_lossy(&request.body),
        format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"event\"\r\n\r\n1\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\nk&1\r\n\
             --{boundary}--\r\n"
        )
    );

    let program = r#"{
        "url": "https://a.example.com/", "encoding": "xml",
        "body": "<k>{{secret.key}}</k><e>" + encode_xml_text(string!(.event.x)) + "</e>"
    }"#;
    let files = [("destination.toml", SECRETIVE), ("event.vrl", program)];
    let mut xml = transformer(&files, json!({"key": "k&1"}), None, None);
    let event = r#"{"type":"track","x":"</e><!\"'\u0000\t"}"#;
    let request = sent(&mut xml, event);
    assert_eq!(
        request.headers,
        [("content-type".to_owned(), "application/xml".to_owned())]
    );
    assert_eq!(
        String::from_utf8_lossy(&request.body),
        "<k>k&amp;1</k><e>&lt;/e&gt;&lt;!&quot;&apos;&#9;</e>"
    );
}

const OBJECTS: &str = r#"
name = "T"
category = "t"
sender = "object_storage"
hosts = ["s3://{{settings.bucket}}"]
[settings.bucket]
type = "string"
required = true
help = "h"
[settings.key]
type = "string"
secret = true
help = "h"
[settings.token]
type = "string"
secret = true
help = "h"
[options]
aws_secret_access_key = "{{secret.key}}"
aws_session_token = "{{secret.token}}"
aws_region = "eu-{{settings.bucket}}"
"#;

fn objects(settings: serde_json::Value) -> Result<Transformer, Error> {
    let program = r#"
        name = .record.source + "-" + .record.connection + "-" + .record.lane
        key = string(.event.at) ?? name + "-" + to_string(.record.offset)
        {"method": "PUT", "url": "s3://" + .settings.bucket + "/" + key, "body": .event}
    "#;
    let files = [("destination.toml", OBJECTS), ("event.vrl", program)];
    let definition = Arc::new(Definition::load(folder("test", &files)).unwrap());
    let raw: model::Settings = serde_json::from_value(settings).unwrap();
    let checked = definition.check_settings(&raw).unwrap();
    Transformer::new(definition, checked, &[], None, None)
}

#[test]
fn another_sender_gets_its_options_and_a_program_its_record() {
    let mut transformer = objects(json!({"bucket": "b", "key": "very-secret"})).unwrap();
    let request = sent(&mut transformer, "{}");
    assert_eq!(request.url, "s3://b/source-connection-live-0");
    let options: Vec<_> = request.options.iter().collect();
    assert_eq!(
        options,
        [
            ("aws_region", "eu-b"),
            ("aws_secret_access_key", "very-secret")
        ]
    );
    let shown = format!("{request:?} {:?}", request.options);
    assert!(
        !shown.contains("very-secret") && !shown.contains("eu-b"),
        "{shown}"
    );
    let origin = Origin {
        source: "web",
        connection: "web-s3",
        lane: "replay-7",
        offset: 42,
    };
    let Planned::Send { requests, .. } = transformer.event(&"{}".into(), false, origin) else {
        panic!("no request");
    };
    let request = transformer.finish(&requests[0], stamp("m", 0));
    assert_eq!(request.url, "s3://b/web-web-s3-replay-7-42");
}

#[test]
fn another_senders_requests_stay_in_their_bucket() {
    let mut transformer = objects(json!({"bucket": "b"})).unwrap();
    for at in ["../x", "a/../../x", "%2e%2e/x", "a\\..\\x"] {
        let event = json!({ "at": at }).to_string();
        assert!(
            matches!(
                planned(&mut transformer, &event),
                Planned::Rejected(RejectReason::BadRequest, _)
            ),
            "{at}"
        );
    }
    // The bucket's own characters end no host: what is no host is refused before anything is sent.
    for bucket in ["b/../c", "b@c", "b?c", "b c", "b/c"] {
        assert!(objects(json!({ "bucket": bucket })).is_err(), "{bucket}");
    }
}

#[test]
fn a_batch_is_larger_than_what_a_program_may_hold() {
    let toml = "name = \"T\"\ncategory = \"t\"\nhosts = [\"a.example.com\"]\n\
        [batch]\nevents_max = 10000\nbytes_max = 8000000\nwait_ms = 1\n";
    let files = [
        ("destination.toml", toml),
        (
            "event.vrl",
            r#"{"entry": encode_json(.event), "first": .event.n}"#,
        ),
        (
            "batch.vrl",
            r#"{"url": "https://a.example.com/" + (to_string(.first) ?? ""), "entries": true,
                "encoding": "lines", "gzip": true}"#,
        ),
    ];
    let mut transformer = transformer(&files, json!({}), None, None);
    let entries: Vec<Entry> = (7..10_007)
        .map(|n| {
            let event = json!({"n": n, "text": "x".repeat(700)}).to_string();
            match planned(&mut transformer, &event) {
                Planned::Entry(entry) => entry,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    let Planned::Send { requests, .. } = transformer.batch(entries) else {
        panic!("no request");
    };
    assert_eq!(requests[0].url, "https://a.example.com/7");
    let lines = std::str::from_utf8(requests[0].body.bytes()).unwrap();
    assert_eq!(lines.lines().count(), 10_000);
    let request = transformer.finish(&requests[0], stamp("m", 0));
    let encoding = ("content-encoding".to_owned(), "gzip".to_owned());
    assert!(request.headers.contains(&encoding) && !request.compress);
    assert!(request.body.len() < lines.len() / 10);
}

#[test]
fn programs_may_have_the_events_own_json() {
    let toml = "name = \"T\"\ncategory = \"t\"\nhosts = [\"a.example.com\"]\n\
                steps = [\"event.vrl\", \"later.vrl\"]\n";
    let first = r#"
        del(.event.z)
        {"requests": [], "state": join(map_values(json_entries(.event_json)) -> |e| { string(e.key) ?? "" }, " ") ?? ""}
    "#;
    let later =
        r#"{"url": "https://a.example.com/", "body": {"first": .state, "now": .event_json}}"#;
    let files = [
        ("destination.toml", toml),
        ("event.vrl", first),
        ("later.vrl", later),
    ];
    let body = |transform: Option<&str>, event: &str| {
        let mut transformer = transformer(&files, json!({}), None, transform);
        let body = sent(&mut transformer, event).body;
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()
    };
    let event = r#"{"z":1.50,"type":"track","a":"\ud83d"}"#;
    // As it came, whatever a program does to its copy; half an emoji is mended, as everywhere.
    assert_eq!(
        body(None, event),
        json!({"first": "z type a", "now": r#"{"z":1.50,"type":"track","a":"\ufffd"}"#})
    );
    // What a connection's transform made of it has no order of its own.
    assert_eq!(
        body(Some(".b = 1"), r#"{"z":1,"type":"track","a":2}"#),
        json!({"first": "a b type z", "now": r#"{"a":2,"b":1,"type":"track","z":1}"#})
    );
    let change = [
        ("destination.toml", toml),
        ("event.vrl", ".event_json = \"x\"\nnull"),
        ("later.vrl", "null"),
    ];
    let definition = Definition::load(folder("test", &change)).unwrap();
    let told = definition.compile().unwrap_err().to_string();
    assert!(told.contains("read-only"), "{told}");
}
