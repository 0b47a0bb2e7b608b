//! Senders that stop half way or trickle: whom they hold up, and when they are cut off.
//!
//! Speaks HTTP by hand, as no client library would. Next: `bodies.rs`, which asks what their bodies may cost.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::concurrency::{Client, Sample, score};
use crate::support::{HOUSE, PATIENCE, Server};

/// A connection of its own, on which any bytes can be sent.
pub(crate) fn raw(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
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

/// Whether the server has said something, or closed: asked for at most a tenth of a second.
pub(crate) fn is_told(stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let told = !stream.peek(&mut [0]).is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    told
}

/// A server with a small model behind endpoint `o`, and many who stop half way: in the head, in the body of a
/// prediction, in an upload.
fn half_sent(flags: &[&str]) -> (Server, Sample, [Vec<TcpStream>; 2]) {
    let server = Server::with(flags);
    let sample = Sample::new(1, 5, 3);
    server.put_model("o/m", &sample.bytes).expect(201);
    server.put_endpoint("o", &json!([{ "model": "o/m" }]));
    let half_head = b"POST /endpoints/o/invocations HTTP/1.1\r\nhost: test\r\ncontent-ty";
    let half_heads = (0..30).map(|_| raw(&server, half_head)).collect();
    let invoke = head(&server, "POST", "/endpoints/o/invocations", 1000);
    let mut half_bodies: Vec<TcpStream> = (0..30).map(|_| raw(&server, format!("{invoke}\r\n1992,1659.5").as_bytes())).collect();
    let upload = head(&server, "PUT", "/api/v1/models/o/half", sample.bytes.len());
    half_bodies.extend((0..10).map(|_| {
        let mut stream = raw(&server, format!("{upload}\r\n").as_bytes());
        stream.write_all(&sample.bytes[..100]).unwrap();
        stream
    }));
    (server, sample, [half_heads, half_bodies])
}

#[test]
fn senders_that_stop_half_way_block_nobody() {
    // One prediction at a time: a half-sent one must not take that place. Nobody waits as long as these may pause.
    let (server, sample, mut half) = half_sent(&["--concurrency", "1", "--header-seconds", "3600", "--idle-seconds", "3600"]);
    for _ in 0..50 {
        let reply = Client::of(&server).send("POST", "/endpoints/o/invocations", &[("content-type", "text/csv")], HOUSE.as_bytes());
        assert_eq!(score(&reply.unwrap().expect(200)), sample.score);
    }
    for stream in half.iter_mut().flatten() {
        stream.set_nonblocking(true).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "it was cut off, and so held up nobody");
    }
    server.admin("GET", "/api/v1/models/o/half", b"").expect(404);
}

#[test]
fn a_connection_is_given_up_when_nothing_whole_comes_and_kept_while_work_is_under_way() {
    // Then it may be quiet for as long as the rest of an answer may take to be read, which is a minute.
    let server = &Server::with(&["--keep-alive-seconds", "1", "--header-seconds", "1", "--idle-seconds", "3600"]);
    thread::scope(|scope| {
        // Of the heads after the first, one falls silent, one goes on byte by byte.
        for then in ["G", "GET /healthz HTTP/1.1\r\nx-slow: "] {
            scope.spawn(move || {
                let mut stream = raw(server, b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n");
                assert!(answer(&mut stream).starts_with("HTTP/1.1 200"));
                stream.write_all(then.as_bytes()).unwrap();
                let began = Instant::now();
                while then.len() > 1 && !is_told(&stream) && stream.write_all(b"a").is_ok() {
                    assert!(began.elapsed() < PATIENCE, "a second head that trickles is read for ever");
                }
                assert_eq!(answer(&mut stream), "");
            });
        }
        // Longer than both of them.
        let sample = Sample::new(1, 5, 3);
        let mut stream = raw(server, format!("{}\r\n", head(server, "PUT", "/api/v1/models/o/slow", sample.bytes.len())).as_bytes());
        for piece in sample.bytes.chunks(sample.bytes.len() / 3) {
            thread::sleep(Duration::from_secs(30));
            stream.write_all(piece).unwrap();
        }
        assert!(answer(&mut stream).starts_with("HTTP/1.1 201"));
    });
}

#[test]
fn a_body_without_an_end_is_not_read_on_once_it_is_answered() {
    // Nothing else ends a connection that goes on sending.
    let server = Server::with(&["--keep-alive-seconds", "86400"]);
    server.put_model("o/m", &Sample::new(1, 5, 3).bytes).expect(201);
    server.put_endpoint("o", &json!([{ "model": "o/m" }]));
    let key = format!("authorization: Bearer {}\r\n", server.admin);
    let long = "x".repeat(20_000);
    for (request, key, status) in [
        ("POST /api/v1/login", "", "413"),
        ("PUT /api/v1/models/o/new", "", "401"),
        ("PUT /api/v1/models/alone", &key, "400"),
        ("POST /endpoints/o/invocations", "", "403"),
        ("POST /endpoints/%6f/invocations", "", "403"),
        ("GET /healthz", "", "200"),
        ("DELETE /nowhere", "", "404"),
    ] {
        let head = format!("{request} HTTP/1.1\r\nhost: t\r\n{key}transfer-encoding: chunked\r\n\r\n4e20\r\n{long}\r\n");
        let mut stream = raw(&server, head.as_bytes());
        let text = answer(&mut stream);
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {text}");
        assert!(text.to_ascii_lowercase().contains("connection: close"), "{request}: {text}");
        let began = Instant::now();
        while stream.write_all(b"1\r\nx\r\n").is_ok() {
            assert!(began.elapsed() < PATIENCE, "{request}: its body is read for ever");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn whoever_is_refused_in_the_middle_of_a_body_has_time_to_send_the_rest() {
    let server = Server::start();
    let head = head(&server, "PUT", "/api/v1/models/o/m", 1 << 20).replace(&server.admin, "nobodys");
    let mut stream = raw(&server, format!("{head}\r\n").as_bytes());
    // Most clients read no answer before they have sent all: it must not be lost by then.
    for _ in 0..16 {
        thread::sleep(Duration::from_millis(250));
        stream.write_all(&vec![b'x'; 1 << 16]).expect("the connection was reset while the body was sent");
    }
    assert!(answer(&mut stream).starts_with("HTTP/1.1 401"));
}

#[test]
fn senders_that_stop_half_way_are_cut_off() {
    let started = Instant::now();
    let (server, _, [mut half_heads, mut half_bodies]) = half_sent(&[]);
    // One who sends a byte now and then gains nothing by it.
    let mut trickle = raw(&server, b"GET /healthz HTTP/1.1\r\nx-slow: ");
    while !is_told(&trickle) && trickle.write_all(b"a").is_ok() {
        assert!(started.elapsed() < PATIENCE, "a head that trickles is read for ever");
    }
    half_heads.push(trickle);
    for stream in &mut half_heads {
        let text = answer(stream);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
    for stream in &mut half_bodies {
        let text = answer(stream);
        assert!(text.starts_with("HTTP/1.1 4") && text.contains("paused for more than 30 seconds"), "{text}");
    }
    assert!(started.elapsed() >= Duration::from_secs(30), "half a body was waited for {:?}", started.elapsed());
    server.admin("GET", "/api/v1/models/o/half", b"").expect(404);
}
