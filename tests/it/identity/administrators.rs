//! Administrators.

use super::*;

#[test]
fn the_last_administrator_cannot_be_lost_by_any_road() {
    let server = Server::start();
    let root = "/api/v1/users/root-admin";
    let (weak, null) = (policy(vec![statement("Allow", "s3:GetObject", "*")]), Value::Null);
    admin(&server, "PUT", "/api/v1/policies/Weak", &weak).expect(201);
    for group in ["wet", "dry"] {
        admin(&server, "POST", "/api/v1/groups", &json!({ "name": group })).expect(201);
    }
    admin(&server, "PUT", "/api/v1/groups/wet/policies/deny", &nothing()).expect(204);
    admin(&server, "PUT", "/api/v1/groups/dry/members/root-admin", &null).expect(204);
    let attachment = "/api/v1/policies/AdministratorAccess/attachments";
    let mut open = Open::default();
    let roads = |open: &mut Open, who: &str| {
        for (what, method, path, body) in [
            ("delete", "DELETE", root, null.clone()),
            ("delete in capitals", "DELETE", "/api/v1/users/ROOT-ADMIN", null.clone()),
            ("disable", "PATCH", root, json!({ "disabled": true })),
            ("detach", "DELETE", attachment, json!({ "user": "root-admin" })),
            ("a weaker policy", "PUT", "/api/v1/policies/AdministratorAccess", weak.clone()),
            ("a weaker policy in capitals", "PUT", "/api/v1/policies/ADMINISTRATORACCESS", weak.clone()),
            ("a boundary", "PATCH", root, json!({ "permissionsBoundary": "Weak" })),
            ("an inline deny", "PUT", "/api/v1/users/root-admin/policies/deny", nothing()),
            ("a group that denies", "PUT", "/api/v1/groups/wet/members/root-admin", null.clone()),
            ("a deny for the own group", "PUT", "/api/v1/groups/dry/policies/deny", nothing()),
        ] {
            open.expect(&format!("{who}: {what}"), &admin(&server, method, path, &body), 409);
        }
    };
    roads(&mut open, "alone");
    // Others who are there do not administer: no permission, disabled, no way to sign in.
    make_user(&server, &json!({ "name": "ana", "password": PASSWORD }));
    make_user(&server, &json!({ "name": "asleep", "password": PASSWORD, "admin": true }));
    admin(&server, "PATCH", "/api/v1/users/asleep", &json!({ "disabled": true })).expect(204);
    make_user(&server, &json!({ "name": "mute", "admin": true }));
    make_key(&server, &json!({ "user": "mute", "kind": "api", "policy": nothing() }));
    roads(&mut open, "with others who cannot");
    // With keys and no password, the last key is what it hangs on.
    admin(&server, "PATCH", root, &json!({ "password": null })).expect(204);
    let keys = admin(&server, "GET", "/api/v1/keys?user=root-admin", &null).json();
    let key = format!("/api/v1/keys/{}", keys["keys"][0]["id"].as_str().unwrap());
    open.expect("delete the last key", &admin(&server, "DELETE", &key, &null), 409);
    open.expect("disable the last key", &admin(&server, "PATCH", &key, &json!({ "disabled": true })), 409);
    // Beside the server, in the file.
    let db = server.db.to_str().unwrap();
    assert_eq!(rookery(&["user", "delete", "root-admin", "--db", db], "").0, 1);
    assert_eq!(rookery(&["policy", "detach", "AdministratorAccess", "--user", "root-admin", "--db", db], "").0, 1);
    // Someone who administers through a group.
    make_user(&server, &json!({ "name": "gina", "password": PASSWORD }));
    let gina = key_of(&server, "gina");
    admin(&server, "POST", "/api/v1/groups", &json!({ "name": "admins" })).expect(201);
    admin(&server, "PUT", "/api/v1/groups/admins/members/gina", &null).expect(204);
    admin(&server, "POST", attachment, &json!({ "group": "admins" })).expect(204);
    admin(&server, "DELETE", attachment, &json!({ "user": "root-admin" })).expect(204);
    for (what, method, path, body) in [
        ("leave the group", "DELETE", "/api/v1/groups/admins/members/gina", null.clone()),
        ("delete the group", "DELETE", "/api/v1/groups/admins", null.clone()),
        ("detach from the group", "DELETE", attachment, json!({ "group": "admins" })),
        ("deny in the group", "PUT", "/api/v1/groups/admins/policies/deny", nothing()),
        ("delete the user", "DELETE", "/api/v1/users/gina", null.clone()),
    ] {
        open.expect(what, &call(&server, &gina, method, path, &body), 409);
    }
    open.end();
    call(&server, &gina, "GET", "/api/v1/users", &null).expect(200);
}

