//! `fairlane destination` as an author of a definition uses it.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::run;
use crate::peer::{Receiver, Reply};

/// A directory with a definition `mine`, fresh from `destination new`, and settings for it.
fn begun() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = run(dir.path(), &["destination", "new", "mine"], "");
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("fairlane destination test destinations/mine"),
        "{out}"
    );
    std::fs::write(dir.path().join("settings.json"), "{\"api_key\":\"k\"}").unwrap();
    dir
}

fn change(dir: &Path, file: &str, from: &str, to: &str) {
    let path = dir.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_folder_is_tested_by_its_path_and_blessing_tells_what_changed() {
    let dir = begun();
    let here = dir.path();
    let test = ["destination", "test", "destinations/mine"];
    let (code, out, err) = run(here, &test, "");
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("cases of 1 definitions passed in "), "{out}");
    let (code, out, _) = run(
        &here.join("destinations/mine"),
        &["destination", "test", "."],
        "",
    );
    assert_eq!(code, 0, "{out}");

    change(
        here,
        "destinations/mine/event.vrl",
        "/v1/events",
        "/v2/events",
    );
    let (code, out, _) = run(here, &test, "");
    assert_ne!(code, 0);
    assert!(out.contains("requests[0].url: "), "{out}");
    let (code, out, err) = run(here, &[&test[..], &["--bless"]].concat(), "");
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("blessed mine/cases/") && out.contains("/v1/events\" -> \"https://"),
        "{out}"
    );
    assert_eq!(run(here, &test, "").0, 0);

    change(
        here,
        "destinations/mine/event.vrl",
        "name = if",
        "name = iff",
    );
    let (code, out, _) = run(here, &test, "");
    assert_ne!(code, 0);
    assert!(out.contains("event.vrl:2"), "{out}");
    let (code, _, err) = run(here, &["destination", "test", "webhook", "--bless"], "");
    assert_ne!(code, 0);
    assert!(err.contains("webhook is built in"), "{err}");
    let (_, _, err) = run(here, &["destination", "test", "mine"], "");
    assert!(err.contains("a folder is given as a path: ./mine"), "{err}");
}

#[test]
fn a_definition_is_begun_only_under_an_id_that_can_be_tested() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    for id in ["mine.v2", "mine:2", "Mine", "_mine", "a/b", ".."] {
        let (code, out, err) = run(here, &["destination", "new", id], "");
        assert_eq!(code, 1, "{id}: {out}");
        assert!(err.contains("a folder's name is its id: use a-z"), "{err}");
        assert!(!here.join("destinations").exists(), "{id}");
    }
    let (code, _, err) = run(here, &["destination", "new", "2-mine_2"], "");
    assert_eq!(code, 0, "{err}");
    let test = ["destination", "test", "destinations/2-mine_2"];
    assert_eq!(run(here, &test, "").0, 0);
}

#[test]
fn a_filter_that_no_case_matches_is_an_error() {
    let dir = begun();
    let here = dir.path();
    let filtered = |text: &str| {
        let test = ["destination", "test", "destinations/mine", "--filter", text];
        run(here, &test, "")
    };
    let (code, out, err) = filtered("anonymous");
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("1 cases of 1 definitions passed"), "{out}");
    let (code, out, err) = filtered("anonymuos");
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(
        err.contains("no case whose name holds \"anonymuos\""),
        "{err}"
    );

    std::fs::write(here.join("destinations/mine/event.vrl"), "((").unwrap();
    let (code, out, _) = filtered("anonymous");
    assert_eq!(code, 1);
    assert!(out.contains("FAILED mine/(programs): (compile)"), "{out}");
}

