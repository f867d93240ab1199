//! Programs: VRL source, vetted, compiled once and shared.
//!
//! ```text
//! source --vet(lexical)--> parse --vet(tree)--> barriers --> compile --> Program --guard--> value
//!          '------------- on a thread with a large stack -----'      steps, time, bytes
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use vrl::compiler::state::ExternalEnv;
use vrl::compiler::{CompileConfig, Compiler, TypeState};
use vrl::diagnostic::DiagnosticList;
use vrl::path::{OwnedTargetPath, OwnedValuePath};
use vrl::value::Kind;
use vrl::value::kind::{Collection, Field};

use crate::definition::settings::{SettingSpec, SettingType};
use crate::error::{Error, line_of};
use crate::limits::COMPILE_STACK_BYTES;

mod barrier;
mod functions;
pub(crate) mod guard;
mod guarded;
mod own;
pub(crate) mod scope;
mod typed;
mod vet;

pub(crate) use guard::{Stop, run};
pub(crate) use scope::Scope;
pub use vet::vet;

/// A program's part: what it sees, and what it may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// `.event`, `.event_json`, `.record`, `.settings`
    Event,
    /// also `.responses`, `.state`
    Step,
    /// `.entries`, `.first`, `.group`, `.settings`
    Batch,
    /// `.status`, `.headers`, `.body`
    Response,
    /// also `.jobs`
    Partial,
    /// `.` is the event, read-only
    Filter,
    /// The same: what tells an event's key
    Key,
    /// `.` is the event
    Transform,
}

impl Role {
    /// Whether `.` itself is the event, as in filters and transforms.
    fn sees_root(self) -> bool {
        matches!(self, Self::Filter | Self::Key | Self::Transform)
    }
}

/// A compiled program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) vrl: vrl::compiler::Program,
}

/// A program of a definition: its text, and the program once it is first needed.
#[derive(Debug)]
pub(crate) struct Source {
    path: String,
    /// The line of its file on which the text begins.
    first_line: usize,
    /// With marks in place of `{{secret.x}}`.
    text: String,
    role: Role,
    compiled: OnceLock<Result<Arc<Program>, Error>>,
}

impl Source {
    pub(crate) fn new(path: String, first_line: usize, text: String, role: Role) -> Self {
        Self {
            path,
            first_line,
            text,
            role,
            compiled: OnceLock::new(),
        }
    }

    /// The file's name.
    pub(crate) fn file(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn mentions(&self, word: &str) -> bool {
        self.text.contains(word)
    }

    /// The compiled program; the first call compiles it.
    pub(crate) fn program(&self, settings: &[SettingSpec]) -> Result<Arc<Program>, Error> {
        let compiled = self.compiled.get_or_init(|| {
            compile(&self.text, self.role, settings)
                .map(Arc::new)
                .map_err(|fault| {
                    let line = self.first_line + fault.line - 1;
                    Error::Definition {
                        place: format!("{}:{line}", self.path),
                        problem: fault.problem,
                    }
                })
        });
        compiled.clone()
    }
}

/// Filters and transforms by their text: thousands of connections often share one.
#[derive(Debug, Default)]
pub(crate) struct ProgramCache {
    programs: Mutex<HashMap<(Role, String), Weak<Program>>>,
}

impl ProgramCache {
    /// # Errors
    /// It does not compile.
    pub(crate) fn program(&self, role: Role, text: &str) -> Result<Arc<Program>, Error> {
        let key = (role, text.to_owned());
        if let Some(program) = self.lock().get(&key).and_then(Weak::upgrade) {
            return Ok(program);
        }
        // Not under the lock: compiling takes milliseconds. Two may compile the same text; either
        // will do.
        let program = Arc::new(compile(text, role, &[]).map_err(|fault| fault.of(role))?);
        let mut programs = self.lock();
        programs.retain(|_, program| program.strong_count() > 0);
        programs.insert(key, Arc::downgrade(&program));
        Ok(program)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Role, String), Weak<Program>>> {
        // The map is whole after any panic: nothing in here is half done.
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that a connection's filter compiles.
///
/// # Errors
/// The line, and what is wrong with it.
pub fn check_filter(text: &str) -> Result<(), Error> {
    compile(text, Role::Filter, &[])
        .map(|_| ())
        .map_err(|fault| fault.of(Role::Filter))
}

/// Checks that a connection's transform compiles.
///
/// # Errors
/// The line, and what is wrong with it.
pub fn check_transform(text: &str) -> Result<(), Error> {
    compile(text, Role::Transform, &[])
        .map(|_| ())
        .map_err(|fault| fault.of(Role::Transform))
}

/// Checks that what tells a connection's ordering key compiles.
///
/// # Errors
/// The line, and what is wrong with it.
pub fn check_ordering_key(text: &str) -> Result<(), Error> {
    compile(text, Role::Key, &[])
        .map(|_| ())
        .map_err(|fault| fault.of(Role::Key))
}

/// What is wrong with a source, and on which of its lines.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    line: usize,
    problem: String,
}

impl Fault {
    fn new(line: usize, problem: impl Into<String>) -> Self {
        Self {
            line,
            problem: problem.into(),
        }
    }

