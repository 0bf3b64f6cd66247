//! The text report in a real terminal: a hostile capture is shown there and not obeyed.
//!
//! Skipped, with a message, where there is no tmux.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
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

use command::{Folder, program, replaced, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Sets titles, rings, clears, moves, goes to another screen and another character set, reorders; no `/`: it is a file's name too.
const EVIL: &str = "\u{1b}]2;run\u{7}\u{1b}]0;run\u{1b}\\\u{1b}[?1049h\u{1b}[2J\u{1b}[5;5Hx\u{1b}[?25l\u{1b}[31m\u{8}\u{7}\r\n\t\u{9b}2J\u{e}\u{1b}c\u{202e}";
/// What the title is before, and has to stay.
const TITLE: &str = "calm";
/// How often, and how long each time, a screen is waited for.
const PATIENCE: (u32, Duration) = (300, Duration::from_millis(100));

/// A terminal of 120 columns that keeps all that scrolls away, on a socket of its own.
struct Terminal<'a> {
    folder: &'a Folder,
}

impl<'a> Terminal<'a> {
    /// One that waits for [`Terminal::run`].
    fn start(folder: &'a Folder) -> Terminal<'a> {
        let settings =
            "set -g history-limit 50000\nset -g monitor-bell on\nset -g bell-action any\nset -g allow-rename off\n";
        folder.file("settings", settings.as_bytes());
        let terminal = Terminal { folder };
        let _ = std::fs::remove_file(folder.0.join("done"));
        // A server that starts on a busy machine may exit before it answers.
        let session = ["new-session", "-d", "-x", "120", "-y", "40", "sh"];
        assert!(wait_for(|| terminal.ask(&session).is_ok()), "tmux does not start");
        terminal.tmux(&["select-pane", "-T", TITLE]);
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        self.ask(args).unwrap_or_else(|error| panic!("tmux {args:?}: {error}"))
    }

    fn ask(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new("tmux");
        command.args(["-u", "-S"]).arg(self.folder.0.join("socket")).arg("-f").arg(self.folder.0.join("settings"));
        for variable in ["NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR", "TMUX"] {
            command.env_remove(variable);
        }
        let output = command.env("LC_ALL", "C.UTF-8").args(args).stdin(Stdio::null()).output().unwrap();
        if output.status.success() { Ok(stdout(&output)) } else { Err(stderr(&output)) }
    }

    /// Runs a program in place of the shell and waits until it ended.
    fn run(&self, call: &[&str]) {
        let done = self.folder.0.join("done");
        let script = "\"$@\"; : > \"$0\"; exec sleep 600";
        let mut args = vec!["respawn-pane", "-k", "sh", "-c", script, done.to_str().unwrap()];
        args.extend(call);
        self.tmux(&args);
        assert!(wait_for(|| done.exists()), "{call:?} does not end");
    }

    /// All that was shown, without the spaces at the ends of lines.
    fn screen(&self, colours: bool) -> String {
        let look = if colours { "-pJe" } else { "-pJ" };
        trimmed(&self.tmux(&["capture-pane", look, "-S", "-", "-E", "-"]))
    }

    /// What a program can change without a letter on the screen: title, bell, other screen, cursor, mouse, keypad, margins.
    fn state(&self) -> String {
        let state = "#{pane_title} #{window_bell_flag} #{alternate_on} #{cursor_flag} #{insert_flag} #{keypad_flag} \
                     #{mouse_any_flag} #{wrap_flag} #{origin_flag} #{scroll_region_upper} #{scroll_region_lower}";
        self.tmux(&["display-message", "-p", state]).trim().to_owned()
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // One that never started cannot be stopped either.
        let _ = self.ask(&["kill-server"]);
    }
}

fn wait_for(mut is_so: impl FnMut() -> bool) -> bool {
    (0..PATIENCE.0).any(|_| {
        let so = is_so();
        if !so {
            std::thread::sleep(PATIENCE.1);
        }
        so
    })
}

fn trimmed(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

/// Is there one that can do what the test asks?
fn installed() -> bool {
    let answer = Command::new("tmux").arg("-V").output();
    let there = answer.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: tmux is not on the path");
    }
    there
}

/// Two captures whose every string means harm: names of files and interfaces, the host a proxy is asked for, a certificate's names.
fn hostile(folder: &Folder) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let host = b"\x1b]2;run\x07\x1b[2J\x07\x1bc";
    let scenario = std::fs::read_to_string(root.join("tests/scenarios/through-a-proxy.toml")).unwrap();
    let mut taps = lab::play(&toml::from_str(&scenario).unwrap());
    for tap in taps.iter_mut().filter(|tap| tap.name == "client") {
        tap.name = EVIL;
    }
    let proxy = lab::pcapng(&taps.iter().filter(|tap| tap.name == EVIL).collect::<Vec<_>>());
    let proxy = replaced(&proxy, b"vpn.example.com", host);
    let real = std::fs::read(root.join("captures/asa-anyconnect/all.pcapng")).unwrap();
    let real = replaced(&real, b"vpn.example.com", host);
    let real = replaced(&real, b"cscotun0", b"\x1b[2J\x07\x1bc\x08");
    vec![folder.file(&format!("a{EVIL}.pcapng"), &proxy), folder.file(&format!("b{EVIL}.pcapng"), &real)]
}

