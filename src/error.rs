//! Why we could not go on. Never what was odd in the traffic: that is data.

use thiserror::Error;

/// A reason to stop reading a capture altogether.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or read.
    #[error("{path}: cannot {operation}: {source}")]
    Io {
        /// The file as the user named it (`-` for standard input).
        path: String,
        /// What was being done, a verb phrase: `open`, `read`, `write`.
        operation: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file that should hold a key does not.
    #[error("{path}: no usable key: {reason}")]
    NotAKey {
        /// The file as the user named it.
        path: String,
        /// Why, one clause, without a word of what stands there.
        reason: &'static str,
    },
    /// The bytes are not a capture file of a known format.
    #[error("{path}: not a capture file at offset {offset}: {reason}")]
    NotACapture {
        /// The file as the user named it.
        path: String,
        /// Bytes from the start of the (decompressed) file.
        offset: u64,
        /// Why, one clause.
        reason: String,
    },
}
