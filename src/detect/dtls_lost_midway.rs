//! DTLS worked, then died, and the data went back to TLS.

use super::remedy;
use crate::event::{FrameRef, Timestamp, Vantage};
use crate::finding::{Case, Detector, Evidence, Filter, Finding, Grade, Outcome, Severity, count};
use crate::session::facts::Stretch;
use crate::session::{DtlsFlow, Session};

/// Records of data each way on TLS that count as "the data is back", beyond stray control records.
const BACK: u32 = 3;
/// Silence of DTLS before that, seconds.
const SILENT: f64 = 2.0;

const UNANSWERED: Grade = Grade::high("DTLS records of the client, or new ClientHellos, are seen to go unanswered");
const MOVED: Grade = Grade::medium("only the move of data back to TLS shows it");

pub static DETECTOR: Detector = Detector {
    id: "dtls-lost-midway",
    title: "DTLS worked, died, and the tunnel fell back to TLS",
    severity: Severity::High,
    judged_from: &[Vantage::Client, Vantage::Outside],
    leads_to: &["oversized-df", "missing-frag-needed", "frag-needed-ignored", "reconnect-for-mtu"],
    question: "whether DTLS dies while TLS lives on",
    explanation: "\
A DTLS tunnel that carried data both ways stops, while the TLS tunnel beside it lives on: DPD notices, and data records \
reappear on TLS. The adapter keeps the larger DTLS MTU until the client reconnects, so what note 116881 describes can begin in \
the middle of a session.

Found when, after the last DTLS record, the same session's TLS tunnel carries data records (not only keepalives) both ways, and \
no later DTLS flow comes up. A path that died altogether takes TLS with it and is not this.",
    confidence: &[UNANSWERED, MOVED],
    remedy: &[
        "look for a firewall or NAT that forgets idle UDP: lower the DTLS keepalive (`anyconnect ssl keepalive 20`) below its timeout",
        "see whether UDP to the gateway was blocked or shaped at that moment",
    ],
    references: &["Cisco TAC 116881", "Cisco TAC 116312 (DPD and keepalive)", "RFC 4787 §4.3 (UDP mapping timeouts)"],
    since: "0.1.0",
    check,
};

fn check(case: &Case<'_>) -> Outcome {
    let session = case.session;
    let worked: Vec<&DtlsFlow> = session.dtls.iter().filter(|d| d.worked()).collect();
    let Some(last) = worked.last() else {
        return Outcome::Clear("DTLS never came up in this capture, so it was not lost midway".to_owned());
    };
    let Some((answered, frame)) = last_answer(last) else {
        return Outcome::CannotTell("DTLS carried no data toward the client".to_owned(), None);
    };
    let ended = last_record(last).unwrap_or(answered);
    let Some(back) = data_back_on_tls(session, ended.min(answered.plus_seconds(SILENT)).max(answered)) else {
        return Outcome::Clear(format!(
            "DTLS carried data to the end; last record from the gateway in frame {}",
            frame.number
        ));
    };
    let up = |view: &crate::session::facts::FlowFacts| {
        view.dtls.as_ref().and_then(|d| d.last.first().copied().flatten()).map(|(at, _)| at)
    };
    let unanswered = last.views.iter().filter_map(up).any(|at| at.seconds_since(answered) >= SILENT);
    let retries: u32 =
        session.dtls.iter().filter(|d| d.start() > answered).flat_map(|d| d.attempts()).map(|(_, a)| a.hellos).sum();
    let mut summary = format!(
        "DTLS came up and carried data until {:.1} s into the session; {:.1} s later data was back on the TLS tunnel",
        answered.seconds_since(session.start),
        back.first.seconds_since(answered)
    );
    if unanswered {
        summary.push_str(". The client kept sending on DTLS and got no answer");
    }
    if retries > 0 {
        summary.push_str(&format!(
            ". {} to bring DTLS up again went unanswered",
            count(u64::from(retries), "ClientHello")
        ));
    }
    summary.push('.');
    let mut evidence = vec![
        Evidence::Frames(vec![frame], "last DTLS record from the gateway".to_owned()),
        Evidence::Frames(
            vec![back.frame],
            format!("data on TLS again: {} records to the gateway, {} to the client", back.records[0], back.records[1]),
        ),
    ];
    let hellos: Vec<FrameRef> = session
        .dtls
        .iter()
        .filter(|d| d.start() > answered)
        .flat_map(|d| d.attempts())
        .flat_map(|(_, a)| a.hello_frames.iter().map(|(f, _)| *f))
        .collect();
    if !hellos.is_empty() {
        evidence.push(Evidence::Frames(hellos, "ClientHellos of later attempts".to_owned()));
    }
    let best = last.best();
    Outcome::Found(Box::new(Finding {
        severity: Severity::High,
        grade: if unanswered || retries > 0 { UNANSWERED } else { MOVED },
        summary,
        evidence,
        filters: vec![Filter {
            filter: format!("udp.stream == {}", best.opened.stream),
            capture: best.opened.first_frame.capture,
            shows: "the DTLS tunnel that died".to_owned(),
            frames: None,
        }],
        remedy: vec![
            "find what blocked UDP to the gateway at that moment: a firewall rule, or a NAT that forgot the mapping"
                .to_owned(),
            "for a NAT that forgets idle UDP: keepalive below its timeout (`anyconnect ssl keepalive 20`)".to_owned(),
            remedy::MTU_1300.to_owned(),
        ],
        ..Finding::default()
    }))
}

/// The last DTLS data record from the gateway, wherever it was seen.
fn last_answer(flow: &DtlsFlow) -> Option<(Timestamp, FrameRef)> {
    flow.views.iter().filter_map(|v| v.dtls.as_ref()?.last.last().copied().flatten()).max()
}

fn last_record(flow: &DtlsFlow) -> Option<Timestamp> {
    flow.views.iter().filter_map(|v| v.dtls.as_ref()).flat_map(|d| d.last.iter().flatten()).map(|(at, _)| *at).max()
}

/// The first stretch of data on a TLS tunnel that was up while DTLS worked, after DTLS's last answer.
fn data_back_on_tls(session: &Session, after: Timestamp) -> Option<Stretch> {
    session
        .tunnels()
        .filter(|t| t.start() < after)
        .flat_map(|t| t.views.iter())
        .filter_map(|v| Some(&v.tls.as_ref()?.activity))
        .flat_map(|a| a.stretches.iter().copied())
        .filter(|s| s.first >= after && s.records.iter().all(|n| *n >= BACK))
        .min_by_key(|s| s.first)
}
