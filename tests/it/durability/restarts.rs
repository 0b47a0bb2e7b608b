//! Stop and start.

use std::io::Read as _;
use std::net::TcpStream;

use super::*;

#[test]
fn what_was_loaded_is_loaded_again_without_a_call() {
    let samples = Sample::many(0..20);
    let mut server = Server::start();
    for (at, sample) in samples.iter().enumerate() {
        server.put_model(&format!("h/{at}"), &sample.bytes).expect(201);
    }
    server.put_endpoint("h", &json!([{ "prefix": "h/" }]));
    for at in 0..12usize {
        Client::of(&server).invoke("h", &at.to_string()).expect(200);
    }
    let before = loaded(&server);
    assert_eq!(before.len(), 12);
    assert_eq!(server.terminate(), 0);
    let mut server = again(&server, &[]);
    wait_for("the hot set is loaded", || loaded(&server) == before);
    // A server that is killed before it had time for anything does not forget it either.
    server.kill();
    let mut server = again(&server, &[]);
    wait_for("the hot set is loaded after a kill", || loaded(&server) == before);
    // With less memory, as much as fits and not more.
    assert_eq!(server.terminate(), 0);
    let budget = samples[0].weight * 5 + 1;
    let server = again(&server, &["--memory", &budget.to_string()]);
    wait_for("what fits is loaded", || loaded(&server).len() == 5);
    let shown = server.admin("GET", "/api/v1/cache", b"").expect(200).json();
    assert!(shown["usedBytes"].as_u64().unwrap() <= budget && shown["evictions"] == 0, "{shown}");
}

#[test]
fn what_was_hotter_stays_so_through_idle_restarts_and_one_that_is_too_large_keeps_out_no_other() {
    let samples = Sample::many(0..6);
    let big = Sample::new(9, 400, 6);
    let mut server = Server::start();
    server.put_endpoint("h", &json!([{ "prefix": "h/" }]));
    server.put_model("h/big", &big.bytes).expect(201);
    let calls =
        |server: &Server, target: &str, times: usize| (0..times).for_each(|_| drop(Client::of(server).invoke("h", target).expect(200)));
    calls(&server, "big", 60);
    for (at, sample) in samples.iter().enumerate() {
        server.put_model(&format!("h/{at}"), &sample.bytes).expect(201);
        calls(&server, &at.to_string(), 8 * (at + 1));
    }
    // Nobody calls between the second start and the third.
    assert_eq!(server.terminate(), 0);
    let mut server = again(&server, &[]);
    wait_for("the hot set is loaded", || loaded(&server).len() == 7);
    assert_eq!(server.terminate(), 0);
    let mut server = again(&server, &[]);
    wait_for("the hot set is loaded again", || loaded(&server).len() == 7);
    assert_eq!(server.terminate(), 0);
    // The hottest of all has no room. Of the others the hottest two.
    let budget = samples[4].weight + samples[5].weight + 100;
    let server = again(&server, &["--memory", &budget.to_string()]);
    wait_for("what fits is loaded", || loaded(&server).len() == 2);
    let mut wanted = [samples[4].version.clone(), samples[5].version.clone()];
    wanted.sort();
    assert_eq!(loaded(&server), wanted);
}

#[test]
fn after_a_clean_end_the_file_and_its_key_are_all_there_is() {
    let sample = Sample::new(1, 5, 3);
    let mut server = Server::start();
    server.put_model("c/m", &sample.bytes).expect(201);
    server.put_endpoint("c", &json!([{ "prefix": "c/" }]));
    Client::of(&server).invoke("c", "m").expect(200);
    assert_eq!(server.terminate(), 0);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    for suffix in ["", ".key"] {
        std::fs::copy(beside(&server.db, suffix), beside(&copy, suffix)).unwrap();
    }
    assert_eq!(verified(&copy)["models"], 1);
    let mut there = Server::on(&copy, &[]);
    there.admin.clone_from(&server.admin);
    assert_eq!(score(&Client::of(&there).invoke("c", "m").expect(200)), sample.score);
}

#[test]
fn the_hot_set_survives_starts_that_are_killed_at_once() {
    // So many and so large that loading them again takes a while.
    let pool = [Sample::new(1, 400, 6), Sample::new(2, 400, 6)];
    let mut server = Server::start();
    for at in 0..40u64 {
        server.put_model(&format!("h/{at}"), &padded(&pool[at as usize % 2], at)).expect(201);
        server.admin("POST", &format!("/api/v1/cache/load/h/{at}"), b"").expect(200);
    }
    let before = loaded(&server);
    assert_eq!(before.len(), 40);
    assert_eq!(server.terminate(), 0);
    for _ in 0..3 {
        let mut started = again(&server, &[]);
        thread::sleep(Duration::from_millis(300));
        started.kill();
    }
    let server = again(&server, &[]);
    wait_for("all forty hot models are loaded", || loaded(&server).len() == 40);
    assert_eq!(number(&sql(&server.db), "SELECT count(*) FROM hot"), 40, "of forty hot models so many are remembered");
}

