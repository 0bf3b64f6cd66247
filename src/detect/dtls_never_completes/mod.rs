//! The client keeps saying hello over UDP and no DTLS tunnel ever comes up.

mod cause;
mod diagnosis;
mod failure;
mod finding;
mod seen;
mod summary;
mod untried;

use super::remedy;
use crate::event::{Direction, Vantage};
use crate::finding::{BothWays, Case, Detector, Outcome, Severity, Wanted, count};
use crate::session::DtlsFlow;
use crate::session::attempt::{AttemptOutcome, Episode, Judged, episodes};
use failure::Failure;
use finding::{CHANCE, CHANCE_PLACED, FEW, MANY, PLACED, TOLD_WHY, finding};
use seen::distinct;
use untried::{OFFERED, untried};

pub static DETECTOR: Detector = Detector {
    id: "dtls-never-completes",
    title: "The DTLS handshake never completes",
    severity: Severity::High,
    judged_from: &[Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::OfAny,
    leads_to: &["oversized-df", "missing-frag-needed", "frag-needed-ignored", "reconnect-for-mtu", "tcp-over-tcp"],
    question: "whether DTLS comes up and, if not, where it dies",
    explanation: "\
The client was told a DTLS port and tries to bring its data tunnel up over UDP. Either nothing comes back, or the handshake \
dies at a certain stage. Data then stays on the TLS tunnel, which carries smaller packets than the DTLS tunnel the client's \
adapter was already configured for: the root cause of note 116881.

Each attempt (one client random, or several while nothing came back) is judged at each capture point by what came back: nothing \
(`no-reply`), an ICMP unreachable (`refused`), only a HelloVerifyRequest (`stalled-after-hello-verify`), a ServerHello without the \
rest (`stalled-after-server-hello`; also the rest without its ServerHello, or a Finished that the client, the first to send one, repeats), a whole server flight the client did not answer (`client-did-not-finish`), a Finished that the \
server repeats and never goes on from (`finished-lost`), an alert. It counts as completed only with epoch-1 records in both \
directions. The finding needs at least one failed attempt and no completed \
one on the same tunnel connection: each new tunnel names a new DTLS session. With captures at both ends the loss is placed \
between them. That none arrived at the gateway is said only where its capture was running all the while and lets UDP pass.

The likely cause is told apart by what else was seen:

- `silent-drop`: nothing came back, and nothing says why
- `udp-443-blocked-for-quic`: QUIC Initials of the same client to other hosts got no answer either
- `port-blocked`: nothing came back from a port other than 443
- `refused-on-the-way`, `gateway-not-listening`, `refused-by-gateway`: an ICMP error, by who sent it and its code
- `not-forwarded`: the address the client asks refuses UDP, and forwards TCP to a gateway of another address, as captures at both ends show
- `routing-loop`: ICMP Time Exceeded: the ClientHellos go round between routers until their TTL is used up
- `answers-lost`: the gateway answers, and its answers do not reach the client
- `part-lost`: of its flight the same messages never reach the client, each time, and others do
- `few-lost`: what is lost of its flight was sent once or twice: a path that loses packets does that, and a gateway that answers a \
ClientHello once makes it last
- `gateway-silent`: ClientHellos reach the gateway's outside interface and get no answer
- `answers-from-other-address`: an address or a port the client did not ask answers to its port
- `hello-verify-loop`: the gateway asks for a new cookie each time it is given one; a load balancer or a NAT changes what it is made of
- `gateway-silent-after-cookie`: the cookie was given back, and nothing followed
- `gateway-silent-after-server-hello`: a ServerHello came, and not the rest, or no answer to what the client said to it
- `never-arrived`: keys at the gateway's outside interface show that DTLS was offered, and for 12 s no ClientHello came
- `large-datagrams-lost`, `fragments-lost`: the small parts of the server's flight arrive, the large ones or their fragments do not
- `fragments-unseen`: the same, but the capture filter keeps later fragments out, which carry no ports: they may have arrived
- `full-handshake`: the gateway does not resume the session named in the tunnel but shows a certificate, which the client refuses
- `stale-session`: the client names the session of an earlier tunnel connection
- `no-common-cipher`, `protocol-version`, `alert`: what the alert says; the first only before the gateway chose a cipher
- `finished-lost`: both Finished went, and the gateway repeats its own: the client's does not reach it; or captures at both ends show that its answer to the gateway's flight does not arrive
- `finished-ignored`: the same, but the client's Finished is seen to reach the gateway's outside interface
- `ignored-by-client`: the gateway's answers, every message of the flight, reach the client's network card, and the client takes up none: its own firewall, or \
security software
- `answers-late`: they come two seconds and more after its last ClientHello: it has given up
- `finished-rejected`: both Finished went, and an encrypted alert answered: the two ends do not share the secret

An attempt whose capture ends less than 12 s after its first ClientHello, with fewer than five of them, is `cut-short`; one whose \
answers this capture could not show (one direction only, a filter, cut frames) is `not-observable`; one whose tunnel the client \
closes within a second of the ClientHello, before it would say hello again, is `abandoned`. None of these is a failure. A \
gateway-side capture without any ClientHello cannot tell a blocked client from one that never tried.",
    confidence: &[PLACED, TOLD_WHY, MANY, FEW, OFFERED, CHANCE_PLACED, CHANCE],
    remedy: &[
        "permit UDP on the DTLS port (443 unless changed) from the clients to the gateway and back, on every firewall between",
        remedy::MTU_1300,
        remedy::TLS_ONLY,
    ],
    references: &["Cisco TAC 116881", "RFC 6347 §4.2.1, §4.2.4", "RFC 792", "RFC 1812 §5.2.7.1", "RFC 9000 §17.2.2 (QUIC)"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    // Most often all that was tried worked.
    if !session.dtls.is_empty() && session.dtls.iter().all(DtlsFlow::came_up) {
        return case.clear(|| completed_words(&episodes(session, case.points)));
    }
    let episodes = episodes(session, case.points);
    if let Some(failure) = episodes.iter().find_map(|episode| Failure::of(case, episode, &episodes)) {
        return Outcome::Found(Box::new(finding(&failure)));
    }
    if episodes.iter().any(|e| e.worked) {
        return case.clear(|| completed_words(&episodes));
    }
    let judged: Vec<&Judged<'_>> = episodes.iter().flat_map(|e| &e.judged).collect();
    let hidden = judged.iter().find_map(|j| match &j.outcome {
        AttemptOutcome::NotObservable(why) => Some(why),
        _ => None,
    });
    match hidden {
        Some(why) => not_observable(&judged, why),
        None if judged.is_empty() => untried(case),
        None if judged.iter().any(|j| j.outcome == AttemptOutcome::CutShort) => cut_short(),
        None => abandoned(),
    }
}

/// When it came up, and at which attempt.
fn completed_words(episodes: &[Episode<'_>]) -> String {
    let completed = |e: &Episode<'_>| {
        let first = e.judged.iter().map(|j| j.facts.first).min()?;
        let done = e.judged.iter().filter_map(|j| j.facts.completed_at()).map(|(at, _)| at).min()?;
        let tries = e.judged.iter().filter(|j| j.facts.first <= done);
        Some((done.seconds_since(first), distinct(tries.map(|j| j.facts))))
    };
    match episodes.iter().filter(|e| e.worked).find_map(completed) {
        Some((seconds, tries @ 2..)) => {
            format!("DTLS came up {seconds:.3} s after its first ClientHello, at attempt {tries}")
        }
        Some((seconds, _)) => format!("DTLS came up {seconds:.3} s after its first ClientHello"),
        None => "DTLS was up when the capture began".to_owned(),
    }
}

/// Answers would not have shown here.
fn not_observable(judged: &[&Judged<'_>], why: &str) -> Outcome {
    let hellos = judged.iter().map(|j| u64::from(j.facts.hellos)).sum();
    let why = format!("{}, but {why}", count(hellos, "ClientHello"));
    let wanted = Some(Wanted { vantage: Vantage::Client, why: DETECTOR.question });
    // A client that says hello again and again, and never goes on, shows by itself that it failed.
    let in_vain = hellos >= 3 && !judged.iter().any(|j| j.facts.is_protected(Direction::ToServer));
    match in_vain {
        true => Outcome::unsettled(why, wanted, "DTLS is not seen to come up; what the gateway answered does not show"),
        false => Outcome::cannot_tell(why, wanted),
    }
}

/// The tunnel it was for is gone: the next one tries anew.
fn abandoned() -> Outcome {
    let why = "the client closed the tunnel within a second of its ClientHello: nothing could have come of it";
    Outcome::cannot_tell(why, None)
}

fn cut_short() -> Outcome {
    let why = "whether DTLS comes up at all: let the capture run for two minutes";
    Outcome::unsettled(
        "the capture ends less than 12 s after the first ClientHello; nobody can tell yet",
        Some(Wanted { vantage: Vantage::Client, why }),
        "DTLS had not come up when the capture ended",
    )
}
