//! A gateway's RSA private key: opens the premaster secret of an RSA key exchange (RFC 5246 §7.4.7.1).

use super::Secret;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::{Pkcs1v15Encrypt, PrivateKey};
use std::fmt;

/// Bytes of the longest key file read: 16384-bit keys have some 13 KB.
const MAX_PEM: usize = 64 * 1024;

pub(super) struct RsaKey(Box<PrivateKey>);

impl RsaKey {
    pub(super) fn from_pem(pem: &[u8]) -> Result<RsaKey, &'static str> {
        if pem.len() > MAX_PEM {
            return Err("the file is too large for a key");
        }
        let text = std::str::from_utf8(pem)
            .map_err(|_| "the file is not PEM (is it DER? openssl rsa -inform der converts it)")?;
        let begins = |label: &str| text.find(&format!("-----BEGIN {label}-----"));
        let block = |label: &str| {
            let start = begins(label)?;
            let end = format!("-----END {label}-----");
            let length = text.get(start..)?.find(&end)?;
            text.get(start..start + length + end.len())
        };
        if begins("ENCRYPTED PRIVATE KEY").is_some() || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err("the key is protected by a password: openssl rsa -in FILE -out PLAIN takes it off");
        }
        let key = if let Some(pem) = block("RSA PRIVATE KEY") {
            PrivateKey::from_pkcs1_pem(pem).map_err(|_| "the RSA PRIVATE KEY in it cannot be read")?
        } else if let Some(pem) = block("PRIVATE KEY") {
            PrivateKey::from_pkcs8_pem(pem).map_err(|_| "the PRIVATE KEY in it is no RSA key, or cannot be read")?
        } else {
            return Err("there is no RSA PRIVATE KEY or PRIVATE KEY in it");
        };
        Ok(RsaKey(Box::new(key)))
    }

    /// The premaster secret: 48 bytes, or this key does not fit.
    pub(super) fn decrypt(&self, encrypted: &[u8]) -> Option<Secret> {
        let plain = self.0.decrypt(Pkcs1v15Encrypt, encrypted).ok()?;
        (plain.len() == 48).then(|| Secret::new(&plain))
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RSA private key")
    }
}
