//! The one way any string gets into the page: as text, as an attribute's value in double quotes, as text of an SVG.

use crate::report::terminal::is_hostile;
use std::fmt::{Display, Formatter, Result, Write};

/// A string as HTML shows it: nothing in it is markup, ends an attribute, or hides.
pub struct Esc<'a>(pub &'a str);

impl Display for Esc<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '`' => f.write_str("&#96;")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if is_hostile(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The same, with what stands in `backticks` as code.
pub struct Prose<'a>(pub &'a str);

impl Display for Prose<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let parts: Vec<&str> = self.0.split('`').collect();
        for (at, part) in parts.iter().enumerate() {
            // A backtick without its partner is a backtick.
            let closed = at + 1 < parts.len();
            match (at % 2 == 1, closed) {
                (true, true) => write!(f, "<code>{}</code>", Esc(part))?,
                (true, false) => write!(f, "&#96;{}", Esc(part))?,
                (false, _) => write!(f, "{}", Esc(part))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn back(text: &str) -> String {
        let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#96;", "`")];
        let text = named.iter().fold(text.to_owned(), |text, (name, sign)| text.replace(name, sign));
        text.replace("&amp;", "&")
    }

    #[test]
    fn markup_becomes_text() {
        assert_eq!(
            Esc("<b onx='1'>&\u{1b}\u{202e}\n").to_string(),
            "&lt;b onx=&#39;1&#39;&gt;&amp;\\u{1b}\\u{202e}\\n"
        );
        assert_eq!(Prose("run `a<b` or `c").to_string(), "run <code>a&lt;b</code> or &#96;c");
    }

    proptest! {
        #[test]
        fn nothing_is_markup_and_nothing_is_lost(text: String) {
            let escaped = Esc(&text).to_string();
            prop_assert!(!escaped.contains(['<', '>', '"', '\'', '`']) && !escaped.chars().any(is_hostile));
            let visible: String = text.chars().filter(|c| !is_hostile(*c)).collect();
            if visible == text {
                prop_assert_eq!(back(&escaped), text);
            }
        }

        #[test]
        fn prose_has_no_markup_but_code(text: String) {
            let page = Prose(&text).to_string();
            let plain = page.replace("<code>", "").replace("</code>", "");
            prop_assert!(!plain.contains(['<', '>', '"', '\'', '`']));
            prop_assert_eq!(page.matches("<code>").count(), page.matches("</code>").count());
        }
    }
}
