//! An interruption as a finding: how sure it is, what shows it, and what follows.

use super::breaks::{Break, NOTICED, Shown};
use super::cause::Cause;
use super::ended::turned_away;
use super::summary::{names, period, sides, summary};
use crate::event::FrameRef;
use crate::finding::{Case, Evidence, Filter, Finding, Grade, RuledOut, Severity, count, elapsed};
use crate::session::Connection;
use crate::session::beside::MAX_FRAMES;
use crate::session::reconnect::Reconnect;
use crate::session::silence::{LargeAlone, Outage};

pub const SEEN: Grade = Grade::high("the packets that ended it, and the new connection, are in the capture");
pub const BOTH_ENDS: Grade = Grade::high("one end's capture shows a reset the other end never sent");
pub const FORGED: Grade = Grade::high("the reset's TTL is not its sender's");
pub const SILENCE: Grade =
    Grade::high("small segments are sent again and again, and nothing comes back in any channel");
pub const ALONE: Grade = Grade::high(
    "segments of TLS are sent again and again, and nothing comes back, while DTLS between the same two is answered",
);
pub const TIMING: Grade = Grade::medium("told from silence and timing");

pub const LARGE: Grade =
    Grade::medium("large segments are sent again and again, and what is small beside them goes unanswered too");
pub const EITHER: Grade =
    Grade::low("large segments alone are sent again and again: a lost path and one that drops them look alike");

/// `seams` are all reconnects of the session, of which this may be one.
pub fn finding(found: &Break<'_>, case: &Case<'_>, seams: &[&Reconnect]) -> Finding {
    let seam = found.replaced();
    let connections = [found.old, seam.and_then(|seam| seam.new)];
    let is_placed =
        seam.is_some_and(|seam| seam.waiting.is_some()) || found.is_lost_between(case) || echoed(found).is_some();
    let at_least = if recurs(found, seams) { Severity::Low } else { Severity::Info };
    Finding {
        severity: found.severity().max(at_least),
        grade: grade(found),
        headline: headline(found),
        summary: summary(found, case, seams),
        likely: Some(found.cause.word()),
        ruled_out: seam
            .and_then(|seam| mtu_ruled_out(seam.reconnect))
            .or_else(|| size_ruled_out(found))
            .into_iter()
            .collect(),
        follows: is_of_a_stuck_segment(found).then_some("path-mtu-blackhole"),
        evidence: evidence(found, case),
        filters: connections.into_iter().flatten().map(Filter::tunnel).collect(),
        remedy: found.cause.remedy(seam.is_some(), is_placed).map(str::to_owned).into_iter().collect(),
        wanted: case.other_end("what of the tunnel passes there meanwhile").filter(|_| is_lost_on_the_way(found)),
        ..Finding::default()
    }
}

/// More often than any rekey (`anyconnect ssl rekey time`: 4 minutes at least), and noticed: there is a reason.
fn recurs(found: &Break<'_>, seams: &[&Reconnect]) -> bool {
    let is_often = period(seams).is_some_and(|seconds| (30.0..240.0).contains(&seconds));
    let without_data = found.replaced().and_then(|seam| seam.reconnect.without_data);
    let is_closed = matches!(found.cause, Cause::ClientClosed | Cause::GatewayClosed);
    is_often && is_closed && without_data.is_some_and(|seconds| seconds >= NOTICED)
}

/// Would the other end show more of it?
fn is_lost_on_the_way(found: &Break<'_>) -> bool {
    found.is_silence() || matches!(found.cause, Cause::DpdUnanswered | Cause::TlsLost | Cause::ResetByMiddlebox)
}

/// What is sent in vain while the other side hears no acknowledgment either.
fn echoed<'a>(found: &'a Break<'_>) -> Option<&'a LargeAlone<'a>> {
    if let Shown::Large(large) = &found.shown { Some(large).filter(|large| large.is_echoed()) } else { None }
}

fn grade(found: &Break<'_>) -> Grade {
    let before_reset = found.reset().and_then(|reset| reset.silence().copied());
    if let Some(outage) = before_reset {
        return match outage.resent {
            0 => TIMING,
            _ if outage.is_alone => ALONE,
            _ => SILENCE,
        };
    }
    match (found.reset(), &found.shown, found.cause) {
        (.., Cause::PathLostOrTooLarge) => EITHER,
        (_, Shown::Large(_), _) => LARGE,
        (Some(reset), ..) if reset.unsent => BOTH_ENDS,
        (Some(reset), ..) if reset.is_forged() => FORGED,
        (_, Shown::Outage(_) | Shown::Silence(_), Cause::TlsLost) => ALONE,
        (_, Shown::Outage(outage), _) if outage.resent == 0 || outage.is_large => TIMING,
        (_, Shown::Mute(_), _) => TIMING,
        (_, Shown::Outage(_) | Shown::Silence(_), _) => SILENCE,
        (.., Cause::DpdUnanswered | Cause::PathLost | Cause::Sleep | Cause::Rekey | Cause::RekeyFailed) => TIMING,
        _ => SEEN,
    }
}

