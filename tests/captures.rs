//! Every case of `captures/`: what must be found is found, what must stay clear stays clear, and the report reads as it did.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use acpcap::analysis::{self, Options, Source};
use acpcap::capture::Item;
use acpcap::capture::reader::{Limits, Reader};
use acpcap::decrypt::Keyring;
use acpcap::report::{Answer, Report, Severity, csv, md, note, text};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Case {
    about: String,
    origin: String,
    run: Vec<Run>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Run {
    name: String,
    files: Vec<String>,
    /// A key log to read them with.
    #[serde(default)]
    keys: Option<String>,
    /// What was read inside with it: each CONNECT, and the packets of each tunnel.
    #[serde(default)]
    inside: Vec<String>,
    /// Detector id → the worst severity of its findings over all sessions.
    found: BTreeMap<String, String>,
    /// Detectors that no session can answer.
    cannot_tell: Vec<String>,
    /// Detectors that find nothing in any session and can say so in at least one.
    clear: Vec<String>,
}

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

fn cases() -> Vec<(String, Case)> {
    let mut cases: Vec<(String, Case)> = fs::read_dir(captures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| {
            let text = fs::read_to_string(path.join("case.toml")).unwrap();
            let case = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (path.file_name().unwrap().to_string_lossy().into_owned(), case)
        })
        .collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

fn analyze(case: &str, run: &Run) -> Report {
    let mut keyring = Keyring::new();
    if let Some(keys) = &run.keys {
        keyring.add_key_log(&fs::read(captures().join(case).join(keys)).unwrap());
    }
    let sources = run.files.iter().map(|file| {
        let (vantage, name) = match file.split_once(':') {
            Some((vantage, name)) => (Some(vantage.parse().unwrap()), name),
            None => (None, file.as_str()),
        };
        let path = captures().join(case).join(name);
        let input = Box::new(File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
        Ok(Source { path: format!("captures/{case}/{name}"), vantage, input, continues: false })
    });
    let options = Options::default();
    let outcome = analysis::analyze_with_keys(sources, &options, &mut keyring, &mut |_| ControlFlow::Continue(()));
    assert!(outcome.errors.is_empty(), "{case}: {:?}", outcome.errors);
    outcome.report
}

/// What was read inside, a line each.
fn inside(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for session in &report.sessions {
        for connect in &session.connects {
            let mtu = |mtu: Option<u16>| mtu.map_or("-".to_owned(), |mtu| mtu.to_string());
            let (tls, dtls) = (mtu(connect.cstp_mtu), mtu(connect.dtls_mtu));
            let status = connect.status.unwrap_or(0);
            lines.push(format!("connect on tcp.stream {}: {status}, MTU {tls} and {dtls}", connect.stream));
        }
        for tunnel in &session.tunnels {
            let kind = if tunnel.kind == "dtls" { "udp" } else { "tcp" };
            let Some(packets) = &tunnel.packets else { continue };
            for (way, counts) in [("to gateway", &packets.to_gateway), ("to client", &packets.to_client)] {
                let kinds: Vec<String> = counts.kinds.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
                if !kinds.is_empty() {
                    let (stream, largest) = (tunnel.stream, counts.biggest_data);
                    lines.push(format!("{kind}.stream {stream} {way}: {}, largest {largest}", kinds.join(", ")));
                }
            }
        }
    }
    lines
}

#[test]
fn every_case_gets_its_verdict() {
    let mut wrong = Vec::new();
    for (name, case) in cases() {
        assert!(!case.about.is_empty() && !case.origin.is_empty(), "{name} says what it is and where it is from");
        for run in &case.run {
            let report = analyze(&name, run);
            assert!(!report.sessions.is_empty(), "{name}/{}: no session", run.name);
            let worst = |id: &str| report.findings.iter().filter(|f| f.detector == id).map(|f| f.severity).max();
            for check in &report.checks {
                let listed = run.found.contains_key(&check.detector)
                    || run.cannot_tell.contains(&check.detector)
                    || run.clear.contains(&check.detector);
                assert!(listed, "{name}/{}: case.toml does not say what {} must answer", run.name, check.detector);
            }
            if run.keys.is_some() && inside(&report) != run.inside {
                wrong.push(format!("{name}/{}: inside is {:#?}", run.name, inside(&report)));
            }
            for (id, severity) in &run.found {
                if worst(id).map(word) != Some(severity.as_str()) {
                    wrong.push(format!("{name}/{}: {id} should be {severity}, is {:?}", run.name, worst(id)));
                }
            }
            let answers = |id: &str| -> Vec<Answer> {
                report.checks.iter().filter(|c| c.detector == id).map(|c| c.outcome).collect()
            };
            for id in &run.cannot_tell {
                if answers(id).iter().any(|a| *a != Answer::CannotTell) {
                    wrong.push(format!("{name}/{}: {id} should not be able to tell", run.name));
                }
            }
            for id in &run.clear {
                let answers = answers(id);
                if answers.contains(&Answer::Found) || !answers.contains(&Answer::Clear) {
                    wrong.push(format!("{name}/{}: {id} should be clear, is {answers:?}", run.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A capture of the client, as it is with that snap length: a pcap of Ethernet.
fn cut_to(snap: usize, case: &str) -> Vec<u8> {
    let input = Box::new(File::open(captures().join(case).join("client.pcapng")).unwrap());
    let mut file = [0xa1b2_3c4d, 0x0004_0002, 0, 0, snap as u32, 1].map(u32::to_le_bytes).concat();
    let mut reader = Reader::new(case, input, Limits::default()).unwrap();
    let read = reader.for_each(|item| {
        if let Item::Frame(frame) = item {
            let (nanos, kept) = (frame.at.nanos(), frame.data.len().min(snap));
            let (seconds, rest) = ((nanos / 1_000_000_000) as u32, (nanos % 1_000_000_000) as u32);
            file.extend([seconds, rest, kept as u32, frame.original_len].map(u32::to_le_bytes).concat());
            file.extend(frame.data.iter().take(kept));
        }
        ControlFlow::Continue(())
    });
    read.unwrap();
    file
}

#[test]
fn where_frames_are_cut_too_short_to_read_tls_its_connections_are_followed() {
    for (case, stream, cause) in [("asa-anyconnect", 1, Some("mtu")), ("asa-dtls-stalls-after-hvr", 0, None)] {
        let input = Box::new(Cursor::new(cut_to(68, case)));
        let source = Source { path: "client.pcap".to_owned(), vantage: None, input, continues: false };
        let outcome =
            analysis::analyze([Ok(source)].into_iter(), &Options::default(), &mut |_| ControlFlow::Continue(()));
        let [session] = &outcome.report.sessions[..] else { panic!("{case}: {:?}", outcome.report.sessions) };
        let known = format!("(tcp.stream {stream}), whose frames are cut too short to read the TLS");
        assert!(session.identified_by.ends_with(&known), "{case}: {}", session.identified_by);
        assert_eq!(session.reconnects.first().map(|reconnect| reconnect.cause.as_str()), cause, "{case}");
        let mut page = Vec::new();
        text::render(&outcome.report, text::Look::default(), &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains("DTLS 0.9 (0x0100)") && !page.contains("0x0000"), "{case}: {page}");
    }
}

#[test]
fn other_traffic_is_passed_over_in_silence() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/other-traffic");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let captures: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "pcap")).collect();
    assert!(captures.len() >= 10, "only {captures:?}");
    for path in captures {
        let input = Box::new(File::open(&path).unwrap());
        let source = Source { path: path.display().to_string(), vantage: None, input, continues: false };
        let outcome =
            analysis::analyze([Ok(source)].into_iter(), &Options::default(), &mut |_| ControlFlow::Continue(()));
        let report = outcome.report;
        assert!(report.captures.iter().all(|c| c.frames > 10), "{}: hardly anything in it", path.display());
        assert!(report.sessions.is_empty() && report.findings.is_empty(), "{}: {:?}", path.display(), report.sessions);
    }
}

#[test]
fn every_report_reads_as_it_did() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _bound = settings.bind_to_scope();
    for (name, case) in cases() {
        for run in &case.run {
            let report = analyze(&name, run);
            let mut page = Vec::new();
            text::render(&report, text::Look::default(), &mut page).unwrap();
            insta::assert_snapshot!(format!("{name}--{}", run.name), String::from_utf8(page).unwrap());
            let mut page = Vec::new();
            note::render(&report, &mut page).unwrap();
            insta::assert_snapshot!(format!("{name}--{}--note", run.name), String::from_utf8(page).unwrap());
        }
    }
}

/// One page of each of the other formats for people: the capture with everything wrong, and the one with nothing.
#[test]
fn tables_and_wiki_pages_read_as_they_did() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _bound = settings.bind_to_scope();
    for (name, run) in [("asa-anyconnect", "all"), ("healthy-dtls12", "client"), ("multi-session", "all")] {
        let (_, case) = cases().into_iter().find(|(case, _)| case == name).unwrap();
        let run = case.run.iter().find(|known| known.name == run).unwrap();
        let report = analyze(name, run);
        let mut page = Vec::new();
        csv::render(&report, &mut page).unwrap();
        let table = String::from_utf8(page).unwrap();
        assert_eq!(table.matches("\r\n").count(), report.sessions.len() + 1);
        insta::assert_snapshot!(format!("{name}--{}--csv", run.name), table.replace("\r\n", "\n"));
        let mut page = Vec::new();
        md::render(&report, &mut page).unwrap();
        insta::assert_snapshot!(format!("{name}--{}--md", run.name), String::from_utf8(page).unwrap());
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
    }
}
