//! Events to sessions: what a VPN session was, as its user lived it. Everything a detector may know, and nothing it must decide.
//!
//! [`tracker`] folds events into [`facts`] about single flows; when the captures end, [`join`] puts flows seen at several points
//! together, [`inner`] finds the traffic inside the tunnels, [`limits`] says what a packet may measure,
//! [`stuck`] which packets never got through.

use crate::event::{
    CipherSuite, CommonEnds, Direction, Endpoints, FrameRef, Incomplete, Interface, LinkType, PointId, Refused,
    Timestamp, TunnelAnswer, Vantage, Version,
};
use crate::maps::HashSet;
use facts::{AttemptFacts, FlowFacts, IcmpFacts, View};
use few::{Few, Rare, Sole};
pub use oversized::Oversized;
pub use proof::Proof;
use reconnect::Announced;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use unrecognised::Unrecognised;

pub mod attempt;
pub mod beside;
pub mod clock;
pub mod coverage;
mod doubt;
mod eliminate;
pub mod facts;
mod few;
mod filter;
mod group;
pub mod heed;
pub mod inner;
pub mod join;
pub mod limits;
pub mod meetings;
mod mirror;
pub mod moves;
pub mod mtu;
mod openings;
mod oversized;
mod owners;
mod pace;
mod packed;
pub mod path;
mod places;
pub mod point;
pub mod proof;
pub mod reconnect;
mod replaced;
mod runs;
pub mod shape;
pub mod silence;
mod stretches;
pub mod stuck;
mod timing;
pub mod tracker;
mod twins;
pub mod unrecognised;
pub mod vanished;
mod volume;

/// How sure we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// One reading among several.
    #[default]
    Low,
    /// The likeliest reading; something could speak against it.
    Medium,
    /// Nothing seen speaks against it.
    High,
}

/// Who says a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Nobody: a default or the user's word.
    #[default]
    Assumed,
    /// Computed from something observed.
    Derived,
    /// A packet in the clear.
    Observed,
    /// A header read with keys.
    Decrypted,
}

/// Where a point stood, if that is known.
pub fn vantage(points: &[Point], point: PointId) -> Option<Vantage> {
    points.get(usize::from(point.0))?.vantage
}

/// One capture point of the run: an interface of a capture.
#[derive(Clone, Debug)]
pub struct Point {
    /// Its id.
    pub id: PointId,
    /// Index of the (first) capture it belongs to.
    pub capture: u16,
    /// The captures of one rotated set are one run of frames: index of the set.
    pub set: u16,
    /// What the file says about it.
    pub interface: Interface,
    /// Name for people: `if_name`, or the file's stem.
    pub name: String,
    /// Frames seen.
    pub frames: u64,
    /// Frames cut by the snap length.
    pub cut: u64,
    /// Bytes kept of the longest of them; the file may not tell, where they were cut later.
    pub cut_to: u32,
    /// Earliest and latest frame.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Where it stood, when known.
    pub vantage: Option<Vantage>,
    /// Who says so.
    pub vantage_basis: String,
    /// ICMP was seen here, so nothing filtered it out.
    pub saw_icmp: bool,
    /// UDP was seen here.
    pub saw_udp: bool,
    /// IP fragments were seen here.
    pub saw_fragments: bool,
    /// TCP segments without data were seen here: SYN, ACK, FIN, RST.
    pub saw_bare_tcp: bool,
    /// Frames of anything but TCP were seen here.
    pub saw_beyond_tcp: bool,
    /// Frames without ports other than ICMP were seen here: later fragments among them, or no IP at all.
    pub saw_portless: bool,
    /// What all packets seen here have in common.
    pub common_ends: CommonEnds,
    /// The file format tells the capture filter (pcapng does, pcap does not).
    pub tells_filter: bool,
    /// It holds packets of two places, whose captures were merged: what it shows of places and directions may be either's.
    pub is_merged: bool,
    /// Only one direction of the traffic passed here: a span of one port, a tap of one fibre, a filter with `src` or `dst`.
    pub one_way: bool,
    /// UDP passed here toward gateways only.
    pub udp_one_way: bool,
    /// What of TCP passed here, whatever DTLS shows.
    pub tcp: TcpSeen,
    /// TCP segments seen here, and those that were acknowledged and did not show, at least.
    pub segments: u64,
    /// See [`Point::unseen_share`].
    pub unseen: u64,
    /// Stretches of more than [`QUIET`] seconds without any frame, at most 64.
    pub quiet: Vec<(Timestamp, Timestamp)>,
    /// Frames earlier than one before them by more than [`STEP`]; see [`Point::stepped_back`].
    pub behind: Option<Behind>,
    /// It is the inner side of a point that saw both.
    pub other_side_of: Option<PointId>,
    /// It stands inside the tunnels that were decrypted at that point: what it shows is what went through them.
    pub decrypted_at: Option<PointId>,
}

