//! One tunnel connection on which DTLS failed, and what the attempts show.

use super::seen::{GatewayEnd, Seen, is_open};
use crate::event::{Direction, PointId, Vantage};
use crate::finding::{Case, Sight, Window};
use crate::session::attempt::{AttemptOutcome, Episode, Judged};
use crate::session::coverage::{cuts_hellos, hides};
use crate::session::facts::{AttemptFacts, Flight, Message, MessageKind};
use std::net::SocketAddr;

/// Ports Cisco and everybody else expects DTLS on.
const DEFAULT_PORT: u16 = 443;

/// What the gateway sent is lost so often by chance on any path: more than that is no chance.
const CHANCE: u32 = 2;

/// Messages of the gateway that never came.
pub struct Lost {
    /// Which.
    pub kinds: Vec<MessageKind>,
    /// Others of the gateway did.
    pub came: Vec<MessageKind>,
    /// How often they were sent, as far as it shows.
    pub sent: u32,
}

pub struct Failure<'a> {
    pub case: &'a Case<'a>,
    /// The attempts that failed, at each point that saw them.
    pub failed: Vec<&'a Judged<'a>>,
    /// Those beside them that the capture ended too soon after.
    pub open: Vec<&'a Judged<'a>>,
    /// Where the client sent them.
    pub asked: SocketAddr,
    /// The client's point, or the nearest to it.
    pub near: PointId,
    /// What it saw.
    pub here: Seen,
    pub gateway: GatewayEnd,
    /// When the tunnel opened, seconds into the session, if it is not the first.
    pub later: Option<f64>,
    /// The client names the session of an earlier tunnel connection.
    pub is_stale: bool,
    /// The tunnel opened before the capture, so that DTLS may have been up on it before.
    pub is_midway: bool,
    /// On another tunnel of the session DTLS came up.
    pub works_elsewhere: bool,
    /// On how many others it did not either, and with how many ClientHellos.
    pub elsewhere: (usize, u32),
    /// And on how many it had not when the capture ended.
    pub open_elsewhere: (usize, u32),
}

impl<'a> Failure<'a> {
    /// What was tried on one of all the tunnel connections, if it failed.
    pub fn of(case: &'a Case<'a>, episode: &'a Episode<'a>, all: &[Episode<'_>]) -> Option<Failure<'a>> {
        let failed: Vec<&Judged<'_>> =
            episode.judged.iter().filter(|j| !episode.worked && j.outcome.failed()).collect();
        let open = episode.judged.iter().filter(|j| is_open(j)).collect();
        let asked = failed.first()?.view.opened.endpoints().server;
        let points = || failed.iter().map(|j| j.view.point);
        let client = points().filter(|point| case.vantage(*point) == Some(Vantage::Client)).min();
        let near = client.or_else(|| points().min())?;
        let here = Seen::at(near, episode)?;
        let gateway = client.map_or(GatewayEnd::Nowhere, |client| GatewayEnd::of(case, episode, client));
        let is_first = all.first().is_some_and(|first| first.tunnel == episode.tunnel);
        let later = episode.tunnel.filter(|_| !is_first).map(|at| at.seconds_since(case.session.start));
        let tunnel = failed.iter().map(|judged| judged.facts.first).min().and_then(|at| case.session.tunnel_at(at));
        let is_midway = tunnel.is_some_and(|tunnel| !tunnel.begins_here());
        let is_stale = names_an_earlier_session(&failed, episode, all);
        let works_elsewhere = all.iter().any(|e| e.worked);
        let others = || all.iter().filter(|e| !e.worked && e.tunnel != episode.tunnel);
        let at = |e: &Episode<'_>, is: fn(&Judged<'_>) -> bool| e.judged.iter().any(|j| j.view.point == near && is(j));
        let failed_at = |e: &&Episode<'_>| at(e, |j| j.outcome.failed());
        let elsewhere: Vec<u32> = others().filter(failed_at).filter_map(|e| Some(Seen::at(near, e)?.hellos)).collect();
        let elsewhere = (elsewhere.len(), elsewhere.into_iter().sum());
        let cut_short = others().filter(|e| !failed_at(e) && at(e, is_open));
        let hellos = |e: &Episode<'_>| {
            let here = e.judged.iter().filter(|j| j.view.point == near && is_open(j));
            here.map(|j| j.facts.hellos).sum()
        };
        let cut_short: Vec<u32> = cut_short.map(hellos).collect();
        let open_elsewhere = (cut_short.len(), cut_short.into_iter().sum());
        Some(Failure {
            case,
            failed,
            open,
            asked,
            near,
            here,
            gateway,
            later,
            is_midway,
            is_stale,
            works_elsewhere,
            elsewhere,
            open_elsewhere,
        })
    }

