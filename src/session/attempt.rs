//! How a DTLS handshake attempt went, as one point saw it and as all of them together tell.

use super::coverage::{Sight, hides, keeps_out};
use super::facts::{AttemptFacts, FlowFacts, IcmpFacts};
use super::{Confidence, DtlsFlow, Icmp, Point, Session};
use crate::event::{Alert, Class, Direction, FrameRef, IcmpError, Protocol, Timestamp, Version};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A capture that ends this soon after the first ClientHello cannot show a failure, seconds (the longest give-up seen is 12 s).
pub const PATIENCE: f64 = 12.0;

/// So many ClientHellos without an answer take longer than that whatever the clock of the capture says (RFC 6347 §4.2.4.1:
/// 0, 1, 3, 7, 15 s).
pub const PERSISTENT: u32 = 5;

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// Both sides sent epoch-1 records.
    Completed,
    /// Nothing came back.
    NoReply,
    /// An ICMP error came back: the error, its sender, its frame.
    Refused(IcmpError, IpAddr, FrameRef),
    /// HelloVerifyRequest came, then nothing more.
    StalledAfterHelloVerify,
    /// ServerHello came, the server's flight or Finished did not, or not whole; or came without it.
    StalledAfterServerHello,
    /// The server's flight was complete, the client did not answer it.
    ClientDidNotFinish,
    /// Both sides sent Finished, but the server, the first of them, repeats its own: the client's does not reach it.
    FinishedLost,
    /// An alert ended it: who sent it.
    Alert(Alert, Direction),
    /// An alert nobody can read ended it just after Finished: who sent it.
    SealedAlert(Direction),
    /// The client closed the tunnel it belongs to before anything could have come of it.
    Abandoned,
    /// Whether an answer came would not have shown here: the reason.
    NotObservable(String),
    /// The capture ends too soon to tell.
    CutShort,
}

impl AttemptOutcome {
    /// The word in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            AttemptOutcome::Completed => "completed",
            AttemptOutcome::NoReply => "no-reply",
            AttemptOutcome::Refused(..) => "refused",
            AttemptOutcome::StalledAfterHelloVerify => "stalled-after-hello-verify",
            AttemptOutcome::StalledAfterServerHello => "stalled-after-server-hello",
            AttemptOutcome::ClientDidNotFinish => "client-did-not-finish",
            AttemptOutcome::FinishedLost => "finished-lost",
            AttemptOutcome::Alert(..) | AttemptOutcome::SealedAlert(_) => "alert",
            AttemptOutcome::Abandoned => "abandoned",
            AttemptOutcome::NotObservable(_) => "not-observable",
            AttemptOutcome::CutShort => "cut-short",
        }
    }

    /// How far the handshake got: more is further.
    pub fn stage(&self) -> u8 {
        match self {
            AttemptOutcome::CutShort | AttemptOutcome::Abandoned | AttemptOutcome::NotObservable(_) => 0,
            AttemptOutcome::NoReply => 1,
            AttemptOutcome::Refused(..) => 2,
            AttemptOutcome::StalledAfterHelloVerify => 3,
            AttemptOutcome::StalledAfterServerHello => 4,
            AttemptOutcome::ClientDidNotFinish => 5,
            AttemptOutcome::FinishedLost => 6,
            AttemptOutcome::Alert(..) | AttemptOutcome::SealedAlert(_) => 7,
            AttemptOutcome::Completed => 8,
        }
    }

    /// Does a packet say why it failed?
    pub fn is_told(&self) -> bool {
        use AttemptOutcome::{Alert, Refused, SealedAlert};
        matches!(self, Refused(..) | Alert(..) | SealedAlert(_))
    }

    /// Did it fail?
    pub fn failed(&self) -> bool {
        use AttemptOutcome::{Abandoned, Completed, CutShort, NotObservable};
        !matches!(self, Abandoned | Completed | CutShort | NotObservable(_))
    }
}

/// One attempt at one point, judged.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The flow as that point saw it.
    pub view: &'a FlowFacts,
    /// The attempt.
    pub facts: &'a AttemptFacts,
    /// How it went as far as that point can tell.
    pub outcome: AttemptOutcome,
}

/// What marks a ClientHello as AnyConnect's, and how strongly (protocol: fingerprints without decryption).
pub fn fingerprint(attempt: &AttemptFacts) -> Option<(&'static str, Confidence)> {
    if attempt.version == Version::DTLS_0_9 {
        return Some(("DTLS ClientHello of version 0x0100, which only AnyConnect still speaks", Confidence::High));
    }
    if attempt.session_id.len() != 32 || attempt.is_own {
        return None;
    }
    let (first, count) = attempt.suites;
    if matches!(first.class(), Some(Class::CCM_8 | Class::Tls13 { tag: 8 })) {
        // No gateway agrees on the suites that CoAP prescribes (RFC 7252 §9.1.3): a thing resumes a session of its own.
        return None;
    }
    // It offers the one suite agreed inside the tunnel (and perhaps a signalling value), or PSK suites only.
    let is_psk = || first.iana_name().is_some_and(|name| name.contains("PSK"));
    match (count <= 2 || is_psk(), attempt.certificate) {
        (true, false) => Some(("DTLS ClientHello that resumes a session no DTLS handshake set up", Confidence::High)),
        (true, true) => Some(("DTLS ClientHello with one suite and the id of a session", Confidence::Medium)),
        // Another program that resumes a session of its own would look like this.
        (false, false) => Some(("DTLS ClientHello that resumes a session", Confidence::Medium)),
        // And one whose session the server forgot like that.
        (false, true) => None,
    }
}

