//! An HTML page taken apart, strictly: what a browser would have to guess is refused.
#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's own tool"
)]

use std::collections::BTreeMap;

/// One start tag.
#[derive(Clone, Debug)]
pub struct Tag {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
}

/// A page.
#[derive(Debug, Default)]
pub struct Page {
    pub tags: Vec<Tag>,
    /// What stands between the tags, unescaped.
    pub text: String,
    pub style: String,
    pub script: String,
}

/// Elements without an end tag.
const VOID: &[&str] = &["meta"];

impl Page {
    /// Takes it apart; panics where a tag is not closed in order, or a sign stands where markup may begin.
    pub fn parse(html: &str) -> Page {
        let mut page = Page::default();
        let mut open: Vec<String> = Vec::new();
        let mut rest = html.strip_prefix("<!doctype html>\n").expect("a document type");
        while let Some(at) = rest.find('<') {
            let (text, tag) = rest.split_at(at);
            page.text.push_str(&unescaped(text));
            let end = tag.find('>').unwrap_or_else(|| panic!("a tag without an end: {}", short(tag)));
            let inside = &tag[1..end];
            rest = &tag[end + 1..];
            if let Some(name) = inside.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name), "closed out of order before {}", short(rest));
                continue;
            }
            let (inside, alone) = inside.strip_suffix('/').map_or((inside, false), |inside| (inside, true));
            let tag = start(inside);
            if tag.name == "style" || tag.name == "script" {
                let close = format!("</{}>", tag.name);
                let (raw, after) = rest.split_once(close.as_str()).expect("an end of style or script");
                if tag.name == "style" { &mut page.style } else { &mut page.script }.push_str(raw);
                rest = after;
            } else if !alone && !VOID.contains(&tag.name.as_str()) {
                open.push(tag.name.clone());
            }
            page.tags.push(tag);
        }
        page.text.push_str(&unescaped(rest));
        assert!(open.is_empty(), "never closed: {open:?}");
        page
    }

    /// The tags that have this attribute with this value.
    pub fn having<'a>(&'a self, attribute: &'a str, value: &'a str) -> impl Iterator<Item = &'a Tag> {
        self.tags.iter().filter(move |tag| tag.attributes.get(attribute).is_some_and(|is| is == value))
    }

    /// How many marks of a kind its charts have.
    pub fn marks(&self, kind: &str) -> usize {
        self.having("data-mark", kind).count()
    }
}

fn start(inside: &str) -> Tag {
    let (name, mut rest) = inside.split_once([' ', '\n']).unwrap_or((inside, ""));
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric()) && !name.is_empty(), "no tag's name: {name:?}");
    let mut attributes = BTreeMap::new();
    rest = rest.trim();
    while !rest.is_empty() {
        let space = rest.find([' ', '\n']).unwrap_or(rest.len());
        match rest.find('=').filter(|equals| *equals < space) {
            Some(equals) => {
                let value = rest[equals + 1..].strip_prefix('"').expect("a value in quotes");
                let (value, after) = value.split_once('"').expect("the value's end");
                let known = attributes.insert(rest[..equals].to_owned(), unescaped(value));
                assert!(known.is_none(), "twice: {}", &rest[..equals]);
                rest = after.trim_start();
            }
            None => {
                attributes.insert(rest[..space].to_owned(), String::new());
                rest = rest[space..].trim_start();
            }
        }
    }
    Tag { name: name.to_owned(), attributes }
}

fn unescaped(text: &str) -> String {
    let names = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#96;", "`"), ("&amp;", "&")];
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let (name, sign) = names.iter().find(|(name, _)| rest.starts_with(name)).expect("a reference that is known");
        plain.push_str(sign);
        rest = &rest[name.len()..];
    }
    plain.push_str(rest);
    plain
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
