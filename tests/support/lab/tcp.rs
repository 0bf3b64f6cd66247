//! One end of a TCP connection, as simple as a capture lets pass: slow start, cumulative acks, one retransmission timer.

use super::packet::{ACK, FIN, PSH, RST, SYN, Segment};
use super::{MILLI, Time};
use std::collections::BTreeMap;

/// Least retransmission time-out (Linux).
const RTO: Time = 200 * MILLI;

/// One end.
#[derive(Debug)]
pub struct Tcp {
    /// MSS this end announces.
    pub mss: u16,
    /// Payload bytes it puts in one segment.
    pub limit: u16,
    state: State,
    iss: u32,
    irs: u32,
    /// Bytes to send, from the first on.
    queue: Vec<u8>,
    una: usize,
    nxt: usize,
    window: usize,
    closing: bool,
    fin_sent: bool,
    peer_fin: bool,
    received: usize,
    waiting: BTreeMap<usize, usize>,
    rto: Time,
    /// When the timer fires; timers of another moment are stale.
    pub due: Option<Time>,
    /// What the other end may still send, bytes; 0 announces a closed window.
    pub receive_window: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SynSent,
    SynReceived,
    Open,
    Gone,
}

/// What a segment changed.
#[derive(Debug, Default)]
pub struct Change {
    pub opened: bool,
    /// The other end closed, or reset.
    pub closed: bool,
}

impl Tcp {
    /// An end that opens.
    pub fn open(mss: u16, iss: u32, now: Time) -> (Tcp, Segment) {
        let mut tcp = Tcp::new(mss, iss, State::SynSent);
        tcp.due = Some(now + 1000 * MILLI);
        let syn = tcp.segment(SYN, 0, Vec::new());
        (tcp, syn)
    }

    /// An end that was asked.
    pub fn accept(mss: u16, iss: u32, syn: &Segment) -> (Tcp, Segment) {
        let mut tcp = Tcp::new(mss, iss, State::SynReceived);
        tcp.irs = syn.seq;
        tcp.limit = syn.mss.unwrap_or(536).min(mss);
        let answer = tcp.segment(SYN | ACK, 0, Vec::new());
        (tcp, answer)
    }

    fn new(mss: u16, iss: u32, state: State) -> Tcp {
        Tcp {
            mss,
            limit: mss,
            state,
            iss,
            irs: 0,
            queue: Vec::new(),
            una: 0,
            nxt: 0,
            window: 10,
            closing: false,
            fin_sent: false,
            peer_fin: false,
            received: 0,
            waiting: BTreeMap::new(),
            rto: RTO,
            due: None,
            receive_window: 0xffff,
        }
    }

    /// Bytes received in order so far.
    pub fn received(&self) -> usize {
        self.received
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open && !self.closing
    }

