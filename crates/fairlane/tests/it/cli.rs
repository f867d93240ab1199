//! The commands as a person types them.

use serde_json::{Value, json};

use crate::harness::{LOOPBACK, Setup, WRITE_KEY, run};
use crate::peer::Receiver;

#[test]
fn the_demo_ends_with_books_that_balance() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = run(
        dir.path(),
        &["demo", "--for", "6s", "--rate", "100", "--json"],
        "",
    );
    assert_eq!(code, 0, "{out}{err}");
    let sheet: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("no JSON: {out}{err}"));
    assert_eq!(sheet["balanced"], true, "{sheet}");
    assert!(sheet["accepted"].as_u64().unwrap() > 200, "{sheet}");
    let lanes = sheet["lanes"].as_array().unwrap();
    let healthy = lanes
        .iter()
        .find(|lane| lane["connection"] == "healthy")
        .unwrap();
    assert_eq!(healthy["pending"], 0, "{sheet}");
    assert_eq!(
        healthy["delivered"], healthy["received"],
        "the receiver's own count agrees"
    );
}

#[test]
fn an_event_is_sent_and_seen() {
    let receiver = Receiver::ok();
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    let url = format!("http://{}", fairlane.ingest);
    let admin = format!("http://{}", fairlane.admin);
    let here = fairlane.dir.path();
    let (code, out, err) = run(
        here,
        &[
            "send",
            "--url",
            &url,
            "-k",
            WRITE_KEY,
            "--event",
            "Hello",
            "--properties",
            "{\"a\":1}",
        ],
        "",
    );
    assert_eq!(code, 0, "{out}{err}");
    let lines = "{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{}}\n{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"}\n";
    let (code, out, err) = run(
        here,
        &["send", "--url", &url, "-k", WRITE_KEY, "--stdin"],
        lines,
    );
    assert_eq!(code, 0, "{out}{err}");
    receiver.wait_for("all three", |all| all.len() == 3);
    fairlane.wait_lane("hook", "delivered", |lane| lane["delivered"] == 3);

    let send = ["send", "--url", &url, "-k", WRITE_KEY, "--stdin", "--json"];
    for (line, told) in [
        ("{\"userId\":\"u\",\"event\":\"E\"}", "a \"type\""),
        ("{\"type\":\"track\",\"event\":\"E\"}", "a \"userId\""),
        ("{\"type\":\"track\",\"userId\":\"u\"}", "an \"event\""),
        ("[1]", "a JSON object"),
        ("{},{}", "one JSON object a line"),
        ("{", "this is no event"),
    ] {
        let (code, _, err) = run(here, &send, &format!("\n{line}\n"));
        assert_ne!(code, 0, "{line}");
        assert!(
            err.contains("line 2; 0 events were sent") && err.contains(told),
            "{line}: {err}"
        );
    }
    // As they were written, and not more at once than ingest takes: 20 events of 30 KB.
    let pad = "x".repeat(29_900);
    let exact = format!(
        "{{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\",\"properties\":{{\"n\":1.10,\"p\":\"{pad}\"}}}}\n"
    );
    let (code, out, err) = run(here, &send, &exact.repeat(20));
    assert_eq!((code, out.trim()), (0, "{\"accepted\":20}"), "{err}");
    receiver.wait_for("all of them", |all| all.len() == 23);
    let last = receiver.received().pop().unwrap().request;
    assert!(String::from_utf8_lossy(&last.body).contains("\"n\":1.10,"));

    let (code, out, _) = run(here, &["lanes", "--admin", &admin], "");
    assert_eq!(code, 0);
    assert!(out.contains("hook") && out.contains("active"), "{out}");
    let (_, out, _) = run(here, &["lanes", "--admin", &admin, "--json"], "");
    let lanes: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(lanes["lanes"][0]["connection"], "hook", "{lanes}");

    let (code, _, err) = run(here, &["hold", "nobody", "--admin", &admin], "");
    assert_ne!(code, 0);
    assert!(err.contains("nobody"), "{err}");
    assert_eq!(run(here, &["hold", "hook", "--admin", &admin], "").0, 0);
    fairlane.wait_lane("hook", "held", |lane| lane["state"] == "held");
    fairlane.track("m-while-held");
    assert_eq!(run(here, &["resume", "hook", "--admin", &admin], "").0, 0);
    fairlane.wait_lane("hook", "delivered after resume", |lane| {
        lane["delivered"] == 24
    });
}

#[test]
fn nobody_there_is_said_plainly() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = run(dir.path(), &["lanes", "--admin", "http://127.0.0.1:9"], "");
    assert_ne!(code, 0);
    assert!(
        err.contains("127.0.0.1:9") && err.contains("fairlane serve"),
        "{err}"
    );
}

