//! The TLS tunnel ended before its time, or was replaced by another one.

use crate::event::{Direction, FrameRef, PointId, TunnelAnswer, Vantage};
use crate::finding::{
    BothWays, Case, Detector, Evidence, Filter, Finding, Grade, Outcome, RuledOut, Severity, Sight, UNHEARD, Wanted,
    count, elapsed,
};
use crate::session::beside::{self, MAX_FRAMES, Refusal, TurnedAway};
use crate::session::facts::{Closed, Parting, View};
use crate::session::reconnect::{Cause, Reconnect, Unheard, is_unheard, unheard};
use crate::session::silence::{Outage, Silence};
use crate::session::{Connection, DtlsFlow, Session};

/// Seconds without a tunnel that users notice.
const NOTICED: f64 = 5.0;

/// And which many do not wait out.
const LONG: f64 = 30.0;

const SEEN: Grade = Grade::high("the packets that ended it, and the new connection, are in the capture");
const BOTH_ENDS: Grade = Grade::high("one end's capture shows a reset the other end never sent");
const FORGED: Grade = Grade::high("the reset's TTL is not its sender's");
const SILENCE: Grade = Grade::high("small segments are sent again and again, and nothing comes back in any channel");
const TIMING: Grade = Grade::medium("told from silence and timing");

