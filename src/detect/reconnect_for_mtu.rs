//! The client drops a working tunnel after a minute, only to give its adapter a smaller MTU.

use super::remedy;
use crate::event::{Timestamp, TunnelAnswer, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Filter, Finding, Grade, Outcome, Severity, Wanted, elapsed, frame_filters,
};
use crate::session::limits::{lowered, lowered_after_trouble};
use crate::session::reconnect::{Cause, InnerMss, Reconnect};
use crate::session::{Connection, Session, vanished};
use std::ops::RangeInclusive;

const WHOLE: Grade = Grade::high(
    "unanswered ClientHellos, the minute, and the lower inner MSS; or the MTUs that keys show the gateway named",
);
const TWO: Grade = Grade::medium("the minute, and unanswered ClientHellos or the lower inner MSS");
const INSIDE: Grade =
    Grade::medium("the inner MSS fell after packets got stuck; the reconnect itself was not captured");
const ADAPTER: Grade = Grade::low(
    "the inner MSS fell at the client's adapter, while a question had no answer; the reconnect itself was not captured",
);
const MINUTE: Grade = Grade::low("the minute alone");

const AFTER_A_MINUTE: &str = "after a minute the client reconnects to lower its MTU";
/// Traffic inside begins some time after the tunnel, and again some time after the next one: so a minute may look, seconds.
const ABOUT_A_MINUTE: RangeInclusive<f64> = 45.0..=75.0;
const LOWERS: &str = "the client reconnects to lower its MTU";