    fn of(self, role: Role) -> Error {
        let what = match role {
            Role::Filter => "filter",
            Role::Transform => "transform",
            Role::Key => "ordering_key",
            _ => "program",
        };
        Error::Program {
            what,
            line: self.line,
            problem: self.problem,
        }
    }
}

/// Vets and compiles, on a thread of its own: parser and compiler recurse, and an overflow of the
/// stack would take the process with it.
fn compile(text: &str, role: Role, settings: &[SettingSpec]) -> Result<Program, Fault> {
    vet::lexical(text)?;
    on_large_stack(|| {
        let tree = vet::parse(text)?;
        vet::tree(text, &tree, role.sees_root())?;
        let state = TypeState {
            local: Default::default(),
            external: environment(role, settings, text),
        };
        let tree = barrier::insert(tree);
        let result = Compiler::compile(functions::compiled(), tree, &state, configuration(role))
            .map_err(|problems| first_problem(text, problems))?;
        let program = result.program;
        if role == Role::Filter && !program.final_type_info().result.kind().contains_boolean() {
            return Err(Fault::new(1, "a filter's value must be true or false"));
        }
        Ok(Program { vrl: program })
    })
}

fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, Fault> + Send) -> Result<T, Fault> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("compile".to_owned())
            .stack_size(COMPILE_STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|problem| Fault::new(1, format!("no thread to compile on: {problem}")))?;
        thread.join().unwrap_or_else(|_| {
            Err(Fault::new(
                1,
                "the compiler failed on this program: write it differently",
            ))
        })
    })
}

/// What the compiler knows of a program's input: the more it knows, the less a program must check.
/// What its text does not name is left out: the compiler copies all of it at every turn.
fn environment(role: Role, settings: &[SettingSpec], text: &str) -> ExternalEnv {
    let event = || Kind::object(Collection::json());
    let list = |items: Kind| Kind::array(Collection::from_unknown(items));
    let mut known: Vec<(&str, Kind)> = Vec::new();
    match role {
        Role::Filter | Role::Key | Role::Transform => {
            return ExternalEnv::new_with_kind(event(), Kind::object(Collection::empty()));
        }
        Role::Event => {
            known.push((scope::EVENT, event()));
            known.push((scope::RECORD, record()));
            known.push((scope::EVENT_JSON, Kind::bytes()));
        }
        Role::Step => {
            known.push((scope::EVENT, event()));
            known.push((scope::RECORD, record()));
            known.push((scope::EVENT_JSON, Kind::bytes()));
            known.push((scope::STATE, Kind::json()));
            known.push((scope::RESPONSES, list(response())));
        }
        Role::Batch => {
            known.push((scope::ENTRIES, list(Kind::json())));
            known.push((scope::GROUP, Kind::bytes().or_null()));
            known.push((scope::FIRST, Kind::json()));
        }
        Role::Response | Role::Partial => {
            known.push((scope::STATUS, Kind::integer()));
            known.push((scope::HEADERS, headers()));
            known.push((scope::BODY, Kind::json()));
            if role == Role::Partial {
                known.push((scope::JOBS, Kind::integer()));
            }
        }
    }
    if !matches!(role, Role::Response | Role::Partial) {
        known.push((scope::SETTINGS, setting_kinds(settings, text)));
    }
    known.retain(|(name, _)| text.contains(name));
    let mut root: Collection<Field> = Collection::empty();
    for (name, kind) in known {
        root = root.with_known(name, kind);
    }
    ExternalEnv::new_with_kind(Kind::object(root), Kind::object(Collection::empty()))
}

