//! All secrets of a run: from key logs, secrets blocks and RSA keys, and those learned on the way.
//!
//! Promises: bounded; a line that is none is counted and named by its number, never by its words.

use super::Secret;
use super::hash::Hash;
use super::rsa::RsaKey;
use crate::tls::SessionId;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{self, BufRead, Read as _};

/// Secrets kept, in all; a key log of a busy server has some 500 bytes a line.
const MAX_SECRETS: usize = 2_000_000;
/// Different master secrets kept for one client random: GnuTLS writes a wrong one for a resumed DTLS session.
const MAX_CHOICES: usize = 8;
/// Bytes of the longest line that can be one.
const MAX_LINE: usize = 1024;

pub(super) type Random = [u8; 32];

/// The secrets of TLS 1.3 that a key log has for one client random (RFC 9850 §3).
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic {
    pub(super) early: Option<Secret>,
    /// Handshake secrets, client and server.
    pub(super) handshake: [Option<Secret>; 2],
    /// Application secrets, client and server.
    pub(super) application: [Option<Secret>; 2],
    pub(super) exporter: Option<Secret>,
}

/// What a key log was worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Lines that gave a secret.
    pub secrets: u64,
    /// Lines with a label nothing here is opened by.
    pub unused: u64,
    /// Lines that are no key log lines.
    pub malformed: u64,
    /// The number of the first of those, and what is wrong with it.
    pub first_malformed: Option<(u64, &'static str)>,
    /// Lines left out because [`Keyring`] is full.
    pub left_out: u64,
}

/// All secrets of a run.
#[derive(Debug, Default)]
pub struct Keyring {
    masters: HashMap<Random, Vec<Secret>>,
    /// By TLS session id: `RSA Session-ID` lines, and sessions opened before; by DTLS session id: the master secret a CONNECT
    /// named for it.
    sessions: HashMap<SessionId, Vec<Secret>>,
    /// By the first eight bytes of the encrypted premaster secret.
    premasters: HashMap<[u8; 8], Secret>,
    traffic: HashMap<Random, Box<Traffic>>,
    /// By X-DTLS-App-ID: the key of the PSK handshake.
    psks: HashMap<SessionId, Secret>,
    rsa: Vec<RsaKey>,
    count: usize,
    /// Grows whenever something is learned on the way.
    generation: u64,
    used: Vec<(Random, Used)>,
    used_once: HashSet<(Random, bool)>,
}

/// What opened a connection, to hand out on demand.
#[derive(Clone, Debug)]
enum Used {
    Tls12(Secret),
    Tls13,
    Dtls(Secret),
}

impl Keyring {
    /// An empty one.
    pub fn new() -> Keyring {
        Keyring::default()
    }

