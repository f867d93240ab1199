//! What is wrong with a configuration: where, what, and what to do.

use std::fmt;
use std::ops::Range;

/// Where a value stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Bytes of the file.
    File(Range<usize>),
    /// An environment variable.
    Variable(String),
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// `fairlane.toml:3:7`, or the variable's name; empty where the message says it.
    pub place: String,
    /// From 1; `None` where it is not about a line of the file.
    pub line: Option<usize>,
    /// What is wrong and what to do. Never holds a value that may be secret.
    pub message: String,
    /// The line itself with a mark below; empty where there is none.
    pub snippet: String,
}

/// Everything that is wrong: at least one thing, in the order of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems {
    pub list: Vec<Problem>,
    /// How many more there are than [`Problems::SHOWN_MAX`].
    pub omitted: usize,
}

impl std::error::Error for Problems {}

impl Problems {
    /// A file that is wrong in every line is not told so for every line.
    pub const SHOWN_MAX: usize = 50;

    pub(crate) fn one(message: String) -> Self {
        let problem = Problem {
            place: String::new(),
            line: None,
            message,
            snippet: String::new(),
        };
        Self {
            list: vec![problem],
            omitted: 0,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more: mend these first", self.omitted)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)?;
        if !self.snippet.is_empty() {
            write!(f, "\n{}", self.snippet)?;
        }
        Ok(())
    }
}

/// Collects problems while a configuration is read.
pub(crate) struct Finder<'a> {
    name: &'a str,
    text: &'a str,
    /// Where each line begins: 100,000 connections are asked for their lines.
    line_starts: Vec<usize>,
    found: Vec<(Place, String)>,
    omitted: usize,
    /// The text holds no secrets: its lines are shown as they are.
    plain: bool,
}

impl<'a> Finder<'a> {
    /// For a text that may hold no secret.
    pub(crate) fn plain(name: &'a str, text: &'a str) -> Self {
        Self {
            plain: true,
            ..Self::new(name, text)
        }
    }

    pub(crate) fn new(name: &'a str, text: &'a str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after).collect();
        Self {
            name,
            text,
            line_starts,
            found: Vec::new(),
            omitted: 0,
            plain: false,
        }
    }

    pub(crate) fn add(&mut self, place: &Place, message: impl Into<String>) {
        if self.found.len() < Problems::SHOWN_MAX {
            self.found.push((place.clone(), message.into()));
        } else {
            self.omitted += 1;
        }
    }

    /// The line that `place` is on, from 1; `None` for a variable.
    pub(crate) fn line(&self, place: &Place) -> Option<usize> {
        match place {
            Place::File(range) => Some(self.line_at(range.start)),
            Place::Variable(_) => None,
        }
    }

    /// The same in words, for messages about another line.
    pub(crate) fn line_of(&self, place: &Place) -> String {
        match place {
            Place::File(range) => format!("line {}", self.line_at(range.start)),
            Place::Variable(name) => name.clone(),
        }
    }

    fn line_at(&self, byte: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= byte)
    }

    /// `value`, or all that was found.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<T, Problems> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|(place, _)| match place {
            Place::File(range) => range.start,
            Place::Variable(_) => usize::MAX,
        });
        let found = std::mem::take(&mut self.found);
        let list = found
            .into_iter()
            .map(|(place, message)| self.problem(place, message))
            .collect();
        Err(Problems {
            list,
            omitted: self.omitted,
        })
    }

    fn problem(&self, place: Place, message: String) -> Problem {
        let range = match place {
            Place::File(range) => range,
            Place::Variable(name) => {
                return Problem {
                    place: name,
                    line: None,
                    message,
                    snippet: String::new(),
                };
            }
        };
        let (line, column, text) = self.locate(range.start);
        let place = format!("{}:{line}:{column}", self.name);
        let marked = range
            .len()
            .clamp(1, (text.chars().count() + 2).saturating_sub(column).max(1));
        let shown = if self.plain {
            text.to_owned()
        } else if self.in_settings(line) {
            hidden(text)
        } else {
            masked(text)
        };
        let snippet = snippet(line, column, marked, &shown);
        Problem {
            place,
            line: Some(line),
            message,
            snippet,
        }
    }

    /// Whether a line belongs to a destination and is none of its plain keys: then it is part of
    /// its settings, and which of them are secret only the definition knows.
    fn in_settings(&self, line: usize) -> bool {
        let lines = || self.line_starts.iter().take(line).rev();
        let text = |start: &usize| self.text.get(*start..).and_then(|rest| rest.lines().next());
        let mut texts = lines().filter_map(text).map(str::trim_start);
        let own = texts.next().unwrap_or_default();
        let plain = ["name", "type", "enabled", "["]
            .iter()
            .any(|key| own.starts_with(key));
        let header = texts.find(|text| text.starts_with('['));
        !plain && header.is_some_and(|header| header.contains("destinations"))
    }

    /// Line and column, both from 1, and the line's text.
    fn locate(&self, byte: usize) -> (usize, usize, &'a str) {
        let line = self.line_at(byte);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let column = self
            .text
            .get(start..byte)
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        let rest = self.text.get(start..).unwrap_or_default();
        (line, column, rest.lines().next().unwrap_or_default())
    }
}

/// Longest part of a line that is shown.
const SNIPPET_CHARS_MAX: usize = 120;

fn snippet(line: usize, column: usize, marked: usize, text: &str) -> String {
    let shown: String = text.chars().take(SNIPPET_CHARS_MAX).collect();
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    if column > SNIPPET_CHARS_MAX || shown.trim().is_empty() {
        return String::new();
    }
    let indent = " ".repeat(column - 1);
    let marks = "^".repeat(marked.min(SNIPPET_CHARS_MAX - column + 1));
    format!("{gutter} |\n{number} | {shown}\n{gutter} | {indent}{marks}")
}

/// Words in a line that say that what stands in quotes may be secret.
const SECRET_WORDS: [&str; 6] = [
    "secret",
    "token",
    "pass",
    "api_key",
    "private",
    "credential",
];

/// Lines that speak of keys, none of them secret.
const PLAIN_KEYS: [&str; 2] = ["write_key", "ordering"];

/// The line with the inside of its quotes hidden if it may hold a secret: errors end up in logs.
fn masked(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let suspicious = SECRET_WORDS.iter().any(|word| lower.contains(word))
        || (lower.contains("key") && !PLAIN_KEYS.iter().any(|word| lower.contains(word)));
    if suspicious {
        hidden(text)
    } else {
        text.to_owned()
    }
}

/// The line with the inside of its quotes hidden, letter by letter so that marks still fit; all of
/// it but the key where it has no quotes.
fn hidden(text: &str) -> String {
    let quoted = text.contains(['"', '\'']);
    let mut in_value = !text.contains('=');
    let mut quote = None;
    text.chars()
        .map(|c| {
            let hide = match quote {
                Some(open) => c != open,
                None => in_value && !quoted && !c.is_whitespace(),
            };
            match quote {
                None if matches!(c, '"' | '\'') => quote = Some(c),
                Some(open) if c == open => quote = None,
                _ => {}
            }
            in_value |= c == '=';
            if hide { '*' } else { c }
        })
        .collect()
}