/// A capture point without a frame for so long is quiet, seconds.
pub const QUIET: f64 = 30.0;

/// Frames of several interfaces may stand out of order by this much, nanoseconds; more is a clock that jumped.
pub const STEP: i64 = 1_000_000_000;

/// Frames in a row that are much earlier than the latest before them.
#[derive(Clone, Copy, Debug)]
pub struct Behind {
    /// From the earliest of them to that latest.
    pub span: (Timestamp, Timestamp),
    /// How many; single ones were only written late.
    frames: u32,
}

/// What of TCP a capture point shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcpSeen {
    /// All of it, as far as that can be told.
    #[default]
    Whole,
    /// One direction only.
    OneWay,
    /// Segments with data only: the rest was filtered out, as by a display filter for `tls`.
    OnlyData,
}

impl Point {
    /// The share of frames that the capture lost and does not own up to, as the segments tell that carry data: half of all, at least.
    pub fn unseen_share(&self) -> f64 {
        let unseen = self.unseen as f64;
        if self.unseen == 0 { 0.0 } else { unseen / (unseen + self.segments as f64 / 2.0) }
    }

    /// A point of which nothing is known yet.
    pub fn unknown(id: PointId, capture: u16, link: LinkType) -> Point {
        let interface = Interface { name: None, description: None, filter: None, link, snap_len: 0, dropped: None };
        Point {
            id,
            capture,
            set: capture,
            interface,
            name: String::new(),
            frames: 0,
            cut: 0,
            cut_to: 0,
            span: None,
            vantage: None,
            vantage_basis: String::new(),
            saw_icmp: false,
            saw_udp: false,
            saw_fragments: false,
            saw_bare_tcp: false,
            saw_beyond_tcp: false,
            saw_portless: false,
            common_ends: CommonEnds::Any,
            tells_filter: false,
            is_merged: false,
            one_way: false,
            udp_one_way: false,
            tcp: TcpSeen::default(),
            segments: 0,
            unseen: 0,
            quiet: Vec::new(),
            behind: None,
            other_side_of: None,
            decrypted_at: None,
        }
    }

    /// Notes a frame that is not later than all before it.
    pub fn note_earlier(&mut self, at: Timestamp) {
        let Some((_, latest)) = self.span.filter(|(_, latest)| latest.nanos_since(at) > STEP) else { return };
        self.behind = Some(match self.behind {
            Some(Behind { span: (to, from), frames }) if from == latest || frames >= Point::IN_A_ROW => {
                Behind { span: (to.min(at), from.max(latest)), frames: frames.saturating_add(1) }
            }
            _ => Behind { span: (at, latest), frames: 1 },
        });
    }

    /// So many frames in a row behind the latest are no reordering.
    const IN_A_ROW: u32 = 3;

    /// Its clock stepped back: to the first moment, from the second.
    pub fn stepped_back(&self) -> Option<(Timestamp, Timestamp)> {
        self.behind.filter(|behind| behind.frames >= Point::IN_A_ROW).map(|behind| behind.span)
    }

    /// Had its capture begun by the first moment, and not ended before the other?
    pub fn was_capturing(&self, from: Timestamp, until: Timestamp) -> bool {
        self.span.is_some_and(|(first, last)| first <= from && until <= last)
    }

    /// The point inside the tunnels decrypted at this one.
    pub fn inside(&self, id: PointId) -> Point {
        Point {
            id,
            frames: 0,
            vantage: Some(Vantage::VirtualAdapter),
            vantage_basis: format!("decrypted at {}", self.name),
            saw_icmp: false,
            saw_udp: false,
            saw_fragments: false,
            saw_bare_tcp: false,
            saw_beyond_tcp: false,
            saw_portless: false,
            common_ends: CommonEnds::Any,
            decrypted_at: Some(self.id),
            ..self.clone()
        }
    }

    /// The inner side of this point, which saw both.
    pub fn other_side(&self, id: PointId) -> Point {
        let vantage = if self.vantage == Some(Vantage::Client) { Vantage::VirtualAdapter } else { Vantage::Inside };
        Point {
            id,
            frames: 0,
            vantage: Some(vantage),
            vantage_basis: format!("packets that the tunnels at {} carried passed there too", self.name),
            other_side_of: Some(self.id),
            ..self.clone()
        }
    }

    /// The vantage's word, or `unknown`.
    pub fn vantage_word(&self) -> &'static str {
        self.vantage.map_or("unknown", Vantage::word)
    }
}

/// A session in a list of them: large, so that it stays where it is when the list grows or is sorted.
pub type Entry = Box<Session>;

