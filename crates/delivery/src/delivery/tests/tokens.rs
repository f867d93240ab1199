//! Destinations whose token is fetched: one request for many, and what follows where there is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use model::{HoldReason, LaneState};
use serde_json::json;

use super::world::{Got, Receiver, Reply, World, wait_for};

/// The answer that gives a token.
fn token(value: &str, expires_in: u64) -> Reply {
    let body = json!({"access_token": value, "expires_in": expires_in, "token_type": "Bearer"});
    Reply::Text(200, body.to_string())
}

/// A token endpoint that gives `t0`, `t1` and so on, each living so long.
fn endpoint(expires_in: fn(usize) -> u64) -> Receiver {
    Receiver::start(move |_, before| token(&format!("t{before}"), expires_in(before)))
}

fn an_hour(_: usize) -> u64 {
    3_600
}

fn bearer(got: &Got) -> &str {
    got.headers["authorization"]
        .strip_prefix("Bearer ")
        .unwrap()
}

fn bearers(receiver: &Receiver) -> Vec<String> {
    receiver
        .got()
        .iter()
        .map(|got| bearer(got).to_owned())
        .collect()
}

fn connect(world: &mut World, name: &str, receiver: &Receiver, endpoint: &Receiver) {
    let settings = json!({
        "url": receiver.url(),
        "token_url": endpoint.url(),
        "refresh_token": "r0",
    });
    world.connect(name, "oauth", settings);
}

