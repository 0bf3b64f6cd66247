//! When the tunnels of all sessions carried data.

use super::facts::{Activity, FlowFacts};
use super::meetings::{Meeting, Place};
use super::{Entry, Session};
use crate::event::Timestamp;
use crate::maps::{HashMap, HashSet};
use std::cell::OnceCell;

/// Inner packets and their tunnel records lie at most this far apart, seconds (one clock assumed).
pub(super) const TOGETHER: f64 = 0.02;

/// When all sessions are busy: reckoned once, when first asked for, and the same as long as their tunnels are, and the records that
/// something met.
#[derive(Default)]
pub(super) struct Pace(OnceCell<Paces>);

pub(super) struct Paces {
    /// By session.
    pub busy: Vec<Busy>,
    /// When bursts began, in order of time.
    pub bursts: Vec<Burst>,
    /// The session of each flow beside whose records something was seen.
    pub places: HashMap<Place, usize>,
}

/// A burst of a session: 12 bytes, for there are many.
#[derive(Clone, Copy)]
pub(super) struct Burst {
    /// Halves of the moment it began at, the upper one first, less the least moment of all.
    at: [u32; 2],
    session: u32,
}

impl Burst {
    const LEAST: u64 = i64::MIN as u64;

    fn new(at: Timestamp, session: usize) -> Burst {
        let at = (at.nanos() as u64).wrapping_sub(Burst::LEAST);
        Burst { at: [(at >> 32) as u32, at as u32], session: session as u32 }
    }

    /// When it began.
    pub(super) fn at(self) -> Timestamp {
        Timestamp::from_nanos(self.key().wrapping_add(Burst::LEAST) as i64)
    }

    /// One number to sort them by, which is compared at once.
    fn key(self) -> u64 {
        let [upper, lower] = self.at.map(u64::from);
        upper << 32 | lower
    }

    /// Whose it is.
    pub(super) fn session(self) -> usize {
        self.session as usize
    }
}

impl Pace {
    pub(super) fn of(&self, sessions: &[Entry], meetings: &[Meeting]) -> &Paces {
        self.0.get_or_init(|| {
            let met: HashSet<Place> = meetings.iter().map(|meeting| meeting.outer).collect();
            // A list that grows would take up to three times as much meanwhile.
            let moments = sessions
                .iter()
                .flat_map(|session| activities(session))
                .map(|(_, activity)| activity.burst_count() + 1)
                .sum();
            let mut paces = Paces {
                busy: Vec::with_capacity(sessions.len()),
                bursts: Vec::with_capacity(moments),
                places: HashMap::default(),
            };
            for (i, session) in sessions.iter().enumerate() {
                let places = session.outer_views().map(|view| (view.point, view.id));
                paces.places.extend(places.filter(|place| met.contains(place)).map(|place| (place, i)));
                paces.busy.push(Busy::of(session, |at| paces.bursts.push(Burst::new(at, i))));
            }
            paces.bursts.sort_unstable_by_key(|burst| burst.key());
            paces
        })
    }
}

/// When a session's tunnels carried data.
pub(super) struct Busy {
    /// In time order, a little wider than they were, none overlapping.
    stretches: Box<[(Timestamp, Timestamp)]>,
    /// How surprising it is that something else falls into them: the negative logarithm of their share of the session's life.
    pub surprise: f32,
    /// Records that they carried, DPD and keepalive included.
    records: f32,
    /// Bursts a second, from the first to the last of those that are told.
    pace: f32,
}

impl Busy {
    fn of(session: &Session, mut burst: impl FnMut(Timestamp)) -> Busy {
        let wide = |first: Timestamp, last: Timestamp| (first.plus_seconds(-TOGETHER), last.plus_seconds(TOGETHER));
        let mut stretches = Vec::new();
        let mut told: Option<(Timestamp, Timestamp, u32)> = None;
        let mut burst = |at: Timestamp| {
            let (first, last, count) = told.unwrap_or((at, at, 0));
            told = Some((first.min(at), last.max(at), count + 1));
            burst(at);
        };
        for (view, activity) in activities(session) {
            activity.bursts().for_each(&mut burst);
            activity.stretches.iter().for_each(|stretch| stretches.push(wide(stretch.first, stretch.last)));
            // A record that never became whole shows in nothing but its packets.
            let end = view.ended.last;
            burst(end);
            stretches.push(wide(end, end));
        }
        stretches.sort_unstable();
        stretches.dedup_by(|next, kept| {
            let overlaps = next.0 <= kept.1;
            kept.1 = if overlaps { kept.1.max(next.1) } else { kept.1 };
            overlaps
        });
        let busy: f64 = stretches.iter().map(|(from, until)| until.seconds_since(*from)).sum();
        let life = session.end.seconds_since(session.start) + 2.0 * TOGETHER;
        Busy {
            stretches: stretches.into(),
            surprise: -(busy / life).clamp(1e-6, 1.0).ln() as f32,
            records: session.records().max(1) as f32,
            pace: told.map_or(0.0, |(first, last, count)| count as f32 / last.seconds_since(first).max(1.0) as f32),
        }
    }

    /// How surprising it is that something else begins within so many seconds of one of its bursts, if that is next to impossible by
    /// chance, and else nothing: a negative logarithm.
    pub(super) fn closeness(&self, seconds: f64) -> f32 {
        /// Clocks of captures are no finer, seconds.
        const GRAIN: f32 = 50e-6;
        /// Of a client's bursts a few may begin closer than one in so many.
        const RARE: f32 = 500.0;
        let chance = 2.0 * self.pace * GRAIN.max(seconds as f32);
        if chance > 0.0 && chance * RARE <= 1.0 { -chance.ln() } else { 0.0 }
    }

    /// How much of what they carried so many packets inside make up: a record carries one.
    pub(super) fn share(&self, packets: u64) -> f32 {
        packets as f32 / self.records
    }

    /// Did it carry data at that moment?
    pub(super) fn at(&self, at: Timestamp) -> bool {
        let begun = self.stretches.partition_point(|(from, _)| *from <= at);
        begun.checked_sub(1).and_then(|last| self.stretches.get(last)).is_some_and(|(_, until)| at <= *until)
    }

    /// At how many of those moments it did not; `None` when at more than `most`.
    pub(super) fn misses(&self, moments: &[Timestamp], most: usize) -> Option<usize> {
        let misses = moments.iter().filter(|at| !self.at(**at)).take(most + 1).count();
        (misses <= most).then_some(misses)
    }
}

/// The flows that carried a session's data, and when they did.
fn activities(session: &Session) -> impl Iterator<Item = (&FlowFacts, &Activity)> {
    let views = session.tunnels().flat_map(|c| &c.views).chain(session.dtls.iter().flat_map(|d| &d.views));
    views.filter_map(|view| Some((&**view, view.activity()?)))
}
