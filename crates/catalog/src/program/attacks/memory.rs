//! Programs that make much of little, line by line or in one call.

use super::End::{Harmless, Stopped};
use super::{Attack, event};

/// Loops over 100 x 100 items.
fn looped(before: &str, body: &str) -> String {
    format!(
        "l = array!(.l)\n{before}\n\
         for_each(l) -> |_i, _v| {{ for_each(l) -> |_i, _v| {{ {body} }} }}"
    )
}

pub(super) fn attacks() -> Vec<Attack> {
    let seed = format!(
        "{{\"s\":\"{}\",\"l\":[{}],\"o\":{{\"a\":1}}}}",
        "x".repeat(1_000),
        vec!["1"; 100].join(",")
    );
    let mut all = Vec::new();
    for (what, line) in [
        ("s + s", "s = s + s\n"),
        ("a text in a text", "s = \"{{ s }}{{ s }}\"\n"),
        (
            "32 texts in a text",
            &format!("s = \"{}\"\n", "{{ s }}".repeat(32)),
        ),
        (
            "a chain of 50",
            &format!("s = {}\n", vec!["s"; 50].join(" + ")),
        ),
        ("append", "l = append(l, l)\n"),
        ("replace", "s = replace(s, \"x\", s)\n"),
        ("join", "s = join!([s, s, s, s])\n"),
        ("encode_json", "s = encode_json([s, s, s, s])\n"),
        ("encode_percent", "s = encode_percent(s + \"%%%%\" + s)\n"),
        ("encode_base64", "s = encode_base64(s + s)\n"),
        ("encode_base16", "s = encode_base16(s)\n"),
        ("split and join", "s = join!(split(s, \"\"), \"xxxx\")\n"),
        (
            "an object of the text",
            "s = encode_json({\"a\": s, \"b\": s, \"c\": s})\n",
        ),
        ("upcase", "s = upcase(s + s)\n"),
    ] {
        let text = format!("s = string!(.s)\nl = array!(.l)\n{}", line.repeat(30));
        all.push(event(
            format!("30 times: {what}"),
            text,
            seed.clone(),
            Stopped,
        ));
    }
    for (what, before, body) in [
        ("a list in a list", "x = []", "x = [x]"),
        ("an object in an object", "x = {}", "x = {\"a\": x}"),
        ("the event in the event", "", ".x = [.x]"),
        ("a list of itself", "x = []", "x = [x, x, x]"),
        ("a text of itself", "x = \"x\"", "x = x + x"),
        ("push", "x = []", "x = push(x, encode_json(x))"),
        ("append", "x = [1]", "x = append(x, x)"),
        (
            "members",
            "x = {}\nn = 0",
            "n = n + 1\n x = set!(x, [to_string(n)], x)",
        ),
        ("merge", "x = {\"a\": 1}", "x = merge(x, {\"b\": x})"),
        (
            "entries",
            "x = to_entries({\"a\": 1})",
            "x = to_entries({\"a\": x, \"b\": x})",
        ),
        ("keys", "x = {\"a\": 1}", "x = map_keys(x) -> |k| { k + k }"),
    ] {
        all.push(event(
            format!("10,000 times: {what}"),
            looped(before, body),
            seed.clone(),
            Stopped,
        ));
    }
    let key = "k".repeat(1_000);
    all.push(event(
        "flat keys of a deep object",
        format!(
            "l = array!(.l)\nx = {{\"a\": 1}}\n\
             for_each(l) -> |_i, _v| {{ for_each(l) -> |_i, _v| {{ x = {{\"{key}\": x, \"b\": 1}} }} }}\n\
             .x = flatten(x)"
        ),
        seed.clone(),
        Stopped,
    ));
    let few = format!("{{\"l\":[{}]}}", vec!["1"; 20].join(","));
    all.push(event(
        "flat keys of an object 400 deep",
        format!(
            "l = array!(.l)\nx = {{\"a\": 1}}\n\
             for_each(l) -> |_i, _v| {{ for_each(l) -> |_i, _v| {{ x = {{\"{key}\": x, \"b\": 1}} }} }}\n\
             .x = flatten(x)"
        ),
        few,
        Stopped,
    ));
    let big = format!("{{\"s\":\"{}\"}}", "a ".repeat(16_000));
    let grown = |call: &str| format!("s = string!(.s)\n{}.x = {call}", "s = s + s\n".repeat(7));
    for (what, call) in [
        ("snakecase", "snakecase(s)"),
        ("camelcase", "camelcase(s)"),
        ("upcase", "upcase(s)"),
        ("encode_percent", "encode_percent(s)"),
        ("encode_base64", "encode_base64(s)"),
        ("strlen", "strlen(s)"),
        ("truncate", "truncate(s, 10, \"..\")"),
        ("parse_float", "parse_float(s) ?? 0.0"),
        (
            "contains without case",
            "contains(s, \"b\", case_sensitive: false)",
        ),
    ] {
        let name = format!("a text of 4 MiB: {what}");
        all.push(event(name, grown(call), big.clone(), Harmless));
    }
    for (what, call) in [
        ("sha256", "sha256(s)"),
        ("parse_json", "parse_json!(s)"),
        ("parse_query_string", "parse_query_string(s)"),
        ("match", "match(s, r'(a|b)*a(a|b){200}c')"),
        ("find", "find(s, r'(a|b)*a(a|b){200}c')"),
        ("a format of the event", "replace(s, r'a', \"\")"),
        ("split by a pattern", "split(s, r'b')"),
        ("parse_regex", "parse_regex!(s, r'(?P<x>b)')"),
    ] {
        let name = format!("a text of 4 MiB: {what}");
        all.push(event(name, grown(call), big.clone(), Stopped));
    }
    all
}
