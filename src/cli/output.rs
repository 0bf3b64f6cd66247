//! Where reports go: standard output or files, several formats from one pass.
//!
//! Promises: a file is there whole or not at all; a reader that went away is no error. Refuses: two reports on one output.
//! Only a kill that cannot be caught leaves something behind: a hidden file beside the target, `.NAME.PID-N.tmp`.

use super::Colour;
use crate::error::Error;
use crate::report::text::Look;
use crate::report::{Every, Report, csv, html, json, md, note, text};
use anstream::{AutoStream, ColorChoice};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Json,
    Note,
    Csv,
    Md,
    Html,
}

impl Kind {
    /// The most sessions it tells one by one, those with the worst findings; `None`: all there are.
    pub(super) fn max_told(self) -> Option<usize> {
        match self {
            Kind::Text | Kind::Note => Some(text::MAX_SESSIONS),
            Kind::Md => Some(md::MAX_SESSIONS),
            Kind::Html => Some(html::MAX_SESSIONS),
            Kind::Json | Kind::Csv => None,
        }
    }

    /// Writes it; what tells all sessions does so one after the other.
    pub(super) fn render(
        self,
        report: &Report,
        every: &mut dyn Every,
        look: Look,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        match self {
            Kind::Text => text::render(report, look, out),
            Kind::Json => json::render_every(report, every, out),
            Kind::Note => note::render(report, out),
            Kind::Csv => csv::render_every(report, every, out),
            Kind::Md => md::render(report, out),
            Kind::Html => html::render(report, out),
        }
    }
}

/// One `--format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    kind: Kind,
    path: Option<PathBuf>,
}

/// `text`, `json`, `json=report.json`.
pub(super) fn parse_format(given: &str) -> Result<Format, String> {
    let (word, path) = match given.split_once('=') {
        Some((_, "")) => return Err("no path after '='".to_owned()),
        Some((word, path)) => (word, Some(PathBuf::from(path))),
        None => (given, None),
    };
    let kind = match word {
        "text" => Kind::Text,
        "json" => Kind::Json,
        "note" => Kind::Note,
        "csv" => Kind::Csv,
        "md" => Kind::Md,
        "html" => Kind::Html,
        _ => return Err("formats: text, json, note, html, md, csv".to_owned()),
    };
    Ok(Format { kind, path })
}

/// Where one report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Stdout,
    File(PathBuf),
}

impl Destination {
    /// Would writing there replace this file?
    pub(super) fn is(&self, file: &Path) -> bool {
        let Destination::File(to) = self else { return false };
        match (file.canonicalize(), to.canonicalize()) {
            (Ok(file), Ok(to)) => file == to && file.is_file(),
            _ => false,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Stdout => f.write_str("standard output"),
            Destination::File(path) => path.display().fmt(f),
        }
    }
}

impl From<PathBuf> for Destination {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "-" {
            return Destination::Stdout;
        }
        Destination::File(path)
    }
}

/// One report to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) format: Kind,
    pub(super) to: Destination,
}

