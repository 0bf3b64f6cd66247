//! Where a capture stood.

use std::fmt;
use std::str::FromStr;

/// A place on the path of an AnyConnect session (house words; see `docs/capturing.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vantage {
    /// The client's physical interface: outer packets before any firewall.
    Client,
    /// The gateway's outside interface: outer packets after every firewall.
    Outside,
    /// The gateway's inside interface: inner packets in the clear, and the gateway's ICMP to servers.
    Inside,
    /// The client's VPN adapter: inner packets as the client's applications send and get them.
    VirtualAdapter,
}

impl Vantage {
    /// Does it see the encrypted (outer) packets?
    pub fn is_outer(self) -> bool {
        matches!(self, Vantage::Client | Vantage::Outside)
    }

    /// The word used in flags and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Vantage::Client => "client",
            Vantage::Outside => "outside",
            Vantage::Inside => "inside",
            Vantage::VirtualAdapter => "virtual-adapter",
        }
    }

    /// How a sentence calls it.
    pub fn phrase(self) -> &'static str {
        match self {
            Vantage::Client => "the client's NIC",
            Vantage::Outside => "the gateway's outside interface",
            Vantage::Inside => "the gateway's inside interface",
            Vantage::VirtualAdapter => "the client's VPN adapter",
        }
    }
}

impl fmt::Display for Vantage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Vantage {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word.to_ascii_lowercase().as_str() {
            "client" | "phys" | "nic" => Ok(Vantage::Client),
            "outside" => Ok(Vantage::Outside),
            "inside" => Ok(Vantage::Inside),
            "virtual-adapter" | "va" | "adapter" => Ok(Vantage::VirtualAdapter),
            other => Err(format!("`{other}` is no vantage: client, outside, inside or virtual-adapter")),
        }
    }
}
