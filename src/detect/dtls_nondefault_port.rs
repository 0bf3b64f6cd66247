//! DTLS is tried on another port than the one firewalls expect.

use super::remedy;
use crate::event::{FrameRef, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Filter, Finding, Grade, Outcome, Severity, Sight, frame_filters,
};
use crate::session::attempt;
use crate::session::{DtlsFlow, Session};

/// The port AnyConnect's DTLS uses unless told otherwise.
const DEFAULT: u16 = 443;

const SEEN: Grade = Grade::high("the port is in the packets, and DTLS came up on it");
const PLACED: Grade = Grade::high("captures at both ends place the loss between them");
const FACT: Grade = Grade::high("the port is in the packets; whether DTLS comes up on it they do not show");
const LIKELY: Grade = Grade::medium("the port is in the packets; that it is the cause is the likeliest reading");

pub static DETECTOR: Detector = Detector {
    id: "dtls-nondefault-port",
    title: "DTLS uses a port other than 443",
    severity: Severity::Medium,
    judged_from: &[Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::Needless,
    leads_to: &["dtls-never-completes", "oversized-df", "missing-frag-needed", "frag-needed-ignored", "reconnect-for-mtu"],
    question: "which port DTLS uses",
    explanation: "\
The gateway tells the client which UDP port to use (X-DTLS-Port). Note 116881 names a port other than 443 as the second \
reason why DTLS cannot come up: firewalls along the way permit udp/443 and not the other one.

Found when a DTLS ClientHello of the session goes to a port other than 443. Where DTLS came up on it, that is only a fact \
worth knowing (info), and so it is where the capture cannot tell; where it never did, the port is the likeliest cause (medium).",
    confidence: &[SEEN, PLACED, FACT, LIKELY],
    remedy: &[
        "set the gateway's DTLS port back to 443 (`dtls port 443` under `webvpn`)",
        "or permit the port in use on every firewall between clients and gateway",
    ],
    references: &["Cisco TAC 116881", "protocol notes: X-DTLS-Port"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    if session.dtls.is_empty() {
        let named = session.granted().filter_map(|(_, frame, answer)| Some((*frame, answer.dtls_port?))).last();
        match named {
            Some((_, DEFAULT)) => return case.clear(|| format!("the gateway names udp/{DEFAULT} (X-DTLS-Port)")),
            Some((frame, port)) => return Outcome::Found(Box::new(only_named(frame, port))),
            None => {}
        }
        return Outcome::cannot_tell("no DTLS packet was seen, so neither was its port", None);
    }
    let odd: Vec<&DtlsFlow> = session.dtls.iter().filter(|d| port(d) != DEFAULT).collect();
    let Some(first) = odd.first() else {
        return case.clear(|| format!("DTLS goes to port {DEFAULT}"));
    };
    let port = port(first);
    let passed = passed(case, &odd);
    let failed = odd.iter().flat_map(|flow| attempt::judge(session, flow, case.points)).any(|j| j.outcome.failed());
    let tls = session.port;
    let (beside, works) = (!session.connections.is_empty(), tls_works(session));
    let mut summary = format!("DTLS goes to udp/{port} instead of udp/{DEFAULT}");
    summary.push_str(&match (passed, failed) {
        (Some(how), _) if beside => format!(", TLS to tcp/{tls}. {how}."),
        (Some(how), _) => format!(". {how}."),
        (None, true) if works => format!(
            ", and never came up; TLS to tcp/{tls} works. A firewall that permits only udp/{DEFAULT} explains both."
        ),
        (None, true) => {
            format!(", and never came up. A firewall that permits only udp/{DEFAULT} would explain that.")
        }
        (None, false) => ". Whether it comes up this capture does not show.".to_owned(),
    });
    let is_innocent = passed.is_some() || !failed;
    let begins = first.start();
    let would_show = |point| case.whole_window(point, Sight::Udp(port), begins, begins.plus_seconds(1.0)).is_ok();
    let placed = case.is_at(Vantage::Client) && case.at(Vantage::Outside).into_iter().any(would_show);
    let mut frames: Vec<FrameRef> =
        odd.iter().flat_map(|d| d.attempts()).filter_map(|(_, a)| a.hello_frames().next().map(|(f, _)| f)).collect();
    if frames.is_empty() {
        frames.extend(odd.iter().map(|d| d.best().opened.first_frame));
    }
    let capture = first.best().opened.first_frame.capture;
    Outcome::Found(Box::new(Finding {
        severity: if is_innocent { Severity::Info } else { Severity::Medium },
        grade: match (passed.is_some(), failed) {
            (true, _) => SEEN,
            (false, false) => FACT,
            (false, true) if placed => PLACED,
            (false, true) => LIKELY,
        },
        headline: "DTLS goes to a port other than 443".to_owned(),
        summary,
        evidence: vec![Evidence::Frames(frames, format!("first ClientHello of each attempt, to udp/{port}"))],
        filters: vec![Filter {
            filter: format!("dtls.handshake.type == 1 && udp.dstport == {port} && !icmp && !icmpv6"),
            capture,
            shows: format!("ClientHellos to udp/{port}"),
            frames: None,
        }],
        remedy: if is_innocent {
            Vec::new()
        } else {
            vec![
                remedy::permit_udp(first.best().opened.endpoints().server.ip(), port),
                format!(
                    "or set the gateway's DTLS port back to {DEFAULT} (`dtls port {DEFAULT}` under `webvpn`); affects all its users"
                ),
            ]
        },
        ..Finding::default()
    }))
}

/// Did a TLS connection carry data?
fn tls_works(session: &Session) -> bool {
    session.connections.iter().any(|connection| connection.first_data().is_some())
}

/// What shows that packets to that port pass, if anything does.
fn passed(case: &Case<'_>, odd: &[&DtlsFlow]) -> Option<&'static str> {
    let attempts = || odd.iter().flat_map(|flow| flow.attempts());
    if odd.iter().any(|flow| flow.came_up()) {
        Some("It came up")
    } else if attempts().any(|(_, attempt)| attempt.was_heard()) {
        Some("It never came up, but the gateway answered from there: packets pass both ways, so the port is not why")
    } else if attempts().any(|(view, _)| case.at(Vantage::Outside).contains(&view.point)) {
        Some(
            "It never came up, but ClientHellos reach the gateway's outside interface, so a firewall before it is not why",
        )
    } else {
        None
    }
}

/// The gateway names another port, and no packet to it was seen.
fn only_named(frame: FrameRef, port: u16) -> Finding {
    Finding {
        severity: Severity::Info,
        grade: SEEN,
        headline: "DTLS is to go to a port other than 443".to_owned(),
        summary: format!(
            "The gateway names udp/{port} for DTLS (X-DTLS-Port) instead of udp/{DEFAULT}; no packet to it was seen."
        ),
        evidence: vec![Evidence::Frames(vec![frame], "the answer to CONNECT".to_owned())],
        filters: frame_filters(&[frame], "the answer to CONNECT"),
        ..Finding::default()
    }
}

fn port(flow: &DtlsFlow) -> u16 {
    flow.best().opened.endpoints().server.port()
}
