//! Random policies and requests, for comparing two implementations of the policy language.
//!
//! The request is drawn first, from small sets of words; the policies are then drawn from the same words and
//! from the request's own, blurred a little (a run becomes `*`, a letter changes case, a word becomes a
//! variable), so that matches, near misses and denials are all common. Every document is one that is
//! accepted when written: the malformed ones are in `tests/policy/malformed.json`.
//!
//! It must not know what the answer is (`reference.rs` does), nor anything of `rookery`. The same seed gives
//! the same cases on every machine. A new operator is a row in `OPERATORS`, a new kind of value a `Kind`.

use serde_json::{Map, Value, json};

/// splitmix64: small, and any seed will do.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of a list that is never empty (of an empty one, the default).
    fn pick<T: Copy + Default>(&mut self, from: &[T]) -> T {
        let at = self.below(from.len());
        from.get(at).copied().unwrap_or_default()
    }
}

/// Policies and one request to ask them about.
pub(crate) struct Case {
    pub(crate) identity: Vec<Value>,
    pub(crate) boundary: Option<Vec<Value>>,
    pub(crate) session: Option<Vec<Value>>,
    pub(crate) request: Value,
}

/// The next case; `rng` decides everything in it.
pub(crate) fn case(rng: &mut Rng) -> Case {
    let asked = Asked::new(rng);
    Case {
        identity: documents(rng, &asked),
        boundary: rng.percent(20).then(|| documents(rng, &asked)),
        session: rng.percent(15).then(|| documents(rng, &asked)),
        request: asked.json(rng),
    }
}

// ---- Words ---------------------------------------------------------------------------------------------

#[derive(Clone, Copy, Default, PartialEq)]
enum Kind {
    #[default]
    Text,
    Number,
    Date,
    Flag,
    Bytes,
    Address,
    Arn,
}

const KEYS: &[(&str, Kind)] = &[
    ("sagemaker:TargetModel", Kind::Text),
    ("aws:username", Kind::Text),
    ("aws:PrincipalTag/team", Kind::Text),
    ("aws:TagKeys", Kind::Text),
    ("s3:max-keys", Kind::Number),
    ("aws:MultiFactorAuthAge", Kind::Number),
    ("aws:CurrentTime", Kind::Date),
    ("aws:EpochTime", Kind::Date),
    ("aws:SecureTransport", Kind::Flag),
    ("aws:ViaAWSService", Kind::Flag),
    ("lab:Digest", Kind::Bytes),
    ("lab:Mark", Kind::Bytes),
    ("aws:SourceIp", Kind::Address),
    ("aws:VpcSourceIp", Kind::Address),
    ("aws:SourceArn", Kind::Arn),
    ("aws:PrincipalArn", Kind::Arn),
];

const OPERATORS: &[(&str, Kind)] = &[
    ("StringEquals", Kind::Text),
    ("StringNotEquals", Kind::Text),
    ("StringEqualsIgnoreCase", Kind::Text),
    ("StringNotEqualsIgnoreCase", Kind::Text),
    ("StringLike", Kind::Text),
    ("StringNotLike", Kind::Text),
    ("NumericEquals", Kind::Number),
    ("NumericNotEquals", Kind::Number),
    ("NumericLessThan", Kind::Number),
    ("NumericLessThanEquals", Kind::Number),
    ("NumericGreaterThan", Kind::Number),
    ("NumericGreaterThanEquals", Kind::Number),
    ("DateEquals", Kind::Date),
    ("DateNotEquals", Kind::Date),
    ("DateLessThan", Kind::Date),
    ("DateLessThanEquals", Kind::Date),
    ("DateGreaterThan", Kind::Date),
    ("DateGreaterThanEquals", Kind::Date),
    ("Bool", Kind::Flag),
    ("BinaryEquals", Kind::Bytes),
    ("IpAddress", Kind::Address),
    ("NotIpAddress", Kind::Address),
    ("ArnEquals", Kind::Arn),
    ("ArnLike", Kind::Arn),
    ("ArnNotEquals", Kind::Arn),
    ("ArnNotLike", Kind::Arn),
    ("Null", Kind::Flag),
];

