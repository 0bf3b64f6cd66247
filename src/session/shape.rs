//! Does a TLS connection carry CSTP? Told from record lengths alone, so graded and never certain.
//!
//! One CSTP frame is one record: 8 bytes of header and one inner IP packet. So records are never larger than a packet,
//! an inner TCP ACK has one of few lengths, and DPD and keepalive are 8 bytes of plaintext. PPP-based tunnels (SSTP, F5,
//! Fortinet) look alike but begin with LCP records too small to hold an IP packet.

use super::facts::{FlowFacts, LONGER_THAN_ALERT, REQUEST, Stretch, TlsFacts};
use super::openings::INNER_ACKS;
use crate::event::{Class, Direction};

/// Largest plausible inner packet with its record overhead, bytes: a jumbo inner MTU does not occur on AnyConnect adapters.
const MAX_CSTP_RECORD: u16 = 1_700;
/// A record larger than this may be a full inner packet, bytes.
const FULL: u16 = 1_100;
/// A CSTP payload shorter than this is no IPv4 header; longer than 0 it is no plain control frame either.
const SHORTEST_IP: u16 = 20;

/// No web server keeps an idle connection so long, seconds.
const HUNG_UP: f64 = 300.0;

/// Records that can be neither a control frame nor an IP packet, tolerated: TLS 1.3 hides handshake messages among data,
/// and a DISCONNECT carries text.
const MOST_ODD: u32 = 3;

/// Length of the CSTP header, bytes.
const CSTP_HEADER: u32 = 8;
/// Length of a KeyUpdate with its header, which TLS 1.3 hides among data (RFC 8446 §4.6.3), bytes.
const KEY_UPDATE: u32 = 5;

/// What the record lengths say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Records of the length of an empty CSTP frame, both ways.
    pub control: u32,
    /// Records of the length of an inner TCP ACK or SYN.
    pub acks: u32,
    /// At some time a quarter of all records so far had, or several TCP connections opened inside.
    pub was_told: bool,
    /// All application-data records.
    pub records: u32,
    /// Late records of the largest length, one way: packets of a full inner MTU.
    pub full: u32,
    /// The same, both ways together.
    pub full_both: u32,
    /// Something speaks against CSTP.
    pub against: bool,
    /// It began as a tunnel does: with HTTP, both ways.
    pub began_with_http: bool,
    /// Block padding rounds lengths up (CBC): many things look alike.
    pub coarse: bool,
    /// The suite was not captured, so lengths tell little.
    pub suite_unknown: bool,
    /// Data came after a silence in which any web server had hung up, in a record that need not have become whole.
    pub goes_on: bool,
    /// It is believed for what came next: another of the same program went on for it, or it for another.
    pub is_replaced: bool,
}

impl Shape {
    /// Reads the shape off a connection.
    pub fn of(flow: &FlowFacts) -> Shape {
        let Some(tls) = flow.tls.as_deref() else { return Shape::default() };
        let records = tls.data.iter().map(|d| d.records).sum();
        let Some(protection) = tls.server_hello.and_then(|hello| hello.protection()) else {
            let against = tls.early.late().iter().any(|(largest, _)| *largest > MAX_CSTP_RECORD);
            return Shape { records, against, suite_unknown: true, ..Shape::default() };
        };
        let len = |payload| protection.cstp_record_len(payload);
        let count = |wanted: &dyn Fn(u32) -> bool| {
            tls.early.small().filter(|(l, _)| wanted(u32::from(*l))).map(|(_, n)| n).sum::<u32>()
        };
        let control = len(0);
        let key_updates = match tls.server_hello.is_some_and(|hello| hello.version.is_1_3()) {
            true => count(&|l| l == control - CSTP_HEADER + KEY_UPDATE),
            false => 0,
        };
        // Block ciphers round lengths up, so that no length is odd.
        let odd = count(&|l| l < control || (control + 1..len(SHORTEST_IP)).contains(&l));
        let began_with_http = begins_with_http(tls);
        let late = tls.early.late();
        let full = || late.iter().filter(|(largest, _)| *largest > FULL).map(|(_, count)| *count);
        let acks = INNER_ACKS.map(len);
        Shape {
            control: count(&|l| l == control),
            acks: count(&|l| acks.contains(&l)),
            was_told: tls.early.was_told(),
            full: full().max().unwrap_or(0),
            full_both: full().sum(),
            records,
            suite_unknown: false,
            coarse: matches!(tls.server_hello.and_then(|hello| hello.suite.class()), Some(Class::Cbc { .. })),
            began_with_http,
            goes_on: goes_on(flow),
            is_replaced: false,
            against: !began_with_http
                || speaks_ppp(tls, &len)
                || late.iter().any(|(largest, _)| *largest > MAX_CSTP_RECORD)
                || odd.saturating_sub(of_rekeys(key_updates, records)) > MOST_ODD,
        }
    }

    /// Beside a tunnel that is sure, may this be another of the same session?
    pub fn may_be_cstp(&self) -> bool {
        self.is_cstp() || self.suite_unknown && !self.against && self.records >= 8
    }

    /// To a gateway that is sure, may this be a tunnel that says little, by the lengths of what it says?
    pub fn may_be_quiet_cstp(&self) -> bool {
        !self.against && self.began_as_tunnel()
    }

    /// Did it begin as a tunnel does, whatever came then?
    pub fn began_as_tunnel(&self) -> bool {
        let behind = if self.goes_on { 2 } else { 3 };
        self.began_with_http && !self.suite_unknown && self.records >= behind
    }

