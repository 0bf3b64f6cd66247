//! Why a DTLS flow died, and what to do about it.

use super::death::{Death, said, up};
use super::{FEW, IDLE, KEPT, LIVED, PATIENCE, remedy};
use crate::event::{Direction, FrameRef, Timestamp, Vantage};
use crate::finding::{Case, Severity, elapsed};
use crate::session::attempt::icmp_words;
use crate::session::facts::{FlowFacts, IcmpFacts};
use crate::session::{Point, Session};

/// What killed it.
#[derive(Clone, Copy)]
pub enum Cause<'a> {
    /// Somebody refuses its packets with ICMP.
    Refused(&'a IcmpFacts),
    /// That side's alert ended it.
    Closed(Direction),
    /// A rekey in which the other side took no part.
    Rekey,
    /// The client gave it up, though nothing went unanswered.
    Dropped,
    /// The whole path was lost.
    WithPath,
    /// A mapping was forgotten while it was silent; how long nothing came, where only the gateway's end tells.
    Idle(Option<f64>),
    /// It went on from another port or address.
    Rebinding,
    /// The gateway's answers reach the client, which takes up none.
    Ignored,
    /// The client's records reach the gateway, which does not answer.
    GatewaySilent,
    /// The handshake passes, and data does not.
    DataBlocked,
    /// One side's records leave it and do not reach the other.
    Lost(Direction),
    /// A new mapping works.
    Mapping,
    /// From one moment on nothing passes.
    Blocked,
}

