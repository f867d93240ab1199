//! Attacks: the worst programs and the worst events that are known, as a table. Each must end in a
//! refusal before it is compiled, in a stopped or failed run, or harmlessly; with the process alive,
//! and without more memory than a run may take.
//!
//! `source`: the shape of a text overflows the stack of parser or compiler. `compile`: a short text
//! keeps the compiler busy or fills its memory. `data`: an innocent program, a hostile event.
//! `memory` and `time`: a program that runs away.

use vrl::compiler::runtime::Runtime;

use super::{Role, Scope, Stop, compile, run};
use crate::alloc::{live_bytes, peak_bytes, reset_peak};
use crate::json;
use crate::limits::{LIVE_BYTES_MAX, STACK_BYTES_MIN};

mod compiling;
mod data;
mod memory;
mod source;
mod time;

/// What a run may hold at its worst moment. The budget is looked at between two expressions: one may
/// double what is there, and the call around it copy that.
const PEAK_BYTES_MAX: i64 = 6 * LIVE_BYTES_MAX;

struct Attack {
    name: String,
    program: String,
    event: String,
    ends: End,
}

/// How an attack must end.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It is not compiled, and told so in these words.
    Refused(&'static str),
    /// It is compiled, and its run is stopped by a limit.
    Stopped,
    /// Its run fails with an error of its own.
    Failed,
    /// It is compiled, and whatever its run comes to does no harm.
    Harmless,
}

/// A program for an event of no interest.
fn program(name: impl Into<String>, program: impl Into<String>, ends: End) -> Attack {
    event(
        name,
        program,
        "{\"s\":\"x\",\"l\":[1,2,3],\"n\":3,\"o\":{\"a\":1}}",
        ends,
    )
}

fn event(
    name: impl Into<String>,
    program: impl Into<String>,
    event: impl Into<String>,
    ends: End,
) -> Attack {
    Attack {
        name: name.into(),
        program: program.into(),
        event: event.into(),
        ends,
    }
}

fn around(open: &str, inside: &str, close: &str, times: usize) -> String {
    open.repeat(times) + inside + &close.repeat(times)
}

/// On a thread with the least stack that is allowed: what overflows it ends this process.
fn check(attack: &Attack) -> Result<(), String> {
    let compiled = compile(&attack.program, Role::Transform, &[]);
    let program = match (compiled, attack.ends) {
        (Ok(program), _) => program,
        (Err(fault), End::Refused(words)) if fault.problem.contains(words) => return Ok(()),
        (Err(fault), ends) => return Err(format!("refused, not {ends:?}: {}", fault.problem)),
    };
    let mut event = json::parse(attack.event.as_bytes())?;
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES_MIN);
    let thread = thread.spawn(move || {
        let before = live_bytes();
        reset_peak();
        let result = run(
            &program,
            &mut Scope::Root(&mut event),
            &mut Runtime::default(),
        );
        (result, peak_bytes() - before)
    });
    let (result, peak) = thread
        .unwrap()
        .join()
        .map_err(|_| "took its thread with it")?;
    if peak > PEAK_BYTES_MAX {
        return Err(format!("held {peak} bytes"));
    }
    match (attack.ends, result) {
        (End::Stopped, Err(Stop::Limit(_)))
        | (End::Failed, Err(Stop::Failed(_)))
        | (End::Harmless, _) => Ok(()),
        (ends, result) => Err(format!("not {ends:?}: {:.200}", format!("{result:?}"))),
    }
}

fn all_end(attacks: Vec<Attack>) {
    let mut problems = Vec::new();
    for attack in &attacks {
        let begun = std::time::Instant::now();
        if let Err(problem) = check(attack) {
            problems.push(format!("{}: {problem}", attack.name));
        }
        // Not asserted: shown where the test is run with --nocapture.
        println!("{:>6} ms  {}", begun.elapsed().as_millis(), attack.name);
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn sources_that_overflow_a_stack() {
    all_end(source::attacks());
}

#[test]
fn sources_that_keep_the_compiler_busy() {
    all_end(compiling::attacks());
}

#[test]
fn events_that_turn_a_program_against_itself() {
    all_end(data::attacks());
}

#[test]
fn programs_that_take_memory() {
    all_end(memory::attacks());
}

#[test]
fn programs_that_take_time() {
    all_end(time::attacks());
}