pub static DETECTOR: Detector = Detector {
    id: "tunnel-interrupted",
    title: "The tunnel was interrupted or replaced",
    severity: Severity::Medium,
    judged_from: &[Vantage::Client, Vantage::Outside],
    needs_both_ways: BothWays::OfTcp,
    leads_to: &[],
    question: "what ends the tunnel",
    explanation: "\
The TLS connection that carries the tunnel ended and another took its place without a login, or it was reset, or when the capture ends one \
side has not heard from the other any more. Users see a pause \
as long as no data flows. What ended it is told apart:

- `reset-by-middlebox`: a RST whose TTL is not that of the connection's other packets, or that one end received and the other never sent
- `reset-by-gateway`: the gateway's own RST
- `dpd-unanswered`: the gateway's TCP lives, but for ten seconds or more nothing in the tunnel was answered, DPD included, or for five the new connection's ClientHello
- `path-lost`: nothing came back at all: data was sent again and again, or the new connection's SYN waited for its answer; also where the tunnel then went on
- `gateway-silent`: the same, while the client's packets are seen to reach the gateway's outside interface
- `gateway-restarted`: the gateway fell silent, and then it refused new connections with a RST: its service, or its host, was down
- `client-silent`: nothing came from the client any more, or for 20 s until it reconnected, as seen at the gateway's end: its network was lost, or its machine slept or was switched off
- `tls-lost`: the TLS connection alone was lost, as when a firewall forgets it; DTLS beside it was answered
- `rekey-failed`: a renegotiation had begun that the other side never took part in
- `sleep`: the client's own capture shows nothing at all for 45 s or more, and the new connection right after
- `roaming`: the client has another address
- `gateway-hop`: the client had just left another gateway
- `link-mtu-changed`: the client's outer SYN announces another MSS
- `rekey`: after a whole number of hours, as a rekey by a new tunnel does
- `optimising`: a second tunnel beside a working first one within half a minute, which is then closed: deliberate
- `gateway-closed`, `client-closed`: a FIN, or the client's own RST, and nothing tells why; at the end of a session only where the gateway then takes no new tunnel from the client that comes back, as when its service is restarted or taken down
- `dismissed`: keys show that the gateway said goodbye at the end of the session, as when an administrator or a time limit ends it
- `refused`: keys show that the gateway answered CONNECT without granting a tunnel

The reconnect that only lowers the MTU after a minute has a detector of its own. A tunnel the client itself ends with the session is \
not this. Medium when it was reset, went unanswered or was refused, low when the client reset it, when the gateway ended it, when the path was \
lost for less than thirty seconds and the tunnel went on, or there was no tunnel for five seconds or more; else a fact worth knowing.",
    confidence: &[BOTH_ENDS, FORGED, SEEN, SILENCE, TIMING],
    remedy: &[
        "for a reset by a middlebox: find the device (its TTL tells how far it is) and exempt the gateway from inspection or its idle timer",
        "for unanswered DPD: the gateway's load and logs at that moment (722037, `DPD failure`)",
        "for a lost path: the client's network; `anyconnect ssl keepalive` and DPD only decide how soon it is noticed",
    ],
    references: &["Cisco TAC 116312 (reconnect behaviour, DPD)", "RFC 9293 §3.5.2 (reset)", "ASA syslog 722037"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    // Where the gateway granted none at all, the last connection that asked for one.
    let refused = || session.connections.iter().rev().find(|connection| refusal(connection).is_some());
    let Some(last) = session.tunnels().last().or_else(refused) else {
        return Outcome::cannot_tell("the TLS tunnel was not captured", None);
    };
    let seams: Vec<&Reconnect> = session.reconnects.iter().filter(|r| r.cause != Cause::Mtu).collect();
    let breaks: Vec<Break<'_>> = seams.iter().map(|seam| Break::seam(case, seam)).collect();
    let outages = Break::outages(case).chain(Break::outages_of_dtls(case));
    let at_end = Break::refused(last)
        .or_else(|| Break::closed_after_silence(case, last))
        .or_else(|| Break::reset_at_end(case, last))
        .or_else(|| Break::silence_at_end(case, last))
        .or_else(|| Break::turned_away_at_end(case, last))
        .or_else(|| Break::dismissed(last));
    // Silence is one only where the other side's TCP would show.
    let is_heard = case.part_of_tcp(true, false).is_none();
    let all = breaks
        .into_iter()
        .chain(Break::hop(session))
        .chain(at_end)
        .chain(outages)
        .filter(|b| is_heard || !b.is_silence());
    let worst = all.reduce(|a, b| if b.severity() > a.severity() { b } else { a });
    let Some(worst) = worst else {
        // Where answers do not show, that is the reason.
        let shows = |_: &String| case.one_way(true, false).is_none();
        if let Some(why) = unheard_at_end(session, last).filter(shows) {
            return Outcome::unsettled(why, None, UNHEARD);
        }
        if let Some(why) = unanswered_at_end(session, last).filter(shows) {
            let open = "the gateway's last records went unanswered until the capture ended";
            let wanted = Wanted { vantage: Vantage::Client, why: "whether they arrive, and what the client sends" };
            return Outcome::unsettled(why, Some(wanted), open);
        }
        let words = match session.reconnects.len() {
            0 => "one tunnel connection, ended by neither a reset nor silence",
            _ => "the only reconnect came for the MTU",
        };
        return Outcome::clear(words);
    };
    Outcome::Found(Box::new(worst.finding(case, &seams)))
}

/// Why it cannot be told whether the last tunnel still lives: the client's last records went unanswered, and nobody closed it.
fn unheard_at_end(session: &Session, last: &Connection) -> Option<String> {
    if last.views.iter().any(|view| view.closed().is_some()) {
        return None;
    }
    let flows: Vec<&DtlsFlow> = session.dtls_since(last).collect();
    let Unheard { seconds, records, .. } = unheard(last, &flows).filter(|u| u.is_dpd(last) && !u.tcp_lives(last))?;
    let records = count(u64::from(records), "record");
    Some(format!(
        "the client's last {records} went unanswered over {seconds:.1} s, and what became of the tunnel was not captured"
    ))
}

/// Why it cannot be told whether the client is still there: the gateway sends over DTLS, and the client says nothing at all any more.
fn unanswered_at_end(session: &Session, last: &Connection) -> Option<String> {
    /// So many records, for so long: a keepalive was due (ASA default 20 s), seconds.
    const MANY: u32 = 5;
    const LONG: f64 = 20.0;
    let dtls = session.dtls_since(last).flat_map(|d| &d.views);
    let views = || dtls.clone().chain(&last.views);
    let heard = views().filter_map(|v| v.last_packet(Direction::ToServer)).max()?;
    let said = dtls.clone().filter_map(|v| Some(v.dtls.as_ref()?.unanswered(Direction::ToClient)));
    let said = said.filter(|said| said.records >= MANY).max_by_key(|said| said.last.0)?;
    let seconds = said.last.0.seconds_since(heard);
    let records = count(u64::from(said.records), "record");
    (seconds >= LONG).then(|| {
        format!("the gateway's last {records} went unanswered, and for {seconds:.1} s the client said nothing, not even a keepalive")
    })
}

/// How far apart the seams are, in seconds, where they are so by the clock.
fn period(seams: &[&Reconnect]) -> Option<f64> {
    /// Timers of a client and a network between differ by so much, seconds.
    const LEEWAY: f64 = 2.0;
    let apart = |pair: &[&Reconnect]| match pair {
        [one, next] => Some(next.at.seconds_since(one.at)),
        _ => None,
    };
    let apart: Vec<f64> = seams.windows(2).filter_map(apart).collect();
    let (least, most) = (apart.iter().copied().reduce(f64::min)?, apart.iter().copied().reduce(f64::max)?);
    (apart.len() >= 2 && most - least <= LEEWAY).then_some((least + most) / 2.0)
}

/// One interruption.
#[derive(Default)]
struct Break<'a> {
    likely: &'static str,
    seam: Option<&'a Reconnect>,
    old: Option<&'a Connection>,
    reset: Option<Reset>,
    hop: Option<crate::session::moves::Hop>,
    silence: Option<Silence>,
    outage: Option<Outage>,
    waiting: Option<Waiting>,
}

/// A RST and what gives it away.
#[derive(Clone, Copy)]
struct Reset {
    closed: Closed,
    /// The TTL its sender's packets have at that point.
    usual: Option<u8>,
    /// The sender's own capture does not have it.
    unsent: bool,
}

impl Reset {
    fn is_forged(&self) -> bool {
        self.unsent || self.usual.is_some_and(|usual| usual != self.closed.ttl)
    }
}

