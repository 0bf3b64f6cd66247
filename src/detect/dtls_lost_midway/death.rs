//! A DTLS flow that died while its tunnel lived: when, and what became of it.

use super::{DEAD, FEW, IDLE, LIVED, PATIENCE, SILENT};
use crate::event::{Direction, FrameRef, Timestamp, Vantage};
use crate::finding::Case;
use crate::session::attempt::refusals;
use crate::session::coverage::hides_answers;
use crate::session::facts::{FlowFacts, IcmpFacts, Stretch, Unanswered};
use crate::session::reconnect::{Cause, Reconnect};
use crate::session::silence::Outage;
use crate::session::{Connection, DtlsFlow, Session};

/// A DTLS flow that died while its tunnel lived.
pub struct Death<'a> {
    pub flow: &'a DtlsFlow,
    /// The gateway's last record; where none was captured, how the flow began.
    pub answered: (Timestamp, FrameRef),
    /// One was captured.
    pub is_heard: bool,
    /// Data went both ways over it.
    pub carries: bool,
    /// The client's records went on from another port or address: a NAT forgot it.
    pub is_moved: bool,
    /// What the client sent since.
    pub unanswered: Unanswered,
    /// What the gateway sent since the client's last record, where only its own end shows.
    pub in_vain: Option<Unanswered>,
    /// ClientHellos on the same tunnel since.
    pub retries: Vec<FrameRef>,
    /// Those of the next tunnel go unanswered, from the first one on.
    pub is_dead_on_next: bool,
    /// How far the gateway's answers to them are seen to come: to the client, or out of the gateway.
    pub answers_reach: Option<Vantage>,
    /// An alert ended it: where, and whose.
    pub closed: Option<(FrameRef, Direction)>,
    /// The flow in which DTLS came up again on the same tunnel.
    pub again: Option<&'a DtlsFlow>,
    /// Data on TLS since.
    pub back: Option<Stretch>,
    pub rekey: Option<FrameRef>,
    /// ICMP that refuses its packets since.
    pub refused: Option<&'a IcmpFacts>,
    /// The client's TLS went unanswered at the same time.
    pub is_with_path: bool,
    /// The gateway's end alone shows that the client sets DTLS up anew again and again, though all is answered there.
    pub is_restless: bool,
}