fn record() -> Kind {
    let fields: Collection<Field> = Collection::empty()
        .with_known("source", Kind::bytes())
        .with_known("connection", Kind::bytes())
        .with_known("lane", Kind::bytes())
        .with_known("offset", Kind::integer());
    Kind::object(fields)
}

fn headers() -> Kind {
    Kind::object(Collection::from_unknown(Kind::bytes()))
}

fn response() -> Kind {
    let fields: Collection<Field> = Collection::empty()
        .with_known("status", Kind::integer())
        .with_known("headers", headers())
        .with_known("body", Kind::json());
    Kind::object(fields)
}

fn setting_kinds(settings: &[SettingSpec], text: &str) -> Kind {
    // Somebody who takes them as a whole may find any of them.
    let whole = text
        .split(".settings")
        .skip(1)
        .any(|behind| !behind.starts_with('.'));
    let named = settings
        .iter()
        .filter(|setting| whole || text.contains(&setting.name));
    let mut fields: Collection<Field> = Collection::empty();
    for setting in named {
        if setting.secret {
            fields = fields.with_known(format!("has_{}", setting.name), Kind::boolean());
            continue;
        }
        let kind = match setting.kind {
            SettingType::String | SettingType::Url => Kind::bytes(),
            SettingType::Number => Kind::integer().or_float(),
            SettingType::Integer => Kind::integer(),
            SettingType::Boolean => Kind::boolean(),
            SettingType::List => Kind::array(Collection::json()),
            SettingType::Map => Kind::object(Collection::json()),
        };
        let always = setting.required || setting.default.is_some();
        let kind = if always { kind } else { kind.or_null() };
        fields = fields.with_known(setting.name.as_str(), kind);
    }
    Kind::object(fields)
}

fn configuration(role: Role) -> CompileConfig {
    let mut config = CompileConfig::default();
    // Warnings are nobody's business at run time.
    config.disable_unused_expression_check();
    let read_only: &[&str] = match role {
        Role::Transform => &[],
        Role::Event | Role::Step => &[
            scope::EVENT_JSON,
            scope::RECORD,
            scope::SETTINGS,
            scope::STATE,
            scope::RESPONSES,
        ],
        Role::Filter | Role::Key | Role::Batch | Role::Response | Role::Partial => {
            config.set_read_only();
            &[]
        }
    };
    for name in read_only {
        let path = OwnedTargetPath::event(OwnedValuePath::single_field(name));
        config.set_read_only_path(path, true);
    }
    config
}

fn first_problem(text: &str, problems: DiagnosticList) -> Fault {
    let Some(problem) = problems.into_iter().find(|problem| problem.is_problem()) else {
        return Fault::new(1, "does not compile");
    };
    let labels = problem.labels();
    let place = labels.iter().find(|label| label.primary).or(labels.first());
    let line = place.map_or(1, |label| line_of(text, label.span.start()));
    let mut told = problem.message().to_owned();
    for label in labels.iter().filter(|label| !label.message.is_empty()) {
        told.push_str(", ");
        told.push_str(&label.message);
    }
    Fault::new(line, told)
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests;
