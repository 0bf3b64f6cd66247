//! Handshake messages out of TLS records, as long as they are in the clear, and the two hellos they are read for.
//!
//! Promises: messages that span records and records that hold several; a hello cut by the snap length still tells
//! what was visible; at most [`MAX_HELLO`] bytes held. Refuses: certificates and key exchanges (their kind only).

use super::record::Record;
use super::{CipherSuite, ContentType, Version, be16, be24};
use std::fmt;
use tls_parser::TlsMessageHandshake;

/// Longest hello held, bytes; what lies behind is passed over and the hello is `partial`.
pub const MAX_HELLO: usize = 1 << 16;
/// Cipher suites and extension types kept of one hello; real ones have some 20 to 60.
const MAX_LISTED: usize = 256;
/// Hardly a hello has more extensions.
const USUAL_EXTENSIONS: usize = 16;
/// Longest message believed, bytes: chains of certificates stay well below.
const MAX_MESSAGE: u32 = 1 << 18;

/// The random of a HelloRetryRequest: SHA-256 of that word (RFC 8446 §4.1.3).
const HELLO_RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A handshake message type (IANA "TLS HandshakeType").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HandshakeType(pub u8);

impl HandshakeType {
    /// client_hello.
    pub const CLIENT_HELLO: HandshakeType = HandshakeType(1);
    /// server_hello.
    pub const SERVER_HELLO: HandshakeType = HandshakeType(2);
    /// hello_verify_request, DTLS only (RFC 6347 §4.2.1).
    pub const HELLO_VERIFY_REQUEST: HandshakeType = HandshakeType(3);
    /// certificate.
    pub const CERTIFICATE: HandshakeType = HandshakeType(11);
    /// server_hello_done.
    pub const SERVER_HELLO_DONE: HandshakeType = HandshakeType(14);
    /// client_key_exchange.
    pub const CLIENT_KEY_EXCHANGE: HandshakeType = HandshakeType(16);

    /// RFC name, when it has one.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "hello_request",
            1 => "client_hello",
            2 => "server_hello",
            3 => "hello_verify_request",
            4 => "new_session_ticket",
            5 => "end_of_early_data",
            6 => "hello_retry_request",
            8 => "encrypted_extensions",
            9 => "request_connection_id",
            10 => "new_connection_id",
            11 => "certificate",
            12 => "server_key_exchange",
            13 => "certificate_request",
            14 => "server_hello_done",
            15 => "certificate_verify",
            16 => "client_key_exchange",
            20 => "finished",
            21 => "certificate_url",
            22 => "certificate_status",
            23 => "supplemental_data",
            24 => "key_update",
            25 => "compressed_certificate",
            67 => "next_protocol",
            254 => "message_hash",
            _ => return None,
        })
    }

    /// Its content is read here, not only its kind.
    pub(crate) fn is_hello(self) -> bool {
        matches!(self, HandshakeType::CLIENT_HELLO | HandshakeType::SERVER_HELLO)
    }
}

impl fmt::Display for HandshakeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "handshake type {}", self.0),
        }
    }
}

/// A handshake message of a TLS stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handshake {
    /// The client opens.
    ClientHello(Box<ClientHello>),
    /// The server answers, or asks to try again.
    ServerHello(Box<ServerHello>),
    /// A certificate chain.
    Certificate {
        /// Bytes of the message body.
        len: u32,
    },
    /// The server's first flight is complete (TLS 1.2 and before).
    ServerHelloDone,
    /// The client's key exchange (TLS 1.2 and before).
    ClientKeyExchange,
    /// Another message in the clear.
    Other(HandshakeType),
    /// A handshake record after change_cipher_spec: nearly always Finished.
    Encrypted {
        /// Bytes of the record's fragment.
        len: u16,
    },
}

/// A session id: 0 to 32 bytes (RFC 5246 §7.4.1.2).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    bytes: [u8; 32],
    len: u8,
}

