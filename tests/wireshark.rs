//! `acpcap wireshark`: what tshark reads with the plugin is what acpcap reads, a report marks its evidence and no other
//! frame, hostile files do no harm, and nothing of the user's is touched.
//!
//! Without tshark on the path only the files are checked.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot set itself up has failed"
)]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "support/command.rs"]
mod command;
#[path = "support/frames.rs"]
mod frames;

use command::{Folder, code, program, run, stderr, stdout};
use frames::{ACK, Capture, SYN};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn has_tshark() -> bool {
    let found = Command::new("tshark").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: tshark is not on the path");
    }
    found
}

/// A configuration folder with the plugin in it, and no user's settings.
struct Wireshark(Folder);

impl Wireshark {
    fn new(name: &str) -> Wireshark {
        let here = Wireshark(Folder::new(&format!("wireshark-{name}")));
        let done = here.call("install", &[]);
        assert_eq!(code(&done), 0, "{}", stderr(&done));
        here
    }

    fn call(&self, action: &str, more: &[&str]) -> std::process::Output {
        let mut args: Vec<&OsStr> = vec!["wireshark".as_ref(), action.as_ref(), "--folder".as_ref()];
        args.push(self.0.0.as_os_str());
        args.extend(more.iter().map(OsStr::new));
        run(args)
    }

    fn plugin(&self) -> PathBuf {
        self.0.0.join("plugins/acpcap.lua")
    }

    /// tshark with the plugin, and with nothing of the machine's own.
    fn tshark(&self, script: &Path) -> Command {
        let mut command = Command::new("tshark");
        command.env("HOME", self.0.0.join("home")).env("WIRESHARK_CONFIG_DIR", self.0.0.join("home/cfg"));
        command.env_remove("ACPCAP_REPORT").env_remove("XDG_CONFIG_HOME");
        let mut option = std::ffi::OsString::from("lua_script:");
        option.push(script);
        command.arg("-X").arg(option);
        command
    }

    /// Lines that tshark prints of a capture.
    fn read(&self, capture: &Path, args: &[&str]) -> Vec<String> {
        self.read_with(capture, args, None)
    }

    fn read_with(&self, capture: &Path, args: &[&str], report: Option<&Path>) -> Vec<String> {
        let mut command = self.tshark(&self.plugin());
        if let Some(report) = report {
            command.env("ACPCAP_REPORT", report);
        }
        let output = command.arg("-r").arg(capture).args(args).output().unwrap();
        let complaints = stderr(&output);
        assert!(output.status.success(), "{complaints}");
        assert!(!complaints.contains("Lua"), "{complaints}");
        stdout(&output).lines().map(str::to_owned).collect()
    }

    fn fields(&self, capture: &Path, keys: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let keys = format!("tls.keylog_file:{}", keys.display());
        let mut args = vec!["-o", &keys, "-Y", filter, "-T", "fields"];
        args.extend(fields.iter().flat_map(|field| ["-e", *field]));
        let split = |line: &String| line.split('\t').map(str::to_owned).collect();
        self.read(capture, &args).iter().map(split).collect()
    }
}

/// Runs `acpcap analyze --format json` with keys that may be none.
fn analyze(capture: &Path, keys: Option<&Path>) -> Value {
    let mut args: Vec<&OsStr> = ["analyze", "--quiet", "--format", "json"].map(OsStr::new).to_vec();
    if let Some(keys) = keys {
        args.extend([OsStr::new("--keylog"), keys.as_os_str()]);
    }
    args.push(capture.as_os_str());
    let done = run(args);
    assert!([0, 4, 5].contains(&code(&done)), "{}", stderr(&done));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// Packets by type that the tunnels carried, as the report counts them: channel, word, how many.
fn counted(report: &Value) -> BTreeMap<(String, String), u64> {
    let mut all = BTreeMap::new();
    let tunnels = report["sessions"].as_array().unwrap().iter().flat_map(|s| s["tunnels"].as_array().unwrap());
    for tunnel in tunnels {
        let channel = tunnel["kind"].as_str().unwrap().to_owned();
        for direction in ["to_gateway", "to_client"] {
            let kinds = tunnel["packets"][direction].as_object().into_iter().flatten();
            for (word, packets) in kinds.filter(|(word, n)| *word != "biggest_data" && **n != 0) {
                *all.entry((channel.clone(), word.clone())).or_default() += packets.as_u64().unwrap();
            }
        }
    }
    all
}

/// The report's word for a packet type.
fn word(kind: &str) -> &'static str {
    match kind {
        "0" => "data",
        "3" => "dpd-out",
        "4" => "dpd-resp",
        "5" => "disconnect",
        "7" => "keepalive",
        "8" => "compressed",
        "9" => "terminate",
        _ => "other",
    }
}

