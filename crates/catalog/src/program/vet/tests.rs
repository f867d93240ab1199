//! Sources that would overflow the compiler's stack or keep it busy: each ends in an error, quickly.

use std::time::{Duration, Instant};

use super::super::{Role, compile};
use super::*;

/// Long enough for a loaded machine; what it guards against takes minutes, or ends the process.
const GUARD: Duration = Duration::from_secs(20);

fn refused(source: &str) -> String {
    let started = Instant::now();
    let fault = compile(source, Role::Transform, &[]).expect_err(&source[..source.len().min(80)]);
    assert!(
        started.elapsed() < GUARD,
        "{:.80} took {:?}",
        source,
        started.elapsed()
    );
    fault.problem
}

fn around(open: &str, inside: &str, close: &str, times: usize) -> String {
    open.repeat(times) + inside + &close.repeat(times)
}

#[test]
fn deep_nesting_is_refused() {
    for times in [49, 1_000, 20_000] {
        for (open, close) in [("(", ")"), ("[", "]"), ("{\"a\":", "}"), ("upcase(", ")")] {
            let source = around(open, "1", close, times);
            if source.len() <= SOURCE_BYTES_MAX {
                let problem = refused(&source);
                assert!(problem.contains("nested deeper than 48"), "{problem}");
            }
        }
    }
    assert!(refused(&around("if true { ", "1", " }", 400)).contains("nested deeper"));
    assert!(refused(&around("if true { ", "1", " }", 20)).contains("`if` inside `if`"));
    assert!(refused(&around("string!(", ".a", ")", 20)).contains("calls inside one another"));
    assert!(refused(&format!("x = {}true", "!".repeat(1_000))).contains("'!' in a row"));
    assert!(refused(&format!("x = {}true", "! ".repeat(1_000))).contains("'!' in a row"));
}

#[test]
fn brackets_in_texts_and_comments_do_not_count() {
    let source = format!(
        ".a = \"{0} \\\" {0}\"\n.b = s'{0}'\n# {0}\n.c = r'\\({{3}}\\''",
        "(".repeat(100)
    );
    assert!(compile(&source, Role::Transform, &[]).is_ok());
    // A quote in a comment opens nothing.
    let hidden = format!("# it's\n.a = {}", around("(", "1", ")", 60));
    assert!(refused(&hidden).contains("nested deeper"));
}

#[test]
fn long_chains_are_refused() {
    for (op, operand) in [
        ("+", "1"),
        ("||", "true"),
        ("??", "to_int(.a)"),
        ("==", "1"),
    ] {
        let chain = vec![operand; 1_000].join(&format!(" {op} "));
        refused(&format!("x = {chain}"));
    }
    let mut source = "if .a == 0 { .b = 0 }".to_owned();
    for index in 1..500 {
        source.push_str(&format!(" else if .a == {index} {{ .b = {index} }}"));
    }
    assert!(refused(&source).contains("`else if` in a row"));
}

