//! Packets to flows: the same 5-tuple, both directions, numbered as Wireshark does. Protocol-blind.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

mod conversations;
mod hand;
pub mod probe;
pub mod table;
pub mod tcp;
mod tuple;

/// Which way a packet of a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the endpoint that opened the flow.
    ToServer,
    /// From the endpoint that answered.
    ToClient,
}

impl Direction {
    /// The other way.
    pub fn reverse(self) -> Direction {
        match self {
            Direction::ToServer => Direction::ToClient,
            Direction::ToClient => Direction::ToServer,
        }
    }

    /// This way's part of a pair told to-server first.
    pub fn of<T>(self, pair: &[T; 2]) -> &T {
        let [to_server, to_client] = pair;
        match self {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    /// The same, to change it.
    pub fn of_mut<T>(self, pair: &mut [T; 2]) -> &mut T {
        let [to_server, to_client] = pair;
        match self {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    /// 0 for to-server, 1 for to-client: an index into a pair.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// One flow as one capture point saw it: a dense index, counted from 0 in order of appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u32);

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The two ends of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// Who opened it: sender of the SYN (or receiver of a SYN-ACK); for UDP and for TCP joined midway, the
    /// end with the higher port, and on equal ports the sender of the first packet.
    pub client: SocketAddr,
    /// Who answered.
    pub server: SocketAddr,
}

impl Endpoints {
    /// Both addresses, client first.
    pub fn addresses(&self) -> (IpAddr, IpAddr) {
        (self.client.ip(), self.server.ip())
    }
}

/// [`Endpoints`] at rest: 16 bytes, others than IPv4 in a box of their own.
#[derive(Clone, Debug)]
pub struct Ends(Rest);

#[derive(Clone, Debug)]
enum Rest {
    /// Addresses and ports, the client's first.
    V4([Ipv4Addr; 2], [u16; 2]),
    Other(Box<([IpAddr; 2], [u16; 2])>),
}

impl Ends {
    /// Of those ends addresses and ports.
    pub fn new(Endpoints { client, server }: Endpoints) -> Ends {
        let ports = [client.port(), server.port()];
        Ends(match (client.ip(), server.ip()) {
            (IpAddr::V4(client), IpAddr::V4(server)) => Rest::V4([client, server], ports),
            (client, server) => Rest::Other(Box::new(([client, server], ports))),
        })
    }

    /// Both ends.
    pub fn endpoints(&self) -> Endpoints {
        let ([client, server], [client_port, server_port]) = match &self.0 {
            Rest::V4(addresses, ports) => (addresses.map(IpAddr::V4), *ports),
            Rest::Other(other) => **other,
        };
        Endpoints { client: (client, client_port).into(), server: (server, server_port).into() }
    }
}
