//! Queries as mails carry them.

use expect_test::{Expect, expect};

use super::*;

fn check(query: &str, expected: Expect) {
    expected.assert_eq(&event(query).unwrap_or_else(|| "nothing".to_owned()));
}

#[test]
fn flat_members_nest_at_their_dots() {
    check(
        "writeKey=k&userId=u%201&event=Email+Opened&properties.subject=a%26b&properties.n.m=1",
        expect![[
            r#"{"event":"Email Opened","properties":{"n":{"m":"1"},"subject":"a&b"},"userId":"u 1","writeKey":"k"}"#
        ]],
    );
    check("a=1&a.b=2", expect![[r#"{"a":"1"}"#]]);
    check("a.b=1&a=2", expect![[r#"{"a":"2"}"#]]);
    check("x=%zz%4", expect![[r#"{"x":"%zz%4"}"#]]);
    check("x=%ff", expect![[r#"{"x":"�"}"#]]);
    check("", expect!["nothing"]);
    check(&format!("{}=1", "a.".repeat(64)), expect!["nothing"]);
}

#[test]
fn data_is_base64_of_any_kind() {
    let text = r#"{"userId":"u","event":"é?>>","writeKey":"k"}"#;
    let expected = r#"{"event":"é?>>","userId":"u","writeKey":"k"}"#;
    for engine in [
        base64::engine::general_purpose::STANDARD,
        base64::engine::general_purpose::STANDARD_NO_PAD,
        base64::engine::general_purpose::URL_SAFE,
        base64::engine::general_purpose::URL_SAFE_NO_PAD,
    ] {
        let data = engine.encode(text);
        assert_eq!(
            event(&format!("data={data}")).as_deref(),
            Some(expected),
            "{data}"
        );
    }
    let data = base64::engine::general_purpose::STANDARD.encode(r#"{"userId":"u"}"#);
    check(
        &format!("writeKey=k&data={data}"),
        expect![[r#"{"userId":"u","writeKey":"k"}"#]],
    );
    check("data=!!!", expect!["nothing"]);
    check("data=W10", expect!["nothing"]);
}
