//! What the user named, as captures to read: vantages, standard input, rotated sets.
//!
//! Promises: a file is opened only when its turn comes; names are taken as written. Refuses: to follow globs or folders.

use super::output::Destination;
use crate::analysis::Source;
use crate::capture::vantage::Vantage;
use crate::error::Error;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

const WORDS: [&str; 4] = ["client", "outside", "inside", "virtual-adapter"];

/// One capture to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// `None` is standard input.
    path: Option<PathBuf>,
    vantage: Option<Vantage>,
    continues: bool,
}

impl Input {
    /// As the user named it, without the vantage.
    pub(super) fn shown(&self) -> String {
        match &self.path {
            Some(path) => path.to_string_lossy().into_owned(),
            None => "-".to_owned(),
        }
    }

    /// Bytes to read, when they can be known beforehand.
    pub(super) fn size(&self) -> Option<u64> {
        let metadata = match &self.path {
            Some(path) => path.metadata().ok()?,
            None => stdin_metadata()?,
        };
        metadata.is_file().then_some(metadata.len())
    }

    /// Whether it can be opened a second time and gives the same bytes: standard input goes on where it stopped.
    pub(super) fn is_rereadable(&self) -> bool {
        self.path.is_some() && self.size().is_some()
    }

    /// Whether a report written to `to` would replace this capture.
    pub(super) fn is(&self, to: &Destination) -> bool {
        match (&self.path, to) {
            (Some(path), _) => to.is(path),
            (None, Destination::File(to)) => {
                stdin_metadata().zip(to.metadata().ok()).is_some_and(|(stdin, to)| is_same_file(&stdin, &to))
            }
            (None, Destination::Stdout) => false,
        }
    }
}

/// `--vantage`.
pub(super) fn parse_vantage(word: &str) -> Result<Vantage, String> {
    word.parse().map_err(|_| format!("one of {}", WORDS.join(", ")))
}

/// The captures in the order they will be read.
pub(super) fn plan(named: &[OsString], everywhere: Option<Vantage>, rotation: bool) -> Result<Vec<Input>, String> {
    let mut inputs = Vec::with_capacity(named.len());
    let mut seen = HashSet::new();
    for name in named {
        let (vantage, path) = split(name);
        if path.is_empty() {
            return Err(format!("'{}' names no file", name.to_string_lossy()));
        }
        let path = (path.as_os_str() != OsStr::new("-")).then(|| PathBuf::from(&path));
        if path.is_none() && io::stdin().is_terminal() {
            return Err("standard input is a terminal: pipe a capture into it".to_owned());
        }
        if !seen.insert(path.clone()) {
            return Err(format!("'{}' is named twice", name.to_string_lossy()));
        }
        inputs.push(Input { path, vantage, continues: false });
    }
    if rotation {
        join_rotated(&mut inputs);
    }
    for input in &mut inputs {
        input.vantage = input.vantage.or(everywhere);
    }
    Ok(inputs)
}

/// Opens one capture; bytes read from it are added to `counter`, and once `stop` is raised nothing more is waited for.
pub(super) fn open(input: &Input, counter: &Arc<AtomicU64>, stop: &Arc<AtomicBool>) -> Result<Source, Error> {
    let failed = |source: io::Error| Error::Io { path: input.shown(), operation: "open", source };
    let file = match &input.path {
        None => standard_input(),
        Some(path) => File::open(path).map(Handle::File),
    };
    let bytes: Box<dyn Read + Send> = match file.map_err(failed)? {
        Handle::File(file) => match file.metadata().map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_dir() => return Err(failed(io::ErrorKind::IsADirectory.into())),
            Ok(kind) if kind.is_file() => Box::new(file),
            // A pipe, a terminal, a socket: what comes next may come never.
            _ => waiting(file, stop),
        },
        #[cfg(not(unix))]
        Handle::Stdin(stdin) => Box::new(stdin),
    };
    Ok(source(input, bytes, counter))
}

/// The capture, when its bytes come from elsewhere.
pub(super) fn source(input: &Input, bytes: Box<dyn Read + Send>, counter: &Arc<AtomicU64>) -> Source {
    Source {
        path: input.shown(),
        vantage: input.vantage,
        input: Box::new(Counted { bytes, counter: Arc::clone(counter) }),
        continues: input.continues,
    }
}

/// Where bytes come from.
enum Handle {
    File(File),
    #[cfg(not(unix))]
    Stdin(io::Stdin),
}

