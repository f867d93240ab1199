//! What is a name and what is not.

use super::Name;

#[test]
fn names_follow_the_rule() {
    for good in ["a", "web", "web-1", "shop.eu:prod", "0x", &"a".repeat(64)] {
        assert!(Name::new(good).is_ok(), "{good:?} should be a name");
    }
    for bad in ["", "-a", "Web", "a b", "a/b", "é", &"a".repeat(65)] {
        assert!(Name::new(bad).is_err(), "{bad:?} should not be a name");
    }
}