const ACTIONS: &[&str] = &[
    "sagemaker:InvokeEndpoint",
    "sagemaker:InvokeEndpointWithResponseStream",
    "sagemaker:CreateModel",
    "s3:GetObject",
    "s3:PutObject",
    "iam:CreateUser",
];

const RESOURCES: &[&str] = &[
    "arn:aws:sagemaker:us-east-1:000000000000:endpoint/housing",
    "arn:aws:sagemaker:us-east-1:000000000000:endpoint/Housing",
    "arn:aws:sagemaker:eu-west-1:000000000000:endpoint/Housing-Anna",
    "arn:aws:sagemaker:us-east-1:000000000000:model/Housing",
    "arn:aws:sagemaker:us-east-1:000000000000:Endpoint/Housing",
    "arn:aws:s3:::NewYork_NY/a",
    "arn:aws:s3:::home/ana/a",
    "arn:aws:s3:::home/Ana/red/日",
    "arn:aws:s3:::home/a*b",
    "arn:aws:s3:::home/${aws:username}",
    "arn:aws:s3:::endpoint/Housing",
    "arn:aws:iam::000000000000:user/ana",
    "arn:aws:iam::000000000000:user/red:bob",
];

const RESOURCE_PATTERNS: &[&str] = &[
    "*",
    "arn:aws:sagemaker:*:*:endpoint/*",
    "arn:aws:sagemaker:*:endpoint/HOUSING*",
    "arn:aws:sagemaker:*",
    "arn:aws:s3:::*",
    "arn:aws:s3:::home/?na/*",
    "arn:aws:s3:::home/a${*}b",
    "arn:aws:s3:::home/${$}{aws:username}",
    "arn:aws:s3:::home/${aws:username}",
    "arn:aws:s3:::home/${aws:username}/*",
    "arn:aws:s3:::*/${aws:PrincipalTag/team, 'red'}/?",
    "arn:aws:iam::*:user/${aws:UserName}",
    "arn:aws:iam::*:user/${aws:PrincipalTag/Team}:${aws:username, 'bob'}",
    "arn:aws:sagemaker:*:*:endpoint/Housing-${aws:PrincipalTag/team}",
    "arn:aws:sagemaker:*:*:endpoint/${sagemaker:TargetModel, 'HOUSING'}",
    "${aws:PrincipalArn}",
    "${aws:SourceArn, '*'}",
    "*/Housing",
    "*:user/*",
];