impl<'a> Break<'a> {
    fn seam(case: &Case<'a>, seam: &'a Reconnect) -> Break<'a> {
        let old = case.session.connections.get(seam.old);
        let reset = old.and_then(|c| reset(case, c)).filter(|_| seam.cause == Cause::Reset);
        let rekeyed = old.is_some_and(rekey_failed);
        let waiting = waiting(case, seam);
        let likely = match (seam.cause, reset) {
            (_, Some(reset)) if reset.is_forged() => "reset-by-middlebox",
            (Cause::Reset, Some(reset)) if reset.closed.direction == Direction::ToServer => "client-closed",
            (Cause::Reset, _) => "reset-by-gateway",
            (Cause::PathLost | Cause::DpdUnanswered | Cause::ClientClosed, _) if rekeyed => "rekey-failed",
            (Cause::PathLost, _) if waiting == Some(Waiting::AtGateway) => "gateway-silent",
            (cause, _) => cause.word(),
        };
        Break { likely, seam: Some(seam), old, reset, waiting, ..Break::default() }
    }

    fn hop(session: &'a Session) -> Option<Break<'a>> {
        let hop = *session.came_from.as_deref()?;
        Some(Break { likely: "gateway-hop", hop: Some(hop), ..Break::default() })
    }

    /// Keys show that the gateway granted no tunnel.
    fn refused(last: &'a Connection) -> Option<Break<'a>> {
        refusal(last).map(|_| Break::at_end("refused", last))
    }

    /// Keys show that the gateway said goodbye.
    fn dismissed(last: &'a Connection) -> Option<Break<'a>> {
        dismissal(last).map(|_| Break::at_end("dismissed", last))
    }

    /// How it ended, with nothing that followed.
    fn at_end(likely: &'static str, last: &'a Connection) -> Break<'a> {
        Break { likely, old: Some(last), ..Break::default() }
    }

    /// The last tunnel was reset, and nothing followed.
    fn reset_at_end(case: &Case<'_>, last: &'a Connection) -> Option<Break<'a>> {
        let reset = reset(case, last)?;
        let from_gateway = reset.closed.direction == Direction::ToClient;
        let likely = match (reset.is_forged(), from_gateway) {
            (true, _) => "reset-by-middlebox",
            (false, true) => "reset-by-gateway",
            (false, false) => return None,
        };
        Some(Break { reset: Some(reset), ..Break::at_end(likely, last) })
    }

    /// The last tunnel is still open, and one side hears nothing any more.
    fn silence_at_end(case: &Case<'_>, last: &'a Connection) -> Option<Break<'a>> {
        // Who hears nothing may close it in the end; whom the other's FIN reaches hears something.
        let is_closed = |v: &View, way| v.closed().is_some_and(|closed| closed.direction == way);
        let unheard = |sent: Direction| {
            let views = last.views.iter().filter(move |v| !is_closed(v, sent.reverse()));
            views.filter_map(move |v| Some((v, Silence::of(case.session, last, v, sent)?)))
        };
        let is_outside = |point| case.vantage(point) == Some(Vantage::Outside);
        let to_gateway: Vec<(&View, Silence)> = unheard(Direction::ToServer).collect();
        let (likely, silence) = match to_gateway.first() {
            Some((_, silence)) if silence.is_alone => ("tls-lost", *silence),
            Some((_, silence)) if refuses(case) => ("gateway-restarted", *silence),
            Some((_, silence)) if to_gateway.iter().any(|(view, _)| is_outside(view.point)) => {
                ("gateway-silent", *silence)
            }
            Some((_, silence)) => ("path-lost", *silence),
            None => ("client-silent", unheard(Direction::ToClient).next().filter(|(_, silence)| !silence.is_alone)?.1),
        };
        Some(Break { silence: Some(silence), ..Break::at_end(likely, last) })
    }

    /// The gateway closed the last tunnel, and took no new one from the client that came back for it.
    fn turned_away_at_end(case: &Case<'_>, last: &'a Connection) -> Option<Break<'a>> {
        last.best()
            .closed()
            .filter(|c| last.reset().is_none() && (c.by == Direction::ToClient || dismissal(last).is_some()))?;
        let any = |how| turned_away(case).any(|away| away.how == how);
        let is_outside = case.vantage(last.best().point) == Some(Vantage::Outside);
        let is_left_waiting = turned_away(case).any(|away| away.how.is_silence());
        let likely = match (any(Refusal::Reset) || any(Refusal::WithoutTunnel), is_left_waiting) {
            (true, _) => "gateway-closed",
            (false, true) if is_outside => "gateway-silent",
            (false, true) => "path-lost",
            (false, false) => return None,
        };
        Some(Break::at_end(likely, last))
    }

    /// The gateway's first word after a long silence closed the last tunnel: it had lost it, or given the client up.
    fn closed_after_silence(case: &Case<'a>, last: &'a Connection) -> Option<Break<'a>> {
        let from_gateway = |outage: &Outage| outage.closed.is_some_and(|c| c.direction == Direction::ToClient);
        let found =
            Break::outage(case, last, Direction::ToServer).filter(|b| b.outage.as_ref().is_some_and(from_gateway))?;
        // Where the gateway waits in vain as well, it is the client that was lost.
        if Break::silence_at_end(case, last).is_some() {
            return None;
        }
        let likely = if refuses(case) { "gateway-restarted" } else { found.likely };
        Some(Break { likely, ..found })
    }

    /// Times without an answer that a tunnel survived.
    fn outages(case: &Case<'a>) -> impl Iterator<Item = Break<'a>> {
        let ways = [Direction::ToServer, Direction::ToClient];
        let found = case.session.tunnels().flat_map(move |tunnel| ways.map(|sent| Break::outage(case, tunnel, sent)));
        found.flatten().filter(|found| found.outage.is_some_and(|outage| outage.closed.is_none()))
    }

    /// The time without an answer to that side, as the first view shows it that does.
    fn outage(case: &Case<'a>, tunnel: &'a Connection, sent: Direction) -> Option<Break<'a>> {
        let found = tunnel.views.iter().filter_map(|view| Some((view, Outage::of(case.session, tunnel, view, sent)?)));
        let all: Vec<(&View, Outage)> = found.collect();
        let (_, outage) = *all.first()?;
        let is_outside = all.iter().any(|(view, _)| case.vantage(view.point) == Some(Vantage::Outside));
        let likely = match sent {
            Direction::ToServer if is_outside => "gateway-silent",
            Direction::ToServer => "path-lost",
            Direction::ToClient => "client-silent",
        };
        Some(Break { outage: Some(outage), ..Break::at_end(likely, tunnel) })
    }

    /// Times in which DTLS alone was asked and did not answer: where DPD was among the questions, or another capture shows what became
    /// of them.
    fn outages_of_dtls(case: &Case<'a>) -> impl Iterator<Item = Break<'a>> {
        /// So many DPDs are no chance.
        const DPDS: u32 = 2;
        let session = case.session;
        session.tunnels().filter_map(move |tunnel| {
            let near = tunnel.best();
            let outage = Outage::over_dtls(session, tunnel, near).filter(|outage| outage.closed.is_none())?;
            let arrives = arrives(case, tunnel, near.point, &outage);
            let is_asked = outage.control >= DPDS;
            let is_outside = case.vantage(near.point) == Some(Vantage::Outside);
            let likely = match arrives {
                Some(false) => "path-lost",
                Some(true) if is_asked => "gateway-silent",
                None if is_asked && is_outside => "gateway-silent",
                None if is_asked => "path-lost",
                _ => return None,
            };
            Some(Break { outage: Some(outage), ..Break::at_end(likely, tunnel) })
        })
    }

    /// The tunnel that followed.
    fn successor(&self, case: &Case<'a>) -> Option<&'a Connection> {
        self.seam.and_then(|seam| case.session.connections.get(seam.new))
    }

    /// Is it told by what did not come?
    fn is_silence(&self) -> bool {
        self.silence.is_some() || matches!(self.likely, "path-lost" | "gateway-silent" | "client-silent")
    }

    /// Would the other end show more of it?
    fn is_lost_on_the_way(&self) -> bool {
        self.is_silence() || matches!(self.likely, "dpd-unanswered" | "tls-lost" | "reset-by-middlebox")
    }

    fn severity(&self) -> Severity {
        let noticed = self.seam.is_some_and(|s| s.gap >= NOTICED);
        if self.outage.is_some_and(|outage| outage.closed.is_none() && outage.seconds() < LONG) {
            return Severity::Low;
        }
        match self.likely {
            "optimising" | "gateway-hop" | "sleep" | "roaming" | "link-mtu-changed" => Severity::Info,
            "reset-by-middlebox" | "reset-by-gateway" | "dpd-unanswered" | "rekey-failed" | "path-lost"
            | "gateway-silent" | "gateway-restarted" | "refused" => Severity::Medium,
            "tls-lost" if self.seam.and_then(|seam| seam.syn_wait).is_some_and(|seconds| seconds >= LONG) => {
                Severity::Medium
            }
            "client-silent" | "tls-lost" | "dismissed" => Severity::Low,
            "gateway-closed" if self.seam.is_none() => Severity::Medium,
            _ if noticed || self.reset.is_some() => Severity::Low,
            _ => Severity::Info,
        }
    }

    fn grade(&self) -> Grade {
        match (self.reset, self.likely) {
            (Some(Reset { unsent: true, .. }), _) => BOTH_ENDS,
            (Some(reset), _) if reset.is_forged() => FORGED,
            _ if self.outage.is_some_and(|outage| outage.resent == 0) => TIMING,
            _ if self.silence.is_some() || self.outage.is_some() => SILENCE,
            (_, "dpd-unanswered" | "path-lost" | "sleep" | "rekey" | "rekey-failed") => TIMING,
            _ => SEEN,
        }
    }

    fn headline(&self) -> String {
        if self.likely == "gateway-restarted" {
            return "the gateway falls silent, and refuses the client that comes back".to_owned();
        }
        if let Some(outage) = &self.outage {
            let (_, silent) = sides(outage.sent);
            let then = if outage.closed.is_some() { "it closed the tunnel" } else { "the tunnel went on" };
            return format!("for {} nothing came {silent}, then {then}", elapsed(outage.seconds()));
        }
        let what = match self.likely {
            "client-silent" if self.seam.is_some() => "nothing comes from the client for a while, then it reconnects",
            "client-silent" => "nothing comes from the client any more",
            "tls-lost" => "the TLS connection of the tunnel is dead, while DTLS goes on",
            "path-lost" | "gateway-silent" if self.seam.is_none() => "nothing comes back from the gateway any more",
            "reset-by-middlebox" => "a device on the way resets the tunnel",
            "reset-by-gateway" => "the gateway resets the tunnel",
            "dpd-unanswered" => "the gateway stops answering in the tunnel, and the client reconnects",
            "path-lost" => "the path to the gateway is lost for a while, and the client reconnects",
            "gateway-silent" => "the gateway says nothing for a while, and the client reconnects",
            "refused" => "the gateway grants no tunnel",
            "dismissed" => "the gateway ends the session",
            "rekey-failed" => "a rekey fails and takes the tunnel with it",
            "gateway-closed" if self.seam.is_none() => "the gateway closes the tunnel and takes no new one",
            _ => "the tunnel is replaced",
        };
        what.to_owned()
    }

    fn finding(&self, case: &Case<'_>, seams: &[&Reconnect]) -> Finding {
        let mut evidence = Vec::new();
        if let Some(reset) = &self.reset {
            evidence.push(Evidence::Frames(vec![reset.closed.frame], "the reset".to_owned()));
        } else if let Some(outage) = &self.outage {
            evidence.push(Evidence::Frames(vec![outage.frame], outage_frame(outage).to_owned()));
        } else if let Some(closed) = self.old.and_then(|c| c.best().closed()) {
            evidence.push(Evidence::Frames(vec![closed.frame], "the old tunnel is closed".to_owned()));
        }
        if let Some(silence) = &self.silence {
            evidence.push(Evidence::Frames(vec![silence.frame], "last packet of the tunnel connection".to_owned()));
        }
        if let Some(seam) = self.seam {
            evidence.push(Evidence::Frames(vec![seam.frame], "the new tunnel connection opens".to_owned()));
        }
        if let Some(hop) = &self.hop {
            evidence.push(Evidence::Frames(vec![hop.frame], format!("last packet of the tunnel to {}", hop.gateway)));
        }
        if self.seam.is_none() && self.hop.is_none() && self.outage.is_none() {
            let frames: Vec<FrameRef> = turned_away(case).map(|away| away.frame).take(MAX_FRAMES).collect();
            let shows = || "new connections that bring no tunnel".to_owned();
            evidence.extend((!frames.is_empty()).then(|| Evidence::Frames(frames, shows())));
        }
        let new = self.successor(case);
        // More often than any rekey (`anyconnect ssl rekey time`: 4 minutes at least), and noticed: there is a reason.
        let is_often = period(seams).is_some_and(|seconds| (30.0..240.0).contains(&seconds));
        let costs = self.seam.and_then(|seam| seam.without_data).is_some_and(|seconds| seconds >= NOTICED);
        let recurs = is_often && costs && matches!(self.likely, "client-closed" | "gateway-closed");
        Finding {
            severity: self.severity().max(if recurs { Severity::Low } else { Severity::Info }),
            grade: self.grade(),
            headline: self.headline(),
            summary: self.summary(case, seams),
            likely: Some(self.likely),
            ruled_out: self.ruled_out(),
            follows: self.is_of_a_stuck_segment().then_some("path-mtu-blackhole"),
            evidence,
            filters: [self.old, new].into_iter().flatten().map(stream_filter).collect(),
            remedy: self.remedy(),
            wanted: case.other_end("what of the tunnel passes there meanwhile").filter(|_| self.is_lost_on_the_way()),
            ..Finding::default()
        }
    }

    fn summary(&self, case: &Case<'_>, seams: &[&Reconnect]) -> String {
        if let Some(hop) = &self.hop {
            let gap = case.session.start.seconds_since(hop.left);
            return format!(
                "The client came from gateway {}, whose tunnel it left {} before.",
                hop.gateway,
                elapsed(gap)
            );
        }
        if let Some(outage) = &self.outage {
            let text = outage_words(outage, case.session);
            return match outage.closed {
                Some(_) => format!("{text}{}.", turned_away_words(case)),
                None => text + ".",
            };
        }
        let text = match (&self.reset, self.seam) {
            (Some(reset), _) => reset_words(reset),
            (None, Some(Reconnect { lived: Some(seconds), is_closed: true, .. })) => {
                format!("The tunnel ended after {seconds:.1} s")
            }
            (None, Some(Reconnect { lived: Some(seconds), .. })) => {
                format!("The tunnel was last heard {seconds:.1} s after it came up")
            }
            (None, Some(_)) => "The tunnel, which began before the capture, ended".to_owned(),
            (None, None) => match &self.silence {
                Some(silence) => silence_words(silence, case.session),
                None => self.old.map_or_else(String::new, |old| ended_words(case.session, old)),
            },
        };
        let Some(seam) = self.seam else {
            let vantage = self.old.and_then(|old| case.vantage(old.best().point));
            // A client that moved comes back from another address, which only its own capture shows to be the same client.
            let from = if vantage == Some(Vantage::Client) { "" } else { " from the client's address" };
            let none = if self.likely == "refused" { "No tunnel" } else { "No new tunnel" };
            return format!("{text}. {none}{from} followed{}.", turned_away_words(case));
        };
        text + &self.seam_words(case, seam, seams)
    }

    /// How the new tunnel came, and what tells why: what follows upon the old one's end.
    fn seam_words(&self, case: &Case<'_>, seam: &Reconnect, seams: &[&Reconnect]) -> String {
        let mut text = String::new();
        match seam.gap {
            gap if gap >= 0.0 => {
                text.push_str(&format!("; a new one opened {} later {}", elapsed(gap), case.without_login()))
            }
            _ => text.push_str(&format!("; a new one had opened beside it {}", case.without_login())),
        }
        if let Some(seconds) = seam.without_data {
            text.push_str(&format!(
                ". From the gateway's last data before to the first data after it {seconds:.1} s passed"
            ));
        }
        text.push('.');
        let survived = self
            .old
            .filter(|_| self.likely == "path-lost")
            .and_then(|old| old.views.iter().find_map(|view| Outage::of(case.session, old, view, Direction::ToServer)));
        if self.waiting == Some(Waiting::OnWayBack) && seam.syn_wait.is_none() {
            let waited = self.successor(case).and_then(|new| new.best().syn_ack_wait());
            text.extend(waited.map(|seconds| format!(" The new one's SYN-ACK waited {seconds:.1} s for the ACK.")));
        } else if let Some(outage) = survived {
            text.push_str(&format!(" {}.", outage_words(&outage, case.session)));
        } else if let (Some(Unheard { seconds, records, .. }), "dpd-unanswered" | "path-lost") =
            (seam.unheard, self.likely)
        {
            let plural = if records == 1 { "" } else { "s" };
            text.push_str(&format!(
                " Before that {records} record{plural} of the client went unanswered over {seconds:.1} s."
            ));
        }
        let quiet = seam.quiet.filter(|_| self.likely == "client-silent");
        text.extend(
            quiet.map(|seconds| format!(" For {seconds:.1} s before it left no data had come from the client.")),
        );
        for (what, seconds) in [("SYN", seam.syn_wait), ("ClientHello", seam.hello_wait)] {
            let words = |seconds| format!(" The new one's {what} waited {seconds:.1} s for its answer.");
            text.extend(seconds.map(words));
        }
        text.push_str(match self.waiting {
            Some(Waiting::AtGateway) => " The first had come to the gateway's outside interface at once.",
            Some(Waiting::OnWayBack) => {
                " The gateway had answered the new one's SYN at once at its outside interface: lost on the way to the client."
            }
            Some(Waiting::OnWayThere) => {
                " Those sent until then never came to the gateway's outside interface: lost between the two."
            }
            None => "",
        });
        if let Some(bye) = self.old.and_then(Connection::bye) {
            text.push_str(&format!(" Its last word: {}.", bye.words()));
        }
        if let Some((before, after)) = seam.moved {
            text.push_str(&format!(" The client's address changed from {before} to {after}."));
        }
        if let Some(mss) = seam.inner_mss.filter(|mss| mss.before.0 != mss.after.0) {
            let (before, after) = (mss.before.0, mss.after.0);
            text.push_str(&format!(" Inner SYN MSS {before} before, {after} after."));
        } else if let Some((before, after)) = seam.ceiling.as_ref().filter(|(a, b)| a.end() != b.end()) {
            text.push_str(&format!(" Largest inner packet {} B before, {} B after.", before.end(), after.end()));
        }
        if let Some((before, after)) = seam.outer_mss.filter(|(a, b)| a != b) {
            text.push_str(&format!(" The client's outer MSS {before} before, {after} after."));
        }
        if seams.len() > 1 {
            let every = period(seams).map_or(String::new(), |seconds| format!(", {seconds:.0} s apart"));
            text.push_str(&format!(" There were {} such seams{every}; this is the worst.", seams.len()));
        }
        text
    }

    /// Did the tunnel go unanswered while one of its segments was sent again and again at one size?
    fn is_of_a_stuck_segment(&self) -> bool {
        /// A client gives up no later than this after the last resend, seconds.
        const GIVES_UP: f64 = 60.0;
        let is_unanswered =
            self.is_silence() || matches!(self.likely, "dpd-unanswered" | "client-closed" | "gateway-closed");
        let stuck = |old: &Connection| {
            let sizes = old.views.iter().flat_map(|view| view.ended.sizes.iter());
            let last = sizes.filter_map(|sizes| sizes.smallest_stuck.as_ref()).map(|stuck| stuck.last).max();
            last.is_some_and(|last| old.left().seconds_since(last) < GIVES_UP)
        };
        is_unanswered && self.old.is_some_and(stuck)
    }

    fn ruled_out(&self) -> Vec<RuledOut> {
        let mut all = Vec::new();
        let Some(seam) = self.seam else { return all };
        let why = match seam.lived {
            Some(seconds) if !seam.after_a_minute() => {
                Some(format!("the tunnel ended after {seconds:.1} s, not after a minute"))
            }
            _ => seam.dtls_worked.then(|| "DTLS had come up".to_owned()),
        };
        all.extend(why.map(|why| RuledOut { what: "a reconnect for the MTU", why }));
        all
    }

    fn remedy(&self) -> Vec<String> {
        let step = match self.likely {
            "reset-by-middlebox" => {
                "find the device between client and gateway that resets TCP (the reset's TTL tells how far it is) and exempt the gateway"
            }
            "reset-by-gateway" => {
                "see in the gateway's log why it closed the session: syslog 722037 and 716002 name the reason"
            }
            "dpd-unanswered" => {
                "see on the gateway what it did at that moment (load, failover); syslog 722037 `DPD failure` is its side of it"
            }
            "client-silent" => {
                "capture at the client: only there shows whether its network was lost or its machine slept or was off"
            }
            "path-lost" if self.waiting.is_some() => {
                "find what lost the packets between the client's NIC and the gateway's outside interface at that moment: its access network, a carrier, a firewall in front of the gateway"
            }
            "path-lost" => "look at the client's network at that moment: nothing at all came back from the gateway",
            "gateway-silent" => {
                "see what the gateway did at that moment (crash, failover, load): packets reach it, and it says nothing"
            }
            "dismissed" => {
                "see in the gateway's log who or what ended the session: an administrator, a time limit, a restart (113019 names the reason)"
            }
            "refused" => {
                "see in the gateway's log why: a session that is over, too many logins or no licence (113029, 113038, 716023)"
            }
            "gateway-restarted" => {
                "see whether the VPN service or the gateway restarted or failed over at that moment (crash, reload): it fell silent, and then took no new connection"
            }
            "gateway-closed" if self.seam.is_none() => {
                "see whether the VPN service or the gateway restarted, failed over or was taken down at that moment (crash, reload, licence, certificate): it closed the tunnel and then took no new one"
            }
            "rekey-failed" => {
                "see on the gateway why the rekey is not answered; `anyconnect ssl rekey method new-tunnel` avoids the renegotiation"
            }
            _ => return Vec::new(),
        };
        vec![step.to_owned()]
    }
}

fn reset_words(reset: &Reset) -> String {
    let (from, to) = match reset.closed.direction {
        Direction::ToClient => ("gateway", "client"),
        Direction::ToServer => ("client", "gateway"),
    };
    let mut text = format!("The tunnel was reset: a RST in the {from}'s name in frame {}", reset.closed.frame.number);
    if let Some(usual) = reset.usual.filter(|usual| *usual != reset.closed.ttl) {
        text.push_str(&format!(", with TTL {} where the {from}'s packets have {usual}", reset.closed.ttl));
    }
    if reset.unsent {
        text.push_str(&format!(", which the {to} got and the {from} never sent"));
    }
    text
}

/// Who sends that way, and from where nothing comes.
fn sides(sent: Direction) -> (&'static str, &'static str) {
    match sent {
        Direction::ToServer => ("client", "back from the gateway"),
        Direction::ToClient => ("gateway", "from the client"),
    }
}

fn outage_words(outage: &Outage, session: &Session) -> String {
    let (speaker, silent) = sides(outage.sent);
    let into = outage.since.seconds_since(session.start);
    let resent =
        (outage.resent > 0).then(|| format!("the {speaker} sent TLS segments again {}", times(outage.resent.into())));
    let records = count(u64::from(outage.records), "DTLS record");
    let unanswered = (outage.records > 0).then(|| format!("{records} went unanswered"));
    let what: Vec<String> = [resent, unanswered].into_iter().flatten().collect();
    let then = match outage.closed {
        Some(closed) => {
            let (who, _) = sides(closed.direction);
            let how = if closed.reset { "RST" } else { "FIN" };
            format!("the {who} closed the tunnel with a {how} in frame {}", closed.frame.number)
        }
        None => "answers came again".to_owned(),
    };
    format!(
        "From {into:.1} s to {:.1} s into the session nothing came {silent}: {}. Then {then}",
        into + outage.seconds(),
        what.join(", and ")
    )
}

fn outage_frame(outage: &Outage) -> &'static str {
    if outage.resent > 0 { "first TLS segment sent again in vain" } else { "first DTLS record without an answer" }
}

