//! Barriers: what keeps the compiler's work in proportion to a program's length.
//!
//! VRL asks every expression for its type when it compiles it, and again for each expression around it;
//! every time it copies what it knows of all variables. Only the block of a closure is asked once. So
//! larger parts of a program are put into the closure of a call that does nothing but run it:
//!
//! ```text
//! x = if a { LONG } else { LONGER }
//! x = if a { (block)(null) -> || { LONG } } else { (block)(null) -> || { LONGER } }
//! ```
//!
//! What the types are stays the same, and so does what the program does. A part that changes what is
//! known of anything outside of it (it assigns to a variable that is named elsewhere, or to the event)
//! stays as it is: types that a closure changes are forgotten behind it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use vrl::parser::ast::{
    Array, Assignment, AssignmentTarget, Block, Container, Expr, FunctionArgument, FunctionCall,
    FunctionClosure, Group, Ident, IfStatement, Literal, Node, Not, Object, Op, Predicate, Query,
    QueryTarget, RootExpr, Unary,
};
use vrl::parser::template_string::StringSegment;
use vrl::prelude::*;

/// No author can write it.
const NAME: &str = "(block)";
/// How a barrier shows in an error from behind it, up to the place.
const TRACE: &str = "function call error for \"(block)\" at (";

/// From this weight on a part is put behind a barrier.
const WEIGHT_MIN: usize = 20;
/// Of a barrier as such: the compiler looks at a call and its argument.
const WEIGHT_BARRIER: usize = 6;

/// The function that runs what is behind a barrier.
pub(super) fn function() -> Box<dyn Function> {
    Box::new(Barrier)
}

/// An error's text without the barriers that it came through.
pub(super) fn untraced(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    while let Some(at) = text.find(TRACE) {
        let Some(end) = text.get(at..).and_then(|rest| rest.find("): ")) else {
            break;
        };
        let mut without = text.get(..at).unwrap_or_default().to_owned();
        without.push_str(text.get(at + end + 3..).unwrap_or_default());
        text = Cow::Owned(without);
    }
    text
}

/// The program with barriers.
pub(super) fn insert(program: vrl::parser::Program) -> vrl::parser::Program {
    let mut counter = Insertion::default();
    let counted = program
        .clone()
        .0
        .into_iter()
        .fold(Part::default(), |part, root| match root.into_inner() {
            RootExpr::Expr(expr) => part.with(&counter.expr(expr).1),
            RootExpr::Error(_) => part,
        });
    let mut insertion = Insertion {
        names: Some(counted.names),
    };
    let roots = program.0.into_iter().map(|root| {
        let (span, root) = root.take();
        let root = match root {
            RootExpr::Expr(expr) => RootExpr::Expr(insertion.expr(expr).0),
            error => error,
        };
        Node::new(span, root)
    });
    vrl::parser::Program(roots.collect())
}

/// What there is to know of a part of a program.
#[derive(Debug, Clone, Default)]
struct Part {
    /// About how often the compiler copies what it knows, to look at it once.
    weight: usize,
    /// It computes something: a literal is better left as one.
    computes: bool,
    /// It must stay where it is.
    stays: bool,
    /// How often it names each variable.
    names: BTreeMap<String, usize>,
    /// Those it assigns to.
    assigned: BTreeSet<String>,
}

impl Part {
    fn of(weight: usize) -> Self {
        Self {
            weight,
            ..Self::default()
        }
    }

    fn with(mut self, other: &Self) -> Self {
        self.weight += other.weight;
        self.computes |= other.computes;
        self.stays |= other.stays;
        for (name, count) in &other.names {
            *self.names.entry(name.clone()).or_default() += count;
        }
        self.assigned.extend(other.assigned.iter().cloned());
        self
    }

    fn naming(mut self, name: &str) -> Self {
        *self.names.entry(name.to_owned()).or_default() += 1;
        self
    }
}

/// Goes through a program from the inside out. Without `names` it only counts.
#[derive(Default)]
struct Insertion {
    /// How often the whole program names each variable.
    names: Option<BTreeMap<String, usize>>,
}

type Seen = (Node<Expr>, Part);

