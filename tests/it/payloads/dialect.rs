//! The frame around a prediction: sizes, SageMaker's headers, and every kind of refusal with its status, code and body.
//!
//! Next: `answers.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;

use super::{ask, ask_as, house, serving};
use crate::support::{HOUSE, PATIENCE, Reply, city, may_invoke, rookery};
use crate::uploads::door::{chunked, exchange};

#[test]
fn bodies_over_their_cap_are_answered_413_however_they_are_framed() {
    let server = house();
    let cap = 6_291_456;
    let blank = |length: usize| {
        let mut body = HOUSE.as_bytes().to_vec();
        body.resize(length, b'\n');
        body
    };
    let head = |framing: &str| {
        format!("POST /endpoints/p/invocations HTTP/1.1\r\ncontent-type: text/csv\r\nx-amzn-sagemaker-target-model: house\r\n{framing}")
    };
    let exact = exchange(&server, &head(&format!("content-length: {cap}")), &blank(cap)).unwrap();
    assert_eq!(exact.0, 200, "{}", exact.1);
    let pieces = exchange(&server, &head("transfer-encoding: chunked"), &chunked(&blank(cap))).unwrap();
    assert_eq!(pieces.0, 200, "{}", pieces.1);
    // boto3 sends seven megabytes without asking and must read the answer, not a reset.
    let over = blank(7 << 20);
    for round in 0..2 {
        let one = blank(cap + 1);
        let framed = [
            (format!("content-length: {}", over.len()), over.clone()),
            (format!("content-length: {}", one.len()), one.clone()),
            ("transfer-encoding: chunked".to_owned(), chunked(&over)),
            ("transfer-encoding: chunked".to_owned(), chunked(&one)),
        ];
        for (framing, body) in framed {
            let (status, text) =
                exchange(&server, &head(&framing), &body).unwrap_or_else(|error| panic!("round {round}, {framing}: {error}"));
            assert_eq!(status, 413, "{text}");
            assert!(text.contains(&format!("the body is larger than {cap} bytes; send less at once")), "{text}");
        }
    }
    // Announced, not sent.
    let (status, _) = exchange(&server, &head("content-length: 18446744073709551615"), b"").unwrap();
    assert!(matches!(status, 400 | 413), "{status}");
    ask_as(&server, "house", "text/csv", HOUSE).expect(200);
    let small = serving(&["--body", "1KiB"]);
    small.put_model("p/house", &city(1, 100.0)).expect(201);
    ask_as(&small, "house", "text/csv", blank(1024)).expect(200);
    let reply = ask_as(&small, "house", "text/csv", blank(1025)).expect(413);
    assert_eq!(reply.header("x-amzn-errortype"), Some("ValidationError"));
    assert_eq!(reply.message(), "the body is larger than 1024 bytes; send less at once");
}

