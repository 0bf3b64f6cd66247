//! Cipher suites: their two names, and what each adds to a record.
//!
//! Promises: every suite seen between AnyConnect, openconnect, ASA and ocserv; any other id stays a readable number.
//! Refuses: to say which suites are good.

use std::fmt;

/// A cipher suite number (IANA "TLS Cipher Suites").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CipherSuite(pub u16);

/// What a cipher adds to each record. All sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Stream cipher and MAC: no IV, no padding (RFC 5246 §6.2.3.1).
    Stream {
        /// Length of the MAC: 16 MD5, 20 SHA-1.
        mac: u8,
    },
    /// Block cipher in CBC mode and MAC (RFC 5246 §6.2.3.2).
    Cbc {
        /// Block length, which is the IV's too: 16 for AES, 8 for DES.
        block: u8,
        /// Length of the MAC: 20 SHA-1, 32 SHA-256, 48 SHA-384.
        mac: u8,
    },
    /// AEAD of TLS 1.2 and before (RFC 5246 §6.2.3.3).
    Aead {
        /// Nonce bytes sent with each record.
        nonce: u8,
        /// Length of the authentication tag.
        tag: u8,
    },
    /// Any suite of TLS 1.3: one byte of content type, then the tag (RFC 8446 §5.2).
    Tls13 {
        /// Length of the authentication tag: 16, or 8 with CCM_8.
        tag: u8,
    },
}

impl Class {
    /// AES-GCM of TLS 1.2 (RFC 5288 §3).
    pub const GCM: Class = Class::Aead { nonce: 8, tag: 16 };
    /// AES-CCM of TLS 1.2 (RFC 6655 §3).
    pub const CCM: Class = Class::Aead { nonce: 8, tag: 16 };
    /// AES-CCM of TLS 1.2 with the short tag (RFC 6655 §4).
    pub const CCM_8: Class = Class::Aead { nonce: 8, tag: 8 };
    /// ChaCha20-Poly1305 of TLS 1.2, whose nonce is not sent (RFC 7905 §2).
    pub const CHACHA20: Class = Class::Aead { nonce: 0, tag: 16 };
}

impl CipherSuite {
    /// IANA name, as in `TLS_RSA_WITH_AES_256_CBC_SHA`.
    pub fn iana_name(self) -> Option<&'static str> {
        self.known().map(|suite| suite.iana)
    }

    /// OpenSSL name, as in `AES256-SHA`: the spelling of X-DTLS-CipherSuite and of the ASA's `ssl cipher`.
    pub fn openssl_name(self) -> Option<&'static str> {
        self.known().map(|suite| suite.openssl)
    }

    /// What it adds to a record; `None` for a suite not in the table.
    pub fn class(self) -> Option<Class> {
        self.known().map(|suite| suite.class)
    }

    /// Finds a suite by its IANA or OpenSSL name, upper or lower case.
    pub fn from_name(name: &str) -> Option<CipherSuite> {
        let matches =
            |suite: &&Known| suite.iana.eq_ignore_ascii_case(name) || suite.openssl.eq_ignore_ascii_case(name);
        TABLE.iter().find(matches).map(|suite| CipherSuite(suite.id))
    }

    fn known(self) -> Option<&'static Known> {
        let at = TABLE.binary_search_by_key(&self.0, |suite| suite.id).ok()?;
        TABLE.get(at)
    }
}

impl fmt::Display for CipherSuite {
    /// The IANA name, or `suite 0xcafe`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.iana_name() {
            Some(name) => f.write_str(name),
            None => write!(f, "suite 0x{:04x}", self.0),
        }
    }
}

struct Known {
    id: u16,
    iana: &'static str,
    openssl: &'static str,
    class: Class,
}

const fn suite(id: u16, iana: &'static str, openssl: &'static str, class: Class) -> Known {
    Known { id, iana, openssl, class }
}

