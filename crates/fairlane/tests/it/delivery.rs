//! From an accepted event to every way in which it can end.

use std::time::Duration;

use serde_json::json;

use crate::harness::{LOOPBACK, Setup, WRITE_KEY, run, track};
use crate::peer::{Receiver, Reply, call};

#[test]
fn an_event_arrives_signed_and_whole() {
    let receiver = Receiver::ok();
    let fairlane = Setup::default()
        .and(&format!(
            "[[destinations]]\nname = \"hook\"\ntype = \"webhook\"\n\
             settings = {{ url = \"{}\", signing_secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\", headers = {{ x-team = \"data\" }} }}\n\
             [[connections]]\nname = \"hook\"\nsource = \"web\"\ndestination = \"hook\"\n",
            receiver.url()
        ))
        .and(LOOPBACK)
        .start();
    fairlane.track("m-1");
    let received = receiver.wait_for("the event", |all| all.len() == 1);
    let request = &received[0].request;
    let event = request.json();
    assert_eq!(event["messageId"], "m-1");
    assert_eq!(event["event"], "Tested");
    assert_eq!(request.header("webhook-id"), Some("m-1"));
    assert_eq!(request.header("x-team"), Some("data"));
    assert_eq!(request.header("content-type"), Some("application/json"));

    // The signature, by the Standard Webhooks specification, with code of its own.
    let stamp = request.header("webhook-timestamp").unwrap();
    let mut signed = format!("m-1.{stamp}.").into_bytes();
    signed.extend_from_slice(&request.body);
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let key = base64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
    let expected = format!("v1,{}", base64.encode(ring::hmac::sign(&key, &signed)));
    assert_eq!(request.header("webhook-signature"), Some(expected.as_str()));
}

#[test]
fn a_failed_attempt_is_repeated_with_the_same_id() {
    let receiver = Receiver::start(|n, _| match n {
        0 => Reply::Status(500),
        1 => Reply::Close,
        _ => Reply::Status(200),
    });
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    fairlane.track("m-1");
    let received = receiver.wait_for("three attempts", |all| {
        all.iter().any(|one| one.status == 200)
    });
    assert!(received.iter().all(|one| one.id() == "m-1"));
    let lane = fairlane.wait_lane("hook", "delivered", |lane| lane["delivered"] == 1);
    assert_eq!(lane["pending"], 0);
}

#[test]
fn a_refused_event_becomes_a_dead_letter_and_can_be_delivered_again() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let mended = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&mended);
    let receiver = Receiver::start(move |_, _| {
        if switch.load(Ordering::Relaxed) {
            Reply::Status(200)
        } else {
            Reply::With(422, &[], "the plan is unknown")
        }
    });
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    fairlane.track("m-1");
    fairlane.track("m-2");
    fairlane.wait_lane("hook", "both rejected", |lane| lane["rejected"] == 2);
    let admin = format!("http://{}", fairlane.admin);
    let list = |args: &[&str]| {
        let mut all = vec!["dead-letters", "list", "--admin", &admin, "--json"];
        all.extend(args);
        let (code, out, err) = run(fairlane.dir.path(), &all, "");
        assert_eq!(code, 0, "{out}{err}");
        serde_json::from_str::<serde_json::Value>(&out).unwrap()
    };
    let letters = wait_until("two dead letters", || {
        let letters = list(&[]);
        let letters = letters["dead_letters"].as_array().unwrap().clone();
        (letters.len() == 2).then_some(letters)
    });
    assert_eq!(letters[0]["reason"], "refused");
    assert_eq!(letters[0]["status"], 422);
    let id = letters[0]["id"].to_string();
    let (code, out, _) = run(
        fairlane.dir.path(),
        &["dead-letters", "show", &id, "--admin", &admin, "--json"],
        "",
    );
    assert_eq!(code, 0);
    let letter: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(letter["event"]["event"], "Tested");
    assert_eq!(letter["response"], "the plan is unknown");

    mended.store(true, Ordering::Relaxed);
    let (code, out, err) = run(
        fairlane.dir.path(),
        &["dead-letters", "redeliver", "--all", "--admin", &admin],
        "",
    );
    assert_eq!(code, 0, "{out}{err}");
    receiver.wait_for("both events again", |all| {
        all.iter().filter(|one| one.status == 200).count() == 2
    });
    let mut ids: Vec<_> = receiver.accepted_ids().into_keys().collect();
    ids.sort();
    assert_eq!(ids, ["m-1", "m-2"]);
    wait_until("no dead letter is left", || {
        list(&[])["dead_letters"]
            .as_array()
            .unwrap()
            .is_empty()
            .then_some(())
    });
}