    /// Is this a tunnel by its looks?
    pub fn is_cstp(&self) -> bool {
        let acks = self.acks >= 6 && self.acks * 4 >= self.records || self.control >= 2 && self.acks >= 2;
        // A call, or data that nobody acknowledges one by one, makes ACKs few later: what was told stays so.
        let told_before = self.was_told && self.acks >= 6;
        // A download says little else than full packets and ACKs.
        let told = u64::from(self.full_both) + u64::from(self.acks);
        let bulk = self.full >= 8 && self.acks >= 24 && told * 10 >= u64::from(self.records) * 9;
        !self.against && self.records >= 8 && (acks || told_before || bulk || self.control >= 1 && self.full >= 8)
    }
}

/// How many records of the length of a KeyUpdate are taken for such: keys are renewed now and then, not all the time.
fn of_rekeys(key_updates: u32, records: u32) -> u32 {
    /// Between two renewals of the keys pass at least so many records on average.
    const SELDOM: u32 = 100;
    if key_updates <= records / SELDOM { key_updates } else { 0 }
}

/// Early records between a control frame and the shortest IP packet, in both directions: LCP.
fn speaks_ppp(tls: &TlsFacts, len: &dyn Fn(u16) -> u32) -> bool {
    let (control, shortest) = (len(0), len(SHORTEST_IP));
    let odd =
        |direction| tls.early.iter().any(|(d, l)| d == direction && (control + 1..shortest).contains(&u32::from(l)));
    odd(Direction::ToServer) && odd(Direction::ToClient)
}

/// A tunnel's connection begins with a POST or CONNECT and its answer, both with many headers: the first record each way
/// (TLS 1.3 hides the handshake's rest before it) is no small one.
fn begins_with_http(tls: &TlsFacts) -> bool {
    /// No CONNECT request, nor the answer to one, is shorter than this in a record, bytes.
    const HEADERS: u16 = 250;
    let hidden = tls.server_hello.is_some_and(|hello| hello.version.is_1_3());
    let mut up = tls.early.iter().enumerate().filter(|(_, (d, _))| *d == Direction::ToServer);
    let Some((asked, (_, length))) = up.nth(usize::from(hidden)) else { return false };
    let answers = tls.early.iter().skip(asked).filter(|(d, _)| *d == Direction::ToClient);
    length >= HEADERS && answers.take(3).any(|(_, length)| length >= HEADERS)
}

/// Is there talk beside question and answer, or did either go on after a silence in which any web server had hung up?
pub fn converses(flow: &FlowFacts) -> bool {
    let Some(tls) = flow.tls.as_deref() else { return false };
    let idle = |(before, now): (Stretch, Stretch)| {
        let (records, bytes) = (now.records.iter().sum::<u32>(), now.bytes.iter().sum::<u64>());
        now.first.seconds_since(before.last) >= HUNG_UP && bytes >= u64::from(LONGER_THAN_ALERT) * u64::from(records)
    };
    let stretches = || tls.activity.stretches.iter();
    tls.early.converses() || goes_on(flow) || stretches().zip(stretches().skip(1)).any(idle)
}

fn goes_on(flow: &FlowFacts) -> bool {
    f64::from(flow.ended.silence) >= HUNG_UP
}

/// Request and answer pairs at the beginning, before data: more than one means that somebody logged in here.
pub fn exchanges(flow: &FlowFacts) -> usize {
    let Some(tls) = flow.tls.as_deref() else { return 0 };
    let mut pairs = 0;
    let mut asked = false;
    for (direction, length) in tls.early.iter() {
        match direction {
            Direction::ToServer if length >= REQUEST => asked = true,
            Direction::ToServer => {
                if pairs > 0 {
                    break;
                }
            }
            Direction::ToClient => {
                pairs += usize::from(asked);
                asked = false;
            }
        }
    }
    pairs
}

/// Does a connection ask what an earlier one asked that began with a login?
pub fn asks_again(earlier: &FlowFacts, flow: &FlowFacts) -> bool {
    /// What is new in such a request makes it so much longer or shorter, bytes.
    const ALIKE: u16 = 16;
    let requests = |flow: &FlowFacts| -> Vec<u16> {
        let early = flow.tls.iter().flat_map(|tls| tls.early.iter());
        early
            .filter(|(way, length)| *way == Direction::ToServer && *length >= REQUEST)
            .map(|(_, l)| l)
            .take(2)
            .collect()
    };
    // Behind the first two comes CONNECT, with which a reconnect begins.
    let (before, now) = (requests(earlier), requests(flow));
    exchanges(earlier) > 2 && now.len() == 2 && before.iter().zip(&now).all(|(a, b)| a.abs_diff(*b) <= ALIKE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_full_packets_and_acks() {
        let shape = |acks, full_both| Shape { records: 1000, acks, full: 500, full_both, ..Shape::default() };
        assert!(shape(150, 800).is_cstp());
        assert!(!shape(150, 700).is_cstp(), "too much is neither");
        assert!(!shape(20, 980).is_cstp(), "hardly any ACK");
        assert!(!Shape { against: true, ..shape(150, 800) }.is_cstp());
    }

    #[test]
    fn keys_are_renewed_now_and_then() {
        assert_eq!(of_rekeys(8, 8923), 8);
        assert_eq!(of_rekeys(8, 700), 0, "that often it is something else");
    }

    #[test]
    fn what_was_told_once_stays_told_unless_something_speaks_against_it() {
        let shape = |was_told| Shape { records: 5000, acks: 900, was_told, ..Shape::default() };
        assert!(!shape(false).is_cstp() && shape(true).is_cstp());
        assert!(!Shape { against: true, ..shape(true) }.is_cstp());
        assert!(!Shape { acks: 0, ..shape(true) }.is_cstp());
    }
}
