//! DTLS worked, then died, and the data went back to TLS.

use super::remedy;
use crate::event::{Direction, FrameRef, Timestamp, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Filter, Finding, Grade, Outcome, RuledOut, Severity, UNHEARD, count, elapsed,
};
use crate::session::attempt::{icmp_words, refusals};
use crate::session::facts::{FlowFacts, IcmpFacts, Stretch, Unanswered};
use crate::session::reconnect::{Cause, Reconnect};
use crate::session::silence::Outage;
use crate::session::{Connection, DtlsFlow, Point, Session};

/// Silence of DTLS before its data is back on TLS, seconds.
const SILENT: f64 = 2.0;
/// The client's data must go unanswered so long to show that DTLS is dead, seconds: by then a DPD would have been answered.
const DEAD: f64 = 40.0;
/// An answer may take so long, seconds.
const PATIENCE: f64 = 1.0;
/// TLS must be heard so long after DTLS's last answer to have lived on, seconds.
const LIVED: f64 = 5.0;
/// Fewer records without an answer are nothing to speak of.
const FEW: u32 = 3;
/// A mapping is forgotten after no less silence than this, seconds (RFC 4787 §4.3 asks for 120; many have 20 to 30).
const IDLE: f64 = 18.0;

const UNANSWERED: Grade =
    Grade::high("DTLS records or new ClientHellos of the client go unanswered, or it takes up no answer");
const AGAIN: Grade =
    Grade::high("the client set DTLS up anew on the same tunnel, which it does only when it counts as dead");
const MOVED: Grade = Grade::medium("only the move of data back to TLS shows it");

pub static DETECTOR: Detector = Detector {
    id: "dtls-lost-midway",
    title: "DTLS worked, died, and the tunnel fell back to TLS",
    severity: Severity::High,
    judged_from: &[Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::OfTcp,
    leads_to: &["oversized-df", "missing-frag-needed", "frag-needed-ignored", "reconnect-for-mtu", "tcp-over-tcp"],
    question: "whether DTLS dies while TLS lives on",
    explanation: "\
A DTLS tunnel that carried data both ways stops, while the TLS tunnel beside it lives on: DPD notices, and data records \
reappear on TLS. Or it comes up, and no data ever comes back over it. The adapter keeps the larger DTLS MTU until the client \
reconnects, so what note 116881 describes can begin in the middle of a session.

Found when, after the gateway's last DTLS record and on the same tunnel connection, the client's DTLS records go unanswered, or it \
says hello anew, or data is back on TLS both ways (not only keepalives). A path that died altogether takes TLS with it and is not \
this, nor is a tunnel that was replaced or left, nor a DTLS flow that went on from another address.

The likely cause:

- `udp-idle-timeout`: DTLS had been silent for a while when its records began to go unanswered: a NAT or firewall had forgotten it. \
Typical when a new port works at once. At the gateway's end alone: nothing came for a while, and then DTLS from a new port
- `nat-rebinding`: its records went on from another port or address, as behind a NAT that forgot it, and the gateway does not answer there
- `refused-midway`: from then on an ICMP unreachable answers its packets
- `rekey-failed`: a rekey had just begun that the other side never took part in
- `lost-to-gateway`, `lost-to-client`: captures at both ends show one side's records leave and not arrive, the other's not; or the \
gateway's answers to new ClientHellos leave it, and the client says hello again
- `gateway-silent`: the client's records reach the gateway's outside interface, and it does not answer
- `blocked-midway`: records and new ClientHellos go unanswered from one moment on
- `mapping-lost`: no silence before, and a new port works: the state on the way, or at the gateway, was lost
- `ignored-by-client`: the gateway's answers reach the client's network card, and the client takes up none: its own firewall, or \
security software
- `closed-by-gateway`, `closed-by-client`: its last record is that side's alert
- `dropped-by-client`: the client's own capture shows that nothing it sent over DTLS went unanswered; it went on over TLS, as after its \
link was down or its machine slept: low
- `lost-with-path`: its TLS segments went unanswered at the same time: the whole path was lost, and DTLS did not come back with it: low
- `data-blocked`: the handshake passes and data does not: nothing comes back over a DTLS that came up, or DTLS is set up again and \
again and none lasts five seconds",
    confidence: &[UNANSWERED, AGAIN, MOVED],
    remedy: &[
        "look for a firewall or NAT that forgets idle UDP: lower the DTLS keepalive (`anyconnect ssl keepalive 20`) below its timeout",
        "see whether UDP to the gateway was blocked or shaped at that moment",
    ],
    references: &[
        "Cisco TAC 116881",
        "Cisco TAC 116312 (DPD and keepalive)",
        "RFC 4787 §4.3 (UDP mapping timeouts)",
    ],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let worked: Vec<&DtlsFlow> = session.dtls.iter().filter(|d| d.came_up()).collect();
    let Some(last) = worked.last() else {
        if session.dtls.iter().any(DtlsFlow::is_half_seen) {
            return Outcome::cannot_tell("the client sends data over DTLS, but the answers do not show here", None);
        }
        return Outcome::clear("DTLS never came up in this capture, so it was not lost midway");
    };
    if let Some(why) = case.untimed() {
        return Outcome::cannot_tell(why, None);
    }
    // Without any answer it is dead only where answers would show.
    let is_seen = case.one_way(true, false).is_none();
    let deaths = worked.iter().filter(|d| d.continues.is_none()).filter_map(|flow| Death::of(case, flow));
    let deaths: Vec<Death<'_>> = deaths.filter(|death| death.is_heard || is_seen).collect();
    if let Some(death) = deaths.first() {
        return Outcome::Found(Box::new(finding(case, death, &deaths, &worked)));
    }
    let heard = last.views.iter().filter(|v| hears_both(v));
    let said = heard.filter_map(|v| Some(v.dtls.as_ref()?.unanswered(Direction::ToServer)));
    if let Some(said) = said.filter(|said| said.data() > 1 && said.seconds() >= LIVED).max_by_key(|said| said.records) {
        let why = format!(
            "the client's last {} went unanswered over {:.1} s: too short, or too little was heard beside them, to tell dead DTLS from a \
             dead path",
            count(u64::from(said.records), "DTLS record"),
            said.seconds()
        );
        // A few may only wait.
        let is_striking = said.records >= FEW && said.seconds() >= 2.0 * LIVED;
        return if is_striking { Outcome::unsettled(why, None, UNHEARD) } else { Outcome::cannot_tell(why, None) };
    }
    match last_answer(case, last) {
        Some((_, frame)) => case.clear(|| {
            format!(
                "DTLS did not die before the rest of the tunnel; last record from the gateway in frame {}",
                frame.number
            )
        }),
        None if last.continues.is_some() => Outcome::cannot_tell(
            "DTLS went on from another port, and whether the gateway answers there is not seen yet",
            None,
        ),
        None => Outcome::cannot_tell("DTLS carried no data toward the client", None),
    }
}

/// Did DTLS carry data both ways after all that, and longer than any that died, where several did?
fn is_mended(case: &Case<'_>, worked: &[&DtlsFlow], deaths: &[Death<'_>]) -> bool {
    let lasted = |death: &Death<'_>| death.answered.0.seconds_since(death.flow.start());
    let longest = if deaths.len() > 1 { deaths.iter().map(lasted).fold(0.0, f64::max) } else { 0.0 };
    // One that is hardly older than those were has yet to show that it lasts.
    let proven = 2.0 * longest;
    let died = deaths.iter().map(|death| death.flow.start()).max();
    worked.iter().filter(|flow| Some(flow.start()) > died).any(|flow| {
        let end = last_record(flow).unwrap_or_else(|| flow.start());
        carries(case, flow) && end.seconds_since(flow.start()) > proven
    })
}