#[test]
fn whoever_is_bounded_or_cannot_sign_in_is_not_the_administrator_that_remains() {
    let mut open = Open::default();
    let null = Value::Null;
    // One server each, because an open road leaves it without an administrator.
    let server = Server::start();
    admin(&server, "PUT", "/api/v1/policies/Fence", &policy(vec![statement("Allow", "iam:*", "*")])).expect(201);
    make_user(&server, &json!({ "name": "delegate", "password": PASSWORD, "admin": true, "permissionsBoundary": "Fence" }));
    open.expect("only a bounded delegate is left", &admin(&server, "DELETE", "/api/v1/users/root-admin", &null), 409);

    let server = Server::start();
    make_user(&server, &json!({ "name": "late", "admin": true }));
    let (id, key) = make_key(&server, &json!({ "user": "late", "kind": "api", "expiresAt": now() + 3600 }));
    server.expire(&id, &key);
    open.expect("only an expired key is left", &admin(&server, "DELETE", "/api/v1/users/root-admin", &null), 409);

    open.end();
}

#[test]
fn a_delegated_administrator_stays_within_their_boundary() {
    let server = Server::start();
    let null = Value::Null;
    server.put_model("team/m", &city(1, 100.0)).expect(201);
    server.put_model("other/m", &city(1, 100.0)).expect(201);
    let fence = policy(vec![statement("Allow", "iam:*", "*"), statement("Allow", "s3:*", "arn:aws:s3:::team*")]);
    for (name, document) in [("Fence", &fence), ("Loose", &everything()), ("Shared", &fence), ("Grouped", &fence), ("Duty", &fence)] {
        admin(&server, "PUT", &format!("/api/v1/policies/{name}"), document).expect(201);
    }
    for name in ["ana", "dora"] {
        make_user(&server, &json!({ "name": name, "password": PASSWORD }));
    }
    make_user(&server, &json!({ "name": "dele", "password": PASSWORD, "admin": true, "permissionsBoundary": "Fence" }));
    make_user(&server, &json!({ "name": "fenced", "permissionsBoundary": "fence" }));
    make_user(&server, &json!({ "name": "elsewhere", "permissionsBoundary": "Loose" }));
    let trust = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*" }] });
    admin(&server, "POST", "/api/v1/roles", &json!({ "name": "duty", "trustPolicy": trust })).expect(201);
    admin(&server, "POST", "/api/v1/groups", &json!({ "name": "staff" })).expect(201);
    admin(&server, "PUT", "/api/v1/groups/staff/members/ana", &null).expect(204);
    admin(&server, "PUT", "/api/v1/groups/staff/members/fenced", &null).expect(204);
    for (policy, holder) in
        [("Shared", json!({ "user": "ana" })), ("Grouped", json!({ "group": "staff" })), ("Duty", json!({ "role": "duty" }))]
    {
        admin(&server, "POST", &format!("/api/v1/policies/{policy}/attachments"), &holder).expect(204);
    }
    let anas_key = format!("/api/v1/keys/{}", make_key(&server, &json!({ "user": "ana", "kind": "api" })).0);
    let dele = key_of(&server, "dele");
    let all = everything();
    let mut open = Open::default();
    for (what, method, path, body) in [
        ("a user with another boundary", "POST", "/api/v1/users", json!({ "name": "x", "permissionsBoundary": "Loose" })),
        ("an administrator with another", "POST", "/api/v1/users", json!({ "name": "x", "admin": true, "permissionsBoundary": "Loose" })),
        ("a role with another", "POST", "/api/v1/roles", json!({ "name": "x", "trustPolicy": trust, "permissionsBoundary": "Loose" })),
        ("drop the own boundary", "PATCH", "/api/v1/users/dele", json!({ "permissionsBoundary": null })),
        ("drop it in capitals", "PATCH", "/api/v1/users/DELE", json!({ "permissionsBoundary": null })),
        ("a wider boundary", "PATCH", "/api/v1/users/dele", json!({ "permissionsBoundary": "Loose" })),
        ("free another", "PATCH", "/api/v1/users/fenced", json!({ "permissionsBoundary": null })),
        ("widen another", "PATCH", "/api/v1/users/fenced", json!({ "permissionsBoundary": "Loose" })),
        ("take over an unbounded user by boundary", "PATCH", "/api/v1/users/ana", json!({ "permissionsBoundary": "Fence" })),
        ("edit the own boundary", "PUT", "/api/v1/policies/Fence", all.clone()),
        ("edit it in capitals", "PUT", "/api/v1/policies/FENCE", all.clone()),
        ("edit a user's policy", "PUT", "/api/v1/policies/Shared", all.clone()),
        ("edit a group's policy", "PUT", "/api/v1/policies/Grouped", all.clone()),
        ("edit a role's policy", "PUT", "/api/v1/policies/Duty", all.clone()),
        ("edit AdministratorAccess", "PUT", "/api/v1/policies/AdministratorAccess", all.clone()),
        ("attach to an unbounded user", "POST", "/api/v1/policies/AdministratorAccess/attachments", json!({ "user": "ana" })),
        ("attach to one bounded otherwise", "POST", "/api/v1/policies/AdministratorAccess/attachments", json!({ "user": "elsewhere" })),
        ("attach to a role", "POST", "/api/v1/policies/AdministratorAccess/attachments", json!({ "role": "duty" })),
        ("attach to a mixed group", "POST", "/api/v1/policies/AdministratorAccess/attachments", json!({ "group": "staff" })),
        ("detach from an unbounded user", "DELETE", "/api/v1/policies/Shared/attachments", json!({ "user": "ana" })),
        ("an inline policy of an unbounded user", "PUT", "/api/v1/users/ana/policies/p", all.clone()),
        ("an inline policy of a mixed group", "PUT", "/api/v1/groups/staff/policies/p", all.clone()),
        ("an inline policy of a role", "PUT", "/api/v1/roles/duty/policies/p", all.clone()),
        ("a password", "PATCH", "/api/v1/users/ana", json!({ "password": "known to the delegate" })),
        ("the administrator's password", "PATCH", "/api/v1/users/root-admin", json!({ "password": "known to the delegate" })),
        ("a key of an unbounded user", "POST", "/api/v1/keys", json!({ "user": "ana", "kind": "api" })),
        ("a key of the administrator", "POST", "/api/v1/keys", json!({ "user": "ROOT-admin", "kind": "aws" })),
        ("disable another's key", "PATCH", &anas_key, json!({ "disabled": true })),
        ("delete another's key", "DELETE", &anas_key, null.clone()),
        ("disable an unbounded user", "PATCH", "/api/v1/users/ana", json!({ "disabled": true })),
        ("tag an unbounded user", "PATCH", "/api/v1/users/ana", json!({ "tags": { "team": "red" } })),
        ("delete an unbounded user", "DELETE", "/api/v1/users/dora", null.clone()),
        ("delete a mixed group", "DELETE", "/api/v1/groups/staff", null.clone()),
        ("delete a role", "DELETE", "/api/v1/roles/duty", null.clone()),
        ("join a group of unbounded users", "PUT", "/api/v1/groups/staff/members/dele", null.clone()),
        ("take someone out of it", "DELETE", "/api/v1/groups/staff/members/ana", null.clone()),
    ] {
        open.expect(what, &call(&server, &dele, method, path, &body), 403);
    }
    // What they may do, with what it comes to.
    let made =
        call(&server, &dele, "POST", "/api/v1/users", &json!({ "name": "sub", "password": PASSWORD, "admin": true })).expect(201).json();
    assert_eq!(made["permissionsBoundary"], "Fence");
    let role = call(&server, &dele, "POST", "/api/v1/roles", &json!({ "name": "sub", "trustPolicy": trust })).expect(201).json();
    assert_eq!(role["permissionsBoundary"], "Fence");
    call(&server, &dele, "POST", "/api/v1/groups", &json!({ "name": "mine" })).expect(201);
    call(&server, &dele, "PUT", "/api/v1/groups/mine/members/dele", &null).expect(204);
    call(&server, &dele, "PUT", "/api/v1/groups/mine/policies/p", &all).expect(204);
    call(&server, &dele, "PUT", "/api/v1/users/dele/policies/p", &all).expect(204);
    call(&server, &dele, "PUT", "/api/v1/policies/New", &all).expect(201);
    call(&server, &dele, "POST", "/api/v1/policies/New/attachments", &json!({ "user": "fenced" })).expect(204);
    open.expect("an unbounded user into a group with rights", &call(&server, &dele, "PUT", "/api/v1/groups/mine/members/ana", &null), 403);
    let sub = key_of(&server, "sub");
    for (who, key) in [("delegate", &dele), ("sub", &sub), ("fenced", &key_of(&server, "fenced"))] {
        call(&server, key, "GET", "/api/v1/models/team/m", &null).expect(200);
        open.expect(who, &call(&server, key, "GET", "/api/v1/models/other/m", &null), 403);
        open.expect(who, &call(&server, key, "GET", "/metrics", &null), 403);
    }
    open.expect("a delegate's delegate", &call(&server, &sub, "PATCH", "/api/v1/users/ana", &json!({ "disabled": true })), 403);
    call(&server, &dele, "DELETE", "/api/v1/policies/Fence", &null).expect(409);
    open.end();
}