#[test]
fn what_is_tested_and_shown_is_told_as_json_too() {
    let dir = begun();
    let here = dir.path();
    let test = ["destination", "test", "./destinations/mine", "--json"];
    let (code, out, err) = run(here, &test, "");
    assert_eq!(code, 0, "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    let cases = told["cases"].as_u64().unwrap();
    let all = json!({"cases": cases, "definitions": 1, "failed": []});
    assert!(cases > 0 && told == all, "{told}");

    change(
        here,
        "destinations/mine/event.vrl",
        "/v1/events",
        "/v2/events",
    );
    let (code, out, err) = run(here, &test, "");
    assert_eq!(code, 1, "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    let failed = &told["failed"][0];
    assert_eq!(
        (&told["cases"], &failed["definition"]),
        (&json!(cases), &json!("mine"))
    );
    let why = failed["failure"].as_str().unwrap();
    assert!(why.contains("requests[0].url: "), "{told}");

    let show = ["destination", "show", "./destinations/mine", "--json"];
    let (code, out, err) = run(here, &show, "");
    assert_eq!(code, 0, "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["id"], "mine");
    let key = &told["settings"][0];
    assert_eq!(
        (&key["name"], &key["secret"]),
        (&json!("api_key"), &json!(true)),
        "{told}"
    );
}

#[test]
fn a_definition_needs_a_case() {
    let dir = begun();
    let here = dir.path();
    std::fs::remove_dir_all(here.join("destinations/mine/cases")).unwrap();
    let test = ["destination", "test", "./destinations/mine"];
    let (code, out, _) = run(here, &test, "");
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("FAILED mine/cases/*.json: (no case)") && out.contains("cases/track.json"),
        "{out}"
    );
    let (code, _, err) = run(here, &[&test[..], &["--bless"]].concat(), "");
    assert_eq!(code, 1);
    assert!(err.contains("mine has no case to bless"), "{err}");
}

#[test]
fn events_are_shown_to_the_letter() {
    let dir = begun();
    let here = dir.path();
    std::fs::write(here.join("hook.json"), "{\"url\":\"https://a.example/\"}").unwrap();
    let event = r#"{"type":"track","n":1.10,"big":123456789012345678901234567890}"#;
    let transform = [
        "destination",
        "transform",
        "webhook",
        "--settings",
        "hook.json",
    ];
    // As an editor saves it that puts a mark before a text.
    let (code, out, err) = run(here, &transform, &format!("\u{feff}{event}\n"));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&format!("\"body\":{event},")), "{out}");
    let (_, out, _) = run(here, &transform, "{\"type\":\"purchase\"}\n");
    assert_eq!(out, "{\"filtered\":\"event_type\"}\n");
    let (code, out, err) = run(here, &transform, "{\"type\":\"track\"}\n[1]\n");
    assert_eq!((code, out.lines().count()), (1, 2));
    assert!(err.contains("line 2 is no JSON object"), "{err}");
    let (code, _, err) = run(here, &transform, "\n");
    assert_eq!(code, 1);
    assert!(err.contains("there are no events"), "{err}");
}

#[test]
fn a_folder_is_measured_by_its_path() {
    let dir = begun();
    let bench = ["destination", "bench", "./destinations/mine"];
    let once = ["--rounds", "1", "--json"];
    let (code, out, err) = run(dir.path(), &[&bench[..], &once].concat(), "");
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["destinations"][0]["id"], "mine", "{report}");
}

