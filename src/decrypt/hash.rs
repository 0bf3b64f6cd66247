//! The pseudo-random functions: TLS 1.0 and 1.1 (RFC 2246 §5), TLS 1.2 (RFC 5246 §5), TLS 1.3 (RFC 8446 §7.1).

use super::Secret;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384};

/// What a connection hashes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    /// Before TLS 1.2, DTLS 1.0 and 0x0100: both halves (RFC 2246 §5).
    Md5Sha1,
    /// TLS 1.2 unless the suite says otherwise.
    Sha256,
    /// Suites that end in SHA384.
    Sha384,
}

impl Hash {
    /// `PRF(secret, label, seeds)` fills `out`.
    pub(super) fn prf(self, secret: &[u8], label: &str, seeds: &[&[u8]], out: &mut [u8]) {
        out.fill(0);
        match self {
            Hash::Md5Sha1 => {
                let half = secret.len().div_ceil(2);
                let (first, second) = (secret.get(..half), secret.get(secret.len() - half..));
                p_hash::<Hmac<Md5>>(first.unwrap_or_default(), label, seeds, out);
                p_hash::<Hmac<Sha1>>(second.unwrap_or_default(), label, seeds, out);
            }
            Hash::Sha256 => p_hash::<Hmac<Sha256>>(secret, label, seeds, out),
            Hash::Sha384 => p_hash::<Hmac<Sha384>>(secret, label, seeds, out),
        }
    }

    /// A secret of `len` bytes out of the PRF.
    pub(super) fn prf_secret(self, secret: &[u8], label: &str, seeds: &[&[u8]], len: usize) -> Secret {
        let mut out = vec![0; len];
        self.prf(secret, label, seeds, &mut out);
        Secret(out.into())
    }

    /// The hash of these pieces, as the handshake's own: both hashes one after the other before TLS 1.2.
    pub(super) fn digest(self, pieces: &[&[u8]]) -> Vec<u8> {
        fn of<D: Digest>(pieces: &[&[u8]]) -> Vec<u8> {
            let mut digest = D::new();
            pieces.iter().for_each(|piece| digest.update(piece));
            digest.finalize().to_vec()
        }
        match self {
            Hash::Md5Sha1 => [of::<Md5>(pieces), of::<Sha1>(pieces)].concat(),
            Hash::Sha256 => of::<Sha256>(pieces),
            Hash::Sha384 => of::<Sha384>(pieces),
        }
    }

    /// `HKDF-Expand-Label(secret, label, context, len)` (RFC 8446 §7.1).
    pub(super) fn expand_label(self, secret: &[u8], label: &str, context: &[u8], len: usize) -> Option<Secret> {
        let label = format!("tls13 {label}");
        let length = u16::try_from(len).ok()?.to_be_bytes();
        let (label_len, context_len) = ([u8::try_from(label.len()).ok()?], [u8::try_from(context.len()).ok()?]);
        let info: [&[u8]; 5] = [&length, &label_len, label.as_bytes(), &context_len, context];
        let mut out = vec![0; len];
        match self {
            Hash::Sha256 => hkdf::Hkdf::<Sha256>::from_prk(secret).ok()?.expand_multi_info(&info, &mut out).ok()?,
            Hash::Sha384 => hkdf::Hkdf::<Sha384>::from_prk(secret).ok()?.expand_multi_info(&info, &mut out).ok()?,
            Hash::Md5Sha1 => return None,
        }
        Some(Secret(out.into()))
    }
}

/// `P_hash`, added to `out` (RFC 5246 §5).
fn p_hash<M: Mac + KeyInit + Clone>(secret: &[u8], label: &str, seeds: &[&[u8]], out: &mut [u8]) {
    let Ok(keyed) = <M as KeyInit>::new_from_slice(secret) else { return };
    let with_seed = |first: Option<&[u8]>| {
        let mut mac = keyed.clone();
        first.into_iter().for_each(|first| mac.update(first));
        mac.update(label.as_bytes());
        seeds.iter().for_each(|seed| mac.update(seed));
        mac.finalize().into_bytes()
    };
    let mut a = with_seed(None);
    for chunk in out.chunks_mut(a.len().max(1)) {
        for (byte, more) in chunk.iter_mut().zip(with_seed(Some(a.as_slice()))) {
            *byte ^= more;
        }
        let mut next = keyed.clone();
        next.update(&a);
        a = next.finalize().into_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::hex;

    /// Published with the TLS working group's test vectors for P_SHA256 (label "test label", 100 bytes).
    #[test]
    fn prf_of_tls_1_2() {
        let secret = hex("9bbe436ba940f017b17652849a71db35");
        let seed = hex("a0ba9f936cda311827a6f796ffd5198c");
        let mut out = [0; 100];
        Hash::Sha256.prf(&secret, "test label", &[&seed], &mut out);
        let expected = "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66";
        assert_eq!(out.to_vec(), hex(expected));
    }

    #[test]
    fn prf_of_tls_1_2_with_sha384() {
        let secret = hex("b80b733d6ceefcdc71566ea48e5567df");
        let seed = hex("cd665cf6a8447dd6ff8b27555edb7465");
        let mut out = [0; 148];
        Hash::Sha384.prf(&secret, "test label", &[&seed], &mut out);
        let expected = "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0e534cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d9184259b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e0990703d73e56f";
        assert_eq!(out.to_vec(), hex(expected));
    }

    /// RFC 8448 §3: the client's handshake traffic secret, key and IV.
    #[test]
    fn expand_label_of_tls_1_3() {
        let secret = hex("b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21");
        let key = Hash::Sha256.expand_label(&secret, "key", &[], 16).unwrap();
        let iv = Hash::Sha256.expand_label(&secret, "iv", &[], 12).unwrap();
        assert_eq!(key.0.to_vec(), hex("dbfaa693d1762c5b666af5d950258d01"));
        assert_eq!(iv.0.to_vec(), hex("5bd3c71b836e0b76bb73265f"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::new(&[0xab; 48]);
        assert_eq!(format!("{secret:?}"), "48 secret bytes");
    }
}
