//! The real binary on a free port with a temporary database, and a plain client for it.
//!
//! Tests speak HTTP to it as any caller would. Next: any test file.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) const ADMIN_PASSWORD: &str = "correct horse battery";

/// Far longer than anything that is waited for takes on a slow machine that many share: whoever waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `done`, and says how long that took.
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

/// Processor time used so far, by what `stat` in `/proc` tells of it. Unlike the clock it does not depend on who else runs.
pub(crate) fn processor_time(stat: &str) -> Duration {
    let stat = std::fs::read_to_string(stat).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Processor time this thread has used.
pub(crate) fn own_time() -> Duration {
    processor_time("/proc/thread-self/stat")
}

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) db: PathBuf,
    folder: Option<tempfile::TempDir>,
    /// An administrator's API key.
    pub(crate) admin: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The refusal's sentence in either dialect.
    pub(crate) fn message(&self) -> String {
        let body = self.json();
        body["error"]["message"].as_str().or(body["Message"].as_str()).unwrap_or_default().to_owned()
    }

    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// Runs the binary to its end: exit code, standard output, standard error.
pub(crate) fn rookery(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rookery"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    match child.stdin.take().unwrap().write_all(input.as_bytes()) {
        // Who refuses before it reads may be gone already.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.unwrap(),
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

impl Server {
    /// A server on a new database with an administrator `root-admin`.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// As [`Server::start`], with more flags for `serve`.
    pub(crate) fn with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("test.db");
        let path = db.to_str().unwrap();
        let (code, _, error) = rookery(&["user", "create", "root-admin", "--admin", "--password-stdin", "--db", path], ADMIN_PASSWORD);
        assert_eq!(code, 0, "{error}");
        let (code, key, error) = rookery(&["key", "create", "root-admin", "--api", "--json", "--db", path], "");
        assert_eq!(code, 0, "{error}");
        let key: Value = serde_json::from_str(&key).unwrap();
        let mut server = Self::on(&db, flags);
        server.folder = Some(folder);
        server.admin = key["ApiKey"].as_str().unwrap().to_owned();
        server
    }

    /// A server on an existing database. `admin` is left empty.
    pub(crate) fn on(db: &Path, flags: &[&str]) -> Self {
        Self::try_on(db, flags).unwrap_or_else(|said| panic!("the server did not start: {said}"))
    }

    /// As [`Server::on`]; an error is what one that does not start says.
    pub(crate) fn try_on(db: &Path, flags: &[&str]) -> Result<Self, String> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rookery"))
            .args(["serve", "--listen", "127.0.0.1:0", "--db"])
            .arg(db)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(url) = line.trim().strip_prefix("listening on ") else {
            let output = child.wait_with_output().unwrap();
            return Err(format!("{line}{}", String::from_utf8_lossy(&output.stderr)));
        };
        let url = url.to_owned();
        // Its log is drained, so that it never blocks on a full pipe.
        let log = child.stderr.take().unwrap();
        std::thread::spawn(move || BufReader::new(log).lines().for_each(drop));
        Ok(Self { child, url, db: db.to_owned(), folder: None, admin: String::new() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, as a power cut would end it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns the exit code.
    pub(crate) fn terminate(&mut self) -> i32 {
        assert!(Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap().success());
        wait_for("the server stops", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    pub(crate) fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a request with a bearer credential (empty: none).
    pub(crate) fn send(&self, method: &str, path: &str, credential: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        send(&self.url, method, path, credential, headers, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// As the administrator.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        self.send(method, path, &self.admin, &[], body)
    }

    /// Uploads a model as the administrator.
    pub(crate) fn put_model(&self, path: &str, bytes: &[u8]) -> Reply {
        self.admin("PUT", &format!("/api/v1/models/{path}"), bytes)
    }

    /// Makes an endpoint of these stages, such as `json!([{"prefix": "a/"}])`.
    pub(crate) fn put_endpoint(&self, name: &str, stages: &Value) {
        self.admin("POST", "/api/v1/endpoints", json!({ "name": name, "stages": stages }).to_string().as_bytes()).expect(201);
    }

    /// Makes a user with one inline policy and returns an API key of theirs.
    pub(crate) fn put_user(&self, name: &str, policy: &Value) -> String {
        self.admin("POST", "/api/v1/users", json!({ "name": name }).to_string().as_bytes()).expect(201);
        self.admin("PUT", &format!("/api/v1/users/{name}/policies/own"), policy.to_string().as_bytes()).expect(204);
        let key = self.admin("POST", "/api/v1/keys", json!({ "user": name, "kind": "api" }).to_string().as_bytes()).expect(201);
        key.json()["ApiKey"].as_str().unwrap().to_owned()
    }

    /// Changes the file as no request can, and waits until the server has seen it.
    pub(crate) fn change(&self, sql: &str, seen: impl FnMut() -> bool) {
        let file = rusqlite::Connection::open(&self.db).unwrap();
        file.busy_timeout(PATIENCE).unwrap();
        file.execute_batch(&format!("BEGIN IMMEDIATE; {sql}; UPDATE epoch SET value = value + 1 WHERE noun = 'access'; COMMIT")).unwrap();
        wait_for("what was written to the file", seen);
    }

    /// Lets a key's time end, and waits for that. Whoever made it had an hour to use it first, however slow the machine is.
    pub(crate) fn expire(&self, id: &str, key: &str) {
        let whoami = || self.send("GET", "/api/v1/whoami", key, &[], b"");
        whoami().expect(200);
        // Not in the past: that it ends by the clock is to be seen.
        self.change(&format!("UPDATE key SET expires_at = unixepoch() + 2 WHERE id = '{id}'"), || whoami().status == 401);
        assert!(whoami().expect(401).message().contains("expired"));
    }

    /// Predictions under way, as a scrape tells.
    pub(crate) fn in_flight(&self) -> u64 {
        let text = self.admin("GET", "/metrics", b"").expect(200).text();
        let line = text.lines().find_map(|line| line.strip_prefix("rookery_invocations_in_flight ")).unwrap();
        line.parse().unwrap()
    }

    /// A CSV row to an endpoint.
    pub(crate) fn invoke(&self, endpoint: &str, target: Option<&str>, credential: &str, body: &str) -> Reply {
        let mut headers = vec![("content-type", "text/csv")];
        if let Some(target) = target {
            headers.push(("x-amzn-sagemaker-target-model", target));
        }
        self.send("POST", &format!("/endpoints/{endpoint}/invocations"), credential, &headers, body.as_bytes())
    }
}

/// Sends a request; an error is a connection that failed.
pub(crate) fn send(
    url: &str,
    method: &str,
    path: &str,
    credential: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Reply, ureq::Error> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_global(Some(PATIENCE)).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{url}{path}"));
    if !credential.is_empty() {
        request = request.header("authorization", format!("Bearer {credential}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = agent.run(request.body(body).unwrap())?;
    let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    Ok(Reply { status: answer.status().as_u16(), headers, body: answer.body_mut().with_config().limit(64 << 20).read_to_vec()? })
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small city model: `level` dollars, give or take.
pub(crate) fn city(seed: u64, level: f32) -> Vec<u8> {
    rookery::cli::demo::city::model(seed, level, 5, 3).into_bytes()
}

/// A row for it.
pub(crate) const HOUSE: &str = "1992,1659.5,3,2,0.87,2,0,1";

/// Allows predictions with these target models of every endpoint.
pub(crate) fn may_invoke(targets: &[&str]) -> Value {
    json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": "arn:aws:sagemaker:*:*:endpoint/*",
        "Condition": { "StringLike": { "sagemaker:TargetModel": targets } },
    }]})
}
