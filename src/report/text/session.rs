//! One session: its verdict, the findings and what they rest on, what to do, where to look, what happened when.

use super::page::{BOLD, DIM, GOOD, PLAIN, Page};
use super::{MAX_LIST, WIDTH, severity_style};
use crate::report::terminal::columns;
use crate::report::words::{
    Index, basis_word, channel_word, confidence_word, counted, filter_text, frame_list, grouped, inner, is_healthy,
    seen_at, severity_word, since_start,
};
use crate::report::{Confidence, Finding, Limit, Report, Session, Severity, TimelineEntry, rungs, told};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Timeline lines before and after the fold: a story is told by how it began and how it ended.
const TIMELINE_HEAD: usize = 12;
const TIMELINE_TAIL: usize = 7;

impl<W: Write + ?Sized> Page<'_, W> {
    pub(super) fn session(
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

    pub(super) fn session_header(&mut self, session: &Session, findings: &[&Finding], unsure: bool) -> io::Result<()> {
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

    pub(super) fn findings(&mut self, findings: &[&Finding]) -> io::Result<()> {
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

    pub(super) fn do_now(&mut self, findings: &[&Finding]) -> io::Result<()> {
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

    pub(super) fn look_at(&mut self, findings: &[&Finding], index: &Index) -> io::Result<()> {
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
        let seen_at = |entry: &TimelineEntry| match entry.decrypted {
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
}