/// One VPN session.
#[derive(Debug)]
pub struct Session {
    /// The client's outer address (its inner one when only the inside was captured).
    pub client: IpAddr,
    /// The gateway's outer address; absent when only the inside was captured.
    pub gateway: Option<IpAddr>,
    /// The gateway's TCP port, or UDP port without TLS.
    pub port: u16,
    /// First packet.
    pub start: Timestamp,
    /// Last packet.
    pub end: Timestamp,
    /// What says that this is AnyConnect.
    pub identified_by: Proof,
    /// How sure that is.
    pub confidence: Confidence,
    /// What else it could have been.
    pub ambiguities: Rare<String>,
    /// TLS connections, in order of start.
    pub connections: Sole<Connection>,
    /// DTLS flows, in order of start.
    pub dtls: Sole<DtlsFlow>,
    /// Flows inside the tunnel.
    pub inner: Few<InnerFlow>,
    /// The client's inner addresses.
    pub inner_addresses: Rare<IpAddr>,
    /// ICMP errors about its packets.
    pub icmp: Rare<Icmp>,
    /// What a packet may measure.
    pub limits: Rare<Limit>,
    /// Packets above the limit in force.
    pub oversized: Rare<Oversized>,
    /// New tunnel connections.
    pub reconnects: Rare<reconnect::Reconnect>,
    /// The gateway its client left just before it came here.
    pub came_from: Option<Box<moves::Hop>>,
    /// See [`Session::beside`].
    beside: Option<Box<beside::Neighbourhood>>,
}

/// The role of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Login only (Cisco's parent tunnel).
    Parent,
    /// Carries the tunnel.
    Tunnel,
    /// Login and tunnel on one connection (openconnect).
    ParentAndTunnel,
}

impl Role {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Role::Parent => "parent",
            Role::Tunnel => "tunnel",
            Role::ParentAndTunnel => "parent+tunnel",
        }
    }

    /// Does it carry tunnel data?
    pub fn is_tunnel(self) -> bool {
        self != Role::Parent
    }
}

/// One TLS connection, seen at one or more points.
#[derive(Debug)]
pub struct Connection {
    /// What it was for.
    pub role: Role,
    /// The views, client end first; never empty.
    pub views: Sole<View>,
}

/// One DTLS flow, seen at one or more points.
#[derive(Debug)]
pub struct DtlsFlow {
    /// The views, client end first; never empty.
    pub views: Sole<View>,
    /// It goes on, from another address or port, where the flow that began then stopped: no handshake of its own.
    pub continues: Option<Timestamp>,
}

/// One flow inside the tunnel, seen at one point.
#[derive(Debug)]
pub struct InnerFlow {
    /// What it showed.
    pub facts: View,
    /// Which of its directions goes to the VPN client.
    pub toward_client: Direction,
}

impl InnerFlow {
    /// The VPN client's end and the other one.
    pub fn ends(&self) -> (std::net::SocketAddr, std::net::SocketAddr) {
        let Endpoints { client, server } = self.facts.opened.endpoints();
        match self.toward_client {
            Direction::ToClient => (client, server),
            Direction::ToServer => (server, client),
        }
    }

    /// Its large packets to the VPN client.
    pub fn large_toward_client(&self) -> impl Iterator<Item = &facts::Run> {
        self.toward_client.of(&self.facts.large).iter()
    }

    /// The MTU of an adapter that announces that MSS in this flow, bytes.
    pub fn mtu_for(&self, mss: u16) -> u32 {
        u32::from(mss) + limits::headers(self.ends().0.ip())
    }

    /// MSS the VPN client's side announced in its SYN or SYN-ACK, bytes.
    pub fn client_mss(&self) -> Option<(u16, FrameRef, Timestamp)> {
        let opened = &self.facts.opened;
        let syn = match self.toward_client {
            Direction::ToClient => opened.syn(),
            Direction::ToServer => opened.syn_ack(),
        }?;
        Some((syn.mss?, syn.frame, syn.at))
    }
}

/// ICMP errors about packets of a session.
#[derive(Debug)]
pub struct Icmp {
    /// What was seen.
    pub facts: IcmpFacts,
    /// About inner packets rather than outer ones.
    pub inner: bool,
    /// The quoted packet went to the client.
    pub toward_client: bool,
}

/// A channel a limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Inner packets through the TLS tunnel.
    Tls,
    /// Inner packets through the DTLS tunnel.
    Dtls,
    /// Inner packets, whichever tunnel.
    Inner,
    /// Outer TCP packets.
    OuterTcp,
    /// Outer UDP packets.
    OuterUdp,
}

impl Channel {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Channel::Tls => "tls",
            Channel::Dtls => "dtls",
            Channel::Inner => "inner",
            Channel::OuterTcp => "outer-tcp",
            Channel::OuterUdp => "outer-udp",
        }
    }
}

