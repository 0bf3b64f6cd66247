//! UDP: datagrams to DTLS records and handshakes; what is not DTLS is named and left alone.

use super::opened::Datagrams;
use super::{Bench, Told, is_super_frame};
use crate::event::{Direction, DtlsMessage, DtlsRecordSeen, Event, LARGE, Large, Unsealed, What};
use crate::packet::{Packet, UdpDatagram};
use crate::tls::dtls::{self, DtlsHandshakeReader, looks_like_dtls, parse_datagram};
use crate::tls::lookalike::{is_ike, is_quic_initial, is_stun};
use crate::tls::{ContentType, HandshakeType};

/// Datagrams looked at before a flow counts as another protocol.
const TRIES: u8 = 8;
/// QUIC Initials told per flow and direction: enough to see that nobody answers.
const QUIC_TOLD: u8 = 3;

/// A UDP flow.
#[derive(Debug, Default)]
pub(super) struct Udp {
    tried: u8,
    media: bool,
    quic: [u8; 2],
    /// Its DTLS was up before its first datagram here, or went on from another port: no ClientHello of its own was seen.
    midway: bool,
    dtls: Option<Box<Dtls>>,
}

/// A UDP flow that carries DTLS.
#[derive(Debug, Default)]
struct Dtls {
    /// Of the session id that the last ClientHello named, its first bytes; 0 when it named none.
    session: u64,
    /// What puts handshake messages together, while there are pieces of them.
    readers: Option<Box<[DtlsHandshakeReader; 2]>>,
    /// There are keys, perhaps for it.
    opened: Option<Box<Datagrams>>,
}

impl Udp {
    /// Does this datagram begin another connection from the same ports (RFC 6347 §4.2.8)? Its ClientHello names another session than
    /// the one before, or stands in the clear behind sealed records.
    pub(super) fn begins_anew(&self, datagram: &UdpDatagram<'_>) -> bool {
        let Some(dtls) = self.dtls.as_ref().filter(|_| is_client_hello(datagram.payload)) else { return false };
        let is_other = |session| dtls.session != 0 && dtls.session != session;
        self.midway || session_of(datagram.payload).is_some_and(is_other)
    }

    pub(super) fn is_dtls(&self) -> bool {
        self.dtls.is_some()
    }

    pub(super) fn unsealed(&self) -> Option<Unsealed> {
        let counts = self.dtls.as_ref()?.opened.as_ref()?.counts();
        Some(Unsealed { opened: counts.opened, failed: counts.failed, misframed: 0 })
    }

    pub(super) fn handshakes_dropped(&self) -> u64 {
        let readers = self.dtls.iter().flat_map(|dtls| &dtls.readers).flat_map(|readers| readers.iter());
        readers.map(|reader| u64::from(reader.dropped())).sum()
    }
}

pub(super) fn take(
    udp: &mut Udp,
    told: &mut Told<'_, impl FnMut(&Event<'_>)>,
    bench: &mut Bench<'_>,
    packet: &Packet<'_>,
    datagram: &UdpDatagram<'_>,
    mut direction: Direction,
) {
    if udp.dtls.is_none() && udp.tried < TRIES {
        udp.tried += 1;
        if looks_like_dtls(datagram.payload, datagram.payload_len as usize) {
            let opened = (!bench.keys.keyring.is_empty()).then(Box::default);
            udp.midway = !is_in_the_clear(datagram.payload);
            udp.dtls = Some(Box::new(Dtls { opened, ..Dtls::default() }));
            if is_hello_of_server(datagram.payload, direction) && !told.flow.state.is_opened {
                swap(&mut told.flow.state);
                direction = direction.reverse();
            }
        } else {
            other(udp, told, datagram, direction);
        }
    }
    if let Some(dtls) = &mut udp.dtls {
        records(dtls, told, bench, packet, datagram, direction);
    }
    if packet.fragments == 0 && is_super_frame(&packet.ip, datagram.payload_len, None) {
        told.flow.state.add_super_frame();
    } else if packet.fragments == 0 && packet.ip.dont_fragment {
        told.large(&packet.ip, direction, false);
    } else if udp.dtls.is_some() && packet.ip.total_len >= LARGE {
        // What came so came all the same: its sender may have set DF, and a router on the way cleared it.
        let large = Large { direction, ip_len: packet.ip.total_len, again: false };
        told.tell(What::Fragmentable(told.id(), large));
    }
}

