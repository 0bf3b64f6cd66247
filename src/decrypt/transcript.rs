//! The handshake messages in the clear, kept where a secret follows from them: an RSA or PSK key exchange, with or without
//! the extended master secret (RFC 7627 §3).

use super::hash::Hash;
use super::keyring::{Random, master, psk_premaster};
use super::{Keyring, Secret, Side};
use crate::tls::{HandshakeType, SessionId};

/// Bytes kept each way: certificate chains included.
const MAX_HELD: usize = 64 * 1024;

/// Messages with their headers, one after the other, each way.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    held: [Vec<u8>; 2],
    full: bool,
}

impl Transcript {
    /// Bytes of handshake messages, or pieces of them, in order.
    pub(super) fn add(&mut self, side: Side, bytes: &[u8]) {
        let held = side.of_mut(&mut self.held);
        self.full |= held.len() + bytes.len() > MAX_HELD;
        if !self.full {
            held.extend_from_slice(bytes);
        }
    }

    /// Forgets what came before: a hello verified by cookie begins anew (RFC 6347 §4.2.1).
    pub(super) fn restart(&mut self) {
        *self = Transcript::default();
    }

    /// The master secrets that the client's key exchange gives, once it is complete.
    pub(super) fn masters(&self, of: &Exchange<'_>, keyring: &Keyring) -> Option<Vec<Secret>> {
        if self.full {
            return None;
        }
        let [client, server] = &self.held;
        let header = if of.is_datagram { 12 } else { 4 };
        let (from, to) = find(client, header, HandshakeType::CLIENT_KEY_EXCHANGE)?;
        let body = client.get(from + header..to)?;
        let hello_end = find(client, header, HandshakeType::CLIENT_HELLO)?.1;
        // ClientHello; the server's flight; what of the client's second flight came to its key exchange.
        let pieces = [client.get(..hello_end)?, server.as_slice(), client.get(hello_end..to)?];
        let session_hash = of.extended.then(|| of.hash.digest(&pieces));
        let premasters = match keyring.psk(&of.id).filter(|_| of.is_datagram) {
            Some(psk) => vec![psk_premaster(psk)],
            None => keyring.premaster(strip_length(body)),
        };
        let of_premaster = |premaster| master(of.hash, premaster, of.randoms, session_hash.as_deref());
        Some(premasters.iter().map(of_premaster).collect())
    }
}

/// What a key exchange hangs on.
pub(super) struct Exchange<'a> {
    pub(super) hash: Hash,
    pub(super) randoms: [&'a Random; 2],
    /// extended_master_secret was agreed.
    pub(super) extended: bool,
    /// The client's session id, which names the PSK.
    pub(super) id: SessionId,
    pub(super) is_datagram: bool,
}

/// Start and end of the first message of that type.
fn find(messages: &[u8], header: usize, wanted: HandshakeType) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        let &[kind, a, b, c] = messages.get(at..)?.first_chunk::<4>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let end = at + header + length;
        if kind == wanted.0 {
            return (end <= messages.len()).then_some((at, end));
        }
        at = end;
    }
}

/// The encrypted premaster secret behind its length, which SSL 3.0 did not write (RFC 5246 §7.4.7.1).
fn strip_length(body: &[u8]) -> &[u8] {
    match body.split_first_chunk::<2>() {
        Some((len, rest)) if usize::from(u16::from_be_bytes(*len)) == rest.len() => rest,
        _ => body,
    }
}
