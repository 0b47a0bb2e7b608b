//! Many at once: models replaced under load, memory under pressure, one load for all who wait, servers that are full.
//!
//! Every answer is compared with what the version it names predicts. Next: `senders.rs`, those who are slow;
//! `durability/mod.rs`, which kills the server.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

use rookery::artifact::{Artifact, Limits};
use rookery::cli::demo::city;
use rookery::runtime;
use rookery::tensor::Tensor;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::senders::{head, raw};
use crate::support::{HOUSE, PATIENCE, Reply, Server, processor_time, wait_for};

/// A model with what is known of it before it is uploaded.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) bytes: Vec<u8>,
    /// Its version: the SHA-256 of the bytes.
    pub(crate) version: String,
    /// What it answers for [`HOUSE`].
    pub(crate) score: f32,
    /// Bytes in memory when loaded.
    pub(crate) weight: u64,
}

impl Sample {
    /// `trees` complete trees, `depth` deep; each `seed` is another model.
    pub(crate) fn new(seed: u64, trees: usize, depth: u32) -> Self {
        let bytes = city::model(seed, 1000.0 + seed as f32, trees, depth).into_bytes();
        let artifact = Artifact::read(bytes.as_slice(), Limits::default()).unwrap();
        let prepared = runtime::prepare(artifact).unwrap();
        let model = runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap();
        let row: Vec<f32> = HOUSE.split(',').map(|cell| cell.parse().unwrap()).collect();
        let score = model.predict(&[Tensor::new(row.len(), row).unwrap().into()]).unwrap().scores.f32s().unwrap().values()[0];
        let version = version_of(&bytes);
        Self { bytes, version, score, weight: prepared.summary.weight as u64 }
    }

    /// Several small ones.
    pub(crate) fn many(seeds: std::ops::Range<u64>) -> Vec<Self> {
        seeds.map(|seed| Self::new(seed, 5, 3)).collect()
    }
}

/// The name bytes get when they are uploaded.
pub(crate) fn version_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The score of an answer to one row.
pub(crate) fn score(reply: &Reply) -> f32 {
    reply.json()["predictions"][0]["score"].as_f64().unwrap() as f32
}

/// A caller that keeps its connection, as real ones do.
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
    key: String,
}

impl Client {
    pub(crate) fn of(server: &Server) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
        Self { agent, url: server.url.clone(), key: server.admin.clone() }
    }

    /// Sends a request as the administrator; an error is a connection that failed.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        request = request.header("authorization", format!("Bearer {}", self.key));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = self.agent.run(request.body(body).unwrap())?;
        let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        Ok(Reply { status: answer.status().as_u16(), headers, body: answer.body_mut().with_config().limit(64 << 20).read_to_vec()? })
    }

    /// One row to an endpoint's target model.
    pub(crate) fn invoke(&self, endpoint: &str, target: &str) -> Reply {
        let headers = [("content-type", "text/csv"), ("x-amzn-sagemaker-target-model", target)];
        self.send("POST", &format!("/endpoints/{endpoint}/invocations"), &headers, HOUSE.as_bytes()).unwrap()
    }
}

fn memory(server: &Server) -> Value {
    server.admin("GET", "/api/v1/cache", b"").expect(200).json()
}

/// The versions in memory.
fn loaded(server: &Server) -> HashSet<String> {
    let shown = memory(server);
    shown["loaded"].as_array().unwrap().iter().map(|entry| entry["version"].as_str().unwrap().to_owned()).collect()
}

/// A restart on the same file with the same key.
fn again(old: &Server, flags: &[&str]) -> Server {
    let mut server = Server::on(&old.db, flags);
    server.admin.clone_from(&old.admin);
    server
}

