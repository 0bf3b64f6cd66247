//! An interruption in sentences.

use super::breaks::{Break, Seam, Shown};
use super::cause::Cause;
use super::ended::{dismissal, refusal, turned_away};
use super::waiting::Waiting;
use crate::event::{Direction, Timestamp, Vantage};
use crate::finding::{Case, count, elapsed};
use crate::session::beside::{Refusal, is_abrupt};
use crate::session::moves::Hop;
use crate::session::reconnect::{LOST, Reconnect, Unheard};
use crate::session::silence::{LargeAlone, Outage, Silence};
use crate::session::{Connection, Session};

/// `seams` are all reconnects of the session, of which this may be one.
pub fn summary(found: &Break<'_>, case: &Case<'_>, seams: &[&Reconnect]) -> String {
    let session = case.session;
    match &found.shown {
        Shown::Seam(seam) => {
            let ended = seam.reset.map_or_else(|| lived_words(seam.reconnect), |reset| reset.words(session));
            format!("{ended}{}{}", seam_words(found, case, seam), recurrence_words(seams))
        }
        Shown::Hop(hop) => hop_words(hop, session),
        Shown::Reset(reset) => {
            let lived = if found.cause == Cause::TlsLost { TLS_ALONE } else { "" };
            reset.words(session) + &alone_words(found, case) + lived
        }
        Shown::Silence(silence) => {
            let sent = match found.is_lost_between(case) {
                true => ", though its own capture shows that it sent: lost on the way",
                false => "",
            };
            let lived = if silence.is_alone { TLS_ALONE } else { "" };
            silence_words(silence, session) + sent + &alone_words(found, case) + lived
        }
        Shown::Large(large) => large_words(large, found.cause) + &alone_words(found, case),
        Shown::Mute(unheard) => mute_words(unheard, found.cause, session) + &alone_words(found, case),
        Shown::Outage(outage) => {
            let came_back = outage.closed.map_or_else(String::new, |_| turned_away_words(case));
            let lived = if outage.is_alone { TLS_ALONE } else { "" };
            format!("{}{came_back}.{lived}", outage_words(outage, session))
        }
        Shown::End => {
            let ended = found.old.map_or_else(String::new, |old| ended_words(session, old));
            ended + &alone_words(found, case)
        }
    }
}

/// What follows where DTLS went on.
const TLS_ALONE: &str = " The path was not lost, for DTLS got through: only TLS was, which controls the tunnel, and carries the data where DTLS fails.";

fn hop_words(hop: &Hop, session: &Session) -> String {
    let gap = elapsed(session.start.seconds_since(hop.left));
    format!("The client came from gateway {}, whose tunnel it left {gap} before.", hop.gateway)
}

/// No other tunnel followed.
fn alone_words(found: &Break<'_>, case: &Case<'_>) -> String {
    let vantage = found.old.and_then(|old| case.vantage(old.best().point));
    // A client that moved comes back from another address, which only its own capture shows to be the same client.
    let from = if vantage == Some(Vantage::Client) { "" } else { " from the client's address" };
    if found.cause == Cause::ClientSilent && case.session.beside().others_go_on {
        let came_back = turned_away_words(case);
        return format!(
            ". No new tunnel is known to be its{came_back}; another session from its address went on meanwhile: the path of that site works."
        );
    }
    let none = if found.cause == Cause::Refused { "No tunnel" } else { "No new tunnel" };
    format!(". {none}{from} followed{}.", turned_away_words(case))
}

/// How the client fared that came back.
fn turned_away_words(case: &Case<'_>) -> String {
    let all = [Refusal::Reset, Refusal::Unanswered, Refusal::Ignored, Refusal::WithoutTunnel];
    let counted = all.map(|how| (how, turned_away(case).filter(|away| away.how == how).count()));
    let told = counted.into_iter().filter(|(_, n)| *n > 0);
    let parts: Vec<String> = told.map(|(how, n)| format!("{} {}", times(n), how.words())).collect();
    if parts.is_empty() {
        return String::new();
    }
    format!(", though the client came back: it was {}", parts.join(", "))
}

