//! The HTML page and the ladders: what stands in them, and what must never stand in them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

#[path = "support/command.rs"]
mod command;
#[path = "support/frames.rs"]
mod frames;
#[path = "support/lab/mod.rs"]
mod lab;
#[path = "support/page.rs"]
mod page;

use acpcap::analysis::{self, Options, Source};
use acpcap::report::{Finding, Report, Session, Severity, Summary, Tunnel, html, text};
use command::{code, run, stderr, stdout};
use page::Page;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn analyze(captures: Vec<(String, Vec<u8>)>) -> Report {
    let sources = captures
        .into_iter()
        .map(|(path, bytes)| Ok(Source { path, vantage: None, input: Box::new(Cursor::new(bytes)), continues: false }));
    let outcome = analysis::analyze(sources, &Options::default(), &mut |_| ControlFlow::Continue(()));
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    outcome.report
}

fn read(paths: &[&str]) -> Report {
    let read = |path: &&str| ((*path).to_owned(), fs::read(root().join(path)).unwrap());
    analyze(paths.iter().map(read).collect())
}

fn flagship() -> Report {
    read(&["captures/asa-anyconnect/all.pcapng"])
}

fn html_of(report: &Report) -> String {
    let mut out = Vec::new();
    html::render(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// One run per case of `captures/`: its first file alone, and all of them together.
fn every_capture() -> Vec<(String, Report)> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root().join("captures")).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    let mut reports = Vec::new();
    for folder in folders {
        let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|e| e == "pcapng"));
        files.sort();
        let name = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().into_owned();
        let all = files.iter().map(|file| (name(file), fs::read(file).unwrap())).collect();
        reports.push((folder.file_name().unwrap().to_string_lossy().into_owned(), analyze(all)));
    }
    reports
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn the_flagships_page_reads_as_it_did() {
    let html = html_of(&flagship());
    let page = Page::parse(&html);
    // Style and script have hashes of their own in the page; here they would only be noise.
    let html = html.replace(&page.style, "…").replace(&page.script, "…");
    let html = html.replace(&hash(&page.style), "…").replace(&hash(&page.script), "…");
    snapshot("asa-anyconnect--all--html", &html);
}

fn hash(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits: Vec<u8> = Vec::new();
    for byte in Sha256::digest(text.as_bytes()) {
        bits.extend((0..8).rev().map(|i| byte >> i & 1));
    }
    bits.resize(bits.len().div_ceil(6) * 6, 0);
    let mut base64: String = bits
        .chunks(6)
        .map(|six| char::from(LETTERS[six.iter().fold(0, |n, bit| n << 1 | usize::from(*bit))]))
        .collect();
    while !base64.len().is_multiple_of(4) {
        base64.push('=');
    }
    base64
}

/// What the page is made of; anything else came from elsewhere.
const TAGS: &[&str] = &[
    "a",
    "article",
    "body",
    "button",
    "caption",
    "circle",
    "clipPath",
    "code",
    "desc",
    "details",
    "div",
    "figcaption",
    "figure",
    "footer",
    "g",
    "h1",
    "h2",
    "h3",
    "head",
    "header",
    "html",
    "li",
    "line",
    "main",
    "meta",
    "nav",
    "ol",
    "p",
    "path",
    "rect",
    "script",
    "section",
    "span",
    "strong",
    "style",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "th",
    "thead",
    "title",
    "tr",
    "ul",
];

/// The attributes it needs: none that runs, loads or sends anything.
const ATTRIBUTES: &[&str] = &[
    "aria-hidden",
    "aria-label",
    "aria-labelledby",
    "aria-live",
    "charset",
    "class",
    "clip-path",
    "content",
    "cx",
    "cy",
    "d",
    "data-a",
    "data-b",
    "data-bottom",
    "data-copy",
    "data-from",
    "data-left",
    "data-mark",
    "data-right",
    "data-top",
    "data-until",
    "data-y",
    "data-zoom",
    "height",
    "hidden",
    "href",
    "http-equiv",
    "id",
    "lang",
    "name",
    "open",
    "r",
    "role",
    "rx",
    "scope",
    "tabindex",
    "text-anchor",
    "transform",
    "type",
    "viewBox",
    "width",
    "x",
    "x1",
    "x2",
    "y",
    "y1",
    "y2",
];