impl SessionId {
    /// From at most 32 bytes; longer ones are no session id.
    pub fn new(id: &[u8]) -> Option<SessionId> {
        let mut bytes = [0; 32];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(SessionId { bytes, len: id.len() as u8 })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// No id was sent.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes, 0 to 32.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }
}

impl fmt::Display for SessionId {
    /// Lower-case hex, as X-DTLS-Session-ID is written (compare case-insensitively).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// What a ClientHello says (RFC 5246 §7.4.1.2, RFC 6347 §4.2.1, RFC 8446 §4.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Version in the body; TLS 1.3 clients write TLS 1.2 here and list the rest in an extension.
    pub version: Version,
    /// Client random; `None` when cut.
    pub random: Option<[u8; 32]>,
    /// Session id.
    pub session_id: SessionId,
    /// DTLS cookie, 0 to 255 bytes; empty in TLS.
    pub cookie: Vec<u8>,
    /// Suites offered, in the client's order, signalling values included.
    pub cipher_suites: Vec<CipherSuite>,
    /// Extension types in order of appearance (IANA "TLS ExtensionType Values").
    pub extensions: Vec<u16>,
    /// A session ticket comes with it (RFC 5077 §3.2); an empty one only asks for tickets.
    pub has_ticket: bool,
    /// Not all of it was captured or well-formed: absent fields prove nothing.
    pub partial: bool,
}

impl ClientHello {
    /// Reads the body of a TLS ClientHello; `whole` says that `body` is all of it.
    pub fn parse(body: &[u8], whole: bool) -> ClientHello {
        if whole
            && let Ok((_, TlsMessageHandshake::ClientHello(hello))) =
                tls_parser::parse_tls_handshake_msg_client_hello(body)
        {
            return ClientHello::from_parts(
                hello.version.0,
                hello.random,
                hello.session_id,
                &[],
                &hello.ciphers,
                hello.ext,
            );
        }
        ClientHello::visible(body, false, whole)
    }

    /// Reads a DTLS ClientHello, 12-byte header included; `whole` says that `message` is all of it.
    pub(crate) fn parse_dtls(message: &[u8], whole: bool) -> ClientHello {
        use tls_parser::{DTLSMessage, DTLSMessageHandshakeBody::ClientHello as Body};
        if whole
            && let Ok((_, DTLSMessage::Handshake(handshake))) = tls_parser::parse_dtls_message_handshake(message)
            && let Body(hello) = handshake.body
        {
            return ClientHello::from_parts(
                hello.version.0,
                hello.random,
                hello.session_id,
                hello.cookie,
                &hello.ciphers,
                hello.ext,
            );
        }
        ClientHello::visible(message.get(super::dtls::HANDSHAKE_HEADER_LEN..).unwrap_or(&[]), true, whole)
    }

    /// Does it offer this extension?
    pub fn has_extension(&self, number: u16) -> bool {
        self.extensions.contains(&number)
    }

    fn from_parts(
        version: u16,
        random: &[u8],
        session_id: Option<&[u8]>,
        cookie: &[u8],
        suites: &[tls_parser::TlsCipherSuiteID],
        extensions: Option<&[u8]>,
    ) -> ClientHello {
        let mut hello = ClientHello {
            version: Version(version),
            random: random.try_into().ok(),
            session_id: session_id.and_then(SessionId::new).unwrap_or_default(),
            cookie: cookie.to_vec(),
            cipher_suites: suites.iter().take(MAX_LISTED).map(|suite| CipherSuite(suite.0)).collect(),
            ..ClientHello::default()
        };
        hello.partial = !hello.read_extensions(extensions.unwrap_or(&[]));
        hello
    }

    /// As much as can be seen of a cut or odd body.
    fn visible(body: &[u8], datagram: bool, whole: bool) -> ClientHello {
        let mut hello = ClientHello::default();
        hello.partial = hello.read(&mut Cursor(body), datagram).is_none() || !whole;
        hello
    }

