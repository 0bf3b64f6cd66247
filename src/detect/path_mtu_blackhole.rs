//! On the outer path large packets of the tunnel never get through while small ones do.

use super::remedy;
use crate::event::{self, Direction, FrameRef, LARGE, PointId, Protocol, Timestamp, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Finding, Grade, Outcome, RuledOut, Severity, Sight, count, elapsed,
    frame_filters,
};
use crate::session::Icmp;
use crate::session::facts::{FlowFacts, IcmpFacts, Probe, Sequence};
use crate::session::mtu::LinkMtu;
use crate::session::silence::{LONG, LargeAlone, goes_on, stuck_for_its_size};
use crate::session::stuck::{Taken, taken_in_vain};

/// Sendings of one segment, or of one size of probe, without an answer before it counts as a black hole.
const SENDINGS: u32 = 3;
/// A search for the path MTU sends each size no more often than this (openconnect: six times).
const MOST_PROBES: u32 = 12;
/// So many small ones that came later are no chance.
const CAME: u32 = 3;
/// Packets up to this size must pass everywhere (RFC 791 §3.1); nothing this small is a path-MTU matter.
const ALWAYS: u32 = 576;

/// What a capture at the other end would show.
const WANTED: &str = "which of the large packets pass there";

/// What a capture at the client would show of what the gateway sent on.
const ARRIVE: &str = "whether the large packets arrive: then it is the client's own machine that drops them";

const AT_SENDER: Grade = Grade::high("the sending end was captured, and smaller packets passed afterwards");
const PROBED: Grade = Grade::high("probes of one size went unanswered again and again, and a smaller one was answered");
const TAKEN: Grade = Grade::high(
    "packets seen before they enter the tunnel were sent on each time and never acknowledged, while smaller ones were",
);
const BEHIND: Grade =
    Grade::medium("captured where the packets should arrive: what came from behind them tells that they did not");
const ELSEWHERE: Grade = Grade::medium("captured elsewhere");
const FEW_BEHIND: Grade = Grade::low("captured where the packets should arrive: only one or two came from behind them");

const PASS_ICMP: &str = "let ICMP type 3 code 4 pass along the path between client and gateway";
const SMALLER_DTLS: &str = "`anyconnect mtu` to a value below the path's, for the DTLS tunnel";

