//! What a tunnel can carry: the one place with the arithmetic.
//!
//! Promises: each number with its terms, so that a reader can check it; sizes both ways, from a link to the largest
//! inner packet and from a record to the inner packets that make it.
//! Refuses: to guess what a gateway advertises. Compare with the X-CSTP-MTU and X-DTLS-MTU headers where they are
//! known: an ASA computes AES-GCM as if it were CBC with SHA-384, some 50 bytes too careful.
//!
//! ```text
//!   TLS:  | TCP payload of one segment = MSS                             |
//!         | record header 5 | IV | CSTP 8 | inner packet | MAC | padding |
//!   DTLS: | IP 20/40 | UDP 8 | record header 13 | IV | type 1 | inner packet | MAC | padding |
//! ```

use crate::event::{Class, Version};
use std::fmt;
use std::ops::RangeInclusive;

/// TCP maximum segment size: payload bytes of one segment, no header counted (RFC 9293 §3.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mss(pub u16);

/// Largest IP packet of a link, bytes, IP header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkMtu(pub u16);

/// Largest inner IP packet of a tunnel, bytes, inner IP header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TunnelMtu(pub u16);

/// TLS record header, bytes (RFC 5246 §6.2.1).
pub const TLS_HEADER: u16 = 5;
/// CSTP header, bytes (draft-mavrogiannopoulos-openconnect-04 §2.2).
pub const CSTP_HEADER: u16 = 8;
/// DTLS record header, bytes (RFC 6347 §4.1).
pub const DTLS_HEADER: u16 = 13;
/// DTLS 1.3 unified header as usually sent: 16-bit sequence, length, no connection id (RFC 9147 §4).
pub const DTLS_1_3_HEADER: u16 = 5;
/// UDP header, bytes (RFC 768).
pub const UDP_HEADER: u16 = 8;
/// Type byte in front of each packet in the DTLS tunnel.
pub const DTLS_TYPE: u16 = 1;
/// Bytes the timestamps option takes from each TCP segment, padding included (RFC 7323 §3.2).
pub const TIMESTAMPS: u16 = 12;

impl Mss {
    /// What one segment can really carry: the smaller of both ends' options, less the timestamps when agreed.
    pub fn usable(client: Mss, server: Mss, timestamps: bool) -> Mss {
        let agreed = client.0.min(server.0);
        Mss(if timestamps { agreed.saturating_sub(TIMESTAMPS) } else { agreed })
    }
}

impl TunnelMtu {
    /// The MSS an inner host announces on an adapter with this MTU: less 40 for IPv4 (RFC 6691 §2), 60 for IPv6.
    pub fn inner_mss(self, ip: OuterIp) -> Mss {
        Mss(self.0.saturating_sub(ip.header() + 20))
    }
}

/// The two MTUs a client is told, and what follows from the pair (Cisco TAC 116881).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Of the TLS tunnel.
    pub tls: TunnelMtu,
    /// Of the DTLS tunnel, which the adapter gets at once.
    pub dtls: TunnelMtu,
}

impl Pair {
    /// What `anyconnect mtu` leaves of both.
    pub fn capped(self, most: Option<u16>) -> Pair {
        let cap = |mtu: TunnelMtu| TunnelMtu(most.map_or(mtu.0, |most| mtu.0.min(most)));
        Pair { tls: cap(self.tls), dtls: cap(self.dtls) }
    }

    /// Would a client whose DTLS fails reconnect to lower its adapter's MTU?
    pub fn reconnects(self) -> bool {
        self.dtls > self.tls
    }

    /// The largest round `anyconnect mtu` with which it would not: the note says 1300, which not every suite leaves room for.
    pub fn equalising(self) -> TunnelMtu {
        TunnelMtu(match self.tls.0 {
            1300.. => 1300,
            less => less / 10 * 10,
        })
    }
}

impl LinkMtu {
    /// What links of this MTU commonly are: a hint for the reader, never a verdict.
    pub fn hint(self) -> Option<&'static str> {
        Some(match self.0 {
            9000.. => "jumbo frames",
            1500 => "Ethernet",
            1492 => "PPPoE (RFC 2516)",
            1480 => "IP-in-IP or 6in4 tunnel",
            1476 => "GRE over IPv4",
            1460 => "DS-Lite, IPv4 in IPv6 (RFC 6333)",
            1450 => "VXLAN over IPv4",
            1428 => "mobile network",
            1420 => "WireGuard",
            1400 => "IPsec or mobile network, by habit",
            1358 => "mobile network (3GPP TS 23.060)",
            1280 => "IPv6 minimum (RFC 8200 §5)",
            576 => "IPv4 minimum reassembly (RFC 791)",
            _ => return None,
        })
    }
}

