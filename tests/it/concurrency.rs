//! Many at once: models replaced under load, memory under pressure, one load for all who wait, servers that are full,
//! senders that are slow.
//!
//! Every answer is compared with what the version it names predicts. Next: `durability/mod.rs`, which kills the server.

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rookery::artifact::{Artifact, Limits};
use rookery::cli::demo::city;
use rookery::runtime;
use rookery::tensor::Tensor;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{HOUSE, Reply, Server};

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
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30))).build().into();
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

/// Waits until `done`, and says how long that took.
pub(crate) fn wait_for(what: &str, patience: Duration, mut done: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < patience, "{what}: not within {patience:?}");
        thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

/// Replaces and, every `deletes`th time, deletes `h/m` while 16 clients call it through `endpoint`, and holds every
/// answer against what the path was, or was being made, during that very call.
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
        answers.fetch_add(1, Ordering::Relaxed);
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
            begun.store(at, Ordering::SeqCst);
            let reply = match write {
                Some(sample) => writer.send("PUT", "/api/v1/models/h/m", &[], &sample.bytes).unwrap(),
                None => writer.send("DELETE", "/api/v1/models/h/m", &[], b"").unwrap(),
            };
            if !(200..300).contains(&reply.status) {
                over.store(true, Ordering::SeqCst);
                panic!("write {at}: {}", reply.text());
            }
            done.store(at, Ordering::SeqCst);
        }
        over.store(true, Ordering::SeqCst);
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
    let [pinned, first, second] = [1, 2, 3].map(|seed| Sample::new(seed, 5, 3));
    let server = Server::with(&["--memory", &(pinned.weight * 3 / 2).to_string()]);
    server.put_endpoint("w", &json!([{ "prefix": "w/" }]));
    server.put_model("p/pinned", &pinned.bytes).expect(201);
    server.put_model("w/first", &first.bytes).expect(201);
    server.admin("PUT", "/api/v1/cache/pins/p/pinned", b"").expect(204);
    thread::scope(|scope| {
        // Found in the file, but there is no room yet.
        let waiting = scope.spawn(|| Client::of(&server).invoke("w", "first"));
        thread::sleep(Duration::from_millis(300));
        server.admin("DELETE", "/api/v1/models/w/first", b"").expect(204);
        server.put_model("w/second", &second.bytes).expect(201);
        server.admin("DELETE", "/api/v1/cache/pins/p/pinned", b"").expect(204);
        let reply = waiting.join().unwrap();
        if reply.status == 200 {
            assert_eq!(reply.header("x-rookery-model-version"), Some(first.version.as_str()));
            assert_eq!(score(&reply), first.score, "the answer is another model's (the second's is {})", second.score);
        } else {
            assert_eq!(reply.status, 400, "{}", reply.text());
        }
    });
    // Nor did it leave something wrong behind under that name.
    server.put_model("w/first", &first.bytes).expect(201);
    assert_eq!(score(&Client::of(&server).invoke("w", "first").expect(200)), first.score);
    assert_eq!(score(&Client::of(&server).invoke("w", "second").expect(200)), second.score);
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
    wait_for("the pinned model is loaded", Duration::from_secs(5), || entry(&server, &samples[1]).is_some());
    scan(&server);
    assert_eq!(entry(&server, &samples[1]).unwrap()["pinned"], true);
    // The path is pinned, not the bytes.
    server.put_model("n/1", &samples[0].bytes).expect(200);
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
    // More rows than are answered before the server is stopped: what is in use is not evicted.
    let client = Client::of(&server);
    let rows = [HOUSE, "\n"].concat().repeat(1_200_000);
    let headers = [("content-type", "text/csv"), ("x-amzn-sagemaker-target-model", "big")];
    let long = thread::spawn(move || client.send("POST", "/endpoints/n/invocations", &headers, rows.as_bytes()).is_ok());
    wait_for("the big one is in use", Duration::from_secs(20), || memory(&server)["loaded"][0]["inUse"] == true);
    let refused = server.admin("PUT", "/api/v1/cache/pins/n/small", b"").expect(503);
    assert!(refused.header("retry-after").is_some());
    assert!(!long.is_finished(), "there was room after all");
    assert_eq!(memory(&server)["pins"], json!([]));
    server.kill();
    assert!(!long.join().unwrap());
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
    let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let gate = Barrier::new(8);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let client = Client::of(&server);
                let headers = [("content-type", "text/csv"), ("accept", "text/csv"), ("x-amzn-sagemaker-target-model", "m")];
                gate.wait();
                for _ in 0..3 {
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
        gate_free(&client, started);
    });
    let (answered, refused) = (answered.into_inner(), refused.into_inner());
    assert!(answered > 0 && refused > 0 && answered + refused == 24, "{answered} answered, {refused} refused");
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
    let call = |body: &[u8]| Client::of(&server).send("POST", "/endpoints/f/invocations", &[("content-type", "text/csv")], body).unwrap();
    call(HOUSE.as_bytes()).expect(200);
    let body = format!("{HOUSE}\n").repeat(100_000);
    // Closed in order, and torn down: with the answer to an earlier request left unread, closing resets the connection.
    for earlier in ["", "GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n"] {
        let head = head(&server, "POST", "/endpoints/f/invocations", body.len());
        let mut stream = raw(&server, format!("{earlier}{head}\r\n").as_bytes());
        stream.write_all(body.as_bytes()).unwrap();
        wait_for("the place is taken", Duration::from_secs(5), || call(HOUSE.as_bytes()).status == 503);
        drop(stream);
        thread::sleep(Duration::from_millis(100));
        let before = cpu(&server);
        let status = call(HOUSE.as_bytes()).status;
        thread::sleep(Duration::from_millis(200));
        let used = cpu(&server) - before;
        // Hundredths of a second, of the twenty that passed.
        assert!(status == 503 || used < 10, "the next was taken ({status}) while the work of the one who left went on ({used}0 ms of it)");
        wait_for("the place is free again", Duration::from_secs(30), || call(HOUSE.as_bytes()).status == 200);
    }
}

