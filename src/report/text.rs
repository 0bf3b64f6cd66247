//! The report as text for a terminal: verdict first, 100 columns, plain when piped.
//!
//! Promises: no byte of a capture reaches the terminal unescaped; only filters and commands, which must stay
//! pasteable, may pass column 100; many sessions stay readable. Refuses: to compute findings or to hide a loss.

use super::rungs;
use super::terminal::{columns, escape, escape_ascii, wrap};
use super::told;
use super::words::{
    Index, basis_word, channel_word, confidence_word, counted, filter_text, frame_list, grouped, inner, is_damaged,
    is_healthy, moment, no_session_headline, no_session_words, only_for_complaints, overview, place, reason_row,
    seen_at, severity_word, since_start, span, unsure_reasons,
};
use super::{Answer, Capture, Confidence, Finding, Limit, Reason, Report, Session, Severity};
use anstyle::{AnsiColor, Style};
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
/// Timeline lines before and after the fold: a story is told by how it began and how it ended.
const TIMELINE_HEAD: usize = 12;
const TIMELINE_TAIL: usize = 7;
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

/// The style of a severity's word.
pub(crate) fn severity_style(severity: Severity) -> Style {
    let colour = match severity {
        Severity::High => AnsiColor::Red,
        Severity::Medium => AnsiColor::Yellow,
        Severity::Low => AnsiColor::Cyan,
        Severity::Info => AnsiColor::Blue,
    };
    colour.on_default().bold()
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const PLAIN: Style = Style::new();
const GOOD: Style = AnsiColor::Green.on_default().bold();

/// A styled piece of a line.
type Span<'a> = (Style, &'a str);

struct Page<'a, W: ?Sized> {
    out: &'a mut W,
    look: Look,
}