/// Without the standard library's buffer, which nobody can ask whether it is empty.
#[cfg(unix)]
fn standard_input() -> io::Result<Handle> {
    use std::os::fd::AsFd;
    Ok(Handle::File(File::from(io::stdin().as_fd().try_clone_to_owned()?)))
}

#[cfg(not(unix))]
fn standard_input() -> io::Result<Handle> {
    Ok(Handle::Stdin(io::stdin()))
}

#[cfg(unix)]
fn waiting(file: File, stop: &Arc<AtomicBool>) -> Box<dyn Read + Send> {
    Box::new(Waiting { file, stop: Arc::clone(stop) })
}

#[cfg(not(unix))]
fn waiting(file: File, _: &Arc<AtomicBool>) -> Box<dyn Read + Send> {
    Box::new(file)
}

/// Reads what may come at any time, and fails when it was told to stop and nothing more is there.
#[cfg(unix)]
struct Waiting {
    file: File,
    stop: Arc<AtomicBool>,
}

#[cfg(unix)]
impl Waiting {
    /// How long a stop may go unnoticed; also what a source gets to hand over the last it has.
    const PATIENCE: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
}

#[cfg(unix)]
impl Read for Waiting {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        use rustix::event::{PollFd, PollFlags, poll};
        loop {
            let stopping = self.stop.load(Relaxed);
            let nothing = match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&Self::PATIENCE)) {
                Ok(ready) => ready == 0,
                Err(rustix::io::Errno::INTR) => continue,
                // The read will say what is wrong.
                Err(_) => false,
            };
            if nothing && !stopping {
                continue;
            }
            let got = if nothing { 0 } else { self.file.read(space)? };
            if got == 0 && stopping {
                return Err(io::Error::other("stopped"));
            }
            return Ok(got);
        }
    }
}

/// What to say about names that look like a misspelt vantage and are no file.
pub(super) fn hints(inputs: &[Input]) -> Vec<String> {
    let hint = |input: &Input| {
        let path = input.path.as_ref().filter(|path| !path.exists())?;
        let (word, _) = path.to_str()?.split_once(':')?;
        let near = WORDS.iter().find(|near| strsim::damerau_levenshtein(near, word) <= 2)?;
        Some(format!("'{word}' is no vantage; was '{near}:' meant?"))
    };
    inputs.iter().filter_map(hint).collect()
}

/// `outside:a.pcap` → the vantage and the path. Anything before a colon that is no vantage belongs to the path.
fn split(name: &OsStr) -> (Option<Vantage>, OsString) {
    if let Some((vantage, path)) = split_lossless(name) {
        return (Some(vantage), path);
    }
    (None, name.to_owned())
}

#[cfg(unix)]
fn split_lossless(name: &OsStr) -> Option<(Vantage, OsString)> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = name.as_bytes();
    let colon = bytes.iter().position(|&byte| byte == b':')?;
    let (word, rest) = bytes.split_at_checked(colon)?;
    let vantage = std::str::from_utf8(word).ok()?.parse().ok()?;
    Some((vantage, OsString::from_vec(rest.get(1..)?.to_vec())))
}

#[cfg(not(unix))]
fn split_lossless(name: &OsStr) -> Option<(Vantage, OsString)> {
    let (word, path) = name.to_str()?.split_once(':')?;
    Some((word.parse().ok()?, OsString::from(path)))
}

#[cfg(unix)]
fn stdin_metadata() -> Option<std::fs::Metadata> {
    use std::os::fd::AsFd;
    let stdin = io::stdin().as_fd().try_clone_to_owned().ok()?;
    File::from(stdin).metadata().ok()
}

#[cfg(not(unix))]
fn stdin_metadata() -> Option<std::fs::Metadata> {
    None
}

#[cfg(unix)]
fn is_same_file(a: &std::fs::Metadata, b: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same_file(_: &std::fs::Metadata, _: &std::fs::Metadata) -> bool {
    false
}

/// Counts what is read, for progress.
struct Counted {
    bytes: Box<dyn Read + Send>,
    counter: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.bytes.read(buffer)?;
        self.counter.fetch_add(got as u64, Relaxed);
        Ok(got)
    }
}

/// A place in a rotated set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// What all files of the set share.
    set: (Style, PathBuf, String, String),
    number: u64,
    /// tcpdump's first file without a number.
    bare: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `prefix_NNNNN_YYYYMMDDHHMMSS.ext`, or the two numbers the other way round (`-b nametimenum:2`).
    Dumpcap,
    /// `name`, `name1`, `name2`, … (`-C`), zero-padded from 0 with `-W`.
    Tcpdump,
}

