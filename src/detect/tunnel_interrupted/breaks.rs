//! The interruptions of a session: where each tunnel broke, what shows it, and why.

use super::cause::Cause;
use super::ended::{dismissal, refusal, refuses, rekey_failed, turned_away};
use super::reset::Reset;
use super::waiting::Waiting;
use crate::event::{Direction, PointId, Vantage};
use crate::finding::{Case, Severity};
use crate::session::beside::Refusal;
use crate::session::coverage::hides_answers;
use crate::session::facts::View;
use crate::session::moves::Hop;
use crate::session::reconnect::{self, Reconnect, Unheard, leaves_many, unheard};
use crate::session::silence::{LargeAlone, Outage, Silence};
use crate::session::{Connection, DtlsFlow, Session};

/// Seconds without a tunnel that users notice.
pub const NOTICED: f64 = 5.0;

/// And which many do not wait out.
const LONG: f64 = 30.0;

pub struct Break<'a> {
    pub cause: Cause,
    /// The tunnel, where it was captured.
    pub old: Option<&'a Connection>,
    pub shown: Shown<'a>,
}

/// What shows it.
pub enum Shown<'a> {
    /// Another tunnel took its place.
    Seam(Seam<'a>),
    /// The client came from another gateway.
    Hop(Hop),
    /// A RST, and nothing followed.
    Reset(Reset),
    /// One side heard nothing any more.
    Silence(Silence),
    /// It did for a while.
    Outage(Outage),
    /// Its large segments alone went unanswered.
    Large(LargeAlone<'a>),
    /// The gateway answered nothing in it any more.
    Mute(Unheard),
    /// Its end, and nothing followed.
    End,
}

pub struct Seam<'a> {
    pub reconnect: &'a Reconnect,
    /// The tunnel that followed.
    pub new: Option<&'a Connection>,
    pub reset: Option<Reset>,
    pub waiting: Option<Waiting>,
}

impl<'a> Break<'a> {
    /// All of them, in the order they are preferred where they are as bad.
    pub fn all(case: &Case<'a>, last: &'a Connection, seams: &[&'a Reconnect]) -> impl Iterator<Item = Break<'a>> {
        // Silence is one only where the other side's TCP would show.
        let is_heard = case.part_of_tcp(true, false).is_none();
        let seams = seams.iter().map(|seam| Break::seam(case, seam));
        let others = Break::hop(case.session).into_iter().chain(Break::at_end(case, last));
        let outages = Break::outages(case).chain(Break::outages_of_dtls(case));
        seams.chain(others).chain(outages).filter(move |found| is_heard || !found.is_silence())
    }

    fn seam(case: &Case<'a>, reconnect: &'a Reconnect) -> Break<'a> {
        let connection = |index| case.session.connections.get(index);
        let (old, new) = (connection(reconnect.old), connection(reconnect.new));
        let is_reset = reconnect.cause == reconnect::Cause::Reset;
        let reset = old.filter(|_| is_reset || reconnect.reset_before().is_some()).and_then(|old| Reset::of(case, old));
        // Where not all of TCP shows, a silence is none, and the RST is all there is.
        let is_lost = |reset: &Reset| reset.silence().is_some() || case.part_of_tcp(true, false).is_some();
        let is_silence = matches!(Cause::from(reconnect.cause), Cause::PathLost | Cause::TlsLost | Cause::ClientSilent);
        let reset = reset.filter(|reset| is_reset || is_silence && is_lost(reset));
        let waiting = Waiting::of(case, reconnect);
        let cause = match (reset, Cause::from(reconnect.cause)) {
            (Some(reset), _) => reset.cause(),
            (None, Cause::PathLost | Cause::DpdUnanswered | Cause::ClientClosed) if old.is_some_and(rekey_failed) => {
                Cause::RekeyFailed
            }
            (None, Cause::PathLost) if waiting == Some(Waiting::AtGateway) => Cause::GatewaySilent,
            (None, told) => told,
        };
        Break { cause, old, shown: Shown::Seam(Seam { reconnect, new, reset, waiting }) }
    }

    fn hop(session: &Session) -> Option<Break<'a>> {
        let hop = *session.came_from.as_deref()?;
        Some(Break { cause: Cause::GatewayHop, old: None, shown: Shown::Hop(hop) })
    }

