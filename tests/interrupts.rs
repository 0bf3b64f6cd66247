//! Signals, full disks, pipes that close and reads that fail: what was found is told, exit codes are the documented ones, and no
//! half-written file stays.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot set itself up has failed")]

#[path = "support/command.rs"]
mod command;

use acpcap::analysis::{self, Options, Source};
use command::{Folder, code, program, run, stderr, stdout};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A capture with its secrets in it: some packets come out of a tunnel.
const SEALED: &str = "tests/sealed/tls12-aes-256-gcm.pcapng";
/// More than a pipe holds: whoever wrote that much was read, and whoever reads has taken over the signals.
const MORE_THAN_A_PIPE: usize = 300_000;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Blocks of a type nobody knows, which mean nothing.
fn padding(length: usize) -> Vec<u8> {
    let block = [&0x0000_7777_u32.to_le_bytes()[..], &1012_u32.to_le_bytes(), &[0; 1000], &1012_u32.to_le_bytes()];
    block.concat().repeat(length / 1012 + 1)
}

fn spawn<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Child {
    let mut command = program();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn names(folder: &Folder) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(&folder.0).unwrap().map(name).collect();
    names.sort();
    names
}

/// Feeds it a capture and more than a pipe holds, and signals while it waits for the rest.
fn interrupted<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, capture: &[u8], name: &str) -> std::process::Output {
    let mut child = spawn(args);
    let mut input = child.stdin.take().unwrap();
    input.write_all(capture).unwrap();
    input.write_all(&padding(MORE_THAN_A_PIPE)).unwrap();
    signal(&child, name);
    let output = child.wait_with_output().unwrap();
    // Open until here: it was the signal that ended the wait.
    drop(input);
    output
}