#[test]
fn the_tunnel_holds_for_tshark_what_it_holds_for_acpcap() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("tunnel");
    let cases = ["asa-anyconnect", "healthy-dtls12", "healthy-dtls12-resume", "healthy-legacy-dtls", "tls13"];
    for case in cases {
        let here = root("captures").join(case);
        let (capture, log) = (here.join("client.pcapng"), here.join("keys.log"));
        let keys = wireshark.0.0.join("all-keys.log");
        let args: [&OsStr; 6] =
            ["keys".as_ref(), capture.as_ref(), "--keylog".as_ref(), log.as_ref(), "-o".as_ref(), keys.as_ref()];
        assert_eq!(code(&run(args)), 0, "{case}");

        let mut seen: BTreeMap<(String, String), u64> = BTreeMap::new();
        for row in wireshark.fields(&capture, &keys, "cstp", &["frame.protocols", "cstp.type"]) {
            let channel = if row[0].contains(":dtls") { "dtls" } else { "tls" };
            for kind in row[1].split(',') {
                *seen.entry((channel.to_owned(), word(kind).to_owned())).or_default() += 1;
            }
        }
        assert_eq!(seen, counted(&analyze(&capture, Some(&log))), "{case}");
        same_packets_inside(&wireshark, &capture, &keys, case);
    }
}

/// The packets inside, by address, length and protocol, against those that `acpcap decrypt` writes.
fn same_packets_inside(wireshark: &Wireshark, capture: &Path, keys: &Path, case: &str) {
    let inner = wireshark.0.0.join("inner.pcapng");
    let args: [&OsStr; 6] =
        ["decrypt".as_ref(), capture.as_ref(), "--keylog".as_ref(), keys.as_ref(), "-o".as_ref(), inner.as_ref()];
    assert_eq!(code(&run(args)), 0, "{case}");
    let fields = ["ip.src", "ip.dst", "ip.len", "ip.id", "ip.proto", "ipv6.src", "ipv6.dst", "ipv6.plen"];
    let none = Path::new("");
    let mut plain = BTreeMap::new();
    for row in wireshark.fields(&inner, none, "ip || ipv6", &fields) {
        let row: Vec<Vec<String>> = row.iter().map(|cell| cell.split(',').map(str::to_owned).collect()).collect();
        *plain.entry(row).or_insert(0) += 1;
    }
    let mut opened = BTreeMap::new();
    // tcp.stream counts what is inside too, so the frames are asked for by what they carry.
    for row in wireshark.fields(capture, keys, "cstp.type == 0", &fields) {
        // The first value of each is the outer packet's.
        let outer = |cell: &String| cell.split(',').skip(1).map(str::to_owned).collect::<Vec<_>>();
        let (v4, v6) = row.split_at(5);
        let v6 = v6.iter().map(|cell| cell.split(',').map(str::to_owned).collect());
        let cells: Vec<Vec<String>> = v4.iter().map(outer).chain(v6).collect();
        for one in one_by_one(&cells) {
            *opened.entry(one).or_insert(0) += 1;
        }
    }
    assert!(plain.len() > 20, "{case}: {}", plain.len());
    let plain: BTreeMap<_, _> = plain
        .into_iter()
        .flat_map(|(row, n)| one_by_one(&row).into_iter().map(move |o| (o, n)))
        .fold(BTreeMap::new(), |mut all: BTreeMap<Vec<String>, i32>, (row, n)| {
            *all.entry(row).or_default() += n;
            all
        });
    assert_eq!(opened, plain, "{case}");
}

/// Rows of single values out of cells with several: one for each IPv4 packet, one for each IPv6 packet.
fn one_by_one(cells: &[Vec<String>]) -> Vec<Vec<String>> {
    let (v4, v6) = cells.split_at(5);
    [v4, v6]
        .into_iter()
        .flat_map(|columns| {
            let rows = columns[0].iter().filter(|cell| !cell.is_empty()).count();
            (0..rows)
                .map(move |row| columns.iter().map(|column| column.get(row).cloned().unwrap_or_default()).collect())
        })
        .collect()
}

#[test]
fn the_farewell_is_read() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("bye");
    let here = root("captures/asa-anyconnect");
    let fields = ["cstp.reason", "cstp.reason.severity", "cstp.reason.class", "cstp.text", "_ws.expert.message"];
    let seen = wireshark.fields(&here.join("client.pcapng"), &here.join("keys.log"), "cstp.type == 5", &fields);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0][..4], ["0xb0", "5", "16", "Client disconnect"].map(str::to_owned));
    assert!(seen[0][4].contains("the user disconnects"), "{:?}", seen[0]);
}

/// Secrets that a capture brings along are enough; renegotiation, key updates and every kind of suite are the tunnel's, not ours.
#[test]
fn every_kind_of_suite_is_read() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("suites");
    let suites = ["tls10-rc4-sha", "tls10-3des-sha", "tls11-aes256-sha-etm", "tls12-aes-256-ccm-8", "tls12-chacha20"];
    for name in suites.iter().chain(&["tls12-renegotiation", "tls13-key-update", "tls13-aes-256-gcm"]) {
        let capture = root("tests/sealed").join(format!("{name}.pcapng"));
        let seen = wireshark.fields(&capture, Path::new(""), "cstp", &["cstp.type", "ip.src"]);
        assert_eq!(seen.len(), 3, "{name}: {seen:?}");
        assert!(seen.iter().all(|row| row[0] == "0" && row[1].contains("10.10.10.1")), "{name}: {seen:?}");
    }
}

