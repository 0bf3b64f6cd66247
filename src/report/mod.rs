//! What the reader of a report gets: plain data, serialisable, owned. Renderers compute nothing.
//!
//! The JSON form of [`Report`] is a published contract (`acpcap schema`); fields are only ever added within a major version.

pub mod build;
pub mod comments;
pub mod csv;
mod every;
pub mod html;
pub mod inside;
pub mod json;
pub mod ladder;
pub mod md;
pub mod note;
mod rungs;
pub mod sizes;
pub mod summary;
pub mod terminal;
pub mod text;
pub mod timeline;
mod told;
mod verdict;
pub(crate) mod words;

pub use crate::finding::{Answer, Basis, Confidence, Severity};
pub use every::{Every, List, Piece};
pub use ladder::{Ladder, Rung};
pub use sizes::SizeRun;

use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// Version of the JSON form, semantic: a removed or renamed field raises the major number.
pub const SCHEMA_VERSION: &str = "1.1.0";

/// Everything one run found.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: String,
    /// `acpcap` and its version.
    pub tool: String,
    /// False when a capture was damaged, reading was interrupted or a limit was hit: then read `losses`.
    pub complete: bool,
    /// The captures read, in the order given.
    pub captures: Vec<Capture>,
    /// What all sessions of the run add up to, those in `sessions` and those left out of it.
    pub summary: Summary,
    /// The AnyConnect sessions, in order of start: all of them, or as many as were asked for, those with the worst findings.
    pub sessions: Vec<Session>,
    /// What is wrong in them, root causes first within each session.
    pub findings: Vec<Finding>,
    /// Every detector's answer for each of them.
    pub checks: Vec<Check>,
    /// What could not be seen or kept, and how much.
    pub losses: Vec<Loss>,
    /// What to capture next to settle what this run could not.
    pub next_captures: Vec<NextCapture>,
    /// What the secrets of the run opened; absent without any.
    pub decryption: Option<Decryption>,
}

/// What all sessions of a run add up to.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Summary {
    /// AnyConnect sessions found.
    pub sessions: u64,
    /// Them by the worst severity among their findings.
    pub severities: Severities,
    /// How often each detector gave which answer.
    pub detectors: BTreeMap<String, Answers>,
    /// Why detectors could not tell, in order of appearance; bounded.
    pub cannot_tell: Vec<Reason>,
}

/// Sessions by the worst severity among their findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Severities {
    /// High.
    pub high: u64,
    /// Medium.
    pub medium: u64,
    /// Low.
    pub low: u64,
    /// Notes only.
    pub info: u64,
    /// Without findings.
    pub none: u64,
}

/// How often which answer was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Answers {
    /// Found.
    pub found: u64,
    /// Clear.
    pub clear: u64,
    /// Cannot tell.
    pub cannot_tell: u64,
}

/// Why detectors could not tell.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Reason {
    /// The reason.
    pub reason: String,
    /// The detectors that gave it.
    pub detectors: Vec<String>,
    /// For how many sessions.
    pub sessions: u64,
    /// The first of those sessions.
    pub named: Vec<String>,
    /// The last of them.
    #[serde(skip)]
    last: String,
}

/// One capture file.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Capture {
    /// As the user named it; `-` for standard input.
    pub path: String,
    /// `pcap` or `pcapng`, with the compression in front: `gzip+pcapng`.
    pub format: String,
    /// Frames read.
    pub frames: u64,
    /// Bytes read, after decompression.
    pub bytes: u64,
    /// Time of the earliest frame, RFC 3339 UTC; absent without frames.
    pub first: Option<String>,
    /// Time of the latest frame, RFC 3339 UTC.
    pub last: Option<String>,
    /// Seconds between them.
    pub seconds: f64,
    /// The interfaces that have frames or were declared.
    pub interfaces: Vec<Interface>,
    /// The file ends in the middle of a block or frame, or is otherwise damaged.
    pub truncated: bool,
    /// How far its clock is ahead of the first capture it shares a connection with, seconds; times in the report are corrected
    /// by it. Absent when they agree or cannot be compared.
    pub clock_offset_seconds: Option<f64>,
    /// How it is damaged: file, offset and reason in one sentence.
    pub damage: Option<String>,
}

