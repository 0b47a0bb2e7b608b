//! Records.

use super::*;

#[test]
fn users_groups_and_roles_are_made_shown_changed_and_removed() {
    let server = Server::start();
    let null = Value::Null;
    let ana = admin(&server, "POST", "/api/v1/users", &json!({ "name": "ana", "password": PASSWORD, "tags": { "Team": "red" } }))
        .expect(201)
        .json();
    assert_eq!(ana["arn"], "arn:aws:iam::000000000000:user/ana");
    assert!(ana["id"].as_str().unwrap().starts_with("AIDA") && !ana.to_string().contains("argon2"));
    assert_eq!((&ana["hasPassword"], &ana["disabled"], &ana["tags"]["team"]), (&json!(true), &json!(false), &json!("red")));
    admin(&server, "POST", "/api/v1/users", &json!({ "name": "ana" })).expect(409);
    let trust = policy(vec![json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "AWS": ana["arn"] } })]);
    for (path, body) in [
        ("users", json!({ "name": "x", "trustPolicy": trust })),
        ("users", json!({ "name": "x", "password": "short" })),
        ("users", json!({ "name": "x", "unknown": 1 })),
        ("users", json!({ "name": "x", "tags": { "a": "1", "A": "2" } })),
        ("users", json!({ "name": "x", "tags": { "": "1" } })),
        ("groups", json!({ "name": "x", "password": PASSWORD })),
        ("groups", json!({ "name": "x", "admin": true })),
        ("roles", json!({ "name": "x" })),
        ("roles", json!({ "name": "x", "trustPolicy": {} })),
        ("roles", json!({ "name": "x", "trustPolicy": everything() })),
        ("users", json!({ "name": "a b" })),
        ("users", json!({ "name": "" })),
        ("users", json!({ "name": "\u{e9}" })),
        ("users", json!({ "name": "a/b" })),
        ("users", json!({ "name": "a*" })),
    ] {
        admin(&server, "POST", &format!("/api/v1/{path}"), &body).expect(400);
    }
    admin(&server, "POST", "/api/v1/users", &json!({ "name": "x", "permissionsBoundary": "None" })).expect(404);
    admin(&server, "POST", "/api/v1/groups", &json!({ "name": "ana" })).expect(201);
    admin(&server, "POST", "/api/v1/roles", &json!({ "name": "ana", "trustPolicy": trust })).expect(201);
    admin(&server, "PUT", "/api/v1/groups/ana/members/ana", &null).expect(204);
    admin(&server, "PUT", "/api/v1/groups/ana/members/ana", &null).expect(204);
    admin(&server, "PUT", "/api/v1/groups/ana/members/none", &null).expect(404);
    admin(&server, "PUT", "/api/v1/groups/none/members/ana", &null).expect(404);
    admin(&server, "PUT", "/api/v1/users/ana/policies/p", &everything()).expect(204);
    let shown = admin(&server, "GET", "/api/v1/users/ana", &null).expect(200).json();
    assert_eq!((&shown["groups"], &shown["inlinePolicies"]), (&json!(["ana"]), &json!(["p"])));
    assert_eq!(admin(&server, "GET", "/api/v1/groups/ana", &null).expect(200).json()["members"], json!(["ana"]));
    assert_eq!(admin(&server, "GET", "/api/v1/roles/ana", &null).expect(200).json()["trustPolicy"], trust, "as it was written");
    let users = admin(&server, "GET", "/api/v1/users", &null).expect(200);
    assert_eq!(users.json()["users"].as_array().unwrap().len(), 2);
    assert!(!users.text().contains("argon2"));
    for body in
        [json!({}), json!({ "disabled": true, "password": PASSWORD }), json!({ "name": "x" }), json!({ "disabled": "yes" }), json!([])]
    {
        admin(&server, "PATCH", "/api/v1/users/ana", &body).expect(400);
    }
    for (path, body) in [
        ("roles/ana", json!({ "disabled": true })),
        ("groups/ana", json!({ "permissionsBoundary": null })),
        ("groups/ana", json!({ "tags": {} })),
    ] {
        admin(&server, "PATCH", &format!("/api/v1/{path}"), &body).expect(400);
    }
    admin(&server, "DELETE", "/api/v1/users/ana/policies/none", &null).expect(404);
    admin(&server, "DELETE", "/api/v1/users/ana/policies/p", &null).expect(204);
    admin(&server, "DELETE", "/api/v1/groups/ana/members/ana", &null).expect(204);
    admin(&server, "DELETE", "/api/v1/groups/ana/members/ana", &null).expect(404);
    for path in ["users", "groups", "roles"] {
        admin(&server, "DELETE", &format!("/api/v1/{path}/ana"), &null).expect(204);
        admin(&server, "DELETE", &format!("/api/v1/{path}/ana"), &null).expect(404);
        admin(&server, "GET", &format!("/api/v1/{path}/ana"), &null).expect(404);
        server.send("POST", &format!("/api/v1/{path}/ana"), &server.admin, &[], b"").expect(405);
    }
    let audit = admin(&server, "GET", "/api/v1/audit", &null).expect(200).json();
    assert!(audit["changes"].as_array().unwrap().iter().any(|one| one["action"] == "iam:DeleteUser"), "{audit}");
}

