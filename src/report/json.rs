//! The report as JSON: the published contract, pretty-printed, the same bytes for the same report.
//!
//! Promises: streams to the writer, ends with a newline, field order as declared. Refuses: to add, drop or compute anything.

use super::Report;
use super::text::is_hostile;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

/// Writes `report` as indented JSON and a final newline.
///
/// # Errors
///
/// What `out` says; a report itself always serialises.
pub fn render(report: &Report, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let pretty = Visible(PrettyFormatter::new());
    report.serialize(&mut Serializer::with_formatter(&mut *out, pretty))?;
    out.write_all(b"\n")
}

/// Writes the JSON Schema (2020-12) of [`Report`] and a final newline.
///
/// # Errors
///
/// What `out` says.
pub fn render_schema(out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &schemars::schema_for!(Report))?;
    out.write_all(b"\n")
}

/// Indented JSON where characters that could fool a terminal are `\\u` escapes, as JSON allows for any character.
struct Visible(PrettyFormatter<'static>);

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = fragment;
        while let Some((at, hostile)) = plain.char_indices().find(|(_, c)| is_hostile(*c)) {
            let (before, rest) = plain.split_at(at);
            out.write_all(before.as_bytes())?;
            for unit in hostile.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            plain = rest.get(hostile.len_utf8()..).unwrap_or_default();
        }
        out.write_all(plain.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Finding, SCHEMA_VERSION, Session, Severity};

    fn report() -> Report {
        Report {
            schema_version: SCHEMA_VERSION.to_owned(),
            sessions: vec![Session {
                id: "1".to_owned(),
                severity: Some(Severity::High),
                verdict: "a\u{1b}[31m\nb\u{9b}\u{202e}\u{e0041}日\"".to_owned(),
                ..Session::default()
            }],
            findings: Vec::<Finding>::new(),
            ..Report::default()
        }
    }

    #[test]
    fn is_valid_json_ends_with_newline_and_escapes() {
        let mut out = Vec::new();
        render(&report(), &mut out).unwrap();
        assert!(out.ends_with(b"}\n"));
        let raw = std::str::from_utf8(&out).unwrap();
        assert!(raw.chars().all(|c| c == '\n' || !is_hostile(c)));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["schema_version"], SCHEMA_VERSION);
        assert_eq!(value["sessions"][0]["severity"], "high");
        assert_eq!(value["sessions"][0]["verdict"], report().sessions[0].verdict);
    }

    #[test]
    fn every_field_of_a_report_is_in_the_schema() {
        let mut out = Vec::new();
        render_schema(&mut out).unwrap();
        let schema: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let report = serde_json::to_value(report()).unwrap();
        for field in report.as_object().unwrap().keys() {
            assert!(schema["properties"].get(field).is_some(), "{field}");
        }
        for field in report["sessions"][0].as_object().unwrap().keys() {
            let session = &schema["$defs"]["Session"]["properties"];
            assert!(session.get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn a_full_disk_is_an_error_and_no_panic() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = render(&report(), &mut Full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
