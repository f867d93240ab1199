//! Parts of addresses through programs.

use super::super::value_of;
use super::*;

/// Checks the value of each call, as JSON.
fn check(function: &str, calls: &[(&str, &str)]) {
    for (arguments, expected) in calls {
        let call = format!("{function}({arguments})");
        assert_eq!(value_of(&call), *expected, "{call}");
    }
}

#[test]
fn cities_are_lower_case_letters_and_digits() {
    check(
        "normalize_city",
        &[
            (r#"" St. Louis ""#, r#""stlouis""#),
            (r#""Aix-en-Provence""#, r#""aixenprovence""#),
            (r#""ZÜRICH""#, r#""zürich""#),
            (r#""Mexico City, D.F.""#, r#""mexicocitydf""#),
            (r#""東京""#, r#""東京""#),
            (r#""""#, r#""""#),
        ],
    );
}

#[test]
fn postal_codes_of_the_us_are_cut_to_five_digits() {
    check(
        "normalize_postal_code",
        &[
            (r#""94105-1234""#, r#""94105""#),
            (r#"" 94105 ""#, r#""94105""#),
            (r#""941051234", "United States""#, r#""94105""#),
            (r#""941051234""#, r#""941051234""#),
            (r#""12345-6789", "sa""#, r#""123456789""#),
            (r#""SW1A 1AA""#, r#""sw1a1aa""#),
            (r#""01310-100", "BR""#, r#""01310100""#),
            (r#""D-10115", country: "de""#, r#""d10115""#),
        ],
    );
}

#[test]
fn countries_become_two_letters_or_null() {
    check(
        "normalize_country",
        &[
            (r#""US""#, r#""us""#),
            (r#""usa""#, r#""us""#),
            (r#""U.S.A.""#, r#""us""#),
            (r#""The United States of America""#, r#""us""#),
            (r#""UK""#, r#""gb""#),
            (r#""great britain""#, r#""gb""#),
            (r#""Deutschland""#, "null"),
            (r#""DEU""#, r#""de""#),
            (r#""Korea, Republic of""#, r#""kr""#),
            (r#""Bosnia & Herzegovina""#, r#""ba""#),
            (r#""St. Kitts and Nevis""#, r#""kn""#),
            (r#""Côte d’Ivoire""#, r#""ci""#),
            (r#""CURAÇAO""#, r#""cw""#),
            (r#""UnitedKingdom""#, r#""gb""#),
            (r#""coted'ivoire""#, r#""ci""#),
            (r#"" AND ""#, r#""ad""#),
            (r#""ST""#, r#""st""#),
            (r#""XX""#, "null"),
            (r#""N/A""#, "null"),
            (r#""n.a.""#, "null"),
            (r#""""#, "null"),
        ],
    );
}

#[test]
fn states_of_the_us_become_two_letters() {
    check(
        "normalize_state",
        &[
            (r#""California""#, r#""ca""#),
            (r#""CA""#, r#""ca""#),
            (r#"" new  york ""#, r#""ny""#),
            (r#""D.C.""#, r#""dc""#),
            (r#""Washington, D.C.""#, r#""dc""#),
            (r#""Washington""#, r#""wa""#),
            (r#""New South Wales""#, r#""newsouthwales""#),
            (r#""Île-de-France""#, r#""îledefrance""#),
            (r#""JP-13""#, r#""jp13""#),
        ],
    );
}

#[test]
fn no_two_countries_share_a_name() {
    let mut seen = HashMap::new();
    for (two, three, names) in countries::COUNTRIES {
        let codes = [two, three].map(|code| (code, code.to_owned()));
        let names = names.split(';').map(|name| (name, words(name)));
        for (name, key) in names.chain(codes) {
            let before = seen.insert(key, two);
            assert!(before.is_none_or(|other| other == two), "{name}: {two}");
            assert_eq!(country(name), Some(two), "{name}");
        }
    }
    assert_eq!(countries::COUNTRIES.len(), 249);
}
