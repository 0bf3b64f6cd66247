//! The report as comments on frames and on a capture's section header, for a copy that is opened in Wireshark.
//!
//! Promises: a comment on an evidence frame begins with the detector's id, and no other comment names one, so that
//! `frame.comment contains "ID"` selects the evidence and nothing else; text is escaped. Refuses: to compute findings.

use super::terminal::escape;
use super::words::severity_word;
use super::{Finding, Report, Session};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

/// Sessions told in the section header; more are counted.
const MAX_SESSIONS: usize = 20;

/// The comments on the frames of one capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comments {
    texts: Vec<String>,
    /// `frame.number` and index into `texts`, ascending, each pair once: eight bytes for each frame of a finding.
    frames: Vec<(u32, u32)>,
}

impl Comments {
    /// Those on the evidence that findings have in this capture.
    pub fn new(report: &Report, capture: u16) -> Comments {
        let mut comments = Comments::default();
        for finding in &report.findings {
            let here = finding.evidence.iter().filter(|e| e.capture == capture && !e.frames.is_empty());
            for evidence in here {
                let index = comments.texts.len() as u32;
                comments.texts.push(comment(finding, &evidence.note));
                comments.frames.extend(evidence.frames.iter().map(|frame| (*frame, index)));
            }
        }
        comments.frames.sort_unstable();
        comments.frames.dedup();
        comments
    }

    /// No finding has a frame here.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Those on one frame, in the order of the findings.
    pub fn on(&self, frame: u32) -> impl Iterator<Item = &str> {
        let first = self.frames.partition_point(|(number, _)| *number < frame);
        let rest = self.frames.get(first..).unwrap_or_default();
        let here = rest.iter().take_while(move |(number, _)| *number == frame);
        here.filter_map(|(_, text)| self.texts.get(*text as usize).map(String::as_str))
    }
}

fn comment(finding: &Finding, note: &str) -> String {
    let what = if finding.headline.is_empty() { &finding.title } else { &finding.headline };
    let session = match finding.session.as_str() {
        "" => String::new(),
        id => format!(", session {id}"),
    };
    escape(&format!("{}: {what}. Here: {note} (acpcap{session})", finding.detector)).into_owned()
}

/// A connection of a session with findings, as its frames have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// UDP, not TCP.
    pub udp: bool,
    /// Client address and port.
    pub client: (String, u16),
    /// Gateway address and port.
    pub gateway: (String, u16),
    /// Its first frame, seen from anywhere in this capture.
    pub first_frame: u32,
    /// `tcp.stream 1`.
    pub stream: String,
}

/// What makes the evidence of one capture understandable to somebody who has nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Frames that the story of a session with findings rests on, and what they show.
    pub frames: BTreeMap<u32, String>,
    /// Connections whose handshakes belong to it.
    pub connections: Vec<Connection>,
}

impl Context {
    /// That of the sessions whose findings have evidence in this capture.
    pub fn new(report: &Report, capture: u16) -> Context {
        let has_evidence = |finding: &&Finding| finding.evidence.iter().any(|e| e.capture == capture);
        let concerned: BTreeSet<&str> =
            report.findings.iter().filter(has_evidence).map(|finding| finding.session.as_str()).collect();
        let mut context = Context::default();
        for session in report.sessions.iter().filter(|session| concerned.contains(session.id.as_str())) {
            context.story(session, capture);
            context.connections(session, capture);
        }
        context
    }

    fn story(&mut self, session: &Session, capture: u16) {
        let mut add = |frame: u32, what: &str| {
            let text = || escape(&format!("context: {what} (acpcap, session {})", session.id)).into_owned();
            self.frames.entry(frame).or_insert_with(text);
        };
        for entry in session.timeline.iter().filter(|entry| entry.capture == capture) {
            add(entry.frame, &entry.text);
        }
        for attempt in session.dtls_attempts.iter().filter(|attempt| attempt.capture == capture) {
            attempt.client_hello_frames.iter().for_each(|frame| add(*frame, "DTLS ClientHello"));
        }
        for tunnel in session.tunnels.iter().filter(|tunnel| tunnel.capture == capture) {
            add(tunnel.first_frame, "first frame of the connection");
            add(tunnel.last_frame, "last frame of the connection");
        }
        for limit in &session.limits {
            let frames = limit.frames.iter().filter(|frame| frame.capture == capture);
            frames.for_each(|frame| add(frame.frame, &limit.source));
        }
    }

    fn connections(&mut self, session: &Session, capture: u16) {
        let tunnels = session.tunnels.iter().filter(|t| t.capture == capture);
        let tunnels = tunnels.map(|t| (t.kind == "dtls", &t.src, t.sport, &t.dst, t.dport, t.first_frame, t.stream));
        let attempts = session.dtls_attempts.iter().filter(|a| a.capture == capture);
        let attempts = attempts.map(|a| (true, &a.src, a.sport, &a.dst, a.dport, a.first_frame, a.stream));
        for (udp, src, sport, dst, dport, first_frame, stream) in tunnels.chain(attempts) {
            self.connections.push(Connection {
                udp,
                client: (src.clone(), sport),
                gateway: (dst.clone(), dport),
                first_frame,
                stream: format!("{}.stream {stream}", if udp { "udp" } else { "tcp" }),
            });
        }
    }
}

