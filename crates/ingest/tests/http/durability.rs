//! What a 200 means: stored once, for good.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ingest::Options;
use serde_json::Value;

use crate::support::{NOW, SUCCESS, Server, basic, eventually};

fn page(message_id: &str) -> String {
    format!(r#"{{"type":"page","userId":"u","messageId":"{message_id}"}}"#)
}

fn ids(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["messageId"].as_str().unwrap())
        .collect()
}

#[test]
fn a_copy_is_answered_200_and_dropped() {
    let server = Server::start();
    assert_eq!(server.post("/v1/page", &page("a")).summary(), SUCCESS);
    assert_eq!(server.post("/v1/page", &page("a")).summary(), SUCCESS);
    let batch = format!(r#"{{"batch":[{0},{1},{0},{1}]}}"#, page("a"), page("b"));
    assert_eq!(server.post("/v1/batch", &batch).summary(), SUCCESS);
    assert_eq!(ids(&server.events()), ["a", "b"]);
    assert_eq!(server.ingest.stats().duplicates(), 4);
    // Another source's ids are its own.
    let reply = server.send("POST", "/v1/page", &[&basic("other")], page("a").as_bytes());
    assert_eq!(reply.summary(), SUCCESS);
    assert_eq!(ids(&server.events()), ["a", "b", "a"]);
}

#[test]
fn an_id_is_forgotten_after_the_window() {
    let options = Options {
        dedup_window_ms: 60_000,
        ..Options::default()
    };
    let server = Server::with(options);
    for (at, events) in [(0, 1), (59_999, 1), (119_999, 1), (300_000, 2)] {
        server.now.store(NOW + at, Relaxed);
        assert_eq!(server.post("/v1/page", &page("a")).summary(), SUCCESS);
        assert_eq!(server.events().len(), events, "at {at} ms");
    }
}

#[test]
fn copies_are_recognised_after_a_restart() {
    let server = Server::start();
    assert_eq!(server.post("/v1/page", &page("a")).summary(), SUCCESS);
    let dir = server.stop();
    let server = Server::in_dir(dir, Options::default(), |_| {});
    let batch = format!(r#"{{"batch":[{},{}]}}"#, page("a"), page("b"));
    assert_eq!(server.post("/v1/batch", &batch).summary(), SUCCESS);
    assert_eq!(ids(&server.events()), ["a", "b"]);
    assert_eq!(server.ingest.stats().duplicates(), 1);
}

#[test]
fn copies_that_race_are_stored_once_and_none_is_lost() {
    let server = Server::start();
    let accepted = |answer: &crate::support::Reply| match answer.status {
        200 => true,
        503 => {
            assert_eq!(answer.summary(), "503 pending");
            assert_eq!(answer.header("retry-after"), Some("1"));
            false
        }
        other => panic!("answered {other}"),
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.connect();
                for id in 0..50 {
                    let body = page(&id.to_string());
                    // As an SDK does, without the wait.
                    while !accepted(&client.send(
                        "POST",
                        "/v1/page",
                        &[&basic("key")],
                        body.as_bytes(),
                    )) {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    let events = server.events();
    let mut ids = ids(&events);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((events.len(), ids.len()), (50, 50));
}

#[test]
fn a_full_log_is_503_and_what_was_refused_is_taken_later() {
    let dir = tempfile::TempDir::new().unwrap();
    let server = Server::in_dir(dir, Options::default(), |log| {
        log.segment_bytes_max = 512 << 10;
        log.retention_bytes_max = 1 << 20;
    });
    let padding = "x".repeat(30_000);
    let event =
        |id: u32| format!(r#"{{"type":"page","userId":"u","messageId":"{id}","p":"{padding}"}}"#);
    let mut taken = 0;
    let refused = loop {
        let reply = server.post("/v1/page", &event(taken));
        if reply.status != 200 {
            break reply;
        }
        taken += 1;
        assert!(taken < 200, "a log of 1 MiB never was full");
    };
    assert_eq!(refused.summary(), "503 log_full");
    assert!(
        refused
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );
    assert_eq!(server.events().len(), usize::try_from(taken).unwrap());

    // Its id was not burnt: when there is room again, the client's retry is stored.
    let end = server.log.end();
    server.log.trim(end, model::UnixMillis(NOW)).unwrap();
    eventually("there is room again", || {
        server.post("/v1/page", &event(taken)).status == 200
    });
    let last = server.events().pop().unwrap();
    assert_eq!(last["messageId"], taken.to_string());
    assert_eq!(server.ingest.stats().duplicates(), 0);
}

#[test]
fn shutdown_answers_what_is_under_way() {
    let server = Server::start();
    let addr = server.addr();
    let mut idle = server.connect();
    assert_eq!(idle.send("GET", "/health", &[], b"").status, 200);
    // A request of which the body's end is still missing.
    let mut late = server.connect();
    let body = page("late");
    let (first, second) = body.split_at(10);
    let head = format!(
        "POST /v1/page HTTP/1.1\r\nHost: t\r\n{}\r\nContent-Length: {}\r\n\r\n{first}",
        basic("key"),
        body.len()
    );
    late.write(head.as_bytes());
    eventually("the body has begun", || server.ingest.bytes_in_flight() > 0);

    let ingest = server.ingest.clone();
    let stopping = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(ingest.shutdown(Duration::from_secs(30)));
    });
    assert!(
        idle.is_closed(),
        "a connection without a request ends at once"
    );
    eventually("nobody new gets in", || {
        std::net::TcpStream::connect(addr).is_err()
    });
    late.write(second.as_bytes());
    let reply = late.reply();
    assert_eq!(reply.summary(), SUCCESS);
    assert!(late.is_closed());
    stopping.join().unwrap();
    assert_eq!(ids(&server.events()), ["late"]);
}

#[test]
fn shutdown_ends_in_time_whatever_a_client_does() {
    let server = Server::start();
    let mut never = server.connect();
    never.write(b"POST /v1/page HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{");
    eventually("the body has begun", || server.ingest.bytes_in_flight() > 0);
    drop(server.stop());
    assert!(never.is_closed());
}
