//! The HTML page in a real browser: nothing is loaded, nothing complains, charts and buttons work, in both themes, on a phone.
//!
//! Skipped, with a message, where there is no Chromium.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

#[path = "support/browser.rs"]
mod browser;
#[path = "support/command.rs"]
mod command;

use browser::Browser;
use command::{Folder, code, replaced, run, stderr};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What the page and its charts must be, by capture.
const CAPTURES: &[&str] = &[
    "captures/asa-anyconnect/all.pcapng",
    "captures/healthy-dtls12/client.pcapng",
    "captures/asa-dtls-stalls-after-hvr/client.pcapng",
    "captures/multi-session/inside.pcapng",
];

fn page_of(folder: &Folder, captures: &[&Path]) -> (PathBuf, Value) {
    let (html, json) = (folder.0.join("report.html"), folder.0.join("report.json"));
    let mut args: Vec<String> = vec!["analyze".into(), "--quiet".into()];
    args.push(format!("--format=html={}", html.display()));
    args.push(format!("--format=json={}", json.display()));
    args.extend(captures.iter().map(|path| path.display().to_string()));
    let output = run(&args);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    (html, serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap())
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A browser, or why there is none.
fn start(folder: &Folder) -> Option<Browser> {
    let Some(program) = browser::installed() else {
        eprintln!("no chromium on the path: the page was not opened in a browser");
        return None;
    };
    Some(Browser::start(program, &folder.0))
}

/// Nothing said on the console, nothing refused by the policy, nothing asked for but the page itself.
fn assert_quiet(browser: &Browser, name: &str) {
    for method in ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"] {
        assert!(browser.told(method).is_empty(), "{name}: {:?}", browser.told(method));
    }
    let asked: Vec<&str> = browser
        .told("Network.requestWillBeSent")
        .iter()
        .map(|event| event["request"]["url"].as_str().unwrap())
        .filter(|url| !url.starts_with("data:"))
        .collect();
    assert!(asked.len() == 1 && asked[0].starts_with("file://"), "{name}: {asked:?}");
}

fn count(report: &Value, list: &str) -> usize {
    report["sessions"].as_array().unwrap().iter().map(|s| s[list].as_array().unwrap().len()).sum()
}

fn marks(browser: &mut Browser, kind: &str) -> usize {
    let found = browser.value(&format!("document.querySelectorAll('[data-mark={kind}]').length"));
    found.as_u64().unwrap() as usize
}

#[test]
fn pages_load_nothing_and_draw_everything() {
    let folder = Folder::new("browser-pages");
    let Some(mut browser) = start(&folder) else { return };
    for capture in CAPTURES {
        let (html, report) = page_of(&folder, &[&root(capture)]);
        browser.open(&html);
        assert_quiet(&browser, capture);
        for (kind, list) in [("tunnel", "tunnels"), ("attempt", "dtls_attempts"), ("reconnect", "reconnects")] {
            assert_eq!(marks(&mut browser, kind), count(&report, list), "{capture}: {kind}");
        }
        let rungs: usize = report["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|s| s["ladders"].as_array().unwrap())
            .map(|l| l["rungs"].as_array().unwrap().len())
            .sum();
        assert_eq!(marks(&mut browser, "rung"), rungs, "{capture}");
        // What is drawn has a size: no mark is lost outside its chart.
        let lost = "[...document.querySelectorAll('details[open] [data-mark], section > figure [data-mark]')]
            .filter((mark) => mark.getBoundingClientRect().width + mark.getBoundingClientRect().height === 0).length";
        assert_eq!(browser.value(lost), 0, "{capture}");
    }
}

#[test]
fn buttons_copy_and_charts_zoom() {
    let folder = Folder::new("browser-buttons");
    let Some(mut browser) = start(&folder) else { return };
    let (html, report) = page_of(&folder, &[&root(CAPTURES[0])]);
    browser.open(&html);
    let filter = report["findings"][0]["filters"][0].as_str().unwrap();
    // The page's own clipboard is the browser's business; what reaches it is the page's.
    browser.value("void (navigator.clipboard.writeText = async (text) => { window.copied = text; })");
    let click = "(async () => {
        const button = document.querySelector('button.copy');
        button.click();
        await new Promise((done) => setTimeout(done, 100));
        return [button.hidden, window.copied, button.textContent, document.getElementById('live').textContent];
    })()";
    assert_eq!(browser.value(click), json!([false, filter, "Copied", "Copied to the clipboard"]));
    // Where the clipboard is refused, by hand: the text is selected and copied.
    let by_hand = "(async () => {
        navigator.clipboard.writeText = async () => { throw new Error('refused'); };
        document.execCommand = (what) => { window.copied = [what, getSelection().toString() || document.activeElement.value]; return true; };
        const button = document.querySelectorAll('button.copy')[1];
        button.click();
        await new Promise((done) => setTimeout(done, 100));
        return [window.copied[0], window.copied[1] === button.dataset.copy, document.activeElement === button];
    })()";
    assert_eq!(browser.value(by_hand), json!(["copy", true, true]));

    let zoom = "(() => {
        const figure = document.querySelector('figure.zoom');
        const bar = figure.querySelector('[data-mark=attempt]');
        const width = () => Number(bar.getAttribute('width'));
        const before = width();
        figure.querySelector('[data-zoom=in]').click();
        const closer = width();
        figure.querySelector('[data-zoom=all]').click();
        const ticks = figure.querySelectorAll('.axis text').length;
        return [closer / before, Math.abs(width() - before) < 0.2, ticks > 3];
    })()";
    let zoomed = browser.value(zoom);
    assert!((zoomed[0].as_f64().unwrap() - 2.0).abs() < 0.05, "{zoomed}");
    assert_eq!((&zoomed[1], &zoomed[2]), (&json!(true), &json!(true)));
    assert_quiet(&browser, "after the buttons");
}

