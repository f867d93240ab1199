//! Clients that do wrong, by mistake or on purpose: a clear answer or a closed connection, bounded
//! work, and nobody else is troubled.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use ingest::{Cut, Discard, Options};

use crate::support::{Client, SUCCESS, Server, basic, eventually};

const PAGE: &str = r#"{"userId":"u"}"#;

/// The server is as good as new.
fn assert_serves(server: &Server) {
    assert_eq!(server.post("/v1/page", PAGE).summary(), SUCCESS);
    eventually("all room is given back", || {
        server.ingest.bytes_in_flight() == 0
    });
}

#[test]
fn what_is_not_json_is_400() {
    let server = Server::start();
    let answer = |body: &[u8]| {
        server
            .send("POST", "/v1/page", &[&basic("key")], body)
            .json()["error"]["message"]
            .to_string()
    };
    let prefix = "\"the body is not the JSON that is expected: ";
    assert_eq!(
        answer(b""),
        format!("{prefix}the text ends too early at byte 0\"")
    );
    assert_eq!(
        answer(b"[]"),
        format!("{prefix}a JSON object is expected here at byte 0\"")
    );
    assert_eq!(
        answer(b"{\"a\":\xff}"),
        format!("{prefix}not UTF-8 at byte 5\"")
    );
    assert_eq!(
        answer(b"{\"a\":1e999}"),
        format!("{prefix}a number that no double can hold at byte 5\"")
    );
    assert_eq!(server.post("/v1/batch", "{}").summary(), "400 no_batch");
    assert_eq!(
        server.post("/v1/page", "{\"userId\":").summary(),
        "400 invalid_json"
    );
    assert_eq!(server.events().len(), 0);
    assert_serves(&server);
}

#[test]
fn deep_and_wide_json_is_400() {
    let server = Server::start();
    let deep = |depth: usize| {
        format!(
            r#"{{"userId":"u","p":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert_eq!(server.post("/v1/page", &deep(63)).summary(), SUCCESS);
    assert_eq!(
        server.post("/v1/page", &deep(64)).summary(),
        "400 invalid_json"
    );
    assert_eq!(
        server.post("/v1/page", &"[".repeat(500_000)).summary(),
        "400 invalid_json"
    );
    assert_eq!(
        server
            .post("/v1/page", &r#"{"a":"#.repeat(100_000))
            .summary(),
        "400 invalid_json"
    );
    let wide: Vec<_> = (0..40_000).map(|n| format!("\"{n}\":1")).collect();
    let wide = format!("{{{}}}", wide.join(","));
    assert_eq!(server.post("/v1/page", &wide).summary(), "400 invalid_json");
    assert_serves(&server);
}

#[test]
fn what_is_too_large_is_refused() {
    let server = Server::start();
    let event = |bytes: usize| format!(r#"{{"userId":"u","p":"{}"}}"#, "x".repeat(bytes));
    assert_eq!(
        server.post("/v1/page", &event(33_000)).summary(),
        "400 event_too_large"
    );
    let too_large = event(520 * 1024);
    assert_eq!(
        server.post("/v1/batch", &too_large).summary(),
        "413 body_too_large"
    );
    // Twice as much as is read of what was refused: an answer still, or a closed connection.
    let mut client = server.connect();
    let huge = format!(
        "POST /v1/batch HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n",
        1_u64 << 40
    );
    client.write(huge.as_bytes());
    assert_eq!(client.reply().summary(), "413 body_too_large");
    assert_serves(&server);
}

#[test]
fn merging_does_not_multiply_without_bound() {
    let server = Server::start();
    let events = vec![r#"{"type":"page","userId":"u"}"#; 1_000].join(",");
    let body = format!(
        r#"{{"batch":[{events}],"context":{{"x":"{}"}}}}"#,
        "x".repeat(20_000)
    );
    assert_eq!(
        server.post("/v1/batch", &body).summary(),
        "413 merged_too_large"
    );
    let body = format!(
        r#"{{"batch":[{{"type":"page","userId":"u"}}],"context":{{"x":"{}"}}}}"#,
        "x".repeat(200_000)
    );
    assert_eq!(server.post("/v1/batch", &body).summary(), SUCCESS);
    assert_eq!(server.ingest.stats().discarded(Discard::EventTooLarge), 1);
    assert_eq!(server.events().len(), 0);
    assert_serves(&server);
}

#[test]
fn gzip_bombs_do_not_go_off() {
    let server = Server::start();
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 100_000);
    let nested = gzip(&bomb);
    let headers = [&*basic("key"), "Content-Encoding: gzip"];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let reply = server.send("POST", "/v1/batch", &headers, &bomb);
                assert_eq!(reply.summary(), "413 body_too_large");
            });
        }
    });
    let reply = server.send("POST", "/v1/batch", &headers, &nested);
    assert!(["400 invalid_json", "413 inflates_too_much"].contains(&&*reply.summary()));
    assert_serves(&server);
}