impl Kind {
    /// What a request may hold. Some of it cannot be read as the kind it should be.
    fn said(self) -> &'static [&'static str] {
        match self {
            Kind::Text => &[
                "NewYork_NY/a",
                "NewYork_NY/b/c",
                "newyork_ny/a",
                "Boston_MA/a",
                "ana",
                "ana",
                "Ana",
                "bob",
                "red",
                "RED",
                "anna",
                "housing",
                "",
                "*",
                "a*b",
                "axb",
                "$",
                "?",
                "日本",
                "${aws:username}",
            ],
            Kind::Number => {
                &["5", "5", "10", "10.0", "1e1", "-3", "+5", "0.5", "-0", "7.25E-1", "5.", "ten", "", "inf", "0x5", " 5", "1e", ".5", "NaN"]
            }
            Kind::Date => &[
                "2024-01-01T00:00:00Z",
                "2024-01-01",
                "1704067200",
                "2024-01-01T01:00:00+01:00",
                "2023-12-31T18:30:00-05:30",
                "2024-06-30T12:00Z",
                "2024-01-01T00:00:00.5Z",
                "2024-01-01T00:00:00.000000001Z",
                "2023-12-31T23:59:59.999999999Z",
                "2024-02-29",
                "1969-12-31T23:59:59Z",
                "-1",
                "0",
                "2023-02-29",
                "2024-01-01T24:00:00Z",
                "2024-01-01T00:00:00",
                "never",
                "",
            ],
            Kind::Flag => &["true", "true", "false", "false", "TRUE", "False", "yes", "1", ""],
            Kind::Bytes => &["AQID", "AQIDBA==", "AA==", "////", "+/+/", "AQI", "AQIDBA=", "a-b_", "no base64"],
            Kind::Address => &[
                "10.0.0.1",
                "10.0.1.200",
                "10.0.2.1",
                "192.168.1.77",
                "192.168.1.63",
                "2001:db8::1",
                "2001:DB8:0:0:0::1",
                "2001:db9::1",
                "::ffff:10.0.0.1",
                "::1",
                "10.0.0",
                "10.0.0.0/8",
                "here",
                "",
            ],
            Kind::Arn => &[
                "arn:aws:iam::000000000000:user/ana",
                "arn:aws:iam::000000000000:user/Ana",
                "arn:aws:iam::000000000000:role/red",
                "arn:aws:sts::000000000000:assumed-role/red/ana",
                "arn:aws:sagemaker:us-east-1:000000000000:endpoint/housing",
                "arn:aws:sagemaker:us-east-1:000000000000:endpoint/Housing",
                "arn:aws:s3:::home/a:b",
                "arn:aws:s3:::home/a*b",
                "arn:aws:s3::home",
                "aws:arn:s3:::home",
                "ana",
                "",
            ],
        }
    }

    /// What a policy may hold: always well formed.
    fn asked(self) -> &'static [&'static str] {
        match self {
            Kind::Text => &[
                "*",
                "?",
                "a?b",
                "a*b",
                "a${*}b",
                "${*}",
                "${?}",
                "${$}",
                "${$}{aws:username}",
                "$${aws:username}",
                "NewYork_NY/*",
                "NEWYORK_NY/A",
                "*_NY/?",
                "*/*/*",
                "日?",
                "ana",
                "Ana",
                "red",
                "RED",
                "",
                "${aws:username}",
                "${AWS:UserName}*",
                "${aws:PrincipalTag/team}",
                "${aws:PrincipalTag/team, 'red'}",
                "${aws:PrincipalTag/none, 'ana'}",
                "${aws:PrincipalTag/none, 'a*b'}",
                "${aws:PrincipalTag/none}",
                "${aws:TagKeys}",
                "${aws:TagKeys, 'RED'}",
                "*${sagemaker:TargetModel}?",
            ],
            Kind::Number => &["5", "10", "1e1", "1E+1", "-3", "+5", "0", "0.5", "7.25e-1", "10.5", "6"],
            Kind::Date => &[
                "2024-01-01T00:00:00Z",
                "2024-01-01",
                "1704067200",
                "2024-01-01T01:00:00+01:00",
                "2023-12-31T18:30:00-05:30",
                "2024-06-30T12:00Z",
                "2024-01-01T00:00:00.500Z",
                "2024-01-01T00:00:00.000000001Z",
                "2024-02-29T00:00:00Z",
                "1970-01-01",
                "-1",
                "0",
            ],
            Kind::Flag => &["true", "false", "True", "FALSE"],
            Kind::Bytes => &["AQID", "AQIDBA==", "AA==", "////", "+/+/"],
            Kind::Address => &[
                "10.0.0.0/8",
                "10.0.0.1",
                "10.0.0.1/32",
                "10.0.0.0/23",
                "0.0.0.0/0",
                "192.168.1.64/26",
                "2001:db8::/32",
                "2001:db8::1",
                "2001:0DB8::1/128",
                "::/0",
                "::ffff:10.0.0.0/104",
                "::ffff:10.0.0.1",
                "::1/128",
            ],
            Kind::Arn => &[
                "*",
                "arn:*:*:*:*:*",
                "arn:aws:iam::*:user/*",
                "arn:aws:iam::000000000000:user/?na",
                "arn:aws:iam::000000000000:user/${aws:username}",
                "arn:aws:iam::*:role/${aws:PrincipalTag/team, 'red'}",
                "arn:aws:sts::*:assumed-role/*/${aws:PrincipalTag/none}",
                "arn:aws:sagemaker:*:*:endpoint/housing",
                "arn:aws:s3:::home/a:?",
                "arn:aws:s3:::home/a${*}b",
                "arn:aws:*",
                "arn:aws:s3::*",
                "user/ana",
                "${aws:PrincipalArn}",
                "${aws:SourceArn, '*'}",
            ],
        }
    }
}

