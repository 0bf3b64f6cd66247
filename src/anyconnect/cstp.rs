//! CSTP packets: out of the TLS stream, one to a record, or out of a DTLS record, where one byte is all the header.

/// Bytes of a CSTP header.
const HEADER_LEN: usize = 8;
/// Bytes of the largest packet: its length field has sixteen bits.
pub const MAX_PACKET: usize = u16::MAX as usize;
/// Letters of a parting message kept.
const MAX_TEXT: usize = 200;

/// What a packet is (draft-mavrogiannopoulos-openconnect §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketKind {
    /// One IP packet.
    Data,
    /// Dead peer detection: are you there? Padded, it probes the MTU.
    DpdRequest,
    /// The answer, as long as the request.
    DpdResponse,
    /// The sender ends the tunnel, and says why.
    Disconnect,
    /// Keeps mappings on the way open; no answer.
    Keepalive,
    /// One IP packet, compressed.
    Compressed,
    /// The gateway ends the session.
    Terminate,
    /// A number nobody documents: a fact, not an error.
    Other(u8),
}

impl PacketKind {
    /// Kinds with a number of their own.
    pub const COUNTED: usize = 8;

    /// By its number.
    pub fn of(number: u8) -> PacketKind {
        match number {
            0 => PacketKind::Data,
            3 => PacketKind::DpdRequest,
            4 => PacketKind::DpdResponse,
            5 => PacketKind::Disconnect,
            7 => PacketKind::Keepalive,
            8 => PacketKind::Compressed,
            9 => PacketKind::Terminate,
            other => PacketKind::Other(other),
        }
    }

    /// Place in a table of [`PacketKind::COUNTED`]; all others share the last.
    pub fn index(self) -> usize {
        match self {
            PacketKind::Data => 0,
            PacketKind::DpdRequest => 1,
            PacketKind::DpdResponse => 2,
            PacketKind::Disconnect => 3,
            PacketKind::Keepalive => 4,
            PacketKind::Compressed => 5,
            PacketKind::Terminate => 6,
            PacketKind::Other(_) => 7,
        }
    }

    /// The words in reports, by place in that table.
    pub const WORDS: [&'static str; PacketKind::COUNTED] =
        ["data", "dpd-out", "dpd-resp", "disconnect", "keepalive", "compressed", "terminate", "other"];
}

/// The packet of a DTLS record: its kind and what it carries.
pub fn datagram(plain: &[u8]) -> Option<(PacketKind, &[u8])> {
    let (kind, payload) = plain.split_first()?;
    Some((PacketKind::of(*kind), payload))
}

/// What a DISCONNECT or TERMINATE says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bye {
    /// The reason byte: upper 3 bits a syslog severity, lower 5 the kind of message.
    pub reason: Option<u8>,
    /// The text behind it; hostile.
    pub text: String,
}

impl Bye {
    /// Reads the payload.
    pub fn parse(payload: &[u8]) -> Bye {
        let Some((reason, text)) = payload.split_first() else { return Bye::default() };
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = String::from_utf8_lossy(text.get(..MAX_TEXT).unwrap_or(text)).trim().to_owned();
        Bye { reason: Some(*reason), text }
    }

    /// What the reason byte means, where it is known.
    pub fn meaning(&self) -> &'static str {
        match self.reason {
            None => "no reason given",
            Some(0x70) => "local error",
            Some(0x91) => "VPN reconnect, the session is kept",
            Some(0xb0) => "the user disconnects, the session is over",
            Some(0xd1) => "pause, the session is kept",
            // The lower five bits tell what it is about, the upper three how serious that is.
            Some(reason) if reason & 0x1f == 18 => "closed for a rekey",
            Some(_) => "another reason",
        }
    }
}

/// Puts the packets of one direction together.
#[derive(Debug, Default)]
pub(super) struct PacketReader {
    held: Vec<u8>,
    /// Bytes that stood where a packet had to begin, in pieces.
    misframed: u32,
}

impl PacketReader {
    /// The next bytes of the stream; `sink` gets each packet whole.
    pub(super) fn push(&mut self, plain: &[u8], sink: &mut impl FnMut(PacketKind, &[u8])) {
        if self.held.is_empty() {
            let rest = self.take(plain, sink);
            self.held.extend_from_slice(rest);
            return;
        }
        self.held.extend_from_slice(plain);
        let held = std::mem::take(&mut self.held);
        let rest = self.take(&held, sink);
        self.held = rest.to_vec();
    }

