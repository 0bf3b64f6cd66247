//! What CONNECT asks for and what its answer grants, as typed values (docs/protocol.md has every header).

use crate::maps::hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Letters of a text value kept.
const MAX_TEXT: usize = 256;
/// Suites of a list kept.
const MAX_LISTED: usize = 32;

/// A session token, of which only a hash is kept: equal tokens, equal hashes. Never shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u64);

impl Token {
    /// Of a token's bytes.
    pub fn of(secret: &[u8]) -> Option<Token> {
        if secret.is_empty() {
            return None;
        }
        Some(Token(hash(secret)))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// CONNECT /CSCOSSLC/tunnel, and what of an earlier request bears on it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TunnelRequest {
    /// It asks for the tunnel; else it is a request of the login.
    pub is_connect: bool,
    /// User-Agent; hostile text.
    pub user_agent: Option<String>,
    /// X-CSTP-Base-MTU: the client's idea of the link, bytes of an IP packet.
    pub base_mtu: Option<u16>,
    /// X-CSTP-MTU: the tunnel MTU asked for, bytes of an inner IP packet.
    pub mtu: Option<u16>,
    /// X-DTLS-CipherSuite, in order.
    pub dtls_suites: Vec<String>,
    /// X-DTLS12-CipherSuite, in order.
    pub dtls12_suites: Vec<String>,
    /// X-CSTP-Address: the inner address wanted back, on a reconnect.
    pub address: Option<IpAddr>,
    /// The webvpn cookie.
    pub token: Option<Token>,
    /// X-DTLS-Master-Secret.
    master_secret: Option<Box<[u8; 48]>>,
}

impl TunnelRequest {
    /// The DTLS master secret the client made, for whoever opens DTLS; gone afterwards.
    pub fn take_master_secret(&mut self) -> Option<Box<[u8; 48]>> {
        self.master_secret.take()
    }

    /// DTLS was offered: a master secret, or a suite.
    pub fn offers_dtls(&self) -> bool {
        !self.dtls_suites.is_empty() || !self.dtls12_suites.is_empty()
    }

    pub(super) fn read<'a>(is_connect: bool, headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> TunnelRequest {
        let mut request = TunnelRequest { is_connect, ..TunnelRequest::default() };
        for (name, value) in headers {
            match name.to_ascii_lowercase().as_str() {
                "user-agent" => request.user_agent = text(value),
                "x-cstp-base-mtu" => request.base_mtu = number(value),
                "x-cstp-mtu" => request.mtu = number(value),
                "x-dtls-ciphersuite" => request.dtls_suites = list(value),
                "x-dtls12-ciphersuite" => request.dtls12_suites = list(value),
                "x-cstp-address" => request.address = request.address.or(parse(value)),
                "cookie" => request.token = request.token.or(cookie(value)),
                "x-dtls-master-secret" => request.master_secret = bytes::<48>(value).map(Box::new),
                _ => {}
            }
        }
        request
    }
}

impl std::fmt::Debug for TunnelRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunnelRequest")
            .field("mtu", &self.mtu)
            .field("base_mtu", &self.base_mtu)
            .finish_non_exhaustive()
    }
}

