//! The command line: flags, files, standard input, exit codes. The only room that opens files or prints.
//!
//! Promises: one report per format and nothing else on standard output, complaints on standard error, every exit
//! code one of [`Exit`]. Refuses: to prompt, and to leave a half-written file behind.

mod ahead;
mod annotate;
mod explain;
mod files;
mod mtu;
mod output;
mod secrets;
mod spool;
mod unseal;
mod watch;
mod wireshark;

use crate::analysis::{self, Options, Outcome};
use crate::capture::vantage::Vantage;
use crate::report::terminal::{escape, escape_ascii};
use crate::report::text::Look;
use crate::report::{Report, Severity, json};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use output::{Destination, Wanted};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the process tells its caller.
///
/// When several apply, the one that says most about trust in the report wins:
/// `Interrupted` > `Unreadable` > `Findings` > `LimitHit` > `Damaged` > `Done`.
/// A finding goes before a hit limit or a damaged capture because it was asked for (`--fail-on`) and stays true
/// whatever else was lost; the other two say that there may be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The captures were read to their end and the report written.
    Done = 0,
    /// A finding is at or above `--fail-on`.
    Findings = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// A capture could not be read at all, or a report could not be written; the readable ones are reported.
    Unreadable = 3,
    /// A capture is damaged or ends in the middle; what could be read is reported.
    Damaged = 4,
    /// A documented limit was hit; the report says which and what it means.
    LimitHit = 5,
    /// Stopped by a signal; what was found so far is reported.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

const ANALYZE_EXAMPLES: &str = "\
Examples:
  acpcap analyze client.pcapng
      One capture, taken anywhere; the vantage is inferred and the report says how.
  acpcap analyze client:laptop.pcapng outside:asa-outside.pcap inside:asa-inside.pcap
      One session seen from three places: this is what tells where packets are lost.
  acpcap analyze --vantage outside ring_*.pcapng
      A ring buffer of dumpcap or tcpdump is read as one capture.
  acpcap analyze --format text --format json=report.json --fail-on high client.pcapng
      For people and machines in one pass; exit code 1 when something serious is found.
  ssh gw tcpdump -U -w - port 443 or icmp | acpcap analyze outside:-
      From standard input; Ctrl-C ends it and prints what was found so far.";

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  a finding is at or above --fail-on
    2  the command line makes no sense
    3  a capture could not be read, or a report not written (what could be read is reported)
    4  a capture is damaged or truncated (what could be read is reported)
    5  a limit was hit (the report says which)
  130  interrupted (what was found so far is reported)
  When several apply: 130, then 3, 1, 5, 4.";