#[test]
fn what_the_limits_let_through_compiles_in_time() {
    let assignments: String = (0..200)
        .map(|index| format!(".a{index} = .b{index}\n"))
        .collect();
    let fields: Vec<String> = (0..800).map(|index| format!("\"f{index}\": .b")).collect();
    let mut chain = "if .a == 0 { .b = 0 }".to_owned();
    for index in 1..50 {
        chain.push_str(&format!(" else if .a == {index} {{ .b = {index} }}"));
    }
    for source in [
        assignments,
        format!(".x = {{{}}}", fields.join(",")),
        chain,
        vec!["1"; 100].join(" + "),
        vec!["to_string(.a)"; 40].join(" ?? ") + " ?? \"\"",
        around("if .a == 1 { ", ".b = 1", " }", 16),
        around("to_string(", ".a", ") ?? \"\"", 16),
        around("upcase(to_string(", ".a", ") ?? \"\")", 8),
        around("merge({}, ", "{}", ")", 15),
        around("[", "1", "]", 40),
        around("{\"a\": ", "1", "}", 40),
        around("(", "1", ")", 48),
        around("1 + (", "1", ")", 40),
        around(".a == 1 || (", "true", ")", 40),
        format!("x = {}", around("(.a = ", "1", ")", 40)),
        around("x = for_each([1]) -> |_i, v| { ", "v", " }\n", 4),
        around("if (", "true", ") { .a = 1 }", 10),
    ] {
        let started = Instant::now();
        // Whether it compiles does not matter: that it ends does.
        let _ = compile(&source, Role::Transform, &[]);
        assert!(
            started.elapsed() < GUARD,
            "{source:.200} took {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn closures_indexes_patterns_and_templates_are_limited() {
    let nested = around("for_each([1]) -> |_i, v| { ", "v", " }", 14);
    assert!(refused(&nested).contains("closures inside one another"));
    let many = "for_each([1]) -> |_i, v| { v }\n".repeat(13);
    assert!(refused(&many).contains("closures: the limit is 12"));
    for source in [
        ".x[1000000000] = 1",
        ".x[-1000000000] = 1",
        "y = .x[1000000000]",
        "a = [1]\na[99999] = 1",
    ] {
        assert!(refused(source).contains("an index in a path"), "{source}");
    }
    let patterns: Vec<String> = (0..17).map(|i| format!("match(\"a\", r'{i}')")).collect();
    assert!(refused(&patterns.join("\n")).contains("regular expressions"));
    assert!(refused(&format!("match(\"a\", r'{}')", "a".repeat(600))).contains("bytes of one"));
    refused(r"match(.a, r'((\w{1000}){1000}){1000}')");
    let holes = "{{ a }}".repeat(33);
    assert!(refused(&format!("a = \"x\"\n.b = \"{holes}\"")).contains("values in one template"));
    assert!(refused(&".a = 1\n".repeat(201)).contains("assignments"));
    assert!(refused(&" ".repeat(SOURCE_BYTES_MAX + 1)).contains("bytes of source"));
}

#[test]
fn types_cannot_grow_without_bound() {
    let lines = |line: &str| format!("l = array!(.l)\nm = l\n{}", line.repeat(40));
    for line in [
        "l = [l, l]\n",
        "l = {\"a\": l, \"b\": l}\n",
        ".l = [.l, .l]\n",
        ".a.b = {\"c\": .a, \"d\": .a}\n",
        "m = [l]\nl = [m, m]\n",
        "if .c == 1 { l = [l] } else { l = {\"a\": l} }\n",
        "l = if .c == 1 { [l] } else { {\"a\": l} }\n",
        "l = [l] ?? {\"a\": l}\n",
        "l = flatten([l, l])\n",
        "for_each([1]) -> |_i, _v| { l = [l, l] }\n",
        "l, err = [l, l]\n",
        "l[0] = [l, l]\n",
        "l = merge({\"a\": l}, {\"b\": l})\n",
    ] {
        refused(&lines(line));
    }
    // Each small, all together large.
    let chain: String = (1..190)
        .map(|i| format!("x{i} = {{\"a\": x{}}}\n", i - 1))
        .collect();
    refused(&format!("x0 = 1\n{chain}"));
    // What programs really do passes.
    let merges = "if .c == 1 { b = merge(b, {\"k\": .v, \"w\": .w}) }\n".repeat(60);
    let fields: String = (0..60)
        .map(|i| format!("if .c == {i} {{ b.f{i} = b.g }}\n"))
        .collect();
    for source in [merges, fields] {
        let source = format!("b = {{\"a\": 1}}\n{source}.b = b");
        compile(&source, Role::Transform, &[]).unwrap();
    }
}

#[test]
fn text_is_never_multiplied() {
    for source in [
        ".a = \"ab\" * 1000000000",
        ".a = 9223372036854775807 * \"ab\"",
        "s = \"ab\"\n.a = s * 3",
        ".a = string!(.s) * int!(.n)",
        ".a = (\"a\" + \"b\") * 2",
        ".a = .n * .m",
        ".a = (.s ?? \"x\") * 2",
        "x = if true { \"a\" * 9 } else { 1 }",
        "for_each([1]) -> |_i, v| { v * \"a\" }",
        ".a.b[0] = {\"a\": [\"x\" * 9]}",
        "abort \"x\" * 9",
        "assert_x = !(\"a\" * 9)",
    ] {
        assert!(
            refused(source).contains("'*' stands only between numbers"),
            "{source}"
        );
    }
    for source in [
        ".a = to_float!(.n) * 100",
        ".a = 2 * 3.5",
        ".a = (to_int!(.n) - 1) * 60 * 1000",
    ] {
        assert!(compile(source, Role::Transform, &[]).is_ok(), "{source}");
    }
}

#[test]
fn anything_may_be_vetted() {
    for source in [
        "",
        "\"",
        "'",
        "s'",
        "(",
        ")",
        "}",
        "{{",
        "\u{0}",
        "é(",
        "a = r'\\'",
        "#",
        "t'x'",
        "%x",
        "@",
    ] {
        let _ = vet(source);
        let _ = compile(source, Role::Transform, &[]);
    }
    assert!(vet(".a = 1").is_ok());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn random_sources_never_crash(source in "[-a-z.(){}\\[\\]|!?=+*/\"'#,:0-9 \n>&{}]{0,200}") {
        let _ = compile(&source, Role::Transform, &[]);
    }
}