#[test]
fn slow_headers_are_closed() {
    let server = Server::with(Options {
        header_timeout_ms: 300,
        ..Options::default()
    });
    let mut client = server.connect();
    client.write(b"POST /v1/page HTTP/1.1\r\nHo");
    assert!(client.is_closed());
    assert_eq!(server.ingest.stats().cut(Cut::SlowHeaders), 1);
    eventually("it is let go", || server.ingest.connections() == 0);
    assert_serves(&server);
}

#[test]
fn a_slow_body_is_closed() {
    let server = Server::with(Options {
        body_grace_ms: 300,
        ..Options::default()
    });
    let mut client = server.connect();
    client.write(b"POST /v1/page HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n{");
    assert!(client.is_closed());
    assert_eq!(server.ingest.stats().cut(Cut::SlowBody), 1);
    assert_serves(&server);
}

#[test]
fn a_connection_without_requests_is_closed() {
    let server = Server::with(Options {
        idle_timeout_ms: 2_000,
        ..Options::default()
    });
    let mut silent = server.connect();
    let mut idle = server.connect();
    assert_eq!(idle.send("GET", "/health", &[], b"").status, 200);
    assert!(idle.is_closed());
    assert!(silent.is_closed());
    assert_eq!(server.ingest.stats().cut(Cut::Idle), 2);
    assert_serves(&server);
}

#[test]
fn a_byte_now_and_then_does_not_keep_a_connection() {
    let server = Server::with(Options {
        body_timeout_ms: 1_000,
        body_grace_ms: 60_000,
        ..Options::default()
    });
    let mut client = server.connect();
    client.write(b"POST /v1/page HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n");
    let mut sent = 0;
    while client.0.write_all(b"{").is_ok() {
        sent += 1;
        assert!(sent < 900, "it was never closed");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.ingest.stats().cut(Cut::SlowBody), 1);
    assert_serves(&server);
}

#[test]
fn many_slow_clients_do_not_trouble_a_good_one() {
    let server = Server::with(Options {
        connections_per_ip_max: 1_000,
        ..Options::default()
    });
    let mut slow: Vec<_> = (0..400).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.write(b"POST /v1/batch HTTP/1.1\r\nHost: t\r\nContent-Length: 400000\r\n\r\n{");
    }
    for _ in 0..20 {
        assert_eq!(server.post("/v1/page", PAGE).summary(), SUCCESS);
    }
    assert!(
        server.ingest.bytes_in_flight() < 1_000_000,
        "only what has arrived is counted"
    );
}

