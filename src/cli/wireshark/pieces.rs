//! The files themselves, and whose a file is that stands in their place.
//!
//! The first line of each is its mark: version, and a digest of the rest. So a file that was changed by hand, or by
//! Wireshark, which rewrites a profile without its comments, is known to be the user's.

use super::folders::Folders;
use sha2::{Digest, Sha256};
use std::fmt::{self, Write};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Parts of the plugin in the order they are loaded; one file, for Lua's `local` to reach across them.
const PLUGIN: &[&str] = &[
    include_str!("plugin/start.lua"),
    include_str!("plugin/tunnel.lua"),
    include_str!("plugin/cstp.lua"),
    include_str!("plugin/dtls.lua"),
    include_str!("plugin/inner.lua"),
    include_str!("plugin/json.lua"),
    include_str!("plugin/report.lua"),
    include_str!("plugin/quote.lua"),
    include_str!("plugin/menu.lua"),
    include_str!("plugin/finish.lua"),
];

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Hexadecimal digits of the digest in a mark: against accidents, not against malice.
const DIGEST_LEN: usize = 16;
/// Bytes read of a file that stands in our place; ours are far smaller.
const MAX_READ: u64 = 1024 * 1024;

/// One file to install.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) path: PathBuf,
    /// What begins a comment in it.
    comment: &'static str,
    /// All but the first line.
    body: String,
}

/// What stands where a piece belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Absent,
    /// This version's file.
    Same,
    /// Another version's file, as it was written.
    Other {
        /// The version in its mark.
        version: String,
    },
    /// A file of ours that somebody changed.
    Changed,
    /// Somebody else's, and how that is known.
    Foreign(&'static str),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Absent => f.pad("absent"),
            State::Same => f.pad("installed"),
            State::Other { version } => write!(f, "of acpcap {version}"),
            State::Changed => f.pad("changed"),
            State::Foreign(_) => f.pad("not ours"),
        }
    }
}

/// All files, the plugin first.
pub(super) fn all(folders: &Folders) -> Vec<Piece> {
    let profile = |name: &str, text: &str| Piece {
        path: folders.profile.join(name),
        comment: "#",
        body: text.replace("\r\n", "\n"),
    };
    vec![
        Piece { path: folders.plugins.join("acpcap.lua"), comment: "--", body: plugin() },
        profile("colorfilters", include_str!("profile/colorfilters")),
        profile("dfilter_buttons", include_str!("profile/dfilter_buttons")),
        profile("preferences", include_str!("profile/preferences")),
    ]
}

/// The plugin, told its version and where this program is: a Wireshark started from a desktop knows no shell's PATH.
fn plugin() -> String {
    let text = PLUGIN.concat().replace("\r\n", "\n");
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(Path::to_str).unwrap_or("acpcap");
    let told = |name: &str, value: &str| format!("local {name} = {}", lua_string(value));
    text.replacen("local VERSION = \"0\"", &told("VERSION", VERSION), 1).replacen(
        "local PROGRAM = \"acpcap\"",
        &told("PROGRAM", program),
        1,
    )
}

/// A Lua string literal of these bytes.
fn lua_string(text: &str) -> String {
    let mut literal = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'"' && byte != b'\\' => literal.push(char::from(byte)),
            // Three digits, so that a digit behind it is not taken for one of them.
            _ => {
                let _ = write!(literal, "\\{byte:03}");
            }
        }
    }
    literal.push('"');
    literal
}

impl Piece {
    /// The whole file.
    pub(super) fn text(&self) -> String {
        let mark = format!("{} acpcap {VERSION} {}", self.comment, digest(&self.body));
        format!("{mark} written by acpcap wireshark install; once changed, it is left alone\n{}", self.body)
    }

    /// What stands in its place.
    pub(super) fn state(&self) -> State {
        let there = match self.path.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return State::Absent,
            Err(_) => return State::Foreign("cannot be looked at"),
            Ok(there) => there,
        };
        if !there.is_file() {
            return State::Foreign("is no plain file");
        }
        let Ok(text) = read(&self.path) else { return State::Foreign("cannot be read") };
        if text == self.text() {
            return State::Same;
        }
        match self.mark_of(&text) {
            None => State::Foreign("was not written by acpcap"),
            Some((version, stamp, body)) if stamp == digest(body) => State::Other { version: version.to_owned() },
            Some(_) => State::Changed,
        }
    }

    /// Version, digest, and the rest of a file that has our mark.
    fn mark_of<'a>(&self, text: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
        let (first, body) = text.split_once('\n')?;
        let mut words = first.strip_prefix(self.comment)?.strip_prefix(" acpcap ")?.split(' ');
        let (version, stamp) = (words.next()?, words.next()?);
        let is_version = version.starts_with(|c: char| c.is_ascii_digit())
            && version.len() < 40
            && version.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c));
        let is_digest = stamp.len() == DIGEST_LEN && stamp.chars().all(|c| c.is_ascii_hexdigit());
        (is_version && is_digest).then_some((version, stamp, body))
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_READ).read_to_string(&mut text)?;
    Ok(text)
}

