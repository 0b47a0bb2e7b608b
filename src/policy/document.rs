//! A policy document, read and checked in one pass into the form that is evaluated.
//!
//! A malformed document is refused here, when it is written, with the line and column and the statement it happens
//! in, so evaluation never meets one. There is no second tree: what parses is what decides. Next: `statement.rs`, what it
//! is read into; `evaluate.rs`.

use std::borrow::Cow;

use super::condition::Condition;
use super::pattern::{Case, Pattern, Syntax};
use super::statement::{Actions, Principals, Resource, Resources, Statement, Statements, fold};
use crate::codec::pull::{Json, Next, Pull};
use crate::error::{Error, Result};
use crate::names::shown;

/// The longest document, in bytes.
pub const DOCUMENT_MAX: usize = 131_072;
/// The most `?` in a new document: each may have to be tried at every character of what is asked about.
const ONES_MAX: usize = 512;

/// What a document is attached to, which decides the elements it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Says what a user, group or role may do: has `Resource`, must not have `Principal`.
    Identity,
    /// Says who may assume a role: has `Principal`, must not have `Resource`.
    Trust,
}

/// A compiled document.
#[derive(Debug)]
pub struct Policy {
    pub(super) denies: Statements,
    pub(super) allows: Statements,
}

/// How a document is read.
#[derive(Debug, Clone, Copy)]
struct Rules {
    kind: Kind,
    /// Bounds that documents were once taken without hold for new ones alone.
    is_new: bool,
}

impl Policy {
    /// Reads `text` as a new document of `kind`.
    ///
    /// # Errors
    /// One sentence with the place (line and column) and the statement: not JSON, a member unknown, missing, twice or of
    /// the wrong type, an unknown operator, a value its operator cannot read; too many `?`.
    pub fn parse(text: &str, kind: Kind) -> Result<Self> {
        Self::read(text, Rules { kind, is_new: true })
    }

    /// Reads `text` as a document that was taken before. Bounds on new ones do not hold for it: a file opens, whatever
    /// rule has come since it was written.
    ///
    /// # Errors
    /// As [`Policy::parse`], but for those bounds.
    pub fn stored(text: &str, kind: Kind) -> Result<Self> {
        Self::read(text, Rules { kind, is_new: false })
    }

    fn read(text: &str, rules: Rules) -> Result<Self> {
        if text.len() > DOCUMENT_MAX {
            return Err(Error::invalid(format!("the policy document is {} bytes long; at most {DOCUMENT_MAX} fit", text.len())));
        }
        let mut json = Json::new(text.as_bytes());
        let mut place = None;
        let result = document(&mut json, rules, &mut place);
        result.map_err(|error| {
            let before = text.as_bytes().get(..place.unwrap_or(json.position()).min(text.len())).unwrap_or_default();
            let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
            let column = before.iter().rev().take_while(|&&b| b != b'\n').count() + 1;
            error.within(format_args!("the policy document is refused at line {line}, column {column}"))
        })
    }

    /// How many statements it has.
    pub fn len(&self) -> usize {
        self.denies.all.len() + self.allows.all.len()
    }