/// Without this the other test could not fail.
#[test]
fn the_terminal_obeys_what_is_not_escaped() {
    if !installed() {
        return;
    }
    let folder = Folder::new("terminal-control");
    let terminal = Terminal::start(&folder);
    let before = terminal.state();
    assert!(before.starts_with(&format!("{TITLE} 0 0 1 ")), "{before}");
    terminal.run(&["printf", "%s", "\u{1b}]2;run\u{7}\u{7}\u{1b}[?1049h\u{1b}[?25l"]);
    assert!(wait_for(|| terminal.state().starts_with("run 1 1 0 ")), "{}", terminal.state());
}

#[test]
fn a_hostile_capture_is_shown_and_not_obeyed() {
    if !installed() {
        return;
    }
    let folder = Folder::new("terminal");
    let captures = hostile(&folder);
    let missing = folder.0.join(format!("c{EVIL}.pcapng"));
    let paths = |paths: &[&PathBuf]| paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>();
    let both = paths(&[&captures[0], &captures[1]]);
    let runs: [(&[&str], Vec<String>); 4] = [
        (&[], both.clone()),
        (&["--why"], both.clone()),
        (&["--ladder", "--ascii"], both),
        (&["--why", "--ladder"], paths(&[&captures[1], &missing])),
    ];
    for (options, files) in runs {
        let mut args: Vec<&str> = vec!["analyze", "--quiet"];
        args.extend(options);
        args.extend(files.iter().map(String::as_str));
        assert_harmless(&folder, &args);
    }
}

/// The screen shows what the program prints into a pipe, and nothing else of the terminal has changed.
fn assert_harmless(folder: &Folder, args: &[&str]) {
    let piped = program().args(args).output().unwrap();
    // What goes wrong is told first.
    let printed = trimmed(&(stderr(&piped) + &stdout(&piped)));
    assert!(printed.contains("\\x1b]2;run\\x07\\x1b"), "{printed}");
    assert!(printed.contains("SESSION 1"), "{printed}");

    let terminal = Terminal::start(folder);
    let before = terminal.state();
    let mut call = vec![env!("CARGO_BIN_EXE_acpcap")];
    call.extend(args);
    terminal.run(&call);
    wait_for(|| terminal.screen(false) == printed);
    assert_shown(&terminal.screen(false), &printed);
    assert_eq!(terminal.state(), before);
    assert!(terminal.screen(true).contains('\u{1b}'), "in a terminal there are colours");
}

/// Fails with the first line that differs.
fn assert_shown(screen: &str, printed: &str) {
    for (at, (shown, meant)) in screen.lines().zip(printed.lines()).enumerate() {
        assert_eq!(shown, meant, "line {}", at + 1);
    }
    assert_eq!(screen.lines().count(), printed.lines().count());
}