    /// `None` where the bytes end too early.
    fn read(&mut self, body: &mut Cursor<'_>, datagram: bool) -> Option<()> {
        self.version = Version(body.u16()?);
        self.random = Some(body.array()?);
        self.session_id = SessionId::new(body.with_len8()?)?;
        if datagram {
            self.cookie = body.with_len8()?.to_vec();
        }
        let (suites, all) = body.with_len16()?;
        self.cipher_suites = numbers(suites).map(CipherSuite).collect();
        all.then_some(())?;
        body.with_len8()?;
        if body.0.is_empty() {
            return Some(());
        }
        let (extensions, all) = body.with_len16()?;
        (self.read_extensions(extensions) && all).then_some(())
    }

    /// False when an extension is cut.
    fn read_extensions(&mut self, bytes: &[u8]) -> bool {
        self.extensions.reserve(USUAL_EXTENSIONS.min(bytes.len() / 4));
        each_extension(bytes, |number, extension| {
            self.extensions.push(number);
            self.has_ticket |= number == 35 && extension.len() > 4;
        })
    }
}

/// What a ServerHello says (RFC 5246 §7.4.1.3, RFC 8446 §4.1.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHello {
    /// The version chosen: the supported_versions extension where there is one, else the body's.
    pub version: Version,
    /// Server random; `None` when cut.
    pub random: Option<[u8; 32]>,
    /// Session id; equal to the client's when a session is resumed (TLS 1.2 and before) and always in TLS 1.3.
    pub session_id: SessionId,
    /// The suite chosen; `None` when cut.
    pub cipher_suite: Option<CipherSuite>,
    /// Extension types in order of appearance.
    pub extensions: Vec<u16>,
    /// A TLS 1.3 HelloRetryRequest in ServerHello's clothes: the client will say hello again.
    pub hello_retry: bool,
    /// Not all of it was captured or well-formed: absent fields prove nothing.
    pub partial: bool,
}

impl ServerHello {
    /// Reads the body of a ServerHello, TLS or DTLS alike; `whole` says that `body` is all of it.
    pub fn parse(body: &[u8], whole: bool) -> ServerHello {
        let mut hello = ServerHello::default();
        hello.partial = match tls_parser::parse_tls_handshake_server_hello(body) {
            Ok((_, parsed)) if whole => {
                hello.version = Version(parsed.version.0);
                hello.random = parsed.random.try_into().ok();
                hello.session_id = parsed.session_id.and_then(SessionId::new).unwrap_or_default();
                hello.cipher_suite = Some(CipherSuite(parsed.cipher.0));
                !hello.read_extensions(parsed.ext.unwrap_or(&[]))
            }
            _ => hello.read(&mut Cursor(body)).is_none() || !whole,
        };
        hello.hello_retry = hello.random == Some(HELLO_RETRY_RANDOM);
        hello
    }

    /// CBC records carry the MAC outside the encryption (RFC 7366 §2, extension 22).
    pub fn encrypt_then_mac(&self) -> bool {
        self.extensions.contains(&22)
    }

    /// The master secret covers the handshake (RFC 7627 §4, extension 23).
    pub fn extended_master_secret(&self) -> bool {
        self.extensions.contains(&23)
    }

    /// `None` where the bytes end too early.
    fn read(&mut self, body: &mut Cursor<'_>) -> Option<()> {
        self.version = Version(body.u16()?);
        self.random = Some(body.array()?);
        self.session_id = SessionId::new(body.with_len8()?)?;
        self.cipher_suite = Some(CipherSuite(body.u16()?));
        body.array::<1>()?;
        if body.0.is_empty() {
            return Some(());
        }
        let (extensions, all) = body.with_len16()?;
        (self.read_extensions(extensions) && all).then_some(())
    }

