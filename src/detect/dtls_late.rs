//! DTLS comes up, but late: until then the adapter is set up for it, and the TLS tunnel carries less.

use super::remedy;
use crate::event::{Alert, FrameRef, PointId, Timestamp, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Finding, Grade, Outcome, RuledOut, Severity, Wanted, count, elapsed,
    frame_filters,
};
use crate::session::attempt::{AttemptOutcome, Episode, Judged, PATIENCE, episodes};
use crate::session::coverage::hides_answers;
use crate::session::facts::{AttemptFacts, DtlsFacts};
use crate::session::{DtlsFlow, Session};
use std::collections::BTreeMap;

const PLACED: Grade = Grade::high("captures at both ends show the ClientHellos and where they go unanswered");
const LOSSLESS: &str = "when DTLS comes up, from a capture that loses no frames";

const SEEN: Grade = Grade::high("the handshake's packets show when it was tried and when it was done");

pub static DETECTOR: Detector = Detector {
    id: "dtls-late",
    title: "DTLS comes up late",
    severity: Severity::Medium,
    judged_from: &[Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::OfAny,
    leads_to: &["oversized-df", "missing-frag-needed", "frag-needed-ignored", "tcp-over-tcp"],
    question: "when DTLS comes up",
    explanation: "\
The client tries DTLS again and again, and after a while it comes up: a firewall opens late, a gateway or load balancer was not \
ready, the path lost everything before. Until then the data goes over the TLS tunnel, while the client's adapter already has the \
larger MTU of DTLS: whatever is larger than the TLS tunnel carries is dropped, as in note 116881, and downloads hang until DTLS \
is up. Users see a VPN that is slow or dead for its first minute and then works.

Found when DTLS came up 12 s or more after the first ClientHello on the same tunnel connection; not by a capture that \
may have lost the answers, as acknowledged TCP that it lacks tells.

- `hellos-lost`: captures at both ends, and the early ClientHellos did not reach the gateway
- `gateway-late`: they did, or the gateway's outside interface alone was captured, and the gateway did not answer
- `answers-lost`: its outside interface shows an answer that the client did not get, or that it did not take up
- `alert`: an alert ended an earlier attempt",
    confidence: &[PLACED, SEEN],
    remedy: &[
        "find what keeps udp/443 from passing, or the gateway from answering, in the first minute",
        remedy::MTU_1300,
    ],
    references: &["Cisco TAC 116881", "RFC 6347 §4.2.4.1"],
    since: "0.1.0",
    check,
};

/// A handshake that took long.
struct Late<'a> {
    case: &'a Case<'a>,
    /// The first ClientHello, as the point nearest to the client saw it.
    first: Timestamp,
    near: PointId,
    /// When the first answer came there, and when DTLS was up.
    answered: Timestamp,
    done: (Timestamp, FrameRef),
    /// ClientHellos that went unanswered, and their frames, by point.
    hellos: BTreeMap<PointId, (u32, Vec<FrameRef>)>,
    /// The gateway's end shows an answer to an attempt of which nothing came.
    is_answer_lost: bool,
    /// The alert that ended an attempt before.
    alert: Option<(FrameRef, Alert)>,
}

