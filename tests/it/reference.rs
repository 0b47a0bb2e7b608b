//! The description of the API: every route is in it, and what it says of answers is what a server answers.
//!
//! Next: `goldens.rs`, which says who may call the routes.

use std::collections::{BTreeMap, BTreeSet};

use rookery::http::routes::{Access, TABLE};
use serde_json::{Value, json};

use crate::support::{ADMIN_PASSWORD, HOUSE, Server, city, may_invoke};

fn document(server: &Server) -> Value {
    let reply = server.send("GET", "/api/v1/openapi.json", "", &[], b"").expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    reply.json()
}

/// A pattern of the route table as OpenAPI writes it.
fn plain(pattern: &str) -> String {
    pattern.replace(":users|groups|roles", "").replace(":.+", "")
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let server = Server::start();
    let document = document(&server);
    let routes: BTreeMap<(String, String), Access> =
        TABLE.iter().map(|line| ((plain(line.path), line.method.to_owned()), line.access)).collect();
    let mut described = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let route = (path.clone(), method.clone());
            let summary = operation["summary"].as_str().unwrap();
            assert!(summary.len() > 10 && summary.ends_with('.'), "{route:?}: {summary}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{route:?} has another's id");
            assert!(operation["responses"].as_object().unwrap().keys().any(|status| status.starts_with(['2', '3'])), "{route:?}");
            let open = operation["security"].as_array().unwrap().is_empty();
            assert_eq!(open, routes.get(&route) == Some(&Access::Open), "{route:?}");
            // Each part of the path is a parameter, and no other is in it.
            let named: Vec<String> = path.split('{').skip(1).map(|part| part.split('}').next().unwrap().to_owned()).collect();
            let parameters = operation["parameters"].as_array().unwrap().iter().filter(|one| one["in"] == "path");
            assert_eq!(parameters.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), named, "{route:?}");
            described.insert(route);
        }
    }
    assert_eq!(described, routes.into_keys().collect());
    // Every name that is pointed at is there.
    let text = document.to_string();
    for name in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document["components"]["schemas"][name].is_object(), "no shape {name}");
    }
}

/// What of `value` is not as `schema` says; empty when all is.
fn wrong(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return wrong(document, &document["components"]["schemas"][name], value, place);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let all: Vec<Vec<String>> = any.iter().map(|one| wrong(document, one, value, place)).collect();
        return if all.iter().any(Vec::is_empty) { Vec::new() } else { all.concat() };
    }
    let is = match schema["type"].as_str() {
        None => true,
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(other) => panic!("{place}: type {other}"),
    };
    if !is || schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return vec![format!("{place} is {value}, not {schema}")];
    }
    let mut found = Vec::new();
    for (at, item) in value.as_array().into_iter().flatten().enumerate().filter(|_| schema["items"].is_object()) {
        found.extend(wrong(document, &schema["items"], item, &format!("{place}[{at}]")));
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => found.push(format!("{place} is not told of")),
            (Value::Null, Value::Null) => {}
            (Value::Null, other) | (other, _) => found.extend(wrong(document, other, member, &place)),
        }
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    found.extend(required.filter(|name| value.get(name).is_none()).map(|name| format!("{place}.{name} is missing")));
    found
}

