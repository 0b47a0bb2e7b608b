//! The decision: grants and a request in, allowed or denied with the deciding statements out.
//!
//! An explicit deny in any set wins; then every set present (identity, boundary, session, key) must allow; else the
//! request is denied by default. The only maker of [`Permit`]. Pure, and without allocation when it allows. Next:
//! `service/mod.rs`, which asks before every verb.

use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;

use super::context::Context;
use super::document::Policy;
use super::statement::{Asked, Statement, fold_endpoint};

/// A policy and the name it is known by in decisions: an ARN for managed ones, `owner/name` for inline ones.
#[derive(Debug, Clone)]
pub struct Attached {
    /// How decisions name it.
    pub name: Arc<str>,
    /// The document.
    pub policy: Arc<Policy>,
}

/// Everything that speaks for or against one caller.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// Policies of the user or role and of its groups.
    pub identity: Arc<[Attached]>,
    /// The permission boundary, where there is one; it must allow too.
    pub boundary: Option<Arc<[Attached]>>,
    /// The policies of a session, of a key: each of these sets must allow too.
    pub narrowing: Vec<Arc<[Attached]>>,
}

/// Which of a caller's sets a statement stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Attached to the user or role, or to one of its groups.
    Identity,
    /// The permission boundary.
    Boundary,
    /// The session's or the key's own policy.
    Narrowing,
}

impl Set {
    /// As denials and simulations name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Identity => "identity-based policy",
            Self::Boundary => "permissions boundary",
            Self::Narrowing => "session or key policy",
        }
    }
}

impl Set {
    /// One policy of it, as AWS writes it in a refusal.
    fn one(self) -> &'static str {
        match self {
            Self::Identity => "an identity-based policy",
            Self::Boundary => "a permissions boundary",
            Self::Narrowing => "a session or key policy",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The caller's ARN.
    pub principal: &'a str,
    /// `service:Name`.
    pub action: &'a str,
    /// The ARN it is done to, or `*`.
    pub resource: &'a str,
    /// The condition keys.
    pub context: &'a Context<'a>,
}

/// How it was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every set allows and nothing denies.
    Allowed,
    /// A `Deny` statement applies.
    ExplicitDeny,
    /// Some set has no statement that allows it.
    ImplicitDeny,
}

impl Outcome {
    /// AWS's word in simulations.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::ExplicitDeny => "explicitDeny",
            Self::ImplicitDeny => "implicitDeny",
        }
    }
}

/// A statement that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The set it stands in.
    pub set: Set,
    /// The policy's name.
    pub policy: Arc<str>,
    /// The statement's place in its document, from 1.
    pub statement: usize,
    /// Its Sid, where it has one.
    pub sid: Option<Box<str>>,
}

/// The decision with its reasons.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Allowed or not.
    pub outcome: Outcome,
    /// The statements that decided; empty for an implicit deny.
    pub reasons: Vec<Reason>,
    /// For an implicit deny, the first set in which nothing allows it.
    pub silent: Option<Set>,
}

/// Proof that a policy allowed what is about to be done. Functions that touch data take one, so a verb that forgets
/// to ask does not compile.
#[derive(Debug)]
#[must_use]
pub struct Permit(());

/// A refused request: who wanted what, and why not.
#[derive(Debug, Clone)]
pub struct Denial {
    /// The caller's ARN.
    pub principal: String,
    /// What was asked.
    pub action: String,
    /// Of what.
    pub resource: String,
    /// Why.
    pub decision: Decision,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { principal, action, resource, decision } = self;
        write!(f, "User: {principal} is not authorized to perform: {action} on resource: {resource}")?;
        match (decision.outcome, decision.silent) {
            (Outcome::ImplicitDeny, Some(set)) => write!(f, " because no {} allows the {action} action", set.word()),
            _ => write!(f, " with an explicit deny in {}", decision.reasons.first().map_or("a policy", |reason| reason.set.one())),
        }
    }
}