impl<'a> Death<'a> {
    pub fn of(case: &Case<'a>, flow: &'a DtlsFlow) -> Option<Death<'a>> {
        let after = Aftermath::of(case, flow);
        if after.goes_on_elsewhere() {
            return None;
        }
        let closed = closed(flow);
        let unanswered = after.unanswered(closed.map(|(frame, _)| frame));
        if !after.is_heard && !flow.was_up() && unanswered.data() < 2 {
            return None;
        }
        let carries = carries(case, flow);
        let death = Death {
            flow,
            answered: after.answered,
            is_heard: after.is_heard,
            carries,
            is_moved: !after.onward.is_empty(),
            unanswered,
            // An alert tells more of its end.
            in_vain: if carries && closed.is_none() { said_in_vain(case, flow) } else { None },
            retries: after.retries(),
            is_dead_on_next: after.until.is_some_and(|until| case.session.is_dtls_unanswered_from(until)),
            answers_reach: after.answers_reach(),
            // A client that gets no answer may close it in the end: that is not why it died.
            closed: closed.filter(|(_, by)| *by == Direction::ToClient || unanswered.records < FEW),
            again: after.later.iter().filter(|d| d.worked()).min_by_key(|d| d.start()).copied(),
            back: after.data_back(),
            rekey: after.rekey(),
            refused: after.refused(),
            is_with_path: after.is_path_lost(unanswered),
            is_restless: unanswered.records == 0 && after.is_restless(),
        };
        (death.is_proven(&after) && !death.is_renewal(case)).then_some(death)
    }

    /// Did it die, and its tunnel not?
    fn is_proven(&self, after: &Aftermath<'_>) -> bool {
        let Death { unanswered, retries, .. } = self;
        // A call may go one way for a while; DPD asks for an answer.
        let in_vain = if unanswered.control > 0 { DEAD / 2.0 } else { DEAD };
        // What comes to the gateway from a new port without an answer came over a path that lives.
        let is_deaf = || after.is_heard_moved() && unanswered.data() >= FEW && unanswered.seconds() >= in_vain;
        let is_dead = || {
            let waited = unanswered.last.0.seconds_since(self.answered.0);
            unanswered.data() > 1 && unanswered.control > 0 && waited >= DEAD
        };
        // A client that leaves a dead tunnel and meets the same on the next.
        let is_left = || self.is_dead_on_next && unanswered.data() >= FEW && unanswered.seconds() >= LIVED;
        self.back.is_some()
            || self.again.is_some()
            || is_deaf()
            || (!retries.is_empty() || is_dead() || is_left()) && !self.is_with_path && after.tunnel_lived_on()
    }

    /// A client renews its keys with a new handshake, or takes up another MTU, too: then nothing went unanswered. Nobody takes DTLS for
    /// dead that has just been heard.
    fn is_renewal(&self, case: &Case<'_>) -> bool {
        let is_at_client = || self.flow.views.iter().any(|view| case.vantage(view.point) == Some(Vantage::Client));
        let is_soon = |next: &DtlsFlow| next.start().seconds_since(self.flow.end()) < IDLE;
        let is_at_once = |next: &DtlsFlow| next.start().seconds_since(self.answered.0) < SILENT;
        let is_unharmed = self.unanswered.records == 0 && self.refused.is_none() && self.carries;
        let is_out_of_use = || self.back.is_none();
        is_unharmed
            && !self.is_restless
            && self.again.is_some_and(|next| is_at_once(next) || is_out_of_use() && (is_soon(next) || is_at_client()))
    }

    /// Why answers may have come, where nothing tells of its end but that none show.
    pub fn doubt(&self, case: &Case<'_>) -> Option<String> {
        let asked = self.unanswered.records.saturating_add(u32::try_from(self.retries.len()).unwrap_or(u32::MAX));
        let is_told = self.refused.is_some() || self.closed.is_some() || self.back.is_some() || self.again.is_some();
        hides_answers(case.point(self.flow.best().point).filter(|_| !is_told)?, asked)
    }

    /// It came up in the capture, and data never went both ways over it.
    pub fn is_unheard_of(&self) -> bool {
        !self.flow.was_up() && (!self.is_heard || !self.carries)
    }

    /// When it is last known to carry data.
    pub fn carried_until(&self) -> Timestamp {
        let heard = self.in_vain.filter(|_| self.unanswered.records == 0).and_then(|said| said.after);
        heard.unwrap_or(self.answered.0)
    }

    /// It carried data no longer than it takes to notice that it does, and to drop it.
    pub fn is_brief(&self) -> bool {
        !self.flow.was_up() && self.answered.0.seconds_since(self.flow.start()) < LIVED
    }

    /// Seconds without a packet until the client came back from another port, where only the gateway's end was captured: what a forgotten
    /// mapping looks like from there.
    pub fn silence_at_gateway(&self, case: &Case<'_>) -> Option<f64> {
        let is_only = !case.is_at(Vantage::Client) && case.is_at(Vantage::Outside);
        let seconds = self.again?.start().seconds_since(self.flow.best().ended.last);
        (is_only && self.unanswered.records == 0 && seconds >= IDLE).then_some(seconds)
    }
}

/// What the session holds after the gateway's last record of a DTLS flow.
struct Aftermath<'a> {
    case: Case<'a>,
    flow: &'a DtlsFlow,
    answered: (Timestamp, FrameRef),
    is_heard: bool,
    /// The tunnel connection it belongs to.
    tunnel: Option<&'a Connection>,
    /// When the next tunnel connection began.
    until: Option<Timestamp>,
    /// DTLS set up anew before that.
    later: Vec<&'a DtlsFlow>,
    /// The flows in which it went on from another port or address, one after the other.
    onward: Vec<&'a DtlsFlow>,
}

