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
use std::ops::{ControlFlow, Range};
use std::slice;

/// Sessions asked about at once. One question after the other, each to all of them, finds its code in the processor's cache; more of
/// them would crowd out each other's facts.
const AT_ONCE: usize = 32;

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
        for some in self.lots() {
            self.ask(some, true, |index, id, session, _, answers| {
                let severity = severity(&answers);
                let is_unsure = answers.iter().any(|(_, outcome)| outcome.answer() == Answer::CannotTell);
                let words = answers.iter().map(|(detector, outcome)| (detector.id, outcome.answer(), outcome.reason()));
                tally.add(&id, severity, words);
                if options.tells_all {
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
            self.ask(index..index + 1, false, |_, id, session, points, answers| {
                if !options.tells_all {
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

    /// All of them, in the lots they are asked in.
    fn lots(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let all = self.all.len();
        (0..all).step_by(AT_ONCE).map(move |first| first..all.min(first + AT_ONCE))
    }

    /// Judges some sessions, asks every detector about them, and forgets all that again.
    fn ask(
        &mut self,
        some: Range<usize>,
        in_brief: bool,
        mut take: impl FnMut(usize, String, &Session, &[Point], Answers),
    ) {
        let (first, points) = (some.start, &self.points);
        let Some(sessions) = self.all.get_mut(some) else { return };
        for session in &mut *sessions {
            session.judge(self.told, points);
        }
        let mut answers: Vec<_> = sessions.iter().map(|_| Answers::with_capacity(DETECTORS.len())).collect();
        for detector in DETECTORS {
            for (session, answers) in sessions.iter().zip(&mut answers) {
                answers.push((*detector, detect::ask(detector, &Case { session, points, in_brief })));
            }
        }
        for ((index, session), answers) in (first..).zip(&*sessions).zip(answers) {
            take(index, (index + 1).to_string(), session, points, answers);
        }
        sessions.iter_mut().for_each(|session| session.forget());
    }
}

impl Every for Sessions {
    fn each(&mut self, list: List, take: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>) {
        for some in self.lots() {
            let mut flow = ControlFlow::Continue(());
            self.ask(some, false, |_, id, session, points, answers| {
                if flow.is_break() {
                    return;
                }
                flow = match list {
                    List::Sessions => {
                        let (session, findings, checks) = build::session(id, session, points, answers);
                        take(Piece { sessions: slice::from_ref(&session), findings: &findings, checks: &checks })
                    }
                    List::Findings => {
                        take(Piece { findings: &build::findings(&id, session, points, answers), ..Piece::default() })
                    }
                    List::Checks => take(Piece { checks: &build::checks(&id, &answers), ..Piece::default() }),
                };
            });
            if flow.is_break() {
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