    /// Never true: a document has at least one statement.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A statement as written, before its version is known.
#[derive(Default)]
struct Draft {
    /// Where it begins, in bytes.
    at: usize,
    sid: Option<String>,
    effect: Option<bool>,
    principal: Option<(bool, Vec<String>, bool)>,
    action: Option<(bool, Vec<String>)>,
    resource: Option<(bool, Vec<String>)>,
    conditions: Option<Vec<(String, String, Vec<String>)>>,
    seen: Vec<String>,
}

impl Draft {
    /// How many `?` its patterns have.
    fn ones(&self) -> usize {
        let lists = [&self.action, &self.resource].into_iter().flatten().map(|(_, texts)| texts);
        let conditions = self.conditions.iter().flatten().map(|(_, _, values)| values);
        lists.chain(conditions).flatten().map(|text| text.bytes().filter(|&byte| byte == b'?').count()).sum()
    }
}

/// What is found only when all is read happened at `place`.
fn document(json: &mut Json<'_>, rules: Rules, place: &mut Option<usize>) -> Result<Policy> {
    let (mut version, mut drafts, mut seen) = (None::<String>, None::<Vec<Draft>>, Vec::new());
    json.object(|json, member| {
        once(json, &mut seen, member)?;
        match member {
            "Version" => version = Some(text(json, "Version")?),
            "Id" => text(json, "Id").map(drop)?,
            "Statement" => {
                let mut list = Vec::new();
                if json.peek()? == Next::Object {
                    list.push(draft(json, rules, 0)?);
                } else {
                    json.array(|json, index| {
                        list.push(draft(json, rules, index)?);
                        Ok(())
                    })?;
                }
                drafts = Some(list);
            }
            other => return Err(Error::invalid(format!("`{}` is no member of a policy document", shown(other)))),
        }
        Ok(())
    })?;
    json.end()?;
    let variables = match version.as_deref() {
        Some("2012-10-17") => true,
        Some("2008-10-17") | None => false,
        Some(other) => {
            return Err(Error::invalid(format!("`{}` is no version of the language; use `2012-10-17`", shown(other))));
        }
    };
    let drafts = drafts.filter(|list| !list.is_empty()).ok_or_else(|| Error::invalid("it has no Statement"))?;
    let ones: usize = drafts.iter().map(Draft::ones).sum();
    if rules.is_new && ones > ONES_MAX {
        return Err(Error::invalid(format!("it has {ones} `?`; at most {ONES_MAX} are taken, use `*`")));
    }
    let mut sids: Vec<&str> = drafts.iter().filter_map(|draft| draft.sid.as_deref()).collect();
    sids.sort_unstable();
    if let Some([twice, _]) = sids.array_windows().find(|[a, b]| a == b) {
        return Err(Error::invalid(format!("Sid `{}` is used twice", shown(twice))));
    }
    let (mut denies, mut allows) = (Vec::new(), Vec::new());
    for (index, draft) in drafts.into_iter().enumerate() {
        *place = Some(draft.at);
        let allow = draft.effect;
        let statement =
            compile(draft, index, rules.kind, variables).map_err(|error| error.within(format_args!("statement {}", index + 1)))?;
        if allow == Some(true) { allows.push(statement) } else { denies.push(statement) }
    }
    Ok(Policy { denies: Statements::new(denies), allows: Statements::new(allows) })
}

fn once(json: &Json<'_>, seen: &mut Vec<String>, member: &str) -> Result<()> {
    if seen.iter().any(|earlier| earlier == member) {
        return Err(json.fail(format_args!("`{}` stands twice", shown(member))));
    }
    seen.push(member.to_owned());
    Ok(())
}

fn text(json: &mut Json<'_>, member: &str) -> Result<String> {
    if json.peek()? != Next::String {
        return Err(json.fail(format_args!("`{member}` is not text")));
    }
    json.string().map(Cow::into_owned)
}

/// Text or a list of text; at least one.
fn texts(json: &mut Json<'_>, member: &str) -> Result<Vec<String>> {
    let mut out = Vec::new();
    if json.peek()? == Next::Array {
        json.array(|json, _| {
            out.push(text(json, member)?);
            Ok(())
        })?;
    } else {
        out.push(text(json, member)?);
    }
    if out.is_empty() || out.iter().any(String::is_empty) {
        return Err(json.fail(format_args!("`{member}` is empty")));
    }
    Ok(out)
}

fn draft(json: &mut Json<'_>, rules: Rules, index: usize) -> Result<Draft> {
    json.peek()?;
    let mut draft = Draft { at: json.position(), ..Draft::default() };
    let kind = rules.kind;
    let read = json.object(|json, member| {
        once(json, &mut draft.seen, member)?;
        let negated = member.starts_with("Not");
        match member {
            "Sid" => {
                let sid = text(json, "Sid")?;
                if !sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    return Err(json.fail(format_args!("Sid `{}` has characters other than letters and digits", shown(&sid))));
                }
                draft.sid = Some(sid).filter(|sid| !sid.is_empty());
            }
            "Effect" => {
                draft.effect = match text(json, "Effect")?.as_str() {
                    "Allow" => Some(true),
                    "Deny" => Some(false),
                    other => return Err(json.fail(format_args!("Effect `{}` is neither `Allow` nor `Deny`", shown(other)))),
                }
            }
            "Action" | "NotAction" if draft.action.is_none() => draft.action = Some((negated, texts(json, member)?)),
            "Resource" | "NotResource" if kind == Kind::Trust => {
                return Err(json.fail(format_args!("a trust policy has no `{member}`; it belongs to its role")));
            }
            "Resource" | "NotResource" if draft.resource.is_none() => draft.resource = Some((negated, texts(json, member)?)),
            "Principal" | "NotPrincipal" if kind == Kind::Identity => {
                return Err(json.fail(format_args!("an identity policy has no `{member}`; it belongs to whom it is attached to")));
            }
            "Principal" | "NotPrincipal" if draft.principal.is_none() => {
                let (names, anyone) = principal(json)?;
                draft.principal = Some((negated, names, anyone));
            }
            "Action" | "NotAction" | "Resource" | "NotResource" | "Principal" | "NotPrincipal" => {
                let both = member.trim_start_matches("Not");
                return Err(json.fail(format_args!("it has both `{both}` and `Not{both}`")));
            }
            "Condition" => draft.conditions = Some(conditions(json, rules)?),
            other => return Err(json.fail(format_args!("`{}` is no member of a statement", shown(other)))),
        }
        Ok(())
    });
    read.map_err(|error| error.within(format_args!("statement {}", index + 1)))?;
    Ok(draft)
}

