//! What the compiler knows of a call's type, found once; and the call itself, copied for nothing.
//!
//! VRL asks a call for its type each time that it asks what stands around it, and most functions ask
//! their arguments in turn, which the call has asked already: one argument deeper doubles the work. It
//! asks first when it comes to the call itself, with what is known at that place, and that is the
//! answer for good: whoever asks later asks about the same place. It also copies calls, with all that
//! they hold.

use std::fmt;
use std::sync::{Arc, OnceLock};

use vrl::compiler::state::TypeInfo;
use vrl::prelude::*;

/// `function`, whose calls tell their types from the second time on as they did the first.
pub(super) fn typed(function: Box<dyn Function>) -> Box<dyn Function> {
    // What is deleted has another type afterwards.
    if function.identifier() == "del" {
        return function;
    }
    Box::new(Typed(function))
}

struct Typed(Box<dyn Function>);

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.identifier())
    }
}

impl Function for Typed {
    fn identifier(&self) -> &'static str {
        self.0.identifier()
    }

    fn usage(&self) -> &'static str {
        self.0.usage()
    }

    fn category(&self) -> &'static str {
        self.0.category()
    }

    fn return_kind(&self) -> u16 {
        self.0.return_kind()
    }

    fn parameters(&self) -> &'static [Parameter] {
        self.0.parameters()
    }

    fn examples(&self) -> &'static [Example] {
        self.0.examples()
    }

    fn closure(&self) -> Option<closure::Definition> {
        self.0.closure()
    }

    fn compile(
        &self,
        state: &state::TypeState,
        context: &mut FunctionCompileContext,
        arguments: ArgumentList,
    ) -> Compiled {
        Ok(Box::new(TypedCall {
            call: self.0.compile(state, context, arguments)?.into(),
            known: Arc::default(),
        }))
    }
}

#[derive(Debug, Clone)]
struct TypedCall {
    call: Arc<dyn Expression>,
    known: Arc<OnceLock<TypeDef>>,
}

impl Expression for TypedCall {
    fn resolve(&self, context: &mut Context) -> Resolved {
        self.call.resolve(context)
    }

    fn resolve_unused(&self, context: &mut Context) -> Result<(), ExpressionError> {
        self.call.resolve_unused(context)
    }

    fn resolve_constant(&self, state: &state::TypeState) -> Option<Value> {
        self.call.resolve_constant(state)
    }

    fn type_info(&self, state: &state::TypeState) -> TypeInfo {
        if let Some(known) = self.known.get() {
            return TypeInfo::new(state, known.clone());
        }
        let info = self.call.type_info(state);
        self.known.get_or_init(|| info.result.clone());
        info
    }
}

#[cfg(test)]
mod tests {
    use vrl::compiler::{CompileConfig, Compiler, TypeState};

    use super::*;

    /// The type of a program, or why it has none.
    fn type_of(text: &str, functions: &[Box<dyn Function>]) -> String {
        let tree = vrl::parser::parse(text).unwrap();
        let state = TypeState::default();
        match Compiler::compile(functions, tree, &state, CompileConfig::default()) {
            Ok(result) => format!("{:?}", result.program.final_type_info().result),
            Err(problems) => {
                let problems = problems.into_iter().map(|one| one.message().to_owned());
                problems.collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn types_are_what_they_were() {
        let plain = vrl::stdlib::all();
        let typed: Vec<_> = vrl::stdlib::all().into_iter().map(typed).collect();
        for text in [
            "x = 1\na = to_string(x)\nx = [1]\nb = to_string!(x)\n[a, b, x]",
            "x = \"a\"\nif .y == 1 { x = 1 }\nto_string(x)",
            "merge({\"a\": upcase(\"x\")}, {\"b\": downcase(x = \"y\")})\nupcase(x)",
            "x = {}\n[merge(x, x = {\"b\": 1}), merge(x, {\"c\": 2})]",
            "map_values([1, 2]) -> |v| { v = to_string(v)\nupcase(v) }",
            "x = 1\nfor_each([1]) -> |_i, v| { x = to_string(v) + to_string(x) }\nx",
            "string(.x) ?? upcase(string(.y) ?? \"\")",
            "upcase(string(.x))",
            "a = string!(.x)\nstring(a) ?? \"no\"",
            "x = {\"a\": {\"b\": 1}}\ny = del(x.a.b)\n[x, y, to_string(y)]",
            ".x = 1\ndel(.x)\nto_string(.x)",
        ] {
            assert_eq!(type_of(text, &typed), type_of(text, &plain), "{text}");
        }
    }
}
