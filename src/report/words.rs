//! The words of a report that several pages share.

use super::{Answer, Basis, Capture, Confidence, Finding, FrameNumber, Reason, Report, Session, Severity};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

/// 1234567 → `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 frame`, `2 frames`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// The word of a severity in headings.
pub(crate) fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "HIGH",
        Severity::Medium => "MEDIUM",
        Severity::Low => "LOW",
        Severity::Info => "INFO",
    }
}

/// What is asked for often, looked up once.
pub(super) struct Index<'a> {
    findings: HashMap<&'a str, Vec<&'a Finding>>,
    pub(super) unsure: HashSet<&'a str>,
    pub(super) labels: Vec<String>,
}

impl<'a> Index<'a> {
    pub(super) fn new(report: &'a Report) -> Self {
        let mut findings: HashMap<&str, Vec<&Finding>> = HashMap::new();
        for finding in &report.findings {
            let of_session = findings.entry(finding.session.as_str()).or_default();
            of_session.push(finding);
        }
        let unsure = report.checks.iter();
        let unsure = unsure.filter(|check| check.outcome == Answer::CannotTell);
        Index {
            findings,
            unsure: unsure.map(|check| check.session.as_str()).collect(),
            labels: labels(&report.captures),
        }
    }

    pub(super) fn findings(&self, session: &str) -> &[&'a Finding] {
        self.findings.get(session).map_or(&[], Vec::as_slice)
    }

    /// The capture's name where there is more than one to confuse it with.
    pub(super) fn label(&self, capture: u16) -> Option<&str> {
        if self.labels.len() < 2 {
            return None;
        }
        self.labels.get(usize::from(capture)).map(String::as_str)
    }
}

/// File names, or whole paths where two files have the same name.
pub(super) fn labels(captures: &[Capture]) -> Vec<String> {
    fn base(path: &str) -> &str {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        if name.is_empty() { path } else { name }
    }
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for capture in captures {
        *seen.entry(base(&capture.path)).or_default() += 1;
    }
    let label = |capture: &Capture| {
        let name = base(&capture.path);
        let unique = seen.get(name).is_none_or(|&times| times == 1);
        if unique { name } else { &capture.path }.to_owned()
    };
    captures.iter().map(label).collect()
}

/// The kind of loss that is a frame nobody could read.
const UNDECODED: &str = "undecoded";

/// The kind of loss that is DTLS of nobody knows what.
pub(super) const LATE_DTLS: &str = "late-dtls";

/// The kind of loss that is TLS of nobody knows what.
pub(super) const OTHER_TLS: &str = "other-tls";

/// Reasons why frames could not be read that are told where there is no session.
const SHOWN_REASONS: usize = 3;

/// What may hide a session where none was found, and in how many frames.
#[derive(Clone, Copy)]
enum Hidden {
    /// Most frames could not be read.
    Unread(u64),
    /// Frames are cut.
    Cut(u64),
    /// DTLS was up before, and nothing tells whose.
    Late,
    /// There are TLS connections, or attempts at them, and nothing tells whether they are a tunnel's.
    Tls,
}

fn hidden(report: &Report) -> Option<Hidden> {
    let sum = |kind: &str| {
        let losses = report.losses.iter().filter(|loss| loss.kind == kind);
        losses.map(|loss| loss.count).fold(0, u64::saturating_add)
    };
    let frames = report.captures.iter().map(|c| c.frames).fold(0, u64::saturating_add);
    match (sum(UNDECODED), sum("cut-frames")) {
        (unread, _) if unread > frames / 2 => Some(Hidden::Unread(unread)),
        (_, 0) if sum(LATE_DTLS) > 0 => Some(Hidden::Late),
        (_, 0) => (sum(OTHER_TLS) > 0).then_some(Hidden::Tls),
        (_, cut) => Some(Hidden::Cut(cut)),
    }
}

/// The same in a few words.
pub(super) fn no_session_headline(report: &Report) -> &'static str {
    if hidden(report).is_some() { "No AnyConnect session recognised" } else { "No AnyConnect session" }
}

