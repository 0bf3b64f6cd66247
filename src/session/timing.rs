//! Whose session traffic inside the tunnels belongs to, told by when it flowed: what passes inside was in a record of the tunnel
//! at that moment. How much that proves depends on how busy the tunnels are, so that chance is reckoned with.

use super::doubt;
pub(super) use super::doubt::Open;
use super::eliminate::{SLACK, eliminate};
use super::facts::{IcmpFacts, Runs};
use super::inner::{holder, holders};
use super::meetings::{Meeting, Place};
use super::pace::{Pace, Paces, TOGETHER};
use super::stuck::stuck_toward_client;
use super::volume::Volumes;
use super::{Entry, InnerFlow, Point, Session};
use crate::event::{PointId, Timestamp};
use crate::maps::{HashMap, HashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is closer together counts as one when it is asked what is chance, seconds.
const APART: f64 = 1.0;

/// All inner flows of one VPN client address.
pub(super) struct Client {
    /// The address.
    pub address: IpAddr,
    /// Its flows.
    pub flows: Vec<InnerFlow>,
}

/// Who has less than this of the packets of another that fits the same session, or of the records of its tunnels, is hardly its
/// client.
const SHARE: f32 = 0.01;
/// The same of one that only elimination speaks for.
const LEFT: f32 = 0.1;
/// So few sessions are all asked whether they may be a client's, near or not.
const FEW: usize = 64;
/// Sessions that may be a client's, the likeliest: what lies beyond is chance.
const MOST_HOMES: usize = 16;

/// The session of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// Its index.
    pub session: usize,
    /// How it was guessed, if timing alone did not tell.
    pub guessed: Option<&'static str>,
    /// It is next to impossible that the two fit by chance.
    pub is_certain: bool,
}

/// What may be guessed where timing alone does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guesses {
    /// What fits best, by elimination too: for traffic of which most is from inside the tunnels.
    Any,
    /// Only neighbours of those whom timing tells.
    Neighbours,
}

/// Whose the clients are.
#[derive(Default)]
pub(super) struct Homes {
    /// The likeliest session of each, if any.
    pub of: Vec<Option<Home>>,
    /// Of whom it cannot be told, as others are hardly less likely.
    pub open: Open,
}

