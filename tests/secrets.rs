//! No secret in any output: cookies, passwords, tokens, master secrets are planted and looked for everywhere.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot set itself up has failed")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "support/command.rs"]
mod command;

use command::{Folder, code, run, stderr};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Hexadecimal digits of secrets in a key log's text, in whatever file it stands.
fn secrets_of(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut all = Vec::new();
    for (at, _) in text.match_indices("CLIENT_RANDOM ") {
        let mut words = text[at..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty());
        if let Some(secret) = words.nth(2) {
            all.push(secret.to_owned());
        }
    }
    all
}

fn unhex(digits: &str) -> Vec<u8> {
    digits.as_bytes().chunks(2).filter_map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

/// A secret as it might leak: raw, in either case of hexadecimal digits, in Base64-like dumps of bytes.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let raw = unhex(secret);
    let listed = format!("{raw:?}");
    // The first sixteen bytes are enough to be a leak.
    let head = secret[..32].to_owned();
    vec![
        raw[..16].to_vec(),
        head.to_ascii_lowercase().into_bytes(),
        head.to_ascii_uppercase().into_bytes(),
        listed.trim_start_matches('[').as_bytes()[..40].to_vec(),
    ]
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn planted_secrets_are_in_no_output() {
    let folder = Folder::new("secrets");
    let sealed = root("tests/sealed/planted-secrets.pcapng");
    let log = root("captures/asa-anyconnect/keys.log");
    let mut needles: Vec<Vec<u8>> = vec![b"PLANTED".to_vec(), b"504C414E544544".to_vec(), b"504c414e544544".to_vec()];
    for file in [&sealed, &log] {
        let secrets = secrets_of(&fs::read(file).unwrap());
        assert!(!secrets.is_empty(), "{} holds secrets", file.display());
        needles.extend(secrets.iter().flat_map(|secret| forms(secret)));
    }

    let inner = folder.0.join("inner.pcapng");
    let marked = folder.0.join("marked.pcapng");
    let all_keys = folder.0.join("keys.log");
    let asa = root("captures/asa-anyconnect/outside.pcapng");
    let mut commands: Vec<Vec<&OsStr>> = Vec::new();
    for format in ["text", "json", "note", "csv", "md"] {
        let keylog = ["--keylog".as_ref(), log.as_os_str()];
        let shape = ["--format".as_ref(), OsStr::new(format), "--why".as_ref(), "--verbose".as_ref()];
        let shape = if format == "text" { &shape[..] } else { &shape[..2] };
        for capture in [&sealed, &asa] {
            commands.push([&["analyze".as_ref(), capture.as_os_str()], &keylog[..], shape].concat());
        }
    }
    commands.push(vec!["decrypt".as_ref(), sealed.as_ref(), "-o".as_ref(), inner.as_ref()]);
    commands.push(vec![
        "annotate".as_ref(),
        asa.as_ref(),
        "--keylog".as_ref(),
        log.as_ref(),
        "-o".as_ref(),
        marked.as_ref(),
    ]);
    commands.push(vec!["keys".as_ref(), sealed.as_ref(), "-o".as_ref(), all_keys.as_ref()]);
    commands.push(vec!["analyze".as_ref(), "--rsa-key".as_ref(), log.as_ref(), sealed.as_ref()]);
    for command in commands {
        let output = run(&command);
        assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{command:?} says something");
        for needle in &needles {
            for (stream, bytes) in [("standard output", &output.stdout), ("standard error", &output.stderr)] {
                let shown = String::from_utf8_lossy(needle);
                assert!(!holds(bytes, needle), "`{shown}` is on the {stream} of {command:?}");
            }
        }
    }
    for capture in [&inner, &marked] {
        let written = fs::read(capture).unwrap();
        assert!(needles.iter().all(|needle| !holds(&written, needle)), "a secret is in {}", capture.display());
    }
    // The only door out, by explicit command.
    let keys = fs::read(&all_keys).unwrap();
    assert!(secrets_of(&keys).len() >= 2, "keys writes keys");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&all_keys).unwrap().permissions().mode() & 0o077, 0, "keys are for their owner alone");
    }
}

#[test]
fn a_key_log_with_mistakes_is_complained_about_without_being_quoted() {
    let folder = Folder::new("mistakes");
    let line = "CLIENT_RANDOM 00112233 PLANTEDSECRET\nPLANTEDLABEL 00 11\nRSA Session-ID:PLANTED Master-Key:PLANTED\n";
    let log = folder.file("keys.log", line.as_bytes());
    let output = run([
        OsStr::new("analyze"),
        "--keylog".as_ref(),
        log.as_ref(),
        root("captures/healthy-dtls12/client.pcapng").as_ref(),
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(!holds(&output.stdout, b"PLANTED") && !holds(&output.stderr, b"PLANTED"), "the line is quoted");
}
