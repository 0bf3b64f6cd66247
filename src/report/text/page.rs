//! The page that is written: pieces of lines with their styles, clean, wrapped, in columns.

use super::{Look, MAX_LIST, WIDTH};
use crate::report::Severity;
use crate::report::terminal::{columns, escape, escape_ascii, wrap};
use crate::report::words::counted;
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const PLAIN: Style = Style::new();
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();

/// The style of a severity's word.
pub(crate) fn severity_style(severity: Severity) -> Style {
    let colour = match severity {
        Severity::High => AnsiColor::Red,
        Severity::Medium => AnsiColor::Yellow,
        Severity::Low => AnsiColor::Cyan,
        Severity::Info => AnsiColor::Blue,
    };
    colour.on_default().bold()
}

/// A styled piece of a line.
pub(super) type Span<'a> = (Style, &'a str);

pub(super) struct Page<'a, W: ?Sized> {
    pub(super) out: &'a mut W,
    pub(super) look: Look,
}

impl<W: Write + ?Sized> Page<'_, W> {
    /// A list under a bold label, a blank line before it; nothing when empty.
    pub(super) fn list(&mut self, label: &str, rows: &[String]) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.line("")?;
        for (at, row) in rows.iter().enumerate().take(MAX_LIST) {
            let label = format!("{:<14}", if at == 0 { label } else { "" });
            self.hang(&[(BOLD, &label)], row)?;
        }
        self.more("              ", rows.len(), MAX_LIST, "line")
    }

    /// `… 3 more filters, all in --format json`, when there are more.
    pub(super) fn more(&mut self, indent: &str, all: usize, shown: usize, noun: &str) -> io::Result<()> {
        let Some(rest) = all.checked_sub(shown).filter(|rest| *rest > 0) else {
            return Ok(());
        };
        let noun = format!("more {noun}");
        let text = format!("… {}, all in --format json", counted(rest as u64, &noun));
        self.hang(&[(PLAIN, indent)], &text)
    }

    /// `head`, then `body` wrapped to the page and hanging behind it.
    pub(super) fn hang(&mut self, head: &[Span], body: &str) -> io::Result<()> {
        let head: Vec<(Style, String)> = head.iter().map(|(style, text)| (*style, self.clean(text))).collect();
        let body = self.clean(body);
        let head_width: usize = head.iter().map(|(_, text)| columns(text)).sum();
        let one_line = head_width + columns(&body) <= WIDTH;
        if one_line || head_width + 24 <= WIDTH {
            for (style, text) in &head {
                self.paint(*style, text)?;
            }
            // A body that fits keeps its own spacing.
            let lines = if one_line { vec![body] } else { wrap(&body, WIDTH - head_width) };
            let indent = " ".repeat(head_width);
            for (at, line) in lines.iter().enumerate() {
                if at > 0 {
                    self.out.write_all(indent.as_bytes())?;
                }
                self.out.write_all(line.trim_end().as_bytes())?;
                self.out.write_all(b"\n")?;
            }
            return Ok(());
        }
        // The head leaves no room beside it: cut it to lines of its own.
        let (style, whole) = head.iter().fold((PLAIN, String::new()), |(_, all), (s, t)| (*s, all + t));
        for line in wrap(&whole, WIDTH) {
            self.paint(style, &line)?;
            self.out.write_all(b"\n")?;
        }
        if body.is_empty() {
            return Ok(());
        }
        for line in wrap(&body, WIDTH - 4) {
            writeln!(self.out, "    {line}")?;
        }
        Ok(())
    }

    /// One line of clean pieces, whatever its width.
    pub(super) fn spans(&mut self, spans: &[Span]) -> io::Result<()> {
        for (style, text) in spans {
            self.paint(*style, text)?;
        }
        self.out.write_all(b"\n")
    }

    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.spans(&[(PLAIN, text)])
    }

    fn paint(&mut self, style: Style, text: &str) -> io::Result<()> {
        if !self.look.colour || style == PLAIN || text.trim().is_empty() {
            return self.out.write_all(text.as_bytes());
        }
        write!(self.out, "{style}{text}{style:#}")
    }

    pub(super) fn clean(&self, text: &str) -> String {
        if self.look.ascii {
            return escape_ascii(text);
        }
        escape(text).into_owned()
    }

    /// Clean and filled with spaces to `width` columns.
    pub(super) fn padded(&self, text: &str, width: usize) -> String {
        let mut text = self.clean(text);
        let used = columns(&text);
        text.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
        text
    }
}
