//! DTLS goes on from another port or address, without a handshake.

use crate::event::{Direction, FrameRef, Vantage};
use crate::finding::{BothWays, Case, Detector, Evidence, Finding, Grade, Outcome, Severity, frame_filters};
use crate::session::DtlsFlow;

const NUMBERS: Grade = Grade::high("the record numbers go on where they stopped, in the same epoch");

pub static DETECTOR: Detector = Detector {
    id: "dtls-moved",
    title: "DTLS goes on from another port or address",
    severity: Severity::Info,
    judged_from: &[Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::Needless,
    leads_to: &[],
    question: "whether DTLS moves",
    explanation: "\
The same DTLS association, told by its epoch and record numbers, comes from another port (a NAT gave it a new mapping) or another \
address (the client roamed), and there was no new handshake. A gateway that follows such a move answers to the new place, and \
nothing is lost; one that does not (an ASA) is silent there, and DTLS dies: that is told by `dtls-lost-midway`.

- `nat-rebinding`: the same address, another port
- `roaming`: another address",
    confidence: &[NUMBERS],
    remedy: &["nothing to mend while the gateway follows; a keepalive below the NAT's timeout keeps the mapping"],
    references: &["RFC 6347 §4.1", "RFC 4787 §4.3"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let Some(first) = session.dtls.iter().find(|d| d.continues.is_some()) else {
        return match session.dtls.iter().any(DtlsFlow::worked) {
            true => Outcome::clear("DTLS stayed on the ports it was set up on"),
            false => Outcome::clear("DTLS is not seen to be up, so it did not move"),
        };
    };
    let to = first.best().opened.endpoints().client;
    let before = session.dtls.iter().filter(|d| Some(d.start()) == first.continues);
    let from = before.flat_map(|d| &d.views).find(|v| v.point == first.best().point);
    let from_end = from.map(|v| v.opened.endpoints().client);
    let roamed = from_end.is_some_and(|from| from.ip() != to.ip());
    let answered = first.views.iter().any(|v| Direction::ToClient.of(&v.ended.packets) > &0);
    let from_words = from_end.map_or("another port".to_owned(), |from| from.to_string());
    let at = first.start().seconds_since(session.start);
    let fate = if answered { "The gateway answers there." } else { "The gateway does not answer there." };
    let frames: Vec<FrameRef> =
        from.map(|v| v.ended.last_frame).into_iter().chain([first.best().opened.first_frame]).collect();
    Outcome::Found(Box::new(Finding {
        severity: Severity::Info,
        grade: NUMBERS,
        summary: format!("At {at:.1} s DTLS went on from {to} instead of {from_words}, without a handshake. {fate}"),
        likely: Some(if roamed { "roaming" } else { "nat-rebinding" }),
        evidence: vec![Evidence::Frames(frames.clone(), "last packet there, first packet here".to_owned())],
        filters: frame_filters(&frames, "where DTLS moved"),
        ..Finding::default()
    }))
}
