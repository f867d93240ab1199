//! What a regular expression may cost: a search takes time in proportion to the text, but also to the
//! pattern, and a short pattern that counts is a long one.

use regex_syntax::hir::{Hir, HirKind};

/// Places of a pattern, with what it counts written out. One that cannot be parsed has none: the
/// compiler says what is wrong with it.
pub(in crate::program) fn places(pattern: &str) -> usize {
    regex_syntax::parse(pattern).map_or(0, |pattern| places_of(&pattern))
}

/// The parser limits how deep this goes.
fn places_of(pattern: &Hir) -> usize {
    let sum = |parts: &[Hir]| {
        parts
            .iter()
            .fold(0_usize, |sum, part| sum.saturating_add(places_of(part)))
    };
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(_) => 1,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            let times = usize::try_from(times).unwrap_or(usize::MAX);
            places_of(&repetition.sub).saturating_mul(times)
        }
        HirKind::Capture(capture) => places_of(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => sum(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn what_is_counted_is_written_out() {
        for (pattern, expected) in [
            ("", 0),
            ("^abc$", 3),
            (r"\d+", 1),
            (r"^[a-f0-9]{64}$", 64),
            ("(a|bc){100}", 300),
            ("((ab){10,100}){100}", 20_000),
            ("(x{4000000}){4000000}", 16_000_000_000_000),
            ("(", 0),
        ] {
            assert_eq!(places(pattern), expected, "{pattern}");
        }
    }
}
