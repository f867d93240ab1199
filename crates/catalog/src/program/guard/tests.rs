//! Programs that take time, memory or stack: each ends in an error, and the process goes on.

use std::time::{Duration, Instant};

use super::super::{Role, Scope, compile};
use super::*;
use crate::json;
use crate::limits::STACK_BYTES_MIN;

const GUARD: Duration = Duration::from_secs(20);

/// Runs a transform on a thread with the least stack that is allowed.
fn outcome(source: &str, event: &str) -> Result<Value, Stop> {
    let program = compile(source, Role::Transform, &[]).expect(source);
    let mut event = json::parse(event.as_bytes()).unwrap();
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES_MIN);
    let started = Instant::now();
    let result = thread
        .spawn(move || {
            let mut runtime = Runtime::default();
            let result = run(&program, &mut Scope::Root(&mut event), &mut runtime);
            assert!(runtime.is_empty(), "nothing of a run stays behind");
            result
        })
        .unwrap()
        .join()
        .expect("a run never takes its thread with it");
    assert!(
        started.elapsed() < GUARD,
        "{source} took {:?}",
        started.elapsed()
    );
    result
}

fn limited(source: &str, event: &str) -> String {
    match outcome(source, event) {
        Err(Stop::Limit(limit)) => limit,
        other => panic!("{source}: {:.200}", format!("{other:?}")),
    }
}

#[test]
fn loops_end() {
    let hundred: Vec<String> = (0..100).map(|_| "1".to_owned()).collect();
    let list = format!("{{\"l\":[{}]}}", hundred.join(","));
    let source = "l = array!(.l)
        for_each(l) -> |_i, _v| { for_each(l) -> |_i, _v| { for_each(l) -> |_i, v| { v } } }";
    let limit = limited(source, &list);
    assert!(limit.contains("steps") || limit.contains("ms"), "{limit}");
}

#[test]
fn memory_is_bounded() {
    let doubling = |line: &str| format!("s = string!(.s)\nl = array!(.l)\n{}", line.repeat(40));
    let event = format!(
        "{{\"s\":\"{}\",\"l\":[1,2,3,4,5,6,7,8]}}",
        "x".repeat(1_000)
    );
    for line in ["s = s + s\n", "s = \"{{ s }}{{ s }}\"\n"] {
        let limit = limited(&doubling(line), &event);
        // Whichever a loaded machine runs into first.
        assert!(
            limit.contains("bytes of memory") || limit.contains("ms"),
            "{line}: {limit}"
        );
    }
    assert!(limited(&doubling("l = append(l, l)\n"), &event).contains("append made"));
    assert!(limited(&doubling("s = replace(s, \"x\", s)\n"), &event).contains("replace made"));
    assert!(limited(&doubling("s = join!([s, s, s, s])\n"), &event).contains("join made"));
    assert!(
        limited(&doubling("s = encode_json([s, s, s, s])\n"), &event).contains("encode_json made")
    );
    limited(
        "l = array!(.l)
        for_each(l) -> |_i, _v| { for_each(l) -> |_i, _v| { l = [l, l, l] } }",
        &event,
    );
}

#[test]
fn event_data_cannot_make_one_call_large() {
    let text = "a".repeat(32_000);
    let event = format!("{{\"s\":\"{text}\",\"n\":1000000000,\"p\":[\"x\",1000000000]}}");
    assert!(limited(".o = set!({}, [\"x\", int!(.n)], 1)", &event).contains("index beyond"));
    assert!(limited(".o = set!({}, array!(.p), 1)", &event).contains("index beyond"));
    assert!(
        limited(".o = replace(string!(.s), \"a\", string!(.s))", &event).contains("replace made")
    );
    assert!(limited(".o = split(string!(.s), \"\")", &event).contains("split made"));
    assert!(limited(".o = split(string!(.s), \"a\")", &event).contains("split made"));
    let many: Vec<&str> = vec!["1"; 50];
    assert!(
        limited(
            &format!("p = [{}]\n.o = set!({{}}, p, 1)", many.join(",")),
            "{}"
        )
        .contains("32 segments")
    );
    let pairs = "a=1&".repeat(12_000);
    assert!(
        limited(
            ".o = parse_query_string(string!(.s))",
            &format!("{{\"s\":\"{pairs}\"}}")
        )
        .contains("parameters")
    );
}

#[test]
fn a_slow_pattern_is_stopped_between_matches() {
    let event = format!("{{\"s\":\"{}\"}}", "a".repeat(60_000));
    let limit = limited(".o = replace(string!(.s), r'(?:.*b|a)', \"\")", &event);
    assert!(limit.contains("ms") || limit.contains("steps"), "{limit}");
    limited(".o = split(string!(.s), r'(?:.*b|a)')", &event);
}

#[test]
fn deep_values_do_not_overflow_the_stack() {
    let list: Vec<&str> = vec!["1"; 2_000];
    let event = format!("{{\"l\":[{}]}}", list.join(","));
    let loops = |body: &str| {
        format!(
            "x = []\nfor_each(array!(.l)) -> |_i, _v| {{ for_each(array!(.l)) -> |_i, _v| {{ {body} }} }}"
        )
    };
    for body in ["x = [x]", "x = {\"a\": x}", ".x = [.x]", "x = [x, x]"] {
        limited(&loops(body), &event);
    }
    for (open, close) in [("[", "]"), ("{\\\"a\\\":", "}")] {
        let deep = format!(
            "{{\"s\":\"{}1{}\"}}",
            open.repeat(20_000),
            close.repeat(20_000)
        );
        assert!(matches!(
            outcome(".o = parse_json!(.s)", &deep),
            Err(Stop::Failed(_))
        ));
    }
}

