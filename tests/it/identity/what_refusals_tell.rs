//! What refusals tell.

use super::*;

#[test]
fn whoever_may_nothing_cannot_tell_what_exists() {
    let server = Server::start();
    housing(&server);
    server.put_endpoint("fixed", &json!([{ "model": "h/a/m.json" }]));
    make_user(&server, &json!({ "name": "real", "permissionsBoundary": null }));
    admin(&server, "PUT", "/api/v1/policies/real", &everything()).expect(201);
    make_user(&server, &json!({ "name": "fenced", "permissionsBoundary": "real" }));
    for group in ["real", "crew"] {
        admin(&server, "POST", "/api/v1/groups", &json!({ "name": group })).expect(201);
    }
    let (key_id, _) = make_key(&server, &json!({ "user": "real", "kind": "api" }));
    make_user(&server, &json!({ "name": "nobody" }));
    let nobody = key_of(&server, "nobody");
    let doc = everything().to_string();
    let trust = policy(vec![json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*" })]);
    admin(&server, "POST", "/api/v1/roles", &json!({ "name": "duty", "trustPolicy": trust })).expect(201);
    let trust = json!({ "trustPolicy": trust }).to_string();
    let mut differ = Open::default();
    // `{}` is what exists or does not, in path and body.
    for (method, path, body, names) in [
        ("POST", "/endpoints/{}/invocations", HOUSE, &["Housing", "fixed", "unreal"][..]),
        ("GET", "/api/v1/endpoints/{}", "", &["Housing", "unreal"]),
        ("DELETE", "/api/v1/endpoints/{}", "", &["Housing", "unreal"]),
        ("POST", "/api/v1/endpoints", r#"{"name":"{}","stages":[{"prefix":"h/"}]}"#, &["Housing", "unreal"]),
        ("POST", "/api/v1/endpoints", r#"{"name":"new","stages":[{"model":"{}"}]}"#, &["h/a/m.json", "h/unreal"]),
        ("GET", "/api/v1/models/{}", "", &["h/a/m.json", "h/unreal"]),
        ("PUT", "/api/v1/models/{}", "x", &["h/a/m.json", "h/unreal"]),
        ("DELETE", "/api/v1/models/{}", "", &["h/a/m.json", "h/unreal"]),
        ("GET", "/api/v1/versions/{}", "", &["h/a/m.json", "h/unreal"]),
        ("POST", "/api/v1/rollback/{}", "", &["h/a/m.json", "h/unreal"]),
        ("PUT", "/api/v1/cache/pins/{}", "", &["h/a/m.json", "h/unreal"]),
        ("DELETE", "/api/v1/cache/pins/{}", "", &["h/a/m.json", "h/unreal"]),
        ("POST", "/api/v1/cache/load/{}", "", &["h/a/m.json", "h/unreal"]),
        ("GET", "/api/v1/users/{}", "", &["real", "fenced", "unreal"]),
        ("DELETE", "/api/v1/users/{}", "", &["real", "fenced", "unreal"]),
        ("PATCH", "/api/v1/users/{}", r#"{"disabled":true}"#, &["real", "fenced", "unreal"]),
        ("POST", "/api/v1/users", r#"{"name":"{}"}"#, &["real", "unreal"]),
        ("POST", "/api/v1/users", r#"{"name":"new","permissionsBoundary":"{}"}"#, &["real", "unreal"]),
        ("PUT", "/api/v1/users/{}/policies/p", &doc, &["real", "fenced", "unreal"]),
        ("GET", "/api/v1/users/{}/policies/p", "", &["real", "fenced", "unreal"]),
        ("PATCH", "/api/v1/roles/{}", r#"{"tags":{"a":"b"}}"#, &["duty", "unreal"]),
        ("PATCH", "/api/v1/roles/{}", &trust, &["duty", "unreal"]),
        ("GET", "/api/v1/roles/{}/policies/p", "", &["duty", "unreal"]),
        ("PUT", "/api/v1/groups/{}/members/real", "", &["real", "unreal"]),
        ("PUT", "/api/v1/groups/crew/members/{}", "", &["real", "unreal"]),
        ("GET", "/api/v1/policies/{}", "", &["real", "unreal"]),
        ("PUT", "/api/v1/policies/{}", &doc, &["real", "unreal"]),
        ("DELETE", "/api/v1/policies/{}", "", &["real", "unreal"]),
        ("POST", "/api/v1/policies/{}/attachments", r#"{"user":"nobody"}"#, &["real", "unreal"]),
        ("POST", "/api/v1/policies/real/attachments", r#"{"user":"{}"}"#, &["real", "unreal"]),
        ("POST", "/api/v1/keys", r#"{"user":"{}","kind":"api"}"#, &["real", "unreal"]),
        ("GET", "/api/v1/keys?user={}", "", &["real", "unreal"]),
        ("GET", "/api/v1/keys/{}", "", &[&key_id, "0000000000000000"]),
        ("PATCH", "/api/v1/keys/{}", r#"{"disabled":true}"#, &[&key_id, "0000000000000000"]),
        ("DELETE", "/api/v1/keys/{}", "", &[&key_id, "0000000000000000"]),
        ("POST", "/api/v1/simulate", r#"{"principal":"{}","action":"s3:GetObject"}"#, &["real", "unreal"]),
    ] {
        let told = |name: &str| {
            let reply = server.send(method, &path.replace("{}", name), &nobody, &[], body.replace("{}", name).as_bytes());
            let lower = name.to_lowercase();
            (
                reply.status,
                reply.message().replace(name, "NAME").replace(&lower, "NAME"),
                reply.header("x-amzn-errortype").map(str::to_owned),
            )
        };
        let all: Vec<_> = names.iter().map(|name| told(name)).collect();
        if all.iter().any(|one| *one != all[0]) || all[0].0 != 403 {
            differ.0.push(format!("{method} {path} {body}\n    {all:?}"));
        }
    }
    differ.end();
}

#[test]
fn what_the_server_asks_itself_is_no_denial_of_the_caller() {
    let server = Server::start();
    housing(&server);
    server.put_model("hidden/m", &city(1, 100.0)).expect(201);
    let own = [
        statement("Allow", ["s3:*", "sagemaker:*"].as_slice(), "*"),
        statement("Deny", "s3:ListBucket", "arn:aws:s3:::hidden"),
        statement("Deny", ["sagemaker:DeleteEndpoint", "sagemaker:DescribeEndpoint"].as_slice(), "*"),
    ];
    let maker = server.put_user("maker", &policy(own.to_vec()));
    let denied = || {
        let text = server.admin("GET", "/metrics", b"").expect(200).text();
        let line = text.lines().find(|line| line.starts_with("rookery_principal_errors_total") && line.contains("user/maker")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()
    };
    let listed = server.send("GET", "/api/v1/models", &maker, &[], b"").expect(200).text();
    assert!(listed.contains("h/a/m.json") && !listed.contains("hidden"), "{listed}");
    call(&server, &maker, "POST", "/api/v1/endpoints", &json!({ "name": "own", "stages": [{ "model": "h/a/m.json" }] })).expect(201);
    assert_eq!(denied(), 0);
    // Refused for the endpoint, whose name is left out.
    server.send("DELETE", "/api/v1/models/h/a/m.json", &maker, &[], b"").expect(409);
    assert_eq!(denied(), 0);
    server.send("DELETE", "/api/v1/endpoints/own", &maker, &[], b"").expect(403);
    assert_eq!(denied(), 1);
}

#[test]
fn a_refusal_names_nothing_the_caller_may_not_see() {
    let server = Server::start();
    housing(&server);
    server.put_endpoint("hidden", &json!([{ "model": "h/a/m.json" }]));
    admin(&server, "PUT", "/api/v1/policies/Used", &everything()).expect(201);
    make_user(&server, &json!({ "name": "secretive" }));
    admin(&server, "POST", "/api/v1/policies/Used/attachments", &json!({ "user": "secretive" })).expect(204);
    let mut told = Vec::new();
    let cleaner = server.put_user("cleaner", &policy(vec![statement("Allow", ["s3:DeleteObject", "iam:DeletePolicy"].as_slice(), "*")]));
    let reply = server.send("DELETE", "/api/v1/models/h/a/m.json", &cleaner, &[], b"").expect(409);
    told.extend(reply.message().contains("hidden").then(|| reply.message()));
    let reply = server.send("DELETE", "/api/v1/policies/Used", &cleaner, &[], b"").expect(409);
    told.extend(reply.message().contains("secretive").then(|| reply.message()));
    let version = server.admin("GET", "/api/v1/models/h/a/m.json", b"").json()["version"].as_str().unwrap().to_owned();
    let writer = server.put_user("writer", &policy(vec![statement("Allow", "s3:PutObject", "*")]));
    let reply = server.send("PUT", "/api/v1/models/h/a/m.json", &writer, &[("if-none-match", "*")], &city(1, 100.0)).expect(412);
    told.extend(reply.message().contains(&version).then(|| reply.message()));
    assert!(told.is_empty(), "{told:#?}");
}

#[test]
fn a_denial_names_the_deciding_statement_to_those_who_may_simulate() {
    let server = Server::start();
    let mut deny = statement("Deny", "s3:*", "*");
    deny["Sid"] = json!("NoModels");
    let statements = vec![statement("Allow", "*", "*"), deny];
    let mut blind = statements.clone();
    blind.push(statement("Deny", "iam:SimulatePrincipalPolicy", "*"));
    let (sees, blind) = (server.put_user("sees", &policy(statements)), server.put_user("blind", &policy(blind)));
    let sees = server.send("GET", "/api/v1/models/h/m", &sees, &[], b"").expect(403).message();
    assert!(sees.contains("statement 2 of user/sees/own, Sid NoModels"), "{sees}");
    let blind = server.send("GET", "/api/v1/models/h/m", &blind, &[], b"").expect(403).message();
    assert!(!blind.contains("statement") && blind.contains("user/blind is not authorized to perform: s3:GetObject"), "{blind}");
}
