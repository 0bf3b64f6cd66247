//! The rungs of a ladder while it is built.

use super::super::build::rfc3339;
use super::super::timeline::stream;
use super::{Ladder, MAX_RUNGS, Rung};
use crate::event::{Direction, FrameRef, Timestamp};
use crate::finding::Case;
use crate::session::facts::FlowFacts;
use std::collections::BTreeSet;

/// A rung before it gets its numbers.
pub(super) struct Step {
    pub(super) from: &'static str,
    pub(super) what: String,
    pub(super) fate: &'static str,
    pub(super) at: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u64,
    pub(super) frame: Option<FrameRef>,
    waited: Option<f64>,
    pub(super) note: String,
}

impl Step {
    pub(super) fn seen(direction: Direction, what: String, at: Timestamp, frame: FrameRef) -> Step {
        let from = sender(direction);
        let (last, count, frame) = (at, 1, Some(frame));
        Step { from, what, fate: "arrived", at, last, count, frame, waited: None, note: String::new() }
    }

    pub(super) fn missing(direction: Direction, what: String, due: Timestamp, waited: f64) -> Step {
        let (from, waited) = (sender(direction), Some(waited));
        Step { from, what, fate: "never-came", at: due, last: due, count: 0, frame: None, waited, note: String::new() }
    }

    pub(super) fn with(mut self, note: String) -> Step {
        self.note = note;
        self
    }
}

fn sender(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "client",
        Direction::ToClient => "gateway",
    }
}

pub(super) struct Rungs<'a> {
    pub(super) case: &'a Case<'a>,
    pub(super) view: &'a FlowFacts,
    steps: Vec<Step>,
}

impl<'a> Rungs<'a> {
    pub(super) fn new(case: &'a Case<'a>, view: &'a FlowFacts) -> Rungs<'a> {
        Rungs { case, view, steps: Vec::new() }
    }

    pub(super) fn push(&mut self, step: Step) {
        // One datagram may carry several messages: they share an arrow.
        if let Some(before) = self.steps.last_mut()
            && step.frame.is_some()
            && (before.frame, before.from, before.fate, before.count) == (step.frame, step.from, step.fate, step.count)
            && before.note == step.note
        {
            before.what = format!("{}, {}", before.what, step.what);
            before.last = before.last.max(step.last);
            return;
        }
        self.steps.push(step);
    }

    pub(super) fn last_seen(&self) -> Option<Timestamp> {
        self.steps.iter().map(|s| s.last).max()
    }

    pub(super) fn frames(&self) -> BTreeSet<FrameRef> {
        self.steps.iter().filter_map(|s| s.frame).collect()
    }

    pub(super) fn ladder(mut self, kind: &str, title: String) -> Ladder {
        // What never came stands below what was seen while it was due.
        self.steps.sort_by_key(|s| (s.at.plus_seconds(s.waited.unwrap_or(0.0)), s.waited.is_some()));
        let (view, start) = (self.view, self.case.session.start);
        let ends = view.opened.endpoints();
        let capture = view.opened.first_frame.capture;
        let rungs_dropped = self.steps.len().saturating_sub(MAX_RUNGS) as u64;
        self.steps.truncate(MAX_RUNGS);
        Ladder {
            kind: kind.to_owned(),
            title,
            client: ends.client.to_string(),
            gateway: ends.server.to_string(),
            capture,
            vantage: self.case.point(view.point).map_or("unknown", |p| p.vantage_word()).to_owned(),
            stream: stream(view),
            rungs: self.steps.into_iter().map(|s| s.rung(start, capture)).collect(),
            rungs_dropped,
            ..Ladder::default()
        }
    }
}

impl Step {
    fn rung(self, start: Timestamp, capture: u16) -> Rung {
        Rung {
            from: self.from.to_owned(),
            what: self.what,
            fate: self.fate.to_owned(),
            at: rfc3339(self.at),
            seconds: self.at.seconds_since(start),
            count: self.count,
            until_seconds: (self.count > 1).then(|| self.last.seconds_since(start)),
            frame: self.frame.map(|f| f.number),
            capture: self.frame.map_or(capture, |f| f.capture),
            waited_seconds: self.waited,
            note: self.note,
        }
    }
}
