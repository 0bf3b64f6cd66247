//! DTLS records out of datagrams, and handshake messages out of their fragments.
//!
//! Promises: versions 0x0100 (with its 3-byte change_cipher_spec), 1.0, 1.2 and 1.3; several records per datagram;
//! fragments in any order; every retransmission given again; nothing of epoch 1 and above read as plaintext.
//! Refuses: to order datagrams, to hold more than [`MAX_HELD`] bytes per direction.
//!
//! ```text
//!   type(1) version(2) epoch(2) sequence(6) length(2) | fragment                       RFC 6347 §4.1
//!   handshake: type(1) length(3) message_seq(2) fragment_offset(3) fragment_length(3)  RFC 6347 §4.2.2
//! ```

use super::handshake::{ClientHello, HandshakeType, ServerHello};
use super::{Alert, ContentType, MAX_FRAGMENT, Version, be16, be24};

/// Bytes of a DTLS record header (RFC 6347 §4.1).
pub const HEADER_LEN: usize = 13;
/// Bytes of a DTLS handshake header (RFC 6347 §4.2.2).
pub const HANDSHAKE_HEADER_LEN: usize = 12;
/// Longest handshake message put together, bytes.
pub const MAX_MESSAGE: u32 = 1 << 16;
/// Bytes of fragments held per direction, all unfinished messages together.
pub const MAX_HELD: usize = 1 << 16;
/// Unfinished messages per direction; the oldest gives way.
const MAX_UNFINISHED: usize = 8;
/// Fragments held of one message.
const MAX_PIECES: usize = 256;

/// One DTLS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DtlsRecord<'a> {
    /// Content type; the first byte itself for a DTLS 1.3 unified header, whose type is encrypted.
    pub content_type: ContentType,
    /// Version field; DTLS 1.3 for a unified header.
    pub version: Version,
    /// Epoch: 0 is plaintext. Only the low 2 bits with a unified header (RFC 9147 §4).
    pub epoch: u16,
    /// Sequence number in the epoch, 48 bits; only the low 8 or 16, still encrypted, with a unified header.
    pub sequence: u64,
    /// Bytes of the fragment as the header says, header not counted; with a unified header that has no length, the
    /// captured rest of the datagram.
    pub length: u16,
    /// The fragment as far as captured.
    pub fragment: &'a [u8],
}

impl DtlsRecord<'_> {
    /// Some of its bytes were not captured.
    pub fn is_cut(&self) -> bool {
        self.fragment.len() < usize::from(self.length)
    }

    /// A readable alert: epoch 0 only.
    pub fn alert(&self) -> Option<Alert> {
        if self.content_type != ContentType::ALERT || self.epoch != 0 {
            return None;
        }
        // OpenSSL's "missing handshake message" alert of version 0x0100 has 5 more bytes.
        let shown = if self.version == Version::DTLS_0_9 { self.fragment.get(..2)? } else { self.fragment };
        Alert::parse(shown)
    }

    /// A change_cipher_spec that announces epoch 1: 1 byte, or 3 in version 0x0100.
    pub fn is_change_cipher_spec(&self) -> bool {
        self.content_type == ContentType::CHANGE_CIPHER_SPEC
            && self.epoch == 0
            && self.fragment.first().is_none_or(|&one| one == 1)
    }
}

/// Gives each record of a datagram of a flow known to be DTLS; the last one may be cut. Stops at the first byte that
/// starts no record, and returns how many captured bytes it could not place.
pub fn parse_datagram<'a>(payload: &'a [u8], sink: &mut impl FnMut(DtlsRecord<'a>)) -> usize {
    let mut rest = payload;
    while let Some((record, after)) = next_record(rest) {
        sink(record);
        rest = after;
    }
    rest.len()
}

/// Is this datagram DTLS and nothing else? Strict, for flows nobody has vouched for: a known version, types 20 to 24,
/// a likely epoch and sequence number, a sound handshake header, and record lengths that fill the datagram exactly.
/// `wire_len` is the datagram's payload before the snap length cut it, bytes.
pub fn looks_like_dtls(payload: &[u8], wire_len: usize) -> bool {
    let mut rest = payload;
    let mut left = wire_len;
    let mut any = false;
    while left > 0 {
        if any && rest.first().is_none_or(|&first| ContentType(first).is_unified_header()) {
            // Cut between records, or DTLS 1.3 ciphertext behind a clear hello.
            return true;
        }
        if rest.len() < HEADER_LEN {
            return any && rest.len() < left;
        }
        let Some((record, after)) = next_classic(rest) else {
            return false;
        };
        let taken = HEADER_LEN + usize::from(record.length);
        if taken > left || !is_likely(&record) {
            return false;
        }
        any = true;
        left -= taken;
        rest = after;
    }
    any
}

