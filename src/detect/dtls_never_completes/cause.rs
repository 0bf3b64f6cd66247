//! The likely causes, and what is said of each.

use super::failure::{Failure, Lost};
use crate::detect::remedy;
use crate::event::IcmpError;
use crate::finding::{count, elapsed};
use crate::session::attempt::{AttemptOutcome, icmp_words};
use crate::session::beside::Stranger;
use crate::session::facts::MessageKind;
use std::net::{IpAddr, SocketAddr};

/// Each has its line in the detector's explanation.
pub enum Cause {
    Alert,
    AnswersFromOtherAddress(Stranger),
    /// Seconds from the first ClientHello to the first answer.
    AnswersLate(f64),
    AnswersLost,
    /// How many other hosts did not answer QUIC either.
    BlockedForQuic(usize),
    FewLost,
    FinishedIgnored,
    FinishedLost,
    FinishedRejected,
    /// How many datagrams lack some.
    FragmentsLost(u32),
    /// Why they may have arrived all the same.
    FragmentsUnseen(String),
    FullHandshake,
    GatewayNotListening,
    GatewaySilent,
    GatewaySilentAfterCookie,
    GatewaySilentAfterServerHello,
    HelloVerifyLoop,
    IgnoredByClient,
    LargeDatagramsLost,
    NoCommonCipher,
    /// The gateway behind the device that the client asks.
    NotForwarded(IpAddr),
    /// What never comes.
    PartLost(Lost),
    PortBlocked,
    ProtocolVersion,
    RefusedByGateway(IcmpError),
    /// Who refuses.
    RefusedOnTheWay(IpAddr),
    /// Who told.
    RoutingLoop(IpAddr),
    SilentDrop,
    StaleSession,
}

