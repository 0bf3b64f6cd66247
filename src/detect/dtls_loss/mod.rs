//! DTLS records are lost on the way, as their numbers tell.

mod hole;

use super::remedy;
use crate::event::{Direction, LARGE, PointId, Timestamp, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Filter, Finding, Grade, Outcome, RuledOut, Severity, Wanted, are, count,
    elapsed,
};
use crate::session::coverage::{Sight, hides, hides_answers};
use crate::session::facts::{FlowFacts, Pace, Rate, Run, Sequence};
use crate::session::stuck::{is_swallowed_over_dtls, stuck_toward_client};
use crate::session::{Basis, Channel, Point};
use hole::Hole;

/// So many records must be missing before anybody speaks of it.
const MANY: u32 = 20;
/// And so large a share of what was sent, 1 = all.
const SHARE: f64 = 0.01;
/// From this share on users notice.
const NOTICED: f64 = 0.05;
/// So many of a sender's records missing at its own interface, and so large a share of them, were lost by the capture.
const OWN: u32 = 10;
/// The share, 1 = all.
const OWN_SHARE: f64 = 0.02;
/// Or fewer of few, at a known place, where they are a quarter of as many.
const OWN_FEW: u32 = 4;
const OWN_MUCH: f64 = 0.1;
/// Where nobody knows where the capture stood, shares both ways that differ by less than so many times are its own.
const ALIKE: f64 = 2.0;

/// What a capture at the other end would show.
const OTHER_END: &str = "which DTLS records pass there";

const AT_RECEIVER: Grade = Grade::high("counted at the receiving end's own interface");
const ELSEWHERE: Grade = Grade::medium("counted at a point of which nobody knows how near the receiver it stood");

pub static DETECTOR: Detector = Detector {
    id: "dtls-loss",
    title: "DTLS records are lost on the way",
    severity: Severity::Medium,
    judged_from: &[Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::Needless,
    leads_to: &[],
    question: "whether DTLS records are lost",
    explanation: "\
Every DTLS record carries a number, so what is missing among them at the receiving end was lost on the way. Records that only \
came late are not missing.

Found when at least 20 records and 1 % of those sent in one direction are missing, or 12 and a tenth of those of the gateway, or five \
large ones alone that captures at both ends show to be sent in vain for three seconds or more, or five from a silence of three seconds \
or more, at the client's interface for records of the gateway, at the gateway's for records of the client; medium from 5 % on. A \
capture that dropped frames cannot tell: it says so itself, or at least 10 records and 2 % (or 4, a tenth and a quarter of as many) of \
those that an end sent are missing at its own interface, or acknowledged TCP is missing by half that share or more, \
or the record numbers of both sides jump over a silence of three seconds or more. Where \
nobody knows where it stood, about the same loss both ways is taken for its own.

- `rate-limited`: most seconds in which so much was sent lose, at least four times the share of quieter ones and more than by chance, and nine tenths of what is \
missing are missing from them, from five or more: policing or shaping of UDP, whatever sizes came before where twenty or more are \
missing from each
- `large-datagrams-lost`: captures at both ends, and nothing above a certain size arrives, of which as much was sent as is missing: \
a path MTU that nobody tells (high); where large ones came again later it was so for a while (medium)
- `fragments-lost`: the same, where the sender's datagrams leave in IP fragments (high)
- `large-datagrams-missing`: the receiving end alone, where since the first is missing none came as large as many before, or none \
above what an ICMP on that path named; not where the sending end shows that hardly any large one left; or for three seconds or more none came as large as many before, while \
smaller ones did and more were missing than chance explains. Where few are missing that cannot be told from one end alone, and so it says
- `outage`: nearly all are missing from silences of three seconds or more, in which many a second were sent, or three or more of the other \
side without an answer, or in a busy flow of small datagrams, or captures at both ends show that not large ones are missing; or from three such silences at most, in which captures at both ends show that little large was sent, or before and behind which many full datagrams came: the path, \
or UDP on it, was down so long (low)
- `path-mtu-search`: captures at both ends, and the large ones were lost only in the first 12 s, in which a client searches for the path \
MTU, and nothing afterwards: no fault (info); one end alone then finds nothing
- `loss`: the loss does not depend on the rate, or nothing shows whether it does; where most seconds lose next to nothing and others, \
as busy, much, a link loses in bursts; where only large packets of the tunnel are missing, the path may carry less than they measure",
    confidence: &[AT_RECEIVER, ELSEWHERE],
    remedy: &[
        "see what polices UDP between client and gateway (provider, branch firewall, QoS class: the outer packets carry the inner DSCP)",
        "until then a TLS-only group carries more, if slower",
        "where small packets pass and large ones do not, the path carries less than they measure: `anyconnect mtu 1300` in the group policy",
    ],
    references: &["RFC 6347 §4.1 (record numbers)", "RFC 2475 §2.3.3.3 (policing)"],
    since: "0.1.0",
    check,
};

struct Loss<'a> {
    view: &'a FlowFacts,
    direction: Direction,
    sequence: &'a Sequence,
    total: Rate,
    at_receiver: bool,
    by_size: Option<BySize>,
    hole: Option<Hole>,
    /// The path was down for seconds.
    outages: Option<Outage>,
    /// Why the capture may have lost them itself.
    doubt: Option<String>,
}