pub static DETECTOR: Detector = Detector {
    id: "path-mtu-blackhole",
    title: "Large packets of the tunnel itself vanish on the way",
    severity: Severity::High,
    judged_from: &[Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::OfTcp,
    leads_to: &["oversized-df", "missing-frag-needed", "tcp-over-tcp"],
    question: "whether large packets of the tunnel itself vanish",
    explanation: "\
The outer path (client to gateway) carries small packets and drops large ones without a word: a link with a smaller MTU (PPPoE \
1492, DS-Lite 1460, a tunnel) whose ICMP is filtered. The tunnel comes up, small requests work, transfers hang.

Found in the TLS tunnel (`tls`) when a TCP segment was sent at least three times at the same size without being acknowledged, \
smaller packets of the same direction were acknowledged (or, where the connection then fell silent, two or more sent right behind it arrived, as selective acknowledgments tell), and nothing as large got through later; or, captured behind the place where they vanish (medium), when more than 576 bytes did not come for ten seconds or more while \
three or more small segments from behind them did, or one where they were never filled in (low), and the receiver's acknowledgments end before them. Found in the DTLS tunnel (`dtls`) \
when the client's search for the path MTU sent records of one size three times or more without an answer, not even by ICMP, and a \
smaller size was answered by a record as long; or when packets inside the tunnel, seen beside the gateway's outside interface or with \
keys there, were sent three times or more toward the client, left in datagrams of just their length each time, and were never \
acknowledged, while smaller ones were and none as large ever was. Where the client then sent nothing as large, but many large \
packets that pass, and hardly anything was missing, its search did what it is for: worth knowing, and no fault. Sizes up to 576 bytes never count. A path that died altogether loses small packets too and is not \
this: so it is told where the other side only sends again what was acknowledged, for it hears no acknowledgment; and where nothing small \
was sent that would tell, the answer is that it cannot be told. Nor is it offload, whose super-frames were never on the wire.

Packets inside the tunnel that get stuck at the same time are its victims: their size is not to blame.",
    confidence: &[PROBED, AT_SENDER, TAKEN, BEHIND, ELSEWHERE, FEW_BEHIND],
    remedy: &[
        PASS_ICMP,
        "lower the gateway's MSS for the outer connection (`sysopt connection tcpmss`), which TCP at both ends will heed; affects all TCP through the gateway",
        SMALLER_DTLS,
    ],
    references: &["RFC 2923 §2.1", "RFC 4821", "RFC 8899", "RFC 1191"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let tls = session.tunnels().flat_map(|c| &c.views).flat_map(|view| stuck(view));
    let dtls = session.dtls.iter().flat_map(|d| &d.views).filter_map(|view| probed(view));
    // A search for the path MTU that ICMP answers finds its way.
    let dtls = dtls.filter(|hole| hole.told(case).is_none());
    let worst = tls.chain(dtls).max_by_key(|hole| (!hole.adapted, hole.times));
    if let Some(hole) = worst.as_ref().filter(|hole| !hole.adapted) {
        return Outcome::Found(Box::new(hole.finding(case)));
    }
    if let Some(taken) = taken_in_vain(session, |point| case.vantage(point)) {
        return Outcome::Found(Box::new(in_vain(case, &taken)));
    }
    let missing = session.tunnels().flat_map(|c| &c.views).flat_map(|view| Missing::of(view));
    if let Some(missing) = missing.max_by(|a, b| a.hole.seconds().total_cmp(&b.hole.seconds())) {
        return Outcome::Found(Box::new(missing.finding(case)));
    }
    if let Some(hole) = worst {
        return Outcome::Found(Box::new(hole.finding(case)));
    }
    if let Some(open) = undecided(case) {
        return open;
    }
    let sizes = session.connections.iter().flat_map(|c| &c.views).flat_map(|v| v.ended.sizes.iter());
    match sizes.filter_map(|s| s.largest_passed.as_ref()).map(|p| p.ip_len).max() {
        Some(bytes) => {
            case.clear(|| format!("outer TCP packets up to {bytes} B were acknowledged, and no larger one got stuck"))
        }
        None if session.connections.is_empty() => Outcome::cannot_tell("the TLS tunnel was not captured", None),
        None => Outcome::clear("no outer TCP packet above 576 B got stuck"),
    }
}

/// Packets inside the tunnel that the gateway sent on toward the client, and nobody acknowledged, for their size.
fn in_vain(case: &Case<'_>, taken: &Taken<'_>) -> Finding {
    let Taken { stuck, count: all, outer, datagram, may_be_cut, passed } = *taken;
    let place = case.place(outer.point);
    let (since, until) = (stuck.first, stuck.last.plus_seconds(1.0));
    let icmp = outer.icmp(Direction::ToClient);
    let carried = datagram.map_or("a datagram of just its length".to_owned(), |(b, _)| format!("a datagram of {b} B"));
    let smaller = passed.map_or("smaller ones".to_owned(), |bytes| format!("packets up to {bytes} B"));
    let mut summary = format!(
        "A packet of {} B inside the tunnel toward the client was sent {} over {}. Each time {carried} left {place}, and none was ever \
         acknowledged, nor was any other of {} as large, while {smaller} were.",
        stuck.ip_len,
        count(u64::from(stuck.times), "time"),
        elapsed(stuck.last.seconds_since(stuck.first)),
        count(u64::from(all), "packet"),
    );
    // What the path does not carry this way it most often does not carry the other way either.
    let larger_lost = |came: u32| came >= LARGE && datagram.is_some_and(|(bytes, _)| came < bytes);
    let from_client = outer.dtls.as_ref().filter(|dtls| Direction::ToServer.of(&dtls.sequence).missing() > 0);
    let largest = from_client.and_then(|dtls| *Direction::ToServer.of(&dtls.largest_datagram));
    if let Some((came, _)) = largest.filter(|(came, _)| larger_lost(came.get())) {
        summary.push_str(&format!(" From the client no datagram above {came} B came either."));
        if let Some(hint) = u16::try_from(came.get()).ok().and_then(|bytes| LinkMtu(bytes).hint()) {
            summary.push_str(&format!(" That limit is typical of {hint}."));
        }
    }
    let frames: Vec<FrameRef> = datagram.map(|(_, frame)| frame).into_iter().collect();
    let shows = "the first datagram that carried it";
    let mut evidence = vec![Evidence::Frames(frames.clone(), shows.to_owned())];
    match case.window(outer.point, icmp, since, until) {
        // Nobody owes an ICMP for what may be cut.
        _ if may_be_cut => summary.push_str(
            " They left without DF: a router may cut what is too large for its link, without an ICMP, and then the fragments are lost.",
        ),
        Ok(window) => {
            summary.push_str(&format!(" No ICMP that would say what fits came to {place}."));
            evidence.push(Evidence::Absence(window, format!("no Fragmentation Needed at {place}")));
        }
        Err(why) => summary.push_str(&format!(" Whether an ICMP said why cannot be seen: {why}.")),
    }
    Finding {
        severity: Severity::High,
        grade: TAKEN,
        headline: "large packets toward the client vanish behind the gateway, and downloads hang".to_owned(),
        summary,
        likely: Some("dtls"),
        ruled_out: vec![
            RuledOut { what: "packets too big for the tunnel", why: "the gateway sent them on".to_owned() },
            RuledOut {
                what: "a dead path",
                why: "smaller packets toward the client were acknowledged meanwhile".to_owned(),
            },
        ],
        evidence,
        filters: frame_filters(&frames, shows),
        remedy: [if may_be_cut { remedy::PASS_FRAGMENTS } else { PASS_ICMP }, SMALLER_DTLS].map(str::to_owned).into(),
        wanted: case.other_end(ARRIVE),
        ..Finding::default()
    }
}

/// A size that vanishes.
struct Hole {
    point: PointId,
    /// What would say why.
    icmp: Sight,
    direction: Direction,
    dtls: bool,
    bytes: u32,
    times: u32,
    span: (Timestamp, Timestamp),
    /// The largest that passed.
    passed: Option<u32>,
    /// Small ones behind it that arrived, where nothing was heard later.
    overtaken: u32,
    /// The client keeps to what passes, and all is well.
    adapted: bool,
    frames: Vec<FrameRef>,
}

/// Segments of the TLS tunnel that never got through while the other end went on talking.
fn stuck(view: &FlowFacts) -> Vec<Hole> {
    let capture = view.opened.first_frame.capture;
    let hole = |direction: Direction| {
        let stuck = stuck_for_its_size(view, direction)?;
        Some(Hole {
            point: view.point,
            icmp: view.icmp(direction),
            direction,
            dtls: false,
            bytes: stuck.ip_len,
            times: stuck.times,
            span: (stuck.first, stuck.last),
            passed: view.ended.sizes.toward(direction).largest_passed.map(|p| p.ip_len),
            // Who gets nothing has nothing to answer; what overtook the segment shows that the path lives.
            overtaken: if goes_on(view, stuck, direction) { 0 } else { stuck.overtaken },
            adapted: false,
            frames: [stuck.first_frame, stuck.last_frame].map(|number| FrameRef { capture, number }).into(),
        })
    };
    [Direction::ToServer, Direction::ToClient].into_iter().filter_map(hole).collect()
}

/// What got stuck in the last tunnel though nobody knows whether for its size.
fn undecided(case: &Case<'_>) -> Option<Outcome> {
    let last = case.session.tunnels().last()?;
    let alone = || LargeAlone::all(case.session, last);
    if let Some(LargeAlone { sent, stuck, .. }) = alone().next().filter(|_| alone().all(|large| large.may_be_size())) {
        let to = if sent == Direction::ToServer { "gateway" } else { "client" };
        let why = format!(
            "a packet of {} B toward the {to} was sent {} in vain, and nothing tells whether small ones pass: the path drops what is large, or it is lost",
            stuck.ip_len,
            count(u64::from(stuck.times), "time"),
        );
        return Some(Outcome::cannot_tell(why, case.other_end(WANTED)));
    }
    let left =
        last.views.iter().filter_map(|view| Left::of(case, view)).max_by(|a, b| a.seconds.total_cmp(&b.seconds))?;
    Some(left.outcome(case))
}

/// Bytes of the TLS tunnel that their receiver misses when nothing more comes of their sender.
struct Left {
    to: &'static str,
    bytes: u32,
    /// For how long the capture goes on.
    seconds: f64,
}

impl Left {
    /// As the receiver's end shows it.
    fn of(case: &Case<'_>, view: &FlowFacts) -> Option<Left> {
        let (direction, to) = match case.vantage(view.point)? {
            Vantage::Client => (Direction::ToClient, "client"),
            Vantage::Outside => (Direction::ToServer, "gateway"),
            _ => return None,
        };
        let hole = (*direction.of(&view.ended.seldom().holes)).filter(|hole| hole.is_left && hole.behind == 0)?;
        let (_, until) = case.point(view.point)?.span?;
        let heard = case
            .session
            .outer_views()
            .filter(|v| v.point == view.point)
            .filter_map(|v| v.last_packet(direction))
            .max()?;
        let is_silent = heard.seconds_since(hole.since.0) <= 1.0 && view.closed().is_none();
        let seconds = until.seconds_since(hole.since.0);
        (is_silent && hole.bytes > ALWAYS).then_some(Left { to, bytes: hole.bytes, seconds })
    }

    fn outcome(&self, case: &Case<'_>) -> Outcome {
        let Left { to, bytes, seconds } = *self;
        let from = if to == "gateway" { "client" } else { "gateway" };
        let wanted = case.other_end(WANTED);
        if seconds < LONG {
            let why = format!(
                "{bytes} B of the TLS tunnel toward the {to} are missing when the capture ends, {seconds:.1} s later"
            );
            return Outcome::cannot_tell(why, wanted);
        }
        let why = format!(
            "{bytes} B of the TLS tunnel toward the {to} never came, the {to} asked for them, and in {} nothing more came of the {from}: \
             the path drops what is large, or it is lost, or the {from} is gone",
            elapsed(seconds)
        );
        Outcome::unsettled(why, wanted, "data of the TLS tunnel was missing, and nothing more came of its sender")
    }
}

/// Bytes of the TLS tunnel that never came while small segments sent behind them did: their resends do not show where they got lost
/// before.
struct Missing<'a> {
    view: &'a FlowFacts,
    direction: Direction,
    hole: event::Hole,
}

impl Missing<'_> {
    fn of(view: &FlowFacts) -> Vec<Missing<'_>> {
        let missing = |direction: Direction| {
            let hole = (*direction.of(&view.ended.seldom().holes))?;
            let shows = hole.behind >= CAME || hole.is_left && hole.behind > 0;
            let vanishes = hole.seconds() >= LONG && shows && !hole.large_came && hole.bytes > ALWAYS;
            vanishes.then_some(Missing { view, direction, hole })
        };
        [Direction::ToServer, Direction::ToClient].into_iter().filter_map(missing).collect()
    }

    fn finding(&self, case: &Case<'_>) -> Finding {
        let (by, to) = match self.direction {
            Direction::ToServer => ("client", "gateway"),
            Direction::ToClient => ("gateway", "client"),
        };
        let frames = vec![self.hole.since.1];
        let shows = "the first segment behind the missing bytes";
        Finding {
            severity: Severity::Medium,
            grade: if self.hole.behind >= CAME { BEHIND } else { FEW_BEHIND },
            headline: format!("data of the TLS tunnel toward the {to} never arrives, while small packets do"),
            summary: format!(
                "{} B of the TLS tunnel toward the {to} never came to {} in {}, while {} of the {by} from behind them came. The {to} \
                 missed them too: its acknowledgments end before them. A TCP sends such bytes again and again; that only these are \
                 lost each time speaks of their size.",
                self.hole.bytes,
                case.place(self.view.point),
                elapsed(self.hole.seconds()),
                count(u64::from(self.hole.behind), "small packet"),
            ),
            likely: Some("tls"),
            ruled_out: vec![RuledOut { what: "a dead path", why: format!("small packets of the {by} arrived") }],
            evidence: vec![Evidence::Frames(frames.clone(), shows.to_owned())],
            filters: frame_filters(&frames, shows),
            remedy: DETECTOR.remedy.iter().map(|r| (*r).to_owned()).collect(),
            wanted: case.other_end(WANTED),
            ..Finding::default()
        }
    }
}

