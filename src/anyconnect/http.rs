//! HTTP heads out of the login's stream; bodies are passed over.

use super::parameters::{Token, TunnelAnswer, TunnelRequest};

/// Bytes of the longest head: a gateway with hundreds of split tunnels writes some 20 KB.
const MAX_HEAD: usize = 64 * 1024;
/// Header lines read of one head.
const MAX_HEADERS: usize = 1024;

/// One direction's head in the making.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    held: Vec<u8>,
}

/// What a record of the login brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Part of a head; more must come.
    Unfinished,
    /// No head begins here: a body, or not HTTP at all.
    None,
    Request(Box<TunnelRequest>, usize),
    Answer(Box<TunnelAnswer>, usize),
}

impl HeadReader {
    /// The next bytes; for a whole head it also says how many of these bytes belong to it.
    pub(super) fn push(&mut self, plain: &[u8]) -> Head {
        let before = self.held.len();
        if before == 0 && !begins(plain) {
            return Head::None;
        }
        self.held.extend_from_slice(plain.get(..MAX_HEAD.saturating_sub(before).min(plain.len())).unwrap_or_default());
        let from = before.saturating_sub(3);
        let end = self.held.get(from..).and_then(|new| new.windows(4).position(|four| four == b"\r\n\r\n"));
        let Some(end) = end.map(|at| from + at + 4) else {
            if self.held.len() >= MAX_HEAD {
                self.held = Vec::new();
                return Head::None;
            }
            return Head::Unfinished;
        };
        let mut held = std::mem::take(&mut self.held);
        held.truncate(end);
        let used = end.saturating_sub(before);
        match parse(&held) {
            Some(Parsed::Request(request)) => Head::Request(request, used),
            Some(Parsed::Answer(answer)) => Head::Answer(answer, used),
            None => Head::None,
        }
    }

    pub(super) fn gap(&mut self) {
        self.held.clear();
    }
}

/// The session token in an answer's body (`<session-token>`), hashed.
pub(super) fn token_in_body(plain: &[u8]) -> Option<Token> {
    const OPEN: &[u8] = b"<session-token>";
    let start = plain.windows(OPEN.len()).position(|words| words == OPEN)? + OPEN.len();
    let rest = plain.get(start..)?;
    Token::of(rest.get(..rest.iter().position(|byte| *byte == b'<')?)?)
}

fn begins(plain: &[u8]) -> bool {
    [&b"CONNECT "[..], b"POST ", b"GET ", b"HEAD ", b"HTTP/1."].iter().any(|word| plain.starts_with(word))
}

enum Parsed {
    Request(Box<TunnelRequest>),
    Answer(Box<TunnelAnswer>),
}

fn parse(head: &[u8]) -> Option<Parsed> {
    let mut headers = vec![httparse::EMPTY_HEADER; MAX_HEADERS];
    if head.starts_with(b"HTTP/") {
        let mut response = httparse::Response::new(&mut headers);
        // With more lines than are read the status, first of all, is there all the same.
        let _ = response.parse(head);
        let pairs = response.headers.iter().map(|header| (header.name, header.value));
        return Some(Parsed::Answer(Box::new(TunnelAnswer::read(response.code?, pairs))));
    }
    let mut request = httparse::Request::new(&mut headers);
    let _ = request.parse(head);
    let is_connect =
        request.method? == "CONNECT" && request.path.is_some_and(|path| path.starts_with("/CSCOSSLC/tunnel"));
    let pairs = request.headers.iter().map(|header| (header.name, header.value));
    Some(Parsed::Request(Box::new(TunnelRequest::read(is_connect, pairs))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn heads_in_any_pieces() {
        let head = b"CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nHost: x\r\nX-CSTP-MTU: 1399\r\n\r\nSTF";
        for cut in 8..head.len() - 3 {
            let mut reader = HeadReader::default();
            let (first, rest) = head.split_at(cut);
            match reader.push(first) {
                Head::Unfinished => {}
                Head::Request(_, used) => {
                    assert_eq!(used, head.len() - 3);
                    continue;
                }
                other => panic!("{cut}: {other:?}"),
            }
            let Head::Request(request, used) = reader.push(rest) else { panic!("{cut}: no request") };
            assert!(request.is_connect);
            assert_eq!((request.mtu, used), (Some(1399), rest.len() - 3));
        }
    }

    #[test]
    fn answers_and_what_is_none() {
        let mut reader = HeadReader::default();
        let Head::Answer(answer, _) = reader.push(b"HTTP/1.1 401 Unauthorized\r\nX-Reason: expired\r\n\r\n") else {
            panic!("no answer")
        };
        assert_eq!((answer.status, answer.reason.as_deref()), (401, Some("expired")));
        assert_eq!(reader.push(b"<config-auth>"), Head::None);
        assert_eq!(reader.push(&[0x80; 50]), Head::None);
        assert_eq!(token_in_body(b"<a><session-token>abc</session-token>"), Token::of(b"abc"));
        assert_eq!(token_in_body(b"<session-token>cut"), None);
    }

    #[test]
    fn hundreds_of_split_tunnels() {
        let lines: String =
            (0..700).map(|i| format!("X-CSTP-Split-Include: 10.{}.{}.0/24\r\n", i / 256, i % 256)).collect();
        let head = format!("HTTP/1.1 200 CONNECTED\r\n{lines}X-CSTP-MTU: 1400\r\n\r\n");
        let Head::Answer(answer, _) = HeadReader::default().push(head.as_bytes()) else { panic!("no answer") };
        assert_eq!(answer.cstp_mtu, Some(1400));
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let mut reader = HeadReader::default();
        reader.push(b"HTTP/1.1 200 OK\r\n");
        for _ in 0..100 {
            reader.push(&[b'a'; 1000]);
            assert!(reader.held.len() <= MAX_HEAD);
        }
        assert!(reader.held.is_empty());
    }
}
