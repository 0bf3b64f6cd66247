//! What was read inside a tunnel with keys.

use crate::event::{
    Bye, Direction, FrameRef, PacketKind, Timestamp, Token, TunnelAnswer, TunnelPacket, TunnelRequest, Unsealed,
};

/// Session tokens remembered per connection.
const MAX_TOKENS: usize = 4;

/// What was read inside a TLS connection.
#[derive(Debug, Default)]
pub struct InsideTls {
    /// CONNECT.
    pub request: Option<(Timestamp, FrameRef, TunnelRequest)>,
    /// Its answer.
    pub answer: Option<(Timestamp, FrameRef, TunnelAnswer)>,
    /// The session tokens said in it, at most [`MAX_TOKENS`].
    pub tokens: Vec<Token>,
    /// The packets behind CONNECT.
    pub packets: Packets,
}

impl InsideTls {
    /// Notes a token.
    pub fn add_token(&mut self, token: Token) {
        if self.tokens.len() < MAX_TOKENS && !self.tokens.contains(&token) {
            self.tokens.push(token);
        }
    }

    /// The answer that granted a tunnel.
    pub fn granted(&self) -> Option<&(Timestamp, FrameRef, TunnelAnswer)> {
        self.answer.as_ref().filter(|(_, _, answer)| answer.status == 200)
    }
}

/// Packets of the tunnel protocol, read with keys.
#[derive(Clone, Debug, Default)]
pub struct Packets {
    /// By direction, then by [`PacketKind::index`].
    pub counts: [[u32; PacketKind::COUNTED]; 2],
    /// The largest IP packet in a data packet each way, bytes.
    pub largest: [u16; 2],
    /// DPD round trips, by the direction of the request.
    pub dpd: [RoundTrips; 2],
    /// The first DISCONNECT or TERMINATE.
    pub bye: Option<Parting>,
    /// What became of the records.
    pub unsealed: Unsealed,
}

/// A DISCONNECT or TERMINATE.
#[derive(Clone, Debug)]
pub struct Parting {
    /// When.
    pub at: Timestamp,
    /// In which frame.
    pub frame: FrameRef,
    /// Which way.
    pub direction: Direction,
    /// TERMINATE rather than DISCONNECT.
    pub is_terminate: bool,
    /// What it says.
    pub bye: Bye,
}

impl Parting {
    /// For people: who said what.
    pub fn words(&self) -> String {
        let by = if self.direction == Direction::ToServer { "client" } else { "gateway" };
        let kind = if self.is_terminate { "TERMINATE" } else { "DISCONNECT" };
        let reason = self.bye.reason.map_or(String::new(), |reason| format!(" 0x{reason:02x}"));
        let text = if self.bye.text.is_empty() { String::new() } else { format!(", \"{}\"", self.bye.text) };
        format!("{kind}{reason} from the {by}: {}{text}", self.bye.meaning())
    }
}

/// Requests and their answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrips {
    /// How many were answered.
    pub answered: u32,
    /// Sum of their times, nanoseconds.
    pub total: i64,
    /// The longest, nanoseconds.
    pub longest: i64,
    asked: Option<Timestamp>,
}

impl RoundTrips {
    /// The mean, seconds; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        (self.answered > 0).then(|| self.total as f64 / f64::from(self.answered) / 1e9)
    }
}

impl Packets {
    /// Counts a packet.
    pub fn add(&mut self, at: Timestamp, frame: FrameRef, direction: Direction, packet: TunnelPacket<'_>) {
        if let Some(count) = direction.of_mut(&mut self.counts).get_mut(packet.kind.index()) {
            *count = count.saturating_add(1);
        }
        match packet.kind {
            PacketKind::Data => {
                let largest = direction.of_mut(&mut self.largest);
                *largest = (*largest).max(packet.len);
            }
            PacketKind::DpdRequest => {
                direction.of_mut(&mut self.dpd).asked.get_or_insert(at);
            }
            PacketKind::DpdResponse => {
                let trips = direction.reverse().of_mut(&mut self.dpd);
                if let Some(asked) = trips.asked.take() {
                    let time = at.nanos_since(asked).max(0);
                    trips.answered = trips.answered.saturating_add(1);
                    trips.total = trips.total.saturating_add(time);
                    trips.longest = trips.longest.max(time);
                }
            }
            PacketKind::Disconnect | PacketKind::Terminate => {
                let is_terminate = packet.kind == PacketKind::Terminate;
                let bye = || Parting { at, frame, direction, is_terminate, bye: Bye::parse(packet.payload) };
                self.bye.get_or_insert_with(bye);
            }
            _ => {}
        }
    }

    /// Was any read?
    pub fn any(&self) -> bool {
        self.counts.iter().flatten().any(|count| *count > 0)
    }
}
