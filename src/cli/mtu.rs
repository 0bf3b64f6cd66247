//! `acpcap mtu`: the tunnel MTUs of a gateway, term by term. The arithmetic is `session::mtu`'s; this only speaks it.

use super::explain::hang;
use super::{Console, Exit};
use crate::report::text::Look;
use crate::session::mtu::{LinkMtu, Mss, OuterIp, Pair, Protection, Terms};
use crate::tls::{CipherSuite, Class, Version};
use clap::{Args, ValueEnum};
use std::io::{self, Write};

pub(super) const EXAMPLES: &str = "\
Examples:
  acpcap mtu --mss 1380 --cipher AES256-SHA256 --dtls-cipher AES256-SHA
      An ASA with its default sysopt connection tcpmss, on an Ethernet path.
  acpcap mtu --tcpmss 1380 --cipher AES256-SHA256 --anyconnect-mtu 1300
      Would DTLS that fails still make the client reconnect with this setting?
  acpcap mtu --base-mtu 1492 --cipher ECDHE-RSA-AES256-GCM-SHA384
      Behind PPPoE; the MSS follows from the path.";

/// The MSS an ASA announces unless told otherwise (`sysopt connection tcpmss`), bytes.
const ASA_MSS: u16 = 1380;
/// The MSS of the note's third option, bytes.
const RAISED_MSS: u16 = 1460;
/// Ethernet, bytes.
const ETHERNET: u16 = 1500;
/// TCP header without options, bytes (RFC 9293 section 3.1).
const TCP_HEADER: u16 = 20;

/// Options of `acpcap mtu`.
#[derive(Debug, Args)]
pub(super) struct MtuArgs {
    /// MSS of the outer connection in bytes, the smaller of SYN and SYN-ACK [default: 1380, or from --base-mtu]
    #[arg(long, visible_alias = "tcpmss", value_name = "BYTES", value_parser = clap::value_parser!(u16).range(88..))]
    mss: Option<u16>,

    /// `anyconnect mtu` of the group policy in bytes: the most either tunnel is given
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(256..))]
    anyconnect_mtu: Option<u16>,

    /// Largest IP packet of the path between client and gateway, in bytes [default: 1500]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(128..))]
    base_mtu: Option<u16>,

    /// Cipher suite of the TLS tunnel, by OpenSSL or IANA name or number
    #[arg(long, value_name = "NAME", value_parser = suite, default_value = "AES256-SHA256")]
    cipher: CipherSuite,

    /// Cipher suite of the DTLS tunnel
    #[arg(long, value_name = "NAME", value_parser = suite, default_value = "AES256-SHA")]
    dtls_cipher: CipherSuite,

    /// Encrypt-then-MAC was agreed (ServerHello extension 22); only CBC suites change
    #[arg(long)]
    etm: bool,

    /// Version of the TLS tunnel [default: 1.2, or 1.3 when the suite is of TLS 1.3]
    #[arg(long, value_name = "VERSION", value_enum)]
    tls_version: Option<TlsVersion>,

    /// The outer path is IPv6
    #[arg(long)]
    ipv6: bool,

    /// TCP timestamps were agreed: 12 bytes less in each segment
    #[arg(long)]
    timestamps: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TlsVersion {
    #[value(name = "1.0")]
    Tls10,
    #[value(name = "1.1")]
    Tls11,
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
}

impl From<TlsVersion> for Version {
    fn from(version: TlsVersion) -> Version {
        match version {
            TlsVersion::Tls10 => Version::TLS_1_0,
            TlsVersion::Tls11 => Version::TLS_1_1,
            TlsVersion::Tls12 => Version::TLS_1_2,
            TlsVersion::Tls13 => Version::TLS_1_3,
        }
    }
}

/// Runs `acpcap mtu`.
pub(super) fn run(args: &MtuArgs, console: Console) -> Exit {
    match Answer::new(args) {
        Ok(answer) => console.print(|look, out| answer.print(look, out)),
        Err(problem) => console.usage(&problem),
    }
}

