//! Compiled statements, and whether they apply to what is asked.
//!
//! It must not know how documents are written: `document.rs` reads them into these. Next: `condition.rs`, what a statement
//! asks of the context; `evaluate.rs`, which decides by those that apply.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::condition::Condition;
use super::context::Context;
use super::heads::{Heads, Look};
use super::pattern::Pattern;

/// Statements of one effect, with a first look over what they ask of the target model.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) all: Box<[Statement]>,
    heads: Heads,
}

impl Statements {
    pub(super) fn new(all: Vec<Statement>) -> Self {
        let heads = Heads::new(all.iter().map(Statement::target_head));
        Self { all: all.into(), heads }
    }

    /// Those that apply, in the document's order. `look` is that of the request, made when it is first needed.
    pub(super) fn that_apply<'a>(
        &'a self,
        asked: &'a Asked<'a>,
        context: &'a Context<'a>,
        look: &'a OnceCell<Option<Look>>,
    ) -> impl Iterator<Item = &'a Statement> {
        let look = if self.heads.worth() { look.get_or_init(|| context.target().map(Look::new)).as_ref() } else { None };
        let could = move |index| look.is_none_or(|look| self.heads.could(index, look));
        let one =
            move |(index, statement): (usize, &'a Statement)| (could(index) && statement.applies(asked, context)).then_some(statement);
        self.all.iter().enumerate().filter_map(one)
    }
}

/// A compiled statement.
#[derive(Debug)]
pub(super) struct Statement {
    /// Its place in the document, from 0.
    pub(super) index: usize,
    pub(super) sid: Option<Box<str>>,
    pub(super) principals: Principals,
    pub(super) actions: Actions,
    pub(super) resources: Resources,
    pub(super) conditions: Box<[Condition]>,
}

/// Whom a statement is about.
#[derive(Debug)]
pub(super) enum Principals {
    /// An identity policy: whoever holds it.
    Holder,
    /// `negated` is `NotPrincipal`.
    Named { negated: bool, arns: Box<[Box<str>]>, anyone: bool },
}

/// What may or may not be done.
#[derive(Debug)]
pub(super) struct Actions {
    pub(super) negated: bool,
    pub(super) patterns: Box<[Pattern]>,
}

/// To what.
#[derive(Debug)]
pub(super) enum Resources {
    /// A trust policy: the role it belongs to.
    Holder,
    Named {
        negated: bool,
        patterns: Box<[Resource]>,
    },
}

/// One resource pattern. Endpoint names compare without case, because AWS lower-cases them in ARNs and policies are
/// written with the name as created; `folded` is the pattern for those, where it differs.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) exact: Pattern,
    pub(super) folded: Option<Pattern>,
}

/// What a statement is asked about; `action` in lower case, `folded` as [`fold_endpoint`] gives it.
pub(super) struct Asked<'a> {
    pub(super) principal: &'a str,
    pub(super) action: &'a str,
    pub(super) resource: &'a str,
    pub(super) folded: bool,
}

/// `resource` with the part after the fifth colon in lower case, when it is an endpoint's ARN.
pub(super) fn fold_endpoint(resource: &str) -> Option<Cow<'_, str>> {
    if !resource.starts_with("arn:aws:sagemaker:") {
        return None;
    }
    let mut colons = 0;
    let fifth = resource.bytes().position(|byte| {
        colons += u8::from(byte == b':');
        colons == 5
    })?;
    let tail = resource.get(fifth + 1..)?;
    if !tail.starts_with("endpoint/") {
        return None;
    }
    let low = !tail.bytes().any(|b| b.is_ascii_uppercase());
    Some(if low { Cow::Borrowed(resource) } else { Cow::Owned(fold(resource)) })
}

/// `text` with the part after the fifth colon in lower case.
pub(super) fn fold(text: &str) -> String {
    let tail = text.splitn(6, ':').nth(5).map_or(text.len(), str::len);
    let (head, tail) = text.split_at_checked(text.len() - tail).unwrap_or(("", text));
    format!("{head}{}", tail.to_ascii_lowercase())
}

impl Statement {
    /// What the target model must begin with for it to apply.
    fn target_head(&self) -> &str {
        self.conditions.iter().map(Condition::target_head).max_by_key(|head| head.len()).unwrap_or_default()
    }

    fn applies(&self, asked: &Asked<'_>, context: &Context<'_>) -> bool {
        // Cheapest and most telling first: of a thousand statements for one endpoint, the condition tells them apart.
        self.actions.hold(asked.action, context)
            && self.conditions.iter().all(|condition| condition.holds(context))
            && self.resources.hold(asked, context)
            && self.principals.hold(asked.principal)
    }
}

impl Principals {
    fn hold(&self, principal: &str) -> bool {
        match self {
            Self::Holder => true,
            Self::Named { negated, arns, anyone } => (*anyone || arns.iter().any(|arn| names_principal(arn, principal))) != *negated,
        }
    }
}

/// Whether a `Principal` value names the caller: its ARN, its account, or the role behind its session.
fn names_principal(value: &str, principal: &str) -> bool {
    let account = crate::names::ACCOUNT;
    if value == principal || value == account || value.strip_prefix("arn:aws:iam::").and_then(|v| v.strip_suffix(":root")) == Some(account)
    {
        return true;
    }
    let session = principal.strip_prefix("arn:aws:sts::").and_then(|rest| rest.split_once(":assumed-role/"));
    session.is_some_and(|(account, rest)| {
        let role = rest.split('/').next().unwrap_or_default();
        value.strip_prefix("arn:aws:iam::").and_then(|v| v.strip_prefix(account)).and_then(|v| v.strip_prefix(":role/")) == Some(role)
    })
}

impl Actions {
    fn hold(&self, action: &str, context: &Context<'_>) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(action, context)) != self.negated
    }
}

impl Resources {
    fn hold(&self, asked: &Asked<'_>, context: &Context<'_>) -> bool {
        match self {
            Self::Holder => true,
            Self::Named { negated, patterns } => patterns.iter().any(|pattern| pattern.matches(asked, context)) != *negated,
        }
    }
}

impl Resource {
    fn matches(&self, asked: &Asked<'_>, context: &Context<'_>) -> bool {
        let pattern = if asked.folded { self.folded.as_ref().unwrap_or(&self.exact) } else { &self.exact };
        pattern.matches(asked.resource, context)
    }
}
