//! Sessions and findings to the report: owned, serialisable, nothing left to compute for a renderer.

use super::words::{LATE_DTLS, OTHER_TLS, counted, grouped};
use super::{
    ByDirection, Capture, Check, DataStretch, DtlsAttempt, Evidence, Filter, Finding, FragNeeded, FrameNumber,
    Interface, Limit, Loss, NextCapture, Oversized, PathMtu, Reconnect, Report, RuledOut, SCHEMA_VERSION, Session,
    Tunnel,
};
use super::{inside, ladder, sizes, timeline};
use crate::event::{FrameRef, PointId, Timestamp, Vantage};
use crate::finding::{self, Case, Detector, Outcome, Severity, Wanted, by_capture};
use crate::session::attempt::{AttemptOutcome, Judged, icmp_words, judge};
use crate::session::facts::{AttemptFacts, FlowFacts, IcmpFacts, Stretch, Stretches};
use crate::session::unrecognised::{Fate, Server, Unrecognised};
use crate::session::{self, Point, link_name};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// An empty report of this version.
pub fn empty() -> Report {
    Report {
        schema_version: SCHEMA_VERSION.to_owned(),
        tool: concat!("acpcap ", env!("CARGO_PKG_VERSION")).to_owned(),
        complete: true,
        ..Report::default()
    }
}

/// Gives every capture its interfaces.
pub fn interfaces(captures: &mut [Capture], points: &[Point]) {
    for point in points.iter().filter(|p| p.decrypted_at.is_none() && p.other_side_of.is_none()) {
        if let Some(capture) = captures.get_mut(usize::from(point.capture)) {
            capture.interfaces.push(Interface {
                name: point.interface.name.clone().unwrap_or_else(|| point.name.clone()),
                link_type: link_name(point.interface.link),
                vantage: point.vantage_word().to_owned(),
                vantage_basis: point.vantage_basis.clone(),
                frames: point.frames,
                dropped: point.interface.dropped,
            });
        }
    }
}

