//! Keys.

use super::*;

#[test]
fn a_key_is_refused_when_it_is_wrong_disabled_expired_or_gone() {
    let server = Server::start();
    make_user(&server, &json!({ "name": "ana" }));
    let (id, key) = make_key(&server, &json!({ "user": "ana", "kind": "api" }));
    let (soon_id, soon) = make_key(&server, &json!({ "user": "ana", "kind": "api", "expiresAt": now() + 3600 }));
    who(&server, &key).expect(200);
    let secret = key.rsplit_once(&format!("{id}_")).unwrap().1.to_owned();
    let aws = admin(&server, "POST", "/api/v1/keys", &json!({ "user": "ana", "kind": "aws" })).expect(201).json();
    let (aws_id, aws_secret) = (aws["AccessKeyId"].as_str().unwrap(), aws["SecretAccessKey"].as_str().unwrap());
    let mut open = Open::default();
    for bad in [
        format!("rk_{id}_"),
        format!("rk_{id}"),
        "rk_".to_owned(),
        "rk__".to_owned(),
        format!("rk__{secret}"),
        format!("rk_{id}_{secret}A"),
        format!("rk_{id}_{}", &secret[1..]),
        format!("rk_{id}_{}", secret.to_lowercase()),
        format!("rk_{}_{secret}", id.to_uppercase()),
        format!("rk_0000000000000000_{secret}"),
        format!("RK_{id}_{secret}"),
        format!("{id}_{secret}"),
        format!("rk_{soon_id}_{secret}"),
        // An AWS key's secret is no bearer secret.
        format!("rk_{aws_id}_{aws_secret}"),
        format!("rk_{aws_id}_"),
    ] {
        open.expect(&bad, &who(&server, &bad), 401);
    }
    open.end();
    let change = |disabled: bool| admin(&server, "PATCH", &format!("/api/v1/keys/{id}"), &json!({ "disabled": disabled })).expect(204);
    change(true);
    who(&server, &key).expect(401);
    change(false);
    who(&server, &key).expect(200);
    admin(&server, "PATCH", "/api/v1/users/ana", &json!({ "disabled": true })).expect(204);
    who(&server, &key).expect(401);
    admin(&server, "PATCH", "/api/v1/users/ana", &json!({ "disabled": false })).expect(204);
    who(&server, &key).expect(200);
    admin(&server, "DELETE", &format!("/api/v1/keys/{id}"), &Value::Null).expect(204);
    who(&server, &key).expect(401);
    server.expire(&soon_id, &soon);
    // What was lost with its user does not come back with the name.
    let again = key_of(&server, "ana");
    admin(&server, "DELETE", "/api/v1/users/ana", &Value::Null).expect(204);
    make_user(&server, &json!({ "name": "ana" }));
    who(&server, &again).expect(401);
}

#[test]
fn a_keys_own_policy_narrows_and_never_widens() {
    let server = Server::start();
    housing(&server);
    make_user(&server, &json!({ "name": "ana" }));
    admin(&server, "PUT", "/api/v1/users/ana/policies/own", &may_invoke(&["a/*", "c/*"])).expect(204);
    let narrowed = |document: &Value| make_key(&server, &json!({ "user": "ana", "kind": "api", "policy": document })).1;
    let invoke = |key: &str, target: &str| server.invoke("Housing", Some(target), key, HOUSE).status;
    let wide = narrowed(&everything());
    assert_eq!((invoke(&wide, "a/m.json"), invoke(&wide, "b/m.json")), (200, 403));
    let less = narrowed(&may_invoke(&["a/*", "b/*"]));
    assert_eq!((invoke(&less, "a/m.json"), invoke(&less, "b/m.json"), invoke(&less, "c/m.json")), (200, 403, 403));
    let none = narrowed(&policy(vec![statement("Allow", "s3:GetObject", "*")]));
    assert_eq!(invoke(&none, "a/m.json"), 403);
    let denied = narrowed(&policy(vec![statement("Allow", "*", "*"), statement("Deny", INVOKE, "*")]));
    let refusal = server.invoke("Housing", Some("a/m.json"), &denied, HOUSE).expect(403);
    assert!(refusal.message().contains("explicit deny in a session or key policy"), "{}", refusal.message());
    // A narrowed administrator's key makes no key that is not.
    let narrow = json!({ "user": "root-admin", "kind": "api", "policy": policy(vec![statement("Allow", "iam:*", "*")]) });
    let key = make_key(&server, &narrow).1;
    call(&server, &key, "POST", "/api/v1/keys", &json!({ "user": "root-admin", "kind": "api" })).expect(403);
    call(&server, &key, "GET", "/api/v1/models", &Value::Null).expect(403);
}

#[test]
fn a_user_has_so_many_keys_and_their_policies_are_short() {
    let server = Server::start();
    make_user(&server, &json!({ "name": "ana" }));
    let long = policy(vec![statement("Allow", "sagemaker:*", vec!["arn:aws:sagemaker:*:*:endpoint/x"; 180])]);
    let new = |policy: Option<&Value>| admin(&server, "POST", "/api/v1/keys", &json!({ "user": "ana", "kind": "api", "policy": policy }));
    let refused = new(Some(&long)).expect(400).message();
    assert!(refused.contains("at most 6144 fit"), "{refused}");
    for _ in 0..100 {
        new(None).expect(201);
    }
    let refused = new(None).expect(409).message();
    assert!(refused.contains("user `ana` has 100 keys"), "{refused}");
    make_user(&server, &json!({ "name": "ben" }));
    admin(&server, "POST", "/api/v1/keys", &json!({ "user": "ben", "kind": "api" })).expect(201);
}

#[test]
fn two_credentials_in_one_request_are_refused() {
    let server = Server::start();
    make_user(&server, &json!({ "name": "ana", "password": PASSWORD }));
    let (key, token) = (key_of(&server, "ana"), token(&server, "ana", PASSWORD));
    let (key, token, root) = (format!("Bearer {key}"), format!("Bearer {token}"), format!("Bearer {}", server.admin));
    for pair in [[&key, &token], [&token, &key], [&key, &key], [&key, &root], [&root, &"Basic eDp5".to_owned()], [&root, &String::new()]] {
        let headers = [("authorization", pair[0].as_str()), ("Authorization", pair[1].as_str())];
        let reply = server.send("GET", "/api/v1/whoami", "", &headers, b"").expect(401);
        assert!(reply.message().contains("two credentials"), "{pair:?}: {}", reply.message());
    }
    let three = [("authorization", root.as_str()), ("authorization", ""), ("authorization", "")];
    server.send("GET", "/api/v1/whoami", "", &three, b"").expect(401);
    // Two in one header are one that is wrong.
    server.send("GET", "/api/v1/whoami", "", &[("authorization", &format!("{root}, {key}"))], b"").expect(401);
    // A console session and a header.
    let form = format!("name=ana&password={}", PASSWORD.replace(' ', "+"));
    let headers = [("origin", server.url.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let signed = server.send("POST", "/ui/sign-in", "", &headers, form.as_bytes()).expect(303);
    let cookie = signed.header("set-cookie").unwrap().split(';').next().unwrap();
    server.send("GET", "/ui/upload", "", &[("cookie", cookie)], b"").expect(200);
    server.send("GET", "/ui/upload", &server.admin, &[("cookie", cookie)], b"").expect(303);
    // Outside the console the cookie is nothing.
    server.send("GET", "/api/v1/whoami", "", &[("cookie", cookie)], b"").expect(401);
}