/// Sound, closed, and nothing in it that a report does not need.
fn assert_sound(name: &str, html: &str) -> Page {
    let page = Page::parse(html);
    let mut ids = BTreeSet::new();
    for tag in &page.tags {
        assert!(TAGS.contains(&tag.name.as_str()), "{name}: <{}>", tag.name);
        for (attribute, value) in &tag.attributes {
            assert!(ATTRIBUTES.contains(&attribute.as_str()), "{name}: {attribute}={value:?} in <{}>", tag.name);
        }
        if let Some(id) = tag.attributes.get("id") {
            assert!(ids.insert(id.clone()), "{name}: two of the id {id}");
        }
    }
    for tag in &page.tags {
        if let Some(to) = tag.attributes.get("href") {
            let to = to.strip_prefix('#').unwrap_or_else(|| panic!("{name}: a link that leaves the page: {to}"));
            assert!(ids.contains(to), "{name}: a link to nowhere: {to}");
        }
        for id in tag.attributes.get("aria-labelledby").iter().flat_map(|ids| ids.split(' ')) {
            assert!(ids.contains(id), "{name}: named by nothing: {id}");
        }
    }
    let policy = page.having("http-equiv", "Content-Security-Policy").next().expect("a policy");
    let expected = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(&page.style),
        hash(&page.script)
    );
    assert_eq!(policy.attributes["content"], expected);
    assert_eq!(page.tags.iter().filter(|tag| tag.name == "script").count(), 1);
    for outside in ["http:", "https:", "url(", "@import", "//"] {
        assert!(!page.style.contains(outside), "the style names {outside}");
    }
    page
}

#[test]
fn every_page_is_one_sound_file() {
    for (name, report) in every_capture() {
        let page = assert_sound(&name, &html_of(&report));
        for session in &report.sessions {
            assert!(page.text.contains(&session.verdict), "{name}: the verdict is missing");
        }
        for remedy in report.findings.iter().flat_map(|f| &f.remedy) {
            let words = remedy.strip_prefix("not: ").unwrap_or(remedy).replace('`', "");
            assert!(page.text.to_lowercase().contains(&words.to_lowercase()), "{name}: {remedy} is missing");
        }
        for next in &report.next_captures {
            assert_eq!(page.having("data-copy", &next.command).count(), 1, "{name}: {}", next.command);
        }
    }
    assert_sound("empty", &html_of(&Report::default()));
}

#[test]
fn charts_have_a_mark_for_every_number_of_the_report() {
    for (name, report) in every_capture() {
        let page = Page::parse(&html_of(&report));
        let sum = |of: &dyn Fn(&Session) -> usize| report.sessions.iter().map(of).sum::<usize>();
        let drawn = |session: &Session| {
            let inner = session.sizes.iter().filter(|run| run.channel == "inner").count();
            if inner == 0 { session.sizes.len() } else { inner }
        };
        let limits = |session: &Session| {
            let bytes: BTreeSet<u32> = session.limits.iter().map(|limit| limit.bytes).collect();
            if session.sizes.is_empty() { 0 } else { bytes.len() }
        };
        let hellos = |s: &Session| s.dtls_attempts.iter().map(|a| a.client_hello_seconds.len()).sum();
        let counts = [
            ("tunnel", sum(&|s| s.tunnels.len())),
            ("data", sum(&|s| s.tunnels.iter().map(|t| t.data.len()).sum())),
            ("attempt", sum(&|s| s.dtls_attempts.len())),
            ("hello", sum(&hellos)),
            ("reconnect", sum(&|s| s.reconnects.len())),
            ("oversized", sum(&|s| s.oversized.len())),
            ("icmp", sum(&|s| s.timeline.iter().filter(|e| e.kind == "icmp").count())),
            ("size", sum(&drawn)),
            ("limit", sum(&limits)),
            ("rung", sum(&|s| s.ladders.iter().map(|l| l.rungs.len()).sum())),
        ];
        for (kind, expected) in counts {
            assert_eq!(page.marks(kind), expected, "{name}: {kind}");
        }
    }
}

/// A capture whose every string means harm: interface, file, the host a proxy is asked for, a certificate's names.
fn hostile() -> Report {
    const EVIL: &str = "\"><script>evil()</script>\u{1b}[31m`**[a](javascript:evil())|\r\n=cmd|' /C calc'!A0\u{202e}";
    let scenario = fs::read_to_string(root().join("tests/scenarios/through-a-proxy.toml")).unwrap();
    let mut taps = lab::play(&toml::from_str(&scenario).unwrap());
    for tap in &mut taps {
        tap.name = if tap.name == "client" { EVIL } else { tap.name };
    }
    let proxy = lab::pcapng(&taps.iter().filter(|tap| tap.name == EVIL).collect::<Vec<_>>());
    let proxy = replaced(&proxy, b"vpn.example.com", b"<svg/onload=e()");
    let real = fs::read(root().join("captures/asa-anyconnect/all.pcapng")).unwrap();
    let real = replaced(&real, b"vpn.example.com", b"<svg/onload=e()");
    let real = replaced(&real, b"cscotun0", b"<b>`\x1b[m\x07");
    analyze(vec![(format!("{EVIL}/proxy.pcapng"), proxy), (format!("real{EVIL}.pcapng"), real)])
}