#[test]
fn one_token_is_fetched_for_many_lanes_on_all_shards() {
    let mut world = World::new();
    let released = Arc::new(AtomicBool::new(false));
    let endpoint = Receiver::start({
        let released = Arc::clone(&released);
        move |_, before| {
            wait_for(|| released.load(Ordering::SeqCst));
            token(&format!("t{before}"), 3_600)
        }
    });
    let receiver = Receiver::ok();
    let names = ["a", "b", "c", "d"];
    for name in names {
        connect(&mut world, name, &receiver, &endpoint);
    }
    let delivery = world.start();
    world.append(0..50);
    for name in names {
        world.wait(&delivery, name, |lane| lane.in_flight > 1);
    }
    released.store(true, Ordering::SeqCst);
    for name in names {
        assert_eq!(world.settle(&delivery, name).counts.delivered, 50);
    }
    assert_eq!(bearers(&receiver), vec!["t0"; 200]);
    let asked: Vec<String> = endpoint.got().into_iter().map(|got| got.text).collect();
    assert_eq!(
        asked,
        ["grant_type=refresh_token&refresh_token=r0&client_id=client"]
    );
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn a_token_that_has_expired_is_renewed() {
    let mut world = World::new();
    let endpoint = endpoint(|before| if before == 0 { 0 } else { 3_600 });
    let receiver = Receiver::ok();
    connect(&mut world, "short", &receiver, &endpoint);
    let delivery = world.start();
    for event in 0..3 {
        world.append(event..event + 1);
        world.settle(&delivery, "short");
    }
    assert_eq!(bearers(&receiver), ["t0", "t1", "t1"]);
    world.shutdown(delivery);
}

#[test]
fn a_token_that_is_refused_is_renewed_once_for_all() {
    let mut world = World::new();
    let endpoint = endpoint(an_hour);
    let revoked = Arc::new(AtomicBool::new(false));
    let receiver = Receiver::start({
        let revoked = Arc::clone(&revoked);
        move |got, _| {
            let is_old = bearer(got) == "t0" && revoked.load(Ordering::SeqCst);
            Reply::Status(if is_old { 401 } else { 200 })
        }
    });
    connect(&mut world, "revoked", &receiver, &endpoint);
    let delivery = world.start();
    world.append(0..10);
    world.settle(&delivery, "revoked");
    revoked.store(true, Ordering::SeqCst);
    world.append(10..60);
    let lane = world.settle(&delivery, "revoked");
    assert_eq!(lane.counts.delivered, 60);
    // The refused sendings are no attempts of their own.
    assert_eq!(lane.attempts, [("200".to_owned(), 60)]);
    assert_eq!(endpoint.got().len(), 2);
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn a_destination_that_refuses_every_token_holds_the_lane() {
    let mut world = World::new();
    let endpoint = endpoint(an_hour);
    let receiver = Receiver::start(|_, _| Reply::Status(401));
    connect(&mut world, "closed", &receiver, &endpoint);
    let delivery = world.start();
    world.append(0..1);
    let reason = HoldReason::Auth;
    let lane = world.wait(&delivery, "closed", |lane| {
        lane.state == LaneState::Held { reason }
    });
    assert_eq!(
        (lane.pending, lane.last_error.as_deref()),
        (1, Some("answer 401"))
    );
    assert_eq!(bearers(&receiver), ["t0", "t1"]);
    world.shutdown(delivery);
}

#[test]
fn an_endpoint_that_is_down_costs_no_event() {
    let mut world = World::new();
    let up = Arc::new(AtomicBool::new(false));
    let endpoint = Receiver::start({
        let up = Arc::clone(&up);
        move |_, _| match up.load(Ordering::SeqCst) {
            true => token("t", 3_600),
            false => Reply::Status(503),
        }
    });
    let receiver = Receiver::ok();
    connect(&mut world, "down", &receiver, &endpoint);
    let delivery = world.start();
    world.append(0..5);
    let told = "no token, answer 503: said";
    let lane = world.wait(&delivery, "down", |lane| lane.last_error.is_some());
    assert_eq!(lane.last_error.as_deref(), Some(told));
    assert_eq!(receiver.got().len(), 0);
    up.store(true, Ordering::SeqCst);
    world.block_on(delivery.resume("down")).unwrap();
    assert_eq!(world.settle(&delivery, "down").counts.delivered, 5);
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn a_refused_refresh_token_holds_the_lane_and_the_sample_says_why() {
    let mut world = World::new();
    let endpoint = Receiver::start(|_, _| {
        let body = json!({"error": "invalid_grant", "error_description": "r-secret is revoked"});
        Reply::Text(400, body.to_string())
    });
    let receiver = Receiver::ok();
    let settings = json!({
        "url": receiver.url(),
        "token_url": endpoint.url(),
        "refresh_token": "r-secret",
    });
    world.connect("revoked", "oauth", settings);
    let delivery = world.start();
    world.append(0..1);
    let reason = HoldReason::Auth;
    let lane = world.wait(&delivery, "revoked", |lane| {
        lane.state == LaneState::Held { reason }
    });
    let told = "no token, answer 400: invalid_grant: **** is revoked";
    assert_eq!(lane.last_error.as_deref(), Some(told));
    wait_for(|| !world.store.samples(lane.lane).unwrap().is_empty());
    let sample = world.store.samples(lane.lane).unwrap().remove(0);
    assert_eq!(sample.request_line, format!("POST {}", endpoint.url()));
    assert_eq!(&sample.response[..], told.as_bytes());
    assert_eq!(
        (sample.status, sample.result.as_str()),
        (Some(400), "unauthorized")
    );
    assert_eq!(receiver.got().len(), 0);
    world.shutdown(delivery);
}

#[test]
fn a_changed_refresh_token_outlives_the_process() {
    let mut world = World::new();
    let given = Arc::new(AtomicUsize::new(0));
    // Each refresh token holds once, and each token for one event.
    let endpoint = Receiver::start({
        let given = Arc::clone(&given);
        move |got, _| {
            let now = given.load(Ordering::SeqCst);
            if !got.text.contains(&format!("refresh_token=r{now}&")) {
                return Reply::Text(400, json!({"error": "invalid_grant"}).to_string());
            }
            given.store(now + 1, Ordering::SeqCst);
            let refresh_token = format!("r{}", now + 1);
            let body =
                json!({"access_token": "t", "expires_in": 0, "refresh_token": refresh_token});
            Reply::Text(200, body.to_string())
        }
    });
    let receiver = Receiver::ok();
    connect(&mut world, "rotating", &receiver, &endpoint);
    for event in 0..2 {
        let delivery = world.start();
        for event in [2 * event, 2 * event + 1] {
            world.append(event..event + 1);
            let lane = world.settle(&delivery, "rotating");
            assert_eq!(lane.last_error, None);
        }
        world.shutdown(delivery);
    }
    assert_eq!(given.load(Ordering::SeqCst), 4);
    assert_eq!(receiver.ids().len(), 4);
}

#[test]
fn a_token_that_is_set_is_used_and_nothing_is_fetched() {
    let mut world = World::new();
    let (endpoint, receiver) = (endpoint(an_hour), Receiver::ok());
    let settings = json!({
        "url": receiver.url(),
        "token_url": endpoint.url(),
        "access_token": "given",
    });
    world.connect("given", "oauth", settings);
    let settings = json!({"url": receiver.url(), "token_url": endpoint.url()});
    world.connect("nothing", "oauth", settings);
    let delivery = world.start();
    world.append(0..2);
    assert_eq!(world.settle(&delivery, "given").counts.delivered, 2);
    assert_eq!(bearers(&receiver), ["given", "given"]);
    assert_eq!(endpoint.got().len(), 0);
    let reason = HoldReason::Definition;
    let lane = world.wait(&delivery, "nothing", |lane| {
        lane.state == LaneState::Held { reason }
    });
    let told = lane.last_error.unwrap();
    assert!(
        told.contains("set refresh_token, or set access_token"),
        "{told}"
    );
    world.shutdown(delivery);
}
