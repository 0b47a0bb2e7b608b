//! The key file.

use super::*;

#[test]
fn a_start_with_a_wrong_key_file_says_what_to_do() {
    let sample = Sample::new(1, 5, 3);
    let mut server = Server::start();
    server.put_model("e/m", &sample.bytes).expect(201);
    let login = json!({ "name": "root-admin", "password": crate::support::ADMIN_PASSWORD }).to_string();
    let token = server.send("POST", "/api/v1/login", "", &[], login.as_bytes()).expect(200).json()["token"].as_str().unwrap().to_owned();
    assert_eq!(server.terminate(), 0);
    let (db, key) = (text(&server.db).to_owned(), beside(&server.db, ".key"));
    let own = std::fs::read(&key).unwrap();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--db", &db];
    let verb = ["user", "list", "--db", &db];
    let put = |bytes: &[u8], mode: u32| {
        std::fs::write(&key, bytes).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused_with = |words: &[&str]| {
        for arguments in [&serve[..], &verb[..]] {
            let error = refused(arguments);
            for word in words.iter().chain(&[text(&key)]) {
                assert!(error.contains(word), "`{word}` is not in: {error}");
            }
        }
    };
    for mode in [0o644, 0o640, 0o604, 0o660] {
        put(&own, mode);
        refused_with(&["chmod 600"]);
    }
    let stranger = Server::start();
    put(&std::fs::read(beside(&stranger.db, ".key")).unwrap(), 0o600);
    refused_with(&["another database", "put back"]);
    for broken in [&b""[..], b"not a key\n", &own[..40]] {
        put(broken, 0o600);
        refused_with(&["put back"]);
    }
    std::fs::remove_file(&key).unwrap();
    refused_with(&["missing", "put it back", "rookery key reset-master"]);
    assert!(!key.exists(), "a lost key is not quietly replaced");
    // What the message says works: tokens end, API keys and models stay.
    let (code, _, error) = rookery(&["key", "reset-master", "--db", &db], "");
    assert_eq!(code, 0, "{error}");
    assert!(error.contains("restart the server"), "a server that runs goes on with the old key: {error}");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let mut server = again(&server, &[]);
    assert_eq!(version_at(&server, "e/m"), Some(sample.version.clone()));
    server.send("GET", "/api/v1/whoami", &token, &[], b"").expect(401);
    assert_eq!(server.terminate(), 0);
    // The old one is now a foreign one.
    put(&own, 0o600);
    refused_with(&["another database"]);
}
