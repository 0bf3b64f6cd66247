//! Packets that must not be fragmented, larger than what the path or the tunnel carries.

use super::remedy;
use crate::event::{Direction, FrameRef, LARGE, PointId, Stuck, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Finding, Grade, Outcome, RuledOut, Severity, Wanted, count, elapsed,
    frame_filters,
};
use crate::session::heed::is_heeded;
use crate::session::stuck::{
    StuckUpload, largest_inside, largest_passed_to_client, lost_behind_gateway, may_have_left, standstill,
    stuck_beside_passing, stuck_beyond, stuck_toward_client, stuck_uploads, taken_in_vain,
};
use crate::session::vanished::{self, Downloads};
use crate::session::{Channel, Limit, Oversized, Point, Session};

const READ: Grade =
    Grade::high("the limit was told, or read from a packet: ICMP, decrypted header, MSS after the reconnect");
const BRACKETED: Grade = Grade::medium("the limit is a bracket from at least three sendings of one segment");
const TAKEN: Grade =
    Grade::high("captures on both sides of the gateway show that it got the packets and did not send them on");
const TWICE: Grade = Grade::low("the limit is a bracket from two sendings");
const VANISHED: Grade = Grade::medium(
    "bytes toward the client vanished before its adapter, of several connections or beside others, and larger packets were allowed \
     than any that came",
);
const VANISHED_ONCE: Grade = Grade::low("the same of one connection, with nothing seen to come meanwhile");
const AT_ADAPTER: Grade = Grade::low(
    "a bracket from three sendings or more, seen at the client's adapter: it may have been lost anywhere behind it",
);
const SILENT: Grade = Grade::low("the limit is a bracket, and no TCP or UDP came from the client meanwhile");

