//! Users, groups and roles: who they are and what is attached to them.
//!
//! A caller who is bounded by a permissions boundary can hand out no more than it: whom they make gets the same
//! boundary, and they can touch only principals that have it. The rest of the rules are `iam:` actions in policies.
//! Next: `policies.rs` for managed policies, `access.rs` for how a write becomes visible.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{PageOf, Service};
use crate::authn::directory::{ADMINISTRATOR_DOCUMENT, Directory, Principal};
use crate::authn::{Caller, hash_password, random};
use crate::error::{Error, Kind, Result};
use crate::names::{Name, Noun};
use crate::policy::{Kind as PolicyKind, Permit, Policy};
use crate::store::principals::{self as kept, NewPrincipal};
use crate::store::{Tx, policies};

/// The managed policy that makes an administrator.
pub const ADMINISTRATOR: &str = "AdministratorAccess";

/// A principal to be made.
#[derive(Debug, Clone, Default)]
pub struct NewOne<'a> {
    /// Users: a password, if they sign in with one.
    pub password: Option<&'a str>,
    /// Users: everything is allowed.
    pub administrator: bool,
    /// Tags.
    pub tags: HashMap<String, String>,
    /// The managed policy that bounds it.
    pub boundary: Option<&'a str>,
    /// Roles: who may assume it.
    pub trust: Option<&'a str>,
}

