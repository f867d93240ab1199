//! Which events must stay in order: those of one key. The key is the user's id, else the anonymous
//! one, or what an expression says.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use vrl::compiler::runtime::Runtime;
use vrl::value::Value;

use crate::definition::Definition;
use crate::error::Error;
use crate::json;
use crate::program::{Program, Role, Scope, run};

/// Tells the keys of one connection's events.
pub struct OrderKey {
    expression: Option<Arc<Program>>,
    runtime: Runtime,
}

/// All that is read of an event where no expression is given. An id is compared as it is written.
#[derive(Deserialize)]
struct Ids<'a> {
    #[serde(rename = "userId", borrow)]
    user: Option<&'a RawValue>,
    #[serde(rename = "anonymousId", borrow)]
    anonymous: Option<&'a RawValue>,
}

impl OrderKey {
    /// # Errors
    /// The expression does not compile.
    pub fn new(definition: &Definition, expression: Option<&str>) -> Result<Self, Error> {
        let program = |text| definition.cache.program(Role::Key, text);
        Ok(Self {
            expression: expression.map(program).transpose()?,
            runtime: Runtime::default(),
        })
    }

    /// A hash of the event's key; `None` for an event that has none: it waits for no other.
    pub fn of(&mut self, event: &[u8]) -> Option<NonZeroU64> {
        let Some(program) = &self.expression else {
            let ids: Ids<'_> = serde_json::from_slice(event).ok()?;
            let id = ids.user.filter(|id| says_something(id));
            let id = id.or(ids.anonymous.filter(|id| says_something(id)))?;
            return Some(hashed(id.get()));
        };
        let mut tree = json::parse(event).ok()?;
        match run(program, &mut Scope::Root(&mut tree), &mut self.runtime).ok()? {
            Value::Null => None,
            key if key.to_str().is_some_and(|text| text.is_empty()) => None,
            key => Some(hashed(&key.to_string())),
        }
    }
}

fn says_something(id: &RawValue) -> bool {
    !matches!(id.get(), "null" | "\"\"")
}

/// The same within a process, which is all that order needs.
fn hashed(key: &str) -> NonZeroU64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests;
