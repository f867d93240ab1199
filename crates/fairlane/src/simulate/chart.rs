//! A chart as SVG: panels of lines over one axis of time, drawn by hand.

use std::fmt::Write as _;
use std::ops::Range;

use super::figures::{grouped, time};
use super::file::float;

/// A whole chart.
pub struct Chart {
    pub title: String,
    pub subtitle: String,
    /// The axis of time ends here.
    pub end_us: u64,
    /// When something is wrong: shaded.
    pub bands: Vec<Range<u64>>,
    /// What the lines of every panel are, in their order.
    pub legend: Vec<String>,
    /// Panels by row; each row has as many.
    pub rows: Vec<Vec<Panel>>,
}

pub struct Panel {
    pub title: String,
    pub unit: Unit,
    pub lines: Vec<Line>,
    /// The axis reaches at least so high: panels that are compared have the same.
    pub top: f64,
}

/// Points by time; a gap where there is nothing to say.
pub type Line = Vec<(u64, Option<f64>)>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Of a linear axis from 0 on.
    Count,
    /// Microseconds on a logarithmic axis.
    Time,
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 18.0;
const HEAD: f64 = 84.0;
const PANEL: f64 = 150.0;
/// Between two rows: a title above, times below.
const GAP: f64 = 62.0;
const SMALL_US: f64 = 1_000.0;
/// Told apart by those who see fewer colours, too (Okabe and Ito).
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];

impl Panel {
    pub fn new(title: impl Into<String>, unit: Unit, lines: Vec<Line>) -> Self {
        let values = lines.iter().flatten().filter_map(|(_, value)| *value);
        let top = values.fold(0.0, f64::max);
        Self {
            title: title.into(),
            unit,
            lines,
            top,
        }
    }
}