/// Finds why an AnyConnect VPN stalls, from packet captures alone.
#[derive(Debug, Parser)]
#[command(name = "acpcap", version, max_term_width = 100, propagate_version = true)]
#[command(after_long_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// When to use colours: NO_COLOR and CLICOLOR_FORCE are honoured
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,

    /// Print nothing but ASCII
    #[arg(long, global = true)]
    ascii: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read captures and report what is wrong with the VPN sessions in them
    #[command(after_help = ANALYZE_EXAMPLES, after_long_help = format!("{ANALYZE_EXAMPLES}\n\n{EXIT_CODES}"))]
    Analyze(AnalyzeArgs),
    /// Write the packets inside the tunnels into a capture of their own, with keys
    #[command(after_help = unseal::DECRYPT_EXAMPLES)]
    Decrypt(unseal::UnsealArgs),
    /// Write the key log lines that open TLS and DTLS in Wireshark: secrets
    #[command(after_help = unseal::KEYS_EXAMPLES)]
    Keys(unseal::UnsealArgs),
    /// Write the capture once more with what was found as comments on its frames, for Wireshark
    #[command(after_help = annotate::EXAMPLES)]
    Annotate(annotate::AnnotateArgs),
    /// List what is looked for
    Detectors,
    /// Say what a finding means, how it is decided and what to do about it
    Explain {
        /// The finding's id, as in the report
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Work out the tunnel MTUs a gateway derives, term by term
    #[command(after_help = mtu::EXAMPLES)]
    Mtu(mtu::MtuArgs),
    /// Put a plugin and a profile into Wireshark: dissectors for the tunnel, the report's evidence as fields
    #[command(after_help = wireshark::EXAMPLES)]
    Wireshark(wireshark::WiresharkArgs),
    /// Print the JSON Schema of --format json
    Schema,
    /// Print shell completions
    Completions {
        /// The shell they are for
        shell: clap_complete::Shell,
    },
    /// Print a man page
    Man {
        /// The subcommand to print it for; acpcap itself when left out
        #[arg(value_name = "COMMAND")]
        of: Option<String>,
        /// Write all pages into this directory instead
        #[arg(long, value_name = "DIR", conflicts_with = "of")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct AnalyzeArgs {
    /// Captures (pcap, pcapng; gzip, zstd and lz4 are opened); `-` is standard input
    ///
    /// A vantage in front says where the capture stood: client: (the client's physical NIC), outside: and inside:
    /// (the gateway's interfaces), virtual-adapter: (the client's tunnel interface; short va:). A file whose own
    /// name begins so is written ./client:name. Files of one dumpcap or tcpdump ring, given side by side, are read
    /// as one capture.
    #[arg(required = true, value_name = "[VANTAGE:]FILE")]
    files: Vec<OsString>,

    /// Report format: text, json, note (a case note of 40 lines at most), html (a page with charts), md (Markdown) or csv (a row a session); with =PATH into a file; repeatable, one pass [default: text]
    #[arg(long = "format", value_name = "FORMAT[=PATH]", value_parser = output::parse_format)]
    formats: Vec<output::Format>,

    /// Write the report to this file; without --format, a name in .json, .html, .md or .csv means that format
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Exit with 1 when a finding is at least this severe
    #[arg(long, value_enum, value_name = "SEVERITY")]
    fail_on: Option<Threshold>,

    /// Where all the captures without a vantage of their own stood
    #[arg(long, value_name = "VANTAGE", value_parser = files::parse_vantage)]
    vantage: Option<Vantage>,

    /// The TLS tunnel MTU in bytes, when you know it (X-CSTP-MTU)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(68..=65535))]
    tls_mtu: Option<u32>,

    /// The DTLS tunnel MTU in bytes, when you know it (X-DTLS-MTU)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(68..=65535))]
    dtls_mtu: Option<u32>,

    #[command(flatten)]
    secrets: secrets::SecretArgs,

    /// Stay near this much memory (K, M, G): all limits shrink to fit, and the report says what was left out
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    max_memory: Option<u64>,

    /// Flows followed at once; the idlest is let go beyond
    #[arg(long, value_name = "N", value_parser = positive, help_heading = "Limits")]
    max_flows: Option<usize>,

    /// Read every file as a capture of its own, even those named like a ring
    #[arg(long)]
    no_rotation: bool,

    /// Say how vantages were inferred and why checks are clear; tell healthy sessions in full
    #[arg(long)]
    why: bool,

    /// Draw the handshake that failed, or the one that worked, in the text report
    #[arg(long)]
    ladder: bool,

    /// Nothing on standard error but errors
    #[arg(short, long)]
    quiet: bool,

    /// No progress on standard error
    #[arg(long)]
    no_progress: bool,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Colour {
    /// On a terminal
    Auto,
    /// Also into pipes and files
    Always,
    /// Not at all
    Never,
}

/// `--fail-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Threshold {
    Info,
    Low,
    Medium,
    High,
}

impl From<Threshold> for Severity {
    fn from(threshold: Threshold) -> Severity {
        match threshold {
            Threshold::Info => Severity::Info,
            Threshold::Low => Severity::Low,
            Threshold::Medium => Severity::Medium,
            Threshold::High => Severity::High,
        }
    }
}

/// Runs the program on `args`, the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &args),
    };
    let console = Console::new(cli.color, cli.ascii);
    match cli.command {
        Command::Analyze(args) => analyze(args, console),
        Command::Decrypt(args) => unseal::decrypt(&args, console),
        Command::Keys(args) => unseal::keys(&args, console),
        Command::Annotate(args) => annotate::run(&args, console),
        Command::Detectors => console.print(|look, out| explain::table(look, out)),
        Command::Explain { ids } => explain_all(&ids, console),
        Command::Mtu(args) => mtu::run(&args, console),
        Command::Wireshark(args) => wireshark::run(&args, console),
        Command::Schema => console.print(|_, out| json::render_schema(out)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "acpcap", &mut script);
            console.print(|_, out| out.write_all(&script))
        }
        Command::Man { of, dir } => man(of.as_deref(), dir, console),
    }
}

