//! What every route does, takes and answers. A test compares the routes with the route table and the shapes with what a
//! real server answers, so what stands here is what happens.
//!
//! Next: `mod.rs`, which makes documents of it.

use super::shape::Shape::{Anything, Either, Flag, List, Map, Named, Number, Object, OrNull, Text, Whole, Words};
use super::shape::{Member, Shape, has, may};

/// A body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    None,
    Json(Shape),
    /// Bytes of one of these types.
    Bytes(&'static [&'static str]),
}

/// What is told of a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    /// Its line in the route table: method and path pattern.
    pub(super) route: (&'static str, &'static str),
    pub(super) summary: &'static str,
    /// The action policies are asked for; empty where none is.
    pub(super) action: &'static str,
    pub(super) query: &'static [Member],
    pub(super) headers: &'static [Member],
    pub(super) body: Body,
    /// Status and body of what it answers when all is well.
    pub(super) answers: &'static [(u16, Body)],
}

const PLAIN: About =
    About { route: ("", ""), summary: "", action: "", query: &[], headers: &[], body: Body::None, answers: &[(204, Body::None)] };

/// A list is read in pages.
const PAGED: &[Member] = &[may("after", Text, "`next` of the page before"), may("limit", Whole, "1 to 1000 entries; 100 when left out")];
const HTML: Body = Body::Bytes(&["text/html"]);
const PLAIN_TEXT: Body = Body::Bytes(&["text/plain"]);
const ROWS: Body =
    Body::Bytes(&["text/csv", "application/json", "application/jsonlines", "text/libsvm", "application/x-recordio-protobuf"]);
const ANSWERS: Body = Body::Bytes(&["application/json", "application/jsonlines", "text/csv", "application/x-recordio-protobuf"]);
const IF_MATCH: Member = may("If-Match", Text, "the version the path must point at, or `*` for any");
const ONLY_NEW: Member = may("If-None-Match", Words(&["*"]), "only if the path is new");
const TEXTS: Shape = List(&Text);
const TAGS: Shape = Map(&Text);
const DOCUMENT: Shape = Named("PolicyDocument");
const NEXT: Member = has("next", OrNull(&Text), "where the next page begins; null at the end");

