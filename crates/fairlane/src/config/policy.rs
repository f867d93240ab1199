//! How a connection's events are delivered: the keys that [delivery] and each connection share.

use model::{Ordering, Policy};
use scheduler::LanePolicy;

use super::reader::Section;

impl Section<'_, '_, '_> {
    /// What this section says of delivery.
    pub(super) fn policy(&mut self) -> Policy {
        Policy {
            attempt_timeout_ms: self.duration_if_set("attempt_timeout"),
            batch_events_max: self.count_u32_if_set("batch_events_max"),
            batch_bytes_max: self.bytes_if_set("batch_bytes_max"),
            batch_wait_ms: self.duration_if_set("batch_wait"),
            concurrency_init: self.count_u32_if_set("concurrency_init"),
            concurrency_max: self.count_u32_if_set("concurrency_max"),
            rate_limit_per_s: self.rate_if_set("rate_limit_per_s"),
            retry_expiry_ms: self.duration_if_set("retry_expiry"),
            retry_attempts_min: self.count_u32_if_set("retry_attempts_min"),
            retry_delay_first_ms: self.duration_if_set("retry_delay_first"),
            retry_delay_max_ms: self.duration_if_set("retry_delay_max"),
            retry_percent: self.count_u32_if_set("retry_percent"),
            recent_percent: self.count_u32_if_set("recent_percent"),
            recent_age_ms: self.duration_if_set("recent_age"),
            poison_failures: self.count_u32_if_set("poison_failures"),
            window_jobs_max: self.count_u32_if_set("window_jobs_max"),
            window_bytes_max: self.bytes_if_set("window_bytes_max"),
            breaker_window_ms: self.duration_if_set("breaker_window"),
            probe_delay_max_ms: self.duration_if_set("probe_delay_max"),
            hold_probe_ms: self.duration_if_set("hold_probe"),
            ordering: self.ordering(),
            ordering_key: self.code("ordering_key"),
        }
    }

    fn ordering(&mut self) -> Option<Ordering> {
        let word = self.choice_if_set("ordering")?;
        [Ordering::None, Ordering::Key]
            .into_iter()
            .find(|ordering| ordering.as_str() == word)
    }

    /// Refuses what this section says where it makes no sense together with `others`, which stand
    /// for what it does not say. Where it says nothing of it, the section of the others was refused.
    pub(super) fn check_policy(&mut self, said: &Policy, others: &Policy) {
        let all = said.or(others);
        let default = LanePolicy::default();
        let window = all.window_jobs_max.unwrap_or(default.window_jobs_max);
        let says = said.batch_events_max.is_some() || said.window_jobs_max.is_some();
        self.refuse_if(
            says && all.batch_events_max.is_some_and(|events| events > window),
            one_of(said.batch_events_max.is_some(), "batch_events_max", "window_jobs_max"),
            format!("batch_events_max is more than window_jobs_max ({window}): such a batch would never fill"),
        );
        let window = all.window_bytes_max.unwrap_or(default.window_bytes_max);
        let says = said.batch_bytes_max.is_some() || said.window_bytes_max.is_some();
        self.refuse_if(
            says && all.batch_bytes_max.is_some_and(|bytes| bytes > window),
            one_of(said.batch_bytes_max.is_some(), "batch_bytes_max", "window_bytes_max"),
            format!("batch_bytes_max is more than window_bytes_max ({window}): such a batch would never fill"),
        );
        let first = all
            .retry_delay_first_ms
            .unwrap_or(default.backoff_first_us / 1_000);
        let max = all
            .retry_delay_max_ms
            .unwrap_or(default.backoff_us_max / 1_000);
        let says = said.retry_delay_first_ms.is_some() || said.retry_delay_max_ms.is_some();
        self.refuse_if(
            says && first > max,
            one_of(
                said.retry_delay_first_ms.is_some(),
                "retry_delay_first",
                "retry_delay_max",
            ),
            format!("retry_delay_first ({first} ms) is more than retry_delay_max ({max} ms)"),
        );
        let max = all.concurrency_max.unwrap_or(default.concurrency_max);
        self.refuse_if(
            said.concurrency_init.is_some_and(|init| init > max),
            "concurrency_init",
            format!("more than concurrency_max ({max})"),
        );
        self.refuse_if(
            said.ordering_key.is_some() && all.ordering != Some(Ordering::Key),
            "ordering_key",
            "it says nothing without ordering = \"key\"",
        );
        self.refuse_if(
            all.ordering == Some(Ordering::Key) && said.recent_percent.is_some_and(|part| part > 0),
            "recent_percent",
            "where events of a key go in order none passes a backlog: leave one of the two out",
        );
    }
}

/// The key to point at: one that this section says.
fn one_of(is_first: bool, first: &'static str, second: &'static str) -> &'static str {
    if is_first { first } else { second }
}