/// A record of a kind and number that a real conversation shows.
fn is_likely(record: &DtlsRecord<'_>) -> bool {
    let length = usize::from(record.length);
    let numbers = record.epoch < 1 << 10 && record.sequence < 1 << 40 && (1..=MAX_FRAGMENT).contains(&length);
    let kind = match (record.content_type, record.epoch) {
        (ContentType::CHANGE_CIPHER_SPEC, 0) => matches!(length, 1 | 3),
        (ContentType::ALERT, 0) => matches!(length, 2 | 7),
        (ContentType::HANDSHAKE, 0) => match Fragment::read(record.fragment) {
            Some((fragment, _)) => fragment.is_sound() && HANDSHAKE_HEADER_LEN + fragment.len as usize <= length,
            None => record.is_cut(),
        },
        // Plaintext application data is forbidden (RFC 6347 §4.1).
        (_, 0) => false,
        // Every cipher adds at least 8 bytes of tag (RFC 6655 §4).
        (_, _) => length > 8,
    };
    numbers && kind && (20..=24).contains(&record.content_type.0)
}

#[inline]
fn next_record(bytes: &[u8]) -> Option<(DtlsRecord<'_>, &[u8])> {
    let first = ContentType(*bytes.first()?);
    if first.is_unified_header() { next_unified(bytes) } else { next_classic(bytes) }
}

#[inline]
fn next_classic(bytes: &[u8]) -> Option<(DtlsRecord<'_>, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let [kind, v1, v0, e1, e0, s5, s4, s3, s2, s1, s0, l1, l0] = *header;
    let version = Version(u16::from_be_bytes([v1, v0]));
    if !version.is_dtls() || !(20..=26).contains(&kind) {
        return None;
    }
    let content_type = ContentType(kind);
    let mut length = u16::from_be_bytes([l1, l0]);
    let (mut fragment, mut after) = rest.split_at_checked(usize::from(length)).unwrap_or((rest, &[]));
    if content_type == ContentType::TLS12_CID {
        // A connection id of unknown length stands before the length (RFC 9146 §4): the rest is one record.
        (fragment, after) = (bytes.get(11..)?, &[]);
        length = fragment.len() as u16;
    } else if usize::from(length) > MAX_FRAGMENT {
        return None;
    }
    let record = DtlsRecord {
        content_type,
        version,
        epoch: u16::from_be_bytes([e1, e0]),
        sequence: u64::from_be_bytes([0, 0, s5, s4, s3, s2, s1, s0]),
        length,
        fragment,
    };
    Some((record, after))
}

/// 001CSLEE, connection id (unknown length), sequence number (1 or 2), length (0 or 2): RFC 9147 §4.
fn next_unified(bytes: &[u8]) -> Option<(DtlsRecord<'_>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let [has_id, long_sequence, has_length] = [0x10, 0x08, 0x04].map(|bit| first & bit != 0);
    let mut record = DtlsRecord {
        content_type: ContentType(first),
        version: Version::DTLS_1_3,
        epoch: u16::from(first & 3),
        sequence: 0,
        length: rest.len() as u16,
        fragment: rest,
    };
    if has_id {
        return Some((record, &[]));
    }
    let (sequence, rest) = rest.split_at_checked(if long_sequence { 2 } else { 1 })?;
    record.sequence = sequence.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    if !has_length {
        record.length = rest.len() as u16;
        record.fragment = rest;
        return Some((record, &[]));
    }
    record.length = be16(rest)?;
    let rest = rest.get(2..)?;
    let (fragment, after) = rest.split_at_checked(usize::from(record.length)).unwrap_or((rest, &[]));
    record.fragment = fragment;
    Some((record, after))
}

