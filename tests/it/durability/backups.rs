//! Backup, restore, verify.

use super::*;

#[test]
fn a_backup_made_under_writes_verifies_restores_and_answers_the_same() {
    let samples = Sample::many(0..20);
    let big = large(100);
    let server = Server::start();
    for (at, sample) in samples.iter().take(10).enumerate() {
        server.put_model(&format!("s/still-{at}"), &sample.bytes).expect(201);
    }
    server.put_model("s/big", &big.bytes).expect(201);
    server.put_endpoint("s", &json!([{ "prefix": "s/" }]));
    let ana = server.put_user("ana", &may_invoke(&["still-*"]));
    let folder = server.db.parent().unwrap().to_owned();
    let over = AtomicBool::new(false);
    let backups: Vec<PathBuf> = thread::scope(|scope| {
        for writer in 0..3usize {
            let (server, samples, over, big) = (&server, &samples, &over, &big);
            scope.spawn(move || {
                let client = Client::of(server);
                for turn in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let path = format!("/api/v1/models/s/moving-{writer}");
                    let reply = if writer == 0 && turn % 4 == 3 {
                        client.send("PUT", &path, &[], &padded(big, turn))
                    } else {
                        client.send("PUT", &path, &[], &samples[10 + turn as usize % 10].bytes)
                    };
                    assert!(reply.unwrap().status < 300);
                    let policy = format!("/api/v1/users/ana/policies/extra-{writer}");
                    client.send("PUT", &policy, &[], numbered(turn).1.as_bytes()).unwrap().expect(204);
                }
            });
        }
        let all = (0..5)
            .map(|at| {
                let target = folder.join(format!("backup-{at}.db"));
                let (code, _, error) = rookery(&["backup", text(&target), "--db", text(&server.db)], "");
                assert_eq!(code, 0, "{error}");
                target
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        all
    });
    let error = refused(&["backup", text(&backups[0]), "--db", text(&server.db)]);
    assert!(error.contains("exists"), "{error}");
    for (at, backup) in backups.iter().enumerate() {
        assert!(verified(backup)["models"].as_u64().unwrap() >= 11);
        let target = folder.join(format!("restored-{at}.db"));
        let (code, out, error) = rookery(&["restore", text(backup), "--json", "--db", text(&target)], "");
        assert_eq!(code, 0, "{error}");
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["ok"], true);
        std::fs::copy(beside(&server.db, ".key"), beside(&target, ".key")).unwrap();
        let mut restored = Server::on(&target, &[]);
        restored.admin.clone_from(&server.admin);
        for (at, sample) in samples.iter().take(10).enumerate() {
            let reply = restored.invoke("s", Some(&format!("still-{at}")), &ana, HOUSE).expect(200);
            assert_eq!((score(&reply), reply.header("x-rookery-model-version")), (sample.score, Some(sample.version.as_str())));
        }
        assert_eq!(score(&Client::of(&restored).invoke("s", "big").expect(200)), big.score);
        restored.invoke("s", Some("big"), &ana, HOUSE).expect(403);
        for writer in 0..3 {
            // Which version depends on the moment; whichever it is answers as itself.
            let Some(version) = version_at(&restored, &format!("s/moving-{writer}")) else { continue };
            let reply = Client::of(&restored).invoke("s", &format!("moving-{writer}")).expect(200);
            let expected = samples.iter().find(|sample| sample.version == version).map_or(big.score, |sample| sample.score);
            assert_eq!(score(&reply), expected);
        }
        // What is restored is written to like any other.
        restored.put_model("s/later", &samples[0].bytes).expect(201);
    }
}

#[test]
fn a_backup_through_a_link_has_what_the_log_beside_the_file_has() {
    let server = Server::start();
    server.put_model("s/m", &Sample::new(1, 5, 3).bytes).expect(201);
    assert!(std::fs::metadata(beside(&server.db, "-wal")).unwrap().len() > 0);
    let folder = tempfile::tempdir().unwrap();
    let (link, copy) = (folder.path().join("link.db"), folder.path().join("copy.db"));
    std::os::unix::fs::symlink(&server.db, &link).unwrap();
    let (code, _, error) = rookery(&["backup", text(&copy), "--db", text(&link)], "");
    assert_eq!(code, 0, "{error}");
    assert_eq!(verified(&copy)["models"], 1);
    assert_eq!(verified(&link)["models"], 1);
}

