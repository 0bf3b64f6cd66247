//! What the end of a tunnel tells, and how the client fared that came back for a new one.

use crate::event::{Direction, FrameRef, TunnelAnswer};
use crate::finding::Case;
use crate::session::Connection;
use crate::session::beside::{Refusal, TurnedAway};
use crate::session::facts::Parting;

/// The answer to CONNECT that granted none, and its frame.
pub fn refusal(tunnel: &Connection) -> Option<(&TunnelAnswer, FrameRef)> {
    let (_, frame, answer) = tunnel.inside()?.answer.as_ref().filter(|_| tunnel.granted().is_none())?;
    Some((answer, *frame))
}

/// The gateway's goodbye, read with keys, where it said that first.
pub fn dismissal(tunnel: &Connection) -> Option<&Parting> {
    tunnel.bye().filter(|bye| bye.direction == Direction::ToClient)
}

/// A renegotiation that only one side began, in the connection's last minute.
pub fn rekey_failed(connection: &Connection) -> bool {
    const LATE: f64 = 60.0;
    connection.views.iter().filter_map(|v| v.tls.as_ref()).any(|tls| match tls.seldom().renegotiation {
        [Some((at, _)), None] | [None, Some((at, _))] => connection.end().seconds_since(at) <= LATE,
        _ => false,
    })
}

/// How the client fared that came back; where answers do not show, only what was answered counts.
pub fn turned_away<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a TurnedAway> {
    let is_heard = case.part_of_tcp(true, false).is_none();
    case.session.beside().turned_away.iter().filter(move |away| is_heard || !away.how.is_silence())
}

/// Does the gateway refuse new connections, as it does when its service is not there?
pub fn refuses(case: &Case<'_>) -> bool {
    turned_away(case).any(|away| away.how == Refusal::Reset)
}
