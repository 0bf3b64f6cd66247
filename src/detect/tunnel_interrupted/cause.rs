//! The likely causes, and what is said of each.

use crate::session::reconnect;

/// Each has its line in the detector's explanation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    ClientClosed,
    ClientSilent,
    Dismissed,
    DpdUnanswered,
    GatewayClosed,
    GatewayHop,
    GatewayRestarted,
    GatewaySilent,
    LinkMtuChanged,
    Optimising,
    PathLost,
    /// Nobody knows which.
    PathLostOrTooLarge,
    Refused,
    Rekey,
    RekeyFailed,
    ResetByGateway,
    ResetByMiddlebox,
    Roaming,
    Sleep,
    TlsLost,
    TurnedAway,
    /// Nothing tells.
    Unknown,
}

impl From<reconnect::Cause> for Cause {
    fn from(cause: reconnect::Cause) -> Cause {
        use reconnect::Cause as Seam;
        match cause {
            Seam::ClientClosed => Cause::ClientClosed,
            Seam::ClientSilent => Cause::ClientSilent,
            Seam::DpdUnanswered => Cause::DpdUnanswered,
            Seam::GatewayClosed => Cause::GatewayClosed,
            Seam::LinkMtuChanged => Cause::LinkMtuChanged,
            Seam::Optimising => Cause::Optimising,
            Seam::PathLost => Cause::PathLost,
            Seam::Rekey => Cause::Rekey,
            Seam::Reset => Cause::ResetByGateway,
            Seam::Roaming => Cause::Roaming,
            Seam::Sleep => Cause::Sleep,
            Seam::TlsLost => Cause::TlsLost,
            // The reconnect for the MTU has a detector of its own.
            Seam::Mtu | Seam::Unknown => Cause::Unknown,
        }
    }
}