    pub fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// Queues bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.queue.extend(bytes);
    }

    /// Position behind everything queued.
    pub fn written(&self) -> usize {
        self.queue.len()
    }

    pub fn close(&mut self) {
        self.closing = true;
    }

    /// Gives up without a word.
    pub fn forget(&mut self) {
        self.state = State::Gone;
        self.due = None;
    }

    /// A RST of this end.
    pub fn reset(&mut self) -> Segment {
        let segment = self.segment(RST | ACK, self.nxt, Vec::new());
        self.forget();
        segment
    }

    /// A RST that somebody else forges in this end's name.
    pub fn forged_reset(&self) -> Segment {
        Segment { flags: RST, ..self.segment(RST, self.nxt, Vec::new()) }
    }

    fn segment(&self, flags: u8, at: usize, payload: Vec<u8>) -> Segment {
        let syn = flags & SYN != 0;
        let acks = flags & ACK != 0;
        // A FIN that went out takes a number too.
        let after_fin = self.fin_sent && flags & FIN == 0 && at == self.queue.len();
        let seq = self.iss.wrapping_add(u32::from(!syn) + u32::from(after_fin)).wrapping_add(at as u32);
        let ack = self.irs.wrapping_add(1 + self.received as u32 + u32::from(self.peer_fin));
        Segment {
            seq,
            ack: if acks { ack } else { 0 },
            flags,
            window: self.receive_window,
            mss: syn.then_some(self.mss),
            payload,
            ..Segment::default()
        }
    }

    /// Takes a segment; what to send now goes to `out`.
    pub fn take(&mut self, segment: &Segment, now: Time, out: &mut Vec<Segment>) -> Change {
        let mut change = Change::default();
        if self.state == State::Gone {
            return change;
        }
        if segment.flags & RST != 0 {
            self.forget();
            change.closed = true;
            return change;
        }
        match self.state {
            State::SynSent if segment.flags & (SYN | ACK) == SYN | ACK => {
                self.irs = segment.seq;
                self.limit = self.limit.min(segment.mss.unwrap_or(536));
                self.state = State::Open;
                self.due = None;
                change.opened = true;
                out.push(self.segment(ACK, 0, Vec::new()));
            }
            State::SynReceived if segment.flags & ACK != 0 && segment.flags & SYN == 0 => {
                self.state = State::Open;
                change.opened = true;
            }
            State::SynReceived if segment.flags & SYN != 0 => {
                out.push(self.segment(SYN | ACK, 0, Vec::new()));
                return change;
            }
            State::Open => {}
            _ => return change,
        }
        self.acknowledged(segment, now);
        if !segment.payload.is_empty() {
            self.receive(segment);
            let number = |at: usize| self.irs.wrapping_add(1 + at as u32);
            let sack = self.waiting.first_key_value().map(|(&from, &to)| (number(from), number(to)));
            out.push(Segment { sack, ..self.segment(ACK, self.nxt, Vec::new()) });
        }
        let end = segment.seq.wrapping_sub(self.irs.wrapping_add(1)) as usize + segment.payload.len();
        if segment.flags & FIN != 0 && end == self.received && !self.peer_fin {
            self.peer_fin = true;
            change.closed = true;
            out.push(self.segment(ACK, self.nxt, Vec::new()));
        }
        self.pump(now, out);
        change
    }

    fn acknowledged(&mut self, segment: &Segment, now: Time) {
        if segment.flags & ACK == 0 {
            return;
        }
        let acked = segment.ack.wrapping_sub(self.iss.wrapping_add(1)) as usize;
        if acked > self.una && acked <= self.queue.len() + 1 {
            self.una = acked.min(self.queue.len());
            self.nxt = self.nxt.max(self.una);
            self.window += 1;
            self.rto = RTO;
            self.due = (self.una < self.nxt).then_some(now + self.rto);
        }
    }

    fn receive(&mut self, segment: &Segment) {
        let at = segment.seq.wrapping_sub(self.irs.wrapping_add(1)) as i32;
        let end = (at + segment.payload.len() as i32).max(0) as usize;
        let at = at.max(0) as usize;
        let known = self.waiting.entry(at).or_default();
        *known = (*known).max(end);
        while let Some((&at, &end)) = self.waiting.first_key_value() {
            if at > self.received {
                break;
            }
            self.received = self.received.max(end);
            self.waiting.pop_first();
        }
    }

    /// Sends what the window lets go.
    pub fn pump(&mut self, now: Time, out: &mut Vec<Segment>) {
        if self.state != State::Open {
            return;
        }
        let limit = usize::from(self.limit);
        while self.nxt < self.queue.len() && self.nxt - self.una < self.window * limit {
            let end = (self.nxt + limit).min(self.queue.len());
            let payload = self.queue[self.nxt..end].to_vec();
            let flags = if end == self.queue.len() { ACK | PSH } else { ACK };
            out.push(self.segment(flags, self.nxt, payload));
            self.nxt = end;
            self.due.get_or_insert(now + self.rto);
        }
        if self.closing && !self.fin_sent && self.nxt == self.queue.len() {
            self.fin_sent = true;
            out.push(self.segment(FIN | ACK, self.nxt, Vec::new()));
        }
    }

    /// The timer fired: the first unacknowledged segment again, and patience doubled (RFC 6298 §5).
    pub fn timeout(&mut self, now: Time, out: &mut Vec<Segment>) {
        self.due = None;
        match self.state {
            State::SynSent => {
                out.push(self.segment(SYN, 0, Vec::new()));
                self.rto *= 2;
                self.due = Some(now + self.rto.max(1000 * MILLI) * 2);
            }
            State::Open if self.una < self.nxt => {
                let end = (self.una + usize::from(self.limit)).min(self.queue.len());
                out.push(self.segment(ACK | PSH, self.una, self.queue[self.una..end].to_vec()));
                self.window = 1;
                self.rto *= 2;
                self.due = (self.rto < 120_000 * MILLI).then_some(now + self.rto);
            }
            _ => {}
        }
    }

    /// The path carries less: cuts smaller from now on, what is unacknowledged again.
    pub fn shrink(&mut self, limit: u16, now: Time, out: &mut Vec<Segment>) {
        if limit >= self.limit || self.state != State::Open {
            return;
        }
        self.limit = limit;
        self.nxt = self.una;
        self.window = self.window.max(10);
        self.due = None;
        self.pump(now, out);
    }
}

impl Tcp {
    /// A bare ACK that tells the window.
    pub fn announce(&mut self, out: &mut Vec<Segment>) {
        out.push(self.segment(ACK, self.nxt, Vec::new()));
    }
}