impl<'a> Late<'a> {
    fn of(case: &'a Case<'a>, episode: &Episode<'a>) -> Option<Late<'a>> {
        let facts = || episode.judged.iter().map(|judged| judged.facts);
        // Where the snap length cut off the end of a handshake, it shows too late: it may have been done with the ServerHello.
        let done = |attempt: &AttemptFacts| match attempt.is_cut() {
            true => attempt.completed_at().and(attempt.server_hello()),
            false => attempt.completed_at(),
        };
        let done = facts().filter_map(done).min()?;
        let early = || episode.judged.iter().filter(|judged| judged.facts.first < done.0);
        let points = || early().map(|judged| judged.view.point);
        let client = case.at(Vantage::Client).into_iter().find(|client| points().any(|point| point == *client));
        let near = client.or_else(|| points().min())?;
        let answers = early().filter(|j| j.view.point == near).filter_map(|j| j.facts.first_answer());
        let answered = answers.min().unwrap_or(done.0);
        let mut hellos: BTreeMap<PointId, (u32, Vec<FrameRef>)> = BTreeMap::new();
        for judged in early().filter(|judged| judged.facts.first <= answered) {
            let (count, frames) = hellos.entry(judged.view.point).or_default();
            let before = judged.facts.hello_frames().filter(|(_, at)| *at < answered).map(|(frame, _)| frame);
            frames.extend(before);
            *count += judged.facts.hellos.saturating_sub(judged.facts.with_cookie);
        }
        // The last one was answered.
        hellos.values_mut().for_each(|(count, _)| *count = count.saturating_sub(1));
        let first = early().filter(|j| j.view.point == near).map(|j| j.facts.first).min()?;
        // On a tunnel that began before the capture it had been up already, and died.
        let is_before = |flow: &DtlsFlow| flow.was_up() && flow.start() <= first;
        if episode.tunnel.is_none() && case.session.dtls.iter().any(is_before) {
            return None;
        }
        let ended = early().filter(|j| matches!(j.outcome, AttemptOutcome::Alert(..)));
        let alert = ended.filter_map(|j| j.facts.alert()).min_by_key(|(at, ..)| *at);
        let alert = alert.map(|(_, frame, _, alert)| (frame, alert));
        let in_vain = |j: &Judged<'_>| j.outcome.failed() && j.facts.came_back();
        let is_outside = |j: &Judged<'_>| case.vantage(j.view.point) == Some(Vantage::Outside);
        let mut seen = early().filter(|j| j.view.point == near && j.outcome.failed());
        let is_answer_lost =
            early().any(|j| is_outside(j) && in_vain(j)) && (client.is_none() || seen.any(|j| !j.facts.came_back()));
        let late = Late { case, first, near, answered, done, hellos, is_answer_lost, alert };
        (late.seconds() >= PATIENCE).then_some(late)
    }

    /// Until DTLS was up.
    fn seconds(&self) -> f64 {
        self.done.0.seconds_since(self.first)
    }

    fn here(&self) -> (u32, &[FrameRef]) {
        self.hellos.get(&self.near).map_or((0, &[]), |(count, frames)| (*count, frames))
    }

    fn is_at_gateway(&self) -> bool {
        self.case.vantage(self.near) == Some(Vantage::Outside)
    }

    /// How many ClientHellos the gateway's outside interface saw, when it was captured beside the client's.
    fn there(&self) -> Option<u32> {
        let outside = self.case.at(Vantage::Outside).into_iter().find(|point| *point != self.near)?;
        let (begins, _) = self.case.point(outside)?.span?;
        (begins <= self.first).then(|| self.hellos.get(&outside).map_or(0, |(count, _)| *count))
    }

    /// Where the time went.
    fn why(&self, unanswered: u32) -> String {
        let answered = elapsed(self.answered.seconds_since(self.first));
        if let Some((frame, alert)) = self.alert {
            return format!("an earlier attempt was ended by alert {alert} (frame {})", frame.number);
        }
        match unanswered {
            _ if self.is_answer_lost && self.is_at_gateway() => {
                format!(
                    "the gateway answered after {answered}, and the client, which goes on saying hello, did not take that up"
                )
            }
            0 => format!("the first answer came after {answered}, and the rest of the handshake took as long"),
            _ => {
                let hellos = count(u64::from(unanswered), "ClientHello");
                format!("{hellos} went unanswered, and the first answer came after {answered}")
            }
        }
    }

    /// Why the answers may have come in time all the same.
    fn doubt(&self) -> Option<String> {
        let point = self.case.point(self.near).filter(|_| self.alert.is_none())?;
        hides_answers(point, self.here().0)
    }

    fn finding(&self) -> Finding {
        let (sent, frames) = self.here();
        let there = self.there();
        let place = self.case.place(self.near);
        let mut summary = format!(
            "DTLS came up only {} after its first ClientHello, seen at {place}: {}. Until then the data went over TLS.",
            elapsed(self.seconds()),
            self.why(sent),
        );
        let likely = match there {
            _ if self.alert.is_some() => Some("alert"),
            _ if self.is_answer_lost => {
                if there.is_some() {
                    summary.push_str(" The gateway's outside interface shows an answer: it was lost on the way back.");
                }
                Some("answers-lost")
            }
            Some(arrived) if arrived < sent => {
                summary.push_str(&format!(
                    " {} of them reached the gateway's outside interface.",
                    if arrived == 0 { "None".to_owned() } else { arrived.to_string() }
                ));
                Some("hellos-lost")
            }
            Some(_) => {
                summary.push_str(" All of them reached the gateway's outside interface.");
                Some("gateway-late")
            }
            None if self.is_at_gateway() => Some("gateway-late"),
            None => None,
        };
        let port = self.case.session.dtls.first().map_or(443, |flow| flow.best().opened.endpoints().server.port());
        let find = match likely {
            Some("alert") => "correct what the alert of the earlier attempt names".to_owned(),
            Some("answers-lost") => format!(
                "find what keeps the answers from udp/{port} of the gateway from reaching the client at first: firewalls, NAT, load \
                 balancers between"
            ),
            Some("hellos-lost") => format!(
                "find what keeps udp/{port} from reaching the gateway at first: firewalls, NAT, load balancers between"
            ),
            Some(_) => format!(
                "see on the gateway why udp/{port} gets no answer at first (`show asp drop`, load, a load balancer behind)"
            ),
            None => format!(
                "capture at the gateway's outside interface too: whether the early ClientHellos to udp/{port} arrive there"
            ),
        };
        Finding {
            severity: Severity::Medium,
            grade: if there.is_some() { PLACED } else { SEEN },
            headline: format!("DTLS comes up only after {}", elapsed(self.seconds())),
            likely,
            ruled_out: vec![RuledOut {
                what: "DTLS blocked for good",
                why: format!("it was up {} after its first ClientHello", elapsed(self.seconds())),
            }],
            summary,
            evidence: [
                Evidence::Frames(frames.to_vec(), format!("ClientHellos up to the first answer at {place}")),
                Evidence::Frames(vec![self.done.1], "DTLS is up".to_owned()),
            ]
            .into_iter()
            .chain(self.alert.map(|(frame, alert)| Evidence::Frames(vec![frame], format!("alert {alert}"))))
            .collect(),
            filters: frame_filters(frames, "ClientHellos up to the first answer"),
            remedy: std::iter::once(find).chain(remedy::equal_mtus(self.case.session)).collect(),
            wanted: self.case.other_end("which of the early ClientHellos pass there"),
            ..Finding::default()
        }
    }
}

/// Did a handshake end long after the first one began? In most sessions none did, and nothing more need be asked.
fn may_be_late(session: &Session) -> bool {
    let seen = || session.dtls.iter().flat_map(|flow| &flow.views).filter_map(|view| view.dtls.as_deref());
    let done = seen().filter_map(DtlsFacts::last_completed).max();
    let began = seen().flat_map(|dtls| &dtls.attempts).map(|attempt| attempt.first).min();
    done.zip(began).is_some_and(|(done, began)| done.seconds_since(began) >= PATIENCE)
}

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let episodes = if may_be_late(session) { episodes(session, case.points) } else { Vec::new() };
    let late = episodes.iter().filter(|episode| episode.worked).filter_map(|episode| Late::of(case, episode));
    match late.max_by(|a, b| a.seconds().total_cmp(&b.seconds())) {
        Some(late) => match late.doubt() {
            None => Outcome::Found(Box::new(late.finding())),
            Some(why) => Outcome::unsettled(
                format!("DTLS shows only {} after its first ClientHello, but {why}", elapsed(late.seconds())),
                Some(Wanted { vantage: case.vantage(late.near).unwrap_or(Vantage::Client), why: LOSSLESS }),
                "whether DTLS came up late cannot be told",
            ),
        },
        None if session.dtls.iter().any(DtlsFlow::came_up) => Outcome::clear("DTLS came up within 12 s"),
        None => Outcome::clear("DTLS did not come up late: it did not come up, or was not tried"),
    }
}
