//! What says that a session is AnyConnect's.

use std::fmt;

/// What says so, without keys more or less surely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// CONNECT was read with keys.
    Connect,
    /// A ClientHello of DTLS as AnyConnect sends it, and what it stood beside.
    Dtls(&'static str, Beside),
    /// The shape of a tunnel's records.
    Cstp,
    /// The same, with a suite that rounds their lengths up.
    CoarseCstp,
    /// DTLS of which the capture has no beginning, to the port of a gateway.
    LateDtls {
        /// Beside TLS to it; or else only other clients' sessions tell that it is one.
        has_tls: bool,
    },
    /// The same, where TLS and DTLS show in one direction only, with their beginning or without.
    HalfDtls,
    /// A TLS connection that began with HTTP and then talks beside question and answer, to a gateway proven by others.
    Quiet {
        /// Its records cannot all be CSTP's.
        is_odd: bool,
        /// Its ClientHello is that of clients with tunnels there.
        is_known: bool,
    },
    /// A TLS connection that began with HTTP and then talks beside question and answer, and goes on in another of the same program.
    Replaced,
    /// Traffic inside a tunnel that was not captured.
    Inside,
}

/// What a DTLS ClientHello stood beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// A TLS tunnel to the same gateway.
    Tunnel,
    /// TLS to it.
    Tls,
    /// TCP to it, of which frames are cut too short to read the TLS: its `tcp.stream`.
    Unread(u32),
    /// Nothing that was captured.
    Nothing,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CSTP: &str = "TLS records the size of CSTP frames: inner ACKs, DPD and keepalive";
        match self {
            Proof::Connect => f.write_str("CONNECT /CSCOSSLC/tunnel, read with keys"),
            Proof::Dtls(print, Beside::Tunnel) => write!(f, "{print}, beside a TLS tunnel to the same gateway"),
            Proof::Dtls(print, Beside::Tls) => write!(f, "{print}, beside TLS to the same gateway"),
            Proof::Dtls(print, Beside::Unread(stream)) => write!(
                f,
                "{print}, beside TCP to the same gateway (tcp.stream {stream}), whose frames are cut too short to read the TLS"
            ),
            Proof::Dtls(print, Beside::Nothing) => write!(f, "{print}; its TLS connection was not captured"),
            Proof::Cstp => f.write_str(CSTP),
            Proof::CoarseCstp => write!(f, "{CSTP}, as far as CBC padding lets tell"),
            Proof::LateDtls { has_tls: true } => {
                f.write_str("DTLS data beside TLS to the same gateway; both began before the capture")
            }
            Proof::HalfDtls => {
                f.write_str("DTLS data beside TLS to the same gateway; of both only one direction was captured")
            }
            Proof::LateDtls { has_tls: false } => f.write_str(
                "DTLS data to the port where other clients have sessions; it began before the capture, and no TLS was captured",
            ),
            Proof::Quiet { is_odd, is_known } => {
                let fit = if *is_odd { "that do not all fit" } else { "that may be" };
                write!(
                    f,
                    "HTTP over TLS, then talk beside question and answer in records {fit} CSTP, to a gateway that other clients \
                     speak DTLS with"
                )?;
                if *is_known { f.write_str("; its ClientHello is that of clients with tunnels there") } else { Ok(()) }
            }
            Proof::Replaced => f.write_str(
                "HTTP over TLS, then talk beside question and answer in records that may be CSTP; as that connection was closed, \
                 the same program went on in another without a login",
            ),
            Proof::Inside => f.write_str(
                "traffic of one inner address; the tunnel itself was not captured, so that it is AnyConnect rests on where \
                 the capture stood",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_proof_says_what_it_rests_on() {
        let quiet = |is_odd, is_known| Proof::Quiet { is_odd, is_known }.to_string();
        assert!(quiet(false, false).contains("records that may be CSTP, to a gateway"));
        assert!(quiet(true, true).contains("that do not all fit CSTP") && quiet(true, true).ends_with("tunnels there"));
        let hello = "DTLS ClientHello that resumes a session";
        assert!(Proof::Dtls(hello, Beside::Nothing).to_string().ends_with("its TLS connection was not captured"));
        let unread = Proof::Dtls(hello, Beside::Unread(3)).to_string();
        assert!(unread.contains("(tcp.stream 3), whose frames are cut too short"), "{unread}");
        assert_ne!(Proof::Dtls(hello, Beside::Tunnel).to_string(), Proof::Dtls(hello, Beside::Tls).to_string());
        assert!(Proof::CoarseCstp.to_string().starts_with(&Proof::Cstp.to_string()));
    }
}
