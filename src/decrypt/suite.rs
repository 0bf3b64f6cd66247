//! A cipher suite as work to do: which cipher, which MAC, which hash, how many key bytes.

use super::hash::Hash;
use crate::tls::{CipherSuite, Version};

/// What a suite encrypts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cipher {
    Rc4,
    Des,
    TripleDes,
    Aes128Cbc,
    Aes256Cbc,
    Aes128Gcm,
    Aes256Gcm,
    Aes128Ccm,
    Aes256Ccm,
    Aes128Ccm8,
    Aes256Ccm8,
    ChaCha20,
}

/// What a suite authenticates with, when the cipher does not by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MacKind {
    Md5,
    Sha1,
    Sha256,
    Sha384,
}

/// A suite's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Algorithm {
    pub(super) cipher: Cipher,
    pub(super) mac: MacKind,
    pub(super) hash: Hash,
}

impl Algorithm {
    /// The parts, as the suite's IANA name says them; `None` for ciphers nobody uses here (Camellia, SEED, ARIA, NULL).
    pub(super) fn of(suite: CipherSuite, version: Version) -> Option<Algorithm> {
        let name = suite.iana_name()?;
        let (_, parts) = name.split_once("_WITH_").or_else(|| name.split_once("TLS_"))?;
        let cipher = match parts {
            _ if parts.starts_with("RC4_128") => Cipher::Rc4,
            _ if parts.starts_with("DES_CBC") => Cipher::Des,
            _ if parts.starts_with("3DES_EDE_CBC") => Cipher::TripleDes,
            _ if parts.starts_with("AES_128_CBC") => Cipher::Aes128Cbc,
            _ if parts.starts_with("AES_256_CBC") => Cipher::Aes256Cbc,
            _ if parts.starts_with("AES_128_GCM") => Cipher::Aes128Gcm,
            _ if parts.starts_with("AES_256_GCM") => Cipher::Aes256Gcm,
            _ if parts.starts_with("AES_128_CCM_8") => Cipher::Aes128Ccm8,
            _ if parts.starts_with("AES_256_CCM_8") => Cipher::Aes256Ccm8,
            _ if parts.starts_with("AES_128_CCM") => Cipher::Aes128Ccm,
            _ if parts.starts_with("AES_256_CCM") => Cipher::Aes256Ccm,
            _ if parts.starts_with("CHACHA20_POLY1305") => Cipher::ChaCha20,
            _ => return None,
        };
        let mac = match parts.rsplit('_').next()? {
            "MD5" => MacKind::Md5,
            "SHA" => MacKind::Sha1,
            "SHA384" => MacKind::Sha384,
            _ => MacKind::Sha256,
        };
        let old = matches!(
            version,
            Version::SSL_3_0 | Version::TLS_1_0 | Version::TLS_1_1 | Version::DTLS_0_9 | Version::DTLS_1_0
        );
        let hash = match mac {
            _ if old => Hash::Md5Sha1,
            MacKind::Sha384 => Hash::Sha384,
            _ => Hash::Sha256,
        };
        Some(Algorithm { cipher, mac, hash })
    }

    /// Bytes of one MAC key; none for an AEAD.
    pub(super) fn mac_key_len(self) -> usize {
        if self.is_aead() { 0 } else { self.mac.len() }
    }

    /// Bytes of one cipher key.
    pub(super) fn key_len(self) -> usize {
        match self.cipher {
            Cipher::Des => 8,
            Cipher::Rc4 | Cipher::Aes128Cbc | Cipher::Aes128Gcm | Cipher::Aes128Ccm | Cipher::Aes128Ccm8 => 16,
            Cipher::TripleDes => 24,
            Cipher::Aes256Cbc | Cipher::Aes256Gcm | Cipher::Aes256Ccm | Cipher::Aes256Ccm8 | Cipher::ChaCha20 => 32,
        }
    }

    /// Bytes of IV per side that the key block of TLS 1.2 and before gives: the implicit part of a nonce, or the first IV of
    /// TLS 1.0 and of DTLS 0x0100, where it is made and not used (RFC 5246 §6.3).
    pub(super) fn iv_len(self) -> usize {
        match self.cipher {
            Cipher::Rc4 => 0,
            Cipher::Des | Cipher::TripleDes => 8,
            Cipher::Aes128Cbc | Cipher::Aes256Cbc => 16,
            Cipher::ChaCha20 => 12,
            _ => 4,
        }
    }

    pub(super) fn is_aead(self) -> bool {
        !matches!(self.cipher, Cipher::Rc4 | Cipher::Des | Cipher::TripleDes | Cipher::Aes128Cbc | Cipher::Aes256Cbc)
    }
}

impl MacKind {
    /// Bytes of the MAC, and of its key.
    pub(super) fn len(self) -> usize {
        match self {
            MacKind::Md5 => 16,
            MacKind::Sha1 => 20,
            MacKind::Sha256 => 32,
            MacKind::Sha384 => 48,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_parts() {
        let of = |name: &str, version| Algorithm::of(CipherSuite::from_name(name).unwrap(), version);
        let sha = of("AES256-SHA", Version::DTLS_0_9).unwrap();
        assert_eq!((sha.cipher, sha.mac, sha.hash), (Cipher::Aes256Cbc, MacKind::Sha1, Hash::Md5Sha1));
        let gcm = of("ECDHE-RSA-AES256-GCM-SHA384", Version::TLS_1_2).unwrap();
        assert_eq!((gcm.cipher, gcm.hash, gcm.mac_key_len(), gcm.iv_len()), (Cipher::Aes256Gcm, Hash::Sha384, 0, 4));
        let tls13 = of("TLS_AES_128_CCM_8_SHA256", Version::TLS_1_3).unwrap();
        assert_eq!((tls13.cipher, tls13.hash), (Cipher::Aes128Ccm8, Hash::Sha256));
        let ccm = of("PSK-AES128-CCM", Version::DTLS_1_2).unwrap();
        assert_eq!((ccm.cipher, ccm.hash), (Cipher::Aes128Ccm, Hash::Sha256));
        assert_eq!(of("RC4-MD5", Version::TLS_1_0).unwrap().mac, MacKind::Md5);
        assert_eq!(of("DES-CBC3-SHA", Version::TLS_1_0).unwrap().key_len(), 24);
        assert_eq!(of("PSK-CHACHA20-POLY1305", Version::DTLS_1_2).unwrap().iv_len(), 12);
        assert!(of("CAMELLIA128-SHA", Version::TLS_1_2).is_none());
    }

    #[test]
    fn every_suite_of_the_table_but_camellia_and_seed_is_known() {
        for id in 0..=u16::MAX {
            let suite = CipherSuite(id);
            if let Some(name) = suite.iana_name() {
                let exempt = name.contains("CAMELLIA") || name.contains("SEED");
                assert_eq!(Algorithm::of(suite, Version::TLS_1_2).is_none(), exempt, "{name}");
            }
        }
    }
}