/// Wireshark asks that heuristic first which accepted last: HTTP's, on another connection, must not get the tunnel.
#[test]
fn http_of_others_does_not_take_the_tunnel() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("order");
    let plugin = fs::read_to_string(wireshark.plugin()).unwrap();
    let sign = "\"^%l+ /%+webvpn%+/\"";
    assert!(plugin.contains(sign));
    // Without this sign the login of the capture is anybody's HTTP.
    let script = wireshark.0.file("other.lua", plugin.replace(sign, "\"^never\"").as_bytes());
    let mut command = wireshark.tshark(&script);
    command.arg("-r").arg(root("tests/sealed/planted-secrets.pcapng"));
    command.args(["-Y", "tls.app_data", "-T", "fields", "-e", "cstp.type", "-e", "frame.protocols"]);
    let lines: Vec<String> = stdout(&command.output().unwrap()).lines().map(str::to_owned).collect();
    assert!(!lines[0].contains("cstp") && lines[0].contains("http"), "the login is left to HTTP: {lines:?}");
    let types: Vec<&str> =
        lines.iter().filter_map(|line| line.split('\t').next()).filter(|kind| !kind.is_empty()).collect();
    assert_eq!(types, ["0", "0", "3", "5"]);
}

/// The packets inside are not dissected when the user says so, and streams are numbered as without the plugin.
#[test]
fn the_inside_can_be_left_alone() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("inside");
    let here = root("captures/asa-anyconnect");
    let keys = format!("tls.keylog_file:{}", here.join("keys.log").display());
    let capture = here.join("client.pcapng");
    let fields = ["-o", &keys, "-Y", "tcp", "-T", "fields", "-e", "frame.number", "-e", "tcp.stream"];
    let with = wireshark.read(&capture, &[&["-o", "cstp.inner:FALSE"][..], &fields].concat());
    let plain =
        Command::new("tshark").env("HOME", wireshark.0.0.join("home")).arg("-r").arg(&capture).args(fields).output();
    assert_eq!(with, stdout(&plain.unwrap()).lines().collect::<Vec<_>>());
    assert_ne!(with, wireshark.read(&capture, &fields));
}

/// The plugin with its heuristics put straight on TCP port 9999 and UDP port 9998: records without the sealing.
fn unsealed(wireshark: &Wireshark) -> PathBuf {
    let more = "local over_tcp, over_udp = Proto('over_tcp', 'Records over TCP'), Proto('over_udp', 'Records over UDP')\n\
                function over_tcp.dissector(tvb, pinfo, tree) return asked(tvb, pinfo, tree) and tvb:len() or 0 end\n\
                function over_udp.dissector(tvb, pinfo, tree) return dtls_payload(tvb, pinfo, tree) and tvb:len() or 0 end\n\
                DissectorTable.get('tcp.port'):add(9999, over_tcp)\nDissectorTable.get('udp.port'):add(9998, over_udp)\n";
    let plugin = fs::read_to_string(wireshark.plugin()).unwrap();
    wireshark.0.file("unsealed.lua", format!("{plugin}\n{more}").as_bytes())
}

fn cstp(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    [&[b'S', b'T', b'F', 1, len[0], len[1], kind, 0], payload].concat()
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

const CLIENT: &str = "198.51.100.10:40000";
const GATEWAY: &str = "203.0.113.2:9999";

/// A connection whose client sends these pieces, a segment each.
fn sent_in(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut capture = Capture::default();
    capture.push(&frames::tcp(CLIENT, GATEWAY, 99, 0, SYN, b""));
    capture.push(&frames::tcp(GATEWAY, CLIENT, 999, 100, SYN | ACK, b""));
    let mut seq = 100u32;
    for piece in pieces {
        capture.push(&frames::tcp(CLIENT, GATEWAY, seq, 1000, ACK, piece));
        seq = seq.wrapping_add(piece.len() as u32);
    }
    capture.bytes()
}

#[test]
fn packets_span_records_and_share_them() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("spans");
    let script = unsealed(&wireshark);
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let mut expected = Vec::new();
        let mut stream = Vec::new();
        for _ in 0..60 {
            let (kind, len) = (dice.roll(12) as u8, dice.roll(400) as usize);
            // No IP packet begins so: what is inside stays out of this.
            let payload: Vec<u8> = (0..len).map(|_| dice.roll(32) as u8).collect();
            expected.push(format!("{kind}/{len}"));
            stream.extend(cstp(kind, &payload));
        }
        let mut pieces = vec![cstp(7, b"")];
        let widest = [3, 9, 40, 1300][seed as usize % 4];
        while !stream.is_empty() {
            let cut = (1 + dice.roll(widest) as usize).min(stream.len());
            let rest = stream.split_off(cut);
            pieces.push(std::mem::replace(&mut stream, rest));
        }
        let capture = wireshark.0.file("spans.pcapng", &sent_in(&pieces));
        let mut command = wireshark.tshark(&script);
        command.arg("-r").arg(&capture).args(["-Y", "cstp", "-T", "fields", "-e", "cstp.type", "-e", "cstp.length"]);
        let mut seen = Vec::new();
        for line in stdout(&command.output().unwrap()).lines() {
            let (kinds, lengths) = line.split_once('\t').unwrap();
            seen.extend(kinds.split(',').zip(lengths.split(',')).map(|(kind, len)| format!("{kind}/{len}")));
        }
        assert_eq!(seen.remove(0), "7/0");
        assert_eq!(seen, expected, "seed {seed}");
    }
}