impl Insertion {
    /// Whether a part goes behind a barrier.
    fn wants(&self, part: &Part) -> bool {
        let Some(names) = &self.names else {
            return false;
        };
        part.weight >= WEIGHT_MIN
            && part.computes
            && !part.stays
            // What it assigns to, nobody else has heard of.
            && part
                .assigned
                .iter()
                .all(|name| part.names.get(name) == names.get(name))
    }

    /// A part that stands inside of another, perhaps behind a barrier.
    fn inner(&mut self, node: Node<Expr>) -> Seen {
        let (node, part) = self.expr(node);
        let movable = matches!(
            node.inner(),
            Expr::Container(_) | Expr::IfStatement(_) | Expr::Op(_) | Expr::FunctionCall(_)
        );
        if !movable || !self.wants(&part) {
            return (node, part);
        }
        let span = node.span();
        let block = Node::new(span, Block(vec![node]));
        (call(block), behind(part))
    }

    /// As [`Self::inner`], for an argument: some functions want to see a list, or an object, as such.
    fn argument(&mut self, node: Node<Expr>) -> Seen {
        match node.inner() {
            Expr::Container(_) => self.expr(node),
            _ => self.inner(node),
        }
    }

    fn block(&mut self, node: Node<Block>) -> (Node<Block>, Part) {
        let (span, block) = node.take();
        let mut part = Part::of(3);
        let mut exprs = Vec::with_capacity(block.0.len());
        for expr in block.0 {
            let (expr, seen) = self.expr(expr);
            part = part.with(&seen);
            exprs.push(expr);
        }
        (Node::new(span, Block(exprs)), part)
    }

    /// A block whose value is that of a branch.
    fn branch(&mut self, node: Node<Block>) -> (Node<Block>, Part) {
        let (block, part) = self.block(node);
        if !self.wants(&part) {
            return (block, part);
        }
        let span = block.span();
        (Node::new(span, Block(vec![call(block)])), behind(part))
    }

    fn expr(&mut self, node: Node<Expr>) -> Seen {
        let (span, expr) = node.take();
        let (expr, part) = match expr {
            Expr::Literal(literal) => {
                let part = literal_part(literal.inner());
                (Expr::Literal(literal), part)
            }
            Expr::Container(container) => {
                let (span, container) = container.take();
                let (container, part) = self.container(container);
                (Expr::Container(Node::new(span, container)), part)
            }
            Expr::IfStatement(statement) => {
                let (span, statement) = statement.take();
                let (statement, part) = self.if_statement(statement);
                (Expr::IfStatement(Node::new(span, statement)), part)
            }
            Expr::Op(op) => {
                let (span, Op(left, opcode, right)) = op.take();
                let (left, first) = self.inner(*left);
                let (right, second) = self.inner(*right);
                let op = Op(Box::new(left), opcode, Box::new(right));
                let part = Part::of(4).with(&first).with(&second);
                (Expr::Op(Node::new(span, op)), part)
            }
            Expr::Assignment(assignment) => {
                let (span, assignment) = assignment.take();
                let (assignment, part) = self.assignment(assignment);
                (Expr::Assignment(Node::new(span, assignment)), part)
            }
            Expr::Query(query) => {
                let (span, query) = query.take();
                let (query, part) = self.query(query);
                (Expr::Query(Node::new(span, query)), part)
            }
            Expr::FunctionCall(call) => {
                let (span, call) = call.take();
                let (call, part) = self.call(call);
                (Expr::FunctionCall(Node::new(span, call)), part)
            }
            Expr::Variable(name) => {
                let part = Part::of(1).naming(name.inner());
                (Expr::Variable(name), part)
            }
            Expr::Unary(unary) => {
                let (outer, unary) = unary.take();
                let Unary::Not(not) = unary;
                let (span, not) = not.take();
                let (sign, inner) = not.take();
                let (inner, part) = self.inner(*inner);
                let not = Node::new(span, Not::new(sign.span(), inner));
                let unary = Node::new(outer, Unary::Not(not));
                (Expr::Unary(unary), Part::of(2).with(&part))
            }
            // These end more than a closure.
            leaving @ (Expr::Abort(_) | Expr::Return(_) | Expr::Break(_)) => {
                let says = match &leaving {
                    Expr::Abort(abort) => abort.inner().message.as_deref(),
                    Expr::Return(value) => Some(&*value.inner().expr),
                    _ => None,
                };
                let mut part = Part {
                    stays: true,
                    ..Part::of(2)
                };
                if let Some(says) = says {
                    part = part.with(&Self::default().expr(says.clone()).1);
                }
                (leaving, part)
            }
        };
        (Node::new(span, expr), part)
    }