/// Marks the files that continue the one before; files of one set named side by side are put in their order first.
fn join_rotated(inputs: &mut [Input]) {
    let mut rest = inputs;
    while let Some(first) = rest.first() {
        let length = 1 + rest.windows(2).take_while(|pair| matches!(pair, [a, b] if same_set(a, b))).count();
        let vantage = first.vantage;
        let Some((set, after)) = rest.split_at_mut_checked(length) else {
            return;
        };
        if length > 1 && is_a_set(set) {
            set.sort_by(|a, b| match (place_of(a), place_of(b)) {
                (Some(a), Some(b)) => (a.number, !a.bare).cmp(&(b.number, !b.bare)),
                _ => Ordering::Equal,
            });
            let mut before: Option<u64> = None;
            for input in set {
                let number = place_of(input).map(|place| place.number);
                input.continues = before.is_some() && before.and_then(|n| n.checked_add(1)) == number;
                input.vantage = input.vantage.or(vantage);
                before = number;
            }
        }
        rest = after;
    }
}

fn same_set(a: &Input, b: &Input) -> bool {
    let vantages_agree = b.vantage.is_none() || a.vantage == b.vantage;
    match (place_of(a), place_of(b)) {
        (Some(a), Some(b)) => vantages_agree && a.set == b.set,
        _ => false,
    }
}

/// tcpdump's pattern is only a trailing number: believe it where the rest is a capture's name or the count starts at its start.
fn is_a_set(inputs: &[Input]) -> bool {
    let places: Vec<Place> = inputs.iter().filter_map(place_of).collect();
    places.iter().any(|place| {
        let (style, _, name, _) = &place.set;
        let extension = Path::new(name).extension().and_then(OsStr::to_str);
        *style == Style::Dumpcap
            || place.bare
            || place.number == 0
            || extension.is_some_and(|e| matches!(e, "pcap" | "pcapng" | "cap" | "dmp" | "dump"))
    })
}

fn place_of(input: &Input) -> Option<Place> {
    let path = input.path.as_ref()?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let name = path.file_name()?.to_str()?;
    if let Some((prefix, number, extension)) = dumpcap(name) {
        let set = (Style::Dumpcap, folder, prefix.to_owned(), extension.to_owned());
        return Some(Place { set, number, bare: false });
    }
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = name.get(base.len()..)?;
    if base.is_empty() {
        return None;
    }
    Some(Place {
        set: (Style::Tcpdump, folder, base.to_owned(), String::new()),
        number: if digits.is_empty() { 0 } else { digits.parse().ok()? },
        bare: digits.is_empty(),
    })
}

