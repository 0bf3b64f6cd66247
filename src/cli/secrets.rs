//! Key logs and RSA keys the user names, as a keyring.
//!
//! Promises: a complaint names the file, the line and the reason, never what stands there.

use super::output::Destination;
use crate::decrypt::{Keyring, Lines};
use crate::error::Error;
use clap::Args;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes read of a key file.
const MAX_KEY: u64 = 64 * 1024 + 1;

/// Options that bring secrets.
#[derive(Debug, Args)]
pub(super) struct SecretArgs {
    /// TLS key log to decrypt with (NSS format, as SSLKEYLOGFILE writes it); repeatable. Secrets inside a pcapng are used by themselves
    #[arg(long = "keylog", value_name = "FILE", help_heading = "Keys")]
    key_logs: Vec<PathBuf>,

    /// The gateway's RSA private key (PEM, PKCS#1 or PKCS#8), for connections with RSA key exchange; repeatable
    #[arg(long = "rsa-key", value_name = "FILE", help_heading = "Keys")]
    rsa_keys: Vec<PathBuf>,
}

impl SecretArgs {
    /// Is one of these files where something is to be written?
    pub(super) fn names(&self, to: &Destination) -> bool {
        self.key_logs.iter().chain(&self.rsa_keys).any(|path| to.is(path))
    }

    /// Reads them all; with each key log what it was worth.
    pub(super) fn load(&self) -> Result<(Keyring, Vec<(String, Lines)>), Error> {
        let mut keyring = Keyring::new();
        let mut logs = Vec::new();
        for path in &self.key_logs {
            let failed = |source| unreadable(path, source);
            let log = BufReader::new(File::open(path).map_err(failed)?);
            let lines = keyring.read_key_log(log).map_err(failed)?;
            logs.push((path.to_string_lossy().into_owned(), lines));
        }
        for path in &self.rsa_keys {
            let bytes = read(path, MAX_KEY)?;
            let bad = |reason| Error::NotAKey { path: path.to_string_lossy().into_owned(), reason };
            keyring.add_rsa_key(&bytes).map_err(bad)?;
        }
        Ok((keyring, logs))
    }
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.to_string_lossy().into_owned(), operation: "read", source }
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    file.take(most).read_to_end(&mut bytes).map_err(|source| unreadable(path, source))?;
    Ok(bytes)
}
