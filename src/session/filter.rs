//! What a capture filter in the language of pcap-filter(7) lets pass, as far as its words tell.

use std::net::IpAddr;

/// Parentheses inside one another; people write three.
const MAX_DEPTH: u8 = 32;

/// What a filter ends with of which not all was kept.
const CUT: &str = "…";

/// Does it pass? In that order `and` keeps the least and `or` the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Passes {
    /// It is kept out.
    No,
    /// Nobody here understands the filter that far, or it depends.
    Perhaps,
    /// It passes.
    Yes,
}

/// A packet the filter is asked about, whole and to one host. One with ports goes between hosts whose traffic was captured: whatever
/// the filter says of addresses and tags is true of it. An ICMP error may come from any host, to the sender of what it quotes.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// IPv6.
    pub v6: bool,
    /// IP protocol number.
    pub protocol: u8,
    /// From which port to which, of a protocol with ports; absent: one that was picked for the connection. A later fragment has none.
    pub ports: Option<[Option<u16>; 2]>,
    /// Whom an ICMP error is for, where that is known.
    pub receiver: Option<IpAddr>,
}

/// IP protocol numbers by the names a filter has for them.
const NUMBERS: [(&str, u8); 16] = [
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("igrp", 9),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmp6", 58),
    ("ipv6-icmp", 58),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("carp", 112),
    ("vrrp", 112),
    ("sctp", 132),
];

/// Ports by the names people use in filters.
const PORTS: [(&str, u16); 14] = [
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("http", 80),
    ("ntp", 123),
    ("snmp", 161),
    ("https", 443),
    ("isakmp", 500),
    ("syslog", 514),
    ("ipsec-nat-t", 4500),
];

/// Protocols a qualifier or a primitive may name.
const PROTOCOLS: [&str; 30] = [
    "ether", "link", "fddi", "tr", "wlan", "ppp", "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6",
    "igmp", "igrp", "pim", "vrrp", "carp", "ah", "esp", "decnet", "atalk", "aarp", "iso", "stp", "ipx", "netbeui",
    "lat",
];
const KINDS: [&str; 7] = ["host", "net", "port", "portrange", "proto", "protochain", "gateway"];
/// Primitives that nobody here understands; no hosts, whatever was said before them.
const OTHERS: [&str; 16] = [
    "inbound", "outbound", "ifname", "on", "rnr", "rulenum", "reason", "rset", "ruleset", "action", "type", "subtype",
    "dir", "llc", "geneve", "vxlan",
];
/// What stands between the terms of a comparison.
const ARITHMETIC: [&str; 16] = ["=", "==", "!=", "<", ">", "<=", ">=", "+", "-", "*", "%", "&", "|", "^", "<<", ">>"];

/// Does this filter let such a packet pass?
pub fn passes(filter: &str, asked: Asked) -> Passes {
    read(filter, asked).0
}

/// Does it depend on hosts of which nobody knows whether they are the packet's? Then others of its kind that passed prove nothing.
pub fn names_others(filter: &str, asked: Asked) -> bool {
    read(filter, asked).1
}

fn read(filter: &str, asked: Asked) -> (Passes, bool) {
    let filter = filter.to_ascii_lowercase();
    let words = words(&filter);
    if words.is_empty() {
        return (Passes::Yes, false);
    }
    if words.last() == Some(&CUT) {
        return (Passes::Perhaps, false);
    }
    let mut reader = Reader { rest: &words, asked, said: None, depth: 0, names_others: false };
    let answer = reader.expression(false);
    // words are left where it is no filter, or one too deep
    (if reader.rest.is_empty() { answer } else { Passes::Perhaps }, reader.names_others)
}

/// The words and operators of a filter.
fn words(filter: &str) -> Vec<&str> {
    const OPERATORS: [&str; 8] = ["&&", "||", "==", "!=", "<=", ">=", "<<", ">>"];
    let is_word = |c: char| c.is_alphanumeric() || "-_.:/".contains(c);
    let mut words = Vec::new();
    let mut rest = filter;
    // a backslash only says that what follows is no keyword
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\\');
        let Some(first) = rest.chars().next() else { return words };
        let len = match OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
            Some(operator) => operator.len(),
            None if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            None => first.len_utf8(),
        };
        let (word, behind) = rest.split_at(len);
        words.push(word);
        rest = behind;
    }
}

/// What a primitive says of the packet.
#[derive(Clone, Copy)]
enum Holds {
    /// That it is so, or that it is not.
    Is(bool),
    /// Something of its hosts or its link: with or without a `not`, it is true of what was captured, and so of the packet.
    AsCaptured,
    Unknown,
}

