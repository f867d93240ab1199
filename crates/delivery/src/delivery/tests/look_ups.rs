//! Answers to look-ups: used again while they may be, and not after they led astray.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eventlog::RecordFlags;
use serde_json::json;

use super::world::{Got, Receiver, Reply, World};

fn is_look_up(got: &Got) -> bool {
    got.text.is_empty()
}

/// Answers look-ups with `found`, and writes with the statuses in their order, then 200.
fn receiver(found: &'static str, writes: &'static [u16]) -> Receiver {
    let written = Arc::new(AtomicUsize::new(0));
    Receiver::start(move |got, _| {
        if is_look_up(got) {
            return Reply::Text(200, found.to_owned());
        }
        let index = written.fetch_add(1, Ordering::SeqCst);
        Reply::Status(writes.get(index).copied().unwrap_or(200))
    })
}

/// Delivers events of these users, one after the other; gives the number of look-ups and writes.
fn deliver(receiver: &Receiver, users: &[&str]) -> (usize, usize) {
    let mut world = World::new();
    world.connect("look-up", "look_up", json!({"url": receiver.url()}));
    let delivery = world.start();
    for (event, user) in users.iter().enumerate() {
        world.append_with(event..event + 1, json!({"userId": user}), RecordFlags::NONE);
        world.settle(&delivery, "look-up");
    }
    let lane = world.lane(&delivery, "look-up");
    assert_eq!(lane.counts.delivered, u64::try_from(users.len()).unwrap());
    world.check_balance(&delivery);
    world.shutdown(delivery);
    let got = receiver.got();
    let look_ups = got.iter().filter(|got| is_look_up(got)).count();
    (look_ups, got.len() - look_ups)
}

#[test]
fn an_answer_is_used_for_every_event_that_asks_the_same() {
    let receiver = receiver(r#"{"id": 7}"#, &[]);
    assert_eq!(deliver(&receiver, &["a", "a", "b", "a"]), (2, 4));
    let mut written = receiver.got();
    written.retain(|got| !is_look_up(got));
    assert!(written.iter().all(|got| got.body == json!({"id": 7})));
}

#[test]
fn an_answer_that_the_definition_does_not_want_kept_is_not() {
    let receiver = receiver("{}", &[]);
    assert_eq!(deliver(&receiver, &["a", "a"]), (2, 2));
}

#[test]
fn an_answer_that_is_cut_off_leads_to_no_write() {
    let receiver = Receiver::start(|_, _| {
        let pad = "x".repeat(World::options().response_bytes_max);
        Reply::Text(200, json!({"id": 7, "pad": pad}).to_string())
    });
    let mut world = World::new();
    world.connect("large", "look_up", json!({"url": receiver.url()}));
    let delivery = world.start();
    world.append(0..1);
    let lane = world.settle(&delivery, "large");
    assert_eq!(lane.counts.rejected, 1);
    let told = "the answer that the next step needs has more than 262144 bytes";
    assert_eq!(lane.last_error.as_deref(), Some(told));
    assert!(receiver.got().iter().all(is_look_up));
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn an_answer_is_forgotten_when_the_write_fails() {
    let receiver = receiver(r#"{"id": 7}"#, &[200, 500]);
    assert_eq!(deliver(&receiver, &["a", "a", "a"]), (2, 4));
}
