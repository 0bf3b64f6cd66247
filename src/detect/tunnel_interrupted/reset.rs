//! The RST that ended a tunnel, and what gives it away.

use super::breaks::cause_of;
use super::cause::Cause;
use super::summary::vain_words;
use crate::event::{Direction, Vantage};
use crate::finding::{Case, Sight};
use crate::session::facts::{Closed, View};
use crate::session::reconnect::ALIVE;
use crate::session::silence::Outage;
use crate::session::{Connection, Session};

#[derive(Clone, Copy)]
pub struct Reset {
    pub closed: Closed,
    /// The TTL its sender's packets have at that point.
    usual: Option<u8>,
    /// The sender's own capture does not have it.
    pub unsent: bool,
    /// The silence that it ended, and what that was.
    silence: Option<(Cause, Outage)>,
    /// Seconds for which no data had come from the client by then, at the gateway's end, where a keepalive was due.
    pub quiet: Option<f64>,
}

impl Reset {
    pub fn of(case: &Case<'_>, connection: &Connection) -> Option<Reset> {
        let (view, closed) = connection.reset()?;
        let usual = case.session.usual_ttl(view, closed.direction, closed.at);
        // The sender's own capture, when there is one: does it have the same reset?
        let sender = match closed.direction {
            Direction::ToClient => Vantage::Outside,
            Direction::ToServer => Vantage::Client,
        };
        let is_sender = |p| case.vantage(p) == Some(sender);
        let own = || connection.views.iter().filter(|v| is_sender(v.point) && v.point != view.point);
        let sent = |v: &View| v.closed().is_some_and(|c| c.reset && c.direction == closed.direction);
        // a capture that had ended by then, or whose filter keeps it out, does not have it either
        let sight = Sight::Reset(view.opened.endpoints().server.port());
        let would_show = |v: &View| case.whole_window(v.point, sight, closed.at, closed.at).is_ok();
        let unsent = own().any(would_show) && !own().any(sent);
        // Silence is one only where TCP would show.
        let is_heard = case.part_of_tcp(true, false).is_none();
        let views = connection.views.iter().filter(|_| is_heard);
        let mut lost = views.filter_map(|v| Some((v, Outage::before_reset(case.session, connection, v)?)));
        let silence = lost.next().map(|(v, outage)| (cause_of(case, &outage, case.vantage(v.point)), outage));
        let quiet = Some(view).filter(|v| silence.is_none() && case.vantage(v.point) == Some(Vantage::Outside));
        let quiet = quiet.and_then(|v| quiet_before(case.session, connection, v, closed));
        Some(Reset { closed, usual, unsent, silence, quiet })
    }

    /// The silence that came before it, where no device on the way is known to have sent it.
    pub fn silence(&self) -> Option<&Outage> {
        self.silence.as_ref().map(|(_, outage)| outage).filter(|_| !self.is_forged())
    }

    pub fn is_forged(&self) -> bool {
        self.unsent || self.usual.is_some_and(|usual| usual != self.closed.ttl)
    }

    pub fn cause(&self) -> Cause {
        match (self.closed.direction, self.silence) {
            _ if self.is_forged() => Cause::ResetByMiddlebox,
            (_, Some((cause, _))) => cause,
            (Direction::ToServer, None) => Cause::ClientClosed,
            (Direction::ToClient, None) => Cause::ResetByGateway,
        }
    }

    pub fn words(&self, session: &Session) -> String {
        let Reset { closed, usual, unsent, silence, quiet } = self;
        let (from, to) = match closed.direction {
            Direction::ToClient => ("gateway", "client"),
            Direction::ToServer => ("client", "gateway"),
        };
        let (before, the) = match (silence, quiet) {
            (Some((_, outage)), _) => (format!("{}. Then ", vain_words(outage, session)), "the"),
            (_, Some(seconds)) => {
                let what = "no data had come from the client, not even a keepalive: its path may have been lost by then, or its machine have slept";
                (format!("For {seconds:.1} s {what}. Then "), "the")
            }
            (None, None) => (String::new(), "The"),
        };
        let mut text =
            format!("{before}{the} tunnel was reset: a RST in the {from}'s name in frame {}", closed.frame.number);
        if let Some(usual) = usual.filter(|usual| *usual != closed.ttl) {
            text.push_str(&format!(", with TTL {} where the {from}'s packets have {usual}", closed.ttl));
        }
        if *unsent {
            text.push_str(&format!(", which the {to} got and the {from} never sent"));
        }
        text
    }
}

/// How long the client had been silent over TLS and DTLS when the RST came, where that is long.
fn quiet_before(session: &Session, tunnel: &Connection, view: &View, closed: Closed) -> Option<f64> {
    let over_tls = Direction::ToServer.of(&view.tls.as_deref()?.data).last.map(|(at, _)| at);
    let dtls = session.dtls_since(tunnel).flat_map(|d| &d.views).filter(|v| v.point == view.point);
    let over_dtls = dtls.filter_map(|v| v.last_packet(Direction::ToServer));
    // Of what came later nobody knows when it had come before.
    let last = over_tls.into_iter().chain(over_dtls).max()?;
    Some(closed.at.seconds_since(last)).filter(|seconds| *seconds >= ALIVE)
}
