//! What the process's log was told of a lane's state: each change once. Of a lane that changes its
//! state all the time it is told a line a second, with the number of changes that were left out.

use model::{LaneState, MonoMicros};

/// Changes that come faster are counted, not told.
const LINE_US: u64 = 1_000_000;

pub(crate) struct Told {
    state: LaneState,
    at: Option<MonoMicros>,
    /// Changes since that were not told.
    untold: u32,
}

impl Told {
    /// A lane that is in this state already.
    pub(crate) const fn new(state: LaneState) -> Self {
        Self {
            state,
            at: None,
            untold: 0,
        }
    }

    /// The lane's state has become `state`. If that is to be told now: the state that was told
    /// last, and how many changes were left out since. A lane that stops is told at once.
    pub(crate) fn changed(
        &mut self,
        state: LaneState,
        now: MonoMicros,
    ) -> Option<(LaneState, u32)> {
        let soon = self.at.is_some_and(|at| now.since(at) < LINE_US);
        let stops = matches!(state, LaneState::Held { .. } | LaneState::Open);
        if soon && !stops {
            self.untold += 1;
            return None;
        }
        self.tell(state, now)
    }

    /// As [`Told::changed`], for a change that may have been left out.
    pub(crate) fn overdue(
        &mut self,
        state: LaneState,
        now: MonoMicros,
    ) -> Option<(LaneState, u32)> {
        let soon = self.at.is_some_and(|at| now.since(at) < LINE_US);
        if soon {
            return None;
        }
        self.tell(state, now)
    }

    pub(crate) const fn has_untold(&self) -> bool {
        self.untold > 0
    }

    fn tell(&mut self, state: LaneState, now: MonoMicros) -> Option<(LaneState, u32)> {
        if state == self.state {
            return None;
        }
        let before = std::mem::replace(&mut self.state, state);
        self.at = Some(now);
        Some((before, std::mem::take(&mut self.untold)))
    }
}

#[cfg(test)]
mod tests;