/// Hundredths of a second of processor time used so far.
fn cpu(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

/// Asks for health during the first second, and wants each answer soon.
fn gate_free(client: &Client, started: Instant) {
    while started.elapsed() < Duration::from_secs(1) {
        let asked = Instant::now();
        client.send("GET", "/healthz", &[], b"").unwrap().expect(200);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
}

/// A connection of its own, on which any bytes can be sent.
pub(crate) fn raw(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// The head of a request that announces `length` bytes of body.
pub(crate) fn head(server: &Server, method: &str, path: &str, length: usize) -> String {
    let key = &server.admin;
    format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {key}\r\ncontent-type: text/csv\r\ncontent-length: {length}\r\n"
    )
}

/// All the server sends until it closes the connection or a whole answer is there.
pub(crate) fn answer(stream: &mut TcpStream) -> String {
    let (mut text, mut place) = (String::new(), [0; 4096]);
    loop {
        match stream.read(&mut place) {
            Ok(0) => return text,
            // Whoever is cut off in the middle of sending may see a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return text,
            Err(error) => panic!("{error} after: {text}"),
            Ok(count) => text.push_str(&String::from_utf8_lossy(&place[..count])),
        }
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Some(length) = head.to_ascii_lowercase().split_once("content-length: ").map(|(_, rest)| rest.to_owned())
            && body.len() >= length.split("\r\n").next().unwrap().parse::<usize>().unwrap()
        {
            return text;
        }
    }
}

#[test]
fn senders_that_stop_half_way_block_nobody_and_are_cut_off() {
    // One prediction at a time: a half-sent one must not take that place.
    let server = Server::with(&["--concurrency", "1"]);
    let sample = Sample::new(1, 5, 3);
    server.put_model("o/m", &sample.bytes).expect(201);
    server.put_endpoint("o", &json!([{ "model": "o/m" }]));
    let started = Instant::now();
    let mut half_heads: Vec<TcpStream> =
        (0..30).map(|_| raw(&server, b"POST /endpoints/o/invocations HTTP/1.1\r\nhost: test\r\ncontent-ty")).collect();
    let invoke = head(&server, "POST", "/endpoints/o/invocations", 1000);
    let mut half_bodies: Vec<TcpStream> = (0..30).map(|_| raw(&server, format!("{invoke}\r\n1992,1659.5").as_bytes())).collect();
    let upload = head(&server, "PUT", "/api/v1/models/o/half", sample.bytes.len());
    half_bodies.extend((0..10).map(|_| {
        let mut stream = raw(&server, format!("{upload}\r\n").as_bytes());
        stream.write_all(&sample.bytes[..100]).unwrap();
        stream
    }));
    let headers = [("content-type", "text/csv")];
    for _ in 0..50 {
        let asked = Instant::now();
        let client = Client::of(&server);
        let reply = client.send("POST", "/endpoints/o/invocations", &headers, HOUSE.as_bytes()).unwrap().expect(200);
        assert_eq!(score(&reply), sample.score);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
    // One who sends a byte now and then gains nothing by it.
    let mut trickle = raw(&server, b"GET /healthz HTTP/1.1\r\nx-slow: ");
    let trickling = Instant::now();
    while trickling.elapsed() < Duration::from_secs(12) && trickle.write_all(b"a").is_ok() {
        thread::sleep(Duration::from_millis(500));
    }
    let text = answer(&mut trickle);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    for stream in &mut half_heads {
        let text = answer(stream);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
    assert!(started.elapsed() < Duration::from_secs(16), "half a head was waited for {:?}", started.elapsed());
    for stream in &mut half_bodies {
        let text = answer(stream);
        assert!(text.starts_with("HTTP/1.1 4") && text.contains("paused for more than 30 seconds"), "{text}");
    }
    assert!(started.elapsed() < Duration::from_secs(36), "half a body was waited for {:?}", started.elapsed());
    server.admin("GET", "/api/v1/models/o/half", b"").expect(404);
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
