//! The report in Markdown (CommonMark with GitHub's tables), for a ticket or a wiki: verdict and remedy first.
//!
//! Promises: no text of a capture becomes a link, an image, HTML, a mention or an issue number; filters and commands stand in code,
//! ready to copy; many sessions stay readable. Refuses: to compute findings or to hide a loss.

use super::terminal::escape;
use super::told;
use super::words::{
    basis_word, channel_word, confidence_word, counted, grouped, labels, moment, only_for_complaints, place,
    seconds_only, severity_word, since_start, span, unsure_reasons,
};
use super::{Evidence, Filter, Finding, Report, Session, Severity};
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

/// Sessions with findings told in full, and sessions without given a line; more are counted.
pub const MAX_SESSIONS: usize = 50;
/// Timeline rows before and after the fold.
const TIMELINE_HEAD: usize = 24;
const TIMELINE_TAIL: usize = 12;
/// Frame numbers of one piece of evidence; more are counted, and the filters select them all.
const MAX_FRAMES: usize = 12;
/// Rows of one list; more are counted.
const MAX_LIST: usize = 20;

/// `text` so that Markdown shows it as it is, within a line or a table's cell. Characters that could fool a reader are spelled out as in
/// the text report.
///
/// The one way any string of a capture gets into running text. Backslashes and character references stop what CommonMark knows;
/// what sites add to it (mentions, issue numbers, bare addresses, emoji) looks at the finished page and leaves only code alone,
/// so such words become code.
pub fn escape_md(text: &str) -> String {
    protect_start(escaped(text))
}

/// The same for text that stands behind other text on its line.
fn escaped(text: &str) -> String {
    let plain = escape(text);
    let plain = plain.trim();
    let mut clean = String::with_capacity(plain.len() + 16);
    for (at, word) in plain.split(' ').enumerate() {
        if at > 0 {
            clean.push(' ');
        }
        // Code cannot hold a cell's border in every renderer.
        for (at, part) in word.split('|').enumerate() {
            if at > 0 {
                clean.push_str("&#124;");
            }
            match is_reference(part) {
                true => clean.push_str(&code(part)),
                false => push_escaped(part, &mut clean),
            }
        }
    }
    clean
}

/// `text` as a code span, to copy as it stands; nothing when there is none.
pub fn code(text: &str) -> String {
    let text = escape(text);
    let runs = text.split(|c| c != '`').map(str::len);
    let fence = "`".repeat(runs.max().unwrap_or(0) + 1);
    if text.is_empty() {
        return String::new();
    }
    let ends = |c| text.starts_with(c) || text.ends_with(c);
    // One space at both ends is taken off again (CommonMark §6.1).
    let gap = if ends('`') || ends(' ') { " " } else { "" };
    format!("{fence}{gap}{text}{gap}{fence}")
}

/// Our own sentences: what stands between backticks is code.
fn inline(text: &str) -> String {
    if text.matches('`').count() % 2 == 1 || text.contains("``") {
        return escape_md(text);
    }
    let mut page = String::new();
    for (at, part) in text.split('`').enumerate() {
        if at % 2 == 1 {
            page.push_str(&code(part));
            continue;
        }
        let inner = if at == 0 { escape_md(part) } else { escaped(part) };
        // Spaces beside code belong to the sentence.
        page.push_str(if at > 0 && part.starts_with(' ') { " " } else { "" });
        page.push_str(&inner);
        page.push_str(if part.ends_with(' ') && !inner.is_empty() { " " } else { "" });
    }
    page
}

/// Would a site make more of this word than a word?
fn is_reference(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let digit_behind = |sign: char| {
        let behind = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
        word.split(sign).skip(1).any(behind)
    };
    let emoji = |part: &str| part.chars().any(|c| c.is_ascii_alphabetic()) || ["100", "1234"].contains(&part);
    // An emoji's name has a colon on both sides.
    let mut parts = word.split(':');
    parts.next();
    parts.next_back();
    let between_colons = parts.any(emoji);
    word.contains('@')
        || lower.contains("://")
        || lower.contains("www.")
        || lower.contains("gh-")
        || digit_behind('#')
        || between_colons
}

