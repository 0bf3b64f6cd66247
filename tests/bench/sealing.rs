//! Records sealed and opened with the cipher and nothing around it, and the key log line of their keys.

use crate::traffic::{Rng, vector8};
use aes::Aes256;
use aes_gcm::aead::array::typenum::U12;
use aes_gcm::aead::{AeadInOut, KeyInit, Tag};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit};
use cbc::{Decryptor, Encryptor};
use chacha20poly1305::ChaCha20Poly1305;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384};
use std::fmt::Write;

/// A suite to measure.
pub struct Suite {
    pub name: &'static str,
    pub id: [u8; 2],
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20,
    /// TLS 1.2, the others 1.3. The MAC belongs to the cipher here: nobody opens one without the other.
    Aes256CbcSha,
}

pub const SUITES: [Suite; 4] = [
    Suite { name: "TLS_AES_128_GCM_SHA256", id: [0x13, 0x01], kind: Kind::Aes128Gcm },
    Suite { name: "TLS_AES_256_GCM_SHA384", id: [0x13, 0x02], kind: Kind::Aes256Gcm },
    Suite { name: "TLS_CHACHA20_POLY1305_SHA256", id: [0x13, 0x03], kind: Kind::ChaCha20 },
    Suite { name: "TLS_RSA_WITH_AES_256_CBC_SHA", id: [0x00, 0x35], kind: Kind::Aes256CbcSha },
];

impl Suite {
    /// Of its ServerHello: supported_versions with TLS 1.3 (RFC 8446 §4.2.1).
    pub fn extensions(&self) -> &'static [u8] {
        if self.kind == Kind::Aes256CbcSha { &[] } else { &[0, 6, 0, 43, 0, 2, 3, 4] }
    }

    /// The gateway's keys, and the line that gives them away.
    pub fn keys(&self, [client, server]: &[Vec<u8>; 2], rng: &mut Rng) -> (Sealing, String) {
        if self.kind == Kind::Aes256CbcSha {
            let master = rng.bytes(48);
            // Two MAC keys of 20 bytes, two keys of 32, client's first (RFC 5246 §6.3).
            let block = prf(&master, &[b"key expansion", &server[..], client].concat(), 104);
            let cipher = Box::new(Aes256::new_from_slice(&block[72..]).unwrap());
            let mac = Hmac::new_from_slice(&block[20..40]).unwrap();
            let line = format!("CLIENT_RANDOM {} {}\n", hex(client), hex(&master));
            return (Sealing::Cbc { cipher, mac }, line);
        }
        let (is_384, key_len) = (self.kind == Kind::Aes256Gcm, if self.kind == Kind::Aes128Gcm { 16 } else { 32 });
        let secret = rng.bytes(if is_384 { 48 } else { 32 });
        let key = expand(is_384, &secret, b"key", key_len);
        let iv = expand(is_384, &secret, b"iv", 12).try_into().unwrap();
        let line = format!("SERVER_TRAFFIC_SECRET_0 {} {}\n", hex(client), hex(&secret));
        let sealing = match self.kind {
            Kind::Aes128Gcm => Sealing::Aes128Gcm(Box::new(Aes128Gcm::new_from_slice(&key).unwrap()), iv),
            Kind::Aes256Gcm => Sealing::Aes256Gcm(Box::new(Aes256Gcm::new_from_slice(&key).unwrap()), iv),
            _ => Sealing::ChaCha20(ChaCha20Poly1305::new_from_slice(&key).unwrap(), iv),
        };
        (sealing, line)
    }
}

/// Ready keys of one direction.
pub enum Sealing {
    Aes128Gcm(Box<Aes128Gcm>, [u8; 12]),
    Aes256Gcm(Box<Aes256Gcm>, [u8; 12]),
    ChaCha20(ChaCha20Poly1305, [u8; 12]),
    Cbc { cipher: Box<Aes256>, mac: Hmac<Sha1> },
}

impl Sealing {
    /// The fragment of application data record `number`.
    pub fn seal(&self, number: u64, content: &[u8], rng: &mut Rng) -> Vec<u8> {
        match self {
            Sealing::Aes128Gcm(cipher, iv) => seal_aead(cipher.as_ref(), iv, number, content),
            Sealing::Aes256Gcm(cipher, iv) => seal_aead(cipher.as_ref(), iv, number, content),
            Sealing::ChaCha20(cipher, iv) => seal_aead(cipher, iv, number, content),
            Sealing::Cbc { cipher, mac } => seal_cbc(cipher, mac, number, content, &rng.bytes(16)),
        }
    }