/// The session of each client. Exclusive, best match first.
pub(super) fn homes(
    sessions: &[Entry],
    clients: &[Client],
    icmp: &[IcmpFacts],
    meetings: &[Meeting],
    pace: &Pace,
    guesses: Guesses,
    points: &[Point],
) -> Homes {
    /// More likely its session than that one of all of them fits by chance: 1 to 2, as a negative logarithm.
    const CHANCE: f32 = 0.7;
    /// So much more makes it certain: 1 to 160,000.
    const CERTAIN: f32 = 12.0;
    /// Beyond it more proves no more, as what chance is, is only a model: of clients that fit so well, the one with more packets fits
    /// better. Less than a fiftieth of the tunnels' records, or many times as many, leaves it uncertain.
    const MOST: f32 = CERTAIN + 4.0;
    let mut homes: Vec<Option<Home>> = vec![None; clients.len()];
    if clients.is_empty() {
        return Homes::default();
    }
    give(sessions, clients, &mut homes);
    let given: Vec<bool> = homes.iter().map(Option::is_some).collect();
    // One client may have an IPv4 and an IPv6 address, hence two inner clients per session: one of each family.
    let mut taken: Vec<[bool; 2]> = vec![[false; 2]; sessions.len()];
    let enough = CHANCE + (sessions.len() as f32).ln();
    let mut networks: HashMap<IpAddr, [u32; 2]> = HashMap::default();
    clients.iter().for_each(|client| networks.entry(client.network()).or_default()[0] += 1);
    let paces = pace.of(sessions, meetings);
    // One session needs no telling apart.
    let volumes = (sessions.len() > 1).then(|| Volumes::of(sessions, clients, points));
    let mut rivals = rivals(clients, meetings, paces, volumes.as_ref());
    if !begin_together(&rivals) {
        rivals.iter_mut().for_each(|rival| rival.close = 0);
    }
    let most = enough + MOST;
    sort(&mut rivals, enough, most);
    // One packet is no traffic, unless it does not get through.
    let refused = refused(icmp);
    let is_faulty = |client: &Client| client.is_faulty(&refused);
    // Those whom chance cannot explain; then those of whose neighbours a third are clients; then those that merely fit.
    let steps = if guesses == Guesses::Any { 3 } else { 2 };
    for step in 0..steps {
        for rival in &rivals {
            let (session, client) = (rival.session as usize, rival.client as usize);
            let (Some(home), Some(client)) = (homes.get_mut(client), clients.get(client)) else { continue };
            let Some(taken) = taken.get_mut(session).and_then(|t| t.get_mut(client.family())) else { continue };
            let share = paces.busy.get(session).map_or(0.0, |tunnels| tunnels.share(client.packets()));
            let [all, known] = networks.get(&client.network()).copied().unwrap_or_default();
            let fits = match step {
                // The less of the tunnels' load it is, the more has to speak for it.
                0 => {
                    let is_likely = rival.weight + rival.likeness() + (share / SHARE).min(1.0).ln() >= enough;
                    is_likely && (rival.is_telling || is_faulty(client))
                }
                1 => known > 1 && known * 3 >= all,
                _ => {
                    let is_near = rival.weight > 0.0 && rival.is_near;
                    rival.is_telling && (is_near || sessions.len() == 1)
                }
            };
            if fits && rival.may_be_home && home.is_none() && !*taken && (rival.part >= SHARE || is_faulty(client)) {
                *taken = true;
                let guessed = match step {
                    0 => None,
                    1 => Some("by hardly more than one moment in common, and because its neighbours are clients"),
                    _ => Some("because its timing fits, which may be chance"),
                };
                *home = Some(Home {
                    session,
                    guessed,
                    is_certain: step == 0 && rival.rank(most).min(most) - share.ln().abs() >= enough + CERTAIN,
                });
                networks.entry(client.network()).or_default()[1] += 1;
            }
        }
    }
    if guesses == Guesses::Any {
        let least = if sessions.len() > 1 { LEFT } else { SHARE };
        let may_be_left = |client: usize, session: usize| {
            let Some(who) = clients.get(client) else { return false };
            let packets = who.packets();
            let share = paces.busy.get(session).map_or(0.0, |tunnels| tunnels.share(packets));
            let is_forbidden = volumes.as_ref().is_some_and(|volumes| volumes.forbid(client, session));
            !is_forbidden && (is_faulty(who) || share >= least && packets > 1)
        };
        eliminate(sessions, clients, may_be_left, &mut homes, &mut taken);
    }
    let is_given = |client: usize| given.get(client).is_some_and(|given| *given);
    let open = if sessions.len() > 1 { doubt::open(&rivals, clients, &homes, is_given) } else { Open::new() };
    Homes { of: homes, open }
}

/// To whom packets did not fit, as ICMP said.
pub(super) fn refused(icmp: &[IcmpFacts]) -> HashSet<IpAddr> {
    icmp.iter().filter(|i| i.error.is_frag_needed()).map(|i| i.quoted.dst).collect()
}

/// An address that a decrypted CONNECT gave to one session needs no guess.
fn give(sessions: &[Entry], clients: &[Client], homes: &mut [Option<Home>]) {
    let holders = holders(sessions, |_| true);
    for (home, client) in homes.iter_mut().zip(clients) {
        let Some(given) = holders.get(&client.address) else { continue };
        let span = client.span();
        let is_there = |(_, i): &&(Timestamp, usize)| sessions.get(*i).is_some_and(|s| overlaps(s, span));
        let given: Vec<_> = given.iter().filter(is_there).copied().collect();
        let session = holder(&given, span.0);
        *home = session.map(|session| Home { session, guessed: None, is_certain: true });
    }
}

