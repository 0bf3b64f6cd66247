//! DTLS worked, then died, and the data went back to TLS.

mod cause;
mod death;
mod story;

use super::remedy;
use crate::event::{Direction, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Filter, Finding, Grade, Outcome, RuledOut, Severity, UNHEARD, count, elapsed,
};
use crate::session::DtlsFlow;
use crate::session::attempt::icmp_words;
use cause::Cause;
use death::{Death, last_answer, said};
use story::Story;

/// Silence of DTLS before its data is back on TLS, seconds.
const SILENT: f64 = 2.0;
/// The client's data must go unanswered so long to show that DTLS is dead, seconds: by then a DPD would have been answered.
const DEAD: f64 = 40.0;
/// An answer may take so long, seconds.
const PATIENCE: f64 = 1.0;
/// TLS must be heard so long after DTLS's last answer to have lived on, seconds.
const LIVED: f64 = 5.0;
/// Fewer records without an answer are nothing to speak of.
const FEW: u32 = 3;
/// A mapping is forgotten after no less silence than this, seconds (RFC 4787 §4.3 asks for 120; many have 20 to 30).
const IDLE: f64 = 18.0;
/// So short a silence no mapping is forgotten in, seconds.
const KEPT: f64 = 5.0;

const UNANSWERED: Grade =
    Grade::high("DTLS records or new ClientHellos of the client go unanswered, or it takes up no answer");
const AGAIN: Grade =
    Grade::high("the client set DTLS up anew on the same tunnel, which it does only when it counts as dead");
const MOVED: Grade = Grade::medium("only the move of data back to TLS shows it");