#[test]
fn an_inline_policy_is_read_as_it_was_written_by_who_may_read_it() {
    let server = Server::start();
    let null = Value::Null;
    let trust = policy(vec![json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*" })]);
    make_user(&server, &json!({ "name": "ana" }));
    admin(&server, "POST", "/api/v1/groups", &json!({ "name": "crew" })).expect(201);
    admin(&server, "POST", "/api/v1/roles", &json!({ "name": "duty", "trustPolicy": trust })).expect(201);
    for (at, (nouns, noun, name, action)) in [
        ("users", "user", "ana", "iam:GetUserPolicy"),
        ("groups", "group", "crew", "iam:GetGroupPolicy"),
        ("roles", "role", "duty", "iam:GetRolePolicy"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/api/v1/{nouns}/{name}/policies");
        let written = policy(vec![statement("Allow", INVOKE, ANY_ENDPOINT)]);
        admin(&server, "GET", &format!("{path}/Own"), &null).expect(404);
        admin(&server, "PUT", &format!("{path}/Own"), &written).expect(204);
        let mut wanted = json!({ "name": "Own", "document": written });
        wanted[noun] = json!(name);
        // Names do not differ by case.
        for spelled in ["Own", "OWN"] {
            assert_eq!(admin(&server, "GET", &format!("{path}/{spelled}"), &null).expect(200).json(), wanted);
        }
        let missing = admin(&server, "GET", &format!("/api/v1/{nouns}/none/policies/Own"), &null).expect(404).message();
        assert!(missing.contains("`none`"), "{missing}");
        // The action alone is enough, and any other of the three is not.
        let resource = format!("arn:aws:iam::000000000000:{noun}/{name}");
        let reader = server.put_user(&format!("reader-{at}"), &policy(vec![statement("Allow", action, resource)]));
        call(&server, &reader, "GET", &format!("{path}/Own"), &null).expect(200);
        let others = policy(vec![statement("Allow", "*", "*"), statement("Deny", action, "*")]);
        let other = server.put_user(&format!("other-{at}"), &others);
        let denied = call(&server, &other, "GET", &format!("{path}/Own"), &null).expect(403).message();
        assert!(denied.contains(action), "{denied}");
    }
}

#[test]
fn a_roles_trust_policy_is_changed_as_strictly_as_it_is_made() {
    let server = Server::start();
    let null = Value::Null;
    let trusting = |effect: &str| policy(vec![json!({ "Effect": effect, "Action": "sts:AssumeRole", "Principal": "*" })]);
    admin(&server, "POST", "/api/v1/roles", &json!({ "name": "duty", "trustPolicy": trusting("Allow") })).expect(201);
    make_user(&server, &json!({ "name": "ana" }));
    let trust_of_duty = || admin(&server, "GET", "/api/v1/roles/duty", &null).expect(200).json()["trustPolicy"].clone();
    for bad in [json!({ "trustPolicy": everything() }), json!({ "trustPolicy": {} }), json!({ "trustPolicy": null })] {
        admin(&server, "PATCH", "/api/v1/roles/duty", &bad).expect(400);
    }
    assert_eq!(trust_of_duty(), trusting("Allow"));
    let new = json!({ "trustPolicy": trusting("Deny") });
    admin(&server, "PATCH", "/api/v1/users/ana", &new).expect(400);
    admin(&server, "PATCH", "/api/v1/roles/none", &new).expect(404);
    let others = policy(vec![statement("Allow", "*", "*"), statement("Deny", "iam:UpdateAssumeRolePolicy", "*")]);
    let other = server.put_user("other", &others);
    assert!(call(&server, &other, "PATCH", "/api/v1/roles/duty", &new).expect(403).message().contains("iam:UpdateAssumeRolePolicy"));
    // Who is bounded does not open a role that is not.
    admin(&server, "PUT", "/api/v1/policies/Fence", &everything()).expect(201);
    make_user(&server, &json!({ "name": "bounded", "permissionsBoundary": "Fence" }));
    admin(&server, "PUT", "/api/v1/users/bounded/policies/all", &everything()).expect(204);
    let bounded = key_of(&server, "bounded");
    call(&server, &bounded, "PATCH", "/api/v1/roles/duty", &new).expect(403);
    assert_eq!(trust_of_duty(), trusting("Allow"));
    let only =
        server.put_user("only", &policy(vec![statement("Allow", "iam:UpdateAssumeRolePolicy", "arn:aws:iam::000000000000:role/duty")]));
    call(&server, &only, "PATCH", "/api/v1/roles/duty", &new).expect(204);
    assert_eq!(trust_of_duty(), trusting("Deny"));
}

#[test]
fn pins_are_in_the_audit() {
    let server = Server::start();
    server.put_model("a/m", &city(1, 100.0)).expect(201);
    server.admin("PUT", "/api/v1/cache/pins/a/m", b"").expect(204);
    server.admin("DELETE", "/api/v1/cache/pins/a/m", b"").expect(204);
    let audit = server.admin("GET", "/api/v1/audit?limit=3", b"").expect(200).json();
    let changes: Vec<_> = audit["changes"].as_array().unwrap().iter().map(|one| (&one["action"], &one["resource"])).collect();
    let of = &json!("arn:aws:s3:::a/m");
    let wanted = ["rookery:UnpinModel", "rookery:PinModel", "s3:PutObject"].map(|action| json!(action));
    assert_eq!(changes, wanted.iter().map(|action| (action, of)).collect::<Vec<_>>());
}

#[test]
fn the_audit_is_paged_like_every_list_latest_first() {
    let server = Server::start();
    for name in ["a", "b", "c", "d", "e"] {
        make_user(&server, &json!({ "name": name }));
    }
    let page = |query: &str| admin(&server, "GET", &format!("/api/v1/audit{query}"), &Value::Null);
    let ids = |page: &Value| page["changes"].as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()).collect::<Vec<_>>();
    let whole = page("").expect(200).json();
    let all = ids(&whole);
    assert!(all.len() >= 5 && all.is_sorted_by(|a, b| a > b), "{whole}");
    assert_eq!(whole["next"], Value::Null);
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let one = page(&format!("?limit=2&after={after}")).expect(200).json();
        assert!(ids(&one).len() <= 2, "{one}");
        paged.extend(ids(&one));
        let Some(next) = one["next"].as_str() else { break };
        after = next.to_owned();
    }
    assert_eq!(paged, all);
    assert_eq!(ids(&page(&format!("?before={}", all[1])).expect(200).json()), all[2..], "the name it had");
    for bad in ["?after=x", "?limit=0", "?limit=1001", "?after=1&before=1", "?from=1"] {
        page(bad).expect(400);
    }
}

#[test]
fn managed_policies_and_keys_are_made_shown_changed_and_removed() {
    let server = Server::start();
    let null = Value::Null;
    make_user(&server, &json!({ "name": "ana" }));
    admin(&server, "PUT", "/api/v1/policies/P", &everything()).expect(201);
    admin(&server, "PUT", "/api/v1/policies/p", &nothing()).expect(204);
    let shown = admin(&server, "GET", "/api/v1/policies/P", &null).expect(200).json();
    assert_eq!((&shown["name"], &shown["version"], &shown["document"]), (&json!("P"), &json!(2), &nothing()));
    admin(&server, "POST", "/api/v1/policies/P/attachments", &json!({ "user": "ana" })).expect(204);
    for body in [json!({}), json!({ "user": "ana", "group": "g" }), json!({ "user": 1 }), json!("ana")] {
        admin(&server, "POST", "/api/v1/policies/P/attachments", &body).expect(400);
    }
    admin(&server, "POST", "/api/v1/policies/P/attachments", &json!({ "user": "none" })).expect(404);
    admin(&server, "POST", "/api/v1/policies/None/attachments", &json!({ "user": "ana" })).expect(404);
    admin(&server, "DELETE", "/api/v1/policies/P", &null).expect(409);
    admin(&server, "DELETE", "/api/v1/policies/P/attachments", &json!({ "user": "ana" })).expect(204);
    admin(&server, "DELETE", "/api/v1/policies/P/attachments", &json!({ "user": "ana" })).expect(404);
    admin(&server, "DELETE", "/api/v1/policies/P", &null).expect(204);
    admin(&server, "GET", "/api/v1/policies/P", &null).expect(404);

    let (id, key) = make_key(&server, &json!({ "user": "ana", "kind": "api", "expiresAt": now() + 1000 }));
    let listed = admin(&server, "GET", "/api/v1/keys?user=ANA", &null).expect(200);
    let secret = key.rsplit_once('_').unwrap().1;
    assert!(!listed.text().contains(secret) && listed.json()["keys"][0]["id"] == json!(id));
    assert_eq!(admin(&server, "GET", "/api/v1/keys", &null).expect(200).json()["keys"].as_array().unwrap().len(), 2);
    let shown = admin(&server, "GET", &format!("/api/v1/keys/{id}"), &null).expect(200);
    assert!(!shown.text().contains(secret) && shown.json()["policy"].is_null(), "{}", shown.text());
    assert_eq!((&shown.json()["user"], &shown.json()["state"]), (&json!("ana"), &json!("active")));
    let (narrow, _) = make_key(&server, &json!({ "user": "ana", "kind": "api", "policy": nothing() }));
    let shown = admin(&server, "GET", &format!("/api/v1/keys/{narrow}"), &null).expect(200).json();
    assert_eq!((&shown["policy"], &shown["kind"], &shown["narrowed"]), (&nothing(), &json!("api"), &json!(true)));
    admin(&server, "DELETE", &format!("/api/v1/keys/{narrow}"), &null).expect(204);
    admin(&server, "GET", &format!("/api/v1/keys/{narrow}"), &null).expect(404);
    for (body, status) in [
        (json!({ "user": "ana" }), 400),
        (json!({ "user": "ana", "kind": "pgp" }), 400),
        (json!({ "user": "ana", "kind": "api", "expiresAt": now() - 1 }), 400),
        (json!({ "user": "ana", "kind": "api", "policy": {} }), 400),
        (json!({ "user": "none", "kind": "api" }), 404),
    ] {
        admin(&server, "POST", "/api/v1/keys", &body).expect(status);
    }
    admin(&server, "GET", "/api/v1/keys?user=none", &null).expect(404);
    admin(&server, "GET", "/api/v1/keys?name=ana", &null).expect(400);
    let path = format!("/api/v1/keys/{id}");
    admin(&server, "PATCH", &path, &json!({})).expect(400);
    admin(&server, "DELETE", &path, &null).expect(204);
    admin(&server, "DELETE", &path, &null).expect(404);
    admin(&server, "PATCH", &path, &json!({ "disabled": true })).expect(404);
}

#[test]
fn a_malformed_document_is_refused_with_its_place_wherever_it_is_written() {
    let server = Server::start();
    make_user(&server, &json!({ "name": "ana" }));
    let text = [
        r#"{"Version":"2012-10-17","#,
        r#""Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","#,
        r#""Condition":{"StringLik":{"a":"b"}}}]}"#,
    ]
    .join("\n");
    for path in ["/api/v1/users/ana/policies/p", "/api/v1/policies/P"] {
        let reply = server.send("PUT", path, &server.admin, &[], text.as_bytes()).expect(400);
        let told = reply.message();
        assert!(told.contains("line 3, column") && told.contains("statement 1") && told.contains("`StringLik`"), "{told}");
        for (bad, why) in [
            ("", ""),
            ("{", "line 1"),
            ("null", ""),
            ("[]", ""),
            (r#"{"Version":"2012-10-17"}"#, "Statement"),
            (r#"{"Version":"2012-10-17","Statement":[]}"#, "Statement"),
            (r#"{"Version":"2013","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#, "2013"),
            (r#"{"Statement":{"Effect":"allow","Action":"*","Resource":"*"}}"#, "`allow`"),
            (r#"{"Statement":{"Effect":"Allow","Effect":"Deny","Action":"*","Resource":"*"}}"#, "twice"),
            (r#"{"Statement":{"Effect":"Allow","Action":"*"}}"#, "Resource"),
            (r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}}"#, "Principal"),
            (r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:${aws:username"}}"#, "not closed"),
        ] {
            let reply = server.send("PUT", path, &server.admin, &[], bad.as_bytes()).expect(400);
            assert!(reply.message().contains(why), "{bad}: {}", reply.message());
        }
        server.send("PUT", path, &server.admin, &[], b"\xff\xfe").expect(400);
        let long = format!("{}{}", everything(), " ".repeat(200_000));
        server.send("PUT", path, &server.admin, &[], long.as_bytes()).expect(400);
        let deep = format!("{}{}", r#"{"Statement":"#.to_owned() + &"[".repeat(100_000), "]".repeat(100_000));
        server.send("PUT", path, &server.admin, &[], deep.as_bytes()).expect(400);
    }
    server.admin("GET", "/api/v1/policies/P", b"").expect(404);
}

#[test]
fn a_document_inside_json_is_as_strict_as_one_alone() {
    let server = Server::start();
    // A member that stands twice is refused when the document is the body; the last one must not win elsewhere.
    let twice = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Effect":"Allow"}]}"#;
    let key = format!(r#"{{"user":"root-admin","kind":"api","policy":{twice}}}"#);
    let role = format!(
        r#"{{"name":"r","trustPolicy":{}}}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"sts:AssumeRole","Principal":"*","Effect":"Allow"}]}"#
    );
    let mut open = Open::default();
    open.expect("a key's policy", &server.admin("POST", "/api/v1/keys", key.as_bytes()), 400);
    open.expect("a trust policy", &server.admin("POST", "/api/v1/roles", role.as_bytes()), 400);
    open.end();
}

#[test]
fn a_name_may_be_long_or_odd_and_is_one_whatever_its_case() {
    let server = Server::start();
    let long = "x".repeat(64);
    for name in [long.as_str(), "a=b,c.d@e_f-g", "...", "users", "0"] {
        make_user(&server, &json!({ "name": name, "password": PASSWORD }));
        admin(&server, "GET", &format!("/api/v1/users/{name}"), &Value::Null).expect(200);
        admin(&server, "PUT", &format!("/api/v1/users/{name}/policies/{name}"), &everything()).expect(204);
        admin(&server, "PUT", &format!("/api/v1/policies/{name}"), &everything()).expect(201);
        admin(&server, "POST", "/api/v1/users", &json!({ "name": name.to_uppercase() })).expect(409);
        assert_eq!(who(&server, &token(&server, name, PASSWORD)).json()["name"], name);
        who(&server, &key_of(&server, name)).expect(200);
    }
    admin(&server, "POST", "/api/v1/users", &json!({ "name": "x".repeat(65) })).expect(400);
    admin(&server, "PUT", &format!("/api/v1/policies/{}", "x".repeat(65)), &everything()).expect(400);
    let shown = admin(&server, "GET", &format!("/api/v1/users/{}", "X".repeat(64)), &Value::Null).expect(200).json();
    assert_eq!(shown["name"], json!(long));
    let endpoint = "E".repeat(63);
    server.put_model("h/m", &city(1, 100.0)).expect(201);
    server.put_endpoint(&endpoint, &json!([{ "model": "h/m" }]));
    let again = json!({ "name": endpoint.to_lowercase(), "stages": [{ "model": "h/m" }] });
    admin(&server, "POST", "/api/v1/endpoints", &again).expect(409);
    server.invoke(&endpoint.to_lowercase(), None, &server.admin, HOUSE).expect(200);
    server.invoke(&"e".repeat(64), None, &server.admin, HOUSE).expect(400);
}

#[test]
fn a_name_with_a_plus_is_found_however_the_address_spells_it() {
    let server = Server::start();
    make_user(&server, &json!({ "name": "ana+test@b.c" }));
    let mut open = Open::default();
    for path in ["ana+test@b.c", "ana%2Btest%40b.c", "ana%2btest@b.c", "%61na+test@b.c"] {
        open.expect(path, &admin(&server, "GET", &format!("/api/v1/users/{path}"), &Value::Null), 200);
    }
    open.end();
}

#[test]
fn every_list_comes_in_pages_by_key() {
    let server = Server::start();
    let null = Value::Null;
    server.put_model("m/a", &city(1, 100.0)).expect(201);
    let trust = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*" }] });
    for name in ["a", "b", "c", "d", "e"] {
        make_user(&server, &json!({ "name": name }));
        admin(&server, "POST", "/api/v1/groups", &json!({ "name": name })).expect(201);
        admin(&server, "POST", "/api/v1/roles", &json!({ "name": name, "trustPolicy": trust })).expect(201);
        admin(&server, "PUT", &format!("/api/v1/policies/{name}"), &everything()).expect(201);
        key_of(&server, name);
        server.put_endpoint(name, &json!([{ "model": "m/a" }]));
    }
    for (noun, key) in
        [("users", "name"), ("groups", "name"), ("roles", "name"), ("policies", "name"), ("keys", "id"), ("endpoints", "name")]
    {
        let path = format!("/api/v1/{noun}");
        let names = |list: &Value| -> Vec<String> {
            list[noun].as_array().unwrap().iter().map(|one| one[key].as_str().unwrap().to_owned()).collect()
        };
        let whole = admin(&server, "GET", &path, &null).expect(200).json();
        assert!(whole["next"].is_null(), "{noun}: {whole}");
        let whole = names(&whole);
        assert!(whole.len() >= 5 && whole.is_sorted(), "{noun}: {whole:?}");
        let (mut pages, mut after) = (Vec::new(), String::new());
        loop {
            let page = admin(&server, "GET", &format!("{path}?limit=2&after={after}"), &null).expect(200).json();
            let found = names(&page);
            assert!((1..=2).contains(&found.len()), "{noun}: {page}");
            pages.extend(found);
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(pages, whole, "{noun}");
        for bad in ["limit=0", "limit=1001", "limit=x", "page=2"] {
            admin(&server, "GET", &format!("{path}?{bad}"), &null).expect(400);
        }
    }
    let listed = admin(&server, "GET", "/api/v1/policies?limit=1", &null).json();
    assert!(listed["policies"][0].get("document").is_none(), "{listed}");
    assert_eq!(admin(&server, "GET", "/api/v1/policies/a", &null).json()["document"], everything());
}
