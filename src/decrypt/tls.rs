//! One TLS connection: from the hellos and the keyring to opened records, through renegotiation, key updates and holes.

use super::hash::Hash;
use super::keyring::{Random, Traffic};
use super::seal::{Header, Seal};
use super::suite::Algorithm;
use super::transcript::{Exchange, Transcript};
use super::{Counts, Keyring, Secret, Side};
use crate::tls::{CipherSuite, ClientHello, ContentType, ServerHello, SessionId, Version};
use std::ops::Range;

/// Record numbers tried where records may be missing from the capture.
const MOST_TRIED: u64 = 256;
/// Failures in a row after which a key counts as one that does not fit.
const PATIENCE: u32 = 64;
/// HelloRetryRequest is a ServerHello with this random (RFC 8446 §4.1.3).
const RETRY: Random = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Opens the records of one TLS connection.
#[derive(Debug, Default)]
pub struct TlsOpener {
    random: Random,
    /// Counts handshakes: keys of an earlier one say nothing of the current one's master secret.
    handshake: u32,
    /// Client and server both agreed to the extended master secret once the ServerHello is known.
    offers_extended: bool,
    agreed: Option<Agreed>,
    /// What the current handshake's keys may come from.
    masters: Vec<Secret>,
    /// Which one it was.
    master: Option<usize>,
    ways: [Way; 2],
    transcript: Option<Box<Transcript>>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug)]
struct Agreed {
    version: Version,
    suite: CipherSuite,
    algorithm: Algorithm,
    random: Random,
    encrypt_then_mac: bool,
    extended: bool,
    id: SessionId,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    /// What may open the next record: before TLS 1.3 the keys from each master secret that may be the one, in TLS 1.3 the keys
    /// to come one after the other.
    seals: Vec<Choice>,
    /// The same, from the next change_cipher_spec on.
    next: Vec<Choice>,
    /// change_cipher_spec was seen.
    is_sealed: bool,
    sequence: u64,
    /// Records before the next one may be missing.
    gap: bool,
    nonce: Option<u64>,
    failures: u32,
    /// TLS 1.3: the secret the last keys in the row came from, for the next key update.
    secret: Option<Secret>,
}

#[derive(Debug)]
struct Choice {
    seal: Seal,
    /// Index into the master secrets of that handshake.
    master: usize,
    handshake: u32,
}

impl TlsOpener {
    /// For a connection of which nothing was seen yet.
    pub fn new(keyring: &Keyring) -> TlsOpener {
        TlsOpener { transcript: keyring.has_rsa().then(Box::default), ..TlsOpener::default() }
    }

    /// A handshake begins: the first, or a renegotiation inside the connection.
    pub fn client_hello(&mut self, hello: &ClientHello) {
        self.random = hello.random.unwrap_or_default();
        self.offers_extended = hello.has_extension(23);
        self.agreed = None;
        self.handshake += 1;
    }

    /// The server's answer: are there keys, or can there still be?
    pub fn server_hello(&mut self, hello: &ServerHello, keyring: &Keyring) -> bool {
        let (Some(random), Some(suite)) = (hello.random, hello.cipher_suite) else { return false };
        let Some(algorithm) = Algorithm::of(suite, hello.version).filter(|_| hello.version != Version::SSL_3_0) else {
            return false;
        };
        let agreed = Agreed {
            version: hello.version,
            suite,
            algorithm,
            random,
            encrypt_then_mac: hello.encrypt_then_mac() && !algorithm.is_aead(),
            extended: hello.extended_master_secret() && self.offers_extended,
            id: hello.session_id,
        };
        self.agreed = Some(agreed);
        if hello.version.is_1_3() {
            return random == RETRY
                || keyring.traffic(&self.random).is_some_and(|traffic| self.follow(agreed, traffic));
        }
        let resumed = keyring.session_masters(&hello.session_id);
        self.masters = keyring.masters(&self.random).chain(resumed).cloned().collect();
        self.master = None;
        self.prepare(agreed);
        !self.masters.is_empty() || (keyring.has_rsa() && is_rsa_exchange(suite))
    }

