//! Opens TLS and DTLS records with secrets that came from outside. No keys, no work.
//!
//! Promises: a record is opened only when its authentication says that the key fits; a key that does not fit is counted,
//! never guessed around; work per record is bounded whatever was lost. Primitives are RustCrypto's, none our own.
//! Refuses: to print, to log or to show a secret. The one door out is [`Keyring::export`].
//!
//! ```text
//!   key log, secrets block, RSA key ─► Keyring ─► TlsOpener ─► plaintext ─► CONNECT ─► Keyring.learn ─► DtlsOpener
//! ```

mod dtls;
mod hash;
mod keyring;
mod rsa;
mod seal;
mod suite;
mod tls;
mod transcript;

pub use dtls::DtlsOpener;
pub use keyring::{Keyring, Lines};
pub use tls::TlsOpener;

use std::fmt;

/// Who sealed a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client.
    Client,
    /// The server.
    Server,
}

impl Side {
    const BOTH: [Side; 2] = [Side::Client, Side::Server];

    fn of<T>(self, [client, server]: &[T; 2]) -> &T {
        match self {
            Side::Client => client,
            Side::Server => server,
        }
    }

    fn of_mut<T>(self, [client, server]: &mut [T; 2]) -> &mut T {
        match self {
            Side::Client => client,
            Side::Server => server,
        }
    }
}

/// What became of the sealed records of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Opened.
    pub opened: u64,
    /// Not opened although there was a key: it does not fit, or what it needs was not captured.
    pub failed: u64,
}

/// A key, a master secret, anything that must not be shown.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Secret(Box<[u8]>);

impl Secret {
    fn new(bytes: &[u8]) -> Secret {
        Secret(bytes.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secret bytes", self.0.len())
    }
}