/// The client's search for the path MTU over DTLS: the smallest size nobody answered, above the largest somebody did.
fn probed(view: &FlowFacts) -> Option<Hole> {
    let probes = &view.dtls.as_ref()?.seldom().probes;
    let answered = probes.iter().filter(|p| p.answered > 0).map(|p| p.ip_len).max()?;
    let is_probe = |p: &&Probe| {
        // Data comes in bursts and in numbers; probes wait for their answer.
        let pace = p.last.seconds_since(p.first) / f64::from(p.sent.saturating_sub(1).max(1));
        p.answered == 0
            && (SENDINGS..=MOST_PROBES).contains(&p.sent)
            && p.ip_len > answered
            && (0.02..2.0).contains(&pace)
    };
    let lost = probes.iter().filter(is_probe).min_by_key(|p| p.ip_len)?;
    Some(Hole {
        point: view.point,
        icmp: view.icmp(Direction::ToServer),
        direction: Direction::ToServer,
        dtls: true,
        bytes: lost.ip_len,
        times: lost.sent,
        span: (lost.first, lost.last),
        passed: Some(answered),
        overtaken: 0,
        adapted: keeps_below(view, lost.ip_len, lost.last),
        frames: vec![lost.frame],
    })
}

/// Did the client send nothing as large from then on, but many large packets below it, and was hardly anything missing?
fn keeps_below(view: &FlowFacts, bytes: u32, from: Timestamp) -> bool {
    /// What was under way is over by then, seconds.
    const UNDER_WAY: f64 = 1.0;
    /// Fewer show nothing.
    const MANY: u32 = 20;
    /// Fewer missing records are lost on any path.
    const FEW: u32 = 12;
    let Some(dtls) = view.dtls.as_deref() else { return false };
    let from = from.plus_seconds(UNDER_WAY);
    let larger = Direction::ToServer.of(&view.large).iter().any(|run| run.last > from && run.size >= bytes);
    let went_on = |s: &Sequence| s.seldom().gaps.is_some_and(|(_, last)| last > from) && s.missing() >= FEW;
    let lost_later = dtls.sequence.iter().any(went_on);
    // Only what it sends itself shows that it has learned.
    let smaller = Direction::ToServer.of(&view.large).iter().filter(|run| run.last > from && run.size < bytes);
    let carried = smaller.map(|run| run.count).sum::<u32>() >= MANY;
    !larger && !lost_later && carried
}

