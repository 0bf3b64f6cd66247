//! A ladder in text: the client's line left, the gateway's right, an arrow per rung.
//!
//! Promises: no line is wider than asked; one set of signs in UTF-8, one in ASCII. Refuses: to print.

use super::Ladder;
use super::ladder::Rung;
use super::terminal::{columns, wrap};
use super::words::grouped;

/// Columns for seconds and frame.
const MARGIN: usize = 21;

/// One line of the drawing, clean.
pub struct Line {
    pub text: String,
    /// It heads the columns.
    pub is_head: bool,
}

/// The signs a ladder is drawn with.
struct Signs {
    line: char,
    solid: char,
    dashed: [char; 2],
    right: char,
    left: char,
    lost: char,
    unsure: char,
    hop: char,
    times: &'static str,
}

const UTF8: Signs = Signs {
    line: '│',
    solid: '─',
    dashed: ['╌', '╌'],
    right: '▶',
    left: '◀',
    lost: '╳',
    unsure: '?',
    hop: '●',
    times: "×",
};

const ASCII: Signs = Signs {
    line: '|',
    solid: '-',
    dashed: ['-', ' '],
    right: '>',
    left: '<',
    lost: 'X',
    unsure: '?',
    hop: 'o',
    times: "x",
};

/// Draws `ladder` in lines of at most `width` columns; `clean` is what the page does to text from a capture.
pub fn lines(ladder: &Ladder, width: usize, ascii: bool, clean: impl Fn(&str) -> String) -> Vec<Line> {
    let signs = if ascii { &ASCII } else { &UTF8 };
    let inside = width.saturating_sub(MARGIN + 2).max(24);
    let mut lines = Vec::new();
    let mut head = |margin: &str, left: &str, right: &str| {
        let (left, right) = (clean(left), clean(right));
        let gap = (inside + 2).saturating_sub(columns(&left) + columns(&right)).max(1);
        let text = format!("{margin:MARGIN$}{left}{:gap$}{right}", "");
        lines.push(Line { text, is_head: true });
    };
    head("   seconds    frame", "client", "gateway");
    head("", &ladder.client, &ladder.gateway);
    let mut push = |text: String| lines.push(Line { text, is_head: false });
    for rung in &ladder.rungs {
        let mut margin = margin(rung);
        for words in wrap(&clean(&label(rung, signs)), inside - 2) {
            push(format!("{margin:MARGIN$}{0}{1}{0}", signs.line, beside(rung, &words, inside)));
            margin.clear();
        }
        push(format!("{:MARGIN$}{1}{2}{1}", "", signs.line, arrow(rung, signs, inside)));
    }
    if ladder.rungs_dropped > 0 {
        push(format!("{:MARGIN$}{} more, in --format json", "", grouped(ladder.rungs_dropped)));
    }
    lines
}

fn margin(rung: &Rung) -> String {
    if rung.fate == "never-came" {
        return String::new();
    }
    let frame = rung.frame.map_or(String::new(), |frame| frame.to_string());
    format!("{:>10.3} {frame:>8}  ", rung.seconds)
}

/// What is written over the arrow.
fn label(rung: &Rung, signs: &Signs) -> String {
    let mut text = rung.what.clone();
    if rung.count > 1 {
        text.push_str(&format!(" {}{}", signs.times, grouped(rung.count)));
    }
    if let Some(until) = rung.until_seconds.filter(|until| *until > rung.seconds) {
        text.push_str(&format!(" until {until:.3} s"));
    }
    if let Some(waited) = rung.waited_seconds {
        text.push_str(&format!(": never came in {waited:.1} s"));
    }
    if !rung.note.is_empty() {
        text.push_str(&format!(", {}", rung.note));
    }
    text
}

/// The words at their sender's side.
fn beside(rung: &Rung, words: &str, inside: usize) -> String {
    let gap = inside.saturating_sub(columns(words) + 2);
    match rung.from.as_str() {
        "client" => format!(" {words}{:gap$} ", ""),
        "gateway" => format!(" {:gap$}{words} ", ""),
        _ => {
            let before = gap / 2;
            format!(" {:before$}{words}{:after$} ", "", "", after = gap - before)
        }
    }
}

/// The arrow, from the client's line to the gateway's; mirrored for the gateway, from the middle for a hop.
fn arrow(rung: &Rung, signs: &Signs, inside: usize) -> String {
    let half = inside / 2;
    let [dash, gap] = signs.dashed;
    let dashes = |n: usize| (0..n).map(|i| if i % 2 == 0 { dash } else { gap });
    let solid = |n: usize| std::iter::repeat_n(signs.solid, n);
    let blank = |n: usize| std::iter::repeat_n(' ', n);
    if rung.from == "hop" {
        return std::iter::once(signs.left)
            .chain(solid(half - 1))
            .chain([signs.hop])
            .chain(blank(inside - half - 1))
            .collect();
    }
    let head = if rung.from == "client" { signs.right } else { signs.left };
    let outward: Vec<char> = match rung.fate.as_str() {
        "lost" => solid(half).chain([signs.lost]).chain(blank(inside - half - 1)).collect(),
        "never-came" => dashes(half).chain([signs.lost]).chain(blank(inside - half - 1)).collect(),
        "sent" => solid(half).chain(dashes(inside - half - 1)).chain([signs.unsure]).collect(),
        _ => solid(inside - 1).chain([head]).collect(),
    };
    if rung.from == "client" { outward.into_iter().collect() } else { outward.into_iter().rev().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rung(from: &str, what: &str, fate: &str) -> Rung {
        let frame = (fate != "never-came").then_some(62);
        let waited_seconds = (fate == "never-came").then_some(55.0);
        Rung {
            from: from.to_owned(),
            what: what.to_owned(),
            fate: fate.to_owned(),
            frame,
            waited_seconds,
            ..Rung::default()
        }
    }

    fn drawn(rungs: Vec<Rung>, width: usize, ascii: bool) -> Vec<String> {
        let ladder =
            Ladder { client: "192.0.2.1:5000".into(), gateway: "192.0.2.2:443".into(), rungs, ..Ladder::default() };
        lines(&ladder, width, ascii, str::to_owned).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn each_fate_has_its_arrow() {
        let fates = vec![
            Rung { count: 10, until_seconds: Some(55.0), ..rung("client", "ClientHello", "lost") },
            rung("gateway", "ServerHello", "never-came"),
            rung("client", "ClientHello", "sent"),
            rung("gateway", "ServerHello", "arrived"),
            rung("hop", "ICMP 3/13", "arrived"),
        ];
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../tests/snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| {
            insta::assert_snapshot!("ladder_fates", drawn(fates.clone(), 72, false).join("\n"));
            insta::assert_snapshot!("ladder_fates_ascii", drawn(fates, 72, true).join("\n"));
        });
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(what in "\\PC{0,200}", note in "\\PC{0,80}", width in 60..140_usize, ascii: bool) {
            let rungs = ["client", "gateway", "hop"].map(|from| Rung { note: note.clone(), ..rung(from, &what, "sent") });
            for line in drawn(rungs.to_vec(), width, ascii) {
                prop_assert!(columns(&line) <= width, "{line}");
            }
        }
    }
}
