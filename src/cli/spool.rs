//! A capture that can be read only once, kept so that it can be read again.
//!
//! Promises: the file has no name, so it is gone with the process, whatever ends that. Refuses: more than a cap.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::ControlFlow;

/// Most bytes kept, as they come, compressed when they are: 4 GiB. Where temporary files live in memory, it is memory.
pub(super) const MOST: u64 = 4 << 30;
/// Bytes copied at a time.
const CHUNK: usize = 256 << 10;

/// Why nothing was kept.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is more than the cap allows.
    TooLarge,
    /// The source, or the temporary file, failed.
    Read(io::Error),
    Write(io::Error),
    /// `go_on` broke off.
    Stopped,
}

/// Reads `input` to its end into a file without a name.
///
/// # Errors
///
/// See [`Failure`].
pub(super) fn keep(
    input: &mut dyn Read,
    most: u64,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<File, Failure> {
    let mut file = tempfile::tempfile().map_err(Failure::Write)?;
    let mut chunk = vec![0; CHUNK];
    let mut kept = 0_u64;
    loop {
        let got = match input.read(&mut chunk) {
            Ok(0) => return Ok(file),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(Failure::Read(error)),
        };
        kept += got as u64;
        if kept > most {
            return Err(Failure::TooLarge);
        }
        file.write_all(chunk.get(..got).unwrap_or_default()).map_err(Failure::Write)?;
        if go_on().is_break() {
            return Err(Failure::Stopped);
        }
    }
}

/// What was kept, from its beginning. One reader at a time: they share a place in the file.
///
/// # Errors
///
/// What the system says.
pub(super) fn reopen(file: &File) -> io::Result<Box<dyn Read + Send>> {
    let mut file = file.try_clone()?;
    file.rewind()?;
    Ok(Box::new(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on() -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn what_is_kept_can_be_read_again_and_again() {
        let bytes: Vec<u8> = (0..CHUNK * 2 + 7).map(|n| n as u8).collect();
        let file = keep(&mut bytes.as_slice(), bytes.len() as u64, &mut on).unwrap();
        for _ in 0..2 {
            let mut again = Vec::new();
            reopen(&file).unwrap().read_to_end(&mut again).unwrap();
            assert!(again == bytes);
        }
    }

    #[test]
    fn more_than_the_cap_is_refused_and_a_stop_is_heard() {
        let refused = keep(&mut [0; 11].as_slice(), 10, &mut on);
        assert!(matches!(refused, Err(Failure::TooLarge)));
        let stopped = keep(&mut io::repeat(0), u64::MAX, &mut || ControlFlow::Break(()));
        assert!(matches!(stopped, Err(Failure::Stopped)));
    }
}
