//! VRL's own functions whose one call may take long, or make much of little: their types and their
//! compile-time checks are VRL's, their bodies are ours and have limits.
//!
//! A pattern costs its length times the text's, for one search; words cost fifty times their bytes;
//! flat keys grow with the square of the depth.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use convert_case::{Boundary, Case, Casing};
use vrl::compiler::state::TypeInfo;
use vrl::prelude::*;

use super::compact;
use super::own::{over, resolved};
use super::search::search;
use crate::limits::{ELEMENTS_MAX, FLAT_DEPTH_MAX, PARSE_BYTES_MAX, TEXT_BYTES_MAX};

/// The arguments' values, in the order of the function's parameters.
type Body = fn(&mut Context<'_>, &[Option<Value>]) -> Resolved;

const BODIES: [(&str, Body); 11] = [
    ("camelcase", |_, given| in_case(given, Case::Camel)),
    ("contains_all", contains_all),
    ("find", find),
    ("flatten", flatten),
    ("kebabcase", |_, given| in_case(given, Case::Kebab)),
    ("match", matches),
    ("match_any", matches_any),
    ("parse_regex", parse_regex),
    ("pascalcase", |_, given| in_case(given, Case::Pascal)),
    ("screamingsnakecase", |_, given| {
        in_case(given, Case::Constant)
    }),
    ("snakecase", |_, given| in_case(given, Case::Snake)),
];

/// Ours builds less: see `compact.rs`.
const COMPACT: &str = "compact";

/// Those that read `Infinity`, and `1e999` as that: no JSON can hold it.
const FINITE: [&str; 2] = ["parse_float", "to_float"];

/// `function`, with a body of ours where it needs one.
pub(super) fn guarded(function: Box<dyn Function>) -> Box<dyn Function> {
    let name = function.identifier();
    let body = BODIES.iter().find(|(known, _)| *known == name);
    let guard = match body {
        Some((_, body)) => Guard::Instead(*body),
        None if FINITE.contains(&name) => Guard::Finite,
        None if name == COMPACT => Guard::Compact,
        None => return function,
    };
    Box::new(Guarded {
        standard: function,
        guard,
    })
}

#[derive(Debug, Clone, Copy)]
enum Guard {
    /// This is run in place of VRL's body.
    Instead(Body),
    /// VRL's value is none where it is no finite number.
    Finite,
    Compact,
}

struct Guarded {
    standard: Box<dyn Function>,
    guard: Guard,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.standard.identifier())
    }
}

impl Function for Guarded {
    fn identifier(&self) -> &'static str {
        self.standard.identifier()
    }

    fn usage(&self) -> &'static str {
        self.standard.usage()
    }

    fn category(&self) -> &'static str {
        self.standard.category()
    }

    fn return_kind(&self) -> u16 {
        self.standard.return_kind()
    }

    fn parameters(&self) -> &'static [Parameter] {
        self.standard.parameters()
    }

    fn examples(&self) -> &'static [Example] {
        self.standard.examples()
    }

    fn compile(
        &self,
        state: &state::TypeState,
        context: &mut FunctionCompileContext,
        arguments: ArgumentList,
    ) -> Compiled {
        let standard = self.standard.compile(state, context, arguments.clone())?;
        Ok(match self.guard {
            Guard::Compact => compact::quicker(standard, state, &arguments),
            Guard::Finite => Box::new(FiniteCall(standard)),
            Guard::Instead(body) => {
                let given = self
                    .parameters()
                    .iter()
                    .map(|parameter| arguments.optional(parameter.keyword));
                Box::new(GuardedCall {
                    arguments: given.collect(),
                    standard,
                    body,
                })
            }
        })
    }
}

#[derive(Debug, Clone)]
struct GuardedCall {
    /// Asked for types only.
    standard: Box<dyn Expression>,
    arguments: Vec<Option<Box<dyn Expression>>>,
    body: Body,
}

impl Expression for GuardedCall {
    fn resolve(&self, context: &mut Context) -> Resolved {
        let given = resolved(&self.arguments, context)?;
        (self.body)(context, &given)
    }

    fn type_info(&self, state: &state::TypeState) -> TypeInfo {
        self.standard.type_info(state)
    }
}

#[derive(Debug, Clone)]
struct FiniteCall(Box<dyn Expression>);

