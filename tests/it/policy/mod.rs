//! The policy engine against its second implementation, its decision tables and its refusals.
//!
//! `reference.rs` is the slow, obvious reading of the language; `generate.rs` makes random policies and requests. The
//! tables are `tests/policy/*.json`. Next: `reference.rs`.

mod generate;
mod reference;

use std::path::PathBuf;
use std::sync::Arc;

use rookery::policy::{Attached, Context, Grants, Kind, Policy, Request, Value};
use serde_json::Value as Json;

/// Pairs compared in one run of the suite.
const PAIRS: u64 = 1_000_000;

fn attached(documents: &[Json]) -> Arc<[Attached]> {
    let one = |(index, document): (usize, &Json)| {
        let policy = Policy::parse(&document.to_string(), Kind::Identity).unwrap_or_else(|error| panic!("{error}: {document}"));
        Attached { name: format!("policy {}", index + 1).into(), policy: Arc::new(policy) }
    };
    documents.iter().enumerate().map(one).collect()
}

fn text(value: &Json) -> Value<'_> {
    match value {
        Json::String(text) => Value::from(text.as_str()),
        other => Value::from(other.to_string()),
    }
}

fn decide(identity: &[Json], boundary: Option<&[Json]>, session: Option<&[Json]>, request: &Json) -> &'static str {
    let mut context = Context::new();
    for (key, value) in request["context"].as_object().into_iter().flatten() {
        let values = match value {
            Json::Array(values) => values.iter().map(text).collect(),
            one => vec![text(one)],
        };
        context.set(key, values);
    }
    let grants =
        Grants { identity: attached(identity), boundary: boundary.map(attached), narrowing: session.map(attached).into_iter().collect() };
    let request = Request {
        principal: request["principal"].as_str().unwrap_or_default(),
        action: request["action"].as_str().unwrap(),
        resource: request["resource"].as_str().unwrap(),
        context: &context,
    };
    let decision = grants.explain(&request);
    assert_eq!(grants.authorise(&request).is_ok(), decision.outcome.word() == "allowed", "the two roads differ");
    decision.outcome.word()
}

#[test]
fn a_million_random_decisions_equal_the_reference() {
    let threads = 2;
    let work = |thread: u64| {
        let mut tally = [0u64; 3];
        for seed in (thread..PAIRS).step_by(threads) {
            let mut rng = generate::Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
            let case = generate::case(&mut rng);
            let (boundary, session) = (case.boundary.as_deref(), case.session.as_deref());
            let expected = reference::decide(&case.identity, boundary, session, &case.request);
            let found = decide(&case.identity, boundary, session, &case.request);
            assert_eq!(
                found,
                expected,
                "seed {seed}\nidentity {}\nboundary {}\nsession {}\nrequest {}",
                Json::from(case.identity.clone()),
                Json::from(boundary.unwrap_or_default()),
                Json::from(session.unwrap_or_default()),
                case.request
            );
            tally[["allowed", "explicitDeny", "implicitDeny"].iter().position(|word| *word == found).unwrap()] += 1;
        }
        tally
    };
    let tallies: Vec<[u64; 3]> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads as u64).map(|thread| scope.spawn(move || work(thread))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    for outcome in 0..3 {
        let share = tallies.iter().map(|tally| tally[outcome]).sum::<u64>() as f64 / PAIRS as f64;
        assert!(share > 0.1, "outcome {outcome} is only {share:.3} of the cases: the comparison is not worth much");
    }
}

fn files() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/policy");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().filter(|path| !path.ends_with("malformed.json")).collect()
}

#[test]
fn decision_tables_hold_for_both_implementations() {
    let list = |value: &Json| value.as_array().cloned();
    let mut cases = 0;
    for file in files() {
        let table: Json = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let policies = list(&table["policies"]).unwrap();
        let (boundary, session) = (list(&table["boundary"]), list(&table["session"]));
        for case in list(&table["cases"]).unwrap() {
            let name = format!("{}: {}", file.file_name().unwrap().to_string_lossy(), case["name"]);
            let expected = case["expect"].as_str().unwrap();
            let request = &case["request"];
            assert_eq!(reference::decide(&policies, boundary.as_deref(), session.as_deref(), request), expected, "reference, {name}");
            assert_eq!(decide(&policies, boundary.as_deref(), session.as_deref(), request), expected, "{name}");
            cases += 1;
        }
    }
    assert!(cases >= 150, "only {cases} cases were found");
}

#[test]
fn malformed_documents_are_refused_with_their_place() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/policy/malformed.json");
    let entries: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(entries.len() >= 40);
    let mut taken = Vec::new();
    for entry in &entries {
        match Policy::parse(entry["document"].as_str().unwrap(), Kind::Identity) {
            Ok(_) => taken.push(entry["name"].to_string()),
            Err(error) => {
                let says = entry["says"].as_str().unwrap_or_default();
                assert!(error.message().contains("line ") || error.message().contains("at most"), "{}: {error}", entry["name"]);
                if !says.is_empty() && !error.message().contains(says) {
                    taken.push(format!("{} says `{error}` without `{says}`", entry["name"]));
                }
            }
        }
    }
    assert!(taken.is_empty(), "taken or unclear:\n{}", taken.join("\n"));
}

#[test]
fn every_cut_of_a_document_is_refused() {
    let document = r#"{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Allow","Action":["sagemaker:Invoke*"],"Resource":"*",
        "Condition":{"StringLike":{"sagemaker:TargetModel":["a/*","${aws:username}/*"]}}}]}"#;
    assert!(Policy::parse(document, Kind::Identity).is_ok());
    for end in 0..document.len() {
        assert!(Policy::parse(&document[..end], Kind::Identity).is_err(), "cut at {end} was taken");
    }
}

#[test]
fn trust_policies_say_who_may_assume_a_role() {
    let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/ana"},"Action":"sts:AssumeRole"}}"#;
    let policy = Arc::new(Policy::parse(trust, Kind::Trust).unwrap());
    let grants = Grants { identity: [Attached { name: "trust".into(), policy }].into(), ..Grants::default() };
    let context = Context::new();
    let ask = |principal| grants.authorise(&Request { principal, action: "sts:AssumeRole", resource: "*", context: &context }).is_ok();
    assert!(ask("arn:aws:iam::000000000000:user/ana"));
    assert!(!ask("arn:aws:iam::000000000000:user/bob"));
    assert!(Policy::parse(trust, Kind::Identity).is_err());
}
