//! Bytes to records to handshake messages, for TLS (RFC 5246, RFC 8446) and DTLS (RFC 6347, RFC 9147, and the
//! pre-standard version 0x0100 that AnyConnect still speaks).
//!
//! Promises: no panic and bounded memory whatever the bytes; unknown numbers stay readable numbers.
//! Refuses: to decrypt, to order bytes, to know what the handshake is for.

use std::fmt;

pub mod cipher;
pub mod dtls;
pub mod handshake;
pub mod lookalike;
pub mod record;

pub use cipher::{CipherSuite, Class};
pub use dtls::{DtlsHandshake, DtlsHandshakeReader, DtlsMessage, DtlsRecord, looks_like_dtls, parse_datagram};
pub use handshake::{ClientHello, Handshake, HandshakeReader, HandshakeType, ServerHello, SessionId};
pub use lookalike::{is_quic_initial, is_stun};
pub use record::{Record, RecordScanner, Verdict};

/// Longest record fragment accepted, bytes: 2^14 + 2048 (RFC 5246 §6.2.3).
pub const MAX_FRAGMENT: usize = (1 << 14) + 2048;

/// A TLS or DTLS version as on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u16);

impl Version {
    /// SSL 3.0 (RFC 6101).
    pub const SSL_3_0: Version = Version(0x0300);
    /// TLS 1.0 (RFC 2246).
    pub const TLS_1_0: Version = Version(0x0301);
    /// TLS 1.1 (RFC 4346).
    pub const TLS_1_1: Version = Version(0x0302);
    /// TLS 1.2 (RFC 5246).
    pub const TLS_1_2: Version = Version(0x0303);
    /// TLS 1.3 (RFC 8446).
    pub const TLS_1_3: Version = Version(0x0304);
    /// OpenSSL's DTLS before 0.9.8f, the one AnyConnect calls DTLS 0.9.
    pub const DTLS_0_9: Version = Version(0x0100);
    /// DTLS 1.0 (RFC 4347).
    pub const DTLS_1_0: Version = Version(0xfeff);
    /// DTLS 1.2 (RFC 6347).
    pub const DTLS_1_2: Version = Version(0xfefd);
    /// DTLS 1.3 (RFC 9147).
    pub const DTLS_1_3: Version = Version(0xfefc);

    /// One of the four DTLS versions.
    pub fn is_dtls(self) -> bool {
        matches!(self, Version::DTLS_0_9 | Version::DTLS_1_0 | Version::DTLS_1_2 | Version::DTLS_1_3)
    }

    /// TLS 1.3 or DTLS 1.3.
    pub fn is_1_3(self) -> bool {
        matches!(self, Version::TLS_1_3 | Version::DTLS_1_3)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Version::SSL_3_0 => "SSL 3.0",
            Version::TLS_1_0 => "TLS 1.0",
            Version::TLS_1_1 => "TLS 1.1",
            Version::TLS_1_2 => "TLS 1.2",
            Version::TLS_1_3 => "TLS 1.3",
            Version::DTLS_0_9 => "DTLS 0.9 (0x0100)",
            Version::DTLS_1_0 => "DTLS 1.0",
            Version::DTLS_1_2 => "DTLS 1.2",
            Version::DTLS_1_3 => "DTLS 1.3",
            Version(other) => return write!(f, "version 0x{other:04x}"),
        };
        f.write_str(name)
    }
}

/// A record content type (IANA "TLS ContentType").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentType(pub u8);

impl ContentType {
    /// change_cipher_spec (RFC 5246 §7.1).
    pub const CHANGE_CIPHER_SPEC: ContentType = ContentType(20);
    /// alert (RFC 5246 §7.2).
    pub const ALERT: ContentType = ContentType(21);
    /// handshake (RFC 5246 §7.4).
    pub const HANDSHAKE: ContentType = ContentType(22);
    /// application_data.
    pub const APPLICATION_DATA: ContentType = ContentType(23);
    /// heartbeat (RFC 6520).
    pub const HEARTBEAT: ContentType = ContentType(24);
    /// tls12_cid (RFC 9146 §4).
    pub const TLS12_CID: ContentType = ContentType(25);
    /// ACK (RFC 9147 §7).
    pub const ACK: ContentType = ContentType(26);

