//! `acpcap annotate`: the capture once more, what was found written on its frames.
//!
//! Promises: the input is never replaced, the output is there whole or not at all; in an extract no secrets. Refuses: to copy
//! a capture that became shorter between the two readings.

use super::output::{self, Destination};
use super::secrets::SecretArgs;
use super::{Console, Exit, files, options, spool, unseal, watch};
use crate::analysis::{self, Options, Outcome, Source};
use crate::capture::Frame;
use crate::capture::annotate::{self, Choice, Copied, Scope};
use crate::decrypt::{Keyring, Lines};
use crate::error::Error;
use crate::finding::count;
use crate::packet::{self, Decoder, Transport};
use crate::report::comments::{Comments, Connection, Context, summary};
use clap::Args;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  acpcap annotate client.pcapng -o annotated.pcapng
      Open it in Wireshark; the filter  frame.comment contains \"dtls-never-completes\"  selects the evidence.
  acpcap annotate outside:outside.pcap --beside client:client.pcapng -o annotated.pcapng
      What two captures tell together, on the frames of the first.
  acpcap annotate client.pcapng --only-evidence -o attachment.pcapng
      Only what the findings rest on, small enough for a mail; no secrets in it.
  ssh gw tcpdump -U -w - port 443 or icmp | acpcap annotate - -o annotated.pcapng
      From standard input, which is kept in a temporary file of 4 GiB at most.";

/// Frames of one connection, at one interface, that count as its handshake at most.
const MAX_HANDSHAKE: u8 = 32;
/// First byte of a TLS or DTLS record that carries data: the handshake is over (RFC 8446 §5.1).
const APPLICATION_DATA: u8 = 23;
/// Frames between two looks at the clock and at Ctrl-C.
const TICK: u64 = 1024;

/// Options of `acpcap annotate`.
#[derive(Debug, Args)]
pub(super) struct AnnotateArgs {
    /// The capture (pcap, pcapng; gzip, zstd and lz4 are opened); `-` is standard input
    #[arg(value_name = "[VANTAGE:]FILE")]
    file: OsString,

    /// Where to write, as pcapng; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Write only the frames of the findings, with the handshakes around them and their original numbers
    #[arg(long)]
    only_evidence: bool,

    /// A further capture of the same sessions, read for what it tells and not copied; repeatable
    #[arg(long, value_name = "[VANTAGE:]FILE")]
    beside: Vec<OsString>,

    /// The TLS tunnel MTU in bytes, when you know it (X-CSTP-MTU)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(68..=65535))]
    tls_mtu: Option<u32>,

    /// The DTLS tunnel MTU in bytes, when you know it (X-DTLS-MTU)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(68..=65535))]
    dtls_mtu: Option<u32>,

    #[command(flatten)]
    secrets: SecretArgs,

    /// Nothing on standard error but errors
    #[arg(short, long)]
    quiet: bool,
}

/// Runs `acpcap annotate`.
pub(super) fn run(args: &AnnotateArgs, console: Console) -> Exit {
    match Job::new(args, console).and_then(|job| job.run(args, console)) {
        Ok(exit) | Err(exit) => exit,
    }
}

struct Job {
    to: Destination,
    inputs: Vec<files::Input>,
    /// The capture to copy, where it can be read only once.
    kept: Option<File>,
    keyring: Keyring,
    key_logs: Vec<(String, Lines)>,
    watch: watch::Watch,
}

impl Job {
    fn new(args: &AnnotateArgs, console: Console) -> Result<Job, Exit> {
        let to = Destination::from(args.output.clone());
        if to == Destination::Stdout && io::stdout().is_terminal() {
            return Err(console.usage("standard output is a terminal, and a capture is not for reading: -o FILE"));
        }
        let named: Vec<OsString> = std::iter::once(&args.file).chain(&args.beside).cloned().collect();
        let inputs = files::plan(&named, None, false).map_err(|problem| console.usage(&problem))?;
        let (keyring, key_logs) = unseal::prepare(&inputs, &args.secrets, &to, console)?;
        let watch = watch::Watch::new(&inputs, !args.quiet, console);
        let mut job = Job { to, inputs, kept: None, keyring, key_logs, watch };
        job.keep(console)?;
        Ok(job)
    }

    /// Keeps the capture in a temporary file when it could not be read again.
    fn keep(&mut self, console: Console) -> Result<(), Exit> {
        let Some(input) = self.inputs.first().filter(|input| !input.is_rereadable()) else {
            return Ok(());
        };
        let watch = &mut self.watch;
        let mut source = files::open(input, &watch.counter(), &watch.stop()).map_err(|error| fail(&error, console))?;
        let failed = |path: String, operation, source| fail(&Error::Io { path, operation, source }, console);
        match spool::keep(&mut source.input, spool::MOST, &mut || watch.tick(0)) {
            Ok(file) => self.kept = Some(file),
            Err(spool::Failure::Stopped) => return Err(stopped(console)),
            Err(spool::Failure::Read(_)) if watch.is_stopping() => return Err(stopped(console)),
            Err(spool::Failure::Read(error)) => return Err(failed(input.shown(), "read", error)),
            Err(spool::Failure::Write(error)) => return Err(failed("temporary file".to_owned(), "write", error)),
            Err(spool::Failure::TooLarge) => {
                let most = spool::MOST >> 30;
                console.complain(&format!(
                    "{}: it has to be read twice, and more than {most} GiB are not kept in a temporary file: save it as a \
                     file first",
                    input.shown()
                ));
                return Err(Exit::Unreadable);
            }
        }
        Ok(())
    }

