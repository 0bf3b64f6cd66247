//! A session's story in one to three sentences, the verdict first.

use crate::finding::Case;
use crate::session::coverage::{Sight, hides};
use crate::session::stuck::{standstill, stuck_beside_passing};
use crate::session::{Connection, DtlsFlow, Session, TcpSeen};

/// Tells the story the faults make together, each with its clause; `headlines` in the order they are told. Without any, how things
/// stand, and what is `open`.
pub fn of(case: &Case<'_>, headlines: &[String], open: &[&str]) -> String {
    if !headlines.is_empty() {
        return sentence(&headlines.join("; "));
    }
    match healthy(case) {
        (state, Some(all_well)) if open.is_empty() => format!("{state}{all_well}"),
        (state, Some(_)) => format!("{state}. {}", sentence(&open.join("; "))),
        (state, None) => state.to_owned(),
    }
}

/// How things stand, and how that is said to be all.
fn healthy(case: &Case<'_>) -> (&'static str, Option<&'static str>) {
    const ALL_WELL: Option<&str> = Some(". Nothing wrong was seen.");
    const NOTHING_IN_IT: Option<&str> = Some(", in which nothing wrong was seen.");
    let session = case.session;
    let works = session.dtls.iter().any(|d| d.worked());
    let carries = session.dtls.iter().any(|d| d.worked() && d.carries());
    let tcp = case.tcp_seen();
    if tcp == TcpSeen::OnlyData && !works {
        return ("Of its TCP only segments with data were captured", NOTHING_IN_IT);
    }
    if case.one_way(true, true).is_some() || tcp == TcpSeen::OneWay && !works {
        return ("Only one direction of it was captured", NOTHING_IN_IT);
    }
    match (session.gateway, works) {
        (None, _) if standstill(session).is_some() => {
            ("Downloads stand still; whether the tunnel itself does, this capture cannot show.", None)
        }
        _ if stuck_beside_passing(session).is_some() => (
            "A transfer inside the tunnel got stuck, though packets as large got through beside it",
            Some(". Nothing else was seen to be wrong."),
        ),
        (None, _) => ("Inner traffic of this address flows", Some("; nothing got stuck.")),
        (_, true) if is_last_over_tls(session) => {
            ("DTLS carried the data of an earlier tunnel; the last one runs over TLS", ALL_WELL)
        }
        (_, true) if !carries => ("DTLS is up; no data was seen to go both ways over it", ALL_WELL),
        (_, true) if tcp == TcpSeen::OnlyData => {
            ("DTLS is up and carries the data; of TCP only segments with data were captured", ALL_WELL)
        }
        (_, true) if tcp == TcpSeen::OneWay => {
            ("DTLS is up and carries the data; of TCP only one direction was captured", ALL_WELL)
        }
        (_, true) => ("DTLS is up and carries the data", ALL_WELL),
        (_, false) if session.dtls.iter().any(DtlsFlow::is_half_seen) => {
            ("The client sends data over DTLS; the answers do not show in this capture", ALL_WELL)
        }
        (_, false) if session.connections.is_empty() => {
            ("Only its DTLS was captured", Some("; nothing wrong was seen in it."))
        }
        (_, false) if is_idle(session) && session.dtls.is_empty() && hides_udp(case) => {
            ("Only its TLS was captured, and that was idle; whether DTLS carries the data cannot be told", ALL_WELL)
        }
        (_, false) => ("The tunnel runs over TLS", ALL_WELL),
    }
}

/// Does the last tunnel carry its data over TLS, without any DTLS?
fn is_last_over_tls(session: &Session) -> bool {
    let Some(last) = session.tunnels().last() else { return false };
    is_busy(last) && !session.dtls_since(last).any(DtlsFlow::came_up)
}

/// Did no tunnel carry data over TLS?
fn is_idle(session: &Session) -> bool {
    !session.tunnels().any(is_busy)
}

/// Did that tunnel carry data over TLS, but for what its set-up and its goodbye take?
fn is_busy(tunnel: &Connection) -> bool {
    /// A goodbye takes no more records.
    const FEW: u32 = 3;
    let mut stretches = tunnel.best().tls.iter().flat_map(|tls| tls.activity.stretches.iter());
    stretches.any(|stretch| stretch.last > tunnel.set_up_until() && stretch.records.iter().sum::<u32>() > FEW)
}

/// Would UDP show at no point that saw its tunnel?
fn hides_udp(case: &Case<'_>) -> bool {
    let mut points = case.session.outer_views().filter_map(|view| case.point(view.point));
    points.all(|point| hides(point, Sight::Udp(case.session.port), 1).is_some())
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