pub static DETECTOR: Detector = Detector {
    id: "reconnect-for-mtu",
    title: "The client reconnects after a minute to apply a new MTU",
    severity: Severity::Medium,
    judged_from: &[Vantage::Client, Vantage::Outside, Vantage::Inside, Vantage::VirtualAdapter],
    needs_both_ways: BothWays::Needless,
    leads_to: &[],
    question: "whether the client replaces its tunnel after a minute",
    explanation: "\
The pattern of note 116881: the adapter comes up with the DTLS MTU, DTLS never completes, and one minute later the client \
replaces its TLS tunnel to give the adapter the TLS MTU (DART: \"Reconfigure reason code 16: New MTU configuration\"). Users \
see a pause and applications that have to start again.

Found when a tunnel connection ends 55 to 65 s after it came up (or after its first unanswered ClientHello), DTLS not having \
come up, and a new tunnel connection follows without a login. Where inner traffic was captured, the MSS in the client's inner \
SYNs must be lower afterwards: that proves the new MTU without keys. Where packets as large as the adapter's MTU, or as any DTLS of a \
1500-byte link carries, had passed the old TLS tunnel, there was nothing to lower. From the inside alone only that drop is seen, \
and `after a minute` is said where about as much shows; from the client's adapter alone it counts (low) where a question was \
acknowledged and had no answer meanwhile. A tunnel \
that ended because the gateway stopped answering, or because the client's own link changed, is not this.",
    confidence: &[WHOLE, TWO, INSIDE, ADAPTER, MINUTE],
    remedy: &[
        "make DTLS work: open UDP on the DTLS port",
        remedy::MTU_1300,
        remedy::TLS_ONLY,
    ],
    references: &["Cisco TAC 116881", "Cisco TAC 116312"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    if (session.connections.is_empty() || !session.reconnects.is_empty())
        && let Some(why) = case.untimed()
    {
        return Outcome::cannot_tell(why, None);
    }
    if session.connections.is_empty() {
        return inside_only(case);
    }
    if let Some(seam) = session.reconnects.iter().find(|r| r.cause == Cause::Mtu) {
        return Outcome::Found(Box::new(finding(case, seam)));
    }
    if session.reconnects.iter().any(Reconnect::may_be_for_mtu)
        || session.dtls_of_before().is_some_and(|flow| !flow.worked())
    {
        return Outcome::cannot_tell(
            "a tunnel was replaced whose beginning or end was not captured; whether it had lived a minute is not known",
            Some(Wanted {
                vantage: Vantage::Client,
                why: "whether the client reconnects after a minute: from the start on",
            }),
        );
    }
    if let Some(mss) = session.reconnects.iter().find_map(Reconnect::may_be_clamped) {
        let why = format!(
            "the client replaced its tunnel after a minute, and its inner SYNs carried MSS {mss} before and after: its adapter kept its \
             MTU, or something clamps the MSS before they show here"
        );
        let wanted = Wanted { vantage: Vantage::VirtualAdapter, why: "which MSS the client's own SYNs carry" };
        return Outcome::cannot_tell(why, Some(wanted));
    }
    let mut needless = session.reconnects.iter().filter(|seam| seam.after_a_minute() && seam.carried_all);
    if let Some(bytes) = needless.find_map(|seam| seam.carried) {
        return case.clear(|| {
            format!(
                "the client replaced its tunnel after a minute, but packets of {bytes} B, as large as any of its adapter, had passed the \
                 old one: there was nothing to lower"
            )
        });
    }
    // How an old tunnel ended its data alone does not tell.
    if let Some(why) = case.part_of_tcp(true, false).filter(|_| !session.reconnects.is_empty()) {
        return Outcome::cannot_tell(why, None);
    }
    match session.reconnects.len() {
        0 => case.clear(|| no_reconnect(session)),
        n => {
            let causes: Vec<&str> = session.reconnects.iter().map(|r| r.cause.word()).collect();
            case.clear(|| {
                format!("{n} reconnect{}, with another pattern: {}", if n == 1 { "" } else { "s" }, causes.join(", "))
            })
        }
    }
}

/// The answer to CONNECT that was read of that connection.
fn granted(session: &Session, connection: usize) -> Option<&TunnelAnswer> {
    Some(&session.connections.get(connection)?.granted()?.2)
}

fn no_reconnect(session: &Session) -> String {
    if session.dtls_of_before().is_some() {
        return "DTLS had carried the tunnel that was replaced: there was nothing to lower".to_owned();
    }
    let lived = session.tunnels().map(|t| t.end().seconds_since(t.start())).fold(0.0, f64::max);
    if lived < 65.0 {
        format!("no reconnect in the {lived:.1} s the tunnel was seen")
    } else {
        "the tunnel outlived the minute".to_owned()
    }
}

fn finding(case: &Case<'_>, seam: &Reconnect) -> Finding {
    let session = case.session;
    let mut summary = match seam.lived {
        Some(seconds) if !seam.is_closed => format!("The tunnel was last heard {seconds:.1} s after it came up"),
        Some(seconds) => format!("The tunnel was closed {seconds:.1} s after it came up"),
        None => "The tunnel, which began before the capture, was closed".to_owned(),
    };
    if let Some(since) = seam.since_hello {
        summary.push_str(&format!(", {since:.1} s after the first unanswered ClientHello"));
    }
    let later = if seam.gap >= 0.0 { format!(" {} later", elapsed(seam.gap)) } else { String::new() };
    summary.push_str(&format!("; a new one opened{later} {}", case.without_login()));
    if let Some(InnerMss { before: (before, _), after: (after, _), .. }) = seam.inner_mss {
        summary.push_str(&format!(
            ". Inner SYN MSS {before} before, {after} after: the adapter's MTU fell by {}",
            before.saturating_sub(after)
        ));
    }
    if let Some((first, second)) = granted(session, seam.old).zip(granted(session, seam.new)) {
        let mtus = |answer: &TunnelAnswer| match (answer.cstp_mtu, answer.dtls_mtu.filter(|_| answer.offers_dtls())) {
            (Some(tls), Some(dtls)) => format!("TLS {tls} and DTLS {dtls}"),
            (Some(tls), None) => format!("TLS {tls}, without DTLS"),
            _ => "no MTU".to_owned(),
        };
        summary.push_str(&format!(". The gateway named {} before, {} after", mtus(first), mtus(second)));
    }
    if let Some(bye) = session.connections.get(seam.old).and_then(Connection::bye) {
        summary.push_str(&format!(". The old tunnel's last word: {}", bye.words()));
    }
    summary.push('.');
    let times = session.reconnects.iter().filter(|r| r.cause == Cause::Mtu).count();
    if times > 1 {
        summary.push_str(&format!(" That happened {times} times; this is the first."));
    }
    let named = granted(session, seam.old).zip(granted(session, seam.new));
    let named_lower =
        named.is_some_and(|(first, second)| first.dtls_mtu > second.cstp_mtu && second.cstp_mtu.is_some());
    let recovers = recovers(session, seam);
    if let Some(at) = recovers {
        summary.push_str(&format!(" DTLS came up {} after the new one opened.", elapsed(at.seconds_since(seam.at))));
    }
    // A client that meets no fault any more may have come back for another reason.
    let in_vain = (seam.since_hello.is_some() && recovers.is_none() || named_lower) && !seam.dtls_worked;
    let grade = match (in_vain, seam.lowered() || named_lower) {
        (true, true) => WHOLE,
        (true, false) | (false, true) => TWO,
        (false, false) => MINUTE,
    };
    let (old, new) = (session.connections.get(seam.old), session.connections.get(seam.new));
    let mut evidence = Vec::new();
    if let Some(closed) = old.and_then(|c| c.best().closed()) {
        evidence.push(Evidence::Frames(vec![closed.frame], "the old tunnel is closed".to_owned()));
    }
    evidence.push(Evidence::Frames(vec![seam.frame], "the new tunnel connection opens".to_owned()));
    evidence.extend(seam.inner_mss.into_iter().flat_map(syns));
    Finding {
        severity: Severity::Medium,
        grade,
        headline: if grade == MINUTE {
            "the tunnel was replaced after a minute without a login, as a client does to lower its MTU".to_owned()
        } else if seam.lived.is_none() {
            LOWERS.to_owned()
        } else {
            AFTER_A_MINUTE.to_owned()
        },
        summary,
        evidence,
        filters: [old, new].into_iter().flatten().map(Filter::tunnel).collect(),
        remedy: remedy::equal_mtus(session).into_iter().collect(),
        ..Finding::default()
    }
}

/// When DTLS first came up on the new tunnel.
fn recovers(session: &Session, seam: &Reconnect) -> Option<Timestamp> {
    let completed = session.dtls.iter().flat_map(|d| d.attempts()).filter_map(|(_, a)| Some(a.completed_at()?.0));
    completed.filter(|at| *at > seam.at).min()
}

/// From the inside only the client's new, lower MSS is seen.
fn inside_only(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let Some(mss) = lowered_after_trouble(session) else {
        if let Some(found) = at_adapter(case) {
            return found;
        }
        return Outcome::cannot_tell(
            "the outer connections were not captured",
            Some(Wanted { vantage: Vantage::Outside, why: DETECTOR.question }),
        );
    };
    let (InnerMss { before: (before, _), after: (after, _), at, .. }, [_, mtu]) = (mss, mss.mtus());
    let is_minute = ABOUT_A_MINUTE.contains(&at.seconds_since(session.start));
    Outcome::Found(Box::new(Finding {
        severity: Severity::Medium,
        grade: INSIDE,
        headline: if is_minute { AFTER_A_MINUTE } else { LOWERS }.to_owned(),
        follows: Some("oversized-df"),
        summary: format!(
            "The client's inner SYNs carried MSS {before} at first and {after} from {:.1} s on, after packets toward it had got stuck: its adapter was given MTU {mtu}. The reconnect itself is not in this capture.",
            at.seconds_since(session.start)
        ),
        ..by_syns(session, mss)
    }))
}

/// At the client's adapter what is too big for the tunnel does not show, but a question without an answer does.
fn at_adapter(case: &Case<'_>) -> Option<Outcome> {
    let session = case.session;
    let waited = vanished::unanswered(session, case.points)?;
    let mss = lowered(session).find(|mss| (waited.since..waited.until).contains(&mss.at))?;
    let (InnerMss { before: (before, _), after: (after, _), at, .. }, [mtu, lower]) = (mss, mss.mtus());
    Some(Outcome::Found(Box::new(Finding {
        severity: Severity::Low,
        grade: ADAPTER,
        headline: "the client lowers the MTU of its adapter, as by a reconnect".to_owned(),
        summary: format!(
            "The client's inner SYNs carried MSS {before} at first and {after} from {:.1} s on: its adapter had MTU {mtu}, and was given \
             {lower}. {} s before, it had asked {} something that was acknowledged and not answered. The reconnect itself is not in \
             this capture.",
            at.seconds_since(session.start),
            at.seconds_since(waited.since).round(),
            waited.flow.ends().1
        ),
        wanted: Some(Wanted { vantage: Vantage::Outside, why: DETECTOR.question }),
        ..by_syns(session, mss)
    })))
}

/// What the two SYNs show by which alone the fall of the MSS is known.
fn by_syns(session: &Session, mss: InnerMss) -> Finding {
    Finding {
        evidence: syns(mss).into(),
        filters: frame_filters(&[mss.before.1, mss.after.1], "the two SYNs"),
        remedy: remedy::equal_mtus(session).into_iter().collect(),
        ..Finding::default()
    }
}

fn syns(mss: InnerMss) -> [Evidence; 2] {
    [mss.before, mss.after].map(|(mss, frame)| Evidence::Frames(vec![frame], format!("inner SYN with MSS {mss}")))
}
