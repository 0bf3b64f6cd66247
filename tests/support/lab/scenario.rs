//! A scenario file: the places, their habits, what is done when, and what a report must say of it.

use super::tls::Generation;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// One file of `tests/scenarios/`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// What goes wrong, for a reader.
    pub about: String,
    /// Seconds until the captures end.
    pub until: f64,
    /// Seconds after which they begin.
    #[serde(default)]
    pub from: f64,
    #[serde(default)]
    pub client: Client,
    #[serde(default)]
    pub gateway: Gateway,
    #[serde(default)]
    pub link: Link,
    #[serde(default)]
    pub nat: Option<Nat>,
    #[serde(default)]
    pub capture: BTreeMap<String, Capture>,
    #[serde(default)]
    pub rule: Vec<Rule>,
    #[serde(default, rename = "do")]
    pub actions: Vec<Action>,
    /// By run: `all`, or the names of places joined with `+`.
    #[serde(default)]
    pub expect: BTreeMap<String, Expect>,
}

/// What a report must say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expect {
    /// Sessions.
    #[serde(default)]
    pub sessions: Option<usize>,
    /// Detector → the severity of its first finding, and the likely cause behind it; nothing else may be found.
    #[serde(default)]
    pub found: BTreeMap<String, String>,
    /// Detectors that must be able to say that there is nothing.
    #[serde(default)]
    pub clear: Vec<String>,
    /// Detectors that must not be able to tell.
    #[serde(default)]
    pub cannot_tell: Vec<String>,
    /// Outcomes of DTLS attempts, in order of start.
    #[serde(default)]
    pub attempts: Option<Vec<String>>,
    /// Causes of reconnects.
    #[serde(default)]
    pub reconnects: Option<Vec<String>>,
    /// Words that must stand in the text report.
    #[serde(default)]
    pub says: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Client {
    pub address: IpAddr,
    /// Which of several users it is, from 1: each has an inner address, and noise, of its own.
    pub user: u8,
    /// Connects at all.
    pub dials: bool,
    /// Reaches the gateway through a web proxy that wants a password; the proxy has the gateway's address, port 3128.
    pub proxy: bool,
    /// Login and tunnel on connections of their own, as AnyConnect does; else on one, as openconnect does.
    pub separate_login: bool,
    /// Every DTLS flow comes from this port.
    pub dtls_local_port: Option<u16>,
    pub dtls: Generation,
    /// Seconds after the first ClientHello at which it is sent again.
    pub hellos: Vec<f64>,
    /// Gives DTLS up so long after the first ClientHello, seconds.
    pub patience: f64,
    /// And tries again so long after that, seconds; 0 = never.
    pub again_after: f64,
    /// Reconnects after this many seconds to lower the adapter's MTU; 0 = never.
    pub mtu_reconnect: f64,
    /// Says goodbye before it reconnects, so that the gateway closes first.
    pub polite: bool,
    pub dpd: f64,
    pub keepalive: f64,
    /// Unanswered DPDs before a channel counts as dead.
    pub dpd_tries: u32,
    /// Adapter MTU; 0 = the larger of the gateway's two.
    pub adapter_mtu: u16,
    /// Inner address family.
    pub inner_v6: bool,
    /// MSS of its outer SYNs.
    pub mss: u16,
    /// DF on outer UDP.
    pub udp_df: bool,
    /// Probes the DTLS path with full-size DPDs, as openconnect does.
    pub probes: bool,
    /// Its first ClientHello on a new tunnel still names the old session.
    pub stale_session_id: bool,
    /// A firewall on its machine drops the gateway's UDP from this second on.
    pub drops_udp_from: f64,
    /// Seconds after its DTLS Finished at which it sends that flight again, until the gateway's came.
    pub finished_again: Vec<f64>,
}

impl Client {
    pub fn inner(&self, v4: bool) -> IpAddr {
        let user = self.user;
        if v4 { IpAddr::from([10, 10, 10, user]) } else { format!("2001:db8:10::1:{user:x}").parse().unwrap() }
    }
}

