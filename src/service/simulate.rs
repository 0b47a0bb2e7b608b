//! Who could do what: a request decided without being made, with the statements that decide.
//!
//! Two ways: for a principal of the file, or with documents given outright, which needs no file at all. Next:
//! `policy/evaluate.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Service;
use crate::authn::Caller;
use crate::error::{Error, Kind, Result};
use crate::names::{Name, Noun, shown};
use crate::policy::{Attached, Context, Decision, Grants, Kind as PolicyKind, Policy, Request, Value};

/// A value or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// Several. Tried first: a list is a value too.
    Many(Vec<serde_json::Value>),
    /// One value.
    One(serde_json::Value),
}

/// The request to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// A user or role: its name or ARN. With documents, any ARN; what it tells is in the context unless that says otherwise.
    #[serde(default)]
    pub principal: String,
    /// `service:Name`.
    pub action: String,
    /// An ARN.
    #[serde(default = "any")]
    pub resource: String,
    /// Condition keys, besides those the principal brings.
    #[serde(default)]
    pub context: BTreeMap<String, OneOrMany>,
}

fn any() -> String {
    "*".to_owned()
}

/// The decision as it is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// `allowed`, `explicitDeny` or `implicitDeny`.
    pub decision: &'static str,
    /// Whether it is allowed.
    pub allowed: bool,
    /// The statements that decided.
    pub statements: Vec<Decisive>,
    /// For an implicit deny: the set in which nothing allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<&'static str>,
}

/// A statement that decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decisive {
    /// The policy.
    pub policy: String,
    /// Its place in the document, from 1.
    pub statement: usize,
    /// Its Sid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The set it stands in.
    pub set: &'static str,
}

impl From<Decision> for Told {
    fn from(decision: Decision) -> Self {
        let decisive = |reason: crate::policy::Reason| Decisive {
            policy: reason.policy.to_string(),
            statement: reason.statement,
            sid: reason.sid.map(String::from),
            set: reason.set.word(),
        };
        Self {
            decision: decision.outcome.word(),
            allowed: decision.outcome == crate::policy::Outcome::Allowed,
            statements: decision.reasons.into_iter().map(decisive).collect(),
            missing: decision.silent.filter(|_| decision.outcome == crate::policy::Outcome::ImplicitDeny).map(crate::policy::Set::word),
        }
    }
}

fn fill<'a>(context: &mut Context<'a>, asked: &'a BTreeMap<String, OneOrMany>) {
    fn value(json: &serde_json::Value) -> Value<'_> {
        match json {
            serde_json::Value::String(text) => Value::from(text.as_str()),
            other => Value::from(other.to_string()),
        }
    }
    for (key, values) in asked {
        let values = match values {
            OneOrMany::One(one) => vec![value(one)],
            OneOrMany::Many(many) => many.iter().map(value).collect(),
        };
        context.set(key, values);
    }
}

/// Fills what the server would from a principal's name alone, and returns the ARN that is named: `aws:PrincipalArn`,
/// `aws:PrincipalAccount` and, of a user, `aws:username`. Its id and tags are known only to a file.
fn name_principal(context: &mut Context<'_>, named: &str) -> String {
    // A plain name is a user's, as with a file.
    let arn = if Name::parse(named).is_ok() { Noun::User.arn(named) } else { named.to_owned() };
    let mut parts = arn.splitn(6, ':').skip(2);
    let (service, account, resource) = (parts.next(), parts.nth(1), parts.next());
    let (Some(service), Some(account), Some(resource)) = (service, account, resource) else { return arn };
    let (kind, name) = resource.split_once('/').unwrap_or((resource, ""));
    let principal = match (service, kind) {
        ("iam", "user") => {
            // Paths before the name are not part of it.
            let name = name.rsplit('/').next().unwrap_or(name);
            context.set("aws:username", vec![name.to_owned().into()]);
            arn.clone()
        }
        // A session is told as its role.
        ("sts", "assumed-role") => {
            let role = name.split('/').next().unwrap_or(name);
            arn.replacen(":sts:", ":iam:", 1).replacen(&format!("assumed-role/{name}"), &format!("role/{role}"), 1)
        }
        _ => arn.clone(),
    };
    context.set("aws:PrincipalAccount", vec![account.to_owned().into()]);
    context.set("aws:PrincipalArn", vec![principal.into()]);
    arn
}

/// Decides `asked` by `documents` alone: each is a name and its text.
///
/// # Errors
/// [`Kind::Validation`] naming the document that is malformed.
pub fn by_documents(documents: &[(String, String)], asked: &Asked) -> Result<Told> {
    let mut identity = Vec::new();
    for (name, text) in documents {
        let policy = Policy::parse(text, PolicyKind::Identity).map_err(|error| error.within(format_args!("`{}`", shown(name))))?;
        identity.push(Attached { name: name.as_str().into(), policy: Arc::new(policy) });
    }
    let mut context = Context::new();
    let principal = name_principal(&mut context, &asked.principal);
    fill(&mut context, &asked.context);
    let grants = Grants { identity: identity.into(), ..Grants::default() };
    let request = Request { principal: &principal, action: &asked.action, resource: &asked.resource, context: &context };
    Ok(grants.explain(&request).into())
}

impl Service {
    /// Decides `asked` for a principal of the file.
    ///
    /// # Errors
    /// Denied, no such principal.
    pub fn simulate(&self, caller: &Caller, asked: &Asked) -> Result<Told> {
        let named = asked.principal.as_str();
        let snapshot = self.snapshot.load();
        let directory = &snapshot.directory;
        let (noun, name) = match named.split_once(":user/").or_else(|| named.split_once(":role/")) {
            Some((head, name)) => {
                (if named.get(head.len()..).is_some_and(|tail| tail.starts_with(":role/")) { Noun::Role } else { Noun::User }, name)
            }
            None if directory.find(Noun::User, named).is_none() && directory.find(Noun::Role, named).is_some() => (Noun::Role, named),
            None => (Noun::User, named),
        };
        let principal = directory.find(noun, name);
        let kept = principal.map_or(name, |principal| principal.name.as_str());
        let _permit = self.authorise(caller, "iam:SimulatePrincipalPolicy", &noun.arn(kept), |_| ())?;
        let principal = principal.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no user or role `{}`", shown(named))))?;
        let mut context = Context::new();
        context.principal(
            Some(&principal.name).filter(|_| noun == Noun::User).map(String::as_str),
            &principal.unique_id,
            &principal.arn,
            &principal.tags,
        );
        context.moment(crate::store::now(), None);
        fill(&mut context, &asked.context);
        let request = Request { principal: &principal.arn, action: &asked.action, resource: &asked.resource, context: &context };
        Ok(principal.grants.explain(&request).into())
    }
}
