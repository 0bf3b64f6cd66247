//! TLS, and attempts at it, where no session was recognised: to whom, and what hides whether it is a tunnel's. Beside sessions only
//! what others ask of their gateways in vain.

use super::coverage::cuts_hellos;
use super::facts::{FlowFacts, LONGER_THAN_ALERT, MAX_EARLY, TlsFacts, View};
use super::group::begins_here;
use super::shape::Shape;
use super::{Entry, Point};
use crate::event::{Direction, FrameRef, PointId, Refused, Rejection, Timestamp};
use crate::maps::{HashMap, HashSet};
use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

/// Servers told of.
const MOST: usize = 3;
/// Where TLS is at home: who asks there for a connection wants TLS, though none was seen.
pub(super) const HTTPS: u16 = 443;

/// What asks for an answer has got it within this time, or sends again, seconds (RFC 6298 §2.1).
const PATIENCE: f64 = 1.0;

/// What was seen of it.
#[derive(Debug, Default)]
pub struct Unrecognised {
    /// The servers are gateways of sessions, and those who asked are others than their clients.
    pub at_gateways: bool,
    /// The servers, those with most packets first, at most [`MOST`].
    pub servers: Vec<Server>,
    /// How many further ones there are.
    pub more: u64,
}

/// One server, as the point tells that saw most.
#[derive(Debug)]
pub struct Server {
    /// Its address and port.
    pub address: SocketAddr,
    /// Packets of the TLS connections, both ways.
    pub packets: u64,
    /// TLS connections, and those that were asked for in vain.
    pub connections: u64,
    /// The first of their frames.
    pub first: FrameRef,
    /// What became of them and of how many, most first.
    pub fates: Vec<(Fate, u64)>,
}

/// How far a connection came, as far as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It began before the capture.
    Begun,
    /// Packets of one direction only were captured.
    OneWay,
    /// Its frames are cut too short to read what it says.
    Cut,
    /// Nothing answered its SYN.
    SynUnanswered,
    /// A RST did.
    SynReset,
    /// Nobody acknowledged the SYN-ACK.
    SynAckUnanswered,
    /// It was accepted, and nobody said anything.
    Wordless,
    /// Nothing answered its ClientHello.
    HelloUnanswered,
    /// A RST did.
    HelloReset,
    /// Its TLS handshake stopped; by whom it was ended, if it was.
    Handshake(Option<Direction>),
    /// It said little, and was closed.
    Ended,
    /// It said little, or might be a tunnel for all it said.
    Little,
    /// What it said is not what a tunnel says.
    Unlike,
}