fn principal(json: &mut Json<'_>) -> Result<(Vec<String>, bool)> {
    if json.peek()? == Next::String {
        return match text(json, "Principal")?.as_str() {
            "*" => Ok((Vec::new(), true)),
            other => {
                Err(json.fail(format_args!("Principal `{}` is neither `*` nor an object such as {{\"AWS\": \"arn:…\"}}", shown(other))))
            }
        };
    }
    let (mut names, mut anyone, mut seen) = (Vec::new(), false, Vec::new());
    json.object(|json, kind| {
        once(json, &mut seen, kind)?;
        if !matches!(kind, "AWS" | "Federated" | "Service" | "CanonicalUser") {
            return Err(json.fail(format_args!("`{}` is no kind of principal", shown(kind))));
        }
        for name in texts(json, "Principal")? {
            if kind == "AWS" {
                anyone |= name == "*";
                names.push(name);
            }
        }
        Ok(())
    })?;
    if seen.is_empty() {
        return Err(json.fail("`Principal` is empty"));
    }
    Ok((names, anyone))
}

fn conditions(json: &mut Json<'_>, rules: Rules) -> Result<Vec<(String, String, Vec<String>)>> {
    let (mut out, mut operators) = (Vec::new(), Vec::new());
    json.object(|json, operator| {
        once(json, &mut operators, operator)?;
        let mut keys = Vec::new();
        json.object(|json, key| {
            once(json, &mut keys, &key.to_ascii_lowercase())?;
            if key.is_empty() {
                return Err(json.fail("a condition key is empty"));
            }
            let values = values(json, rules)?;
            // Compiled here once for its errors, so that they carry the place; the version decides the real compilation.
            Condition::compile(operator, key, &values, false).map_err(|error| json.fail(error))?;
            out.push((operator.to_owned(), key.to_owned(), values));
            Ok(())
        })?;
        if keys.is_empty() {
            return Err(json.fail(format_args!("condition `{}` names no key", shown(operator))));
        }
        Ok(())
    })?;
    Ok(out)
}

