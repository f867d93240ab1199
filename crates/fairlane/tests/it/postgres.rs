//! Events into a real PostgreSQL, with kills of either side.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Fairlane, LOOPBACK, Setup, WRITE_KEY};
use crate::peer::call;
use crate::verifier::{Books, Load, Shape, balance};

mod server;

use server::{PASSWORD, Server, USER};

/// The authority of the certificate of delivery's own tests, which is for 127.0.0.1 too.
const CA: &str = include_str!("../../../delivery/src/http/send/tests/ca.pem");
const CERTIFICATE: &str = include_str!("../../../delivery/src/http/send/tests/leaf.pem");
const KEY: &str = include_str!("../../../delivery/src/http/send/tests/leaf.key");

/// A destination `warehouse` for the database `shop` of this server; `more` settings in TOML.
fn warehouse(server: &Server, more: &str) -> Setup {
    let port = server.port;
    Setup::default().and(&format!(
        "[[destinations]]\nname = \"warehouse\"\ntype = \"postgresql\"\n[destinations.settings]\n\
         host = \"127.0.0.1\"\nport = {port}\ndatabase = \"shop\"\nuser = \"{USER}\"\n{more}\n\
         [[connections]]\nname = \"warehouse\"\nsource = \"web\"\ndestination = \"warehouse\"\n"
    ))
}

fn plain(server: &Server, more: &str) -> Setup {
    let password = json!(PASSWORD);
    let more = format!("password = {password}\nssl_mode = \"disable\"\n{more}");
    warehouse(server, &more).and(LOOPBACK)
}

fn post(fairlane: &Fairlane, mut event: Value) {
    event["writeKey"] = json!(WRITE_KEY);
    let path = format!("/v1/{}", event["type"].as_str().unwrap());
    let answer = call(fairlane.ingest, "POST", &path, &event.to_string()).unwrap();
    assert_eq!(answer.status(), 200, "{answer:?}");
}

fn delivered(fairlane: &Fairlane, count: u64) {
    let said = |lane: &Value| lane["delivered"] == count;
    fairlane.wait_lane("warehouse", "all are delivered", said);
}

#[test]
fn every_event_is_a_row_once_whoever_is_killed() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let mut fairlane = plain(&server, "").start();
    let books = Arc::new(Mutex::new(Books::default()));
    for cycle in 0..6_u64 {
        let load = Load::start(fairlane.ingest, &format!("c{cycle}"), Shape::STEADY, &books);
        std::thread::sleep(Duration::from_millis(400 + 97 * (cycle * 5 % 7)));
        if cycle % 2 == 0 {
            fairlane.kill();
            load.stop();
            fairlane.start();
        } else {
            server.stop();
            std::thread::sleep(Duration::from_millis(300));
            server.run();
            load.stop();
        }
    }
    let empty = |lane: &Value| lane["pending"] == 0;
    fairlane.wait_lane_for(
        Duration::from_secs(120),
        "warehouse",
        "nothing is pending",
        empty,
    );
    let books = books.lock().unwrap().clone();
    assert!(
        books.acknowledged.len() > 300,
        "{}",
        books.acknowledged.len()
    );
    for table in ["tracks", "e"] {
        let rows = server.query("shop", &format!("SELECT id FROM fairlane.{table}"));
        let ids: HashSet<String> = rows.iter().cloned().collect();
        assert_eq!(rows.len(), ids.len(), "{table}: doubles");
        let lost = books.acknowledged.difference(&ids).count();
        let phantom = ids.difference(&books.tried).count();
        assert_eq!((lost, phantom), (0, 0), "{table}: lost, phantom");
        println!(
            "{table}: {} acknowledged, {} rows, lost 0, doubles 0",
            books.acknowledged.len(),
            ids.len()
        );
    }
    assert_eq!(
        server.query(
            "shop",
            "SELECT count(*) FROM pg_tables WHERE tablename = 'discards'"
        ),
        ["0"]
    );
    let lane = fairlane.lane("warehouse");
    assert_eq!(lane["rejected"], 0, "{lane:#}");
    balance(&fairlane);
}