#[test]
fn a_diff_tells_what_a_change_would_send_differently() {
    let dir = begun();
    let here = dir.path();
    let events = "{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\",\"messageId\":\"m\"}\n\n\
                  {\"type\":\"page\",\"userId\":\"u\"}\n";
    std::fs::write(here.join("events.ndjson"), events).unwrap();
    let copied = |name: &str| {
        let (code, ..) = run(here, &["destination", "new", "mine", "--dir", name], "");
        assert_eq!(code, 0);
    };
    copied("old");
    copied("new");
    let diff = [
        "destination",
        "diff",
        "old",
        "new",
        "--events",
        "events.ndjson",
    ];
    let (code, out, err) = run(here, &diff, "");
    assert_eq!((code, out.as_str()), (0, "same: mine\n"), "{err}");

    change(
        here,
        "new/mine/event.vrl",
        "\"user\": .event.userId,",
        "\"who\": .event.userId,",
    );
    run(here, &["destination", "new", "more", "--dir", "new"], "");
    let (code, out, _) = run(here, &diff, "");
    assert_eq!(code, 1, "{out}");
    assert_eq!(
        out,
        "different: mine\n  event of line 1\n    requests[0].body.user: \"u\" -> nothing\n    \
         requests[0].body.who: nothing -> \"u\"\nadded: more\n"
    );
    let (code, out, _) = run(here, &[&diff[..], &["--json"]].concat(), "");
    assert_eq!(code, 1);
    let changes: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        changes[0]["events"][0]["differences"][1]["new"], "u",
        "{changes}"
    );
    assert_eq!(changes[1], json!({"id": "more", "change": "added"}));

    let settings = here.join("by-id.json");
    std::fs::write(&settings, "{\"mine\": {}}").unwrap();
    let (code, out, _) = run(
        here,
        &[&diff[..], &["--settings", "by-id.json"]].concat(),
        "",
    );
    assert_eq!(code, 2, "as diff(1) has it for trouble");
    assert!(out.contains("api_key: is required"), "{out}");
    // Settings are real, what comes out may be shown about; and one of another name is a slip.
    std::fs::write(&settings, "{\"mine\": {\"api_key\": \"canary-7a\"}}").unwrap();
    let token = "\"{{secret.api_key}}\"";
    change(
        here,
        "new/mine/destination.toml",
        token,
        "\"x{{secret.api_key}}\"",
    );
    let with_settings = [&diff[..], &["--settings", "by-id.json"]].concat();
    let (code, out, err) = run(here, &with_settings, "");
    assert_eq!(code, 1, "{err}");
    assert!(out.contains("Bearer xstruck-out-api-key"), "{out}");
    assert!(!out.contains("canary"), "{out}");
    std::fs::write(&settings, "{\"mime\": {}}").unwrap();
    let (code, _, err) = run(here, &with_settings, "");
    assert_eq!(code, 2);
    assert!(err.contains("there are settings for \"mime\""), "{err}");
    let (code, _, err) = run(
        here,
        &["destination", "diff", "old", "none", "--events", "x"],
        "",
    );
    assert_eq!(code, 2, "{err}");
    std::fs::write(here.join("events.ndjson"), "{\"type\":\"page\"}\n\n[1]\n").unwrap();
    let (code, out, err) = run(here, &diff, "");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("line 3 of events.ndjson is no JSON object"),
        "{err}"
    );
}