impl Fate {
    /// What is told of it.
    pub fn words(self) -> &'static str {
        match self {
            Fate::Begun => "begun before the capture",
            Fate::OneWay => "captured in one direction only",
            Fate::Cut => "with frames cut too short to read its records",
            Fate::SynUnanswered => "without any answer to the SYN",
            Fate::SynReset => "refused with a RST to the SYN",
            Fate::SynAckUnanswered => "whose SYN-ACK was never acknowledged",
            Fate::Wordless => "accepted, and then without a word from the client",
            Fate::HelloUnanswered => "without any answer to the ClientHello",
            Fate::HelloReset => "refused with a RST to the ClientHello",
            Fate::Handshake(Some(Direction::ToServer)) => "given up by the client in the TLS handshake",
            Fate::Handshake(Some(Direction::ToClient)) => "ended by the server in the TLS handshake",
            Fate::Handshake(None) => "stuck in the TLS handshake",
            Fate::Ended => "closed after a few requests, as a failed login is, or a web page",
            Fate::Little => "with too little said to tell a tunnel",
            Fate::Unlike => "with records unlike a tunnel's",
        }
    }

    /// What would tell more.
    pub fn wanted(self) -> Option<&'static str> {
        match self {
            Fate::Begun => Some("a capture that begins before the client connects, or has UDP too, tells a tunnel"),
            Fate::OneWay => Some("a capture of both directions tells"),
            Fate::Cut => Some("a capture of whole packets tells (`tcpdump -s 0`)"),
            Fate::SynUnanswered | Fate::HelloUnanswered | Fate::Handshake(None) => {
                Some("a capture at the other end tells whether the packets get there")
            }
            Fate::SynAckUnanswered => Some("a capture at the client tells whether the SYN-ACK gets there"),
            Fate::Wordless => Some("a capture at the client tells whether its ClientHello is lost on the way"),
            Fate::SynReset | Fate::HelloReset => Some("a capture at the other end tells who sends the RST"),
            Fate::Handshake(Some(Direction::ToServer)) => Some("the client's log tells why: often the certificate"),
            Fate::Handshake(Some(Direction::ToClient)) => Some("the server's log tells why"),
            Fate::Ended => Some("the logs at either end tell why no tunnel followed"),
            Fate::Little => Some("a longer capture that has UDP too, or keys (--keylog), tells"),
            Fate::Unlike => None,
        }
    }

    fn of(flow: &FlowFacts, tls: &TlsFacts) -> Fate {
        let closed = flow.closed();
        let by_server = Direction::ToClient.of(&tls.data);
        if flow.ended.packets.contains(&0) {
            return Fate::OneWay;
        }
        if !begins_here(flow) {
            return Fate::Begun;
        }
        if tls.server_hello.is_none() && by_server.records == 0 && tls.seldom().alert.is_none() {
            let is_reset = closed.is_some_and(|closed| closed.reset && closed.direction == Direction::ToClient);
            return if is_reset { Fate::HelloReset } else { Fate::HelloUnanswered };
        }
        if !asks(tls) {
            let alerted = tls.seldom().alert.map(|(_, _, way, _)| way);
            return Fate::Handshake(alerted.or(closed.map(|closed| closed.by)));
        }
        let shape = Shape::of(flow);
        match (usize::try_from(shape.records), closed) {
            (Ok(records), Some(_)) if records <= MAX_EARLY => Fate::Ended,
            _ if shape.against || tls.inside().is_some_and(|inside| inside.packets.unsealed.opened > 0) => Fate::Unlike,
            _ => Fate::Little,
        }
    }

    fn of_refused(refused: &Refused) -> Fate {
        match refused.how {
            Rejection::Unanswered => Fate::SynUnanswered,
            Rejection::Reset => Fate::SynReset,
            Rejection::Unacknowledged => Fate::SynAckUnanswered,
            Rejection::Wordless => Fate::Wordless,
        }
    }

    /// Was something asked that got no answer, or a RST?
    fn is_vain(self) -> bool {
        !matches!(
            self,
            Fate::Begun
                | Fate::OneWay
                | Fate::Cut
                | Fate::Handshake(Some(_))
                | Fate::Ended
                | Fate::Little
                | Fate::Unlike
        )
    }
}

/// Did the client say anything once the handshake was over? In TLS 1.3 its Finished looks like data.
fn asks(tls: &TlsFacts) -> bool {
    let hidden = usize::from(tls.server_hello.is_some_and(|hello| hello.version.is_1_3()));
    let mut said = tls.early.iter().filter(|(way, _)| *way == Direction::ToServer).skip(hidden);
    said.any(|(_, length)| length >= LONGER_THAN_ALERT)
}

/// A connection of which nobody knows whose it is.
struct Stray {
    server: SocketAddr,
    client: IpAddr,
    point: PointId,
    fate: Fate,
    /// Packets of TLS, both ways.
    packets: u64,
    began: Timestamp,
    first: FrameRef,
}

impl Stray {
    fn of(flow: &FlowFacts, points: &[Point]) -> Option<Stray> {
        let is_cut = points.get(usize::from(flow.point.0)).is_some_and(cuts_hellos);
        let fate = |tls| match Fate::of(flow, tls) {
            Fate::OneWay => Fate::OneWay,
            _ if is_cut => Fate::Cut,
            fate => fate,
        };
        let (client, server) = (flow.opened.endpoints().client.ip(), flow.opened.endpoints().server);
        Some(Stray {
            server,
            client,
            point: flow.point,
            fate: fate(flow.tls.as_deref()?),
            packets: flow.ended.packets.iter().map(|n| u64::from(*n)).sum(),
            began: flow.opened.first,
            first: flow.opened.first_frame,
        })
    }