impl Holds {
    fn passes(self, negated: bool) -> Passes {
        match self {
            Holds::Is(holds) if holds == negated => Passes::No,
            Holds::Is(_) | Holds::AsCaptured => Passes::Yes,
            Holds::Unknown => Passes::Perhaps,
        }
    }
}

impl From<Option<bool>> for Holds {
    fn from(known: Option<bool>) -> Holds {
        known.map_or(Holds::Unknown, Holds::Is)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Either,
    Source,
    Destination,
    Both,
}

/// The qualifiers in front of an id. They go on for the ids behind it that have none: `port 80 or 443`.
#[derive(Clone, Copy)]
struct Said<'a> {
    protocol: Option<&'a str>,
    side: Side,
    kind: &'a str,
}

/// Reads a filter from the left, as its grammar goes.
struct Reader<'w, 'a> {
    rest: &'w [&'a str],
    asked: Asked,
    said: Option<Said<'a>>,
    depth: u8,
    /// A host or network was named that may be the packet's or not.
    names_others: bool,
}

impl<'w, 'a> Reader<'w, 'a> {
    fn take_if(&mut self, wanted: impl Fn(&str) -> bool) -> Option<&'a str> {
        let (first, rest) = self.rest.split_first().filter(|(first, _)| wanted(first))?;
        self.rest = rest;
        Some(first)
    }

    fn take_any(&mut self, wanted: &[&str]) -> Option<&'a str> {
        self.take_if(|word| wanted.contains(&word))
    }

    /// `and` and `or` bind alike, from the left; a `not` around them turns one into the other.
    fn expression(&mut self, negated: bool) -> Passes {
        let mut answer = self.term(negated);
        while let Some(word) = self.take_any(&["and", "&&", "or", "||"]) {
            let next = self.term(negated);
            let either = matches!(word, "or" | "||") != negated;
            answer = if either { answer.max(next) } else { answer.min(next) };
        }
        answer
    }

    fn term(&mut self, mut negated: bool) -> Passes {
        while self.take_any(&["not", "!"]).is_some() {
            negated = !negated;
        }
        if self.is_comparison() {
            let comparison = self.comparison();
            return self.compare(comparison).passes(negated);
        }
        match self.primitive() {
            Some(holds) => holds.passes(negated),
            None => self.bracket(negated),
        }
    }

    fn bracket(&mut self, negated: bool) -> Passes {
        if self.depth == MAX_DEPTH || self.take_any(&["("]).is_none() {
            return Passes::Perhaps;
        }
        self.depth += 1;
        let answer = self.expression(negated);
        self.depth -= 1;
        if self.take_any(&[")"]).is_none() {
            return Passes::Perhaps;
        }
        // `(tcp[12] >> 2) > 5`: it was a term of a comparison
        if self.rest.first().is_some_and(|word| ARITHMETIC.contains(word)) {
            self.comparison();
            return Passes::Perhaps;
        }
        answer
    }

    /// A primitive without a bracket; `None` where one comes next, qualified (`port (80 or 443)`) or not.
    fn primitive(&mut self) -> Option<Holds> {
        let protocol = self.take_any(&PROTOCOLS);
        let side = self.side();
        let kind = self.take_any(&KINDS);
        if let (Some(protocol), None, None) = (protocol, side, kind) {
            let is_cast = self.take_any(&["broadcast", "multicast"]).is_some();
            return Some(if is_cast { Holds::Is(false) } else { self.is(protocol) });
        }
        if side.is_some() || kind.is_some() {
            self.said = Some(Said { protocol, side: side.unwrap_or(Side::Either), kind: kind.unwrap_or("host") });
        }
        if self.rest.first() == Some(&"(") {
            return None;
        }
        let holds = match self.take_if(|word| word.starts_with(char::is_alphanumeric)) {
            Some("broadcast" | "multicast") => Holds::Is(false),
            Some("vlan" | "mpls" | "pppoes") => {
                self.take_if(|word| number(word).is_some());
                // `port 443 or vlan`: what was captured may have no tag, and so may an ICMP error about it
                if self.is_error() { Holds::Unknown } else { Holds::AsCaptured }
            }
            Some("less" | "greater") => {
                self.take_if(|word| number(word).is_some());
                Holds::Unknown
            }
            Some(id) if !OTHERS.contains(&id) => self.id(id),
            _ => Holds::Unknown,
        };
        Some(holds)
    }

    fn side(&mut self) -> Option<Side> {
        let (side, words) = match self.rest {
            ["src", "or", "dst", ..] | ["dst", "or", "src", ..] => (Side::Either, 3),
            ["src", "and", "dst", ..] | ["dst", "and", "src", ..] => (Side::Both, 3),
            ["src", ..] => (Side::Source, 1),
            ["dst", ..] => (Side::Destination, 1),
            _ => return None,
        };
        self.rest = self.rest.get(words..).unwrap_or_default();
        Some(side)
    }

    /// An id with the qualifiers that were said last.
    fn id(&mut self, id: &str) -> Holds {
        let Some(Said { protocol, side, kind }) = self.said else {
            let is_address = id.contains(['.', ':']);
            return if is_address { self.has_host(Side::Either, id) } else { Holds::Unknown };
        };
        // of another protocol, it is none of those
        if protocol.is_some_and(|protocol| matches!(self.is(protocol), Holds::Is(false))) {
            return Holds::Is(false);
        }
        match kind {
            "port" | "portrange" if self.asked.ports.is_none() => Holds::Is(false),
            "proto" | "protochain" => self.is_numbered(protocol, id),
            "port" => port(id).map_or(Holds::Unknown, |port| self.has_port(side, port, port)),
            "portrange" => {
                let range = id.split_once('-').and_then(|(low, high)| Some((port(low)?, port(high)?)));
                range.map_or(Holds::Unknown, |(low, high)| self.has_port(side, low, high))
            }
            _ => self.has_host(side, id),
        }
    }

    fn is_error(&self) -> bool {
        matches!(self.asked.protocol, 1 | 58)
    }

    /// Does it have that host, or one of that network, on that side? A filter sees no further than the outer header, where an ICMP
    /// error has its receiver and whoever tells it.
    fn has_host(&mut self, side: Side, id: &str) -> Holds {
        let is_masked = self.take_any(&["mask"]).is_some();
        if is_masked {
            self.take_if(|_| true);
        }
        if !self.is_error() {
            return Holds::AsCaptured;
        }
        let receives = self.asked.receiver.filter(|_| !is_masked).and_then(|receiver| covers(id, receiver));
        match (side, receives) {
            (Side::Either | Side::Destination, Some(true)) => Holds::Is(true),
            (Side::Destination | Side::Both, Some(false)) => Holds::Is(false),
            _ => {
                self.names_others = true;
                Holds::Unknown
            }
        }
    }

    /// Is the packet of that protocol? A name without a number is nothing over IP.
    fn is(&self, name: &str) -> Holds {
        match name {
            "ip" => Holds::Is(!self.asked.v6),
            "ip6" => Holds::Is(self.asked.v6),
            "ether" | "link" | "fddi" | "tr" | "wlan" | "ppp" => Holds::Unknown,
            name => Holds::Is(named(&NUMBERS, name) == Some(self.asked.protocol)),
        }
    }

    /// Is the packet of the protocol with that number, in the numbers of the protocol it is qualified by?
    fn is_numbered(&self, protocol: Option<&str>, id: &str) -> Holds {
        let is_ip = matches!(protocol, None | Some("ip" | "ip6"));
        match (number(id), is_ip) {
            (Some(number), true) => Holds::Is(number == u64::from(self.asked.protocol)),
            (None, true) => named(&NUMBERS, id).map(|number| number == self.asked.protocol).into(),
            (Some(0x0800), false) => self.is("ip"),
            (Some(0x86dd), false) => self.is("ip6"),
            (Some(0x0806 | 0x8035), false) => Holds::Is(false),
            (None, false) if PROTOCOLS.contains(&id) => self.is(id),
            _ => Holds::Unknown,
        }
    }

    /// Does it have a port in that range, on that side?
    fn has_port(&self, side: Side, low: u16, high: u16) -> Holds {
        /// Below it no port is picked for a connection (RFC 6335 §6).
        const PICKED: u16 = 1024;
        let Some(ports) = self.asked.ports else { return Holds::Is(false) };
        let [source, destination] = ports.map(|port| match port {
            Some(port) => Some((low..=high).contains(&port)),
            None if low == high || high < PICKED => Some(false),
            None => None,
        });
        match side {
            Side::Source => source.into(),
            Side::Destination => destination.into(),
            Side::Either if source == Some(true) || destination == Some(true) => Holds::Is(true),
            Side::Both if source == Some(false) || destination == Some(false) => Holds::Is(false),
            Side::Either | Side::Both if source == destination => source.into(),
            Side::Either | Side::Both => Holds::Unknown,
        }
    }

    fn is_comparison(&self) -> bool {
        match self.rest {
            ["len", ..] | [_, "[", ..] => true,
            [_, operator, ..] => ARITHMETIC.contains(operator),
            _ => false,
        }
    }

    /// Takes the words of a comparison: up to what joins it to another primitive.
    fn comparison(&mut self) -> &'w [&'a str] {
        let mut open = 0_u32;
        let ends = |word: &&str| {
            match *word {
                "(" | "[" => open += 1,
                ")" | "]" if open > 0 => open -= 1,
                ")" | "]" | "and" | "&&" | "or" | "||" => return open == 0,
                _ => {}
            }
            false
        };
        let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let (comparison, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        comparison
    }

    /// A comparison looks into a packet that has what it looks into, and else fails.
    fn compare(&self, comparison: &[&str]) -> Holds {
        let looks_into =
            comparison.windows(2).filter_map(|words| if let [layer, "["] = words { Some(*layer) } else { None });
        if looks_into.into_iter().any(|layer| matches!(self.is(layer), Holds::Is(false))) {
            return Holds::Is(false);
        }
        /// Destination Unreachable (RFC 792): all that is ever asked for.
        const UNREACHABLE: u64 = 3;
        let (left, operator, right) = match comparison {
            ["ip", "[", "9" | "9:1", "]", operator, right] | ["ip6", "[", "6" | "6:1", "]", operator, right] => {
                (u64::from(self.asked.protocol), operator, right)
            }
            ["icmp", "[", "icmptype" | "0" | "0:1", "]", operator, right] => (UNREACHABLE, operator, right),
            _ => return Holds::Unknown,
        };
        let types = [("icmp-echoreply", 0), ("icmp-unreach", UNREACHABLE), ("icmp-echo", 8), ("icmp-timxceed", 11)];
        let Some(right) = number(right).or_else(|| named(&types, right)) else { return Holds::Unknown };
        match *operator {
            "=" | "==" => Holds::Is(left == right),
            "!=" => Holds::Is(left != right),
            "<" => Holds::Is(left < right),
            "<=" => Holds::Is(left <= right),
            ">" => Holds::Is(left > right),
            ">=" => Holds::Is(left >= right),
            _ => Holds::Unknown,
        }
    }
}

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