impl Cause {
    /// Its word in the explanation.
    pub fn word(&self) -> &'static str {
        match self {
            Cause::Alert => "alert",
            Cause::AnswersFromOtherAddress(_) => "answers-from-other-address",
            Cause::AnswersLate(_) => "answers-late",
            Cause::AnswersLost => "answers-lost",
            Cause::BlockedForQuic(_) => "udp-443-blocked-for-quic",
            Cause::FewLost => "few-lost",
            Cause::FinishedIgnored => "finished-ignored",
            Cause::FinishedLost => "finished-lost",
            Cause::FinishedRejected => "finished-rejected",
            Cause::FragmentsLost(_) => "fragments-lost",
            Cause::FragmentsUnseen(_) => "fragments-unseen",
            Cause::FullHandshake => "full-handshake",
            Cause::GatewayNotListening => "gateway-not-listening",
            Cause::GatewaySilent => "gateway-silent",
            Cause::GatewaySilentAfterCookie => "gateway-silent-after-cookie",
            Cause::GatewaySilentAfterServerHello => "gateway-silent-after-server-hello",
            Cause::HelloVerifyLoop => "hello-verify-loop",
            Cause::IgnoredByClient => "ignored-by-client",
            Cause::LargeDatagramsLost => "large-datagrams-lost",
            Cause::NoCommonCipher => "no-common-cipher",
            Cause::NotForwarded(_) => "not-forwarded",
            Cause::PartLost(_) => "part-lost",
            Cause::PortBlocked => "port-blocked",
            Cause::ProtocolVersion => "protocol-version",
            Cause::RefusedByGateway(_) => "refused-by-gateway",
            Cause::RefusedOnTheWay(_) => "refused-on-the-way",
            Cause::RoutingLoop(_) => "routing-loop",
            Cause::SilentDrop => "silent-drop",
            Cause::StaleSession => "stale-session",
        }
    }

    /// A clause for the verdict.
    pub fn headline(&self) -> &'static str {
        match self {
            Cause::Alert => "an alert ends the handshake",
            Cause::AnswersFromOtherAddress(_) => "the answers come from another address or port than the one asked",
            Cause::AnswersLate(_) => "the gateway's answers come when the client has given up",
            Cause::AnswersLost => "the gateway's answers do not reach the client",
            Cause::BlockedForQuic(_) => "UDP/443 gets no answer anywhere, as where QUIC is blocked",
            Cause::FewLost => "datagrams of its handshake are lost, too few to tell a block from chance",
            Cause::FinishedIgnored => "the client's Finished reaches the gateway, which does not go on",
            Cause::FinishedLost => "the client's Finished does not reach the gateway",
            Cause::FinishedRejected => "the two ends do not share the secret",
            Cause::FragmentsLost(_) => "fragments of the handshake are lost",
            Cause::FragmentsUnseen(_) => "it stalls, and the capture does not show the fragments of the handshake",
            Cause::FullHandshake => "the gateway does not resume the session, and the client refuses a full handshake",
            Cause::GatewayNotListening => "nothing listens on the gateway's UDP port",
            Cause::GatewaySilent => "the gateway does not answer the ClientHellos",
            Cause::GatewaySilentAfterCookie => "the handshake stalls after HelloVerifyRequest",
            Cause::GatewaySilentAfterServerHello => "the handshake stalls after ServerHello",
            Cause::HelloVerifyLoop => "the gateway asks for a new cookie for ever",
            Cause::IgnoredByClient => "the gateway's answers reach the client, which takes up none",
            Cause::LargeDatagramsLost => "the large datagrams of the handshake are lost",
            Cause::NoCommonCipher => "client and gateway have no cipher in common",
            Cause::NotForwarded(_) => "the device that forwards TCP to the gateway does not forward UDP",
            Cause::PartLost(_) => "of the gateway's answers the same part never reaches the client",
            Cause::PortBlocked | Cause::SilentDrop => "the client's ClientHellos get no answer",
            Cause::ProtocolVersion => "client and gateway speak no common DTLS version",
            Cause::RefusedByGateway(_) => "the gateway refuses its packets",
            Cause::RefusedOnTheWay(_) => "a hop on the way refuses its packets",
            Cause::RoutingLoop(_) => "its packets run out of hops on the way",
            Cause::StaleSession => "the client names the session of an earlier tunnel",
        }
    }

    /// Was something lost that may have been lost on either side of here? Who refused tells that himself.
    pub fn is_loss(&self) -> bool {
        matches!(
            self,
            Cause::SilentDrop
                | Cause::PortBlocked
                | Cause::BlockedForQuic(_)
                | Cause::AnswersLost
                | Cause::FewLost
                | Cause::PartLost(_)
                | Cause::GatewaySilent
                | Cause::GatewaySilentAfterCookie
                | Cause::GatewaySilentAfterServerHello
                | Cause::LargeDatagramsLost
                | Cause::FragmentsLost(_)
                | Cause::FinishedLost
        )
    }

    /// What speaks for it: a sentence with the space before it, or nothing.
    pub fn words(&self, failure: &Failure<'_>) -> String {
        match self {
            Cause::AnswersFromOtherAddress(stranger) => stranger_words(stranger, failure.asked.ip()),
            Cause::AnswersLate(seconds) => format!(" The first came {} after the ClientHello.", elapsed(*seconds)),
            Cause::AnswersLost => answers_lost_words(failure).to_owned(),
            Cause::BlockedForQuic(hosts) => {
                format!(" QUIC control: Initials to {} got no answer either.", count(*hosts as u64, "other host"))
            }
            Cause::FewLost => few_lost_words(failure),
            Cause::FragmentsLost(datagrams) => {
                format!(" {} between the two never became whole.", count(u64::from(*datagrams), "fragmented datagram"))
            }
            Cause::FragmentsUnseen(why) => {
                format!(" What followed came in IP fragments, and whether all of them arrived cannot be told: {why}.")
            }
            Cause::FullHandshake => {
                " The ServerHello names another session and a certificate follows: the gateway does not \
                                 know the session it offered inside the tunnel, or another server answers."
                    .to_owned()
            }
            Cause::HelloVerifyLoop => hello_verify_loop_words(failure),
            Cause::IgnoredByClient => {
                " Something on its machine keeps them from it: its firewall, or security software.".to_owned()
            }
            Cause::LargeDatagramsLost => large_datagrams_words(failure),
            Cause::PartLost(lost) => part_lost_words(failure, lost),
            Cause::SilentDrop => silent_drop_words(failure),
            Cause::StaleSession => {
                " Its session id is that of an earlier tunnel connection; each connection has its own.".to_owned()
            }
            _ => String::new(),
        }
    }

    /// What to do first, where the client asked that gateway.
    pub fn remedy(&self, asked: SocketAddr) -> String {
        let (gateway, port) = (asked.ip(), asked.port());
        match self {
            Cause::Alert => "correct what the alert names".to_owned(),
            Cause::AnswersFromOtherAddress(_) => format!(
                "make the answers leave with the address and port that were asked ({gateway}, udp/{port}): NAT or routing of UDP differs from TCP"
            ),
            Cause::AnswersLate(_) => {
                format!("see what holds UDP between {gateway} and the client up: a path of seconds, or a queue that is full")
            }
            Cause::AnswersLost => format!(
                "see what drops the answers from udp/{port} of {gateway} on their way to the client: a firewall that \
                 permits one way only, or a route back over another one"
            ),
            Cause::BlockedForQuic(_) => format!(
                "permit udp/{port} to {gateway} beside the rule that blocks QUIC: an exception for this destination is enough"
            ),
            Cause::FewLost => format!(
                "take it for no block yet: see whether the path between {gateway} and the client loses packets (TLS segments sent again), \
                 and capture more attempts, at both ends"
            ),
            Cause::FinishedIgnored => {
                format!("see on the gateway what becomes of the client's Finished (udp/{port}): `show asp drop`, `debug webvpn`")
            }
            Cause::FinishedLost => format!(
                "see what drops the client's datagrams to udp/{port} of {gateway} that are not its ClientHellos: they are sealed, \
                 and larger or smaller"
            ),
            Cause::FinishedRejected | Cause::FullHandshake | Cause::StaleSession => {
                "see whether tunnel and DTLS reach the same device: behind a load balancer the DTLS session is unknown to \
                 the other one; after a reconnect the client must use the new session"
                    .to_owned()
            }
            Cause::FragmentsLost(_) => {
                format!("let IP fragments between {gateway} and the client pass, or keep its datagrams below the path's MTU")
            }
            Cause::FragmentsUnseen(_) => format!(
                "capture once more with a filter that names no port (`host {gateway}`): later IP fragments carry none"
            ),
            Cause::GatewayNotListening => format!(
                "enable DTLS on the gateway's outside interface (`anyconnect enable`, `dtls port {port}` under `webvpn`), \
                 or correct the port the client is told; if {gateway} only forwards to the gateway, forward udp/{port} there as well"
            ),
            Cause::GatewaySilent => {
                format!("see on the gateway why udp/{port} gets no answer (`show asp drop`, DTLS enabled on the interface?)")
            }
            Cause::GatewaySilentAfterCookie | Cause::GatewaySilentAfterServerHello => {
                format!("see on the gateway why it does not go on (udp/{port}): `debug webvpn`, `show asp drop`")
            }
            Cause::HelloVerifyLoop => {
                "keep the client's address and port the same on every packet: a load balancer or NAT in front of the \
                 gateway changes them, and the cookie is made of them"
                    .to_owned()
            }
            Cause::IgnoredByClient => remedy::client_drops(&gateway.to_string()),
            Cause::LargeDatagramsLost => format!(
                "see what drops the larger datagrams between {gateway} and the client: a link with a small MTU, or a \
                 firewall that limits their size"
            ),
            Cause::NoCommonCipher => {
                "give DTLS a cipher both ends know (`ssl cipher dtlsv1`, `ssl cipher dtlsv1.2`)".to_owned()
            }
            Cause::NotForwarded(behind) => {
                format!("forward udp/{port} to {behind} on {gateway}, as it does with TCP")
            }
            Cause::PartLost(lost) => format!(
                "see what drops the {} from udp/{port} of {gateway} on the way to the client and lets other datagrams pass: a firewall \
                 that inspects UDP",
                names(&lost.kinds)
            ),
            Cause::PortBlocked | Cause::SilentDrop => remedy::permit_udp(gateway, port),
            Cause::ProtocolVersion => {
                "permit the DTLS version the client speaks (`ssl server-version … dtlsv1.2`), or update the client".to_owned()
            }
            Cause::RefusedByGateway(error) => {
                format!("see on the gateway why it refuses udp/{port} ({}): access rule, control plane", icmp_words(error))
            }
            Cause::RefusedOnTheWay(by) => format!("permit udp/{port} to {gateway} on {by}, which refuses it"),
            Cause::RoutingLoop(at) => {
                format!("see the routes to {gateway} at {at}: the packets go round until their TTL is used up")
            }
        }
    }
}

