//! Packets that must not be fragmented, larger than what the path or the tunnel carries.

use super::remedy;
use crate::event::{Direction, FrameRef, LARGE, PointId, Stuck, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Finding, Grade, Outcome, RuledOut, Severity, Wanted, count, elapsed,
    frame_filters,
};
use crate::session::heed::is_ignored;
use crate::session::limits::{
    StuckUpload, largest_inside, largest_passed_to_client, lost_behind_gateway, may_have_left, standstill,
    stuck_beside_passing, stuck_beyond, stuck_toward_client, stuck_uploads,
};
use crate::session::{Channel, Limit, Oversized, Point, Session};

const READ: Grade =
    Grade::high("the limit was told, or read from a packet: ICMP, decrypted header, MSS after the reconnect");
const BRACKETED: Grade = Grade::medium("the limit is a bracket from at least three sendings of one segment");
const TAKEN: Grade =
    Grade::high("captures on both sides of the gateway show that it got the packets and did not send them on");
const TWICE: Grade = Grade::low("the limit is a bracket from two sendings");
const SILENT: Grade = Grade::low("the limit is a bracket, and no TCP or UDP came from the client meanwhile");

pub static DETECTOR: Detector = Detector {
    id: "oversized-df",
    title: "Packets with DF are larger than the limit in force",
    severity: Severity::High,
    judged_from: &[Vantage::Inside, Vantage::VirtualAdapter, Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::OfTcp,
    leads_to: &["missing-frag-needed", "frag-needed-ignored"],
    question: "whether packets too big for the tunnel come from the servers",
    explanation: "\
A packet with the DF bit (or any IPv6 packet) that measures more than the tunnel or the path carries is dropped; its sender \
should be told by ICMP. The gateway's counter for it is `mp-svc-no-fragment`, its syslog 722036 (\"Transmitting large packet\").

The limit is, in this order: what you told (`--tls-mtu`, `--dtls-mtu`), the next-hop MTU of an ICMP error about packets toward the client, the MTU it \
lowered its adapter to after a reconnect, and else only a bracket: nothing of the smallest size that never got through, or \
larger, passed. With keys the MTU that the gateway named comes second, unless an ICMP error or a bracket tells less. When as large ones had passed before and nothing at all is seen to pass meanwhile, the tunnel itself may have \
stood still: that cannot be told from its inside alone. Where outer captures show a datagram of just the right length leave for \
nearly every packet of a size, the tunnel took it, and what got stuck was lost behind the gateway. A limit counts from when it held: the MTU of TLS until DTLS was up and after it \
died, that of DTLS between. Packets that got through all the same are counted as delivered: a gateway \
that fragments (`df-bit-ignore`), or that drops only toward the client. Repeats of one TCP segment are told apart from distinct \
segments. Offload super-frames (more bytes than the peer's MSS) were never on the wire like that and do not count.

Uploads are judged with keys: a segment toward the server that was sent three times or more and never acknowledged, larger than \
anything that got through to that server, while the server goes on answering smaller ones (medium), or while captures on both sides of the gateway show \
that it came and did not go on (high). Read at the client alone, it may as well have been lost before the gateway, and that cannot be told.",
    confidence: &[READ, TAKEN, BRACKETED, TWICE, SILENT],
    remedy: &[
        "remove the cause (DTLS that does not come up, or a link with a small MTU)",
        remedy::MTU_1300,
        remedy::DF_IGNORE,
    ],
    references: &["Cisco TAC 116881", "RFC 1191", "RFC 8201", "RFC 2923 §2.1"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let worst = session
        .oversized
        .iter()
        .max_by_key(|o| (o.channel == Channel::Inner, o.stuck_to_client, o.to_client(), o.total()));
    let downloads_hang = worst.is_some_and(|worst| worst.stuck_to_client > 0);
    if let Some(hangs) = Upload::of(case).filter(|_| !downloads_hang) {
        return hangs.outcome(case, worst);
    }
    let Some(worst) = worst else { return absent(case) };
    let limit = session.limits.iter().find(|l| l.in_force && l.bytes == worst.limit);
    Outcome::Found(Box::new(Finding {
        severity: severity(session, worst),
        grade: grade(session, worst, limit),
        stands_alone: worst.is_beyond_dtls(),
        headline: headline(worst),
        ruled_out: ruled_out(session, worst),
        summary: summary(case, session, worst, limit),
        evidence: session
            .oversized
            .iter()
            .map(|o| {
                Evidence::Frames(
                    o.frames.clone(),
                    format!("{} above {} B at {}", count(o.total(), "packet"), o.limit, case.place(o.point)),
                )
            })
            .collect(),
        filters: session
            .oversized
            .iter()
            .flat_map(|o| frame_filters(&o.frames, &format!("packets above {} B at {}", o.limit, case.place(o.point))))
            .collect(),
        remedy: cures(session, worst),
        ..Finding::default()
    }))
}

/// An upload that hangs on a size.
struct Upload<'a> {
    upload: StuckUpload<'a>,
    /// Where the tunnel was opened to read it.
    read_at: Vantage,
    /// Where it did not come out, and the largest of its flow that did.
    inside: Option<(PointId, u32)>,
}

impl<'a> Upload<'a> {
    /// The one that tells most.
    fn of(case: &Case<'a>) -> Option<Upload<'a>> {
        let insides =
            || -> Vec<&Point> { case.at(Vantage::Inside).into_iter().filter_map(|id| case.point(id)).collect() };
        let all = stuck_uploads(case.session).filter_map(|upload| {
            let opened_at = case.point(upload.flow.facts.point)?.decrypted_at?;
            let read_at = case.point(opened_at)?.vantage.filter(|vantage| vantage.is_outer())?;
            let inside = largest_inside(case.session, &upload, &insides());
            let inside = inside.filter(|(_, largest)| read_at == Vantage::Outside && *largest < upload.stuck.ip_len);
            (inside.is_some() || upload.is_answered).then_some(Upload { upload, read_at, inside })
        });
        all.max_by_key(|u| (u.inside.is_some(), u.read_at == Vantage::Outside, u.upload.stuck.times))
    }

    fn outcome(self, case: &Case<'_>, over: Option<&Oversized>) -> Outcome {
        let stuck = self.upload.stuck;
        let told = over.map(|over| over.limit).filter(|limit| *limit < stuck.ip_len);
        if self.inside.is_none() && self.read_at == Vantage::Client && told.is_none() {
            let why = format!(
                "{} Whether it was lost before the gateway or behind it cannot be seen here",
                self.words("a", case, told)
            );
            let wanted = Some(Wanted { vantage: Vantage::Outside, why: "whether the client's large packets arrive" });
            return Outcome::unsettled(why, wanted, "data that the client sent into the tunnel was never acknowledged");
        }
        let capture = self.upload.flow.facts.opened.first_frame.capture;
        let frames: Vec<FrameRef> =
            [stuck.first_frame, stuck.last_frame].map(|number| FrameRef { capture, number }).into();
        let shows = "first and last sending of what got stuck toward the server";
        Outcome::Found(Box::new(Finding {
            severity: if self.inside.is_some() { Severity::High } else { Severity::Medium },
            grade: if self.inside.is_some() { TAKEN } else { BRACKETED },
            headline: "uploads hang on packets too big for the way to the server".to_owned(),
            summary: self.words("A", case, told),
            evidence: vec![Evidence::Frames(frames.clone(), shows.to_owned())],
            filters: frame_filters(&frames, shows),
            remedy: vec![
                format!(
                    "find the link at or behind the gateway that does not carry {} B, its own inside interface first",
                    stuck.ip_len
                ),
                "let its ICMP type 3 code 4 (and ICMPv6 type 2) reach the VPN clients".to_owned(),
                "until then `anyconnect mtu` in the group policy below what that link carries".to_owned(),
            ],
            ..Finding::default()
        }))
    }

    fn words(&self, a: &str, case: &Case<'_>, told: Option<u32>) -> String {
        let (stuck, place) = (self.upload.stuck, case.place(self.upload.flow.facts.point));
        let told = told.map_or(String::new(), |limit| format!(", above the limit of {limit} B,"));
        let mut text = format!(
            "{a} packet of {} B{told} toward the server was sent {} times over {}, as read at {place}, and never acknowledged",
            stuck.ip_len,
            stuck.times,
            elapsed(stuck.last.seconds_since(stuck.first))
        );
        if self.upload.is_answered {
            text.push_str(", while the server went on answering smaller ones");
        }
        if self.upload.passed_before {
            text.push_str("; as large ones had passed before");
        }
        text.push('.');
        if let Some((point, largest)) = self.inside {
            let came = if largest < LARGE { "small packets".to_owned() } else { format!("packets up to {largest} B") };
            text.push_str(&format!(
                " At {} only {came} of that connection came out: the gateway got the others and did not send them on.",
                case.place(point)
            ));
        }
        text
    }
}

fn headline(over: &Oversized) -> String {
    match (over.channel, over.stuck_to_client > 0) {
        (Channel::Inner, true) => "downloads hang on packets too big for the tunnel",
        (Channel::Inner, false) => "packets too big for the tunnel are dropped",
        _ => "packets too big for the outer path are dropped",
    }
    .to_owned()
}

/// What else stops large packets.
fn ruled_out(session: &Session, over: &Oversized) -> Vec<RuledOut> {
    let mut all = Vec::new();
    if over.channel == Channel::Inner && over.stuck_to_client > 0 {
        let views = session.tunnels().flat_map(|c| &c.views);
        let outer = views.filter_map(|v| Some(v.ended.sizes.toward(Direction::ToClient).largest_passed?.ip_len)).max();
        // Of TCP: it says nothing about what DTLS carried.
        if let Some(bytes) = outer.filter(|_| !session.dtls.iter().any(|d| d.worked())) {
            let why = format!("outer packets up to {bytes} B reached the client, and none got stuck");
            all.push(RuledOut { what: "a black hole on the outer path", why });
        }
        if let Some((bytes, _)) = largest_passed_to_client(session) {
            all.push(RuledOut { what: "a dead path", why: format!("packets up to {bytes} B got through") });
        }
    }
    all
}

fn absent(case: &Case<'_>) -> Outcome {
    let session = case.session;
    if session.inner.is_empty() {
        if let Some(bytes) = session.largest_read() {
            return case.clear(|| format!("packets inside the tunnel measure {bytes} B at most, as keys show"));
        }
        return Outcome::cannot_tell(
            "packets inside the tunnel cannot be seen here without keys; outer packets met no known limit",
            Some(Wanted { vantage: Vantage::Inside, why: DETECTOR.question }),
        );
    }
    if let Some(still) = standstill(session) {
        return Outcome::cannot_tell(
            format!(
                "packets of {} B toward the client got stuck from {:.1} s on, but as large ones had passed before, and nothing is \
                 seen to pass meanwhile: the tunnel itself may have stood still, which only the outer path shows",
                still.ip_len,
                still.since.seconds_since(session.start)
            ),
            Some(Wanted { vantage: Vantage::Outside, why: "whether the tunnel's own packets get through" }),
        );
    }
    if let Some((flow, stuck)) = stuck_beside_passing(session) {
        let (_, server) = flow.ends();
        return case.clear(|| {
            format!(
                "a segment of {} B from {} was sent {} times in vain (frame {}), but as large ones got through meanwhile: not for \
                 its size; look at the path to that server",
                stuck.ip_len,
                server.ip(),
                stuck.times,
                stuck.first_frame
            )
        });
    }
    if let Some(lost) = lost_behind_gateway(session) {
        return lost_in_datagrams(case, lost);
    }
    if let Some(stuck) = stuck_beyond(session) {
        return Outcome::unsettled(
            format!(
                "a packet of {} B went into the tunnel toward the client {} times and was never acknowledged: not too big for the \
                 tunnel, but lost behind this point or unanswered",
                stuck.ip_len, stuck.times
            ),
            Some(Wanted { vantage: Vantage::Client, why: "whether the tunnel's large packets arrive" }),
            "data that the gateway sent into the tunnel was never acknowledged",
        );
    }
    let stuck = session.inner.iter().any(|f| stuck_toward_client(f).is_some());
    match largest_passed_to_client(session) {
        _ if stuck => Outcome::clear("what got stuck toward the client did so for another reason than its size"),
        Some((bytes, _)) => {
            case.clear(|| format!("packets up to {bytes} B got through toward the client, and no size got stuck"))
        }
        None => Outcome::clear("no packet above 576 B got stuck and no limit was met"),
    }
}

/// The tunnel took it: whether that is told of the outer path is another detector's matter.
fn lost_in_datagrams(case: &Case<'_>, lost: &Stuck) -> Outcome {
    let why = format!(
        "a packet of {} B toward the client was sent {} times in vain, and each time a datagram of just its length left the \
         gateway: not too big for the tunnel, but lost behind it",
        lost.ip_len, lost.times
    );
    // At both ends of that way its loss shows.
    if case.is_at(Vantage::Client) {
        return Outcome::clear(why);
    }
    let wanted = Some(Wanted { vantage: Vantage::Client, why: "whether the tunnel's large packets arrive" });
    Outcome::unsettled(why, wanted, "data that the gateway sent into the tunnel was never acknowledged")
}

fn severity(session: &Session, over: &Oversized) -> Severity {
    if over.stuck_to_client > 0 {
        return Severity::High;
    }
    // Told by ICMP and heeded, or delivered all the same: worth knowing, not a fault.
    let udp_unanswered = over.frag_needed == 0 && over.delivered == 0 && over.to_client() > 0;
    let useless = session.frag_needed().any(|i| i.facts.mtus.iter().all(|m| *m < 68));
    if udp_unanswered || useless { Severity::Medium } else { Severity::Info }
}

fn grade(session: &Session, over: &Oversized, limit: Option<&Limit>) -> Grade {
    match limit {
        Some(l) if !l.is_bracket() => READ,
        _ if may_have_left(session, over) => SILENT,
        Some(_) if over.most_repeats >= 3 => BRACKETED,
        _ => TWICE,
    }
}

fn summary(case: &Case<'_>, session: &Session, over: &Oversized, limit: Option<&Limit>) -> String {
    let sizes: Vec<String> = over.sizes.keys().rev().take(3).map(|s| format!("{s} B")).collect();
    let what = match over.channel {
        Channel::OuterTcp => "outer TCP packet",
        Channel::OuterUdp => "outer UDP packet",
        _ => "packet",
    };
    let (least, smaller) = if over.is_least { ("at least ", " and smaller") } else { ("", "") };
    let sizes = format!("{}{smaller} with DF", sizes.join(", "));
    let ways = match (over.to_client(), over.to_server()) {
        (down, 0) => format!("{least}{} of {sizes} toward the client", count(down, what)),
        (0, up) => format!("{least}{} of {sizes} toward the server", count(up, what)),
        (down, up) => format!("{least}{} of {sizes} toward the client and {up} toward the server", count(down, what)),
    };
    let mut text = format!("{ways} at {}; limit {}", case.place(over.point), limit_words(limit, over));
    if over.most_repeats > 1 {
        text.push_str(&format!(
            ". One segment was sent {} times over {}",
            over.most_repeats,
            elapsed(over.repeat_seconds)
        ));
    }
    if over.stuck_to_client > 0 {
        text.push_str(&match largest_passed_to_client(session) {
            Some((bytes, _)) if bytes < over.limit + 1 => {
                format!("; nothing above {bytes} B got through toward the client")
            }
            _ => "; none of them got through".to_owned(),
        });
    } else if over.frag_needed > 0 {
        let told = count(u64::from(over.frag_needed), "ICMP Fragmentation Needed message");
        text.push_str(&match is_ignored(session, over.point, over.channel == Channel::Inner) {
            true => format!(". {told} came and changed nothing (frag-needed-ignored)"),
            false => format!(". {told} told the sender, which then sent smaller packets"),
        });
    } else if over.delivered == over.total() {
        text.push_str(". All of them got through all the same");
    }
    text.push('.');
    if limit.is_none_or(Limit::is_bracket) && may_have_left(session, over) {
        text.push_str(" No TCP or UDP came from the client meanwhile: one that has left, or whose path died, would look the same.");
    }
    if over.is_beyond_dtls() && !fell(limit) {
        text.push_str(" That is more than one packet of a 1500-byte link carries, over DTLS or TLS: the adapter's MTU, or its MSS, is set too large.");
    }
    text
}

/// Did larger packets get through before?
fn fell(limit: Option<&Limit>) -> bool {
    limit.is_some_and(|l| l.is_bracket() && l.since.is_some())
}

fn limit_words(limit: Option<&Limit>, over: &Oversized) -> String {
    match limit {
        Some(l) if fell(Some(l)) => {
            format!("at most {} B (larger ones had passed before: the tunnel or its path became narrower)", over.limit)
        }
        Some(l) if l.is_bracket() => format!("at most {} B (nothing larger passed)", over.limit),
        Some(l) => format!("{} B ({})", over.limit, l.source),
        None => format!("{} B", over.limit),
    }
}

fn cures(session: &Session, over: &Oversized) -> Vec<String> {
    if over.stuck_to_client == 0 {
        return Vec::new();
    }
    let all = [remedy::equal_mtus(session), remedy::df_ignore(session), Some(remedy::NOT_TCPMSS.to_owned())];
    all.into_iter().flatten().collect()
}