/// Tells others to end when it is dropped, also by a panic: else the test would wait for them for ever.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Replaces and, every `deletes`th time, deletes `h/m` while 16 clients call it through `endpoint`, and holds every
/// answer against what the path was, or was being made, during that very call. A call that was overtaken by one write
/// after the other may be told to come again, and does.
fn hammer(server: &Server, endpoint: &str, rounds: u64, deletes: u64) {
    // What is done to the path, one after the other; `None` is a deletion.
    let writes: Vec<Option<Sample>> = (0..rounds).map(|at| (at % deletes != deletes - 1).then(|| Sample::new(at, 5, 3))).collect();
    let place: HashMap<&str, usize> =
        writes.iter().enumerate().filter_map(|(at, write)| Some((write.as_ref()?.version.as_str(), at))).collect();
    server.put_model("h/m", &writes[0].as_ref().unwrap().bytes).expect(201);
    let (begun, done, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let (answers, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let check = |client: &Client| {
        // Every write before this one was acknowledged before the call began.
        let first = done.load(Ordering::SeqCst);
        let reply = client.invoke(endpoint, "m");
        let last = begun.load(Ordering::SeqCst);
        if reply.status == 503 && reply.header("retry-after").is_some() {
            return Ok(());
        }
        answers.fetch_add(1, Ordering::SeqCst);
        match reply.status {
            200 => {
                let version = reply.header("x-rookery-model-version").unwrap();
                let at = place[version];
                let expected = writes[at].as_ref().unwrap().score;
                if score(&reply) != expected {
                    Err(format!("write {at}: version {version} answers {expected}, not {}", reply.text()))
                } else if at < first || at > last {
                    Err(format!("the answer is write {at}'s; the call ran during writes {first} to {last}"))
                } else {
                    Ok(())
                }
            }
            400 if writes[first..=last].iter().any(Option::is_none) => Ok(()),
            status => Err(format!("{status} during writes {first} to {last}: {}", reply.text())),
        }
    };
    thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..16 {
            scope.spawn(|| {
                let client = Client::of(server);
                while !over.load(Ordering::SeqCst) {
                    if let Err(what) = check(&client) {
                        wrong.lock().unwrap().push(what);
                    }
                }
            });
        }
        let writer = Client::of(server);
        for (at, write) in writes.iter().enumerate().skip(1) {
            thread::sleep(Duration::from_millis(at as u64 % 4 * 3));
            // However slow the machine is, there are answers between the writes.
            wait_for("answers to every write", || answers.load(Ordering::SeqCst) >= at * 2);
            begun.store(at, Ordering::SeqCst);
            let reply = match write {
                Some(sample) => writer.send("PUT", "/api/v1/models/h/m", &[], &sample.bytes).unwrap(),
                None => writer.send("DELETE", "/api/v1/models/h/m", &[], b"").unwrap(),
            };
            assert!((200..300).contains(&reply.status), "write {at}: {}", reply.text());
            done.store(at, Ordering::SeqCst);
        }
    });
    let (answers, wrong) = (answers.into_inner(), wrong.into_inner().unwrap());
    assert!(wrong.is_empty(), "{} of {answers} answers are wrong, such as:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    assert!(answers > 100, "only {answers} calls were made; the test shows nothing");
}

#[test]
fn every_answer_is_wholly_the_old_or_the_new_version_and_never_the_old_after_the_acknowledgement() {
    let server = Server::start();
    server.put_endpoint("h", &json!([{ "prefix": "h/" }]));
    hammer(&server, "h", 90, 3);
}

#[test]
fn that_holds_too_when_nothing_stays_loaded_and_old_versions_go_at_once() {
    // Every call reads the file, and what it wants to read was perhaps deleted a moment ago.
    let server = Server::with(&["--keep-versions", "1"]);
    server.put_endpoint("h", &json!([{ "prefix": "h/", "modelCacheSetting": "Disabled" }]));
    hammer(&server, "h", 120, 3);
}

#[test]
fn a_path_that_is_only_ever_replaced_is_never_missing() {
    let server = Server::with(&["--keep-versions", "1"]);
    server.put_endpoint("h", &json!([{ "prefix": "h/", "modelCacheSetting": "Disabled" }]));
    hammer(&server, "h", 400, u64::MAX);
}

#[test]
fn a_load_that_waited_for_room_reads_the_version_it_names() {
    // Nothing waits for room longer than two seconds, in which a slow machine may not get all of this done.
    assert!((0..20).any(|_| room_is_made_in_time()), "no load waited long enough");
}

/// Whether the load was still waiting when it got its room, and so was answered.
fn room_is_made_in_time() -> bool {
    let [pinned, first, second] = [1, 2, 3].map(|seed| Sample::new(seed, 5, 3));
    let server = Server::with(&["--memory", &(pinned.weight * 3 / 2).to_string()]);
    server.put_endpoint("w", &json!([{ "prefix": "w/" }]));
    server.put_model("p/pinned", &pinned.bytes).expect(201);
    server.put_model("w/first", &first.bytes).expect(201);
    server.admin("PUT", "/api/v1/cache/pins/p/pinned", b"").expect(204);
    let in_time = thread::scope(|scope| {
        // Found in the file, but there is no room yet.
        let waiting = scope.spawn(|| Client::of(&server).invoke("w", "first"));
        wait_for("the call is under way or refused", || waiting.is_finished() || server.in_flight() == 1);
        thread::sleep(Duration::from_millis(100));
        server.admin("DELETE", "/api/v1/models/w/first", b"").expect(204);
        server.put_model("w/second", &second.bytes).expect(201);
        server.admin("DELETE", "/api/v1/cache/pins/p/pinned", b"").expect(204);
        let reply = waiting.join().unwrap();
        match reply.status {
            200 => {
                assert_eq!(reply.header("x-rookery-model-version"), Some(first.version.as_str()));
                assert_eq!(score(&reply), first.score, "the answer is another model's (the second's is {})", second.score);
            }
            503 => assert!(reply.header("retry-after").is_some()),
            status => assert_eq!(status, 400, "{}", reply.text()),
        }
        reply.status != 503
    });
    // Nor did it leave something wrong behind under that name.
    server.put_model("w/first", &first.bytes).expect(201);
    assert_eq!(score(&Client::of(&server).invoke("w", "first").expect(200)), first.score);
    assert_eq!(score(&Client::of(&server).invoke("w", "second").expect(200)), second.score);
    in_time
}

#[test]
fn the_budget_holds_while_six_times_as_many_models_are_called_as_fit() {
    let samples = Sample::many(0..60);
    let weight = samples[0].weight;
    let server = Server::with(&["--memory", &(weight * 10 + weight / 2).to_string()]);
    for (at, sample) in samples.iter().enumerate() {
        server.put_model(&format!("b/{at}"), &sample.bytes).expect(201);
    }
    server.put_endpoint("b", &json!([{ "prefix": "b/" }]));
    let (right, full, left) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(6));
    let mut looks = 0;
    thread::scope(|scope| {
        for caller in 0..6usize {
            let (server, samples, right, full, left) = (&server, &samples, &right, &full, &left);
            scope.spawn(move || {
                let client = Client::of(server);
                for turn in 0..500usize {
                    // Half of the calls go to a few, half to all.
                    let at = if turn % 2 == 0 { (turn / 2 + caller) % 6 } else { (turn * 7 + caller * 11) % 60 };
                    let reply = client.invoke("b", &at.to_string());
                    if reply.status == 503 {
                        assert!(reply.header("retry-after").is_some());
                        full.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    let reply = reply.expect(200);
                    assert_eq!(reply.header("x-rookery-model-version"), Some(samples[at].version.as_str()));
                    assert_eq!(score(&reply), samples[at].score);
                    right.fetch_add(1, Ordering::Relaxed);
                }
                left.fetch_sub(1, Ordering::Relaxed);
            });
        }
        while left.load(Ordering::Relaxed) > 0 {
            let shown = memory(&server);
            let number = |name: &str| shown[name].as_u64().unwrap();
            assert!(number("usedBytes") <= number("budgetBytes"), "{shown}");
            assert_eq!(number("budgetBytes"), weight * 10 + weight / 2);
            assert!(shown["loaded"].as_array().unwrap().len() <= 10, "{shown}");
            looks += 1;
            thread::sleep(Duration::from_millis(10));
        }
    });
    let (right, full) = (right.into_inner(), full.into_inner());
    assert!(right >= 2900, "{right} of 3000 calls were answered, {full} refused");
    assert!(looks > 10 && memory(&server)["evictions"].as_u64().unwrap() > 100);
}

#[test]
fn a_model_larger_than_the_budget_is_refused_by_name_with_sizes() {
    let (small, large) = (Sample::new(1, 5, 3), Sample::new(2, 50, 5));
    let budget = large.weight - 1;
    let mut server = Server::with(&["--memory", &budget.to_string()]);
    server.put_endpoint("l", &json!([{ "prefix": "l/" }]));
    server.put_model("l/small", &small.bytes).expect(201);
    let refused = server.put_model("l/large", &large.bytes).expect(413);
    for word in ["l/large", &large.weight.to_string(), &budget.to_string(), "--memory"] {
        assert!(refused.message().contains(word), "`{word}` is not in: {}", refused.message());
    }
    server.admin("GET", "/api/v1/models/l/large", b"").expect(404);
    Client::of(&server).invoke("l", "small").expect(200);
    // The same of a model that was there before the server was given less.
    server.terminate();
    let mut server = again(&server, &[]);
    server.put_model("l/large", &large.bytes).expect(201);
    server.terminate();
    let server = again(&server, &["--memory", &budget.to_string()]);
    let refused = Client::of(&server).invoke("l", "large");
    assert!(refused.status >= 400 && refused.status != 500, "{}", refused.text());
    for word in ["l/large", &large.weight.to_string(), &budget.to_string()] {
        assert!(refused.message().contains(word), "`{word}` is not in: {}", refused.message());
    }
    Client::of(&server).invoke("l", "small").expect(200);
}

#[test]
fn two_hundred_first_calls_at_once_are_one_load() {
    let server = Server::start();
    server.put_endpoint("s", &json!([{ "prefix": "s/" }]));
    for round in 0..3 {
        // Large enough that its load takes a while.
        let sample = Sample::new(round, 200, 6);
        let target = round.to_string();
        server.put_model(&format!("s/{target}"), &sample.bytes).expect(201);
        let before = memory(&server)["loads"].as_u64().unwrap();
        let gate = Barrier::new(200);
        thread::scope(|scope| {
            for _ in 0..200 {
                scope.spawn(|| {
                    let client = Client::of(&server);
                    // The connection is open before the gate is.
                    client.send("GET", "/healthz", &[], b"").unwrap().expect(200);
                    gate.wait();
                    let reply = client.invoke("s", &target).expect(200);
                    assert_eq!(score(&reply), sample.score);
                });
            }
        });
        assert_eq!(memory(&server)["loads"].as_u64().unwrap() - before, 1);
    }
}

#[test]
fn hot_models_stay_while_a_scan_passes() {
    let samples = Sample::many(0..210);
    let server = Server::with(&["--memory", &(samples[0].weight * 20).to_string()]);
    for (at, sample) in samples.iter().enumerate() {
        server.put_model(&format!("c/{at}"), &sample.bytes).expect(201);
    }
    server.put_endpoint("c", &json!([{ "prefix": "c/" }]));
    let client = Client::of(&server);
    let hot = 0..10usize;
    for _ in 0..5 {
        for at in hot.clone() {
            client.invoke("c", &at.to_string()).expect(200);
        }
    }
    let before = memory(&server)["loads"].as_u64().unwrap();
    assert_eq!(before, 10);
    for (at, sample) in samples.iter().enumerate().skip(10) {
        assert_eq!(score(&client.invoke("c", &at.to_string()).expect(200)), sample.score);
    }
    let loaded = loaded(&server);
    let kept = hot.clone().filter(|at| loaded.contains(&samples[*at].version)).count();
    assert_eq!(kept, 10, "of ten hot models {kept} stayed");
    for at in hot {
        client.invoke("c", &at.to_string()).expect(200);
    }
    let shown = memory(&server);
    assert_eq!(shown["loads"], 210, "a hot model was loaded again");
    let why = shown["latestEvictions"][0]["why"].as_str().unwrap();
    assert!(why.contains("not used again"), "{why}");
}

#[test]
fn a_pinned_model_stays_through_scan_restart_and_replacement() {
    let samples = Sample::many(0..60);
    let budget = (samples[0].weight * 3).to_string();
    let flags = ["--memory", &budget];
    let mut server = Server::with(&flags);
    for (at, sample) in samples.iter().enumerate().skip(1) {
        server.put_model(&format!("n/{at}"), &sample.bytes).expect(201);
    }
    server.put_endpoint("n", &json!([{ "prefix": "n/" }]));
    let entry = |server: &Server, sample: &Sample| {
        let shown = memory(server);
        shown["loaded"].as_array().unwrap().iter().find(|entry| entry["version"] == sample.version.as_str()).cloned()
    };
    let scan = |server: &Server| {
        let client = Client::of(server);
        for (at, sample) in samples.iter().enumerate().skip(2) {
            assert_eq!(score(&client.invoke("n", &at.to_string()).expect(200)), sample.score);
        }
    };
    server.admin("PUT", "/api/v1/cache/pins/n/nothing", b"").expect(404);
    server.admin("PUT", "/api/v1/cache/pins/n/1", b"").expect(204);
    assert_eq!(entry(&server, &samples[1]).unwrap()["pinned"], true, "pinning loads");
    scan(&server);
    assert_eq!(entry(&server, &samples[1]).unwrap()["pinned"], true);
    // Killed, not stopped: a pin is on disk when it is acknowledged.
    server.kill();
    let server = again(&server, &flags);
    assert_eq!(memory(&server)["pins"], json!(["n/1"]));
    wait_for("the pinned model is loaded", || entry(&server, &samples[1]).is_some());
    scan(&server);
    assert_eq!(entry(&server, &samples[1]).unwrap()["pinned"], true);
    // The path is pinned, not the bytes.
    server.put_model("n/1", &samples[0].bytes).expect(200);
    assert_eq!(entry(&server, &samples[0]).unwrap()["pinned"], true, "what it becomes is loaded before that is acknowledged");
    assert_eq!(score(&Client::of(&server).invoke("n", "1").expect(200)), samples[0].score);
    scan(&server);
    assert_eq!(entry(&server, &samples[0]).unwrap()["pinned"], true);
    assert!(entry(&server, &samples[1]).is_none(), "the old version is pinned no more");
    // All pins together must fit, and one that does not is not kept.
    server.admin("PUT", "/api/v1/cache/pins/n/2", b"").expect(204);
    server.admin("PUT", "/api/v1/cache/pins/n/3", b"").expect(204);
    let refused = server.admin("PUT", "/api/v1/cache/pins/n/4", b"").expect(413);
    assert!(refused.message().contains(&budget), "{}", refused.message());
    assert!(refused.message().contains("unpin one or raise --memory"), "{}", refused.message());
    assert_eq!(memory(&server)["pins"], json!(["n/1", "n/2", "n/3"]));
    // With all room pinned, others are refused and told when to try again.
    let full = Client::of(&server).invoke("n", "5").expect(503);
    assert!(full.header("retry-after").is_some());
    assert_eq!(score(&Client::of(&server).invoke("n", "2").expect(200)), samples[2].score);
    server.admin("DELETE", "/api/v1/cache/pins/n/2", b"").expect(204);
    server.admin("DELETE", "/api/v1/cache/pins/n/2", b"").expect(404);
    Client::of(&server).invoke("n", "5").expect(200);
    scan(&server);
    assert!(entry(&server, &samples[2]).is_none_or(|entry| entry["pinned"] == false));
    // A pin goes with its path.
    server.admin("DELETE", "/api/v1/models/n/3", b"").expect(204);
    assert_eq!(memory(&server)["pins"], json!(["n/1"]));
}

#[test]
fn a_pin_that_is_refused_for_want_of_room_is_not_kept() {
    let (big, small) = (Sample::new(1, 800, 6), Sample::new(2, 5, 3));
    let mut server = Server::with(&["--body", "32MiB", "--memory", &(big.weight + small.weight / 2).to_string()]);
    server.put_endpoint("n", &json!([{ "prefix": "n/" }]));
    server.put_model("n/big", &big.bytes).expect(201);
    server.put_model("n/small", &small.bytes).expect(201);
    // What is in use is not evicted, and these have it in use one after the other, as long as the server lives.
    let rows = [HOUSE, "\n"].concat().repeat(200_000);
    let headers = [("content-type", "text/csv"), ("x-amzn-sagemaker-target-model", "big")];
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&over);
        for client in (0..6).map(|_| Client::of(&server)) {
            let (rows, over) = (&rows, &over);
            let again =
                move || !over.load(Ordering::SeqCst) && client.send("POST", "/endpoints/n/invocations", &headers, rows.as_bytes()).is_ok();
            scope.spawn(move || while again() {});
        }
        let in_use = |server: &Server| memory(server)["loaded"].as_array().unwrap().iter().any(|entry| entry["inUse"] == true);
        let one = |server: &Server| {
            wait_for("the big one is in use", || in_use(server));
            let reply = server.admin("PUT", "/api/v1/cache/pins/n/small", b"");
            // On a slow machine all of them may be between two calls at once, and then there is room.
            if reply.status == 204 {
                server.admin("DELETE", "/api/v1/cache/pins/n/small", b"").expect(204);
                return None;
            }
            Some(reply.expect(503))
        };
        let refused = (0..20).find_map(|_| one(&server)).expect("there was always room");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(memory(&server)["pins"], json!([]));
        // They need not be waited for.
        server.kill();
    });
}

