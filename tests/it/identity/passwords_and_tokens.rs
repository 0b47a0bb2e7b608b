//! Passwords and tokens.

use super::*;

#[test]
fn a_login_gives_a_token_and_all_refusals_sound_alike() {
    let server = Server::start();
    for name in ["ana", "gone", "keys-only"] {
        make_user(&server, &json!({ "name": name, "password": PASSWORD }));
    }
    admin(&server, "PATCH", "/api/v1/users/gone", &json!({ "disabled": true })).expect(204);
    admin(&server, "PATCH", "/api/v1/users/keys-only", &json!({ "password": null })).expect(204);
    let before = now();
    let good = log_in(&server.url, "ana", PASSWORD).expect(200);
    assert_eq!(good.header("cache-control"), Some("no-store"));
    assert!((before + 3600..=now() + 3600).contains(&good.json()["expiresAt"].as_i64().unwrap()));
    // Names do not differ by case; what one is called stays as it was made.
    let me = who(&server, &token(&server, "ANA", PASSWORD)).expect(200).json();
    assert_eq!((&me["name"], &me["arn"]), (&json!("ana"), &json!("arn:aws:iam::000000000000:user/ana")));
    let wrong = log_in(&server.url, "ana", "a password of no words").expect(401);
    let long = "x".repeat(2000);
    for (name, password) in
        [("nobody", PASSWORD), ("gone", PASSWORD), ("keys-only", PASSWORD), ("keys-only", ""), ("", ""), ("ana ", PASSWORD), ("ana", &long)]
    {
        let other = log_in(&server.url, name, password);
        assert_eq!((other.status, &other.body), (wrong.status, &wrong.body), "`{name}`");
        assert_eq!(other.header("www-authenticate"), wrong.header("www-authenticate"));
    }
    for body in ["", "{}", "[]", r#"{"name":"ana"}"#, r#"{"name":"ana","password":"x","admin":true}"#, "\u{0}"] {
        server.send("POST", "/api/v1/login", "", &[], body.as_bytes()).expect(400);
    }
    server.send("POST", "/api/v1/login", "", &[], &vec![b' '; 20_000]).expect(413);
}

