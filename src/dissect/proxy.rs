//! HTTP CONNECT in front of the TLS (RFC 9110 §9.3.6): a client behind a web proxy.
//!
//! Promises: the host and port asked for; the bytes behind the HTTP, untouched; at most [`MAX_HEAD`] bytes held each way.
//! Refuses: to keep any other header: one of them holds the proxy's password.

use crate::event::Direction;

/// Bytes of one HTTP head; more is no CONNECT anybody sends.
const MAX_HEAD: usize = 16 * 1024;
/// Bytes of `host:port` kept (RFC 1035 §2.3.4 allows 255 in a name).
const MAX_TARGET: usize = 262;

const METHOD: &[u8] = b"CONNECT ";
const STATUS: &[u8] = b"HTTP/1.";

/// The HTTP of one connection, both ways.
#[derive(Debug)]
pub(super) struct Connect {
    ways: [Way; 2],
}

#[derive(Debug)]
enum Way {
    /// Between two heads: another one follows, or what was asked for.
    Between,
    Head(Vec<u8>),
    /// Bytes of a refusal's page still to come.
    Body(u64),
    /// HTTP is over.
    Through,
}

impl Connect {
    /// When these first bytes to the server ask for a tunnel.
    pub(super) fn begins(bytes: &[u8]) -> Option<Connect> {
        bytes.starts_with(METHOD).then_some(Connect { ways: [Way::Between, Way::Between] })
    }

    /// What of these bytes is no HTTP any more; `target` gets host and port of a CONNECT that is complete.
    pub(super) fn strip<'a>(
        &mut self,
        direction: Direction,
        bytes: &'a [u8],
        target: &mut impl FnMut(String),
    ) -> &'a [u8] {
        let way = direction.of_mut(&mut self.ways);
        let opening = if direction == Direction::ToServer { METHOD } else { STATUS };
        let mut rest = bytes;
        while !rest.is_empty() {
            match way {
                Way::Through => break,
                Way::Between if rest.starts_with(opening.get(..opening.len().min(rest.len())).unwrap_or_default()) => {
                    *way = Way::Head(Vec::new());
                }
                Way::Between => *way = Way::Through,
                Way::Body(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    rest = rest.get(here..).unwrap_or_default();
                    *left -= here as u64;
                    if *left == 0 {
                        *way = Way::Between;
                    }
                }
                Way::Head(held) => {
                    let before = held.len();
                    held.extend(rest.iter().take(MAX_HEAD.saturating_sub(before)));
                    let from = before.saturating_sub(3);
                    let end = held.get(from..).and_then(|new| new.windows(4).position(|w| w == b"\r\n\r\n"));
                    match end {
                        None if held.len() >= MAX_HEAD => *way = Way::Through,
                        None => return &[],
                        Some(end) => {
                            let end = from + end + 4;
                            held.truncate(end);
                            rest = rest.get(end - before..).unwrap_or_default();
                            *way = after(direction, held, target);
                        }
                    }
                }
            }
        }
        rest
    }

    /// Bytes are missing: nobody knows where the HTTP ends.
    pub(super) fn missing(&mut self, direction: Direction) {
        *direction.of_mut(&mut self.ways) = Way::Through;
    }
}

/// What follows a complete head.
fn after(direction: Direction, head: &[u8], target: &mut impl FnMut(String)) -> Way {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let second = first.split(' ').nth(1).unwrap_or_default();
    if direction == Direction::ToServer {
        target(second.chars().take(MAX_TARGET).collect());
        return Way::Between;
    }
    if second.starts_with('2') {
        // RFC 9110 §9.3.6: a success has no content.
        return Way::Through;
    }
    let length =
        lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match length.and_then(|(_, value)| value.trim().parse::<u64>().ok()) {
        Some(length @ 1..) => Way::Body(length),
        _ => Way::Between,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use Direction::{ToClient, ToServer};
    use proptest::prelude::*;

    const ASK: &[u8] = b"CONNECT vpn.example.com:443 HTTP/1.1\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n";

    fn all(connect: &mut Connect, direction: Direction, pieces: &[&[u8]]) -> (Vec<u8>, Vec<String>) {
        let mut targets = Vec::new();
        let mut rest = Vec::new();
        for piece in pieces {
            rest.extend(connect.strip(direction, piece, &mut |target| targets.push(target)));
        }
        (rest, targets)
    }

    #[test]
    fn tls_follows_the_answer() {
        let mut connect = Connect::begins(ASK).unwrap();
        assert_eq!(all(&mut connect, ToServer, &[ASK]), (vec![], vec!["vpn.example.com:443".to_owned()]));
        let (rest, _) = all(&mut connect, ToClient, &[b"HTTP/1.1 200 Connection established\r\n\r\n\x16\x03"]);
        assert_eq!(rest, b"\x16\x03");
        assert_eq!(all(&mut connect, ToServer, &[b"\x16\x03\x01"]).0, b"\x16\x03\x01");
        assert_eq!(all(&mut connect, ToServer, &[b"CONNECT "]).0, b"CONNECT ", "HTTP is over");
    }

    #[test]
    fn a_refusal_with_a_page_is_followed_by_another_try() {
        let mut connect = Connect::begins(ASK).unwrap();
        let (rest, _) = all(
            &mut connect,
            ToClient,
            &[
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 6\r\n\r\n<html",
                b">HTTP/1.0 200 OK\r\n\r\nTLS",
            ],
        );
        assert_eq!(rest, b"TLS");
        let (rest, targets) = all(&mut connect, ToServer, &[ASK, ASK, b"TLS"]);
        assert_eq!((rest.as_slice(), targets.len()), (&b"TLS"[..], 2));
    }

    #[test]
    fn other_protocols_and_endless_heads_are_not_taken_for_it() {
        assert!(Connect::begins(b"\x16\x03\x01").is_none() && Connect::begins(b"CONNECTED").is_none());
        let mut connect = Connect::begins(ASK).unwrap();
        all(&mut connect, ToServer, &[&[b"CONNECT ", &[b'a'; 2 * MAX_HEAD][..]].concat()]);
        assert_eq!(all(&mut connect, ToServer, &[b"x"]).0, b"x");
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(cuts in proptest::collection::vec(1usize..20, 0..20), tail in proptest::collection::vec(any::<u8>(), 1..9)) {
            let tail = [&[0x16][..], &tail].concat();
            let bytes = [ASK, ASK, &tail].concat();
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            // The first piece must show what it is.
            for cut in [8].into_iter().chain(cuts) {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            let mut connect = Connect::begins(pieces[0]).unwrap();
            let (rest, targets) = all(&mut connect, ToServer, &pieces);
            prop_assert_eq!(rest, tail);
            prop_assert_eq!(targets.len(), 2);
        }

        #[test]
        fn any_bytes_are_survived(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut connect = Connect::begins(ASK).unwrap();
            for direction in [ToServer, ToClient] {
                for piece in &pieces {
                    prop_assert!(connect.strip(direction, piece, &mut |_| ()).len() <= piece.len());
                }
            }
        }
    }
}
