//! First waist: what was seen. The only door down for everything above it.
//!
//! An [`Event`] says that something happened on the wire, when, in which frame and at which capture point. It never says
//! what that means. Plain packets, packets out of a decrypted tunnel and made-up ones in tests are the same events.

pub use crate::anyconnect::{Bye, PacketKind, Token, TunnelAnswer, TunnelRequest};
pub use crate::capture::vantage::Vantage;
pub use crate::capture::{FrameRef, Interface, LinkType, Timestamp};
pub use crate::flow::probe::{Passed, Sizes, SizesByDirection, Stuck};
pub use crate::flow::{Direction, Endpoints, Ends, FlowId, Protocol};
pub use crate::packet::Incomplete;
pub use crate::packet::icmp::{IcmpError, Quoted};
pub use crate::tls::cipher::{CipherSuite, Class};
pub use crate::tls::handshake::{ClientHello, ServerHello, SessionId};
pub use crate::tls::{Alert, Version};

use std::net::IpAddr;

/// One capture point: an interface of a capture, counted over the whole run from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointId(pub u16);

impl PointId {
    const INSIDE: u16 = 1 << 15;

    /// The point inside the decrypted tunnels that this one sees from outside; `None` for a point inside, or beyond the 32768th.
    pub fn inside(self) -> Option<PointId> {
        (!self.is_inside()).then_some(PointId(self.0 | PointId::INSIDE))
    }

    /// Is it inside decrypted tunnels?
    pub fn is_inside(self) -> bool {
        self.0 & PointId::INSIDE != 0
    }

    /// The point it was decrypted at.
    pub fn outer(self) -> PointId {
        PointId(self.0 & !PointId::INSIDE)
    }
}

/// The addresses that are an end of every packet of a capture point, as a filter by host leaves one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommonEnds {
    /// There was no packet yet.
    #[default]
    Any,
    /// These; none where there is no such address.
    Only([Option<IpAddr>; 2]),
}

impl CommonEnds {
    /// There is a frame without any such end.
    pub const NONE: CommonEnds = CommonEnds::Only([None, None]);

    /// Another packet has these ends.
    #[inline]
    pub fn note(&mut self, src: IpAddr, dst: IpAddr) {
        // With most captures that is soon the end of it.
        if !matches!(self, CommonEnds::Only([None, None])) {
            self.keep(CommonEnds::Only([Some(src), Some(dst)]));
        }
    }

    /// Keeps what both have in common.
    pub fn keep(&mut self, other: CommonEnds) {
        match (*self, other) {
            (_, CommonEnds::Any) => {}
            (CommonEnds::Any, other) => *self = other,
            (CommonEnds::Only(ends), CommonEnds::Only(others)) => {
                *self = CommonEnds::Only(ends.map(|end| end.filter(|_| others.contains(&end))));
            }
        }
    }

    /// They.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let ends = if let CommonEnds::Only(ends) = self { ends } else { [None, None] };
        ends.into_iter().flatten()
    }
}

/// Something seen.
#[derive(Debug)]
pub struct Event<'a> {
    /// When.
    pub at: Timestamp,
    /// In which frame.
    pub frame: FrameRef,
    /// At which capture point.
    pub point: PointId,
    /// What.
    pub what: What<'a>,
}