/// Where the new connection's first SYN, or its answer, was while the client waited long for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// It did not come to the gateway's outside interface.
    OnWayThere,
    /// It came there and was not answered.
    AtGateway,
    /// It was answered there, and the answer did not come to the client.
    OnWayBack,
}

/// The same, where both ends were captured, or the gateway's alone shows that its answer did not come to the client.
fn waiting(case: &Case<'_>, seam: &Reconnect) -> Option<Waiting> {
    /// Clocks and ways differ by less, seconds.
    const AT_ONCE: f64 = 1.0;
    let new = case.session.connections.get(seam.new)?;
    let view = |vantage| new.views.iter().find(|view| case.vantage(view.point) == Some(vantage));
    let outside = view(Vantage::Outside)?;
    let is_answered = outside.syn_wait().is_some_and(|seconds| seconds < AT_ONCE);
    let Some(client) = view(Vantage::Client) else {
        return (is_answered && is_unheard(outside)).then_some(Waiting::OnWayBack);
    };
    seam.syn_wait?;
    let (sent, came) = (client.opened.syn()?.at, outside.opened.syn()?.at);
    let waiting = match came.seconds_since(sent) < AT_ONCE {
        false => Waiting::OnWayThere,
        true if is_answered => Waiting::OnWayBack,
        true => Waiting::AtGateway,
    };
    case.point(outside.point)?.was_capturing(sent, came).then_some(waiting)
}

