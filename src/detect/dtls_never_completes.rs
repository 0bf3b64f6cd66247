//! The client keeps saying hello over UDP and no DTLS tunnel ever comes up.

use super::remedy;
use crate::event::{Direction, FrameRef, PointId, Vantage};
use crate::finding::{Case, Detector, Evidence, Filter, Finding, Grade, Outcome, Severity, Wanted, count};
use crate::session::Session;
use crate::session::attempt::{AttemptOutcome, Judged, icmp_words, judge_all};
use std::collections::BTreeMap;

const PLACED: Grade = Grade::high("captures at both ends place the loss");
const TOLD_WHY: Grade = Grade::high("an ICMP error or an alert says why");
const MANY: Grade = Grade::high("three or more ClientHellos failed at the client's own interface");
const FEW: Grade = Grade::medium("fewer ClientHellos, or the gateway's end alone");

pub static DETECTOR: Detector = Detector {
    id: "dtls-never-completes",
    title: "The DTLS handshake never completes",
    severity: Severity::High,
    judged_from: &[Vantage::Client, Vantage::Outside],
    leads_to: &["oversized-df", "missing-frag-needed", "frag-needed-ignored", "reconnect-for-mtu"],
    question: "whether DTLS comes up and, if not, where it dies",
    explanation: "\
The client was told a DTLS port and tries to bring its data tunnel up over UDP. Either nothing comes back, or the handshake \
dies at a certain stage. Data then stays on the TLS tunnel, which carries smaller packets than the DTLS tunnel the client's \
adapter was already configured for: the root cause of note 116881.

Each attempt (one client random, or several while nothing came back) is judged at each capture point by what came back: nothing (`no-reply`), an ICMP unreachable \
(`refused`), only a HelloVerifyRequest (`stalled-after-hello-verify`), a ServerHello without the rest \
(`stalled-after-server-hello`), a whole server flight the client did not answer (`client-did-not-finish`), an alert. It counts \
as completed only with epoch-1 records in both directions. The finding needs at least one failed attempt and no completed one \
in the whole session. With captures at both ends the loss is placed between them.

An attempt whose capture ends less than 12 s after its first ClientHello, with fewer than five of them, is `cut-short` and judged by nobody. A gateway-side \
capture without any ClientHello cannot tell a blocked client from one that never tried.",
    confidence: &[PLACED, TOLD_WHY, MANY, FEW],
    remedy: &[
        "permit UDP on the DTLS port (443 unless changed) from the clients to the gateway and back, on every firewall between",
        remedy::MTU_1300,
        remedy::TLS_ONLY,
    ],
    references: &["Cisco TAC 116881", "RFC 6347 §4.2.4", "RFC 792", "RFC 1812 §5.2.7.1"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    if session.dtls.iter().any(|d| d.worked()) {
        return Outcome::Clear(completed_words(session));
    }
    let judged = judge_all(session, case.points);
    if judged.is_empty() {
        return no_attempt(case);
    }
    let failed: Vec<&Judged<'_>> = judged.iter().filter(|j| j.outcome.failed()).collect();
    if failed.is_empty() {
        return Outcome::CannotTell(
            "the capture ends less than 12 s after the first ClientHello; nobody can tell yet".to_owned(),
            Some(Wanted {
                vantage: Vantage::Client,
                why: "whether DTLS comes up at all: let the capture run for two minutes",
            }),
        );
    }
    Outcome::Found(Box::new(finding(case, &failed)))
}

fn completed_words(session: &Session) -> String {
    let first = session
        .dtls
        .iter()
        .filter(|d| d.worked())
        .flat_map(|d| d.attempts())
        .find_map(|(_, a)| Some((a, a.completed_at()?)));
    match first {
        Some((attempt, (at, _))) => {
            format!("DTLS came up {:.3} s after its first ClientHello", at.seconds_since(attempt.first))
        }
        None => "DTLS was up when the capture began".to_owned(),
    }
}

fn no_attempt(case: &Case<'_>) -> Outcome {
    let from_start = case.session.tunnels().any(|t| t.settled().is_some());
    if !from_start {
        return Outcome::CannotTell(
            "the capture began after the tunnel; a DTLS attempt before that would not be in it".to_owned(),
            None,
        );
    }
    if case.at(Vantage::Client).is_empty() {
        return Outcome::CannotTell(
            "no DTLS packet reached this capture point: blocked before it, never tried, or never offered; only the client's NIC or keys can tell".to_owned(),
            Some(Wanted { vantage: Vantage::Client, why: "whether the client sends DTLS ClientHellos at all" }),
        );
    }
    Outcome::Clear("the client never tried DTLS: not offered by the gateway, or switched off; that is configuration, not a fault of the path".to_owned())
}

/// What each point saw, all attempts together.
#[derive(Default)]
struct Seen {
    hellos: u32,
    answers: u32,
    first: f64,
    last: f64,
    furthest: Option<AttemptOutcome>,
}

fn finding(case: &Case<'_>, failed: &[&Judged<'_>]) -> Finding {
    let session = case.session;
    let mut by_point: BTreeMap<PointId, Seen> = BTreeMap::new();
    for judged in failed {
        let seen = by_point.entry(judged.view.point).or_insert_with(|| Seen {
            first: f64::MAX,
            last: f64::MIN,
            ..Seen::default()
        });
        seen.hellos += judged.facts.hellos;
        seen.answers += judged.facts.hello_verify.0 + judged.facts.server_hellos.0;
        seen.first = seen.first.min(judged.facts.first.0 as f64 / 1e9);
        seen.last = seen.last.max(judged.facts.last.0 as f64 / 1e9);
        if seen.furthest.as_ref().is_none_or(|f| f.stage() < judged.outcome.stage()) {
            seen.furthest = Some(judged.outcome.clone());
        }
    }
    let client = case.at(Vantage::Client).into_iter().find(|p| by_point.contains_key(p));
    let gateway_points = case.at(Vantage::Outside);
    let near = client.or_else(|| by_point.keys().next().copied()).unwrap_or_default();
    let Some(here) = by_point.get(&near) else { return Finding::default() };
    let outcome = here.furthest.clone().unwrap_or(AttemptOutcome::NoReply);
    let mut attempts: Vec<[u8; 32]> = failed.iter().map(|j| j.facts.random).collect();
    attempts.sort_unstable();
    attempts.dedup();
    let tries = if attempts.len() > 1 { format!(" ({} attempts)", attempts.len()) } else { String::new() };
    let hellos = format!(
        "{} in {:.1} s{tries} from the client, seen at {}",
        count(u64::from(here.hellos), "ClientHello"),
        here.last - here.first,
        case.place(near)
    );
    let mut summary = format!("{hellos}: {}", stage_words(&outcome));
    let mut placed = false;
    if client.is_some()
        && let Some(gateway) = gateway_points.first()
    {
        placed = true;
        summary.push_str(&match by_point.get(gateway) {
            None => format!(". None arrived at {}: lost between the two", case.place(*gateway)),
            Some(there) if there.answers > 0 && here.answers == 0 => {
                format!(
                    ". At {} {} arrived and the gateway answered {} times: its answers are lost on the way back",
                    case.place(*gateway),
                    there.hellos,
                    there.answers
                )
            }
            Some(there) if there.hellos < here.hellos => {
                format!(". At {} only {} of them arrived", case.place(*gateway), there.hellos)
            }
            Some(there) => format!(". All {} also arrived at {}", there.hellos, case.place(*gateway)),
        });
    }
    let goes_on = |j: &&&Judged<'_>| j.facts.server_hellos.1.is_some_and(|(at, _)| j.facts.last > at);
    if client.is_none() && failed.iter().any(|j| goes_on(&j)) {
        summary.push_str(". It goes on sending ClientHellos, so the gateway's answers do not seem to reach it");
    }
    if client.is_none() && outcome == AttemptOutcome::NoReply {
        summary.push_str(": the gateway did not answer, if this capture saw both directions");
    }
    summary.push('.');
    let told_why = matches!(outcome, AttemptOutcome::Refused(..) | AttemptOutcome::Alert(..));
    let grade = match (placed, told_why) {
        (true, _) => PLACED,
        (false, true) => TOLD_WHY,
        (false, false) if client.is_some() && here.hellos >= 3 => MANY,
        _ => FEW,
    };
    let stuck = session.oversized.iter().any(|o| o.stuck_to_client > 0 && !o.is_beyond_dtls())
        || session.reconnects.iter().any(|r| r.lowered() && !r.dtls_worked);
    Finding {
        severity: if stuck { Severity::High } else { Severity::Medium },
        grade,
        summary,
        evidence: evidence(case, failed),
        filters: filters(failed),
        remedy: remedy(case, failed, &outcome),
        ..Finding::default()
    }
}

