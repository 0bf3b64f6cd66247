//! Second waist: what it means. A detector reads one session and answers found, clear or cannot tell.

pub use crate::session::coverage::Sight;
pub use crate::session::{Basis, Confidence};

use crate::event::{FrameRef, PointId, Timestamp, Vantage};
use crate::session::coverage::{hides, partly};
use crate::session::{Connection, Point, Session, TcpSeen};
use schemars::JsonSchema;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A fact worth knowing, not a fault.
    #[default]
    Info,
    /// Costs something, breaks nothing.
    Low,
    /// Users notice.
    Medium,
    /// Traffic does not get through.
    High,
}

/// A detector's three answers, as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is there.
    Found,
    /// It was looked for where it would have shown, and is not there.
    Clear,
    /// This capture cannot show it.
    CannotTell,
}

/// Of what both directions must have been seen to say that something is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BothWays {
    /// Of nothing.
    Needless,
    /// Of DTLS or TCP.
    OfAny,
    /// Of TCP, whatever DTLS shows.
    OfTcp,
}

/// A judgement: its record and its code. The id is its file name, its anchor in the docs and its tag everywhere.
pub struct Detector {
    /// Stable name.
    pub id: &'static str,
    /// What it finds, one line.
    pub title: &'static str,
    /// The worst severity it gives.
    pub severity: Severity,
    /// Vantages of which at least one must have been captured; without one the answer is cannot-tell.
    pub judged_from: &'static [Vantage],
    /// That it is not there can be told only where both directions were seen, of this.
    pub needs_both_ways: BothWays,
    /// Ids of what follows from it.
    pub leads_to: &'static [&'static str],
    /// What a capture from there would settle, a clause after "shows".
    pub question: &'static str,
    /// What it is, how it is decided, what fools it: paragraphs.
    pub explanation: &'static str,
    /// How confidence is earned: the first grade whose evidence is there.
    pub confidence: &'static [Grade],
    /// What to do, best first, with the trade-off.
    pub remedy: &'static [&'static str],
    /// Where the facts come from.
    pub references: &'static [&'static str],
    /// The version that brought it.
    pub since: &'static str,
    /// The judgement: pure.
    pub check: fn(&Case<'_>) -> Outcome,
}

impl Detector {
    /// Does it judge from the outer path alone?
    pub fn judges_outside(&self) -> bool {
        self.judged_from.iter().all(|vantage| vantage.is_outer())
    }
}

/// One step of a detector's confidence: what it gives, and the evidence that earns it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grade {
    /// What it gives.
    pub gives: Confidence,
    /// The evidence, a clause.
    pub when: &'static str,
}

impl Grade {
    /// High confidence when…
    pub const fn high(when: &'static str) -> Grade {
        Grade { gives: Confidence::High, when }
    }

    /// Medium confidence when…
    pub const fn medium(when: &'static str) -> Grade {
        Grade { gives: Confidence::Medium, when }
    }

    /// Low confidence when…
    pub const fn low(when: &'static str) -> Grade {
        Grade { gives: Confidence::Low, when }
    }
}

/// Another explanation that the evidence speaks against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuledOut {
    /// What it could have been, a noun phrase.
    pub what: &'static str,
    /// What rules it out, a clause.
    pub why: String,
}

/// What a detector is given.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// The session.
    pub session: &'a Session,
    /// The capture points of the run, indexed by [`PointId`].
    pub points: &'a [Point],
    /// Only which answer it is, and how bad, will be read: words that merely explain it may be left out.
    pub in_brief: bool,
}

