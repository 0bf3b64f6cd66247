//! The detectors, in words: the table and one page each. Reads the table of `detect` and nothing else.

use crate::detect::DETECTORS;
use crate::finding::{Confidence, Detector};
use crate::report::terminal::{columns, escape, escape_ascii, wrap};
use crate::report::text::{Look, WIDTH, severity_style};
use crate::report::words::severity_word;
use anstyle::Style;
use std::io::{self, Write};

/// The detector of that id.
pub(super) fn find(id: &str) -> Option<&'static Detector> {
    DETECTORS.iter().find(|detector| detector.id == id).copied()
}

/// What to say about an id nobody has.
pub(super) fn unknown(id: &str) -> String {
    let mut near: Vec<(f64, &str)> = DETECTORS
        .iter()
        .map(|detector| (strsim::jaro_winkler(id, detector.id), detector.id))
        .filter(|(likeness, known)| *likeness > 0.7 || known.contains(id))
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let near: Vec<&str> = near.iter().take(3).map(|(_, id)| *id).collect();
    if near.is_empty() {
        return format!("no detector '{id}'; acpcap detectors lists them");
    }
    format!("no detector '{id}'; nearest: {}", near.join(", "))
}

/// One line per detector: id, severity, title.
pub(super) fn table(look: Look, out: &mut dyn Write) -> io::Result<()> {
    let widest = DETECTORS.iter().map(|d| columns(d.id)).max().unwrap_or(0);
    for detector in DETECTORS {
        let word = severity_word(detector.severity);
        let head = format!("{:<widest$}   ", detector.id);
        let indent = widest + 3 + 9;
        let text = clean(detector.title, look);
        for (at, line) in wrap(&text, WIDTH.saturating_sub(indent)).iter().enumerate() {
            if at > 0 {
                writeln!(out, "{:indent$}{line}", "")?;
                continue;
            }
            paint(&head, Style::new().bold(), look, out)?;
            paint(word, severity_style(detector.severity), look, out)?;
            writeln!(out, "{:gap$}{line}", "", gap = 9usize.saturating_sub(word.len()))?;
        }
    }
    writeln!(out)?;
    writeln!(out, "acpcap explain ID tells what one means and what to do about it.")
}

/// All about one detector.
pub(super) fn page(detector: &Detector, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let bold = Style::new().bold();
    paint(detector.id, bold, look, out)?;
    write!(out, "   ")?;
    paint(severity_word(detector.severity), severity_style(detector.severity), look, out)?;
    writeln!(out, "   since {}", detector.since)?;
    hang("", detector.title, look, out)?;
    writeln!(out)?;
    markdown(detector.explanation, look, out)?;
    paint("Confidence", bold, look, out)?;
    writeln!(out)?;
    for grade in detector.confidence {
        let word = match grade.gives {
            Confidence::High => "high",
            Confidence::Medium => "medium",
            Confidence::Low => "low",
        };
        hang(&format!("  {word:<8}"), grade.when, look, out)?;
    }
    if !detector.judged_from.is_empty() {
        let places: Vec<String> = detector.judged_from.iter().map(ToString::to_string).collect();
        writeln!(out)?;
        hang("Judged from  ", &places.join(", "), look, out)?;
    }
    if !detector.leads_to.is_empty() {
        hang("Leads to     ", &detector.leads_to.join(", "), look, out)?;
    }
    if !detector.remedy.is_empty() {
        writeln!(out)?;
        paint("What to do", bold, look, out)?;
        writeln!(out)?;
        for (number, step) in (1..).zip(detector.remedy) {
            hang(&format!("  {number}  "), step, look, out)?;
        }
    }
    if !detector.references.is_empty() {
        writeln!(out)?;
        paint("References", bold, look, out)?;
        writeln!(out)?;
        for reference in detector.references {
            // Addresses must stay in one piece.
            writeln!(out, "  {}", clean(reference, look))?;
        }
    }
    Ok(())
}

/// Paragraphs and lists wrapped, headings plain, code as it stands.
fn markdown(text: &str, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let mut paragraph = String::new();
    let mut fenced = false;
    let flush = |paragraph: &mut String, out: &mut dyn Write| {
        let whole = std::mem::take(paragraph);
        match whole.trim() {
            "" => Ok(()),
            item if item.starts_with("- ") || item.starts_with("* ") => {
                hang("  - ", item.get(2..).unwrap_or_default(), look, out)
            }
            text => hang("", text, look, out),
        }
    };
    for line in text.trim().lines() {
        let bare = line.trim();
        if bare.starts_with("```") {
            flush(&mut paragraph, out)?;
            fenced = !fenced;
        } else if fenced || (line.starts_with("    ") && paragraph.is_empty()) {
            writeln!(out, "    {}", clean(line.trim_end(), look).trim_start())?;
        } else if bare.is_empty() {
            flush(&mut paragraph, out)?;
            writeln!(out)?;
        } else {
            if bare.starts_with("- ") || bare.starts_with("* ") || bare.starts_with('#') {
                flush(&mut paragraph, out)?;
            }
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph.push_str(bare.trim_start_matches('#').trim_start());
        }
    }
    flush(&mut paragraph, out)
}

pub(super) fn hang(head: &str, body: &str, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let indent = columns(head);
    let body = clean(body, look);
    for (at, line) in wrap(&body, WIDTH.saturating_sub(indent)).iter().enumerate() {
        if at == 0 {
            writeln!(out, "{head}{line}")?;
        } else {
            writeln!(out, "{:indent$}{line}", "")?;
        }
    }
    Ok(())
}

fn clean(text: &str, look: Look) -> String {
    if look.ascii {
        return escape_ascii(text);
    }
    escape(text).into_owned()
}

fn paint(text: &str, style: Style, look: Look, out: &mut dyn Write) -> io::Result<()> {
    if look.colour {
        return write!(out, "{style}{text}{style:#}");
    }
    out.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_detector_has_a_page_within_the_width() {
        for detector in DETECTORS {
            let page = text(|out| page(detector, Look::default(), out));
            assert!(page.starts_with(detector.id));
            for line in page.lines().filter(|line| !line.contains("http") && !line.starts_with("    ")) {
                assert!(columns(line) <= WIDTH, "{line}");
            }
        }
    }

    #[test]
    fn unknown_ids_get_the_nearest() {
        let known = DETECTORS[0].id;
        assert!(unknown(&known[..known.len() - 2]).contains(known));
        assert!(unknown("zzz").contains("acpcap detectors"));
    }

    #[test]
    fn markdown_is_wrapped_and_code_is_not() {
        let long = "word ".repeat(40);
        let source = format!("# Head\n\n{long}\n\n- item {long}\n- two\n\n```\n{long}\n```");
        let page = text(|out| markdown(&source, Look::default(), out));
        assert!(page.starts_with("Head\n\nword word"), "{page}");
        assert!(page.contains("\n  - item word"), "{page}");
        assert!(page.contains("\n    word"), "{page}");
        assert!(page.contains("\n  - two\n"), "{page}");
        assert!(page.lines().any(|line| columns(line) > WIDTH), "{page}");
    }
}
