//! Each endpoint, each way to say the write key, each answer of the contract.

use std::io::Write;

use base64::Engine;
use expect_test::expect;
use flate2::Compression;
use flate2::write::GzEncoder;
use ingest::{Discard, Label, SourceTable};
use model::SourceId;
use serde_json::json;

use crate::support::{SUCCESS, Server, basic, registry};

#[test]
fn every_call_arrives_with_the_type_of_its_path() {
    let server = Server::start();
    let body = r#"{"userId":"u","event":"e"}"#;
    for path in [
        "track", "identify", "page", "screen", "group", "alias", "t", "i", "p", "s", "g", "a",
        "track/", "t/",
    ] {
        assert_eq!(
            server.post(&format!("/v1/{path}"), body).summary(),
            SUCCESS,
            "{path}"
        );
    }
    let types: Vec<_> = server
        .events()
        .iter()
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect();
    expect![
        "track identify page screen group alias track identify page screen group alias track track"
    ]
    .assert_eq(&types.join(" "));
    assert_eq!(server.ingest.stats().accepted(), [(SourceId(1), 14)]);
    assert_eq!(server.ingest.stats().requests(), [(Label::Event, 200, 14)]);
    assert_eq!(
        server
            .ingest
            .stats()
            .ack_latency()
            .buckets
            .iter()
            .sum::<u64>(),
        14
    );
}

#[test]
fn every_batch_path_takes_batches_of_any_content_type() {
    let server = Server::start();
    for (n, path) in [
        "/v1/batch",
        "//v1/batch",
        "/v1/b",
        "/v1/import",
        "/v1/import/",
        "/v1/batch/",
    ]
    .iter()
    .enumerate()
    {
        let body = format!(
            r#"{{"batch":[{{"type":"track","event":"e","userId":"u","messageId":"{n}a"}},
                          {{"type":"page","anonymousId":"a","userId":null,"messageId":"{n}b"}}],
                "sentAt":"2026-11-23T10:00:00Z","context":{{"library":{{"name":"lib"}}}}}}"#
        );
        let headers = [&basic("key"), "Content-Type: text/plain;charset=UTF-8"];
        assert_eq!(
            server
                .send("POST", path, &headers, body.as_bytes())
                .summary(),
            SUCCESS
        );
    }
    let events = server.events();
    assert_eq!(events.len(), 12);
    assert_eq!(
        events[0]["context"],
        json!({"library": {"name": "lib"}}),
        "a server's batch"
    );
    assert_eq!(
        events[4]["context"],
        json!({"library": {"name": "lib"}, "ip": "127.0.0.1"}),
        "/v1/b is a browser's or a phone's"
    );
}

