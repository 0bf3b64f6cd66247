//! Who may know whom: every path in `src/` against one table (the reasons are in `docs/ARCHITECTURE.md`).
//!
//! Promises: sees plain and grouped `use`, paths inside code, paths inside macros, `super::` that climbs out of a room,
//! and renamed or globbed crate roots. Refuses: to look at what is behind a re-export; `event` re-exports on purpose.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read the sources has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use syn::buffer::Cursor;
use syn::parse::{ParseStream, Parser};

/// Room, and the rooms it may name. A room may always name itself.
const FLOORS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("chunks", &[]),
    ("maps", &[]),
    ("tls", &[]),
    ("anyconnect", &["maps"]),
    // Secrets stay in: who may not name this room cannot show one.
    ("decrypt", &["tls"]),
    ("capture", &["error"]),
    ("packet", &["capture", "maps"]),
    ("flow", &["capture", "chunks", "packet"]),
    // First waist: what was seen.
    ("event", &["anyconnect", "capture", "flow", "packet", "tls"]),
    ("dissect", &["anyconnect", "capture", "decrypt", "event", "flow", "maps", "packet", "tls"]),
    ("session", &["chunks", "event", "maps"]),
    // Second waist: what it means.
    ("finding", &["event", "session"]),
    ("detect", &["event", "finding", "maps", "session"]),
    ("report", &["event", "finding", "maps", "session"]),
    (
        "analysis",
        &[
            "capture", "decrypt", "detect", "dissect", "error", "event", "finding", "flow", "maps", "packet", "report",
            "session", "tls",
        ],
    ),
    (
        "cli",
        &[
            "analysis", "capture", "decrypt", "detect", "dissect", "error", "event", "finding", "flow", "packet",
            "report", "session", "tls",
        ],
    ),
    ("main", &["cli"]),
];

/// Parts of a room that only some may name: what, who, why.
const DOORS: &[(&[&str], &[&str], &str)] =
    &[(&["capture", "reader"], &["capture", "analysis"], "only the conductor reads captures")];

/// Parts of the standard library that ask the machine something, and who may: everything else is told.
const MACHINE: &[(&str, &[&str])] =
    &[("fs", &["cli"]), ("env", &["cli", "main"]), ("process", &["cli", "main"]), ("thread", &["cli"])];

/// Macros that print or stop to look.
const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// The crate's name: in `main` and in examples it stands where `crate` stands elsewhere.
const CRATE: &str = "acpcap";

#[test]
fn every_room_keeps_to_its_floor() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = BTreeSet::new();
    let mut rooms = BTreeSet::new();
    for file in sources(&root) {
        let module = module_of(file.strip_prefix(&root).unwrap());
        rooms.extend(module.first().cloned());
        let shown = file.strip_prefix(root.parent().unwrap()).unwrap().display().to_string();
        let text = std::fs::read_to_string(&file).unwrap();
        for fault in faults(&text, &module) {
            wrong.insert(format!("{shown}: {fault}"));
        }
    }
    assert!(rooms.len() > 10, "the sources were not found: {rooms:?}");
    let told: BTreeSet<String> = FLOORS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(rooms, told, "a room without a line in FLOORS, or a line without a room");
    assert!(wrong.is_empty(), "\n{}\n", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

/// All `.rs` files below `folder` but the crate's front door, which may name everything.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_name().is_some_and(|n| n != "lib.rs") {
            found.push(path);
        }
    }
    found
}

/// `session/join.rs` is `[session, join]`, `session/mod.rs` is `[session]`.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> =
        file.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    module.pop_if(|last| last == "mod");
    module
}

/// What is wrong in the source text of `module`.
fn faults(text: &str, module: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    walk(&tokens(text), module, &mut faults);
    faults
}

/// A token, as far as paths are made of it.
#[derive(Debug)]
enum Token {
    Word(String),
    Sign(char),
    /// What stands in brackets of any kind.
    Group(Vec<Token>),
    /// A literal or a lifetime: a path in a string or in documentation is none.
    Other,
}

/// Tokens, not syntax, so that the inside of macros is seen like everything else.
fn tokens(text: &str) -> Vec<Token> {
    let read = |input: ParseStream<'_>| {
        input.step(|cursor| {
            let (found, end) = gather(*cursor);
            Ok((found, end))
        })
    };
    read.parse_str(text).unwrap_or_else(|error| panic!("not Rust: {error}"))
}

