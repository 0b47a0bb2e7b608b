//! The command line: what scripts read, what is a usage error, what the environment says. Next: `cli/wrong.rs` for what
//! goes wrong, `durability/backups.rs` for the verbs about the file as a whole.

mod wrong;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{PATIENCE, Server, city, may_invoke, rookery, send};
use crate::uploads::{file, gz, tar};

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*"}]}"#;

#[test]
fn every_change_answers_scripts_in_json() {
    let server = Server::start();
    let db = text(&server.db).to_owned();
    let file = server.db.with_file_name("policy.json");
    std::fs::write(&file, may_invoke(&["a"]).to_string()).unwrap();
    let model = server.db.with_file_name("model.json");
    std::fs::write(&model, city(1, 100.0)).unwrap();
    let (file, model) = (text(&file), text(&model));
    let trust = server.db.with_file_name("trust.json");
    std::fs::write(&trust, TRUST).unwrap();
    let trust = text(&trust);
    let made = rookery(&["key", "create", "root-admin", "--json", "--db", &db], "").1;
    let id = serde_json::from_str::<Value>(&made).unwrap()["KeyId"].as_str().unwrap().to_owned();
    for verb in [
        "user create ana --no-password",
        "user password ana --password-stdin",
        "user disable ana",
        "user enable ana",
        "group create crew",
        "group add crew ana",
        "group remove crew ana",
        "user set ana --tag team=red --tag site=north",
        "user set ana --no-tags",
        "user show ana",
        &format!("policy put own {file} --user ana"),
        "policy show own --user ana",
        "policy delete own --user ana",
        &format!("policy put shared {file}"),
        "policy attach shared --user ana",
        "policy detach shared --user ana",
        "user set ana --boundary shared",
        "user set ana --no-boundary",
        &format!("role create duty --trust {trust}"),
        &format!("role set duty --trust {trust}"),
        "role set duty --tag team=red",
        "role show duty",
        "role delete duty",
        "policy delete shared",
        &format!("key show {id}"),
        &format!("key disable {id}"),
        &format!("key enable {id}"),
        &format!("key delete {id}"),
        "group delete crew",
        "user delete ana",
        "user list",
        "key list",
        "policy list",
        "verify",
    ] {
        let arguments: Vec<&str> = verb.split(' ').chain(["--json", "--db", &db]).collect();
        let (code, out, error) = rookery(&arguments, "a password of nine words\n");
        assert_eq!(code, 0, "{verb}: {error}");
        assert!(serde_json::from_str::<Value>(&out).is_ok(), "{verb}: {out:?}");
    }
    for verb in [
        &format!("model put c/m {model}"),
        "model list",
        "endpoint create c --prefix c/",
        "endpoint list",
        "model pin c/m",
        "model unpin c/m",
        "model load c/m",
        "endpoint rm c",
        "model rm c/m",
    ] {
        let arguments: Vec<&str> = verb.split(' ').chain(["--json", "--url", &server.url, "--token", &server.admin]).collect();
        let (code, out, error) = rookery(&arguments, "");
        assert_eq!(code, 0, "{verb}: {error}");
        assert!(serde_json::from_str::<Value>(&out).is_ok(), "{verb}: {out:?}");
    }
}

#[test]
fn what_is_typed_wrongly_exits_2_and_what_fails_exits_1() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("t.db");
    for verb in [
        "endpoint create e",
        "endpoint create e --file f --stage a/b",
        "endpoint create e --file f --prefix a/",
        "endpoint create e --file f --postprocess {}",
        "user set ana",
        "user set ana --boundary b --no-boundary",
        "user set ana --tag team",
        "user set ana --tag a=b --boundary c",
        "role set duty --trust f --no-tags",
        "policy show p --user a --group b",
        "policy attach p",
        "policy detach p",
        "policy attach p --user a --group b",
        "user create",
        "nonsense",
        "key create a --api --aws",
    ] {
        let (code, out, error) = rookery(&verb.split(' ').collect::<Vec<_>>(), "");
        assert_eq!(code, 2, "{verb}: {out}{error}");
    }
    assert_eq!(rookery(&["policy", "attach", "p", "--user", "a", "--db", text(&db)], "").0, 1);
}

