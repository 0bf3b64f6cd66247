use super::*;
use crate::event::Direction::{self, ToClient, ToServer};
use crate::event::{
    CipherSuite, ClientHello, DtlsMessage, DtlsRecordSeen, Ended, Endpoints, Event, FlowId, FrameRef, Opened, PointId,
    Protocol, ServerHello, SessionId, Version, What,
};
use crate::session::facts::FlowNotes;
use crate::session::proof::Proof;
use crate::session::tracker::{Limits, Tracker};
use crate::session::{Connection, Role};

const GATEWAY: [u8; 4] = [203, 0, 113, 2];
const OTHER: [u8; 4] = [203, 0, 113, 3];
const SUITE: CipherSuite = CipherSuite(0xc02c);

/// Flows told event by event.
struct Told {
    tracker: Tracker,
    flows: u8,
    /// Where the flows told next are captured.
    point: PointId,
    /// Their sequence numbers, each way: first and next.
    numbers: (u32, u32),
    /// The longest silence of the flows told next, seconds.
    silence: u32,
    /// The clients of those TLS connections close them at their end.
    closes: bool,
}

impl Told {
    fn new() -> Told {
        Told {
            tracker: Tracker::new(Limits::default()),
            flows: 0,
            point: PointId(0),
            numbers: (0, 0),
            silence: 0,
            closes: false,
        }
    }