impl<'a> Loss<'a> {
    fn of(case: &Case<'_>, view: &'a FlowFacts, direction: Direction) -> Option<Loss<'a>> {
        let dtls = view.dtls.as_deref()?;
        let (judged, other) = (direction.of(&dtls.sequence), direction.reverse().of(&dtls.sequence));
        let (all, gap) = (judged.counted(), gap(judged, other));
        let [total, of_other] = match gap {
            Some(_) => [judged, other]
                .map(|s| Rate { missing: s.missing().saturating_sub(s.seldom().in_silence), ..s.counted() }),
            None => [all, other.counted()],
        };
        let is_gap = is_lossy(all, direction) && !is_lossy(total, direction);
        let at_receiver = case.vantage(view.point).is_some();
        let place = || case.place(view.point);
        let is_whole = gap.is_none() && case.untimed().is_none();
        let doubt = match gap.filter(|_| is_gap) {
            Some(gap) => Some(format!("the capture itself has a gap at {}: {gap}", place())),
            None => doubt((total, of_other), direction.reverse(), at_receiver.then_some(place))
                .or_else(|| lost_here(case.point(view.point)?, total))
                .or_else(|| unseen_pieces(case, view, direction, total)),
        };
        let total = if is_gap { all } else { total };
        let loss = Loss {
            view,
            direction,
            sequence: judged,
            total,
            at_receiver,
            by_size: None,
            hole: None,
            outages: None,
            doubt,
        };
        // What both sides passed over the capture passed over.
        let outages = if is_whole { Outage::any(case, &loss) } else { None };
        let (by_size, hole) = (BySize::of(case, &loss), Hole::of(case, &loss));
        (total.seen > 0).then_some(Loss { by_size, hole, outages, ..loss })
    }

    /// Are many missing, or few, and all from silences, or both ends show that it is the large ones alone?
    fn is_found(&self) -> bool {
        is_lossy(self.total, self.direction)
            || self.outages.is_some_and(|outage| outage.is_certain)
            || self.hole.as_ref().is_some_and(Hole::is_certain)
            || self.by_size.as_ref().is_some_and(|by_size| by_size.is_no_chance(self))
    }

    fn share(&self) -> f64 {
        self.total.share()
    }

    /// The first protected record, either way.
    fn began(&self) -> Option<Timestamp> {
        self.view.dtls.as_deref()?.protected.into_iter().flatten().min()
    }

    /// The silences from which nearly all are missing: then the path was down, and loses nothing else.
    fn outage(&self, case: &Case<'_>) -> Option<Outage> {
        /// Of those missing so many are.
        const MOST: f64 = 0.8;
        /// So many were sent in each second of it; one that is sent again and again is no flow of data.
        const BUSY: f64 = 4.0;
        /// What a size is lost for is lost each time it is sent: more silences tell nothing of themselves.
        const FEW: u32 = 3;
        let explains = |outage: &Outage| {
            let rest = self.total.without(Rate { seen: 0, missing: outage.missing });
            f64::from(outage.missing) >= MOST * f64::from(self.total.missing) || !is_lossy(rest, self.direction)
        };
        if let Some(outage) = self.outages.filter(|outage| outage.is_certain && explains(outage)) {
            return Some(outage);
        }
        let seldom = self.sequence.seldom();
        let (from, until) = seldom.longest?;
        let is_most = f64::from(seldom.in_silence) >= MOST * f64::from(self.total.missing);
        let outage = Outage { missing: seldom.in_silence, silences: seldom.silences, from, until, is_certain: true };
        let is_busy = f64::from(seldom.in_longest) >= BUSY * outage.seconds();
        let is_no_matter_of_size =
            || outage.silences <= FEW && (self.is_small(case, &outage) || self.is_large_again(&outage));
        (is_most && (is_busy || is_no_matter_of_size())).then_some(outage)
    }

    /// The sender's own capture beside this one.
    fn sender(&self, case: &'a Case<'_>) -> Option<&'a FlowFacts> {
        let vantage = |view: &FlowFacts| case.vantage(view.point);
        let near = if self.direction == Direction::ToClient { Vantage::Outside } else { Vantage::Client };
        let is_mine = |view: &FlowFacts| std::ptr::eq(view, self.view);
        let flow = case.session.dtls.iter().find(|flow| flow.views.iter().any(|view| is_mine(view)))?;
        let mut others = flow.views.iter().filter(|view| view.point != self.view.point);
        others.find(|view| vantage(view) == Some(near)).map(|view| &**view)
    }

    /// Does the sender's capture show that little of what it sent in the longest silence was large?
    fn is_small(&self, case: &Case<'_>, outage: &Outage) -> bool {
        /// So few of those missing, 1 = all.
        const FEW: f64 = 0.2;
        let Some(sender) = self.sender(case).filter(|sender| {
            case.point(sender.point).is_some_and(|point| point.was_capturing(outage.from, outage.until))
        }) else {
            return false;
        };
        let meanwhile = |run: &&Run| run.first < outage.until && run.last > outage.from;
        let sent: u32 = sender.large_datagrams(self.direction).filter(meanwhile).map(|run| run.count).sum();
        f64::from(sent) < FEW * f64::from(outage.missing)
    }

    /// Did many full datagrams come before the silence, and as large ones behind it? Then it was not for their size.
    fn is_large_again(&self, outage: &Outage) -> bool {
        /// Media comes in smaller ones (WebRTC: 1200 B), and says nothing of larger ones; IP bytes.
        const FULL: u32 = 1300;
        let runs = || self.view.large_datagrams(self.direction);
        let before = || runs().filter(|run| run.first <= outage.from);
        let behind = || runs().filter(|run| run.last >= outage.until);
        let Some(largest) = before().map(|run| run.size).max().filter(|size| *size >= FULL) else { return false };
        let many = |came: u32| came >= MANY;
        many(before().filter(|run| run.size == largest).map(|run| run.count).sum())
            && many(behind().filter(|run| run.size >= largest).map(|run| run.count).sum())
    }

    /// Where the sender's end was captured too: did so many large ones leave it since the first is missing that they may be most of
    /// what is?
    fn may_be_large(&self, case: &Case<'_>) -> Option<bool> {
        /// So many of those missing, 1 = all.
        const MOST: f64 = 0.8;
        let (sender, (first_gap, last_gap)) = (self.sender(case)?, self.sequence.seldom().gaps?);
        case.point(sender.point).filter(|point| point.was_capturing(first_gap, last_gap.plus_seconds(-IN_VAIN)))?;
        // What is missing may have left a moment before that showed.
        let left = sender.large_datagrams(self.direction).filter(|run| run.last >= first_gap.plus_seconds(-IN_VAIN));
        let left: u32 = left.map(|run| run.count).sum();
        Some(f64::from(left) >= MOST * f64::from(self.total.missing))
    }

    /// Did many large datagrams come though records were missing?
    fn large_came(&self) -> bool {
        let Some((first_gap, _)) = self.sequence.seldom().gaps else { return false };
        let came = self.view.large_datagrams(self.direction).filter(|run| run.last >= first_gap);
        came.map(|run| run.count).sum::<u32>() >= MANY
    }

    fn words(&self, case: &Case<'_>) -> String {
        let Rate { seen, missing } = self.total;
        format!(
            "{missing} of {} DTLS records toward the {} ({:.1} %) never came to {}.",
            u64::from(seen) + u64::from(missing),
            self.receiver(),
            self.share() * 100.0,
            case.place(self.view.point)
        )
    }

    fn receiver(&self) -> &'static str {
        if self.direction == Direction::ToServer { "gateway" } else { "client" }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let frames = vec![self.view.opened.first_frame, self.view.ended.last_frame];
        vec![Evidence::Frames(frames, "first and last packet of the flow whose records were counted".to_owned())]
    }
}