/// Did records of the gateway show there?
fn hears_both(view: &FlowFacts) -> bool {
    said(view).is_some()
}

/// A DTLS flow that died while its tunnel lived.
struct Death<'a> {
    flow: &'a DtlsFlow,
    /// The gateway's last record; where none was captured, how the flow began.
    answered: (Timestamp, FrameRef),
    /// One was captured.
    is_heard: bool,
    /// Data went both ways over it.
    carries: bool,
    /// The client's records went on from another port or address: a NAT forgot it.
    is_moved: bool,
    /// What the client sent since.
    unanswered: Unanswered,
    /// ClientHellos on the same tunnel since.
    retries: Vec<FrameRef>,
    /// How far the gateway's answers to them are seen to come: to the client, or out of the gateway.
    answers_reach: Option<Vantage>,
    /// An alert ended it: where, and whose.
    closed: Option<(FrameRef, Direction)>,
    /// The flow in which DTLS came up again on the same tunnel.
    again: Option<&'a DtlsFlow>,
    /// Data on TLS since.
    back: Option<Stretch>,
    rekey: Option<FrameRef>,
    /// ICMP that refuses its packets since.
    refused: Option<&'a IcmpFacts>,
    /// The client's TLS went unanswered at the same time.
    is_with_path: bool,
}

