//! A handshake as a ladder: who sent what, when, how often, how far it came, and what never came.
//!
//! Promises: every rung is a fact of the session or an absence its capture could have shown; bounded. Refuses: to draw.

use super::build::rfc3339;
use crate::event::{Direction, FrameRef, PointId, Protocol, Timestamp, Vantage};
use crate::finding::Case;
use crate::session::attempt::{AttemptOutcome, Judged, icmp_words, is_unreachable, judge};
use crate::session::coverage::{Sight, hides};
use crate::session::facts::{AttemptFacts, DtlsFacts, FlowFacts, Message, MessageKind, TlsFacts};
use crate::session::reconnect::Reconnect;
use crate::session::{Connection, DtlsFlow};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// What a silence is drawn with.
const WITHOUT_ANSWER: &str = "records without an answer";
const ANY_RECORD: &str = "any record";

/// Ladders kept per session.
pub const MAX_LADDERS: usize = 4;
/// Rungs kept per ladder; the first ones, which show how it began.
pub const MAX_RUNGS: usize = 40;
/// A tunnel without an answer for so long gets a rung that says so, seconds.
const UNANSWERED: f64 = 2.0;
/// A SYN-ACK so long after its SYN is told with that time, seconds (RFC 6298 §2: the first retransmission is due).
const LATE: f64 = 1.0;

/// One handshake between client and gateway, top to bottom in time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Ladder {
    /// `dtls`: a DTLS handshake; `tls`: a tunnel connection; `reconnect`: the end of one and the begin of the next.
    pub kind: String,
    /// What it shows, a clause.
    pub title: String,
    /// How it went, a clause.
    pub outcome: String,
    /// True when the handshake did what it is for.
    pub completed: bool,
    /// The client's end: address and port.
    pub client: String,
    /// The gateway's end: address and port.
    pub gateway: String,
    /// Index into `captures` of the point it is told from.
    pub capture: u16,
    /// Vantage of that point.
    pub vantage: String,
    /// `tcp.stream 1` or `udp.stream 0` in that capture.
    pub stream: String,
    /// Ids of the detectors whose findings it illustrates; empty when the findings have no handshake of their own.
    pub detectors: Vec<String>,
    /// The rungs.
    pub rungs: Vec<Rung>,
    /// Rungs left out because of the bound.
    pub rungs_dropped: u64,
}

/// One arrow of a ladder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Rung {
    /// `client`, `gateway`, or `hop`: neither of them, an ICMP error's sender.
    pub from: String,
    /// What was sent, or never came: the standards' names of the messages.
    pub what: String,
    /// `arrived`: seen at the receiver's end, or answered; `sent`: seen, and nothing tells whether it arrived;
    /// `lost`: seen, and not at the receiver's end where it would have been seen; `never-came`: not seen where it would have been.
    pub fate: String,
    /// When, RFC 3339; for what never came: since when it was due.
    pub at: String,
    /// Seconds since the session's start.
    pub seconds: f64,
    /// How often, repeats included; 0 for what never came.
    pub count: u64,
    /// Seconds since the session's start of the last of them; absent when there is one.
    pub until_seconds: Option<f64>,
    /// `frame.number` of the first; absent for what never came, and where it was not kept.
    pub frame: Option<u32>,
    /// Index into `captures`.
    pub capture: u16,
    /// How long it was waited for, seconds; only for what never came.
    pub waited_seconds: Option<f64>,
    /// What else is to be said of it: where it was lost, who sent it; may be empty.
    pub note: String,
}

/// The ladders of a session: those its findings tell of, worst first, or else the handshake that worked.
///
/// `findings` gives each finding's detector and evidence frames, root causes first.
pub fn of(case: &Case<'_>, findings: &[(String, BTreeSet<FrameRef>)]) -> Vec<Ladder> {
    let mut candidates = candidates(case);
    let mut chosen: Vec<usize> = Vec::new();
    for (detector, evidence) in findings {
        let fit = |i: usize| {
            let candidate = candidates.get(i)?;
            let shared = candidate.frames.intersection(evidence).count();
            // One that worked and then fell silent tells more than the attempts behind it; of equal ones, the earliest.
            let is_silence = !candidate.silence.is_disjoint(evidence);
            (shared > 0).then_some((is_silence, shared, std::cmp::Reverse(i)))
        };
        let Some((is_silence, _, std::cmp::Reverse(best))) = (0..candidates.len()).filter_map(fit).max() else {
            continue;
        };
        if let Some(candidate) = candidates.get_mut(best) {
            candidate.ladder.detectors.push(detector.clone());
            candidate.is_told_silent |= is_silence;
        }
        if !chosen.contains(&best) {
            chosen.push(best);
        }
    }
    if chosen.is_empty() {
        chosen.extend(typical(&candidates));
    }
    chosen.truncate(MAX_LADDERS);
    chosen.iter().filter_map(|i| candidates.get(*i)).map(Candidate::told).collect()
}

