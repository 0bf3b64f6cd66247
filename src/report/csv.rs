//! The report as CSV (RFC 4180), a row a session, to sort and count in a spreadsheet.
//!
//! Promises: columns only ever added, at the end, within a major version of the report's schema; ASCII, so that every program reads
//! it alike; no cell that a spreadsheet takes for a formula. Refuses: to say how the sessions went, which is the other formats' work.

use super::terminal::escape_ascii;
use super::words::{basis_word, confidence_word, severity_word};
use super::{Answer, Check, Every, Finding, Limit, List, Piece, Report, Session};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};
use std::ops::ControlFlow;

/// Names of the columns, and what stands in them. An empty cell means not known, or none. Several values in a cell are separated
/// by a space.
pub const COLUMNS: &[(&str, &str)] = &[
    ("session", "number of the session in the report"),
    ("client", "client's outer address"),
    ("nat_address", "the client's address as the gateway sees it, where an address translation shows"),
    ("gateway", "gateway's outer address and port"),
    ("proxied_to", "gateway's name and port as told to the web proxy in between"),
    ("inner_addresses", "client's addresses inside the tunnel"),
    ("start", "first packet, RFC 3339 UTC"),
    ("end", "last packet, RFC 3339 UTC"),
    ("duration_seconds", "seconds between them"),
    ("severity", "worst severity among the findings: `high`, `medium`, `low`, `info`; empty without findings"),
    ("worst_finding", "detector of the worst finding, the cause first"),
    ("confidence", "confidence in that finding: `high`, `medium`, `low`"),
    ("likely_cause", "likeliest cause of that finding, a word that `acpcap explain` tells of"),
    ("found", "detectors that found something"),
    ("cannot_tell", "detectors that could not tell"),
    ("verdict", "the story in a sentence or three"),
    ("captures", "captures that show the session, counted from 1 in the order given"),
    ("tcp_streams", "tcp.stream numbers, in the capture that shows each first"),
    ("udp_streams", "udp.stream numbers of DTLS, likewise"),
    ("tls_version", "of the last TLS tunnel whose handshake was seen"),
    ("tls_cipher", "likewise"),
    ("dtls_outcome", "of the last DTLS handshake attempt: `completed`, `no-reply`, `refused`, …"),
    ("dtls_attempts", "DTLS handshake attempts at the place that saw most of them"),
    ("dtls_client_hellos", "DTLS ClientHellos, repeats included, at that place"),
    ("dtls_up_after_seconds", "seconds from the first ClientHello to completion, of the attempt that completed first"),
    ("dtls_version", "of the last DTLS attempt"),
    ("dtls_cipher", "likewise"),
    ("tls_limit_bytes", "largest inner packet the TLS tunnel may carry, IP header included"),
    ("tls_limit_basis", "who says so: `observed`, `decrypted`, `derived`, `assumed`"),
    ("dtls_limit_bytes", "largest inner packet the DTLS tunnel may carry, IP header included"),
    ("dtls_limit_basis", "likewise"),
    ("oversized_packets", "packets above the limit in force, at the place that saw most of them"),
    ("oversized_largest_bytes", "largest of them, IP header included"),
    ("icmp_too_big", "Fragmentation Needed and Packet Too Big, at the place that saw most of them"),
    ("icmp_next_hop_mtus", "MTUs they told, bytes"),
    ("reconnects", "tunnel connections that replaced an earlier one"),
    ("reconnect_causes", "`mtu`, `sleep`, `dpd-unanswered`, …, in their order"),
    ("longest_gap_seconds", "longest time without a tunnel connection at a reconnect"),
    ("do_first", "what to do first"),
    ("complete", "`yes`; `no` when something of the captures could not be read or kept"),
];

/// Characters at a cell's beginning that make a spreadsheet calculate.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Writes a line of names and a line for each session, each ended by CR and LF.
///
/// # Errors
///
/// What `out` says.
pub fn render(report: &Report, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    render_every(report, &mut &*report, out)
}

