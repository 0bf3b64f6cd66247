//! What each point saw of the attempts: the client's end, or the nearest to it, and beside it the gateway's.

use crate::event::{PointId, Timestamp, Vantage};
use crate::finding::{Case, Sight, Window};
use crate::session::attempt::{AttemptOutcome, Episode, Judged};
use crate::session::facts::{AttemptFacts, Random};
use std::cmp::Reverse;

/// How many attempts these are: several points see one each.
pub fn distinct<'a>(attempts: impl Iterator<Item = &'a AttemptFacts>) -> usize {
    let mut randoms: Vec<Random> = attempts.map(|attempt| attempt.random).collect();
    randoms.sort_unstable();
    randoms.dedup();
    randoms.len()
}

/// Did the capture end before anybody could tell what came of it?
pub fn is_open(judged: &Judged<'_>) -> bool {
    judged.outcome == AttemptOutcome::CutShort
}

/// All attempts of one tunnel connection together, as one point saw them.
pub struct Seen {
    pub hellos: u32,
    /// HelloVerifyRequests and ServerHellos.
    pub answers: u32,
    /// The largest datagram of the gateway's handshake, IP bytes.
    pub largest: u32,
    pub first: Timestamp,
    pub last: Timestamp,
    /// How the one went that got furthest.
    pub furthest: AttemptOutcome,
}

impl Seen {
    /// Those that failed there, and those that the capture's end cut short beside them; or else those of which that point cannot show
    /// whether they did.
    pub fn at(point: PointId, episode: &Episode<'_>) -> Option<Seen> {
        let all = || episode.judged.iter().filter(|j| j.view.point == point);
        let has_failed = all().any(|j| j.outcome.failed());
        let is_told = |outcome: &AttemptOutcome| match has_failed {
            true => outcome.failed(),
            false => matches!(outcome, AttemptOutcome::NotObservable(_)),
        };
        let here = || all().filter(|j| is_told(&j.outcome));
        let tried = || all().filter(|j| is_told(&j.outcome) || has_failed && is_open(j)).map(|j| j.facts);
        Some(Seen {
            hellos: tried().map(|f| f.hellos).sum(),
            answers: tried().map(|f| f.hello_verifies() + f.server_hellos()).sum(),
            largest: here().map(|j| j.facts.largest_flight).max()?,
            first: tried().map(|f| f.first).min()?,
            last: tried().map(AttemptFacts::last).max()?,
            furthest: here().map(|j| &j.outcome).min_by_key(|outcome| Reverse(outcome.stage()))?.clone(),
        })
    }

    /// Would answers have shown there?
    pub fn sees_answers(&self) -> bool {
        !matches!(self.furthest, AttemptOutcome::NotObservable(_))
    }
}

/// What the gateway's outside interface tells of what the client's own saw fail.
pub enum GatewayEnd {
    /// It was not captured, or the client's was not.
    Nowhere,
    /// It saw the attempts, all the while or not.
    Seen { point: PointId, seen: Seen, is_whole: bool },
    /// It would have seen them, and did not.
    Unseen(Window),
    /// It saw no UDP at all, and nobody knows whether a filter kept it out.
    NoUdp(PointId),
    /// It was captured, and cannot tell: why.
    Unknown(PointId, String),
}

impl GatewayEnd {
    /// Of several captures there one will do.
    pub fn of(case: &Case<'_>, episode: &Episode<'_>, client: PointId) -> GatewayEnd {
        let Some(tries) = Tries::at(client, episode) else { return GatewayEnd::Nowhere };
        let outside = case.at(Vantage::Outside);
        if let Some((point, seen)) = outside.iter().find_map(|point| Some((*point, Seen::at(*point, episode)?))) {
            let is_whole = case.whole_window(point, Sight::Udp(tries.port), tries.first, tries.all).is_ok();
            return GatewayEnd::Seen { point, seen, is_whole };
        }
        // an attempt that the capture's end cut short there, for one
        let mut waited = episode.judged.iter().filter(|j| j.outcome != AttemptOutcome::Abandoned);
        if let Some(judged) = waited.find(|j| outside.contains(&j.view.point)) {
            let why = "the capture there ends too soon after the first that did";
            return GatewayEnd::Unknown(judged.view.point, why.to_owned());
        }
        let mut reason = None;
        for point in outside {
            match tries.window(case, point) {
                Ok(window) => return GatewayEnd::Unseen(window),
                Err(_) if tries.is_bare(case, point) => _ = reason.get_or_insert(GatewayEnd::NoUdp(point)),
                Err(why) => _ = reason.get_or_insert(GatewayEnd::Unknown(point, why)),
            }
        }
        reason.unwrap_or(GatewayEnd::Nowhere)
    }

    /// Where it was, when it can tell.
    pub fn point(&self) -> Option<PointId> {
        match self {
            GatewayEnd::Seen { point, .. } => Some(*point),
            GatewayEnd::Unseen(window) => Some(window.point()),
            GatewayEnd::Nowhere | GatewayEnd::NoUdp(_) | GatewayEnd::Unknown(..) => None,
        }
    }

    /// What it saw.
    pub fn seen(&self) -> Option<&Seen> {
        if let GatewayEnd::Seen { seen, .. } = self { Some(seen) } else { None }
    }
}

/// What the client sent, and when: the other end is searched for it.
struct Tries {
    port: u16,
    first: Timestamp,
    /// The last ClientHello.
    last: Timestamp,
    /// Until when the other end must have been captured to show all of them.
    until: Timestamp,
    /// And to show those too that the capture's end cut short.
    all: Timestamp,
}

impl Tries {
    fn at(client: PointId, episode: &Episode<'_>) -> Option<Tries> {
        /// Clocks of two captures and the delay between them may differ by so much, seconds.
        const LEEWAY: f64 = 1.0;
        let failed = || episode.judged.iter().filter(|j| j.view.point == client && j.outcome.failed());
        let port = failed().next()?.view.opened.endpoints().server.port();
        let first = failed().map(|j| j.facts.first).min()?;
        let last = failed().filter_map(last_hello).max()?;
        let before = |last: Timestamp| last.plus_seconds(-LEEWAY).max(first.plus_seconds(LEEWAY));
        let open = episode.judged.iter().filter(|j| j.view.point == client && is_open(j));
        let all = before(open.filter_map(last_hello).fold(last, Timestamp::max));
        Some(Tries { port, first, last, until: before(last), all })
    }

    fn whole_window(&self, case: &Case<'_>, point: PointId) -> Result<Window, String> {
        case.whole_window(point, Sight::Udp(self.port), self.first, self.until)
    }

    /// The time in which they would have shown there, or why not.
    fn window(&self, case: &Case<'_>, point: PointId) -> Result<Window, String> {
        self.whole_window(case, point)?;
        case.window(point, Sight::Udp(self.port), self.first, self.last)
    }

    /// Was that point capturing all the while without a single packet of UDP, though no filter of its is known?
    fn is_bare(&self, case: &Case<'_>, point: PointId) -> bool {
        case.point(point).is_some_and(|p| !p.saw_udp && !p.tells_filter && p.was_capturing(self.first, self.until))
    }
}

fn last_hello(judged: &Judged<'_>) -> Option<Timestamp> {
    judged.facts.hello_frames().last().map(|(_, at)| at)
}
