//! A failure in sentences: what was tried, how far it got, what of it the gateway's end saw, and what speaks for its cause.

use super::cause::{Cause, names};
use super::failure::Failure;
use super::seen::{GatewayEnd, Seen, distinct};
use crate::event::Direction;
use crate::finding::{count, elapsed};
use crate::session::attempt::{AttemptOutcome, PATIENCE, icmp_words};
use crate::session::facts::Flight;

pub fn summary(failure: &Failure<'_>, cause: &Cause) -> String {
    let here = &failure.here;
    // What is open at one point may have failed at another, whose capture went on.
    let attempts = distinct(failure.failed.iter().chain(&failure.open).map(|j| j.facts));
    let open = attempts - distinct(failure.failed.iter().map(|j| j.facts));
    let tries = match (attempts, open) {
        (..2, _) => String::new(),
        (_, 0) => format!(" ({attempts} attempts)"),
        (_, 1) => format!(" ({attempts} attempts, the last begun less than {PATIENCE} s before the capture ended)"),
        _ => format!(" ({attempts} attempts, {open} begun less than {PATIENCE} s before the capture ended)"),
    };
    let over = match here.hellos {
        2.. => format!(" in {}", elapsed(here.last.seconds_since(here.first))),
        _ => String::new(),
    };
    format!(
        "{}{over}{tries} from the client, seen at {}: {}.{}{}{}{}{}",
        count(u64::from(here.hellos), "ClientHello"),
        failure.case.place(failure.near),
        stage_words(failure),
        unanswered_words(failure),
        gateway_words(failure),
        cause.words(failure),
        if failure.is_midway {
            " The tunnel began before the capture: DTLS may have been up on it before."
        } else {
            ""
        },
        elsewhere_words(failure)
    )
}

/// The other tunnels on which it did not come up.
fn elsewhere_words(failure: &Failure<'_>) -> String {
    let told = |(tunnels, hellos): (usize, u32), how| {
        let (on, hellos) = (count(tunnels as u64, "other tunnel"), count(u64::from(hellos), "ClientHello"));
        (tunnels > 0).then(|| format!(" On {on} of the session DTLS {how}, with {hellos}."))
    };
    let failed = told(failure.elsewhere, "did not come up either");
    let open = told(failure.open_elsewhere, "had not come up when the capture ended");
    [failed, open].into_iter().flatten().collect()
}

fn stage_words(failure: &Failure<'_>) -> String {
    let name = |direction: &Direction| if *direction == Direction::ToClient { "gateway" } else { "client" };
    match failure.outcome() {
        AttemptOutcome::NoReply => "nothing came back".to_owned(),
        AttemptOutcome::Refused(error, sender, frame) => {
            format!("refused by {sender} with {} in frame {}", icmp_words(error), frame.number)
        }
        AttemptOutcome::StalledAfterHelloVerify => hello_verify_words(failure).to_owned(),
        AttemptOutcome::StalledAfterServerHello => server_hello_words(failure),
        AttemptOutcome::ClientDidNotFinish => {
            "the gateway sent its whole flight, and no answer of the client came".to_owned()
        }
        AttemptOutcome::FinishedLost => {
            "both Finished went, and the gateway goes on repeating its own and sends no data".to_owned()
        }
        AttemptOutcome::Alert(alert, by) => format!("the {} ended it with alert {alert}", name(by)),
        AttemptOutcome::SealedAlert(by) => {
            format!("both Finished went, and the {} answered with an encrypted alert", name(by))
        }
        AttemptOutcome::Abandoned
        | AttemptOutcome::Completed
        | AttemptOutcome::CutShort
        | AttemptOutcome::NotObservable(_) => String::new(),
    }
}

