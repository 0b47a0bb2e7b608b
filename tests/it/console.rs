//! The console in a real Chromium, driven through ChromeDriver, with and without script; and its forms over plain HTTP,
//! as whoever wants to misuse them sends them.
//!
//! Speaks the little of WebDriver it needs. Without ChromeDriver these tests fail; they are never skipped. Next: `src/http/ui/`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rookery::http::routes;
use serde_json::{Value, json};

use crate::senders::{answer, is_told, raw};
use crate::support::{ADMIN_PASSWORD, HOUSE, PATIENCE, Reply, Server, city, may_invoke};

const WRONG: &str = "the user name or the password is wrong";
const INSTALL: &str = "the console's tests need a browser; run `apt-get install chromium chromium-driver`";
/// Cells in a row of the list.
const COLUMNS: usize = 7;

/// A Chromium of its own, with its driver and profile. Closed when dropped.
struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn open(script: bool) -> Self {
        let (driver, url) = start_driver("chromedriver");
        let profile = tempfile::tempdir().unwrap();
        let mut arguments: Vec<String> = [
            "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking",
            "--disable-component-update --disable-sync --window-size=1200,900",
        ]
        .iter()
        .flat_map(|flags| flags.split(' ').map(str::to_owned))
        .collect();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let script = if script { 1 } else { 2 };
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": {
                "args": arguments, "prefs": { "profile.managed_default_content_settings.javascript": script },
            },
        }}});
        let mut browser = Self { driver, session: format!("{url}/session"), _profile: profile };
        let opened = browser.ask("POST", "", &wanted).unwrap_or_else(|error| panic!("{INSTALL} ({error})"));
        browser.session = format!("{}/{}", browser.session, opened["sessionId"].as_str().unwrap());
        browser
    }

    /// A WebDriver command and its value.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let headers = [("content-type", "application/json")];
        let reply = crate::support::send(&self.session, method, path, "", &headers, body.as_bytes()).map_err(|error| error.to_string())?;
        if reply.status == 200 { Ok(reply.json()["value"].clone()) } else { Err(format!("{method} {path}: {}", reply.text())) }
    }

    fn run(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, path, body).unwrap_or_else(|error| panic!("{error}"))
    }

    fn cdp(&self, command: &str, parameters: &Value) {
        self.run("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    fn go(&self, url: &str) {
        self.run("POST", "/url", &json!({ "url": url }));
    }

    /// The address after the host.
    fn place(&self) -> String {
        let url = self.run("GET", "/url", &Value::Null);
        let url = url.as_str().unwrap();
        url.splitn(4, '/').nth(3).map_or_else(|| url.to_owned(), |rest| format!("/{rest}"))
    }

    fn title(&self) -> String {
        self.run("GET", "/title", &Value::Null).as_str().unwrap().to_owned()
    }

    /// Paths of the elements a selector finds.
    fn all(&self, css: &str) -> Vec<String> {
        let found = self.run("POST", "/elements", &json!({ "using": "css selector", "value": css }));
        let id = |element: &Value| element.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        found.as_array().unwrap().iter().map(|element| format!("/element/{}", id(element))).collect()
    }

    /// The texts a selector finds; `None` when the page changed meanwhile.
    fn texts(&self, css: &str) -> Option<Vec<String>> {
        let text = |element: String| Some(self.ask("GET", &format!("{element}/text"), &Value::Null).ok()?.as_str()?.to_owned());
        self.all(css).into_iter().map(text).collect()
    }

    fn one(&self, css: &str) -> String {
        self.until(css, || self.all(css).into_iter().next())
    }

    fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "no {what} at {}: {:?}", self.place(), self.texts("body"));
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The text of the first such element that shows any.
    fn read(&self, css: &str) -> String {
        self.until(css, || self.texts(css)?.into_iter().find(|text| !text.is_empty()))
    }

    fn property(&self, css: &str, name: &str) -> Value {
        self.run("GET", &format!("{}/property/{name}", self.one(css)), &Value::Null)
    }

    fn fill(&self, css: &str, text: &str) {
        let element = self.one(css);
        if self.property(css, "type") != "file" {
            self.run("POST", &format!("{element}/clear"), &json!({}));
        }
        self.run("POST", &format!("{element}/value"), &json!({ "text": text }));
    }

    fn click(&self, css: &str) {
        self.run("POST", &format!("{}/click", self.one(css)), &json!({}));
    }

    /// Clicks and waits until the page that had the element is gone: a page asked for while a form is still under way
    /// may be overtaken by the form's answer.
    fn send(&self, css: &str) {
        let element = self.one(css);
        self.run("POST", &format!("{element}/click"), &json!({}));
        self.gone(&element);
    }

    /// Waits until the page that had the element is gone.
    fn gone(&self, element: &str) {
        self.until("page after this one", || self.ask("GET", &format!("{element}/name"), &Value::Null).err());
    }

    /// Goes back, and waits for the page that comes: else what is there is still the one that was left.
    fn back(&self) {
        let element = self.one("main");
        self.run("POST", "/back", &json!({}));
        self.gone(&element);
        self.one("main");
    }

    fn script(&self, body: &str) -> Value {
        self.run("POST", "/execute/sync", &json!({ "script": body, "args": [] }))
    }

    fn sign_in(&self, server: &Server, name: &str, password: &str) {
        self.go(&format!("{}/ui/sign-in", server.url));
        self.fill("input[name=name]", name);
        self.fill("input[name=password]", password);
        self.send("main button");
    }

    fn upload(&self, server: &Server, path: &str, file: &Path) {
        self.go(&format!("{}/ui/upload", server.url));
        self.fill("#upload input[name=path]", path);
        self.fill("#upload input[type=file]", file.to_str().unwrap());
        self.click("#upload button");
    }

    /// The rows of the list.
    fn rows(&self) -> Vec<Vec<String>> {
        let cells = self.until("steady table", || self.texts("tbody td"));
        cells.chunks(COLUMNS).map(<[String]>::to_vec).collect()
    }

    /// What the browser complained of since last asked.
    fn complaints(&self) -> Vec<String> {
        let log = self.run("POST", "/se/log", &json!({ "type": "browser" }));
        log.as_array().unwrap().iter().map(|entry| format!("{} {}", entry["source"], entry["message"])).collect()
    }

    /// A refusal's status is told in the log; a script's error or a breach of the policy of contents is none of ours.
    fn assert_no_violation(&self) {
        let complaints = self.complaints();
        let harmless = |line: &String| line.contains("the server responded with a status of 4");
        assert!(complaints.iter().all(harmless), "{complaints:?}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.ask("DELETE", "", &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Starts a ChromeDriver on a free port, which it prints.
fn start_driver(program: &str) -> (Child, String) {
    let mut driver = Command::new(program)
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{INSTALL} (`{program}`: {error})"));
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told = lines.find(|line| line.contains("started successfully on port"));
    let port: String = told.unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    assert!(!port.is_empty(), "`{program}` did not tell its port");
    std::thread::spawn(move || lines.for_each(drop));
    (driver, format!("http://127.0.0.1:{port}"))
}

#[test]
#[should_panic(expected = "apt-get install chromium chromium-driver")]
fn a_missing_browser_fails_the_tests_and_says_what_to_install() {
    start_driver("chromedriver-that-is-not-installed");
}

/// Everything a visitor does, in one go. Without script a refused upload is a page; with it, a line in the form.
fn walk(script: bool) {
    let (server, browser) = (Server::start(), Browser::open(script));
    let files = tempfile::tempdir().unwrap();
    let (model, junk) = (files.path().join("model.json"), files.path().join("junk.json"));
    std::fs::write(&model, city(1, 100.0)).unwrap();
    std::fs::write(&junk, "{\"learner\": tomorrow}").unwrap();

    browser.go(&server.url);
    assert_eq!(browser.place(), "/ui/sign-in");
    browser.sign_in(&server, "root-admin", "not the password");
    assert_eq!(browser.read("main > .notice.bad"), WRONG);
    browser.sign_in(&server, "nobody-at-all", "not the password");
    assert_eq!(browser.read("main > .notice.bad"), WRONG);
    browser.sign_in(&server, "root-admin", ADMIN_PASSWORD);
    assert!(browser.read("main").contains("No models here yet"), "{}", browser.read("main"));
    assert_eq!(browser.place(), "/ui/models");

    browser.upload(&server, "walk/cities/a.json", &model);
    assert_eq!(browser.read(".notice.good"), "Uploaded walk/cities/a.json.");
    server.put_model("other/b", &city(2, 200.0)).expect(201);
    let listed = server.admin("GET", "/api/v1/models/walk/cities/a.json", b"").expect(200).json();
    let kib = |bytes: f64| format!("{:.1} KiB", bytes / 1024.0);
    let row = |state: &str| {
        vec![
            "walk/cities/a.json".to_owned(),
            kib(std::fs::metadata(&model).unwrap().len() as f64),
            format!("xgboost {}", listed["kind"].as_str().unwrap()),
            "8".to_owned(),
            listed["version"].as_str().unwrap()[..12].to_owned(),
            kib(listed["memoryBytes"].as_f64().unwrap()),
            state.to_owned(),
        ]
    };
    browser.go(&format!("{}/ui/models", server.url));
    assert_eq!(browser.read("thead"), "Path Size Format Features Version In memory Loaded");
    assert_eq!(browser.rows().iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["other/b", "walk/cities/a.json"]);
    assert_eq!(browser.rows()[1], row("on disk"));
    server.put_endpoint("walk", &json!([{ "prefix": "walk/cities/" }]));
    server.invoke("walk", Some("a.json"), &server.admin, HOUSE).expect(200);
    browser.fill(".filter input", "walk/");
    browser.click(".filter button");
    browser.until("filtered list", || browser.place().contains("prefix=").then_some(()));
    assert_eq!(browser.rows(), [row("loaded")]);
    assert_eq!(browser.property(".filter input", "value"), "walk/");
    browser.fill(".filter input", "none/");
    browser.click(".filter button");
    assert!(browser.read(".empty").contains("No models here"));

    browser.upload(&server, "walk/junk.json", &junk);
    let refusal = server.put_model("walk/junk.json", &std::fs::read(&junk).unwrap()).expect(400).message();
    assert_eq!(browser.read(if script { "#upload .notice.bad" } else { "main > .notice.bad" }), refusal);
    assert_eq!(browser.place(), "/ui/upload");
    browser.click("#upload input[name=path]");
    server.admin("GET", "/api/v1/models/walk/junk.json", b"").expect(404);

    browser.go(&format!("{}/ui/models", server.url));
    assert_eq!(browser.rows().len(), 2);
    browser.click(".sign-out button");
    browser.until("sign-in page", || (browser.place() == "/ui/sign-in").then_some(()));
    browser.back();
    let page = browser.read("body");
    assert!(!page.contains("walk/") && !page.contains("root-admin"), "{page}");
    browser.go(&format!("{}/ui/models", server.url));
    assert_eq!(browser.place(), "/ui/sign-in");
    browser.assert_no_violation();
}

#[test]
fn a_visitor_signs_in_lists_filters_uploads_and_signs_out() {
    walk(true);
}

#[test]
fn the_same_walk_works_with_script_turned_off() {
    walk(false);
}

#[test]
fn an_upload_shows_its_progress_while_it_is_sent() {
    let (server, browser) = (Server::start(), Browser::open(true));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rookery::cli::demo::city::model(1, 100.0, 400, 6)).unwrap();
    browser.sign_in(&server, "root-admin", ADMIN_PASSWORD);
    browser.go(&format!("{}/ui/upload", server.url));
    assert_eq!(browser.property("progress", "hidden"), true);
    browser.cdp("Network.enable", &json!({}));
    // It would take the better part of an hour, so there is time to look at all of it.
    let pace = |bytes: i32| json!({ "offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes });
    browser.cdp("Network.emulateNetworkConditions", &pace(1 << 10));
    browser.fill("#upload input[name=path]", "slow/model");
    browser.fill("#upload input[type=file]", file.path().to_str().unwrap());
    browser.click("#upload button");
    let halfway = browser.until("progress", || {
        let value = browser.script("const bar = document.querySelector('progress'); return bar && !bar.hidden ? bar.value : 0").as_f64()?;
        (value > 0.0 && value < 1.0).then_some(value)
    });
    assert!(browser.script("return document.querySelector('#upload button').disabled") == true, "at {halfway}");
    assert!(browser.read("#upload button").starts_with("Uploading"));
    browser.cdp("Network.emulateNetworkConditions", &pace(-1));
    assert_eq!(browser.read(".notice.good"), "Uploaded slow/model.");
    browser.assert_no_violation();
}

#[test]
fn names_prefixes_and_sentences_are_shown_as_text_never_as_markup() {
    let (server, browser) = (Server::start(), Browser::open(true));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), city(1, 100.0)).unwrap();
    let evil = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";
    let untouched = |page: &str| {
        assert_eq!(browser.title(), format!("{page} – Rookery"));
        assert_eq!(browser.all("main img, main script:not([src])").len(), 0, "{}", browser.read("main"));
    };
    browser.sign_in(&server, "root-admin", ADMIN_PASSWORD);
    browser.upload(&server, &format!("x/{evil}"), file.path());
    assert_eq!(browser.read(".notice.good"), format!("Uploaded x/{evil}."));
    assert_eq!(browser.rows()[0][0], format!("x/{evil}"));
    untouched("Models");
    browser.fill(".filter input", &format!("\">{evil}"));
    browser.click(".filter button");
    browser.until("filtered list", || browser.place().contains("prefix=").then_some(()));
    assert_eq!(browser.property(".filter input", "value"), format!("\">{evil}"));
    untouched("Models");
    let one_segment = "<img src=x onerror=document.title='taken'>";
    browser.upload(&server, one_segment, file.path());
    let sentence = browser.read("#upload .notice.bad");
    assert!(sentence.contains("has one segment") && sentence.contains("<img src=x"), "{sentence}");
    untouched("Upload a model");
    let visit = Visit::new(&server);
    let page = visit.upload(&[("csrf", &visit.csrf), ("path", one_segment), ("file", "x")], Some(&server.url)).expect(400);
    assert!(page.text().contains("&lt;img src=x") && !page.text().contains("<img src=x"), "{}", page.text());
    browser.assert_no_violation();

    // Should markup ever get in, the page's policy still stops it; and the log tells, so its silence above means something.
    browser.go(&format!("{}/ui/models", server.url));
    browser.script("const s = document.createElement('script'); s.textContent = \"document.title = 'taken'\"; document.body.append(s)");
    assert_eq!(browser.title(), "Models – Rookery");
    let complaints = browser.complaints();
    assert!(complaints.iter().any(|line| line.contains("Content Security Policy")), "{complaints:?}");
}

#[test]
fn a_page_elsewhere_cannot_act_for_a_visitor() {
    let (server, browser) = (Server::start(), Browser::open(true));
    browser.sign_in(&server, "root-admin", ADMIN_PASSWORD);
    browser.go(&format!("{}/ui/upload", server.url));
    let csrf = browser.property("#upload input[name=csrf]", "value").as_str().unwrap().to_owned();
    let cookies = browser.run("GET", "/cookie", &Value::Null);
    let cookie = &cookies[0];
    assert_eq!(cookies.as_array().unwrap().len(), 1);
    assert_eq!((&cookie["httpOnly"], &cookie["sameSite"], &cookie["path"]), (&json!(true), &json!("Strict"), &json!("/ui")), "{cookie}");
    assert_eq!(browser.script("return document.cookie"), "");
    // Even one that has learned the visitor's token.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), city(1, 100.0)).unwrap();
    browser.go(&format!(
        "data:text/html,<form method=post enctype=multipart/form-data action={}/ui/upload><input name=csrf value={csrf}>\
         <input name=path value=stolen/model><input name=file type=file><button>go</button></form>",
        server.url
    ));
    browser.fill("input[type=file]", file.path().to_str().unwrap());
    browser.click("button");
    browser.until("answer", || browser.place().starts_with("/ui/").then_some(()));
    assert_eq!(browser.place(), "/ui/sign-in");
    assert_eq!(models(&server), json!([]));
    browser.go(&format!("{}/ui/models", server.url));
    assert_eq!(browser.read(".sign-out span"), "root-admin");
}

#[test]
fn the_first_administrator_is_made_at_the_link_the_server_prints_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rookery"))
        .args(["serve", "--listen", "127.0.0.1:0", "--db"])
        .arg(folder.path().join("new.db"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let told = log.find(|line| line.contains("/ui/setup?token="));
    std::thread::spawn(move || log.for_each(drop));
    let check = std::panic::catch_unwind(|| {
        let link = told.as_deref().expect("the server prints the link").trim();
        let url = &link[..link.find("/ui/").unwrap()];
        let browser = Browser::open(true);
        browser.go(&format!("{url}/ui/setup?token=0123456789abcdef0123456789abcdef"));
        assert!(browser.read(".notice.bad").contains("this link does not hold"));
        browser.go(link);
        browser.fill("input[name=name]", "no such / name");
        browser.fill("input[name=password]", ADMIN_PASSWORD);
        browser.click("main button");
        assert!(browser.read(".notice.bad").contains("no such / name"), "{}", browser.read("main"));
        browser.fill("input[name=name]", "ada");
        browser.fill("input[name=password]", "seven77");
        let stopped = browser.script("return !document.querySelector('main form').checkValidity()");
        assert!(stopped == true, "a short password is stopped by the form");
        browser.click("main button");
        assert!(browser.place().starts_with("/ui/setup"));
        browser.fill("input[name=password]", ADMIN_PASSWORD);
        browser.click("main button");
        browser.until("sign-in page", || (browser.place() == "/ui/sign-in").then_some(()));
        browser.fill("input[name=name]", "ada");
        browser.fill("input[name=password]", ADMIN_PASSWORD);
        browser.click("main button");
        assert_eq!(browser.read(".sign-out span"), "ada");
        browser.go(link);
        assert!(browser.read(".notice.bad").contains("this link does not hold"));
        let headers = [("origin", url), ("content-type", FORM)];
        let again = crate::support::send(url, "POST", &link[url.len()..], "", &headers, b"name=eve&password=long+enough+12").unwrap();
        again.expect(403);
        browser.assert_no_violation();
    });
    let _ = child.kill();
    let _ = child.wait();
    check.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn a_visitor_without_the_right_reads_who_may_not_do_what() {
    let (server, browser) = (Server::start(), Browser::open(true));
    server.put_model("mine/a", &city(1, 100.0)).expect(201);
    server.put_model("theirs/a", &city(2, 100.0)).expect(201);
    server.put_user("ben", &may_invoke(&["*"]));
    server.admin("PATCH", "/api/v1/users/ben", json!({ "password": ADMIN_PASSWORD }).to_string().as_bytes()).expect(204);
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::mine",
    }]});
    server.admin("PUT", "/api/v1/users/ben/policies/list", policy.to_string().as_bytes()).expect(204);
    browser.sign_in(&server, "ben", ADMIN_PASSWORD);
    let refusal = browser.read(".notice.bad");
    assert!(refusal.contains("user/ben is not authorized to perform: s3:ListBucket"), "{refusal}");
    assert!(!browser.read("body").contains("theirs/"));
    browser.go(&format!("{}/ui/models?prefix=mine/", server.url));
    assert_eq!(browser.rows().iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["mine/a"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), city(3, 100.0)).unwrap();
    browser.upload(&server, "mine/new", file.path());
    let refusal = browser.read("#upload .notice.bad");
    assert!(refusal.contains("user/ben is not authorized to perform: s3:PutObject"), "{refusal}");
    assert_eq!(models(&server).as_array().unwrap().len(), 2);
}