    fn read_extensions(&mut self, bytes: &[u8]) -> bool {
        self.extensions.reserve(USUAL_EXTENSIONS.min(bytes.len() / 4));
        each_extension(bytes, |number, extension| {
            self.extensions.push(number);
            if number == 43
                && let Some(version) = extension.get(4..).and_then(be16)
            {
                self.version = Version(version);
            }
        })
    }
}

/// Reads the handshake messages of one direction of a TLS stream, until they are encrypted.
#[derive(Debug, Default)]
pub struct HandshakeReader {
    /// Body of the hello being read; empty at rest.
    hello: Vec<u8>,
    /// Bytes of the current message body still to come.
    left: u32,
    len: u32,
    header: [u8; 4],
    header_len: u8,
    encrypted: bool,
}

impl HandshakeReader {
    /// A reader at the start of a conversation.
    pub fn new() -> HandshakeReader {
        HandshakeReader::default()
    }

    /// Has this direction sent its change_cipher_spec?
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// The next record of this direction; only handshake and change_cipher_spec records are looked at.
    pub fn push(&mut self, record: &Record<'_>, sink: &mut impl FnMut(Handshake)) {
        match (record.content_type, record.fragment) {
            (ContentType::CHANGE_CIPHER_SPEC, _) => {
                self.rest();
                self.encrypted = true;
            }
            (ContentType::HANDSHAKE, Some(fragment)) => {
                // TLS 1.3 sends a sham change_cipher_spec before a second, clear hello (RFC 8446 §D.4).
                if self.encrypted && !is_lone_hello(fragment, record.length) {
                    return sink(Handshake::Encrypted { len: record.length });
                }
                self.read(fragment, sink);
                if record.cut {
                    self.break_off(sink);
                }
            }
            _ => {}
        }
    }

    fn read(&mut self, fragment: &[u8], sink: &mut impl FnMut(Handshake)) {
        let mut bytes = fragment;
        loop {
            if usize::from(self.header_len) < self.header.len() {
                let Some((byte, rest)) = bytes.split_first() else {
                    return;
                };
                if let Some(slot) = self.header.get_mut(usize::from(self.header_len)) {
                    *slot = *byte;
                }
                self.header_len += 1;
                bytes = rest;
                if usize::from(self.header_len) < self.header.len() {
                    continue;
                }
                self.len = be24(&[self.header[1], self.header[2], self.header[3]]).unwrap_or(0);
                self.left = self.len;
                if self.kind().name().is_none() || self.len > MAX_MESSAGE {
                    // Joined midway: this is ciphertext, and its record has no more to say.
                    return self.rest();
                }
            }
            let (now, rest) = bytes.split_at_checked(self.left as usize).unwrap_or((bytes, &[]));
            self.left -= now.len() as u32;
            if now.len() == self.len as usize {
                self.give(now, sink);
            } else {
                if self.kind().is_hello() {
                    let room = MAX_HELLO - self.hello.len();
                    self.hello.extend_from_slice(now.get(..room).unwrap_or(now));
                }
                if self.left > 0 {
                    return;
                }
                self.give_held(sink);
            }
            bytes = rest;
        }
    }

    /// The rest of the record is lost: gives a hello as far as it came, and starts anew with the next record.
    fn break_off(&mut self, sink: &mut impl FnMut(Handshake)) {
        if usize::from(self.header_len) == self.header.len() && self.kind().is_hello() {
            self.give_held(sink);
        }
        self.rest();
    }

    fn give_held(&mut self, sink: &mut impl FnMut(Handshake)) {
        let hello = std::mem::take(&mut self.hello);
        self.give(&hello, sink);
    }