/// Do the client's DTLS records reach the gateway's outside interface in that time, where it was captured too?
fn arrives(case: &Case<'_>, tunnel: &Connection, near: PointId, outage: &Outage) -> Option<bool> {
    let outside = case.at(Vantage::Outside);
    let is_there = |view: &&View| {
        let point = case.point(view.point).filter(|p| outside.contains(&p.id) && view.point != near);
        point.is_some_and(|p| p.was_capturing(outage.since, outage.until))
    };
    let mut there = case.session.dtls_since(tunnel).flat_map(|d| &d.views).filter(is_there).peekable();
    there.peek()?;
    Some(there.any(|view| outage.shows_at(view)))
}

fn silence_words(silence: &Silence, session: &Session) -> String {
    let (speaker, silent) = sides(silence.sent);
    let alone = if silence.is_alone { " on the TLS connection, though DTLS went on" } else { "" };
    let mut text = format!(
        "From {:.1} s into the session on nothing came {silent}{alone}: over {} the {speaker} sent TLS segments again {} times",
        silence.since.seconds_since(session.start),
        elapsed(silence.seconds),
        silence.resent,
    );
    if silence.records > 0 {
        text.push_str(&format!(", and {} went unanswered", count(u64::from(silence.records), "DTLS record")));
    }
    text
}