fn check(case: &Case<'_>) -> Outcome {
    let flows = case.session.dtls.iter().filter(|d| d.worked() || d.is_half_seen()).flat_map(|d| &d.views);
    let all: Vec<Loss<'_>> = flows.flat_map(|view| directions(case, view)).collect();
    if all.is_empty() {
        return Outcome::clear("DTLS carried nothing here that could be lost");
    }
    if let Some(point) =
        all.iter().map(|l| l.view.point).filter_map(|p| case.point(p)).find(|p| p.interface.dropped > Some(0))
    {
        let dropped = point.interface.dropped.unwrap_or_default();
        return Outcome::cannot_tell(
            format!("the capture on {} dropped {} itself", point.name, count(dropped, "frame")),
            None,
        );
    }
    let (mut doubtful, mut searched, mut sure) = (None, None, Vec::new());
    for loss in all.iter().filter(|loss| loss.is_found()) {
        match (Search::of(loss), &loss.doubt) {
            (Some(search), _) => _ = searched.get_or_insert((loss, search)),
            (None, Some(why)) => _ = doubtful.get_or_insert((loss, why)),
            (None, None) => sure.push(loss),
        }
    }
    let by_share = |a: &&Loss<'_>, b: &&Loss<'_>| a.share().total_cmp(&b.share());
    let Some(worst) = sure.iter().copied().max_by(by_share) else {
        let uncertain = all.iter().filter(|loss| loss.doubt.is_none() && !loss.is_found());
        if let Some((loss, hole)) = uncertain.filter_map(|loss| Some((loss, loss.hole.as_ref()?))).next() {
            return hole.open(case, loss);
        }
        let uncertain = all.iter().filter(|loss| loss.doubt.is_none() && !loss.is_found());
        if let Some((loss, outage)) = uncertain.filter_map(|loss| Some((loss, loss.outages?))).next() {
            return outage.open(case, loss);
        }
        if let Some((loss, why)) = doubtful {
            let vantage = case.vantage(loss.view.point);
            let wanted = "whether DTLS records are lost, from a capture that loses no frames itself";
            return Outcome::cannot_tell(why.clone(), vantage.map(|vantage| Wanted { vantage, why: wanted }));
        }
        if let Some((loss, search)) = searched {
            return search.outcome(case, loss);
        }
        let missing: u32 = all.iter().map(|l| l.total.missing).sum();
        let seen: u64 = all.iter().map(|l| u64::from(l.total.seen)).sum();
        return case.clear(|| format!("{missing} of {} missing", are(seen + u64::from(missing), "record")));
    };
    let back = sure.iter().copied().filter(|loss| loss.direction != worst.direction).max_by(by_share);
    Outcome::Found(Box::new(finding(case, worst, back)))
}

/// What a view can tell: records toward it, or both ways where nobody knows where it stood.
fn directions<'a>(case: &Case<'_>, view: &'a FlowFacts) -> impl Iterator<Item = Loss<'a>> {
    let ways: &[Direction] = match case.vantage(view.point) {
        Some(Vantage::Client) => &[Direction::ToClient],
        Some(Vantage::Outside) => &[Direction::ToServer],
        _ => &[Direction::ToServer, Direction::ToClient],
    };
    ways.iter().filter_map(|way| Loss::of(case, view, *way))
}

fn is_lossy(rate: Rate, direction: Direction) -> bool {
    // A client probes with records that may be too large for the path.
    rate.missing >= MANY && rate.share() >= SHARE || direction == Direction::ToClient && rate.loses_much()
}

/// That the one loses so much more or less than the other has by chance a probability of at most e to the minus so much (Chernoff's
/// bound of a binomial tail).
fn surprise(one: Rate, other: Rate) -> f64 {
    let (sent, share) = (f64::from(one.seen) + f64::from(one.missing), one.share());
    // Who lost none of few may lose one of the next.
    let chance = (f64::from(other.missing) + 1.0) / (f64::from(other.seen) + f64::from(other.missing) + 2.0);
    let part = |of: f64, at: f64| if of > 0.0 { of * (of / at).ln() } else { 0.0 };
    sent * (part(share, chance) + part(1.0 - share, 1.0 - chance))
}

/// A silence over which the numbers of both sides went on.
fn gap(judged: &Sequence, other: &Sequence) -> Option<String> {
    let (judged, other) = (judged.seldom(), other.seldom());
    let seconds = judged.silence().min(other.silence());
    (judged.in_silence > 0 && other.in_silence > 0).then(|| {
        format!(
            "no DTLS record shows either way for {seconds} s, while the numbers of both sides went on by {} and {}",
            judged.in_silence, other.in_silence
        )
    })
}

/// What the records of the other direction say that the capture itself lost: at a known place it is that of the end where it stood.
fn doubt(
    (judged, other): (Rate, Rate),
    direction: Direction,
    place: Option<impl FnOnce() -> String>,
) -> Option<String> {
    let is_many = other.missing >= OWN_FEW.max(judged.missing / 4);
    let is_much = place.is_some() && is_many && other.share() >= OWN_MUCH;
    if !is_much && (other.missing < OWN || other.share() < OWN_SHARE) {
        return None;
    }
    let sent = u64::from(other.seen) + u64::from(other.missing);
    let percent = other.share() * 100.0;
    let by = if direction == Direction::ToServer { "client" } else { "gateway" };
    if let Some(place) = place {
        return Some(format!(
            "the capture itself lost frames: {} of {sent} DTLS records ({percent:.1} %) that the {by} sent are missing at {}, \
             where no path can have lost them",
            other.missing,
            place()
        ));
    }
    let alike = judged.share() < ALIKE * other.share() && other.share() < ALIKE * judged.share();
    alike.then(|| {
        format!(
            "the capture may have lost frames itself: {percent:.1} % of the DTLS records of the {by} are missing and {:.1} % of those \
             toward it, and nobody knows where it stood",
            judged.share() * 100.0
        )
    })
}

/// The capture lost about as much of TCP, and does not say so.
fn lost_here(point: &Point, total: Rate) -> Option<String> {
    (total.share() < ALIKE * point.unseen_share()).then(|| hides_answers(point, 1)).flatten()
}

/// What is missing may have come in IP fragments of which a capture shows the first alone: the later ones name no port.
fn unseen_pieces(case: &Case<'_>, view: &FlowFacts, direction: Direction, total: Rate) -> Option<String> {
    let (client, server) = view.opened.endpoints().addresses();
    let sender = if direction == Direction::ToClient { server } else { client };
    let here = case.session.beside().incomplete.iter().filter(|(point, _)| *point == view.point);
    let datagrams: u32 = here.filter(|(_, some)| some.src == sender).map(|(_, some)| some.datagrams).sum();
    let rest = Rate { missing: total.missing.saturating_sub(datagrams), ..total };
    if datagrams == 0 || is_lossy(rest, direction) {
        return None;
    }
    let why = hides(case.point(view.point)?, Sight::Fragments { v6: sender.is_ipv6() }, datagrams)?;
    Some(format!(
        "of {} some IP fragments came to {}, and whether the others did cannot be told: {why}",
        count(u64::from(datagrams), "datagram"),
        case.place(view.point)
    ))
}

/// How long a client searches for the path MTU (openconnect: 10 s), seconds.
const SEARCH: f64 = 12.0;