/// What was seen. Flow events are preceded by one [`What::Opened`] for their flow.
#[derive(Debug)]
#[non_exhaustive]
pub enum What<'a> {
    /// A flow became worth knowing: TLS or DTLS was recognised in it, or it carried a large packet. Its handshake is told when it ends.
    Opened(FlowId, &'a Opened),
    /// A flow ended, was replaced by a new one on the same ports, or the capture ended: its beginning once more, as far as it
    /// became known, and its totals.
    Ended(FlowId, &'a Opened, &'a Ended),
    /// A TCP end said it is done (FIN) or gave up (RST).
    Closed {
        /// The flow.
        flow: FlowId,
        /// The way the packet went.
        direction: Direction,
        /// The way of the first encrypted alert, if there was one: close_notify (RFC 5246 §7.2.1) or an error.
        alert: Option<Direction>,
        /// RST rather than FIN.
        reset: bool,
        /// Its TTL or hop limit.
        ttl: u8,
    },
    /// A TCP connection that nobody accepted; told when its flow ends.
    Refused(Refused),
    /// A TLS ClientHello.
    ClientHello(FlowId, &'a ClientHello),
    /// A TLS ServerHello.
    ServerHello(FlowId, &'a ServerHello),
    /// A TLS alert in the clear.
    TlsAlert(FlowId, Direction, Alert),
    /// A TLS application-data record of this many bytes (header not counted) is complete.
    TlsData(FlowId, Direction, u16),
    /// An HTTP CONNECT in front of the TLS asks a proxy for this host and port (RFC 9110 §9.3.6).
    ProxyConnect(FlowId, &'a str),
    /// A request of the login, or CONNECT, decrypted.
    TunnelRequest(FlowId, &'a TunnelRequest),
    /// An answer, decrypted.
    TunnelAnswer(FlowId, &'a TunnelAnswer),
    /// The session's token in an answer's body, decrypted.
    Token(FlowId, Token),
    /// A packet of the tunnel protocol, decrypted, over TLS or DTLS.
    Tunnelled(FlowId, Direction, TunnelPacket<'a>),
    /// The IP packet in it; its flow is told of by events of its own, at the point [`PointId::inside`].
    Inner(FlowId, Direction, &'a [u8]),
    /// What became of a flow's sealed records for which there were keys; told when the flow ends.
    Unsealed(FlowId, Unsealed),
    /// An encrypted handshake record behind application data: a renegotiation (RFC 5246 §7.4.1.1).
    TlsRenegotiation(FlowId, Direction),
    /// A DTLS handshake message in the clear, with its message sequence (RFC 6347 §4.2.2).
    DtlsHandshake(FlowId, Direction, u16, DtlsMessage<'a>),
    /// Any DTLS record.
    DtlsRecord(FlowId, Direction, DtlsRecordSeen),
    /// A DTLS alert in the clear.
    DtlsAlert(FlowId, Direction, Alert),
    /// STUN or SRTP on a flow: not AnyConnect.
    Media(FlowId),
    /// A QUIC Initial on UDP; `true` when it goes to the server.
    QuicInitial(FlowId, Direction),
    /// An IP packet with DF (or IPv6) of at least [`LARGE`] bytes in a flow that is neither TLS to a gateway nor DTLS.
    Large(FlowId, Large),
    /// A DTLS datagram as large that came without DF, or in fragments.
    Fragmentable(FlowId, Large),
    /// An ICMP error.
    Icmp(IcmpSeen),
    /// Fragmented datagrams between two hosts that never became whole; told when the capture ends.
    Incomplete(Incomplete),
    /// An IKE message (RFC 7296 §3.1): a VPN of another kind.
    Ike(FlowId),
}

/// A TCP connection on which nobody said anything.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// Who asked whom.
    pub endpoints: Endpoints,
    /// First SYN.
    pub first: Timestamp,
    /// Its frame.
    pub frame: FrameRef,
    /// When its last packet was seen.
    pub last: Timestamp,
    /// How far it came.
    pub how: Rejection,
}

/// How a TCP connection came to nothing before its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Nothing answered its SYN.
    Unanswered,
    /// A RST did.
    Reset,
    /// Nobody acknowledged the SYN-ACK.
    Unacknowledged,
    /// It was accepted, and stood open without a word.
    Wordless,
}

/// A packet of the tunnel protocol.
#[derive(Clone, Copy, Debug)]
pub struct TunnelPacket<'a> {
    /// What it is.
    pub kind: PacketKind,
    /// Bytes it carries, its own header not counted.
    pub len: u16,
    /// What it carries, unless that is an IP packet.
    pub payload: &'a [u8],
}

/// What became of sealed records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsealed {
    /// Opened.
    pub opened: u64,
    /// Not opened: the key does not fit, or not all of them were captured.
    pub failed: u64,
    /// How often something else stood where a CSTP packet had to begin.
    pub misframed: u32,
}

/// One machine takes no longer from one of its interfaces to another, though its clock count in milliseconds, nanoseconds.
pub const ONE_PLACE: i64 = 2_000_000;

/// From how many bytes on (IP header included) a DF packet is told one by one: every host must accept 576 (RFC 791 §3.1).
pub const LARGE: u32 = 577;

/// A flow's beginning.
#[derive(Clone, Debug)]
pub struct Opened {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Both ends: see [`Opened::endpoints`].
    pub ends: Ends,
    /// `tcp.stream` or `udp.stream`.
    pub stream: u32,
    /// When its first packet was seen.
    pub first: Timestamp,
    /// That packet's frame.
    pub first_frame: FrameRef,
    /// The TCP handshake, when any of it was seen.
    pub handshake: Option<Box<TcpHandshake>>,
    /// TTL or hop limit of the first packet each way; 0 when there was none.
    pub ttl: [u8; 2],
    /// Which way its first packet went that came in at the adapter of a tunnel, where the capture tells.
    pub from_adapter: Option<Direction>,
    /// The tunnel connection that carried its first packet, when it was decrypted.
    pub carrier: Option<FlowId>,
}

impl Opened {
    /// A flow of which nothing else is known.
    #[cfg(test)]
    pub fn bare(protocol: Protocol, endpoints: Endpoints, first: Timestamp) -> Opened {
        Opened {
            protocol,
            ends: Ends::new(endpoints),
            stream: 0,
            first,
            first_frame: FrameRef::default(),
            handshake: None,
            ttl: [0, 0],
            from_adapter: None,
            carrier: None,
        }
    }

    /// Both ends.
    pub fn endpoints(&self) -> Endpoints {
        self.ends.endpoints()
    }

    /// The SYN, when seen.
    pub fn syn(&self) -> Option<Syn> {
        self.handshake.as_ref()?.syn(Direction::ToServer)
    }

    /// The SYN-ACK, when seen.
    pub fn syn_ack(&self) -> Option<Syn> {
        self.handshake.as_ref()?.syn(Direction::ToClient)
    }

    /// When the handshake's last ACK was seen.
    pub fn third(&self) -> Option<Timestamp> {
        self.handshake.as_ref()?.third
    }

    /// TTL or hop limit of the first packet each way, when there was one.
    pub fn ttl(&self) -> [Option<u8>; 2] {
        self.ttl.map(|ttl| (ttl > 0).then_some(ttl))
    }
}

/// How a TCP connection opened, as far as that was seen: what SYN and SYN-ACK say lies side by side, which takes less room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpHandshake {
    at: [Option<Timestamp>; 2],
    /// When the last ACK was seen.
    pub third: Option<Timestamp>,
    numbers: [u32; 2],
    captures: [u16; 2],
    mss: [u16; 2],
    has_mss: [bool; 2],
    timestamps: [bool; 2],
}

impl TcpHandshake {
    /// The SYN, or toward the client the SYN-ACK.
    pub fn syn(&self, way: Direction) -> Option<Syn> {
        Some(Syn {
            at: (*way.of(&self.at))?,
            frame: FrameRef { capture: *way.of(&self.captures), number: *way.of(&self.numbers) },
            mss: way.of(&self.has_mss).then_some(*way.of(&self.mss)),
            timestamps: *way.of(&self.timestamps),
        })
    }

    /// Notes one that went that way, if it is the first.
    pub fn note(&mut self, way: Direction, Syn { at, frame, mss, timestamps }: Syn) {
        if way.of(&self.at).is_some() {
            return;
        }
        *way.of_mut(&mut self.at) = Some(at);
        (*way.of_mut(&mut self.captures), *way.of_mut(&mut self.numbers)) = (frame.capture, frame.number);
        (*way.of_mut(&mut self.mss), *way.of_mut(&mut self.has_mss)) = (mss.unwrap_or_default(), mss.is_some());
        *way.of_mut(&mut self.timestamps) = timestamps;
    }

    /// All its moments, to change them.
    pub fn moments_mut(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        self.at.iter_mut().chain([&mut self.third]).flatten()
    }
}

/// What a SYN or SYN-ACK says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syn {
    /// When.
    pub at: Timestamp,
    /// Frame.
    pub frame: FrameRef,
    /// MSS option, bytes.
    pub mss: Option<u16>,
    /// Timestamps option present: 12 bytes less payload per segment (RFC 7323 §3.2).
    pub timestamps: bool,
}

/// Sequence numbers of the first byte and of the one expected next, each way.
pub type Numbers = [Option<(u32, u32)>; 2];

/// A flow's totals.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// When its last packet was seen.
    pub last: Timestamp,
    /// That packet's frame.
    pub last_frame: FrameRef,
    /// Packets each way.
    pub packets: [u32; 2],
    /// TCP segments sent again, each way: seen twice, or filling a hole though they left after what waited behind it.
    pub retransmissions: [u32; 2],
    /// Segments sent again each way since anything last came the other way (TCP only), from the first small one on, up to 255; none
    /// behind FIN or RST.
    pub unheard: [u8; 2],
    /// The same since any new data came the other way: what is only acknowledged is no answer.
    pub in_vain: [u8; 2],
    /// TCP sequence numbers of the first byte and of the one expected next, each way; only of a connection whose beginning or end was
    /// not captured.
    pub numbers: Option<Box<Numbers>>,
    /// Time of the last packet each way.
    pub last_by_direction: [Option<Timestamp>; 2],
    /// What sizes got through each way (TCP only), in IP bytes.
    pub sizes: SizesByDirection,
    /// The longest silence before either side said something new that is longer than an alert, seconds (TCP only).
    pub silence: u32,
    pub(crate) seldom: Option<Box<SeldomInEnded>>,
}

/// What few flows show: kept apart, for there may be many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeldomInEnded {
    /// The longest time each way in which small segments were sent again three times or more and nothing came back, until something did
    /// (TCP only).
    pub lapses: [Option<Lapse>; 2],
    /// The longest time each way in which bytes were missing that their receiver missed too (TCP only).
    pub holes: [Option<Hole>; 2],
    /// The last bytes each way, if they never came though their sender went on behind them (TCP only).
    pub vanished: [Option<Vanished>; 2],
    /// When its client last said something, if its server acknowledged that or more and never said anything itself (TCP only).
    pub unanswered: Option<Timestamp>,
    /// Windows that each side closed, the segments that say so counted.
    pub zero_windows: [ZeroWindow; 2],
    /// Stretches of what was acknowledged that never showed: the capture lost them, not the network (TCP only).
    pub unseen: u32,
    /// Its packets were captured twice, at two distances from their sender: at two places whose captures were merged (TCP only).
    pub two_places: bool,
}

