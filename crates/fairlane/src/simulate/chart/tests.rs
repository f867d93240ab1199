//! Charts as text.

use super::*;

#[test]
fn axes_end_at_round_numbers() {
    for (value, top) in [
        (0.0, 1.0),
        (7.0, 8.0),
        (10.2, 12.0),
        (64.0, 80.0),
        (9_999.0, 10_000.0),
    ] {
        assert_eq!(nice_above(value), top, "for {value}");
    }
    assert_eq!(count(1_500.0), "1,500");
    assert_eq!(count(20_000.0), "20k");
    assert_eq!(count(85_000_000.0), "85M");
}

#[test]
fn a_chart_has_each_line_once_and_gaps_where_nothing_was() {
    let line = vec![
        (0, Some(1.0)),
        (1_000_000, None),
        (2_000_000, Some(3.0)),
        (3_000_000, Some(2.0)),
    ];
    let panel = |unit| Panel::new("Panel <1>", unit, vec![line.clone()]);
    let chart = Chart {
        title: "A & B".to_owned(),
        subtitle: String::new(),
        end_us: 3_000_000,
        bands: std::iter::once(0..1_000_000).collect(),
        legend: vec!["lanes".to_owned()],
        rows: vec![vec![panel(Unit::Count), panel(Unit::Time)]],
    };
    let svg = chart.to_svg();
    assert!(svg.contains("A &amp; B") && svg.contains("Panel &lt;1&gt;"));
    let paths: Vec<&str> = svg
        .lines()
        .filter(|line| line.starts_with("<path"))
        .collect();
    assert_eq!(paths.len(), 2);
    for path in paths {
        assert_eq!(
            path.matches('M').count(),
            2,
            "the pen is lifted once: {path}"
        );
        assert_eq!(path.matches('L').count(), 1, "{path}");
    }
    assert_eq!(
        svg.matches("#f3d9d0").count(),
        3,
        "two bands and the legend"
    );
}