/// A handshake message of a DTLS flow, in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DtlsHandshake {
    /// Number of the message in this direction's handshake: the same when retransmitted (RFC 6347 §4.2.2).
    pub message_seq: u16,
    /// Sequence number of the record that completed it: another one when retransmitted.
    pub record_sequence: u64,
    /// What it says.
    pub message: DtlsMessage,
}

/// What a DTLS handshake message says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DtlsMessage {
    /// The client opens, or opens again with the cookie it was given.
    ClientHello(Box<ClientHello>),
    /// The server wants to see the client's address proved first (RFC 6347 §4.2.1).
    HelloVerifyRequest {
        /// Version field of the body.
        version: Version,
        /// The cookie to echo, 0 to 255 bytes, as far as captured.
        cookie: Vec<u8>,
    },
    /// The server answers.
    ServerHello(Box<ServerHello>),
    /// A certificate chain.
    Certificate {
        /// Bytes of the message body.
        len: u32,
    },
    /// The server's flight is complete.
    ServerHelloDone,
    /// The client's key exchange.
    ClientKeyExchange {
        /// It starts with the PSK identity `psk`, openconnect's (RFC 4279 §2).
        identity_is_psk: bool,
    },
    /// Another message.
    Other(HandshakeType),
}

/// Puts together the handshake messages of one direction of a DTLS flow.
#[derive(Debug, Default)]
pub struct DtlsHandshakeReader {
    unfinished: Vec<Unfinished>,
    held: usize,
    dropped: u32,
}

/// A message of which some fragments came.
#[derive(Debug)]
struct Unfinished {
    kind: HandshakeType,
    message_seq: u16,
    length: u32,
    /// Offset and bytes, ordered by offset.
    pieces: Vec<(u32, Box<[u8]>)>,
}

impl DtlsHandshakeReader {
    /// A reader that holds nothing.
    pub fn new() -> DtlsHandshakeReader {
        DtlsHandshakeReader::default()
    }

    /// Is there nothing to remember?
    pub fn is_idle(&self) -> bool {
        self.unfinished.is_empty() && self.dropped == 0
    }

    /// Does a message still lack a piece?
    pub fn is_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Unfinished messages given up for want of room.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// The next record of this direction; all but handshake records of epoch 0 are passed over.
    pub fn push(&mut self, record: &DtlsRecord<'_>, sink: &mut impl FnMut(DtlsHandshake)) {
        self.push_raw(record, &mut |message, _| sink(message));
    }

    /// The same, each message with its bytes behind a header that says it was never cut.
    pub fn push_raw(&mut self, record: &DtlsRecord<'_>, sink: &mut impl FnMut(DtlsHandshake, &[u8])) {
        if record.content_type != ContentType::HANDSHAKE || record.epoch != 0 {
            return;
        }
        let mut rest = record.fragment;
        while let Some((fragment, after)) = Fragment::read(rest) {
            if !fragment.is_sound() {
                return;
            }
            let mut tell = |message: DtlsMessage, bytes: &[u8]| {
                let (message_seq, record_sequence) = (fragment.message_seq, record.sequence);
                sink(DtlsHandshake { message_seq, record_sequence, message }, bytes);
            };
            if fragment.stands_alone() {
                tell(read_message(&fragment, fragment.message, fragment.is_whole()), fragment.message);
            } else if let Some(whole) = self.put_together(&fragment) {
                tell(read_message(&fragment, &whole, true), &whole);
            }
            rest = after;
        }
    }

    /// The whole message behind one header, when this was its last piece.
    fn put_together(&mut self, fragment: &Fragment<'_>) -> Option<Vec<u8>> {
        if fragment.is_cut() || fragment.body.is_empty() {
            return None;
        }
        let at = self.place_for(fragment);
        let entry = self.unfinished.get_mut(at)?;
        self.held += entry.add(fragment.offset, fragment.body);
        let done = entry.joined();
        if done.is_some() {
            self.remove(at);
            return done;
        }
        while self.held > MAX_HELD {
            self.remove(0);
            self.dropped = self.dropped.saturating_add(1);
        }
        None
    }