impl<'a> Death<'a> {
    fn of(case: &Case<'a>, flow: &'a DtlsFlow) -> Option<Death<'a>> {
        let session = case.session;
        let began = (flow.start(), flow.best().opened.first_frame);
        let (answered, is_heard) = last_answer(case, flow).map_or((began, false), |answered| (answered, true));
        let tunnel = session.tunnel_at(flow.start());
        // Where its own tunnel does not show, one that opens afterwards is the next.
        let next = match tunnel {
            Some(tunnel) => session.tunnels().find(|other| other.start() > tunnel.start()),
            None => session.tunnels().find(|other| other.begins_here()),
        };
        let until = next.map(Connection::start);
        let before_next = |at: Timestamp| until.is_none_or(|until| at < until);
        // One that was up before the capture and is only heard later was not set up anew: it is somebody else's.
        let is_later = |d: &&DtlsFlow| {
            let is_new = d.continues.is_none() && d.attempts().next().is_some();
            is_new && !std::ptr::eq(*d, flow) && d.start() > answered.0 && before_next(d.start())
        };
        let later: Vec<&DtlsFlow> = session.dtls.iter().filter(is_later).collect();
        // It may have gone on from another port or address.
        let onward = onward(session, flow);
        if onward.iter().any(|d| last_answer(case, d).is_some()) {
            return None;
        }
        // A client that has another address has left the old one.
        let here = flow.best();
        let host = |v: &FlowFacts| v.opened.endpoints().client.ip();
        let has_moved = |v: &FlowFacts| v.point == here.point && host(v) != host(here);
        if later.first().is_some_and(|d| d.views.iter().any(|v| has_moved(v))) {
            return None;
        }
        let closed = closed(flow);
        // An answer takes a moment: the client's part of a last exchange waits for none; nor does its own alert.
        let waits = |u: &Unanswered| {
            let is_alert = u.records == 1 && closed.is_some_and(|(frame, _)| frame == u.last.1);
            !is_alert && u.last.0.seconds_since(answered.0) >= PATIENCE
        };
        let heard_here = flow.views.iter().filter(|v| !is_heard || hears_both(v));
        let views: Vec<&FlowFacts> =
            heard_here.chain(onward.iter().flat_map(|d| &d.views)).map(|view| &**view).collect();
        let in_vain = |point| {
            let there = views.iter().filter(|view| view.point == point);
            let up = there.filter_map(|v| Some(v.dtls.as_ref()?.unanswered(Direction::ToServer)));
            up.filter(waits).reduce(Unanswered::and)
        };
        let unanswered = views.iter().filter_map(|v| in_vain(v.point)).max_by_key(|u| u.records).unwrap_or_default();
        // A client that gets no answer may close it in the end: that is not why it died.
        let closed = closed.filter(|(_, by)| *by == Direction::ToClient || unanswered.records < FEW);
        if !is_heard && !flow.was_up() && unanswered.data() < 2 {
            return None;
        }
        let is_outside = |view: &FlowFacts| case.vantage(view.point) == Some(Vantage::Outside);
        let is_moved = !onward.is_empty();
        let is_heard_moved = onward.iter().flat_map(|d| &d.views).any(|v| is_outside(v));
        let ended = last_record(flow).unwrap_or(answered.0);
        let since = ended.min(answered.0.plus_seconds(SILENT)).max(answered.0);
        let back = tunnel.and_then(|t| data_back(t, since)).filter(|s| before_next(s.first));
        // A ClientHello just before the client gave the tunnel up had no time to be answered.
        let given_up = tunnel.map(|t| until.map_or(t.left(), |until| until.min(t.left())));
        let had_time = |at: Timestamp| given_up.is_none_or(|gone| gone.seconds_since(at) >= PATIENCE);
        let hellos = |view: &FlowFacts| -> Vec<FrameRef> {
            let attempts = view.dtls.iter().flat_map(|dtls| &dtls.attempts);
            let sent = attempts.flat_map(|a| a.hello_frames());
            sent.filter(|(_, at)| had_time(*at)).map(|(frame, _)| frame).collect()
        };
        // What several points saw was sent once.
        let most = |d: &&DtlsFlow| d.views.iter().map(|view| hellos(view)).max_by_key(Vec::len);
        let retries: Vec<FrameRef> = later.iter().filter_map(most).flatten().collect();
        let again = later.iter().filter(|d| d.worked()).min_by_key(|d| d.start()).copied();
        let dead =
            unanswered.data() > 1 && unanswered.control > 0 && unanswered.last.0.seconds_since(answered.0) >= DEAD;
        // A client that leaves says so on TLS, and both stop together.
        let is_with_path = tunnel.is_some_and(|t| is_path_lost(session, t, answered.0, unanswered));
        let lived_on =
            || tunnel.is_some_and(|t| lived_on(t, answered.0) && !lost_with_all(session, t)) && !is_with_path;
        // What comes to the gateway from a new port without an answer came over a path that lives.
        // A call may go one way for a while; DPD asks for an answer.
        let in_vain = if unanswered.control > 0 { DEAD / 2.0 } else { DEAD };
        let is_deaf = is_heard_moved && unanswered.data() >= FEW && unanswered.seconds() >= in_vain;
        if back.is_none() && again.is_none() && !is_deaf && !((!retries.is_empty() || dead) && lived_on()) {
            return None;
        }
        let renegotiations = flow.views.iter().filter_map(|v| Some(&v.dtls.as_ref()?.seldom().renegotiation));
        let rekey = renegotiations.filter_map(|r| match r {
            [Some((at, frame)), None] | [None, Some((at, frame))] => Some((*at, *frame)),
            _ => None,
        });
        let rekey = rekey.min().filter(|(at, _)| *at >= answered.0.plus_seconds(-1.0)).map(|(_, frame)| frame);
        let mut refusals = flow.views.iter().flat_map(|view| refusals(view, &session.icmp));
        let refused = refusals.find(|facts| facts.last >= answered.0);
        let is_answered_at = |vantage| {
            let attempts = later.iter().flat_map(|d| d.attempts());
            let mut there = attempts.filter(|(view, _)| case.vantage(view.point) == Some(vantage));
            there.any(|(_, attempt)| attempt.server_hellos() + attempt.hello_verifies() > 0)
        };
        let answers_reach = [Vantage::Client, Vantage::Outside].into_iter().find(|vantage| is_answered_at(*vantage));
        let carries = carries(case, flow);
        // A client renews its keys with a new handshake, too: then nothing went unanswered.
        let is_at_client = flow.views.iter().any(|view| case.vantage(view.point) == Some(Vantage::Client));
        let renews = again.is_some_and(|next| is_at_client || next.start().seconds_since(flow.end()) < IDLE);
        if renews && unanswered.records == 0 && back.is_none() && refused.is_none() && carries {
            return None;
        }
        Some(Death {
            flow,
            answered,
            is_heard,
            carries,
            is_moved,
            unanswered,
            retries,
            answers_reach,
            closed,
            again,
            back,
            rekey,
            refused,
            is_with_path,
        })
    }

    /// The client's own capture shows that nothing it sent over DTLS went unanswered: it gave DTLS up.
    fn is_dropped(&self, case: &Case<'_>) -> bool {
        let mut own = self.flow.views.iter().filter(|view| case.vantage(view.point) == Some(Vantage::Client));
        let has_nothing_in_vain = self.unanswered.records == 0 && (self.retries.is_empty() || self.again.is_some());
        has_nothing_in_vain && self.carries && !self.is_moved && self.back.is_some() && own.any(|view| hears_both(view))
    }

    /// Do captures at both ends show where the records vanish? `None` where one of them is missing, or had ended, or where they go on
    /// from another port.
    fn placed(&self, case: &Case<'_>) -> Option<Placed> {
        /// Clocks of two captures and the delay between them may differ by so much, seconds.
        const LEEWAY: f64 = 1.0;
        let (first, last) = (self.unanswered.first.0, self.unanswered.last.0);
        // that some came and none was answered shows soon
        let until = last.plus_seconds(-LEEWAY).min(first.plus_seconds(LIVED)).max(first);
        let views = |vantage| {
            let saw = move |p: &Point| p.vantage == Some(vantage) && p.was_capturing(first, until);
            self.flow.views.iter().filter(move |v| case.point(v.point).is_some_and(saw))
        };
        let is_sent = self.unanswered.records > 0 && !self.is_moved && views(Vantage::Client).next().is_some();
        let mut outside = views(Vantage::Outside).peekable();
        outside.peek().filter(|_| is_sent)?;
        let since = |at: Timestamp| at.seconds_since(self.answered.0);
        let (mut arrived, mut said) = (false, None);
        for (view, dtls) in outside.filter_map(|v| Some((v, v.dtls.as_ref()?))) {
            let [to_server, to_client] = dtls.last();
            // Some may have come before the way was cut, unanswered for another reason.
            let came = dtls.unanswered(Direction::ToServer).records;
            let end = case.point(view.point).and_then(|p| p.span).map_or(last, |(_, end)| end.min(last));
            let stops = |at: Timestamp| self.unanswered.records >= came + FEW && end.seconds_since(at) >= LIVED;
            arrived |= to_server.is_some_and(|(at, _)| since(at) >= since(first).max(0.5) && !stops(at));
            said = said.max(to_client.filter(|(at, _)| since(*at) >= PATIENCE));
        }
        Some(Placed { arrived, said })
    }

    /// The gateway's outside interface alone was captured, and shows without an answer what must be answered: DPD, or ClientHellos.
    fn reaches_gateway(&self, case: &Case<'_>) -> bool {
        let is_outside = |v: &FlowFacts| case.vantage(v.point) == Some(Vantage::Outside);
        let views = self.flow.views.iter().filter(|v| is_outside(v) && hears_both(v));
        let mut unanswered = views.filter_map(|v| v.dtls.as_ref()).map(|d| d.unanswered(Direction::ToServer));
        unanswered.any(|said| said.records > 1 && (said.control > 0 || !self.retries.is_empty()))
    }

    /// It came up in the capture, and data never went both ways over it.
    fn is_unheard_of(&self) -> bool {
        !self.flow.was_up() && (!self.is_heard || !self.carries)
    }

    /// It carried data no longer than it takes to notice that it does, and to drop it.
    fn is_brief(&self) -> bool {
        !self.flow.was_up() && self.answered.0.seconds_since(self.flow.start()) < LIVED
    }

    /// Seconds without a packet until the client came back from another port, where only the gateway's end was captured: what a forgotten
    /// mapping looks like from there.
    fn silence_at_gateway(&self, case: &Case<'_>) -> Option<f64> {
        let is_only = !case.is_at(Vantage::Client) && case.is_at(Vantage::Outside);
        let seconds = self.again?.start().seconds_since(self.flow.best().ended.last);
        (is_only && self.unanswered.records == 0 && seconds >= IDLE).then_some(seconds)
    }

    fn likely(&self, case: &Case<'_>, placed: Option<Placed>, is_useless: bool) -> &'static str {
        if self.refused.is_some() {
            return "refused-midway";
        }
        if let Some((_, by)) = self.closed {
            return if by == Direction::ToServer { "closed-by-client" } else { "closed-by-gateway" };
        }
        if self.rekey.is_some() {
            return "rekey-failed";
        }
        if self.is_dropped(case) {
            return "dropped-by-client";
        }
        if self.is_with_path {
            return "lost-with-path";
        }
        // A new mapping would have helped against a forgotten one.
        let new_port_failed = self.again.is_none() && !self.retries.is_empty();
        let is_idle = self.unanswered.records > 0 && self.unanswered.silence() >= IDLE;
        // What comes to the gateway from the same port as before was not forgotten on the way.
        let reaches_gateway = self.reaches_gateway(case);
        let arrives = reaches_gateway || placed.is_some_and(|placed| placed.arrived);
        if !arrives
            && (is_idle || !is_useless && self.silence_at_gateway(case).is_some())
            && !new_port_failed
            && !self.is_unheard_of()
        {
            return "udp-idle-timeout";
        }
        if self.is_moved {
            return "nat-rebinding";
        }
        if self.again.is_none() && self.answers_reach == Some(Vantage::Client) {
            return "ignored-by-client";
        }
        match placed {
            Some(Placed { arrived: true, said: None }) => return "gateway-silent",
            _ if is_useless => return "data-blocked",
            Some(Placed { arrived: false, said: None }) => return "lost-to-gateway",
            Some(Placed { arrived: true, said: Some(_) }) => return "lost-to-client",
            None if self.again.is_none() && self.answers_reach.is_some() => return "lost-to-client",
            _ if reaches_gateway => return "gateway-silent",
            _ => {}
        }
        // A new mapping works at once.
        match self.again {
            Some(next) if up(next).seconds_since(next.start()) < LIVED => "mapping-lost",
            _ => "blocked-midway",
        }
    }
}