    fn container(&mut self, container: Container) -> (Container, Part) {
        match container {
            Container::Group(group) => {
                let (span, group) = group.take();
                let (inner, part) = self.inner(group.into_inner());
                let group = Node::new(span, Group(inner));
                (Container::Group(Box::new(group)), Part::of(1).with(&part))
            }
            Container::Block(block) => {
                let (block, part) = self.branch(block);
                (Container::Block(block), part)
            }
            Container::Array(array) => {
                let (span, array) = array.take();
                let mut part = Part::of(2);
                let mut items = Vec::new();
                for item in array {
                    let (item, seen) = self.inner(item);
                    part = part.with(&seen);
                    items.push(item);
                }
                let array = Node::new(span, items.into_iter().collect::<Array>());
                (Container::Array(array), part)
            }
            Container::Object(object) => {
                let (span, object) = object.take();
                let mut part = Part::of(2);
                let mut members = Vec::new();
                for (key, value) in object {
                    let (value, seen) = self.inner(value);
                    part = part.with(&seen);
                    members.push((key, value));
                }
                let object = Node::new(span, members.into_iter().collect::<Object>());
                (Container::Object(object), part)
            }
        }
    }

    fn if_statement(&mut self, statement: IfStatement) -> (IfStatement, Part) {
        let (span, predicate) = statement.predicate.take();
        let mut part = Part {
            computes: true,
            ..Part::of(4)
        };
        let predicate = match predicate {
            Predicate::One(expr) => {
                let (expr, seen) = self.inner(*expr);
                part = part.with(&seen);
                Predicate::One(Box::new(expr))
            }
            Predicate::Many(exprs) => {
                let mut all = Vec::with_capacity(exprs.len());
                for expr in exprs {
                    let (expr, seen) = self.expr(expr);
                    part = part.with(&seen);
                    all.push(expr);
                }
                Predicate::Many(all)
            }
        };
        let (if_node, seen) = self.branch(statement.if_node);
        part = part.with(&seen);
        let else_node = statement.else_node.map(|node| {
            let (node, seen) = self.branch(node);
            part = std::mem::take(&mut part).with(&seen);
            node
        });
        let statement = IfStatement {
            predicate: Node::new(span, predicate),
            if_node,
            else_node,
        };
        (statement, part)
    }

    fn assignment(&mut self, assignment: Assignment) -> (Assignment, Part) {
        match assignment {
            Assignment::Single { target, op, expr } => {
                let (expr, seen) = self.inner(*expr);
                let part = Part::of(3).with(&seen).with(&target_part(target.inner()));
                let expr = Box::new(expr);
                (Assignment::Single { target, op, expr }, part)
            }
            // The program gets to see the error: it must be the one it was.
            infallible @ Assignment::Infallible { .. } => {
                let mut part = Part {
                    stays: true,
                    ..Part::of(6)
                };
                if let Assignment::Infallible { ok, err, expr, .. } = &infallible {
                    let inside = Insertion::default().expr((**expr).clone()).1;
                    part = part.with(&inside);
                    part = part
                        .with(&target_part(ok.inner()))
                        .with(&target_part(err.inner()));
                }
                (infallible, part)
            }
        }
    }

    fn query(&mut self, query: Query) -> (Query, Part) {
        let (span, target) = query.target.take();
        let (target, part) = match target {
            QueryTarget::Internal(name) => {
                let part = Part::of(2).naming(&name);
                (QueryTarget::Internal(name), part)
            }
            QueryTarget::External(prefix) => (QueryTarget::External(prefix), Part::of(2)),
            QueryTarget::FunctionCall(call) => {
                let (call, part) = self.call(call);
                (QueryTarget::FunctionCall(call), part)
            }
            QueryTarget::Container(container) => {
                let (container, part) = self.container(container);
                (QueryTarget::Container(container), part)
            }
        };
        let query = Query {
            target: Node::new(span, target),
            path: query.path,
        };
        (query, part)
    }

