//! The conductor: sources in, report out. One dissector and one tracker per capture or rotated set.

mod budget;
mod telling;

pub use telling::Sessions;

use crate::capture::reader::{self, Reader};
use crate::capture::vantage::Vantage;
use crate::capture::{Frame, Item, LinkType, ReadAhead, Timestamp};
use crate::decrypt::{Keyring, Lines};
use crate::dissect::{self, Dissector};
use crate::error::Error;
use crate::event::{Event, FlowId, FrameRef, Opened, PointId, Protocol, What};
use crate::finding::{are, count, were};
use crate::maps::HashMap;
use crate::packet::Undecoded;
use crate::report::build::rfc3339;
use crate::report::{self, Capture, Decryption, Loss, Report};
use crate::session::facts::{IcmpFacts, View};
use crate::session::limits::Told;
use crate::session::tracker::{self, Facts, Tracker};
use crate::session::{self, Point};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::ControlFlow;

/// One capture to read.
pub struct Source {
    /// As the user named it; `-` for standard input.
    pub path: String,
    /// Where it stood, when told.
    pub vantage: Option<Vantage>,
    /// Its bytes, compressed or not.
    pub input: Box<dyn Read + Send>,
    /// It goes on where the source before it ended: the next file of a rotated set.
    pub continues: bool,
}

/// What a run may be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Inner MTU of the TLS tunnel, bytes.
    pub tls_mtu: Option<u32>,
    /// Inner MTU of the DTLS tunnel, bytes.
    pub dtls_mtu: Option<u32>,
    /// Sessions reported. Further ones are counted and left out.
    pub max_sessions: Option<usize>,
    /// Sessions told in the report one by one, some 15 KiB each, those with the worst findings; the others are only summed up. All, if
    /// not told.
    pub max_told: Option<usize>,
    /// All sessions are told, one after the other: [`Outcome::sessions`].
    pub tells_all: bool,
    /// Caps of the file reader.
    pub reader: reader::Limits,
    /// How compressed captures are read ahead, if they are.
    pub read_ahead: Option<ReadAhead>,
    /// Caps of flows, fragments and reassembly.
    pub dissect: dissect::Limits,
    /// Caps of what is remembered.
    pub tracker: tracker::Limits,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// Index of the source being read.
    pub source: usize,
    /// Bytes of it read so far, decompressed.
    pub bytes: u64,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was found.
    pub report: Report,
    /// All sessions: a list that can be told, not one that is.
    pub sessions: Sessions,
    /// Sources that could not be read (to the end).
    pub errors: Vec<Error>,
    /// A capture brought secrets behind frames they may open: a second run with the same keyring opens more.
    pub late_secrets: bool,
}

/// Secrets of the TLS key log kind in a Decryption Secrets Block (pcapng §4.7).
const TLS_KEY_LOG: u32 = 0x544c_534b;

/// Sessions reported unless told otherwise.
const MAX_SESSIONS: usize = 200_000;
/// Quiet stretches kept per point.
const MAX_QUIET: usize = 64;
/// Capture points of a run, one for each interface of each capture: what [`PointId::inside`] leaves room for.
const MAX_POINTS: usize = 1 << 15;
/// Frames between two ticks.
const TICK: u64 = 8192;

/// Reads every source and reports. A `Break` from `tick` stops reading; what was found by then is reported all the same.
/// `tick` is also asked before each further source, and when a read fails: a source may fail in order to stop.
pub fn analyze(
    sources: impl Iterator<Item = Result<Source, Error>>,
    options: &Options,
    tick: &mut dyn FnMut(Tick) -> ControlFlow<()>,
) -> Outcome {
    analyze_with_keys(sources, options, &mut Keyring::new(), tick)
}

/// The same with secrets: what they open is read too. Secrets that the captures bring along, or that are found inside the
/// tunnels, are added to the keyring.
pub fn analyze_with_keys(
    sources: impl Iterator<Item = Result<Source, Error>>,
    options: &Options,
    keyring: &mut Keyring,
    tick: &mut dyn FnMut(Tick) -> ControlFlow<()>,
) -> Outcome {
    run(sources, options, keyring, None, tick)
}

