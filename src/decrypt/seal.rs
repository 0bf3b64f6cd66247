//! The protection of one direction's records: what undoes it, and what says that it was undone rightly.
//!
//! ```text
//!   stream        RC4( content | MAC )                                                  RFC 5246 §6.2.3.1
//!   CBC           [IV] CBC( content | MAC | padding | padding length )                  RFC 5246 §6.2.3.2
//!   CBC, EtM      [IV] CBC( content | padding | padding length ) | MAC over all of it   RFC 7366 §3
//!   AEAD 1.2      explicit nonce (8 or 0) | AEAD( content ) | tag                       RFC 5246 §6.2.3.3
//!   AEAD 1.3      AEAD( content | content type | zeros ) | tag                          RFC 8446 §5.2
//! ```

use super::Secret;
use super::suite::{Algorithm, Cipher, MacKind};
use crate::tls::ContentType;
use aes::{Aes128, Aes256};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use cbc::Decryptor;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, InnerIvInit, KeyInit};
use ccm::Ccm;
use ccm::aead::consts::{U8, U12, U16};
use ccm::aead::{AeadInOut, Nonce, Tag};
use chacha20poly1305::ChaCha20Poly1305;
use des::{Des, TdesEde3};
use hmac::Hmac;
use md5::Md5;
use rc4::{Rc4, StreamCipher};
use sha1::Sha1;
use sha2::{Sha256, Sha384};
use std::ops::Range;

/// What of a record is authenticated beside its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// TLS: the record's number; DTLS: epoch and sequence number as they stand in the header.
    pub(super) sequence: u64,
    pub(super) content_type: ContentType,
    /// Version as on the wire.
    pub(super) version: u16,
}

/// The keys of one direction.
pub(super) struct Seal {
    rule: Rule,
}

enum Rule {
    Stream { cipher: Box<Rc4>, mac: Mac },
    Cbc { cipher: Box<dyn Blocks>, mac: Mac, encrypt_then_mac: bool, iv: Iv },
    Aead { cipher: Box<dyn Aead>, nonce: NonceRule },
}

/// Where the IV of a CBC record is.
enum Iv {
    /// In front of it.
    Explicit,
    /// The last block of the record before, when that was captured (TLS 1.0).
    Chained(Option<Vec<u8>>),
}

#[derive(Clone, Copy)]
enum NonceRule {
    /// This salt and the eight bytes in front of the record (RFC 5288 §3, RFC 6655 §3).
    Sent([u8; 4]),
    /// This IV, exclusive-or the sequence number (RFC 7905 §2).
    Counted([u8; 12]),
    /// The same, content type inside (RFC 8446 §5.3).
    Counted13([u8; 12]),
}

impl Seal {
    /// For TLS 1.2 and before, and DTLS to 1.2.
    pub(super) fn classic(
        algorithm: Algorithm,
        mac_key: &[u8],
        key: &[u8],
        iv: &[u8],
        encrypt_then_mac: bool,
        is_chained: bool,
    ) -> Option<Seal> {
        let mac = || Mac::new(algorithm.mac, mac_key);
        let rule = match blocks(algorithm.cipher, key) {
            Some(cipher) => {
                let iv = if is_chained { Iv::Chained(Some(iv.to_vec())) } else { Iv::Explicit };
                Rule::Cbc { cipher, mac: mac()?, encrypt_then_mac, iv }
            }
            None if algorithm.cipher == Cipher::Rc4 => {
                Rule::Stream { cipher: Box::new(Rc4::new_from_slice(key).ok()?), mac: mac()? }
            }
            None => {
                let nonce = match algorithm.cipher {
                    Cipher::ChaCha20 => NonceRule::Counted(iv.try_into().ok()?),
                    _ => NonceRule::Sent(iv.try_into().ok()?),
                };
                Rule::Aead { cipher: aead(algorithm.cipher, key)?, nonce }
            }
        };
        Some(Seal { rule })
    }

