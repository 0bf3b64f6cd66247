//! A tunnel connection, or the end of one and the begin of the next, as a ladder.

use super::steps::{Rungs, Step};
use super::{ANY_RECORD, Candidate, UNANSWERED, WITHOUT_ANSWER};
use crate::event::Direction;
use crate::finding::Case;
use crate::session::Connection;
use crate::session::facts::{FlowFacts, TlsFacts, View};
use crate::session::reconnect::Reconnect;

/// A SYN-ACK so long after its SYN is told with that time, seconds (RFC 6298 §2: the first retransmission is due).
const LATE: f64 = 1.0;
const WAYS: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// A tunnel connection from its SYN to its end.
pub(super) fn tunnel(case: &Case<'_>, connection: &Connection) -> Candidate {
    let view = connection.best();
    let mut rungs = Rungs::new(case, view);
    opening(view, &mut rungs);
    records(view, &mut rungs);
    // Its SYN is evidence for MTUs too: only its end makes it a story.
    let end = |view: &View| view.closed().map_or(view.ended.last_frame, |closed| closed.frame);
    let lapses = |view: &View| WAYS.map(|sent| view.ended.lapse(sent).map(|lapse| lapse.first.1));
    let lapses = connection.views.iter().flat_map(lapses).flatten();
    let frames = connection.views.iter().map(end).chain(lapses).collect();
    lapse(view, &mut rungs);
    if let Some(tls) = view.tls.as_deref().filter(|_| view.closed().is_none()) {
        silence(tls, &mut rungs);
    }
    closing(view, &mut rungs);
    let settled = connection.settled();
    let what = settled.map_or("TLS tunnel connection".to_owned(), |s| format!("{} tunnel connection", s.version));
    let port = view.opened.endpoints().server.port();
    let mut ladder = rungs.ladder("tls", format!("{what} to tcp/{port}"));
    ladder.completed = connection.first_data().is_some();
    ladder.outcome = if ladder.completed { "carries data" } else { "never carried data" }.to_owned();
    Candidate::new(ladder, frames)
}

/// The end of one tunnel connection and the begin of the next.
pub(super) fn reconnect(case: &Case<'_>, seam: &Reconnect) -> Option<Candidate> {
    let connections = &case.session.connections;
    let (old, new) = (connections.get(seam.old)?.best(), connections.get(seam.new)?.best());
    let mut rungs = Rungs::new(case, new);
    if let Some(tls) = old.tls.as_deref() {
        last_words(tls, &mut rungs);
        if seam.unheard.is_some() {
            silence(tls, &mut rungs);
        }
    }
    closing(old, &mut rungs);
    opening(new, &mut rungs);
    records(new, &mut rungs);
    let mut frames = rungs.frames();
    frames.extend([seam.frame, old.opened.first_frame, old.ended.last_frame]);
    frames.extend(seam.inner_mss.iter().flat_map(|mss| [mss.before.1, mss.after.1]));
    let mut ladder = rungs.ladder("reconnect", "the tunnel's end and the new tunnel".to_owned());
    let lost = seam.without_data.map_or(String::new(), |s| format!("; no data from the gateway for {s:.1} s"));
    ladder.outcome = match seam.gap {
        gap if gap >= 0.0 => format!("a new tunnel {gap:.1} s after the end of the old one{lost}"),
        gap => format!("a new tunnel {:.1} s before the end of the old one{lost}", -gap),
    };
    ladder.completed = connections.get(seam.new)?.first_data().is_some();
    Some(Candidate::new(ladder, frames))
}