/// A change to a principal.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Users: a new password, or none. Ends every token and session.
    Password(Option<&'a str>),
    /// Users: may not sign in. Ends every token and session.
    Disabled(bool),
    /// New tags instead of the old.
    Tags(&'a HashMap<String, String>),
    /// A boundary, or none.
    Boundary(Option<&'a str>),
    /// Roles: who may assume it.
    Trust(&'a str),
    /// Attaches a managed policy.
    Attach(&'a str),
    /// Detaches a managed policy.
    Detach(&'a str),
    /// Sets an inline policy: name and document.
    PutInline(&'a str, &'a str),
    /// Removes an inline policy.
    DeleteInline(&'a str),
    /// Groups: adds a user.
    AddMember(&'a str),
    /// Groups: removes a user.
    RemoveMember(&'a str),
}

impl Change<'_> {
    /// The action it asks for. A first password, another one and none are told apart, as AWS does.
    fn action(self, noun: Noun, has_password: bool) -> String {
        let title = title(noun);
        match self {
            Self::Password(Some(_)) if has_password => "iam:UpdateLoginProfile".to_owned(),
            Self::Password(Some(_)) => "iam:CreateLoginProfile".to_owned(),
            Self::Password(None) => "iam:DeleteLoginProfile".to_owned(),
            Self::Disabled(_) => format!("iam:Update{title}"),
            Self::Tags(_) => format!("iam:Tag{title}"),
            Self::Boundary(Some(_)) => format!("iam:Put{title}PermissionsBoundary"),
            Self::Boundary(None) => format!("iam:Delete{title}PermissionsBoundary"),
            Self::Trust(_) => "iam:UpdateAssumeRolePolicy".to_owned(),
            Self::Attach(_) => format!("iam:Attach{title}Policy"),
            Self::Detach(_) => format!("iam:Detach{title}Policy"),
            Self::PutInline(..) => format!("iam:Put{title}Policy"),
            Self::DeleteInline(_) => format!("iam:Delete{title}Policy"),
            Self::AddMember(_) => "iam:AddUserToGroup".to_owned(),
            Self::RemoveMember(_) => "iam:RemoveUserFromGroup".to_owned(),
        }
    }

    fn fits(self, noun: Noun) -> Result<()> {
        let fits = match self {
            Self::Password(_) | Self::Disabled(_) => noun == Noun::User,
            Self::AddMember(_) | Self::RemoveMember(_) => noun == Noun::Group,
            Self::Tags(_) | Self::Boundary(_) => noun != Noun::Group,
            Self::Trust(_) => noun == Noun::Role,
            _ => true,
        };
        if fits { Ok(()) } else { Err(Error::invalid(format!("a {} has no such setting", noun.word()))) }
    }
}

fn title(noun: Noun) -> &'static str {
    match noun {
        Noun::User => "User",
        Noun::Group => "Group",
        Noun::Role => "Role",
        Noun::Policy => "Policy",
    }
}

/// One of them as it is shown wherever it is.
pub fn shown(principal: &Principal) -> Value {
    let mut shown = json!({
        "name": principal.name, "arn": principal.arn, "id": principal.unique_id, "createdAt": principal.created_at,
        "tags": principal.tags.iter().cloned().collect::<HashMap<_, _>>(), "permissionsBoundary": principal.boundary,
        "attachedPolicies": principal.attached, "inlinePolicies": principal.inline.iter().map(|(name, _)| name).collect::<Vec<_>>(),
    });
    if let Some(shown) = shown.as_object_mut() {
        match principal.noun {
            Noun::User => {
                shown.insert("groups".to_owned(), json!(principal.groups));
                shown.insert("disabled".to_owned(), json!(principal.disabled));
                shown.insert("hasPassword".to_owned(), json!(principal.password_hash.is_some()));
            }
            Noun::Group => drop(shown.insert("members".to_owned(), json!(principal.groups))),
            _ => drop(shown.insert("trustPolicy".to_owned(), principal.trust.as_deref().map_or(Value::Null, document))),
        }
    }
    shown
}

/// A stored document as JSON, as it was written; it was parsed before it was stored.
fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// An inline policy.
#[derive(Debug, Clone)]
pub struct Inline {
    /// What kind of principal has it.
    pub noun: Noun,
    /// Whose it is.
    pub holder: String,
    /// Its name there.
    pub name: String,
    /// Its document.
    pub document: String,
}

impl Inline {
    /// As it is shown.
    pub fn shown(&self) -> Value {
        json!({ self.noun.word(): self.holder, "name": self.name, "document": document(&self.document) })
    }
}

/// Refuses a bounded caller what would reach beyond its boundary: every one of `touched` must have the same.
pub(super) fn within_boundary<'a>(caller: &Caller, mut touched: impl Iterator<Item = Option<&'a str>>) -> Result<()> {
    let Some(own) = caller.principal().boundary.as_deref() else { return Ok(()) };
    if touched.all(|boundary| boundary.is_some_and(|boundary| boundary.eq_ignore_ascii_case(own))) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Denied,
        format!(
            "your permissions boundary `{own}` lets you manage only users and roles that it bounds too; ask an administrator without a boundary"
        ),
    ))
}

impl Service {
    /// Asks for an `iam:` action on a principal, telling the policy its boundary.
    fn authorise_principal(&self, caller: &Caller, action: &str, noun: Noun, name: &str, change: Option<Change<'_>>) -> Result<Permit> {
        let snapshot = self.snapshot.load();
        let found = snapshot.directory.find(noun, name);
        let boundary = match change {
            Some(Change::Boundary(Some(boundary))) => Some(boundary.to_owned()),
            _ => found.and_then(|principal| principal.boundary.clone()),
        };
        self.authorise(caller, action, &noun.arn(name), |context| {
            if let Some(boundary) = boundary {
                context.permissions_boundary(self.policy_arn(&boundary));
            }
            if let Some(Change::Attach(policy) | Change::Detach(policy)) = change {
                context.policy_arn(self.policy_arn(policy));
            }
        })
    }

    /// The name as it is kept: records are found without regard to case, and a policy must not be passed by by another
    /// spelling.
    pub(super) fn canonical(&self, noun: Noun, name: &str) -> Result<Name> {
        let snapshot = self.snapshot.load();
        let kept = match noun {
            Noun::Policy => snapshot.directory.managed(name).map(|managed| managed.record.name.as_str()),
            _ => snapshot.directory.find(noun, name).map(|principal| principal.name.as_str()),
        };
        Name::parse(kept.unwrap_or(name))
    }

    fn policy_arn(&self, name: &str) -> String {
        self.canonical(Noun::Policy, name).map_or_else(|_| Noun::Policy.arn(name), |name| Noun::Policy.arn(name.as_str()))
    }

    /// Makes a user, group or role.
    ///
    /// # Errors
    /// Denied, malformed, the name taken.
    pub fn create_principal(&self, caller: &Caller, noun: Noun, name: &str, new: &NewOne<'_>) -> Result<Arc<Principal>> {
        let name = self.canonical(noun, name)?;
        let action = format!("iam:Create{}", title(noun));
        let boundary = new.boundary.map(str::to_owned).or_else(|| caller.principal().boundary.clone().filter(|_| noun != Noun::Group));
        let arn = noun.arn(name.as_str());
        let permit = self.authorise(caller, &action, &arn, |context| {
            if let Some(boundary) = &boundary {
                context.permissions_boundary(self.policy_arn(boundary));
            }
        })?;
        within_boundary(caller, [boundary.as_deref()].into_iter().filter(|_| noun != Noun::Group))?;
        // What comes with it is asked for as if it was there already, boundary and all.
        let with = |action: &str, policy: Option<String>| {
            self.authorise(caller, action, &arn, |context| {
                if let Some(boundary) = &boundary {
                    context.permissions_boundary(self.policy_arn(boundary));
                }
                if let Some(policy) = policy {
                    context.policy_arn(policy);
                }
            })
        };
        if new.administrator {
            let _attach = with("iam:AttachUserPolicy", Some(Noun::Policy.arn(ADMINISTRATOR)))?;
        }
        if new.password.is_some() {
            let _sign_in = with("iam:CreateLoginProfile", None)?;
        }
        if !new.tags.is_empty() {
            let _tag = with(&format!("iam:Tag{}", title(noun)), None)?;
        }
        if noun != Noun::User && (new.password.is_some() || new.administrator) {
            return Err(Error::invalid(format!("a {} has no password and cannot be made administrator; attach a policy", noun.word())));
        }
        if let Some(trust) = new.trust {
            Policy::parse(trust, PolicyKind::Trust)?;
        }
        if (noun == Noun::Role) != new.trust.is_some() {
            return Err(Error::invalid("a role has a trust policy (who may assume it), a user and a group have none"));
        }
        let password_hash = new.password.map(|password| self.hashed(caller, password)).transpose()?;
        let tags = Self::tags_json(&new.tags)?;
        let boundary = boundary.as_deref().map(Name::parse).transpose()?;
        let unique_id = unique_id(noun)?;
        self.change(&permit, caller, &action, &arn, |tx| {
            kept::create(
                tx,
                &NewPrincipal {
                    noun,
                    name: &name,
                    unique_id: &unique_id,
                    tags: &tags,
                    boundary: boundary.as_ref(),
                    trust: new.trust,
                    password_hash: password_hash.as_deref(),
                },
            )?;
            if new.administrator { make_administrator(tx, &name) } else { Ok(()) }
        })?;
        self.found(noun, name.as_str())
    }

    /// The hash of a new password; as dear as checking one, and bounded with that.
    fn hashed(&self, caller: &Caller, password: &str) -> Result<String> {
        let _place = self.passwords.place(&caller.principal().arn)?;
        hash_password(password)
    }

    /// Whether a user signs in with a password.
    fn has_password(&self, name: &str) -> bool {
        self.snapshot.load().directory.find(Noun::User, name).is_some_and(|user| user.password_hash.is_some())
    }

    fn found(&self, noun: Noun, name: &str) -> Result<Arc<Principal>> {
        let found = self.snapshot.load().directory.find(noun, name).cloned();
        found.ok_or_else(|| Error::not_found(format!("there is no {} `{}`", noun.word(), crate::names::shown(name))))
    }

    /// One of them.
    ///
    /// # Errors
    /// Denied, not there.
    pub fn principal(&self, caller: &Caller, noun: Noun, name: &str) -> Result<Arc<Principal>> {
        let name = self.canonical(noun, name)?;
        let _permit = self.authorise(caller, &format!("iam:Get{}", title(noun)), &noun.arn(name.as_str()), |_| ())?;
        self.found(noun, name.as_str())
    }

    /// An inline policy of one of them.
    ///
    /// # Errors
    /// Denied, neither there.
    pub fn inline_policy(&self, caller: &Caller, noun: Noun, name: &str, policy: &str) -> Result<Inline> {
        let (name, policy) = (self.canonical(noun, name)?, Name::parse(policy)?);
        let _permit = self.authorise(caller, &format!("iam:Get{}Policy", title(noun)), &noun.arn(name.as_str()), |_| ())?;
        let holder = self.found(noun, name.as_str())?;
        let found = holder.inline.iter().find(|(name, _)| name.eq_ignore_ascii_case(policy.as_str()));
        let (name, document) =
            found.cloned().ok_or_else(|| Error::not_found(format!("{} `{name}` has no policy `{policy}`", noun.word())))?;
        Ok(Inline { noun, holder: holder.name.clone(), name, document })
    }

    /// Up to `count` of a kind after the name `after`, by name.
    ///
    /// # Errors
    /// Denied.
    pub fn principals(&self, caller: &Caller, noun: Noun, after: &str, count: usize) -> Result<PageOf<Arc<Principal>>> {
        let _permit = self.authorise(caller, &format!("iam:List{}s", title(noun)), &noun.arn("*"), |_| ())?;
        Ok(PageOf::cut(self.snapshot.load().directory.all(noun), |one| &one.name, after, count))
    }

    /// Removes one, with its inline policies, keys, sessions and memberships.
    ///
    /// # Errors
    /// Denied, not there, the last administrator, one by whose rights an endpoint reads its models.
    pub fn delete_principal(&self, caller: &Caller, noun: Noun, name: &str) -> Result<()> {
        let name = self.canonical(noun, name)?;
        let action = format!("iam:Delete{}", title(noun));
        let permit = self.authorise_principal(caller, &action, noun, name.as_str(), None)?;
        self.change(&permit, caller, &action, &noun.arn(name.as_str()), |tx| {
            self.guard(caller, noun, name.as_str())?;
            self.makes_nothing(caller, tx, noun, name.as_str())?;
            kept::delete(tx, noun, &name)
        })
    }

    /// For a bounded caller: the principal, and of a group every member, must be bounded alike. Asked inside the write,
    /// so that nobody moves a boundary in between.
    pub(super) fn guard(&self, caller: &Caller, noun: Noun, name: &str) -> Result<()> {
        let snapshot = self.snapshot.load();
        let directory: &Directory = &snapshot.directory;
        let Some(found) = directory.find(noun, name) else { return Ok(()) };
        if noun == Noun::Group {
            let members = found.groups.iter().filter_map(|user| directory.find(Noun::User, user));
            return within_boundary(caller, members.map(|user| user.boundary.as_deref()));
        }
        within_boundary(caller, [found.boundary.as_deref()].into_iter())
    }

    /// Carries out one change to one of them.
    ///
    /// # Errors
    /// Denied, not there, malformed, the last administrator.
    pub fn change_principal(&self, caller: &Caller, noun: Noun, name: &str, change: Change<'_>) -> Result<()> {
        let name = self.canonical(noun, name)?;
        change.fits(noun)?;
        let had_password = self.has_password(name.as_str());
        let action = change.action(noun, had_password);
        let permit = self.authorise_principal(caller, &action, noun, name.as_str(), Some(change)).map_err(|denied| {
            // Whoever may not see the user is not told by the action's name whether there is a password.
            let hidden = !self.may(caller, "iam:GetUser", &noun.arn(name.as_str()));
            let plain = change.action(noun, true);
            let other = if hidden && plain != action { self.decide(caller, &plain, &noun.arn(name.as_str()), |_| ()).err() } else { None };
            other.unwrap_or(denied)
        })?;
        if let Change::Boundary(boundary) = change {
            within_boundary(caller, [boundary].into_iter())?;
        }
        if let Change::PutInline(_, document) = change {
            Policy::parse(document, PolicyKind::Identity)?;
        }
        if let Change::Trust(document) = change {
            Policy::parse(document, PolicyKind::Trust)?;
        }
        let hash = match change {
            Change::Password(Some(password)) => Some(self.hashed(caller, password)?),
            _ => None,
        };
        let resource = noun.arn(name.as_str());
        self.change(&permit, caller, &action, &resource, |tx| {
            self.guard(caller, noun, name.as_str())?;
            if let Change::AddMember(user) = change {
                self.guard(caller, Noun::User, user)?;
            }
            // Giving a password and changing it are different permissions, so it must still be the one that was asked for.
            if matches!(change, Change::Password(Some(_))) && self.has_password(name.as_str()) != had_password {
                return Err(Error::conflict(format!("the password of `{name}` was set or removed a moment ago; send the request again")));
            }
            match change {
                Change::Password(_) => kept::set_password(tx, &name, hash.as_deref()),
                Change::Disabled(disabled) => kept::set_disabled(tx, &name, disabled),
                Change::Tags(tags) => kept::set_tags(tx, noun, &name, &Self::tags_json(tags)?),
                Change::Boundary(boundary) => kept::set_boundary(tx, noun, &name, boundary.map(Name::parse).transpose()?.as_ref()),
                Change::Trust(document) => kept::set_trust(tx, &name, document),
                Change::Attach(policy) => kept::attach(tx, noun, &name, &Name::parse(policy)?),
                Change::Detach(policy) => kept::detach(tx, noun, &name, &Name::parse(policy)?),
                Change::PutInline(policy, document) => kept::put_inline(tx, noun, &name, &Name::parse(policy)?, document),
                Change::DeleteInline(policy) => kept::delete_inline(tx, noun, &name, &Name::parse(policy)?),
                Change::AddMember(user) => kept::add_member(tx, &name, &Name::parse(user)?),
                Change::RemoveMember(user) => kept::remove_member(tx, &name, &Name::parse(user)?),
            }
        })
    }
}

/// Attaches the policy that allows everything, making it on first use.
fn make_administrator(tx: &Tx<'_>, user: &Name) -> Result<()> {
    let policy = Name::parse(ADMINISTRATOR)?;
    match policies::all(tx)?.iter().find(|managed| managed.name.eq_ignore_ascii_case(ADMINISTRATOR)) {
        None => policies::put(tx, &policy, ADMINISTRATOR_DOCUMENT).map(drop)?,
        Some(managed) if managed.document == ADMINISTRATOR_DOCUMENT => {}
        Some(managed) => {
            let name = &managed.name;
            return Err(Error::conflict(format!(
                "policy `{name}` says something else than allowing everything; attach another one instead"
            )));
        }
    }
    kept::attach(tx, Noun::User, user, &policy)
}

/// `aws:userid`, as AWS shapes it: a kind's prefix and 16 characters.
fn unique_id(noun: Noun) -> Result<String> {
    let prefix = match noun {
        Noun::User => "AIDA",
        Noun::Group => "AGPA",
        Noun::Role => "AROA",
        Noun::Policy => "ANPA",
    };
    let mut id = prefix.to_owned();
    for byte in random::<16>()? {
        id.push(char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".get(usize::from(byte % 32)).copied().unwrap_or(b'A')));
    }
    Ok(id)
}