fn times(n: usize) -> String {
    match n {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        n => format!("{n} times"),
    }
}

/// Who sends that way, and from where nothing comes.
pub fn sides(sent: Direction) -> (&'static str, &'static str) {
    match sent {
        Direction::ToServer => ("client", "back from the gateway"),
        Direction::ToClient => ("gateway", "from the client"),
    }
}

/// Who sends that way, and to whom.
pub fn names(sent: Direction) -> (&'static str, &'static str) {
    match sent {
        Direction::ToServer => ("client", "gateway"),
        Direction::ToClient => ("gateway", "client"),
    }
}

fn large_words(large: &LargeAlone<'_>, cause: Cause) -> String {
    let (speaker, other) = names(large.sent);
    let stuck = large.stuck;
    let sent = format!(
        "A segment of {} B toward the {other} was sent {} over {} and never acknowledged",
        stuck.ip_len,
        times(stuck.times as usize),
        elapsed(stuck.last.seconds_since(stuck.first)),
    );
    if large.is_echoed() {
        let again = times(large.needless as usize);
        return format!(
            "{sent}. The {other} said nothing new, and sent again {again} what the {speaker} had acknowledged: nothing of the {speaker} \
             reaches it, small or large"
        );
    }
    let silent = format!("{sent}, and nothing at all came from the {other} from then on");
    if cause == Cause::GatewaySilent {
        return format!("{silent}, though it reached the gateway's outside interface each time");
    }
    if large.has_small_behind() {
        let small = if stuck.behind < 255 { stuck.behind.to_string() } else { "255 or more".to_owned() };
        return format!("{silent}, nor any answer to {small} small segments sent behind it");
    }
    let speaks = match large.passed.filter(|passed| passed.ip_len >= stuck.ip_len) {
        Some(_) => "; packets as large had passed before, which speaks against the size".to_owned(),
        None => large
            .passed
            .map_or_else(String::new, |passed| format!("; before, packets up to {} B had passed", passed.ip_len)),
    };
    format!(
        "{silent}. That does not tell whether the path is lost, or the {other} gone, or whether the path drops what is large{speaks}"
    )
}

fn mute_words(unheard: &Unheard, cause: Cause, session: &Session) -> String {
    let there = match cause {
        Cause::GatewaySilent => "though they came to the gateway's outside interface",
        _ => "though its TCP acknowledged",
    };
    format!(
        "From {:.1} s into the session on the gateway said nothing in the tunnel any more: over {} the client's last {} went unanswered, \
         {there}",
        unheard.since.seconds_since(session.start),
        elapsed(unheard.seconds),
        count(u64::from(unheard.records), "record"),
    )
}

fn outage_words(outage: &Outage, session: &Session) -> String {
    let then = match outage.closed {
        Some(closed) => {
            let (who, _) = sides(closed.direction);
            match closed.reset {
                true => format!("a RST in the {who}'s name closed the tunnel in frame {}", closed.frame.number),
                false => format!("the {who} closed the tunnel with a FIN in frame {}", closed.frame.number),
            }
        }
        None if outage.is_large => {
            "answers came again, also to one of those; whether smaller ones would have got through meanwhile does not show"
                .to_owned()
        },
        None => "answers came again".to_owned(),
    };
    format!("{}. Then {then}", vain_words(outage, session))
}