impl Ended {
    /// What few flows show.
    pub fn seldom(&self) -> &SeldomInEnded {
        const NOTHING: &SeldomInEnded = &SeldomInEnded {
            lapses: [None; 2],
            holes: [None; 2],
            vanished: [None; 2],
            unanswered: None,
            zero_windows: [ZeroWindow { segments: 0, centiseconds: 0 }; 2],
            unseen: 0,
            two_places: false,
        };
        self.seldom.as_deref().unwrap_or(NOTHING)
    }

    /// Says what few flows show, if this one does.
    pub fn add(&mut self, seldom: SeldomInEnded) {
        self.seldom = (seldom != SeldomInEnded::default()).then(|| Box::new(seldom));
    }

    /// Of [`SeldomInEnded::lapses`] the one of the side that sends that way.
    pub fn lapse(&self, sent: Direction) -> Option<Lapse> {
        *sent.of(&self.seldom().lapses)
    }
}

/// Bytes of a TCP connection that did not come while what was sent behind them did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hole {
    /// When something behind them first came, and in which frame.
    pub since: (Timestamp, FrameRef),
    /// When something behind them last came.
    pub until: Timestamp,
    /// How many they are.
    pub bytes: u32,
    /// Small segments from behind them that came a second after the first or later, bare acknowledgments too.
    pub behind: u32,
    /// As large ones came a second after the first or later.
    pub large_came: bool,
    /// Acknowledgments of their receiver, which end before them.
    pub missed: u32,
    /// None of them came until the end.
    pub is_left: bool,
}

