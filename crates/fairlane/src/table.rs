//! Text tables and human figures for the terminal.

use std::fmt::Write as _;

use model::lane::{LaneState, LaneStatus, latency_quantile_ms};
use model::{FilterReason, UnixMillis};

use crate::serve::rfc3339;

/// Lays rows out in columns: texts to the left, figures to the right.
pub fn layout(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|title| title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let figures: Vec<bool> = (0..header.len())
        .map(|column| is_figures(rows, column))
        .collect();
    let mut text = String::new();
    let titles: Vec<String> = header.iter().map(|title| (*title).to_owned()).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for ((cell, width), figures) in row.iter().zip(&widths).zip(&figures) {
            let width = *width;
            if *figures {
                write!(line, "{cell:>width$}  ").expect("a string takes all");
            } else {
                write!(line, "{cell:<width$}  ").expect("a string takes all");
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Whether a column holds numbers, bounds (`<=2ms`) or dashes alone, and not only dashes.
fn is_figures(rows: &[Vec<String>], column: usize) -> bool {
    let mut cells = rows
        .iter()
        .filter_map(|row| row.get(column))
        .filter(|cell| *cell != "-");
    let is_figure = |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit() || c == '<');
    cells.next().is_some_and(is_figure) && cells.all(is_figure)
}

/// The table of `fairlane lanes`.
pub fn lanes(lanes: &[LaneStatus], now: UnixMillis) -> String {
    let header = [
        "LANE",
        "STATE",
        "SINCE",
        "ACCEPTED",
        "DELIVERED",
        "REJECTED",
        "FILTERED",
        "EXPIRED",
        "PENDING",
        "RETRYING",
        "FLYING",
        "LIMIT",
        "NEXT",
        "OLDEST",
        "P50",
        "P99",
        "LAST ERROR",
    ];
    let rows: Vec<Vec<String>> = lanes
        .iter()
        .map(|lane| {
            vec![
                lane.connection.clone(),
                state(lane.state),
                time(now.0.saturating_sub(lane.state_since.0)),
                lane.accepted.to_string(),
                lane.counts.delivered.to_string(),
                lane.counts.rejected.to_string(),
                lane.counts.filtered_total().to_string(),
                lane.counts.expired.to_string(),
                lane.pending.to_string(),
                lane.retrying.to_string(),
                lane.in_flight.to_string(),
                limit(lane),
                lane.next_attempt_at
                    .map_or_else(|| "-".to_owned(), |at| time(at.0.saturating_sub(now.0))),
                if lane.pending == 0 {
                    "-".to_owned()
                } else {
                    time(lane.backlog_age_ms)
                },
                quantile(&lane.latency_ms_buckets, 0.5),
                quantile(&lane.latency_ms_buckets, 0.99),
                shorten(lane.last_error.as_deref().unwrap_or("-"), 48),
            ]
        })
        .collect();
    layout(&header, &rows)
}

pub fn state(state: LaneState) -> String {
    match state {
        LaneState::Held { reason } => format!("held: {}", reason.as_str()),
        other => other.as_str().to_owned(),
    }
}

/// Requests at once, and a second where that is limited.
fn limit(lane: &LaneStatus) -> String {
    match lane.rate_limit_per_s {
        None => lane.concurrency_limit.to_string(),
        Some(rate) => format!("{}, {rate}/s", lane.concurrency_limit),
    }
}

/// All that is known of one lane, a line for each thing.
pub fn lane(lane: &LaneStatus, now: UnixMillis) -> String {
    let clock = |at: UnixMillis| format!("{} ({})", rfc3339(at), distance(at, now));
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let oldest = lane.oldest_unsettled.map(|offset| {
        let age = seconds(lane.backlog_age_ms);
        format!("offset {}, {age} old", offset.0)
    });
    let filtered = FilterReason::ALL
        .iter()
        .zip(lane.counts.filtered)
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{} {count}", reason.as_str()));
    let filtered: Vec<String> = filtered.collect();
    let attempts = lane.attempts.iter();
    let attempts = attempts.map(|(result, count)| format!("{}: {count}", shorten(result, 40)));
    let lines = [
        ("lane", lane.connection.clone()),
        (
            "from",
            format!(
                "{} to {} ({})",
                lane.source, lane.destination, lane.definition
            ),
        ),
        ("state", state(lane.state)),
        ("cause", shorten(lane.cause.as_deref().unwrap_or("-"), 200)),
        ("since", clock(lane.state_since)),
        ("next attempt", or_dash(lane.next_attempt_at.map(clock))),
        ("concurrency limit", lane.concurrency_limit.to_string()),
        (
            "rate limit",
            or_dash(
                lane.rate_limit_per_s
                    .map(|rate| format!("{rate} requests a second")),
            ),
        ),
        (
            "ordering",
            if lane.ordered { "by key" } else { "none" }.to_owned(),
        ),
        ("attempts in flight", lane.in_flight.to_string()),
        ("retry queue", lane.retrying.to_string()),
        ("oldest unsettled", or_dash(oldest)),
        ("cursor", lane.cursor.0.to_string()),
        ("accepted", lane.accepted.to_string()),
        ("delivered", lane.counts.delivered.to_string()),
        (
            "filtered",
            format!("{} {}", lane.counts.filtered_total(), bracketed(&filtered)),
        ),
        ("rejected", lane.counts.rejected.to_string()),
        ("expired", lane.counts.expired.to_string()),
        ("pending", lane.pending.to_string()),
        (
            "latency",
            format!(
                "p50 {}, p99 {}",
                quantile(&lane.latency_ms_buckets, 0.5),
                quantile(&lane.latency_ms_buckets, 0.99)
            ),
        ),
        ("attempts", attempts.collect::<Vec<_>>().join(", ")),
        (
            "last error",
            shorten(lane.last_error.as_deref().unwrap_or("-"), 200),
        ),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        writeln!(text, "{name:<20}{}", value.trim_end()).expect("a string takes all");
    }
    text
}

fn bracketed(parts: &[String]) -> String {
    if parts.is_empty() {
        return String::new();
    }
    format!("({})", parts.join(", "))
}

fn distance(at: UnixMillis, now: UnixMillis) -> String {
    if at > now {
        format!("in {}", time(at.0 - now.0))
    } else {
        format!("{} ago", time(now.0 - at.0))
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

/// Bytes as a person says them: `12 B`, `4 KiB`, `1.5 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    // In tenths of the unit, so that no fraction is needed.
    let (mut tenths, mut unit) = (bytes * 10 / 1_024, UNITS[0]);
    for next in &UNITS[1..] {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1_024, *next);
    }
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        part => format!("{}.{part} {unit}", tenths / 10),
    }
}

/// The bucket in which a quantile of a lane's latency lies, as `<=8ms`.
pub fn quantile(buckets: &[u64], share: f64) -> String {
    match latency_quantile_ms(buckets, share) {
        None => "-".to_owned(),
        Some(u64::MAX) => ">4h".to_owned(),
        Some(ms) => format!("<={}", time(ms)),
    }
}

/// Milliseconds as a person says them: `8ms`, `1.5s`, `3m`, `2h`.
pub fn time(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m", ms / 60_000),
        _ => format!("{}h", ms / 3_600_000),
    }
}

/// One line of at most `max` characters, without anything that could steer a terminal: what a
/// destination answered must not colour, move or clear what an operator sees.
pub fn shorten(text: &str, max: usize) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(max + 1)
        .collect();
    if clean.chars().count() > max {
        clean
            .chars()
            .take(max.saturating_sub(1))
            .chain(['…'])
            .collect()
    } else {
        clean
    }
}

#[cfg(test)]
mod tests;