/// Which IP carries the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OuterIp {
    /// 20-byte header, no options.
    V4,
    /// 40-byte header, no extensions.
    V6,
}

impl OuterIp {
    /// Bytes of its header.
    pub fn header(self) -> u16 {
        match self {
            OuterIp::V4 => 20,
            OuterIp::V6 => 40,
        }
    }

    fn label(self) -> &'static str {
        match self {
            OuterIp::V4 => "IPv4",
            OuterIp::V6 => "IPv6",
        }
    }
}

/// One step of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// What it is, as in `TLS header`.
    pub label: &'static str,
    /// Bytes added; negative when taken away.
    pub bytes: i32,
}

/// A sum with all its steps. Prints as `1380 - 5 (TLS header) - 8 (CSTP) - 0 (padding) - 20 (HASH) = 1347`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What it starts from, bytes: an [`Mss`] or a [`LinkMtu`].
    pub start: u16,
    /// The steps, in order.
    pub terms: Vec<Term>,
    /// What is left for the inner packet.
    pub result: TunnelMtu,
}

impl Terms {
    /// Takes each cost away; `None` when nothing would be left.
    fn less(start: u16, costs: impl IntoIterator<Item = (&'static str, u16)>) -> Option<Terms> {
        let terms: Vec<Term> =
            costs.into_iter().map(|(label, bytes)| Term { label, bytes: -i32::from(bytes) }).collect();
        let left = i32::from(start) + terms.iter().map(|term| term.bytes).sum::<i32>();
        let result = u16::try_from(left).ok().filter(|&left| left > 0).map(TunnelMtu)?;
        Some(Terms { start, terms, result })
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.start)?;
        for term in &self.terms {
            let sign = if term.bytes > 0 { '+' } else { '-' };
            write!(f, " {sign} {} ({})", term.bytes.unsigned_abs(), term.label)?;
        }
        write!(f, " = {}", self.result.0)
    }
}

/// How the records of one channel are sealed: all that sizes depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protection {
    class: Class,
    /// IV bytes sent with each CBC record.
    iv: u16,
    encrypt_then_mac: bool,
}

impl Protection {
    /// `version` as negotiated: CBC before TLS 1.1 sends no IV (RFC 2246 §6.2.3.2), every DTLS does (RFC 6347
    /// §4.1.2.3). `encrypt_then_mac` from the ServerHello; it means nothing but for CBC (RFC 7366 §3).
    pub fn new(class: Class, version: Version, encrypt_then_mac: bool) -> Protection {
        let implicit_iv = matches!(version, Version::SSL_3_0 | Version::TLS_1_0);
        let iv = match class {
            Class::Cbc { block, .. } if !implicit_iv => u16::from(block),
            _ => 0,
        };
        Protection { class, iv, encrypt_then_mac }
    }

    /// Largest inner packet whose CSTP record fits one TCP segment.
    pub fn tls_mtu(self, mss: Mss) -> Option<Terms> {
        let room = mss.0.checked_sub(TLS_HEADER)?;
        let headers = [("TLS header", TLS_HEADER), ("CSTP", CSTP_HEADER)];
        Terms::less(mss.0, headers.into_iter().chain(self.costs(room)?))
    }

    /// Largest inner packet whose DTLS record fits one packet of the link.
    pub fn dtls_mtu(self, link: LinkMtu, ip: OuterIp) -> Option<Terms> {
        let (record_label, record_header) = match self.class {
            Class::Tls13 { .. } => ("DTLS 1.3 header", DTLS_1_3_HEADER),
            _ => ("DTLS header", DTLS_HEADER),
        };
        let room = link.0.checked_sub(ip.header() + UDP_HEADER + record_header)?;
        let headers =
            [(ip.label(), ip.header()), ("UDP", UDP_HEADER), (record_label, record_header), ("type", DTLS_TYPE)];
        Terms::less(link.0, headers.into_iter().chain(self.costs(room)?))
    }

    /// Length field of the TLS record around a CSTP frame with `payload` bytes behind its header; 0 for a control frame.
    pub fn cstp_record_len(self, payload: u16) -> u32 {
        self.sealed_len(u32::from(payload) + u32::from(CSTP_HEADER))
    }

    /// Length field of the DTLS record around `payload` bytes behind the type byte; 0 for a control packet.
    pub fn dtls_record_len(self, payload: u16) -> u32 {
        self.sealed_len(u32::from(payload) + u32::from(DTLS_TYPE))
    }

