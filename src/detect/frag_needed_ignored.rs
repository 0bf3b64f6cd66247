//! Fragmentation Needed came, and the sender went on as before, or could do nothing with it.

use super::remedy;
use crate::event::Vantage;
use crate::finding::{
    BothWays, Case, Detector, Evidence, Finding, Grade, Outcome, Severity, Wanted, count, frame_filters,
};
use crate::session::facts::IcmpFacts;
use crate::session::heed::{AGAIN, Heed, Ignored, heed};
use crate::session::limits::SMALLEST_V6;
use crate::session::{Channel, Icmp};

const USELESS: Grade = Grade::high("the MTU in the message is of no use to its receiver");
const SEVERAL: Grade = Grade::high("two or more packets above the MTU followed the message");
const ONE: Grade = Grade::medium("one packet above the MTU followed the message");

pub static DETECTOR: Detector = Detector {
    id: "frag-needed-ignored",
    title: "Fragmentation Needed came and changed nothing",
    severity: Severity::High,
    judged_from: &[Vantage::Inside, Vantage::VirtualAdapter, Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::OfTcp,
    leads_to: &[],
    question: "whether Fragmentation Needed comes and is heeded",
    explanation: "\
An ICMP 3/4 or Packet Too Big was seen, and half a second later the same flow still sends DF packets above the MTU it named. \
Either the message died between this capture point and the sender (a firewall in front of the server), or the sender ignores \
it, or the message is useless: MTU 0 from an old router (RFC 1191 §5), a value not below the packet it refused, or one below \
the smallest MTU allowed (68 for IPv4, 1280 for IPv6). A sender that finds a size that fits by itself, as the old fallback to 576 \
bytes does, costs users speed only.

A UDP sender that searches for the path MTU, as QUIC and openconnect's DTLS do, may go on with probes above it (RFC 8899 §4.6): no \
size more than six times in a search, never a larger one after a smaller, while packets that fit go on behind them. They are no \
more than a tenth of those, or their sizes fall. A search by halves goes up and down: four sizes or more within 12 seconds, hardly \
one of them twice but for the last. Where the capture ends within 30 seconds of what may be such a search, that cannot be told, \
unless its sender had sent more above the MTU than below and nothing else afterwards.",
    confidence: &[USELESS, SEVERAL, ONE],
    remedy: &[
        "find the firewall between this capture point and the sender that drops ICMP 3/4, and let it pass",
        "on the sender: path MTU discovery switched on, or black-hole detection (RFC 4821) enabled",
    ],
    references: &["RFC 1191 §4, §5", "RFC 8201 §4", "RFC 8899 §4.6", "RFC 2923 §2.1", "Cisco TAC 116881"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let came: Vec<&Icmp> = session.frag_needed().collect();
    if came.is_empty() {
        return unseen(case).unwrap_or(Outcome::clear("none came"));
    }
    let (mut worst, mut probes, mut guessed): (Option<Ignored<'_>>, bool, Option<&Icmp>) = (None, false, None);
    let mut soon = None;
    for icmp in came.iter().copied() {
        match heed(session, icmp, case.point(icmp.facts.point)) {
            Heed::Smaller => {}
            Heed::Guessed => guessed = guessed.or(Some(icmp)),
            Heed::Probes => probes = true,
            Heed::TooSoon { after, seconds } => soon = Some((icmp, after, seconds)),
            Heed::Ignored(ignored) => {
                worst = worst.into_iter().chain([ignored]).max_by_key(|i| i.after);
            }
        }
    }
    let Some(worst) = &worst else {
        // Of IPv6 in a tunnel below 1280 another detector tells.
        if let Some(icmp) = guessed.filter(|icmp| !icmp.facts.error.v6) {
            return Outcome::Found(Box::new(useless(icmp)));
        }
        if let Some((icmp, after, seconds)) = soon {
            return too_soon(&icmp.facts, after, seconds);
        }
        let total: u32 = came.iter().map(|i| i.facts.count).sum();
        let followed = if probes {
            "above the MTU followed only probes of a UDP sender that searches for it"
        } else {
            "no packet above the MTU followed"
        };
        return case.clear(|| format!("{} came, and {followed}", count(u64::from(total), "message")));
    };
    let icmp = &worst.icmp.facts;
    let mut found = if worst.useless { useless(worst.icmp) } else { unheeded(worst, case.place(icmp.point)) };
    found.evidence.push(Evidence::Frames(worst.frames.clone(), "still too big".to_owned()));
    found.filters.extend(frame_filters(&worst.frames, "packets above the MTU after the first message"));
    found.remedy.extend([remedy::equal_mtus(session), remedy::df_ignore(session)].into_iter().flatten());
    if worst.useless {
        found.severity = Severity::High;
    }
    Outcome::Found(Box::new(found))
}

/// What followed may be a search for the path MTU, and the capture ends before it would have shown that.
fn too_soon(icmp: &IcmpFacts, after: u32, seconds: f64) -> Outcome {
    let why = format!(
        "{} above MTU {} followed the message from {}, as a UDP sender sends them too that searches for it, and the capture ends {seconds:.1} s \
         after the message; one that goes on for {AGAIN:.0} s after the last of them tells",
        count(u64::from(after), "packet"),
        mtus(icmp),
        icmp.sender,
    );
    Outcome::unsettled(
        why,
        None,
        "Fragmentation Needed came, and the capture ends before it shows what its receiver makes of it",
    )
}

/// The message names no MTU that its receiver could use. Costly at least: it has to guess.
fn useless(icmp: &Icmp) -> Finding {
    let IcmpFacts { sender, refused, quoted, error, .. } = icmp.facts;
    let receiver = quoted.src;
    let told = format!(
        "{} from {sender} named MTU {} for packets of which it refused even {refused} B",
        count(u64::from(icmp.facts.count), "message"),
        mtus(&icmp.facts)
    );
    let (helpless, remedy) = if error.v6 && refused <= SMALLEST_V6 {
        (format!("{receiver} may go no lower than {SMALLEST_V6}"), Vec::new())
    } else {
        let guess = format!("{receiver} can only guess what fits");
        let name = format!("make {sender} name the MTU it carries: its software, or the MTU of its tunnel interface");
        let probe =
            format!("until then on {receiver}: black-hole detection (RFC 4821; Linux: net.ipv4.tcp_mtu_probing=1)");
        (guess, vec![name, probe])
    };
    Finding {
        severity: Severity::Low,
        grade: USELESS,
        headline: "the ICMP that comes names no usable MTU".to_owned(),
        summary: format!("{told}: {helpless}."),
        remedy,
        ..messages(&icmp.facts)
    }
}

/// Its receiver went on as before.
fn unheeded(ignored: &Ignored<'_>, place: String) -> Finding {
    let icmp = &ignored.icmp.facts;
    let several = ignored.after > 1;
    let (sender, receiver) = (icmp.sender, icmp.quoted.src);
    Finding {
        severity: if several { Severity::High } else { Severity::Medium },
        grade: if several { SEVERAL } else { ONE },
        headline: "the ICMP that comes changes nothing".to_owned(),
        summary: format!(
            "{} from {sender} named MTU {} and passed {place}; {}. The message did not reach {receiver}, or {receiver} ignores it.",
            count(u64::from(icmp.count), "Fragmentation Needed message"),
            mtus(icmp),
            followed(ignored),
        ),
        remedy: vec![remedy::let_icmp_reach(&format!(
            "{receiver} (look at firewalls between this capture point and that host)"
        ))],
        ..messages(icmp)
    }
}

/// The messages as evidence.
fn messages(icmp: &IcmpFacts) -> Finding {
    Finding {
        evidence: vec![Evidence::Frames(icmp.frames.clone(), format!("Fragmentation Needed, MTU {}", mtus(icmp)))],
        filters: frame_filters(&icmp.frames, "the ICMP messages"),
        ..Finding::default()
    }
}

fn mtus(icmp: &IcmpFacts) -> String {
    icmp.mtus.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// Packets toward the client got stuck, and what tells their sender would not have shown.
fn unseen(case: &Case<'_>) -> Option<Outcome> {
    let stuck = case.session.oversized.iter().filter(|o| o.channel == Channel::Inner && o.stuck_to_client > 0);
    let mut hidden = stuck.filter_map(|o| case.window(o.point, case.session.icmp_due(o), o.first.0, o.last).err());
    let why = hidden.next()?;
    let wanted = Wanted { vantage: Vantage::Inside, why: DETECTOR.question };
    Some(Outcome::cannot_tell(format!("none was seen, but {why}"), Some(wanted)))
}

/// What went on after the message.
fn followed(ignored: &Ignored<'_>) -> String {
    match (ignored.is_counted, ignored.seconds) {
        (true, seconds) => {
            format!("{} above it followed, over {seconds:.1} s", count(u64::from(ignored.after), "packet"))
        }
        (false, seconds) => format!("packets above it went on for {seconds:.1} s"),
    }
}
