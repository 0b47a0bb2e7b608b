//! What bodies may cost: their memory together, the pace they keep, who may send them at all; and what a proxy says of them.
//!
//! The cap on one body is `payloads/dialect.rs`; senders that stop half way are in `senders.rs`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::senders::{answer, head, is_told, raw};
use crate::support::{ADMIN_PASSWORD, HOUSE, PATIENCE, Reply, Server, city, may_invoke, send, wait_for};

/// A server with the house model behind endpoint `p`.
fn house(flags: &[&str]) -> Server {
    let server = Server::with(flags);
    server.put_model("p/house", &city(1, 100.0)).expect(201);
    server.put_endpoint("p", &json!([{ "prefix": "p/" }]));
    server
}

/// The head of a prediction whose body has `length` bytes.
fn invoke_head(server: &Server, length: usize) -> Vec<u8> {
    let head = head(server, "POST", "/endpoints/p/invocations", length);
    format!("{head}x-amzn-sagemaker-target-model: house\r\n\r\n").into_bytes()
}

#[test]
fn bodies_together_take_no_more_memory_than_they_may() {
    // Nobody is cut off for stopping half way, only for want of room.
    let server = house(&["--body", "1MiB", "--body-memory", "5MiB", "--idle-seconds", "3600"]);
    let (length, sent) = (1 << 20, (1 << 20) - 1000);
    let large = format!("{HOUSE}{}", "\n".repeat(1_000_000));
    let call = || server.invoke("p", Some("house"), &server.admin, &large).status;
    // Those that find no room are told so; the first five are waited for. Two that ask at once for the last of it may
    // both be refused, so there is always one more, until it shows that five have it.
    let (mut held, mut refused): (Vec<TcpStream>, Vec<String>) = (Vec::new(), Vec::new());
    wait_for("five have all room, and others are told so", || {
        let mut stream = raw(&server, &invoke_head(&server, length));
        // Who is refused half way may close before all is written.
        let _ = stream.write_all(&vec![b'\n'; sent]);
        held.push(stream);
        refused.extend(held.extract_if(.., |stream| is_told(stream)).map(|mut stream| answer(&mut stream)));
        // A reset may have overtaken what was said.
        refused.retain(|text| !text.is_empty());
        refused.len() >= 3 && held.len() <= 5 && call() == 503
    });
    for text in &refused {
        assert!(text.starts_with("HTTP/1.1 503") && text.contains("retry-after: 1") && text.contains("as many large bodies"), "{text}");
    }
    // A row needs no such memory; a large body does, and has it again once the others are gone.
    server.invoke("p", Some("house"), &server.admin, HOUSE).expect(200);
    assert_eq!(call(), 503);
    drop(held);
    wait_for("the memory of bodies that broke off is given back", || call() == 200);
    for _ in 0..20 {
        assert_eq!(call(), 200);
    }
}

#[test]
fn documents_leave_predictions_their_memory() {
    let server = house(&["--body", "1MiB", "--body-memory", "5MiB", "--idle-seconds", "3600"]);
    let large = format!("{HOUSE}{}", "\n".repeat(1_000_000));
    let ana = server.put_user("ana", &may_invoke(&["house"]));
    // Whoever has a credential may send documents, if no more than some can be held.
    let mut held = Vec::new();
    wait_for("documents have all their room", || {
        let head = head(&server, "POST", "/api/v1/simulate", 1 << 20).replace(&server.admin, &ana);
        let mut stream = raw(&server, format!("{head}\r\n").as_bytes());
        let _ = stream.write_all(&vec![b' '; 1_000_000]);
        let refused = is_told(&stream);
        held.push(stream);
        refused
    });
    server.invoke("p", Some("house"), &ana, &large).expect(200);
}

#[test]
fn uploads_take_the_memory_that_they_need() {
    let server = house(&["--body", "1MiB", "--body-memory", "5MiB"]);
    let begun: Vec<TcpStream> = (0..20)
        .map(|at| {
            let head = format!("{}\r\n", head(&server, "PUT", &format!("/api/v1/models/p/{at}"), 100_000));
            raw(&server, &[head.as_bytes(), &[b' '; 1000]].concat())
        })
        .collect();
    let large = format!("{HOUSE}{}", "\n".repeat(1_000_000));
    server.invoke("p", Some("house"), &server.admin, &large).expect(200);
    drop(begun);
}