// ---- The request ---------------------------------------------------------------------------------------

/// The request, in a shape the policies can be drawn from.
struct Asked {
    action: &'static str,
    resource: &'static str,
    context: Vec<(&'static str, Vec<&'static str>)>,
}

impl Asked {
    fn new(rng: &mut Rng) -> Self {
        let mut context = Vec::new();
        for &(key, kind) in KEYS {
            let values = match rng.below(20) {
                0..6 => continue,
                6 => 0,
                7..16 => 1,
                16..19 => 2,
                _ => 3,
            };
            context.push((key, (0..values).map(|_| rng.pick(kind.said())).collect()));
        }
        Self { action: rng.pick(ACTIONS), resource: rng.pick(RESOURCES), context }
    }

    fn json(&self, rng: &mut Rng) -> Value {
        let mut context = Map::new();
        for (key, values) in &self.context {
            let mut values: Vec<Value> = values.iter().map(|value| unquoted(rng, value, 20)).collect();
            let value = match values.pop() {
                Some(only) if values.is_empty() && rng.percent(70) => only,
                last => {
                    values.extend(last);
                    Value::Array(values)
                }
            };
            context.insert(any_case(rng, key, 10), value);
        }
        json!({
            "principal": "arn:aws:iam::000000000000:user/ana",
            "action": any_case(rng, self.action, 10),
            "resource": self.resource,
            "context": context,
        })
    }

    fn values(&self, key: &str) -> &[&'static str] {
        let named = self.context.iter().find(|(name, _)| *name == key);
        named.map_or(&[], |(_, values)| values)
    }
}

/// `true`, `false` and whole numbers, sometimes without their quotes. The text stays the same: not `-0`, `+5`.
fn unquoted(rng: &mut Rng, text: &str, chance: usize) -> Value {
    let bare = match text {
        "true" => Some(Value::from(true)),
        "false" => Some(Value::from(false)),
        _ => text.parse::<i64>().ok().filter(|number| number.to_string() == text).map(Value::from),
    };
    bare.filter(|_| rng.percent(chance)).unwrap_or_else(|| Value::from(text))
}

/// A name whose case does not matter, sometimes in another.
fn any_case(rng: &mut Rng, name: &str, chance: usize) -> String {
    if !rng.percent(chance) {
        name.to_owned()
    } else if rng.percent(50) {
        name.to_ascii_lowercase()
    } else {
        name.to_ascii_uppercase()
    }
}

// ---- The policies --------------------------------------------------------------------------------------

const TARGET_MODEL: &str = "sagemaker:TargetModel";

fn documents(rng: &mut Rng, asked: &Asked) -> Vec<Value> {
    let count = match rng.below(20) {
        0 => 0,
        1..13 => 1,
        13..18 => 2,
        _ => 3,
    };
    (0..count).map(|_| document(rng, asked)).collect()
}

