//! A failure as a finding: how bad and how sure it is, what shows it, and what speaks against other causes.

use super::cause::Cause;
use super::diagnosis::diagnose;
use super::failure::Failure;
use super::seen::{GatewayEnd, Seen};
use super::summary::summary;
use crate::detect::remedy;
use crate::event::{Direction, FrameRef, Timestamp};
use crate::finding::{Case, Evidence, Filter, Finding, Grade, RuledOut, Severity, count};
use crate::session::attempt::{AttemptOutcome, Judged, icmp_words};
use crate::session::facts::{Message, MessageKind};
use crate::session::reconnect::Reconnect;
use crate::session::stuck::stuck_uploads;
use crate::session::{Oversized, Session, vanished};
use std::collections::BTreeMap;

pub const PLACED: Grade = Grade::high("captures at both ends place the loss");
pub const TOLD_WHY: Grade = Grade::high("an ICMP error or an alert says why");
pub const MANY: Grade = Grade::high("three or more ClientHellos failed at the client's own interface");
pub const FEW: Grade = Grade::medium("fewer ClientHellos, or the gateway's end alone");
pub const CHANCE_PLACED: Grade =
    Grade::medium("captures at both ends place the loss of what was sent once or twice: chance, or a block");
pub const CHANCE: Grade = Grade::low("one end shows that what was sent once or twice is lost: chance, or a block");

pub fn finding(failure: &Failure<'_>) -> Finding {
    let (case, cause) = (failure.case, diagnose(failure));
    let severity = severity(case);
    let wanted = case.other_end("how much of the DTLS handshake passes there").filter(|_| cause.is_loss());
    if case.in_brief {
        return Finding { severity, wanted, ..Finding::default() };
    }
    Finding {
        severity,
        grade: grade(failure, &cause),
        headline: headline(failure, &cause),
        summary: summary(failure, &cause),
        likely: Some(cause.word()),
        ruled_out: ruled_out(failure, &cause),
        evidence: evidence(failure),
        filters: filters(failure),
        remedy: remedies(cause.remedy(failure.asked), case.session),
        wanted,
        ..Finding::default()
    }
}

/// What to do first, and what helps users while DTLS does not come up.
pub fn remedies(first: String, session: &Session) -> Vec<String> {
    [Some(first), remedy::equal_mtus(session), Some(remedy::TLS_ONLY.to_owned())].into_iter().flatten().collect()
}

/// Does it do harm that the tunnel's packets have to go through TCP: did any get stuck that the client then lowers its MTU for?
fn severity(case: &Case<'_>) -> Severity {
    let session = case.session;
    let stuck = |o: &Oversized| o.stuck_to_client > 0 && !o.is_beyond_dtls();
    let lowered = || session.reconnects.iter().any(Reconnect::lowered_in_need);
    let hangs = || {
        vanished::downloads(session, case.points).is_some()
            || vanished::unanswered(session, case.points).is_some()
            || stuck_uploads(session, case.points).next().is_some()
    };
    let harms = session.oversized.iter().any(stuck) || lowered() && hangs();
    if harms { Severity::High } else { Severity::Medium }
}

fn grade(failure: &Failure<'_>, cause: &Cause) -> Grade {
    if matches!(cause, Cause::FewLost) {
        return if failure.gateway.seen().is_some_and(Seen::sees_answers) { CHANCE_PLACED } else { CHANCE };
    }
    let is_hidden = failure.unseen_fragments().is_some();
    if !is_hidden && failure.gateway.point().is_some() && failure.gateway.seen().is_none_or(Seen::sees_answers) {
        return PLACED;
    }
    match failure.outcome() {
        told if told.is_told() => TOLD_WHY,
        _ if failure.is_at_client() && failure.here.hellos >= 3 => MANY,
        _ => FEW,
    }
}

fn headline(failure: &Failure<'_>, cause: &Cause) -> String {
    let what = cause.headline();
    match failure.later {
        None if failure.is_midway => format!("DTLS does not come up: {what}"),
        None if failure.works_elsewhere => format!("on the first tunnel DTLS never came up, on another it did: {what}"),
        None => format!("DTLS never came up: {what}"),
        Some(seconds) => format!("on the tunnel opened at {seconds:.0} s DTLS never came up: {what}"),
    }
}

