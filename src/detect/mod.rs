//! Sessions to findings: one judgement a file, and the table of them.

use crate::event::Vantage;
use crate::finding::{BothWays, Case, Detector, Outcome, Wanted};
use crate::session::beside::Whose;
use std::borrow::Cow;

mod dtls_late;
mod dtls_loss;
mod dtls_lost_midway;
mod dtls_moved;
mod dtls_never_completes;
mod dtls_nondefault_port;
mod frag_needed_ignored;
mod ipv6_below_1280;
mod missing_frag_needed;
mod mss_clamped;
mod oversized_df;
mod path_mtu_blackhole;
mod reconnect_for_mtu;
mod remedy;
mod tcp_over_tcp;
mod tunnel_interrupted;

/// All detectors, in the order they are asked and told: causes before effects.
pub static DETECTORS: &[&Detector] = &[
    &dtls_never_completes::DETECTOR,
    &dtls_nondefault_port::DETECTOR,
    &dtls_late::DETECTOR,
    &dtls_lost_midway::DETECTOR,
    &dtls_loss::DETECTOR,
    &dtls_moved::DETECTOR,
    &path_mtu_blackhole::DETECTOR,
    &oversized_df::DETECTOR,
    &missing_frag_needed::DETECTOR,
    &frag_needed_ignored::DETECTOR,
    &ipv6_below_1280::DETECTOR,
    &reconnect_for_mtu::DETECTOR,
    &tunnel_interrupted::DETECTOR,
    &tcp_over_tcp::DETECTOR,
    &mss_clamped::DETECTOR,
];

/// The detector of that id.
pub fn find(id: &str) -> Option<&'static Detector> {
    DETECTORS.iter().copied().find(|d| d.id == id)
}

/// Nothing was seen is not that nothing was, where one direction was not.
fn both_ways(outcome: Outcome, detector: &Detector, case: &Case<'_>) -> Outcome {
    let is_outer = |vantage: &Vantage| vantage.is_outer();
    let (outer, inner) = (detector.judged_from.iter().any(is_outer), !detector.judged_from.iter().all(is_outer));
    let Outcome::Clear(_) = outcome else { return outcome };
    let why = match detector.needs_both_ways {
        BothWays::Needless => None,
        BothWays::OfAny => case.one_way(outer, inner),
        BothWays::OfTcp => case.part_of_tcp(outer, inner),
    };
    why.map_or(outcome, |why| Outcome::cannot_tell(why, wanted(detector)))
}

/// No answer rests on inner traffic of which nobody knows whose it is, and none asks for a capture of it.
fn of_whom(outcome: Outcome, detector: &Detector, case: &Case<'_>) -> Outcome {
    const GUESSED: &str = "inner traffic was captured, and none is sure to be this session's";
    const OPEN: &str = "inner traffic was captured, and which of it is this session's cannot be told";
    let whose = case.session.beside().inner;
    let is_there = |wanted: &Wanted| case.points.iter().any(|point| point.vantage == Some(wanted.vantage));
    match outcome {
        Outcome::Clear(_) if whose == Whose::Guessed && !detector.judges_outside() => {
            Outcome::cannot_tell(GUESSED, None)
        }
        Outcome::CannotTell(why, Some(wanted)) if whose == Whose::Open && is_there(&wanted) => {
            Outcome::cannot_tell(if case.session.gateway.is_some() { Cow::Borrowed(OPEN) } else { why }, None)
        }
        Outcome::Unsettled(why, Some(wanted), open) if whose == Whose::Open && is_there(&wanted) => {
            Outcome::unsettled(why, None, open)
        }
        outcome => outcome,
    }
}

/// The capture that would settle its question.
fn wanted(detector: &Detector) -> Option<Wanted> {
    detector.judged_from.first().map(|vantage| Wanted { vantage: *vantage, why: detector.question })
}

/// Asks one detector about one session; without a capture from where it can judge, the answer is cannot-tell.
pub fn ask(detector: &Detector, case: &Case<'_>) -> Outcome {
    of_whom(answer(detector, case), detector, case)
}

fn answer(detector: &Detector, case: &Case<'_>) -> Outcome {
    let session = case.session;
    let sees_outer = !session.connections.is_empty() || !session.dtls.is_empty();
    let sees_inner = !session.inner.is_empty();
    let stood = detector.judged_from.iter().any(|v| if v.is_outer() { sees_outer } else { sees_inner });
    if stood {
        return both_ways((detector.check)(case).modest(detector, session.confidence), detector, case);
    }
    let mut why = String::with_capacity(96);
    let is_there = case.points.iter().any(|p| p.vantage.is_some_and(|v| detector.judged_from.contains(&v)));
    let nothing = if is_there { "nothing of this session was seen at " } else { "nothing was captured at " };
    for (place, or) in detector.judged_from.iter().zip(std::iter::once(nothing).chain(std::iter::repeat(" or "))) {
        why.push_str(or);
        why.push_str(place.phrase());
    }
    Outcome::cannot_tell(why, wanted(detector))
}