fn headline(found: &Break<'_>) -> String {
    if let Some(large) = echoed(found) {
        let (speaker, other) = names(large.sent);
        return format!("nothing of the {speaker} reaches the {other} any more");
    }
    let ended = found.reset().and_then(|reset| reset.silence().copied()).filter(|_| found.replaced().is_none());
    let outage = match &found.shown {
        Shown::Outage(outage) => Some(*outage),
        _ => ended,
    };
    match outage.map(|outage| (outage, elapsed(outage.seconds()))) {
        Some((outage, seconds)) if found.cause == Cause::TlsLost => {
            let then = if outage.closed.is_some() { ", then it was closed" } else { "" };
            format!("for {seconds} the TLS connection of the tunnel was dead, while DTLS went on{then}")
        }
        Some((outage, seconds)) if found.cause != Cause::GatewayRestarted => {
            let (_, silent) = sides(outage.sent);
            let then = match outage.closed {
                Some(closed) if closed.reset => "the tunnel was reset",
                Some(_) => "it closed the tunnel",
                None => "the tunnel went on",
            };
            format!("for {seconds} nothing came {silent}, then {then}")
        }
        _ => {
            let quiet = found.reset().and_then(|reset| reset.quiet);
            let before = quiet.map_or_else(String::new, |seconds| {
                format!("for {} no data came from the client, then ", elapsed(seconds))
            });
            before + found.cause.headline(found.replaced().is_some())
        }
    }
}

/// Did the tunnel go unanswered while one of its segments was sent again and again at one size?
fn is_of_a_stuck_segment(found: &Break<'_>) -> bool {
    /// A client gives up no later than this after the last resend, seconds.
    const GIVES_UP: f64 = 60.0;
    let is_unanswered =
        found.is_silence() || matches!(found.cause, Cause::DpdUnanswered | Cause::ClientClosed | Cause::GatewayClosed);
    let stuck = |old: &Connection| {
        let sizes = old.views.iter().flat_map(|view| view.ended.sizes.iter());
        let last = sizes.filter_map(|sizes| sizes.smallest_stuck.as_ref()).map(|stuck| stuck.last).max();
        last.is_some_and(|last| old.left().seconds_since(last) < GIVES_UP)
    };
    is_unanswered && found.old.is_some_and(stuck)
}

fn mtu_ruled_out(seam: &Reconnect) -> Option<RuledOut> {
    let why = match seam.lived {
        Some(seconds) if !seam.after_a_minute() => format!("the tunnel ended after {seconds:.1} s, not after a minute"),
        _ if seam.dtls_worked => "DTLS had come up".to_owned(),
        _ => return None,
    };
    Some(RuledOut { what: "a reconnect for the MTU", why })
}

fn size_ruled_out(found: &Break<'_>) -> Option<RuledOut> {
    let Shown::Large(large) = &found.shown else { return None };
    let why = match found.cause {
        Cause::PathLostOrTooLarge => return None,
        Cause::GatewaySilent => "they reached the gateway's outside interface",
        _ if large.is_echoed() => "acknowledgments, which are small, do not arrive either",
        _ => "small segments sent right behind got no answer either",
    };
    Some(RuledOut { what: "a black hole for large packets", why: why.to_owned() })
}

fn evidence(found: &Break<'_>, case: &Case<'_>) -> Vec<Evidence> {
    let one = |frame, note: &str| Some(Evidence::Frames(vec![frame], note.to_owned()));
    let reset = found.reset().and_then(|reset| one(reset.closed.frame, "the reset"));
    let closed = || found.old?.best().closed().and_then(|closed| one(closed.frame, "the old tunnel is closed"));
    let ended = || reset.clone().or_else(closed);
    let in_vain = |outage: &Outage| match outage.resent {
        0 => one(outage.frame, "first DTLS record without an answer"),
        _ => one(outage.frame, "first TLS segment sent again in vain"),
    };
    let silence = || in_vain(found.reset()?.silence()?);
    let all = match &found.shown {
        Shown::Seam(seam) => [silence(), ended(), one(seam.reconnect.frame, "the new tunnel connection opens")],
        Shown::Hop(hop) => [one(hop.frame, &format!("last packet of the tunnel to {}", hop.gateway)), None, None],
        Shown::Outage(outage) => [in_vain(outage), None, None],
        Shown::Silence(silence) => {
            [closed(), one(silence.frame, "last packet of the tunnel connection"), came_back(case)]
        }
        Shown::Large(LargeAlone { stuck, view, .. }) => {
            let capture = view.opened.first_frame.capture;
            let frames = [stuck.first_frame, stuck.last_frame].map(|number| FrameRef { capture, number });
            let sendings = count(u64::from(stuck.times), "sending");
            let shown = Evidence::Frames(frames.into(), format!("first and last of {sendings} at {} B", stuck.ip_len));
            [Some(shown), closed(), came_back(case)]
        }
        Shown::Mute(unheard) => [one(unheard.first.1, "first record of the client without an answer"), None, None],
        Shown::Reset(_) | Shown::End => [silence(), ended(), came_back(case)],
    };
    all.into_iter().flatten().collect()
}

/// The client that came back in vain.
fn came_back(case: &Case<'_>) -> Option<Evidence> {
    let frames: Vec<FrameRef> = turned_away(case).map(|away| away.frame).take(MAX_FRAMES).collect();
    (!frames.is_empty()).then(|| Evidence::Frames(frames, "new connections that bring no tunnel".to_owned()))
}
