//! The report as one HTML page: for people who were not there, in a browser, on paper, on a phone.
//!
//! Promises: one file that loads nothing, whole without its script; every string of a capture is escaped by [`escape`];
//! worst sessions first; as many sessions as there may be, a page that opens. Refuses: to compute findings or to hide a loss.

mod escape;
mod lanes;
mod plot;
mod rungs;
mod sizes;

use super::told;
use super::words::{
    Index, basis_word, channel_word, confidence_word, counted, filter_text, frame_list, grouped, inner, is_damaged,
    is_healthy, moment, no_session_headline, no_session_words, only_for_complaints, overview, place, seconds_only,
    seen_at, severity_word, since_start, span, unsure_reasons,
};
use super::{Answer, Confidence, Finding, Ladder, Report, Session, Severity};
use escape::{Esc, Prose};
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::HashSet;
use std::io::{self, Write};

/// Sessions told in full, with charts and tables; the worst first.
pub const MAX_FULL: usize = 40;
/// Further sessions given a row; more are counted.
pub const MAX_ROWS: usize = 1000;
/// Sessions it takes one by one.
pub const MAX_SESSIONS: usize = MAX_FULL + MAX_ROWS;
/// Rows of one table; more are counted.
pub const MAX_TABLE: usize = 200;
/// Rows of the lists at the end (cannot tell, not seen); more are counted.
const MAX_LIST: usize = 40;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Writes the page.
///
/// # Errors
///
/// What `out` says.
pub fn render(report: &Report, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let index = Index::new(report);
    let mut order: Vec<&Session> = report.sessions.iter().collect();
    // The sort keeps the order of start among equals.
    order.sort_by_key(|session| Reverse(rank(session, &index)));
    let mut page = Page { out, report, index, order };
    page.head()?;
    page.verdict()?;
    page.sessions()?;
    page.outside_any_session()?;
    page.not_seen()?;
    page.next_captures()?;
    page.captures()?;
    page.foot()
}

/// The worse, the greater: faults by severity, then what could not be told, then the rest.
fn rank(session: &Session, index: &Index<'_>) -> (Option<Severity>, bool) {
    (session.severity, index.unsure.contains(session.id.as_str()))
}

struct Page<'a, W: ?Sized> {
    out: &'a mut W,
    report: &'a Report,
    index: Index<'a>,
    order: Vec<&'a Session>,
}

/// How a session's colours and words go.
struct Tone {
    class: &'static str,
    word: &'static str,
}

