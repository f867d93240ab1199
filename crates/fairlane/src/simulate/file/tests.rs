//! What a scenario file may not say, and how it is told so.

use expect_test::{Expect, expect};

use super::parse;

const GOOD: &str = r#"
title = "a test"
duration = "1m"

[policies.batches]
batch_events_max = 20

[[sources]]
name = "shop"
events_per_s = 10

[[destinations]]
name = "crm"

[[lanes]]
name = "shop to crm"
sources = "shop"
destinations = "crm"
policy = "batches"
"#;

/// The good file with `from` replaced by `to` is refused so.
fn check(from: &str, to: &str, expected: Expect) {
    assert!(GOOD.contains(from), "{from:?} is part of the good file");
    let text = GOOD.replacen(from, to, 1);
    let problems = parse("scenario.toml", &text).expect_err("it makes no sense");
    let shown: Vec<String> = problems
        .list
        .iter()
        .map(|problem| format!("{}: {}", problem.place, problem.message))
        .collect();
    expected.assert_eq(&shown.join("\n"));
}

#[test]
fn a_good_file_is_taken() {
    let plan = parse("scenario.toml", GOOD).expect("it is good");
    assert_eq!((plan.sources.len(), plan.lanes.len()), (1, 1));
    assert_eq!(plan.lanes[0].policy.batch_events_max, 20);
    let even = GOOD.replacen("events_per_s = 10", "events_per_s = 10\nskew = 0", 1);
    parse("scenario.toml", &even).expect("0 is the default");
}