/// The gateway's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunnelAnswer {
    /// Status code: 200 grants the tunnel; 401: the cookie is not accepted.
    pub status: u16,
    /// X-Reason; hostile text.
    pub reason: Option<String>,
    /// X-CSTP-MTU: inner IP packet over TLS, bytes.
    pub cstp_mtu: Option<u16>,
    /// X-DTLS-MTU: inner IP packet over DTLS, bytes.
    pub dtls_mtu: Option<u16>,
    /// X-CSTP-Base-MTU: the link the gateway reckoned with, bytes.
    pub base_mtu: Option<u16>,
    /// X-CSTP-Address and X-CSTP-Address-IP6.
    pub addresses: Vec<IpAddr>,
    /// X-CSTP-DPD, seconds.
    pub cstp_dpd: Option<u32>,
    /// X-DTLS-DPD, seconds.
    pub dtls_dpd: Option<u32>,
    /// X-CSTP-Keepalive, seconds.
    pub cstp_keepalive: Option<u32>,
    /// X-DTLS-Keepalive, seconds.
    pub dtls_keepalive: Option<u32>,
    /// X-CSTP-Rekey-Time, seconds.
    pub rekey_time: Option<u32>,
    /// X-CSTP-Rekey-Method: `none`, `ssl` or `new-tunnel`; hostile text.
    pub rekey_method: Option<String>,
    /// X-CSTP-Idle-Timeout, seconds.
    pub idle_timeout: Option<u32>,
    /// X-CSTP-Disconnected-Timeout, seconds.
    pub disconnected_timeout: Option<u32>,
    /// X-CSTP-Session-Timeout, seconds.
    pub session_timeout: Option<u32>,
    /// X-DTLS-Port: UDP port.
    pub dtls_port: Option<u16>,
    /// X-DTLS-Session-ID: the session the client resumes over DTLS, and says in the clear there.
    pub dtls_session_id: Option<[u8; 32]>,
    /// X-DTLS-App-ID: the same for PSK-NEGOTIATE.
    pub dtls_app_id: Option<[u8; 32]>,
    /// X-DTLS-CipherSuite; hostile text.
    pub dtls_suite: Option<String>,
    /// X-DTLS12-CipherSuite; hostile text.
    pub dtls12_suite: Option<String>,
    /// X-CSTP-Content-Encoding; hostile text.
    pub encoding: Option<String>,
    /// X-DTLS-Content-Encoding; hostile text.
    pub dtls_encoding: Option<String>,
    /// Set-Cookie: webvpn.
    pub token: Option<Token>,
    /// It has headers only an answer to CONNECT has.
    pub is_tunnel: bool,
}

impl TunnelAnswer {
    /// DTLS is on offer: a session to resume or to name, or a suite.
    pub fn offers_dtls(&self) -> bool {
        self.dtls_session_id.is_some()
            || self.dtls_app_id.is_some()
            || self.dtls_suite.is_some()
            || self.dtls12_suite.is_some()
    }

    /// The id that the DTLS ClientHello of this tunnel carries.
    pub fn dtls_id(&self) -> Option<[u8; 32]> {
        self.dtls_session_id.or(self.dtls_app_id)
    }

    pub(super) fn read<'a>(status: u16, headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> TunnelAnswer {
        let mut answer = TunnelAnswer { status, ..TunnelAnswer::default() };
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            answer.is_tunnel |= name.starts_with("x-cstp-") || name.starts_with("x-dtls-");
            match name.as_str() {
                "x-reason" => answer.reason = text(value),
                "x-cstp-mtu" => answer.cstp_mtu = number(value),
                "x-dtls-mtu" => answer.dtls_mtu = number(value),
                "x-cstp-base-mtu" => answer.base_mtu = number(value),
                "x-cstp-address" | "x-cstp-address-ip6" => {
                    answer.addresses.extend(parse(value).filter(|_| answer.addresses.len() < 4));
                }
                "x-cstp-dpd" => answer.cstp_dpd = number(value),
                "x-dtls-dpd" => answer.dtls_dpd = number(value),
                "x-cstp-keepalive" => answer.cstp_keepalive = number(value),
                "x-dtls-keepalive" => answer.dtls_keepalive = number(value),
                "x-cstp-rekey-time" => answer.rekey_time = number(value),
                "x-cstp-rekey-method" => answer.rekey_method = text(value),
                "x-cstp-idle-timeout" => answer.idle_timeout = number(value),
                "x-cstp-disconnected-timeout" => answer.disconnected_timeout = number(value),
                "x-cstp-session-timeout" => answer.session_timeout = number(value),
                "x-dtls-port" => answer.dtls_port = number(value),
                "x-dtls-session-id" => answer.dtls_session_id = bytes(value),
                "x-dtls-app-id" => answer.dtls_app_id = bytes(value),
                "x-dtls-ciphersuite" => answer.dtls_suite = text(value),
                "x-dtls12-ciphersuite" => answer.dtls12_suite = text(value),
                "x-cstp-content-encoding" => answer.encoding = text(value),
                "x-dtls-content-encoding" => answer.dtls_encoding = text(value),
                "set-cookie" => answer.token = answer.token.or(cookie(value)),
                _ => {}
            }
        }
        answer
    }
}