    fn of_refused((point, refused): &(PointId, Refused)) -> Stray {
        Stray {
            server: refused.endpoints.server,
            client: refused.endpoints.client.ip(),
            point: *point,
            fate: Fate::of_refused(refused),
            packets: 0,
            began: refused.first,
            first: refused.frame,
        }
    }
}

impl Unrecognised {
    /// What flows that belong to no session show, and connections on which nobody said anything.
    pub fn of(flows: &[View], refused: &[(PointId, Refused)], sessions: &[Entry], points: &[Point]) -> Unrecognised {
        if !sessions.is_empty() {
            return Unrecognised::at_gateways(flows, refused, sessions, points);
        }
        let tls: Vec<Stray> = flows.iter().filter_map(|flow| Stray::of(flow, points)).collect();
        // Browsers open connections for later, and say nothing on them.
        let spoken: HashSet<SocketAddr> = tls.iter().map(|stray| stray.server).collect();
        let meant = |stray: &Stray| match spoken.contains(&stray.server) {
            true => stray.fate != Fate::Wordless,
            false => stray.server.port() == HTTPS,
        };
        let vain = refused.iter().map(Stray::of_refused).filter(meant);
        Unrecognised::among(tls.into_iter().chain(vain).collect())
    }

    /// What clients without a session ask of the gateways of those that have one, and in vain: they may be the ones that complain.
    fn at_gateways(
        flows: &[View],
        refused: &[(PointId, Refused)],
        sessions: &[Entry],
        points: &[Point],
    ) -> Unrecognised {
        let mut gateways: HashSet<SocketAddr> = HashSet::default();
        let mut clients: HashSet<IpAddr> = HashSet::default();
        for view in sessions.iter().flat_map(|session| session.outer_views()) {
            let ends = view.opened.endpoints();
            clients.insert(ends.client.ip());
            if view.tls.is_some() {
                gateways.insert(ends.server);
            }
        }
        let is_captured = |stray: &Stray| {
            let point = points.get(usize::from(stray.point.0));
            point.and_then(|point| point.span).is_some_and(|(_, end)| end.seconds_since(stray.began) >= PATIENCE)
        };
        let is_one = |stray: &Stray| {
            stray.fate.is_vain()
                && gateways.contains(&stray.server)
                && !clients.contains(&stray.client)
                && is_captured(stray)
        };
        let all = flows.iter().filter_map(|flow| Stray::of(flow, points)).chain(refused.iter().map(Stray::of_refused));
        Unrecognised { at_gateways: true, ..Unrecognised::among(all.filter(is_one).collect()) }
    }

    fn among(strays: Vec<Stray>) -> Unrecognised {
        let mut packets: HashMap<(SocketAddr, PointId), u64> = HashMap::default();
        for stray in &strays {
            *packets.entry((stray.server, stray.point)).or_default() += stray.packets;
        }
        let all: HashSet<SocketAddr> = packets.keys().map(|(server, _)| *server).collect();
        let mut order: Vec<_> = packets.into_iter().collect();
        order.sort_unstable_by_key(|((server, point), packets)| (Reverse(*packets), *server, *point));
        let mut servers: Vec<Server> = Vec::new();
        for ((server, point), packets) in order {
            if servers.len() == MOST {
                break;
            }
            if servers.iter().any(|known| known.address == server) {
                continue;
            }
            let here = strays.iter().filter(|stray| (stray.server, stray.point) == (server, point));
            servers.extend(Server::of(server, packets, here.map(|stray| (stray.fate, stray.first))));
        }
        let more = all.len().saturating_sub(servers.len()) as u64;
        Unrecognised { at_gateways: false, servers, more }
    }
}

