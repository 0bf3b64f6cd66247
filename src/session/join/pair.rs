//! All connections between one client and one gateway: which are tunnels, which continue which, and whose the logins and the DTLS are.

use super::{AT_ONCE, KNOWN_TUNNEL, RECONNECT_WITHIN, REPLACED, is_unmistakable};
use crate::event::{Direction, Timestamp, Token};
use crate::maps::{HashMap, HashSet};
use crate::session::facts::{FlowFacts, View};
use crate::session::group::{Group, MOST_CANDIDATES, Pair, late};
use crate::session::owners::{LOGIN_AFTER, Owners, last_over_dtls, owners};
use crate::session::proof::{Beside, Proof};
use crate::session::reconnect::MINUTE;
use crate::session::shape::{Shape, asks_again, exchanges};
use crate::session::{Confidence, Connection, DtlsFlow, Entry, Role, Session, attempt, replaced};
use std::collections::{BTreeMap, BTreeSet};

/// A login begins at most this long before its tunnel connection opens, seconds.
const LOGIN_BEFORE: f64 = 600.0;
/// A login or a download over a connection is done by then, seconds.
const FETCHED: f64 = 2.0;

/// A session in the making: indices into the pair's groups.
#[derive(Default)]
pub(super) struct Draft {
    tunnels: Vec<usize>,
    parents: Vec<usize>,
    dtls: Vec<usize>,
    ambiguities: Vec<String>,
    doubtful: bool,
    /// When the last of its tunnels so far died.
    died: Timestamp,
}

impl Draft {
    /// Of the first connection, a tunnel, and nothing else.
    pub(super) fn of_tunnel() -> Draft {
        Draft { tunnels: vec![0], ..Draft::default() }
    }

    /// Of the first DTLS, and nothing else.
    pub(super) fn of_dtls() -> Draft {
        Draft { dtls: vec![0], ..Draft::default() }
    }
}

/// Sorts all connections between one client address and one gateway address into sessions.
pub(super) fn sessions(mut connections: Vec<Group>, mut dtls: Vec<Group>, others: &mut Vec<View>) -> Vec<Entry> {
    let Some(pair) = connections.first().or(dtls.first()).map(Group::addresses) else { return Vec::new() };
    connections.sort_by_key(|g| g.start);
    dtls.sort_by_key(|g| g.start);
    // Late DTLS, or a hello that others say too, could be anything without TLS beside it.
    if connections.is_empty() {
        let (keep, drop): (Vec<_>, Vec<_>) =
            dtls.into_iter().partition(|g| g.views.iter().any(|view| is_unmistakable(view)));
        others.extend(drop.into_iter().flat_map(|g| g.views));
        dtls = keep;
    }
    let mut shapes: Vec<Shape> = connections.iter().map(Group::shape).collect();
    let Owners { owners, notes, beside } = owners(&connections, &dtls);
    let looks = shapes.iter().zip(&connections);
    let mut is_tunnel: Vec<bool> =
        looks.map(|(shape, group)| group.is_known_tunnel().unwrap_or(shape.is_cstp())).collect();
    let may_be = |group: &Group| group.is_known_tunnel() != Some(false);
    for owner in owners.iter().flatten().chain(&beside) {
        if let (Some(tunnel), Some(group)) = (is_tunnel.get_mut(*owner), connections.get(*owner)) {
            *tunnel |= may_be(group);
        }
    }
    replaced::mark(&connections, &mut shapes, &mut is_tunnel);
    mark_unread(&connections, &mut is_tunnel);
    if dtls.is_empty() && !is_tunnel.contains(&true) {
        others.extend(connections.into_iter().flat_map(|g| g.views));
        return Vec::new();
    }
    for ((tunnel, shape), group) in is_tunnel.iter_mut().zip(&shapes).zip(&connections) {
        *tunnel |= shape.may_be_cstp() && group.end().seconds_since(group.start) >= FETCHED && may_be(group);
    }
    let (mut drafts, homes) = chain(&connections, &is_tunnel, &last_over_dtls(&connections, &dtls, &owners));
    adopt_parents(&mut drafts, &connections, &is_tunnel);
    let resumed = resumed(&drafts, &connections, &dtls, &owners);
    let mut by_id: BTreeMap<&[u8], usize> = BTreeMap::new();
    for (i, ((owner, note), flow)) in owners.iter().zip(notes).zip(&dtls).enumerate() {
        let home = owner.and_then(|owner| *homes.get(owner)?);
        // Without a tunnel: the draft that already holds a DTLS flow with the same session id.
        let home = home.or_else(|| flow.session_ids().find_map(|id| by_id.get(id).copied()));
        let home = home.or_else(|| resumed.get(&i).copied());
        let home = home.unwrap_or_else(|| {
            drafts.push(Draft::default());
            drafts.len() - 1
        });
        for id in flow.session_ids().filter(|_| dtls.len() > 1) {
            by_id.entry(id).or_insert(home);
        }
        if let Some(draft) = drafts.get_mut(home) {
            draft.dtls.push(i);
            draft.doubtful |= note.is_some();
            draft.ambiguities.extend(note);
        }
    }
    build(pair, drafts, connections, dtls, &shapes, others)
}

