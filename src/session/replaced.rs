//! Tunnels that their shape does not tell, but what came next: as one was closed, its program went on in another connection, without a
//! login there.

use super::facts::View;
use super::group::{Group, MOST_CANDIDATES};
use super::join::{KNOWN_TUNNEL, REPLACED, logged_in};
use super::shape::{Shape, converses};
use crate::event::Timestamp;
use std::collections::BTreeSet;

/// No login takes so many records each way.
const BEYOND_LOGIN: u32 = 32;
/// Records of the length of an inner ACK that are no chance, where nothing but what came next tells a tunnel.
const SOME_ACKS: u32 = 6;

/// Finds them among the connections of a pair, which are in order of start.
pub(super) fn mark(connections: &[Group], shapes: &mut [Shape], is_tunnel: &mut [bool]) {
    if connections.len() < 2 || !is_tunnel.contains(&false) {
        return;
    }
    let closed: BTreeSet<(Timestamp, usize)> =
        connections.iter().enumerate().filter_map(|(i, group)| Some((group.closed()?, i))).collect();
    // The last first: one that is told by the next tells the one before.
    for (next, now) in connections.iter().enumerate().rev() {
        let (from, until) = (now.start.plus_seconds(-REPLACED), now.start.plus_seconds(REPLACED));
        for (_, last) in closed.range((from, 0)..(until, 0)).take(MOST_CANDIDATES) {
            let Some(before) = connections.get(*last).filter(|before| before.start < now.start) else { continue };
            let told = |i: usize| is_tunnel.get(i) == Some(&true);
            let looks = |i: usize| shapes.get(i).copied().unwrap_or_default();
            if told(*last) || !goes_on_in(before, now) || !carries_much(before, looks(*last)) {
                continue;
            }
            let is_sure = told(next);
            let are_alike = [*last, next].into_iter().map(looks).all(|shape| shape.acks >= SOME_ACKS && !shape.coarse);
            if is_sure || before.exchanges() > 1 && are_alike && carries_much(now, looks(next)) {
                for i in [*last, next] {
                    if let (Some(tunnel @ false), Some(shape)) = (is_tunnel.get_mut(i), shapes.get_mut(i)) {
                        (*tunnel, shape.is_replaced) = (true, true);
                    }
                }
            }
        }
    }
}

/// Does the same program go on, without a login?
fn goes_on_in(before: &Group, now: &Group) -> bool {
    let span = (before.start, before.closed().unwrap_or(before.end()));
    let login = |last: &View| now.views.iter().any(|view| logged_in(last, span, view));
    before.program().is_some() && before.program() == now.program() && !before.views.iter().any(login)
}

/// Does it carry more than any login, both ways, and nothing that speaks against a tunnel?
fn carries_much(group: &Group, shape: Shape) -> bool {
    group.is_known_tunnel() != Some(false)
        && group.end().seconds_since(group.start) >= KNOWN_TUNNEL
        && shape.may_be_quiet_cstp()
        && group.data().iter().all(|records| *records >= BEYOND_LOGIN)
        && group.views.iter().any(|view| converses(view))
}