fn gather(mut cursor: Cursor<'_>) -> (Vec<Token>, Cursor<'_>) {
    let mut found = Vec::new();
    while !cursor.eof() {
        if let Some((inside, _, _, next)) = cursor.any_group() {
            found.push(Token::Group(gather(inside).0));
            cursor = next;
        } else if let Some((ident, next)) = cursor.ident() {
            found.push(Token::Word(ident.to_string()));
            cursor = next;
        } else if let Some((sign, next)) = cursor.punct() {
            found.push(Token::Sign(sign.as_char()));
            cursor = next;
        } else if let Some((_, next)) = cursor.token_tree() {
            found.push(Token::Other);
            cursor = next;
        } else {
            break;
        }
    }
    (found, cursor)
}

fn walk(mut tokens: &[Token], module: &[String], faults: &mut Vec<String>) {
    use Token::{Group, Sign, Word};
    let room = module.first().map(String::as_str).unwrap_or_default();
    while let [first, rest @ ..] = tokens {
        tokens = match (first, rest) {
            (Word(word), [Word(name), Group(body), rest @ ..]) if word == "mod" => {
                walk(body, &[module, std::slice::from_ref(name)].concat(), faults);
                rest
            }
            (Word(word), [Word(krate), ..]) if word == "extern" && krate == "crate" => {
                faults.push("`extern crate` gives the crate another name".to_owned());
                rest
            }
            (Word(word), [Word(root), Word(rename), ..]) if word == "use" && is_root(root) && rename == "as" => {
                faults.push(format!("`use {root} as` hides which room is meant"));
                rest
            }
            (Word(word), [Sign('!'), ..]) if PRINTING.contains(&word.as_str()) && room != "cli" => {
                faults.push(format!("`{word}!`: only cli prints"));
                rest
            }
            (Word(head), [Sign(':'), Sign(':'), tail @ ..]) if is_root(head) => {
                let start = match head.as_str() {
                    "self" => module.to_vec(),
                    "super" => parent(module),
                    "std" => vec!["std".to_owned()],
                    _ => Vec::new(),
                };
                let (paths, rest) = follow(tail, start);
                faults.extend(paths.iter().filter_map(|path| judge(module, path)));
                rest
            }
            (Group(inside), _) => {
                walk(inside, module, faults);
                rest
            }
            _ => rest,
        };
    }
}

/// Does this word, followed by `::`, begin a path that says where it leads?
fn is_root(word: &str) -> bool {
    ["crate", "self", "super", "std", CRATE].contains(&word)
}

fn parent(path: &[String]) -> Vec<String> {
    path.split_last().map(|(_, parents)| parents.to_vec()).unwrap_or_default()
}

/// All paths that begin with `so_far` and go on with these tokens, and what follows them.
fn follow(tokens: &[Token], mut so_far: Vec<String>) -> (Vec<Vec<String>>, &[Token]) {
    use Token::{Group, Sign, Word};
    match tokens {
        [Word(word), rest @ ..] => {
            match word.as_str() {
                "super" => so_far = parent(&so_far),
                "self" => {}
                _ => so_far.push(word.clone()),
            }
            match rest {
                [Sign(':'), Sign(':'), rest @ ..] => follow(rest, so_far),
                rest => (vec![so_far], rest),
            }
        }
        [Sign('*'), rest @ ..] => {
            so_far.push("*".to_owned());
            (vec![so_far], rest)
        }
        [Group(items), rest @ ..] => {
            let items = items.split(|token| matches!(token, Sign(','))).filter(|item| !item.is_empty());
            (items.flat_map(|item| follow(item, so_far.clone()).0).collect(), rest)
        }
        rest => (vec![so_far], rest),
    }
}

/// Why this module must not name that path, when it must not.
fn judge(module: &[String], path: &[String]) -> Option<String> {
    let room = module.first().map(String::as_str).unwrap_or_default();
    let shown = path.join("::");
    let mut parts = path.iter().map(String::as_str);
    match (parts.next(), parts.next()) {
        (Some("std"), Some(part)) => {
            let (_, allowed) = MACHINE.iter().find(|(name, _)| *name == part)?;
            (!allowed.contains(&room)).then(|| format!("`{shown}`: only {} may ask the machine", allowed.join(" and ")))
        }
        (Some("std"), None) => None,
        (None | Some("*"), _) => Some(format!("{room} names the whole crate at once")),
        (Some(other), part) if other == room => {
            let own = module.get(1).map(String::as_str);
            // The remedies are words all detectors share; they judge nothing.
            let sibling = room == "detect" && part.is_some_and(|p| p != "remedy") && own.is_some() && own != part;
            sibling.then(|| format!("`{shown}`: a detector knows neither the table nor another detector"))
        }
        (Some(other), _) => {
            let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == room) else {
                return Some(format!("{room} has no line in FLOORS"));
            };
            if !allowed.contains(&other) {
                return Some(format!("{room} may not name {other}: `{shown}`"));
            }
            let is_behind = |door: &[&str]| door.iter().zip(path).all(|(a, b)| a == b) && path.len() >= door.len();
            let (_, _, why) = DOORS.iter().find(|(door, who, _)| is_behind(door) && !who.contains(&room))?;
            Some(format!("`{shown}`: {why}"))
        }
    }
}

