//! Tests of the statements.

use expect_test::expect;

use super::super::kind::Kind;
use super::{add_columns, create_table, insert, is_column_name, is_name, upsert};

fn columns() -> Vec<(String, Kind)> {
    vec![
        ("id".to_owned(), Kind::Text),
        ("total".to_owned(), Kind::Double),
        ("received_at".to_owned(), Kind::Timestamp),
    ]
}

#[test]
fn rows_are_one_parameter() {
    expect![[r#"INSERT INTO "shop"."tracks" AS t ("id", "total", "received_at") SELECT "id", "total", "received_at" FROM pg_catalog.json_to_recordset($1::text::json) AS r("id" text, "total" double precision, "received_at" timestamptz) ON CONFLICT ("id") DO NOTHING"#]]
    .assert_eq(&insert("shop", "tracks", &columns()));
}

#[test]
fn the_later_row_counts_and_nothing_is_unsaid() {
    expect![[r#"INSERT INTO "shop"."users" AS t ("id", "total", "received_at") SELECT "id", "total", "received_at" FROM pg_catalog.json_to_recordset($1::text::json) AS r("id" text, "total" double precision, "received_at" timestamptz) ON CONFLICT ("id") DO UPDATE SET "total" = CASE WHEN coalesce(excluded."received_at" >= t."received_at", true) THEN coalesce(excluded."total", t."total") ELSE coalesce(t."total", excluded."total") END, "received_at" = greatest(excluded."received_at", t."received_at")"#]]
    .assert_eq(&upsert("shop", "users", &columns(), "received_at"));
}

#[test]
fn no_name_gets_out_of_its_quotes() {
    let evil = vec![("a\" text); DROP TABLE users; --".to_owned(), Kind::Text)];
    expect![[r#"CREATE TABLE IF NOT EXISTS "s""x"."t'""" ("id" text PRIMARY KEY, "a"" text); DROP TABLE users; --" text)"#]]
    .assert_eq(&create_table("s\"x", "t'\"", &evil));
    expect![[r#"ALTER TABLE "s"."select" ADD COLUMN IF NOT EXISTS "a"" text); DROP TABLE users; --" text"#]]
    .assert_eq(&add_columns("s", "select", &evil));
}

#[test]
fn a_name_that_postgresql_would_change_is_none() {
    assert!(is_name(&"a".repeat(63)));
    assert!(!is_name(&"a".repeat(64)));
    assert!(!is_name(&"ä".repeat(32)));
    assert!(!is_name(""));
    assert!(!is_name("a\0"));
    assert!(is_column_name("order"));
    assert!(!is_column_name("ctid"));
}