#[test]
fn a_delegated_administrator_does_not_edit_what_bounds_others() {
    let server = Server::start();
    server.put_model("other/m", &city(1, 100.0)).expect(201);
    let fence = policy(vec![statement("Allow", "iam:*", "*")]);
    for name in ["Fence", "Hedge"] {
        admin(&server, "PUT", &format!("/api/v1/policies/{name}"), &fence).expect(201);
    }
    for (name, boundary) in [("dele", "Fence"), ("friend", "Hedge")] {
        make_user(&server, &json!({ "name": name, "admin": true, "permissionsBoundary": boundary }));
    }
    let (dele, friend) = (key_of(&server, "dele"), key_of(&server, "friend"));
    call(&server, &friend, "GET", "/api/v1/models/other/m", &Value::Null).expect(403);
    let mut open = Open::default();
    open.expect("widen a friend's boundary", &call(&server, &dele, "PUT", "/api/v1/policies/Hedge", &everything()), 403);
    open.expect("and the friend is free", &call(&server, &friend, "GET", "/api/v1/models/other/m", &Value::Null), 403);
    open.expect(
        "who frees the delegate",
        &call(&server, &friend, "PATCH", "/api/v1/users/dele", &json!({ "permissionsBoundary": null })),
        403,
    );
    open.end();
}