    /// Index of the message this fragment belongs to; a contradicting one with the same number is forgotten.
    fn place_for(&mut self, fragment: &Fragment<'_>) -> usize {
        if let Some(at) = self.unfinished.iter().position(|entry| entry.message_seq == fragment.message_seq) {
            let same = self.unfinished.get(at).is_some_and(|e| e.kind == fragment.kind && e.length == fragment.length);
            if same {
                return at;
            }
            self.remove(at);
        }
        if self.unfinished.len() >= MAX_UNFINISHED {
            self.remove(0);
            self.dropped = self.dropped.saturating_add(1);
        }
        self.unfinished.push(Unfinished {
            kind: fragment.kind,
            message_seq: fragment.message_seq,
            length: fragment.length,
            pieces: Vec::new(),
        });
        self.unfinished.len() - 1
    }

    fn remove(&mut self, at: usize) {
        if at < self.unfinished.len() {
            let gone = self.unfinished.remove(at);
            self.held -= gone.pieces.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        }
    }
}

impl Unfinished {
    /// Keeps a piece unless it is known already; returns the growth in bytes.
    fn add(&mut self, offset: u32, bytes: &[u8]) -> usize {
        let at = self.pieces.partition_point(|(start, _)| *start < offset);
        if let Some((start, piece)) = self.pieces.get_mut(at)
            && *start == offset
        {
            let grown = bytes.len().saturating_sub(piece.len());
            if grown > 0 {
                *piece = bytes.into();
            }
            return grown;
        }
        if self.pieces.len() >= MAX_PIECES {
            return 0;
        }
        self.pieces.insert(at, (offset, bytes.into()));
        bytes.len()
    }

    /// The whole message behind an unfragmented header, when no byte is missing.
    fn joined(&self) -> Option<Vec<u8>> {
        let mut reached = 0;
        for (start, piece) in &self.pieces {
            if *start > reached {
                return None;
            }
            reached = reached.max(start.saturating_add(piece.len() as u32));
        }
        if reached < self.length {
            return None;
        }
        let [_, a, b, c] = self.length.to_be_bytes();
        let [s1, s0] = self.message_seq.to_be_bytes();
        let mut message = vec![self.kind.0, a, b, c, s1, s0, 0, 0, 0, a, b, c];
        for (start, piece) in &self.pieces {
            let have = message.len() - HANDSHAKE_HEADER_LEN;
            message.extend_from_slice(piece.get(have.saturating_sub(*start as usize)..).unwrap_or(&[]));
        }
        Some(message)
    }
}

/// One handshake fragment.
struct Fragment<'a> {
    kind: HandshakeType,
    message_seq: u16,
    /// Bytes of the whole message body.
    length: u32,
    offset: u32,
    /// Bytes of this fragment as the header says.
    len: u32,
    /// The fragment as far as captured.
    body: &'a [u8],
    /// The same with its 12-byte header.
    message: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn read(bytes: &'a [u8]) -> Option<(Fragment<'a>, &'a [u8])> {
        let (header, rest) = bytes.split_first_chunk::<HANDSHAKE_HEADER_LEN>()?;
        let [kind, l2, l1, l0, s1, s0, o2, o1, o0, n2, n1, n0] = *header;
        let len = be24(&[n2, n1, n0])?;
        let end = HANDSHAKE_HEADER_LEN + len as usize;
        let (message, after) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        let fragment = Fragment {
            kind: HandshakeType(kind),
            message_seq: u16::from_be_bytes([s1, s0]),
            length: be24(&[l2, l1, l0])?,
            offset: be24(&[o2, o1, o0])?,
            len,
            body: rest.get(..len as usize).unwrap_or(rest),
            message,
        };
        Some((fragment, after))
    }

    /// A known kind, and a fragment that lies inside its message.
    fn is_sound(&self) -> bool {
        self.kind.name().is_some() && self.length <= MAX_MESSAGE && self.offset + self.len <= self.length
    }

    /// The message is one fragment; or all that will ever be seen of a hello is here, its tail uncaptured.
    fn stands_alone(&self) -> bool {
        self.offset == 0 && (self.len == self.length || (self.is_cut() && self.kind.is_hello()))
    }

    fn is_whole(&self) -> bool {
        self.body.len() == self.length as usize
    }

    fn is_cut(&self) -> bool {
        self.body.len() < self.len as usize
    }
}

