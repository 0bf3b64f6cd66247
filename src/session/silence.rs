//! The silence in which a tunnel ends, or which it survives: what one side sent again and again, and nothing came back.

use super::facts::{Closed, DtlsFacts, FlowFacts, Stretch, Unanswered, View};
use super::reconnect::{ALIVE, LOST};
use super::{Connection, Session};
use crate::event::{Direction, FrameRef, Passed, Stuck, Timestamp};

/// So many segments are sent again where a path is lost, and nothing comes back for [`LOST`].
const RESENT: u8 = 3;
/// So many records of data ask for an answer.
const FEW: u32 = 3;
/// Clocks and ways of several captures differ by less, seconds.
const SAME_MOMENT: f64 = 1.0;

/// One side heard nothing from the other any more until the capture ended.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// The way its packets went.
    pub sent: Direction,
    /// The other side's last packet, in any channel.
    pub since: Timestamp,
    /// Seconds until its own last packet.
    pub seconds: f64,
    /// Its segments of the tunnel connection that were sent again since it last heard anything there.
    pub resent: u8,
    /// When that was.
    pub over_tls: Timestamp,
    /// Its DTLS records that went unanswered beside them.
    pub records: u32,
    /// Only the TLS connection is silent: DTLS beside it is not.
    pub is_alone: bool,
    /// The last packet on the tunnel connection.
    pub frame: FrameRef,
}

impl Silence {
    /// As that view of the last tunnel shows it, if it does.
    pub fn of(session: &Session, tunnel: &Connection, view: &FlowFacts, sent: Direction) -> Option<Silence> {
        let resent = Some(*sent.of(&view.ended.unheard)).filter(|resent| *resent >= RESENT)?;
        // Where the capture begins in the silence nothing was heard at all.
        let (last, heard) = (view.last_packet(sent)?, view.last_packet(sent.reverse()).unwrap_or(view.opened.first));
        let flows = || session.dtls_since(tunnel).flat_map(|d| &d.views);
        let dtls = flows().filter(|v| v.point == view.point);
        let over_dtls = dtls.clone().filter_map(|v| v.last_packet(sent.reverse())).max();
        let is_alone = over_dtls.is_some_and(|at| last.seconds_since(at) < LOST)
            || lived_over_dtls(session, tunnel, view, sent, in_vain_since(view, sent), last).is_some_and(|s| s >= LOST);
        let since = if is_alone { heard } else { over_dtls.map_or(heard, |at| at.max(heard)) };
        let seconds = last.seconds_since(since);
        // What another capture shows to be answered after this one's last packet was the end of the silence.
        let vain = |v: &View| {
            let records = v.dtls.as_ref().map_or(0, |dtls| dtls.unanswered(sent.reverse()).records);
            *sent.reverse().of(&v.ended.unheard) > 0 || records > 0
        };
        let elsewhere =
            tunnel.views.iter().chain(flows().filter(|_| !is_alone)).filter(|v| v.point != view.point && !vain(v));
        let mut later = elsewhere.filter_map(|v| v.last_packet(sent.reverse()));
        if seconds < LOST || later.any(|at| at.seconds_since(last) > SAME_MOMENT) {
            return None;
        }
        let unanswered = dtls.filter_map(|v| Some(v.dtls.as_ref()?.unanswered(sent).records));
        let records = if is_alone { 0 } else { unanswered.sum() };
        Some(Silence { sent, since, seconds, resent, over_tls: heard, records, is_alone, frame: view.ended.last_frame })
    }
}

/// In this time a sender sends what is missing again four times or more (RFC 6298), seconds.
pub const LONG: f64 = 10.0;
/// So many small segments that went the same way tell of all of them.
const SMALL: u32 = 2;

/// The smallest large segment that was sent in vain that way, where smaller ones arrive: the other side goes on talking, and hears
/// what is acknowledged; or segments behind it arrived, as selective acknowledgments tell.
pub fn stuck_for_its_size(view: &FlowFacts, sent: Direction) -> Option<&Stuck> {
    let stuck = view.ended.sizes.toward(sent).smallest_stuck.as_deref()?;
    let is_one = stuck.times >= u32::from(RESENT) && (goes_on(view, stuck, sent) || stuck.overtaken >= SMALL);
    is_one.then_some(stuck)
}