/// Equal in length, so that nothing else of the file changes.
fn replaced(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    assert_eq!(what.len(), with.len());
    let mut bytes = bytes.to_vec();
    let mut found = 0;
    for at in 0..bytes.len() - what.len() {
        if &bytes[at..at + what.len()] == what {
            bytes[at..at + what.len()].copy_from_slice(with);
            found += 1;
        }
    }
    assert!(found > 0, "{} is not in the capture", String::from_utf8_lossy(what));
    bytes
}

#[test]
fn a_hostile_capture_is_told_as_text() {
    let report = hostile();
    assert!(report.sessions.iter().any(|s| s.proxied_to.as_deref() == Some("<svg/onload=e():443")));
    let html = html_of(&report);
    let page = assert_sound("hostile", &html);
    assert!(page.text.contains("\"><script>evil()</script>"), "the name is shown, as text");
    assert!(page.text.contains("<svg/onload=e()"), "the host is shown, as text");
    assert!(!html.chars().any(|c| c == '\u{1b}' || c == '\u{202e}' || c == '\r' || c == '\u{7}'));

    for ascii in [false, true] {
        let mut out = Vec::new();
        text::render(&report, text::Look { ladder: true, why: true, ascii, colour: false }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("<script>evil()</script>\\x1b[31m"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
        assert!(!ascii || text.is_ascii());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_string_of_a_report_is_markup(poison in "[<>\"'&`=/ a-z\u{1b}\u{202e}\\-!\\[\\]]{1,24}") {
        let mut report = flagship_once().clone();
        // Strings that may come from a capture, and some that never do: the page trusts neither.
        report.captures[0].path = poison.clone();
        report.captures[0].interfaces[0].name = poison.clone();
        report.captures[0].interfaces[0].vantage_basis = poison.clone();
        report.captures[0].damage = Some(poison.clone());
        let session = &mut report.sessions[0];
        session.client = poison.clone();
        session.gateway = poison.clone();
        session.verdict = poison.clone();
        session.proxied_to = Some(poison.clone());
        session.ambiguities.push(poison.clone());
        session.tunnels[0].cipher = Some(poison.clone());
        session.dtls_attempts[0].outcome_detail = poison.clone();
        session.limits[0].source = poison.clone();
        session.reconnects[0].detail = poison.clone();
        session.timeline[0].text = poison.clone();
        session.ladders[0].title = poison.clone();
        session.ladders[0].client = poison.clone();
        session.ladders[0].rungs[0].what = poison.clone();
        session.ladders[0].rungs[0].note = poison.clone();
        let finding = &mut report.findings[0];
        finding.title = poison.clone();
        finding.summary = poison.clone();
        finding.remedy.push(poison.clone());
        finding.evidence[0].note = poison.clone();
        finding.filter_notes[0].filter = poison.clone();
        finding.filter_notes[0].shows = poison.clone();
        report.checks[0].reason = poison.clone();
        assert_sound("poisoned", &html_of(&report));
    }
}

fn flagship_once() -> &'static Report {
    static REPORT: std::sync::OnceLock<Report> = std::sync::OnceLock::new();
    REPORT.get_or_init(flagship)
}

fn readme_has(words: &str) -> bool {
    fs::read_to_string(root().join("README.md")).unwrap().contains(words)
}

#[test]
fn a_hundred_thousand_sessions_make_a_page_that_opens() {
    let one = flagship();
    let mut report = Report { sessions: Vec::new(), findings: Vec::new(), checks: Vec::new(), ..one.clone() };
    for n in 1..=100_000_u32 {
        let id = n.to_string();
        // Every thousandth has findings: they must stand first.
        let is_bad = n % 1000 == 0;
        let severity = is_bad.then_some(Severity::High);
        let full =
            if is_bad { one.sessions[0].clone() } else { Session { verdict: "fine".into(), ..Session::default() } };
        report.sessions.push(Session { id: id.clone(), severity, ..full });
        if is_bad {
            report.findings.extend(one.findings.iter().map(|f| Finding { session: id.clone(), ..f.clone() }));
        }
    }
    report.summary = Summary::of(&report.sessions, &report.checks);
    let html = html_of(&report);
    assert!(html.len() < 8_000_000, "{} bytes", html.len());
    let page = assert_sound("many", &html);
    let words = |n: usize| readme_has(&n.to_string());
    assert!(words(html::MAX_FULL) && words(html::MAX_ROWS), "the README says how many sessions are told");
    let folded: Vec<&str> = page.having("class", "session").map(|tag| tag.attributes["id"].as_str()).collect();
    assert_eq!(folded.len(), html::MAX_FULL);
    assert!(folded.iter().all(|id| id.ends_with("000")), "{folded:?}");
    assert_eq!(page.tags.iter().filter(|tag| tag.name == "details" && tag.attributes.contains_key("open")).count(), 1);
    let left = 100_000 - html::MAX_FULL - html::MAX_ROWS;
    assert!(page.text.contains("100,000 sessions: 100 high"), "the overview counts all");
    assert!(page.text.contains(&format!("… {},{:03} more sessions, all in --format json", left / 1000, left % 1000)));
}

// ---- ladders

/// Detectors whose story is a handshake, or the end of a tunnel.
const HANDSHAKES: &[&str] =
    &["dtls-never-completes", "dtls-lost-midway", "dtls-nondefault-port", "reconnect-for-mtu", "tunnel-interrupted"];

#[test]
fn every_scenarios_ladder_reads_as_it_did() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join("tests/scenarios")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut all = String::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let scenario = toml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let taps = lab::play(&scenario);
        let report = analyze(vec![(format!("{name}.pcapng"), lab::pcapng(&taps.iter().collect::<Vec<_>>()))]);
        for session in &report.sessions {
            writeln!(all, "# {name}, session {}", session.id).unwrap();
            ladders(&mut all, session);
            let carries = |t: &Tunnel| t.kind == "tls" && t.role != "parent" && t.version.is_some();
            let seen = !session.dtls_attempts.is_empty() || session.tunnels.iter().any(carries);
            assert_eq!(seen, !session.ladders.is_empty(), "{name}: a ladder where there was a handshake");
            let found = report.findings.iter().filter(|f| f.session == session.id && f.severity > Severity::Info);
            // Where nothing was sent in vain there is nothing to draw.
            let is_drawn = |f: &&Finding| f.likely_cause.as_deref() != Some("dropped-by-client");
            for finding in found.filter(|f| HANDSHAKES.contains(&f.detector.as_str())).filter(is_drawn) {
                let mut drawn = session.ladders.iter().flat_map(|l| &l.detectors);
                let tried = !session.dtls_attempts.is_empty() || !session.reconnects.is_empty();
                assert!(
                    !tried || drawn.any(|id| *id == finding.detector),
                    "{name}: no ladder for {}",
                    finding.detector
                );
            }
        }
    }
    snapshot("ladders", &all);
}