impl Hole {
    /// How long it was there, seconds.
    pub fn seconds(&self) -> f64 {
        self.until.seconds_since(self.since.0)
    }
}

/// The last bytes of one side of a TCP connection: all that is known of them is that a later segment without data stands behind them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vanished {
    /// When the last bytes before them came.
    pub since: Timestamp,
    /// When the first segment behind them came, and in which frame.
    pub told: (Timestamp, FrameRef),
    /// How many they are.
    pub bytes: u32,
}

impl Vanished {
    /// How long none of them came, seconds.
    pub fn seconds(&self) -> f64 {
        self.told.0.seconds_since(self.since)
    }
}

/// What one side of a TCP connection had no room for (RFC 9293 §3.8.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZeroWindow {
    /// Its segments that announce a closed window, up to 65,535.
    pub segments: u16,
    /// How long its window was closed in all, hundredths of a second, up to 65,535.
    pub centiseconds: u16,
}

/// A time in which one side sent TCP segments again and again and heard nothing, though the connection went on afterwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lapse {
    /// First resend.
    pub first: (Timestamp, FrameRef),
    /// When something came back.
    pub until: Timestamp,
    /// Segments sent again, from the first small one on; or large ones alone.
    pub resent: u8,
    /// They were large ones of one size, of which one was acknowledged in the end.
    pub is_large: bool,
}