/// What captures at both ends show of the records since the client's last answer.
#[derive(Clone, Copy)]
struct Placed {
    /// The client's reach the gateway's outside interface.
    arrived: bool,
    /// The last one the gateway sent there, which the client did not get.
    said: Option<(Timestamp, FrameRef)>,
}

impl Placed {
    fn words(self, answered: Timestamp) -> String {
        let said = |(at, frame): (Timestamp, FrameRef)| {
            let seconds = elapsed(at.seconds_since(answered));
            format!("The gateway went on sending for {seconds}, to frame {} at its outside interface", frame.number)
        };
        match (self.arrived, self.said) {
            (false, None) => {
                " The client's records leave it and do not reach the gateway's outside interface.".to_owned()
            }
            (false, Some(last)) => format!(
                " The client's records leave it and do not reach the gateway's outside interface. {}, and none of that reached the client \
                 either.",
                said(last)
            ),
            (true, Some(last)) => format!(
                " The client's records reach the gateway's outside interface. {}, and none of that reached the client.",
                said(last)
            ),
            (true, None) => " The client's records reach the gateway's outside interface.".to_owned(),
        }
    }
}

/// The first death, and what became of DTLS.
fn finding(case: &Case<'_>, death: &Death<'_>, deaths: &[Death<'_>], worked: &[&DtlsFlow]) -> Finding {
    let session = case.session;
    let is_mended = is_mended(case, worked, deaths);
    let recurs = deaths.len() > 1 && !is_mended;
    // Set up, and never of any use.
    let is_useless = death.is_unheard_of() || recurs && deaths.iter().all(Death::is_brief);
    let placed = death.placed(case);
    let likely = death.likely(case, placed, is_useless);
    let (answered, frame) = death.answered;
    let into = answered.seconds_since(session.start).max(0.0);
    let (mut text, of) = if death.is_heard && death.is_unheard_of() {
        let text = format!("DTLS came up and carried data only toward the client, until {into:.1} s into the session");
        (text, "the last answer")
    } else if death.is_heard {
        (format!("DTLS came up and carried data until {into:.1} s into the session"), "the last answer")
    } else if death.is_unheard_of() {
        (format!("DTLS came up {into:.1} s into the session, and no data came back over it"), "its ClientHello")
    } else {
        ("DTLS had come up before the capture, in which it gets no answer any more".to_owned(), "its first record")
    };
    let Unanswered { records, first, last, .. } = death.unanswered;
    if records > 0 {
        let wait = first.0.seconds_since(answered);
        let (later, from) = if wait >= SILENT {
            (format!(", the first {wait:.1} s later,"), first.0)
        } else {
            (String::new(), answered)
        };
        text.push_str(&format!(
            "; then {} of the client{later} went unanswered for {:.1} s",
            count(u64::from(records), "DTLS record"),
            last.0.seconds_since(from)
        ));
    }
    if let Some(back) = &death.back {
        let after = back.first.seconds_since(answered);
        text.push_str(&format!("; {after:.1} s after {of} data was back on the TLS tunnel"));
    }
    text.push('.');
    match (death.again, death.retries.len()) {
        (Some(next), _) => {
            let after = up(next).seconds_since(answered);
            let port = |d: &DtlsFlow| d.best().opened.endpoints().client.port();
            let from = if port(next) != port(death.flow) { " from another port" } else { "" };
            let works = if is_mended { ", and works" } else { "" };
            text.push_str(&format!(" DTLS was set up anew{from} {after:.1} s after {of}{works}."));
        }
        (None, n @ 1..) if death.answers_reach.is_some() => {
            let came = if likely == "ignored-by-client" { ", which reached it" } else { "" };
            text.push_str(&format!(
                " The gateway answered {} to bring it up again, and the client took up none of the answers{came}.",
                count(n as u64, "ClientHello")
            ));
        }
        (None, n @ 1..) => {
            text.push_str(&format!(" {} to bring it up again went unanswered.", count(n as u64, "ClientHello")));
        }
        (None, 0) => {}
    }
    let is_unseen = death.back.is_some() && records == 0 && death.retries.is_empty();
    if likely == "dropped-by-client" {
        text.push_str(" Nothing the client had sent over it went unanswered.");
    } else if likely == "blocked-midway" && is_unseen {
        text.push_str(
            " Nothing shows here to be sent over it in vain: whether the client still sent anything, only its own capture tells.",
        );
    }
    if let Some(words) = placed.map(|placed| placed.words(answered)) {
        text.push_str(&words);
    }
    if death.is_moved {
        text.push_str(" They come from another port or address than before.");
    }
    if let Some((frame, by)) = death.closed {
        let by = if by == Direction::ToServer { "client" } else { "gateway" };
        text.push_str(&format!(" The {by} closed it with an alert (frame {}).", frame.number));
    }
    match death.silence_at_gateway(case) {
        _ if likely != "udp-idle-timeout" => {}
        Some(seconds) => text.push_str(&format!(
            " For {seconds:.1} s before nothing came; whether the client was silent the gateway's end cannot show."
        )),
        None => text.push_str(&format!(" It had been silent for {:.1} s before.", death.unanswered.silence())),
    }
    if let Some(icmp) = death.refused {
        text.push_str(&format!(" {} refuses its packets with {}.", icmp.sender, icmp_words(&icmp.error)));
    }
    if deaths.len() > 1 {
        let died = deaths.iter().map(|death| death.flow.start()).max();
        let goes_on = worked.iter().any(|flow| Some(flow.start()) > died && carries(case, flow));
        let lasts = match (is_mended, goes_on) {
            (true, _) => "",
            (false, true) => "; the one after that carries data to the end",
            (false, false) => "; none is seen to last",
        };
        text.push_str(&format!(" That happened {} times{lasts}.", deaths.len()));
    }
    let grade = match death {
        Death { again: Some(_), .. } => AGAIN,
        Death { unanswered, retries, .. } if unanswered.records > 1 || !retries.is_empty() => UNANSWERED,
        _ => MOVED,
    };
    let best = death.flow.best();
    Finding {
        severity: match death {
            _ if matches!(likely, "dropped-by-client" | "lost-with-path") => Severity::Low,
            _ if is_useless || recurs => Severity::High,
            Death { again: Some(_), .. } | Death { closed: Some(_), .. } => Severity::Medium,
            _ => Severity::High,
        },
        grade,
        headline: match (death.again, &death.back) {
            _ if is_useless => "DTLS comes up, and its data does not get through".to_owned(),
            _ if recurs => "DTLS works and dies, again and again".to_owned(),
            (None, Some(_)) if death.closed.is_some() => "DTLS was closed, and the data went back to TLS".to_owned(),
            (Some(_), _) => "DTLS worked, died, and had to be set up anew".to_owned(),
            (None, Some(_)) if likely == "dropped-by-client" => {
                "the client stopped using DTLS, and the data went back to TLS".to_owned()
            }
            (None, Some(_)) if likely == "lost-with-path" => {
                "DTLS did not come back after the path was lost, and the data went back to TLS".to_owned()
            }
            (None, Some(_)) => "DTLS worked, then died, and the data went back to TLS".to_owned(),
            (None, None) => "DTLS worked, then died".to_owned(),
        },
        summary: text,
        likely: Some(likely),
        ruled_out: ruled_out(case, death, likely),
        evidence: evidence(death, frame),
        filters: vec![Filter {
            filter: format!("udp.stream == {}", best.opened.stream),
            capture: best.opened.first_frame.capture,
            shows: "the DTLS tunnel that died".to_owned(),
            frames: None,
        }],
        remedy: remedies(session, death, likely),
        wanted: case.other_end("which DTLS records pass there").filter(|_| {
            let is_unplaced = matches!(likely, "blocked-midway" | "data-blocked" | "mapping-lost");
            is_unplaced || death.silence_at_gateway(case).is_some()
        }),
        ..Finding::default()
    }
}

fn evidence(death: &Death<'_>, answer: FrameRef) -> Vec<Evidence> {
    let heard = if death.is_heard { "last DTLS record from the gateway" } else { "the DTLS flow begins" };
    let mut evidence = vec![Evidence::Frames(vec![answer], heard.to_owned())];
    if death.unanswered.records > 0 {
        let frames = vec![death.unanswered.first.1, death.unanswered.last.1];
        evidence.push(Evidence::Frames(frames, "first and last record of the client without an answer".to_owned()));
    }
    if let Some(icmp) = death.refused {
        evidence
            .push(Evidence::Frames(icmp.frames.clone(), format!("{} from {}", icmp_words(&icmp.error), icmp.sender)));
    }
    if let Some((frame, _)) = death.closed {
        evidence.push(Evidence::Frames(vec![frame], "the alert that ends DTLS".to_owned()));
    }
    if let Some(frame) = death.rekey {
        evidence.push(Evidence::Frames(vec![frame], "a rekey begins".to_owned()));
    }
    if let Some(back) = &death.back {
        let [up, down] = back.records;
        let note =
            format!("data on TLS again: {} to the gateway, {} to the client", count(u64::from(up), "record"), down);
        evidence.push(Evidence::Frames(vec![back.frame], note));
    }
    if !death.retries.is_empty() {
        evidence.push(Evidence::Frames(death.retries.clone(), "ClientHellos of later attempts".to_owned()));
    }
    evidence
}

fn ruled_out(case: &Case<'_>, death: &Death<'_>, likely: &str) -> Vec<RuledOut> {
    let mut all = Vec::new();
    if let Some(back) = &death.back {
        let why = format!(
            "the TLS tunnel carried {} afterwards",
            count(back.records.iter().map(|n| u64::from(*n)).sum(), "record")
        );
        all.push(RuledOut { what: "a dead path", why });
    }
    if !matches!(likely, "udp-idle-timeout" | "nat-rebinding") && death.unanswered.records > 0 {
        let silence = death.unanswered.silence();
        let why = match likely {
            "gateway-silent" if silence >= IDLE => {
                "its records come to the gateway from the port they came from".to_owned()
            }
            _ => format!("only {} of silence went before the first unanswered record", elapsed(silence)),
        };
        all.push(RuledOut { what: "an idle timeout", why });
    }
    let (point, icmp) = (death.flow.best().point, death.flow.best().icmp(Direction::ToServer));
    if let Ok(window) = case.window(point, icmp, death.answered.0, death.unanswered.last.0.max(death.answered.0))
        && window.seconds() > 0.0
        && !case.session.icmp.iter().any(|i| !i.inner && i.facts.point == point)
    {
        let why = format!("no ICMP came in {:.1} s, and the capture would have shown it", window.seconds());
        all.push(RuledOut { what: "a refusal by ICMP", why });
    }
    all
}

fn remedies(session: &Session, death: &Death<'_>, likely: &str) -> Vec<String> {
    if let Some(icmp) = death.refused {
        let port = death.flow.best().opened.endpoints().server.port();
        let first =
            format!("see on {} why it refuses udp/{port} since then ({})", icmp.sender, icmp_words(&icmp.error));
        return std::iter::once(first).chain(remedy::equal_mtus(session)).collect();
    }
    let client_drops = remedy::client_drops("the gateway");
    let first = match likely {
        "udp-idle-timeout" | "nat-rebinding" => {
            "keep the mapping open: a DTLS keepalive below the NAT's timeout (`anyconnect ssl keepalive 20`), or a longer timeout there"
        }
        "rekey-failed" => {
            "see on the gateway why the rekey is not answered (`debug webvpn`); a longer `anyconnect ssl rekey time`, or `rekey method new-tunnel`, avoids it"
        }
        "data-blocked" => {
            "find what lets the DTLS handshake pass and drops its data: a firewall that inspects UDP, or a shaper"
        }
        "lost-to-gateway" | "lost-to-client" => {
            "find what drops UDP on the way between client and gateway, in that direction: a firewall or a shaper"
        }
        "ignored-by-client" => &client_drops,
        "closed-by-client" => "see in the client's log (DART) why it closed DTLS",
        "dropped-by-client" => {
            "see in the client's log (DART) what its network did at that moment (link down, sleep, another network): no UDP was lost"
        }
        "lost-with-path" => {
            "look at the client's network at that moment: TLS went unanswered as well; a reconnect of the client brings DTLS back"
        }
        "closed-by-gateway" => "see on the gateway why it closed DTLS: its log, `show vpn-sessiondb detail anyconnect`",
        "gateway-silent" => {
            "see on the gateway why it stopped answering: `show vpn-sessiondb detail anyconnect`, `show asp drop`"
        }
        _ => "find what blocked UDP to the gateway at that moment: a firewall rule, or a device that lost its state",
    };
    std::iter::once(first.to_owned()).chain(remedy::equal_mtus(session)).collect()
}

/// The flows in which that one went on from another port or address, one after the other.
fn onward<'a>(session: &'a Session, flow: &DtlsFlow) -> Vec<&'a DtlsFlow> {
    let mut found: Vec<&DtlsFlow> = Vec::new();
    for next in &session.dtls {
        let follows = |from: &DtlsFlow| next.continues == Some(from.start());
        if follows(flow) || found.iter().any(|from| follows(from)) {
            found.push(next);
        }
    }
    found
}

