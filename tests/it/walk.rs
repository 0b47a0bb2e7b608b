//! The walk of the README: upload, endpoint, user, policy, prediction, denial, replacement, deletion.

use serde_json::json;

use crate::support::{HOUSE, Server, city, may_invoke};

#[test]
fn a_caller_reaches_their_model_and_no_other() {
    let server = Server::start();
    server.put_model("housing/cities/a/m.json", &city(1, 100.0)).expect(201);
    server.put_model("housing/cities/b/m.json", &city(2, 200.0)).expect(201);
    server.put_endpoint("housing", &json!([{ "prefix": "housing/cities/" }]));
    let ana = server.put_user("ana", &may_invoke(&["a/*"]));
    let reply = server.invoke("housing", Some("a/m.json"), &ana, HOUSE).expect(200);
    assert!(reply.json()["predictions"][0]["score"].as_f64().unwrap() > 0.0);
    assert_eq!(reply.header("x-amzn-invoked-production-variant"), Some("AllTraffic"));
    let denied = server.invoke("housing", Some("b/m.json"), &ana, HOUSE).expect(403);
    assert_eq!(denied.header("x-amzn-errortype"), Some("AccessDeniedException"));
    assert!(denied.message().contains("user/ana is not authorized to perform: sagemaker:InvokeEndpoint"), "{}", denied.message());
    server.invoke("housing", None, &ana, HOUSE).expect(403);
}

#[test]
fn a_replaced_model_answers_and_a_deleted_one_does_not() {
    let server = Server::start();
    server.put_model("h/a", &city(1, 100.0)).expect(201);
    server.put_endpoint("h", &json!([{ "prefix": "h/" }]));
    let first = server.invoke("h", Some("a"), &server.admin, HOUSE).expect(200);
    server.put_model("h/a", &city(1, 900.0)).expect(200);
    let second = server.invoke("h", Some("a"), &server.admin, HOUSE).expect(200);
    assert_ne!(first.body, second.body);
    assert_ne!(first.header("x-rookery-model-version"), second.header("x-rookery-model-version"));
    server.admin("POST", "/api/v1/rollback/h/a", b"").expect(200);
    assert_eq!(server.invoke("h", Some("a"), &server.admin, HOUSE).expect(200).body, first.body);
    server.admin("DELETE", "/api/v1/models/h/a", b"").expect(204);
    let gone = server.invoke("h", Some("a"), &server.admin, HOUSE).expect(400);
    assert_eq!(gone.header("x-amzn-errortype"), Some("ValidationError"));
}

#[test]
fn a_pipeline_hands_scores_from_stage_to_stage_and_names_the_stage_that_fails() {
    let server = Server::start();
    server.put_model("p/one", &city(1, 100.0)).expect(201);
    server.put_endpoint("p", &json!([{ "prefix": "p/" }, { "model": "p/one" }]));
    let reply = server.invoke("p", Some("one"), &server.admin, HOUSE).expect(424);
    assert!(reply.message().contains("stage 2 (`p/one`)"), "{}", reply.message());
    assert_eq!(reply.header("x-amzn-errortype"), Some("ModelError"));
}