fn ruled_out(failure: &Failure<'_>, cause: &Cause) -> Vec<RuledOut> {
    let session = failure.case.session;
    let mut all = Vec::new();
    let mut rule = |what, why: String| all.push(RuledOut { what, why });
    if matches!(failure.outcome(), AttemptOutcome::NoReply) {
        let answered = session.beside().quic.answered.len();
        if answered > 0 {
            let hosts = count(answered as u64, "other host");
            rule("a block of UDP/443 as a whole", format!("QUIC was answered by {hosts}"));
        }
        if failure.is_on_default_port() {
            rule("a non-default DTLS port", format!("the client uses udp/{}", failure.asked.port()));
        }
        if let Some(Ok(window)) = failure.icmp_window() {
            let seconds = window.seconds();
            rule("a refusal by ICMP", format!("none came in {seconds:.1} s, and the capture would have shown it"));
        }
    }
    let last_data = session.tunnels().filter_map(|t| t.last_data()).max();
    let went_on = last_data.is_some_and(|at| failure.failed.iter().all(|j| j.facts.first < at));
    if went_on && !matches!(cause, Cause::GatewaySilent) {
        rule("a dead path", "the TLS tunnel to the same gateway went on carrying records".to_owned());
    }
    all
}

fn evidence(failure: &Failure<'_>) -> Vec<Evidence> {
    let case = failure.case;
    let tried = failure.failed.iter().chain(&failure.open);
    let mut evidence: Vec<Evidence> = tried.map(|judged| hellos(case, judged)).collect();
    evidence.extend(failure.failed.iter().flat_map(|judged| answers(judged)));
    if matches!(failure.outcome(), AttemptOutcome::NoReply) {
        evidence.extend(beside(case));
    }
    if let GatewayEnd::Unseen(window) = failure.gateway {
        evidence.push(Evidence::Absence(window, format!("no ClientHello at {}", case.place(window.point()))));
    }
    evidence
}

/// The ClientHellos of an attempt and their back-off, as seconds after the first.
fn hellos(case: &Case<'_>, judged: &Judged<'_>) -> Evidence {
    let facts = judged.facts;
    let frames = facts.hello_frames().map(|(frame, _)| frame).collect();
    let after = |(_, at): (FrameRef, Timestamp)| format!("{:.1}", at.seconds_since(facts.first));
    let times: Vec<String> = facts.hello_frames().take(12).map(after).collect();
    let hellos = count(u64::from(facts.hellos), "ClientHello");
    Evidence::Frames(frames, format!("{hellos} at {}: at {} s", case.place(judged.view.point), times.join(", ")))
}

/// What came back.
fn answers(judged: &Judged<'_>) -> impl Iterator<Item = Evidence> {
    let facts = judged.facts;
    let one = |frame, note| Evidence::Frames(vec![frame], note);
    let first = move |what: &str, n: u32, first: Option<(Timestamp, FrameRef)>| {
        first.map(|(_, frame)| one(frame, format!("first of {}", count(u64::from(n), what))))
    };
    let refusal = match &judged.outcome {
        AttemptOutcome::Refused(error, sender, frame) => {
            Some(one(*frame, format!("{} from {sender}", icmp_words(error))))
        }
        _ => None,
    };
    let hello_verify = first("HelloVerifyRequest", facts.hello_verifies(), facts.hello_verify());
    let server_hello = first("ServerHello", facts.server_hellos(), facts.server_hello());
    let alert = facts.alert().map(|(_, frame, _, alert)| one(frame, format!("alert {alert}")));
    let is_torn = facts.flight().is_torn();
    let ends = |m: &Message| matches!(m.kind, MessageKind::ChangeCipherSpec | MessageKind::Finished);
    let ends = facts.messages().filter(move |m| is_torn && m.direction == Direction::ToClient && ends(m));
    let ends = ends.filter_map(move |m| first(&m.kind.to_string(), m.count, Some(m.first)));
    [refusal, hello_verify, server_hello].into_iter().flatten().chain(ends).chain(alert)
}

/// What the client's other UDP met.
fn beside(case: &Case<'_>) -> impl Iterator<Item = Evidence> {
    let beside = case.session.beside();
    let strangers = beside.strangers.iter().map(|stranger| stranger.frame).collect();
    let all = [
        (beside.quic.frames.clone(), "QUIC Initials to other hosts"),
        (strangers, "DTLS answers from another address"),
    ];
    let shown = all.into_iter().filter(|(frames, _)| !frames.is_empty());
    shown.map(|(frames, note)| Evidence::Frames(frames, note.to_owned()))
}

fn filters(failure: &Failure<'_>) -> Vec<Filter> {
    // One UDP stream may be seen at several points of one merged capture: Wireshark counts them together.
    let mut streams: BTreeMap<(u16, u32), u64> = BTreeMap::new();
    for judged in failure.failed.iter().chain(&failure.open) {
        let key = (judged.view.opened.first_frame.capture, judged.view.opened.stream);
        *streams.entry(key).or_default() += u64::from(judged.facts.hellos);
    }
    let filter = |((capture, stream), hellos)| Filter {
        // An ICMP error quotes the ClientHello it refuses, and Wireshark looks into the quote.
        filter: format!("dtls.handshake.type == 1 && udp.stream == {stream} && !icmp && !icmpv6"),
        capture,
        shows: "the ClientHellos".to_owned(),
        frames: Some(hellos),
    };
    streams.into_iter().map(filter).collect()
}