    /// For TLS 1.3, from one side's traffic secret (RFC 8446 §7.3).
    pub(super) fn traffic(algorithm: Algorithm, secret: &Secret) -> Option<Seal> {
        let key = algorithm.hash.expand_label(&secret.0, "key", &[], algorithm.key_len())?;
        let iv = algorithm.hash.expand_label(&secret.0, "iv", &[], 12)?;
        let iv: [u8; 12] = iv.0.as_ref().try_into().ok()?;
        Some(Seal { rule: Rule::Aead { cipher: aead(algorithm.cipher, &key.0)?, nonce: NonceRule::Counted13(iv) } })
    }

    /// Must every record be seen, in order, for the next to be opened?
    pub(super) fn is_chained(&self) -> bool {
        matches!(self.rule, Rule::Stream { .. })
    }

    /// The eight bytes in front of a record that count on with each, as far as its maker lets them.
    pub(super) fn explicit_nonce(&self, fragment: &[u8]) -> Option<u64> {
        match self.rule {
            Rule::Aead { nonce: NonceRule::Sent(_), .. } => fragment.first_chunk::<8>().map(|n| u64::from_be_bytes(*n)),
            _ => None,
        }
    }

    /// Opens a record into `out`: its content type, and where in `out` the content is. `None` when the key does not fit.
    pub(super) fn open(
        &mut self,
        header: &Header,
        fragment: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<(ContentType, Range<usize>)> {
        out.clear();
        out.extend_from_slice(fragment);
        match &mut self.rule {
            Rule::Stream { cipher, mac } => {
                // The key stream goes on with each byte, whether the MAC fits or not.
                cipher.apply_keystream(out);
                let end = out.len().checked_sub(mac.len())?;
                let (content, tag) = out.split_at(end);
                mac.fits(header, content, tag).then_some((header.content_type, 0..end))
            }
            Rule::Cbc { cipher, mac, encrypt_then_mac, iv } => {
                let opened = open_cbc(cipher.as_ref(), mac, *encrypt_then_mac, iv, header, out);
                if let Iv::Chained(last) = iv {
                    let body = fragment.len().checked_sub(if *encrypt_then_mac { mac.len() } else { 0 })?;
                    let last_block = fragment.get(body.checked_sub(cipher.size())?..body)?;
                    *last = Some(last_block.to_vec());
                }
                opened.map(|range| (header.content_type, range))
            }
            Rule::Aead { cipher, nonce } => open_aead(cipher.as_ref(), *nonce, header, out),
        }
    }

    /// A record passed that could not be looked at: its bytes count all the same.
    pub(super) fn skip(&mut self, length: usize) {
        match &mut self.rule {
            Rule::Stream { cipher, .. } => cipher.apply_keystream(&mut vec![0; length]),
            Rule::Cbc { iv: Iv::Chained(last), .. } => *last = None,
            _ => {}
        }
    }
}

fn open_cbc(
    cipher: &dyn Blocks,
    mac: &Mac,
    encrypt_then_mac: bool,
    iv: &Iv,
    header: &Header,
    out: &mut [u8],
) -> Option<Range<usize>> {
    let mut end = out.len();
    if encrypt_then_mac {
        end = end.checked_sub(mac.len())?;
        let (sealed, tag) = out.split_at(end);
        if !mac.fits(header, sealed, tag) {
            return None;
        }
    }
    let (iv, start) = match iv {
        Iv::Explicit => (out.get(..cipher.size())?.to_vec(), cipher.size()),
        Iv::Chained(last) => (last.clone()?, 0),
    };
    let body = out.get_mut(start..end)?;
    if body.is_empty() || !cipher.decrypt(&iv, body) {
        return None;
    }
    let padding = usize::from(*body.last()?);
    let content = body.len().checked_sub(padding + 1)?;
    if body.get(content..)?.iter().any(|byte| usize::from(*byte) != padding) {
        return None;
    }
    if encrypt_then_mac {
        return Some(start..start + content);
    }
    let content = content.checked_sub(mac.len())?;
    let (content, tag) = body.get(..content + mac.len())?.split_at(content);
    mac.fits(header, content, tag).then_some(start..start + content.len())
}

fn open_aead(
    cipher: &dyn Aead,
    rule: NonceRule,
    header: &Header,
    out: &mut [u8],
) -> Option<(ContentType, Range<usize>)> {
    let sent = match rule {
        NonceRule::Sent(_) => 8,
        _ => 0,
    };
    let wire_len = u16::try_from(out.len()).ok()?;
    let (explicit, sealed) = out.split_at_mut_checked(sent)?;
    let (content, tag) = sealed.split_at_mut(sealed.len().checked_sub(cipher.tag_len())?);
    let sequence = header.sequence.to_be_bytes();
    let [s7, s6, s5, s4, s3, s2, s1, s0] = sequence;
    let counted = |mut iv: [u8; 12]| {
        for (byte, number) in iv.iter_mut().skip(4).zip(sequence) {
            *byte ^= number;
        }
        iv
    };
    let [v1, v0] = header.version.to_be_bytes();
    let (nonce, len, is_1_3) = match rule {
        NonceRule::Sent(salt) => {
            let mut nonce = [0; 12];
            for (byte, from) in nonce.iter_mut().zip(salt.iter().chain(explicit.iter())) {
                *byte = *from;
            }
            (nonce, content.len() as u16, false)
        }
        NonceRule::Counted(iv) => (counted(iv), content.len() as u16, false),
        NonceRule::Counted13(iv) => (counted(iv), wire_len, true),
    };
    let [l1, l0] = len.to_be_bytes();
    let kind = header.content_type.0;
    let whole = [s7, s6, s5, s4, s3, s2, s1, s0, kind, v1, v0, l1, l0];
    // TLS 1.3 authenticates the record header alone (RFC 8446 §5.2).
    let aad = if is_1_3 { whole.get(8..)? } else { &whole };
    if !cipher.decrypt(&nonce, aad, content, tag) {
        return None;
    }
    if !is_1_3 {
        return Some((header.content_type, sent..sent + content.len()));
    }
    let end = content.iter().rposition(|byte| *byte != 0)?;
    Some((ContentType(*content.get(end)?), 0..end))
}

/// A block cipher in CBC mode.
trait Blocks: Send {
    fn size(&self) -> usize;
    /// Decrypts in place; false when the lengths cannot be.
    fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> bool;
}

impl<C> Blocks for C
where
    C: BlockCipherDecrypt + Clone + Send,
{
    fn size(&self) -> usize {
        C::block_size()
    }

    fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> bool {
        match Decryptor::inner_iv_slice_init(self.clone(), iv) {
            Ok(cbc) => cbc.decrypt_padded::<NoPadding>(data).is_ok(),
            Err(_) => false,
        }
    }
}

fn blocks(cipher: Cipher, key: &[u8]) -> Option<Box<dyn Blocks>> {
    Some(match cipher {
        Cipher::Des => Box::new(Des::new_from_slice(key).ok()?),
        Cipher::TripleDes => Box::new(TdesEde3::new_from_slice(key).ok()?),
        Cipher::Aes128Cbc => Box::new(Aes128::new_from_slice(key).ok()?),
        Cipher::Aes256Cbc => Box::new(Aes256::new_from_slice(key).ok()?),
        _ => return None,
    })
}

/// An AEAD with a nonce of twelve bytes.
trait Aead: Send {
    fn tag_len(&self) -> usize;
    /// Decrypts in place; false when the tag does not fit.
    fn decrypt(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8]) -> bool;
}

