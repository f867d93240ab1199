//! What an engineer sees of the lanes, and steers: states, dead letters, replays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Fairlane, LOOPBACK, Setup, WRITE_KEY};
use crate::peer::{Receiver, Reply, call};

const START: &str = "1970-01-01T00:00:00Z";
const END: &str = "2999-01-01T00:00:00Z";

#[test]
fn a_lane_says_what_it_does_and_why() {
    let failing = Receiver::start(|_, _| Reply::Status(503));
    let refusing = Receiver::start(|_, _| Reply::With(429, &[("retry-after", "3000")], ""));
    let fairlane = Setup::default()
        .webhook("failing", &failing.url())
        .webhook_with(
            "refusing",
            "web",
            &format!("url = \"{}\"", refusing.url()),
            "ordering = \"key\"\nrate_limit_per_s = 2.5",
        )
        .and(LOOPBACK)
        .start();
    for n in 0..50 {
        fairlane.track(&format!("m-{n}"));
    }
    let failing = fairlane.wait_lane("failing", "the breaker opens", |lane| {
        lane["state"] == "open" && !lane["next_attempt_at"].is_null()
    });
    assert!(
        failing["cause"].as_str().unwrap().contains("503"),
        "{failing}"
    );
    assert_eq!(failing["oldest_unsettled"], 0, "{failing}");
    assert_eq!(failing["rate_limit_per_s"], Value::Null);
    let refusing = fairlane.wait_lane("refusing", "the destination asks for less", |lane| {
        lane["state"] == "throttled" && lane["retrying"] == 1
    });
    assert_eq!(refusing["ordered"], true);
    assert_eq!(refusing["rate_limit_per_s"], 2.5);
    let lane = |name: &'static str| format!("connection=\"{name}\"");
    let sample = |metric: &str, name| fairlane.metric(&[metric, &lane(name)]);
    let since = refusing["state_since"].as_f64().unwrap() / 1_000.0;
    assert_eq!(
        sample("fairlane_lane_state_since_seconds", "refusing"),
        Some(since)
    );
    assert_eq!(
        sample("fairlane_lane_rate_limit_per_second", "refusing"),
        Some(2.5)
    );
    assert_eq!(
        sample("fairlane_lane_rate_limit_per_second", "failing"),
        None
    );
    assert_eq!(sample("fairlane_lane_ordered", "refusing"), Some(1.0));
    assert_eq!(sample("fairlane_lane_retrying", "refusing"), Some(1.0));
    assert_eq!(
        sample("fairlane_lane_oldest_unsettled_offset", "failing"),
        Some(0.0)
    );
    let next = sample("fairlane_lane_next_attempt_seconds", "refusing").unwrap();
    assert!(
        next > since + 2_000.0,
        "Retry-After is an appointment: {next} after {since}"
    );

    let table = fairlane.command(&["lanes"]);
    let line = table
        .lines()
        .find(|line| line.starts_with("refusing"))
        .unwrap();
    assert!(
        line.contains("throttled") && line.contains("2.5/s"),
        "{table}"
    );
    let detail = fairlane.command(&["lanes", "refusing"]);
    for words in [
        "state               throttled",
        "retry queue         1",
        "ordering            by key",
        "oldest unsettled    offset 0,",
        "rate limit          2.5 requests a second",
        "next attempt        20",
    ] {
        assert!(detail.contains(words), "{words:?} in:\n{detail}");
    }
    let detail: Value =
        serde_json::from_str(&fairlane.command(&["lanes", "failing", "--json"])).unwrap();
    assert_eq!(detail["state"], "open");
}

#[test]
fn each_change_of_state_is_one_line_of_the_log() {
    let receiver = Receiver::start(|_, _| Reply::Status(503));
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    for n in 0..50 {
        fairlane.track(&format!("m-{n}"));
    }
    fairlane.wait_lane("hook", "the breaker opens", |lane| lane["state"] == "open");
    // Probes fail meanwhile: it is open all the time.
    let attempts = receiver.count();
    receiver.wait_for("two probes", |all| all.len() >= attempts + 2);
    for _ in 0..3 {
        fairlane.command(&["hold", "hook"]);
    }
    // What was written before this line has been read when it has.
    fairlane.wait_log_lines(&["lane held", "operator"], 1);
    assert_eq!(fairlane.log_lines(&["lane open", "hook"]), 1);
    fairlane.command(&["resume", "hook"]);
    // It goes on, finds that nothing has changed, and is open again: a change, so a line.
    fairlane.wait_log_lines(&["lane open", "hook"], 2);
    fairlane.command(&["hold", "hook"]);
    fairlane.wait_log_lines(&["lane held", "operator"], 2);
}

/// Posts a track event of this name.
fn named(fairlane: &Fairlane, name: &str, id: &str) {
    let event = json!({
        "writeKey": WRITE_KEY, "type": "track", "event": name, "userId": "u", "messageId": id,
    });
    let answer = call(fairlane.ingest, "POST", "/v1/track", &event.to_string()).unwrap();
    assert_eq!(answer.status(), 200);
}