/// The first bytes of the session id in a ClientHello that begins a datagram; nothing when it names none (RFC 6347 §4.2.1).
#[inline]
fn session_of(payload: &[u8]) -> Option<u64> {
    /// Record and handshake header, version and random.
    const BEFORE: usize = dtls::HEADER_LEN + dtls::HANDSHAKE_HEADER_LEN + 2 + 32;
    let (length, id) = payload.get(BEFORE..).filter(|_| is_client_hello(payload))?.split_first()?;
    let first = u64::from_be_bytes(*id.first_chunk().filter(|_| *length >= 8)?);
    (first != 0).then_some(first)
}

/// Is the first record of epoch 0, which nothing seals?
#[inline]
fn is_in_the_clear(payload: &[u8]) -> bool {
    payload.get(3..5) == Some(&[0, 0])
}

#[inline]
fn is_client_hello(payload: &[u8]) -> bool {
    payload.first() == Some(&ContentType::HANDSHAKE.0)
        && payload.get(dtls::HEADER_LEN) == Some(&HandshakeType::CLIENT_HELLO.0)
        && is_in_the_clear(payload)
}

/// A ClientHello that goes "to the client": the table guessed the ends by port numbers, and wrongly.
fn is_hello_of_server(payload: &[u8], direction: Direction) -> bool {
    is_client_hello(payload) && direction == Direction::ToClient
}

fn swap(state: &mut super::State) {
    state.swapped = !state.swapped;
    state.packets.reverse();
    state.last.reverse();
    state.ttl.reverse();
    if let Some(way) = state.seldom.as_mut().and_then(|seldom| seldom.from_adapter.as_mut()) {
        *way = way.reverse();
    }
}

/// The well-known port of IKE that one end uses: 500, or 4500 behind a NAT (RFC 3948 §2).
fn ike_port<S>(told: &Told<'_, S>, datagram: &UdpDatagram<'_>) -> Option<u16> {
    let server = told.flow.endpoints().server.port();
    [500, 4500].into_iter().find(|port| *port == server || *port == datagram.dst_port)
}

/// Names what shares the port with DTLS.
fn other(udp: &mut Udp, told: &mut Told<'_, impl FnMut(&Event<'_>)>, datagram: &UdpDatagram<'_>, direction: Direction) {
    let flow = told.id();
    if let Some(port) = ike_port(told, datagram)
        && is_ike(port, datagram.payload)
    {
        told.tell(What::Ike(flow));
        return;
    }
    // STUN, or RTP/SRTP by its version bits (RFC 7983 §7).
    let media = is_stun(datagram.payload)
        || datagram.payload.first().is_some_and(|b| (128..=191).contains(b)) && datagram.payload.len() >= 12;
    if is_quic_initial(datagram.payload) {
        if let Some(told_so_far) = udp.quic.get_mut(direction.index())
            && *told_so_far < QUIC_TOLD
        {
            *told_so_far += 1;
            told.tell(What::QuicInitial(flow, direction));
        }
        return;
    }
    if media && !udp.media {
        udp.media = true;
        if is_stun(datagram.payload) {
            told.tell(What::Media(flow));
        }
    }
}