pub static DETECTOR: Detector = Detector {
    id: "dtls-lost-midway",
    title: "DTLS worked, died, and the tunnel fell back to TLS",
    severity: Severity::High,
    judged_from: &[Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::OfTcp,
    leads_to: &["oversized-df", "missing-frag-needed", "frag-needed-ignored", "reconnect-for-mtu", "tcp-over-tcp"],
    question: "whether DTLS dies while TLS lives on",
    explanation: "\
A DTLS tunnel that carried data both ways stops, while the TLS tunnel beside it lives on: DPD notices, and data records \
reappear on TLS. Or it comes up, and no data ever comes back over it. The adapter keeps the larger DTLS MTU until the client \
reconnects, so what note 116881 describes can begin in the middle of a session.

Found when, after the gateway's last DTLS record and on the same tunnel connection, the client's DTLS records go unanswered, or it \
says hello anew, or data is back on TLS both ways (not only keepalives). A path that died altogether takes TLS with it and is not \
this, nor is a tunnel that was replaced or left, nor a DTLS flow that went on from another address.

The likely cause:

- `udp-idle-timeout`: DTLS had been silent for a while when its records began to go unanswered: a NAT or firewall had forgotten it. \
Typical when a new port works at once. At the gateway's end alone: nothing came for a while, and then DTLS from a new port
- `nat-rebinding`: its records went on from another port or address, as behind a NAT that forgot it, and the gateway does not answer there
- `refused-midway`: from then on an ICMP unreachable answers its packets
- `rekey-failed`: a rekey had just begun that the other side never took part in
- `lost-to-gateway`, `lost-to-client`: captures at both ends show one side's records leave and not arrive, the other's not; or the \
gateway's answers to new ClientHellos leave it, and the client says hello again; or at the gateway's end alone all is answered, and \
the client sets DTLS up three times or more on one tunnel, less than a minute apart
- `gateway-silent`: the client's records reach the gateway's outside interface, and it does not answer
- `blocked-midway`: records and new ClientHellos go unanswered from one moment on
- `mapping-lost`: no silence before, and a new port works: the state on the way, or at the gateway, was lost
- `ignored-by-client`: the gateway's answers reach the client's network card, and the client takes up none: its own firewall, or \
security software
- `closed-by-gateway`, `closed-by-client`: its last record is that side's alert
- `dropped-by-client`: the client's own capture shows that nothing it sent over DTLS went unanswered; it went on over TLS, as after its \
link was down or its machine slept: low
- `lost-with-path`: its TLS segments went unanswered at the same time: the whole path was lost, and DTLS did not come back with it: low
- `data-blocked`: the handshake passes and data does not: nothing comes back over a DTLS that came up, or DTLS is set up again and \
again and none lasts five seconds",
    confidence: &[UNANSWERED, AGAIN, MOVED],
    remedy: &[
        "look for a firewall or NAT that forgets idle UDP: lower the DTLS keepalive (`anyconnect ssl keepalive 20`) below its timeout",
        "see whether UDP to the gateway was blocked or shaped at that moment",
    ],
    references: &[
        "Cisco TAC 116881",
        "Cisco TAC 116312 (DPD and keepalive)",
        "RFC 4787 §4.3 (UDP mapping timeouts)",
    ],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let worked: Vec<&DtlsFlow> = session.dtls.iter().filter(|d| d.came_up()).collect();
    let Some(last) = worked.last() else {
        if session.dtls.iter().any(DtlsFlow::is_half_seen) {
            return Outcome::cannot_tell("the client sends data over DTLS, but the answers do not show here", None);
        }
        return Outcome::clear("DTLS never came up in this capture, so it was not lost midway");
    };
    if let Some(why) = case.untimed() {
        return Outcome::cannot_tell(why, None);
    }
    // Without any answer it is dead only where answers would show.
    let is_seen = case.one_way(true, false).is_none();
    let deaths = worked.iter().filter(|d| d.continues.is_none()).filter_map(|flow| Death::of(case, flow));
    let deaths: Vec<Death<'_>> = deaths.filter(|death| death.is_heard || is_seen).collect();
    if let Some(story) = Story::of(case, &deaths, &worked) {
        if let Some(why) = story.death.doubt(case) {
            return Outcome::cannot_tell(format!("DTLS seems to have died, but {why}"), None);
        }
        return Outcome::Found(Box::new(finding(&story)));
    }
    let heard = last.views.iter().filter(|v| said(v).is_some());
    let in_vain = heard.filter_map(|v| Some(v.dtls.as_ref()?.unanswered(Direction::ToServer)));
    if let Some(said) =
        in_vain.filter(|said| said.data() > 1 && said.seconds() >= LIVED).max_by_key(|said| said.records)
    {
        let why = format!(
            "the client's last {} went unanswered over {:.1} s: too short, or too little was heard beside them, to tell dead DTLS from a \
             dead path",
            count(u64::from(said.records), "DTLS record"),
            said.seconds()
        );
        // A few may only wait.
        let is_striking = said.records >= FEW && said.seconds() >= 2.0 * LIVED;
        return if is_striking { Outcome::unsettled(why, None, UNHEARD) } else { Outcome::cannot_tell(why, None) };
    }
    match last_answer(case, last) {
        Some((_, frame)) => case.clear(|| {
            format!(
                "DTLS did not die before the rest of the tunnel; last record from the gateway in frame {}",
                frame.number
            )
        }),
        None if last.continues.is_some() => Outcome::cannot_tell(
            "DTLS went on from another port, and whether the gateway answers there is not seen yet",
            None,
        ),
        None => Outcome::cannot_tell("DTLS carried no data toward the client", None),
    }
}

/// The first death, and what became of DTLS.
fn finding(story: &Story<'_>) -> Finding {
    let Story { case, death, cause, .. } = story;
    let best = death.flow.best();
    let is_at_one_end = cause.is_unplaced() || death.is_restless || death.silence_at_gateway(case).is_some();
    Finding {
        severity: story.severity(),
        grade: match death {
            Death { again: Some(_), .. } => AGAIN,
            Death { unanswered, retries, .. } if unanswered.records > 1 || !retries.is_empty() => UNANSWERED,
            _ => MOVED,
        },
        headline: story.headline().to_owned(),
        summary: story.words(),
        likely: Some(cause.word()),
        ruled_out: ruled_out(story),
        evidence: evidence(death),
        filters: vec![Filter {
            filter: format!("udp.stream == {}", best.opened.stream),
            capture: best.opened.first_frame.capture,
            shows: "the DTLS tunnel that died".to_owned(),
            frames: None,
        }],
        remedy: cause.remedies(case.session, death),
        wanted: case.other_end("which DTLS records pass there").filter(|_| is_at_one_end),
        ..Finding::default()
    }
}

fn evidence(death: &Death<'_>) -> Vec<Evidence> {
    let frames = |frames, note: &str| Evidence::Frames(frames, note.to_owned());
    let heard = if death.is_heard { "last DTLS record from the gateway" } else { "the DTLS flow begins" };
    let mut evidence = vec![frames(vec![death.answered.1], heard)];
    if death.unanswered.records > 0 {
        let ends = vec![death.unanswered.first.1, death.unanswered.last.1];
        evidence.push(frames(ends, "first and last record of the client without an answer"));
    }
    if let Some(icmp) = death.refused {
        evidence.push(frames(icmp.frames.clone(), &format!("{} from {}", icmp_words(&icmp.error), icmp.sender)));
    }
    if let Some((frame, _)) = death.closed {
        evidence.push(frames(vec![frame], "the alert that ends DTLS"));
    }
    if let Some(frame) = death.rekey {
        evidence.push(frames(vec![frame], "a rekey begins"));
    }
    if let Some(back) = &death.back {
        let [to_server, to_client] = back.records;
        let to_server = count(u64::from(to_server), "record");
        let note = format!("data on TLS again: {to_server} to the gateway, {to_client} to the client");
        evidence.push(frames(vec![back.frame], &note));
    }
    if !death.retries.is_empty() {
        evidence.push(frames(death.retries.clone(), "ClientHellos of later attempts"));
    }
    evidence
}

fn ruled_out(story: &Story<'_>) -> Vec<RuledOut> {
    let Story { case, death, cause, .. } = story;
    let mut all = Vec::new();
    if let Some(back) = &death.back {
        let records = back.records.iter().map(|n| u64::from(*n)).sum();
        let why = format!("the TLS tunnel carried {} afterwards", count(records, "record"));
        all.push(RuledOut { what: "a dead path", why });
    }
    if !matches!(cause, Cause::Idle(_) | Cause::Rebinding) && death.unanswered.records > 0 {
        let silence = death.unanswered.silence();
        let why = match cause {
            Cause::GatewaySilent if silence >= IDLE => {
                Some("its records come to the gateway from the port they came from".to_owned())
            }
            _ => (silence < KEPT)
                .then(|| format!("only {} of silence went before the first unanswered record", elapsed(silence))),
        };
        all.extend(why.map(|why| RuledOut { what: "an idle timeout", why }));
    }
    let (point, icmp) = (death.flow.best().point, death.flow.best().icmp(Direction::ToServer));
    if let Ok(window) = case.window(point, icmp, death.answered.0, death.unanswered.last.0.max(death.answered.0))
        && window.seconds() > 0.0
        && !case.session.icmp.iter().any(|i| !i.inner && i.facts.point == point)
    {
        let why = format!("no ICMP came in {:.1} s, and the capture would have shown it", window.seconds());
        all.push(RuledOut { what: "a refusal by ICMP", why });
    }
    all
}
