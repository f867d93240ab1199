//! The order of members, through programs.

use vrl::compiler::runtime::Runtime;

use super::*;
use crate::program::scope::Scope;
use crate::program::{ProgramCache, Role, run};

/// `key=json` of each entry.
fn listed(json: &str, path: &str) -> String {
    let program = format!(
        "list = map_values(json_entries(string!(.text), {path})) -> |e| {{ to_string(e.key) + \"=\" + e.json }}\n\
         join(list, \" \") ?? \"\""
    );
    let program = ProgramCache::default()
        .program(Role::Transform, &program)
        .unwrap();
    let members = [(KeyString::from("text"), Value::from(json))];
    let mut root = Value::Object(members.into_iter().collect());
    let mut scope = Scope::Root(&mut root);
    let value = run(&program, &mut scope, &mut Runtime::default()).unwrap();
    value.to_str().unwrap_or_default().to_owned()
}

#[test]
fn members_and_items_come_in_their_order_as_they_are_written() {
    let text = r#"{"z":1.50,"a":{"y":[3,{"b":null}],"c":"\u00e9"}}"#;
    assert_eq!(
        listed(text, "[]"),
        r#"z=1.50 a={"y":[3,{"b":null}],"c":"\u00e9"}"#
    );
    assert_eq!(listed(text, r#"["a"]"#), r#"y=[3,{"b":null}] c="\u00e9""#);
    assert_eq!(listed(text, r#"["a", "y"]"#), r#"0=3 1={"b":null}"#);
    assert_eq!(listed(text, r#"["a", "y", 1]"#), "b=null");
    assert_eq!(listed(r#"{"a":1,"b":2,"a":3}"#, "[]"), "a=3 b=2");
}

#[test]
fn types_are_those_of_json_schema() {
    for (json, what) in [
        (r#""7""#, "string"),
        ("true", "boolean"),
        ("false", "boolean"),
        ("null", "null"),
        ("{}", "object"),
        ("[1]", "array"),
        ("7", "integer"),
        ("-7", "integer"),
        ("123456789012345678901234567890", "integer"),
        ("7.0", "integer"),
        ("1e3", "integer"),
        ("7.5", "number"),
        ("1e-3", "number"),
        ("1e999", "number"),
    ] {
        assert_eq!(type_of(json), what, "{json}");
    }
}

#[test]
fn what_is_no_object_and_no_list_has_none() {
    for (text, path) in [
        ("", "[]"),
        ("{", "[]"),
        ("7", "[]"),
        (r#""text""#, "[]"),
        ("{}", "[]"),
        ("[]", "[]"),
        (r#"{"a":1}"#, r#"["a"]"#),
        (r#"{"a":1}"#, r#"["b"]"#),
        (r#"[1]"#, "[1]"),
    ] {
        assert_eq!(listed(text, path), "", "{text} {path}");
    }
}

#[test]
fn too_many_are_too_many() {
    let text = format!("[{}1]", "1,".repeat(ELEMENTS_MAX));
    assert!(entries(&text).is_err());
    assert_eq!(entries("[1,1]").unwrap().len(), 2);
}