/// The whole command, for completions, man pages and documentation.
pub fn command() -> clap::Command {
    Cli::command()
}

/// How this run talks.
#[derive(Clone, Copy, Debug)]
struct Console {
    colour: Colour,
    ascii: bool,
}

impl Console {
    fn new(colour: Colour, ascii: bool) -> Self {
        Console { colour, ascii }
    }

    /// Writes a page to standard output.
    fn print(self, page: impl FnOnce(Look, &mut dyn std::io::Write) -> std::io::Result<()>) -> Exit {
        let look = output::look(&Destination::Stdout, self.colour, self.ascii, false);
        match output::write(&Destination::Stdout, look, page) {
            Ok(()) => Exit::Done,
            Err(error) => {
                self.complain(&error.to_string());
                Exit::Unreadable
            }
        }
    }

    /// One line on standard error; a closed standard error is nobody's problem.
    fn complain(self, what: &str) {
        use std::io::Write as _;
        let what = if self.ascii { escape_ascii(what) } else { escape(what).into_owned() };
        let _ = writeln!(std::io::stderr(), "acpcap: {what}");
    }

    /// A usage error found after parsing.
    fn usage(self, what: &str) -> Exit {
        self.complain(what);
        self.complain("for help: acpcap --help");
        Exit::Usage
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("not a number above 0".to_owned()),
    }
}

/// Least memory that makes sense, bytes.
const LEAST_MEMORY: u64 = 24 << 20;

/// `256M`: bytes in powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.strip_prefix(digits).unwrap_or_default().to_ascii_uppercase();
    let shift = match unit.strip_suffix("IB").unwrap_or(unit.strip_suffix('B').unwrap_or(&unit)) {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err("a number, with K, M or G".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "a number, with K, M or G".to_owned())?;
    let bytes = number.checked_mul(1 << shift).ok_or("more than any machine has")?;
    if bytes < LEAST_MEMORY {
        return Err(format!("the least is {}M", LEAST_MEMORY >> 20));
    }
    Ok(bytes)
}

/// Prints clap's own answer: help and version to standard output, the rest is a usage error.
fn refuse(error: &clap::Error, args: &[OsString]) -> Exit {
    // Nothing to be done when nobody listens.
    let _ = error.print();
    if !error.use_stderr() {
        return Exit::Done;
    }
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(file) = args.iter().skip(1).find(|arg| PathBuf::from(arg).is_file())
    {
        let hint = format!("to read a capture: acpcap analyze {}", file.to_string_lossy());
        Console::new(Colour::Auto, false).complain(&hint);
    }
    Exit::Usage
}

/// How captures are analysed unless told otherwise.
fn options(tls_mtu: Option<u32>, dtls_mtu: Option<u32>) -> Options {
    Options { tls_mtu, dtls_mtu, read_ahead: Some(ahead::READ_AHEAD), ..Options::default() }
}

