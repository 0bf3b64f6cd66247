//! tshark as the oracle: stream numbers, display filters and counts are what Wireshark shows.
//!
//! Reads every capture under `captures/` and under the directory `ACPCAP_ORACLE_DIR` names, and some made here for
//! the numbering rules. Without tshark on the path only the made ones are checked, against what tshark 4.0 said.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot set itself up has failed"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use acpcap::capture::reader::{self, Reader};
use acpcap::capture::{Frame, Item};
use acpcap::flow::table::{self, Table};
use acpcap::packet::{self, Decoder, Transport};
use serde_json::Value;

#[path = "support/frames.rs"]
mod frames;

use frames::{ACK, Capture, RST, SYN};

/// Differences shown of one file.
const SHOWN: usize = 8;

/// The streams of one frame, outermost first; `None` where a packet has a stream we cannot name.
#[derive(Clone, Debug, Default, PartialEq)]
struct Streams {
    tcp: Vec<Option<u32>>,
    udp: Vec<Option<u32>>,
    /// Put together from fragments at one of several interfaces: tshark, blind to interfaces, does it only once.
    may_repeat: bool,
}

/// What tshark says of one frame.
#[derive(Debug, Default)]
struct Seen {
    tcp: Vec<u32>,
    udp: Vec<u32>,
    /// Holds a DTLS ClientHello, not as a quote.
    is_hello: bool,
    is_frag_needed: bool,
}

