//! What keys showed, for the report: CONNECT and its answers, the packets of the tunnel protocol.

use super::build::rfc3339;
use super::{Connect, PacketCounts, TunnelPackets};
use crate::event::{Direction, FrameRef, PacketKind, Timestamp, TunnelAnswer, TunnelRequest};
use crate::session::Session;
use crate::session::facts::{InsideTls, Packets};

/// Each CONNECT of the session, in order of time.
pub fn connects(session: &Session) -> Vec<Connect> {
    let read = session.connections.iter().filter_map(|c| {
        let inside = c.inside()?;
        let (at, frame) = first(inside)?;
        let view =
            c.views.iter().map(|v| &**v).find(|v| v.opened.first_frame.capture == frame.capture).unwrap_or(c.best());
        let request = inside.request.as_ref().map(|(_, _, request)| request);
        let answer = inside.answer.as_ref().map(|(_, _, answer)| answer);
        Some((at, connect(at, frame, view.opened.stream, request, answer)))
    });
    let mut all: Vec<(Timestamp, Connect)> = read.collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, connect)| connect).collect()
}

fn first(inside: &InsideTls) -> Option<(Timestamp, FrameRef)> {
    let request = inside.request.as_ref().map(|(at, frame, _)| (*at, *frame));
    request.or_else(|| inside.answer.as_ref().map(|(at, frame, _)| (*at, *frame)))
}

fn connect(
    at: Timestamp,
    frame: FrameRef,
    stream: u32,
    request: Option<&TunnelRequest>,
    answer: Option<&TunnelAnswer>,
) -> Connect {
    let asked = request.cloned().unwrap_or_default();
    let given = answer.cloned().unwrap_or_default();
    let dtls_id = given.dtls_id().map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect());
    Connect {
        at: rfc3339(at),
        capture: frame.capture,
        frame: frame.number,
        stream,
        status: answer.map(|answer| answer.status),
        dtls_asked: asked.offers_dtls(),
        dtls_offered: given.offers_dtls(),
        reason: given.reason,
        user_agent: asked.user_agent,
        requested_mtu: asked.mtu,
        client_base_mtu: asked.base_mtu,
        cstp_mtu: given.cstp_mtu,
        dtls_mtu: given.dtls_mtu,
        gateway_base_mtu: given.base_mtu,
        addresses: given.addresses.iter().map(ToString::to_string).collect(),
        dtls_port: given.dtls_port,
        dtls_session_id: dtls_id,
        dtls_cipher: given.dtls_suite,
        dtls12_cipher: given.dtls12_suite,
        encoding: given.encoding,
        dtls_encoding: given.dtls_encoding,
        cstp_dpd: given.cstp_dpd,
        dtls_dpd: given.dtls_dpd,
        cstp_keepalive: given.cstp_keepalive,
        dtls_keepalive: given.dtls_keepalive,
        rekey_time: given.rekey_time,
        rekey_method: given.rekey_method,
        idle_timeout: given.idle_timeout,
        disconnected_timeout: given.disconnected_timeout,
        session_timeout: given.session_timeout,
    }
}

/// The packets of one tunnel.
pub fn packets(packets: &Packets) -> TunnelPackets {
    let way = |direction: Direction| {
        let counts = PacketKind::WORDS.iter().zip(direction.of(&packets.counts));
        PacketCounts {
            kinds: counts.filter(|(_, n)| **n > 0).map(|(word, n)| ((*word).to_owned(), u64::from(*n))).collect(),
            biggest_data: *direction.of(&packets.largest),
        }
    };
    TunnelPackets {
        to_gateway: way(Direction::ToServer),
        to_client: way(Direction::ToClient),
        dpd_round_trip_ms: packets.dpd.map(|trips| trips.mean().map(|seconds| seconds * 1e3)),
        bye: packets.bye.as_ref().map(|parting| parting.words()),
        records_opened: packets.unsealed.opened,
        records_failed: packets.unsealed.failed,
        misframed: packets.unsealed.misframed,
    }
}

/// An answer in one line.
pub fn answer_words(answer: &TunnelAnswer) -> String {
    if answer.status != 200 {
        let reason = answer.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        return format!("CONNECT is refused with {}{reason}", answer.status);
    }
    let mut parts = Vec::new();
    parts.extend(answer.cstp_mtu.map(|mtu| format!("X-CSTP-MTU {mtu}")));
    parts.extend(answer.dtls_mtu.map(|mtu| format!("X-DTLS-MTU {mtu}")));
    let suite = answer.dtls12_suite.as_ref().or(answer.dtls_suite.as_ref());
    match (answer.offers_dtls(), answer.dtls_port) {
        (true, Some(port)) => parts.push(format!("DTLS on udp/{port}")),
        (true, None) => parts.push("DTLS".to_owned()),
        (false, _) => parts.push("no DTLS".to_owned()),
    }
    parts.extend(suite.map(|suite| format!("with {suite}")));
    parts.extend(answer.addresses.iter().map(|address| format!("address {address}")));
    format!("CONNECT is granted: {}", parts.join(", "))
}