/// Best first: clients of a session by how well they fit, up to `most`, and how much they send beside those that fit with at least
/// `enough`; sessions of a client, which often rank alike, by how well they fit.
fn sort(rivals: &mut [Rival], enough: f32, most: f32) {
    let mut busiest: HashMap<u32, f32> = HashMap::default();
    for rival in rivals.iter().filter(|rival| rival.weight >= enough) {
        let packets = busiest.entry(rival.session).or_default();
        *packets = rival.part.max(*packets);
    }
    for rival in &mut *rivals {
        rival.part /= busiest.get(&rival.session).copied().unwrap_or(1.0);
    }
    let best_first = |a: &Rival, b: &Rival| b.rank(most).total_cmp(&a.rank(most)).then(b.weight.total_cmp(&a.weight));
    // In place: no two are of the same session and client.
    rivals.sort_unstable_by(|a, b| best_first(a, b).then((a.session, a.client).cmp(&(b.session, b.client))));
}

/// A session that may be a client's: small, for there are many.
pub(super) struct Rival {
    pub session: u32,
    pub client: u32,
    /// How surprising it is if the two have nothing to do with each other: a negative logarithm.
    weight: f32,
    /// The client's packets; once [sorted](sort), for each one of the busiest client that fits the session.
    part: f32,
    /// The same of how much both carried, where there are several sessions.
    volume: f32,
    /// Several bursts in common, or nothing else is busy when the client is.
    is_near: bool,
    /// Is there more than one moment to judge by?
    is_telling: bool,
    /// The client was busy beside it at some moment: else it is no more than not excluded.
    pub may_be_home: bool,
    /// How surprising it is that their bursts begin so closely together; in quarters, which take little room.
    close: u8,
}

impl Rival {
    const QUARTERS: f32 = 4.0;

    /// One that fits so well.
    #[cfg(test)]
    pub(super) fn of(session: u32, client: u32, weight: f32) -> Rival {
        Rival {
            session,
            client,
            weight,
            part: 1.0,
            volume: 0.0,
            is_near: true,
            is_telling: true,
            may_be_home: true,
            close: 0,
        }
    }

    /// How well it fits, which counts up to `most`, and how much the client sends beside others.
    fn rank(&self, most: f32) -> f32 {
        self.weight.min(most) + self.likeness() + self.part.min(1.0).ln()
    }

    /// What tells sessions apart, where there are several.
    fn likeness(&self) -> f32 {
        self.volume + f32::from(self.close) / Rival::QUARTERS
    }

    /// How well it fits, all in all; for sessions and clients to be compared by.
    pub(super) fn fit(&self) -> f32 {
        self.rank(f32::INFINITY)
    }
}

/// Do bursts of most clients begin closely together with those of some session? Else the clocks of the captures differ, and those that
/// do are chance: who does the same every so many seconds meets others again and again.
fn begin_together(rivals: &[Rival]) -> bool {
    let mut clients: HashMap<u32, bool> = HashMap::default();
    for rival in rivals.iter().filter(|rival| rival.may_be_home) {
        *clients.entry(rival.client).or_default() |= rival.close > 0;
    }
    clients.values().filter(|is_close| **is_close).count() * 2 > clients.len()
}

