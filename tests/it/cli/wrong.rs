//! What is said when something is wrong with a file, an address, a certificate or the connection: the thing itself by
//! name, and nothing else.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;

use super::*;

/// The sentence of a command that fails.
fn failed(arguments: &[&str], input: &str) -> String {
    let (code, out, error) = rookery(arguments, input);
    assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}: {error}");
    error
}

#[test]
fn a_model_may_come_through_a_pipe() {
    let server = Server::start();
    let model = String::from_utf8(city(1, 100.0)).unwrap();
    let place = ["--url", server.url.as_str(), "--token", &server.admin];
    let put = |path: &str, file: &str, input: &str| rookery(&[&["model", "put", path, file], &place[..]].concat(), input);
    let (code, out, error) = put("c/m", "/dev/stdin", &model);
    assert_eq!(code, 0, "{error}");
    let version = server.admin("GET", "/api/v1/models/c/m", b"").expect(200).json()["version"].as_str().unwrap().to_owned();
    assert!(out.contains(&version), "{out}");
    let file = server.db.with_file_name("model.json");
    std::fs::write(&file, &model).unwrap();
    let (code, out, error) = put("c/other", text(&file), "");
    assert!(code == 0 && out.contains(&version), "the same bytes: {out}{error}");
    assert!(put("c/none", "/dev/stdin", "").2.contains("the body is empty"));
    assert_eq!(rookery(&["model", "check", "/dev/stdin"], &model).0, 0);
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| {
        std::fs::write(folder.path().join(name), content).unwrap();
        text(&folder.path().join(name)).to_owned()
    };
    let (model, big) = (put("model.json", "{}"), put("big.bin", &"no database at all ".repeat(100)));
    let (db, here) = (folder.path().join("r.db"), text(folder.path()));
    let (db, nobody) = (text(&db), "http://127.0.0.1:1");
    for verb in [&["model", "put", "c/m", here, "--url", nobody][..], &["model", "check", here]] {
        let error = failed(verb, "");
        assert!(error.contains(&format!("`{here}` is a folder")) && !error.contains("no answer"), "{error}");
    }
    // What no server takes is not sent to one.
    assert!(failed(&["model", "put", "c//m", &model, "--url", nobody], "").contains("`c//m`"));
    for url in ["localhost:8080", "127.0.0.1:8080", "ftp://localhost", ""] {
        let error = failed(&["model", "list", "--url", url], "");
        assert!(error.contains("http:// or https:// in front") && error.contains(&format!("`{url}`")), "{error}");
    }
    let error = failed(&["model", "list", "--url", nobody], "");
    assert!(error.contains("is the server running?"), "{error}");
    let error = failed(&["restore", &big, "--db", db], "");
    assert!(error.contains(&format!("`{big}` is not a Rookery database")) && !error.contains("--db"), "{error}");
    let none = text(&folder.path().join("none.pem")).to_owned();
    for (certificate, key, flag) in [(&none, &model, "--tls-cert"), (&model, &none, "--tls-key")] {
        let error = failed(&["serve", "--db", db, "--listen", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key], "");
        assert!(error.contains(&format!("`{none}`: No such file")) && error.contains(flag), "{error}");
    }
    assert!(!Path::new(db).exists(), "a refused start made a database");
    let (code, _, error) = rookery(&["key", "create", "ana", "--days", "0", "--db", db], "");
    assert!(code == 2 && error.contains("--days"), "{error}");
}

/// A server that reads a head and hangs up in the middle of what follows, as often as there are answers; returns the heads.
fn hangs_up(listener: &TcpListener, answers: &[&str]) -> Vec<String> {
    let hang_up = |answer: &&str| {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        if !head.contains("content-length: 0\r\n") {
            // Once there is something that was not read, closing is a reset.
            stream.peek(&mut byte).unwrap();
        }
        head
    };
    answers.iter().map(hang_up).collect()
}

#[test]
fn a_refusal_before_the_body_was_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("long.bin");
    // Longer than what connections hold.
    std::fs::File::create(&model).unwrap().set_len(64 << 20).unwrap();
    let answer = |status: &str, message: &str| {
        let body = json!({ "error": { "message": message } }).to_string();
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let put = |answers: &[&str]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::scope(|scope| {
            let heads = scope.spawn(|| hangs_up(&listener, answers));
            let error = failed(&["model", "put", "c/m", text(&model), "--new", "--url", &url, "--token", "a-token"], "");
            // Whoever was not called hears that nobody will.
            answers.iter().for_each(|_| drop(TcpStream::connect(listener.local_addr().unwrap())));
            (heads.join().unwrap(), error)
        })
    };
    let denied = answer("403 Forbidden", "ana may not write there");
    let (heads, error) = put(&[&denied, &denied]);
    assert_eq!(error, "error: ana may not write there\n");
    for (head, length) in heads.iter().zip([64 << 20, 0]) {
        let head = head.to_lowercase();
        for line in ["put /api/v1/models/c/m ", &format!("content-length: {length}\r\n"), "bearer a-token\r\n", "if-none-match: *\r\n"] {
            assert!(head.contains(line), "`{line}` is not in: {head}");
        }
    }
    // What an empty body alone is answered says nothing of the file.
    let (_, error) = put(&[&denied, &answer("400 Bad Request", "the body is empty")]);
    assert!(error.contains("broke while the file was sent") && error.contains("refused"), "{error}");
    assert!(!error.contains("running") && !error.contains("empty"), "{error}");
}

