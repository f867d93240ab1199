//! The limits that a scenario sets: `[scheduler]` and `[policies.NAME]`. What is wrong is told by
//! the key that was written, with the range that the scheduler takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::limits::LANE_WINDOW_MAX;
use scheduler::{LanePolicy, Options};

use super::keys::{Keys, show_us};
use crate::config::tree;
use crate::config::units::show_bytes;

const SECOND_US: u64 = 1_000_000;
const HOUR_US: u64 = 3_600 * SECOND_US;
const DAY_US: u64 = 24 * HOUR_US;
/// Attempts under way: of a lane, of a queue, of all.
const ATTEMPTS_MAX: u32 = 65_536;

/// What all lanes share.
pub fn read_options(options: &mut Options, mut keys: Keys<'_, '_, '_>) {
    let jobs_max = u32::MAX / 2;
    keys.set_u32("queue_jobs_max", 1, jobs_max, &mut options.queue_jobs_max);
    let queue_in_flight_max = &mut options.queue_in_flight_max;
    keys.set_u32("queue_in_flight_max", 1, ATTEMPTS_MAX, queue_in_flight_max);
    keys.set_u32("in_flight_max", 1, ATTEMPTS_MAX, &mut options.in_flight_max);
    keys.set_u64("in_flight_bytes_max", 1, &mut options.in_flight_bytes_max);
    keys.set_u32("reserved_percent", 0, 90, &mut options.reserved_percent);
    keys.set_u32("group_percent", 1, 100, &mut options.group_percent);
    keys.set_u32("quantum_bytes", 1_024, 64 << 20, &mut options.quantum_bytes);
    keys.set_time_us("stagger_max", 0, HOUR_US, &mut options.stagger_us_max);
    keys.set_time_us("idle_after", 0, HOUR_US, &mut options.idle_after_us);
    keys.set_time_us(
        "refetch_delay",
        1_000,
        HOUR_US,
        &mut options.refetch_delay_us,
    );
    refuse_if_invalid(&mut keys, options.validate());
    keys.end();
}

/// `[policies.NAME]`, each with what differs from the defaults.
pub fn read_policies(keys: &mut Keys<'_, '_, '_>) -> BTreeMap<String, Arc<LanePolicy>> {
    let mut policies = BTreeMap::new();
    let Some((tables, _)) = keys.table("policies") else {
        return policies;
    };
    for entry in &tables.entries {
        let tree::Value::Table(table) = &entry.node.value else {
            keys.problem(&entry.key_place, "write [policies.NAME] above its keys");
            continue;
        };
        let mut policy = LanePolicy::default();
        read_policy(
            &mut policy,
            keys.inner("[policies]", (table, entry.key_place.clone())),
        );
        policies.insert(entry.key.clone(), Arc::new(policy));
    }
    policies
}

fn read_policy(policy: &mut LanePolicy, mut keys: Keys<'_, '_, '_>) {
    let window_max = u32::try_from(LANE_WINDOW_MAX).unwrap_or(u32::MAX);
    keys.set_u32(
        "batch_events_max",
        1,
        window_max,
        &mut policy.batch_events_max,
    );
    keys.set_u64("batch_bytes_max", 1, &mut policy.batch_bytes_max);
    keys.set_time_us("batch_wait", 0, HOUR_US, &mut policy.batch_wait_us);
    keys.set_u32(
        "concurrency_init",
        1,
        ATTEMPTS_MAX,
        &mut policy.concurrency_init,
    );
    keys.set_u32(
        "concurrency_max",
        1,
        ATTEMPTS_MAX,
        &mut policy.concurrency_max,
    );
    policy.rate_limit_per_s = keys.rate_limit("rate_limit_per_s");
    keys.set_time_us("expiry", SECOND_US, 365 * DAY_US, &mut policy.expiry_us);
    keys.set_u32("attempts_min", 1, 1_000, &mut policy.attempts_min);
    keys.set_time_us("backoff_first", 1_000, DAY_US, &mut policy.backoff_first_us);
    keys.set_time_us("backoff_max", 1_000, DAY_US, &mut policy.backoff_us_max);
    keys.set_u32("retry_percent", 1, 99, &mut policy.retry_percent);
    keys.set_u32("recent_percent", 0, 99, &mut policy.recent_percent);
    keys.flag("ordered", &mut policy.ordered);
    keys.set_time_us("recent", SECOND_US, DAY_US, &mut policy.recent_us);
    keys.set_u32("poison_failures", 1, 200, &mut policy.poison_failures);
    keys.set_u32(
        "window_jobs_max",
        1,
        window_max,
        &mut policy.window_jobs_max,
    );
    keys.set_u64("window_bytes_max", 1, &mut policy.window_bytes_max);
    keys.set_time_us(
        "breaker_window",
        SECOND_US,
        HOUR_US,
        &mut policy.breaker_window_us,
    );
    keys.set_time_us("probe_max", SECOND_US, HOUR_US, &mut policy.probe_us_max);
    keys.set_time_us("hold_probe", SECOND_US, DAY_US, &mut policy.hold_probe_us);
    if keys.has("concurrency_init") && policy.concurrency_init > policy.concurrency_max {
        keys.refuse("concurrency_init", "above concurrency_max");
    }
    let (events, jobs) = (
        policy.batch_events_max.into(),
        policy.window_jobs_max.into(),
    );
    let number = |number: u64| number.to_string();
    refuse_if_more(
        &mut keys,
        ("batch_events_max", events),
        ("window_jobs_max", jobs),
        number,
    );
    let (batch, window) = (policy.batch_bytes_max, policy.window_bytes_max);
    refuse_if_more(
        &mut keys,
        ("batch_bytes_max", batch),
        ("window_bytes_max", window),
        show_bytes,
    );
    let (first, most) = (policy.backoff_first_us, policy.backoff_us_max);
    refuse_if_more(
        &mut keys,
        ("backoff_first", first),
        ("backoff_max", most),
        show_us,
    );
    refuse_if_invalid(&mut keys, policy.validate());
    keys.end();
}

/// Refuses one key's value that is more than another's, by the one that was written.
fn refuse_if_more(
    keys: &mut Keys<'_, '_, '_>,
    (what, value): (&'static str, u64),
    (most_of, most): (&'static str, u64),
    show: fn(u64) -> String,
) {
    if value <= most || !keys.are_sound(&[what, most_of]) {
        return;
    }
    let [value, most] = [(what, value), (most_of, most)].map(|(key, number)| {
        let default = if keys.has(key) { "" } else { " by default" };
        format!("{}{default}", show(number))
    });
    if keys.has(what) {
        let message = format!(
            "{what} is {value}, more than {most_of}, which is {most}: lower it, or raise {most_of}"
        );
        keys.refuse(what, message);
    } else {
        let message = format!(
            "{most_of} is {most}, less than {what}, which is {value}: raise it, or lower {what}"
        );
        keys.refuse(most_of, message);
    }
}

/// A limit of the scheduler that is not known here.
fn refuse_if_invalid(keys: &mut Keys<'_, '_, '_>, validated: Result<(), scheduler::Error>) {
    if let (true, Err(error)) = (keys.is_sound(), validated) {
        let place = keys.place.clone();
        keys.problem(&place, error.to_string());
    }
}