fn stranger_words(stranger: &Stranger, asked: IpAddr) -> String {
    let (messages, port) = (count(u64::from(stranger.messages), "DTLS message"), stranger.from.port());
    let ip = stranger.from.ip();
    let what = if ip == asked { "port" } else { "address" };
    format!(
        " {messages} from udp/{port} of {ip} came to the port it asks from: the gateway answers from another {what}."
    )
}

const GOES_ON_SAYING_HELLO: &str =
    " It goes on sending ClientHellos, so the gateway's answers do not seem to reach it.";

fn answers_lost_words(failure: &Failure<'_>) -> &'static str {
    match failure.outcome() {
        AttemptOutcome::StalledAfterServerHello => {
            " It goes on sending its Finished, so the gateway's does not seem to reach it."
        }
        _ if failure.gateway.point().is_some() => "",
        _ => GOES_ON_SAYING_HELLO,
    }
}

/// What of the handshake is lost, and why that tells little.
fn few_lost_words(failure: &Failure<'_>) -> String {
    let mut words = String::new();
    if failure.gateway.point().is_none() && failure.lost().is_some() {
        words.push_str(" A gateway sends these together: what is missing was lost on its way to the client.");
    } else if failure.lost().is_none() && failure.says_hello_again() {
        words.push_str(GOES_ON_SAYING_HELLO);
    } else if failure.lost().is_none() {
        words.push_str(" Either that does not reach the client, or what the client says to it is lost.");
    }
    let seen = failure.gateway.seen().filter(|seen| seen.sees_answers()).unwrap_or(&failure.here);
    let unanswered = seen.hellos.saturating_sub(seen.answers);
    if unanswered > 0 && (failure.gateway.seen().is_some() || failure.is_at_gateway()) {
        let (hellos, were) =
            (count(u64::from(unanswered), "ClientHello"), if unanswered == 1 { "was" } else { "were" });
        words.push_str(&format!(
            " {hellos} that arrived there {were} not answered: a gateway that answers one alone makes one loss last."
        ));
    }
    if failure.hellos_lost() > 0 {
        words.push_str(" Both directions lose packets: a path with loss, not a firewall that permits one way only.");
    }
    words
}

fn part_lost_words(failure: &Failure<'_>, lost: &Lost) -> String {
    let (times, came) = (count(u64::from(lost.sent), "time"), names(&lost.came));
    match failure.gateway.point() {
        Some(_) => format!(" It was sent {times}, and {came} came: UDP passes both ways."),
        None => {
            format!(" {came} came {times}, and a gateway sends these together: the rest is lost on its way each time.")
        }
    }
}

/// Names of messages, in a row.
pub fn names(kinds: &[MessageKind]) -> String {
    let names: Vec<String> = kinds.iter().map(MessageKind::to_string).collect();
    match names.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        all => all.concat(),
    }
}

