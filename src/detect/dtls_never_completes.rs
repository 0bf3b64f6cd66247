//! The client keeps saying hello over UDP and no DTLS tunnel ever comes up.

use super::remedy;
use crate::event::{Alert, Direction, FrameRef, PointId, Timestamp, TunnelAnswer, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Filter, Finding, Grade, Outcome, RuledOut, Severity, Sight, Wanted, Window,
    count, elapsed,
};
use crate::session::attempt::{AttemptOutcome, Episode, Judged, episodes, icmp_words, is_out_of_hops};
use crate::session::coverage::hides;
use crate::session::facts::{AttemptFacts, Message, MessageKind, Random};
use crate::session::reconnect::Reconnect;
use crate::session::{DtlsFlow, Oversized, Session};
use std::collections::BTreeMap;
use std::net::IpAddr;

const PLACED: Grade = Grade::high("captures at both ends place the loss");
const TOLD_WHY: Grade = Grade::high("an ICMP error or an alert says why");
const MANY: Grade = Grade::high("three or more ClientHellos failed at the client's own interface");
const FEW: Grade = Grade::medium("fewer ClientHellos, or the gateway's end alone");

/// Ports Cisco and everybody else expects DTLS on.
const DEFAULT_PORT: u16 = 443;
/// What a path carries that carries anything (RFC 791), IP bytes.
const LARGE: u32 = 576;
/// Clocks of two captures and the delay between them may differ by so much, seconds.
const LEEWAY: f64 = 1.0;
/// An answer that comes so long after the last ClientHello came when the client had given up, seconds.
const LATE: f64 = 2.0;
/// So many different cookies, each echoed and none accepted, are a loop.
const LOOP: u16 = 3;

const OFFERED: Grade = Grade::medium(
    "keys show that DTLS was offered, and for 12 s no ClientHello came; a client that does not try would look the same",
);

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
rest (`stalled-after-server-hello`), a whole server flight the client did not answer (`client-did-not-finish`), a Finished that the \
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
- `gateway-silent`: ClientHellos reach the gateway's outside interface and get no answer
- `answers-from-other-address`: an address or a port the client did not ask answers to its port
- `hello-verify-loop`: the gateway asks for a new cookie each time it is given one; a load balancer or a NAT changes what it is made of
- `gateway-silent-after-cookie`: the cookie was given back, and nothing followed
- `large-datagrams-lost`, `fragments-lost`: the small parts of the server's flight arrive, the large ones or their fragments do not
- `fragments-unseen`: the same, but the capture filter keeps later fragments out, which carry no ports: they may have arrived
- `full-handshake`: the gateway does not resume the session named in the tunnel but shows a certificate, which the client refuses
- `stale-session`: the client names the session of an earlier tunnel connection
- `no-common-cipher`, `protocol-version`, `alert`: what the alert says; the first only before the gateway chose a cipher
- `finished-lost`: both Finished went, and the gateway repeats its own: the client's does not reach it; or captures at both ends show that its answer to the gateway's flight does not arrive
- `finished-ignored`: the same, but the client's Finished is seen to reach the gateway's outside interface
- `ignored-by-client`: the gateway's answers reach the client's network card, and the client takes up none: its own firewall, or \
security software
- `answers-late`: they come two seconds and more after its last ClientHello: it has given up
- `finished-rejected`: both Finished went, and an encrypted alert answered: the two ends do not share the secret

An attempt whose capture ends less than 12 s after its first ClientHello, with fewer than five of them, is `cut-short`; one whose \
answers this capture could not show (one direction only, a filter, cut frames) is `not-observable`. Neither is a failure. A \
gateway-side capture without any ClientHello cannot tell a blocked client from one that never tried.",
    confidence: &[PLACED, TOLD_WHY, MANY, FEW, OFFERED],
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
    let failed = episodes.iter().find(|e| !e.worked && e.judged.iter().any(|j| j.outcome.failed()));
    if let Some(episode) = failed {
        return Outcome::Found(Box::new(Failure::new(case, episode, &episodes).finding(severity(session))));
    }
    if episodes.iter().any(|e| e.worked) {
        return case.clear(|| completed_words(&episodes));
    }
    let undecided: Vec<&Judged<'_>> = episodes.iter().flat_map(|e| &e.judged).collect();
    if let Some(why) = undecided.iter().find_map(|j| match &j.outcome {
        AttemptOutcome::NotObservable(why) => Some(why),
        _ => None,
    }) {
        let hellos = undecided.iter().map(|j| u64::from(j.facts.hellos)).sum();
        let why = format!("{}, but {why}", count(hellos, "ClientHello"));
        let wanted = Some(Wanted { vantage: Vantage::Client, why: DETECTOR.question });
        // A client that says hello again and again, and never goes on, shows by itself that it failed.
        let in_vain = hellos >= 3 && !undecided.iter().any(|j| j.facts.is_protected(Direction::ToServer));
        return match in_vain {
            true => {
                Outcome::unsettled(why, wanted, "DTLS is not seen to come up; what the gateway answered does not show")
            }
            false => Outcome::cannot_tell(why, wanted),
        };
    }
    if !undecided.is_empty() {
        return Outcome::unsettled(
            "the capture ends less than 12 s after the first ClientHello; nobody can tell yet",
            Some(Wanted {
                vantage: Vantage::Client,
                why: "whether DTLS comes up at all: let the capture run for two minutes",
            }),
            "DTLS had not come up when the capture ended",
        );
    }
    no_attempt(case)
}

/// Does it do harm that the tunnel's packets have to go through TCP?
fn severity(session: &Session) -> Severity {
    let stuck = |o: &Oversized| o.stuck_to_client > 0 && !o.is_beyond_dtls();
    let lowered = |r: &Reconnect| r.lowered() && !r.dtls_worked;
    let harms = session.oversized.iter().any(stuck) || session.reconnects.iter().any(lowered);
    if harms { Severity::High } else { Severity::Medium }
}

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

