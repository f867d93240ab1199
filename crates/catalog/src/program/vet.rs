//! Vetting a program's source before it is compiled: what would overflow the compiler's stack, or
//! keep it busy for seconds, is refused here.
//!
//! First the bytes, for parser and lexer; then the parsed tree, for the compiler and for what a
//! single step at run time could cost.

use vrl::diagnostic::DiagnosticMessage;
use vrl::parser::ast::{
    Assignment, AssignmentTarget, Block, Container, Expr, FunctionCall, IfStatement, Literal, Node,
    Opcode, Predicate, Query, QueryTarget, RootExpr, Unary,
};
use vrl::parser::template_string::StringSegment;
use vrl::path::{OwnedSegment, OwnedTargetPath, OwnedValuePath, PathPrefix};

use super::{Fault, on_large_stack};
use crate::error::Error;
use crate::limits::{
    ASSIGNMENTS_MAX, AST_DEPTH_MAX, BRACKET_DEPTH_MAX, CALL_DEPTH_MAX, CHAIN_MAX,
    CLOSURE_DEPTH_MAX, CLOSURES_MAX, IF_DEPTH_MAX, INDEX_MAX, NOT_RUN_MAX, PATH_SEGMENTS_MAX,
    REGEX_BYTES_MAX, REGEX_PLACES_MAX, REGEXES_MAX, SOURCE_BYTES_MAX, TEMPLATE_PARTS_MAX,
};

mod growth;
mod pattern;
mod sees;

pub(super) use pattern::places;

pub(super) use sees::Sees;

/// Functions whose value is a number, so that it may stand beside `*`.
const NUMERIC: [&str; 14] = [
    "abs",
    "ceil",
    "float",
    "floor",
    "int",
    "length",
    "mod",
    "parse_float",
    "parse_int",
    "round",
    "strlen",
    "to_float",
    "to_int",
    "to_unix_timestamp",
];

/// Checks the shape of a program's source without compiling it.
///
/// # Errors
/// The line, the limit that it breaks, and the number.
pub fn vet(text: &str) -> Result<(), Error> {
    lexical(text)
        .and_then(|()| {
            on_large_stack(|| parse(text).and_then(|program| tree(text, &program, Sees::Root)))
        })
        .map_err(|fault| fault.named("program"))
}

