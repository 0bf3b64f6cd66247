//! What was seen beside a session and bears on it: does UDP/443 work for others, does somebody else answer, do fragments arrive, is
//! the client turned away when it comes back.

use super::facts::{Closed, FlowFacts, View};
use super::reconnect::LOST;
use super::{Connection, Entry, Session, group, shape};
use crate::event::{Direction, Endpoints, FrameRef, Incomplete, PointId, Refused, Rejection, Timestamp};
use crate::maps::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Frames kept of each.
pub const MAX_FRAMES: usize = 16;
/// A SYN that is not answered is sent again after so long, seconds (RFC 6298 §2.1, less its clock's grain).
const SYN_AGAIN: f64 = 0.9;
/// A client that lost its tunnel tries again for so long, seconds (openconnect gives up after 300).
const RETRIES: f64 = 330.0;

/// A goodbye and the FIN behind it are one burst, seconds.
const AT_ONCE: f64 = 0.2;
/// Who leaves a tunnel for a new one asks for that within so many seconds.
const BACK_AT_ONCE: f64 = 2.0;

/// The neighbourhood of a session.
#[derive(Clone, Debug, Default)]
pub struct Neighbourhood {
    /// QUIC of the same client to other hosts: the control for UDP/443.
    pub quic: Quic,
    /// DTLS handshakes of servers that the client had not asked, to a port it asks from.
    pub strangers: Vec<Stranger>,
    /// Fragmented datagrams between client and gateway that never became whole.
    pub incomplete: Vec<(PointId, Incomplete)>,
    /// The client's connections to the gateway that brought no new tunnel, once that had closed the last one or fallen silent, or the
    /// client had closed it to come back at once.
    pub turned_away: Vec<TurnedAway>,
    /// Nothing comes from the client any more, and something of another session that had begun at its address before.
    pub others_go_on: bool,
    /// Whose the inner traffic is that was captured beside several sessions.
    pub inner: Whose,
}

/// How it is known whose inner traffic is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// Timing and volume tell, or keys; or there is none.
    #[default]
    Told,
    /// What the session has was given to it by a guess.
    Guessed,
    /// It is that of one of several sessions, and was given to none.
    Open,
}

impl Neighbourhood {
    /// Nothing was seen.
    pub const NOTHING: &Neighbourhood = &Neighbourhood {
        quic: Quic { asked: BTreeSet::new(), answered: BTreeSet::new(), frames: Vec::new() },
        strangers: Vec::new(),
        incomplete: Vec::new(),
        turned_away: Vec::new(),
        others_go_on: false,
        inner: Whose::Told,
    };

    fn is_nothing(&self) -> bool {
        self.quic.asked.is_empty()
            && self.strangers.is_empty()
            && self.incomplete.is_empty()
            && self.turned_away.is_empty()
            && !self.others_go_on
    }
}

/// QUIC connection attempts.
#[derive(Clone, Debug, Default)]
pub struct Quic {
    /// Hosts asked.
    pub asked: BTreeSet<IpAddr>,
    /// Of them those that answered.
    pub answered: BTreeSet<IpAddr>,
    /// First Initials.
    pub frames: Vec<FrameRef>,
}

/// A server that answered from another address than the one asked.
#[derive(Clone, Copy, Debug)]
pub struct Stranger {
    /// The address and port it answers from.
    pub from: SocketAddr,
    /// Handshake messages.
    pub messages: u32,
    /// The first of them.
    pub frame: FrameRef,
}

/// Connections that brought no tunnel: where they were seen, whose they were and to which server.
type Vain = HashMap<(PointId, IpAddr, SocketAddr), Vec<TurnedAway>>;

fn pair(point: PointId, ends: Endpoints) -> (PointId, IpAddr, SocketAddr) {
    (point, ends.client.ip(), ends.server)
}

/// A connection that brought no tunnel.
#[derive(Clone, Copy, Debug)]
pub struct TurnedAway {
    /// When it began.
    pub at: Timestamp,
    /// Its first packet.
    pub frame: FrameRef,
    /// How it came to nothing.
    pub how: Refusal,
    /// The program, as its ClientHello tells.
    program: Option<u64>,
    /// One question and one answer, and it was closed.
    is_brief: bool,
}

/// How a connection came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A RST in the gateway's name before its first TLS record.
    Reset,
    /// Nothing at all came back.
    Unanswered,
    /// Its connection was accepted, and nothing answered its ClientHello.
    Ignored,
    /// The same program set TLS up, and no tunnel came of it.
    WithoutTunnel,
}