/// Who is busy at the same moments: all that hardly ever missed each other.
fn rivals(clients: &[Client], meetings: &[Meeting], paces: &Paces, volumes: Option<&Volumes>) -> Vec<Rival> {
    /// So many hits make up for a miss: packets that a capture lost, records that came late.
    const HITS_PER_MISS: usize = 4;
    /// What a miss says against the two.
    const MISS: f32 = 12.0;
    /// What a meeting says when it is chance; one with somebody else says nothing.
    const MEETING: f32 = 1.5;
    let Paces { busy, bursts, places } = paces;
    let meetings = of_clients(clients, meetings);
    let mut meetings = meetings.as_slice();
    let mut all = Vec::new();
    let mut common = Commons { of: vec![Common::default(); busy.len()], near: Vec::new() };
    for (c, client) in clients.iter().enumerate() {
        let ([must, may], packets) = (client.moments(), client.packets());
        let (own, others) = meetings.split_at(meetings.partition_point(|(client, _)| *client == c));
        meetings = others;
        // What one capture saw meet says the same, and says it better.
        let is_closeness_telling = volumes.is_some() && own.is_empty();
        for (n, at) in (1..).zip(client_bursts(client)) {
            let (from, until) = (at.plus_seconds(-TOGETHER), at.plus_seconds(TOGETHER));
            let begin = bursts.partition_point(|burst| burst.at() < from);
            let within =
                bursts.get(begin..).unwrap_or_default().iter().take_while(|burst| burst.at() <= until).take(64);
            for burst in within {
                let session = burst.session();
                let tunnel = busy.get(session).filter(|_| is_closeness_telling);
                let closeness = tunnel.map_or(0.0, |tunnel| tunnel.closeness(burst.at().seconds_since(at).abs()));
                common.add(session, |common| common.burst(n, closeness));
            }
        }
        let met = Met::of(own, places);
        met.sessions.iter().for_each(|(session, weight)| common.add(*session, |common| common.met += weight));
        let alone = common.near.len() == 1;
        if busy.len() <= FEW {
            (0..busy.len()).for_each(|session| common.add(session, |_| ()));
        }
        let mut fitting: Vec<Rival> = Vec::new();
        for (session, near) in common.take() {
            let (together, meetings) = (near.bursts, near.met);
            let Some(tunnel) = busy.get(session) else { continue };
            let is_only = busy.len() == 1;
            let most = if is_only { must.len() } else { (must.len() + may.len()) / (HITS_PER_MISS + 1) };
            // Most are near by chance, and soon miss too often.
            let Some(misses) = tunnel.misses(&must, most) else { continue };
            let hits = must.len() - misses + may.iter().filter(|at| tunnel.at(**at)).count();
            let is_forbidden = volumes.is_some_and(|volumes| volumes.forbid(c, session));
            if is_only || hits >= HITS_PER_MISS * misses && !is_forbidden {
                let weight =
                    hits as f32 * tunnel.surprise - misses as f32 * MISS + meetings - met.packets as f32 * MEETING;
                let is_telling = must.len() > 1 || packets > 1;
                let volume = volumes.map_or(0.0, |volumes| volumes.likeness(c, session));
                fitting.push(Rival {
                    session: session as u32,
                    client: c as u32,
                    weight,
                    part: packets as f32,
                    volume,
                    close: (near.closeness() * Rival::QUARTERS) as u8,
                    is_near: alone || together > 1,
                    is_telling,
                    may_be_home: together > 0 || meetings > 0.0,
                });
            }
        }
        let weight = |rival: &Rival| rival.weight + rival.likeness();
        fitting.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then(a.session.cmp(&b.session)));
        all.extend(fitting.into_iter().take(MOST_HOMES));
    }
    all
}

/// What a client has in common with each session; room for it is made once for all clients.
struct Commons {
    of: Vec<Common>,
    near: Vec<u32>,
}

/// What a client has in common with one session: small, for there are many.
#[derive(Clone, Copy, Default)]
struct Common {
    is_near: bool,
    /// Bursts of the client beside one of the session.
    bursts: u8,
    /// The number of the last of them.
    last: u8,
    /// What meetings say.
    met: f32,
    /// How surprising it is that they begin so closely together: of all but the last, of the most surprising of those, and of the last;
    /// in sixteenths, which take little room.
    close: u16,
    closest: u8,
    closest_of_last: u8,
}

