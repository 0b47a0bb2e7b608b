//! Versions.

use super::*;

fn history(server: &Server, path: &str) -> Vec<(i64, String, bool)> {
    let shown = server.admin("GET", &format!("/api/v1/versions/{path}"), b"").expect(200).json();
    let one = |entry: &Value| {
        assert_eq!(entry["publishedBy"], "arn:aws:iam::000000000000:user/root-admin");
        assert!(entry["publishedAt"].as_i64().unwrap() > 1_600_000_000);
        (entry["sequence"].as_i64().unwrap(), entry["version"].as_str().unwrap().to_owned(), entry["current"].as_bool().unwrap())
    };
    shown["versions"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn a_path_remembers_its_versions_and_goes_back_to_them() {
    let samples = Sample::many(0..4);
    let server = Server::start();
    server.put_endpoint("e", &json!([{ "prefix": "e/" }]));
    for (at, sample) in samples.iter().take(3).enumerate() {
        let reply = server.put_model("e/m", &sample.bytes).expect(if at == 0 { 201 } else { 200 });
        assert_eq!((&reply.json()["version"], &reply.json()["created"]), (&json!(sample.version), &json!(at == 0)));
    }
    let version = |at: usize| samples[at].version.clone();
    assert_eq!(history(&server, "e/m"), [(3, version(2), true), (2, version(1), false), (1, version(0), false)]);
    let score_now = || score(&Client::of(&server).invoke("e", "m").expect(200));
    assert_eq!(score_now(), samples[2].score);
    let reply = server.admin("POST", "/api/v1/rollback/e/m", b"").expect(200);
    assert_eq!((&reply.json()["version"], reply.header("etag")), (&json!(version(1)), Some(format!("\"{}\"", version(1)).as_str())));
    assert_eq!(score_now(), samples[1].score);
    server.admin("POST", "/api/v1/rollback/e/m", json!({ "version": version(0) }).to_string().as_bytes()).expect(200);
    assert_eq!(score_now(), samples[0].score);
    server.admin("POST", "/api/v1/rollback/e/m", json!({ "version": version(2) }).to_string().as_bytes()).expect(200);
    assert_eq!(score_now(), samples[2].score);
    assert_eq!(history(&server, "e/m")[0].1, version(2));
    // What was never there, or is no version at all.
    let gone = server.admin("POST", "/api/v1/rollback/e/m", json!({ "version": version(3) }).to_string().as_bytes()).expect(404).message();
    for part in [version(3).as_str(), "rookery model show e/m", "/api/v1/versions/e/m"] {
        assert!(gone.contains(part), "`{part}` is not in: {gone}");
    }
    server.admin("POST", "/api/v1/rollback/e/m", b"{\"version\":\"latest\"}").expect(400);
    server.admin("POST", "/api/v1/rollback/e/none", b"").expect(404);
    server.put_model("e/one", &samples[3].bytes).expect(201);
    server.admin("POST", "/api/v1/rollback/e/one", b"").expect(404);
    assert_eq!(score_now(), samples[2].score);
    // A path that was deleted begins anew.
    server.admin("DELETE", "/api/v1/models/e/m", b"").expect(204);
    server.admin("GET", "/api/v1/versions/e/m", b"").expect(404);
    server.admin("POST", "/api/v1/rollback/e/m", b"").expect(404);
    assert_eq!(counts(&server.db)["version"], 1);
    server.put_model("e/m", &samples[1].bytes).expect(201);
    assert_eq!(history(&server, "e/m"), [(1, version(1), true)]);
}

#[test]
fn versions_beyond_those_kept_go_with_their_bytes() {
    let samples = Sample::many(0..5);
    let server = Server::with(&["--keep-versions", "2"]);
    for sample in &samples {
        server.put_model("e/m", &sample.bytes);
    }
    let version = |at: usize| samples[at].version.clone();
    assert_eq!(history(&server, "e/m"), [(5, version(4), true), (4, version(3), false)]);
    let counted = counts(&server.db);
    assert_eq!((counted["version"], counted["blob"], counted["chunk"]), (2, 4, 4));
    server.admin("POST", "/api/v1/rollback/e/m", json!({ "version": version(1) }).to_string().as_bytes()).expect(404);
    server.admin("POST", "/api/v1/rollback/e/m", b"").expect(200);
    assert_eq!(version_at(&server, "e/m"), Some(version(3)));
    assert_eq!(counts(&server.db)["version"], 2);
}

#[test]
fn the_same_bytes_under_two_paths_are_kept_once_and_as_long_as_one_is_there() {
    let [shared, other] = [1, 2].map(|seed| Sample::new(seed, 5, 3));
    let server = Server::with(&["--keep-versions", "1"]);
    server.put_endpoint("e", &json!([{ "prefix": "e/" }]));
    for path in ["e/a", "e/b", "e/c"] {
        server.put_model(path, &shared.bytes).expect(201);
    }
    let counted = || counts(&server.db)["version"];
    assert_eq!(counted(), 1);
    let client = Client::of(&server);
    server.admin("DELETE", "/api/v1/models/e/a", b"").expect(204);
    client.invoke("e", "a").expect(400);
    assert_eq!(score(&client.invoke("e", "b").expect(200)), shared.score);
    server.put_model("e/b", &other.bytes).expect(200);
    assert_eq!(score(&client.invoke("e", "b").expect(200)), other.score);
    assert_eq!(score(&client.invoke("e", "c").expect(200)), shared.score);
    assert_eq!(counted(), 2);
    server.admin("DELETE", "/api/v1/models/e/c", b"").expect(204);
    assert_eq!((counted(), counts(&server.db)["blob"]), (1, 2));
}

#[test]
fn uploading_the_same_bytes_again_costs_no_version_to_go_back_to() {
    let [first, second] = [1, 2].map(|seed| Sample::new(seed, 5, 3));
    let server = Server::with(&["--keep-versions", "2"]);
    server.put_model("e/m", &first.bytes).expect(201);
    for _ in 0..3 {
        // As a script does that is run again.
        let reply = server.put_model("e/m", &second.bytes).expect(200);
        assert_eq!(reply.json()["version"], second.version.as_str());
    }
    server.admin("POST", "/api/v1/rollback/e/m", b"").expect(200);
    assert_eq!(version_at(&server, "e/m"), Some(first.version));
}

#[test]
fn preconditions_hold_writes_back() {
    let [first, second] = [1, 2].map(|seed| Sample::new(seed, 5, 3));
    let server = Server::start();
    let send = |method: &str, headers: &[(&str, &str)], body: &[u8]| -> Reply {
        server.send(method, "/api/v1/models/e/m", &server.admin, headers, body)
    };
    let tag = |sample: &Sample| format!("\"{}\"", sample.version);
    let (old, new) = (tag(&first), tag(&second));
    send("PUT", &[("if-match", "*")], &first.bytes).expect(412);
    send("PUT", &[("if-match", &old)], &first.bytes).expect(412);
    let made = send("PUT", &[("if-none-match", "*")], &first.bytes).expect(201);
    assert_eq!(made.header("etag"), Some(old.as_str()));
    let told = send("PUT", &[("if-none-match", "*")], &second.bytes).expect(412);
    assert!(told.message().contains("e/m"), "{}", told.message());
    send("PUT", &[("if-match", &new)], &second.bytes).expect(412);
    assert_eq!(send("GET", &[], b"").expect(200).header("etag"), Some(old.as_str()));
    send("PUT", &[("if-match", &old)], &second.bytes).expect(200);
    send("PUT", &[("if-match", "*")], &first.bytes).expect(200);
    for bad in [&[("if-match", "\"xyz\"")][..], &[("if-none-match", &old)], &[("if-match", "*"), ("if-none-match", "*")]] {
        send("PUT", bad, &second.bytes).expect(400);
        assert_eq!(version_at(&server, "e/m").as_deref(), Some(first.version.as_str()));
    }
    send("DELETE", &[("if-match", &new)], b"").expect(412);
    assert_eq!(send("GET", &[], b"").expect(200).header("etag"), Some(old.as_str()));
    send("DELETE", &[("if-match", &old)], b"").expect(204);
    send("GET", &[], b"").expect(404);
}

#[test]
fn a_rollback_takes_a_precondition_too() {
    let [first, second] = [1, 2].map(|seed| Sample::new(seed, 5, 3));
    let server = Server::start();
    server.put_model("e/m", &first.bytes).expect(201);
    server.put_model("e/m", &second.bytes).expect(200);
    let back = |tag: &str| server.send("POST", "/api/v1/rollback/e/m", &server.admin, &[("if-match", tag)], b"");
    // Someone else went back a moment ago; going back once more is not what was meant.
    back(&format!("\"{}\"", first.version)).expect(412);
    assert_eq!(version_at(&server, "e/m"), Some(second.version.clone()));
    back(&format!("\"{}\"", second.version)).expect(200);
    assert_eq!(version_at(&server, "e/m"), Some(first.version));
}