#[test]
fn definitions_are_held_against_facts() {
    let dir = begun();
    let here = dir.path();
    std::fs::create_dir(here.join("facts")).unwrap();
    let request = |user: &str| {
        json!({"method": "POST", "url": "https://api.mine.example/v1/events",
            "headers": {"Authorization": "Bearer s1", "content-type": "application/json"},
            "json": {"user": user, "name": "E"}})
    };
    let case = |name: &str, requests: Value| {
        json!({"name": name, "via": "presets", "answers": [{"requests": requests}],
            "event": {"type": "track", "event": "E", "userId": "u"}})
    };
    let facts = json!({"example_settings": {"apiKey": "s1", "region": "eu"}, "cases": [
        case("right", json!([request("u")])),
        case("wrong", json!([request("other")])),
        case("too few", json!([request("u"), request("u")])),
        {"name": "no event", "via": "literal mapping", "answers": [{"requests": [request("x")]}]},
        {"name": "filtered", "via": "presets", "event": {"type": "page"}, "answers": []},
        {"name": "extra", "via": "presets", "answers": [],
            "event": {"type": "track", "event": "E", "userId": "u"}},
    ]});
    std::fs::write(here.join("facts/mine.json"), facts.to_string()).unwrap();
    std::fs::write(here.join("facts/unknown.json"), "{}").unwrap();
    let program = "{\"body\": {\"user\": .event.userId, \"name\": .event.event},\n\
                   \"url\": \"https://api.mine.example/v1/events\"}\n";
    std::fs::write(here.join("destinations/mine/event.vrl"), program).unwrap();

    let verify = [
        "destination",
        "verify",
        "facts",
        "--overlay",
        "destinations",
    ];
    let (code, out, err) = run(here, &verify, "");
    assert_eq!(code, 0, "{err}");
    let line = |out: &str| -> Vec<String> {
        let line = out.lines().find(|line| line.starts_with("mine ")).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(line(&out), ["mine", "3", "1", "1", "1"], "{out}");
    assert!(
        out.contains("that the definition has not: region") && out.contains("definition: unknown"),
        "{out}"
    );
    let (_, out, _) = run(here, &[&verify[..], &["mine", "--verbose"]].concat(), "");
    assert!(out.contains("body.user: \"other\" -> \"u\""), "{out}");
    let (code, out, _) = run(here, &[&verify[..], &["--strict", "--json"]].concat(), "");
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["destinations"][0]["missing"], 1, "{report}");

    // The directory around them will do.
    let around = ["destination", "verify", ".", "--overlay", "destinations"];
    let (code, out, err) = run(here, &around, "");
    assert_eq!(code, 0, "{err}");
    assert_eq!(line(&out), ["mine", "3", "1", "1", "1"], "{out}");
    // It holds another JSON file, which is no file of facts.
    std::fs::rename(here.join("facts"), here.join("other")).unwrap();
    let (code, out, err) = run(here, &["destination", "verify", "."], "");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains("DIR, or DIR/facts, should hold the files of facts themselves"),
        "{err}"
    );
    let (code, _, err) = run(here, &["destination", "verify", "destinations"], "");
    assert_eq!(code, 1);
    assert!(err.contains(" in 0 files "), "{err}");
}

#[test]
fn later_steps_are_tried_with_given_answers() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    std::fs::write(here.join("settings.json"), "{\"access_token\":\"t\"}").unwrap();
    let found = json!([{"body": {"type": "list", "data": [{"id": "c1"}], "total_count": 1}}]);
    std::fs::write(here.join("found.json"), found.to_string()).unwrap();
    let event = "{\"type\":\"identify\",\"userId\":\"u\",\"messageId\":\"m\",\"traits\":{}}\n";
    let transform = [
        "destination",
        "transform",
        "intercom",
        "--settings",
        "settings.json",
    ];
    let (code, out, err) = run(here, &transform, event);
    assert_eq!(code, 0, "{err}");
    let without: Value = serde_json::from_str(&out).unwrap();
    let (code, out, err) = run(
        here,
        &[&transform[..], &["--responses", "found.json"]].concat(),
        event,
    );
    assert_eq!(code, 0, "{err}");
    let with: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(without["requests"][0], with["requests"][0]);
    assert_ne!(
        without["requests"][1], with["requests"][1],
        "the answer decides: {with}"
    );
    std::fs::write(here.join("found.json"), "{}").unwrap();
    let (code, _, err) = run(
        here,
        &[&transform[..], &["--responses", "found.json"]].concat(),
        event,
    );
    assert_ne!(code, 0);
    assert!(err.contains("found.json"), "{err}");
}

/// The definition of [`begun`], made to send to a receiver on loopback.
fn begun_for(receiver: &Receiver) -> tempfile::TempDir {
    let dir = begun();
    let origin = format!("http://{}", receiver.address);
    for file in ["destination.toml", "event.vrl", "cases/track.json"] {
        let path = dir.path().join("destinations/mine").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace("https://api.mine.example", &origin);
        std::fs::write(
            path,
            text.replace("\"api.mine.example\"", &format!("\"{origin}\"")),
        )
        .unwrap();
    }
    std::fs::write(
        dir.path().join("settings.json"),
        "{\"api_key\":\"canary-5e1f\"}",
    )
    .unwrap();
    dir
}