/// The encrypted alert behind which nothing more went over it, and whose it is.
fn closed(flow: &DtlsFlow) -> Option<(FrameRef, Direction)> {
    let mut alerts = flow.views.iter().filter_map(|v| v.dtls.as_ref()?.seldom().sealed_alert.map(|alert| (v, alert)));
    let (view, (at, frame, by)) = alerts.next()?;
    (view.ended.last.seconds_since(at) < PATIENCE).then_some((frame, by))
}

/// The gateway's last DTLS data record there.
fn said(view: &FlowFacts) -> Option<(Timestamp, FrameRef)> {
    *Direction::ToClient.of(&view.dtls.as_ref()?.last())
}

/// The last one that the client got.
fn last_answer(case: &Case<'_>, flow: &DtlsFlow) -> Option<(Timestamp, FrameRef)> {
    client_views(case, flow).filter_map(said).max()
}

/// Did data go both ways over it?
fn carries(case: &Case<'_>, flow: &DtlsFlow) -> bool {
    client_views(case, flow).filter_map(|v| v.dtls.as_ref()).any(|dtls| dtls.last().iter().all(Option::is_some))
}

/// The views that show what the client got: its own captures, where they were taken until the gateway's last record, else all.
fn client_views<'a>(case: &Case<'a>, flow: &'a DtlsFlow) -> impl Iterator<Item = &'a FlowFacts> {
    let case = *case;
    let views = || flow.views.iter().map(|view| &**view);
    let last = views().filter_map(said).max().map(|(at, _)| at);
    let is_own = move |view: &FlowFacts| {
        let point = case.point(view.point).filter(|p| p.vantage == Some(Vantage::Client));
        let was_taken = point.is_some_and(|p| last.is_none_or(|at| p.was_capturing(at, at)));
        was_taken && view.last_packet(Direction::ToClient).is_some()
    };
    let is_any = views().any(is_own);
    views().filter(move |view| !is_any || is_own(view))
}