/// The packet list tells of what is inside, of several packets one behind the other, and of DPD by its name.
#[test]
fn the_packet_list_is_about_the_inside() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("list");
    let script = unsealed(&wireshark);
    let inner = |port: &str| frames::udp(&format!("10.10.10.1:{port}"), "10.48.66.200:61234", b"x");
    let both = [cstp(0, &inner("61001")), cstp(0, &inner("61002"))].concat();
    let capture = wireshark.0.file("list.pcapng", &sent_in(&[both, cstp(3, b"")]));
    let read = |capture: &Path, args: &[&str]| {
        let output = wireshark.tshark(&script).arg("-r").arg(capture).args(args).output().unwrap();
        stdout(&output).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = read(&capture, &["-Y", "cstp"]);
    assert!(lines[0].contains("10.10.10.1 → 10.48.66.200"), "{lines:?}");
    assert!(lines[0].contains(" 61001 → 61234 Len=1 · 61002 → 61234 Len=1"), "{lines:?}");
    assert!(lines[1].contains(" CSTP ") && lines[1].ends_with(" DPD-REQ"), "{lines:?}");
    assert_eq!(read(&capture, &["-Y", "cstp", "-T", "fields", "-e", "udp.srcport"]), ["61001,61002", ""]);

    // The same frame twice in a row, as when somebody clicks on it.
    let mut one = Capture::default();
    one.push(&frames::udp(CLIENT, "203.0.113.2:9998", &[&[0], &inner("61003")[..]].concat()));
    let one = wireshark.0.file("one.pcapng", &one.bytes());
    let lines = read(&one, &["-2", "-o", "cstp.inner:FALSE"]);
    assert!(lines[0].contains(" CSTP ") && lines[0].ends_with(" DATA"), "{lines:?}");
}

#[test]
fn hostile_records_do_no_harm() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("records");
    let script = unsealed(&wireshark);
    let mut dice = Dice(7);
    let http = b"CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nX-CSTP-Version: 1\r\n\r\n".to_vec();
    let seeds = [
        cstp(0, &frames::udp(CLIENT, GATEWAY, b"x")),
        cstp(5, b"\xb0bye"),
        cstp(9, b""),
        http,
        b"HTTP/1.1 200 OK\r\n\r\nSTF\x01".to_vec(),
    ];
    let mut capture = Capture::default();
    let count = 600;
    for i in 0..count {
        let mut bytes = seeds[dice.roll(seeds.len() as u64) as usize].clone();
        for _ in 0..dice.roll(4) {
            let at = dice.roll(bytes.len() as u64) as usize;
            bytes[at] = dice.roll(256) as u8;
        }
        bytes.truncate(1 + dice.roll(bytes.len() as u64 * 2) as usize);
        let client = format!("198.51.100.{}:{}", 1 + i % 9, 40000 + i % 40);
        capture.push(&frames::tcp(&client, GATEWAY, 100 + i * 1000, 1, ACK, &bytes));
        let turn = bytes.len().min(6);
        bytes.rotate_left(turn);
        capture.push(&frames::udp(&client, "203.0.113.2:9998", &bytes));
    }
    let capture = wireshark.0.file("hostile.pcapng", &capture.bytes());
    let output = wireshark.tshark(&script).arg("-r").arg(&capture).arg("-V").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let error = text.find("Lua Error").map(|at| text[at..].chars().take(300).collect::<String>());
    assert_eq!(error, None);
    assert_eq!(text.lines().filter(|line| line.starts_with("Frame ")).count(), 2 * count as usize);
    assert!(text.matches("Cisco AnyConnect Tunnel").count() > 50);
}

/// One type byte proves nothing: DTLS is this VPN's when an IP packet is one to the last bit, and from then on.
#[test]
fn dtls_is_claimed_by_what_cannot_be_chance() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("claims");
    let script = unsealed(&wireshark);
    let inner = frames::udp("10.10.10.1:1", "10.48.66.200:2", b"data");
    let inner6 = frames::udp("[2001:db8::1]:1", "[2001:db8::2]:2", b"data");
    let with_type = |kind: u8, payload: &[u8]| [&[kind], payload].concat();
    let mut wrong_sum = inner.clone();
    wrong_sum[10] ^= 1;
    let mut capture = Capture::default();
    let mut expected = Vec::new();
    let mut send = |from: &str, payload: &[u8], is_ours: bool| {
        capture.push(&frames::udp(from, "203.0.113.2:9998", payload));
        expected.push(is_ours);
    };
    let [one, two, three] = ["198.51.100.1:1", "198.51.100.2:1", "198.51.100.3:1"];
    send(one, &[3], false);
    send(one, &with_type(0, &wrong_sum), false);
    send(one, &with_type(0, &inner[..inner.len() - 1]), false);
    send(one, &with_type(8, &inner), false);
    send(one, &inner, false);
    send(one, &with_type(0, &inner), true);
    send(one, &[3], true);
    send(one, &with_type(5, b"\xb0"), true);
    send(two, &[3], false);
    send(two, &with_type(0, &inner6), true);
    send(three, &with_type(0, &inner6[..20]), false);
    let capture = wireshark.0.file("claims.pcapng", &capture.bytes());
    let mut command = wireshark.tshark(&script);
    command.arg("-r").arg(&capture).args(["-T", "fields", "-e", "cstp.type"]);
    let seen: Vec<bool> = stdout(&command.output().unwrap()).lines().map(|line| !line.is_empty()).collect();
    assert_eq!(seen, expected);
}

