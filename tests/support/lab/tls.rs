//! TLS and DTLS as a capture shows them: handshakes in the clear, everything else of the right length and meaningless.

use super::Rng;
use acpcap::event::{CipherSuite, Version};
use acpcap::session::mtu::Protection;

/// How DTLS is set up (the three generations of AnyConnect's DTLS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generation {
    /// Version 0x0100, resumption of a session named in CSTP.
    Legacy,
    /// DTLS 1.2, resumption of a session named in CSTP.
    Dtls12,
    /// DTLS 1.2 with a PSK.
    Psk,
    /// Not used at all.
    Off,
}

/// How records of one channel are sealed.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    pub id: u16,
    pub sealed: Protection,
}

impl Suite {
    pub fn new(name: &str, version: Version) -> Suite {
        let suite = CipherSuite::from_name(name).unwrap_or_else(|| panic!("no cipher suite {name}"));
        let class = suite.class().unwrap();
        Suite { id: suite.0, sealed: Protection::new(class, version, false) }
    }

    /// A TLS record with so many bytes of plaintext.
    pub fn tls_record(&self, plain: usize, rng: &mut Rng) -> Vec<u8> {
        let len = self.sealed.cstp_record_len(plain.saturating_sub(8) as u16);
        record(23, &rng.bytes(len as usize))
    }
}

fn record(content_type: u8, fragment: &[u8]) -> Vec<u8> {
    let len = (fragment.len() as u16).to_be_bytes();
    [&[content_type, 3, 3], &len[..], fragment].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&[kind, len[1], len[2], len[3]], body].concat()
}

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// A ClientHello of a TLS connection; `name` tells the program that speaks (UI or agent) by its suites.
pub fn client_hello(suite: &Suite, agent: bool, rng: &mut Rng) -> Vec<u8> {
    let mut suites = suite.id.to_be_bytes().to_vec();
    suites.extend(if agent { &[0x00, 0x35][..] } else { &[0x00, 0x2f, 0x00, 0x3c, 0x00, 0xff] });
    // signature_algorithms: rsa_pkcs1_sha256
    let extensions = [0, 13, 0, 4, 0, 2, 4, 1];
    let body = [&[3, 3][..], &rng.bytes(32), &vector8(&[]), &vector16(&suites), &vector8(&[0]), &vector16(&extensions)]
        .concat();
    record(22, &message(1, &body))
}

/// ServerHello, Certificate, ServerHelloDone.
pub fn server_flight(suite: &Suite, rng: &mut Rng) -> Vec<u8> {
    let hello = [&[3, 3][..], &rng.bytes(32), &vector8(&rng.bytes(32)), &suite.id.to_be_bytes(), &[0]].concat();
    let certificate = certificate(rng);
    let len = |bytes: &[u8]| (bytes.len() as u32).to_be_bytes()[1..].to_vec();
    let entry = [len(&certificate), certificate].concat();
    let chain = [len(&entry), entry].concat();
    [record(22, &message(2, &hello)), record(22, &message(11, &chain)), record(22, &message(14, &[]))].concat()
}

/// ClientKeyExchange (RSA), ChangeCipherSpec, Finished.
pub fn client_finish(suite: &Suite, rng: &mut Rng) -> Vec<u8> {
    let exchange = message(16, &vector16(&rng.bytes(256)));
    [record(22, &exchange), server_finish(suite, rng)].concat()
}

/// ChangeCipherSpec, Finished.
pub fn server_finish(suite: &Suite, rng: &mut Rng) -> Vec<u8> {
    let sealed = suite.sealed.cstp_record_len(8);
    [record(20, &[1]), record(22, &rng.bytes(sealed as usize))].concat()
}

/// An encrypted handshake record in the middle of a connection: a renegotiation begins.
pub fn renegotiation(suite: &Suite, rng: &mut Rng) -> Vec<u8> {
    let sealed = suite.sealed.cstp_record_len(180);
    record(22, &rng.bytes(sealed as usize))
}

