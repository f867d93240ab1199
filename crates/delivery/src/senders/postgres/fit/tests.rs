//! Tests of fitting rows to tables.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::kind::Kind;
use super::super::rows::{Batch, Rows};
use super::Table;

fn rows(rows: &[Value]) -> Rows {
    let items: Vec<_> = rows
        .iter()
        .map(|row| json!({"table": "t", "row": row}))
        .collect();
    let mut batch = Batch::parse(json!(items).to_string().as_bytes()).unwrap();
    batch.tables.remove("t").unwrap()
}

fn table(columns: &[(&str, Kind)]) -> Table {
    let columns = columns
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), *kind));
    Table {
        columns: columns.collect::<BTreeMap<_, _>>(),
        is_view: false,
    }
}

fn names(columns: &[(String, Kind)]) -> Vec<&str> {
    columns.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn columns_appear_as_values_do() {
    let rows = rows(&[
        json!({"id": "1", "total": 3, "a": null, "ctid": "x"}),
        json!({"id": "2", "total": 3.5, "b": "2026-01-01T00:00:00Z"}),
    ]);
    let lacking = rows.lacking(None, 100);
    assert_eq!(
        lacking,
        [
            ("b".to_owned(), Kind::Timestamp),
            ("total".to_owned(), Kind::Double)
        ]
    );
    let known = table(&[("id", Kind::Text), ("total", Kind::Text)]);
    assert_eq!(names(&rows.lacking(Some(&known), 100)), ["b"]);
}

#[test]
fn beyond_its_limit_a_table_gets_no_column() {
    let rows = rows(&[json!({
        "id": "1", "context_ip": "x", "a": 1, "z": 1, "received_at": "2026-01-01T00:00:00Z"
    })]);
    assert_eq!(names(&rows.lacking(None, 4)), ["received_at", "a", "z"]);
    let known = table(&[("id", Kind::Text), ("q", Kind::Text)]);
    assert_eq!(names(&rows.lacking(Some(&known), 3)), ["received_at"]);
    assert!(rows.lacking(Some(&known), 2).is_empty());
}

#[test]
fn what_finds_no_place_is_discarded_and_its_row_stays() {
    let known = table(&[
        ("id", Kind::Text),
        ("total", Kind::BigInt),
        ("received_at", Kind::Timestamp),
    ]);
    let rows = rows(&[
        json!({"id": "1", "total": "much", "new": [1], "received_at": "2026-01-01T00:00:00Z"}),
        json!({"id": "2", "total": 4}),
    ]);
    let mut discards = Vec::new();
    let fitted = rows.fit("t", &known, &mut discards).unwrap();
    assert_eq!(names(&fitted.columns), ["id", "received_at", "total"]);
    assert_eq!(
        json!(fitted.rows),
        json!([
            {"id": "1", "received_at": "2026-01-01T00:00:00.000000Z"},
            {"id": "2", "total": 4}
        ])
    );
    let discards: Vec<_> = discards.into_iter().map(|row| json!(row.values)).collect();
    assert_eq!(
        json!(discards),
        json!([
            {"id": "1/t/new", "message_id": "1", "table_name": "t", "column_name": "new",
             "column_value": "[1]", "received_at": "2026-01-01T00:00:00Z"},
            {"id": "1/t/total", "message_id": "1", "table_name": "t", "column_name": "total",
             "column_value": "much", "received_at": "2026-01-01T00:00:00Z"},
        ])
    );
}

/// What the first event puts there is no reason for all later ones to be discarded.
#[test]
fn columns_that_every_event_brings_have_the_types_that_they_should() {
    let first = json!({"id": "1", "user_id": "2026-01-01T00:00:00Z", "original_timestamp": "yesterday",
        "plan": "2026-01-01T00:00:00Z"});
    let made = rows(std::slice::from_ref(&first)).lacking(None, 10);
    let made: Vec<_> = made
        .iter()
        .map(|(name, kind)| (name.as_str(), *kind))
        .collect();
    assert_eq!(
        made,
        [
            ("original_timestamp", Kind::Timestamp),
            ("plan", Kind::Timestamp),
            ("user_id", Kind::Text)
        ]
    );
    let mut known = table(&made);
    known.columns.insert("id".to_owned(), Kind::Text);
    let mut discards = Vec::new();
    rows(&[first]).fit("t", &known, &mut discards).unwrap();
    assert_eq!(discards.len(), 1);
    assert_eq!(discards[0].values["column_value"], json!("yesterday"));
    known.is_view = true;
    assert_eq!(
        rows(&[json!({"id": "1", "new": 1})]).lacking(Some(&known), 10),
        []
    );
}

#[test]
fn rows_without_a_table_are_discarded_whole() {
    let mut discards = Vec::new();
    rows(&[json!({"id": "1", "a": 1})]).discard_all("t", &mut discards);
    assert_eq!(discards.len(), 1);
    assert_eq!(
        discards[0].values["column_value"],
        json!(r#"{"a":1,"id":"1"}"#)
    );
    assert!(!discards[0].values.contains_key("column_name"));
}

#[test]
fn a_table_whose_id_is_no_text_is_told_of() {
    for known in [table(&[("a", Kind::Text)]), table(&[("id", Kind::BigInt)])] {
        let error = rows(&[json!({"id": "1"})])
            .fit("t", &known, &mut Vec::new())
            .unwrap_err();
        assert!(error.contains("has no column id of type text"), "{error}");
    }
}

#[test]
fn a_discard_of_a_long_message_id_still_has_a_key() {
    let known = table(&[("id", Kind::Text)]);
    let mut discards = Vec::new();
    rows(&[json!({"id": "m".repeat(600), "a": 1})])
        .fit("t", &known, &mut discards)
        .unwrap();
    let id = discards[0].values["id"].as_str().unwrap();
    assert_eq!(id.len(), 64);
}