/// Did the other side go on talking, and not only to say again what had been acknowledged?
pub fn goes_on(view: &FlowFacts, stuck: &Stuck, sent: Direction) -> bool {
    last_said(view, sent.reverse()).is_some_and(|at| at.seconds_since(stuck.first) > SAME_MOMENT)
}

/// When that side last said something; where it says again and again what was acknowledged, when it last said something new. A machine
/// that ends a connection with a RST, as when it wakes, shows only by its records that it had heard anything before.
fn last_said(view: &FlowFacts, way: Direction) -> Option<Timestamp> {
    let new = || Some(way.of(&view.tls.as_deref()?.data).last?.0);
    match view.closed() {
        Some(closed) if closed.reset && closed.direction == way => new(),
        _ if view.ended.sizes.toward(way).needless >= u32::from(RESENT) => new(),
        _ => view.last_packet(way),
    }
}

/// Large segments of a tunnel connection alone were sent again and again in vain until the capture ended, and nothing new came back: a
/// path that is lost looks like one that drops what is large.
#[derive(Clone, Copy, Debug)]
pub struct LargeAlone<'a> {
    /// The way they went.
    pub sent: Direction,
    /// The smallest of them.
    pub stuck: &'a Stuck,
    /// The largest that had arrived.
    pub passed: Option<Passed>,
    /// Segments that the other side sent again meanwhile though they had been acknowledged.
    pub needless: u32,
    /// The connection, where it was seen.
    pub view: &'a FlowFacts,
}

impl<'a> LargeAlone<'a> {
    /// As the views of that tunnel show it.
    pub fn all(session: &'a Session, tunnel: &'a Connection) -> impl Iterator<Item = LargeAlone<'a>> {
        let ways = [Direction::ToServer, Direction::ToClient].into_iter();
        let ways = ways.filter(|sent| !tunnel.views.iter().any(|view| stuck_for_its_size(view, *sent).is_some()));
        ways.flat_map(move |sent| {
            tunnel.views.iter().filter_map(move |view| LargeAlone::of(session, tunnel, view, sent))
        })
    }

    fn of(session: &Session, tunnel: &Connection, view: &'a FlowFacts, sent: Direction) -> Option<LargeAlone<'a>> {
        /// So often, it was not merely lost.
        const OFTEN: u32 = 4;
        let sizes = view.ended.sizes.toward(sent);
        let stuck = sizes.smallest_stuck.as_deref()?;
        let back = sent.reverse();
        let flows = session.dtls_since(tunnel).flat_map(|d| &d.views).filter(|v| v.point == view.point);
        let heard = last_said(view, back).into_iter().chain(flows.filter_map(|v| v.last_packet(back))).max()?;
        let is_long = stuck.last.seconds_since(stuck.first.max(heard)) >= LONG;
        // What small ones sent again tell is told by them; who closes it says something.
        let is_alone =
            *sent.of(&view.ended.unheard) < RESENT && view.closed().is_none_or(|closed| closed.direction == sent);
        // What another capture shows to arrive after this one's end was no longer in vain.
        let progress = tunnel.views.iter().filter_map(|v| v.ended.sizes.toward(sent).progress).max();
        let is_last = progress.is_none_or(|at| at <= stuck.last);
        let needless = view.ended.sizes.toward(back).needless;
        let found = LargeAlone { sent, stuck, passed: sizes.largest_passed, needless, view };
        (stuck.times >= OFTEN && is_long && is_alone && is_last).then_some(found)
    }

    /// The other side hears no acknowledgment either, and those are small.
    pub fn is_echoed(&self) -> bool {
        self.needless >= u32::from(RESENT)
    }

    /// Nor were small ones answered that had been sent behind them.
    pub fn has_small_behind(&self) -> bool {
        self.stuck.behind >= SMALL
    }

    /// May it be their size?
    pub fn may_be_size(&self) -> bool {
        !self.is_echoed() && !self.has_small_behind()
    }
}

/// The DTLS beside the tunnel, as the same point shows it.
fn dtls_here<'a>(
    session: &'a Session,
    tunnel: &'a Connection,
    view: &FlowFacts,
) -> impl Iterator<Item = &'a DtlsFacts> + Clone {
    let point = view.point;
    let views = session.dtls_since(tunnel).flat_map(|d| &d.views).filter(move |v| v.point == point);
    views.filter_map(|v| v.dtls.as_deref())
}