/// What a packet may measure.
#[derive(Clone, Debug)]
pub struct Limit {
    /// On which channel.
    pub channel: Channel,
    /// Bytes, IP header included.
    pub bytes: u32,
    /// Who says so.
    pub basis: Basis,
    /// Where the number comes from, with its terms.
    pub source: String,
    /// From when on.
    pub since: Option<Timestamp>,
    /// Until when, when another took its place.
    pub until: Option<Timestamp>,
    /// Frames that show it.
    pub frames: Vec<FrameRef>,
    /// Findings are judged by it.
    pub in_force: bool,
}

impl Limit {
    /// Nobody says it: it is what sizes that passed and sizes that never did leave.
    pub fn is_bracket(&self) -> bool {
        self.source.starts_with("at most")
    }
}

impl Connection {
    /// The view from the client's end, or the nearest to it.
    #[expect(clippy::indexing_slicing, reason = "views are never empty")]
    pub fn best(&self) -> &FlowFacts {
        &self.views[0]
    }

    /// First packet seen anywhere.
    pub fn start(&self) -> Timestamp {
        self.views.iter().map(|v| v.opened.first).min().unwrap_or_default()
    }

    /// Last packet seen anywhere.
    pub fn end(&self) -> Timestamp {
        self.views.iter().map(|v| v.ended.last).max().unwrap_or_default()
    }

    /// When it was closed, or else last seen: a gateway that hung may answer long after.
    pub fn left(&self) -> Timestamp {
        self.views.iter().map(|v| v.end()).max().unwrap_or_default()
    }

    /// Was its beginning captured: a SYN or a hello?
    pub fn begins_here(&self) -> bool {
        self.views.iter().any(|view| group::begins_here(view))
    }

    /// Are its frames cut too short to read any of its TLS?
    pub fn is_unread(&self) -> bool {
        group::are_unread(&self.views)
    }

    /// Version and suite, when a ServerHello was seen.
    pub fn settled(&self) -> Option<facts::ServerHelloFacts> {
        self.views.iter().find_map(|v| v.tls.as_ref()?.server_hello)
    }

    /// When the records of its set-up, which are no data of the user, are over.
    pub fn set_up_until(&self) -> Timestamp {
        /// What follows the ServerHello at once, seconds.
        const SET_UP: f64 = 1.0;
        self.settled().map_or(self.start(), |settled| settled.at).plus_seconds(SET_UP)
    }

    /// Last application-data record either way.
    pub fn last_data(&self) -> Option<Timestamp> {
        self.data_times().map(|(_, last)| last)
    }

    /// First application-data record either way.
    pub fn first_data(&self) -> Option<Timestamp> {
        self.data_times().map(|(first, _)| first)
    }

    fn data_times(&self) -> Option<(Timestamp, Timestamp)> {
        let all = || self.views.iter().filter_map(|v| v.tls.as_ref()).flat_map(|t| t.data.iter());
        let first = all().filter_map(|d| d.first).min()?;
        let last = all().filter_map(|d| d.last).map(|(at, _)| at).max()?;
        Some((first, last))
    }

    /// MSS of SYN and SYN-ACK at the best view, bytes.
    pub fn mss(&self) -> [Option<u16>; 2] {
        let opened = &self.best().opened;
        [opened.syn().and_then(|s| s.mss), opened.syn_ack().and_then(|s| s.mss)]
    }

    /// What was read inside it with keys, where most was.
    pub fn inside(&self) -> Option<&facts::InsideTls> {
        self.read_at().map(|(_, inside)| inside)
    }

    /// The same with the view it was read in: the client's, of those that show as much.
    pub fn read_at(&self) -> Option<(&FlowFacts, &facts::InsideTls)> {
        let read = self.views.iter().rev().filter_map(|v| Some((&**v, v.tls.as_ref()?.inside()?)));
        read.max_by_key(|(_, inside)| (inside.granted().is_some(), inside.packets.unsealed.opened))
    }

    /// The answer that granted its tunnel, read with keys.
    pub fn granted(&self) -> Option<&(Timestamp, FrameRef, TunnelAnswer)> {
        self.inside()?.granted()
    }

    /// The DISCONNECT or TERMINATE in it, read with keys.
    pub fn bye(&self) -> Option<&facts::Parting> {
        self.inside()?.packets.bye.as_ref()
    }

    /// The first RST, if that ended it: behind a goodbye it only puts an end to what was over.
    pub fn reset(&self) -> Option<(&View, facts::Closed)> {
        let resets = self.views.iter().filter_map(|v| Some((v, v.closed().filter(|c| c.reset)?)));
        let first = resets.min_by_key(|(_, c)| c.at);
        first.filter(|(_, closed)| self.bye().is_none_or(|bye| bye.at > closed.at))
    }

    /// Host and port that its client asked a proxy for: the other end is that proxy, not the gateway.
    pub fn proxied_to(&self) -> Option<&str> {
        self.views.iter().find_map(|v| v.tls.as_ref()?.seldom().proxied_to.as_deref())
    }