    /// How the attempt went that got furthest.
    pub fn outcome(&self) -> &AttemptOutcome {
        &self.here.furthest
    }

    pub fn is_on_default_port(&self) -> bool {
        self.asked.port() == DEFAULT_PORT
    }

    fn vantage(&self) -> Option<Vantage> {
        self.case.vantage(self.near)
    }

    pub fn is_at_client(&self) -> bool {
        self.vantage() == Some(Vantage::Client)
    }

    pub fn is_at_gateway(&self) -> bool {
        self.vantage() == Some(Vantage::Outside)
    }

    /// The attempts as the nearest point saw them.
    pub fn near(&self) -> impl Iterator<Item = &AttemptFacts> {
        self.failed.iter().filter(|j| j.view.point == self.near).map(|j| j.facts)
    }

    /// IP fragments between the two arrived, and never all of a datagram.
    pub fn lacks_fragments(&self) -> bool {
        self.case.session.beside().incomplete.iter().any(|(point, _)| *point == self.near)
    }

    /// Why the rest of them may have arrived all the same.
    pub fn unseen_fragments(&self) -> Option<String> {
        let mut here = self.case.session.beside().incomplete.iter().filter(|(point, _)| *point == self.near);
        let (_, some) = here.next()?;
        let sight = Sight::Fragments { v6: some.src.is_ipv6() };
        hides(self.case.point(self.near)?, sight, some.datagrams)
    }

    /// The gateway went further than what arrived here shows.
    pub fn is_lost_on_the_way_back(&self) -> bool {
        let further = |there: &Seen| there.sees_answers() && there.furthest.stage() > self.outcome().stage();
        self.gateway.seen().is_some_and(further)
    }

    /// How many different cookies the gateway gave at most, and how often they came back to it.
    pub fn cookies(&self) -> (u16, u16) {
        self.near().fold((0, 0), |(given, echoed), f| (given.max(f.cookies), echoed.max(f.echoed)))
    }

    /// More than one attempt began with a cookie the gateway had given to another port or address.
    pub fn has_cookies_from_elsewhere(&self) -> bool {
        self.near().filter(|f| f.with_cookie == f.hellos && f.hello_verify().is_some()).count() > 1
    }

    /// No ClientHello gave a cookie back.
    pub fn lacks_cookie(&self) -> bool {
        self.near().all(|f| f.with_cookie == 0)
    }

    /// The rest of the gateway's flight came without its ServerHello.
    pub fn lacks_hello(&self) -> bool {
        self.near().all(|f| f.server_hellos() == 0)
    }

    /// A message of the gateway's flight lacks a piece, or all of itself.
    pub fn lacks_messages(&self) -> bool {
        self.near().any(AttemptFacts::lacks_messages)
    }

    /// Frames are cut too short to read its hellos.
    pub fn is_cut(&self) -> bool {
        self.case.point(self.near).is_some_and(cuts_hellos)
    }

    /// The gateway showed a certificate: it does not resume the session.
    pub fn has_certificate(&self) -> bool {
        self.near().any(|f| f.certificate)
    }

    /// What of the gateway's flight came to the nearest point, where it came furthest.
    pub fn flight(&self) -> Option<Flight> {
        self.near().map(AttemptFacts::flight).max_by_key(|flight| flight.came.len())
    }

