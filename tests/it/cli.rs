//! The command line: what scripts read, what is a usage error, what the environment says. Next: `durability/backups.rs`
//! for the verbs about the file as a whole.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, city, may_invoke, rookery, send};
use crate::uploads::{file, gz, tar};

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_change_answers_scripts_in_json() {
    let server = Server::start();
    let db = text(&server.db).to_owned();
    let file = server.db.with_file_name("policy.json");
    std::fs::write(&file, may_invoke(&["a"]).to_string()).unwrap();
    let model = server.db.with_file_name("model.json");
    std::fs::write(&model, city(1, 100.0)).unwrap();
    let (file, model) = (text(&file), text(&model));
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
        &format!("policy put own {file} --user ana"),
        "policy delete own --user ana",
        &format!("policy put shared {file}"),
        "policy attach shared --user ana",
        "policy detach shared --user ana",
        "policy delete shared",
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
fn flags_may_come_from_the_environment() {
    let server = Server::start();
    let run = |verb: &str, environment: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
        let output = command.args(verb.split(' ')).envs(environment.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let db = ("ROOKERY_DB", text(&server.db));
    run("user create ana", &[db, ("ROOKERY_NO_PASSWORD", "1")]);
    let made = run("key create ana", &[db, ("ROOKERY_AWS", "yes"), ("ROOKERY_JSON", "1")]);
    assert!(serde_json::from_str::<Value>(&made).unwrap()["SecretAccessKey"].is_string(), "{made}");
    let made = run("key create ana", &[db, ("ROOKERY_AWS", "0"), ("ROOKERY_JSON", "1")]);
    assert!(serde_json::from_str::<Value>(&made).unwrap()["ApiKey"].is_string(), "{made}");
    server.put_model("c/m", &city(1, 100.0)).expect(201);
    run("endpoint create c", &[("ROOKERY_URL", &server.url), ("ROOKERY_TOKEN", &server.admin), ("ROOKERY_STAGE", "c/m")]);
    let shown = server.admin("GET", "/api/v1/endpoints/c", b"").expect(200).json();
    assert_eq!(shown["variants"][0]["stages"], json!([{ "model": "c/m" }]), "{shown}");
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
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let (began, mut text) = (Instant::now(), String::new());
        let _ = stream.read_to_string(&mut text);
        assert!(began.elapsed() < Duration::from_secs(6), "{sent} was waited for {:?}", began.elapsed());
        text
    };
    assert!(slow("GET /healthz HTTP/1.1\r\nhost: t\r\n").contains("408"));
    let key = &server.admin;
    let half = slow(&format!(
        "PUT /api/v1/models/l/half HTTP/1.1\r\nhost: t\r\nconnection: close\r\nauthorization: Bearer {key}\r\ncontent-length: 100\r\n\r\n{{"
    ));
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