/// A ladder, and the frames by which a finding claims it.
struct Candidate {
    ladder: Ladder,
    frames: BTreeSet<FrameRef>,
    /// The frames of records that stayed without an answer, and of the last answer.
    silence: BTreeSet<FrameRef>,
    is_told_silent: bool,
}

impl Candidate {
    fn new(ladder: Ladder, frames: BTreeSet<FrameRef>) -> Candidate {
        Candidate { ladder, frames, silence: BTreeSet::new(), is_told_silent: false }
    }

    /// A keepalive needs no answer: silence is drawn where a finding says that it is one.
    fn told(&self) -> Ladder {
        let mut ladder = self.ladder.clone();
        if !self.silence.is_empty() && !self.is_told_silent {
            ladder.rungs.retain(|rung| rung.what != WITHOUT_ANSWER && rung.what != ANY_RECORD);
        }
        ladder
    }
}

/// What stands for a session without a handshake to blame: DTLS that came up, else the first tunnel connection.
fn typical(candidates: &[Candidate]) -> Option<usize> {
    let first = |wanted: &dyn Fn(&Ladder) -> bool| candidates.iter().position(|c| wanted(&c.ladder));
    first(&|l| l.kind == "dtls" && l.completed)
        .or_else(|| first(&|l| l.kind == "dtls"))
        .or_else(|| first(&|l| l.kind == "tls"))
}

fn candidates(case: &Case<'_>) -> Vec<Candidate> {
    let session = case.session;
    let mut all: Vec<Candidate> = session.dtls.iter().filter_map(|flow| dtls(case, flow)).collect();
    all.extend(session.reconnects.iter().filter_map(|r| reconnect(case, r)));
    // A connection that began before the capture has no handshake to draw.
    let begins = |c: &&Connection| {
        let view = c.best();
        view.opened.syn.is_some() || view.tls.as_ref().is_some_and(|tls| tls.client_hello.is_some())
    };
    all.extend(session.tunnels().filter(begins).map(|connection| tunnel(case, connection)));
    all
}

// ---- DTLS

/// The attempt that got furthest, told from the point nearest to the client.
fn dtls(case: &Case<'_>, flow: &DtlsFlow) -> Option<Candidate> {
    let judged = judge(case.session, flow, case.points);
    let near = flow.best().point;
    let told = judged.iter().filter(|j| j.view.point == near);
    let told = told.max_by_key(|j| (j.outcome.stage(), std::cmp::Reverse(j.facts.first)))?;
    let mut rungs = Rungs::new(case, told.view);
    let ends = Ends::new(case, flow, told);
    for message in &told.facts.messages {
        rungs.message(&ends, told, message);
    }
    if let Some((at, frame, direction, alert)) = told.facts.alert {
        rungs.push(Step::seen(direction, format!("alert: {alert}"), at, frame));
    }
    if matches!(told.outcome, AttemptOutcome::SealedAlert(_))
        && let Some((at, frame, direction)) = told.view.dtls.as_deref().and_then(|dtls| dtls.sealed_alert)
    {
        rungs.push(Step::seen(direction, "alert (encrypted)".to_owned(), at, frame));
    }
    icmp(case, told.view, told.facts.first, &mut rungs);
    if !answers_lost(&ends, told, &mut rungs) {
        missing(case, told, &mut rungs);
    }
    let port = told.view.opened.endpoints.server.port();
    // Data is no handshake: a finding about sizes has no claim here.
    let mut frames: BTreeSet<FrameRef> = rungs.frames();
    let silence = told.view.dtls.as_deref().map_or_else(BTreeSet::new, silent_frames);
    frames.extend(&silence);
    if let Some(facts) = told.view.dtls.as_deref() {
        data(facts, &told.outcome, &mut rungs);
    }
    frames.extend(judged.iter().flat_map(|j| j.facts.hello_frames.iter().map(|(frame, _)| *frame)));
    let mut ladder = rungs.ladder("dtls", format!("{} handshake to udp/{port}", told.facts.spoken()));
    ladder.outcome = outcome_words(told, flow);
    ladder.completed = told.outcome == AttemptOutcome::Completed;
    Some(Candidate { silence, ..Candidate::new(ladder, frames) })
}

