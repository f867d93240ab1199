//! Over real sockets, spoken by hand: what is sent is what stands here.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};
use model::Secret;

use crate::access::Access;
use crate::routes::ROUTES;
use crate::routes::fixture::{Fake, lane};
use crate::{Admin, Options, start};

const TOKEN: &str = "correct-horse-battery-staple";

struct Running {
    admin: Admin,
    fake: Arc<Fake>,
}

fn run(options: Options, fake: Fake) -> Running {
    let fake = Arc::new(fake);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let admin = start(options, listener, Arc::clone(&fake) as _).unwrap();
    Running { admin, fake }
}

fn some_lanes() -> Fake {
    Fake {
        lanes: vec![lane(2, "web:crm"), lane(1, "app:crm")],
        ..Fake::default()
    }
}

impl Running {
    /// Sends `head` (request line and headers) and `body`; the whole answer as text.
    fn send(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.admin.local_addr()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let length = body.len();
        let request =
            format!("{head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Status and body of a request from this machine without a token.
    fn ask(&self, line: &str, body: &str) -> String {
        let answer = self.send(&format!("{line} HTTP/1.1\r\nhost: localhost"), body);
        let status = answer.get(9..12).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        format!("{status} {body}")
    }

    fn check(&self, line: &str, body: &str, want: Expect) {
        want.assert_eq(&self.ask(line, body));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.fake.asked.lock().unwrap())
    }
}

#[test]
fn no_guarded_route_answers_without_the_token() {
    let options = Options {
        token: Some(Secret::new(TOKEN)),
        ..Options::default()
    };
    let running = run(options, some_lanes());
    let basic = "\r\nauthorization: Basic d3JpdGUta2V5Og==";
    let wrong = "\r\nauthorization: Bearer write-key";
    for route in ROUTES {
        let line = format!(
            "{} {} HTTP/1.1\r\nhost: localhost",
            route.verb.as_str(),
            route.path
        );
        let line = line.replace(['{', '}'], "");
        for credentials in ["", basic, wrong] {
            let answer = running.send(&format!("{line}{credentials}"), "{}");
            let refused = answer.starts_with("HTTP/1.1 401");
            assert_eq!(refused, route.access == Access::Guarded, "{line}: {answer}");
        }
    }
    assert_eq!(
        running.asked(),
        Vec::<String>::new(),
        "nothing was asked of the program"
    );
    let hidden = running.send("GET /v1/none HTTP/1.1\r\nhost: localhost", "");
    assert!(
        hidden.starts_with("HTTP/1.1 401"),
        "not even which paths there are: {hidden}"
    );
    let head = format!("GET /v1/status HTTP/1.1\r\nhost: far\r\nauthorization: Bearer {TOKEN}");
    assert!(running.send(&head, "").starts_with("HTTP/1.1 200"));
    running.admin.shutdown();
}

#[test]
fn without_a_token_no_other_host_name_is_served() {
    let running = run(Options::default(), some_lanes());
    for route in ROUTES
        .iter()
        .filter(|route| route.access == Access::Guarded)
    {
        let line = format!(
            "{} {} HTTP/1.1\r\nhost: evil.example",
            route.verb.as_str(),
            route.path
        );
        let answer = running.send(&line.replace(['{', '}'], ""), "{}");
        assert!(answer.starts_with("HTTP/1.1 403"), "{line}: {answer}");
    }
    assert_eq!(running.asked(), Vec::<String>::new());
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let running = run(Options::default(), some_lanes());
    for header in ["sec-fetch-site: cross-site", "origin: https://evil.example"] {
        let head = format!("POST /v1/lanes/web:crm/hold HTTP/1.1\r\nhost: localhost\r\n{header}");
        let answer = running.send(&head, "");
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
    assert_eq!(running.asked(), Vec::<String>::new());
}

#[test]
fn lanes_are_listed_in_pages_and_steered() {
    let running = run(Options::default(), some_lanes());
    let first = running.ask("GET /v1/lanes?limit=1", "");
    assert!(first.contains("\"connection\":\"app:crm\"") && !first.contains("\"web:crm\""));
    assert!(
        first.contains("\"next\":\"app:crm\"") && first.contains("\"total\":2"),
        "{first}"
    );
    let second = running.ask("GET /v1/lanes?limit=1&after=app:crm", "");
    assert!(
        second.contains("\"web:crm\"") && second.contains("\"next\":null"),
        "{second}"
    );
    assert!(
        running
            .ask("GET /v1/lanes?state=held", "")
            .contains("\"lanes\":[]")
    );
    running.asked();
    assert!(
        running
            .ask("POST /v1/lanes/web%3Acrm/hold", "")
            .starts_with("200 ")
    );
    assert!(
        running
            .ask("POST /v1/lanes/web:crm/resume", "")
            .starts_with("200 ")
    );
    let want = [
        "hold web:crm",
        "lane web:crm",
        "resume web:crm",
        "lane web:crm",
    ];
    assert_eq!(running.asked(), want);
    running.check(
        "POST /v1/lanes/none/hold",
        "",
        expect![[r#"404 {"error":{"code":"not_found","message":"no connection \"none\": see GET /v1/lanes"}}"#]],
    );
}

#[test]
fn dead_letters_are_listed_and_redelivered() {
    let running = run(Options::default(), some_lanes());
    let page = running.ask(
        "GET /v1/dead-letters?connection=web:crm&reason=refused&limit=2",
        "",
    );
    assert!(
        page.contains("\"id\":2") && page.contains("\"next\":2"),
        "{page}"
    );
    assert!(page.contains("\"evicted\":3"), "{page}");
    let last = running.ask("GET /v1/dead-letters?after=3&limit=2", "");
    assert!(
        last.contains("\"id\":5") && last.contains("\"next\":null"),
        "{last}"
    );
    assert!(
        running
            .ask("GET /v1/dead-letters/4", "")
            .contains("\"event\":{\"type\":\"track\"}")
    );
    running.asked();
    for body in [
        r#"{"ids":[1,2]}"#,
        r#"{"connection":"web:crm"}"#,
        r#"{"connection":"web:crm","reason":"refused"}"#,
        r#"{"event":"Order Completed","since":"1970-01-01T00:00:01Z","until":"1970-01-01T00:00:02Z"}"#,
        r#"{"all":true}"#,
    ] {
        running.check(
            "POST /v1/dead-letters/redeliver",
            body,
            expect![[r#"200 {"connections":[{"connection":"web:crm","queued":2}],"queued":2}"#]],
        );
    }
    expect![[r#"
        [
            "Ids([1, 2])",
            "Matching(DeadLetterFilter { connection: Some(\"web:crm\"), reason: None, since: None, until: None, event: None })",
            "Matching(DeadLetterFilter { connection: Some(\"web:crm\"), reason: Some(Refused), since: None, until: None, event: None })",
            "Matching(DeadLetterFilter { connection: None, reason: None, since: Some(UnixMillis(1000)), until: Some(UnixMillis(2000)), event: Some(\"Order Completed\") })",
            "All",
        ]
    "#]]
    .assert_debug_eq(&running.asked());
}

#[test]
fn replays_take_offsets_and_times() {
    let running = run(Options::default(), some_lanes());
    for body in [
        r#"{"connection":"web:crm","from":0}"#,
        r#"{"connection":"web:crm","from":5,"to":9}"#,
        r#"{"connection":"web:crm","from":"1970-01-01T00:00:01Z","to":"1970-01-01T02:00:02+02:00"}"#,
        r#"{"connection":"web:crm","from":0,"to":"start","filter":".ok == true","rate_limit_per_s":9}"#,
    ] {
        let answer = running.ask("POST /v1/replays", body);
        assert!(answer.starts_with("201 "), "{answer}");
    }
    expect![[r#"
        [
            "ReplayRequest { connection: \"web:crm\", from: Offset(Offset(0)), to: None, filter: None, rate_limit_per_s: None }",
            "ReplayRequest { connection: \"web:crm\", from: Offset(Offset(5)), to: Some(Offset(Offset(9))), filter: None, rate_limit_per_s: None }",
            "ReplayRequest { connection: \"web:crm\", from: Time(UnixMillis(1000)), to: Some(Time(UnixMillis(2000))), filter: None, rate_limit_per_s: None }",
            "ReplayRequest { connection: \"web:crm\", from: Offset(Offset(0)), to: Some(Start), filter: Some(\".ok == true\"), rate_limit_per_s: Some(9) }",
        ]
    "#]]
    .assert_debug_eq(&running.asked());
    let cancelled = running.ask("POST /v1/replays/7/cancel", "");
    assert!(
        cancelled.starts_with("200 ") && cancelled.contains("\"state\":\"cancelled\""),
        "{cancelled}"
    );
    assert!(running.ask("GET /v1/replays/7", "").contains("\"id\":7"));
    assert_eq!(running.asked(), ["cancel 7", "replay 7"]);
}

#[test]
fn what_cannot_be_read_is_refused_with_what_to_do() {
    let options = Options {
        body_bytes_max: 200,
        dead_letters_page_max: 3,
        ..Options::default()
    };
    let running = run(options, some_lanes());
    let long = format!("{{\"connection\":\"{}\"}}", "x".repeat(300));
    let asks = [
        ("GET /v1/lanes?limt=1", ""),
        ("GET /v1/lanes?limit=0", ""),
        ("GET /v1/dead-letters?reason=nope", ""),
        ("GET /v1/dead-letters?limit=many", ""),
        ("GET /v1/dead-letters/x", ""),
        ("POST /v1/dead-letters/redeliver", ""),
        ("POST /v1/dead-letters/redeliver", "{}"),
        (
            "POST /v1/dead-letters/redeliver",
            r#"{"all":true,"ids":[1]}"#,
        ),
        ("POST /v1/dead-letters/redeliver", r#"{"ids":[1,2,3,4]}"#),
        ("POST /v1/dead-letters/redeliver", &long),
        (
            "POST /v1/replays",
            r#"{"connection":"web:crm","from":"yesterday"}"#,
        ),
        (
            "POST /v1/replays",
            r#"{"connection":"web:crm","from":9,"to":9}"#,
        ),
        (
            "POST /v1/replays",
            r#"{"connection":"web:crm","from":0,"rate_limit_per_s":0}"#,
        ),
        ("GET /v1/replays/x", ""),
        ("GET /v1/dead-letters?since=monday", ""),
        ("POST /v1/reload", ""),
        ("DELETE /v1/replays", ""),
        ("GET /v1/lanes/a/hold", ""),
    ];
    let mut answers = String::new();
    for (line, body) in asks {
        answers.push_str(&format!("{line}\n  {}\n", running.ask(line, body)));
    }
    expect![[r#"
        GET /v1/lanes?limt=1
          400 {"error":{"code":"invalid_request","message":"the query cannot be read: limt: unknown field `limt`, expected one of `limit`, `after`, `state`"}}
        GET /v1/lanes?limit=0
          400 {"error":{"code":"invalid_request","message":"limit is 0: use 1 to 10000, and `after` for the next page"}}
        GET /v1/dead-letters?reason=nope
          400 {"error":{"code":"invalid_request","message":"\"nope\" is no reason; there are: refused, too_large, conflict, invalid, transform_failed, transform_limit, bad_request, retries_exhausted, event_specific, damaged, retention"}}
        GET /v1/dead-letters?limit=many
          400 {"error":{"code":"invalid_request","message":"the query cannot be read: limit: invalid digit found in string"}}
        GET /v1/dead-letters/x
          404 {"error":{"code":"not_found","message":"dead letters have numbers: GET /v1/dead-letters lists them"}}
        POST /v1/dead-letters/redeliver
          400 {"error":{"code":"invalid_request","message":"the body cannot be read as JSON: EOF while parsing a value at line 1 column 0"}}
        POST /v1/dead-letters/redeliver
          400 {"error":{"code":"invalid_request","message":"say which dead letters: {\"ids\": [..]}, or any of \"connection\", \"reason\", \"since\", \"until\" and \"event\", or {\"all\": true}"}}
        POST /v1/dead-letters/redeliver
          400 {"error":{"code":"invalid_request","message":"say which dead letters: {\"ids\": [..]}, or any of \"connection\", \"reason\", \"since\", \"until\" and \"event\", or {\"all\": true}"}}
        POST /v1/dead-letters/redeliver
          400 {"error":{"code":"invalid_request","message":"4 ids are too many: send at most 3, or name a connection"}}
        POST /v1/dead-letters/redeliver
          413 {"error":{"code":"body_too_large","message":"the body was cut off, or is larger than 200 bytes: send less at a time"}}
        POST /v1/replays
          400 {"error":{"code":"invalid_request","message":"\"from\" is neither an offset, such as 1200, nor a time, such as \"2026-01-31T09:00:00Z\", nor \"start\""}}
        POST /v1/replays
          400 {"error":{"code":"invalid_request","message":"the range is empty: `from` is inclusive and must lie before `to`, which is exclusive"}}
        POST /v1/replays
          400 {"error":{"code":"invalid_request","message":"rate_limit_per_s is 0: use 1 or more, or leave it out"}}
        GET /v1/replays/x
          404 {"error":{"code":"not_found","message":"replays have numbers: GET /v1/replays lists them"}}
        GET /v1/dead-letters?since=monday
          400 {"error":{"code":"invalid_request","message":"\"since\" is no time, such as \"2026-01-31T09:00:00Z\""}}
        POST /v1/reload
          400 {"error":{"code":"invalid_request","message":"fairlane.toml:3:1: no such key \"prot\"; did you mean \"port\"?"}}
        DELETE /v1/replays
          405 {"error":{"code":"wrong_method","message":"this path takes POST and GET, not DELETE"}}
        GET /v1/lanes/a/hold
          405 {"error":{"code":"wrong_method","message":"this path takes POST, not GET"}}
    "#]].assert_eq(&answers);
    let nowhere = running.ask("GET /v1/nowhere", "");
    assert!(
        nowhere.starts_with("404 ") && nowhere.contains("/v1/dead-letters"),
        "{nowhere}"
    );
}

#[test]
fn probes_and_metrics_answer() {
    let running = run(Options::default(), some_lanes());
    running.check("GET /health", "", expect![[r#"200 {"status":"ok"}"#]]);
    running.check("GET /ready", "", expect![[r#"200 {"status":"ready"}"#]]);
    let metrics = running.ask("GET /metrics", "");
    assert!(
        metrics.contains("fairlane_lanes_idle 2") && metrics.ends_with("# EOF\n"),
        "{metrics}"
    );
    let starting = run(Options::default(), Fake::default());
    starting.check(
        "GET /ready",
        "",
        expect![[r#"503 {"error":{"code":"not_ready","message":"the log is being recovered"}}"#]],
    );
}

#[test]
fn a_hanging_answer_and_a_slow_client_cost_a_bounded_time() {
    let options = Options {
        request_timeout_ms: 50,
        header_timeout_ms: 50,
        ..Options::default()
    };
    let running = run(
        options,
        Fake {
            hangs: true,
            ..some_lanes()
        },
    );
    let answer = running.ask("GET /v1/lanes", "");
    assert!(
        answer.starts_with("503 ") && answer.contains("timeout"),
        "{answer}"
    );

    let mut slow = TcpStream::connect(running.admin.local_addr()).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    slow.write_all(b"GET /health HT").unwrap();
    let mut rest = Vec::new();
    // Ends by the server's hand: without its time limit this would run into the read timeout.
    slow.read_to_end(&mut rest).unwrap();
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn more_connections_than_allowed_wait_their_turn() {
    let options = Options {
        connections_max: 1,
        header_timeout_ms: 200,
        ..Options::default()
    };
    let running = run(options, some_lanes());
    let idle = TcpStream::connect(running.admin.local_addr()).unwrap();
    // Served once the idle connection's time for a request is over.
    running.check("GET /health", "", expect![[r#"200 {"status":"ok"}"#]]);
    drop(idle);
}

#[test]
fn shutdown_ends_idle_connections_and_frees_the_port() {
    let running = run(Options::default(), some_lanes());
    let address = running.admin.local_addr();
    let mut idle = TcpStream::connect(address).unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut start = [0; 12];
    idle.read_exact(&mut start).unwrap();
    running.admin.shutdown();
    assert!(TcpStream::connect(address).is_err());
}
