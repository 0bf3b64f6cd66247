//! The program as a user types it: flags, files, standard input, exit codes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

#[path = "support/command.rs"]
mod command;

use command::{Folder, code, program, run, stderr, stdout};

/// A classic pcap file's header, Ethernet, little endian.
fn header() -> Vec<u8> {
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
    bytes.extend([0; 8]);
    bytes.extend(262_144u32.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes
}

/// One frame that means nothing, at `seconds`.
fn frame(seconds: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [seconds, 0, 60, 60] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend([0; 60]);
    bytes
}

fn capture() -> Vec<u8> {
    [header(), frame(1), frame(2)].concat()
}

fn strs<'a>(args: &'a [&'a str], path: &'a Path) -> Vec<&'a OsStr> {
    let mut all: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
    all.push(path.as_os_str());
    all
}

#[test]
fn help_goes_to_standard_output_with_examples_and_exit_codes() {
    let help = run(["analyze", "--help"]);
    assert_eq!(code(&help), 0);
    let text = stdout(&help);
    for words in ["[VANTAGE:]FILE", "--fail-on", "Examples:", "Exit codes:", "130  interrupted"] {
        assert!(text.contains(words), "{words} not in\n{text}");
    }
    assert!(stderr(&help).is_empty());
    assert_eq!(code(&run(["--help"])), 0);
    let version = run(["-V"]);
    assert_eq!(stdout(&version), format!("acpcap {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn usage_errors_are_two() {
    let folder = Folder::new("usage");
    let file = folder.file("a.pcap", &capture());
    let file = file.to_str().unwrap();
    let lines: [&[&str]; 13] = [
        &[],
        &["nonsense"],
        &["analyze"],
        &["analyze", "--nonsense", file],
        &["analyze", "--format", "xml", file],
        &["analyze", "--format", "text", "--format", "json", file],
        &["analyze", "--format", "json=x", "-o", "y", file],
        &["analyze", "--fail-on", "worst", file],
        &["analyze", "--vantage", "moon", file],
        &["analyze", "--tls-mtu", "20", file],
        &["analyze", file, file],
        &["analyze", "client:"],
        &["analyze", "-o", file, file],
    ];
    for line in lines {
        let output = run(line);
        assert_eq!(code(&output), 2, "{line:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty(), "{line:?}");
        assert!(!stderr(&output).is_empty(), "{line:?}");
    }
    assert_eq!(std::fs::read(file).unwrap(), capture(), "the capture must survive -o");
}

#[test]
fn a_file_where_a_command_belongs_gets_a_hint() {
    let folder = Folder::new("hint");
    let file = folder.file("a.pcap", &capture());
    let output = run([&file]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("acpcap analyze "), "{}", stderr(&output));
}

#[test]
fn a_missing_file_is_three_and_named() {
    let output = run(["analyze", "no/such.pcap"]);
    assert_eq!(code(&output), 3);
    let message = stderr(&output);
    assert!(message.contains("no/such.pcap: cannot open"), "{message}");
    let output = run(["analyze", "outisde:no.pcap"]);
    assert!(stderr(&output).contains("was 'outside:' meant?"), "{}", stderr(&output));
}

#[test]
fn a_file_that_is_no_capture_is_three_with_offset_and_reason() {
    let folder = Folder::new("bad");
    let file = folder.file("bad.pcap", b"this is not a capture, just words\n");
    let output = run(strs(&["analyze"], &file));
    assert_eq!(code(&output), 3);
    let message = stderr(&output);
    assert!(message.contains("bad.pcap: not a capture file at offset 0: "), "{message}");
    assert_eq!(code(&run(strs(&["analyze"], &folder.0))), 3);
}

#[test]
fn one_bad_file_does_not_stop_the_others() {
    let folder = Folder::new("mixed");
    let good = folder.file("good.pcap", &capture());
    let bad = folder.file("bad.pcap", b"nothing of the sort at all");
    let output = run([OsStr::new("analyze"), bad.as_os_str(), good.as_os_str()]);
    assert_eq!(code(&output), 3);
    assert!(stdout(&output).contains("good.pcap\n  pcap · 2 frames"), "{}", stdout(&output));
    assert!(stderr(&output).contains("bad.pcap"), "{}", stderr(&output));
}

#[test]
fn a_capture_without_sessions_is_done_and_says_so() {
    let folder = Folder::new("none");
    let file = folder.file("a.pcap", &capture());
    let output = run(strs(&["analyze", "--fail-on", "info"], &file));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("NO ANYCONNECT SESSION"), "{}", stdout(&output));
    assert!(stderr(&output).is_empty(), "{}", stderr(&output));
}

#[test]
fn standard_input_is_a_dash() {
    let mut child = program()
        .args(["analyze", "--format", "json", "inside:-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&capture()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["captures"][0]["path"], "-");
}

#[test]
fn several_formats_come_from_one_pass() {
    let folder = Folder::new("formats");
    let file = folder.file("a.pcap", &capture());
    let json = folder.0.join("r.json");
    let format = format!("json={}", json.display());
    let output = run(strs(&["analyze", "--format", "text", "--format", &format], &file));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("a.pcap"));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["schema_version"], acpcap::report::SCHEMA_VERSION);

    let text = folder.0.join("r.txt");
    let to = text.to_str().unwrap();
    let output = run(strs(&["analyze", "-o", to], &file));
    assert!(stdout(&output).is_empty());
    assert!(std::fs::read_to_string(&text).unwrap().contains("NO ANYCONNECT SESSION"));
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 3, "no temporary file stays");
}

#[test]
fn a_report_that_cannot_be_written_is_three() {
    let folder = Folder::new("unwritable");
    let file = folder.file("a.pcap", &capture());
    let output = run(strs(&["analyze", "-o", "no/such/folder/r.txt"], &file));
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("no/such/folder/r.txt: cannot write"), "{}", stderr(&output));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_three_and_a_closed_pipe_is_quiet() {
    let folder = Folder::new("full");
    let file = folder.file("a.pcap", &capture());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = program().args(strs(&["analyze"], &file)).stdout(full).output().unwrap();
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("No space left"), "{}", stderr(&output));

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program().arg("schema").stdout(writer).output().unwrap();
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).is_empty(), "{}", stderr(&output));
}