#[test]
fn a_name_is_denied_in_every_spelling_of_its_case() {
    let server = Server::start();
    let null = Value::Null;
    let iam = |rest: &str| format!("arn:aws:iam::000000000000:{rest}");
    admin(&server, "POST", "/api/v1/groups", &json!({ "name": "admins" })).expect(201);
    admin(&server, "POST", "/api/v1/policies/AdministratorAccess/attachments", &json!({ "group": "admins" })).expect(204);
    make_user(&server, &json!({ "name": "helper" }));
    make_user(&server, &json!({ "name": "pal" }));
    let one_policy = when(
        statement("Deny", "iam:AttachUserPolicy", "*"),
        json!({ "ArnEquals": { "iam:PolicyARN": iam("policy/AdministratorAccess") } }),
    );
    let document = policy(vec![
        statement("Allow", "iam:*", "*"),
        statement("Deny", "iam:*", json!([iam("user/root-admin"), iam("group/admins"), iam("policy/AdministratorAccess")])),
        one_policy,
    ]);
    admin(&server, "PUT", "/api/v1/users/helper/policies/own", &document).expect(204);
    let helper = key_of(&server, "helper");
    let mut open = Open::default();
    for (root, admins, access) in [
        ("root-admin", "admins", "AdministratorAccess"),
        ("ROOT-ADMIN", "Admins", "ADMINISTRATORACCESS"),
        ("Root-admin", "ADMINS", "administratoraccess"),
    ] {
        for (method, path, body) in [
            ("GET", format!("/api/v1/users/{root}"), null.clone()),
            ("GET", format!("/api/v1/keys?user={root}"), null.clone()),
            ("GET", format!("/api/v1/policies/{access}"), null.clone()),
            ("PATCH", format!("/api/v1/users/{root}"), json!({ "password": "known to the helper" })),
            ("PATCH", format!("/api/v1/users/{root}"), json!({ "tags": { "team": "red" } })),
            ("PUT", format!("/api/v1/users/{root}/policies/p"), policy(vec![statement("Allow", "s3:*", "*")])),
            ("POST", "/api/v1/keys".to_owned(), json!({ "user": root, "kind": "api" })),
            ("POST", "/api/v1/simulate".to_owned(), json!({ "principal": root, "action": "s3:GetObject" })),
            ("PUT", format!("/api/v1/policies/{access}"), everything()),
            ("POST", format!("/api/v1/policies/{access}/attachments"), json!({ "user": "pal" })),
            ("PUT", format!("/api/v1/groups/{admins}/members/helper"), null.clone()),
            ("PUT", format!("/api/v1/groups/{admins}/policies/p"), policy(vec![statement("Allow", "s3:*", "*")])),
        ] {
            open.expect(&format!("{method} {path} {body}"), &call(&server, &helper, method, &path, &body), 403);
        }
    }
    open.end();
}

