//! The table of routes: every one is guarded, documented and answers as it says.

use std::collections::HashSet;

use expect_test::expect_file;

use super::*;

#[test]
fn the_reference_is_the_table() {
    expect_file!["../../../../docs/reference/management-api.md"].assert_eq(&reference());
}

#[test]
fn no_route_is_there_twice_and_only_probes_are_open() {
    let mut seen = HashSet::new();
    for route in ROUTES {
        assert!(
            seen.insert((route.verb.as_str(), route.path)),
            "{}",
            route.path
        );
        assert!(
            route.path.matches('{').count() <= 1,
            "handlers take one parameter"
        );
    }
    let open: Vec<_> = ROUTES
        .iter()
        .filter(|r| r.access == Access::Open)
        .map(|r| r.path)
        .collect();
    assert_eq!(open, ["/health", "/ready"]);
}

#[test]
fn patterns_match_whole_paths() {
    for (path, want) in [
        ("/v1/lanes/web:crm", true),
        ("/v1/lanes/", false),
        ("/v1/lanes", false),
        ("/v1/lanes/a/b", false),
        ("/v2/lanes/a", false),
    ] {
        assert_eq!(matches_path("/v1/lanes/{connection}", path), want, "{path}");
    }
}
