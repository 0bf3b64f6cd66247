//! Sessions to findings: one judgement a file, and the table of them.

use crate::event::Vantage;
use crate::finding::{BothWays, Case, Detector, Outcome, Wanted};

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

/// The capture that would settle its question.
fn wanted(detector: &Detector) -> Option<Wanted> {
    detector.judged_from.first().map(|vantage| Wanted { vantage: *vantage, why: detector.question })
}

/// Asks one detector about one session; without a capture from where it can judge, the answer is cannot-tell.
pub fn ask(detector: &Detector, case: &Case<'_>) -> Outcome {
    let session = case.session;
    let sees_outer = !session.connections.is_empty() || !session.dtls.is_empty();
    let sees_inner = !session.inner.is_empty();
    let stood = detector.judged_from.iter().any(|v| if v.is_outer() { sees_outer } else { sees_inner });
    if stood {
        return both_ways((detector.check)(case).modest(detector, session.confidence), detector, case);
    }
    let mut why = String::with_capacity(96);
    for (place, or) in
        detector.judged_from.iter().zip(std::iter::once("nothing was captured at ").chain(std::iter::repeat(" or ")))
    {
        why.push_str(or);
        why.push_str(place.phrase());
    }
    Outcome::cannot_tell(why, wanted(detector))
}
