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

use acpcap::analysis::{self, Options, Source};
use acpcap::detect::DETECTORS;
use acpcap::report::{Answer, Report, Summary, note, text};
use lab::Tap;
use lab::scenario::{Expect, Scenario};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
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

/// The vantages a run is taken from, in order of the captures' files; `all` is one file of four interfaces.
fn files(run: &str, taps: &[Tap]) -> Vec<(String, Vec<u8>)> {
    if run == "all" {
        return vec![("all.pcapng".to_owned(), together(taps))];
    }
    let file = |place: &str| {
        let tap = taps.iter().find(|tap| tap.name == place).unwrap_or_else(|| panic!("no place {place}"));
        (format!("{place}.pcapng"), lab::pcapng(&[tap]))
    };
    run.split('+').map(file).collect()
}

fn analyze(files: Vec<(String, Vec<u8>)>) -> Report {
    let sources = files
        .into_iter()
        .map(|(path, bytes)| Ok(Source { path, vantage: None, input: Box::new(Cursor::new(bytes)), continues: false }));
    let outcome = analysis::analyze(sources, &Options::default(), &mut |_| ControlFlow::Continue(()));
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    outcome.report
}

#[test]
fn every_scenario_gets_its_verdict() {
    assert_verdicts(|tap| tap, misfits);
}

#[test]
fn frames_that_are_captured_twice_change_no_verdict() {
    // Its frames are none next to each other, so that lists of them are wide.
    assert_verdicts(|tap| tap.mirrored(), |_| Vec::new());
}

