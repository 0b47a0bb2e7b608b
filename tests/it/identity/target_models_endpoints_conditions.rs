//! Target models, endpoints, conditions.

use super::*;

#[test]
fn near_misses_of_a_target_model_do_not_reach_another() {
    let server = Server::start();
    let b = housing(&server);
    // Whatever is spelled so that it matches `a/*` and means `b`.
    let ana = server.put_user("ana", &may_invoke(&["a/*", "c/?"]));
    let target = |value: &[u8]| {
        let mut headers = format!("authorization: Bearer {ana}\r\ncontent-type: text/csv\r\nX-AMZN-sagemaker-TARGET-model: ").into_bytes();
        headers.extend_from_slice(value);
        headers.extend_from_slice(b"\r\n");
        raw(&server.url, "POST /endpoints/housing/invocations", &headers, HOUSE.as_bytes())
    };
    let (status, text) = target(b"a/m.json");
    assert_eq!(status, 200, "{text}");
    // Space around a header's value is no part of it.
    assert_eq!(target(b"  a/m.json \t").0, 200);
    let mut open = Open::default();
    for (value, expected) in [
        (&b"b/m.json"[..], 403),
        (b"A/m.json", 403),
        (b"a/M.json", 400),
        (b"a%2Fm.json", 403),
        (b"a%2fm.json", 403),
        (b"%61/m.json", 403),
        (b"a/%6d.json", 400),
        (b"/a/m.json", 403),
        (b"./a/m.json", 403),
        (b"b/../a/m.json", 403),
        (b"a/../b/m.json", 400),
        (b"a/./../b/m.json", 400),
        (b"a/..", 400),
        (b"a//m.json", 400),
        (b"a/", 400),
        (b"a", 403),
        (b"a\\m.json", 403),
        (b"a/\\..\\b\\m.json", 400),
        (b"a/m.json/", 400),
        (b"a/m.json,b/m.json", 400),
        (b"a/m.json b/m.json", 400),
        (b"a/m.json?x", 400),
        (b"a/m.json#", 400),
        (b"a/*", 400),
        (b"*", 403),
        (b"c/*", 400),
        (b"", 403),
        (b"   ", 403),
        (b"a/\tm.json", 400),
        ("ａ/m.json".as_bytes(), 400),
        ("\u{430}/m.json".as_bytes(), 400),
        (b"a/\xe9", 400),
        (b"a/m.json\x7f", 400),
        (b"a/m.json\x00", 400),
    ] {
        let (status, text) = target(value);
        if status != expected || text.contains(&b) {
            open.0.push(format!("`{}`: {status} instead of {expected}: {text}", value.escape_ascii()));
        }
    }
    let mut long = b"a/".to_vec();
    long.resize(5000, b'x');
    assert_eq!(target(&long).0, 400);
    // Twice: one of them decides and is used, never one each.
    for pair in ["a/m.json\r\nx-amzn-sagemaker-target-model: b/m.json", "b/m.json\r\nx-amzn-sagemaker-target-model: a/m.json"] {
        let (_, text) = target(pair.as_bytes());
        if text.contains(&b) {
            open.0.push(format!("{pair}: {text}"));
        }
    }
    // Absent.
    assert_eq!(server.invoke("housing", None, &ana, HOUSE).status, 403);
    open.end();
}

#[test]
fn endpoint_names_compare_without_case_in_both_directions() {
    let server = Server::start();
    housing(&server);
    server.put_endpoint("plain", &json!([{ "prefix": "h/" }]));
    let endpoint = |name: &str| format!("arn:aws:sagemaker:us-east-1:000000000000:endpoint/{name}");
    let ana = server.put_user(
        "ana",
        &policy(vec![
            statement("Allow", INVOKE, json!([endpoint("HOUSING"), endpoint("pl*")])),
            statement("Deny", INVOKE, endpoint("PLAIN")),
        ]),
    );
    for name in ["Housing", "housing", "HOUSING", "hous%69ng"] {
        server.invoke(name, Some("a/m.json"), &ana, HOUSE).expect(200);
    }
    for name in ["plain", "Plain", "PLAIN", "pl%61in"] {
        server.invoke(name, Some("a/m.json"), &ana, HOUSE).expect(403);
    }
    for name in ["housing%20", "housing%2F", "hous%00ing", "%68%6F", "ho*", "h%C3%B6"] {
        let status = server.invoke(name, Some("a/m.json"), &ana, HOUSE).status;
        assert!(matches!(status, 400 | 403 | 404), "{name}: {status}");
    }
    // In a model's path it counts.
    let reader = server.put_user("reader", &policy(vec![statement("Allow", "s3:GetObject", "arn:aws:s3:::H/*")]));
    server.send("GET", "/api/v1/models/h/a/m.json", &reader, &[], b"").expect(403);
}