/// Reads a message, its 12-byte header included.
fn read_message(fragment: &Fragment<'_>, message: &[u8], whole: bool) -> DtlsMessage {
    let body = message.get(HANDSHAKE_HEADER_LEN..).unwrap_or(&[]);
    match fragment.kind {
        HandshakeType::CLIENT_HELLO => DtlsMessage::ClientHello(Box::new(ClientHello::parse_dtls(message, whole))),
        HandshakeType::SERVER_HELLO => DtlsMessage::ServerHello(Box::new(ServerHello::parse(body, whole))),
        HandshakeType::HELLO_VERIFY_REQUEST => {
            let len = usize::from(body.get(2).copied().unwrap_or(0));
            let cookie = body.get(3..).unwrap_or(&[]);
            DtlsMessage::HelloVerifyRequest {
                version: Version(be16(body).unwrap_or(0)),
                cookie: cookie.get(..len).unwrap_or(cookie).to_vec(),
            }
        }
        HandshakeType::CERTIFICATE => DtlsMessage::Certificate { len: fragment.length },
        HandshakeType::SERVER_HELLO_DONE => DtlsMessage::ServerHelloDone,
        HandshakeType::CLIENT_KEY_EXCHANGE => {
            DtlsMessage::ClientKeyExchange { identity_is_psk: body.starts_with(b"\x00\x03psk") }
        }
        other => DtlsMessage::Other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{CipherSuite, hex};
    use proptest::prelude::*;

    /// openconnect, version 0x0100: ClientHello as captured.
    const GEN_1_HELLO: &str = "160100000000000000000000670100005b000000000000005b0100993869bdc3380d4ffc2a98f4b45974bcfff83f9c90f578961ca34a601d9b0a1f20384d03209a1643d9b3050e91de4248bb3d1249dcc30240ba0c68486189d9e867000002002f0100000f00230000ff01000100001c00024000";
    /// The server's answer to another one of that kind: HelloVerifyRequest.
    const GEN_1_VERIFY: &str =
        "1601000000000000000000002303000017000000000000001701001456a6474f204beba3bd11737b540a72c19eea9999";
    /// ... and the ClientHello that echoes the cookie.
    const GEN_1_COOKIE_HELLO: &str = "1601000000000000000001007b0100006f000100000000006f0100ef6bcae9fde3f542015b04d555f0f9adcfe47b5e7b26aa6f913614bc95969c1420881c2dc71b1719b5fb19de71388d73b33f816092408c7c807806de95f9c61d841456a6474f204beba3bd11737b540a72c19eea9999000200350100000f00230000ff01000100001c00024000";
    /// ocserv, DTLS 1.2 with PSK: ServerHello.
    const GEN_3_SERVER_HELLO: &str = "16fefd0000000000000000005f020000530000000000000053fefdf1802c9bdf83253c8966e8de17497689123a3364f76bc2693d3b4fb1fab3801b204401bfb81ab0d1cbc952e62cf4386f23e794d3f0b17094b2199bb89ec57702c200a900000bff01000100001c00024000";
    /// openconnect, DTLS 1.2 with PSK: ClientKeyExchange, change_cipher_spec, Finished in one datagram.
    const GEN_3_FINISH: &str = "16fefd00000000000000010011100000050001000000000005000370736b14fefd000000000000000200010116fefd000100000000000000300001000000000000bda7a9dd8ebb2421b3bf5095f1d57c7da601534f4b2151bdf656d6123cd89d308b7b8ba5fe5100d7";

    fn messages(payload: &[u8]) -> Vec<DtlsHandshake> {
        let mut reader = DtlsHandshakeReader::new();
        let mut seen = Vec::new();
        parse_datagram(payload, &mut |record| reader.push(&record, &mut |message| seen.push(message)));
        seen
    }

    fn client_hello(payload: &[u8]) -> ClientHello {
        match messages(payload).remove(0).message {
            DtlsMessage::ClientHello(hello) => *hello,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn first_generation_hello() {
        let payload = hex(GEN_1_HELLO);
        assert!(looks_like_dtls(&payload, payload.len()));
        let hello = client_hello(&payload);
        assert_eq!(hello.version, Version::DTLS_0_9);
        assert_eq!(hello.session_id.to_string(), "384d03209a1643d9b3050e91de4248bb3d1249dcc30240ba0c68486189d9e867");
        assert_eq!(hello.cipher_suites, [CipherSuite(0x2f)]);
        assert_eq!(hello.extensions, [35, 0xff01, 28]);
        assert_eq!(hello.random.unwrap()[..2], [0x99, 0x38]);
        assert!(hello.cookie.is_empty() && !hello.partial);
    }

    #[test]
    fn the_cookie_is_echoed() {
        let verify = messages(&hex(GEN_1_VERIFY)).remove(0);
        let hello = client_hello(&hex(GEN_1_COOKIE_HELLO));
        assert_eq!(
            verify.message,
            DtlsMessage::HelloVerifyRequest { version: Version::DTLS_0_9, cookie: hello.cookie.clone() }
        );
        assert_eq!(hello.cookie.len(), 20);
        assert_eq!(messages(&hex(GEN_1_COOKIE_HELLO))[0].message_seq, 1);
    }

    #[test]
    fn psk_flight() {
        let payload = hex(GEN_3_FINISH);
        assert!(looks_like_dtls(&payload, payload.len()));
        let mut records = Vec::new();
        assert_eq!(parse_datagram(&payload, &mut |record| records.push(record)), 0);
        let shape: Vec<_> = records.iter().map(|r| (r.content_type.0, r.epoch, r.sequence, r.length)).collect();
        assert_eq!(shape, [(22, 0, 1, 17), (20, 0, 2, 1), (22, 1, 0, 48)]);
        assert!(records[1].is_change_cipher_spec());
        let seen = messages(&payload);
        assert_eq!(seen.len(), 1, "Finished is encrypted");
        assert_eq!(seen[0].message, DtlsMessage::ClientKeyExchange { identity_is_psk: true });

        match messages(&hex(GEN_3_SERVER_HELLO)).remove(0).message {
            DtlsMessage::ServerHello(hello) => {
                assert_eq!((hello.version, hello.cipher_suite), (Version::DTLS_1_2, Some(CipherSuite(0xa9))));
                assert!(!hello.encrypt_then_mac());
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn three_byte_change_cipher_spec_of_version_0100() {
        let payload = hex("14 0100 0000 000000000002 0003 010002  16 0100 0001 000000000000 0040");
        let mut records = Vec::new();
        parse_datagram(&payload, &mut |record| records.push(record));
        assert!(records[0].is_change_cipher_spec());
        assert!(records[1].is_cut());
        assert!(looks_like_dtls(&payload, payload.len() + 64));
        assert!(!looks_like_dtls(&payload, payload.len() + 63));
    }

    #[test]
    fn retransmissions_are_given_again() {
        let mut reader = DtlsHandshakeReader::new();
        let mut seen = Vec::new();
        for sequence in 0..4u8 {
            let mut payload = hex(GEN_1_HELLO);
            payload[10] = sequence;
            parse_datagram(&payload, &mut |record| {
                reader.push(&record, &mut |m| seen.push((m.message_seq, m.record_sequence)))
            });
        }
        assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (0, 3)]);
    }

    #[test]
    fn a_cut_hello_tells_what_was_visible() {
        let payload = hex(GEN_1_HELLO);
        let hello = client_hello(&payload[..70]);
        assert!(hello.partial && hello.random.is_some() && hello.cipher_suites.is_empty());
        assert!(client_hello(&payload[..50]).random.is_none());
        assert!(looks_like_dtls(&payload[..50], payload.len()));
    }

    #[test]
    fn alerts_are_read_in_epoch_0_only() {
        let read = |text: &str| {
            let payload = hex(text);
            let mut alert = None;
            parse_datagram(&payload, &mut |record| alert = record.alert());
            alert.map(|a| a.to_string())
        };
        assert_eq!(read("15 fefd 0000 000000000003 0002 0228").as_deref(), Some("fatal handshake_failure (40)"));
        assert_eq!(read("15 fefd 0001 000000000003 0002 0228"), None);
        assert_eq!(
            read("15 0100 0000 000000000003 0007 026e 0000000000").as_deref(),
            Some("fatal unsupported_extension (110)")
        );
    }

    #[test]
    fn dtls_1_3_ciphertext_of_a_known_flow() {
        let payload = hex("2f 0102 0003 aabbcc  2e 0102 0001 dd  26 09 0002 eeff 20 07 aabb");
        let mut seen = Vec::new();
        assert_eq!(parse_datagram(&payload, &mut |r| seen.push((r.epoch, r.sequence, r.length))), 0);
        assert_eq!(seen, [(3, 0x102, 3), (2, 0x102, 1), (2, 9, 2), (0, 7, 2)]);
        assert!(!looks_like_dtls(&payload, payload.len()), "too little to go by without a clear hello");
    }

    #[test]
    fn look_alikes_are_kept_out() {
        for text in [
            "c3 00000001 08 0102030405060708 08 0102030405060708 00 41 00 00000000000000000000000000",
            "0001 0000 2112a442 000102030405060708090a0b",
            "38 a1b2c3d4e5f60718 00 00000000",
            "01000000 11223344 0000000000000000000000000000000000000000",
            "80 60 1234 00000001 12345678 0000000000000000000000000000",
            "16fefd01 00000001 0102030405060708090a0b0c0d0e0f10111213",
            "17 fefd 0000 000000000001 0004 01020304",
            "16 0100 0000 000000000000 0005 0102030405",
            "00000000 1122334455667788 0000000000000000 21 20 22 08 00000000",
            "",
        ] {
            let payload = hex(text);
            assert!(!looks_like_dtls(&payload, payload.len()), "{text}");
        }
    }

    fn split(message: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
        let body = &message[HEADER_LEN + HANDSHAKE_HEADER_LEN..];
        let mut edges: Vec<usize> = cuts.iter().map(|cut| cut % body.len()).chain([0, body.len()]).collect();
        edges.sort_unstable();
        edges.dedup();
        let piece = |pair: &[usize]| {
            let [from, to] = [pair[0], pair[1]];
            let mut record = message[..HEADER_LEN + HANDSHAKE_HEADER_LEN].to_vec();
            record[11..13].copy_from_slice(&((HANDSHAKE_HEADER_LEN + to - from) as u16).to_be_bytes());
            record[19..22].copy_from_slice(&(from as u32).to_be_bytes()[1..]);
            record[22..25].copy_from_slice(&((to - from) as u32).to_be_bytes()[1..]);
            record.extend_from_slice(&body[from..to]);
            record
        };
        edges.windows(2).map(piece).collect()
    }

    proptest! {
        #[test]
        fn fragments_in_any_order_and_number_make_the_message(
            cuts in prop::collection::vec(any::<usize>(), 1..12),
            overlap in prop::collection::vec(any::<usize>(), 1..12),
            order in any::<u64>(),
        ) {
            let message = hex(GEN_1_COOKIE_HELLO);
            let expected = client_hello(&message);
            let mut pieces = split(&message, &cuts);
            prop_assume!(pieces.len() > 1);
            // Pieces of another cut come too, all but its last: they overlap, and may complete it early.
            let mut more = split(&message, &overlap);
            more.pop();
            pieces.extend(more);
            pieces.sort_by_key(|piece| piece.iter().fold(order, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)));
            let mut reader = DtlsHandshakeReader::new();
            let mut seen = Vec::new();
            for piece in &pieces {
                parse_datagram(piece, &mut |record| reader.push(&record, &mut |m| seen.push(m.message)));
            }
            prop_assert!(!seen.is_empty());
            prop_assert!(seen.iter().all(|m| *m == DtlsMessage::ClientHello(Box::new(expected.clone()))));
        }

        #[test]
        fn any_datagram_never_panics(
            datagrams in prop::collection::vec((0usize..4, prop::collection::vec(any::<u8>(), 0..120)), 0..30),
        ) {
            let mut reader = DtlsHandshakeReader::new();
            for (start, noise) in datagrams {
                let prefix = ["", "16fefd0000000000000000", "16fefd000000000000000000400100", "16010000000000000000000060010000ff0000000000"][start];
                let payload = [hex(prefix), noise].concat();
                looks_like_dtls(&payload, payload.len() + start);
                parse_datagram(&payload, &mut |record| {
                    record.alert();
                    reader.push(&record, &mut |_| {});
                });
                prop_assert!(reader.held <= MAX_HELD && reader.unfinished.len() <= MAX_UNFINISHED);
            }
        }

        #[test]
        fn a_damaged_message_never_panics(at in 0usize..150, byte: u8, len in 0usize..150) {
            let mut payload = hex(GEN_1_COOKIE_HELLO);
            if let Some(slot) = payload.get_mut(at) { *slot = byte; }
            messages(&payload[..len.min(payload.len())]);
        }
    }
}