/// All scenarios get theirs when each place is captured so, and nothing else is wrong with a report.
fn assert_verdicts(captured: fn(Tap) -> Tap, wrong_with: fn(&Report) -> Vec<String>) {
    let mut wrong = Vec::new();
    for (name, scenario) in scenarios() {
        assert!(scenario.expect.contains_key("all"), "{name} does not say what all four captures must show");
        let taps: Vec<Tap> = lab::play(&scenario).into_iter().map(captured).collect();
        for (run, expect) in &scenario.expect {
            let report = analyze(files(run, &taps));
            let differences = differences(&report, expect).into_iter().chain(wrong_with(&report));
            wrong.extend(differences.map(|line| format!("{name}/{run}: {line}")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What a report says otherwise than it must.
fn differences(report: &Report, expect: &Expect) -> Vec<String> {
    let mut wrong = Vec::new();
    let sessions = expect.sessions.unwrap_or(1);
    if report.sessions.len() != sessions {
        wrong.push(format!("{} sessions, not {sessions}", report.sessions.len()));
    }
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for finding in &report.findings {
        let likely = finding.likely_cause.as_deref().map_or(String::new(), |likely| format!(" {likely}"));
        let severity = format!("{:?}", finding.severity).to_lowercase();
        found.entry(finding.detector.clone()).or_insert(format!("{severity}{likely}"));
    }
    if found != expect.found {
        wrong.push(format!("found {found:?}\n    instead of {:?}", expect.found));
    }
    let answers =
        |id: &str| -> Vec<Answer> { report.checks.iter().filter(|c| c.detector == id).map(|c| c.outcome).collect() };
    for id in &expect.cannot_tell {
        if answers(id).iter().any(|a| *a != Answer::CannotTell) {
            wrong.push(format!("{id} must not be able to tell, says {:?}", answers(id)));
        }
    }
    for id in &expect.clear {
        if answers(id).iter().any(|a| *a != Answer::Clear) {
            wrong.push(format!("{id} must be clear, is {:?}", answers(id)));
        }
    }
    let attempts: Vec<&str> =
        report.sessions.iter().flat_map(|s| &s.dtls_attempts).map(|a| a.outcome.as_str()).collect();
    if expect.attempts.as_ref().is_some_and(|wanted| *wanted != attempts) {
        wrong.push(format!("attempts {attempts:?}"));
    }
    let reconnects: Vec<&str> = report.sessions.iter().flat_map(|s| &s.reconnects).map(|r| r.cause.as_str()).collect();
    if expect.reconnects.as_ref().is_some_and(|wanted| *wanted != reconnects) {
        wrong.push(format!("reconnects {reconnects:?}"));
    }
    let mut page = Vec::new();
    text::render(report, text::Look::default(), &mut page).unwrap();
    let page = String::from_utf8(page).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    wrong.extend(
        expect.says.iter().filter(|words| !page.contains(*words)).map(|words| format!("does not say: {words}")),
    );
    wrong
}

/// What captures at the gateway's outside and inside, a file each, tell of several users of whom each does that, so many seconds
/// after the one before: inner addresses of each session, in order of the users.
fn side_by_side(apart: f64, users: &[&str]) -> (Report, Vec<Vec<String>>) {
    let played: Vec<Vec<Tap>> = (0..)
        .zip(users)
        .map(|(n, user)| {
            let mut scenario: Scenario = toml::from_str(&format!("about = ''\nuntil = 60.0\n{user}")).unwrap();
            scenario.client.user = n + 1;
            scenario.client.address = [198, 51, 100, 10 + n].into();
            scenario.actions.iter_mut().for_each(|action| action.at += f64::from(n) * apart);
            lab::play(&scenario)
        })
        .collect();
    let at = |place: &str| {
        let taps = played.iter().flatten().filter(|tap| tap.name == place).cloned();
        (format!("{place}.pcapng"), lab::pcapng(&[&Tap::of_all(taps).unwrap()]))
    };
    let report = analyze(vec![at("outside"), at("inside")]);
    let of_user = |n: usize| {
        let client = format!("198.51.100.{}", 10 + n);
        let theirs = report.sessions.iter().filter(|session| session.client == client);
        theirs.flat_map(|session| session.inner_addresses.clone()).collect()
    };
    let addresses = (0..users.len()).map(of_user).collect();
    (report, addresses)
}

/// Gets so many bytes every three seconds.
fn gets(bytes: usize) -> String {
    (2..18).map(|n| format!("[[do]]\nat = {n}.0\nget = {bytes}\n", n = 3 * n)).collect()
}

#[test]
fn users_whose_bursts_coincide_are_told_apart_by_how_much_they_move() {
    let [little, much] = [gets(2_000), gets(150_000)];
    for apart in [0.0, 0.004, 0.015] {
        let (_, told) = side_by_side(apart, &[&little, &much]);
        assert_eq!(told, [["10.10.10.1"], ["10.10.10.2"]], "{apart} s apart");
        let (_, told) = side_by_side(apart, &[&much, &little]);
        assert_eq!(told, [["10.10.10.1"], ["10.10.10.2"]], "{apart} s apart, the other way round");
    }
}

#[test]
fn a_sick_user_beside_healthy_ones_is_the_one_that_is_named() {
    let work = gets(60_000);
    let sick = format!("{work}\n[[rule]]\nwhat = 'udp'\nway = 'back'\nabove = 1300\nfrom = 20.0\n");
    let (report, told) = side_by_side(0.007, &[&work, &sick, &work]);
    assert_eq!(told, [["10.10.10.1"], ["10.10.10.2"], ["10.10.10.3"]]);
    let alarmed: BTreeSet<&str> =
        report.sessions.iter().filter(|s| s.severity.is_some()).map(|s| s.client.as_str()).collect();
    assert!(alarmed.iter().all(|client| *client == "198.51.100.11"), "{alarmed:?}");
}

#[test]
fn users_who_do_the_same_at_the_same_moment_are_not_told_apart() {
    let work = gets(60_000);
    let (report, told) = side_by_side(0.0, &[&work, &work, &work]);
    assert!(told.iter().all(Vec::is_empty), "{told:?}");
    for session in &report.sessions {
        let said = session.ambiguities.join(" ");
        assert!(said.contains("10.10.10.1, 10.10.10.2 and 10.10.10.3"), "{said}");
        assert!(said.contains("show vpn-sessiondb detail anyconnect"), "{said}");
    }
    let answer = |id: &str| report.checks.iter().filter(|c| c.detector == id).map(|c| c.outcome).collect::<Vec<_>>();
    assert_eq!(answer("oversized-df"), [Answer::CannotTell; 3], "no session is well on a guess");
}

#[test]
fn where_the_clocks_of_two_captures_differ_nobody_is_given_what_is_anothers() {
    for clock in [0.003, 0.05, 0.5] {
        let work = format!("{}[capture.inside]\nclock = {clock}\n", gets(60_000));
        let (_, told) = side_by_side(0.007, &[&work, &work, &work]);
        for (n, addresses) in (1..).zip(told) {
            assert!(addresses.iter().all(|address| *address == format!("10.10.10.{n}")), "{clock} s: {addresses:?}");
        }
    }
}

/// What of a report does not keep to its measure: 100 columns of text; 40 lines of 80 columns of ASCII as a note; what is summed up is
/// what is told, and each cause is explained.
fn misfits(report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut page = Vec::new();
    text::render(report, text::Look::default(), &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    // A command or a filter is never cut: it would not work.
    let wide = page.lines().filter(|line| line.chars().count() > 100 && line.trim_start().contains("  "));
    wrong.extend(wide.map(|line| format!("too wide: {line}")));
    let mut page = Vec::new();
    note::render(report, &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    if page.lines().count() > note::MAX_LINES {
        wrong.push(format!("a note of {} lines", page.lines().count()));
    }
    let odd = page.lines().filter(|line| line.len() > note::WIDTH || !line.is_ascii());
    wrong.extend(odd.map(|line| format!("not a line of a note: {line}")));
    let explained =
        |id: &str, word: &str| DETECTORS.iter().any(|d| d.id == id && d.explanation.contains(&format!("`{word}`")));
    let causes = report.findings.iter().filter_map(|f| Some((f.detector.as_str(), f.likely_cause.as_deref()?)));
    wrong.extend(causes.filter(|(id, word)| !explained(id, word)).map(|(id, word)| format!("{id} explains no {word}")));
    let told = Summary::of(&report.sessions, &report.checks).severities;
    if report.summary.severities != told {
        wrong.push(format!("summed up {:?}, told {told:?}", report.summary.severities));
    }
    wrong
}

/// All detectors × all scenarios × all places: a false alarm anywhere shows.
#[test]
fn the_matrix_reads_as_it_did() {
    let mut matrix = String::from(
        "One line a capture: what is found (severity: h m l i, then the likely cause), then in how many detectors nothing is, and cannot be told.\n",
    );
    for (name, scenario) in scenarios() {
        let taps = lab::play(&scenario);
        writeln!(matrix, "\n{name}").unwrap();
        for run in ["all", "client", "outside", "inside", "virtual-adapter"] {
            let report = analyze(files(run, &taps));
            let found: Vec<String> = report
                .findings
                .iter()
                .map(|f| {
                    let severity = format!("{:?}", f.severity).to_lowercase();
                    let likely = f.likely_cause.as_deref().map_or(String::new(), |likely| format!(" {likely}"));
                    format!("{} [{}{likely}]", f.detector, &severity[..1])
                })
                .collect();
            let with = |answer: Answer| -> Vec<&str> {
                let ids = report.checks.iter().filter(|c| c.outcome == answer).map(|c| c.detector.as_str());
                ids.collect::<BTreeSet<_>>().into_iter().collect()
            };
            let found = if found.is_empty() { "-".to_owned() } else { found.join(", ") };
            let sessions = report.sessions.len();
            writeln!(matrix, "  {run:<16} {sessions} session(s): {found}").unwrap();
            writeln!(matrix, "  {:<16}   clear: {}", "", with(Answer::Clear).join(" ")).unwrap();
            writeln!(matrix, "  {:<16}   cannot tell: {}", "", with(Answer::CannotTell).join(" ")).unwrap();
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("scenario_matrix", matrix));
}