/// A capture, or a rotated set of them, being read.
struct Set {
    dissector: Dissector,
    tracker: Tracker,
    /// Index of its first point.
    first_point: usize,
    number: u16,
}

/// An IP packet taken out of a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct InnerPacket<'a> {
    /// When the frame that carried it was captured.
    pub at: Timestamp,
    /// That frame.
    pub frame: FrameRef,
    /// The tunnel connection: the capture (or rotated set), and its flow there.
    pub tunnel: (u16, FlowId),
    /// How that connection began, when it is remembered.
    pub carrier: Option<&'a Opened>,
    /// Its bytes, from the IP header on.
    pub data: &'a [u8],
}

impl InnerPacket<'_> {
    /// The tunnel as Wireshark numbers it: `tcp.stream 1`.
    pub fn tunnel_name(&self) -> String {
        match self.carrier {
            Some(Opened { protocol: Protocol::Tcp, stream, .. }) => format!("tcp.stream {stream}"),
            Some(Opened { stream, .. }) => format!("udp.stream {stream}"),
            None => "tunnel".to_owned(),
        }
    }

    /// What kind of tunnel it is and between whom.
    pub fn tunnel_ends(&self) -> String {
        let Some(carrier) = self.carrier else { return String::new() };
        let kind = if carrier.protocol == Protocol::Tcp { "TLS" } else { "DTLS" };
        format!("{kind} tunnel from {} to {}", carrier.endpoints().client, carrier.endpoints().server)
    }
}

/// Takes every IP packet out of the tunnels that the keyring opens, in the order of the frames that carried them, and reports
/// as [`analyze_with_keys`] does.
pub fn decrypt(
    sources: impl Iterator<Item = Result<Source, Error>>,
    options: &Options,
    keyring: &mut Keyring,
    sink: &mut dyn FnMut(InnerPacket<'_>),
    tick: &mut dyn FnMut(Tick) -> ControlFlow<()>,
) -> Outcome {
    run(sources, options, keyring, Some(sink), tick)
}

fn run<'a>(
    sources: impl Iterator<Item = Result<Source, Error>>,
    options: &Options,
    keyring: &'a mut Keyring,
    listener: Option<&'a mut dyn FnMut(InnerPacket<'_>)>,
    tick: &mut dyn FnMut(Tick) -> ControlFlow<()>,
) -> Outcome {
    let mut run = Run {
        options: *options,
        keyring,
        late_secrets: false,
        listener,
        carriers: HashMap::default(),
        report: report::build::empty(),
        errors: Vec::new(),
        points: Vec::new(),
        facts: Vec::new(),
        set: None,
        ether_types: Vec::new(),
        interrupted: false,
    };
    for (index, source) in sources.enumerate() {
        run.interrupted |= index > 0 && tick(Tick { source: index, bytes: 0 }).is_break();
        if run.interrupted {
            break;
        }
        match source {
            Ok(source) => run.read(index, source, tick),
            Err(error) => run.errors.push(error),
        }
    }
    run.finish()
}

struct Run<'a> {
    options: Options,
    keyring: &'a mut Keyring,
    late_secrets: bool,
    /// Who wants the packets inside the tunnels.
    listener: Option<&'a mut dyn FnMut(InnerPacket<'_>)>,
    /// How flows began, for the listener: as many as the tracker remembers.
    carriers: HashMap<(u16, FlowId), Opened>,
    report: Report,
    errors: Vec<Error>,
    points: Vec<Point>,
    facts: Vec<Facts>,
    set: Option<Set>,
    /// EtherTypes that were not understood: in which set, which, how many frames.
    ether_types: Vec<(u16, u16, u64)>,
    interrupted: bool,
}