impl<'a> Aftermath<'a> {
    fn of(case: &Case<'a>, flow: &'a DtlsFlow) -> Aftermath<'a> {
        let session = case.session;
        let began = (flow.start(), flow.best().opened.first_frame);
        let last = last_answer(case, flow);
        let answered = last.unwrap_or(began);
        let tunnel = session.tunnel_at(flow.start());
        // Where its own tunnel does not show, one that opens afterwards is the next.
        let next = match tunnel {
            Some(tunnel) => session.tunnels().find(|other| other.start() > tunnel.start()),
            None => session.tunnels().find(|other| other.begins_here()),
        };
        let until = next.map(Connection::start);
        // One that was up before the capture and is only heard later was not set up anew: it is somebody else's.
        let is_later = |d: &&DtlsFlow| {
            let is_new = d.continues.is_none() && d.attempts().next().is_some();
            let is_before_next = until.is_none_or(|until| d.start() < until);
            is_new && !std::ptr::eq(*d, flow) && d.start() > answered.0 && is_before_next
        };
        Aftermath {
            case: *case,
            flow,
            answered,
            is_heard: last.is_some(),
            tunnel,
            until,
            later: session.dtls.iter().filter(is_later).collect(),
            onward: onward(session, flow),
        }
    }

    /// Was DTLS set up three times or more on that tunnel, less than a minute apart, as the gateway's end alone shows?
    fn is_restless(&self) -> bool {
        /// So often.
        const OFTEN: usize = 3;
        /// No rekey comes as soon, seconds.
        const SOON: f64 = 60.0;
        let (Some(tunnel), session) = (self.tunnel, self.case.session) else { return false };
        let is_same = |d: &&DtlsFlow| session.tunnel_at(d.start()).is_some_and(|other| std::ptr::eq(other, tunnel));
        let set_up = session.dtls.iter().filter(|d| d.worked() && d.continues.is_none()).filter(is_same);
        let starts: Vec<Timestamp> = set_up.map(DtlsFlow::start).collect();
        let (Some(first), Some(last)) = (starts.iter().min(), starts.iter().max()) else { return false };
        let is_at_gateway = self.case.is_at(Vantage::Outside) && !self.case.is_at(Vantage::Client);
        is_at_gateway && starts.len() >= OFTEN && last.seconds_since(*first) < SOON * (starts.len() - 1) as f64
    }

    /// It is answered at another port or address, or the client has another address and left the old one.
    fn goes_on_elsewhere(&self) -> bool {
        let here = self.flow.best();
        let host = |v: &FlowFacts| v.opened.endpoints().client.ip();
        let has_moved = |v: &FlowFacts| v.point == here.point && host(v) != host(here);
        self.onward.iter().any(|d| last_answer(&self.case, d).is_some())
            || self.later.first().is_some_and(|d| d.views.iter().any(|v| has_moved(v)))
    }

    /// The client's records without an answer, where most of them show.
    fn unanswered(&self, alert: Option<FrameRef>) -> Unanswered {
        // An answer takes a moment: the client's part of a last exchange waits for none; nor does its own alert.
        let waits = |u: &Unanswered| {
            let is_alert = u.records == 1 && alert == Some(u.last.1);
            !is_alert && u.last.0.seconds_since(self.answered.0) >= PATIENCE
        };
        let heard_here = self.flow.views.iter().filter(|v| !self.is_heard || said(v).is_some());
        let views: Vec<&FlowFacts> =
            heard_here.chain(self.onward.iter().flat_map(|d| &d.views)).map(|view| &**view).collect();
        let in_vain = |point| {
            let there = views.iter().filter(|view| view.point == point);
            let up = there.filter_map(|v| Some(v.dtls.as_ref()?.unanswered(Direction::ToServer)));
            up.filter(waits).reduce(Unanswered::and)
        };
        views.iter().filter_map(|v| in_vain(v.point)).max_by_key(|u| u.records).unwrap_or_default()
    }

    /// The gateway's outside interface shows where it went on.
    fn is_heard_moved(&self) -> bool {
        self.onward.iter().flat_map(|d| &d.views).any(|v| self.case.vantage(v.point) == Some(Vantage::Outside))
    }

    /// The first data on TLS once DTLS is silent.
    fn data_back(&self) -> Option<Stretch> {
        let (answered, _) = self.answered;
        let ended = last_record(self.flow).unwrap_or(answered);
        let since = ended.min(answered.plus_seconds(SILENT)).max(answered);
        let back = self.tunnel.and_then(|tunnel| data_back(tunnel, since));
        // A tunnel that is left so soon takes its DTLS along.
        let is_left = self.until.is_some_and(|until| until.seconds_since(answered) < LIVED);
        back.filter(|stretch| !is_left && self.until.is_none_or(|until| stretch.first < until))
    }

    /// The ClientHellos of later attempts.
    fn retries(&self) -> Vec<FrameRef> {
        // One just before the client gave the tunnel up had no time to be answered.
        let given_up = self.tunnel.map(|t| self.until.map_or(t.left(), |until| until.min(t.left())));
        let had_time = |at: Timestamp| given_up.is_none_or(|gone| gone.seconds_since(at) >= PATIENCE);
        let hellos = |view: &FlowFacts| -> Vec<FrameRef> {
            let attempts = view.dtls.iter().flat_map(|dtls| &dtls.attempts);
            let sent = attempts.flat_map(|a| a.hello_frames());
            sent.filter(|(_, at)| had_time(*at)).map(|(frame, _)| frame).collect()
        };
        // What several points saw was sent once.
        let most = |d: &&DtlsFlow| d.views.iter().map(|view| hellos(view)).max_by_key(Vec::len);
        self.later.iter().filter_map(most).flatten().collect()
    }

    fn answers_reach(&self) -> Option<Vantage> {
        let is_answered_at = |vantage: &Vantage| {
            let attempts = self.later.iter().flat_map(|d| d.attempts());
            let mut there = attempts.filter(|(view, _)| self.case.vantage(view.point) == Some(*vantage));
            there.any(|(_, attempt)| attempt.came_back())
        };
        [Vantage::Client, Vantage::Outside].into_iter().find(is_answered_at)
    }

    /// A rekey at its end in which only one side took part.
    fn rekey(&self) -> Option<FrameRef> {
        let began = self.flow.views.iter().filter_map(|v| match &v.dtls.as_ref()?.seldom().renegotiation {
            [Some((at, frame)), None] | [None, Some((at, frame))] => Some((*at, *frame)),
            _ => None,
        });
        began.min().filter(|(at, _)| *at >= self.answered.0.plus_seconds(-1.0)).map(|(_, frame)| frame)
    }

    fn refused(&self) -> Option<&'a IcmpFacts> {
        let session = self.case.session;
        let mut refusals = self.flow.views.iter().flat_map(|view| refusals(view, &session.icmp));
        refusals.find(|facts| facts.last >= self.answered.0)
    }

    /// Did the client's TLS segments go unanswered while its DTLS records did?
    fn is_path_lost(&self, unanswered: Unanswered) -> bool {
        let Some(tunnel) = self.tunnel else { return false };
        let answered = self.answered.0;
        let session = self.case.session;
        let outages = tunnel.views.iter().filter_map(|view| Outage::of(session, tunnel, view, Direction::ToServer));
        let last = if unanswered.records > 0 { unanswered.last.0 } else { answered };
        outages.into_iter().any(|outage| outage.since <= last && outage.until > answered.plus_seconds(LIVED))
    }

    /// A client that leaves says so on TLS, and both stop together.
    fn tunnel_lived_on(&self) -> bool {
        self.tunnel.is_some_and(|t| lived_on(t, self.answered.0) && !lost_with_all(self.case.session, t))
    }
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
pub fn said(view: &FlowFacts) -> Option<(Timestamp, FrameRef)> {
    *Direction::ToClient.of(&view.dtls.as_ref()?.last())
}