#[test]
fn tables_and_columns_appear_and_what_fits_none_is_kept() {
    let Some(server) = Server::start() else {
        return;
    };
    let fairlane = plain(&server, "columns_max = 40\ntables_max = 6\n").start();
    post(
        &fairlane,
        json!({"type": "track", "event": "Order Completed", "messageId": "t-1", "userId": "u-1",
        "timestamp": "2026-03-04T05:06:07.890Z",
        "properties": {"orderId": "o-1", "total": 40, "quantity": 2, "gift": true, "products": [{"sku": "a"}],
            "paidAt": "2026-03-04T05:00:00+01:00", "select": "*", "nul": "a\u{0}b", "id": "own"},
        "context": {"page": {"url": "https://shop.example/"}}}),
    );
    delivered(&fairlane, 1);
    let columns = server.query(
        "shop",
        "SELECT column_name || ' ' || data_type FROM information_schema.columns \
         WHERE table_schema = 'fairlane' AND table_name = 'order_completed' ORDER BY column_name",
    );
    for column in [
        "context_page_url text",
        "event text",
        "event_text text",
        "gift boolean",
        "id text",
        "nul text",
        "order_id text",
        "paid_at timestamp with time zone",
        "products jsonb",
        "properties_id text",
        "quantity bigint",
        "received_at timestamp with time zone",
        "select text",
        "timestamp timestamp with time zone",
        "total double precision",
        "user_id text",
    ] {
        assert!(
            columns.iter().any(|have| have == column),
            "{column}: {columns:?}"
        );
    }
    // Other types than before; a new column; the same message again.
    post(
        &fairlane,
        json!({"type": "track", "event": "Order Completed", "messageId": "t-2", "userId": "u-1",
        "properties": {"orderId": 17, "total": 40.5, "quantity": "two", "gift": "yes", "coupon": "C"}}),
    );
    delivered(&fairlane, 2);
    assert_eq!(
        server.query("shop", "SELECT id, order_id, total, quantity, gift, coupon FROM fairlane.order_completed ORDER BY id"),
        ["t-1|o-1|40|2|t|", "t-2|17|40.5|||C"]
    );
    assert_eq!(
        server.query(
            "shop",
            "SELECT message_id, table_name, column_name, column_value, received_at IS NOT NULL \
                              FROM fairlane.discards ORDER BY id"
        ),
        [
            "t-2|order_completed|gift|yes|t",
            "t-2|order_completed|quantity|two|t"
        ]
    );
    assert_eq!(
        server.query(
            "shop",
            "SELECT nul, products->0->>'sku', properties_id, paid_at AT TIME ZONE 'UTC' \
                              FROM fairlane.order_completed WHERE id = 't-1'"
        ),
        ["a\u{fffd}b|a|own|2026-03-04 04:00:00"]
    );
    // Users: the latest traits, and none forgotten.
    post(
        &fairlane,
        json!({"type": "identify", "messageId": "i-1", "userId": "u-1", "traits": {"plan": "free", "name": "Ada"}}),
    );
    delivered(&fairlane, 3);
    post(
        &fairlane,
        json!({"type": "identify", "messageId": "i-2", "userId": "u-1", "traits": {"plan": "pro"}}),
    );
    delivered(&fairlane, 4);
    assert_eq!(
        server.query("shop", "SELECT id, plan, name FROM fairlane.users"),
        ["u-1|pro|Ada"]
    );
    assert_eq!(
        server.query("shop", "SELECT count(*) FROM fairlane.identifies"),
        ["2"]
    );
    // tracks, order_completed, discards, identifies, users: one more table, and no other.
    post(
        &fairlane,
        json!({"type": "page", "name": "Home", "messageId": "p-1", "userId": "u-1"}),
    );
    delivered(&fairlane, 5);
    post(
        &fairlane,
        json!({"type": "track", "event": "One Too Many", "messageId": "t-3", "userId": "u-1"}),
    );
    delivered(&fairlane, 6);
    assert_eq!(
        server.query("shop", "SELECT message_id, table_name, column_name IS NULL, (column_value::jsonb)->>'event_text' \
                              FROM fairlane.discards WHERE id = 't-3/one_too_many/'"),
        ["t-3|one_too_many|t|One Too Many"]
    );
    // More columns than a table may have.
    let many: serde_json::Map<String, Value> =
        (0..60).map(|n| (format!("p{n:02}"), json!(n))).collect();
    post(
        &fairlane,
        json!({"type": "track", "event": "Order Completed", "messageId": "t-4", "userId": "u-1", "properties": many}),
    );
    delivered(&fairlane, 7);
    let columns = "SELECT count(*) FROM information_schema.columns \
                   WHERE table_schema = 'fairlane' AND table_name = 'order_completed'";
    assert_eq!(server.query("shop", columns), ["40"]);
    let kept = server.query(
        "shop",
        "SELECT count(*) FROM fairlane.discards WHERE message_id = 't-4'",
    );
    let written = server.query("shop", "SELECT (SELECT count(*) FROM jsonb_object_keys(to_jsonb(t)) k \
        WHERE k ~ '^p[0-9]' AND to_jsonb(t)->k <> 'null') FROM fairlane.order_completed t WHERE id = 't-4'");
    let number = |lines: &[String]| lines[0].parse::<u64>().unwrap();
    assert_eq!(number(&kept) + number(&written), 60, "{kept:?} {written:?}");
    // Somebody drops a table under our feet.
    server.query("shop", "DROP TABLE fairlane.pages");
    post(
        &fairlane,
        json!({"type": "page", "name": "Away", "messageId": "p-2", "userId": "u-1"}),
    );
    delivered(&fairlane, 8);
    assert_eq!(
        server.query("shop", "SELECT name FROM fairlane.pages"),
        ["Away"]
    );
    // A row that PostgreSQL refuses is a dead letter alone: its neighbours are written.
    server.query(
        "shop",
        "ALTER TABLE fairlane.tracks ADD CHECK (event_text <> 'Bad')",
    );
    let name = |n: u32| if n == 7 { "Bad" } else { "Order Completed" };
    let batch: Vec<Value> = (0..20).map(|n| json!({"type": "track", "event": name(n), "messageId": format!("b-{n}"), "userId": "u"})).collect();
    let body = json!({"writeKey": WRITE_KEY, "batch": batch}).to_string();
    assert_eq!(
        call(fairlane.ingest, "POST", "/v1/batch", &body)
            .unwrap()
            .status(),
        200
    );
    let lane = fairlane.wait_lane("warehouse", "one is rejected", |lane| {
        lane["pending"] == 0 && lane["rejected"] == 1
    });
    assert_eq!(lane["delivered"], 8 + 19, "{lane:#}");
    assert_eq!(
        server.query(
            "shop",
            "SELECT count(*) FROM fairlane.tracks WHERE id LIKE 'b-%'"
        ),
        ["19"]
    );
    balance(&fairlane);
}