#[test]
fn pages_fit_a_window_as_narrow_as_a_telephone() {
    let (server, browser) = (Server::start(), Browser::open(true));
    server.put_model(&format!("narrow/{}/m.json", "long-".repeat(60)), &city(1, 100.0)).expect(201);
    server.put_model("narrow/short", &rookery::cli::demo::city::model(1, 100.0, 100, 6).into_bytes()).expect(201);
    browser.sign_in(&server, "root-admin", ADMIN_PASSWORD);
    for (width, page) in [(400, "models"), (400, "upload"), (400, "sign-in"), (320, "models"), (320, "upload"), (1000, "models")] {
        let window = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        browser.cdp("Emulation.setDeviceMetricsOverride", &window);
        browser.go(&format!("{}/ui/{page}", server.url));
        let overhang = browser.script("const r = document.documentElement; return r.scrollWidth - r.clientWidth");
        assert_eq!(overhang, 0, "{page} at {width}");
    }
}

const STRICT: [&str; 6] =
    ["default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"];
const FORM: &str = "application/x-www-form-urlencoded";

/// A signed-in client that is no browser, and so does as it likes.
struct Visit<'a> {
    server: &'a Server,
    cookie: String,
    csrf: String,
}

impl<'a> Visit<'a> {
    fn new(server: &'a Server) -> Self {
        let reply = sign_in(server, Some(&server.url)).expect(303);
        let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let page = server.send("GET", "/ui/upload", "", &[("cookie", &cookie)], b"").expect(200).text();
        let csrf = page.split_once("name=\"csrf\" value=\"").unwrap().1.split('"').next().unwrap().to_owned();
        assert_eq!(csrf.len(), 32, "{page}");
        Self { server, cookie, csrf }
    }