/// A detector's answer.
pub enum Outcome {
    /// It is there.
    Found(Box<Finding>),
    /// It is not there, and would have shown. The reason.
    Clear(Cow<'static, str>),
    /// This capture cannot show it. The reason, and what would.
    CannotTell(Cow<'static, str>, Option<Wanted>),
    /// Nor can it show this, though something points to it. The reason, what would, and what the verdict says of it.
    Unsettled(Cow<'static, str>, Option<Wanted>, &'static str),
}

/// What the verdict says where nobody knows what became of the tunnel.
pub const UNHEARD: &str = "the client's last records went unanswered until the capture ended";

impl Outcome {
    /// It is not there, for that reason.
    pub fn clear(reason: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome::Clear(reason.into())
    }

    /// This capture cannot show it, for that reason; what would.
    pub fn cannot_tell(reason: impl Into<Cow<'static, str>>, wanted: Option<Wanted>) -> Outcome {
        Outcome::CannotTell(reason.into(), wanted)
    }

    /// This capture cannot show it, for that reason, though something points to it, of which the verdict says `open`; what would.
    pub fn unsettled(reason: impl Into<Cow<'static, str>>, wanted: Option<Wanted>, open: &'static str) -> Outcome {
        Outcome::Unsettled(reason.into(), wanted, open)
    }

    /// What these captures cannot show would be shown by that.
    pub fn wanted(&self) -> Option<&Wanted> {
        match self {
            Outcome::Found(finding) => finding.wanted.as_ref(),
            Outcome::CannotTell(_, wanted) | Outcome::Unsettled(_, wanted, _) => wanted.as_ref(),
            Outcome::Clear(_) => None,
        }
    }

    /// What the verdict says of what this capture cannot settle.
    pub fn open(&self) -> Option<&'static str> {
        if let Outcome::Unsettled(.., open) = self { Some(open) } else { None }
    }

    /// Which of the three it is.
    pub fn answer(&self) -> Answer {
        match self {
            Outcome::Found(_) => Answer::Found,
            Outcome::Clear(_) => Answer::Clear,
            Outcome::CannotTell(..) | Outcome::Unsettled(..) => Answer::CannotTell,
        }
    }

    /// The reason; of a finding its summary.
    pub fn reason(&self) -> &str {
        match self {
            Outcome::Found(finding) => &finding.summary,
            Outcome::Clear(reason) | Outcome::CannotTell(reason, _) | Outcome::Unsettled(reason, ..) => reason,
        }
    }

    /// No alarm on a guess: what is found on the outer path of a session that may be none is no worse than medium.
    #[must_use]
    pub fn modest(mut self, detector: &Detector, confidence: Confidence) -> Outcome {
        if let Outcome::Found(finding) = &mut self
            && confidence == Confidence::Low
            && detector.judges_outside()
        {
            finding.severity = finding.severity.min(Severity::Medium);
        }
        self
    }

    /// How bad what was found is.
    pub fn severity(&self) -> Option<Severity> {
        match self {
            Outcome::Found(finding) => Some(finding.severity),
            _ => None,
        }
    }
}

/// A capture that would settle a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Where to take it.
    pub vantage: Vantage,
    /// What it would settle.
    pub why: &'static str,
}

/// Something wrong, or worth knowing.
#[derive(Debug, Default)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// How sure, and what earned it: one of the detector's grades.
    pub grade: Grade,
    /// What it means for the user, a clause: the session's verdict is made of these.
    pub headline: String,
    /// One to three sentences with the numbers.
    pub summary: String,
    /// The likeliest cause, as a stable word of the detector's explanation.
    pub likely: Option<&'static str>,
    /// Other explanations, and what speaks against each.
    pub ruled_out: Vec<RuledOut>,
    /// It would be there without the findings that usually lead to it.
    pub stands_alone: bool,
    /// Id of the finding it follows from, when `leads_to` does not say.
    pub follows: Option<&'static str>,
    /// What shows it.
    pub evidence: Vec<Evidence>,
    /// Display filters.
    pub filters: Vec<Filter>,
    /// What to do, best first.
    pub remedy: Vec<String>,
    /// What would tell where it happens, if these captures do not.
    pub wanted: Option<Wanted>,
}

/// What shows a finding.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// These frames.
    Frames(Vec<FrameRef>, String),
    /// Nothing where something would have been seen.
    Absence(Window, String),
}

/// A stretch of capture in which something would have been seen. Only [`Case::window`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    point: PointId,
    from: Timestamp,
    until: Timestamp,
}

impl Window {
    /// Where.
    pub fn point(&self) -> PointId {
        self.point
    }

    /// From when.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// Until when.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// How long.
    pub fn seconds(&self) -> f64 {
        self.until.seconds_since(self.from)
    }
}

/// A Wireshark display filter.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Paste this.
    pub filter: String,
    /// The capture it is meant for.
    pub capture: u16,
    /// What it selects.
    pub shows: String,
    /// How many frames it selects there, when known.
    pub frames: Option<u64>,
}

impl Filter {
    /// One for a tunnel connection.
    pub fn tunnel(connection: &Connection) -> Filter {
        let opened = &connection.best().opened;
        Filter {
            filter: format!("tcp.stream == {}", opened.stream),
            capture: opened.first_frame.capture,
            shows: format!("tunnel connection from port {}", opened.endpoints().client.port()),
            frames: None,
        }
    }
}

