//! `acpcap decrypt` and `acpcap keys`: what is inside the tunnels, and what opens them elsewhere.

use super::output::{self, Destination};
use super::secrets::SecretArgs;
use super::{Console, Exit, files, options, watch};
use crate::analysis::{self, InnerPacket, Options, Outcome};
use crate::capture::LinkType;
use crate::capture::write;
use crate::decrypt::{Keyring, Lines};
use crate::error::Error;
use crate::finding::count;
use crate::report::Report;
use clap::Args;
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

pub(super) const DECRYPT_EXAMPLES: &str = "\
Examples:
  acpcap decrypt outside.pcapng --keylog keys.log -o inner.pcapng
      The packets inside the tunnels, to open in Wireshark beside the capture.
  acpcap decrypt outside.pcap --rsa-key gateway.pem -o - | tshark -r -
      With the gateway's key, for connections with RSA key exchange.";

pub(super) const KEYS_EXAMPLES: &str = "\
Examples:
  acpcap keys client.pcapng --keylog keys.log -o all-keys.log
  tshark -r client.pcapng -o tls.keylog_file:all-keys.log -Y dtls
      Wireshark opens DTLS too, the legacy version included.

What is written are secrets: whoever has them and the capture can read the traffic.";

/// Options of both.
#[derive(Debug, Args)]
pub(super) struct UnsealArgs {
    /// Captures (pcap, pcapng; gzip, zstd and lz4 are opened); `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<OsString>,

    /// Where to write; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    secrets: SecretArgs,

    /// Read every file as a capture of its own, even those named like a ring
    #[arg(long)]
    no_rotation: bool,

    /// Nothing on standard error but errors
    #[arg(short, long)]
    quiet: bool,
}

/// Runs `acpcap decrypt`.
pub(super) fn decrypt(args: &UnsealArgs, console: Console) -> Exit {
    let to = Destination::from(args.output.clone());
    if to == Destination::Stdout && io::stdout().is_terminal() {
        return console.usage("standard output is a terminal, and a capture is not for reading: -o FILE");
    }
    let mut job = match Job::new(args, &to, console) {
        Ok(job) => job,
        Err(exit) => return exit,
    };
    loop {
        let Some(pass) = job.decrypt(&to) else { return Exit::Unreadable };
        if job.watch.is_worth_another(&pass.outcome, &job.inputs) {
            // A file is written anew; what went down a pipe cannot be taken back, and packets must not come twice.
            if to != Destination::Stdout || pass.packets == 0 {
                job.watch.again();
                continue;
            }
            console.complain("secrets stood behind frames they open: with -o FILE those would be decrypted too");
        }
        job.watch.finish();
        complain(&pass.outcome, &job.key_logs, console);
        return pass.end(&to, args.quiet, console);
    }
}

/// One reading of the captures, decrypted.
struct Pass {
    outcome: Outcome,
    packets: u64,
    tunnels: usize,
    written: Result<(), Error>,
    /// Whoever read standard output went away, and reading stopped there.
    unread: bool,
}

impl Pass {
    fn end(self, to: &Destination, quiet: bool, console: Console) -> Exit {
        let Pass { outcome, packets, tunnels, written, unread } = self;
        if packets == 0 {
            console.complain("no packet could be decrypted, nothing was written");
            return super::unless_interrupted(&outcome, Exit::Unreadable);
        }
        if let Err(error) = written {
            console.complain(&error.to_string());
            return Exit::Unreadable;
        }
        if unread {
            return Exit::Done;
        }
        if !quiet {
            let (packets, tunnels) = (count(packets, "packet"), count(tunnels as u64, "tunnel"));
            console.complain(&format!("{packets} of {tunnels} written to {to}"));
        }
        super::exit_for(&outcome, true, None)
    }
}

/// Runs `acpcap keys`.
pub(super) fn keys(args: &UnsealArgs, console: Console) -> Exit {
    let to = Destination::from(args.output.clone());
    let mut job = match Job::new(args, &to, console) {
        Ok(job) => job,
        Err(exit) => return exit,
    };
    let outcome = loop {
        let outcome = job.analyze();
        if !job.watch.is_worth_another(&outcome, &job.inputs) {
            break outcome;
        }
        job.watch.again();
    };
    job.watch.finish();
    complain(&outcome, &job.key_logs, console);
    let lines = job.keyring.export();
    if lines.is_empty() {
        console.complain("no connection could be opened, so there is no key to write");
        return super::unless_interrupted(&outcome, Exit::Unreadable);
    }
    let look = output::look(&to, super::Colour::Never, false, false);
    if let Err(error) = output::write_secret(&to, look, |_, out| out.write_all(lines.as_bytes())) {
        console.complain(&error.to_string());
        return Exit::Unreadable;
    }
    if !args.quiet {
        let [tls, dtls] = job.keyring.opened().map(|n| n as u64);
        let (tls, dtls) = (count(tls, "TLS connection"), count(dtls, "DTLS handshake"));
        console.complain(&format!("keys of {tls} and {dtls} written to {to}"));
    }
    super::exit_for(&outcome, true, None)
}

/// No session is told here: none need be put into words.
fn untold() -> Options {
    Options { max_told: Some(0), ..options(None, None) }
}

