//! Refused uploads through the door: status and sentence, nothing left behind, and a server that goes on predicting.
//!
//! Below, small uploads and small requests that ask for absurd memory meet a server that has little: whoever answers
//! them by allocating is ended by it, and the test sees the server gone.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use super::documents::{changed, honest};
use super::{Linear, Why, file, gz, stored, tar, typed};
use crate::support::{HOUSE, PATIENCE, Server, city, rookery, wait_for};

/// Sends a request as it stands and reads the answer, even when the server answers before it has read all of it.
/// `Err` when the connection was reset before an answer came.
pub(crate) fn exchange(server: &Server, head: &str, body: &[u8]) -> Result<(u16, String), String> {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let token = &server.admin;
    let head = format!("{head}\r\nhost: rookery\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| format!("no answer: sent {sent:?}, read {read:?}, {text:?}"))?;
    Ok((status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

/// `bytes` in pieces, as HTTP frames a body whose length is not known before.
pub(crate) fn chunked(bytes: &[u8]) -> Vec<u8> {
    let pieces = bytes.chunks(60_000).flat_map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
    [pieces.collect::<Vec<_>>(), b"0\r\n\r\n".to_vec()].concat()
}

/// A line of `/proc/PID/status`, in bytes.
fn memory(server: &Server, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let found = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':')).unwrap();
    found.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}

/// From here on the server gets no more than `more` bytes of address space.
fn starve(server: &Server, more: u64) {
    let limit = format!("--as={}", memory(server, "VmSize") + more);
    assert!(Command::new("prlimit").args(["--pid", &server.pid().to_string(), &limit]).status().unwrap().success());
}

/// A server with a model that answers.
fn serving(flags: &[&str]) -> Server {
    let server = Server::with(flags);
    server.put_model("good/one", &city(1, 100.0)).expect(201);
    server.put_endpoint("good", &json!([{ "prefix": "good/" }]));
    server
}

fn still_answers(server: &mut Server) {
    assert!(server.alive(), "the server is gone");
    server.invoke("good", Some("one"), &server.admin, HOUSE).expect(200);
}

#[test]
fn refused_uploads_are_answered_with_the_reason_and_leave_nothing() {
    let mut server = serving(&["--unpacked", "2MiB", "--entries", "16"]);
    let model = city(2, 100.0);
    let lie = |pointer: &'static str, new: Value| changed(&[(pointer, new)]).to_string().into_bytes();
    let in_tar = |bytes: &[u8]| gz(&tar(&[file("model_algo-1", bytes)]));
    let packed = gz(&tar(&[file("m", &model)]));
    let tree = "/learner/gradient_booster/model/trees/0/left_children";
    let many: Vec<_> = (0..17).map(|at| file(&at.to_string(), b"")).collect();
    let mut gone = Linear::binary().members();
    gone.remove(3);
    let spoiled = Linear::binary().spoiled(|linear| linear.symbol["nodes"][6]["op"] = json!("Custom"));
    let cases: Vec<(&str, Vec<u8>, u16, Why)> = vec![
        ("nothing", vec![], 400, &["the body is empty"]),
        ("text", b"hello".to_vec(), 400, &["not a known model format"]),
        ("link", gz(&tar(&[typed(b"m", b'2', b"")])), 400, &["entry `m` is a symbolic link"]),
        ("climbing", gz(&tar(&[file("../../etc/passwd", &model)])), 400, &["entry `../../etc/passwd` climbs"]),
        ("absolute", tar(&[file("/m", &model)]), 400, &["entry `/m` has an absolute name"]),
        ("device", tar(&[typed(b"m", b'3', b"")]), 400, &["entry `m` is a device"]),
        ("twice", tar(&[file("m", &model), file("m", &model)]), 400, &["entry `m` is in the archive twice"]),
        ("bomb", gz(&vec![0; 3 << 20]), 413, &["the archive unpacks to more bytes than allowed"]),
        ("entries", gz(&tar(&many)), 413, &["the archive has more than 16 entries"]),
        ("cut", packed[..packed.len() / 2].to_vec(), 400, &["the archive is truncated"]),
        ("damaged", [&packed[..packed.len() - 8], &[0; 8]].concat(), 400, &["the archive is damaged"]),
        ("cycle", lie(tree, json!([0, -1, 3, -1, -1])), 400, &["tree 0", "neighbours"]),
        ("json", b"{\"learner\": tru".to_vec(), 400, &["at byte"]),
        ("objective", lie("/learner/objective/name", json!("x")), 400, &["the XGBoost objective `x` is not known"]),
        ("operator", in_tar(&spoiled), 400, &["member `model_algo-1`: `mx-mod-symbol.json`: the graph has operator `Custom`"]),
        ("member", in_tar(&stored(&gone)), 400, &["member `model_algo-1`: the ZIP has no member `additional-params.json`"]),
    ];
    let mut wrong = Vec::new();
    for (what, bytes, status, why) in &cases {
        let path = format!("/api/v1/models/bad/{what}");
        let kind = if *status == 413 { "TooLarge" } else { "Validation" };
        let reply = server.admin("PUT", &path, bytes);
        let message = reply.message();
        if reply.status != *status || reply.json()["error"]["kind"] != kind || why.iter().any(|part| !message.contains(part)) {
            wrong.push(format!("{what}: wanted {status} {why:?}, found {} {}", reply.status, reply.text()));
        }
        server.admin("GET", &path, b"").expect(404);
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let listed = server.admin("GET", "/api/v1/models?prefix=bad/", b"").expect(200).json();
    assert_eq!(listed["models"], json!([]));
    // A refused replacement leaves what was there.
    let before = server.admin("GET", "/api/v1/models/good/one", b"").expect(200).json();
    server.put_model("good/one", b"hello").expect(400);
    assert_eq!(server.admin("GET", "/api/v1/models/good/one", b"").expect(200).json()["version"], before["version"]);
    still_answers(&mut server);
    verified(&server, 1);
}

/// The file holds so many models and, as soon as the server has noticed who hung up, nothing half-done.
fn verified(server: &Server, models: u64) {
    wait_for("nothing half-done is left", || {
        let (code, found, error) = rookery(&["verify", "--json", "--db", server.db.to_str().unwrap()], "");
        assert_eq!(code, 0, "{error}");
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found["models"], json!(models), "{found}");
        found["uploadsUnderWay"] == json!(0)
    });
}

#[test]
fn uploads_over_their_limit_are_answered_413_however_they_are_framed() {
    let mut server = serving(&["--upload", "6MiB"]);
    // Past 4 MiB pieces are staged, so these leave something to be cleared away.
    let (fits, over) = (vec![b'x'; 5 << 20], vec![b'x'; (6 << 20) + 1]);
    let put = |framing: &str, body: &[u8]| exchange(&server, &format!("PUT /api/v1/models/bad/one HTTP/1.1\r\n{framing}"), body);
    let length = |body: &[u8]| format!("content-length: {}", body.len());
    for round in 0..2 {
        for (framing, body) in [(length(&over), over.clone()), ("transfer-encoding: chunked".to_owned(), chunked(&over))] {
            let (status, text) = put(&framing, &body).unwrap_or_else(|error| panic!("round {round}, {framing}: {error}"));
            assert_eq!(status, 413, "{text}");
            assert!(text.contains("the artifact is larger than 6291456 bytes"), "{text}");
        }
    }
    for (framing, body) in [(length(&fits), fits.clone()), ("transfer-encoding: chunked".to_owned(), chunked(&fits))] {
        let (status, text) = put(&framing, &body).unwrap();
        assert_eq!(status, 400, "{text}");
        assert!(text.contains("not a known model format"), "{text}");
    }
    // A body that breaks off is no short one, and what was staged of it goes.
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    let (token, length) = (&server.admin, fits.len() + 1);
    let head =
        format!("PUT /api/v1/models/bad/one HTTP/1.1\r\nhost: r\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&fits)).unwrap();
    drop(stream);
    server.admin("GET", "/api/v1/models/bad/one", b"").expect(404);
    still_answers(&mut server);
    verified(&server, 1);
}

#[test]
fn a_linear_booster_without_weights_asks_for_no_more_memory_than_its_file_is_worth() {
    // 16 million columns times 65,536 outputs, none of them in the file.
    let mut server = serving(&[]);
    let document = changed(&[
        ("/learner/gradient_booster/name", json!("gblinear")),
        ("/learner/gradient_booster/model", json!({ "weights": [], "boosted_rounds": 0 })),
        ("/learner/learner_model_param/num_feature", json!("16777216")),
        ("/learner/learner_model_param/num_class", json!("65536")),
        ("/learner/objective/name", json!("multi:softprob")),
    ]);
    starve(&server, 2 << 30);
    outlives(&mut server, document.to_string().as_bytes());
}

#[test]
fn category_sets_ask_for_no_more_memory_than_their_file_is_worth() {
    // Each split names one category, the largest there is: 2 MiB of bits for a dozen bytes.
    let splits = 2_000;
    let nodes = splits * 2 + 1;
    let inner = |at: i32| at % 2 == 0 && at < nodes - 1;
    let each = |value: &dyn Fn(i32) -> i32| (0..nodes).map(value).collect::<Vec<_>>();
    let tree = json!({
        "id": 0, "left_children": each(&|at| if inner(at) { at + 1 } else { -1 }),
        "right_children": each(&|at| if inner(at) { at + 2 } else { -1 }), "split_indices": each(&|_| 0), "split_conditions": each(&|_| 0),
        "default_left": each(&|_| 0), "split_type": each(&|at| i32::from(inner(at))), "categories": [16_777_215],
        "categories_nodes": (0..nodes).filter(|&at| inner(at)).collect::<Vec<_>>(), "categories_segments": vec![0; splits as usize],
        "categories_sizes": vec![1; splits as usize],
    });
    let document = changed(&[
        ("/learner/gradient_booster/model/trees", json!([tree])),
        ("/learner/gradient_booster/model/iteration_indptr", json!([0, 1])),
    ]);
    let mut server = serving(&[]);
    starve(&server, 2 << 30);
    outlives(&mut server, document.to_string().as_bytes());
}

#[test]
fn vector_leaves_ask_for_no_more_memory_than_their_file_is_worth() {
    // 16,384 leaves that all name the same row of 65,536 numbers.
    let inner = (1 << 14) - 1;
    let nodes = inner * 2 + 1;
    let each = |value: &dyn Fn(i32) -> i32| (0..nodes).map(value).collect::<Vec<_>>();
    let tree = json!({
        "id": 0, "left_children": each(&|at| if at < inner { at * 2 + 1 } else { -1 }),
        "right_children": each(&|at| if at < inner { at * 2 + 2 } else { 0 }),
        "split_indices": each(&|_| 0), "split_conditions": each(&|_| 0), "default_left": each(&|_| 0),
        "leaf_weights": vec![0; 65_536], "tree_param": { "size_leaf_vector": "65536" },
    });
    let document = changed(&[
        ("/learner/gradient_booster/model/trees", json!([tree])),
        ("/learner/gradient_booster/model/iteration_indptr", json!([0, 1])),
        ("/learner/learner_model_param/num_target", json!("65536")),
        ("/learner/objective/name", json!("reg:squarederror")),
    ]);
    let mut server = serving(&[]);
    starve(&server, 2 << 30);
    outlives(&mut server, document.to_string().as_bytes());
}

#[test]
fn lists_of_empty_members_ask_for_no_more_memory_than_their_file_is_worth() {
    // Three bytes each in the file, some 30 kB when gzipped; a hundred and more each once read.
    let nothings = |count: usize| format!("[{}{{}}]", "{},".repeat(count - 1));
    let mut server = serving(&[]);
    starve(&server, 2 << 30);
    let trees =
        changed(&[("/learner/gradient_booster/model/trees", json!("@trees"))]).to_string().replace("\"@trees\"", &nothings(10_000_000));
    outlives(&mut server, &gz(trees.as_bytes()));
    let mut members = Linear::binary().members();
    members[0].1 = format!("{{\"nodes\":{}}}", nothings(30_000_000)).into_bytes();
    outlives(&mut server, &gz(&tar(&[file("model_algo-1", &stored(&members))])));
}

/// Taken in little memory or refused, both are well; the server goes on.
fn outlives(server: &mut Server, document: &[u8]) {
    let answer = crate::support::send(&server.url, "PUT", "/api/v1/models/bad/one", &server.admin, &[], document);
    let reply = answer.unwrap_or_else(|error| panic!("an upload of {} bytes ended the server: {error}", document.len()));
    assert!(matches!(reply.status, 201 | 400 | 413), "{} {}", reply.status, reply.text());
    still_answers(server);
}

/// A model over `features` columns with a tiny tree.
fn wide(features: &str) -> Vec<u8> {
    changed(&[("/learner/learner_model_param/num_feature", json!(features))]).to_string().into_bytes()
}

#[test]
fn a_class_label_over_many_classes_asks_for_no_more_memory_than_an_answer_may_take() {
    // multi:softmax answers one number a row, but adds up one per class on the way: 70,000 × 65,536 of them.
    let mut tree = honest().pointer("/learner/gradient_booster/model/trees/1").cloned().unwrap();
    tree["id"] = json!(0);
    tree["split_indices"] = json!([0, 0, 0]);
    let document = changed(&[
        ("/learner/gradient_booster/model/trees", json!([tree])),
        ("/learner/gradient_booster/model/iteration_indptr", json!([0, 1])),
        ("/learner/learner_model_param/num_class", json!("65536")),
        ("/learner/learner_model_param/num_feature", json!("1")),
        ("/learner/objective/name", json!("multi:softmax")),
    ]);
    let mut server = serving(&[]);
    server.put_model("good/classes", document.to_string().as_bytes()).expect(201);
    let ask = |body: &str| {
        let headers = [("content-type", "text/csv"), ("x-amzn-sagemaker-target-model", "classes")];
        crate::support::send(&server.url, "POST", "/endpoints/good/invocations", &server.admin, &headers, body.as_bytes())
    };
    assert_eq!(ask("1\n").unwrap().expect(200).json()["predictions"].as_array().unwrap().len(), 1);
    starve(&server, 2 << 30);
    let answer = ask(&"1\n".repeat(70_000));
    let reply = answer.unwrap_or_else(|error| panic!("a request of 140 kB ended the server: {error}")).expect(413);
    assert_eq!(reply.header("x-amzn-errortype"), Some("ValidationError"));
    still_answers(&mut server);
}

#[test]
fn a_model_of_16_million_columns_is_answered_within_the_cells_a_request_may_spread_into() {
    let mut server = serving(&[]);
    server.put_model("good/wide", &wide("16777216")).expect(201);
    let ask = |media: &str, body: &str| {
        let headers = [("content-type", media), ("x-amzn-sagemaker-target-model", "wide")];
        server.send("POST", "/endpoints/good/invocations", &server.admin, &headers, body.as_bytes())
    };
    let short = ask("text/csv", "1,2,3").expect(400);
    assert_eq!(short.message(), "row 1 has 3 values; the model takes 16777216");
    let before = memory(&server, "VmRSS");
    for _ in 0..8 {
        ask("text/libsvm; indexing=0", "0:1 16777215:1").expect(200);
        ask("application/json", r#"[{"data":{"features":{"keys":[0],"values":[1],"shape":[16777216]}}}]"#).expect(200);
        ask("text/csv", "1").expect(400);
    }
    for (media, two) in [("text/libsvm; indexing=0", "0:1\n0:1"), ("application/jsonlines", "@\n@"), ("application/json", "[@,@]")] {
        let two = two.replace('@', r#"{"data":{"features":{"keys":[0],"values":[1]}}}"#);
        let reply = ask(media, &two).expect(413);
        assert!(reply.message().contains("the request holds more than 16777216 values (16777216 a row)"), "{}", reply.message());
    }
    // One row is 64 MiB; a few of them may be kept by the allocator, not one for each request.
    let grown = memory(&server, "VmHWM").saturating_sub(before);
    assert!(grown < 400 << 20, "grew by {} MiB", grown >> 20);
    still_answers(&mut server);
}

#[test]
fn small_uploads_that_unpack_large_take_turns() {
    // Large artifacts are prepared one at a time because each takes several times its size in memory. 300 kB of
    // gzipped zeros are large too.
    let mut server = serving(&["--unpacked", "300MiB"]);
    let bomb = gz(&vec![0; 200 << 20]);
    assert!(bomb.len() < 1 << 20);
    std::thread::scope(|scope| {
        for at in 0..6 {
            let (server, bomb) = (&server, &bomb);
            scope.spawn(move || server.put_model(&format!("bad/{at}"), bomb).expect(400));
        }
    });
    let peak = memory(&server, "VmHWM");
    assert!(peak < 900 << 20, "six uploads of {} kB took {} MiB at once", bomb.len() >> 10, peak >> 20);
    still_answers(&mut server);
}

#[test]
fn what_is_no_model_takes_no_memory() {
    let mut server = serving(&["--unpacked", "300MiB"]);
    let before = memory(&server, "VmHWM");
    let member = tar(&[file("weights.bin", &vec![0; 160 << 20])]);
    for bytes in [gz(&member), gz(&vec![b'n'; 160 << 20])] {
        assert!(bytes.len() < 1 << 20);
        let message = server.put_model("bad/zeros", &bytes).expect(400).message();
        assert!(message.contains("known model format"), "{message}");
    }
    let grown = memory(&server, "VmHWM").saturating_sub(before);
    assert!(grown < 64 << 20, "160 MiB that are no model took {} MiB", grown >> 20);
    still_answers(&mut server);
}

#[test]
fn uploads_that_wait_to_be_checked_are_bounded() {
    let server = Server::start();
    // Of ninety sent at once, how many are refused.
    let refused = |round: usize| {
        // Little to send and much to read: JSON may end in blanks.
        let mut slow = city(1, 100.0);
        slow.resize((8 << 20) + round, b' ');
        let slow = gz(&slow);
        assert!(slow.len() < 1 << 20, "{}", slow.len());
        let replies: Vec<_> = std::thread::scope(|scope| {
            let one = |at: usize| server.put_model(&format!("w/{round}/{at}"), &slow);
            let running: Vec<_> = (0..90).map(|at| scope.spawn(move || one(at))).collect();
            running.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let refused: Vec<_> = replies.iter().filter(|reply| reply.status != 201).collect();
        for reply in &refused {
            assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{}", reply.text());
            assert!(reply.message().contains("send this one again"), "{}", reply.message());
        }
        assert!(refused.len() <= 30, "{} of 90 were refused", refused.len());
        refused.len()
    };
    // A slow machine may bring them one after the other.
    assert!((0..5).any(|round| refused(round) > 0), "all of 90 uploads were let wait");
    server.put_model("w/later", &city(2, 100.0)).expect(201);
}
