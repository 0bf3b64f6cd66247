//! The silence in which a tunnel ends, or which it survives: what one side sent again and again, and nothing came back.

use super::facts::{Closed, DtlsFacts, FlowFacts, Stretch, Unanswered, View};
use super::reconnect::LOST;
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
        let (last, heard) = (view.last_packet(sent)?, view.last_packet(sent.reverse())?);
        let flows = || session.dtls_since(tunnel).flat_map(|d| &d.views);
        let dtls = flows().filter(|v| v.point == view.point);
        let over_dtls = dtls.clone().filter_map(|v| v.last_packet(sent.reverse())).max();
        let is_alone = over_dtls.is_some_and(|at| last.seconds_since(at) < LOST)
            || lives_over_dtls(session, tunnel, view, sent, in_vain_since(view, sent), last);
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
    let stretches = dtls.activity.stretches.iter().filter(move |s| *silent.of(&s.records) > 0);
    let last = silent.of(&dtls.last()).map(|(at, _)| at);
    let lapse = dtls.seldom().lapse.as_deref().filter(|_| silent == Direction::ToClient);
    // At its end the other side may have gone on alone.
    let spoke_until = move |s: &Stretch| {
        let lapse = lapse.map(|(said, (answered, _))| said.first.0..*answered);
        let begun = lapse.filter(|lapse| lapse.contains(&s.last)).map(|lapse| lapse.start);
        begun.or(last.filter(|last| *last >= s.first)).map_or(s.last, |end| end.min(s.last))
    };
    let records = stretches.map(move |s| (s.first, spoke_until(&s)));
    let attempts = dtls.attempts.iter().filter(move |_| silent == Direction::ToServer);
    records.chain(attempts.flat_map(|a| a.hello_frames()).map(|(_, at)| (at, at)))
}

/// When what that side sends over TLS began to go unanswered, at the latest.
pub fn in_vain_since(view: &FlowFacts, sent: Direction) -> Option<Timestamp> {
    let (said, heard) = (view.tls.as_deref()?.unanswered(sent), view.last_packet(sent.reverse())?);
    let first = if said.first.0 > heard { said.first.0 } else { said.last.0 };
    Some(first).filter(|first| said.records > 0 && *first > heard)
}

/// Was TLS alone silent: did the other side speak over DTLS long after what was sent over TLS had begun to go unanswered, and was it not
/// asked there in vain afterwards?
pub fn lives_over_dtls(
    session: &Session,
    tunnel: &Connection,
    view: &FlowFacts,
    sent: Direction,
    from: Option<Timestamp>,
    until: Timestamp,
) -> bool {
    /// Nobody answers a keepalive, and between two DPDs there are no more.
    const KEEPALIVES: u32 = 2;
    let silent = sent.reverse();
    let dtls = || dtls_here(session, tunnel, view);
    let spoken = dtls().flat_map(|d| spoken(d, silent)).filter(|(first, _)| *first <= until);
    let Some((from, heard)) = from.zip(spoken.map(|(_, last)| last.min(until)).max()) else { return false };
    let is_asked = |said: &Unanswered| {
        let is_in_vain = said.records > 0 && said.last.0 > heard && said.first.0 <= until;
        is_in_vain && (said.data() >= FEW || said.control > KEEPALIVES)
    };
    let answered =
        |d: &DtlsFacts| d.seldom().lapse.as_deref().map(|(said, _)| *said).filter(|_| sent == Direction::ToServer);
    let hellos = dtls().flat_map(|d| &d.attempts).flat_map(|a| a.hello_frames()).map(|(_, at)| at);
    let greeted = hellos.filter(|at| sent == Direction::ToServer && *at > heard && *at <= until).count();
    let asked = dtls().any(|d| is_asked(&d.unanswered(sent)) || answered(d).as_ref().is_some_and(is_asked));
    heard.seconds_since(from) >= LOST && !asked && greeted < FEW as usize
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
    /// As DTLS alone shows it, while nobody says anything over TLS: the client's records go unanswered for long, and nothing comes in any
    /// channel.
    pub fn over_dtls(session: &Session, tunnel: &Connection, view: &FlowFacts) -> Option<Outage> {
        let dtls = || dtls_here(session, tunnel, view);
        let lapses = dtls().filter_map(|d| d.seldom().lapse.as_deref());
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
        let over_tls = view.tls.iter().flat_map(|tls| tls.activity.stretches.iter());
        let elsewhere = over_tls.chain(dtls().flat_map(|d| d.activity.stretches.iter()));
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
        if lives_over_dtls(session, tunnel, view, sent, Some(from), until) {
            outage.is_alone = true;
            return (outage.seconds() >= LOST).then_some(outage);
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

    /// How long.
    pub fn seconds(&self) -> f64 {
        self.until.seconds_since(self.since)
    }
}