/// Of connections whose TLS cannot be read those are tunnels as well that open as a tunnel is closed, and last longer than a login.
fn mark_unread(connections: &[Group], is_tunnel: &mut [bool]) {
    let mut closed: Option<Timestamp> = None;
    for (group, tunnel) in connections.iter().zip(is_tunnel) {
        let follows = closed.is_some_and(|at| group.start.seconds_since(at).abs() <= REPLACED);
        *tunnel |= follows && group.is_unread() && group.end().seconds_since(group.start) >= KNOWN_TUNNEL;
        if *tunnel {
            closed = group.closed();
        }
    }
}

/// Chains tunnel connections into sessions: a new one continues the last one that is dead by then. With the draft of each connection
/// that is a tunnel.
fn chain(
    connections: &[Group],
    is_tunnel: &[bool],
    over_dtls: &[Option<Timestamp>],
) -> (Vec<Draft>, Vec<Option<usize>>) {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut homes = vec![None; connections.len()];
    // When each draft died, and the draft.
    let mut died: BTreeSet<(Timestamp, usize)> = BTreeSet::new();
    let mut by_token: HashMap<Token, usize> = HashMap::default();
    // Start of the last connection so far that looks like a login: connections are in order of start.
    let mut login: Option<Timestamp> = None;
    let mut pending: Option<Timestamp> = None;
    let may_continue = |old: usize, new: usize| {
        let (Some(last), Some(group)) = (connections.get(old), connections.get(new)) else { return false };
        let goes_on = over_dtls.get(old).is_some_and(|over_dtls| *over_dtls > Some(alive_from(group)));
        let both_say_whose = || group.tokens().next().is_some() && last.tokens().next().is_some();
        let span = (last.start, last.end());
        let logged_in = |before: &View| group.views.iter().any(|now| logged_in(before, span, now));
        !goes_on && !both_say_whose() && !last.views.iter().any(logged_in)
    };
    let replacements = replacements(connections, is_tunnel, may_continue);
    let replaced_by = |old: Option<usize>| *replacements.get(old?)?;
    for (i, ((group, tunnel), of)) in connections.iter().zip(is_tunnel).zip(&mut homes).enumerate() {
        if pending.is_some_and(|at| at < group.start) {
            login = pending;
        }
        if !tunnel {
            if group.spoke() {
                pending = Some(group.start);
            }
            continue;
        }
        let death = group.died();
        let alive_from = alive_from(group);
        let last_of = |home: usize| drafts.get(home)?.tunnels.last().copied();
        let last = |home: usize| connections.get(last_of(home)?);
        let continues = |home: usize| {
            let Some(old) = last_of(home) else { return false };
            let logged_in_since = || last(home).is_some_and(|last| login.is_some_and(|at| at > last.end()));
            may_continue(old, i) && !logged_in_since()
        };
        let is_same_program = |home: usize| last(home).is_some_and(|last| last.program() == group.program());
        // Of two users behind one address, the one who closes his tunnel as this one opens replaces it.
        let is_replaced = |home: usize| replaced_by(last_of(home)) == Some(i);
        // Whoever goes on with another tunnel does not have this one beside it.
        let goes_elsewhere = |home: usize| {
            let next = replaced_by(last_of(home)).filter(|next| *next != i).and_then(|next| connections.get(next));
            next.is_some_and(|next| group.end() > next.start)
        };
        let in_time = |death: &Timestamp| *death <= alive_from && group.start.seconds_since(*death) <= RECONNECT_WITHIN;
        // The one that died last is the likeliest to be continued, if none is replaced.
        let likeliest = || {
            died.range(..=(alive_from, usize::MAX))
                .rev()
                .take(MOST_CANDIDATES)
                .take_while(|(death, _)| in_time(death))
                .map(|(_, home)| *home)
                .filter(|home| continues(*home) && !goes_elsewhere(*home))
                .max_by_key(|home| (is_same_program(*home), is_replaced(*home), last(*home).map(Group::end), *home))
        };
        // The token of the session, read with keys, says which session it is, and which it is not.
        let known = group.tokens().find_map(|token| by_token.get(&token).copied());
        let home = known.or_else(likeliest).unwrap_or(drafts.len());
        if home == drafts.len() {
            drafts.push(Draft::default());
        }
        if known.is_none() {
            by_token.extend(group.tokens().map(|token| (token, home)));
        }
        if let Some(draft) = drafts.get_mut(home) {
            died.remove(&(draft.died, home));
            died.insert((death, home));
            draft.died = death;
            draft.tunnels.push(i);
        }
        *of = Some(home);
    }
    (drafts, homes)
}