/// What other programs say inside TLS and DTLS stays theirs, with keys where the captures bring them.
#[test]
fn other_traffic_is_left_alone() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("others");
    let mut read = 0;
    for entry in fs::read_dir(root("tests/other-traffic")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some(OsStr::new("pcap")) {
            assert_eq!(wireshark.read(&path, &["-Y", "cstp || acpcap"]), [""; 0], "{}", path.display());
            read += 1;
        }
    }
    assert!(read >= 8, "{read} captures");
}

/// Frames that a report calls evidence, of one of its captures.
fn evidence(report: &Value, capture: u64) -> BTreeSet<u64> {
    let all = report["findings"].as_array().unwrap().iter().flat_map(|f| f["evidence"].as_array().unwrap());
    let of_this = all.filter(|e| e["capture"] == capture);
    of_this.flat_map(|e| e["frames"].as_array().unwrap()).map(|frame| frame.as_u64().unwrap()).collect()
}

fn numbers(lines: &[String]) -> BTreeSet<u64> {
    lines.iter().map(|line| line.parse().unwrap()).collect()
}

const NUMBERS: [&str; 4] = ["-T", "fields", "-e", "frame.number"];

fn select(filter: &str) -> Vec<&str> {
    [&["-Y", filter][..], &NUMBERS].concat()
}

#[test]
fn a_report_marks_its_evidence_and_nothing_else() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("marks");
    let capture = root("captures/asa-anyconnect/all.pcapng");
    let report = analyze(&capture, None);
    let path = wireshark.0.file("r.json", report.to_string().as_bytes());
    let marked = numbers(&wireshark.read_with(&capture, &select("acpcap.detector"), Some(&path)));
    assert_eq!(marked, evidence(&report, 0));
    assert!(marked.len() > 30, "{marked:?}");
    let named = format!("acpcap.report:{}", path.display());
    let by_preference = [&["-o", &named][..], &select("acpcap.detector")].concat();
    assert_eq!(numbers(&wireshark.read(&capture, &by_preference)), marked);
    assert!(wireshark.read(&capture, &select("acpcap")).is_empty(), "no report, no mark");

    for finding in report["findings"].as_array().unwrap() {
        let (id, severity) = (finding["detector"].as_str().unwrap(), finding["severity"].as_str().unwrap());
        let filter =
            format!("acpcap.detector == \"{id}\" && acpcap.session == \"1\" && acpcap.severity == \"{severity}\"");
        let marked = numbers(&wireshark.read_with(&capture, &select(&filter), Some(&path)));
        let only = json!({ "findings": [finding] });
        assert_eq!(marked, evidence(&only, 0), "{id}");
        for piece in finding["evidence"].as_array().unwrap().iter().filter(|e| e["frames"] != json!([])) {
            let note = piece["note"].as_str().unwrap().replace('"', "\\\"");
            let filter = format!("acpcap.note == \"{note}\"");
            let marked = numbers(&wireshark.read_with(&capture, &select(&filter), Some(&path)));
            assert!(marked.is_superset(&evidence(&json!({ "findings": [{ "evidence": [piece] }] }), 0)), "{note}");
        }
    }
}

/// Of several captures in one report, the open one is told by when it begins.
#[test]
fn a_report_of_several_captures_marks_the_open_one() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("several");
    let here = root("captures/asa-anyconnect");
    let captures = ["client.pcapng", "outside.pcapng", "inside.pcapng"].map(|name| here.join(name));
    let path = wireshark.0.0.join("r.json");
    let mut args: Vec<&OsStr> = vec!["analyze".as_ref(), "--quiet".as_ref(), "-o".as_ref(), path.as_ref()];
    args.extend(captures.iter().map(|capture| capture.as_os_str()));
    assert_eq!(code(&run(args)), 0);
    let report: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut marked_somewhere = 0;
    for (place, capture) in captures.iter().enumerate() {
        let marked = numbers(&wireshark.read_with(capture, &select("acpcap.detector"), Some(&path)));
        assert_eq!(marked, evidence(&report, place as u64), "{}", capture.display());
        marked_somewhere += usize::from(!marked.is_empty());
    }
    assert!(marked_somewhere >= 2, "{marked_somewhere}");

    let other = root("captures/healthy-dtls12/client.pcapng");
    let said = wireshark.read_with(
        &other,
        &["-Y", "acpcap", "-T", "fields", "-e", "frame.number", "-e", "acpcap.problem"],
        Some(&path),
    );
    assert_eq!(said.len(), 1, "no frame of a stranger's capture is marked: {said:?}");
    assert!(said[0].starts_with("1\t") && said[0].contains("the report of another capture"), "{said:?}");
}

/// The name beside the capture is enough, where the system tells a program its own command line.
#[cfg(target_os = "linux")]
#[test]
fn a_report_beside_the_capture_is_found() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("beside");
    let capture = wireshark.0.0.join("-a b'.pcapng");
    fs::copy(root("captures/asa-anyconnect/client.pcapng"), &capture).unwrap();
    let report = analyze(&capture, None);
    fs::write(wireshark.0.0.join("-a b'.pcapng.acpcap.json"), report.to_string()).unwrap();
    assert_eq!(numbers(&wireshark.read(&capture, &select("acpcap.detector"))), evidence(&report, 0));
    assert!(!evidence(&report, 0).is_empty());
}