#[test]
fn filters_transforms_and_integrations_are_honoured() {
    let receiver = Receiver::ok();
    let fairlane = Setup::default()
        .and(&format!(
            "[[destinations]]\nname = \"hook\"\ntype = \"webhook\"\nsettings = {{ url = \"{}\" }}\n\
             [[connections]]\nname = \"hook\"\nsource = \"web\"\ndestination = \"hook\"\n\
             filter = '.event != \"Secret\"'\n\
             transform = '.properties.added = 42'\n",
            receiver.url()
        ))
        .and(LOOPBACK)
        .start();
    let post = |event: serde_json::Value| {
        let mut event = event;
        event["writeKey"] = json!(WRITE_KEY);
        event["userId"] = json!("u");
        let answer = call(fairlane.ingest, "POST", "/v1/track", &event.to_string()).unwrap();
        assert_eq!(answer.status(), 200);
    };
    post(json!({"event": "Secret", "messageId": "m-1"}));
    post(json!({"event": "Off", "messageId": "m-2", "integrations": {"All": false}}));
    post(
        json!({"event": "Named", "messageId": "m-3", "integrations": {"All": false, "hook": true}}),
    );
    post(json!({"event": "Plain", "messageId": "m-4", "properties": {"n": 1}}));
    let lane = fairlane.wait_lane("hook", "all four ended", |lane| lane["pending"] == 0);
    assert_eq!(lane["delivered"], 2, "{lane}");
    let mut received: Vec<_> = receiver
        .received()
        .iter()
        .map(|one| one.request.json())
        .collect();
    received.sort_by_key(|event| event["messageId"].to_string());
    assert_eq!(received[0]["messageId"], "m-3");
    assert_eq!(received[1]["properties"], json!({"n": 1, "added": 42}));
    let metrics = fairlane.management("GET", "/metrics", "");
    let metrics = String::from_utf8(metrics.body).unwrap();
    for reason in ["filter", "integrations"] {
        assert!(
            metrics
                .lines()
                .any(|line| line.contains(&format!("reason=\"{reason}\"")) && line.ends_with(" 1")),
            "{metrics}"
        );
    }
}

#[test]
fn a_replay_sends_exactly_the_range_again() {
    let receiver = Receiver::ok();
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    for n in 0..20 {
        fairlane.track(&format!("m-{n}"));
    }
    fairlane.wait_lane("hook", "all delivered", |lane| lane["delivered"] == 20);
    let admin = format!("http://{}", fairlane.admin);
    let (code, out, err) = run(
        fairlane.dir.path(),
        &[
            "replay", "hook", "--from", "5", "--to", "15", "--admin", &admin, "--json",
        ],
        "",
    );
    assert_eq!(code, 0, "{out}{err}");
    let replay: serde_json::Value = serde_json::from_str(&out).unwrap();
    let told = [&replay["state"], &replay["delivered"], &replay["pending"]];
    assert_eq!(
        told,
        [&json!("finished"), &json!(10), &json!(0)],
        "{replay}"
    );
    let counts = receiver.accepted_ids();
    for n in 0..20 {
        let times = if (5..15).contains(&n) { 2 } else { 1 };
        assert_eq!(counts[&format!("m-{n}")], times, "m-{n}");
    }
    assert_eq!(
        fairlane.lane("hook")["delivered"],
        20,
        "a replay is not in the live lane's books"
    );
}

#[test]
fn sigterm_finishes_what_is_in_flight() {
    let receiver = Receiver::start(|_, _| Reply::After(Duration::from_millis(300), 200));
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    for n in 0..8 {
        fairlane.track(&format!("m-{n}"));
    }
    receiver.wait_for("something is in flight", |all| !all.is_empty());
    assert_eq!(fairlane.terminate(), 0, "{}", fairlane.log());
    fairlane.start();
    fairlane.wait_lane("hook", "all delivered", |lane| lane["delivered"] == 8);
    let counts = receiver.accepted_ids();
    assert_eq!(counts.len(), 8);
    assert!(
        counts.values().all(|n| *n == 1),
        "repeated after an orderly end: {counts:?}"
    );
}

#[test]
fn a_changed_file_takes_effect_and_a_bad_one_changes_nothing() {
    let old = Receiver::ok();
    let new = Receiver::ok();
    let fairlane = Setup::default()
        .webhook("hook", &old.url())
        .and(LOOPBACK)
        .start();
    fairlane.track("m-1");
    old.wait_for("the first event", |all| all.len() == 1);

    Setup::default()
        .webhook("hook", &new.url())
        .and(LOOPBACK)
        .and("[[sources]]\nnam = 1")
        .replace(&fairlane);
    wait_until("the bad file is refused, with its line", || {
        let log = fairlane.log();
        (log.contains("fairlane.toml:") && log.contains("nam")).then_some(())
    });
    let told = || fairlane.management("GET", "/v1/status", "").json()["reload_error"].clone();
    assert!(told().as_str().unwrap().contains("nam"), "{}", told());
    fairlane.track("m-2");
    old.wait_for("the old configuration is in force", |all| all.len() == 2);

    Setup::default()
        .webhook("hook", &new.url())
        .webhook("second", &new.url())
        .and(LOOPBACK)
        .replace(&fairlane);
    wait_until("the new connection is there", || {
        (fairlane.management("GET", "/v1/lanes/second", "").status() == 200).then_some(())
    });
    fairlane.track("m-3");
    new.wait_for("both connections deliver to the new address", |all| {
        all.len() == 2
    });
    assert_eq!(old.count(), 2);
    assert!(told().is_null(), "{}", told());
}

