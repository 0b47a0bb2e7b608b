//! What is counted and timed, as a scrape reads it. Next: `concurrency.rs`, whose samples it takes.

use std::collections::BTreeMap;

use serde_json::json;

use crate::concurrency::{Client, Sample};
use crate::support::{HOUSE, Reply, Server, may_invoke};

#[test]
fn reading_building_and_letting_go_of_models_are_timed_apart() {
    let samples = Sample::many(0..3);
    let server = Server::with(&["--memory", &(samples[0].weight + samples[0].weight / 2).to_string()]);
    server.put_endpoint("t", &json!([{ "prefix": "t/" }]));
    let client = Client::of(&server);
    for (at, sample) in samples.iter().enumerate() {
        server.put_model(&format!("t/{at}"), &sample.bytes).expect(201);
        client.invoke("t", &at.to_string()).expect(200);
    }
    let text = server.admin("GET", "/metrics", b"").expect(200).text();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("rookery_model_downloading_microseconds_count{endpoint=\"t\""), 3.0);
    assert_eq!(value("rookery_model_loading_microseconds_count{endpoint=\"t\""), 3.0);
    assert_eq!(value("rookery_model_unloading_microseconds_count"), 2.0);
    assert!(value("rookery_model_downloading_microseconds_sum{endpoint=\"t\"") > 0.0);
    let full = value("rookery_disk_utilization_percent");
    assert!(full > 0.0 && full <= 100.0, "{full}");
}

/// Every counter, and how often each histogram was told something, by its series.
fn counts(text: &str) -> BTreeMap<String, i64> {
    let counters = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect::<Vec<_>>();
    let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap());
    let counted = |name: &str| {
        let family = name.split('{').next().unwrap();
        family.ends_with("_count") || (counters.contains(&family) && family != "process_cpu_seconds_total")
    };
    series.filter(|(name, _)| counted(name)).map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

/// The value of one series.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// A part of an answer's `Server-Timing`, in microseconds.
fn timing(reply: &Reply, part: &str) -> f64 {
    let parts = reply.header("server-timing").unwrap().split(", ");
    let millis: Vec<f64> = parts.filter_map(|one| one.strip_prefix(part)?.strip_prefix(";dur=")?.parse().ok()).collect();
    (millis[0] * 1000.0).round()
}