/// When the other side spoke over DTLS in there, from its first word to its last: in stretches of data, and by hellos.
fn spoken<'a>(dtls: &'a DtlsFacts, silent: Direction) -> impl Iterator<Item = (Timestamp, Timestamp)> + 'a {
    let stretches = dtls.spoken(silent).filter(move |s| *silent.of(&s.records) > 0);
    let records = stretches.map(|s| (s.first, s.last));
    let attempts = dtls.attempts.iter().filter(move |_| silent == Direction::ToServer);
    records.chain(attempts.flat_map(|a| a.hello_frames()).map(|(_, at)| (at, at)))
}

/// When what that side sends over TLS began to go unanswered, at the latest.
pub fn in_vain_since(view: &FlowFacts, sent: Direction) -> Option<Timestamp> {
    let (said, heard) = (view.tls.as_deref()?.unanswered(sent), view.last_packet(sent.reverse())?);
    let first = if said.first.0 > heard { said.first.0 } else { said.last.0 };
    Some(first).filter(|first| said.records > 0 && *first > heard)
}

/// When the other side was last heard over DTLS until then, in data or otherwise.
fn heard_over_dtls<'a>(
    dtls: impl Iterator<Item = &'a DtlsFacts> + Clone,
    silent: Direction,
    until: Timestamp,
) -> Option<Timestamp> {
    let last = dtls.clone().filter_map(|d| Some(silent.of(&d.heard).as_ref()?.0)).filter(|at| *at <= until);
    let spoken = dtls.flat_map(|d| spoken(d, silent)).filter(|(first, _)| *first <= until);
    spoken.map(|(_, last)| last.min(until)).chain(last).max()
}

/// Do records without an answer ask for one, rather than keep a NAT awake?
fn asks(said: &Unanswered) -> bool {
    /// Nobody answers a keepalive, and between two DPDs there are no more.
    const KEEPALIVES: u32 = 2;
    said.records > 0 && (said.data() >= FEW || said.control > KEEPALIVES)
}

/// For how many seconds the other side spoke over DTLS when what was sent over TLS had begun to go unanswered, if it was not asked there
/// in vain: [`LOST`] or more, and TLS alone was silent. What comes at the end of the silence came back with the path, and does not count.
pub fn lived_over_dtls(
    session: &Session,
    tunnel: &Connection,
    view: &FlowFacts,
    sent: Direction,
    from: Option<Timestamp>,
    until: Timestamp,
) -> Option<f64> {
    let dtls = || dtls_here(session, tunnel, view);
    let (from, heard) = from.zip(heard_over_dtls(dtls(), sent.reverse(), until))?;
    let is_asked = |said: &Unanswered| said.last.0 > heard && said.first.0 <= until && asks(said);
    // What was answered in the end had gone unanswered as long as TLS.
    let lapses = dtls().filter_map(|d| d.seldom().lapse.as_deref()).filter(|_| sent == Direction::ToServer);
    let lapsed = lapses.filter(|(said, (answered, _))| *answered > from && said.first.0 <= until && asks(said)).count();
    let hellos = dtls().flat_map(|d| &d.attempts).flat_map(|a| a.hello_frames()).map(|(_, at)| at);
    let greeted = hellos.filter(|at| sent == Direction::ToServer && *at > heard && *at <= until).count();
    let asked = lapsed > 0 || dtls().any(|d| is_asked(&d.unanswered(sent)));
    (!asked && greeted < FEW as usize).then_some(heard.seconds_since(from))
}

/// What closed the connection at that moment, or before.
fn closed_by(view: &FlowFacts, until: Timestamp) -> Option<Closed> {
    view.closed().filter(|closed| closed.at <= until.plus_seconds(SAME_MOMENT))
}

