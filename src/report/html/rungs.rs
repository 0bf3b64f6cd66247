//! A ladder as SVG: the client's line left, the gateway's right, time downward.

use super::escape::Esc;
use crate::report::terminal::wrap;
use crate::report::words::grouped;
use crate::report::{Ladder, Rung};
use std::fmt::Write as _;

/// Width in units of its own.
const WIDTH: f64 = 760.0;
/// The two lifelines.
const CLIENT: f64 = 130.0;
const GATEWAY: f64 = 690.0;
const MIDDLE: f64 = (CLIENT + GATEWAY) / 2.0;
/// Letters of a label that fit between them.
const LETTERS: usize = 78;
/// Height of a line of text, of an arrow's room.
const LINE: f64 = 16.0;
const ARROW: f64 = 20.0;
/// Where the first rung stands.
const HEAD: f64 = 58.0;

/// Draws a ladder.
pub fn draw(ladder: &Ladder, id: &str) -> String {
    let mut body = String::new();
    let mut y = HEAD;
    for rung in &ladder.rungs {
        y = draw_rung(&mut body, rung, y);
    }
    let bottom = y + 6.0;
    let mut svg = format!(
        r#"<svg class="ladder" id="{id}" viewBox="0 0 {WIDTH} {:.0}" role="img" aria-labelledby="{id}-t {id}-d"><title id="{id}-t">{}</title><desc id="{id}-d">{}</desc>"#,
        bottom + 6.0,
        Esc(&ladder.title),
        Esc(&format!("{}. The table below has every rung.", ladder.outcome))
    );
    for (x, anchor, name, address) in
        [(CLIENT, "start", "client", ladder.client.as_str()), (GATEWAY, "end", "gateway", ladder.gateway.as_str())]
    {
        let at = if anchor == "start" { x - 6.0 } else { x + 6.0 };
        let _ = write!(
            svg,
            r#"<text class="end" x="{at}" y="18" text-anchor="{anchor}">{name}</text><text class="address" x="{at}" y="34" text-anchor="{anchor}">{}</text><line class="life" x1="{x}" y1="42" x2="{x}" y2="{bottom:.1}"/>"#,
            Esc(address)
        );
    }
    svg.push_str(r#"<text class="time" x="84" y="34" text-anchor="end">seconds</text>"#);
    svg.push_str(&body);
    svg.push_str("</svg>");
    svg
}

/// One rung from `y` downward; where the next begins.
fn draw_rung(svg: &mut String, rung: &Rung, y: f64) -> f64 {
    let class = match rung.fate.as_str() {
        "lost" | "never-came" => "bad",
        "sent" => "open",
        _ if rung.from == "hop" => "bad",
        _ => "good",
    };
    let _ = write!(svg, r#"<g data-mark="rung" class="rung {class}"><title>{}</title>"#, Esc(&words(rung)));
    if rung.fate != "never-came" {
        let _ = write!(
            svg,
            r#"<text class="time" x="84" y="{:.1}" text-anchor="end">{:.3}</text>"#,
            y + 12.0,
            rung.seconds
        );
    }
    if let Some(frame) = rung.frame {
        let _ = write!(svg, r#"<text class="frame" x="84" y="{:.1}" text-anchor="end">frame {frame}</text>"#, y + 26.0);
    }
    let (x, anchor) = match rung.from.as_str() {
        "client" => (CLIENT + 10.0, "start"),
        "gateway" => (GATEWAY - 10.0, "end"),
        _ => (MIDDLE, "middle"),
    };
    let mut below = y;
    let label = wrap(&label(rung), LETTERS).into_iter().map(|line| ("what", line));
    let note = if rung.note.is_empty() { Vec::new() } else { wrap(&rung.note, LETTERS) };
    for (class, line) in label.chain(note.into_iter().map(|line| ("what more", line))) {
        let _ = write!(
            svg,
            r#"<text class="{class}" x="{x}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
            below + 12.0,
            Esc(&line)
        );
        below += LINE;
    }
    let at = below + 4.0;
    arrow(svg, rung, at);
    svg.push_str("</g>");
    below + ARROW + 6.0
}

/// What is written over the arrow.
fn label(rung: &Rung) -> String {
    let mut text = rung.what.clone();
    if rung.count > 1 {
        let _ = write!(text, " ×{}", grouped(rung.count));
    }
    if let Some(until) = rung.until_seconds.filter(|until| *until > rung.seconds) {
        let _ = write!(text, " until {until:.3} s");
    }
    if let Some(waited) = rung.waited_seconds {
        let _ = write!(text, ": never came in {waited:.1} s");
    }
    text
}

/// A rung as a sentence.
pub fn words(rung: &Rung) -> String {
    let from = match rung.from.as_str() {
        "client" => "from the client",
        "gateway" => "from the gateway",
        _ => "from the path",
    };
    let fate = match rung.fate.as_str() {
        "lost" => "lost on the way",
        "never-came" => "never came",
        "sent" => "sent; nothing tells whether it arrived",
        _ => "arrived",
    };
    let frame = rung.frame.map_or(String::new(), |frame| format!(", frame {frame}"));
    format!("{} {from}: {fate}{frame}", rung.what)
}

fn arrow(svg: &mut String, rung: &Rung, y: f64) {
    let (start, end) = match rung.from.as_str() {
        "client" => (CLIENT, GATEWAY),
        "gateway" => (GATEWAY, CLIENT),
        _ => (MIDDLE, CLIENT),
    };
    let way = (end - start).signum();
    let line = |svg: &mut String, class: &str, from: f64, to: f64| {
        let _ = write!(svg, r#"<line class="{class}" x1="{from:.1}" y1="{y:.1}" x2="{to:.1}" y2="{y:.1}"/>"#);
    };
    let head = |svg: &mut String, x: f64| {
        let _ = write!(svg, r#"<path class="head" d="M{x:.1} {y:.1}l{0:.1}-5v10Z"/>"#, -9.0 * way);
    };
    match rung.fate.as_str() {
        "lost" | "never-came" => {
            line(svg, if rung.fate == "lost" { "solid" } else { "dashed" }, start, MIDDLE);
            let _ = write!(svg, r#"<path class="cross" d="M{:.1} {:.1}l12 12m0-12l-12 12"/>"#, MIDDLE - 6.0, y - 6.0);
        }
        "sent" => {
            line(svg, "solid", start, MIDDLE);
            line(svg, "dashed", MIDDLE, end - 14.0 * way);
            let _ = write!(
                svg,
                r#"<text class="unsure" x="{:.1}" y="{:.1}" text-anchor="middle">?</text>"#,
                end - 7.0 * way,
                y + 5.0
            );
        }
        _ => {
            line(svg, "solid", start, end - 4.0 * way);
            head(svg, end);
            if rung.from == "hop" {
                let _ = write!(svg, r#"<circle class="head" cx="{MIDDLE:.1}" cy="{y:.1}" r="4"/>"#);
            }
        }
    }
}