/// What was found, for the section header: the sessions, worst first, and how to select their evidence. `extract`: only evidence
/// and context are there.
pub fn summary(report: &Report, capture: u16, extract: bool) -> String {
    let mut text = report.tool.clone();
    if extract {
        text.push_str(": only the frames of its findings and those around them; each tells its original number");
    }
    if report.sessions.is_empty() {
        text.push_str("\nNo AnyConnect session was found in this capture.");
    }
    if !report.complete {
        text.push_str("\nNot all of it could be read or kept; the report says what.");
    }
    let mut frames: HashMap<&str, BTreeMap<&str, BTreeSet<u32>>> = HashMap::new();
    for finding in &report.findings {
        let here = finding.evidence.iter().filter(|evidence| evidence.capture == capture);
        let of_session = frames.entry(&finding.session).or_default();
        of_session.entry(&finding.detector).or_default().extend(here.flat_map(|e| &e.frames));
    }
    let mut sessions: Vec<&Session> = report.sessions.iter().collect();
    sessions.sort_by_key(|session| std::cmp::Reverse(session.severity));
    for session in sessions.iter().take(MAX_SESSIONS) {
        let severity = session.severity.map_or("ok", severity_word);
        let ends = format!("{} to {}", session.client, session.gateway);
        let _ = write!(text, "\nSession {}, {ends}: {severity}. {}", session.id, session.verdict);
        let found = report.findings.iter().filter(|finding| finding.session == session.id);
        let mut told = BTreeSet::new();
        for id in found.map(|finding| finding.detector.as_str()).filter(|id| told.insert(*id)) {
            let count = frames.get(session.id.as_str()).and_then(|f| f.get(id)).map_or(0, BTreeSet::len);
            let _ = write!(text, "\n  {id}: {}", crate::finding::count(count as u64, "frame"));
        }
    }
    if let Some(rest) = sessions.len().checked_sub(MAX_SESSIONS).filter(|rest| *rest > 0) {
        let _ = write!(text, "\n{} in the report.", crate::finding::are(rest as u64, "more session"));
    }
    if let Some(worst) = report.findings.iter().rev().max_by_key(|finding| finding.severity) {
        let _ = write!(text, "\nTo select evidence: frame.comment contains \"{}\"", worst.detector);
    }
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Evidence, Severity, TimelineEntry};

    fn evidence(capture: u16, frames: &[u32], note: &str) -> Evidence {
        Evidence { capture, frames: frames.to_vec(), note: note.to_owned() }
    }

    fn report() -> Report {
        let finding = |detector: &str, severity, evidence| Finding {
            detector: detector.to_owned(),
            session: "1".to_owned(),
            headline: "it never\u{1b}[2J came up".to_owned(),
            severity,
            evidence,
            ..Finding::default()
        };
        let event = |frame| TimelineEntry { frame, text: "opens".to_owned(), ..TimelineEntry::default() };
        Report {
            tool: "acpcap 1".to_owned(),
            complete: true,
            sessions: vec![Session {
                id: "1".to_owned(),
                client: "192.0.2.1".to_owned(),
                gateway: "192.0.2.2:443".to_owned(),
                severity: Some(Severity::High),
                verdict: "It never\ncame up.".to_owned(),
                timeline: vec![event(1), event(2)],
                ..Session::default()
            }],
            findings: vec![
                finding("one", Severity::High, vec![evidence(0, &[2, 9], "hellos"), evidence(1, &[3], "elsewhere")]),
                finding("two", Severity::Low, vec![evidence(0, &[9], "large"), evidence(0, &[], "nothing came")]),
            ],
            ..Report::default()
        }
    }

    #[test]
    fn a_comment_begins_with_the_detector_and_is_escaped() {
        let comments = Comments::new(&report(), 0);
        let on = |frame| comments.on(frame).collect::<Vec<_>>();
        assert_eq!(on(2), ["one: it never\\x1b[2J came up. Here: hellos (acpcap, session 1)"]);
        assert_eq!(on(9).len(), 2);
        assert!(on(9)[1].starts_with("two: "));
        assert!(on(1).is_empty() && on(3).is_empty() && on(u32::MAX).is_empty());
        assert!(!comments.is_empty() && Comments::new(&report(), 2).is_empty());
    }

    #[test]
    fn the_story_around_the_evidence_names_no_detector() {
        let context = Context::new(&report(), 0);
        assert_eq!(context.frames.keys().collect::<Vec<_>>(), [&1, &2]);
        assert_eq!(context.frames[&1], "context: opens (acpcap, session 1)");
        assert_eq!(Context::new(&report(), 2), Context::default());
    }

    #[test]
    fn the_summary_tells_the_verdict_and_how_to_select() {
        assert_eq!(
            summary(&report(), 0, false),
            "acpcap 1\n\
             Session 1, 192.0.2.1 to 192.0.2.2:443: HIGH. It never\n\
             came up.\n  \
             one: 2 frames\n  \
             two: 1 frame\n\
             To select evidence: frame.comment contains \"one\""
        );
        assert!(summary(&Report::default(), 0, true).contains("No AnyConnect session"));
    }
}
