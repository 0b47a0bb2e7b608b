//! Prepared forms that an earlier release made: what an upgrade finds.

use super::*;

/// Makes of every prepared form one of an earlier release, which this one cannot read.
fn age(db: &Path) {
    sql(db)
        .execute_batch(
            "UPDATE version SET prepared_format = prepared_format - 1;
             DELETE FROM chunk WHERE seq > 0 AND blob IN (SELECT prepared FROM version);
             UPDATE chunk SET data = x'524b504600000000' WHERE blob IN (SELECT prepared FROM version);
             UPDATE blob SET bytes = 8 WHERE id IN (SELECT prepared FROM version)",
        )
        .unwrap();
}

/// How many blobs were ever begun.
fn begun(db: &Path) -> i64 {
    number(&sql(db), "SELECT seq FROM sqlite_sequence WHERE name = 'blob'")
}

fn old(db: &Path) -> i64 {
    number(&sql(db), "SELECT count(*) FROM version WHERE prepared_format < (SELECT max(prepared_format) FROM version)")
}

#[test]
fn what_was_hot_or_pinned_before_an_upgrade_is_back_after_it() {
    let samples = Sample::many(0..6);
    let mut server = Server::start();
    for (at, sample) in samples.iter().enumerate() {
        server.put_model(&format!("h/{at}"), &sample.bytes).expect(201);
    }
    server.put_endpoint("h", &json!([{ "prefix": "h/" }]));
    for at in 0..4 {
        server.admin("POST", &format!("/api/v1/cache/load/h/{at}"), b"").expect(200);
    }
    server.admin("PUT", "/api/v1/cache/pins/h/4", b"").expect(204);
    let before = loaded(&server);
    assert_eq!(before.len(), 5);
    assert_eq!(server.terminate(), 0);
    age(&server.db);
    let first = begun(&server.db);
    let mut server = again(&server, &[]);
    wait_for("the hot set and the pins are loaded", || loaded(&server) == before);
    assert_eq!((begun(&server.db) - first, old(&server.db)), (5, 1), "each was prepared once, and what nobody asked for was not");
    assert_eq!(server.terminate(), 0);
    assert_eq!(number(&sql(&server.db), "SELECT count(*) FROM hot"), 5, "the list of what is hot is kept");
    verified(&server.db);
    let server = again(&server, &[]);
    wait_for("they are loaded after one more start", || loaded(&server) == before);
    for (at, sample) in samples.iter().enumerate() {
        assert_eq!(score(&Client::of(&server).invoke("h", &at.to_string()).expect(200)), sample.score);
    }
    assert_eq!((begun(&server.db) - first, old(&server.db)), (6, 0));
}

#[test]
fn many_first_calls_after_an_upgrade_prepare_once() {
    let samples = [Sample::new(1, 300, 6), Sample::new(2, 300, 6)];
    let mut server = Server::start();
    for (at, sample) in samples.iter().enumerate() {
        server.put_model(&format!("h/{at}"), &sample.bytes).expect(201);
    }
    server.put_endpoint("h", &json!([{ "prefix": "h/" }]));
    server.put_endpoint("passing", &json!([{ "prefix": "h/", "modelCacheSetting": "Disabled" }]));
    assert_eq!(server.terminate(), 0);
    age(&server.db);
    let first = begun(&server.db);
    let server = again(&server, &[]);
    let ready = std::sync::Barrier::new(100);
    thread::scope(|scope| {
        for at in 0..100usize {
            let (server, samples, ready) = (&server, &samples, &ready);
            scope.spawn(move || {
                let client = Client::of(server);
                ready.wait();
                match at % 4 {
                    0 => drop(client.send("POST", &format!("/api/v1/cache/load/h/{}", at / 4 % 2), &[], b"").unwrap().expect(200)),
                    1 => assert_eq!(score(&client.invoke("passing", "0").expect(200)), samples[0].score),
                    _ => assert_eq!(score(&client.invoke("h", &(at % 4 - 2).to_string()).expect(200)), samples[at % 4 - 2].score),
                }
            });
        }
    });
    assert_eq!(begun(&server.db) - first, 2, "two forms were made");
    assert_eq!((old(&server.db), counts(&server.db)["blob"]), (0, 4), "the old forms are gone");
}

#[test]
fn a_model_that_cannot_be_prepared_again_says_so_and_holds_up_no_other() {
    let samples = Sample::many(0..2);
    let mut server = Server::start();
    for (at, sample) in samples.iter().enumerate() {
        server.put_model(&format!("h/{at}"), &sample.bytes).expect(201);
    }
    server.put_endpoint("h", &json!([{ "prefix": "h/" }]));
    assert_eq!(server.terminate(), 0);
    age(&server.db);
    sql(&server.db)
        .execute_batch(
            "UPDATE chunk SET data = CAST('hello' AS BLOB) WHERE blob = (SELECT v.artifact FROM version v JOIN model m USING (sha256) WHERE m.path = 'h/0');
             UPDATE blob SET bytes = 5 WHERE id = (SELECT v.artifact FROM version v JOIN model m USING (sha256) WHERE m.path = 'h/0')",
        )
        .unwrap();
    let first = begun(&server.db);
    let server = again(&server, &[]);
    thread::scope(|scope| {
        for at in 0..40usize {
            let (server, samples) = (&server, &samples);
            scope.spawn(move || {
                let reply = Client::of(server).invoke("h", &(at % 2).to_string());
                if at % 2 == 1 {
                    assert_eq!(score(&reply.expect(200)), samples[1].score);
                    return;
                }
                let message = reply.expect(424).message();
                assert!(message.contains("this release cannot serve the model any more"), "{message}");
            });
        }
    });
    assert_eq!(begun(&server.db) - first, 1);
}
