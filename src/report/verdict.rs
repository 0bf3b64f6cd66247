//! A session's story in one to three sentences, the verdict first.

use super::Finding;
use crate::event::Vantage;
use crate::finding::{Case, Confidence, Severity};
use crate::session::attempt::{AttemptOutcome, judge_all};

/// Tells the story the findings make together.
pub fn of(case: &Case<'_>, findings: &[Finding]) -> String {
    let faults: Vec<&Finding> = findings.iter().filter(|f| f.severity > Severity::Info).collect();
    if faults.is_empty() {
        return healthy(case).to_owned();
    }
    let found = |id: &str| faults.iter().find(|f| f.detector == id);
    let has = |id: &str| found(id).is_some();
    let mut parts: Vec<String> = Vec::new();
    match (has("dtls-never-completes"), has("dtls-nondefault-port")) {
        (true, true) => parts.push("DTLS goes to a port other than 443 and never came up".to_owned()),
        (true, false) => parts.push(format!("DTLS never came up: {}", how_dtls_died(case))),
        (false, true) => parts.push("DTLS goes to a port other than 443".to_owned()),
        (false, false) => {}
    }
    if has("dtls-lost-midway") {
        parts.push("DTLS worked, then died, and the data went back to TLS".to_owned());
    }
    if has("oversized-df") {
        let told = match (has("missing-frag-needed"), has("frag-needed-ignored")) {
            (true, _) => ", and no ICMP tells their sender",
            (false, true) => ", and the ICMP that comes changes nothing",
            (false, false) => "",
        };
        parts.push(format!("downloads hang on packets too big for the tunnel{told}"));
    }
    if has("path-mtu-blackhole") {
        parts.push("large packets of the tunnel itself vanish on the outer path".to_owned());
    }
    if let Some(reconnect) = found("reconnect-for-mtu") {
        parts.push(
            match reconnect.confidence {
                Confidence::Low => {
                    "the tunnel was replaced after a minute without a login, as a client does to lower its MTU"
                }
                _ => "after a minute the client reconnects to lower its MTU",
            }
            .to_owned(),
        );
    }
    if parts.is_empty() {
        parts.extend(faults.iter().map(|f| f.title.clone()));
    }
    sentence(&parts.join("; "))
}

fn healthy(case: &Case<'_>) -> &'static str {
    let session = case.session;
    match (session.gateway, session.dtls.iter().any(|d| d.worked())) {
        (None, _) => "Inner traffic of this address flows; nothing got stuck.",
        (_, true) => "DTLS is up and carries the data. Nothing wrong was seen.",
        (_, false) => "The tunnel runs over TLS. Nothing wrong was seen.",
    }
}

/// How the attempts ended as the client knows it, or the point nearest to it.
fn how_dtls_died(case: &Case<'_>) -> &'static str {
    let judged = judge_all(case.session, case.points);
    let at_client = |p| case.point(p).and_then(|p| p.vantage) == Some(Vantage::Client);
    let client_seen = judged.iter().any(|j| at_client(j.view.point));
    let near = judged.iter().filter(|j| !client_seen || at_client(j.view.point));
    let furthest = near.map(|j| &j.outcome).max_by_key(|o| o.stage());
    let answered_elsewhere = judged.iter().any(|j| j.facts.server_hellos.0 + j.facts.hello_verify.0 > 0);
    match furthest {
        Some(AttemptOutcome::NoReply) if answered_elsewhere => "the gateway's answers do not reach the client",
        Some(AttemptOutcome::NoReply) if client_seen => "the client's ClientHellos get no answer",
        Some(AttemptOutcome::NoReply) => "the gateway does not answer the ClientHellos",
        Some(AttemptOutcome::Refused(..)) => "its UDP packets are refused",
        Some(AttemptOutcome::StalledAfterHelloVerify) => "the handshake stalls after HelloVerifyRequest",
        Some(AttemptOutcome::StalledAfterServerHello) => "the handshake stalls after ServerHello",
        Some(AttemptOutcome::ClientDidNotFinish) => "the gateway answers, and the client does not go on",
        Some(AttemptOutcome::Alert(..)) => "an alert ends the handshake",
        _ => "its handshake does not complete",
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