/// SYN to ServerHello.
fn opening(view: &FlowFacts, rungs: &mut Rungs<'_>) {
    let mss = |mss: Option<u16>| mss.map_or(String::new(), |mss| format!("MSS {mss}"));
    if let Some(syn) = view.opened.syn() {
        rungs.push(Step::seen(Direction::ToServer, "SYN".to_owned(), syn.at, syn.frame).with(mss(syn.mss)));
    }
    if let Some(ack) = view.opened.syn_ack() {
        let mut step = Step::seen(Direction::ToClient, "SYN, ACK".to_owned(), ack.at, ack.frame).with(mss(ack.mss));
        let late = view.opened.syn().map_or(0.0, |syn| ack.at.seconds_since(syn.at));
        if late >= LATE {
            step.note =
                format!("{}{}{late:.1} s after the SYN", step.note, if step.note.is_empty() { "" } else { ", " });
        }
        rungs.push(step);
    }
    let Some(tls) = view.tls.as_deref() else { return };
    if let Some((at, frame, _)) = tls.client_hello {
        rungs.push(Step::seen(Direction::ToServer, "ClientHello".to_owned(), at, frame));
    }
    if let Some(hello) = tls.server_hello {
        let step = Step::seen(Direction::ToClient, "ServerHello".to_owned(), hello.at, hello.frame);
        rungs.push(step.with(format!("{}, {}", hello.version, hello.suite)));
    }
    if let Some((at, frame, direction, alert)) = tls.seldom().alert {
        rungs.push(Step::seen(direction, format!("alert: {alert}"), at, frame));
    }
}

/// What flowed through it. The first record's frame is known from the first stretch, whichever way it went.
fn records(view: &FlowFacts, rungs: &mut Rungs<'_>) {
    let Some(tls) = view.tls.as_deref() else { return };
    let Some(first) = tls.activity.stretches.iter().next() else { return };
    let until = tls.data.iter().filter_map(|d| d.last).map(|(at, _)| at).max();
    for direction in WAYS {
        let data = direction.of(&tls.data);
        let Some(at) = data.first.filter(|_| data.records > 0) else { continue };
        let mut step = Step::seen(direction, "application data".to_owned(), at, first.frame);
        step.frame = step.frame.filter(|_| at == first.first);
        (step.count, step.last) = (u64::from(data.records), data.last.map(|(at, _)| at).or(until).unwrap_or(at));
        step.note = format!("{} B", data.bytes);
        rungs.push(step);
    }
}

/// The last record each way of a connection that ends.
fn last_words(tls: &TlsFacts, rungs: &mut Rungs<'_>) {
    for direction in WAYS {
        if let Some((at, frame)) = direction.of(&tls.data).last {
            rungs.push(Step::seen(direction, "last application data".to_owned(), at, frame));
        }
    }
}

/// What was sent again and again while nothing came back, and the connection went on.
fn lapse(view: &FlowFacts, rungs: &mut Rungs<'_>) {
    for direction in WAYS {
        let Some(lapse) = view.ended.lapse(direction).filter(|lapse| lapse.seconds() >= UNANSWERED) else { continue };
        let (at, frame) = lapse.first;
        let mut step = Step::seen(direction, "segments sent again".to_owned(), at, frame);
        (step.count, step.last, step.fate) = (u64::from(lapse.resent), lapse.until, "sent");
        rungs.push(step);
        rungs.push(Step::missing(direction.reverse(), "any segment".to_owned(), at, lapse.seconds()));
    }
}

/// What the client sent into the old tunnel and nobody answered.
fn silence(tls: &TlsFacts, rungs: &mut Rungs<'_>) {
    let unanswered = tls.unanswered(Direction::ToServer);
    if unanswered.records > 1 && unanswered.seconds() >= UNANSWERED {
        let (at, frame) = unanswered.first;
        let mut step = Step::seen(Direction::ToServer, WITHOUT_ANSWER.to_owned(), at, frame);
        (step.count, step.last, step.fate) = (u64::from(unanswered.records), unanswered.last.0, "sent");
        rungs.push(step);
        rungs.push(Step::missing(Direction::ToClient, ANY_RECORD.to_owned(), at, unanswered.seconds()));
    }
}

fn closing(view: &FlowFacts, rungs: &mut Rungs<'_>) {
    let Some(closed) = view.closed() else { return };
    let how = if closed.reset { "RST" } else { "FIN" };
    rungs.push(Step::seen(closed.direction, how.to_owned(), closed.at, closed.frame));
}
