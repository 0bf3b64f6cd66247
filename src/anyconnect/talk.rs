//! A TLS connection's plaintext, both ways: HTTP until CONNECT is answered, CSTP from there on.

use super::cstp::{PacketKind, PacketReader};
use super::http::{Head, HeadReader, token_in_body};
use super::parameters::{Token, TunnelAnswer, TunnelRequest};

/// Something said.
#[derive(Debug)]
pub enum Said<'a> {
    /// A request of the login, or CONNECT.
    Request(Box<TunnelRequest>),
    /// An answer.
    Answer(Box<TunnelAnswer>),
    /// The token of the session, in an answer's body.
    Token(Token),
    /// A CSTP packet.
    Packet(PacketKind, &'a [u8]),
}

/// Both directions of one connection, the client's first.
#[derive(Debug, Default)]
pub struct Talk {
    ways: [Way; 2],
    /// CONNECT was said and not answered yet.
    asked: bool,
}

#[derive(Debug)]
enum Way {
    Http(HeadReader),
    Cstp(PacketReader),
}

impl Default for Way {
    fn default() -> Way {
        Way::Http(HeadReader::default())
    }
}

impl Talk {
    /// The next plaintext of one direction, a record at a time.
    pub fn push(&mut self, from_client: bool, plain: &[u8], sink: &mut impl FnMut(Said<'_>)) {
        let [client, server] = &mut self.ways;
        let way = if from_client { client } else { server };
        let mut rest = plain;
        while let Way::Http(reader) = way {
            if rest.is_empty() {
                return;
            }
            if rest.starts_with(b"STF\x01") {
                // Joined after CONNECT.
                *way = Way::Cstp(PacketReader::default());
                break;
            }
            match reader.push(rest) {
                Head::Unfinished => return,
                Head::None => {
                    let token = if from_client { None } else { token_in_body(rest) };
                    token.into_iter().for_each(|token| sink(Said::Token(token)));
                    return;
                }
                Head::Request(request, used) => {
                    rest = rest.get(used..).unwrap_or_default();
                    if request.is_connect {
                        self.asked = true;
                        *way = Way::Cstp(PacketReader::default());
                    }
                    sink(Said::Request(request));
                }
                Head::Answer(mut answer, used) => {
                    rest = rest.get(used..).unwrap_or_default();
                    answer.is_tunnel |= self.asked;
                    if answer.is_tunnel && answer.status == 200 {
                        *way = Way::Cstp(PacketReader::default());
                    }
                    self.asked = false;
                    sink(Said::Answer(answer));
                }
            }
        }
        if let Way::Cstp(reader) = way {
            reader.push(rest, &mut |kind, payload| sink(Said::Packet(kind, payload)));
        }
    }

    /// Records of that direction are missing.
    pub fn gap(&mut self, from_client: bool) {
        let [client, server] = &mut self.ways;
        match if from_client { client } else { server } {
            Way::Http(reader) => reader.gap(),
            Way::Cstp(reader) => reader.gap(),
        }
    }

    /// How often something else stood where a packet had to begin.
    pub fn misframed(&self) -> u32 {
        let of = |way: &Way| match way {
            Way::Cstp(reader) => reader.misframed(),
            Way::Http(_) => 0,
        };
        self.ways.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_login_to_tunnel() {
        let mut talk = Talk::default();
        let mut seen = Vec::new();
        let mut say = |client: bool, plain: &[u8]| {
            talk.push(client, plain, &mut |said| {
                seen.push(match said {
                    Said::Request(request) if request.is_connect => "connect".to_owned(),
                    Said::Request(_) => "request".to_owned(),
                    Said::Answer(answer) => format!("{} {:?}", answer.status, answer.cstp_mtu),
                    Said::Token(_) => "token".to_owned(),
                    Said::Packet(kind, payload) => format!("{kind:?} {}", payload.len()),
                });
            });
        };
        say(true, b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nxml");
        say(false, b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n");
        say(false, b"<session-token>abc</session-token>");
        say(true, b"CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\n\r\n");
        say(false, b"HTTP/1.1 200 CONNECTED\r\nX-CSTP-MTU: 1347\r\n\r\nSTF\x01\x00\x00\x03\x00");
        say(true, b"STF\x01\x00\x02\x00\x00ip");
        assert_eq!(seen, ["request", "200 None", "token", "connect", "200 Some(1347)", "DpdRequest 0", "Data 2"]);
        assert_eq!(talk.misframed(), 0);
    }

    #[test]
    fn a_refused_connect_leaves_no_tunnel() {
        let mut talk = Talk::default();
        let mut tunnels = 0;
        talk.push(true, b"CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\n\r\n", &mut |_| {});
        talk.push(false, b"HTTP/1.1 401 Unauthorized\r\n\r\n", &mut |said| {
            tunnels += u32::from(matches!(said, Said::Answer(answer) if answer.is_tunnel && answer.status == 401));
        });
        assert_eq!(tunnels, 1);
        assert!(matches!(talk.ways[1], Way::Http(_)));
    }
}