/// So many HelloVerifyRequests may be a loop, in which each gives another cookie.
const LOOP: u32 = 3;

/// All attempts of a DTLS flow, judged point by point, in order of points then time.
pub fn judge<'a>(session: &'a Session, flow: &'a DtlsFlow, points: &'a [Point]) -> impl Iterator<Item = Judged<'a>> {
    flow.attempts().map(|(view, facts)| {
        let point = points.get(view.point.0 as usize);
        let end = point.and_then(|p| p.span).map_or(view.ended.last, |(_, last)| last);
        let outcome = judge_one(view, facts, &session.icmp, end);
        let port = view.opened.endpoints().server.port();
        // What came was read, unless nothing is known of it; that nothing came shows however short frames are cut.
        let is_unread = match outcome {
            AttemptOutcome::NoReply => *Direction::ToClient.of(&view.ended.packets) > 0,
            // Whether the cookies that come back are those that were given shows only in hellos that can be read.
            AttemptOutcome::StalledAfterHelloVerify => facts.hello_verifies().min(facts.with_cookie) >= LOOP,
            _ => false,
        };
        let hides = if is_unread { hides } else { keeps_out };
        let unseen = || hides(point?, Sight::Udp(port), facts.hellos);
        let outcome = match outcome {
            failed if failed.failed() && !failed.is_told() => match is_abandoned(session, flow, facts) {
                true => AttemptOutcome::Abandoned,
                false => unseen().map_or(failed, AttemptOutcome::NotObservable),
            },
            other => other,
        };
        Judged { view, facts, outcome }
    })
}

/// Does some point show that the client closed its tunnel, and DTLS with it, before it would have said hello again?
fn is_abandoned(session: &Session, flow: &DtlsFlow, attempt: &AttemptFacts) -> bool {
    let mut seen = flow.attempts().filter(|(_, facts)| facts.random == attempt.random);
    seen.any(|(view, facts)| is_abandoned_at(session, view, facts))
}

fn is_abandoned_at(session: &Session, view: &FlowFacts, attempt: &AttemptFacts) -> bool {
    /// A client says hello again after so long (RFC 6347 §4.2.4.1): until then silence tells nothing, seconds.
    const FIRST_WAIT: f64 = 1.0;
    let here = session.tunnels().filter_map(|c| c.views.iter().find(|tls| tls.point == view.point));
    let tunnel = here.filter(|tls| tls.opened.first <= attempt.first).last();
    let closed = tunnel.and_then(|tls| tls.closed()).filter(|closed| closed.by == Direction::ToServer);
    closed.is_some_and(|closed| (0.0..FIRST_WAIT).contains(&closed.at.seconds_since(attempt.first)))
}

/// What one tunnel connection tried: a client names a new DTLS session with each.
#[derive(Debug)]
pub struct Episode<'a> {
    /// When that connection opened; absent when it did before the capture, or DTLS was seen before any.
    pub tunnel: Option<Timestamp>,
    /// The attempts, judged.
    pub judged: Vec<Judged<'a>>,
    /// DTLS came up.
    pub worked: bool,
}

/// What was tried on each tunnel connection, in order of time.
pub fn episodes<'a>(session: &'a Session, points: &'a [Point]) -> Vec<Episode<'a>> {
    let mut all: BTreeMap<Option<Timestamp>, Episode<'a>> = BTreeMap::new();
    for flow in &session.dtls {
        let tunnel = session.tunnel_at(flow.start()).filter(|c| c.begins_here()).map(|c| c.start());
        let episode = all.entry(tunnel).or_insert(Episode { tunnel, judged: Vec::new(), worked: false });
        episode.worked |= flow.came_up();
        episode.judged.extend(judge(session, flow, points));
    }
    all.into_values().collect()
}