fn document(rng: &mut Rng, asked: &Asked) -> Value {
    let variables = rng.percent(75);
    let mut document = Map::new();
    if variables {
        document.insert("Version".into(), "2012-10-17".into());
    } else if rng.percent(50) {
        document.insert("Version".into(), "2008-10-17".into());
    }
    if rng.percent(5) {
        document.insert("Id".into(), "cd3ad3d9-2776-4ef1-a904-4c229d1642ee".into());
    }
    // A long document is one of many statements that differ in the target model, as for a caller of many models.
    let long = rng.percent(6);
    let count = if long { 8 + rng.below(6) } else { rng.pick(&[1, 1, 1, 2, 2, 3]) };
    let mut statements: Vec<Value> = (0..count).map(|at| statement(rng, asked, variables, at)).collect();
    for statement in &mut statements {
        if !long || rng.percent(15) {
            continue;
        }
        let operator =
            rng.pick(&["StringLike", "StringLike", "StringEquals", "ForAnyValue:StringLike", "StringLikeIfExists", "StringNotLike"]);
        let values = condition_values(rng, asked, variables, TARGET_MODEL, Kind::Text);
        statement["Condition"] = json!({ operator: { TARGET_MODEL: values } });
    }
    document.insert("Statement".into(), one_or_list(rng, statements));
    Value::Object(document)
}

fn statement(rng: &mut Rng, asked: &Asked, variables: bool, at: usize) -> Value {
    let mut statement = Map::new();
    if rng.percent(15) {
        statement.insert("Sid".into(), format!("Statement{at}").into());
    }
    let denies = rng.percent(25);
    statement.insert("Effect".into(), if denies { "Deny" } else { "Allow" }.into());

    let inverted = rng.percent(10);
    let actions = (0..rng.pick(&[1, 1, 2, 3])).map(|_| action_pattern(rng, asked, inverted)).collect();
    let member = if inverted { "NotAction" } else { "Action" };
    statement.insert(member.into(), one_or_list(rng, actions));

    let inverted = rng.percent(10);
    let resources = (0..rng.pick(&[1, 1, 2, 3])).map(|_| resource_pattern(rng, asked, variables)).collect();
    let member = if inverted { "NotResource" } else { "Resource" };
    statement.insert(member.into(), one_or_list(rng, resources));

    if rng.percent(60) {
        statement.insert("Condition".into(), condition(rng, asked, variables));
    }
    Value::Object(statement)
}

/// A list of one may be written without its brackets.
fn one_or_list(rng: &mut Rng, mut values: Vec<Value>) -> Value {
    match values.pop() {
        Some(only) if values.is_empty() && rng.percent(60) => only,
        last => {
            values.extend(last);
            Value::Array(values)
        }
    }
}

fn action_pattern(rng: &mut Rng, asked: &Asked, inverted: bool) -> Value {
    if rng.percent(if inverted { 3 } else { 15 }) {
        return "*".into();
    }
    let action = if rng.percent(if inverted { 40 } else { 75 }) { asked.action } else { rng.pick(ACTIONS) };
    let Some((service, name)) = action.split_once(':') else {
        return action.into();
    };
    let service = if rng.percent(5) { blur(rng, service) } else { service.to_owned() };
    let name = match rng.below(10) {
        0..3 => "*".to_owned(),
        3..7 => name.to_owned(),
        _ => blur(rng, name),
    };
    any_case(rng, &format!("{service}:{name}"), 20).into()
}

fn resource_pattern(rng: &mut Rng, asked: &Asked, variables: bool) -> Value {
    if rng.percent(35) {
        return rng.pick(RESOURCE_PATTERNS).into();
    }
    let resource = if rng.percent(75) { asked.resource } else { rng.pick(RESOURCES) };
    let resource = if variables && rng.percent(30) { with_variable(rng, asked, resource) } else { resource.to_owned() };
    // What a resource begins with stays: a pattern is an ARN, or begins with `*` or a variable.
    match resource.strip_prefix("arn:") {
        Some(rest) if rng.percent(50) => format!("arn:{}", blur(rng, rest)).into(),
        _ => resource.into(),
    }
}