    /// Opens one of the inputs, from its beginning.
    fn open(&self, index: usize) -> Option<Result<Source, Error>> {
        let (input, counter) = (self.inputs.get(index)?, self.watch.counter());
        Some(match &self.kept {
            Some(file) if index == 0 => spool::reopen(file)
                .map(|bytes| files::source(input, bytes, &counter))
                .map_err(|source| Error::Io { path: "temporary file".to_owned(), operation: "read", source }),
            _ => files::open(input, &counter, &self.watch.stop()),
        })
    }

    fn analyze(&mut self, args: &AnnotateArgs) -> Outcome {
        let options = options(args.tls_mtu, args.dtls_mtu);
        loop {
            let sources: Vec<_> = (0..self.inputs.len()).filter_map(|index| self.open(index)).collect();
            let Job { keyring, watch, inputs, .. } = self;
            let tick = &mut |tick: analysis::Tick| watch.tick(tick.source);
            let outcome = analysis::analyze_with_keys(sources.into_iter(), &options, keyring, tick);
            // The first one is kept when it could not be read again; the copy is a further reading anyway.
            let is_worth_another = watch.is_worth_another(&outcome, inputs.get(1..).unwrap_or_default());
            watch.again();
            if !is_worth_another {
                return outcome;
            }
        }
    }

    fn run(mut self, args: &AnnotateArgs, console: Console) -> Result<Exit, Exit> {
        let outcome = self.analyze(args);
        if !outcome.errors.is_empty() {
            self.watch.finish();
            unseal::complain(&outcome, &self.key_logs, console);
            return Err(Exit::Unreadable);
        }
        if outcome.report.losses.iter().any(|loss| loss.kind == "interrupted") {
            return Err(stopped(console));
        }
        let mut marker = Marker::new(&outcome, args.only_evidence);
        if args.only_evidence && marker.comments.is_empty() {
            self.watch.finish();
            unseal::complain(&outcome, &self.key_logs, console);
            console.complain("no finding has a frame in this capture: there is no evidence to write");
            return Err(Exit::Unreadable);
        }
        let copied = self.copy(&outcome, &mut marker, console)?;
        self.watch.finish();
        unseal::complain(&outcome, &self.key_logs, console);
        if let Some(copied) = copied.filter(|_| !args.quiet) {
            for line in told(&copied, marker.evidence, args.only_evidence, &self.to) {
                console.complain(&line);
            }
        }
        Ok(super::exit_for(&outcome, true, None))
    }

    /// `None` when whoever read the copy went away before its end.
    fn copy(&mut self, outcome: &Outcome, marker: &mut Marker, console: Console) -> Result<Option<Copied>, Exit> {
        let source = self.open(0).ok_or(Exit::Usage)?.map_err(|error| fail(&error, console))?;
        let frames = outcome.report.captures.first().map_or(0, |capture| capture.frames);
        let extract = marker.context.is_some();
        let summary = summary(&outcome.report, 0, extract);
        let scope = if extract { Scope::Extract } else { Scope::All };
        let (watch, to) = (&mut self.watch, &self.to);
        let mut ended = Err(Exit::Unreadable);
        let mut choose = |frame: &Frame<'_>| {
            if u64::from(frame.number).is_multiple_of(TICK) {
                watch.tick(0)?;
            }
            ControlFlow::Continue(marker.choose(frame))
        };
        let page = |_, out: &mut dyn Write| {
            let limits = Options::default().reader;
            match annotate::copy(&source.path, source.input, limits, scope, &summary, &mut choose, out) {
                Ok(copied) if copied.read < frames => {
                    Err(io::Error::other("the capture became shorter while it was read"))
                }
                Ok(copied) => {
                    ended = Ok(copied);
                    Ok(())
                }
                Err(annotate::Failure::Write(error)) => Err(error),
                Err(annotate::Failure::Read(error)) => Err(io::Error::other(error)),
                Err(annotate::Failure::Stopped) => {
                    ended = Err(Exit::Interrupted);
                    Err(io::ErrorKind::Interrupted.into())
                }
            }
        };
        let look = output::look(to, super::Colour::Never, false, false);
        match output::write(to, look, page) {
            Err(_) if matches!(ended, Err(Exit::Interrupted)) => Err(stopped(console)),
            Err(error) => Err(fail(&error, console)),
            Ok(()) => Ok(ended.ok()),
        }
    }
}

fn fail(error: &Error, console: Console) -> Exit {
    console.complain(&error.to_string());
    Exit::Unreadable
}

fn stopped(console: Console) -> Exit {
    console.complain("stopped: nothing was written");
    Exit::Interrupted
}