#[test]
fn pins_set_at_once_all_hold() {
    let samples = Sample::many(0..8);
    let server = Server::start();
    for (at, sample) in samples.iter().enumerate() {
        server.put_model(&format!("n/{at}"), &sample.bytes).expect(201);
    }
    for round in 0..10 {
        let gate = Barrier::new(samples.len());
        thread::scope(|scope| {
            for at in 0..samples.len() {
                let (server, gate) = (&server, &gate);
                scope.spawn(move || {
                    let client = Client::of(server);
                    let path = format!("/api/v1/cache/pins/n/{at}");
                    gate.wait();
                    client.send("PUT", &path, &[], b"").unwrap().expect(204);
                    client.send("DELETE", &path, &[], b"").unwrap().expect(204);
                    client.send("PUT", &path, &[], b"").unwrap().expect(204);
                });
            }
        });
        let shown = memory(&server);
        assert_eq!(shown["pins"].as_array().unwrap().len(), 8, "round {round}: {shown}");
        let loose = shown["loaded"].as_array().unwrap().iter().filter(|entry| entry["pinned"] == false).count();
        assert_eq!(loose, 0, "round {round}: the file says pinned, memory does not: {shown}");
    }
}

#[test]
fn a_larger_version_of_a_pinned_model_is_refused_or_answers() {
    let (small, other, large) = (Sample::new(1, 20, 4), Sample::new(2, 20, 4), Sample::new(3, 40, 4));
    assert!(large.weight + small.weight > small.weight * 5 / 2);
    let server = Server::with(&["--memory", &(small.weight * 5 / 2).to_string()]);
    server.put_endpoint("n", &json!([{ "prefix": "n/" }]));
    for (path, sample) in [("n/a", &small), ("n/b", &other)] {
        server.put_model(path, &sample.bytes).expect(201);
        server.admin("PUT", &format!("/api/v1/cache/pins/{path}"), b"").expect(204);
    }
    // Fits alone, but not beside the other pinned one.
    let uploaded = server.put_model("n/b", &large.bytes);
    let expected = if uploaded.status == 200 { large.score } else { other.score };
    assert!(matches!(uploaded.status, 200 | 413), "{}", uploaded.text());
    assert_eq!(score(&Client::of(&server).invoke("n", "b").expect(200)), expected);
}

