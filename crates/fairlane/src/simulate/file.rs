//! A scenario file: what it says, checked as a whole, before anything runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use model::Failure;
use scheduler::simulation::{Fault, FaultKind, Model, StreamModel};
use scheduler::{LanePolicy, Options};

use super::build::Queues;
use super::expect::Expect;
use super::keys::{Keys, TIME_US_MAX};
use super::limits;
use crate::config::Problems;
use crate::config::nearest::did_you_mean;
use crate::config::problem::{Finder, Place};
use crate::config::tree;

/// Largest scenario file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Sources, destinations or lanes of one scenario.
pub const THINGS_MAX: u64 = 1_000_000;

/// All that a file says.
#[derive(Clone, Debug)]
pub struct Plan {
    pub title: String,
    pub seed: u64,
    pub duration_us: u64,
    pub settle_us_max: u64,
    pub slot_us: Option<u64>,
    pub options: Options,
    pub queues: Queues,
    pub process: Process,
    pub sources: Vec<SourceSet>,
    pub destinations: Vec<DestinationSet>,
    pub lanes: Vec<LaneSet>,
    pub expects: Vec<Expect>,
}

#[derive(Clone, Debug)]
pub struct Process {
    pub flush_us: u64,
    pub commit_us: u64,
    pub growth_us: u64,
    pub crashes_us: Vec<u64>,
    pub restart_us: u64,
    pub fetch_fails_one_in: Option<u64>,
}

/// Sources of one kind.
#[derive(Clone, Debug)]
pub struct SourceSet {
    pub name: String,
    pub count: u64,
    /// Of all of them together.
    pub events_per_s: f64,
    /// How unevenly they share it: the share of number n is as 1/n to this power.
    pub skew: f64,
    /// What each of them is, apart from its pace.
    pub model: StreamModel,
}

/// Destinations of one kind.
#[derive(Clone, Debug)]
pub struct DestinationSet {
    pub name: String,
    pub count: u64,
    pub model: Model,
    pub faults: Vec<FaultSet>,
}

/// A fault, and which of the destinations have it when.
#[derive(Clone, Debug)]
pub struct FaultSet {
    pub fault: Fault,
    /// So many at any time, each for so long; `None`: all of them, all the time.
    pub rolling: Option<Rolling>,
}

#[derive(Clone, Copy, Debug)]
pub struct Rolling {
    pub at_once: u64,
    pub lasts_us: u64,
}

/// Lanes that the report looks at together.
#[derive(Clone, Debug)]
pub struct LaneSet {
    pub name: String,
    pub sources: usize,
    pub destinations: usize,
    /// Destinations of each source.
    pub per_source: u64,
    pub policy: Arc<LanePolicy>,
}

/// Reads the file and checks it.
///
/// # Errors
/// All that is wrong with it, each with its line.
pub fn load(path: &Path) -> anyhow::Result<Plan> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path)
        .with_context(|| format!("{name} cannot be read"))?
        .len();
    anyhow::ensure!(
        size <= FILE_BYTES_MAX,
        "{name} has {size} bytes, more than {FILE_BYTES_MAX}: it is no scenario"
    );
    let text = std::fs::read_to_string(path).with_context(|| format!("{name} cannot be read"))?;
    Ok(parse(&name, &text)?)
}

/// The same of a text; `name` is how errors call it.
///
/// # Errors
/// All that is wrong with it, each with its line.
pub fn parse(name: &str, text: &str) -> Result<Plan, Problems> {
    let mut found = Finder::plain(name, text);
    let root = tree::parse(text, &mut found);
    let mut keys = Keys::new("a scenario", &root, Place::File(0..0), &mut found);
    let plan = plan(&mut keys);
    keys.end();
    found.finish(plan)
}

