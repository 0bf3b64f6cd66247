//! The first death of DTLS, what became of it, and how that is told.

use super::SILENT;
use super::cause::{Cause, Placed};
use super::death::{Death, carries, last_record, up};
use crate::event::Direction;
use crate::finding::{Case, Severity, count};
use crate::session::DtlsFlow;
use crate::session::attempt::icmp_words;

/// The first death, and what became of DTLS.
pub struct Story<'a> {
    pub case: Case<'a>,
    pub death: &'a Death<'a>,
    pub cause: Cause<'a>,
    /// What captures at both ends show.
    placed: Option<Placed>,
    /// So many died.
    deaths: usize,
    /// DTLS carried data after the last of them.
    goes_on: bool,
    /// And longer than any of those had lasted.
    is_mended: bool,
    /// Several died, and it was not.
    recurs: bool,
    /// It was set up, and never of any use.
    is_useless: bool,
}

impl<'a> Story<'a> {
    pub fn of(case: &Case<'a>, deaths: &'a [Death<'a>], worked: &[&DtlsFlow]) -> Option<Story<'a>> {
        let death = deaths.first()?;
        let died = deaths.iter().map(|death| death.flow.start()).max();
        let after = || worked.iter().filter(|flow| Some(flow.start()) > died && carries(case, flow));
        let is_mended = is_mended(after().copied(), deaths);
        let recurs = deaths.len() > 1 && !is_mended;
        let is_useless = death.is_unheard_of() || recurs && deaths.iter().all(Death::is_brief);
        let placed = Placed::of(case, death);
        let cause = Cause::of(case, death, placed, is_useless);
        let goes_on = !death.is_restless && after().next().is_some();
        Some(Story { case: *case, death, cause, placed, deaths: deaths.len(), goes_on, is_mended, recurs, is_useless })
    }

    pub fn severity(&self) -> Severity {
        match self.cause.severity() {
            Severity::Low => Severity::Low,
            _ if self.is_useless || self.recurs => Severity::High,
            _ if self.death.again.is_some() => Severity::Medium,
            severity => severity,
        }
    }

    pub fn headline(&self) -> &'static str {
        match (self.death.again, &self.death.back) {
            _ if self.is_useless => "DTLS comes up, and its data does not get through",
            _ if self.recurs => "DTLS works and dies, again and again",
            (Some(_), _) => "DTLS worked, died, and had to be set up anew",
            (None, Some(_)) => self.cause.headline(),
            (None, None) => "DTLS worked, then died",
        }
    }

    pub fn words(&self) -> String {
        let mut text = self.worked();
        text.push_str(&self.went_unanswered());
        text.push_str(&self.back_on_tls());
        text.push('.');
        text.push_str(&self.set_up_anew());
        text.push_str(self.nothing_in_vain());
        if let Some(placed) = self.placed {
            text.push_str(&placed.words(self.death.answered.0));
        }
        if self.death.is_moved {
            text.push_str(" They come from another port or address than before.");
        }
        if let Some((frame, by)) = self.death.closed {
            let by = if by == Direction::ToServer { "client" } else { "gateway" };
            text.push_str(&format!(" The {by} closed it with an alert (frame {}).", frame.number));
        }
        text.push_str(&self.silence());
        if let Some(icmp) = self.death.refused {
            text.push_str(&format!(" {} refuses its packets with {}.", icmp.sender, icmp_words(&icmp.error)));
        }
        text.push_str(&self.happened_again());
        text
    }

    fn worked(&self) -> String {
        let into = self.death.carried_until().seconds_since(self.case.session.start).max(0.0);
        match (self.death.is_heard, self.death.is_unheard_of()) {
            (true, true) => {
                format!("DTLS came up and carried data only toward the client, until {into:.1} s into the session")
            }
            (true, false) => format!("DTLS came up and carried data until {into:.1} s into the session"),
            (false, true) => format!("DTLS came up {into:.1} s into the session, and no data came back over it"),
            (false, false) => "DTLS had come up before the capture, in which it gets no answer any more".to_owned(),
        }
    }

    /// What the seconds are counted from.
    fn since(&self) -> &'static str {
        match (self.death.is_heard, self.death.is_unheard_of()) {
            (true, _) if self.death.carried_until() < self.death.answered.0 => "the client's last record",
            (true, _) => "the last answer",
            (false, true) => "its ClientHello",
            (false, false) => "its first record",
        }
    }