/// Records that were missing in the first seconds only, in which a client searches for the path MTU: it sends what may be lost.
struct Search {
    /// How long after set-up the last of them was missed, seconds.
    seconds: f64,
    /// Records that came afterwards.
    later: u32,
}

impl Search {
    fn of(loss: &Loss<'_>) -> Option<Search> {
        /// What it may cost: a dozen sizes, six times each.
        const MOST: u32 = 72;
        /// Fewer records afterwards do not show that all is well.
        const ENOUGH: u32 = 50;
        /// Of an idle client's records the search is most, and most of it is lost.
        const MOSTLY: f64 = 0.5;
        let (_, last) = loss.sequence.seldom().gaps?;
        let seconds = last.seconds_since(loss.began()?);
        let behind = loss.view.dtls.as_deref()?.activity.stretches.iter().filter(|stretch| stretch.first > last);
        let later: u32 = behind.map(|stretch| *loss.direction.of(&stretch.records)).sum();
        // Traffic that never pauses is one stretch from its begin on.
        let large = loss.direction.of(&loss.view.large).iter().filter(|run| run.last > last);
        let later = later.max(large.map(|run| run.count).sum());
        let is_all = loss.direction == Direction::ToServer && loss.share() >= MOSTLY;
        (loss.total.missing <= MOST && seconds <= SEARCH && (later >= ENOUGH || is_all))
            .then_some(Search { seconds, later })
    }

    fn outcome(&self, case: &Case<'_>, loss: &Loss<'_>) -> Outcome {
        let later = match self.later {
            0 => "hardly any came later".to_owned(),
            later => format!("of {later} later ones none"),
        };
        let words = format!(
            "{} DTLS records toward the {} are missing, all in the first {}, in which the client searches for the path MTU; {later}",
            loss.total.missing,
            loss.receiver(),
            elapsed(self.seconds),
        );
        let Some(by_size) = &loss.by_size else { return case.clear(|| words) };
        Outcome::Found(Box::new(Finding {
            severity: Severity::Info,
            grade: AT_RECEIVER,
            headline: "the path carries less than a full packet, and the client keeps to it".to_owned(),
            summary: format!("{words}.{}", by_size.words(case)),
            likely: Some("path-mtu-search"),
            evidence: loss.evidence(),
            ..Finding::default()
        }))
    }
}

/// What the receiving end alone shows of the sizes that are lost.
enum OneEnd {
    /// Since records are missing none above the second size came, up to the first before.
    NoLonger(u32, u32),
    /// None above the first size came, and an ICMP on that path named the second.
    Told(u32, u32),
}

impl OneEnd {
    fn of(case: &Case<'_>, loss: &Loss<'_>) -> Option<OneEnd> {
        let (first_gap, _) = loss.sequence.seldom().gaps?;
        if loss.may_be_large(case) == Some(false) {
            return None;
        }
        let came: Vec<&Run> = loss.view.large_datagrams(loss.direction).collect();
        // Where many large ones came all the same, their sender had learned to send what passes.
        let still: u32 = came.iter().filter(|run| run.last >= first_gap).map(|run| run.count).sum();
        if still >= loss.total.missing {
            return None;
        }
        let since = came.iter().filter(|run| run.last >= first_gap).map(|run| run.size).max().unwrap_or(LARGE - 1);
        let larger = || came.iter().filter(|run| run.last < first_gap && run.size > since);
        if larger().map(|run| run.count).sum::<u32>() >= MANY {
            return Some(OneEnd::NoLonger(larger().map(|run| run.size).max()?, since));
        }
        let told = case.session.limits.iter().find(|l| l.channel == Channel::OuterUdp && l.basis == Basis::Observed)?;
        let (largest, _) = (*loss.direction.of(&loss.view.dtls.as_ref()?.largest_datagram))?;
        (largest.get() <= told.bytes).then_some(OneEnd::Told(largest.get(), told.bytes))
    }

    /// The largest that passes, bytes.
    fn passes(&self) -> u32 {
        match self {
            OneEnd::NoLonger(_, since) => *since,
            OneEnd::Told(_, told) => *told,
        }
    }

    fn words(&self) -> String {
        match self {
            OneEnd::NoLonger(before, since) => format!(
                " Datagrams of up to {before} B had come before; since the first is missing none above {since} B came: it seems to be \
                 the large ones that are lost."
            ),
            OneEnd::Told(largest, told) => format!(
                " None above {largest} B came, and an ICMP Fragmentation Needed on that path names {told} B: it seems to be the \
                 large ones that are lost."
            ),
        }
    }

    fn remedy(&self) -> Vec<String> {
        let find = format!(
            "find the link or box between client and gateway that drops UDP above {} B, and why the sender is not told",
            self.passes()
        );
        vec![find, SMALLER.to_owned()]
    }
}

/// What helps where large datagrams are lost.
const SMALLER: &str =
    "until then `anyconnect mtu 1300`, or less, in the group policy, so that datagrams are small enough";

/// What is sent in vain for so long is not lost by chance, seconds.
const IN_VAIN: f64 = 3.0;

/// Datagrams of one size that left one end and did not come to the other, nor did any as large from then on.
struct Gone {
    size: u32,
    count: u32,
    first: Timestamp,
    last: Timestamp,
}

impl Gone {
    /// Those of a run, beside all that left and all that arrived.
    fn of(run: &Run, left: &[&Run], arrived: &[&Run]) -> Option<Gone> {
        let Run { size, count, first, last, .. } = *run;
        let came = || arrived.iter().filter(|came| came.size >= size);
        let Some(last_came) = came().map(|came| came.last).max().filter(|came| *came >= first) else {
            return Some(Gone { size, count, first, last });
        };
        // The run goes on for long behind the last one that came.
        let until = left.iter().filter(|left| left.size >= size).map(|left| left.last).max()?;
        let came: u32 = came().filter(|came| came.last >= first).map(|came| came.count).sum();
        let count = count.saturating_sub(came);
        let is_gone = last > last_came && count > 0 && until.seconds_since(last_came) >= IN_VAIN;
        is_gone.then_some(Gone { size, count, first: last_came, last })
    }
}

/// What both ends show of the sizes that are lost.
struct BySize {
    /// First and last datagram of those sizes.
    times: Option<(Timestamp, Timestamp)>,
    /// Datagrams of sizes of which none came any more, and the least of these sizes, IP bytes; none where they left in fragments.
    whole: Option<(u64, u32)>,
    /// Large ones left with DF: without it a router cuts them and owes no ICMP.
    has_df: bool,
    /// The largest datagram that was sent, IP bytes, and the largest that came.
    sent: u32,
    came: u32,
    /// The largest of which some still came, IP bytes.
    passes: Option<u32>,
    sender: PointId,
}