/// Shapes that have a name, with what they are.
pub(super) const NAMED: &[(&str, &str, Shape)] = &[
    (
        "Error",
        "A refusal: one sentence that says what was wrong and what to do.",
        Object(&[has("error", Object(&[has("kind", Text, ""), has("message", Text, "")]), "")]),
    ),
    (
        "RuntimeError",
        "A refusal as SageMaker's runtime writes it; the header `x-amzn-ErrorType` has its code.",
        Object(&[
            has("Message", Text, ""),
            may("ErrorCode", Text, ""),
            may("OriginalStatusCode", Whole, ""),
            may("OriginalMessage", Text, ""),
        ]),
    ),
    (
        "PolicyDocument",
        "An IAM policy document, as AWS documents the language.",
        Object(&[
            may("Version", Words(&["2012-10-17", "2008-10-17"]), "variables are read from 2012 on"),
            may("Id", Text, ""),
            has("Statement", Either(&[Map(&Anything), List(&Map(&Anything))]), ""),
        ]),
    ),
    (
        "Principal",
        "A user, group or role.",
        Object(&[
            has("name", Text, ""),
            has("arn", Text, ""),
            has("id", Text, "`aws:userid` in policies"),
            has("createdAt", Whole, "seconds since 1970"),
            has("tags", TAGS, "`aws:PrincipalTag/…` in policies"),
            has("permissionsBoundary", OrNull(&Text), "the managed policy that bounds it"),
            has("attachedPolicies", TEXTS, ""),
            has("inlinePolicies", TEXTS, ""),
            may("groups", TEXTS, "of a user"),
            may("disabled", Flag, "of a user"),
            may("hasPassword", Flag, "of a user"),
            may("members", TEXTS, "of a group"),
            may("trustPolicy", DOCUMENT, "of a role: who may assume it"),
        ]),
    ),
    (
        "Inline",
        "A policy that belongs to one principal.",
        Object(&[
            may("user", Text, ""),
            may("group", Text, ""),
            may("role", Text, ""),
            has("name", Text, ""),
            has("document", DOCUMENT, ""),
        ]),
    ),
    (
        "Managed",
        "A managed policy in a list.",
        Object(&[
            has("name", Text, ""),
            has("arn", Text, ""),
            has("version", Whole, "counts the documents it has had"),
            has("updatedAt", Whole, "seconds since 1970"),
        ]),
    ),
    (
        "ManagedWhole",
        "A managed policy with its document.",
        Object(&[
            has("name", Text, ""),
            has("arn", Text, ""),
            has("version", Whole, "counts the documents it has had"),
            has("updatedAt", Whole, "seconds since 1970"),
            has("document", DOCUMENT, ""),
        ]),
    ),
    (
        "Holder",
        "Whom a managed policy is attached to.",
        Either(&[Object(&[has("user", Text, "")]), Object(&[has("group", Text, "")]), Object(&[has("role", Text, "")])]),
    ),
    (
        "Key",
        "An API key or AWS access key; never its secret.",
        Object(&[
            has("id", Text, "its public part"),
            has("user", Text, ""),
            has("kind", Words(&["api", "aws"]), ""),
            has("state", Words(&["active", "disabled", "expired"]), ""),
            has("disabled", Flag, ""),
            has("expiresAt", OrNull(&Whole), "seconds since 1970"),
            has("createdAt", Whole, "seconds since 1970"),
            has("narrowed", Flag, "whether it has a policy of its own"),
            may("policy", OrNull(&DOCUMENT), "when shown alone: that policy"),
        ]),
    ),
    (
        "NewKey",
        "A key with its secret, which is shown this once.",
        Either(&[
            Object(&[has("KeyId", Text, ""), has("ApiKey", Text, "for `Authorization: Bearer`")]),
            Object(&[has("AccessKeyId", Text, ""), has("SecretAccessKey", Text, "")]),
        ]),
    ),
    (
        "Part",
        "A block of columns that a model takes.",
        Object(&[has("name", Text, ""), has("kind", Words(&["f32", "f64", "i64", "bool", "text"]), ""), has("columns", Whole, "")]),
    ),
    (
        "Answered",
        "Something a model answers for each row.",
        Object(&[
            has("name", Text, "in the model"),
            has("answered", Text, "in an answer: `score`, `predicted_label` or the model's own word"),
            has("kind", Words(&["f32", "f64", "i64", "bool", "text"]), ""),
            has("columns", Whole, "values of each row"),
        ]),
    ),
    (
        "Model",
        "What a path points at.",
        Object(&[
            has("path", Text, ""),
            has("version", Text, "the SHA-256 of the artifact"),
            has("bytes", Whole, "of the artifact"),
            has("format", Text, ""),
            has("kind", Text, "inside the format: an objective, a predictor type"),
            has("library", OrNull(&Text), "the version that wrote it"),
            has("features", Whole, "columns of a row"),
            has("featureNames", TEXTS, ""),
            may(
                "categories",
                Map(&TEXTS),
                "of one model alone: the texts of columns that may be sent as text, by the column; the first 16 KiB of them, `rookery model check` tells all",
            ),
            has("inputs", List(&Named("Part")), "where its inputs have names and types of their own"),
            has("answers", List(&Named("Answered")), "where its outputs have names and types of their own"),
            has("outputs", Whole, "numbers answered per row"),
            has("trees", OrNull(&Whole), ""),
            has("memoryBytes", Whole, "when loaded"),
            has("coreBytes", Whole, "of its largest array"),
            has("loaded", Flag, ""),
            has("createdAt", Whole, "seconds since 1970"),
            has("updatedAt", Whole, "seconds since 1970"),
        ]),
    ),
    (
        "Published",
        "What a path points at since this request.",
        Object(&[
            has("path", Text, ""),
            has("version", Text, "the SHA-256 of the artifact"),
            has("created", Flag, "whether the path is new"),
            has("format", Text, ""),
            has("kind", Text, ""),
            has("features", Whole, ""),
            has("outputs", Whole, ""),
            has("memoryBytes", Whole, ""),
        ]),
    ),
    (
        "Stage",
        "A step of a pipeline: one of `model`, `prefix` and `postprocess`.",
        Object(&[
            may("model", Text, "the path of a model that always runs"),
            may("prefix", Text, "models the caller names by X-Amzn-SageMaker-Target-Model"),
            may("modelCacheSetting", Words(&["Enabled", "Disabled"]), "whether those stay in memory after a call"),
            may("output", TEXTS, "what of the answer is shown or handed on"),
            may("environment", TAGS, "SAGEMAKER_INFERENCE_OUTPUT, SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"),
            may(
                "postprocess",
                Object(&[
                    may("clip", List(&Number), "the least and the greatest score"),
                    may("labels", TEXTS, "names of the classes"),
                    may("threshold", Number, "above it, one score is the second label"),
                    may("topK", Whole, "how many scores of a row to keep"),
                    may("round", Whole, "decimals"),
                ]),
                "what is done to the scores of the stage before",
            ),
        ]),
    ),
    (
        "Variant",
        "A production variant.",
        Object(&[
            has("name", Text, ""),
            may("weight", Number, "its share of the traffic; 1 when left out"),
            has("stages", List(&Named("Stage")), ""),
        ]),
    ),
    (
        "Endpoint",
        "An endpoint with its variants spelled out.",
        Object(&[
            has("name", Text, ""),
            has("arn", Text, ""),
            has("variants", List(&Named("Variant")), ""),
            has("status", Words(&["InService"]), ""),
            has("createdAt", Whole, "seconds since 1970"),
        ]),
    ),
];

