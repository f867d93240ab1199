//! Barriers change neither what a program does nor what the compiler makes of it.

use vrl::compiler::runtime::Runtime;
use vrl::compiler::{Compiler, TypeState};
use vrl::value::Value;

use super::*;
use crate::program::scope::Scope;
use crate::program::{Lines, Program, Role, Stop, configuration, environment, functions, run, vet};

/// Compiled as it is, or with barriers.
fn compile(text: &str, role: Role, barriers: bool) -> Result<Program, String> {
    let tree = vet::parse(text).unwrap();
    let tree = if barriers { insert(tree) } else { tree };
    let state = TypeState {
        local: Default::default(),
        external: environment(role, &[], text),
    };
    Compiler::compile(functions::compiled(), tree, &state, configuration(role))
        .map(|result| Program {
            vrl: result.program,
            lines: Lines::of(text),
        })
        .map_err(|problems| {
            let problems = problems.into_iter().map(|one| one.message().to_owned());
            problems.collect::<Vec<_>>().join("; ")
        })
}

fn barriers(text: &str) -> usize {
    let tree = insert(vet::parse(text).unwrap());
    tree.to_string().matches(NAME).count()
}

/// A part that is long enough.
const LONG: &str =
    r#"{"a": upcase(string(.x) ?? ""), "b": upcase(string(.y) ?? ""), "c": [upcase("z"), .z]}"#;

fn outcome(text: &str, barriers: bool) -> Result<Value, String> {
    let program = compile(text, Role::Transform, barriers)?;
    let mut root = crate::json::parse(br#"{"x":"q","y":7,"list":[1,2,3]}"#).unwrap();
    match run(
        &program,
        &mut Scope::Root(&mut root),
        &mut Runtime::default(),
    ) {
        Ok(value) => Ok(Value::Array(vec![value, root])),
        Err(Stop::Failed(why) | Stop::Limit(why)) => Err(why),
        Err(Stop::Aborted { line, message }) => Err(format!("{line}: {message}")),
    }
}

#[test]
fn long_parts_go_behind_barriers_and_do_the_same() {
    for text in [
        format!("x = {LONG}\nx"),
        format!("if .x == \"q\" {{ {LONG} }} else {{ {LONG} }}"),
        format!("{{\"one\": {LONG}, \"two\": {LONG}}}"),
        // Of its own variables nobody else has heard.
        format!("if .x == \"q\" {{ own = {LONG}\nown.a + \"!\" }}"),
        format!("map_values(array(.list) ?? []) -> |_v| {{ [{LONG}, {LONG}] }}"),
        format!("x = string({{ if .x == \"q\" {{ f = {LONG}\nf.c }} }}) ?? \"x\"\nx"),
        // These stay: somebody else would see less of what they change.
        format!("t = \"\"\nif .x == \"q\" {{ t = {LONG}\n1 }}\n[t, {LONG}]"),
        format!("if .x == \"q\" {{ .new = {LONG}\n1 }}\n.new"),
        format!("if .x == \"r\" {{ abort }} else {{ {LONG} }}"),
    ] {
        assert!(barriers(&text) > 0, "{text}");
        assert_eq!(outcome(&text, true), outcome(&text, false), "{text}");
    }
    for text in [
        // It ends more than a closure.
        format!("return {LONG}"),
        // A literal is known to the compiler as such.
        format!("[{}0]", "1, ".repeat(100)),
        "x = upcase(\"short\")\nx".to_owned(),
    ] {
        assert_eq!(barriers(&text), 0, "{text}");
        assert_eq!(outcome(&text, true), outcome(&text, false), "{text}");
    }
}

#[test]
fn errors_tell_nothing_of_barriers() {
    for text in [
        format!(
            "if .x == \"q\" {{ string!(.y) + upcase(string(.x) ?? \"\") + upcase(string(.x) ?? \"\") + {LONG}.a }}"
        ),
        // The program sees the error's text here.
        format!("ok, err = {{\"a\": [string(.y), {LONG}]}}\nerr"),
        format!("x, err = string(.y)\nif err != null {{ {{\"e\": err, \"more\": {LONG}}} }}"),
    ] {
        let (with, without) = (outcome(&text, true), outcome(&text, false));
        assert!(!format!("{with:?}").contains(NAME), "{with:?}");
        assert_eq!(with, without, "{text}");
    }
    assert_eq!(
        untraced(
            "function call error for \"(block)\" at (1:2): function call error for \"(block)\" at (3:4): x"
        ),
        "x"
    );
    assert_eq!(
        untraced("function call error for \"(block)\" at (1"),
        "function call error for \"(block)\" at (1"
    );
}

#[test]
fn what_does_not_compile_does_not_with_barriers() {
    for text in [
        format!("x = {{\"a\": string(.x), \"b\": {LONG}}}"),
        format!("if .x == \"q\" {{ [{LONG}, nobody] }}"),
        format!("x = {{\"a\": upcase(\"a\") ?? \"b\", \"b\": {LONG}}}"),
        format!("if .x == \"q\" {{ own = {LONG} }}\nown"),
        format!("upcase({{\"a\": {LONG}}})"),
    ] {
        let (with, without) = (outcome(&text, true), outcome(&text, false));
        assert!(without.is_err(), "{text}: {without:?}");
        assert_eq!(with.is_err(), without.is_err(), "{text}: {with:?}");
    }
}

#[test]
fn shipped_programs_are_of_the_same_type() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../destinations");
    // All of them took a minute of an unoptimised compiler.
    let some = [
        "braze",
        "klaviyo",
        "topsort",
        "webhook-extensible",
        "hubspot",
        "avo",
        "loops",
    ];
    let every = std::env::var_os("FAIRLANE_LONG").is_some();
    let mut compared = 0;
    for folder in std::fs::read_dir(root).unwrap() {
        let folder = folder.unwrap().path();
        let id = folder.file_name().unwrap().to_string_lossy().into_owned();
        if !every && !some.contains(&id.as_str()) {
            continue;
        }
        for file in std::fs::read_dir(&folder).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_none_or(|extension| extension != "vrl") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let role = match file.file_name().unwrap().to_str().unwrap() {
                "event.vrl" => Role::Event,
                "batch.vrl" => Role::Batch,
                _ => Role::Step,
            };
            // Without their settings some do not compile: then neither does the other.
            let (with, without) = std::thread::scope(|scope| {
                let (text, stack) = (text.as_str(), crate::limits::COMPILE_STACK_BYTES);
                let both = move || (compile(text, role, true), compile(text, role, false));
                let thread = std::thread::Builder::new().stack_size(stack);
                thread.spawn_scoped(scope, both).unwrap().join().unwrap()
            });
            match (with, without) {
                (Ok(with), Ok(without)) => {
                    let types = |program: &Program| program.vrl.final_type_info().result;
                    assert_eq!(types(&with), types(&without), "{}", file.display());
                    compared += 1;
                }
                (with, without) => {
                    assert_eq!(with.is_err(), without.is_err(), "{}", file.display());
                }
            }
        }
    }
    assert!(compared >= 5, "{compared}");
}
