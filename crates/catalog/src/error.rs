//! What can be wrong with definitions, settings and programs, told to whoever wrote them.

use std::path::PathBuf;

use crate::definition::settings::SettingProblem;

/// Variants differ in who must act.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A file of a definition is wrong: its author mends it. `place` is `file:line`.
    #[error("{place}: {problem}")]
    Definition { place: String, problem: String },
    /// A connection's filter or transform is wrong: the operator mends it.
    #[error("{what}, line {line}, column {column}: {problem}")]
    Program {
        what: &'static str,
        line: usize,
        /// In characters, from 1.
        column: usize,
        problem: String,
    },
    /// A destination's settings do not fit its definition: the operator mends them.
    #[error("settings do not fit the definition: {}", show_problems(.0))]
    Settings(Vec<SettingProblem>),
    /// A folder of definitions cannot be read.
    #[error("cannot read {path}: {problem}; check that it exists and may be read")]
    Unreadable { path: PathBuf, problem: String },
}

fn show_problems(problems: &[SettingProblem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The number of the line, from 1, that holds byte `at` of `text`.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// `text` cut to at most `bytes_max` bytes, between characters.
pub(crate) fn shorten(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