/// Answers so until it is mended.
fn refusing(status: u16, mended: &Arc<AtomicBool>) -> Receiver {
    let mended = Arc::clone(mended);
    Receiver::start(move |_, _| match mended.load(Ordering::Relaxed) {
        true => Reply::Status(200),
        false => Reply::Status(status),
    })
}

fn letters_kept(fairlane: &Fairlane) -> u64 {
    let listed = fairlane.command(&["dead-letters", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed["totals"]["letters"].as_u64().unwrap()
}

#[test]
fn dead_letters_are_redelivered_by_filter() {
    let mended = Arc::new(AtomicBool::new(false));
    let receiver = refusing(422, &mended);
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .webhook("other", &receiver.url())
        .and(LOOPBACK)
        .start();
    for n in 0..6 {
        named(&fairlane, ["Viewed", "Bought"][n % 2], &format!("m-{n}"));
    }
    for name in ["hook", "other"] {
        fairlane.wait_lane(name, "all refused", |lane| lane["rejected"] == 6);
    }
    while letters_kept(&fairlane) < 12 {
        std::thread::sleep(Duration::from_millis(20));
    }
    mended.store(true, Ordering::Relaxed);
    let redeliver = |args: &[&str]| {
        let args = [&["dead-letters", "redeliver", "--json"], args].concat();
        let answer: Value = serde_json::from_str(&fairlane.command(&args)).unwrap();
        answer["queued"].as_u64().unwrap()
    };
    assert_eq!(redeliver(&["--until", START]), 0, "nothing died so early");
    let refused = fairlane.refused(&["dead-letters", "redeliver", "1", "999"]);
    assert!(refused.contains("no dead letter 999"), "{refused}");
    assert_eq!(redeliver(&["--event", "Viewed", "--reason", "invalid"]), 0);
    assert_eq!(redeliver(&["--event", "Bought", "--connection", "hook"]), 3);
    receiver.wait_for("what was bought", |all| {
        all.iter().filter(|one| one.status == 200).count() == 3
    });
    let bought = receiver.accepted_ids();
    assert!(
        ["m-1", "m-3", "m-5"]
            .iter()
            .all(|id| bought.contains_key(*id)),
        "{bought:?}"
    );
    assert_eq!(
        redeliver(&["--since", START, "--until", END, "--connection", "other"]),
        6
    );
    receiver.wait_for("all of the other", |all| {
        all.iter().filter(|one| one.status == 200).count() == 9
    });
    fairlane.command(&["dead-letters", "list"]);
    while letters_kept(&fairlane) > 3 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let listed = fairlane.command(&["dead-letters", "list"]);
    assert!(
        listed.contains("3 kept,") && listed.contains("9 were delivered"),
        "{listed}"
    );
}

/// The cursor of a redelivery counts dead letters, and not the log's records.
#[test]
fn a_redelivery_does_nothing_to_the_log() {
    let mended = Arc::new(AtomicBool::new(false));
    let receiver = refusing(400, &mended);
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    fairlane.track("m-0");
    fairlane.wait_lane("hook", "it is refused", |lane| lane["rejected"] == 1);
    mended.store(true, Ordering::Relaxed);
    while letters_kept(&fairlane) < 1 {
        std::thread::sleep(Duration::from_millis(20));
    }
    fairlane.command(&["dead-letters", "redeliver", "--all"]);
    receiver.wait_for("the letter", |all| all.len() == 2);
    while letters_kept(&fairlane) > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    for (restart, id) in ["m-1", "m-2"].into_iter().enumerate() {
        fairlane.kill();
        fairlane.start();
        fairlane.track(id);
        receiver.wait_for("what came later", |all| {
            all.iter().any(|one| one.id() == id)
        });
        fairlane.wait_lane("hook", "all is counted", |lane| {
            lane["accepted"] == 2 + restart && lane["pending"] == 0
        });
    }
}

/// What a reload does not touch goes on as it is.
#[test]
fn a_reload_of_the_same_resumes_nobody_and_an_empty_file_is_refused() {
    let gone = Receiver::start(|_, _| Reply::Status(410));
    let setup = Setup::default().webhook("gone", &gone.url()).and(LOOPBACK);
    let fairlane = setup.start();
    fairlane.track("m-0");
    let since = |lane: &Value| lane["state_since"].clone();
    let held = fairlane.wait_lane("gone", "it is held", |lane| lane["state"] == "held");
    assert!(fairlane.management("POST", "/v1/reload", "").status() < 300);
    let still = fairlane.wait_lane("gone", "it is held", |lane| lane["state"] == "held");
    assert_eq!((since(&held), gone.count()), (since(&still), 1));

    std::fs::write(fairlane.config(), "").unwrap();
    let refused = fairlane.management("POST", "/v1/reload", "");
    assert!(refused.status() >= 400, "{refused:?}");
    let lane = fairlane.wait_lane("gone", "its event waits", |lane| lane["pending"] == 1);
    assert_eq!(lane["state"], "held");
}

#[test]
fn a_new_connection_gets_the_past_once() {
    let (old, new) = (Receiver::ok(), Receiver::ok());
    let before = Setup::default().webhook("old", &old.url()).and(LOOPBACK);
    let fairlane = before.start();
    for n in 0..30 {
        named(&fairlane, ["Viewed", "Bought"][n % 2], &format!("past-{n}"));
    }
    Setup::default()
        .webhook("old", &old.url())
        .webhook("new", &new.url())
        .and(LOOPBACK)
        .replace(&fairlane);
    assert!(fairlane.management("POST", "/v1/reload", "").status() < 300);
    for n in 0..10 {
        named(&fairlane, "Bought", &format!("present-{n}"));
    }
    let filter = ".event == \"Bought\"";
    let replay = fairlane.command(&[
        "replay", "new", "--from", "0", "--to", "start", "--filter", filter, "--rate", "500",
        "--json",
    ]);
    let replay: Value = serde_json::from_str(&replay).unwrap();
    assert_eq!(replay["state"], "finished");
    assert_eq!(
        (&replay["delivered"], &replay["filtered"]["filter"]),
        (&json!(15), &json!(15))
    );
    fairlane.wait_lane("new", "its own events", |lane| lane["delivered"] == 10);
    let got = new.accepted_ids();
    assert_eq!(got.len(), 25, "{got:?}");
    assert!(got.values().all(|times| *times == 1), "each once: {got:?}");
}

#[test]
fn a_replay_of_a_time_is_exactly_that_time() {
    let receiver = Receiver::ok();
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    let mut times = Vec::new();
    for part in ["before", "within", "after"] {
        // Times are kept in milliseconds: these keep the parts apart.
        std::thread::sleep(Duration::from_millis(5));
        times.push(chrono::Utc::now().to_rfc3339());
        std::thread::sleep(Duration::from_millis(5));
        for n in 0..7 {
            fairlane.track(&format!("{part}-{n}"));
        }
    }
    fairlane.wait_lane("hook", "all delivered", |lane| lane["delivered"] == 21);
    let replay = fairlane.command(&["replay", "hook", "--from", &times[1], "--to", &times[2]]);
    assert!(
        replay.contains("offsets 7 up to 14; 7 delivered"),
        "{replay}"
    );
    for (id, times) in receiver.accepted_ids() {
        assert_eq!(times, 1 + usize::from(id.starts_with("within")), "{id}");
    }
}

#[test]
fn a_replay_that_waits_says_why_and_can_be_cancelled() {
    let open = Arc::new(AtomicBool::new(true));
    let receiver = Receiver::start({
        let open = Arc::clone(&open);
        move |_, _| {
            Reply::Status(if open.load(Ordering::Relaxed) {
                200
            } else {
                401
            })
        }
    });
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    for n in 0..40 {
        fairlane.track(&format!("m-{n}"));
    }
    fairlane.wait_lane("hook", "all delivered", |lane| lane["delivered"] == 40);
    open.store(false, Ordering::Relaxed);
    let said = fairlane.command(&["replay", "hook", "--from", "0", "--rate", "20", "--detach"]);
    let id = said.split(' ').nth(1).unwrap().to_owned();
    let listed = loop {
        let listed = fairlane.command(&["replays", "list"]);
        if listed.contains("held: auth") {
            break listed;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(listed.contains(&id) && listed.contains("20/s"), "{listed}");
    open.store(true, Ordering::Relaxed);
    fairlane.command(&["resume", "hook"]);
    receiver.wait_for("it goes on", |all| {
        all.iter().filter(|one| one.status == 200).count() >= 43
    });
    let ended = fairlane.command(&["replays", "cancel", &id, "--json"]);
    let ended: Value = serde_json::from_str(&ended).unwrap();
    assert_eq!(ended["state"], "cancelled", "{ended}");
    // Nothing is in flight any more, and what was delivered is counted.
    let delivered = receiver.accepted_ids().values().sum::<usize>() - 40;
    assert_eq!(ended["delivered"], delivered, "{ended}");
    assert!(delivered < 40);
    let again = fairlane.management("POST", &format!("/v1/replays/{id}/cancel"), "");
    assert_eq!(again.status(), 409);
    assert_eq!(
        fairlane.lane("hook")["delivered"],
        40,
        "the live lane is as it was"
    );
}

#[test]
fn what_the_configuration_switched_off_is_not_said_to_go_on() {
    let receiver = Receiver::ok();
    let url = format!("url = \"{}\"", receiver.url());
    let fairlane = Setup::default()
        .webhook_with("off", "web", &url, "enabled = false")
        .and(LOOPBACK)
        .start();
    let said = fairlane.refused(&["resume", "off"]);
    assert!(
        said.contains("off is disabled in the configuration"),
        "{said}"
    );
}
