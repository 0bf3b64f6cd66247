//! Nothing broke the last tunnel, and yet nobody knows whether it still lives.

use crate::event::{Direction, Vantage};
use crate::finding::{Case, Outcome, UNHEARD, Wanted, count};
use crate::session::reconnect::{LOST, MANY, Unheard, leaves_many, unheard};
use crate::session::silence::Outage;
use crate::session::{Connection, DtlsFlow, Session};

pub fn unsettled(case: &Case<'_>, last: &Connection) -> Option<Outcome> {
    // Where answers do not show, that is the reason.
    if case.one_way(true, false).is_some() {
        return None;
    }
    if let Some(why) = unheard_at_end(case.session, last) {
        return Some(Outcome::unsettled(why, None, UNHEARD));
    }
    if let Some(why) = unanswered_midway(case) {
        let wanted = case.other_end("which records pass there meanwhile");
        return Some(Outcome::unsettled(why, wanted, "for a while the gateway answered nothing"));
    }
    let why = unanswered_at_end(case.session, last)?;
    let open = "the gateway's last records went unanswered until the capture ended";
    let wanted = Wanted { vantage: Vantage::Client, why: "whether they arrive, and what the client sends" };
    Some(Outcome::unsettled(why, Some(wanted), open))
}

/// The gateway answered nothing for a while, and no DPD that must be answered was among what it was sent.
fn unanswered_midway(case: &Case<'_>) -> Option<String> {
    let of = |tunnel: &Connection| Outage::of_records(case.session, tunnel, tunnel.best());
    let outages = case.session.tunnels().filter_map(of).filter(|outage| outage.records >= MANY);
    let outage = outages.max_by(|a, b| a.seconds().total_cmp(&b.seconds()))?;
    let mut views = case.session.dtls.iter().flat_map(|flow| &flow.views);
    let came = views.any(|view| case.vantage(view.point) == Some(Vantage::Outside) && outage.shows_at(view));
    let lost = if came { "" } else { " the path was lost," };
    Some(format!(
        "for {:.1} s, from frame {} on, the gateway answered none of {}: it hung or was busy,{lost} or none of them asked for an answer",
        outage.seconds(),
        outage.frame.number,
        count(u64::from(outage.records), "record"),
    ))
}

/// The client's last records went unanswered, and nobody closed it.
fn unheard_at_end(session: &Session, last: &Connection) -> Option<String> {
    let is_closed_by = |way| last.views.iter().any(|view| view.closed().is_some_and(|closed| closed.direction == way));
    if is_closed_by(Direction::ToClient) {
        return None;
    }
    let flows: Vec<&DtlsFlow> = session.dtls_since(last).collect();
    if is_closed_by(Direction::ToServer) && !leaves_many(last, &flows) {
        return None;
    }
    let is_dead = |u: &Unheard| u.is_dpd(last) && !u.tcp_lives(last) && !is_closed_by(Direction::ToServer);
    let is_mute = |u: &Unheard| u.is_mute() && u.seconds >= 2.0 * LOST;
    let Unheard { seconds, records, .. } = unheard(last, &flows, None).filter(|u| is_dead(u) || is_mute(u))?;
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
