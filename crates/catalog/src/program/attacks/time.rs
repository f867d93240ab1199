//! Programs that run for ever, or for as long as anybody would wait.

use super::End::{Refused, Stopped};
use super::{Attack, event};

pub(super) fn attacks() -> Vec<Attack> {
    let hundred = format!("{{\"l\":[{}]}}", vec!["1"; 100].join(","));
    let thousands = format!("{{\"l\":[{}]}}", vec!["1"; 8_000].join(","));
    let text = format!(
        "{{\"s\":\"{}\",\"l\":[{}]}}",
        "ab".repeat(12_000),
        vec!["1"; 1_000].join(",")
    );
    let json = format!(
        "{{\"s\":{},\"l\":[{}]}}",
        serde_json::Value::from(format!("[{}]", vec!["{\"a\":[1]}"; 2_500].join(","))),
        vec!["1"; 1_000].join(",")
    );
    let nested = |body: &str| {
        format!(
            "l = array!(.l)\n\
             for_each(l) -> |_i, _v| {{ for_each(l) -> |_i, _v| {{ {body} }} }}"
        )
    };
    let mut all = vec![
        event(
            "three loops inside one another",
            "l = array!(.l)
             for_each(l) -> |_i, _v| { for_each(l) -> |_i, _v| { for_each(l) -> |_i, v| { v } } }",
            hundred,
            Stopped,
        ),
        event(
            "two loops over 8,000 items",
            nested("1"),
            thousands.clone(),
            Stopped,
        ),
        event(
            "a map in a map",
            "l = array!(.l)\n.x = map_values(l) -> |_v| { length(map_values(l) -> |v| { v }) }",
            thousands.clone(),
            Stopped,
        ),
        event(
            "a filter in a filter",
            "l = array!(.l)\n.x = filter(l) -> |_i, _v| { length(filter(l) -> |_i, v| { v == 2 }) == 0 }",
            thousands,
            Stopped,
        ),
        event(
            "range",
            ".x = range(0, 100000)",
            "{}",
            Refused("undefined function"),
        ),
    ];
    for (what, body) in [
        ("sha512 of a text", "sha512(string!(.s))"),
        ("a text in upper case", "upcase(string!(.s))"),
        ("a text in snake case", "snakecase(string!(.s))"),
        ("a text split", "split(string!(.s), \"b\", limit: 5000)"),
        ("a text replaced", "replace(string!(.s), \"ab\", \"b\")"),
        ("a text searched", "contains(string!(.s), \"bb\")"),
        (
            "a slow pattern",
            r"match(string!(.s), r'(a|b)*a(a|b){100}c')",
        ),
        (
            "a quadratic pattern",
            r#"replace(string!(.s), r'(?:.*c|a)', "")"#,
        ),
        (
            "percent signs",
            "decode_percent(encode_percent(string!(.s)))",
        ),
    ] {
        all.push(event(
            format!("1,000,000 times {what}"),
            nested(body),
            text.clone(),
            Stopped,
        ));
    }
    for (what, body) in [
        ("JSON read", "parse_json!(.s)"),
        ("JSON read and written", "encode_json(parse_json!(.s))"),
        ("a list made unique", "unique(array!(parse_json!(.s)))"),
        ("an event written", "encode_json(.)"),
        ("a list copied", "push(array!(.l), 1)"),
    ] {
        all.push(event(
            format!("1,000,000 times {what}"),
            nested(body),
            json.clone(),
            Stopped,
        ));
    }
    let slow = r"match(s, r'(?:\w?){90}\w{90}[^\w]$')";
    for (what, s) in [
        ("whole texts", "string!(.s) + string!(.s)"),
        ("parts of a text", "truncate(string!(.s), 10000)"),
    ] {
        all.push(event(
            format!("16 searches of {what} by a slow pattern"),
            format!("s = {s}\n.x = [{}]", vec![slow; 16].join(", ")),
            text.clone(),
            Stopped,
        ));
    }
    all.push(event(
        "10,000 texts looked for in a text",
        "s = string!(.s)\nl = split(s, \"a\", limit: 9000)\n\
         for_each(l) -> |_i, _v| { contains_all!(s, l) }",
        text,
        Stopped,
    ));
    all
}
