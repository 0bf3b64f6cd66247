//! What sizes got through, per channel and direction: the passive path-MTU bracket.

use super::facts::FlowFacts;
use super::{Channel, Point, Session, vantage};
use crate::event::{Direction, FrameRef, PointId, Vantage};
use std::collections::BTreeMap;

/// What is known of one direction of one channel.
#[derive(Clone, Debug)]
pub struct Bracket {
    /// `OuterTcp`, `OuterUdp` or `Inner`.
    pub channel: Channel,
    /// Toward the client?
    pub to_client: bool,
    /// Largest IP packet that got through, bytes, and the frame that shows it.
    pub passed: Option<(u32, FrameRef)>,
    /// Smallest that never did, bytes, its first frame, and how often it was sent.
    pub stuck: Option<(u32, FrameRef, u32)>,
}

/// The brackets of a session, outer channels first.
///
/// A TCP packet got through when it was acknowledged, or when it was captured at the receiving end; a datagram only in the
/// latter case.
pub fn brackets(session: &Session, points: &[Point]) -> Vec<Bracket> {
    let mut found: BTreeMap<(Channel, bool), Bracket> = BTreeMap::new();
    for view in session.tunnels().flat_map(|c| &c.views) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let to_client = direction == Direction::ToClient;
            sizes(&mut found, Channel::OuterTcp, to_client, view, direction);
        }
    }
    for view in session.dtls.iter().flat_map(|d| &d.views) {
        let Some(dtls) = view.dtls.as_deref() else { continue };
        for direction in [Direction::ToServer, Direction::ToClient] {
            let to_client = direction == Direction::ToClient;
            if let Some((largest, frame)) =
                direction.of(&dtls.largest_datagram).filter(|_| is_receiving_end(view.point, to_client, points))
            {
                pass(&mut found, Channel::OuterUdp, to_client, (largest.get(), frame));
            }
        }
    }
    for flow in &session.inner {
        for direction in [Direction::ToServer, Direction::ToClient] {
            sizes(&mut found, Channel::Inner, direction == flow.toward_client, &flow.facts, direction);
        }
    }
    found.into_values().filter(|b| b.passed.is_some() || b.stuck.is_some()).collect()
}

fn is_receiving_end(point: PointId, to_client: bool, points: &[Point]) -> bool {
    vantage(points, point) == Some(if to_client { Vantage::Client } else { Vantage::Outside })
}

fn entry(found: &mut BTreeMap<(Channel, bool), Bracket>, channel: Channel, to_client: bool) -> &mut Bracket {
    found.entry((channel, to_client)).or_insert(Bracket { channel, to_client, passed: None, stuck: None })
}

fn pass(
    found: &mut BTreeMap<(Channel, bool), Bracket>,
    channel: Channel,
    to_client: bool,
    (bytes, frame): (u32, FrameRef),
) {
    let bracket = entry(found, channel, to_client);
    if bracket.passed.is_none_or(|(known, _)| known < bytes) {
        bracket.passed = Some((bytes, frame));
    }
}

fn sizes(
    found: &mut BTreeMap<(Channel, bool), Bracket>,
    channel: Channel,
    to_client: bool,
    view: &FlowFacts,
    direction: Direction,
) {
    let sizes = view.ended.sizes.toward(direction);
    let at = |number| FrameRef { capture: view.opened.first_frame.capture, number };
    if let Some(passed) = &sizes.largest_passed {
        pass(found, channel, to_client, (passed.ip_len, at(passed.frame)));
    }
    if let Some(stuck) = &sizes.smallest_stuck {
        let bracket = entry(found, channel, to_client);
        if bracket.stuck.is_none_or(|(known, ..)| known > stuck.ip_len) {
            bracket.stuck = Some((stuck.ip_len, at(stuck.first_frame), stuck.times));
        }
    }
}
