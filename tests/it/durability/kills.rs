//! Kill -9.

use super::*;

/// What was asked of one thing in the file, in order, and how far it was acknowledged.
#[derive(Debug, Default)]
struct Asked {
    /// `None`: that it be gone.
    states: Vec<Option<String>>,
    acknowledged: usize,
}

/// Everything that was asked, by the thing it was asked of. Each thing has one writer, so its order is known.
#[derive(Debug, Default)]
struct Ledger(Mutex<BTreeMap<String, Asked>>);

impl Ledger {
    fn asked(&self, thing: &str, state: Option<String>) {
        let mut all = self.0.lock().unwrap();
        // Nothing is there at first.
        all.entry(thing.to_owned()).or_insert_with(|| Asked { states: vec![None], acknowledged: 0 }).states.push(state);
    }

    fn acknowledged(&self, thing: &str) {
        let mut all = self.0.lock().unwrap();
        let asked = all.get_mut(thing).unwrap();
        asked.acknowledged = asked.states.len() - 1;
    }

    /// What the last write that was acknowledged left.
    fn now(&self, thing: &str) -> Option<String> {
        let all = self.0.lock().unwrap();
        all.get(thing).and_then(|asked| asked.states[asked.acknowledged].clone())
    }
}

/// Sends a write and keeps the ledger. `false` once the server is gone.
fn write(client: &Client, ledger: &Ledger, thing: &str, state: Option<String>, (method, path, body): (&str, &str, &[u8])) -> bool {
    ledger.asked(thing, state);
    match client.send(method, path, &[], body) {
        Ok(reply) if (200..300).contains(&reply.status) => {
            ledger.acknowledged(thing);
            true
        }
        Ok(reply) => panic!("{method} {path}: {} {}", reply.status, reply.text()),
        Err(_) => false,
    }
}

/// What a thing of the ledger is now, asked through the door.
fn found(server: &Server, thing: &str) -> Option<String> {
    let (noun, name) = thing.split_once(' ').unwrap();
    match noun {
        "model" => version_at(server, name),
        "policy" => {
            let request = json!({ "principal": name, "action": "s3:GetObject", "resource": "arn:aws:s3:::k/x" });
            let told = server.admin("POST", "/api/v1/simulate", request.to_string().as_bytes()).expect(200).json();
            told["statements"][0]["sid"].as_str().map(str::to_owned)
        }
        _ => (server.admin("GET", &format!("/api/v1/{noun}/{name}"), b"").status == 200).then(|| "there".to_owned()),
    }
}

/// What the writers of the kill test share.
struct Writers<'a> {
    ledger: &'a Ledger,
    /// Every write is another one.
    serial: &'a AtomicU64,
    /// What each version answers.
    scores: &'a Mutex<HashMap<String, f32>>,
}

impl Writers<'_> {
    fn next(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Replaces a few paths by turns, and deletes one now and then, until the server is gone.
    fn upload(&self, client: &Client, name: &str, pool: &[Sample]) {
        loop {
            let serial = self.next();
            let path = format!("k/{name}-{}", serial % 3);
            let thing = format!("model {path}");
            let going = if serial % 5 == 4 && self.ledger.now(&thing).is_some() {
                write(client, self.ledger, &thing, None, ("DELETE", &format!("/api/v1/models/{path}"), b""))
            } else {
                let sample = &pool[serial as usize % pool.len()];
                let bytes = padded(sample, serial);
                let version = version_of(&bytes);
                self.scores.lock().unwrap().insert(version.clone(), sample.score);
                write(client, self.ledger, &thing, Some(version), ("PUT", &format!("/api/v1/models/{path}"), &bytes))
            };
            if !going {
                return;
            }
        }
    }

    fn edit_policies(&self, client: &Client) {
        loop {
            let (sid, document) = numbered(self.next());
            let user = if sid.ends_with(['1', '3', '5', '7', '9']) { "odd" } else { "even" };
            let path = format!("/api/v1/users/{user}/policies/own");
            if !write(client, self.ledger, &format!("policy {user}"), Some(sid), ("PUT", &path, document.as_bytes())) {
                return;
            }
        }
    }

    fn make_users_and_endpoints(&self, client: &Client) {
        loop {
            let serial = self.next();
            let noun = if serial.is_multiple_of(2) { "users" } else { "endpoints" };
            let name = format!("n{}", serial % 6);
            let thing = format!("{noun} {name}");
            let going = if self.ledger.now(&thing).is_some() {
                write(client, self.ledger, &thing, None, ("DELETE", &format!("/api/v1/{noun}/{name}"), b""))
            } else {
                let body = if noun == "users" { json!({ "name": name }) } else { json!({ "name": name, "stages": [{ "prefix": "k/" }] }) };
                let body = body.to_string();
                write(client, self.ledger, &thing, Some("there".to_owned()), ("POST", &format!("/api/v1/{noun}"), body.as_bytes()))
            };
            if !going {
                return;
            }
        }
    }
}

