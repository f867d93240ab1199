//! What is read from a configuration, and what is said of a wrong one.

use std::path::Path;

use expect_test::{Expect, expect, expect_file};

use model::{Ordering, Policy, Settings};
use scheduler::LanePolicy;

use super::keys::Default as KeyDefault;
use super::*;

/// The commented example, with every key and its default.
const EXAMPLE: &str = include_str!("../../../../examples/fairlane.toml");

/// A store that has every secret.
fn assumed(_: &str) -> Option<Secret> {
    Some(Secret::new("assumed"))
}

fn no_program(path: &Path) -> Result<String, String> {
    match path.to_str() {
        Some("paid.vrl") => Ok(".paid == true".to_owned()),
        _ => Err("cannot be read: not there".to_owned()),
    }
}

fn parse_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let known = |name: &str| (name == "CRM_KEY").then(|| Secret::new("s3cr3t"));
    Config::parse("fairlane.toml", text, &environment, &known, &no_program)
}

fn parse(text: &str) -> Result<Config, Problems> {
    parse_with(text, &[])
}

/// All that is wrong with `text`, as a person sees it.
fn check(text: &str, want: Expect) {
    check_with(text, &[], want);
}

fn check_with(text: &str, environment: &[(&str, &str)], want: Expect) {
    let problems = parse_with(text, environment).expect_err("is wrong");
    want.assert_eq(&problems.to_string());
}

#[test]
fn the_reference_is_the_table() {
    expect_file!["../../../../docs/reference/configuration.md"].assert_eq(&reference::reference());
}

#[test]
fn nothing_is_needed() {
    assert_eq!(parse("").unwrap(), Config::default());
}

/// What stands for all that nobody says.
fn default_policy() -> Policy {
    let lane = LanePolicy::default();
    let ms = |us: u64| Some(us / 1_000);
    Policy {
        attempt_timeout_ms: Some(delivery::ATTEMPT_TIMEOUT_MS),
        concurrency_init: Some(lane.concurrency_init),
        concurrency_max: Some(lane.concurrency_max),
        retry_attempts_min: Some(lane.attempts_min),
        retry_delay_first_ms: ms(lane.backoff_first_us),
        retry_delay_max_ms: ms(lane.backoff_us_max),
        retry_percent: Some(lane.retry_percent),
        recent_percent: Some(lane.recent_percent),
        recent_age_ms: ms(lane.recent_us),
        poison_failures: Some(lane.poison_failures),
        window_jobs_max: Some(lane.window_jobs_max),
        window_bytes_max: Some(lane.window_bytes_max),
        breaker_window_ms: ms(lane.breaker_window_us),
        probe_delay_max_ms: ms(lane.probe_us_max),
        hold_probe_ms: ms(lane.hold_probe_us),
        ordering: Some(Ordering::None),
        ..Policy::default()
    }
}

#[test]
fn each_documented_default_is_the_codes_default() {
    let mut text = String::new();
    for (section, _) in keys::SECTIONS {
        text.push_str(&format!("[{section}]\n"));
        for key in keys::of(section) {
            if let KeyDefault::Value(value) = key.default {
                text.push_str(&format!("{} = {value}\n", key.name));
            }
        }
    }
    let mut documented = parse(&text).unwrap();
    assert_eq!(documented.delivery.policy, default_policy(), "{text}");
    documented.delivery.policy = Policy::default();
    assert_eq!(documented.delivery_lines.len(), 2);
    documented.delivery_lines.clear();
    assert_eq!(documented, Config::default(), "{text}");
    let lists = "[[sources]]\nname = 'a'\nwrite_key = 'k'\n[[destinations]]\nname = 'b'\n\
                 type = 'webhook'\n[[connections]]\nsource = 'a'\ndestination = 'b'\n";
    let bare = parse(lists).unwrap();
    let mut filled = String::new();
    for line in lists.lines() {
        filled.push_str(&format!("{line}\n"));
        let Some(section) = line.strip_prefix("[[").and_then(|l| l.strip_suffix("]]")) else {
            continue;
        };
        for key in keys::of(section) {
            if let KeyDefault::Value(value) = key.default {
                filled.push_str(&format!("{} = {value}\n", key.name));
            }
        }
    }
    let filled = parse(&filled).unwrap();
    assert_eq!(filled.sources, bare.sources);
    assert!(bare.destinations[0].settings == Settings::default() && filled.destinations[0].enabled);
    assert!(bare.connections[0].enabled && filled.connections[0].enabled);
}

