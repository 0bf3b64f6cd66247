//! One DTLS flow: keys by epoch, from the session a CONNECT named, a PSK, or the key log.

use super::keyring::Random;
use super::seal::{Header, Seal};
use super::suite::Algorithm;
use super::tls::classic_seals;
use super::transcript::{Exchange, Transcript};
use super::{Counts, Keyring, Secret, Side};
use crate::tls::{ClientHello, DtlsRecord, ServerHello, SessionId};
use std::ops::Range;

/// Epochs with keys kept at once: the current one, the next, and stragglers of the last.
const MAX_EPOCHS: usize = 3;
/// Failures in a row after which a key counts as one that does not fit.
const PATIENCE: u32 = 64;

/// Opens the records of one DTLS flow.
#[derive(Debug, Default)]
pub struct DtlsOpener {
    random: Random,
    id: SessionId,
    offers_extended: bool,
    agreed: Option<Agreed>,
    /// Of handshakes in the clear, while a PSK may be needed.
    transcript: Transcript,
    epochs: Vec<Epoch>,
    counts: Counts,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
struct Agreed {
    algorithm: Algorithm,
    random: Random,
    encrypt_then_mac: bool,
    extended: bool,
}

#[derive(Debug)]
struct Epoch {
    number: u16,
    /// Whose handshake it belongs to.
    random: Random,
    /// What may be its master secret, with both directions' keys; one after the first success.
    choices: Vec<(Secret, [Seal; 2])>,
    fits: bool,
    /// The keyring's when the choices were made.
    generation: u64,
}

impl DtlsOpener {
    /// A ClientHello, in the clear or in the epoch before a rekey; again for every retransmission.
    pub fn client_hello(&mut self, hello: &ClientHello) {
        let random = hello.random.unwrap_or_default();
        if random != self.random {
            self.agreed = None;
            self.failures = 0;
        }
        self.random = random;
        self.id = hello.session_id;
        self.offers_extended = hello.has_extension(23);
    }

    /// The server's answer to it.
    pub fn server_hello(&mut self, hello: &ServerHello) {
        let (Some(random), Some(suite)) = (hello.random, hello.cipher_suite) else { return };
        self.agreed = Algorithm::of(suite, hello.version).map(|algorithm| Agreed {
            algorithm,
            random,
            encrypt_then_mac: hello.encrypt_then_mac() && !algorithm.is_aead(),
            extended: hello.extended_master_secret() && self.offers_extended,
        });
    }

    /// A whole handshake message in the clear, with its 12-byte header as if it had not been cut (RFC 6347 §4.2.6).
    pub fn clear_handshake(&mut self, side: Side, message: &[u8], keyring: &Keyring) {
        if !keyring.has_psks() {
            return;
        }
        match message.first() {
            // The hello that counts is the last one; neither the one before nor HelloVerifyRequest is hashed (§4.2.1).
            Some(1) => self.transcript.restart(),
            Some(3) | None => return,
            _ => {}
        }
        self.transcript.add(side, message);
    }

    /// Opens a record of epoch 1 or above into `out`: where its content is.
    pub fn open(
        &mut self,
        side: Side,
        record: &DtlsRecord<'_>,
        out: &mut Vec<u8>,
        keyring: &mut Keyring,
    ) -> Option<Range<usize>> {
        if self.failures >= PATIENCE || record.is_cut() || record.content_type.is_unified_header() {
            self.counts.failed += u64::from(!self.epochs.is_empty());
            return None;
        }
        let Some((at, fitting, range)) = self.try_epoch(side, record, out, keyring) else {
            // Without a handshake, or without any secret for it, there is no key that could fail.
            let has_key = self.epochs.iter().any(|epoch| epoch.number == record.epoch);
            self.failures += u32::from(has_key);
            self.counts.failed += u64::from(has_key);
            return None;
        };
        let epoch = self.epochs.get_mut(at)?;
        if !epoch.fits {
            epoch.fits = true;
            epoch.choices.swap(0, fitting);
            epoch.choices.truncate(1);
            if let Some((master, _)) = epoch.choices.first() {
                keyring.note_dtls(&epoch.random, master);
                // A rekey resumes the same session.
                keyring.learn_session(self.id, master);
            }
        }
        self.failures = 0;
        self.counts.opened += 1;
        Some(range)
    }

    /// With the keys of its epoch, and if they do not fit with those of a handshake that came after them.
    fn try_epoch(
        &mut self,
        side: Side,
        record: &DtlsRecord<'_>,
        out: &mut Vec<u8>,
        keyring: &Keyring,
    ) -> Option<(usize, usize, Range<usize>)> {
        let header = Header {
            sequence: u64::from(record.epoch) << 48 | record.sequence,
            content_type: record.content_type,
            version: record.version.0,
        };
        loop {
            let at = self.epoch(record.epoch, keyring)?;
            let epoch = self.epochs.get_mut(at)?;
            let opened = epoch.choices.iter_mut().enumerate().find_map(|(i, (_, seals))| {
                let (_, range) = side.of_mut(seals).open(&header, record.fragment, out)?;
                Some((i, range))
            });
            if let Some((fitting, range)) = opened {
                return Some((at, fitting, range));
            }
            let is_outdated = self.agreed.is_some() && epoch.random != self.random;
            let is_poorer = !epoch.fits && epoch.generation != keyring.generation();
            if !is_outdated && !is_poorer {
                return None;
            }
            self.epochs.remove(at);
        }
    }

    /// The keys of an epoch, made when first needed.
    fn epoch(&mut self, number: u16, keyring: &Keyring) -> Option<usize> {
        let known = self.epochs.iter().position(|epoch| epoch.number == number);
        let (None, Some(agreed)) = (known, self.agreed) else { return known };
        let exchange = Exchange {
            hash: agreed.algorithm.hash,
            randoms: [&self.random, &agreed.random],
            extended: agreed.extended,
            id: self.id,
            is_datagram: true,
        };
        let by_psk = self.transcript.masters(&exchange, keyring).unwrap_or_default();
        let masters = keyring.session_masters(&self.id).chain(keyring.masters(&self.random)).chain(&by_psk);
        let randoms = [&self.random, &agreed.random];
        let choices: Vec<_> = masters
            .filter_map(|master| {
                // No DTLS has the implicit IV of TLS 1.0, whatever its version (RFC 6347 §4.1.2.3).
                let version = crate::tls::Version::DTLS_1_2;
                let seals = classic_seals(agreed.algorithm, version, agreed.encrypt_then_mac, master, randoms)?;
                Some((master.clone(), seals))
            })
            .collect();
        if choices.is_empty() {
            return None;
        }
        while self.epochs.len() >= MAX_EPOCHS {
            self.epochs.remove(0);
        }
        self.failures = 0;
        let generation = keyring.generation();
        self.epochs.push(Epoch { number, random: self.random, choices, fits: false, generation });
        Some(self.epochs.len() - 1)
    }

    /// What became of the sealed records.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}
