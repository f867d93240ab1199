//! What the scheduler asks for is done, and held against the limits.

use model::{AttemptId, LaneId, MonoMicros, Offset, Outcome};

use super::{Event, Followed, UnderWay, Violation, World, index};
use crate::action::{Action, JobList};
use crate::input::Input;

impl World<'_> {
    pub(super) fn step(&mut self, input: Input) -> Result<(), Violation> {
        if !self.alive {
            return Ok(());
        }
        let mut actions = std::mem::take(&mut self.actions);
        let fetched = match input {
            Input::Fetched { lane, .. } => Some(lane),
            _ => None,
        };
        self.scheduler
            .step(input, MonoMicros(self.now), &mut actions);
        self.report.steps += 1;
        if !std::mem::replace(&mut self.flushing, true) {
            self.schedule(self.scenario.flush_us, Event::Flush);
        }
        for action in actions.drain(..) {
            self.act(action)?;
        }
        self.actions = actions;
        self.check_slots()?;
        // Only a fetch makes a window longer.
        fetched.map_or(Ok(()), |lane| self.check_window(lane))
    }

    fn act(&mut self, action: Action) -> Result<(), Violation> {
        match action {
            Action::Fetch {
                lane,
                from,
                to,
                max,
                ..
            } => {
                let delay = self.rng.between(20, 500);
                let (life, lane) = (self.life, index(lane));
                self.schedule(
                    delay,
                    Event::Fetched {
                        life,
                        lane,
                        from,
                        to,
                        max,
                    },
                );
            }
            Action::Start {
                attempt,
                lane,
                jobs,
            } => self.start(attempt, index(lane), jobs)?,
            Action::Settled {
                lane,
                offset,
                outcome,
                ..
            } => {
                self.settled(index(lane), offset, outcome)?;
            }
            Action::StateChanged { lane, .. } => {
                if let Some(place) = self.lanes.get_mut(index(lane)) {
                    place.report.state_changes += 1;
                }
            }
            Action::Completed { .. } => {
                return Err(self.violation("an unbounded lane completed".to_owned()));
            }
        }
        Ok(())
    }

    fn settled(&mut self, lane: usize, offset: Offset, outcome: Outcome) -> Result<(), Violation> {
        let now = self.now;
        let Some(place) = self.lanes.get_mut(lane) else {
            return Ok(());
        };
        let Some(Followed { stream, .. }) = self.streams.get(place.model.stream) else {
            return Ok(());
        };
        let first = place.checker.settled(stream, offset, outcome);
        let Some(number) = first.map_err(|what| Violation { at_us: now, what })? else {
            return Ok(());
        };
        self.open -= 1;
        let delivered = (outcome == Outcome::Delivered).then(|| stream.arrived_us(number));
        if let Some(arrived_us) = delivered {
            place.report.delays.add(now - arrived_us);
        }
        if let Some(cohort) = self.cohorts.get_mut(place.model.cohort) {
            cohort.ended(now, delivered);
        }
        Ok(())
    }

    fn start(&mut self, attempt: AttemptId, lane: usize, jobs: JobList) -> Result<(), Violation> {
        self.count_attempt();
        let now = self.now;
        if self.bytes_under_way >= self.scenario.options.in_flight_bytes_max {
            return Err(self.violation(format!("{} bytes are under way", self.bytes_under_way)));
        }
        let bytes = jobs.iter().map(|job| u64::from(job.bytes)).sum();
        self.bytes_under_way += bytes;
        let Some(place) = self.lanes.get_mut(lane) else {
            return Ok(());
        };
        let Some(Followed { stream, .. }) = self.streams.get(place.model.stream) else {
            return Ok(());
        };
        for job in &jobs {
            let checked = place.checker.started(stream, *job);
            checked.map_err(|what| Violation { at_us: now, what })?;
        }
        if let Some(rate) = &mut place.rate {
            let checked = rate.take(now);
            checked.map_err(|what| Violation { at_us: now, what })?;
        }
        let tries = u64::try_from(jobs.len()).unwrap_or(u64::MAX);
        place.report.attempts += 1;
        place.report.tries += tries;
        place.in_flight += 1;
        place.report.in_flight_peak = place.report.in_flight_peak.max(place.in_flight);
        let policy = &place.model.policy;
        if place.in_flight > policy.concurrency_max {
            let what = format!("lane {lane} has {} attempts under way", place.in_flight);
            return Err(Violation { at_us: now, what });
        }
        if u32::try_from(jobs.len()).is_ok_and(|jobs| jobs > policy.batch_events_max) {
            let what = format!("lane {lane} sends a batch of {} jobs", jobs.len());
            return Err(Violation { at_us: now, what });
        }
        if let Some(cohort) = self.cohorts.get_mut(place.model.cohort) {
            cohort.report.series.at(now).tries += tries;
        }
        let Some(destination) = self.destinations.get_mut(place.model.destination) else {
            return Ok(());
        };
        let (latency, results) =
            destination.answer(now, jobs.as_slice(), stream.salt(), &mut self.rng);
        let under_way = UnderWay {
            lane,
            jobs,
            bytes,
            began: now,
        };
        if self.under_way.insert(attempt.0, under_way).is_some() {
            return Err(self.violation(format!("attempt {} is there twice", attempt.0)));
        }
        let life = self.life;
        self.schedule(
            latency,
            Event::Finished {
                life,
                attempt,
                results,
            },
        );
        Ok(())
    }

    fn count_attempt(&mut self) {
        let second = usize::try_from(self.now / 1_000_000).unwrap_or(usize::MAX);
        let by_second = &mut self.report.attempts_by_second;
        // Beyond a day nothing is counted by the second: such a run is about its end, not pace.
        if by_second.len() <= second && second < 86_400 {
            by_second.resize(second + 1, 0);
        }
        if let Some(count) = by_second.get_mut(second) {
            *count += 1;
        }
    }

    fn check_slots(&mut self) -> Result<(), Violation> {
        let under_way = self.scheduler.load().attempts_in_flight;
        self.report.in_flight_peak = self.report.in_flight_peak.max(under_way);
        if under_way > self.scenario.options.in_flight_max {
            return Err(self.violation(format!("{under_way} attempts are under way")));
        }
        Ok(())
    }

    fn check_window(&mut self, lane: LaneId) -> Result<(), Violation> {
        let view = self.scheduler.view(lane, MonoMicros(self.now));
        let (Some(view), Some(place)) = (view, self.lanes.get_mut(index(lane))) else {
            return Ok(());
        };
        place.report.window_peak = place.report.window_peak.max(view.window);
        if view.window > place.model.policy.window_jobs_max {
            return Err(self.violation(format!("lane {} holds {} jobs", lane.0, view.window)));
        }
        Ok(())
    }
}
