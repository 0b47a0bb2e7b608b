//! Another process.

use super::*;

#[test]
fn what_another_process_writes_counts_within_a_second() {
    let server = Server::start();
    server.put_model("p/a", &Sample::new(1, 5, 3).bytes).expect(201);
    server.put_endpoint("p", &json!([{ "prefix": "p/" }]));
    let ana = server.put_user("ana", &may_invoke(&["nothing"]));
    let bob = server.put_user("bob", &may_invoke(&["a"]));
    let db = text(&server.db).to_owned();
    let status = |credential: &str| server.invoke("p", Some("a"), credential, HOUSE).status;
    let other = |arguments: &[&str]| {
        let (code, out, error) = rookery(&[arguments, &["--db", &db]].concat(), "");
        assert_eq!(code, 0, "{error}");
        out
    };
    // One second as promised, and what a busy machine adds.
    let soon = Duration::from_millis(1500);
    let file = server.db.with_file_name("policy.json");
    std::fs::write(&file, may_invoke(&["a"]).to_string()).unwrap();
    assert_eq!(status(&ana), 403);
    other(&["policy", "put", "own", text(&file), "--user", "ana"]);
    wait_for("an inline policy", soon, || status(&ana) == 200);
    other(&["policy", "delete", "own", "--user", "ana"]);
    wait_for("its removal", soon, || status(&ana) == 403);
    other(&["policy", "put", "shared", text(&file)]);
    other(&["policy", "attach", "shared", "--user", "ana"]);
    wait_for("a managed policy", soon, || status(&ana) == 200);
    other(&["user", "disable", "ana"]);
    wait_for("a user disabled", soon, || status(&ana) == 403);
    server.send("GET", "/api/v1/whoami", &ana, &[], b"").expect(401);
    other(&["user", "enable", "ana"]);
    wait_for("a user enabled", soon, || status(&ana) == 200);
    let id = ana.split('_').nth(1).unwrap();
    other(&["key", "disable", id]);
    wait_for("a key disabled", soon, || status(&ana) == 403);
    other(&["key", "enable", id]);
    wait_for("a key enabled", soon, || status(&ana) == 200);
    other(&["key", "delete", id]);
    wait_for("a key deleted", soon, || status(&ana) == 403);
    other(&["user", "create", "eve", "--no-password"]);
    let key = other(&["key", "create", "eve", "--api"]);
    wait_for("a user and key made", soon, || server.send("GET", "/api/v1/whoami", key.trim(), &[], b"").status == 200);
    // Its own writes after the other's are on top of them, not instead.
    other(&["policy", "put", "own", text(&file), "--user", "eve"]);
    server.admin("POST", "/api/v1/users", b"{\"name\":\"fay\"}").expect(201);
    assert_eq!(status(key.trim()), 200, "a write of one's own brings what others wrote before");
    assert_eq!(status(&bob), 200);
    other(&["user", "delete", "bob"]);
    wait_for("a user deleted", soon, || status(&bob) == 403);
}

#[test]
fn what_another_process_writes_counts_while_uploads_wait_for_the_file() {
    let server = Server::start();
    let ana = server.put_user("ana", &may_invoke(&["a"]));
    let whoami = || server.send("GET", "/api/v1/whoami", &ana, &[], b"").status;
    assert_eq!(whoami(), 200);
    let file = sql(&server.db);
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        // It has the server's one writing connection and waits for the file.
        let upload = scope.spawn(|| server.put_model("w/a", &Sample::new(1, 5, 3).bytes));
        thread::sleep(Duration::from_millis(1000));
        assert!(!upload.is_finished());
        let id = number(&file, "SELECT id FROM principal WHERE name = 'ana'");
        file.execute_batch(&format!(
            "UPDATE user SET disabled = 1, generation = generation + 1 WHERE id = {id};
             UPDATE epoch SET value = value + 1 WHERE noun = 'access'; COMMIT; BEGIN IMMEDIATE"
        ))
        .unwrap();
        wait_for("a user disabled", Duration::from_millis(1500), || whoami() == 401);
        file.execute_batch("ROLLBACK").unwrap();
        upload.join().unwrap().expect(201);
    });
}