fn hello_verify_loop_words(failure: &Failure<'_>) -> String {
    if failure.has_cookies_from_elsewhere() {
        return " Each cookie comes back from another port or address than it was given to, and counts for nothing there."
            .to_owned();
    }
    let cookies = failure.failed.iter().map(|j| j.facts.cookies).max().unwrap_or_default();
    format!(" It gave {cookies} different cookies and accepted none of them back.")
}

fn large_datagrams_words(failure: &Failure<'_>) -> String {
    let (came, sent) = (failure.here.largest, failure.gateway.seen().map_or(0, |there| there.largest));
    let behind = match sent > came {
        true => format!("the gateway sent some of {sent} B"),
        false => "messages behind it lack pieces".to_owned(),
    };
    format!(" The largest datagram of the handshake that came measures {came} B; {behind}.")
}

fn silent_drop_words(failure: &Failure<'_>) -> String {
    let is_quic_seen = !failure.case.session.beside().quic.asked.is_empty();
    let control = if is_quic_seen { "" } else { " QUIC control: none in the capture." };
    // A hop may have refused it all the same.
    let unseen = failure.icmp_window().and_then(Result::err);
    let refusal = unseen.map_or(String::new(), |why| format!(" Whether ICMP refused it cannot be told: {why}."));
    format!("{control}{refusal}")
}