const RC4_MD5: Class = Class::Stream { mac: 16 };
const RC4_SHA: Class = Class::Stream { mac: 20 };
const DES_SHA: Class = Class::Cbc { block: 8, mac: 20 };
// Camellia and SEED have the block length of AES.
const AES_SHA: Class = Class::Cbc { block: 16, mac: 20 };
const AES_SHA256: Class = Class::Cbc { block: 16, mac: 32 };
const AES_SHA384: Class = Class::Cbc { block: 16, mac: 48 };
const TLS13: Class = Class::Tls13 { tag: 16 };
const TLS13_CCM_8: Class = Class::Tls13 { tag: 8 };

/// Ordered by id for the binary search.
#[rustfmt::skip]
static TABLE: &[Known] = &[
    suite(0x0004, "TLS_RSA_WITH_RC4_128_MD5", "RC4-MD5", RC4_MD5),
    suite(0x0005, "TLS_RSA_WITH_RC4_128_SHA", "RC4-SHA", RC4_SHA),
    suite(0x0009, "TLS_RSA_WITH_DES_CBC_SHA", "DES-CBC-SHA", DES_SHA),
    suite(0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA", "DES-CBC3-SHA", DES_SHA),
    suite(0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA", "DHE-RSA-DES-CBC3-SHA", DES_SHA),
    suite(0x0018, "TLS_DH_anon_WITH_RC4_128_MD5", "ADH-RC4-MD5", RC4_MD5),
    suite(0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA", AES_SHA),
    suite(0x0032, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA", "DHE-DSS-AES128-SHA", AES_SHA),
    suite(0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA", "DHE-RSA-AES128-SHA", AES_SHA),
    suite(0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA", AES_SHA),
    suite(0x0038, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA", "DHE-DSS-AES256-SHA", AES_SHA),
    suite(0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA", "DHE-RSA-AES256-SHA", AES_SHA),
    suite(0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256", AES_SHA256),
    suite(0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256", "AES256-SHA256", AES_SHA256),
    suite(0x0041, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA", "CAMELLIA128-SHA", AES_SHA),
    suite(0x0045, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA", "DHE-RSA-CAMELLIA128-SHA", AES_SHA),
    suite(0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256", "DHE-RSA-AES128-SHA256", AES_SHA256),
    suite(0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", "DHE-RSA-AES256-SHA256", AES_SHA256),
    suite(0x0084, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA", "CAMELLIA256-SHA", AES_SHA),
    suite(0x0088, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA", "DHE-RSA-CAMELLIA256-SHA", AES_SHA),
    suite(0x008a, "TLS_PSK_WITH_RC4_128_SHA", "PSK-RC4-SHA", RC4_SHA),
    suite(0x008b, "TLS_PSK_WITH_3DES_EDE_CBC_SHA", "PSK-3DES-EDE-CBC-SHA", DES_SHA),
    suite(0x008c, "TLS_PSK_WITH_AES_128_CBC_SHA", "PSK-AES128-CBC-SHA", AES_SHA),
    suite(0x008d, "TLS_PSK_WITH_AES_256_CBC_SHA", "PSK-AES256-CBC-SHA", AES_SHA),
    suite(0x0096, "TLS_RSA_WITH_SEED_CBC_SHA", "SEED-SHA", AES_SHA),
    suite(0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256", Class::GCM),
    suite(0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384", Class::GCM),
    suite(0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "DHE-RSA-AES128-GCM-SHA256", Class::GCM),
    suite(0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", "DHE-RSA-AES256-GCM-SHA384", Class::GCM),
    suite(0x00a8, "TLS_PSK_WITH_AES_128_GCM_SHA256", "PSK-AES128-GCM-SHA256", Class::GCM),
    suite(0x00a9, "TLS_PSK_WITH_AES_256_GCM_SHA384", "PSK-AES256-GCM-SHA384", Class::GCM),
    suite(0x00aa, "TLS_DHE_PSK_WITH_AES_128_GCM_SHA256", "DHE-PSK-AES128-GCM-SHA256", Class::GCM),
    suite(0x00ab, "TLS_DHE_PSK_WITH_AES_256_GCM_SHA384", "DHE-PSK-AES256-GCM-SHA384", Class::GCM),
    suite(0x00ae, "TLS_PSK_WITH_AES_128_CBC_SHA256", "PSK-AES128-CBC-SHA256", AES_SHA256),
    suite(0x00af, "TLS_PSK_WITH_AES_256_CBC_SHA384", "PSK-AES256-CBC-SHA384", AES_SHA384),
    suite(0x1301, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", TLS13),
    suite(0x1302, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", TLS13),
    suite(0x1303, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", TLS13),
    suite(0x1304, "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_SHA256", TLS13),
    suite(0x1305, "TLS_AES_128_CCM_8_SHA256", "TLS_AES_128_CCM_8_SHA256", TLS13_CCM_8),
    suite(0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", "ECDHE-ECDSA-RC4-SHA", RC4_SHA),
    suite(0xc008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA", "ECDHE-ECDSA-DES-CBC3-SHA", DES_SHA),
    suite(0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA", AES_SHA),
    suite(0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA", AES_SHA),
    suite(0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA", "ECDHE-RSA-RC4-SHA", RC4_SHA),
    suite(0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", "ECDHE-RSA-DES-CBC3-SHA", DES_SHA),
    suite(0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA", AES_SHA),
    suite(0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA", AES_SHA),
    suite(0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256", AES_SHA256),
    suite(0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", "ECDHE-ECDSA-AES256-SHA384", AES_SHA384),
    suite(0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256", AES_SHA256),
    suite(0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", "ECDHE-RSA-AES256-SHA384", AES_SHA384),
    suite(0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", Class::GCM),
    suite(0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", Class::GCM),
    suite(0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", Class::GCM),
    suite(0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", Class::GCM),
    suite(0xc035, "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA", "ECDHE-PSK-AES128-CBC-SHA", AES_SHA),
    suite(0xc036, "TLS_ECDHE_PSK_WITH_AES_256_CBC_SHA", "ECDHE-PSK-AES256-CBC-SHA", AES_SHA),
    suite(0xc037, "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256", "ECDHE-PSK-AES128-CBC-SHA256", AES_SHA256),
    suite(0xc038, "TLS_ECDHE_PSK_WITH_AES_256_CBC_SHA384", "ECDHE-PSK-AES256-CBC-SHA384", AES_SHA384),
    suite(0xc09c, "TLS_RSA_WITH_AES_128_CCM", "AES128-CCM", Class::CCM),
    suite(0xc09d, "TLS_RSA_WITH_AES_256_CCM", "AES256-CCM", Class::CCM),
    suite(0xc09e, "TLS_DHE_RSA_WITH_AES_128_CCM", "DHE-RSA-AES128-CCM", Class::CCM),
    suite(0xc09f, "TLS_DHE_RSA_WITH_AES_256_CCM", "DHE-RSA-AES256-CCM", Class::CCM),
    suite(0xc0a0, "TLS_RSA_WITH_AES_128_CCM_8", "AES128-CCM8", Class::CCM_8),
    suite(0xc0a1, "TLS_RSA_WITH_AES_256_CCM_8", "AES256-CCM8", Class::CCM_8),
    suite(0xc0a2, "TLS_DHE_RSA_WITH_AES_128_CCM_8", "DHE-RSA-AES128-CCM8", Class::CCM_8),
    suite(0xc0a3, "TLS_DHE_RSA_WITH_AES_256_CCM_8", "DHE-RSA-AES256-CCM8", Class::CCM_8),
    suite(0xc0a4, "TLS_PSK_WITH_AES_128_CCM", "PSK-AES128-CCM", Class::CCM),
    suite(0xc0a5, "TLS_PSK_WITH_AES_256_CCM", "PSK-AES256-CCM", Class::CCM),
    suite(0xc0a8, "TLS_PSK_WITH_AES_128_CCM_8", "PSK-AES128-CCM8", Class::CCM_8),
    suite(0xc0a9, "TLS_PSK_WITH_AES_256_CCM_8", "PSK-AES256-CCM8", Class::CCM_8),
    suite(0xc0ac, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM", "ECDHE-ECDSA-AES128-CCM", Class::CCM),
    suite(0xc0ad, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM", "ECDHE-ECDSA-AES256-CCM", Class::CCM),
    suite(0xc0ae, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", "ECDHE-ECDSA-AES128-CCM8", Class::CCM_8),
    suite(0xc0af, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8", "ECDHE-ECDSA-AES256-CCM8", Class::CCM_8),
    suite(0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", Class::CHACHA20),
    suite(0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", Class::CHACHA20),
    suite(0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "DHE-RSA-CHACHA20-POLY1305", Class::CHACHA20),
    suite(0xccab, "TLS_PSK_WITH_CHACHA20_POLY1305_SHA256", "PSK-CHACHA20-POLY1305", Class::CHACHA20),
    suite(0xccac, "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-PSK-CHACHA20-POLY1305", Class::CHACHA20),
    suite(0xccad, "TLS_DHE_PSK_WITH_CHACHA20_POLY1305_SHA256", "DHE-PSK-CHACHA20-POLY1305", Class::CHACHA20),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_ordered_and_names_are_unique() {
        assert!(TABLE.windows(2).all(|pair| pair[0].id < pair[1].id));
        for suite in TABLE {
            assert_eq!(CipherSuite::from_name(suite.iana), Some(CipherSuite(suite.id)));
            assert_eq!(CipherSuite::from_name(suite.openssl), Some(CipherSuite(suite.id)));
        }
    }

    #[test]
    fn class_agrees_with_the_name() {
        for suite in TABLE {
            let expected = match suite.iana {
                name if !name.contains("_WITH_") => Class::Tls13 { tag: if name.contains("CCM_8") { 8 } else { 16 } },
                name if name.contains("RC4") => Class::Stream { mac: if name.ends_with("MD5") { 16 } else { 20 } },
                name if name.contains("GCM") => Class::GCM,
                name if name.contains("CCM_8") => Class::CCM_8,
                name if name.contains("CCM") => Class::CCM,
                name if name.contains("CHACHA20") => Class::CHACHA20,
                name => Class::Cbc {
                    block: if name.contains("DES") { 8 } else { 16 },
                    mac: if name.ends_with("SHA256") {
                        32
                    } else if name.ends_with("SHA384") {
                        48
                    } else {
                        20
                    },
                },
            };
            assert_eq!(suite.class, expected, "{}", suite.iana);
        }
    }

    #[test]
    fn names_found_in_headers_and_configurations() {
        let id = |name| CipherSuite::from_name(name).map(|suite| suite.0);
        assert_eq!(id("AES256-SHA256"), Some(0x003d));
        assert_eq!(id("rc4-sha"), Some(0x0005));
        assert_eq!(id("DES-CBC3-SHA"), Some(0x000a));
        assert_eq!(id("ECDHE-RSA-AES256-GCM-SHA384"), Some(0xc030));
        assert_eq!(id("tls_aes_256_gcm_sha384"), Some(0x1302));
        assert_eq!(id("PSK-NEGOTIATE"), None);
    }

    #[test]
    fn the_psk_suites_of_openconnect_are_known() {
        for id in [0x00a9, 0xccab, 0xc0a5, 0x008d, 0x00a8, 0xc0a4, 0x008c, 0x00ae] {
            assert!(CipherSuite(id).class().is_some(), "{id:04x}");
        }
    }

    #[test]
    fn unknown_ids_stay_numbers() {
        assert_eq!(CipherSuite(0xcafe).to_string(), "suite 0xcafe");
        assert_eq!(CipherSuite(0xcafe).class(), None);
    }
}
