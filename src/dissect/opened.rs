//! Streams and datagrams that somebody has keys for: records to plaintext, plaintext to what was said in it.

use crate::anyconnect::{
    Encoding, Inflater, PacketKind, Said, Talk, Token, TunnelAnswer, TunnelRequest, datagram, decompress_any,
};
use crate::decrypt::{Counts, DtlsOpener, Keyring, Side, TlsOpener};
use crate::event::Direction;
use crate::tls::{
    ContentType, DtlsHandshake, DtlsHandshakeReader, DtlsMessage, DtlsRecord, Handshake, HandshakeReader, Record,
    SessionId,
};

/// The PSK of a DTLS handshake that names an application id (openconnect and ocserv's PSK-NEGOTIATE).
const PSK_LABEL: &str = "EXPORTER-openconnect-psk";
const PSK_LEN: usize = 32;

/// What opening takes: the secrets, and room for one record and one packet.
pub(super) struct Keys<'a> {
    pub(super) keyring: &'a mut Keyring,
    pub(super) record: &'a mut Vec<u8>,
    pub(super) packet: &'a mut Vec<u8>,
}

/// Something read inside the encryption.
pub(super) enum Plain<'a> {
    Request(Box<TunnelRequest>),
    Answer(Box<TunnelAnswer>),
    Token(Token),
    /// A packet of the tunnel protocol, and the IP packet in it.
    Packet(PacketKind, &'a [u8], Option<&'a [u8]>),
}

fn side(direction: Direction) -> Side {
    match direction {
        Direction::ToServer => Side::Client,
        Direction::ToClient => Side::Server,
    }
}

/// A TLS connection.
#[derive(Debug)]
pub(super) struct Stream {
    opener: TlsOpener,
    talk: Talk,
    inflaters: [Option<Inflater>; 2],
    /// Handshakes, the first in the clear and those inside the connection.
    hellos: [HandshakeReader; 2],
    master_secret: Option<Box<[u8; 48]>>,
}

impl Stream {
    pub(super) fn new(keyring: &Keyring) -> Stream {
        Stream {
            opener: TlsOpener::new(keyring),
            talk: Talk::default(),
            inflaters: [None, None],
            hellos: [HandshakeReader::new(), HandshakeReader::new()],
            master_secret: None,
        }
    }

    /// A record in the clear; is there hope for keys after it?
    pub(super) fn clear(&mut self, direction: Direction, record: &Record<'_>, keyring: &Keyring) -> bool {
        if record.content_type == ContentType::CHANGE_CIPHER_SPEC {
            self.opener.change_cipher(side(direction));
        }
        let Some(fragment) = record.fragment.filter(|_| record.content_type == ContentType::HANDSHAKE) else {
            return true;
        };
        let mut hope = true;
        let opener = &mut self.opener;
        direction.of_mut(&mut self.hellos).push(record, &mut |message| match message {
            Handshake::ClientHello(hello) => opener.client_hello(&hello),
            Handshake::ServerHello(hello) => hope &= opener.server_hello(&hello, keyring),
            _ => {}
        });
        self.opener.clear_handshake(side(direction), fragment, keyring);
        hope
    }

    pub(super) fn is_sealed(&self, direction: Direction, content_type: ContentType) -> bool {
        self.opener.is_sealed(side(direction), content_type)
    }

    /// Records of that direction are missing.
    pub(super) fn gap(&mut self, direction: Direction) {
        self.opener.gap(side(direction));
        self.talk.gap(direction == Direction::ToServer);
        direction.of_mut(&mut self.inflaters).iter_mut().for_each(Inflater::gap);
    }