/// What is wrong when `room` (a module path) says `text`.
fn seen(module: &str, text: &str) -> Vec<String> {
    let module: Vec<String> = module.split("::").map(str::to_owned).collect();
    faults(text, &module)
}

#[test]
fn what_is_allowed_passes() {
    let fine = [
        ("session::join", "use super::facts::FlowFacts; use crate::event::{Timestamp, Vantage};"),
        ("session::join", "use crate::{event::Timestamp, session::Point};"),
        ("session", "mod tests { use super::*; fn f() { crate::event::LARGE; } }"),
        ("detect", "use crate::finding::Case; pub use never::DETECTOR;"),
        ("detect::one", "mod tests { use super::*; }"),
        ("main", "fn main() { acpcap::cli::run(std::env::args_os()); }"),
        ("cli::files", "use std::fs::File; fn f() { println!(); }"),
        ("tls", "/// See crate::session.\nconst A: &str = \"crate::session\"; use serde::Serialize;"),
        ("report", "#[derive(schemars::JsonSchema)] struct A(pub(crate) u8);"),
    ];
    for (module, text) in fine {
        let faults = seen(module, text);
        assert!(faults.is_empty(), "{module}: {text}: {faults:?}");
    }
}

#[test]
fn what_is_forbidden_is_seen() {
    let wrong = [
        ("session", "use crate::tls::CipherSuite;"),
        ("session", "use crate::{event::Timestamp, tls::CipherSuite};"),
        ("session", "use crate::{event::{Timestamp}, flow::{self, tcp}};"),
        ("session", "pub use crate::packet as p;"),
        ("session", "use crate::dissect::*;"),
        ("session::join", "use super::super::flow::tcp;"),
        ("session::join", "use self::super::super::{flow};"),
        ("session", "mod tests { use super::super::tls; }"),
        ("session", "mod tests { mod deeper { use super::super::super::tls; } }"),
        ("session", "fn f() -> crate::flow::FlowId { todo!() }"),
        ("session", "fn f() { g::<crate::flow::FlowId>(); }"),
        ("session", "fn f() { assert_eq!(vec![crate::flow::LIMIT], [1]); }"),
        ("session", "macro_rules! m { () => { $crate::tls::hex() } }"),
        ("session", "struct A { pub(in crate::detect) a: u8 }"),
        ("session", "use ::acpcap::detect;"),
        ("session", "use crate::*;"),
        ("session", "use crate::{self as all};"),
        ("session", "use crate as all;"),
        ("session", "extern crate self as all;"),
        ("session", "use crate::nowhere::A;"),
        ("error", "use crate::capture::Frame;"),
        ("tls", "use crate::error::Error;"),
        ("capture", "use crate::packet::Packet;"),
        ("event", "use crate::session::Session;"),
        ("finding", "use crate::detect::DETECTORS;"),
        ("detect::one", "use super::two::DETECTOR;"),
        ("detect::one", "use crate::detect::two;"),
        ("detect::one", "use crate::report::Report;"),
        ("report::text", "use crate::detect::DETECTORS;"),
        ("analysis", "use crate::cli::Exit;"),
        ("main", "use acpcap::analysis;"),
        ("packet", "use crate::capture::reader::Reader;"),
        ("packet", "use crate::capture::{Frame, reader::{self, Reader}};"),
        ("report", "use std::fs::File;"),
        ("report", "use std::{fmt, fs::{self, File}};"),
        ("report", "fn f() { std::env::var(\"A\"); }"),
        ("report", "fn f() { if true { eprintln!(); } }"),
        ("nowhere", "use crate::event::Event;"),
    ];
    for (module, text) in wrong {
        assert!(!seen(module, text).is_empty(), "{module}: {text}");
    }
}

#[test]
fn each_path_of_a_group_is_judged_on_its_own() {
    let faults = seen("session", "use crate::{event::Event, tls::{Alert, Version}, flow::tcp::Chunk};");
    let all = ["tls::Alert", "tls::Version", "flow::tcp::Chunk"];
    assert_eq!(faults.len(), all.len(), "{faults:?}");
    for (fault, path) in faults.iter().zip(all) {
        assert!(fault.ends_with(&format!("`{path}`")), "{fault}");
    }
}

#[test]
fn modules_are_named_after_their_files() {
    assert_eq!(module_of(Path::new("session/mod.rs")), ["session"]);
    assert_eq!(module_of(Path::new("session/join.rs")), ["session", "join"]);
    assert_eq!(module_of(Path::new("event.rs")), ["event"]);
}