impl<'a, W: Write + ?Sized> Page<'a, W> {
    fn head(&mut self) -> io::Result<()> {
        let title = self.order.first().map_or("no AnyConnect session", |session| session.verdict.as_str());
        let files: Vec<&str> = self.report.captures.iter().take(3).map(|c| c.path.as_str()).collect();
        write!(
            self.out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; \
             base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n\
             <title>{} · {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <a class=\"skip\" href=\"#verdict\">Skip to the verdict</a>\n<header>\n<h1>AnyConnect VPN analysis</h1>\n<p class=\"note\">",
            hash(STYLE),
            hash(SCRIPT),
            Esc(title),
            Esc(&files.join(", "))
        )?;
        self.header_line()?;
        self.out.write_all(b"</p>\n</header>\n")?;
        self.navigation()?;
        self.out.write_all(b"<main>\n")
    }

    fn header_line(&mut self) -> io::Result<()> {
        let captures = &self.report.captures;
        let frames = captures.iter().map(|c| c.frames).fold(0, u64::saturating_add);
        let Some(first) = captures.first() else {
            return self.out.write_all(b"No capture could be read.");
        };
        let names: Vec<String> = captures.iter().take(4).map(|c| Esc(&c.path).to_string()).collect();
        write!(self.out, "<span class=\"mono\">{}</span>", names.join(", "))?;
        if captures.len() > names.len() {
            write!(self.out, " and {}", counted((captures.len() - names.len()) as u64, "more capture"))?;
        }
        write!(self.out, " · {}", counted(frames, "frame"))?;
        if let Some(at) = &first.first {
            write!(self.out, " · {} from {}", span(first.seconds), Esc(&moment(at)))?;
        }
        if !self.report.complete || captures.iter().any(is_damaged) {
            self.out.write_all(b" \xc2\xb7 <a href=\"#not-seen\">not all was seen</a>")?;
        }
        Ok(())
    }

    fn navigation(&mut self) -> io::Result<()> {
        self.out.write_all(b"<nav aria-label=\"Sections\"><ul>\n<li><a href=\"#verdict\">Verdict</a></li>")?;
        for session in self.order.iter().take(8) {
            write!(self.out, "<li><a href=\"#session-{0}\">Session {0}</a></li>", Esc(&session.id))?;
        }
        if self.order.len() > 8 {
            self.out.write_all(b"<li><a href=\"#sessions\">All sessions</a></li>")?;
        }
        self.out.write_all(
            b"<li><a href=\"#not-seen\">What could not be seen</a></li><li><a href=\"#next\">Next capture</a></li>\
              <li><a href=\"#captures\">Captures</a></li></ul></nav>\n",
        )
    }

    // ---- verdict and remedy

    fn verdict(&mut self) -> io::Result<()> {
        self.out.write_all(
            b"<section id=\"verdict\" aria-labelledby=\"verdict-h\">\n<h2 id=\"verdict-h\">Verdict</h2>\n",
        )?;
        let Some(worst) = self.order.first().copied() else {
            writeln!(
                self.out,
                "<div class=\"verdict\"><p class=\"said\"><strong>{}.</strong> {}</p></div>\n</section>",
                Esc(no_session_headline(self.report)),
                Esc(&no_session_words(self.report))
            )?;
            return Ok(());
        };
        if self.order.len() > 1 {
            write!(self.out, "<p>{}. The worst of them:</p>", Esc(&overview(self.report)))?;
        }
        self.verdict_card(worst)?;
        let findings = self.index.findings(&worst.id).to_vec();
        self.steps(&findings, "What to do")?;
        self.out.write_all(b"</section>\n")
    }

    fn verdict_card(&mut self, session: &Session) -> io::Result<()> {
        let tone = self.tone(session);
        writeln!(
            self.out,
            "<div class=\"verdict {}\"><p class=\"who\"><span class=\"badge {}\">{}</span><span>Session {}</span>\
             <span class=\"mono\">{} → {}</span><span>{}</span></p>\n<p class=\"said\">{}</p></div>",
            tone.class,
            tone.class,
            tone.word,
            Esc(&session.id),
            Esc(&session.client),
            Esc(&session.gateway),
            Esc(&inner(&session.inner_addresses)),
            Esc(&session.verdict)
        )
    }

    fn tone(&self, session: &Session) -> Tone {
        let findings = self.index.findings(&session.id);
        let healthy = is_healthy(session, findings);
        let (class, word) = match session.severity.filter(|_| !healthy) {
            Some(Severity::High) => ("high", severity_word(Severity::High)),
            Some(Severity::Medium) => ("medium", severity_word(Severity::Medium)),
            Some(Severity::Low) => ("low", severity_word(Severity::Low)),
            Some(Severity::Info) => ("info", severity_word(Severity::Info)),
            None if !healthy => ("info", "found"),
            None if self.index.unsure.contains(session.id.as_str()) => ("open", "nothing found"),
            None => ("good", "ok"),
        };
        Tone { class, word }
    }

    fn steps(&mut self, findings: &[&Finding], head: &str) -> io::Result<()> {
        let (steps, not) = told::remedies(findings);
        if steps.is_empty() && not.is_empty() {
            return Ok(());
        }
        write!(self.out, "<h3>{head}</h3>\n<ol class=\"steps\">")?;
        for step in steps {
            writeln!(self.out, "<li>{}</li>", Prose(&capitalised(step)))?;
        }
        self.out.write_all(b"</ol>\n")?;
        for step in not {
            writeln!(self.out, "<p class=\"note\"><strong>Not:</strong> {}</p>", Prose(step))?;
        }
        Ok(())
    }

    // ---- sessions

    fn sessions(&mut self) -> io::Result<()> {
        let order = self.order.clone();
        let is_only = order.len() == 1;
        if order.len() > 1 {
            self.out.write_all(b"<section id=\"sessions\" aria-labelledby=\"sessions-h\"><h2 id=\"sessions-h\">Sessions, the worst first</h2>\n")?;
        }
        for (at, session) in order.iter().take(MAX_FULL).enumerate() {
            if is_only {
                writeln!(
                    self.out,
                    "<section id=\"session-{0}\" aria-labelledby=\"session-{0}-h\"><h2 id=\"session-{0}-h\">What was seen</h2>",
                    Esc(&session.id)
                )?;
                self.session(session, false)?;
                self.out.write_all(b"</section>\n")?;
                continue;
            }
            let tone = self.tone(session);
            let open = if at == 0 { " open" } else { "" };
            writeln!(
                self.out,
                "<details class=\"session\" id=\"session-{0}\"{open}><summary><span class=\"badge {1}\">{2}</span> Session {0} <span class=\"mono\">{3} → {4}</span></summary>",
                Esc(&session.id),
                tone.class,
                tone.word,
                Esc(&session.client),
                Esc(&session.gateway)
            )?;
            // The verdict and remedy of the worst stand at the top.
            self.session(session, at > 0)?;
            self.out.write_all(b"</details>\n")?;
        }
        self.rows(order.get(MAX_FULL..).unwrap_or_default())?;
        if order.len() > 1 {
            self.out.write_all(b"</section>\n")?;
        }
        Ok(())
    }

    /// The sessions that are not told in full.
    fn rows(&mut self, rest: &[&Session]) -> io::Result<()> {
        if rest.is_empty() {
            return Ok(());
        }
        // Those left out of the report are counted too.
        let full = self.order.len().saturating_sub(rest.len());
        let all = (self.report.summary.sessions as usize).saturating_sub(full).max(rest.len());
        writeln!(self.out, "<details><summary>{}</summary>", counted(all as u64, "more session"))?;
        self.table_head(
            "Sessions told in a line; --format json has them in full",
            &["session", "client", "gateway", "", "verdict"],
        )?;
        for session in rest.iter().take(MAX_ROWS) {
            let tone = self.tone(session);
            writeln!(
                self.out,
                "<tr id=\"session-{}\"><th scope=\"row\">{0}</th><td class=\"mono\">{}</td><td class=\"mono\">{}</td><td><span class=\"badge {}\">{}</span></td><td>{}</td></tr>",
                Esc(&session.id),
                Esc(&session.client),
                Esc(&session.gateway),
                tone.class,
                tone.word,
                Esc(&session.verdict)
            )?;
        }
        self.table_foot(all, rest.len().min(MAX_ROWS), "session")?;
        self.out.write_all(b"</details>\n")
    }

    fn session(&mut self, session: &Session, with_verdict: bool) -> io::Result<()> {
        let findings = self.index.findings(&session.id).to_vec();
        if with_verdict {
            writeln!(self.out, "<p class=\"said\">{}</p>", Esc(&session.verdict))?;
        }
        self.facts(session)?;
        self.findings(&findings)?;
        if with_verdict {
            self.steps(&findings, "What to do")?;
        }
        self.charts(session)?;
        for (at, ladder) in session.ladders.iter().enumerate() {
            self.ladder(session, ladder, at)?;
        }
        self.evidence(&findings)?;
        self.limits(session)?;
        self.ruled_out(&findings)?;
        self.timeline(session)?;
        self.checks(session)
    }

    fn facts(&mut self, session: &Session) -> io::Result<()> {
        let mut facts: Vec<String> = Vec::new();
        if let Some(to) = &session.proxied_to {
            facts.push(format!("{} is a web proxy, asked for {to}", session.gateway));
        }
        if let Some(seen) = &session.nat_address {
            facts.push(format!("behind NAT: the gateway sees {} as {seen}", session.client));
        }
        if let Some(left) = &session.came_from {
            facts.push(format!("the client had just left gateway {left}"));
        }
        facts.push(format!("known by: {} ({} confidence)", session.identified_by, confidence_word(session.confidence)));
        for fact in facts {
            writeln!(self.out, "<p class=\"note\">{}</p>", Esc(&fact))?;
        }
        Ok(())
    }

    fn findings(&mut self, findings: &[&Finding]) -> io::Result<()> {
        for finding in findings {
            let class = severity_word(finding.severity).to_ascii_lowercase();
            let rank = match (finding.severity, finding.rank.as_str()) {
                (Severity::Info, _) => "note",
                (_, "effect") => "effect",
                _ => "cause",
            };
            let summary = if finding.summary.is_empty() { &finding.title } else { &finding.summary };
            let sure = if finding.confidence == Confidence::High { "" } else { confidence_word(finding.confidence) };
            write!(
                self.out,
                "<article class=\"finding\"><h3><span class=\"rank {class}\">{rank}</span><span>{}</span><code>{}</code></h3>\n<p>{}</p>",
                Esc(&finding.title),
                Esc(&finding.detector),
                Prose(summary)
            )?;
            if !sure.is_empty() {
                write!(self.out, "<p class=\"note\">{sure} confidence: {}</p>", Esc(&finding.confidence_basis))?;
            }
            self.out.write_all(b"</article>\n")?;
        }
        Ok(())
    }

    // ---- charts

    fn charts(&mut self, session: &Session) -> io::Result<()> {
        let id = format!("lanes-{}", identifier(&session.id));
        if let Some(svg) = lanes::draw(self.report, &self.index, session, &id) {
            self.out.write_all(b"<h3>Over time</h3>\n")?;
            let key = "<ul class=\"key\" aria-hidden=\"true\"><li>bars: connections, solid where data flowed</li><li>dots: DTLS ClientHellos</li><li>dashed line: reconnect</li></ul>";
            self.figure(
                &svg,
                "Connections, DTLS attempts, ICMP errors and reconnects, in seconds since the session began.",
                key,
            )?;
        }
        let id = format!("sizes-{}", identifier(&session.id));
        self.out.write_all(b"<h3>Packet sizes</h3>\n")?;
        let Some(svg) = sizes::draw(session, &id) else {
            return self.out.write_all(
                b"<p class=\"note\">No packet sizes to draw: without keys, the sizes inside a tunnel show only at the gateway's inside \
                  interface or the client's VPN adapter.</p>\n",
            );
        };
        let key = "<ul class=\"key\" aria-hidden=\"true\"><li>▼ toward the client</li><li>▲ toward the server</li><li>✕ never got through</li><li>horizontal lines: what a packet may measure</li></ul>";
        self.figure(
            &svg,
            "IP length of large packets over time, as runs of equal sizes, with the MTUs of the tunnels.",
            key,
        )?;
        self.sizes_table(session)
    }

    fn figure(&mut self, svg: &str, caption: &str, key: &str) -> io::Result<()> {
        writeln!(
            self.out,
            "<figure class=\"zoom\"><div class=\"tools\" hidden><button type=\"button\" data-zoom=\"in\">Zoom in</button>\
             <button type=\"button\" data-zoom=\"out\">Zoom out</button><button type=\"button\" data-zoom=\"back\">Earlier</button>\
             <button type=\"button\" data-zoom=\"on\">Later</button><button type=\"button\" data-zoom=\"all\">All</button><span class=\"readout\" aria-hidden=\"true\"></span></div>\n\
             <div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Chart\">{svg}</div>\n\
             {key}<figcaption>{caption}</figcaption></figure>"
        )
    }

    fn sizes_table(&mut self, session: &Session) -> io::Result<()> {
        self.out.write_all(b"<details><summary>Packet sizes as a table</summary>\n")?;
        self.table_head(
            "Runs of packets of one size",
            &["from", "to", "bytes", "packets", "channel", "direction", "frame", "seen at", "fate"],
        )?;
        for run in session.sizes.iter().take(MAX_TABLE) {
            let at = seen_at(self.report, &self.index, run.capture, &run.vantage);
            writeln!(
                self.out,
                "<tr><td class=\"n\">{:.3} s</td><td class=\"n\">{:.3} s</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td></tr>",
                run.first_seconds,
                run.last_seconds,
                run.bytes,
                grouped(run.packets),
                Esc(channel_word(&run.channel)),
                Esc(&run.direction),
                run.frame,
                Esc(&at),
                sizes::fate(run)
            )?;
        }
        self.table_foot(session.sizes.len(), MAX_TABLE, "run")?;
        self.out.write_all(b"</details>\n")
    }

    fn ladder(&mut self, session: &Session, ladder: &Ladder, at: usize) -> io::Result<()> {
        let id = format!("ladder-{}-{at}", identifier(&session.id));
        let head = if at == 0 { "The handshake" } else { "And then" };
        let seen = seen_at(self.report, &self.index, ladder.capture, &ladder.vantage);
        let stream = if ladder.stream.is_empty() { String::new() } else { format!("{}, ", ladder.stream) };
        writeln!(
            self.out,
            "<h3>{head}: {}</h3>\n<figure><div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Ladder\">{}</div>\
             <figcaption>{}. Told from {}{}.</figcaption></figure>\n<details><summary>The ladder as a table</summary>",
            Esc(&ladder.title),
            rungs::draw(ladder, &id),
            Esc(&capitalised(&ladder.outcome)),
            Esc(&stream),
            Esc(&seen)
        )?;
        self.table_head("Who sent what, and what never came", &["seconds", "frame", "what", "times", "note"])?;
        for rung in &ladder.rungs {
            let waited = rung.waited_seconds.map_or(String::new(), |s| format!("waited for {s:.1} s"));
            writeln!(
                self.out,
                "<tr><td class=\"n\">{:.3}</td><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
                rung.seconds,
                rung.frame.map_or(String::new(), |frame| frame.to_string()),
                Esc(&rungs::words(rung)),
                rung.count,
                Esc(if rung.note.is_empty() { &waited } else { &rung.note })
            )?;
        }
        self.out.write_all(b"</tbody></table></div></details>\n")
    }

    // ---- tables

    fn evidence(&mut self, findings: &[&Finding]) -> io::Result<()> {
        if findings.iter().all(|f| f.evidence.is_empty() && f.filter_notes.is_empty()) {
            return Ok(());
        }
        self.out.write_all(b"<h3>Evidence</h3>\n")?;
        let mut seen = HashSet::new();
        let filters = findings.iter().flat_map(|f| &f.filter_notes);
        let filters: Vec<&super::Filter> = filters.filter(|f| seen.insert((f.capture, f.filter.as_str()))).collect();
        if !filters.is_empty() {
            self.table_head("Wireshark display filters that select it", &["filter", "", "shows"])?;
            for filter in filters.iter().take(MAX_TABLE) {
                writeln!(
                    self.out,
                    "<tr><td class=\"filter\">{0}</td><td><button type=\"button\" class=\"copy\" hidden data-copy=\"{0}\" aria-label=\"Copy the filter {0}\">Copy</button></td><td>{1}</td></tr>",
                    Esc(&filter.filter),
                    Esc(&filter_text(filter, &self.index))
                )?;
            }
            self.table_foot(filters.len(), MAX_TABLE, "filter")?;
        }
        let rows: Vec<(&Finding, &super::Evidence)> =
            findings.iter().flat_map(|f| f.evidence.iter().map(move |e| (*f, e))).collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.table_head("What shows each finding", &["finding", "shows", "frames"])?;
        for (finding, evidence) in rows.iter().take(MAX_TABLE) {
            let frames: Vec<String> = evidence.frames.iter().map(u32::to_string).collect();
            let label = self.index.label(evidence.capture).map_or(String::new(), |label| format!("{label}: "));
            let frames =
                if frames.is_empty() { "none, where it would have been seen".to_owned() } else { frames.join(", ") };
            writeln!(
                self.out,
                "<tr><td class=\"nowrap\"><code>{}</code></td><td>{}</td><td>{}{}</td></tr>",
                Esc(&finding.detector),
                Esc(&seconds_only(&evidence.note)),
                Esc(&label),
                Esc(&frames)
            )?;
        }
        self.table_foot(rows.len(), MAX_TABLE, "row")
    }

    fn limits(&mut self, session: &Session) -> io::Result<()> {
        if session.limits.is_empty() && session.path_mtu.is_empty() {
            return Ok(());
        }
        self.out.write_all(b"<h3>What a packet may measure</h3>\n")?;
        if !session.limits.is_empty() {
            self.table_head(
                "Limits, the one the findings are judged by in bold",
                &["channel", "bytes", "basis", "where it comes from", "frames"],
            )?;
            for limit in session.limits.iter().take(MAX_TABLE) {
                let since = limit
                    .since
                    .as_deref()
                    .map_or(String::new(), |s| format!(", since {}", since_start(&session.start, s)));
                writeln!(
                    self.out,
                    "<tr{}><td>{}</td><td class=\"n\">{}</td><td>{}</td><td>{}{}</td><td>{}</td></tr>",
                    if limit.in_force { " class=\"force\"" } else { "" },
                    Esc(channel_word(&limit.channel)),
                    limit.bytes,
                    basis_word(limit.basis),
                    Esc(&limit.source),
                    Esc(&since),
                    Esc(&frame_list(&limit.frames, &self.index))
                )?;
            }
            self.table_foot(session.limits.len(), MAX_TABLE, "limit")?;
        }
        if session.path_mtu.is_empty() {
            return Ok(());
        }
        self.table_head(
            "What got through, and what never did",
            &["channel", "direction", "largest that passed", "smallest that never did"],
        )?;
        for path in session.path_mtu.iter().take(MAX_TABLE) {
            let cell = |bytes: Option<u32>, frame: Option<super::FrameNumber>| match (bytes, frame) {
                (Some(bytes), Some(frame)) => format!("{bytes} B ({})", frame_list(&[frame], &self.index)),
                (Some(bytes), None) => format!("{bytes} B"),
                (None, _) => "none seen".to_owned(),
            };
            let (passed, stuck) =
                (cell(path.largest_passed, path.passed_frame), cell(path.smallest_stuck, path.stuck_frame));
            writeln!(
                self.out,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                Esc(channel_word(&path.channel)),
                Esc(&path.direction),
                Esc(&passed),
                Esc(&stuck)
            )?;
        }
        self.table_foot(session.path_mtu.len(), MAX_TABLE, "row")
    }

    fn ruled_out(&mut self, findings: &[&Finding]) -> io::Result<()> {
        let all = told::ruled_out(findings);
        if all.is_empty() {
            return Ok(());
        }
        self.out.write_all(b"<h3>What it is not</h3>\n<ul>")?;
        for ruled in all.iter().take(MAX_TABLE) {
            writeln!(self.out, "<li><strong>{}</strong>: {}</li>", Esc(&ruled.what), Esc(&ruled.why))?;
        }
        self.out.write_all(b"</ul>\n")
    }

    fn timeline(&mut self, session: &Session) -> io::Result<()> {
        if session.timeline.is_empty() {
            return Ok(());
        }
        self.out.write_all(b"<h3>Timeline</h3>\n<details class=\"print\"><summary>Every event</summary>\n")?;
        self.table_head(
            "What happened, in seconds since the session began",
            &["seconds", "frame", "seen at", "stream", "what happened"],
        )?;
        for entry in session.timeline.iter().take(MAX_TABLE) {
            let at = match entry.decrypted {
                true => "in the tunnel".to_owned(),
                false => seen_at(self.report, &self.index, entry.capture, &entry.vantage),
            };
            let until =
                entry.until.as_deref().map_or(String::new(), |u| format!(" until {}", since_start(&session.start, u)));
            let times = if entry.count > 1 { format!(" (×{}{until})", grouped(entry.count)) } else { String::new() };
            writeln!(
                self.out,
                "<tr><td class=\"n\">{:.3}</td><td class=\"n\">{}</td><td>{}</td><td class=\"nowrap\">{}</td><td>{}{}</td></tr>",
                entry.seconds,
                entry.frame,
                Esc(&at),
                Esc(&entry.stream),
                Esc(&entry.text),
                Esc(&times)
            )?;
        }
        self.table_foot(session.timeline.len(), MAX_TABLE, "event")?;
        if session.timeline_dropped > 0 {
            writeln!(
                self.out,
                "<p class=\"note\">{} left out of the timeline: it is bounded.</p>",
                counted(session.timeline_dropped, "event")
            )?;
        }
        self.out.write_all(b"</details>\n")
    }

    fn checks(&mut self, session: &Session) -> io::Result<()> {
        let checks: Vec<&super::Check> = self.report.checks.iter().filter(|c| c.session == session.id).collect();
        if checks.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "<details><summary>{}, one by one</summary>", counted(checks.len() as u64, "check"))?;
        self.table_head("Every detector's answer", &["detector", "answer", "why"])?;
        for check in checks.iter().take(MAX_TABLE) {
            let answer = match check.outcome {
                Answer::Found => "found",
                Answer::Clear => "clear",
                Answer::CannotTell => "cannot tell",
            };
            writeln!(
                self.out,
                "<tr><td class=\"nowrap\"><code>{}</code></td><td class=\"nowrap\">{answer}</td><td>{}</td></tr>",
                Esc(&check.detector),
                Prose(&check.reason)
            )?;
        }
        self.table_foot(checks.len(), MAX_TABLE, "check")?;
        self.out.write_all(b"</details>\n")
    }