fn plan(keys: &mut Keys<'_, '_, '_>) -> Plan {
    let mut plan = Plan {
        title: keys.name("title").to_owned(),
        seed: keys.count("seed", 0, u64::MAX / 2).unwrap_or(1),
        duration_us: keys.time_us("duration", 1).unwrap_or(60_000_000),
        settle_us_max: keys.time_us("settle_max", 1).unwrap_or(48 * 3_600_000_000),
        slot_us: keys.time_us("chart_every", 1_000),
        options: Options::default(),
        queues: Queues::Connection,
        process: Process::default(),
        sources: Vec::new(),
        destinations: Vec::new(),
        lanes: Vec::new(),
        expects: Vec::new(),
    };
    if let Some(table) = keys.table("scheduler") {
        let mut keys = keys.inner("[scheduler]", table);
        plan.queues = keys
            .choice("queues", &Queues::ALL)
            .unwrap_or(Queues::Connection);
        limits::read_options(&mut plan.options, keys);
    }
    if let Some(table) = keys.table("process") {
        let keys = keys.inner("[process]", table);
        plan.process.read(keys, plan.duration_us);
    }
    let policies = limits::read_policies(keys);
    for table in keys.tables("sources") {
        let mut keys = keys.inner("[[sources]]", table);
        let name = keys.name("name").to_owned();
        if plan.sources.iter().any(|known| known.name == name) {
            keys.refuse("name", format!("{name:?} is another source already"));
        }
        let source = SourceSet::read(keys, name, plan.duration_us);
        plan.sources.push(source);
    }
    for table in keys.tables("destinations") {
        let mut keys = keys.inner("[[destinations]]", table);
        let name = keys.name("name").to_owned();
        if plan.destinations.iter().any(|known| known.name == name) {
            keys.refuse("name", format!("{name:?} is another destination already"));
        }
        let destination = DestinationSet::read(keys, name);
        plan.destinations.push(destination);
    }
    for table in keys.tables("lanes") {
        let lanes = LaneSet::read(keys.inner("[[lanes]]", table), &plan, &policies);
        plan.lanes.push(lanes);
    }
    for table in keys.tables("expect") {
        let expect = Expect::read(keys.inner("[[expect]]", table), &plan);
        plan.expects.push(expect);
    }
    for (list, is_empty) in [
        ("sources", plan.sources.is_empty()),
        ("destinations", plan.destinations.is_empty()),
        ("lanes", plan.lanes.is_empty()),
    ] {
        if is_empty {
            keys.refuse(
                list,
                format!("there are no [[{list}]]: nothing would happen"),
            );
        }
    }
    plan
}

impl Default for Process {
    fn default() -> Self {
        Self {
            flush_us: 20_000,
            commit_us: 5_000,
            growth_us: 5_000,
            crashes_us: Vec::new(),
            restart_us: 1_000_000,
            fetch_fails_one_in: None,
        }
    }
}

impl Process {
    fn read(&mut self, mut keys: Keys<'_, '_, '_>, duration_us: u64) {
        keys.set_time_us("progress_every", 1, TIME_US_MAX, &mut self.flush_us);
        keys.set_time_us("commit_takes", 1, TIME_US_MAX, &mut self.commit_us);
        keys.set_time_us("growth_every", 0, TIME_US_MAX, &mut self.growth_us);
        keys.set_time_us("restart_takes", 1, TIME_US_MAX, &mut self.restart_us);
        for (at_us, place) in keys.times_us("crashes_at") {
            if at_us >= duration_us {
                let late = "after the scenario's end: no event would come after this crash";
                keys.problem(&place, late);
            }
            self.crashes_us.push(at_us);
        }
        self.fetch_fails_one_in = keys.count("fetch_fails_one_in", 2, u64::MAX / 2);
        keys.end();
    }
}

impl SourceSet {
    fn read(mut keys: Keys<'_, '_, '_>, name: String, duration_us: u64) -> Self {
        let count = keys.count("count", 1, THINGS_MAX).unwrap_or(1);
        let each = keys.rate("events_per_s");
        let total = keys.rate("events_per_s_in_all");
        if each.is_some() && total.is_some() {
            keys.refuse("events_per_s_in_all", "give this or events_per_s, not both");
        }
        let mut model = StreamModel::steady(0.0);
        keys.set_u32("event_bytes_min", 1, u32::MAX, &mut model.event_bytes_min);
        keys.set_u32("event_bytes_max", 1, u32::MAX, &mut model.event_bytes_max);
        keys.set_u32("keys", 0, u32::MAX, &mut model.keys);
        if model.event_bytes_min > model.event_bytes_max {
            keys.refuse("event_bytes_min", "above event_bytes_max");
        }
        for table in keys.tables("bursts") {
            let mut burst = keys.inner("bursts", table);
            let at_us = burst.time_us("at", 0).unwrap_or(0);
            if at_us >= duration_us {
                burst.refuse(
                    "at",
                    "after the scenario's end: its events would never come",
                );
            }
            let events = burst.count("events", 1, 1_000_000_000).unwrap_or(0);
            burst.end();
            model = model.with_burst(at_us, events);
        }
        let says = ["events_per_s", "events_per_s_in_all", "bursts"];
        if !says.iter().any(|key| keys.has(key)) {
            keys.refuse(
                "events_per_s",
                "no events: give events_per_s, events_per_s_in_all or bursts",
            );
        }
        let source = Self {
            name,
            count,
            events_per_s: total
                .or(each.map(|each| each * float(count)))
                .unwrap_or(0.0),
            skew: keys.weight("skew").unwrap_or(0.0),
            model,
        };
        if source.skew > 3.0 {
            keys.refuse("skew", "skew is above 3: one source would have it all");
        }
        keys.end();
        source
    }
}

