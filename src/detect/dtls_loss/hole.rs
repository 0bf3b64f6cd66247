//! A while in which it is the large datagrams that are lost, until they pass again or the capture ends.

use super::{Loss, MANY, OTHER_END, SEARCH, SMALLER, surprise};
use crate::event::{Direction, PointId, Timestamp};
use crate::finding::{Case, Outcome, count, elapsed};
use crate::session::facts::{FlowFacts, Lull, Rate, Run};

/// What the verdict says where the receiving end alone shows it.
const OPEN: &str = "for a while no large DTLS datagram came, and records were missing";

/// No datagram came as large as before, though smaller ones did, and others were lost.
pub struct Hole {
    lull: Lull,
    from: Timestamp,
    until: Timestamp,
    /// None above this size came, IP bytes.
    above: u32,
    /// Where they were sent from, if that was captured too, and how many more of them left there than came.
    lost: Option<(PointId, u32)>,
}

/// From this size on a datagram counts as large, IP bytes.
fn large_from(loss: &Loss<'_>) -> Option<u32> {
    let (largest, _) = (*loss.direction.of(&loss.view.dtls.as_deref()?.largest_datagram))?;
    Some(largest.get() - largest.get() / 16)
}

fn large(view: &FlowFacts, direction: Direction, from: u32) -> impl Iterator<Item = &Run> {
    view.large_datagrams(direction).filter(move |run| run.size >= from)
}

/// How many more large ones left the sender than came, where it was captured in that time, and where.
pub fn large_lost(case: &Case<'_>, loss: &Loss<'_>, (from, until): (Timestamp, Timestamp)) -> Option<(PointId, u32)> {
    let was_capturing = |point, from, until| case.point(point).is_some_and(|p| p.was_capturing(from, until));
    let sender = loss.sender(case).filter(|sender| was_capturing(sender.point, from, until))?;
    let size = large_from(loss)?;
    // What left while nobody captured where it should arrive is not missing there.
    if large(sender, loss.direction, size).any(|run| !was_capturing(loss.view.point, run.first, run.last)) {
        return None;
    }
    let count = |view: &FlowFacts| large(view, loss.direction, size).map(|run| run.count).sum::<u32>();
    let (awaited, came) = (count(sender), count(loss.view));
    Some((sender.point, awaited.saturating_sub(came)))
}

impl Hole {
    pub fn of(case: &Case<'_>, loss: &Loss<'_>) -> Option<Hole> {
        /// Of all silences of large ones hardly any shows so much by chance.
        const NO_CHANCE: f64 = 12.0;
        /// Of those missing so many must be large, 1 = all.
        const MOST: f64 = 0.8;
        let lull = loss.sequence.lull().filter(|_| case.untimed().is_none())?;
        let (from, until) = lull.span()?;
        // A client searches for what passes.
        let may_be_search = loss.direction == Direction::ToServer
            && loss.began().is_none_or(|began| until.seconds_since(began) <= SEARCH);
        let meanwhile = Rate { seen: lull.seen, missing: lull.missing };
        let otherwise = loss.total.without(meanwhile);
        let loses_more = meanwhile.share() > otherwise.share() && surprise(meanwhile, otherwise) >= NO_CHANCE;
        if may_be_search || meanwhile.seen < lull.missing || !loses_more {
            return None;
        }
        let above = large_from(loss)? - 1;
        let lost = large_lost(case, loss, (from, until));
        let before = || large(loss.view, loss.direction, above + 1).filter(|run| run.first <= from);
        let is_large = match lost {
            Some((_, lost)) => f64::from(lost) >= MOST * f64::from(lull.missing),
            None => before().map(|run| run.count).sum::<u32>() >= MANY,
        };
        is_large.then_some(Hole { lull, from, until, above, lost })
    }

    /// Do captures at both ends show it?
    pub fn is_certain(&self) -> bool {
        self.lost.is_some()
    }

    /// Is it what most of the missing are missing for?
    pub fn explains(&self, total: Rate) -> bool {
        /// So many, 1 = all.
        const MOST: f64 = 0.8;
        f64::from(self.lull.missing) >= MOST * f64::from(total.missing)
    }

    fn seconds(&self) -> f64 {
        self.until.seconds_since(self.from)
    }

    pub fn headline(&self, to: &str) -> String {
        let what =
            if self.is_certain() { "were lost, and small ones passed" } else { "stopped coming, and small ones came" };
        format!("for {} large DTLS datagrams toward the {to} {what}", elapsed(self.seconds()))
    }

    pub fn words(&self, case: &Case<'_>, total: Rate) -> String {
        let missing = self.lull.missing;
        let them = if missing < total.missing { format!("{missing} of them are") } else { "They are".to_owned() };
        let [from, until] = [self.from, self.until].map(|at| at.seconds_since(case.session.start));
        let lost = self.lost.map_or(String::new(), |(point, lost)| {
            let them = count(u64::from(lost), "such datagram");
            format!(" {them} left {} and did not arrive: it was the large ones that were lost.", case.place(point))
        });
        let end = if self.lull.until.is_some() { "then one came again" } else { "then nothing more is missing" };
        format!(
            " {them} missing from second {from:.1} to {until:.1} of the session, in which none above {} B came, though {} came between the \
             first gap and the last; {end}.{lost}",
            self.above,
            count(u64::from(self.lull.seen), "smaller one"),
        )
    }

    pub fn remedy(&self) -> Vec<String> {
        let find = format!(
            "find what drops large UDP datagrams between client and gateway for a while (above {} B none came), and why the sender is not \
             told: a path that changes, a backup line, a tunnel on the way",
            self.above
        );
        vec![find, SMALLER.to_owned()]
    }

    /// Where one end alone shows it, and little of it.
    pub fn open(&self, case: &Case<'_>, loss: &Loss<'_>) -> Outcome {
        let why = format!(
            "{}{} Whether it was the large ones the receiving end cannot show",
            loss.words(case),
            self.words(case, loss.total),
        );
        Outcome::unsettled(why, case.other_end(OTHER_END), OPEN)
    }
}
