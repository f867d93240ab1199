//! Every definition of `destinations/` holds: it loads, its programs compile, its cases pass. And
//! the runner itself, on a definition of its own.

use std::path::PathBuf;
use std::sync::LazyLock;

use super::*;
use crate::definition::Folder;
use crate::definition::tests::folder;
use crate::play::play_line;

fn destinations() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../destinations");
    let mut dirs: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    dirs.sort();
    dirs
}

/// A folder's name, and what it loads as.
type Loaded = (String, Result<Arc<Definition>, Error>);

/// All of them as they load, for both walks: each compiles what it comes to first.
fn definitions() -> &'static [Loaded] {
    static ALL: LazyLock<Vec<Loaded>> = LazyLock::new(|| {
        let load = |dir: PathBuf| {
            let place = dir.file_name().unwrap().to_string_lossy().into_owned();
            let definition = Definition::load(Folder::read(&dir).unwrap());
            (place, definition.map(Arc::new))
        };
        destinations().into_iter().map(load).collect()
    });
    &ALL
}

#[test]
fn every_destination_holds() {
    let mut problems = Vec::new();
    for (place, definition) in definitions() {
        let definition = match definition {
            Ok(definition) => definition,
            Err(error) => {
                problems.push(error.to_string());
                continue;
            }
        };
        if let Err(error) = definition.compile() {
            problems.push(error.to_string());
            continue;
        }
        if definition.readme().trim().is_empty() {
            problems.push(format!("{place}: no README.md"));
        }
        if definition.case_files() == 0 {
            problems.push(format!("{place}: no case"));
        }
        for report in run_cases(definition) {
            if let Some(failure) = report.failure {
                problems.push(format!(
                    "{place}/{} {:?}: {failure}",
                    report.file, report.name
                ));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

/// Events that are not what their senders' libraries make, around members that programs read.
fn odd_events() -> Vec<String> {
    let deep = format!("{}1{}", "{\"a\":[".repeat(14), "]}".repeat(14));
    let long = format!("\"{}\"", "x".repeat(1_000));
    let values = [
        "null",
        "\"\"",
        "0",
        "-1.5",
        "1e300",
        "9223372036854775807",
        "9223372036854775808",
        "-99999999999999999999999",
        "true",
        "[]",
        "{}",
        "[null,[[]],{\"a\":null}]",
        "\"ünïcødé \\ud83d\\ude42 \\u0000\\r\\nx: y\"",
        "\"{{secret.api_key}} {{settings.url}}\"",
        "\"../../%2e%2e/a?b=c#d\"",
        "\"2026-13-99T99:99:99Z\"",
        long.as_str(),
        deep.as_str(),
    ];
    let members = [
        "event",
        "name",
        "userId",
        "anonymousId",
        "groupId",
        "previousId",
        "timestamp",
        "messageId",
        "properties",
        "traits",
        "context",
        "integrations",
    ];
    let mut events = Vec::new();
    for kind in ["track", "identify", "page", "screen", "group", "alias"] {
        events.push(format!(r#"{{"type":"{kind}"}}"#));
        for value in &values {
            for odd in members {
                let value_of = |member: &str| match member {
                    _ if member == odd => (*value).to_owned(),
                    "event" => "\"Order Completed\"".to_owned(),
                    "timestamp" => "\"2026-03-04T05:06:07.890Z\"".to_owned(),
                    "integrations" => "{}".to_owned(),
                    "properties" | "traits" | "context" => format!(
                        r#"{{"email":"a@b.example","currency":{value},"revenue":{value},"total":{value},
                            "products":[{{"product_id":"p","price":{value},"quantity":{value}}}],
                            "order_id":{value},"name":{value},"address":{value},"ip":"8.8.8.8",
                            "page":{value},"device":{value},"app":{value},"traits":{value},
                            "userAgent":{value},"campaign":{value}}}"#
                    ),
                    _ => format!("\"{member}-1\""),
                };
                let pairs: Vec<String> = members
                    .iter()
                    .map(|member| format!("\"{member}\":{}", value_of(member)))
                    .collect();
                events.push(format!(r#"{{"type":"{kind}",{}}}"#, pairs.join(",")));
            }
        }
    }
    events
}

/// A definition's fault would show as a program that failed, went over a limit or asked for a request
/// that is refused.
#[test]
fn no_event_makes_a_destination_fail() {
    let events = odd_events();
    let mut problems = Vec::new();
    // From the other end: what one walk has compiled, the other finds.
    for (_, definition) in definitions().iter().rev() {
        let definition = Arc::clone(definition.as_ref().unwrap());
        let texts = definition.cases.iter().map(|file| &file.text);
        let parsed: Vec<CaseFileText> = texts
            .map(|text| CaseFileText::parse(text).unwrap())
            .collect();
        // The settings of the case that sets the most.
        let settings = parsed
            .iter()
            .flat_map(CaseFileText::cases)
            .map(|case| case.settings().unwrap())
            .max_by_key(|settings| settings.names().count())
            .unwrap();
        let checked = definition.check_settings(&settings).unwrap();
        let secrets: Vec<String> = checked
            .secrets
            .values()
            .map(|secret| secret.reveal().to_owned())
            .filter(|secret| secret.len() > 8)
            .collect();
        let id = definition.id.clone();
        let mut transformer = Transformer::new(definition, checked, &[], None, None).unwrap();
        for event in &events {
            let shown = play_line(&mut transformer, event.as_bytes(), &[]).to_value();
            let Some(why) = shown.get("rejected").or(shown.get("filtered")) else {
                assert!(
                    shown["requests"].is_array(),
                    "{id}: {event:.300}: {shown:.300}"
                );
                continue;
            };
            let why = why.as_str().unwrap();
            let told = ["invalid: ", "destination", "event_type", "integrations"];
            assert!(!secrets.iter().any(|secret| why.contains(secret)), "{id}");
            if !told.iter().any(|reason| why.starts_with(reason)) {
                problems.push(format!("{id}: {why:.500}\n    for {event:.300}"));
                break;
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

const TOML: &str = r#"
name = "Fixture"
category = "analytics"
docs = "https://example.com"
hosts = ["api.example.com"]
[auth]
kind = "bearer"
token = "{{secret.key}}"
[settings.key]
type = "string"
required = true
secret = true
help = "a key"
"#;

const PROGRAM: &str = r#"
{"url": "https://api.example.com/e", "body": {"id": .event.messageId}}
"#;

fn definition(case: &str) -> Arc<Definition> {
    let files = [
        ("destination.toml", TOML),
        ("event.vrl", PROGRAM),
        ("cases/a.json", case),
    ];
    Arc::new(Definition::load(folder("fixture", &files)).unwrap())
}

#[test]
fn a_case_that_differs_says_how() {
    let same = r#"{"name":"n","settings":{"key":"k"},"event":{"type":"track","messageId":"m"},
        "requests":[{"method":"POST","url":"https://api.example.com/e",
            "headers":{"authorization":"Bearer k"},"body":{"id":"m"}}]}"#;
    assert_eq!(run_cases(&definition(same))[0].failure, None);

    let body_missing = same.replace(r#","body":{"id":"m"}"#, "");
    assert!(run_cases(&definition(&body_missing))[0].failure.is_some());

    let other = same.replace(r#"{"id":"m"}"#, r#"{"id":"x"}"#);
    let told = run_cases(&definition(&other))[0].failure.clone().unwrap();
    assert!(
        told.starts_with("expected -> came:\n  requests[0].body.id: \"x\" -> \"m\"\ncame:\n"),
        "headers that the case does not name are no difference: {told}"
    );

    let unknown = r#"{"name":"n","evnt":{}}"#;
    let told = run_cases(&definition(unknown))[0].failure.clone().unwrap();
    assert!(told.contains("unknown field `evnt`"), "{told}");
}

#[test]
fn members_of_a_case_that_do_not_go_together_are_told() {
    let told = |case: &str| run_cases(&definition(case))[0].failure.clone();
    let settings = r#""settings":{"key":"k"}"#;
    for (members, expected) in [
        (
            r#""response":{"status":200},"jobs":1,"result":"delivered""#,
            None,
        ),
        (
            r#""response":{"status":200},"event":{"type":"track"},"result":"delivered""#,
            Some("a case has either event, events or response: make two of it"),
        ),
        (
            r#""response":{"status":200},"jobs":0,"result":"delivered""#,
            Some("jobs must be at least 1"),
        ),
        (
            r#""event":{"type":"track"},"jobs":1,"requests":[]"#,
            Some("jobs belongs to a case with response"),
        ),
    ] {
        let case = format!(r#"{{"name":"n",{settings},{members}}}"#);
        assert_eq!(told(&case).as_deref(), expected, "{members}");
    }
    let case =
        format!(r#"{{"name":"n",{settings},"response":{{"status":200}},"result":"delivered"}}"#);
    let twice = format!("[{case},{case}]");
    assert_eq!(told(&twice).as_deref(), Some("two cases are named \"n\""));
}

#[test]
fn a_definition_without_a_case_has_failed() {
    let none = [("destination.toml", TOML), ("event.vrl", PROGRAM)];
    let none = Definition::load(folder("fixture", &none)).unwrap();
    for definition in [Arc::new(none), definition("[]")] {
        let reports = run_cases(&definition);
        let told = reports[0].failure.as_ref().unwrap();
        assert!(told.starts_with("there is no recorded case"), "{told}");
        assert_eq!((reports.len(), reports[0].name.as_str()), (1, "(no case)"));
    }
    let unsaid = definition(r#"{"name":"n","settings":{"key":"k"},"event":{"type":"track"}}"#);
    assert_eq!(unblessed_cases(&unsaid), ["n"]);
    assert!(unblessed_cases(&definition(r#"{"name":"n","event":{},"filtered":"x"}"#)).is_empty());
}

#[test]
fn bless_writes_what_came_and_keeps_what_the_author_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("fixture");
    fs::create_dir_all(dir.join("cases")).unwrap();
    fs::write(dir.join("destination.toml"), TOML).unwrap();
    fs::write(dir.join("event.vrl"), PROGRAM).unwrap();
    let case = r#"{
  "name": "n",
  "settings": {"key": "k"},
  "event": {"zebra": 1, "type": "track", "messageId": "m", "apple": "kept \" in order"}
}"#;
    fs::write(dir.join("cases/a.json"), case).unwrap();

    let load = || Arc::new(Definition::load(Folder::read(&dir).unwrap()).unwrap());
    assert!(run_cases(&load())[0].failure.is_some());
    let changed = bless(&load(), &dir).unwrap();
    assert_eq!(
        (changed.len(), changed[0].file.as_str()),
        (1, "cases/a.json")
    );
    assert_eq!(changed[0].before, None);
    assert_eq!(changed[0].after["requests"][0]["body"]["id"], "m");
    assert_eq!(run_cases(&load())[0].failure, None);
    let written = fs::read_to_string(dir.join("cases/a.json")).unwrap();
    assert!(written.contains(
        r#"{"zebra": 1, "type": "track", "messageId": "m", "apple": "kept \" in order"}"#
    ));
    assert_eq!(
        bless(&load(), &dir).unwrap(),
        [],
        "a second time changes nothing"
    );
}