/// How many attempts these are: several points see one each.
fn distinct<'a>(attempts: impl Iterator<Item = &'a AttemptFacts>) -> usize {
    let mut randoms: Vec<Random> = attempts.map(|attempt| attempt.random).collect();
    randoms.sort_unstable();
    randoms.dedup();
    randoms.len()
}

fn no_attempt(case: &Case<'_>) -> Outcome {
    if case.session.proxied_to().is_some() {
        return Outcome::clear(
            "the client reaches the gateway through a web proxy, where no UDP can go: DTLS was not tried",
        );
    }
    let granted = case.session.granted().find(|(_, _, answer)| answer.offers_dtls());
    if let (None, Some((_, _, answer))) = (granted, case.session.granted().next()) {
        let status = answer.status;
        return case.clear(|| format!(
            "the gateway did not offer DTLS: its answer to CONNECT ({status}) names neither session nor suite for it; that is \
             configuration, or no suite both know"
        ));
    }
    let wanted = Some(Wanted { vantage: Vantage::Client, why: "whether the client sends DTLS ClientHellos at all" });
    let tunnels: Vec<_> = case.session.tunnels().filter(|t| t.settled().is_some()).collect();
    let Some(tunnel) = tunnels.first() else {
        let connections = &case.session.connections;
        if !connections.is_empty() && connections.iter().all(|c| !c.role.is_tunnel() && c.begins_here()) {
            return Outcome::cannot_tell("no TLS tunnel came up, and DTLS is only tried beside one", None);
        }
        return Outcome::cannot_tell(
            "the capture began after the tunnel; a DTLS attempt before that would not be in it",
            None,
        );
    };
    let Some(client) = case.at(Vantage::Client).first().copied() else {
        if let (Some(answer), Some(outside)) = (granted, case.at(Vantage::Outside).first().copied()) {
            return never_arrived(case, answer, outside);
        }
        let why = match granted {
            Some(_) => {
                "DTLS was offered, and none of its packets is here: blocked before this capture point, or never tried"
            }
            None => {
                "no DTLS packet reached this capture point: blocked before it, never tried, or never offered; only the \
                 client's NIC or keys can tell"
            }
        };
        return Outcome::cannot_tell(why, wanted);
    };
    match case.window(client, Sight::Udp(case.session.port), tunnel.start(), tunnel.end()) {
        Err(why) => Outcome::cannot_tell(format!("no DTLS packet was seen, but {why}"), wanted),
        Ok(_) => Outcome::clear(
            "the client never tried DTLS: not offered by the gateway, or switched off; that is configuration, not a \
             fault of the path",
        ),
    }
}