impl Commons {
    /// Adds to what there is in common with that session.
    fn add(&mut self, session: usize, add: impl FnOnce(&mut Common)) {
        let Some(common) = self.of.get_mut(session) else { return };
        if !std::mem::replace(&mut common.is_near, true) {
            self.near.push(session as u32);
        }
        add(common);
    }

    /// All of it; the next client begins anew.
    fn take(&mut self) -> impl Iterator<Item = (usize, Common)> {
        let Commons { of, near } = self;
        near.drain(..).filter_map(|session| Some((session as usize, std::mem::take(of.get_mut(session as usize)?))))
    }
}

impl Common {
    /// The client's burst of that number, counted from 1, began beside one of the session; so closely.
    fn burst(&mut self, number: u8, closeness: f32) {
        if std::mem::replace(&mut self.last, number) != number {
            self.bursts += 1;
            self.close = self.close.saturating_add(u16::from(self.closest_of_last));
            self.closest = self.closest.max(std::mem::take(&mut self.closest_of_last));
        }
        self.closest_of_last = self.closest_of_last.max((closeness * SIXTEENTHS) as u8);
    }

    /// How surprising it is that bursts begin so closely together. Of many bursts one does by chance: the second counts.
    fn closeness(&self) -> f32 {
        let [all, closest, last] = [self.close, u16::from(self.closest), u16::from(self.closest_of_last)];
        f32::from(all.saturating_add(last).saturating_sub(closest.max(last))) / SIXTEENTHS
    }
}

/// In one, for [`Common`].
const SIXTEENTHS: f32 = 16.0;

/// The meetings of clients, of one after the other.
fn of_clients<'a>(clients: &[Client], meetings: &'a [Meeting]) -> Vec<(usize, &'a Meeting)> {
    if meetings.is_empty() {
        return Vec::new();
    }
    let flows = clients.iter().enumerate().flat_map(|(c, client)| client.flows.iter().map(move |f| (c, &f.facts)));
    let inner: HashMap<Place, usize> = flows.map(|(c, facts)| ((facts.point, facts.id), c)).collect();
    let known = meetings.iter().filter_map(|meeting| Some((*inner.get(&meeting.inner)?, meeting)));
    let mut all: Vec<(usize, &Meeting)> = known.collect();
    // Those of a packet side by side; in order of time, for sums of fractions depend on it.
    all.sort_unstable_by_key(|(client, meeting)| (*client, meeting.at, meeting.outer));
    all
}

/// What the meetings of a client say for a session, as the negative logarithm of their being chance, and how many they are in all.
#[derive(Default)]
struct Met {
    sessions: BTreeMap<usize, f32>,
    packets: usize,
}

impl Met {
    fn of(meetings: &[(usize, &Meeting)], outer: &HashMap<Place, usize>) -> Met {
        let mut met = Met::default();
        for beside in meetings.chunk_by(|(_, first), (_, next)| first.at == next.at) {
            met.packets += 1;
            // Of the records before and behind it the nearer one counts, if they are of one session.
            let mut nearest: BTreeMap<usize, f32> = BTreeMap::new();
            for (session, weight) in beside.iter().filter_map(|(_, m)| Some((outer.get(&m.outer)?, m.weight))) {
                let known = nearest.entry(*session).or_default();
                *known = known.max(weight);
            }
            nearest.into_iter().for_each(|(session, weight)| *met.sessions.entry(session).or_default() += weight);
        }
        met
    }
}

impl Client {
    /// Where its flows were seen.
    pub(super) fn points(&self) -> BTreeSet<PointId> {
        self.flows.iter().map(|flow| flow.facts.point).collect()
    }

    /// First and last packet.
    pub(super) fn span(&self) -> (Timestamp, Timestamp) {
        let start = self.flows.iter().map(|f| f.facts.opened.first).min().unwrap_or_default();
        (start, self.flows.iter().map(|f| f.facts.ended.last).max().unwrap_or_default())
    }