impl Case<'_> {
    /// It is not there, for that reason, put into words only where they are read.
    pub fn clear<R: Into<Cow<'static, str>>>(&self, reason: impl FnOnce() -> R) -> Outcome {
        Outcome::Clear(if self.in_brief { Cow::Borrowed("") } else { reason().into() })
    }

    /// A point of the run.
    pub fn point(&self, id: PointId) -> Option<&Point> {
        self.points.get(id.0 as usize)
    }

    /// Why durations of this session cannot be told, where the clock of a capture of it stepped back meanwhile.
    pub fn untimed(&self) -> Option<String> {
        let session = self.session;
        let stepped_back =
            |point: &&Point| point.stepped_back().is_some_and(|(to, from)| to <= session.end && session.start <= from);
        let points = session.seen_at().filter_map(|id| self.point(id));
        let point = points.filter(stepped_back).min_by_key(|point| point.id)?;
        Some(format!("the clock of the capture on {} stepped back meanwhile, so that times tell nothing", point.name))
    }

    /// A point's name, with its vantage where the name does not say it.
    pub fn place(&self, id: PointId) -> String {
        let Some(point) = self.point(id) else { return "an unknown interface".to_owned() };
        if let Some(outer) = point.decrypted_at {
            return format!("the inside of the tunnel, decrypted at {}", self.place(outer));
        }
        match point.vantage {
            Some(vantage) => vantage.phrase().to_owned(),
            None => format!("`{}`", point.name),
        }
    }

    /// Why it cannot be told what its outer or inner packets met: no point saw both directions of them.
    pub fn one_way(&self, outer: bool, inner: bool) -> Option<String> {
        self.partly_seen(outer, inner, |point| point.one_way).map(partly)
    }

    /// The same of TCP alone, of which none saw more than a part.
    pub fn part_of_tcp(&self, outer: bool, inner: bool) -> Option<String> {
        self.partly_seen(outer, inner, |point| point.tcp != TcpSeen::Whole).map(partly)
    }

    /// What a tunnel connection that follows another came without: of one direction alone that cannot be told, for a login is known by
    /// question and answer.
    pub fn without_login(&self) -> &'static str {
        match self.partly_seen(true, false, |point| point.tcp == TcpSeen::OneWay) {
            Some(_) => "with or without a login (one direction alone does not tell)",
            None if self.session.tunnels().any(Connection::is_unread) => {
                "with or without a login (frames are cut too short to tell)"
            }
            None => "without a login",
        }
    }

    /// What of its TCP was seen, outer and inner.
    pub fn tcp_seen(&self) -> TcpSeen {
        self.partly_seen(true, true, |point| point.tcp != TcpSeen::Whole).map_or(TcpSeen::Whole, |point| point.tcp)
    }

    /// The first of the points that saw it, where all of them are such.
    fn partly_seen(&self, outer: bool, inner: bool, is_partial: impl Fn(&Point) -> bool) -> Option<&Point> {
        if !self.points.iter().any(&is_partial) {
            return None;
        }
        let inside = self.session.inner.iter().map(|flow| &*flow.facts).filter(|_| inner);
        let views = self.session.outer_views().filter(|_| outer).chain(inside);
        let mut points = views.filter_map(|view| self.point(view.point)).peekable();
        let first = *points.peek()?;
        points.all(is_partial).then_some(first)
    }

    /// Where that point stood, if that is known.
    pub fn vantage(&self, point: PointId) -> Option<Vantage> {
        self.point(point)?.vantage
    }

    /// Points of this session that stood at that vantage.
    pub fn at(&self, vantage: Vantage) -> BTreeSet<PointId> {
        self.session.seen_at().filter(|id| self.vantage(*id) == Some(vantage)).collect()
    }

    /// Did a point of this session stand there?
    pub fn is_at(&self, vantage: Vantage) -> bool {
        self.session.seen_at().any(|id| self.vantage(id) == Some(vantage))
    }

    /// A capture at the other end of the outer path, for what it would show; none where both ends were captured, or nobody knows which.
    pub fn other_end(&self, why: &'static str) -> Option<Wanted> {
        let vantage = match (self.is_at(Vantage::Client), self.is_at(Vantage::Outside)) {
            (true, false) => Vantage::Outside,
            (false, true) => Vantage::Client,
            _ => return None,
        };
        Some(Wanted { vantage, why })
    }

    /// The window in which it would have been seen at that point between those moments, or why not.
    pub fn window(&self, point: PointId, sight: Sight, from: Timestamp, until: Timestamp) -> Result<Window, String> {
        let known = self.point(point).ok_or("the capture point is unknown")?;
        if let Some(reason) = hides(known, sight, 1) {
            return Err(reason);
        }
        let Some((first, last)) = known.span else { return Err(format!("{} has no frames", known.name)) };
        if from < first || last < from {
            return Err(format!("{} was not capturing then", known.name));
        }
        Ok(Window { point, from, until: until.min(last) })
    }

    /// The window, where that point was capturing until its end as well: only then does nothing in it tell of all that time.
    /// Or why not.
    pub fn whole_window(
        &self,
        point: PointId,
        sight: Sight,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Window, String> {
        if let Some(known) = self.point(point).filter(|known| !known.was_capturing(from, until)) {
            return Err(format!("{} was not capturing all the while", known.name));
        }
        self.window(point, sight, from, until)
    }
}