fn text(value: &[u8]) -> Option<String> {
    let value = String::from_utf8_lossy(value);
    let value: String = value.trim().chars().take(MAX_TEXT).collect();
    (!value.is_empty()).then_some(value)
}

fn number<N: std::str::FromStr>(value: &[u8]) -> Option<N> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// An address, with or without a prefix length behind it.
fn parse(value: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let address = text.split('/').next()?;
    address.parse::<Ipv4Addr>().map(IpAddr::V4).or_else(|_| address.parse::<Ipv6Addr>().map(IpAddr::V6)).ok()
}

fn list(value: &[u8]) -> Vec<String> {
    let text = text_whole(value);
    text.split(':').map(str::trim).filter(|name| !name.is_empty()).take(MAX_LISTED).map(short).collect()
}

fn text_whole(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Hexadecimal digits, exactly so many bytes.
fn bytes<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    let digits = value.trim_ascii();
    if digits.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| (*pair.get(at)? as char).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(out)
}

/// The webvpn cookie of a Cookie or Set-Cookie header.
fn cookie(value: &[u8]) -> Option<Token> {
    let pairs = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    pairs.filter_map(|pair| pair.strip_prefix(b"webvpn=")).find_map(Token::of)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn answer(headers: &[(&'static str, &'static str)]) -> TunnelAnswer {
        TunnelAnswer::read(200, headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn an_answer_in_numbers() {
        let id = "6385D28DB2BAB01CFFA3877A9FDF407B8390A4C47D1AEA38AE03E79E1AAE2B53";
        let read = answer(&[
            ("X-CSTP-MTU", "1347"),
            ("x-dtls-mtu", " 1418 "),
            ("X-CSTP-Address", "10.10.10.1"),
            ("X-CSTP-Address-IP6", "2001:db8::7/64"),
            ("X-DTLS-Session-ID", id),
            ("X-CSTP-Session-Timeout", "none"),
            ("X-DTLS-Port", "99999"),
        ]);
        assert_eq!((read.cstp_mtu, read.dtls_mtu), (Some(1347), Some(1418)));
        assert_eq!(read.addresses.len(), 2);
        assert_eq!(read.dtls_session_id.unwrap()[..2], [0x63, 0x85]);
        assert_eq!((read.session_timeout, read.dtls_port), (None, None));
        assert!(read.offers_dtls() && read.is_tunnel);
        assert!(!answer(&[("X-CSTP-MTU", "1400")]).offers_dtls());
    }

    #[test]
    fn cookies_are_hashed_and_secrets_not_shown() {
        let secret = "AB".repeat(48);
        let headers = [("Cookie", "webvpncontext=x; webvpn=TOPSECRET"), ("X-DTLS-Master-Secret", secret.as_str())];
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let mut request = TunnelRequest::read(true, headers);
        assert_eq!(request.token, Token::of(b"TOPSECRET"));
        let shown = format!("{request:?} {:?}", request.token);
        assert!(!shown.contains("TOPSECRET") && !shown.contains("171"), "{shown}");
        assert_eq!(*request.take_master_secret().unwrap(), [0xab; 48]);
        assert!(request.take_master_secret().is_none());
        assert_eq!(answer(&[("Set-Cookie", "webvpn=; expires=…")]).token, None);
    }
}
