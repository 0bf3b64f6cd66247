//! The report as text for a terminal: verdict first, 100 columns, plain when piped.
//!
//! Promises: no byte of a capture reaches the terminal unescaped; only filters and commands, which must stay
//! pasteable, may pass column 100; many sessions stay readable. Refuses: to compute findings or to hide a loss.

mod page;
mod session;

use super::terminal::columns;
use super::words::{
    Index, counted, grouped, is_damaged, is_healthy, moment, no_session_headline, no_session_words,
    only_for_complaints, overview, place, reason_row, span, unsure_reasons,
};
use super::{Answer, Capture, Finding, Reason, Report, Severity};
pub(crate) use page::severity_style;
use page::{BOLD, PLAIN, Page};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Columns a line may fill.
pub const WIDTH: usize = 100;

/// Captures listed one by one; more are counted.
const MAX_CAPTURES: usize = 20;
/// Sessions up to which healthy ones are told with their verdict; beyond, one line each.
const CALM_SESSIONS: usize = 20;
/// Sessions with findings told in full, and healthy ones given a line; more are counted.
pub const MAX_SESSIONS: usize = 50;
/// Entries of one list (limits, filters, reasons, losses); more are counted.
const MAX_LIST: usize = 12;

/// How the page should look; decided by who knows the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Emit ANSI styles.
    pub colour: bool,
    /// Only bytes 0x20 to 0x7E and newlines.
    pub ascii: bool,
    /// Also say how vantages were inferred, what clear checks rest on, and tell healthy sessions in full.
    pub why: bool,
    /// Also draw the handshakes.
    pub ladder: bool,
}

/// A path longer than this gets a line of its own, columns.
const LONG_PATH: usize = 24;

/// Writes the page.
///
/// # Errors
///
/// What `out` says.
pub fn render(report: &Report, look: Look, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut page = Page { out, look };
    let index = Index::new(report);
    page.captures(report, &index)?;
    if report.sessions.is_empty() {
        page.no_session(report)?;
    } else {
        page.sessions(report, &index)?;
    }
    page.outside_any_session(report, &index)?;
    page.cannot_tell(report)?;
    page.clear(report)?;
    page.ambiguities(report)?;
    page.losses(report, &index)?;
    page.next_captures(report)?;
    page.tally(report)
}

