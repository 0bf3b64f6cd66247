//! Sessions to findings: one judgement a file, and the table of them.

use crate::finding::{Case, Confidence, Detector, Outcome, Severity, Wanted};
use crate::session::Session;

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

/// No alarm on a guess: what is found on the outer path of a session that may be none is no worse than medium.
fn modest(mut outcome: Outcome, detector: &Detector, session: &Session) -> Outcome {
    if let Outcome::Found(finding) = &mut outcome
        && session.confidence == Confidence::Low
        && detector.judges_outside()
    {
        finding.severity = finding.severity.min(Severity::Medium);
    }
    outcome
}

/// Asks one detector about one session; without a capture from where it can judge, the answer is cannot-tell.
pub fn ask(detector: &Detector, case: &Case<'_>) -> Outcome {
    let session = case.session;
    let sees_outer = !session.connections.is_empty() || !session.dtls.is_empty();
    let sees_inner = !session.inner.is_empty();
    let stood = detector.judged_from.iter().any(|v| if v.is_outer() { sees_outer } else { sees_inner });
    if stood {
        return modest((detector.check)(case), detector, session);
    }
    let mut why = String::with_capacity(96);
    for (place, or) in
        detector.judged_from.iter().zip(std::iter::once("nothing was captured at ").chain(std::iter::repeat(" or ")))
    {
        why.push_str(or);
        why.push_str(place.phrase());
    }
    let wanted = detector.judged_from.first().map(|v| Wanted { vantage: *v, why: detector.question });
    Outcome::cannot_tell(why, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Finding;
    use crate::session::Proof;
    use std::net::IpAddr;

    #[test]
    fn no_alarm_about_the_outer_path_of_what_may_be_no_session() {
        let told = |confidence, id| {
            let client = IpAddr::from([192, 0, 2, 1]);
            let mut session = Session::new(client, None, 443, Proof::LateDtls);
            session.confidence = confidence;
            let found = Outcome::Found(Box::new(Finding { severity: Severity::High, ..Finding::default() }));
            modest(found, find(id).unwrap(), &session).severity()
        };
        assert_eq!(told(Confidence::Low, "dtls-lost-midway"), Some(Severity::Medium));
        assert_eq!(told(Confidence::Medium, "dtls-lost-midway"), Some(Severity::High));
        assert_eq!(told(Confidence::Low, "oversized-df"), Some(Severity::High), "that is seen inside too");
    }
}