/// The gateway's goodbye, read with keys, where it said that first.
fn dismissal(tunnel: &Connection) -> Option<&Parting> {
    tunnel.bye().filter(|bye| bye.direction == Direction::ToClient)
}

/// The answer to CONNECT that granted none, and its frame.
fn refusal(tunnel: &Connection) -> Option<(&TunnelAnswer, FrameRef)> {
    let (_, frame, answer) = tunnel.inside()?.answer.as_ref().filter(|_| tunnel.granted().is_none())?;
    Some((answer, *frame))
}

/// How the tunnel ended: the gateway's refusal, or its FIN and what the tunnel did until then.
fn ended_words(session: &Session, tunnel: &Connection) -> String {
    if let Some((answer, frame)) = refusal(tunnel) {
        let reason = answer.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
        return format!("The gateway answered CONNECT with {}{reason} in frame {}", answer.status, frame.number);
    }
    if let Some(bye) = dismissal(tunnel) {
        return format!("Its last word in frame {}: {}", bye.frame.number, bye.words());
    }
    let Some(closed) = tunnel.best().closed() else { return String::new() };
    let lived = elapsed(closed.at.seconds_since(tunnel.start()));
    let since = if tunnel.begins_here() { "after" } else { "at least" };
    let mut text = format!("The gateway closed the tunnel {since} {lived} with a FIN in frame {}", closed.frame.number);
    if beside::is_abrupt(session, tunnel, closed) {
        text.push_str(", without a goodbye and with data up to then");
    }
    text
}