#[test]
fn the_write_key_is_found_wherever_it_is() {
    let server = Server::start();
    let with = |headers: &[&str], body: &str| {
        let before = server.records().len();
        assert_eq!(
            server
                .send("POST", "/v1/page", headers, body.as_bytes())
                .summary(),
            SUCCESS
        );
        let records = server.records();
        assert!(records.len() <= before + 1);
        let (source, event) = records.get(before).cloned()?;
        assert!(event.get("writeKey").is_none());
        Some((source.0, event["context"]["ip"].is_string()))
    };
    let anonymous = r#"{"userId":"u"}"#;
    let keyed = r#"{"userId":"u","writeKey":"key"}"#;
    let other = r#"{"userId":"u","writeKey":"other"}"#;
    assert_eq!(
        with(&[&basic("key")], anonymous),
        Some((1, false)),
        "a server"
    );
    assert_eq!(
        with(&["Authorization: Basic a2V5"], anonymous),
        Some((1, false)),
        "no colon"
    );
    assert_eq!(with(&[], keyed), Some((1, true)), "no header: a client");
    assert_eq!(
        with(&["Authorization: Bearer other"], keyed),
        Some((2, false))
    );
    assert_eq!(
        with(&["Authorization: Bearer ey.token"], keyed),
        Some((1, false))
    );
    assert_eq!(
        with(&[&basic("key")], other),
        Some((1, false)),
        "the header first"
    );
    assert_eq!(with(&[&basic("nobody")], other), Some((2, false)));
    assert_eq!(with(&[&basic("nobody")], anonymous), None);
    assert_eq!(with(&[], r#"{"userId":"u","writeKey":""}"#), None);
    assert_eq!(with(&[], r#"{"userId":"u","writeKey":7}"#), None);
    assert_eq!(with(&[&basic("off")], anonymous), None);
    let stats = server.ingest.stats();
    assert_eq!(stats.discarded(Discard::UnknownWriteKey), 1);
    assert_eq!(stats.discarded(Discard::NoWriteKey), 2);
    assert_eq!(stats.discarded(Discard::SourceDisabled), 1);
    assert_eq!(stats.accepted(), [(SourceId(1), 5), (SourceId(2), 2)]);
}

#[test]
fn sources_change_while_it_runs() {
    let server = Server::start();
    let mut changed = registry();
    changed.sources[2].enabled = true;
    server
        .sources
        .store(SourceTable::from_registry(&changed).into());
    server.send("POST", "/v1/page", &[&basic("off")], br#"{"userId":"u"}"#);
    assert_eq!(server.records()[0].0, SourceId(3));
}

#[test]
fn gzip_is_taken() {
    let server = Server::start();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(br#"{"batch":[{"type":"page","userId":"u"}],"writeKey":"key"}"#)
        .unwrap();
    let body = encoder.finish().unwrap();
    let headers = ["Content-Type: text/plain", "Content-Encoding: gzip"];
    assert_eq!(
        server.send("POST", "/v1/b", &headers, &body).summary(),
        SUCCESS
    );
    assert_eq!(server.events().len(), 1);
    let reply = server.send("POST", "/v1/b", &["Content-Encoding: br"], &body);
    assert_eq!(reply.summary(), "415 unknown_encoding");
    let reply = server.send("POST", "/v1/b", &["Content-Encoding: gzip"], b"{}");
    assert_eq!(reply.summary(), "400 invalid_gzip");
}

#[test]
fn metrics_are_accepted_and_not_kept() {
    let server = Server::start();
    let body = r#"{"series":[{"type":"Counter","metric":"m","value":1,"tags":{}}]}"#;
    assert_eq!(
        server.send("POST", "/v1/m", &[], body.as_bytes()).summary(),
        SUCCESS
    );
    assert_eq!(server.events().len(), 0);
    assert_eq!(server.ingest.stats().requests(), [(Label::Metrics, 200, 1)]);
}

#[test]
fn a_pixel_is_always_an_image() {
    let server = Server::start();
    let data = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(r#"{"writeKey":"key","userId":"u1","event":"Opened","properties":{"n":1}}"#);
    for path in [
        &format!("/v1/pixel/track?data={data}"),
        "/v1/pixel/track/?writeKey=key&userId=u2&event=Opened&properties.subject=a%20b",
        "/v1/pixel/track?data=%%%",
        "/v1/pixel/track",
        "/v1/pixel/track?writeKey=nobody&userId=u&event=e",
        "/v1/pixel/track?writeKey=key&userId=u",
    ] {
        let reply = server.send("GET", path, &[], b"");
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), Some("image/gif"));
        assert!(
            reply.body.starts_with(b"GIF89a") && reply.body.len() == 42,
            "{}",
            reply.body.len()
        );
    }
    let events = server.events();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["properties"], json!({"n": 1}));
    assert_eq!(events[0]["context"], json!({"ip": "127.0.0.1"}));
    assert_eq!(events[1]["properties"], json!({"subject": "a b"}));
    let stats = server.ingest.stats();
    assert_eq!(stats.discarded(Discard::BadPixel), 2);
    assert_eq!(stats.discarded(Discard::UnknownWriteKey), 1);
    assert_eq!(stats.discarded(Discard::NoEventName), 1);
    let reply = server.send("GET", "/v1/pixel/paint", &[], b"");
    assert_eq!(reply.summary(), "404 not_found");
}

#[test]
fn a_browser_finds_its_settings() {
    let server = Server::start();
    let reply = server.send("GET", "/v1/projects/key/settings", &[], b"");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let own = &reply.json()["integrations"]["Segment.io"];
    assert_eq!(own["apiKey"], "key");
    assert_eq!(own["apiHost"], "t.example:80/v1");
    assert_eq!(own["protocol"], "http");
    let proxied = ["X-Forwarded-Proto: https"];
    let reply = server.send("GET", "/v1/projects/key/settings/", &proxied, b"");
    assert_eq!(
        reply.json()["integrations"]["Segment.io"]["protocol"],
        "https"
    );
    let reply = server.send("GET", "/v1/projects/nobody/settings", &[], b"");
    assert_eq!(reply.summary(), "404 no_such_source");
}

#[test]
fn a_browser_may() {
    let server = Server::start();
    for path in ["/v1/t", "/v1/batch", "/anything"] {
        let headers = [
            "Origin: https://shop.example",
            "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: authorization,content-type,x-retry-count",
        ];
        let reply = server.send("OPTIONS", path, &headers, b"");
        assert_eq!(reply.status, 204);
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!(
            reply.header("access-control-allow-methods"),
            Some("get, post, options")
        );
        let allowed = reply.header("access-control-allow-headers").unwrap();
        for header in ["authorization", "content-type", "x-retry-count", "*"] {
            assert!(allowed.contains(header));
        }
        assert_eq!(reply.header("access-control-max-age"), Some("86400"));
    }
    let reply = server.post("/v1/t", "{");
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("*"),
        "on errors too"
    );
    assert!(
        reply
            .header("access-control-expose-headers")
            .unwrap()
            .contains("retry-after")
    );
}

#[test]
fn paths_and_methods_that_are_none() {
    let server = Server::start();
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/track",
        "/v1/tracks",
        "/v1/projects//settings",
        "/v1/x",
    ] {
        assert_eq!(server.post(path, "{}").summary(), "404 not_found", "{path}");
    }
    let allow = |method: &str, path: &str| {
        let mut client = server.connect();
        client.write(format!("{method} {path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes());
        client.0.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = String::new();
        std::io::Read::read_to_string(&mut client.0, &mut all).unwrap();
        let all = all.to_ascii_lowercase();
        let status = all.split(' ').nth(1).unwrap().to_owned();
        let allow = all.lines().find_map(|line| line.strip_prefix("allow: "));
        format!("{status} {}", allow.unwrap_or_default())
    };
    assert_eq!(allow("GET", "/v1/track"), "405 post, options");
    assert_eq!(allow("HEAD", "/v1/batch"), "405 post, options");
    assert_eq!(allow("DELETE", "/v1/m"), "405 post, options");
    assert_eq!(allow("PUT", "/health"), "405 get, head, options");
    assert_eq!(allow("PUT", "/v1/pixel/track"), "405 get, head, options");
}

#[test]
fn head_is_get_without_a_body_and_takes_no_event() {
    let server = Server::start();
    for (path, status) in [
        ("/health", 200),
        ("/ready", 200),
        ("/v1/projects/key/settings", 200),
        ("/v1/projects/nobody/settings", 404),
        ("/v1/pixel/track?writeKey=key&userId=u&event=e", 200),
    ] {
        let mut client = server.connect();
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        client.write(head.as_bytes());
        let mut all = String::new();
        std::io::Read::read_to_string(&mut client.0, &mut all).unwrap();
        assert!(all.starts_with(&format!("HTTP/1.1 {status} ")), "{all}");
        assert!(all.ends_with("\r\n\r\n"), "no body: {all}");
    }
    assert_eq!(server.events().len(), 0);
}

#[test]
fn health_is_at_once_and_ready_when_told() {
    let server = Server::start();
    assert_eq!(
        server.send("GET", "/health", &[], b"").summary(),
        r#"200 {"status":"alive"}"#
    );
    assert_eq!(
        server.send("GET", "/ready", &[], b"").summary(),
        r#"200 {"status":"ready"}"#
    );
    server.ingest.set_ready(false);
    let reply = server.send("GET", "/ready", &[], b"");
    assert_eq!(reply.summary(), "503 not_ready");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(
        server.post("/v1/page", r#"{"userId":"u"}"#).summary(),
        SUCCESS
    );
}

#[test]
fn the_rest_of_a_batch_is_accepted() {
    let server = Server::start();
    let body = r#"{"batch":[{"type":"page","userId":"u"},{"type":"page"},5,{"type":"x","userId":"u"},
                            {"type":"track","userId":"u"},{"type":"group","userId":"u","groupId":"g"}]}"#;
    assert_eq!(server.post("/v1/batch", body).summary(), SUCCESS);
    let stats = server.ingest.stats();
    assert_eq!(stats.accepted(), [(SourceId(1), 2)]);
    for reason in [
        Discard::NoIdentity,
        Discard::NotAnObject,
        Discard::NoType,
        Discard::NoEventName,
    ] {
        assert_eq!(stats.discarded(reason), 1, "{reason:?}");
    }
    assert_eq!(
        server.post("/v1/batch", r#"{"batch":[]}"#).summary(),
        SUCCESS
    );
}

#[test]
fn a_batch_of_2500_is_taken_and_one_of_2501_discarded() {
    let server = Server::start();
    let batch = |events: usize| {
        let event = r#"{"type":"page","userId":"u"}"#;
        format!(r#"{{"batch":[{}]}}"#, vec![event; events].join(","))
    };
    assert_eq!(server.post("/v1/batch", &batch(2_501)).summary(), SUCCESS);
    assert_eq!(
        server.ingest.stats().discarded(Discard::BatchTooLong),
        2_501
    );
    assert_eq!(server.post("/v1/batch", &batch(2_500)).summary(), SUCCESS);
    assert_eq!(server.ingest.stats().accepted(), [(SourceId(1), 2_500)]);
}

#[test]
fn connections_are_kept_and_requests_may_be_pipelined() {
    let server = Server::start();
    let mut client = server.connect();
    let body = r#"{"userId":"u"}"#;
    let request = format!(
        "POST /v1/page HTTP/1.1\r\nHost: t\r\n{}\r\nContent-Length: {}\r\n\r\n{body}",
        basic("key"),
        body.len()
    );
    client.write(request.repeat(20).as_bytes());
    for _ in 0..20 {
        assert_eq!(client.reply().summary(), SUCCESS);
    }
    assert_eq!(server.events().len(), 20);
    assert_eq!(server.ingest.connections(), 1);
}
