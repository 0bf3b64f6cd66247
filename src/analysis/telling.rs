//! Sessions are judged and asked about, and the worst are told in the report. All can be told again, one after the other: what is told
//! of a session takes several times as much memory as what is known of it.

use super::Options;
use crate::detect::{self, DETECTORS};
use crate::finding::{Answer, Case};
use crate::report::build::{self, Answers, Wishes};
use crate::report::summary::Tally;
use crate::report::{Every, List, Piece, Report, Severity};
use crate::session::limits::Told;
use crate::session::{Entry, Point, Session};
use std::cmp::Reverse;
use std::ops::ControlFlow;
use std::slice;

/// The sessions of a run, to be told one after the other.
#[derive(Debug, Default)]
pub struct Sessions {
    all: Vec<Entry>,
    points: Vec<Point>,
    told: Told,
}

/// The worse a session's findings, the less; then whether something could not be told.
type Rank = Reverse<(Option<Severity>, bool)>;

impl Sessions {
    pub(super) fn new(all: Vec<Entry>, points: &[Point], told: Told) -> Sessions {
        Sessions { all, points: points.to_vec(), told }
    }

    /// Sums all sessions up in the report, and tells as many of the worst as are wanted.
    pub(super) fn report(&mut self, report: &mut Report, options: &Options) {
        let most = options.max_told.unwrap_or(usize::MAX);
        let (mut tally, mut wishes) = (Tally::default(), Wishes::default());
        let mut worst: Vec<(Rank, usize)> = Vec::new();
        for index in 0..self.all.len() {
            self.ask(index, true, |id, session, _, answers| {
                let severity = severity(&answers);
                let is_unsure = answers.iter().any(|(_, outcome)| outcome.answer() == Answer::CannotTell);
                let words = answers.iter().map(|(detector, outcome)| (detector.id, outcome.answer(), outcome.reason()));
                tally.add(&id, severity, words);
                if options.keeps_sessions {
                    wishes.add(&id, session, severity, &answers);
                }
                worst.push((Reverse((severity, is_unsure)), index));
            });
            if worst.len() / 2 > most {
                keep_worst(&mut worst, most);
            }
        }
        report.summary = tally.finish();
        keep_worst(&mut worst, most);
        worst.sort_unstable_by_key(|(_, index)| *index);
        // Answers are not kept for all: of those that are told they are asked again.
        for (_, index) in worst {
            self.ask(index, false, |id, session, points, answers| {
                if !options.keeps_sessions {
                    wishes.add(&id, session, severity(&answers), &answers);
                }
                let (session, findings, checks) = build::session(id, session, points, answers);
                report.sessions.push(session);
                report.findings.extend(findings);
                report.checks.extend(checks);
            });
        }
        report.next_captures = wishes.into_list();
    }

    /// Judges a session, asks every detector about it, and forgets all that again.
    fn ask<T>(
        &mut self,
        index: usize,
        in_brief: bool,
        take: impl FnOnce(String, &Session, &[Point], Answers) -> T,
    ) -> Option<T> {
        let session = self.all.get_mut(index)?;
        session.judge(self.told, &self.points);
        let case = Case { session, points: &self.points, in_brief };
        let answers = DETECTORS.iter().map(|detector| (*detector, detect::ask(detector, &case))).collect();
        let taken = take((index + 1).to_string(), session, &self.points, answers);
        session.forget();
        Some(taken)
    }
}

impl Every for Sessions {
    fn each(&mut self, list: List, take: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>) {
        for index in 0..self.all.len() {
            let flow = self.ask(index, false, |id, session, points, answers| match list {
                List::Sessions => {
                    let (session, findings, checks) = build::session(id, session, points, answers);
                    take(Piece { sessions: slice::from_ref(&session), findings: &findings, checks: &checks })
                }
                List::Findings => {
                    take(Piece { findings: &build::findings(&id, session, points, answers), ..Piece::default() })
                }
                List::Checks => take(Piece { checks: &build::checks(&id, &answers), ..Piece::default() }),
            });
            if flow.is_some_and(|flow| flow.is_break()) {
                return;
            }
        }
    }
}

/// The worst of what was found.
fn severity(answers: &Answers) -> Option<Severity> {
    answers.iter().filter_map(|(_, outcome)| outcome.severity()).max()
}

fn keep_worst(sessions: &mut Vec<(Rank, usize)>, most: usize) {
    if sessions.len() > most {
        sessions.select_nth_unstable(most);
        sessions.truncate(most);
    }
}
