//! What a child process took: CPU time and largest resident set.
//!
//! The system tells both only of all children of a process together, so each program is run by a process of its own, which
//! has no other child. That one is small: a child's resident set counts from the moment it is split off its parent.

use crate::Usage;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::process::{Command, ExitCode, Stdio};

/// First argument of the process between.
pub const COMMAND: &str = "run-child";

/// Runs a program to its end: its exit code and what it took. Nothing when it cannot be started.
pub fn measured(call: &[String]) -> Option<(i32, Usage)> {
    let between = Command::new(std::env::current_exe().ok()?).arg(COMMAND).args(call).output().ok()?;
    let told = String::from_utf8(between.stdout).ok()?;
    let mut numbers = told.split_whitespace();
    let code = numbers.next()?.parse().ok()?;
    let mut number = || numbers.next()?.parse::<f64>().ok();
    Some((code, Usage { cpu: number()? / 1e6, peak: number()? }))
}

/// The process between: prints exit code, microseconds and bytes.
pub fn run(call: &[&str]) -> ExitCode {
    let [program, args @ ..] = call else { return ExitCode::FAILURE };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Some(code) = command.status().ok().and_then(|status| status.code()) else { return ExitCode::FAILURE };
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return ExitCode::FAILURE };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    // Darwin counts bytes, the others KiB (getrusage(2)).
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    println!("{code} {micros} {}", usage.max_rss() * unit);
    ExitCode::SUCCESS
}
