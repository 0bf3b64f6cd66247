//! The tunnel protocol's own words, in the clear: HTTP heads, CSTP packets, what both say in them.
//!
//! Promises: typed values, bounded memory, no panic whatever the bytes; of a cookie or password only a hash leaves this room, of
//! a master secret only what [`TunnelRequest::take_master_secret`] hands over.
//! Refuses: to know where the bytes come from, or what they mean for the session.
//!
//! ```text
//!   CONNECT /CSCOSSLC/tunnel HTTP/1.1 … | 200 … X-CSTP-MTU: 1347 …   then, each way, one per TLS record:
//!   "STF" 1 | payload length (2) | type | 0 | payload                draft-mavrogiannopoulos-openconnect §2.2
//!   over DTLS:  type | payload                                       §2.3
//! ```

mod compress;
mod cstp;
mod http;
mod parameters;
mod talk;

pub use compress::{Encoding, Inflater, decompress_any};
pub use cstp::{Bye, MAX_PACKET, PacketKind, datagram};
pub use parameters::{Token, TunnelAnswer, TunnelRequest};
pub use talk::{Said, Talk};