/// Attempts that did not come so far as the one that got furthest.
fn unanswered_words(failure: &Failure<'_>) -> String {
    let here = || failure.failed.iter().filter(|j| j.view.point == failure.near);
    let all = here().count();
    let furthest = failure.outcome().stage();
    let silent = here().filter(|j| j.outcome == AttemptOutcome::NoReply).count();
    let behind = here().filter(|j| j.outcome.stage() < furthest).count().saturating_sub(silent);
    let mut words = String::new();
    if silent > 0 && silent < all {
        let whole = if failure.open.is_empty() { "" } else { " that were not cut short" };
        words.push_str(&format!(" {silent} of the {all} attempts{whole} got no answer at all."));
    }
    if behind > 0 && silent < all {
        words.push_str(&format!(" {behind} of the {all} did not get so far."));
    }
    words
}

fn hello_verify_words(failure: &Failure<'_>) -> &'static str {
    if failure.here.answers == 0 {
        "with the cookie of a HelloVerifyRequest that came before the capture; nothing more came back"
    } else if failure.lacks_fragments() {
        "the gateway sent HelloVerifyRequest, and after the ClientHello with its cookie only pieces of what followed"
    } else if failure.lacks_cookie() {
        "the gateway sent HelloVerifyRequest, and no ClientHello with its cookie followed"
    } else {
        "the gateway sent HelloVerifyRequest, and after the ClientHello with its cookie nothing more"
    }
}

fn server_hello_words(failure: &Failure<'_>) -> String {
    let answers = failure.answers();
    let answered =
        || format!("the gateway's flight came, the client answered it {}", count(u64::from(answers), "time"));
    let flight = failure.flight().filter(Flight::is_torn);
    match flight {
        Some(flight) => {
            let (came, lacks) = (names(&flight.came), names(&flight.lacks));
            match answers {
                0 => format!("of the gateway's flight {came} came, and no {lacks}"),
                _ => format!("{}, and of what ends it {came} came, and no {lacks}", answered()),
            }
        }
        None if failure.is_repeated_in_vain() => {
            format!("{}, and goes on though the gateway's Finished went", answered())
        }
        None if answers > 0 => format!("{}, and the gateway's Finished never came", answered()),
        None => "a ServerHello came, but the handshake stalled before the server's flight was whole".to_owned(),
    }
}

fn gateway_words(failure: &Failure<'_>) -> String {
    let place = |point| failure.case.place(point);
    match &failure.gateway {
        GatewayEnd::Nowhere => String::new(),
        GatewayEnd::Unknown(point, why) => {
            format!(" Whether they arrived at {} cannot be told: {why}.", place(*point))
        }
        GatewayEnd::NoUdp(point) => format!(
            " At {} none shows, nor any other UDP: unless the capture there left UDP out, they are lost between the two.",
            place(*point)
        ),
        GatewayEnd::Unseen(window) => format!(" None arrived at {}: lost between the two.", place(window.point())),
        GatewayEnd::Seen { point, seen, is_whole } => arrived_words(failure, &place(*point), seen, *is_whole),
    }
}

fn arrived_words(failure: &Failure<'_>, place: &str, there: &Seen, is_whole: bool) -> String {
    let (here, hellos) = (&failure.here, there.hellos);
    if !there.sees_answers() {
        return format!(" At {place} {hellos} of them arrived; answers would not have shown there.");
    }
    if let Some(lost) = failure.lost() {
        let answered = count(u64::from(there.answers), "time");
        let what = match lost.kinds.as_slice() {
            _ if lost.came.is_empty() => "its answers are".to_owned(),
            [one] => format!("its {one} is"),
            all => format!("its {} are", names(all)),
        };
        return format!(
            " At {place} {hellos} arrived and the gateway answered {answered}: {what} lost on the way back."
        );
    }
    if hellos < here.hellos {
        return match is_whole {
            true => format!(" At {place} only {hellos} of them arrived."),
            false => format!(" At {place}, which was not captured all the while, {hellos} of them show."),
        };
    }
    let all = if hellos == 1 { "It".to_owned() } else { format!("All {hellos}") };
    let flight = if failure.answer_is_lost() { " The client's answer to the gateway's flight did not." } else { "" };
    format!(" {all} also arrived at {place}.{flight}")
}