    /// IP length of the datagram around that record.
    pub fn dtls_packet_len(self, payload: u16, ip: OuterIp) -> u32 {
        u32::from(ip.header() + UDP_HEADER + DTLS_HEADER) + self.dtls_record_len(payload)
    }

    /// Payload sizes, CSTP header not counted, that give a TLS record of this length: one size but for CBC, where
    /// padding hides up to a block. `None` when no CSTP record has that length.
    /// A sender that pads more than it must, or compresses, makes both ends of the window too large or too small.
    pub fn cstp_payload(self, record_len: u16) -> Option<RangeInclusive<u16>> {
        self.payload(record_len, CSTP_HEADER)
    }

    /// The same for a DTLS record, type byte not counted.
    pub fn dtls_payload(self, record_len: u16) -> Option<RangeInclusive<u16>> {
        self.payload(record_len, DTLS_TYPE)
    }

    /// What sealing takes from `room`, the longest fragment allowed.
    fn costs(self, room: u16) -> Option<Vec<(&'static str, u16)>> {
        Some(match self.class {
            Class::Stream { mac } => vec![("padding", 0), ("HASH", u16::from(mac))],
            Class::Cbc { block, mac } => {
                // Blocks are filled after the IV, and before the MAC when that stands outside.
                let outside = self.iv + if self.encrypt_then_mac { u16::from(mac) } else { 0 };
                let unfilled = room.checked_sub(outside)? % u16::from(block);
                // Whatever fills no block, and the byte that tells the padding's length.
                let padding = ("padding", unfilled + 1);
                let iv = (self.iv > 0).then_some(("IV", self.iv));
                iv.into_iter().chain([padding, ("HASH", u16::from(mac))]).collect()
            }
            Class::Aead { nonce, tag } => {
                let nonce = (nonce > 0).then_some(("nonce", u16::from(nonce)));
                nonce.into_iter().chain([("tag", u16::from(tag))]).collect()
            }
            Class::Tls13 { tag } => vec![("content type", 1), ("tag", u16::from(tag))],
        })
    }

    fn sealed_len(self, plain: u32) -> u32 {
        match self.class {
            Class::Stream { mac } => plain + u32::from(mac),
            Class::Cbc { block, mac } => {
                let [iv, block, mac] = [u32::from(self.iv), u32::from(block), u32::from(mac)];
                let (inside, outside) = if self.encrypt_then_mac { (0, mac) } else { (mac, 0) };
                iv + (plain + inside + 1).next_multiple_of(block) + outside
            }
            Class::Aead { nonce, tag } => plain + u32::from(nonce) + u32::from(tag),
            Class::Tls13 { tag } => plain + 1 + u32::from(tag),
        }
    }

