//! What a capture point could have shown: the ground under everything that is said to be absent.

use super::Point;
use super::facts::View;
use crate::event::{PointId, Protocol};
use std::collections::BTreeMap;

/// Something whose absence is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// ICMP errors.
    Icmp,
    /// UDP with that port at the gateway.
    Udp(u16),
}

/// Why that point may have missed it; `None` when it would have shown. It would have come `times` times, seconds apart:
/// a capture that drops few frames does not drop all of them. ICMP comes at once with the load that makes a capture drop.
pub fn hides(point: &Point, sight: Sight, times: u32) -> Option<String> {
    let name = &point.name;
    if point.one_way {
        return Some(only_one_way(point));
    }
    if let Some(dropped) = point.interface.dropped.filter(|n| *n > 0) {
        /// So unlikely is a loss of all of them that nobody need think of it.
        const NEVER: f64 = 0.001;
        let share = dropped as f64 / (point.frames.saturating_add(dropped)) as f64;
        if sight == Sight::Icmp || share.powf(f64::from(times)) > NEVER {
            return Some(format!("the capture on {name} dropped {dropped} frames"));
        }
    }
    let what = match sight {
        Sight::Icmp => "ICMP",
        Sight::Udp(_) => "UDP",
    };
    if let Some(filter) = point.interface.filter.as_deref().filter(|filter| !passes(filter, sight)) {
        let seen = sight == Sight::Icmp && point.saw_icmp;
        return (!seen).then(|| format!("the capture filter on {name} (`{filter}`) keeps {what} out"));
    }
    if matches!(sight, Sight::Udp(_)) {
        let unknown = !point.tells_filter && !point.saw_udp;
        if unknown {
            return Some(format!("{name} shows no UDP at all, and its file does not tell the capture filter"));
        }
        /// A frame of Ethernet, IPv6 and UDP with the DTLS headers and a hello's random fits into so many bytes.
        const READABLE: u32 = 160;
        if point.cut > 0 && (1..READABLE).contains(&point.interface.snap_len) {
            return Some(format!("frames on {name} are cut to {} bytes", point.interface.snap_len));
        }
    }
    None
}

/// Why a point that saw one direction cannot tell.
pub fn only_one_way(point: &Point) -> String {
    format!("{} shows only one direction of the traffic", point.name)
}

/// Does a capture filter in libpcap's language let it pass? Read branch by branch, without the parentheses.
fn passes(filter: &str, sight: Sight) -> bool {
    let filter = filter.to_ascii_lowercase().replace("||", " or ").replace("&&", " and ").replace('!', " not ");
    let words: Vec<&str> =
        filter.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|w| !w.is_empty()).collect();
    words.is_empty() || words.split(|word| *word == "or").any(|branch| branch_passes(branch, sight))
}

/// One branch: primitives that all must hold, each with its qualifiers (`udp dst port 443`) and perhaps a `not`.
fn branch_passes(words: &[&str], sight: Sight) -> bool {
    const PROTOCOLS: [&str; 6] = ["tcp", "udp", "icmp", "icmp6", "arp", "esp"];
    let mine = |word: &str| match sight {
        Sight::Icmp => word.starts_with("icmp"),
        Sight::Udp(_) => word == "udp",
    };
    let mut rest = words.iter().copied().peekable();
    let mut negated = false;
    while let Some(word) = rest.next() {
        let passes = match word {
            "not" => {
                negated = !negated;
                continue;
            }
            "port" => {
                let number = rest.next().unwrap_or_default();
                matches!(sight, Sight::Udp(wanted) if is_port(number, wanted))
            }
            "host" | "net" | "proto" | "gateway" | "vlan" => {
                negated = false;
                continue;
            }
            "portrange" => sight != Sight::Icmp,
            word if PROTOCOLS.contains(&word) => {
                let qualifies = rest.peek().is_some_and(|next| matches!(*next, "src" | "dst" | "port" | "portrange"));
                match (qualifies, mine(word)) {
                    // `udp port …`: the port tells.
                    (true, true) => continue,
                    // `tcp port …`: whatever the port, only TCP is meant.
                    (true, false) => {
                        while rest.next_if(|next| matches!(*next, "src" | "dst")).is_some() {}
                        rest.next();
                        rest.next();
                        false
                    }
                    (false, mine) => mine,
                }
            }
            _ => continue,
        };
        if passes == negated {
            return false;
        }
        negated = false;
    }
    true
}

fn is_port(word: &str, wanted: u16) -> bool {
    match word {
        "https" => wanted == 443,
        "http" => wanted == 80,
        number => number.parse() == Ok(wanted),
    }
}

/// Settles which points saw only one direction: TCP that speaks at length and never answers does not exist.
pub fn settle(points: &mut [Point], flows: &[View]) {
    /// Packets one way without any the other way.
    const AT_LENGTH: u64 = 6;
    let mut seen: BTreeMap<PointId, [bool; 2]> = BTreeMap::new();
    for flow in flows.iter().filter(|f| f.opened.protocol == Protocol::Tcp) {
        let [up, down] = flow.ended.packets;
        let [one, both] = seen.entry(flow.point).or_default();
        *one |= up.min(down) == 0 && up.max(down) >= AT_LENGTH;
        *both |= up.min(down) > 0;
    }
    for point in points {
        point.one_way = seen.get(&point.id) == Some(&[true, false]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_and_what_they_let_pass() {
        let udp = Sight::Udp(443);
        let rows = [
            ("", true, true),
            ("udp port 443", true, false),
            ("tcp port 443", false, false),
            ("port 443 or icmp", true, true),
            ("port 443", true, false),
            ("port 8443", false, false),
            ("tcp", false, false),
            ("host 10.0.0.1", true, true),
            ("host 10.0.0.1 and (tcp or icmp)", false, true),
            ("host 203.0.113.2 or icmp or icmp6", true, true),
            ("not port 22", true, true),
            ("not icmp", true, false),
            ("not (udp port 53) and ip", true, true),
            ("tcp port 443 || udp port 443 || icmp", true, true),
            ("tcp dst port 443", false, false),
            ("dst port 443", true, false),
            ("udp portrange 400-500", true, false),
            ("port https", true, false),
            ("ip proto 17", true, true),
        ];
        for (filter, shows_udp, shows_icmp) in rows {
            assert_eq!(passes(filter, udp), shows_udp, "UDP through `{filter}`");
            assert_eq!(passes(filter, Sight::Icmp), shows_icmp, "ICMP through `{filter}`");
        }
    }
}