/// One side heard nothing from the other for a while, and then something.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// The way its packets went.
    pub sent: Direction,
    /// Its first packet without an answer.
    pub since: Timestamp,
    /// The first answer, in any channel.
    pub until: Timestamp,
    /// Its segments of the tunnel connection that were sent again meanwhile.
    pub resent: u8,
    /// The client's DTLS records that went unanswered beside them.
    pub records: u32,
    /// Those segments were large ones alone, of a size that got through in the end.
    pub is_large: bool,
    /// How many of those records have the length of DPD and keepalive.
    pub control: u32,
    /// The first segment sent again, or the first record that went unanswered.
    pub frame: FrameRef,
    /// The tunnel did not go on: what came then closed it, or it had been closed meanwhile.
    pub closed: Option<Closed>,
    /// TLS alone was silent: DTLS beside it was not.
    pub is_alone: bool,
}

impl Outage {
    /// As its records alone show it: the client's go unanswered for long, and nothing comes in any channel.
    pub fn of_records(session: &Session, tunnel: &Connection, view: &FlowFacts) -> Option<Outage> {
        let dtls = || dtls_here(session, tunnel, view);
        let of_tls = view.tls.iter().filter_map(|tls| tls.seldom().lapse.as_deref());
        let lapses = dtls().filter_map(|d| d.seldom().lapse.as_deref()).chain(of_tls);
        let (said, (answered, _)) = lapses.max_by(|a, b| a.0.seconds().total_cmp(&b.0.seconds()))?;
        let (since, frame) = said.first;
        let outage = Outage {
            sent: Direction::ToServer,
            since,
            until: *answered,
            resent: 0,
            records: said.records,
            is_large: false,
            control: said.control,
            frame,
            closed: closed_by(view, *answered),
            is_alone: false,
        };
        let elsewhere = view.spoken(Direction::ToClient).chain(dtls().flat_map(|d| d.spoken(Direction::ToClient)));
        // A few records behind a long pause only wait for their answer, and nobody answers a keepalive.
        let is_asking = said.seconds() - said.silence() >= LOST && said.data() >= FEW;
        let is_long = is_asking && outage.seconds() >= 2.0 * LOST;
        let mut answers = elsewhere.filter(|s| outage.has_within(*s, Direction::ToClient, LOST));
        (is_long && answers.next().is_none()).then_some(outage)
    }

    /// Did something go that way in it, so many seconds from its ends?
    fn has_within(&self, stretch: Stretch, way: Direction, margin: f64) -> bool {
        *way.of(&stretch.records) > 0
            && stretch.last.seconds_since(self.since) >= margin
            && self.until.seconds_since(stretch.first) >= margin
    }

    /// Do the records without an answer show at that view of the DTLS?
    pub fn shows_at(&self, view: &FlowFacts) -> bool {
        let mut stretches = view.dtls.iter().flat_map(|dtls| dtls.activity.stretches.iter());
        stretches.any(|s| self.has_within(s, self.sent, SAME_MOMENT))
    }

    /// As that view of the tunnel shows it, if it does.
    pub fn of(session: &Session, tunnel: &Connection, view: &FlowFacts, sent: Direction) -> Option<Outage> {
        let lapse = view.ended.lapse(sent)?;
        let dtls = || dtls_here(session, tunnel, view);
        let ((from, frame), until) = (lapse.first, lapse.until);
        let closed = closed_by(view, until);
        let mut outage = Outage {
            sent,
            since: from,
            until,
            resent: lapse.resent,
            records: 0,
            is_large: lapse.is_large,
            control: 0,
            frame,
            closed,
            is_alone: false,
        };
        // Where DTLS goes on the path lives.
        match lived_over_dtls(session, tunnel, view, sent, Some(from), until.plus_seconds(-LOST)) {
            Some(lived) if lived >= LOST => {
                outage.is_alone = true;
                return (outage.seconds() >= LOST).then_some(outage);
            }
            // TLS was dead while the path was not: it tells nothing of the path afterwards either.
            Some(lived) if lived > 2.0 * SAME_MOMENT => return None,
            _ => {}
        }
        let silent = sent.reverse();
        let spoke = dtls().flat_map(|d| spoken(d, silent));
        let meanwhile = spoke.filter(|(first, _)| until.seconds_since(*first) >= SAME_MOMENT);
        let heard = meanwhile.map(|(_, last)| last).max();
        outage.since = heard.map_or(from, |heard| heard.max(from));
        if sent == Direction::ToServer {
            // Those that were answered in the end, and those that never were.
            let lapses =
                dtls().filter_map(|d| d.seldom().lapse.as_deref().map(|(said, (answered, _))| (*said, *answered)));
            // When the other side last spoke in TLS is known where it said nothing since.
            let spoke = view.tls.iter().filter_map(|tls| silent.of(&tls.data).last).map(|(at, _)| at).max();
            let in_vain = dtls().map(|d| (d.unanswered(sent), until));
            let in_vain = in_vain.filter(|(said, _)| said.records > 0 && spoke < Some(said.first.0));
            for (said, answered) in lapses.chain(in_vain) {
                if said.first.0 < until && answered > from && heard.is_none_or(|heard| heard <= said.first.0) {
                    outage.since = outage.since.min(said.first.0);
                    outage.until = outage.until.min(answered);
                    outage.records = outage.records.max(said.records);
                }
            }
        }
        (outage.seconds() >= LOST).then_some(outage)
    }

