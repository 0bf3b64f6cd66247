//! A DTLS handshake attempt as a ladder, told from the point nearest to the client.

use super::steps::{Rungs, Step};
use super::{ANY_RECORD, Candidate, UNANSWERED, WITHOUT_ANSWER};
use crate::event::{Direction, FrameRef, PointId, Protocol, Timestamp, Vantage};
use crate::finding::{self, Case};
use crate::session::DtlsFlow;
use crate::session::attempt::{AttemptOutcome, Judged, icmp_words, is_refusal, judge};
use crate::session::coverage::{Sight, hides};
use crate::session::facts::{AttemptFacts, DtlsFacts, FlowFacts, Message, MessageKind};
use std::collections::BTreeSet;

/// The attempt that got furthest, told from the point nearest to the client.
pub(super) fn handshake(case: &Case<'_>, flow: &DtlsFlow) -> Option<Candidate> {
    let judged = judge(case.session, flow, case.points).collect::<Vec<_>>();
    let near = flow.best().point;
    let told = judged.iter().filter(|j| j.view.point == near);
    let told = told.max_by_key(|j| (j.outcome.stage(), std::cmp::Reverse(j.facts.first)))?;
    let mut rungs = Rungs::new(case, told.view);
    let ends = Ends::new(case, flow, told);
    for message in told.facts.messages() {
        rungs.message(&ends, told, &message);
    }
    if let Some((at, frame, direction, alert)) = told.facts.alert() {
        rungs.push(Step::seen(direction, format!("alert: {alert}"), at, frame));
    }
    let sealed_alert = told.view.dtls.as_deref().and_then(|dtls| dtls.seldom().sealed_alert);
    let alert = |(at, frame, by)| Step::seen(by, "alert (encrypted)".to_owned(), at, frame);
    let rejects = matches!(told.outcome, AttemptOutcome::SealedAlert(_));
    sealed_alert.filter(|_| rejects).map(alert).into_iter().for_each(|step| rungs.push(step));
    icmp(case, told.view, told.facts.first, &mut rungs);
    if !answers_lost(&ends, told, &mut rungs) {
        missing(case, told, &mut rungs);
    }
    let port = told.view.opened.endpoints().server.port();
    // Data is no handshake: a finding about sizes has no claim here.
    let mut frames: BTreeSet<FrameRef> = rungs.frames();
    let silence = told.view.dtls.as_deref().map_or_else(BTreeSet::new, silent_frames);
    frames.extend(&silence);
    if let Some(facts) = told.view.dtls.as_deref() {
        data(facts, &told.outcome, &mut rungs);
    }
    if let Some(closing) = sealed_alert.filter(|_| !rejects) {
        rungs.push(alert(closing));
        frames.insert(closing.1);
    }
    frames.extend(judged.iter().flat_map(|j| j.facts.hello_frames().map(|(frame, _)| frame)));
    let version = told.facts.spoken().map_or("DTLS".to_owned(), |version| version.to_string());
    let mut ladder = rungs.ladder("dtls", format!("{version} handshake to udp/{port}"));
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
        let (first, last) = (told.facts.first, told.facts.last());
        let port = told.view.opened.endpoints().server.port();
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
    use AttemptOutcome::{Abandoned, CutShort, NotObservable};
    if matches!(told.outcome, NotObservable(_) | CutShort | Abandoned) {
        return false;
    }
    let here = |m: &Message| !told.facts.messages().any(|h| (h.kind, h.direction) == (m.kind, m.direction));
    let lost = there.messages().filter(|m| m.direction == Direction::ToClient).filter(here);
    let mut any = false;
    for message in lost {
        let (at, frame) = message.first;
        let mut step = Step::seen(message.direction, message_name(message.kind), at, frame);
        (step.count, step.last, step.fate) = (u64::from(message.count), there.last_of(&message), "lost");
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
    let last = facts.last();
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (first, last) = (direction.of(&facts.first), direction.of(&last));
        if let (Some((at, frame)), Some((until, _))) = (*first, *last) {
            let mut step = Step::seen(direction, "application data".to_owned(), at, frame);
            step.count = u64::from(*direction.of(&facts.records));
            step.last = until;
            rungs.push(step);
        }
    }
    for direction in [Direction::ToServer, Direction::ToClient] {
        let unanswered = facts.unanswered(direction);
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
        let unanswered = facts.unanswered(direction);
        if unanswered.records > 0 && unanswered.seconds() >= UNANSWERED {
            frames.extend([unanswered.first.1, unanswered.last.1]);
            frames.extend(direction.reverse().of(&facts.last()).map(|(_, frame)| frame));
        }
    }
    frames
}