#[test]
fn conditions_are_asked_of_each_request() {
    let server = Server::start();
    for name in ["ana", "bob", "red", "blue"] {
        server.put_model(&format!("h/{name}/m.json"), &city(1, 100.0)).expect(201);
    }
    server.put_endpoint("h", &json!([{ "prefix": "h/" }]));
    let mut count = 0;
    let mut with = |condition: Value| {
        count += 1;
        let key = server.put_user(&format!("u{count}"), &policy(vec![when(statement("Allow", INVOKE, ANY_ENDPOINT), condition)]));
        server.invoke("h", Some("ana/m.json"), &key, HOUSE).status
    };
    for (condition, expected) in [
        (json!({ "IpAddress": { "aws:SourceIp": "127.0.0.0/8" } }), 200),
        (json!({ "IpAddress": { "aws:SourceIp": ["10.0.0.0/8", "127.0.0.1"] } }), 200),
        (json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }), 403),
        (json!({ "NotIpAddress": { "aws:SourceIp": "127.0.0.1/32" } }), 403),
        (
            json!({ "DateGreaterThan": { "aws:CurrentTime": "2020-01-01T00:00Z" }, "DateLessThan": { "aws:CurrentTime": "2199-01-01" } }),
            200,
        ),
        (json!({ "DateLessThan": { "aws:CurrentTime": "2020-01-01T00:00:00Z" } }), 403),
        (json!({ "NumericGreaterThan": { "aws:EpochTime": "1600000000" } }), 200),
        (json!({ "NumericLessThan": { "aws:EpochTime": "1600000000" } }), 403),
        (json!({ "Bool": { "aws:SecureTransport": "true" } }), 403),
        (json!({ "Bool": { "aws:SecureTransport": "false" } }), 200),
        (json!({ "Null": { "aws:TokenIssueTime": "true" } }), 200),
        (json!({ "Null": { "aws:TokenIssueTime": "false" } }), 403),
        (json!({ "StringEquals": { "aws:RequestedRegion": "us-east-1" } }), 200),
        (json!({ "StringEquals": { "aws:username": "u14" } }), 200),
        (json!({ "StringEquals": { "aws:username": "U15" } }), 403),
        (json!({ "ArnLike": { "aws:PrincipalArn": "arn:aws:iam::*:user/u16" } }), 200),
        (json!({ "StringLike": { "sagemaker:TargetModel": "bob/*" }, "Bool": { "aws:SecureTransport": "false" } }), 403),
        (json!({ "StringLike": { "aws:PrincipalTag/team": "*" } }), 403),
        (json!({ "StringLikeIfExists": { "aws:PrincipalTag/team": "x" } }), 200),
    ] {
        assert_eq!(with(condition.clone()), expected, "{condition}");
    }
    // What a proxy would say is not believed.
    let key = server
        .put_user("far", &policy(vec![when(statement("Allow", INVOKE, "*"), json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }))]));
    for header in ["x-forwarded-for", "forwarded", "x-real-ip", "x-amz-source-ip", "aws:sourceip"] {
        let headers = [(header.replace(':', "-"), "10.0.0.1")];
        let headers =
            [(headers[0].0.as_str(), headers[0].1), ("content-type", "text/csv"), ("x-amzn-sagemaker-target-model", "ana/m.json")];
        server.send("POST", "/endpoints/h/invocations", &key, &headers, HOUSE.as_bytes()).expect(403);
    }
    // Variables: one policy, each their own.
    let own = policy(vec![
        when(statement("Allow", INVOKE, "*"), json!({ "StringLike": { "sagemaker:TargetModel": "${aws:username}/*" } })),
        when(statement("Allow", INVOKE, "*"), json!({ "StringLike": { "sagemaker:TargetModel": "${aws:PrincipalTag/Team}/*" } })),
    ]);
    admin(&server, "PUT", "/api/v1/policies/Own", &own).expect(201);
    for (name, tags, yes, no) in [
        ("ana", json!({ "team": "red" }), ["ana", "red"], ["bob", "blue"]),
        ("bob", json!({ "TEAM": "blue" }), ["bob", "blue"], ["ana", "red"]),
        ("wild", json!({ "team": "*" }), ["wild", "wild"], ["ana", "red"]),
        ("none", json!({}), ["none", "none"], ["ana", ""]),
    ] {
        make_user(&server, &json!({ "name": name, "tags": tags }));
        admin(&server, "POST", "/api/v1/policies/Own/attachments", &json!({ "user": name })).expect(204);
        let key = key_of(&server, name);
        for target in yes {
            // Their own, there or not.
            assert_ne!(server.invoke("h", Some(&format!("{target}/m.json")), &key, HOUSE).status, 403, "{name} {target}");
        }
        for target in no {
            server.invoke("h", Some(&format!("{target}/m.json")), &key, HOUSE).expect(403);
        }
    }
    // New tags count from the next request on.
    let bob = key_of(&server, "bob");
    admin(&server, "PATCH", "/api/v1/users/bob", &json!({ "tags": { "team": "red" } })).expect(204);
    server.invoke("h", Some("blue/m.json"), &bob, HOUSE).expect(403);
    server.invoke("h", Some("red/m.json"), &bob, HOUSE).expect(200);
}

