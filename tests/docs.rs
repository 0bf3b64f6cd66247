//! The pages say what the code does: the detectors' page is printed from the table, and what README and `docs/` claim of
//! commands, exit codes, detectors and files is compared with the program.
//!
//! `ACPCAP_BLESS=1 cargo test --test docs` prints `docs/detectors.md`, `docs/csv.md` and the README's examples anew.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read the pages has failed")]

use acpcap::detect::DETECTORS;
use acpcap::finding::{Detector, Severity};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const DETECTORS_PAGE: &str = "docs/detectors.md";
const COLUMNS_PAGE: &str = "docs/csv.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}")).replace("\r\n", "\n")
}

#[test]
fn the_detectors_page_is_what_the_table_says() {
    assert_printed(DETECTORS_PAGE, &detectors_page());
}

#[test]
fn the_columns_page_is_what_the_code_writes() {
    assert_printed(COLUMNS_PAGE, &columns_page());
}

/// The page stands there as it is printed.
fn assert_printed(page: &str, printed: &str) {
    let path = root().join(page);
    if std::env::var_os("ACPCAP_BLESS").is_some() {
        bless(&path, printed);
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    let differs = stored.lines().zip(printed.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| stored.lines().count().min(printed.lines().count())) + 1;
    assert!(
        stored == printed,
        "{page} is out of date from line {line} on; ACPCAP_BLESS=1 cargo test --test docs prints it anew"
    );
}

/// Puts the page in place in one step: the other tests read while this one writes.
fn bless(path: &Path, page: &str) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, page).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

/// `docs/csv.md`.
fn columns_page() -> String {
    let mut page = String::from(
        "# Columns of `--format csv`\n\n\
         <!-- Printed from the code: ACPCAP_BLESS=1 cargo test --test docs -->\n\n\
         A row a session, in the order of the report; RFC 4180, ASCII. An empty cell means not known, or none; several values in a \
         cell are separated by a space. Columns are only ever added, at the end, within a major version of the report's schema.\n\n\
         What is not ASCII, and control characters, are spelled out (`\\xe4`). A cell that a spreadsheet would take for a formula has \
         an apostrophe in front.\n\n\
         | column | holds |\n| --- | --- |\n",
    );
    for (name, holds) in acpcap::report::csv::COLUMNS {
        writeln!(page, "| `{name}` | {} |", cell(holds)).unwrap();
    }
    page
}

/// `docs/detectors.md`.
fn detectors_page() -> String {
    let mut page = String::from(
        "# Detectors\n\n\
         <!-- Printed from the code: ACPCAP_BLESS=1 cargo test --test docs -->\n\n\
         Each answers, for every session, *found*, *clear* or *cannot tell*. `acpcap explain ID` tells of one.\n\n\
         | detector | finds | at most |\n| --- | --- | --- |\n",
    );
    for d in DETECTORS {
        writeln!(page, "| [`{}`](#{}) | {} | {} |", d.id, d.id, cell(d.title), word(d.severity)).unwrap();
    }
    for detector in DETECTORS {
        page.push('\n');
        section(detector, &mut page).unwrap();
    }
    page
}

fn section(d: &Detector, page: &mut String) -> std::fmt::Result {
    writeln!(page, "## {}\n", d.id)?;
    let places: Vec<String> = d.judged_from.iter().map(|vantage| format!("`{vantage}`")).collect();
    writeln!(page, "**{}.** Severity up to {}, since {}.\n", d.title, word(d.severity), d.since)?;
    writeln!(page, "{}\n", d.explanation.trim())?;
    writeln!(page, "Judged from: {}. A capture there shows {}.\n", places.join(", "), d.question)?;
    let grades = d.confidence.iter().map(|g| format!("{}: {}", format!("{:?}", g.gives).to_lowercase(), g.when));
    list("Confidence, the first that applies", grades, page)?;
    list("What to do", d.remedy.iter().map(|step| (*step).to_owned()), page)?;
    list("Leads to", d.leads_to.iter().map(|id| format!("[`{id}`](#{id})")), page)?;
    list("References", d.references.iter().map(|reference| (*reference).to_owned()), page)
}

fn list(head: &str, items: impl ExactSizeIterator<Item = String>, page: &mut String) -> std::fmt::Result {
    if items.len() == 0 {
        return Ok(());
    }
    writeln!(page, "\n{head}:\n")?;
    items.into_iter().try_for_each(|item| writeln!(page, "- {item}"))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
    }
}

#[test]
fn what_detectors_lead_to_exists() {
    for detector in DETECTORS {
        for id in detector.leads_to {
            assert!(acpcap::detect::find(id).is_some(), "{} leads to {id}, which nobody is", detector.id);
        }
    }
}