#[test]
fn a_signal_ends_the_wait_for_a_silent_source() {
    let capture = fs::read(root("captures/asa-anyconnect/client.pcapng")).unwrap();
    let whole = run(["analyze", "--format", "json", "captures/asa-anyconnect/client.pcapng"]);
    let whole: serde_json::Value = serde_json::from_slice(&whole.stdout).unwrap();
    for name in ["-INT", "-TERM", "-HUP"] {
        let output = interrupted(["analyze", "--format", "json", "client:-"], &capture, name);
        assert_eq!(code(&output), 130, "{name}: {}", stderr(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["complete"], false);
        assert_eq!(report["captures"][0]["frames"], whole["captures"][0]["frames"], "all that came was read");
        let detectors = |report: &serde_json::Value| -> Vec<String> {
            report["findings"].as_array().unwrap().iter().map(|f| f["detector"].to_string()).collect()
        };
        assert_eq!(detectors(&report), detectors(&whole));
        assert!(report["losses"].as_array().unwrap().iter().any(|loss| loss["kind"] == "interrupted"));
        assert!(
            stderr(&output).contains("stopping") && !stderr(&output).contains("cannot read"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn files_behind_the_one_that_was_interrupted_are_not_begun() {
    let capture = fs::read(root(SEALED)).unwrap();
    let other = "captures/dtls-disabled/client.pcapng";
    let output = interrupted(["analyze", "--format", "json", SEALED, "-", other], &capture, "-INT");
    assert_eq!(code(&output), 130, "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let read: Vec<&str> = report["captures"].as_array().unwrap().iter().map(|c| c["path"].as_str().unwrap()).collect();
    assert_eq!(read, [SEALED, "-"]);
}

#[test]
fn an_interrupted_decryption_keeps_the_packets_it_has() {
    let capture = fs::read(root(SEALED)).unwrap();
    let folder = Folder::new("interrupted-decrypt");
    let to = folder.0.join("inner.pcapng");
    let output = interrupted(["decrypt".as_ref(), "-".as_ref(), "-o".as_ref(), to.as_os_str()], &capture, "-INT");
    assert_eq!(code(&output), 130, "{}", stderr(&output));
    assert_eq!(names(&folder), ["inner.pcapng"]);
    let again = run(["analyze".as_ref(), to.as_os_str(), "--format".as_ref(), "json".as_ref()]);
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(report["captures"][0]["truncated"], false);
    assert!(report["captures"][0]["frames"].as_u64().unwrap() > 0);

    let keys = folder.0.join("keys.log");
    let output = interrupted(["keys".as_ref(), "-".as_ref(), "-o".as_ref(), keys.as_os_str()], &capture, "-TERM");
    assert_eq!(code(&output), 130, "{}", stderr(&output));
    assert!(fs::read_to_string(&keys).unwrap().starts_with("CLIENT_RANDOM "));
}

#[test]
fn an_interrupted_run_without_a_result_leaves_everything_as_it_was() {
    let capture = fs::read(root("captures/dtls-disabled/client.pcapng")).unwrap();
    let folder = Folder::new("interrupted-nothing");
    let to = folder.file("old", b"old");
    for command in ["decrypt", "keys"] {
        let output = interrupted([command.as_ref(), "-".as_ref(), "-o".as_ref(), to.as_os_str()], &capture, "-INT");
        assert_eq!(code(&output), 130, "{command}: {}", stderr(&output));
        assert_eq!(names(&folder), ["old"]);
        assert_eq!(fs::read(&to).unwrap(), b"old");
    }
}

/// Has it taken over SIGINT? Where nobody can tell, it is given time.
fn listens(child: &Child) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{}/status", child.id())) else {
        std::thread::sleep(Duration::from_secs(1));
        return true;
    };
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 2 != 0
}

/// A decryption that has begun to write, and waits for somebody to open its capture.
fn stuck(folder: &Folder) -> Option<(Child, PathBuf)> {
    let pipe = folder.0.join("pipe");
    if !Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        eprintln!("no mkfifo: a run that is stuck cannot be made");
        return None;
    }
    let to = folder.file("inner.pcapng", b"old");
    let child = spawn(["decrypt".as_ref(), pipe.as_os_str(), "-o".as_ref(), to.as_os_str()]);
    // The file that is only tried looks like the one that is written, and comes before anybody listens to signals.
    while !listens(&child) {
        std::thread::sleep(Duration::from_millis(5));
    }
    while !names(folder).iter().any(|name| name.ends_with(".tmp")) {
        std::thread::sleep(Duration::from_millis(5));
    }
    Some((child, to))
}

#[test]
fn the_second_signal_ends_at_once_and_leaves_nothing_half_written() {
    let folder = Folder::new("second-signal");
    let Some((mut child, to)) = stuck(&folder) else { return };
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    signal(&child, "-INT");
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    assert!(line.contains("once more to stop without a report"), "{line}");
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(&folder), ["inner.pcapng", "pipe"]);
    assert_eq!(fs::read(to).unwrap(), b"old");
}

#[test]
fn a_kill_leaves_the_target_alone() {
    let folder = Folder::new("killed");
    let Some((mut child, to)) = stuck(&folder) else { return };
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"old");
    let left: Vec<String> = names(&folder).into_iter().filter(|n| n != "inner.pcapng" && n != "pipe").collect();
    assert_eq!(left, [format!(".inner.pcapng.{}-0.tmp", child.id())], "hidden, and named after its run");
    let output = run(["decrypt".as_ref(), root(SEALED).as_os_str(), "-o".as_ref(), to.as_os_str()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_ne!(fs::read(&to).unwrap(), b"old");
}

#[cfg(target_os = "linux")]
#[test]
fn a_report_that_finds_no_room_goes_to_standard_output() {
    let file = "captures/asa-anyconnect/client.pcapng";
    let output = run(["analyze", "-o", "/dev/full", file]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("/dev/full: cannot write: No space left"), "{}", stderr(&output));
    assert!(stderr(&output).contains("the report goes to standard output instead"), "{}", stderr(&output));
    assert_eq!(stdout(&output), stdout(&run(["analyze", file])));

    let output = run(["analyze", "--format", "text", "--format", "json=/dev/full", file]);
    assert_eq!(code(&output), 3);
    assert_eq!(stdout(&output), stdout(&run(["analyze", file])), "one report to an output");

    for command in ["decrypt", "keys"] {
        let output = run([command, SEALED, "-o", "/dev/full"]);
        assert_eq!(code(&output), 3, "{command}: {}", stderr(&output));
        assert!(stderr(&output).contains("No space left"), "{command}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "secrets go nowhere else");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_the_old_file_and_nothing_else() {
    let folder = Folder::new("tmpfs");
    let disk = folder.0.join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=16k", "tmpfs"];
    let mounted = Command::new("mount").args(mount).arg(&disk).stderr(Stdio::null()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("no file system of 16 KiB could be mounted: needs root");
        return;
    }
    let old = disk.join("out");
    fs::write(&old, "old").unwrap();
    let file = root("captures/asa-anyconnect/all.pcapng");
    let log = root("captures/asa-anyconnect/keys.log");
    let report =
        run(["analyze", "--format", "json", "-o"].map(OsStr::new).into_iter().chain([old.as_ref(), file.as_ref()]));
    let inner =
        run(["decrypt".as_ref(), file.as_os_str(), "--keylog".as_ref(), log.as_ref(), "-o".as_ref(), old.as_ref()]);
    let left: Vec<_> = fs::read_dir(&disk).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let kept = fs::read(&old).unwrap();
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    for output in [&report, &inner] {
        assert_eq!(code(output), 3, "{}", stderr(output));
        assert!(stderr(output).contains("No space left"), "{}", stderr(output));
    }
    assert!(serde_json::from_slice::<serde_json::Value>(&report.stdout).is_ok(), "what was found is not lost");
    assert!(inner.stdout.is_empty());
    assert_eq!((left, kept), (vec!["out".into()], b"old".to_vec()));
}

#[test]
fn a_reader_that_goes_away_ends_the_reading() {
    let capture = fs::read(root("captures/asa-anyconnect/all.pcapng")).unwrap();
    let mut child = spawn(["decrypt", "-", "--keylog", "captures/asa-anyconnect/keys.log", "-o", "-"]);
    drop(child.stdout.take().unwrap());
    let mut input = child.stdin.take().unwrap();
    // One capture after the other: it ends because nobody reads, not because nothing comes.
    let rounds = (0..1000).take_while(|_| input.write_all(&capture).is_ok()).count();
    assert!(rounds < 1000, "it went on reading for nobody");
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program().args(["analyze", "captures/asa-anyconnect/all.pcapng"]).stdout(writer).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stderr(&output).is_empty(), "{}", stderr(&output));
}

/// The same capture with its secrets behind all frames.
fn with_late_secrets(capture: &[u8]) -> Vec<u8> {
    let mut rest = capture;
    let (mut frames, mut secrets) = (Vec::new(), Vec::new());
    while let Some(length) = rest.get(4..8) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let (block, after) = rest.split_at(length);
        if block[..4] == [10, 0, 0, 0] {
            secrets.extend_from_slice(block)
        } else {
            frames.extend_from_slice(block)
        }
        rest = after;
    }
    assert!(!secrets.is_empty());
    [frames, secrets].concat()
}

#[test]
fn secrets_behind_their_frames_open_them_into_a_pipe_too() {
    let folder = Folder::new("late-secrets");
    let early = run(["decrypt", "-q", SEALED, "-o", "-"]);
    let late = folder.file("late.pcapng", &with_late_secrets(&fs::read(root(SEALED)).unwrap()));
    let late = run(["decrypt".as_ref(), "-q".as_ref(), late.as_os_str(), "-o".as_ref(), "-".as_ref()]);
    assert_eq!((code(&early), code(&late)), (0, 0), "{}", stderr(&late));
    // A section without packets stands in front: it was the first reading's.
    assert!(early.stdout.len() > 200 && late.stdout.ends_with(&early.stdout));
    let again = run(["analyze".as_ref(), folder.file("inner.pcapng", &late.stdout).as_os_str()]);
    assert_eq!(code(&again), 0, "{}", stderr(&again));
}

/// Fails after what it has.
struct Failing(Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self.0.read(space)? {
            0 => Err(io::Error::other("the disk is gone")),
            got => Ok(got),
        }
    }
}

#[test]
fn a_read_that_fails_midway_is_told_in_the_report() {
    let bytes = fs::read(root("captures/asa-anyconnect/client.pcapng")).unwrap();
    let half = bytes[..bytes.len() / 2].to_vec();
    let input = Box::new(Failing(Cursor::new(half)));
    let source = Source { path: "far away".to_owned(), vantage: None, input, continues: false };
    let outcome = analysis::analyze([Ok(source)].into_iter(), &Options::default(), &mut |_| ControlFlow::Continue(()));
    let report = outcome.report;
    assert_eq!(outcome.errors.len(), 1);
    assert!(report.captures[0].frames > 10 && !report.sessions.is_empty() && !report.complete);
    let told: Vec<&str> = report.losses.iter().filter(|l| l.kind == "unreadable").map(|l| l.text.as_str()).collect();
    assert_eq!(told, ["far away: cannot read: the disk is gone"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_cannot_be_read_is_three() {
    // Address 0 of a process is never mapped: reading it is an input/output error.
    let output = run(["analyze", "--format", "json", "/proc/self/mem", SEALED]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("/proc/self/mem: cannot read: Input/output error"), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["captures"][0]["path"], SEALED);
    assert!(report["losses"].as_array().unwrap().iter().any(|loss| loss["kind"] == "unreadable"));

    let output = run(["analyze", "-o", "/proc/report.txt", SEALED]);
    assert_eq!(code(&output), 3, "a folder that takes no files: {}", stderr(&output));
    assert!(output.stdout.is_empty(), "nothing was read yet");
}

#[test]
fn secrets_are_not_replaced_by_what_they_open() {
    let folder = Folder::new("own-secrets");
    let bytes = fs::read(root("captures/asa-anyconnect/keys.log")).unwrap();
    let log = folder.file("keys.log", &bytes);
    let pem = folder.file("gateway.pem", &fs::read(root("tests/sealed/rsa-key.pem")).unwrap());
    let link = folder.0.join("link");
    std::os::unix::fs::symlink(&log, &link).unwrap();
    let file = root("captures/asa-anyconnect/outside.pcapng");
    for command in ["analyze", "decrypt", "keys"] {
        for (option, secret, to) in
            [("--keylog", &log, &log), ("--keylog", &log, &link), ("--rsa-key", &pem, &pem), ("--keylog", &link, &log)]
        {
            let args =
                [command.as_ref(), file.as_os_str(), option.as_ref(), secret.as_ref(), "-o".as_ref(), to.as_ref()];
            let output = run(args);
            assert_eq!(code(&output), 2, "{command} {option}: {}", stderr(&output));
            assert!(stderr(&output).contains("holds the secrets to be used"), "{}", stderr(&output));
        }
    }
    assert_eq!(fs::read(&log).unwrap(), bytes);
}
