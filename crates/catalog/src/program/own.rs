//! Our own functions: VRL's dangerous ones again, with limits, and what requests need.
//!
//! One call of a function cannot be interrupted from outside, so each of these bounds its own work:
//! over a limit it ends the run like any other budget, which no `??` in the program catches.

use std::cell::Cell;
use std::fmt;

use ring::digest;
use url::Url;
use vrl::path::OwnedSegment;
use vrl::path::OwnedValuePath;
use vrl::prelude::*;

use super::search;
use crate::encode;
use crate::json;
use crate::limits::{ELEMENTS_MAX, INDEX_MAX, PARSE_BYTES_MAX, PATH_SEGMENTS_MAX, TEXT_BYTES_MAX};

mod address;
mod personal;
mod written;

thread_local! {
    /// Which limit the last call on this thread ran into.
    static OVER: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Takes the limit that ended a run, if it was one of a function here.
pub(super) fn take_over() -> Option<&'static str> {
    OVER.take()
}

/// The error of a function that ran into a limit.
pub(super) fn over(what: &'static str) -> ExpressionError {
    OVER.set(Some(what));
    ExpressionError::Interrupted
}

/// No function here, and none that `guarded` has a body for, has more: a test holds it.
pub(super) const PARAMETERS_MAX: usize = 4;

/// Arguments in the order of the function's parameters; `None` for one that was left out.
pub(super) type Given = [Option<Value>; PARAMETERS_MAX];

/// The values of a call's arguments.
pub(super) fn resolved(
    arguments: &[Option<Box<dyn Expression>>],
    context: &mut Context<'_>,
) -> Result<Given, ExpressionError> {
    let mut given = Given::default();
    for (place, argument) in given.iter_mut().zip(arguments) {
        if let Some(argument) = argument {
            *place = Some(argument.resolve(context)?);
        }
    }
    Ok(given)
}

type Call = fn(&mut Arguments<'_, '_>) -> Resolved;

struct Arguments<'a, 'c> {
    values: Given,
    context: &'a mut Context<'c>,
}

impl Arguments<'_, '_> {
    fn take(&mut self, index: usize) -> Value {
        self.values
            .get_mut(index)
            .and_then(Option::take)
            .unwrap_or(Value::Null)
    }

    fn take_text(&mut self, index: usize) -> Result<String, ExpressionError> {
        Ok(self.take(index).try_bytes_utf8_lossy()?.into_owned())
    }

    /// As [`Arguments::take_text`], for a function whose work or memory is a multiple of its input.
    fn take_short_text(&mut self, index: usize) -> Result<String, ExpressionError> {
        let text = self.take_text(index)?;
        if text.len() > PARSE_BYTES_MAX {
            return Err(over("a text longer than 256 KiB was to be parsed"));
        }
        Ok(text)
    }

    fn take_count(&mut self, index: usize) -> Result<Option<usize>, ExpressionError> {
        match self.values.get_mut(index).and_then(Option::take) {
            // Negative means no limit.
            Some(value) => Ok(usize::try_from(value.try_integer()?).ok()),
            None => Ok(None),
        }
    }
}

#[derive(Clone, Copy)]
struct Own {
    name: &'static str,
    usage: &'static str,
    parameters: &'static [Parameter],
    kind: u16,
    result: fn() -> TypeDef,
    call: Call,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Function for Own {
    fn identifier(&self) -> &'static str {
        self.name
    }

    fn usage(&self) -> &'static str {
        self.usage
    }

    fn category(&self) -> &'static str {
        Category::String.as_ref()
    }

    fn return_kind(&self) -> u16 {
        self.kind
    }

    fn parameters(&self) -> &'static [Parameter] {
        self.parameters
    }

    fn examples(&self) -> &'static [Example] {
        &[]
    }

    fn compile(
        &self,
        _state: &state::TypeState,
        _context: &mut FunctionCompileContext,
        arguments: ArgumentList,
    ) -> Compiled {
        let arguments = self
            .parameters
            .iter()
            .map(|parameter| arguments.optional(parameter.keyword))
            .collect();
        Ok(OwnCall {
            function: *self,
            arguments,
        }
        .as_expr())
    }
}