impl BySize {
    /// The sender's own capture beside the receiver's, when what it sent that was as large did not arrive there.
    fn of(case: &Case<'_>, loss: &Loss<'_>) -> Option<BySize> {
        /// Of the datagrams missing so many must be of those sizes.
        const MOST: f64 = 0.8;
        if loss.total.missing == 0 {
            return None;
        }
        let sender = loss.sender(case)?;
        let largest = |view: &FlowFacts| {
            let (bytes, _) = (*loss.direction.of(&view.dtls.as_ref()?.largest_datagram))?;
            Some(bytes.get())
        };
        let (sent, came) = (largest(sender)?, largest(loss.view)?);
        let left: Vec<&Run> = sender.large_datagrams(loss.direction).collect();
        let arrived: Vec<&Run> = loss.view.large_datagrams(loss.direction).collect();
        // What left while nobody captured where it should arrive is not missing there.
        let receiver = case.point(loss.view.point)?;
        let awaited = || left.iter().filter(|run| receiver.was_capturing(run.first, run.last));
        let gone = || awaited().filter_map(|run| Gone::of(run, &left, &arrived));
        let (count, least) =
            (gone().map(|gone| u64::from(gone.count)).sum::<u64>(), gone().map(|gone| gone.size).min());
        let has_df = !loss.direction.of(&sender.large).is_empty();
        // One that came in fragments would be the largest that came.
        let in_fragments = !has_df && sent > came && case.point(sender.point).is_some_and(|p| p.saw_fragments);
        let is_most = count as f64 >= MOST * f64::from(loss.total.missing);
        // Where first pieces came the others may have come too: they name no port, so that a filter by port leaves them out.
        let pieces_came = || case.session.beside().incomplete.iter().any(|(point, _)| *point == loss.view.point);
        let is_whole = is_most && !in_fragments && (has_df || !pieces_came());
        let whole = Some(count).zip(least).filter(|_| is_whole);
        let since = gone().map(|gone| gone.first).min();
        let still = arrived.iter().filter(|run| since.is_some_and(|since| run.last >= since));
        let passes = still.map(|run| run.size).filter(|size| least.is_some_and(|least| *size < least)).max();
        let times = since.zip(gone().map(|gone| gone.last).max());
        (whole.is_some() || in_fragments).then_some(BySize {
            whole,
            has_df,
            times,
            sent,
            came,
            passes,
            sender: sender.point,
        })
    }

    /// Are they too few to count as loss, and yet no chance: sent again and again, while smaller ones came?
    fn is_no_chance(&self, loss: &Loss<'_>) -> bool {
        /// Of fewer it may be.
        const FEW: u64 = 5;
        let (Some((count, _)), Some((first, last))) = (self.whole, self.times) else { return false };
        // What a client sends at first may be too large, for it searches for what is not.
        let may_be_search = loss.direction == Direction::ToServer
            && loss.began().is_none_or(|began| last.seconds_since(began) <= SEARCH);
        let came = loss.view.dtls.as_deref().and_then(|dtls| *loss.direction.of(&dtls.last()));
        let others_pass = came.is_some_and(|(at, _)| at.seconds_since(first) >= IN_VAIN);
        count >= FEW && last.seconds_since(first) >= IN_VAIN && others_pass && !may_be_search
    }

    fn remedy(&self) -> Vec<String> {
        let pass = match self.whole {
            None => remedy::PASS_FRAGMENTS.to_owned(),
            Some((_, least)) => format!(
                "find the link or box between client and gateway that drops UDP {}, {}",
                self.passes.map_or(format!("of {least} B"), |passes| format!("above {passes} B")),
                if self.has_df { "and why its ICMP does not come" } else { "whole or in fragments" }
            ),
        };
        vec![pass, SMALLER.to_owned()]
    }

    fn words(&self, case: &Case<'_>) -> String {
        let (BySize { whole, sent, came, .. }, from) = (self, case.place(self.sender));
        match whole {
            None => format!(
                " Datagrams of up to {sent} B left {from} in IP fragments; nothing above {came} B arrived: it is the fragments that are lost."
            ),
            Some((datagrams, least)) => {
                let sizes = if least == sent { format!("{sent} B") } else { format!("{least} to {sent} B") };
                let datagrams = count(*datagrams, "datagram");
                let passes = self.passes.map_or(String::new(), |passes| format!(", while up to {passes} B did"));
                let without = if self.has_df { "" } else { " without DF" };
                format!(
                    " {datagrams} of {sizes} left {from}{without}, and none of them arrived{passes}: it is the large \
                     ones that are lost."
                )
            }
        }
    }
}