impl<W: Write + ?Sized> Page<'_, W> {
    // ---- sections, top to bottom

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

    fn session(
        &mut self,
        session: &Session,
        findings: &[&Finding],
        unsure: bool,
        report: &Report,
        index: &Index,
    ) -> io::Result<()> {
        self.session_header(session, findings, unsure)?;
        if !session.verdict.is_empty() {
            self.hang(&[(PLAIN, "  ")], &session.verdict)?;
        }
        if let Some(to) = &session.proxied_to {
            self.hang(&[(DIM, "  by proxy ")], &format!("{} is a web proxy, asked for {to}", session.gateway))?;
        }
        if let Some(seen) = &session.nat_address {
            self.hang(&[(DIM, "  behind NAT ")], &format!("the gateway sees {} as {seen}", session.client))?;
        }
        if self.look.why || session.confidence != Confidence::High {
            let text = format!("{} ({} confidence)", session.identified_by, confidence_word(session.confidence));
            self.hang(&[(DIM, "  known by ")], &text)?;
        }
        if !findings.is_empty() {
            self.line("")?;
            self.findings(findings)?;
        }
        if is_healthy(session, findings) && !self.look.why {
            return self.ladders(session, report, index);
        }
        self.ruled_out(findings)?;
        self.limits(session, index)?;
        self.do_now(findings)?;
        self.look_at(findings, index)?;
        self.ladders(session, report, index)?;
        self.timeline(session, report, index)
    }

    fn ladders(&mut self, session: &Session, report: &Report, index: &Index) -> io::Result<()> {
        if !self.look.ladder {
            return Ok(());
        }
        for ladder in &session.ladders {
            self.line("")?;
            let at = seen_at(report, index, ladder.capture, &ladder.vantage);
            let stream = if ladder.stream.is_empty() { String::new() } else { format!(", {}", ladder.stream) };
            self.hang(
                &[(BOLD, "  ladder   ")],
                &format!("{}{stream}, seen at {at}: {}", ladder.title, ladder.outcome),
            )?;
            for line in rungs::lines(ladder, WIDTH, self.look.ascii, |text| self.clean(text)) {
                let style = if line.is_head { DIM } else { PLAIN };
                self.spans(&[(style, line.text.trim_end())])?;
            }
        }
        Ok(())
    }

    fn session_header(&mut self, session: &Session, findings: &[&Finding], unsure: bool) -> io::Result<()> {
        let (style, word) = match (session.severity, is_healthy(session, findings)) {
            (Some(severity), false) => (severity_style(severity), severity_word(severity)),
            (None, false) => (BOLD, "FOUND"),
            (_, true) if unsure => (DIM, "nothing found"),
            (_, true) => (GOOD, "ok"),
        };
        let name = self.clean(&format!("SESSION {}", session.id));
        let ends = self.clean(&format!("   {} → {}", session.client, session.gateway));
        let inner = self.clean(&inner(&session.inner_addresses));
        let fixed = columns(&name) + columns(&ends) + 2 + columns(word);
        if fixed + columns(&inner) <= WIDTH {
            let gap = " ".repeat(WIDTH + 2 - fixed - columns(&inner));
            let spans = [(BOLD, name.as_str()), (PLAIN, &ends), (PLAIN, &inner), (PLAIN, &gap), (style, word)];
            return self.spans(&spans);
        }
        self.spans(&[(BOLD, &name), (PLAIN, "   "), (style, word)])?;
        let rest = format!("{}{}", ends.trim_start(), inner);
        self.hang(&[(PLAIN, "  ")], &rest)
    }

    fn findings(&mut self, findings: &[&Finding]) -> io::Result<()> {
        let widest = findings.iter().map(|f| columns(&self.clean(&f.detector)));
        let widest = widest.max().unwrap_or(0).clamp(20, 28);
        for finding in findings {
            let label = match (finding.severity, finding.rank.as_str()) {
                (Severity::Info, _) => "note",
                (_, "effect") => "effect",
                _ => "cause",
            };
            let id = format!("{}   ", self.padded(&finding.detector, widest));
            let mut text = finding.summary.clone();
            if text.is_empty() {
                text.clone_from(&finding.title);
            }
            if finding.confidence != Confidence::High {
                let _ = write!(text, " ({} confidence)", confidence_word(finding.confidence));
            }
            let label = format!("  {label:<9}");
            let indent = " ".repeat(columns(&label) + columns(&id));
            self.hang(&[(severity_style(finding.severity), &label), (BOLD, &id)], &text)?;
            if self.look.why {
                let likely = finding.likely_cause.as_deref().map_or(String::new(), |likely| format!("{likely}; "));
                let basis = &finding.confidence_basis;
                self.hang(&[(PLAIN, &indent), (DIM, "why: ")], &format!("{likely}{basis}"))?;
            }
        }
        Ok(())
    }

    /// What else it could have been, and is not.
    fn ruled_out(&mut self, findings: &[&Finding]) -> io::Result<()> {
        let all = told::ruled_out(findings);
        if all.is_empty() {
            return Ok(());
        }
        self.line("")?;
        for (at, ruled) in all.iter().enumerate().take(MAX_LIST) {
            let label = if at == 0 { "  not      " } else { "           " };
            self.hang(&[(BOLD, label)], &format!("{}: {}", ruled.what, ruled.why))?;
        }
        self.more("           ", all.len(), MAX_LIST, "explanation")
    }

    fn limits(&mut self, session: &Session, index: &Index) -> io::Result<()> {
        if session.limits.is_empty() {
            return Ok(());
        }
        self.line("")?;
        let any_in_force = session.limits.iter().any(|limit| limit.in_force);
        let widest = session.limits.iter();
        let widest = widest.map(|limit| columns(channel_word(&limit.channel)));
        let widest = widest.max().unwrap_or(0).min(12);
        let mut before = "";
        for (at, limit) in session.limits.iter().enumerate().take(MAX_LIST) {
            let label = if at == 0 { "  limits   " } else { "           " };
            let channel = channel_word(&limit.channel);
            let channel = if channel == before { "" } else { channel };
            before = channel_word(&limit.channel);
            let basis = basis_word(limit.basis);
            let text = self.limit_text(limit, session, index, any_in_force);
            let number = format!("{} {:>5}   {basis:<9}   ", self.padded(channel, widest), limit.bytes);
            self.hang(&[(BOLD, label), (PLAIN, &number)], &text)?;
        }
        self.more("           ", session.limits.len(), MAX_LIST, "limit")
    }

    fn limit_text(&self, limit: &Limit, session: &Session, index: &Index, any_in_force: bool) -> String {
        let mut text = limit.source.clone();
        if let Some(since) = &limit.since {
            let _ = write!(text, ", since {}", since_start(&session.start, since));
        }
        if any_in_force && !limit.in_force {
            text.push_str(", for comparison");
        }
        let frames = frame_list(&limit.frames, index);
        if !frames.is_empty() {
            let _ = write!(text, " ({frames})");
        }
        text
    }

    fn do_now(&mut self, findings: &[&Finding]) -> io::Result<()> {
        let (steps, not) = told::remedies(findings);
        if steps.is_empty() && not.is_empty() {
            return Ok(());
        }
        self.line("")?;
        let mut label = "  do now   ";
        // What not to do is no step: it has no number and comes after the steps.
        for (number, step) in (1..).zip(steps) {
            let number = format!("{number:<2}");
            self.hang(&[(BOLD, label), (PLAIN, &number)], step)?;
            label = "           ";
        }
        for step in not {
            self.hang(&[(BOLD, label), (PLAIN, "  ")], &format!("not: {step}"))?;
            label = "           ";
        }
        Ok(())
    }

    fn look_at(&mut self, findings: &[&Finding], index: &Index) -> io::Result<()> {
        let mut seen = HashSet::new();
        let mut rows = Vec::new();
        for finding in findings {
            for note in &finding.filter_notes {
                if seen.insert((note.capture, note.filter.as_str())) {
                    rows.push((note.filter.as_str(), filter_text(note, index)));
                }
            }
            let noted: HashSet<&str> = finding.filter_notes.iter().map(|n| n.filter.as_str()).collect();
            for filter in &finding.filters {
                if !noted.contains(filter.as_str()) && seen.insert((u16::MAX, filter.as_str())) {
                    rows.push((filter.as_str(), String::new()));
                }
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.line("")?;
        let mut label = "  look     ";
        for (filter, text) in rows.iter().take(MAX_LIST) {
            let filter = self.clean(filter);
            let head = format!("{filter:<50}   ");
            if text.is_empty() {
                self.spans(&[(BOLD, label), (PLAIN, filter.trim_end())])?;
            } else if columns(&head) <= 56 {
                self.hang(&[(BOLD, label), (PLAIN, &head)], text)?;
            } else {
                self.spans(&[(BOLD, label), (PLAIN, &filter)])?;
                self.hang(&[(PLAIN, "             ")], text)?;
            }
            label = "           ";
        }
        self.more("           ", rows.len(), MAX_LIST, "filter")
    }

    fn timeline(&mut self, session: &Session, report: &Report, index: &Index) -> io::Result<()> {
        let entries = &session.timeline;
        if entries.is_empty() {
            return Ok(());
        }
        self.line("")?;
        let seen_at = |entry: &super::TimelineEntry| match entry.decrypted {
            true => "in the tunnel".to_owned(),
            false => seen_at(report, index, entry.capture, &entry.vantage),
        };
        let shown: Vec<usize> = if entries.len() <= TIMELINE_HEAD + TIMELINE_TAIL + 1 {
            (0..entries.len()).collect()
        } else {
            let tail = entries.len() - TIMELINE_TAIL;
            (0..TIMELINE_HEAD).chain(tail..entries.len()).collect()
        };
        let at_entry = |&at: &usize| entries.get(at);
        let wheres = shown.iter().filter_map(at_entry);
        let wheres = wheres.map(|e| columns(&self.clean(&seen_at(e))));
        let widest = wheres.max().unwrap_or(0).clamp(7, 26);
        let streams = shown.iter().filter_map(at_entry);
        let streams = streams.map(|e| columns(&self.clean(&e.stream)));
        let stream_width = streams.max().unwrap_or(0).clamp(6, 16);
        let head = format!(
            "   seconds    frame  {}  {}  what happened",
            self.padded("seen at", widest),
            self.padded("stream", stream_width)
        );
        self.spans(&[(DIM, &head)])?;
        let folded = entries.len() - shown.len();
        for (row, &at) in shown.iter().enumerate() {
            let Some(entry) = entries.get(at) else {
                continue;
            };
            if row == TIMELINE_HEAD && folded > 0 {
                let text = format!("… {}, all in --format json", counted(folded as u64, "more event"));
                self.hang(&[(PLAIN, "     ")], &text)?;
            }
            let mut text = entry.text.clone();
            if entry.count > 1 {
                let _ = write!(text, " (×{}", grouped(entry.count));
                if let Some(until) = &entry.until {
                    let _ = write!(text, " until {}", since_start(&session.start, until));
                }
                text.push(')');
            }
            let head = format!(
                "{:>10.3} {:>8}  {}  {}  ",
                entry.seconds,
                entry.frame,
                self.padded(&seen_at(entry), widest),
                self.padded(&entry.stream, stream_width)
            );
            self.hang(&[(PLAIN, &head)], &text)?;
        }
        if session.timeline_dropped > 0 {
            let text =
                format!("{} left out of the timeline: it is bounded", counted(session.timeline_dropped, "event"));
            self.hang(&[(PLAIN, "     ")], &text)?;
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

    // ---- lines

    /// A list under a bold label, a blank line before it; nothing when empty.
    fn list(&mut self, label: &str, rows: &[String]) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.line("")?;
        for (at, row) in rows.iter().enumerate().take(MAX_LIST) {
            let label = format!("{:<14}", if at == 0 { label } else { "" });
            self.hang(&[(BOLD, &label)], row)?;
        }
        self.more("              ", rows.len(), MAX_LIST, "line")
    }

    /// `… 3 more filters, all in --format json`, when there are more.
    fn more(&mut self, indent: &str, all: usize, shown: usize, noun: &str) -> io::Result<()> {
        let Some(rest) = all.checked_sub(shown).filter(|rest| *rest > 0) else {
            return Ok(());
        };
        let noun = format!("more {noun}");
        let text = format!("… {}, all in --format json", counted(rest as u64, &noun));
        self.hang(&[(PLAIN, indent)], &text)
    }

    /// `head`, then `body` wrapped to the page and hanging behind it.
    fn hang(&mut self, head: &[Span], body: &str) -> io::Result<()> {
        let head: Vec<(Style, String)> = head.iter().map(|(style, text)| (*style, self.clean(text))).collect();
        let body = self.clean(body);
        let head_width: usize = head.iter().map(|(_, text)| columns(text)).sum();
        let one_line = head_width + columns(&body) <= WIDTH;
        if one_line || head_width + 24 <= WIDTH {
            for (style, text) in &head {
                self.paint(*style, text)?;
            }
            // A body that fits keeps its own spacing.
            let lines = if one_line { vec![body] } else { wrap(&body, WIDTH - head_width) };
            let indent = " ".repeat(head_width);
            for (at, line) in lines.iter().enumerate() {
                if at > 0 {
                    self.out.write_all(indent.as_bytes())?;
                }
                self.out.write_all(line.trim_end().as_bytes())?;
                self.out.write_all(b"\n")?;
            }
            return Ok(());
        }
        // The head leaves no room beside it: cut it to lines of its own.
        let (style, whole) = head.iter().fold((PLAIN, String::new()), |(_, all), (s, t)| (*s, all + t));
        for line in wrap(&whole, WIDTH) {
            self.paint(style, &line)?;
            self.out.write_all(b"\n")?;
        }
        if body.is_empty() {
            return Ok(());
        }
        for line in wrap(&body, WIDTH - 4) {
            writeln!(self.out, "    {line}")?;
        }
        Ok(())
    }

    /// One line of clean pieces, whatever its width.
    fn spans(&mut self, spans: &[Span]) -> io::Result<()> {
        for (style, text) in spans {
            self.paint(*style, text)?;
        }
        self.out.write_all(b"\n")
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        self.spans(&[(PLAIN, text)])
    }

    fn paint(&mut self, style: Style, text: &str) -> io::Result<()> {
        if !self.look.colour || style == PLAIN || text.trim().is_empty() {
            return self.out.write_all(text.as_bytes());
        }
        write!(self.out, "{style}{text}{style:#}")
    }

    fn clean(&self, text: &str) -> String {
        if self.look.ascii {
            return escape_ascii(text);
        }
        escape(text).into_owned()
    }

    /// Clean and filled with spaces to `width` columns.
    fn padded(&self, text: &str, width: usize) -> String {
        let mut text = self.clean(text);
        let used = columns(&text);
        text.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
        text
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
mod tests {
    use super::*;
    use crate::report::terminal::is_hostile;
    use crate::report::{
        Basis, Check, Evidence, Filter, FrameNumber, Interface, Loss, NextCapture, SCHEMA_VERSION, Summary,
        TimelineEntry,
    };
    use proptest::prelude::*;

    fn page(report: &Report, look: Look) -> String {
        let summary = Summary::of(&report.sessions, &report.checks);
        let report = &Report { summary, ..report.clone() };
        let mut out = Vec::new();
        render(report, look, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn plain(report: &Report) -> String {
        page(report, Look::default())
    }

    fn snapshot(name: &str, text: &str) {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../tests/snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, text));
    }

    fn assert_fits(text: &str, pasteable: &[&str]) {
        for line in text.lines() {
            let free = pasteable.iter().any(|words| line.contains(words));
            assert!(free || columns(line) <= WIDTH, "{} columns: {line}", columns(line));
            assert_eq!(line, line.trim_end());
        }
    }

    fn interface(name: &str, vantage: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            link_type: "ether".to_owned(),
            vantage: vantage.to_owned(),
            vantage_basis: "both ends of the tunnel's outer path answer from here".to_owned(),
            frames: 180,
            dropped: Some(0),
        }
    }

    fn finding(detector: &str, rank: &str, severity: Severity, summary: &str) -> Finding {
        Finding {
            detector: detector.to_owned(),
            session: "1".to_owned(),
            severity,
            confidence: Confidence::High,
            title: "title".to_owned(),
            summary: summary.to_owned(),
            rank: rank.to_owned(),
            confidence_basis: "what was seen, in the detector's words".to_owned(),
            evidence: vec![Evidence::default()],
            ..Finding::default()
        }
    }

    fn limit(channel: &str, bytes: u32, basis: Basis, source: &str, frames: &[u32]) -> Limit {
        let frames = frames.iter().map(|&frame| FrameNumber { capture: 0, frame });
        Limit {
            channel: channel.to_owned(),
            bytes,
            basis,
            source: source.to_owned(),
            since: None,
            frames: frames.collect(),
            in_force: basis == Basis::Observed,
        }
    }

    fn event(seconds: f64, frame: u32, vantage: &str, stream: &str, text: &str) -> TimelineEntry {
        TimelineEntry {
            at: "2026-11-23T11:01:34Z".to_owned(),
            seconds,
            frame,
            vantage: vantage.to_owned(),
            stream: stream.to_owned(),
            kind: "dtls".to_owned(),
            text: text.to_owned(),
            count: 1,
            ..TimelineEntry::default()
        }
    }

    fn check(detector: &str, session: &str, outcome: Answer, reason: &str) -> Check {
        Check { detector: detector.to_owned(), session: session.to_owned(), outcome, reason: reason.to_owned() }
    }

    fn filter(filter: &str, shows: &str, frames: u64) -> Filter {
        Filter { filter: filter.to_owned(), capture: 0, shows: shows.to_owned(), frames: Some(frames) }
    }

    /// The TAC note's case, as all four vantages saw it.
    fn flagship() -> Report {
        let mut cause = finding(
            "dtls-never-completes",
            "cause",
            Severity::High,
            "10 ClientHellos in 55.0 s from the client NIC, none at the gateway's outside interface: lost between \
             the two. QUIC control: none in capture.",
        );
        cause.filter_notes =
            vec![filter("dtls.handshake.type == 1 && ip.addr == 198.51.100.10", "the ClientHellos", 10)];
        cause.filters = vec![cause.filter_notes[0].filter.clone()];
        cause.remedy = vec![
            "permit udp/443 to 203.0.113.2 on the path between phys0 and outside".to_owned(),
            "or, until then: anyconnect mtu 1300 for this group (equal MTUs, no reconnect; slightly smaller packets)"
                .to_owned(),
            "not: sysopt connection tcpmss 1460 (TCP only; UDP above 1418 is still lost; touches L2L tunnels)"
                .to_owned(),
        ];
        let mut oversized = finding(
            "oversized-df",
            "effect",
            Severity::High,
            "19 packets of 1418 B with DF toward the client; limit 1347 (TLS tunnel). One segment sent 9 times over \
             54.6 s; nothing above 1347 got through.",
        );
        oversized.remedy = vec![
            cause.remedy[1].clone(),
            "or: anyconnect ssl df-bit-ignore enable (fragments instead of drops; costs CPU, hides the cause)"
                .to_owned(),
        ];
        oversized.filter_notes = vec![filter(
            "frame.number in {93..103, 106, 107, 108, 189, 191, 193, 195, 212, 214, 233}",
            "the packets above the limit",
            19,
        )];
        let reconnect = finding(
            "reconnect-for-mtu",
            "effect",
            Severity::Medium,
            "tunnel closed 60.0 s after it came up, new CONNECT 1.0 s later; inner SYN MSS 1378 → 1307.",
        );
        let mut note =
            finding("legacy-dtls", "effect", Severity::Info, "DTLS record version 0x0100, from before RFC 4347.");
        note.confidence = Confidence::Medium;
        let mut limits = vec![
            limit("dtls", 1418, Basis::Observed, "inner SYN MSS 1378 + 40", &[72]),
            limit("tls", 1347, Basis::Observed, "inner SYN MSS 1307 + 40", &[248]),
            limit(
                "tls",
                1303,
                Basis::Derived,
                "AES256-CBC-SHA256 in outer MSS 1380: 1380 − 5 record − 16 IV − 8 CSTP − 32 MAC − padding",
                &[10, 18],
            ),
        ];
        limits[1].since = Some("2026-11-23T11:02:35.200Z".to_owned());
        let mut hello = event(0.8, 62, "client", "udp.stream 0", "DTLS ClientHello, version 0x0100, resumption");
        hello.count = 10;
        hello.until = Some("2026-11-23T11:02:29.200123456Z".to_owned());
        Report {
            summary: Summary::default(),
            decryption: None,
            schema_version: SCHEMA_VERSION.to_owned(),
            tool: "acpcap 0.1.0".to_owned(),
            complete: true,
            captures: vec![Capture {
                path: "all.pcapng".to_owned(),
                format: "pcapng".to_owned(),
                frames: 730,
                bytes: 123_456,
                first: Some("2026-11-23T11:01:33.400123Z".to_owned()),
                last: Some("2026-11-23T11:02:49.600123Z".to_owned()),
                seconds: 76.2,
                interfaces: vec![
                    interface("outside", "outside"),
                    interface("phys0", "client"),
                    interface("inside", "inside"),
                    interface("cscotun0", "virtual-adapter"),
                ],
                truncated: false,
                clock_offset_seconds: None,
                damage: None,
            }],
            sessions: vec![Session {
                id: "1".to_owned(),
                client: "198.51.100.10".to_owned(),
                gateway: "203.0.113.2:443".to_owned(),
                start: "2026-11-23T11:01:33.400Z".to_owned(),
                end: "2026-11-23T11:02:49.600Z".to_owned(),
                inner_addresses: vec!["10.10.10.1".to_owned()],
                severity: Some(Severity::High),
                verdict: "UDP/443 from this client never reaches the gateway. DTLS was never answered, downloads \
                          over the TLS tunnel hung on packets too big for it, and after 60 s the client \
                          reconnected to lower its MTU."
                    .to_owned(),
                identified_by: "DTLS resumption beside TLS to the same server".to_owned(),
                confidence: Confidence::High,
                limits,
                timeline: vec![
                    event(0.784, 1, "client", "tcp.stream 0", "SYN, MSS 1460 (gateway answers 1380)"),
                    event(
                        0.789,
                        9,
                        "client",
                        "tcp.stream 1",
                        "second connection: the tunnel, TLS 1.2 AES256-CBC-SHA256",
                    ),
                    hello,
                    event(3.863, 72, "inside", "tcp.stream 2", "10.10.10.1 opens 10.48.66.200:80 with MSS 1378"),
                    event(60.8, 240, "outside", "tcp.stream 1", "tunnel closed by the client"),
                ],
                ..Session::default()
            }],
            findings: vec![cause, oversized, reconnect, note],
            checks: vec![
                check("dtls-never-completes", "1", Answer::Found, "10 unanswered"),
                check("oversized-df", "1", Answer::Found, "19 packets"),
                check("reconnect-for-mtu", "1", Answer::Found, "1 reconnect"),
                check("legacy-dtls", "1", Answer::Found, "0x0100"),
                check("tcpmss-clamp", "1", Answer::Clear, "MSS unchanged on the way"),
                check("dpd-lost", "1", Answer::Clear, "every DPD was answered"),
                check("missing-frag-needed", "1", Answer::CannotTell, "the inside capture starts late"),
                check("path-mtu", "1", Answer::CannotTell, "the inside capture starts late"),
            ],
            losses: vec![Loss {
                kind: "undecoded".to_owned(),
                capture: None,
                count: 3,
                text: "3 frames of a link type that is not read; nothing in them was judged.".to_owned(),
                limit: false,
            }],
            next_captures: vec![NextCapture {
                session: "1".to_owned(),
                vantage: "inside".to_owned(),
                why: "whether the gateway sends Fragmentation Needed, and whether the inside server gets it".to_owned(),
                command: "capture INS interface inside buffer 33554432 packet-length 1522 match ip host 10.10.10.1 any"
                    .to_owned(),
            }],
        }
    }

    fn many(count: usize, sick_every: usize) -> Report {
        let mut report = flagship();
        let (session, finding) = (report.sessions[0].clone(), report.findings[0].clone());
        report.sessions.clear();
        report.findings.clear();
        report.checks.clear();
        for number in 1..=count {
            let id = number.to_string();
            let mut session = session.clone();
            session.id.clone_from(&id);
            if number % sick_every == 0 {
                let mut finding = finding.clone();
                finding.session.clone_from(&id);
                report.checks.push(check(&finding.detector, &id, Answer::Found, "found"));
                report.findings.push(finding);
            } else {
                session.severity = None;
                session.verdict = "DTLS carried the data throughout; nothing was lost.".to_owned();
            }
            report.checks.push(check("path-mtu", &id, Answer::CannotTell, "no inside capture"));
            report.sessions.push(session);
        }
        report
    }

    #[test]
    fn the_flagship_reads_as_it_should() {
        let text = plain(&flagship());
        snapshot("text_flagship", &text);
        assert_fits(&text, &["frame.number in", "capture INS"]);
    }

    #[test]
    fn the_flagship_with_reasons_in_ascii() {
        let look = Look { ascii: true, why: true, ladder: true, colour: false };
        let text = page(&flagship(), look);
        snapshot("text_flagship_ascii_why", &text);
        assert!(text.is_ascii());
        assert_fits(&text, &["frame.number in", "capture INS"]);
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let look = Look { colour: true, ..Look::default() };
        let coloured = page(&flagship(), look);
        assert!(coloured.contains("\u{1b}["));
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain(&flagship()));
    }

    #[test]
    fn no_session_says_so_at_once() {
        let mut report = flagship();
        report.sessions.clear();
        report.findings.clear();
        report.checks.clear();
        let text = plain(&report);
        snapshot("text_no_session", &text);
        assert_fits(&text, &["capture INS"]);
    }

    #[test]
    fn where_no_session_could_be_seen_none_is_denied() {
        let report = |kind: &str, count| {
            let loss =
                Loss { kind: kind.to_owned(), count, text: format!("{count} frames are odd"), ..Loss::default() };
            let captures = vec![Capture { frames: 100, ..Capture::default() }];
            Report { complete: true, captures, losses: vec![loss], ..Report::default() }
        };
        let words = |kind, count| no_session_words(&report(kind, count));
        let unread = "Most of the 100 frames in 1 capture could not be read: 51 frames are odd. Whether";
        assert!(words("undecoded", 51).starts_with(unread));
        assert!(words("undecoded", 50).starts_with("None of the 100 frames"));
        assert!(!words("undecoded", 100).contains("in the others"));
        let headline = |kind, count| no_session_headline(&report(kind, count));
        assert_eq!(headline("undecoded", 51), "No AnyConnect session recognised");
        assert_eq!(headline("undecoded", 50), "No AnyConnect session");
        let cut = words("cut-frames", 1);
        assert!(
            cut.starts_with("No AnyConnect session was recognised in the 100 frames in 1 capture, and 1 of them"),
            "{cut}"
        );
        assert!(words("other-tls", 1).contains("but there are TLS connections"));
        assert_eq!(headline("other-tls", 1), "No AnyConnect session recognised");
    }

    #[test]
    fn a_healthy_session_is_calm() {
        let mut report = many(1, 2);
        report.checks.clear();
        report.losses.clear();
        report.next_captures.clear();
        let text = plain(&report);
        snapshot("text_healthy", &text);
    }

    #[test]
    fn damage_and_losses_are_in_the_first_lines() {
        let mut report = flagship();
        report.captures.push(Capture {
            path: "d/all.pcapng".to_owned(),
            format: "gzip+pcapng".to_owned(),
            truncated: true,
            damage: Some("d/all.pcapng: offset 4096: the block's length of 3 is no multiple of 4".to_owned()),
            ..Capture::default()
        });
        report.losses[0].capture = Some(1);
        let text = plain(&report);
        let second = text.lines().find(|line| line.starts_with("d/all")).unwrap();
        assert_eq!(second, "d/all.pcapng · gzip+pcapng · 0 frames · DAMAGED · not all seen, see below");
        assert!(text.contains("\n  damaged: d/all.pcapng: offset 4096"), "{text}");
        assert!(text.contains("not seen      d/all.pcapng: 3 frames"), "{text}");
        assert!(text.contains("(in all.pcapng)"), "{text}");
    }

    #[test]
    fn a_long_timeline_is_folded_in_the_middle() {
        let mut report = flagship();
        let timeline = &mut report.sessions[0].timeline;
        for n in 0..60 {
            timeline.push(event(100.0 + f64::from(n), 300 + n, "client", "", "something"));
        }
        report.sessions[0].timeline_dropped = 1234;
        let text = plain(&report);
        assert!(text.contains("… 46 more events, all in --format json"), "{text}");
        assert!(text.contains("1,234 events left out"), "{text}");
        assert!(text.contains("159.000"), "{text}");
        assert_eq!(text.lines().filter(|line| line.ends_with("something")).count(), 14);
    }

    #[test]
    fn many_sessions_stay_readable() {
        let text = plain(&many(30, 10));
        assert!(text.contains("30 sessions: 3 high (sessions 10, 20 and 30), 27 without findings"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("SESSION")).count(), 30);
        assert_eq!(text.matches("reconnected to lower").count(), 3);
        assert_eq!(text.matches("DTLS carried").count(), 0);
        assert!(text.contains("path-mtu: no inside capture (30 sessions)"), "{text}");

        let text = plain(&many(2000, 4));
        assert!(text.contains("… 450 more sessions not told here: dtls-never-completes in 450."), "{text}");
        assert!(text.contains("… 1,450 more sessions without findings."), "{text}");
        assert!(text.contains("on 2,000 sessions"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("SESSION")).count(), 100);
    }

    #[test]
    fn findings_of_no_session_are_still_told() {
        let mut report = flagship();
        report.findings[3].session = "".to_owned();
        let text = plain(&report);
        assert!(text.contains("OUTSIDE ANY SESSION\n  note     legacy-dtls"), "{text}");
    }

    #[test]
    fn a_closed_pipe_is_an_error_and_no_panic() {
        struct Closed(usize);
        impl Write for Closed {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for room in [0, 1, 100, 1000] {
            let error = render(&flagship(), Look::default(), &mut Closed(room)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
    }

    /// Every string of a report, its own to choose.
    fn hostile(mut next: impl FnMut() -> String) -> Report {
        let mut report = flagship();
        let capture = &mut report.captures[0];
        (capture.path, capture.format) = (next(), next());
        (capture.first, capture.damage) = (Some(next()), Some(next()));
        for interface in &mut capture.interfaces {
            (interface.name, interface.vantage, interface.vantage_basis) = (next(), next(), next());
        }
        let session = &mut report.sessions[0];
        (session.id, session.client, session.gateway) = (next(), next(), next());
        (session.start, session.verdict, session.identified_by) = (next(), next(), next());
        session.confidence = Confidence::Low;
        session.inner_addresses = vec![next(), next()];
        session.ambiguities = vec![next(), next()];
        for limit in &mut session.limits {
            (limit.channel, limit.source, limit.since) = (next(), next(), Some(next()));
        }
        for entry in &mut session.timeline {
            (entry.vantage, entry.stream, entry.text) = (next(), next(), next());
            (entry.until, entry.count) = (Some(next()), 2);
        }
        let id = session.id.clone();
        for finding in &mut report.findings {
            (finding.detector, finding.rank, finding.summary) = (next(), next(), next());
            finding.session = if finding.severity == Severity::Info { next() } else { id.clone() };
            finding.remedy = vec![next(), next()];
            finding.filters = vec![next()];
            for note in &mut finding.filter_notes {
                (note.filter, note.shows) = (next(), next());
            }
        }
        for check in &mut report.checks {
            (check.detector, check.session, check.reason) = (next(), next(), next());
        }
        for loss in &mut report.losses {
            (loss.kind, loss.text) = (next(), next());
        }
        for capture in &mut report.next_captures {
            (capture.vantage, capture.why, capture.command) = (next(), next(), next());
        }
        report
    }

    proptest! {
        #[test]
        fn nothing_from_a_capture_reaches_the_terminal_raw(
            strings in proptest::collection::vec("\\PC{0,3}[\u{0}-\u{a0}\u{200b}-\u{202e}\u{2066}-\u{2069}\u{feff} a-z]{0,60}", 1..20),
            why: bool,
        ) {
            let mut at = 0;
            let report = hostile(|| {
                at += 1;
                strings[at % strings.len()].clone()
            });
            let text = page(&report, Look { why, ..Look::default() });
            prop_assert!(text.chars().all(|c| c == '\n' || !is_hostile(c)), "{:?}", text);
            let ascii = page(&report, Look { why, ascii: true, ..Look::default() });
            prop_assert!(ascii.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{:?}", ascii);
            let coloured = page(&report, Look { why, colour: true, ..Look::default() });
            prop_assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), text);
        }
    }
}
