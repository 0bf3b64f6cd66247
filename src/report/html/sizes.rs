//! Packet sizes over time, with what a packet may measure drawn in.

use super::escape::Esc;
use super::plot::{LEFT, MAX_MARKS, RIGHT, Scale, open};
use crate::report::words::{channel_word, counted, grouped};
use crate::report::{Session, SizeRun};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The plot's top and bottom.
const TOP: f64 = 16.0;
const BOTTOM: f64 = 236.0;
/// The limits' labels stand at least so far apart.
const APART: f64 = 15.0;

/// Bytes to pixels.
#[derive(Clone, Copy)]
struct Bytes {
    least: f64,
    most: f64,
}

impl Bytes {
    fn over(sizes: impl Iterator<Item = u32>) -> Bytes {
        let (mut least, mut most) = (f64::MAX, 0.0_f64);
        for size in sizes.map(f64::from) {
            least = least.min(size);
            most = most.max(size);
        }
        let room = ((most - least) * 0.15).max(20.0);
        Bytes { least: least - room, most: most + room }
    }

    fn y(self, bytes: u32) -> f64 {
        BOTTOM - (f64::from(bytes) - self.least) / (self.most - self.least) * (BOTTOM - TOP)
    }

    /// Round numbers between least and most.
    fn ticks(self) -> Vec<u32> {
        let span = self.most - self.least;
        let step = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000].into_iter();
        let step = step.clone().find(|step| f64::from(*step) * 7.0 >= span).unwrap_or(50_000);
        let first = (self.least.max(0.0) as u32).div_ceil(step) * step;
        (0..10).map(|i| first + i * step).filter(|at| f64::from(*at) <= self.most).collect()
    }
}