fn judge_one(view: &FlowFacts, attempt: &AttemptFacts, icmp: &[Icmp], capture_end: Timestamp) -> AttemptOutcome {
    let [up, down] = [Direction::ToServer, Direction::ToClient].map(|way| attempt.is_protected(way));
    if up && down {
        let dtls = view.dtls.as_ref();
        let done = match dtls.and_then(|dtls| dtls.waits()) {
            None => AttemptOutcome::Completed,
            Some(Direction::ToClient) => AttemptOutcome::FinishedLost,
            Some(Direction::ToServer) => AttemptOutcome::StalledAfterServerHello,
        };
        return dtls.and_then(|dtls| dtls.rejected()).map_or(done, AttemptOutcome::SealedAlert);
    }
    if let Some((_, _, direction, alert)) = attempt.alert().filter(|(.., alert)| !is_goodbye(*alert)) {
        return AttemptOutcome::Alert(alert, direction);
    }
    if let Some(refusal) = refusal(view, attempt, icmp) {
        return refusal;
    }
    if up && attempt.server_hellos() == 0 {
        let why = "the client went on to protected records, as it does only when it is answered: the answers do not show here";
        return AttemptOutcome::NotObservable(why.to_owned());
    }
    if capture_end.seconds_since(attempt.first) < PATIENCE && attempt.hellos < PERSISTENT {
        return AttemptOutcome::CutShort;
    }
    if attempt.is_cut() {
        let why = "the snap length cut off records of the handshake, behind others in their datagrams";
        return AttemptOutcome::NotObservable(why.to_owned());
    }
    if attempt.server_hellos() == 0 {
        return match attempt.was_heard() {
            false => AttemptOutcome::NoReply,
            // The ServerHello alone was lost.
            true if attempt.server_done || attempt.flight().is_torn() => AttemptOutcome::StalledAfterServerHello,
            true => AttemptOutcome::StalledAfterHelloVerify,
        };
    }
    let [client_ccs, _] = attempt.ccs;
    if attempt.lacks_messages() {
        return AttemptOutcome::StalledAfterServerHello;
    }
    // What DTLS 1.3 seals behind its ServerHello has no names.
    let is_sealed = down && attempt.server_version == Some(Version::DTLS_1_3);
    let flight_complete = is_sealed || attempt.flight().lacks.is_empty();
    if client_ccs || up || !flight_complete {
        return AttemptOutcome::StalledAfterServerHello;
    }
    AttemptOutcome::ClientDidNotFinish
}

/// `close_notify` and `user_canceled` end what has failed already (RFC 5246 §7.2).
fn is_goodbye(alert: Alert) -> bool {
    matches!(alert.description, 0 | 90)
}

/// An ICMP error that refuses this flow's packets to the server during the attempt.
fn refusal(view: &FlowFacts, attempt: &AttemptFacts, icmp: &[Icmp]) -> Option<AttemptOutcome> {
    let facts = refusals(view, icmp).find(|facts| facts.first >= attempt.first)?;
    Some(AttemptOutcome::Refused(facts.error, facts.sender, facts.frames.first().copied().unwrap_or_default()))
}

/// ICMP errors at the same point that refuse the client's packets of a UDP flow, which they quote.
pub fn refusals<'a>(view: &FlowFacts, icmp: &'a [Icmp]) -> impl Iterator<Item = &'a IcmpFacts> {
    let (ends, point) = (view.opened.endpoints(), view.point);
    icmp.iter()
        .filter(|i| !i.inner && is_refusal(&i.facts.error))
        .map(|i| &i.facts)
        .filter(|facts| facts.quoted.protocol == Protocol::Udp.number())
        .filter(move |facts| facts.quoted.ports == Some((ends.client.port(), ends.server.port())))
        .filter(move |facts| facts.quoted.dst == ends.server.ip() && facts.point == point)
}

/// Destination Unreachable other than Fragmentation Needed, or a packet that ran out of hops on its way.
pub fn is_refusal(error: &IcmpError) -> bool {
    let unreachable = if error.v6 { 1 } else { 3 };
    !error.is_frag_needed() && error.icmp_type == unreachable || is_out_of_hops(error)
}

/// Time Exceeded in transit: the routes go round (RFC 792, RFC 4443 §3.3).
pub fn is_out_of_hops(error: &IcmpError) -> bool {
    (error.icmp_type, error.code) == if error.v6 { (3, 0) } else { (11, 0) }
}

/// An ICMP type and code in the RFCs' words.
pub fn icmp_words(error: &IcmpError) -> String {
    let name = match (error.v6, error.icmp_type, error.code) {
        (false, 3, 0) => "network unreachable",
        (false, 3, 1) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 4) => "fragmentation needed",
        (false, 3, 9) => "network administratively prohibited",
        (false, 3, 10) => "host administratively prohibited",
        (false, 3, 13) | (true, 1, 1) => "communication administratively prohibited",
        (true, 1, 0) => "no route to destination",
        (true, 1, 3) => "address unreachable",
        (true, 1, 5) => "source address failed policy",
        (true, 1, 6) => "reject route to destination",
        (true, 2, _) => "packet too big",
        (false, 11, _) | (true, 3, _) => "time exceeded",
        _ => "error",
    };
    let family = if error.v6 { "ICMPv6" } else { "ICMP" };
    format!("{family} {}/{} ({name})", error.icmp_type, error.code)
}