    /// As a RST ended it that was no answer: its sender had heard nothing for long, or had said nothing for long.
    pub fn before_reset(session: &Session, tunnel: &Connection, view: &FlowFacts) -> Option<Outage> {
        let closed = view.closed().filter(|closed| closed.reset)?;
        let over_tls = |sent| Outage::of(session, tunnel, view, sent).filter(|outage| outage.closed.is_some());
        let ways = [Direction::ToServer, Direction::ToClient].into_iter();
        let all =
            ways.filter_map(|sent| over_tls(sent).or_else(|| Outage::given_up(session, tunnel, view, sent, closed)));
        let until_then = |outage: &Outage| closed.at.seconds_since(outage.since);
        all.filter(|outage| until_then(outage) >= LOST).max_by(|a, b| until_then(a).total_cmp(&until_then(b)))
    }

    /// As the side that sends that way had heard nothing when the connection was closed, over TLS or DTLS.
    fn given_up(
        session: &Session,
        tunnel: &Connection,
        view: &FlowFacts,
        sent: Direction,
        closed: Closed,
    ) -> Option<Outage> {
        let silent = sent.reverse();
        let dtls = || dtls_here(session, tunnel, view);
        let tls = view.tls.as_deref()?;
        let over_tls = match closed.direction == sent {
            true => view.last_packet(silent)?,
            // The RST is its last packet. What is said is acknowledged at once.
            false => tls.data.iter().filter_map(|data| Some(data.last?.0)).max()?,
        };
        let heard = heard_over_dtls(dtls(), silent, closed.at).map_or(over_tls, |at| at.max(over_tls));
        let resent = Some(*sent.of(&view.ended.unheard)).filter(|resent| *resent >= RESENT && closed.direction == sent);
        let from_tls = resent.and_then(|_| in_vain_since(view, sent));
        let in_vain = dtls().map(|d| d.unanswered(sent)).filter(|said| said.first.0 <= closed.at && asks(said));
        let in_vain = in_vain.max_by_key(|said| said.records);
        // When the first of them was sent is known at the latest: by then the other side had been silent, perhaps for longer.
        let asked = from_tls.into_iter().chain(in_vain.map(|said| said.first.0)).min()?;
        let frame = match (from_tls, in_vain) {
            (None, said) => said?.first.1,
            (Some(_), _) => tls.unanswered(sent).first.1,
        };
        let is_alone = lived_over_dtls(session, tunnel, view, sent, from_tls, closed.at.plus_seconds(-LOST))
            .is_some_and(|s| s >= LOST);
        let outage = Outage {
            sent,
            since: if is_alone { over_tls } else { heard },
            until: closed.at,
            resent: resent.filter(|_| from_tls.is_some()).unwrap_or(0),
            records: in_vain.filter(|_| !is_alone).map_or(0, |said| said.records),
            is_large: false,
            control: in_vain.map_or(0, |said| said.control),
            frame,
            closed: Some(closed),
            is_alone,
        };
        // A few records behind a long pause only wait for their answer; and a client that only takes them says nothing but keepalives.
        let least = match sent {
            _ if outage.resent > 0 => LOST,
            Direction::ToServer => 2.0 * LOST,
            Direction::ToClient => ALIVE + LOST,
        };
        (over_tls <= closed.at && closed.at.seconds_since(asked.max(outage.since)) >= least).then_some(outage)
    }

    /// How long.
    pub fn seconds(&self) -> f64 {
        self.until.seconds_since(self.since)
    }
}