    /// Nothing to open anything with.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.rsa.is_empty()
    }

    /// How many secrets and keys it holds.
    pub fn len(&self) -> usize {
        self.count + self.rsa.len()
    }

    /// Takes the lines of an NSS key log (RFC 9850; also `RSA Session-ID:… Master-Key:…` and `RSA …` lines).
    pub fn add_key_log(&mut self, bytes: &[u8]) -> Lines {
        // Memory does not fail.
        self.read_key_log(bytes).unwrap_or_default()
    }

    /// The same from anywhere, never more than one line of it in memory.
    ///
    /// # Errors
    ///
    /// What `log` says; the lines before it are taken.
    pub fn read_key_log(&mut self, mut log: impl BufRead) -> io::Result<Lines> {
        let mut lines = Lines::default();
        let mut held = Vec::new();
        for number in 1.. {
            held.clear();
            // What is cut here is longer than any line, whatever stands in the rest.
            log.by_ref().take(MAX_LINE as u64 + 3).read_until(b'\n', &mut held)?;
            if held.is_empty() {
                break;
            }
            let cut = held.last() != Some(&b'\n') && log.skip_until(b'\n')? > 0;
            let line = if number == 1 { held.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&held) } else { &held };
            let is_wide = number == 1 && (line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff"));
            let added = if is_wide { Err("the file is UTF-16, not plain text") } else { self.add_line(line, cut) };
            match added {
                Ok(Added::Nothing) => {}
                Ok(Added::Secret) => lines.secrets += 1,
                Ok(Added::Unused) => lines.unused += 1,
                Ok(Added::Full) => lines.left_out += 1,
                Err(why) => {
                    lines.malformed += 1;
                    lines.first_malformed.get_or_insert((number, why));
                }
            }
            if is_wide {
                break;
            }
        }
        Ok(lines)
    }

    /// Takes an RSA private key, PEM of PKCS#1 or PKCS#8.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without a word of it.
    pub fn add_rsa_key(&mut self, pem: &[u8]) -> Result<(), &'static str> {
        self.rsa.push(RsaKey::from_pem(pem)?);
        Ok(())
    }

    fn add_line(&mut self, line: &[u8], cut: bool) -> Result<Added, &'static str> {
        let line = line.trim_ascii();
        if (line.is_empty() && !cut) || line.starts_with(b"#") {
            return Ok(Added::Nothing);
        }
        if cut || line.len() > MAX_LINE {
            return Err("the line is too long");
        }
        let line = std::str::from_utf8(line).map_err(|_| "the line is not text")?;
        let mut words = line.split_ascii_whitespace();
        let label = words.next().unwrap_or_default();
        if !is_label(label) {
            return Err("it begins with no label");
        }
        let (first, second) = (words.next().ok_or("there is nothing behind the label")?, words.next());
        if let Some(id) = first.strip_prefix("Session-ID:").filter(|_| label == "RSA") {
            let key = second.and_then(|word| word.strip_prefix("Master-Key:")).ok_or("Master-Key: is missing")?;
            let id = SessionId::new(&hex(id)?).ok_or("the session id is longer than 32 bytes")?;
            let master = hex(key)?;
            if master.len() != 48 {
                return Err("a master secret has 48 bytes");
            }
            return Ok(self.room(|ring| push(ring.sessions.entry(id).or_default(), &master)));
        }
        let secret = hex(second.ok_or("there is no secret behind the first number")?)?;
        if label == "RSA" {
            let start: [u8; 8] =
                hex(first)?.try_into().map_err(|_| "an encrypted premaster secret is named by 8 bytes")?;
            return Ok(self.room(|ring| ring.premasters.insert(start, Secret::new(&secret)).is_none()));
        }
        let (side, known) = match label {
            "CLIENT_RANDOM" | "EXPORTER_SECRET" | "CLIENT_EARLY_TRAFFIC_SECRET" => (0, true),
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET" | "CLIENT_TRAFFIC_SECRET_0" => (0, true),
            "SERVER_HANDSHAKE_TRAFFIC_SECRET" | "SERVER_TRAFFIC_SECRET_0" => (1, true),
            _ => (0, false),
        };
        let random: Random = match hex(first).map(TryInto::try_into) {
            Ok(Ok(random)) => random,
            // Lines of another purpose name things otherwise.
            _ if !known => return Ok(Added::Unused),
            Ok(Err(_)) => return Err("a client random has 32 bytes"),
            Err(why) => return Err(why),
        };
        if !known {
            return Ok(Added::Unused);
        }
        if label == "CLIENT_RANDOM" {
            if secret.len() != 48 {
                return Err("a master secret has 48 bytes");
            }
            return Ok(self.room(|ring| push(ring.masters.entry(random).or_default(), &secret)));
        }
        if !matches!(secret.len(), 32 | 48) {
            return Err("a secret of TLS 1.3 has 32 or 48 bytes");
        }
        let secret = Secret::new(&secret);
        Ok(self.room(|ring| {
            let traffic = ring.traffic.entry(random).or_default();
            let slot = match label {
                "EXPORTER_SECRET" => Some(&mut traffic.exporter),
                "CLIENT_EARLY_TRAFFIC_SECRET" => Some(&mut traffic.early),
                _ if label.contains("HANDSHAKE") => traffic.handshake.get_mut(side),
                _ => traffic.application.get_mut(side),
            };
            slot.is_some_and(|slot| slot.replace(secret).is_none())
        }))
    }

    fn room(&mut self, add: impl FnOnce(&mut Keyring) -> bool) -> Added {
        if self.count >= MAX_SECRETS {
            return Added::Full;
        }
        self.count += usize::from(add(self));
        Added::Secret
    }

    /// A CONNECT named the master secret of the DTLS session `id` (X-DTLS-Master-Secret with X-DTLS-Session-ID).
    pub fn learn_dtls_master(&mut self, id: SessionId, master: &[u8; 48]) {
        if self.count < MAX_SECRETS && push(self.sessions.entry(id).or_default(), master) {
            self.count += 1;
            self.generation += 1;
        }
    }

    /// The PSK of the DTLS handshake that names `id` (X-DTLS-App-ID).
    pub fn learn_psk(&mut self, id: SessionId, psk: &[u8]) {
        if self.count < MAX_SECRETS && self.psks.insert(id, Secret::new(psk)).is_none() {
            self.count += 1;
            self.generation += 1;
        }
    }

    /// Grows whenever something is learned: what could not be opened before may open now.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn learn_session(&mut self, id: SessionId, master: &Secret) {
        if !id.is_empty() && self.count < MAX_SECRETS && push(self.sessions.entry(id).or_default(), &master.0) {
            self.count += 1;
            self.generation += 1;
        }
    }

    /// The master secrets that may be a connection's: the latest line first, as Wireshark prefers it.
    pub(super) fn masters(&self, random: &Random) -> impl Iterator<Item = &Secret> {
        self.masters.get(random).into_iter().flatten().rev()
    }

    pub(super) fn session_masters(&self, id: &SessionId) -> impl Iterator<Item = &Secret> {
        let known = if id.is_empty() { None } else { self.sessions.get(id) };
        known.into_iter().flatten().rev()
    }

    pub(super) fn traffic(&self, random: &Random) -> Option<&Traffic> {
        self.traffic.get(random).map(Box::as_ref)
    }

    pub(super) fn psk(&self, id: &SessionId) -> Option<&Secret> {
        self.psks.get(id)
    }

    pub(super) fn has_psks(&self) -> bool {
        !self.psks.is_empty()
    }

    /// Can a key exchange be opened at all?
    pub(super) fn has_rsa(&self) -> bool {
        !self.rsa.is_empty() || !self.premasters.is_empty()
    }

    /// The premaster secret of an RSA key exchange.
    pub(super) fn premaster(&self, encrypted: &[u8]) -> Vec<Secret> {
        let named = encrypted.first_chunk::<8>().and_then(|start| self.premasters.get(start)).cloned();
        named.into_iter().chain(self.rsa.iter().filter_map(|key| key.decrypt(encrypted))).collect()
    }

    pub(super) fn note_tls12(&mut self, random: &Random, master: &Secret) {
        if self.used_once.insert((*random, false)) {
            self.used.push((*random, Used::Tls12(master.clone())));
        }
    }

    pub(super) fn note_tls13(&mut self, random: &Random) {
        if self.used_once.insert((*random, false)) {
            self.used.push((*random, Used::Tls13));
        }
    }

    pub(super) fn note_dtls(&mut self, random: &Random, master: &Secret) {
        if self.used_once.insert((*random, true)) {
            self.used.push((*random, Used::Dtls(master.clone())));
        }
    }

    /// How many TLS and how many DTLS connections were opened.
    pub fn opened(&self) -> [usize; 2] {
        let dtls = self.used.iter().filter(|(_, used)| matches!(used, Used::Dtls(_))).count();
        [self.used.len() - dtls, dtls]
    }

    /// The key log lines of all connections that were opened, DTLS last: of two lines for one random Wireshark takes the
    /// later. **These are secrets**: they open the captured traffic to whoever has both.
    pub fn export(&self) -> String {
        let mut text = String::new();
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        let mut line = |label: &str, random: &Random, secret: &Secret| {
            let _ = writeln!(text, "{label} {} {}", hex(random), hex(&secret.0));
        };
        for (random, used) in &self.used {
            match used {
                Used::Tls12(master) => line("CLIENT_RANDOM", random, master),
                Used::Tls13 => {
                    let Some(traffic) = self.traffic(random) else { continue };
                    let named = [
                        ("CLIENT_EARLY_TRAFFIC_SECRET", &traffic.early),
                        ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", &traffic.handshake[0]),
                        ("SERVER_HANDSHAKE_TRAFFIC_SECRET", &traffic.handshake[1]),
                        ("CLIENT_TRAFFIC_SECRET_0", &traffic.application[0]),
                        ("SERVER_TRAFFIC_SECRET_0", &traffic.application[1]),
                        ("EXPORTER_SECRET", &traffic.exporter),
                    ];
                    for (label, secret) in named {
                        secret.iter().for_each(|secret| line(label, random, secret));
                    }
                }
                Used::Dtls(_) => {}
            }
        }
        for (random, used) in &self.used {
            if let Used::Dtls(master) = used {
                line("CLIENT_RANDOM", random, master);
            }
        }
        text
    }
}