    fn went_unanswered(&self) -> String {
        let (answered, said) = (self.death.answered.0, self.death.unanswered);
        if said.records == 0 {
            return self.gateway_in_vain();
        }
        let wait = said.first.0.seconds_since(answered);
        let (later, from) = if wait >= SILENT {
            (format!(", the first {wait:.1} s later,"), said.first.0)
        } else {
            (String::new(), answered)
        };
        let records = count(u64::from(said.records), "DTLS record");
        format!("; then {records} of the client{later} went unanswered for {:.1} s", said.last.0.seconds_since(from))
    }

    fn gateway_in_vain(&self) -> String {
        let Some(said) = self.death.in_vain else { return String::new() };
        let records = count(u64::from(said.records), "DTLS record");
        let seconds = said.last.0.seconds_since(self.death.carried_until());
        format!("; then {records} of the gateway went unanswered for {seconds:.1} s")
    }

    fn back_on_tls(&self) -> String {
        let Some(back) = &self.death.back else { return String::new() };
        let after = back.first.seconds_since(self.death.carried_until());
        format!("; {after:.1} s after {} data was back on the TLS tunnel", self.since())
    }

    fn set_up_anew(&self) -> String {
        let Death { flow, retries, .. } = self.death;
        if let Some(next) = self.death.again {
            let after = up(next).seconds_since(self.death.carried_until());
            let port = |d: &DtlsFlow| d.best().opened.endpoints().client.port();
            let from = if port(next) != port(flow) { " from another port" } else { "" };
            let works = if self.is_mended { ", and works" } else { "" };
            let answered = match self.death.is_restless {
                true => {
                    " The gateway had answered all that came over it: whether its answers reach the client its end cannot show."
                }
                false => "",
            };
            return format!(" DTLS was set up anew{from} {after:.1} s after {}{works}.{answered}", self.since());
        }
        if retries.is_empty() {
            let is_next = self.death.is_dead_on_next;
            return if is_next { " On the next tunnel DTLS gets no answer either.".to_owned() } else { String::new() };
        }
        let hellos = count(retries.len() as u64, "ClientHello");
        if self.death.answers_reach.is_none() {
            return format!(" {hellos} to bring it up again went unanswered.");
        }
        let came = if matches!(self.cause, Cause::Ignored) { ", which reached it" } else { "" };
        format!(
            " The gateway answered {hellos} to bring it up again, and the client took up none of the answers{came}."
        )
    }

    fn nothing_in_vain(&self) -> &'static str {
        let Death { back, unanswered, retries, .. } = self.death;
        match self.cause {
            Cause::Dropped => " Nothing the client had sent over it went unanswered.",
            Cause::Blocked if back.is_some() && unanswered.records == 0 && retries.is_empty() => {
                " Nothing shows here to be sent over it in vain: whether the client still sent anything, only its own capture tells."
            }
            _ => "",
        }
    }

    fn silence(&self) -> String {
        match self.cause {
            Cause::Idle(Some(seconds)) => format!(
                " For {seconds:.1} s before nothing came; whether the client was silent the gateway's end cannot show."
            ),
            Cause::Idle(None) => format!(" It had been silent for {:.1} s before.", self.death.unanswered.silence()),
            _ => String::new(),
        }
    }

    fn happened_again(&self) -> String {
        if self.deaths < 2 {
            return String::new();
        }
        let lasts = match (self.is_mended, self.goes_on) {
            (true, _) => "",
            (false, true) => "; the one after that carries data to the end",
            (false, false) => "; none is seen to last",
        };
        format!(" That happened {} times{lasts}.", self.deaths)
    }
}

/// Did one that carried data after all those last longer than any that died, where several did?
fn is_mended<'a>(mut after: impl Iterator<Item = &'a DtlsFlow>, deaths: &[Death<'_>]) -> bool {
    let lasted = |death: &Death<'_>| death.answered.0.seconds_since(death.flow.start());
    let longest = if deaths.len() > 1 { deaths.iter().map(lasted).fold(0.0, f64::max) } else { 0.0 };
    // One that is hardly older than those were has yet to show that it lasts.
    let proven = 2.0 * longest;
    after.any(|flow| {
        let end = last_record(flow).unwrap_or_else(|| flow.start());
        end.seconds_since(flow.start()) > proven
    })
}
