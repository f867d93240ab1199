//! Short texts that keep the compiler busy, or fill its memory.

use super::End::{Failed, Harmless, Refused};
use super::{Attack, around, program};

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = Vec::new();
    for times in [5, 14, 18, 22] {
        let text = around("for_each([1]) -> |_i, v| { ", "v", " }", times);
        all.push(program(
            format!("{times} closures inside one another"),
            text,
            Refused("closures inside one another"),
        ));
    }
    let closures = "for_each([1]) -> |_i, v| { v }\n".repeat(13);
    all.push(program(
        "13 closures",
        closures,
        Refused("closures: the limit is 12"),
    ));
    for (what, path) in [
        ("a huge index, written", ".x[1000000000] = 1"),
        ("a huge negative index, written", ".x[-1000000000] = 1"),
        ("a huge index, read", "y = .x[1000000000]"),
        ("a huge index of a variable", "a = [1]\na[99999] = 1"),
        ("a huge index, deleted", "del(.x[1000000000])"),
        ("a huge index of a call", "y = array!(.l)[1000000000]"),
    ] {
        all.push(program(what, path, Refused("an index in a path")));
    }
    for count in [201, 2_000] {
        let text = ".a = 1\n".repeat(count);
        all.push(program(
            format!("{count} assignments"),
            text,
            Refused("assignments"),
        ));
    }
    let looped = format!("for_each([1]) -> |_i, _v| {{\n{}}}", ".a = .b\n".repeat(50));
    let fifty = around("for_each([1]) -> |_i, _v| {\n", &looped, "\n}", 3);
    all.push(program("50 assignments in four closures", fifty, Harmless));
    let fields: Vec<String> = (0..2_000).map(|i| format!("\"f{i}\": .n")).collect();
    all.push(program(
        "an object of 2,000 members",
        format!(".x = {{{}}}", fields.join(",")),
        Harmless,
    ));
    all.extend(types());
    all.extend(patterns());
    all
}

/// The compiler knows each variable's type, member by member.
fn types() -> Vec<Attack> {
    let words = "grow too large to compile";
    let members: Vec<String> = (0..20).map(|i| format!("\"k{i}\": .a")).collect();
    let members = members.join(", ");
    let line = |line: &str| format!("l = array!(.l)\nm = l\n{}", line.repeat(40));
    [
        ("a list of itself", "l = [l, l]\n"),
        ("an object of itself", "l = {\"a\": l, \"b\": l}\n"),
        ("the event in itself", ".l = [.l, .l]\n"),
        ("two variables by turns", "m = [l]\nl = [m, m]\n"),
        (
            "two branches",
            "if .n == 1 { l = [l] } else { l = {\"a\": l} }\n",
        ),
        ("a merge of itself", "l = merge({\"a\": l}, {\"b\": l})\n"),
        ("a flat list of itself", "l = flatten([l, l])\n"),
        (
            "itself in a closure",
            "for_each([1]) -> |_i, _v| { l = [l, l] }\n",
        ),
        ("itself with an error", "l, err = [l, l]\n"),
        ("a member of itself", "l[0] = [l, l]\n"),
    ]
    .map(|(what, text)| program(format!("a type grows: {what}"), line(text), Refused("")))
    .into_iter()
    .chain([program(
        "a type grows: an object of itself in few lines",
        "l = {\"a\": .o, \"b\": .o}\n".to_owned()
            + &"l = {\"a\": l, \"b\": l, \"c\": l}\n".repeat(9),
        Refused(words),
    )])
    .chain([program(
        "a type grows: the event by small parts, and is read again and again",
        (0..190)
            .map(|i| format!(".a{i}.b = {{{members}}}\n"))
            .collect::<String>(),
        Refused(words),
    )])
    .collect()
}

fn patterns() -> Vec<Attack> {
    let many: Vec<String> = (0..17).map(|i| format!("match(\"a\", r'{i}')")).collect();
    let sized = "of one regular expression";
    let counted = "places of one regular expression";
    vec![
        program(
            "17 patterns",
            many.join("\n"),
            Refused("regular expressions in one program"),
        ),
        program(
            "a pattern of 600 bytes",
            format!("match(\"a\", r'{}')", "a".repeat(600)),
            Refused(sized),
        ),
        program(
            "a pattern that counts to 10^9",
            r"match(string!(.s), r'((\w{1000}){1000}){1000}')",
            Refused(""),
        ),
        program(
            "a pattern that counts to 2,000",
            r"match(string!(.s), r'(a|b)*a(a|b){2000}')",
            Refused(counted),
        ),
        program(
            "a pattern that counts twice",
            r"match(string!(.s), r'((a|b){40}){40}')",
            Refused(counted),
        ),
        program(
            "a pattern that counts letters",
            r"match(string!(.s), r'\pL{900}')",
            Refused(""),
        ),
        program(
            "200 groups in a pattern",
            format!("match(string!(.s), r'{}')", around("(", "a", ")", 200)),
            Harmless,
        ),
        program("(a+)+", r"match(string!(.s), r'^(a+)+$')", Harmless),
        program(
            "a pattern of nothing",
            r"match(string!(.s), r'(|||)*')",
            Harmless,
        ),
        program(
            "33 values in a text",
            format!("a = \"x\"\n.b = \"{}\"", "{{ a }}".repeat(33)),
            Refused("values in one template"),
        ),
        program(
            "text times a number",
            ".a = \"ab\" * 1000000000",
            Refused("'*' stands only between"),
        ),
        program(
            "text times the largest number",
            ".a = 9223372036854775807 * \"ab\"",
            Refused("'*' stands only between"),
        ),
        program(
            "text times a number of the event",
            ".a = string!(.s) * int!(.n)",
            Refused("'*' stands only between"),
        ),
        program(
            "a division by nothing",
            ".a, err = 1 / (int!(.n) - 3)\n.a = int!(.s)",
            Failed,
        ),
        program(
            "a time that nobody knows",
            ".a = t'99999-99-99'",
            Refused(""),
        ),
    ]
}