#[test]
fn hostile_reports_do_no_harm() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("hostile");
    let capture = root("captures/asa-anyconnect/client.pcapng");
    let frames = wireshark.read(&capture, &NUMBERS).len();
    let good = analyze(&capture, None);
    let first = good["captures"][0]["first"].as_str().unwrap().to_owned();
    let head = format!("{{\"schema_version\":\"1.0.0\",\"captures\":[{{\"first\":\"{first}\"}}],\"findings\":");
    let mark = |detector: &str, frames: &str| {
        let rest = format!(
            "\"severity\":7,\"evidence\":[{{\"capture\":0,\"frames\":{frames},\"note\":\"\\u0000\\ud800\\u001b[31m\"}}]}}]}}"
        );
        format!("{head}[{{\"session\":null,\"detector\":\"{detector}\",{rest}")
    };
    let many = format!("[{}1]", "3,".repeat(600_000));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "is empty"),
        ("deep", "[".repeat(3_000_000).into_bytes(), "nested too deep"),
        ("deep objects", "{\"a\":".repeat(3_000_000).into_bytes(), "nested too deep"),
        ("values", [b"[", &b"0,".repeat(3_000_000)[..]].concat(), "too many values"),
        ("open string", [b"[\"", &b"\\\\a".repeat(1_000_000)[..]].concat(), "a string without an end"),
        ("large", vec![b' '; 65 << 20], "larger than 64 MiB"),
        ("zeros", vec![0; 1 << 20], "no value"),
        ("cut", good.to_string().into_bytes()[..2000].to_vec(), "byte "),
        ("other json", b"{\"schema_version\":1,\"captures\":{}}".to_vec(), "not a report"),
        ("array", b"[]".to_vec(), "not a report"),
        ("later schema", b"{\"schema_version\":\"2.0.0\",\"captures\":[]}".to_vec(), "another version"),
        ("no captures", b"{\"schema_version\":\"1.0.0\",\"captures\":[]}".to_vec(), "another capture"),
        ("odd captures", b"{\"schema_version\":\"1.0.0\",\"captures\":[7,null,{\"first\":\"9999-99-99T99:99:99Z\",\"path\":[]}],\"findings\":3}".to_vec(), "another capture"),
    ];
    let fields = ["-Y", "acpcap", "-T", "fields", "-e", "acpcap.problem"];
    // A parser whose time grew faster than the input would not come back.
    for (name, bytes, words) in cases {
        let path = wireshark.0.file("r.json", &bytes);
        let said = wireshark.read_with(&capture, &fields, Some(&path)).join("\n");
        assert!(said.contains(words), "{name}: {said}");
    }

    // Well-formed, and wrong in what it says.
    for frames_said in ["[2,-1,0,1e300,2.5,\"3\",null,[],{}]", "{\"1\":2}", "7", &many] {
        let path = wireshark.0.file("r.json", mark("a\\tb\\u202e\\\"<script>", frames_said).as_bytes());
        let read = wireshark.read_with(&capture, &NUMBERS, Some(&path));
        assert_eq!(read.len(), frames, "every frame is still there");
    }
    let path = wireshark.0.file("r.json", mark("\u{1b}]0;x\u{7} \\u009b", "[2]").as_bytes());
    let shown = wireshark.read_with(&capture, &["-Y", "frame.number == 2", "-V"], Some(&path)).join("\n");
    assert!(shown.contains("acpcap: session"), "{shown}");
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    let bytes = [mark("@", "[2]")
        .as_bytes()
        .split(|b| *b == b'@')
        .collect::<Vec<_>>()
        .join(&b"\xff\xc0\x80\xed\xa0\x80\xf5"[..])]
    .concat();
    let path = wireshark.0.file("r.json", &bytes);
    let shown =
        wireshark.read_with(&capture, &["-Y", "acpcap.detector", "-T", "fields", "-e", "acpcap.detector"], Some(&path));
    assert_eq!(shown, ["\u{fffd}".repeat(7)]);
}

/// The plugin's own JSON reader and its quoting, called by themselves.
fn piece_with(folder: &Folder, piece: &str, more: &str) -> PathBuf {
    let text = fs::read_to_string(root("src/cli/wireshark/plugin").join(piece)).unwrap();
    folder.file("piece.lua", format!("{text}\n{more}").as_bytes())
}

fn run_script(wireshark: &Wireshark, script: &Path) -> Vec<String> {
    let mut command = wireshark.tshark(script);
    command.arg("-r").arg(root("captures/healthy-dtls12/client.pcapng")).args(["-c", "1", "-Y", "udp && tcp"]);
    let output = command.output().unwrap();
    assert!(!stderr(&output).contains("Lua"), "{}", stderr(&output));
    stdout(&output).lines().map(str::to_owned).collect()
}

