//! Lanes over time: TLS connections and DTLS attempts at each outer vantage, large packets, ICMP errors, reconnects.

use super::escape::Esc;
use super::plot::{LEFT, MAX_MARKS, RIGHT, Scale, open};
use crate::finding::are;
use crate::report::words::{Index, channel_word, counted, grouped, nanoseconds, seen_at};
use crate::report::{DataStretch, DtlsAttempt, Report, Session, TimelineEntry, Tunnel};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Height of a lane's row.
const ROW: f64 = 24.0;
/// Rows a lane may have for connections that overlap; the last takes what is left.
const MAX_ROWS: usize = 4;

/// Something to draw in a lane.
struct Mark {
    class: String,
    kind: &'static str,
    from: f64,
    until: f64,
    words: String,
    /// Moments marked on it.
    ticks: Vec<f64>,
    /// Stretches of it in which data flowed, with their words.
    data: Vec<(f64, f64, String)>,
    /// Marks of one stream share a row.
    stream: Option<u32>,
}

/// One lane.
struct Lane {
    name: String,
    marks: Vec<Mark>,
    /// Said where there is nothing to draw.
    empty: &'static str,
}

/// The chart, or nothing when the session has neither connections nor attempts, ICMP or large packets to show.
pub fn draw(report: &Report, index: &Index<'_>, session: &Session, id: &str) -> Option<String> {
    let lanes = lanes(report, index, session);
    if lanes.iter().all(|lane| lane.marks.is_empty()) {
        return None;
    }
    let ends = lanes.iter().flat_map(|lane| &lane.marks).flat_map(|mark| [mark.from, mark.until]);
    let scale = Scale::over(ends.chain(seconds(session, &session.end)));
    let mut body = String::new();
    let mut y = 8.0;
    let mut drawn = 0;
    let mut left_out = 0;
    for lane in &lanes {
        let rows = rows(&lane.marks);
        let count = rows.iter().max().map_or(1, |most| most + 1);
        let height = ROW * count as f64 + 6.0;
        let _ = write!(
            body,
            r#"<rect class="lane" x="0" y="{y:.1}" width="{RIGHT}" height="{height:.1}"/><text class="name" x="8" y="{:.1}">{}</text>"#,
            y + height / 2.0 + 4.0,
            Esc(&lane.name)
        );
        if lane.marks.is_empty() {
            let _ = write!(
                body,
                r#"<text class="empty" x="{:.1}" y="{:.1}">{}</text>"#,
                LEFT + 8.0,
                y + height / 2.0 + 4.0,
                lane.empty
            );
        }
        body.push_str(r#"<g class="marks">"#);
        for (mark, row) in lane.marks.iter().zip(rows) {
            if drawn >= MAX_MARKS {
                left_out += 1;
                continue;
            }
            drawn += 1 + mark.ticks.len() + mark.data.len();
            draw_mark(&mut body, scale, mark, y + 3.0 + ROW * row as f64);
        }
        body.push_str("</g>");
        y += height + 4.0;
    }
    let moments = session.reconnects.iter().filter_map(|r| Some((seconds(session, &r.at)?, r)));
    for (at, reconnect) in moments.take(MAX_MARKS) {
        let x = scale.x(at);
        let _ = write!(
            body,
            r#"<g class="marks"><g data-mark="reconnect" data-a="{at:.6}" data-y="0" transform="translate({x:.1},0)"><title>{}</title><line class="seam" x1="0" y1="4" x2="0" y2="{y:.1}"/><path class="seam-head" d="M-5 0H5L0 8Z"/></g></g>"#,
            Esc(&format!("reconnect at {at:.3} s, cause {}: {}", reconnect.cause, reconnect.detail))
        );
    }
    let describe = description(session, left_out);
    let mut svg = open(id, y + 26.0, "Connections, attempts and errors over time", &describe, &scale.attributes());
    let _ = write!(
        svg,
        r#"<clipPath id="{id}-c"><rect x="{LEFT}" y="0" width="{:.1}" height="{:.1}"/></clipPath>"#,
        RIGHT - LEFT + 4.0,
        y + 4.0
    );
    svg.push_str(&scale.axis(4.0, y));
    svg.push_str(&body.replace(r#"<g class="marks">"#, &format!(r#"<g class="marks" clip-path="url(#{id}-c)">"#)));
    svg.push_str("</svg>");
    if left_out > 0 {
        let _ =
            write!(svg, r#"<p class="note">{} not drawn; --format json has all.</p>"#, are(left_out, "further mark"));
    }
    Some(svg)
}

fn draw_mark(svg: &mut String, scale: Scale, mark: &Mark, y: f64) {
    let Mark { kind, class, from, until, .. } = mark;
    let (a, b) = (scale.x(*from), scale.x(*until));
    let width = (b - a).max(3.0);
    let tall = if *kind == "attempt" { 8.0 } else { 14.0 };
    let _ = write!(
        svg,
        r#"<g><title>{}</title><rect data-mark="{kind}" class="{class}" data-a="{from:.6}" data-b="{until:.6}" x="{a:.1}" y="{:.1}" width="{width:.1}" height="{tall}" rx="3"/>"#,
        Esc(&mark.words),
        y + (ROW - tall) / 2.0
    );
    for (from, until, words) in &mark.data {
        let (a, b) = (scale.x(*from), scale.x(*until));
        let _ = write!(
            svg,
            r#"<g><title>{}</title><rect data-mark="data" class="{class}" data-a="{from:.6}" data-b="{until:.6}" x="{a:.1}" y="{:.1}" width="{:.1}" height="{tall}" rx="2"/></g>"#,
            Esc(words),
            y + (ROW - tall) / 2.0,
            (b - a).max(3.0)
        );
    }
    for at in &mark.ticks {
        let x = scale.x(*at);
        let y = y + ROW / 2.0;
        let _ = write!(
            svg,
            r#"<g data-mark="hello" class="{class}" data-a="{at:.6}" data-y="{y:.1}" transform="translate({x:.1},{y:.1})"><circle r="4"/></g>"#
        );
    }
    svg.push_str("</g>");
}

/// The first row that is free again for each mark.
fn rows(marks: &[Mark]) -> Vec<usize> {
    let mut ends: Vec<f64> = Vec::new();
    let mut streams: Vec<(u32, usize)> = Vec::new();
    let row = |mark: &Mark| {
        let known = streams.iter().find(|(stream, _)| Some(*stream) == mark.stream);
        if let Some((_, row)) = known {
            return *row;
        }
        let free = ends.iter().position(|end| *end <= mark.from);
        let row = free.unwrap_or(ends.len().min(MAX_ROWS - 1));
        match ends.get_mut(row) {
            Some(end) => *end = end.max(mark.until),
            None => ends.push(mark.until),
        }
        streams.extend(mark.stream.map(|stream| (stream, row)));
        row
    };
    marks.iter().map(row).collect()
}

fn lanes(report: &Report, index: &Index<'_>, session: &Session) -> Vec<Lane> {
    let tunnels = session.tunnels.iter().map(|t| (t.capture, t.vantage.as_str()));
    let attempts = session.dtls_attempts.iter().map(|a| (a.capture, a.vantage.as_str()));
    let mut places: BTreeSet<(u16, &str)> = tunnels.chain(attempts).collect();
    // The client's end stands first, as in every other list.
    let near: Vec<(u16, &str)> = places.iter().copied().filter(|(_, v)| *v == "client").collect();
    near.iter().for_each(|place| {
        places.remove(place);
    });
    let mut lanes = Vec::new();
    for (capture, vantage) in near.into_iter().chain(places) {
        let at = seen_at(report, index, capture, vantage);
        let here = |t: &&Tunnel| t.capture == capture && t.vantage == vantage;
        let tls = session.tunnels.iter().filter(here).filter(|t| t.kind == "tls");
        lanes.push(Lane {
            name: format!("TLS · {at}"),
            marks: tls.filter_map(|t| tunnel(session, t)).collect(),
            empty: "no TLS of this session seen here",
        });
        let mut dtls: Vec<Mark> = session
            .tunnels
            .iter()
            .filter(here)
            .filter(|t| t.kind == "dtls")
            .filter_map(|t| tunnel(session, t))
            .collect();
        let tried = session.dtls_attempts.iter().filter(|a| a.capture == capture && a.vantage == vantage);
        dtls.extend(tried.filter_map(|a| attempt(session, a)));
        dtls.sort_by(|a, b| a.from.total_cmp(&b.from));
        lanes.push(Lane { name: format!("DTLS · {at}"), marks: dtls, empty: "no DTLS seen here" });
    }
    let kind = |kind: &'static str, name: &str| Lane {
        name: name.to_owned(),
        marks: session.timeline.iter().filter(|e| e.kind == kind).map(|e| entry(session, e, kind)).collect(),
        empty: "",
    };
    let others = [kind("oversized", "packets too big"), kind("icmp", "ICMP errors")];
    lanes.extend(others.into_iter().filter(|lane| !lane.marks.is_empty()));
    lanes
}

fn tunnel(session: &Session, tunnel: &Tunnel) -> Option<Mark> {
    let (from, until) = (seconds(session, &tunnel.start)?, seconds(session, &tunnel.end)?);
    let role = match tunnel.role.as_str() {
        "parent" => "login connection",
        "unused" => "connection without TLS",
        "dtls" => "DTLS tunnel",
        _ => "tunnel connection",
    };
    let cipher = tunnel.cipher.as_deref().map_or(String::new(), |c| format!(", {c}"));
    let words = format!(
        "{role}, port {}, {from:.3} s to {until:.3} s{cipher}, frames {} to {}",
        tunnel.sport, tunnel.first_frame, tunnel.last_frame
    );
    let class = match (tunnel.kind.as_str(), tunnel.role.as_str()) {
        ("dtls", _) => "dtls",
        (_, "parent" | "unused") => "login",
        _ => "tls",
    };
    let data = data(tunnel);
    let stream = Some(tunnel.stream);
    Some(Mark { class: class.to_owned(), kind: "tunnel", from, until, words, ticks: Vec::new(), data, stream })
}

/// When data flowed through it, with the words for each stretch.
fn data(tunnel: &Tunnel) -> Vec<(f64, f64, String)> {
    let stretch = |s: &DataStretch| {
        let words = format!(
            "data from {:.3} s to {:.3} s: {} to the gateway, {} to the client, {} B",
            s.first_seconds,
            s.last_seconds,
            counted(s.records.to_server, "record"),
            grouped(s.records.to_client),
            grouped(s.bytes.to_server.saturating_add(s.bytes.to_client))
        );
        (s.first_seconds, s.last_seconds, words)
    };
    tunnel.data.iter().map(stretch).collect()
}

fn attempt(session: &Session, attempt: &DtlsAttempt) -> Option<Mark> {
    let from = seconds(session, &attempt.start)?;
    let until = from + attempt.completed_after_seconds.unwrap_or(attempt.span_seconds);
    let class = match attempt.outcome.as_str() {
        "completed" => "good",
        "abandoned" | "cut-short" | "not-observable" => "open",
        _ => "bad",
    };
    let words = format!(
        "DTLS attempt from port {}: {} from {from:.3} s, {}, frame {}",
        attempt.sport,
        counted(u64::from(attempt.client_hellos), "ClientHello"),
        attempt.outcome_detail,
        attempt.first_frame
    );
    let ticks = attempt.client_hello_seconds.clone();
    let stream = Some(attempt.stream);
    Some(Mark { class: class.to_owned(), kind: "attempt", from, until, words, ticks, data: Vec::new(), stream })
}

fn entry(session: &Session, entry: &TimelineEntry, kind: &'static str) -> Mark {
    let until = entry.until.as_deref().and_then(|until| seconds(session, until)).unwrap_or(entry.seconds);
    let times = if entry.count > 1 { format!(" (×{})", grouped(entry.count)) } else { String::new() };
    let words = format!("{:.3} s, frame {}: {}{times}", entry.seconds, entry.frame, entry.text);
    Mark {
        class: "bad".to_owned(),
        kind,
        from: entry.seconds,
        until,
        words,
        ticks: Vec::new(),
        data: Vec::new(),
        stream: None,
    }
}

/// Seconds since the session's start; `None` for what is no time.
pub fn seconds(session: &Session, at: &str) -> Option<f64> {
    Some((nanoseconds(at)? - nanoseconds(&session.start)?) as f64 / 1e9)
}

/// The chart in one sentence, for who does not see it.
fn description(session: &Session, left_out: u64) -> String {
    let channels: BTreeSet<&str> = session.tunnels.iter().map(|t| channel_word(&t.kind)).collect();
    let channels: Vec<&str> = channels.into_iter().collect();
    let mut text = format!(
        "{} as seen at each vantage ({}), {}, {}.",
        counted(session.tunnels.len() as u64, "connection"),
        channels.join(", "),
        counted(session.dtls_attempts.len() as u64, "DTLS attempt"),
        counted(session.reconnects.len() as u64, "reconnect")
    );
    for attempt in session.dtls_attempts.iter().take(4) {
        let _ =
            write!(text, " {}: {}.", counted(u64::from(attempt.client_hellos), "ClientHello"), attempt.outcome_detail);
    }
    if left_out > 0 {
        let _ = write!(text, " {} left out.", are(left_out, "mark"));
    }
    text.push_str(" The timeline below has every event.");
    text
}