/// Every detector's answer about a session, in their order.
pub type Answers = Vec<(&'static Detector, Outcome)>;

type Found = Vec<(&'static Detector, Box<finding::Finding>)>;

/// What is told of one session: itself, what is wrong in it, and every detector's answer.
pub fn session(
    id: String,
    session: &session::Session,
    points: &[Point],
    answers: Answers,
) -> (Session, Vec<Finding>, Vec<Check>) {
    let case = Case { session, points, in_brief: false };
    let checks = checks(&id, &answers);
    let mut open: Vec<&str> = answers.iter().filter_map(|(_, outcome)| outcome.open()).collect();
    open.dedup();
    let found = found(answers);
    let mut shown = evidence_frames(&found);
    let findings = ordered(&id, &case, found);
    let of_finding = |f: &Finding| (f.detector.clone(), shown.remove(f.detector.as_str()).unwrap_or_default());
    let shown: Vec<_> = findings.iter().map(of_finding).collect();
    let faults = findings.iter().filter(|f| f.severity > Severity::Info);
    let headlines: Vec<String> = faults.map(|f| f.headline.clone()).collect();
    let mut entries = timeline::of(&case);
    let timeline_dropped = entries.dropped;
    let told = Session {
        id,
        client: session.client.to_string(),
        gateway: gateway_words(session),
        proxied_to: session.proxied_to().map(str::to_owned),
        nat_address: session.nat().map(|(_, seen)| seen.to_string()),
        came_from: session.came_from.as_ref().map(|hop| hop.gateway.to_string()),
        start: rfc3339(session.start),
        end: rfc3339(session.end),
        inner_addresses: session.inner_addresses.iter().map(ToString::to_string).collect(),
        severity: findings.iter().map(|f| f.severity).max(),
        verdict: super::verdict::of(&case, &headlines, &open),
        identified_by: session.identified_by.to_string(),
        confidence: session.confidence,
        ambiguities: session.ambiguities.to_vec(),
        tunnels: tunnels(&case),
        connects: inside::connects(session),
        dtls_attempts: attempts(&case),
        limits: limits(session),
        path_mtu: path_mtu(&case),
        oversized: oversized(&case),
        frag_needed: frag_needed(&case),
        reconnects: reconnects(session),
        sizes: sizes::of(&case),
        ladders: ladder::of(&case, &shown),
        timeline: std::mem::take(&mut entries.entries),
        timeline_dropped,
    };
    (told, findings, checks)
}

/// Every detector's answer, told.
pub fn checks(id: &str, answers: &Answers) -> Vec<Check> {
    let check = |(detector, outcome): &(&'static Detector, Outcome)| Check {
        detector: detector.id.to_owned(),
        session: id.to_owned(),
        outcome: outcome.answer(),
        reason: outcome.reason().to_owned(),
    };
    answers.iter().map(check).collect()
}

/// What is wrong in a session, root causes first.
pub fn findings(id: &str, session: &session::Session, points: &[Point], answers: Answers) -> Vec<Finding> {
    ordered(id, &Case { session, points, in_brief: false }, found(answers))
}

fn found(answers: Answers) -> Found {
    let finding = |(detector, outcome)| match outcome {
        Outcome::Found(finding) => Some((detector, finding)),
        _ => None,
    };
    answers.into_iter().filter_map(finding).collect()
}

/// The frames each detector shows, by its id.
fn evidence_frames(found: &Found) -> BTreeMap<&'static str, BTreeSet<FrameRef>> {
    let frames = |finding: &finding::Finding| {
        let shown = finding.evidence.iter().filter_map(|evidence| match evidence {
            finding::Evidence::Frames(frames, _) => Some(frames),
            finding::Evidence::Absence(..) => None,
        });
        shown.flatten().copied().collect()
    };
    found.iter().map(|(detector, finding)| (detector.id, frames(finding))).collect()
}

/// A moment as RFC 3339, UTC, nanoseconds.
pub fn rfc3339(at: Timestamp) -> String {
    const SECOND: i64 = 1_000_000_000;
    let format = time::format_description::well_known::Rfc3339;
    let moment = time::OffsetDateTime::from_unix_timestamp(at.nanos().div_euclid(SECOND)).ok();
    let text = moment.and_then(|m| m.format(&format).ok()).unwrap_or_default();
    // The format drops trailing zeros; columns want nine digits.
    match text.strip_suffix('Z') {
        Some(seconds) => format!("{seconds}.{:09}Z", at.nanos().rem_euclid(SECOND)),
        None => text,
    }
}

fn gateway_words(session: &session::Session) -> String {
    match session.gateway {
        Some(address) => std::net::SocketAddr::new(address, session.port).to_string(),
        None => String::from("not captured"),
    }
}

/// Root causes first, the worst of them first of all, each followed by what follows from it; facts worth knowing last.
fn ordered(id: &str, case: &Case<'_>, found: Found) -> Vec<Finding> {
    // The nearest cause is the last detector asked that leads to this one.
    let cause_of = |(detector, finding): &(&'static Detector, Box<finding::Finding>)| {
        let lone = finding.severity == Severity::Info || finding.stands_alone;
        let leads = |(d, f): &&(&'static Detector, Box<finding::Finding>)| {
            f.severity > Severity::Info && d.leads_to.contains(&detector.id)
        };
        let told = finding.follows.filter(|id| found.iter().any(|(d, f)| d.id == *id && f.severity > Severity::Info));
        if lone { None } else { told.or_else(|| found.iter().filter(leads).map(|(d, _)| d.id).next_back()) }
    };
    let causes: Vec<Option<&'static str>> = found.iter().map(cause_of).collect();
    let mut told: Vec<Option<Finding>> = found
        .into_iter()
        .zip(causes)
        .map(|((detector, finding), cause)| Some(one_finding(id, case, detector, *finding, cause)))
        .collect();
    let mut roots: Vec<usize> = (0..told.len())
        .filter(|i| told.get(*i).and_then(Option::as_ref).is_some_and(|f| f.caused_by.is_none()))
        .collect();
    roots.sort_by_key(|i| std::cmp::Reverse(told.get(*i).and_then(Option::as_ref).map(|f| f.severity)));
    let mut ordered = Vec::new();
    let mut next: Vec<usize> = roots.into_iter().rev().collect();
    while let Some(i) = next.pop() {
        let Some(finding) = told.get_mut(i).and_then(Option::take) else { continue };
        let effect = |f: &Finding| f.caused_by.as_deref() == Some(finding.detector.as_str());
        next.extend((0..told.len()).rev().filter(|i| told.get(*i).and_then(Option::as_ref).is_some_and(effect)));
        ordered.push(finding);
    }
    ordered
}

fn one_finding(
    id: &str,
    case: &Case<'_>,
    detector: &Detector,
    finding: finding::Finding,
    cause: Option<&'static str>,
) -> Finding {
    let rank = match (finding.severity, cause) {
        (Severity::Info, _) => "note",
        (_, Some(_)) => "effect",
        (_, None) => "cause",
    };
    // A judgement about an outer connection is no surer than that it is AnyConnect's.
    let mut confidence = finding.grade.gives;
    let mut basis = finding.grade.when.to_owned();
    if detector.judges_outside() && case.session.confidence < confidence {
        confidence = case.session.confidence;
        basis.push_str("; no surer than that this is AnyConnect");
    }
    let filter_notes: Vec<Filter> = finding
        .filters
        .into_iter()
        .map(|f| Filter { filter: f.filter, capture: f.capture, shows: f.shows, frames: f.frames })
        .collect();
    let mut filters: Vec<String> = filter_notes.iter().map(|f| f.filter.clone()).collect();
    filters.dedup();
    Finding {
        detector: detector.id.to_owned(),
        session: id.to_owned(),
        severity: finding.severity,
        confidence,
        confidence_basis: basis,
        likely_cause: finding.likely.map(str::to_owned),
        ruled_out: finding.ruled_out.into_iter().map(|r| RuledOut { what: r.what.to_owned(), why: r.why }).collect(),
        title: detector.title.to_owned(),
        headline: if finding.headline.is_empty() { uncapitalised(detector.title) } else { finding.headline },
        summary: finding.summary,
        rank: rank.to_owned(),
        caused_by: cause.map(str::to_owned),
        evidence: finding.evidence.into_iter().flat_map(|e| evidence(case, e)).collect(),
        filters,
        filter_notes,
        remedy: finding.remedy,
    }
}

/// As it stands in the middle of a sentence; an abbreviation stays one.
fn uncapitalised(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

fn evidence(case: &Case<'_>, evidence: finding::Evidence) -> Vec<Evidence> {
    match evidence {
        finding::Evidence::Frames(frames, note) => by_capture(&frames)
            .into_iter()
            .map(|(capture, frames)| Evidence { capture, frames, note: note.clone() })
            .collect(),
        finding::Evidence::Absence(window, what) => {
            let capture = case.point(window.point()).map_or(0, |p| p.capture);
            let note = format!("{what}, from {} to {}", rfc3339(window.from()), rfc3339(window.until()));
            vec![Evidence { capture, frames: Vec::new(), note }]
        }
    }
}

fn frame_number(frame: FrameRef) -> FrameNumber {
    FrameNumber { capture: frame.capture, frame: frame.number }
}

fn numbers(frames: &[FrameRef], capture: u16) -> Vec<u32> {
    by_capture(frames).remove(&capture).unwrap_or_default()
}

fn word(case: &Case<'_>, point: PointId) -> String {
    case.point(point).map_or("unknown", Point::vantage_word).to_owned()
}

fn tunnels(case: &Case<'_>) -> Vec<Tunnel> {
    let session = case.session;
    let mut all = Vec::new();
    for connection in &session.connections {
        let settled = connection.settled();
        for view in &connection.views {
            let mut tunnel = tunnel(case, view, "tls", connection.role.word());
            tunnel.version = settled.map(|s| s.version.to_string());
            tunnel.cipher = settled.map(|s| s.suite.to_string());
            let inside = view.tls.as_ref().and_then(|tls| tls.inside());
            tunnel.packets = inside.map(|inside| inside::packets(&inside.packets));
            tunnel.data = view.tls.as_ref().map_or_else(Vec::new, |tls| data(session, &tls.activity.stretches));
            tunnel.mss = [view.opened.syn().and_then(|s| s.mss), view.opened.syn_ack().and_then(|s| s.mss)];
            all.push(tunnel);
        }
    }
    for flow in session.dtls.iter().filter(|d| d.worked()) {
        for view in &flow.views {
            let mut tunnel = tunnel(case, view, "dtls", "dtls");
            tunnel.version = flow.version().map(|v| v.to_string());
            tunnel.cipher = flow.suite().map(|s| s.to_string());
            tunnel.data = view.dtls.as_ref().map_or_else(Vec::new, |dtls| data(session, &dtls.activity.stretches));
            tunnel.packets = view.packets().map(inside::packets);
            all.push(tunnel);
        }
    }
    all
}

fn data(session: &session::Session, stretches: &Stretches) -> Vec<DataStretch> {
    let by_direction = |[up, down]: [u64; 2]| ByDirection { to_client: down, to_server: up };
    let stretch = |s: Stretch| DataStretch {
        first_seconds: s.first.seconds_since(session.start),
        last_seconds: s.last.seconds_since(session.start),
        records: by_direction(s.records.map(u64::from)),
        bytes: by_direction(s.bytes),
    };
    stretches.iter().map(stretch).collect()
}

fn tunnel(case: &Case<'_>, view: &FlowFacts, kind: &str, role: &str) -> Tunnel {
    let ends = view.opened.endpoints();
    Tunnel {
        kind: kind.to_owned(),
        role: role.to_owned(),
        src: ends.client.ip().to_string(),
        sport: ends.client.port(),
        dst: ends.server.ip().to_string(),
        dport: ends.server.port(),
        stream: view.opened.stream,
        capture: view.opened.first_frame.capture,
        vantage: word(case, view.point),
        version: None,
        cipher: None,
        first_frame: view.opened.first_frame.number,
        last_frame: view.ended.last_frame.number,
        start: rfc3339(view.opened.first),
        end: rfc3339(view.ended.last),
        mss: [None, None],
        data: Vec::new(),
        packets: None,
    }
}

fn attempts(case: &Case<'_>) -> Vec<DtlsAttempt> {
    let session = case.session;
    let mut all: Vec<(Timestamp, PointId, DtlsAttempt)> = Vec::new();
    for flow in &session.dtls {
        for judged in judge(session, flow, case.points) {
            let (view, facts) = (judged.view, judged.facts);
            let ends = view.opened.endpoints();
            let capture = view.opened.first_frame.capture;
            let frames: Vec<FrameRef> = facts.hello_frames().map(|(f, _)| f).collect();
            let first_frame = frames.first().copied().unwrap_or(view.opened.first_frame);
            let offered = facts.only_suite();
            all.push((
                facts.first,
                view.point,
                DtlsAttempt {
                    src: ends.client.ip().to_string(),
                    sport: ends.client.port(),
                    dst: ends.server.ip().to_string(),
                    dport: ends.server.port(),
                    stream: view.opened.stream,
                    capture,
                    vantage: word(case, view.point),
                    version: facts.spoken().map_or(String::new(), |version| version.to_string()),
                    session_id: facts.session_id.to_string(),
                    cipher: facts.suite.or(offered).map(|s| s.to_string()),
                    client_hellos: facts.hellos,
                    hello_verify_requests: facts.hello_verifies(),
                    server_hellos: facts.server_hellos(),
                    outcome: judged.outcome.word().to_owned(),
                    outcome_detail: detail(&judged),
                    first_frame: first_frame.number,
                    client_hello_frames: numbers(&frames, capture),
                    client_hello_seconds: hello_seconds(session, facts),
                    start: rfc3339(facts.first),
                    span_seconds: facts.last().seconds_since(facts.first),
                    completed_after_seconds: facts.completed_at().map(|(at, _)| at.seconds_since(facts.first)),
                },
            ));
        }
    }
    all.sort_by_key(|(at, point, _)| (*point, *at));
    all.into_iter().map(|(_, _, attempt)| attempt).collect()
}

fn hello_seconds(session: &session::Session, facts: &AttemptFacts) -> Vec<f64> {
    let mut seconds: Vec<f64> = facts.hello_frames().map(|(_, at)| at.seconds_since(session.start)).collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// An outcome in words, with its numbers.
pub(super) fn detail(judged: &Judged<'_>) -> String {
    match &judged.outcome {
        AttemptOutcome::Completed => "epoch-1 records both ways".to_owned(),
        AttemptOutcome::NoReply => "nothing came back".to_owned(),
        AttemptOutcome::Refused(error, sender, frame) => {
            format!("{} from {sender} in frame {}", icmp_words(error), frame.number)
        }
        AttemptOutcome::StalledAfterHelloVerify => {
            "HelloVerifyRequest came, no ServerHello after the cookie".to_owned()
        }
        AttemptOutcome::StalledAfterServerHello if judged.facts.server_hellos() == 0 => {
            "the server's flight came without its ServerHello".to_owned()
        }
        AttemptOutcome::StalledAfterServerHello => {
            "ServerHello came, the handshake stalled before the server's Finished".to_owned()
        }
        AttemptOutcome::ClientDidNotFinish => "the server's flight went unanswered".to_owned(),
        AttemptOutcome::FinishedLost => "the server repeats its Finished, though the client's went".to_owned(),
        AttemptOutcome::Alert(alert, direction) => {
            let from = if *direction == crate::event::Direction::ToClient { "gateway" } else { "client" };
            format!("alert {alert} from the {from}")
        }
        AttemptOutcome::SealedAlert(direction) => {
            let from = if *direction == crate::event::Direction::ToClient { "gateway" } else { "client" };
            format!("an encrypted alert from the {from} just after Finished")
        }
        AttemptOutcome::Abandoned => "the client closed the tunnel it belongs to within a second".to_owned(),
        AttemptOutcome::NotObservable(why) => why.clone(),
        AttemptOutcome::CutShort => "the capture ends within 12 s of the first ClientHello".to_owned(),
    }
}

fn limits(session: &session::Session) -> Vec<Limit> {
    let derived = session::limits::derived(session);
    session
        .limits
        .iter()
        .chain(&derived)
        .map(|l| Limit {
            channel: l.channel.word().to_owned(),
            bytes: l.bytes,
            basis: l.basis,
            source: l.source.clone(),
            since: l.since.map(rfc3339),
            frames: l.frames.iter().copied().map(frame_number).collect(),
            in_force: l.in_force,
        })
        .collect()
}

fn path_mtu(case: &Case<'_>) -> Vec<PathMtu> {
    let brackets = session::path::brackets(case.session, case.points).into_iter();
    let told = brackets.map(|b| PathMtu {
        channel: b.channel.word().to_owned(),
        direction: if b.to_client { "to-client" } else { "to-server" }.to_owned(),
        largest_passed: b.passed.map(|(bytes, _)| bytes),
        passed_frame: b.passed.map(|(_, frame)| frame_number(frame)),
        smallest_stuck: b.stuck.map(|(bytes, ..)| bytes),
        stuck_frame: b.stuck.map(|(_, frame, _)| frame_number(frame)),
        hint: b.stuck.and(b.passed).and_then(|(bytes, _)| link_hint(bytes)),
    });
    told.collect()
}

fn link_hint(bytes: u32) -> Option<String> {
    session::mtu::LinkMtu(u16::try_from(bytes).ok()?).hint().map(str::to_owned)
}

fn oversized(case: &Case<'_>) -> Vec<Oversized> {
    let all = case.session.oversized.iter();
    all.map(|o| {
        let capture = case.point(o.point).map_or(0, |p| p.capture);
        let frames = numbers(&o.frames, capture);
        Oversized {
            vantage: word(case, o.point),
            capture,
            limit: o.limit,
            channel: o.channel.word().to_owned(),
            packets: o.total(),
            by_direction: ByDirection { to_client: o.to_client(), to_server: o.to_server() },
            sizes: o.sizes.clone(),
            segments: o.segments.iter().sum(),
            most_repeats: u64::from(o.most_repeats),
            delivered: o.delivered(),
            decrypted: case.point(o.point).is_some_and(|p| p.decrypted_at.is_some()),
            first_frame: frames.first().copied().unwrap_or_default(),
            frames,
        }
    })
    .collect()
}

fn frag_needed(case: &Case<'_>) -> Vec<FragNeeded> {
    let mut by_point: BTreeMap<PointId, FragNeeded> = BTreeMap::new();
    let mut frames: BTreeMap<PointId, Vec<FrameRef>> = BTreeMap::new();
    for icmp in case.session.frag_needed() {
        let facts = &icmp.facts;
        let entry = by_point.entry(facts.point).or_insert_with(|| FragNeeded {
            vantage: word(case, facts.point),
            capture: case.point(facts.point).map_or(0, |p| p.capture),
            ..FragNeeded::default()
        });
        entry.packets += u64::from(facts.count);
        entry.next_hop_mtu.extend(&facts.mtus);
        entry.senders.push(facts.sender.to_string());
        frames.entry(facts.point).or_default().extend(&facts.frames);
    }
    for (point, entry) in &mut by_point {
        entry.next_hop_mtu.sort_unstable();
        entry.next_hop_mtu.dedup();
        entry.senders.sort_unstable();
        entry.senders.dedup();
        entry.frames = numbers(frames.get(point).map(Vec::as_slice).unwrap_or_default(), entry.capture);
        entry.frames.truncate(session::facts::MAX_FRAMES);
        entry.first_frame = entry.frames.first().copied().unwrap_or_default();
    }
    by_point.into_values().collect()
}

fn reconnects(session: &session::Session) -> Vec<Reconnect> {
    session
        .reconnects
        .iter()
        .map(|r| {
            let mut detail = match r.lived {
                Some(seconds) => format!("the old tunnel had lived {seconds:.1} s"),
                None => "the old tunnel began before the capture".to_owned(),
            };
            if let Some(since) = r.since_hello {
                detail.push_str(&format!(", {since:.1} s after its first ClientHello"));
            }
            if let Some(mss) = r.inner_mss {
                let (before, after) = (mss.before.0, mss.after.0);
                detail.push_str(&format!("; inner SYN MSS {before} before, {after} after"));
            }
            if let Some((before, after)) = r.outer_mss.filter(|(a, b)| a != b) {
                detail.push_str(&format!("; outer SYN MSS {before} before, {after} after"));
            }
            Reconnect {
                at: rfc3339(r.at),
                gap_seconds: r.gap,
                cause: r.cause.word().to_owned(),
                without_data_seconds: r.without_data,
                mtu: mtu_across(r),
                detail,
                frame: frame_number(r.frame),
            }
        })
        .collect()
}

/// What a reconnect did to the MTU: inner SYNs tell exactly, full records up to their padding.
fn mtu_across(r: &session::reconnect::Reconnect) -> Option<[u32; 2]> {
    let by_syn = r.inner_mss.map(|mss| mss.mtus());
    by_syn.or_else(|| r.ceiling.as_ref().map(|(before, after)| [before, after].map(|window| u32::from(*window.end()))))
}

/// A capture that is there already and may only need its label.
pub fn label_hint(report: &mut Report, hint: session::inner::Unclaimed, points: &[Point]) {
    let may_be = |point: &&Point| point.vantage.is_none() && !session::point::is_called_outer(point);
    let Some(point) = points.get(usize::from(hint.point.0)).filter(may_be) else { return };
    let Some(capture) = report.captures.get(usize::from(point.capture)) else { return };
    let vantage = Vantage::Inside.word();
    // The sizes and addresses of the first are telling enough; one label is all it takes.
    if report.next_captures.iter().any(|n| n.vantage == vantage) {
        return;
    }
    let why = format!(
        "packets of {} B toward {} never got through at {}; if that is the gateway's inside interface, say so",
        hint.size, hint.address, point.name
    );
    let command = match capture.path.as_str() {
        "-" => "acpcap analyze inside:-".to_owned(),
        path => format!("acpcap analyze {}", quoted(&format!("inside:{path}"))),
    };
    report.next_captures.push(NextCapture { vantage: vantage.to_owned(), session: String::new(), why, command });
}

/// Fragmentation Needed about packets of no session: it may be about traffic inside a tunnel that could not be told to be that.
pub fn strays(icmp: &[IcmpFacts]) -> Option<Loss> {
    let first = icmp.iter().min_by_key(|error| error.first)?;
    let total: u32 = icmp.iter().map(|error| error.count).sum();
    let (quoted, mtu) = (first.quoted, first.mtus.first().map_or(String::new(), |mtu| format!(", MTU {mtu}")));
    let text = format!(
        "{} about packets of no session: the first from {} about {} B from {} to {}{mtu}. If that is inside a tunnel, a \
         capture of the inside alone tells whose",
        finding::count(u64::from(total), "Fragmentation Needed message"),
        first.sender,
        quoted.total_len,
        quoted.src,
        quoted.dst
    );
    let capture = first.frames.first().map(|frame| frame.capture);
    Some(Loss { kind: "stray-frag-needed".to_owned(), capture, count: u64::from(total), text, limit: false })
}

/// What to say of IPsec: acpcap does not look into it, and says so rather than nothing.
pub fn ipsec(ike: &BTreeSet<(IpAddr, IpAddr)>) -> Option<Loss> {
    let (client, gateway) = ike.first()?;
    let more = ike.len() as u64 - 1;
    let more = if more > 0 { format!(" and {}", finding::count(more, "more pair")) } else { String::new() };
    let text = format!(
        "IKE between {client} and {gateway}{more}: IPsec, perhaps AnyConnect over IKEv2, is not looked at; this tool reads TLS and DTLS"
    );
    Some(Loss { kind: "ipsec".to_owned(), capture: None, count: ike.len() as u64, text, limit: false })
}

/// What to say of DTLS that may be a tunnel's, as nothing beside it tells.
pub fn late_dtls(late: &BTreeSet<(IpAddr, SocketAddr)>) -> Option<Loss> {
    let (client, server) = late.first()?;
    let more = late.len() as u64 - 1;
    let more = if more > 0 { format!(" and {}", finding::count(more, "more such pair")) } else { String::new() };
    let text = format!(
        "DTLS data between {client} and {server}{more}, begun before the capture and without TLS beside it: if that is a gateway, its tunnel is up, and nothing was judged; a capture that also has TCP, or the beginning, shows it"
    );
    Some(Loss { kind: LATE_DTLS.to_owned(), capture: None, count: late.len() as u64, text, limit: false })
}

/// What to say of TLS where no session was recognised, or at a gateway by others: to whom, why nothing tells whose it is, and what would.
pub fn unrecognised(unrecognised: &Unrecognised) -> Vec<Loss> {
    let last = unrecognised.servers.len().saturating_sub(1);
    let whom = |server: &Server| match unrecognised.at_gateways {
        true => format!("of clients without a session to the gateway {}", server.address),
        false => format!("to {}", server.address),
    };
    let line = |(place, server): (usize, &Server)| {
        let kind = if server.packets > 0 { "TLS" } else { "TCP" };
        let packets =
            if server.packets > 0 { format!("{}, ", counted(server.packets, "packet")) } else { String::new() };
        let fate = |(fate, count): &(Fate, u64)| match server.fates.len() {
            1 => fate.words().to_owned(),
            _ => format!("{} {}", grouped(*count), fate.words()),
        };
        let fates: Vec<String> = server.fates.iter().map(fate).collect();
        let wanted = server.fates.iter().find_map(|(fate, _)| fate.wanted());
        let wanted = wanted.map_or(String::new(), |wanted| format!("; {wanted}"));
        let more = match unrecognised.more {
            more if more > 0 && place == last => format!("; and {} like that", counted(more, "more server")),
            _ => String::new(),
        };
        let text = format!(
            "whether {} {} ({packets}from frame {}) {} a tunnel's: {}{wanted}{more}",
            counted(server.connections, &format!("{kind} connection")),
            whom(server),
            grouped(u64::from(server.first.number)),
            if server.connections == 1 { "is" } else { "are" },
            fates.join(", ")
        );
        let (kind, capture) = (OTHER_TLS.to_owned(), Some(server.first.capture));
        Loss { kind, capture, count: server.connections, text, limit: false }
    };
    unrecognised.servers.iter().enumerate().map(line).collect()
}

/// What to say of captures that were merged from several places.
pub fn merged(points: &[Point]) -> Vec<Loss> {
    let told = |point: &Point| {
        let text = format!(
            "{} seems to be merged from captures at two places: it holds the same packets twice, as both saw them; which of them one is \
             from cannot be told, and what is lost between them does not show. Give them as separate files, client:FILE outside:FILE",
            point.name
        );
        Loss { kind: "merged".to_owned(), capture: Some(point.capture), count: 1, text, limit: false }
    };
    points.iter().filter(|point| point.is_merged && point.decrypted_at.is_none()).map(told).collect()
}

/// As a POSIX shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:,+@%=".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Not routed in the Internet: a gateway there sees another address (RFC 1918, RFC 4193).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// The exact command for a capture at that vantage, for the session last added; one per vantage, of a faulty session if possible.
/// What to capture next, as the sessions ask for it.
#[derive(Default)]
pub struct Wishes(Vec<Wish>);

struct Wish {
    capture: NextCapture,
    /// Something is wrong in the session that asks.
    is_urgent: bool,
}

impl Wishes {
    /// Adds what answers about a session want; `severity` is the worst of them.
    pub fn add(&mut self, id: &str, session: &session::Session, severity: Option<Severity>, answers: &Answers) {
        let is_urgent = severity.is_some_and(|severity| severity > Severity::Info);
        // What is wrong comes before what is open.
        let is_found = |answer: &&(_, Outcome)| matches!(answer.1, Outcome::Found(_));
        for (_, outcome) in answers.iter().filter(is_found).chain(answers.iter().filter(|answer| !is_found(answer))) {
            if let Some(wanted) = outcome.wanted()
                && self.has_room(*wanted, is_urgent)
            {
                self.0.push(Wish { capture: next_capture(id, session, *wanted), is_urgent });
            }
        }
    }

    /// Is it wanted more than what was? One of each vantage is told.
    fn has_room(&mut self, wanted: Wanted, is_urgent: bool) -> bool {
        /// More than this nobody takes.
        const MOST: usize = 4;
        let known = self.0.iter().position(|wish| wish.capture.vantage == wanted.vantage.word());
        match known {
            Some(known) if is_urgent && self.0.get(known).is_some_and(|wish| !wish.is_urgent) => {
                self.0.remove(known);
                true
            }
            Some(_) => false,
            None => self.0.len() < MOST,
        }
    }

    /// The list.
    pub fn into_list(self) -> Vec<NextCapture> {
        self.0.into_iter().map(|wish| wish.capture).collect()
    }
}

fn next_capture(id: &str, session: &session::Session, want: Wanted) -> NextCapture {
    let (client, gateway) = (session.client, session.gateway.map_or("GATEWAY".to_owned(), |g| g.to_string()));
    let inner = session.inner_addresses.first().map_or("INNER-ADDRESS".to_owned(), ToString::to_string);
    let outer_client = match (session.gateway, session.nat()) {
        (None, _) => "CLIENT".to_owned(),
        (_, Some((_, seen))) => seen.to_string(),
        (Some(gateway), None) if is_private(client) && !is_private(gateway) => "CLIENT-PUBLIC-ADDRESS".to_owned(),
        _ => client.to_string(),
    };
    let command = match want.vantage {
        Vantage::Client => format!("dumpcap -i INTERFACE -f \"host {gateway} or icmp or icmp6\" -w client.pcapng"),
        Vantage::Outside => {
            format!(
                "capture acp-out interface outside packet-length 1600 buffer 33554432 match ip host {outer_client} host {gateway} match icmp any host {gateway}"
            )
        }
        Vantage::Inside => {
            format!(
                "capture acp-in interface inside packet-length 1600 buffer 33554432 match ip host {inner} any match icmp any any"
            )
        }
        Vantage::VirtualAdapter => "dumpcap -i \"Cisco AnyConnect\" -w adapter.pcapng".to_owned(),
    };
    let (vantage, session) = (want.vantage.word().to_owned(), id.to_owned());
    NextCapture { vantage, session, why: want.why.to_owned(), command }
}
