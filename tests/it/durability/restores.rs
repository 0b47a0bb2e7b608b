//! Restores that others come in between.

use std::process::{Child, Command, Stdio};

use super::*;

/// A stopped server with a model, and a backup of it that takes a while to put back.
fn slow_backup() -> (Server, PathBuf, String) {
    let sample = Sample::new(1, 5, 3);
    let mut server = Server::start();
    server.put_model("r/m", &sample.bytes).expect(201);
    let backup = server.db.with_file_name("backup.db");
    assert_eq!(rookery(&["backup", text(&backup), "--db", text(&server.db)], "").0, 0);
    assert_eq!(server.terminate(), 0);
    let file = sql(&backup);
    file.execute("INSERT INTO blob (touched_at) VALUES (unixepoch())", []).unwrap();
    let fill = "WITH RECURSIVE n (at) AS (SELECT 0 UNION ALL SELECT at + 1 FROM n WHERE at < 199)
                INSERT INTO chunk SELECT (SELECT max(id) FROM blob), at, zeroblob(1 << 20) FROM n";
    file.execute(fill, []).unwrap();
    (server, backup, sample.version)
}

/// A restore that has begun to copy, and has not ended yet as far as can be seen. One that was too fast to be seen is
/// made again, into a new place if `target` is one.
fn copying(backup: &Path, target: &Path) -> Child {
    let fresh = !target.exists();
    for _ in 0..50 {
        let mut restore = Command::new(env!("CARGO_BIN_EXE_rookery"))
            .args(["restore", text(backup), "--force", "--db", text(target)])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while restore.try_wait().unwrap().is_none() {
            if std::fs::metadata(beside(target, ".partial")).is_ok_and(|file| file.len() > 1 << 20) {
                return restore;
            }
            assert!(started.elapsed() < PATIENCE, "no copy begins");
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(restore.wait().unwrap().code(), Some(0));
        if fresh {
            std::fs::remove_file(target).unwrap();
        }
    }
    panic!("every restore ended before anyone could come in between")
}

/// Kills a restore while it copies.
fn killed(backup: &Path, target: &Path) {
    let fresh = !target.exists();
    for _ in 0..50 {
        let mut restore = copying(backup, target);
        restore.kill().unwrap();
        if restore.wait().unwrap().code().is_none() && beside(target, ".partial").exists() {
            return;
        }
        if fresh {
            std::fs::remove_file(target).unwrap();
        }
    }
    panic!("every restore ended before it was killed")
}

#[test]
fn a_server_started_while_a_restore_copies_acknowledges_nothing_that_is_lost() {
    let (server, backup, version) = slow_backup();
    let fresh = server.db.with_file_name("fresh.db");
    for target in [&server.db, &fresh] {
        std::fs::write(beside(&fresh, ".key"), std::fs::read(beside(&server.db, ".key")).unwrap()).unwrap();
        std::fs::set_permissions(beside(&fresh, ".key"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut restore = copying(&backup, target);
        let between = Server::try_on(target, &[]);
        let acknowledged = match between {
            Ok(mut between) => {
                between.admin.clone_from(&server.admin);
                let reply = between.put_model("r/between", &Sample::new(2, 5, 3).bytes);
                between.terminate();
                reply.status == 201
            }
            Err(said) => {
                assert!(said.contains("replaced while it was opened") || said.contains("busy"), "{said}");
                false
            }
        };
        assert_eq!(restore.wait().unwrap().code(), Some(0));
        assert!(!beside(target, ".partial").exists());
        let mut after = Server::on(target, &[]);
        after.admin.clone_from(&server.admin);
        assert_eq!(version_at(&after, "r/m").as_ref(), Some(&version));
        assert_eq!(version_at(&after, "r/between").is_some(), acknowledged, "what was acknowledged stays");
    }
}

#[test]
fn a_restore_that_is_killed_leaves_what_was_there() {
    let (server, backup, version) = slow_backup();
    killed(&backup, &server.db);
    let mut after = again(&server, &[]);
    assert_eq!(version_at(&after, "r/m").as_ref(), Some(&version));
    assert_eq!(after.terminate(), 0);
    // One into a new place leaves a name with nothing behind it, which the next may take without being told to.
    let fresh = server.db.with_file_name("fresh.db");
    killed(&backup, &fresh);
    let (code, _, error) = rookery(&["restore", text(&backup), "--db", text(&fresh)], "");
    assert_eq!(code, 0, "{error}");
    assert_eq!(verified(&fresh)["models"], 1);
}

#[test]
fn a_restore_over_its_own_backup_is_refused() {
    let (_server, backup, _) = slow_backup();
    let error = refused(&["restore", text(&backup), "--force", "--db", text(&backup)]);
    assert!(error.contains("the backup itself"), "{error}");
    verified(&backup);
}

#[test]
fn a_damaged_database_is_replaced() {
    let (server, backup, version) = slow_backup();
    std::fs::write(
        &server.db,
        b"SQLite format 3\0 and then nothing of the kind, for a hundred bytes and more of it, which is damage enough",
    )
    .unwrap();
    // The remains of a write that was cut off would be rolled back into the new file.
    std::fs::write(beside(&server.db, "-journal"), [7u8; 600]).unwrap();
    std::fs::write(beside(&server.db, "-wal"), [7u8; 600]).unwrap();
    let (code, _, error) = rookery(&["restore", text(&backup), "--force", "--db", text(&server.db)], "");
    assert_eq!(code, 0, "{error}");
    for suffix in ["-journal", "-wal", "-shm"] {
        assert!(!beside(&server.db, suffix).exists(), "{suffix}");
    }
    assert_eq!(version_at(&again(&server, &[]), "r/m"), Some(version));
}