/// The example with its keys switched on: a `#` right before a word or bracket is taken away.
fn example_in_full() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(on).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_right_as_it_stands_and_in_full() {
    let config = parse(EXAMPLE).unwrap();
    let defaults = Config::default();
    assert_eq!(config.server, defaults.server);
    assert_eq!(config.log, defaults.log);
    assert_eq!(config.ingest, defaults.ingest);
    assert_eq!(config.delivery, defaults.delivery);
    assert_eq!(config.catalog, defaults.catalog);
    assert_eq!(config.connections[0].name.as_str(), "web:orders-api");

    let environment = [("ADMIN_TOKEN".to_owned(), "0123456789abcdef".to_owned())].into();
    let any = |_: &Path| Ok("true".to_owned());
    let full = example_in_full();
    let full = Config::parse("example", &full, &environment, &assumed, &any).unwrap();
    assert_eq!(full.connections.len(), 3);
}

#[test]
fn the_example_shows_every_key_with_its_default() {
    let full = example_in_full();
    let mut section = "";
    let mut seen: Vec<(&str, &str, &str)> = Vec::new();
    for line in full.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        } else if let Some((name, value)) = line.split_once(" = ")
            && !line.starts_with('#')
        {
            seen.push((section, name, value));
        }
    }
    for key in keys::all() {
        let shown = seen
            .iter()
            .find(|(section, name, _)| (*section, *name) == (key.section, key.name));
        let (_, _, value) = shown.unwrap_or_else(|| panic!("{} of [{}]", key.name, key.section));
        if let KeyDefault::Value(default) = key.default
            && key.name != "settings"
        {
            assert_eq!(*value, default, "{} of [{}]", key.name, key.section);
        }
    }
}