#[test]
fn nothing_stays_loaded_where_the_cache_is_disabled() {
    let samples = Sample::many(0..8);
    let server = Server::start();
    for (at, sample) in samples.iter().enumerate() {
        server.put_model(&format!("d/{at}"), &sample.bytes).expect(201);
    }
    server.put_endpoint("d", &json!([{ "prefix": "d/", "modelCacheSetting": "Disabled" }]));
    server.put_endpoint("kept", &json!([{ "prefix": "d/", "modelCacheSetting": "Enabled" }]));
    thread::scope(|scope| {
        for caller in 0..8usize {
            let (server, samples) = (&server, &samples);
            scope.spawn(move || {
                let client = Client::of(server);
                for turn in 0..20 {
                    let at = (caller + turn) % 8;
                    assert_eq!(score(&client.invoke("d", &at.to_string()).expect(200)), samples[at].score);
                }
            });
        }
    });
    let shown = memory(&server);
    assert_eq!((&shown["loaded"], &shown["usedBytes"]), (&json!([]), &json!(0)));
    Client::of(&server).invoke("kept", "3").expect(200);
    assert_eq!(loaded(&server), HashSet::from([samples[3].version.clone()]));
}

fn two_variants(server: &Server) -> [Sample; 2] {
    let samples = [Sample::new(1, 5, 3), Sample::new(2, 5, 3)];
    server.put_model("v/blue", &samples[0].bytes).expect(201);
    server.put_model("v/green", &samples[1].bytes).expect(201);
    let variants = json!([
        { "name": "blue", "weight": 3, "stages": [{ "model": "v/blue" }] },
        { "name": "green", "weight": 1, "stages": [{ "model": "v/green" }] },
        { "name": "idle", "weight": 0, "stages": [{ "model": "v/green" }] },
    ]);
    server.admin("POST", "/api/v1/endpoints", json!({ "name": "v", "variants": variants }).to_string().as_bytes()).expect(201);
    samples
}

