//! What is counted and timed, as a scrape reads it. Next: `concurrency.rs`, whose samples it takes.

use serde_json::json;

use crate::concurrency::{Client, Sample};
use crate::support::Server;

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