    /// Usable TCP payload per segment: the smaller MSS, less 12 when timestamps are agreed (protocol: limit from visible bytes).
    /// The gateway reckons with its own connection: through a proxy that is another one.
    pub fn effective_mss(&self) -> Option<(u16, bool)> {
        if self.proxied_to().is_some() {
            return None;
        }
        let opened = &self.best().opened;
        let (syn, ack) = (opened.syn()?, opened.syn_ack()?);
        let mss = syn.mss?.min(ack.mss?);
        let timestamps = syn.timestamps && ack.timestamps;
        Some((mss, timestamps))
    }
}

impl DtlsFlow {
    /// The view from the client's end, or the nearest to it.
    #[expect(clippy::indexing_slicing, reason = "views are never empty")]
    pub fn best(&self) -> &FlowFacts {
        &self.views[0]
    }

    /// First packet seen anywhere.
    pub fn start(&self) -> Timestamp {
        self.views.iter().map(|v| v.opened.first).min().unwrap_or_default()
    }

    /// Last packet seen anywhere.
    pub fn end(&self) -> Timestamp {
        self.views.iter().map(|v| v.ended.last).max().unwrap_or_default()
    }

    /// Did it carry protected records both ways at any point, not only to be rejected, nor waited for in vain elsewhere?
    pub fn worked(&self) -> bool {
        let works = |d: &facts::DtlsFacts| d.protected.iter().all(Option::is_some) && d.rejected().is_none();
        let seen = || self.views.iter().filter_map(|v| v.dtls.as_deref());
        seen().any(works) && !seen().any(|d| d.waits().is_some())
    }

    /// Did it come up, in the capture or before?
    pub fn came_up(&self) -> bool {
        self.worked() || self.was_up()
    }

    /// Did data records go over it both ways at any point?
    pub fn carries(&self) -> bool {
        self.views.iter().filter_map(|v| v.dtls.as_deref()).any(|dtls| dtls.last().iter().all(Option::is_some))
    }

    /// The client sends data over it, as it does only when it is up, but none of the answers shows?
    pub fn is_half_seen(&self) -> bool {
        let seen = || self.views.iter().filter_map(|v| v.dtls.as_deref());
        let is_sent = seen().any(|dtls| !dtls.attempts.is_empty() && *Direction::ToServer.of(&dtls.records) > 0);
        is_sent && !self.came_up() && seen().flat_map(|dtls| &dtls.attempts).all(|a| a.server_hellos() == 0)
    }

    /// Was it up before the capture, as far as any point shows?
    pub fn was_up(&self) -> bool {
        self.views.iter().filter_map(|v| v.dtls.as_deref()).all(facts::DtlsFacts::was_up)
    }

    /// From the first protected record on either way to the last data.
    pub fn lived(&self) -> Option<[Timestamp; 2]> {
        let seen = || self.views.iter().filter_map(|v| v.dtls.as_deref());
        let from = seen().flat_map(|dtls| dtls.protected).flatten().min()?;
        let data = seen().flat_map(|dtls| dtls.last()).flatten().map(|(at, _)| at).max();
        Some([from, data.map_or(from, |at| at.max(from))])
    }

    /// Handshake attempts of all views: point, facts.
    pub fn attempts(&self) -> impl Iterator<Item = (&FlowFacts, &AttemptFacts)> {
        self.views.iter().flat_map(|v| v.dtls.iter().flat_map(move |d| d.attempts.iter().map(move |a| (&**v, a))))
    }

    /// The packets read in it with keys, where most was.
    pub fn inside(&self) -> Option<&facts::Packets> {
        self.read_at().map(|(_, packets)| packets)
    }

    /// The same with the view they were read in: the client's, of those that show as much.
    pub fn read_at(&self) -> Option<(&FlowFacts, &facts::Packets)> {
        let read = self.views.iter().rev().filter_map(|view| Some((&**view, view.packets()?)));
        read.max_by_key(|(_, packets)| packets.unsealed.opened)
    }

    /// Version last seen.
    pub fn version(&self) -> Option<Version> {
        self.views.iter().find_map(|v| v.dtls.as_ref()?.version)
    }

    /// Suite of a ServerHello.
    pub fn suite(&self) -> Option<CipherSuite> {
        self.attempts().find_map(|(_, a)| a.suite)
    }
}

impl Session {
    /// ICMP errors about packets toward the client that were too big: to the sender of the first of them at that point.
    pub fn icmp_due(&self, over: &Oversized) -> coverage::Sight {
        let there = self.inner.iter().filter(|f| f.facts.point == over.point);
        let above = there
            .filter_map(|f| Some((f.large_toward_client().find(|run| run.size > over.limit)?.first, f.ends().1.ip())));
        let to = above.min().map(|(_, sender)| sender);
        coverage::Sight::Icmp { v6: to.is_some_and(|to| to.is_ipv6()), to }
    }