fn analyze(args: AnalyzeArgs, console: Console) -> Exit {
    let wanted = match output::plan(args.formats, args.output) {
        Ok(wanted) => wanted,
        Err(problem) => return console.usage(&problem),
    };
    let inputs = match files::plan(&args.files, args.vantage, !args.no_rotation) {
        Ok(inputs) => inputs,
        Err(problem) => return console.usage(&problem),
    };
    for Wanted { to, .. } in &wanted {
        if inputs.iter().any(|input| input.is(to)) {
            return console.usage(&format!("{to} is a capture to be read: the report would replace it"));
        }
        if args.secrets.names(to) {
            return console.usage(&format!("{to} holds the secrets to be used: the report would replace them"));
        }
        // Before an hour of reading, not after it.
        if let Err(error) = output::probe(to) {
            console.complain(&error.to_string());
            return Exit::Unreadable;
        }
    }
    let (mut keyring, key_logs) = match args.secrets.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            console.complain(&error.to_string());
            return Exit::Unreadable;
        }
    };
    let mut options = options(args.tls_mtu, args.dtls_mtu);
    let most = || wanted.iter().map(|wanted| wanted.format.max_told());
    options.max_told = Some(most().flatten().max().unwrap_or(0));
    options.tells_all = most().any(|most| most.is_none());
    if let Some(memory) = args.max_memory {
        options = options.within(memory);
    }
    if let Some(most) = args.max_flows {
        options.dissect.flows.max_flows = most;
        options.dissect.flows.max_conversations = most.saturating_mul(2);
        options.tracker.max_flows = most;
    }
    let mut watch = watch::Watch::new(&inputs, !(args.quiet || args.no_progress), console);
    let mut outcome = loop {
        let (counter, stop) = (watch.counter(), watch.stop());
        let sources = inputs.iter().map(|input| files::open(input, &counter, &stop));
        let outcome = analysis::analyze_with_keys(sources, &options, &mut keyring, &mut |tick| watch.tick(tick.source));
        if !watch.is_worth_another(&outcome, &inputs) {
            break outcome;
        }
        watch.again();
    };
    watch.finish();
    for (name, lines) in &key_logs {
        analysis::key_log_losses(&mut outcome.report, None, name, lines);
    }

    for error in &outcome.errors {
        console.complain(&error.to_string());
    }
    for hint in files::hints(&inputs) {
        console.complain(&hint);
    }
    let written = write_reports(&wanted, &mut outcome, (args.why, args.ladder), console);
    let exit = exit_for(&outcome, written, args.fail_on.map(Severity::from));
    // The program ends: to free all that is known, piece by piece, would take a tenth of the time of a large run.
    std::mem::forget(outcome);
    exit
}

/// Writes them all. The first that finds no room goes to standard output, when no other does: reading may have taken an hour.
fn write_reports(wanted: &[Wanted], outcome: &mut Outcome, (why, ladder): (bool, bool), console: Console) -> bool {
    let Outcome { report, sessions, .. } = outcome;
    let mut is_free = !wanted.iter().any(|wanted| wanted.to == Destination::Stdout);
    let mut written = true;
    for Wanted { format, to } in wanted {
        let mut write = |to: &Destination| {
            let look = output::look(to, console.colour, console.ascii, why);
            output::write(to, Look { ladder, ..look }, |look, out| format.render(report, sessions, look, out))
        };
        let Err(error) = write(to) else { continue };
        written = false;
        if !std::mem::take(&mut is_free) {
            console.complain(&error.to_string());
            continue;
        }
        console.complain(&format!("{error}; the report goes to standard output instead"));
        if let Err(error) = write(&Destination::Stdout) {
            console.complain(&error.to_string());
        }
    }
    written
}

/// That code, unless a signal ended the reading.
fn unless_interrupted(outcome: &Outcome, exit: Exit) -> Exit {
    let interrupted = outcome.report.losses.iter().any(|loss| loss.kind == "interrupted");
    if interrupted { Exit::Interrupted } else { exit }
}

