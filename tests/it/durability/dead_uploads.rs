//! Refused and dead uploads.

use rookery::error::Kind;
use rookery::names::ModelPath;
use rookery::service::models::{Published, Upload};
use rookery::service::{Options, Service};
use rookery::store::models::Precondition;

use super::*;

#[test]
fn refused_uploads_leave_nothing() {
    let server = Server::with(&["--upload", "12MiB"]);
    let kept = Sample::new(1, 5, 3);
    server.put_model("u/kept", &kept.bytes).expect(201);
    let reader = server.put_user("reader", &may_invoke(&["*"]));
    let big = large(100);
    let packed = archive(&big.bytes);
    assert!(packed.len() > 5 << 20);
    let noise: Vec<u8> = (0..6u64 << 20).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let before = counts(&server.db);
    let put = |path: &str, credential: &str, headers: &[(&str, &str)], body: &[u8]| {
        server.send("PUT", &format!("/api/v1/models/{path}"), credential, headers, body)
    };
    let admin = server.admin.as_str();
    for _ in 0..3 {
        put("u/new", admin, &[], b"").expect(400);
        put("u/new", admin, &[], b"hello").expect(400);
        put("u/new", admin, &[], &noise).expect(400);
        put("u/new", admin, &[], &kept.bytes[..kept.bytes.len() / 2]).expect(400);
        put("u/new", admin, &[], &big.bytes[..big.bytes.len() - 1]).expect(400);
        for cut in [packed.len() - 1, packed.len() - 600, packed.len() / 2, (4 << 20) + 7] {
            put("u/new", admin, &[], &packed[..cut]).expect(400);
        }
        put("u/kept", admin, &[("if-none-match", "*")], &big.bytes).expect(412);
        put("u/new", admin, &[("if-match", "*")], &big.bytes).expect(412);
        put("u/kept", admin, &[("if-match", &format!("\"{}\"", "0".repeat(64)))], &big.bytes).expect(412);
        put("u/new", &reader, &[], &big.bytes).expect(403);
        put("u/../new", admin, &[], &big.bytes).expect(400);
    }
    // Longer than allowed, which shows only on the way: its length is not announced.
    let key = &server.admin;
    let chunked =
        format!("PUT /api/v1/models/u/new HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut stream = raw(&server, chunked.as_bytes());
    let piece = [format!("{:x}\r\n", 1 << 20).as_bytes(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    // Its end may already be closed when the last pieces go out.
    let _ = (0..16).try_for_each(|_| stream.write_all(&piece));
    let said = answer(&mut stream);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 413"), "{said}");
    wait_for("an upload that is too long leaves nothing", || counts(&server.db) == before);
    assert_eq!(version_at(&server, "u/kept"), Some(kept.version));
}

#[test]
fn a_model_too_large_for_memory_leaves_nothing_of_what_was_staged() {
    let big = large(100);
    let server = Server::with(&["--memory", &(big.weight - 1).to_string()]);
    let before = counts(&server.db);
    for _ in 0..3 {
        server.put_model("u/new", &big.bytes).expect(413);
    }
    assert_eq!(counts(&server.db), before);
}

#[test]
fn senders_that_break_off_leave_nothing() {
    let server = Server::start();
    let big = large(100);
    let before = counts(&server.db);
    let staged = || number(&sql(&server.db), "SELECT count(*) FROM blob WHERE ready = 0");
    for chunked in [false, true, false, true] {
        let mut stream = if chunked {
            let key = &server.admin;
            let head = format!(
                "PUT /api/v1/models/u/new HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\ntransfer-encoding: chunked\r\n\r\n"
            );
            let mut stream = raw(&server, head.as_bytes());
            stream.write_all(format!("{:x}\r\n", big.bytes.len()).as_bytes()).unwrap();
            stream
        } else {
            let mut stream = raw(&server, head(&server, "PUT", "/api/v1/models/u/new", big.bytes.len()).as_bytes());
            stream.write_all(b"\r\n").unwrap();
            stream
        };
        stream.write_all(&big.bytes[..5 << 20]).unwrap();
        wait_for("the first pieces are staged", || staged() == 1);
        drop(stream);
        wait_for("they are gone again", || counts(&server.db) == before);
    }
    server.admin("GET", "/api/v1/models/u/new", b"").expect(404);
    server.put_model("u/new", &big.bytes).expect(201);
}

#[test]
fn the_remains_of_dead_uploads_are_swept_and_young_ones_are_not() {
    let mut server = Server::start();
    let sample = Sample::new(1, 5, 3);
    server.put_model("u/m", &sample.bytes).expect(201);
    server.put_endpoint("u", &json!([{ "prefix": "u/" }]));
    assert_eq!(server.terminate(), 0);
    let file = sql(&server.db);
    // What is pointed at stays however old it is.
    file.execute("UPDATE blob SET touched_at = 0", []).unwrap();
    for age in [100_000, 60] {
        file.execute("INSERT INTO blob (touched_at, bytes) VALUES (unixepoch() - ?1, 3)", [age]).unwrap();
        file.execute("INSERT INTO chunk (blob, seq, data) VALUES (last_insert_rowid(), 0, x'010203')", []).unwrap();
    }
    assert_eq!(number(&file, "SELECT count(*) FROM blob WHERE ready = 0"), 2);
    assert_eq!(verified(&server.db)["uploadsUnderWay"], 2, "looking changes nothing");
    let server = again(&server, &[]);
    assert_eq!(number(&file, "SELECT count(*) FROM blob WHERE ready = 0"), 1);
    assert_eq!(number(&file, "SELECT count(*) FROM blob WHERE ready = 0 AND touched_at > unixepoch() - 600"), 1);
    assert_eq!(number(&file, "SELECT count(*) FROM chunk"), 3);
    assert_eq!(score(&Client::of(&server).invoke("u", "m").expect(200)), sample.score);
}

#[test]
fn a_sender_that_breaks_off_while_the_file_is_busy_holds_up_nobody() {
    let server = Server::with(&["--workers", "1"]);
    let big = large(100);
    // A slow machine holds up one or the other; a worker that waits for the file does so each time.
    let longest = || held_up(&server, &big);
    assert!((0..5).any(|_| longest() < Duration::from_secs(3)), "the only worker waited for the file");
}

/// How long, at most, the only worker did not answer when a sender broke off while the file was busy.
fn held_up(server: &Server, big: &Sample) -> Duration {
    let before = counts(&server.db);
    let mut stream = raw(server, head(server, "PUT", "/api/v1/models/u/new", big.bytes.len()).as_bytes());
    stream.write_all(b"\r\n").unwrap();
    stream.write_all(&big.bytes[..5 << 20]).unwrap();
    let staged = || number(&sql(&server.db), "SELECT count(*) FROM blob WHERE ready = 0");
    wait_for("the first pieces are staged", || staged() == 1);
    let file = sql(&server.db);
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    drop(stream);
    let one = |_| {
        thread::sleep(Duration::from_millis(50));
        let asked = Instant::now();
        server.admin("GET", "/api/v1/whoami", b"").expect(200);
        asked.elapsed()
    };
    let longest = (0..10).map(one).max().unwrap();
    file.execute_batch("ROLLBACK").unwrap();
    wait_for("what was staged is gone", || counts(&server.db) == before);
    longest
}

/// A service of this process, to look at an upload between its steps.
fn service(folder: &Path) -> std::sync::Arc<Service> {
    Service::open(Options::new(folder.join("test.db"), 64 << 20)).unwrap()
}

fn upload(service: &std::sync::Arc<Service>) -> Upload {
    service.upload(&service.file_caller(), ModelPath::parse("u/slow").unwrap(), Precondition::None).unwrap()
}

fn finish(upload: Upload) -> rookery::error::Result<Published> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(upload.finish())
}

#[test]
fn an_upload_under_way_is_not_swept_however_slow_it_is() {
    let (folder, big) = (tempfile::tempdir().unwrap(), large(100));
    let service = service(folder.path());
    let file = sql(&folder.path().join("test.db"));
    let mut slow = upload(&service);
    for piece in [&big.bytes[..5 << 20], &big.bytes[5 << 20..]] {
        slow.push(piece).unwrap();
        slow.flush().unwrap();
        // Silent for longer than anyone waits, as one that drips or waits for its turn is.
        file.execute("UPDATE blob SET touched_at = 0", []).unwrap();
        assert_eq!(service.sweep().unwrap(), 0);
    }
    assert_eq!(finish(slow).unwrap().version.to_string(), big.version);
    // Once it has ended, in whatever way, nothing of it is held.
    let mut dropped = upload(&service);
    dropped.push(&big.bytes[..5 << 20]).unwrap();
    dropped.flush().unwrap();
    drop(dropped);
    assert_eq!(number(&file, "SELECT count(*) FROM blob WHERE ready = 0"), 0);
    file.execute("INSERT INTO blob (touched_at) VALUES (0)", []).unwrap();
    assert_eq!(service.sweep().unwrap(), 1);
}

#[test]
fn an_upload_that_was_swept_is_to_be_sent_again() {
    let (folder, big) = (tempfile::tempdir().unwrap(), large(100));
    let service = service(folder.path());
    let file = sql(&folder.path().join("test.db"));
    // As a machine that slept, or whose clock was set, finds them.
    let swept = || {
        let mut upload = upload(&service);
        upload.push(&big.bytes[..5 << 20]).unwrap();
        upload.flush().unwrap();
        assert_eq!(file.execute("DELETE FROM blob WHERE ready = 0", []).unwrap(), 1);
        upload
    };
    let mut going_on = swept();
    going_on.push(&big.bytes[..2 << 20]).unwrap();
    for error in [going_on.flush().unwrap_err(), finish(swept()).unwrap_err()] {
        assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
        assert!(error.message().contains("took too long") && error.message().contains("send it again"), "{error}");
    }
}
