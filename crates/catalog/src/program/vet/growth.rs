//! How large a program's types may grow while it is compiled.
//!
//! The compiler knows every variable's type, member by member: forty lines of `l = [l, l]` make a type
//! of 2^40 members, and take the process' memory before anything runs. This walk bounds the number of
//! members from above, without computing types: a container is as large as its items together, a
//! variable as what was assigned to it. What is assigned under a condition adds to what was there, as
//! the type is then one or the other; so does `x = merge(x, ..)`.

use std::collections::HashMap;

use vrl::parser::ast::{
    Assignment, AssignmentTarget, Block, Container, Expr, FunctionCall, IfStatement, Node, Opcode,
    Predicate, Query, QueryTarget, RootExpr, Unary,
};
use vrl::path::OwnedSegment;

use super::super::functions::carries_members;

/// Members of one type.
const MEMBERS_MAX: usize = 4_096;
/// Members of all variables' types together: about a second of compiling.
const MEMBERS_IN_ALL_MAX: usize = 2 * MEMBERS_MAX;

/// What the compiler copies of the types of `.` in all, as it does for every path that is read: a
/// third of a second of compiling.
const COPIES_MAX: usize = 500_000;

/// The byte at which a program's types grow beyond the limit, if they do.
pub(super) fn overgrown_at(program: &vrl::parser::Program) -> Option<usize> {
    let mut growth = Growth::default();
    for root in &program.0 {
        if let RootExpr::Expr(expr) = root.inner() {
            growth.expr(expr, false);
        }
    }
    growth.overgrown_at
}

/// A variable, or a part of one; `.` is a variable here.
type Place = Vec<String>;

#[derive(Default)]
struct Growth {
    members: HashMap<Place, usize>,
    copies: usize,
    /// Members of `.`, where nothing was assigned since they were counted.
    of_event: Option<usize>,
    overgrown_at: Option<usize>,
}

impl Growth {
    /// Members of the expression's type. `maybe`: it may not be evaluated at all.
    fn expr(&mut self, node: &Node<Expr>, maybe: bool) -> usize {
        if self.overgrown_at.is_some() {
            return 1;
        }
        let members = match node.inner() {
            Expr::Literal(_) | Expr::Break(_) => 1,
            Expr::Variable(ident) => self.read(&[ident.inner().to_string()]),
            Expr::Container(container) => self.container(container.inner(), maybe),
            Expr::IfStatement(statement) => self.if_statement(statement.inner()),
            Expr::Op(op) => {
                let left = self.expr(&op.inner().0, maybe);
                let right = self.expr(&op.inner().2, true);
                match op.inner().1.inner() {
                    Opcode::Err | Opcode::Or | Opcode::And | Opcode::Merge => {
                        left.saturating_add(right)
                    }
                    _ => 1,
                }
            }
            Expr::Assignment(assignment) => {
                let members = self.assignment(assignment.inner(), maybe);
                if self.total() > MEMBERS_IN_ALL_MAX {
                    self.overgrown_at.get_or_insert(node.start());
                }
                members
            }
            Expr::Query(query) => self.query(node, query.inner(), maybe),
            Expr::FunctionCall(call) => self.call(call.inner(), maybe),
            Expr::Unary(unary) => {
                let Unary::Not(not) = unary.inner();
                let (_, inner) = not.inner().clone().take();
                self.expr(&inner, maybe);
                1
            }
            Expr::Abort(abort) => abort
                .inner()
                .message
                .as_ref()
                .map_or(1, |message| self.expr(message, maybe)),
            Expr::Return(value) => self.expr(&value.inner().expr, maybe),
        };
        if members > MEMBERS_MAX && self.overgrown_at.is_none() {
            self.overgrown_at = Some(node.start());
        }
        members
    }

    fn container(&mut self, container: &Container, maybe: bool) -> usize {
        match container {
            Container::Group(group) => self.expr(&group.inner().0, maybe),
            Container::Block(block) => self.block(block.inner(), maybe),
            Container::Array(array) => {
                let items = array.inner().clone().into_iter();
                items.fold(1, |sum: usize, item| {
                    sum.saturating_add(self.expr(&item, maybe))
                })
            }
            Container::Object(object) => {
                let items = object.inner().clone().into_iter();
                items.fold(1, |sum: usize, (_, item)| {
                    sum.saturating_add(self.expr(&item, maybe))
                })
            }
        }
    }

    fn block(&mut self, block: &Block, maybe: bool) -> usize {
        block.0.iter().fold(1, |_, expr| self.expr(expr, maybe))
    }

    fn if_statement(&mut self, statement: &IfStatement) -> usize {
        match statement.predicate.inner() {
            Predicate::One(expr) => {
                self.expr(expr, true);
            }
            Predicate::Many(exprs) => exprs.iter().for_each(|expr| {
                self.expr(expr, true);
            }),
        }
        let members = self.block(statement.if_node.inner(), true);
        let otherwise = statement.else_node.as_ref();
        members.saturating_add(otherwise.map_or(1, |block| self.block(block.inner(), true)))
    }

