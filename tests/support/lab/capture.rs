//! What a place captured, and the pcapng file of it.

use super::scenario::Scenario;
use super::{SECOND, Time};

/// When the laboratory's clock starts: 2026-03-01 10:00:00 UTC.
const EPOCH: Time = 1_772_359_200 * SECOND;

/// The frames one place saw.
#[derive(Clone, Debug)]
pub struct Tap {
    pub name: &'static str,
    interface: String,
    frames: Vec<(Time, Vec<u8>, usize)>,
    filter: Option<String>,
    snap: usize,
    dropped: u64,
}

impl Tap {
    pub(super) fn new(name: &'static str) -> Tap {
        Tap { name, interface: name.to_owned(), frames: Vec::new(), filter: None, snap: 0, dropped: 0 }
    }

    /// Sees an IP packet.
    pub(super) fn see(&mut self, at: Time, packet: &[u8], running: bool) {
        if running {
            let frame = if self.is_raw() { packet.to_vec() } else { ethernet(packet) };
            let len = frame.len();
            self.frames.push((at, frame, len));
        }
    }

    /// Every frame captured twice, as by a port that mirrors both ends of a link.
    pub fn mirrored(&self) -> Tap {
        /// From a frame to its copy, nanoseconds.
        const LATER: Time = 2_000;
        let twice =
            |(at, frame, len): &(Time, Vec<u8>, usize)| [0, LATER].map(|later| (at + later, frame.clone(), *len));
        Tap { frames: self.frames.iter().flat_map(twice).collect(), ..self.clone() }
    }

    /// What this place saw of several users.
    pub fn of_all(users: impl IntoIterator<Item = Tap>) -> Option<Tap> {
        let all = users.into_iter().reduce(|mut all, user| {
            all.frames.extend(user.frames);
            all
        });
        all.map(|mut all| {
            all.frames.sort_by_key(|(at, ..)| *at);
            all
        })
    }

    fn is_raw(&self) -> bool {
        self.name == "virtual-adapter"
    }

    /// Applies how the place was captured.
    pub(super) fn finish(mut self, scenario: &Scenario) -> Tap {
        let how = scenario.capture.get(self.name).cloned().unwrap_or_default();
        let skip = if self.is_raw() { 0 } else { 14 };
        let protocol = |frame: &[u8]| match frame[skip] >> 4 {
            4 => frame[skip + 9],
            _ => frame[skip + 6],
        };
        let name = |frame: &[u8]| match protocol(frame) {
            6 => "tcp",
            17 => "udp",
            _ => "icmp",
        };
        self.frames.sort_by_key(|(at, ..)| *at);
        if let Some(filter) = &how.filter {
            // a later fragment carries no ports
            let is_later = |frame: &[u8]| frame[skip] >> 4 == 4 && (frame[skip + 6] & 0x1f, frame[skip + 7]) != (0, 0);
            let is_kept_out = |frame: &[u8]| filter.text.contains("port") && is_later(frame);
            let passes = |frame: &[u8]| filter.passes.iter().any(|p| p == name(frame)) && !is_kept_out(frame);
            self.frames.retain(|(_, frame, _)| passes(frame));
            self.filter = Some(filter.text.clone());
        }
        if let Some(way) = &how.only {
            let gateway = match scenario.gateway.address {
                std::net::IpAddr::V4(a) => a.octets().to_vec(),
                std::net::IpAddr::V6(a) => a.octets().to_vec(),
            };
            let goes_out = |frame: &[u8]| match frame[skip] >> 4 {
                4 => frame[skip + 16..skip + 20] == gateway[..],
                _ => frame[skip + 24..skip + 40] == gateway[..],
            };
            let (what, way) = way.split_once(' ').map_or((None, way.as_str()), |(what, way)| (Some(what), way));
            let is_meant = |frame: &[u8]| what.is_none_or(|what| what == name(frame));
            self.frames.retain(|(_, frame, _)| !is_meant(frame) || goes_out(frame) == (way == "out"));
        }
        if how.only_data {
            let header = |frame: &[u8]| match frame[skip] >> 4 {
                4 => skip + 4 * usize::from(frame[skip] & 0xf),
                _ => skip + 40,
            };
            let has_data = |frame: &[u8]| frame.len() > header(frame) + 4 * usize::from(frame[header(frame) + 12] >> 4);
            self.frames.retain(|(_, frame, _)| name(frame) == "udp" || name(frame) == "tcp" && has_data(frame));
        }
        if how.dropped > 0 {
            let mut n = 0;
            self.frames.retain(|_| {
                n += 1;
                n % 10 != 0
            });
            self.dropped = how.dropped;
        }
        if how.loses > 0 {
            let mut n = 0;
            self.frames.retain(|_| {
                n += 1;
                n % how.loses != 0
            });
        }
        if let Some((from, until)) = how.gap {
            self.frames.retain(|(at, ..)| !(super::seconds(from)..super::seconds(until)).contains(at));
        }
        if how.offload {
            self.frames = offload(std::mem::take(&mut self.frames));
        }
        self.interface = how.name.unwrap_or(self.interface);
        self.snap = how.snap.unwrap_or(0);
        for (at, frame, _) in &mut self.frames {
            if let Some((_, by)) = how.steps_back.filter(|(from, _)| *at >= super::seconds(*from)) {
                *at -= super::seconds(by);
            }
            *at += super::seconds(how.clock);
            if let Some(snap) = how.snap {
                frame.truncate(snap);
            }
        }
        self
    }
}