#[test]
fn making_an_administrator_does_not_rewrite_a_policy_of_like_name() {
    let folder = tempfile::tempdir().unwrap();
    let (db, file) = (folder.path().join("t.db"), folder.path().join("weak.json"));
    std::fs::write(&file, policy(vec![statement("Allow", "s3:GetObject", "*")]).to_string()).unwrap();
    let run = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--db", db.to_str().unwrap()]);
        let (code, out, error) = rookery(&all, PASSWORD);
        assert_eq!(code, 0, "{arguments:?}: {error}");
        out
    };
    run(&["user", "create", "ana", "--password-stdin"]);
    run(&["policy", "put", "administratoraccess", file.to_str().unwrap()]);
    run(&["policy", "attach", "administratoraccess", "--user", "ana"]);
    // Refused or under another name; either way `ana` stays what she was.
    rookery(&["user", "create", "boss", "--admin", "--password-stdin", "--db", db.to_str().unwrap()], PASSWORD);
    assert!(
        run(&["policy", "show", "administratoraccess"]).contains("s3:GetObject"),
        "a harmless policy became everything for all who have it"
    );
}

#[test]
fn tags_at_creation_ask_for_the_right_to_tag() {
    let server = Server::start();
    // Tags are what attribute policies go by, so whoever may not change them may not choose them either.
    let maker = server.put_user("maker", &policy(vec![statement("Allow", "iam:CreateUser", "*")]));
    call(&server, &maker, "POST", "/api/v1/users", &json!({ "name": "plain" })).expect(201);
    call(&server, &maker, "PATCH", "/api/v1/users/plain", &json!({ "tags": { "team": "red" } })).expect(403);
    call(&server, &maker, "POST", "/api/v1/users", &json!({ "name": "red", "tags": { "team": "red" } })).expect(403);
}

