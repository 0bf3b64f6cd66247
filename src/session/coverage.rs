//! What a capture point could have shown: the ground under everything that is said to be absent.

use super::facts::FlowFacts;
use super::filter::{Asked, Passes, names_others, passes};
use super::{Point, TcpSeen};
use crate::event::{Direction, PointId, Protocol, Vantage};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Something whose absence is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// ICMP errors about IPv4, or about IPv6.
    Icmp {
        /// IPv6.
        v6: bool,
        /// Whom they would be for, where that is known: the sender of the packets they quote.
        to: Option<IpAddr>,
    },
    /// UDP in both directions, with that port at the gateway.
    Udp(u16),
    /// A TCP reset in either direction, with that port at the gateway.
    Reset(u16),
    /// The later fragments of UDP datagrams over IPv4, or over IPv6: they carry no ports (RFC 791 §3.2).
    Fragments {
        /// IPv6.
        v6: bool,
    },
}

/// Why that point may have missed it, or not shown what it is; `None` when it would have shown. It would have come `times` times,
/// seconds apart: a capture that drops few frames does not drop all of them. ICMP comes at once with the load that makes a capture drop.
pub fn hides(point: &Point, sight: Sight, times: u32) -> Option<String> {
    keeps_out(point, sight, times).or_else(|| cuts(point, sight))
}

/// Are frames cut there so short that hellos may not be known for what they are?
pub fn cuts_hellos(point: &Point) -> bool {
    /// A frame of Ethernet, IPv6 and UDP with the DTLS headers and a hello's random fits into so many bytes.
    const READABLE: u32 = 160;
    point.cut > 0 && point.cut_to < READABLE
}

/// Why it may not be known there for what it is.
fn cuts(point: &Point, sight: Sight) -> Option<String> {
    /// Ethernet, IPv6, ICMPv6, and of the packet that it quotes IPv6 and the ports.
    const ERROR_V6: u32 = 14 + 40 + 8 + 40 + 4;
    let is_cut = match sight {
        Sight::Udp(_) => cuts_hellos(point),
        Sight::Icmp { v6: true, .. } => point.cut > 0 && point.cut_to < ERROR_V6,
        _ => false,
    };
    is_cut.then(|| format!("frames on {} are cut to {} bytes", point.name, point.cut_to))
}

/// Why that point may have missed it, whether it would have been known for what it is or not.
pub fn keeps_out(point: &Point, sight: Sight, times: u32) -> Option<String> {
    let name = &point.name;
    if point.one_way || point.tcp != TcpSeen::Whole && !matches!(sight, Sight::Udp(_) | Sight::Fragments { .. }) {
        return Some(partly(point));
    }
    if let Some(dropped) = point.interface.dropped.filter(|n| *n > 0) {
        let share = dropped as f64 / (point.frames.saturating_add(dropped)) as f64;
        if matches!(sight, Sight::Icmp { .. }) || share.powf(f64::from(times)) > NEVER {
            let frames = if dropped == 1 { "frame" } else { "frames" };
            return Some(format!("the capture on {name} dropped {dropped} {frames}"));
        }
    }
    if let Some(why) = hides_answers(point, times) {
        return Some(why);
    }
    let (what, seen) = match sight {
        Sight::Icmp { .. } => ("ICMP", point.saw_icmp),
        Sight::Udp(_) => ("UDP", point.saw_udp),
        // segments that were seen say nothing of one with another flag
        Sight::Reset(_) => ("TCP resets", false),
        // of first fragments, which carry ports, nothing follows for the later ones
        Sight::Fragments { .. } => ("IP fragments", false),
    };
    if let Some(filter) = &point.interface.filter {
        let verb = match passing(filter, sight) {
            (Passes::Yes, _) => None,
            // seen, it was not filtered; but UDP of one port says nothing about that of another, nor ICMP about that of other hosts
            (least, _) if seen && is_alike(filter, sight, least) => None,
            (Passes::Perhaps, _) => Some("may keep"),
            (Passes::No, Passes::No) => Some("keeps"),
            (Passes::No, _) => {
                return Some(format!("the capture filter on {name} (`{filter}`) lets {what} pass one way only"));
            }
        };
        if let Some(verb) = verb {
            return Some(format!("the capture filter on {name} (`{filter}`) {verb} {what} out"));
        }
    }
    if let Sight::Icmp { to: Some(to), .. } = sight
        && let Some(why) = may_be_picked(point, to)
    {
        return Some(why);
    }
    if matches!(sight, Sight::Fragments { .. }) && !point.tells_filter && !point.saw_portless {
        return Some(format!(
            "{name} shows nothing without ports but ICMP, and its file does not tell the capture filter: one by port keeps later IP \
             fragments out"
        ));
    }
    if matches!(sight, Sight::Udp(_)) {
        if point.udp_one_way {
            return Some(format!(
                "{name} shows UDP toward the gateway alone, of a DTLS that came up: its answers are not in it"
            ));
        }
        let unknown = !point.tells_filter && !point.saw_udp;
        if unknown {
            return Some(format!("{name} shows no UDP at all, and its file does not tell the capture filter"));
        }
    }
    None
}