/// Vets the bytes: length, depth of brackets, runs of `!`, length of paths.
pub(super) fn lexical(text: &str) -> Result<(), Fault> {
    if text.len() > SOURCE_BYTES_MAX {
        let problem = format!(
            "{} bytes of source: the limit is {SOURCE_BYTES_MAX}",
            text.len()
        );
        return Err(Fault::whole(problem));
    }
    let mut depth = 0_usize;
    let mut nots = 0;
    let mut links = 0;
    let mut before = b' ';
    let mut within = Within::Code;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        nots = if byte == b'!' {
            nots + 1
        } else if byte.is_ascii_whitespace() {
            nots
        } else {
            0
        };
        if nots > NOT_RUN_MAX {
            let problem = format!("more than {NOT_RUN_MAX} '!' in a row");
            return Err(Fault::at(text, at, problem));
        }
        // The parser takes time in proportion to the square of a path's length.
        links = match (within, byte) {
            (Within::Code, b'[') if matches!(before, b'(' | b'[' | b'{') => 0,
            (Within::Code, b'.' | b'[') => links + 1,
            (Within::Code, b']' | b'"' | b'_' | b'-' | b'@') => links,
            (Within::Code, _) if !byte.is_ascii_alphanumeric() => 0,
            _ => links,
        };
        if links > PATH_SEGMENTS_MAX {
            let problem = format!("segments of a path: the limit is {PATH_SEGMENTS_MAX}");
            return Err(Fault::at(text, at, problem));
        }
        before = byte;
        match within {
            Within::Code => match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                b'"' => within = Within::Quotes(b'"'),
                b'\'' => within = Within::Quotes(b'\''),
                b'#' => within = Within::Comment,
                _ => {}
            },
            Within::Comment => {
                if byte == b'\n' {
                    within = Within::Code;
                }
            }
            Within::Quotes(_) if escaped => escaped = false,
            Within::Quotes(quote) => {
                escaped = byte == b'\\';
                if byte == quote {
                    within = Within::Code;
                }
            }
        }
        if depth > BRACKET_DEPTH_MAX {
            let problem = format!("brackets nested deeper than {BRACKET_DEPTH_MAX}");
            return Err(Fault::at(text, at, problem));
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Within {
    Code,
    Comment,
    /// Up to this byte, unless a backslash stands before it.
    Quotes(u8),
}

pub(super) fn parse(text: &str) -> Result<vrl::parser::Program, Fault> {
    vrl::parser::parse(text).map_err(|problem| {
        let mut labels = problem.labels();
        labels.truncate(2);
        Fault::labelled(text, &problem.message(), &labels)
    })
}

/// Vets the parsed tree of a program that sees this much.
pub(super) fn tree(
    text: &str,
    program: &vrl::parser::Program,
    sees: Sees<'_>,
) -> Result<(), Fault> {
    let mut walk = Walk {
        text,
        sees,
        at: 0,
        assignments: 0,
        closures: 0,
        regexes: 0,
    };
    for root in &program.0 {
        if let RootExpr::Expr(expr) = root.inner() {
            walk.expr(expr, Depth::default())?;
        }
    }
    match growth::overgrown_at(program) {
        Some(at) => {
            let problem =
                "values made of values grow too large to compile: build them in fewer steps";
            Err(Fault::at(text, at, problem))
        }
        None => Ok(()),
    }
}

#[derive(Clone, Copy, Default)]
struct Depth {
    nodes: usize,
    closures: usize,
    calls: usize,
    ifs: usize,
    /// How far along a chain of operators, or of `else if`.
    chain: usize,
}

impl Depth {
    fn deeper(self) -> Self {
        Self {
            nodes: self.nodes + 1,
            chain: 0,
            ..self
        }
    }
}

struct Walk<'a> {
    text: &'a str,
    sees: Sees<'a>,
    /// Where the expression begins that is being walked.
    at: usize,
    assignments: usize,
    closures: usize,
    regexes: usize,
}