/// What both need before they begin.
struct Job {
    inputs: Vec<files::Input>,
    keyring: Keyring,
    key_logs: Vec<(String, Lines)>,
    watch: watch::Watch,
}

impl Job {
    fn new(args: &UnsealArgs, to: &Destination, console: Console) -> Result<Job, Exit> {
        let inputs = files::plan(&args.files, None, !args.no_rotation).map_err(|problem| console.usage(&problem))?;
        let (keyring, key_logs) = prepare(&inputs, &args.secrets, to, console)?;
        let watch = watch::Watch::new(&inputs, !args.quiet, console);
        Ok(Job { inputs, keyring, key_logs, watch })
    }

    fn analyze(&mut self) -> Outcome {
        let Job { inputs, keyring, watch, .. } = self;
        let (counter, stop) = (watch.counter(), watch.stop());
        let sources = inputs.iter().map(|input| files::open(input, &counter, &stop));
        analysis::analyze_with_keys(sources, &untold(), keyring, &mut |tick| watch.tick(tick.source))
    }

    /// Reads the captures and writes what is inside the tunnels; nothing when that could not even begin.
    fn decrypt(&mut self, to: &Destination) -> Option<Pass> {
        let Job { inputs, keyring, watch, .. } = self;
        let (counter, stop) = (watch.counter(), watch.stop());
        let sources = inputs.iter().map(|input| files::open(input, &counter, &stop));
        let mut read = None;
        let page = |_, out: &mut dyn Write| {
            let note = format!("packets inside AnyConnect tunnels, decrypted by acpcap {}", env!("CARGO_PKG_VERSION"));
            write::section("acpcap", Some(&note), out)?;
            let failed = Cell::new(false);
            let mut writer = Writer { out, interfaces: HashMap::new(), packets: 0, error: None };
            let mut sink = |packet: InnerPacket<'_>| failed.set(!writer.write(packet));
            let mut tick = |tick: analysis::Tick| {
                // Nobody takes any more of it: there is nothing left to read for.
                if failed.get() { ControlFlow::Break(()) } else { watch.tick(tick.source) }
            };
            let outcome = analysis::decrypt(sources, &untold(), keyring, &mut sink, &mut tick);
            read = Some((outcome, writer.packets, writer.interfaces.len(), writer.error.is_some()));
            match (writer.error, writer.packets) {
                (Some(error), _) => Err(error),
                // A capture without a packet is no result: nothing is left behind.
                (None, 0) => Err(io::ErrorKind::InvalidData.into()),
                _ => Ok(()),
            }
        };
        let look = output::look(to, super::Colour::Never, false, false);
        let written = output::write(to, look, page);
        match (read, written) {
            (Some((outcome, packets, tunnels, failed)), written) => {
                let unread = failed && written.is_ok();
                Some(Pass { outcome, packets, tunnels, written, unread })
            }
            (None, _) => None,
        }
    }
}

/// Nothing to be read is written over, there is room to write to, and the secrets are loaded.
pub(super) fn prepare(
    inputs: &[files::Input],
    secrets: &SecretArgs,
    to: &Destination,
    console: Console,
) -> Result<(Keyring, Vec<(String, Lines)>), Exit> {
    if inputs.iter().any(|input| input.is(to)) {
        return Err(console.usage(&format!("{to} is a capture to be read: it would be replaced")));
    }
    if secrets.names(to) {
        return Err(console.usage(&format!("{to} holds the secrets to be used: it would be replaced")));
    }
    output::probe(to).and_then(|()| secrets.load()).map_err(|error| {
        console.complain(&error.to_string());
        Exit::Unreadable
    })
}

/// What went wrong on the way, and what is to be known of the keys.
pub(super) fn complain(outcome: &Outcome, key_logs: &[(String, Lines)], console: Console) {
    for error in &outcome.errors {
        console.complain(&error.to_string());
    }
    let mut report = Report { losses: outcome.report.losses.clone(), ..Report::default() };
    for (name, lines) in key_logs {
        analysis::key_log_losses(&mut report, None, name, lines);
    }
    let about_keys = ["key-log", "key-misfit", "undecrypted", "keys-unused", "damaged"];
    for loss in report.losses.iter().filter(|loss| about_keys.contains(&loss.kind.as_str())) {
        console.complain(&loss.text);
    }
}

/// Writes inner packets, an interface for each tunnel, until that fails.
struct Writer<'a> {
    out: &'a mut dyn Write,
    interfaces: HashMap<(u16, crate::event::FlowId), u32>,
    packets: u64,
    error: Option<io::Error>,
}

impl Writer<'_> {
    /// Did it work, this time and before?
    fn write(&mut self, packet: InnerPacket<'_>) -> bool {
        if self.error.is_none() {
            self.error = self.try_write(packet).err();
        }
        self.error.is_none()
    }

    fn try_write(&mut self, packet: InnerPacket<'_>) -> io::Result<()> {
        let interface = match self.interfaces.get(&packet.tunnel) {
            Some(known) => *known,
            None => {
                let new = self.interfaces.len() as u32;
                write::interface(LinkType::RAW, &packet.tunnel_name(), &packet.tunnel_ends(), self.out)?;
                self.interfaces.insert(packet.tunnel, new);
                new
            }
        };
        let comment = format!("frame {}", packet.frame.number);
        self.packets += 1;
        write::packet(interface, packet.at, packet.data, &comment, self.out)
    }
}