    /// How the last tunnel ended, with no other that followed.
    fn at_end(case: &Case<'a>, last: &'a Connection) -> Option<Break<'a>> {
        let ended = |cause| Break { cause, old: Some(last), shown: Shown::End };
        refusal(last)
            .map(|_| ended(Cause::Refused))
            .or_else(|| Break::closed_after_silence(case, last))
            .or_else(|| Break::reset_at_end(case, last))
            .or_else(|| Break::silence_at_end(case, last))
            .or_else(|| Break::large_alone_at_end(case, last))
            .or_else(|| Break::mute_at_end(case, last))
            .or_else(|| Some(ended(turned_away_at_end(case, last)?)))
            .or_else(|| dismissal(last).map(|_| ended(Cause::Dismissed)))
    }

    /// The gateway's first word after a long silence closed the last tunnel: it had lost it, or given the client up.
    fn closed_after_silence(case: &Case<'a>, last: &'a Connection) -> Option<Break<'a>> {
        let (cause, outage) = outage(case, last, Direction::ToServer)?;
        outage.closed.filter(|closed| closed.direction == Direction::ToClient)?;
        // Where the gateway waits in vain as well, it is the client that was lost.
        if Break::silence_at_end(case, last).is_some() {
            return None;
        }
        Some(Break { cause, old: Some(last), shown: Shown::Outage(outage) })
    }

    /// The last tunnel was reset, by no client.
    fn reset_at_end(case: &Case<'_>, last: &'a Connection) -> Option<Break<'a>> {
        let reset = Reset::of(case, last).filter(|reset| reset.cause() != Cause::ClientClosed)?;
        Some(Break { cause: reset.cause(), old: Some(last), shown: Shown::Reset(reset) })
    }

    /// The last tunnel is still open, and one side hears nothing any more.
    fn silence_at_end(case: &Case<'_>, last: &'a Connection) -> Option<Break<'a>> {
        // Who hears nothing may close it in the end; whom the other's FIN reaches hears something.
        let is_closed = |v: &View, way| v.closed().is_some_and(|closed| closed.direction == way);
        let unheard = |sent: Direction| {
            let views = last.views.iter().filter(move |v| !is_closed(v, sent.reverse()));
            views.filter_map(move |v| Some((v, Silence::of(case.session, last, v, sent)?)))
        };
        let is_outside = |point| case.vantage(point) == Some(Vantage::Outside);
        let to_gateway: Vec<(&View, Silence)> = unheard(Direction::ToServer).collect();
        let (cause, silence) = match to_gateway.first() {
            Some((_, silence)) if silence.is_alone => (Cause::TlsLost, *silence),
            Some((_, silence)) if refuses(case) => (Cause::GatewayRestarted, *silence),
            Some((_, silence)) if to_gateway.iter().any(|(view, _)| is_outside(view.point)) => {
                (Cause::GatewaySilent, *silence)
            }
            Some((_, silence)) => (Cause::PathLost, *silence),
            None => {
                let (_, silence) = unheard(Direction::ToClient).next()?;
                let [sends, hears] =
                    [Direction::ToServer, Direction::ToClient].map(|way| shows_at_client(case, last, &silence, way));
                let cause = match silence.is_alone {
                    true => Cause::TlsLost,
                    // Where the client goes on hearing the gateway, the path is dead one way only.
                    false if sends && !hears => Cause::PathLost,
                    false => Cause::ClientSilent,
                };
                (cause, silence)
            }
        };
        Some(Break { cause, old: Some(last), shown: Shown::Silence(silence) })
    }

    /// The last tunnel is still open, and large segments alone are sent in vain.
    fn large_alone_at_end(case: &Case<'a>, last: &'a Connection) -> Option<Break<'a>> {
        let cause = |large: &LargeAlone<'a>| match (large.sent, case.vantage(large.view.point)) {
            // It arrived, and its receiver's own capture shows no answer.
            (Direction::ToServer, Some(Vantage::Outside)) => Some(Cause::GatewaySilent),
            (Direction::ToClient, Some(Vantage::Client)) => None,
            _ if large.may_be_size() => Some(Cause::PathLostOrTooLarge),
            (Direction::ToClient, _) if !large.is_echoed() => Some(Cause::ClientSilent),
            _ => Some(Cause::PathLost),
        };
        let all = LargeAlone::all(case.session, last).filter_map(|large| Some((cause(&large)?, large)));
        // What is known goes before what is not.
        let (cause, large) = all.min_by_key(|(cause, large)| match cause {
            Cause::GatewaySilent => 0,
            Cause::PathLostOrTooLarge => 3,
            _ if large.is_echoed() => 1,
            _ => 2,
        })?;
        Some(Break { cause, old: Some(last), shown: Shown::Large(large) })
    }

    /// The last tunnel is still open and the gateway there, and it says nothing in the tunnel any more though it had said much.
    fn mute_at_end(case: &Case<'_>, last: &'a Connection) -> Option<Break<'a>> {
        /// What is sent in a shorter time may ask for no answer, seconds; in a longer one a DPD was due (30 s).
        const LONG: f64 = 20.0;
        const DUE: f64 = 30.0;
        // The client may leave it in the end.
        if last.views.iter().any(|view| view.closed().is_some_and(|closed| closed.direction == Direction::ToClient)) {
            return None;
        }
        let flows: Vec<&DtlsFlow> = case.session.dtls_since(last).collect();
        if !leaves_many(last, &flows) {
            return None;
        }
        let unheard = unheard(last, &flows, None)
            .filter(|unheard| unheard.is_mute() && unheard.seconds >= if unheard.asks() { LONG } else { DUE })?;
        let said = |views: &[View]| views.iter().map(|view| view.records().map(u64::from)).max().unwrap_or_default();
        let all = flows.iter().map(|flow| said(&flow.views)).chain([said(&last.views)]);
        let [up, down] = all.fold([0; 2], |[up, down], [more_up, more_down]| [up + more_up, down + more_down]);
        let arrives = |view: &View| {
            let came = view.last_packet(Direction::ToServer);
            case.vantage(view.point) == Some(Vantage::Outside)
                && came.is_some_and(|at| at.seconds_since(unheard.since) >= reconnect::LOST)
        };
        let mut views = flows.iter().flat_map(|flow| &flow.views).chain(&last.views);
        let cause = match views.any(arrives) {
            true => Cause::GatewaySilent,
            false if unheard.tcp_lives(last) => Cause::DpdUnanswered,
            false => return None,
        };
        (down >= up / 4).then_some(Break { cause, old: Some(last), shown: Shown::Mute(unheard) })
    }

    /// Times without an answer that a tunnel survived.
    fn outages(case: &Case<'a>) -> impl Iterator<Item = Break<'a>> {
        let ways = [Direction::ToServer, Direction::ToClient];
        let asked = case.session.tunnels().flat_map(move |tunnel| ways.map(|sent| (tunnel, sent)));
        asked.filter_map(|(tunnel, sent)| {
            let (cause, outage) = outage(case, tunnel, sent).filter(|(_, outage)| outage.closed.is_none())?;
            Some(Break { cause, old: Some(tunnel), shown: Shown::Outage(outage) })
        })
    }

    /// Times in which DTLS alone was asked and did not answer: where DPD was among the questions, or another capture shows what became
    /// of them.
    fn outages_of_dtls(case: &Case<'a>) -> impl Iterator<Item = Break<'a>> {
        /// So many DPDs are no chance.
        const DPDS: u32 = 2;
        case.session.tunnels().filter_map(|tunnel| {
            let near = tunnel.best();
            let outage = Outage::of_records(case.session, tunnel, near).filter(|outage| outage.closed.is_none())?;
            let is_seen = case.point(near.point).is_none_or(|point| hides_answers(point, outage.control).is_none());
            let is_asked = outage.control >= DPDS && is_seen;
            let is_outside = case.vantage(near.point) == Some(Vantage::Outside);
            let cause = match arrives(case, tunnel, near.point, &outage) {
                Some(false) => Cause::PathLost,
                Some(true) if is_asked => Cause::GatewaySilent,
                None if is_asked && is_outside => Cause::GatewaySilent,
                None if is_asked => Cause::PathLost,
                _ => return None,
            };
            Some(Break { cause, old: Some(tunnel), shown: Shown::Outage(outage) })
        })
    }

    /// Where another tunnel followed.
    pub fn replaced(&self) -> Option<&Seam<'a>> {
        if let Shown::Seam(seam) = &self.shown { Some(seam) } else { None }
    }

    pub fn reset(&self) -> Option<Reset> {
        match &self.shown {
            Shown::Seam(seam) => seam.reset,
            Shown::Reset(reset) => Some(*reset),
            _ => None,
        }
    }

    /// Does the gateway wait in vain for what the client's own capture shows it to send?
    pub fn is_lost_between(&self, case: &Case<'_>) -> bool {
        let Shown::Silence(silence) = &self.shown else { return false };
        let shows = |old| shows_at_client(case, old, silence, Direction::ToServer);
        silence.sent == Direction::ToClient && self.old.is_some_and(shows)
    }

    /// Is it told by what did not come?
    pub fn is_silence(&self) -> bool {
        matches!(self.shown, Shown::Silence(_) | Shown::Large(_) | Shown::Mute(_))
            || matches!(self.cause, Cause::PathLost | Cause::GatewaySilent | Cause::ClientSilent | Cause::TlsLost)
    }

    pub fn severity(&self) -> Severity {
        let seam = self.replaced().map(|seam| seam.reconnect);
        match (&self.shown, self.cause) {
            // DTLS carried the data.
            (Shown::Outage(outage), Cause::TlsLost) if outage.closed.is_none() => Severity::Info,
            (Shown::Outage(outage), _) if outage.closed.is_none() && outage.seconds() < LONG => Severity::Low,
            (_, Cause::TlsLost) if seam.and_then(|seam| seam.syn_wait).is_some_and(|seconds| seconds >= LONG) => {
                Severity::Medium
            }
            (_, Cause::GatewayClosed) if seam.is_none() => Severity::Medium,
            (_, Cause::ResetByMiddlebox | Cause::ResetByGateway | Cause::DpdUnanswered | Cause::RekeyFailed) => {
                Severity::Medium
            }
            // Where the gateway sends in vain its client has most often just left.
            (Shown::Large(large), Cause::PathLostOrTooLarge) if large.sent == Direction::ToClient => Severity::Low,
            (_, Cause::PathLostOrTooLarge) => Severity::Medium,
            (_, Cause::PathLost | Cause::GatewaySilent | Cause::GatewayRestarted) => Severity::Medium,
            (_, Cause::Refused | Cause::TurnedAway) => Severity::Medium,
            (_, Cause::ClientSilent | Cause::TlsLost | Cause::Dismissed) => Severity::Low,
            (_, Cause::Optimising | Cause::GatewayHop | Cause::Sleep | Cause::Roaming | Cause::LinkMtuChanged) => {
                Severity::Info
            }
            (_, Cause::ClientClosed | Cause::GatewayClosed | Cause::Rekey | Cause::Unknown) => {
                let is_noticed = seam.is_some_and(|seam| seam.gap >= NOTICED) || self.reset().is_some();
                if is_noticed { Severity::Low } else { Severity::Info }
            }
        }
    }
}