fn stage_words(outcome: &AttemptOutcome) -> String {
    match outcome {
        AttemptOutcome::NoReply => "nothing came back".to_owned(),
        AttemptOutcome::Refused(error, sender, frame) => {
            format!("refused by {sender} with {} in frame {}", icmp_words(error), frame.number)
        }
        AttemptOutcome::StalledAfterHelloVerify => {
            "the gateway sent HelloVerifyRequest, and after the ClientHello with its cookie nothing more".to_owned()
        }
        AttemptOutcome::StalledAfterServerHello => {
            "a ServerHello came, but the handshake stalled before the server's Finished".to_owned()
        }
        AttemptOutcome::ClientDidNotFinish => {
            "the gateway sent its whole flight, the client never answered it".to_owned()
        }
        AttemptOutcome::Alert(alert, Direction::ToClient) => format!("the gateway ended it with alert {alert}"),
        AttemptOutcome::Alert(alert, Direction::ToServer) => format!("the client ended it with alert {alert}"),
        AttemptOutcome::Completed | AttemptOutcome::CutShort => String::new(),
    }
}

fn evidence(case: &Case<'_>, failed: &[&Judged<'_>]) -> Vec<Evidence> {
    let mut evidence: Vec<Evidence> = failed
        .iter()
        .map(|j| {
            let frames: Vec<FrameRef> = j.facts.hello_frames.iter().map(|(f, _)| *f).collect();
            Evidence::Frames(
                frames,
                format!(
                    "{} at {}: {}",
                    count(u64::from(j.facts.hellos), "ClientHello"),
                    case.place(j.view.point),
                    gaps(j)
                ),
            )
        })
        .collect();
    for judged in failed {
        if let AttemptOutcome::Refused(error, sender, frame) = &judged.outcome {
            evidence.push(Evidence::Frames(vec![*frame], format!("{} from {sender}", icmp_words(error))));
        }
        if let (_, Some((_, frame))) = judged.facts.hello_verify {
            evidence.push(Evidence::Frames(vec![frame], "HelloVerifyRequest".to_owned()));
        }
        if let (n, Some((_, frame))) = judged.facts.server_hellos {
            evidence.push(Evidence::Frames(vec![frame], format!("first of {}", count(u64::from(n), "ServerHello"))));
        }
        if let Some((_, frame, _, alert)) = judged.facts.alert {
            evidence.push(Evidence::Frames(vec![frame], format!("alert {alert}")));
        }
    }
    evidence
}