/// Whoever has the public write key chooses an event's name: it must not stop the others.
#[test]
fn an_event_that_is_called_as_something_that_is_no_table_is_discarded() {
    let Some(server) = Server::start() else {
        return;
    };
    let fairlane = plain(&server, "").start();
    fairlane.track("m-1");
    delivered(&fairlane, 1);
    server.query(
        "shop",
        "CREATE VIEW fairlane.busy AS SELECT event AS id, count(*) FROM fairlane.tracks GROUP BY 1",
    );
    server.query("shop", "CREATE DOMAIN fairlane.amount AS int");
    // One that rows can be written to is as good as a table.
    server.query(
        "shop",
        "CREATE TABLE shown (id text PRIMARY KEY, event_text text); GRANT ALL ON shown TO PUBLIC; \
         CREATE VIEW fairlane.seen AS SELECT * FROM shown; GRANT ALL ON fairlane.seen TO PUBLIC",
    );
    let names = ["tracks pkey", "Busy", "Amount", "Seen", "Fine"];
    let batch: Vec<Value> = (0..50)
        .map(|n| json!({"type": "track", "event": names[n % 5], "messageId": format!("b-{n}"), "userId": "u"}))
        .collect();
    let body = json!({"writeKey": WRITE_KEY, "batch": batch}).to_string();
    let answer = call(fairlane.ingest, "POST", "/v1/batch", &body).unwrap();
    assert_eq!(answer.status(), 200);
    delivered(&fairlane, 51);
    assert_eq!(
        server.query(
            "shop",
            "SELECT table_name, count(*) FROM fairlane.discards WHERE column_name IS NULL GROUP BY 1 ORDER BY 1"
        ),
        ["amount|10", "busy|10", "tracks_pkey|10"]
    );
    for table in ["fairlane.fine", "shown"] {
        let count = format!("SELECT count(event_text) FROM {table}");
        assert_eq!(server.query("shop", &count), ["10"], "{table}");
    }
    balance(&fairlane);
}

