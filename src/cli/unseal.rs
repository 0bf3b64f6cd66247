//! `acpcap decrypt` and `acpcap keys`: what is inside the tunnels, and what opens them elsewhere.

use super::output::{self, Destination};
use super::secrets::SecretArgs;
use super::{Console, Exit, files, watch};
use crate::analysis::{self, InnerPacket, Options, Outcome};
use crate::capture::LinkType;
use crate::capture::write;
use crate::decrypt::{Keyring, Lines};
use crate::finding::count;
use clap::Args;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
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
    let job = match Job::new(args, &to, console) {
        Ok(job) => job,
        Err(exit) => return exit,
    };
    let Job { inputs, mut keyring, key_logs, mut watch } = job;
    let mut ended = None;
    loop {
        let counter = watch.counter();
        let sources = inputs.iter().map(|input| files::open(input, &counter));
        let page = |_, out: &mut dyn Write| {
            let mut writer = Writer { out, interfaces: HashMap::new(), packets: 0, failed: None };
            let note = format!("packets inside AnyConnect tunnels, decrypted by acpcap {}", env!("CARGO_PKG_VERSION"));
            write::section("acpcap", Some(&note), writer.out)?;
            let options = Options::default();
            let outcome =
                analysis::decrypt(sources, &options, &mut keyring, &mut |packet| writer.write(packet), &mut |tick| {
                    watch.tick(tick.source)
                });
            let (packets, tunnels) = (writer.packets, writer.interfaces.len());
            let failed = writer.failed.take();
            ended = Some((outcome, packets, tunnels));
            match (failed, packets) {
                (Some(error), _) => Err(error),
                // A capture without a packet is no result: nothing is left behind.
                (None, 0) => Err(io::ErrorKind::InvalidData.into()),
                _ => Ok(()),
            }
        };
        let look = output::look(&to, super::Colour::Never, false, false);
        let written = output::write(&to, look, page);
        let Some((outcome, packets, tunnels)) = ended.take() else { return Exit::Unreadable };
        if outcome.late_secrets && inputs.iter().all(files::Input::is_rereadable) && !watch.is_again() {
            // Secrets stood behind the frames they open: now they are known.
            watch.again();
            continue;
        }
        watch.finish();
        complain(&outcome, &key_logs, console);
        return match (packets, written) {
            (0, _) => {
                console.complain("no packet could be decrypted, nothing was written");
                Exit::Unreadable
            }
            (_, Err(error)) => {
                console.complain(&error.to_string());
                Exit::Unreadable
            }
            (_, Ok(())) => {
                if !args.quiet {
                    let (packets, tunnels) = (count(packets, "packet"), count(tunnels as u64, "tunnel"));
                    console.complain(&format!("{packets} of {tunnels} written to {to}"));
                }
                super::exit_for(&outcome, true, None)
            }
        };
    }
}

/// Runs `acpcap keys`.
pub(super) fn keys(args: &UnsealArgs, console: Console) -> Exit {
    let to = Destination::from(args.output.clone());
    let job = match Job::new(args, &to, console) {
        Ok(job) => job,
        Err(exit) => return exit,
    };
    let Job { inputs, mut keyring, key_logs, mut watch } = job;
    let outcome = loop {
        let counter = watch.counter();
        let sources = inputs.iter().map(|input| files::open(input, &counter));
        let outcome = analysis::analyze_with_keys(sources, &Options::default(), &mut keyring, &mut |tick| {
            watch.tick(tick.source)
        });
        if !outcome.late_secrets || watch.is_again() || !inputs.iter().all(files::Input::is_rereadable) {
            break outcome;
        }
        watch.again();
    };
    watch.finish();
    complain(&outcome, &key_logs, console);
    let lines = keyring.export();
    if lines.is_empty() {
        console.complain("no connection could be opened, so there is no key to write");
        return Exit::Unreadable;
    }
    let look = output::look(&to, super::Colour::Never, false, false);
    match output::write_secret(&to, look, |_, out| out.write_all(lines.as_bytes())) {
        Ok(()) => {
            if !args.quiet {
                let [tls, dtls] = keyring.opened().map(|n| n as u64);
                let (tls, dtls) = (count(tls, "TLS connection"), count(dtls, "DTLS handshake"));
                console.complain(&format!("keys of {tls} and {dtls} written to {to}"));
            }
            super::exit_for(&outcome, true, None)
        }
        Err(error) => {
            console.complain(&error.to_string());
            Exit::Unreadable
        }
    }
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
        if inputs.iter().any(|input| input.is(to)) {
            return Err(console.usage(&format!("{to} is a capture to be read: it would be replaced")));
        }
        let unreadable = |error: crate::error::Error| {
            console.complain(&error.to_string());
            Exit::Unreadable
        };
        output::probe(to).map_err(unreadable)?;
        let (keyring, key_logs) = args.secrets.load().map_err(unreadable)?;
        let watch = watch::Watch::new(&inputs, !args.quiet, console);
        Ok(Job { inputs, keyring, key_logs, watch })
    }
}

/// What went wrong on the way, and what is to be known of the keys.
pub(super) fn complain(outcome: &Outcome, key_logs: &[(String, Lines)], console: Console) {
    for error in &outcome.errors {
        console.complain(&error.to_string());
    }
    let mut report = outcome.report.clone();
    for (name, lines) in key_logs {
        analysis::key_log_losses(&mut report, None, name, lines);
    }
    let about_keys = ["key-log", "key-misfit", "undecrypted", "keys-unused", "damaged"];
    for loss in report.losses.iter().filter(|loss| about_keys.contains(&loss.kind.as_str())) {
        console.complain(&loss.text);
    }
}

/// Writes inner packets, an interface for each tunnel.
struct Writer<'a> {
    out: &'a mut dyn Write,
    interfaces: HashMap<(u16, crate::event::FlowId), u32>,
    packets: u64,
    failed: Option<io::Error>,
}

impl Writer<'_> {
    fn write(&mut self, packet: InnerPacket<'_>) {
        if self.failed.is_none() {
            self.failed = self.try_write(packet).err();
        }
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