#[test]
fn every_cause_is_told_in_its_detectors_explanation() {
    let mut untold: Vec<(&str, String)> = Vec::new();
    let mut rooms = 0;
    for detector in DETECTORS {
        let room = format!("src/detect/{}/cause.rs", detector.id.replace('-', "_"));
        if !root().join(&room).exists() {
            continue;
        }
        rooms += 1;
        // The enum cannot list itself: its words are read where it gives them.
        let text = read(&room);
        let (_, rest) = text.split_once("fn word(").unwrap();
        let (words, _) = rest.split_once("\n    }\n").unwrap();
        let words: Vec<&str> = words.split('"').skip(1).step_by(2).collect();
        assert!(words.len() > 3, "{room}: the words were not found");
        let is_told = |word: &str| detector.explanation.contains(&format!("`{word}`"));
        untold.extend(words.iter().filter(|word| !is_told(word)).map(|word| (detector.id, (*word).to_owned())));
    }
    assert_eq!(rooms, 3, "a room of causes was not found");
    // It says nothing.
    assert_eq!(untold, [("tunnel-interrupted", "unknown".to_owned())]);
}

#[test]
fn the_readme_names_every_command() {
    let readme = read("README.md");
    for command in acpcap::cli::command().get_subcommands() {
        let call = format!("acpcap {}", command.get_name());
        assert!(readme.contains(&call), "README.md says nothing of `{call}`");
    }
}

#[test]
fn a_detector_is_named_after_its_file() {
    for entry in std::fs::read_dir(root().join("src/detect")).unwrap() {
        let path = entry.unwrap().path();
        let id = path.file_stem().unwrap().to_string_lossy().replace('_', "-");
        let known = DETECTORS.iter().any(|d| d.id == id);
        assert!(known || ["mod", "remedy"].contains(&id.as_str()), "{} is not in the table", path.display());
    }
}

#[test]
fn the_readme_lists_every_detector_and_no_other() {
    let readme = read("README.md");
    let section = readme.split("\n## ").find(|s| s.starts_with("What it looks for")).expect("the detectors' section");
    let listed: Vec<&str> =
        section.lines().filter_map(|line| line.strip_prefix("- `")?.split_once('`')).map(|(id, _)| id).collect();
    let known: Vec<&str> = DETECTORS.iter().map(|d| d.id).collect();
    assert_eq!(listed, known, "the list under `What it looks for`, in the order they are told");
}

#[test]
fn the_readme_gives_the_exit_codes_of_the_help_text() {
    let help = acpcap::cli::command().render_long_help().to_string();
    let (_, codes) = help.split_once("Exit codes:\n").expect("exit codes in the help text");
    let readme = read("README.md");
    let rows: Vec<(String, String)> = table_rows(&readme);
    let told: Vec<(String, String)> = codes.lines().map_while(numbered).collect();
    assert!(told.len() >= 7, "{codes}");
    let shown: Vec<(String, String)> = rows.into_iter().filter(|(code, _)| code.parse::<u8>().is_ok()).collect();
    assert_eq!(shown, told, "README.md's table of exit codes against `acpcap --help`");
    let order = codes.lines().find_map(|line| line.trim().strip_prefix("When several apply: ")).expect("their order");
    assert!(readme.contains(order), "README.md does not say that of several exit codes the order is {order}");
}

/// The report in the README is the one the program prints for the capture beside it.
#[test]
fn the_readme_shows_a_real_report() {
    const CAPTURE: &str = "captures/asa-anyconnect/all.pcapng";
    let call = std::process::Command::new(env!("CARGO_BIN_EXE_acpcap"))
        .args(["analyze", "--quiet", "--color", "never", CAPTURE])
        .current_dir(root())
        .output()
        .unwrap();
    let printed = String::from_utf8(call.stdout).unwrap();
    assert!(printed.contains("SESSION 1"), "{CAPTURE}: {}", String::from_utf8_lossy(&call.stderr));
    let readme = read("README.md");
    let (before, rest) = readme.split_once("<!-- report -->\n").expect("<!-- report --> in README.md");
    let (shown, after) = rest.split_once("<!-- /report -->").expect("<!-- /report --> in README.md");
    let fresh = format!("```text\n{}\n```\n", printed.trim_end());
    if std::env::var_os("ACPCAP_BLESS").is_some() {
        let page = format!("{before}<!-- report -->\n{fresh}<!-- /report -->{after}");
        bless(&root().join("README.md"), &page);
    } else {
        assert!(
            shown == fresh,
            "README.md shows another report; ACPCAP_BLESS=1 cargo test --test docs puts this one in"
        );
    }
}