#[derive(Debug, Clone)]
struct OwnCall {
    function: Own,
    arguments: Vec<Option<Box<dyn Expression>>>,
}

impl FunctionExpression for OwnCall {
    fn resolve(&self, context: &mut Context) -> Resolved {
        let values = resolved(&self.arguments, context)?;
        (self.function.call)(&mut Arguments { values, context })
    }

    fn type_def(&self, _state: &state::TypeState) -> TypeDef {
        (self.function.result)()
    }
}

const VALUE: Parameter = Parameter::required("value", kind::BYTES, "The text.");
const LIST: Parameter = Parameter::required("value", kind::ARRAY, "The list.");

fn text() -> TypeDef {
    TypeDef::bytes().infallible()
}

fn list() -> TypeDef {
    TypeDef::array(Collection::any()).infallible()
}

const TABLE: &[Own] = &[
    Own {
        name: "replace",
        usage: "`value` with what `pattern` matches replaced.",
        parameters: &[
            VALUE,
            Parameter::required("pattern", kind::BYTES | kind::REGEX, "What to find."),
            Parameter::required("with", kind::BYTES, "What to put there; `$1` for a group."),
            Parameter::optional("count", kind::INTEGER, "How many at most."),
        ],
        kind: kind::BYTES,
        result: text,
        call: replace,
    },
    Own {
        name: "split",
        usage: "The parts of `value` between what `pattern` matches.",
        parameters: &[
            VALUE,
            Parameter::required("pattern", kind::BYTES | kind::REGEX, "What to split at."),
            Parameter::optional("limit", kind::INTEGER, "How many parts at most."),
        ],
        kind: kind::ARRAY,
        result: || TypeDef::array(Collection::from_unknown(Kind::bytes())).infallible(),
        call: split,
    },
    Own {
        name: "join",
        usage: "The texts of a list, one after the other.",
        parameters: &[
            LIST,
            Parameter::optional("separator", kind::BYTES, "What to put between them."),
        ],
        kind: kind::BYTES,
        result: || TypeDef::bytes().fallible(),
        call: join,
    },
    Own {
        name: "push",
        usage: "The list with one item more.",
        parameters: &[LIST, Parameter::required("item", kind::ANY, "The item.")],
        kind: kind::ARRAY,
        result: list,
        call: push,
    },
    Own {
        name: "append",
        usage: "The list with the items of another behind it.",
        parameters: &[
            LIST,
            Parameter::required("items", kind::ARRAY, "The other."),
        ],
        kind: kind::ARRAY,
        result: list,
        call: append,
    },
    Own {
        name: "set",
        usage: "`value` with `data` put at a path that is only known at run time.",
        parameters: &[
            Parameter::required("value", kind::OBJECT | kind::ARRAY, "The object or list."),
            Parameter::required("path", kind::ARRAY, "Keys and indexes."),
            Parameter::required("data", kind::ANY, "What to put there."),
        ],
        kind: kind::OBJECT | kind::ARRAY,
        result: || {
            TypeDef::object(Collection::any())
                .or_array(Collection::any())
                .fallible()
        },
        call: set,
    },
    Own {
        name: "parse_json",
        usage: "The value that a JSON text holds.",
        parameters: &[VALUE],
        kind: kind::ANY,
        result: || TypeDef::from(Kind::json()).fallible(),
        call: parse_json,
    },
    Own {
        name: "text_or_null",
        usage: "`value` as a text where it is a text, a number or a boolean; null stays null.",
        parameters: &[Parameter::required("value", kind::ANY, "The value.")],
        kind: kind::BYTES | kind::NULL,
        result: || TypeDef::bytes().or_null().fallible(),
        call: text_or_null,
    },
    Own {
        name: "encode_json",
        usage: "`value` as JSON.",
        parameters: &[Parameter::required("value", kind::ANY, "The value.")],
        kind: kind::BYTES,
        result: text,
        call: encode_json,
    },
    Own {
        name: "parse_url",
        usage: "An URL's scheme, host, port, path, query (an object) and fragment.",
        parameters: &[VALUE],
        kind: kind::OBJECT,
        result: || TypeDef::object(Collection::any()).fallible(),
        call: parse_url,
    },
    Own {
        name: "parse_query_string",
        usage: "The parameters of a query string; one that repeats becomes a list.",
        parameters: &[VALUE],
        kind: kind::OBJECT,
        result: || TypeDef::object(Collection::any()).infallible(),
        call: parse_query_string,
    },
    Own {
        name: "encode_path_segment",
        usage: "`value`, percent-encoded so that it is one segment of a URL's path.",
        parameters: &[VALUE],
        kind: kind::BYTES,
        result: text,
        call: |arguments| Ok(encode::component(&arguments.take_short_text(0)?).into()),
    },
    Own {
        name: "encode_xml_text",
        usage: "`value` as it stands in an element or attribute of XML.",
        parameters: &[VALUE],
        kind: kind::BYTES,
        result: text,
        call: encode_xml_text,
    },
    Own {
        name: "sha1",
        usage: "The SHA-1 of `value` in lower-case hex.",
        parameters: &[VALUE],
        kind: kind::BYTES,
        result: text,
        call: |arguments| digest(arguments, &digest::SHA1_FOR_LEGACY_USE_ONLY),
    },
    Own {
        name: "sha256",
        usage: "The SHA-256 of `value` in lower-case hex.",
        parameters: &[VALUE],
        kind: kind::BYTES,
        result: text,
        call: |arguments| digest(arguments, &digest::SHA256),
    },
    Own {
        name: "sha512",
        usage: "The SHA-512 of `value` in lower-case hex.",
        parameters: &[VALUE],
        kind: kind::BYTES,
        result: text,
        call: |arguments| digest(arguments, &digest::SHA512),
    },
];