/// At a gateway's inside others than one client and TCP pass as well. Where none of them shows, a filter that the file does not tell may
/// have picked what does, and ICMP to anybody else, which comes from the gateway, goes unseen.
fn may_be_picked(point: &Point, receiver: IpAddr) -> Option<String> {
    if point.vantage != Some(Vantage::Inside) || point.tells_filter {
        return None;
    }
    let name = &point.name;
    if !point.saw_beyond_tcp {
        return Some(format!("{name} shows nothing but TCP, and its file does not tell the capture filter"));
    }
    let host = point.common_ends.addresses().find(|end| *end != receiver)?;
    Some(format!(
        "every packet on {name} is from or to {host}, and its file does not tell the capture filter: `host {host}` would keep out ICMP \
         to {receiver}"
    ))
}

/// So unlikely is a loss of all of them that nobody need think of it.
const NEVER: f64 = 0.001;

/// Why a capture that does not own up to the frames it lost may have missed something that came that many times.
pub fn hides_answers(point: &Point, times: u32) -> Option<String> {
    let Point { name, unseen, .. } = point;
    let is_likely = point.unseen_share().powf(f64::from(times.max(1))) > NEVER;
    let segments = if *unseen == 1 { "segment that was" } else { "segments that were" };
    is_likely.then(|| {
        format!("the capture on {name} lost frames and does not say so: it lacks {unseen} TCP {segments} acknowledged")
    })
}

/// Why a point that saw only a part of TCP cannot tell.
pub fn partly(point: &Point) -> String {
    let what = match point.tcp {
        _ if point.one_way => "only one direction of the traffic",
        TcpSeen::OnlyData => {
            "no TCP segment without data: SYN, ACK, FIN and RST were filtered out, as by the display filter `tls`"
        }
        _ => "only one direction of TCP",
    };
    format!("{} shows {what}", point.name)
}

/// Would it have passed because others of its kind did?
fn is_alike(filter: &str, sight: Sight, passes: Passes) -> bool {
    match sight {
        Sight::Icmp { v6, to } => !names_others(filter, error(v6, to)),
        Sight::Udp(_) | Sight::Reset(_) | Sight::Fragments { .. } => passes == Passes::Perhaps,
    }
}

fn error(v6: bool, receiver: Option<IpAddr>) -> Asked {
    const ICMP: u8 = 1;
    const ICMPV6: u8 = 58;
    Asked { v6, protocol: if v6 { ICMPV6 } else { ICMP }, ports: None, receiver }
}

/// Does a capture filter let it pass: in the direction in which it is worse off, and in the other?
fn passing(filter: &str, sight: Sight) -> (Passes, Passes) {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    let both_ways = |protocol, port| {
        let ways = |v6| {
            let way = |ports| passes(filter, Asked { v6, protocol, ports: Some(ports), receiver: None });
            let [there, back] = [way([None, Some(port)]), way([Some(port), None])];
            (there.min(back), there.max(back))
        };
        ways(false).max(ways(true))
    };
    match sight {
        Sight::Icmp { v6, to } => {
            let passes = passes(filter, error(v6, to));
            (passes, passes)
        }
        Sight::Udp(port) => both_ways(UDP, port),
        Sight::Reset(port) => both_ways(TCP, port),
        Sight::Fragments { v6 } => {
            let passes = passes(filter, Asked { v6, protocol: UDP, ports: None, receiver: None });
            (passes, passes)
        }
    }
}