/// The exit code of an analysis: see [`Exit`] for the order.
fn exit_for(outcome: &Outcome, written: bool, fail_on: Option<Severity>) -> Exit {
    let report = &outcome.report;
    let worst = report.summary.severities.worst();
    if unless_interrupted(outcome, Exit::Done) == Exit::Interrupted {
        return Exit::Interrupted;
    }
    if !outcome.errors.is_empty() || !written {
        return Exit::Unreadable;
    }
    if fail_on.is_some_and(|least| worst.is_some_and(|worst| worst >= least)) {
        return Exit::Findings;
    }
    if report.losses.iter().any(|loss| loss.limit) {
        return Exit::LimitHit;
    }
    if is_damaged(report) {
        return Exit::Damaged;
    }
    Exit::Done
}

fn is_damaged(report: &Report) -> bool {
    let damaged = |capture: &crate::report::Capture| capture.truncated || capture.damage.is_some();
    !report.complete || report.captures.iter().any(damaged)
}

fn explain_all(ids: &[String], console: Console) -> Exit {
    for id in ids {
        if explain::find(id).is_none() {
            return console.usage(&explain::unknown(id));
        }
    }
    console.print(|look, out| {
        for (at, detector) in ids.iter().filter_map(|id| explain::find(id)).enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            explain::page(detector, look, out)?;
        }
        Ok(())
    })
}

fn man(of: Option<&str>, dir: Option<PathBuf>, console: Console) -> Exit {
    let mut command = Cli::command();
    command.build();
    if let Some(dir) = dir {
        return match clap_mangen::generate_to(command, &dir) {
            Ok(()) => Exit::Done,
            Err(error) => {
                console.complain(&format!("{}: cannot write: {error}", dir.display()));
                Exit::Unreadable
            }
        };
    }
    let command = match of {
        None => command,
        Some(name) => match command.find_subcommand(name) {
            Some(found) => {
                // Its display name, `acpcap-analyze`, is the page's.
                found.clone()
            }
            None => return console.usage(&format!("no command '{name}'")),
        },
    };
    let mut page = Vec::new();
    if let Err(error) = clap_mangen::Man::new(command).render(&mut page) {
        console.complain(&format!("cannot make the man page: {error}"));
        return Exit::Unreadable;
    }
    console.print(|_, out| out.write_all(&page))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::report::{Capture, Loss};

    fn loss(kind: &str, limit: bool) -> Loss {
        Loss { kind: kind.to_owned(), limit, ..Loss::default() }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn exit_codes_in_their_order() {
        let mut outcome = Outcome { report: Report { complete: true, ..Report::default() }, ..Outcome::default() };
        let high = Some(Severity::High);
        assert_eq!(exit_for(&outcome, true, high), Exit::Done);

        outcome.report.captures.push(Capture { truncated: true, ..Capture::default() });
        assert_eq!(exit_for(&outcome, true, high), Exit::Damaged);

        outcome.report.losses.push(loss("flow-cap", true));
        assert_eq!(exit_for(&outcome, true, high), Exit::LimitHit);

        outcome.report.summary.severities.medium = 1;
        assert_eq!(exit_for(&outcome, true, high), Exit::LimitHit);
        assert_eq!(exit_for(&outcome, true, None), Exit::LimitHit);
        assert_eq!(exit_for(&outcome, true, Some(Severity::Medium)), Exit::Findings);
        assert_eq!(exit_for(&outcome, true, Some(Severity::Info)), Exit::Findings);

        assert_eq!(exit_for(&outcome, false, high), Exit::Unreadable);
        outcome.errors.push(Error::NotACapture { path: "x".to_owned(), offset: 0, reason: String::new() });
        assert_eq!(exit_for(&outcome, true, Some(Severity::Info)), Exit::Unreadable);

        outcome.report.losses.push(loss("interrupted", false));
        assert_eq!(exit_for(&outcome, true, Some(Severity::Info)), Exit::Interrupted);
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in
            [("256M", 256 << 20), ("1g", 1 << 30), ("64MiB", 64 << 20), ("32mb", 32 << 20), ("33554432", 32 << 20)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "1M", "1.5G", "-1G", "10X", "99999999999999999999", "99999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_incomplete_report_is_never_a_plain_success() {
        let outcome = Outcome::default();
        assert_eq!(exit_for(&outcome, true, None), Exit::Damaged);
    }
}