#[test]
fn a_policy_taken_before_a_bound_was_set_opens_and_decides_and_is_taken_no_more() {
    let mut server = Server::start();
    let key = server.put_user("ana", &may_invoke(&["m"]));
    server.put_model("o/m", &Sample::new(1, 5, 3).bytes).expect(201);
    server.put_endpoint("o", &json!([{ "prefix": "o/" }]));
    assert_eq!(server.terminate(), 0);
    // More `?` than a new one may have, and a number that JSON has not.
    let old = may_invoke(&[&"?".repeat(1000), "?"]).to_string();
    let old = old.replacen("\"StringLike\"", "\"StringEqualsIfExists\":{\"own:number\":5.},\"StringLike\"", 1);
    assert!(old.contains("5."), "{old}");
    let file = sql(&server.db);
    assert_eq!(file.execute("UPDATE inline_policy SET document = ?1", [&old]).unwrap(), 1);
    drop(file);
    let server = again(&server, &[]);
    server.invoke("o", Some("m"), &key, HOUSE).expect(200);
    server.invoke("o", Some("mm"), &key, HOUSE).expect(403);
    let refused = server.admin("PUT", "/api/v1/users/ana/policies/own", old.as_bytes()).expect(400).message();
    assert!(refused.contains("`5.` is no number of JSON"), "{refused}");
    let refused = server.admin("PUT", "/api/v1/users/ana/policies/own", old.replace("5.", "5").as_bytes()).expect(400).message();
    assert!(refused.contains("it has 1001 `?`; at most 512 are taken"), "{refused}");
    server.invoke("o", Some("m"), &key, HOUSE).expect(200);
}

#[test]
fn a_stop_right_after_the_start_is_orderly() {
    let mut server = Server::start();
    server.put_model("h/m", &Sample::new(1, 5, 3).bytes).expect(201);
    server.admin("POST", "/api/v1/cache/load/h/m", b"").expect(200);
    assert_eq!(server.terminate(), 0);
    for round in 0..20 {
        // A supervisor may change its mind as soon as it reads the line.
        let mut started = again(&server, &[]);
        assert_eq!(started.terminate(), 0, "round {round}");
    }
}

#[test]
fn what_is_under_way_is_answered_before_the_server_stops() {
    let sample = Sample::new(1, 5, 3);
    let big = large(100);
    let mut server = Server::start();
    server.put_model("g/m", &sample.bytes).expect(201);
    server.put_endpoint("g", &json!([{ "model": "g/m" }]));
    let invoke = head(&server, "POST", "/endpoints/g/invocations", HOUSE.len());
    let mut predicting = raw(&server, format!("{invoke}expect: 100-continue\r\n\r\n").as_bytes());
    // It is under way once it is told to go on.
    let mut told = [0; 25];
    predicting.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    predicting.write_all(&HOUSE.as_bytes()[..10]).unwrap();
    let mut uploading = raw(&server, format!("{}\r\n", head(&server, "PUT", "/api/v1/models/g/big", big.bytes.len())).as_bytes());
    uploading.write_all(&big.bytes[..5 << 20]).unwrap();
    wait_for("the first pieces are staged", || number(&sql(&server.db), "SELECT count(*) FROM blob WHERE ready = 0") == 1);
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let code = thread::scope(|scope| {
        let stopping = scope.spawn(|| server.terminate());
        wait_for("the stop has begun", || TcpStream::connect(&address).is_err());
        predicting.write_all(&HOUSE.as_bytes()[10..]).unwrap();
        let said = answer(&mut predicting);
        assert!(said.starts_with("HTTP/1.1 200") && said.contains("predictions"), "{said}");
        uploading.write_all(&big.bytes[5 << 20..]).unwrap();
        let said = answer(&mut uploading);
        assert!(said.starts_with("HTTP/1.1 201"), "{said}");
        drop((predicting, uploading));
        stopping.join().unwrap()
    });
    assert_eq!(code, 0);
    let server = again(&server, &[]);
    assert_eq!(version_at(&server, "g/big"), Some(big.version));
}

#[test]
fn an_idle_connection_does_not_hold_up_the_stop() {
    let mut server = Server::start();
    // Where the machine is slow one stop may take long; one that waits for the idle takes as long every time.
    let stop = |mut server: Server| {
        let client = Client::of(&server);
        client.send("GET", "/healthz", &[], b"").unwrap().expect(200);
        let started = Instant::now();
        assert_eq!(server.terminate(), 0);
        (server, started.elapsed())
    };
    let mut took = Duration::MAX;
    for _ in 0..5 {
        (server, took) = stop(server);
        if took < Duration::from_secs(10) {
            return;
        }
        server = again(&server, &[]);
    }
    panic!("the stop took {took:?} with nothing under way");
}