/// What to say of captures without a session.
pub(super) fn no_session_words(report: &Report) -> String {
    let frames = report.captures.iter().map(|c| c.frames);
    let frames = frames.fold(0, u64::saturating_add);
    let captures = counted(report.captures.len() as u64, "capture");
    if frames == 0 {
        return format!("{captures} without a single frame: there was nothing to look at.");
    }
    match hidden(report) {
        Some(Hidden::Unread(unread)) => {
            let losses = report.losses.iter().filter(|loss| loss.kind == UNDECODED);
            let why: Vec<&str> = losses.take(SHOWN_REASONS).map(|loss| loss.text.as_str()).collect();
            let others = if unread < frames { "; in the others there is none" } else { "" };
            return format!(
                "Most of the {} in {captures} could not be read: {}. Whether there is an AnyConnect session in them, nobody can tell{others}.",
                counted(frames, "frame"),
                why.join("; ")
            );
        }
        Some(Hidden::Cut(cut)) => {
            return format!(
                "No AnyConnect session was recognised in the {} in {captures}, and {} of them are cut by the snap length: the hellos by \
                 which a session is known may be cut off, so there may be one. A capture of whole packets shows it (`tcpdump -s 0`, \
                 `packet-length 1600` on the gateway). One from inside a tunnel may need a label (inside:FILE) to be understood.",
                counted(frames, "frame"),
                grouped(cut)
            );
        }
        Some(Hidden::Late) => {
            return format!(
                "No AnyConnect session was recognised in the {} in {captures}, but DTLS data passed that may be a tunnel's: see below.",
                counted(frames, "frame")
            );
        }
        Some(Hidden::Tls) => {
            return format!(
                "No AnyConnect session was recognised in the {} in {captures}, but there are TLS connections, or attempts at \
                 them: see below to whom, and what hides a tunnel in them. A capture from inside a tunnel may need a label \
                 (inside:FILE) to be understood.",
                counted(frames, "frame")
            );
        }
        None => {}
    }
    let part = if report.complete { "N" } else { "As far as it was read, n" };
    format!(
        "{part}one of the {} in {captures} belongs to an AnyConnect session: no TLS tunnel to a gateway, no DTLS \
         beside one, no traffic out of one. Any port was looked at. A capture that begins after the tunnel, or one \
         from inside it, may need a label (inside:FILE) to be understood.",
        counted(frames, "frame")
    )
}

pub(super) fn is_damaged(capture: &Capture) -> bool {
    capture.truncated || capture.damage.is_some()
}

pub(super) fn is_healthy(session: &Session, findings: &[&Finding]) -> bool {
    session.severity.is_none_or(|severity| severity == Severity::Info)
        && findings.iter().all(|finding| finding.severity == Severity::Info)
}

/// `12 sessions: 1 high (session 7), 2 medium (sessions 3 and 9), 9 without findings`.
pub(super) fn overview(report: &Report) -> String {
    let all = report.summary.severities;
    let parts = [
        (all.high, "high", Some(Severity::High)),
        (all.medium, "medium", Some(Severity::Medium)),
        (all.low, "low", None),
        (all.info, "with notes only", None),
        (all.none, "without findings", None),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, word, severity)| {
            let which = severity.map(|severity| which(report, severity, *number)).unwrap_or_default();
            format!("{} {word}{which}", grouped(*number))
        })
        .collect();
    format!("{}: {}", counted(report.summary.sessions, "session"), parts.join(", "))
}

/// ` (sessions 3 and 9)`: those of a severity, as far as they are told.
fn which(report: &Report, severity: Severity, number: u64) -> String {
    /// Named at most.
    const MOST: usize = 4;
    let those = report.sessions.iter().filter(|session| session.severity == Some(severity));
    let mut named: Vec<&str> = those.take(MOST).map(|session| session.id.as_str()).collect();
    let more = number.saturating_sub(named.len() as u64);
    let more = (more > 0).then(|| format!("{} more", grouped(more)));
    named.extend(more.as_deref());
    match named.split_last() {
        Some((only, [])) => format!(" (session {only})"),
        Some((last, named)) => format!(" (sessions {} and {last})", named.join(", ")),
        None => String::new(),
    }
}

