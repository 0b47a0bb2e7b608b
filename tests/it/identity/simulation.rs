//! Simulation.

use super::*;

#[test]
fn simulation_answers_with_the_deciding_statement() {
    let server = Server::start();
    server.put_user("ana", &may_invoke(&["a/*"]));
    let ask = |credential: &str, body: Value| call(&server, credential, "POST", "/api/v1/simulate", &body);
    let endpoint = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/h";
    let request = |target: &str| {
        json!({ "principal": "arn:aws:iam::000000000000:user/ana", "action": INVOKE, "resource": endpoint,
            "context": { "sagemaker:TargetModel": target } })
    };
    let yes = ask(&server.admin, request("a/m")).expect(200).json();
    assert_eq!((&yes["decision"], &yes["allowed"]), (&json!("allowed"), &json!(true)));
    assert_eq!(yes["statements"], json!([{ "policy": "user/ana/own", "statement": 1, "set": "identity-based policy" }]));
    let mut listed = request("a/m");
    listed["context"]["sagemaker:TargetModel"] = json!(["a/m"]);
    let listed = ask(&server.admin, listed).expect(200).json();
    assert_eq!(listed["decision"], "allowed", "a list of one value is that value");
    let no = ask(&server.admin, request("b/m")).expect(200).json();
    assert_eq!((&no["decision"], &no["allowed"]), (&json!("implicitDeny"), &json!(false)));
    for (body, status) in [
        (json!({ "principal": "none", "action": "s3:GetObject" }), 404),
        (json!({ "principal": "", "action": "s3:GetObject" }), 400),
        (json!({ "action": "s3:GetObject" }), 400),
        (json!({ "principal": "ana" }), 400),
        (json!({ "principal": "ana", "action": "s3:GetObject", "extra": 1 }), 400),
    ] {
        ask(&server.admin, body).expect(status);
    }
    let ana = key_of(&server, "ana");
    ask(&ana, request("a/m")).expect(403);
}

#[test]
fn a_simulated_tag_comes_before_the_principals_own() {
    let server = Server::start();
    make_user(&server, &json!({ "name": "ana", "tags": { "team": "blue" } }));
    let own = when(statement("Allow", "s3:GetObject", "*"), json!({ "StringEquals": { "aws:PrincipalTag/team": "blue" } }));
    admin(&server, "PUT", "/api/v1/users/ana/policies/own", &policy(vec![own])).expect(204);
    let decided = |context: Value| {
        let request = json!({ "principal": "ana", "action": "s3:GetObject", "resource": "arn:aws:s3:::b/m", "context": context });
        admin(&server, "POST", "/api/v1/simulate", &request).expect(200).json()["decision"].clone()
    };
    assert_eq!(decided(json!({})), "allowed");
    assert_eq!(decided(json!({ "aws:PrincipalTag/Team": "red" })), "implicitDeny");
    assert_eq!(decided(json!({ "aws:PrincipalTag/team": [] })), "implicitDeny");
}

#[test]
fn simulation_by_files_needs_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut deny = statement("Deny", INVOKE, "*");
    deny["Sid"] = json!("Not");
    let deny = when(deny, json!({ "StringLike": { "sagemaker:TargetModel": "secret/*" } }));
    let (allow, deny) = (write("allow.json", &may_invoke(&["*"]).to_string()), write("deny.json", &policy(vec![deny]).to_string()));
    let endpoint = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/h";
    let request = |name: &str, target: Value| {
        let asked = json!({ "principal": "arn:aws:iam::000000000000:user/x", "action": INVOKE, "resource": endpoint,
            "context": { "sagemaker:TargetModel": target } });
        write(name, &asked.to_string())
    };
    let (good, bad) = (request("good.json", json!("a/m")), request("bad.json", json!(["secret/m"])));
    let db = folder.path().join("none.db");
    let run = |policies: &[&str], request: &str| {
        let mut arguments = vec!["simulate", "--policy"];
        arguments.extend(policies);
        arguments.extend(["--request", request, "--json", "--db", db.to_str().unwrap()]);
        rookery(&arguments, "")
    };
    let (code, out, error) = run(&[&allow, &deny], &good);
    assert_eq!(code, 0, "{error}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&told["decision"], &told["statements"][0]["policy"], &told["statements"][0]["statement"]),
        (&json!("allowed"), &json!(allow), &json!(1))
    );
    let told: Value = serde_json::from_str(&run(&[&allow, &deny], &bad).1).unwrap();
    assert_eq!((&told["decision"], &told["statements"][0]["sid"]), (&json!("explicitDeny"), &json!("Not")));
    let told: Value = serde_json::from_str(&run(&[&deny], &good).1).unwrap();
    assert_eq!((&told["decision"], &told["allowed"], &told["statements"]), (&json!("implicitDeny"), &json!(false), &json!([])));
    let broken = write("broken.json", "{\"Version\":\"2012-10-17\",\n\"Statement\":{}}");
    let (code, _, error) = run(&[&allow, &broken], &good);
    assert!(code == 1 && error.contains("broken.json") && error.contains("line 2"), "{code} {error}");
    assert_eq!(run(&[&allow], &write("odd.json", r#"{"action":"s3:GetObject","more":1}"#)).0, 1);
    assert_eq!(run(&["/none.json"], &good).0, 1);
    assert_eq!(rookery(&["simulate", "--policy", &allow], "").0, 2);
    assert!(!db.exists(), "a database was made");
}

#[test]
fn simulation_by_files_knows_of_the_principal_what_its_name_tells() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let own = write("own.json", &policy(vec![statement("Allow", "s3:GetObject", "arn:aws:s3:::home/${aws:username}/*")]).to_string());
    let is = |key: &str, value: &str| {
        let statement = when(statement("Allow", "s3:GetObject", "*"), json!({ "StringEquals": { key: value } }));
        write("is.json", &policy(vec![statement]).to_string())
    };
    let decide = |document: &str, principal: &str, context: Value| {
        let asked = json!({ "principal": principal, "action": "s3:GetObject", "resource": "arn:aws:s3:::home/ana/m", "context": context });
        let request = write("request.json", &asked.to_string());
        let (code, out, error) = rookery(&["simulate", "--policy", document, "--request", &request, "--json"], "");
        assert_eq!(code, 0, "{error}");
        serde_json::from_str::<Value>(&out).unwrap()["allowed"].as_bool().unwrap()
    };
    let user = |name: &str| format!("arn:aws:iam::000000000000:user/{name}");
    assert!(decide(&own, &user("ana"), json!({})));
    assert!(decide(&own, "ana", json!({})), "a name, as with a database");
    assert!(decide(&own, &user("team/ana"), json!({})), "with a path");
    assert!(!decide(&own, &user("bob"), json!({})));
    assert!(!decide(&own, "arn:aws:iam::000000000000:role/ana", json!({})), "a role has no user name");
    assert!(!decide(&own, "", json!({})));
    // What is given counts, and so does that it is not there.
    assert!(decide(&own, &user("bob"), json!({ "aws:username": "ana" })));
    assert!(!decide(&own, &user("ana"), json!({ "aws:username": [] })));
    assert!(decide(&is("aws:PrincipalArn", &user("ana")), "ana", json!({})));
    let session = "arn:aws:sts::000000000000:assumed-role/duty/tuesday";
    assert!(decide(&is("aws:PrincipalArn", "arn:aws:iam::000000000000:role/duty"), session, json!({})), "a session is told as its role");
    assert!(decide(&is("aws:PrincipalAccount", "000000000000"), session, json!({})));
    assert!(!decide(&is("aws:userid", "ana"), "ana", json!({})), "an id is not in a name");
}