#[test]
fn piped_output_is_plain_unless_colour_is_asked_for() {
    let folder = Folder::new("colour");
    let file = folder.file("a.pcap", &capture());
    let escape = |output: &Output| output.stdout.contains(&0x1b);
    assert!(!escape(&run(strs(&["analyze"], &file))));
    assert!(escape(&run(strs(&["analyze", "--color", "always"], &file))));
    let forced = || {
        let mut command = program();
        command.env("CLICOLOR_FORCE", "1");
        command
    };
    let output = forced().args(strs(&["analyze"], &file)).output().unwrap();
    assert!(escape(&output));
    let output = forced().args(strs(&["analyze", "--color", "never"], &file)).output().unwrap();
    assert!(!escape(&output));
    let output = program().env("NO_COLOR", "1").args(strs(&["analyze"], &file)).output().unwrap();
    assert!(!escape(&output));
    let output = run(strs(&["analyze", "--ascii"], &file));
    assert!(output.stdout.is_ascii());
}

#[cfg(unix)]
#[test]
fn a_hostile_file_name_is_shown_and_not_obeyed() {
    let folder = Folder::new("hostile");
    let name = "a\u{1b}[2J\n\u{202e}.pcap";
    let file = folder.file(name, &capture());
    let output = run(strs(&["analyze"], &file));
    let text = stdout(&output);
    assert!(text.contains(r"a\x1b[2J\n\u{202e}.pcap"), "{text}");
    assert!(!text.contains('\u{1b}'));
    std::fs::remove_file(&file).unwrap();
    let output = run(strs(&["analyze"], &file));
    assert!(!stderr(&output).contains('\u{1b}'), "{}", stderr(&output));
}

#[test]
fn detectors_are_listed_and_explained() {
    let list = run(["detectors"]);
    assert_eq!(code(&list), 0);
    for detector in acpcap::detect::DETECTORS {
        assert!(stdout(&list).contains(detector.id));
        let page = run(["explain", detector.id]);
        assert_eq!(code(&page), 0);
        assert!(stdout(&page).starts_with(detector.id));
    }
    let known = acpcap::detect::DETECTORS[0].id;
    let unknown = run(["explain", &known[..known.len() - 1]]);
    assert_eq!(code(&unknown), 2);
    assert!(stdout(&unknown).is_empty());
    assert!(stderr(&unknown).contains(known), "{}", stderr(&unknown));
}

#[test]
fn schema_completions_and_man_pages_are_generated() {
    let schema = run(["schema"]);
    assert_eq!(code(&schema), 0);
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert_eq!(schema["title"], "Report");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(["completions", shell]);
        assert_eq!(code(&script), 0);
        assert!(stdout(&script).contains("acpcap"));
    }
    assert!(stdout(&run(["man"])).contains(".TH acpcap 1"));
    assert!(stdout(&run(["man", "analyze"])).contains(".TH acpcap-analyze 1"));
    assert_eq!(code(&run(["man", "nonsense"])), 2);
    let folder = Folder::new("man");
    assert_eq!(code(&run(strs(&["man", "--dir"], &folder.0))), 0);
    assert!(folder.0.join("acpcap-analyze.1").is_file());
}

