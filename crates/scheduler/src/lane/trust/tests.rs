//! Which events are suspected of being the cause themselves.

use super::*;

/// `12+` twelve events answered, `3-` three attempts failed.
fn is_trusted(script: &str) -> bool {
    let mut trust = Trust::new();
    for word in script.split_whitespace() {
        let (count, sign) = word.split_at(word.len() - 1);
        let count: usize = count.parse().unwrap();
        match sign {
            "+" => trust.answered(count),
            _ => (0..count).for_each(|_| trust.failed()),
        }
    }
    trust.is_high()
}

#[test]
fn nine_of_ten_and_not_too_few() {
    assert!(!is_trusted("8+"));
    assert!(is_trusted("9+"));
    assert!(is_trusted("100+ 3-"));
    assert!(!is_trusted("100+ 4-"));
    assert!(!is_trusted("200- 140+"));
    assert!(is_trusted("200- 150+"));
}