/// So is the annotated capture: the section's comment and some of its frames'.
#[test]
fn the_readme_shows_a_real_annotated_capture() {
    let folder = std::env::temp_dir().join(format!("acpcap-docs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let copy = folder.join("annotated.pcapng");
    let call = std::process::Command::new(env!("CARGO_BIN_EXE_acpcap"))
        .args(["annotate", "--quiet", "captures/asa-anyconnect/all.pcapng", "-o"])
        .arg(&copy)
        .current_dir(root())
        .status()
        .unwrap();
    assert!(call.success());
    let tshark = |fields: &[&str]| {
        let filter = ["-n", "-Y", "frame.comment contains \"dtls-never-completes\"", "-T", "fields"];
        std::process::Command::new("tshark").arg("-r").arg(&copy).args(filter).args(fields).output().ok()
    };
    let printed = tshark(&["-e", "frame.number", "-e", "frame.comment"]);
    std::fs::remove_dir_all(&folder).unwrap();
    let Some(printed) = printed else {
        println!("skipped: tshark is not on the path");
        return;
    };
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(printed.lines().count(), 10);
    let shown: Vec<String> = printed.lines().take(2).map(|line| line.replace('\t', "  ")).collect();
    let readme = read("README.md");
    for line in shown {
        assert!(readme.contains(&line), "README.md does not show: {line}");
    }
}

/// `  3  words` is code 3 and its words.
fn numbered(line: &str) -> Option<(String, String)> {
    let (code, words) = line.trim().split_once("  ")?;
    code.parse::<u8>().ok()?;
    Some((code.to_owned(), words.trim().to_owned()))
}

/// The first two cells of every table row.
fn table_rows(markdown: &str) -> Vec<(String, String)> {
    let cells = |line: &str| {
        let mut cells = line.trim().strip_prefix('|')?.split('|').map(|cell| cell.trim().to_owned());
        Some((cells.next()?, cells.next()?))
    };
    markdown.lines().filter_map(cells).collect()
}

#[test]
fn every_dependency_is_justified_and_no_other_is() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let names = |table: Option<&toml::Value>| -> Vec<String> {
        table.and_then(toml::Value::as_table).map(|t| t.keys().cloned().collect()).unwrap_or_default()
    };
    let mut used: BTreeSet<String> =
        ["dependencies", "dev-dependencies"].iter().flat_map(|t| names(manifest.get(*t))).collect();
    for target in manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(|t| t.values()) {
        ["dependencies", "dev-dependencies"].iter().for_each(|t| used.extend(names(target.get(*t))));
    }
    let page = read("docs/dependencies.md");
    let rows = table_rows(&page).into_iter().filter(|(names, why)| names.starts_with('`') && !why.is_empty());
    let justified: Vec<String> = rows
        .flat_map(|(names, _)| names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect::<Vec<_>>())
        .collect();
    assert_eq!(justified.iter().cloned().collect::<BTreeSet<_>>(), used);
    assert_eq!(justified.len(), used.len(), "a crate is named twice");
}

#[test]
fn options_that_pages_name_exist() {
    let mut known: BTreeSet<String> = ["--help", "--version"].map(str::to_owned).into();
    let mut commands = vec![acpcap::cli::command()];
    while let Some(command) = commands.pop() {
        known.extend(command.get_arguments().filter_map(|arg| Some(format!("--{}", arg.get_long()?))));
        commands.extend(command.get_subcommands().cloned());
    }
    for (page, text) in pages() {
        for line in text.lines() {
            // Commands of other programs have options of their own.
            let Some((_, call)) = line.split_once("acpcap ") else { continue };
            let call = call.split(['`', '|', '#', ';']).next().unwrap_or_default();
            for option in call.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2) {
                let option = option.split('=').next().unwrap_or_default();
                assert!(known.contains(option), "{}: no option {option} in: {line}", page.display());
            }
        }
    }
}

#[test]
fn relative_links_lead_somewhere() {
    let mut dead = Vec::new();
    let mut seen = 0;
    for (page, text) in pages() {
        for target in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            if !file.exists() {
                dead.push(format!("{}: {target}", page.display()));
            } else if !anchor.is_empty() && !anchors(&std::fs::read_to_string(&file).unwrap()).contains(anchor) {
                dead.push(format!("{}: {target}: no such heading", page.display()));
            }
        }
    }
    assert!(seen > 0, "no link was seen");
    assert!(dead.is_empty(), "\n{}\n", dead.join("\n"));
}

/// Every Markdown page of the project, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                let ours = !name.starts_with('.') && name != "target" && name != "node_modules";
                folders.extend(ours.then_some(path));
            } else if path.extension().is_some_and(|e| e == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() >= 5, "{found:?}");
    found
}

/// Targets of `[text](target)` outside code.
fn links(markdown: &str) -> Vec<String> {
    let text = prose(markdown);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.split_whitespace().next().unwrap_or_default().to_owned()).collect()
}

/// GitHub's anchors of all headings.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let headings = without_fences(markdown).lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect();
    let headings: Vec<String> = headings;
    let anchor = |heading: &String| {
        let plain = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = plain.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.iter().map(anchor).collect()
}

/// The text without fenced blocks and code spans.
fn prose(markdown: &str) -> String {
    without_fences(markdown).split('`').step_by(2).collect::<Vec<_>>().join("`")
}

fn without_fences(markdown: &str) -> String {
    let mut fenced = false;
    let mut kept = String::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[test]
fn links_and_anchors_as_github_has_them() {
    let text = "# A b, c\n[x](a.md#b) `[no](n.md)`\n```\n[no](n.md)\n# no\n```\n## `d` e\n[y](../z)";
    assert_eq!(links(text), ["a.md#b", "../z"]);
    assert_eq!(anchors(text), ["a-b-c".to_owned(), "d-e".to_owned()].into());
}
