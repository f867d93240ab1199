//! Personal data through programs.

use expect_test::{Expect, expect};

use super::super::value_of;

fn check(expression: &str, expected: &Expect) {
    expected.assert_eq(&value_of(expression));
}

#[test]
fn addresses_and_names_lose_case_and_stray_space() {
    check(
        r#"normalize_email(" Zoë@Example.ORG\n")"#,
        &expect![[r#""zoë@example.org""#]],
    );
    check(
        r#"normalize_name("  Ana   María\tLÓPEZ ")"#,
        &expect![[r#""ana maría lópez""#]],
    );
}

#[test]
fn telephone_numbers_become_e164_or_null() {
    for (call, expected) in [
        (r#""+1 (415) 555-0123""#, r#""+14155550123""#),
        (r#""0031 6.1234.5678""#, r#""+31612345678""#),
        (r#""+44 (0)20 7946 0958""#, r#""+442079460958""#),
        (r#""020 7946 0958", "44""#, r#""+442079460958""#),
        (r#""020 7946 0958", "+44""#, r#""+442079460958""#),
        (r#""(415) 555-0123", "1""#, r#""+14155550123""#),
        (r#""1-415-555-0123", "1""#, r#""+14155550123""#),
        (r#""06 1234 5678", "39""#, r#""+390612345678""#),
        (r#""020 7946 0958""#, "null"),
        (r#""4155550123", "US""#, "null"),
        (r#""+1 415 555 0123 ext. 5""#, "null"),
        (r#""+0123456789""#, "null"),
        (r#""+123456""#, "null"),
        (r#""+1234567890123456""#, "null"),
        (r#""""#, "null"),
    ] {
        assert_eq!(
            value_of(&format!("normalize_phone({call})")),
            expected,
            "{call}"
        );
    }
}

#[test]
fn what_is_hashed_already_stays_as_it_is() {
    let hash = "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514";
    assert_eq!(
        value_of(r#"hash_personal("user@example.com")"#),
        format!("\"{hash}\"")
    );
    assert_eq!(
        value_of(r#"sha256("user@example.com")"#),
        format!("\"{hash}\"")
    );
    let upper = hash.to_uppercase();
    assert_eq!(
        value_of(&format!("hash_personal(\"{upper}\")")),
        format!("\"{hash}\"")
    );
    assert_eq!(
        value_of(r#"md5("user@example.com")"#),
        "\"b58996c504c5638798eb6b511e6f49af\""
    );
}

#[test]
fn a_text_has_one_uuid_and_a_uuid_is_its_own() {
    // As Python's uuid.uuid5(uuid.NAMESPACE_OID, "m-1").
    check(
        r#"uuid_from("m-1")"#,
        &expect![[r#""ecb62ab8-f5aa-5a0e-bd79-ea2d50600a9c""#]],
    );
    check(
        r#"uuid_from("6BA7B812-9DAD-11D1-80B4-00C04FD430C8")"#,
        &expect![[r#""6ba7b812-9dad-11d1-80b4-00c04fd430c8""#]],
    );
}