/// Calls endpoint `v`, checks that the model is the variant's, and says which variant it was.
fn variant(client: &Client, samples: &[Sample; 2], asked: Option<&str>) -> String {
    let mut headers = vec![("content-type", "text/csv")];
    headers.extend(asked.map(|asked| ("x-amzn-sagemaker-target-variant", asked)));
    let reply = client.send("POST", "/endpoints/v/invocations", &headers, HOUSE.as_bytes()).unwrap().expect(200);
    let name = reply.header("x-amzn-invoked-production-variant").unwrap().to_owned();
    let sample = &samples[usize::from(name != "blue")];
    assert_eq!((score(&reply), reply.header("x-rookery-model-version")), (sample.score, Some(sample.version.as_str())));
    name
}

#[test]
fn variants_answer_by_weight_or_by_name() {
    let server = Server::start();
    let samples = two_variants(&server);
    let client = Client::of(&server);
    let counted: Vec<String> = (0..400).map(|_| variant(&client, &samples, None)).collect();
    let blue = counted.iter().filter(|name| *name == "blue").count();
    assert!((270..=330).contains(&blue), "{blue} of 400 went to three quarters");
    assert!(!counted.iter().any(|name| name == "idle"));
    for name in ["green", "blue", "idle"] {
        for _ in 0..5 {
            assert_eq!(variant(&client, &samples, Some(name)), name);
        }
    }
    let headers = [("content-type", "text/csv"), ("x-amzn-sagemaker-target-variant", "red")];
    let reply = client.send("POST", "/endpoints/v/invocations", &headers, HOUSE.as_bytes()).unwrap().expect(400);
    assert!(reply.message().contains("red"), "{}", reply.message());
}