/// A text, number or boolean, or a list of them; numbers and booleans count as they are written.
fn values(json: &mut Json<'_>, rules: Rules) -> Result<Vec<String>> {
    let one = |json: &mut Json<'_>| -> Result<String> {
        match json.peek()? {
            Next::String => json.string().map(Cow::into_owned),
            Next::Number => {
                let text = json.number_text()?;
                // Rows may hold what JSON has no number for; a document that is stored has to be JSON.
                match serde_json::from_str::<serde_json::Number>(text) {
                    Err(_) if rules.is_new => Err(json.fail(format_args!("`{}` is no number of JSON", shown(text)))),
                    _ => Ok(text.to_owned()),
                }
            }
            Next::Bool => json.boolean().map(|value| value.to_string()),
            _ => Err(json.fail("a condition value is neither text, a number nor a boolean")),
        }
    };
    let mut out = Vec::new();
    if json.peek()? == Next::Array {
        json.array(|json, _| {
            out.push(one(json)?);
            Ok(())
        })?;
    } else {
        out.push(one(json)?);
    }
    if out.is_empty() {
        return Err(json.fail("a condition has no value"));
    }
    Ok(out)
}

fn compile(draft: Draft, index: usize, kind: Kind, variables: bool) -> Result<Statement> {
    let missing = |member: &str| Error::invalid(format!("`{member}` is missing"));
    draft.effect.ok_or_else(|| missing("Effect"))?;
    let (negated, actions) = draft.action.ok_or_else(|| missing("Action"))?;
    let actions = Actions { negated, patterns: actions.iter().map(|text| action(text)).collect::<Result<_>>()? };
    let resources = match (kind, draft.resource) {
        (Kind::Trust, _) => Resources::Holder,
        (Kind::Identity, Some((negated, patterns))) => {
            let patterns = patterns.iter().map(|text| resource(text, variables)).collect::<Result<_>>()?;
            Resources::Named { negated, patterns }
        }
        (Kind::Identity, None) => return Err(missing("Resource")),
    };
    let principals = match (kind, draft.principal) {
        (Kind::Identity, _) => Principals::Holder,
        (Kind::Trust, Some((negated, names, anyone))) => {
            Principals::Named { negated, arns: names.into_iter().map(String::into_boxed_str).collect(), anyone }
        }
        (Kind::Trust, None) => return Err(missing("Principal")),
    };
    let conditions = draft.conditions.unwrap_or_default();
    let conditions = conditions.iter().map(|(operator, key, values)| Condition::compile(operator, key, values, variables));
    let conditions = conditions.collect::<Result<_>>()?;
    Ok(Statement { index, sid: draft.sid.map(String::into_boxed_str), principals, actions, resources, conditions })
}

fn action(text: &str) -> Result<Pattern> {
    let shaped =
        text == "*" || text.split_once(':').is_some_and(|(service, name)| !service.is_empty() && !name.is_empty() && !name.contains(':'));
    if !shaped || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b":*?-_".contains(&b)) {
        return Err(Error::invalid(format!("`{}` is no action; write `service:Name`, such as `sagemaker:InvokeEndpoint`", shown(text))));
    }
    Pattern::compile(text, Syntax { wildcards: true, variables: false }, Case::Lowered)
}

fn resource(text: &str, variables: bool) -> Result<Resource> {
    if text != "*" && !text.starts_with("arn:") && !text.starts_with(['*', '?', '$']) {
        return Err(Error::invalid(format!("resource `{}` is neither `*` nor an ARN", shown(text))));
    }
    // Fields left out at the end stand for any, as with AWS. What has a star in it may reach over them already.
    let left_out = 5_usize.saturating_sub(text.matches(':').count());
    let complete = left_out == 0 || !text.starts_with("arn:") || text.contains(['*', '$']);
    let whole = if complete { Cow::Borrowed(text) } else { Cow::Owned(text.to_owned() + &":*".repeat(left_out)) };
    let text = whole.as_ref();
    let syntax = Syntax { wildcards: true, variables };
    let exact = Pattern::compile(text, syntax, Case::Exact)?;
    let few = text.matches(':').count() < 5;
    let folded = if few { text.to_ascii_lowercase() } else { fold(text) };
    let has_variable = variables && text.contains("${");
    let folded = (folded != text || has_variable).then(|| {
        // A variable's value in the folded part compares without case too.
        Pattern::compile(&folded, syntax, if has_variable { Case::Lowered } else { Case::Exact })
    });
    Ok(Resource { exact, folded: folded.transpose()? })
}