    /// Messages of the gateway that its own end saw and this one never did; or, at the client alone, those that belong to ones that came.
    pub fn lost(&self) -> Option<Lost> {
        let sent = |point: PointId, kind: MessageKind| -> u32 {
            let there = self.failed.iter().filter(|j| j.view.point == point).flat_map(|j| j.facts.messages());
            there.filter(|m| m.kind == kind && m.direction == Direction::ToClient).map(|m| m.count).sum()
        };
        let most = |point, kinds: &[MessageKind]| kinds.iter().map(|kind| sent(point, *kind)).max().unwrap_or(0);
        let (Some(gateway), Some(seen)) = (self.gateway.point(), self.gateway.seen()) else {
            let flight = self.flight().filter(|flight| self.is_at_client() && flight.is_torn())?;
            return Some(Lost { sent: most(self.near, &flight.came), kinds: flight.lacks, came: flight.came });
        };
        let mut kinds = Vec::new();
        let there = self.failed.iter().filter(|j| j.view.point == gateway).flat_map(|j| j.facts.messages());
        for message in there.filter(|m| m.direction == Direction::ToClient) {
            if !kinds.contains(&message.kind) {
                kinds.push(message.kind);
            }
        }
        let (came, kinds): (Vec<_>, Vec<_>) = kinds.into_iter().partition(|kind| sent(self.near, *kind) > 0);
        let is_lost = seen.sees_answers() && !kinds.is_empty() && self.unseen_fragments().is_none();
        is_lost.then(|| Lost { sent: most(gateway, &kinds), kinds, came })
    }

    /// The gateway's own end alone was captured, and so little of what it sent is lost that it may be chance.
    pub fn is_one_exchange(&self) -> bool {
        let of_gateway = |m: &Message| m.direction == Direction::ToClient;
        let sent = || self.near().flat_map(AttemptFacts::messages).filter(of_gateway).map(|m| m.count);
        sent().max().is_some_and(|most| self.is_chance(most))
    }

    /// May chance have lost what was sent so often here, as other tunnels tell, too?
    pub fn is_chance(&self, sent: u32) -> bool {
        sent as usize + self.elsewhere.0 <= CHANCE as usize
    }

    /// The client says hello again and again in one attempt: it does not go on with what the gateway sent.
    pub fn says_hello_again(&self) -> bool {
        self.near().any(|f| f.hellos > f.with_cookie.max(1))
    }

    /// ClientHellos that did not arrive where all of them would have shown.
    pub fn hellos_lost(&self) -> u32 {
        match &self.gateway {
            GatewayEnd::Seen { seen, is_whole: true, .. } => self.here.hellos.saturating_sub(seen.hellos),
            _ => 0,
        }
    }

    /// How often the client was seen to answer the gateway's flight.
    pub fn answers(&self) -> u32 {
        let of_client = |m: &Message| m.kind == MessageKind::ChangeCipherSpec && m.direction == Direction::ToServer;
        self.near().flat_map(AttemptFacts::messages).filter(of_client).map(|m| m.count).max().unwrap_or(0)
    }

    /// It did, again and again, though the gateway's own end shows that it was answered in turn.
    pub fn is_repeated_in_vain(&self) -> bool {
        let is_answered = || self.flight().is_some_and(|flight| flight.lacks.is_empty());
        !self.is_at_client() && self.answers() > 1 && is_answered()
    }

    /// It did, and none of that reached the gateway.
    pub fn answer_is_lost(&self) -> bool {
        let Some(gateway) = self.gateway.point() else { return false };
        let mut there = self.failed.iter().filter(|j| j.view.point == gateway).map(|j| j.facts).peekable();
        let arrived = |f: &AttemptFacts| *Direction::ToServer.of(&f.ccs) || f.is_protected(Direction::ToServer);
        self.answers() > 0 && there.peek().is_some() && !there.any(arrived)
    }

    /// The client's Finished is seen to come to the gateway's outside interface.
    pub fn finished_arrives(&self) -> bool {
        let outside = if self.is_at_gateway() { Some(self.near) } else { self.gateway.point() };
        let mut there = self.failed.iter().filter(|j| Some(j.view.point) == outside);
        there.any(|j| j.outcome == AttemptOutcome::FinishedLost)
    }

    /// The time in which an ICMP refusal would have shown, or why it would not.
    pub fn icmp_window(&self) -> Option<Result<Window, String>> {
        let judged = self.failed.iter().find(|j| j.view.point == self.near)?;
        let icmp = judged.view.icmp(Direction::ToServer);
        Some(self.case.window(self.near, icmp, judged.facts.first, judged.facts.last()))
    }
}

fn names_an_earlier_session(failed: &[&Judged<'_>], episode: &Episode<'_>, all: &[Episode<'_>]) -> bool {
    let earlier = all.iter().take_while(|e| e.tunnel < episode.tunnel).flat_map(|e| &e.judged);
    let ids: Vec<&[u8]> = earlier.map(|j| j.facts.session_id.as_bytes()).filter(|id| !id.is_empty()).collect();
    failed.iter().any(|j| ids.contains(&j.facts.session_id.as_bytes()))
}
