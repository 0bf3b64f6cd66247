use super::*;
use crate::report::terminal::is_hostile;
use crate::report::{
    Basis, Check, Confidence, Evidence, Filter, FrameNumber, Interface, Limit, Loss, NextCapture, SCHEMA_VERSION,
    Session, Summary, TimelineEntry,
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
    settings.set_snapshot_path("../../../tests/snapshots");
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
    cause.filter_notes = vec![filter("dtls.handshake.type == 1 && ip.addr == 198.51.100.10", "the ClientHellos", 10)];
    cause.filters = vec![cause.filter_notes[0].filter.clone()];
    cause.remedy = vec![
        "permit udp/443 to 203.0.113.2 on the path between phys0 and outside".to_owned(),
        "or, until then: anyconnect mtu 1300 for this group (equal MTUs, no reconnect; slightly smaller packets)"
            .to_owned(),
        "not: sysopt connection tcpmss 1460 (TCP only; UDP above 1418 is still lost; touches L2L tunnels)".to_owned(),
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
        "or: anyconnect ssl df-bit-ignore enable (fragments instead of drops; costs CPU, hides the cause)".to_owned(),
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
                event(0.789, 9, "client", "tcp.stream 1", "second connection: the tunnel, TLS 1.2 AES256-CBC-SHA256"),
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
        let loss = Loss { kind: kind.to_owned(), count, text: format!("{count} frames are odd"), ..Loss::default() };
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
