//! Whose session inner traffic is, where another answer is hardly less likely: then nobody knows.

use super::timing::{Client, Home, Rival};
use crate::maps::HashMap;
use std::collections::{BTreeMap, BTreeSet};

/// Clients, and the sessions of which one is theirs.
pub(super) type Open = BTreeMap<usize, BTreeSet<usize>>;

/// An answer that is less likely than this is no rival of the likeliest, 1 to 150: a negative logarithm.
const DOUBT: f32 = 5.0;

/// Clients whose home could as well be another one: one that is free, one whose client would then be at home here, or one that
/// somebody without a home may have.
pub(super) fn open(
    rivals: &[Rival],
    clients: &[Client],
    homes: &[Option<Home>],
    is_given: impl Fn(usize) -> bool,
) -> Open {
    let family = |client: usize| clients.get(client).map_or(0, Client::family);
    let home = |client: usize| homes.get(client).copied().flatten();
    let mut fits: HashMap<(u32, u32), f32> = HashMap::default();
    fits.extend(rivals.iter().map(|rival| ((rival.session, rival.client), rival.fit())));
    let fit = |client: usize, session: usize| fits.get(&(session as u32, client as u32)).copied();
    let mut holders: HashMap<(usize, usize), usize> = HashMap::default();
    for client in 0..clients.len() {
        holders.extend(home(client).map(|home| ((home.session, family(client)), client)));
    }
    let mut open = Open::new();
    for rival in rivals {
        let (client, session) = (rival.client as usize, rival.session as usize);
        if is_given(client) {
            continue;
        }
        let holder = holders.get(&(session, family(client))).copied();
        if holder.is_some_and(&is_given) {
            continue;
        }
        let mut note = |client: usize, sessions: &[usize]| open.entry(client).or_default().extend(sessions);
        match (home(client), holder) {
            (Some(home), _) if home.session == session => {}
            (Some(home), None) => {
                if fit(client, home.session).unwrap_or(0.0) - rival.fit() < DOUBT {
                    note(client, &[home.session, session]);
                }
            }
            (Some(home), Some(other)) => {
                let Some(changed) = fit(other, home.session).map(|fit| fit + rival.fit()) else { continue };
                let now = fit(client, home.session).unwrap_or(0.0) + fit(other, session).unwrap_or(0.0);
                if now - changed < DOUBT {
                    note(client, &[home.session, session]);
                    note(other, &[home.session, session]);
                }
            }
            (None, Some(other)) => {
                if rival.may_be_home && fit(other, session).unwrap_or(0.0) - rival.fit() < DOUBT {
                    note(client, &[session]);
                    note(other, &[session]);
                }
            }
            (None, None) => {}
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::timing::tests::client;

    /// Of clients at home in the session of their own number, or nowhere, those that are open; given how well each fits each session.
    fn found(fits: &[&[Option<f32>]], homes: &[bool], given: &[usize]) -> Vec<(usize, Vec<usize>)> {
        let mut rivals = Vec::new();
        for (client, fits) in (0..).zip(fits) {
            let fits = (0..).zip(*fits).filter_map(|(session, fit)| Some((session, (*fit)?)));
            rivals.extend(fits.map(|(session, fit)| Rival::of(session, client, fit)));
        }
        let clients: Vec<Client> =
            (0..).zip(fits).map(|(n, _)| client([10, 9, 0, n], u32::from(n), &[1.0], 9)).collect();
        let home = |(session, is_there): (usize, &bool)| {
            is_there.then_some(Home { session, guessed: None, is_certain: false })
        };
        let homes: Vec<Option<Home>> = homes.iter().enumerate().map(home).collect();
        let open = open(&rivals, &clients, &homes, |client| given.contains(&client));
        open.into_iter().map(|(client, sessions)| (client, sessions.into_iter().collect())).collect()
    }

    #[test]
    fn who_could_as_well_be_elsewhere_is_at_home_nowhere() {
        let clear: &[&[Option<f32>]] = &[&[Some(20.0), Some(3.0)], &[Some(4.0), Some(9.0)]];
        assert_eq!(found(clear, &[true, true], &[]), []);
        let alike: &[&[Option<f32>]] = &[&[Some(20.0), Some(18.0)], &[Some(19.0), Some(18.0)]];
        assert_eq!(found(alike, &[true, true], &[]), [(0, vec![0, 1]), (1, vec![0, 1])]);
        assert_eq!(found(alike, &[true, true], &[1]), [], "keys tell of one, hence of the other");
        let one_fits_one: &[&[Option<f32>]] = &[&[Some(20.0), Some(18.0)], &[None, Some(18.0)]];
        assert_eq!(found(one_fits_one, &[true, true], &[]), [], "they cannot change places");
        let one_is_free: &[&[Option<f32>]] = &[&[Some(20.0), Some(18.0)]];
        assert_eq!(found(one_is_free, &[true], &[]), [(0, vec![0, 1])]);
        let two_for_one: &[&[Option<f32>]] = &[&[Some(20.0)], &[Some(18.0)]];
        assert_eq!(found(two_for_one, &[true, false], &[]), [(0, vec![0]), (1, vec![0])]);
    }
}