/// What there is to say about the copy.
fn told(copied: &Copied, evidence: u64, extract: bool, to: &Destination) -> Vec<String> {
    let mut lines = Vec::new();
    let of = |n: u64| format!("{n} of {}", count(copied.read, "frame"));
    if extract {
        lines.push(format!("{} written to {to}, {evidence} of them evidence", of(copied.written)));
    } else {
        lines.push(format!("{} commented, all written to {to}", of(copied.commented)));
    }
    if copied.secrets > 0 {
        let blocks = count(copied.secrets, "Decryption Secrets Block");
        lines.push(match extract {
            true => format!("{blocks} left out: secrets are not for sending"),
            false => format!("{blocks} copied with the rest: whoever gets {to} can read what they open"),
        });
    }
    if copied.left_out > 0 {
        lines.push(format!("{} left out: names, or of unknown type", count(copied.left_out, "other block")));
    }
    if copied.no_place > 0 {
        let frames = count(copied.no_place, "frame");
        lines.push(format!("{frames} without the comment due: Simple Packet Blocks have no place for one"));
    }
    if copied.damaged {
        lines.push("nothing from behind the damage is in the copy".to_owned());
    }
    lines
}

/// Decides what becomes of each frame.
struct Marker {
    comments: Comments,
    /// Only what the findings rest on is kept.
    context: Option<(Context, Handshakes)>,
    /// Frames of findings so far.
    evidence: u64,
}

impl Marker {
    fn new(outcome: &Outcome, only_evidence: bool) -> Marker {
        let comments = Comments::new(&outcome.report, 0);
        let context = only_evidence.then(|| {
            let context = Context::new(&outcome.report, 0);
            let handshakes = Handshakes::new(&context.connections);
            (context, handshakes)
        });
        Marker { comments, context, evidence: 0 }
    }

    fn choose(&mut self, frame: &Frame<'_>) -> Choice {
        let mut comments: Vec<String> = self.comments.on(frame.number).map(str::to_owned).collect();
        self.evidence += u64::from(!comments.is_empty());
        let Some((context, handshakes)) = &mut self.context else {
            return Choice::Keep(comments);
        };
        let handshake = handshakes.see(frame);
        if comments.is_empty() {
            let story = context.frames.get(&frame.number).cloned();
            match story.or_else(|| Some(format!("context: handshake of the original's {} (acpcap)", handshake?))) {
                Some(text) => comments.push(text),
                None => return Choice::Drop,
            }
        }
        comments.push(format!("original frame {}", frame.number));
        Choice::Keep(comments)
    }
}

/// Recognises the first frames of connections, up to their first data.
struct Handshakes {
    decoder: Decoder,
    names: Vec<String>,
    connections: HashMap<Ends, (usize, u32)>,
    /// Frames kept by connection and interface; [`MAX_HANDSHAKE`] once its data has begun.
    kept: HashMap<(usize, u32), u8>,
}

/// Client, gateway, and whether it is UDP.
type Ends = ((IpAddr, u16), (IpAddr, u16), bool);

impl Handshakes {
    fn new(connections: &[Connection]) -> Handshakes {
        let mut known: HashMap<Ends, (usize, u32)> = HashMap::new();
        for (index, connection) in connections.iter().enumerate() {
            let Connection { client, gateway, udp, first_frame, .. } = connection;
            let (Ok(source), Ok(destination)) = (client.0.parse(), gateway.0.parse()) else { continue };
            let entry = known.entry(((source, client.1), (destination, gateway.1), *udp)).or_insert((index, u32::MAX));
            entry.1 = entry.1.min(*first_frame);
        }
        Handshakes {
            decoder: Decoder::new(packet::Limits::default()),
            names: connections.iter().map(|connection| connection.stream.clone()).collect(),
            connections: known,
            kept: HashMap::new(),
        }
    }

    /// The connection this frame helps to open.
    fn see(&mut self, frame: &Frame<'_>) -> Option<&str> {
        let Handshakes { decoder, names, connections, kept } = self;
        let mut found = None;
        // What cannot be decoded opens no connection.
        let _ = decoder.decode(frame, &mut |packet| {
            let (src, dst, udp, payload) = match packet.transport {
                Transport::Tcp(segment) => (segment.src_port, segment.dst_port, false, segment.payload),
                Transport::Udp(datagram) => (datagram.src_port, datagram.dst_port, true, datagram.payload),
                _ => return,
            };
            let (src, dst) = ((packet.ip.src, src), (packet.ip.dst, dst));
            let Some((index, first)) = connections.get(&(src, dst, udp)).or_else(|| connections.get(&(dst, src, udp)))
            else {
                return;
            };
            if frame.number < *first {
                return;
            }
            let kept = kept.entry((*index, frame.interface)).or_default();
            if payload.first() == Some(&APPLICATION_DATA) {
                *kept = MAX_HANDSHAKE;
            }
            if *kept < MAX_HANDSHAKE {
                *kept += 1;
                found = Some(*index);
            }
        });
        names.get(found?).map(String::as_str)
    }
}