#[test]
fn destinations_are_listed_and_tried() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let (code, out, _) = run(here, &["destination", "list", "--json"], "");
    assert_eq!(code, 0);
    let list: Value = serde_json::from_str(&out).unwrap();
    let ids: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    for id in [
        "webhook",
        "google-analytics-4",
        "amplitude",
        "mixpanel",
        "slack",
        "blackhole",
    ] {
        assert!(ids.contains(&id), "{id} is missing in {ids:?}");
    }
    std::fs::write(
        here.join("settings.json"),
        "{\"url\":\"https://hooks.example/x\"}",
    )
    .unwrap();
    let events = "{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\",\"messageId\":\"m\"}\n";
    let (code, out, err) = run(
        here,
        &[
            "destination",
            "transform",
            "webhook",
            "--settings",
            "settings.json",
        ],
        events,
    );
    assert_eq!(code, 0, "{err}");
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        line["requests"][0]["url"], "https://hooks.example/x",
        "{line}"
    );
    assert_eq!(line["requests"][0]["method"], "POST");
    assert_eq!(
        line["requests"][0]["body"],
        json!({"type":"track","event":"E","userId":"u","messageId":"m"})
    );

    let (code, _, err) = run(
        here,
        &[
            "destination",
            "transform",
            "webhok",
            "--settings",
            "settings.json",
        ],
        events,
    );
    assert_ne!(code, 0);
    assert!(err.contains("webhook"), "it suggests the nearest: {err}");
}

#[test]
fn secrets_are_kept_sealed_and_used() {
    let receiver = Receiver::ok();
    let setup = Setup::default()
        .and(&format!(
            "[[destinations]]\nname = \"hook\"\ntype = \"webhook\"\n\
             settings = {{ url = \"{}\", shared_secret = \"${{secret:hook_key}}\" }}\n\
             [[connections]]\nname = \"hook\"\nsource = \"web\"\ndestination = \"hook\"\n",
            receiver.url()
        ))
        .and(LOOPBACK);
    let dir = setup.write();
    let (code, _, err) = run(dir.path(), &["check"], "");
    assert_ne!(code, 0);
    assert!(
        err.contains("hook_key") && err.contains("fairlane secret set"),
        "{err}"
    );
    assert_ne!(run(dir.path(), &["serve"], "").0, 0);
    let made = dir.path().join("data").exists();
    assert!(!made, "nothing is made for a configuration that is wrong");
    let (code, out, err) = run(dir.path(), &["secret", "set", "hook_key"], "canary-7f3a\n");
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(run(dir.path(), &["check"], "").0, 0);
    let (_, out, _) = run(dir.path(), &["secret", "list"], "");
    assert!(out.contains("hook_key") && !out.contains("canary"), "{out}");
    for file in std::fs::read_dir(dir.path().join("data")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(11).any(|bytes| bytes == b"canary-7f3a");
            assert!(!found, "{} holds the secret in the clear", path.display());
        }
    }
}

#[cfg(not(feature = "kafka"))]
#[test]
fn a_destination_whose_sender_is_not_built_in_is_refused_with_what_to_do() {
    let settings = "settings = { broker = \"kafka.example.com\", topic = \"events\" }";
    let setup = Setup::default().and(&format!(
        "[[destinations]]\nname = \"stream\"\ntype = \"kafka\"\n{settings}\n"
    ));
    let dir = setup.write();
    let (code, _, err) = run(dir.path(), &["check"], "");
    assert_ne!(code, 0);
    assert!(err.contains("build with --features kafka"), "{err}");
    let (code, out, err) = run(dir.path(), &["destination", "test", "kafka"], "");
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn completions_exist_for_the_usual_shells() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = run(dir.path(), &["completions", shell], "");
        assert_eq!(code, 0);
        assert!(out.contains("dead-letters"), "{shell}");
    }
}

#[test]
fn the_example_is_good_with_its_programs() {
    let dir = tempfile::tempdir().unwrap();
    let example = include_str!("../../../../examples/fairlane.toml");
    std::fs::write(dir.path().join("fairlane.toml"), example).unwrap();
    let (code, out, err) = run(dir.path(), &["check"], "");
    assert_eq!(code, 0, "{out}{err}");
    let made = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(made, 1, "looking changes nothing");
}

#[test]
fn a_scenario_runs_and_a_wrong_one_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = "title = \"a small one\"\nduration = \"10s\"\n\
        [[sources]]\nname = \"shop\"\nevents_per_s = 20\n\
        [[destinations]]\nname = \"crm\"\n\
        [[lanes]]\nname = \"to crm\"\nsources = \"shop\"\ndestinations = \"crm\"\n\
        [[expect]]\nlanes = \"to crm\"\np99_max = \"1s\"\n";
    let path = dir.path().join("small.toml");
    std::fs::write(&path, scenario).unwrap();
    let simulate = |args: &[&str]| run(dir.path(), &[&["simulate"], args].concat(), "");
    let (code, out, err) = simulate(&["small.toml", "--json", "--svg", "small.svg"]);
    assert_eq!(code, 0, "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["cohorts"][0]["delivered"], 200, "{report}");
    assert_eq!(report["expectations"][0]["holds"], true, "{report}");
    let svg = std::fs::read_to_string(dir.path().join("small.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("to crm"));

    std::fs::write(&path, scenario.replace("\"1s\"", "\"1ms\"")).unwrap();
    let (code, out, err) = simulate(&["small.toml"]);
    assert!(
        code == 1 && out.contains("BROKEN  to crm: p99"),
        "{out}{err}"
    );

    std::fs::write(&path, scenario.replace("= 20", "= 0")).unwrap();
    let (code, out, err) = simulate(&["small.toml"]);
    assert!(code == 1 && err.contains("small.toml:5:16"), "{out}{err}");

    let (code, out, err) = simulate(&["--invariants", "--seeds", "20"]);
    assert!(
        code == 0 && out.contains("every promise held"),
        "{out}{err}"
    );
}