#[test]
fn shares_hold_while_somebody_edits_users() {
    let server = Server::start();
    let samples = two_variants(&server);
    let client = Client::of(&server);
    let mut blue = 0;
    for turn in 0..80 {
        client.send("POST", "/api/v1/users", &[], json!({ "name": format!("u{turn}") }).to_string().as_bytes()).unwrap().expect(201);
        blue += usize::from(variant(&client, &samples, None) == "blue");
    }
    assert!((48..=72).contains(&blue), "{blue} of 80 went to three quarters");
}

#[test]
fn a_full_server_refuses_with_retry_after_and_leaves_nobody_waiting() {
    let server = Server::with(&["--concurrency", "1", "--body", "32MiB"]);
    let sample = Sample::new(1, 100, 6);
    server.put_model("f/m", &sample.bytes).expect(201);
    server.put_endpoint("f", &json!([{ "prefix": "f/" }]));
    Client::of(&server).invoke("f", "m").expect(200);
    const ROWS: usize = 40_000;
    let body = format!("{HOUSE}\n").repeat(ROWS);
    let (answered, refused, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..8 {
            scope.spawn(|| {
                let client = Client::of(&server);
                let headers = [("content-type", "text/csv"), ("accept", "text/csv"), ("x-amzn-sagemaker-target-model", "m")];
                while !over.load(Ordering::SeqCst) {
                    let reply = client.send("POST", "/endpoints/f/invocations", &headers, body.as_bytes()).unwrap();
                    if reply.status == 503 {
                        assert!(reply.header("retry-after").is_some());
                        assert_eq!(reply.header("x-amzn-errortype"), Some("ServiceUnavailable"));
                        refused.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    let text = reply.expect(200).text();
                    assert_eq!(text.lines().count(), ROWS);
                    assert!(text.lines().all(|line| line.parse::<f32>().unwrap() == sample.score));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // What takes no place among predictions is answered meanwhile.
        let client = Client::of(&server);
        let mut while_full = 0;
        wait_for("some are answered, some refused, and others are served beside them", || {
            let full = server.in_flight() > 0;
            client.send("GET", "/healthz", &[], b"").unwrap().expect(200);
            while_full += usize::from(full);
            answered.load(Ordering::Relaxed) > 2 && refused.load(Ordering::Relaxed) > 2 && while_full > 9
        });
    });
    // Every place was given back.
    Client::of(&server).invoke("f", "m").expect(200);
}

#[test]
fn a_caller_that_goes_away_gives_no_place_back_before_its_work_ends() {
    // Else whoever sends and hangs up makes the server work on any number of requests at once.
    let server = Server::with(&["--concurrency", "1", "--body", "32MiB"]);
    let sample = Sample::new(1, 400, 6);
    server.put_model("f/m", &sample.bytes).expect(201);
    server.put_endpoint("f", &json!([{ "model": "f/m" }]));
    let call = || Client::of(&server).send("POST", "/endpoints/f/invocations", &[("content-type", "text/csv")], HOUSE.as_bytes()).unwrap();
    call().expect(200);
    let body = format!("{HOUSE}\n").repeat(100_000);
    let used = || processor_time(&format!("/proc/{}/stat", server.pid()));
    let answers = |stream: &TcpStream| {
        let mut seen = [0; 4096];
        stream.set_nonblocking(true).unwrap();
        let count = stream.peek(&mut seen).unwrap_or(0);
        String::from_utf8_lossy(&seen[..count]).matches("HTTP/1.1 ").count()
    };
    // Closed in order, and torn down: with the answer to an earlier request left unread, closing resets the connection.
    for earlier in ["", "GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n"] {
        // Whether the next one is refused because of work that goes on. On a slow machine the work may end before that.
        let mut refused = false;
        wait_for("the next is refused while the work goes on", || {
            let head = head(&server, "POST", "/endpoints/f/invocations", body.len());
            let mut stream = raw(&server, format!("{earlier}{head}\r\n").as_bytes());
            stream.write_all(body.as_bytes()).unwrap();
            // Nobody else calls, so that it is the one who has the place.
            wait_for("the work begins or has ended", || server.in_flight() == 1 || answers(&stream) > usize::from(!earlier.is_empty()));
            drop(stream);
            thread::sleep(Duration::from_millis(100));
            let status = call().status;
            let before = used();
            thread::sleep(Duration::from_millis(500));
            let used = used() - before;
            refused = status == 503;
            assert!(
                refused || used < Duration::from_millis(100),
                "the next was taken ({status}) while the one who left had work for {used:?}"
            );
            wait_for("the place is free again", || call().status == 200);
            refused
        });
    }
}

#[test]
fn long_work_of_one_caller_leaves_turns_for_others_and_ends_its_wait_with_its_connection() {
    let server = Server::with(&["--body", "32MiB"]);
    let sample = Sample::new(1, 400, 6);
    server.put_model("f/m", &sample.bytes).expect(201);
    server.put_endpoint("f", &json!([{ "model": "f/m" }]));
    let key =
        server.put_user("eve", &json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }] }));
    let body = format!("{HOUSE}\n").repeat(60_000);
    let ask = || {
        let head = head(&server, "POST", "/endpoints/f/invocations", body.len()).replace(&server.admin, &key);
        let mut stream = raw(&server, format!("{head}X-Amzn-SageMaker-Enable-Explanations: `true`\r\n\r\n").as_bytes());
        stream.write_all(body.as_bytes()).unwrap();
        stream
    };
    // More than there are turns, by far.
    let asked: Vec<TcpStream> = (0..40).map(|_| ask()).collect();
    wait_for("all of them are taken", || server.in_flight() == 40);
    // Of another caller, long too.
    let mine = format!("{HOUSE}\n").repeat(2000);
    let headers = [("content-type", "text/csv"), ("accept", "text/csv")];
    let reply = Client::of(&server).send("POST", "/endpoints/f/invocations", &headers, mine.as_bytes()).unwrap().expect(200);
    assert_eq!(reply.text().lines().count(), 2000);
    assert!(server.in_flight() > 0, "all work of the first caller was over before another's began");
    // A plain end of the connection, without a reset: what runs goes on, what waits does not.
    drop(asked);
    let cores = thread::available_parallelism().unwrap().get() as u64;
    wait_for("those who left wait no more", || server.in_flight() <= cores);
}