impl DestinationSet {
    fn read(mut keys: Keys<'_, '_, '_>, name: String) -> Self {
        let low = keys.time_us("latency_min", 1).unwrap_or(5_000);
        let high = keys.time_us("latency_max", 1).unwrap_or(low.max(20_000));
        if low > high {
            keys.refuse("latency_min", "above latency_max");
        }
        let mut model = Model {
            slow_one_in: keys.count("slow_one_in", 1, u64::MAX / 2),
            slow_us_max: keys.time_us("slow_max", 1).unwrap_or(high),
            capacity_per_s: keys.count("capacity_per_s", 1, 1_000_000_000),
            poison_one_in: keys.count("poison_one_in", 1, u64::MAX / 2),
            refused_one_in: keys.count("refused_one_in", 1, u64::MAX / 2),
            filtered_one_in: keys.count("filtered_one_in", 1, u64::MAX / 2),
            ..Model::healthy(low, high)
        };
        if model.slow_us_max < high {
            keys.refuse("slow_max", "below latency_max");
        }
        if keys.has("slow_one_in") != keys.has("slow_max") {
            let said = if keys.has("slow_max") {
                "slow_max"
            } else {
                "slow_one_in"
            };
            let together =
                "slow_one_in and slow_max go together: one of so many takes up to so long";
            keys.refuse(said, together);
        }
        keys.flag("batch_partial", &mut model.batch_partial);
        let count = keys.count("count", 1, THINGS_MAX).unwrap_or(1);
        let mut faults = Vec::new();
        for table in keys.tables("faults") {
            let keys = keys.inner("[[destinations.faults]]", table);
            faults.extend(FaultSet::read(keys, count));
        }
        let destination = Self {
            name,
            count,
            model,
            faults,
        };
        keys.end();
        destination
    }
}

/// What `failure` may be.
const FAILURES: &[(&str, Failure)] = &[
    ("server_error", Failure::ServerError),
    (
        "unavailable",
        Failure::Unavailable {
            retry_after_s: None,
        },
    ),
    ("connect", Failure::Connect),
    ("connect_timeout", Failure::ConnectTimeout),
    ("indeterminate", Failure::Indeterminate),
    ("dns", Failure::Dns),
    ("tls", Failure::Tls),
    ("unauthorized", Failure::Unauthorized),
    ("batch_refused", Failure::BatchRefused { too_large: false }),
];