#[test]
fn json_nests_as_deep_as_the_server_allows_and_no_deeper() {
    // A row in `instances` stands at depth 2; what nobody reads of it may nest on.
    let nested = |depth: usize| {
        let rest = depth - 2;
        format!(r#"{{"ignored":{}{},"instances":[[{HOUSE}]]}}"#, "[".repeat(rest + 1), "]".repeat(rest + 1))
    };
    for (flags, most) in [(&[][..], 64), (&["--json-depth", "4"][..], 4), (&["--json-depth", "512"][..], 512)] {
        let server = serving(flags);
        server.put_model("p/house", &city(1, 100.0)).expect(201);
        ask_as(&server, "house", "application/json", nested(most)).expect(200);
        let line = |depth: usize| format!(r#"{{"features":[{HOUSE}],"ignored":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
        ask_as(&server, "house", "application/jsonlines", line(most)).expect(200);
        for (media, body) in [("application/json", nested(most + 1)), ("application/jsonlines", line(most + 1))] {
            let reply = ask_as(&server, "house", media, body).expect(400);
            assert!(reply.message().contains(&format!("the JSON nests deeper than {most}")), "{}", reply.text());
        }
    }
    for depth in ["0", "513"] {
        let (code, _, error) = rookery(&["serve", "--listen", "127.0.0.1:0", "--json-depth", depth], "");
        assert_eq!(code, 1, "{error}");
        assert!(error.contains("--json-depth is 1 to 512"), "{error}");
    }
}

/// Plainly spelled, a prediction goes past the router; any other spelling goes through it, to the same answers.
#[test]
fn an_endpoint_is_found_however_its_path_is_spelled() {
    let server = house();
    let caller = server.put_user("ana", &may_invoke(&["house"]));
    let headers = [("content-type", "text/csv"), ("x-amzn-sagemaker-target-model", "house")];
    let send = |method: &str, path: &str, credential: &str| server.send(method, path, credential, &headers, HOUSE.as_bytes());
    let told = |reply: &Reply| (reply.status, reply.header("x-amzn-errortype").map(str::to_owned), reply.text());
    for credential in [caller.as_str(), server.admin.as_str(), "", "rk_no_key"] {
        let [plain, coded] = ["p", "%70"].map(|name| told(&send("POST", &format!("/endpoints/{name}/invocations"), credential)));
        assert_eq!(plain, coded);
        assert_eq!(plain.0, if credential.len() > 10 { 200 } else { 403 });
        let [plain, coded] = ["none", "non%65"].map(|name| told(&send("POST", &format!("/endpoints/{name}/invocations"), credential)));
        assert_eq!(plain, coded);
    }
    // The query is read either way: this model cannot be explained.
    let [plain, coded] = ["P", "%50"].map(|name| told(&send("POST", &format!("/endpoints/{name}/invocations?explain=true"), &caller)));
    assert_eq!(plain, coded);
    assert!(plain.0 == 400 && plain.2.contains("cannot be explained"), "{plain:?}");
    send("GET", "/endpoints/p/invocations", &caller).expect(405);
    for path in ["/endpoints//invocations", "/endpoints/p/q/invocations", "/endpoints/p/invocations/", "/endpoints/invocations"] {
        send("POST", path, &caller).expect(404);
    }
}

#[test]
fn rows_that_spread_over_the_cell_limit_are_answered_413() {
    let server = serving(&[]);
    let document = |features: &str, weights: usize| {
        json!({ "learner": {
            "gradient_booster": { "name": "gblinear", "model": { "weights": vec![0.5; weights] } },
            "learner_model_param": { "base_score": "0", "num_feature": features }, "objective": { "name": "reg:squarederror" },
        }, "version": [2, 0, 0] })
    };
    server.put_model("p/wide", document("4096", 4097).to_string().as_bytes()).expect(201);
    let sparse = r#"{"data":{"features":{"keys":[],"values":[]}}}"#;
    let list = |rows: usize| format!("[{}]", vec![sparse; rows].join(","));
    let bodies = |rows: usize| {
        [
            ("text/libsvm", "1\n".repeat(rows)),
            ("application/json", list(rows)),
            ("application/jsonlines", format!("{sparse}\n").repeat(rows)),
        ]
    };
    let fits = 4096;
    for (media, body) in bodies(fits) {
        let reply = ask_as(&server, "wide", media, body).expect(200);
        assert_eq!(reply.json()["predictions"].as_array().unwrap().len(), fits);
    }
    for (media, body) in bodies(fits + 1) {
        let reply = ask_as(&server, "wide", media, body).expect(413);
        assert_eq!(reply.header("x-amzn-errortype"), Some("ValidationError"));
        let wanted = "the request holds more than 16777216 values (4096 a row); send fewer rows at once";
        assert!(reply.message().ends_with(wanted), "{}", reply.message());
    }
    let dense = format!("{}\n", ",".repeat(4095)).repeat(1500);
    ask_as(&server, "wide", "text/csv", dense).expect(200);
    ask_as(&server, "wide", "text/libsvm", "1").expect(200);
}

/// An error in SageMaker's dialect: status, code, members of the body.
fn is_error(reply: &Reply, status: u16, code: &str, members: &[&str]) {
    assert_eq!((reply.status, reply.header("x-amzn-errortype")), (status, Some(code)), "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("x-amzn-requestid").map(str::len), Some(36));
    let body = reply.json();
    let mut found: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    found.sort_unstable();
    assert_eq!(found, members, "{}", reply.text());
    let message = reply.message();
    assert!(!message.is_empty() && !message.contains("SELECT") && !message.contains(".db"), "{message}");
}

#[test]
fn every_kind_of_refusal_has_sagemakers_status_code_and_body() {
    let server = house();
    let invoke = |path: &str, credential: &str, headers: &[(&str, &str)]| server.send("POST", path, credential, headers, HOUSE.as_bytes());
    let target = ("x-amzn-sagemaker-target-model", "house");
    let message = &["Message"][..];
    let path = "/endpoints/p/invocations";
    // Endpoints, target models, variants.
    let missing = invoke("/endpoints/Nowhere/invocations", &server.admin, &[target]);
    is_error(&missing, 400, "ValidationError", message);
    assert_eq!(missing.message(), "Endpoint Nowhere of account 000000000000 not found.");
    is_error(&invoke("/endpoints/no_name/invocations", &server.admin, &[target]), 400, "ValidationError", message);
    server.put_endpoint("single", &json!([{ "model": "p/house" }]));
    let single = invoke("/endpoints/single/invocations", &server.admin, &[target]);
    is_error(&single, 400, "ValidationError", &["ErrorCode", "Message"]);
    assert_eq!(single.json()["ErrorCode"], "TARGET_MODEL_HEADER_NOT_SUPPORTED");
    assert_eq!(single.message(), "Endpoint single is not a multi-model endpoint and does not support target model header.");
    invoke("/endpoints/single/invocations", &server.admin, &[]).expect(200);
    let none = invoke(path, &server.admin, &[]);
    is_error(&none, 400, "ValidationError", message);
    assert!(none.message().contains("is missing a target model header"), "{}", none.message());
    let long = "n".repeat(1025);
    let targets = [
        ("nowhere", "there is no model `p/nowhere`"),
        ("../p/house", "target model `../p/house` has a segment `.` or `..`"),
        ("/house", "starts with `/`"),
        ("a//b", "has an empty segment"),
        ("house/", "ends with `/`"),
        ("a\\b", "has a backslash"),
        (&long, "the target model is 1025 bytes long; at most 1024 fit"),
        (&long[..1023], "the target model makes a path of 1025 bytes"),
    ];
    for (target, part) in targets {
        let reply = invoke(path, &server.admin, &[("x-amzn-sagemaker-target-model", target)]);
        is_error(&reply, 400, "ValidationError", message);
        assert!(reply.message().contains(part), "{target}: {}", reply.message());
    }
    let variant = invoke(path, &server.admin, &[target, ("x-amzn-sagemaker-target-variant", "other")]);
    is_error(&variant, 400, "ValidationError", message);
    assert_eq!(variant.message(), "endpoint p has no variant `other`");
    invoke(path, &server.admin, &[target, ("x-amzn-sagemaker-target-variant", "AllTraffic")]).expect(200);
    // Who may not.
    for credential in ["", "rk_nobody_nothing", "not.a.token"] {
        is_error(&invoke(path, credential, &[target]), 403, "MissingAuthenticationTokenException", message);
    }
    let ana = server.put_user("ana", &may_invoke(&["other/*"]));
    let denied = invoke(path, &ana, &[target]);
    is_error(&denied, 403, "AccessDeniedException", message);
    for part in ["user/ana is not authorized to perform: sagemaker:InvokeEndpoint", "endpoint/p"] {
        assert!(denied.message().contains(part), "{}", denied.message());
    }
    // Whether an endpoint exists is not told to those who may not ask.
    is_error(&invoke("/endpoints/nowhere/invocations", &ana, &[target]), 403, "AccessDeniedException", message);
    // Types and models.
    is_error(&invoke(path, &server.admin, &[target, ("content-type", "image/png")]), 415, "ValidationError", message);
    is_error(&invoke(path, &server.admin, &[target, ("accept", "image/png")]), 415, "ValidationError", message);
    server.put_endpoint("twice", &json!([{ "prefix": "p/" }, { "model": "p/house" }]));
    let model = invoke("/endpoints/twice/invocations", &server.admin, &[target]);
    is_error(&model, 424, "ModelError", &["ErrorCode", "Message", "OriginalMessage", "OriginalStatusCode"]);
    let body = model.json();
    assert_eq!(body["ErrorCode"], "CLIENT_ERROR_FROM_MODEL");
    assert_eq!(body["OriginalStatusCode"], 400);
    assert_eq!(body["OriginalMessage"], body["Message"]);
    // Two answers never carry one identifier.
    assert_ne!(denied.header("x-amzn-requestid"), model.header("x-amzn-requestid"));
    server.send("GET", path, &server.admin, &[], b"").expect(405);
}

#[test]
fn headers_of_sagemaker_are_taken_within_its_limits() {
    let server = house();
    let with = |name: &str, value: &str| ask(&server, "house", &[("content-type", "text/csv"), (name, value)], HOUSE);
    for (name, value) in [
        ("x-amzn-sagemaker-custom-attributes", "trace=1; ~tenant~".to_owned()),
        ("x-amzn-sagemaker-custom-attributes", "a".repeat(1024)),
        ("x-amzn-sagemaker-inference-id", "call-1".to_owned()),
        ("x-amzn-sagemaker-session-id", "s".to_owned()),
        ("x-amzn-sagemaker-prefix-aware-id", "p".to_owned()),
        ("amz-sdk-invocation-id", "6d6f".to_owned()),
    ] {
        with(name, &value).expect(200);
    }
    let long = with("x-amzn-sagemaker-custom-attributes", &"a".repeat(1025));
    is_error(&long, 400, "ValidationError", &["Message"]);
    assert_eq!(long.message(), "the custom attributes are longer than 1024 bytes");
    for name in ["x-amzn-sagemaker-target-container-hostname", "x-amzn-sagemaker-inference-component"] {
        let reply = with(name, "a");
        is_error(&reply, 400, "ValidationError", &["Message"]);
        assert_eq!(reply.message(), format!("header `{name}` asks for something this server does not have; leave it out"));
    }
    // A target model may hold spaces and is sent as it is.
    server.put_model("p/New%20York/a%20b.json", &city(4, 100.0)).expect(201);
    ask_as(&server, "New York/a b.json", "text/csv", HOUSE).expect(200);
    ask_as(&server, "New%20York/a%20b.json", "text/csv", HOUSE).expect(400);
    for name in ["x-amzn-sagemaker-target-model", "x-amzn-sagemaker-custom-attributes", "content-type", "accept"] {
        let head = format!("POST /endpoints/p/invocations HTTP/1.1\r\ncontent-length: 0\r\n{name}: caf\u{e9}");
        let (status, text) = exchange(&server, &head, b"").unwrap();
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(&format!("header `{name}` holds characters that are not visible ASCII")), "{text}");
    }
}

#[test]
fn an_answer_says_who_gave_it_and_where_its_time_went() {
    let server = house();
    let version = server.admin("GET", "/api/v1/models/p/house", b"").expect(200).json()["version"].as_str().unwrap().to_owned();
    let timing = |reply: &Reply| {
        let header = reply.header("server-timing").unwrap().to_owned();
        let parts: Vec<(String, f64)> = header
            .split(", ")
            .map(|part| {
                let (name, rest) = part.split_once(";dur=").unwrap();
                (name.to_owned(), rest.parse().unwrap())
            })
            .collect();
        assert_eq!(parts.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["auth", "queue", "load", "predict"], "{header}");
        parts.into_iter().map(|(_, milliseconds)| milliseconds).collect::<Vec<_>>()
    };
    let started = Instant::now();
    let cold = ask_as(&server, "house", "text/csv", HOUSE).expect(200);
    let elapsed = started.elapsed().as_secs_f64() * 1e3;
    let times = timing(&cold);
    assert!(times[2] > 0.0 && times.iter().sum::<f64>() <= elapsed, "{times:?} of {elapsed}");
    let warm = ask_as(&server, "house", "text/csv", HOUSE).expect(200);
    assert_eq!(timing(&warm)[2], 0.0);
    for reply in [&cold, &warm] {
        assert_eq!(reply.header("x-amzn-invoked-production-variant"), Some("AllTraffic"));
        assert_eq!(reply.header("x-rookery-model-version"), Some(version.as_str()));
        let id = reply.header("x-amzn-requestid").unwrap();
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
    }
    assert_ne!(cold.header("x-amzn-requestid"), warm.header("x-amzn-requestid"));
}

#[test]
fn a_full_server_answers_503_with_when_to_come_back() {
    let server = serving(&["--concurrency", "1"]);
    server.put_model("p/house", &city(1, 100.0)).expect(201);
    server.put_model("p/slow", rookery::cli::demo::city::model(1, 100.0, 800, 6).as_bytes()).expect(201);
    ask_as(&server, "slow", "text/csv", HOUSE).expect(200);
    let rows = format!("{HOUSE}\n").repeat(50_000);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // It may meet one of the short requests below and be the one refused, or end between two of them; then it comes again.
        let long = scope.spawn(|| {
            loop {
                let reply = ask_as(&server, "slow", "text/csv", &rows);
                if reply.status != 503 && over.load(Ordering::SeqCst) {
                    return reply.expect(200);
                }
            }
        });
        let started = Instant::now();
        let mut full = ask_as(&server, "house", "text/csv", HOUSE);
        while full.status != 503 && started.elapsed() < PATIENCE {
            full = ask_as(&server, "house", "text/csv", HOUSE);
        }
        over.store(true, Ordering::SeqCst);
        is_error(&full, 503, "ServiceUnavailable", &["Message"]);
        assert_eq!(full.header("retry-after"), Some("1"));
        let answered = long.join().unwrap();
        assert_eq!(answered.json()["predictions"].as_array().unwrap().len(), 50_000);
    });
    ask_as(&server, "house", "text/csv", HOUSE).expect(200);
}