#[test]
fn an_event_is_really_sent_and_no_secret_is_shown() {
    let receiver = Receiver::start(|number, _| match number {
        0 => Reply::With(
            200,
            &[("x-token", "canary-5e1f")],
            "{\"you\": \"canary-5e1f\"}",
        ),
        _ => Reply::Status(500),
    });
    let dir = begun_for(&receiver);
    let event = "{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\",\"messageId\":\"m\"}\n";
    let send = [
        "destination",
        "send",
        "destinations/mine",
        "--settings",
        "settings.json",
    ];
    let allowed = [&send[..], &["--allow", "127.0.0.0/8"]].concat();
    let (code, out, err) = run(dir.path(), &send, event);
    assert_eq!(code, 1, "the egress guard holds here too: {out}{err}");
    assert!(
        out.contains("=> failed:blocked") && out.contains("--allow"),
        "{out}"
    );
    assert_eq!(receiver.count(), 0);

    let (code, out, err) = run(dir.path(), &allowed, event);
    assert_eq!(code, 0, "{out}{err}");
    let sent = receiver.received();
    assert_eq!(
        sent[0].request.header("authorization"),
        Some("Bearer canary-5e1f")
    );
    assert!(
        out.contains("authorization: Bearer struck-out-api-key\n")
            && out.contains("x-token: struck-out-api-key\n")
            && out.contains("\"you\": \"struck-out-api-key\"")
            && out.contains("=> delivered\n"),
        "{out}"
    );
    let (code, json, _) = run(dir.path(), &[&allowed[..], &["--json"]].concat(), event);
    assert_eq!(code, 1);
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["results"], json!(["failed:server_error"]), "{told}");
    assert!(
        !format!("{out}{err}{json}").contains("canary"),
        "{out}{err}{json}"
    );
}

#[test]
fn an_event_is_sent_as_its_author_wrote_it() {
    // Neither the order of names nor the numbers survive being parsed and written again.
    let event =
        r#"{"type": "track", "event":"E", "messageId":"m", "properties":{"z":1.0,"a":1e2}}"#;
    let receiver = Receiver::ok();
    let dir = begun_for(&receiver);
    let here = dir.path();
    let settings = json!({"url": receiver.url()}).to_string();
    std::fs::write(here.join("webhook.json"), settings).unwrap();
    let program = format!(
        "{{\"url\": \"http://{}/v1\", \"body\": {{\"text\": .event_json, \
         \"json\": json_entries(.event_json, [\"properties\"])}}}}",
        receiver.address
    );
    std::fs::write(here.join("destinations/mine/event.vrl"), program).unwrap();
    for (id, settings) in [
        ("webhook", "webhook.json"),
        ("destinations/mine", "settings.json"),
    ] {
        let send = ["destination", "send", id, "--settings", settings];
        let allowed = [&send[..], &["--allow", "127.0.0.0/8"]].concat();
        let (code, out, err) = run(here, &allowed, &format!("{event}\n"));
        assert_eq!(code, 0, "{out}{err}");
        let (code, _, err) = run(here, &allowed, "\n[1]\n");
        assert_eq!(code, 1);
        assert!(err.contains("line 2 is no JSON object"), "{err}");
    }
    let sent = receiver.received();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].request.body, event.as_bytes());
    let body = sent[1].request.json();
    assert_eq!(body["text"], event);
    let entries = json!([{"key": "z", "json": "1.0", "type": "integer"},
        {"key": "a", "json": "1e2", "type": "integer"}]);
    assert_eq!(body["json"], entries);
}