impl Walk<'_> {
    fn limit(&self, count: usize, max: usize, what: &str) -> Result<(), Fault> {
        if count <= max {
            return Ok(());
        }
        self.refuse(format!("{what}: the limit is {max}"))
    }

    fn refuse(&self, problem: impl Into<String>) -> Result<(), Fault> {
        Err(Fault::at(self.text, self.at, problem))
    }

    fn expr(&mut self, node: &Node<Expr>, depth: Depth) -> Result<(), Fault> {
        self.at = node.start();
        self.limit(depth.nodes, AST_DEPTH_MAX, "expressions inside one another")?;
        match node.inner() {
            Expr::Literal(literal) => self.literal(literal.inner()),
            Expr::Container(container) => self.container(container.inner(), depth.deeper()),
            Expr::IfStatement(statement) => self.if_statement(statement.inner(), depth),
            Expr::Op(_) => self.op(node, depth),
            Expr::Assignment(assignment) => self.assignment(assignment.inner(), depth.deeper()),
            Expr::Query(query) => self.query(query.inner(), depth.deeper()),
            Expr::FunctionCall(call) => self.call(call.inner(), depth.deeper()),
            Expr::Unary(unary) => {
                let Unary::Not(not) = unary.inner();
                let (_, inner) = not.inner().clone().take();
                self.expr(&inner, depth.deeper())
            }
            Expr::Abort(abort) => match &abort.inner().message {
                Some(message) => self.expr(message, depth.deeper()),
                None => Ok(()),
            },
            Expr::Return(value) => self.expr(&value.inner().expr, depth.deeper()),
            Expr::Variable(_) | Expr::Break(_) => Ok(()),
        }
    }

    fn literal(&mut self, literal: &Literal) -> Result<(), Fault> {
        match literal {
            Literal::String(template) => {
                let holes = template
                    .0
                    .iter()
                    .filter(|part| matches!(part, StringSegment::Template(..)));
                self.limit(
                    holes.count(),
                    TEMPLATE_PARTS_MAX,
                    "values in one template string",
                )
            }
            Literal::Regex(pattern) => {
                self.regexes += 1;
                self.limit(
                    self.regexes,
                    REGEXES_MAX,
                    "regular expressions in one program",
                )?;
                self.limit(
                    pattern.len(),
                    REGEX_BYTES_MAX,
                    "bytes of one regular expression",
                )?;
                self.limit(
                    places(pattern),
                    REGEX_PLACES_MAX,
                    "places of one regular expression, with what it counts written out",
                )
            }
            _ => Ok(()),
        }
    }

    fn container(&mut self, container: &Container, depth: Depth) -> Result<(), Fault> {
        match container {
            Container::Group(group) => self.expr(&group.inner().0, depth),
            Container::Block(block) => self.block(block.inner(), depth),
            // The items of both are private; a copy of this part of the tree is the way to them.
            Container::Array(array) => array
                .inner()
                .clone()
                .into_iter()
                .try_for_each(|item| self.expr(&item, depth)),
            Container::Object(object) => object
                .inner()
                .clone()
                .into_iter()
                .try_for_each(|(_, item)| self.expr(&item, depth)),
        }
    }

    fn block(&mut self, block: &Block, depth: Depth) -> Result<(), Fault> {
        block.0.iter().try_for_each(|expr| self.expr(expr, depth))
    }

    fn if_statement(&mut self, statement: &IfStatement, depth: Depth) -> Result<(), Fault> {
        self.limit(depth.chain, CHAIN_MAX, "`else if` in a row")?;
        let inner = Depth {
            ifs: depth.ifs + 1,
            ..depth.deeper()
        };
        self.limit(inner.ifs, IF_DEPTH_MAX, "`if` inside `if`")?;
        match statement.predicate.inner() {
            Predicate::One(expr) => self.expr(expr, inner)?,
            Predicate::Many(exprs) => exprs.iter().try_for_each(|expr| self.expr(expr, inner))?,
        }
        self.block(statement.if_node.inner(), inner)?;
        let Some(otherwise) = &statement.else_node else {
            return Ok(());
        };
        match otherwise.inner().0.as_slice() {
            [only] if matches!(only.inner(), Expr::IfStatement(_)) => self.expr(
                only,
                Depth {
                    chain: depth.chain + 1,
                    ..depth
                },
            ),
            _ => self.block(otherwise.inner(), inner),
        }
    }

    fn op(&mut self, node: &Node<Expr>, depth: Depth) -> Result<(), Fault> {
        let Expr::Op(op) = node.inner() else {
            return Ok(());
        };
        let (left, opcode, right) = (&op.inner().0, op.inner().1.inner(), &op.inner().2);
        self.limit(depth.chain, CHAIN_MAX, "operators in one chain")?;
        if *opcode == Opcode::Mul && !(is_numeric(left) && is_numeric(right)) {
            return self.refuse(
                "'*' stands only between numbers, and this cannot be seen here: write \
                 to_float!(x) * 100, since text times a number makes text of any length",
            );
        }
        // A chain leans to one side; `??` may lean to the other. Either way each link counts once.
        let link = Depth {
            chain: depth.chain + 1,
            ..depth
        };
        let turn = |side: &Node<Expr>| {
            if matches!(side.inner(), Expr::Op(_)) {
                link
            } else {
                depth.deeper()
            }
        };
        self.expr(left, turn(left))?;
        self.expr(right, turn(right))
    }

    fn assignment(&mut self, assignment: &Assignment, depth: Depth) -> Result<(), Fault> {
        self.assignments += 1;
        self.limit(self.assignments, ASSIGNMENTS_MAX, "assignments")?;
        match assignment {
            Assignment::Single { target, expr, .. } => {
                self.target(target.inner())?;
                self.expr(expr, depth)
            }
            Assignment::Infallible { ok, err, expr, .. } => {
                self.target(ok.inner())?;
                self.target(err.inner())?;
                self.expr(expr, depth)
            }
        }
    }

    fn target(&mut self, target: &AssignmentTarget) -> Result<(), Fault> {
        match target {
            AssignmentTarget::Noop | AssignmentTarget::Internal(_, None) => Ok(()),
            AssignmentTarget::Internal(_, Some(path)) => self.path(path),
            AssignmentTarget::External(None) => self.external(&OwnedTargetPath::event_root()),
            AssignmentTarget::External(Some(path)) => self.external(path),
            AssignmentTarget::Query(query) => self.query(query, Depth::default()),
        }
    }

    fn query(&mut self, query: &Query, depth: Depth) -> Result<(), Fault> {
        let path = query.path.inner();
        match query.target.inner() {
            QueryTarget::External(prefix) => self.external(&OwnedTargetPath {
                prefix: *prefix,
                path: path.clone(),
            }),
            QueryTarget::Internal(_) => self.path(path),
            QueryTarget::FunctionCall(call) => {
                self.path(path)?;
                self.call(call, depth)
            }
            QueryTarget::Container(container) => {
                self.path(path)?;
                self.container(container, depth)
            }
        }
    }

    fn external(&self, path: &OwnedTargetPath) -> Result<(), Fault> {
        if path.prefix == PathPrefix::Metadata {
            return self.refuse("'%' means nothing here: there is no metadata");
        }
        if let Err(problem) = self.sees.check(&path.path) {
            return self.refuse(problem);
        }
        self.path(&path.path)
    }

    fn path(&self, path: &OwnedValuePath) -> Result<(), Fault> {
        let segments = path.segments.len();
        self.limit(segments, PATH_SEGMENTS_MAX, "segments of a path")?;
        for segment in &path.segments {
            if let OwnedSegment::Index(index) = segment {
                self.limit(index.unsigned_abs(), INDEX_MAX, "an index in a path")?;
            }
        }
        Ok(())
    }

    fn call(&mut self, call: &FunctionCall, depth: Depth) -> Result<(), Fault> {
        let inner = Depth {
            calls: depth.calls + 1,
            ..depth
        };
        self.limit(
            inner.calls,
            CALL_DEPTH_MAX,
            "function calls inside one another",
        )?;
        for argument in &call.arguments {
            self.expr(&argument.inner().expr, inner)?;
        }
        let Some(closure) = &call.closure else {
            return Ok(());
        };
        self.closures += 1;
        self.limit(self.closures, CLOSURES_MAX, "closures")?;
        let inner = Depth {
            closures: inner.closures + 1,
            ..inner
        };
        self.limit(
            inner.closures,
            CLOSURE_DEPTH_MAX,
            "closures inside one another",
        )?;
        self.block(closure.inner().block.inner(), inner)
    }
}

/// Whether an expression can only be a number, judged by its shape alone. Called for both sides of
/// a `*`; the depth of the tree was limited on the way here.
fn is_numeric(node: &Node<Expr>) -> bool {
    match node.inner() {
        Expr::Literal(literal) => {
            matches!(literal.inner(), Literal::Integer(_) | Literal::Float(_))
        }
        Expr::FunctionCall(call) => NUMERIC.contains(&call.inner().ident.inner().as_ref()),
        Expr::Container(container) => match container.inner() {
            Container::Group(group) => is_numeric(&group.inner().0),
            _ => false,
        },
        Expr::Op(op) => match op.inner().1.inner() {
            // Both sides of a division, subtraction or remainder are numbers, or it fails.
            Opcode::Sub | Opcode::Div => true,
            Opcode::Add | Opcode::Mul | Opcode::Err => {
                is_numeric(&op.inner().0) && is_numeric(&op.inner().2)
            }
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests;
