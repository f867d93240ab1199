//! What the scheduler asks for, and tells.

use model::{AttemptId, LaneId, LaneState, Offset, Outcome};

use crate::input::StreamKey;

/// One event for one connection, to be tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Job {
    pub offset: Offset,
    pub bytes: u32,
    /// Which attempt of this job it is: 1 for the first.
    pub attempt: u32,
}

/// The jobs of one attempt: almost always one, never none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobList {
    One(Job),
    Many(Vec<Job>),
}

impl JobList {
    #[must_use]
    pub fn as_slice(&self) -> &[Job] {
        match self {
            Self::One(job) => std::slice::from_ref(job),
            Self::Many(jobs) => jobs,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Always false; it stands beside [`JobList::len`] by custom.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Job> {
        self.as_slice().iter()
    }
}

impl<'a> IntoIterator for &'a JobList {
    type Item = &'a Job;
    type IntoIter = std::slice::Iter<'a, Job>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Something to do, in the order given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Read the offsets of the stream's first records in `[from, to)`, at most `max`, and answer
    /// with [`crate::Input::Fetched`]. A lane has at most one fetch outstanding.
    Fetch {
        lane: LaneId,
        stream: StreamKey,
        from: Offset,
        /// [`Offset::MAX`] where the lane goes on for ever.
        to: Offset,
        max: usize,
    },
    /// Try these jobs in one request, and answer with [`crate::Input::Finished`].
    Start {
        attempt: AttemptId,
        lane: LaneId,
        jobs: JobList,
    },
    /// The job has ended. Rejected and expired ones become dead letters.
    Settled {
        lane: LaneId,
        offset: Offset,
        outcome: Outcome,
        attempts: u32,
    },
    StateChanged {
        lane: LaneId,
        state: LaneState,
    },
    /// A bounded lane has settled everything below its `until`.
    Completed {
        lane: LaneId,
    },
}