#[test]
fn everything_wrong_is_said_at_once_with_its_line() {
    check(
        r#"
[sever]
[server]
listne = "127.0.0.1:1"
listen = "localhost"
threads = 0
admin_listen = "0.0.0.0:9080"
[log]
retention_age = "-3d"
segment_bytes_max = "1KiB"
[ingest]
body_timeout = 30
connections_max = "many"
dedup_entries_max = -1
[delivery]
egress_allow = ["10.0.0.0/33", 7]
egress_allow_http = "yes"
attempt_timeout = "0s"
"#,
        expect![[r#"
            fairlane.toml:2:2: no section "sever"; did you mean "server"?
              |
            2 | [sever]
              |  ^^^^^
            fairlane.toml:4:1: no key "listne" in [server]; did you mean "listen"? (docs/reference/configuration.md lists all)
              |
            4 | listne = "127.0.0.1:1"
              | ^^^^^^
            fairlane.toml:5:10: no address: give an address and a port, such as "127.0.0.1:8080" or "[::]:8080"
              |
            5 | listen = "localhost"
              |          ^^^^^^^^^^^
            fairlane.toml:6:11: 0 is too small: use 1 to 256
              |
            6 | threads = 0
              |           ^
            fairlane.toml:7:16: other machines can reach this address: set admin_token, or listen on 127.0.0.1
              |
            7 | admin_listen = "0.0.0.0:9080"
              |                ^^^^^^^^^^^^^^
            fairlane.toml:9:17: a time cannot be negative: write a time as in "250ms", "30s", "5m", "24h", "7d" or "1h30m"
              |
            9 | retention_age = "-3d"
              |                 ^^^^^
            fairlane.toml:10:21: 1KiB is too small: use 512KiB to 1GiB
               |
            10 | segment_bytes_max = "1KiB"
               |                     ^^^^^^
            fairlane.toml:12:16: body_timeout is an integer: give a time such as "30s"
               |
            12 | body_timeout = 30
               |                ^^
            fairlane.toml:13:19: write an integer, without quotes
               |
            13 | connections_max = "many"
               |                   ^^^^^^
            fairlane.toml:14:21: -1 is negative: give 0 or more
               |
            14 | dedup_entries_max = -1
               |                     ^^
            fairlane.toml:16:17: no address range: write it as in "10.0.0.0/8" or "fd00::/8"
               |
            16 | egress_allow = ["10.0.0.0/33", 7]
               |                 ^^^^^^^^^^^^^
            fairlane.toml:16:32: egress_allow holds an integer: give strings
               |
            16 | egress_allow = ["10.0.0.0/33", 7]
               |                                ^
            fairlane.toml:17:21: write true or false, without quotes
               |
            17 | egress_allow_http = "yes"
               |                     ^^^^^
            fairlane.toml:18:19: 0s is too small: use 10ms to 10m
               |
            18 | attempt_timeout = "0s"
               |                   ^^^^"#]],
    );
}

#[test]
fn entries_are_checked_against_each_other() {
    check(
        r#"
[delivery]
window_jobs_max = 50
[[sources]]
name = "web"
write_key = "k1"
[[sources]]
name = "web"
write_keys = ["k2", "k1", "has blank"]
[[sources]]
name = "Bad Name"
key = "k3"
[[destinations]]
name = "crm"
type = "webhook"
settings = { url = "https://x.example", key = "${CRM_TOKEN}" }
[[destinations]]
name = "mail"
[[connections]]
source = "wbe"
destination = "crm"
[[connections]]
from = "web"
to = "crm"
[[connections]]
source = "web"
destination = "crm"
batch_events_max = 51
rate_limit_per_s = 0
filter = "true"
filter_file = "paid.vrl"
transform_file = "none.vrl"
ordering = "keys"
ordering_key = ".properties.account_id"
retry_delay_first = "1h"
concurrency_init = 65
[[connections]]
source = "web"
destination = "crm"
"#,
        expect![[r#"
            fairlane.toml:8:8: "web" is already the source at line 5: names are unique
              |
            8 | name = "web"
              |        ^^^^^
            fairlane.toml:9:21: this write key is already that of the source at line 6
              |
            9 | write_keys = ["k2", "k1", "has blank"]
              |                     ^^^^
            fairlane.toml:9:27: no write key: use 1 to 128 letters, digits or signs, without blanks, ':', '/', '\' and quotes
              |
            9 | write_keys = ["k2", "k1", "has blank"]
              |                           ^^^^^^^^^^^
            fairlane.toml:10:1: a source needs a write_key: any text that clients will send
               |
            10 | [[sources]]
               | ^^^^^^^^^^^
            fairlane.toml:11:8: "Bad Name" is no name: use 1 to 64 of a-z, 0-9, '_', '-', '.', ':', beginning with a letter or digit
               |
            11 | name = "Bad Name"
               |        ^^^^^^^^^^
            fairlane.toml:12:1: no key "key" in [sources]; here it is "write_key" (docs/reference/configuration.md lists all)
               |
            12 | key = "**"
               | ^^^
            fairlane.toml:16:47: the environment variable CRM_TOKEN is not set: set it, or give a default: ${CRM_TOKEN:-default}
               |
            16 | settings = { url = "*****************", key = "************" }
               |                                               ^^^^^^^^^^^^^^
            fairlane.toml:17:1: a destination needs a type, such as "webhook": `fairlane destination list` shows all
               |
            17 | [[destinations]]
               | ^^^^^^^^^^^^^^^^
            fairlane.toml:20:10: there is no source "wbe": add it under [[sources]]; did you mean "web"?
               |
            20 | source = "wbe"
               |          ^^^^^
            fairlane.toml:22:1: a connection needs a source
               |
            22 | [[connections]]
               | ^^^^^^^^^^^^^^^
            fairlane.toml:22:1: a connection needs a destination
               |
            22 | [[connections]]
               | ^^^^^^^^^^^^^^^
            fairlane.toml:23:1: no key "from" in [connections]; here it is "source" (docs/reference/configuration.md lists all)
               |
            23 | from = "web"
               | ^^^^
            fairlane.toml:24:1: no key "to" in [connections]; here it is "destination" (docs/reference/configuration.md lists all)
               |
            24 | to = "crm"
               | ^^
            fairlane.toml:28:20: batch_events_max is more than window_jobs_max (50): such a batch would never fill
               |
            28 | batch_events_max = 51
               |                    ^^
            fairlane.toml:29:20: write a number of at least 0.0003 (about one request an hour), such as 10 or 0.5
               |
            29 | rate_limit_per_s = 0
               |                    ^
            fairlane.toml:31:15: filter is given as well: keep one of filter and filter_file
               |
            31 | filter_file = "paid.vrl"
               |               ^^^^^^^^^^
            fairlane.toml:32:18: none.vrl cannot be read: not there
               |
            32 | transform_file = "none.vrl"
               |                  ^^^^^^^^^^
            fairlane.toml:33:12: "keys" is not one of "none", "key"; did you mean "key"?
               |
            33 | ordering = "keys"
               |            ^^^^^^
            fairlane.toml:34:16: it says nothing without ordering = "key"
               |
            34 | ordering_key = ".properties.account_id"
               |                ^^^^^^^^^^^^^^^^^^^^^^^^
            fairlane.toml:35:21: retry_delay_first (3600000 ms) is more than retry_delay_max (1800000 ms)
               |
            35 | retry_delay_first = "1h"
               |                     ^^^^
            fairlane.toml:36:20: more than concurrency_max (64)
               |
            36 | concurrency_init = 65
               |                    ^^
            fairlane.toml:37:1: "web:crm" is already the connection at line 25: give this one a name
               |
            37 | [[connections]]
               | ^^^^^^^^^^^^^^^"#]],
    );
}

/// A source, and two connections of it to one destination.
const TWO: &str = "[[sources]]\nname='a'\nwrite_key='k'\n[[destinations]]\nname='b'\n\
                   type='webhook'\n[[connections]]\nsource='a'\ndestination='b'\nname='one'\n\
                   [[connections]]\nsource='a'\ndestination='b'\nname='two'\n";

#[test]
fn what_is_wrong_in_delivery_is_not_told_again_for_every_connection() {
    let wrong = "[delivery]\nretry_delay_first = '1h'\nbatch_events_max = 20\n\
                 window_jobs_max = 10\nbatch_bytes_max = '2KiB'\nwindow_bytes_max = '1KiB'\n";
    let problems = parse(&format!("{wrong}{TWO}")).expect_err("is wrong");
    let lines: Vec<_> = problems.list.iter().map(|one| one.line).collect();
    assert_eq!(lines, [Some(2), Some(3), Some(5)], "{problems}");
    // One that says a key of it itself is.
    let problems = parse(&format!("{wrong}{TWO}retry_delay_max = '59m'\n")).expect_err("is wrong");
    assert_eq!(problems.list.len(), 4, "{problems}");
    let last = problems.list.last().expect("there are four");
    assert_eq!(last.line, Some(21), "{problems}");
    assert!(
        last.message.contains("retry_delay_max (3540000 ms)"),
        "{problems}"
    );
}

#[test]
fn a_rate_is_at_least_one_an_hour() {
    for wrong in ["0", "1e-300", "0.00029", "-1", "nan", "inf"] {
        let text = format!("[delivery]\nrate_limit_per_s = {wrong}\n{TWO}");
        let problems = parse(&text).expect_err(wrong);
        assert_eq!(problems.list.len(), 1, "{problems}");
        let told = &problems.list[0].message;
        assert!(
            told.contains("at least 0.0003 (about one request an hour)"),
            "{told}"
        );
    }
    let config = parse(&format!("{TWO}rate_limit_per_s = 0.0003\n")).unwrap();
    assert_eq!(config.connections[1].policy.rate_limit_per_s, Some(0.0003));
}

#[test]
fn no_more_is_in_flight_than_the_scheduler_takes() {
    let most = scheduler::Options {
        in_flight_max: 65_536,
        ..scheduler::Options::default()
    };
    most.validate().unwrap();
    parse("[delivery]\nin_flight_max = 65_536\n").unwrap();
    let problems = parse("[delivery]\nin_flight_max = 65_537\n").expect_err("is too many");
    assert!(
        problems.to_string().contains("use 1 to 65536"),
        "{problems}"
    );
}

#[test]
fn a_missing_secret_is_stored_for_this_configuration() {
    let told = |path: &str| {
        let text = "[[sources]]\nname='a'\nwrite_key='${secret:sig}'\n";
        let read = Config::parse(path, text, &Environment::new(), &|_| None, &no_program);
        read.expect_err("there is none").list.remove(0).message
    };
    for (path, command) in [
        ("fairlane.toml", "`fairlane secret set sig`"),
        (
            "/etc/fairlane.toml",
            "`fairlane secret set -c /etc/fairlane.toml sig`",
        ),
        ("my own.toml", "`fairlane secret set -c 'my own.toml' sig`"),
    ] {
        assert!(told(path).ends_with(command), "{}", told(path));
    }
}

#[test]
fn wrong_shapes_are_told_how_to_write_them() {
    check(
        "log = 3\nsources = [1]\n[destinations]\nname = 'x'\n[connection]\n",
        expect![[r#"
            fairlane.toml:1:1: log is an integer: write [log] above its keys
              |
            1 | log = 3
              | ^^^
            fairlane.toml:2:12: sources holds an integer: write [[sources]] for each
              |
            2 | sources = [1]
              |            ^
            fairlane.toml:3:2: write [[destinations]], once for each of them
              |
            3 | [destinations]
              |  ^^^^^^^^^^^^
            fairlane.toml:5:2: no section "connection"; here it is "connections"
              |
            5 | [connection]
              |  ^^^^^^^^^^"#]],
    );
}

#[test]
fn syntax_errors_have_their_line() {
    check(
        "[server]\nlisten = \"127.0.0.1:8080\n",
        expect![[r#"
        fairlane.toml:2:25: no valid TOML: invalid basic string, expected `"`
          |
        2 | listen = "127.0.0.1:8080
          |                         ^"#]],
    );
    check(
        "[server]\nlisten = \"a\"\nlisten = \"b\"\n",
        expect![[r#"
            fairlane.toml:3:1: no valid TOML: duplicate key
              |
            3 | listen = "b"
              | ^^^^^^"#]],
    );
}

#[test]
fn no_value_that_may_be_secret_is_shown() {
    for text in [
        "[server]\nadmin_token = \"hunter2\"\n",
        "[server]\nadmin_token = \"hunter2\n",
        "[[destinations]]\nname = \"crm\"\nsettings = { api_key = \"hunter2\", at = 2020-01-01 }",
        "[[destinations]]\nname = \"crm\"\n[destinations.settings]\npassword = \"hunter2${NONE}\"",
        "[[destinations]]\nname = \"crm\"\n[destinations.settings]\nplain = 'hunter2${NONE}'",
        "[[destinations]]\nname = \"crm\"\n[destinations.settings]\nplain = 'a'\nx = hunter2",
        "[[destinations]]\nname = \"crm\"\nsettings.plain = 'hunter2\n",
    ] {
        let problems = parse(text).expect_err("is wrong").to_string();
        assert!(!problems.contains("hunter2"), "{problems}");
    }
    let config = parse(
        "[server]\nadmin_token = 'hunter2-hunter2-hunter2'\n[[destinations]]\nname = 'crm'\n\
         type = 'webhook'\nsettings = { api_key = 'hunter2' }",
    );
    assert!(!format!("{:?}", config.unwrap()).contains("hunter2"));
}

#[test]
fn variables_and_secrets_are_put_in() {
    let text = r#"
[server]
listen = "${HOST:-127.0.0.1}:${PORT}"
threads = "${THREADS}"
[[sources]]
name = "${NAME}"
write_key = "$${not}"
[[destinations]]
name = "crm"
type = "webhook"
settings = { url = "https://x/${PORT}", list = ["${secret:CRM_KEY}"], deep = { n = 1, on = true } }
[[connections]]
source = "web"
destination = "crm"
filter = '.a == "${PORT}"'
"#;
    let environment = [
        ("PORT", "8081"),
        ("THREADS", "3"),
        ("NAME", "web"),
        ("HOST", ""),
    ];
    let config = parse_with(text, &environment).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.server.threads, Some(3));
    assert_eq!(config.sources[0].write_keys, ["${not}"]);
    assert_eq!(
        config.connections[0].filter.as_deref(),
        Some(".a == \"${PORT}\"")
    );
    let settings: BTreeMap<_, _> = config.destinations[0].settings.iter().collect();
    expect![[r#"{"deep":{"n":1,"on":true},"list":["s3cr3t"],"url":"https://x/8081"}"#]]
        .assert_eq(&serde_json::to_string(&settings).unwrap());
}

#[test]
fn missing_variables_and_secrets_are_named() {
    check_with(
        "[server]\ndata_dir = \"${HOM}/x\"\nlisten = \"${1}\"\nadmin_listen = \"${open\"\n\
         [[sources]]\nname = \"a\"\nwrite_key = \"${secret:CRM}\"\n",
        &[("HOME", "/root")],
        expect![[r#"
            fairlane.toml:2:12: the environment variable HOM is not set: set it, or give a default: ${HOM:-default}; did you mean "HOME"?
              |
            2 | data_dir = "${HOM}/x"
              |            ^^^^^^^^^^
            fairlane.toml:3:10: "1" is no variable's name: write ${NAME}, ${NAME:-default} or ${secret:NAME}, or $${ for the text itself
              |
            3 | listen = "${1}"
              |          ^^^^^^
            fairlane.toml:4:16: "${" without "}": close it, or write "$${" for the text itself
              |
            4 | admin_listen = "${open"
              |                ^^^^^^^^
            fairlane.toml:7:13: there is no secret "CRM": store it with `fairlane secret set CRM`
              |
            7 | write_key = "*************"
              |             ^^^^^^^^^^^^^^^"#]],
    );
}

#[test]
fn a_variable_goes_before_the_file() {
    let text = "[server]\nlisten = \"127.0.0.1:1\"\n[delivery]\nin_flight_max = 5\n";
    let environment = [
        ("FAIRLANE__SERVER__LISTEN", "0.0.0.0:80"),
        ("FAIRLANE__DELIVERY__IN_FLIGHT_MAX", "9"),
        (
            "FAIRLANE__DELIVERY__EGRESS_ALLOW",
            "[\"10.0.0.0/8\", \"127.0.0.1\"]",
        ),
        ("FAIRLANE__DELIVERY__EGRESS_ALLOW_HTTP", "true"),
        ("FAIRLANE__LOG__SEGMENT_BYTES_MAX", "1MiB"),
        ("FAIRLANE__CATALOG__OVERLAY_DIR", "/x/${y}"),
        ("FAIRLANE_CONFIG", "is none of ours"),
    ];
    let config = parse_with(text, &environment).unwrap();
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:80");
    assert_eq!(config.delivery.in_flight_max, 9);
    assert_eq!(config.delivery.egress_allow.len(), 2);
    assert!(config.delivery.egress_allow_http);
    assert_eq!(config.log.segment_bytes_max, 1 << 20);
    assert_eq!(
        config.catalog.overlay_dir.as_deref(),
        Some(Path::new("/x/${y}"))
    );
    check_with(
        "",
        &[
            ("FAIRLANE__SERVER__LISTENS", "x"),
            ("FAIRLANE__SERVER__LISTEN", "x"),
            ("FAIRLANE__SERVER__THREADS", "0"),
            ("FAIRLANE__DELIVERY__EGRESS_ALLOW_HTTP", "perhaps"),
            ("FAIRLANE__SOURCES__NAME", "x"),
        ],
        expect![[r#"
            FAIRLANE__SERVER__LISTENS: names no key: FAIRLANE__SECTION__KEY sets a key of [server], [log], [ingest], [delivery] or [catalog]; did you mean "SERVER__LISTEN"?
            FAIRLANE__SOURCES__NAME: names no key: FAIRLANE__SECTION__KEY sets a key of [server], [log], [ingest], [delivery] or [catalog]
            FAIRLANE__SERVER__LISTEN: no address: give an address and a port, such as "127.0.0.1:8080" or "[::]:8080"
            FAIRLANE__SERVER__THREADS: 0 is too small: use 1 to 256
            FAIRLANE__DELIVERY__EGRESS_ALLOW_HTTP: write true or false, without quotes"#]],
    );
}

#[test]
fn a_flood_of_problems_is_cut_off() {
    let text =
        "[server]\n".to_owned() + &(0..80).map(|n| format!("x{n} = 1\n")).collect::<String>();
    let problems = parse(&text).expect_err("is wrong");
    assert_eq!(
        (problems.list.len(), problems.omitted),
        (Problems::SHOWN_MAX, 30)
    );
    assert!(
        problems
            .to_string()
            .ends_with("and 30 more: mend these first")
    );
}

#[test]
fn names_become_numbers() {
    let config = parse(EXAMPLE).unwrap();
    let registry = config
        .to_registry(
            |names| Ok::<_, ()>(vec![model::SourceId(7); names.len()]),
            |names| Ok(vec![model::DestinationId(8); names.len()]),
            |names| Ok(vec![model::ConnectionId(9); names.len()]),
        )
        .unwrap();
    let connection = registry.connection_named("web:orders-api").unwrap();
    assert_eq!(
        (
            connection.id.0,
            connection.source.0,
            connection.destination.0
        ),
        (9, 7, 8)
    );
    assert_eq!(
        registry.source(model::SourceId(7)).unwrap().write_keys,
        ["demo-write-key"]
    );
    assert!(
        config
            .to_registry(|_| Err("full"), |_| Ok(vec![]), |_| Ok(vec![]))
            .is_err()
    );
}

#[test]
fn lines_are_kept_for_later_errors() {
    let config = parse(
        "[[sources]]\nname='a'\nwrite_key='k'\n[[destinations]]\nname='b'\ntype='w'\n\
         [destinations.settings]\nurl = 'x'\n[[connections]]\nsource='a'\ndestination='b'\n\
         filter='true'\ntransform_file='paid.vrl'\n",
    )
    .unwrap();
    assert_eq!(
        (
            config.destinations[0].line,
            config.destinations[0].setting_lines["url"]
        ),
        (4, 8)
    );
    let connection = &config.connections[0];
    assert_eq!(
        (
            connection.line,
            connection.filter_line,
            connection.transform_line
        ),
        (9, 12, 13)
    );
    assert_eq!(connection.transform.as_deref(), Some(".paid == true"));
}

#[test]
fn what_needs_a_restart_is_named() {
    let now = Config::default();
    let mut next = Config::default();
    next.log.segment_bytes_max = 1 << 20;
    next.catalog.overlay_dir = Some("x".into());
    assert_eq!(now.restart_needed(&next), ["log"]);
}

#[test]
fn files_are_read_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fairlane.toml");
    let text = "[server]\ndata_dir = '/data'\n[[sources]]\nname='a'\nwrite_key='${NONE}'\n\
                [[destinations]]\nname='b'\ntype='w'\n[[connections]]\nsource='a'\n\
                destination='b'\nfilter_file='f.vrl'\n";
    fs::write(&path, text).unwrap();
    fs::write(dir.path().join("f.vrl"), "false").unwrap();
    let file = File::read(&path).unwrap();
    let data_dir = file.data_dir(&Environment::new()).unwrap();
    assert_eq!(data_dir, Path::new("/data"), "whatever else is wrong");
    let environment = [("NONE".to_owned(), "k".to_owned())].into();
    let config = file.config(&environment, &assumed).unwrap();
    assert_eq!(config.connections[0].filter.as_deref(), Some("false"));
    let missing = File::read(Path::new("/none.toml")).err();
    let message = missing.expect("is not there").to_string();
    assert!(
        message.contains("/none.toml") && message.contains("--config"),
        "{message}"
    );
}

#[test]
fn units_read_back_what_they_show() {
    use units::{parse_bytes, parse_duration_ms, show_bytes, show_duration};
    for ms in [0, 1, 999, 1_000, 90_000, 3_600_000, 5_400_000, 604_800_000] {
        assert_eq!(parse_duration_ms(&show_duration(ms)), Ok(ms));
    }
    for bytes in [0, 1, 1_000, 1_024, 1_536, 1 << 20, 3 << 40] {
        assert_eq!(parse_bytes(&show_bytes(bytes)), Ok(bytes));
    }
    assert_eq!(parse_duration_ms("1h30m"), Ok(5_400_000));
    for wrong in [
        "",
        "5",
        "5 parsecs",
        "-1s",
        "s",
        "1.5h",
        "99999999999999999999d",
        "9999999999d9999999999999d",
    ] {
        assert!(parse_duration_ms(wrong).is_err(), "{wrong}");
    }
    for wrong in ["", "MiB", "1 XB", "-1", "1.5GiB", "99999999TiB"] {
        assert!(parse_bytes(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_hundred_thousand_connections_are_no_trouble() {
    let mut text = String::from("[[sources]]\nname='a'\nwrite_key='k'\n");
    for n in 0..100_000 {
        text.push_str(&format!(
            "[[destinations]]\nname='d{n}'\ntype='webhook'\nsettings={{url='https://x/{n}'}}\n\
             [[connections]]\nsource='a'\ndestination='d{n}'\n"
        ));
    }
    let config = parse(&text).unwrap();
    assert_eq!(config.connections.len(), 100_000);
    assert_eq!(config.connections[99_999].line, 3 + 7 * 99_999 + 5);
}