pub(super) fn inner(addresses: &[String]) -> String {
    let Some(shown) = addresses.get(..addresses.len().min(3)) else {
        return String::new();
    };
    match addresses.len() {
        0 => String::new(),
        1..=3 => format!("   inner {}", shown.join(", ")),
        all => format!("   inner {} and {} more", shown.join(", "), all - 3),
    }
}

pub(super) fn confidence_word(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Low => "low",
        Confidence::Medium => "medium",
        Confidence::High => "high",
    }
}

pub(super) fn basis_word(basis: Basis) -> &'static str {
    match basis {
        Basis::Assumed => "assumed",
        Basis::Derived => "derived",
        Basis::Observed => "observed",
        Basis::Decrypted => "decrypted",
    }
}

pub(super) fn channel_word(channel: &str) -> &str {
    match channel {
        "tls" => "TLS",
        "dtls" => "DTLS",
        "outer-tcp" => "outer TCP",
        "outer-udp" => "outer UDP",
        other => other,
    }
}

/// A vantage in words a person would use.
pub(super) fn place(vantage: &str) -> &str {
    match vantage {
        "client" => "client NIC",
        "outside" => "gateway outside",
        "inside" => "gateway inside",
        "virtual-adapter" => "virtual adapter",
        "unknown" => "vantage unknown",
        other => other,
    }
}

/// The vantage and, where one interface stood there, its name; the file where the vantage is unknown.
pub(super) fn seen_at(report: &Report, index: &Index, capture: u16, vantage: &str) -> String {
    let interfaces = report.captures.get(usize::from(capture));
    let interfaces = interfaces.map_or(&[][..], |c| c.interfaces.as_slice());
    let mut there = interfaces.iter().filter(|i| i.vantage == vantage);
    let name = match (there.next(), there.next()) {
        (Some(only), None) if !only.name.starts_with("interface ") => Some(only.name.as_str()),
        _ => None,
    };
    if vantage == "unknown" || vantage.is_empty() {
        let label = index.label(capture).or(name);
        return label.unwrap_or("unknown").to_owned();
    }
    match name {
        Some(name) if interfaces.len() > 1 && name != vantage => format!("{vantage} ({name})"),
        _ => vantage.to_owned(),
    }
}

pub(super) fn filter_text(note: &super::Filter, index: &Index) -> String {
    let mut parts = Vec::new();
    if let Some(frames) = note.frames {
        parts.push(counted(frames, "frame"));
    }
    if !note.shows.is_empty() {
        parts.push(note.shows.clone());
    }
    let mut text = parts.join(": ");
    if let Some(label) = index.label(note.capture) {
        let _ = write!(text, " (in {label})");
    }
    text
}

/// `frame 72`, `frames 10, 18`, `frames 1, 2, 3, 4 and 8 more`; with the file's name where there are several.
pub(super) fn frame_list(frames: &[FrameNumber], index: &Index) -> String {
    let mut per_capture: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
    for frame in frames {
        per_capture.entry(frame.capture).or_default().push(frame.frame);
    }
    let mut parts = Vec::new();
    for (capture, numbers) in &per_capture {
        let shown: Vec<String> = numbers.iter().take(4).map(u32::to_string).collect();
        let word = if numbers.len() == 1 { "frame" } else { "frames" };
        let mut part = format!("{word} {}", shown.join(", "));
        if numbers.len() > 4 {
            let _ = write!(part, " and {} more", numbers.len() - 4);
        }
        if let Some(label) = index.label(*capture) {
            part = format!("{label} {part}");
        }
        parts.push(part);
    }
    parts.join("; ")
}

/// Are the next captures for nothing but to be sure? Nothing is wrong, and sessions were found.
pub(super) fn only_for_complaints(report: &Report) -> bool {
    report.findings.iter().all(|finding| finding.severity == Severity::Info)
        && report.next_captures.iter().all(|next| !next.session.is_empty())
}

