//! What an endpoint may read: what whoever made it may, whenever a model came.

use rusqlite::Connection;

use super::*;

const READ: &str = "s3:GetObject";

/// A key of a user who may do anything with endpoints, and more.
fn maker(server: &Server, name: &str, more: Vec<Value>) -> String {
    server.put_user(name, &policy([vec![statement("Allow", "sagemaker:*", "*")], more].concat()))
}

fn create(server: &Server, key: &str, name: &str, stages: &Value) -> Reply {
    call(server, key, "POST", "/api/v1/endpoints", &json!({ "name": name, "stages": stages }))
}

fn reads(resource: &str) -> Value {
    statement("Allow", READ, format!("arn:aws:s3:::{resource}"))
}

fn denied(resource: &str) -> Value {
    statement("Deny", READ, format!("arn:aws:s3:::{resource}"))
}

#[test]
fn an_endpoint_serves_no_later_model_that_its_maker_may_not_read() {
    let server = Server::start();
    server.put_model("h/a", &city(1, 100.0)).expect(201);
    let ana = maker(&server, "ana", vec![reads("h/*"), denied("h/secret*")]);
    create(&server, &ana, "hers", &json!([{ "prefix": "h/" }])).expect(201);
    server.put_endpoint("all", &json!([{ "prefix": "h/" }]));
    let secret = server.put_model("h/secret", &city(2, 200.0)).expect(201).json()["version"].as_str().unwrap().to_owned();
    let bob = server.put_user("bob", &policy(vec![statement("Allow", INVOKE, "*")]));
    let mut said = Vec::new();
    for _ in 0..3 {
        // Each of the two has its own maker's answer, however warm the model is.
        server.invoke("all", Some("secret"), &bob, HOUSE).expect(200);
        server.invoke("hers", Some("a"), &bob, HOUSE).expect(200);
        for (key, target) in [(&ana, "secret"), (&bob, "secret"), (&bob, "secret-none")] {
            let refused = server.invoke("hers", Some(target), key, HOUSE).expect(400);
            assert_eq!(refused.header("x-amzn-errortype"), Some("ValidationError"));
            assert!(!refused.text().contains(&secret) && !refused.text().contains("ana"), "{}", refused.text());
            said.push(refused.message().replace(target, "it"));
        }
    }
    assert!(said[0].contains("may not read model `h/it`") && said[0].contains("create it again"), "{}", said[0]);
    assert!(said.iter().all(|message| *message == said[0]), "whether there is such a model shows: {said:?}");
}

#[test]
fn what_its_maker_may_read_counts_from_the_next_call_on() {
    let server = Server::start();
    server.put_model("h/a", &city(1, 100.0)).expect(201);
    let ana = maker(&server, "ana", vec![reads("h/*")]);
    for stages in [json!([{ "prefix": "h/" }]), json!([{ "model": "h/a" }])] {
        let (name, target) = if stages[0]["prefix"].is_null() { ("fixed", None) } else { ("multi", Some("a")) };
        create(&server, &ana, name, &stages).expect(201);
        let put = |statements: Vec<Value>| {
            let all = policy([vec![statement("Allow", "sagemaker:*", "*")], statements].concat());
            admin(&server, "PUT", "/api/v1/users/ana/policies/own", &all).expect(204);
        };
        for _ in 0..3 {
            server.invoke(name, target, &server.admin, HOUSE).expect(200);
            put(vec![reads("h/*"), denied("h/a")]);
            server.invoke(name, target, &server.admin, HOUSE).expect(400);
            put(vec![statement("Allow", READ, "*")]);
        }
    }
}

#[test]
fn only_who_may_read_all_of_a_prefix_makes_an_endpoint_over_it() {
    let server = Server::start();
    for (at, narrow) in ["h/?", "h/${*}", "h/[*]", "h/a*", "h/????"].into_iter().enumerate() {
        let key = maker(&server, &format!("u{at}"), vec![reads(narrow)]);
        let refused = create(&server, &key, &format!("e{at}"), &json!([{ "prefix": "h/" }])).expect(403);
        assert!(refused.message().contains("arn:aws:s3:::h/*") && refused.message().is_ascii(), "{}", refused.message());
    }
    for (at, wide) in ["h/*", "h*", "*"].into_iter().enumerate() {
        let key = maker(&server, &format!("w{at}"), vec![reads(wide)]);
        create(&server, &key, &format!("w{at}"), &json!([{ "prefix": "h/" }])).expect(201);
    }
}

#[test]
fn a_key_that_may_less_than_its_user_makes_no_endpoint() {
    let server = Server::start();
    let ana = maker(&server, "ana", vec![reads("*")]);
    let own = policy(vec![statement("Allow", "sagemaker:*", "*"), reads("*"), denied("h/secret*")]);
    let narrowed = make_key(&server, &json!({ "user": "ana", "kind": "api", "policy": own })).1;
    let stages = json!([{ "prefix": "h/" }]);
    // It would read by its user's rights what the key's own policy denies.
    let refused = create(&server, &narrowed, "e", &stages).expect(403).message();
    assert!(refused.contains("a key with a policy of its own cannot make endpoints"), "{refused}");
    create(&server, &ana, "e", &stages).expect(201);
}