/// All of them, for the compiler.
pub(super) fn all() -> Vec<Box<dyn Function>> {
    table()
        .map(|own| Box::new(*own) as Box<dyn Function>)
        .collect()
}

fn table() -> impl Iterator<Item = &'static Own> {
    TABLE
        .iter()
        .chain(address::TABLE)
        .chain(personal::TABLE)
        .chain(written::TABLE)
}

pub(super) fn is_own(name: &str) -> bool {
    table().any(|own| own.name == name)
}

fn replace(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let pattern = arguments.take(1);
    let value = arguments.take_text(0)?;
    let with = arguments.take_text(2)?;
    let mut left = arguments.take_count(3)?.unwrap_or(usize::MAX);
    let mut out = String::with_capacity(value.len());
    let mut copied = 0;
    if let Value::Regex(regex) = &pattern {
        search::check(regex, &value)?;
    }
    while left > 0 {
        // Between two matches the run may be stopped: a pattern can make each of them linear.
        let Some((start, end)) = (match &pattern {
            Value::Regex(regex) => match search::again(arguments.context, regex, &value, |regex| {
                regex.captures_at(&value, copied)
            })? {
                Some(found) => {
                    let Some(whole) = found.get(0) else { break };
                    out.push_str(value.get(copied..whole.start()).unwrap_or_default());
                    found.expand(&with, &mut out);
                    Some((whole.start(), whole.end()))
                }
                None => None,
            },
            text => {
                arguments.context.checkpoint()?;
                let text = text.clone().try_bytes_utf8_lossy()?.into_owned();
                let rest = value.get(copied..).unwrap_or_default();
                rest.find(&text).map(|at| {
                    out.push_str(rest.get(..at).unwrap_or_default());
                    out.push_str(&with);
                    (copied + at, copied + at + text.len())
                })
            }
        }) else {
            break;
        };
        copied = end;
        if start == end {
            // An empty match: pass one character on, or it would match here for ever.
            let Some(next) = value.get(end..).and_then(|rest| rest.chars().next()) else {
                break;
            };
            out.push(next);
            copied += next.len_utf8();
        }
        left -= 1;
        if out.len() > TEXT_BYTES_MAX {
            return Err(over("replace made a text longer than 1 MiB"));
        }
    }
    out.push_str(value.get(copied..).unwrap_or_default());
    Ok(out.into())
}