/// From when on a tunnel is in use.
fn alive_from(group: &Group) -> Timestamp {
    group.first_data().unwrap_or(group.start).plus_seconds(0.5)
}

/// Which tunnel replaces each one that is closed at nearly the moment at which that one opens. Several users behind one address may do so
/// at once: the nearest pairs are the likeliest, and each tunnel is replaced once.
fn replacements(
    connections: &[Group],
    is_tunnel: &[bool],
    may_continue: impl Fn(usize, usize) -> bool,
) -> Vec<Option<usize>> {
    let tunnels = || connections.iter().enumerate().zip(is_tunnel).filter(|(_, tunnel)| **tunnel).map(|(of, _)| of);
    // With two there is nothing to choose.
    if tunnels().nth(2).is_none() {
        return Vec::new();
    }
    let closed: BTreeSet<(Timestamp, usize)> = tunnels().filter_map(|(i, group)| Some((group.closed()?, i))).collect();
    let mut pairs = Vec::new();
    for (new, group) in tunnels() {
        let near = (group.start.plus_seconds(-REPLACED), 0)..(group.start.plus_seconds(REPLACED), usize::MAX);
        let is_one = |old: usize| {
            let is_same_program = connections.get(old).is_some_and(|old| old.program() == group.program());
            old < new && is_same_program && may_continue(old, new)
        };
        let near = closed.range(near).take(MOST_CANDIDATES).filter(|(_, old)| is_one(*old));
        pairs.extend(near.map(|(at, old)| (at.nanos().abs_diff(group.start.nanos()), *old, new)));
    }
    pairs.sort_unstable();
    let mut replaced_by = vec![None; connections.len()];
    let mut replacing = HashSet::default();
    for (_, old, new) in pairs {
        if let Some(next @ None) = replaced_by.get_mut(old)
            && replacing.insert(new)
        {
            *next = Some(new);
        }
    }
    replaced_by
}

/// Did somebody log in on this connection, which came after that tunnel? Connections inside a tunnel outlive its reconnect, and what they
/// say at once looks like further questions and answers.
pub(in crate::session) fn logged_in(
    before: &FlowFacts,
    (began, ended): (Timestamp, Timestamp),
    flow: &FlowFacts,
) -> bool {
    /// CONNECT, and one more.
    const FEW: usize = 2;
    /// Nobody begins a login so soon after his tunnel was reset under him, seconds.
    const TAKEN_UP: f64 = 1.0;
    let exchanges = exchanges(flow);
    let (gap, lived) = (flow.opened.first.seconds_since(ended), ended.seconds_since(began));
    let was_reset = before.closed().is_some_and(|closed| closed.reset);
    let is_taken_up = was_reset && (0.0..TAKEN_UP).contains(&gap);
    let may_be_resumed = gap <= AT_ONCE && (exchanges <= FEW || MINUTE.contains(&lived)) || is_taken_up;
    exchanges > 1 && (!may_be_resumed || asks_again(before, flow))
}