    fn flow(&mut self, protocol: Protocol, ends: (u8, [u8; 4]), span: (f64, f64), events: Vec<(f64, What<'_>)>) {
        let at = |seconds| Timestamp::default().plus_seconds(seconds);
        let client = ([192, 0, 2, ends.0], 40_000 + u16::from(self.flows)).into();
        let endpoints = Endpoints { client, server: (ends.1, 443).into() };
        let opened = Opened { stream: u32::from(self.flows), ..Opened::bare(protocol, endpoints, at(span.0)) };
        let numbers = Some(Box::new([Some(self.numbers); 2]));
        let ended = Ended { last: at(span.1), silence: self.silence, numbers, ..Ended::default() };
        let (frame, point, id) = (FrameRef::default(), self.point, self.next());
        let mut tell = |seconds, what| self.tracker.observe(&Event { at: at(seconds), frame, point, what });
        tell(span.0, What::Opened(id, &opened));
        events.into_iter().for_each(|(seconds, what)| tell(seconds, what));
        tell(span.1, What::Ended(id, &opened, &ended));
        self.flows += 1;
    }

    fn next(&self) -> FlowId {
        FlowId(u32::from(self.flows) + 1000 * u32::from(self.point.0))
    }

    /// TLS of a program, named by the suite it offers, with records behind its handshake.
    fn tls(&mut self, ends: (u8, [u8; 4]), program: u16, span: (f64, f64), records: &[(f64, Direction, u16)]) {
        self.tls_until(ends, program, span, records, None);
    }

    /// The same, closed at its end: by a RST or not.
    fn tls_until(
        &mut self,
        ends: (u8, [u8; 4]),
        program: u16,
        span: (f64, f64),
        records: &[(f64, Direction, u16)],
        reset: Option<bool>,
    ) {
        let (random, id) = (Some([self.flows + 1; 32]), self.next());
        let hello = ClientHello { random, cipher_suites: vec![CipherSuite(program)], ..ClientHello::default() };
        let answer = ServerHello { version: Version::TLS_1_2, cipher_suite: Some(SUITE), ..ServerHello::default() };
        let mut events = vec![(span.0, What::ClientHello(id, &hello)), (span.0, What::ServerHello(id, &answer))];
        events.extend(records.iter().map(|(at, way, length)| (*at, What::TlsData(id, *way, *length))));
        let closed = |reset| What::Closed { flow: id, direction: ToServer, alert: None, reset, ttl: 64 };
        let reset = reset.or(self.closes.then_some(false));
        events.extend(reset.map(|reset| (span.1, closed(reset))));
        self.flow(Protocol::Tcp, ends, span, events);
    }

    /// DTLS as only AnyConnect speaks it, with data of the client at those times.
    fn dtls(&mut self, ends: (u8, [u8; 4]), span: (f64, f64), data: &[f64]) {
        self.dtls_named([self.flows + 1; 32], ends, span, data);
    }

    /// The same, under that session id.
    fn dtls_named(&mut self, name: [u8; 32], ends: (u8, [u8; 4]), span: (f64, f64), data: &[f64]) {
        let id = self.next();
        let hello = ClientHello {
            version: Version::DTLS_1_2,
            random: Some([self.flows + 1; 32]),
            session_id: SessionId::new(&name).unwrap_or_default(),
            cipher_suites: vec![SUITE],
            ..ClientHello::default()
        };
        let message = DtlsMessage::ClientHello(&hello, Version::DTLS_1_2);
        let record = |sequence: u64| DtlsRecordSeen {
            content_type: 23,
            version: Version::DTLS_1_2,
            epoch: 1,
            sequence,
            length: 100,
            ip_len: 141,
            unfinished: false,
            cut_behind: false,
        };
        let mut events = vec![(span.0, What::DtlsHandshake(id, ToServer, 0, message))];
        events.extend((1..).zip(data).map(|(number, at)| (*at, What::DtlsRecord(id, ToServer, record(number)))));
        self.flow(Protocol::Udp, ends, span, events);
    }

    /// A session that nobody doubts, of client 1 with program 1.
    fn proven() -> Told {
        let mut told = Told::new();
        told.tls((1, GATEWAY), 1, (0.0, 600.0), &[(0.1, ToServer, 480), (0.2, ToClient, 1000)]);
        told.dtls((1, GATEWAY), (0.4, 600.0), &[1.0]);
        told
    }

    /// DTLS of a client to that gateway, up before the capture: data both ways, or only from the client.
    fn late_dtls(&mut self, ends: (u8, [u8; 4]), ways: &[Direction]) {
        let data: Vec<_> = ways.iter().map(|way| (1.0, *way)).collect();
        self.late_dtls_at(ends, &data);
    }

    /// The same, with data at those times.
    fn late_dtls_at(&mut self, ends: (u8, [u8; 4]), data: &[(f64, Direction)]) {
        let id = self.next();
        let record = DtlsRecordSeen {
            content_type: 23,
            version: Version::DTLS_1_2,
            epoch: 1,
            sequence: 700,
            length: 100,
            ip_len: 141,
            unfinished: false,
            cut_behind: false,
        };
        let numbered =
            (700..).zip(data).map(|(sequence, (at, way))| (*at, *way, DtlsRecordSeen { sequence, ..record }));
        let events = numbered.map(|(at, way, record)| (at, What::DtlsRecord(id, way, record))).collect();
        let span = (data.first().map_or(0.0, |first| first.0), data.last().map_or(0.0, |last| last.0));
        self.flow(Protocol::Udp, ends, span, events);
    }

    /// A TLS connection that was open before the capture, with data both ways at those times.
    fn late_tls(&mut self, ends: (u8, [u8; 4]), data: &[f64]) {
        let id = self.next();
        let record = |at: f64| [(at, ToServer), (at + 0.01, ToClient)];
        let records = data.iter().flat_map(|at| (0..3).flat_map(move |n| record(at + 0.02 * f64::from(n))));
        let events: Vec<_> = records.map(|(at, way)| (at, What::TlsData(id, way, 100))).collect();
        self.flow(Protocol::Tcp, ends, (0.0, 60.0), events);
    }

    fn sessions(self) -> Vec<Entry> {
        sessions(self.tracker.finish().flows, &[], &Twins::default()).sessions
    }
}

#[test]
fn a_tunnel_of_a_call_is_told_by_the_next_that_goes_on_without_a_login() {
    struct Next {
        program: u16,
        from: f64,
        requests: usize,
    }
    const LOGIN: usize = 3;
    // Datagrams of a call both ways, and of a connection beside it some ACKs.
    let talk = |from: f64, requests: usize, ack: u16| {
        let ask = move |n: usize| from + 0.1 + 0.2 * n as f64;
        let asked = (0..requests).flat_map(move |n| [(ask(n), ToServer, 480), (ask(n) + 0.1, ToClient, 1000)]);
        let said = (0..50).flat_map(move |n| {
            let at = from + 5.0 + f64::from(n);
            let last = if n % 5 == 0 { ack } else { 240 };
            [(at, ToServer, 232), (at + 0.1, ToClient, 232), (at + 0.2, ToServer, last)]
        });
        asked.chain(said).collect::<Vec<_>>()
    };
    let connections = |requests: usize, ack: u16, next: Next| {
        let mut told = Told::new();
        told.closes = true;
        told.tls((1, OTHER), 1, (0.0, 60.4), &talk(0.0, requests, ack));
        let until = next.from + 60.4;
        told.tls((1, OTHER), next.program, (next.from, until), &talk(next.from, next.requests, ack));
        let found = told.sessions();
        assert!(found.iter().all(|s| (s.identified_by, s.confidence) == (Proof::Replaced, Confidence::Low)));
        found.iter().map(|session| session.connections.len()).collect::<Vec<_>>()
    };
    let next = || Next { program: 1, from: 60.5, requests: 1 };
    assert_eq!(connections(LOGIN, 84, next()), [2], "ACKs of inner TCP");
    assert_eq!(connections(LOGIN, 90, next()), [0; 0], "nothing of that length");
    assert_eq!(connections(1, 84, next()), [0; 0], "nobody logged in");
    assert_eq!(connections(LOGIN, 84, Next { program: 2, ..next() }), [0; 0], "another program");
    assert_eq!(connections(LOGIN, 84, Next { from: 70.0, ..next() }), [0; 0], "ten seconds later");
    assert_eq!(connections(LOGIN, 84, Next { requests: LOGIN, from: 70.0, ..next() }), [0; 0], "with a login");
}

#[test]
fn dtls_of_before_is_of_the_client_that_comes_back_without_a_login() {
    use Direction::{ToClient, ToServer};
    let login = [(0.1, ToServer, 480), (0.2, ToClient, 1000)];
    // Until when each client talks over DTLS that was up before; when a tunnel opens, after how many questions.
    let found = |talks: &[f64], opens: f64, questions: usize| {
        let mut told = Told::new();
        for until in talks {
            told.late_dtls_at((1, GATEWAY), &[(1.0, ToServer), (1.1, ToClient), (*until, ToServer)]);
        }
        let asked = (0..questions).flat_map(|n| login.map(|(at, way, len)| (opens + at + n as f64, way, len)));
        told.tls((1, GATEWAY), 1, (opens, opens + 60.0), &asked.collect::<Vec<_>>());
        told.dtls((1, GATEWAY), (opens + 5.0, opens + 60.0), &[opens + 6.0]);
        told.sessions().iter().map(|s| (s.connections.len(), s.dtls.len())).collect::<Vec<_>>()
    };
    assert_eq!(found(&[5.0], 30.0, 1), [(1, 2)], "it comes back");
    assert_eq!(found(&[5.0], 30.0, 3), [(0, 1), (1, 1)], "somebody logs in");
    assert_eq!(found(&[60.0], 30.0, 1), [(0, 1), (1, 1)], "who talks on has another tunnel");
    assert_eq!(found(&[5.0], 500.0, 1), [(0, 1), (1, 1)], "long after");
    assert_eq!(found(&[5.0, 25.0], 30.0, 1).iter().map(|s| s.1).sum::<usize>(), 3, "one of two");
    assert_eq!(found(&[5.0, 25.0], 30.0, 1).len(), 2);
}

#[test]
fn what_carries_more_than_any_login_is_no_login_of_the_tunnel_that_replaces_it() {
    let roles = |records: u32| {
        let mut told = Told::new();
        told.closes = true;
        let said = (0..records).flat_map(|n| {
            let at = 5.0 + f64::from(n);
            [(at, ToServer, 232), (at + 0.1, ToClient, 232)]
        });
        let login = [(0.1, ToServer, 480), (0.2, ToClient, 1000), (0.3, ToServer, 520), (0.4, ToClient, 1000)];
        told.tls((1, OTHER), 1, (0.0, 60.4), &login.into_iter().chain(said).collect::<Vec<_>>());
        // An inner download: a tunnel by its looks.
        let download = (0..50).map(|n| (61.0 + f64::from(n), [ToServer, ToClient][n as usize % 2], 84));
        let begin = [(60.6, ToServer, 480), (60.7, ToClient, 1000)];
        told.tls((1, OTHER), 1, (60.5, 120.0), &begin.into_iter().chain(download).collect::<Vec<_>>());
        let found = told.sessions();
        assert_eq!(found.len(), 1);
        found[0].connections.iter().map(|connection| connection.role).collect::<Vec<_>>()
    };
    assert_eq!(roles(50), [Role::ParentAndTunnel, Role::Tunnel]);
    assert_eq!(roles(3), [Role::Parent, Role::Tunnel]);
}

/// Is such a TLS connection a session, beside one that nobody doubts? It must be graded low.
fn is_session(server: [u8; 4], program: u16, until: f64, records: &[(f64, Direction, u16)]) -> bool {
    let mut told = Told::proven();
    told.tls((2, server), program, (0.0, until), records);
    let sessions = told.sessions();
    let mut found = sessions.iter().filter(|s| s.client == IpAddr::from([192, 0, 2, 2]));
    assert!(sessions.iter().any(|s| s.client == IpAddr::from([192, 0, 2, 1]) && s.confidence > Confidence::Low));
    found.next().inspect(|s| assert_eq!(s.confidence, Confidence::Low, "{}", s.identified_by)).is_some()
}

const ASKED: (f64, Direction, u16) = (0.1, ToServer, 480);
const ANSWERED: (f64, Direction, u16) = (0.2, ToClient, 1000);

#[test]
fn tls_that_talks_beside_question_and_answer_is_a_tunnel_where_others_have_theirs() {
    let unasked = [ASKED, ANSWERED, (60.0, ToClient, 400)];
    assert!(is_session(GATEWAY, 1, 200.0, &unasked));
    assert!(is_session(GATEWAY, 2, 200.0, &unasked), "another program");
    assert!(!is_session(OTHER, 1, 200.0, &unasked), "a gateway that nobody proves");
    assert!(!is_session(GATEWAY, 2, 100.0, &unasked), "another program, and not for long");
    assert!(is_session(GATEWAY, 1, 100.0, &unasked));
    assert!(is_session(GATEWAY, 1, 200.0, &[ASKED, ANSWERED, (60.0, ToServer, 120)]), "too short for a request");
    let later = [ASKED, ANSWERED, (400.0, ToServer, 900), (400.1, ToClient, 900)];
    assert!(is_session(GATEWAY, 1, 500.0, &later), "no web server waits so long");
}

#[test]
fn dtls_that_was_up_before_is_a_session_where_others_have_theirs() {
    let found = |mut told: Told, server: [u8; 4], ways: &[Direction]| {
        told.late_dtls((2, server), ways);
        let Joined { mut sessions, mut others } = sessions(told.tracker.finish().flows, &[], &Twins::default());
        late_clients(&mut sessions, &mut others, &[], &Twins::default());
        let theirs = sessions.iter().filter(|session| session.client == IpAddr::from([192, 0, 2, 2]));
        let told: Vec<_> = theirs.map(|session| (session.identified_by, session.confidence)).collect();
        (told, others.iter().filter(|flow| is_late_talk(flow)).count())
    };
    let both = [ToServer, ToClient];
    let session = (Proof::LateDtls { has_tls: false }, Confidence::Low);
    assert_eq!(found(Told::proven(), GATEWAY, &both), (vec![session], 0));
    assert_eq!(found(Told::proven(), OTHER, &both), (vec![], 1), "a server that nobody proves");
    assert_eq!(found(Told::new(), GATEWAY, &both), (vec![], 1), "the same");
    assert_eq!(found(Told::proven(), GATEWAY, &[ToServer]), (vec![], 0), "nobody answers");
}

#[test]
fn of_several_behind_one_address_each_dtls_goes_to_one_tunnel_and_to_none_that_carries_data_beside_it() {
    let talk =
        |from: u32, until: u32| (from..until).flat_map(|s| [(f64::from(s), ToServer), (f64::from(s) + 0.1, ToClient)]);
    let found = |tls: &[f64], dtls: &[(u32, u32)]| {
        let mut told = Told::new();
        told.late_tls((1, GATEWAY), tls);
        dtls.iter().for_each(|(from, until)| told.late_dtls_at((1, GATEWAY), &talk(*from, *until).collect::<Vec<_>>()));
        let sessions = told.sessions();
        sessions.iter().map(|s| (s.connections.len(), s.dtls.len())).collect::<Vec<_>>()
    };
    assert_eq!(found(&[30.0], &[(0, 20)]), [(1, 1)], "the data went back to TLS");
    assert_eq!(found(&[30.0], &[(0, 60)]), [(1, 0), (0, 1)], "it goes on over DTLS");
    assert_eq!(found(&[30.0], &[(0, 20), (21, 29)]), [(1, 2)], "from another port");
    assert_eq!(found(&[30.0], &[(0, 20), (2, 22)]), [(1, 1), (0, 1)], "two at a time");
}

#[test]
fn bytes_after_a_long_silence_tell_a_tunnel_though_their_record_never_became_whole() {
    let found = |silence: u32| {
        let mut told = Told::proven();
        told.silence = silence;
        told.tls((2, GATEWAY), 1, (0.0, 500.0), &[ASKED, ANSWERED]);
        told.sessions().len()
    };
    assert_eq!(found(400), 2);
    assert_eq!(found(200), 1, "some web servers wait so long");
}

#[test]
fn records_unlike_those_of_cstp_are_believed_only_of_a_known_program() {
    let mut records = vec![ASKED, ANSWERED];
    records.extend((0..30).map(|n| (60.0 + f64::from(n), ToClient, 9000)));
    assert!(!is_session(GATEWAY, 2, 200.0, &records), "pushed to another program");
    assert!(is_session(GATEWAY, 1, 200.0, &records));
}

#[test]
fn dtls_from_another_address_that_names_the_same_session_is_of_one() {
    let found = |name: [u8; 32]| {
        let mut told = Told::proven();
        told.dtls_named(name, (2, GATEWAY), (300.0, 400.0), &[301.0]);
        let mut all = told.sessions();
        crate::session::moves::settle(&mut all, &mut Vec::new(), &[]);
        all.iter().map(|session| session.dtls.len()).collect::<Vec<_>>()
    };
    assert_eq!(found([2; 32]), [2], "the id that the proven session's DTLS named");
    assert_eq!(found([9; 32]), [1, 1]);
}

#[test]
fn visits_and_logins_are_no_tunnels() {
    let answered_late = [ASKED, (90.0, ToClient, 1000), (90.5, ToServer, 600), (90.6, ToClient, 1500)];
    let asked_again = [ASKED, ANSWERED, (100.0, ToServer, 600), (100.1, ToClient, 900), (190.0, ToServer, 600)];
    let alert_of_tls_1_3 = [ASKED, ANSWERED, (300.0, ToClient, 19)];
    for records in [&answered_late[..], &asked_again, &alert_of_tls_1_3, &[ASKED, ANSWERED]] {
        for program in [1, 2] {
            assert!(!is_session(GATEWAY, program, 400.0, records), "program {program}: {records:?}");
        }
    }
    let small = [(0.1, ToServer, 100), (0.2, ToClient, 100), (60.0, ToClient, 400)];
    assert!(!is_session(GATEWAY, 1, 200.0, &small), "it did not begin with HTTP");
}

#[test]
fn a_tunnel_whose_dtls_goes_on_is_not_continued_by_another() {
    let sessions = |last: f64| {
        let mut told = Told::new();
        told.tls((1, GATEWAY), 1, (0.0, 400.0), &[ASKED, ANSWERED]);
        told.dtls((1, GATEWAY), (0.4, last), &[1.0, last]);
        told.tls((1, GATEWAY), 1, (100.0, 400.0), &[(100.1, ToServer, 480), (100.2, ToClient, 1000)]);
        told.dtls((1, GATEWAY), (100.4, 400.0), &[101.0, 390.0]);
        told.sessions().len()
    };
    assert_eq!(sessions(60.0), 1, "a reconnect");
    assert_eq!(sessions(390.0), 2, "two clients behind one address");
}

#[test]
fn who_asks_after_a_minute_what_the_first_login_asked_logs_in_again() {
    let sessions = |requests: [u16; 3]| {
        let mut told = Told::new();
        for (from, requests) in [(0.0, [480, 520, 900]), (61.0, requests)] {
            let ask = |n: u8| from + 0.1 + f64::from(n) * 0.2;
            let talk = (0..)
                .zip(requests)
                .flat_map(|(n, length)| [(ask(n), ToServer, length), (ask(n) + 0.1, ToClient, 1000)]);
            told.tls((1, GATEWAY), 1, (from, from + 60.0), &talk.collect::<Vec<_>>());
            told.dtls((1, GATEWAY), (from + 2.0, from + 59.0), &[from + 3.0]);
        }
        told.sessions().len()
    };
    assert_eq!(sessions([484, 512, 900]), 2);
    assert_eq!(sessions([900, 520, 480]), 1, "a reconnect, inside which connections go on");
}

#[test]
fn what_goes_on_from_another_address_with_the_same_port_and_unheard_is_no_connection_of_its_own() {
    let view = |client: u8, port: u16, begins: bool, (first, last_up): (f64, f64), answered: bool| -> View {
        let at = |seconds| Timestamp::default().plus_seconds(seconds);
        let ends = Endpoints { client: ([192, 0, 2, client], port).into(), server: (GATEWAY, 443).into() };
        let client_hello = begins.then(|| (at(first), FrameRef::default(), None));
        let mut tls = TlsFacts { client_hello, ..TlsFacts::default() };
        tls.add_data(at(last_up), FrameRef::default(), ToServer, 100);
        if answered {
            tls.add_data(at(last_up), FrameRef::default(), ToClient, 100);
        }
        let mut notes = FlowNotes::new(PointId(0));
        notes.tls = Some(Box::new(tls));
        let ended = Ended { last_by_direction: [Some(at(last_up)), None], ..Ended::default() };
        Box::new(notes.take(FlowId(0), Opened::bare(Protocol::Tcp, ends, at(first)), ended))
    };
    let left = |moved: View| {
        let mut others = Vec::new();
        let tls = vec![view(1, 40_000, true, (0.0, 6.0), true), moved];
        (without_readdressed(tls, &mut others).len(), others.len())
    };
    assert_eq!(left(view(2, 40_000, false, (9.6, 9.6), false)), (1, 1));
    assert_eq!(left(view(2, 40_000, false, (9.6, 9.6), true)), (2, 0), "the gateway knows it");
    assert_eq!(left(view(2, 40_001, false, (9.6, 9.6), false)), (2, 0), "another port");
    assert_eq!(left(view(1, 40_000, false, (9.6, 9.6), false)), (2, 0), "the same client");
    assert_eq!(left(view(2, 40_000, true, (9.6, 9.6), false)), (2, 0), "it begins here");
    assert_eq!(left(view(2, 40_000, false, (5.0, 9.6), false)), (2, 0), "both at a time");
}

#[test]
fn whose_tunnel_is_reset_under_him_does_not_log_in_the_next_moment() {
    let sessions = |reset: bool, gap: f64, requests: [u16; 3]| {
        let mut told = Told::new();
        for (from, requests) in [(0.0, [480, 520, 900]), (20.0 + gap, requests)] {
            let ask = |n: u8| from + 0.1 + f64::from(n) * 0.2;
            let talk = (0..)
                .zip(requests)
                .flat_map(|(n, length)| [(ask(n), ToServer, length), (ask(n) + 0.1, ToClient, 1000)]);
            told.tls_until((1, GATEWAY), 1, (from, from + 20.0), &talk.collect::<Vec<_>>(), Some(reset));
            told.dtls((1, GATEWAY), (from + 2.0, from + 19.0), &[from + 3.0]);
        }
        told.sessions().len()
    };
    assert_eq!(sessions(true, 0.03, [900, 520, 480]), 1);
    assert_eq!(sessions(false, 0.03, [900, 520, 480]), 2, "he left");
    assert_eq!(sessions(true, 3.0, [900, 520, 480]), 2, "he had time to");
    assert_eq!(sessions(true, 0.03, [484, 512, 900]), 2, "he asks what the first login asked");
}

#[test]
fn several_who_replace_their_tunnels_at_once_are_told_apart_as_a_whole() {
    let mut told = Told::new();
    for (from, until, dtls) in [(0.0, 30.1, 0.4), (5.0, 29.7, 5.4), (30.0, 60.0, 30.25), (30.101, 60.0, 30.35)] {
        let talk = [(from + 0.1, ToServer, 480), (from + 0.2, ToClient, 1000)];
        told.tls_until((1, GATEWAY), 1, (from, until), &talk, Some(false));
        told.dtls((1, GATEWAY), (dtls, until), &[dtls + 0.1, until - 1.0]);
    }
    let start = |c: &Connection| c.start().seconds_since(Timestamp::default());
    let found: Vec<Vec<f64>> = told.sessions().iter().map(|s| s.connections.iter().map(start).collect()).collect();
    assert_eq!(found, [[0.0, 30.101], [5.0, 30.0]], "the first to open takes no tunnel that another fits better");
}

#[test]
fn nobody_asks_for_dtls_to_a_tunnel_he_has_left() {
    let owner = |reset: Option<bool>| {
        let mut told = Told::new();
        told.tls((1, GATEWAY), 1, (0.0, 60.0), &[ASKED, ANSWERED]);
        told.tls_until((1, GATEWAY), 1, (1.0, 1.3), &[(1.1, ToServer, 480), (1.2, ToClient, 1000)], reset);
        told.dtls((1, GATEWAY), (1.4, 60.0), &[2.0]);
        let sessions = told.sessions();
        let of = sessions.iter().filter(|s| !s.dtls.is_empty()).flat_map(|s| &s.connections);
        of.map(|c| c.start().seconds_since(Timestamp::default())).collect::<Vec<_>>()
    };
    assert_eq!(owner(None), [1.0]);
    assert_eq!(owner(Some(false)), [0.0], "it had been closed");
}

#[test]
fn a_connection_that_one_capture_broke_off_goes_on_in_another() {
    let connections = |is_closed: bool, later: f64, number: u32| {
        let mut told = Told { numbers: (u32::MAX, 99), ..Told::new() };
        let flow = told.next();
        let record = |flow, at| (at, What::TlsData(flow, ToServer, 480));
        let closed = What::Closed { flow, direction: ToServer, alert: None, reset: false, ttl: 64 };
        let mut events = vec![record(flow, 1.0)];
        events.extend(is_closed.then_some((30.0, closed)));
        told.flow(Protocol::Tcp, (1, GATEWAY), (1.0, 30.0), events);
        // The same ports, captured elsewhere.
        (told.flows, told.point, told.numbers) = (0, PointId(1), (number, number + 100));
        let rest = vec![record(told.next(), later)];
        told.flow(Protocol::Tcp, (1, GATEWAY), (later, later + 9.0), rest);
        group(told.tracker.finish().flows, &[], &Twins::default()).len()
    };
    assert_eq!(connections(false, 90.0, 100), 1);
    assert_eq!(connections(false, 33.0, 99), 1);
    assert_eq!(connections(true, 90.0, 100), 2, "it had ended: the ports were used again");
    assert_eq!(connections(false, 90.0, 3_000_000_000), 2, "its numbers do not go on");
    assert_eq!([99, 200_000_000].map(|number| connections(false, 90_000.0, number)), [1, 2], "after a day");
}
