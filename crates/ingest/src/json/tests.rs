//! The scanner against `serde_json`, and its limits.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn scan(text: &str) -> Result<Span, JsonError> {
    let mut scanner = Scanner::new(text, 1_000);
    let span = scanner.value(0)?;
    scanner.finish()?;
    Ok(span)
}

fn check(text: &str, expected: Expect) {
    let answer = match scan(text) {
        Ok(span) => format!("ok: {}", span.of(text)),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&answer);
}

#[test]
fn says_what_is_wrong_and_where() {
    check(
        r#" {"a": [1, -2.5e3, "x\n", true, null], "b": {}} "#,
        expect![[r#"ok: {"a": [1, -2.5e3, "x\n", true, null], "b": {}}"#]],
    );
    check("", expect!["the text ends too early at byte 0"]);
    check("[1,]", expect!["unexpected ']' at byte 3"]);
    check(r#"{"a":1,}"#, expect!["unexpected '}' at byte 7"]);
    check(r#"{"a" 1}"#, expect!["unexpected '1' at byte 5"]);
    check("[1 2]", expect!["unexpected '2' at byte 3"]);
    check("[1}", expect!["unexpected '}' at byte 2"]);
    check("01", expect!["unexpected '1' at byte 1"]);
    check("-", expect!["the text ends too early at byte 1"]);
    check(
        "1e999",
        expect!["a number that no double can hold at byte 0"],
    );
    check("nul", expect!["the text ends too early at byte 3"]);
    check(
        "\"a\u{1}\"",
        expect!["a control character or a bad escape in a string at byte 2"],
    );
    check(
        r#""\x""#,
        expect!["a control character or a bad escape in a string at byte 1"],
    );
    check("{} {}", expect!["unexpected '{' at byte 3"]);
}

#[test]
fn depth_64_passes_and_65_does_not() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(scan(&nested(64)).is_ok());
    assert_eq!(
        scan(&nested(65)).map_err(|error| error.why),
        Err(Why::TooDeep)
    );
    assert_eq!(
        scan(&nested(1_000_000)).map_err(|error| error.why),
        Err(Why::TooDeep)
    );
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert!(scan(&objects(64)).is_ok());
    assert_eq!(
        scan(&objects(65)).map_err(|error| error.why),
        Err(Why::TooDeep)
    );
}

#[test]
fn keys_are_counted_for_each_object() {
    let wide = |keys: usize| {
        let members: Vec<_> = (0..keys).map(|key| format!("\"k{key}\":{{}}")).collect();
        format!("[{{{}}}]", members.join(","))
    };
    assert!(scan(&wide(1_000)).is_ok());
    assert_eq!(
        scan(&wide(1_001)).map_err(|error| error.why),
        Err(Why::TooManyKeys(1_000))
    );
}

#[test]
fn half_a_surrogate_pair_is_found() {
    let text = r#"["\ud83d\ude00", "\ud83d", "x\ude00y", "\ud83d\ud83d\ude00"]"#;
    let mut scanner = Scanner::new(text, 10);
    scanner.value(0).unwrap();
    let found: Vec<_> = scanner
        .lone_surrogates
        .iter()
        .map(|at| &text[*at..*at + 6])
        .collect();
    assert_eq!(found, [r"\ud83d", r"\ude00", r"\ud83d"]);
}

/// Whether we accept what serde_json accepts. It passes over numbers of any size; those that we
/// refuse, it must refuse too as soon as somebody wants their value.
fn agrees(text: &str) -> bool {
    let syntax = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    match scan(text) {
        Ok(_) => syntax,
        Err(JsonError {
            why: Why::BadNumber,
            ..
        }) => serde_json::from_str::<serde_json::Value>(text).is_err(),
        Err(_) => !syntax,
    }
}

fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Valid JSON passes, and one byte changed passes or fails as it does with serde_json.
    #[test]
    fn judges_as_serde_json_does(
        json in arbitrary_json(),
        pretty in any::<bool>(),
        at in any::<prop::sample::Index>(),
        with in prop::sample::select(&b" \"\\{}[],:0123456789.eE+-truefalsn/u\x01\x7f"[..]),
    ) {
        let mut text =
            if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }
                .unwrap();
        prop_assert!(scan(&text).is_ok(), "{}", text);
        let at = at.index(text.len());
        if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
            text.replace_range(at..=at, &char::from(with).to_string());
            prop_assert!(agrees(&text), "{}", text);
        }
    }

    #[test]
    fn arbitrary_texts_never_panic(text in any::<String>(), json_like in "[\\[\\]{}\",:0-9eE.\\\\u \\-truefalsn]{0,40}") {
        let _ = scan(&text);
        prop_assert!(agrees(&json_like), "{}", json_like);
    }

    #[test]
    fn first_special_is_the_first(bytes in any::<[u8; 8]>()) {
        let expected =
            bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
        prop_assert_eq!(first_special(u64::from_le_bytes(bytes)), expected);
    }
}