/// Gives each login connection to the session whose tunnel follows it.
fn adopt_parents(drafts: &mut [Draft], connections: &[Group], is_tunnel: &[bool]) {
    if is_tunnel.iter().all(|tunnel| *tunnel) {
        return;
    }
    let first = |d: &Draft| d.tunnels.first().and_then(|t| connections.get(*t)).map(|g| g.start);
    let starts: BTreeSet<(Timestamp, usize)> =
        drafts.iter().enumerate().filter_map(|(home, d)| Some((first(d)?, home))).collect();
    let tokens =
        |d: &Draft| d.tunnels.iter().filter_map(|t| connections.get(*t)).flat_map(Group::tokens).collect::<Vec<_>>();
    let by_token: HashMap<Token, usize> =
        drafts.iter().enumerate().flat_map(|(home, d)| tokens(d).into_iter().map(move |token| (token, home))).collect();
    for (i, (group, tunnel)) in connections.iter().zip(is_tunnel).enumerate() {
        if *tunnel || !group.spoke() {
            continue;
        }
        if let Some(home) = group.tokens().find_map(|token| by_token.get(&token).copied()) {
            if let Some(draft) = drafts.get_mut(home) {
                draft.parents.push(i);
            }
            continue;
        }
        // The first tunnel that opens after the login began, and not long before it ended.
        let from = group.start.max(group.end().plus_seconds(-LOGIN_AFTER));
        let next = starts.range((from, 0)..).next();
        if let Some((start, home)) = next
            && start.seconds_since(group.start) <= LOGIN_BEFORE
            && let Some(draft) = drafts.get_mut(*home)
        {
            draft.parents.push(i);
        }
    }
}

/// The drafts in which clients go on whose DTLS was up before the capture, by that DTLS, where their TLS connection of that time does not
/// show: they open a new tunnel, without a login, and say nothing more over the old DTLS.
fn resumed(drafts: &[Draft], connections: &[Group], dtls: &[Group], owners: &[Option<usize>]) -> HashMap<usize, usize> {
    let said = |flow: &Group| {
        let last = |view: &View| Direction::ToServer.of(&view.dtls.as_ref()?.last()).map(|(at, _)| at);
        flow.views.iter().filter_map(last).max()
    };
    let is_one = |flow: &Group| flow.views.iter().all(|view| late(view));
    let orphans = dtls.iter().enumerate().zip(owners).filter(|((_, flow), owner)| owner.is_none() && is_one(flow));
    let mut orphans: Vec<(Timestamp, usize)> = orphans.filter_map(|((i, flow), _)| Some((said(flow)?, i))).collect();
    if orphans.is_empty() {
        return HashMap::default();
    }
    let first = |draft: &Draft| draft.tunnels.first().and_then(|tunnel| connections.get(*tunnel));
    let is_reconnect = |group: &&Group| group.begins_here() && group.exchanges() <= 1;
    let mut free: BTreeSet<(Timestamp, usize)> = drafts
        .iter()
        .enumerate()
        .filter(|(_, draft)| draft.parents.is_empty())
        .filter_map(|(home, draft)| Some((alive_from(first(draft).filter(is_reconnect)?), home)))
        .collect();
    // Of several clients at one address who fell silent last has come back first.
    orphans.sort_unstable();
    let mut homes = HashMap::default();
    for (last, flow) in orphans.into_iter().rev() {
        let next = free.range((last, 0)..(last.plus_seconds(RECONNECT_WITHIN), 0)).next().copied();
        if let Some(place @ (_, home)) = next {
            free.remove(&place);
            homes.insert(flow, home);
        }
    }
    homes
}

