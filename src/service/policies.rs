//! Managed policies: documents that several principals share.
//!
//! Next: `principals.rs`, which attaches them.

use std::sync::Arc;

use super::principals::within_boundary;
use super::{PageOf, Service};
use crate::authn::Caller;
use crate::authn::directory::Managed;
use crate::error::{Error, Kind, Result};
use crate::names::{Name, Noun};
use crate::policy::{Kind as PolicyKind, Policy};
use crate::store::policies as kept;

impl Service {
    /// Makes a managed policy or gives it a new document. Returns whether it is new.
    ///
    /// # Errors
    /// Denied, malformed, or the caller's own boundary.
    pub fn put_policy(&self, caller: &Caller, name: &str, document: &str) -> Result<bool> {
        let name = self.canonical(Noun::Policy, name)?;
        let arn = Noun::Policy.arn(name.as_str());
        let exists = self.snapshot.load().directory.managed(name.as_str()).is_some();
        let action = if exists { "iam:CreatePolicyVersion" } else { "iam:CreatePolicy" };
        let permit = self.authorise(caller, action, &arn, |_| ()).map_err(|denied| {
            // Whoever may not see the policy is not told by the action's name that it is there.
            let hidden = !self.may(caller, "iam:GetPolicy", &arn);
            let new = if hidden { self.decide(caller, "iam:CreatePolicy", &arn, |_| ()).err() } else { None };
            new.unwrap_or(denied)
        })?;
        Policy::parse(document, PolicyKind::Identity)?;
        if caller.principal().boundary.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name.as_str())) {
            return Err(Error::new(Kind::Denied, format!("`{name}` is your own permissions boundary; ask an administrator without one")));
        }
        self.change(&permit, caller, action, &arn, |tx| {
            self.guard_holders(caller, &name)?;
            // Making and changing are different permissions, so it must still be the one that was asked for.
            if kept::put(tx, &name, document)? == exists {
                return Err(Error::conflict(format!("policy `{name}` was made or deleted a moment ago; send the request again")));
            }
            Ok(!exists)
        })
    }

    /// A new document reaches whoever has the policy or is bounded by it, so a bounded caller must be free to manage all
    /// of them.
    fn guard_holders(&self, caller: &Caller, name: &Name) -> Result<()> {
        let snapshot = self.snapshot.load_full();
        let is = |policy: &String| policy.eq_ignore_ascii_case(name.as_str());
        for noun in [Noun::User, Noun::Role] {
            let holders = snapshot.directory.all(noun).into_iter().filter(|one| one.attached.iter().chain(&one.boundary).any(is));
            within_boundary(caller, holders.map(|one| one.boundary.as_deref()))?;
        }
        for group in snapshot.directory.all(Noun::Group).into_iter().filter(|one| one.attached.iter().any(is)) {
            self.guard(caller, Noun::Group, &group.name)?;
        }
        Ok(())
    }

    /// One managed policy.
    ///
    /// # Errors
    /// Denied, not there.
    pub fn policy(&self, caller: &Caller, name: &str) -> Result<Arc<Managed>> {
        let name = self.canonical(Noun::Policy, name)?;
        let _permit = self.authorise(caller, "iam:GetPolicy", &Noun::Policy.arn(name.as_str()), |_| ())?;
        let found = self.snapshot.load().directory.managed(name.as_str()).cloned();
        found.ok_or_else(|| Error::not_found(format!("there is no policy `{name}`")))
    }

    /// Up to `count` managed policies after the name `after`, by name.
    ///
    /// # Errors
    /// Denied.
    pub fn policies(&self, caller: &Caller, after: &str, count: usize) -> Result<PageOf<Arc<Managed>>> {
        let _permit = self.authorise(caller, "iam:ListPolicies", &Noun::Policy.arn("*"), |_| ())?;
        Ok(PageOf::cut(self.snapshot.load().directory.all_managed(), |one| &one.record.name, after, count))
    }

    /// Removes a managed policy nobody has.
    ///
    /// # Errors
    /// Denied, not there, in use.
    pub fn delete_policy(&self, caller: &Caller, name: &str) -> Result<()> {
        let name = self.canonical(Noun::Policy, name)?;
        let arn = Noun::Policy.arn(name.as_str());
        let permit = self.authorise(caller, "iam:DeletePolicy", &arn, |_| ())?;
        self.change(&permit, caller, "iam:DeletePolicy", &arn, |tx| kept::delete(tx, &name))
    }
}