    /// A session of which nothing but its ends is known.
    pub fn new(client: IpAddr, gateway: Option<IpAddr>, port: u16, identified_by: Proof) -> Session {
        Session {
            client,
            gateway,
            port,
            start: Timestamp::default(),
            end: Timestamp::default(),
            identified_by,
            confidence: Confidence::Low,
            ambiguities: Rare::default(),
            connections: Sole::default(),
            dtls: Sole::default(),
            inner: Few::default(),
            inner_addresses: Rare::default(),
            icmp: Rare::default(),
            limits: Rare::default(),
            oversized: Rare::default(),
            reconnects: Rare::default(),
            came_from: None,
            beside: None,
        }
    }

    /// What was seen beside it and bears on it.
    pub fn beside(&self) -> &beside::Neighbourhood {
        self.beside.as_deref().unwrap_or(beside::Neighbourhood::NOTHING)
    }

    /// Notes how it is known whose the inner traffic is.
    fn note_inner(&mut self, whose: beside::Whose) {
        self.beside.get_or_insert_default().inner = whose;
    }

    /// Tunnel connections (not the parents), in order of start.
    pub fn tunnels(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().filter(|c| c.role.is_tunnel())
    }

    /// The DTLS of a tunnel that was there before the capture, and whose TLS connection does not show, where the client came back and
    /// opened the first one that does.
    pub fn dtls_of_before(&self) -> Option<&DtlsFlow> {
        let tunnel = self.tunnels().next().filter(|tunnel| tunnel.begins_here())?;
        self.dtls.first().filter(|flow| flow.was_up() && flow.continues.is_none() && flow.start() < tunnel.start())
    }

    /// The tunnel connection in force at that moment: the last one begun by then, or else one that began before the capture and was
    /// silent until later.
    pub fn tunnel_at(&self, at: Timestamp) -> Option<&Connection> {
        let first = || self.tunnels().next().filter(|c| !c.begins_here());
        self.tunnels().filter(|c| c.start() <= at).last().or_else(first)
    }

    /// Answers to CONNECT that granted a tunnel, read with keys, in order of time; each once however many points saw it.
    pub fn granted(&self) -> impl Iterator<Item = &(Timestamp, FrameRef, TunnelAnswer)> {
        self.tunnels().filter_map(Connection::granted)
    }

    /// DTLS flows that lived when that tunnel connection opened, or came later.
    pub fn dtls_since<'a>(&'a self, tunnel: &'a Connection) -> impl Iterator<Item = &'a DtlsFlow> + Clone {
        self.dtls.iter().filter(|flow| flow.end() >= tunnel.start())
    }

    /// Does DTLS get no answer at all when it is first set up from that moment on?
    pub fn is_dtls_unanswered_from(&self, at: Timestamp) -> bool {
        let next = self.dtls.iter().find(|flow| flow.start() >= at && flow.attempts().next().is_some());
        next.is_some_and(|next| !next.came_up() && !next.attempts().any(|(_, attempt)| attempt.came_back()))
    }

    /// ICMP errors that say a packet did not fit.
    pub fn frag_needed(&self) -> impl Iterator<Item = &Icmp> {
        self.icmp.iter().filter(|icmp| icmp.facts.error.is_frag_needed())
    }

    /// Those that tell what the outer path or the tunnel carries. What came back about the client's own inner packets limits the way to
    /// the server they were for, and nothing else.
    pub fn limiting(&self) -> impl Iterator<Item = &Icmp> {
        self.frag_needed().filter(|icmp| !icmp.inner || icmp.toward_client)
    }

    /// Those about the tunnel.
    pub fn refused_by_tunnel(&self) -> impl Iterator<Item = &Icmp> {
        self.limiting().filter(|icmp| icmp.inner)
    }

    /// What the client's side announced in its inner SYNs and SYN-ACKs, and in which flow. Toward a server behind a smaller MTU that the
    /// client was told of it announces less, which says nothing of its adapter.
    pub fn announced(&self) -> impl Iterator<Item = (Announced, &InnerFlow)> {
        let told = self.frag_needed().filter(|icmp| icmp.inner && !icmp.toward_client);
        let narrow: BTreeSet<IpAddr> = told.map(|icmp| icmp.facts.quoted.dst).collect();
        let flows = self.inner.iter().filter(move |flow| !narrow.contains(&flow.ends().1.ip()));
        flows.filter_map(|flow| Some((flow.client_mss()?, flow)))
    }

