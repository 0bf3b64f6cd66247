//! pcapng blocks to write: section, interfaces, packets with comments.
//!
//! Promises: little endian, lengths and padding right, options as Wireshark expects them. Refuses: to buffer a file.
//!
//! ```text
//!   type(4) length(4) | body, padded to 4 | length(4)                                  draft-ietf-opsawg-pcapng §3.1
//!   option: code(2) length(2) | value, padded to 4 | … | 0(2) 0(2)                     §3.5
//! ```

use super::{LinkType, Timestamp};
use std::io::{self, Write};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

/// Option codes (§3.5, §4.1, §4.2).
const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;

/// Bytes of the longest option value written: an option's length has sixteen bits.
pub const MAX_OPTION: usize = 65_000;

/// Options in the making.
#[derive(Debug, Default)]
pub struct OptionList(Vec<u8>);

impl OptionList {
    /// Adds one; text that is too long is cut at a character.
    pub fn text(&mut self, code: u16, text: &str) -> &mut OptionList {
        let mut end = text.len().min(MAX_OPTION);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.bytes(code, text.get(..end).unwrap_or_default().as_bytes())
    }

    fn bytes(&mut self, code: u16, value: &[u8]) -> &mut OptionList {
        self.0.extend(code.to_le_bytes());
        self.0.extend((value.len() as u16).to_le_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// The options and their end; nothing when there are none.
    fn finish(mut self) -> Vec<u8> {
        if !self.0.is_empty() {
            self.0.extend([0; 4]);
        }
        self.0
    }
}

fn block(kind: u32, body: &[&[u8]], out: &mut dyn Write) -> io::Result<()> {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let padded = length.next_multiple_of(4);
    let total = u32::try_from(padded + 12).map_err(|_| io::ErrorKind::InvalidInput)?.to_le_bytes();
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&total)?;
    for part in body {
        out.write_all(part)?;
    }
    out.write_all([0; 3].get(..padded - length).unwrap_or_default())?;
    out.write_all(&total)
}

/// Begins a file: a section of unknown length.
///
/// # Errors
///
/// What `out` says.
pub fn section(application: &str, comment: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    let mut options = OptionList::default();
    if let Some(comment) = comment {
        options.text(OPT_COMMENT, comment);
    }
    options.text(SHB_USERAPPL, application);
    let head = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &1_u16.to_le_bytes(), &0_u16.to_le_bytes(), &[0xff; 8]].concat();
    block(SECTION_HEADER, &[&head, &options.finish()], out)
}

/// Declares the next interface, times in nanoseconds.
///
/// # Errors
///
/// What `out` says.
pub fn interface(link: LinkType, name: &str, description: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut options = OptionList::default();
    options.text(IF_NAME, name).text(IF_DESCRIPTION, description).bytes(IF_TSRESOL, &[9]);
    let head = [&link.0.to_le_bytes()[..], &[0; 2], &0_u32.to_le_bytes()].concat();
    block(INTERFACE_DESCRIPTION, &[&head, &options.finish()], out)
}

/// A packet of that interface, whole.
///
/// # Errors
///
/// What `out` says.
pub fn packet(interface: u32, at: Timestamp, data: &[u8], comment: &str, out: &mut dyn Write) -> io::Result<()> {
    let [time_low, time_high] = [at.nanos() as u64 as u32, (at.nanos() as u64 >> 32) as u32];
    let length = data.len() as u32;
    let head = [interface, time_high, time_low, length, length].map(u32::to_le_bytes).concat();
    let padding = [0; 3];
    let padding = padding.get(..data.len().next_multiple_of(4) - data.len()).unwrap_or_default();
    let mut options = OptionList::default();
    options.text(OPT_COMMENT, comment);
    block(ENHANCED_PACKET, &[&head, data, padding, &options.finish()], out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Item;
    use super::super::reader::{Limits, Reader};
    use super::*;
    use std::io::Cursor;
    use std::ops::ControlFlow;

    #[test]
    fn what_is_written_is_read_back() {
        let mut file = Vec::new();
        section("acpcap", Some("what for"), &mut file).unwrap();
        interface(LinkType::RAW, "tcp.stream 1", "TLS tunnel", &mut file).unwrap();
        let at = Timestamp::from_nanos(1_795_431_694_428_234_801);
        packet(0, at, &[0x45, 0, 0, 5, 9], "frame 12", &mut file).unwrap();
        packet(0, at, &[0x45; 64], &"long ä".repeat(20_000), &mut file).unwrap();
        assert!(file.len().is_multiple_of(4));

        let mut reader = Reader::new("x", Box::new(Cursor::new(file)), Limits::default()).unwrap();
        let mut seen = Vec::new();
        reader
            .for_each(|item| {
                if let Item::Frame(frame) = item {
                    seen.push((frame.at, frame.data.to_vec(), frame.original_len));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(seen, [(at, vec![0x45, 0, 0, 5, 9], 5), (at, vec![0x45; 64], 64)]);
        assert_eq!(reader.interfaces()[0].name.as_deref(), Some("tcp.stream 1"));
        assert!(reader.damage().is_none());
    }
}