#[test]
fn what_a_service_answered_is_recorded_and_played_back() {
    let receiver = Receiver::start(|_, _| {
        let headers = &[
            ("content-type", "application/json"),
            ("set-cookie", "session=1"),
        ];
        Reply::With(409, headers, "{\"seen\": true, \"key\": \"canary-5e1f\"}")
    });
    let dir = begun_for(&receiver);
    let here = dir.path();
    let record = [
        "destination",
        "record",
        "destinations/mine",
        "--settings",
        "settings.json",
    ];
    let record = [&record[..], &["--allow", "127.0.0.0/8"]].concat();
    // Twice: what was recorded is replaced, and is no case to be recorded itself.
    for _ in 0..2 {
        let (code, out, err) = run(here, &record, "");
        assert_eq!(code, 0, "{out}{err}");
        assert!(
            out.starts_with("track: delivered\n2 cases written to "),
            "{out}"
        );
    }
    assert_eq!(receiver.count(), 2);
    let file = here.join("destinations/mine/cases/recorded.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let cases: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        cases[0]["settings"],
        json!({"api_key": "struck-out-api-key"})
    );
    let response = json!({"status": 409, "headers": {"content-type": "application/json"},
        "body": {"seen": true, "key": "struck-out-api-key"}});
    assert_eq!(
        (&cases[1]["response"], &cases[1]["result"]),
        (&response, &json!("delivered"))
    );
    assert!(
        !text.contains("canary") && !text.contains("session"),
        "{text}"
    );
    let (code, out, _) = run(here, &["destination", "test", "destinations/mine"], "");
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with("5 cases"), "{out}");

    let unknown = [&record[..], &["--case", "no such case"]].concat();
    let (code, _, err) = run(here, &unknown, "");
    assert_ne!(code, 0);
    assert!(err.contains("there is no case \"no such case\""), "{err}");

    let cases = here.join("destinations/mine/cases");
    std::fs::remove_dir_all(&cases).unwrap();
    std::fs::create_dir(&cases).unwrap();
    let unsaid = "{\"name\": \"unsaid\", \"event\": {\"type\": \"track\"}}";
    std::fs::write(cases.join("a.json"), unsaid).unwrap();
    let (code, _, err) = run(here, &record, "");
    assert_ne!(code, 0);
    assert!(
        err.contains("case \"unsaid\" does not say yet") && err.contains("--bless` first"),
        "{err}"
    );
}

