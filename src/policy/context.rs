//! What a policy may ask about a request: condition keys and their values.
//!
//! Values keep their own type and become text only when a policy compares text, so filling a context for a
//! prediction allocates nothing. Must not know where the values come from. Next: `condition.rs`.

use std::borrow::Cow;
use std::net::IpAddr;

use time::OffsetDateTime;
use time::macros::format_description;

/// The keys the service fills itself; each has a fixed place in a [`Context`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Known {
    TargetModel,
    UserName,
    UserId,
    PrincipalArn,
    PrincipalAccount,
    SourceIp,
    SecureTransport,
    CurrentTime,
    EpochTime,
    TokenIssueTime,
    UserAgent,
    RequestedRegion,
    PermissionsBoundary,
    PolicyArn,
}

const KNOWN: [(&str, Known); 14] = [
    ("sagemaker:targetmodel", Known::TargetModel),
    ("aws:username", Known::UserName),
    ("aws:userid", Known::UserId),
    ("aws:principalarn", Known::PrincipalArn),
    ("aws:principalaccount", Known::PrincipalAccount),
    ("aws:sourceip", Known::SourceIp),
    ("aws:securetransport", Known::SecureTransport),
    ("aws:currenttime", Known::CurrentTime),
    ("aws:epochtime", Known::EpochTime),
    ("aws:tokenissuetime", Known::TokenIssueTime),
    ("aws:useragent", Known::UserAgent),
    ("aws:requestedregion", Known::RequestedRegion),
    ("iam:permissionsboundary", Known::PermissionsBoundary),
    ("iam:policyarn", Known::PolicyArn),
];

/// How the keys of a principal's tags begin.
pub(super) const TAG: &str = "aws:principaltag/";

/// A condition key, resolved when the policy is compiled. Keys compare without case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Place);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Known(Known),
    /// The tag's own name, lower-case.
    Tag(Box<str>),
    /// Any other key, lower-case.
    Other(Box<str>),
}

impl Key {
    /// The key written as `name`.
    pub fn new(name: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        if let Some((_, known)) = KNOWN.iter().find(|(known, _)| *known == lower) {
            return Self(Place::Known(*known));
        }
        match lower.strip_prefix(TAG) {
            Some(tag) => Self(Place::Tag(tag.into())),
            None => Self(Place::Other(lower.into())),
        }
    }
}

impl Key {
    pub(super) fn is_target_model(&self) -> bool {
        self.0 == Place::Known(Known::TargetModel)
    }
}

/// One value of a key, in the type it has.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A moment, seconds since 1970; as text it reads `2026-01-31T08:00:00Z`.
    Time(i64),
    /// A whole number; as text, decimal.
    Number(i64),
    /// An address.
    Ip(IpAddr),
    /// True or false.
    Bool(bool),
}

impl<'a> Value<'a> {
    /// The value as a policy's text comparisons see it.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Time(seconds) => Cow::Owned(iso(*seconds)),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Ip(address) => Cow::Owned(address.to_string()),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

fn iso(seconds: i64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|moment| moment.format(&format).ok()).unwrap_or_default()
}