#[test]
fn mtu_says_what_would_avoid_the_reconnect() {
    let says = |line: &str| {
        let output = run(["mtu"].into_iter().chain(line.split(' ')));
        assert_eq!(code(&output), 0, "{line}: {}", stderr(&output));
        stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let page = says("--tcpmss 1380 --cipher AES256-SHA256 --dtls-cipher AES256-SHA");
    assert!(page.contains("packets of 1304 to 1418 bytes toward the client do not fit the TLS tunnel"), "{page}");
    assert!(page.contains("anyconnect mtu 1300 yes: both become 1300"), "{page}");
    assert!(page.contains("sysopt connection tcpmss 1460 no: TLS 1383 is still below DTLS 1418"), "{page}");

    // 1300 is the note's number, and too much for this suite.
    let page = says("--mss 1380 --cipher ECDHE-RSA-AES256-SHA384 --anyconnect-mtu 1300");
    assert!(page.contains("anyconnect mtu 1300 leaves TLS 1287 and DTLS 1300."), "{page}");
    assert!(page.contains("anyconnect mtu 1280 yes: both become 1280"), "{page}");

    let page = says("--mss 1380 --cipher AES256-SHA256 --dtls-cipher AES256-SHA --anyconnect-mtu 1300");
    assert!(!page.contains("until the client reconnects") && !page.contains("What would avoid that"), "{page}");
}

#[test]
fn a_note_fits_into_a_case() {
    let output = run(["analyze", "--format", "note", "captures/asa-anyconnect/all.pcapng"]);
    let page = stdout(&output);
    assert!(page.is_ascii() && page.lines().count() <= 40 && page.lines().all(|line| line.len() <= 80), "{page}");
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in
        ["198.51.100.10 -> 203.0.113.2:443", "2026-11-23 11:01:34.428 UTC", "HIGH oversized-df", "Absent:", "Do: (1)"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn a_table_has_a_row_for_each_session_and_a_page_its_verdict_first() {
    let capture = "captures/multi-session/outside.pcapng";
    let sessions: serde_json::Value =
        serde_json::from_slice(&run(["analyze", "--format", "json", capture]).stdout).unwrap();
    let sessions = sessions["sessions"].as_array().unwrap();
    let table = run(["analyze", "--format", "csv", capture]);
    assert_eq!(code(&table), 0, "{}", stderr(&table));
    let mut reader = csv::Reader::from_reader(&table.stdout[..]);
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let known: Vec<&str> = acpcap::report::csv::COLUMNS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, known);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), sessions.len());
    assert!(rows.len() > 1);
    for (row, session) in rows.iter().zip(sessions) {
        assert_eq!((&row[0], &row[1]), (session["id"].as_str().unwrap(), session["client"].as_str().unwrap()));
    }
    let folder = Folder::new("md");
    let page = folder.0.join("r.md");
    let output = run(["analyze", "captures/asa-anyconnect/all.pcapng", "-o", page.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let page = std::fs::read_to_string(page).unwrap();
    let order = [
        "# AnyConnect capture report: HIGH",
        "**DTLS never came up",
        "### Do now",
        "### What was found",
        "### Timeline",
    ];
    let places: Vec<usize> = order.iter().map(|words| page.find(words).unwrap_or_default()).collect();
    assert!(places.is_sorted() && places[1] > 0, "{places:?}: {page}");
}

#[test]
fn mtu_shows_every_term_and_the_notes_own_line() {
    let output = run(["mtu"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("1380 - 5 (TLS header) - 8 (CSTP) - 0 (padding) - 20 (HASH) = 1347"), "{text}");
    assert!(text.contains("MTU 1303: an inner IPv4 SYN says MSS 1263"), "{text}");
    assert!(text.contains("MTU 1418: an inner IPv4 SYN says MSS 1378"), "{text}");
    assert!(text.contains("1304 to 1418 bytes"), "{text}");
    for (line, mtu) in [
        ("--mss 1380 --cipher RC4-SHA", 1347),
        ("--mss 1460 --cipher AES256-SHA --timestamps", 1395),
        ("--mss 1380 --cipher AES256-SHA --tls-version 1.0", 1331),
        ("--mss 1380 --cipher AES256-SHA --etm", 1319),
        ("--mss 1380 --cipher TLS_AES_256_GCM_SHA384", 1350),
        ("--base-mtu 1406 --cipher 0x003d", 1303),
        ("--base-mtu 1500 --ipv6 --dtls-cipher AES256-SHA256", 1374),
    ] {
        let output = run(["mtu"].into_iter().chain(line.split(' ')));
        assert!(stdout(&output).contains(&format!("MTU {mtu}:")), "{line}: {}", stdout(&output));
    }
    for line in ["--cipher nonsense", "--tls-version 1.3", "--mss 10"] {
        assert_eq!(code(&run(["mtu"].into_iter().chain(line.split(' ')))), 2, "{line}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_prints_what_was_found_so_far() {
    let mut child = program()
        .args(["analyze", "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let id = child.id().to_string();
    let feeder = std::thread::spawn(move || {
        // Frames without end, until nobody reads them.
        let some = frame(1).repeat(1000);
        let mut sent = input.write_all(&header());
        let mut rounds = 0u32;
        while sent.is_ok() && rounds < 2_000_000 {
            if rounds == 50 {
                let _ = Command::new("kill").args(["-INT", &id]).status();
            }
            rounds += 1;
            sent = input.write_all(&some);
        }
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert_eq!(code(&output), 130, "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["complete"], false);
    assert!(stderr(&output).contains("stopping"), "{}", stderr(&output));
}