#[test]
fn only_a_first_start_makes_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let aside = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| {
        let path = aside.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let (policy, trust) = (put("policy.json", &may_invoke(&["a"]).to_string()), put("trust.json", TRUST));
    let request = put("request.json", r#"{"principal":"ana","action":"s3:GetObject"}"#);
    let (policy, trust, request) = (text(&policy), text(&trust), text(&request));
    let db = folder.path().join("mistyped.db");
    let empty = || std::fs::read_dir(folder.path()).unwrap().next().is_none();
    for verb in [
        &format!("backup {}", text(&folder.path().join("copy.db"))),
        "verify",
        "user list",
        "user show ana",
        "user delete ana",
        "user password ana --password-stdin",
        "user disable ana",
        "user enable ana",
        "user set ana --no-tags",
        "group create crew",
        "group list",
        "group show crew",
        "group delete crew",
        "group add crew ana",
        "group remove crew ana",
        &format!("role create duty --trust {trust}"),
        &format!("role set duty --trust {trust}"),
        "role list",
        "role show duty",
        "role delete duty",
        &format!("policy put p {policy}"),
        &format!("policy put p {policy} --user ana"),
        "policy list",
        "policy show p",
        "policy delete p",
        "policy attach p --user ana",
        "policy detach p --user ana",
        "key create ana",
        "key list",
        "key show 1",
        "key disable 1",
        "key enable 1",
        "key delete 1",
        "key reset-master",
        &format!("simulate --request {request}"),
    ] {
        let arguments: Vec<&str> = verb.split(' ').chain(["--db", text(&db)]).collect();
        let (code, out, error) = rookery(&arguments, "a password of nine words\n");
        assert_eq!((code, out.as_str()), (1, ""), "{verb}: {error}");
        assert_eq!(error, format!("error: there is no database `{}`; check --db\n", text(&db)), "{verb}");
        assert!(empty(), "{verb} left something behind");
        // A file that was only touched is none either, and stays as it is.
        std::fs::write(&db, "").unwrap();
        assert_eq!(rookery(&arguments, "a password of nine words\n").0, 1, "{verb}");
        assert_eq!(std::fs::read(&db).unwrap(), b"", "{verb}");
        std::fs::remove_file(&db).unwrap();
        assert!(empty(), "{verb} left something beside an empty file");
    }
    let (code, _, error) = rookery(&["user", "create", "ana", "--no-password", "--db", text(&db)], "");
    assert_eq!(code, 0, "{error}");
    assert!(rookery(&["user", "list", "--db", text(&db)], "").1.contains("ana"));
}

#[test]
fn what_was_written_of_principals_policies_and_keys_can_be_read_and_changed() {
    let server = Server::start();
    let folder = server.db.parent().unwrap();
    let put = |name: &str, content: &str| {
        std::fs::write(folder.join(name), content).unwrap();
        text(&folder.join(name)).to_owned()
    };
    let document = may_invoke(&["a"]).to_string();
    let (policy, trust) = (put("policy.json", &document), put("trust.json", TRUST));
    let other = TRUST.replace("Allow", "Deny");
    let changed = put("other.json", &other);
    let run = |verb: &str| {
        let (code, out, error) = rookery(&verb.split(' ').chain(["--db", text(&server.db)]).collect::<Vec<_>>(), "");
        assert_eq!(code, 0, "{verb}: {error}");
        out
    };
    let read = |verb: &str| serde_json::from_str::<Value>(&run(verb)).unwrap();
    run("user create ana --no-password");
    run("group create crew");
    run(&format!("role create duty --trust {trust}"));
    for holder in ["--user ana", "--group crew", "--role duty"] {
        run(&format!("policy put own {policy} {holder}"));
        assert_eq!(run(&format!("policy show own {holder}")).trim_end(), document, "{holder}");
    }
    let (code, _, error) = rookery(&["policy", "show", "none", "--user", "ana", "--db", text(&server.db)], "");
    assert!(code == 1 && error.contains("user `ana` has no policy `none`"), "{error}");
    assert_eq!(read("role show duty")["trustPolicy"], serde_json::from_str::<Value>(TRUST).unwrap());
    run(&format!("role set duty --trust {changed}"));
    assert_eq!(read("role show duty")["trustPolicy"], serde_json::from_str::<Value>(&other).unwrap());
    run("role set duty --tag a=b=c");
    assert_eq!(read("role show duty")["tags"], json!({ "a": "b=c" }));
    run("user set ana --tag team=red --tag site=north");
    assert_eq!(read("user show ana")["tags"], json!({ "team": "red", "site": "north" }));
    run("user set ana --tag team=blue");
    assert_eq!(read("user show ana")["tags"], json!({ "team": "blue" }), "in place of all there were");
    let (code, _, error) = rookery(&["user", "set", "ana", "--tag", "a=1", "--tag", "a=2", "--db", text(&server.db)], "");
    assert!(code == 1 && error.contains("`a` is given twice"), "{error}");
    run("user set ana --no-tags");
    run(&format!("policy put Fence {policy}"));
    run("user set ana --boundary Fence");
    let shown = read("user show ana");
    assert_eq!((&shown["tags"], &shown["permissionsBoundary"]), (&json!({}), &json!("Fence")));
    run("user set ana --no-boundary");
    assert_eq!(read("user show ana")["permissionsBoundary"], Value::Null);
    let made = read(&format!("key create ana --policy {policy} --json"));
    let (id, secret) = (made["KeyId"].as_str().unwrap(), made["ApiKey"].as_str().unwrap().rsplit_once('_').unwrap().1);
    let shown = run(&format!("key show {id}"));
    assert!(!shown.contains(secret), "{shown}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["user"], &shown["policy"]), (&json!("ana"), &serde_json::from_str::<Value>(&document).unwrap()));
}

#[test]
fn an_endpoint_is_made_of_a_file_with_all_that_the_api_takes() {
    let server = Server::start();
    server.put_model("c/m", &city(1, 100.0)).expect(201);
    let put = |name: &str, content: &Value| {
        let path = server.db.with_file_name(name);
        std::fs::write(&path, content.to_string()).unwrap();
        text(&path).to_owned()
    };
    let run =
        |name: &str, file: &str| rookery(&["endpoint", "create", name, "--file", file, "--url", &server.url, "--token", &server.admin], "");
    let variants = json!([
        { "name": "blue", "weight": 3.0, "stages": [{ "prefix": "c/", "modelCacheSetting": "Disabled" }, { "postprocess": { "round": 1 } }] },
        { "name": "green", "weight": 1.0, "stages": [{ "model": "c/m", "output": ["score"],
            "environment": { "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv" } }] },
    ]);
    let file = put("two.json", &json!({ "variants": variants }));
    for name in ["one", "two"] {
        let (code, out, error) = run(name, &file);
        assert_eq!(code, 0, "{error}");
        assert!(out.contains(&format!("endpoint/{name}")), "{out}");
        assert_eq!(server.admin("GET", &format!("/api/v1/endpoints/{name}"), b"").expect(200).json()["variants"], variants);
    }
    let named = put("named.json", &json!({ "name": "three", "stages": [{ "model": "c/m" }] }));
    assert_eq!(run("three", &named).0, 0);
    for (name, file, says) in [
        ("four", named.as_str(), "names the endpoint \"three\""),
        ("four", &put("list.json", &json!([1])), "no JSON object"),
        ("four", &put("odd.json", &json!({ "stages": [{ "model": "c/m" }], "more": 1 })), "more"),
        ("four", "/none.json", "cannot read"),
    ] {
        let (code, _, error) = run(name, file);
        assert!(code == 1 && error.contains(says), "{file}: {error}");
    }
    let broken = server.db.with_file_name("broken.json");
    std::fs::write(&broken, "{").unwrap();
    assert!(run("four", text(&broken)).2.contains("is no JSON"));
    server.admin("GET", "/api/v1/endpoints/four", b"").expect(404);
}

#[test]
fn flags_may_come_from_the_environment() {
    let server = Server::start();
    let run = |verb: &str, environment: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
        let output = command.args(verb.split(' ')).envs(environment.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let db = ("ROOKERY_DB", text(&server.db));
    run("user create ana", &[db, ("ROOKERY_USER_CREATE_NO_PASSWORD", "1")]);
    let made = run("key create ana", &[db, ("ROOKERY_KEY_CREATE_AWS", "yes"), ("ROOKERY_JSON", "1")]);
    assert!(serde_json::from_str::<Value>(&made).unwrap()["SecretAccessKey"].is_string(), "{made}");
    let made = run("key create ana", &[db, ("ROOKERY_KEY_CREATE_AWS", "0"), ("ROOKERY_JSON", "1")]);
    assert!(serde_json::from_str::<Value>(&made).unwrap()["ApiKey"].is_string(), "{made}");
    server.put_model("c/m", &city(1, 100.0)).expect(201);
    let place = [("ROOKERY_URL", server.url.as_str()), ("ROOKERY_TOKEN", &server.admin)];
    run("endpoint create c", &[place[0], place[1], ("ROOKERY_ENDPOINT_CREATE_STAGE", "c/m")]);
    let shown = server.admin("GET", "/api/v1/endpoints/c", b"").expect(200).json();
    assert_eq!(shown["variants"][0]["stages"], json!([{ "model": "c/m" }]), "{shown}");
    // What is set for one verb gives nobody rights, takes none and moves no target elsewhere.
    let document = server.db.with_file_name("policy.json");
    std::fs::write(&document, may_invoke(&["a"]).to_string()).unwrap();
    let elsewhere = [
        db,
        ("ROOKERY_JSON", "1"),
        ("ROOKERY_ADMIN", "1"),
        ("ROOKERY_POLICY", text(&document)),
        ("ROOKERY_SIMULATE_POLICY", text(&document)),
        ("ROOKERY_USER", "ana"),
        ("ROOKERY_POLICY_ATTACH_USER", "ana"),
        ("ROOKERY_BOUNDARY", "none"),
        ("ROOKERY_USER_SET_BOUNDARY", "none"),
    ];
    let made: Value = serde_json::from_str(&run("user create bob --no-password", &elsewhere)).unwrap();
    run("user set bob --tag team=red", &[db]);
    assert_eq!((&made["attachedPolicies"], &made["permissionsBoundary"]), (&json!([]), &Value::Null));
    let made: Value = serde_json::from_str(&run("key create bob", &elsewhere)).unwrap();
    let key: Value = serde_json::from_str(&run(&format!("key show {}", made["KeyId"].as_str().unwrap()), &[db])).unwrap();
    assert_eq!(key["policy"], Value::Null, "{key}");
    run(&format!("policy put shared {}", text(&document)), &elsewhere);
    run("policy show shared", &[db]);
    let mut unset = Command::new(env!("CARGO_BIN_EXE_rookery"));
    unset.args(["user", "set", "bob"]).envs([db, ("ROOKERY_USER_SET_NO_BOUNDARY", "0")]);
    assert_eq!(unset.output().unwrap().status.code(), Some(1), "nothing was said to be changed");
    run("user create eve --no-password", &[db, ("ROOKERY_USER_CREATE_ADMIN", "1")]);
    let bob: Value = serde_json::from_str(&run("user show bob", &[db])).unwrap();
    assert_eq!(bob["tags"], json!({ "team": "red" }));
    let eve: Value = serde_json::from_str(&run("user show eve", &[db])).unwrap();
    assert_eq!(eve["attachedPolicies"], json!(["AdministratorAccess"]));
}

#[test]
fn the_limits_are_flags() {
    let flags = "--entry-name 12 --header-seconds 1 --idle-seconds 1 --guesses 3";
    let server = Server::with(&flags.split(' ').collect::<Vec<_>>());
    let entry = |name: &str| gz(&tar(&[file(name, &city(1, 100.0))]));
    server.put_model("l/short", &entry("model.json")).expect(201);
    let refused = server.put_model("l/long", &entry("a-longer-model.json")).expect(400);
    assert!(refused.message().contains("at most 12"), "{}", refused.message());
    let log_in = || send(&server.url, "POST", "/api/v1/login", "", &[], br#"{"name":"root-admin","password":"wrong one"}"#).unwrap();
    for _ in 0..3 {
        log_in().expect(401);
    }
    log_in().expect(429);
    let host = server.url.trim_start_matches("http://");
    let slow = |sent: &str| {
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let (began, mut text) = (Instant::now(), String::new());
        let _ = stream.read_to_string(&mut text);
        (text, began.elapsed())
    };
    let half = || slow("GET /healthz HTTP/1.1\r\nhost: t\r\n");
    assert!(half().0.contains("408"));
    // A slow machine adds to one or the other, the ten seconds without the flag to all of them.
    assert!((0..5).any(|_| half().1 < Duration::from_secs(6)), "half a head was waited for longer than the flag says");
    let key = &server.admin;
    let half = slow(&format!(
        "PUT /api/v1/models/l/half HTTP/1.1\r\nhost: t\r\nconnection: close\r\nauthorization: Bearer {key}\r\ncontent-length: 100\r\n\r\n{{"
    ))
    .0;
    assert!(half.contains("paused for more than 1 seconds"), "{half}");
    let (code, help, _) = rookery(&["serve", "--help"], "");
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(code, 0);
    for flag in ["--entry-name", "ROOKERY_ENTRY_NAME", "--header-seconds", "--idle-seconds", "--guesses", "[default: 255]", "[default: 30]"]
    {
        assert!(help.contains(flag), "{flag} is not in the help:\n{help}");
    }
    for flag in ["--guesses", "--idle-seconds"] {
        let (code, _, error) = rookery(&["serve", flag, "0", "--db", text(&server.db), "--listen", "127.0.0.1:0"], "");
        assert!(code != 0 && error.contains(flag), "{error}");
    }
}
