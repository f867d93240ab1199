//! Runs a program under limits of steps, time and memory, and survives its panics.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use vrl::compiler::runtime::{Runtime, Terminate};
use vrl::compiler::{ExpressionError, TimeZone};
use vrl::value::Value;

use super::{Lines, Program, Scope, barrier, own, search};
use crate::alloc::live_bytes;
use crate::error::shorten;
use crate::limits::{DETAIL_BYTES_MAX, LIVE_BYTES_MAX, RUN_TIME_MAX, STEPS_MAX};

/// Why a run gave no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The program said `abort`, with this message; empty where it gave none.
    Aborted { line: usize, message: String },
    /// An error at run time.
    Failed(String),
    /// Over a limit, or a panic.
    Limit(String),
}

/// Not the system's own zone: what a program makes of a time may not depend on where it runs.
static UTC: LazyLock<TimeZone> = LazyLock::new(|| TimeZone::parse("UTC").unwrap_or_default());

/// How often the clock is read: every so many steps. Reading it costs as much as a step does; and a
/// step may be a call that takes a millisecond.
const STEPS_PER_CLOCK: u32 = 32;

/// Runs `program` to its end.
///
pub(crate) fn run(
    program: &Program,
    scope: &mut Scope<'_>,
    runtime: &mut Runtime,
) -> Result<Value, Stop> {
    let mut clock = Clock::start();
    // Without what patterns cache.
    let bytes = || live_bytes().wrapping_sub(search::cached_bytes());
    let bytes_at_start = bytes();
    let mut steps = 0_u32;
    let mut over = None;
    let mut control = || {
        steps += 1;
        if steps > STEPS_MAX {
            over = Some(format!("more than {STEPS_MAX} steps"));
        } else if bytes().wrapping_sub(bytes_at_start) > LIVE_BYTES_MAX {
            over = Some(format!("more than {LIVE_BYTES_MAX} bytes of memory"));
        } else if (search::take_look() || steps.is_multiple_of(STEPS_PER_CLOCK))
            && clock.has_run_out()
        {
            over = Some(format!("longer than {} ms", 2 * RUN_TIME_MAX.as_millis()));
        }
        if over.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.resolve_with_control(scope, &program.vrl, &UTC, &mut control)
    }));
    match outcome {
        Ok(resolved) => {
            runtime.clear();
            resolved.map_err(|terminated| stop(terminated, over, &program.lines))
        }
        Err(_) => {
            // What the panic left in the old one is not worth a look.
            *runtime = Runtime::default();
            Err(Stop::Limit("the program panicked".to_owned()))
        }
    }
}

/// The time of one run.
///
/// Time is not an argument here, against the house's rule: this clock decides nothing about an
/// event but that its program has run away, and a caller cannot lend one to a running program.
struct Clock {
    since: Instant,
    /// What the thread had used of a CPU when the time was over: the second look is at that alone,
    /// as a thread may stand still in the middle of an innocent program, for a CPU quota, a
    /// suspended machine or a busy one. (Not the first: asking for it costs a system call.)
    used: Option<Duration>,
}

#[allow(clippy::disallowed_methods)]
impl Clock {
    fn start() -> Self {
        Self {
            since: Instant::now(),
            used: None,
        }
    }

    fn has_run_out(&mut self) -> bool {
        if self.since.elapsed() <= RUN_TIME_MAX {
            return false;
        }
        let now = thread_time();
        let used = *self.used.get_or_insert(now);
        now.saturating_sub(used) > RUN_TIME_MAX
    }
}

/// What this thread has used of a CPU. Asking for it costs a system call.
#[must_use]
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn stop(terminated: Terminate, over: Option<String>, lines: &Lines) -> Stop {
    match terminated {
        Terminate::Interrupted => {
            let function = own::take_over().map(str::to_owned);
            Stop::Limit(
                over.or(function)
                    .unwrap_or_else(|| "over a limit".to_owned()),
            )
        }
        Terminate::Abort(ExpressionError::Abort { message, span }) => Stop::Aborted {
            line: lines.line(span.start()),
            message: shorten(&message.unwrap_or_default(), DETAIL_BYTES_MAX).to_owned(),
        },
        Terminate::Abort(error) | Terminate::Error(error) => {
            let told = lines.located(&barrier::untraced(&error.to_string()));
            Stop::Failed(shorten(&told, DETAIL_BYTES_MAX).to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