    /// The first byte of a DTLS 1.3 unified header, 001CSLEE: the real type is encrypted (RFC 9147 §4).
    pub fn is_unified_header(self) -> bool {
        self.0 & 0xe0 == 0x20
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            ContentType::CHANGE_CIPHER_SPEC => "change_cipher_spec",
            ContentType::ALERT => "alert",
            ContentType::HANDSHAKE => "handshake",
            ContentType::APPLICATION_DATA => "application_data",
            ContentType::HEARTBEAT => "heartbeat",
            ContentType::TLS12_CID => "tls12_cid",
            ContentType::ACK => "ack",
            other if other.is_unified_header() => "DTLS 1.3 ciphertext",
            ContentType(other) => return write!(f, "content type {other}"),
        };
        f.write_str(name)
    }
}

/// A readable alert (RFC 5246 §7.2, RFC 8446 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alert {
    /// 1 warning, 2 fatal.
    pub level: u8,
    /// AlertDescription number.
    pub description: u8,
}

impl Alert {
    /// Reads a plaintext alert fragment. Encrypted alerts are longer than two bytes and give `None`.
    pub fn parse(fragment: &[u8]) -> Option<Alert> {
        match *fragment {
            [level @ 1..=2, description] => Some(Alert { level, description }),
            _ => None,
        }
    }

    /// RFC name of the description, when it has one (IANA "TLS Alerts").
    pub fn name(self) -> Option<&'static str> {
        Some(match self.description {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            21 => "decryption_failed",
            22 => "record_overflow",
            30 => "decompression_failure",
            40 => "handshake_failure",
            41 => "no_certificate",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            52 => "too_many_cids_requested",
            60 => "export_restriction",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            100 => "no_renegotiation",
            109 => "missing_extension",
            110 => "unsupported_extension",
            111 => "certificate_unobtainable",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            114 => "bad_certificate_hash_value",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            121 => "ech_required",
            _ => return None,
        })
    }
}

impl fmt::Display for Alert {
    /// As in `fatal handshake_failure (40)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            1 => f.write_str("warning")?,
            2 => f.write_str("fatal")?,
            other => write!(f, "level {other}")?,
        }
        write!(f, " {} ({})", self.name().unwrap_or("alert"), self.description)
    }
}

/// Big-endian u16 from the front of a slice.
pub(crate) fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk::<2>().map(|b| u16::from_be_bytes(*b))
}

/// Big-endian 24-bit number from the front of a slice.
pub(crate) fn be24(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<3>().map(|&[a, b, c]| u32::from_be_bytes([0, a, b, c]))
}

#[cfg(test)]
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_well() {
        assert_eq!(Version(0x0303).to_string(), "TLS 1.2");
        assert_eq!(Version(0x0100).to_string(), "DTLS 0.9 (0x0100)");
        assert_eq!(Version(0xfefd).to_string(), "DTLS 1.2");
        assert_eq!(Version(0x7f12).to_string(), "version 0x7f12");
        assert_eq!(Alert { level: 2, description: 40 }.to_string(), "fatal handshake_failure (40)");
        assert_eq!(Alert { level: 1, description: 200 }.to_string(), "warning alert (200)");
        assert_eq!(ContentType(23).to_string(), "application_data");
        assert_eq!(ContentType(99).to_string(), "content type 99");
    }

    #[test]
    fn encrypted_alerts_are_not_read() {
        assert_eq!(Alert::parse(&[2, 40]), Some(Alert { level: 2, description: 40 }));
        assert_eq!(Alert::parse(&[2, 40, 0]), None);
        assert_eq!(Alert::parse(&[7, 40]), None);
        assert_eq!(Alert::parse(&[]), None);
    }
}
