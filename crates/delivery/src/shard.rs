//! A shard: one thread that serves a part of the lanes.
//!
//! ```text
//!   commands, the log's growth, timers, finished attempts, commits
//!        |
//!        v
//!   turn: scheduler.step(input) -> actions -> fetch offsets | start attempts | settle
//!        |                                          |               |
//!        |          tasks on this thread <----------+               v
//!        +----------- inbox: Done  <---- send                    ledger -> store
//! ```
//!
//! Nothing here takes a lock but for a token: lanes, connections and caches belong to the thread. A turn is short,
//! so that sockets are never kept waiting by a long backlog.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use catalog::Compiled;
use eventlog::{EventLog, GrowthReceiver};
use model::{ConnectionId, LaneId, MonoMicros, Offset, SourceId};
use scheduler::{Action, Input, Scheduler, StreamKey};
use store::Store;
use tokio::sync::{Notify, mpsc};

use crate::attempt::{Attempt, Done};
use crate::clock::Clock;
use crate::lane::{Lane, LaneSpec, MinuteQueue};
use crate::ledger::{Ledger, Notes, WriterDied};
use crate::options::Options;
use crate::plan::Plan;
use crate::senders::Senders;
use crate::tokens::Tokens;

mod age;
mod command;
mod fetch;
mod lanes;
mod settle;
mod start;
mod status;

pub(crate) use command::{Command, Steer};

/// A turn ends after this long, also where more could be done: sockets come next.
const TURN_US: u64 = 1_000;
/// Lanes of one commit. What is left follows in the next.
const LANES_PER_COMMIT_MAX: usize = 4_096;
/// How often idle connections and transformers are looked for.
const SWEEP_US: u64 = 5_000_000;
/// How long a shutdown waits for the store, at most.
const SAVE_MAX: Duration = Duration::from_secs(10);
/// Streams with this bit are no source's: they are the queue of a connection's dead letters.
const REDELIVERY_BIT: u64 = 1 << 63;

/// What a shard needs to work.
pub(crate) struct Parts {
    pub(crate) options: Arc<Options>,
    pub(crate) log: EventLog,
    pub(crate) store: Store,
    pub(crate) growth: GrowthReceiver,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
    /// The lanes to begin with.
    pub(crate) lanes: Vec<LaneSpec>,
    /// Connections that have dead letters, some of which may be queued.
    pub(crate) queued: Vec<ConnectionId>,
}

pub(crate) struct Shard {
    options: Arc<Options>,
    log: EventLog,
    store: Store,
    senders: Rc<Senders>,
    tokens: Arc<Tokens>,
    growth: GrowthReceiver,
    commands: mpsc::Receiver<Command>,
    clock: Clock,
    scheduler: Scheduler,
    lanes: HashMap<LaneId, Lane>,
    /// The live lane of each connection.
    live: HashMap<ConnectionId, LaneId>,
    /// Connections that have a redelivery lane, or are about to.
    redelivering: HashSet<ConnectionId>,
    /// Attempts that wait for their turn: of lanes whose programs are slow, or not compiled yet. Bounded by
    /// the lanes' slots.
    waiting: HashMap<LaneId, VecDeque<Attempt>>,
    ledger: Ledger,
    minutes: MinuteQueue,
    /// What is to be done in this turn, in order.
    ready: VecDeque<Event>,
    /// What tasks of this thread bring back. Bounded by the attempts, fetches and turns under way.
    inbox: Rc<Inbox>,
    in_flight: usize,
    draining: bool,
    sweep_at: MonoMicros,
    /// Kept between turns for its memory.
    actions: Vec<Action>,
    grown: Vec<(SourceId, Offset)>,
}

/// Something for the shard to do.
pub(crate) enum Event {
    Input(Box<Input>),
    /// An attempt to be planned and sent.
    Start(Attempt, Vec<scheduler::Job>),
    /// An attempt whose events had to be read from disk.
    Read(Attempt),
    Done(Box<Done>),
    AddLane(Box<LaneSpec>),
    /// The connection has no queued dead letters left.
    NothingToRedeliver(ConnectionId),
    /// The connection may have queued dead letters.
    Redeliver(ConnectionId),
    /// The first attempt that waits in this lane may be planned.
    Turn(LaneId),
    /// The lane's programs are compiled, or do not compile.
    Compiled(LaneId, Arc<Plan>, Result<Compiled, String>),
    /// So many of a redelivery's letters wait in the store.
    Unread {
        lane: LaneId,
        letters: u64,
        /// The lane has looked, and what was counted before that counts no more.
        looked: bool,
    },
}

impl Event {
    pub(crate) fn of(input: Input) -> Self {
        Self::Input(Box::new(input))
    }
}

/// Where tasks of this thread leave what they have done.
#[derive(Default)]
pub(crate) struct Inbox {
    events: RefCell<VecDeque<Event>>,
    bell: Notify,
}