    fn packets(&self) -> u64 {
        self.flows.iter().flat_map(|f| f.facts.ended.packets).map(u64::from).sum()
    }

    /// Packets toward it do not get through: a gateway said that they do not fit, or their sender repeats them in vain.
    pub(super) fn is_faulty(&self, refused: &HashSet<IpAddr>) -> bool {
        refused.contains(&self.address) || self.flows.iter().any(|flow| stuck_toward_client(flow).is_some())
    }

    /// Moments at which its tunnel must have carried data: a flow's first and last packet, and large ones from the client; and those
    /// at which it may have: large ones toward the client, which may be too large. One a second.
    fn moments(&self) -> [Vec<Timestamp>; 2] {
        let (mut must, mut may) = (Vec::new(), Vec::new());
        for flow in &self.flows {
            let (facts, down) = (&flow.facts, flow.toward_client);
            // A large packet toward the client may not have fitted.
            let is_large = |at: &Timestamp| down.of(&facts.large).iter().any(|run| [run.first, run.last].contains(at));
            must.extend([facts.opened.first, facts.ended.last].into_iter().filter(|at| !is_large(at)));
            must.extend(facts.last_packet(down.reverse()));
            must.extend(begins(down.reverse().of(&facts.large)));
            may.extend(begins(down.of(&facts.large)));
        }
        for all in [&mut must, &mut may] {
            all.sort_unstable();
            all.dedup_by(|a, b| a.seconds_since(*b) < APART);
            all.truncate(64);
        }
        may.retain(|at| must.iter().all(|known| at.seconds_since(*known).abs() >= APART));
        [must, may]
    }

    /// The network whose addresses one gateway gives out: /24, or /64.
    fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8)).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        }
    }

    /// 0 for IPv4, 1 for IPv6.
    pub(super) fn family(&self) -> usize {
        usize::from(self.address.is_ipv6())
    }
}

fn overlaps(session: &Session, (start, end): (Timestamp, Timestamp)) -> bool {
    start <= session.end.plus_seconds(SLACK) && end >= session.start.plus_seconds(-SLACK)
}

/// When runs of large packets began.
fn begins(runs: &Runs) -> impl Iterator<Item = Timestamp> {
    runs.iter().map(|run| run.first)
}

