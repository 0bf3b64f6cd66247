//! A packet was too big, and nobody told its sender, or too late.

use super::remedy;
use crate::event::{Protocol, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Filter, Finding, Grade, Outcome, RuledOut, Severity, Wanted, count,
    frame_filters,
};
use crate::session::stuck::{may_have_left, standstill, stuck_toward_client};
use crate::session::{Channel, Oversized, Session};

/// How long after the packet the ICMP may come, seconds. Routers answer within a round trip.
const PATIENCE: f64 = 1.0;

const UNFILTERED: &str = "whether ICMP Fragmentation Needed leaves the gateway: with `or icmp or icmp6` in the filter, or without one; \
ping a server from the gateway meanwhile, so that the file shows that ICMP passes";

const REPEATED: Grade =
    Grade::high("one segment was sent three times or more, at an interface whose file shows that ICMP was captured");
const LATE: Grade = Grade::high("both the packet and its late answer are in the capture");
const UNKNOWN: Grade =
    Grade::medium("only the packets that never got through say that there is a limit: the outer path was not captured");
const SILENT: Grade =
    Grade::low("no TCP or UDP came from the client meanwhile: one that has left is sent packets in vain as well");
const FEW: Grade =
    Grade::medium("fewer repeats, or a file that does not tell its capture filter and shows no ICMP at all");

pub static DETECTOR: Detector = Detector {
    id: "missing-frag-needed",
    title: "Fragmentation Needed is expected and does not come in time",
    severity: Severity::High,
    judged_from: &[Vantage::Inside],
    needs_both_ways: BothWays::OfTcp,
    leads_to: &[],
    question: "whether ICMP Fragmentation Needed leaves the gateway",
    explanation: "\
When the gateway drops a DF packet it should send ICMP 3/4 (or ICMPv6 Packet Too Big) to the packet's sender (syslog 602101). \
Without it the sender goes on with the same size: a black hole.

- `never`: packets toward the client never got through, were sent at least twice at the same size, and no Fragmentation Needed \
quoting that flow came at the gateway's inside interface, which must have been able to show one: both directions of the flow seen \
there, no capture filter that keeps ICMP out (nor a file that does not tell its filter and shows nothing but TCP, or nothing but one \
client's packets, as `tcp port 80` or `host` and its address leave them), no drop counter, no more than one in a \
thousand TCP segments missing that were acknowledged, and at least a second of capture after the packet
- `late`: one came, but more than a second after the first packet it was due for; meanwhile the transfer stood

Whether the gateway did not send it or something before the capture point filtered it, this capture cannot say; the gateway's \
syslog 602101 can. Packets that vanished because the outer path swallowed the tunnel's own large packets were never due one.",
    confidence: &[LATE, UNKNOWN, REPEATED, FEW, SILENT],
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
    if !case.is_at(Vantage::Inside) {
        return Outcome::cannot_tell(
            "only the gateway's inside interface shows whether its ICMP goes out",
            Some(Wanted { vantage: Vantage::Inside, why: DETECTOR.question }),
        );
    }
    let is_inside = |o: &&Oversized| o.channel == Channel::Inner && case.vantage(o.point) == Some(Vantage::Inside);
    let over = session.oversized.iter().filter(is_inside).filter(|o| o.to_client() > 0);
    let window = |over: &Oversized| {
        case.window(over.point, session.icmp_due(over), over.first.0, over.last.plus_seconds(PATIENCE))
    };
    // Of several captures inside the one that can tell: the gateway's list of drops shows no ICMP.
    let Some(over) = over.max_by_key(|o| (o.frag_needed > 0, window(o).is_ok(), o.stuck_to_client, o.to_client()))
    else {
        if standstill(session).is_some() {
            let why = "packets toward the client got stuck, but perhaps because the tunnel itself stood still: then none was due";
            return Outcome::cannot_tell(why.to_owned(), None);
        }
        return Outcome::clear("no packet toward the client was above the limit, so none was due");
    };
    if over.frag_needed > 0 {
        let came = count(u64::from(over.frag_needed), "Fragmentation Needed message");
        return match late(session, over) {
            Some(seconds) => Outcome::Found(Box::new(late_finding(case, over, seconds))),
            None => case.clear(|| format!("{came} came for them")),
        };
    }
    if due(session, over) == 0 {
        return Outcome::clear("the packets above the limit got through all the same, so none was due");
    }
    match window(over) {
        Err(why) => Outcome::cannot_tell(
            format!("none was seen, but {why}"),
            Some(Wanted { vantage: Vantage::Inside, why: UNFILTERED }),
        ),
        Ok(window) if window.seconds() < PATIENCE => {
            Outcome::cannot_tell("the capture ends within a second of the packet", None)
        }
        Ok(window) => Outcome::Found(Box::new(never_finding(case, over, window))),
    }
}

