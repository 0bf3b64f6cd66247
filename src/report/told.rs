//! What several findings say, each once: shared by all renderers.

use super::{Finding, RuledOut};
use std::collections::HashSet;

/// In front of a remedy that is none: what helps less than it looks.
const NOT: &str = "not: ";

/// What to do, best first, and what not to do, without its `not:`.
pub(super) fn remedies<'a>(findings: &[&'a Finding]) -> (Vec<&'a str>, Vec<&'a str>) {
    let mut seen = HashSet::new();
    let all = findings.iter().flat_map(|finding| &finding.remedy).map(String::as_str);
    let (not, steps): (Vec<&str>, Vec<&str>) = all.filter(|step| seen.insert(*step)).partition(|s| s.starts_with(NOT));
    (steps, not.into_iter().filter_map(|step| step.strip_prefix(NOT)).collect())
}

/// What else it could have been, and is not.
pub(super) fn ruled_out<'a>(findings: &[&'a Finding]) -> Vec<&'a RuledOut> {
    let mut seen = HashSet::new();
    let all = findings.iter().flat_map(|finding| &finding.ruled_out);
    all.filter(|ruled| seen.insert(ruled.what.as_str())).collect()
}