/// Prefix, number and extension of a dumpcap ring file's name.
fn dumpcap(name: &str) -> Option<(&str, u64, &str)> {
    let dot = name.rfind('_').and_then(|at| Some(at + name.get(at..)?.find('.')?));
    let (stem, extension) = match dot {
        Some(dot) => (name.get(..dot)?, name.get(dot..)?),
        None => (name, ""),
    };
    let (rest, last) = stem.rsplit_once('_')?;
    let (prefix, middle) = rest.rsplit_once('_')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let number = match (middle.len(), last.len()) {
        (5..=10, 14) => middle,
        (14, 5..=10) => last,
        _ => return None,
    };
    if prefix.is_empty() || !digits(middle) || !digits(last) {
        return None;
    }
    Some((prefix, number.parse().ok()?, extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<OsString> {
        list.iter().map(OsString::from).collect()
    }

    /// Paths in reading order, `+` in front of those that continue the one before.
    fn planned(list: &[&str]) -> Vec<String> {
        let inputs = plan(&names(list), None, true).unwrap();
        let row = |input: &Input| format!("{}{}", if input.continues { "+" } else { "" }, input.shown());
        inputs.iter().map(row).collect()
    }

    #[test]
    fn a_vantage_goes_in_front_and_nothing_else_does() {
        let split = |name: &str| {
            let (vantage, path) = split(OsStr::new(name));
            (vantage, path.into_string().unwrap())
        };
        assert_eq!(split("outside:a.pcap"), (Some(Vantage::Outside), "a.pcap".to_owned()));
        assert_eq!(split("va:-"), (Some(Vantage::VirtualAdapter), "-".to_owned()));
        assert_eq!(split(r"C:\a.pcap"), (None, r"C:\a.pcap".to_owned()));
        assert_eq!(split("12:30:00.pcap"), (None, "12:30:00.pcap".to_owned()));
        assert_eq!(split("./client:a"), (None, "./client:a".to_owned()));
        assert_eq!(split("client:12:30.pcap"), (Some(Vantage::Client), "12:30.pcap".to_owned()));
    }

    #[test]
    fn the_files_own_vantage_goes_before_that_for_all() {
        let inputs = plan(&names(&["client:a", "b"]), Some(Vantage::Inside), true).unwrap();
        let vantages: Vec<_> = inputs.iter().map(|input| input.vantage).collect();
        assert_eq!(vantages, [Some(Vantage::Client), Some(Vantage::Inside)]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(plan(&names(&["client:"]), None, true).is_err());
        assert!(plan(&names(&["a", "a"]), None, true).is_err());
        assert!(plan(&names(&["client:a", "inside:a"]), None, true).is_err());
    }

    #[test]
    fn a_dumpcap_ring_is_one_capture() {
        assert_eq!(
            planned(&[
                "d/r_00002_20260101120100.pcapng.gz",
                "d/r_00001_20260101120000.pcapng.gz",
                "d/r_00004_20260101120300.pcapng.gz",
                "d/x_00005_20260101120400.pcapng.gz",
            ]),
            [
                "d/r_00001_20260101120000.pcapng.gz",
                "+d/r_00002_20260101120100.pcapng.gz",
                "d/r_00004_20260101120300.pcapng.gz",
                "d/x_00005_20260101120400.pcapng.gz",
            ]
        );
        assert_eq!(
            planned(&["a.b_20260101120000_00001.pcap", "a.b_20260101120100_00002.pcap"]),
            ["a.b_20260101120000_00001.pcap", "+a.b_20260101120100_00002.pcap"]
        );
    }

    #[test]
    fn a_tcpdump_set_is_one_capture_even_in_the_shells_order() {
        let mut named = vec!["c.pcap".to_owned()];
        named.extend((1..=11).map(|n| format!("c.pcap{n}")));
        named.sort();
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        let read = planned(&named);
        assert_eq!(read[0], "c.pcap");
        assert_eq!(read[2], "+c.pcap2");
        assert_eq!(read[11], "+c.pcap11");
        assert_eq!(planned(&["ring00", "ring01", "ring02"]), ["ring00", "+ring01", "+ring02"]);
    }

    #[test]
    fn files_that_only_end_in_numbers_stay_apart() {
        assert_eq!(planned(&["site1", "site2"]), ["site1", "site2"]);
        assert_eq!(planned(&["site1.pcap", "site2.pcap"]), ["site1.pcap", "site2.pcap"]);
        assert_eq!(planned(&["a/c.pcap", "b/c.pcap1"]), ["a/c.pcap", "b/c.pcap1"]);
        let inputs = plan(&names(&["client:c.pcap", "inside:c.pcap1"]), None, true).unwrap();
        assert!(!inputs[1].continues);
        let inputs = plan(&names(&["c.pcap", "c.pcap1"]), None, false).unwrap();
        assert!(!inputs[1].continues);
    }

    #[test]
    fn a_set_shares_the_vantage_of_its_first_file() {
        let inputs = plan(&names(&["inside:c.pcap", "c.pcap1"]), None, true).unwrap();
        assert!(inputs[1].continues);
        assert_eq!(inputs[1].vantage, Some(Vantage::Inside));
    }

    #[test]
    fn a_misspelt_vantage_gets_a_hint() {
        let inputs = plan(&names(&["outisde:/nowhere/a.pcap"]), None, true).unwrap();
        assert_eq!(hints(&inputs), ["'outisde' is no vantage; was 'outside:' meant?"]);
    }

    proptest::proptest! {
        #[test]
        fn any_names_keep_every_file_once(list in proptest::collection::vec("[a-c_.0-9:]{1,24}", 1..12)) {
            let named: Vec<OsString> = list.iter().map(OsString::from).collect();
            if let Ok(inputs) = plan(&named, None, true) {
                let mut read: Vec<String> = inputs.iter().map(Input::shown).collect();
                let mut list = list.clone();
                read.sort();
                list.sort();
                proptest::prop_assert_eq!(read, list);
                proptest::prop_assert!(!inputs[0].continues);
            }
        }
    }
}
