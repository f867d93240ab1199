//! Tests of a request's rows.

use serde_json::json;

use super::Batch;

fn parse(body: &serde_json::Value) -> Result<Batch, String> {
    Batch::parse(body.to_string().as_bytes())
}

#[test]
fn rows_are_told_apart_by_table_and_id() {
    let batch = parse(&json!([
        {"table": "tracks", "row": {"id": "m2", "a": 1}},
        {"table": "tracks", "row": {"id": "m1", "a": null}},
        [{"table": "tracks", "row": {"id": "m2", "a": 2}},
         {"table": "pages", "row": {"id": "m3"}}],
    ]))
    .unwrap();
    assert_eq!(batch.tables.keys().collect::<Vec<_>>(), ["pages", "tracks"]);
    let rows = &batch.tables["tracks"].rows;
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["m1", "m2"]);
    assert!(!rows["m1"].values.contains_key("a"), "null is no value");
    assert_eq!(rows["m2"].values["a"], json!(1), "the first stays");
}

#[test]
fn of_one_user_the_latest_traits_count_and_older_ones_fill() {
    let user = |message: &str, at: &str, plan: &serde_json::Value, name: &serde_json::Value| {
        json!({"table": "users", "message_id": message, "latest_by": "received_at",
               "row": {"id": "u", "plan": plan, "name": name, "received_at": at}})
    };
    // 10:00 in Paris is before 09:30 in London.
    let late = user("late", "2026-01-01T09:30:00Z", &json!("pro"), &json!(null));
    let early = user(
        "early",
        "2026-01-01T10:00:00+01:00",
        &json!("free"),
        &json!("Ada"),
    );
    for order in [[late.clone(), early.clone()], [early, late]] {
        let batch = parse(&json!(order)).unwrap();
        let row = &batch.tables["users"].rows["u"];
        assert_eq!(row.values["plan"], json!("pro"));
        assert_eq!(row.values["name"], json!("Ada"));
        assert_eq!(row.values["received_at"], json!("2026-01-01T09:30:00Z"));
        assert_eq!(row.message_id, "late");
    }
}

#[test]
fn nul_is_replaced_wherever_it_is() {
    let batch = parse(&json!([
        {"table": "t", "row": {"id": "a\0b", "list": ["\0", {"k\0": "v\0"}]}},
    ]))
    .unwrap();
    let row = &batch.tables["t"].rows["a\u{fffd}b"];
    assert_eq!(
        row.values["list"],
        json!(["\u{fffd}", {"k\u{fffd}": "v\u{fffd}"}])
    );
}

#[test]
fn what_is_no_row_is_refused() {
    let long = "a".repeat(64);
    for (body, problem) in [
        (json!({}), "no list of {table, row}"),
        (json!([{"table": "t"}]), "missing field `row`"),
        (
            json!([{"table": "t", "row": {}, "x": 1}]),
            "unknown field `x`",
        ),
        (json!([{"table": "t", "row": {}}]), "has no id"),
        (json!([{"table": "t", "row": {"id": 1}}]), "has no id"),
        (json!([{"table": long, "row": {"id": "a"}}]), "is no name"),
        (
            json!([{"table": "t", "row": {"id": "a", "": 1}}]),
            "is no name",
        ),
    ] {
        let error = parse(&body).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}