#[test]
fn a_changed_definition_must_pass_its_cases() {
    let receiver = Receiver::ok();
    let mut fairlane = Setup::default()
        .and(&format!(
            "[[destinations]]\nname = \"own\"\ntype = \"own\"\n\
             settings = {{ url = \"{}\" }}\n\
             [[connections]]\nname = \"own\"\nsource = \"web\"\ndestination = \"own\"\n\
             [catalog]\noverlay_dir = \"destinations\"\n",
            receiver.url()
        ))
        .and(LOOPBACK)
        .prepare();
    let folder = fairlane.dir.path().join("destinations/own");
    std::fs::create_dir_all(folder.join("cases")).unwrap();
    let program = |sent: &str| format!("{{\"url\": .settings.url, \"body\": {sent}}}");
    std::fs::write(folder.join("event.vrl"), program(".event.event")).unwrap();
    std::fs::write(
        folder.join("destination.toml"),
        "name = \"Own\"\ncategory = \"test\"\ndocs = \"https://example.com\"\n\
         hosts = [\"{{settings.url}}\"]\n[settings.url]\ntype = \"url\"\nrequired = true\nhelp = \"h\"\n",
    )
    .unwrap();
    let case = json!({
        "name": "the name is sent",
        "settings": {"url": "https://own.example/"},
        "event": {"type": "track", "event": "E"},
        "requests": [{"method": "POST", "url": "https://own.example/", "body": "E"}],
    });
    std::fs::write(folder.join("cases/one.json"), case.to_string()).unwrap();
    fairlane.start();
    fairlane.track("m-1");
    receiver.wait_for("the first event", |all| all.len() == 1);

    std::fs::write(folder.join("event.vrl"), program("\"broken\"")).unwrap();
    wait_until("the definition is refused, with its case", || {
        let log = fairlane.log();
        (log.contains("the name is sent") && log.contains("cases/one.json")).then_some(())
    });
    fairlane.track("m-2");
    let all = receiver.wait_for("the old definition is in force", |all| all.len() == 2);
    assert_eq!(all[1].request.body, all[0].request.body);
}

#[test]
fn redirects_are_not_followed_and_private_addresses_not_dialled() {
    let secret = Receiver::ok();
    let location: &'static str = Box::leak(secret.url().into_boxed_str());
    let headers: &'static [(&'static str, &'static str)] =
        Box::leak(Box::new([("location", location)]));
    let redirecting = Receiver::start(move |_, _| Reply::With(302, headers, ""));
    let fairlane = Setup::default()
        .webhook("redirecting", &redirecting.url())
        .and(LOOPBACK)
        .start();
    fairlane.track("m-1");
    redirecting.wait_for("an attempt", |all| !all.is_empty());

    // Without the allowance, loopback is not dialled at all, and the lane says why.
    let guarded = Setup::default().webhook("guarded", &secret.url()).start();
    guarded.track("m-1");
    let lane = guarded.wait_lane("guarded", "held", |lane| lane["state"] == "held");
    assert_eq!(lane["reason"], "egress", "{lane}");
    assert!(
        lane["last_error"]
            .as_str()
            .unwrap()
            .contains("egress_allow"),
        "{lane}"
    );
    assert_eq!(secret.count(), 0);
}

#[test]
fn batches_of_events_keep_their_order_of_ids_and_none_is_missing() {
    let receiver = Receiver::ok();
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    let mut client = fairlane.client();
    for batch in 0..10 {
        let events: Vec<_> = (0..100).map(|n| track(&format!("m-{batch}-{n}"))).collect();
        let body = format!(
            "{{\"writeKey\":\"{WRITE_KEY}\",\"batch\":[{}]}}",
            events.join(",")
        );
        let answer = client
            .send("POST", "/v1/batch", &[], body.as_bytes())
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.json()["success"], true);
    }
    fairlane.wait_lane("hook", "all delivered", |lane| lane["delivered"] == 1_000);
    let counts = receiver.accepted_ids();
    assert_eq!(counts.len(), 1_000);
    assert!(counts.values().all(|n| *n == 1));
}

/// Waits for something that takes its time; panics after a minute.
pub fn wait_until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(
            std::time::Instant::now() < end,
            "{what}: still not so after 60 s"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