fn split(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let pattern = arguments.take(1);
    let value = arguments.take_text(0)?;
    let most = arguments.take_count(2)?.unwrap_or(usize::MAX);
    let context = &mut *arguments.context;
    match &pattern {
        Value::Regex(regex) => {
            search::check(regex, &value)?;
            let mut found = regex.splitn(&value, most);
            collect(|| search::again(context, regex, &value, |_| found.next()))
        }
        text => {
            let text = text.clone().try_bytes_utf8_lossy()?.into_owned();
            let mut found = value.splitn(most, text.as_str());
            collect(|| {
                context.checkpoint()?;
                Ok(found.next())
            })
        }
    }
}

fn collect<'v>(mut next: impl FnMut() -> Result<Option<&'v str>, ExpressionError>) -> Resolved {
    let mut parts: Vec<Value> = Vec::new();
    while let Some(part) = next()? {
        if parts.len() >= ELEMENTS_MAX {
            return Err(over("split made more than 10,000 parts"));
        }
        parts.push(part.into());
    }
    Ok(Value::Array(parts))
}

fn join(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let items = arguments.take(0).try_array()?;
    let separator = match arguments.take(1) {
        Value::Null => String::new(),
        value => value.try_bytes_utf8_lossy()?.into_owned(),
    };
    let mut out = String::new();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(&separator);
        }
        out.push_str(&item.try_bytes_utf8_lossy()?);
        if out.len() > TEXT_BYTES_MAX {
            return Err(over("join made a text longer than 1 MiB"));
        }
    }
    Ok(out.into())
}

fn push(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let mut items = arguments.take(0).try_array()?;
    if items.len() >= ELEMENTS_MAX {
        return Err(over("push made a list longer than 10,000"));
    }
    items.push(arguments.take(1));
    Ok(Value::Array(items))
}

fn append(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let mut items = arguments.take(0).try_array()?;
    let mut more = arguments.take(1).try_array()?;
    if items.len() + more.len() > ELEMENTS_MAX {
        return Err(over("append made a list longer than 10,000"));
    }
    items.append(&mut more);
    Ok(Value::Array(items))
}

fn set(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let mut value = arguments.take(0);
    let segments = arguments.take(1).try_array()?;
    let data = arguments.take(2);
    if segments.len() > PATH_SEGMENTS_MAX {
        return Err(over("set was given a path of more than 32 segments"));
    }
    let mut path = OwnedValuePath::root();
    for segment in segments {
        path.push_segment(match segment {
            Value::Integer(index) => match isize::try_from(index) {
                Ok(index) if index.unsigned_abs() <= INDEX_MAX => OwnedSegment::index(index),
                _ => return Err(over("set was given an index beyond 1,000")),
            },
            key => OwnedSegment::field(&key.try_bytes_utf8_lossy()?),
        });
    }
    value.insert(&path, data);
    Ok(value)
}

fn digest(arguments: &mut Arguments<'_, '_>, algorithm: &'static digest::Algorithm) -> Resolved {
    let value = arguments.take_short_text(0)?;
    Ok(encode::hex(digest::digest(algorithm, value.as_bytes()).as_ref()).into())
}

fn parse_json(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let text = arguments.take_short_text(0)?;
    json::parse(text.as_bytes())
        .map_err(|problem| format!("unable to parse json: {problem}").into())
}