#[test]
fn a_refused_endpoint_names_no_model_that_its_maker_may_not_list() {
    let server = Server::start();
    server.put_model("h/a", &city(1, 100.0)).expect(201);
    server.put_model("h/secret-merger", &city(2, 100.0)).expect(201);
    let rights = vec![reads("h/*"), denied("h/secret-*")];
    let blind = maker(&server, "blind", rights.clone());
    let refused = create(&server, &blind, "e", &json!([{ "prefix": "h/" }])).expect(403).message();
    assert!(refused.contains("a model under `h/` is denied you") && !refused.contains("merger"), "{refused}");
    let seeing = maker(&server, "seeing", [rights, vec![statement("Allow", "s3:ListBucket", "*")]].concat());
    let refused = create(&server, &seeing, "e", &json!([{ "prefix": "h/" }])).expect(403).message();
    assert!(refused.contains("h/secret-merger"), "{refused}");
}

#[test]
fn rights_that_hang_on_the_request_make_no_endpoint() {
    let server = Server::start();
    server.put_model("h/a", &city(1, 100.0)).expect(201);
    let local =
        json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": { "IpAddress": { "aws:SourceIp": "127.0.0.0/8" } } });
    let mia = maker(&server, "mia", vec![local]);
    server.send("GET", "/api/v1/models/h/a", &mia, &[], b"").expect(200);
    // Made, it could not read a thing: nobody's address is its own.
    for stages in [json!([{ "prefix": "h/" }]), json!([{ "model": "h/a" }])] {
        let refused = create(&server, &mia, "e", &stages).expect(403).message();
        assert!(refused.contains("s3:GetObject") && refused.contains("condition"), "{refused}");
    }
}

#[test]
fn an_endpoint_outlives_its_makers_leave() {
    let server = Server::start();
    server.put_model("h/a", &city(1, 100.0)).expect(201);
    let stages = json!([{ "prefix": "h/" }]);
    let ana = maker(&server, "ana", vec![reads("h/*")]);
    create(&server, &ana, "e", &stages).expect(201);
    let answers = |status: u16| server.invoke("e", Some("a"), &server.admin, HOUSE).expect(status).message();
    // Who may not sign in any more still has policies, and the endpoint goes on by them.
    admin(&server, "PATCH", "/api/v1/users/ana", &json!({ "disabled": true })).expect(204);
    answers(200);
    let kept = admin(&server, "DELETE", "/api/v1/users/ana", &Value::Null).expect(409).message();
    assert!(kept.contains("endpoint `e`") && kept.contains("create it again"), "{kept}");
    // Someone else takes it over, without a moment in which it is not there.
    let eve = maker(&server, "eve", vec![reads("other/*")]);
    create(&server, &eve, "e", &stages).expect(403);
    let may_not_delete = [statement("Allow", "sagemaker:CreateEndpoint", "*"), reads("*")];
    let fay = server.put_user("fay", &policy(may_not_delete.to_vec()));
    create(&server, &fay, "e", &stages).expect(409);
    create(&server, &server.admin, "e", &json!([{ "prefix": "other/" }])).expect(409);
    create(&server, &server.admin, "e", &stages).expect(201);
    create(&server, &server.admin, "e", &stages).expect(409);
    admin(&server, "DELETE", "/api/v1/users/ana", &Value::Null).expect(204);
    answers(200);
    // A maker who is gone all the same: a new user of that name is another.
    server.change("UPDATE endpoint SET maker = 'AIDAGONE'", || server.invoke("e", Some("a"), &server.admin, HOUSE).status == 400);
    let message = answers(400);
    assert!(message.contains("who made it is gone") && message.contains("create it again"), "{message}");
    create(&server, &server.admin, "e", &stages).expect(201);
    answers(200);
}

#[test]
fn an_endpoint_from_before_makers_were_kept_goes_on() {
    let mut server = Server::start();
    server.put_model("h/a", &city(1, 100.0)).expect(201);
    let stages = json!([{ "prefix": "h/" }]);
    server.put_endpoint("e", &stages);
    assert_eq!(server.terminate(), 0);
    let file = Connection::open(&server.db).unwrap();
    file.execute_batch("ALTER TABLE endpoint DROP COLUMN maker; PRAGMA user_version = 1").unwrap();
    drop(file);
    let mut old = Server::on(&server.db, &[]);
    old.admin.clone_from(&server.admin);
    old.invoke("e", Some("a"), &old.admin, HOUSE).expect(200);
    let maker = || {
        let file = Connection::open(&old.db).unwrap();
        file.query_row("SELECT maker FROM endpoint", [], |row| row.get::<_, Option<String>>(0)).unwrap()
    };
    assert_eq!(maker(), None);
    create(&old, &old.admin, "e", &stages).expect(201);
    assert!(maker().is_some(), "made again, it has a maker");
    old.invoke("e", Some("a"), &old.admin, HOUSE).expect(200);
}