impl<'a> Cause<'a> {
    pub fn of(case: &Case<'_>, death: &Death<'a>, placed: Option<Placed>, is_useless: bool) -> Cause<'a> {
        if let Some(icmp) = death.refused {
            return Cause::Refused(icmp);
        }
        if let Some((_, by)) = death.closed {
            return Cause::Closed(by);
        }
        if death.rekey.is_some() {
            return Cause::Rekey;
        }
        if is_dropped(case, death) {
            return Cause::Dropped;
        }
        if death.is_with_path {
            return Cause::WithPath;
        }
        let reaches_gateway = reaches_gateway(case, death);
        // What comes to the gateway from the same port as before was not forgotten on the way.
        let arrives = reaches_gateway || placed.is_some_and(|placed| placed.arrived);
        // A new mapping would have helped against a forgotten one.
        let new_port_failed = death.again.is_none() && !death.retries.is_empty();
        let silence = death.silence_at_gateway(case);
        let is_idle = death.unanswered.records > 0 && death.unanswered.silence() >= IDLE;
        let may_be_idle = is_idle || !is_useless && silence.is_some();
        if may_be_idle && !arrives && !new_port_failed && !death.is_unheard_of() {
            return Cause::Idle(silence);
        }
        if death.is_moved {
            return Cause::Rebinding;
        }
        if death.again.is_none() && death.answers_reach == Some(Vantage::Client) {
            return Cause::Ignored;
        }
        match placed {
            Some(Placed { arrived: true, said: None }) => Cause::GatewaySilent,
            _ if is_useless => Cause::DataBlocked,
            Some(Placed { arrived: false, said: None }) => Cause::Lost(Direction::ToServer),
            Some(Placed { arrived: true, said: Some(_) }) => Cause::Lost(Direction::ToClient),
            None if death.is_restless || death.again.is_none() && death.answers_reach.is_some() => {
                Cause::Lost(Direction::ToClient)
            }
            _ if reaches_gateway => Cause::GatewaySilent,
            _ if death.again.is_some_and(|next| up(next).seconds_since(next.start()) < LIVED) => Cause::Mapping,
            _ => Cause::Blocked,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Cause::Refused(_) => "refused-midway",
            Cause::Closed(Direction::ToServer) => "closed-by-client",
            Cause::Closed(Direction::ToClient) => "closed-by-gateway",
            Cause::Rekey => "rekey-failed",
            Cause::Dropped => "dropped-by-client",
            Cause::WithPath => "lost-with-path",
            Cause::Idle(_) => "udp-idle-timeout",
            Cause::Rebinding => "nat-rebinding",
            Cause::Ignored => "ignored-by-client",
            Cause::GatewaySilent => "gateway-silent",
            Cause::DataBlocked => "data-blocked",
            Cause::Lost(Direction::ToServer) => "lost-to-gateway",
            Cause::Lost(Direction::ToClient) => "lost-to-client",
            Cause::Mapping => "mapping-lost",
            Cause::Blocked => "blocked-midway",
        }
    }

    /// Of one that died once and did not come back.
    pub fn severity(self) -> Severity {
        match self {
            Cause::Dropped | Cause::WithPath => Severity::Low,
            Cause::Closed(_) => Severity::Medium,
            _ => Severity::High,
        }
    }

    /// Of one whose data went back to TLS.
    pub fn headline(self) -> &'static str {
        match self {
            Cause::Closed(_) => "DTLS was closed, and the data went back to TLS",
            Cause::Dropped => "the client stopped using DTLS, and the data went back to TLS",
            Cause::WithPath => "DTLS did not come back after the path was lost, and the data went back to TLS",
            _ => "DTLS worked, then died, and the data went back to TLS",
        }
    }

    /// Would a capture at the other end tell where it is lost?
    pub fn is_unplaced(self) -> bool {
        matches!(self, Cause::Blocked | Cause::DataBlocked | Cause::Mapping)
    }

    pub fn remedies(self, session: &Session, death: &Death<'_>) -> Vec<String> {
        std::iter::once(self.remedy(death)).chain(remedy::equal_mtus(session)).collect()
    }

    fn remedy(self, death: &Death<'_>) -> String {
        let first = match self {
            Cause::Refused(icmp) => {
                let port = death.flow.best().opened.endpoints().server.port();
                let words = icmp_words(&icmp.error);
                return format!("see on {} why it refuses udp/{port} since then ({words})", icmp.sender);
            }
            Cause::Ignored => return remedy::client_drops("the gateway"),
            Cause::Idle(Some(_)) => {
                "capture at the client: if it was silent, keep the mapping open with a DTLS keepalive below the NAT's timeout (`anyconnect ssl keepalive 20`), or a longer timeout there; if it sent, UDP was blocked for that long"
            }
            Cause::Idle(None) | Cause::Rebinding => {
                "keep the mapping open: a DTLS keepalive below the NAT's timeout (`anyconnect ssl keepalive 20`), or a longer timeout there"
            }
            Cause::Rekey => {
                "see on the gateway why the rekey is not answered (`debug webvpn`); a longer `anyconnect ssl rekey time`, or `rekey method new-tunnel`, avoids it"
            }
            Cause::DataBlocked => {
                "find what lets the DTLS handshake pass and drops its data: a firewall that inspects UDP, or a shaper"
            }
            Cause::Lost(_) => {
                "find what drops UDP on the way between client and gateway, in that direction: a firewall or a shaper"
            }
            Cause::Closed(Direction::ToServer) => "see in the client's log (DART) why it closed DTLS",
            Cause::Closed(Direction::ToClient) => {
                "see on the gateway why it closed DTLS: its log, `show vpn-sessiondb detail anyconnect`"
            }
            Cause::Dropped => {
                "see in the client's log (DART) what its network did at that moment (link down, sleep, another network): no UDP was lost"
            }
            Cause::WithPath => {
                "look at the client's network at that moment: TLS went unanswered as well; a reconnect of the client brings DTLS back"
            }
            Cause::GatewaySilent => {
                "see on the gateway why it stopped answering: `show vpn-sessiondb detail anyconnect`, `show asp drop`"
            }
            Cause::Mapping if death.unanswered.silence() >= KEPT => {
                let silence = elapsed(death.unanswered.silence());
                return format!(
                    "find what forgot the mapping: a NAT or firewall whose UDP timeout is below the {silence} of silence before, or one that \
                     lost its state"
                );
            }
            Cause::Mapping | Cause::Blocked => {
                "find what blocked UDP to the gateway at that moment: a firewall rule, or a device that lost its state"
            }
        };
        first.to_owned()
    }
}

