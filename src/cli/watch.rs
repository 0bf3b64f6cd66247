//! What happens beside the reading: progress on a terminal, and Ctrl-C.
//!
//! Promises: nothing is drawn unless standard error is a terminal and the size is known; the first interrupt lets
//! the report be written, the second ends the program and leaves no file half written.

use super::files::Input;
use super::{Console, Exit};
use crate::analysis::Outcome;
use crate::report::terminal::{escape, escape_ascii};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Runs shorter than this draw nothing: a flash of progress tells nobody anything.
const PATIENCE: Duration = Duration::from_millis(400);
/// Redraws per second.
const HERTZ: u8 = 10;
/// Columns the file name may fill.
const NAME: usize = 30;

/// Watches one analysis.
pub(super) struct Watch {
    read: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    bar: Option<ProgressBar>,
    drawn: bool,
    names: Vec<String>,
    source: Option<usize>,
    again: bool,
}

impl Watch {
    /// Starts the clock and takes over Ctrl-C.
    pub(super) fn new(inputs: &[Input], progress: bool, console: Console) -> Self {
        let mut sizes = inputs.iter().map(Input::size);
        let total = sizes.try_fold(0u64, |sum, size| Some(sum.saturating_add(size?)));
        let bar = total.filter(|_| progress).map(|total| {
            // Hidden at first; drawn once the patience is over.
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
            bar.set_style(style(console.ascii));
            bar
        });
        let names = inputs.iter().map(|input| name(&input.shown(), console.ascii));
        Watch {
            read: Arc::default(),
            stop: on_interrupt(console),
            names: if bar.is_some() { names.collect() } else { Vec::new() },
            bar,
            drawn: false,
            source: None,
            again: false,
        }
    }

    /// The captures are read once more, from the beginning.
    pub(super) fn again(&mut self) {
        self.read.store(0, Relaxed);
        self.source = None;
        self.again = true;
    }

    /// Secrets stood behind the frames they open, and now they are known: is it worth reading all once more?
    pub(super) fn is_worth_another(&self, outcome: &Outcome, inputs: &[Input]) -> bool {
        outcome.late_secrets && !self.again && !self.is_stopping() && inputs.iter().all(Input::is_rereadable)
    }

    /// Where readers add the bytes they read.
    pub(super) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// Does somebody want to stop?
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Raised when somebody wants to stop.
    pub(super) fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Called every few thousand frames.
    pub(super) fn tick(&mut self, source: usize) -> ControlFlow<()> {
        if self.stop.load(Relaxed) {
            return ControlFlow::Break(());
        }
        let Some(bar) = &self.bar else {
            return ControlFlow::Continue(());
        };
        if !self.drawn && bar.elapsed() < PATIENCE {
            return ControlFlow::Continue(());
        }
        if self.source != Some(source) {
            self.source = Some(source);
            bar.set_message(self.names.get(source).cloned().unwrap_or_default());
        }
        bar.set_position(self.read.load(Relaxed));
        if !self.drawn {
            self.drawn = true;
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(HERTZ));
        }
        ControlFlow::Continue(())
    }

    /// Clears the line.
    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn style(ascii: bool) -> ProgressStyle {
    let template = "{bar:24} {percent:>3}%  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left  {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars(if ascii {
        "=> "
    } else {
        "█▌ "
    })
}

/// The file's own name, safe to draw and short enough.
fn name(path: &str, ascii: bool) -> String {
    let base = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let base = if ascii { escape_ascii(base) } else { escape(base).into_owned() };
    base.chars().take(NAME).collect()
}

/// A flag that the first Ctrl-C (or termination) raises; the second ends the program at once.
fn on_interrupt(console: Console) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    // Without a handler the signal just ends the program, as it would anyway.
    let _ = ctrlc::set_handler(move || {
        if raised.load(Relaxed) {
            super::output::abandon();
            std::process::exit(Exit::Interrupted as i32);
        }
        // Said first: the program may be gone right after the flag is up.
        console.complain("stopping; once more to stop without a report");
        raised.store(true, Relaxed);
    });
    stop
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_cannot_draw() {
        assert_eq!(name("/a/b\u{1b}[2J.pcap", false), "b\\x1b[2J.pcap");
        assert_eq!(name("ä", true), "\\xe4");
        assert_eq!(name(&"x".repeat(90), false).len(), NAME);
    }

    #[test]
    fn the_bar_is_a_valid_template() {
        let template = ProgressStyle::with_template("{bar:24} {bytes_per_sec} {eta} {total_bytes}");
        assert!(template.is_ok());
        style(true);
    }
}