    /// Opens it in place.
    pub fn open(&self, number: u64, fragment: &mut [u8]) {
        match self {
            Sealing::Aes128Gcm(cipher, iv) => open_aead(cipher.as_ref(), iv, number, fragment),
            Sealing::Aes256Gcm(cipher, iv) => open_aead(cipher.as_ref(), iv, number, fragment),
            Sealing::ChaCha20(cipher, iv) => open_aead(cipher, iv, number, fragment),
            Sealing::Cbc { cipher, mac } => open_cbc(cipher, mac, number, fragment),
        }
    }
}

fn seal_aead(cipher: &impl AeadInOut<NonceSize = U12>, iv: &[u8; 12], number: u64, content: &[u8]) -> Vec<u8> {
    let mut sealed = [content, &[23]].concat();
    let head = head13(sealed.len() + 16);
    let tag = cipher.encrypt_inout_detached(&nonce(iv, number).into(), &head, sealed.as_mut_slice().into()).unwrap();
    sealed.extend_from_slice(&tag);
    sealed
}

fn open_aead<A: AeadInOut<NonceSize = U12>>(cipher: &A, iv: &[u8; 12], number: u64, fragment: &mut [u8]) {
    let head = head13(fragment.len());
    let (content, tag) = fragment.split_at_mut(fragment.len() - 16);
    let tag = <&Tag<A>>::try_from(&*tag).unwrap();
    cipher.decrypt_inout_detached(&nonce(iv, number).into(), &head, content.into(), tag).unwrap();
}

/// The record header, all that TLS 1.3 authenticates beside the content (RFC 8446 §5.2).
fn head13(len: usize) -> [u8; 5] {
    let [high, low] = (len as u16).to_be_bytes();
    [23, 3, 3, high, low]
}

fn nonce(iv: &[u8; 12], number: u64) -> [u8; 12] {
    let mut nonce = *iv;
    nonce[4..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, count)| *byte ^= count);
    nonce
}

fn seal_cbc(cipher: &Aes256, mac: &Hmac<Sha1>, number: u64, content: &[u8], iv: &[u8]) -> Vec<u8> {
    let tag = authenticated(mac, number, content).finalize().into_bytes();
    let mut plain = [content, &tag].concat();
    let padding = 16 - plain.len() % 16;
    plain.resize(plain.len() + padding, padding as u8 - 1);
    let len = plain.len();
    let cbc = Encryptor::inner_iv_slice_init(cipher.clone(), iv).unwrap();
    cbc.encrypt_padded::<NoPadding>(&mut plain, len).unwrap();
    [iv, &plain].concat()
}

fn open_cbc(cipher: &Aes256, mac: &Hmac<Sha1>, number: u64, fragment: &mut [u8]) {
    let (iv, body) = fragment.split_at_mut(16);
    let cbc = Decryptor::inner_iv_slice_init(cipher.clone(), iv).unwrap();
    let plain = cbc.decrypt_padded::<NoPadding>(body).unwrap();
    let end = plain.len() - usize::from(plain[plain.len() - 1]) - 1;
    let (content, tag) = plain[..end].split_at(end - 20);
    authenticated(mac, number, content).verify_slice(tag).unwrap();
}

/// RFC 5246 §6.2.3.1.
fn authenticated(mac: &Hmac<Sha1>, number: u64, content: &[u8]) -> Hmac<Sha1> {
    let mut mac = mac.clone();
    mac.update(&number.to_be_bytes());
    mac.update(&head13(content.len()));
    mac.update(content);
    mac
}

/// HKDF-Expand-Label without context (RFC 8446 §7.1).
fn expand(is_384: bool, secret: &[u8], label: &[u8], len: usize) -> Vec<u8> {
    let info = [&(len as u16).to_be_bytes()[..], &vector8(&[b"tls13 ", label].concat()), &[0]].concat();
    let mut out = vec![0; len];
    if is_384 {
        Hkdf::<Sha384>::from_prk(secret).unwrap().expand(&info, &mut out).unwrap();
    } else {
        Hkdf::<Sha256>::from_prk(secret).unwrap().expand(&info, &mut out).unwrap();
    }
    out
}

/// The PRF of TLS 1.2; label and seed together (RFC 5246 §5).
fn prf(secret: &[u8], seed: &[u8], len: usize) -> Vec<u8> {
    let mac = |parts: &[&[u8]]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    };
    let (mut a, mut out) = (mac(&[seed]), Vec::new());
    while out.len() < len {
        out.extend(mac(&[&a, seed]));
        a = mac(&[&a]);
    }
    out.truncate(len);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
