//! What rows become, read back with the format's own reader.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn rows(rows: serde_json::Value) -> Vec<Value> {
    let Value::Array(rows) = json::from_tree(&rows).unwrap() else {
        panic!("a list");
    };
    rows
}

fn check(given: serde_json::Value, expected: Expect) {
    let came = match write(&rows(given)) {
        Ok(file) => show(file).unwrap().to_string(),
        Err(problem) => problem,
    };
    expected.assert_eq(&came);
}

#[test]
fn columns_get_the_type_of_all_their_values() {
    check(
        json!([
            {"b": true, "i": 1, "d": 1.5, "t": "x", "m": 1, "n": null, "l": [1, {"a": 2}], "mixed": 7},
            {"b": null, "i": -9_007_199_254_740_993_i64, "d": 2, "t": "", "m": 2.5, "o": {"k": "v"}, "mixed": "seven"},
            {"mixed": false}
        ]),
        expect![[
            r#"{"columns":{"b":"BOOLEAN","d":"DOUBLE","i":"INT64","l":"UTF8","m":"DOUBLE","mixed":"UTF8","n":"UTF8","o":"UTF8","t":"UTF8"},"rows":[{"b":true,"d":1.5,"i":1,"l":"[1,{\"a\":2}]","m":1.0,"mixed":"7","n":null,"o":null,"t":"x"},{"b":null,"d":2.0,"i":-9007199254740993,"l":null,"m":2.5,"mixed":"seven","n":null,"o":"{\"k\":\"v\"}","t":""},{"b":null,"d":null,"i":null,"l":null,"m":null,"mixed":"false","n":null,"o":null,"t":null}]}"#
        ]],
    );
}

#[test]
fn times_are_times() {
    let time = chrono::DateTime::from_timestamp_micros(1_764_144_000_123_456).unwrap();
    let mut row = vrl::value::ObjectMap::new();
    row.insert("at".into(), time.into());
    let file = write(&[Value::Object(row.clone())]).unwrap();
    expect![[
        r#"{"columns":{"at":"TIMESTAMP(us, UTC)"},"rows":[{"at":"2025-11-26T08:00:00.123456Z"}]}"#
    ]]
    .assert_eq(&show(file).unwrap().to_string());
    // Among texts it is one.
    let mut other = row.clone();
    other.insert("at".into(), "then".into());
    let file = write(&[Value::Object(row), Value::Object(other)]).unwrap();
    expect![[
        r#"{"columns":{"at":"UTF8"},"rows":[{"at":"2025-11-26T08:00:00.123456Z"},{"at":"then"}]}"#
    ]]
    .assert_eq(&show(file).unwrap().to_string());
}

#[test]
fn what_makes_no_file_is_told() {
    check(
        json!([]),
        expect!["a parquet body needs a row with a member"],
    );
    check(
        json!([{}]),
        expect!["a parquet body needs a row with a member"],
    );
    check(
        json!([{"a": 1}, [1]]),
        expect!["row 1 of a parquet body is array, not an object"],
    );
    let wide: serde_json::Map<String, serde_json::Value> = (0..=PARQUET_COLUMNS_MAX)
        .map(|n| (format!("c{n}"), n.into()))
        .collect();
    check(
        json!([wide]),
        expect![
            "a parquet body of more than 1000 columns: put what differs from event to event into one, as JSON"
        ],
    );
    let long = "x".repeat(BODY_BYTES_MAX / 2);
    check(
        json!([{"a": long, "b": long}, {"a": 1}]),
        expect!["the body has more than 8388608 bytes"],
    );
}

#[test]
fn the_same_rows_make_the_same_bytes() {
    let given = json!([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]);
    assert_eq!(write(&rows(given.clone())), write(&rows(given)));
}

#[test]
fn odd_names_and_texts_come_back() {
    check(
        json!([{"a.b": "ü\u{0}\n", "": "empty name", "a b": "x", "A": "y", "a": "z"}]),
        expect![[
            r#"{"columns":{"":"UTF8","A":"UTF8","a":"UTF8","a b":"UTF8","a.b":"UTF8"},"rows":[{"":"empty name","A":"y","a":"z","a b":"x","a.b":"ü\u0000\n"}]}"#
        ]],
    );
}