/// Runs openssl in `folder`.
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("this test makes certificates with `openssl`: install it");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_server_with_a_certificate_of_ones_own_is_reached_with_its_authority() {
    let plain = Server::start();
    plain.put_model("c/m", &city(1, 100.0)).expect(201);
    let folder = plain.db.parent().unwrap();
    let own = "[req]\ndistinguished_name=name\nprompt=no\n[name]\nCN=rookery\n";
    let [leaf, authority] =
        ["CA:FALSE", "CA:TRUE"].map(|kind| format!("[with]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=critical,{kind}\n"));
    for (name, kind) in [("leaf.cnf", &leaf), ("authority.cnf", &authority)] {
        std::fs::write(folder.join(name), format!("{own}{kind}")).unwrap();
    }
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for (name, kind) in [("authority", "authority"), ("other", "authority"), ("alone", "leaf")] {
        openssl(
            folder,
            &format!("req -x509 {key} -keyout {name}.key -out {name}.pem -days 2 -config {kind}.cnf -extensions with -subj /CN={name}"),
        );
    }
    openssl(folder, &format!("req {key} -keyout signed.key -out signed.csr -config leaf.cnf"));
    openssl(
        folder,
        "x509 -req -in signed.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile leaf.cnf -extensions with -out signed.pem",
    );
    let path = |name: &str| text(&folder.join(name)).to_owned();
    let serve =
        |name: &str| Server::on(&plain.db, &["--tls-cert", &path(&format!("{name}.pem")), "--tls-key", &path(&format!("{name}.key"))]);
    let list =
        |server: &Server, more: &[&str]| rookery(&[&["model", "list", "--url", &server.url, "--token", &plain.admin], more].concat(), "");
    let refused = |server: &Server, more: &[&str], says: &str| {
        let (code, _, error) = list(server, more);
        assert!(code == 1 && error.contains(says) && !error.contains("running"), "`{says}` is not in: {error}");
    };
    let signed = serve("signed");
    let (code, out, error) = list(&signed, &["--ca", &path("authority.pem")]);
    assert!(code == 0 && out.contains("c/m"), "{error}");
    refused(&signed, &[], "unknown authority; name that with --ca FILE");
    refused(&signed, &["--ca", &path("other.pem")], &format!("no authority in `{}`", path("other.pem")));
    refused(&signed, &["--ca", &path("none.pem")], "none.pem` cannot be read: No such file");
    refused(&signed, &["--ca", &path("signed.key")], "signed.key` holds no certificate");
    std::fs::write(folder.join("odd.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    refused(&signed, &["--ca", &path("odd.pem")], "odd.pem` holds a certificate that cannot be read");
    let mut by_environment = Command::new(env!("CARGO_BIN_EXE_rookery"));
    by_environment.args(["model", "list"]).env("ROOKERY_URL", &signed.url).env("ROOKERY_TOKEN", &plain.admin);
    assert!(by_environment.env("ROOKERY_CA", path("authority.pem")).output().unwrap().status.success());
    let alone = serve("alone");
    let (code, _, error) = list(&alone, &["--ca", &path("alone.pem")]);
    assert_eq!(code, 0, "{error}");
    refused(&alone, &["--ca", &path("authority.pem")], "no authority in");
    // What openssl makes when nothing is said may not be a server's own.
    refused(&serve("authority"), &["--ca", &path("authority.pem")], "CA:FALSE");
}

/// What is in a folder.
fn names(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_first_start_that_is_refused_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("new.db");
    let create = |name: &str, password: &str| failed(&["user", "create", name, "--admin", "--password-stdin", "--db", text(&db)], password);
    assert!(create("me", "short").contains("at least 8 characters"));
    assert_eq!(names(folder.path()), [] as [PathBuf; 0]);
    assert!(create("no name", "a password of nine words").contains("`no name` is no name"));
    assert_eq!(names(folder.path()), [] as [PathBuf; 0]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = failed(&["serve", "--listen", &address, "--db", text(&db)], "");
    assert!(error.contains(&format!("cannot listen on {address}")) && error.contains("--listen"), "{error}");
    assert_eq!(names(folder.path()), [] as [PathBuf; 0]);
}
