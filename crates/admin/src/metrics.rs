//! What `/metrics` shows: one table of names, from which both the exposition and
//! `docs/reference/metrics.md` are made.
//!
//! Nothing is counted here. A scrape takes one snapshot of the counters that the other parts keep
//! anyway, and writes it out.

mod table;

use std::borrow::Cow;
use std::fmt;

use model::LaneState;
use model::lane::LaneStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::control::MetricsSnapshot;
pub use table::TABLE;

/// The content type of [`expose`]'s text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One metric family.
pub struct Metric {
    /// As registered; a counter is exposed with `_total` behind it.
    pub name: &'static str,
    pub kind: Kind,
    /// Labels, beside those of a lane.
    pub labels: &'static [&'static str],
    pub help: &'static str,
    pub(crate) read: Read,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// How a metric finds its samples in a snapshot.
pub(crate) enum Read {
    /// Once for the whole process.
    Process(fn(&Scrape, &mut Samples<'_>) -> fmt::Result),
    /// Once for every lane that is shown; the labels `connection`, `source` and `destination` are
    /// added.
    Lane(fn(&LaneStatus, &mut Samples<'_>) -> fmt::Result),
}

/// A snapshot, and which of its lanes are shown.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) snapshot: MetricsSnapshot,
    /// Lanes that have had no event yet: there is nothing to show of them.
    pub(crate) lanes_idle: u64,
    /// Lanes that were left out because there are more than the limit.
    pub(crate) lanes_omitted: u64,
}

impl Scrape {
    /// Keeps at most `lanes_max` lanes: those in trouble first, then those that are oldest, so
    /// that the same lanes are shown each time.
    fn new(mut snapshot: MetricsSnapshot, lanes_max: usize) -> Self {
        let all = snapshot.lanes.len();
        snapshot.lanes.retain(|lane| lane.accepted > 0);
        let busy = snapshot.lanes.len();
        if busy > lanes_max {
            snapshot.lanes.sort_unstable_by_key(|lane| {
                (
                    matches!(lane.state, LaneState::Active | LaneState::Disabled),
                    lane.lane,
                )
            });
            snapshot.lanes.truncate(lanes_max);
        }
        let count = |lanes: usize| u64::try_from(lanes).unwrap_or(u64::MAX);
        Self {
            lanes_idle: count(all - busy),
            lanes_omitted: count(busy - snapshot.lanes.len()),
            snapshot,
        }
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in TABLE {
            let family =
                encoder.encode_descriptor(metric.name, metric.help, None, metric.kind.into())?;
            let mut samples = Samples {
                family,
                metric,
                lane: None,
            };
            match metric.read {
                Read::Process(read) => read(self, &mut samples)?,
                Read::Lane(read) => {
                    for lane in &self.snapshot.lanes {
                        samples.lane = Some([&lane.connection, &lane.source, &lane.destination]);
                        read(lane, &mut samples)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Takes the samples of one metric.
pub(crate) struct Samples<'a> {
    family: MetricEncoder<'a>,
    metric: &'static Metric,
    lane: Option<[&'a str; 3]>,
}

const LANE_LABELS: [&str; 3] = ["connection", "source", "destination"];

impl Samples<'_> {
    /// A counter's or gauge's value; `labels` in the order of the table.
    pub(crate) fn number(&mut self, labels: &[&str], value: u64) -> fmt::Result {
        let kind = self.metric.kind;
        self.with(labels, |encoder| match kind {
            Kind::Counter => encoder.encode_counter::<NoLabelSet, u64, u64>(&value, None),
            Kind::Gauge | Kind::Histogram => {
                encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
            }
        })
    }

    /// A gauge that is no whole number.
    pub(crate) fn float(&mut self, labels: &[&str], value: f64) -> fmt::Result {
        self.with(labels, |encoder| encoder.encode_gauge(&value))
    }

    /// A gauge of seconds, from milliseconds.
    pub(crate) fn seconds(&mut self, labels: &[&str], millis: u64) -> fmt::Result {
        self.with(labels, |encoder| {
            encoder.encode_gauge(&in_seconds(millis, 1_000.0))
        })
    }

    /// A histogram of seconds. `counts` has one number for each of `bounds` and one for the rest;
    /// `per_second` says how many of its units make a second. Nothing where nothing was counted.
    pub(crate) fn histogram(
        &mut self,
        bounds: &[u64],
        counts: &[u64],
        sum: u64,
        per_second: f64,
    ) -> fmt::Result {
        let total = counts.iter().sum();
        if total == 0 {
            return Ok(());
        }
        let upper = bounds.iter().map(|bound| in_seconds(*bound, per_second));
        // `f64::MAX` is the encoder's spelling of +Inf.
        let upper = upper.chain(std::iter::once(f64::MAX));
        let buckets: Vec<(f64, u64)> = upper.zip(counts.iter().copied()).collect();
        let sum = in_seconds(sum, per_second);
        self.with(&[], |encoder| {
            encoder.encode_histogram::<NoLabelSet>(sum, total, &buckets, None)
        })
    }

    fn with(
        &mut self,
        values: &[&str],
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        assert_eq!(
            values.len(),
            self.metric.labels.len(),
            "labels of {}",
            self.metric.name
        );
        let lane = self
            .lane
            .iter()
            .flat_map(|lane| LANE_LABELS.into_iter().zip(*lane));
        let own = self
            .metric
            .labels
            .iter()
            .copied()
            .zip(values.iter().copied());
        let labels: Vec<(&str, Cow<'_, str>)> = lane
            .chain(own)
            .map(|(key, value)| (key, escaped(value)))
            .collect();
        if labels.is_empty() {
            return write(&mut self.family);
        }
        let labels = labels.as_slice();
        write(&mut self.family.encode_family(&labels)?)
    }
}

/// prometheus-client writes labels as they are: a quote in one would break the whole scrape.
fn escaped(label: &str) -> Cow<'_, str> {
    if label.contains(['\\', '"', '\n']) {
        let label = label
            .replace('\\', r"\\")
            .replace('"', r#"\""#)
            .replace('\n', r"\n");
        return Cow::Owned(label);
    }
    Cow::Borrowed(label)
}

/// Prometheus counts time in seconds, as floating-point numbers.
fn in_seconds(units: u64, per_second: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 microseconds are 285 years"
    )]
    let units = units as f64;
    units / per_second
}

impl From<Kind> for MetricType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter,
            Kind::Gauge => Self::Gauge,
            Kind::Histogram => Self::Histogram,
        }
    }
}

/// The text of one scrape.
pub(crate) fn expose(snapshot: MetricsSnapshot, lanes_max: usize) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape::new(snapshot, lanes_max)));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes any text");
    text
}

/// The table as a page of the reference.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         <!-- Made from crates/admin/src/metrics/table.rs: `UPDATE_EXPECT=1 cargo test -p admin` \
         writes it anew. -->\n\n\
         `GET /metrics` on the management API, in the OpenMetrics text format that Prometheus \
         reads.\n\
         Metrics of a lane carry `connection`, `source` and `destination`. A lane without any \
         event\n\
         yet is not shown; of more than 10,000 others, those in trouble come first, and\n\
         `fairlane_lanes_omitted` says how many were left out. Where it is said that a\n\
         counter counts since the lane began, or since ever, it goes on over restarts; all others\n\
         begin at 0 when the process starts.\n\n\
         | name | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in TABLE {
        let (kind, suffix) = match metric.kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
        };
        let mut labels: Vec<&str> = match metric.read {
            Read::Process(_) => Vec::new(),
            Read::Lane(_) => vec!["(lane)"],
        };
        labels.extend(metric.labels);
        page.push_str(&format!(
            "| `{}{suffix}` | {kind} | {} | {} |\n",
            metric.name,
            labels.join(", "),
            metric.help
        ));
    }
    page
}

#[cfg(test)]
mod tests;
