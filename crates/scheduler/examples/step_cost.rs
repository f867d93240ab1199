//! What a step and a lane cost: run with `cargo run --release -p scheduler --example step_cost`.
//!
//! Prints, for some numbers of lanes: bytes of an idle lane, nanoseconds of a core a step and a job
//! with all lanes busy, and with one lane busy among idle ones; then bytes a job of a full window.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{AttemptId, Failure, JobResult, LaneId, LaneProgress, MonoMicros, Offset};
use scheduler::rng::Rng;
use scheduler::{Action, Fetch, Input, LanePolicy, Options, Results, Scheduler, StreamKey};

/// Counts live bytes, to say what a lane costs.
struct Counting;

static LIVE: AtomicU64 = AtomicU64::new(0);

#[allow(unsafe_code, reason = "a counting allocator has to be one")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(size(layout.size()), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(size(layout.size()), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A scheduler with a log of endless streams, whose attempts all succeed.
struct Bench {
    scheduler: Scheduler,
    ends: Vec<u64>,
    under_way: VecDeque<AttemptId>,
    inputs: VecDeque<Input>,
    actions: Vec<Action>,
    result: JobResult,
    steps: u64,
    settled: u64,
    now: MonoMicros,
}

impl Bench {
    fn new(lanes: u32) -> Self {
        let mut bench = Self {
            scheduler: Scheduler::new(Options::default(), 1),
            ends: vec![0; usize::try_from(lanes).unwrap_or(0)],
            under_way: VecDeque::new(),
            inputs: VecDeque::new(),
            actions: Vec::new(),
            result: JobResult::Delivered,
            steps: 0,
            settled: 0,
            now: MonoMicros(1),
        };
        let policy: Arc<LanePolicy> = Arc::default();
        for lane in 0..lanes {
            bench.step(Input::AddLane {
                lane: LaneId(lane),
                group: lane / 2,
                queue: None,
                stream: StreamKey(lane.into()),
                policy: Arc::clone(&policy),
                progress: LaneProgress::new(LaneId(lane), Offset::ZERO),
                end: Offset(0),
                staggered: false,
                until: None,
            });
        }
        bench
    }

    fn step(&mut self, input: Input) {
        self.steps += 1;
        self.now = self.now.plus(1);
        self.scheduler.step(input, self.now, &mut self.actions);
        for action in self.actions.drain(..) {
            match action {
                Action::Fetch {
                    lane, from, max, ..
                } => {
                    let place = usize::try_from(lane.0).unwrap_or(0);
                    let end = self.ends.get(place).copied().unwrap_or(0);
                    let to = end.min(from.0 + size(max));
                    let offsets = (from.0..to)
                        .map(|offset| Fetch {
                            offset: Offset(offset),
                            bytes: 1_024,
                            key: None,
                        })
                        .collect();
                    let scanned_to = Offset(to);
                    self.inputs.push_back(Input::Fetched {
                        lane,
                        offsets,
                        scanned_to,
                    });
                }
                Action::Start { attempt, .. } => self.under_way.push_back(attempt),
                Action::Settled { .. } => self.settled += 1,
                Action::StateChanged { .. } | Action::Completed { .. } => {}
            }
        }
    }

    fn grow(&mut self, lane: u32, by: u64) {
        let Some(end) = self.ends.get_mut(usize::try_from(lane).unwrap_or(0)) else {
            return;
        };
        *end += by;
        let end = Offset(*end);
        self.step(Input::StreamGrew {
            stream: StreamKey(lane.into()),
            end,
        });
    }

    /// Answers what is asked for, with a thousand attempts under way where there is the work.
    fn run(&mut self, keep: usize) {
        loop {
            if let Some(input) = self.inputs.pop_front() {
                self.step(input);
            } else if self.under_way.len() > keep {
                let Some(attempt) = self.under_way.pop_front() else {
                    return;
                };
                let results = Results::All(self.result);
                self.step(Input::Finished {
                    attempt,
                    latency_us: 1_000,
                    results,
                });
            } else {
                return;
            }
        }
    }
}

/// Time that this thread had a core: what a busy machine's other work does not distort.
fn on_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat
        .split_whitespace()
        .next()
        .and_then(|text| text.parse().ok());
    Duration::from_nanos(nanos.expect("Linux says so"))
}

fn per(elapsed: Duration, count: u64) -> u128 {
    elapsed.as_nanos() / u128::from(count.max(1))
}

fn measure(lanes: u32, events: u32) {
    let before = LIVE.load(Ordering::Relaxed);
    let mut bench = Bench::new(lanes);
    let idle = (LIVE.load(Ordering::Relaxed) - before) / u64::from(lanes);
    let mut rng = Rng::new(2);
    for (name, spread) in [("all lanes", lanes), ("one lane", 1)] {
        let (steps, settled, began) = (bench.steps, bench.settled, on_cpu());
        for event in 0..events {
            let lane = rng.between(0, u64::from(spread) - 1);
            bench.grow(u32::try_from(lane).unwrap_or(0), 1);
            if event % 16 == 0 {
                bench.run(1_000);
            }
        }
        bench.run(0);
        let (steps, settled) = (bench.steps - steps, bench.settled - settled);
        let elapsed = on_cpu() - began;
        println!(
            "{lanes:>7} lanes, {name:>9} busy: {idle} B an idle lane, {} ns a step, {} ns a job \
             ({settled} jobs, {steps} steps)",
            per(elapsed, steps),
            per(elapsed, settled),
        );
    }
}

fn window() {
    let mut bench = Bench::new(1);
    bench.grow(0, 1_000_000);
    bench.run(0);
    let before = LIVE.load(Ordering::Relaxed);
    let mut rng = Rng::new(3);
    bench.grow(0, 1_000_000);
    bench.run(1_000);
    // Many of the jobs fail, so that the window fills with parked and settled ones.
    while let Some(attempt) = bench.under_way.pop_front() {
        let bad = rng.chance(40);
        let failed = JobResult::Failed(Failure::ServerError);
        let results = Results::All(if bad { failed } else { JobResult::Delivered });
        bench.step(Input::Finished {
            attempt,
            latency_us: 1_000,
            results,
        });
        while let Some(input) = bench.inputs.pop_front() {
            bench.step(input);
        }
    }
    let view = bench
        .scheduler
        .view(LaneId(0), bench.now)
        .expect("lane 0 was added");
    let bytes = LIVE.load(Ordering::Relaxed) - before;
    println!(
        "a window of {} jobs, {} of them parked: {} B a job",
        view.window,
        view.retrying,
        bytes / u64::from(view.window.max(1)),
    );
}

fn main() {
    window();
    for lanes in [100, 10_000, 100_000] {
        measure(lanes, 1_000_000);
    }
}
