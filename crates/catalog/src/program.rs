//! Programs: VRL source, vetted, compiled once and shared.
//!
//! ```text
//! source --vet(lexical)--> parse --vet(tree)--> barriers --> compile --> Program --guard--> value
//!          '------------- on a thread with a large stack -----'      steps, time, bytes
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use vrl::compiler::state::{ExternalEnv, TypeInfo};
use vrl::compiler::{CompileConfig, Compiler, TypeState};
use vrl::diagnostic::{DiagnosticList, Label};
use vrl::path::{OwnedTargetPath, OwnedValuePath};
use vrl::value::Kind;
use vrl::value::kind::{Collection, Field};

use crate::definition::settings::{SettingSpec, SettingType};
use crate::error::{Error, line_of};
use crate::limits::COMPILE_STACK_BYTES;
use crate::marks;

mod barrier;
mod compact;
mod functions;
pub(crate) mod guard;
mod guarded;
mod lines;
mod own;
pub(crate) mod scope;
mod search;
mod typed;
mod vet;

pub use guard::thread_time;
pub(crate) use guard::{Stop, run};
use lines::Lines;
pub(crate) use scope::Scope;
use vet::Sees;
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
    /// `.status`, `.headers`, `.body`: whether a rule holds
    Response,
    /// The same: what is the token
    Token,
    /// also `.jobs`: which of a batch failed
    Partial,
    /// `.` is the event, read-only
    Filter,
    /// The same: what tells an event's key
    Key,
    /// `.` is the event
    Transform,
}

impl Role {
    /// The names of what it sees; none where `.` itself is the event, as in filters and transforms.
    fn roots(self) -> &'static [&'static str] {
        match self {
            Self::Filter | Self::Key | Self::Transform => &[],
            Self::Event => &[
                scope::EVENT,
                scope::EVENT_JSON,
                scope::RECORD,
                scope::SETTINGS,
            ],
            Self::Step => &[
                scope::EVENT,
                scope::EVENT_JSON,
                scope::RECORD,
                scope::SETTINGS,
                scope::RESPONSES,
                scope::STATE,
            ],
            Self::Batch => &[scope::ENTRIES, scope::FIRST, scope::GROUP, scope::SETTINGS],
            Self::Response | Self::Token => &[scope::STATUS, scope::HEADERS, scope::BODY],
            Self::Partial => &[scope::STATUS, scope::HEADERS, scope::BODY, scope::JOBS],
        }
    }
}

/// A compiled program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) vrl: vrl::compiler::Program,
    /// Of its text, for errors at run time.
    lines: Lines,
}

/// A program of a definition: its text, and the program once it is first needed.
#[derive(Debug)]
pub(crate) struct Source {
    path: String,
    /// The line of its file on which the text begins; `None` where it is the whole file.
    first_line: Option<usize>,
    /// With marks in place of `{{secret.x}}`.
    text: String,
    role: Role,
    compiled: OnceLock<Result<Arc<Program>, Error>>,
}

impl Source {
    pub(crate) fn new(path: String, first_line: Option<usize>, text: String, role: Role) -> Self {
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

    /// Whether it needs no compiling any more.
    pub(crate) fn is_compiled(&self) -> bool {
        self.compiled.get().is_some()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
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
                .map_err(|fault| Error::Definition {
                    place: self.place(&fault, settings),
                    problem: marks::show(&fault.problem, settings),
                })
        });
        compiled.clone()
    }

    /// `event.vrl:2:7`. A text within another file is indented there as its author likes: of it only
    /// the line is told.
    fn place(&self, fault: &Fault, settings: &[SettingSpec]) -> String {
        let Some(before) = self.first_line.map(|first| first - 1) else {
            let line = self.text.lines().nth(fault.line - 1).unwrap_or_default();
            let left: String = line.chars().take(fault.column - 1).collect();
            // As its author wrote it: a mark is longer than most placeholders.
            let column = marks::show(&left, settings).chars().count() + 1;
            return format!("{}:{}:{column}", self.path, fault.line);
        };
        format!("{}:{}", self.path, before + fault.line)
    }
}