/// Neighbouring full segments of one connection as one frame, as a host with segmentation offload captures them.
fn offload(frames: Vec<(Time, Vec<u8>, usize)>) -> Vec<(Time, Vec<u8>, usize)> {
    let mut merged: Vec<(Time, Vec<u8>, usize)> = Vec::new();
    let number = |frame: &[u8]| u32::from_be_bytes(frame[38..42].try_into().unwrap());
    let same = |a: &[u8], b: &[u8]| a[26..38] == b[26..38] && a[42..46] == b[42..46];
    for (at, frame, len) in frames {
        let tcp = frame[12] == 8 && frame[23] == 6 && frame[46] == 0x50;
        if tcp
            && frame.len() > 54
            && let Some((then, last, _)) = merged.last_mut()
            && last[12] == 8
            && last[23] == 6
            && last[46] == 0x50
            && last.len() > 54
            && at == *then
            && same(last, &frame)
            && number(last).wrapping_add(last.len() as u32 - 54) == number(&frame)
        {
            last.extend(&frame[54..]);
            let total = (last.len() as u16 - 14).to_be_bytes();
            last[16..18].copy_from_slice(&total);
            last[24..26].fill(0);
            let sum = crate::frames::checksum(&[&last[14..34]]).to_be_bytes();
            last[24..26].copy_from_slice(&sum);
            continue;
        }
        merged.push((at, frame, len));
    }
    merged.into_iter().map(|(at, frame, _)| (at, frame.clone(), frame.len())).collect()
}

fn ethernet(packet: &[u8]) -> Vec<u8> {
    let ether_type = if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1], &ether_type[..], packet].concat()
}

/// These places in one file, an interface each, frames in order of time.
pub fn pcapng(taps: &[&Tap]) -> Vec<u8> {
    let section = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    let mut file = block(0x0a0d_0d0a, &section);
    for tap in taps {
        let link: u16 = if tap.is_raw() { 101 } else { 1 };
        let mut body = [&link.to_le_bytes()[..], &[0, 0], &(tap.snap as u32).to_le_bytes()].concat();
        body.extend(option(2, tap.interface.as_bytes()));
        body.extend(option(9, &[9]));
        if let Some(filter) = &tap.filter {
            body.extend(option(11, &[&[0], filter.as_bytes()].concat()));
        }
        body.extend([0; 4]);
        file.extend(block(1, &body));
    }
    // A place's frames stay in the order in which it saw them, whatever its clock says.
    let mut frames: Vec<(Time, usize, Time, &[u8], usize)> = Vec::new();
    for (i, tap) in taps.iter().enumerate() {
        let mut latest = Time::MIN;
        frames.extend(tap.frames.iter().map(|(at, frame, len)| {
            latest = latest.max(*at);
            (latest, i, *at, frame.as_slice(), *len)
        }));
    }
    frames.sort_by_key(|(latest, i, ..)| (*latest, *i));
    let last = frames.last().map_or(0, |f| f.0) + EPOCH;
    for (_, interface, at, frame, len) in frames {
        let at = (at + EPOCH) as u64;
        let fields = [interface as u32, (at >> 32) as u32, at as u32, frame.len() as u32, len as u32];
        file.extend(block(6, &[&fields.map(u32::to_le_bytes).concat(), frame].concat()));
    }
    for (i, tap) in taps.iter().enumerate().filter(|(_, tap)| tap.dropped > 0) {
        let at = last as u64;
        let mut body = [i as u32, (at >> 32) as u32, at as u32].map(u32::to_le_bytes).concat();
        body.extend(option(5, &tap.dropped.to_le_bytes()));
        body.extend([0; 4]);
        file.extend(block(5, &body));
    }
    file
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
    [&code.to_le_bytes()[..], &(value.len() as u16).to_le_bytes(), value, &padding].concat()
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let len = ((12 + body.len() + padding.len()) as u32).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &padding, &len].concat()
}