impl Policy {
    fn reason(statement: &Statement, set: Set, name: &Arc<str>) -> Reason {
        Reason { set, policy: name.clone(), statement: statement.index + 1, sid: statement.sid.clone() }
    }
}

impl Grants {
    /// The fast road: a [`Permit`], or the denial with every reason.
    ///
    /// # Errors
    /// The denial.
    pub fn authorise(&self, request: &Request<'_>) -> Result<Permit, Box<Denial>> {
        if self.ask(request, |_| ()) == Outcome::Allowed {
            return Ok(Permit(()));
        }
        Err(Box::new(Denial {
            principal: request.principal.to_owned(),
            action: request.action.to_owned(),
            resource: request.resource.to_owned(),
            decision: self.explain(request),
        }))
    }

    /// The decision with the statements that made it: all that deny, or the first in each set that allows.
    pub fn explain(&self, request: &Request<'_>) -> Decision {
        let (mut reasons, mut silent) = (Vec::new(), None);
        let outcome = self.ask(request, |seen| match seen {
            Seen::Decides(statement, set, name) => reasons.push(Policy::reason(statement, set, name)),
            Seen::Silent(set) => silent = silent.or(Some(set)),
        });
        if outcome == Outcome::ImplicitDeny {
            reasons.clear();
        }
        Decision { outcome, reasons, silent }
    }

    /// The one evaluation behind both roads; `note` hears of each statement that decides and each set that is silent.
    fn ask(&self, request: &Request<'_>, mut note: impl FnMut(Seen<'_>)) -> Outcome {
        let mut buffer = [0; ACTION_MAX];
        let Some(action) = lower(request.action, &mut buffer) else { return Outcome::ImplicitDeny };
        let folded = fold_endpoint(request.resource);
        let asked = Asked {
            principal: request.principal,
            action,
            resource: folded.as_deref().unwrap_or(request.resource),
            folded: folded.is_some(),
        };
        let look = OnceCell::new();
        let mut denied = false;
        for (set, attached) in self.sets() {
            for statement in attached.policy.denies.that_apply(&asked, request.context, &look) {
                denied = true;
                note(Seen::Decides(statement, set, &attached.name));
            }
        }
        if denied {
            return Outcome::ExplicitDeny;
        }
        let first = |attached: &[Attached], set: Set, note: &mut dyn FnMut(Seen<'_>)| {
            for one in attached {
                if let Some(statement) = one.policy.allows.that_apply(&asked, request.context, &look).next() {
                    note(Seen::Decides(statement, set, &one.name));
                    return true;
                }
            }
            note(Seen::Silent(set));
            false
        };
        let mut allowed = first(&self.identity, Set::Identity, &mut note);
        if let Some(boundary) = &self.boundary {
            allowed &= first(boundary, Set::Boundary, &mut note);
        }
        for narrowing in &self.narrowing {
            allowed &= first(narrowing, Set::Narrowing, &mut note);
        }
        if allowed { Outcome::Allowed } else { Outcome::ImplicitDeny }
    }

    fn sets(&self) -> impl Iterator<Item = (Set, &Attached)> {
        let identity = self.identity.iter().map(|one| (Set::Identity, one));
        let boundary = self.boundary.iter().flat_map(|set| set.iter()).map(|one| (Set::Boundary, one));
        let narrowing = self.narrowing.iter().flat_map(|set| set.iter()).map(|one| (Set::Narrowing, one));
        identity.chain(boundary).chain(narrowing)
    }
}

enum Seen<'a> {
    Decides(&'a Statement, Set, &'a Arc<str>),
    Silent(Set),
}

/// The longest action name; a longer one is no action and nothing allows it.
const ACTION_MAX: usize = 256;

fn lower<'a>(action: &str, buffer: &'a mut [u8; ACTION_MAX]) -> Option<&'a str> {
    let place = buffer.get_mut(..action.len())?;
    place.copy_from_slice(action.as_bytes());
    place.make_ascii_lowercase();
    std::str::from_utf8(place).ok()
}