/// What the loss hangs on.
enum Cause<'a> {
    /// The size, as both ends show.
    Size(&'a BySize),
    /// The size, for a while.
    Hole(&'a Hole),
    /// The path: it was down for a while.
    Outage(Outage),
    /// The size, as one end shows.
    OneEnd(OneEnd),
    /// The rate.
    Rate(RateLimit),
    /// A link that loses in bursts, whatever the rate.
    Bursts(Bursts),
    /// Nothing that shows; and why that it is the rate could not.
    Unknown(Option<String>),
}

/// What is missing from silences.
#[derive(Clone, Copy)]
struct Outage {
    missing: u32,
    silences: u32,
    /// The longest of them.
    from: Timestamp,
    until: Timestamp,
    /// It was not that large ones alone were lost, and nothing else was sent.
    is_certain: bool,
}

impl Outage {
    /// However few those are that are missing from silences, unless the sender's end shows that most of them were large.
    fn any(case: &Case<'_>, loss: &Loss<'_>) -> Option<Outage> {
        /// So many times those that are missing came in all.
        const BUSY: u32 = 10;
        let downs = loss.sequence.seldom().outages;
        let (from, until) = downs.longest?;
        let large_lost = hole::large_lost(case, loss, (from, until)).map(|(_, lost)| lost);
        if large_lost.is_some_and(|lost| lost.saturating_mul(2) > downs.missing) {
            return None;
        }
        let large: u32 = loss.view.large_datagrams(loss.direction).map(|run| run.count).sum();
        // What many small ones made busy would not fall silent for the large ones alone.
        let is_busy = loss.total.seen >= BUSY.saturating_mul(downs.missing);
        let is_small = is_busy && (large < MANY || f64::from(large) < SHARE * f64::from(loss.total.seen));
        let is_certain = large_lost.is_some() || is_small || downs.certain.saturating_mul(2) > downs.missing;
        Some(Outage { missing: downs.missing, silences: downs.count, from, until, is_certain })
    }

    /// Where one end alone shows it, and it may have been the size.
    fn open(&self, case: &Case<'_>, loss: &Loss<'_>) -> Outcome {
        let why = format!(
            "{}{} The path was down, or what was sent was too large for it",
            loss.words(case),
            self.words(case, loss)
        );
        Outcome::unsettled(why, case.other_end(OTHER_END), "for seconds no DTLS record came, and records were missing")
    }
    fn seconds(&self) -> f64 {
        self.until.seconds_since(self.from)
    }

    fn words(&self, case: &Case<'_>, loss: &Loss<'_>) -> String {
        let of_them =
            if self.missing < loss.total.missing { format!("{} of them", self.missing) } else { "They".to_owned() };
        let [from, until] = [self.from, self.until].map(|at| at.seconds_since(case.session.start));
        let silence = match self.silences {
            1 => format!("a silence of some {:.0} s", self.seconds()),
            silences => format!("{silences} silences, the longest of some {:.0} s", self.seconds()),
        };
        format!(" {of_them} are missing from {silence}, from second {from:.1} to {until:.1} of the session.")
    }
}

impl<'a> Cause<'a> {
    fn of(case: &Case<'_>, loss: &'a Loss<'_>) -> Cause<'a> {
        if let Some(by_size) = &loss.by_size {
            return Cause::Size(by_size);
        }
        let hole = loss.hole.as_ref().filter(|hole| hole.explains(loss.total) || !is_lossy(loss.total, loss.direction));
        if let Some(hole) = hole.filter(|hole| hole.is_certain()) {
            return Cause::Hole(hole);
        }
        if let Some(outage) = loss.outage(case) {
            return Cause::Outage(outage);
        }
        let untimed = case.untimed();
        let rate = untimed.is_none().then(|| by_rate(&loss.sequence.paces(), loss.large_came()));
        let is_steady = matches!(&rate, Some(ByRate::Grows(limit)) if limit.is_steady());
        if let Some(one_end) = OneEnd::of(case, loss).filter(|_| !is_steady) {
            return Cause::OneEnd(one_end);
        }
        if let Some(hole) = hole.filter(|_| !is_steady) {
            return Cause::Hole(hole);
        }
        let Some(rate) = rate else { return Cause::Unknown(untimed) };
        match rate {
            ByRate::Grows(limit) => Cause::Rate(limit),
            ByRate::Bursts(bursts) => Cause::Bursts(bursts),
            ByRate::Same => Cause::Unknown(None),
            ByRate::CannotTell(why) => Cause::Unknown(Some(why.to_owned())),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Cause::Size(BySize { whole: None, .. }) => "fragments-lost",
            Cause::Size(_) => "large-datagrams-lost",
            Cause::Hole(hole) if hole.is_certain() => "large-datagrams-lost",
            Cause::Hole(_) => "large-datagrams-missing",
            Cause::Outage(_) => "outage",
            Cause::OneEnd(_) => "large-datagrams-missing",
            Cause::Rate(_) => "rate-limited",
            Cause::Bursts(_) | Cause::Unknown(_) => "loss",
        }
    }

    fn headline(&self, loss: &Loss<'_>, back: Option<&Loss<'_>>) -> String {
        let to = loss.receiver();
        let lost = format!("{:.0} % of the DTLS records toward the {to} are lost", loss.share() * 100.0);
        match (self, back) {
            (Cause::Size(BySize { whole: None, .. }), _) => {
                format!("DTLS datagrams toward the {to} that need fragments are lost")
            }
            (Cause::Size(_), _) => format!("large DTLS datagrams toward the {to} are lost, and small ones pass"),
            (Cause::Hole(hole), _) => hole.headline(to),
            (Cause::Outage(outage), _) if outage.silences > 1 => format!(
                "{} times, for up to {:.0} s, no DTLS record came to the {to}: the path, or UDP on it, was down",
                outage.silences,
                outage.seconds()
            ),
            (Cause::Outage(outage), _) => format!(
                "for some {:.0} s no DTLS record came to the {to}: the path, or UDP on it, was down",
                outage.seconds()
            ),
            (Cause::OneEnd(_), _) => format!("{lost}, the large ones, it seems"),
            (Cause::Rate(_), _) => format!("{lost}, the more the faster they come"),
            (Cause::Bursts(_), _) => format!("{lost}, in bursts"),
            (Cause::Unknown(_), Some(back)) => {
                format!("{lost}, and {:.0} % toward the {}", back.share() * 100.0, back.receiver())
            }
            (Cause::Unknown(_), None) => lost,
        }
    }

    /// A sentence, with the space before it; where nothing shows, none.
    fn words(&self, case: &Case<'_>, loss: &Loss<'_>) -> String {
        match self {
            Cause::Size(by_size) => by_size.words(case),
            Cause::Hole(hole) => hole.words(case, loss.total),
            Cause::Outage(outage) => outage.words(case, loss),
            Cause::OneEnd(one_end) => one_end.words(),
            Cause::Rate(limit) => limit.words(),
            Cause::Bursts(bursts) => bursts.words(),
            Cause::Unknown(Some(why)) => format!(" Whether the loss grows with the rate cannot be told: {why}."),
            Cause::Unknown(None) => String::new(),
        }
    }

    fn remedy(&self) -> Vec<String> {
        match self {
            Cause::Size(by_size) => by_size.remedy(),
            Cause::Hole(hole) => hole.remedy(),
            Cause::Outage(_) => {
                vec!["see what happened to the path at that moment, to the client's own link first (Wi-Fi, a cable, a carrier)".to_owned()]
            }
            Cause::Bursts(_) => {
                vec![
                    "see which link on the way loses in bursts, the client's own first (Wi-Fi, a cable, a carrier)"
                        .to_owned(),
                ]
            }
            Cause::OneEnd(one_end) => one_end.remedy(),
            Cause::Rate(_) | Cause::Unknown(_) => DETECTOR.remedy.iter().map(|r| (*r).to_owned()).collect(),
        }
    }
}

/// The finding about the worst loss; `back` is the worst the other way.
fn finding(case: &Case<'_>, loss: &Loss<'_>, back: Option<&Loss<'_>>) -> Finding {
    let cause = Cause::of(case, loss);
    let (why, inside) = (cause.words(case, loss), swallowed(case, loss, &cause));
    let told = match cause {
        Cause::Rate(_) | Cause::Bursts(_) | Cause::Unknown(_) => [inside, why],
        _ => [why, inside],
    };
    let mut summary = loss.words(case) + &told.concat();
    summary.extend(back.map(|back| format!(" The other way too: {}", back.words(case))));
    let opened = &loss.view.opened;
    Finding {
        severity: match cause {
            Cause::Size(_) => Severity::High,
            Cause::Hole(hole) if hole.is_certain() => Severity::Medium,
            Cause::Outage(_) => Severity::Low,
            _ if loss.share() >= NOTICED => Severity::Medium,
            _ => Severity::Low,
        },
        grade: if loss.at_receiver { AT_RECEIVER } else { ELSEWHERE },
        headline: cause.headline(loss, back),
        summary,
        likely: Some(cause.word()),
        ruled_out: ruled_out(loss, &cause),
        evidence: loss.evidence(),
        filters: vec![Filter {
            filter: format!("udp.stream == {} && dtls.record.epoch >= 1", opened.stream),
            capture: opened.first_frame.capture,
            shows: "the records counted (column dtls.record.sequence_number)".to_owned(),
            frames: None,
        }],
        remedy: cause.remedy(),
        wanted: case.other_end(OTHER_END),
        ..Finding::default()
    }
}

/// What the traffic inside shows of it: a segment that was sent in vain.
fn swallowed(case: &Case<'_>, loss: &Loss<'_>, cause: &Cause<'_>) -> String {
    let stuck = case.session.inner.iter().filter_map(stuck_toward_client).filter(|stuck| stuck.times > 2);
    let worst = stuck.filter(|stuck| is_swallowed_over_dtls(case.session, stuck)).max_by_key(|stuck| stuck.times);
    let Some(stuck) = worst.filter(|_| loss.direction == Direction::ToClient) else { return String::new() };
    // Where others as large came, or hardly any large one was sent, it is not the size.
    let came = |run: &Run| run.size >= stuck.ip_len && run.last >= stuck.first;
    let is_size = || loss.may_be_large(case) != Some(false) && !loss.view.large_datagrams(loss.direction).any(came);
    let blames_size = matches!(cause, Cause::Unknown(_)) && is_size();
    format!(
        " Inside, a segment of {} B toward the client was sent {} times in vain{}.",
        stuck.ip_len,
        stuck.times,
        if blames_size { ": it is large records that vanish" } else { "" }
    )
}

fn ruled_out(loss: &Loss<'_>, cause: &Cause<'_>) -> Vec<RuledOut> {
    let mut ruled_out = Vec::new();
    if let Cause::Rate(_) = cause {
        ruled_out.push(RuledOut { what: "a bad link", why: "quiet seconds lose next to nothing".to_owned() });
    }
    let late = loss.sequence.seldom().late;
    if late > 0 {
        let why = format!("{} that came late do not count", count(u64::from(late), "record"));
        ruled_out.push(RuledOut { what: "reordering", why });
    }
    ruled_out
}

/// How the loss goes with the rate.
enum ByRate {
    /// It grows with it.
    Grows(RateLimit),
    /// It does not: most seconds as busy lose next to nothing.
    Bursts(Bursts),
    /// It does not.
    Same,
    /// Nobody knows, and why.
    CannotTell(&'static str),
}

/// Seconds in which so much or more was sent, from which nearly all is missing, beside quieter ones.
struct RateLimit {
    /// Bytes a second.
    from: u64,
    busy: Pace,
    quiet: Rate,
}

impl RateLimit {
    /// Would the quiet seconds show that they lose as well?
    fn is_told(&self, large_came: bool) -> bool {
        /// Records that they must have shown where hardly any large one came: else it may be the size.
        const ENOUGH: u32 = 50;
        /// Records that they would have lost at the share of the busy ones; of fewer it may be chance that they lost none.
        const EXPECTED: f64 = 5.0;
        let expected = f64::from(self.quiet.seen) * self.busy.all.share();
        expected >= EXPECTED && (self.quiet.seen >= ENOUGH || large_came)
    }

    fn grows(&self) -> bool {
        /// The busy seconds lose so many times the share of the others.
        const TIMES: f64 = 4.0;
        /// That the others lose so much less is no chance (see [`surprise`]).
        const NO_CHANCE: f64 = 5.0;
        let share = self.busy.all.share();
        self.busy.all.missing >= MANY
            && share >= SHARE
            && share >= TIMES * self.quiet.share()
            && surprise(self.quiet, self.busy.all) >= NO_CHANCE
    }

    /// Do most of the busy seconds lose? Where enough was saved up before, a limit spares some.
    fn is_even(&self) -> bool {
        /// So many do, 1 = all.
        const MOST: f64 = 0.6;
        f64::from(self.busy.losing) >= MOST * f64::from(self.busy.seconds)
    }

    /// Do enough of them? Few may have met a link's bad moment.
    fn is_lasting(&self) -> bool {
        /// So many do.
        const SECONDS: u32 = 5;
        self.busy.losing >= SECONDS
    }

    /// Do they lose so much each that no sender goes on like that whose large packets all vanish (RFC 6298 §5)?
    fn is_steady(&self) -> bool {
        self.busy.all.missing >= MANY.saturating_mul(self.busy.losing)
    }

    fn steepness(&self) -> f64 {
        self.busy.all.share() - self.quiet.share()
    }

    fn words(&self) -> String {
        format!(
            " In seconds in which some {} or more was sent {:.1} % are missing ({} of {} such seconds lose), in quieter ones {:.1} %: \
             the loss grows with the rate.",
            bit_rate(self.from),
            self.busy.all.share() * 100.0,
            self.busy.losing,
            self.busy.seconds,
            self.quiet.share() * 100.0
        )
    }
}

/// Few of the busy seconds lose much, and the others next to nothing.
struct Bursts(Pace);

impl Bursts {
    fn of(busy: Pace) -> Option<Bursts> {
        /// Fewer seconds tell nothing.
        const SECONDS: u32 = 8;
        /// So many would be missing from each second if all lost alike: none would be spared by chance.
        const EACH: u32 = 3;
        let spared = busy.seconds.saturating_sub(busy.losing);
        let each = |records: u32, seconds: u32| f64::from(records) / f64::from(seconds.max(1));
        // What limits the rate lets at least as much through in seconds that lose.
        let came_less =
            each(busy.seen_in_losing, busy.losing) < each(busy.all.seen.saturating_sub(busy.seen_in_losing), spared);
        let is_one = busy.seconds >= SECONDS
            && spared > busy.losing
            && busy.all.missing >= EACH.saturating_mul(busy.seconds)
            && came_less;
        is_one.then_some(Bursts(busy))
    }

    fn words(&self) -> String {
        let Pace { seconds, losing, .. } = self.0;
        format!(
            " They are lost in bursts: of {seconds} seconds in which about as much was sent {} lose next to nothing, so that it is not \
             the rate.",
            seconds.saturating_sub(losing)
        )
    }
}

fn by_rate(paces: &[Pace], large_came: bool) -> ByRate {
    /// Of what is missing so much is missing from the busy seconds, 1 = all.
    const MOST: f64 = 0.9;
    let total = sum(paces).all;
    if total.missing < MANY {
        return ByRate::Same;
    }
    let split = |(i, pace): (usize, &Pace)| {
        let (quiet, busy) = paces.split_at_checked(i)?;
        Some(RateLimit { from: pace.bytes, busy: sum(busy), quiet: sum(quiet).all })
    };
    let holds_most = |split: &RateLimit| f64::from(split.busy.all.missing) >= MOST * f64::from(total.missing);
    let splits = || paces.iter().enumerate().skip(1).filter_map(split).take_while(holds_most);
    let told = || splits().filter(|split| split.is_told(large_came));
    let even = || told().filter(|split| split.grows() && split.is_even());
    let steepest = |a: &RateLimit, b: &RateLimit| a.steepness().total_cmp(&b.steepness());
    if let Some(limit) = even().filter(RateLimit::is_lasting).max_by(steepest) {
        return ByRate::Grows(limit);
    }
    if let Some(bursts) = splits().last().and_then(|split| Bursts::of(split.busy)) {
        return ByRate::Bursts(bursts);
    }
    if even().next().is_some() {
        ByRate::CannotTell("too few seconds were as busy as those that lose")
    } else if told().any(|split| split.grows()) {
        ByRate::CannotTell("seconds in which about as much was sent lose unevenly")
    } else if told().next().is_none() {
        ByRate::CannotTell("too little came in seconds in which less was sent")
    } else {
        ByRate::Same
    }
}

fn sum(paces: &[Pace]) -> Pace {
    paces.iter().fold(Pace::default(), |sum, pace| sum.with(pace))
}

/// Bytes a second, as limits are configured.
fn bit_rate(bytes: u64) -> String {
    let bits = bytes.saturating_mul(8);
    match bits {
        0..1_000_000 => format!("{} kbit/s", bits / 1000),
        _ => format!("{:.1} Mbit/s", bits as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;
    use crate::session::facts::{Beside, RecordNumber};

    /// Record numbers, one each so many seconds.
    fn sequence(numbers: impl IntoIterator<Item = (f64, u64)>) -> Sequence {
        let mut sequence = Sequence::default();
        let mut before = None;
        for (at, number) in numbers {
            let at = Timestamp::from_nanos(1_000_000_000_000).plus_seconds(at);
            let beside = Beside { before: before.replace(at), ..Beside::default() };
            sequence.note(at, RecordNumber::new(1, number), 1000, beside);
        }
        sequence
    }

    #[test]
    fn numbers_that_both_sides_passed_over_in_silence_are_a_gap_of_the_capture() {
        let steady = |n: u64| (n as f64 / 20.0, n);
        let whole = sequence((0..400).map(steady));
        let holed = sequence((0..100).chain(300..400).map(steady));
        assert_eq!((holed.missing(), holed.seldom().in_silence, holed.seldom().silence()), (200, 200, 10));
        assert_eq!(sum(&holed.paces()).all.missing, 0, "nobody knows their rate");
        assert!(gap(&holed, &whole).is_none());
        assert!(gap(&holed, &holed).is_some());
        let busy = sequence((0..400).filter(|n| n % 4 != 0).map(steady));
        assert_eq!((busy.missing(), busy.seldom().in_silence), (99, 0));
    }

    #[test]
    fn what_a_sender_lost_at_its_own_interface_the_capture_lost() {
        let rate = |seen, missing| Rate { seen, missing };
        let doubt = |judged, own, place: Option<&str>| {
            doubt((judged, own), Direction::ToServer, place.map(|place| || place.to_owned()))
        };
        let place = Some("the client's NIC");
        assert!(doubt(rate(920, 80), rate(920, 80), place).is_some());
        assert!(doubt(rate(920, 80), rate(1000, 1), place).is_none());
        assert!(doubt(rate(920, 80), rate(20, 5), place).is_none(), "too few");
        assert!(doubt(rate(700, 300), rate(960, 40), place).is_some());
        assert!(doubt(rate(920, 80), rate(920, 80), None).is_some());
        assert!(doubt(rate(700, 300), rate(960, 40), None).is_none(), "not alike");
    }

    /// Seconds, in each of which so many records of 1000 bytes were seen and so many lost.
    fn seconds(each: impl IntoIterator<Item = (u64, u64)>) -> Sequence {
        let mut next = 0;
        let mut records = Vec::new();
        for (second, (seen, missing)) in each.into_iter().enumerate() {
            records.extend((0..seen).map(|n| (second as f64 + n as f64 / (seen + 1) as f64, next + n)));
            // What is lost is missed in the same second.
            if let Some(last) = records.last_mut().filter(|_| missing > 0) {
                last.1 += missing;
            }
            next += seen + missing;
        }
        sequence(records)
    }

    fn told(each: &[(u64, u64)], large_came: bool) -> ByRate {
        by_rate(&seconds(each.iter().copied()).paces(), large_came)
    }

    #[test]
    fn the_loss_must_grow_with_the_rate() {
        let quiet = |n: usize| vec![(20, 0); n];
        let policed = |n: usize| [quiet(10), vec![(90, 60); n], quiet(10), vec![(96, 70); 2]].concat();
        let ByRate::Grows(limit) = told(&policed(3), false) else { panic!("policed") };
        assert_eq!((limit.busy.seconds, limit.busy.losing, limit.quiet.missing), (5, 5, 0));
        assert!(matches!(told(&policed(1), false), ByRate::CannotTell(_)), "too few busy seconds");
        assert!((20_000..=150_000).contains(&limit.from), "{}", limit.from);
        // Three of a few hundred, where one in a hundred is lost: so few may be chance.
        let chance = [vec![(10, 0); 57], vec![(9, 1); 3], vec![(396, 4); 20]].concat();
        assert!(!matches!(told(&chance, true), ByRate::Grows(_)), "quiet seconds may lose as much");
        let alike = [vec![(10, 5); 4], vec![(100, 50); 8]].concat();
        assert!(matches!(told(&alike, true), ByRate::Same), "the same share at any rate");
        let hardly = [vec![(5, 0); 2], vec![(90, 45); 5]].concat();
        assert!(matches!(told(&hardly, true), ByRate::CannotTell(_)), "too few quiet seconds to tell");
        let small = [vec![(10, 0); 4], vec![(90, 45); 5]].concat();
        assert!(matches!(told(&small, false), ByRate::CannotTell(_)), "it may be their size");
        assert!(matches!(told(&small, true), ByRate::Grows(_)), "large ones came all the same");
    }

    #[test]
    fn a_constant_rate_of_which_few_seconds_lose_much_is_no_limit() {
        let call = |n: usize| vec![(74, 0); n];
        let quiet = || vec![(10, 0); 10];
        let bursts = [quiet(), call(4), vec![(44, 30)], call(4), vec![(20, 54), (60, 14)], call(6)].concat();
        let ByRate::Bursts(Bursts(busy)) = told(&bursts, false) else { panic!("bursts") };
        assert_eq!((busy.seconds, busy.losing), (17, 3));
        // A limit that spared as many seconds lets as much through in those that lose.
        let saved = [quiet(), vec![(74, 0); 8], vec![(74, 14); 7]].concat();
        assert!(!matches!(told(&saved, false), ByRate::Bursts(_)));
        // Few of each second are missing: it is chance that most lose none.
        let rare = [quiet(), [call(3), vec![(73, 1)]].concat().repeat(24)].concat();
        assert!(matches!(told(&rare, false), ByRate::Same | ByRate::CannotTell(_)));
    }
}