impl<W: Write + ?Sized> Page<'_, W> {
    fn captures(&mut self, report: &Report, index: &Index) -> io::Result<()> {
        for (at, capture) in report.captures.iter().enumerate().take(MAX_CAPTURES) {
            // What concerns the run may concern this capture.
            let here = |loss: &&super::Loss| loss.capture.is_none_or(|c| usize::from(c) == at);
            let losses = report.losses.iter().filter(here).count();
            self.capture(capture, losses)?;
        }
        if report.captures.len() > MAX_CAPTURES {
            let rest = report.captures.get(MAX_CAPTURES..).unwrap_or_default();
            let frames = rest.iter().map(|capture| capture.frames).sum();
            let damaged = rest.iter().filter(|capture| is_damaged(capture)).count();
            let mut text =
                format!("… {} with {}", counted(rest.len() as u64, "more capture"), counted(frames, "frame"));
            if damaged > 0 {
                let _ = write!(text, ", {damaged} of them damaged");
            }
            self.hang(&[], &text)?;
        }
        if index.labels.is_empty() {
            self.hang(&[], "No capture could be read.")?;
        }
        if let Some(keys) = &report.decryption {
            let mut text = format!(
                "{}; {} and {} opened, {}",
                counted(keys.secrets as u64, "secret"),
                counted(keys.tls_connections as u64, "TLS connection"),
                counted(keys.dtls_flows as u64, "DTLS handshake"),
                counted(keys.records_opened, "record")
            );
            if keys.records_failed > 0 {
                let _ = write!(text, ", {} not", counted(keys.records_failed, "record"));
            }
            self.hang(&[(PLAIN, "  keys: ")], &text)?;
        }
        Ok(())
    }

    fn capture(&mut self, capture: &Capture, losses: usize) -> io::Result<()> {
        let mut text = format!("· {} · {}", capture.format, counted(capture.frames, "frame"));
        if let Some(first) = &capture.first {
            let _ = write!(text, " · {} from {}", span(capture.seconds), moment(first));
        }
        let dropped: u64 =
            capture.interfaces.iter().filter_map(|interface| interface.dropped).fold(0, u64::saturating_add);
        let told = !capture.interfaces.is_empty() && capture.interfaces.iter().all(|i| i.dropped.is_some());
        if is_damaged(capture) {
            text.push_str(" · DAMAGED");
        }
        if dropped > 0 {
            let _ = write!(text, " · {} dropped while capturing", counted(dropped, "frame"));
        }
        if let Some(seconds) = capture.clock_offset_seconds {
            let way = if seconds > 0.0 { "ahead" } else { "behind" };
            let _ = write!(text, " · clock {:.3} s {way}, corrected", seconds.abs());
        }
        if losses > 0 {
            text.push_str(" · not all seen, see below");
        } else if dropped == 0 && told && !is_damaged(capture) {
            text.push_str(" · nothing lost");
        }
        if columns(&capture.path) > LONG_PATH {
            self.hang(&[(BOLD, &capture.path)], "")?;
            self.hang(&[(PLAIN, "  ")], text.trim_start_matches("· "))?;
        } else {
            self.hang(&[(BOLD, &capture.path), (PLAIN, " ")], &text)?;
        }
        if let Some(damage) = &capture.damage {
            self.hang(&[(PLAIN, "  "), (severity_style(Severity::Medium), "damaged: ")], damage)?;
        }
        self.vantages(capture)
    }

    fn vantages(&mut self, capture: &Capture) -> io::Result<()> {
        let interfaces = &capture.interfaces;
        if self.look.why || interfaces.len() == 1 {
            for interface in interfaces.iter().take(MAX_LIST) {
                let text = format!("{}: {} ({})", interface.name, place(&interface.vantage), interface.vantage_basis);
                self.hang(&[(PLAIN, "  ")], &text)?;
            }
            return self.more("  ", interfaces.len(), MAX_LIST, "interface");
        }
        if interfaces.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for interface in interfaces.iter().take(MAX_LIST) {
            if !text.is_empty() {
                text.push_str(" · ");
            }
            let _ = write!(text, "{}: {}", interface.name, place(&interface.vantage));
        }
        if interfaces.len() > MAX_LIST {
            let _ = write!(text, " · … {} more", interfaces.len() - MAX_LIST);
        }
        let inferred = |i: &super::Interface| i.vantage_basis != "told" && i.vantage != "unknown";
        text.push_str(if interfaces.iter().all(|i| i.vantage_basis == "told") {
            "   (told)"
        } else if interfaces.iter().any(inferred) {
            "   (inferred; --why)"
        } else {
            "   (--why)"
        });
        self.hang(&[(PLAIN, "  ")], &text)
    }

    fn no_session(&mut self, report: &Report) -> io::Result<()> {
        if report.captures.is_empty() {
            return Ok(());
        }
        self.line("")?;
        let headline = no_session_headline(report).to_uppercase();
        self.hang(&[(severity_style(Severity::Medium), headline.as_str())], "")?;
        self.hang(&[(PLAIN, "  ")], &no_session_words(report))
    }

    fn sessions(&mut self, report: &Report, index: &Index) -> io::Result<()> {
        let sessions = &report.sessions;
        if report.summary.sessions > 1 {
            self.line("")?;
            self.hang(&[(BOLD, &overview(report))], "")?;
        }
        let fold = sessions.len() > CALM_SESSIONS;
        let (mut told, mut calm, mut ill) = (0_u64, 0_u64, 0_u64);
        // Sessions with that detector's finding that are not told.
        let mut left_out: BTreeMap<&str, u64> =
            report.summary.detectors.iter().map(|(id, answers)| (id.as_str(), answers.found)).collect();
        let mut after_line = false;
        for session in sessions {
            let findings = index.findings(&session.id);
            let unsure = index.unsure.contains(session.id.as_str());
            if is_healthy(session, findings) && fold && !self.look.why {
                if calm == MAX_SESSIONS as u64 {
                    continue;
                }
                calm += 1;
                if !after_line {
                    self.line("")?;
                }
                self.session_header(session, findings, unsure)?;
                after_line = true;
                continue;
            }
            if told == MAX_SESSIONS as u64 {
                continue;
            }
            told += 1;
            ill += u64::from(!is_healthy(session, findings));
            for id in findings.iter().map(|f| f.detector.as_str()).collect::<BTreeSet<&str>>() {
                left_out.entry(id).and_modify(|sessions| *sessions = sessions.saturating_sub(1));
            }
            after_line = false;
            self.line("")?;
            self.session(session, findings, unsure, report, index)?;
        }
        let all = report.summary.severities;
        let untold = (all.high + all.medium + all.low).saturating_sub(ill);
        let uncalm = report.summary.sessions.saturating_sub(told + calm + untold);
        if untold + uncalm > 0 {
            self.line("")?;
        }
        if untold > 0 {
            let left_out = left_out.iter().filter(|(_, sessions)| **sessions > 0);
            let per_id: Vec<String> =
                left_out.map(|(id, sessions)| format!("{id} in {}", grouped(*sessions))).collect();
            let text = format!(
                "… {} not told here: {}. --format json has all.",
                counted(untold, "more session"),
                per_id.join(", ")
            );
            self.hang(&[], &text)?;
        }
        if uncalm > 0 {
            let text = format!("… {} without findings. --format json has all.", counted(uncalm, "more session"));
            self.hang(&[], &text)?;
        }
        Ok(())
    }

    fn outside_any_session(&mut self, report: &Report, index: &Index) -> io::Result<()> {
        let known: HashSet<&str> = report.sessions.iter().map(|s| s.id.as_str()).collect();
        let rest: Vec<&Finding> =
            report.findings.iter().filter(|finding| !known.contains(finding.session.as_str())).collect();
        if rest.is_empty() {
            return Ok(());
        }
        self.line("")?;
        self.spans(&[(BOLD, "OUTSIDE ANY SESSION")])?;
        let shown = rest.get(..MAX_LIST).unwrap_or(&rest);
        self.findings(shown)?;
        self.more("  ", rest.len(), MAX_LIST, "finding")?;
        self.do_now(shown)?;
        self.look_at(shown, index)
    }

    fn cannot_tell(&mut self, report: &Report) -> io::Result<()> {
        self.list("cannot tell", &unsure_reasons(report))
    }

    fn clear(&mut self, report: &Report) -> io::Result<()> {
        if !self.look.why {
            return Ok(());
        }
        self.list("clear", &clear_reasons(report))
    }

    fn ambiguities(&mut self, report: &Report) -> io::Result<()> {
        let many = report.sessions.len() > 1;
        let mut rows = Vec::new();
        for session in &report.sessions {
            for text in &session.ambiguities {
                rows.push(if many { format!("session {}: {text}", session.id) } else { text.clone() });
            }
        }
        self.list("ambiguous", &rows)
    }

    fn losses(&mut self, report: &Report, index: &Index) -> io::Result<()> {
        let row = |loss: &super::Loss| {
            let text = if loss.text.is_empty() {
                format!("{}: {}", loss.kind, grouped(loss.count))
            } else {
                loss.text.clone()
            };
            match loss.capture.and_then(|capture| index.label(capture)) {
                Some(label) => format!("{label}: {text}"),
                None => text,
            }
        };
        let rows: Vec<String> = report.losses.iter().map(row).collect();
        self.list("not seen", &rows)
    }

    fn next_captures(&mut self, report: &Report) -> io::Result<()> {
        if report.next_captures.is_empty() {
            return Ok(());
        }
        self.line("")?;
        let mut label = "next capture  ";
        if only_for_complaints(report) {
            self.hang(&[(BOLD, label), (PLAIN, "")], "if users still complain")?;
            label = "              ";
        }
        for next in report.next_captures.iter().take(MAX_LIST) {
            let text = format!("{}: {}", place(&next.vantage), next.why);
            self.hang(&[(BOLD, label), (PLAIN, "")], &text)?;
            label = "              ";
            if !next.command.is_empty() {
                let command = self.clean(&next.command);
                self.spans(&[(PLAIN, "                "), (BOLD, &command)])?;
            }
        }
        self.more(label, report.next_captures.len(), MAX_LIST, "capture")
    }

    fn tally(&mut self, report: &Report) -> io::Result<()> {
        if report.captures.is_empty() {
            return Ok(());
        }
        self.line("")?;
        let all = report.summary.answers();
        let answers = [(all.found, "found"), (all.clear, "clear"), (all.cannot_tell, "cannot tell")];
        let parts: Vec<String> = answers
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, word)| format!("{} {word}", grouped(*number)))
            .collect();
        let mut text = String::new();
        if !parts.is_empty() {
            text = counted(all.found + all.clear + all.cannot_tell, "check");
            if report.summary.sessions > 1 {
                let _ = write!(text, " on {}", counted(report.summary.sessions, "session"));
            }
            let _ = write!(text, ": {}.  ", parts.join(", "));
        }
        let worst = report.findings.iter().find(|f| f.severity > Severity::Info);
        match worst.or(report.findings.first()) {
            Some(finding) => {
                let _ = write!(text, "acpcap explain {}", finding.detector);
            }
            None => text.push_str("acpcap detectors: what was asked"),
        }
        // Two spaces set the hint apart; wrapping would fold them.
        let text = self.clean(&text);
        if columns(&text) <= WIDTH {
            return self.line(&text);
        }
        self.hang(&[], &text)
    }
}

/// Why detectors are clear about the sessions told, in order of appearance.
fn clear_reasons(report: &Report) -> Vec<String> {
    let mut groups: Vec<Reason> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for check in report.checks.iter().filter(|check| check.outcome == Answer::Clear) {
        let place = *places.entry(&check.reason).or_insert_with(|| {
            groups.push(Reason { reason: check.reason.clone(), ..Reason::default() });
            groups.len() - 1
        });
        let Some(group) = groups.get_mut(place) else { continue };
        if !group.detectors.contains(&check.detector) {
            group.detectors.push(check.detector.clone());
        }
        if !group.named.contains(&check.session) {
            group.sessions += 1;
            group.named.push(check.session.clone());
        }
    }
    groups.iter().map(|group| reason_row(group, report.sessions.len() > 1)).collect()
}

#[cfg(test)]
mod tests;