/// What became of a line.
enum Added {
    /// A comment, or no words at all.
    Nothing,
    Secret,
    Unused,
    Full,
}

/// Adds a secret unless it is there already; the oldest goes when there are too many.
fn push(all: &mut Vec<Secret>, secret: &[u8]) -> bool {
    let secret = Secret::new(secret);
    // The latest line counts: a repeated one moves to the end.
    let known = all.iter().position(|known| *known == secret);
    if let Some(at) = known {
        all.remove(at);
    }
    if all.len() >= MAX_CHOICES {
        all.remove(0);
    }
    all.push(secret);
    known.is_none()
}

/// Labels are capitals, digits and underscores.
fn is_label(word: &str) -> bool {
    word.len() > 2 && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn hex(word: &str) -> Result<Vec<u8>, &'static str> {
    const ODD: &str = "a number is not whole hexadecimal bytes";
    if !word.len().is_multiple_of(2) || !word.is_ascii() {
        return Err(ODD);
    }
    let digit = |byte: u8| (byte as char).to_digit(16).ok_or(ODD);
    word.as_bytes()
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Ok((digit(*high)? * 16 + digit(*low)?) as u8),
            _ => Err(ODD),
        })
        .collect()
}

/// The master secret of a PSK handshake without key exchange (RFC 4279 §2): zeros, then the key, each with its length.
pub(super) fn psk_premaster(psk: &Secret) -> Secret {
    let len = (psk.0.len() as u16).to_be_bytes();
    let zeros = vec![0; psk.0.len()];
    Secret::new(&[&len[..], &zeros, &len, &psk.0].concat())
}

