//! Guessing.

use super::*;

/// What fails after a minute may have failed because the guesses were forgotten by then, as is right; it is tried again.
fn within_a_minute(test: fn()) {
    for _ in 0..5 {
        let began = Instant::now();
        match std::panic::catch_unwind(test) {
            Ok(()) => return,
            Err(panic) if began.elapsed() < Duration::from_secs(60) => std::panic::resume_unwind(panic),
            Err(_) => {}
        }
    }
    panic!("the machine is too slow to guess eleven times in a minute");
}

#[test]
fn the_eleventh_failed_sign_in_of_a_minute_is_refused_unchecked() {
    within_a_minute(guess_eleven_times);
}

fn guess_eleven_times() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("t.db");
    for name in ["ana", "bob"] {
        let (code, _, error) = rookery(&["user", "create", name, "--password-stdin", "--db", db.to_str().unwrap()], PASSWORD);
        assert_eq!(code, 0, "{error}");
    }
    // Both families, so that one test has two addresses.
    let server = serve(&db, &["--listen", "[::]:0", "--insecure"]);
    let port = server.url.rsplit_once(':').unwrap().1;
    let (here, there) = (format!("http://127.0.0.1:{port}"), format!("http://[::1]:{port}"));
    // Those who know their password are not counted.
    for _ in 0..12 {
        log_in(&here, "ana", PASSWORD).expect(200);
    }
    for at in 0..10 {
        log_in(&here, if at % 2 == 0 { "ana" } else { "ANA" }, "a wrong password").expect(401);
    }
    let refused = log_in(&here, "ana", "a wrong password").expect(429);
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    assert_eq!(refused.json()["error"]["kind"], "Throttled");
    assert_eq!(log_in(&here, "ana", PASSWORD).expect(429).body, refused.body, "a right guess is told apart from a wrong one");
    // The address has guessed too often as well, whatever the name.
    log_in(&here, "bob", PASSWORD).expect(429);
    log_in(&here, "nobody", "x").expect(429);
    let form = [("origin", here.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    send(&here, "POST", "/ui/sign-in", "", &form, b"name=bob&password=a+password+of+nine+words").unwrap().expect(429);
    // From elsewhere: the same name no, another yes.
    log_in(&there, "ana", PASSWORD).expect(429);
    log_in(&there, "bob", PASSWORD).expect(200);
}

#[test]
fn new_passwords_are_hashed_a_few_at_a_time() {
    let server = Server::start();
    make_user(&server, &json!({ "name": "ana", "password": PASSWORD }));
    let change = || admin(&server, "PATCH", "/api/v1/users/ana", &json!({ "password": PASSWORD })).status;
    let told: Vec<u16> = thread::scope(|scope| {
        let all: Vec<_> = (0..64).map(|_| scope.spawn(change)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    // Each takes 19 MiB: whoever sends many at once must not take that many times as much.
    assert!(told.iter().all(|status| [204, 503].contains(status)), "{told:?}");
    assert!(told.contains(&204) && told.contains(&503), "{told:?}");
}

#[test]
fn who_is_refused_for_load_has_not_guessed() {
    within_a_minute(sign_in_under_load);
}

fn sign_in_under_load() {
    let server = Server::start();
    make_user(&server, &json!({ "name": "ana", "password": PASSWORD }));
    let at_once = || {
        let gate = Barrier::new(40);
        let replies: Vec<Reply> = thread::scope(|scope| {
            let one = || {
                gate.wait();
                log_in(&server.url, "ana", PASSWORD)
            };
            let running: Vec<_> = (0..40).map(|_| scope.spawn(one)).collect();
            running.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let refused: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
        for reply in &refused {
            assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{}", reply.text());
            assert_eq!(reply.json()["error"]["kind"], "Unavailable");
        }
        refused.len()
    };
    // A slow machine may bring them one after the other.
    let refused = (0..20).map(|_| at_once()).find(|refused| *refused > 0).unwrap_or_default();
    assert!((1..40).contains(&refused), "{refused} of 40 were refused");
    // None of them counts: all ten wrong ones are still to be had.
    for _ in 0..10 {
        log_in(&server.url, "ana", "a wrong password").expect(401);
    }
    log_in(&server.url, "ana", PASSWORD).expect(429);
}