fn text_or_null(arguments: &mut Arguments<'_, '_>) -> Resolved {
    Ok(match arguments.take(0) {
        Value::Integer(number) => number.to_string().into(),
        Value::Float(number) => number.to_string().into(),
        Value::Boolean(flag) => flag.to_string().into(),
        value @ (Value::Bytes(_) | Value::String(_) | Value::Null) => value,
        other => return Err(format!("{} is no text", other.kind()).into()),
    })
}

fn encode_json(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let value = arguments.take(0);
    let bytes = json::write(&value, TEXT_BYTES_MAX)
        .map_err(|_| over("encode_json made a text longer than 1 MiB"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned().into())
}

fn encode_xml_text(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let text = encode::xml_text(&arguments.take_short_text(0)?);
    if text.len() > TEXT_BYTES_MAX {
        return Err(over("encode_xml_text made a text longer than 1 MiB"));
    }
    Ok(text.into())
}

fn parse_url(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let text = arguments.take_short_text(0)?;
    let url = Url::parse(&text).map_err(|problem| format!("unable to parse url: {problem}"))?;
    let optional = |text: Option<&str>| text.map_or(Value::Null, Value::from);
    let mut parts = ObjectMap::new();
    parts.insert("scheme".into(), url.scheme().into());
    parts.insert("username".into(), url.username().into());
    parts.insert("password".into(), url.password().unwrap_or_default().into());
    parts.insert("host".into(), optional(url.host_str()));
    parts.insert("port".into(), url.port().map_or(Value::Null, Value::from));
    parts.insert("path".into(), url.path().into());
    parts.insert(
        "query".into(),
        query_object(url.query().unwrap_or_default())?,
    );
    parts.insert("fragment".into(), optional(url.fragment()));
    Ok(Value::Object(parts))
}

fn parse_query_string(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let text = arguments.take_short_text(0)?;
    query_object(text.strip_prefix('?').unwrap_or(&text))
}

fn query_object(query: &str) -> Resolved {
    let mut pairs = ObjectMap::new();
    for (count, (key, value)) in url::form_urlencoded::parse(query.as_bytes()).enumerate() {
        if count >= ELEMENTS_MAX {
            return Err(over("a query string has more than 10,000 parameters"));
        }
        let value = Value::from(value.as_ref());
        match pairs.get_mut(key.as_ref()) {
            Some(Value::Array(values)) => values.push(value),
            Some(first) => {
                let values = vec![std::mem::replace(first, Value::Null), value];
                *first = Value::Array(values);
            }
            None => {
                pairs.insert(key.as_ref().into(), value);
            }
        }
    }
    Ok(Value::Object(pairs))
}

/// The value of an expression as JSON.
#[cfg(test)]
fn value_of(expression: &str) -> String {
    use vrl::compiler::runtime::Runtime;

    use crate::program::scope::Scope;
    use crate::program::{ProgramCache, Role, run};

    let program = ProgramCache::default()
        .program(Role::Transform, expression)
        .unwrap();
    let mut root = Value::Object(Default::default());
    let scope = &mut Scope::Root(&mut root);
    let value = run(&program, scope, &mut Runtime::default());
    value.unwrap().to_string()
}

#[cfg(test)]
mod tests {
    use super::value_of;

    #[test]
    fn a_text_or_null_is_a_text_or_null() {
        for (given, text) in [
            (r#""a""#, r#""a""#),
            (r#""""#, r#""""#),
            ("null", "null"),
            ("7", r#""7""#),
            ("-1.50", r#""-1.5""#),
            ("2.0", r#""2""#),
            ("true", r#""true""#),
            ("[1]", r#""none""#),
            ("{}", r#""none""#),
        ] {
            let program = format!("text_or_null({given}) ?? \"none\"");
            assert_eq!(value_of(&program), text, "{given}");
        }
    }
}
