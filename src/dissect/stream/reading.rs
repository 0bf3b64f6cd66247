//! Bytes in order to TLS records, and what a record shows.

use crate::dissect::opened::{Keys, Stream};
use crate::dissect::proxy::Connect;
use crate::dissect::{Carried, Losses, Told};
use crate::event::{Direction, Event, What};
use crate::flow::tcp::Chunk;
use crate::tls::record::{PATIENCE, Record, RecordScanner, Verdict, may_begin};
use crate::tls::{Alert, ContentType, Handshake, HandshakeReader};

/// What is known of the bytes: [`Tcp::reading`] and [`Tcp::hunted`].
pub(super) struct Tls<'a> {
    pub(super) reading: &'a mut Option<Box<Reading>>,
    pub(super) hunted: &'a mut u32,
}

#[derive(Debug)]
pub(super) struct Reading {
    scanners: [RecordScanner; 2],
    /// What puts handshake messages together, until application data has gone both ways: from then on no alert is in the clear
    /// either.
    handshakes: Option<Box<[HandshakeReader; 2]>>,
    /// Application data was seen, each way.
    data: [bool; 2],
    /// The connection began with an HTTP CONNECT.
    connect: Option<Box<Connect>>,
    /// There are keys, perhaps for it.
    pub(super) opened: Option<Box<Stream>>,
}

/// Where it goes what the bytes show.
pub(super) struct Seen<'a, 'f, S> {
    pub(super) told: &'a mut Told<'f, S>,
    pub(super) losses: &'a mut Losses,
    /// The way of an encrypted alert.
    pub(super) alert: Option<Direction>,
    pub(super) carried: &'a mut Carried,
}

pub(super) fn read(
    tls: &mut Tls<'_>,
    direction: Direction,
    from_start: bool,
    chunk: &Chunk<'_>,
    keys: &mut Keys<'_>,
    seen: &mut Seen<'_, '_, impl FnMut(&Event<'_>)>,
) {
    let Tls { reading, hunted } = tls;
    if reading.is_none() {
        if **hunted > PATIENCE {
            return;
        }
        let passed_over = match chunk {
            _ if from_start => 0,
            Chunk::Data(bytes) if may_begin(bytes) => 0,
            Chunk::Data(bytes) => bytes.len() as u32,
            Chunk::Missing(count) => *count,
        };
        if passed_over > 0 {
            **hunted = hunted.saturating_add(passed_over);
            return;
        }
        let scanner = || if from_start { RecordScanner::new() } else { RecordScanner::midway() };
        **reading = Some(Box::new(Reading {
            scanners: [scanner(), scanner()],
            handshakes: Some(Box::new([HandshakeReader::new(), HandshakeReader::new()])),
            data: [false, false],
            connect: begins(direction, from_start, chunk),
            opened: (!keys.keyring.is_empty()).then(|| Box::new(Stream::new(keys.keyring))),
        }));
    }
    let Some(known) = reading.as_deref_mut() else { return };
    let Reading { scanners, handshakes, data, connect, opened } = known;
    let chunk = match (connect, chunk) {
        (Some(connect), Chunk::Data(bytes)) => {
            let flow = seen.told.id();
            let rest = connect.strip(direction, bytes, &mut |to| seen.told.tell(What::ProxyConnect(flow, &to)));
            if rest.is_empty() {
                return;
            }
            Chunk::Data(rest)
        }
        (Some(connect), missing) => {
            connect.missing(direction);
            *missing
        }
        (None, chunk) => *chunk,
    };
    let scanner = direction.of_mut(scanners);
    if opened.is_some() {
        scanner.keep_data();
    }
    let before = scanner.lost_syncs();
    let mut sink = |record: Record<'_>| {
        let is_sealed = opened.as_ref().is_some_and(|opened| opened.is_sealed(direction, record.content_type));
        clear(direction, &record, handshakes, data, seen);
        let Some(stream) = opened else { return };
        if is_sealed {
            stream.take(direction, &record, keys, &mut |plain| seen.told.plain(direction, plain, seen.carried));
        } else if !stream.clear(direction, &record, keys.keyring) {
            // Nobody has keys for it.
            *opened = None;
        }
    };
    match chunk {
        Chunk::Data(bytes) => scanner.push(bytes, &mut sink),
        Chunk::Missing(count) => scanner.missing(count, &mut sink),
    }
    if scanner.lost_syncs() != before
        && let Some(opened) = opened
    {
        opened.gap(direction);
    }
    seen.losses.lost_syncs += u64::from(scanner.lost_syncs().saturating_sub(before));
    if scanner.verdict() == Verdict::NotTls {
        (**reading, **hunted) = (None, u32::MAX);
    }
}

/// An alert of TLS 1.3, bytes: its two, its content type, and the tag (RFC 8446 §5.2); no tunnel carries so little.
const ALERT_OF_TLS13: u16 = 2 + 1 + 16;

/// What a record shows without being opened.
fn clear(
    direction: Direction,
    record: &Record<'_>,
    handshakes: &mut Option<Box<[HandshakeReader; 2]>>,
    data: &mut [bool; 2],
    seen: &mut Seen<'_, '_, impl FnMut(&Event<'_>)>,
) {
    let flow = seen.told.id();
    match record.content_type {
        ContentType::HANDSHAKE if *direction.of(data) => seen.told.tell(What::TlsRenegotiation(flow, direction)),
        ContentType::HANDSHAKE | ContentType::CHANGE_CIPHER_SPEC => {
            if let Some(handshakes) = handshakes.as_deref_mut() {
                let handshake = direction.of_mut(handshakes);
                handshake.push(record, &mut |message| match &message {
                    Handshake::ClientHello(hello) => seen.told.tell(What::ClientHello(flow, hello)),
                    Handshake::ServerHello(hello) => seen.told.tell(What::ServerHello(flow, hello)),
                    _ => {}
                });
            }
        }
        ContentType::ALERT => {
            let is_clear = handshakes.as_deref().is_some_and(|readers| !direction.of(readers).is_encrypted());
            if let Some(alert) = record.fragment.and_then(Alert::parse)
                && record.length == 2
                && is_clear
            {
                seen.told.tell(What::TlsAlert(flow, direction, alert));
            } else {
                seen.alert.get_or_insert(direction);
            }
        }
        ContentType::APPLICATION_DATA => {
            if record.length == ALERT_OF_TLS13 {
                seen.alert.get_or_insert(direction);
            }
            *direction.of_mut(data) = true;
            handshakes.take_if(|_| *data == [true; 2]);
            seen.told.tell(What::TlsData(flow, direction, record.length));
        }
        _ => {}
    }
}

fn begins(direction: Direction, from_start: bool, chunk: &Chunk<'_>) -> Option<Box<Connect>> {
    match chunk {
        Chunk::Data(bytes) if from_start && direction == Direction::ToServer => Connect::begins(bytes).map(Box::new),
        _ => None,
    }
}