/// How long nothing came, and what went unanswered.
pub fn vain_words(outage: &Outage, session: &Session) -> String {
    let (speaker, silent) = sides(outage.sent);
    let into = outage.since.seconds_since(session.start);
    let large = if outage.is_large { "large " } else { "" };
    let resent = (outage.resent > 0)
        .then(|| format!("the {speaker} sent {large}TLS segments again {}", times(outage.resent.into())));
    let records = count(u64::from(outage.records), "DTLS record");
    let unanswered = (outage.records > 0).then(|| format!("{records} went unanswered"));
    let what: Vec<String> = [resent, unanswered].into_iter().flatten().collect();
    format!(
        "From {into:.1} s to {:.1} s into the session nothing came {silent}{}: {}",
        into + outage.seconds(),
        if outage.is_alone { ALONE } else { "" },
        what.join(", and ")
    )
}

const ALONE: &str = " on the TLS connection, though DTLS went on";

fn silence_words(silence: &Silence, session: &Session) -> String {
    let (speaker, silent) = sides(silence.sent);
    let alone = if silence.is_alone { ALONE } else { "" };
    let into = |at: Timestamp| at.seconds_since(session.start);
    // Over DTLS something may have come later.
    let before = silence.since.seconds_since(silence.over_tls);
    let (over_tls, seconds) = match before >= LOST {
        true => (format!(", over TLS from {:.1} s on", into(silence.over_tls)), silence.seconds + before),
        false => (String::new(), silence.seconds),
    };
    let mut text = format!(
        "From {:.1} s into the session on nothing came {silent}{alone}{over_tls}: over {} the {speaker} sent TLS segments again {} times",
        into(silence.since),
        elapsed(seconds),
        silence.resent,
    );
    if silence.records > 0 {
        text.push_str(&format!(", and {} went unanswered", count(u64::from(silence.records), "DTLS record")));
    }
    text
}

/// How the tunnel ended: the gateway's refusal, or a FIN or RST and what the tunnel did until then.
fn ended_words(session: &Session, tunnel: &Connection) -> String {
    if let Some((answer, frame)) = refusal(tunnel) {
        let reason = answer.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
        return format!("The gateway answered CONNECT with {}{reason} in frame {}", answer.status, frame.number);
    }
    if let Some(bye) = dismissal(tunnel) {
        return format!("Its last word in frame {}: {}", bye.frame.number, bye.words());
    }
    let Some(closed) = tunnel.best().closed() else { return String::new() };
    let by = if closed.by == Direction::ToServer { "client" } else { "gateway" };
    let how = if closed.reset { "RST" } else { "FIN" };
    let lived = elapsed(closed.at.seconds_since(tunnel.start()));
    let since = if tunnel.begins_here() { "after" } else { "at least" };
    let abrupt = if is_abrupt(session, tunnel, closed) { ", without a goodbye and with data up to then" } else { "" };
    format!("The {by} closed the tunnel {since} {lived} with a {how} in frame {}{abrupt}", closed.frame.number)
}

fn lived_words(seam: &Reconnect) -> String {
    match seam.lived {
        Some(seconds) if seam.is_closed => format!("The tunnel ended after {seconds:.1} s"),
        Some(seconds) => format!("The tunnel was last heard {seconds:.1} s after it came up"),
        None => "The tunnel, which began before the capture, ended".to_owned(),
    }
}

/// How the new tunnel came, and what tells why: what follows upon the old one's end.
fn seam_words(found: &Break<'_>, case: &Case<'_>, seam: &Seam<'_>) -> String {
    let reconnect = seam.reconnect;
    let quiet = reconnect.quiet.filter(|_| found.cause == Cause::ClientSilent);
    let waited = |what, seconds| format!(" The new one's {what} waited {seconds:.1} s for its answer.");
    let said = [
        Some(opened_words(case, reconnect)),
        unanswered_words(found, case, seam),
        quiet.map(|seconds| format!(" For {seconds:.1} s before it ended no data had come from the client.")),
        reconnect.syn_wait.map(|seconds| waited("SYN", seconds)),
        reconnect.hello_wait.map(|seconds| waited("ClientHello", seconds)),
        seam.waiting.map(|waiting| waiting.words().to_owned()),
        found.old.and_then(Connection::bye).map(|bye| format!(" Its last word: {}.", bye.words())),
        reconnect.moved.map(|(old, new)| format!(" The client's address changed from {old} to {new}.")),
        inner_size_words(reconnect),
        outer_size_words(reconnect),
        (found.cause == Cause::TlsLost).then(|| TLS_ALONE.to_owned()),
    ];
    said.into_iter().flatten().collect()
}