/// The back-off, as seconds after the first ClientHello.
fn gaps(judged: &Judged<'_>) -> String {
    let times: Vec<String> = judged
        .facts
        .hello_frames
        .iter()
        .take(12)
        .map(|(_, at)| format!("{:.1}", at.seconds_since(judged.facts.first)))
        .collect();
    format!("at {} s", times.join(", "))
}

fn filters(failed: &[&Judged<'_>]) -> Vec<Filter> {
    // One UDP stream may be seen at several points of one merged capture: Wireshark counts them together.
    let mut streams: BTreeMap<(u16, u32), u64> = BTreeMap::new();
    for judged in failed {
        let key = (judged.view.opened.first_frame.capture, judged.view.opened.stream);
        *streams.entry(key).or_default() += u64::from(judged.facts.hellos);
    }
    streams
        .into_iter()
        .map(|((capture, stream), hellos)| Filter {
            // An ICMP error quotes the ClientHello it refuses, and Wireshark looks into the quote.
            filter: format!("dtls.handshake.type == 1 && udp.stream == {stream} && !icmp && !icmpv6"),
            capture,
            shows: "the ClientHellos".to_owned(),
            frames: Some(hellos),
        })
        .collect()
}

fn remedy(case: &Case<'_>, failed: &[&Judged<'_>], outcome: &AttemptOutcome) -> Vec<String> {
    let session = case.session;
    let server = failed.first().map(|j| j.view.opened.endpoints.server);
    let (gateway, port) = server.map_or(("the gateway".to_owned(), session.port), |s| (s.ip().to_string(), s.port()));
    let mut all = match outcome {
        AttemptOutcome::Refused(error, sender, _) if *sender == server.map_or(*sender, |s| s.ip()) => {
            vec![format!(
                "the gateway itself refused ({}): enable DTLS on its outside interface, or correct the DTLS port",
                icmp_words(error)
            )]
        }
        AttemptOutcome::Refused(_, sender, _) => {
            vec![format!("permit udp/{port} to {gateway} on {sender}, which refuses it")]
        }
        AttemptOutcome::NoReply if !case.at(Vantage::Client).is_empty() => vec![format!(
            "permit udp/{port} to {gateway} and back, on every firewall between the client and the gateway"
        )],
        AttemptOutcome::NoReply => vec![format!(
            "see on the gateway why udp/{port} gets no answer (`show asp drop`, DTLS enabled on the interface?)"
        )],
        AttemptOutcome::StalledAfterHelloVerify => {
            vec![format!(
                "see on the gateway why it does not go on after the cookie (udp/{port}); a load balancer or NAT that changes the client's address breaks the cookie"
            )]
        }
        AttemptOutcome::Alert(..) => vec![
            "correct what the alert names: no common cipher (`ssl cipher dtlsv1.2`), version, or a stale session"
                .to_owned(),
        ],
        AttemptOutcome::ClientDidNotFinish => {
            vec![format!(
                "see what drops the gateway's answers from udp/{port} of {gateway} on their way to the client: a firewall that permits one way only, or drops the larger datagrams"
            )]
        }
        _ => vec![format!(
            "see what drops the larger handshake datagrams of udp/{port} between {gateway} and the client"
        )],
    };
    all.extend([remedy::MTU_1300, remedy::TLS_ONLY].map(str::to_owned));
    all
}