    /// Hands out what is whole; the rest is the beginning of a packet.
    fn take<'a>(&mut self, plain: &'a [u8], sink: &mut impl FnMut(PacketKind, &[u8])) -> &'a [u8] {
        let mut rest = plain;
        loop {
            let begins = rest.get(..4.min(rest.len())).unwrap_or_default();
            if !b"STF\x01".starts_with(begins) {
                self.misframed = self.misframed.saturating_add(1);
                return &[];
            }
            let Some(&[_, _, _, _, l1, l0, kind, _]) = rest.first_chunk::<HEADER_LEN>() else { return rest };
            let end = HEADER_LEN + usize::from(u16::from_be_bytes([l1, l0]));
            let Some((packet, after)) = rest.split_at_checked(end) else { return rest };
            sink(PacketKind::of(kind), packet.get(HEADER_LEN..).unwrap_or_default());
            rest = after;
            if rest.is_empty() {
                return rest;
            }
        }
    }

    /// Bytes are missing: the next record begins a packet.
    pub(super) fn gap(&mut self) {
        self.held.clear();
    }

    pub(super) fn misframed(&self) -> u32 {
        self.misframed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(kind: u8, payload: &[u8]) -> Vec<u8> {
        let len = (payload.len() as u16).to_be_bytes();
        [&[b'S', b'T', b'F', 1, len[0], len[1], kind, 0], payload].concat()
    }

    #[test]
    fn packets_and_their_kinds() {
        let mut reader = PacketReader::default();
        let mut seen = Vec::new();
        let bytes = [packet(0, b"ip"), packet(3, b""), packet(6, b"x")].concat();
        reader.push(&bytes, &mut |kind, payload| seen.push((kind, payload.to_vec())));
        assert_eq!(
            seen,
            [
                (PacketKind::Data, b"ip".to_vec()),
                (PacketKind::DpdRequest, vec![]),
                (PacketKind::Other(6), b"x".to_vec())
            ]
        );
        assert_eq!(datagram(b"\x04abc"), Some((PacketKind::DpdResponse, &b"abc"[..])));
        assert_eq!(datagram(b""), None);
    }

    #[test]
    fn what_is_no_packet_is_counted_and_passed_over() {
        let mut reader = PacketReader::default();
        let mut seen = 0;
        reader.push(b"HTTP/1.1 200 OK", &mut |_, _| seen += 1);
        reader.push(&packet(7, b""), &mut |_, _| seen += 1);
        assert_eq!((seen, reader.misframed()), (1, 1));
    }

    #[test]
    fn parting_words() {
        let bye = Bye::parse(b"\xb0Aborted by caller\0rest");
        assert_eq!((bye.reason, bye.text.as_str()), (Some(0xb0), "Aborted by caller"));
        assert!(bye.meaning().contains("user disconnects"));
        assert_eq!(Bye::parse(b"").meaning(), "no reason given");
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_packets(
            packets in prop::collection::vec((0u8..12, prop::collection::vec(any::<u8>(), 0..300)), 1..12),
            cuts in prop::collection::vec(1usize..200, 0..60),
        ) {
            let bytes: Vec<u8> = packets.iter().flat_map(|(kind, payload)| packet(*kind, payload)).collect();
            let mut reader = PacketReader::default();
            let mut seen = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.into_iter().chain(std::iter::repeat(64)) {
                if rest.is_empty() { break; }
                let (now, after) = rest.split_at(cut.min(rest.len()));
                reader.push(now, &mut |kind, payload| seen.push((kind, payload.to_vec())));
                rest = after;
            }
            let expected: Vec<_> = packets.into_iter().map(|(kind, payload)| (PacketKind::of(kind), payload)).collect();
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(reader.misframed(), 0);
        }

        #[test]
        fn any_bytes_are_survived(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..40)) {
            let mut reader = PacketReader::default();
            for piece in pieces {
                reader.push(&[b"STF", &piece[..]].concat(), &mut |_, _| {});
                reader.push(&piece, &mut |_, _| {});
                prop_assert!(reader.held.len() <= MAX_PACKET + HEADER_LEN + 200);
            }
        }
    }
}