fn client_bursts(client: &Client) -> Vec<Timestamp> {
    let mut all: Vec<Timestamp> = client
        .flows
        .iter()
        .flat_map(|f| std::iter::once(f.facts.opened.first).chain(f.facts.large.iter().flat_map(begins)))
        .collect();
    all.sort_unstable();
    all.dedup_by(|a, b| a.seconds_since(*b).abs() < TOGETHER);
    all.truncate(64);
    all
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::event::{Direction, Ended, Endpoints, FlowId, FrameRef, Large, Opened, Protocol};
    use crate::session::facts::{DtlsFacts, FlowFacts, FlowNotes};
    use crate::session::{DtlsFlow, Proof};

    const LIFE: (f64, f64) = (0.0, 1000.0);

    pub fn at(seconds: f64) -> Timestamp {
        Timestamp::default().plus_seconds(seconds)
    }

    fn facts(id: u32, ends: (IpAddr, IpAddr), protocol: Protocol, span: (f64, f64), packets: u32) -> FlowFacts {
        let ends = Endpoints { client: (ends.0, 50_000).into(), server: (ends.1, 443).into() };
        let opened = Opened { stream: id, ..Opened::bare(protocol, ends, at(span.0)) };
        let ended = Ended { last: at(span.1), packets: [packets, 0], ..Ended::default() };
        FlowNotes::new(PointId(0)).take(FlowId(id), opened, ended)
    }

    /// A session of DTLS that is busy at those moments.
    fn session(id: u32, busy: &[f64]) -> Entry {
        let ends: (IpAddr, IpAddr) = ([192, 0, 2, id as u8].into(), [203, 0, 113, 2].into());
        let mut dtls = DtlsFacts::default();
        busy.iter().for_each(|seconds| dtls.activity.add(at(*seconds), FrameRef::default(), Direction::ToServer, 500));
        let mut view = facts(id, ends, Protocol::Udp, LIFE, 100);
        view.dtls = Some(Box::new(dtls));
        let dtls = vec![DtlsFlow { views: vec![Box::new(view)].into(), continues: None }];
        let new = Session::new(ends.0, Some(ends.1), 443, Proof::LateDtls { has_tls: true });
        Box::new(Session { start: at(LIFE.0), end: at(LIFE.1), dtls: dtls.into(), ..new })
    }

    /// A session whose DTLS carries so many records to the gateway at each of those moments.
    pub fn carrying(id: u32, busy: &[f64], each: u32) -> Entry {
        let all: Vec<f64> = busy.iter().flat_map(|at| (0..each).map(move |_| *at)).collect();
        session(id, &all)
    }

    /// An inner client with one flow, whose large packets begin at those moments and are its first and last ones.
    pub fn client(address: [u8; 4], id: u32, large: &[f64], packets: u32) -> Client {
        let span = (large.iter().copied().fold(f64::MAX, f64::min), large.iter().copied().fold(0.0, f64::max));
        let mut view = facts(id, (address.into(), [10, 0, 0, 1].into()), Protocol::Tcp, span, packets);
        for seconds in large {
            let packet = Large { direction: Direction::ToServer, ip_len: 1300, again: false };
            packet.direction.of_mut(&mut view.large).add(at(*seconds), FrameRef::default(), packet);
        }
        let flows = vec![InnerFlow { facts: Box::new(view), toward_client: Direction::ToClient }];
        Client { address: address.into(), flows }
    }

    /// Sessions that are busy every 50 seconds, each at moments of its own.
    pub fn sessions() -> Vec<Entry> {
        let busy = |n: u32| (0..20).map(|k| f64::from(n) + 50.0 * f64::from(k)).collect::<Vec<_>>();
        (0..40).map(|n| session(n, &busy(n))).collect()
    }

    fn found(clients: &[Client], meetings: &[Meeting]) -> Vec<Option<usize>> {
        homes(&sessions(), clients, &[], meetings, &Pace::default(), Guesses::Any, &[])
            .of
            .into_iter()
            .map(|home| home.map(|home| home.session))
            .collect()
    }

    #[test]
    fn inner_traffic_goes_to_the_session_that_is_busy_with_it() {
        let mine = client([10, 9, 0, 7], 100, &[7.005, 157.005, 507.005], 30);
        assert_eq!(found(&[mine], &[]), [Some(7)]);
    }

    #[test]
    fn large_packets_toward_a_client_that_the_gateway_dropped_say_nothing_against_its_session() {
        let dropped = |direction: Direction| {
            let mut mine = client([10, 9, 0, 7], 100, &[7.005, 157.005], 30);
            let facts = &mut mine.flows[0].facts;
            for seconds in [570.5, 620.5, 700.2] {
                let packet = Large { direction, ip_len: 1418, again: false };
                direction.of_mut(&mut facts.large).add(at(seconds), FrameRef::default(), packet);
                facts.ended.last = at(seconds);
            }
            found(&[mine], &[])
        };
        assert_eq!(dropped(Direction::ToClient), [Some(7)]);
        assert_eq!(dropped(Direction::ToServer), [None], "the tunnel had to carry what the client sent");
    }

    #[test]
    fn traffic_that_no_tunnel_carried_is_nobodys_however_often_it_falls_together_with_one() {
        let theirs = client([10, 9, 0, 7], 100, &[7.005, 157.005, 180.5, 300.5, 410.5], 30);
        assert_eq!(found(&[theirs], &[]), [None]);
    }

    #[test]
    fn a_single_packet_is_nobodys_unless_its_neighbours_are_clients() {
        let single = || client([10, 9, 0, 9], 101, &[209.005], 1);
        let near = meeting(209.005, 101, 9, 8.0);
        assert_eq!(found(&[single()], &[near]), [None]);
        let neighbour = |n: u8| {
            let first = f64::from(n) + 0.005;
            client([10, 9, 0, n], 200 + u32::from(n), &[first, first + 150.0], 30)
        };
        assert_eq!(found(&[neighbour(1), neighbour(2), single()], &[near]), [Some(1), Some(2), Some(9)]);
    }

    /// One session, busy every half second with so many records.
    fn busy(records: u32) -> Entry {
        let mut busy = session(1, &(0..2_000).map(|n| f64::from(n) / 2.0).collect::<Vec<_>>());
        if let Some(dtls) = busy.dtls.first_mut().and_then(|d| d.views.first_mut()?.dtls.as_mut()) {
            dtls.records = [records, 0];
        }
        busy
    }

    fn meeting(seconds: f64, inner: u32, outer: u32, weight: f32) -> Meeting {
        Meeting { at: at(seconds), inner: (PointId(0), FlowId(inner)), outer: (PointId(0), FlowId(outer)), weight }
    }

    /// Twelve moments of a busy session's life.
    fn moments() -> Vec<f64> {
        (0..12).map(|n| 3.0 + 80.0 * f64::from(n)).collect()
    }

    #[test]
    fn of_all_that_a_busy_tunnel_meets_its_client_is_who_explains_its_load() {
        let (mine, stray) = (client([10, 9, 0, 7], 100, &moments(), 900), client([192, 0, 2, 9], 101, &moments(), 8));
        let mut stray_v6 = client([192, 0, 2, 9], 102, &moments(), 8);
        stray_v6.address = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let near = |seconds: &f64| [(100, 7.0), (101, 12.0), (102, 12.0)].map(|(id, w)| meeting(*seconds, id, 1, w));
        let meetings: Vec<Meeting> = moments().iter().flat_map(near).collect();
        let found = |clients: &[Client], icmp: &[IcmpFacts]| {
            let homes = homes(&[busy(2_000)], clients, icmp, &meetings, &Pace::default(), Guesses::Any, &[]).of;
            homes.iter().map(|home| home.map(|home| home.is_certain)).collect::<Vec<_>>()
        };
        assert_eq!(found(&[stray, mine, stray_v6], &[]), [None, Some(true), None]);
        // Alone it fits well enough, but so little of the load is no proof.
        assert_eq!(found(&[client([192, 0, 2, 9], 101, &moments(), 8)], &[]), [Some(false)]);
    }

    #[test]
    fn of_two_sessions_that_fit_beyond_doubt_the_better_one_counts() {
        let moments = [100.0, 200.0, 300.0];
        let all = vec![session(1, &moments), session(2, &moments.map(|at| at + 0.001)), session(3, &[50.0])];
        let mine = client([10, 9, 0, 7], 100, &moments.map(|at| at + 0.005), 30);
        let near = moments.map(|seconds| meeting(seconds + 0.005, 100, 2, 8.0));
        let found = homes(&all, &[mine], &[], &near, &Pace::default(), Guesses::Any, &[]).of;
        assert_eq!(found.iter().flatten().map(|home| home.session).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn the_nearest_record_tells_sessions_apart_that_are_busy_together() {
        let all = vec![session(1, &[100.0, 200.0]), session(2, &[100.001, 200.001]), session(3, &[50.0])];
        let mine = client([10, 9, 0, 7], 100, &[100.005], 30);
        let near = meeting(100.005, 100, 2, 8.0);
        let found = homes(&all, &[mine], &[], &[near], &Pace::default(), Guesses::Any, &[]).of;
        assert_eq!(
            found.iter().map(|home| home.map(|home| (home.session, home.guessed))).collect::<Vec<_>>(),
            [Some((1, None))]
        );
    }
}