#[test]
fn a_damaged_store_is_answered_500_without_telling_more_than_what_to_do() {
    let server = house();
    let database = rusqlite::Connection::open(&server.db).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    let damage = "UPDATE chunk SET data = zeroblob(length(data)) WHERE blob IN (SELECT prepared FROM version)";
    assert_eq!(database.execute(damage, []).unwrap(), 1);
    drop(database);
    let reply = ask_as(&server, "house", "text/csv", HOUSE);
    is_error(&reply, 500, "InternalFailure", &["Message"]);
    assert!(reply.message().starts_with("model `p/house`: "), "{}", reply.message());
    // Another upload of another version is well again.
    server.put_model("p/house", &city(2, 100.0)).expect(200);
    ask_as(&server, "house", "text/csv", HOUSE).expect(200);
}

#[test]
fn names_longer_than_any_are_refused_before_policies_are_asked() {
    let server = house();
    let list = |length: usize| server.admin("GET", &format!("/api/v1/models?prefix={}", "a".repeat(length)), b"");
    assert_eq!(list(1025).expect(400).message(), "the prefix is 1025 bytes long; paths are at most 1024");
    list(1024).expect(200);
    let ask = |name: &str, length: usize| {
        let headers = [("content-type", "text/csv"), (name, &"a".repeat(length))];
        server.send("POST", "/endpoints/p/invocations", &server.admin, &headers, HOUSE.as_bytes())
    };
    let long = ask("x-amzn-sagemaker-target-model", 1025).expect(400).message();
    assert_eq!(long, "the target model is 1025 bytes long; at most 1024 fit");
    let long = ask("user-agent", 2049).expect(400).message();
    assert_eq!(long, "header `user-agent` is 2049 bytes long; at most 2048 are taken");
    assert!(ask("user-agent", 2048).expect(400).message().contains("missing a target model header"));
}
