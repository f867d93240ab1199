//! VRL's `compact`, which builds nothing only to throw it away: most programs give it an object or a list
//! of what an event may have, and an event has few of these.

use std::collections::BTreeMap;

use vrl::compiler::expression::{Container, Expr, Variant};
use vrl::compiler::state::TypeInfo;
use vrl::prelude::*;

/// What counts as empty.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools)]
struct Options {
    recursive: bool,
    null: bool,
    string: bool,
    object: bool,
    array: bool,
}

impl Options {
    /// `None` where one is only known at run time, or is one that few use.
    fn of(state: &state::TypeState, arguments: &ArgumentList) -> Option<Self> {
        let option = |name, default| match arguments.optional(name) {
            Some(given) => {
                // A variable may have another value the next time.
                let is_literal = matches!(arguments.required_expr(name), Expr::Literal(_));
                let literal = given.resolve_constant(state).filter(|_| is_literal);
                literal?.as_boolean()
            }
            None => Some(default),
        };
        (!option("nullish", false)?).then_some(())?;
        Some(Self {
            recursive: option("recursive", true)?,
            null: option("null", true)?,
            string: option("string", true)?,
            object: option("object", true)?,
            array: option("array", true)?,
        })
    }

    fn is_empty(self, value: &Value) -> bool {
        match value {
            Value::Null => self.null,
            Value::Object(members) => self.object && members.is_empty(),
            Value::Array(items) => self.array && items.is_empty(),
            other => self.string && other.as_bytes().is_some_and(Bytes::is_empty),
        }
    }

    /// The value as a member of something that is compacted; `None` where it is to go.
    fn member(self, mut value: Value) -> Option<Value> {
        if self.recursive {
            self.within(&mut value);
        }
        (!self.is_empty(&value)).then_some(value)
    }

    fn within(self, value: &mut Value) {
        let stays = |value: &mut Value| {
            if self.recursive {
                self.within(value);
            }
            !self.is_empty(value)
        };
        match value {
            Value::Object(members) => members.retain(|_, value| stays(value)),
            Value::Array(items) => items.retain_mut(stays),
            _ => {}
        }
    }
}

/// VRL's own call, made quicker where that can be.
pub(super) fn quicker(
    standard: Box<dyn Expression>,
    state: &state::TypeState,
    arguments: &ArgumentList,
) -> Box<dyn Expression> {
    match Options::of(state, arguments) {
        Some(options) => Box::new(Compact {
            standard,
            value: arguments.required_expr("value"),
            options,
        }),
        None => standard,
    }
}

#[derive(Debug, Clone)]
struct Compact {
    /// Asked for types only.
    standard: Box<dyn Expression>,
    value: Expr,
    options: Options,
}

impl Expression for Compact {
    fn resolve(&self, context: &mut Context) -> Resolved {
        let literal = match &self.value {
            Expr::Container(Container { variant }) => Some(variant),
            _ => None,
        };
        match literal {
            Some(Variant::Object(members)) => {
                // In the order of the keys: that makes a map at once.
                let mut kept = Vec::new();
                for (key, member) in members.iter() {
                    let member = member.resolve(context)?;
                    kept.extend(
                        self.options
                            .member(member)
                            .map(|value| (key.clone(), value)),
                    );
                }
                Ok(Value::Object(BTreeMap::from_iter(kept)))
            }
            Some(Variant::Array(items)) => {
                let mut kept = Vec::new();
                for item in items.iter() {
                    kept.extend(self.options.member(item.resolve(context)?));
                }
                Ok(Value::Array(kept))
            }
            _ => {
                let mut value = self.value.resolve(context)?;
                if !value.is_object() && !value.is_array() {
                    let expected = Kind::array(Collection::any()).or_object(Collection::any());
                    let got = value.kind();
                    return Err(ValueError::Expected { got, expected }.into());
                }
                self.options.within(&mut value);
                Ok(value)
            }
        }
    }

    fn type_info(&self, state: &state::TypeState) -> TypeInfo {
        self.standard.type_info(state)
    }
}
