//! Events in, events as the log keeps them.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

const TRACK: BodyKind = BodyKind::Event(EventType::Track);
const SERVER: Client = Client {
    ip: IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7)),
    client_side: false,
};
const BROWSER: Client = Client {
    client_side: true,
    ..SERVER
};

/// Every event of a body, one a line: its bytes, or why it is discarded.
fn canonical(body: &str, kind: BodyKind, client: Client) -> Vec<Result<(String, Facts), Discard>> {
    let shape = Shape::parse(body, kind, 1_000, 2_500).unwrap();
    let text = shape.mend(body);
    // 2026-11-23T10:00:00.000Z
    let now = UnixMillis(1_795_428_000_000);
    let mut canonical = Canonical::new(&text, &shape, kind, SourceId(1), now, client, || {
        Uuid::nil()
    });
    let event = |(index, event): (usize, &EventShape)| {
        let mut out = Vec::new();
        let facts = canonical.write(index, event, &shape, &mut out)?;
        Ok((String::from_utf8(out).unwrap(), facts))
    };
    shape.events.iter().enumerate().map(event).collect()
}

fn check_as(body: &str, kind: BodyKind, client: Client, expected: Expect) {
    let lines: Vec<_> = canonical(body, kind, client)
        .into_iter()
        .map(|event| match event {
            Ok((text, _)) => {
                serde_json::from_str::<Value>(&text).expect("canonical events are JSON");
                text
            }
            Err(discard) => format!("discarded: {}", discard.as_str()),
        })
        .collect();
    expected.assert_eq(&lines.join("\n"));
}

fn check(body: &str, expected: Expect) {
    check_as(body, BodyKind::Batch, SERVER, expected);
}

#[test]
fn the_clients_members_stay_and_ours_follow() {
    check_as(
        r#"{ "userId" : "u1", "event":"Order Completed", "properties": {"a": [1, 2.50]},
             "messageId":"m1", "writeKey":"secret", "_metadata":{"nodeVersion":"24"},
             "anonymousId": null, "type":"identify", "receivedAt":"never" }"#,
        TRACK,
        SERVER,
        expect![[
            r#"{"userId":"u1","event":"Order Completed","properties":{"a": [1, 2.50]},"_metadata":{"nodeVersion":"24"},"anonymousId":null,"type":"track","messageId":"m1","originalTimestamp":"2026-11-23T10:00:00.000Z","timestamp":"2026-11-23T10:00:00.000Z","sentAt":"2026-11-23T10:00:00.000Z","receivedAt":"2026-11-23T10:00:00.000Z"}"#
        ]],
    );
}

#[test]
fn what_breaks_the_contract_is_discarded_alone() {
    check(
        r#"{"batch":[
            {"type":"track","userId":"u","event":"ok","messageId":"1"},
            {"userId":"u","event":"e"}, {"type":"trak","userId":"u"}, {"type":7,"userId":"u"},
            {"type":"page"}, {"type":"page","userId":null,"anonymousId":""},
            {"type":"track","userId":"u"}, {"type":"track","userId":"u","event":""},
            {"type":"track","userId":"u","event":7},
            "event", null, [1],
            {"type":"identify","userId":42,"messageId":43}]}"#,
        expect![[r#"
            {"userId":"u","event":"ok","type":"track","messageId":"1","originalTimestamp":"2026-11-23T10:00:00.000Z","timestamp":"2026-11-23T10:00:00.000Z","sentAt":"2026-11-23T10:00:00.000Z","receivedAt":"2026-11-23T10:00:00.000Z"}
            discarded: no_type
            discarded: no_type
            discarded: no_type
            discarded: no_identity
            discarded: no_identity
            discarded: no_event_name
            discarded: no_event_name
            discarded: no_event_name
            discarded: not_an_object
            discarded: not_an_object
            discarded: not_an_object
            {"userId":42,"type":"identify","messageId":"43","originalTimestamp":"2026-11-23T10:00:00.000Z","timestamp":"2026-11-23T10:00:00.000Z","sentAt":"2026-11-23T10:00:00.000Z","receivedAt":"2026-11-23T10:00:00.000Z"}"#]],
    );
}

