//! What happened in a session, in time order, like events folded, bounded.

use super::TimelineEntry;
use super::build::rfc3339;
use super::inside::answer_words;
use crate::event::{Direction, FrameRef, Opened, PointId, Protocol, Timestamp};
use crate::finding::{Case, count};
use crate::session::attempt::icmp_words;
use crate::session::beside::TurnedAway;
use crate::session::facts::{AttemptFacts, FlowFacts, Packets, Stretches};
use crate::session::{Connection, DtlsFlow, Point, Role, Session};

/// Lines kept per session.
pub const MAX_ENTRIES: usize = 200;

/// The client's DTLS records stay without an answer this long before the timeline says so, seconds.
const UNANSWERED: f64 = 2.0;

/// A timeline and what it left out.
pub struct Timeline {
    /// The lines.
    pub entries: Vec<TimelineEntry>,
    /// How many were left out.
    pub dropped: u64,
}

struct Line {
    at: Timestamp,
    frame: FrameRef,
    point: PointId,
    stream: String,
    kind: &'static str,
    text: String,
    count: u64,
    until: Option<Timestamp>,
}

/// Tells a session's story.
pub fn of(case: &Case<'_>) -> Timeline {
    let mut lines = Vec::new();
    outer(case, &mut lines);
    dtls(case, &mut lines);
    inner(case, &mut lines);
    icmp(case, &mut lines);
    lines.sort_by_key(|l| (l.at, l.frame, l.kind));
    let dropped = lines.len().saturating_sub(MAX_ENTRIES) as u64;
    // The beginning tells the cause, the end the outcome: the middle goes.
    if dropped > 0 {
        let keep = MAX_ENTRIES / 2;
        lines.drain(keep..lines.len() - keep);
    }
    let start = case.session.start;
    let entries = lines
        .into_iter()
        .map(|l| TimelineEntry {
            at: rfc3339(l.at),
            seconds: l.at.seconds_since(start),
            frame: l.frame.number,
            capture: l.frame.capture,
            vantage: case.point(l.point).map_or("unknown", Point::vantage_word).to_owned(),
            decrypted: case.point(l.point).is_some_and(|p| p.decrypted_at.is_some()),
            stream: l.stream,
            kind: l.kind.to_owned(),
            text: l.text,
            count: l.count,
            until: l.until.map(rfc3339),
        })
        .collect();
    Timeline { entries, dropped }
}

/// `tcp.stream 0`, `udp.stream 3`; empty for a flow inside a tunnel.
pub(super) fn stream(view: &FlowFacts) -> String {
    if view.opened.carrier.is_some() {
        // Wireshark does not number what it does not see.
        return String::new();
    }
    let kind = if view.opened.protocol == Protocol::Tcp { "tcp" } else { "udp" };
    format!("{kind}.stream {}", view.opened.stream)
}

impl Line {
    /// Stands for so many like events, the last of them at that moment.
    fn times(mut self, count: u64, last: Timestamp) -> Line {
        self.count = count;
        self.until = (count > 1).then_some(last);
        self
    }
}

fn line(view: &FlowFacts, at: Timestamp, frame: FrameRef, kind: &'static str, text: String) -> Line {
    Line { at, frame, point: view.point, stream: stream(view), kind, text, count: 1, until: None }
}

fn outer(case: &Case<'_>, lines: &mut Vec<Line>) {
    let mut tunnels = usize::from(case.session.dtls_of_before().is_some());
    for connection in &case.session.connections {
        // One view tells the story; the others only matter where they differ, which DTLS and inner lines show.
        let view = connection.best();
        let opened = &view.opened;
        let mss = match connection.mss() {
            [Some(syn), Some(ack)] => format!(", MSS {syn} (the gateway answers {ack})"),
            [Some(syn), None] => format!(", MSS {syn}"),
            _ => String::new(),
        };
        let is_opening = opened.syn().or(opened.syn_ack()).is_some();
        let from_start = if is_opening { "opens" } else { "seen, begun before the capture" };
        let name = if !connection.role.is_tunnel() {
            "login connection"
        } else if tunnels == 0 {
            "tunnel connection"
        } else {
            "new tunnel connection"
        };
        let login = match connection.role {
            Role::Tunnel if tunnels > 0 => format!(", {}", case.without_login()),
            _ => String::new(),
        };
        tunnels += usize::from(connection.role.is_tunnel());
        lines.push(line(
            view,
            opened.first,
            opened.first_frame,
            "connection",
            format!("{name} {from_start}{login}{mss}"),
        ));
        let Some(tls) = view.tls.as_deref() else { continue };
        if let Some(hello) = tls.server_hello {
            lines.push(line(
                view,
                hello.at,
                hello.frame,
                "handshake",
                format!("{} with {}", hello.version, hello.suite),
            ));
        }
        if let Some((at, frame, direction, alert)) = tls.seldom().alert {
            let from = if direction == Direction::ToServer { "client" } else { "gateway" };
            lines.push(line(view, at, frame, "alert", format!("TLS alert {alert} from the {from}")));
        }
        if let Some((view, inside)) = connection.read_at() {
            if let Some((at, frame, answer)) = &inside.answer {
                lines.push(line(view, *at, *frame, "connect", answer_words(answer)));
            }
            parting(view, &inside.packets, lines);
        }
        if connection.role.is_tunnel() {
            stretches(view, &tls.activity.stretches, "TLS", lines);
            lapses(view, lines);
        }
        if let Some(closed) = view.closed() {
            let how = if closed.reset { "RST" } else { "FIN" };
            let by = if closed.direction == Direction::ToServer { "client" } else { "gateway" };
            lines.push(line(view, closed.at, closed.frame, "closed", format!("{name} ends: {how} from the {by}")));
        }
    }
    turned_away(case.session, lines);
}