impl Expression for FiniteCall {
    fn resolve(&self, context: &mut Context) -> Resolved {
        finite(self.0.resolve(context)?)
    }

    fn type_info(&self, state: &state::TypeState) -> TypeInfo {
        self.0.type_info(state)
    }
}

fn finite(value: Value) -> Resolved {
    match value {
        Value::Float(number) if !number.is_finite() => {
            Err(format!("{number} is no finite number").into())
        }
        value => Ok(value),
    }
}

static NULL: Value = Value::Null;

fn argument(given: &[Option<Value>], index: usize) -> &Value {
    given.get(index).and_then(Option::as_ref).unwrap_or(&NULL)
}

fn boolean(given: &[Option<Value>], index: usize) -> bool {
    matches!(argument(given, index), Value::Boolean(true))
}

fn pattern(value: &Value) -> Result<&ValueRegex, ExpressionError> {
    match value {
        Value::Regex(regex) => Ok(regex),
        other => Err(ValueError::Expected {
            got: other.kind(),
            expected: Kind::regex(),
        }
        .into()),
    }
}

fn matches(context: &mut Context<'_>, given: &[Option<Value>]) -> Resolved {
    let text = argument(given, 0).try_bytes_utf8_lossy()?;
    let regex = pattern(argument(given, 1))?;
    Ok(search(context, regex, &text, |regex| regex.is_match(&text))?.into())
}

fn matches_any(context: &mut Context<'_>, given: &[Option<Value>]) -> Resolved {
    let text = argument(given, 0).try_bytes_utf8_lossy()?;
    for one in array(argument(given, 1))? {
        if search(context, pattern(one)?, &text, |regex| regex.is_match(&text))? {
            return Ok(true.into());
        }
    }
    Ok(false.into())
}

fn array(value: &Value) -> Result<&[Value], ExpressionError> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(ValueError::Expected {
            got: other.kind(),
            expected: Kind::array(Collection::any()),
        }
        .into()),
    }
}

fn find(context: &mut Context<'_>, given: &[Option<Value>]) -> Resolved {
    let from = match argument(given, 2) {
        Value::Null => 0,
        // Before the text is as good as behind it: nothing is found there.
        value => usize::try_from(value.clone().try_integer()?).unwrap_or(usize::MAX),
    };
    let at = match argument(given, 1) {
        Value::Regex(regex) => {
            let text = argument(given, 0).try_bytes_utf8_lossy()?;
            let within = from <= text.len() && text.is_char_boundary(from);
            search(context, regex, &text, |regex| {
                let found = within.then(|| regex.find_at(&text, from)).flatten();
                found.map(|found| found.start())
            })?
        }
        other => {
            let text = argument(given, 0).try_bytes_utf8_lossy()?;
            let wanted = other.try_bytes_utf8_lossy()?;
            let rest = text.get(from..);
            rest.and_then(|rest| rest.find(wanted.as_ref()))
                .map(|at| from + at)
        }
    };
    Ok(at.map_or(Value::Null, Value::from))
}

fn parse_regex(context: &mut Context<'_>, given: &[Option<Value>]) -> Resolved {
    let text = argument(given, 0).try_bytes_utf8_lossy()?;
    let regex = pattern(argument(given, 1))?;
    let captures = search(context, regex, &text, |regex| regex.captures(&text))?
        .ok_or("could not find any pattern matches")?;
    let mut parts = ObjectMap::new();
    if boolean(given, 2) {
        for (index, part) in captures.iter().flatten().enumerate() {
            parts.insert(index.to_string().into(), part.as_str().into());
        }
    }
    for name in regex.capture_names().flatten() {
        let part = captures.name(name);
        let part = part.map_or(Value::Null, |part| part.as_str().into());
        parts.insert(name.into(), part);
    }
    Ok(Value::Object(parts))
}

fn contains_all(context: &mut Context<'_>, given: &[Option<Value>]) -> Resolved {
    let any_case = matches!(argument(given, 2), Value::Boolean(false));
    let cased = |value: &Value| -> Result<String, ExpressionError> {
        let text = value.try_bytes_utf8_lossy()?;
        Ok(if any_case {
            text.to_lowercase()
        } else {
            text.into_owned()
        })
    };
    let text = cased(argument(given, 0))?;
    for wanted in array(argument(given, 1))? {
        context.checkpoint()?;
        if !text.contains(&cased(wanted)?) {
            return Ok(false.into());
        }
    }
    Ok(true.into())
}

