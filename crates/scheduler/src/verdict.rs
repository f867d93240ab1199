//! What follows from a failure: the classification table of the delivery policy, as data.
//!
//! The catalog and the senders name a failure; here alone it is decided what it says of the
//! destination, what of the event, and when the event is tried again.

use model::{Failure, HoldReason, RejectReason};

use crate::breaker::Sample;

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;

/// What one kind of failure leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    /// What the breaker counts. `None`: it says nothing of the destination's health.
    pub(crate) sample: Option<Sample>,
    pub(crate) load: Load,
    /// The event's attempts and its time to expiry run on.
    pub(crate) charged: bool,
    /// It may be this event's own fault: counts for the poison rule.
    pub(crate) own: bool,
    pub(crate) delay: Delay,
    /// After so many charged attempts the event is rejected.
    pub(crate) tries: Option<Tries>,
    /// The lane is held when nothing but this comes back.
    pub(crate) hold: Option<HoldRule>,
}

/// What a failure says of the destination's load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Load {
    Unknown,
    /// Fewer attempts at once.
    Overloaded,
    /// As `Hanging` where it took long: else the connection was cut, which says nothing of the load.
    Lost,
    /// As `Overloaded`; and where nothing has succeeded since the attempt began, one at a time:
    /// each attempt that hangs holds a slot for its whole timeout.
    Hanging,
    /// The lane pauses, by the destination's wish or (`None`) its own schedule.
    Pause {
        retry_after_s: Option<u64>,
    },
    /// As `Overloaded`, and a pause where the destination named one.
    OverloadedPause {
        retry_after_s: Option<u64>,
    },
}

/// When the event is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Delay {
    /// By the exponential schedule.
    BackOff,
    /// As soon as the lane itself may send.
    WithLane,
    /// At random between the two.
    Between { us_min: u64, us_max: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tries {
    pub(crate) max: u16,
    pub(crate) reason: RejectReason,
    /// Only where another event has succeeded since this one first failed: else the destination
    /// is at fault, and the hold rule will say so.
    pub(crate) others_succeed: bool,
}

/// A hold comes after `in_a_row` such failures with no success between, spread over at least
/// `us_min` and, where `us_max` is set, at most that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HoldRule {
    pub(crate) reason: HoldReason,
    pub(crate) in_a_row: u16,
    pub(crate) us_min: u64,
    pub(crate) us_max: Option<u64>,
    /// Count each event once.
    pub(crate) distinct: bool,
}

impl HoldRule {
    const fn after(reason: HoldReason, in_a_row: u16, us_min: u64) -> Self {
        Self {
            reason,
            in_a_row,
            us_min,
            us_max: None,
            distinct: false,
        }
    }
}

impl Verdict {
    /// Retried on the schedule, and counted by the breaker.
    const RETRY: Self = Self {
        sample: Some(Sample::Bad),
        load: Load::Unknown,
        charged: true,
        own: false,
        delay: Delay::BackOff,
        tries: None,
        hold: None,
    };

    /// The lane stops before the event is to blame.
    const STOP: Self = Self {
        charged: false,
        delay: Delay::WithLane,
        ..Self::RETRY
    };

    pub(crate) fn of(failure: Failure) -> Self {
        match failure {
            Failure::RateLimited { retry_after_s } => Self {
                sample: None,
                load: Load::Pause { retry_after_s },
                ..Self::STOP
            },
            Failure::Unavailable { retry_after_s } => Self {
                load: Load::OverloadedPause { retry_after_s },
                ..Self::RETRY
            },
            Failure::ServerError => Self {
                own: true,
                ..Self::RETRY
            },
            Failure::TryAgain => Self {
                own: true,
                load: Load::Overloaded,
                ..Self::RETRY
            },
            Failure::Conflict => Self {
                sample: Some(Sample::Good),
                tries: Some(Tries {
                    max: 3,
                    reason: RejectReason::Conflict,
                    others_succeed: false,
                }),
                ..Self::RETRY
            },
            Failure::Connect => Self::RETRY,
            Failure::ConnectTimeout => Self {
                load: Load::Hanging,
                ..Self::RETRY
            },
            Failure::Indeterminate => Self {
                own: true,
                load: Load::Lost,
                ..Self::RETRY
            },
            Failure::Dns => Self {
                charged: false,
                ..Self::RETRY
            },
            Failure::Ours => Self {
                sample: None,
                charged: false,
                delay: Delay::Between {
                    us_min: SECOND_US / 2,
                    us_max: SECOND_US,
                },
                ..Self::RETRY
            },
            Failure::BatchRefused { .. } => Self {
                sample: Some(Sample::Good),
                ..Self::RETRY
            },
            Failure::Tls
            | Failure::NoSuchHost
            | Failure::Blocked
            | Failure::Unauthorized
            | Failure::Forbidden
            | Failure::NotFound
            | Failure::Gone
            | Failure::Redirect
            | Failure::VersionUnsupported => Self::of_holding(failure),
        }
    }

    /// Those that a person must mend.
    fn of_holding(failure: Failure) -> Self {
        let misdirected = Some(Tries {
            max: 3,
            reason: RejectReason::Refused,
            others_succeed: true,
        });
        let hold = |rule: HoldRule| Self {
            hold: Some(rule),
            ..Self::STOP
        };
        match failure {
            Failure::Unauthorized => hold(HoldRule::after(HoldReason::Auth, 1, 0)),
            Failure::Gone => hold(HoldRule::after(HoldReason::Gone, 1, 0)),
            Failure::Blocked => hold(HoldRule::after(HoldReason::Egress, 1, 0)),
            Failure::Tls => Self {
                delay: Delay::BackOff,
                ..hold(HoldRule::after(HoldReason::Tls, 3, 0))
            },
            Failure::NoSuchHost => Self {
                delay: Delay::BackOff,
                ..hold(HoldRule::after(HoldReason::NoSuchHost, 3, 60 * MINUTE_US))
            },
            Failure::NotFound => Self {
                hold: Some(HoldRule::after(
                    HoldReason::Configuration,
                    3,
                    10 * MINUTE_US,
                )),
                tries: misdirected,
                delay: Delay::Between {
                    us_min: 5 * MINUTE_US,
                    us_max: 7 * MINUTE_US,
                },
                ..Self::RETRY
            },
            Failure::Forbidden => Self {
                sample: None,
                hold: Some(HoldRule {
                    us_max: Some(MINUTE_US),
                    distinct: true,
                    ..HoldRule::after(HoldReason::Auth, 5, 0)
                }),
                tries: Some(Tries {
                    max: 2,
                    reason: RejectReason::Refused,
                    others_succeed: false,
                }),
                delay: Delay::Between {
                    us_min: MINUTE_US / 2,
                    us_max: MINUTE_US,
                },
                ..Self::RETRY
            },
            // Redirects and 505: wrongly configured.
            _ => Self {
                hold: Some(HoldRule::after(HoldReason::Configuration, 3, 0)),
                tries: misdirected,
                ..Self::RETRY
            },
        }
    }
}

/// A hold that may end by itself is probed; the others wait for a person.
pub(crate) fn is_probed(reason: HoldReason) -> bool {
    match reason {
        HoldReason::Auth | HoldReason::Configuration | HoldReason::Tls | HoldReason::NoSuchHost => {
            true
        }
        HoldReason::Gone | HoldReason::Egress | HoldReason::Definition | HoldReason::Operator => {
            false
        }
    }
}