impl Refusal {
    /// Does it rest on what did not come, rather than on what did?
    pub fn is_silence(self) -> bool {
        matches!(self, Refusal::Unanswered | Refusal::Ignored)
    }

    /// What the client was.
    pub fn words(self) -> &'static str {
        match self {
            Refusal::Reset => "refused with a RST",
            Refusal::Unanswered => "left without any answer",
            Refusal::Ignored => "let in and left without an answer to its ClientHello",
            Refusal::WithoutTunnel => "given TLS and no tunnel",
        }
    }
}

/// Gives each session what of the other flows bears on it.
pub fn attach(
    sessions: &mut [Entry],
    others: &[View],
    refused: &[(PointId, Refused)],
    incomplete: &[(PointId, Incomplete)],
) {
    let mut quic: HashMap<(PointId, IpAddr), Vec<&FlowFacts>> = HashMap::default();
    let mut unasked: HashMap<(PointId, SocketAddr), Vec<&FlowFacts>> = HashMap::default();
    let mut vain = Vain::default();
    for (point, refused) in refused {
        vain.entry(pair(*point, refused.endpoints)).or_default().extend(TurnedAway::refused(refused));
    }
    for flow in others {
        let client = flow.opened.endpoints().client;
        if flow.quic.iter().any(|n| *n > 0) {
            quic.entry((flow.point, client.ip())).or_default().push(flow);
        }
        if flow.dtls.as_ref().is_some_and(|dtls| dtls.seldom().unasked.0 > 0) {
            unasked.entry((flow.point, client)).or_default().push(flow);
        }
        if let Some(away) = TurnedAway::of(flow) {
            vain.entry(pair(flow.point, flow.opened.endpoints())).or_default().push(away);
        }
    }
    let came_back = |s: &Session| s.connections.last().is_some_and(|c| !c.role.is_tunnel());
    let is_any_left = sessions.iter().any(|session| is_left(session));
    let lives = if is_any_left { Lives::of(sessions) } else { Lives::default() };
    if !is_any_left
        && !sessions.iter().any(|session| came_back(session))
        && quic.is_empty()
        && unasked.is_empty()
        && vain.is_empty()
        && incomplete.is_empty()
    {
        return;
    }
    for session in sessions {
        let mut beside = Neighbourhood::default();
        let mut clients: BTreeSet<(PointId, IpAddr)> = BTreeSet::new();
        let mut asking: BTreeSet<(PointId, SocketAddr)> = BTreeSet::new();
        let mut gateways: BTreeSet<(PointId, IpAddr)> = BTreeSet::new();
        for view in session.outer_views() {
            let ends = view.opened.endpoints();
            clients.insert((view.point, ends.client.ip()));
            gateways.insert((view.point, ends.server.ip()));
            if view.dtls.is_some() {
                asking.insert((view.point, ends.client));
            }
        }
        let elsewhere = |flow: &&&FlowFacts| !gateways.contains(&(flow.point, flow.opened.endpoints().server.ip()));
        let asked = clients.iter().filter_map(|key| quic.get(key)).flatten();
        asked.filter(elsewhere).for_each(|flow| beside.quic.add(flow));
        let strangers = asking.iter().filter_map(|key| unasked.get(key)).flatten();
        beside.strangers.extend(strangers.filter_map(|flow| Stranger::of(flow)).take(MAX_FRAMES));
        let between = |(point, i): &&(PointId, Incomplete)| {
            let (a, b) = ((*point, i.src), (*point, i.dst));
            gateways.contains(&a) && clients.contains(&b) || clients.contains(&a) && gateways.contains(&b)
        };
        beside.incomplete.extend(incomplete.iter().filter(between));
        beside.turned_away = turned_away(session, &vain);
        beside.others_go_on = is_left(session) && lives.goes_on(session);
        session.beside = (!beside.is_nothing()).then(|| Box::new(beside));
    }
}

/// The gateway sends again in vain on its last tunnel.
fn is_left(session: &Session) -> bool {
    session.tunnels().last().is_some_and(|last| *Direction::ToClient.of(&last.best().ended.unheard) > 0)
}

/// Of each client address at each point, the sessions in order of start, and until when it was heard in those begun by then.
#[derive(Default)]
struct Lives(HashMap<(PointId, IpAddr), Vec<(Timestamp, Timestamp)>>);

