//! What was seen beside a session and bears on it: does UDP/443 work for others, does somebody else answer, do fragments arrive.

use super::Session;
use super::facts::{FlowFacts, View};
use crate::event::{FrameRef, Incomplete, PointId};
use crate::maps::HashMap;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Frames kept of each.
const MAX_FRAMES: usize = 16;

/// The neighbourhood of a session.
#[derive(Clone, Debug, Default)]
pub struct Neighbourhood {
    /// QUIC of the same client to other hosts: the control for UDP/443.
    pub quic: Quic,
    /// DTLS handshakes of servers that the client had not asked, to a port it asks from.
    pub strangers: Vec<Stranger>,
    /// Fragmented datagrams between client and gateway that never became whole.
    pub incomplete: Vec<(PointId, Incomplete)>,
}

impl Neighbourhood {
    /// Nothing was seen.
    pub const NOTHING: &Neighbourhood = &Neighbourhood {
        quic: Quic { asked: BTreeSet::new(), answered: BTreeSet::new(), frames: Vec::new() },
        strangers: Vec::new(),
        incomplete: Vec::new(),
    };

    fn is_nothing(&self) -> bool {
        self.quic.asked.is_empty() && self.strangers.is_empty() && self.incomplete.is_empty()
    }
}

/// QUIC connection attempts.
#[derive(Clone, Debug, Default)]
pub struct Quic {
    /// Hosts asked.
    pub asked: BTreeSet<IpAddr>,
    /// Of them those that answered.
    pub answered: BTreeSet<IpAddr>,
    /// First Initials.
    pub frames: Vec<FrameRef>,
}

/// A server that answered from another address than the one asked.
#[derive(Clone, Copy, Debug)]
pub struct Stranger {
    /// The address it answers from.
    pub address: IpAddr,
    /// Handshake messages.
    pub messages: u32,
    /// The first of them.
    pub frame: FrameRef,
}

/// Gives each session what of the other flows bears on it.
pub fn attach(sessions: &mut [Session], others: &[View], incomplete: &[(PointId, Incomplete)]) {
    let mut quic: HashMap<(PointId, IpAddr), Vec<&FlowFacts>> = HashMap::default();
    let mut unasked: HashMap<(PointId, SocketAddr), Vec<&FlowFacts>> = HashMap::default();
    for flow in others {
        let client = flow.opened.endpoints.client;
        if flow.quic.iter().any(|n| *n > 0) {
            quic.entry((flow.point, client.ip())).or_default().push(flow);
        }
        if flow.dtls.as_ref().is_some_and(|dtls| dtls.seldom().unasked.0 > 0) {
            unasked.entry((flow.point, client)).or_default().push(flow);
        }
    }
    if quic.is_empty() && unasked.is_empty() && incomplete.is_empty() {
        return;
    }
    for session in sessions {
        let mut beside = Neighbourhood::default();
        let mut clients: BTreeSet<(PointId, IpAddr)> = BTreeSet::new();
        let mut asking: BTreeSet<(PointId, SocketAddr)> = BTreeSet::new();
        let mut gateways: BTreeSet<(PointId, IpAddr)> = BTreeSet::new();
        for view in session.outer_views() {
            let ends = view.opened.endpoints;
            clients.insert((view.point, ends.client.ip()));
            gateways.insert((view.point, ends.server.ip()));
            if view.dtls.is_some() {
                asking.insert((view.point, ends.client));
            }
        }
        let elsewhere = |flow: &&&FlowFacts| !gateways.contains(&(flow.point, flow.opened.endpoints.server.ip()));
        let asked = clients.iter().filter_map(|key| quic.get(key)).flatten();
        asked.filter(elsewhere).for_each(|flow| beside.quic.add(flow));
        let strangers = asking.iter().filter_map(|key| unasked.get(key)).flatten();
        beside.strangers.extend(strangers.filter_map(|flow| Stranger::of(flow)).take(MAX_FRAMES));
        let between = |(point, i): &&(PointId, Incomplete)| {
            let (a, b) = ((*point, i.src), (*point, i.dst));
            gateways.contains(&a) && clients.contains(&b) || clients.contains(&a) && gateways.contains(&b)
        };
        beside.incomplete.extend(incomplete.iter().filter(between));
        session.beside = (!beside.is_nothing()).then(|| Box::new(beside));
    }
}

impl Quic {
    fn add(&mut self, flow: &FlowFacts) {
        let host = flow.opened.endpoints.server.ip();
        let [asked, answered] = flow.ended.packets.map(|n| n > 0);
        if asked {
            self.asked.insert(host);
        }
        if answered {
            self.answered.insert(host);
        }
        if self.frames.len() < MAX_FRAMES {
            self.frames.push(flow.opened.first_frame);
        }
    }
}

impl Stranger {
    fn of(flow: &FlowFacts) -> Option<Stranger> {
        let (messages, first) = flow.dtls.as_ref()?.seldom().unasked;
        let address = flow.opened.endpoints.server.ip();
        Some(Stranger { address, messages, frame: first?.1 })
    }
}