#[test]
fn an_explicit_deny_wins_wherever_it_stands() {
    let server = Server::start();
    housing(&server);
    let deny_b = policy(vec![when(statement("Deny", INVOKE, "*"), json!({ "StringLike": { "sagemaker:TargetModel": "b/*" } }))]);
    let allow = policy(vec![statement("Allow", INVOKE, "*")]);
    let b = |key: &str| server.invoke("housing", Some("b/m.json"), key, HOUSE);
    let own = server.put_user("own", &allow);
    b(&own).expect(200);
    admin(&server, "PUT", "/api/v1/users/own/policies/deny", &deny_b).expect(204);
    assert!(b(&own).expect(403).message().contains("explicit deny"), "not told as an explicit deny");
    server.invoke("housing", Some("a/m.json"), &own, HOUSE).expect(200);
    let member = server.put_user("member", &allow);
    admin(&server, "POST", "/api/v1/groups", &json!({ "name": "g" })).expect(201);
    admin(&server, "PUT", "/api/v1/groups/g/policies/deny", &deny_b).expect(204);
    admin(&server, "PUT", "/api/v1/groups/g/members/member", &Value::Null).expect(204);
    b(&member).expect(403);
    admin(&server, "DELETE", "/api/v1/groups/g/members/member", &Value::Null).expect(204);
    b(&member).expect(200);
    let bounded = server.put_user("bounded", &allow);
    let boundary = json!([statement("Allow", "*", "*"), deny_b["Statement"][0].clone()]);
    admin(&server, "PUT", "/api/v1/policies/B", &policy(boundary.as_array().unwrap().clone())).expect(201);
    admin(&server, "PATCH", "/api/v1/users/bounded", &json!({ "permissionsBoundary": "B" })).expect(204);
    b(&bounded).expect(403);
    // Negated conditions: nothing named is not `a/*` either.
    let only_a = when(statement("Deny", INVOKE, "*"), json!({ "StringNotLike": { "sagemaker:TargetModel": "a/*" } }));
    let strict = server.put_user("strict", &policy(vec![statement("Allow", INVOKE, "*"), only_a]));
    server.invoke("housing", Some("a/m.json"), &strict, HOUSE).expect(200);
    b(&strict).expect(403);
    server.invoke("housing", None, &strict, HOUSE).expect(403);
}

