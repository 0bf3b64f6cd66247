//! Nothing broke the last tunnel, and yet nobody knows whether it still lives.

use crate::event::{Direction, Vantage};
use crate::finding::{Case, Outcome, UNHEARD, Wanted, count};
use crate::session::reconnect::{Unheard, unheard};
use crate::session::{Connection, DtlsFlow, Session};

pub fn unsettled(case: &Case<'_>, last: &Connection) -> Option<Outcome> {
    // Where answers do not show, that is the reason.
    if case.one_way(true, false).is_some() {
        return None;
    }
    if let Some(why) = unheard_at_end(case.session, last) {
        return Some(Outcome::unsettled(why, None, UNHEARD));
    }
    let why = unanswered_at_end(case.session, last)?;
    let open = "the gateway's last records went unanswered until the capture ended";
    let wanted = Wanted { vantage: Vantage::Client, why: "whether they arrive, and what the client sends" };
    Some(Outcome::unsettled(why, Some(wanted), open))
}

/// The client's last records went unanswered, and nobody closed it.
fn unheard_at_end(session: &Session, last: &Connection) -> Option<String> {
    if last.views.iter().any(|view| view.closed().is_some()) {
        return None;
    }
    let flows: Vec<&DtlsFlow> = session.dtls_since(last).collect();
    let Unheard { seconds, records, .. } = unheard(last, &flows).filter(|u| u.is_dpd(last) && !u.tcp_lives(last))?;
    let records = count(u64::from(records), "record");
    Some(format!(
        "the client's last {records} went unanswered over {seconds:.1} s, and what became of the tunnel was not captured"
    ))
}

/// The gateway sends over DTLS, and the client says nothing at all any more.
fn unanswered_at_end(session: &Session, last: &Connection) -> Option<String> {
    /// So many records, for so long: a keepalive was due (ASA default 20 s), seconds.
    const MANY: u32 = 5;
    const LONG: f64 = 20.0;
    let dtls = session.dtls_since(last).flat_map(|d| &d.views);
    let views = || dtls.clone().chain(&last.views);
    let heard = views().filter_map(|v| v.last_packet(Direction::ToServer)).max()?;
    let said = dtls.clone().filter_map(|v| Some(v.dtls.as_ref()?.unanswered(Direction::ToClient)));
    let said = said.filter(|said| said.records >= MANY).max_by_key(|said| said.last.0)?;
    let seconds = said.last.0.seconds_since(heard);
    let records = count(u64::from(said.records), "record");
    (seconds >= LONG).then(|| {
        format!("the gateway's last {records} went unanswered, and for {seconds:.1} s the client said nothing, not even a keepalive")
    })
}