    fn get(&self, path: &str) -> Reply {
        self.server.send("GET", path, "", &[("cookie", &self.cookie)], b"")
    }

    /// Sends fields as the upload form would, `file` as a file.
    fn upload(&self, fields: &[(&str, &str)], origin: Option<&str>) -> Reply {
        let mut body = String::new();
        for (name, value) in fields {
            let file = if *name == "file" { "; filename=\"m.json\"\r\ncontent-type: application/json" } else { "" };
            body += &format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n");
        }
        body += "--edge--\r\n";
        let mut headers = vec![("cookie", self.cookie.as_str()), ("content-type", "multipart/form-data; boundary=edge")];
        headers.extend(origin.map(|origin| ("origin", origin)));
        self.server.send("POST", "/ui/upload", "", &headers, body.as_bytes())
    }

    fn sign_out(&self, csrf: &str, origin: Option<&str>) -> Reply {
        let mut headers = vec![("cookie", self.cookie.as_str()), ("content-type", FORM)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        self.server.send("POST", "/ui/sign-out", "", &headers, format!("csrf={csrf}").as_bytes())
    }
}

fn sign_in(server: &Server, origin: Option<&str>) -> Reply {
    let mut headers = vec![("content-type", FORM)];
    headers.extend(origin.map(|origin| ("origin", origin)));
    let body = format!("name=root-admin&password={}", ADMIN_PASSWORD.replace(' ', "+"));
    server.send("POST", "/ui/sign-in", "", &headers, body.as_bytes())
}

fn models(server: &Server) -> Value {
    server.admin("GET", "/api/v1/models", b"").expect(200).json()["models"].clone()
}

#[test]
fn a_form_without_the_sessions_token_or_from_another_origin_is_refused_and_uploads_nothing() {
    let server = Server::start();
    let (visit, other) = (Visit::new(&server), Visit::new(&server));
    let model = String::from_utf8(city(1, 100.0)).unwrap();
    let (own, path, file) = (("csrf", visit.csrf.as_str()), ("path", "forged/model"), ("file", model.as_str()));
    let home = Some(server.url.as_str());
    let flipped = format!("{}{}", &visit.csrf[1..], &visit.csrf[..1]);
    let forms: [(&str, Vec<(&str, &str)>); 6] = [
        ("no token", vec![path, file]),
        ("an empty token", vec![("csrf", ""), path, file]),
        ("another session's token", vec![("csrf", &other.csrf), path, file]),
        ("a token of the right length", vec![("csrf", &flipped), path, file]),
        ("the beginning of the token", vec![("csrf", &visit.csrf[..31]), path, file]),
        ("the token after the file", vec![path, file, own]),
    ];
    for (what, form) in forms {
        let reply = visit.upload(&form, home);
        assert_eq!(reply.status, 403, "{what}: {}", reply.text());
        assert!(reply.text().contains("the form is out of date"), "{what}: {}", reply.text());
        assert_eq!(models(&server), json!([]), "{what}");
    }
    let lookalike = format!("{}.elsewhere.example", server.url);
    let other_port = server.url.rsplit_once(':').unwrap().0.to_owned() + ":1";
    for origin in [None, Some("null"), Some(""), Some("http://elsewhere.example"), Some(&lookalike), Some(&other_port)] {
        let reply = visit.upload(&[own, path, file], origin);
        assert_eq!(reply.status, 403, "{origin:?}: {}", reply.text());
        assert!(reply.text().contains("not from this console"), "{origin:?}: {}", reply.text());
        assert_eq!(models(&server), json!([]), "{origin:?}");
        visit.sign_out(&visit.csrf, origin).expect(403);
        assert_eq!(sign_in(&server, origin).expect(403).header("set-cookie"), None, "{origin:?}");
    }
    visit.sign_out(&other.csrf, home).expect(403);
    visit.get("/ui/models").expect(200);
    // Nothing but those was wrong with it.
    visit.upload(&[own, path, file], home).expect(303);
    assert_eq!(models(&server).as_array().unwrap().len(), 1);
    // A browser shows its cookie or a caller a key; a form sent with a key alone is nobody's.
    let headers = [("origin", server.url.as_str()), ("content-type", "multipart/form-data; boundary=e")];
    let reply = server.send("POST", "/ui/upload", &server.admin, &headers, b"");
    assert_eq!(reply.expect(303).header("location"), Some("/ui/sign-in"));
}

#[test]
fn an_upload_whose_sender_signs_out_meanwhile_publishes_nothing() {
    let server = Server::start();
    let visit = Visit::new(&server);
    let model = String::from_utf8(city(1, 100.0)).unwrap();
    let part =
        |name: &str, more: &str, value: &str| format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n");
    let body =
        part("csrf", "", &visit.csrf) + &part("path", "", "late/model") + &part("file", "; filename=\"m.json\"", &model) + "--edge--\r\n";
    let (url, cookie) = (&server.url, &visit.cookie);
    let head = format!(
        "POST /ui/upload HTTP/1.1\r\nhost: {}\r\norigin: {url}\r\ncookie: {cookie}\r\ncontent-type: multipart/form-data; boundary=edge\r\ncontent-length: {}\r\n\r\n",
        url.strip_prefix("http://").unwrap(),
        body.len()
    );
    let (begin, rest) = body.split_at(body.len() - 100);
    let mut stream = raw(&server, (head + begin).as_bytes());
    // It was let in: nothing is said before its end.
    assert!(!is_told(&stream));
    visit.sign_out(&visit.csrf, Some(url)).expect(303);
    stream.write_all(rest.as_bytes()).unwrap();
    let told = answer(&mut stream);
    assert!(told.starts_with("HTTP/1.1 401") && told.contains("the credential was ended while the request was sent"), "{told}");
    assert_eq!(models(&server), json!([]));
}

#[test]
fn what_policies_are_asked_about_has_a_longest_in_the_console_too() {
    let server = Server::start();
    let visit = Visit::new(&server);
    let ask =
        |path: &str, agent: usize| server.send("GET", path, "", &[("cookie", &visit.cookie), ("user-agent", &"a".repeat(agent))], b"");
    ask("/ui/models", 2048).expect(200);
    let page = ask("/ui/models", 2049).expect(400).text();
    assert!(page.contains("header `user-agent` is 2049 bytes long; at most 2048 are taken"), "{page}");
    let page = ask(&format!("/ui/models?prefix={}", "a".repeat(1025)), 1).expect(400).text();
    assert!(page.contains("the prefix is 1025 bytes long; paths are at most 1024"), "{page}");
}

#[test]
fn the_sessions_cookie_is_kept_from_script_and_from_other_sites_and_ends_with_the_session() {
    let server = Server::start();
    let reply = sign_in(&server, Some(&server.url)).expect(303);
    let cookie = reply.header("set-cookie").unwrap();
    let attributes: Vec<&str> = cookie.split("; ").skip(1).collect();
    assert_eq!(attributes, ["Path=/ui", "HttpOnly", "SameSite=Strict", "Max-Age=43200"]);
    let visit = Visit::new(&server);
    visit.get("/ui/models").expect(200);
    let gone = visit.sign_out(&visit.csrf, Some(&server.url)).expect(303);
    assert!(gone.header("set-cookie").unwrap().contains("Max-Age=0"), "{gone:?}");
    // Whoever kept the cookie has nothing.
    assert_eq!(visit.get("/ui/models").expect(303).header("location"), Some("/ui/sign-in"));
    assert_eq!(visit.get("/ui/upload").expect(303).header("location"), Some("/ui/sign-in"));
    assert_eq!(visit.upload(&[("csrf", &visit.csrf)], Some(&server.url)).expect(303).header("location"), Some("/ui/sign-in"));
}

#[test]
fn the_upload_page_names_every_kind_of_model_that_is_taken() {
    let server = Server::start();
    let page = Visit::new(&server).get("/ui/upload").expect(200).text();
    for kind in ["XGBoost", "LightGBM", "pickled", "ONNX", "linear-learner", "rookery train", ".tar.gz"] {
        assert!(page.contains(kind), "{kind} is not on the page: {page}");
    }
    // The refusal of what is none of them says the same.
    let refused = server.put_model("a/b", b"no model").expect(400).message();
    let taken = refused.split_once("takes ").unwrap().1;
    assert!(page.contains(taken), "{taken}");
}

#[test]
fn every_page_carries_the_strict_policy_and_is_kept_by_no_cache() {
    let server = Server::start();
    let visit = Visit::new(&server);
    // `/ui/` alone only sends the browser on.
    let is_page = |path: &str| path.starts_with("/ui/") && path != "/ui/" && !path.contains('{');
    let lines = routes::TABLE.iter().filter(|line| line.method == "get" && is_page(line.path));
    let mut pages: Vec<(String, Reply)> = lines.map(|line| (line.path.to_owned(), visit.get(line.path))).collect();
    assert!(pages.len() >= 4, "{pages:?}");
    pages.push(("a refused sign-in".to_owned(), sign_in(&server, None)));
    pages.push(("a refused upload".to_owned(), visit.upload(&[("csrf", &visit.csrf), ("path", "x"), ("file", "x")], Some(&server.url))));
    pages.push(("a forged form".to_owned(), visit.upload(&[("csrf", "")], None)));
    for (name, page) in pages {
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{name}: {}", page.text());
        let policy: Vec<&str> = page.header("content-security-policy").unwrap().split(';').map(str::trim).collect();
        for part in STRICT {
            assert!(policy.contains(&part), "{name}: {policy:?}");
        }
        assert!(!policy.iter().any(|part| part.contains("unsafe") || part.contains('*')), "{name}: {policy:?}");
        let headers = ["cache-control", "x-content-type-options", "x-frame-options", "referrer-policy"];
        let told = headers.map(|header| page.header(header).unwrap());
        assert_eq!(told, ["no-store", "nosniff", "DENY", "same-origin"], "{name}");
        assert!(!page.text().contains(" style=") && !page.text().contains("<style") && !page.text().contains(" onclick="), "{name}");
    }
    for (file, kind) in [("console.css", "text/css"), ("console.js", "text/javascript"), ("rookery.svg", "image/svg+xml")] {
        let reply = visit.get(&format!("/ui/static/{file}")).expect(200);
        assert!(reply.header("content-type").unwrap().starts_with(kind), "{reply:?}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    visit.get("/ui/static/..%2Fconsole.css").expect(404);
}
