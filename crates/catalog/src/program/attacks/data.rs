//! Innocent programs, and events made to break them.

use super::End::{Failed, Harmless, Stopped};
use super::{Attack, around, event};

/// As long as an event may be.
const LONG: usize = 32_000;

fn text(text: &str) -> String {
    format!("{{\"s\":{}}}", serde_json::Value::from(text))
}

fn long(unit: &str) -> String {
    text(&unit.repeat(LONG / unit.len()))
}

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = depth();
    all.extend(indexes());
    all.extend(numbers());
    all.extend(texts());
    all.extend(patterns());
    all.extend(members());
    all
}

fn depth() -> Vec<Attack> {
    let mut all = Vec::new();
    for (what, open, close) in [
        ("lists", "[", "]"),
        ("objects", "{\"a\":", "}"),
        ("lists that never close", "[", ""),
    ] {
        let deep = text(&around(open, "1", close, 5_000));
        let parse = ".o = parse_json!(.s)";
        all.push(event(
            format!("5,000 {what} to parse"),
            parse,
            deep.clone(),
            Failed,
        ));
        let is = ".o = is_json(string!(.s))";
        all.push(event(
            format!("5,000 {what} to look at"),
            is,
            deep,
            Harmless,
        ));
    }
    let query = text(&("a[".repeat(5_000) + "=1"));
    all.push(event(
        "brackets in a query",
        ".o = parse_query_string(string!(.s))",
        query,
        Harmless,
    ));
    let deep = format!("{{\"o\":{}}}", around("{\"a\":[", "1", "]}", 15));
    for (what, program) in [
        ("flatten", ".x = flatten(object!(.o))"),
        ("compact", ".x = compact(object!(.o))"),
        (
            "map_values",
            ".x = map_values(object!(.o), recursive: true) -> |v| { v }",
        ),
        (
            "map_keys",
            ".x = map_keys(object!(.o), recursive: true) -> |k| { upcase(k) }",
        ),
        ("encode_json", ".x = encode_json(.o)"),
        ("merge", ".x = merge(object!(.o), object!(.o), deep: true)"),
    ] {
        all.push(event(
            format!("an event as deep as may be: {what}"),
            program,
            deep.clone(),
            Harmless,
        ));
    }
    all
}

fn indexes() -> Vec<Attack> {
    let huge = "{\"n\":1000000000,\"m\":-1000000000,\"p\":[\"x\",1000000000],\
                \"z\":9223372036854775807,\"y\":-9223372036854775808}";
    let many = format!("{{\"p\":[{}]}}", vec!["1"; 50].join(","));
    let set = |path: &str| format!(".o = set!({{}}, {path}, 1)");
    vec![
        event(
            "set at a huge index",
            set("[\"x\", int!(.n)]"),
            huge,
            Stopped,
        ),
        event(
            "set at a huge negative index",
            set("[\"x\", int!(.m)]"),
            huge,
            Stopped,
        ),
        event("set at the largest index", set("[int!(.z)]"), huge, Stopped),
        event(
            "set at the smallest index",
            set("[int!(.y)]"),
            huge,
            Stopped,
        ),
        event(
            "set at a path of the event",
            set("array!(.p)"),
            huge,
            Stopped,
        ),
        event(
            "set at a path of 50 segments",
            set("array!(.p)"),
            many,
            Stopped,
        ),
        event(
            "get at a huge index",
            ".o = get!([1], [int!(.z)])",
            huge,
            Harmless,
        ),
        event(
            "get at the smallest index",
            ".o = get!([1], [int!(.y)])",
            huge,
            Harmless,
        ),
        event(
            "remove at the smallest index",
            ".o = remove!([1], [int!(.y)])",
            huge,
            Harmless,
        ),
        event(
            "slice from the smallest index",
            ".o = slice!(\"é\", int!(.y))",
            huge,
            Harmless,
        ),
        event(
            "slice to the largest index",
            ".o = slice!([1], 0, int!(.z))",
            huge,
            Harmless,
        ),
        event(
            "find from a huge index",
            ".o = find!(\"é\", \"x\", int!(.n))",
            huge,
            Harmless,
        ),
        event(
            "find from before the text",
            ".o = find!(\"é\", \"x\", int!(.m))",
            huge,
            Harmless,
        ),
        event(
            "truncate to a huge length",
            ".o = truncate(\"é\", int!(.n))",
            huge,
            Harmless,
        ),
        event(
            "truncate to less than nothing",
            ".o = truncate(\"é\", int!(.m))",
            huge,
            Harmless,
        ),
        event(
            "split to a huge limit",
            ".o = split(\"a,b\", \",\", int!(.z))",
            huge,
            Harmless,
        ),
        event(
            "replace less than nothing",
            ".o = replace(\"a\", \"a\", \"b\", int!(.m))",
            huge,
            Harmless,
        ),
    ]
}