/// Drafts become sessions; what is in none of them stays with the others.
pub(super) fn build(
    (client, gateway): Pair,
    drafts: Vec<Draft>,
    connections: Vec<Group>,
    dtls: Vec<Group>,
    shapes: &[Shape],
    others: &mut Vec<View>,
) -> Vec<Entry> {
    let mut connections: Vec<Option<Group>> = connections.into_iter().map(Some).collect();
    let mut dtls: Vec<Option<Group>> = dtls.into_iter().map(Some).collect();
    let session = |draft: Draft| {
        let mut take = |i: &usize, tunnel: bool| -> Option<Connection> {
            let group = connections.get_mut(*i)?.take()?;
            // Keys show that the gateway granted none here, while it did elsewhere.
            let is_refused = draft.tunnels.len() > 1 && group.is_refused();
            let role = match (tunnel && !is_refused, group.exchanges() > 1) {
                (false, _) => Role::Parent,
                (true, true) => Role::ParentAndTunnel,
                (true, false) => Role::Tunnel,
            };
            Some(Connection { role, views: group.views })
        };
        let mut all: Vec<Connection> = Vec::with_capacity(draft.tunnels.len() + draft.parents.len());
        all.extend(draft.tunnels.iter().filter_map(|i| take(i, true)));
        all.extend(draft.parents.iter().filter_map(|i| take(i, false)));
        all.sort_by_key(Connection::start);
        let mut flows: Vec<DtlsFlow> = Vec::with_capacity(draft.dtls.len());
        let mut flow = |i: &usize| Some(DtlsFlow { views: dtls.get_mut(*i)?.take()?.views, continues: None });
        flows.extend(draft.dtls.iter().filter_map(&mut flow));
        let cstp = draft.tunnels.iter().filter_map(|i| shapes.get(*i)).filter(|s| s.is_cstp()).map(|s| s.coarse).min();
        let is_replaced = |i: &usize| shapes.get(*i).is_some_and(|shape| shape.is_replaced);
        let is_read = all.iter().any(|c| c.inside().is_some_and(|i| i.request.is_some() || i.answer.is_some()));
        let (identified_by, confidence) = match is_read {
            true => (Proof::Connect, Confidence::High),
            false if cstp.is_none() && flows.is_empty() && draft.tunnels.iter().any(is_replaced) => {
                (Proof::Replaced, Confidence::Low)
            }
            false => identify(&flows, all.iter().find(|c| c.role.is_tunnel()).or(all.first()), cstp),
        };
        let starts = all.iter().map(Connection::start).chain(flows.iter().map(DtlsFlow::start));
        let ends = all.iter().map(Connection::end).chain(flows.iter().map(DtlsFlow::end));
        let port = all
            .first()
            .map(|c| c.best().opened.endpoints().server.port())
            .or_else(|| flows.first().map(|d| d.best().opened.endpoints().server.port()));
        let confidence = if draft.doubtful { confidence.min(Confidence::Medium) } else { confidence };
        Box::new(Session {
            start: starts.min().unwrap_or_default(),
            end: ends.max().unwrap_or_default(),
            confidence,
            ambiguities: draft.ambiguities.into(),
            connections: all.into(),
            dtls: flows.into(),
            ..Session::new(client, Some(gateway), port.unwrap_or(443), identified_by)
        })
    };
    let sessions = drafts.into_iter().map(session).collect();
    others.extend(connections.into_iter().chain(dtls).flatten().flat_map(|g| g.views));
    sessions
}

/// Does one direction of both show, and nothing of the other?
fn is_half(tls: &Connection, dtls: &[DtlsFlow]) -> bool {
    let mut views = tls.views.iter().chain(dtls.iter().flat_map(|flow| &flow.views));
    views.all(|view| view.ended.packets.contains(&0))
}

/// What says that this is AnyConnect, beside that TLS connection; `cstp` tells of tunnels known by their shape whether all of them are CBC.
fn identify(dtls: &[DtlsFlow], tls: Option<&Connection>, cstp: Option<bool>) -> (Proof, Confidence) {
    let prints = dtls.iter().flat_map(DtlsFlow::attempts).filter_map(|(_, a)| attempt::fingerprint(a));
    let print = prints.reduce(|a, b| if b.1 > a.1 { b } else { a });
    match (print, tls, cstp) {
        (Some((print, _)), Some(_), Some(_)) => (Proof::Dtls(print, Beside::Tunnel), Confidence::High),
        (Some((print, _)), Some(tls), None) if tls.is_unread() => {
            (Proof::Dtls(print, Beside::Unread(tls.best().opened.stream)), Confidence::Medium)
        }
        (Some((print, sure)), Some(_), None) => (Proof::Dtls(print, Beside::Tls), sure),
        (Some((print, _)), None, _) => (Proof::Dtls(print, Beside::Nothing), Confidence::Medium),
        (None, _, Some(true)) => (Proof::CoarseCstp, Confidence::Low),
        (None, _, Some(false)) => (Proof::Cstp, Confidence::Medium),
        (None, Some(tls), None) if is_half(tls, dtls) => (Proof::HalfDtls, Confidence::Low),
        (None, tls, None) => (Proof::LateDtls { has_tls: tls.is_some() }, Confidence::Low),
    }
}
