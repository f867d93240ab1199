//! Tests of column kinds.

use serde_json::{Value, json};

use super::Kind;

#[test]
fn a_new_column_is_what_its_value_is() {
    let kinds = [
        (json!(true), Some(Kind::Boolean)),
        (json!(3), Some(Kind::BigInt)),
        (json!(-3), Some(Kind::BigInt)),
        (json!(3.5), Some(Kind::Double)),
        (json!(u64::MAX), Some(Kind::Text)),
        (json!("3"), Some(Kind::Text)),
        (json!("2026-11-26T08:00:00.123Z"), Some(Kind::Timestamp)),
        (json!("2026-11-26T08:00:00+05:30"), Some(Kind::Timestamp)),
        (json!("2026-11-26"), Some(Kind::Text)),
        (json!("2026-13-26T08:00:00Z"), Some(Kind::Text)),
        (json!("0000-01-01T00:00:00Z"), Some(Kind::Text)),
        (json!(["a"]), Some(Kind::Json)),
        (json!({}), Some(Kind::Json)),
        (Value::Null, None),
    ];
    for (value, kind) in kinds {
        assert_eq!(Kind::of(&value), kind, "{value}");
    }
}

#[test]
fn values_of_one_batch_agree_on_a_column_whatever_their_order() {
    for (a, b, both) in [
        (Kind::BigInt, Kind::Double, Kind::Double),
        (Kind::BigInt, Kind::Text, Kind::Text),
        (Kind::Boolean, Kind::BigInt, Kind::Text),
        (Kind::Timestamp, Kind::Text, Kind::Text),
        (Kind::Json, Kind::Text, Kind::Json),
        (Kind::Json, Kind::BigInt, Kind::Json),
    ] {
        assert_eq!(a.or(b), both);
        assert_eq!(b.or(a), both);
    }
}

#[test]
fn a_value_is_exact_in_its_column_or_does_not_fit() {
    let fits = [
        (Kind::BigInt, json!(3.0), json!(3)),
        (Kind::BigInt, json!(i64::MAX), json!(i64::MAX)),
        (Kind::Double, json!(3), json!(3)),
        (Kind::Text, json!(3), json!("3")),
        (Kind::Text, json!(true), json!("true")),
        (Kind::Text, json!(["a"]), json!("[\"a\"]")),
        (Kind::Json, json!("a"), json!("a")),
        (Kind::Limited(3), json!("äöü"), json!("äöü")),
        (
            Kind::Timestamp,
            json!("2026-11-26T08:00:00+05:30"),
            json!("2026-11-26T02:30:00.000000Z"),
        ),
    ];
    for (kind, value, fitted) in fits {
        assert_eq!(kind.fit(value.clone()), Ok(fitted), "{kind:?} {value}");
    }
    let misfits = [
        (Kind::BigInt, json!(3.5)),
        (Kind::BigInt, json!(u64::MAX)),
        (Kind::BigInt, json!(9.3e18)),
        (Kind::BigInt, json!("3")),
        (Kind::SmallInt, json!(40_000)),
        (Kind::Double, json!((1_i64 << 53) + 1)),
        (Kind::Double, json!("3.5")),
        (Kind::Real, json!(1e300)),
        (Kind::Real, json!(1e-60)),
        (Kind::Boolean, json!("true")),
        (Kind::Boolean, json!(1)),
        (Kind::Limited(2), json!("äöü")),
        (Kind::Timestamp, json!("yesterday")),
        (Kind::Timestamp, json!(1_700_000_000)),
        (Kind::Other, json!("a")),
    ];
    for (kind, value) in misfits {
        assert_eq!(
            kind.fit(value.clone()),
            Err(value.clone()),
            "{kind:?} {value}"
        );
    }
}

#[test]
fn the_kind_of_an_existing_column_follows_its_type() {
    for (name, modifier, kind) in [
        ("int8", -1, Kind::BigInt),
        ("varchar", -1, Kind::Text),
        ("varchar", 24, Kind::Limited(20)),
        ("numeric", -1, Kind::Numeric),
        ("numeric", 655_366, Kind::Other),
        ("uuid", -1, Kind::Other),
    ] {
        assert_eq!(Kind::named(name, modifier), kind, "{name}");
    }
}