/// When it came up.
fn up(flow: &DtlsFlow) -> Timestamp {
    let completed = flow.attempts().filter_map(|(_, attempt)| Some(attempt.completed_at()?.0));
    completed.min().unwrap_or_else(|| flow.start())
}

fn last_record(flow: &DtlsFlow) -> Option<Timestamp> {
    flow.views.iter().filter_map(|v| v.dtls.as_ref()).flat_map(|d| d.last()).flatten().map(|(at, _)| at).max()
}

/// The gateway's TCP was heard well after that moment, and the client did not close the tunnel with it, nor was what it said in TLS
/// without an answer as well.
fn lived_on(tunnel: &Connection, answered: Timestamp) -> bool {
    let said = tunnel.views.iter().filter_map(|v| Some(v.tls.as_ref()?.unanswered(Direction::ToServer)));
    let in_vain = |said: Unanswered| said.records >= FEW && said.first.0 >= answered && said.seconds() >= LIVED;
    if said.into_iter().any(in_vain) {
        return false;
    }
    let closed = tunnel.views.iter().filter_map(|v| v.closed()).map(|c| c.at).min();
    let heard = tunnel.views.iter().filter_map(|v| v.last_packet(Direction::ToClient)).max();
    heard.is_some_and(|at| at.seconds_since(answered) >= LIVED)
        && closed.is_none_or(|at| at.seconds_since(answered) >= LIVED)
}

