//! Texts whose shape overflows the stack of the parser or the compiler.

use super::End::Refused;
use super::{Attack, around, program};

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = Vec::new();
    for (what, open, close) in [
        ("groups", "(", ")"),
        ("lists", "[", "]"),
        ("objects", "{\"a\":", "}"),
        ("blocks", "{ ", " }"),
        ("calls", "upcase(", ")"),
        ("ifs", "if true { ", " }"),
        ("closures", "for_each([1]) -> |_i, v| { ", " }"),
        ("lists in objects", "[{\"a\":", "}]"),
    ] {
        for times in [49, 1_000, 20_000] {
            let text = around(open, "1", close, times);
            let words = if text.len() > 64 * 1024 {
                "bytes of source"
            } else {
                "nested deeper than 48"
            };
            all.push(program(
                format!("{times} {what} inside one another"),
                text,
                Refused(words),
            ));
        }
    }
    for (what, nots) in [("", "!"), (" with spaces", "! "), (" with lines", "!\n")] {
        let text = format!("x = {}true", nots.repeat(1_000));
        all.push(program(
            format!("1,000 times not{what}"),
            text,
            Refused("'!' in a row"),
        ));
    }
    let groups = format!("x = {}true{}", "!(".repeat(1_000), ")".repeat(1_000));
    all.push(program(
        "1,000 times not, in groups",
        groups,
        Refused("nested deeper than 48"),
    ));
    for (operator, operand) in [
        ("+", "1"),
        ("-", "1"),
        ("*", "1"),
        ("/", "1"),
        ("||", "true"),
        ("&&", "true"),
        ("??", "to_int(.s)"),
        ("|", "{}"),
        ("==", "1"),
    ] {
        let chain = vec![operand; 1_000].join(&format!(" {operator} "));
        // A chain of some kinds is no program at all, and the parser says so first.
        let words = if operator == "==" {
            ""
        } else {
            "operators in one chain"
        };
        all.push(program(
            format!("a chain of 1,000 {operator}"),
            format!("x = {chain}"),
            Refused(words),
        ));
    }
    all.extend(branches_and_paths());
    all.extend(hidden());
    all
}

fn branches_and_paths() -> Vec<Attack> {
    let mut else_ifs = "if .n == 0 { .b = 0 }".to_owned();
    for index in 1..500 {
        else_ifs.push_str(&format!(" else if .n == {index} {{ .b = {index} }}"));
    }
    let assigned = (0..2_000).map(|i| format!("x{i} = ")).collect::<String>() + "1";
    vec![
        program("500 else if", else_ifs, Refused("`else if` in a row")),
        program(
            "20 ifs inside one another",
            around("if .n == 1 { ", "1", " }", 20),
            Refused("`if` inside `if`"),
        ),
        program(
            "20 calls inside one another",
            around("string!(", ".s", ")", 20),
            Refused("calls inside one another"),
        ),
        program("2,000 assignments in a row", assigned, Refused("")),
        program(
            "a path of 30,000 names, written",
            format!(".{}x = 1", "a.".repeat(30_000)),
            Refused("segments of a path"),
        ),
        program(
            "a path of 30,000 names, read",
            format!("x = .{}x", "a.".repeat(30_000)),
            Refused("segments of a path"),
        ),
        program(
            "a path of 15,000 indexes",
            format!("x = .l{}", "[0]".repeat(15_000)),
            Refused("segments of a path"),
        ),
        program(
            "a path of 30,000 names on a variable",
            format!("x = {{}}\nx.{}y = 1", "a.".repeat(30_000)),
            Refused("segments of a path"),
        ),
        program(
            "a deleted path of 30,000 names",
            format!("del(.{}x)", "a.".repeat(30_000)),
            Refused("segments of a path"),
        ),
    ]
}

/// What looks harmless to somebody who counts brackets badly.
fn hidden() -> Vec<Attack> {
    let deep = around("(", "1", ")", 60);
    let words = "nested deeper than 48";
    vec![
        program(
            "brackets behind a comment with a quote",
            format!("# it's\n.a = {deep}"),
            Refused(words),
        ),
        program(
            "brackets behind an escaped quote",
            format!(".a = \"\\\"\"\n.b = {deep}"),
            Refused(words),
        ),
        program(
            "brackets behind a raw text",
            format!(".a = s'\"'\n.b = {deep}"),
            Refused(words),
        ),
        program(
            "brackets behind a pattern",
            format!(".a = match(\"\", r'[\"]')\n.b = {deep}"),
            Refused(words),
        ),
        program(
            "brackets behind a time",
            format!(".a = t'2021-01-01T00:00:00Z'\n.b = {deep}"),
            Refused(words),
        ),
        program(
            "a text that never ends",
            format!(".a = \"{}", "(".repeat(10_000)),
            Refused(""),
        ),
        program("brackets that never close", "(".repeat(48), Refused("")),
        program("only closing brackets", ")".repeat(10_000), Refused("")),
        program(
            "70,000 spaces",
            " ".repeat(70_000),
            Refused("bytes of source"),
        ),
        program("a NUL", "\u{0}", Refused("")),
    ]
}