impl Chart {
    pub fn to_svg(&self) -> String {
        let height = HEAD + float(u64::try_from(self.rows.len()).unwrap_or(1)) * (PANEL + GAP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#222\">\n\
             <title>{title}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"26\" font-size=\"18\" font-weight=\"600\">{title}</text>\n\
             <text x=\"{LEFT}\" y=\"46\" fill=\"#555\">{}</text>\n",
            escape(&self.subtitle),
            title = escape(&self.title),
        );
        self.draw_legend(&mut svg);
        let mut y = HEAD + 24.0;
        for row in &self.rows {
            let columns = float(u64::try_from(row.len().max(1)).unwrap_or(1));
            let each = (WIDTH - LEFT - RIGHT + LEFT) / columns;
            let mut x = LEFT;
            for panel in row {
                let frame = Frame {
                    x,
                    y,
                    width: each - LEFT,
                    end_us: self.end_us.max(1),
                    top: panel.axis_top(),
                    unit: panel.unit,
                };
                frame.draw(panel, &self.bands, &mut svg);
                x += each;
            }
            y += PANEL + GAP;
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_legend(&self, svg: &mut String) {
        let mut x = LEFT;
        for (name, colour) in self.legend.iter().zip(COLOURS.iter().cycle()) {
            let text = escape(name);
            let letters = float(u64::try_from(name.chars().count()).unwrap_or(0));
            add(
                svg,
                &format!(
                    "<rect x=\"{x:.0}\" y=\"62\" width=\"16\" height=\"4\" fill=\"{colour}\"/>\
                 <text x=\"{:.0}\" y=\"68\">{text}</text>\n",
                    x + 22.0,
                ),
            );
            x += 46.0 + letters * 7.0;
        }
        if !self.bands.is_empty() {
            add(
                svg,
                &format!(
                    "<rect x=\"{x:.0}\" y=\"58\" width=\"16\" height=\"12\" fill=\"#f3d9d0\"/>\
                 <text x=\"{:.0}\" y=\"68\">a destination is at fault</text>\n",
                    x + 22.0,
                ),
            );
        }
    }
}

impl Panel {
    fn axis_top(&self) -> f64 {
        match self.unit {
            Unit::Count => nice_above(self.top),
            Unit::Time => self.top.max(SMALL_US * 10.0) * 1.5,
        }
    }
}

/// Where a panel is and what its axes mean.
struct Frame {
    x: f64,
    y: f64,
    width: f64,
    end_us: u64,
    top: f64,
    unit: Unit,
}

impl Frame {
    fn draw(&self, panel: &Panel, bands: &[Range<u64>], svg: &mut String) {
        let Self { x, y, width, .. } = *self;
        let bottom = y + PANEL;
        for band in bands {
            let (from, to) = (self.at(band.start), self.at(band.end.min(self.end_us)));
            add(
                svg,
                &format!(
                    "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{PANEL}\" fill=\"#f3d9d0\"/>\n",
                    (to - from).max(1.0),
                ),
            );
        }
        add(
            svg,
            &format!(
                "<text x=\"{x:.1}\" y=\"{:.1}\" font-weight=\"600\">{}</text>\n",
                y - 8.0,
                escape(&panel.title),
            ),
        );
        for (value, label) in self.marks() {
            let at = self.height_of(value);
            add(
                svg,
                &format!(
                    "<line x1=\"{x:.1}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{label}</text>\n",
                    x + width,
                    x - 6.0,
                    at + 4.0,
                ),
            );
        }
        for us in self.times() {
            let at = self.at(us);
            add(
                svg,
                &format!(
                    "<line x1=\"{at:.1}\" y1=\"{bottom:.1}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#555\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{}</text>\n",
                    bottom + 4.0,
                    bottom + 17.0,
                    if us == 0 { "0".to_owned() } else { time(us) },
                ),
            );
        }
        add(
            svg,
            &format!(
                "<line x1=\"{x:.1}\" y1=\"{bottom:.1}\" x2=\"{:.1}\" y2=\"{bottom:.1}\" stroke=\"#555\"/>\n",
                x + width,
            ),
        );
        for (line, colour) in panel.lines.iter().zip(COLOURS.iter().cycle()) {
            self.draw_line(line, colour, svg);
        }
    }

    fn draw_line(&self, line: &Line, colour: &str, svg: &mut String) {
        let mut path = String::new();
        let mut pen_down = false;
        for (us, value) in line.iter().filter(|(us, _)| *us <= self.end_us) {
            if let Some(value) = value {
                let letter = if pen_down { 'L' } else { 'M' };
                add(
                    &mut path,
                    &format!("{letter}{:.1} {:.1}", self.at(*us), self.height_of(*value)),
                );
            }
            pen_down = value.is_some();
        }
        add(
            svg,
            &format!(
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" \
             stroke-linejoin=\"round\" stroke-linecap=\"round\"/>\n",
            ),
        );
    }

    fn at(&self, us: u64) -> f64 {
        self.x + self.width * float(us) / float(self.end_us)
    }

    fn height_of(&self, value: f64) -> f64 {
        let share = match self.unit {
            Unit::Count => value / self.top,
            Unit::Time => (value.max(SMALL_US) / SMALL_US).ln() / (self.top / SMALL_US).ln(),
        };
        self.y + PANEL * (1.0 - share.clamp(0.0, 1.0))
    }

    fn marks(&self) -> Vec<(f64, String)> {
        match self.unit {
            Unit::Count => (0..=4)
                .map(f64::from)
                .map(|quarter| {
                    let value = self.top * quarter / 4.0;
                    (value, count(value))
                })
                .collect(),
            Unit::Time => MARKS
                .iter()
                .filter(|us| float(**us) <= self.top)
                .map(|us| (float(*us), time(*us)))
                .collect(),
        }
    }

    /// Round times, at most one for each 80 points of width.
    fn times(&self) -> Vec<u64> {
        let seconds = self.end_us / 1_000_000;
        let room = if self.width > 500.0 { 10 } else { 5 };
        let steps = [
            1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 21_600,
            43_200,
        ];
        let step = steps
            .into_iter()
            .find(|step| seconds / step <= room)
            .unwrap_or(86_400);
        (0..=seconds / step)
            .map(|place| place * step * 1_000_000)
            .collect()
    }
}

/// Where a logarithmic axis of time has its lines.
const MARKS: [u64; 8] = [
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
];

/// 1, 2 or 5 times a power of ten, at least `value`.
fn nice_above(value: f64) -> f64 {
    let mut unit = 1.0;
    while unit * 10.0 < value {
        unit *= 10.0;
    }
    let factors = [1.0, 1.2, 1.6, 2.0, 4.0, 6.0, 8.0, 10.0];
    let factor = factors.into_iter().find(|factor| unit * factor >= value);
    unit * factor.unwrap_or(10.0)
}

/// `1,500`, `20k`, `85M`.
fn count(value: f64) -> String {
    match value {
        10_000_000.0.. => format!("{}M", value / 1e6),
        1_000_000.0.. => format!("{:.1}M", value / 1e6),
        10_000.0.. => format!("{}k", value / 1e3),
        1_000.0.. => {
            // One microsecond stands for one: that is how a float becomes a whole number.
            let whole = std::time::Duration::from_secs_f64(value / 1e6).as_micros();
            grouped(u64::try_from(whole).unwrap_or(u64::MAX))
        }
        _ => format!("{value}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn add(text: &mut String, more: &str) {
    text.write_str(more).expect("a string takes all");
}

#[cfg(test)]
mod tests;