fn in_case(given: &[Option<Value>], case: Case<'static>) -> Resolved {
    let text = argument(given, 0).try_bytes_utf8_lossy()?;
    if text.len() > PARSE_BYTES_MAX {
        return Err(over(
            "a text longer than 256 KiB was to be split into words",
        ));
    }
    let excluded = match argument(given, 2) {
        Value::Array(names) => names.iter().filter_map(boundary).collect(),
        _ => Vec::new(),
    };
    let words = match original_case(argument(given, 1)) {
        Some(original) => text.from_case(original),
        None => text.set_boundaries(&Boundary::defaults()),
    };
    let words = words.remove_boundaries(&excluded).remove_empty();
    Ok(words.to_case(case).into())
}

/// The compiler has checked that it is one of these.
fn original_case(name: &Value) -> Option<Case<'static>> {
    match name.to_str()? {
        "camelCase" => Some(Case::Camel),
        "PascalCase" => Some(Case::Pascal),
        "SCREAMING_SNAKE" => Some(Case::Constant),
        "snake_case" => Some(Case::Snake),
        "kebab-case" => Some(Case::Kebab),
        _ => None,
    }
}

fn boundary(name: &Value) -> Option<Boundary> {
    match name.to_str()? {
        "lower_upper" => Some(Boundary::LowerUpper),
        "upper_lower" => Some(Boundary::UpperLower),
        "acronym" => Some(Boundary::Acronym),
        "lower_digit" => Some(Boundary::LowerDigit),
        "upper_digit" => Some(Boundary::UpperDigit),
        "digit_lower" => Some(Boundary::DigitLower),
        "digit_upper" => Some(Boundary::DigitUpper),
        _ => None,
    }
}

fn flatten(_: &mut Context<'_>, given: &[Option<Value>]) -> Resolved {
    match argument(given, 0) {
        Value::Array(items) => {
            let mut flat = Vec::new();
            flat_list(items, &mut flat, 0)?;
            Ok(Value::Array(flat))
        }
        Value::Object(members) => {
            let separator = match argument(given, 1) {
                Value::Null => Cow::Borrowed("."),
                separator => separator.try_bytes_utf8_lossy()?,
            };
            let except = match argument(given, 2) {
                Value::Array(names) => names.iter().filter_map(Value::to_str).collect(),
                _ => HashSet::new(),
            };
            let mut flat = Flat {
                separator: &separator,
                except,
                members: ObjectMap::new(),
                key_bytes: 0,
            };
            flat.object(members, "", 0)?;
            Ok(Value::Object(flat.members))
        }
        other => Err(ValueError::Expected {
            got: other.kind(),
            expected: Kind::array(Collection::any()) | Kind::object(Collection::any()),
        }
        .into()),
    }
}

fn flat_list(items: &[Value], flat: &mut Vec<Value>, depth: usize) -> Result<(), ExpressionError> {
    check_depth(depth)?;
    for item in items {
        match item {
            Value::Array(inner) => flat_list(inner, flat, depth + 1)?,
            _ if flat.len() >= ELEMENTS_MAX => {
                return Err(over("flatten made a list longer than 10,000"));
            }
            other => flat.push(other.clone()),
        }
    }
    Ok(())
}

fn check_depth(depth: usize) -> Result<(), ExpressionError> {
    if depth > FLAT_DEPTH_MAX {
        return Err(over("flatten was given values nested deeper than 128"));
    }
    Ok(())
}

struct Flat<'a> {
    separator: &'a str,
    except: HashSet<&'a str>,
    members: ObjectMap,
    /// Of all keys that were made.
    key_bytes: usize,
}

impl Flat<'_> {
    fn object(
        &mut self,
        members: &ObjectMap,
        above: &str,
        depth: usize,
    ) -> Result<(), ExpressionError> {
        check_depth(depth)?;
        for (key, value) in members {
            let path = if depth == 0 {
                key.to_string()
            } else {
                format!("{above}{}{key}", self.separator)
            };
            self.key_bytes += path.len();
            if self.key_bytes > TEXT_BYTES_MAX {
                return Err(over("flatten made keys of more than 1 MiB"));
            }
            match value {
                Value::Object(inner) if !self.except.contains(key.as_str()) => {
                    self.object(inner, &path, depth + 1)?;
                }
                _ => {
                    self.members.insert(path.into(), value.clone());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