#[test]
fn programs_are_vetted_in_a_process_with_limits() {
    let dir = begun();
    let here = dir.path();
    std::fs::write(here.join("good.vrl"), "del(.context.ip)\n").unwrap();
    std::fs::write(here.join("bad.vrl"), "\nx = ((((\n").unwrap();
    let (code, out, err) = run(here, &["vet", "good.vrl", "destinations/mine"], "");
    assert_eq!(code, 0, "{err}");
    assert_eq!(out, "good.vrl compiles\ndestinations/mine compiles\n");
    let (code, _, err) = run(here, &["vet", "bad.vrl"], "");
    assert_eq!(code, 1);
    assert!(err.contains("bad.vrl: transform, line 2, column "), "{err}");

    let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_fairlane"))
        .args(["vet", "--stdin"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", process.id());
    if std::path::Path::new("/proc/self/limits").exists() {
        crate::delivery::wait_until("the process has limited itself", || {
            let limits = std::fs::read_to_string(&limits).unwrap_or_default();
            let is = |name: &str, max: &str| {
                let line = limits.lines().find(|line| line.starts_with(name));
                line.is_some_and(|line| line.split_whitespace().any(|word| word == max))
            };
            (is("Max address space", "2147483648") && is("Max cpu time", "30")).then_some(())
        });
    }
    let mut stdin = process.stdin.take().unwrap();
    let units = [
        json!({"filter": ".type == \"track\""}),
        json!({"transform": "x = (((("}),
        json!({"ordering_key": ".userId"}),
        json!({"definition": {"id": "d", "place": "d", "files": {}}}),
    ];
    for unit in units {
        std::io::Write::write_all(&mut stdin, format!("{unit}\n").as_bytes()).unwrap();
    }
    drop(stdin);
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    // What is wrong is told elsewhere: it has lived through all of them.
    assert_eq!(output.stdout, b"....");
}

#[test]
fn a_half_made_folder_breaks_no_command_but_its_own() {
    let dir = begun();
    let here = dir.path();
    std::fs::create_dir_all(here.join("destinations/half")).unwrap();
    std::fs::write(here.join("destinations/half/event.vrl"), "null").unwrap();
    std::fs::create_dir_all(here.join("destinations/wrong")).unwrap();
    let toml = "name = \"W\"\ncategory = \"c\"\nhosts = [\"a.example\"]\n";
    std::fs::write(here.join("destinations/wrong/destination.toml"), toml).unwrap();
    std::fs::write(
        here.join("destinations/wrong/event.vrl"),
        "{\"url\": nobody}",
    )
    .unwrap();
    let overlay = ["--overlay", "destinations"];
    let run = |args: &[&str]| run(here, &[&["destination"], args, &overlay].concat(), "");

    let (code, out, err) = run(&["list"]);
    assert_eq!(code, 0, "{err}");
    let (whole, refused) = out.split_once("REFUSED").unwrap();
    assert!(
        whole.contains("\nmine ") && whole.contains("\nzapier "),
        "{out}"
    );
    assert!(
        !whole.contains("half") && !whole.contains("\nwrong "),
        "{out}"
    );
    assert!(
        refused.contains("half") && refused.contains("no destination.toml"),
        "{out}"
    );
    assert!(refused.contains("wrong/event.vrl:1:9: "), "{out}");
    let (_, out, _) = run(&["list", "--json"]);
    let all: Vec<Value> = serde_json::from_str(&out).unwrap();
    let refused = |id: &str| {
        all.iter()
            .any(|one| one["id"] == id && one["refused"].is_string())
    };
    assert!(
        refused("half") && refused("wrong") && !refused("mine"),
        "{out}"
    );

    let (code, out, err) = run(&["test", "mine"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(run(&["show", "mine"]).0, 0);
    let (code, _, err) = run(&["show", "half"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("definition half is refused") && err.contains("destination.toml"),
        "{err}"
    );
}

/// The blocks of code of the guide, in their order: (language, text).
fn guide() -> Vec<(String, String)> {
    let text = include_str!("../../../../docs/guides/add-a-destination.md");
    let blocks = text.split("```").skip(1).step_by(2);
    let block = |block: &str| {
        let (language, text) = block.split_once('\n').unwrap();
        (language.to_owned(), text.to_owned())
    };
    blocks.map(block).collect()
}

#[test]
fn the_guide_works_as_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let blocks = guide();
    let of = |language: &str| -> Vec<&str> {
        let chosen = blocks.iter().filter(|(known, _)| known == language);
        chosen.map(|(_, text)| text.as_str()).collect()
    };
    let ([toml], [program], [made, cases]) = (&of("toml")[..], &of("coffee")[..], &of("json")[..])
    else {
        panic!("the guide has other blocks than this test knows: {blocks:?}");
    };
    let folder = here.join("destinations/pulse");
    assert_eq!(run(here, &["destination", "new", "pulse"], "").0, 0);
    std::fs::write(folder.join("destination.toml"), toml).unwrap();
    std::fs::write(folder.join("event.vrl"), program).unwrap();
    std::fs::remove_file(folder.join("cases/track.json")).unwrap();
    std::fs::write(folder.join("cases/events.json"), cases).unwrap();

    // The settings and the event of the command that shows what is sent.
    let shown = of("sh")
        .into_iter()
        .find(|text| text.contains("transform"))
        .unwrap();
    let quoted: Vec<&str> = shown.split('\'').skip(1).step_by(2).collect();
    std::fs::write(here.join("settings.json"), quoted[0]).unwrap();
    let transform = [
        "destination",
        "transform",
        "destinations/pulse",
        "--settings",
        "settings.json",
    ];
    let (code, out, err) = run(here, &transform, quoted[1]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(out, *made);

    let test = ["destination", "test", "destinations/pulse"];
    let (code, out, err) = run(here, &[&test[..], &["--bless"]].concat(), "");
    assert_eq!(code, 0, "{err}");
    let told = |what: &str| out.matches(what).count();
    assert_eq!(
        (
            told("\"requests\""),
            told("\"filtered\""),
            told("\"rejected\""),
            told("failed:rate_limited")
        ),
        (2, 1, 1, 1),
        "{out}"
    );
    let (code, out, _) = run(here, &test, "");
    assert_eq!(code, 0, "{out}");
}
