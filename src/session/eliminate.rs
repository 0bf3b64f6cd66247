//! Whose session inner traffic is, told by who else it could be.

use super::timing::{Client, Home};
use super::{Entry, Session};
use crate::event::Timestamp;
use std::collections::BTreeMap;

/// Seconds that clocks and the ends of sessions may be off.
pub(super) const SLACK: f64 = 2.0;

/// Gives clients to the only session that is left for them.
pub(super) fn eliminate(
    sessions: &[Entry],
    clients: &[Client],
    may_be: impl Fn(usize, usize) -> bool,
    homes: &mut [Option<Home>],
    taken: &mut [[bool; 2]],
) {
    /// Each time round some that were one of two may have become the only one.
    const ROUNDS: usize = 4;
    for family in [0, 1] {
        for _ in 0..ROUNDS {
            let free = sessions.iter().zip(&*taken).enumerate();
            let free = free.filter(|(_, (_, taken))| taken.get(family) == Some(&false)).map(|(i, (s, _))| (i, &**s));
            let left = Left::of(free);
            let mut found = false;
            let mut alone: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (i, client) in clients.iter().enumerate().filter(|(_, client)| client.family() == family) {
                let only = homes.get(i).filter(|home| home.is_none()).and_then(|_| left.only(client.span()));
                only.into_iter().for_each(|only| alone.entry(only).or_default().push(i));
            }
            for (only, clients) in alone {
                // Of two for whom one session is left it cannot be both's, and may be neither's.
                let is_clear = clients.len() == 1 || sessions.len() == 1;
                let Some(client) = clients.into_iter().find(|client| is_clear && may_be(*client, only)) else {
                    continue;
                };
                let Some(taken) = taken.get_mut(only).and_then(|taken| taken.get_mut(family)) else { continue };
                if let Some(home) = homes.get_mut(client).filter(|_| !*taken) {
                    (*taken, found) = (true, true);
                    let guessed = Some("by elimination, not by its timing");
                    *home = Some(Home { session: only, guessed, is_certain: false });
                }
            }
            if !found {
                break;
            }
        }
    }
}

/// When sessions were, of which it is asked which one alone was at some time.
struct Left {
    /// In order.
    starts: Vec<Timestamp>,
    /// In order.
    ends: Vec<Timestamp>,
    /// The session that ends last of all that began by then, in order of their starts.
    latest: Vec<(Timestamp, usize)>,
}

impl Left {
    /// Of sessions in order of start.
    fn of<'a>(sessions: impl Iterator<Item = (usize, &'a Session)>) -> Left {
        let mut left = Left { starts: Vec::new(), ends: Vec::new(), latest: Vec::new() };
        for (index, session) in sessions {
            let end = session.end.plus_seconds(SLACK);
            left.starts.push(session.start.plus_seconds(-SLACK));
            left.ends.push(end);
            left.latest.push(left.latest.last().copied().filter(|(known, _)| *known >= end).unwrap_or((end, index)));
        }
        left.ends.sort_unstable();
        left
    }

    /// The only one then.
    fn only(&self, (first, last): (Timestamp, Timestamp)) -> Option<usize> {
        let begun = self.starts.partition_point(|start| *start <= last);
        let over = self.ends.partition_point(|end| *end < first);
        if begun.checked_sub(over) != Some(1) {
            return None;
        }
        Some(self.latest.get(begun - 1)?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Proof;
    use crate::session::timing::tests::{at, client};
    use std::net::IpAddr;

    #[test]
    fn who_is_left_gets_the_only_session_left_if_it_may_be_its_own() {
        let span = |id: u8, from: f64, until: f64| {
            let outer = IpAddr::from([192, 0, 2, id]);
            Box::new(Session {
                start: at(from),
                end: at(until),
                ..Session::new(outer, None, 443, Proof::LateDtls { has_tls: true })
            })
        };
        let sessions = [span(1, 0.0, 500.0), span(2, 100.0, 200.0), span(3, 600.0, 900.0)];
        let left = |n: u8, from: f64, until: f64| client([10, 9, 0, n], 100 + u32::from(n), &[from, until], 30);
        let found = |clients: &[Client], may_be: &dyn Fn(usize) -> bool| {
            let (mut homes, mut taken) = (vec![None; clients.len()], vec![[false; 2]; sessions.len()]);
            eliminate(&sessions, clients, |_, session| may_be(session), &mut homes, &mut taken);
            homes.into_iter().map(|home| home.map(|home| home.session)).collect::<Vec<_>>()
        };
        assert_eq!(found(&[left(1, 110.0, 190.0)], &|_| true), [None], "two sessions then");
        assert_eq!(found(&[left(1, 300.0, 400.0), left(2, 110.0, 190.0)], &|_| true), [Some(0), Some(1)]);
        assert_eq!(found(&[left(1, 110.0, 190.0), left(2, 300.0, 400.0)], &|_| true), [Some(1), Some(0)]);
        assert_eq!(found(&[left(1, 700.0, 800.0), left(2, 700.0, 800.0)], &|_| true), [None, None], "two for one");
        assert_eq!(found(&[left(1, 700.0, 800.0), left(2, 520.0, 590.0)], &|session| session != 2), [None, None]);
    }
}