/// One capture interface.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Interface {
    /// `if_name`, or `interface N`.
    pub name: String,
    /// Link type, Wireshark's short name.
    pub link_type: String,
    /// `client`, `outside`, `inside`, `virtual-adapter` or `unknown`.
    pub vantage: String,
    /// `told`, or the reason it was inferred, or why it could not be.
    pub vantage_basis: String,
    /// Frames from it.
    pub frames: u64,
    /// Frames the capturing side says it dropped; absent when the file does not say.
    pub dropped: Option<u64>,
}

/// One VPN session as the user lived it: login, tunnels, reconnects.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Session {
    /// `1`, `2`, … in order of start.
    pub id: String,
    /// The client's outer address.
    pub client: String,
    /// The gateway's outer address and port; the inner gateway address when only the inside was captured.
    pub gateway: String,
    /// The client's address as the gateway sees it, where captures at both ends show an address translation.
    pub nat_address: Option<String>,
    /// Host and port of the gateway, as the client named them to the web proxy that `gateway` then is.
    pub proxied_to: Option<String>,
    /// The gateway the same client left just before it came to this one.
    pub came_from: Option<String>,
    /// First packet, RFC 3339 UTC.
    pub start: String,
    /// Last packet.
    pub end: String,
    /// Inner addresses of the client, as far as known.
    pub inner_addresses: Vec<String>,
    /// The worst severity among its findings; absent when there are none.
    pub severity: Option<Severity>,
    /// The story in one to three sentences: verdict first.
    pub verdict: String,
    /// What says that this is AnyConnect, and how sure that is.
    pub identified_by: String,
    /// `high`, `medium` or `low`: confidence in `identified_by` and in what was joined.
    pub confidence: Confidence,
    /// Where joining was ambiguous: what else it could have been.
    pub ambiguities: Vec<String>,
    /// Outer connections of this session.
    pub tunnels: Vec<Tunnel>,
    /// Each CONNECT and its answer, read with keys.
    pub connects: Vec<Connect>,
    /// Attempts to bring DTLS up.
    pub dtls_attempts: Vec<DtlsAttempt>,
    /// What a packet may measure, with who says so.
    pub limits: Vec<Limit>,
    /// What sizes got through and what never did, per channel and direction.
    pub path_mtu: Vec<PathMtu>,
    /// Packets above the limit in force, per vantage.
    pub oversized: Vec<Oversized>,
    /// Fragmentation Needed and Packet Too Big about this session's packets, per vantage.
    pub frag_needed: Vec<FragNeeded>,
    /// Tunnel connections that replaced an earlier one.
    pub reconnects: Vec<Reconnect>,
    /// Packet sizes over time, as runs of equal sizes, at most [`sizes::MAX_RUNS`].
    pub sizes: Vec<SizeRun>,
    /// The handshakes the findings tell of, or the one that worked, rung by rung.
    pub ladders: Vec<Ladder>,
    /// What happened, in time order, bounded.
    pub timeline: Vec<TimelineEntry>,
    /// Events left out of `timeline` because of its bound.
    pub timeline_dropped: u64,
}