/// Filters and transforms by their text: thousands of connections often share one.
#[derive(Debug, Default)]
pub(crate) struct ProgramCache {
    programs: Mutex<HashMap<Key, Weak<Program>>>,
    /// Those that somebody compiles just now: the others wait, and take what comes of it.
    compiling: Mutex<HashMap<Key, Arc<Mutex<()>>>>,
}

/// What a program is for, and its text.
type Key = (Role, String);

/// Programs of connections that stay compiled as long as this is kept.
#[derive(Debug)]
pub struct Compiled {
    _programs: Vec<Arc<Program>>,
}

impl ProgramCache {
    fn get(&self, role: Role, text: &str) -> Option<Arc<Program>> {
        let key = (role, text.to_owned());
        whole(&self.programs).get(&key).and_then(Weak::upgrade)
    }

    /// Whether these need no compiling.
    pub(crate) fn has_all<'a>(&self, all: impl IntoIterator<Item = (Role, &'a str)>) -> bool {
        let mut all = all.into_iter();
        all.all(|(role, text)| self.get(role, text).is_some())
    }

    /// # Errors
    /// The first that does not compile.
    pub(crate) fn compile_all<'a>(
        &self,
        all: impl IntoIterator<Item = (Role, &'a str)>,
    ) -> Result<Compiled, Error> {
        let programs = all.into_iter().map(|(role, text)| self.program(role, text));
        Ok(Compiled {
            _programs: programs.collect::<Result<_, _>>()?,
        })
    }

    /// # Errors
    /// It does not compile.
    pub(crate) fn program(&self, role: Role, text: &str) -> Result<Arc<Program>, Error> {
        if let Some(program) = self.get(role, text) {
            return Ok(program);
        }
        let key = (role, text.to_owned());
        let turn = Arc::clone(whole(&self.compiling).entry(key.clone()).or_default());
        let _turn = whole(&turn);
        if let Some(program) = self.get(role, text) {
            return Ok(program);
        }
        let compiled = compile(text, role, &[]).map_err(|fault| fault.of(role));
        let compiled = compiled.map(Arc::new);
        if let Ok(program) = &compiled {
            let mut programs = whole(&self.programs);
            programs.retain(|_, program| program.strong_count() > 0);
            programs.insert(key.clone(), Arc::downgrade(program));
        }
        // Only now: who comes in between must find one of the two.
        whole(&self.compiling).remove(&key);
        compiled
    }
}

/// What is in it is whole after any panic: nothing in here is half done.
fn whole<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// What is wrong with a source, and where. Both numbers count from 1.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    line: usize,
    /// In characters.
    column: usize,
    problem: String,
}

/// The longest code that is shown in an error.
const SHOWN_CODE_BYTES_MAX: usize = 60;

impl Fault {
    /// Of a source as a whole.
    fn whole(problem: impl Into<String>) -> Self {
        Self {
            line: 1,
            column: 1,
            problem: problem.into(),
        }
    }

    /// At byte `at` of `text`.
    fn at(text: &str, at: usize, problem: impl Into<String>) -> Self {
        let before = text.get(..at).unwrap_or_default();
        let begun = before.rsplit('\n').next().unwrap_or_default();
        Self {
            line: line_of(text, at),
            column: begun.chars().count() + 1,
            problem: problem.into(),
        }
    }

    /// As VRL tells it: with the code that it is about, and what its labels say besides.
    fn labelled(text: &str, message: &str, labels: &[Label]) -> Self {
        let place = labels.iter().find(|label| label.primary).or(labels.first());
        let mut told = message.to_owned();
        if let Some(code) = place.and_then(|label| shown_code(text, label)) {
            told.push_str(&format!(": `{code}`"));
        }
        for label in labels {
            if !told.contains(&label.message) {
                told.push_str(", ");
                told.push_str(&label.message);
            }
        }
        Self::at(text, place.map_or(0, |label| label.span.start()), told)
    }

    fn of(self, role: Role) -> Error {
        self.named(match role {
            Role::Filter => "filter",
            Role::Transform => "transform",
            Role::Key => "ordering_key",
            _ => "program",
        })
    }

    fn named(self, what: &'static str) -> Error {
        Error::Program {
            what,
            line: self.line,
            column: self.column,
            problem: self.problem,
        }
    }
}