/// The encrypted alert that ends a connection.
pub fn close_notify(suite: &Suite, rng: &mut Rng) -> Vec<u8> {
    let sealed = suite.sealed.cstp_record_len(0);
    record(21, &rng.bytes(sealed as usize))
}

/// A certificate that parses; its key and signature are noise.
fn certificate(rng: &mut Rng) -> Vec<u8> {
    fn der(tag: u8, body: &[u8]) -> Vec<u8> {
        let len = body.len();
        let head = match len {
            0..128 => vec![tag, len as u8],
            128..256 => vec![tag, 0x81, len as u8],
            _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
        };
        [head, body.to_vec()].concat()
    }
    let sequence = |parts: &[Vec<u8>]| der(0x30, &parts.concat());
    let sha256_rsa = sequence(&[der(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]), der(5, &[])]);
    let rsa = sequence(&[der(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), der(5, &[])]);
    let common_name = sequence(&[der(6, &[0x55, 4, 3]), der(12, b"vpn.example")]);
    let name = sequence(&[der(0x31, &common_name)]);
    let validity = sequence(&[der(23, b"250101000000Z"), der(23, b"350101000000Z")]);
    let mut modulus = rng.bytes(256);
    modulus[0] = 0x5a;
    let key = sequence(&[der(2, &modulus), der(2, &[1, 0, 1])]);
    let key = sequence(&[rsa, der(3, &[&[0], &key[..]].concat())]);
    let serial = der(2, &[7]);
    let body = sequence(&[serial, sha256_rsa.clone(), name.clone(), validity, name, key]);
    sequence(&[body, sha256_rsa, der(3, &[&[0], &rng.bytes(256)[..]].concat())])
}

/// One end of a DTLS association: writes records, counts sequence numbers.
#[derive(Clone, Debug)]
pub struct DtlsEnd {
    pub suite: Suite,
    pub version: [u8; 2],
    pub epoch: u16,
    pub sequence: u64,
    message_seq: u16,
}

impl DtlsEnd {
    pub fn new(suite: Suite, generation: Generation, client: bool) -> DtlsEnd {
        let version = match (generation, client) {
            (Generation::Legacy, _) => [1, 0],
            // The first flight of a PSK client says DTLS 1.0 in its records.
            (Generation::Psk, true) => [0xfe, 0xff],
            _ => [0xfe, 0xfd],
        };
        DtlsEnd { suite, version, epoch: 0, sequence: 0, message_seq: 0 }
    }

    fn record(&mut self, content_type: u8, fragment: &[u8]) -> Vec<u8> {
        let mut bytes = vec![content_type];
        bytes.extend(self.version);
        bytes.extend(self.epoch.to_be_bytes());
        bytes.extend(&self.sequence.to_be_bytes()[2..]);
        bytes.extend((fragment.len() as u16).to_be_bytes());
        bytes.extend(fragment);
        self.sequence += 1;
        bytes
    }

    /// A handshake message in fragments of at most `size` bytes of body, a record each.
    pub fn handshake(&mut self, kind: u8, body: &[u8], size: usize) -> Vec<Vec<u8>> {
        let sequence = self.message_seq;
        self.message_seq += 1;
        self.again(kind, sequence, body, size)
    }

    fn again(&mut self, kind: u8, message_seq: u16, body: &[u8], size: usize) -> Vec<Vec<u8>> {
        let three = |n: usize| (n as u32).to_be_bytes()[1..].to_vec();
        let mut at = 0;
        let mut records = Vec::new();
        loop {
            let piece = &body[at..(at + size).min(body.len())];
            let header =
                [vec![kind], three(body.len()), message_seq.to_be_bytes().to_vec(), three(at), three(piece.len())];
            records.push(self.record(22, &[header.concat(), piece.to_vec()].concat()));
            at += piece.len();
            if at >= body.len() {
                return records;
            }
        }
    }