/// Rows of nothing but missing values, whose answer is much longer.
fn short_rows() -> String {
    "0\n".repeat(500_000)
}

fn ask_long(server: &Server) -> Reply {
    let headers = [("content-type", "text/libsvm"), ("x-amzn-sagemaker-target-model", "house"), ("accept", "application/json")];
    server.send("POST", "/endpoints/p/invocations", &server.admin, &headers, short_rows().as_bytes())
}

/// A caller who reads no more of a long answer than its status.
fn unread(server: &Server) -> (TcpStream, String) {
    let rows = short_rows();
    let head = String::from_utf8(invoke_head(server, rows.len())).unwrap();
    let mut stream = raw(server, head.replace("text/csv", "text/libsvm\r\naccept: application/json").as_bytes());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(rows.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    (stream, String::from_utf8_lossy(&status).into_owned())
}

#[test]
fn answers_that_nobody_reads_take_no_more_memory_than_they_may() {
    let server = house(&["--body-memory", "24MiB", "--idle-seconds", "3600"]);
    let length = ask_long(&server).expect(200).body.len();
    assert!((9 << 20..24 << 20).contains(&length), "an answer of {length} bytes");
    let all: Vec<(TcpStream, String)> = (0..5).map(|_| unread(&server)).collect();
    let held = all.iter().filter(|(_, status)| status == "HTTP/1.1 200").count();
    assert!(held > 0 && held <= (24 << 20) / length, "{held} answers of {length} bytes were kept");
    let refused = ask_long(&server).expect(503);
    assert!(refused.message().contains("as many long answers") && refused.header("retry-after") == Some("1"), "{}", refused.text());
    // And counts as one.
    let metrics = server.admin("GET", "/metrics", b"").expect(200).text();
    let counted = |what: &str| -> usize {
        let line = metrics.lines().find(|line| line.starts_with(&format!("{what}{{endpoint=\"p\""))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(counted("rookery_invocation_5xx_errors_total"), 1 + all.len() - held);
    assert_eq!(counted("rookery_model_latency_microseconds_count"), 1 + held);
    // A short one needs no such memory.
    server.invoke("p", Some("house"), &server.admin, HOUSE).expect(200);
    drop(all);
    wait_for("the memory of answers whose callers left", || ask_long(&server).status == 200);
}

#[test]
fn answers_that_nobody_reads_are_let_go() {
    let server = house(&["--body-memory", "24MiB", "--idle-seconds", "15"]);
    // Kept open to the end, as whoever does not read would.
    let mut all = Vec::new();
    let was_full = (0..60).any(|_| {
        all.push(unread(&server));
        all.last().is_some_and(|(_, status)| status == "HTTP/1.1 503")
    });
    assert!(was_full, "every answer was let go before there were three");
    wait_for("the memory of answers that nobody reads", || ask_long(&server).status == 200);
}

#[test]
fn an_answer_that_is_read_too_slowly_is_let_go() {
    let server = house(&["--body-memory", "24MiB", "--idle-seconds", "4"]);
    // There is always some progress before the system would end the connection: small buffers tell of each read.
    let stopped = &AtomicBool::new(false);
    let sip = |mut stream: TcpStream| {
        rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 4 << 10).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        while !stopped.load(Ordering::SeqCst) && stream.read(&mut [0; 1 << 10]).is_ok_and(|count| count > 0) {
            thread::sleep(Duration::from_millis(500));
        }
    };
    thread::scope(|scope| {
        let was_full = (0..60).any(|_| {
            let (stream, status) = unread(&server);
            scope.spawn(move || sip(stream));
            status == "HTTP/1.1 503"
        });
        assert!(was_full, "every answer was let go before there were three");
        wait_for("the memory of answers that are read too slowly", || ask_long(&server).status == 200);
        stopped.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_body_that_trickles_is_cut_off() {
    let server = house(&["--idle-seconds", "5"]);
    let slow = [
        (invoke_head(&server, 100_000), "/endpoints/p/invocations"),
        (format!("{}\r\n", head(&server, "PUT", "/api/v1/models/p/slow", 100_000)).into_bytes(), "/api/v1/models/p/slow"),
        (format!("{}\r\n", head(&server, "POST", "/api/v1/endpoints", 100_000)).into_bytes(), "/api/v1/endpoints"),
    ];
    // What it says, and the longest pause made.
    let trickle = &|begin: &[u8]| {
        let mut stream = raw(&server, begin);
        let (began, mut sent, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
        // All of it would take three hours.
        while !is_told(&stream) && stream.write_all(b"1").is_ok() {
            assert!(began.elapsed() < PATIENCE, "a body that trickles is read for ever");
            longest = longest.max(sent.elapsed());
            sent = Instant::now();
        }
        (answer(&mut stream), longest.max(sent.elapsed()))
    };
    thread::scope(|scope| {
        for (begin, path) in &slow {
            scope.spawn(move || {
                // Where the machine made a pause that was too long, that is another test's.
                let steady = |(text, longest): (String, Duration)| (longest < Duration::from_secs(4)).then_some(text);
                let text = (0..10).find_map(|_| steady(trickle(begin))).expect("the machine always paused");
                assert!(text.starts_with("HTTP/1.1 400") && text.contains("more slowly than 8192 bytes a second"), "{path}: {text}");
            });
        }
    });
}

#[test]
fn who_may_not_invoke_is_told_so_before_the_body_is_there() {
    let mut server = house(&["--idle-seconds", "3600"]);
    let caller = server.put_user("ana", &may_invoke(&["other"]));
    server.admin = caller;
    let mut stream = raw(&server, &invoke_head(&server, 1 << 20));
    stream.write_all(&[b'1'; 100]).unwrap();
    // The rest of the body never comes.
    let text = answer(&mut stream);
    assert!(text.starts_with("HTTP/1.1 403") && text.contains("AccessDeniedException"), "{text}");
}

#[test]
fn long_predictions_hold_up_nobody_else() {
    const LONG: usize = 400;
    let server = Server::with(&["--workers", "1", "--concurrency", "2000"]);
    let model = rookery::cli::demo::city::model(1, 100.0, 100, 6);
    server.put_model("p/house", model.as_bytes()).expect(201);
    server.put_endpoint("p", &json!([{ "prefix": "p/" }]));
    // More of them than the pool has threads, each far over what a worker does itself.
    let rows = format!("{HOUSE}\n").repeat(4000);
    // How many of them were done before a sign-in was.
    let before = || {
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..LONG {
                scope.spawn(|| {
                    server.invoke("p", Some("house"), &server.admin, &rows).expect(200);
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
            while done.load(Ordering::SeqCst) == 0 {
                thread::sleep(Duration::from_millis(5));
            }
            server.send("GET", "/readyz", "", &[], b"").expect(200);
            let body = json!({ "name": "root-admin", "password": ADMIN_PASSWORD }).to_string();
            server.send("POST", "/api/v1/login", "", &[], body.as_bytes()).expect(200);
            done.load(Ordering::SeqCst)
        })
    };
    // One that waits for its turn waits for all of them each time; one that the machine kept from running, once.
    assert!((0..5).any(|_| before() < LONG / 2), "a sign-in waited for half of {LONG} long predictions");
}

#[test]
fn forwarding_headers_are_believed_of_trusted_proxies_alone() {
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": "*",
        "Condition": { "IpAddress": { "aws:SourceIp": "203.0.113.0/24" }, "Bool": { "aws:SecureTransport": "true" } },
    }]});
    let call = |server: &Server, key: &str, forwarded: &[(&str, &str)]| -> Reply {
        let mut headers = vec![("content-type", "text/csv"), ("x-amzn-sagemaker-target-model", "house")];
        headers.extend_from_slice(forwarded);
        server.send("POST", "/endpoints/p/invocations", key, &headers, HOUSE.as_bytes())
    };
    let https = ("x-forwarded-proto", "https");
    let server = house(&["--trusted-proxy", "127.0.0.0/8,10.0.0.1"]);
    let key = server.put_user("ana", &policy);
    for (status, forwarded) in [
        (200, "203.0.113.9"),
        // The nearest that is no proxy counts: what stands before it anybody may have written.
        (200, "198.51.100.7, 203.0.113.9"),
        (200, "203.0.113.9, 10.0.0.1"),
        (403, "203.0.113.9, 198.51.100.7"),
        (403, "203.0.113.9, nonsense"),
        (403, "198.51.100.7"),
        (403, ""),
    ] {
        let reply = call(&server, &key, &[("x-forwarded-for", forwarded), https]);
        assert_eq!(reply.status, status, "{forwarded}: {}", reply.text());
    }
    call(&server, &key, &[("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "203.0.113.9"), https]).expect(200);
    call(&server, &key, &[("x-forwarded-for", "203.0.113.9")]).expect(403);
    call(&server, &key, &[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "http")]).expect(403);
    // Who cannot be told is nobody, and least of all the proxy.
    let inside = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": "*",
        "Condition": { "IpAddress": { "aws:SourceIp": ["127.0.0.0/8", "10.0.0.0/8", "192.0.2.1", "2001:db8::1"] } },
    }]});
    let near = server.put_user("ben", &inside);
    for (status, forwarded) in [
        (200, "10.0.0.1"),
        (200, "192.0.2.1:4711"),
        (200, "[2001:db8::1]:4711"),
        (200, "[2001:db8::1]"),
        (200, "203.0.113.9, , 192.0.2.1,"),
        (403, "203.0.113.9"),
        (403, "203.0.113.9:4711"),
        (403, "\u{ff}, 203.0.113.9"),
        (403, "10.0.0.1, \u{ff}"),
        (403, "10.0.0.1, unknown"),
        (403, "10.0.0.1, _hidden, 10.0.0.1"),
    ] {
        let reply = call(&server, &near, &[("x-forwarded-for", forwarded)]);
        assert_eq!(reply.status, status, "{forwarded}: {}", reply.text());
    }
    // Guesses count against who made them, not against the proxy that all come through.
    let guess = |address: &str, password: &str| {
        let body = json!({ "name": "root-admin", "password": password }).to_string();
        send(&server.url, "POST", "/api/v1/login", "", &[("x-forwarded-for", address)], body.as_bytes()).unwrap().status
    };
    let other = |address: &str| {
        let body = json!({ "name": "nobody", "password": "a wrong password" }).to_string();
        send(&server.url, "POST", "/api/v1/login", "", &[("x-forwarded-for", address)], body.as_bytes()).unwrap().status
    };
    for _ in 0..10 {
        assert_eq!(other("198.51.100.7"), 401);
    }
    assert_eq!(guess("198.51.100.7", ADMIN_PASSWORD), 429);
    assert_eq!(guess("198.51.100.8", ADMIN_PASSWORD), 200);
    // The console's own pages, as the browser names them.
    let form = [("content-type", "application/x-www-form-urlencoded"), ("origin", "https://models.example.com")];
    let sign_in = |server: &Server, more: &[(&str, &str)]| {
        let headers: Vec<_> = form.iter().chain(more).copied().collect();
        let body = format!("name=root-admin&password={}", ADMIN_PASSWORD.replace(' ', "+"));
        server.send("POST", "/ui/sign-in", "", &headers, body.as_bytes())
    };
    let signed = sign_in(&server, &[("x-forwarded-host", "models.example.com"), https]).expect(303);
    assert!(signed.header("set-cookie").unwrap().ends_with("; Secure"), "{:?}", signed.headers);
    let refused = sign_in(&server, &[]).expect(403).text();
    assert!(refused.contains("models.example.com") && refused.contains("--trusted-proxy"), "{refused}");
    // Without the flag nobody is believed.
    let server = house(&[]);
    let key = server.put_user("ana", &policy);
    call(&server, &key, &[("x-forwarded-for", "203.0.113.9"), https]).expect(403);
    sign_in(&server, &[("x-forwarded-host", "models.example.com"), https]).expect(403);
}