/// A filter for exactly these frames, one per capture.
pub fn frame_filters(frames: &[FrameRef], shows: &str) -> Vec<Filter> {
    by_capture(frames)
        .into_iter()
        .map(|(capture, numbers)| Filter {
            filter: frame_filter(&numbers),
            capture,
            shows: shows.to_owned(),
            frames: Some(numbers.len() as u64),
        })
        .collect()
}

/// Frames sorted into their captures, ascending, each once.
pub fn by_capture(frames: &[FrameRef]) -> BTreeMap<u16, Vec<u32>> {
    let mut captures: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
    for frame in frames {
        captures.entry(frame.capture).or_default().push(frame.number);
    }
    for numbers in captures.values_mut() {
        numbers.sort_unstable();
        numbers.dedup();
    }
    captures
}

/// `frame.number in {93..103, 106}` in Wireshark's set syntax.
pub fn frame_filter(numbers: &[u32]) -> String {
    let mut text = String::from("frame.number in {");
    let mut rest = numbers;
    while let Some((first, _)) = rest.split_first() {
        let run = rest.iter().zip(*first..).take_while(|(n, expected)| **n == *expected).count();
        let last = first + run as u32 - 1;
        if !text.ends_with('{') {
            text.push_str(", ");
        }
        let _ = match run {
            1 => write!(text, "{first}"),
            2 => write!(text, "{first}, {last}"),
            _ => write!(text, "{first}..{last}"),
        };
        rest = rest.get(run..).unwrap_or_default();
    }
    text.push('}');
    text
}

/// `3 packets`, `1 packet`.
pub fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// `1 frame is`, `2 frames are`.
pub fn are(n: u64, noun: &str) -> String {
    format!("{} {}", count(n, noun), if n == 1 { "is" } else { "are" })
}

/// `1 frame was`, `2 frames were`.
pub fn were(n: u64, noun: &str) -> String {
    format!("{} {}", count(n, noun), if n == 1 { "was" } else { "were" })
}

/// `7.0 s`, `31 ms`.
pub fn elapsed(seconds: f64) -> String {
    if seconds < 0.1 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_are_told_in_milliseconds() {
        assert_eq!([0.0, 0.0314, 0.1, 7.04].map(elapsed), ["0 ms", "31 ms", "0.1 s", "7.0 s"]);
    }

    #[test]
    fn numbers_agree_with_their_words() {
        let told = [0, 1, 2].map(|n| (count(n, "frame"), are(n, "frame"), were(n, "frame")));
        let words = told.each_ref().map(|(count, are, were)| [&count[..], &are[..], &were[..]]);
        assert_eq!(words[0], ["0 frames", "0 frames are", "0 frames were"]);
        assert_eq!(words[1], ["1 frame", "1 frame is", "1 frame was"]);
        assert_eq!(words[2], ["2 frames", "2 frames are", "2 frames were"]);
    }

    #[test]
    fn frame_filters_fold_runs() {
        assert_eq!(frame_filter(&[93, 94, 95, 106, 107, 212]), "frame.number in {93..95, 106, 107, 212}");
        assert_eq!(frame_filter(&[7]), "frame.number in {7}");
    }

    #[test]
    fn no_alarm_about_the_outer_path_of_what_may_be_no_session() {
        let told = |confidence, judged_from| {
            let detector = Detector {
                id: "",
                title: "",
                severity: Severity::High,
                judged_from,
                needs_both_ways: BothWays::Needless,
                leads_to: &[],
                question: "",
                explanation: "",
                confidence: &[],
                remedy: &[],
                references: &[],
                since: "",
                check: |_| Outcome::clear(""),
            };
            let found = Outcome::Found(Box::new(Finding { severity: Severity::High, ..Finding::default() }));
            found.modest(&detector, confidence).severity()
        };
        assert_eq!(told(Confidence::Low, &[Vantage::Client, Vantage::Outside]), Some(Severity::Medium));
        assert_eq!(told(Confidence::Medium, &[Vantage::Client, Vantage::Outside]), Some(Severity::High));
        assert_eq!(told(Confidence::Low, &[Vantage::Inside, Vantage::Client]), Some(Severity::High), "seen inside too");
    }
}