    /// The largest IP packet read inside its tunnels with keys, bytes; `None` when none was.
    pub fn largest_read(&self) -> Option<u16> {
        let tls = self.connections.iter().filter_map(Connection::inside).map(|inside| &inside.packets);
        let packets = tls.chain(self.dtls.iter().filter_map(DtlsFlow::inside));
        packets.flat_map(|packets| packets.largest).max().filter(|bytes| *bytes > 0)
    }

    /// Host and port of the gateway when a proxy stands between.
    pub fn proxied_to(&self) -> Option<&str> {
        self.connections.iter().find_map(Connection::proxied_to)
    }

    /// The TTL that one side's packets have where a view of one of its connections was captured, as they had before that moment: a
    /// connection that was idle until then leaves it to the others there.
    pub fn usual_ttl(&self, view: &FlowFacts, side: Direction, before: Timestamp) -> Option<u8> {
        let ttl = |view: &FlowFacts| *side.of(&view.opened.ttl());
        let opening = match side {
            Direction::ToServer => view.opened.syn(),
            Direction::ToClient => view.opened.syn_ack(),
        };
        let spoke = view.tls.as_ref().and_then(|tls| side.of(&tls.data).first);
        if opening.is_some() || spoke.is_some_and(|at| at < before) {
            return ttl(view);
        }
        let server = view.opened.endpoints().server.ip();
        let is_beside = |other: &&FlowFacts| {
            !std::ptr::eq(*other, view)
                && other.point == view.point
                && other.opened.endpoints().server.ip() == server
                && other.opened.first < before
        };
        self.outer_views().filter(is_beside).find_map(ttl).or_else(|| ttl(view))
    }

    /// The client's own address and the one the gateway sees, where captures at both ends show an address translation.
    pub fn nat(&self) -> Option<(IpAddr, IpAddr)> {
        let groups = self.connections.iter().map(|c| &c.views).chain(self.dtls.iter().map(|d| &d.views));
        groups
            .filter_map(|views| near_and_far(views))
            .map(|(near, far)| (near.client.ip(), far.client.ip()))
            .find(|(near, far)| near != far)
    }

    /// The gateway's own address, where captures at both ends show that the client asks another one, which forwards TCP to it.
    pub fn forwarded_to(&self) -> Option<IpAddr> {
        let mut ends = self.connections.iter().filter_map(|c| near_and_far(&c.views));
        ends.find(|(near, far)| near.server.ip() != far.server.ip()).map(|(_, far)| far.server.ip())
    }

    /// Ids of all points at which something of this session was seen, unordered, and one as often as something was seen there.
    pub fn seen_at(&self) -> impl Iterator<Item = PointId> {
        let inside = self.inner.iter().map(|flow| &*flow.facts);
        let views = self.outer_views().chain(inside).map(|view| view.point);
        views.chain(self.icmp.iter().map(|error| error.facts.point))
    }
}

/// A flow's ends, as the point nearest to the client and the one farthest from it show them, if there are several.
fn near_and_far(views: &[View]) -> Option<(Endpoints, Endpoints)> {
    let [near, .., far] = views else { return None };
    Some((near.opened.endpoints(), far.opened.endpoints()))
}

/// The link type's name for reports.
pub fn link_name(link: LinkType) -> String {
    link.to_string()
}

/// What a run's facts make together.
#[derive(Debug)]
pub struct Assembled {
    /// The sessions, in order of start, yet to be judged: see [`Session::judge`].
    pub sessions: Vec<Entry>,
    /// Captures whose clock is off, already corrected in the sessions.
    pub clocks: Vec<clock::Offset>,
    /// Hosts between which IKE was seen: a VPN that is not looked at.
    pub ike: BTreeSet<(IpAddr, IpAddr)>,
    /// Who talked over DTLS that was up before the capture, and with whom, where nothing tells that it is AnyConnect.
    pub late: BTreeSet<(IpAddr, SocketAddr)>,
    /// TLS beside it all, where there is no session; else what others ask of its gateways in vain.
    pub unrecognised: Unrecognised,
    /// What looks like the inside of a tunnel, and was not believed to be.
    pub unclaimed: Vec<inner::Unclaimed>,
    /// Fragmentation Needed about packets of no session.
    pub strays: Vec<IcmpFacts>,
}

