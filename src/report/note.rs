//! The report as a note for a case: plain ASCII, at most 40 lines of at most 80 columns, to paste anywhere.
//!
//! Promises: addresses, absolute times with their zone, counts, sizes with their source, what is absent and whether it could have
//! been seen, the next step; the worst session in full, the others counted. Refuses: to compute findings.

use super::terminal::{escape_ascii, wrap};
use super::told;
use super::words::{confidence_word, labels, no_session_headline, seconds_only, severity_word};
use super::{Answer, Finding, Limit, Report, Session, Severity};
use std::io::{self, Write};

/// Lines of a note.
pub const MAX_LINES: usize = 40;
/// Columns of a line.
pub const WIDTH: usize = 80;

/// Writes the note.
///
/// # Errors
///
/// What `out` says.
pub fn render(report: &Report, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut note = Note::default();
    note.captures(report);
    let worst = report.sessions.iter().rev().max_by_key(|s| s.severity);
    match worst {
        Some(session) => note.session(report, session),
        None => note.add("", &format!("{} in these captures.", no_session_headline(report)), 2),
    }
    note.others(report, worst);
    for line in note.finish() {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[derive(Default)]
struct Note {
    lines: Vec<String>,
}

impl Note {
    /// A paragraph behind its label, cut after `most` lines.
    fn add(&mut self, label: &str, text: &str, most: usize) {
        if text.is_empty() {
            return;
        }
        let label = if label.is_empty() { String::new() } else { format!("{label}: ") };
        let text = escape_ascii(&format!("{label}{text}"));
        let mut lines: Vec<String> = wrap(&text, WIDTH - 2);
        if lines.len() > most {
            lines.truncate(most);
            if let Some(last) = lines.last_mut() {
                // Between words, where there is a gap.
                if let Some(head) = last.get(..=WIDTH - 6) {
                    last.truncate(head.rfind(' ').unwrap_or(WIDTH - 6));
                }
                last.push_str(" ...");
            }
        }
        let indent = |(at, line): (usize, String)| if at == 0 { line } else { format!("  {line}") };
        self.lines.extend(lines.into_iter().enumerate().map(indent));
    }

    fn captures(&mut self, report: &Report) {
        let names = report.captures.iter().map(|c| {
            let places: Vec<String> = c.interfaces.iter().map(|i| i.vantage.clone()).collect();
            let damaged = if c.truncated { ", damaged" } else { "" };
            format!("{} ({}, {}{damaged})", c.path, places.join(" + "), crate::finding::count(c.frames, "frame"))
        });
        self.add("Captures", &names.collect::<Vec<_>>().join("; "), 4);
        let first = report.captures.iter().filter_map(|c| c.first.as_deref()).min();
        let last = report.captures.iter().filter_map(|c| c.last.as_deref()).max();
        if let (Some(first), Some(last)) = (first, last) {
            self.add("Time", &format!("{} to {}; read by {}", moment(first), moment(last), report.tool), 2);
        }
    }

    fn session(&mut self, report: &Report, session: &Session) {
        let inner = match session.inner_addresses.as_slice() {
            [] => String::new(),
            all => format!(", inner {}", all.join(", ")),
        };
        let nat = session.nat_address.as_ref().map_or(String::new(), |seen| format!(" (seen as {seen})"));
        let proxied = session.proxied_to.as_ref().map_or(String::new(), |to| format!(" (a proxy, asked for {to})"));
        let ends = format!("{}{nat} -> {}{proxied}{inner}", session.client, session.gateway);
        let when = format!("{} to {}", moment(&session.start), moment(&session.end));
        self.add("Session", &format!("{ends}; {when}"), 3);
        self.add("Verdict", &session.verdict, 4);
        let findings: Vec<&Finding> = report.findings.iter().filter(|f| f.session == session.id).collect();
        let faults: Vec<&&Finding> = findings.iter().filter(|f| f.severity > Severity::Info).collect();
        for finding in faults.iter().take(4) {
            self.finding(report, finding);
        }
        let notes: Vec<String> =
            findings.iter().filter(|f| f.severity == Severity::Info).map(|f| f.summary.clone()).collect();
        self.add("Also", &notes.join(" "), 2);
        self.limits(&session.limits);
        let absent: Vec<&str> = findings
            .iter()
            .flat_map(|f| &f.evidence)
            .filter(|e| e.frames.is_empty())
            .map(|e| e.note.as_str())
            .collect();
        let absent: Vec<String> =
            absent.into_iter().map(|a| format!("{} (would have been seen)", seconds_only(a))).collect();
        self.add("Absent", &absent.join("; "), 4);
        let unsure = report.checks.iter().filter(|c| c.session == session.id && c.outcome == Answer::CannotTell);
        self.unsure(unsure.map(|check| (check.reason.as_str(), check.detector.as_str())));
        let ruled: Vec<&str> = told::ruled_out(&findings).into_iter().map(|ruled| ruled.what.as_str()).collect();
        self.add("Ruled out", &ruled.join("; "), 2);
        let (steps, _) = told::remedies(&findings);
        let steps: Vec<String> = (1..).zip(steps).take(3).map(|(number, step)| format!("({number}) {step}")).collect();
        self.add("Do", &steps.join(" "), 5);
        if let Some(next) = report.next_captures.first() {
            self.add("Next capture", &format!("{}: {}. {}", next.vantage, next.why, next.command), 3);
        }
    }

    fn finding(&mut self, report: &Report, finding: &Finding) {
        let confidence = confidence_word(finding.confidence);
        let word = severity_word(finding.severity);
        let likely = finding.likely_cause.as_ref().map_or(String::new(), |likely| format!(" [{likely}]"));
        let frames = finding.evidence.iter().find(|e| !e.frames.is_empty()).map_or(String::new(), |e| {
            let numbers: Vec<String> = e.frames.iter().take(6).map(u32::to_string).collect();
            let more = if e.frames.len() > 6 { " ..." } else { "." };
            let of = match labels(&report.captures).get(usize::from(e.capture)) {
                Some(label) if report.captures.len() > 1 => format!(" of {label}"),
                _ => String::new(),
            };
            format!(" Frames{of}: {}{more}", numbers.join(" "))
        });
        let label = format!("{word} {}{likely}, {confidence} confidence", finding.detector);
        self.add(&label, &format!("{}{frames}", finding.summary), 5);
    }

    /// Each reason once, with the detectors that give it: whoever reads on must know what is open.
    fn unsure<'a>(&mut self, checks: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for (reason, detector) in checks {
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, detectors)) => detectors.push(detector),
                None => reasons.push((reason, vec![detector])),
            }
        }
        let rows: Vec<String> =
            reasons.iter().map(|(reason, detectors)| format!("{} ({reason})", detectors.join(", "))).collect();
        self.add("Cannot tell", &rows.join("; "), 4);
    }

    fn limits(&mut self, limits: &[Limit]) {
        let told = limits.iter().filter(|l| l.in_force || l.basis != super::Basis::Derived);
        let words: Vec<String> = told.map(|l| format!("{} {} B ({})", l.channel, l.bytes, l.source)).collect();
        self.add("Sizes", &words.join("; "), 3);
    }

    fn others(&mut self, report: &Report, told: Option<&Session>) {
        let count = report.summary.severities;
        let is_faulty = |session: &Session| session.severity > Some(Severity::Info);
        let all = report.summary.sessions.saturating_sub(u64::from(told.is_some()));
        let faulty = (count.high + count.medium + count.low).saturating_sub(u64::from(told.is_some_and(is_faulty)));
        if all > 0 {
            self.add("Other sessions", &format!("{all} in the same captures, {faulty} of them with faults"), 1);
        }
        let losses: Vec<&str> = report.losses.iter().map(|l| l.text.as_str()).collect();
        self.add("Not seen", &losses.join("; "), 2);
    }

    fn finish(mut self) -> Vec<String> {
        if self.lines.len() > MAX_LINES {
            self.lines.truncate(MAX_LINES - 1);
            self.lines.push("... more in the full report".to_owned());
        }
        self.lines
    }
}

/// `2026-11-23T11:01:33.120Z` → `2026-11-23 11:01:33.120 UTC`; anything else as it is.
fn moment(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(11..23), rfc3339.ends_with('Z')) {
        (Some(day), Some(time), true) => format!("{day} {time} UTC"),
        _ => rfc3339.to_owned(),
    }
}