#[test]
fn json_is_read_as_others_read_it() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("json");
    let good = [
        (r#""a\u00e9\ud83d\ude00\n\/""#, "a\u{e9}\u{1f600}\n/"),
        (r#""\ud83dx""#, "\u{fffd}x"),
        (r#"[1, 2.5, -3e2, []]"#, "table"),
        (" {\"a\": {\"b\": [true, false, null]}} ", "table"),
        ("-12.5e1", "-125"),
    ];
    let bad = [
        "",
        "[",
        "]",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "[1,]",
        "[1 2]",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "tru",
        "nul",
        "1 2",
        "--1",
        "1..2",
        "{\"a\":1,}",
        "[1]x",
    ];
    let mut more = String::from(
        "local function hex(s) return (s:gsub('%x%x', function(h) return string.char(tonumber(h, 16)) end)) end\n",
    );
    let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    for (text, _) in good {
        more += &format!(
            "do local v = parse_json(hex('{}')); print(type(v) == 'table' and 'table' or type(v) == 'number' and string.format('%.0f', v) or (clean(v):gsub('\\n', '|'))) end\n",
            hex(text)
        );
    }
    for text in bad {
        more += &format!("print(pcall(parse_json, hex('{}')) and 'read' or 'refused')\n", hex(text));
    }
    let lines = run_script(&wireshark, &piece_with(&wireshark.0, "json.lua", &more));
    let (read, refused) = lines.split_at(good.len());
    let expected: Vec<String> = good.iter().map(|(_, value)| value.replace('\n', "\u{fffd}")).collect();
    assert_eq!(read, expected);
    for (text, said) in bad.iter().zip(refused) {
        assert_eq!(said, "refused", "{text}");
    }
    assert_eq!(refused.len(), bad.len());
}

/// A word reaches the program as it is, whatever a shell would make of it.
#[cfg(unix)]
#[test]
fn hostile_file_names_stay_words() {
    if !has_tshark() {
        return;
    }
    let wireshark = Wireshark::new("quote");
    let canary = wireshark.0.0.join("canary");
    let names = [
        "a'b",
        "$(touch CANARY)",
        "`touch CANARY`",
        "';touch CANARY;'",
        "\"; touch CANARY; \"",
        "a\\",
        "a\\'b",
        "*",
        "-o",
        "a\tb",
        "| touch CANARY",
        "> CANARY",
        "!!",
        "#x",
        "~",
        "",
        " ",
        "\u{202e}x",
        "&touch CANARY&",
    ];
    let names = names.map(|name| name.replace("CANARY", &canary.to_string_lossy()));
    let mut more = String::new();
    for name in &names {
        let bytes: String = name.bytes().map(|b| format!("\\{b:03}")).collect();
        more += &format!(
            "do local p = io.popen(command_line({{'printf', '[%s]', \"{bytes}\"}})); print(p:read('*a')); p:close() end\n"
        );
    }
    more += "print(command_line({'a\\0b'}) == nil, plain_path('-x'), plain_path('client:x'), plain_path('/x'))\n";
    let lines = run_script(&wireshark, &piece_with(&wireshark.0, "quote.lua", &more));
    let (echoed, rest) = lines.split_at(names.len());
    assert_eq!(echoed, names.map(|name| format!("[{name}]")));
    assert_eq!(rest, ["true\t./-x\t./client:x\t/x"]);
    assert!(!canary.exists());
}

/// Every display filter of the profile compiles, and the profile loads.
#[test]
fn the_profile_is_one_that_wireshark_takes() {
    let wireshark = Wireshark::new("profile");
    let profile = wireshark.0.0.join("profiles/acpcap");
    let colours = fs::read_to_string(profile.join("colorfilters")).unwrap();
    let buttons = fs::read_to_string(profile.join("dfilter_buttons")).unwrap();
    let mut filters: Vec<String> = Vec::new();
    for line in colours.lines().filter(|line| !line.starts_with('#')) {
        filters.push(line.split('@').nth(2).unwrap().to_owned());
    }
    for line in buttons.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.trim_matches('"').split("\",\"").collect();
        assert_eq!(cells.len(), 4, "{line}");
        filters.push(cells[2].replace("\\x22", "\""));
    }
    assert!(filters.len() > 15, "{filters:?}");
    if !has_tshark() {
        return;
    }
    let capture = root("captures/healthy-dtls12/client.pcapng");
    for filter in filters {
        wireshark.read(&capture, &["-c", "1", "-Y", &filter]);
    }
    let into = wireshark.0.0.join("home/cfg/profiles/acpcap");
    fs::create_dir_all(&into).unwrap();
    for entry in fs::read_dir(&profile).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, into.join(path.file_name().unwrap())).unwrap();
    }
    let output =
        wireshark.tshark(&wireshark.plugin()).args(["-C", "acpcap", "--color", "-r"]).arg(&capture).output().unwrap();
    let complaints = stderr(&output);
    assert!(output.status.success(), "{complaints}");
    for word in ["acpcap", "filter", "preference", "column"] {
        assert!(!complaints.contains(word), "{complaints}");
    }
}

/// What a command of `acpcap wireshark` prints, the folder's name left out.
fn words(folder: &Wireshark, action: &str, more: &[&str]) -> String {
    let done = folder.call(action, more);
    let text = format!("{}{}", stdout(&done), stderr(&done));
    text.replace(&folder.0.0.display().to_string(), "DIR").replace('\\', "/")
}

#[test]
fn what_the_user_reads() {
    let folder = Wireshark(Folder::new("wireshark-words"));
    let mut all = String::new();
    for (action, more) in [
        ("show", &[][..]),
        ("install", &["--dry-run"]),
        ("install", &[]),
        ("install", &[]),
        ("show", &[]),
        ("uninstall", &["--dry-run"]),
    ] {
        all += &format!("$ acpcap wireshark {action} {}\n{}\n", more.join(" "), words(&folder, action, more));
    }
    let profile = folder.0.0.join("profiles/acpcap");
    fs::write(profile.join("recent"), "# Wireshark's own\n").unwrap();
    fs::write(profile.join("preferences"), "# mine\n").unwrap();
    all += &format!("$ acpcap wireshark install\n{}\n", words(&folder, "install", &[]));
    all += &format!("$ acpcap wireshark uninstall\n{}", words(&folder, "uninstall", &[]));
    insta::assert_snapshot!("wireshark", all);
}