fn suite(name: &str) -> Result<CipherSuite, String> {
    let number = name.strip_prefix("0x").map(|hex| u16::from_str_radix(hex, 16));
    let known = match number {
        Some(number) => number.ok().map(CipherSuite).filter(|suite| suite.class().is_some()),
        None => CipherSuite::from_name(name),
    };
    known.ok_or_else(|| {
        "no suite of that name, as in AES256-SHA, ECDHE-RSA-AES256-GCM-SHA384 or TLS_AES_256_GCM_SHA384".to_owned()
    })
}

/// The sums, ready to print.
struct Answer {
    tls_head: String,
    tls: Terms,
    dtls_head: String,
    dtls: Terms,
    /// The note's way of counting, at the same MSS.
    note: Option<Terms>,
    /// The TLS sum with the note's third option, `sysopt connection tcpmss 1460`.
    raised: Option<Terms>,
    cap: Option<u16>,
    ip: OuterIp,
    aead: bool,
}

impl Answer {
    fn new(args: &MtuArgs) -> Result<Answer, String> {
        let ip = if args.ipv6 { OuterIp::V6 } else { OuterIp::V4 };
        let link = LinkMtu(args.base_mtu.unwrap_or(ETHERNET));
        let mss = match (args.mss, args.base_mtu) {
            (Some(mss), _) => mss,
            (None, Some(base)) => base.saturating_sub(ip.header() + TCP_HEADER),
            (None, None) => ASA_MSS,
        };
        let usable = Mss::usable(Mss(mss), Mss(mss), args.timestamps);

        let class = class(args.cipher)?;
        let is_1_3 = matches!(class, Class::Tls13 { .. });
        let version = match args.tls_version {
            Some(version) => version.into(),
            None if is_1_3 => Version::TLS_1_3,
            None => Version::TLS_1_2,
        };
        if version.is_1_3() != is_1_3 {
            return Err(format!("{} is no suite of {version}", args.cipher));
        }
        let dtls_class = self::class(args.dtls_cipher)?;
        let dtls_version = match dtls_class {
            Class::Tls13 { .. } => Version::DTLS_1_3,
            _ => Version::DTLS_1_2,
        };
        let too_small = || "nothing would be left for the packet".to_owned();
        let note = Protection::new(Class::Stream { mac: 20 }, Version::TLS_1_2, false);
        Ok(Answer {
            tls_head: format!("{version} {}, {}", spelled(args.cipher), segment(mss, args.timestamps)),
            tls: Protection::new(class, version, args.etm).tls_mtu(usable).ok_or_else(too_small)?,
            dtls_head: format!(
                "{} {}, IP packets up to {}",
                // Without the header of 1.3 all versions count alike.
                if dtls_version.is_1_3() { "DTLS 1.3" } else { "DTLS" },
                spelled(args.dtls_cipher),
                link.0
            ),
            dtls: Protection::new(dtls_class, dtls_version, args.etm).dtls_mtu(link, ip).ok_or_else(too_small)?,
            note: note.tls_mtu(usable),
            raised: Protection::new(class, version, args.etm).tls_mtu(Mss::usable(
                Mss(RAISED_MSS),
                Mss(RAISED_MSS),
                args.timestamps,
            )),
            cap: args.anyconnect_mtu,
            ip,
            aead: matches!(class, Class::Aead { .. }) || matches!(dtls_class, Class::Aead { .. }),
        })
    }

    fn print(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        self.sum("TLS   ", &self.tls_head, &self.tls, look, out)?;
        writeln!(out)?;
        self.sum("DTLS  ", &self.dtls_head, &self.dtls, look, out)?;
        writeln!(out)?;
        self.what_if(look, out)?;
        if self.aead {
            hang(
                "",
                "An ASA may count an AEAD suite as CBC with a hash: its headers can say some 50 bytes less. X-CSTP-MTU \
                 and X-DTLS-MTU go before any sum.",
                look,
                out,
            )?;
        }
        if let Some(note) = &self.note {
            writeln!(out)?;
            hang("note  ", &note.to_string(), look, out)?;
            hang(
                "  ",
                "is how Cisco TAC 116881 counts: no IV, no padding and a 20-byte hash, which is exact for RC4-SHA only.",
                look,
                out,
            )?;
        }
        Ok(())
    }