/// DTLS was granted, as keys show, and no ClientHello reached the gateway: a client that was granted it tries at once.
fn never_arrived(case: &Case<'_>, granted: &(Timestamp, FrameRef, TunnelAnswer), outside: PointId) -> Outcome {
    /// A client needs no longer to bring its adapter up, seconds.
    const AT_ONCE: f64 = 12.0;
    let (at, frame, answer) = granted;
    let port = answer.dtls_port.unwrap_or(case.session.port);
    let wanted = Some(Wanted { vantage: Vantage::Client, why: "whether the client sends DTLS ClientHellos at all" });
    let window = match case.window(outside, Sight::Udp(port), *at, at.plus_seconds(AT_ONCE)) {
        Ok(window) if window.seconds() >= AT_ONCE => window,
        Ok(_) => {
            let why = "DTLS was offered; the capture ends before a ClientHello could be missed";
            return Outcome::cannot_tell(why, wanted);
        }
        Err(why) => return Outcome::cannot_tell(format!("DTLS was offered, but {why}"), wanted),
    };
    Outcome::Found(Box::new(Finding {
        severity: Severity::Medium,
        grade: OFFERED,
        headline: "DTLS never came up: no ClientHello reaches the gateway".to_owned(),
        summary: format!(
            "The gateway offered DTLS on udp/{port} (X-DTLS-Port), and no ClientHello arrived at its outside interface: blocked on \
             the way from the client, or not tried by it."
        ),
        likely: Some("never-arrived"),
        evidence: vec![
            Evidence::Frames(vec![*frame], "the answer to CONNECT, which offers DTLS".to_owned()),
            Evidence::Absence(window, "no ClientHello at the gateway's outside interface".to_owned()),
        ],
        remedy: [
            Some(format!("permit udp/{port} to the gateway and back, on every firewall between the client and it")),
            remedy::equal_mtus(case.session),
            Some(remedy::TLS_ONLY.to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect(),
        ..Finding::default()
    }))
}

/// What each point saw, all attempts of the episode together.
#[derive(Default)]
struct Seen {
    hellos: u32,
    answers: u32,
    /// The largest datagram of the gateway's handshake, IP bytes.
    largest: u32,
    first: f64,
    last: f64,
    furthest: Option<AttemptOutcome>,
}

/// What the gateway's outside interface, when captured too, tells of what the client's point saw fail.
enum Placed {
    /// It was not captured.
    Nowhere,
    /// It saw the attempts, all the while or not.
    Seen(PointId, bool),
    /// It would have seen them, and did not.
    Unseen(PointId, Window),
    /// It saw no UDP at all, and nobody knows whether a filter kept it out.
    NoUdp(PointId),
    /// It was captured, and cannot tell: why.
    Unknown(PointId, String),
}

impl Seen {
    /// Would answers have shown there?
    fn sees_answers(&self) -> bool {
        !matches!(self.furthest, Some(AttemptOutcome::NotObservable(_)))
    }
}

/// One tunnel connection on which DTLS failed.
struct Failure<'a> {
    case: &'a Case<'a>,
    failed: Vec<&'a Judged<'a>>,
    seen: BTreeMap<PointId, Seen>,
    /// The client's point, or the nearest to it.
    near: PointId,
    placed: Placed,
    outcome: AttemptOutcome,
    /// When the tunnel opened, seconds into the session, if it is not the first.
    later: Option<f64>,
    stale: bool,
    /// On another tunnel of the session DTLS came up.
    works_elsewhere: bool,
}

impl<'a> Failure<'a> {
    fn new(case: &'a Case<'a>, episode: &'a Episode<'a>, all: &[Episode<'_>]) -> Failure<'a> {
        let failed: Vec<&Judged<'_>> = episode.judged.iter().filter(|j| j.outcome.failed()).collect();
        let mut seen: BTreeMap<PointId, Seen> = BTreeMap::new();
        let unseen = |j: &&Judged<'_>| matches!(j.outcome, AttemptOutcome::NotObservable(_));
        for judged in episode.judged.iter().filter(|j| j.outcome.failed() || unseen(j)) {
            let seen = seen.entry(judged.view.point).or_insert_with(|| Seen {
                first: f64::MAX,
                last: f64::MIN,
                ..Seen::default()
            });
            seen.hellos += judged.facts.hellos;
            seen.answers += judged.facts.hello_verifies() + judged.facts.server_hellos();
            seen.largest = seen.largest.max(judged.facts.largest_flight);
            seen.first = seen.first.min(judged.facts.first.nanos() as f64 / 1e9);
            seen.last = seen.last.max(judged.facts.last().nanos() as f64 / 1e9);
            if seen.furthest.as_ref().is_none_or(|f| f.stage() < judged.outcome.stage()) {
                seen.furthest = Some(judged.outcome.clone());
            }
        }
        let judges = |point: &&PointId| failed.iter().any(|j| j.view.point == **point);
        let client = case.at(Vantage::Client).into_iter().find(|point| judges(&point));
        let near = client.or_else(|| seen.keys().find(judges).copied()).unwrap_or_default();
        let outcome = seen.get(&near).and_then(|s| s.furthest.clone()).unwrap_or(AttemptOutcome::NoReply);
        let placed = if client.is_some() { placed(case, episode, near, &seen) } else { Placed::Nowhere };
        let is_first = all.first().is_some_and(|first| first.tunnel == episode.tunnel);
        let later = episode.tunnel.filter(|_| !is_first).map(|at| at.seconds_since(case.session.start));
        let earlier = all.iter().take_while(|e| e.tunnel < episode.tunnel).flat_map(|e| &e.judged);
        let ids: Vec<&[u8]> = earlier.map(|j| j.facts.session_id.as_bytes()).filter(|id| !id.is_empty()).collect();
        let stale = failed.iter().any(|j| ids.contains(&j.facts.session_id.as_bytes()));
        let works_elsewhere = all.iter().any(|e| e.worked);
        Failure { case, failed, seen, near, placed, outcome, later, stale, works_elsewhere }
    }

    fn here(&self) -> &Seen {
        const NOTHING: &Seen = &Seen { hellos: 0, answers: 0, largest: 0, first: 0.0, last: 0.0, furthest: None };
        self.seen.get(&self.near).unwrap_or(NOTHING)
    }

    fn at_client(&self) -> bool {
        self.vantage() == Some(Vantage::Client)
    }

    fn vantage(&self) -> Option<Vantage> {
        self.case.vantage(self.near)
    }

    /// What the gateway's outside interface saw of it, when captured too.
    fn there(&self) -> Option<&Seen> {
        self.seen.get(&self.gateway_point()?)
    }

    /// IP fragments between the two arrived, and never all of a datagram.
    fn lacks_fragments(&self) -> bool {
        self.case.session.beside().incomplete.iter().any(|(point, _)| *point == self.near)
    }

    /// Why the rest of them may have arrived all the same.
    fn unseen_fragments(&self) -> Option<String> {
        let mut here = self.case.session.beside().incomplete.iter().filter(|(point, _)| *point == self.near);
        let (_, some) = here.next()?;
        let sight = Sight::Fragments { v6: some.src.is_ipv6() };
        hides(self.case.point(self.near)?, sight, some.datagrams)
    }

    /// The word for fragments that did not arrive, where there are such.
    fn fragments(&self) -> Option<&'static str> {
        let word = if self.unseen_fragments().is_some() { "fragments-unseen" } else { "fragments-lost" };
        self.lacks_fragments().then_some(word)
    }

    /// The gateway went further than what arrived here shows.
    fn is_lost_on_the_way_back(&self) -> bool {
        let stage = |seen: &Seen| seen.furthest.as_ref().map_or(0, AttemptOutcome::stage);
        self.there().is_some_and(|there| there.sees_answers() && stage(there) > stage(self.here()))
    }

    /// The gateway's outside interface, when captured too and able to tell.
    fn gateway_point(&self) -> Option<PointId> {
        match self.placed {
            Placed::Seen(point, _) | Placed::Unseen(point, _) => Some(point),
            Placed::Nowhere | Placed::NoUdp(_) | Placed::Unknown(..) => None,
        }
    }

    fn server(&self) -> (Option<IpAddr>, u16) {
        let server = self.failed.first().map(|j| j.view.opened.endpoints().server);
        (server.map(|s| s.ip()), server.map_or(self.case.session.port, |s| s.port()))
    }

    fn finding(&self, severity: Severity) -> Finding {
        let likely = self.likely();
        let wanted = self.wanted(likely);
        if self.case.in_brief {
            return Finding { severity, wanted, ..Finding::default() };
        }
        Finding {
            severity,
            grade: self.grade(),
            headline: self.headline(likely),
            summary: self.summary(likely),
            likely: Some(likely),
            ruled_out: self.ruled_out(likely),
            evidence: self.evidence(),
            filters: self.filters(),
            remedy: self.remedy(likely),
            wanted,
            ..Finding::default()
        }
    }

    /// What was lost may have been lost on either side of here; who refused tells that himself.
    fn wanted(&self, likely: &str) -> Option<Wanted> {
        let is_lost = matches!(
            likely,
            "silent-drop"
                | "port-blocked"
                | "udp-443-blocked-for-quic"
                | "answers-lost"
                | "gateway-silent"
                | "gateway-silent-after-cookie"
                | "gateway-silent-after-server-hello"
                | "large-datagrams-lost"
                | "fragments-lost"
                | "finished-lost"
        );
        self.case.other_end("how much of the DTLS handshake passes there").filter(|_| is_lost)
    }

    fn grade(&self) -> Grade {
        let is_hidden = self.fragments() == Some("fragments-unseen");
        if !is_hidden && self.gateway_point().is_some() && self.there().is_none_or(Seen::sees_answers) {
            return PLACED;
        }
        match &self.outcome {
            told if told.is_told() => TOLD_WHY,
            _ if self.at_client() && self.here().hellos >= 3 => MANY,
            _ => FEW,
        }
    }

    /// The likeliest cause, one of the explanation's words.
    fn likely(&self) -> &'static str {
        let (server, port) = self.server();
        match &self.outcome {
            AttemptOutcome::Refused(error, ..) if is_out_of_hops(error) => "routing-loop",
            AttemptOutcome::Refused(error, sender, _) => match (Some(*sender) == server, is_port_unreachable(error)) {
                (true, true) if self.case.session.forwarded_to().is_some() => "not-forwarded",
                (true, true) => "gateway-not-listening",
                (true, false) => "refused-by-gateway",
                (false, _) => "refused-on-the-way",
            },
            AttemptOutcome::Alert(..) | AttemptOutcome::SealedAlert(_) if self.stale => "stale-session",
            AttemptOutcome::Alert(alert, by) => self.alert_cause(*alert, *by),
            AttemptOutcome::SealedAlert(_) => "finished-rejected",
            AttemptOutcome::NoReply => self.silence(port),
            AttemptOutcome::FinishedLost if self.finished_arrives() => "finished-ignored",
            AttemptOutcome::FinishedLost => "finished-lost",
            AttemptOutcome::StalledAfterHelloVerify => self.after_cookie(),
            _ => self.half_way(),
        }
    }

    /// Nothing came back: who may have swallowed it.
    fn silence(&self, port: u16) -> &'static str {
        let beside = self.case.session.beside();
        if !beside.strangers.is_empty() {
            return "answers-from-other-address";
        }
        match self.there() {
            Some(there) if there.answers > 0 => return "answers-lost",
            Some(there) if there.sees_answers() => return "gateway-silent",
            None if self.vantage() == Some(Vantage::Outside) => return "gateway-silent",
            _ => {}
        }
        let quic = &beside.quic;
        if port == DEFAULT_PORT && !quic.asked.is_empty() && quic.answered.is_empty() {
            "udp-443-blocked-for-quic"
        } else if port != DEFAULT_PORT {
            "port-blocked"
        } else {
            "silent-drop"
        }
    }

    /// The attempts as the nearest point saw them.
    fn near(&self) -> impl Iterator<Item = &AttemptFacts> {
        self.failed.iter().filter(|j| j.view.point == self.near).map(|j| j.facts)
    }

    /// HelloVerifyRequest came: why no ServerHello.
    fn after_cookie(&self) -> &'static str {
        let (cookies, echoed) = self.near().fold((0, 0), |(c, e), f| (c.max(f.cookies), e.max(f.echoed)));
        let sent = self.there().filter(|_| self.is_lost_on_the_way_back()).map(|there| there.largest);
        if let Some(word) = self.fragments() {
            word
        } else if self.near().any(AttemptFacts::lacks_messages) || sent.is_some_and(|largest| largest > LARGE) {
            "large-datagrams-lost"
        } else if sent.is_some() {
            "answers-lost"
        } else if cookies >= LOOP && echoed >= LOOP - 1 || self.cookies_from_elsewhere() > 1 {
            "hello-verify-loop"
        } else if self.lacks_cookie() {
            self.untaken()
        } else {
            "gateway-silent-after-cookie"
        }
    }

    /// Attempts that began with a cookie the gateway had given to another port or address.
    fn cookies_from_elsewhere(&self) -> usize {
        self.near().filter(|f| f.with_cookie == f.hellos && f.hello_verify().is_some()).count()
    }

    /// No ClientHello gave a cookie back.
    fn lacks_cookie(&self) -> bool {
        self.near().all(|f| f.with_cookie == 0)
    }

    /// The client takes up no answer: they do not reach it, or, at its own interface, come when it has given up, or something there
    /// drops them.
    fn untaken(&self) -> &'static str {
        if !self.at_client() {
            return "answers-lost";
        }
        let mut heard = self.near().filter_map(|f| Some((f.last(), f.first_answer()?))).peekable();
        let is_late =
            heard.peek().is_some() && heard.all(|(last_hello, answer)| answer.seconds_since(last_hello) >= LATE);
        if is_late { "answers-late" } else { "ignored-by-client" }
    }

    /// The client's Finished is seen to come to the gateway's outside interface.
    fn finished_arrives(&self) -> bool {
        let outside = if self.vantage() == Some(Vantage::Outside) { Some(self.near) } else { self.gateway_point() };
        let mut there = self.failed.iter().filter(|j| Some(j.view.point) == outside);
        there.any(|j| j.outcome == AttemptOutcome::FinishedLost)
    }

    /// What an alert of the handshake says (RFC 5246 §7.2.2): about the hellos, unless the gateway had chosen already.
    fn alert_cause(&self, alert: Alert, by: Direction) -> &'static str {
        let has_chosen = self.near().any(|f| f.server_hellos() > 0);
        let refuses = by == Direction::ToServer && has_chosen;
        match alert.description {
            20 | 50 | 51 => "finished-rejected",
            _ if refuses && self.near().any(|f| f.certificate) => "full-handshake",
            40 | 47 | 71 if !has_chosen => "no-common-cipher",
            70 | 86 => "protocol-version",
            _ => "alert",
        }
    }

    /// The rest of the gateway's flight came without its ServerHello.
    fn lacks_hello(&self) -> bool {
        self.near().all(|f| f.server_hellos() == 0)
    }

    /// How often the client was seen to answer the gateway's flight.
    fn answers(&self) -> u32 {
        let of_client = |m: &Message| m.kind == MessageKind::ChangeCipherSpec && m.direction == Direction::ToServer;
        self.near().flat_map(|f| f.messages()).filter(of_client).map(|m| m.count).max().unwrap_or(0)
    }

    /// It did, and none of that reached the gateway.
    fn answer_is_lost(&self) -> bool {
        let Some(gateway) = self.gateway_point().filter(|gateway| *gateway != self.near) else { return false };
        let mut there = self.failed.iter().filter(|j| j.view.point == gateway).map(|j| j.facts).peekable();
        let arrived = |f: &AttemptFacts| *Direction::ToServer.of(&f.ccs) || f.is_protected(Direction::ToServer);
        self.answers() > 0 && there.peek().is_some() && !there.any(arrived)
    }

    /// A ServerHello came: why not the rest.
    fn half_way(&self) -> &'static str {
        if let Some(word) = self.fragments() {
            word
        } else if self.near().any(AttemptFacts::lacks_messages) {
            "large-datagrams-lost"
        } else if self.answer_is_lost() {
            "finished-lost"
        } else if self.lacks_hello() || self.is_lost_on_the_way_back() {
            "answers-lost"
        } else if self.stale {
            "stale-session"
        } else if self.near().any(|f| f.certificate) {
            "full-handshake"
        } else if self.outcome == AttemptOutcome::ClientDidNotFinish {
            self.untaken()
        } else {
            "gateway-silent-after-server-hello"
        }
    }

    fn headline(&self, likely: &str) -> String {
        let what = match likely {
            "silent-drop" | "port-blocked" => "the client's ClientHellos get no answer",
            "udp-443-blocked-for-quic" => "UDP/443 gets no answer anywhere, as where QUIC is blocked",
            "routing-loop" => "its packets run out of hops on the way",
            "refused-on-the-way" => "a hop on the way refuses its packets",
            "gateway-not-listening" => "nothing listens on the gateway's UDP port",
            "not-forwarded" => "the device that forwards TCP to the gateway does not forward UDP",
            "refused-by-gateway" => "the gateway refuses its packets",
            "answers-lost" => "the gateway's answers do not reach the client",
            "gateway-silent" => "the gateway does not answer the ClientHellos",
            "answers-from-other-address" => "the answers come from another address or port than the one asked",
            "hello-verify-loop" => "the gateway asks for a new cookie for ever",
            "gateway-silent-after-cookie" => "the handshake stalls after HelloVerifyRequest",
            "gateway-silent-after-server-hello" => "the handshake stalls after ServerHello",
            "large-datagrams-lost" => "the large datagrams of the handshake are lost",
            "fragments-lost" => "fragments of the handshake are lost",
            "fragments-unseen" => "it stalls, and the capture does not show the fragments of the handshake",
            "full-handshake" => "the gateway does not resume the session, and the client refuses a full handshake",
            "stale-session" => "the client names the session of an earlier tunnel",
            "no-common-cipher" => "client and gateway have no cipher in common",
            "protocol-version" => "client and gateway speak no common DTLS version",
            "finished-lost" => "the client's Finished does not reach the gateway",
            "finished-ignored" => "the client's Finished reaches the gateway, which does not go on",
            "ignored-by-client" => "the gateway's answers reach the client, which takes up none",
            "answers-late" => "the gateway's answers come when the client has given up",
            "finished-rejected" => "the two ends do not share the secret",
            _ => "an alert ends the handshake",
        };
        match self.later {
            None if self.works_elsewhere => {
                format!("on the first tunnel DTLS never came up, on another it did: {what}")
            }
            Some(seconds) => format!("on the tunnel opened at {seconds:.0} s DTLS never came up: {what}"),
            None => format!("DTLS never came up: {what}"),
        }
    }

    fn summary(&self, likely: &str) -> String {
        let here = self.here();
        let attempts = distinct(self.failed.iter().map(|j| j.facts));
        let tries = if attempts > 1 { format!(" ({attempts} attempts)") } else { String::new() };
        let over = if here.hellos > 1 { format!(" in {}", elapsed(here.last - here.first)) } else { String::new() };
        let mut text = format!(
            "{}{}{tries} from the client, seen at {}: {}.",
            count(u64::from(here.hellos), "ClientHello"),
            over,
            self.case.place(self.near),
            self.stage_words()
        );
        text.push_str(&self.placed_words());
        text.push_str(&self.cause_words(likely));
        text
    }

    fn stage_words(&self) -> String {
        let from = |direction: &Direction| if *direction == Direction::ToClient { "gateway" } else { "client" };
        match &self.outcome {
            AttemptOutcome::NoReply => "nothing came back".to_owned(),
            AttemptOutcome::Refused(error, sender, frame) => {
                format!("refused by {sender} with {} in frame {}", icmp_words(error), frame.number)
            }
            AttemptOutcome::StalledAfterHelloVerify if self.here().answers == 0 => {
                "with the cookie of a HelloVerifyRequest that came before the capture; nothing more came back".to_owned()
            }
            AttemptOutcome::StalledAfterHelloVerify if self.lacks_fragments() => {
                "the gateway sent HelloVerifyRequest, and after the ClientHello with its cookie only pieces of what followed"
                    .to_owned()
            }
            AttemptOutcome::StalledAfterHelloVerify if self.lacks_cookie() => {
                "the gateway sent HelloVerifyRequest, and no ClientHello with its cookie followed".to_owned()
            }
            AttemptOutcome::StalledAfterHelloVerify => {
                "the gateway sent HelloVerifyRequest, and after the ClientHello with its cookie nothing more".to_owned()
            }
            AttemptOutcome::StalledAfterServerHello if self.answers() > 0 => format!(
                "the gateway's flight came, the client answered it {}, and the gateway's Finished never came",
                count(u64::from(self.answers()), "time")
            ),
            AttemptOutcome::StalledAfterServerHello if self.lacks_hello() => {
                "of the gateway's flight ServerHelloDone came, and no ServerHello".to_owned()
            }
            AttemptOutcome::StalledAfterServerHello => {
                "a ServerHello came, but the handshake stalled before the server's flight was whole".to_owned()
            }
            AttemptOutcome::ClientDidNotFinish => {
                "the gateway sent its whole flight, and no answer of the client came".to_owned()
            }
            AttemptOutcome::FinishedLost => {
                "both Finished went, and the gateway goes on repeating its own and sends no data".to_owned()
            }
            AttemptOutcome::Alert(alert, direction) => format!("the {} ended it with alert {alert}", from(direction)),
            AttemptOutcome::SealedAlert(direction) => {
                format!("both Finished went, and the {} answered with an encrypted alert", from(direction))
            }
            AttemptOutcome::Completed | AttemptOutcome::CutShort | AttemptOutcome::NotObservable(_) => String::new(),
        }
    }

    fn placed_words(&self) -> String {
        let here = self.here();
        let (gateway, is_whole) = match &self.placed {
            Placed::Nowhere => return String::new(),
            Placed::Unknown(gateway, why) => {
                return format!(" Whether they arrived at {} cannot be told: {why}.", self.case.place(*gateway));
            }
            Placed::NoUdp(gateway) => {
                return format!(
                    " At {} none shows, nor any other UDP: unless the capture there left UDP out, they are lost between the two.",
                    self.case.place(*gateway)
                );
            }
            Placed::Unseen(gateway, _) => {
                return format!(" None arrived at {}: lost between the two.", self.case.place(*gateway));
            }
            Placed::Seen(gateway, is_whole) => (gateway, *is_whole),
        };
        let place = self.case.place(*gateway);
        match self.seen.get(gateway) {
            None => String::new(),
            Some(there) if !there.sees_answers() => {
                format!(" At {place} {} of them arrived; answers would not have shown there.", there.hellos)
            }
            Some(there) if there.answers > here.answers => format!(
                " At {place} {} arrived and the gateway answered {}: its answers are lost on the way back.",
                there.hellos,
                count(u64::from(there.answers), "time")
            ),
            Some(there) if there.hellos < here.hellos && !is_whole => {
                format!(" At {place}, which was not captured all the while, {} of them show.", there.hellos)
            }
            Some(there) if there.hellos < here.hellos => format!(" At {place} only {} of them arrived.", there.hellos),
            Some(there) => {
                let flight =
                    if self.answer_is_lost() { " The client's answer to the gateway's flight did not." } else { "" };
                let all = if there.hellos == 1 { "It".to_owned() } else { format!("All {}", there.hellos) };
                format!(" {all} also arrived at {place}.{flight}")
            }
        }
    }

    /// The time in which an ICMP refusal would have shown, or why it would not.
    fn icmp_window(&self) -> Option<Result<Window, String>> {
        let judged = self.failed.iter().find(|j| j.view.point == self.near)?;
        let icmp = judged.view.icmp(Direction::ToServer);
        Some(self.case.window(self.near, icmp, judged.facts.first, judged.facts.last()))
    }

    /// Why a hop may have refused it all the same, where ICMP would not show.
    fn unseen_refusal(&self) -> String {
        let unseen = self.icmp_window().and_then(Result::err);
        unseen.map_or(String::new(), |why| format!(" Whether ICMP refused it cannot be told: {why}."))
    }

    fn cause_words(&self, likely: &str) -> String {
        let session = self.case.session;
        let quic = &session.beside().quic;
        match likely {
            "udp-443-blocked-for-quic" => format!(
                " QUIC control: Initials to {} got no answer either.",
                count(quic.asked.len() as u64, "other host")
            ),
            "silent-drop" => {
                let control = if quic.asked.is_empty() { " QUIC control: none in the capture." } else { "" };
                format!("{control}{}", self.unseen_refusal())
            }
            "answers-from-other-address" => session.beside().strangers.first().map_or(String::new(), |s| {
                let (messages, port) = (count(u64::from(s.messages), "DTLS message"), s.from.port());
                let ip = s.from.ip();
                let what = if self.server().0 == Some(ip) { "port" } else { "address" };
                format!(" {messages} from udp/{port} of {ip} came to the port it asks from: the gateway answers from another {what}.")
            }),
            "hello-verify-loop" if self.cookies_from_elsewhere() > 1 => {
                " Each cookie comes back from another port or address than it was given to, and counts for nothing there.".to_owned()
            }
            "hello-verify-loop" => {
                let cookies = self.failed.iter().map(|j| j.facts.cookies).max().unwrap_or_default();
                format!(" It gave {cookies} different cookies and accepted none of them back.")
            }
            "answers-lost" if self.lacks_hello() && self.outcome == AttemptOutcome::StalledAfterServerHello => {
                " A gateway sends that first: it was lost on its way to the client.".to_owned()
            }
            "answers-lost" if self.outcome == AttemptOutcome::StalledAfterServerHello => {
                " The gateway sent more of it than reached the client.".to_owned()
            }
            "answers-lost" if self.gateway_point().is_none() && self.here().hellos < 2 => {
                " Either the flight does not reach it, or its answer is lost.".to_owned()
            }
            "answers-lost" if self.gateway_point().is_none() => {
                " It goes on sending ClientHellos, so the gateway's answers do not seem to reach it.".to_owned()
            }
            "ignored-by-client" => {
                " Something on its machine keeps them from it: its firewall, or security software.".to_owned()
            }
            "answers-late" => {
                let waits = self.near().filter_map(|f| Some(f.first_answer()?.seconds_since(f.first)));
                let wait = waits.fold(f64::INFINITY, f64::min);
                format!(" The first came {} after the ClientHello.", elapsed(wait))
            }
            "full-handshake" => {
                " The ServerHello names another session and a certificate follows: the gateway does not \
                                 know the session it offered inside the tunnel, or another server answers."
                    .to_owned()
            }
            "stale-session" => {
                " Its session id is that of an earlier tunnel connection; each connection has its own.".to_owned()
            }
            "large-datagrams-lost" => {
                let (largest, sent) = (self.here().largest, self.there().map_or(0, |there| there.largest));
                let behind = match sent > largest {
                    true => format!("the gateway sent some of {sent} B"),
                    false => "messages behind it lack pieces".to_owned(),
                };
                format!(" The largest datagram of the handshake that came measures {largest} B; {behind}.")
            }
            "fragments-unseen" => self.unseen_fragments().map_or(String::new(), |why| {
                format!(" What followed came in IP fragments, and whether all of them arrived cannot be told: {why}.")
            }),
            "fragments-lost" => {
                let lost: u32 = session.beside().incomplete.iter().map(|(_, i)| i.datagrams).sum();
                format!(" {} between the two never became whole.", count(u64::from(lost), "fragmented datagram"))
            }
            _ => String::new(),
        }
    }

    fn ruled_out(&self, likely: &str) -> Vec<RuledOut> {
        let session = self.case.session;
        let mut all = Vec::new();
        let mut rule = |what, why: String| all.push(RuledOut { what, why });
        let silent = matches!(self.outcome, AttemptOutcome::NoReply);
        let quic = &session.beside().quic;
        if silent && !quic.answered.is_empty() {
            let hosts = count(quic.answered.len() as u64, "other host");
            rule("a block of UDP/443 as a whole", format!("QUIC was answered by {hosts}"));
        }
        let (_, port) = self.server();
        if silent && port == DEFAULT_PORT {
            rule("a non-default DTLS port", format!("the client uses udp/{DEFAULT_PORT}"));
        }
        if silent && let Some(Ok(window)) = self.icmp_window() {
            let seconds = window.seconds();
            rule("a refusal by ICMP", format!("none came in {seconds:.1} s, and the capture would have shown it"));
        }
        if likely != "gateway-silent"
            && let Some(at) = session.tunnels().filter_map(|t| t.last_data()).max()
            && self.failed.iter().all(|j| j.facts.first < at)
        {
            rule("a dead path", "the TLS tunnel to the same gateway went on carrying records".to_owned());
        }
        all
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut evidence: Vec<Evidence> = Vec::new();
        for judged in &self.failed {
            let frames: Vec<FrameRef> = judged.facts.hello_frames().map(|(f, _)| f).collect();
            let hellos = count(u64::from(judged.facts.hellos), "ClientHello");
            let note = format!("{hellos} at {}: {}", self.case.place(judged.view.point), gaps(judged));
            evidence.push(Evidence::Frames(frames, note));
        }
        for judged in &self.failed {
            if let AttemptOutcome::Refused(error, sender, frame) = &judged.outcome {
                evidence.push(Evidence::Frames(vec![*frame], format!("{} from {sender}", icmp_words(error))));
            }
            if let (n, Some((_, frame))) = (judged.facts.hello_verifies(), judged.facts.hello_verify()) {
                let note = format!("first of {}", count(u64::from(n), "HelloVerifyRequest"));
                evidence.push(Evidence::Frames(vec![frame], note));
            }
            if let (n, Some((_, frame))) = (judged.facts.server_hellos(), judged.facts.server_hello()) {
                evidence
                    .push(Evidence::Frames(vec![frame], format!("first of {}", count(u64::from(n), "ServerHello"))));
            }
            if let Some((_, frame, _, alert)) = judged.facts.alert() {
                evidence.push(Evidence::Frames(vec![frame], format!("alert {alert}")));
            }
        }
        let beside = self.case.session.beside();
        if matches!(self.outcome, AttemptOutcome::NoReply) {
            if !beside.quic.frames.is_empty() {
                evidence.push(Evidence::Frames(beside.quic.frames.clone(), "QUIC Initials to other hosts".to_owned()));
            }
            let strangers: Vec<FrameRef> = beside.strangers.iter().map(|s| s.frame).collect();
            if !strangers.is_empty() {
                evidence.push(Evidence::Frames(strangers, "DTLS answers from another address".to_owned()));
            }
        }
        if let Placed::Unseen(point, window) = self.placed {
            evidence.push(Evidence::Absence(window, format!("no ClientHello at {}", self.case.place(point))));
        }
        evidence
    }

    fn filters(&self) -> Vec<Filter> {
        // One UDP stream may be seen at several points of one merged capture: Wireshark counts them together.
        let mut streams: BTreeMap<(u16, u32), u64> = BTreeMap::new();
        for judged in &self.failed {
            let key = (judged.view.opened.first_frame.capture, judged.view.opened.stream);
            *streams.entry(key).or_default() += u64::from(judged.facts.hellos);
        }
        let filter = |((capture, stream), hellos)| Filter {
            // An ICMP error quotes the ClientHello it refuses, and Wireshark looks into the quote.
            filter: format!("dtls.handshake.type == 1 && udp.stream == {stream} && !icmp && !icmpv6"),
            capture,
            shows: "the ClientHellos".to_owned(),
            frames: Some(hellos),
        };
        streams.into_iter().map(filter).collect()
    }

    fn remedy(&self, likely: &str) -> Vec<String> {
        let (server, port) = self.server();
        let gateway = server.map_or("the gateway".to_owned(), |s| s.to_string());
        let first = match (likely, &self.outcome) {
            ("gateway-not-listening", _) => format!(
                "enable DTLS on the gateway's outside interface (`anyconnect enable`, `dtls port {port}` under `webvpn`), \
                 or correct the port the client is told; if {gateway} only forwards to the gateway, forward udp/{port} there as well"
            ),
            ("not-forwarded", _) => {
                let own = self.case.session.forwarded_to().map_or(String::new(), |own| format!(" to {own}"));
                format!("forward udp/{port}{own} on {gateway}, as it does with TCP")
            }
            ("refused-by-gateway", AttemptOutcome::Refused(error, ..)) => {
                format!("see on the gateway why it refuses udp/{port} ({}): access rule, control plane", icmp_words(error))
            }
            ("refused-on-the-way", AttemptOutcome::Refused(_, sender, _)) => {
                format!("permit udp/{port} to {gateway} on {sender}, which refuses it")
            }
            ("routing-loop", AttemptOutcome::Refused(_, sender, _)) => {
                format!("see the routes to {gateway} at {sender}: the packets go round until their TTL is used up")
            }
            ("udp-443-blocked-for-quic", _) => format!(
                "permit udp/{port} to {gateway} beside the rule that blocks QUIC: an exception for this destination is enough"
            ),
            ("silent-drop" | "port-blocked", _) => {
                format!("permit udp/{port} to {gateway} and back, on every firewall between the client and the gateway")
            }
            ("answers-lost", _) => format!(
                "see what drops the answers from udp/{port} of {gateway} on their way to the client: a firewall that \
                 permits one way only, or a route back over another one"
            ),
            ("gateway-silent", _) => {
                format!("see on the gateway why udp/{port} gets no answer (`show asp drop`, DTLS enabled on the interface?)")
            }
            ("answers-from-other-address", _) => format!(
                "make the answers leave with the address and port that were asked ({gateway}, udp/{port}): NAT or routing of UDP differs from TCP"
            ),
            ("hello-verify-loop", _) => {
                "keep the client's address and port the same on every packet: a load balancer or NAT in front of the \
                 gateway changes them, and the cookie is made of them"
                    .to_owned()
            }
            ("gateway-silent-after-cookie" | "gateway-silent-after-server-hello", _) => {
                format!("see on the gateway why it does not go on (udp/{port}): `debug webvpn`, `show asp drop`")
            }
            ("finished-lost", _) => format!(
                "see what drops the client's datagrams to udp/{port} of {gateway} that are not its ClientHellos: they are sealed, \
                 and larger or smaller"
            ),
            ("finished-ignored", _) => {
                format!("see on the gateway what becomes of the client's Finished (udp/{port}): `show asp drop`, `debug webvpn`")
            }
            ("ignored-by-client", _) => remedy::client_drops(&gateway),
            ("answers-late", _) => {
                format!("see what holds UDP between {gateway} and the client up: a path of seconds, or a queue that is full")
            }
            ("large-datagrams-lost", _) => format!(
                "see what drops the larger datagrams between {gateway} and the client: a link with a small MTU, or a \
                 firewall that limits their size"
            ),
            ("fragments-unseen", _) => format!(
                "capture once more with a filter that names no port (`host {gateway}`): later IP fragments carry none"
            ),
            ("fragments-lost", _) => {
                format!("let IP fragments between {gateway} and the client pass, or keep its datagrams below the path's MTU")
            }
            ("full-handshake" | "stale-session" | "finished-rejected", _) => {
                "see whether tunnel and DTLS reach the same device: behind a load balancer the DTLS session is unknown to \
                 the other one; after a reconnect the client must use the new session"
                    .to_owned()
            }
            ("no-common-cipher", _) => {
                "give DTLS a cipher both ends know (`ssl cipher dtlsv1`, `ssl cipher dtlsv1.2`)".to_owned()
            }
            ("protocol-version", _) => {
                "permit the DTLS version the client speaks (`ssl server-version … dtlsv1.2`), or update the client".to_owned()
            }
            _ => "correct what the alert names".to_owned(),
        };
        let all = [Some(first), remedy::equal_mtus(self.case.session), Some(remedy::TLS_ONLY.to_owned())];
        all.into_iter().flatten().collect()
    }
}