/// The client's own capture shows that nothing it sent over DTLS went unanswered: it gave DTLS up.
fn is_dropped(case: &Case<'_>, death: &Death<'_>) -> bool {
    let mut own = death.flow.views.iter().filter(|view| case.vantage(view.point) == Some(Vantage::Client));
    let has_nothing_in_vain = death.unanswered.records == 0 && (death.retries.is_empty() || death.again.is_some());
    let is_left = death.carries && !death.is_moved && death.back.is_some();
    has_nothing_in_vain && is_left && own.any(|view| said(view).is_some())
}

/// The gateway's outside interface alone was captured, and shows without an answer what must be answered: DPD, or ClientHellos.
fn reaches_gateway(case: &Case<'_>, death: &Death<'_>) -> bool {
    let is_outside = |v: &FlowFacts| case.vantage(v.point) == Some(Vantage::Outside);
    let views = death.flow.views.iter().filter(|v| is_outside(v) && said(v).is_some());
    let mut unanswered = views.filter_map(|v| v.dtls.as_ref()).map(|d| d.unanswered(Direction::ToServer));
    unanswered.any(|said| said.records > 1 && (said.control > 0 || !death.retries.is_empty()))
}

/// What captures at both ends show of the records since the client's last answer.
#[derive(Clone, Copy)]
pub struct Placed {
    /// The client's reach the gateway's outside interface.
    arrived: bool,
    /// The last one the gateway sent there, which the client did not get.
    said: Option<(Timestamp, FrameRef)>,
}

impl Placed {
    /// Where the records vanish. `None` where a capture of one end is missing, or had ended, or where they go on from another port.
    pub fn of(case: &Case<'_>, death: &Death<'_>) -> Option<Placed> {
        /// Clocks of two captures and the delay between them may differ by so much, seconds.
        const LEEWAY: f64 = 1.0;
        let (first, last) = (death.unanswered.first.0, death.unanswered.last.0);
        // that some came and none was answered shows soon
        let until = last.plus_seconds(-LEEWAY).min(first.plus_seconds(LIVED)).max(first);
        let views = |vantage| {
            let saw = move |p: &Point| p.vantage == Some(vantage) && p.was_capturing(first, until);
            death.flow.views.iter().filter(move |v| case.point(v.point).is_some_and(saw))
        };
        let is_sent = death.unanswered.records > 0 && !death.is_moved && views(Vantage::Client).next().is_some();
        let mut outside = views(Vantage::Outside).peekable();
        outside.peek().filter(|_| is_sent)?;
        let since = |at: Timestamp| at.seconds_since(death.answered.0);
        let mut placed = Placed { arrived: false, said: None };
        for (view, dtls) in outside.filter_map(|v| Some((v, v.dtls.as_ref()?))) {
            let [to_server, to_client] = dtls.last();
            // Some may have come before the way was cut, unanswered for another reason.
            let came = dtls.unanswered(Direction::ToServer).records;
            let end = case.point(view.point).and_then(|p| p.span).map_or(last, |(_, end)| end.min(last));
            let stops = |at: Timestamp| death.unanswered.records >= came + FEW && end.seconds_since(at) >= LIVED;
            placed.arrived |= to_server.is_some_and(|(at, _)| since(at) >= since(first).max(0.5) && !stops(at));
            placed.said = placed.said.max(to_client.filter(|(at, _)| since(*at) >= PATIENCE));
        }
        Some(placed)
    }

    pub fn words(self, answered: Timestamp) -> String {
        let said = |(at, frame): (Timestamp, FrameRef)| {
            let seconds = elapsed(at.seconds_since(answered));
            format!("The gateway went on sending for {seconds}, to frame {} at its outside interface", frame.number)
        };
        match (self.arrived, self.said) {
            (false, None) => {
                " The client's records leave it and do not reach the gateway's outside interface.".to_owned()
            }
            (false, Some(last)) => format!(
                " The client's records leave it and do not reach the gateway's outside interface. {}, and none of that reached the client \
                 either.",
                said(last)
            ),
            (true, Some(last)) => format!(
                " The client's records reach the gateway's outside interface. {}, and none of that reached the client.",
                said(last)
            ),
            (true, None) => " The client's records reach the gateway's outside interface.".to_owned(),
        }
    }
}