impl Cause {
    /// Its word in the explanation.
    pub fn word(self) -> &'static str {
        match self {
            Cause::ClientClosed => "client-closed",
            Cause::ClientSilent => "client-silent",
            Cause::Dismissed => "dismissed",
            Cause::DpdUnanswered => "dpd-unanswered",
            Cause::GatewayClosed => "gateway-closed",
            Cause::GatewayHop => "gateway-hop",
            Cause::GatewayRestarted => "gateway-restarted",
            Cause::GatewaySilent => "gateway-silent",
            Cause::LinkMtuChanged => "link-mtu-changed",
            Cause::Optimising => "optimising",
            Cause::PathLost => "path-lost",
            Cause::PathLostOrTooLarge => "path-lost-or-too-large",
            Cause::Refused => "refused",
            Cause::Rekey => "rekey",
            Cause::RekeyFailed => "rekey-failed",
            Cause::ResetByGateway => "reset-by-gateway",
            Cause::ResetByMiddlebox => "reset-by-middlebox",
            Cause::Roaming => "roaming",
            Cause::Sleep => "sleep",
            Cause::TlsLost => "tls-lost",
            Cause::TurnedAway => "turned-away",
            Cause::Unknown => "unknown",
        }
    }

    /// A clause for the verdict, where another tunnel followed or none did.
    pub fn headline(self, is_replaced: bool) -> &'static str {
        match self {
            Cause::ClientSilent if is_replaced => "nothing comes from the client for a while, then it reconnects",
            Cause::ClientSilent => "nothing comes from the client any more",
            Cause::Dismissed => "the gateway ends the session",
            Cause::DpdUnanswered if !is_replaced => "the gateway answers nothing in the tunnel any more",
            Cause::DpdUnanswered => "the gateway stops answering in the tunnel, and the client reconnects",
            Cause::GatewayClosed if !is_replaced => "the gateway closes the tunnel and takes no new one",
            Cause::GatewayRestarted => "the gateway falls silent, and refuses the client that comes back",
            Cause::GatewaySilent if is_replaced => "the gateway says nothing for a while, and the client reconnects",
            Cause::PathLost if is_replaced => "the path to the gateway is lost for a while, and the client reconnects",
            Cause::GatewaySilent | Cause::PathLost => "nothing comes back from the gateway any more",
            Cause::PathLostOrTooLarge => {
                "large packets of the tunnel go unanswered: the path is lost, or it drops what is large"
            }
            Cause::Refused => "the gateway grants no tunnel",
            Cause::RekeyFailed => "a rekey fails and takes the tunnel with it",
            Cause::ResetByGateway => "the gateway resets the tunnel",
            Cause::ResetByMiddlebox => "a device on the way resets the tunnel",
            Cause::TlsLost => "the TLS connection of the tunnel is dead, while DTLS goes on",
            Cause::TurnedAway => "the client comes back for a new tunnel and gets none",
            Cause::ClientClosed
            | Cause::GatewayClosed
            | Cause::GatewayHop
            | Cause::LinkMtuChanged
            | Cause::Optimising
            | Cause::Rekey
            | Cause::Roaming
            | Cause::Sleep
            | Cause::Unknown => "the tunnel is replaced",
        }
    }

    /// What to do, where that is known; `is_placed`: both ends show where the packets were lost.
    pub fn remedy(self, is_replaced: bool, is_placed: bool) -> Option<&'static str> {
        Some(match self {
            Cause::ResetByMiddlebox => {
                "find the device between client and gateway that resets TCP (the reset's TTL tells how far it is) and exempt the gateway"
            }
            Cause::ResetByGateway => {
                "see in the gateway's log why it closed the session: syslog 722037 and 716002 name the reason"
            }
            Cause::DpdUnanswered => {
                "see on the gateway what it did at that moment (load, failover); syslog 722037 `DPD failure` is its side of it"
            }
            Cause::ClientSilent | Cause::PathLost if is_placed => {
                "find what lost the packets between the client's NIC and the gateway's outside interface at that moment: its access network, a carrier, a firewall in front of the gateway"
            }
            Cause::ClientSilent => {
                "capture at the client: only there shows whether its network was lost or its machine slept or was off"
            }
            Cause::PathLost => "look at the client's network at that moment: nothing at all came back from the gateway",
            Cause::PathLostOrTooLarge => {
                "when it happens again, ping through the path with small and with full packets, and capture at both ends: if only small ones come back, the path drops what is large (see `path-mtu-blackhole`), and if none do it is lost"
            }
            Cause::GatewaySilent => {
                "see what the gateway did at that moment (crash, failover, load): packets reach it, and it says nothing"
            }
            Cause::Dismissed => {
                "see in the gateway's log who or what ended the session: an administrator, a time limit, a restart (113019 names the reason)"
            }
            Cause::TurnedAway => {
                "the user has to log in again; see in the gateway's log why it granted no new tunnel: the session was over meanwhile (113019 names the reason: idle timeout, time limit), or it offered another address than before"
            }
            Cause::Refused => {
                "see in the gateway's log why: a session that is over, too many logins or no licence (113029, 113038, 716023)"
            }
            Cause::GatewayRestarted => {
                "see whether the VPN service or the gateway restarted or failed over at that moment (crash, reload): it fell silent, and then took no new connection"
            }
            Cause::GatewayClosed if !is_replaced => {
                "see whether the VPN service or the gateway restarted, failed over or was taken down at that moment (crash, reload, licence, certificate): it closed the tunnel and then took no new one"
            }
            Cause::TlsLost => {
                "find what lost or forgot the TCP connection between client and gateway while UDP passed: the idle timeout for TCP, and the log at that moment, of each firewall and NAT on the way; without TLS the tunnel has nothing to fall back on when DTLS fails"
            }
            Cause::RekeyFailed => {
                "see on the gateway why the rekey is not answered; `anyconnect ssl rekey method new-tunnel` avoids the renegotiation"
            }
            Cause::ClientClosed
            | Cause::GatewayClosed
            | Cause::GatewayHop
            | Cause::LinkMtuChanged
            | Cause::Optimising
            | Cause::Rekey
            | Cause::Roaming
            | Cause::Sleep
            | Cause::Unknown => return None,
        })
    }
}