/// ICMP errors about the flow's packets.
fn icmp(case: &Case<'_>, view: &FlowFacts, from: Timestamp, rungs: &mut Rungs<'_>) {
    let ends = view.opened.endpoints();
    let number = if view.opened.protocol == Protocol::Tcp { Protocol::Tcp } else { Protocol::Udp }.number();
    for icmp in case.session.icmp.iter().filter(|i| !i.inner && i.facts.point == view.point) {
        let facts = &icmp.facts;
        let about = facts.quoted.protocol == number
            && facts.quoted.ports == Some((ends.client.port(), ends.server.port()))
            && facts.quoted.dst == ends.server.ip();
        if !about || facts.last < from || !is_refusal(&facts.error) {
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
    let lacks: Vec<String> = facts.flight().lacks.iter().map(MessageKind::to_string).collect();
    let lacks = lacks.join(", ");
    let (direction, what) = match &told.outcome {
        AttemptOutcome::NoReply => (Direction::ToClient, "HelloVerifyRequest or ServerHello"),
        AttemptOutcome::StalledAfterHelloVerify if facts.with_cookie == 0 => {
            (Direction::ToServer, "ClientHello with cookie")
        }
        AttemptOutcome::StalledAfterHelloVerify => (Direction::ToClient, "ServerHello"),
        AttemptOutcome::StalledAfterServerHello
            if facts.lacks_messages() || !facts.server_done && !facts.resumed && !facts.flight().is_torn() =>
        {
            (Direction::ToClient, "the rest of the server's flight")
        }
        AttemptOutcome::StalledAfterServerHello => (Direction::ToClient, &*lacks),
        AttemptOutcome::ClientDidNotFinish => (Direction::ToServer, "ChangeCipherSpec, Finished"),
        _ => return,
    };
    if what.is_empty() {
        return;
    }
    let cookie = facts.messages().find(|m| m.kind == MessageKind::HelloWithCookie);
    let due = match direction {
        Direction::ToClient => cookie.map_or(facts.first, |m| m.first.0),
        Direction::ToServer => asked(facts).unwrap_or(facts.first),
    };
    let last = facts.last().max(rungs.last_seen().unwrap_or(facts.last()));
    // One hello alone: it was waited as long as the tunnel, or else the capture, went on.
    let end = if facts.hellos > 1 { last } else { watched_until(case, told) };
    rungs.push(Step::missing(direction, what.to_owned(), due, end.seconds_since(due)));
}

/// When the gateway had first sent the last of what the client is to answer.
fn asked(facts: &AttemptFacts) -> Option<Timestamp> {
    facts.messages().filter(|m| m.direction == Direction::ToClient).map(|m| m.first.0).max()
}

/// Until when an answer would have counted: the end of the tunnel connection or of the capture.
fn watched_until(case: &Case<'_>, told: &Judged<'_>) -> Timestamp {
    let captured = case.point(told.view.point).and_then(|p| p.span).map_or(told.view.ended.last, |(_, last)| last);
    let tunnel = case.session.tunnel_at(told.facts.first).map_or(captured, |c| c.best().end());
    if tunnel > told.facts.last() { captured.min(tunnel) } else { captured }
}

fn outcome_words(told: &Judged<'_>, flow: &DtlsFlow) -> String {
    let again = flow.best().dtls.as_ref().map_or(0, |d| d.attempts.len().saturating_sub(1));
    let mut words = super::super::build::detail(told);
    if told.outcome == AttemptOutcome::Completed
        && let Some((at, _)) = told.facts.completed_at()
    {
        words = format!("up {:.1} ms after its first ClientHello", at.seconds_since(told.facts.first) * 1e3);
    }
    if again > 0 {
        words.push_str(&format!("; {} on the same ports", finding::count(again as u64, "more attempt")));
    }
    words
}

fn message_name(kind: MessageKind) -> String {
    let sealed = if kind == MessageKind::Finished { " (encrypted)" } else { "" };
    format!("{kind}{sealed}")
}

impl Rungs<'_> {
    /// A message of a DTLS handshake, and how far it came.
    fn message(&mut self, ends: &Ends<'_>, told: &Judged<'_>, message: &Message) {
        let (at, frame) = message.first;
        let mut step = Step::seen(message.direction, message_name(message.kind), at, frame);
        (step.count, step.last) = (u64::from(message.count), told.facts.last_of(message));
        let later = |m: Message| m.direction != message.direction && m.first.0 >= at;
        let data = self.view.dtls.as_deref().and_then(|dtls| *message.direction.reverse().of(&dtls.last()));
        let answered = || told.facts.messages().any(later) || data.is_some_and(|(last, _)| last > at);
        match ends.receiving(message.direction) {
            Some((point, there)) => {
                let place = self.case.place(point);
                let same = |m: &Message| (m.kind, m.direction) == (message.kind, message.direction);
                match there.and_then(|a| a.messages().find(same)).map_or(0, |m| m.count) {
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
}