/// The other points that saw the flow, by the end they stood at.
struct Ends<'a> {
    client: Option<(PointId, Option<&'a AttemptFacts>)>,
    gateway: Option<(PointId, Option<&'a AttemptFacts>)>,
}

impl<'a> Ends<'a> {
    /// A point counts when it was capturing all the while and nothing kept UDP from it.
    fn new(case: &Case<'_>, flow: &'a DtlsFlow, told: &Judged<'_>) -> Ends<'a> {
        let (first, last) = (told.facts.first, told.facts.last);
        let port = told.view.opened.endpoints.server.port();
        let find = |vantage: Vantage| {
            let point = case.at(vantage).into_iter().find(|id| *id != told.view.point)?;
            let there = case.point(point)?;
            let covers = there.span.is_some_and(|(from, until)| from <= first && last <= until);
            if !covers || hides(there, Sight::Udp(port), told.facts.hellos).is_some() {
                return None;
            }
            let same = flow.attempts().find(|(view, a)| view.point == point && a.random == told.facts.random);
            Some((point, same.map(|(_, attempt)| attempt)))
        };
        Ends { client: find(Vantage::Client), gateway: find(Vantage::Outside) }
    }

    /// The point where a message going that way arrives.
    fn receiving(&self, direction: Direction) -> Option<(PointId, Option<&'a AttemptFacts>)> {
        match direction {
            Direction::ToServer => self.gateway,
            Direction::ToClient => self.client,
        }
    }
}

/// What the gateway's end saw going back and the client's end did not; false when there is no such thing.
fn answers_lost(ends: &Ends<'_>, told: &Judged<'_>, rungs: &mut Rungs<'_>) -> bool {
    let Some((point, Some(there))) = ends.gateway else { return false };
    if matches!(told.outcome, AttemptOutcome::NotObservable(_) | AttemptOutcome::CutShort) {
        return false;
    }
    let here = |m: &&Message| !told.facts.messages.iter().any(|h| (h.kind, h.direction) == (m.kind, m.direction));
    let lost = there.messages.iter().filter(|m| m.direction == Direction::ToClient).filter(here);
    let mut any = false;
    for message in lost {
        let (at, frame) = message.first;
        let mut step = Step::seen(message.direction, message_name(message.kind), at, frame);
        (step.count, step.last, step.fate) = (u64::from(message.count), message.last, "lost");
        let (from, to) = (rungs.case.place(point), rungs.case.place(told.view.point));
        // A message of several fragments may have come in part.
        let how = if told.facts.is_unanswered() { "none arrived" } else { "never whole" };
        rungs.push(step.with(format!("seen at {from}, {how} at {to}")));
        any = true;
    }
    any
}

/// Data that flowed through the tunnel, and how it fell silent.
fn data(facts: &DtlsFacts, outcome: &AttemptOutcome, rungs: &mut Rungs<'_>) {
    if *outcome != AttemptOutcome::Completed {
        return;
    }
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (first, last) = (direction.of(&facts.first), direction.of(&facts.last));
        if let (Some((at, frame)), Some((until, _))) = (*first, *last) {
            let mut step = Step::seen(direction, "application data".to_owned(), at, frame);
            step.count = u64::from(*direction.of(&facts.records));
            step.last = until;
            rungs.push(step);
        }
    }
    for direction in [Direction::ToServer, Direction::ToClient] {
        let unanswered = direction.of(&facts.unanswered);
        if unanswered.records > 0 && unanswered.seconds() >= UNANSWERED {
            let (at, frame) = unanswered.first;
            let mut step = Step::seen(direction, WITHOUT_ANSWER.to_owned(), at, frame);
            step.count = u64::from(unanswered.records);
            step.last = unanswered.last.0;
            step.fate = "sent";
            rungs.push(step);
            rungs.push(Step::missing(direction.reverse(), ANY_RECORD.to_owned(), at, unanswered.seconds()));
        }
    }
}

/// The frames between which one side stayed without an answer.
fn silent_frames(facts: &DtlsFacts) -> BTreeSet<FrameRef> {
    let mut frames = BTreeSet::new();
    for direction in [Direction::ToServer, Direction::ToClient] {
        let unanswered = direction.of(&facts.unanswered);
        if unanswered.records > 0 && unanswered.seconds() >= UNANSWERED {
            frames.extend([unanswered.first.1, unanswered.last.1]);
            frames.extend(direction.reverse().of(&facts.last).map(|(_, frame)| frame));
        }
    }
    frames
}

/// ICMP errors about the flow's packets.
fn icmp(case: &Case<'_>, view: &FlowFacts, from: Timestamp, rungs: &mut Rungs<'_>) {
    let ends = view.opened.endpoints;
    let number = if view.opened.protocol == Protocol::Tcp { Protocol::Tcp } else { Protocol::Udp }.number();
    for icmp in case.session.icmp.iter().filter(|i| !i.inner && i.facts.point == view.point) {
        let facts = &icmp.facts;
        let about = facts.quoted.protocol == number
            && facts.quoted.ports == Some((ends.client.port(), ends.server.port()))
            && facts.quoted.dst == ends.server.ip();
        if !about || facts.last < from || !is_unreachable(&facts.error) {
            continue;
        }
        let Some(frame) = facts.frames.first().copied() else { continue };
        let mut step = Step::seen(Direction::ToClient, icmp_words(&facts.error), facts.first, frame);
        (step.count, step.last) = (u64::from(facts.count), facts.last);
        step.note = format!("from {}", facts.sender);
        if facts.sender != ends.server.ip() {
            step.from = "hop";
        }
        rungs.push(step);
    }
}

/// What the handshake still needed.
fn missing(case: &Case<'_>, told: &Judged<'_>, rungs: &mut Rungs<'_>) {
    let facts = told.facts;
    let (direction, what) = match &told.outcome {
        AttemptOutcome::NoReply => (Direction::ToClient, "HelloVerifyRequest or ServerHello"),
        AttemptOutcome::StalledAfterHelloVerify if facts.with_cookie == 0 => {
            (Direction::ToServer, "ClientHello with cookie")
        }
        AttemptOutcome::StalledAfterHelloVerify => (Direction::ToClient, "ServerHello"),
        AttemptOutcome::StalledAfterServerHello if facts.lacks_messages() || !facts.server_done && !facts.resumed => {
            (Direction::ToClient, "the rest of the server's flight")
        }
        AttemptOutcome::StalledAfterServerHello => (Direction::ToClient, "ChangeCipherSpec, Finished"),
        AttemptOutcome::ClientDidNotFinish => (Direction::ToServer, "ChangeCipherSpec, Finished"),
        _ => return,
    };
    let cookie = facts.messages.iter().find(|m| m.kind == MessageKind::HelloWithCookie);
    let due = match direction {
        Direction::ToClient => cookie.map_or(facts.first, |m| m.first.0),
        Direction::ToServer => asked(facts).unwrap_or(facts.first),
    };
    let last = facts.last.max(rungs.last_seen().unwrap_or(facts.last));
    // One hello alone: it was waited as long as the tunnel, or else the capture, went on.
    let end = if facts.hellos > 1 { last } else { watched_until(case, told) };
    rungs.push(Step::missing(direction, what.to_owned(), due, end.seconds_since(due)));
}

/// When the gateway had first sent the last of what the client is to answer.
fn asked(facts: &AttemptFacts) -> Option<Timestamp> {
    facts.messages.iter().filter(|m| m.direction == Direction::ToClient).map(|m| m.first.0).max()
}

/// Until when an answer would have counted: the end of the tunnel connection or of the capture.
fn watched_until(case: &Case<'_>, told: &Judged<'_>) -> Timestamp {
    let captured = case.point(told.view.point).and_then(|p| p.span).map_or(told.view.ended.last, |(_, last)| last);
    let tunnel = case.session.tunnel_at(told.facts.first).map_or(captured, |c| c.best().end());
    if tunnel > told.facts.last { captured.min(tunnel) } else { captured }
}

fn outcome_words(told: &Judged<'_>, flow: &DtlsFlow) -> String {
    let again = flow.best().dtls.as_ref().map_or(0, |d| d.attempts.len().saturating_sub(1));
    let mut words = super::build::detail(&told.outcome);
    if told.outcome == AttemptOutcome::Completed
        && let Some((at, _)) = told.facts.completed_at()
    {
        words = format!("up {:.1} ms after its first ClientHello", at.seconds_since(told.facts.first) * 1e3);
    }
    if again > 0 {
        words.push_str(&format!("; {again} more attempts on the same ports"));
    }
    words
}

fn message_name(kind: MessageKind) -> String {
    match kind {
        MessageKind::HelloWithCookie => "ClientHello with cookie".to_owned(),
        MessageKind::ChangeCipherSpec => "ChangeCipherSpec".to_owned(),
        MessageKind::Finished => "Finished (encrypted)".to_owned(),
        MessageKind::Handshake(number) => match number {
            0 => "HelloRequest",
            1 => "ClientHello",
            2 => "ServerHello",
            3 => "HelloVerifyRequest",
            4 => "NewSessionTicket",
            11 => "Certificate",
            12 => "ServerKeyExchange",
            13 => "CertificateRequest",
            14 => "ServerHelloDone",
            15 => "CertificateVerify",
            16 => "ClientKeyExchange",
            20 => "Finished",
            22 => "CertificateStatus",
            other => return format!("handshake type {other}"),
        }
        .to_owned(),
    }
}

// ---- TLS

/// A tunnel connection from its SYN to its end.
fn tunnel(case: &Case<'_>, connection: &Connection) -> Candidate {
    let view = connection.best();
    let mut rungs = Rungs::new(case, view);
    opening(view, &mut rungs);
    records(view, &mut rungs);
    // Its SYN is evidence for MTUs too: only its end makes it a story.
    let frames = view.closed.iter().map(|closed| closed.frame).collect();
    closing(view, &mut rungs);
    let settled = connection.settled();
    let what = settled.map_or("TLS tunnel connection".to_owned(), |s| format!("{} tunnel connection", s.version));
    let port = view.opened.endpoints.server.port();
    let mut ladder = rungs.ladder("tls", format!("{what} to tcp/{port}"));
    ladder.completed = connection.first_data().is_some();
    ladder.outcome = if ladder.completed { "carries data" } else { "never carried data" }.to_owned();
    Candidate::new(ladder, frames)
}

/// The end of one tunnel connection and the begin of the next.
fn reconnect(case: &Case<'_>, seam: &Reconnect) -> Option<Candidate> {
    let connections = &case.session.connections;
    let (old, new) = (connections.get(seam.old)?.best(), connections.get(seam.new)?.best());
    let mut rungs = Rungs::new(case, new);
    if let Some(tls) = old.tls.as_deref() {
        last_words(tls, &mut rungs);
        if seam.unheard.is_some() {
            silence(tls, &mut rungs);
        }
    }
    closing(old, &mut rungs);
    opening(new, &mut rungs);
    records(new, &mut rungs);
    let mut frames = rungs.frames();
    frames.extend([seam.frame, old.opened.first_frame, old.ended.last_frame]);
    frames.extend(seam.inner_mss.iter().flat_map(|((_, before), (_, after))| [*before, *after]));
    let mut ladder = rungs.ladder("reconnect", "the tunnel's end and the new tunnel".to_owned());
    let lost = seam.without_data.map_or(String::new(), |s| format!("; no data for {s:.1} s"));
    ladder.outcome = match seam.gap {
        gap if gap >= 0.0 => format!("a new tunnel {gap:.1} s after the end of the old one{lost}"),
        gap => format!("a new tunnel {:.1} s before the end of the old one{lost}", -gap),
    };
    ladder.completed = connections.get(seam.new)?.first_data().is_some();
    Some(Candidate::new(ladder, frames))
}

/// SYN to ServerHello.
fn opening(view: &FlowFacts, rungs: &mut Rungs<'_>) {
    let mss = |mss: Option<u16>| mss.map_or(String::new(), |mss| format!("MSS {mss}"));
    if let Some(syn) = view.opened.syn {
        rungs.push(Step::seen(Direction::ToServer, "SYN".to_owned(), syn.at, syn.frame).with(mss(syn.mss)));
    }
    if let Some(ack) = view.opened.syn_ack {
        let mut step = Step::seen(Direction::ToClient, "SYN, ACK".to_owned(), ack.at, ack.frame).with(mss(ack.mss));
        let late = view.opened.syn.map_or(0.0, |syn| ack.at.seconds_since(syn.at));
        if late >= LATE {
            step.note =
                format!("{}{}{late:.1} s after the SYN", step.note, if step.note.is_empty() { "" } else { ", " });
        }
        rungs.push(step);
    }
    let Some(tls) = view.tls.as_deref() else { return };
    if let Some((at, frame, _)) = tls.client_hello {
        rungs.push(Step::seen(Direction::ToServer, "ClientHello".to_owned(), at, frame));
    }
    if let Some(hello) = tls.server_hello {
        let step = Step::seen(Direction::ToClient, "ServerHello".to_owned(), hello.at, hello.frame);
        rungs.push(step.with(format!("{}, {}", hello.version, hello.suite)));
    }
    if let Some((at, frame, direction, alert)) = tls.alert {
        rungs.push(Step::seen(direction, format!("alert: {alert}"), at, frame));
    }
}

/// What flowed through it. The first record's frame is known from the first stretch, whichever way it went.
fn records(view: &FlowFacts, rungs: &mut Rungs<'_>) {
    let Some(tls) = view.tls.as_deref() else { return };
    let Some(first) = tls.activity.stretches.first() else { return };
    let until = tls.data.iter().filter_map(|d| d.last).map(|(at, _)| at).max();
    for direction in [Direction::ToServer, Direction::ToClient] {
        let data = direction.of(&tls.data);
        let Some(at) = data.first.filter(|_| data.records > 0) else { continue };
        let mut step = Step::seen(direction, "application data".to_owned(), at, first.frame);
        step.frame = step.frame.filter(|_| at == first.first);
        (step.count, step.last) = (u64::from(data.records), data.last.map(|(at, _)| at).or(until).unwrap_or(at));
        step.note = format!("{} B", data.bytes);
        rungs.push(step);
    }
}

/// The last record each way of a connection that ends.
fn last_words(tls: &TlsFacts, rungs: &mut Rungs<'_>) {
    for direction in [Direction::ToServer, Direction::ToClient] {
        if let Some((at, frame)) = direction.of(&tls.data).last {
            rungs.push(Step::seen(direction, "last application data".to_owned(), at, frame));
        }
    }
}

/// What the client sent into the old tunnel and nobody answered.
fn silence(tls: &TlsFacts, rungs: &mut Rungs<'_>) {
    let unanswered = Direction::ToServer.of(&tls.unanswered);
    if unanswered.records > 1 && unanswered.seconds() >= UNANSWERED {
        let (at, frame) = unanswered.first;
        let mut step = Step::seen(Direction::ToServer, WITHOUT_ANSWER.to_owned(), at, frame);
        (step.count, step.last, step.fate) = (u64::from(unanswered.records), unanswered.last.0, "sent");
        rungs.push(step);
        rungs.push(Step::missing(Direction::ToClient, ANY_RECORD.to_owned(), at, unanswered.seconds()));
    }
}

fn closing(view: &FlowFacts, rungs: &mut Rungs<'_>) {
    let Some(closed) = view.closed else { return };
    let how = if closed.reset { "RST" } else { "FIN" };
    rungs.push(Step::seen(closed.direction, how.to_owned(), closed.at, closed.frame));
}

// ---- rungs

/// A rung before it gets its numbers.
struct Step {
    from: &'static str,
    what: String,
    fate: &'static str,
    at: Timestamp,
    last: Timestamp,
    count: u64,
    frame: Option<FrameRef>,
    waited: Option<f64>,
    note: String,
}

impl Step {
    fn seen(direction: Direction, what: String, at: Timestamp, frame: FrameRef) -> Step {
        let from = sender(direction);
        let (last, count, frame) = (at, 1, Some(frame));
        Step { from, what, fate: "arrived", at, last, count, frame, waited: None, note: String::new() }
    }

    fn missing(direction: Direction, what: String, due: Timestamp, waited: f64) -> Step {
        let (from, waited) = (sender(direction), Some(waited));
        Step { from, what, fate: "never-came", at: due, last: due, count: 0, frame: None, waited, note: String::new() }
    }

    fn with(mut self, note: String) -> Step {
        self.note = note;
        self
    }
}

fn sender(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "client",
        Direction::ToClient => "gateway",
    }
}

