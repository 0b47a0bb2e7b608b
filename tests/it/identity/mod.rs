//! Who one is and what one may do, attacked from outside: credentials, throttling, administrators, policies, first start.
//!
//! Each test is a promise of the design's sections 4, 5 and 11; where an attacker has several roads, one test walks all
//! and names those that were open. Who may call which route at all: `goldens.rs`.

mod administrators;
mod first_start;
mod guessing;
mod keys;
mod makers;
mod meanwhile;
mod passwords_and_tokens;
mod records;
mod simulation;
mod target_models_endpoints_conditions;
mod what_refusals_tell;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};

use crate::support::{ADMIN_PASSWORD, HOUSE, PATIENCE, Reply, Server, city, may_invoke, rookery, send, wait_for};

const PASSWORD: &str = "a password of nine words";
const INVOKE: &str = "sagemaker:InvokeEndpoint";
const ANY_ENDPOINT: &str = "arn:aws:sagemaker:*:*:endpoint/*";

fn statement(effect: &str, action: impl Into<Value>, resource: impl Into<Value>) -> Value {
    json!({ "Effect": effect, "Action": action.into(), "Resource": resource.into() })
}

fn when(mut statement: Value, condition: Value) -> Value {
    statement["Condition"] = condition;
    statement
}

fn policy(statements: Vec<Value>) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn everything() -> Value {
    policy(vec![statement("Allow", "*", "*")])
}

fn nothing() -> Value {
    policy(vec![statement("Deny", "*", "*")])
}

fn call(server: &Server, credential: &str, method: &str, path: &str, body: &Value) -> Reply {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    server.send(method, path, credential, &[], text.as_bytes())
}

fn admin(server: &Server, method: &str, path: &str, body: &Value) -> Reply {
    call(server, &server.admin, method, path, body)
}

fn make_user(server: &Server, body: &Value) {
    admin(server, "POST", "/api/v1/users", body).expect(201);
}

/// A key's id and the whole of it.
fn make_key(server: &Server, body: &Value) -> (String, String) {
    let made = admin(server, "POST", "/api/v1/keys", body).expect(201).json();
    (made["KeyId"].as_str().unwrap().to_owned(), made["ApiKey"].as_str().unwrap().to_owned())
}

fn key_of(server: &Server, user: &str) -> String {
    make_key(server, &json!({ "user": user, "kind": "api" })).1
}

fn log_in(url: &str, name: &str, password: &str) -> Reply {
    let body = json!({ "name": name, "password": password }).to_string();
    send(url, "POST", "/api/v1/login", "", &[], body.as_bytes()).unwrap()
}

fn token(server: &Server, name: &str, password: &str) -> String {
    log_in(&server.url, name, password).expect(200).json()["token"].as_str().unwrap().to_owned()
}

fn who(server: &Server, credential: &str) -> Reply {
    server.send("GET", "/api/v1/whoami", credential, &[], b"")
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// Bytes as they are: what no client library would send. Returns the status and all that came.
fn raw(url: &str, line: &str, headers: &[u8], body: &[u8]) -> (u16, String) {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(headers);
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    stream.write_all(&bytes).unwrap();
    answer(&mut stream)
}

fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, text)
}

/// Models `h/a/m.json` and `h/b/m.json` behind the endpoint `Housing`; returns the version of the second.
fn housing(server: &Server) -> String {
    server.put_model("h/a/m.json", &city(1, 100.0)).expect(201);
    let b = server.put_model("h/b/m.json", &city(2, 200.0)).expect(201).json();
    server.put_endpoint("Housing", &json!([{ "prefix": "h/" }]));
    b["version"].as_str().unwrap().to_owned()
}

/// Gathers the roads that were open, so that one run shows all of them.
#[derive(Default)]
struct Open(Vec<String>);

impl Open {
    fn expect(&mut self, what: &str, reply: &Reply, status: u16) {
        if reply.status != status {
            self.0.push(format!("{what}: {} instead of {status}: {}", reply.status, reply.text()));
        }
    }

    fn end(self) {
        assert!(self.0.is_empty(), "{} roads were open:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// A server that was not prepared: its own flags, its standard error kept.
struct Bare {
    child: Child,
    url: String,
    told: Arc<Mutex<String>>,
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(db: &Path, flags: &[&str]) -> Bare {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    let mut child = command.arg("serve").arg("--db").arg(db).args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let told = Arc::new(Mutex::new(String::new()));
    let (log, kept) = (child.stderr.take().unwrap(), told.clone());
    thread::spawn(move || BufReader::new(log).lines().map_while(Result::ok).for_each(|line| *kept.lock().unwrap() += &(line + "\n")));
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}{}", told.lock().unwrap())).to_owned();
    Bare { child, url, told }
}
