//! What is acknowledged stays: through kills, restarts, backups, other processes, refused uploads and lost keys.
//!
//! Tests look at the file with SQL where no request can show what they are after. Next: `concurrency.rs`.

mod another_process;
mod backups;
mod dead_uploads;
mod key_file;
mod kills;
mod prepared_forms;
mod restarts;
mod restores;
mod versions;

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::concurrency::{Client, Sample, score, version_of};
use crate::senders::{answer, head, raw};
use crate::support::{HOUSE, PATIENCE, Reply, Server, may_invoke, rookery, wait_for};

/// A server on the same file, for the same administrator.
fn again(old: &Server, flags: &[&str]) -> Server {
    let mut server = Server::on(&old.db, flags);
    server.admin.clone_from(&old.admin);
    server
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", text(path)))
}

fn sql(db: &Path) -> Connection {
    let connection = Connection::open(db).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    connection
}

fn number(file: &Connection, query: &str) -> i64 {
    file.query_row(query, [], |row| row.get(0)).unwrap()
}

/// Rows that hold bytes, or point at them.
fn counts(db: &Path) -> BTreeMap<&'static str, i64> {
    let file = sql(db);
    let tables = ["blob", "chunk", "version", "model", "model_history"];
    tables.into_iter().map(|table| (table, number(&file, &format!("SELECT count(*) FROM {table}")))).collect()
}

/// What `rookery verify` says.
fn verified(db: &Path) -> Value {
    let (code, out, error) = rookery(&["verify", "--json", "--db", text(db)], "");
    assert_eq!(code, 0, "{error}");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(said["ok"], true, "{said}");
    said
}

/// Runs the binary to see it fail; returns its sentence.
fn refused(arguments: &[&str]) -> String {
    let (code, out, error) = rookery(arguments, "");
    assert_eq!(code, 1, "{arguments:?}: {out}{error}");
    assert!(error.contains("error") && !error.contains("panicked"), "{arguments:?}: {error}");
    error
}

fn version_at(server: &Server, path: &str) -> Option<String> {
    let reply = server.admin("GET", &format!("/api/v1/models/{path}"), b"");
    match reply.status {
        404 => None,
        _ => Some(reply.expect(200).json()["version"].as_str().unwrap().to_owned()),
    }
}

/// The versions in memory.
fn loaded(server: &Server) -> Vec<String> {
    let shown = server.admin("GET", "/api/v1/cache", b"").expect(200).json();
    let mut versions: Vec<String> =
        shown["loaded"].as_array().unwrap().iter().map(|entry| entry["version"].as_str().unwrap().to_owned()).collect();
    versions.sort();
    versions
}

/// Bytes of another version that answer the same: JSON may end in blanks.
fn padded(sample: &Sample, blanks: u64) -> Vec<u8> {
    let mut bytes = sample.bytes.clone();
    bytes.resize(bytes.len() + blanks as usize, b' ');
    bytes
}

/// A gzipped tar of one file, not compressed, so that its size is known.
fn archive(bytes: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "xgboost-model", bytes).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}

/// A model of more than 5 MiB: staged in pieces before it is published.
fn large(seed: u64) -> Sample {
    let sample = Sample::new(seed, 1900, 6);
    assert!(sample.bytes.len() > 5 << 20, "{}", sample.bytes.len());
    sample
}

/// A policy that says which it is.
fn numbered(serial: u64) -> (String, String) {
    let sid = format!("v{serial}");
    let document =
        json!({ "Version": "2012-10-17", "Statement": [{ "Sid": sid, "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" }] });
    (sid, document.to_string())
}