    fn give(&mut self, body: &[u8], sink: &mut impl FnMut(Handshake)) {
        let (kind, len) = (self.kind(), self.len);
        self.rest();
        let whole = body.len() == len as usize;
        sink(match kind {
            HandshakeType::CLIENT_HELLO => Handshake::ClientHello(Box::new(ClientHello::parse(body, whole))),
            HandshakeType::SERVER_HELLO => Handshake::ServerHello(Box::new(ServerHello::parse(body, whole))),
            HandshakeType::CERTIFICATE => Handshake::Certificate { len },
            HandshakeType::SERVER_HELLO_DONE => Handshake::ServerHelloDone,
            HandshakeType::CLIENT_KEY_EXCHANGE => Handshake::ClientKeyExchange,
            other => Handshake::Other(other),
        });
    }

    fn kind(&self) -> HandshakeType {
        HandshakeType(self.header[0])
    }

    /// Back to the start of a message, holding nothing.
    fn rest(&mut self) {
        *self = HandshakeReader { encrypted: self.encrypted, ..HandshakeReader::default() };
    }
}

/// Does the record hold one hello and nothing else? Ciphertext looks so once in 2^31.
fn is_lone_hello(fragment: &[u8], record_len: u16) -> bool {
    let Some((&[kind, a, b, c], _)) = fragment.split_first_chunk::<4>() else {
        return false;
    };
    HandshakeType(kind).is_hello() && be24(&[a, b, c]) == Some(u32::from(record_len).saturating_sub(4))
}

/// Walks a list of extensions: number, and the extension's bytes with its 4-byte header. False when one is cut.
fn each_extension(bytes: &[u8], mut visit: impl FnMut(u16, &[u8])) -> bool {
    let mut rest = bytes;
    for _ in 0..MAX_LISTED {
        let (Some(number), Some(len)) = (be16(rest), rest.get(2..).and_then(be16)) else {
            return rest.is_empty();
        };
        let Some((extension, after)) = rest.split_at_checked(4 + usize::from(len)) else {
            visit(number, rest);
            return false;
        };
        visit(number, extension);
        rest = after;
    }
    rest.is_empty()
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).take(MAX_LISTED).filter_map(be16)
}