#[test]
fn an_interruption_is_not_caught_by_the_program() {
    let event = format!("{{\"s\":\"{}\"}}", "a".repeat(32_000));
    for source in [
        ".o = set({}, [\"x\", 1000000000], 1) ?? {}",
        "o, err = set({}, [\"x\", 1000000000], 1)\n.o = o",
        ".o = (encode_base64(join!([string!(.s), replace(string!(.s), \"a\", string!(.s))])) || \"\")",
    ] {
        limited(source, &event);
    }
}

#[test]
fn errors_and_aborts_are_told_apart() {
    let failed = "line 2: int() failed: expected integer, got string";
    assert_eq!(
        outcome("x = 1\nint!(.s)", "{\"s\":\"x\"}"),
        Err(Stop::Failed(failed.to_owned()))
    );
    let aborted = |line, message: &str| Stop::Aborted {
        line,
        message: message.to_owned(),
    };
    assert_eq!(
        outcome("abort \"not for us\"", "{}"),
        Err(aborted(1, "not for us"))
    );
    assert_eq!(
        outcome("x = 1\nif x == 1 {\n  abort\n}", "{}"),
        Err(aborted(3, ""))
    );
    assert_eq!(outcome("1 + 2", "{}"), Ok(Value::Integer(3)));
}

#[test]
fn arithmetic_has_no_edges_that_crash() {
    for source in [
        "9223372036854775807 + 1",
        "-9223372036854775808 - 1",
        "to_int(9223372036854775807) * 2",
        "mod(1, 0) ?? 0",
        "1 / 0 ?? 0",
        "round(1.5, precision: 1000000000)",
        "abs(-9223372036854775808)",
        "to_int!(1e300)",
        "format_int!(5, 1)",
        "format_int!(5, 999)",
        "from_unix_timestamp!(9223372036854775807)",
        "from_unix_timestamp!(9223372036854775807, unit: \"milliseconds\")",
        "format_timestamp!(t'2021-02-10T23:32:00Z', \"%\")",
        "format_timestamp!(t'2021-02-10T23:32:00Z', \"%Q %!\")",
        "truncate(\"é\", 1)",
        "slice!(\"é\", -9223372036854775808)",
        "slice!([1], 5, 2)",
        "parse_duration!(\"99999999999999999999s\", \"ns\")",
        "parse_int!(\"z\", 99)",
        "decode_percent(\"%%%\")",
        "decode_base64!(\"=\")",
        "get!([1], [9223372036854775807])",
        "get!([1], [-9223372036854775808])",
        "remove!([1], [-9223372036854775808])",
        "set!([1], [-1000], 1)",
        "zip!([1], [])",
        "find!(\"é\", \"é\", 1)",
        "find!(\"é\", \"x\", -5)",
    ] {
        if compile(source, Role::Transform, &[]).is_ok() {
            let _ = outcome(source, "{}");
        }
    }
}

#[test]
fn what_functions_give() {
    let check = |source: &str, expected: &str| {
        let value = outcome(source, "{}").expect(source);
        let written = String::from_utf8(json::write(&value, 10_000).unwrap()).unwrap();
        assert_eq!(written, expected, "{source}");
    };
    check("replace(\"aXbXc\", \"X\", \"-\")", "\"a-b-c\"");
    check("replace(\"aXbXc\", \"X\", \"-\", count: 1)", "\"a-bXc\"");
    check(
        "replace(\"foo123bar\", r'foo(?P<num>\\d+)bar', \"$num!\")",
        "\"123!\"",
    );
    check("replace(\"ab\", r'', \"-\")", "\"-a-b-\"");
    check("replace(\"ab\", \"\", \"-\")", "\"-a-b-\"");
    check("split(\"a,b,c\", \",\")", r#"["a","b","c"]"#);
    check("split(\"a,b,c\", \",\", limit: 2)", r#"["a","b,c"]"#);
    check("split(\"a1b22c\", r'\\d+')", r#"["a","b","c"]"#);
    check("join!([\"a\", \"b\"], \"/\")", "\"a/b\"");
    check("push([1], 2)", "[1,2]");
    check("append([1], [2, 3])", "[1,2,3]");
    check("set!({\"a\": [1]}, [\"a\", 1], 2)", r#"{"a":[1,2]}"#);
    check("parse_json!(s'{\"a\": [1]}')", r#"{"a":[1]}"#);
    check("encode_json({\"a\": null})", r#""{\"a\":null}""#);
    check("encode_path_segment(\"a/b c?é\")", "\"a%2Fb%20c%3F%C3%A9\"");
    check(
        "parse_query_string(\"?a=1&b=x%20y&a=2\")",
        r#"{"a":["1","2"],"b":"x y"}"#,
    );
    check(
        "parse_url!(\"https://h.example.com:8443/p?q=1#f\").query",
        r#"{"q":"1"}"#,
    );
    check(
        "sha256(\"abc\")",
        "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"",
    );
    check(
        "sha1(\"abc\")",
        "\"a9993e364706816aba3e25717850c26c9cd0d89d\"",
    );
    check(
        "format_timestamp!(parse_timestamp!(\"2024-01-02 03:04:05\", \"%F %T\"), \"%+\")",
        "\"2024-01-02T03:04:05+00:00\"",
    );
}

#[test]
fn a_pause_of_the_machine_is_no_fault_of_the_program() {
    let mut clock = Clock::start();
    assert!(!clock.has_run_out());
    for _ in 0..3 {
        std::thread::sleep(RUN_TIME_MAX * 2);
        assert!(!clock.has_run_out(), "it may have been the machine");
    }
    // A program that does not end, on the other hand, uses the CPU.
    while !clock.has_run_out() {
        std::hint::spin_loop();
    }
}