/// What the flows of a point tell of which packets pass there.
#[derive(Clone, Copy, Default)]
struct Passed {
    /// TCP went one way only, at length; and both ways.
    one: bool,
    both: bool,
    /// DTLS was answered.
    answered: bool,
    /// A client's data over DTLS, which only comes up with answers, and none of them.
    unheard: bool,
    /// A ClientHello shows, and its SYN does not.
    begins: bool,
    /// TCP that is no TLS, which a filter for TLS lets not pass.
    plain: bool,
    /// TCP segments.
    segments: u64,
    /// Acknowledged ones that did not show.
    unseen: u64,
}

/// What the flows of each point tell of it.
#[derive(Default)]
pub struct Seen(BTreeMap<PointId, Passed>);

impl Seen {
    /// Takes note of one flow.
    pub fn note(&mut self, flow: &FlowFacts) {
        /// Packets one way without any the other way.
        const AT_LENGTH: u32 = 6;
        let [up, down] = flow.ended.packets;
        let passed = self.0.entry(flow.point).or_default();
        passed.answered |= flow.dtls.is_some() && up.min(down) > 0;
        passed.unheard |=
            down == 0 && flow.dtls.as_ref().is_some_and(|dtls| Direction::ToServer.of(&dtls.first).is_some());
        if flow.opened.protocol != Protocol::Tcp {
            return;
        }
        passed.segments += u64::from(up) + u64::from(down);
        passed.unseen += u64::from(flow.ended.seldom().unseen);
        // Where most of it is sent again nothing comes back indeed: the path is dead.
        let is_dead = flow.ended.retransmissions.iter().sum::<u32>() > up.max(down) / 2;
        passed.one |= up.min(down) == 0 && up.max(down) >= AT_LENGTH && !is_dead;
        passed.both |= up.min(down) > 0;
        passed.plain |= flow.tls.is_none();
        passed.begins |= flow.opened.syn().is_none() && flow.tls.as_ref().is_some_and(|tls| tls.client_hello.is_some());
    }