/// How the client fared that came back once its last tunnel had been closed; what keys show of a session is told with its connections.
fn turned_away(session: &Session, lines: &mut Vec<Line>) {
    let Some(view) = session.tunnels().last().map(Connection::best) else { return };
    let told = |frame: FrameRef| session.connections.iter().any(|c| c.best().opened.first_frame == frame);
    let all: Vec<&TurnedAway> = session.beside().turned_away.iter().filter(|away| !told(away.frame)).collect();
    for alike in all.chunk_by(|a, b| a.how == b.how) {
        let (Some(first), Some(last)) = (alike.first(), alike.last()) else { continue };
        let text = format!("the client comes back, and is {}", first.how.words());
        let line = Line { stream: String::new(), ..line(view, first.at, first.frame, "turned-away", text) };
        lines.push(line.times(alike.len() as u64, last.at));
    }
}

/// When one side sent again and again and heard nothing, and the connection went on.
fn lapses(view: &FlowFacts, lines: &mut Vec<Line>) {
    for (sent, speaker) in [(Direction::ToServer, "client"), (Direction::ToClient, "gateway")] {
        let Some(lapse) = view.ended.lapse(sent).filter(|lapse| lapse.seconds() >= UNANSWERED) else { continue };
        let (at, frame) = lapse.first;
        let text = format!(
            "the {speaker} sends TLS segments again {} times, and hears nothing for {:.1} s",
            lapse.resent,
            lapse.seconds()
        );
        lines.push(line(view, at, frame, "silence", text));
    }
}

fn parting(view: &FlowFacts, packets: &Packets, lines: &mut Vec<Line>) {
    if let Some(parting) = &packets.bye {
        lines.push(line(view, parting.at, parting.frame, "bye", parting.words()));
    }
}

fn stretches(view: &FlowFacts, stretches: &Stretches, channel: &str, lines: &mut Vec<Line>) {
    for stretch in stretches.iter() {
        let [up, down] = stretch.records;
        if up + down < 4 {
            continue;
        }
        let bytes: u64 = stretch.bytes.iter().sum();
        let sent = count(up.into(), "record");
        let text = format!("data over {channel}: {sent} to the gateway, {down} to the client, {bytes} B");
        let line = line(view, stretch.first, stretch.frame, "data", text);
        lines.push(line.times(u64::from(up) + u64::from(down), stretch.last));
    }
}

fn dtls(case: &Case<'_>, lines: &mut Vec<Line>) {
    if let Some(view) = case.session.dtls_of_before().map(DtlsFlow::best) {
        let Opened { first, first_frame, .. } = view.opened;
        lines.push(line(
            view,
            first,
            first_frame,
            "connection",
            "DTLS of a tunnel begun before the capture".to_owned(),
        ));
    }
    for flow in &case.session.dtls {
        for (view, attempt) in flow.attempts() {
            handshake(view, attempt, lines);
        }
        let best = flow.best();
        let Some(dtls) = best.dtls.as_deref() else { continue };
        stretches(best, &dtls.activity.stretches, "DTLS", lines);
        flow.read_at().into_iter().for_each(|(view, packets)| parting(view, packets, lines));
        if let Some((said, _)) = dtls.seldom().lapse.as_deref() {
            let records = count(u64::from(said.records), "record");
            let text =
                format!("{records} of the client over {:.1} s without an answer, then one comes", said.seconds());
            lines.push(line(best, said.first.0, said.first.1, "dtls", text));
        }
        if let [Some((sent, _)), Some((answered, frame))] = dtls.last()
            && sent.seconds_since(answered) >= UNANSWERED
        {
            let silence = sent.seconds_since(answered);
            let text =
                format!("last DTLS record from the gateway; the client sends on for {silence:.1} s without an answer");
            lines.push(line(best, answered, frame, "dtls", text));
        }
    }
}