/// Premaster to master secret: with the session's hash where the extended master secret was agreed (RFC 7627 §4), else with
/// both randoms (RFC 5246 §8.1).
pub(super) fn master(hash: Hash, premaster: &Secret, randoms: [&Random; 2], session_hash: Option<&[u8]>) -> Secret {
    match session_hash {
        Some(session) => hash.prf_secret(&premaster.0, "extended master secret", &[session], 48),
        None => {
            let [client, server] = randoms;
            hash.prf_secret(&premaster.0, "master secret", &[client, server], 48)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RANDOM: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn add(text: &str) -> (Keyring, Lines) {
        let mut keyring = Keyring::new();
        let lines = keyring.add_key_log(text.as_bytes());
        (keyring, lines)
    }

    #[test]
    fn a_line_without_end_is_one_mistake_and_costs_one_line_of_memory() {
        let good = format!("CLIENT_RANDOM {RANDOM} {}\n", "ab".repeat(48));
        let log = io::Cursor::new(good.clone().into_bytes()).chain(io::repeat(b'x').take(3 << 20));
        let log = log.chain(io::Cursor::new(format!("\n#{}\n{good}", "c".repeat(5000)).into_bytes()));
        let mut keyring = Keyring::new();
        let lines = keyring.read_key_log(io::BufReader::with_capacity(7, log)).unwrap();
        assert_eq!((lines.secrets, lines.malformed), (2, 1));
        assert_eq!(lines.first_malformed, Some((2, "the line is too long")));
        // What is cut must not pass for a shorter secret.
        let (_, lines) = add(&format!("{}EXPORTER_SECRET {RANDOM} {}", " ".repeat(880), "cd".repeat(48)));
        assert_eq!((lines.secrets, lines.malformed), (0, 1));
    }

    #[test]
    fn all_kinds_of_lines() {
        let (master, secret) = ("ab".repeat(48), "cd".repeat(32));
        let (keyring, lines) = add(&format!(
            "# a comment\r\n\r\nCLIENT_RANDOM {RANDOM} {master}\r\nRSA Session-ID:{RANDOM} Master-Key:{master}\n\
             RSA 0011223344556677 {master}\nCLIENT_TRAFFIC_SECRET_0 {RANDOM} {secret}\nEXPORTER_SECRET {RANDOM} {secret}\n\
             SERVER_HANDSHAKE_TRAFFIC_SECRET {RANDOM} {secret}\nECH_SECRET {RANDOM} {secret}\nQUIC_CLIENT_TRAFFIC_SECRET_0 00 11"
        ));
        assert_eq!((lines.secrets, lines.unused, lines.malformed), (6, 2, 0), "{lines:?}");
        assert_eq!(keyring.len(), 6);
        let random: Random = hex(RANDOM).unwrap().try_into().unwrap();
        assert_eq!(keyring.masters(&random).count(), 1);
        assert_eq!(keyring.session_masters(&SessionId::new(&random).unwrap()).count(), 1);
        assert!(keyring.traffic(&random).unwrap().exporter.is_some());
    }

    #[test]
    fn the_latest_line_comes_first_and_repeats_count_once() {
        let (one, two) = ("01".repeat(48), "02".repeat(48));
        let (keyring, _) =
            add(&format!("CLIENT_RANDOM {RANDOM} {one}\nCLIENT_RANDOM {RANDOM} {two}\nCLIENT_RANDOM {RANDOM} {one}"));
        let random: Random = hex(RANDOM).unwrap().try_into().unwrap();
        let first: Vec<u8> = keyring.masters(&random).map(|secret| secret.0[0]).collect();
        assert_eq!((first, keyring.len()), (vec![1, 2], 2));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for (text, why) in [
            ("CLIENT_RANDOM", "nothing behind the label"),
            ("CLIENT_RANDOM 00", "no secret"),
            ("CLIENT_RANDOM 00 00", "32 bytes"),
            (&*format!("CLIENT_RANDOM {RANDOM} abc"), "hexadecimal"),
            (&*format!("CLIENT_RANDOM {RANDOM} abcd"), "48 bytes"),
            (&*format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM} abcd"), "32 or 48 bytes"),
            ("<html> not a key", "label"),
            ("RSA Session-ID:00 nothing", "Master-Key"),
            ("\u{feff}", ""),
        ] {
            let (keyring, lines) = add(text);
            assert!(keyring.is_empty(), "{text}");
            match lines.first_malformed {
                Some((1, said)) => assert!(said.contains(why), "{text}: {said}"),
                other => assert!(why.is_empty() && other.is_none(), "{text}: {other:?}"),
            }
        }
        let wide: Vec<u8> = "\u{feff}CLIENT_RANDOM".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let lines = Keyring::new().add_key_log(&wide);
        assert!(lines.first_malformed.unwrap().1.contains("UTF-16"));
        let master = "ab".repeat(48);
        let (keyring, _) = add(&format!("CLIENT_RANDOM {RANDOM} {master}"));
        assert!(!format!("{keyring:?}").contains("171") && !format!("{keyring:?}").contains("abab"));
    }

    #[test]
    fn bad_keys_are_refused_in_words() {
        let mut keyring = Keyring::new();
        for (pem, why) in [
            (&b"garbage"[..], "no RSA PRIVATE KEY"),
            (b"\xff\xfe\x00", "not PEM"),
            (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "password"),
            (b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", "cannot be read"),
            (b"-----BEGIN RSA PRIVATE KEY-----\nAAAA", "no RSA PRIVATE KEY"),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be read"),
            (&vec![b'A'; 100_000], "too large"),
        ] {
            let said = keyring.add_rsa_key(pem).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        assert!(keyring.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "(CLIENT_RANDOM|RSA|[A-Z_]{0,9}) [0-9a-fx]{0,70} ?[0-9a-f]{0,100}\n") {
            let mut keyring = Keyring::new();
            keyring.add_key_log(&bytes);
            keyring.add_key_log(text.as_bytes());
            let _ = keyring.add_rsa_key(&bytes);
            prop_assert!(keyring.export().is_empty());
        }
    }
}