#[test]
fn a_backup_leaves_an_older_file_as_old_and_is_as_old() {
    let mut server = Server::start();
    server.put_model("o/m", &Sample::new(1, 5, 3).bytes).expect(201);
    assert_eq!(server.terminate(), 0);
    sql(&server.db).execute_batch("ALTER TABLE endpoint DROP COLUMN maker; PRAGMA user_version = 1").unwrap();
    // Nobody needs it to copy, and whoever restores does.
    let key = beside(&server.db, ".key");
    std::fs::rename(&key, beside(&key, ".away")).unwrap();
    let before = everything(server.db.parent().unwrap());
    let backup = server.db.with_file_name("backup.db");
    for (target, form) in [(&backup, &[][..]), (&server.db.with_file_name("other.db"), &["--json"])] {
        let (code, out, error) = rookery(&[&["backup", text(target), "--db", text(&server.db)], form].concat(), "");
        assert!(code == 0 && out.contains(text(target)), "{error}");
        assert!(error.contains(&format!("key file {} is missing", text(&key))), "{error}");
        assert_eq!((&verified(target)["schema"], &verified(target)["models"]), (&json!(1), &json!(1)));
        std::fs::remove_file(target).unwrap();
    }
    assert!(before == everything(server.db.parent().unwrap()), "a backup changed the file it copies");
    assert_eq!(verified(&server.db)["schema"], 1);
    // What is no database of ours, or a newer one, is not copied.
    sql(&server.db).execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(refused(&["backup", text(&backup), "--db", text(&server.db)]).contains("newer Rookery"));
    let other = server.db.with_file_name("other.db");
    std::fs::write(&other, "this is no database at all, only a line of text").unwrap();
    assert!(refused(&["backup", text(&backup), "--db", text(&other)]).contains("not a Rookery database"));
    assert!(!backup.exists());
}

#[test]
fn of_two_copies_to_one_place_the_second_is_refused_and_a_dead_one_is_replaced() {
    let server = Server::start();
    server.put_model("r/m", &Sample::new(1, 5, 3).bytes).expect(201);
    let (backup, other) = (server.db.with_file_name("backup.db"), server.db.with_file_name("other.db"));
    let partial = beside(&backup, ".partial");
    std::fs::write(&partial, "half of a copy").unwrap();
    let held = std::fs::File::open(&partial).unwrap();
    held.lock().unwrap();
    let error = refused(&["backup", text(&backup), "--db", text(&server.db)]);
    assert!(error.contains("another backup or restore writes") && error.contains("wait for it"), "{error}");
    assert_eq!(rookery(&["backup", text(&other), "--db", text(&server.db)], "").0, 0);
    assert!(refused(&["restore", text(&other), "--db", text(&backup)]).contains("another backup or restore writes"));
    assert_eq!(std::fs::read_to_string(&partial).unwrap(), "half of a copy");
    assert!(!backup.exists());
    drop(held);
    // What is no dead copy says so.
    let folder = server.db.with_file_name("taken.db");
    std::fs::create_dir(beside(&folder, ".partial")).unwrap();
    assert!(refused(&["backup", text(&folder), "--db", text(&server.db)]).contains("taken.db.partial`: Is a directory"));
    assert_eq!(rookery(&["backup", text(&backup), "--db", text(&server.db)], "").0, 0);
    assert!(!partial.exists());
    assert_eq!(verified(&backup)["models"], 1);
}