#[test]
fn a_token_ends_at_once_with_logout_password_change_disabling_and_deletion() {
    let server = Server::start();
    let fresh = |name: &str| {
        make_user(&server, &json!({ "name": name, "password": PASSWORD }));
        let token = token(&server, name, PASSWORD);
        who(&server, &token).expect(200);
        token
    };
    let (one, other) = (fresh("out"), token(&server, "out", PASSWORD));
    call(&server, &one, "POST", "/api/v1/logout", &Value::Null).expect(204);
    who(&server, &one).expect(401);
    who(&server, &other).expect(200);
    call(&server, &one, "POST", "/api/v1/logout", &Value::Null).expect(401);

    let old = fresh("changed");
    admin(&server, "PATCH", "/api/v1/users/changed", &json!({ "password": "another long password" })).expect(204);
    who(&server, &old).expect(401);
    log_in(&server.url, "changed", PASSWORD).expect(401);
    log_in(&server.url, "changed", "another long password").expect(200);

    let old = fresh("paused");
    admin(&server, "PATCH", "/api/v1/users/paused", &json!({ "disabled": true })).expect(204);
    who(&server, &old).expect(401);
    admin(&server, "PATCH", "/api/v1/users/paused", &json!({ "disabled": false })).expect(204);
    who(&server, &old).expect(401);

    let old = fresh("gone");
    admin(&server, "DELETE", "/api/v1/users/gone", &Value::Null).expect(204);
    who(&server, &old).expect(401);
    fresh("gone");
    who(&server, &old).expect(401);
    // A key is not ended by signing out.
    call(&server, &server.admin, "POST", "/api/v1/logout", &Value::Null).expect(400);
    who(&server, &server.admin).expect(200);
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn hs256(secret: &[u8], text: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
    mac.update(text.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

fn hs512(secret: &[u8], text: &str) -> String {
    let mut mac = Hmac::<sha2::Sha512>::new_from_slice(secret).unwrap();
    mac.update(text.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// A token as a forger would write it.
fn forged(algorithm: &str, claims: &Value, secret: &[u8]) -> String {
    let text = format!("{}.{}", part(&json!({ "alg": algorithm, "typ": "JWT" })), part(claims));
    let mac = if algorithm == "HS512" { hs512(secret, &text) } else { hs256(secret, &text) };
    format!("{text}.{mac}")
}

#[test]
fn a_token_tampered_with_is_refused() {
    let server = Server::start();
    make_user(&server, &json!({ "name": "ana", "password": PASSWORD }));
    let genuine = token(&server, "ana", PASSWORD);
    let pieces: Vec<&str> = genuine.split('.').collect();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(pieces[1]).unwrap()).unwrap();
    let store = rookery::store::Store::open(&server.db).unwrap();
    let secret = rookery::authn::MasterKey::open(&store).unwrap().derive("token");
    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        changed
    };
    let without = |name: &str| {
        let mut changed = claims.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed
    };
    // Whoever has the server's key can make tokens, which is what makes the refusals below mean something.
    who(&server, &forged("HS256", &with("jti", json!("mine")), &secret)).expect(200);
    let root = who(&server, &server.admin).expect(200).json()["userId"].clone();
    let mut bad = vec![
        ("another key", forged("HS256", &claims, b"secret")),
        ("an empty key", forged("HS256", &claims, b"")),
        ("another user under the old signature", format!("{}.{}.{}", pieces[0], part(&with("sub", root)), pieces[2])),
        ("HS512 under the right key", forged("HS512", &claims, &secret)),
        ("RS256", forged("RS256", &claims, &secret)),
        ("ES256", forged("ES256", &claims, &secret)),
        ("lower case", forged("hs256", &claims, &secret)),
        ("none, signed", forged("none", &claims, &secret)),
        ("none", format!("{}.{}.", part(&json!({ "alg": "none" })), pieces[1])),
        ("None", format!("{}.{}.", part(&json!({ "alg": "None" })), pieces[1])),
        ("none without a third part", format!("{}.{}", part(&json!({ "alg": "none" })), pieces[1])),
        ("the genuine header without a signature", format!("{}.{}.", pieces[0], pieces[1])),
        ("expired", forged("HS256", &with("exp", json!(now() - 1)), &secret)),
        ("expiring now", forged("HS256", &with("exp", json!(now())), &secret)),
        ("no expiry", forged("HS256", &without("exp"), &secret)),
        ("expiry as text", forged("HS256", &with("exp", json!("9999999999")), &secret)),
        ("expiry beyond numbers", forged("HS256", &with("exp", json!(1e300)), &secret)),
        ("not yet", forged("HS256", &with("nbf", json!(now() + 1000)), &secret)),
        ("no beginning", forged("HS256", &without("nbf"), &secret)),
        ("another issuer", forged("HS256", &with("iss", json!("elsewhere")), &secret)),
        ("no issuer", forged("HS256", &without("iss"), &secret)),
        ("another audience", forged("HS256", &with("aud", json!("elsewhere")), &secret)),
        ("no audience", forged("HS256", &without("aud"), &secret)),
        ("no id", forged("HS256", &without("jti"), &secret)),
        ("another generation", forged("HS256", &with("generation", json!(7)), &secret)),
        ("a user that is not", forged("HS256", &with("sub", json!("AIDAAAAAAAAAAAAAAAAA")), &secret)),
        ("a name for an id", forged("HS256", &with("sub", json!("root-admin")), &secret)),
        ("more behind", format!("{genuine}A")),
        ("a fourth part", format!("{genuine}.e30")),
        ("padding", format!("{genuine}=")),
        ("huge", format!("{}.{}.{}", pieces[0], "A".repeat(60_000), pieces[2])),
        ("huge but signed", forged("HS256", &with("more", json!("x".repeat(8000))), &secret)),
    ];
    let last = genuine.len() - 1;
    bad.extend((0..last).step_by(11).map(|end| ("cut off", genuine[..end].to_owned())));
    bad.extend((0..=last).step_by(7).map(|at| {
        let swap = if genuine.as_bytes()[at] == b'B' { "C" } else { "B" };
        ("one letter changed", format!("{}{swap}{}", &genuine[..at], &genuine[at + 1..]))
    }));
    let mut open = Open::default();
    for (what, token) in bad {
        // An empty credential is none.
        let token = if token.is_empty() { "." } else { &token };
        open.expect(what, &who(&server, token), 401);
    }
    open.end();
    who(&server, &genuine).expect(200);
}

#[test]
fn a_token_expires_by_itself() {
    let server = Server::with(&["--token-seconds", "2"]);
    // On a machine that stalls one may end before it was shown; the next one need not.
    let fresh = || Some(token(&server, "root-admin", ADMIN_PASSWORD)).filter(|token| who(&server, token).status == 200);
    let token = (0..50).find_map(|_| fresh()).expect("no token was taken within its time");
    // Its signature is remembered by now; its time is asked each time.
    wait_for("the token ends", || who(&server, &token).status == 401);
    assert!(who(&server, &token).expect(401).message().contains("expired"));
}