#[test]
fn what_comes_with_a_new_user_is_asked_for_with_the_users_boundary() {
    let server = Server::start();
    admin(&server, "PUT", "/api/v1/policies/Fence", &everything()).expect(201);
    // As AWS tells to delegate: whatever concerns users, as long as they are fenced.
    let fenced = json!({ "Effect": "Allow", "Action": "iam:*", "Resource": "*",
        "Condition": { "StringEquals": { "iam:PermissionsBoundary": "arn:aws:iam::000000000000:policy/Fence" } } });
    let maker = server.put_user("maker", &policy(vec![fenced]));
    let new = |user: &Value| call(&server, &maker, "POST", "/api/v1/users", user);
    new(&json!({ "name": "one", "permissionsBoundary": "Fence", "password": PASSWORD, "tags": { "team": "red" } })).expect(201);
    new(&json!({ "name": "two", "permissionsBoundary": "Fence", "admin": true })).expect(201);
    new(&json!({ "name": "three", "password": PASSWORD })).expect(403);
}

#[test]
fn a_password_is_given_changed_and_removed_by_permissions_of_their_own() {
    let server = Server::start();
    let may = |name: &str, actions: &[&str]| server.put_user(name, &policy(vec![statement("Allow", json!(actions), "*")]));
    let maker = may("maker", &["iam:CreateUser", "iam:GetUser"]);
    let giver = may("giver", &["iam:CreateUser", "iam:CreateLoginProfile"]);
    let changer = may("changer", &["iam:UpdateLoginProfile"]);
    let remover = may("remover", &["iam:DeleteLoginProfile"]);
    let blind = may("blind", &["iam:TagUser"]);
    make_user(&server, &json!({ "name": "plain" }));
    make_user(&server, &json!({ "name": "kept", "password": PASSWORD }));
    let new = |key: &str, name: &str| call(&server, key, "POST", "/api/v1/users", &json!({ "name": name, "password": PASSWORD }));
    let set = |key: &str, name: &str, password: Value| {
        call(&server, key, "PATCH", &format!("/api/v1/users/{name}"), &json!({ "password": password }))
    };
    let denied = new(&maker, "made").expect(403);
    assert!(denied.message().contains("iam:CreateLoginProfile"), "{}", denied.message());
    call(&server, &maker, "POST", "/api/v1/users", &json!({ "name": "made" })).expect(201);
    new(&giver, "given").expect(201);
    log_in(&server.url, "given", PASSWORD).expect(200);
    let mut open = Open::default();
    for (what, key, name, password) in [
        ("a maker gives a first password", &maker, "plain", json!("another long one")),
        ("a changer gives a first password", &changer, "plain", json!("another long one")),
        ("a remover gives a first password", &remover, "plain", json!("another long one")),
        ("a giver changes a password", &giver, "kept", json!("another long one")),
        ("a remover changes a password", &remover, "kept", json!("another long one")),
        ("a giver removes a password", &giver, "kept", Value::Null),
        ("a changer removes a password", &changer, "kept", Value::Null),
    ] {
        open.expect(what, &set(key, name, password), 403);
    }
    // Nobody who may not see users learns from a refusal whether there is a password.
    let asks = |name: &str| set(&blind, name, json!("another long one")).expect(403).message().replace(name, "NAME");
    assert_eq!(asks("plain"), asks("kept"));
    open.expect("a giver gives", &set(&giver, "plain", json!(PASSWORD)), 204);
    open.expect("a changer changes", &set(&changer, "kept", json!("another long one")), 204);
    open.expect("a remover removes", &set(&remover, "kept", Value::Null), 204);
    open.end();
    log_in(&server.url, "plain", PASSWORD).expect(200);
    log_in(&server.url, "kept", "another long one").expect(401);
}