fn push_escaped(part: &str, clean: &mut String) {
    let mut before = ' ';
    let mut rest = part.chars().peekable();
    while let Some(c) = rest.next() {
        let inside = |c: Option<&char>| c.is_some_and(char::is_ascii_alphanumeric);
        match c {
            // Inside a word it marks nothing (CommonMark §6.2).
            '_' if before.is_ascii_alphanumeric() && inside(rest.peek()) => clean.push(c),
            '<' => clean.push_str("&lt;"),
            '>' => clean.push_str("&gt;"),
            '&' => clean.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '{' | '}' | '~' | '^' | '$' | '#' => clean.extend(['\\', c]),
            c => clean.push(c),
        }
        before = c;
    }
}

/// Keeps the beginning of a line from becoming a list, a heading or a rule.
fn protect_start(mut text: String) -> String {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let ends = matches!(text.as_bytes().get(digits + 1), None | Some(b' '));
    let at = match text.as_bytes().get(digits) {
        Some(b'.' | b')') if digits > 0 && ends => digits,
        Some(b'-' | b'+' | b'=' | b':') if digits == 0 => 0,
        _ => return text,
    };
    text.insert(at, '\\');
    text
}

/// Writes the page.
///
/// # Errors
///
/// What `out` says.
pub fn render(report: &Report, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut page = Page { out, files: labels(&report.captures) };
    page.title(report)?;
    page.sessions(report)?;
    page.unknown(report)?;
    page.captures(report)?;
    page.next_captures(report)
}

struct Page<'a, W: ?Sized> {
    out: &'a mut W,
    /// Short names of the captures.
    files: Vec<String>,
}

