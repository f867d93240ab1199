//! The known word nearest to a mistyped one.

/// Longer words are not compared: nobody mistypes them into another by a letter.
const WORD_BYTES_MAX: usize = 64;

/// The candidate that `word` was most likely meant to be: at most a third of its letters differ.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let allowed = (word.len() / 3).max(1);
    let near = |candidate: &&'a str| {
        candidate.len() <= WORD_BYTES_MAX && candidate.len().abs_diff(word.len()) <= allowed
    };
    candidates
        .into_iter()
        .filter(near)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Behind a message: `; did you mean "listen"?`, or nothing.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    nearest(word, candidates)
        .map(|near| format!("; did you mean {near:?}?"))
        .unwrap_or_default()
}

/// Letters to insert, delete, change, or swap with their neighbour (optimal string alignment), row
/// by row.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (i, from) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        let mut left = i + 1;
        for (j, to) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let changed = at(&above, j) + usize::from(from != *to);
            left = changed.min(at(&above, j + 1) + 1).min(left + 1);
            let previous = j.checked_sub(1).and_then(|j| b.get(j));
            if last == Some(*to) && previous == Some(&from) {
                left = left.min(at(&before, j - 1) + 1);
            }
            row.push(left);
        }
        before = std::mem::replace(&mut above, row);
        last = Some(from);
    }
    above.last().copied().unwrap_or_default()
}