/// Every file under a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}

#[test]
fn installing_twice_changes_nothing_and_uninstalling_takes_all_away() {
    let folder = Wireshark(Folder::new("wireshark-twice"));
    let dry = folder.call("install", &["--dry-run"]);
    assert_eq!(code(&dry), 0);
    assert!(stdout(&dry).contains("would be written"), "{}", stdout(&dry));
    assert!(files(&folder.0.0).is_empty(), "a dry run writes nothing");
    let first = folder.call("install", &[]);
    assert_eq!(stdout(&first).matches("written  ").count(), 4, "{}", stdout(&first));
    let before = files(&folder.0.0);
    assert_eq!(before.len(), 4);
    let second = folder.call("install", &[]);
    assert_eq!(code(&second), 0);
    assert_eq!(stdout(&second).matches("unchanged  ").count(), 4, "{}", stdout(&second));
    assert_eq!(files(&folder.0.0), before);
    assert_eq!(stdout(&folder.call("show", &[])).matches("installed  ").count(), 4);

    assert_eq!(code(&folder.call("uninstall", &["--dry-run"])), 0);
    assert_eq!(files(&folder.0.0), before);
    assert_eq!(code(&folder.call("uninstall", &[])), 0);
    assert!(files(&folder.0.0).is_empty());
    assert!(!folder.0.0.join("profiles/acpcap").exists());
    assert_eq!(code(&folder.call("uninstall", &[])), 0, "nothing to take away is no error");
}

#[test]
fn what_the_user_has_stays_as_it_is() {
    let folder = Wireshark(Folder::new("wireshark-user"));
    let profile = folder.0.0.join("profiles/acpcap");
    fs::create_dir_all(&profile).unwrap();
    fs::create_dir_all(folder.0.0.join("plugins")).unwrap();
    let own = [
        ("init.lua", "-- mine\n"),
        ("colorfilters", "@mine@tcp@[1,2,3][4,5,6]\n"),
        ("preferences", "# mine\n"),
        ("plugins/acpcap.lua", "-- acpcap of another kind\n"),
        ("plugins/other.lua", "-- mine\n"),
        ("profiles/acpcap/dfilter_buttons", "# acpcap filters of mine\n"),
    ];
    for (name, text) in own {
        folder.0.file(name, text.as_bytes());
    }
    let before = files(&folder.0.0);
    let done = folder.call("install", &[]);
    assert_eq!(code(&done), 3, "what could not be installed is said with the exit code");
    let said = stderr(&done);
    assert!(said.contains("acpcap.lua: left alone, it was not written by acpcap"), "{said}");
    assert!(said.contains("dfilter_buttons: left alone, it was not written by acpcap"), "{said}");
    assert_eq!(stdout(&done).matches("written  ").count(), 2, "{}", stdout(&done));
    let with_ours = files(&folder.0.0);
    assert!(before.iter().all(|(path, bytes)| with_ours[path] == *bytes));

    assert_eq!(code(&folder.call("uninstall", &[])), 0);
    assert_eq!(files(&folder.0.0), before);
}

#[test]
fn a_file_that_was_changed_is_the_users() {
    let wireshark = Wireshark::new("changed");
    let rules = wireshark.0.0.join("profiles/acpcap/colorfilters");
    let changed = fs::read_to_string(&rules).unwrap() + "@mine@tcp@[1,2,3][4,5,6]\n";
    fs::write(&rules, &changed).unwrap();
    for action in ["install", "uninstall"] {
        let done = wireshark.call(action, &[]);
        assert_eq!(code(&done), 3);
        assert!(stderr(&done).contains("left alone, it was changed since acpcap wrote it"), "{}", stderr(&done));
        assert_eq!(fs::read_to_string(&rules).unwrap(), changed);
    }
    assert_eq!(files(&wireshark.0.0).len(), 1);
}

/// Where nobody names a folder, tshark is asked, and what it says is where tshark then finds the plugin.
#[cfg(unix)]
#[test]
fn tshark_finds_what_was_installed() {
    if !has_tshark() {
        return;
    }
    let home = Folder::new("wireshark-home");
    let set = |command: &mut Command| {
        command.env("HOME", &home.0).env("WIRESHARK_CONFIG_DIR", home.0.join("cfg")).env_remove("ACPCAP_REPORT");
    };
    let mut install = program();
    set(&mut install);
    let done = install.args(["wireshark", "install"]).output().unwrap();
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    assert!(stdout(&done).contains("folders from tshark"), "{}", stdout(&done));
    let here = root("captures/healthy-dtls12");
    let mut tshark = Command::new("tshark");
    set(&mut tshark);
    let keys = format!("tls.keylog_file:{}", here.join("keys.log").display());
    let output = tshark
        .args(["-C", "acpcap", "-o", &keys, "-Y", "cstp.type == 3", "-r"])
        .arg(here.join("client.pcapng"))
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("DPD-REQ"), "{}", stdout(&output));
}