/// Puts the sessions of a run together from all its facts, and settles where the points stood.
pub fn assemble(
    mut flows: Vec<View>,
    mut icmp: Vec<IcmpFacts>,
    incomplete: Vec<(PointId, Incomplete)>,
    mut refused: Vec<(PointId, Refused)>,
    mut meetings: Vec<meetings::Meeting>,
    points: &mut Vec<Point>,
) -> Assembled {
    // A first guess from every TLS and DTLS flow orders the views; the sessions themselves then settle it.
    let (mut guess, mut seen) = (points.to_vec(), coverage::Seen::default());
    let noted = flows.iter().inspect(|flow| seen.note(flow));
    point::infer(&mut guess, noted.map(|flow| (&**flow, join::may_be_outer(flow))));
    seen.settle(points.iter_mut().chain(&mut guess));
    let twins = twins::Twins::of(&flows, points);
    let clocks = clock::align(&mut flows, &mut icmp, &mut refused, points, &guess, &twins);
    let join::Joined { mut sessions, mut others } = join::sessions(flows, &guess, &twins);
    moves::settle(&mut sessions, &mut others, &guess);
    join::late_clients(&mut sessions, &mut others, &guess, &twins);
    point::find_merged(points, &sessions);
    let outer = sessions.iter().flat_map(|s| s.outer_views()).map(|view| (view, true));
    point::infer(points, outer.chain(others.iter().map(|flow| (&**flow, false))));
    if points.len() > 1 {
        sessions.iter_mut().for_each(|session| session.sort_views(points));
    }
    let ike = others.iter().filter(|f| f.ike).map(|f| f.opened.endpoints().addresses()).collect();
    let late = others.iter().filter(|f| join::is_late_talk(f)).map(|f| f.opened.endpoints());
    let late = late.map(|ends| (ends.client.ip(), ends.server)).collect();
    let unrecognised = Unrecognised::of(&others, &refused, &sessions, points);
    beside::attach(&mut sessions, &others, &refused, &incomplete);
    let (outer, pace) = (outer_addresses(&sessions), pace::Pace::default());
    mirror::part(&sessions, &outer, &mut others, &mut icmp, &mut meetings, &pace, points);
    let unclaimed = inner::attach(&mut sessions, outer, others, &icmp, &meetings, &pace, points);
    drop(pace);
    let strays = inner::attach_icmp(&mut sessions, icmp);
    point::infer_inner(points, &sessions);
    Assembled { sessions, clocks, unclaimed, strays, ike, late, unrecognised }
}

/// The addresses of the tunnels' ends.
fn outer_addresses(sessions: &[Entry]) -> HashSet<IpAddr> {
    sessions.iter().flat_map(|s| [Some(s.client), s.gateway]).flatten().collect()
}

impl Session {
    /// What sessions stand in order of.
    fn order(&self) -> (Timestamp, IpAddr, Option<IpAddr>, u16) {
        (self.start, self.client, self.gateway, self.port)
    }

    /// Finds its reconnects and what its packets may measure, once the points are settled.
    pub fn judge(&mut self, told: limits::Told, points: &[Point]) {
        self.reconnects = reconnect::find(self, points).into();
        limits::judge(self, told, points);
    }

    /// Forgets what [`Session::judge`] found: much of it can be found again.
    pub fn forget(&mut self) {
        (self.reconnects, self.limits, self.oversized) = (Rare::default(), Rare::default(), Rare::default());
    }

    /// All outer flows of it, as each point saw them.
    pub fn outer_views(&self) -> impl Iterator<Item = &FlowFacts> {
        let tls = self.connections.iter().flat_map(|c| &c.views);
        tls.chain(self.dtls.iter().flat_map(|d| &d.views)).map(|view| &**view)
    }

    /// Records that its tunnels carried, DPD and keepalive included, as the point tells that saw most.
    fn records(&self) -> u64 {
        let all = |view: &View| view.records().map(u64::from).iter().sum::<u64>();
        let views = self.tunnels().map(|c| &c.views).chain(self.dtls.iter().map(|d| &d.views));
        views.map(|views| views.iter().map(all).max().unwrap_or(0)).sum()
    }

    /// Client end first.
    fn sort_views(&mut self, points: &[Point]) {
        let rank = |view: &FlowFacts| {
            let vantage = vantage(points, view.point);
            (vantage.map_or(2, |v| u8::from(v != Vantage::Client)), view.point)
        };
        for connection in &mut self.connections {
            connection.views.sort_by_key(|view| rank(view));
        }
        for flow in &mut self.dtls {
            flow.views.sort_by_key(|view| rank(view));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_back_is_told_from_frames_written_late() {
        let stepped = |earlier: &[(f64, f64)]| {
            let at = |seconds| Timestamp::default().plus_seconds(seconds);
            let mut point = Point::unknown(PointId(0), 0, LinkType(1));
            for (latest, frame) in earlier {
                point.span = Some((at(0.0), at(*latest)));
                point.note_earlier(at(*frame));
            }
            point.stepped_back().map(|(to, from)| from.seconds_since(to))
        };
        assert_eq!(stepped(&[(90.0, 32.0), (90.0, 31.0), (90.0, 40.0)]), Some(59.0));
        assert_eq!(stepped(&[(20.0, 12.0), (30.0, 22.0), (40.0, 32.0)]), None, "one by one");
        assert_eq!(stepped(&[(20.0, 19.5), (20.0, 19.6), (20.0, 19.7)]), None, "hardly");
    }
}