    // ---- the run as a whole

    fn outside_any_session(&mut self) -> io::Result<()> {
        let known: HashSet<&str> = self.report.sessions.iter().map(|s| s.id.as_str()).collect();
        let rest: Vec<&Finding> =
            self.report.findings.iter().filter(|f| !known.contains(f.session.as_str())).take(MAX_LIST).collect();
        if rest.is_empty() {
            return Ok(());
        }
        self.out.write_all(b"<section aria-labelledby=\"others-h\"><h2 id=\"others-h\">Outside any session</h2>\n")?;
        self.findings(&rest)?;
        self.steps(&rest, "What to do")?;
        self.evidence(&rest)?;
        self.out.write_all(b"</section>\n")
    }

    fn not_seen(&mut self) -> io::Result<()> {
        self.out.write_all(b"<section id=\"not-seen\" aria-labelledby=\"not-seen-h\"><h2 id=\"not-seen-h\">What could not be seen</h2>\n")?;
        let losses = self.report.losses.iter().map(|loss| {
            let text = if loss.text.is_empty() {
                format!("{}: {}", loss.kind, grouped(loss.count))
            } else {
                loss.text.clone()
            };
            match loss.capture.and_then(|capture| self.index.label(capture)) {
                Some(label) => format!("{label}: {text}"),
                None => text,
            }
        });
        let losses: Vec<String> = losses.collect();
        let unsure = unsure_reasons(self.report);
        let ambiguous = self.report.sessions.iter();
        let ambiguous = ambiguous.flat_map(|s| s.ambiguities.iter().map(|text| format!("session {}: {text}", s.id)));
        let ambiguous: Vec<String> = ambiguous.collect();
        if losses.is_empty() && unsure.is_empty() && ambiguous.is_empty() {
            self.out.write_all(b"<p>Every check could be answered, and nothing was lost.</p>")?;
        }
        self.list("Lost, cut or left out", &losses)?;
        self.list("Checks that could not be answered", &unsure)?;
        self.list("What could be read in two ways", &ambiguous)?;
        self.out.write_all(b"</section>\n")
    }