    /// A sealed record.
    pub(super) fn take(
        &mut self,
        direction: Direction,
        record: &Record<'_>,
        keys: &mut Keys<'_>,
        sink: &mut impl FnMut(Plain<'_>),
    ) {
        let Some(fragment) = record.fragment.filter(|_| !record.cut) else {
            self.opener.skip(side(direction), usize::from(record.length));
            self.talk.gap(direction == Direction::ToServer);
            return;
        };
        let Keys { keyring, record: room, packet } = keys;
        let opened = self.opener.open(side(direction), record.content_type, record.version, fragment, room, keyring);
        let Some((kind, range)) = opened else {
            self.talk.gap(direction == Direction::ToServer);
            return;
        };
        let plain = room.get(range).unwrap_or_default();
        match kind {
            ContentType::APPLICATION_DATA => self.said(direction, plain, keyring, packet, sink),
            ContentType::CHANGE_CIPHER_SPEC => self.opener.change_cipher(side(direction)),
            ContentType::HANDSHAKE => {
                let opener = &mut self.opener;
                let record =
                    Record { content_type: kind, fragment: Some(plain), length: plain.len() as u16, ..*record };
                direction.of_mut(&mut self.hellos).push(&record, &mut |message| match message {
                    Handshake::ClientHello(hello) => opener.client_hello(&hello),
                    Handshake::ServerHello(hello) => {
                        opener.server_hello(&hello, keyring);
                    }
                    _ => {}
                });
            }
            _ => {}
        }
    }

    fn said(
        &mut self,
        direction: Direction,
        plain: &[u8],
        keyring: &mut Keyring,
        packet: &mut Vec<u8>,
        sink: &mut impl FnMut(Plain<'_>),
    ) {
        let Stream { opener, talk, inflaters, master_secret, .. } = self;
        talk.push(direction == Direction::ToServer, plain, &mut |said| match said {
            Said::Request(mut request) => {
                // No request carries its secret any further.
                let secret = request.take_master_secret();
                if request.is_connect {
                    *master_secret = secret;
                }
                sink(Plain::Request(request));
            }
            Said::Answer(answer) => {
                if answer.is_tunnel {
                    learn(&answer, master_secret.take(), opener, keyring);
                    let encoding = answer.encoding.as_deref().and_then(Encoding::from_name);
                    *inflaters = [(); 2].map(|()| encoding.map(Inflater::new));
                }
                sink(Plain::Answer(answer));
            }
            Said::Token(token) => sink(Plain::Token(token)),
            Said::Packet(PacketKind::Data, payload) => sink(Plain::Packet(PacketKind::Data, payload, Some(payload))),
            Said::Packet(PacketKind::Compressed, payload) => {
                let inflater = direction.of_mut(inflaters).as_mut();
                let whole = inflater.is_some_and(|inflater| inflater.push(payload, packet));
                sink(Plain::Packet(PacketKind::Compressed, payload, whole.then_some(packet.as_slice())));
            }
            Said::Packet(kind, payload) => sink(Plain::Packet(kind, payload, None)),
        });
    }

    pub(super) fn counts(&self) -> Counts {
        self.opener.counts()
    }

    pub(super) fn misframed(&self) -> u32 {
        self.talk.misframed()
    }
}

/// What the answer to CONNECT gives away of DTLS.
fn learn(answer: &TunnelAnswer, master: Option<Box<[u8; 48]>>, opener: &TlsOpener, keyring: &mut Keyring) {
    if let (Some(id), Some(master)) = (answer.dtls_session_id.and_then(|id| SessionId::new(&id)), master) {
        keyring.learn_dtls_master(id, &master);
    }
    if let Some(id) = answer.dtls_app_id.and_then(|id| SessionId::new(&id))
        && let Some(psk) = opener.export(PSK_LABEL, PSK_LEN, keyring)
    {
        keyring.learn_psk(id, &psk);
    }
}

/// A DTLS flow.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    opener: DtlsOpener,
    /// Handshakes inside an epoch: a rekey.
    inside: [DtlsHandshakeReader; 2],
}

impl Datagrams {
    /// A handshake message in the clear, and its bytes.
    pub(super) fn hello(&mut self, direction: Direction, handshake: &DtlsHandshake, bytes: &[u8], keyring: &Keyring) {
        self.opener.clear_handshake(side(direction), bytes, keyring);
        hello(&mut self.opener, &handshake.message);
    }

    /// A record of epoch 1 or above.
    pub(super) fn take(
        &mut self,
        direction: Direction,
        record: &DtlsRecord<'_>,
        keys: &mut Keys<'_>,
        sink: &mut impl FnMut(Plain<'_>),
    ) {
        let Keys { keyring, record: room, packet } = keys;
        let Some(range) = self.opener.open(side(direction), record, room, keyring) else { return };
        let plain = room.get(range).unwrap_or_default();
        match record.content_type {
            ContentType::APPLICATION_DATA => {
                let Some((kind, payload)) = datagram(plain) else { return };
                let inner = match kind {
                    PacketKind::Data => Some(payload),
                    PacketKind::Compressed if decompress_any(payload, packet) => Some(packet.as_slice()),
                    _ => None,
                };
                sink(Plain::Packet(kind, payload, inner));
            }
            ContentType::HANDSHAKE => {
                let clear = DtlsRecord { epoch: 0, fragment: plain, length: plain.len() as u16, ..*record };
                let opener = &mut self.opener;
                direction.of_mut(&mut self.inside).push(&clear, &mut |message| hello(opener, &message.message));
            }
            _ => {}
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.opener.counts()
    }
}

fn hello(opener: &mut DtlsOpener, message: &DtlsMessage) {
    match message {
        DtlsMessage::ClientHello(hello) => opener.client_hello(hello),
        DtlsMessage::ServerHello(hello) => opener.server_hello(hello),
        _ => {}
    }
}