impl Hole {
    /// Fragmentation Needed that came of it, to any point.
    fn told<'a>(&self, case: &'a Case<'_>) -> Option<&'a IcmpFacts> {
        let until = self.span.1.plus_seconds(1.0);
        let protocol = if self.dtls { Protocol::Udp } else { Protocol::Tcp };
        let about = |icmp: &&Icmp| {
            !icmp.inner
                && icmp.toward_client == (self.direction == Direction::ToClient)
                && icmp.facts.quoted.protocol == protocol.number()
                && icmp.facts.mtus.iter().any(|mtu| *mtu < self.bytes)
                && icmp.facts.last >= self.span.0
                && icmp.facts.first <= until
        };
        case.session.frag_needed().find(about).map(|icmp| &icmp.facts)
    }

    fn finding(&self, case: &Case<'_>) -> Finding {
        let place = case.place(self.point);
        let to = if self.direction == Direction::ToServer { "gateway" } else { "client" };
        let smaller = self.passed.filter(|passed| *passed < self.bytes);
        let passed = match (smaller, self.passed) {
            _ if self.overtaken > 0 => {
                let behind = count(u64::from(self.overtaken), "small one");
                format!("{behind} sent right behind it arrived, as selective acknowledgments tell")
            }
            (Some(passed), _) => format!("packets up to {passed} B passed"),
            (None, Some(before)) => format!("the {to} went on talking; packets up to {before} B had passed before"),
            (None, None) => "smaller ones passed".to_owned(),
        };
        let what = if self.dtls { "DTLS probe" } else { "packet" };
        let never = if self.dtls { "answered" } else { "acknowledged" };
        let mut summary = format!(
            "A {} B {what} toward the {to} was sent {} over {} and never {never}, while {passed}.",
            self.bytes,
            count(u64::from(self.times), "time"),
            elapsed(self.span.1.seconds_since(self.span.0)),
        );
        if let Some(hint) = smaller.and_then(|p| LinkMtu(u16::try_from(p).ok()?).hint()) {
            summary.push_str(&format!(" That limit is typical of {hint}."));
        }
        let mut evidence = vec![Evidence::Frames(
            self.frames.clone(),
            format!("first and last of {} at {} B", count(u64::from(self.times), "sending"), self.bytes),
        )];
        let told = self.told(case);
        match told.ok_or_else(|| case.window(self.point, self.icmp, self.span.0, self.span.1.plus_seconds(1.0))) {
            Ok(icmp) => {
                let mtus: Vec<String> = icmp.mtus.iter().map(u32::to_string).collect();
                let messages = count(u64::from(icmp.count), "Fragmentation Needed message");
                let (mtu, at) = (mtus.join(", "), case.place(icmp.point));
                summary.push_str(&format!(" {messages} from {} came to {at}, MTU {mtu}.", icmp.sender));
                evidence.push(Evidence::Frames(icmp.frames.clone(), format!("Fragmentation Needed, MTU {mtu}")));
            }
            Err(Ok(window)) => {
                summary.push_str(&format!(" No ICMP that would say what fits came to {place}."));
                evidence.push(Evidence::Absence(window, format!("no Fragmentation Needed at {place}")));
            }
            Err(Err(why)) => summary.push_str(&format!(" Whether an ICMP said why cannot be seen: {why}.")),
        }
        let near = matches!(
            (case.vantage(self.point), self.direction),
            (Some(Vantage::Client), Direction::ToServer) | (Some(Vantage::Outside), Direction::ToClient)
        );
        let alive = match self.overtaken {
            0 => format!("the {to} went on answering small packets"),
            _ => format!("what was sent behind it reached the {to}"),
        };
        if self.adapted {
            summary.push_str(" From then on the client kept to what passes, and hardly anything was missing.");
        }
        Finding {
            severity: if self.adapted { Severity::Info } else { Severity::High },
            grade: match (self.dtls, near) {
                (true, _) => PROBED,
                (false, true) => AT_SENDER,
                (false, false) => ELSEWHERE,
            },
            headline: match self.adapted {
                true => "the outer path carries less than a full packet, and the client keeps to it",
                false => "large packets of the tunnel itself vanish on the outer path",
            }
            .to_owned(),
            summary,
            likely: Some(if self.dtls { "dtls" } else { "tls" }),
            ruled_out: vec![RuledOut { what: "a dead path", why: alive }],
            evidence,
            filters: frame_filters(&self.frames, "first and last sending of what got stuck"),
            // Where the ICMP came nobody need be asked to let it pass.
            remedy: DETECTOR.remedy.iter().skip(usize::from(told.is_some())).map(|r| (*r).to_owned()).collect(),
            wanted: case.other_end(WANTED).filter(|_| !self.adapted),
            ..Finding::default()
        }
    }
}
