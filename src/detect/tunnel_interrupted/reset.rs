//! The RST that ended a tunnel, and what gives it away.

use super::cause::Cause;
use crate::event::{Direction, Vantage};
use crate::finding::{Case, Sight};
use crate::session::Connection;
use crate::session::facts::{Closed, View};

#[derive(Clone, Copy)]
pub struct Reset {
    pub closed: Closed,
    /// The TTL its sender's packets have at that point.
    usual: Option<u8>,
    /// The sender's own capture does not have it.
    pub unsent: bool,
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
        Some(Reset { closed, usual, unsent })
    }

    pub fn is_forged(&self) -> bool {
        self.unsent || self.usual.is_some_and(|usual| usual != self.closed.ttl)
    }

    pub fn cause(&self) -> Cause {
        match self.closed.direction {
            _ if self.is_forged() => Cause::ResetByMiddlebox,
            Direction::ToServer => Cause::ClientClosed,
            Direction::ToClient => Cause::ResetByGateway,
        }
    }

    pub fn words(&self) -> String {
        let Reset { closed, usual, unsent } = self;
        let (from, to) = match closed.direction {
            Direction::ToClient => ("gateway", "client"),
            Direction::ToServer => ("client", "gateway"),
        };
        let mut text = format!("The tunnel was reset: a RST in the {from}'s name in frame {}", closed.frame.number);
        if let Some(usual) = usual.filter(|usual| *usual != closed.ttl) {
            text.push_str(&format!(", with TTL {} where the {from}'s packets have {usual}", closed.ttl));
        }
        if *unsent {
            text.push_str(&format!(", which the {to} got and the {from} never sent"));
        }
        text
    }
}