    /// A ClientHello. A retransmission has the same random and message sequence.
    pub fn client_hello(&mut self, generation: Generation, random: &[u8], id: &[u8], cookie: &[u8]) -> Vec<u8> {
        let suites = match generation {
            Generation::Psk => vec![0x00, 0xa9, 0xcc, 0xab, 0x00, 0xa8],
            _ => self.suite.id.to_be_bytes().to_vec(),
        };
        let body_version = if generation == Generation::Legacy { [1, 0] } else { [0xfe, 0xfd] };
        let mut body =
            [&body_version[..], random, &vector8(id), &vector8(cookie), &vector16(&suites), &[1, 0]].concat();
        if generation != Generation::Legacy {
            body.extend(vector16(&[0, 13, 0, 4, 0, 2, 4, 1]));
        }
        self.message_seq = u16::from(!cookie.is_empty());
        self.handshake(1, &body, usize::MAX).concat()
    }

    pub fn hello_verify_request(&mut self, cookie: &[u8]) -> Vec<u8> {
        let version = if self.version == [1, 0] { [1, 0] } else { [0xfe, 0xff] };
        self.message_seq = 0;
        self.handshake(3, &[&version[..], &vector8(cookie)].concat(), usize::MAX).concat()
    }

    pub fn server_hello(&mut self, random: &[u8], id: &[u8]) -> Vec<u8> {
        let version = if self.version == [1, 0] { [1, 0] } else { [0xfe, 0xfd] };
        let body = [&version[..], random, &vector8(id), &self.suite.id.to_be_bytes(), &[0]].concat();
        self.handshake(2, &body, usize::MAX).concat()
    }

    /// ServerHelloDone.
    pub fn done(&mut self) -> Vec<u8> {
        self.handshake(14, &[], usize::MAX).concat()
    }

    /// ClientKeyExchange with the identity `psk`.
    pub fn psk_exchange(&mut self) -> Vec<u8> {
        self.handshake(16, &vector16(b"psk"), usize::MAX).concat()
    }

    /// A certificate chain in fragments of at most `size` bytes.
    pub fn certificate(&mut self, size: usize, rng: &mut Rng) -> Vec<Vec<u8>> {
        let certificate = certificate(rng);
        let len = |bytes: &[u8]| (bytes.len() as u32).to_be_bytes()[1..].to_vec();
        let entry = [len(&certificate), certificate].concat();
        self.handshake(11, &[len(&entry), entry].concat(), size)
    }

    /// ChangeCipherSpec and Finished; epoch 1 begins.
    pub fn finish(&mut self, rng: &mut Rng) -> (Vec<u8>, Vec<u8>) {
        let change = if self.version == [1, 0] {
            let sequence = self.message_seq.to_be_bytes();
            self.record(20, &[1, sequence[0], sequence[1]])
        } else {
            self.record(20, &[1])
        };
        (self.epoch, self.sequence) = (self.epoch + 1, 0);
        let sealed = self.suite.sealed.dtls_record_len(23);
        let finished = self.record(22, &rng.bytes(sealed as usize));
        (change, finished)
    }

    /// An encrypted ClientHello in the middle: a rekey begins.
    pub fn rehandshake(&mut self, rng: &mut Rng) -> Vec<u8> {
        let sealed = self.suite.sealed.dtls_record_len(180);
        self.record(22, &rng.bytes(sealed as usize))
    }

    /// A fatal alert, readable before epoch 1.
    pub fn alert(&mut self, description: u8, rng: &mut Rng) -> Vec<u8> {
        if self.epoch == 0 {
            return self.record(21, &[2, description]);
        }
        let sealed = self.suite.sealed.dtls_record_len(1);
        self.record(21, &rng.bytes(sealed as usize))
    }

    /// Application data with so many bytes behind the type byte.
    pub fn data(&mut self, payload: usize, rng: &mut Rng) -> Vec<u8> {
        let sealed = self.suite.sealed.dtls_record_len(payload as u16);
        self.record(23, &rng.bytes(sealed as usize))
    }
}