/// The same, with the sessions that `every` tells instead of the report's own.
///
/// # Errors
///
/// As [`render`].
pub fn render_every(report: &Report, every: &mut dyn Every, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    line(COLUMNS.iter().map(|(name, _)| (*name).to_owned()), out)?;
    let mut result = Ok(());
    every.each(List::Sessions, &mut |piece| {
        let index = Index::new(&piece);
        result = piece.sessions.iter().try_for_each(|session| line(row(report, session, &index).into_iter(), out));
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    result
}

fn line(cells: impl Iterator<Item = String>, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let cells: Vec<String> = cells.map(|text| cell(&text)).collect();
    write!(out, "{}\r\n", cells.join(","))
}

/// A cell as it stands in the file. Control characters and what is not ASCII are spelled out; what a spreadsheet would calculate gets an
/// apostrophe in front, which makes it text; quotes stand where RFC 4180 §2 wants them.
pub fn cell(text: &str) -> String {
    let defused = defused(text);
    if defused.contains([',', '"', ';', '\'']) || defused.starts_with(' ') || defused.ends_with(' ') {
        return format!("\"{}\"", defused.replace('"', "\"\""));
    }
    defused
}

/// The text a reader of the file gets.
fn defused(text: &str) -> String {
    let plain = escape_ascii(text);
    // Some spreadsheets skip spaces before they look for a formula.
    if plain.trim_start().starts_with(FORMULA) { format!("'{plain}") } else { plain }
}

/// What is asked for with every row, looked up once.
#[derive(Default)]
struct Index<'a> {
    findings: HashMap<&'a str, Vec<&'a Finding>>,
    unsure: HashMap<&'a str, Vec<&'a Check>>,
}

impl<'a> Index<'a> {
    fn new(piece: &Piece<'a>) -> Index<'a> {
        let mut index = Index::default();
        for finding in piece.findings {
            index.findings.entry(&finding.session).or_default().push(finding);
        }
        for check in piece.checks.iter().filter(|check| check.outcome == Answer::CannotTell) {
            index.unsure.entry(&check.session).or_default().push(check);
        }
        index
    }
}

fn row(report: &Report, session: &Session, index: &Index) -> Vec<String> {
    let findings = index.findings.get(session.id.as_str()).map_or(&[][..], Vec::as_slice);
    let unsure = index.unsure.get(session.id.as_str()).map_or(&[][..], Vec::as_slice);
    // Causes stand before effects: of equals the first is the worst.
    let worst = findings.iter().rev().max_by_key(|finding| finding.severity);
    let mut cells = vec![
        session.id.clone(),
        session.client.clone(),
        session.nat_address.clone().unwrap_or_default(),
        session.gateway.clone(),
        session.proxied_to.clone().unwrap_or_default(),
        session.inner_addresses.join(" "),
        session.start.clone(),
        session.end.clone(),
        seconds(super::words::seconds_between(&session.start, &session.end)),
        session.severity.map_or(String::new(), |severity| severity_word(severity).to_lowercase()),
        worst.map_or(String::new(), |finding| finding.detector.clone()),
        worst.map_or(String::new(), |finding| confidence_word(finding.confidence).to_owned()),
        worst.and_then(|finding| finding.likely_cause.clone()).unwrap_or_default(),
        each(findings.iter().map(|finding| finding.detector.clone())),
        each(unsure.iter().map(|check| check.detector.clone())),
        session.verdict.clone(),
    ];
    cells.extend(streams(session));
    cells.extend(dtls(session));
    cells.extend(["tls", "dtls"].into_iter().flat_map(|channel| limit(&session.limits, channel)));
    cells.extend(sizes(session));
    cells.extend(reconnects(session));
    let first = findings.iter().flat_map(|finding| &finding.remedy).find(|step| !step.starts_with("not: "));
    cells.push(first.cloned().unwrap_or_default());
    cells.push(if report.complete { "yes" } else { "no" }.to_owned());
    cells
}

/// Captures, streams, and the TLS tunnel.
fn streams(session: &Session) -> [String; 5] {
    let tls = || session.tunnels.iter().filter(|tunnel| tunnel.kind == "tls");
    let captures: BTreeSet<u16> = session
        .tunnels
        .iter()
        .map(|tunnel| tunnel.capture)
        .chain(session.dtls_attempts.iter().map(|attempt| attempt.capture))
        .chain(session.timeline.iter().map(|entry| entry.capture))
        .collect();
    // A connection seen at several places has a number in each capture; the first place stands for all.
    let mut ends = BTreeMap::new();
    let tunnels = session.tunnels.iter().map(|t| (t.kind == "dtls", &t.src, t.sport, &t.dst, t.dport, t.stream));
    let attempts = session.dtls_attempts.iter().map(|a| (true, &a.src, a.sport, &a.dst, a.dport, a.stream));
    for (udp, src, sport, dst, dport, stream) in tunnels.chain(attempts) {
        ends.entry((udp, src, sport, dst, dport)).or_insert(stream);
    }
    let numbers = |of_udp: bool| {
        let streams = ends.iter().filter(|((udp, ..), _)| *udp == of_udp).map(|(_, stream)| *stream);
        let streams: BTreeSet<u32> = streams.collect();
        each(streams.iter().map(u32::to_string))
    };
    [
        each(captures.iter().map(|capture| (capture + 1).to_string())),
        numbers(false),
        numbers(true),
        tls().rev().find_map(|tunnel| tunnel.version.clone()).unwrap_or_default(),
        tls().rev().find_map(|tunnel| tunnel.cipher.clone()).unwrap_or_default(),
    ]
}

fn dtls(session: &Session) -> [String; 6] {
    let attempts = &session.dtls_attempts;
    let mut places: BTreeMap<(u16, &str), (u64, u64)> = BTreeMap::new();
    for attempt in attempts {
        let (tried, hellos) = places.entry((attempt.capture, &attempt.vantage)).or_default();
        *tried += 1;
        *hellos += u64::from(attempt.client_hellos);
    }
    let (tried, hellos) = places.values().copied().max().unwrap_or_default();
    let last = attempts.iter().max_by(|a, b| a.start.cmp(&b.start));
    let up = attempts.iter().filter(|attempt| attempt.completed_after_seconds.is_some());
    let up = up.min_by(|a, b| a.start.cmp(&b.start)).and_then(|attempt| attempt.completed_after_seconds);
    [
        last.map_or(String::new(), |attempt| attempt.outcome.clone()),
        tried.to_string(),
        hellos.to_string(),
        seconds(up),
        last.map_or(String::new(), |attempt| attempt.version.clone()),
        last.and_then(|attempt| attempt.cipher.clone()).unwrap_or_default(),
    ]
}

/// The limit that findings are judged by, else the first told.
fn limit(limits: &[Limit], channel: &str) -> [String; 2] {
    let of_channel = || limits.iter().filter(|limit| limit.channel == channel);
    let limit = of_channel().rfind(|limit| limit.in_force).or_else(|| of_channel().next());
    let basis = limit.map(|limit| basis_word(limit.basis));
    [limit.map_or(String::new(), |limit| limit.bytes.to_string()), basis.unwrap_or_default().to_owned()]
}

fn sizes(session: &Session) -> [String; 4] {
    let oversized = session.oversized.iter().map(|seen| seen.packets).max().unwrap_or(0);
    let largest = session.oversized.iter().filter_map(|seen| seen.sizes.keys().next_back()).max();
    let told = session.frag_needed.iter().map(|seen| seen.packets).max().unwrap_or(0);
    let mtus: BTreeSet<u32> = session.frag_needed.iter().flat_map(|seen| seen.next_hop_mtu.clone()).collect();
    [
        oversized.to_string(),
        largest.map_or(String::new(), u32::to_string),
        told.to_string(),
        each(mtus.iter().map(u32::to_string)),
    ]
}

fn reconnects(session: &Session) -> [String; 3] {
    // Connections that overlap leave no gap.
    let gaps = session.reconnects.iter().map(|reconnect| reconnect.gap_seconds.max(0.0));
    let longest = gaps.max_by(f64::total_cmp);
    let causes: Vec<&str> = session.reconnects.iter().map(|reconnect| reconnect.cause.as_str()).collect();
    [session.reconnects.len().to_string(), causes.join(" "), seconds(longest)]
}

/// Each of them once, in their order.
fn each(values: impl Iterator<Item = String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen.join(" ")
}

fn seconds(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| format!("{value:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Reconnect, Severity};
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    fn page(report: &Report) -> String {
        let mut out = Vec::new();
        render(report, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_row_has_a_cell_for_every_column() {
        let session = Session { id: "1".to_owned(), verdict: "a, \"b\"\nc".to_owned(), ..Session::default() };
        let rows = read(page(&Report { sessions: vec![session], ..Report::default() }).as_bytes());
        assert_eq!(rows.len(), 2);
        let value = |name: &str| {
            let at = rows[0].iter().position(|column| column == name).unwrap();
            rows[1][at].as_str()
        };
        assert_eq!(rows[1].len(), COLUMNS.len());
        assert_eq!(value("verdict"), r#"a, "b"\nc"#);
        assert_eq!((value("duration_seconds"), value("severity"), value("complete")), ("", "", "no"));
    }

    #[test]
    fn the_worst_finding_is_the_first_of_the_most_severe() {
        let finding = |detector: &str, severity| Finding {
            detector: detector.to_owned(),
            session: "1".to_owned(),
            severity,
            ..Finding::default()
        };
        let report = Report {
            sessions: vec![Session {
                id: "1".to_owned(),
                start: "2026-11-23T11:01:34.5Z".to_owned(),
                end: "2026-11-23T11:02:35Z".to_owned(),
                reconnects: vec![Reconnect { gap_seconds: -2.0, cause: "mtu".to_owned(), ..Reconnect::default() }],
                ..Session::default()
            }],
            findings: vec![
                finding("low", Severity::Low),
                finding("one", Severity::High),
                finding("two", Severity::High),
            ],
            ..Report::default()
        };
        let text = page(&report);
        assert!(text.contains(",60.500,") && text.contains(",one,"), "{text}");
        assert!(text.contains(",low one two,") && text.contains(",1,mtu,0.000,"), "{text}");
    }

    #[test]
    fn formulas_are_text() {
        for hostile in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "=cmd|' /C calc'!A0"] {
            let read = read(format!("{}\r\n", cell(hostile)).as_bytes());
            assert!(!read[0][0].starts_with(FORMULA) && !read[0][0].trim_start().starts_with(FORMULA), "{read:?}");
        }
        assert_eq!(cell("=1"), "\"'=1\"");
    }

    proptest! {
        #[test]
        fn any_cell_comes_back_and_none_is_a_formula(texts in proptest::collection::vec(any::<String>(), 1..6)) {
            let mut file = Vec::new();
            line(texts.iter().cloned(), &mut file).unwrap();
            prop_assert!(file.ends_with(b"\r\n") && file.is_ascii());
            prop_assert_eq!(file.iter().filter(|byte| b"\r\n\t".contains(byte)).count(), 2);
            let rows = read(&file);
            // A line with one empty cell is an empty line, which readers skip.
            prop_assume!(!(texts.len() == 1 && texts[0].is_empty()));
            prop_assert_eq!(rows.len(), 1);
            prop_assert_eq!(rows[0].len(), texts.len());
            for (read, text) in rows[0].iter().zip(&texts) {
                prop_assert_eq!(read, &defused(text));
                prop_assert!(!read.starts_with(FORMULA));
                prop_assert!(read.trim_start_matches('\'') == escape_ascii(text).trim_start_matches('\''));
            }
        }

        #[test]
        fn plain_text_stays_as_it_is(text in "[ -~]{0,40}") {
            prop_assume!(!text.trim_start().starts_with(FORMULA) && !text.is_empty());
            let file = format!("{}\r\n", cell(&text));
            prop_assert_eq!(&read(file.as_bytes())[0][0], &text);
        }
    }
}