fn digest(body: &str) -> String {
    let sum = Sha256::digest(body.as_bytes());
    sum.iter().take(DIGEST_LEN / 2).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    struct Here(PathBuf, Piece);

    impl Here {
        fn new(name: &str) -> Here {
            let folder = std::env::temp_dir().join(format!("acpcap-{}-piece-{name}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            let piece = Piece { path: folder.join("file"), comment: "#", body: "one\ntwo\n".to_owned() };
            Here(folder, piece)
        }

        fn state_of(&self, text: &[u8]) -> State {
            fs::write(&self.1.path, text).unwrap();
            self.1.state()
        }
    }

    impl Drop for Here {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn whose_a_file_is() {
        let here = Here::new("whose");
        let piece = &here.1;
        assert_eq!(piece.state(), State::Absent);
        let ours = piece.text();
        assert_eq!(here.state_of(ours.as_bytes()), State::Same);
        assert_eq!(here.state_of(ours.replace("two", "three").as_bytes()), State::Changed);
        let older = Piece { body: "other\n".to_owned(), ..piece.clone() }.text().replacen(VERSION, "0.0.9", 1);
        assert_eq!(here.state_of(older.as_bytes()), State::Other { version: "0.0.9".to_owned() });
        let foreign = State::Foreign("was not written by acpcap");
        for text in ["", "one\ntwo\n", "# acpcap\n", "# acpcap 1.0 rules\nmine\n", "-- acpcap 0.1.0 0123456789abcdef\n"]
        {
            assert_eq!(here.state_of(text.as_bytes()), foreign, "{text}");
        }
        assert_eq!(here.state_of(&[0xff; 40]), State::Foreign("cannot be read"));
        fs::remove_file(&piece.path).unwrap();
        fs::create_dir(&piece.path).unwrap();
        assert_eq!(piece.state(), State::Foreign("is no plain file"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_somebody_elses_even_to_a_file_of_ours() {
        let here = Here::new("link");
        let real = here.0.join("real");
        fs::write(&real, here.1.text()).unwrap();
        std::os::unix::fs::symlink(&real, &here.1.path).unwrap();
        assert_eq!(here.1.state(), State::Foreign("is no plain file"));
    }

    #[test]
    fn the_plugin_is_told_its_version_and_its_program() {
        let text = plugin();
        assert!(text.contains(&format!("local VERSION = \"{VERSION}\"\n")));
        assert!(text.contains("local PROGRAM = \"/") || cfg!(windows), "an absolute path");
        assert!(text.is_ascii(), "no editor's encoding can harm it");
    }

    proptest! {
        #[test]
        fn any_text_is_one_lua_string(text in any::<String>()) {
            let literal = lua_string(&text);
            prop_assert!(literal.bytes().all(|b| (b' '..=b'~').contains(&b)));
            let inner = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            let mut bytes = Vec::new();
            let mut rest = inner.as_bytes();
            while let Some((first, after)) = rest.split_first() {
                prop_assert_ne!(*first, b'"');
                if *first == b'\\' {
                    bytes.push(std::str::from_utf8(&after[..3]).unwrap().parse::<u8>().unwrap());
                    rest = &after[3..];
                } else {
                    bytes.push(*first);
                    rest = after;
                }
            }
            prop_assert_eq!(bytes, text.into_bytes());
        }

        #[test]
        fn any_change_of_a_letter_is_noticed(at in 0usize..60, to in "[a-z]") {
            let piece = Piece { path: PathBuf::new(), comment: "#", body: "a body with some letters\n".repeat(4) };
            let mut text = piece.text().into_bytes();
            let place = text.len() - 61 + at;
            prop_assume!(text[place] != to.as_bytes()[0]);
            text[place] = to.as_bytes()[0];
            let text = String::from_utf8(text).unwrap();
            let (_, stamp, body) = piece.mark_of(&text).unwrap();
            prop_assert_ne!(stamp, digest(body));
        }
    }
}