impl Inbox {
    pub(crate) fn push(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
        self.bell.notify_one();
    }
}

impl Shard {
    /// The scheduler's options must be valid.
    pub(crate) fn new(parts: Parts, senders: Senders) -> Self {
        let options = parts.options;
        let ledger = Ledger::new(
            parts.store.clone(),
            options.progress_flush_ms.saturating_mul(1_000),
            options.unsaved_bytes_max,
        );
        let mut shard = Self {
            log: parts.log,
            store: parts.store,
            senders: Rc::new(senders),
            tokens: parts.tokens,
            growth: parts.growth,
            commands: parts.commands,
            clock: parts.clock,
            scheduler: Scheduler::new(options.scheduler_of_shard(), parts.seed),
            lanes: HashMap::new(),
            live: HashMap::new(),
            redelivering: HashSet::new(),
            waiting: HashMap::new(),
            ledger,
            minutes: MinuteQueue::default(),
            ready: VecDeque::new(),
            inbox: Rc::default(),
            in_flight: 0,
            draining: false,
            sweep_at: parts.clock.mono().plus(SWEEP_US),
            actions: Vec::new(),
            grown: Vec::new(),
            options,
        };
        for spec in parts.lanes {
            shard.add_lane(spec);
        }
        for connection in parts.queued {
            shard.look_for_queued(connection);
        }
        shard
    }

    /// Serves until it is told to end, or its handles are gone.
    pub(crate) async fn run(mut self) {
        loop {
            match self.wait().await {
                Ok(Flow::Go) => {}
                Ok(Flow::End) => return,
                Err(WriterDied) => return (self.options.on_fatal)("the store's writer died"),
            }
            if !self.ledger.is_full() {
                self.collect();
                self.turn();
            }
            self.flush();
        }
    }

    /// Waits for anything to happen. Where there is more to do already, lets tasks and sockets
    /// have their turn. Where too much is unsaved, waits for the store alone.
    async fn wait(&mut self) -> Result<Flow, WriterDied> {
        let clock = self.clock;
        let full = self.ledger.is_full();
        let busy = !self.ready.is_empty() && !full;
        let idle = !busy && !full;
        let due = if full {
            None
        } else {
            self.scheduler.next_wake()
        };
        let wake = [due, self.ledger.wake_at(), Some(self.sweep_at)];
        let wake = wake.into_iter().flatten().min().unwrap_or(self.sweep_at);
        tokio::select! {
            biased;
            command = self.commands.recv() => match command {
                Some(command) => return Ok(self.command(command).await),
                None => return Ok(Flow::End),
            },
            notes = self.ledger.committed(|| clock.mono()) => {
                let notes = notes?;
                self.durable(notes);
            }
            () = self.inbox.bell.notified(), if idle => {}
            () = self.growth.next(&mut self.grown), if idle => {}
            () = tokio::task::yield_now(), if busy => {}
            () = tokio::time::sleep_until(clock.instant(wake)), if !busy => {}
        }
        Ok(Flow::Go)
    }

    /// Takes in what has happened meanwhile.
    fn collect(&mut self) {
        self.ready.append(&mut self.inbox.events.borrow_mut());
        if self.draining {
            return;
        }
        self.growth.take(&mut self.grown);
        for (stream, end) in self.grown.drain(..) {
            let stream = StreamKey(u64::from(stream.0));
            self.ready
                .push_back(Event::of(Input::StreamGrew { stream, end }));
        }
        let now = self.clock.mono();
        if self.scheduler.next_wake().is_some_and(|wake| wake <= now) {
            self.ready.push_back(Event::of(Input::TimerDue));
        }
        if self.sweep_at <= now {
            self.sweep_at = now.plus(SWEEP_US);
            self.senders.sweep(tokio::time::Instant::now());
            let idle_us = self.options.lane_idle_ms.saturating_mul(1_000);
            for lane in self.lanes.values_mut() {
                if lane.transformer.is_some() && now.since(lane.used_at) > idle_us {
                    lane.transformer = None;
                }
            }
            let untold = self.lanes.values().filter(|lane| lane.told.has_untold());
            for lane in untold.map(|lane| lane.id).collect::<Vec<_>>() {
                self.tell_state(lane);
            }
        }
    }

    /// Does what is ready, for a while.
    fn turn(&mut self) {
        let began = self.clock.mono();
        while let Some(event) = self.ready.pop_front() {
            match event {
                Event::Input(input) => self.step(*input, None),
                Event::Start(attempt, jobs) => self.start(attempt, jobs),
                Event::Read(attempt) => self.plan_read(attempt),
                Event::Done(done) => self.done(*done),
                Event::AddLane(spec) => self.add_lane(*spec),
                Event::NothingToRedeliver(connection) => {
                    self.redelivering.remove(&connection);
                }
                Event::Redeliver(connection) => self.redeliver(connection),
                Event::Turn(lane) => self.take_turn(lane),
                Event::Compiled(lane, plan, compiled) => self.compiled(lane, &plan, compiled),
                Event::Unread {
                    lane,
                    letters,
                    looked,
                } => {
                    let lane = self.lanes.get_mut(&lane);
                    if let Some(lane) = lane.filter(|lane| looked || lane.unread.is_none()) {
                        lane.unread = Some(letters);
                    }
                }
            }
            if self.clock.mono().since(began) > TURN_US || self.ledger.is_full() {
                return;
            }
        }
    }