impl Default for Client {
    fn default() -> Client {
        Client {
            address: IpAddr::from([198, 51, 100, 10]),
            user: 1,
            dials: true,
            proxy: false,
            separate_login: true,
            dtls_local_port: None,
            dtls: Generation::Legacy,
            hellos: vec![0.0, 1.0, 3.0, 7.0, 15.0, 31.0],
            patience: 60.0,
            again_after: 0.0,
            mtu_reconnect: 0.0,
            polite: false,
            dpd: 30.0,
            keepalive: 20.0,
            dpd_tries: 3,
            adapter_mtu: 0,
            inner_v6: false,
            mss: 1460,
            udp_df: false,
            probes: false,
            stale_session_id: false,
            drops_udp_from: f64::MAX,
            finished_again: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Gateway {
    pub address: IpAddr,
    pub cipher: String,
    pub dtls_cipher: String,
    pub dtls_port: u16,
    pub mss: u16,
    pub tls_mtu: u16,
    pub dtls_mtu: u16,
    /// Drops DF packets above the MTU in force (an ASA does, ocserv does not).
    pub drops_oversized: bool,
    /// Tells their senders.
    pub frag_needed: bool,
    /// Its DTLS packets have DF.
    pub udp_df: bool,
    /// With this MTU instead of the true one.
    pub frag_needed_mtu: Option<u32>,
    /// So many seconds late.
    pub frag_needed_after: f64,
    /// The ICMP dies before the server, behind the capture.
    pub frag_needed_filtered: bool,
    pub dtls: Dtls,
    /// Answers with a HelloVerifyRequest first.
    pub hello_verify: bool,
    /// Accepts records of a client whose address changed.
    pub follows_moves: bool,
    /// Seconds before it answers a ClientHello.
    pub slow: f64,
    /// Answers DTLS from this address.
    pub answers_from: Option<IpAddr>,
    /// And from this port.
    pub answers_from_port: Option<u16>,
    /// Silent on DPD requests from this second on.
    pub deaf_to_dpd_from: f64,
    /// Its program hangs from that second on, until that one: its TCP takes bytes, and nobody reads them.
    pub hangs: [f64; 2],
    /// Bytes of a DTLS handshake fragment.
    pub fragment: usize,
    /// Each message of a DTLS flight in its own datagram.
    pub apart: bool,
    /// Answers one ClientHello of a client's port, and none that repeats it.
    pub answers_once: bool,
}

/// How the gateway takes DTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dtls {
    Answers,
    /// Nothing listens: ICMP port unreachable.
    Refuses,
    /// A HelloVerifyRequest, then nothing.
    StallsAfterHelloVerify,
    /// A new HelloVerifyRequest for every cookie.
    VerifiesForEver,
    /// ServerHello, then nothing.
    StallsAfterServerHello,
    /// Does not know the session: a full handshake with its certificate.
    FullHandshake,
    /// handshake_failure.
    Alert,
    /// Rejects the client's Finished with an encrypted alert.
    RejectsFinished,
    /// Never takes the client's Finished up, and sends its flight again and again.
    IgnoresFinished,
}

impl Default for Gateway {
    fn default() -> Gateway {
        Gateway {
            address: IpAddr::from([203, 0, 113, 2]),
            cipher: "AES256-GCM-SHA384".to_owned(),
            dtls_cipher: "AES256-SHA".to_owned(),
            dtls_port: 443,
            mss: 1380,
            tls_mtu: 1347,
            dtls_mtu: 1347,
            drops_oversized: false,
            frag_needed: true,
            udp_df: false,
            frag_needed_mtu: None,
            frag_needed_after: 0.0,
            frag_needed_filtered: false,
            dtls: Dtls::Answers,
            hello_verify: true,
            follows_moves: false,
            slow: 0.0,
            answers_from: None,
            answers_from_port: None,
            deaf_to_dpd_from: f64::MAX,
            hangs: [f64::MAX; 2],
            fragment: 1200,
            apart: false,
            answers_once: false,
        }
    }
}

/// The way between client and gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Link {
    /// Milliseconds one way from the client to the hop, and from there to the gateway.
    pub delay_ms: f64,
    pub mtu: u32,
    /// The hop tells senders whose DF packets it drops.
    pub icmp: bool,
    /// The hop clears DF.
    pub clears_df: bool,
    /// The hop lowers the MSS of SYNs to this.
    pub clamp_mss: Option<u16>,
    /// The hop lowers TTLs like so many routers.
    pub routers: u8,
}

impl Default for Link {
    fn default() -> Link {
        Link { delay_ms: 5.0, mtu: 1500, icmp: true, clears_df: false, clamp_mss: None, routers: 1 }
    }
}

/// The hop translates addresses.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Nat {
    pub address: IpAddr,
    /// Seconds without a datagram after which a UDP mapping is forgotten; 0 = never.
    #[serde(default)]
    pub forgets_after: f64,
    /// Datagrams of a forgotten mapping are dropped until the client takes another port.
    #[serde(default)]
    pub stubborn: bool,
}