/// One outer connection as seen at one vantage.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Tunnel {
    /// `tls` or `dtls`.
    pub kind: String,
    /// `parent` (login only), `tunnel` (carries data), `parent+tunnel`, `unused` (opened, never spoke TLS), `dtls`.
    pub role: String,
    /// Client address.
    pub src: String,
    /// Client port.
    pub sport: u16,
    /// Gateway address.
    pub dst: String,
    /// Gateway port.
    pub dport: u16,
    /// `tcp.stream` or `udp.stream` in the capture of `first_frame`.
    pub stream: u32,
    /// Index into `captures`.
    pub capture: u16,
    /// Vantage it was seen from.
    pub vantage: String,
    /// `TLS 1.2`, `DTLS 1.2`, `DTLS 1.0`, `DTLS 0.9 (0x0100)`; absent when the handshake was not seen.
    pub version: Option<String>,
    /// OpenSSL or IANA name of the suite chosen; absent when not seen.
    pub cipher: Option<String>,
    /// First frame.
    pub first_frame: u32,
    /// Last frame.
    pub last_frame: u32,
    /// Time of the first frame.
    pub start: String,
    /// Time of the last frame.
    pub end: String,
    /// MSS of the SYN and of the SYN-ACK, bytes.
    pub mss: [Option<u16>; 2],
    /// When data flowed through it, as stretches without a pause of more than a second, at most 32.
    pub data: Vec<DataStretch>,
    /// The packets of the tunnel protocol in it, read with keys; absent without.
    pub packets: Option<TunnelPackets>,
}

/// Data records in a tunnel without a pause of more than a second; keepalives and DPD are none.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct DataStretch {
    /// Seconds since the session's start of the first record.
    pub first_seconds: f64,
    /// And of the last.
    pub last_seconds: f64,
    /// Records, each way.
    pub records: ByDirection,
    /// Bytes in them, each way, sealing included.
    pub bytes: ByDirection,
}

/// Packets of the tunnel protocol, read with keys.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct TunnelPackets {
    /// From the client.
    pub to_gateway: PacketCounts,
    /// From the gateway.
    pub to_client: PacketCounts,
    /// Mean round trip of dead peer detection, milliseconds, by who asked: client, gateway.
    pub dpd_round_trip_ms: [Option<f64>; 2],
    /// The first DISCONNECT or TERMINATE, in words.
    pub bye: Option<String>,
    /// Records that were opened.
    pub records_opened: u64,
    /// Records that were not, although there was a key.
    pub records_failed: u64,
    /// How often something else stood where a CSTP packet had to begin.
    pub misframed: u32,
}

/// Packets one way.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct PacketCounts {
    /// How many of each kind: `data`, `dpd-out`, `dpd-resp`, `disconnect`, `keepalive`, `compressed`, `terminate`, `other`.
    #[serde(flatten)]
    pub kinds: BTreeMap<String, u64>,
    /// The largest IP packet in a data packet, bytes.
    pub biggest_data: u16,
}

/// CONNECT and its answer, read with keys.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Connect {
    /// Time of the request, or of the answer when the request was not seen.
    pub at: String,
    /// Index into `captures`.
    pub capture: u16,
    /// Frame of the request, or of the answer.
    pub frame: u32,
    /// `tcp.stream`.
    pub stream: u32,
    /// Status code of the answer; absent when it was not seen.
    pub status: Option<u16>,
    /// X-Reason of the answer.
    pub reason: Option<String>,
    /// User-Agent of the request.
    pub user_agent: Option<String>,
    /// X-CSTP-MTU of the request: the tunnel MTU asked for, bytes.
    pub requested_mtu: Option<u16>,
    /// X-CSTP-Base-MTU of the request: the client's idea of the link, bytes.
    pub client_base_mtu: Option<u16>,
    /// X-CSTP-MTU of the answer, bytes of an inner IP packet.
    pub cstp_mtu: Option<u16>,
    /// X-DTLS-MTU of the answer, bytes of an inner IP packet.
    pub dtls_mtu: Option<u16>,
    /// X-CSTP-Base-MTU of the answer, bytes.
    pub gateway_base_mtu: Option<u16>,
    /// Inner addresses given.
    pub addresses: Vec<String>,
    /// The client offered DTLS suites.
    pub dtls_asked: bool,
    /// The gateway offered DTLS.
    pub dtls_offered: bool,
    /// X-DTLS-Port of the answer.
    pub dtls_port: Option<u16>,
    /// X-DTLS-Session-ID or X-DTLS-App-ID, hexadecimal: what the DTLS ClientHello says in the clear.
    pub dtls_session_id: Option<String>,
    /// X-DTLS-CipherSuite of the answer.
    pub dtls_cipher: Option<String>,
    /// X-DTLS12-CipherSuite of the answer.
    pub dtls12_cipher: Option<String>,
    /// X-CSTP-Content-Encoding of the answer.
    pub encoding: Option<String>,
    /// X-DTLS-Content-Encoding of the answer.
    pub dtls_encoding: Option<String>,
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
    /// X-CSTP-Rekey-Method.
    pub rekey_method: Option<String>,
    /// X-CSTP-Idle-Timeout, seconds.
    pub idle_timeout: Option<u32>,
    /// X-CSTP-Disconnected-Timeout, seconds.
    pub disconnected_timeout: Option<u32>,
    /// X-CSTP-Session-Timeout, seconds.
    pub session_timeout: Option<u32>,
}

