//! Packet sizes over time: what the flows keep of large packets, as runs of equal sizes.
//!
//! Promises: bounded, largest sizes first to stay, then in order of time. Refuses: to say which of them are too large.

use super::build::rfc3339;
use crate::event::{Direction, FrameRef, PointId, Timestamp};
use crate::finding::Case;
use crate::session::facts::FlowFacts;
use schemars::JsonSchema;
use serde::Serialize;
use std::cmp::Reverse;

/// Runs kept per session.
pub const MAX_RUNS: usize = 200;

/// Packets of one size, one way, at one vantage, from a first to a last moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct SizeRun {
    /// `inner`, `outer-tcp` or `outer-udp`.
    pub channel: String,
    /// `to-client` or `to-server`.
    pub direction: String,
    /// IP length, bytes.
    pub bytes: u32,
    /// How many of them.
    pub packets: u64,
    /// `passed`: acknowledged or answered; `stuck`: sent again in vain; `seen`: nothing tells.
    pub fate: String,
    /// Time of the first, RFC 3339.
    pub at: String,
    /// Seconds since the session's start of the first.
    pub first_seconds: f64,
    /// And of the last.
    pub last_seconds: f64,
    /// `frame.number` of the first.
    pub frame: u32,
    /// Index into `captures`.
    pub capture: u16,
    /// Vantage; `virtual-adapter` for what was read with keys inside the tunnel.
    pub vantage: String,
}

/// What is known of packet sizes in a session.
pub fn of(case: &Case<'_>) -> Vec<SizeRun> {
    let mut runs = Vec::new();
    for flow in &case.session.inner {
        inner(case, &flow.facts, flow.toward_client, &mut runs);
    }
    for connection in &case.session.connections {
        connection.views.iter().for_each(|view| outer_tcp(case, view, &mut runs));
    }
    for flow in &case.session.dtls {
        flow.views.iter().for_each(|view| outer_udp(case, view, &mut runs));
    }
    runs.sort_by_key(|run| (Reverse(run.bytes), run.at.clone(), run.frame));
    runs.truncate(MAX_RUNS);
    runs.sort_by(|a, b| (&a.at, a.capture, a.frame).cmp(&(&b.at, b.capture, b.frame)));
    runs
}

/// Who tells a run, and where.
struct Told<'a> {
    case: &'a Case<'a>,
    point: PointId,
    channel: &'static str,
    to_client: bool,
}

impl Told<'_> {
    fn run(
        &self,
        bytes: u32,
        packets: u64,
        fate: &str,
        (first, last): (Timestamp, Timestamp),
        frame: FrameRef,
    ) -> SizeRun {
        let start = self.case.session.start;
        SizeRun {
            channel: self.channel.to_owned(),
            direction: if self.to_client { "to-client" } else { "to-server" }.to_owned(),
            bytes,
            packets,
            fate: fate.to_owned(),
            at: rfc3339(first),
            first_seconds: first.seconds_since(start),
            last_seconds: last.seconds_since(start),
            frame: frame.number,
            capture: frame.capture,
            vantage: self.case.point(self.point).map_or("unknown", |p| p.vantage_word()).to_owned(),
        }
    }
}

fn inner(case: &Case<'_>, flow: &FlowFacts, toward_client: Direction, runs: &mut Vec<SizeRun>) {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let told = Told { case, point: flow.point, channel: "inner", to_client: direction == toward_client };
        let sizes = flow.ended.sizes.toward(direction);
        for run in direction.of(&flow.large).iter() {
            let frame = run.frame;
            let fate = match (&sizes.smallest_stuck, sizes.largest_passed) {
                (Some(stuck), _) if run.size >= stuck.ip_len && run.last >= stuck.first => "stuck",
                (_, Some(passed)) if run.size <= passed.ip_len => "passed",
                _ => "seen",
            };
            runs.push(told.run(run.size, u64::from(run.count), fate, (run.first, run.last), frame));
        }
    }
}

fn outer_tcp(case: &Case<'_>, flow: &FlowFacts, runs: &mut Vec<SizeRun>) {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let told = Told { case, point: flow.point, channel: "outer-tcp", to_client: direction == Direction::ToClient };
        let sizes = flow.ended.sizes.toward(direction);
        let capture = flow.opened.first_frame.capture;
        if let Some(passed) = sizes.largest_passed {
            let frame = FrameRef { capture, number: passed.frame };
            runs.push(told.run(passed.ip_len, 1, "passed", (passed.at, passed.at), frame));
        }
        if let Some(stuck) = &sizes.smallest_stuck {
            let frame = FrameRef { capture, number: stuck.first_frame };
            let times = u64::from(stuck.times);
            runs.push(told.run(stuck.ip_len, times, "stuck", (stuck.first, stuck.last), frame));
        }
    }
}

/// Probes of the path MTU: a record answered by one as long has passed both ways.
fn outer_udp(case: &Case<'_>, flow: &FlowFacts, runs: &mut Vec<SizeRun>) {
    let Some(dtls) = flow.dtls.as_deref() else { return };
    let told = Told { case, point: flow.point, channel: "outer-udp", to_client: false };
    for probe in &dtls.seldom().probes {
        let fate = if probe.answered > 0 { "passed" } else { "seen" };
        let span = (probe.first, probe.last);
        runs.push(told.run(probe.ip_len, u64::from(probe.sent), fate, span, probe.frame));
    }
}
