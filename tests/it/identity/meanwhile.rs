//! Meanwhile.

use super::*;

#[test]
fn a_delegates_change_does_not_reach_a_user_made_meanwhile() {
    let server = Server::start();
    admin(&server, "PUT", "/api/v1/policies/Fence", &policy(vec![statement("Allow", "iam:*", "*")])).expect(201);
    make_user(&server, &json!({ "name": "dele", "admin": true, "permissionsBoundary": "Fence" }));
    let dele = key_of(&server, "dele");
    let guess = json!({ "password": "known to the delegate" });
    for round in 0..4 {
        let path = format!("/api/v1/users/chief-{round}");
        let done = AtomicBool::new(false);
        let answers = thread::scope(|scope| {
            let shoot = || {
                let mut answers = Vec::new();
                while !done.load(Ordering::SeqCst) {
                    answers.push(call(&server, &dele, "PATCH", &path, &guess).status);
                }
                answers
            };
            let shots: Vec<_> = (0..3).map(|_| scope.spawn(shoot)).collect();
            thread::sleep(Duration::from_millis(100));
            admin(&server, "POST", "/api/v1/users", &json!({ "name": format!("chief-{round}"), "admin": true })).expect(201);
            done.store(true, Ordering::SeqCst);
            shots.into_iter().flat_map(|shot| shot.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(!answers.contains(&204), "a bounded caller set the password of a new administrator: {answers:?}");
    }
    // Made beside the server, which notices in its own time.
    let db = server.db.to_str().unwrap();
    for round in 0..3 {
        let (name, done) = (format!("boss-{round}"), AtomicBool::new(false));
        let answers = thread::scope(|scope| {
            let shot = scope.spawn(|| {
                let mut answers = Vec::new();
                while !done.load(Ordering::SeqCst) {
                    answers.push(call(&server, &dele, "PATCH", &format!("/api/v1/users/{name}"), &guess).status);
                }
                answers
            });
            assert_eq!(rookery(&["user", "create", &name, "--admin", "--password-stdin", "--db", db], PASSWORD).0, 0);
            thread::sleep(Duration::from_millis(500));
            done.store(true, Ordering::SeqCst);
            shot.join().unwrap()
        });
        assert!(!answers.contains(&204), "a bounded caller set the password of an administrator the terminal had made: {answers:?}");
    }
}

#[test]
fn a_session_never_becomes_that_of_a_user_made_meanwhile() {
    let server = Server::start();
    let headers = [("origin", server.url.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let form = format!("name=leaver&password={}", PASSWORD.replace(' ', "+"));
    for _ in 0..3 {
        make_user(&server, &json!({ "name": "leaver", "password": PASSWORD }));
        let cookies = thread::scope(|scope| {
            let sign_in = || {
                let mut cookies = Vec::new();
                // Once refused, the user is gone.
                loop {
                    let reply = server.send("POST", "/ui/sign-in", "", &headers, form.as_bytes());
                    match reply.header("set-cookie") {
                        Some(cookie) => cookies.push(cookie.split(';').next().unwrap().to_owned()),
                        None => return cookies,
                    }
                }
            };
            let leavers: Vec<_> = (0..2).map(|_| scope.spawn(sign_in)).collect();
            thread::sleep(Duration::from_millis(300));
            admin(&server, "DELETE", "/api/v1/users/leaver", &Value::Null).expect(204);
            make_user(&server, &json!({ "name": "joiner", "admin": true }));
            leavers.into_iter().flat_map(|leaver| leaver.join().unwrap()).collect::<Vec<_>>()
        });
        for cookie in cookies {
            let page = server.send("GET", "/ui/upload", "", &[("cookie", &cookie)], b"");
            assert!(!page.text().contains("joiner"), "a password of `leaver` gave a session of `joiner`");
        }
        admin(&server, "DELETE", "/api/v1/users/joiner", &Value::Null).expect(204);
    }
}

/// The first half of a request with a body; the other half is sent when `finish` is called.
struct Half<'a> {
    stream: TcpStream,
    rest: &'a [u8],
}

impl<'a> Half<'a> {
    fn send(server: &Server, line: &str, headers: &str, body: &'a [u8]) -> Self {
        let address = server.url.strip_prefix("http://").unwrap();
        let (first, rest) = body.split_at(body.len() / 2);
        let mut stream = TcpStream::connect(address).unwrap();
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {length}\r\nexpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // Told to go on, it is under way.
        let mut told = [0; 25];
        stream.read_exact(&mut told).unwrap();
        assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(first).unwrap();
        Self { stream, rest }
    }

    fn finish(mut self) -> (u16, String) {
        self.stream.write_all(self.rest).unwrap();
        answer(&mut self.stream)
    }
}

#[test]
fn a_request_half_sent_ends_with_its_senders_rights() {
    let server = Server::start();
    housing(&server);
    let key = server.put_user("ana", &policy(vec![statement("Allow", json!(["s3:PutObject", INVOKE]), "*")]));
    let (model, bearer) = (city(1, 100.0), format!("authorization: Bearer {key}\r\n"));
    let row = format!("{bearer}content-type: text/csv\r\nx-amzn-sagemaker-target-model: a/m.json\r\n");
    let upload = Half::send(&server, "PUT /api/v1/models/h/new", &bearer, &model);
    let invoke = Half::send(&server, "POST /endpoints/housing/invocations", &row, HOUSE.as_bytes());
    thread::sleep(Duration::from_millis(500));
    admin(&server, "DELETE", "/api/v1/users/ana", &Value::Null).expect(204);
    let mut open = Open::default();
    for (what, half) in [("an upload", upload), ("a prediction", invoke)] {
        let (status, text) = half.finish();
        if !matches!(status, 401 | 403) {
            open.0.push(format!("{what} of a deleted user: {text}"));
        }
    }
    open.end();
    server.admin("GET", "/api/v1/models/h/new", b"").expect(404);
}

#[test]
fn a_model_is_not_deleted_from_under_an_endpoint_made_meanwhile() {
    let server = Server::start();
    for round in 0..30 {
        let path = format!("h/m{round}");
        server.put_model(&path, &city(1, 100.0)).expect(201);
        let start = Barrier::new(2);
        let (made, deleted) = thread::scope(|scope| {
            let body = json!({ "name": format!("e{round}"), "stages": [{ "model": path }] });
            let (server, start) = (&server, &start);
            let make = scope.spawn(move || {
                start.wait();
                admin(server, "POST", "/api/v1/endpoints", &body).status
            });
            start.wait();
            let deleted = admin(server, "DELETE", &format!("/api/v1/models/{path}"), &Value::Null).status;
            (make.join().unwrap(), deleted)
        });
        assert!((made, deleted) != (201, 204), "round {round}: the endpoint was made and its only model deleted");
    }
}