fn numbers() -> Vec<Attack> {
    let odd = "{\"n\":9223372036854775807,\"m\":-9223372036854775808,\"f\":1e308,\"z\":0,\
               \"s\":\"99999999999999999999999999\",\"i\":1000000000}";
    [
        ("the largest plus one", ".o = int!(.n) + 1"),
        ("the smallest less one", ".o = int!(.m) - 1"),
        ("the largest times two", ".o = int!(.n) * 2"),
        (
            "the largest float times itself",
            ".o = float!(.f) * float!(.f)",
        ),
        ("divided by nothing", ".o = int!(.n) / int!(.z) ?? 0"),
        (
            "the rest of a division by nothing",
            ".o = mod!(int!(.n), int!(.z))",
        ),
        ("the smallest by minus one", ".o = mod!(int!(.m), -1)"),
        ("the size of the smallest", ".o = abs(int!(.m))"),
        ("a float as an integer", ".o = to_int!(float!(.f))"),
        (
            "round to a precision of the event",
            ".o = round(1.5, precision: int!(.i))",
        ),
        (
            "ceil to less than nothing",
            ".o = ceil(1.5, precision: int!(.m))",
        ),
        (
            "floor to the largest precision",
            ".o = floor(1.5, precision: int!(.n))",
        ),
        ("a number of 26 digits", ".o = to_int!(string!(.s))"),
        ("a float of 26 digits", ".o = to_float!(string!(.s))"),
        (
            "format to a base of the event",
            ".o = format_int!(5, int!(.i))",
        ),
        (
            "format to the base nothing",
            ".o = format_int!(5, int!(.z))",
        ),
        (
            "parse from a base of the event",
            ".o = parse_int!(\"z\", int!(.i))",
        ),
        (
            "a time beyond all years",
            ".o = from_unix_timestamp!(int!(.n))",
        ),
        (
            "a time before all years, in nanoseconds",
            ".o = from_unix_timestamp!(int!(.m), unit: \"nanoseconds\")",
        ),
        (
            "a duration of 26 digits",
            ".o = parse_duration!(string!(.s) + \"s\", \"ns\")",
        ),
    ]
    .map(|(what, program)| event(format!("a number: {what}"), program, odd, Harmless))
    .into()
}

fn texts() -> Vec<Attack> {
    let all_a = long("a");
    let mut all = vec![
        event(
            "a text replaced by itself",
            ".o = replace(string!(.s), \"a\", string!(.s))",
            all_a.clone(),
            Stopped,
        ),
        event(
            "every gap replaced by the text",
            ".o = replace(string!(.s), \"\", string!(.s))",
            all_a.clone(),
            Stopped,
        ),
        event(
            "a group of the text, often",
            ".o = replace(string!(.s), r'(a+)', \"$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1\")",
            all_a.clone(),
            Stopped,
        ),
        event(
            "split at nothing",
            ".o = split(string!(.s), \"\")",
            all_a.clone(),
            Stopped,
        ),
        event(
            "split at every byte",
            ".o = split(string!(.s), \"a\")",
            all_a.clone(),
            Stopped,
        ),
        event(
            "split by a pattern at every byte",
            ".o = split(string!(.s), r'a')",
            all_a,
            Stopped,
        ),
        event(
            "a query of 8,000 parameters",
            ".o = parse_query_string(string!(.s))",
            long("a=1&"),
            Harmless,
        ),
        event(
            "an URL of a query of 8,000",
            ".o = parse_url!(\"https://a.example/?\" + string!(.s))",
            long("a=1&"),
            Harmless,
        ),
        event(
            "an URL of dots",
            ".o = parse_url!(\"https://a.example/\" + string!(.s))",
            long("../"),
            Harmless,
        ),
        event(
            "an URL of a host of 32,000",
            ".o = parse_url!(\"https://\" + string!(.s))",
            long("a."),
            Harmless,
        ),
        event(
            "percent signs alone",
            ".o = decode_percent(string!(.s))",
            long("%"),
            Harmless,
        ),
        event(
            "percent-encoded line breaks",
            ".o = encode_percent(string!(.s))",
            long("\n"),
            Harmless,
        ),
        event(
            "no base64",
            ".o = decode_base64!(string!(.s))",
            long("="),
            Failed,
        ),
        event(
            "no base16",
            ".o = decode_base16!(string!(.s))",
            long("g"),
            Failed,
        ),
        event(
            "a number as JSON, 32,000 digits",
            ".o = parse_json!(.s)",
            long("9"),
            Harmless,
        ),
        event(
            "a key as JSON, often",
            ".o = parse_json!(\"{\" + string!(.s) + \"\\\"a\\\":1}\")",
            long("\"a\":1,"),
            Harmless,
        ),
        event(
            "no UTF-16 in JSON",
            ".o = parse_json!(\"\\\"\" + string!(.s) + \"\\\"\")",
            long("\\ud800"),
            Harmless,
        ),
        event(
            "a time in many words",
            ".o = parse_timestamp!(string!(.s), \"%Y-%m-%d\")",
            long("2"),
            Failed,
        ),
        event(
            "a duration of many units",
            ".o = parse_duration!(string!(.s), \"s\")",
            long("1h"),
            Harmless,
        ),
        event(
            "an address of many parts",
            ".o = is_ipv6(string!(.s))",
            long("1:"),
            Harmless,
        ),
        event(
            "NULs",
            ".o = strip_whitespace(downcase(string!(.s)))",
            text(&"\u{0}".repeat(5_000)),
            Harmless,
        ),
        event(
            "a placeholder of a secret",
            ".o = string!(.s)",
            long("{{secret.key}}"),
            Harmless,
        ),
    ];
    for function in [
        "camelcase",
        "pascalcase",
        "snakecase",
        "kebabcase",
        "screamingsnakecase",
    ] {
        let program = format!(".o = {function}(string!(.s))");
        all.push(event(
            format!("{function} of 16,000 words"),
            program.clone(),
            long("a "),
            Harmless,
        ));
        all.push(event(
            format!("{function} of odd letters"),
            program,
            long("ǆİß"),
            Harmless,
        ));
    }
    all
}