    fn payload(self, record_len: u16, header: u16) -> Option<RangeInclusive<u16>> {
        let (overhead, window) = match self.class {
            Class::Stream { mac } => (u16::from(mac), 0),
            Class::Cbc { block, mac } => {
                let outside = self.iv + if self.encrypt_then_mac { u16::from(mac) } else { 0 };
                let blocks = record_len.checked_sub(outside)?;
                if !blocks.is_multiple_of(u16::from(block)) {
                    return None;
                }
                (self.iv + u16::from(mac) + 1, u16::from(block) - 1)
            }
            Class::Aead { nonce, tag } => (u16::from(nonce) + u16::from(tag), 0),
            Class::Tls13 { tag } => (1 + u16::from(tag), 0),
        };
        let most = record_len.checked_sub(overhead + header)?;
        Some(most.saturating_sub(window)..=most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::CipherSuite;
    use proptest::prelude::*;

    fn class(name: &str) -> Class {
        CipherSuite::from_name(name).and_then(CipherSuite::class).unwrap()
    }

    fn protection(name: &str, version: Version, etm: bool) -> Protection {
        Protection::new(class(name), version, etm)
    }

    const OLD: Version = Version::TLS_1_0;
    const NOW: Version = Version::TLS_1_2;

    #[test]
    fn the_worked_examples_print_as_published() {
        let line = |name: &str, mss| protection(name, NOW, false).tls_mtu(Mss(mss)).unwrap().to_string();
        assert_eq!(line("RC4-SHA", 1380), "1380 - 5 (TLS header) - 8 (CSTP) - 0 (padding) - 20 (HASH) = 1347");
        assert_eq!(
            line("AES256-SHA256", 1380),
            "1380 - 5 (TLS header) - 8 (CSTP) - 16 (IV) - 16 (padding) - 32 (HASH) = 1303"
        );
        assert_eq!(line("AES256-GCM-SHA384", 1460), "1460 - 5 (TLS header) - 8 (CSTP) - 8 (nonce) - 16 (tag) = 1423");
        let dtls = protection("AES256-SHA", Version::DTLS_0_9, false).dtls_mtu(LinkMtu(1500), OuterIp::V4).unwrap();
        assert_eq!(
            dtls.to_string(),
            "1500 - 20 (IPv4) - 8 (UDP) - 13 (DTLS header) - 1 (type) - 16 (IV) - 4 (padding) - 20 (HASH) = 1418"
        );
    }

    #[test]
    fn tls_table() {
        let rows = [
            ("RC4-SHA", NOW, false, [1347, 1427, 1415, 1333]),
            ("DES-CBC3-SHA", OLD, false, [1339, 1419, 1411, 1331]),
            ("AES256-SHA", OLD, false, [1331, 1411, 1411, 1331]),
            ("DES-CBC3-SHA", NOW, false, [1331, 1411, 1403, 1323]),
            ("AES256-SHA", NOW, false, [1315, 1395, 1395, 1315]),
            ("AES256-SHA256", NOW, false, [1303, 1383, 1383, 1303]),
            ("ECDHE-RSA-AES256-SHA384", NOW, false, [1287, 1367, 1367, 1287]),
            ("AES256-SHA", NOW, true, [1319, 1399, 1383, 1303]),
            ("AES256-SHA256", NOW, true, [1303, 1383, 1383, 1303]),
            ("ECDHE-RSA-AES256-SHA384", NOW, true, [1287, 1367, 1367, 1287]),
            ("AES256-GCM-SHA384", NOW, false, [1343, 1423, 1411, 1329]),
            ("AES256-CCM8", NOW, false, [1351, 1431, 1419, 1337]),
            ("ECDHE-RSA-CHACHA20-POLY1305", NOW, false, [1351, 1431, 1419, 1337]),
            ("TLS_AES_256_GCM_SHA384", Version::TLS_1_3, false, [1350, 1430, 1418, 1336]),
        ];
        for (name, version, etm, expected) in rows {
            let got =
                [1380, 1460, 1448, 1366].map(|mss| protection(name, version, etm).tls_mtu(Mss(mss)).unwrap().result.0);
            assert_eq!(got, expected, "{name} {version} etm {etm}");
        }
    }

    #[test]
    fn dtls_table() {
        let rows = [
            ("DES-CBC3-SHA", false, [1426, 1330, 1402, 1314, 1418]),
            ("AES256-SHA", false, [1418, 1322, 1386, 1306, 1402]),
            ("AES256-SHA256", false, [1406, 1310, 1374, 1294, 1390]),
            ("ECDHE-RSA-AES256-SHA384", false, [1390, 1294, 1358, 1278, 1374]),
            ("AES256-SHA", true, [1406, 1326, 1390, 1294, 1406]),
            ("AES256-SHA256", true, [1406, 1310, 1374, 1294, 1390]),
            ("ECDHE-RSA-AES256-SHA384", true, [1390, 1294, 1358, 1278, 1374]),
            ("AES256-GCM-SHA384", false, [1434, 1340, 1414, 1320, 1426]),
            ("AES256-CCM8", false, [1442, 1348, 1422, 1328, 1434]),
            ("ECDHE-RSA-CHACHA20-POLY1305", false, [1442, 1348, 1422, 1328, 1434]),
            ("TLS_AES_256_GCM_SHA384", false, [1449, 1355, 1429, 1335, 1441]),
        ];
        let links =
            [(1500, OuterIp::V4), (1406, OuterIp::V4), (1500, OuterIp::V6), (1406, OuterIp::V6), (1492, OuterIp::V4)];
        for (name, etm, expected) in rows {
            let sealed = protection(name, Version::DTLS_1_2, etm);
            let got = links.map(|(mtu, ip)| sealed.dtls_mtu(LinkMtu(mtu), ip).unwrap().result.0);
            assert_eq!(got, expected, "{name} etm {etm}");
        }
    }

    #[test]
    fn control_records() {
        let rows = [
            ("AES256-SHA", 48, Some(48)),
            ("AES256-SHA256", 64, Some(64)),
            ("ECDHE-RSA-AES256-SHA384", 80, Some(80)),
            ("AES256-GCM-SHA384", 32, Some(25)),
            ("ECDHE-RSA-CHACHA20-POLY1305", 24, Some(17)),
            ("TLS_AES_256_GCM_SHA384", 25, None),
            ("RC4-SHA", 28, None),
        ];
        for (name, cstp, dtls) in rows {
            let sealed = protection(name, NOW, false);
            assert_eq!(sealed.cstp_record_len(0), cstp, "{name}");
            if let Some(dtls) = dtls {
                assert_eq!(sealed.dtls_record_len(0), dtls, "{name}");
            }
            assert!(sealed.cstp_payload(cstp as u16).unwrap().contains(&0), "{name}");
        }
    }

    #[test]
    fn sizes_from_records() {
        let sha = protection("AES256-SHA", Version::DTLS_0_9, false);
        assert_eq!(sha.dtls_payload(1456), Some(1403..=1418));
        assert_eq!(sha.dtls_payload(1457), None);
        assert_eq!(sha.dtls_payload(16), None);
        assert_eq!(sha.cstp_payload(48), Some(0..=3));
        let gcm = protection("AES256-GCM-SHA384", Version::DTLS_1_2, false);
        assert_eq!(gcm.dtls_payload(1459), Some(1434..=1434));
        assert_eq!(gcm.cstp_payload(1455), Some(1423..=1423));
        // A 1347-byte packet under AES256-SHA256 does not fit one segment of 1380.
        assert_eq!(protection("AES256-SHA256", NOW, false).cstp_record_len(1347), 1408);
    }

    #[test]
    fn segment_and_adapter() {
        assert_eq!(Mss::usable(Mss(1460), Mss(1380), true), Mss(1368));
        assert_eq!(TunnelMtu(1418).inner_mss(OuterIp::V4), Mss(1378));
        assert_eq!(LinkMtu(1492).hint(), Some("PPPoE (RFC 2516)"));
        assert_eq!(LinkMtu(1401).hint(), None);
    }

    #[test]
    fn the_pair_and_what_follows() {
        let pair = |tls, dtls| Pair { tls: TunnelMtu(tls), dtls: TunnelMtu(dtls) };
        assert!(pair(1347, 1418).reconnects());
        assert!(!pair(1347, 1418).capped(Some(1300)).reconnects());
        assert!(pair(1287, 1390).capped(Some(1300)).reconnects(), "1300 is too much for AES-CBC-SHA384 in MSS 1380");
        assert_eq!(pair(1287, 1390).equalising(), TunnelMtu(1280));
        assert_eq!(pair(1347, 1418).equalising(), TunnelMtu(1300));
        assert!(!pair(1427, 1418).reconnects());
    }

    #[test]
    fn too_small_a_link_carries_nothing() {
        for mtu in 0..100 {
            let terms = protection("ECDHE-RSA-AES256-SHA384", NOW, mtu % 2 == 0).dtls_mtu(LinkMtu(mtu), OuterIp::V6);
            assert!(terms.is_none_or(|terms| terms.result.0 > 0));
        }
    }

    proptest! {
        #[test]
        fn the_window_holds_every_size_and_the_mtu_is_the_largest_that_fits(
            name in prop::sample::select(vec!["RC4-SHA", "DES-CBC3-SHA", "AES128-SHA", "AES256-SHA256", "ECDHE-RSA-AES256-SHA384",
                "AES128-GCM-SHA256", "AES128-CCM8", "PSK-CHACHA20-POLY1305", "TLS_AES_128_CCM_8_SHA256"]),
            old: bool, etm: bool, payload in 0u16..9000, room in 300u16..9000,
        ) {
            let sealed = protection(name, if old { OLD } else { NOW }, etm);
            prop_assert!(sealed.cstp_payload(sealed.cstp_record_len(payload) as u16).unwrap().contains(&payload));
            prop_assert!(sealed.dtls_payload(sealed.dtls_record_len(payload) as u16).unwrap().contains(&payload));

            let mtu = sealed.tls_mtu(Mss(room)).unwrap().result.0;
            let fits = |size| sealed.cstp_record_len(size) + u32::from(TLS_HEADER) <= u32::from(room);
            prop_assert!(fits(mtu) && !fits(mtu + 1));

            let header = if matches!(sealed.class, Class::Tls13 { .. }) { DTLS_1_3_HEADER } else { DTLS_HEADER };
            let mtu = sealed.dtls_mtu(LinkMtu(room), OuterIp::V6).unwrap().result.0;
            let fits = |size| sealed.dtls_record_len(size) + u32::from(header + UDP_HEADER + 40) <= u32::from(room);
            prop_assert!(fits(mtu) && !fits(mtu + 1));
        }
    }
}
