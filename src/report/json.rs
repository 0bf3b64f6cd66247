//! The report as JSON: the published contract, pretty-printed, the same bytes for the same report.
//!
//! Promises: streams to the writer, ends with a newline, field order as declared. Refuses: to add, drop or compute anything.

use super::terminal::is_hostile;
use super::{Every, List, Report};
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};
use serde_json::ser::{Formatter, PrettyFormatter};
use std::cell::RefCell;
use std::io::{self, Write};
use std::ops::ControlFlow;

/// Writes `report` as indented JSON and a final newline.
///
/// # Errors
///
/// What `out` says; a report itself always serialises.
pub fn render(report: &Report, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    render_every(report, &mut &*report, out)
}

/// The same, with the sessions that `every` tells instead of the report's own.
///
/// # Errors
///
/// As [`render`].
pub fn render_every(report: &Report, every: &mut dyn Every, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let pretty = Visible(PrettyFormatter::new());
    let document = Document { report, every: RefCell::new(every) };
    document.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, pretty))?;
    out.write_all(b"\n")
}

/// A report whose lists about every session are told piece by piece.
struct Document<'a> {
    report: &'a Report,
    every: RefCell<&'a mut dyn Every>,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // None left out: a field more is a field here.
        let Report {
            schema_version,
            tool,
            complete,
            captures,
            summary,
            sessions: _,
            findings: _,
            checks: _,
            losses,
            next_captures,
            decryption,
        } = self.report;
        let mut fields = serializer.serialize_struct("Report", 11)?;
        fields.serialize_field("schema_version", schema_version)?;
        fields.serialize_field("tool", tool)?;
        fields.serialize_field("complete", complete)?;
        fields.serialize_field("captures", captures)?;
        fields.serialize_field("summary", summary)?;
        fields.serialize_field("sessions", &Pieces(self, List::Sessions))?;
        fields.serialize_field("findings", &Pieces(self, List::Findings))?;
        fields.serialize_field("checks", &Pieces(self, List::Checks))?;
        fields.serialize_field("losses", losses)?;
        fields.serialize_field("next_captures", next_captures)?;
        fields.serialize_field("decryption", decryption)?;
        fields.end()
    }
}

/// One of those lists.
struct Pieces<'a, 'd>(&'a Document<'d>, List);

impl Serialize for Pieces<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Pieces(document, which) = self;
        let mut list = serializer.serialize_seq(None)?;
        let mut result = Ok(());
        document.every.borrow_mut().each(*which, &mut |piece| {
            result = match which {
                List::Sessions => piece.sessions.iter().try_for_each(|session| list.serialize_element(session)),
                List::Findings => piece.findings.iter().try_for_each(|finding| list.serialize_element(finding)),
                List::Checks => piece.checks.iter().try_for_each(|check| list.serialize_element(check)),
            };
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        result?;
        list.end()
    }
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
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return out.write_all(fragment.as_bytes());
        }
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
    fn told_piece_by_piece_it_is_the_same_document() {
        let whole = report();
        let mut out = Vec::new();
        render(&whole, &mut out).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(told, serde_json::to_value(&whole).unwrap());
        let order = |json: &str| -> Vec<String> {
            let mut names: Vec<String> = told.as_object().unwrap().keys().cloned().collect();
            names.sort_by_key(|name| json.find(&format!("\"{name}\":")));
            names
        };
        let (out, derived) = (String::from_utf8(out).unwrap(), serde_json::to_string_pretty(&whole).unwrap());
        assert_eq!(order(&out), order(&derived), "field by field where serde would put it");
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