/// Reads forward; `None` where the bytes end.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn with_len8(&mut self) -> Option<&'a [u8]> {
        let [len] = self.array()?;
        let (taken, rest) = self.0.split_at_checked(usize::from(len))?;
        self.0 = rest;
        Some(taken)
    }

    /// What is there of it, and whether that is all.
    fn with_len16(&mut self) -> Option<(&'a [u8], bool)> {
        let len = usize::from(self.u16()?);
        let Some((taken, rest)) = self.0.split_at_checked(len) else {
            return Some((std::mem::take(&mut self.0), false));
        };
        self.0 = rest;
        Some((taken, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{RecordScanner, hex};
    use proptest::prelude::*;

    /// openconnect with GnuTLS offering TLS 1.3: the whole ClientHello record.
    const CLIENT_HELLO: &str = "1603010200010001fc0303ff283931a36089dcd2e55a7a65dc59e2dd31606ea927192d2046bacd7c30279b204e2ff00cacc960faefbd1abd666b65e87a25d22e3c6bf26b2855903201defee800461302130313011304c02ccca9c0adc00ac02bc0acc009c023c030cca8c014c02fc013c027009dc09d0035003d009cc09c002f003c009fccaac09f0039006b009ec09e003300670100016d000500050100000000000a00160014001700180019001d001e01000101010201030104000b00020100000d00220020040108090804040308070501080a0805050308080601080b0806060302010203002300000033006b0069001700410451aa3c308dead99412a865cbbbc3491ec450b9f58738f3f25c2a9adb4935e36d846f354edc864f20bc91eb18e951eae9b08a3faa8ebebf2060d674084eaa0d79001d00201b5974e4ab91e2296b812d6a9e18605dbb01aca05cd6f903c65951fd26364578002b0009080304030303020301ff01000100002d0003020100001c000240010015008800000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";
    /// The answer: the ServerHello record.
    const SERVER_HELLO_1_3: &str = "160303009b020000970303338fad73be936ca44c6c629f4d61305389eddc83a5c44527c1258ed1cbb525a8204e2ff00cacc960faefbd1abd666b65e87a25d22e3c6bf26b2855903201defee8130200004f0033004500170041042f8fe5e38cabd69986463f10d2b438b1dcc685d547eb4618eec50ce534f9d677f2d3a8c0ebcea447b6e9b6ac40ddc0e4d04a01333222d834e5804faac4e60140002b00020304";
    /// ocserv choosing AES256-SHA256 in TLS 1.2: its first record.
    const SERVER_HELLO_1_2: &str = "1603030057020000530303879192f328e95a062fafbd80b1e474cf3349a11088dd12cb639fa610194032932074a24ce9924e777fc8824bb20468020ef9426848cc5fe7e9cd7a8cca09ca0cc9003d00000bff01000100001c00024000";

    fn read(stream: &[u8], chunk: usize) -> Vec<Handshake> {
        let (mut scanner, mut reader, mut seen) = (RecordScanner::new(), HandshakeReader::new(), Vec::new());
        for bytes in stream.chunks(chunk.max(1)) {
            scanner.push(bytes, &mut |record| reader.push(&record, &mut |message| seen.push(message)));
        }
        scanner.finish(&mut |record| reader.push(&record, &mut |message| seen.push(message)));
        seen
    }

    fn client(stream: &[u8]) -> ClientHello {
        match read(stream, usize::MAX).remove(0) {
            Handshake::ClientHello(hello) => *hello,
            other => panic!("{other:?}"),
        }
    }

    fn server(stream: &[u8]) -> ServerHello {
        match read(stream, usize::MAX).remove(0) {
            Handshake::ServerHello(hello) => *hello,
            other => panic!("{other:?}"),
        }
    }

    /// Wraps handshake messages into records of at most `room` bytes.
    fn records(messages: &[u8], room: usize) -> Vec<u8> {
        messages
            .chunks(room)
            .flat_map(|part| [&[22, 3, 3, (part.len() >> 8) as u8, part.len() as u8], part].concat())
            .collect()
    }

    #[test]
    fn client_hello_offering_1_3() {
        let hello = client(&hex(CLIENT_HELLO));
        assert_eq!(hello.version, Version::TLS_1_2);
        assert_eq!(hello.cipher_suites.len(), 35);
        assert_eq!(hello.session_id.len(), 32);
        assert!(hello.has_extension(43) && !hello.has_extension(22) && !hello.partial);
    }

    #[test]
    fn server_hello_of_both_versions() {
        let new = server(&hex(SERVER_HELLO_1_3));
        assert_eq!((new.version, new.cipher_suite), (Version::TLS_1_3, Some(CipherSuite(0x1302))));
        assert!(!new.partial && !new.hello_retry);
        let old = server(&hex(SERVER_HELLO_1_2));
        assert_eq!((old.version, old.cipher_suite), (Version::TLS_1_2, Some(CipherSuite(0x003d))));
        assert!(!old.encrypt_then_mac() && !old.extended_master_secret());
        let body = [&[3, 3][..], &[7; 32], &hex("00 003d 00 0008 0016 0000 0017 0000")].concat();
        let both = ServerHello::parse(&body, true);
        assert!(both.encrypt_then_mac() && both.extended_master_secret() && !both.partial);
    }

    #[test]
    fn a_hello_without_extensions_is_whole() {
        let body = [&[3, 1][..], &[7; 32], &[0, 0, 2, 0, 0x35, 1, 0]].concat();
        assert!(!ClientHello::parse(&body, true).partial);
        assert!(!ClientHello::visible(&body, false, true).partial);
    }

    #[test]
    fn a_cut_hello_tells_what_was_visible() {
        let stream = hex(CLIENT_HELLO);
        let whole = client(&stream);
        assert_eq!(whole, ClientHello::visible(&stream[9..], false, true), "both readers agree");
        for len in 10..stream.len() {
            let hello = client(&stream[..len]);
            assert!(hello.partial, "{len}");
            assert_eq!(hello.random.is_some(), len >= 9 + 34, "{len}");
            assert!(whole.cipher_suites.starts_with(&hello.cipher_suites));
        }
    }

    #[test]
    fn a_hello_cut_by_a_hole() {
        let stream = hex(CLIENT_HELLO);
        let (mut scanner, mut reader, mut seen) = (RecordScanner::new(), HandshakeReader::new(), Vec::new());
        let mut sink = |record: Record<'_>| reader.push(&record, &mut |message| seen.push(message));
        scanner.push(&stream[..54], &mut sink);
        scanner.missing(stream.len() as u32 - 54, &mut sink);
        scanner.push(&hex(SERVER_HELLO_1_2), &mut sink);
        assert!(
            matches!(&seen[..], [Handshake::ClientHello(hello), Handshake::ServerHello(_)] if hello.partial && hello.random.is_some())
        );
    }

    #[test]
    fn nothing_is_read_after_change_cipher_spec() {
        let mut stream = hex("16 0303 0004 0e000000  14 0303 0001 01  16 0303 0028");
        stream.extend([0x0e; 40]);
        assert_eq!(read(&stream, 3), [Handshake::ServerHelloDone, Handshake::Encrypted { len: 40 }]);
    }

    #[test]
    fn a_second_hello_behind_a_sham_change_cipher_spec_is_read() {
        let mut retry = hex(SERVER_HELLO_1_3);
        retry[11..43].copy_from_slice(&HELLO_RETRY_RANDOM);
        let stream = [retry, hex("140303000101"), hex(SERVER_HELLO_1_3)].concat();
        let seen = read(&stream, 7);
        assert!(
            matches!(&seen[..], [Handshake::ServerHello(a), Handshake::ServerHello(b)] if a.hello_retry && !b.hello_retry)
        );
    }

    #[test]
    fn a_certificate_is_passed_over_unread() {
        let mut messages = hex("0b 00c350");
        messages.extend(vec![0xaa; 50_000]);
        messages.extend(hex("0e000000"));
        let (mut scanner, mut reader, mut seen) = (RecordScanner::new(), HandshakeReader::new(), Vec::new());
        scanner.push(&records(&messages, 9000), &mut |record| {
            reader.push(&record, &mut |message| seen.push(message));
            assert!(reader.hello.is_empty());
        });
        assert_eq!(seen, [Handshake::Certificate { len: 50_000 }, Handshake::ServerHelloDone]);
    }

    #[test]
    fn session_ids() {
        assert_eq!(SessionId::new(&[0xab, 1]).unwrap().to_string(), "ab01");
        assert!(SessionId::new(&[0; 33]).is_none());
        assert!(SessionId::default().is_empty());
    }

    proptest! {
        #[test]
        fn any_split_into_records_and_chunks_gives_the_same_messages(room in 1usize..700, chunk in 1usize..900) {
            let messages = [&hex(CLIENT_HELLO)[5..], &hex("0b000003 000000 0e000000 10000002 0102"), &hex(SERVER_HELLO_1_2)[5..]].concat();
            let expected = read(&records(&messages, 16_000), usize::MAX);
            prop_assert_eq!(expected.len(), 4 + read(&hex(SERVER_HELLO_1_2), usize::MAX).len());
            prop_assert_eq!(read(&records(&messages, room), chunk), expected);
        }

        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..25, chunk in 1usize..50) {
            let message = [&[kind, 0, 0, bytes.len() as u8], &bytes[..]].concat();
            read(&records(&message, 60), chunk);
            ClientHello::parse(&bytes, true);
            ServerHello::parse(&bytes, true);
        }

        #[test]
        fn a_damaged_hello_never_panics(at in 9usize..500, byte: u8) {
            let mut stream = hex(CLIENT_HELLO);
            if let Some(slot) = stream.get_mut(at) { *slot = byte; }
            prop_assert_eq!(read(&stream, 100).len(), 1);
        }
    }
}