#[derive(Debug, Clone, Default)]
enum Slot<'a> {
    #[default]
    Absent,
    One(Value<'a>),
    Many(Vec<Value<'a>>),
}

impl<'a> Slot<'a> {
    fn values(&self) -> &[Value<'a>] {
        match self {
            Self::Absent => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// The keys and values of one request. A key without values is absent.
#[derive(Debug, Clone, Default)]
pub struct Context<'a> {
    known: [Slot<'a>; KNOWN.len()],
    tags: &'a [(Box<str>, Box<str>)],
    tag_values: Vec<Value<'a>>,
    others: Vec<(Box<str>, Vec<Value<'a>>)>,
}

impl<'a> Context<'a> {
    /// A context in which no key is present.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets any key by its written name, replacing what it had. For simulation and tests: the service uses the
    /// named setters below.
    pub fn set(&mut self, name: &str, values: Vec<Value<'a>>) {
        match Key::new(name).0 {
            Place::Known(known) => self.put(known, Slot::Many(values)),
            Place::Tag(tag) => self.replace(format!("{TAG}{tag}").into(), values),
            Place::Other(other) => self.replace(other, values),
        }
    }

    fn replace(&mut self, name: Box<str>, values: Vec<Value<'a>>) {
        self.others.retain(|(other, _)| *other != name);
        self.others.push((name, values));
    }

    fn put(&mut self, known: Known, slot: Slot<'a>) {
        if let Some(place) = self.known.get_mut(known as usize) {
            *place = slot;
        }
    }

    /// `sagemaker:TargetModel`.
    pub fn target_model(&mut self, target: &'a str) {
        self.put(Known::TargetModel, Slot::One(target.into()));
    }

    /// `aws:username` (absent for sessions of a role), `aws:userid`, `aws:PrincipalArn`, `aws:PrincipalAccount` and
    /// `aws:PrincipalTag/*` (tag names lower-case, sorted).
    pub fn principal(&mut self, name: Option<&'a str>, id: &'a str, arn: &'a str, tags: &'a [(Box<str>, Box<str>)]) {
        if let Some(name) = name {
            self.put(Known::UserName, Slot::One(name.into()));
        }
        self.put(Known::UserId, Slot::One(id.into()));
        self.put(Known::PrincipalArn, Slot::One(arn.into()));
        self.put(Known::PrincipalAccount, Slot::One(crate::names::ACCOUNT.into()));
        self.tags = tags;
        self.tag_values = tags.iter().map(|(_, value)| Value::from(value.as_ref())).collect();
    }

    /// `aws:SourceIp`, `aws:SecureTransport`, `aws:UserAgent`: how the request came.
    pub fn transport(&mut self, address: IpAddr, secure: bool, agent: Option<&'a str>) {
        self.put(Known::SourceIp, Slot::One(Value::Ip(address)));
        self.put(Known::SecureTransport, Slot::One(Value::Bool(secure)));
        if let Some(agent) = agent {
            self.put(Known::UserAgent, Slot::One(agent.into()));
        }
    }

    /// `aws:CurrentTime`, `aws:EpochTime`, `aws:RequestedRegion` and, for callers with a token, `aws:TokenIssueTime`.
    pub fn moment(&mut self, now: i64, token_issued: Option<i64>) {
        self.put(Known::CurrentTime, Slot::One(Value::Time(now)));
        self.put(Known::EpochTime, Slot::One(Value::Number(now)));
        self.put(Known::RequestedRegion, Slot::One(crate::names::REGION.into()));
        if let Some(issued) = token_issued {
            self.put(Known::TokenIssueTime, Slot::One(Value::Time(issued)));
        }
    }

    /// `iam:PermissionsBoundary`: the boundary being given, or the one the touched principal has.
    pub fn permissions_boundary(&mut self, arn: String) {
        self.put(Known::PermissionsBoundary, Slot::One(arn.into()));
    }

    /// `iam:PolicyARN`: the managed policy being attached or detached.
    pub fn policy_arn(&mut self, arn: String) {
        self.put(Known::PolicyArn, Slot::One(arn.into()));
    }

    /// `sagemaker:TargetModel` as text, empty when it is absent; `None` when it has several values or is no text.
    pub(super) fn target(&self) -> Option<&str> {
        match self.known.get(Known::TargetModel as usize) {
            Some(Slot::One(Value::Text(text))) => Some(text),
            Some(Slot::Absent) => Some(""),
            _ => None,
        }
    }

    /// The values of `key`; empty when it is absent.
    pub(super) fn values(&self, key: &Key) -> &[Value<'a>] {
        match &key.0 {
            Place::Known(known) => self.known.get(*known as usize).map_or(&[], Slot::values),
            Place::Tag(tag) => {
                // What was set comes before what the principal has.
                if let Some((_, values)) = self.others.iter().find(|(name, _)| name.strip_prefix(TAG) == Some(tag)) {
                    return values;
                }
                let own = self.tags.binary_search_by(|(name, _)| name.as_ref().cmp(tag));
                own.ok().and_then(|at| self.tag_values.get(at)).map_or(&[], std::slice::from_ref)
            }
            Place::Other(name) => self.others.iter().find(|(other, _)| other == name).map_or(&[], |(_, values)| values),
        }
    }
}
