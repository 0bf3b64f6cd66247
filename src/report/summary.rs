//! What all sessions of a run add up to, whether told one by one or not.

use super::{Answer, Answers, Check, Reason, Session, Severities, Severity, Summary};
use crate::maps::HashMap;

/// Different reasons kept; the sessions of further ones are counted together.
const MAX_REASONS: usize = 200;
/// Sessions named per reason.
const MAX_NAMED: usize = 3;
/// What stands for the reasons beyond [`MAX_REASONS`].
const OTHER: &str = "other reasons";

/// Sums up, session by session.
#[derive(Debug, Default)]
pub struct Tally {
    summary: Summary,
    /// Each detector's answers; every session is told of in the same order.
    detectors: Vec<(String, Answers)>,
}

impl Tally {
    /// Adds a session: its worst severity, and each detector's answer with its reason.
    pub fn add<'a>(
        &mut self,
        id: &str,
        severity: Option<Severity>,
        answers: impl Iterator<Item = (&'a str, Answer, &'a str)>,
    ) {
        self.summary.sessions += 1;
        self.summary.severities.add(severity);
        for (place, (detector, answer, reason)) in answers.enumerate() {
            self.add_answer(place, detector, answer);
            if answer == Answer::CannotTell {
                self.add_reason(id, detector, reason);
            }
        }
    }

    /// Adds an answer of a detector, which is likely to stand at that place.
    fn add_answer(&mut self, place: usize, detector: &str, answer: Answer) {
        let all = &mut self.detectors;
        let is_it = |(known, _): &(String, Answers)| known == detector;
        let place =
            if all.get(place).is_some_and(is_it) { place } else { all.iter().position(is_it).unwrap_or(all.len()) };
        if place == all.len() {
            all.push((detector.to_owned(), Answers::default()));
        }
        if let Some((_, answers)) = all.get_mut(place) {
            answers.add(answer);
        }
    }

    fn add_reason(&mut self, id: &str, detector: &str, reason: &str) {
        let all = &mut self.summary.cannot_tell;
        // Those that most sessions have come early.
        let find = |all: &[Reason], reason: &str| all.iter().position(|known| known.reason == reason);
        let place = find(all, reason).unwrap_or_else(|| {
            let reason = if all.len() < MAX_REASONS { reason } else { OTHER };
            find(all, reason).unwrap_or_else(|| {
                all.push(Reason { reason: reason.to_owned(), ..Reason::default() });
                all.len() - 1
            })
        });
        let Some(group) = all.get_mut(place) else { return };
        if !group.detectors.iter().any(|known| known == detector) {
            group.detectors.push(detector.to_owned());
        }
        // The answers of one session come one after the other.
        if group.last != id {
            id.clone_into(&mut group.last);
            group.sessions += 1;
            if group.named.len() < MAX_NAMED {
                group.named.push(id.to_owned());
            }
        }
    }

    /// The sum.
    pub fn finish(self) -> Summary {
        Summary { detectors: self.detectors.into_iter().collect(), ..self.summary }
    }
}

impl Summary {
    /// The same of sessions that are all told.
    pub fn of(sessions: &[Session], checks: &[Check]) -> Summary {
        let mut by_session: HashMap<&str, Vec<&Check>> = HashMap::default();
        for check in checks {
            by_session.entry(&check.session).or_default().push(check);
        }
        let mut tally = Tally::default();
        for session in sessions {
            let checks = by_session.get(session.id.as_str()).into_iter().flatten();
            let answers = checks.map(|check| (check.detector.as_str(), check.outcome, check.reason.as_str()));
            tally.add(&session.id, session.severity, answers);
        }
        tally.finish()
    }

    /// All answers of all detectors.
    pub fn answers(&self) -> Answers {
        self.detectors.values().fold(Answers::default(), |sum, one| Answers {
            found: sum.found + one.found,
            clear: sum.clear + one.clear,
            cannot_tell: sum.cannot_tell + one.cannot_tell,
        })
    }
}

impl Severities {
    /// The worst of all; nothing where no session has a finding.
    pub fn worst(&self) -> Option<Severity> {
        [
            (self.high, Severity::High),
            (self.medium, Severity::Medium),
            (self.low, Severity::Low),
            (self.info, Severity::Info),
        ]
        .into_iter()
        .find_map(|(sessions, severity)| (sessions > 0).then_some(severity))
    }

    fn add(&mut self, severity: Option<Severity>) {
        *match severity {
            Some(Severity::High) => &mut self.high,
            Some(Severity::Medium) => &mut self.medium,
            Some(Severity::Low) => &mut self.low,
            Some(Severity::Info) => &mut self.info,
            None => &mut self.none,
        } += 1;
    }
}

impl Answers {
    fn add(&mut self, answer: Answer) {
        *match answer {
            Answer::Found => &mut self.found,
            Answer::Clear => &mut self.clear,
            Answer::CannotTell => &mut self.cannot_tell,
        } += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_once_per_reason_and_reasons_are_capped() {
        let mut tally = Tally::default();
        for session in 0..1000 {
            let (id, own) = (session.to_string(), format!("reason {session}"));
            let unsure = |detector, reason| (detector, Answer::CannotTell, reason);
            let answers =
                [unsure("a", "blind"), unsure("b", "blind"), unsure("c", own.as_str()), ("d", Answer::Clear, "")];
            tally.add(&id, (session == 0).then_some(Severity::High), answers.into_iter());
        }
        let summary = tally.finish();
        assert_eq!(summary.sessions, 1000);
        assert_eq!((summary.severities.high, summary.severities.none), (1, 999));
        assert_eq!(summary.answers(), Answers { found: 0, clear: 1000, cannot_tell: 3000 });
        let blind = &summary.cannot_tell[0];
        assert_eq!(
            (blind.sessions, blind.detectors.as_slice(), blind.named.len()),
            (1000, &["a".to_owned(), "b".to_owned()][..], 3)
        );
        assert_eq!(summary.cannot_tell.len(), MAX_REASONS + 1);
        let other = summary.cannot_tell.last().unwrap();
        assert_eq!((other.reason.as_str(), other.sessions), (OTHER, 1000 - (MAX_REASONS as u64 - 1)));
    }
}
