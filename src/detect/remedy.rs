//! The remedies several detectors name, each worded once, with its price.

use crate::session::limits::derived;
use crate::session::mtu::{Pair, TunnelMtu};
use crate::session::{Basis, Channel, Session};
use std::net::IpAddr;

/// The best cure without touching firewalls (note 116881, option 1).
pub const MTU_1300: &str = "`anyconnect mtu 1300` in the group policy: TLS and DTLS MTU become equal, nothing is too big, no reconnect; slightly smaller packets";

/// The same with a number that fits this session: 1300 as the note says, or less where the TLS tunnel carries less; nothing where they
/// are equal, as keys show.
pub fn equal_mtus(session: &Session) -> Option<String> {
    let named =
        |channel| session.limits.iter().rfind(|l| l.channel == channel && l.basis == Basis::Decrypted).map(|l| l.bytes);
    if named(Channel::Dtls).is_some_and(|dtls| named(Channel::Tls) == Some(dtls)) {
        return None;
    }
    let derived = derived(session);
    let all = session.limits.iter().chain(&derived);
    let tls = all.filter(|l| l.channel == Channel::Tls && l.basis >= Basis::Derived && !l.is_bracket());
    let bytes = tls.max_by_key(|l| l.basis).and_then(|l| u16::try_from(l.bytes).ok());
    let most = bytes.map_or(1300, |bytes| Pair { tls: TunnelMtu(bytes), dtls: TunnelMtu(bytes) }.equalising().0);
    Some(match most {
        1300 => MTU_1300.to_owned(),
        less => MTU_1300.replace("1300", &less.to_string()),
    })
}

/// Note 116881, option 2.
pub const DF_IGNORE: &str =
    "`anyconnect ssl df-bit-ignore enable` in the group policy: fragments instead of drops; costs CPU, hides the cause";
/// It, where there are packets with a DF bit: IPv6 has none.
pub fn df_ignore(session: &Session) -> Option<String> {
    let is_v6 = !session.inner.is_empty() && session.inner.iter().all(|flow| flow.ends().0.is_ipv6());
    (!is_v6).then(|| DF_IGNORE.to_owned())
}

/// Note 116881, option 3, and why not.
pub const NOT_TCPMSS: &str = "not: `sysopt connection tcpmss 1460`: helps TCP only, UDP above the adapter's MTU is still lost, and it touches L2L tunnels";
/// For users who will never get UDP through.
pub const TLS_ONLY: &str = "a TLS-only tunnel group for users whose network blocks UDP (`anyconnect ssl dtls none`): no useless attempts; no DTLS speed";

/// Let the ICMP through to those hosts.
pub fn let_icmp_reach(hosts: &str) -> String {
    format!(
        "let ICMP type 3 code 4 (and ICMPv6 type 2) reach {hosts}: from the gateway, through every firewall behind it"
    )
}

/// For datagrams that are cut on their way, or leave in pieces.
pub const PASS_FRAGMENTS: &str = "let IP fragments of UDP pass on every firewall and NAT between client and gateway";

/// Let DTLS pass between the clients and that gateway.
pub fn permit_udp(gateway: IpAddr, port: u16) -> String {
    format!("permit udp/{port} to {gateway} and back, on every firewall between the client and the gateway")
}

/// What the gateway at that address sends over UDP is dropped on the client's own machine.
pub fn client_drops(gateway: &str) -> String {
    format!(
        "see on the client's machine what drops UDP from {gateway}: its firewall or security software; the answers reach its \
         network card"
    )
}