/// Looks for what the point near the client saw fail at the gateway's outside interface; of several captures there one will do.
fn placed(case: &Case<'_>, episode: &Episode<'_>, near: PointId, seen: &BTreeMap<PointId, Seen>) -> Placed {
    let here = || episode.judged.iter().filter(|j| j.view.point == near && j.outcome.failed());
    let first = here().map(|j| j.facts.first).min();
    let last = here().filter_map(|j| j.facts.hello_frames().last()).map(|(_, at)| at).max();
    let Some(((first, last), judged)) = first.zip(last).zip(here().next()) else { return Placed::Nowhere };
    let until = last.plus_seconds(-LEEWAY).max(first.plus_seconds(LEEWAY));
    let port = judged.view.opened.endpoints().server.port();
    let whole = |point| case.whole_window(point, Sight::Udp(port), first, until);
    let outside = case.at(Vantage::Outside);
    if let Some(point) = outside.iter().copied().find(|point| seen.contains_key(point)) {
        return Placed::Seen(point, whole(point).is_ok());
    }
    // an attempt that the capture's end cut short there, for one
    if let Some(judged) = episode.judged.iter().find(|j| outside.contains(&j.view.point)) {
        let why = "the capture there ends too soon after the first that did";
        return Placed::Unknown(judged.view.point, why.to_owned());
    }
    let missing = |point| whole(point).and_then(|_| case.window(point, Sight::Udp(port), first, last));
    let mut missed = outside.into_iter().map(|point| (point, missing(point)));
    let mut reason = None;
    let unseen = missed.find_map(|(point, window)| match window {
        Ok(window) => Some(Placed::Unseen(point, window)),
        Err(why) => {
            let is_bare =
                case.point(point).is_some_and(|p| !p.saw_udp && !p.tells_filter && p.was_capturing(first, until));
            reason.get_or_insert(if is_bare { Placed::NoUdp(point) } else { Placed::Unknown(point, why) });
            None
        }
    });
    unseen.or(reason).unwrap_or(Placed::Nowhere)
}

fn is_port_unreachable(error: &crate::event::IcmpError) -> bool {
    (error.icmp_type, error.code) == if error.v6 { (1, 4) } else { (3, 3) }
}

/// The back-off, as seconds after the first ClientHello.
fn gaps(judged: &Judged<'_>) -> String {
    let times: Vec<String> = judged
        .facts
        .hello_frames()
        .take(12)
        .map(|(_, at)| format!("{:.1}", at.seconds_since(judged.facts.first)))
        .collect();
    format!("at {} s", times.join(", "))
}