fn condition(rng: &mut Rng, asked: &Asked, variables: bool) -> Value {
    let mut operators = Map::new();
    for _ in 0..1 + rng.below(2) {
        let (operator, kind) = rng.pick(OPERATORS);
        let mut keys = Map::new();
        for _ in 0..1 + rng.below(5) / 4 {
            let key = condition_key(rng, operator, kind);
            // The same key twice, in two cases, would be two keys to JSON and one to the language.
            if keys.keys().all(|name: &String| !name.eq_ignore_ascii_case(key)) {
                let values = condition_values(rng, asked, variables, key, kind);
                keys.insert(any_case(rng, key, 15), values);
            }
        }
        let name = if operator == "Null" {
            operator.to_owned()
        } else {
            let prefix = rng.pick(&["", "", "", "ForAllValues:", "ForAnyValue:"]);
            let suffix = rng.pick(&["", "", "", "IfExists"]);
            format!("{prefix}{operator}{suffix}")
        };
        operators.insert(name, Value::Object(keys));
    }
    Value::Object(operators)
}

/// Mostly a key that holds what the operator compares.
fn condition_key(rng: &mut Rng, operator: &str, kind: Kind) -> &'static str {
    let anything = operator == "Null" || rng.percent(if kind == Kind::Text { 20 } else { 5 });
    let fitting = KEYS.iter().filter(|(_, held)| anything || *held == kind);
    let fitting: Vec<&'static str> = fitting.map(|(key, _)| *key).collect();
    rng.pick(&fitting)
}

fn condition_values(rng: &mut Rng, asked: &Asked, variables: bool, key: &str, kind: Kind) -> Value {
    let count = match rng.below(40) {
        0..24 => 1,
        24..35 => 2,
        35..39 => 3,
        _ => 8 + rng.below(5),
    };
    let present = asked.values(key);
    let mut values = Vec::new();
    for _ in 0..count {
        let value = rng.pick(present);
        values.push(match kind {
            Kind::Text | Kind::Arn if !present.is_empty() && rng.percent(55) => {
                let value = if variables && rng.percent(25) { with_variable(rng, asked, value) } else { value.to_owned() };
                if rng.percent(50) { blur(rng, &value).into() } else { value.into() }
            }
            // The request's own value again, where a policy may hold it.
            _ if kind.asked().contains(&value) && rng.percent(30) => unquoted(rng, value, 20),
            Kind::Text | Kind::Arn => rng.pick(kind.asked()).into(),
            _ => {
                let value = rng.pick(kind.asked());
                unquoted(rng, value, 20)
            }
        });
    }
    one_or_list(rng, values)
}

/// The text with a value of the request in it, if there is one, replaced by its variable.
fn with_variable(rng: &mut Rng, asked: &Asked, text: &str) -> String {
    let (key, _) = rng.pick(KEYS);
    match asked.values(key) {
        [value] if !value.is_empty() && !text.contains('$') => {
            let key = any_case(rng, key, 20);
            let default = rng.pick(&["", "", ", 'red'", ", ''"]);
            text.replacen(value, &format!("${{{key}{default}}}"), 1)
        }
        _ => text.to_owned(),
    }
}

/// One or two small changes. A text with a variable keeps it whole.
fn blur(rng: &mut Rng, text: &str) -> String {
    if text.contains('$') {
        return text.to_owned();
    }
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..1 + rng.below(2) {
        let from = rng.below(letters.len() + 1);
        let to = (from + rng.below(6)).min(letters.len());
        let one = from..(from + 1).min(letters.len());
        let letter = letters.get(from).copied().unwrap_or('x');
        let flipped = if letter.is_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        let (run, instead) = match rng.below(8) {
            0..2 => (from..to, '*'),
            2..4 => (from..letters.len(), '*'),
            4 => (one, '?'),
            5 => (one, flipped),
            6 => (from..from, 'x'),
            _ => continue,
        };
        letters.splice(run, [instead]);
    }
    letters.into_iter().collect()
}
