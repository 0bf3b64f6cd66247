//! Protocols that share UDP 443 with DTLS, told by their first bytes so that nobody blames the VPN for them.

use super::be16;

/// A QUIC Initial packet: long header, fixed bit, a version in use (RFC 9000 §17.2, RFC 9369 §3, drafts 27 to 34).
pub fn is_quic_initial(payload: &[u8]) -> bool {
    let Some((&[first, v0, v1, v2, v3, id_len], _)) = payload.split_first_chunk::<6>() else {
        return false;
    };
    if first & 0xc0 != 0xc0 || id_len > 20 {
        return false;
    }
    let packet_type = (first >> 4) & 3;
    match u32::from_be_bytes([v0, v1, v2, v3]) {
        1 | 0xff00_001b..=0xff00_0022 => packet_type == 0,
        // QUIC version 2 moved Initial to 0b01 (RFC 9369 §3.2).
        0x6b33_43cf => packet_type == 1,
        _ => false,
    }
}

/// A STUN message: two zero bits, the magic cookie, a length that is a multiple of four and fits (RFC 8489 §5).
pub fn is_stun(payload: &[u8]) -> bool {
    let (Some(kind), Some(length), Some(cookie)) = (be16(payload), payload.get(2..).and_then(be16), payload.get(4..8))
    else {
        return false;
    };
    kind & 0xc000 == 0
        && length % 4 == 0
        && payload.len() <= 20 + usize::from(length)
        && cookie == [0x21, 0x12, 0xa4, 0x42]
}

/// An IKE message: version 1 or 2, and a length that is the datagram's; on port 4500 behind four zero bytes that tell it
/// from ESP (RFC 7296 §3.1, RFC 3948 §2.2).
pub fn is_ike(port: u16, payload: &[u8]) -> bool {
    let message = match port {
        4500 => payload.strip_prefix(&[0, 0, 0, 0]),
        _ => Some(payload),
    };
    let Some(message) = message else { return false };
    let known_version = message.get(17).is_some_and(|version| matches!(version, 0x10 | 0x20));
    let length = message.get(24..28).and_then(|bytes| bytes.first_chunk()).map(|bytes| u32::from_be_bytes(*bytes));
    known_version && length.is_some_and(|length| length as usize >= message.len() && length >= 28)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::hex;

    #[test]
    fn quic() {
        assert!(is_quic_initial(&hex("c3 00000001 08 0102030405060708 00")));
        assert!(is_quic_initial(&hex("d3 6b3343cf 08 0102030405060708 00")));
        assert!(is_quic_initial(&hex("cd ff00001d 08 0102030405060708 00")));
        assert!(!is_quic_initial(&hex("e3 00000001 08 0102030405060708 00")), "a Handshake packet");
        assert!(!is_quic_initial(&hex("43 00000001 08")), "a short header");
        assert!(!is_quic_initial(&hex("16 fefd 0000 000000000000")));
        assert!(!is_quic_initial(&[]));
    }

    #[test]
    fn ike() {
        let init = "0102030405060708 0000000000000000 21 20 22 08 00000000 0000001c";
        assert!(is_ike(500, &hex(init)));
        assert!(is_ike(4500, &hex(&format!("00000000 {init}"))));
        assert!(!is_ike(4500, &hex(init)), "ESP: its SPI is never zero");
        assert!(!is_ike(500, &hex("0102030405060708 0000000000000000 21 30 22 08 00000000 0000001c")));
        assert!(!is_ike(500, &hex("16fefd0000000000000000")));
    }

    #[test]
    fn stun() {
        assert!(is_stun(&hex("0001 0000 2112a442 000102030405060708090a0b")));
        assert!(!is_stun(&hex("0001 0000 2112a443 000102030405060708090a0b")));
        assert!(!is_stun(&hex("16fefd 0000 000000000000 0040 0100")));
        assert!(!is_stun(&hex("0001")));
    }
}