#[test]
fn what_would_never_happen_is_refused() {
    check(
        "events_per_s = 10",
        "bursts = [{ at = \"1m\", events = 5 }]",
        expect!["scenario.toml:10:18: after the scenario's end: its events would never come"],
    );
    check(
        "[[lanes]]",
        "[[destinations]]\nname = \"crm\"\n[[lanes]]",
        expect![[r#"scenario.toml:16:8: "crm" is another destination already"#]],
    );
    check(
        "[[lanes]]",
        "[[expect]]\nlanes = \"shop to crm\"\nfrom = \"1m\"\np99_max = \"1s\"\n[[lanes]]",
        expect!["scenario.toml:17:8: after the scenario's end: no event would be held to it"],
    );
    check(
        "duration = \"1m\"",
        "duration = \"1m\"\nprocess.crashes_at = [\"59s\", \"1m\", \"2h\"]",
        expect![[r#"
            scenario.toml:4:30: after the scenario's end: no event would come after this crash
            scenario.toml:4:36: after the scenario's end: no event would come after this crash"#]],
    );
    check(
        "name = \"crm\"",
        "name = \"crm\"\nslow_one_in = 5",
        expect![
            "scenario.toml:14:15: slow_one_in and slow_max go together: one of so many takes up to so long"
        ],
    );
    check(
        "name = \"crm\"",
        "name = \"crm\"\nslow_max = \"5s\"",
        expect![
            "scenario.toml:14:12: slow_one_in and slow_max go together: one of so many takes up to so long"
        ],
    );
    check(
        "batch_events_max = 20",
        "ordered = true",
        expect![[
            r#"scenario.toml:19:10: ordered, but the events of "shop" have no keys to be in order by: give those [[sources]] keys = 500 or the like"#
        ]],
    );
    check(
        "batch_events_max = 20",
        "concurrency_init = 9\nconcurrency_max = 8",
        expect!["scenario.toml:6:20: above concurrency_max"],
    );
}

#[test]
fn limits_that_cannot_be_are_refused() {
    check(
        "batch_events_max = 20",
        "batch_events_max = 0",
        expect!["scenario.toml:6:20: batch_events_max is 0: use 1 to 10000"],
    );
    check(
        "batch_events_max = 20",
        "batch_events_max = 20\nwindow_jobs_max = 10",
        expect![
            "scenario.toml:6:20: batch_events_max is 20, more than window_jobs_max, which is 10: lower it, or raise window_jobs_max"
        ],
    );
    check(
        "events_per_s = 10",
        "events_per_s = -3",
        expect![
            "scenario.toml:10:16: events_per_s is no number above 0 and below 1e9, such as 16000 or 0.5"
        ],
    );
    check(
        "duration = \"1m\"",
        "duration = \"0s\"",
        expect!["scenario.toml:3:12: duration is too short a time: it must be above 0"],
    );
    check(
        "duration = \"1m\"",
        "duration = \"-5m\"",
        expect![[
            r#"scenario.toml:3:12: a time cannot be negative: write a time as in "250ms", "30s", "5m", "24h", "7d" or "1h30m""#
        ]],
    );
    check(
        "duration = \"1m\"",
        "duration = 60",
        expect![[r#"scenario.toml:3:12: an integer: write a time as in "30s""#]],
    );
    check(
        "[[lanes]]",
        "[scheduler]\nin_flight_max = 0\nreserved_percent = 95\n[[lanes]]",
        expect![[r#"
            scenario.toml:16:17: in_flight_max is 0: use 1 to 65536
            scenario.toml:17:20: reserved_percent is 95: use 0 to 90"#]],
    );
}

/// Limits of a policy with what stands in the good file's.
fn check_policy(keys: &str, expected: Expect) {
    check("batch_events_max = 20", keys, expected);
}

#[test]
fn limits_are_refused_by_the_key_that_was_written_and_its_range() {
    check_policy(
        "window_bytes_max = 10",
        expect![
            "scenario.toml:6:20: window_bytes_max is 10, less than batch_bytes_max, which is 512KiB by default: raise it, or lower batch_bytes_max"
        ],
    );
    check_policy(
        "batch_bytes_max = \"64MiB\"",
        expect![
            "scenario.toml:6:19: batch_bytes_max is 64MiB, more than window_bytes_max, which is 32MiB by default: lower it, or raise window_bytes_max"
        ],
    );
    check_policy(
        "window_jobs_max = 10\nbatch_events_max = 20",
        expect![
            "scenario.toml:7:20: batch_events_max is 20, more than window_jobs_max, which is 10: lower it, or raise window_jobs_max"
        ],
    );
    check_policy(
        "backoff_first = \"1h\"",
        expect![
            "scenario.toml:6:17: backoff_first is 1h, more than backoff_max, which is 30m by default: lower it, or raise backoff_max"
        ],
    );
    check_policy(
        "backoff_max = \"1500us\"",
        expect![
            "scenario.toml:6:15: backoff_max is 1500us, less than backoff_first, which is 2s by default: raise it, or lower backoff_first"
        ],
    );
    // One wrong key is not told a second time by what it means for another.
    check_policy(
        "backoff_first = \"1h\"\nbackoff_max = \"48h\"",
        expect!["scenario.toml:7:15: backoff_max is 2d: use 1ms to 1d"],
    );
    check_policy(
        "expiry = \"500ms\"\nrecent = \"0s\"",
        expect![[r#"
        scenario.toml:6:10: expiry is 500ms: use 1s to 365d
        scenario.toml:7:10: recent is 0s: use 1s to 1d"#]],
    );
    check_policy(
        "retry_percent = 0\nrecent_percent = 100",
        expect![[r#"
        scenario.toml:6:17: retry_percent is 0: use 1 to 99
        scenario.toml:7:18: recent_percent is 100: use 0 to 99"#]],
    );
    check_policy(
        "rate_limit_per_s = 1e-300",
        expect![
            "scenario.toml:6:20: rate_limit_per_s is no number from 0.0003 (one an hour) to 1e9, such as 16000 or 0.5"
        ],
    );
}

/// What the scheduler refuses is refused here, by its key; what it takes is taken.
#[test]
fn the_ranges_of_limits_are_the_schedulers() {
    for (key, least, most, below, above) in [
        ("batch_events_max", "1", "10000", "0", "10001"),
        ("concurrency_max", "1", "65536", "0", "65537"),
        ("concurrency_init", "1", "64", "0", "65537"),
        ("attempts_min", "1", "1000", "0", "1001"),
        ("retry_percent", "1", "99", "0", "100"),
        ("recent_percent", "0", "99", "-1", "100"),
        ("poison_failures", "1", "200", "0", "201"),
        ("window_jobs_max", "1", "10000", "0", "10001"),
        ("batch_wait", "\"0s\"", "\"1h\"", "\"-1s\"", "\"61m\""),
        ("expiry", "\"1s\"", "\"365d\"", "\"999ms\"", "\"366d\""),
        (
            "backoff_first",
            "\"1ms\"",
            "\"30m\"",
            "\"999us\"",
            "\"31m\"",
        ),
        ("backoff_max", "\"2s\"", "\"24h\"", "\"1s\"", "\"25h\""),
        ("recent", "\"1s\"", "\"24h\"", "\"999ms\"", "\"25h\""),
        ("breaker_window", "\"1s\"", "\"1h\"", "\"999ms\"", "\"61m\""),
        ("probe_max", "\"1s\"", "\"1h\"", "\"999ms\"", "\"61m\""),
        ("hold_probe", "\"1s\"", "\"24h\"", "\"999ms\"", "\"25h\""),
    ] {
        let text = |value| GOOD.replacen("batch_events_max = 20", &format!("{key} = {value}"), 1);
        check_range(
            key,
            6,
            [text(least), text(most)],
            [text(below), text(above)],
        );
    }
    for (key, least, most, below, above) in [
        ("in_flight_max", "1", "65536", "0", "65537"),
        ("queue_in_flight_max", "1", "65536", "0", "65537"),
        ("queue_jobs_max", "1", "2147483647", "0", "2147483648"),
        ("reserved_percent", "0", "90", "-1", "91"),
        ("group_percent", "1", "100", "0", "101"),
        ("quantum_bytes", "1024", "\"64MiB\"", "1023", "\"65MiB\""),
        ("stagger_max", "\"0s\"", "\"1h\"", "\"-1s\"", "\"61m\""),
        ("idle_after", "\"0s\"", "\"1h\"", "\"-1s\"", "\"61m\""),
        ("refetch_delay", "\"1ms\"", "\"1h\"", "\"999us\"", "\"61m\""),
    ] {
        let text = |value| format!("scheduler.{key} = {value}\n{GOOD}");
        check_range(
            key,
            1,
            [text(least), text(most)],
            [text(below), text(above)],
        );
    }
}

/// The good files are taken; the others have one problem each, on this line.
fn check_range(key: &str, line: usize, good: [String; 2], bad: [String; 2]) {
    for text in good {
        let parsed = parse("scenario.toml", &text);
        assert!(parsed.is_ok(), "{key}: {parsed:?}");
    }
    for text in bad {
        let problems = parse("scenario.toml", &text).expect_err(key);
        assert_eq!(problems.list.len(), 1, "{key}: {problems}");
        assert_eq!(problems.list[0].line, Some(line), "{key}: {problems}");
    }
}

#[test]
fn names_that_are_not_there_are_refused() {
    check(
        "policy = \"batches\"",
        "policy = \"batchs\"",
        expect![[
            r#"scenario.toml:19:10: no policy "batchs"; did you mean "batches"? (there are: batches)"#
        ]],
    );
    check(
        "sources = \"shop\"",
        "sources = \"shops\"",
        expect![[
            r#"scenario.toml:17:11: no sources "shops"; did you mean "shop"? (there are: shop)"#
        ]],
    );
    check(
        "destinations = \"crm\"",
        "",
        expect!["scenario.toml:15:1: [[lanes]] has no destinations"],
    );
    check(
        "name = \"crm\"",
        "name = \"crm\"\nlatency = \"5ms\"",
        expect![[
            r#"scenario.toml:14:1: no key "latency" in [[destinations]] (there are: name, latency_min, latency_max, slow_one_in, slow_max, capacity_per_s, poison_one_in, refused_one_in, filtered_one_in, batch_partial, count, faults)"#
        ]],
    );
    check(
        "[[lanes]]",
        "[[lines]]",
        expect![[r#"
        scenario.toml:1:1: there are no [[lanes]]: nothing would happen
        scenario.toml:15:3: no key "lines" in a scenario; did you mean "lanes"? (there are: title, seed, duration, settle_max, chart_every, scheduler, process, policies, sources, destinations, lanes, expect)"#]],
    );
}

#[test]
fn faults_and_expectations_that_contradict_themselves_are_refused() {
    let fault = |keys: &str| format!("name = \"crm\"\n[[destinations.faults]]\n{keys}\n");
    check(
        "name = \"crm\"\n",
        &fault("kind = \"on strike\""),
        expect![[
            r#"scenario.toml:15:8: no kind "on strike" (there are: failing, hanging, rate_limited)"#
        ]],
    );
    check(
        "name = \"crm\"\n",
        &fault("kind = \"failing\"\nfrom = \"2m\"\nuntil = \"1m\""),
        expect!["scenario.toml:17:9: until must be after from"],
    );
    check(
        "name = \"crm\"\n",
        &fault("kind = \"hanging\"\npercent = 3\neach_lasts = \"1m\""),
        expect![[r#"
            scenario.toml:16:1: no key "percent" in [[destinations.faults]] (there are: kind, from, until, timeout, each_lasts, failing_at_once)
            scenario.toml:17:14: each_lasts and failing_at_once go together"#]],
    );
    check(
        "name = \"crm\"\n",
        &format!(
            "count = 3\n{}",
            fault("kind = \"failing\"\neach_lasts = \"1s\"\nfailing_at_once = 4")
        ),
        expect!["scenario.toml:18:19: 4 are more than there are: the destinations' count is 3"],
    );
    check(
        "name = \"crm\"\n",
        "name = \"crm\"\nlatency_min = \"2s\"\nlatency_max = \"1s\"\n",
        expect!["scenario.toml:14:15: above latency_max"],
    );
    let expectation =
        |keys: &str| format!("[[expect]]\nlanes = \"shop to crm\"\n{keys}\n[[destinations]]");
    check(
        "[[destinations]]",
        &expectation(""),
        expect!["scenario.toml:12:1: [[expect]] expects nothing: give it p99_max or the like"],
    );
    let late =
        |keys: &str| format!("policy = \"batches\"\n[[expect]]\nlanes = \"shop to crm\"\n{keys}\n");
    check(
        "policy = \"batches\"\n",
        &late(""),
        expect!["scenario.toml:20:1: [[expect]] expects nothing: give it p99_max or the like"],
    );
    check(
        "policy = \"batches\"\n",
        &late("drain_factor_max = 1.1"),
        expect!["scenario.toml:22:20: its destinations have no capacity_per_s to drain with"],
    );
    check(
        "policy = \"batches\"\n",
        &late("delivered_percent_min = 100.5"),
        expect![
            "scenario.toml:22:25: delivered_percent_min is no number above 0 and up to 100, such as 99.9"
        ],
    );
    check(
        "policy = \"batches\"\n",
        &late("restart_factor_max = 2"),
        expect!["scenario.toml:22:22: no crashes_at in [process]: nothing restarts"],
    );
}

/// A key that is not there makes each table tell all that are: the reference must know them.
#[test]
fn the_reference_names_every_key() {
    let fault = |kind: &str| format!("[[destinations.faults]]\nkind = \"{kind}\"\nbogus = 1\n");
    let text = format!(
        "bogus = 1\n{GOOD}bogus = 1\n[scheduler]\nbogus = 1\n[process]\nbogus = 1\n\
         [policies.other]\nbogus = 1\n\
         [[sources]]\nname = \"b\"\nbogus = 1\nbursts = [{{ at = \"1s\", events = 1, bogus = 1 }}]\n\
         [[destinations]]\nname = \"d\"\nbogus = 1\n{}{}{}\
         [[expect]]\nlanes = \"shop to crm\"\np99_max = \"1s\"\nbogus = 1\n",
        fault("failing"),
        fault("hanging"),
        fault("rate_limited"),
    );
    let problems = parse("scenario.toml", &text).expect_err("bogus");
    let page = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/scenario.md"),
    )
    .expect("the reference is there");
    let mut tables = 0;
    for problem in &problems.list {
        let (_, keys) = problem
            .message
            .split_once("(there are: ")
            .expect(&problem.message);
        tables += 1;
        for key in keys.trim_end_matches(')').split(", ") {
            let named = page.contains(&format!("`{key}`")) || page.contains(&format!("[{key}"));
            assert!(named, "{key} is not in the reference: {}", problem.message);
        }
    }
    assert_eq!(tables, 12, "{problems}");
}
