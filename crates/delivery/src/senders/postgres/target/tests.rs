//! Tests of where rows go.

use super::{SslMode, Target};

fn parse(url: &str, options: &[(&str, &'static str)]) -> Result<Target, String> {
    Target::parse(url, |name| {
        let user = ("user", "fairlane");
        let mut all = options.iter().chain([&user]);
        all.find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    })
}

#[test]
fn what_is_not_said_has_a_safe_default() {
    let target = parse("postgres://db.example.com/shop/events%20%22x%22", &[]).unwrap();
    assert_eq!(target.host, "db.example.com");
    assert_eq!(target.port, 5432);
    assert_eq!(target.database, "shop");
    assert_eq!(target.schema, "events \"x\"");
    assert_eq!(target.ssl_mode, SslMode::VerifyFull);
    assert_eq!((target.columns_max, target.tables_max), (500, 1_000));
}

#[test]
fn what_cannot_be_is_told_with_what_can() {
    for (url, options, problem) in [
        ("postgres://h/d", &[][..], "database/schema"),
        ("postgres://h/d/s/t", &[], "database/schema"),
        ("postgres://h//s", &[], "must not be empty"),
        ("postgres://h/d/", &[], "must not be empty"),
        ("postgres://h/d/s", &[("user", "")], "needs a user"),
        (
            "postgres://h/d/s",
            &[("ssl_mode", "prefer")],
            "use disable, require or verify-full",
        ),
        (
            "postgres://h/d/s",
            &[("columns_max", "1600")],
            "must be 1 to 1500",
        ),
        (
            "postgres://h/d/s",
            &[("tables_max", "0")],
            "must be 1 to 10000",
        ),
    ] {
        let error = parse(url, options).unwrap_err();
        assert!(error.contains(problem), "{url}: {error}");
    }
}