#[test]
fn content_length_that_lies() {
    let server = Server::start();
    // Less than is sent: the rest is taken for a request, and is none.
    let mut short = server.connect();
    let body = r#"{"userId":"u"}{"userId":"v"}"#;
    let head = format!(
        "POST /v1/page HTTP/1.1\r\nHost: t\r\n{}\r\nContent-Length: {}\r\n\r\n{body}",
        basic("key"),
        PAGE.len()
    );
    short.write(head.as_bytes());
    assert_eq!(short.reply().summary(), SUCCESS);
    short.write(b"\r\n\r\n");
    assert!(short.is_closed());
    // More than is sent.
    let mut long = server.connect();
    let head = format!(
        "POST /v1/page HTTP/1.1\r\nHost: t\r\n{}\r\nContent-Length: 100\r\n\r\n{PAGE}",
        basic("key")
    );
    long.write(head.as_bytes());
    long.0.shutdown(std::net::Shutdown::Write).unwrap();
    if let Some(reply) = long.try_reply() {
        assert_eq!(reply.summary(), "400 body_cut");
    }
    // Twice, and not the same.
    let mut twice = server.connect();
    twice.write(
        b"POST /v1/page HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    );
    assert!(twice.try_reply().is_none_or(|reply| reply.status == 400));
    assert_eq!(server.events().len(), 1);
    assert_serves(&server);
}

#[test]
fn chunks_without_end() {
    let server = Server::start();
    let mut client = server.connect();
    client.write(b"POST /v1/batch HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let mut chunks = 0;
    while client.0.write_all(chunk.as_bytes()).is_ok() {
        chunks += 1;
        assert!(
            chunks < 10_000,
            "40 MB were read of a body that may have 512 KiB"
        );
    }
    assert_serves(&server);
    // A good one is taken.
    let mut client = server.connect();
    let head = format!(
        "POST /v1/page HTTP/1.1\r\nHost: t\r\n{}\r\nTransfer-Encoding: chunked\r\n\r\n",
        basic("key")
    );
    client.write(head.as_bytes());
    for byte in PAGE.bytes() {
        client.write(format!("1\r\n{}\r\n", char::from(byte)).as_bytes());
    }
    client.write(b"0\r\n\r\n");
    assert_eq!(client.reply().summary(), SUCCESS);
}

#[test]
fn header_bombs() {
    let server = Server::start();
    let answer = |headers: &str| {
        let mut client = server.connect();
        let head = format!("GET /health HTTP/1.1\r\nHost: t\r\n{headers}\r\n");
        let _ = client.0.write_all(head.as_bytes());
        client.try_reply().map(|reply| reply.status)
    };
    assert_eq!(answer(&"a: b\r\n".repeat(90)), Some(200));
    assert_eq!(answer(&"a: b\r\n".repeat(101)), Some(431));
    assert_eq!(answer(&format!("a: {}\r\n", "b".repeat(31_000))), Some(200));
    assert!(matches!(
        answer(&format!("a: {}\r\n", "b".repeat(40_000))),
        Some(431) | None
    ));
    assert!(matches!(
        answer(&format!("a: {}\r\n", "b".repeat(4_000_000))),
        Some(431) | None
    ));
    assert!(matches!(answer("no header at all\r\n"), Some(400) | None));
    assert_serves(&server);
}

#[test]
fn a_flood_of_connections_stops_at_the_limit() {
    let server = Server::with(Options {
        connections_max: 30,
        connections_per_ip_max: 20,
        ..Options::default()
    });
    let mut kept: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    for client in &mut kept {
        assert_eq!(client.send("GET", "/health", &[], b"").status, 200);
    }
    for _ in 0..50 {
        assert!(server.connect().is_closed());
    }
    assert_eq!(server.ingest.stats().cut(Cut::TooMany), 50);
    for client in &mut kept {
        assert_eq!(client.send("GET", "/health", &[], b"").status, 200);
    }
    drop(kept);
    eventually("there is room again", || server.ingest.connections() == 0);
    assert_serves(&server);
}

#[test]
fn a_noisy_source_is_429_and_the_others_are_not() {
    let server = Server::start();
    let limited = || server.send("POST", "/v1/page", &[&basic("limited")], PAGE.as_bytes());
    let refused = (0..100)
        .map(|_| limited())
        .find(|reply| reply.status != 200)
        .unwrap();
    assert_eq!(refused.summary(), "429 rate_limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("x-ratelimit-reset"), Some("1"));
    for _ in 0..100 {
        assert_eq!(server.post("/v1/page", PAGE).status, 200);
    }
    // The same limit for those who say their key in the body.
    let body = r#"{"userId":"u","writeKey":"limited"}"#;
    let statuses: Vec<_> = (0..100)
        .map(|_| server.send("POST", "/v1/page", &[], body.as_bytes()).status)
        .collect();
    assert!(statuses.contains(&429));
}

#[test]
fn default_limits_count_by_source_and_by_address() {
    let statuses = |options: Options, key: &str| -> Vec<u16> {
        let server = Server::with(options);
        (0..50)
            .map(|_| {
                server
                    .send("POST", "/v1/page", &[&basic(key)], PAGE.as_bytes())
                    .status
            })
            .collect()
    };
    let by_source = Options {
        source_rate_limit_per_s: Some(3),
        ..Options::default()
    };
    assert!(statuses(by_source, "key").contains(&429));
    let by_ip = Options {
        ip_rate_limit_per_s: Some(3),
        ..Options::default()
    };
    assert!(statuses(by_ip, "nobody").contains(&429));
}

#[test]
fn bodies_beyond_the_room_are_503() {
    let server = Server::with(Options {
        body_bytes_max: 300_000,
        bytes_in_flight_max: 300_000,
        ..Options::default()
    });
    // Takes most of the room, and does not finish.
    let mut greedy = server.connect();
    greedy.write(b"POST /v1/batch HTTP/1.1\r\nHost: t\r\nContent-Length: 290000\r\n\r\n");
    greedy.write(&vec![b' '; 280_000]);
    eventually("the room is taken", || {
        server.ingest.bytes_in_flight() >= 280_000
    });
    let events = vec![r#"{"type":"page","userId":"u"}"#; 1_000].join(",");
    let mut client = server.connect();
    let body = format!(r#"{{"batch":[{events}]}}"#);
    let reply = client.send("POST", "/v1/batch", &[&basic("key")], body.as_bytes());
    assert_eq!(reply.summary(), "503 overloaded");
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait));
    drop(greedy);
    eventually("there is room again", || {
        server.ingest.bytes_in_flight() == 0
    });
    // On the same connection: the refused body was read to its end.
    let reply = client.send("POST", "/v1/page", &[&basic("key")], PAGE.as_bytes());
    assert_eq!(reply.summary(), SUCCESS);
}

#[test]
fn options_that_cannot_work_are_named() {
    let options = Options {
        bytes_in_flight_max: 1,
        ..Options::default()
    };
    assert_eq!(
        options.check().unwrap_err().to_string(),
        "option bytes_in_flight_max is 1: it must be at least body_bytes_max"
    );
}