#[test]
fn many_lanes_may_need_the_same_column_at_once() {
    let Some(server) = Server::start() else {
        return;
    };
    let password = json!(PASSWORD);
    let port = server.port;
    let mut text = String::new();
    for n in 0..8 {
        text += &format!(
            "[[destinations]]\nname = \"w{n}\"\ntype = \"postgresql\"\n[destinations.settings]\n\
             host = \"127.0.0.1\"\nport = {port}\ndatabase = \"shop\"\nuser = \"{USER}\"\npassword = {password}\n\
             ssl_mode = \"disable\"\n\
             [[connections]]\nname = \"w{n}\"\nsource = \"web\"\ndestination = \"w{n}\"\n"
        );
    }
    let fairlane = Setup::default().and(&text).and(LOOPBACK).start();
    let events: Vec<Value> = (0..200)
        .map(|n| json!({"type": if n % 3 == 0 { "identify" } else { "track" }, "event": format!("Event {}", n % 7),
            "messageId": format!("m-{n}"), "userId": format!("u-{}", n % 5),
            "properties": {format!("p{}", n % 40): n}, "traits": {format!("t{}", n % 20): n}}))
        .collect();
    for chunk in events.chunks(10) {
        let body = json!({"writeKey": WRITE_KEY, "batch": chunk}).to_string();
        assert_eq!(
            call(fairlane.ingest, "POST", "/v1/batch", &body)
                .unwrap()
                .status(),
            200
        );
        std::thread::sleep(Duration::from_millis(30));
    }
    for n in 0..8 {
        let lane = fairlane.wait_lane(&format!("w{n}"), "all are delivered", |lane| {
            lane["delivered"] == 200
        });
        assert_eq!(lane["rejected"], 0, "{lane:#}");
    }
    assert_eq!(
        server.query(
            "shop",
            "SELECT count(*), count(DISTINCT id) FROM fairlane.tracks"
        ),
        ["133|133"]
    );
    assert_eq!(
        server.query("shop", "SELECT count(*) FROM fairlane.users"),
        ["5"]
    );
    assert!(!server.log().contains("deadlock"), "{}", server.log());
    balance(&fairlane);
}

#[test]
fn a_server_that_says_no_holds_the_lane_with_its_reason() {
    let Some(server) = Server::start() else {
        return;
    };
    let held = |setup: Setup, reason: &str, words: &str| {
        let fairlane = setup.start();
        fairlane.track("m-1");
        let lane = fairlane.wait_lane("warehouse", reason, |lane| lane["reason"] == reason);
        let cause = lane["cause"].as_str().unwrap();
        assert!(cause.contains(words), "{words}: {lane:#}");
    };
    let wrong = "password = \"wrong\"\nssl_mode = \"disable\"\n";
    let words = "password authentication failed";
    held(warehouse(&server, wrong).and(LOOPBACK), "auth", words);
    // No rights, and no database: nothing is lost by it.
    let good = format!("password = {}\nssl_mode = \"disable\"\n", json!(PASSWORD));
    server.query("shop", "CREATE SCHEMA closed");
    let closed = format!("{good}schema = \"closed\"\n");
    held(
        warehouse(&server, &closed).and(LOOPBACK),
        "auth",
        "permission denied",
    );
    let secret = json!(PASSWORD);
    let elsewhere = format!("password = {secret}\nssl_mode = \"disable\"\n");
    held(warehouse(&server, &elsewhere), "egress", "egress_allow");
    let encrypted = format!("password = {secret}\n");
    held(
        warehouse(&server, &encrypted).and(LOOPBACK),
        "tls",
        "ssl_mode",
    );
}

#[test]
fn an_encrypted_connection_is_checked_as_it_is_asked_for() {
    let Some(mut server) = Server::start() else {
        return;
    };
    server.stop();
    server.encrypt(CERTIFICATE, KEY);
    server.run();
    let secret = json!(PASSWORD);
    let ca = json!(CA);
    for (name, more) in [
        ("require", "ssl_mode = \"require\"\n".to_owned()),
        ("verify-full", format!("ca_certificate = {ca}\n")),
    ] {
        let fairlane = warehouse(&server, &format!("password = {secret}\n{more}"))
            .and(LOOPBACK)
            .start();
        fairlane.track(name);
        delivered(&fairlane, 1);
        assert_eq!(
            server.query(
                "shop",
                &format!("SELECT count(*) FROM fairlane.tracks WHERE id = '{name}'")
            ),
            ["1"]
        );
    }
    // Nobody that is trusted has signed it.
    let fairlane = warehouse(&server, &format!("password = {secret}\n"))
        .and(LOOPBACK)
        .start();
    fairlane.track("m-1");
    fairlane.wait_lane("warehouse", "tls", |lane| lane["reason"] == "tls");
}