/// How the client fared that came back; where answers do not show, only what was answered counts.
fn turned_away<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a TurnedAway> {
    let is_heard = case.part_of_tcp(true, false).is_none();
    case.session.beside().turned_away.iter().filter(move |away| is_heard || !away.how.is_silence())
}

/// Does the gateway refuse new connections, as it does when its service is not there?
fn refuses(case: &Case<'_>) -> bool {
    turned_away(case).any(|away| away.how == Refusal::Reset)
}

fn turned_away_words(case: &Case<'_>) -> String {
    let all = [Refusal::Reset, Refusal::Unanswered, Refusal::Ignored, Refusal::WithoutTunnel];
    let counted = all.map(|how| (how, turned_away(case).filter(|away| away.how == how).count()));
    let told = counted.into_iter().filter(|(_, n)| *n > 0);
    let parts: Vec<String> = told.map(|(how, n)| format!("{} {}", times(n), how.words())).collect();
    if parts.is_empty() {
        return String::new();
    }
    format!(", though the client came back: it was {}", parts.join(", "))
}

fn times(n: usize) -> String {
    match n {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        n => format!("{n} times"),
    }
}

/// The RST that ended a connection, and what gives it away.
fn reset(case: &Case<'_>, connection: &Connection) -> Option<Reset> {
    let (view, closed) = connection.reset()?;
    let usual = *closed.direction.of(&view.opened.ttl());
    // The sender's own capture, when there is one: does it have the same reset?
    let sender = match closed.direction {
        Direction::ToClient => Vantage::Outside,
        Direction::ToServer => Vantage::Client,
    };
    let is_sender = |p| case.vantage(p) == Some(sender);
    let own = || connection.views.iter().filter(|v| is_sender(v.point) && v.point != view.point);
    let sent = |v: &View| v.closed().is_some_and(|c| c.reset && c.direction == closed.direction);
    // a capture that had ended by then, or whose filter keeps it out, does not have it either
    let sight = Sight::Reset(view.opened.endpoints().server.port());
    let would_show = |v: &View| case.whole_window(v.point, sight, closed.at, closed.at).is_ok();
    let unsent = own().any(would_show) && !own().any(sent);
    Some(Reset { closed, usual, unsent })
}

/// A renegotiation that only one side began, in the connection's last minute.
fn rekey_failed(connection: &Connection) -> bool {
    const LATE: f64 = 60.0;
    connection.views.iter().filter_map(|v| v.tls.as_ref()).any(|tls| match tls.seldom().renegotiation {
        [Some((at, _)), None] | [None, Some((at, _))] => connection.end().seconds_since(at) <= LATE,
        _ => false,
    })
}

fn stream_filter(connection: &Connection) -> Filter {
    let opened = &connection.best().opened;
    let FrameRef { capture, .. } = opened.first_frame;
    Filter {
        filter: format!("tcp.stream == {}", opened.stream),
        capture,
        shows: format!("tunnel connection from port {}", opened.endpoints().client.port()),
        frames: None,
    }
}