/// Why detectors could not tell, of all sessions.
pub(super) fn unsure_reasons(report: &Report) -> Vec<String> {
    let many = report.summary.sessions > 1;
    report.summary.cannot_tell.iter().map(|group| reason_row(group, many)).collect()
}

/// A reason, who gives it, and for which sessions where there are several.
pub(super) fn reason_row(group: &Reason, many: bool) -> String {
    let mut text = format!("{}: {}", group.detectors.join(", "), group.reason);
    if many {
        let _ = match group.sessions {
            1..=3 => write!(text, " (session {})", group.named.join(", ")),
            all => write!(text, " ({} sessions)", grouped(all)),
        };
    }
    text
}

/// 76.2 → `76.2 s`; long spans in minutes or hours.
pub(super) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 600.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Times inside a sentence without their fractions: `2026-11-23T11:01:33.120Z` → `2026-11-23T11:01:33Z`.
pub(super) fn seconds_only(text: &str) -> String {
    let short = |word: &str| match word.strip_suffix('Z').and_then(|word| word.split_once('.')) {
        Some((seconds, _)) if seconds.contains('T') => format!("{seconds}Z"),
        _ => word.to_owned(),
    };
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

/// `2026-11-23T11:01:33.120Z` → `2026-11-23 11:01:33 UTC`; anything else as it is.
pub(super) fn moment(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(11..19), nanoseconds(rfc3339)) {
        (Some(day), Some(time), Some(_)) => format!("{day} {time} UTC"),
        _ => rfc3339.to_owned(),
    }
}

/// `61.800 s` after the session's start; the time itself when either cannot be read.
pub(super) fn since_start(start: &str, at: &str) -> String {
    match (nanoseconds(start), nanoseconds(at)) {
        (Some(start), Some(at)) => format!("{:.3} s", (at - start) as f64 / 1e9),
        _ => at.to_owned(),
    }
}

/// Seconds from one RFC 3339 time to another; `None` when either cannot be read.
pub(crate) fn seconds_between(start: &str, end: &str) -> Option<f64> {
    Some((nanoseconds(end)? - nanoseconds(start)?) as f64 / 1e9)
}

/// Nanoseconds since 1970 of an RFC 3339 time in UTC (`Z`); `None` for anything else.
pub(super) fn nanoseconds(rfc3339: &str) -> Option<i128> {
    fn number(text: Option<&str>) -> Option<i128> {
        let text = text.filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        text.parse().ok()
    }
    let text = rfc3339.strip_suffix('Z')?;
    let (year, month, day) = (number(text.get(..4))?, number(text.get(5..7))?, number(text.get(8..10))?);
    let (hour, minute, second) = (number(text.get(11..13))?, number(text.get(14..16))?, number(text.get(17..19))?);
    let fraction = match text.get(19..)? {
        "" => 0,
        dotted => {
            let digits = dotted.strip_prefix('.').filter(|d| d.len() <= 9)?;
            number(Some(&format!("{digits:0<9}")))?
        }
    };
    // Days from civil: years begin in March, so that the leap day is the last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 719_469;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_the_start() {
        assert_eq!(nanoseconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(nanoseconds("2024-02-29T12:30:15.5Z"), Some(1_709_209_815_500_000_000));
        assert_eq!(nanoseconds("2024-02-29 12:30"), None);
        assert_eq!(nanoseconds("2024-02-29T12:30:15+01:00"), None);
        assert_eq!(since_start("2026-11-23T23:59:59.900Z", "2026-11-24T00:01:01.7Z"), "61.800 s");
        assert_eq!(moment("ünix"), "ünix");
        assert_eq!((span(76.23), span(700.0), span(36_000.0)), ("76.2 s".into(), "11.7 min".into(), "10.0 h".into()));
        assert_eq!((grouped(7), grouped(1_234_567)), ("7".to_owned(), "1,234,567".to_owned()));
    }
}
