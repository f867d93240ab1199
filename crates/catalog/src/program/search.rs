//! Searches by regular expressions, which the run's limits do not see from outside: one takes time in
//! proportion to the text times the pattern, and grows the pattern's caches, which are not the run's.

use std::cell::Cell;

use vrl::prelude::*;

use super::own::over;
use super::vet::places;
use crate::alloc::live_bytes;
use crate::limits::{REGEX_PLACES_MAX, REGEX_TEXT_BYTES_MAX, REGEX_WORK_MAX};

/// A search in so short a text takes no longer than a few steps, whatever the pattern.
const SHORT_BYTES: usize = 64;

thread_local! {
    /// The next step is to look at the clock.
    static LOOK: Cell<bool> = const { Cell::new(false) };
    /// What patterns have cached on this thread.
    static CACHED_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// Whether a search has asked for a look at the clock; it is for once.
pub(super) fn take_look() -> bool {
    LOOK.take()
}

/// Bytes that patterns have cached on this thread, which no run has to answer for.
pub(super) fn cached_bytes() -> i64 {
    CACHED_BYTES.get()
}

/// Makes one search.
pub(super) fn search<T>(
    context: &mut Context<'_>,
    regex: &ValueRegex,
    text: &str,
    search: impl FnOnce(&ValueRegex) -> T,
) -> Result<T, ExpressionError> {
    check(regex, text)?;
    again(context, regex, text, search)
}

/// Makes one of several searches by a pattern in a text that was checked.
pub(super) fn again<T>(
    context: &mut Context<'_>,
    regex: &ValueRegex,
    text: &str,
    search: impl FnOnce(&ValueRegex) -> T,
) -> Result<T, ExpressionError> {
    let before = live_bytes();
    let found = search(regex);
    // What was found is the run's own.
    let places = regex.captures_len().saturating_mul(2 * size_of::<usize>());
    let places = i64::try_from(places).unwrap_or(i64::MAX);
    let cached = live_bytes().wrapping_sub(before).saturating_sub(places);
    CACHED_BYTES.set(CACHED_BYTES.get().wrapping_add(cached.max(0)));
    // After each search the run may be over.
    LOOK.set(text.len() > SHORT_BYTES);
    context.checkpoint()?;
    Ok(found)
}

/// # Errors
/// One search could take longer than a run may.
pub(super) fn check(regex: &ValueRegex, text: &str) -> Result<(), ExpressionError> {
    if text.len() > REGEX_TEXT_BYTES_MAX {
        return Err(over("a text longer than 64 KiB was held against a pattern"));
    }
    // Most texts are short enough for any pattern.
    if text.len() > REGEX_WORK_MAX / REGEX_PLACES_MAX
        && text.len() * places(regex.as_str()) > REGEX_WORK_MAX
    {
        return Err(over(
            "a text was held against a pattern that has too many places for its length",
        ));
    }
    Ok(())
}
