//! acpcap beside tcpdump and tshark, each as a whole process: `cargo bench --bench whole -- [--rounds N] [FILE…]`.
//!
//! Promises: all programs run in turn, round after round, so that a busy minute meets them all; a program that is not
//! installed is left out with a word. Without a file it makes two captures in a temporary folder.
//! Refuses: wall time. CPU time (user and system) of a process is what another process disturbs least.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has failed")]

#[cfg(unix)]
mod child;
mod traffic;
mod walk;

use acpcap::capture::Item;
use acpcap::capture::reader::{Limits, Reader};
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use traffic::Mix;

/// Times each program runs unless told otherwise.
const ROUNDS: usize = 5;
/// A program that takes this long (CPU seconds) runs once.
const SLOW: f64 = 10.0;
/// Sessions of the captures made here: some 100 MB each.
const SESSIONS: [(Mix, usize); 2] = [(Mix::Large, 1_200), (Mix::Small, 4_800)];

/// What one run of a program took.
#[derive(Clone, Copy)]
pub struct Usage {
    /// User and system time, seconds.
    pub cpu: f64,
    /// Largest resident set, bytes.
    pub peak: f64,
}

/// One thing to measure.
struct Program {
    name: &'static str,
    /// Program and arguments.
    call: Vec<String>,
    /// Of acpcap: a limit that was hit or a damaged file is a result too.
    accepts: &'static [i32],
}

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [walk::COMMAND, file] => return walk::run(Path::new(file)),
        #[cfg(unix)]
        [child::COMMAND, call @ ..] => return child::run(call),
        _ => {}
    }
    if cfg!(not(unix)) {
        println!("whole: the CPU time of a child process is only known on Unix: nothing was measured");
        return ExitCode::SUCCESS;
    }
    let rounds = match args.iter().position(|arg| arg == "--rounds") {
        Some(at) => args.drain(at..args.len().min(at + 2)).next_back().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS),
        None => ROUNDS,
    };
    if args.is_empty() {
        with_made_captures(|file| compare(file, rounds));
    } else {
        args.iter().for_each(|file| compare(Path::new(file), rounds));
    }
    ExitCode::SUCCESS
}

fn with_made_captures(mut work: impl FnMut(&Path)) {
    let folder = std::env::temp_dir().join(format!("acpcap-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for (mix, sessions) in SESSIONS {
        let file = folder.join(format!("{}.pcapng", mix.name()));
        fs::write(&file, traffic::make(mix, sessions).capture).unwrap();
        work(&file);
    }
    fs::remove_dir_all(folder).unwrap();
}

fn compare(file: &Path, rounds: usize) {
    let Some((packets, bytes)) = count(file) else {
        println!("{}: not a capture that can be read\n", file.display());
        return;
    };
    let programs = programs(file);
    let runs = in_turn(&programs, rounds);
    println!("{}: {packets} packets, {:.1} MB, {rounds} rounds\n", name(file), bytes as f64 / 1e6);
    println!("| program | × acpcap's CPU | ns/packet | MB/s | peak MiB |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    let ours = runs.first().cloned().unwrap_or_default();
    for (program, runs) in programs.iter().zip(&runs) {
        if let Some(why) = runs.iter().find_map(|run| run.err()) {
            println!("| {} | {why} | | | |", program.name);
            continue;
        }
        let cpu = median(runs.iter().flatten().map(|run| run.cpu)).unwrap_or(f64::NAN);
        let pairs = runs.iter().flatten().zip(ours.iter().flatten()).map(|(run, ours)| run.cpu / ours.cpu);
        let ratio = median(pairs).unwrap_or(f64::NAN);
        let peak = median(runs.iter().flatten().map(|run| run.peak)).unwrap_or(f64::NAN);
        let (each, rate, peak) = (cpu * 1e9 / packets as f64, bytes as f64 / 1e6 / cpu, peak / f64::from(1 << 20));
        println!("| {} | {ratio:.2} | {each:.0} | {rate:.0} | {peak:.0} |", program.name);
    }
    println!();
}

/// Every program's runs. One that is not there is tried once, and a slow one runs once.
fn in_turn(programs: &[Program], rounds: usize) -> Vec<Vec<Result<Usage, &'static str>>> {
    let mut all = vec![Vec::new(); programs.len()];
    for round in 0..rounds {
        for (program, runs) in programs.iter().zip(&mut all) {
            let is_enough = |run: &Result<Usage, &str>| run.is_ok_and(|run| run.cpu > SLOW) || run.is_err();
            if round == 0 || !runs.iter().any(is_enough) {
                runs.push(measure(program));
            }
        }
    }
    all
}

fn name(file: &Path) -> String {
    file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// acpcap first: the others are told by it.
fn programs(file: &Path) -> Vec<Program> {
    let file = file.to_string_lossy().into_owned();
    let call = |program: &str, args: &[&str]| {
        [program].iter().chain(args).map(|word| (*word).to_owned()).collect::<Vec<String>>()
    };
    let myself = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    // What an engineer would look for by hand: handshakes, Fragmentation Needed, packets that are too big.
    let filter = "dtls.handshake || (icmp.type==3 && icmp.code==4) || (ip.flags.df==1 && ip.len>1347)";
    let acpcap = PathBuf::from(env!("CARGO_BIN_EXE_acpcap")).to_string_lossy().into_owned();
    vec![
        Program { name: "`acpcap analyze`", call: call(&acpcap, &["analyze", "--quiet", &file]), accepts: &[0, 4, 5] },
        Program { name: "block walk", call: call(&myself, &[walk::COMMAND, &file]), accepts: &[0] },
        Program {
            name: "`tcpdump -w /dev/null`",
            call: call("tcpdump", &["-r", &file, "-w", "/dev/null"]),
            accepts: &[0],
        },
        Program {
            name: "`tshark -Y … -T fields`",
            call: call("tshark", &["-n", "-r", &file, "-Y", filter, "-T", "fields", "-e", "frame.number"]),
            accepts: &[0],
        },
    ]
}

/// Packets and bytes, decompressed; reading them also brings the file into the page cache.
fn count(file: &Path) -> Option<(u64, u64)> {
    let mut reader = Reader::new("counted", Box::new(File::open(file).ok()?), Limits::default()).ok()?;
    let mut packets = 0;
    let read = reader.for_each(|item| {
        packets += u64::from(matches!(item, Item::Frame(_)));
        ControlFlow::Continue(())
    });
    read.ok()?;
    (packets > 0).then(|| (packets, reader.bytes()))
}

/// One run, or why there is none.
#[cfg(unix)]
fn measure(program: &Program) -> Result<Usage, &'static str> {
    let (code, usage) = child::measured(&program.call).ok_or("not installed")?;
    if program.accepts.contains(&code) { Ok(usage) } else { Err("cannot read it") }
}

#[cfg(not(unix))]
fn measure(_: &Program) -> Result<Usage, &'static str> {
    Err("not measured")
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