#[test]
fn what_is_sent_and_answered_has_the_shapes_that_are_told() {
    let server = Server::start();
    let document = document(&server);
    let model = city(1, 100.0);
    let policy = may_invoke(&["a"]);
    let trust = json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*" } });
    let noun = "/api/v1/{noun}";
    let named = "/api/v1/{noun}/{name}";
    let inline = "/api/v1/{noun}/{name}/policies/{policy}";
    let mut told = BTreeSet::new();
    let mut call = |method: &str, pattern: &str, path: &str, body: Value, status: u16| -> Value {
        let bytes = match &body {
            Value::Null => Vec::new(),
            Value::String(text) if text == "MODEL" => model.clone(),
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        let headers: &[(&str, &str)] =
            if path.starts_with("/endpoints/") { &[("content-type", "text/csv"), ("x-amzn-sagemaker-target-model", "b")] } else { &[] };
        let reply = server.send(method, path, &server.admin, headers, &bytes).expect(status);
        let operation = &document["paths"][pattern][method.to_lowercase()];
        let sent = &operation["requestBody"]["content"]["application/json"]["schema"];
        if sent.is_object() && !body.is_null() {
            assert_eq!(wrong(&document, sent, &body, "body"), Vec::<String>::new(), "{method} {path}");
        }
        let answer = &operation["responses"][if status < 400 { status.to_string() } else { "default".to_owned() }];
        assert!(answer.is_object(), "{method} {pattern} does not tell of {status}");
        let kind = reply.header("content-type").unwrap_or_default().split(';').next().unwrap().to_owned();
        if reply.body.is_empty() {
            assert!(answer["content"].is_null(), "{method} {pattern} {status} is told to have a body");
            return Value::Null;
        }
        assert!(answer["content"][&kind].is_object(), "{method} {pattern} does not tell of {kind}");
        told.insert((pattern.to_owned(), method.to_lowercase()));
        let schema = &answer["content"][&kind]["schema"];
        if schema.is_object() {
            let found = wrong(&document, schema, &reply.json(), "answer");
            assert!(found.is_empty(), "{method} {path}: {found:#?}\n{}", reply.text());
        }
        if kind == "application/json" { reply.json() } else { Value::Null }
    };
    let null = || Value::Null;
    call("GET", "/healthz", "/healthz", null(), 200);
    call("GET", "/readyz", "/readyz", null(), 200);
    call("GET", "/metrics", "/metrics", null(), 200);
    call("GET", "/docs", "/docs", null(), 200);
    call("GET", "/api/v1/openapi.json", "/api/v1/openapi.json", null(), 200);
    call("GET", "/api/v1/whoami", "/api/v1/whoami", null(), 200);
    call("PUT", "/api/v1/models/{path}", "/api/v1/models/a/b", json!("MODEL"), 201);
    call("PUT", "/api/v1/models/{path}", "/api/v1/models/a/b", json!("MODEL"), 200);
    call("PUT", "/api/v1/models/{path}", "/api/v1/models/a/bad", json!("no model"), 400);
    call("GET", "/api/v1/models/{path}", "/api/v1/models/a/b", null(), 200);
    call("GET", "/api/v1/models", "/api/v1/models?limit=1", null(), 200);
    let versions = call("GET", "/api/v1/versions/{path}", "/api/v1/versions/a/b", null(), 200);
    let version = versions["versions"][0]["version"].clone();
    call("POST", "/api/v1/rollback/{path}", "/api/v1/rollback/a/b", json!({ "version": version }), 200);
    let stages = json!([{ "prefix": "a/", "modelCacheSetting": "Enabled", "output": ["score"], "environment": { "A": "b" } },
        { "postprocess": { "clip": [0.0, 1e9], "round": 1 } }]);
    call("POST", "/api/v1/endpoints", "/api/v1/endpoints", json!({ "name": "one", "stages": stages }), 201);
    let variants = json!([{ "name": "blue", "weight": 2.0, "stages": stages }]);
    call("POST", "/api/v1/endpoints", "/api/v1/endpoints", json!({ "name": "two", "variants": variants }), 201);
    call("GET", "/api/v1/endpoints", "/api/v1/endpoints", null(), 200);
    call("GET", "/api/v1/endpoints/{name}", "/api/v1/endpoints/two", null(), 200);
    call("POST", "/endpoints/{endpoint}/invocations", "/endpoints/one/invocations", json!(HOUSE), 200);
    call("POST", "/endpoints/{endpoint}/invocations", "/endpoints/none/invocations", json!(HOUSE), 400);
    call("PUT", "/api/v1/cache/pins/{path}", "/api/v1/cache/pins/a/b", null(), 204);
    call("POST", "/api/v1/cache/load/{path}", "/api/v1/cache/load/a/b", null(), 200);
    call("GET", "/api/v1/cache", "/api/v1/cache", null(), 200);
    call("DELETE", "/api/v1/cache/pins/{path}", "/api/v1/cache/pins/a/b", null(), 204);
    call("PUT", "/api/v1/policies/{name}", "/api/v1/policies/P", policy.clone(), 201);
    call("PUT", "/api/v1/policies/{name}", "/api/v1/policies/P", policy.clone(), 204);
    call("GET", "/api/v1/policies/{name}", "/api/v1/policies/P", null(), 200);
    call("GET", "/api/v1/policies", "/api/v1/policies", null(), 200);
    call("POST", noun, "/api/v1/users", json!({ "name": "ana", "password": ADMIN_PASSWORD, "tags": { "team": "red" } }), 201);
    call("POST", noun, "/api/v1/groups", json!({ "name": "crew" }), 201);
    call("POST", noun, "/api/v1/roles", json!({ "name": "duty", "trustPolicy": trust, "permissionsBoundary": "P" }), 201);
    call("POST", noun, "/api/v1/users", json!({ "name": "ana" }), 409);
    call("PUT", "/api/v1/groups/{name}/members/{user}", "/api/v1/groups/crew/members/ana", null(), 204);
    for (nouns, name, holder) in [("users", "ana", "user"), ("groups", "crew", "group"), ("roles", "duty", "role")] {
        call("PUT", inline, &format!("/api/v1/{nouns}/{name}/policies/own"), policy.clone(), 204);
        call("GET", inline, &format!("/api/v1/{nouns}/{name}/policies/own"), null(), 200);
        let attachments = "/api/v1/policies/{name}/attachments";
        call("POST", attachments, "/api/v1/policies/P/attachments", json!({ holder: name }), 204);
        call("GET", noun, &format!("/api/v1/{nouns}"), null(), 200);
        call("GET", named, &format!("/api/v1/{nouns}/{name}"), null(), 200);
        call("DELETE", attachments, "/api/v1/policies/P/attachments", json!({ holder: name }), 204);
        call("DELETE", inline, &format!("/api/v1/{nouns}/{name}/policies/own"), null(), 204);
    }
    for patch in [json!({ "password": null }), json!({ "disabled": false }), json!({ "tags": {} }), json!({ "permissionsBoundary": null })]
    {
        call("PATCH", named, "/api/v1/users/ana", patch, 204);
    }
    call("PATCH", named, "/api/v1/roles/duty", json!({ "trustPolicy": trust }), 204);
    for kind in ["api", "aws"] {
        let body = json!({ "user": "ana", "kind": kind, "policy": policy, "expiresAt": 9_999_999_999_i64 });
        let made = call("POST", "/api/v1/keys", "/api/v1/keys", body, 201);
        let id = made["KeyId"].as_str().or(made["AccessKeyId"].as_str()).unwrap();
        call("GET", "/api/v1/keys/{id}", &format!("/api/v1/keys/{id}"), null(), 200);
        call("PATCH", "/api/v1/keys/{id}", &format!("/api/v1/keys/{id}"), json!({ "disabled": true }), 204);
        call("GET", "/api/v1/keys", "/api/v1/keys?user=ana", null(), 200);
        call("DELETE", "/api/v1/keys/{id}", &format!("/api/v1/keys/{id}"), null(), 204);
    }
    for action in ["sagemaker:InvokeEndpoint", "s3:GetObject"] {
        let asked = json!({ "principal": "root-admin", "action": action, "context": { "sagemaker:TargetModel": ["a"] } });
        call("POST", "/api/v1/simulate", "/api/v1/simulate", asked, 200);
        let asked = json!({ "principal": "ana", "action": action, "resource": "*" });
        call("POST", "/api/v1/simulate", "/api/v1/simulate", asked, 200);
    }
    call("GET", "/api/v1/audit", "/api/v1/audit?limit=3", null(), 200);
    let body = json!({ "name": "root-admin", "password": ADMIN_PASSWORD });
    call("POST", "/api/v1/login", "/api/v1/login", body, 200);
    // Whatever answers in JSON was looked at.
    let answers = |operation: &Value| {
        operation["responses"]
            .as_object()
            .unwrap()
            .iter()
            .any(|(status, answer)| status.starts_with('2') && answer["content"]["application/json"].is_object())
    };
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(!answers(operation) || told.contains(&(path.clone(), method.clone())), "{method} {path} was not tried");
        }
    }
}

#[test]
fn the_page_to_read_tells_of_every_route_without_script() {
    let server = Server::start();
    let reply = server.send("GET", "/docs", "", &[], b"").expect(200);
    assert!(reply.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let page = reply.text();
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"), "it asks for something elsewhere");
    for line in TABLE {
        let told = format!("<code>{} {}</code>", line.method.to_uppercase(), plain(line.path));
        assert!(page.contains(&told), "{told} is not on the page");
    }
    let document = document(&server);
    for (name, _) in document["components"]["schemas"].as_object().unwrap() {
        assert!(page.contains(&format!("id=\"{name}\"")), "{name} is not on the page");
    }
}