#[test]
fn made_captures_are_numbered_as_wireshark_does() {
    let folder = std::env::temp_dir().join(format!("acpcap-oracle-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut wrong = Vec::new();
    for (name, capture, expected) in made() {
        let path = folder.join(format!("{name}.pcapng"));
        std::fs::write(&path, capture.bytes()).unwrap();
        let ours: Vec<String> = our_streams(&path).iter().map(shown).collect();
        if ours.join(", ") != expected {
            wrong.push(format!("{name}: expected {expected}, have {}", ours.join(", ")));
        }
        if has_tshark() {
            wrong.extend(stream_differences(&path, &tshark_frames(&path)));
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn captures_show_what_wireshark_shows() {
    if !has_tshark() {
        eprintln!("skipped: tshark is not on the path");
        return;
    }
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("captures"), &mut files);
    if let Some(folder) = std::env::var_os("ACPCAP_ORACLE_DIR") {
        collect(Path::new(&folder), &mut files);
    }
    let facts: HashMap<PathBuf, Vec<Seen>> = in_parallel(&files, |path| (path.clone(), tshark_frames(path)));
    let mut wrong: Vec<String> =
        in_parallel::<_, _, Vec<_>>(&files, |path| stream_differences(path, &facts[path])).concat();
    let runs: Vec<Vec<PathBuf>> = files.iter().map(|file| vec![file.clone()]).chain(together(&files)).collect();
    wrong.extend(in_parallel::<_, _, Vec<_>>(&runs, |files| report_differences(files, &facts)).concat());
    eprintln!("{} files, {} runs compared with tshark", files.len(), runs.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Name, capture, and the streams of each frame as tshark 4.0.17 counts them.
fn made() -> Vec<(&'static str, Capture, &'static str)> {
    let (client, server) = ("10.0.0.1:40000", "10.0.0.2:443");
    let (client6, server6) = ("[2001:db8::1]:40000", "[2001:db8::2]:443");
    let (host, router) = ("10.0.0.1", "10.0.0.9");
    let from_client = |seq, flags| frames::tcp(client, server, seq, 0, flags, b"");
    let from_server = |seq, ack, flags| frames::tcp(server, client, seq, ack, flags, b"");
    let datagram = || frames::udp(client, server, b"data");
    let needed = |quote: &[u8]| frames::icmp(router, host, (3, 4), 1300, quote);
    let all = |packets: &[Vec<u8>]| {
        let mut capture = Capture::default();
        packets.iter().for_each(|packet| capture.push(packet));
        capture
    };
    // takes the next free indices: shows what the frames before it took
    let next =
        || [frames::tcp("10.9.9.9:1", "10.9.9.8:2", 1, 0, SYN, b""), frames::udp("10.9.9.9:1", "10.9.9.8:2", b"")];
    let then_next = |packets: &[Vec<u8>]| all(&[packets, &next()].concat());

    let reuse = all(&[
        from_client(100, SYN),
        from_client(100, SYN),
        from_server(500, 101, SYN | ACK),
        from_client(200, SYN),
        from_server(501, 101, ACK),
        from_client(100, SYN),
    ]);
    let after_reset = all(&[from_client(100, SYN), from_server(0, 101, RST | ACK), from_client(100, SYN)]);
    let midway = all(&[from_server(5, 1000, ACK), from_client(999, SYN), from_client(5000, SYN)]);
    let syn = from_client(200, SYN);
    let quoted_syn = all(&[
        from_client(100, SYN),
        needed(&syn),
        from_client(201, ACK),
        from_client(200, SYN),
        from_client(100, SYN),
    ]);
    let short_quoted_syn = all(&[from_client(100, SYN), needed(&syn[..28]), from_client(100, SYN)]);
    let quotes = then_next(&[
        needed(&from_client(100, ACK)[..28]),
        needed(&from_client(100, ACK)[..36]),
        needed(&datagram()[..28]),
        frames::icmp("2001:db8::9", "2001:db8::1", (2, 0), 1300, &frames::udp(client6, server6, b"data")),
    ]);
    let pieces = frames::udp_pieces(client, server, &[7; 2000], 9, 1480);
    let [cut, cut_later] = [&pieces[0], &pieces[1]].map(|piece| needed(&piece[..60]));
    let quoted_pieces = then_next(&[needed(&pieces[0]), cut_later, cut]);
    let fragments = then_next(&pieces);
    let pieces6 = frames::udp_pieces(client6, server6, &[7; 2000], 9, 1440);
    let segments = frames::tcp_pieces(client, server, 100, &[7; 2000], 10, 1480);
    let swapped = all(&[pieces6[1].clone(), pieces6[0].clone(), segments[0].clone(), segments[1].clone()]);
    let mut cut_fragments = Capture::default();
    cut_fragments.push_cut(&pieces[0], 60);
    cut_fragments.push_cut(&pieces[1], 60);
    cut_fragments.push_cut(&pieces6[0], 80);
    cut_fragments.push_cut(&segments[0], 40);
    next().iter().for_each(|packet| cut_fragments.push(packet));
    let mut twice = Capture::default();
    for piece in &pieces {
        twice.push_at(0, piece);
        twice.push_at(1, piece);
    }
    let mut cut_headers = Capture::default();
    for keep in [15, 16, 19] {
        cut_headers.push_cut(&from_client(100, ACK), 20 + keep);
    }
    let mut offset_too_small = frames::tcp("10.0.0.1:5", server, 1, 0, SYN, b"abc");
    offset_too_small[32] = 0x40;
    cut_headers.push(&offset_too_small);
    for (length, from) in [(0, client), (7, client), (8, client), (0, client6)] {
        let to = if from == client { server } else { server6 };
        let mut packet = frames::udp(from, to, b"data");
        let at = packet.len() - 8;
        packet[at..at + 2].copy_from_slice(&[0, length]);
        cut_headers.push(&packet);
    }
    let tunnels = all(&[
        frames::gre("10.1.0.1", "10.1.0.2", &from_client(100, SYN)),
        frames::vxlan("10.1.0.1:999", "10.1.0.2:4789", &datagram()),
        frames::gre("10.1.0.1", "10.1.0.2", &frames::udp(client6, server6, b"data")),
        frames::geneve("10.1.0.1:999", "10.1.0.2:6081", &datagram()),
        from_server(500, 101, SYN | ACK),
        datagram(),
    ]);
    let mut interfaces = Capture::default();
    for (at, packet) in [
        (0, from_client(100, SYN)),
        (1, from_client(100, SYN)),
        (1, from_client(200, SYN)),
        (0, from_client(200, SYN)),
        (1, datagram()),
        (0, datagram()),
        (0, needed(&datagram())),
    ] {
        interfaces.push_at(at, &packet);
    }
    vec![
        ("syn-reuse", reuse, "t0, t0, t0, t1, t1, t2"),
        ("syn-after-reset", after_reset, "t0, t0, t0"),
        ("midway", midway, "t0, t0, t1"),
        ("quoted-syn", quoted_syn, "t0, t?, t1, t1, t2"),
        ("short-quoted-syn", short_quoted_syn, "t0, -, t0"),
        ("quotes", quotes, "-, t?, u?, u?, t1, u2"),
        ("quoted-fragments", quoted_pieces, "-, -, u?, t0, u1"),
        ("fragments", fragments, "-, u0, t0, u1"),
        ("swapped-fragments", swapped, "-, u0, -, t0"),
        ("cut-fragments", cut_fragments, "u0, -, -, t0, t1, u1"),
        ("fragments-at-two-interfaces", twice, "-, -, u0, u0"),
        ("odd-headers", cut_headers, "-, t0, t0, t1, -, -, u0, u1"),
        ("tunnels", tunnels, "t0, u0 u1, u2, u3 u1, t0, u1"),
        ("interfaces", interfaces, "t0, t0, t1, t1, u0, u0, u0"),
    ]
}

fn shown(streams: &Streams) -> String {
    let name = |letter: char, stream: &Option<u32>| match stream {
        Some(number) => format!("{letter}{number}"),
        None => format!("{letter}?"),
    };
    let tcp = streams.tcp.iter().map(|stream| name('t', stream));
    let all: Vec<String> = tcp.chain(streams.udp.iter().map(|stream| name('u', stream))).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(" ") }
}

/// The streams of every frame as the library counts them.
fn our_streams(path: &Path) -> Vec<Streams> {
    let input = Box::new(File::open(path).unwrap());
    let mut reader = Reader::new(&path.to_string_lossy(), input, reader::Limits::default()).unwrap();
    let mut decoder = Decoder::new(packet::Limits::default());
    let mut table: Table<()> = Table::new(table::Limits::default());
    let mut all = Vec::new();
    let result = reader.for_each(|item| {
        if let Item::Frame(frame) = item {
            all.push(streams_of(&frame, &mut decoder, &mut table));
        }
        ControlFlow::Continue(())
    });
    result.unwrap();
    let one_interface = reader.interfaces().len() < 2;
    all.iter_mut().for_each(|streams| streams.may_repeat &= !one_interface);
    all
}

fn streams_of(frame: &Frame<'_>, decoder: &mut Decoder, table: &mut Table<()>) -> Streams {
    let mut streams = Streams::default();
    let point = frame.interface;
    let _ = decoder.decode(frame, &mut |packet| {
        streams.may_repeat |= packet.fragments > 1;
        match &packet.transport {
            Transport::Tcp(segment) => {
                streams.tcp.push(Some(table.tcp(point, frame.at, &packet.ip, segment).1.stream));
            }
            Transport::Udp(datagram) => {
                streams.udp.push(Some(table.udp(point, frame.at, &packet.ip, datagram).1.stream));
            }
            Transport::IcmpError(error) => {
                let Some(quoted) = &error.quoted else { return };
                let stream = table.quoted(point, quoted).map(|(_, flow)| flow.stream);
                match quoted.protocol {
                    6 if quoted.is_readable => streams.tcp.push(stream),
                    17 if quoted.is_readable => streams.udp.push(stream),
                    _ => {}
                }
            }
            _ => {}
        }
    });
    streams
}

fn stream_differences(path: &Path, theirs: &[Seen]) -> Vec<String> {
    let ours = our_streams(path);
    let name = path.display();
    let mut wrong = Vec::new();
    if ours.len() != theirs.len() {
        wrong.push(format!("{name}: tshark sees {} frames, we {}", theirs.len(), ours.len()));
    }
    let same = |ours: &[Option<u32>], theirs: &[u32]| {
        ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(|(ours, theirs)| ours.is_none_or(|ours| ours == *theirs))
    };
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let repeated = ours.may_repeat && theirs.tcp.is_empty() && theirs.udp.is_empty();
        let equal = same(&ours.tcp, &theirs.tcp) && same(&ours.udp, &theirs.udp);
        if !repeated && !equal {
            let Seen { tcp, udp, .. } = theirs;
            let frame = index + 1;
            wrong.push(format!("{name} frame {frame}: tshark has tcp {tcp:?} udp {udp:?}, we {}", shown(ours)));
        }
    }
    shorten(wrong)
}

/// Runs acpcap on these captures and asks tshark about all it says.
fn report_differences(files: &[PathBuf], facts: &HashMap<PathBuf, Vec<Seen>>) -> Vec<String> {
    let program = Command::new(env!("CARGO_BIN_EXE_acpcap"))
        .args(["analyze", "--format", "json", "--no-rotation"])
        .args(files)
        .output()
        .unwrap();
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let Ok(report) = serde_json::from_slice::<Value>(&program.stdout) else {
        return vec![format!("{}: no report: {}", names.join(" "), String::from_utf8_lossy(&program.stderr))];
    };
    let paths: Vec<PathBuf> = list(&report, "captures").iter().map(|capture| text(capture, "path").into()).collect();
    let mut wrong = Vec::new();
    for finding in list(&report, "findings") {
        wrong.extend(finding_differences(finding, &paths, facts));
    }
    wrong.extend(hello_differences(&report, &paths, facts));
    if list(&report, "sessions").len() == 1 {
        wrong.extend(frag_needed_differences(&report, &paths, facts));
    }
    let together = if files.len() > 1 { " (with the others of its folder)" } else { "" };
    shorten(wrong.into_iter().map(|line| format!("{line}{together}")).collect())
}

fn finding_differences(finding: &Value, paths: &[PathBuf], facts: &HashMap<PathBuf, Vec<Seen>>) -> Vec<String> {
    let id = text(finding, "detector");
    let mut wrong = Vec::new();
    let mut evidence: Vec<(usize, BTreeSet<u64>)> = Vec::new();
    for shown in list(finding, "evidence") {
        let capture = number(shown, "capture") as usize;
        let frames: BTreeSet<u64> = list(shown, "frames").iter().filter_map(Value::as_u64).collect();
        let count = facts[&paths[capture]].len() as u64;
        if frames.iter().any(|frame| !(1..=count).contains(frame)) {
            wrong.push(format!("{}: {id}: evidence frames {frames:?} of {count}", paths[capture].display()));
        }
        evidence.push((capture, frames));
    }
    for note in list(finding, "filter_notes") {
        let (filter, shows) = (text(note, "filter"), text(note, "shows"));
        let capture = number(note, "capture") as usize;
        let path = &paths[capture];
        let place = format!("{}: {id}: filter `{filter}` ({shows})", path.display());
        let selected = match select(path, &filter) {
            Ok(selected) => selected,
            Err(error) => {
                wrong.push(format!("{place}: {error}"));
                continue;
            }
        };
        if selected.is_empty() && !shows.starts_with("any ") {
            wrong.push(format!("{place}: selects no frame"));
        }
        let promised = note.get("frames").and_then(Value::as_u64);
        if let Some(promised) = promised.filter(|promised| *promised != selected.len() as u64) {
            wrong.push(format!("{place}: selects {} frames, {promised} promised", selected.len()));
        }
        let is_number_set = filter.starts_with("frame.number");
        let of_it = evidence.iter().filter(|(at, frames)| *at == capture && frames.is_subset(&selected));
        if is_number_set && of_it.flat_map(|(_, frames)| frames).copied().collect::<BTreeSet<u64>>() != selected {
            wrong.push(format!("{place}: selects other frames than the evidence of that capture has"));
        }
    }
    wrong
}

/// ClientHellos per capture and stream.
fn hello_differences(report: &Value, paths: &[PathBuf], facts: &HashMap<PathBuf, Vec<Seen>>) -> Vec<String> {
    let mut ours: BTreeMap<(usize, u32), u64> = BTreeMap::new();
    for session in list(report, "sessions") {
        for attempt in list(session, "dtls_attempts") {
            let key = (number(attempt, "capture") as usize, number(attempt, "stream") as u32);
            *ours.entry(key).or_default() += number(attempt, "client_hellos");
        }
    }
    let mut wrong = Vec::new();
    for ((capture, stream), count) in ours {
        let path = &paths[capture];
        let is_hello = |seen: &&Seen| seen.is_hello && seen.udp.contains(&stream);
        let theirs = facts[path].iter().filter(is_hello).count() as u64;
        if count != theirs {
            let name = path.display();
            wrong.push(format!("{name}: udp.stream {stream}: {count} ClientHellos, tshark counts {theirs}"));
        }
    }
    wrong
}

fn frag_needed_differences(report: &Value, paths: &[PathBuf], facts: &HashMap<PathBuf, Vec<Seen>>) -> Vec<String> {
    let mut ours: BTreeMap<usize, u64> = BTreeMap::new();
    for session in list(report, "sessions") {
        for seen in list(session, "frag_needed") {
            *ours.entry(number(seen, "capture") as usize).or_default() += number(seen, "packets");
        }
    }
    let mut wrong = Vec::new();
    for (capture, path) in paths.iter().enumerate() {
        let count = ours.get(&capture).copied().unwrap_or(0);
        let theirs = facts[path].iter().filter(|seen| seen.is_frag_needed).count() as u64;
        if count != theirs {
            let name = path.display();
            wrong.push(format!("{name}: {count} Fragmentation Needed or Packet Too Big, tshark counts {theirs}"));
        }
    }
    wrong
}

fn has_tshark() -> bool {
    Command::new("tshark").arg("--version").output().is_ok()
}

/// tshark on a capture, with no names resolved and nobody's preferences.
fn tshark(path: &Path) -> Command {
    let mut command = Command::new("tshark");
    command.env("WIRESHARK_CONFIG_DIR", "/nonexistent").arg("-n").arg("-r").arg(path);
    command
}

fn tshark_frames(path: &Path) -> Vec<Seen> {
    const FIELDS: [&str; 7] =
        ["tcp.stream", "udp.stream", "icmp.type", "icmp.code", "icmpv6.type", "dtls.handshake.type", "frame.number"];
    let mut command = tshark(path);
    command.args(["-T", "fields"]);
    FIELDS.iter().for_each(|field| _ = command.args(["-e", field]));
    // a damaged capture ends with an error; what came before counts
    let output = command.output().unwrap();
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines.lines().map(seen).collect()
}

fn seen(line: &str) -> Seen {
    let mut fields = line.split('\t').map(|field| field.split(',').filter_map(|value| value.parse().ok()).collect());
    let mut next = || -> Vec<u32> { fields.next().unwrap_or_default() };
    let (tcp, udp, icmp, code, icmpv6, handshake) = (next(), next(), next(), next(), next(), next());
    let is_icmp = !icmp.is_empty() || !icmpv6.is_empty();
    Seen {
        tcp,
        udp,
        is_hello: handshake.contains(&1) && !is_icmp,
        is_frag_needed: (icmp.contains(&3) && code.contains(&4)) || icmpv6.contains(&2),
    }
}

/// The frames a display filter selects.
fn select(path: &Path, filter: &str) -> Result<BTreeSet<u64>, String> {
    let output = tshark(path).args(["-Y", filter, "-T", "fields", "-e", "frame.number"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("isn't a valid") || error.contains("syntax error") || output.status.code() == Some(4) {
        return Err(error.trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.parse().ok()).collect())
}

/// Every capture below a folder, in order of name.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            collect(&path, files);
        } else if [".pcap", ".cap"].iter().any(|ending| name.contains(ending)) {
            files.push(path);
        }
    }
}

/// Captures of one folder that are named after where they stood: one session from several sides.
fn together(files: &[PathBuf]) -> Vec<Vec<PathBuf>> {
    let is_side = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ["client", "outside", "inside", "va", "virtual-adapter"].iter().any(|side| name.starts_with(side))
    };
    let mut folders: BTreeMap<&Path, Vec<PathBuf>> = BTreeMap::new();
    for file in files.iter().filter(is_side) {
        folders.entry(file.parent().unwrap()).or_default().push(file.clone());
    }
    folders.into_values().filter(|files| files.len() > 1).collect()
}

/// Maps on all cores, in order.
fn in_parallel<T: Sync, R: Send, C: FromIterator<R>>(items: &[T], work: impl Fn(&T) -> R + Sync) -> C {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((index, item)) = Some(next.fetch_add(1, Relaxed)).and_then(|i| Some((i, items.get(i)?)))
                {
                    let result = work(item);
                    done.lock().unwrap().push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn shorten(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(SHOWN);
    if more > 0 {
        lines.truncate(SHOWN);
        lines.push(format!("  … and {more} more"));
    }
    lines
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("{key} is no text")).to_owned()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_else(|| panic!("{key} is no number"))
}
