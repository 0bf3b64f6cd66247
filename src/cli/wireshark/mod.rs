//! `acpcap wireshark`: a plugin and a profile for Wireshark, put beside what the user has.
//!
//! Promises: a file that acpcap did not write, or that was changed since, is never written over or removed; installing
//! twice changes nothing. Refuses: to touch settings; whoever wants the profile chooses it in Wireshark.

mod folders;
mod pieces;

use super::output::{self, Destination};
use super::{Colour, Console, Exit};
use crate::error::Error;
use crate::report::terminal::{escape, escape_ascii};
use crate::report::text::Look;
use clap::{Args, Subcommand};
use folders::Folders;
use pieces::{Piece, State};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(super) const EXAMPLES: &str = "\
Examples:
  acpcap wireshark install
      Dissectors for the tunnel, the report's evidence as fields, colours and filter buttons. Restart Wireshark.
  acpcap analyze client.pcapng --format json -o client.pcapng.acpcap.json
  tshark -r client.pcapng -Y 'acpcap.detector == \"dtls-never-completes\"'
      The evidence, by the report that lies beside the capture.
  acpcap wireshark install --folder /media/stick/wireshark
      Into a configuration folder of your own.";

/// Options of `acpcap wireshark`.
#[derive(Debug, Args)]
pub(super) struct WiresharkArgs {
    #[command(subcommand)]
    action: Action,

    /// Wireshark's configuration folder [default: the one tshark names, or the system's usual one]
    ///
    /// The plugin goes into its folder `plugins`, the profile into `profiles`.
    #[arg(long, global = true, value_name = "DIR")]
    folder: Option<PathBuf>,

    /// Say what would be done, and do nothing
    #[arg(long, global = true)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
enum Action {
    /// Write the plugin and the profile `acpcap`; nothing of yours is written over
    Install,
    /// Remove what install wrote and nobody changed since
    Uninstall,
    /// Print where things are and whether they are up to date
    Show,
}

/// Runs `acpcap wireshark`.
pub(super) fn run(args: &WiresharkArgs, console: Console) -> Exit {
    let Some(folders) = folders::find(args.folder.as_deref()) else {
        return console.usage("no home folder, so no place for Wireshark's files: --folder DIR");
    };
    let pieces = pieces::all(&folders);
    let mut lines = vec![format!("folders from {}", folders.told_by)];
    let width = if args.dry_run { 16 } else { 11 };
    let mut is_done = true;
    for piece in &pieces {
        let result = match (args.action, args.dry_run) {
            (Action::Show, _) => Ok(piece.state().to_string()),
            (Action::Install, dry_run) => install(piece, dry_run),
            (Action::Uninstall, dry_run) => uninstall(piece, dry_run),
        };
        match result {
            Ok(done) => lines.push(format!("{done:<width$} {}", piece.path.display())),
            Err(error) => {
                is_done = false;
                console.complain(&error);
            }
        }
    }
    if args.action == Action::Uninstall && !args.dry_run {
        // Goes only when nothing else is in it.
        let _ = fs::remove_dir(&folders.profile);
    }
    lines.extend(closing_words(args.action, args.dry_run, is_done, &folders));
    match console.print(|look, out| print(&lines, look, out)) {
        Exit::Done if is_done => Exit::Done,
        Exit::Done => Exit::Unreadable,
        failed => failed,
    }
}

fn print(lines: &[String], look: Look, out: &mut dyn Write) -> io::Result<()> {
    for line in lines {
        let line = if look.ascii { escape_ascii(line) } else { escape(line).into_owned() };
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn closing_words(action: Action, dry_run: bool, is_done: bool, folders: &Folders) -> Option<String> {
    match action {
        _ if dry_run => Some("nothing was changed (--dry-run)".to_owned()),
        Action::Install if is_done => {
            Some("restart Wireshark; colours and buttons: Edit > Configuration Profiles > acpcap".to_owned())
        }
        Action::Uninstall if folders.profile.exists() => {
            Some(format!("{} stays: other files are in it", folders.profile.display()))
        }
        _ => None,
    }
}

/// Puts a piece in its place; says what was done, or why not.
fn install(piece: &Piece, dry_run: bool) -> Result<String, String> {
    let done = match piece.state() {
        State::Same => return Ok("unchanged".to_owned()),
        State::Absent => "written",
        State::Other { .. } => "updated",
        state @ (State::Changed | State::Foreign(_)) => return Err(in_the_way(piece, &state)),
    };
    if dry_run {
        return Ok(format!("would be {done}"));
    }
    write(&piece.path, &piece.text()).map_err(|error| error.to_string())?;
    Ok(done.to_owned())
}

fn uninstall(piece: &Piece, dry_run: bool) -> Result<String, String> {
    match piece.state() {
        State::Absent => Ok("absent".to_owned()),
        State::Foreign(_) => Ok("kept".to_owned()),
        State::Changed => Err(in_the_way(piece, &State::Changed)),
        State::Same | State::Other { .. } if dry_run => Ok("would be removed".to_owned()),
        State::Same | State::Other { .. } => match fs::remove_file(&piece.path) {
            Ok(()) => Ok("removed".to_owned()),
            Err(source) => Err(failed(&piece.path, source).to_string()),
        },
    }
}

fn in_the_way(piece: &Piece, state: &State) -> String {
    let why = match state {
        State::Changed => "was changed since acpcap wrote it",
        State::Foreign(why) => why,
        _ => "is there",
    };
    format!("{}: left alone, it {why}", piece.path.display())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    }
    let to = Destination::File(path.to_owned());
    let look = output::look(&to, Colour::Never, false, false);
    output::write(&to, look, |_, out| out.write_all(text.as_bytes()))
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.display().to_string(), operation: "write", source }
}