/// What the secrets of a run opened.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Decryption {
    /// Secrets and RSA keys there were, those found inside the tunnels included.
    pub secrets: usize,
    /// TLS connections opened.
    pub tls_connections: usize,
    /// DTLS handshakes opened.
    pub dtls_flows: usize,
    /// Records opened, at all capture points together.
    pub records_opened: u64,
    /// Records of connections with a key that it did not open.
    pub records_failed: u64,
}

/// One DTLS handshake attempt (one client random) at one vantage.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct DtlsAttempt {
    /// Client address.
    pub src: String,
    /// Client port.
    pub sport: u16,
    /// Gateway address.
    pub dst: String,
    /// Gateway port.
    pub dport: u16,
    /// `udp.stream` in that capture.
    pub stream: u32,
    /// Index into `captures`.
    pub capture: u16,
    /// Vantage it was seen from.
    pub vantage: String,
    /// Version agreed, or else offered, as text; empty where the snap length cut it off.
    pub version: String,
    /// ClientHello session id in hex (the X-DTLS-Session-ID or X-DTLS-App-ID); empty when none.
    pub session_id: String,
    /// Cipher suite of the ServerHello, or the only one offered.
    pub cipher: Option<String>,
    /// ClientHellos seen, repeats included.
    pub client_hellos: u32,
    /// HelloVerifyRequests seen.
    pub hello_verify_requests: u32,
    /// ServerHellos seen.
    pub server_hellos: u32,
    /// `completed`, `no-reply`, `refused`, `stalled-after-hello-verify`, `stalled-after-server-hello`, `client-did-not-finish`, `finished-lost`, `alert`, `cut-short`, `abandoned` (the client closed the tunnel it belongs to within a second), `not-observable` (an answer would not have shown here).
    pub outcome: String,
    /// The outcome in words with its numbers: ICMP type, code and sender; alert number.
    pub outcome_detail: String,
    /// First frame.
    pub first_frame: u32,
    /// Frames of the ClientHellos, at most 64.
    pub client_hello_frames: Vec<u32>,
    /// When they were sent: seconds since the session's start, ascending, at most 64.
    pub client_hello_seconds: Vec<f64>,
    /// Time of the first ClientHello.
    pub start: String,
    /// Seconds from the first ClientHello to the last.
    pub span_seconds: f64,
    /// Seconds from the first ClientHello to completion, when it completed.
    pub completed_after_seconds: Option<f64>,
}

/// What a packet on a channel may measure.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Limit {
    /// `tls` or `dtls`: inner packet through that tunnel; `outer-tcp`, `outer-udp`: outer IP packet; `inner`: inner packet, channel unknown.
    pub channel: String,
    /// Bytes, IP header included.
    pub bytes: u32,
    /// Who says so: `observed`, `decrypted`, `derived`, `assumed`.
    pub basis: Basis,
    /// Where the number comes from, with its terms.
    pub source: String,
    /// Since when it holds, RFC 3339; absent = from the session's start.
    pub since: Option<String>,
    /// Frames that show it.
    pub frames: Vec<FrameNumber>,
    /// True for the limit the findings are judged by.
    pub in_force: bool,
}