    fn call(&mut self, call: FunctionCall) -> (FunctionCall, Part) {
        let mut part = Part {
            computes: true,
            stays: call.ident.inner().as_ref() == "del",
            ..Part::of(3)
        };
        let mut arguments = Vec::with_capacity(call.arguments.len());
        for argument in call.arguments {
            let (span, argument) = argument.take();
            let (expr, seen) = self.argument(argument.expr);
            part = part.with(&Part::of(4)).with(&seen);
            let ident = argument.ident;
            arguments.push(Node::new(span, FunctionArgument { ident, expr }));
        }
        let closure = call.closure.map(|closure| {
            let (span, closure) = closure.take();
            let (block, mut seen) = self.block(closure.block);
            for variable in &closure.variables {
                seen = seen.naming(variable.inner());
            }
            // Its block is a barrier already.
            seen.weight = 0;
            part = std::mem::take(&mut part).with(&seen);
            let variables = closure.variables;
            Node::new(span, FunctionClosure { variables, block })
        });
        let call = FunctionCall {
            ident: call.ident,
            abort_on_error: call.abort_on_error,
            arguments,
            closure,
        };
        (call, part)
    }
}

fn behind(part: Part) -> Part {
    Part {
        weight: WEIGHT_BARRIER,
        ..part
    }
}

/// The values in a template string are variables.
fn literal_part(literal: &Literal) -> Part {
    let mut part = Part::of(1);
    if let Literal::String(template) = literal {
        for segment in &template.0 {
            if let StringSegment::Template(name, _) = segment {
                part = part.naming(name.trim());
            }
        }
    }
    part
}

fn target_part(target: &AssignmentTarget) -> Part {
    match target {
        AssignmentTarget::Noop => Part::default(),
        AssignmentTarget::Internal(name, _) => {
            let mut part = Part::of(1).naming(name);
            part.assigned.insert(name.to_string());
            part
        }
        AssignmentTarget::External(_) => Part {
            stays: true,
            ..Part::default()
        },
        AssignmentTarget::Query(query) => Part {
            stays: true,
            ..Insertion::default().query(query.clone()).1
        },
    }
}

/// `(block)(null) -> || { .. }`
fn call(block: Node<Block>) -> Node<Expr> {
    let span = block.span();
    let null = Expr::Literal(Node::new(span, Literal::Null));
    let argument = FunctionArgument {
        ident: None,
        expr: Node::new(span, null),
    };
    let closure = FunctionClosure {
        variables: Vec::new(),
        block,
    };
    let call = FunctionCall {
        ident: Node::new(span, Ident::new(NAME)),
        abort_on_error: false,
        arguments: vec![Node::new(span, argument)],
        closure: Some(Node::new(span, closure)),
    };
    Node::new(span, Expr::FunctionCall(Node::new(span, call)))
}

#[derive(Debug)]
struct Barrier;

const PARAMETERS: &[Parameter] = &[Parameter::required("value", kind::ANY, "Nothing.")];

impl Function for Barrier {
    fn identifier(&self) -> &'static str {
        NAME
    }

    fn usage(&self) -> &'static str {
        "Runs its block."
    }

    fn category(&self) -> &'static str {
        Category::Enumerate.as_ref()
    }

    fn return_kind(&self) -> u16 {
        kind::ANY
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn examples(&self) -> &'static [Example] {
        &[]
    }

    fn closure(&self) -> Option<closure::Definition> {
        Some(closure::Definition {
            inputs: vec![closure::Input {
                parameter_keyword: "value",
                kind: Kind::any(),
                variables: Vec::new(),
                output: closure::Output::Kind(Kind::any().or_undefined()),
                example: example! {
                    title: "nothing",
                    source: "null",
                    result: Ok("null"),
                },
            }],
            is_iterator: false,
            supports_break: false,
        })
    }

    fn compile(
        &self,
        _state: &state::TypeState,
        _context: &mut FunctionCompileContext,
        arguments: ArgumentList,
    ) -> Compiled {
        Ok(Behind(Arc::new(arguments.required_closure()?)).as_expr())
    }
}

#[derive(Clone)]
struct Behind(Arc<Closure>);

impl fmt::Debug for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Behind")
    }
}

impl FunctionExpression for Behind {
    fn resolve(&self, context: &mut Context) -> Resolved {
        self.0.block.resolve(context)
    }

    fn type_def(&self, _state: &state::TypeState) -> TypeDef {
        self.0.block_type_def.clone()
    }
}

#[cfg(test)]
mod tests;
