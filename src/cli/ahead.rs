//! Decompresses in a thread of its own, so that decompression and analysis share two processors.
//!
//! Promises: the same bytes and the same error in the same order, at most [`DEPTH`] + 2 pieces of [`PIECE`] bytes held.
//! Refuses: to wait for its thread: one that waits for its source ends when that does.

use crate::capture::ReadAhead;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// Bytes handed over at a time.
const PIECE: usize = 256 << 10;
/// Pieces that wait at most.
const DEPTH: usize = 4;

/// Reads ahead where there is a second processor.
pub(super) const READ_AHEAD: ReadAhead = |input| match thread::available_parallelism() {
    Ok(processors) if processors.get() > 1 => Box::new(Ahead::new(input)),
    _ => input,
};

/// What another thread reads.
struct Ahead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    /// Pieces that were read go back, to be filled again.
    used: Sender<Vec<u8>>,
    piece: Vec<u8>,
    /// Bytes of the piece already given.
    given: usize,
}

impl Ahead {
    /// Begins to read `input`.
    fn new(input: impl Read + Send + 'static) -> Ahead {
        let (full, pieces) = sync_channel(DEPTH);
        let (used, empty) = channel();
        let failed = full.clone();
        let thread = thread::Builder::new().name("decompressor".to_owned());
        if let Err(error) = thread.spawn(move || fill(input, &full, &empty)) {
            // There is room for it: nothing was sent yet.
            let _ = failed.send(Err(error));
        }
        Ahead { pieces, used, piece: Vec::new(), given: 0 }
    }
}

impl Read for Ahead {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        while self.given == self.piece.len() {
            // The thread is gone when it has told everything: the end.
            let Ok(next) = self.pieces.recv() else { return Ok(0) };
            let piece = std::mem::replace(&mut self.piece, next?);
            self.given = 0;
            // Nobody takes it back when nothing more is to be read.
            let _ = self.used.send(piece);
        }
        let mut rest = self.piece.get(self.given..).unwrap_or_default();
        let count = rest.read(space)?;
        self.given += count;
        Ok(count)
    }
}

/// Reads until the end, an error, or nobody listens any more.
fn fill(mut input: impl Read, full: &SyncSender<io::Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) {
    loop {
        let mut piece = empty.try_recv().unwrap_or_default();
        piece.clear();
        let read = input.by_ref().take(PIECE as u64).read_to_end(&mut piece);
        let is_end = piece.is_empty() && read.is_ok();
        if is_end || !piece.is_empty() && full.send(Ok(piece)).is_err() {
            return;
        }
        if let Err(error) = read {
            // Whoever does not listen any more need not know.
            let _ = full.send(Err(error));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes a few at a time, then an error.
    struct Failing(Vec<u8>);

    impl Read for Failing {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "damaged"));
            }
            let count = self.0.len().min(space.len()).min(1000);
            for (to, from) in space.iter_mut().zip(self.0.drain(..count)) {
                *to = from;
            }
            Ok(count)
        }
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|i| (i * 7 % 251) as u8).collect()
    }

    #[test]
    fn gives_the_same_bytes() {
        for count in [0, 1, PIECE - 1, PIECE, PIECE + 1, 7 * PIECE + 5] {
            let mut all = Vec::new();
            Ahead::new(io::Cursor::new(bytes(count))).read_to_end(&mut all).unwrap();
            assert!(all == bytes(count), "{count}");
        }
    }

    #[test]
    fn what_came_before_an_error_comes_before_it() {
        for count in [0, 999, PIECE, 2 * PIECE + 300] {
            let mut all = Vec::new();
            let mut ahead = Ahead::new(Failing(bytes(count)));
            let error = ahead.read_to_end(&mut all).unwrap_err();
            assert_eq!((all.len(), error.kind()), (count, io::ErrorKind::InvalidData));
        }
    }

    #[test]
    fn who_is_dropped_early_leaves_no_thread_behind() {
        struct Told(std::sync::mpsc::Sender<()>, io::Repeat);
        impl Read for Told {
            fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
                self.1.read(space)
            }
        }
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.send(()).unwrap();
            }
        }
        let (gone, told) = channel();
        let mut ahead = Ahead::new(Told(gone, io::repeat(1)));
        assert_eq!(ahead.read(&mut [0; 10]).unwrap(), 10);
        drop(ahead);
        told.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    }
}