impl Lives {
    fn of(sessions: &[Entry]) -> Lives {
        let mut lives: HashMap<_, Vec<_>> = HashMap::default();
        for session in sessions {
            for (place, heard) in Lives::heard(session) {
                lives.entry(place).or_default().push((session.start, heard));
            }
        }
        for all in lives.values_mut() {
            all.sort_unstable();
            let mut latest = Timestamp::default();
            for (_, heard) in all {
                latest = latest.max(*heard);
                *heard = latest;
            }
        }
        Lives(lives)
    }

    /// When a session's client was last heard at each point.
    fn heard(session: &Session) -> BTreeMap<(PointId, IpAddr), Timestamp> {
        let mut all = BTreeMap::new();
        for view in session.outer_views() {
            let place = (view.point, view.opened.endpoints().client.ip());
            if let Some(at) = view.last_packet(Direction::ToServer) {
                let latest = all.entry(place).or_insert(at);
                *latest = at.max(*latest);
            }
        }
        all
    }

    /// Does another session that had begun by then outlive it for long, from the address it was last heard from?
    fn goes_on(&self, session: &Session) -> bool {
        let last = Lives::heard(session).into_iter().max_by_key(|(_, at)| *at);
        last.is_some_and(|(place, at)| {
            let all = self.0.get(&place).map_or(&[][..], Vec::as_slice);
            let begun = all.partition_point(|(start, _)| *start <= at);
            let latest = begun.checked_sub(1).and_then(|i| all.get(i));
            latest.is_some_and(|(_, heard)| heard.seconds_since(at) >= LOST)
        })
    }
}

/// How the client fared that came back once the gateway had closed its last tunnel, or had fallen silent on it, as the point tells that
/// saw it best.
fn turned_away(session: &Session, vain: &Vain) -> Vec<TurnedAway> {
    let Some(tunnel) = session.tunnels().last() else { return Vec::new() };
    let last = tunnel.best();
    let (closed, left) = match last.closed() {
        Some(closed) if closed.by == Direction::ToClient => (Some(closed), None),
        // A client that says no goodbye, and is back at once, had no mind to leave.
        left => (None, left.filter(|left| !says_goodbye(tunnel, *left))),
    };
    let since = closed.map(|closed| {
        // Where that was its first word for long, the client had come back before.
        let lapse = last.ended.lapse(Direction::ToServer);
        let lapse = lapse.filter(|lapse| closed.at.seconds_since(lapse.until).abs() < SYN_AGAIN);
        lapse.map_or(closed.at, |lapse| lapse.first.0)
    });
    let is_silent = *Direction::ToServer.of(&last.ended.unheard) > 0;
    let silent = || last.last_packet(Direction::ToClient).filter(|_| is_silent);
    let Some(since) = since.or_else(silent).or(left.map(|left| left.at)) else {
        return Vec::new();
    };
    let beside = vain.get(&pair(last.point, last.opened.endpoints())).into_iter().flatten().copied();
    let own = session.connections.iter().filter(|c| !c.role.is_tunnel()).filter_map(|c| TurnedAway::of(c.best()));
    // After a goodbye another visit is nothing to wonder about.
    let is_abrupt = closed.is_some_and(|closed| is_abrupt(session, tunnel, closed));
    let is_back = |away: &TurnedAway| {
        let after = left.map(|left| away.at.seconds_since(left.at));
        away.is_brief && after.is_some_and(|after| (0.0..BACK_AT_ONCE).contains(&after))
    };
    let is_one = |away: &TurnedAway| {
        let is_same = away.program.is_none() || away.program == group::program(last);
        let is_retry = match away.how {
            Refusal::Reset => true,
            Refusal::Unanswered | Refusal::Ignored => closed.is_some(),
            Refusal::WithoutTunnel => is_abrupt || is_back(away),
        };
        is_same && is_retry && (0.0..RETRIES).contains(&away.at.seconds_since(since))
    };
    let mut all: Vec<TurnedAway> = beside.chain(own).filter(is_one).collect();
    all.sort_by_key(|away| away.at);
    all
}

/// Did the client's last word, to which there is no answer, come with its FIN?
fn says_goodbye(tunnel: &Connection, left: Closed) -> bool {
    let last = tunnel
        .best()
        .tls
        .as_ref()
        .map(|tls| [&Direction::ToServer, &Direction::ToClient].map(|way| way.of(&tls.data).last));
    let [said, answered] = last.unwrap_or_default().map(|last| last.map(|(at, _)| at));
    tunnel.bye().is_some() || said > answered && said.is_some_and(|at| left.at.seconds_since(at) < AT_ONCE)
}