impl Lapse {
    /// From the first resend on.
    pub fn seconds(&self) -> f64 {
        self.until.seconds_since(self.first.0)
    }
}

/// A DTLS handshake message in the clear.
#[derive(Debug)]
pub enum DtlsMessage<'a> {
    /// ClientHello with the version of its record; told again for every retransmission.
    ClientHello(&'a ClientHello, Version),
    /// HelloVerifyRequest with its cookie, as far as captured.
    HelloVerifyRequest(&'a [u8]),
    /// ServerHello.
    ServerHello(&'a ServerHello),
    /// Certificate: a full handshake.
    Certificate,
    /// Any other message type.
    Other(u8),
}

/// A DTLS record's header.
#[derive(Clone, Copy, Debug)]
pub struct DtlsRecordSeen {
    /// Content type: 20 CCS, 21 alert, 22 handshake, 23 application data.
    pub content_type: u8,
    /// Version as on the wire.
    pub version: Version,
    /// Epoch.
    pub epoch: u16,
    /// 48-bit sequence number.
    pub sequence: u64,
    /// Fragment bytes.
    pub length: u16,
    /// IP total length of the datagram.
    pub ip_len: u32,
    /// A handshake message of this direction still lacks a piece.
    pub unfinished: bool,
    /// The snap length cut off what stands behind it in its datagram.
    pub cut_behind: bool,
}

/// A large packet.
#[derive(Clone, Copy, Debug)]
pub struct Large {
    /// Which way.
    pub direction: Direction,
    /// IP total length, bytes.
    pub ip_len: u32,
    /// For TCP: the same bytes were sent before.
    pub again: bool,
}

/// An ICMP error and who sent it.
#[derive(Clone, Copy, Debug)]
pub struct IcmpSeen {
    /// The error.
    pub error: IcmpError,
    /// Its sender.
    pub sender: IpAddr,
    /// The flow it quotes, when that flow was seen at this point, and which way the quoted packet went.
    pub quotes: Option<(FlowId, Direction)>,
}
