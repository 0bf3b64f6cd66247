//! The TLS tunnel ended before its time, or was replaced by another one.

mod breaks;
mod cause;
mod ended;
mod finding;
mod reset;
mod summary;
mod unsettled;
mod waiting;

use crate::event::Vantage;
use crate::finding::{BothWays, Case, Detector, Outcome, Severity, Wanted};
use crate::session::reconnect::{Cause, Reconnect};
use breaks::Break;
use ended::refusal;
use finding::{ALONE, BOTH_ENDS, EITHER, FORGED, LARGE, SEEN, SILENCE, TIMING, finding};
use unsettled::unsettled;

pub static DETECTOR: Detector = Detector {
    id: "tunnel-interrupted",
    title: "The tunnel was interrupted or replaced",
    severity: Severity::Medium,
    judged_from: &[Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::OfTcp,
    leads_to: &[],
    question: "what ends the tunnel",
    explanation: "\
The TLS connection that carries the tunnel ended and another took its place without a login, or it was reset, or when the capture ends one \
side has not heard from the other any more. Users see a pause \
as long as no data flows. What ended it is told apart:

- `reset-by-middlebox`: a RST whose TTL is not that of the connection's other packets (of one that was idle until then: of the DTLS beside it), or that one end received and the other never sent
- `reset-by-gateway`: the gateway's own RST. Where one side had heard nothing for five seconds and more, over TLS and DTLS, a RST only \
tells that its sender no longer knows the connection, and the silence before it is the cause: `path-lost`, `client-silent` or `tls-lost`
- `dpd-unanswered`: the gateway's TCP lives, but for ten seconds or more nothing in the tunnel was answered, DPD included, or for five the new connection's ClientHello; what it answers when the client has gone on to a new connection came too late; at the end of the capture twenty records or more went unanswered for twenty seconds, a DPD among them, or for thirty
- `path-lost`: nothing came back at all: data was sent again and again, or the new connection's SYN waited for its answer; also where the tunnel then went on, be it large segments alone that were sent again until one was acknowledged, or where the gateway hears nothing of a client whose own capture shows that it sends, and hears nothing either; or where large segments go unanswered for ten seconds or more, and small ones sent behind them too, or the other side only sends again what was acknowledged
- `path-lost-or-too-large`: large segments alone go unanswered so long, until the capture ends: the path is lost, the other side is gone, or the path drops what is large, as `path-mtu-blackhole` tells where small ones come through
- `gateway-silent`: the same, while the client's packets are seen to reach the gateway's outside interface
- `gateway-restarted`: the gateway fell silent, and then it refused new connections with a RST: its service, or its host, was down
- `client-silent`: nothing came from the client any more, or for 20 s until it reconnected, as seen at the gateway's end: its network was lost, or its machine slept or was switched off
- `tls-lost`: the TLS connection alone was lost, as when a firewall forgets it; DTLS beside it was answered to the last, or for five seconds and more after TLS fell silent, and since then not asked in vain
- `rekey-failed`: a renegotiation had begun that the other side never took part in
- `sleep`: the client's own capture shows nothing at all for 45 s or more, and the new connection right after
- `roaming`: the client has another address
- `gateway-hop`: the client had just left another gateway
- `link-mtu-changed`: the client's outer SYN announces another MSS
- `rekey`: after a whole number of hours, as a rekey by a new tunnel does
- `optimising`: a second tunnel beside a working first one within half a minute, which is then closed: deliberate
- `gateway-closed`, `client-closed`: a FIN, or the client's own RST, and nothing tells why; at the end of a session only where the gateway then takes no new tunnel from the client that comes back, as when its service is restarted or taken down
- `dismissed`: keys show that the gateway said goodbye at the end of the session, as when an administrator or a time limit ends it
- `turned-away`: the client closed the tunnel itself, without a goodbye, and came back at once, as after a sleep or for new keys; that \
connection ended after one question and one answer, and no tunnel came of it
- `refused`: keys show that the gateway answered CONNECT without granting a tunnel

The reconnect that only lowers the MTU after a minute has a detector of its own. A tunnel the client itself ends with the session is \
not this. Medium when it was reset, went unanswered, or no new one was granted, low when the client reset it or left large segments alone unanswered, when the gateway ended it, when the path was \
lost for less than thirty seconds and the tunnel went on, or TLS alone was lost and did not come back, or there was no tunnel for five seconds or more; else a fact worth knowing.",
    confidence: &[BOTH_ENDS, FORGED, SEEN, SILENCE, ALONE, TIMING, LARGE, EITHER],
    remedy: &[
        "for a reset by a middlebox: find the device (its TTL tells how far it is) and exempt the gateway from inspection or its idle timer",
        "for unanswered DPD: the gateway's load and logs at that moment (722037, `DPD failure`)",
        "for a lost path: the client's network; `anyconnect ssl keepalive` and DPD only decide how soon it is noticed",
    ],
    references: &["Cisco TAC 116312 (reconnect behaviour, DPD)", "RFC 9293 §3.5.2 (reset)", "ASA syslog 722037"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    // Where the gateway granted none at all, the last connection that asked for one.
    let refused = || session.connections.iter().rev().find(|connection| refusal(connection).is_some());
    let Some(last) = session.tunnels().last().or_else(refused) else {
        return Outcome::cannot_tell("the TLS tunnel was not captured", None);
    };
    let seams: Vec<&Reconnect> = session.reconnects.iter().filter(|r| r.cause != Cause::Mtu).collect();
    let worst = Break::all(case, last, &seams).reduce(|a, b| if b.severity() > a.severity() { b } else { a });
    if let Some(worst) = worst {
        return Outcome::Found(Box::new(finding(&worst, case, &seams)));
    }
    unsettled(case, last).or_else(|| came_back(case)).unwrap_or_else(|| {
        Outcome::clear(match session.reconnects.len() {
            0 => "one tunnel connection, ended by neither a reset nor silence",
            _ => "the only reconnect came for the MTU",
        })
    })
}

/// The client came back from a tunnel of which nothing shows but its DTLS.
fn came_back(case: &Case<'_>) -> Option<Outcome> {
    let (before, tunnel) = (case.session.dtls_of_before()?, case.session.tunnels().next()?);
    let why = format!(
        "the client opened a new tunnel {}, {:.1} s after the last DTLS record of one begun before the capture; what ended that cannot be \
         told, for no data of its TLS connection was captured",
        case.without_login(),
        tunnel.start().seconds_since(before.end()),
    );
    let wanted = Wanted { vantage: Vantage::Client, why: "what ends the tunnel: from the start on" };
    Some(Outcome::unsettled(
        why,
        Some(wanted),
        "the client had to come back; what ended its tunnel before cannot be told",
    ))
}