fn ladders(all: &mut String, session: &Session) {
    for ladder in &session.ladders {
        writeln!(all, "{}: {} [{}]", ladder.title, ladder.outcome, ladder.detectors.join(", ")).unwrap();
        for rung in &ladder.rungs {
            let frame = rung.frame.map_or("-".to_owned(), |frame| frame.to_string());
            write!(all, "{:>9.3} {frame:>5} {:<8}{} {}", rung.seconds, rung.from, rung.fate, rung.what).unwrap();
            if rung.count > 1 {
                write!(all, " x{} until {:.3}", rung.count, rung.until_seconds.unwrap_or_default()).unwrap();
            }
            if let Some(waited) = rung.waited_seconds {
                write!(all, " for {waited:.1} s").unwrap();
            }
            writeln!(all, "{}{}", if rung.note.is_empty() { "" } else { "; " }, rung.note).unwrap();
        }
    }
    all.push('\n');
}

#[test]
fn the_command_line_draws_ladders_and_pages() {
    let capture = root().join("captures/asa-anyconnect/client.pcapng");
    let capture = capture.to_str().unwrap();
    let plain = run(["analyze", capture]);
    let drawn = run(["analyze", "--ladder", capture]);
    assert_eq!((code(&plain), code(&drawn)), (0, 0), "{}", stderr(&drawn));
    assert!(!stdout(&plain).contains("never came in"));
    let text = stdout(&drawn);
    assert!(text.contains("  ladder   DTLS") && text.contains("╳╌╌╌"), "{text}");
    assert!(text.contains("HelloVerifyRequest or ServerHello: never came in 55.0 s"), "{text}");
    let ascii = stdout(&run(["analyze", "--ladder", "--ascii", capture]));
    assert!(ascii.is_ascii() && ascii.contains("X - - -"), "{ascii}");

    let all =
        stdout(&run(["analyze", "--ladder", root().join("captures/asa-anyconnect/all.pcapng").to_str().unwrap()]));
    let first = all.split_once("   seconds    frame  client").unwrap().1.split_once("\n\n").unwrap().0;
    let readme = fs::read_to_string(root().join("README.md")).unwrap().replace("\r\n", "\n");
    assert!(readme.contains(first), "the README's ladder is another than\n{first}");

    let folder = command::Folder::new("html");
    let path = folder.0.join("report.html");
    let output = run(["analyze", capture, "-o", path.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let html = fs::read_to_string(&path).unwrap();
    assert_sound("written", &html);
    let again = run(["analyze", capture, "--format", "html"]);
    assert_eq!(stdout(&again), html, "the same report, the same bytes");
}
