//! The TLS tunnel carries the data, and TCP inside TCP resends twice.

use super::remedy;
use crate::event::{Direction, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Filter, Finding, Grade, Outcome, RuledOut, Severity, elapsed, were,
};
use crate::session::Connection;
use crate::session::facts::FlowFacts;

/// Resent segments before anybody speaks of it.
const MANY: u32 = 20;
/// And so large a share of all, 1 = all.
const SHARE: f64 = 0.02;
/// From this share on users notice.
const NOTICED: f64 = 0.05;
/// Announcements of a closed window that count as a stall, when it was closed for so long in all, seconds.
const CLOSED: u16 = 3;
const STALLED: f64 = 0.5;

const COUNTED: Grade = Grade::high("resent segments and closed windows are counted in the capture");

pub static DETECTOR: Detector = Detector {
    id: "tcp-over-tcp",
    title: "The TLS tunnel resends and stalls",
    severity: Severity::Medium,
    judged_from: &[Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::OfTcp,
    leads_to: &[],
    question: "whether the TLS tunnel loses packets",
    explanation: "\
Without DTLS all traffic goes through one TCP connection. When that loses packets, it resends them and holds back everything \
behind them; the TCP connections inside it see a delay, take it for loss and resend too. Throughput collapses at loss rates that \
DTLS would hardly notice.

Found when a tunnel connection that carried the data, DTLS not being up, resent at least 20 segments and 2 % of those of one direction, \
or when one side announced a closed window three times or more. Where the first sending was lost before it was captured, a segment counts \
as resent when it fills a hole behind which three others had come (RFC 5681) and left after them: by its timestamp (RFC 7323), its IP id, \
or the round trip it takes to be asked for. What merely came in another order does not count. Medium from 5 % on or with closed windows.

- `loss`: segments are resent
- `receiver-full`: the receiver announces a closed window three times or more, for half a second in all: it cannot keep up",
    confidence: &[COUNTED],
    remedy: &["make DTLS work: it does not hold back what was not lost", remedy::TLS_ONLY],
    references: &["RFC 9293 §3.8.4 (zero windows), §3.8.1 (retransmission)", "Cisco TAC 116312 (DTLS and TLS tunnels)"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let up = |c: &Connection| session.dtls.iter().any(|d| d.worked() && d.start() < c.end() && d.end() > c.start());
    if session.tunnels().next().is_none() {
        return Outcome::cannot_tell("the TLS tunnel was not captured", None);
    }
    let mut bare = session.tunnels().filter(|c| !up(c)).peekable();
    if bare.peek().is_none() {
        return Outcome::clear("DTLS carried the data");
    }
    let both = [Direction::ToServer, Direction::ToClient];
    let all = bare.flat_map(|c| &c.views).flat_map(|view| both.map(|direction| Load { view, direction }));
    let Some(worst) = all.filter(|l| l.is_bad()).max_by(|a, b| a.share().total_cmp(&b.share())) else {
        return Outcome::clear("the TLS tunnel resent next to nothing, and no window was closed");
    };
    Outcome::Found(Box::new(worst.finding(case)))
}

/// One direction of a tunnel connection at one point.
struct Load<'a> {
    view: &'a FlowFacts,
    direction: Direction,
}

impl Load<'_> {
    fn resent(&self) -> u32 {
        *self.direction.of(&self.view.ended.retransmissions)
    }

    fn share(&self) -> f64 {
        let sent = *self.direction.of(&self.view.ended.packets);
        if sent > 0 { f64::from(self.resent()) / sent as f64 } else { 0.0 }
    }

    /// Closed windows its receiver announced: how often, and for how long in all, seconds.
    fn closed(&self) -> (u16, f64) {
        let closed = self.direction.reverse().of(&self.view.ended.seldom().zero_windows);
        (closed.segments, f64::from(closed.centiseconds) / 100.0)
    }

    /// Was its receiver's window closed often, and for more than a moment?
    fn is_full(&self) -> bool {
        let (times, seconds) = self.closed();
        times >= CLOSED && seconds >= STALLED
    }

    fn is_bad(&self) -> bool {
        self.resent() >= MANY && self.share() >= SHARE || self.is_full()
    }

    fn finding(&self, case: &Case<'_>) -> Finding {
        let (from, to) = match self.direction {
            Direction::ToServer => ("client", "gateway"),
            Direction::ToClient => ("gateway", "client"),
        };
        let full = self.is_full();
        let (resent, percent) = (self.resent(), self.share() * 100.0);
        let mut summary = format!(
            "The TLS tunnel carries the data and resent {resent} of {} segments toward the {to} ({percent:.1} %), seen at {}.",
            self.direction.of(&self.view.ended.packets),
            case.place(self.view.point)
        );
        if full {
            let (times, seconds) = self.closed();
            summary.push_str(&format!(
                " The {to} announced a closed window {times} times, for {} in all: it cannot keep up.",
                elapsed(seconds)
            ));
        }
        let inner: u32 = case.session.inner.iter().flat_map(|f| f.facts.ended.retransmissions).sum();
        if inner > 0 {
            summary.push_str(&format!(" Inside it {} resent as well.", were(u64::from(inner), "segment")));
        }
        let stuck = self.view.ended.sizes.iter().any(|s| s.smallest_stuck.is_some());
        let mut ruled_out = Vec::new();
        if !stuck {
            let why = "no size got stuck: what was resent came through at the same size".to_owned();
            ruled_out.push(RuledOut { what: "a path-MTU black hole", why });
        }
        let opened = &self.view.opened;
        let frames = vec![opened.first_frame, self.view.ended.last_frame];
        Finding {
            severity: if full || self.share() >= NOTICED { Severity::Medium } else { Severity::Low },
            grade: COUNTED,
            headline: match full {
                true => format!("the {to} cannot keep up with the TLS tunnel"),
                false => "the TLS tunnel loses packets, and TCP inside it stalls".to_owned(),
            },
            summary,
            likely: Some(if full { "receiver-full" } else { "loss" }),
            ruled_out,
            evidence: vec![Evidence::Frames(frames, "first and last packet of that connection".to_owned())],
            filters: vec![Filter {
                filter: format!(
                    "tcp.stream == {} && (tcp.analysis.retransmission || tcp.analysis.zero_window)",
                    opened.stream
                ),
                capture: opened.first_frame.capture,
                shows: format!("segments of the {from} sent again, and closed windows, as Wireshark counts them"),
                frames: None,
            }],
            remedy: DETECTOR.remedy.iter().map(|r| (*r).to_owned()).collect(),
            wanted: case.other_end("which TLS segments pass there").filter(|_| !full),
            ..Finding::default()
        }
    }
}