/// Did the client's TLS segments go unanswered while its DTLS records did?
fn is_path_lost(session: &Session, tunnel: &Connection, answered: Timestamp, unanswered: Unanswered) -> bool {
    let outages = tunnel.views.iter().filter_map(|view| Outage::of(session, tunnel, view, Direction::ToServer));
    let last = if unanswered.records > 0 { unanswered.last.0 } else { answered };
    outages.into_iter().any(|outage| outage.since <= last && outage.until > answered.plus_seconds(LIVED))
}

/// Did the client leave that tunnel because nothing at all was answered, or because its machine had slept?
fn lost_with_all(session: &Session, tunnel: &Connection) -> bool {
    let is_old = |seam: &&Reconnect| session.connections.get(seam.old).is_some_and(|old| std::ptr::eq(old, tunnel));
    let seam = session.reconnects.iter().find(is_old);
    seam.is_some_and(|seam| matches!(seam.cause, Cause::PathLost | Cause::DpdUnanswered | Cause::Sleep))
}

/// The first stretch of data on that tunnel connection after that moment.
fn data_back(tunnel: &Connection, after: Timestamp) -> Option<Stretch> {
    tunnel
        .views
        .iter()
        .filter_map(|v| Some(&v.tls.as_ref()?.activity))
        .flat_map(|a| a.stretches.iter())
        .filter(|s| s.first >= after && s.carries_both_ways())
        .min_by_key(|s| s.first)
}