    /// Settles which points saw only one direction: TCP that speaks at length and never answers does not exist, but for a connection
    /// that was dead when the capture began. DTLS that is answered says that the other direction passes there. And no TCP goes on for
    /// long without an ACK that carries no data.
    pub fn settle<'a>(&self, points: impl IntoIterator<Item = &'a mut Point>) {
        /// So many TCP segments have one among them that carries no data; fewer where a ClientHello shows and its SYN does not.
        const MANY: u64 = 40;
        const SOME: u64 = 8;
        for point in points {
            let passed = self.0.get(&point.id).copied().unwrap_or_default();
            let least = if passed.begins { SOME } else { MANY };
            let is_bare_due = passed.segments >= least && !passed.plain && point.decrypted_at.is_none();
            point.tcp = if passed.one && !passed.both {
                TcpSeen::OneWay
            } else if is_bare_due && !point.saw_bare_tcp {
                TcpSeen::OnlyData
            } else {
                TcpSeen::Whole
            };
            point.one_way = point.tcp == TcpSeen::OneWay && !passed.answered;
            point.udp_one_way = passed.unheard && !passed.answered;
            (point.segments, point.unseen) = (passed.segments, passed.unseen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CommonEnds, FrameRef, LinkType};
    use crate::session::facts::DtlsFacts;
    use crate::session::timing::tests::{at, client};

    /// A point at which such flows passed: what it is taken to have shown.
    fn settled(flows: impl IntoIterator<Item = FlowFacts>) -> Point {
        let (mut seen, mut point) = (Seen::default(), Point::unknown(PointId(0), 0, LinkType::ETHERNET));
        for mut flow in flows {
            flow.point = point.id;
            seen.note(&flow);
        }
        seen.settle([&mut point]);
        point
    }

    fn flow(packets: [u32; 2], again: u32) -> FlowFacts {
        let mut flow = *client([10, 9, 0, 7], 1, &[0.0], 9).flows.remove(0).facts;
        (flow.ended.packets, flow.ended.retransmissions) = (packets, [again, 0]);
        flow
    }

    #[test]
    fn what_is_sent_again_in_vain_is_no_capture_of_one_direction() {
        assert!(settled([flow([12, 0], 0)]).one_way);
        assert!(!settled([flow([12, 0], 9)]).one_way, "nothing comes back");
        assert!(settled([flow([12, 0], 9), flow([40, 0], 1)]).one_way, "another is not sent again");
    }

    #[test]
    fn data_over_dtls_without_an_answer_shows_that_answers_are_not_captured() {
        let dtls = |packets: [u32; 2], sends_data: bool| {
            let mut flow = flow(packets, 0);
            flow.opened.protocol = Protocol::Udp;
            let data = sends_data.then(|| (at(1.0), FrameRef::default()));
            flow.dtls = Some(Box::new(DtlsFacts { first: [data, None], ..DtlsFacts::default() }));
            flow
        };
        let hides = |flows: Vec<FlowFacts>| hides(&settled(flows), Sight::Udp(443), 9).is_some();
        assert!(hides(vec![dtls([12, 0], true)]));
        assert!(settled([dtls([12, 0], true)]).udp_one_way);
        assert!(!settled([dtls([12, 0], false)]).udp_one_way, "hellos alone may be blocked");
        assert!(!settled([dtls([12, 0], true), dtls([5, 5], true)]).udp_one_way, "some answers are there");
    }

    #[test]
    fn filters_and_what_they_let_pass() {
        let receiver = IpAddr::from([10, 0, 0, 1]);
        let (icmp, udp) = (Sight::Icmp { v6: false, to: Some(receiver) }, Sight::Udp(443));
        let rows = [
            ("", true, true),
            ("udp port 443", true, false),
            ("tcp port 443", false, false),
            ("port 443 or icmp", true, true),
            ("port 443", true, false),
            ("port 8443", false, false),
            ("tcp", false, false),
            ("host 10.0.0.1", true, true),
            ("host 10.0.0.1 and (tcp or icmp)", false, true),
            ("host 10.0.0.2", true, false),
            ("host 10.0.0.1 and host 10.0.0.2", true, false),
            ("not host 10.0.0.1", true, false),
            ("net 10.0.0.0/8", true, true),
            ("port 443 or vlan", true, false),
            ("host 203.0.113.2 or icmp or icmp6", true, true),
            ("not port 22", true, true),
            ("not icmp", true, false),
            ("not (udp port 53) and ip", true, true),
            ("tcp port 443 || udp port 443 || icmp", true, true),
            ("tcp dst port 443", false, false),
            ("dst port 443", true, false),
            ("udp portrange 400-500", true, false),
            ("port https", true, false),
            ("ip proto 17", true, false),
            ("not (arp or icmp)", true, false),
            ("ip[9] == 6", false, false),
        ];
        for (filter, shows_udp, shows_icmp) in rows {
            assert_eq!(passing(filter, udp).1 == Passes::Yes, shows_udp, "UDP through `{filter}`");
            assert_eq!(passing(filter, icmp).0 == Passes::Yes, shows_icmp, "ICMP through `{filter}`");
        }
    }

    #[test]
    fn where_only_tcp_or_only_one_host_shows_inside_a_filter_may_have_picked_it() {
        let [client, server, other] = [[10, 9, 0, 7], [10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let icmp = Sight::Icmp { v6: false, to: Some(server) };
        let point = |packets: &[(IpAddr, IpAddr)], saw_beyond_tcp| {
            let mut point = Point::unknown(PointId(0), 0, LinkType::ETHERNET);
            (point.vantage, point.saw_beyond_tcp) = (Some(Vantage::Inside), saw_beyond_tcp);
            packets.iter().for_each(|(src, dst)| point.common_ends.note(*src, *dst));
            point
        };
        let one_client = [(client, server), (other, client)];
        let words = hides(&point(&one_client, true), icmp, 1).unwrap();
        assert!(words.contains("`host 10.9.0.7` would keep out ICMP to 10.0.0.1"), "{words}");
        assert!(hides(&point(&one_client[..1], true), icmp, 1).is_some(), "one client, one server");
        let others = [(client, server), (other, server)];
        assert!(hides(&point(&others, false), icmp, 1).is_some(), "nothing but TCP");
        assert!(hides(&point(&others, true), icmp, 1).is_none(), "it is the server that was picked");
        let told = Point { tells_filter: true, ..point(&one_client, true) };
        assert!(hides(&told, icmp, 1).is_none(), "there was no filter");
        let at_client = Point { vantage: Some(Vantage::Client), ..point(&one_client, true) };
        assert!(hides(&at_client, icmp, 1).is_none(), "its own interface shows nobody else");
        let mut chatter = point(&one_client, true);
        chatter.common_ends.keep(CommonEnds::NONE);
        assert!(hides(&chatter, icmp, 1).is_none(), "others show too");
    }

    #[test]
    fn a_filter_by_port_that_the_file_does_not_tell_hides_later_fragments() {
        let sight = Sight::Fragments { v6: false };
        let point = Point::unknown(PointId(0), 0, LinkType::ETHERNET);
        assert!(hides(&point, sight, 9).is_some_and(|why| why.contains("does not tell the capture filter")));
        assert!(hides(&Point { saw_portless: true, ..point.clone() }, sight, 9).is_none(), "ARP passes no such filter");
        assert!(hides(&Point { tells_filter: true, ..point }, sight, 9).is_none(), "there was none");
    }

    #[test]
    fn what_a_filter_hides_is_put_into_words() {
        let filtered = |filter: &str, seen| {
            let mut point = Point::unknown(PointId(0), 0, LinkType::ETHERNET);
            (point.name, point.interface.filter) = ("eth0".to_owned(), Some(filter.to_owned()));
            (point.saw_icmp, point.saw_udp, point.tells_filter) = (seen, seen, true);
            point
        };
        let words = |filter, sight, seen| hides(&filtered(filter, seen), sight, 5).unwrap_or_default();
        let (icmp, udp) = (Sight::Icmp { v6: false, to: Some(IpAddr::from([10, 0, 0, 1])) }, Sight::Udp(443));
        let rows = [
            ("not (arp or icmp)", icmp, "keeps ICMP out"),
            ("len < 1000", icmp, "may keep ICMP out"),
            ("len < 1000", udp, "may keep UDP out"),
            ("tcp port 443 or udp dst port 443", udp, "lets UDP pass one way only"),
            ("tcp dst port 443", Sight::Reset(443), "lets TCP resets pass one way only"),
            ("tcp[13] & 4 = 0", Sight::Reset(443), "may keep TCP resets out"),
            ("port 443", Sight::Fragments { v6: false }, "keeps IP fragments out"),
            ("host 192.0.2.1 and udp port 443", Sight::Fragments { v6: false }, "keeps IP fragments out"),
            ("port 443 or (ip[6:2] & 0x1fff != 0)", Sight::Fragments { v6: false }, "may keep IP fragments out"),
        ];
        for (filter, sight, end) in rows {
            assert_eq!(words(filter, sight, false), format!("the capture filter on eth0 (`{filter}`) {end}"));
        }
        assert_eq!([words("len < 1000", icmp, true), words("len < 1000", udp, true)], ["", ""]);
        assert_ne!(words("tcp or port 53", udp, true), "");
        assert_eq!(words("tcp port 443", Sight::Reset(443), false), "");
        for filter in ["udp", "host 192.0.2.1", "src host 192.0.2.1 or dst host 192.0.2.1", "not port 22"] {
            assert_eq!(words(filter, Sight::Fragments { v6: false }, false), "", "fragments through `{filter}`");
        }
        assert_ne!(words("host 10.0.0.2", icmp, true), "", "ICMP of that host says nothing of ICMP to another");
        assert_eq!([words("host 10.0.0.1", icmp, false), words("port 443 or vlan", icmp, true)], ["", ""]);
    }
}
