//! Every session of a run, told one after the other: of many sessions the report is more than can be kept.

use super::{Check, Finding, Report, Session};
use std::ops::ControlFlow;

/// One of the lists of a report that hold something about every session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// [`Report::sessions`]; pieces hold the other two lists as well.
    Sessions,
    /// [`Report::findings`].
    Findings,
    /// [`Report::checks`].
    Checks,
}

/// A piece of these lists, of whole sessions; a list that was not asked for may be empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Piece<'a> {
    /// Sessions.
    pub sessions: &'a [Session],
    /// Their findings.
    pub findings: &'a [Finding],
    /// Every detector's answers for them.
    pub checks: &'a [Check],
}

/// Who can tell every session, as often as asked.
pub trait Every {
    /// Gives a list piece by piece, in order of sessions, until `take` breaks it off.
    fn each(&mut self, list: List, take: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>);
}

/// A report that tells all its sessions.
impl Every for &Report {
    fn each(&mut self, _: List, take: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>) {
        let Report { sessions, findings, checks, .. } = self;
        // Whether it is broken off here or not, there is nothing behind it.
        let _ = take(Piece { sessions, findings, checks });
    }
}
