//! Text tables and human figures for the terminal.

use std::fmt::Write as _;

use model::lane::{LaneState, LaneStatus, latency_quantile_ms};

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
pub fn lanes(lanes: &[LaneStatus]) -> String {
    let header = [
        "LANE",
        "STATE",
        "ACCEPTED",
        "DELIVERED",
        "REJECTED",
        "FILTERED",
        "EXPIRED",
        "PENDING",
        "RETRYING",
        "FLYING",
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
                lane.accepted.to_string(),
                lane.counts.delivered.to_string(),
                lane.counts.rejected.to_string(),
                lane.counts.filtered_total().to_string(),
                lane.counts.expired.to_string(),
                lane.pending.to_string(),
                lane.retrying.to_string(),
                lane.in_flight.to_string(),
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