impl FaultSet {
    /// `count`: how many destinations there are to have it.
    fn read(mut keys: Keys<'_, '_, '_>, count: u64) -> Option<Self> {
        #[derive(Clone, Copy)]
        enum Kind {
            Failing,
            Hanging,
            RateLimited,
        }
        let kinds = [
            ("failing", Kind::Failing),
            ("hanging", Kind::Hanging),
            ("rate_limited", Kind::RateLimited),
        ];
        keys.name("kind");
        let from_us = keys.time_us("from", 0).unwrap_or(0);
        let until_us = keys.time_us("until", 0).unwrap_or(u64::MAX / 2);
        if from_us >= until_us {
            keys.refuse("until", "until must be after from");
        }
        let retry_after_s =
            |keys: &mut Keys<'_, '_, '_>| keys.count("retry_after_s", 0, u64::MAX / 2);
        let kind = match keys.choice("kind", &kinds) {
            Some(Kind::Failing) => {
                let percent = keys.count("percent", 1, 100).unwrap_or(100);
                let failure = keys
                    .choice("failure", FAILURES)
                    .unwrap_or(Failure::ServerError);
                let failure = match failure {
                    Failure::Unavailable { .. } => {
                        let retry_after_s = retry_after_s(&mut keys);
                        Failure::Unavailable { retry_after_s }
                    }
                    other => other,
                };
                Some(FaultKind::Failing { percent, failure })
            }
            Some(Kind::Hanging) => Some(FaultKind::Hanging {
                timeout_us: keys.time_us("timeout", 1).unwrap_or(30_000_000),
            }),
            Some(Kind::RateLimited) => {
                let per_s = keys.count("per_s", 0, 1_000_000_000).unwrap_or(0);
                let retry_after_s = retry_after_s(&mut keys);
                Some(FaultKind::RateLimited {
                    per_s,
                    retry_after_s,
                })
            }
            None => None,
        };
        let lasts_us = keys.time_us("each_lasts", 1);
        let at_once = keys.count("failing_at_once", 1, THINGS_MAX);
        let rolling = lasts_us
            .zip(at_once)
            .map(|(lasts_us, at_once)| Rolling { at_once, lasts_us });
        if lasts_us.is_some() != at_once.is_some() {
            keys.refuse("each_lasts", "each_lasts and failing_at_once go together");
        }
        if let Some(at_once) = at_once.filter(|at_once| *at_once > count) {
            keys.refuse(
                "failing_at_once",
                format!("{at_once} are more than there are: the destinations' count is {count}"),
            );
        }
        if kind.is_some() {
            keys.end();
        }
        let fault = kind.map(|kind| Fault {
            from_us,
            until_us,
            kind,
        })?;
        Some(Self { fault, rolling })
    }
}

impl LaneSet {
    fn read(
        mut keys: Keys<'_, '_, '_>,
        plan: &Plan,
        policies: &BTreeMap<String, Arc<LanePolicy>>,
    ) -> Self {
        let sources: Vec<&str> = plan.sources.iter().map(|set| set.name.as_str()).collect();
        let destinations: Vec<&str> = plan
            .destinations
            .iter()
            .map(|set| set.name.as_str())
            .collect();
        let (sources, destinations) = (
            find(&mut keys, "sources", &sources),
            find(&mut keys, "destinations", &destinations),
        );
        let policy = keys.text("policy").map(|name| {
            let known: Vec<&str> = policies.keys().map(String::as_str).collect();
            let place =
                find_name(&mut keys, "policy", name, &known).and_then(|place| known.get(place));
            place
                .and_then(|name| policies.get(*name))
                .cloned()
                .unwrap_or_default()
        });
        let lanes = Self {
            name: keys.name("name").to_owned(),
            sources,
            destinations,
            per_source: keys.count("per_source", 1, 1_000).unwrap_or(1),
            policy: policy.unwrap_or_default(),
        };
        let count = plan
            .sources
            .get(sources)
            .map_or(0, |set| set.count * lanes.per_source);
        let source = plan.sources.get(sources);
        if let Some(source) = source.filter(|set| lanes.policy.ordered && set.model.keys == 0) {
            keys.refuse(
                "policy",
                format!(
                    "ordered, but the events of {:?} have no keys to be in order by: give those \
                     [[sources]] keys = 500 or the like",
                    source.name
                ),
            );
        }
        if count > THINGS_MAX {
            keys.refuse(
                "per_source",
                format!("{count} lanes, more than {THINGS_MAX}"),
            );
        }
        keys.end();
        lanes
    }
}

/// The place of a name among the known ones.
pub fn find(keys: &mut Keys<'_, '_, '_>, key: &'static str, known: &[&str]) -> usize {
    let name = keys.name(key);
    if name.is_empty() {
        return 0;
    }
    find_name(keys, key, name, known).unwrap_or(0)
}

fn find_name(
    keys: &mut Keys<'_, '_, '_>,
    key: &'static str,
    name: &str,
    known: &[&str],
) -> Option<usize> {
    let place = known.iter().position(|known| *known == name);
    if place.is_none() {
        let near = did_you_mean(name, known.iter().copied());
        let all = known.join(", ");
        keys.refuse(key, format!("no {key} {name:?}{near} (there are: {all})"));
    }
    place
}

/// A count as a float: exact up to 2^53.
pub fn float(count: u64) -> f64 {
    crate::bench::count(count)
}

#[cfg(test)]
mod tests;