/// The passive path-MTU bracket of one direction of one channel.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct PathMtu {
    /// `outer-tcp`, `outer-udp` or `inner`.
    pub channel: String,
    /// `to-client` or `to-server`.
    pub direction: String,
    /// Largest IP packet that got through, bytes.
    pub largest_passed: Option<u32>,
    /// The frame that shows it.
    pub passed_frame: Option<FrameNumber>,
    /// Smallest IP packet that never got through, bytes.
    pub smallest_stuck: Option<u32>,
    /// Its first frame.
    pub stuck_frame: Option<FrameNumber>,
    /// A link whose MTU the largest that passed would fill, as a hint only.
    pub hint: Option<String>,
}

/// Packets above the limit in force, at one vantage.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Oversized {
    /// Vantage.
    pub vantage: String,
    /// Index into `captures`.
    pub capture: u16,
    /// The limit in bytes they are above.
    pub limit: u32,
    /// `inner`, `outer-tcp` or `outer-udp`.
    pub channel: String,
    /// How many.
    pub packets: u64,
    /// How many each way.
    pub by_direction: ByDirection,
    /// IP length → how many.
    pub sizes: BTreeMap<u32, u64>,
    /// Distinct TCP segments among them.
    pub segments: u64,
    /// Most often one segment was sent.
    pub most_repeats: u64,
    /// Packets above the limit that were acknowledged all the same.
    pub delivered: u64,
    /// They were read with keys, inside the tunnel; `frames` are the frames that carried them.
    pub decrypted: bool,
    /// First frame.
    pub first_frame: u32,
    /// Frames, at most 64.
    pub frames: Vec<u32>,
}

/// Counts each way.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct ByDirection {
    /// Toward the client.
    pub to_client: u64,
    /// Toward the server side: the gateway, or the servers behind it.
    pub to_server: u64,
}

/// Fragmentation Needed or Packet Too Big, at one vantage.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct FragNeeded {
    /// Vantage.
    pub vantage: String,
    /// Index into `captures`.
    pub capture: u16,
    /// How many.
    pub packets: u64,
    /// The next-hop MTUs they carried, bytes, each once, ascending.
    pub next_hop_mtu: Vec<u32>,
    /// Who sent them.
    pub senders: Vec<String>,
    /// First frame.
    pub first_frame: u32,
    /// Frames, at most 64.
    pub frames: Vec<u32>,
}

/// A tunnel connection that replaced an earlier one of the same session.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Reconnect {
    /// When the new connection opened, RFC 3339.
    pub at: String,
    /// Seconds from the end of the old connection to the new one; negative when they overlap.
    pub gap_seconds: f64,
    /// `mtu`, `sleep`, `roaming`, `path-lost`, `tls-lost`, `dpd-unanswered`, `reset`, `link-mtu-changed`, `optimising`, `rekey`, `client-silent`,
    /// `client-closed`, `gateway-closed`, `unknown`.
    pub cause: String,
    /// Seconds from the gateway's last data in the old tunnel, over TLS or DTLS, to the first data in the new one.
    pub without_data_seconds: Option<f64>,
    /// Largest inner packet before and after, bytes, as inner SYNs or full records tell; absent when nothing tells.
    pub mtu: Option<[u32; 2]>,
    /// The cause in words, with its numbers.
    pub detail: String,
    /// Frame of the new connection's first packet.
    pub frame: FrameNumber,
}

/// A frame by file and number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct FrameNumber {
    /// Index into `captures`.
    pub capture: u16,
    /// `frame.number`.
    pub frame: u32,
}