fn patterns() -> Vec<Attack> {
    let all_a = long("a");
    let slow = |program: &str| program.replace('@', "string!(.s), r'(?:.*b|a)'");
    vec![
        event(
            "a quadratic pattern, replaced",
            slow(".o = replace(@, \"\")"),
            all_a.clone(),
            Stopped,
        ),
        event(
            "a quadratic pattern, split",
            slow(".o = split(@)"),
            all_a.clone(),
            Stopped,
        ),
        event(
            "a quadratic pattern, matched",
            slow(".o = match(@)"),
            all_a.clone(),
            Harmless,
        ),
        event(
            "a quadratic pattern, found",
            slow(".o = find(@)"),
            all_a.clone(),
            Harmless,
        ),
        event(
            "a quadratic pattern, parsed",
            slow(".o = parse_regex!(@)"),
            all_a.clone(),
            Harmless,
        ),
        event(
            "(a+)+$",
            r".o = match(string!(.s), r'^(a+)+$')",
            all_a.clone(),
            Harmless,
        ),
        event(
            "(a|aa)+$",
            r".o = match(string!(.s), r'^(a|aa)+$')",
            all_a.clone(),
            Harmless,
        ),
        event(
            "many copies of a state",
            r".o = match(string!(.s), r'(a|b)*a(a|b){200}c')",
            all_a.clone(),
            Harmless,
        ),
        event(
            "many copies of a state, any of two",
            r".o = match_any(string!(.s), [r'(a|b)*a(a|b){200}c', r'x'])",
            all_a.clone(),
            Harmless,
        ),
        event(
            "many copies of a state, parsed",
            r".o = parse_regex(string!(.s), r'(a|b)*a(a|b){200}c') ?? {}",
            all_a,
            Harmless,
        ),
    ]
}

fn members() -> Vec<Attack> {
    let wide: Vec<String> = (0..2_000).map(|i| format!("\"k{i}\":{i}")).collect();
    let wide = format!("{{\"o\":{{{}}}}}", wide.join(","));
    let list = format!("{{\"l\":[{}]}}", vec!["\"ab\""; 5_000].join(","));
    let odd_keys = r#"{"o":{"":1,".":2,"a.b":3,"\"":4,"a[0]":5,"\u0000":6,"é":7}}"#;
    let mut all = Vec::new();
    for (what, program) in [
        ("map_keys", ".x = map_keys(object!(.o)) -> |k| { k + k }"),
        (
            "map_values",
            ".x = map_values(object!(.o)) -> |v| { [v, v] }",
        ),
        (
            "filter",
            ".x = filter(object!(.o)) -> |k, _v| { ends_with(k, \"1\") }",
        ),
        (
            "entries and back",
            ".x = from_entries!(to_entries(object!(.o)))",
        ),
        ("merge", ".x = merge(object!(.o), object!(.o))"),
        ("flatten", ".x = flatten({\"a\": object!(.o)})"),
        (
            "keys and values",
            ".x = zip!(keys(object!(.o)), values(object!(.o)))",
        ),
        ("encode_json", ".x = encode_json(.o)"),
    ] {
        all.push(event(
            format!("2,000 members: {what}"),
            program,
            wide.clone(),
            Harmless,
        ));
        all.push(event(
            format!("odd keys: {what}"),
            program,
            odd_keys,
            Harmless,
        ));
    }
    for (what, program, ends) in [
        ("unique", ".x = unique(array!(.l))", Harmless),
        ("includes", ".x = includes(array!(.l), \"b\")", Harmless),
        ("join", ".x = join!(array!(.l), \"-\")", Harmless),
        (
            "append",
            ".x = append(array!(.l), append(array!(.l), array!(.l)))",
            Stopped,
        ),
        (
            "contains_all",
            ".x = contains_all!(encode_json(.l), array!(.l))",
            Harmless,
        ),
        ("no pairs", ".x = object_from_array!(array!(.l))", Failed),
    ] {
        all.push(event(
            format!("5,000 items: {what}"),
            program,
            list.clone(),
            ends,
        ));
    }
    all
}