const WHERE_LOST: &str = "whether the packets go in and out there, and which sizes do";

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
larger, passed. With keys the MTU that the gateway named comes second, unless an ICMP error or a bracket tells less. When as large ones had passed before and no other transfer and no new connection is seen to get through meanwhile, the tunnel itself may have \
stood still: that cannot be told from its inside alone. Where outer captures show a datagram of just the right length leave for \
nearly every packet of a size, the tunnel took it, and what got stuck was lost behind the gateway. A limit counts from when it held: the MTU of TLS until DTLS was up and after it \
died, that of DTLS between. Packets that got through all the same are counted as delivered: a gateway \
that fragments (`df-bit-ignore`), or that drops only toward the client. Repeats of one TCP segment are told apart from distinct \
segments. Offload super-frames (more bytes than the peer's MSS) were never on the wire like that and do not count.

Uploads are judged with keys: a segment toward the server that was sent three times or more and never acknowledged, larger than \
anything that got through to that server, while the server goes on answering smaller ones (medium), or while captures on both sides of the gateway show \
that it came and did not go on (high). Read at the client alone, it may as well have been lost before the gateway, and that cannot be told. \
At the client's adapter the same is told with low confidence, and only where nothing as large had passed.

At the adapter, or inside the tunnel with keys, a download that hangs shows as bytes that never come: seconds after the last data a \
segment without data stands behind them, and the client has none of them. Where the MSS of both ends allows larger packets than any that \
came, they were likely too big; else they were merely lost, and that is all that is said. What is lost on a healthy path is sent again within \
a second or two.",
    confidence: &[READ, TAKEN, BRACKETED, VANISHED, TWICE, SILENT, VANISHED_ONCE, AT_ADAPTER],
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
    // What the outer path tells of its tunnel says more than what never came through that.
    let is_all = worst.is_none() && session.gateway.is_none();
    let is_told = |hangs: &Upload<'_>| is_all || !hangs.may_be_of_outer_path(session, worst);
    if let Some(hangs) = Upload::of(case).filter(|hangs| !downloads_hang && is_told(hangs)) {
        return hangs.outcome(case, worst);
    }
    let is_minor = worst.is_none_or(|w| w.channel == Channel::Inner && severity(session, w) == Severity::Info);
    let is_told = |gone: &Downloads<'_>| is_all || is_minor && gone.may_be_too_big();
    if let Some(gone) = vanished::downloads(session, case.points).filter(|gone| !downloads_hang && is_told(gone)) {
        return vanish(case, &gone);
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
        let all = stuck_uploads(case.session, case.points).filter_map(|upload| {
            let seen_at = case.point(upload.flow.facts.point)?;
            let read_at = match seen_at.decrypted_at {
                Some(opened_at) => case.point(opened_at)?.vantage.filter(|vantage| vantage.is_outer())?,
                None => seen_at.vantage?,
            };
            let inside = largest_inside(case.session, &upload, &insides());
            let inside = inside.filter(|(_, largest)| read_at == Vantage::Outside && *largest < upload.stuck.ip_len);
            let is_enough = inside.is_some() || upload.is_answered || read_at == Vantage::VirtualAdapter;
            is_enough.then_some(Upload { upload, read_at, inside })
        });
        // What was read out of the tunnel tells more than what went into it.
        let nearness = |u: &Upload<'_>| (u.read_at == Vantage::Outside, u.read_at == Vantage::Client);
        all.max_by_key(|u| (u.inside.is_some(), nearness(u), u.upload.is_answered, u.upload.stuck.times))
    }

    /// The limit that it is above.
    fn limit(&self, over: Option<&Oversized>) -> Option<u32> {
        over.map(|over| over.limit).filter(|limit| *limit < self.upload.stuck.ip_len)
    }

    fn is_at_adapter(&self) -> bool {
        self.read_at == Vantage::VirtualAdapter
    }

    /// Seen at the adapter, as large ones had passed, or the server says nothing more: it need not be the size.
    fn may_be_chance(&self, over: Option<&Oversized>) -> bool {
        let is_unlike = self.upload.passed_before || !self.upload.is_answered;
        self.is_at_adapter() && self.limit(over).is_none() && is_unlike
    }

    /// The same, or the outer path was captured, and may be what does not carry it.
    fn may_be_of_outer_path(&self, session: &Session, over: Option<&Oversized>) -> bool {
        let is_captured = session.gateway.is_some() && self.is_at_adapter() && self.limit(over).is_none();
        is_captured || self.may_be_chance(over)
    }

    fn outcome(self, case: &Case<'_>, over: Option<&Oversized>) -> Outcome {
        let stuck = self.upload.stuck;
        let told = self.limit(over);
        if self.inside.is_none() && self.read_at == Vantage::Client && told.is_none() {
            let why = format!(
                "{} Whether it was lost before the gateway or behind it cannot be seen here",
                self.words("a", case, told)
            );
            let wanted = Some(Wanted { vantage: Vantage::Outside, why: "whether the client's large packets arrive" });
            return Outcome::unsettled(why, wanted, "data that the client sent into the tunnel was never acknowledged");
        }
        if self.may_be_chance(over) {
            let wanted = Some(Wanted { vantage: Vantage::Inside, why: WHERE_LOST });
            return Outcome::unsettled(
                self.words("a", case, told),
                wanted,
                "data of the client was never acknowledged",
            );
        }
        let capture = self.upload.flow.facts.opened.first_frame.capture;
        let frames: Vec<FrameRef> =
            [stuck.first_frame, stuck.last_frame].map(|number| FrameRef { capture, number }).into();
        let shows = "first and last sending of what got stuck toward the server";
        Outcome::Found(Box::new(Finding {
            severity: if self.inside.is_some() { Severity::High } else { Severity::Medium },
            grade: match (self.inside, self.is_at_adapter() && told.is_none()) {
                (Some(_), _) => TAKEN,
                (None, false) => BRACKETED,
                (None, true) => AT_ADAPTER,
            },
            wanted: self.is_at_adapter().then_some(Wanted { vantage: Vantage::Inside, why: WHERE_LOST }),
            headline: "uploads hang on packets too big for the way to the server".to_owned(),
            summary: self.words("A", case, told),
            evidence: vec![Evidence::Frames(frames.clone(), shows.to_owned())],
            filters: frame_filters(&frames, shows),
            remedy: vec![
                match self.is_at_adapter() && told.is_none() {
                    true => format!(
                        "find what does not carry {} B: the outer path, the gateway, or a link behind it",
                        stuck.ip_len
                    ),
                    false => format!(
                        "find the link at or behind the gateway that does not carry {} B, its own inside interface first",
                        stuck.ip_len
                    ),
                },
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
            "{a} packet of {} B{told} toward the server was sent {} times over {}, as {} at {place}, and never acknowledged",
            stuck.ip_len,
            stuck.times,
            elapsed(stuck.last.seconds_since(stuck.first)),
            if self.is_at_adapter() { "seen" } else { "read" }
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

/// Downloads of which the client's adapter shows that their data never came.
fn vanish(case: &Case<'_>, gone: &Downloads<'_>) -> Outcome {
    let (flow, worst) = gone.worst;
    let frames = vec![worst.told.1];
    let shows = "the server's first segment behind the bytes that never came";
    let mut text = format!(
        "{} B from {} never came to {}: {} after the last data a segment of it without data stood behind them, and the client never \
         acknowledged one",
        worst.bytes,
        flow.ends().1.ip(),
        case.place(flow.facts.point),
        elapsed(worst.seconds()),
    );
    if gone.connections > 1 {
        text.push_str(&format!("; so did data of {} connections, {} B in all", gone.connections, gone.bytes));
    }
    text.push('.');
    if gone.others_came {
        text.push_str(" Other packets from servers came meanwhile.");
    }
    let largest = gone.largest.map_or("no large packet".to_owned(), |bytes| format!("none above {bytes} B"));
    let wanted = Some(Wanted { vantage: Vantage::Inside, why: WHERE_LOST });
    let Some(allowed) = gone.allowed.filter(|_| gone.may_be_too_big()) else {
        if let Some(bytes) = gone.largest {
            text.push_str(&format!(" Packets up to {bytes} B came at other times: nothing speaks of their size."));
        }
        return Outcome::unsettled(text, wanted, "data toward the client vanished before its adapter");
    };
    text.push_str(&format!(
        " By the MSS of both ends the packets might measure {allowed} B, and {largest} came toward the client: too big for the tunnel, \
         or for its path, is likely."
    ));
    Outcome::Found(Box::new(Finding {
        severity: if gone.is_telling() { Severity::Medium } else { Severity::Low },
        grade: if gone.is_telling() { VANISHED } else { VANISHED_ONCE },
        headline: "downloads hang: their data vanishes before the client's adapter, likely for its size".to_owned(),
        summary: text,
        evidence: vec![Evidence::Frames(frames.clone(), shows.to_owned())],
        filters: frame_filters(&frames, shows),
        remedy: [remedy::equal_mtus(case.session), remedy::df_ignore(case.session)].into_iter().flatten().collect(),
        wanted,
        ..Finding::default()
    }))
}

fn headline(over: &Oversized) -> String {
    match (over.channel, over.stuck_to_client > 0) {
        (Channel::Inner, true) => "downloads hang on packets too big for the tunnel",
        (Channel::Inner, false) if over.delivered() == over.total() => "packets above the tunnel's limit get through",
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

/// Does the outer path lose as much of what the client sends, as what was captured of it shows?
fn loses_outside(session: &Session, hangs: &Upload<'_>) -> bool {
    let way = Direction::ToServer;
    let mut tls = session.tunnels().flat_map(|tunnel| &tunnel.views);
    let mut dtls = session.dtls.iter().flat_map(|flow| &flow.views).filter_map(|view| view.dtls.as_deref());
    tls.any(|view| view.ended.sizes.toward(way).smallest_stuck.is_some())
        || dtls.any(|dtls| way.of(&dtls.sequence).missing() >= hangs.upload.stuck.times)
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
        let but = match still.is_deaf {
            true => {
                "but the client said again and again what its server had acknowledged: nothing small reached it either, and"
            }
            false => {
                "but as large ones had passed before, and no other transfer and no new connection is seen to get through meanwhile:"
            }
        };
        return Outcome::cannot_tell(
            format!(
                "packets of {} B toward the client got stuck from {:.1} s on, {but} the tunnel itself may have stood still, which only \
                 the outer path shows",
                still.ip_len,
                still.since.seconds_since(session.start)
            ),
            Some(Wanted { vantage: Vantage::Outside, why: "whether the tunnel's own packets get through" }),
        );
    }
    if let Some(hangs) = Upload::of(case).filter(|hangs| hangs.upload.is_answered && !loses_outside(session, hangs)) {
        let wanted = match case.is_at(Vantage::Inside) {
            true => Wanted { vantage: Vantage::Outside, why: "whether the client's large packets arrive" },
            false => Wanted { vantage: Vantage::Inside, why: WHERE_LOST },
        };
        let why = hangs.words("a", case, None);
        return Outcome::unsettled(why, Some(wanted), "data of the client was never acknowledged");
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
        let why = format!(
            "a packet of {} B went into the tunnel toward the client {} times and was never acknowledged: not too big for the \
             tunnel, but lost behind this point or unanswered",
            stuck.ip_len, stuck.times
        );
        if is_taken_in_vain(case) {
            return Outcome::clear(why);
        }
        return Outcome::unsettled(
            why,
            Some(Wanted { vantage: Vantage::Client, why: "whether the tunnel's large packets arrive" }),
            "data that the gateway sent into the tunnel was never acknowledged",
        );
    }
    if let Some(waited) = vanished::unanswered(session, case.points) {
        let why = format!(
            "{} asked {} something that was acknowledged, and no answer came to {} in {}: too big for the tunnel, or none was sent",
            waited.flow.ends().0.ip(),
            waited.flow.ends().1,
            case.place(waited.flow.facts.point),
            elapsed(waited.seconds())
        );
        let wanted = Some(Wanted { vantage: Vantage::Inside, why: WHERE_LOST });
        return Outcome::unsettled(why, wanted, "a question to a server was never answered");
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

/// Does another detector tell that it is lost behind the gateway, for its size?
fn is_taken_in_vain(case: &Case<'_>) -> bool {
    taken_in_vain(case.session, |point| case.vantage(point)).is_some()
}

/// The tunnel took it: whether that is told of the outer path is another detector's matter.
fn lost_in_datagrams(case: &Case<'_>, lost: &Stuck) -> Outcome {
    let why = format!(
        "a packet of {} B toward the client was sent {} times in vain, and each time a datagram of just its length left the \
         gateway: not too big for the tunnel, but lost behind it",
        lost.ip_len, lost.times
    );
    // At both ends of that way its loss shows.
    if case.is_at(Vantage::Client) || is_taken_in_vain(case) {
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
    let udp_unanswered = over.frag_needed == 0 && over.delivered() == 0 && over.to_client() > 0;
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
        let is_inner = over.channel == Channel::Inner;
        let heeded = case.point(over.point).map_or(Some(true), |point| is_heeded(session, point, is_inner));
        text.push_str(&match heeded {
            Some(false) => format!(". {told} came and changed nothing (frag-needed-ignored)"),
            Some(true) => format!(". {told} told the sender, which then sent nothing above it with DF"),
            None => {
                format!(". {told} came; whether the sender then sent nothing above it the capture is too short to show")
            }
        });
    } else if over.to_client() > 0 && over.delivered() == over.total() {
        text.push_str(". All of them got through all the same");
    }
    text.push('.');
    text.push_str(&arrived_words(over));
    if limit.is_none_or(Limit::is_bracket) && may_have_left(session, over) {
        text.push_str(" No TCP or UDP came from the client meanwhile: one that has left, or whose path died, would look the same.");
    }
    if over.is_beyond_dtls() && !fell(limit) {
        text.push_str(" That is more than one packet of a 1500-byte link carries, over DTLS or TLS: the adapter's MTU, or its MSS, is set too large.");
    }
    text
}

/// What it means that uploads got through above the limit.
fn arrived_words(over: &Oversized) -> String {
    let (up, arrived) = (over.to_server(), *Direction::ToServer.of(&over.delivered));
    if over.channel != Channel::Inner || arrived == 0 {
        return String::new();
    }
    let who = match (over.to_client(), arrived == up) {
        (0, true) => "All of them".to_owned(),
        (0, false) => format!("{arrived} of them"),
        (_, true) => format!("The {up} toward the server"),
        (_, false) => format!("Of those toward the server {arrived}"),
    };
    let dropped = over.stuck_to_client > 0 || over.frag_needed > 0;
    let limit = over.limit;
    let means = match over.to_client() {
        0 => format!(
            "that limit does not hold toward the server; toward the client nothing above {limit} B was seen, and whether it holds there this does not show"
        ),
        _ if dropped => {
            "the limit holds toward the client only, as where the gateway drops what it sends, and not what it gets"
                .to_owned()
        }
        _ => "that limit does not hold toward the server".to_owned(),
    };
    format!(" {who} got through: {means}.")
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