    /// Bytes of handshake messages in the clear, for key exchanges that an RSA key opens.
    pub fn clear_handshake(&mut self, side: Side, bytes: &[u8], keyring: &Keyring) {
        let Some(transcript) = &mut self.transcript else { return };
        transcript.add(side, bytes);
        let Some(agreed) = self.agreed.filter(|agreed| side == Side::Client && is_rsa_exchange(agreed.suite)) else {
            return;
        };
        let exchange = Exchange {
            hash: agreed.algorithm.hash,
            randoms: [&self.random, &agreed.random],
            extended: agreed.extended,
            id: SessionId::default(),
            is_datagram: false,
        };
        if let Some(masters) = transcript.masters(&exchange, keyring) {
            self.masters.extend(masters);
            self.transcript = None;
            self.prepare(agreed);
        }
    }

    /// A renegotiation's messages; the first of them is the ClientHello.
    fn sealed_handshake(&mut self, side: Side, bytes: &[u8], keyring: &Keyring) {
        if !keyring.has_rsa() {
            return;
        }
        if side == Side::Client && bytes.first() == Some(&1) {
            self.transcript = Some(Box::default());
        }
        self.clear_handshake(side, bytes, keyring);
    }

    /// change_cipher_spec from that side. TLS 1.3 sends a sham one (RFC 8446 §D.4).
    pub fn change_cipher(&mut self, side: Side) {
        if self.agreed.is_some_and(|agreed| agreed.version.is_1_3()) {
            return;
        }
        let way = side.of_mut(&mut self.ways);
        way.seals = std::mem::take(&mut way.next);
        way.is_sealed = true;
        (way.sequence, way.gap, way.nonce) = (0, false, None);
    }

    /// Is a record of that type from that side sealed?
    pub fn is_sealed(&self, side: Side, content_type: ContentType) -> bool {
        match self.agreed {
            Some(agreed) if agreed.version.is_1_3() => content_type == ContentType::APPLICATION_DATA,
            _ => side.of(&self.ways).is_sealed,
        }
    }

    /// Records may be missing from here on.
    pub fn gap(&mut self, side: Side) {
        side.of_mut(&mut self.ways).gap = true;
    }

    /// A sealed record passed of which not all bytes were captured.
    pub fn skip(&mut self, side: Side, length: usize) {
        let way = side.of_mut(&mut self.ways);
        way.sequence += 1;
        way.seals.iter_mut().for_each(|choice| choice.seal.skip(length));
        self.fail();
    }

    /// Opens a sealed record into `out`: its true content type and where in `out` its content is.
    pub fn open(
        &mut self,
        side: Side,
        content_type: ContentType,
        version: Version,
        fragment: &[u8],
        out: &mut Vec<u8>,
        keyring: &mut Keyring,
    ) -> Option<(ContentType, Range<usize>)> {
        let is_1_3 = self.agreed.is_some_and(|agreed| agreed.version.is_1_3());
        let hash = self.agreed.map_or(Hash::Sha256, |agreed| agreed.algorithm.hash);
        let way = side.of_mut(&mut self.ways);
        if way.failures >= PATIENCE {
            self.fail();
            return None;
        }
        let record = Header { sequence: 0, content_type, version: version.0 };
        let opened = if is_1_3 { way.open_next(record, fragment, out) } else { way.open_any(record, fragment, out) };
        let opened = match opened {
            None if is_1_3 => self.agreed.and_then(|agreed| {
                side.of_mut(&mut self.ways).update_key(agreed.algorithm, hash, record, fragment, out)
            }),
            opened => opened,
        };
        let way = side.of_mut(&mut self.ways);
        let Some((kind, range)) = opened else {
            way.sequence += 1;
            way.failures += 1;
            self.fail();
            return None;
        };
        way.failures = 0;
        self.counts.opened += 1;
        if kind == ContentType::HANDSHAKE && !is_1_3 {
            self.sealed_handshake(side, out.get(range.clone()).unwrap_or_default(), keyring);
        }
        if is_1_3 {
            keyring.note_tls13(&self.random);
        } else {
            self.fits(side, keyring);
        }
        Some((kind, range))
    }