#[test]
fn a_restore_replaces_nothing_unasked_and_nothing_that_is_served() {
    let [first, second] = [1, 2].map(|seed| Sample::new(seed, 5, 3));
    let mut server = Server::start();
    server.put_model("r/m", &first.bytes).expect(201);
    server.put_endpoint("r", &json!([{ "prefix": "r/" }]));
    let backup = server.db.with_file_name("backup.db");
    assert_eq!(rookery(&["backup", text(&backup), "--db", text(&server.db)], "").0, 0);
    server.put_model("r/m", &second.bytes).expect(200);
    let error = refused(&["restore", text(&backup), "--db", text(&server.db)]);
    assert!(error.contains("--force"), "{error}");
    let error = refused(&["restore", text(&backup), "--force", "--db", text(&server.db)]);
    assert!(error.contains("in use") && error.contains("stop"), "{error}");
    // Neither did anything to it.
    assert_eq!(score(&Client::of(&server).invoke("r", "m").expect(200)), second.score);
    server.put_model("r/other", &first.bytes).expect(201);
    assert_eq!(server.terminate(), 0);
    let mut server = again(&server, &[]);
    assert_eq!(version_at(&server, "r/m"), Some(second.version));
    assert_eq!(version_at(&server, "r/other"), Some(first.version.clone()));
    assert_eq!(server.terminate(), 0);
    assert!(refused(&["restore", text(&backup), "--db", text(&server.db)]).contains("--force"));
    assert_eq!(rookery(&["restore", text(&backup), "--force", "--db", text(&server.db)], "").0, 0);
    let server = again(&server, &[]);
    assert_eq!(version_at(&server, "r/m"), Some(first.version));
    assert_eq!(version_at(&server, "r/other"), None);
    assert!(refused(&["restore", "/nowhere/at/all.db", "--db", text(&server.db)]).contains("/nowhere/at/all.db"));
}

#[test]
fn a_database_restored_from_a_served_one_has_what_was_acknowledged() {
    let sample = Sample::new(1, 5, 3);
    let server = Server::start();
    // Still in the log beside the file, as the newest writes are.
    server.put_model("r/m", &sample.bytes).expect(201);
    let target = server.db.with_file_name("copy.db");
    let (code, _, error) = rookery(&["restore", text(&server.db), "--db", text(&target)], "");
    if code == 0 {
        std::fs::copy(beside(&server.db, ".key"), beside(&target, ".key")).unwrap();
        let mut copy = Server::on(&target, &[]);
        copy.admin.clone_from(&server.admin);
        assert_eq!(version_at(&copy, "r/m"), Some(sample.version), "restore said it went well and left out the newest writes");
    } else {
        assert!(error.contains("in use") || error.contains("backup"), "{error}");
    }
}