/// What the hop does to packets.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// `udp`, `tcp`, `icmp`, `fragments` or `all`.
    pub what: String,
    /// `out` (from the client) or `back`; both when left out.
    #[serde(default)]
    pub way: Option<String>,
    #[serde(default)]
    pub port: Option<u16>,
    /// Only to and from that host.
    #[serde(default)]
    pub host: Option<IpAddr>,
    #[serde(default)]
    pub from: f64,
    #[serde(default = "for_ever")]
    pub until: f64,
    /// Only IP packets longer than this.
    #[serde(default)]
    pub above: u32,
    /// Only UDP whose payload begins with that byte (23: DTLS application data).
    #[serde(default)]
    pub begins: Option<u8>,
    /// Only every so manieth.
    #[serde(default)]
    pub every: u32,
    /// Only what exceeds this many packets in a second.
    #[serde(default)]
    pub above_rate: u32,
    /// Refuses with this ICMP code (destination unreachable) instead of dropping.
    #[serde(default)]
    pub refuse: Option<u8>,
    /// Delays by milliseconds instead of dropping.
    #[serde(default)]
    pub delay_ms: f64,
}

fn for_ever() -> f64 {
    f64::MAX
}

/// How one place is captured.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Capture {
    /// Name of the interface; that of the place when left out.
    #[serde(default)]
    pub name: Option<String>,
    /// Capture filter, as the file tells it; applied.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// Only packets this way: `out` or `back`; of one protocol only: `udp out`.
    #[serde(default)]
    pub only: Option<String>,
    /// TCP segments without data are left out, as by the display filter `tls || dtls`.
    #[serde(default)]
    pub only_data: bool,
    #[serde(default)]
    pub snap: Option<usize>,
    /// Frames the capture says it dropped (and does drop, every tenth).
    #[serde(default)]
    pub dropped: u64,
    /// Loses every so manieth frame without saying so.
    #[serde(default)]
    pub loses: usize,
    /// Loses all frames between these seconds without saying so.
    #[serde(default)]
    pub gap: Option<(f64, f64)>,
    /// Clock ahead of true time, seconds.
    #[serde(default)]
    pub clock: f64,
    /// At the first of these seconds the clock steps back by the second.
    #[serde(default)]
    pub steps_back: Option<(f64, f64)>,
    /// TCP segments are captured as offload makes them.
    #[serde(default)]
    pub offload: bool,
}

/// A capture filter.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Filter {
    pub text: String,
    /// Protocols it lets pass: tcp, udp, icmp.
    pub passes: Vec<String>,
}

/// Something done at a moment.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Action {
    pub at: f64,
    /// The client downloads so many bytes from the server behind the gateway.
    #[serde(default)]
    pub get: Option<usize>,
    /// And uploads.
    #[serde(default)]
    pub put: Option<usize>,
    /// The server sends a UDP datagram of that IP length.
    #[serde(default)]
    pub server_udp: Option<u16>,
    /// The client sends one datagram of that IP length, `times` times in a second; the server answers each with 100 bytes.
    #[serde(default)]
    pub client_udp: Option<u16>,
    #[serde(default)]
    pub times: Option<u32>,
    /// The client's browser tries QUIC to that host.
    #[serde(default)]
    pub quic: Option<SocketAddr>,
    /// Which answers.
    #[serde(default)]
    pub answered: bool,
    /// The client's machine sleeps so many seconds.
    #[serde(default)]
    pub sleep: Option<f64>,
    /// The client gets another address.
    #[serde(default)]
    pub roam: Option<IpAddr>,
    /// The NAT forgets its UDP mappings.
    #[serde(default)]
    pub rebind: bool,
    /// A middlebox resets the tunnel in both ends' names.
    #[serde(default)]
    pub reset: bool,
    /// The gateway resets the tunnel itself.
    #[serde(default)]
    pub gateway_reset: bool,
    /// The client opens a new tunnel beside the old one and closes that.
    #[serde(default)]
    pub optimise: bool,
    /// The client reconnects.
    #[serde(default)]
    pub reconnect: bool,
    /// With this adapter MTU and gateway MTUs from now on.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// The client moves to another gateway.
    #[serde(default)]
    pub hop_to: Option<IpAddr>,
    /// A rekey of TLS, or of DTLS, begins; `answered` says whether the gateway takes part.
    #[serde(default)]
    pub rekey: Option<String>,
    /// The client ends the session.
    #[serde(default)]
    pub bye: bool,
    /// The client gives DTLS up without a word, as when its link was down.
    #[serde(default)]
    pub drops_dtls: bool,
    /// The gateway closes DTLS with an encrypted alert.
    #[serde(default)]
    pub closes_dtls: bool,
    /// The gateway ends the tunnel connection.
    #[serde(default)]
    pub gateway_closes: bool,
    /// Its service dies: the tunnel connection ends without a last word, and for so many seconds nobody listens.
    #[serde(default)]
    pub gateway_dies: Option<f64>,
    /// An IKEv2/ESP exchange with that host.
    #[serde(default)]
    pub ipsec: Option<IpAddr>,
    /// The client opens the SYN's window no more: 0 from now on, for so many seconds.
    #[serde(default)]
    pub full: Option<f64>,
}