    /// The master secret that fitted is the one of both directions, and of connections that resume this one.
    fn fits(&mut self, side: Side, keyring: &mut Keyring) {
        let fitting = side.of(&self.ways).seals.first().filter(|choice| choice.handshake == self.handshake);
        let Some(master) = fitting.map(|choice| choice.master).filter(|_| self.master.is_none()) else { return };
        self.master = Some(master);
        if let (Some(secret), Some(agreed)) = (self.masters.get(master), self.agreed) {
            keyring.note_tls12(&self.random, secret);
            keyring.learn_session(agreed.id, secret);
        }
        for way in &mut self.ways {
            let other = |choice: &Choice| choice.handshake == self.handshake && choice.master != master;
            way.seals.retain(|choice| !other(choice));
            way.next.retain(|choice| !other(choice));
        }
    }

    /// Keys from each master secret that may be the one (RFC 5246 §6.3).
    fn prepare(&mut self, agreed: Agreed) {
        let mut next: [Vec<Choice>; 2] = [Vec::new(), Vec::new()];
        for (master, secret) in self.masters.iter().enumerate() {
            let Some([client, server]) = classic_seals(
                agreed.algorithm,
                agreed.version,
                agreed.encrypt_then_mac,
                secret,
                [&self.random, &agreed.random],
            ) else {
                continue;
            };
            let handshake = self.handshake;
            next[0].push(Choice { seal: client, master, handshake });
            next[1].push(Choice { seal: server, master, handshake });
        }
        for (way, next) in self.ways.iter_mut().zip(next) {
            // The key exchange was opened late: its change_cipher_spec is past.
            if way.is_sealed && way.seals.is_empty() {
                way.seals = next;
            } else {
                way.next = next;
            }
        }
    }

    /// TLS 1.3: the keys to come, in order.
    fn follow(&mut self, agreed: Agreed, traffic: &Traffic) -> bool {
        let mut any = false;
        for (index, side) in Side::BOTH.into_iter().enumerate() {
            let early = if side == Side::Client { traffic.early.as_ref() } else { None };
            let later = [&traffic.handshake, &traffic.application].map(|pair| pair.get(index).and_then(Option::as_ref));
            let secrets: Vec<&Secret> = early.into_iter().chain(later.into_iter().flatten()).collect();
            let way = side.of_mut(&mut self.ways);
            way.secret = traffic.application.get(index).cloned().flatten();
            way.seals = secrets
                .iter()
                .filter_map(|secret| {
                    Some(Choice { seal: Seal::traffic(agreed.algorithm, secret)?, master: 0, handshake: 0 })
                })
                .collect();
            any |= !way.seals.is_empty();
        }
        any
    }

    /// Keying material for another use: `label` without context (RFC 5705 §4, RFC 8446 §7.5).
    pub fn export(&self, label: &str, len: usize, keyring: &Keyring) -> Option<Vec<u8>> {
        let agreed = self.agreed?;
        let hash = agreed.algorithm.hash;
        if !agreed.version.is_1_3() {
            let master = self.masters.get(self.master?)?;
            return Some(hash.prf_secret(&master.0, label, &[&self.random, &agreed.random], len).0.to_vec());
        }
        let exporter = keyring.traffic(&self.random)?.exporter.as_ref()?;
        let empty = hash.digest(&[]);
        let secret = hash.expand_label(&exporter.0, label, &empty, empty.len())?;
        Some(hash.expand_label(&secret.0, "exporter", &empty, len)?.0.to_vec())
    }

    /// A record stays closed, which is worth counting only where there are keys.
    fn fail(&mut self) {
        let has_keys = self.counts.opened > 0 || self.ways.iter().any(|way| !way.seals.is_empty());
        self.counts.failed += u64::from(has_keys);
    }