impl Server {
    fn of(address: SocketAddr, packets: u64, connections: impl Iterator<Item = (Fate, FrameRef)>) -> Option<Server> {
        let mut first: Option<FrameRef> = None;
        let mut fates: HashMap<Fate, u64> = HashMap::default();
        for (fate, frame) in connections {
            first = Some(first.map_or(frame, |first| first.min(frame)));
            *fates.entry(fate).or_default() += 1;
        }
        let mut fates: Vec<_> = fates.into_iter().collect();
        fates.sort_unstable_by_key(|(fate, count)| (Reverse(*count), *fate));
        let connections = fates.iter().map(|(_, count)| count).sum();
        Some(Server { address, packets, connections, first: first?, fates })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LinkType;
    use crate::event::{CipherSuite, Ended, Endpoints, FlowId, Opened, Protocol, Timestamp, Version};
    use crate::session::facts::{Closed, FlowNotes, ServerHelloFacts};
    use crate::session::{Connection, Proof, Role, Session};
    use Direction::{ToClient, ToServer};
    use Rejection::{Reset, Wordless};

    const SERVER: [u8; 4] = [192, 0, 2, 2];

    /// A connection to that server: its hellos, records, and by whom it was closed and whether with a RST.
    fn flow(
        host: u8,
        hellos: [bool; 2],
        records: &[(Direction, u16)],
        closed: Option<(Direction, bool)>,
        packets: [u32; 2],
    ) -> View {
        let [a, b, c, _] = SERVER;
        let ends = Endpoints { client: ([192, 0, 2, 100], 5000).into(), server: ([a, b, c, host], 8443).into() };
        let (at, frame) = (Timestamp::default(), FrameRef { capture: 0, number: u32::from(host) });
        let mut tls = TlsFacts::default();
        let [asked, answered] = hellos;
        tls.client_hello = asked.then_some((at, frame, None));
        let (version, suite) = (Version(0x0303), CipherSuite(0xc030));
        tls.server_hello = answered.then_some(ServerHelloFacts { at, frame, version, suite, encrypt_then_mac: false });
        records.iter().for_each(|(way, length)| tls.add_data(at, frame, *way, *length));
        let mut notes = FlowNotes::new(PointId(0));
        notes.tls = Some(Box::new(tls));
        notes.closed =
            closed.map(|(direction, reset)| Box::new(Closed { at, frame, direction, by: direction, reset, ttl: 64 }));
        let opened = Opened { first_frame: frame, ..Opened::bare(Protocol::Tcp, ends, at) };
        Box::new(notes.take(FlowId(0), opened, Ended { packets, ..Ended::default() }))
    }

    #[test]
    fn why_nothing_tells_a_tunnel_is_told_by_how_far_it_came() {
        let fate = |hellos, records: &[(Direction, u16)], closed, packets| {
            let seen = Unrecognised::of(&[flow(2, hellos, records, closed, packets)], &[], &[], &[]);
            seen.servers.first().and_then(|server| server.fates.first().copied()).map(|(fate, _)| fate)
        };
        let login = [(ToServer, 500), (ToClient, 600), (ToServer, 700), (ToClient, 600)];
        let both = [9, 9];
        assert_eq!(fate([false; 2], &login, None, both), Some(Fate::Begun));
        assert_eq!(fate([false; 2], &login, None, [9, 0]), Some(Fate::OneWay));
        assert_eq!(fate([true, false], &[], None, both), Some(Fate::HelloUnanswered));
        assert_eq!(fate([true, false], &[], Some((ToClient, true)), both), Some(Fate::HelloReset));
        assert_eq!(fate([true, false], &[], Some((ToServer, true)), both), Some(Fate::HelloUnanswered), "its own");
        assert_eq!(fate([true; 2], &[], None, both), Some(Fate::Handshake(None)));
        assert_eq!(fate([true; 2], &[], Some((ToServer, true)), both), Some(Fate::Handshake(Some(ToServer))));
        assert_eq!(fate([true; 2], &login, Some((ToServer, false)), both), Some(Fate::Ended));
        assert_eq!(fate([true; 2], &login, None, both), Some(Fate::Little), "it goes on");
        let page = [&login[..], &[(ToClient, 16_000); MAX_EARLY]].concat();
        assert_eq!(fate([true; 2], &page, Some((ToServer, false)), both), Some(Fate::Unlike));
    }

    #[test]
    fn the_servers_with_most_packets_are_told_of_and_who_was_asked_in_vain() {
        let flows: Vec<View> = (1..=5).map(|host| flow(host, [true; 2], &[], None, [u32::from(host), 1])).collect();
        let [a, b, c, _] = SERVER;
        let asked = |host, port, how| {
            let ends = Endpoints { client: ([192, 0, 2, 100], 5001).into(), server: ([a, b, c, host], port).into() };
            let (first, frame) = (Timestamp::default(), FrameRef { capture: 0, number: 1 });
            (PointId(0), Refused { endpoints: ends, first, frame, last: first, how })
        };
        let seen = Unrecognised::of(&flows, &[asked(5, 8443, Reset), asked(5, 22, Reset)], &[], &[]);
        let told: Vec<_> = seen.servers.iter().map(|s| (s.address.ip(), s.connections, s.packets)).collect();
        let server = |host| std::net::IpAddr::from([a, b, c, host]);
        assert_eq!(told, [(server(5), 2, 6), (server(4), 1, 5), (server(3), 1, 4)]);
        assert_eq!(seen.more, 2);
        let first = seen.servers.first().map(|server| (server.first.number, server.fates.clone()));
        assert_eq!(first, Some((1, vec![(Fate::SynReset, 1), (Fate::Handshake(None), 1)])));
        assert!(Unrecognised::of(&[], &[asked(1, 22, Reset)], &[], &[]).servers.is_empty(), "no attempt at TLS");
        assert_eq!(Unrecognised::of(&[], &[asked(1, 443, Reset)], &[], &[]).servers.len(), 1);
        assert_eq!(Unrecognised::of(&[], &[asked(1, 443, Wordless)], &[], &[]).servers.len(), 1);
        let mut spoken = flow(1, [true; 2], &[], None, [9, 9]);
        let ends = asked(1, 443, Wordless).1.endpoints;
        spoken.opened = Opened { first_frame: spoken.opened.first_frame, ..Opened::bare(Protocol::Tcp, ends, at(0.0)) };
        let seen = Unrecognised::of(&[spoken], &[asked(1, 443, Wordless)], &[], &[]);
        assert_eq!(seen.servers.iter().map(|s| s.connections).sum::<u64>(), 1, "opened for later, as browsers do");
    }

    fn at(seconds: f64) -> Timestamp {
        Timestamp::default().plus_seconds(seconds)
    }

    #[test]
    fn beside_sessions_it_is_told_what_others_ask_of_their_gateways_in_vain() {
        let tunnel = || flow(2, [true; 2], &[(ToServer, 900); 9], None, [99, 99]);
        let ends = tunnel().opened.endpoints();
        let mut session = Session::new(ends.client.ip(), Some(ends.server.ip()), ends.server.port(), Proof::Inside);
        session.connections = vec![Connection { role: Role::Tunnel, views: vec![tunnel()].into() }].into();
        let sessions = [Box::new(session)];
        let mut point = crate::session::Point::unknown(PointId(0), 0, LinkType::ETHERNET);
        point.span = Some((at(0.0), at(60.0)));
        let told = |server: SocketAddr, client: [u8; 4], first: f64, how| {
            let (endpoints, frame) = (Endpoints { client: (client, 9).into(), server }, FrameRef::default());
            let refused = Refused { endpoints, first: at(first), frame, last: at(first), how };
            let seen = Unrecognised::of(&[tunnel()], &[(PointId(0), refused)], &sessions, std::slice::from_ref(&point));
            seen.servers.iter().map(|server| server.connections).sum::<u64>()
        };
        let (other, client) = ([198, 51, 100, 7], [192, 0, 2, 100]);
        assert_eq!(told(ends.server, other, 9.0, Wordless), 1);
        assert_eq!(told(ends.server, other, 9.0, Reset), 1);
        assert_eq!(told(ends.server, other, 59.5, Wordless), 0, "the capture ends");
        assert_eq!(told(ends.server, client, 9.0, Wordless), 0, "its session tells");
        assert_eq!(told(([192, 0, 2, 9], 443).into(), other, 9.0, Reset), 0, "another server");
    }
}
