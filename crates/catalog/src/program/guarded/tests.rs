//! The bodies of ours give what VRL's own give: both run over the same calls.

use vrl::compiler::runtime::Runtime;
use vrl::compiler::{TargetValueRef, TimeZone, compile};
use vrl::value::Secrets;

use super::super::own::{self, PARAMETERS_MAX};
use super::*;

/// What a source's value is with these functions, or its error.
fn value(source: &str, functions: &[Box<dyn Function>]) -> Result<Value, String> {
    let program = compile(source, functions).map_err(|_| format!("{source} does not compile"))?;
    let mut target = TargetValueRef {
        value: &mut Value::Object(ObjectMap::new()),
        metadata: &mut Value::Object(ObjectMap::new()),
        secrets: &mut Secrets::default(),
    };
    Runtime::default()
        .resolve(&mut target, &program.program, &TimeZone::default())
        .map_err(|problem| problem.to_string())
}

#[test]
fn bodies_give_what_vrl_gives() {
    let standard = vrl::stdlib::all();
    let guarded: Vec<_> = vrl::stdlib::all().into_iter().map(guarded).collect();
    for source in [
        r#"camelcase("foo_bar-baz Qux")"#,
        r#"camelcase("foo_bar-baz", "snake_case")"#,
        r#"camelcase("foo_bar", original_case: "kebab-case")"#,
        r#"pascalcase("XMLHttpRequest2go")"#,
        r#"kebabcase("  many   spaces__here ")"#,
        r#"screamingsnakecase("éclair 1a2B")"#,
        r#"snakecase("version2Release")"#,
        r#"snakecase("s3Bucket details", excluded_boundaries: ["lower_digit", "digit_lower"])"#,
        r#"snakecase("aB2c", "camelCase", ["digit_lower", "lower_digit", "upper_digit"])"#,
        r#"snakecase("")"#,
        r#"contains_all("The Needle in a haystack", ["Needle", "hay"])"#,
        r#"contains_all("the NEEDLE", ["needle", "THE"], case_sensitive: false)"#,
        r#"contains_all("the NEEDLE", ["needle"])"#,
        r#"contains_all("", [])"#,
        r#"find("foobar", "bar")"#,
        r#"find("foobar", "oba", 2)"#,
        r#"find("foobar", r'b.r')"#,
        r#"find("foobar foobar", r'b.r', 4)"#,
        r#"find("foobar", "x")"#,
        r#"find("foobar", "f", 60)"#,
        r#"find("é é", "é", 2)"#,
        r#"find("", "")"#,
        r#"match("I'm a little teapot", r'(?i)TEA')"#,
        r#"match("x", r'^$')"#,
        r#"match_any("a1", [r'^\d', r'\d$'])"#,
        r#"match_any("a", [])"#,
        r#"parse_regex!("first group and second", r'(?P<number>.*?) group')"#,
        r#"parse_regex!("8.7.6.5 - z", r'^(?P<host>[\w.]+) - (?P<user>\w+)(?P<no>x)?', numeric_groups: true)"#,
        r#"parse_regex!("x", r'y')"#,
        r#"parse_regex("x", r'(?P<a>y)') ?? {"a": 1}"#,
        r#"flatten([1, [2, [3, {"a": [4]}]], []])"#,
        r#"flatten({"a": {"b": {"c": 1}, "d": [1, [2]]}, "e": {}, "f": null})"#,
        r#"flatten({"foo": {"bar": true}}, "_")"#,
        r#"flatten({"p": {"c": {"x": 1}}, "keep": {"n": 2}}, except: ["keep"])"#,
        r#"flatten({"": {"": 1}, "a.b": {"c": 2}})"#,
        r#"compact({"a": {"b": ["", null, {}, [[]], 0, false]}, "c": null, "d": "", "e": " "})"#,
        r#"compact({"a": {"b": null}, "b": "", "c": null, "d": [], "e": [""]}, recursive: false)"#,
        r#"compact({"a": {"b": null}, "b": "", "d": [], "e": {}}, string: false, object: false)"#,
        r#"compact({"a": {"b": null}, "b": "", "d": [], "e": {}}, null: false, array: false)"#,
        r#"compact({"a": "-", "b": {"c": " "}}, nullish: true)"#,
        r#"compact([1, "", [null], {"a": []}, null])"#,
        r#"compact([1, "", [null], {"a": []}, null], recursive: false)"#,
        r#"x = {"a": {"b": ["", null, {}, 0]}, "c": null}; compact(x)"#,
        r#"x = {"a": {"b": ["", null, {}, 0]}, "c": null}; compact(x, recursive: false)"#,
        r#"flag = .x == null; compact({"a": {"b": null}, "c": ""}, recursive: flag, string: flag)"#,
        r#"compact!(.x)"#,
        r#"compact({ if .x == 1 { {"a": null} } else { {"b": [""], "c": 1} } })"#,
        r#"compact({"a": to_int!(.y), "b": null})"#,
        r#"n = 0; compact({"b": { n = n + 1; n }, "a": { n = n + 1; n }, "c": { n = 9; null }}); n"#,
    ] {
        assert_eq!(
            value(source, &guarded),
            value(source, &standard),
            "{source}"
        );
    }
}

#[test]
fn types_are_those_of_vrl() {
    let guarded: Vec<_> = vrl::stdlib::all().into_iter().map(guarded).collect();
    for source in [
        // A named group is a text for the compiler, a member of a flat object anything.
        r#"upcase(parse_regex!("ab", r'(?P<x>a)').x)"#,
        r#"merge(flatten({"a": {"b": 1}}), {"c": 2})"#,
        r#"length(flatten([[1]]))"#,
    ] {
        value(source, &guarded).unwrap();
    }
    for source in [
        r#"snakecase("a", "no_such_case")"#,
        r#"match_any("a", [.pattern])"#,
        r#"match(1, r'a')"#,
        r#"flatten(1)"#,
    ] {
        assert!(value(source, &guarded).is_err(), "{source}");
    }
}

#[test]
fn what_no_json_can_hold_is_no_number() {
    let guarded: Vec<_> = vrl::stdlib::all().into_iter().map(guarded).collect();
    for function in FINITE {
        for text in ["Infinity", "-inf", "1e999"] {
            let source = format!("{function}!(\"{text}\")");
            let told = value(&source, &guarded).unwrap_err();
            assert!(told.contains("is no finite number"), "{source}: {told}");
            let source = format!("{function}(\"{text}\") ?? 7");
            assert_eq!(value(&source, &guarded), Ok(Value::Integer(7)), "{source}");
        }
        let source = format!("{function}!(\"1.5e3\")");
        assert_eq!(
            value(&source, &guarded),
            Ok(Value::from_f64_or_zero(1500.0))
        );
    }
    assert_eq!(
        value("to_float(true)", &guarded),
        Ok(Value::from_f64_or_zero(1.0))
    );
}

#[test]
fn every_body_is_used() {
    let all = vrl::stdlib::all();
    for (name, _) in BODIES {
        let standard = all.iter().find(|one| one.identifier() == name);
        // One more would never reach its body.
        let parameters = standard.expect(name).parameters().len();
        assert!(parameters <= PARAMETERS_MAX, "{name}");
    }
    for function in own::all() {
        let parameters = function.parameters().len();
        assert!(parameters <= PARAMETERS_MAX, "{}", function.identifier());
    }
}