/// The gateway closed a tunnel that was in use without saying anything before: its process or machine went, not the session.
pub fn is_abrupt(session: &Session, tunnel: &Connection, closed: Closed) -> bool {
    /// In use: data within so many seconds.
    const IN_USE: f64 = 5.0;
    let before = |at: Timestamp| closed.at.seconds_since(at);
    let records = tunnel.best().tls.iter().flat_map(|tls| &tls.data).filter_map(|data| data.last);
    let over_dtls =
        session.dtls_since(tunnel).flat_map(|d| &d.views).filter_map(|v| v.last_packet(Direction::ToClient));
    let last_record = records.map(|(at, _)| at).max();
    let in_use = over_dtls.chain(last_record).any(|at| (-IN_USE..IN_USE).contains(&before(at)));
    in_use && tunnel.bye().is_none() && last_record.is_none_or(|at| before(at) >= AT_ONCE)
}

impl TurnedAway {
    fn refused(refused: &Refused) -> Option<TurnedAway> {
        let how = match (refused.how, refused.last.seconds_since(refused.first)) {
            (Rejection::Reset, _) => Refusal::Reset,
            (Rejection::Unanswered, waited) if waited >= SYN_AGAIN => Refusal::Unanswered,
            // The answer may only have come too late for the capture.
            _ => return None,
        };
        Some(TurnedAway { at: refused.first, frame: refused.frame, how, program: None, is_brief: false })
    }

    /// A TLS connection that is no tunnel.
    fn of(flow: &FlowFacts) -> Option<TurnedAway> {
        let (program, tls) = (group::program(flow)?, flow.tls.as_deref()?);
        let is_reset = flow.closed().is_some_and(|c| c.reset && c.direction == Direction::ToClient);
        let spoke = tls.server_hello.is_some();
        let is_mute = Direction::ToClient.of(&tls.data).records == 0 && tls.seldom().alert.is_none();
        let asked = tls.client_hello.map(|(at, ..)| at);
        let waited = flow.last_packet(Direction::ToServer).zip(asked).map(|(last, asked)| last.seconds_since(asked));
        let how = match spoke {
            true => Refusal::WithoutTunnel,
            false if is_reset => Refusal::Reset,
            false if is_mute && waited.is_some_and(|waited| waited >= SYN_AGAIN) => Refusal::Ignored,
            false => return None,
        };
        let is_brief = flow.closed().is_some() && shape::exchanges(flow) <= 1;
        Some(TurnedAway {
            at: flow.opened.first,
            frame: flow.opened.first_frame,
            how,
            program: Some(program),
            is_brief,
        })
    }
}

impl Quic {
    fn add(&mut self, flow: &FlowFacts) {
        let host = flow.opened.endpoints().server.ip();
        let [asked, answered] = flow.ended.packets.map(|n| n > 0);
        if asked {
            self.asked.insert(host);
        }
        if answered {
            self.answered.insert(host);
        }
        if self.frames.len() < MAX_FRAMES {
            self.frames.push(flow.opened.first_frame);
        }
    }
}

impl Stranger {
    fn of(flow: &FlowFacts) -> Option<Stranger> {
        let (messages, first) = flow.dtls.as_ref()?.seldom().unasked;
        Some(Stranger { from: flow.opened.endpoints().server, messages, frame: first?.1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::timing::tests::{at, client};
    use crate::session::{Proof, Role};

    #[test]
    fn a_session_whose_client_falls_silent_is_outlived_by_another_of_its_address_that_had_begun_before() {
        let session = |start: f64, heard: f64, resent: u8| {
            let mut view = client([192, 0, 2, 1], 1, &[start], 9).flows.remove(0).facts;
            *Direction::ToServer.of_mut(&mut view.ended.last_by_direction) = Some(at(heard));
            view.ended.unheard = [0, resent];
            let new = Session::new([192, 0, 2, 1].into(), None, 443, Proof::Inside);
            let tunnel = Connection { role: Role::Tunnel, views: vec![view].into() };
            Box::new(Session { start: at(start), connections: vec![tunnel].into(), ..new })
        };
        let goes_on = |other: (f64, f64)| {
            let mut all = vec![session(0.0, 12.0, 7), session(other.0, other.1, 0)];
            attach(&mut all, &[], &[], &[]);
            all.iter().map(|session| session.beside().others_go_on).collect::<Vec<_>>()
        };
        assert_eq!(goes_on((4.0, 50.0)), [true, false]);
        assert_eq!(goes_on((4.0, 13.0)), [false, false], "hardly longer");
        assert_eq!(goes_on((20.0, 50.0)), [false, false], "it may be the same client, back again");
    }
}
