//! A packet was too big, and nobody told its sender.

use super::remedy;
use crate::event::{PointId, Protocol, Vantage};
use crate::finding::{
    Case, Detector, Evidence, Filter, Finding, Grade, Outcome, Severity, Wanted, count, frame_filters,
};
use crate::session::limits::stuck_toward_client;
use crate::session::{Channel, Oversized, Session};

/// How long after the packet the ICMP may come, seconds. Routers answer within a round trip.
const PATIENCE: f64 = 1.0;

const REPEATED: Grade =
    Grade::high("one segment was sent three times or more, at an interface whose file shows that ICMP was captured");
const FEW: Grade =
    Grade::medium("fewer repeats, or a file that does not tell its capture filter and shows no ICMP at all");

pub static DETECTOR: Detector = Detector {
    id: "missing-frag-needed",
    title: "Fragmentation Needed is expected and does not come",
    severity: Severity::High,
    judged_from: &[Vantage::Inside],
    leads_to: &[],
    question: "whether ICMP Fragmentation Needed leaves the gateway",
    explanation: "\
When the gateway drops a DF packet it should send ICMP 3/4 (or ICMPv6 Packet Too Big) to the packet's sender (syslog 602101). \
Without it the sender goes on with the same size: a black hole.

Found when packets toward the client never got through, were sent at least twice at the same size, and no Fragmentation \
Needed quoting that flow came at the gateway's inside interface, which must have been able to show one: both directions of the \
flow seen there, no capture filter that keeps ICMP out, no drop counter, and at least a second of capture after the packet. \
Whether the gateway did not send it or something before the capture point filtered it, this capture cannot say; the gateway's \
syslog 602101 can.",
    confidence: &[REPEATED, FEW],
    remedy: &[
        "let ICMP type 3 code 4 (and ICMPv6 type 2) pass from the gateway to the servers (`icmp permit any unreachable inside`, firewalls between)",
        remedy::MTU_1300,
        remedy::DF_IGNORE,
    ],
    references: &["Cisco TAC 116881", "RFC 1191 §4", "RFC 2923 §2.1", "ASA syslog 602101"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let inside: Vec<PointId> = case.at(Vantage::Inside);
    if inside.is_empty() {
        return Outcome::CannotTell(
            "only the gateway's inside interface shows whether its ICMP goes out".to_owned(),
            Some(Wanted { vantage: Vantage::Inside, why: DETECTOR.question }),
        );
    }
    let over = session
        .oversized
        .iter()
        .filter(|o| o.channel == Channel::Inner && inside.contains(&o.point) && o.to_client() > 0);
    let Some(over) = over.max_by_key(|o| (o.stuck_to_client, o.to_client())) else {
        return Outcome::Clear("no packet toward the client was above the limit, so none was due".to_owned());
    };
    let due = due(session, over);
    if over.frag_needed > 0 && due == 0 {
        return Outcome::Clear(format!(
            "{} came for them",
            count(u64::from(over.frag_needed), "Fragmentation Needed message")
        ));
    }
    if over.frag_needed > 0 {
        return Outcome::Clear(format!(
            "{} came; what the sender made of them is another question",
            count(u64::from(over.frag_needed), "Fragmentation Needed message")
        ));
    }
    if due == 0 {
        return Outcome::Clear("the packets above the limit got through all the same, so none was due".to_owned());
    }
    match case.icmp_window(over.point, over.first, over.last.plus_seconds(PATIENCE)) {
        Err(why) => Outcome::CannotTell(
            format!("none was seen, but {why}"),
            Some(Wanted { vantage: Vantage::Inside, why: DETECTOR.question }),
        ),
        Ok(window) => {
            if window.seconds() < PATIENCE {
                return Outcome::CannotTell("the capture ends within a second of the packet".to_owned(), None);
            }
            let place = case.place(over.point);
            let mut summary = format!(
                "No Fragmentation Needed came for any of the {} toward the client. {} would have shown it: both directions were seen there for {:.1} s.",
                count(over.to_client(), "packet"),
                capitalise(&place),
                window.seconds()
            );
            let filter_known = case.point(over.point).is_some_and(|p| p.tells_filter || p.saw_icmp);
            if !filter_known {
                summary.push_str(" The file does not say whether a capture filter kept ICMP out.");
            }
            let mut filters = frame_filters(&over.frames, "the packets it was due for");
            if let Some(capture) = case.point(over.point).map(|p| p.capture) {
                filters.push(Filter {
                    filter: "(icmp.type == 3 && icmp.code == 4) || icmpv6.type == 2".to_owned(),
                    capture,
                    shows: "any Fragmentation Needed or Packet Too Big".to_owned(),
                    frames: None,
                });
            }
            Outcome::Found(Box::new(Finding {
                severity: if over.stuck_to_client > 0 { Severity::High } else { Severity::Medium },
                grade: if over.most_repeats >= 3 && filter_known { REPEATED } else { FEW },
                summary,
                evidence: vec![
                    Evidence::Frames(over.frames.clone(), "packets too big, sent again and again".to_owned()),
                    Evidence::Absence(window, format!("no ICMP Fragmentation Needed quoting them at {place}")),
                ],
                filters,
                remedy: cures(session),
                ..Finding::default()
            }))
        }
    }
}

/// Packets for which an ICMP was due: stuck TCP segments, and UDP above the limit, of which nobody knows whether they passed.
fn due(session: &Session, over: &Oversized) -> u64 {
    let udp = session.inner.iter().any(|f| {
        f.facts.point == over.point
            && f.facts.opened.protocol == Protocol::Udp
            && f.facts.large.get(f.toward_client.index()).is_some_and(|runs| runs.iter().any(|r| r.size > over.limit))
    });
    over.stuck_to_client + u64::from(udp)
}

fn cures(session: &Session) -> Vec<String> {
    let mut senders: Vec<String> = session
        .inner
        .iter()
        .filter(|f| stuck_toward_client(f).is_some())
        .map(|f| f.ends().1.ip().to_string())
        .collect();
    senders.sort_unstable();
    senders.dedup();
    senders.truncate(3);
    let to = if senders.is_empty() { "the servers".to_owned() } else { senders.join(", ") };
    vec![remedy::let_icmp_reach(&to), remedy::MTU_1300.to_owned(), remedy::DF_IGNORE.to_owned()]
}

fn capitalise(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_uppercase().chain(chars).collect())
}