impl<A> Aead for A
where
    A: AeadInOut<NonceSize = U12> + Send,
{
    fn tag_len(&self) -> usize {
        <A::TagSize as ccm::aead::array::typenum::Unsigned>::USIZE
    }

    fn decrypt(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8]) -> bool {
        let Ok(tag) = <&Tag<A>>::try_from(tag) else { return false };
        let nonce: &Nonce<A> = nonce.into();
        self.decrypt_inout_detached(nonce, aad, data.into(), tag).is_ok()
    }
}

fn aead(cipher: Cipher, key: &[u8]) -> Option<Box<dyn Aead>> {
    Some(match cipher {
        Cipher::Aes128Gcm => Box::new(Aes128Gcm::new_from_slice(key).ok()?),
        Cipher::Aes256Gcm => Box::new(Aes256Gcm::new_from_slice(key).ok()?),
        Cipher::Aes128Ccm => Box::new(Ccm::<Aes128, U16, U12>::new_from_slice(key).ok()?),
        Cipher::Aes256Ccm => Box::new(Ccm::<Aes256, U16, U12>::new_from_slice(key).ok()?),
        Cipher::Aes128Ccm8 => Box::new(Ccm::<Aes128, U8, U12>::new_from_slice(key).ok()?),
        Cipher::Aes256Ccm8 => Box::new(Ccm::<Aes256, U8, U12>::new_from_slice(key).ok()?),
        Cipher::ChaCha20 => Box::new(ChaCha20Poly1305::new_from_slice(key).ok()?),
        _ => return None,
    })
}