/// The chart, or nothing when no size is known.
pub fn draw(session: &Session, id: &str) -> Option<String> {
    let runs = runs(session);
    if runs.is_empty() {
        return None;
    }
    let lines = limit_lines(session);
    let bytes = Bytes::over(runs.iter().map(|r| r.bytes).chain(lines.keys().copied()));
    let scale = Scale::over(runs.iter().flat_map(|r| [r.first_seconds, r.last_seconds]).chain(span(session)));
    let mut svg = open(id, BOTTOM + 28.0, "Packet sizes over time", &description(session, &lines), &scale.attributes());
    let _ = write!(
        svg,
        r#"<clipPath id="{id}-c"><rect x="{:.1}" y="0" width="{:.1}" height="{:.1}"/></clipPath>"#,
        LEFT - 4.0,
        RIGHT - LEFT + 8.0,
        BOTTOM
    );
    svg.push_str(&scale.axis(TOP, BOTTOM));
    for at in bytes.ticks() {
        let y = bytes.y(at);
        let _ = write!(
            svg,
            r#"<g class="level"><line x1="{LEFT}" y1="{y:.1}" x2="{RIGHT}" y2="{y:.1}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{at} B</text></g>"#,
            LEFT - 8.0,
            y + 4.0
        );
    }
    let _ = write!(svg, r#"<g class="marks" clip-path="url(#{id}-c)">"#);
    runs.iter().take(MAX_MARKS).for_each(|run| draw_run(&mut svg, scale, bytes, run));
    svg.push_str("</g>");
    draw_limits(&mut svg, &lines, bytes);
    svg.push_str("</svg>");
    Some(svg)
}

/// The runs to draw: packets inside the tunnel, or, where none was seen, the outer ones.
fn runs(session: &Session) -> Vec<&SizeRun> {
    let inner: Vec<&SizeRun> = session.sizes.iter().filter(|run| run.channel == "inner").collect();
    if inner.is_empty() { session.sizes.iter().collect() } else { inner }
}

/// Seconds of the session's begin and end, so that its charts stand under one another.
fn span(session: &Session) -> impl Iterator<Item = f64> {
    [Some(0.0), super::lanes::seconds(session, &session.end)].into_iter().flatten()
}

/// The limits by size: their words, and whether findings are judged by one of them.
fn limit_lines(session: &Session) -> BTreeMap<u32, (String, bool)> {
    let mut lines: BTreeMap<u32, (String, bool)> = BTreeMap::new();
    for limit in &session.limits {
        let (words, in_force) = lines.entry(limit.bytes).or_default();
        let word = channel_word(&limit.channel);
        if !words.contains(word) {
            if !words.is_empty() {
                words.push_str(", ");
            }
            words.push_str(word);
        }
        *in_force |= limit.in_force;
    }
    lines
}

fn draw_limits(svg: &mut String, lines: &BTreeMap<u32, (String, bool)>, bytes: Bytes) {
    let mut last = f64::MAX;
    for (size, (words, in_force)) in lines {
        let y = bytes.y(*size);
        // From the bottom up, each label above the one before.
        let label = (y - 5.0).min(last - APART);
        last = label;
        let class = if *in_force { "limit force" } else { "limit" };
        let _ = write!(
            svg,
            r#"<g class="{class}" data-mark="limit"><title>{0} B: {1} MTU{2}</title><line x1="{LEFT}" y1="{y:.1}" x2="{RIGHT}" y2="{y:.1}"/><text x="{3:.1}" y="{label:.1}" text-anchor="end">{1} {0} B</text></g>"#,
            size,
            Esc(words),
            if *in_force { ", the one in force" } else { "" },
            RIGHT - 4.0
        );
    }
}

fn draw_run(svg: &mut String, scale: Scale, bytes: Bytes, run: &SizeRun) {
    let y = bytes.y(run.bytes);
    let (a, b) = (scale.x(run.first_seconds), scale.x(run.last_seconds));
    let class = match run.fate.as_str() {
        "stuck" => "bad",
        "passed" => "good",
        _ => "open",
    };
    let _ = write!(svg, "<g><title>{}</title>", Esc(&words(run)));
    let _ = write!(
        svg,
        r#"<rect class="run {class}" data-a="{:.6}" data-b="{:.6}" x="{a:.1}" y="{:.1}" width="{:.1}" height="4" rx="2"/>"#,
        run.first_seconds,
        run.last_seconds,
        y - 2.0,
        (b - a).max(3.0)
    );
    // Shape and not colour alone tells: a cross is stuck, a triangle points the way it went.
    let shape = match (run.fate.as_str(), run.direction.as_str()) {
        ("stuck", _) => "M-5-5L5 5M-5 5L5-5",
        (_, "to-client") => "M-5-4H5L0 5Z",
        _ => "M-5 4H5L0-5Z",
    };
    let _ = write!(
        svg,
        r#"<g data-mark="size" class="{class}" data-a="{:.6}" data-y="{y:.1}" transform="translate({a:.1},{y:.1})"><path d="{shape}"/></g></g>"#,
        run.first_seconds
    );
}

/// A run in words: for the tooltip and the table.
fn words(run: &SizeRun) -> String {
    let way = if run.direction == "to-client" { "toward the client" } else { "toward the server" };
    let mut text = format!("{} B {way}, {}, {}", run.bytes, channel_word(&run.channel), fate(run));
    if run.packets > 1 {
        let _ = write!(
            text,
            ", {} packets from {:.3} s to {:.3} s",
            grouped(run.packets),
            run.first_seconds,
            run.last_seconds
        );
    } else {
        let _ = write!(text, ", at {:.3} s", run.first_seconds);
    }
    let _ = write!(text, ", frame {}", run.frame);
    text
}

/// What became of it, for people.
pub fn fate(run: &SizeRun) -> &'static str {
    match run.fate.as_str() {
        "stuck" => "never got through",
        "passed" => "got through",
        _ => "nothing tells whether it got through",
    }
}

fn description(session: &Session, lines: &BTreeMap<u32, (String, bool)>) -> String {
    let runs = runs(session);
    let most = runs.iter().map(|run| run.bytes).max().unwrap_or_default();
    let stuck: u64 = runs.iter().filter(|run| run.fate == "stuck").map(|run| run.packets).sum();
    let mut text = format!("The largest packet measures {most} B. {} never got through.", counted(stuck, "packet"));
    for (size, (words, in_force)) in lines {
        let _ = write!(text, " {words} MTU {size} B{}.", if *in_force { ", in force" } else { "" });
    }
    text.push_str(" The table below has every run.");
    text
}