/// The last tunnel was closed, and the client that came back for a new one got none.
fn turned_away_at_end(case: &Case<'_>, last: &Connection) -> Option<Cause> {
    let closed = last.best().closed()?;
    let any = |how| turned_away(case).any(|away| away.how == how);
    let is_refused = any(Refusal::Reset) || any(Refusal::WithoutTunnel);
    if closed.by == Direction::ToServer && dismissal(last).is_none() {
        return is_refused.then_some(Cause::TurnedAway);
    }
    let is_outside = case.vantage(last.best().point) == Some(Vantage::Outside);
    let is_left_waiting = turned_away(case).any(|away| away.how.is_silence());
    match (is_refused, is_left_waiting) {
        _ if last.reset().is_some() => None,
        (true, _) => Some(Cause::GatewayClosed),
        (false, true) if is_outside => Some(Cause::GatewaySilent),
        (false, true) => Some(Cause::PathLost),
        (false, false) => None,
    }
}

/// Does the client's own capture show that packets of the tunnel went that way, long after anything of it came to the gateway?
fn shows_at_client(case: &Case<'_>, last: &Connection, silence: &Silence, way: Direction) -> bool {
    let views = case.session.dtls_since(last).flat_map(|d| &d.views).chain(&last.views);
    let mut own = views.filter(|view| case.vantage(view.point) == Some(Vantage::Client));
    own.any(|view| view.last_packet(way).is_some_and(|at| at.seconds_since(silence.since) >= NOTICED))
}

