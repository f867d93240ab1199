//! What the compiler knows of a call's type, found once; and the call itself, copied for nothing.
//!
//! VRL asks a call for its type each time that it asks what stands around it, and most functions ask
//! their arguments in turn, which the call has asked already: one argument deeper doubles the work.
//! Where nothing changes a type within the arguments of a call, the answer is always the same. It also
//! copies calls, with all that they hold.

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