impl Run<'_> {
    fn read(&mut self, index: usize, source: Source, tick: &mut dyn FnMut(Tick) -> ControlFlow<()>) {
        let Options { reader: limits, read_ahead, .. } = self.options;
        let mut reader = match Reader::ahead(&source.path, source.input, limits, read_ahead) {
            Ok(reader) => reader,
            Err(error) => {
                self.fail(error, tick(Tick { source: index, bytes: 0 }));
                return;
            }
        };
        let capture = self.report.captures.len() as u16;
        if source.continues
            && let Some(set) = &mut self.set
        {
            set.dissector.start_file();
        } else {
            self.close_set();
        }
        let mut set = self.set.take().unwrap_or_else(|| Set {
            dissector: Dissector::new(self.options.dissect),
            tracker: Tracker::new(self.options.tracker),
            first_point: self.points.len(),
            number: capture,
        });
        let mut span: Option<(Timestamp, Timestamp)> = None;
        let (mut frames, mut cut, mut backwards, mut nowhere) = (0_u64, 0_u64, 0_u64, 0_u64);
        loop {
            let Run { points, keyring, late_secrets, listener, carriers, report, .. } = self;
            let Set { dissector, tracker, first_point, number } = &mut set;
            let (set_number, most_carriers) = (*number, self.options.tracker.max_flows);
            let result = reader.for_each(|item| {
                let frame = match &item {
                    Item::Frame(frame) => frame,
                    Item::Secrets(TLS_KEY_LOG, secrets) => {
                        let lines = keyring.add_key_log(secrets);
                        *late_secrets |= frames > 0 && lines.secrets > 0;
                        key_log_losses(report, Some(capture), "the secrets block", &lines);
                        return ControlFlow::Continue(());
                    }
                    Item::Secrets(..) => return ControlFlow::Continue(()),
                };
                frames += 1;
                if *first_point + frame.interface as usize >= MAX_POINTS {
                    nowhere += 1;
                    return if frames.is_multiple_of(TICK) {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    };
                }
                backwards += u64::from(span.is_some_and(|(_, last)| last.nanos_since(frame.at) > session::STEP));
                widen(&mut span, frame.at);
                let is_cut = (frame.data.len() as u64) < u64::from(frame.original_len);
                cut += u64::from(is_cut);
                let id = point(points, *first_point, capture, frame, is_cut);
                dissector.push(frame, capture, id, keyring, &mut |event: &Event<'_>| {
                    if let Some(listener) = listener {
                        match &event.what {
                            What::Opened(flow, opened) if carriers.len() < most_carriers => {
                                carriers.insert((set_number, *flow), (*opened).clone());
                            }
                            What::Inner(flow, _, data) => listener(InnerPacket {
                                at: event.at,
                                frame: event.frame,
                                tunnel: (set_number, *flow),
                                carrier: carriers.get(&(set_number, *flow)),
                                data,
                            }),
                            _ => {}
                        }
                    }
                    tracker.observe(event);
                });
                if frames.is_multiple_of(TICK) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if let Err(error) = result {
                self.fail(error, tick(Tick { source: index, bytes: reader.bytes() }));
                break;
            }
            if reader.is_finished() {
                break;
            }
            if tick(Tick { source: index, bytes: reader.bytes() }).is_break() {
                self.interrupted = true;
                break;
            }
        }
        self.describe(&reader, &source.path, source.vantage, set.first_point, capture, set.number);
        let damage = reader
            .damage()
            .map(|d| format!("{}: {} at offset {}, after frame {}", source.path, d.reason, d.offset, d.frame));
        self.report.captures.push(Capture {
            path: source.path.clone(),
            format: reader.format(),
            frames,
            bytes: reader.bytes(),
            first: span.map(|(first, _)| rfc3339(first)),
            last: span.map(|(_, last)| rfc3339(last)),
            seconds: span.map_or(0.0, |(first, last)| last.seconds_since(first)),
            interfaces: Vec::new(),
            truncated: damage.is_some(),
            damage: damage.clone(),
            clock_offset_seconds: None,
        });
        self.capture_losses(&reader, capture, damage, (frames, span), cut, backwards);
        if nowhere > 0 {
            let text = format!("{} left out because of the cap on capture points", were(nowhere, "frame"));
            let capture = Some(capture);
            self.report.losses.push(Loss { kind: "point-cap".to_owned(), capture, count: nowhere, text, limit: true });
        }
        self.set = Some(set);
    }

    /// A read failed: because somebody wanted to stop, or by itself.
    fn fail(&mut self, error: Error, told: ControlFlow<()>) {
        if told.is_break() {
            self.interrupted = true;
        } else {
            self.errors.push(error);
        }
    }

    /// Fills in what the file says about its interfaces, now that all of it is read.
    fn describe(
        &mut self,
        reader: &Reader,
        path: &str,
        told: Option<Vantage>,
        first_point: usize,
        capture: u16,
        set: u16,
    ) {
        for (index, interface) in reader.interfaces().iter().enumerate() {
            let place = first_point + index;
            if place >= MAX_POINTS {
                break;
            }
            while self.points.len() <= place {
                let id = PointId(self.points.len() as u16);
                self.points.push(Point::unknown(id, capture, interface.link));
            }
            let Some(point) = self.points.get_mut(place) else { continue };
            if point.interface.name.is_none() {
                point.interface = interface.clone();
            }
            point.set = set;
            point.tells_filter = reader.format().ends_with("pcapng");
            point.name = interface.name.clone().unwrap_or_else(|| stem(path));
            if let Some(vantage) = told {
                point.vantage = Some(vantage);
                point.vantage_basis = "told".to_owned();
            }
        }
    }

    fn capture_losses(
        &mut self,
        reader: &Reader,
        capture: u16,
        damage: Option<String>,
        (frames, span): (u64, Option<(Timestamp, Timestamp)>),
        cut: u64,
        backwards: u64,
    ) {
        let mut lose = |kind: &str, count: u64, text: String| {
            if count > 0 {
                self.report.losses.push(Loss {
                    kind: kind.to_owned(),
                    capture: Some(capture),
                    count,
                    text,
                    limit: false,
                });
            }
        };
        if let Some(damage) = damage {
            lose("damaged", 1, format!("{damage}; what came before it was read"));
        }
        let timeless = frames > 1 && span.is_some_and(|(first, last)| first == last);
        lose(
            "no-times",
            u64::from(timeless),
            "all frames carry the same time: nothing that needs a clock can be told".to_owned(),
        );
        lose(
            "cut-frames",
            cut,
            format!("{} cut by the snap length; lengths are still true, contents may be missing", are(cut, "frame")),
        );
        lose("backwards", backwards, format!("{} earlier than the one before", are(backwards, "frame")));
        let dropped: u64 = reader.interfaces().iter().filter_map(|i| i.dropped).sum();
        lose(
            "dropped-by-capture",
            dropped,
            format!("the capturing side dropped {}: what is absent may be among them", count(dropped, "frame")),
        );
        lose(
            "skipped-blocks",
            reader.skipped_blocks(),
            format!("{} skipped, of unknown type", were(reader.skipped_blocks(), "block")),
        );
    }

    fn close_set(&mut self) {
        let Some(mut set) = self.set.take() else { return };
        let tracker = &mut set.tracker;
        for (id, protocols) in set.dissector.protocols() {
            if let Some(point) = self.points.get_mut(usize::from(id.0)) {
                point.saw_icmp |= protocols.icmp;
                point.saw_udp |= protocols.udp;
                point.saw_fragments |= protocols.fragments;
                point.saw_bare_tcp |= protocols.bare_tcp;
                point.saw_beyond_tcp |= protocols.beyond_tcp;
                point.saw_portless |= protocols.portless;
                point.common_ends.keep(protocols.ends);
            }
        }
        let losses = set.dissector.finish(&mut |event: &Event<'_>| tracker.observe(event));
        let mut facts = set.tracker.finish();
        self.place_inside(&mut facts);
        self.set_losses(set.number, &losses, &facts);
        self.facts.push(facts);
    }

    /// Gives the points inside decrypted tunnels places behind all others.
    fn place_inside(&mut self, facts: &mut Facts) {
        if self.keyring.is_empty() {
            return;
        }
        let mut places: BTreeMap<PointId, PointId> = BTreeMap::new();
        let points = &mut self.points;
        let mut settle = |id: &mut PointId| {
            if !id.is_inside() {
                return;
            }
            let outer = id.outer();
            *id = *places.entry(outer).or_insert_with(|| {
                let id = PointId(points.len() as u16);
                let inside = points.get(usize::from(outer.0)).map(|point| point.inside(id));
                points.extend(inside);
                id
            });
        };
        facts.flows.iter_mut().for_each(|flow| settle(&mut flow.point));
        facts.icmp.iter_mut().for_each(|icmp| settle(&mut icmp.point));
    }

    fn set_losses(&mut self, capture: u16, losses: &dissect::Losses, facts: &Facts) {
        let mut lose = |kind: &str, count: u64, limit: bool, text: String| {
            if count > 0 {
                self.report.losses.push(Loss { kind: kind.to_owned(), capture: Some(capture), count, text, limit });
            }
        };
        for (reason, count) in &losses.undecoded {
            let text = match reason {
                Undecoded::NotIp => continue,
                Undecoded::EtherType(ether_type) => {
                    self.ether_types.push((capture, *ether_type, *count));
                    continue;
                }
                Undecoded::LinkType(link) => {
                    format!("{} of link type {link}, which is not supported", are(*count, "frame"))
                }
                Undecoded::Cut => format!("{} cut inside the headers", are(*count, "frame")),
                Undecoded::Malformed => {
                    format!("{} not understood: the headers contradict themselves", are(*count, "frame"))
                }
                Undecoded::TooDeep => format!("{} not read: tunnels are nested too deep", were(*count, "frame")),
            };
            lose("undecoded", *count, false, text);
        }
        let f = losses.fragments;
        lose(
            "fragments",
            f.evicted,
            true,
            format!("{} given up because of the cap", were(f.evicted, "fragmented datagram")),
        );
        lose(
            "fragments",
            f.incomplete + f.cut,
            false,
            format!("{} never became complete", count(f.incomplete + f.cut, "fragmented datagram")),
        );
        lose(
            "flow-cap",
            losses.evicted_flows,
            true,
            format!("{} forgotten early because of the cap on flows", were(losses.evicted_flows, "flow")),
        );
        lose(
            "flow-cap",
            facts.flows_left_out,
            true,
            format!("{} left out because of the cap on remembered flows", were(facts.flows_left_out, "flow")),
        );
        lose(
            "handshake-cap",
            losses.handshakes_dropped,
            true,
            format!(
                "{} given up because of the cap on their fragments",
                were(losses.handshakes_dropped, "DTLS handshake message")
            ),
        );
        lose(
            "offload",
            losses.super_frames,
            false,
            format!(
                "{} put together by offload on the capturing host; such a size was never on the wire",
                were(losses.super_frames, "packet")
            ),
        );
        lose(
            "icmp-cap",
            facts.icmp_left_out,
            true,
            format!("{} left out because of the cap on them", were(facts.icmp_left_out, "ICMP error")),
        );
        lose(
            "refused-cap",
            facts.refused_left_out,
            true,
            format!("{} left out because of the cap on them", were(facts.refused_left_out, "refused TCP connection")),
        );
        lose(
            "meetings-cap",
            facts.meetings_left_out,
            true,
            format!(
                "{} it was left out beside whose record a large packet was seen, because of their cap: whose session it is may \
                 stay unknown",
                count(facts.meetings_left_out, "time")
            ),
        );
        lose(
            "lost-sync",
            losses.lost_syncs,
            false,
            format!(
                "TLS record boundaries were lost {} where bytes are missing from the capture",
                count(losses.lost_syncs, "time")
            ),
        );
    }

    /// Which EtherTypes hid what a capture could have shown: of a set with a session that is told only when most frames have one.
    fn tell_ether_types(&mut self) {
        /// Named at most.
        const MOST: usize = 3;
        let is_none = self.report.summary.sessions == 0;
        let all = std::mem::take(&mut self.ether_types);
        for of_set in all.chunk_by(|one, other| one.0 == other.0) {
            let Some((set, ..)) = of_set.first().copied() else { continue };
            let frames = self.points.iter().filter(|point| point.set == set).map(|point| point.frames).sum::<u64>();
            let count = of_set.iter().map(|(.., count)| count).sum::<u64>();
            if !is_none && count <= frames / 2 {
                continue;
            }
            let mut named = of_set.to_vec();
            named.sort_by_key(|(_, ether_type, count)| (Reverse(*count), *ether_type));
            let more = if named.len() > MOST { " and others" } else { "" };
            let named: Vec<String> =
                named.iter().take(MOST).map(|(_, ether_type, _)| format!("{ether_type:#06x}")).collect();
            let verb = if count == 1 { "is" } else { "are" };
            let text = format!(
                "{count} of {frames} frames {verb} of EtherType {}{more}, which is not understood here",
                named.join(", ")
            );
            self.report.losses.push(Loss {
                kind: "undecoded".to_owned(),
                capture: Some(set),
                count,
                text,
                limit: false,
            });
        }
    }

    /// What the secrets opened, and which of them do not fit.
    fn tell_decryption(&mut self, flows: &[View]) {
        if self.keyring.is_empty() {
            return;
        }
        let read = || flows.iter().filter_map(|flow| Some((flow, flow.packets()?.unsealed)));
        let [tls_connections, dtls_flows] = self.keyring.opened();
        let told = Decryption {
            secrets: self.keyring.len(),
            tls_connections,
            dtls_flows,
            records_opened: read().map(|(_, unsealed)| unsealed.opened).sum(),
            records_failed: read().map(|(_, unsealed)| unsealed.failed).sum(),
        };
        let mut lose = |kind: &str, count: u64, text: String| {
            if count > 0 {
                self.report.losses.push(Loss { kind: kind.to_owned(), capture: None, count, text, limit: false });
            }
        };
        let misfits: Vec<String> = read()
            .filter(|(_, unsealed)| unsealed.opened == 0)
            .map(|(flow, unsealed)| {
                let kind = if flow.opened.protocol == Protocol::Tcp { "tcp" } else { "udp" };
                format!("{kind}.stream {} ({})", flow.opened.stream, count(unsealed.failed, "record"))
            })
            .collect();
        let shown = misfits.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let more = misfits.len().saturating_sub(5);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!("there are keys for {shown}{more}, and they do not fit: not one record could be opened");
        lose("key-misfit", misfits.len() as u64, text);
        let partly: u64 = read().filter(|(_, unsealed)| unsealed.opened > 0).map(|(_, unsealed)| unsealed.failed).sum();
        let text = format!(
            "{} of connections that were opened could not be: bytes there, or before, are missing",
            count(partly, "record")
        );
        lose("undecrypted", partly, text);
        if told.records_opened == 0 && misfits.is_empty() {
            let text = format!(
                "none of the {} belongs to a connection whose handshake is in the captures",
                count(told.secrets as u64, "key")
            );
            lose("keys-unused", told.secrets as u64, text);
        }
        self.report.decryption = Some(told);
    }

    fn finish(mut self) -> Outcome {
        self.close_set();
        let mut flows: Vec<View> = Vec::new();
        let mut icmp: Vec<IcmpFacts> = Vec::new();
        let mut incomplete = Vec::new();
        let mut refused = Vec::new();
        let mut meetings = Vec::new();
        for facts in std::mem::take(&mut self.facts) {
            gather(&mut flows, facts.flows);
            gather(&mut icmp, facts.icmp);
            gather(&mut incomplete, facts.incomplete);
            gather(&mut refused, facts.refused);
            gather(&mut meetings, facts.meetings);
        }
        self.tell_decryption(&flows);
        let told = Told { tls: self.options.tls_mtu, dtls: self.options.dtls_mtu };
        let session::Assembled { mut sessions, clocks, unclaimed, strays, ike, late, unrecognised } =
            session::assemble(flows, icmp, incomplete, refused, meetings, &mut self.points);
        let left_out = sessions.len().saturating_sub(self.options.max_sessions.unwrap_or(MAX_SESSIONS));
        sessions.truncate(sessions.len() - left_out);
        for clock in clocks {
            if let Some(capture) = self.report.captures.get_mut(usize::from(clock.set)) {
                capture.clock_offset_seconds = Some(clock.seconds);
            }
        }
        report::build::interfaces(&mut self.report.captures, &self.points);
        self.report.losses.extend(report::build::merged(&self.points));
        let mut sessions = Sessions::new(sessions, &self.points, told);
        sessions.report(&mut self.report, &self.options);
        self.report.losses.extend(report::build::ipsec(&ike));
        self.report.losses.extend(report::build::late_dtls(&late));
        if self.report.summary.sessions > 0 {
            self.report.losses.extend(report::build::strays(&strays));
        } else {
            self.report.losses.extend(report::build::unrecognised(&unrecognised));
        }
        self.tell_ether_types();
        for hint in unclaimed {
            report::build::label_hint(&mut self.report, hint, &self.points);
        }
        if left_out > 0 {
            let text = format!("{} left out because of the cap on sessions", were(left_out as u64, "session"));
            let count = left_out as u64;
            self.report.losses.push(Loss { kind: "session-cap".to_owned(), capture: None, count, text, limit: true });
        }
        for error in &self.errors {
            let text = error.to_string();
            let loss = Loss { kind: "unreadable".to_owned(), capture: None, count: 1, text, limit: false };
            self.report.losses.push(loss);
        }
        if self.interrupted {
            let text = "reading was interrupted; this is what was found so far".to_owned();
            self.report.losses.push(Loss {
                kind: "interrupted".to_owned(),
                capture: None,
                count: 1,
                text,
                limit: false,
            });
        }
        let whole = |c: &Capture| !c.truncated;
        let no_limit = !self.report.losses.iter().any(|l| l.limit);
        self.report.complete =
            !self.interrupted && self.errors.is_empty() && no_limit && self.report.captures.iter().all(whole);
        Outcome { report: self.report, sessions, errors: self.errors, late_secrets: self.late_secrets }
    }
}

/// Adds a list to others; the first, often the only one, is not copied.
fn gather<T>(all: &mut Vec<T>, more: Vec<T>) {
    if all.is_empty() { *all = more } else { all.extend(more) }
}

/// What is wrong with a key log, without a word of it.
pub fn key_log_losses(report: &mut Report, capture: Option<u16>, name: &str, lines: &Lines) {
    let mut lose = |count: u64, limit: bool, text: String| {
        if count > 0 {
            report.losses.push(Loss { kind: "key-log".to_owned(), capture, count, text, limit });
        }
    };
    if let Some((number, why)) = lines.first_malformed {
        let text = match lines.malformed {
            1 => format!("line {number} of {name} is no key log line: {why}"),
            many => format!("{many} lines of {name} are no key log lines; the first is line {number}: {why}"),
        };
        lose(lines.malformed, false, text);
    }
    if lines.secrets + lines.left_out == 0 {
        lose(1, false, format!("{name} holds no key"));
    }
    let left_out = count(lines.left_out, "line");
    lose(lines.left_out, true, format!("{left_out} of {name} left out because of the cap on secrets"));
}

/// Takes a moment into a stretch of time; the latest before it, and it, if it comes after that.
#[inline]
fn widen(span: &mut Option<(Timestamp, Timestamp)>, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let Some((first, last)) = span else {
        *span = Some((at, at));
        return None;
    };
    if at <= *last {
        *first = (*first).min(at);
        return None;
    }
    Some((std::mem::replace(last, at), at))
}

/// The point of a frame, made when first seen.
#[inline]
fn point(points: &mut Vec<Point>, first_point: usize, capture: u16, frame: &Frame<'_>, cut: bool) -> PointId {
    let place = first_point + frame.interface as usize;
    if points.len() <= place {
        add_points(points, place, capture, frame.link);
    }
    if let Some(point) = points.get_mut(place) {
        point.frames += 1;
        if cut {
            point.cut += 1;
            point.cut_to = point.cut_to.max(frame.data.len() as u32);
        }
        match widen(&mut point.span, frame.at) {
            Some((before, at)) => {
                if at.seconds_since(before) > session::QUIET && point.quiet.len() < MAX_QUIET {
                    point.quiet.push((before, at));
                }
            }
            None => point.note_earlier(frame.at),
        }
    }
    PointId(place as u16)
}

#[cold]
fn add_points(points: &mut Vec<Point>, upto: usize, capture: u16, link: LinkType) {
    while points.len() <= upto {
        let id = PointId(points.len() as u16);
        points.push(Point::unknown(id, capture, link));
    }
}

/// A file's name without folders and endings.
fn stem(path: &str) -> String {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.split('.').next().filter(|s| !s.is_empty()).unwrap_or(name).to_owned()
}
