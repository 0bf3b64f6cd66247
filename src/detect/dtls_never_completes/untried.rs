//! No ClientHello was seen at all: not offered, never tried, or blocked before it came here.

use super::finding::remedies;
use crate::event::{FrameRef, PointId, Timestamp, TunnelAnswer, Vantage};
use crate::finding::{Case, Evidence, Finding, Grade, Outcome, Severity, Sight, Wanted, Window};
use crate::session::{Connection, Session};

pub const OFFERED: Grade = Grade::medium(
    "keys show that DTLS was offered, and for 12 s no ClientHello came; a client that does not try would look the same",
);

const WANTED: Option<Wanted> =
    Some(Wanted { vantage: Vantage::Client, why: "whether the client sends DTLS ClientHellos at all" });

/// The answer to CONNECT, when it came and its frame.
type Answer = (Timestamp, FrameRef, TunnelAnswer);

pub fn untried(case: &Case<'_>) -> Outcome {
    let session = case.session;
    if session.proxied_to().is_some() {
        return Outcome::clear(
            "the client reaches the gateway through a web proxy, where no UDP can go: DTLS was not tried",
        );
    }
    let offer = session.granted().find(|(_, _, answer)| answer.offers_dtls());
    if let (None, Some((_, _, answer))) = (offer, session.granted().next()) {
        return not_offered(case, answer);
    }
    let Some(tunnel) = session.tunnels().find(|t| t.settled().is_some()) else { return without_tunnel(session) };
    if let Some(client) = case.at(Vantage::Client).first() {
        return at_client(case, *client, tunnel);
    }
    match (offer, case.at(Vantage::Outside).first()) {
        (Some(offer), Some(outside)) => at_gateway(case, *outside, offer),
        (Some(_), None) => Outcome::cannot_tell(
            "DTLS was offered, and none of its packets is here: blocked before this capture point, or never tried",
            WANTED,
        ),
        (None, _) => Outcome::cannot_tell(
            "no DTLS packet reached this capture point: blocked before it, never tried, or never offered; only the \
             client's NIC or keys can tell",
            WANTED,
        ),
    }
}

fn not_offered(case: &Case<'_>, answer: &TunnelAnswer) -> Outcome {
    let status = answer.status;
    case.clear(|| {
        format!(
            "the gateway did not offer DTLS: its answer to CONNECT ({status}) names neither session nor suite for it; that is \
             configuration, or no suite both know"
        )
    })
}

fn without_tunnel(session: &Session) -> Outcome {
    let connections = &session.connections;
    let why = match !connections.is_empty() && connections.iter().all(|c| !c.role.is_tunnel() && c.begins_here()) {
        true => "no TLS tunnel came up, and DTLS is only tried beside one",
        false => "the capture began after the tunnel; a DTLS attempt before that would not be in it",
    };
    Outcome::cannot_tell(why, None)
}

fn at_client(case: &Case<'_>, client: PointId, tunnel: &Connection) -> Outcome {
    match case.window(client, Sight::Udp(case.session.port), tunnel.start(), tunnel.end()) {
        Err(why) => Outcome::cannot_tell(format!("no DTLS packet was seen, but {why}"), WANTED),
        Ok(_) => Outcome::clear(
            "the client never tried DTLS: not offered by the gateway, or switched off; that is configuration, not a \
             fault of the path",
        ),
    }
}

/// DTLS was granted, as keys show, and no ClientHello reached the gateway: a client that was granted it tries at once.
fn at_gateway(case: &Case<'_>, outside: PointId, offer: &Answer) -> Outcome {
    /// A client needs no longer to bring its adapter up, seconds.
    const AT_ONCE: f64 = 12.0;
    let (at, frame, answer) = offer;
    let port = answer.dtls_port.unwrap_or(case.session.port);
    match case.window(outside, Sight::Udp(port), *at, at.plus_seconds(AT_ONCE)) {
        Ok(window) if window.seconds() >= AT_ONCE => {
            Outcome::Found(Box::new(never_arrived(case.session, port, *frame, window)))
        }
        Ok(_) => {
            Outcome::cannot_tell("DTLS was offered; the capture ends before a ClientHello could be missed", WANTED)
        }
        Err(why) => Outcome::cannot_tell(format!("DTLS was offered, but {why}"), WANTED),
    }
}

fn never_arrived(session: &Session, port: u16, offer: FrameRef, window: Window) -> Finding {
    let permit = format!("permit udp/{port} to the gateway and back, on every firewall between the client and it");
    Finding {
        severity: Severity::Medium,
        grade: OFFERED,
        headline: "DTLS never came up: no ClientHello reaches the gateway".to_owned(),
        summary: format!(
            "The gateway offered DTLS on udp/{port} (X-DTLS-Port), and no ClientHello arrived at its outside interface: blocked on \
             the way from the client, or not tried by it."
        ),
        likely: Some("never-arrived"),
        evidence: vec![
            Evidence::Frames(vec![offer], "the answer to CONNECT, which offers DTLS".to_owned()),
            Evidence::Absence(window, "no ClientHello at the gateway's outside interface".to_owned()),
        ],
        remedy: remedies(permit, session),
        ..Finding::default()
    }
}
