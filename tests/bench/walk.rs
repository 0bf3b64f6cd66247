//! The floor: reads a capture and steps from header to header, as little as a program can do that reads all of it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

/// First argument of the process that walks.
pub const COMMAND: &str = "walk-blocks";

/// Bytes read at once.
const BUFFER: usize = 256 * 1024;

/// Little-endian pcapng or classic pcap; everything else is refused.
pub fn run(file: &Path) -> ExitCode {
    match walk(file) {
        Some(blocks) => {
            println!("{blocks}");
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
    }
}

/// How blocks follow each other: where in its head the length is, and what it does not count.
struct Layout {
    file_header: usize,
    head: usize,
    length_at: usize,
    beside: usize,
}

fn walk(file: &Path) -> Option<u64> {
    let mut file = File::open(file).ok()?;
    let mut buffer = vec![0; BUFFER];
    let mut filled = file.read(&mut buffer).ok()?;
    let layout = match *buffer.first_chunk::<4>()? {
        [0x0a, 0x0d, 0x0d, 0x0a] => Layout { file_header: 0, head: 8, length_at: 4, beside: 0 },
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => {
            Layout { file_header: 24, head: 16, length_at: 8, beside: 16 }
        }
        _ => return None,
    };
    let (mut at, mut blocks) = (layout.file_header, 0);
    loop {
        while let Some(head) = buffer.get(at..filled).and_then(|rest| rest.get(..layout.head)) {
            let length = u32::from_le_bytes(*head.get(layout.length_at..)?.first_chunk()?) as usize;
            at += (length + layout.beside).max(1);
            blocks += 1;
        }
        // A head that is cut by the buffer's end moves to its front; a block that goes beyond is stepped over.
        let kept = filled.saturating_sub(at);
        buffer.copy_within(filled - kept..filled, 0);
        at = at.saturating_sub(filled);
        let read = file.read(buffer.get_mut(kept..)?).ok()?;
        if read == 0 {
            return Some(blocks);
        }
        filled = kept + read;
    }
}
