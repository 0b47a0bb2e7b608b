//! Who may do what, held as two files: the routes open to anyone, and principals × requests → allowed or not.
//!
//! Both are made from the route table, so a new route fails here until someone says who may call it. `ROOKERY_BLESS=1`
//! writes the files anew; their diff is what a reviewer reads. Next: `identity/mod.rs`, which attacks what they promise.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use rookery::http::routes::{Access, TABLE};
use serde_json::json;

use crate::support::{HOUSE, Reply, Server, city, may_invoke};

/// A request that tries a route: the route's line in the table, what is sent, the body. `KEY` in a path stands for the id
/// of a key of `extra`; the body `MODEL` for a model's bytes.
type Row = (&'static str, &'static str, &'static str);

const USER: &str = r#"{"name":"made"}"#;
const DOCUMENT: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;
const TO_USER: &str = r#"{"user":"extra"}"#;
const TRUST: &str =
    r#"{"name":"made","trustPolicy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*"}]}}"#;
const TO_TRUST: &str =
    r#"{"trustPolicy":{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"sts:AssumeRole","Principal":"*"}]}}"#;

/// Every route with a credential, some with several resources where policies tell them apart. Deletions come last.
const ROWS: &[Row] = &[
    ("POST /endpoints/{endpoint}/invocations", "/endpoints/team-multi/invocations?target=a/m.json", HOUSE),
    ("POST /endpoints/{endpoint}/invocations", "/endpoints/team-multi/invocations?target=b/m.json", HOUSE),
    ("POST /endpoints/{endpoint}/invocations", "/endpoints/team-multi/invocations", HOUSE),
    ("POST /endpoints/{endpoint}/invocations", "/endpoints/none/invocations?target=a/m.json", HOUSE),
    ("GET /metrics", "/metrics", ""),
    ("POST /api/v1/logout", "/api/v1/logout", ""),
    ("GET /api/v1/whoami", "/api/v1/whoami", ""),
    ("GET /api/v1/models", "/api/v1/models", ""),
    ("GET /api/v1/models", "/api/v1/models?prefix=team/", ""),
    ("GET /api/v1/models", "/api/v1/models?prefix=other/", ""),
    ("PUT /api/v1/models/{path:.+}", "/api/v1/models/team/new.json", "MODEL"),
    ("PUT /api/v1/models/{path:.+}", "/api/v1/models/other/new.json", "MODEL"),
    ("GET /api/v1/models/{path:.+}", "/api/v1/models/team/a/m.json", ""),
    ("GET /api/v1/models/{path:.+}", "/api/v1/models/other/m.json", ""),
    ("GET /api/v1/versions/{path:.+}", "/api/v1/versions/team/a/m.json", ""),
    ("GET /api/v1/versions/{path:.+}", "/api/v1/versions/other/m.json", ""),
    ("POST /api/v1/rollback/{path:.+}", "/api/v1/rollback/team/new.json", ""),
    ("POST /api/v1/rollback/{path:.+}", "/api/v1/rollback/other/new.json", ""),
    ("POST /api/v1/endpoints", "/api/v1/endpoints", r#"{"name":"team-new","stages":[{"prefix":"team/"}]}"#),
    ("POST /api/v1/endpoints", "/api/v1/endpoints", r#"{"name":"team-spy","stages":[{"prefix":"other/"}]}"#),
    ("POST /api/v1/endpoints", "/api/v1/endpoints", r#"{"name":"foreign","stages":[{"prefix":"team/"}]}"#),
    ("GET /api/v1/endpoints", "/api/v1/endpoints", ""),
    ("GET /api/v1/endpoints/{name}", "/api/v1/endpoints/team-multi", ""),
    ("GET /api/v1/endpoints/{name}", "/api/v1/endpoints/foreign", ""),
    ("PUT /api/v1/policies/{name}", "/api/v1/policies/Spare", DOCUMENT),
    ("PUT /api/v1/policies/{name}", "/api/v1/policies/Fresh", DOCUMENT),
    ("GET /api/v1/policies", "/api/v1/policies", ""),
    ("GET /api/v1/policies/{name}", "/api/v1/policies/Spare", ""),
    ("POST /api/v1/policies/{name}/attachments", "/api/v1/policies/Spare/attachments", TO_USER),
    ("DELETE /api/v1/policies/{name}/attachments", "/api/v1/policies/Spare/attachments", TO_USER),
    ("POST /api/v1/keys", "/api/v1/keys", r#"{"user":"extra","kind":"api"}"#),
    ("GET /api/v1/keys", "/api/v1/keys", ""),
    ("GET /api/v1/keys", "/api/v1/keys?user=extra", ""),
    ("GET /api/v1/keys/{id}", "/api/v1/keys/KEY", ""),
    ("PATCH /api/v1/keys/{id}", "/api/v1/keys/KEY", r#"{"disabled":true}"#),
    ("POST /api/v1/simulate", "/api/v1/simulate", r#"{"principal":"extra","action":"s3:GetObject"}"#),
    ("GET /api/v1/cache", "/api/v1/cache", ""),
    ("PUT /api/v1/cache/pins/{path:.+}", "/api/v1/cache/pins/team/a/m.json", ""),
    ("DELETE /api/v1/cache/pins/{path:.+}", "/api/v1/cache/pins/team/a/m.json", ""),
    ("POST /api/v1/cache/load/{path:.+}", "/api/v1/cache/load/team/a/m.json", ""),
    ("GET /api/v1/audit", "/api/v1/audit", ""),
    ("PUT /api/v1/groups/{name}/members/{user}", "/api/v1/groups/crew/members/extra", ""),
    ("DELETE /api/v1/groups/{name}/members/{user}", "/api/v1/groups/crew/members/extra", ""),
    ("POST /api/v1/{noun:users|groups|roles}", "/api/v1/users", USER),
    ("POST /api/v1/{noun:users|groups|roles}", "/api/v1/users", r#"{"name":"made","admin":true}"#),
    ("POST /api/v1/{noun:users|groups|roles}", "/api/v1/users", r#"{"name":"made","password":"a new long one"}"#),
    ("POST /api/v1/{noun:users|groups|roles}", "/api/v1/groups", USER),
    ("POST /api/v1/{noun:users|groups|roles}", "/api/v1/roles", TRUST),
    ("GET /api/v1/{noun:users|groups|roles}", "/api/v1/users", ""),
    ("GET /api/v1/{noun:users|groups|roles}", "/api/v1/groups", ""),
    ("GET /api/v1/{noun:users|groups|roles}", "/api/v1/roles", ""),
    ("GET /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/users/extra", ""),
    ("GET /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/groups/crew", ""),
    ("GET /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/roles/duty", ""),
    ("PATCH /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/users/extra", r#"{"password":"a new long one"}"#),
    ("PATCH /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/users/extra", r#"{"disabled":false}"#),
    ("PATCH /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/users/extra", r#"{"tags":{"team":"red"}}"#),
    ("PATCH /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/users/extra", r#"{"permissionsBoundary":"Spare"}"#),
    ("PATCH /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/users/extra", r#"{"permissionsBoundary":null}"#),
    ("PATCH /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/roles/duty", r#"{"tags":{}}"#),
    ("PATCH /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/roles/duty", TO_TRUST),
    ("PUT /api/v1/{noun:users|groups|roles}/{name}/policies/{policy}", "/api/v1/users/extra/policies/p", DOCUMENT),
    ("PUT /api/v1/{noun:users|groups|roles}/{name}/policies/{policy}", "/api/v1/groups/crew/policies/p", DOCUMENT),
    ("PUT /api/v1/{noun:users|groups|roles}/{name}/policies/{policy}", "/api/v1/roles/duty/policies/p", DOCUMENT),
    ("GET /api/v1/{noun:users|groups|roles}/{name}/policies/{policy}", "/api/v1/users/extra/policies/p", ""),
    ("GET /api/v1/{noun:users|groups|roles}/{name}/policies/{policy}", "/api/v1/groups/crew/policies/p", ""),
    ("GET /api/v1/{noun:users|groups|roles}/{name}/policies/{policy}", "/api/v1/roles/duty/policies/p", ""),
    ("DELETE /api/v1/{noun:users|groups|roles}/{name}/policies/{policy}", "/api/v1/users/extra/policies/p", ""),
    ("DELETE /api/v1/models/{path:.+}", "/api/v1/models/team/new.json", ""),
    ("DELETE /api/v1/models/{path:.+}", "/api/v1/models/other/new.json", ""),
    ("DELETE /api/v1/endpoints/{name}", "/api/v1/endpoints/team-new", ""),
    ("DELETE /api/v1/endpoints/{name}", "/api/v1/endpoints/foreign", ""),
    ("DELETE /api/v1/policies/{name}", "/api/v1/policies/Fresh", ""),
    ("DELETE /api/v1/keys/{id}", "/api/v1/keys/KEY", ""),
    ("DELETE /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/users/made", ""),
    ("DELETE /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/groups/made", ""),
    ("DELETE /api/v1/{noun:users|groups|roles}/{name}", "/api/v1/roles/made", ""),
];

fn lines(access: Access) -> Vec<String> {
    let lines = TABLE.iter().filter(|line| line.access == access);
    lines.map(|line| format!("{} {}", line.method.to_uppercase(), line.path)).collect()
}

/// Compares with a golden file, or writes it when `ROOKERY_BLESS` is set.
fn golden(name: &str, made: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("ROOKERY_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if kept == made {
        return;
    }
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (kept.lines().collect(), made.lines().collect());
    let gone = kept.lines().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
    let come = made.lines().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"));
    let diff = gone.chain(come).collect::<Vec<_>>().join("\n");
    panic!("tests/golden/{name} does not hold any more; if that is on purpose, run again with ROOKERY_BLESS=1\n{diff}");
}

/// What all rows are about: two collections, an endpoint, a user, a group, a role, a policy. Returns the user's key id.
fn furnish(server: &Server) -> String {
    for path in ["team/a/m.json", "team/b/m.json", "other/m.json"] {
        server.put_model(path, &city(1, 100.0)).expect(201);
    }
    server.put_endpoint("team-multi", &json!([{ "prefix": "team/" }]));
    server.admin("POST", "/api/v1/users", br#"{"name":"extra"}"#).expect(201);
    server.admin("POST", "/api/v1/groups", br#"{"name":"crew"}"#).expect(201);
    server.admin("POST", "/api/v1/roles", TRUST.replace("made", "duty").as_bytes()).expect(201);
    server.admin("PUT", "/api/v1/policies/Spare", DOCUMENT.as_bytes()).expect(201);
    key(server, &json!({ "user": "extra", "kind": "api" })).0
}

/// A new key: its id and the whole of it.
fn key(server: &Server, body: &serde_json::Value) -> (String, String) {
    let made = server.admin("POST", "/api/v1/keys", body.to_string().as_bytes()).expect(201).json();
    (made["KeyId"].as_str().unwrap().to_owned(), made["ApiKey"].as_str().unwrap().to_owned())
}

fn try_row(server: &Server, row: &Row, credential: &str, headers: &[(&str, &str)], key_id: &str) -> Reply {
    let (method, _) = row.0.split_once(' ').unwrap();
    let model = city(1, 100.0);
    let body = if row.2 == "MODEL" { model.as_slice() } else { row.2.as_bytes() };
    let path = row.1.replace("KEY", key_id);
    let mut all = headers.to_vec();
    if path.starts_with("/endpoints/") {
        all.push(("content-type", "text/csv"));
    }
    let (path, target) = path.split_once("?target=").unwrap_or((&path, ""));
    if !target.is_empty() {
        all.push(("x-amzn-sagemaker-target-model", target));
    }
    server.send(method, path, credential, &all, body)
}

#[test]
fn the_routes_open_to_anyone_are_the_known_ones() {
    let mut open = lines(Access::Open).join("\n");
    open.push('\n');
    golden("open-routes.txt", &open);
    let server = Server::start();
    for line in lines(Access::Open) {
        let (method, path) = line.split_once(' ').unwrap();
        let reply = server.send(method, &path.replace("{file}", "console.css"), "", &[], b"");
        assert_ne!(reply.status, 401, "{line} is open in the table and asks for a credential");
        assert_ne!(reply.status, 404, "{line}");
    }
}

#[test]
fn every_route_with_a_credential_has_a_row_and_every_row_a_route() {
    let routes: BTreeSet<String> = lines(Access::Credential).into_iter().collect();
    let rows: BTreeSet<String> = ROWS.iter().map(|row| row.0.to_owned()).collect();
    let without: Vec<_> = routes.difference(&rows).collect();
    let stale: Vec<_> = rows.difference(&routes).collect();
    assert!(without.is_empty(), "these routes have no row in the matrix: {without:#?}");
    assert!(stale.is_empty(), "these rows have no route: {stale:#?}");
}

#[test]
fn whoever_shows_no_credential_or_a_bad_one_is_refused_on_every_route() {
    let server = Server::start();
    let key_id = furnish(&server);
    let (id, right) = key(&server, &json!({ "user": "root-admin", "kind": "api" }));
    // The id of a real key with another secret, a token nobody signed, a scheme nobody speaks, an empty header.
    let wrong_secret = format!("Bearer rk_{id}_{}", "A".repeat(43));
    let half = format!("Bearer {}", &right[..right.len() - 1]);
    let bad: [&[(&str, &str)]; 7] = [
        &[],
        &[("authorization", &wrong_secret)],
        &[("authorization", &half)],
        &[("authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.")],
        &[("authorization", "Basic cm9vdC1hZG1pbjpjb3JyZWN0IGhvcnNlIGJhdHRlcnk=")],
        &[("authorization", "Bearer")],
        &[("authorization", "")],
    ];
    for row in ROWS {
        for headers in bad {
            let reply = try_row(&server, row, "", headers, &key_id);
            let what = format!("{} {} {headers:?}: {}", row.0, row.1, reply.text());
            if row.1.starts_with("/endpoints/") {
                assert_eq!(reply.status, 403, "{what}");
                assert_eq!(reply.header("x-amzn-errortype"), Some("MissingAuthenticationTokenException"), "{what}");
            } else {
                assert_eq!(reply.status, 401, "{what}");
                assert_eq!(reply.json()["error"]["kind"], "Unauthenticated", "{what}");
                assert!(reply.header("www-authenticate").is_some(), "{what}");
            }
        }
    }
    // Nothing of all that happened.
    let users = server.admin("GET", "/api/v1/users", b"").expect(200).json();
    assert_eq!(users["users"].as_array().unwrap().len(), 2, "{users}");
}

#[test]
fn what_answers_get_answers_head_without_a_body() {
    let server = Server::start();
    server.put_model("o/m", &city(1, 100.0)).expect(201);
    for (path, status) in
        [("/healthz", 200), ("/api/v1/models", 200), ("/api/v1/models/o/m", 200), ("/api/v1/models/o/none", 404), ("/docs", 200)]
    {
        let [get, head] = ["GET", "HEAD"].map(|method| server.admin(method, path, b"").expect(status));
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    server.send("HEAD", "/api/v1/models", "", &[], b"").expect(401);
}

#[test]
fn another_method_is_refused_with_those_the_path_takes() {
    let server = Server::start();
    for line in TABLE {
        let path = line.path.replace("{noun:users|groups|roles}", "users").replace(":.+}", "}");
        let mut takes: Vec<String> =
            TABLE.iter().filter(|other| other.path == line.path).map(|other| other.method.to_uppercase()).collect();
        if takes.iter().any(|method| method == "GET") {
            takes.push("HEAD".to_owned());
        }
        takes.sort();
        let path = path.replace(['{', '}'], "");
        let reply = server.send("OPTIONS", &path, "", &[], b"").expect(405);
        let mut allowed: Vec<&str> = reply.header("allow").unwrap().split(", ").collect();
        allowed.sort_unstable();
        assert_eq!(allowed, takes, "{path}");
        let message = reply.message();
        assert!(takes.iter().all(|method| message.contains(method.as_str())) && message.contains("OPTIONS"), "{message}");
    }
}

#[test]
fn every_page_of_the_console_sends_strangers_to_sign_in() {
    let server = Server::start();
    let host = server.url.strip_prefix("http://").unwrap();
    let form = [("origin", server.url.as_str()), ("host", host), ("content-type", "application/x-www-form-urlencoded")];
    for line in lines(Access::Session) {
        let (method, path) = line.split_once(' ').unwrap();
        for cookie in ["", "rookery_session=", "rookery_session=0123456789abcdef", "other=1"] {
            let mut headers = vec![("cookie", cookie)];
            if method == "POST" {
                headers.extend(form);
            }
            // An administrator's key is no session.
            for credential in ["", &server.admin] {
                let reply = server.send(method, path, credential, &headers, if method == "POST" { b"csrf=x" } else { b"" });
                assert_eq!((reply.status, reply.header("location")), (303, Some("/ui/sign-in")), "{line} {cookie}: {}", reply.text());
            }
        }
    }
}

#[test]
fn each_principal_may_do_what_the_matrix_says() {
    let server = Server::start();
    let key_id = furnish(&server);
    let scientist = server.put_user(
        "scientist",
        &json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::team/*" },
            { "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::team" },
            { "Effect": "Allow", "Action": ["sagemaker:CreateEndpoint", "sagemaker:DescribeEndpoint"],
              "Resource": "arn:aws:sagemaker:*:*:endpoint/team-*" },
        ]}),
    );
    let caller = server.put_user("caller", &may_invoke(&["a/m.json"]));
    let nobody = {
        server.admin("POST", "/api/v1/users", br#"{"name":"nobody"}"#).expect(201);
        key(&server, &json!({ "user": "nobody", "kind": "api" })).1
    };
    for name in ["disabled", "late"] {
        server.admin("POST", "/api/v1/users", json!({ "name": name, "admin": true }).to_string().as_bytes()).expect(201);
    }
    let disabled = key(&server, &json!({ "user": "disabled", "kind": "api" })).1;
    server.admin("PATCH", "/api/v1/users/disabled", br#"{"disabled":true}"#).expect(204);
    let (late, expired) = key(&server, &json!({ "user": "late", "kind": "api" }));
    server.expire(&late, &expired);
    let narrowing = json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow",
        "Action": ["s3:GetObject", "iam:Get*", "iam:CreateAccessKey"], "Resource": ["arn:aws:s3:::team/*", "arn:aws:iam::*"] }});
    let narrowed = key(&server, &json!({ "user": "root-admin", "kind": "api", "policy": narrowing })).1;
    // The administrator goes last: what they delete, others might be told they may not.
    let principals = [
        ("expired", expired),
        ("disabled", disabled),
        ("nobody", nobody),
        ("caller", caller),
        ("scientist", scientist),
        ("narrowed", narrowed),
        ("administrator", server.admin.clone()),
    ];
    let classes: Vec<Vec<&str>> = principals
        .iter()
        .map(|(name, credential)| {
            let class = |row: &Row| {
                let reply = try_row(&server, row, credential, &[], &key_id);
                assert!(reply.status < 500, "{name} {} {}: {}", row.0, row.1, reply.text());
                match (reply.status, reply.header("x-amzn-errortype")) {
                    (401, _) | (403, Some("MissingAuthenticationTokenException")) => "unauthenticated",
                    (403, _) => "denied",
                    _ => "allowed",
                }
            };
            ROWS.iter().map(class).collect()
        })
        .collect();
    let mut table = String::new();
    for (name, _) in &principals {
        let _ = write!(table, "{name:<16}");
    }
    table.push_str("request\n");
    for (at, (route, path, body)) in ROWS.iter().enumerate() {
        for column in &classes {
            let _ = write!(table, "{:<16}", column[at]);
        }
        let told = match *body {
            HOUSE | "MODEL" | DOCUMENT | TRUST | "" => String::new(),
            TO_TRUST => r#" {"trustPolicy":…}"#.to_owned(),
            body => format!(" {body}"),
        };
        let _ = writeln!(table, "{} {path}{told}", route.split(' ').next().unwrap());
    }
    golden("matrix.txt", &table);
}