impl<W: Write + ?Sized> Page<'_, W> {
    fn title(&mut self, report: &Report) -> io::Result<()> {
        let worst = report.findings.iter().map(|finding| finding.severity).max();
        let word = match (worst, report.sessions.is_empty()) {
            (Some(severity), _) => severity_word(severity),
            (None, true) => "no AnyConnect session found",
            (None, false) => "nothing wrong was found",
        };
        writeln!(self.out, "# AnyConnect capture report: {word}\n")?;
        if !report.complete {
            let text = "**Incomplete:** something of the captures could not be read or kept, see *Not seen*.";
            writeln!(self.out, "{text}\n")?;
        }
        Ok(())
    }

    fn sessions(&mut self, report: &Report) -> io::Result<()> {
        let mut findings: HashMap<&str, Vec<&Finding>> = HashMap::new();
        for finding in &report.findings {
            findings.entry(&finding.session).or_default().push(finding);
        }
        let of = |session: &Session| findings.get(session.id.as_str()).map_or(&[][..], Vec::as_slice);
        let mut told: Vec<&Session> = report.sessions.iter().filter(|s| !of(s).is_empty()).collect();
        told.sort_by_key(|session| std::cmp::Reverse(session.severity));
        for session in told.iter().take(MAX_SESSIONS) {
            self.session(session, of(session))?;
        }
        // Those left out of the report are counted too.
        let all = report.summary.sessions.saturating_sub(report.summary.severities.none) as usize;
        self.more(all.max(told.len()), MAX_SESSIONS, "session")?;
        let known: HashSet<&str> = report.sessions.iter().map(|s| s.id.as_str()).collect();
        let outside: Vec<&Finding> =
            report.findings.iter().filter(|finding| !known.contains(finding.session.as_str())).collect();
        if !outside.is_empty() {
            writeln!(self.out, "## Outside any session\n")?;
            self.findings(outside.get(..MAX_LIST).unwrap_or(&outside))?;
            self.more(outside.len(), MAX_LIST, "finding")?;
        }
        let calm: Vec<&Session> = report.sessions.iter().filter(|s| of(s).is_empty()).collect();
        if calm.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "## Sessions without findings\n")?;
        for session in calm.iter().take(MAX_SESSIONS) {
            let (id, ends) = (escape_md(&session.id), ends(session));
            writeln!(self.out, "- Session {id}, {ends}: {}", inline(&session.verdict))?;
        }
        writeln!(self.out)?;
        let all = report.summary.severities.none as usize;
        self.more(all.max(calm.len()), calm.len().min(MAX_SESSIONS), "session")
    }

    fn session(&mut self, session: &Session, findings: &[&Finding]) -> io::Result<()> {
        let severity = session.severity.map_or("found", severity_word);
        writeln!(self.out, "## Session {}, {}: {severity}\n", escape_md(&session.id), ends(session))?;
        writeln!(self.out, "**{}**\n", inline(&session.verdict))?;
        self.remedies(findings)?;
        self.about(session)?;
        self.findings(findings)?;
        self.ruled_out(findings)?;
        self.limits(session)?;
        self.filters(findings)?;
        self.timeline(session)
    }

    fn remedies(&mut self, findings: &[&Finding]) -> io::Result<()> {
        let (steps, not) = told::remedies(findings);
        if steps.is_empty() && not.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "### Do now\n")?;
        for (number, step) in (1..).zip(&steps) {
            writeln!(self.out, "{number}. {}", inline(step))?;
        }
        for step in &not {
            let gap = if steps.is_empty() { "" } else { "\n" };
            writeln!(self.out, "{gap}Not: {}", inline(step))?;
        }
        writeln!(self.out)
    }

    fn about(&mut self, session: &Session) -> io::Result<()> {
        let mut rows = vec![format!("from {} to {}", moment(&session.start), moment(&session.end))];
        if !session.inner_addresses.is_empty() {
            let shown: Vec<&str> = session.inner_addresses.iter().take(3).map(String::as_str).collect();
            let rest = session.inner_addresses.len() - shown.len();
            let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            rows.push(format!("inner {}{more}", shown.join(", ")));
        }
        if let Some(seen) = &session.nat_address {
            rows.push(format!("the gateway sees {} as {seen}", session.client));
        }
        if let Some(to) = &session.proxied_to {
            rows.push(format!("{} is a web proxy, asked for {to}", session.gateway));
        }
        rows.push(format!("known by {} ({} confidence)", session.identified_by, confidence_word(session.confidence)));
        rows.extend(session.ambiguities.iter().map(|text| format!("ambiguous: {text}")));
        writeln!(self.out, "### The session\n")?;
        for row in rows.iter().take(MAX_LIST) {
            writeln!(self.out, "- {}", escape_md(row))?;
        }
        writeln!(self.out)
    }

    fn findings(&mut self, findings: &[&Finding]) -> io::Result<()> {
        writeln!(self.out, "### What was found\n")?;
        for finding in findings {
            let rank = match (finding.severity, finding.rank.as_str()) {
                (Severity::Info, _) => "note",
                (_, "effect") => "effect",
                _ => "cause",
            };
            let likely = finding.likely_cause.as_ref().map_or(String::new(), |word| format!(", likely {}", code(word)));
            let (word, sure) = (severity_word(finding.severity), confidence_word(finding.confidence));
            let text = if finding.summary.is_empty() { &finding.title } else { &finding.summary };
            let id = code(&finding.detector);
            writeln!(self.out, "- {rank} {id} ({word}, {sure} confidence{likely}): {}", inline(text))?;
            for evidence in finding.evidence.iter().take(MAX_LIST) {
                let text = self.frames(evidence);
                writeln!(self.out, "  - {text}")?;
            }
        }
        writeln!(self.out)
    }

    fn ruled_out(&mut self, findings: &[&Finding]) -> io::Result<()> {
        let all = told::ruled_out(findings);
        if all.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "### What it is not\n")?;
        for ruled in all.iter().take(MAX_LIST) {
            writeln!(self.out, "- {}: {}", escape_md(&ruled.what), inline(&ruled.why))?;
        }
        writeln!(self.out)?;
        self.more(all.len(), MAX_LIST, "explanation")
    }

    fn limits(&mut self, session: &Session) -> io::Result<()> {
        if session.limits.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "### What a packet may measure\n")?;
        writeln!(self.out, "| channel | bytes | known | from | judged by |\n| --- | ---: | --- | --- | --- |")?;
        for limit in session.limits.iter().take(MAX_LIST) {
            let channel = escape_md(channel_word(&limit.channel));
            let basis = basis_word(limit.basis);
            let source = escape_md(&limit.source);
            let judged = if limit.in_force { "yes" } else { "" };
            writeln!(self.out, "| {channel} | {} | {basis} | {source} | {judged} |", limit.bytes)?;
        }
        writeln!(self.out)?;
        self.more(session.limits.len(), MAX_LIST, "limit")
    }

    fn filters(&mut self, findings: &[&Finding]) -> io::Result<()> {
        let mut seen = HashSet::new();
        let notes = findings.iter().flat_map(|finding| &finding.filter_notes);
        let notes: Vec<&Filter> = notes.filter(|note| seen.insert((note.capture, note.filter.as_str()))).collect();
        if notes.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "### Look in Wireshark\n")?;
        for note in notes.iter().take(MAX_LIST) {
            let count = note.frames.map_or(String::new(), |frames| format!("{}: ", counted(frames, "frame")));
            let file = self.of_file(note.capture);
            writeln!(self.out, "- {}  \n  {count}{}{file}", code(&note.filter), escape_md(&note.shows))?;
        }
        writeln!(self.out)?;
        self.more(notes.len(), MAX_LIST, "filter")
    }

    fn timeline(&mut self, session: &Session) -> io::Result<()> {
        let entries = &session.timeline;
        if entries.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "### Timeline\n\nSeconds since {}.\n", escape_md(&moment(&session.start)))?;
        writeln!(
            self.out,
            "| seconds | frame | seen at | stream | what happened |\n| ---: | ---: | --- | --- | --- |"
        )?;
        let folded = entries.len().saturating_sub(TIMELINE_HEAD + TIMELINE_TAIL);
        // A fold of one row would save nothing.
        let folded = if folded > 1 { folded } else { 0 };
        for (at, entry) in entries.iter().enumerate() {
            if folded > 0 && at == TIMELINE_HEAD {
                writeln!(self.out, "| … | | | | {} |", counted(folded as u64, "more event"))?;
            }
            if folded > 0 && (TIMELINE_HEAD..TIMELINE_HEAD + folded).contains(&at) {
                continue;
            }
            let mut text = entry.text.clone();
            if entry.count > 1 {
                let until = entry.until.as_ref().map(|until| format!(" until {}", since_start(&session.start, until)));
                text.push_str(&format!(" (×{}{})", grouped(entry.count), until.unwrap_or_default()));
            }
            let place = if entry.decrypted { "in the tunnel" } else { place(&entry.vantage) };
            let (place, file) = (escape_md(place), self.of_file(entry.capture));
            let (stream, text) = (escape_md(&entry.stream), escape_md(&text));
            let (seconds, frame) = (entry.seconds, entry.frame);
            writeln!(self.out, "| {seconds:.3} | {frame} | {place}{file} | {stream} | {text} |")?;
        }
        writeln!(self.out)?;
        if session.timeline_dropped > 0 {
            let dropped = counted(session.timeline_dropped, "event");
            writeln!(self.out, "{dropped} left out of the timeline: it is bounded.\n")?;
        }
        Ok(())
    }

    fn unknown(&mut self, report: &Report) -> io::Result<()> {
        self.list("What could not be told", unsure_reasons(report))?;
        let losses = report.losses.iter().map(|loss| {
            let text = if loss.text.is_empty() { &loss.kind } else { &loss.text };
            match loss.capture.and_then(|at| self.files.get(usize::from(at))) {
                Some(name) if self.files.len() > 1 => format!("{name}: {text}"),
                _ => text.clone(),
            }
        });
        self.list("Not seen", losses.collect())
    }

    fn captures(&mut self, report: &Report) -> io::Result<()> {
        if report.captures.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "## Captures\n")?;
        writeln!(self.out, "| file | format | frames | from | for | where |\n| --- | --- | ---: | --- | ---: | --- |")?;
        for capture in report.captures.iter().take(MAX_LIST) {
            let mut places: Vec<String> =
                capture.interfaces.iter().map(|i| format!("{}: {}", i.name, place(&i.vantage))).collect();
            if places.len() > MAX_FRAMES {
                let rest = places.split_off(MAX_FRAMES).len();
                places.push(format!("{rest} more"));
            }
            let damage = if capture.truncated { ", damaged" } else { "" };
            writeln!(
                self.out,
                "| {} | {}{damage} | {} | {} | {} | {} |",
                escape_md(&capture.path),
                escape_md(&capture.format),
                grouped(capture.frames),
                escape_md(&capture.first.as_deref().map_or(String::new(), moment)),
                span(capture.seconds),
                escape_md(&places.join(" · "))
            )?;
        }
        writeln!(self.out)?;
        self.more(report.captures.len(), MAX_LIST, "capture")
    }

    fn next_captures(&mut self, report: &Report) -> io::Result<()> {
        if !report.next_captures.is_empty() {
            writeln!(self.out, "## Next capture\n")?;
            if only_for_complaints(report) {
                writeln!(self.out, "If users still complain:\n")?;
            }
            for next in report.next_captures.iter().take(MAX_LIST) {
                writeln!(self.out, "- {}: {}", escape_md(place(&next.vantage)), inline(&next.why))?;
                if !next.command.is_empty() {
                    writeln!(self.out, "  {}", code(&next.command))?;
                }
            }
            writeln!(self.out)?;
            self.more(report.next_captures.len(), MAX_LIST, "capture")?;
        }
        writeln!(self.out, "Read by {}.", escape_md(&report.tool))
    }

    /// A section with a list; nothing when there are no rows.
    fn list(&mut self, title: &str, rows: Vec<String>) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "## {title}\n")?;
        for row in rows.iter().take(MAX_LIST) {
            writeln!(self.out, "- {}", inline(row))?;
        }
        writeln!(self.out)?;
        self.more(rows.len(), MAX_LIST, "line")
    }

    /// `… 3 more sessions, all in --format json`, when there are more.
    fn more(&mut self, all: usize, shown: usize, noun: &str) -> io::Result<()> {
        let Some(rest) = all.checked_sub(shown).filter(|rest| *rest > 0) else {
            return Ok(());
        };
        let text = counted(rest as u64, &format!("more {noun}"));
        writeln!(self.out, "… {text}, all in `--format json`.\n")
    }

    /// In which file, where there are several.
    fn of_file(&self, capture: u16) -> String {
        match self.files.get(usize::from(capture)) {
            Some(name) if self.files.len() > 1 => format!(" in {}", escaped(name)),
            _ => String::new(),
        }
    }

    /// What a piece of evidence shows, and its frames.
    fn frames(&self, evidence: &Evidence) -> String {
        let note = escape_md(&seconds_only(&evidence.note));
        if evidence.frames.is_empty() {
            return note;
        }
        let shown: Vec<String> = evidence.frames.iter().take(MAX_FRAMES).map(u32::to_string).collect();
        let rest = evidence.frames.len() - shown.len();
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let word = if evidence.frames.len() == 1 { "frame" } else { "frames" };
        format!("{note}: {word} {}{more}{}", shown.join(", "), self.of_file(evidence.capture))
    }
}