    fn list(&mut self, head: &str, rows: &[String]) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        write!(self.out, "<h3>{head}</h3>\n<ul>")?;
        for row in rows.iter().take(MAX_LIST) {
            writeln!(self.out, "<li>{}</li>", Prose(row))?;
        }
        self.out.write_all(b"</ul>\n")?;
        self.more(rows.len(), MAX_LIST, "line")
    }

    fn next_captures(&mut self) -> io::Result<()> {
        self.out.write_all(
            b"<section id=\"next\" aria-labelledby=\"next-h\"><h2 id=\"next-h\">The next capture to take</h2>\n",
        )?;
        if self.report.next_captures.is_empty() {
            self.out.write_all(b"<p>No check asks for another one.</p>")?;
        }
        if only_for_complaints(self.report) && !self.report.next_captures.is_empty() {
            self.out.write_all(b"<p>If users still complain:</p>")?;
        }
        for next in self.report.next_captures.iter().take(MAX_LIST) {
            writeln!(
                self.out,
                "<h3>{}</h3>\n<p>It shows {}.</p>",
                Esc(&capitalised(place(&next.vantage))),
                Esc(&next.why)
            )?;
            if !next.command.is_empty() {
                writeln!(
                    self.out,
                    "<div class=\"command\"><code>{0}</code><button type=\"button\" class=\"copy\" hidden data-copy=\"{0}\" aria-label=\"Copy the command for the {1}\">Copy</button></div>",
                    Esc(&next.command),
                    Esc(place(&next.vantage))
                )?;
            }
        }
        self.out.write_all(b"</section>\n")
    }

    fn captures(&mut self) -> io::Result<()> {
        self.out.write_all(
            b"<section id=\"captures\" aria-labelledby=\"captures-h\"><h2 id=\"captures-h\">Captures</h2>\n",
        )?;
        self.table_head(
            "Where the packets were captured",
            &["file", "interface", "stood at", "known by", "frames", "dropped"],
        )?;
        let report = self.report;
        let rows = report.captures.iter().flat_map(|c| c.interfaces.iter().map(move |i| (c, i)));
        let all = rows.clone().count();
        for (capture, interface) in rows.take(MAX_TABLE) {
            writeln!(
                self.out,
                "<tr><td class=\"mono\">{}</td><td class=\"mono\">{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                Esc(&capture.path),
                Esc(&interface.name),
                Esc(place(&interface.vantage)),
                Prose(&interface.vantage_basis),
                grouped(interface.frames),
                interface.dropped.map_or_else(|| "not told".to_owned(), grouped)
            )?;
        }
        self.table_foot(all, MAX_TABLE, "interface")?;
        for capture in report.captures.iter().filter(|c| c.damage.is_some()).take(MAX_LIST) {
            let damage = capture.damage.as_deref().unwrap_or_default();
            writeln!(self.out, "<p><strong>Damaged:</strong> {}</p>", Esc(damage))?;
        }
        for capture in report.captures.iter().take(MAX_LIST) {
            let Some(seconds) = capture.clock_offset_seconds else { continue };
            let way = if seconds > 0.0 { "ahead" } else { "behind" };
            writeln!(
                self.out,
                "<p class=\"note\">The clock of {} is {:.3} s {way}; its times are corrected.</p>",
                Esc(&capture.path),
                seconds.abs()
            )?;
        }
        self.out.write_all(b"</section>\n")
    }

    fn foot(&mut self) -> io::Result<()> {
        let all = self.report.summary.answers();
        writeln!(
            self.out,
            "</main>\n<footer><p>{}, {}: {} found, {} clear, {} cannot tell. This page is one file and loads nothing. \
             <code>acpcap explain ID</code> tells all about a finding; <code>--format json</code> has every number.</p></footer>\n\
             <div id=\"live\" class=\"vh\" aria-live=\"polite\"></div>\n<script>{SCRIPT}</script>\n</body>\n</html>",
            Esc(&self.report.tool),
            counted(all.found + all.clear + all.cannot_tell, "check"),
            grouped(all.found),
            grouped(all.clear),
            grouped(all.cannot_tell)
        )
    }

    // ---- pieces

    fn table_head(&mut self, caption: &str, columns: &[&str]) -> io::Result<()> {
        write!(
            self.out,
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{caption}\"><table><caption>{caption}</caption><thead><tr>"
        )?;
        for column in columns {
            let number = ["seconds", "frame", "bytes", "packets", "from", "to", "dropped", "times"].contains(column);
            let class = if number { " class=\"n\"" } else { "" };
            let name = if column.is_empty() { "<span class=\"vh\">copy or severity</span>" } else { column };
            write!(self.out, "<th scope=\"col\"{class}>{name}</th>")?;
        }
        self.out.write_all(b"</tr></thead><tbody>\n")
    }

    fn table_foot(&mut self, all: usize, shown: usize, noun: &str) -> io::Result<()> {
        self.out.write_all(b"</tbody></table></div>\n")?;
        self.more(all, shown, noun)
    }

    fn more(&mut self, all: usize, shown: usize, noun: &str) -> io::Result<()> {
        match all.checked_sub(shown) {
            Some(rest) if rest > 0 => {
                let more = counted(rest as u64, &format!("more {noun}"));
                writeln!(self.out, "<p class=\"note\">… {more}, all in --format json</p>")
            }
            _ => Ok(()),
        }
    }
}

/// Letters and digits of an id, for the ids of the page.
fn identifier(id: &str) -> String {
    id.chars().filter(char::is_ascii_alphanumeric).take(20).collect()
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// SHA-256 in base64: what the content security policy knows the style and the script by (CSP 3 §2.3.1).
fn hash(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = Sha256::digest(text.as_bytes());
    let mut base64 = String::with_capacity(44);
    for three in digest.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, i| bits << 8 | u32::from(three.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * i)) as usize & 63).copied().unwrap_or(b'=');
            base64.push(if i > three.len() { '=' } else { char::from(letter) });
        }
    }
    base64
}