#[test]
fn fifty_kills_lose_nothing_that_was_acknowledged_and_show_nothing_half_done() {
    let small = Sample::many(0..10);
    let big = [large(100), large(101)];
    let flags = ["--keep-versions", "3"];
    let mut home = Server::start();
    home.put_endpoint("k", &json!([{ "prefix": "k/" }]));
    for user in ["odd", "even"] {
        home.admin("POST", "/api/v1/users", json!({ "name": user }).to_string().as_bytes()).expect(201);
    }
    home.terminate();
    let (ledger, serial, scores) = (Ledger::default(), AtomicU64::new(0), Mutex::new(HashMap::new()));
    let writers = Writers { ledger: &ledger, serial: &serial, scores: &scores };
    let mut unacknowledged_but_done = 0;
    let mut server = again(&home, &flags);
    let staged = || number(&sql(&home.db), "SELECT count(*) FROM blob WHERE ready = 0");
    let mut round = 0;
    // And more of them where none of the fifty came while an upload was staged.
    while round < 50 || (round < 500 && staged() == 0) {
        thread::scope(|scope| {
            for name in ["a", "b"] {
                let (one, other) = (Client::of(&server), Client::of(&server));
                let (writers, small, big) = (&writers, &small, &big);
                scope.spawn(move || writers.upload(&one, name, small));
                scope.spawn(move || writers.upload(&other, &format!("large-{name}"), big));
            }
            let (one, other) = (Client::of(&server), Client::of(&server));
            scope.spawn(|| writers.edit_policies(&{ one }));
            scope.spawn(|| writers.make_users_and_endpoints(&{ other }));
            // A different moment each time, spread over what an upload of the large ones takes.
            thread::sleep(Duration::from_millis(20 + round * 0x9e37 % 400));
            server.kill();
        });
        if round % 10 == 9 {
            // The first to open the file after the kill, so it is what recovers it.
            verified(&home.db);
        }
        server = again(&home, &flags);
        let client = Client::of(&server);
        for (thing, asked) in ledger.0.lock().unwrap().iter_mut() {
            let is = found(&server, thing);
            let allowed = &asked.states[asked.acknowledged..];
            assert!(allowed.contains(&is), "round {round}: {thing} is {is:?}; acknowledged, then tried: {allowed:?}");
            unacknowledged_but_done += usize::from(allowed[0] != is);
            if let (Some(path), Some(version)) = (thing.strip_prefix("model k/"), &is) {
                let reply = client.invoke("k", path).expect(200);
                assert_eq!(reply.header("x-rookery-model-version"), Some(version.as_str()));
                assert_eq!(score(&reply), scores.lock().unwrap()[version], "round {round}: {thing}");
            }
            *asked = Asked { states: vec![is], acknowledged: 0 };
        }
        round += 1;
    }
    assert_eq!(server.terminate(), 0);
    let writes = serial.load(Ordering::Relaxed);
    let cut_uploads = staged();
    println!("{writes} writes, {cut_uploads} staged remains, {unacknowledged_but_done} done but not acknowledged");
    assert!(cut_uploads > 0, "no kill hit an upload while it was staged; the test shows nothing");
    verified(&home.db);
    let file = sql(&home.db);
    let versions = number(&file, "SELECT count(*) FROM version");
    assert_eq!(number(&file, "SELECT count(*) FROM blob WHERE ready = 1"), 2 * versions);
    let torn = "SELECT count(*) FROM blob b WHERE b.bytes <> (SELECT coalesce(sum(length(data)), 0) FROM chunk WHERE blob = b.id)";
    assert_eq!(number(&file, torn), 0);
    // Once they are old, the remains of the dead uploads go.
    file.execute("UPDATE blob SET touched_at = touched_at - 1000 WHERE ready = 0", []).unwrap();
    drop(file);
    let mut server = again(&home, &flags);
    server.admin("GET", "/api/v1/models", b"").expect(200);
    assert_eq!(counts(&home.db)["blob"], 2 * versions);
    assert_eq!(number(&sql(&home.db), "SELECT count(*) FROM chunk WHERE blob NOT IN (SELECT id FROM blob)"), 0);
    assert_eq!(server.terminate(), 0);
    assert_eq!(verified(&home.db)["uploadsUnderWay"], 0);
}