#[test]
fn an_event_of_more_than_32_kib_is_discarded_alone() {
    let event = |padding: usize| {
        format!(
            r#"{{"type":"page","userId":"u","messageId":"m","p":"{}"}}"#,
            "x".repeat(padding)
        )
    };
    let room = EVENT_BYTES_MAX - event(0).len();
    let body = format!(r#"{{"batch":[{},{}]}}"#, event(room), event(room + 1));
    let events = canonical(&body, BodyKind::Batch, SERVER);
    assert!(events[0].is_ok());
    assert_eq!(events[1].as_ref().unwrap_err(), &Discard::EventTooLarge);
}

#[test]
fn the_clients_clock_is_corrected() {
    let times = |members: &str, batch: &str| {
        let body = format!(r#"{{"batch":[{{"type":"page","userId":"u"{members}}}]{batch}}}"#);
        let (text, _) = canonical(&body, BodyKind::Batch, SERVER).remove(0).unwrap();
        let event: Value = serde_json::from_str(&text).unwrap();
        let time = |name: &str| event[name].to_string().replace('"', "");
        format!(
            "{} {} {}",
            time("originalTimestamp"),
            time("sentAt"),
            time("timestamp")
        )
    };
    let rows = [
        // An hour fast, five seconds before it was sent.
        times(
            r#","timestamp":"2026-11-23T10:59:55Z""#,
            r#","sentAt":"2026-11-23T11:00:00.000Z""#,
        ),
        // Its own sentAt stands before the batch's.
        times(
            r#","timestamp":"2026-11-23T09:00:00Z","sentAt":"2026-11-23T09:00:01Z""#,
            r#","sentAt":"2026-11-23T11:00:00.000Z""#,
        ),
        times(r#","timestamp":"2026-11-23T11:00:00.123456+02:00""#, ""),
        times("", r#","sentAt":"2026-11-23T11:00:00.000Z""#),
        times("", ""),
        times(r#","timestamp":"soon""#, r#","sentAt":"later""#),
        times(
            r#","timestamp":null,"originalTimestamp":"2026-11-23T08:00:00Z""#,
            "",
        ),
        times(r#","timestamp":1795424400"#, ""),
        times(r#","timestamp":1795424400123"#, ""),
        times(r#","timestamp":"1970-01-01""#, r#","sentAt":"9999-12-31""#),
    ];
    expect![[r#"
        2026-11-23T10:59:55Z 2026-11-23T11:00:00.000Z 2026-11-23T09:59:55.000Z
        2026-11-23T09:00:00Z 2026-11-23T09:00:01Z 2026-11-23T09:59:59.000Z
        2026-11-23T11:00:00.123456+02:00 2026-11-23T10:00:00.000Z 2026-11-23T09:00:00.123Z
        2026-11-23T11:00:00.000Z 2026-11-23T11:00:00.000Z 2026-11-23T10:00:00.000Z
        2026-11-23T10:00:00.000Z 2026-11-23T10:00:00.000Z 2026-11-23T10:00:00.000Z
        soon 2026-11-23T10:00:00.000Z 2026-11-23T10:00:00.000Z
        2026-11-23T08:00:00Z 2026-11-23T10:00:00.000Z 2026-11-23T08:00:00.000Z
        1795424400 2026-11-23T10:00:00.000Z 2026-11-23T09:00:00.000Z
        1795424400123 2026-11-23T10:00:00.000Z 2026-11-23T09:00:00.123Z
        1970-01-01 9999-12-31 1970-01-01T00:00:00.000Z"#]]
    .assert_eq(&rows.join("\n"));
}

/// One member of every event of a body.
fn check_member(name: &str, body: &str, client: Client, expected: Expect) {
    let lines: Vec<_> = canonical(body, BodyKind::Batch, client)
        .into_iter()
        .map(|event| {
            let (text, facts) = event.unwrap();
            let event: Map<String, Value> = serde_json::from_str(&text).unwrap();
            let member = event
                .get(name)
                .map_or_else(|| "absent".to_owned(), Value::to_string);
            if name == "integrations" {
                format!("{member} {}", facts.has_integrations)
            } else {
                member
            }
        })
        .collect();
    expected.assert_eq(&lines.join("\n"));
}

const CONTEXTS: &str = r#"[
    {"type":"page","userId":"u"},
    {"type":"page","userId":"u","context":null},
    {"type":"page","userId":"u","context":{"locale":"de","ip":"1.2.3.4"}},
    {"type":"page","userId":"u","context":{"ip":null,"library":{"name":"own"}}},
    {"type":"page","userId":"u","context":{"direct":true}},
    {"type":"page","userId":"u","context":{"direct":false,"page":{"direct":true}}}]"#;

#[test]
fn context_is_merged_key_by_key_and_the_events_own_wins() {
    check_member(
        "context",
        &format!(
            r#"{{"batch":{CONTEXTS},"context":{{"library":{{"name":"lib"}},"l\u006fcale":"en"}}}}"#
        ),
        SERVER,
        expect![[r#"
            {"library":{"name":"lib"},"locale":"en"}
            {"library":{"name":"lib"},"locale":"en"}
            {"ip":"1.2.3.4","library":{"name":"lib"},"locale":"de"}
            {"ip":null,"library":{"name":"own"},"locale":"en"}
            {"direct":true,"ip":"203.0.113.7","library":{"name":"lib"},"locale":"en"}
            {"direct":false,"library":{"name":"lib"},"locale":"en","page":{"direct":true}}"#]],
    );
}

#[test]
fn a_client_that_looks_like_one_gets_its_address() {
    check_member(
        "context",
        &format!(r#"{{"batch":{CONTEXTS}}}"#),
        BROWSER,
        expect![[r#"
            {"ip":"203.0.113.7"}
            {"ip":"203.0.113.7"}
            {"ip":"1.2.3.4","locale":"de"}
            {"ip":"203.0.113.7","library":{"name":"own"}}
            {"direct":true,"ip":"203.0.113.7"}
            {"direct":false,"ip":"203.0.113.7","page":{"direct":true}}"#]],
    );
    check_member(
        "context",
        r#"{"batch":[{"type":"page","userId":"u"}],"context":{"ip":"9.9.9.9"}}"#,
        BROWSER,
        expect![[r#"{"ip":"9.9.9.9"}"#]],
    );
}

#[test]
fn integrations_are_merged_and_flagged() {
    let events = r#"[
        {"type":"page","userId":"u"},
        {"type":"page","userId":"u","integrations":null},
        {"type":"page","userId":"u","integrations":{}},
        {"type":"page","userId":"u","integrations":{ }},
        {"type":"page","userId":"u","integrations":{"All":true}},
        {"type":"page","userId":"u","integrations":true}]"#;
    check_member(
        "integrations",
        &format!(r#"{{"batch":{events}}}"#),
        SERVER,
        expect![[r#"
            absent false
            absent false
            {} false
            {} false
            {"All":true} true
            true false"#]],
    );
    check_member(
        "integrations",
        &format!(r#"{{"batch":{events},"integrations":{{"All":false,"Slack":true}}}}"#),
        SERVER,
        expect![[r#"
            {"All":false,"Slack":true} true
            {"All":false,"Slack":true} true
            {"All":false,"Slack":true} true
            {"All":false,"Slack":true} true
            {"All":true,"Slack":true} true
            true false"#]],
    );
}

#[test]
fn an_event_without_an_id_gets_one_of_its_own() {
    check_member(
        "messageId",
        r#"{"batch":[{"type":"page","userId":"u"},{"type":"page","userId":"u","messageId":""},
                     {"type":"page","userId":"u","messageId":{}},
                     {"type":"page","userId":"u","messageId":"a\u0062c"}]}"#,
        SERVER,
        expect![[r#"
            "fairlane-00000000-0000-0000-0000-000000000000-0"
            "fairlane-00000000-0000-0000-0000-000000000000-1"
            "fairlane-00000000-0000-0000-0000-000000000000-2"
            "abc""#]],
    );
    let body = r#"{"batch":[{"type":"page","userId":"u","messageId":"a\u0062c"},
                            {"type":"page","userId":"u","messageId":"abc"}]}"#;
    let events = canonical(body, BodyKind::Batch, SERVER);
    let hash = |index: usize| events[index].as_ref().unwrap().1.message_hash;
    assert_eq!(
        hash(0),
        hash(1),
        "however an id is escaped, it is the same id"
    );
}

const RESERVED: [&str; 9] = [
    "type",
    "messageId",
    "context",
    "integrations",
    "timestamp",
    "originalTimestamp",
    "sentAt",
    "receivedAt",
    "writeKey",
];

fn arbitrary_members() -> impl Strategy<Value = Vec<(String, Value)>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    let key = prop_oneof![
        4 => any::<String>(),
        1 => prop::sample::select(&RESERVED[..]).prop_map(str::to_owned),
        1 => Just("properties".to_owned()),
    ];
    prop::collection::vec((key, value), 0..12)
}

proptest! {
    /// Whatever a client sends, its own members come out as they went in, and ours are sound.
    #[test]
    fn no_member_is_lost(members in arbitrary_members(), client_side in any::<bool>()) {
        let text = |(key, value): &(String, Value)| {
            format!("{}: {value}", Value::from(key.clone()))
        };
        let mut parts: Vec<_> = members.iter().map(text).collect();
        parts.push(r#""userId":"u""#.to_owned());
        let body = format!("{{ {} }}", parts.join(" , "));
        let kind = BodyKind::Event(EventType::Page);
        let client = Client { client_side, ..SERVER };
        let (out, _) = canonical(&body, kind, client).remove(0).unwrap();
        let out: Map<String, Value> = serde_json::from_str(&out).unwrap();

        let sent: Map<String, Value> = serde_json::from_str(&body).unwrap();
        for (key, value) in &sent {
            if !RESERVED.contains(&key.as_str()) {
                prop_assert_eq!(out.get(key), Some(value), "{}", key);
            }
        }
        prop_assert_eq!(&out["type"], "page");
        prop_assert!(out["messageId"].is_string());
        prop_assert!(!out.contains_key("writeKey"));
        for time in ["timestamp", "receivedAt"] {
            prop_assert!(rfc3339::parse(out[time].as_str().unwrap()).is_some());
        }
        if let (Some(Value::Object(sent)), Some(out)) = (sent.get("context"), out.get("context")) {
            for (key, value) in sent {
                if key != "ip" {
                    prop_assert_eq!(&out[key], value);
                }
            }
        }
    }
}
