//! A handshake as a ladder: who sent what, when, how often, how far it came, and what never came.
//!
//! Promises: every rung is a fact of the session or an absence its capture could have shown; bounded. Refuses: to draw.

mod dtls;
mod steps;
mod tls;

use crate::event::FrameRef;
use crate::finding::Case;
use crate::session::Connection;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// What a silence is drawn with.
const WITHOUT_ANSWER: &str = "records without an answer";
const ANY_RECORD: &str = "any record";

/// Ladders kept per session.
pub const MAX_LADDERS: usize = 4;
/// Rungs kept per ladder; the first ones, which show how it began.
pub const MAX_RUNGS: usize = 40;
/// A tunnel without an answer for so long gets a rung that says so, seconds.
const UNANSWERED: f64 = 2.0;

/// One handshake between client and gateway, top to bottom in time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Ladder {
    /// `dtls`: a DTLS handshake; `tls`: a tunnel connection; `reconnect`: the end of one and the begin of the next.
    pub kind: String,
    /// What it shows, a clause.
    pub title: String,
    /// How it went, a clause.
    pub outcome: String,
    /// True when the handshake did what it is for.
    pub completed: bool,
    /// The client's end: address and port.
    pub client: String,
    /// The gateway's end: address and port.
    pub gateway: String,
    /// Index into `captures` of the point it is told from.
    pub capture: u16,
    /// Vantage of that point.
    pub vantage: String,
    /// `tcp.stream 1` or `udp.stream 0` in that capture.
    pub stream: String,
    /// Ids of the detectors whose findings it illustrates; empty when the findings have no handshake of their own.
    pub detectors: Vec<String>,
    /// The rungs.
    pub rungs: Vec<Rung>,
    /// Rungs left out because of the bound.
    pub rungs_dropped: u64,
}

/// One arrow of a ladder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Rung {
    /// `client`, `gateway`, or `hop`: neither of them, an ICMP error's sender.
    pub from: String,
    /// What was sent, or never came: the standards' names of the messages.
    pub what: String,
    /// `arrived`: seen at the receiver's end, or answered; `sent`: seen, and nothing tells whether it arrived;
    /// `lost`: seen, and not at the receiver's end where it would have been seen; `never-came`: not seen where it would have been.
    pub fate: String,
    /// When, RFC 3339; for what never came: since when it was due.
    pub at: String,
    /// Seconds since the session's start.
    pub seconds: f64,
    /// How often, repeats included; 0 for what never came.
    pub count: u64,
    /// Seconds since the session's start of the last of them; absent when there is one.
    pub until_seconds: Option<f64>,
    /// `frame.number` of the first; absent for what never came, and where it was not kept.
    pub frame: Option<u32>,
    /// Index into `captures`.
    pub capture: u16,
    /// How long it was waited for, seconds; only for what never came.
    pub waited_seconds: Option<f64>,
    /// What else is to be said of it: where it was lost, who sent it; may be empty.
    pub note: String,
}

/// The ladders of a session: those its findings tell of, worst first, or else the handshake that worked.
///
/// `findings` gives each finding's detector and evidence frames, root causes first.
pub fn of(case: &Case<'_>, findings: &[(String, BTreeSet<FrameRef>)]) -> Vec<Ladder> {
    let mut candidates = candidates(case);
    let mut chosen: Vec<usize> = Vec::new();
    for (detector, evidence) in findings {
        let fit = |i: usize| {
            let candidate = candidates.get(i)?;
            let shared = candidate.frames.intersection(evidence).count();
            // One that worked and then fell silent tells more than the attempts behind it; of equal ones, the earliest.
            let is_silence = !candidate.silence.is_disjoint(evidence);
            (shared > 0).then_some((is_silence, shared, std::cmp::Reverse(i)))
        };
        let Some((is_silence, _, std::cmp::Reverse(best))) = (0..candidates.len()).filter_map(fit).max() else {
            continue;
        };
        if let Some(candidate) = candidates.get_mut(best) {
            candidate.ladder.detectors.push(detector.clone());
            candidate.is_told_silent |= is_silence;
        }
        if !chosen.contains(&best) {
            chosen.push(best);
        }
    }
    if chosen.is_empty() {
        chosen.extend(typical(&candidates));
    }
    chosen.truncate(MAX_LADDERS);
    chosen.iter().filter_map(|i| candidates.get(*i)).map(Candidate::told).collect()
}

/// A ladder, and the frames by which a finding claims it.
struct Candidate {
    ladder: Ladder,
    frames: BTreeSet<FrameRef>,
    /// The frames of records that stayed without an answer, and of the last answer.
    silence: BTreeSet<FrameRef>,
    is_told_silent: bool,
}

impl Candidate {
    fn new(ladder: Ladder, frames: BTreeSet<FrameRef>) -> Candidate {
        Candidate { ladder, frames, silence: BTreeSet::new(), is_told_silent: false }
    }

    /// A keepalive needs no answer: silence is drawn where a finding says that it is one.
    fn told(&self) -> Ladder {
        let mut ladder = self.ladder.clone();
        if !self.silence.is_empty() && !self.is_told_silent {
            ladder.rungs.retain(|rung| rung.what != WITHOUT_ANSWER && rung.what != ANY_RECORD);
        }
        ladder
    }
}

/// What stands for a session without a handshake to blame: DTLS that came up, else the first tunnel connection.
fn typical(candidates: &[Candidate]) -> Option<usize> {
    let first = |wanted: &dyn Fn(&Ladder) -> bool| candidates.iter().position(|c| wanted(&c.ladder));
    first(&|l| l.kind == "dtls" && l.completed)
        .or_else(|| first(&|l| l.kind == "dtls"))
        .or_else(|| first(&|l| l.kind == "tls"))
}

fn candidates(case: &Case<'_>) -> Vec<Candidate> {
    let session = case.session;
    let mut all: Vec<Candidate> = session.dtls.iter().filter_map(|flow| dtls::handshake(case, flow)).collect();
    all.extend(session.reconnects.iter().filter_map(|r| tls::reconnect(case, r)));
    // A connection that began before the capture has no handshake to draw.
    let begins = |c: &&Connection| {
        let view = c.best();
        view.opened.syn().is_some() || view.tls.as_ref().is_some_and(|tls| tls.client_hello.is_some())
    };
    all.extend(session.tunnels().filter(begins).map(|connection| tls::tunnel(case, connection)));
    all
}
