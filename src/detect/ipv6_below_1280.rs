//! The tunnel carries less than IPv6 needs.

use crate::event::{FrameRef, Vantage};
use crate::finding::{BothWays, Case, Detector, Evidence, Finding, Grade, Outcome, Severity, frame_filters};
use crate::session::limits::SMALLEST_V6;
use crate::session::{Basis, Channel, Limit};

const TOLD: Grade = Grade::high("the limit was told, or read from a packet");

pub static DETECTOR: Detector = Detector {
    id: "ipv6-below-1280",
    title: "The tunnel carries less than IPv6 needs",
    severity: Severity::Medium,
    judged_from: &[Vantage::Inside, Vantage::VirtualAdapter],
    needs_both_ways: BothWays::Needless,
    leads_to: &["oversized-df", "missing-frag-needed", "frag-needed-ignored"],
    question: "whether IPv6 fits into the tunnel",
    explanation: "\
Every IPv6 link must carry 1280 bytes (RFC 8200 §5). A tunnel whose MTU is smaller cannot carry IPv6: packets of 1280 are dropped, \
and a Packet Too Big that names less is one no host will follow. Small packets pass, so connections open and then hang. \
openconnect warns of such a tunnel, ocserv gives no IPv6 address over it.

Found when IPv6 is seen inside the tunnel and the limit in force, or an ICMPv6 Packet Too Big, says less than 1280.",
    confidence: &[TOLD],
    remedy: &[
        "raise the tunnel's MTU to 1280 at least (`anyconnect mtu 1300` needs a base of about 1400), or",
        "give no IPv6 address to these clients",
    ],
    references: &["RFC 8200 §5", "RFC 8201 §4"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let v6 = |f: &&crate::session::InnerFlow| f.facts.opened.endpoints().client.is_ipv6();
    let Some(flow) = session.inner.iter().find(v6) else {
        return Outcome::clear("no IPv6 was seen inside the tunnel");
    };
    let too_big =
        session.icmp.iter().find(|i| i.inner && i.facts.error.v6 && i.facts.mtus.iter().any(|m| *m < SMALLEST_V6));
    let inner = |l: &&Limit| matches!(l.channel, Channel::Inner | Channel::Tls) && l.basis != Basis::Derived;
    let limit = session.limits.iter().filter(inner).find(|l| l.in_force && l.bytes < SMALLEST_V6 && !l.is_bracket());
    let (bytes, source, mut frames): (u32, String, Vec<FrameRef>) = match (too_big, limit) {
        (Some(icmp), _) => {
            let mtu = icmp.facts.mtus.iter().min().copied().unwrap_or_default();
            (mtu, format!("Packet Too Big from {}", icmp.facts.sender), icmp.facts.frames.clone())
        }
        (None, Some(limit)) => (limit.bytes, limit.source.clone(), limit.frames.clone()),
        (None, None) => return Outcome::clear("no limit below 1280 was met"),
    };
    frames.push(flow.facts.opened.first_frame);
    Outcome::Found(Box::new(Finding {
        severity: Severity::Medium,
        grade: TOLD,
        headline: format!("the tunnel carries {bytes} B, less than the 1280 IPv6 needs"),
        summary: format!(
            "The tunnel carries {bytes} B ({source}); IPv6 needs 1280, so {} cannot use it for anything but small packets.",
            flow.ends().0.ip()
        ),
        evidence: vec![Evidence::Frames(frames.clone(), "the limit, and IPv6 inside the tunnel".to_owned())],
        filters: frame_filters(&frames, "the limit, and IPv6 inside the tunnel"),
        remedy: DETECTOR.remedy.iter().map(|r| (*r).to_owned()).collect(),
        ..Finding::default()
    }))
}