/// One line of a session's story.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct TimelineEntry {
    /// RFC 3339 UTC, nanoseconds.
    pub at: String,
    /// Seconds since the session's start.
    pub seconds: f64,
    /// `frame.number`.
    pub frame: u32,
    /// Index into `captures`.
    pub capture: u16,
    /// Vantage; `virtual-adapter` for what was read with keys inside the tunnel.
    pub vantage: String,
    /// It was read with keys, inside the tunnel.
    pub decrypted: bool,
    /// `tcp.stream 0`, `udp.stream 3` or empty.
    pub stream: String,
    /// A stable word: `connection`, `handshake`, `dtls`, `inner`, `oversized`, `icmp`, `closed`, `reconnect`, …
    pub kind: String,
    /// What happened.
    pub text: String,
    /// How many like events this line stands for (1 = itself).
    pub count: u64,
    /// Time of the last of them, when `count` > 1.
    pub until: Option<String>,
}

/// Something wrong (or worth knowing) in one session.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Finding {
    /// The detector's id.
    pub detector: String,
    /// The session's id.
    pub session: String,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// The evidence that earned this confidence, a clause.
    pub confidence_basis: String,
    /// The likeliest cause, a stable word that `acpcap explain` tells of; absent when none is likelier than another.
    pub likely_cause: Option<String>,
    /// Other explanations, and what rules each out.
    pub ruled_out: Vec<RuledOut>,
    /// One line.
    pub title: String,
    /// What it means for the user, one clause.
    pub headline: String,
    /// One to three sentences with the numbers.
    pub summary: String,
    /// `cause` for the root, `effect` for what follows from it.
    pub rank: String,
    /// The detector id of the finding this one follows from, when it does.
    pub caused_by: Option<String>,
    /// Frames that show it, and absences with their window.
    pub evidence: Vec<Evidence>,
    /// Wireshark display filters that select the evidence, ready to paste.
    pub filters: Vec<String>,
    /// The same filters with what each shows, in which capture, and how many frames.
    pub filter_notes: Vec<Filter>,
    /// What to do, best first, with the trade-off.
    pub remedy: Vec<String>,
}

/// Another explanation that the evidence speaks against.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct RuledOut {
    /// What it could have been.
    pub what: String,
    /// What rules it out.
    pub why: String,
}

/// Frames that show something.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Evidence {
    /// Index into `captures`.
    pub capture: u16,
    /// `frame.number`s, ascending, at most 64; empty for an absence.
    pub frames: Vec<u32>,
    /// What they show.
    pub note: String,
}

/// What a Wireshark display filter is for.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Filter {
    /// The filter.
    pub filter: String,
    /// Index into `captures` it is meant for.
    pub capture: u16,
    /// What it selects.
    pub shows: String,
    /// How many frames it selects in that capture, when we know.
    pub frames: Option<u64>,
}

/// One detector's answer for one session.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Check {
    /// The detector's id.
    pub detector: String,
    /// The session's id.
    pub session: String,
    /// `found`, `clear` or `cannot-tell`.
    pub outcome: Answer,
    /// Why.
    pub reason: String,
}

/// Something not seen or not kept.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Loss {
    /// A stable word: `cut-frames`, `dropped-by-capture`, `undecoded`, `flow-cap`, `fragments`, `damaged`, `interrupted`, …
    pub kind: String,
    /// Index into `captures`; absent when it concerns the run.
    pub capture: Option<u16>,
    /// How many.
    pub count: u64,
    /// What it means for the reader, one sentence.
    pub text: String,
    /// True when a documented limit was hit (exit code 5).
    pub limit: bool,
}

/// A capture worth taking next.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct NextCapture {
    /// `client`, `outside`, `inside` or `virtual-adapter`.
    pub vantage: String,
    /// The session it is for, by id; empty when it is for the whole capture.
    pub session: String,
    /// What it would settle.
    pub why: String,
    /// The exact command.
    pub command: String,
}