#[test]
fn the_same_bytes_uploaded_at_once_under_many_paths_are_one_version() {
    let server = Server::start();
    server.put_endpoint("t", &json!([{ "prefix": "t/" }]));
    let sample = Sample::new(1, 50, 5);
    let gate = Barrier::new(8);
    thread::scope(|scope| {
        for at in 0..8 {
            let (server, sample, gate) = (&server, &sample, &gate);
            scope.spawn(move || {
                gate.wait();
                let reply = server.put_model(&format!("t/{at}"), &sample.bytes).expect(201);
                assert_eq!(reply.json()["version"], sample.version.as_str());
            });
        }
    });
    let file = rusqlite::Connection::open(&server.db).unwrap();
    let counted: (i64, i64) = file
        .query_row("SELECT (SELECT count(*) FROM version), (SELECT count(*) FROM blob)", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(counted, (1, 2), "one version is its artifact and its prepared form");
    let client = Client::of(&server);
    for at in 0..8 {
        assert_eq!(score(&client.invoke("t", &at.to_string()).expect(200)), sample.score);
    }
    assert_eq!(memory(&server)["loads"], 1);
}

#[test]
fn of_uploads_with_the_same_precondition_one_wins() {
    let server = Server::start();
    let samples = Sample::many(0..17);
    let race = |samples: &[Sample], header: (&str, &str)| {
        let gate = Barrier::new(samples.len());
        let replies: Vec<Reply> = thread::scope(|scope| {
            let one = |sample: &Sample| {
                gate.wait();
                server.send("PUT", "/api/v1/models/q/m", &server.admin, &[header], &sample.bytes)
            };
            let running: Vec<_> = samples.iter().map(|sample| scope.spawn(move || one(sample))).collect();
            running.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let won: Vec<&Reply> = replies.iter().filter(|reply| reply.status < 300).collect();
        assert!(replies.iter().all(|reply| matches!(reply.status, 200 | 201 | 412)), "{replies:?}");
        assert_eq!(won.len(), 1, "{replies:?}");
        won[0].json()["version"].as_str().unwrap().to_owned()
    };
    let first = race(&samples[..8], ("if-none-match", "*"));
    let second = race(&samples[8..16], ("if-match", &format!("\"{first}\"")));
    assert_ne!(first, second);
    assert_eq!(server.admin("GET", "/api/v1/models/q/m", b"").expect(200).json()["version"], second.as_str());
}