/// Seconds from the first packet above the limit to the first message about that flow, when that is too long.
fn late(session: &Session, over: &Oversized) -> Option<f64> {
    let mine = session.refused_by_tunnel().filter(|i| i.facts.point == over.point);
    let late = mine.filter_map(|i| {
        let (flow, direction) = i.facts.quotes?;
        let flow = session.inner.iter().find(|f| f.facts.id == flow && f.facts.point == over.point)?;
        let runs = direction.of(&flow.facts.large);
        let first = runs.iter().filter(|run| run.size > over.limit).map(|run| run.first).min()?;
        Some(i.facts.first.seconds_since(first))
    });
    late.reduce(f64::min).filter(|seconds| *seconds > PATIENCE)
}

fn late_finding(case: &Case<'_>, over: &Oversized, seconds: f64) -> Finding {
    let there = case.session.refused_by_tunnel().filter(|i| i.facts.point == over.point);
    let frames: Vec<_> = there.flat_map(|i| i.facts.frames.iter().copied()).collect();
    Finding {
        severity: Severity::Medium,
        grade: LATE,
        headline: format!("the ICMP that tells their sender comes {seconds:.1} s late"),
        summary: format!(
            "Fragmentation Needed came {seconds:.1} s after the first packet it was due for, at {}; until then the transfer stood.",
            case.place(over.point)
        ),
        likely: Some("late"),
        evidence: vec![
            Evidence::Frames(over.frames.clone(), "packets too big".to_owned()),
            Evidence::Frames(frames.clone(), "Fragmentation Needed".to_owned()),
        ],
        filters: frame_filters(&frames, "the ICMP messages"),
        remedy: cures(case.session),
        ..Finding::default()
    }
}

fn never_finding(case: &Case<'_>, over: &Oversized, window: crate::finding::Window) -> Finding {
    let session = case.session;
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
    // The outer path may have swallowed what the gateway did send on.
    let outer_unknown = session.connections.is_empty() && over.is_bracketed;
    if outer_unknown {
        summary.push_str(" Without the outer path in the capture, the packets may also have been lost behind the gateway: then none was due.");
    }
    let mut ruled_out = Vec::new();
    if case.point(over.point).is_some_and(|p| p.saw_icmp) {
        let why = "other ICMP errors are in this capture".to_owned();
        ruled_out.push(RuledOut { what: "a capture without ICMP", why });
    }
    Finding {
        severity: if over.stuck_to_client > 0 { Severity::High } else { Severity::Medium },
        grade: match () {
            () if outer_unknown && may_have_left(session, over) => SILENT,
            () if outer_unknown => UNKNOWN,
            () if over.most_repeats >= 3 && filter_known => REPEATED,
            () => FEW,
        },
        headline: "no ICMP tells their sender".to_owned(),
        summary,
        likely: Some("never"),
        ruled_out,
        evidence: vec![
            Evidence::Frames(over.frames.clone(), "packets too big, sent again and again".to_owned()),
            Evidence::Absence(window, format!("no ICMP Fragmentation Needed quoting them at {place}")),
        ],
        filters,
        remedy: cures(session),
        ..Finding::default()
    }
}

/// Packets for which an ICMP was due: stuck TCP segments, and UDP above the limit, of which nobody knows whether they passed.
fn due(session: &Session, over: &Oversized) -> u64 {
    let udp = session.inner.iter().any(|f| {
        f.facts.point == over.point
            && f.facts.opened.protocol == Protocol::Udp
            && f.large_toward_client().any(|run| run.size > over.limit)
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
    let all = [Some(remedy::let_icmp_reach(&to)), remedy::equal_mtus(session), remedy::df_ignore(session)];
    all.into_iter().flatten().collect()
}

fn capitalise(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_uppercase().chain(chars).collect())
}