/// Flips a byte in the middle of the first piece of the blob that `column` of the only version points at.
fn damage(db: &Path, column: &str) {
    let file = sql(db);
    let query = format!("SELECT c.rowid, c.data FROM chunk c JOIN version v ON v.{column} = c.blob WHERE c.seq = 0");
    let (row, mut data): (i64, Vec<u8>) = file.query_row(&query, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let middle = data.len() / 2;
    data[middle] ^= 0x10;
    file.execute("UPDATE chunk SET data = ?2 WHERE rowid = ?1", rusqlite::params![row, data]).unwrap();
}

#[test]
fn verify_names_a_damaged_artifact_and_no_restore_takes_it() {
    let mut server = Server::start();
    let sample = Sample::new(1, 50, 5);
    server.put_model("d/m", &sample.bytes).expect(201);
    assert_eq!(server.terminate(), 0);
    let said = verified(&server.db);
    assert_eq!((&said["models"], &said["artifacts"], &said["bytes"]), (&json!(1), &json!(1), &json!(sample.bytes.len())));
    damage(&server.db, "artifact");
    let error = refused(&["verify", "--json", "--db", text(&server.db)]);
    assert!(error.contains(&sample.version) && error.contains("restore"), "{error}");
    let target = server.db.with_file_name("target.db");
    assert!(refused(&["restore", text(&server.db), "--db", text(&target)]).contains(&sample.version));
    assert!(!target.exists());
}

#[test]
fn verify_notices_a_damaged_prepared_form() {
    let mut server = Server::start();
    server.put_model("d/m", &Sample::new(1, 50, 5).bytes).expect(201);
    assert_eq!(server.terminate(), 0);
    verified(&server.db);
    damage(&server.db, "prepared");
    refused(&["verify", "--json", "--db", text(&server.db)]);
}

#[test]
fn verify_notices_missing_pieces_and_files_that_are_none() {
    let mut server = Server::start();
    server.put_model("d/m", &large(100).bytes).expect(201);
    assert_eq!(server.terminate(), 0);
    sql(&server.db).execute("DELETE FROM chunk WHERE seq = 2", []).unwrap();
    refused(&["verify", "--json", "--db", text(&server.db)]);
    let other = server.db.with_file_name("other.db");
    std::fs::write(&other, "this is no database, only a line of text that is longer than a hundred bytes, as a header of one would be")
        .unwrap();
    assert!(refused(&["verify", "--db", text(&other)]).contains("not a Rookery database"));
    assert!(refused(&["verify", "--db", text(&server.db.with_file_name("none.db"))]).contains("there is no database"));
    assert!(!server.db.with_file_name("none.db").exists(), "verify makes no file");
}

/// Everything in a folder: names and bytes, without what processes share for the time they run.
fn everything(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.filter(|path| !text(path).ends_with("-shm"));
    entries.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn verify_refuses_files_without_content_and_leaves_every_file_as_it_was() {
    let mut server = Server::start();
    server.put_model("v/m", &Sample::new(1, 5, 3).bytes).expect(201);
    let served = server.db.clone();
    verified(&served);
    assert_eq!(server.terminate(), 0);
    let folder = served.parent().unwrap();
    let empty = served.with_file_name("empty.db");
    std::fs::write(&empty, b"").unwrap();
    let short = served.with_file_name("short.db");
    std::fs::write(&short, b"SQLite format 3\0").unwrap();
    // Ours by its header, but never given a schema.
    let bare = served.with_file_name("bare.db");
    let connection = Connection::open(&bare).unwrap();
    connection.execute_batch("PRAGMA application_id = 1383034731; CREATE TABLE t (x); DROP TABLE t").unwrap();
    drop(connection);
    let before = everything(folder);
    for (path, word) in [(&empty, "empty"), (&short, "not a Rookery database"), (&bare, "empty")] {
        let error = refused(&["verify", "--db", text(path)]);
        assert!(error.contains(word), "{error}");
        let error = refused(&["restore", text(path), "--force", "--db", text(&served)]);
        assert!(error.contains(word), "{error}");
    }
    for mode in [0o555, 0o755] {
        // Where the tests run as root the modes hold nobody back; that nothing is written is seen all the same.
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::set_permissions(&served, std::fs::Permissions::from_mode(if mode == 0o555 { 0o400 } else { 0o600 })).unwrap();
        assert_eq!(verified(&served)["models"], 1);
        assert!(before == everything(folder), "looking changed something");
    }
    let server = again(&server, &[]);
    assert!(version_at(&server, "v/m").is_some(), "a refused restore replaced the database");
}

#[test]
fn a_backup_is_its_owners_alone_while_it_is_written() {
    let mut server = Server::start();
    for at in 0..6 {
        server.put_model(&format!("b/{at}"), &large(at).bytes).expect(201);
    }
    assert_eq!(server.terminate(), 0);
    let (copy, back) = (server.db.with_file_name("copy.db"), server.db.with_file_name("back.db"));
    for (verb, from, to) in [("backup", &server.db, &copy), ("restore", &copy, &back)] {
        let arguments = match verb {
            "backup" => [verb, text(to), "--db", text(from)],
            _ => [verb, text(from), "--db", text(to)],
        };
        let over = AtomicBool::new(false);
        let seen = thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut seen = std::collections::BTreeSet::new();
                loop {
                    // Once more after the end, however seldom this thread runs.
                    let last = over.load(Ordering::SeqCst);
                    for path in [to.clone(), beside(to, ".partial")] {
                        seen.extend(std::fs::metadata(path).map(|file| file.permissions().mode() & 0o777));
                    }
                    if last {
                        return seen;
                    }
                }
            });
            let done = rookery(&arguments, "");
            over.store(true, Ordering::SeqCst);
            assert_eq!(done.0, 0, "{}", done.2);
            watch.join().unwrap()
        });
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0o600], "{verb}");
    }
}