#[test]
fn an_endpoint_is_no_way_around_what_its_maker_may_not_read() {
    let server = Server::start();
    for path in ["h/a/m", "h/secret/m", "hx/m", "other/m"] {
        server.put_model(path, &city(1, 100.0)).expect(201);
    }
    let maker = |name: &str, more: Vec<Value>| {
        let mut all = vec![statement("Allow", "sagemaker:*", "*")];
        all.extend(more);
        server.put_user(name, &policy(all))
    };
    let endpoint =
        |key: &str, name: &str, stages: Value| call(&server, key, "POST", "/api/v1/endpoints", &json!({ "name": name, "stages": stages }));
    let plain = maker("plain", vec![statement("Allow", "s3:GetObject", "arn:aws:s3:::h/a/*")]);
    let mut open = Open::default();
    for (at, stages) in [
        json!([{ "prefix": "h/" }]),
        json!([{ "prefix": "h/secret/" }]),
        json!([{ "prefix": "hx/" }]),
        json!([{ "model": "h/secret/m" }]),
        json!([{ "model": "h/a/m" }, { "model": "other/m" }]),
        json!([{ "prefix": "h/a/" }, { "model": "other/m" }]),
        // Told alike, there or not.
        json!([{ "model": "h/secret/none" }]),
    ]
    .into_iter()
    .enumerate()
    {
        open.expect(&stages.to_string(), &endpoint(&plain, &format!("e{at}"), stages.clone()), 403);
    }
    let variants = json!({ "name": "v", "variants": [
        { "name": "one", "stages": [{ "prefix": "h/a/" }] }, { "name": "two", "weight": 0, "stages": [{ "prefix": "other/" }] } ]});
    open.expect("a second variant", &call(&server, &plain, "POST", "/api/v1/endpoints", &variants), 403);
    endpoint(&plain, "mine", json!([{ "prefix": "h/a/" }])).expect(201);
    server.invoke("mine", Some("m"), &plain, HOUSE).expect(200);
    // The same target through an endpoint with a longer prefix is another model.
    server.put_endpoint("outer", &json!([{ "prefix": "h/" }]));
    server.put_endpoint("inner", &json!([{ "prefix": "h/secret/" }]));
    let by_target = server.put_user(
        "target",
        &policy(vec![when(
            statement("Allow", INVOKE, "arn:aws:sagemaker:*:*:endpoint/outer"),
            json!({ "StringLike": { "sagemaker:TargetModel": ["a/*", "m"] } }),
        )]),
    );
    server.invoke("outer", Some("a/m"), &by_target, HOUSE).expect(200);
    open.expect("secret through outer", &server.invoke("outer", Some("secret/m"), &by_target, HOUSE), 403);
    open.expect("secret through inner", &server.invoke("inner", Some("m"), &by_target, HOUSE), 403);
    // A deny below the prefix, an exception, a pattern of one character: none covers the whole prefix.
    for (name, statements) in [
        ("denied", vec![statement("Allow", "s3:GetObject", "arn:aws:s3:::h/*"), statement("Deny", "s3:*", "arn:aws:s3:::h/secret/*")]),
        ("except", vec![json!({ "Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::h/secret/*" })]),
        ("single", vec![statement("Allow", "s3:GetObject", "arn:aws:s3:::h/?")]),
        ("starred", vec![statement("Allow", "s3:GetObject", "arn:aws:s3:::h/${*}")]),
    ] {
        let key = maker(name, statements);
        call(&server, &key, "GET", "/api/v1/models/h/secret/m", &Value::Null).expect(403);
        if endpoint(&key, &format!("by-{name}"), json!([{ "prefix": "h/" }])).status == 201 {
            open.expect(
                &format!("{name}: a model one may not read"),
                &server.invoke(&format!("by-{name}"), Some("secret/m"), &key, HOUSE),
                403,
            );
        }
    }
    open.end();
}

#[test]
fn a_list_shows_no_collection_that_is_denied() {
    let server = Server::start();
    for path in ["open/m", "secret/m"] {
        server.put_model(path, &city(1, 100.0)).expect(201);
    }
    let list = |statement: Vec<Value>, name: &str, query: &str| {
        let key = server.put_user(name, &policy(statement));
        server.send("GET", &format!("/api/v1/models{query}"), &key, &[], b"")
    };
    let only = vec![statement("Allow", "s3:ListBucket", "arn:aws:s3:::open")];
    list(only.clone(), "a", "?prefix=open/").expect(200);
    list(only.clone(), "b", "").expect(403);
    list(only.clone(), "c", "?prefix=ope").expect(403);
    list(only, "d", "?prefix=secret/").expect(403);
    let but = vec![statement("Allow", "s3:ListBucket", "*"), statement("Deny", "s3:ListBucket", "arn:aws:s3:::secret")];
    list(but.clone(), "e", "?prefix=secret/").expect(403);
    for (name, query) in [("f", ""), ("g", "?prefix=sec"), ("h", "?prefix=&after=open/m")] {
        let reply = list(but.clone(), name, query);
        assert!(!reply.text().contains("secret/m"), "`{query}` shows a denied collection: {}", reply.text());
    }
    // Nor do the pages' ends, however the denied ones lie among the others.
    for path in ["open/n", "secret/a", "secret/z", "secret0/m", "secret-/m", "zoo/m"] {
        server.put_model(path, &city(2, 100.0)).expect(201);
    }
    let key = server.put_user("pages", &policy(but));
    for limit in 1..=4 {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let reply = server.send("GET", &format!("/api/v1/models?limit={limit}&after={after}"), &key, &[], b"").expect(200);
            assert!(!reply.text().contains("secret/"), "pages of {limit} show a denied collection: {}", reply.text());
            let page = reply.json();
            let models = page["models"].as_array().unwrap();
            assert!(models.len() <= limit);
            found.extend(models.iter().map(|model| model["path"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(models.len(), limit, "a page that is not the last is full");
            next.clone_into(&mut after);
        }
        assert_eq!(found, ["open/m", "open/n", "secret-/m", "secret0/m", "zoo/m"], "in pages of {limit}");
    }
}