fn number(word: &str) -> Option<u64> {
    word.strip_prefix("0x").map_or_else(|| word.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}

/// Is that host the one named, or in the network (`10.0.0.0/8`)? `None` for a name, and for a network without a prefix.
fn covers(id: &str, host: IpAddr) -> Option<bool> {
    let (address, prefix) = match id.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u32>().ok()?)),
        None => (id, None),
    };
    let shared = match (address.parse().ok()?, host) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return Some(false),
    };
    Some(shared >= prefix.unwrap_or(if host.is_ipv4() { 32 } else { 128 }))
}

fn port(word: &str) -> Option<u16> {
    named(&PORTS, word).or_else(|| number(word)?.try_into().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    const ICMP: Asked = Asked { v6: false, protocol: 1, ports: None, receiver: Some(V4) };
    const ICMPV6: Asked = Asked { v6: true, protocol: 58, ports: None, receiver: Some(V6) };
    const UDP: Asked = Asked { v6: false, protocol: 17, ports: Some([None, Some(443)]), receiver: None };
    const TCP: Asked = Asked { protocol: 6, ..UDP };

    #[test]
    fn filters_pass_what_libpcap_passes() {
        // of ICMP, ICMPv6, UDP and TCP to port 443: + passes, - does not, ? is not known
        let rows = [
            ("not (arp or icmp)", "-+++"),
            ("ip and not (broadcast or multicast or icmp)", "--++"),
            ("ip proto 6", "---+"),
            ("ip proto \\icmp or ip6 proto 17", "+---"),
            ("proto 17", "--+-"),
            ("ip[9] == 6", "---+"),
            ("ip[9]!=1 and ip", "--++"),
            ("ip6", "-+--"),
            ("ether proto 0x0800", "+-++"),
            ("ether proto \\arp", "----"),
            ("!(tcp port 22 or udp port 53) && !icmp6", "+-++"),
            ("not not icmp", "+---"),
            ("not tcp port 443", "+++-"),
            ("tcp port (80 or 443) or icmp", "+--+"),
            ("not port (22 or 443)", "++--"),
            ("port 80 or 443", "--++"),
            ("host 192.0.2.1", "+?++"),
            ("192.0.2.1 or 2001:db8::1", "++++"),
            ("host 192.0.2.1 and 198.51.100.7", "??++"),
            ("host 192.0.2.1 or 198.51.100.7", "+?++"),
            ("host 198.51.100.7", "??++"),
            ("host 198.51.100.7 or icmp or icmp6", "++++"),
            ("host gateway.example", "??++"),
            ("not host (192.0.2.1 or 192.0.2.2)", "-?++"),
            ("not host 192.0.2.2 and icmp", "?---"),
            ("icmp or tcp and port 443", "---+"),
            ("icmp or (tcp and port 443)", "+--+"),
            ("not (not icmp and not icmp6)", "++--"),
            ("icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply", "+---"),
            ("icmp[0] = 8 or udp", "--+-"),
            ("tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "---?"),
            ("not (tcp[13] & 4 != 0)", "+++?"),
            ("(len - 20) > 100 or icmp", "+???"),
            ("len <= 1500 and not icmp", "-???"),
            ("less 200 or tcp", "???+"),
            ("src host 192.0.2.1 or dst host 192.0.2.1", "+?++"),
            ("dst host 192.0.2.1", "+-++"),
            ("src host 192.0.2.1", "??++"),
            ("src and dst host 192.0.2.2", "--++"),
            ("dst port 443", "--++"),
            ("src port 443", "----"),
            ("src or dst port 443", "--++"),
            ("src and dst port 443", "----"),
            ("portrange 400-500", "--++"),
            ("not portrange 1024-65535", "++??"),
            ("net 10.0.0.0 mask 255.0.0.0 and udp", "--+-"),
            ("net 10.0.0.0 mask 255.0.0.0 or tcp", "??++"),
            ("net 192.0.0.0/8", "+?++"),
            ("dst net 192.0.3.0/24", "--++"),
            ("not net 0.0.0.0/0", "-?++"),
            ("net 192.0", "??++"),
            ("net 192.0.2.0", "??++"),
            ("net 2001:db8::/32", "?+++"),
            ("net 2001:db9::/32", "??++"),
            ("arp host 192.0.2.1", "----"),
            ("vlan 7 and icmp", "?---"),
            ("port 443 or vlan", "??++"),
            ("ether host 02:00:00:00:00:01", "??++"),
            ("host 192.0.2.1 and inbound", "????"),
            ("port nobody-knows", "--??"),
            ("gibberish", "????"),
            ("tcp or", "???+"),
            ("(tcp", "????"),
            ("tcp) or (udp", "????"),
            ("tcp or udp or icmp or icmp6…", "????"),
        ];
        for (filter, expected) in rows {
            let seen: String = [ICMP, ICMPV6, UDP, TCP]
                .map(|asked| match passes(filter, asked) {
                    Passes::Yes => '+',
                    Passes::No => '-',
                    Passes::Perhaps => '?',
                })
                .into_iter()
                .collect();
            assert_eq!(seen, expected, "`{filter}`");
        }
    }

    #[test]
    fn filters_nested_too_deep_are_not_understood() {
        let nested = |depth: usize| format!("{}icmp{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!([32, 33, 100_000].map(|depth| passes(&nested(depth), ICMP)), {
            [Passes::Yes, Passes::Perhaps, Passes::Perhaps]
        });
        assert_eq!(passes(&"not ".repeat(100_000), ICMP), Passes::Perhaps);
    }

    fn bit() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(vec![
                "not",
                "!",
                "and",
                "or",
                "&&",
                "||",
                "(",
                ")",
                "[",
                "]",
                "ip",
                "ip6",
                "tcp",
                "udp",
                "icmp",
                "ether",
                "src",
                "dst",
                "host",
                "port",
                "portrange",
                "proto",
                "vlan",
                "less",
                "len",
                "mask",
                "broadcast",
                "443",
                "1-2",
                "10.0.0.1",
                "=",
                "&",
                ">",
                "9",
            ])
            .prop_map(str::to_owned),
            ".{0,3}",
        ]
    }

    proptest! {
        #[test]
        fn nothing_panics(bits in prop::collection::vec(bit(), 0..40), apart in any::<bool>()) {
            let filter = bits.join(if apart { " " } else { "" });
            for asked in [ICMP, ICMPV6, UDP, TCP] {
                passes(&filter, asked);
            }
        }

        #[test]
        fn a_not_turns_what_is_known_over(bits in prop::collection::vec(prop::sample::select(
            vec!["icmp", "udp", "port 443", "ip6", "not tcp", "len > 5", "(tcp or icmp)"]), 1..6), either in any::<bool>()) {
            let filter = bits.join(if either { " or " } else { " and " });
            for asked in [ICMP, ICMPV6, UDP, TCP] {
                let expected = match passes(&filter, asked) {
                    Passes::Yes => Passes::No,
                    Passes::No => Passes::Yes,
                    Passes::Perhaps => Passes::Perhaps,
                };
                prop_assert_eq!(passes(&format!("not ({filter})"), asked), expected);
            }
        }
    }
}