    /// What became of the sealed records.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

impl Way {
    /// Before TLS 1.3: any of the keys, at the next number or, after a hole, at one of those that follow.
    fn open_any(&mut self, record: Header, fragment: &[u8], out: &mut Vec<u8>) -> Option<(ContentType, Range<usize>)> {
        let nonce = self.seals.first().and_then(|choice| choice.seal.explicit_nonce(fragment));
        let hinted = match (self.gap, self.nonce, nonce) {
            // Its maker counts: so many records are missing.
            (true, Some(last), Some(now)) => Some(self.sequence.wrapping_add(now.wrapping_sub(last).wrapping_sub(1))),
            _ => None,
        };
        for at in 0..self.seals.len() {
            let Some(choice) = self.seals.get_mut(at) else { break };
            let tried = if self.gap && !choice.seal.is_chained() { MOST_TRIED } else { 1 };
            let numbers = hinted.into_iter().chain((0..tried).map(|more| self.sequence + more));
            for sequence in numbers {
                if let Some(opened) = choice.seal.open(&Header { sequence, ..record }, fragment, out) {
                    self.seals.swap(0, at);
                    self.seals.truncate(1);
                    self.proceed(sequence, nonce);
                    return Some(opened);
                }
            }
        }
        None
    }

    /// TLS 1.3: the keys in use, else those that come after them, from number 0.
    fn open_next(&mut self, record: Header, fragment: &[u8], out: &mut Vec<u8>) -> Option<(ContentType, Range<usize>)> {
        let tried = if self.gap { MOST_TRIED } else { 1 };
        let current = self.seals.first_mut()?;
        for sequence in (0..tried).map(|more| self.sequence + more) {
            if let Some(opened) = current.seal.open(&Header { sequence, ..record }, fragment, out) {
                self.proceed(sequence, None);
                return Some(opened);
            }
        }
        for at in 1..self.seals.len() {
            for sequence in 0..tried {
                let choice = self.seals.get_mut(at)?;
                if let Some(opened) = choice.seal.open(&Header { sequence, ..record }, fragment, out) {
                    self.seals.drain(..at);
                    self.proceed(sequence, None);
                    return Some(opened);
                }
            }
        }
        None
    }

    /// TLS 1.3: the keys of the next update (RFC 8446 §7.2).
    fn update_key(
        &mut self,
        algorithm: Algorithm,
        hash: Hash,
        record: Header,
        fragment: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<(ContentType, Range<usize>)> {
        if self.seals.len() != 1 || self.failures > 1 {
            return None;
        }
        let secret = self.secret.as_ref()?;
        let next = hash.expand_label(&secret.0, "traffic upd", &[], secret.0.len())?;
        let mut seal = Seal::traffic(algorithm, &next)?;
        let opened = seal.open(&Header { sequence: 0, ..record }, fragment, out)?;
        self.secret = Some(next);
        self.seals = vec![Choice { seal, master: 0, handshake: 0 }];
        self.proceed(0, None);
        Some(opened)
    }

    fn proceed(&mut self, sequence: u64, nonce: Option<u64>) {
        self.sequence = sequence + 1;
        self.gap = false;
        self.nonce = nonce;
    }
}

/// Both directions' keys out of a master secret.
pub(super) fn classic_seals(
    algorithm: Algorithm,
    version: Version,
    encrypt_then_mac: bool,
    master: &Secret,
    [client, server]: [&Random; 2],
) -> Option<[Seal; 2]> {
    let (mac, key, iv) = (algorithm.mac_key_len(), algorithm.key_len(), algorithm.iv_len());
    let mut block = vec![0; 2 * (mac + key + iv)];
    algorithm.hash.prf(&master.0, "key expansion", &[server, client], &mut block);
    let (macs, rest) = block.split_at_checked(2 * mac)?;
    let (keys, ivs) = rest.split_at_checked(2 * key)?;
    let is_chained = version == Version::TLS_1_0;
    let side = |at: usize| {
        let part = |of: &[u8], len: usize| of.get(at * len..(at + 1) * len).map(<[u8]>::to_vec);
        Seal::classic(algorithm, &part(macs, mac)?, &part(keys, key)?, &part(ivs, iv)?, encrypt_then_mac, is_chained)
    };
    Some([side(0)?, side(1)?])
}

/// `TLS_RSA_WITH_…`: the premaster secret is sent, encrypted to the server's key.
fn is_rsa_exchange(suite: CipherSuite) -> bool {
    suite.iana_name().is_some_and(|name| name.starts_with("TLS_RSA_WITH_"))
}