fn records(
    dtls: &mut Dtls,
    told: &mut Told<'_, impl FnMut(&Event<'_>)>,
    bench: &mut Bench<'_>,
    packet: &Packet<'_>,
    datagram: &UdpDatagram<'_>,
    direction: Direction,
) {
    told.open();
    let flow = told.id();
    let Dtls { readers, opened, session, .. } = dtls;
    if let Some(named) = session_of(datagram.payload) {
        *session = named;
    }
    let mut left = datagram.payload_len as usize;
    parse_datagram(datagram.payload, &mut |record| {
        left = left.saturating_sub(dtls::HEADER_LEN + usize::from(record.length));
        if record.epoch == 0 && record.content_type == ContentType::HANDSHAKE {
            let version = record.version;
            // Kept only while a message lacks a piece, as hardly any does.
            let mut fresh = DtlsHandshakeReader::new();
            let reader = readers.as_deref_mut().map_or(&mut fresh, |readers| direction.of_mut(readers));
            reader.push_raw(&record, &mut |handshake, bytes| {
                if let Some(opened) = opened {
                    opened.hello(direction, &handshake, bytes, bench.keys.keyring);
                }
                let message = match &handshake.message {
                    dtls::DtlsMessage::ClientHello(hello) => DtlsMessage::ClientHello(hello, version),
                    dtls::DtlsMessage::HelloVerifyRequest { cookie, .. } => DtlsMessage::HelloVerifyRequest(cookie),
                    dtls::DtlsMessage::ServerHello(hello) => DtlsMessage::ServerHello(hello),
                    dtls::DtlsMessage::Certificate { .. } => DtlsMessage::Certificate,
                    dtls::DtlsMessage::ServerHelloDone => DtlsMessage::Other(HandshakeType::SERVER_HELLO_DONE.0),
                    dtls::DtlsMessage::ClientKeyExchange { .. } => {
                        DtlsMessage::Other(HandshakeType::CLIENT_KEY_EXCHANGE.0)
                    }
                    dtls::DtlsMessage::Other(kind) => DtlsMessage::Other(kind.0),
                };
                told.tell(What::DtlsHandshake(flow, direction, handshake.message_seq, message));
            });
            if !fresh.is_idle() {
                *direction.of_mut(readers.get_or_insert_default()) = fresh;
            }
            readers.take_if(|readers| readers.iter().all(DtlsHandshakeReader::is_idle));
        }
        if let Some(alert) = record.alert() {
            told.tell(What::DtlsAlert(flow, direction, alert));
        }
        let seen = DtlsRecordSeen {
            content_type: record.content_type.0,
            version: record.version,
            epoch: record.epoch,
            sequence: record.sequence,
            length: record.length,
            ip_len: packet.ip.total_len,
            unfinished: readers.as_deref().is_some_and(|readers| direction.of(readers).is_unfinished()),
            cut_behind: left > 0 && record.fragment.len() < usize::from(record.length),
        };
        told.tell(What::DtlsRecord(flow, direction, seen));
        if let Some(opened) = opened.as_mut().filter(|_| record.epoch > 0) {
            let Bench { keys, carried, .. } = &mut *bench;
            opened.take(direction, &record, keys, &mut |plain| told.plain(direction, plain, carried));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of that epoch that begins with a handshake message of that type, without a session id.
    fn datagram(epoch: u8, kind: u8) -> Vec<u8> {
        let mut bytes = vec![ContentType::HANDSHAKE.0, 0xfe, 0xfd, 0, epoch];
        bytes.resize(dtls::HEADER_LEN, 0);
        bytes.push(kind);
        bytes.resize(120, 0);
        bytes
    }

    #[test]
    fn what_is_kept_of_each_flow_is_small() {
        assert!(size_of::<Udp>() <= 16, "{}", size_of::<Udp>());
        assert!(size_of::<Dtls>() <= 24, "{}", size_of::<Dtls>());
    }

    #[test]
    fn a_hello_in_the_clear_begins_anew_what_was_up_before() {
        let begins_anew = |midway, payload: &[u8]| {
            let udp = Udp { midway, dtls: Some(Box::default()), ..Udp::default() };
            udp.begins_anew(&UdpDatagram { src_port: 1, dst_port: 443, payload, payload_len: payload.len() as u32 })
        };
        let hello = datagram(0, HandshakeType::CLIENT_HELLO.0);
        assert!(begins_anew(true, &hello));
        assert!(!begins_anew(false, &hello), "sent again, or with a cookie");
        assert!(!begins_anew(true, &datagram(1, HandshakeType::CLIENT_HELLO.0)), "sealed: a rekey");
        assert!(!begins_anew(true, &datagram(0, HandshakeType::SERVER_HELLO.0)));
    }
}