/// The reports asked for by `--format` and `-o`.
pub(super) fn plan(formats: Vec<Format>, output: Option<PathBuf>) -> Result<Vec<Wanted>, String> {
    let mut wanted = Vec::new();
    if let Some(path) = output {
        let format = match formats.as_slice() {
            [] if has_extension(&path, "json") => Kind::Json,
            [] if has_extension(&path, "csv") => Kind::Csv,
            [] if has_extension(&path, "md") => Kind::Md,
            [] if has_extension(&path, "html") => Kind::Html,
            [] => Kind::Text,
            [Format { kind, path: None }] => *kind,
            [_] => return Err("-o and a path in --format: one of them".to_owned()),
            _ => return Err("-o is for one format: give each --format its own =PATH".to_owned()),
        };
        let to = path.into();
        return Ok(vec![Wanted { format, to }]);
    }
    for Format { kind, path } in formats {
        let to = path.map_or(Destination::Stdout, Destination::from);
        if wanted.iter().any(|other: &Wanted| other.to == to) {
            return Err(format!("two reports on {to}: give one of them a path, --format json=FILE"));
        }
        wanted.push(Wanted { format: kind, to });
    }
    if wanted.is_empty() {
        wanted.push(Wanted { format: Kind::Text, to: Destination::Stdout });
    }
    Ok(wanted)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

/// Colours for this destination: files get them only when asked for.
pub(super) fn look(to: &Destination, colour: Colour, ascii: bool, why: bool) -> Look {
    let colour = match (colour, to) {
        (Colour::Always, _) => true,
        (Colour::Never, _) | (Colour::Auto, Destination::File(_)) => false,
        (Colour::Auto, Destination::Stdout) => AutoStream::choice(&io::stdout()) != ColorChoice::Never,
    };
    Look { colour, ascii, why, ladder: false }
}

/// Finds out, before the work, whether a report can be written there at all.
pub(super) fn probe(to: &Destination) -> Result<(), Error> {
    let Destination::File(path) = to else {
        return Ok(());
    };
    let failed = |source| Error::Io { path: path.display().to_string(), operation: "write", source };
    match plan_file(path).map_err(failed)? {
        Plan::Direct => Ok(()),
        Plan::Replace(target) => {
            let (neighbour, file) = create_neighbour(&target, Readers::All).map_err(failed)?;
            drop(file);
            fs::remove_file(neighbour).map_err(failed)
        }
    }
}

/// Writes one page there.
pub(super) fn write(
    to: &Destination,
    look: Look,
    page: impl FnOnce(Look, &mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    write_for(to, look, Readers::All, page)
}

/// Writes a page that nobody but the user is to read.
pub(super) fn write_secret(
    to: &Destination,
    look: Look,
    page: impl FnOnce(Look, &mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    write_for(to, look, Readers::Owner, page)
}

/// Who may read a file that is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readers {
    /// Whom the system lets, or the file's permissions, when it is there already.
    All,
    /// Its owner alone, whatever was there before.
    Owner,
}

fn write_for(
    to: &Destination,
    look: Look,
    readers: Readers,
    page: impl FnOnce(Look, &mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let result = match to {
        Destination::Stdout => to_stdout(look, page),
        Destination::File(path) => to_file(path, look, readers, page),
    };
    match result {
        // The reader has seen enough (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(Error::Io { path: to.to_string(), operation: "write", source }),
        Ok(()) => Ok(()),
    }
}

fn to_stdout(look: Look, page: impl FnOnce(Look, &mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // The page is already plain when it should be; the stream is there for consoles that know no ANSI.
    let choice = if look.colour { ColorChoice::Always } else { ColorChoice::AlwaysAnsi };
    let mut out = BufWriter::new(AutoStream::new(io::stdout().lock(), choice));
    page(look, &mut out)?;
    out.flush()
}

fn to_file(
    path: &Path,
    look: Look,
    readers: Readers,
    page: impl FnOnce(Look, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let target = match plan_file(path)? {
        Plan::Replace(target) => target,
        Plan::Direct => {
            let mut out = BufWriter::new(OpenOptions::new().write(true).create(true).truncate(true).open(path)?);
            page(look, &mut out)?;
            return out.flush();
        }
    };
    let (neighbour, file) = create_neighbour(&target, readers)?;
    let unfinished = Unfinished::new(neighbour);
    fill(file, look, page)?;
    if let Ok(old) = target.metadata()
        && readers == Readers::All
    {
        fs::set_permissions(&unfinished.0, old.permissions())?;
    }
    fs::rename(&unfinished.0, &target)
}

/// Files being written, for the moment when the program ends in the middle of it.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes what is half written: the program ends now.
pub(super) fn abandon() {
    for path in UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        // There is nobody left to tell.
        let _ = fs::remove_file(path);
    }
}

/// A file being written; what is still there in the end is removed.
struct Unfinished(PathBuf);

impl Unfinished {
    fn new(path: PathBuf) -> Unfinished {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        Unfinished(path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| *path != self.0);
        // Renamed already when all went well.
        let _ = fs::remove_file(&self.0);
    }
}

fn fill(file: File, look: Look, page: impl FnOnce(Look, &mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    page(look, &mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    // Some file systems report a full disk only here; those that cannot sync lose nothing.
    match file.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(error),
        _ => Ok(()),
    }
}

enum Plan {
    /// A device or a pipe: renaming would replace it.
    Direct,
    /// A regular file, there or not yet; links followed.
    Replace(PathBuf),
}

fn plan_file(path: &Path) -> io::Result<Plan> {
    match path.metadata() {
        Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => Ok(Plan::Direct),
        Ok(there) if there.permissions().readonly() => Err(io::ErrorKind::PermissionDenied.into()),
        Ok(_) => Ok(Plan::Replace(path.canonicalize()?)),
        Err(_) if path.is_symlink() => Ok(Plan::Direct),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Plan::Replace(path.to_owned())),
        Err(error) => Err(error),
    }
}

/// A new file beside `target`: on the same file system, so that renaming is one step.
fn create_neighbour(target: &Path, readers: Readers) -> io::Result<(PathBuf, File)> {
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut attempt = 0;
    loop {
        let mut neighbour = OsString::from(".");
        neighbour.push(name);
        neighbour.push(format!(".{}-{attempt}.tmp", std::process::id()));
        let neighbour = target.with_file_name(neighbour);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if readers == Readers::Owner {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        match options.open(&neighbour) {
            Ok(file) => return Ok((neighbour, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 16 => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("acpcap-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn entries(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        fs::read_dir(folder).unwrap().map(name).collect()
    }

    fn format(given: &str) -> Format {
        parse_format(given).unwrap()
    }

    #[test]
    fn formats_and_their_places() {
        assert_eq!(plan(vec![], None).unwrap()[0].to, Destination::Stdout);
        let both = plan(vec![format("text"), format("json=r.json")], None).unwrap();
        assert_eq!(both[1].to, Destination::File("r.json".into()));
        let one = plan(vec![format("json")], Some("x".into())).unwrap();
        assert_eq!((one[0].format, one.len()), (Kind::Json, 1));
        assert_eq!(plan(vec![], Some("r.json".into())).unwrap()[0].format, Kind::Json);
        assert_eq!(plan(vec![], Some("r.CSV".into())).unwrap()[0].format, Kind::Csv);
        assert_eq!(plan(vec![], Some("r.md".into())).unwrap()[0].format, Kind::Md);
        assert_eq!(plan(vec![], Some("r.HTML".into())).unwrap()[0].format, Kind::Html);
        assert_eq!(plan(vec![], Some("r.txt".into())).unwrap()[0].format, Kind::Text);
        assert_eq!(plan(vec![], Some("-".into())).unwrap()[0].to, Destination::Stdout);

        assert!(plan(vec![format("text"), format("json")], None).is_err());
        assert!(plan(vec![format("text=a"), format("json=a")], None).is_err());
        assert!(plan(vec![format("text=a")], Some("b".into())).is_err());
        assert!(plan(vec![format("text"), format("json")], Some("b".into())).is_err());
        assert!(parse_format("xml").is_err());
        assert!(parse_format("json=").is_err());
    }

    #[test]
    fn a_file_is_whole_or_not_there() {
        let folder = folder("whole");
        let path = folder.join("r.txt");
        let to = Destination::File(path.clone());
        probe(&to).unwrap();
        assert!(entries(&folder).is_empty());

        write(&to, Look::default(), |_, out| out.write_all(b"one\n")).unwrap();
        let broken = write(&to, Look::default(), |_, out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        let message = broken.unwrap_err().to_string();
        assert!(message.contains("r.txt: cannot write"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"one\n");
        assert_eq!(entries(&folder), ["r.txt"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn impossible_places_are_found_before_the_work() {
        let folder = folder("impossible");
        assert!(probe(&Destination::File(folder.clone())).is_err());
        assert!(probe(&Destination::File(folder.join("no/such/r.txt"))).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_stay_devices() {
        let folder = folder("links");
        let real = folder.join("real.txt");
        fs::write(&real, "old").unwrap();
        let link = folder.join("link.txt");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&Destination::File(link.clone()), Look::default(), |_, out| out.write_all(b"new")).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");

        let null = folder.join("null");
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        write(&Destination::File(null.clone()), Look::default(), |_, out| out.write_all(b"new")).unwrap();
        assert!(null.is_symlink());
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
        fs::remove_dir_all(folder).unwrap();
    }
}