#[test]
fn every_counter_counts_what_its_name_says_and_nothing_else() {
    let [a, b] = [1, 2].map(|seed| Sample::new(seed, 5, 3));
    // Room for one of them.
    let budget = a.weight.max(b.weight) * 3 / 2;
    let server = Server::with(&["--memory", &budget.to_string()]);
    server.put_model("t/a", &a.bytes).expect(201);
    server.put_model("t/b", &b.bytes).expect(201);
    let variant = |name: &str| json!({ "name": name, "weight": 1, "stages": [{ "prefix": "t/" }] });
    let two = json!({ "name": "two", "variants": [variant("blue"), variant("green")] });
    server.admin("POST", "/api/v1/endpoints", two.to_string().as_bytes()).expect(201);
    // The second model takes more than the one the caller names gives.
    server.put_endpoint("wrong", &json!([{ "prefix": "t/" }, { "model": "t/a" }]));
    let caller = server.put_user("caller", &may_invoke(&["a"]));
    let scrape = || server.admin("GET", "/metrics", b"").expect(200).text();
    let call = |credential: &str, variant: &str, target: &str, rows: &str, status: u16| {
        let mut headers = vec![("content-type", "text/csv"), ("x-amzn-sagemaker-target-variant", variant)];
        if !target.is_empty() {
            headers.push(("x-amzn-sagemaker-target-model", target));
        }
        server.send("POST", "/endpoints/two/invocations", credential, &headers, rows.as_bytes()).expect(status)
    };
    let before = scrape();
    let mut blue = vec![call(&server.admin, "blue", "b", HOUSE, 200)];
    // Evicts the one before.
    blue.push(call(&caller, "blue", "a", HOUSE, 200));
    blue.extend((0..4).map(|_| call(&caller, "blue", "a", HOUSE, 200)));
    let green: Vec<Reply> = (0..2).map(|_| call(&caller, "green", "a", HOUSE, 200)).collect();
    for _ in 0..3 {
        call(&caller, "blue", "a", "1,2", 400);
        call(&caller, "blue", "b", HOUSE, 403);
        server.invoke("wrong", Some("a"), &server.admin, HOUSE).expect(424);
    }
    call(&server.admin, "blue", "", HOUSE, 400);
    server.admin("PUT", "/api/v1/cache/pins/t/a", b"").expect(204);
    call(&server.admin, "blue", "b", HOUSE, 503);
    let after = scrape();

    let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
    let mut series = |labels: &str, counted: &[(&str, i64)]| {
        wanted.extend(counted.iter().map(|(name, count)| (format!("rookery_{name}{labels}"), *count)));
    };
    series(
        r#"{endpoint="two",variant="blue"}"#,
        &[
            ("invocations_total", 11),
            ("invocation_4xx_errors_total", 4),
            ("invocation_5xx_errors_total", 1),
            ("model_cache_hits_total", 7),
            ("model_latency_microseconds_count", 6),
            ("overhead_latency_microseconds_count", 6),
            ("model_loading_wait_microseconds_count", 2),
            ("model_downloading_microseconds_count", 2),
            ("model_loading_microseconds_count", 2),
        ],
    );
    series(
        r#"{endpoint="two",variant="green"}"#,
        &[
            ("invocations_total", 2),
            ("model_cache_hits_total", 2),
            ("model_latency_microseconds_count", 2),
            ("overhead_latency_microseconds_count", 2),
        ],
    );
    series(
        r#"{endpoint="wrong",variant="AllTraffic"}"#,
        &[
            ("invocations_total", 3),
            ("invocation_4xx_errors_total", 3),
            ("invocation_model_errors_total", 3),
            ("model_cache_hits_total", 3),
        ],
    );
    // A pipeline asks the model once for each of its two stages.
    series(r#"{model="t/a"}"#, &[("target_model_invocations_total", 16), ("target_model_errors_total", 9)]);
    series(r#"{model="t/b"}"#, &[("target_model_invocations_total", 1)]);
    // A denial is an error of who asked, and no invocation.
    let [user, root] = ["caller", "root-admin"].map(|name| format!(r#"{{principal="arn:aws:iam::000000000000:user/{name}"}}"#));
    series(&user, &[("principal_invocations_total", 10), ("principal_errors_total", 6)]);
    series(&root, &[("principal_invocations_total", 6), ("principal_errors_total", 5)]);
    series("", &[("model_loads_total", 2), ("model_unloads_total", 1), ("model_unloading_microseconds_count", 1)]);
    let (from, to) = (counts(&before), counts(&after));
    let moved = to.iter().map(|(name, count)| (name.clone(), count - from.get(name).unwrap_or(&0)));
    assert_eq!(moved.filter(|(_, by)| *by != 0).collect::<BTreeMap<_, _>>(), wanted);

    // The two latencies are told as often, so their times tell them apart: they are those of the answers.
    for (replies, variant) in [(&blue, "blue"), (&green, "green")] {
        let sum = |name: &str| value(&after, &format!(r#"rookery_{name}_microseconds_sum{{endpoint="two",variant="{variant}"}}"#));
        let told = |part: &str| replies.iter().map(|reply| timing(reply, part)).sum::<f64>();
        assert_eq!(sum("model_latency"), told("predict"), "{variant}");
        assert_eq!(sum("model_loading_wait"), told("load"), "{variant}");
        let (overhead, rounded) = (sum("overhead_latency"), 2.0 * replies.len() as f64);
        assert!(overhead >= told("load") && overhead <= told("load") + told("queue") + rounded, "{variant}: {overhead}");
        assert!(sum("model_downloading") + sum("model_loading") <= sum("model_loading_wait"), "{variant}");
    }
    for (name, count) in &to {
        let Some((family, labels)) = name.split_once("_count") else { continue };
        let labels = labels.trim_matches(['{', '}']);
        let comma = if labels.is_empty() { "" } else { "," };
        assert_eq!(value(&after, &format!(r#"{family}_bucket{{{labels}{comma}le="+Inf"}}"#)), *count as f64, "{name}");
    }
    assert_eq!(value(&after, "rookery_loaded_models"), 1.0);
    assert_eq!(value(&after, "rookery_model_memory_bytes"), a.weight as f64);
    assert_eq!(value(&after, "rookery_model_memory_budget_bytes"), budget as f64);
    let share = value(&after, "rookery_memory_utilization_percent");
    assert!((share - a.weight as f64 * 100.0 / budget as f64).abs() < 0.001, "{share}");
    assert_eq!(value(&after, "rookery_invocations_in_flight"), 0.0);
    assert_eq!(value(&after, "rookery_database_bytes"), std::fs::metadata(&server.db).unwrap().len() as f64);
}

#[test]
fn a_model_in_memory_is_a_hit_also_when_it_is_asked_again_who_may_have_it() {
    let server = Server::start();
    server.put_endpoint("t", &json!([{ "prefix": "t/" }]));
    server.put_model("t/a", &Sample::new(1, 5, 3).bytes).expect(201);
    let client = Client::of(&server);
    client.invoke("t", "a").expect(200);
    let counted = |name: &str| {
        let text = server.admin("GET", "/metrics", b"").expect(200).text();
        value(&text, &format!(r#"rookery_{name}{{endpoint="t",variant="AllTraffic"}}"#))
    };
    assert_eq!((counted("model_cache_hits_total"), counted("model_loading_wait_microseconds_count")), (0.0, 1.0));
    for user in ["ana", "ben", "eve"] {
        server.admin("POST", "/api/v1/users", json!({ "name": user }).to_string().as_bytes()).expect(201);
        client.invoke("t", "a").expect(200);
    }
    assert_eq!((counted("model_cache_hits_total"), counted("model_loading_wait_microseconds_count")), (3.0, 1.0));
}

#[test]
fn an_endpoint_that_is_deleted_leaves_no_series_and_one_that_is_made_anew_goes_on() {
    let server = Server::start();
    server.put_model("t/a", &Sample::new(1, 5, 3).bytes).expect(201);
    let stages = json!([{ "prefix": "t/" }]);
    for name in ["stays", "goes"] {
        server.put_endpoint(name, &stages);
        server.invoke(name, Some("a"), &server.admin, HOUSE).expect(200);
    }
    let scrape = || server.admin("GET", "/metrics", b"").expect(200).text();
    assert!(scrape().contains(r#"endpoint="goes""#));
    server.admin("DELETE", "/api/v1/endpoints/goes", b"").expect(204);
    server.admin("POST", "/api/v1/users", json!({ "name": "ana" }).to_string().as_bytes()).expect(201);
    server.invoke("stays", Some("a"), &server.admin, HOUSE).expect(200);
    let text = scrape();
    assert!(!text.contains(r#"endpoint="goes""#), "{text}");
    assert_eq!(value(&text, r#"rookery_invocations_total{endpoint="stays",variant="AllTraffic"}"#), 2.0);
    server.put_endpoint("goes", &stages);
    server.invoke("goes", Some("a"), &server.admin, HOUSE).expect(200);
    assert_eq!(value(&scrape(), r#"rookery_invocations_total{endpoint="goes",variant="AllTraffic"}"#), 1.0);
}

#[test]
fn bytes_that_are_uploaded_again_make_no_other_model_cold() {
    let samples = Sample::many(0..3);
    let server = Server::start();
    server.put_endpoint("t", &json!([{ "prefix": "t/" }]));
    let client = Client::of(&server);
    for (at, sample) in samples.iter().enumerate() {
        server.put_model(&format!("t/{at}"), &sample.bytes).expect(201);
        client.invoke("t", &at.to_string()).expect(200);
    }
    let hits = || -> f64 {
        let text = server.admin("GET", "/metrics", b"").expect(200).text();
        let line = text.lines().find(|line| line.starts_with("rookery_model_cache_hits_total{endpoint=\"t\"")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let before = hits();
    for round in 0..5 {
        server.put_model("t/0", &samples[0].bytes).expect(200);
        client.invoke("t", "1").expect(200);
        client.invoke("t", "2").expect(200);
        assert_eq!(hits() - before, f64::from(2 * (round + 1)), "what was known of other paths was forgotten");
    }
}