/// What a label spans, where that is short and on one line.
fn shown_code<'a>(text: &'a str, label: &Label) -> Option<&'a str> {
    let code = text.get(label.span.start()..label.span.end())?;
    // Of an assignment VRL spans what stands before its value.
    let code = code.trim().trim_end_matches('=').trim_end();
    let short = (1..=SHOWN_CODE_BYTES_MAX).contains(&code.len());
    (short && !code.contains(['\n', '\r', '`'])).then_some(code)
}

/// Vets and compiles, on a thread of its own: parser and compiler recurse, and an overflow of the
/// stack would take the process with it.
fn compile(text: &str, role: Role, settings: &[SettingSpec]) -> Result<Program, Fault> {
    vet::lexical(text)?;
    on_large_stack(|| {
        let tree = vet::parse(text)?;
        if tree.0.is_empty() {
            return Err(Fault::whole(
                "there is no expression: the value of a program is its last one",
            ));
        }
        let sees = match role.roots() {
            [] => Sees::Root,
            roots => Sees::Named { roots, settings },
        };
        vet::tree(text, &tree, sees)?;
        let state = TypeState {
            local: Default::default(),
            external: environment(role, settings, text),
        };
        let tree = barrier::insert(tree);
        let result = Compiler::compile(functions::compiled(), tree, &state, configuration(role))
            .map_err(|problems| first_problem(text, problems))?;
        let program = result.program;
        check_result(role, &program.final_type_info()).map_err(Fault::whole)?;
        Ok(Program {
            vrl: program,
            lines: Lines::of(text),
        })
    })
}

/// # Errors
/// Whatever it sees, its value is of no use.
fn check_result(role: Role, end: &TypeInfo) -> Result<(), &'static str> {
    let value = end.result.kind();
    let (fits, problem) = match role {
        Role::Filter => (
            value.contains_boolean(),
            "a filter's value must be true or false",
        ),
        Role::Response => (
            value.contains_boolean(),
            "its value must be true or false: whether the rule holds",
        ),
        Role::Token => (
            value.contains_bytes(),
            "its value must be the token, a text",
        ),
        Role::Partial => (
            value.contains_array(),
            "its value must be a list of {\"index\", \"result\"}",
        ),
        Role::Key => (
            !value.is_null(),
            "its value is always null: it tells no event's key",
        ),
        Role::Transform => {
            let event = end.state.external.target_kind();
            let fits = event.contains_object() || event.contains_null();
            (fits, "a transform must leave an object, or null to drop it")
        }
        Role::Event | Role::Step | Role::Batch => (true, ""),
    };
    if fits { Ok(()) } else { Err(problem) }
}

fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, Fault> + Send) -> Result<T, Fault> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("compile".to_owned())
            .stack_size(COMPILE_STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|problem| Fault::whole(format!("no thread to compile on: {problem}")))?;
        thread.join().unwrap_or_else(|_| {
            Err(Fault::whole(
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
        Role::Response | Role::Token | Role::Partial => {
            known.push((scope::STATUS, Kind::integer()));
            known.push((scope::HEADERS, headers()));
            known.push((scope::BODY, Kind::json()));
            if role == Role::Partial {
                known.push((scope::JOBS, Kind::integer()));
            }
        }
    }
    if role.roots().contains(&scope::SETTINGS) {
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
        Role::Filter | Role::Key | Role::Batch | Role::Response | Role::Token | Role::Partial => {
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

/// How VRL calls a function that there is not.
const UNDEFINED_FUNCTION: &str = "call to undefined function";

fn first_problem(text: &str, problems: DiagnosticList) -> Fault {
    let Some(problem) = problems.into_iter().find(|problem| problem.is_problem()) else {
        return Fault::whole("does not compile");
    };
    if problem.message() != UNDEFINED_FUNCTION {
        return Fault::labelled(text, problem.message(), problem.labels());
    }
    // Its next of kin by letters is rarely what was meant: `mod` for `now`.
    let named: Vec<Label> = problem.labels().iter().take(1).cloned().collect();
    let mut fault = Fault::labelled(text, problem.message(), &named);
    fault
        .problem
        .push_str("; docs/reference/destination.md lists the functions that programs may call");
    fault
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests;
