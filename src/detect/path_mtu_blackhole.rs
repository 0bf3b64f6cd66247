//! On the outer path large packets of the tunnel never get through while small ones do.

use crate::event::{FrameRef, Stuck, Vantage};
use crate::finding::{Case, Detector, Evidence, Finding, Grade, Outcome, Severity, count, frame_filters};
use crate::session::facts::FlowFacts;

/// Sendings of one segment without an acknowledgment before it counts as a black hole.
const SENDINGS: u32 = 3;
/// Packets up to this size must pass everywhere (RFC 791 §3.1); nothing this small is a path-MTU matter.
const ALWAYS: u32 = 576;

const AT_SENDER: Grade = Grade::high("the sending end was captured, and smaller packets passed afterwards");
const ELSEWHERE: Grade = Grade::medium("captured elsewhere");

pub static DETECTOR: Detector = Detector {
    id: "path-mtu-blackhole",
    title: "Large packets of the tunnel itself vanish on the way",
    severity: Severity::High,
    judged_from: &[Vantage::Client, Vantage::Outside],
    leads_to: &[],
    question: "whether large packets of the tunnel itself vanish",
    explanation: "\
The outer path (client to gateway) carries small packets and drops large ones without a word: a link with a smaller MTU (PPPoE \
1492, DS-Lite 1460, a tunnel) whose ICMP is filtered. The tunnel comes up, small requests work, transfers hang.

Found when a TCP segment of the TLS tunnel was sent at least three times at the same size without being acknowledged, smaller \
packets of the same direction were acknowledged, and nothing as large got through later. Sizes up to 576 bytes never count. A \
path that died altogether loses small packets too and is not this.",
    confidence: &[AT_SENDER, ELSEWHERE],
    remedy: &[
        "let ICMP type 3 code 4 pass along the path between client and gateway",
        "lower the gateway's MSS for the outer connection (`sysopt connection tcpmss`), which TCP at both ends will heed; affects all TCP through the gateway",
        "`anyconnect mtu` to a value below the path's, for the DTLS tunnel",
    ],
    references: &["RFC 2923 §2.1", "RFC 4821", "RFC 1191"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let views = session.tunnels().flat_map(|c| c.views.iter());
    let found = views
        .flat_map(|v| {
            v.ended
                .sizes
                .iter()
                .enumerate()
                .filter_map(move |(way, s)| Some((v, way, s.smallest_stuck.as_ref()?, s.largest_passed.as_ref())))
        })
        .filter(|(_, _, stuck, _)| stuck.ip_len > ALWAYS && stuck.times >= SENDINGS);
    let worst = found
        .filter(|(view, way, stuck, _)| small_ones_passed(view, *way, stuck))
        .max_by_key(|(_, _, stuck, _)| stuck.times);
    let Some((view, way, stuck, passed)) = worst else {
        let largest = session
            .connections
            .iter()
            .flat_map(|c| &c.views)
            .flat_map(|v| &v.ended.sizes)
            .filter_map(|s| s.largest_passed.as_ref())
            .map(|p| p.ip_len)
            .max();
        return match largest {
            Some(bytes) => Outcome::Clear(format!(
                "outer TCP packets up to {bytes} B were acknowledged, and no larger one got stuck"
            )),
            None if session.connections.is_empty() => {
                Outcome::CannotTell("the TLS tunnel was not captured".to_owned(), None)
            }
            None => Outcome::Clear("no outer TCP packet above 576 B got stuck".to_owned()),
        };
    };
    let capture = view.opened.first_frame.capture;
    let frames = vec![FrameRef { capture, number: stuck.first_frame }, FrameRef { capture, number: stuck.last_frame }];
    let to = if way == 0 { "the gateway" } else { "the client" };
    let largest = passed.map_or("smaller ones passed".to_owned(), |p| format!("packets up to {} B passed", p.ip_len));
    let summary = format!(
        "A {} B packet toward {to} was sent {} over {:.1} s and never acknowledged, while {largest}. ICMP that would say why did not come to {}.",
        stuck.ip_len,
        count(u64::from(stuck.times), "time"),
        stuck.last.seconds_since(stuck.first),
        case.place(view.point)
    );
    let near = matches!(
        (case.point(view.point).and_then(|p| p.vantage), way),
        (Some(Vantage::Client), 0) | (Some(Vantage::Outside), 1)
    );
    Outcome::Found(Box::new(Finding {
        severity: Severity::High,
        grade: if near { AT_SENDER } else { ELSEWHERE },
        summary,
        evidence: vec![Evidence::Frames(
            frames.clone(),
            format!("first and last of {} at {} B", count(u64::from(stuck.times), "sending"), stuck.ip_len),
        )],
        filters: frame_filters(&frames, "first and last sending of the stuck segment"),
        remedy: DETECTOR.remedy.iter().map(|r| (*r).to_owned()).collect(),
        ..Finding::default()
    }))
}

/// The other end went on talking after the first sending: the path lives for small packets.
fn small_ones_passed(view: &FlowFacts, way: usize, stuck: &Stuck) -> bool {
    let back = view.ended.last_by_direction.get(1 - way).copied().flatten();
    back.is_some_and(|at| at.seconds_since(stuck.first) > 1.0)
}