    /// One step of the scheduler, and all that it asks for. `done` is the attempt that the input
    /// tells of.
    fn step(&mut self, input: Input, done: Option<&Done>) {
        let now = self.clock.mono();
        let mut actions = std::mem::take(&mut self.actions);
        self.scheduler.step(input, now, &mut actions);
        for action in actions.drain(..) {
            match action {
                Action::Fetch {
                    lane,
                    from,
                    to,
                    max,
                    ..
                } => self.fetch(lane, from, to, max),
                Action::Start {
                    attempt,
                    lane,
                    jobs,
                } => self.admit(attempt, lane, jobs),
                Action::Settled {
                    lane,
                    offset,
                    outcome,
                    attempts,
                } => {
                    self.settled(lane, offset, outcome, attempts, done);
                }
                Action::StateChanged { lane, state } => self.state_changed(lane, state),
                Action::Completed { lane } => self.completed(lane),
            }
        }
        self.actions = actions;
        self.ledger.touch(now);
    }

    fn flush(&mut self) {
        let now = self.clock.mono();
        let minutes_due = (!self.draining).then_some(now);
        if self.minutes.has_due(minutes_due) {
            self.ledger.touch(now);
        }
        let (scheduler, lanes, minutes) = (&mut self.scheduler, &mut self.lanes, &mut self.minutes);
        self.ledger.flush(now, |batch| {
            scheduler.take_progress(LANES_PER_COMMIT_MAX, &mut batch.lanes);
            for progress in &mut batch.lanes {
                if let Some(lane) = lanes.get_mut(&progress.lane) {
                    lane.complete_progress(progress);
                    if let Some(figures) = &mut lane.figures {
                        minutes.note(lane.id, &mut figures.minutes, now);
                    }
                }
            }
            let more = minutes.take(minutes_due, |id| {
                // A lane that was removed meanwhile has none.
                let figures = lanes.get_mut(&id).and_then(|lane| lane.figures.as_mut());
                let counts = figures.map(|figures| figures.minutes.take(id));
                batch.minutes.extend(counts.into_iter().flatten());
            });
            more || batch.lanes.len() >= LANES_PER_COMMIT_MAX
        });
    }

    /// A commit is on the disk.
    fn durable(&mut self, notes: Notes) {
        for (lane, cursor) in notes.cursors {
            if let Some(lane) = self.lanes.get_mut(&lane) {
                lane.durable = cursor;
            }
        }
        for connection in notes.redelivered {
            self.redeliver(connection);
        }
    }

    /// Starts nothing new, waits at most `within` for what is under way, and saves everything.
    async fn drain(&mut self, within: Duration) {
        self.draining = true;
        let waiting: Vec<LaneId> = self.waiting.keys().copied().collect();
        waiting
            .into_iter()
            .for_each(|lane| self.abandon_waiting(lane));
        self.step(Input::Drain, None);
        let finished = tokio::time::timeout(within, self.work_until(|shard| shard.in_flight == 0));
        if finished.await.is_err() {
            tracing::warn!(
                in_flight = self.in_flight,
                "attempts were cut off at shutdown"
            );
        }
        let saved = tokio::time::timeout(SAVE_MAX, self.work_until(Self::is_saved));
        if saved.await.is_err() {
            tracing::error!("the last progress was not saved: some deliveries will be repeated");
        }
    }

    fn is_saved(&self) -> bool {
        self.ledger.is_clean() && self.minutes.is_empty()
    }

    /// Takes in what finishes, and saves it, until `done`.
    async fn work_until(&mut self, done: impl Fn(&Self) -> bool) {
        loop {
            self.collect();
            self.turn();
            self.flush();
            if self.ready.is_empty() && done(self) {
                return;
            }
            let clock = self.clock;
            let wake = self.ledger.wake_at().unwrap_or(clock.mono().plus(SWEEP_US));
            let busy = !self.ready.is_empty();
            tokio::select! {
                biased;
                notes = self.ledger.committed(|| clock.mono()) => match notes {
                    Ok(notes) => self.durable(notes),
                    Err(WriterDied) => return (self.options.on_fatal)("the store's writer died"),
                },
                () = self.inbox.bell.notified(), if !busy => {}
                () = tokio::task::yield_now(), if busy => {}
                () = tokio::time::sleep_until(clock.instant(wake)), if !busy => {}
            }
        }
    }
}

/// Whether the shard goes on.
pub(crate) enum Flow {
    Go,
    End,
}
