//! Every scenario of `tests/scenarios/`, played in the laboratory.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

#[path = "support/frames.rs"]
mod frames;
#[path = "support/lab/mod.rs"]
mod lab;

use lab::Tap;
use lab::scenario::Scenario;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name and content of every scenario, in order of names.
fn scenarios() -> Vec<(String, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let scenario = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path.file_stem().unwrap().to_string_lossy().into_owned(), scenario)
    };
    files.into_iter().map(read).collect()
}

fn together(taps: &[Tap]) -> Vec<u8> {
    lab::pcapng(&taps.iter().collect::<Vec<_>>())
}

/// `ACPCAP_SCENARIOS=folder` keeps the captures there, for Wireshark.
#[test]
fn packets_are_valid() {
    let kept = std::env::var_os("ACPCAP_SCENARIOS").map(PathBuf::from);
    let folder =
        kept.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("acpcap-lab-{}", std::process::id())));
    fs::create_dir_all(&folder).unwrap();
    let has_tshark = Command::new("tshark").arg("--version").output().is_ok();
    if !has_tshark {
        eprintln!("tshark is not on the path: only that the same scenario gives the same bytes was looked at");
    }
    let mut wrong = Vec::new();
    for (name, scenario) in scenarios() {
        let taps = lab::play(&scenario);
        let all = together(&taps);
        assert_eq!(all, together(&lab::play(&scenario)), "{name} is not the same twice");
        assert!(all.len() > 1000, "{name}: hardly anything was captured");
        let path = folder.join(format!("{name}--all.pcapng"));
        fs::write(&path, &all).unwrap();
        if kept.is_some() {
            for tap in &taps {
                fs::write(folder.join(format!("{name}--{}.pcapng", tap.name)), lab::pcapng(&[tap])).unwrap();
            }
        }
        if has_tshark {
            wrong.extend(malformed(&path));
        }
    }
    if kept.is_none() {
        fs::remove_dir_all(folder).unwrap();
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What tshark finds malformed. Bytes sent again in other pieces it calls a reassembly error, and they are none.
fn malformed(path: &Path) -> Vec<String> {
    let filter = "_ws.malformed && !_ws.malformed.reassembly";
    let output = Command::new("tshark")
        .args(["-o", "tcp.reassemble_out_of_order:TRUE", "-Y", filter, "-r"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| format!("{}: {line}", path.display())).collect()
}
