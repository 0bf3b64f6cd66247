//! Which cause a failure points to.

use super::cause::Cause;
use super::failure::{Failure, Lost};
use crate::event::{Alert, Direction, IcmpError};
use crate::session::attempt::{AttemptOutcome, is_out_of_hops};
use std::net::IpAddr;

/// What a path carries that carries anything (RFC 791), IP bytes.
const LARGE: u32 = 576;

/// The likeliest.
pub fn diagnose(failure: &Failure<'_>) -> Cause {
    match failure.outcome() {
        AttemptOutcome::Refused(error, sender, _) => refusal(failure, *error, *sender),
        AttemptOutcome::Alert(..) | AttemptOutcome::SealedAlert(_) if failure.is_stale => Cause::StaleSession,
        AttemptOutcome::Alert(alert, by) => alert_cause(failure, *alert, *by),
        AttemptOutcome::SealedAlert(_) => Cause::FinishedRejected,
        AttemptOutcome::NoReply => silence(failure),
        AttemptOutcome::FinishedLost if failure.finished_arrives() => Cause::FinishedIgnored,
        AttemptOutcome::FinishedLost => Cause::FinishedLost,
        AttemptOutcome::StalledAfterHelloVerify => after_cookie(failure),
        _ => half_way(failure),
    }
}

/// An ICMP error came: who sent it, and why.
fn refusal(failure: &Failure<'_>, error: IcmpError, sender: IpAddr) -> Cause {
    let is_port_unreachable = (error.icmp_type, error.code) == if error.v6 { (1, 4) } else { (3, 3) };
    if is_out_of_hops(&error) {
        return Cause::RoutingLoop(sender);
    }
    if sender != failure.asked.ip() {
        return Cause::RefusedOnTheWay(sender);
    }
    match failure.case.session.forwarded_to() {
        _ if !is_port_unreachable => Cause::RefusedByGateway(error),
        Some(gateway) => Cause::NotForwarded(gateway),
        None => Cause::GatewayNotListening,
    }
}

/// What an alert of the handshake says (RFC 5246 §7.2.2): about the hellos, unless the gateway had chosen already.
fn alert_cause(failure: &Failure<'_>, alert: Alert, by: Direction) -> Cause {
    let has_chosen = !failure.lacks_hello();
    let refuses = by == Direction::ToServer && has_chosen;
    match alert.description {
        20 | 50 | 51 => Cause::FinishedRejected,
        _ if refuses && failure.has_certificate() => Cause::FullHandshake,
        // What the hellos say is cut off: it may be a session that the gateway does not know.
        40 | 47 | 71 if !has_chosen && !failure.is_cut() => Cause::NoCommonCipher,
        70 | 86 => Cause::ProtocolVersion,
        _ => Cause::Alert,
    }
}

/// Nothing came back: who may have swallowed it.
fn silence(failure: &Failure<'_>) -> Cause {
    let beside = failure.case.session.beside();
    if let Some(stranger) = beside.strangers.first() {
        return Cause::AnswersFromOtherAddress(*stranger);
    }
    if let Some(lost) = failure.lost() {
        return lost_cause(failure, lost);
    }
    match failure.gateway.seen() {
        Some(there) if there.sees_answers() => return Cause::GatewaySilent,
        None if failure.is_at_gateway() => return Cause::GatewaySilent,
        _ => {}
    }
    let quic = &beside.quic;
    if !failure.is_on_default_port() {
        Cause::PortBlocked
    } else if !quic.asked.is_empty() && quic.answered.is_empty() {
        Cause::BlockedForQuic(quic.asked.len())
    } else {
        Cause::SilentDrop
    }
}

/// HelloVerifyRequest came: why no ServerHello.
fn after_cookie(failure: &Failure<'_>) -> Cause {
    /// So many different cookies, each echoed and none accepted, are a loop.
    const LOOP: u16 = 3;
    let (given, echoed) = failure.cookies();
    let sent = failure.gateway.seen().filter(|_| failure.is_lost_on_the_way_back()).map(|there| there.largest);
    let is_loop = || given >= LOOP && echoed >= LOOP - 1 || failure.has_cookies_from_elsewhere();
    if let Some(cause) = lost_fragments(failure) {
        cause
    } else if failure.lacks_messages() || sent.is_some_and(|largest| largest > LARGE) {
        Cause::LargeDatagramsLost
    } else if let (Some(_), Some(lost)) = (sent, failure.lost()) {
        lost_cause(failure, lost)
    } else if is_loop() {
        Cause::HelloVerifyLoop
    } else if failure.lacks_cookie() {
        untaken(failure)
    } else {
        Cause::GatewaySilentAfterCookie
    }
}

/// A ServerHello came: why not the rest.
fn half_way(failure: &Failure<'_>) -> Cause {
    if let Some(cause) = lost_fragments(failure) {
        cause
    } else if failure.lacks_messages() {
        Cause::LargeDatagramsLost
    } else if failure.answer_is_lost() {
        Cause::FinishedLost
    } else if let Some(lost) = failure.lost() {
        lost_cause(failure, lost)
    } else if failure.is_repeated_in_vain() {
        untaken(failure)
    } else if failure.is_stale {
        Cause::StaleSession
    } else if failure.has_certificate() {
        Cause::FullHandshake
    } else if *failure.outcome() == AttemptOutcome::ClientDidNotFinish {
        untaken(failure)
    } else {
        Cause::GatewaySilentAfterServerHello
    }
}

/// Some of what the gateway sent did not arrive.
fn lost_cause(failure: &Failure<'_>, lost: Lost) -> Cause {
    if failure.is_chance(lost.sent) {
        Cause::FewLost
    } else if lost.came.is_empty() {
        Cause::AnswersLost
    } else {
        Cause::PartLost(lost)
    }
}

/// Fragments did not arrive, or cannot be told to.
fn lost_fragments(failure: &Failure<'_>) -> Option<Cause> {
    let lost = || failure.case.session.beside().incomplete.iter().map(|(_, some)| some.datagrams).sum();
    failure.lacks_fragments().then(|| match failure.unseen_fragments() {
        Some(why) => Cause::FragmentsUnseen(why),
        None => Cause::FragmentsLost(lost()),
    })
}

/// The client takes up no answer: they do not reach it, or, at its own interface, come when it has given up, or something there
/// drops them.
fn untaken(failure: &Failure<'_>) -> Cause {
    /// An answer that comes so long after the last ClientHello came when the client had given up, seconds.
    const LATE: f64 = 2.0;
    if !failure.is_at_client() {
        return if failure.is_one_exchange() { Cause::FewLost } else { Cause::AnswersLost };
    }
    let heard = || failure.near().filter_map(|f| Some((f, f.first_answer()?)));
    let wait = heard().map(|(f, answer)| answer.seconds_since(f.first)).reduce(f64::min);
    let is_late = heard().all(|(f, answer)| answer.seconds_since(f.last()) >= LATE);
    wait.filter(|_| is_late).map_or(Cause::IgnoredByClient, Cause::AnswersLate)
}