/// The last one that the client got.
pub fn last_answer(case: &Case<'_>, flow: &DtlsFlow) -> Option<(Timestamp, FrameRef)> {
    client_views(case, flow).filter_map(said).max()
}

/// What the gateway said behind the client's last record, as its own end alone shows it: nobody knows whether that arrived.
fn said_in_vain(case: &Case<'_>, flow: &DtlsFlow) -> Option<Unanswered> {
    let is_outside = |view: &FlowFacts| case.vantage(view.point) == Some(Vantage::Outside);
    if !flow.views.iter().all(|view| is_outside(view)) {
        return None;
    }
    let said = flow.best().dtls.as_ref()?.unanswered(Direction::ToClient);
    // An answer takes a moment: what went just behind the client's last record may be part of the same exchange.
    let waited = said.last.0.seconds_since(said.after?);
    (said.data() > 0 && waited >= PATIENCE).then_some(said)
}

/// Did data go both ways over it?
pub fn carries(case: &Case<'_>, flow: &DtlsFlow) -> bool {
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
pub fn up(flow: &DtlsFlow) -> Timestamp {
    let completed = flow.attempts().filter_map(|(_, attempt)| Some(attempt.completed_at()?.0));
    completed.min().unwrap_or_else(|| flow.start())
}

pub fn last_record(flow: &DtlsFlow) -> Option<Timestamp> {
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