#[test]
fn both_themes_a_phone_and_paper() {
    let folder = Folder::new("browser-themes");
    let Some(mut browser) = start(&folder) else { return };
    let (html, _) = page_of(&folder, &[&root(CAPTURES[0])]);
    let mut grounds = Vec::new();
    for theme in ["light", "dark"] {
        let features = json!([{ "name": "prefers-color-scheme", "value": theme }]);
        browser.call("Emulation.setEmulatedMedia", json!({ "features": features }));
        browser.open(&html);
        let contrast = browser.value(CONTRAST);
        for pair in contrast.as_array().unwrap() {
            assert!(pair[1].as_f64().unwrap() >= 4.5, "{theme}: {} has a contrast of {}", pair[0], pair[1]);
        }
        grounds.push(browser.value("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(grounds[0], grounds[1], "the themes differ");

    let phone = json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true });
    browser.call("Emulation.setDeviceMetricsOverride", phone);
    browser.open(&html);
    assert_eq!(browser.value("document.documentElement.scrollWidth"), 390, "nothing is wider than a phone");
    let reachable = "[...document.querySelectorAll('.scroll')].every((box) => box.tabIndex === 0 && box.ariaLabel)";
    assert_eq!(browser.value(reachable), true, "what scrolls can be reached by keyboard and has a name");

    browser.call("Emulation.clearDeviceMetricsOverride", json!({}));
    let paper = browser.call("Page.printToPDF", json!({ "preferCSSPageSize": true }));
    assert!(paper["data"].as_str().unwrap().len() > 20_000, "it prints");
    assert_eq!(browser.value("document.querySelector('details.print').open"), true, "paper shows the timeline");
}

/// Contrast of the kinds of text against what is behind them (WCAG 2.2, 1.4.3: 4.5 to 1).
const CONTRAST: &str = "(() => {
    const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((n) => n / 255)
        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const light = (colour) => channels(colour).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!colour.startsWith('rgba(0, 0, 0, 0')) return colour;
        }
        return getComputedStyle(document.body).backgroundColor;
    };
    return ['p', 'p.note', 'a', 'h1', 'h2', '.badge', '.rank', 'code', 'figcaption', 'th', 'td', 'summary', 'button', 'footer p',
            'svg text.name', '.axis text', '.rung.bad .what', '.limit text']
        .map((what) => [what, document.querySelector(what)]).filter(([, element]) => element)
        .map(([what, element]) => {
            const style = getComputedStyle(element);
            const [a, b] = [light(element.closest('svg') ? style.fill : style.color), light(behind(element))];
            return [what, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
        });
})()";

#[test]
fn a_hostile_capture_runs_nothing() {
    let folder = Folder::new("browser-hostile");
    let Some(mut browser) = start(&folder) else { return };
    let real = std::fs::read(root("captures/asa-anyconnect/all.pcapng")).unwrap();
    // A certificate's names and an interface's, equal in length so that the file stays sound.
    let certificate = replaced(&real, b"vpn.example.com", b"<svg/onload=e()");
    let bytes = replaced(&certificate, b"cscotun0", b"<script>");
    let name = "<img src=x onerror=\"document.title='run'\">'`&.pcapng";
    let capture = folder.file(name, &bytes);
    let (html, _) = page_of(&folder, &[&capture]);
    browser.open(&html);
    assert_quiet(&browser, "hostile");
    assert_eq!(browser.value("document.images.length"), 0);
    assert_eq!(browser.value("document.scripts.length"), 1);
    assert_eq!(browser.value("document.title.includes('AnyConnect') || document.title.includes('DTLS')"), true);
    let shown = browser.value("document.getElementById('captures').textContent");
    assert!(shown.as_str().unwrap().contains(name) && shown.as_str().unwrap().contains("<script>"), "{shown}");
}
