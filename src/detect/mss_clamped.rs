//! Something on the way rewrites the MSS of SYNs.

use crate::event::{FrameRef, Syn, Vantage};
use crate::finding::{BothWays, Case, Detector, Evidence, Finding, Grade, Outcome, Severity, frame_filters};
use crate::maps::HashMap;
use crate::session::facts::FlowFacts;

const SEEN: Grade = Grade::high("both values are in the packets");

pub static DETECTOR: Detector = Detector {
    id: "mss-clamped",
    title: "The MSS of SYNs is changed on the way",
    severity: Severity::Info,
    judged_from: &[Vantage::Client, Vantage::Outside, Vantage::Inside, Vantage::VirtualAdapter],
    needs_both_ways: BothWays::Needless,
    leads_to: &[],
    question: "whether the MSS is the same at both ends",
    explanation: "\
The same SYN (or SYN-ACK) was captured at two points and carries another MSS at the second: a router clamps it, or the gateway's \
`sysopt connection tcpmss` does. That is a fact worth knowing, not a fault: it explains why TCP works where UDP of the same size \
does not, and the MTU arithmetic starts from the clamped value.

One point alone cannot tell a clamp from an end that announces a small MSS.",
    confidence: &[SEEN],
    remedy: &["nothing to mend; reckon with the smaller value"],
    references: &["RFC 6691", "RFC 9293 §3.7.1", "Cisco TAC 116881 (sysopt connection tcpmss)"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    // On both sides of a proxy there are two connections.
    let outer = session.connections.iter().filter(|c| c.views.len() > 1 && c.proxied_to().is_none());
    let outer = outer.map(|c| c.views.iter().map(|view| &**view).collect::<Vec<_>>());
    let mut inner: HashMap<_, Vec<&FlowFacts>> = HashMap::default();
    for flow in &session.inner {
        inner
            .entry((flow.facts.opened.endpoints().client, flow.facts.opened.endpoints().server))
            .or_default()
            .push(&flow.facts);
    }
    let mut compared = 0;
    let mut changed = Vec::new();
    for views in outer.chain(inner.into_values()).filter(|views| views.len() > 1) {
        for (what, pick) in
            [("SYN", (|v| v.opened.syn()) as fn(&FlowFacts) -> Option<Syn>), ("SYN-ACK", |v| v.opened.syn_ack())]
        {
            let seen: Vec<(&FlowFacts, Syn, u16)> =
                views.iter().filter_map(|v| Some((*v, pick(v)?, pick(v)?.mss?))).collect();
            compared += usize::from(seen.len() > 1);
            let (most, least) = (seen.iter().max_by_key(|(.., mss)| *mss), seen.iter().min_by_key(|(.., mss)| *mss));
            if let (Some(most), Some(least)) = (most, least)
                && most.2 != least.2
            {
                changed.push((most.1.frame.min(least.1.frame), what, *most, *least));
            }
        }
    }
    changed.sort_by_key(|(frame, ..)| *frame);
    let Some((_, what, before, after)) = changed.first() else {
        return match compared {
            0 => Outcome::cannot_tell("no SYN was captured at two points", None),
            n => case.clear(|| format!("{n} SYNs and SYN-ACKs carry the same MSS at both points")),
        };
    };
    let frames: Vec<FrameRef> = vec![before.1.frame, after.1.frame];
    Outcome::Found(Box::new(Finding {
        severity: Severity::Info,
        grade: SEEN,
        summary: format!(
            "A {what} carries MSS {} at {} and {} at {}: something between them clamps it{}.",
            before.2,
            case.place(before.0.point),
            after.2,
            case.place(after.0.point),
            if changed.len() > 1 { format!(" ({} such packets)", changed.len()) } else { String::new() }
        ),
        evidence: vec![Evidence::Frames(
            frames.clone(),
            format!("the same {what} with MSS {} and {}", before.2, after.2),
        )],
        filters: frame_filters(&frames, "the same packet at both points"),
        ..Finding::default()
    }))
}