fn handshake(view: &FlowFacts, attempt: &AttemptFacts, lines: &mut Vec<Line>) {
    let mut tell = |at, frame, kind, text: String| lines.push(line(view, at, frame, kind, text));
    let times = |n: u32| if n > 1 { format!(", {n} times") } else { String::new() };
    if let (n, Some((at, frame))) = (attempt.hello_verifies(), attempt.hello_verify()) {
        tell(at, frame, "dtls", format!("HelloVerifyRequest{}", times(n)));
    }
    if let (n, Some((at, frame))) = (attempt.server_hellos(), attempt.server_hello()) {
        tell(at, frame, "dtls", format!("DTLS ServerHello{}", times(n)));
    }
    if let Some((at, frame, direction, alert)) = attempt.alert() {
        let from = if direction == Direction::ToServer { "client" } else { "gateway" };
        tell(at, frame, "alert", format!("DTLS alert {alert} from the {from}"));
    }
    let waits = view.dtls.as_deref().and_then(|dtls| dtls.waits());
    if let (None, Some((at, frame))) = (waits, attempt.completed_at()) {
        let suite = attempt.suite.map(|s| format!(" with {s}")).unwrap_or_default();
        let took = at.seconds_since(attempt.first) * 1e3;
        tell(at, frame, "dtls", format!("DTLS is up{suite}, {took:.1} ms after its ClientHello"));
    }
    let Some((frame, at)) = attempt.hello_frames().next() else { return };
    let port = view.opened.endpoints().server.port();
    let version = attempt.spoken().map_or(String::new(), |version| format!(", {version}"));
    let hello = line(view, at, frame, "dtls", format!("DTLS ClientHello to udp/{port}{version}"));
    lines.push(hello.times(u64::from(attempt.hellos), attempt.last()));
}

fn inner(case: &Case<'_>, lines: &mut Vec<Line>) {
    let session = case.session;
    // Connections are told from one point: the one that shows most of them.
    let mut points: Vec<PointId> = session.inner.iter().map(|f| f.facts.point).collect();
    points.sort_unstable();
    let best = points
        .chunk_by(|a, b| a == b)
        .max_by_key(|c| (c.len(), std::cmp::Reverse(c.first().copied())))
        .and_then(|c| c.first().copied());
    for flow in session.inner.iter().filter(|f| Some(f.facts.point) == best) {
        if let Some((mss, frame, at)) = flow.client_mss() {
            let (client, server) = flow.ends();
            lines.push(line(&flow.facts, at, frame, "inner", format!("{} opens {server} with MSS {mss}", client.ip())));
        }
    }
    for over in &session.oversized {
        let (at, frame) = over.first;
        let total = over.total();
        let sizes: Vec<String> = over.sizes.keys().rev().take(2).map(|s| format!("{s} B")).collect();
        let fate = if over.stuck_to_client > 0 && over.to_client() > 0 { ", never delivered" } else { "" };
        let channel = over.channel.word();
        let which = match total {
            1 => format!("one {channel} packet"),
            _ => format!("first of {}", count(total, &format!("{channel} packet"))),
        };
        lines.push(Line {
            at,
            frame,
            point: over.point,
            stream: String::new(),
            kind: "oversized",
            text: format!("{which} with DF, {} above {} B{fate}", sizes.join(", "), over.limit),
            count: total,
            until: Some(over.last),
        });
    }
}

fn icmp(case: &Case<'_>, lines: &mut Vec<Line>) {
    for icmp in &case.session.icmp {
        let facts = &icmp.facts;
        let Some(frame) = facts.frames.first().copied() else { continue };
        let mtu = match facts.mtus.as_slice() {
            [] => String::new(),
            mtus => format!(", MTU {}", mtus.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
        };
        lines.push(Line {
            at: facts.first,
            frame,
            point: facts.point,
            stream: String::new(),
            kind: "icmp",
            text: format!("{}{mtu} from {} to {}", icmp_words(&facts.error), facts.sender, facts.quoted.src),
            count: u64::from(facts.count),
            until: (facts.count > 1).then_some(facts.last),
        });
    }
}