/// The time without an answer to that side, as the first view shows it that does.
fn outage(case: &Case<'_>, tunnel: &Connection, sent: Direction) -> Option<(Cause, Outage)> {
    let found = tunnel.views.iter().filter_map(|view| Some((view, Outage::of(case.session, tunnel, view, sent)?)));
    let all: Vec<(&View, Outage)> = found.collect();
    let (_, outage) = *all.first()?;
    let outside =
        all.iter().map(|(view, _)| case.vantage(view.point)).find(|vantage| *vantage == Some(Vantage::Outside));
    Some((cause_of(case, &outage, outside.flatten()), outage))
}

/// What that silence was, as it shows there.
pub fn cause_of(case: &Case<'_>, outage: &Outage, vantage: Option<Vantage>) -> Cause {
    match outage.sent {
        _ if outage.is_alone => Cause::TlsLost,
        Direction::ToServer if outage.closed.is_some() && refuses(case) => Cause::GatewayRestarted,
        Direction::ToServer if vantage == Some(Vantage::Outside) => Cause::GatewaySilent,
        Direction::ToServer => Cause::PathLost,
        Direction::ToClient => Cause::ClientSilent,
    }
}

/// Do the client's DTLS records reach the gateway's outside interface in that time, where it was captured too?
fn arrives(case: &Case<'_>, tunnel: &Connection, near: PointId, outage: &Outage) -> Option<bool> {
    let outside = case.at(Vantage::Outside);
    let is_there = |view: &&View| {
        let point = case.point(view.point).filter(|p| outside.contains(&p.id) && view.point != near);
        point.is_some_and(|p| p.was_capturing(outage.since, outage.until))
    };
    let mut there = case.session.dtls_since(tunnel).flat_map(|d| &d.views).filter(is_there).peekable();
    there.peek()?;
    Some(there.any(|view| outage.shows_at(view)))
}