/// A keyed MAC.
#[derive(Clone)]
enum Mac {
    Md5(Hmac<Md5>),
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
}

impl Mac {
    fn new(kind: MacKind, key: &[u8]) -> Option<Mac> {
        Some(match kind {
            MacKind::Md5 => Mac::Md5(Hmac::new_from_slice(key).ok()?),
            MacKind::Sha1 => Mac::Sha1(Hmac::new_from_slice(key).ok()?),
            MacKind::Sha256 => Mac::Sha256(Hmac::new_from_slice(key).ok()?),
            MacKind::Sha384 => Mac::Sha384(Hmac::new_from_slice(key).ok()?),
        })
    }

    fn len(&self) -> usize {
        match self {
            Mac::Md5(_) => MacKind::Md5,
            Mac::Sha1(_) => MacKind::Sha1,
            Mac::Sha256(_) => MacKind::Sha256,
            Mac::Sha384(_) => MacKind::Sha384,
        }
        .len()
    }

    /// Is `tag` the MAC of header and content (RFC 5246 §6.2.3.1)?
    fn fits(&self, header: &Header, content: &[u8], tag: &[u8]) -> bool {
        fn verify(mut mac: impl hmac::Mac, front: &[u8], content: &[u8], tag: &[u8]) -> bool {
            mac.update(front);
            mac.update(content);
            mac.verify_slice(tag).is_ok()
        }
        let [s7, s6, s5, s4, s3, s2, s1, s0] = header.sequence.to_be_bytes();
        let [v1, v0] = header.version.to_be_bytes();
        let [l1, l0] = (content.len() as u16).to_be_bytes();
        let front = [s7, s6, s5, s4, s3, s2, s1, s0, header.content_type.0, v1, v0, l1, l0];
        match self {
            Mac::Md5(mac) => verify(mac.clone(), &front, content, tag),
            Mac::Sha1(mac) => verify(mac.clone(), &front, content, tag),
            Mac::Sha256(mac) => verify(mac.clone(), &front, content, tag),
            Mac::Sha384(mac) => verify(mac.clone(), &front, content, tag),
        }
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::hash::Hash;
    use super::*;
    use crate::tls::hex;
    use proptest::prelude::*;

    fn opens(cipher: Cipher, key: &str, nonce: &str, aad: &str, sealed: &str, tag: &str) -> Vec<u8> {
        let mut data = hex(sealed);
        let nonce: [u8; 12] = hex(nonce).try_into().unwrap();
        let cipher = aead(cipher, &hex(key)).unwrap();
        assert!(cipher.decrypt(&nonce, &hex(aad), &mut data, &hex(tag)), "the tag does not fit");
        data
    }

    /// The GCM specification's test cases 4 and 16 (McGrew and Viega, appendix B).
    #[test]
    fn aes_gcm() {
        let plain = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let (nonce, aad) = ("cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let key = "feffe9928665731c6d6a8f9467308308";
        let sealed = "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091";
        assert_eq!(opens(Cipher::Aes128Gcm, key, nonce, aad, sealed, "5bc94fbc3221a5db94fae95ae7121a47"), plain);
        let key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
        let sealed = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662";
        assert_eq!(opens(Cipher::Aes256Gcm, key, nonce, aad, sealed, "76fc6ece0f4e1768cddf8853bb2d551b"), plain);
    }

    /// RFC 8439 §2.8.2.
    #[test]
    fn chacha20_poly1305() {
        let key = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";
        let sealed = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116";
        let (nonce, aad) = ("070000004041424344454647", "50515253c0c1c2c3c4c5c6c7");
        let plain = opens(Cipher::ChaCha20, key, nonce, aad, sealed, "1ae10b594f09e26a7e902ecbd0600691");
        assert!(plain.starts_with(b"Ladies and Gentlemen of the class of '99"));
    }

    /// NIST SP 800-38C, example 3: nonce of twelve bytes, tag of eight.
    #[test]
    fn aes_ccm_8() {
        let (key, nonce) = ("404142434445464748494a4b4c4d4e4f", "101112131415161718191a1b");
        let aad = "000102030405060708090a0b0c0d0e0f10111213";
        let sealed = "e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5";
        let plain = opens(Cipher::Aes128Ccm8, key, nonce, aad, sealed, "484392fbc1b09951");
        assert_eq!(plain, (0x20..0x38).collect::<Vec<u8>>());
    }

    /// NIST SP 800-38A §F.2 and, with an IV of zeros, SP 800-67 appendix B.1.
    #[test]
    fn block_ciphers_in_cbc() {
        let decrypt = |cipher, key: &str, iv: &str, sealed: &str| {
            let mut data = hex(sealed);
            assert!(blocks(cipher, &hex(key)).unwrap().decrypt(&hex(iv), &mut data));
            data
        };
        let (iv, plain) = ("000102030405060708090a0b0c0d0e0f", hex("6bc1bee22e409f96e93d7e117393172a"));
        let key = "2b7e151628aed2a6abf7158809cf4f3c";
        assert_eq!(decrypt(Cipher::Aes128Cbc, key, iv, "7649abac8119b246cee98e9b12e9197d"), plain);
        let key = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
        assert_eq!(decrypt(Cipher::Aes256Cbc, key, iv, "f58c4c04d6e5f1ba779eabfb5f7bfbd6"), plain);
        let key = "0123456789abcdef23456789abcdef01456789abcdef0123";
        assert_eq!(decrypt(Cipher::TripleDes, key, "0000000000000000", "a826fd8ce53b855f"), b"The qufc");
    }

    /// RFC 6229 §2.
    #[test]
    fn rc4() {
        let mut stream = [0; 16];
        Rc4::new_from_slice(&hex("0102030405060708090a0b0c0d0e0f10")).unwrap().apply_keystream(&mut stream);
        assert_eq!(stream.to_vec(), hex("9ac7cc9a609d1ef7b2932899cde41b97"));
    }

    /// RFC 8448 §3: the client's first application data.
    #[test]
    fn a_record_of_tls_1_3() {
        let suite = crate::tls::CipherSuite(0x1301);
        let algorithm = Algorithm::of(suite, crate::tls::Version::TLS_1_3).unwrap();
        assert_eq!(algorithm.hash, Hash::Sha256);
        let secret = Secret::new(&hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"));
        let mut seal = Seal::traffic(algorithm, &secret).unwrap();
        let record = hex(
            "a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4",
        );
        let header = Header { sequence: 0, content_type: ContentType::APPLICATION_DATA, version: 0x0303 };
        let mut out = Vec::new();
        let (kind, range) = seal.open(&header, &record, &mut out).unwrap();
        assert_eq!((kind, &out[range]), (ContentType::APPLICATION_DATA, &(0..50).collect::<Vec<u8>>()[..]));
        assert!(seal.open(&Header { sequence: 1, ..header }, &record, &mut out).is_none());
    }

    fn every_seal() -> Vec<Seal> {
        let versions = [crate::tls::Version::TLS_1_0, crate::tls::Version::TLS_1_2];
        let mut all = Vec::new();
        for id in 0..=u16::MAX {
            for version in versions {
                let Some(algorithm) = Algorithm::of(crate::tls::CipherSuite(id), version) else { continue };
                let (mac, key) = (vec![1; algorithm.mac_key_len()], vec![2; algorithm.key_len()]);
                let iv = vec![3; algorithm.iv_len()];
                let chained = version == crate::tls::Version::TLS_1_0;
                for etm in [false, true] {
                    all.push(Seal::classic(algorithm, &mac, &key, &iv, etm, chained).unwrap());
                }
                all.extend(Seal::traffic(algorithm, &Secret::new(&[7; 32])));
            }
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), sequence: u64) {
            let header = Header { sequence, content_type: ContentType::APPLICATION_DATA, version: 0x0303 };
            let mut out = Vec::new();
            for mut seal in every_seal() {
                prop_assert!(seal.open(&header, &bytes, &mut out).is_none());
                seal.skip(bytes.len());
            }
        }
    }
}
