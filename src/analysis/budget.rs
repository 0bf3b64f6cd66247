//! One number for all caps: how much memory a run may take.
//!
//! Promises: caps only shrink, and what they leave out is a loss as ever. Refuses: to measure while it runs; a capture made to
//! fill every cap at once takes more.

use super::Options;

/// Bytes taken before the first flow: the program, the reader's window, decompression.
const BASE: u64 = 16 << 20;
/// Bytes of a flow that is followed and means nothing: itself, two remembered conversations, room to grow. Measured on SYNs: 550.
const FOLLOWED: u64 = 640;
/// Bytes of a flow with TLS, DTLS or large packets. Measured on sessions of three flows: 0.9 KiB where they are short, 3 KiB where
/// they are long.
const REMEMBERED: u64 = 3 << 10;
/// Bytes of its share of what a report keeps of a session. Measured on the same sessions: 4 to 5 KiB.
const TOLD: u64 = 5 << 10;
/// Flows of a session: TLS, DTLS, and one inside.
const FLOWS: u64 = 3;
/// Bytes of one kind of ICMP error.
const ICMP: u64 = 256;
/// And per refused TCP connection.
const REFUSED: u64 = 128;
/// Bytes of a fragmented datagram that waits, on average.
const DATAGRAM: u64 = 4 << 10;
/// A block shorter than this is always read: no frame is longer than a quarter of it.
const SHORTEST_LIMIT: usize = 1 << 20;

impl Options {
    /// The same with its caps scaled down, so that a run stays near `memory` bytes: three eighths for flows that are followed, half
    /// for those that are remembered and what is told of them (settle `max_told` before), the rest for fragments and ICMP errors.
    pub fn within(mut self, memory: u64) -> Options {
        let rest = memory.saturating_sub(BASE).max(SHORTEST_LIMIT as u64);
        let followed = rest / 8 * 3 / FOLLOWED;
        shrink(&mut self.dissect.flows.max_flows, followed);
        shrink(&mut self.dissect.flows.max_conversations, followed * 2);
        let remembered = self.remembered(rest / 2);
        shrink(&mut self.tracker.max_flows, remembered);
        shrink(&mut self.tracker.max_icmp, rest / 32 / ICMP);
        shrink(&mut self.tracker.max_refused, rest / 64 / REFUSED);
        shrink(&mut self.dissect.fragments.bytes, rest / 32);
        shrink(&mut self.dissect.fragments.datagrams, rest / 32 / DATAGRAM);
        // A direction's share: some hundred with a hole at once are many.
        shrink(&mut self.dissect.tcp.max_out_of_order_bytes, rest / 512);
        // The window doubles until a block fits.
        shrink(&mut self.reader.max_block, rest / 8);
        self.reader.max_block = self.reader.max_block.max(SHORTEST_LIMIT);
        self
    }

    /// How many flows so much is enough for, what the report tells of them included.
    fn remembered(&self, bytes: u64) -> u64 {
        let all_told = bytes / (REMEMBERED + TOLD);
        let most_told = self.max_told.map_or(u64::MAX, |most| FLOWS.saturating_mul(most as u64));
        all_told.max(bytes.saturating_sub(most_told.saturating_mul(TOLD)) / REMEMBERED)
    }
}

fn shrink(cap: &mut usize, most: u64) {
    *cap = (*cap).min(usize::try_from(most).unwrap_or(usize::MAX)).max(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(options: &Options) -> [usize; 8] {
        let (dissect, tracker) = (options.dissect, options.tracker);
        [
            dissect.flows.max_flows,
            dissect.flows.max_conversations,
            dissect.fragments.bytes,
            dissect.fragments.datagrams,
            dissect.tcp.max_out_of_order_bytes,
            tracker.max_flows,
            tracker.max_icmp,
            options.reader.max_block,
        ]
    }

    #[test]
    fn less_memory_means_smaller_caps_and_much_means_the_usual_ones() {
        let usual = Options::default();
        let of = |mebibytes: u64| caps(&usual.within(mebibytes << 20));
        assert_eq!(of(1 << 20), caps(&usual));
        for (less, more) in [(0, 20), (20, 32), (32, 64), (64, 256), (256, 4096)] {
            let (less, more) = (of(less), of(more));
            assert!(less.iter().zip(more).all(|(less, more)| *less > 0 && *less <= more), "{less:?} {more:?}");
            assert_ne!(less, more);
        }
    }

    #[test]
    fn what_the_caps_allow_is_what_there_is() {
        for memory in [32_u64 << 20, 256 << 20, 1 << 30] {
            let remembered = [None, Some(50)].map(|max_told| {
                let options = Options { max_told, ..Options::default() }.within(memory);
                let [flows, _, fragments, _, _, remembered, icmp, _] = caps(&options).map(|n| n as u64);
                let told = max_told.map_or(remembered, |most| remembered.min(FLOWS * most as u64));
                let sum = BASE + flows * FOLLOWED + remembered * REMEMBERED + told * TOLD + fragments + icmp * ICMP;
                assert!(sum <= memory, "{sum} of {memory}");
                remembered
            });
            let [told, summed_up] = remembered;
            assert!(told < summed_up, "{told} {summed_up}");
        }
    }
}
