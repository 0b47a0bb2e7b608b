//! First start.

use super::*;

fn claim(server: &Bare, link: &str, name: &str) -> Reply {
    let headers = [("origin", server.url.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let form = format!("name={name}&password={}", PASSWORD.replace(' ', "+"));
    send(&server.url, "POST", link, "", &headers, form.as_bytes()).unwrap()
}

/// The path of the link on standard error, which is read by another thread.
fn setup_link(server: &Bare) -> String {
    let link = || {
        let told = server.told.lock().unwrap();
        let path = told.split_whitespace().find_map(|word| word.strip_prefix(&server.url)).filter(|path| path.starts_with("/ui/setup?"));
        path.map(str::to_owned)
    };
    wait_for("a link is printed", || link().is_some());
    link().unwrap()
}

#[test]
fn the_first_start_prints_a_link_that_makes_one_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("new.db");
    let server = serve(&db, &["--listen", "127.0.0.1:0"]);
    let link = setup_link(&server);
    let token = link.split_once('=').unwrap().1;
    assert!(token.len() >= 32, "{token}");
    let get = |path: &str| send(&server.url, "GET", path, "", &[], b"").unwrap();
    for bad in
        ["/ui/setup", "/ui/setup?token=", "/ui/setup?token=0", &format!("/ui/setup?token={}", "0".repeat(32)), &link[..link.len() - 1]]
    {
        get(bad).expect(403);
        claim(&server, bad, "thief").expect(403);
    }
    // Nothing guessable is there.
    for (name, password) in [("admin", "admin"), ("root", "root"), ("admin", ""), ("root-admin", ADMIN_PASSWORD)] {
        log_in(&server.url, name, password).expect(401);
    }
    get(&link).expect(200);
    // A form of another site, and one from nowhere.
    let form = format!("name=thief&password={}", PASSWORD.replace(' ', "+"));
    let kind = ("content-type", "application/x-www-form-urlencoded");
    for headers in [&[kind][..], &[kind, ("origin", "https://evil.example")], &[kind, ("origin", "null")]] {
        send(&server.url, "POST", &link, "", headers, form.as_bytes()).unwrap().expect(403);
    }
    claim(&server, &link, "bad%20name").expect(400);
    assert_eq!(claim(&server, &link, "chief").expect(303).header("location"), Some("/ui/sign-in"));
    get(&link).expect(403);
    claim(&server, &link, "second").expect(403);
    let token = log_in(&server.url, "chief", PASSWORD).expect(200).json()["token"].as_str().unwrap().to_owned();
    send(&server.url, "GET", "/api/v1/users", &token, &[], b"").unwrap().expect(200);
    drop(server);
    let mut server = serve(&db, &["--listen", "127.0.0.1:0"]);
    send(&server.url, "GET", &link, "", &[], b"").unwrap().expect(403);
    server.child.kill().unwrap();
    wait_for("its log is read to the end", || Arc::strong_count(&server.told) == 1);
    assert!(!server.told.lock().unwrap().contains("/ui/setup"), "a link is printed though there is an administrator");
}

#[test]
fn the_setup_link_makes_one_administrator_even_if_used_twice_at_once() {
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let server = serve(&folder.path().join("new.db"), &["--listen", "127.0.0.1:0"]);
        let link = setup_link(&server);
        let made = thread::scope(|scope| {
            let claims: Vec<_> = (0..4)
                .map(|at| {
                    scope.spawn({
                        let (server, link) = (&server, &link);
                        move || claim(server, link, &format!("chief-{at}")).status
                    })
                })
                .collect();
            claims.into_iter().map(|claim| claim.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(made.iter().filter(|status| **status == 303).count(), 1, "{made:?}");
    }
}

#[test]
fn plain_text_beyond_this_machine_has_to_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("t.db");
    for address in ["0.0.0.0:0", "[::]:0"] {
        let (code, out, error) = rookery(&["serve", "--db", db.to_str().unwrap(), "--listen", address], "");
        assert_eq!((code, out.as_str()), (1, ""), "{error}");
        assert!(error.contains("--tls-cert") && error.contains("--insecure"), "{error}");
    }
    assert!(!db.exists(), "a refused start made a database");
    let (code, _, _) = rookery(&["serve", "--db", db.to_str().unwrap(), "--tls-cert", "x.pem"], "");
    assert_eq!(code, 2);
    let server = serve(&db, &["--listen", "0.0.0.0:0", "--insecure"]);
    drop(server);
}