/// Every route.
pub(super) const ROUTES: &[About] = &[
    About {
        route: ("post", "/endpoints/{endpoint}/invocations"),
        summary: "Predict: one answer per row, in the same order.",
        action: "sagemaker:InvokeEndpoint",
        query: &[may("explain", Flag, "add what every column adds to each raw score")],
        headers: &[
            may("X-Amzn-SageMaker-Target-Model", Text, "the model under the multi-model stage's prefix"),
            may("X-Amzn-SageMaker-Target-Variant", Text, "this variant instead of one by weight"),
            may("X-Amzn-SageMaker-Enable-Explanations", Words(&["`true`", "`false`"]), "the same as `explain`"),
            may("X-Amzn-SageMaker-Custom-Attributes", Text, "taken, checked and not used"),
        ],
        body: ROWS,
        answers: &[(200, ANSWERS)],
    },
    About { route: ("get", "/healthz"), summary: "Whether the process answers.", answers: &[(200, PLAIN_TEXT)], ..PLAIN },
    About { route: ("get", "/readyz"), summary: "Whether requests can be answered.", answers: &[(200, PLAIN_TEXT)], ..PLAIN },
    About {
        route: ("get", "/metrics"),
        summary: "What is counted and timed, for Prometheus.",
        action: "cloudwatch:GetMetricData",
        answers: &[(200, PLAIN_TEXT)],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/openapi.json"),
        summary: "This description, as OpenAPI 3.1.",
        answers: &[(200, Body::Json(Map(&Anything)))],
        ..PLAIN
    },
    About { route: ("get", "/docs"), summary: "This description, to read.", answers: &[(200, HTML)], ..PLAIN },
    About {
        route: ("post", "/api/v1/login"),
        summary: "Sign in with a password for a token.",
        body: Body::Json(Object(&[has("name", Text, ""), has("password", Text, "")])),
        answers: &[(
            200,
            Body::Json(Object(&[
                has("token", Text, "for `Authorization: Bearer`"),
                has("tokenType", Words(&["Bearer"]), ""),
                has("expiresAt", Whole, "seconds since 1970"),
            ])),
        )],
        ..PLAIN
    },
    About { route: ("post", "/api/v1/logout"), summary: "End the token it is sent with.", ..PLAIN },
    About {
        route: ("get", "/api/v1/whoami"),
        summary: "Whose credential this is.",
        answers: &[(200, Body::Json(Object(&[has("arn", Text, ""), has("name", Text, ""), has("userId", Text, "")])))],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/models"),
        summary: "List models by path.",
        action: "s3:ListBucket",
        query: &[
            may("prefix", Text, "only those whose path begins so"),
            may("after", Text, "`next` of the page before"),
            may("limit", Whole, "1 to 1000 entries; 100 when left out"),
        ],
        answers: &[(200, Body::Json(Object(&[has("models", List(&Named("Model")), ""), NEXT])))],
        ..PLAIN
    },
    About {
        route: ("put", "/api/v1/models/{path:.+}"),
        summary: "Upload a model, or a new version of it. What cannot be served is refused with the reason.",
        action: "s3:PutObject",
        headers: &[IF_MATCH, ONLY_NEW],
        body: Body::Bytes(&["application/octet-stream"]),
        answers: &[(201, Body::Json(Named("Published"))), (200, Body::Json(Named("Published")))],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/models/{path:.+}"),
        summary: "Show a model.",
        action: "s3:GetObject",
        answers: &[(200, Body::Json(Named("Model")))],
        ..PLAIN
    },
    About {
        route: ("delete", "/api/v1/models/{path:.+}"),
        summary: "Delete a model and the versions only it had.",
        action: "s3:DeleteObject",
        headers: &[IF_MATCH],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/versions/{path:.+}"),
        summary: "What a path has pointed at, latest first.",
        action: "s3:GetObject",
        answers: &[(
            200,
            Body::Json(Object(&[has(
                "versions",
                List(&Object(&[
                    has("sequence", Whole, ""),
                    has("version", Text, ""),
                    has("publishedAt", Whole, "seconds since 1970"),
                    has("publishedBy", Text, ""),
                    has("current", Flag, ""),
                ])),
                "",
            )])),
        )],
        ..PLAIN
    },
    About {
        route: ("post", "/api/v1/rollback/{path:.+}"),
        summary: "Point a path back at its version before the current, or at the one named.",
        action: "s3:PutObject",
        headers: &[IF_MATCH],
        body: Body::Json(Object(&[may("version", OrNull(&Text), "64 hexadecimal digits")])),
        answers: &[(200, Body::Json(Named("Published")))],
        ..PLAIN
    },
    About {
        route: ("post", "/api/v1/endpoints"),
        summary: "Make an endpoint of `stages`, or of several `variants`.",
        action: "sagemaker:CreateEndpoint",
        body: Body::Json(Either(&[
            Object(&[has("name", Text, ""), has("stages", List(&Named("Stage")), "")]),
            Object(&[has("name", Text, ""), has("variants", List(&Named("Variant")), "")]),
        ])),
        answers: &[(201, Body::Json(Named("Endpoint")))],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/endpoints"),
        summary: "List endpoints by name.",
        action: "sagemaker:ListEndpoints",
        query: PAGED,
        answers: &[(200, Body::Json(Object(&[has("endpoints", List(&Named("Endpoint")), ""), NEXT])))],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/endpoints/{name}"),
        summary: "Show an endpoint.",
        action: "sagemaker:DescribeEndpoint",
        answers: &[(200, Body::Json(Named("Endpoint")))],
        ..PLAIN
    },
    About {
        route: ("delete", "/api/v1/endpoints/{name}"),
        summary: "Delete an endpoint; its models stay.",
        action: "sagemaker:DeleteEndpoint",
        ..PLAIN
    },
    About {
        route: ("post", "/api/v1/policies/{name}/attachments"),
        summary: "Attach a managed policy.",
        action: "iam:AttachUserPolicy, iam:AttachGroupPolicy, iam:AttachRolePolicy",
        body: Body::Json(Named("Holder")),
        ..PLAIN
    },
    About {
        route: ("delete", "/api/v1/policies/{name}/attachments"),
        summary: "Detach a managed policy.",
        action: "iam:DetachUserPolicy, iam:DetachGroupPolicy, iam:DetachRolePolicy",
        body: Body::Json(Named("Holder")),
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/policies"),
        summary: "List managed policies by name.",
        action: "iam:ListPolicies",
        query: PAGED,
        answers: &[(200, Body::Json(Object(&[has("policies", List(&Named("Managed")), ""), NEXT])))],
        ..PLAIN
    },
    About {
        route: ("put", "/api/v1/policies/{name}"),
        summary: "Make a managed policy, or give it a new document.",
        action: "iam:CreatePolicy, iam:CreatePolicyVersion",
        body: Body::Json(DOCUMENT),
        answers: &[(201, Body::None), (204, Body::None)],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/policies/{name}"),
        summary: "Show a managed policy.",
        action: "iam:GetPolicy",
        answers: &[(200, Body::Json(Named("ManagedWhole")))],
        ..PLAIN
    },
    About {
        route: ("delete", "/api/v1/policies/{name}"),
        summary: "Delete a managed policy that nobody has.",
        action: "iam:DeletePolicy",
        ..PLAIN
    },
    About {
        route: ("post", "/api/v1/keys"),
        summary: "Make a key of a user.",
        action: "iam:CreateAccessKey",
        body: Body::Json(Object(&[
            has("user", Text, ""),
            has("kind", Words(&["api", "aws"]), ""),
            may("policy", OrNull(&DOCUMENT), "narrows what the user may do with this key"),
            may("expiresAt", OrNull(&Whole), "seconds since 1970"),
        ])),
        answers: &[(201, Body::Json(Named("NewKey")))],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/keys"),
        summary: "List keys by id, of a user or of all.",
        action: "iam:ListAccessKeys",
        query: &[
            may("user", Text, "only theirs"),
            may("after", Text, "`next` of the page before"),
            may("limit", Whole, "1 to 1000 entries; 100 when left out"),
        ],
        answers: &[(200, Body::Json(Object(&[has("keys", List(&Named("Key")), ""), NEXT])))],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/keys/{id}"),
        summary: "Show a key and the policy that narrows it.",
        action: "iam:ListAccessKeys",
        answers: &[(200, Body::Json(Named("Key")))],
        ..PLAIN
    },
    About {
        route: ("patch", "/api/v1/keys/{id}"),
        summary: "Keep a key from being used, or let it be used again.",
        action: "iam:UpdateAccessKey",
        body: Body::Json(Object(&[has("disabled", Flag, "")])),
        ..PLAIN
    },
    About { route: ("delete", "/api/v1/keys/{id}"), summary: "Delete a key.", action: "iam:DeleteAccessKey", ..PLAIN },
    About {
        route: ("post", "/api/v1/simulate"),
        summary: "Decide a request without making it, and say which statement decides.",
        action: "iam:SimulatePrincipalPolicy",
        body: Body::Json(Object(&[
            has("principal", Text, "a user or role: its name or ARN"),
            has("action", Text, ""),
            may("resource", Text, "`*` when left out"),
            may("context", Map(&Anything), "condition keys besides the principal's own: a value or a list of values each"),
        ])),
        answers: &[(
            200,
            Body::Json(Object(&[
                has("decision", Words(&["allowed", "explicitDeny", "implicitDeny"]), ""),
                has("allowed", Flag, ""),
                has(
                    "statements",
                    List(&Object(&[
                        has("policy", Text, ""),
                        has("statement", Whole, "its place in the document, from 1"),
                        may("sid", Text, ""),
                        has("set", Words(&["identity-based policy", "permissions boundary", "session or key policy"]), ""),
                    ])),
                    "those that decided",
                ),
                may("missing", Text, "of an implicit deny: the set in which nothing allows it"),
            ])),
        )],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/cache"),
        summary: "What is in memory and what went.",
        action: "rookery:DescribeCache",
        answers: &[(
            200,
            Body::Json(Object(&[
                has("budgetBytes", Whole, ""),
                has("usedBytes", Whole, ""),
                has("loads", Whole, "since the start"),
                has("evictions", Whole, "since the start"),
                has(
                    "loaded",
                    List(&Object(&[
                        has("version", Text, ""),
                        has("paths", TEXTS, "that point at it"),
                        has("bytes", Whole, ""),
                        has("hits", Whole, ""),
                        has("idleSeconds", Number, ""),
                        has("pinned", Flag, ""),
                        has("inUse", Flag, ""),
                    ])),
                    "most hits first",
                ),
                has("pins", TEXTS, "the pinned paths"),
                has(
                    "latestEvictions",
                    List(&Object(&[
                        has("version", Text, ""),
                        has("bytes", Whole, ""),
                        has("why", Text, ""),
                        has("secondsAgo", Number, ""),
                    ])),
                    "latest first",
                ),
            ])),
        )],
        ..PLAIN
    },
    About {
        route: ("put", "/api/v1/cache/pins/{path:.+}"),
        summary: "Load a model and keep it in memory whatever else needs the room.",
        action: "rookery:PinModel",
        ..PLAIN
    },
    About {
        route: ("delete", "/api/v1/cache/pins/{path:.+}"),
        summary: "Let a model be evicted again.",
        action: "rookery:PinModel",
        ..PLAIN
    },
    About {
        route: ("post", "/api/v1/cache/load/{path:.+}"),
        summary: "Load a model ahead of its first call.",
        action: "rookery:LoadModel",
        answers: &[(200, Body::Json(Object(&[has("wasLoaded", Flag, "whether it was loaded already")])))],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/audit"),
        summary: "Who changed what, latest first.",
        action: "cloudtrail:LookupEvents",
        query: PAGED,
        answers: &[(
            200,
            Body::Json(Object(&[
                has(
                    "changes",
                    List(&Object(&[
                        has("id", Whole, "counts up"),
                        has("at", Whole, "seconds since 1970"),
                        has("principal", Text, ""),
                        has("action", Text, ""),
                        has("resource", Text, ""),
                    ])),
                    "",
                ),
                NEXT,
            ])),
        )],
        ..PLAIN
    },
    About {
        route: ("put", "/api/v1/groups/{name}/members/{user}"),
        summary: "Put a user into a group.",
        action: "iam:AddUserToGroup",
        ..PLAIN
    },
    About {
        route: ("delete", "/api/v1/groups/{name}/members/{user}"),
        summary: "Take a user out of a group.",
        action: "iam:RemoveUserFromGroup",
        ..PLAIN
    },
    About {
        route: ("post", "/api/v1/{noun:users|groups|roles}"),
        summary: "Make a user, group or role.",
        action: "iam:CreateUser, iam:CreateGroup, iam:CreateRole",
        body: Body::Json(Object(&[
            has("name", Text, ""),
            may("password", OrNull(&Text), "of a user who signs in with one"),
            may("admin", Flag, "of a user: attaches AdministratorAccess"),
            may("tags", TAGS, ""),
            may("permissionsBoundary", OrNull(&Text), "the managed policy that bounds it"),
            may("trustPolicy", OrNull(&DOCUMENT), "of a role, which needs one: who may assume it"),
        ])),
        answers: &[(201, Body::Json(Named("Principal")))],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/{noun:users|groups|roles}"),
        summary: "List users, groups or roles by name.",
        action: "iam:ListUsers, iam:ListGroups, iam:ListRoles",
        query: PAGED,
        answers: &[(
            200,
            Body::Json(Object(&[
                may("users", List(&Named("Principal")), ""),
                may("groups", List(&Named("Principal")), ""),
                may("roles", List(&Named("Principal")), ""),
                NEXT,
            ])),
        )],
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/{noun:users|groups|roles}/{name}"),
        summary: "Show a user, group or role.",
        action: "iam:GetUser, iam:GetGroup, iam:GetRole",
        answers: &[(200, Body::Json(Named("Principal")))],
        ..PLAIN
    },
    About {
        route: ("patch", "/api/v1/{noun:users|groups|roles}/{name}"),
        summary: "Change one setting. A new password, and disabling or enabling, end every token and session of a user.",
        action: "iam:UpdateLoginProfile, iam:CreateLoginProfile, iam:DeleteLoginProfile, iam:UpdateUser, iam:TagUser, iam:TagRole, iam:PutUserPermissionsBoundary, iam:PutRolePermissionsBoundary, iam:DeleteUserPermissionsBoundary, iam:DeleteRolePermissionsBoundary, iam:UpdateAssumeRolePolicy",
        body: Body::Json(Either(&[
            Object(&[has("password", OrNull(&Text), "of a user; null takes it away")]),
            Object(&[has("disabled", Flag, "of a user")]),
            Object(&[has("tags", TAGS, "in place of all there were")]),
            Object(&[has("permissionsBoundary", OrNull(&Text), "null takes it away")]),
            Object(&[has("trustPolicy", DOCUMENT, "of a role")]),
        ])),
        ..PLAIN
    },
    About {
        route: ("delete", "/api/v1/{noun:users|groups|roles}/{name}"),
        summary: "Delete a user with their keys and sessions, a group or a role.",
        action: "iam:DeleteUser, iam:DeleteGroup, iam:DeleteRole",
        ..PLAIN
    },
    About {
        route: ("put", "/api/v1/{noun:users|groups|roles}/{name}/policies/{policy}"),
        summary: "Put a policy inline.",
        action: "iam:PutUserPolicy, iam:PutGroupPolicy, iam:PutRolePolicy",
        body: Body::Json(DOCUMENT),
        ..PLAIN
    },
    About {
        route: ("get", "/api/v1/{noun:users|groups|roles}/{name}/policies/{policy}"),
        summary: "Show an inline policy.",
        action: "iam:GetUserPolicy, iam:GetGroupPolicy, iam:GetRolePolicy",
        answers: &[(200, Body::Json(Named("Inline")))],
        ..PLAIN
    },
    About {
        route: ("delete", "/api/v1/{noun:users|groups|roles}/{name}/policies/{policy}"),
        summary: "Delete an inline policy.",
        action: "iam:DeleteUserPolicy, iam:DeleteGroupPolicy, iam:DeleteRolePolicy",
        ..PLAIN
    },
    About { route: ("get", "/"), summary: "To the console.", answers: &[(303, Body::None)], ..PLAIN },
    About { route: ("get", "/ui"), summary: "To the console.", answers: &[(303, Body::None)], ..PLAIN },
    About { route: ("get", "/ui/"), summary: "To the console.", answers: &[(303, Body::None)], ..PLAIN },
    About {
        route: ("get", "/ui/static/{file}"),
        summary: "The console's style, script and picture.",
        answers: &[(200, Body::Bytes(&["text/css", "text/javascript", "image/svg+xml"]))],
        ..PLAIN
    },
    About {
        route: ("get", "/ui/setup"),
        summary: "The page that makes the first administrator, while there is no user.",
        query: &[may("token", Text, "from the link that the server prints")],
        answers: &[(200, HTML)],
        ..PLAIN
    },
    About {
        route: ("post", "/ui/setup"),
        summary: "Make the first administrator.",
        body: Body::Bytes(&["application/x-www-form-urlencoded"]),
        answers: &[(303, Body::None)],
        ..PLAIN
    },
    About { route: ("get", "/ui/sign-in"), summary: "The sign-in page.", answers: &[(200, HTML)], ..PLAIN },
    About {
        route: ("post", "/ui/sign-in"),
        summary: "Sign in to the console.",
        body: Body::Bytes(&["application/x-www-form-urlencoded"]),
        answers: &[(303, Body::None)],
        ..PLAIN
    },
    About {
        route: ("post", "/ui/sign-out"),
        summary: "Sign out of the console.",
        body: Body::Bytes(&["application/x-www-form-urlencoded"]),
        answers: &[(303, Body::None)],
        ..PLAIN
    },
    About {
        route: ("get", "/ui/models"),
        summary: "The page of models.",
        action: "s3:ListBucket",
        query: &[
            may("prefix", Text, "only those whose path begins so"),
            may("after", Text, "where the page begins"),
            may("done", Text, "what was uploaded a moment ago"),
        ],
        answers: &[(200, HTML)],
        ..PLAIN
    },
    About { route: ("get", "/ui/upload"), summary: "The upload form.", answers: &[(200, HTML)], ..PLAIN },
    About {
        route: ("post", "/ui/upload"),
        summary: "Upload a model from the form.",
        action: "s3:PutObject",
        body: Body::Bytes(&["multipart/form-data"]),
        answers: &[(303, Body::None)],
        ..PLAIN
    },
];