    /// What happens when DTLS fails, and which of the note's remedies would avoid it.
    fn what_if(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        let sums = Pair { tls: self.tls.result, dtls: self.dtls.result };
        let pair = sums.capped(self.cap);
        let (tls, dtls) = (pair.tls.0, pair.dtls.0);
        if let Some(cap) = self.cap {
            hang("", &format!("anyconnect mtu {cap} leaves TLS {tls} and DTLS {dtls}."), look, out)?;
        }
        if !pair.reconnects() {
            let verdict = "What passes the DTLS tunnel passes the TLS tunnel: when DTLS fails, nothing is too big and the \
                           client need not reconnect.";
            return hang("", verdict, look, out);
        }
        let verdict = format!(
            "When DTLS fails, the adapter still has MTU {dtls}: packets of {} to {dtls} bytes toward the client do not fit \
             the TLS tunnel and a gateway that keeps to these limits drops them, until the client reconnects after a minute \
             to lower its MTU to {tls}.",
            tls + 1
        );
        hang("", &verdict, look, out)?;
        writeln!(out)?;
        writeln!(out, "What would avoid that")?;
        let most = sums.equalising().0;
        let less = sums.dtls.0.saturating_sub(most);
        let share = f64::from(less) * 100.0 / f64::from(sums.dtls.0.max(1));
        let raised = self.raised.as_ref().map(|terms| Pair { tls: terms.result, dtls: sums.dtls }.capped(self.cap));
        let raised = match raised {
            Some(pair) if pair.reconnects() => {
                format!("no: TLS {} is still below DTLS {}", pair.tls.0, pair.dtls.0)
            }
            Some(pair) => format!(
                "for TCP: TLS {} is no longer below DTLS {}; UDP above {} is lost all the same, and L2L tunnels are touched",
                pair.tls.0, pair.dtls.0, pair.dtls.0
            ),
            None => "no".to_owned(),
        };
        let rows = [
            (
                "open UDP on the DTLS port".to_owned(),
                "yes: the cause is gone; costs a firewall rule on every path".to_owned(),
            ),
            (
                format!("anyconnect mtu {most}"),
                format!("yes: both become {most}; costs every user {less} bytes of each DTLS packet ({share:.1} %)"),
            ),
            (
                "anyconnect ssl df-bit-ignore enable".to_owned(),
                "the drops, not the reconnect: packets are fragmented; costs CPU and hides the cause".to_owned(),
            ),
            (format!("sysopt connection tcpmss {RAISED_MSS}"), raised),
            (
                "a TLS-only tunnel group".to_owned(),
                format!("yes: the adapter gets {tls} at once; costs its users the speed of DTLS"),
            ),
        ];
        for (remedy, effect) in rows {
            hang(&format!("  {remedy:<37}"), &effect, look, out)?;
        }
        Ok(())
    }

    fn sum(&self, label: &str, head: &str, terms: &Terms, look: Look, out: &mut dyn Write) -> io::Result<()> {
        hang(label, head, look, out)?;
        // A sum is pasted into a case note: one line.
        writeln!(out, "  {terms}")?;
        // An inner IPv4 SYN, whatever carries the tunnel.
        let inner = format!(
            "MTU {}: an inner IPv4 SYN says MSS {}{}",
            terms.result.0,
            terms.result.inner_mss(OuterIp::V4).0,
            if self.ip == OuterIp::V6 { " (outer path IPv6)" } else { "" }
        );
        hang("  ", &inner, look, out)
    }
}

fn class(suite: CipherSuite) -> Result<Class, String> {
    suite.class().ok_or_else(|| format!("{suite}: its overhead is not known"))
}

fn spelled(suite: CipherSuite) -> String {
    match suite.openssl_name() {
        Some(name) if Some(name) != suite.iana_name() => format!("{name} ({suite})"),
        _ => suite.to_string(),
    }
}

fn segment(mss: u16, timestamps: bool) -> String {
    if timestamps {
        return format!("MSS {mss} less 12 for timestamps");
    }
    format!("MSS {mss}")
}