struct Rungs<'a> {
    case: &'a Case<'a>,
    view: &'a FlowFacts,
    steps: Vec<Step>,
}

impl<'a> Rungs<'a> {
    fn new(case: &'a Case<'a>, view: &'a FlowFacts) -> Rungs<'a> {
        Rungs { case, view, steps: Vec::new() }
    }

    fn push(&mut self, step: Step) {
        // One datagram may carry several messages: they share an arrow.
        if let Some(before) = self.steps.last_mut()
            && step.frame.is_some()
            && (before.frame, before.from, before.fate, before.count) == (step.frame, step.from, step.fate, step.count)
            && before.note == step.note
        {
            before.what = format!("{}, {}", before.what, step.what);
            before.last = before.last.max(step.last);
            return;
        }
        self.steps.push(step);
    }

    /// A message of a DTLS handshake, and how far it came.
    fn message(&mut self, ends: &Ends<'_>, told: &Judged<'_>, message: &Message) {
        let (at, frame) = message.first;
        let mut step = Step::seen(message.direction, message_name(message.kind), at, frame);
        (step.count, step.last) = (u64::from(message.count), message.last);
        let later = |m: &Message| m.direction != message.direction && m.first.0 >= at;
        let data = self.view.dtls.as_deref().and_then(|dtls| *message.direction.reverse().of(&dtls.last));
        let answered = || told.facts.messages.iter().any(later) || data.is_some_and(|(last, _)| last > at);
        match ends.receiving(message.direction) {
            Some((point, there)) => {
                let place = self.case.place(point);
                let same = |m: &&Message| (m.kind, m.direction) == (message.kind, message.direction);
                match there.and_then(|a| a.messages.iter().find(same)).map_or(0, |m| m.count) {
                    0 => (step.fate, step.note) = ("lost", format!("none arrived at {place}")),
                    n if n < message.count => step.note = format!("{n} of {} arrived at {place}", message.count),
                    _ => {}
                }
            }
            // What the client's own end shows coming from the gateway has arrived there.
            None if message.direction == self.toward_point() || answered() => {}
            None => step.fate = "sent",
        }
        self.push(step);
    }

    /// The way packets go that reach the end this point stands at.
    fn toward_point(&self) -> Direction {
        match self.case.point(self.view.point).and_then(|p| p.vantage) {
            Some(Vantage::Outside) => Direction::ToServer,
            _ => Direction::ToClient,
        }
    }

    fn last_seen(&self) -> Option<Timestamp> {
        self.steps.iter().map(|s| s.last).max()
    }

    fn frames(&self) -> BTreeSet<FrameRef> {
        self.steps.iter().filter_map(|s| s.frame).collect()
    }

    fn ladder(mut self, kind: &str, title: String) -> Ladder {
        // What never came stands below what was seen while it was due.
        self.steps.sort_by_key(|s| (s.at.plus_seconds(s.waited.unwrap_or(0.0)), s.waited.is_some()));
        let (view, start) = (self.view, self.case.session.start);
        let ends = view.opened.endpoints;
        let capture = view.opened.first_frame.capture;
        let rungs_dropped = self.steps.len().saturating_sub(MAX_RUNGS) as u64;
        self.steps.truncate(MAX_RUNGS);
        Ladder {
            kind: kind.to_owned(),
            title,
            client: ends.client.to_string(),
            gateway: ends.server.to_string(),
            capture,
            vantage: self.case.point(view.point).map_or("unknown", |p| p.vantage_word()).to_owned(),
            stream: super::timeline::stream(view),
            rungs: self.steps.into_iter().map(|s| s.rung(start, capture)).collect(),
            rungs_dropped,
            ..Ladder::default()
        }
    }
}

impl Step {
    fn rung(self, start: Timestamp, capture: u16) -> Rung {
        Rung {
            from: self.from.to_owned(),
            what: self.what,
            fate: self.fate.to_owned(),
            at: rfc3339(self.at),
            seconds: self.at.seconds_since(start),
            count: self.count,
            until_seconds: (self.count > 1).then(|| self.last.seconds_since(start)),
            frame: self.frame.map(|f| f.number),
            capture: self.frame.map_or(capture, |f| f.capture),
            waited_seconds: self.waited,
            note: self.note,
        }
    }
}