    fn query(&mut self, node: &Node<Expr>, query: &Query, maybe: bool) -> usize {
        match query.target.inner() {
            QueryTarget::Internal(ident) => {
                self.read(&place(ident.to_string(), &query.path.inner().segments))
            }
            QueryTarget::External(_) => {
                self.copy(node);
                self.read(&place(".".to_owned(), &query.path.inner().segments))
            }
            QueryTarget::FunctionCall(call) => self.call(call, maybe),
            QueryTarget::Container(container) => self.container(container, maybe),
        }
    }

    fn call(&mut self, call: &FunctionCall, maybe: bool) -> usize {
        let arguments = call.arguments.iter();
        let members = arguments.fold(1, |sum: usize, argument| {
            sum.saturating_add(self.expr(&argument.inner().expr, maybe))
        });
        let members = if carries_members(call.ident.inner().as_ref()) {
            members
        } else {
            1
        };
        let Some(closure) = &call.closure else {
            return members;
        };
        // The compiler goes through a closure more than once.
        self.block(closure.inner().block.inner(), true);
        members.saturating_add(self.block(closure.inner().block.inner(), true))
    }

    fn assignment(&mut self, assignment: &Assignment, maybe: bool) -> usize {
        match assignment {
            Assignment::Single { target, expr, .. } => {
                let adds = adds_to(target.inner(), expr);
                let members = self.expr(expr, maybe);
                match adds {
                    Some(added) => {
                        let added = self.expr(&added, maybe);
                        self.assign(target.inner(), added, true);
                    }
                    None => self.assign(target.inner(), members, maybe),
                }
                members
            }
            Assignment::Infallible { ok, err, expr, .. } => {
                let members = self.expr(expr, maybe);
                self.assign(ok.inner(), members.saturating_add(1), maybe);
                self.assign(err.inner(), 1, maybe);
                members
            }
        }
    }

    fn assign(&mut self, target: &AssignmentTarget, members: usize, maybe: bool) {
        let Some(place) = place_of(target) else {
            return;
        };
        if !maybe {
            self.members.retain(|known, _| !known.starts_with(&place));
        }
        self.of_event = None;
        let known = self.members.entry(place).or_insert(0);
        *known = known.saturating_add(members);
    }

    /// To read of `.` the compiler copies what it knows of it.
    fn copy(&mut self, node: &Node<Expr>) {
        let members = self
            .of_event
            .unwrap_or_else(|| self.read(&[".".to_owned()]));
        self.of_event = Some(members);
        self.copies = self.copies.saturating_add(members);
        if self.copies > COPIES_MAX {
            self.overgrown_at.get_or_insert(node.start());
        }
    }

    /// Of all variables.
    fn total(&self) -> usize {
        let members = self.members.values();
        members.fold(0, |sum: usize, members| sum.saturating_add(*members))
    }

    fn read(&self, place: &[String]) -> usize {
        let related = self
            .members
            .iter()
            .filter(|(known, _)| known.starts_with(place) || place.starts_with(known));
        related.fold(1, |sum: usize, (_, members)| sum.saturating_add(*members))
    }
}

/// What `x = merge(x, what)` adds to `x`.
fn adds_to(target: &AssignmentTarget, expr: &Node<Expr>) -> Option<Node<Expr>> {
    let AssignmentTarget::Internal(variable, None) = target else {
        return None;
    };
    let Expr::FunctionCall(call) = expr.inner() else {
        return None;
    };
    let call = call.inner();
    let [first, what, ..] = call.arguments.as_slice() else {
        return None;
    };
    let Expr::Variable(ident) = first.inner().expr.inner() else {
        return None;
    };
    let merges = call.ident.inner().as_ref() as &str == "merge" && ident.inner() == variable;
    merges.then(|| what.inner().expr.clone())
}

fn place_of(target: &AssignmentTarget) -> Option<Place> {
    match target {
        AssignmentTarget::Noop => None,
        AssignmentTarget::Internal(ident, path) => Some(place(
            ident.to_string(),
            path.as_ref().map_or(&[], |path| &path.segments),
        )),
        AssignmentTarget::External(path) => Some(place(
            ".".to_owned(),
            path.as_ref().map_or(&[], |path| &path.path.segments),
        )),
        AssignmentTarget::Query(query) => match query.target.inner() {
            QueryTarget::Internal(ident) => {
                Some(place(ident.to_string(), &query.path.inner().segments))
            }
            QueryTarget::External(_) => Some(place(".".to_owned(), &query.path.inner().segments)),
            QueryTarget::FunctionCall(_) | QueryTarget::Container(_) => None,
        },
    }
}

fn place(root: String, segments: &[OwnedSegment]) -> Place {
    let rest = segments.iter().map(|segment| match segment {
        OwnedSegment::Field(name) => name.to_string(),
        OwnedSegment::Index(index) => format!("[{index}]"),
    });
    std::iter::once(root).chain(rest).collect()
}