fn opened_words(case: &Case<'_>, seam: &Reconnect) -> String {
    let without_login = case.without_login();
    let opened = match seam.gap {
        gap if gap >= 0.0 => format!("; a new one opened {} later {without_login}", elapsed(gap)),
        _ => format!("; a new one had opened beside it {without_login}"),
    };
    let without_data = seam.without_data.map_or_else(String::new, |seconds| {
        format!(". From the gateway's last data before to the first data after it {seconds:.1} s passed")
    });
    format!("{opened}{without_data}.")
}

/// What was not answered around the seam.
fn unanswered_words(found: &Break<'_>, case: &Case<'_>, seam: &Seam<'_>) -> Option<String> {
    let reconnect = seam.reconnect;
    if seam.waiting == Some(Waiting::OnWayBack) && reconnect.syn_wait.is_none() {
        let seconds = seam.new?.best().syn_ack_wait()?;
        return Some(format!(" The new one's SYN-ACK waited {seconds:.1} s for the ACK."));
    }
    let survived =
        |old: &Connection| old.views.iter().find_map(|view| Outage::of(case.session, old, view, Direction::ToServer));
    // Of a RST it is told what came before.
    let is_lost = matches!(found.cause, Cause::PathLost | Cause::TlsLost) && seam.reset.is_none();
    if let Some(outage) = found.old.filter(|_| is_lost).and_then(survived) {
        return Some(format!(" {}.", outage_words(&outage, case.session)));
    }
    let is_told = matches!(found.cause, Cause::DpdUnanswered | Cause::PathLost) && seam.reset.is_none();
    let Unheard { seconds, records, .. } = reconnect.unheard.filter(|_| is_told)?;
    let records = count(u64::from(records), "record");
    Some(format!(" Before that {records} of the client went unanswered over {seconds:.1} s."))
}

fn inner_size_words(seam: &Reconnect) -> Option<String> {
    if let Some(mss) = seam.inner_mss.filter(|mss| mss.before.0 != mss.after.0) {
        return Some(format!(" Inner SYN MSS {} before, {} after.", mss.before.0, mss.after.0));
    }
    let (before, after) = seam.ceiling.as_ref().filter(|(before, after)| before.end() != after.end())?;
    Some(format!(" Largest inner packet {} B before, {} B after.", before.end(), after.end()))
}

fn outer_size_words(seam: &Reconnect) -> Option<String> {
    let (before, after) = seam.outer_mss.filter(|(before, after)| before != after)?;
    Some(format!(" The client's outer MSS {before} before, {after} after."))
}

fn recurrence_words(seams: &[&Reconnect]) -> String {
    if seams.len() <= 1 {
        return String::new();
    }
    let every = period(seams).map_or(String::new(), |seconds| format!(", {seconds:.0} s apart"));
    format!(" There were {} such seams{every}; this is the worst.", seams.len())
}

/// How far apart the seams are, in seconds, where they are so by the clock.
pub fn period(seams: &[&Reconnect]) -> Option<f64> {
    /// Timers of a client and a network between differ by so much, seconds.
    const LEEWAY: f64 = 2.0;
    let apart = |pair: &[&Reconnect]| match pair {
        [one, next] => Some(next.at.seconds_since(one.at)),
        _ => None,
    };
    let apart: Vec<f64> = seams.windows(2).filter_map(apart).collect();
    let (least, most) = (apart.iter().copied().reduce(f64::min)?, apart.iter().copied().reduce(f64::max)?);
    (apart.len() >= 2 && most - least <= LEEWAY).then_some((least + most) / 2.0)
}
