//! Text for a terminal: what a capture says made harmless, measured and wrapped.

use std::borrow::Cow;
use std::fmt::Write as _;
use unicode_width::UnicodeWidthChar;

/// `text` with everything that could move a cursor, hide, or reorder made visible: `\n`, `\x1b`, `\u{202e}`.
///
/// The one way any string of a capture, path or operating system gets to a terminal.
pub fn escape(text: &str) -> Cow<'_, str> {
    if is_plain(text) || !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => clean.push_str("\\n"),
            '\r' => clean.push_str("\\r"),
            '\t' => clean.push_str("\\t"),
            c if is_hostile(c) => push_escaped(&mut clean, c),
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// Is it all printable ASCII, as most of a report is?
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |plain, byte| plain & (b' '..=b'~').contains(&byte))
}

/// [`escape`], then anything beyond ASCII spelled out.
pub fn escape_ascii(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in escape(text).chars() {
        match c {
            ' '..='~' => plain.push(c),
            '→' => plain.push_str("->"),
            '←' => plain.push_str("<-"),
            '⇒' => plain.push_str("=>"),
            '·' | '−' | '–' => plain.push('-'),
            '—' => plain.push_str("--"),
            '…' => plain.push_str("..."),
            '×' => plain.push('x'),
            '≥' => plain.push_str(">="),
            '≤' => plain.push_str("<="),
            '≠' => plain.push_str("!="),
            '≈' => plain.push('~'),
            '’' | '‘' => plain.push('\''),
            '“' | '”' => plain.push('"'),
            '•' => plain.push('*'),
            'µ' | 'μ' => plain.push('u'),
            '§' => plain.push_str("section "),
            c => push_escaped(&mut plain, c),
        }
    }
    plain
}

/// Whether a terminal, or a reader, can be fooled by this character.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{ffa0}'
            | '\u{200b}'..='\u{200f}'   // zero width, left/right marks
            | '\u{2028}'..='\u{202e}'   // line and paragraph separator, bidi embeddings
            | '\u{2060}'..='\u{206f}'   // invisible operators, bidi isolates
            | '\u{fe00}'..='\u{fe0f}'   // variation selectors: they change the width of what precedes
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

fn push_escaped(out: &mut String, c: char) {
    let code = u32::from(c);
    // Writing to a String cannot fail.
    let _ = if code < 0x100 { write!(out, "\\x{code:02x}") } else { write!(out, "\\u{{{code:x}}}") };
}

/// `text` in lines of at most `width` columns, broken at spaces; a word that is too long is cut.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut line = String::with_capacity(width);
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let needs = columns(word);
        if used > 0 && used + 1 + needs > width {
            lines.push(std::mem::replace(&mut line, String::with_capacity(width)));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        if needs <= width {
            line.push_str(word);
            used += needs;
            continue;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if used > 0 && used + wide > width {
                lines.push(std::mem::replace(&mut line, String::with_capacity(width)));
                used = 0;
            }
            line.push(c);
            used += wide;
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// Terminal columns `text` fills.
pub(crate) fn columns(text: &str) -> usize {
    if is_plain(text) { text.len() } else { text.chars().map(|c| c.width().unwrap_or(0)).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_visible() {
        assert_eq!(escape("plain ünïcode 日本"), "plain ünïcode 日本");
        assert_eq!(escape("a\nb\t\u{1b}[31m\u{9b}1m\u{202e}x\u{7f}"), "a\\nb\\t\\x1b[31m\\x9b1m\\u{202e}x\\x7f");
        assert_eq!(escape_ascii("a → b · 3 × 4 ≥ 日"), "a -> b - 3 x 4 >= \\u{65e5}");
    }

    proptest! {
        #[test]
        fn wrapping_keeps_every_word_and_the_width(text in "[a-z日 ]{0,300}", width in 2usize..120) {
            let lines = wrap(&text, width);
            for line in &lines {
                prop_assert!(columns(line) <= width);
            }
            let bare = |text: &str| text.replace(' ', "");
            prop_assert_eq!(bare(&lines.concat()), bare(&text));
        }

        #[test]
        fn escaping_twice_is_escaping_once(text in "\\PC*[\u{0}-\u{ff}]*") {
            let once = escape(&text).into_owned();
            prop_assert_eq!(escape(&once), once.as_str());
            let once = escape_ascii(&text);
            prop_assert_eq!(escape_ascii(&once), once.as_str());
        }
    }
}