fn ends(session: &Session) -> String {
    escape_md(&format!("{} → {}", session.client, session.gateway))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Capture, Interface, NextCapture, RuledOut, TimelineEntry};
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag};

    /// What a reader sees, spaces run together; `Err` names the first thing that is more than text.
    fn shown(markdown: &str) -> Result<String, String> {
        let mut text = String::new();
        for event in Parser::new_ext(markdown, Options::all() - Options::ENABLE_SMART_PUNCTUATION) {
            match event {
                Event::Text(part) | Event::Code(part) => text.push_str(&part),
                Event::SoftBreak | Event::HardBreak | Event::Start(Tag::TableCell) => text.push(' '),
                Event::Start(Tag::Paragraph | Tag::Table(_) | Tag::TableHead | Tag::TableRow) | Event::End(_) => {}
                other => return Err(format!("{other:?}")),
            }
        }
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn expected(text: &str) -> String {
        escape(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    const HOSTILE: &[&str] = &[
        "<script>alert(1)</script>",
        "<!-- -->",
        "<http://a.example>",
        "http://a.example/?a=1&b=2",
        "www.a.example",
        "root@a.example",
        "@everyone",
        "#12",
        "GH-12",
        ":tada: :100:",
        "![x](javascript:alert(1))",
        "[a]: http://x",
        "[^1]: note",
        "a`b``c`",
        "http://`x``y",
        "`@a`",
        "a|b",
        "http://a|b",
        r"\|",
        r"\\|`|",
        "a\\",
        "&lt;b&gt; &copy;",
        "1. one",
        "2) two",
        "- a",
        "+ a",
        "* a",
        "# a",
        "> a",
        "===",
        "---",
        "~~~",
        "```",
        ": a",
        "    code",
        "~~a~~ **a** _a_ $a$ ==a== ^a^",
        "a\nb\r\nc\td",
        "| a | b |\n| - | - |",
        "{#id .class}",
        "\u{202e}\u{200b}x",
        "[!NOTE]",
        "[ ] task",
        "[x] task",
    ];

    #[test]
    fn hostile_words_are_only_words() {
        for text in HOSTILE {
            assert_eq!(shown(&escape_md(text)).as_ref(), Ok(&expected(text)), "{}", escape_md(text));
            let listed = shown(&format!("a {}", escape_md(text)));
            assert_eq!(listed, Ok(expected(&format!("a {text}"))), "{text}");
            let row = format!("| a | b |\n| --- | --- |\n| {} | end |\n", escape_md(text));
            assert_eq!(shown(&row), Ok(expected(&format!("a b {text} end"))), "{row}");
        }
    }

    #[test]
    fn words_that_sites_look_for_are_code() {
        for word in ["@all", "#7", "GH-7", ":tada:", "a@b.c", "ftp://x", "www.x"] {
            assert_eq!(escape_md(word), format!("`{word}`"));
        }
        for word in ["11:01:33", "2026-11-23T11:01:34.5Z", "a: b", "# 7", "mp-svc-no-fragment", "443/udp"] {
            assert!(!escape_md(word).contains('`'), "{word}");
        }
    }

    #[test]
    fn our_own_code_stays_code() {
        assert_eq!(inline("1 `anyconnect mtu 1300` in the policy"), "1 `anyconnect mtu 1300` in the policy");
        assert_eq!(inline("`a_b`: c_ d"), r"`a_b`: c\_ d");
        assert_eq!(inline("an odd ` tick"), r"an odd \` tick");
    }

    fn hostile_report(text: &str) -> Report {
        let text = || text.to_owned();
        Report {
            tool: text(),
            captures: vec![Capture {
                path: text(),
                interfaces: vec![Interface { name: text(), vantage: text(), ..Interface::default() }],
                ..Capture::default()
            }],
            sessions: vec![Session {
                id: "1".to_owned(),
                client: text(),
                gateway: text(),
                verdict: text(),
                proxied_to: Some(text()),
                inner_addresses: vec![text()],
                ambiguities: vec![text()],
                timeline: vec![TimelineEntry { text: text(), stream: text(), ..TimelineEntry::default() }],
                ..Session::default()
            }],
            findings: vec![Finding {
                session: "1".to_owned(),
                detector: text(),
                summary: text(),
                likely_cause: Some(text()),
                remedy: vec![text(), format!("not: {}", text())],
                evidence: vec![Evidence { note: text(), ..Evidence::default() }],
                ruled_out: vec![RuledOut { what: text(), why: text() }],
                filter_notes: vec![Filter { filter: text(), shows: text(), ..Filter::default() }],
                ..Finding::default()
            }],
            next_captures: vec![NextCapture {
                vantage: text(),
                why: text(),
                command: text(),
                ..NextCapture::default()
            }],
            ..Report::default()
        }
    }

    /// Links, images and HTML of a page.
    fn alive(page: &str) -> Vec<String> {
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES;
        let events = Parser::new_ext(page, options);
        let is_alive = |event: &Event<'_>| {
            matches!(
                event,
                Event::Html(_)
                    | Event::InlineHtml(_)
                    | Event::FootnoteReference(_)
                    | Event::Start(
                        Tag::Link { .. } | Tag::Image { .. } | Tag::HtmlBlock | Tag::CodeBlock(_) | Tag::BlockQuote(_)
                    )
            )
        };
        events.filter(is_alive).map(|event| format!("{event:?}")).collect()
    }

    fn page(report: &Report) -> String {
        let mut out = Vec::new();
        render(report, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_hostile_report_is_a_report() {
        let calm = page(&hostile_report("calm"));
        let shape = |page: &str| {
            let starts = Parser::new_ext(page, Options::ENABLE_TABLES).filter(|e| matches!(e, Event::Start(_)));
            starts.count()
        };
        for text in HOSTILE {
            let hostile = page(&hostile_report(text));
            assert_eq!(alive(&hostile), Vec::<String>::new(), "{text}: {hostile}");
            assert_eq!(shape(&hostile), shape(&calm), "{text}: {hostile}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_only_text(text in any::<String>()) {
            prop_assert_eq!(shown(&escape_md(&text)), Ok(expected(&text)), "{}", escape_md(&text));
        }

        #[test]
        fn any_punctuation_is_only_text(text in r#"[ -/:-@\[-`{-~a1\n]{0,24}"#) {
            let clean = escape_md(&text);
            prop_assert_eq!(shown(&clean), Ok(expected(&text)), "{}", clean);
            let row = format!("| a | b |\n| --- | --- |\n| {clean} | end |\n");
            prop_assert_eq!(shown(&row), Ok(expected(&format!("a b {text} end"))), "{}", row);
        }

        #[test]
        fn code_is_what_it_was(text in r#"[ -~]{1,24}"#) {
            prop_assume!(!text.trim().is_empty());
            let events: Vec<Event> = Parser::new(&format!("a {} b", code(&text))).map(Event::into_static).collect();
            let spans: Vec<&Event> = events.iter().filter(|e| matches!(e, Event::Code(_))).collect();
            prop_assert_eq!(spans, [&Event::Code(text.clone().into())], "{}", code(&text));
        }

        #[test]
        fn any_report_is_without_life(text in r#"[ -/:-@\[-`{-~a1\n]{0,16}"#) {
            let page = page(&hostile_report(&text));
            prop_assert!(alive(&page).is_empty(), "{}", page);
        }
    }
}
