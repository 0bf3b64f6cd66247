//! What each layer costs, on captures made in memory: `cargo bench --bench layers`.
//!
//! Each group does what the one before it does and one thing more, so that their differences are the layers.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has failed")]

mod clock;
mod traffic;

use acpcap::analysis::{self, Options, Outcome, Source};
use acpcap::capture::reader::{self, Reader};
use acpcap::capture::{Frame, FrameRef, Item};
use acpcap::decrypt::Keyring;
use acpcap::dissect::{self, Dissector};
use acpcap::event::PointId;
use acpcap::flow::table::{self, Table};
use acpcap::packet::{self, Decoder, Packet, Transport};
use acpcap::report::{json, text};
use clock::CpuTime;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;
use traffic::Mix;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sessions of a capture: some 60,000 packets of the large mix, twice as many of the small one.
const SESSIONS: [(Mix, usize); 2] = [(Mix::Large, 800), (Mix::Small, 2_400)];

/// A capture that outlives every reader of it.
struct Subject {
    name: &'static str,
    capture: &'static [u8],
    packets: u64,
    sessions: u64,
}

fn subjects() -> [Subject; 2] {
    SESSIONS.map(|(mix, sessions)| {
        let made = traffic::make(mix, sessions);
        Subject {
            name: mix.name(),
            capture: made.capture.leak(),
            packets: made.packets,
            sessions: made.sessions as u64,
        }
    })
}

fn read(capture: &'static [u8], mut sink: impl FnMut(&Frame<'_>)) {
    let mut reader = Reader::new("memory", Box::new(capture), reader::Limits::default()).unwrap();
    let read = reader.for_each(|item| {
        if let Item::Frame(frame) = item {
            sink(&frame);
        }
        ControlFlow::Continue(())
    });
    read.unwrap();
    assert!(reader.damage().is_none(), "{:?}", reader.damage());
}

fn decode(capture: &'static [u8], mut sink: impl FnMut(&Frame<'_>, &Packet<'_>)) {
    let mut decoder = Decoder::new(packet::Limits::default());
    read(capture, |frame| {
        let decoded = decoder.decode(frame, &mut |packet| sink(frame, &packet));
        black_box(decoded.is_ok());
    });
}

fn flows(capture: &'static [u8]) -> u64 {
    let mut table: Table<u64> = Table::new(table::Limits::default());
    decode(capture, |frame, packet| match &packet.transport {
        Transport::Tcp(segment) => table.tcp(frame.interface, frame.at, &packet.ip, segment).1.state += 1,
        Transport::Udp(datagram) => table.udp(frame.interface, frame.at, &packet.ip, datagram).1.state += 1,
        _ => {}
    });
    table.len() as u64
}

/// Events told, and dropped.
fn records(capture: &'static [u8]) -> u64 {
    let mut dissector = Dissector::new(dissect::Limits::default());
    let mut keyring = Keyring::new();
    let mut events = 0;
    read(capture, |frame| {
        let point = PointId(frame.interface as u16);
        dissector.push(frame, 0, point, &mut keyring, &mut |event| {
            black_box::<FrameRef>(event.frame);
            events += 1;
        });
    });
    dissector.finish(&mut |_| events += 1);
    events
}

fn sessions(capture: &'static [u8]) -> Outcome {
    let source = Source { path: "memory".to_owned(), vantage: None, input: Box::new(capture), continues: false };
    analysis::analyze(std::iter::once(Ok(source)), &Options::default(), &mut |_| ControlFlow::Continue(()))
}

fn layers(criterion: &mut Criterion<CpuTime>) {
    let subjects = subjects();
    let mut layer = |name: &str, work: &dyn Fn(&'static [u8]) -> u64| {
        let mut group = criterion.benchmark_group(name);
        for subject in &subjects {
            let bytes = subject.capture.len() as u64;
            group.throughput(Throughput::ElementsAndBytes { elements: subject.packets, bytes });
            group.bench_function(subject.name, |bencher| bencher.iter(|| work(black_box(subject.capture))));
        }
        group.finish();
    };
    layer("read", &|capture| {
        let mut bytes = 0;
        read(capture, |frame| bytes += frame.data.len() as u64);
        bytes
    });
    layer("decode", &|capture| {
        let mut bytes = 0;
        decode(capture, |_, packet| bytes += u64::from(packet.ip.total_len));
        bytes
    });
    layer("flows", &flows);
    layer("records", &records);
    layer("sessions", &|capture| sessions(capture).report.sessions.len() as u64);
    reports(criterion, &subjects);
}

/// A report that is written, one session an element.
fn reports(criterion: &mut Criterion<CpuTime>, subjects: &[Subject]) {
    let mut group = criterion.benchmark_group("report");
    for subject in subjects {
        let report = sessions(subject.capture).report;
        assert_eq!(report.sessions.len() as u64, subject.sessions, "{}: sessions reported", subject.name);
        group.throughput(Throughput::Elements(subject.sessions));
        group.bench_function(format!("text/{}", subject.name), |bencher| {
            bencher.iter(|| text::render(black_box(&report), text::Look::default(), &mut io::sink()).unwrap());
        });
        group.bench_function(format!("json/{}", subject.name), |bencher| {
            bencher.iter(|| json::render(black_box(&report), &mut io::sink()).unwrap());
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = layers
}
criterion_main!(benches);
