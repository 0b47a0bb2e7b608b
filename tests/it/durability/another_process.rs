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
    let mut waits = Vec::new();
    let mut soon = |what: &str, done: &dyn Fn() -> bool| waits.push(wait_for(what, done));
    let file = server.db.with_file_name("policy.json");
    std::fs::write(&file, may_invoke(&["a"]).to_string()).unwrap();
    assert_eq!(status(&ana), 403);
    other(&["policy", "put", "own", text(&file), "--user", "ana"]);
    soon("an inline policy", &|| status(&ana) == 200);
    other(&["policy", "delete", "own", "--user", "ana"]);
    soon("its removal", &|| status(&ana) == 403);
    other(&["policy", "put", "shared", text(&file)]);
    other(&["policy", "attach", "shared", "--user", "ana"]);
    soon("a managed policy", &|| status(&ana) == 200);
    other(&["user", "disable", "ana"]);
    soon("a user disabled", &|| status(&ana) == 403);
    server.send("GET", "/api/v1/whoami", &ana, &[], b"").expect(401);
    other(&["user", "enable", "ana"]);
    soon("a user enabled", &|| status(&ana) == 200);
    let id = ana.split('_').nth(1).unwrap();
    other(&["key", "disable", id]);
    soon("a key disabled", &|| status(&ana) == 403);
    other(&["key", "enable", id]);
    soon("a key enabled", &|| status(&ana) == 200);
    other(&["key", "delete", id]);
    soon("a key deleted", &|| status(&ana) == 403);
    other(&["user", "create", "eve", "--no-password"]);
    let key = other(&["key", "create", "eve", "--api"]);
    soon("a user and key made", &|| server.send("GET", "/api/v1/whoami", key.trim(), &[], b"").status == 200);
    // Its own writes after the other's are on top of them, not instead.
    other(&["policy", "put", "own", text(&file), "--user", "eve"]);
    server.admin("POST", "/api/v1/users", b"{\"name\":\"fay\"}").expect(201);
    assert_eq!(status(key.trim()), 200, "a write of one's own brings what others wrote before");
    assert_eq!(status(&bob), 200);
    other(&["user", "delete", "bob"]);
    soon("a user deleted", &|| status(&bob) == 403);
    // A busy machine adds to each of them; what the server takes itself is no more than the shortest. All but the first
    // begin right after it has looked, so that none is short by chance.
    let shortest = waits[1..].iter().min().unwrap();
    assert!(*shortest < Duration::from_millis(1500), "{waits:?}");
}

#[test]
fn what_another_process_writes_counts_while_uploads_wait_for_the_file() {
    let server = Server::start();
    let file = sql(&server.db);
    // Whether a user disabled by another process was so for the server before its upload had waited for the file too
    // long. On a slow machine that may be chance; where one waits for the other it never is.
    let in_time = |name: &str| {
        let key = server.put_user(name, &may_invoke(&["a"]));
        let whoami = || server.send("GET", "/api/v1/whoami", &key, &[], b"").status;
        assert_eq!(whoami(), 200);
        file.execute_batch("BEGIN IMMEDIATE").unwrap();
        thread::scope(|scope| {
            // It has the server's one writing connection and waits for the file.
            let upload = scope.spawn(|| server.put_model("w/a", &Sample::new(1, 5, 3).bytes).status);
            thread::sleep(Duration::from_millis(1000));
            let id = number(&file, &format!("SELECT id FROM principal WHERE name = '{name}'"));
            file.execute_batch(&format!(
                "UPDATE user SET disabled = 1, generation = generation + 1 WHERE id = {id};
                 UPDATE epoch SET value = value + 1 WHERE noun = 'access'; COMMIT; BEGIN IMMEDIATE"
            ))
            .unwrap();
            wait_for("a user disabled", || whoami() == 401);
            file.execute_batch("ROLLBACK").unwrap();
            upload.join().unwrap() < 300
        })
    };
    assert!(["ana", "bob", "eve", "fay"].into_iter().any(in_time), "who is disabled stays so until an upload gives up");
}
