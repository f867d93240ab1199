//! JSON in and out.

use super::*;

fn round(text: &str) -> String {
    let value = parse(text.as_bytes()).unwrap();
    String::from_utf8(write(&value, 1 << 20).unwrap()).unwrap()
}

#[test]
fn values_survive_a_round_trip() {
    let text = r#"{"a":[1,-2.5,true,null,"x\n\u00fc"],"b":{"c":{}}}"#;
    assert_eq!(
        round(text),
        r#"{"a":[1,-2.5,true,null,"x\nü"],"b":{"c":{}}}"#
    );
    assert_eq!(round("18446744073709551615"), "1.8446744073709552e+19");
    assert_eq!(round(r#"{"a":1,"a":2}"#), r#"{"a":2}"#);
}

/// Not the nearest number but one.
#[test]
fn numbers_keep_their_last_digit() {
    for number in [
        "-144.91644849688421",
        "0.1",
        "4.35",
        "95.28137421384717",
        "5e-324",
        "9007199254740993",
    ] {
        assert_eq!(round(number), number);
    }
}

#[test]
fn half_surrogate_pairs_are_mended() {
    assert_eq!(round(r#""cut \ud83d""#), "\"cut \u{fffd}\"");
    assert_eq!(
        round(r#""\udc00 \ud83d\ude00 \\ud83d \ud83d\u0041""#),
        "\"\u{fffd} 😀 \\\\ud83d \u{fffd}A\""
    );
}

#[test]
fn depth_and_length_are_limited() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(parse(nested(64).as_bytes()).is_ok());
    assert_eq!(
        parse(nested(65).as_bytes()).unwrap_err(),
        "nested deeper than 64 at line 1 column 66"
    );
    assert!(parse(nested(100_000).as_bytes()).is_err());
    assert!(parse(b"{} x").is_err());
    assert!(write(&Value::from("x".repeat(100)), 50).is_err());
}
