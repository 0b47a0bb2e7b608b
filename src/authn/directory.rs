//! Who exists, as one immutable picture in memory: principals with their compiled policies, keys, ended tokens.
//!
//! Read from the store whole; a write makes the next picture in its own transaction, and compiled policies are taken
//! over from the last one by their text. Must not decide or identify. Next: `service/access.rs`, which swaps it.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use crate::error::{Error, Kind, Result};
use crate::metrics::{Metrics, SeriesMetrics};
use crate::names::Noun;
use crate::policy::{Attached, Grants, Kind as PolicyKind, Policy};
use crate::store::keys::{self, KeyKind};
use crate::store::{Read, policies, principals, sessions};

/// The document behind `--admin`: everything.
pub const ADMINISTRATOR_DOCUMENT: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

/// A user, group or role with everything that speaks for it.
#[derive(Debug)]
pub struct Principal {
    /// Its row in the store.
    pub row: i64,
    /// User, group or role.
    pub noun: Noun,
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// `aws:userid`.
    pub unique_id: String,
    /// `aws:PrincipalTag/*`: names lower-case, sorted.
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// Its own policies and its groups', and its boundary.
    pub grants: Grants,
    /// The name of the managed policy that bounds it.
    pub boundary: Option<String>,
    /// Users: the groups it is in. Groups: the users in it.
    pub groups: Vec<String>,
    /// Managed policies attached to itself.
    pub attached: Vec<String>,
    /// Inline policies of its own: name and document.
    pub inline: Vec<(String, String)>,
    /// Roles: the trust policy.
    pub trust: Option<String>,
    /// Users: PHC string.
    pub password_hash: Option<String>,
    /// Users: may not sign in.
    pub disabled: bool,
    /// Users: tokens of earlier generations have ended.
    pub generation: i64,
    /// When it was made.
    pub created_at: i64,
    /// What is counted of it.
    pub metrics: Arc<SeriesMetrics>,
}

/// A key with what it may do.
#[derive(Debug)]
pub struct Key {
    /// The record.
    pub record: keys::Key,
    /// Its user.
    pub user: Arc<Principal>,
    /// The user's grants narrowed by the key's own policy, if it has one.
    pub narrowed: Option<Grants>,
}

/// A managed policy.
#[derive(Debug)]
pub struct Managed {
    /// The record.
    pub record: policies::Managed,
    /// Compiled.
    pub policy: Arc<Policy>,
}

/// The picture.
#[derive(Debug)]
pub struct Directory {
    users: HashMap<String, Arc<Principal>>,
    groups: HashMap<String, Arc<Principal>>,
    roles: HashMap<String, Arc<Principal>>,
    rows: HashMap<i64, Arc<Principal>>,
    unique_ids: HashMap<String, Arc<Principal>>,
    keys: HashMap<String, Arc<Key>>,
    managed: HashMap<String, Arc<Managed>>,
    revoked: HashSet<String>,
    compiled: HashMap<String, Arc<Policy>>,
    /// Whoever opens the file on this machine.
    pub(super) file: Arc<Principal>,
}

/// Compiles documents, taking over what the last picture had.
struct Compiler<'a> {
    last: Option<&'a HashMap<String, Arc<Policy>>>,
    compiled: HashMap<String, Arc<Policy>>,
}

impl Compiler<'_> {
    fn compile(&mut self, owner: &str, document: &str) -> Result<Arc<Policy>> {
        if let Some(policy) = self.compiled.get(document) {
            return Ok(policy.clone());
        }
        let policy = match self.last.and_then(|last| last.get(document)) {
            Some(policy) => policy.clone(),
            None => {
                let parsed = Policy::stored(document, PolicyKind::Identity);
                let parsed =
                    parsed.map_err(|error| error.as_kind(Kind::Internal).within(format_args!("the stored policy of {owner} is damaged")));
                Arc::new(parsed?)
            }
        };
        self.compiled.insert(document.to_owned(), policy.clone());
        Ok(policy)
    }
}

fn tags(json: &str) -> Result<Vec<(Box<str>, Box<str>)>> {
    let map: HashMap<String, String> = serde_json::from_str(json).map_err(Error::internal)?;
    let mut tags: Vec<(Box<str>, Box<str>)> =
        map.into_iter().map(|(name, value)| (name.to_ascii_lowercase().into(), value.into())).collect();
    tags.sort_unstable();
    Ok(tags)
}

impl Directory {
    /// Reads the picture as it is in `read`.
    ///
    /// # Errors
    /// When the file cannot be read or a stored policy does not compile.
    pub fn load(read: &Read<'_>, last: Option<&Self>, metrics: &Metrics) -> Result<Self> {
        let mut compiler = Compiler { last: last.map(|last| &last.compiled), compiled: HashMap::default() };
        let mut managed = HashMap::default();
        for record in policies::all(read)? {
            let policy = compiler.compile(&record.name, &record.document)?;
            managed.insert(record.name.to_ascii_lowercase(), Arc::new(Managed { record, policy }));
        }
        let mut attached: HashMap<i64, Vec<String>> = HashMap::default();
        for (principal, policy) in principals::attachments(read)? {
            attached.entry(principal).or_default().push(policy);
        }
        let mut inline: HashMap<i64, Vec<(String, String)>> = HashMap::default();
        for (principal, name, document) in principals::inline_policies(read)? {
            inline.entry(principal).or_default().push((name, document));
        }
        let records = principals::all(read)?;
        let names: HashMap<i64, &str> = records.iter().map(|record| (record.id, record.name.as_str())).collect();
        let mut groups_of: HashMap<i64, Vec<i64>> = HashMap::default();
        for (group, user) in principals::memberships(read)? {
            groups_of.entry(user).or_default().push(group);
            groups_of.entry(group).or_default().push(user);
        }
        // What each principal has of its own; a user's groups are added below.
        let mut own: HashMap<i64, Vec<Attached>> = HashMap::default();
        for record in &records {
            let mut list = Vec::new();
            for name in attached.get(&record.id).into_iter().flatten() {
                if let Some(managed) = managed.get(&name.to_ascii_lowercase()) {
                    list.push(Attached { name: Noun::Policy.arn(name).into(), policy: managed.policy.clone() });
                }
            }
            for (name, document) in inline.get(&record.id).into_iter().flatten() {
                let owner = format!("{}/{}/{name}", record.noun.word(), record.name);
                let policy = compiler.compile(&owner, document)?;
                list.push(Attached { name: owner.into(), policy });
            }
            own.insert(record.id, list);
        }
        let mut directory = Self {
            users: HashMap::default(),
            groups: HashMap::default(),
            roles: HashMap::default(),
            rows: HashMap::default(),
            unique_ids: HashMap::default(),
            keys: HashMap::default(),
            managed,
            revoked: sessions::revoked(read)?.into_iter().collect(),
            compiled: HashMap::default(),
            file: file_principal(&mut compiler, metrics)?,
        };
        for record in &records {
            let related = groups_of.get(&record.id).cloned().unwrap_or_default();
            let mut identity = own.get(&record.id).cloned().unwrap_or_default();
            if record.noun == Noun::User {
                identity.extend(related.iter().filter_map(|group| own.get(group)).flatten().cloned());
            }
            let boundary = record.boundary.as_ref().and_then(|name| directory.managed.get(&name.to_ascii_lowercase()));
            let boundary = boundary.map(|managed| {
                Arc::from([Attached { name: Noun::Policy.arn(&managed.record.name).into(), policy: managed.policy.clone() }])
            });
            let arn = record.noun.arn(&record.name);
            let principal = Arc::new(Principal {
                row: record.id,
                noun: record.noun,
                name: record.name.clone(),
                unique_id: record.unique_id.clone(),
                tags: tags(&record.tags)?,
                grants: Grants { identity: identity.into(), boundary, narrowing: Vec::new() },
                boundary: record.boundary.clone(),
                groups: related.iter().filter_map(|id| names.get(id)).map(|name| (*name).to_owned()).collect(),
                attached: attached.remove(&record.id).unwrap_or_default(),
                inline: inline.remove(&record.id).unwrap_or_default(),
                trust: record.trust.clone(),
                password_hash: record.password_hash.clone(),
                disabled: record.disabled,
                generation: record.generation,
                created_at: record.created_at,
                metrics: metrics.principal(&arn),
                arn,
            });
            let by_name = match record.noun {
                Noun::Group => &mut directory.groups,
                Noun::Role => &mut directory.roles,
                _ => &mut directory.users,
            };
            by_name.insert(record.name.to_ascii_lowercase(), principal.clone());
            directory.unique_ids.insert(record.unique_id.clone(), principal.clone());
            directory.rows.insert(record.id, principal);
        }
        for record in keys::all(read)? {
            let Some(user) = directory.rows.get(&record.user).cloned() else { continue };
            let narrowed = match &record.document {
                None => None,
                Some(document) => {
                    let owner = format!("key/{}", record.id);
                    let policy = compiler.compile(&owner, document)?;
                    let mut grants = user.grants.clone();
                    grants.narrowing.push(Arc::from([Attached { name: owner.into(), policy }]));
                    Some(grants)
                }
            };
            directory.keys.insert(record.id.clone(), Arc::new(Key { record, user, narrowed }));
        }
        directory.compiled = compiler.compiled;
        Ok(directory)
    }

    fn map(&self, noun: Noun) -> Option<&HashMap<String, Arc<Principal>>> {
        match noun {
            Noun::User => Some(&self.users),
            Noun::Group => Some(&self.groups),
            Noun::Role => Some(&self.roles),
            Noun::Policy => None,
        }
    }

    /// The principal of that kind and name.
    pub fn find(&self, noun: Noun, name: &str) -> Option<&Arc<Principal>> {
        self.map(noun)?.get(&name.to_ascii_lowercase())
    }

    /// All of a kind, by name.
    pub fn all(&self, noun: Noun) -> Vec<&Arc<Principal>> {
        let mut all: Vec<_> = self.map(noun).into_iter().flat_map(HashMap::values).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The user of that row.
    pub fn user_by_row(&self, row: i64) -> Option<&Arc<Principal>> {
        self.rows.get(&row).filter(|principal| principal.noun == Noun::User)
    }

    /// The principal with that `aws:userid`.
    pub fn by_unique_id(&self, id: &str) -> Option<&Arc<Principal>> {
        self.unique_ids.get(id)
    }

    /// The principal with that `aws:userid`, or whoever opens the file: by whose rights something acts that they made.
    pub fn maker(&self, id: &str) -> Option<&Arc<Principal>> {
        if id == self.file.unique_id { Some(&self.file) } else { self.by_unique_id(id) }
    }

    /// A key by its public part.
    pub fn key(&self, id: &str) -> Option<&Arc<Key>> {
        self.keys.get(id)
    }

    /// The keys of a user, or all.
    pub fn keys(&self, user: Option<i64>) -> Vec<&Arc<Key>> {
        let mut keys: Vec<_> = self.keys.values().filter(|key| user.is_none_or(|user| key.record.user == user)).collect();
        keys.sort_by(|a, b| (&a.user.name, a.record.created_at, &a.record.id).cmp(&(&b.user.name, b.record.created_at, &b.record.id)));
        keys
    }

    /// A managed policy.
    pub fn managed(&self, name: &str) -> Option<&Arc<Managed>> {
        self.managed.get(&name.to_ascii_lowercase())
    }

    /// Every managed policy, by name.
    pub fn all_managed(&self) -> Vec<&Arc<Managed>> {
        let mut all: Vec<_> = self.managed.values().collect();
        all.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        all
    }

    /// Whether a token was ended before its time.
    pub fn is_revoked(&self, token: &str) -> bool {
        self.revoked.contains(token)
    }

    /// Whether the key is of a kind that is used with bearer authorization.
    pub fn is_bearer(key: &Key) -> bool {
        key.record.kind == KeyKind::Api
    }
}

/// Opening the file is being its administrator: who can, could change any byte of it anyway.
fn file_principal(compiler: &mut Compiler<'_>, metrics: &Metrics) -> Result<Arc<Principal>> {
    let arn = format!("arn:aws:iam::{}:root", crate::names::ACCOUNT);
    let policy = compiler.compile("the file's owner", ADMINISTRATOR_DOCUMENT)?;
    let identity = Arc::from([Attached { name: "whoever opens the file".into(), policy }]);
    Ok(Arc::new(Principal {
        row: 0,
        noun: Noun::User,
        name: "root".to_owned(),
        unique_id: crate::names::ACCOUNT.to_owned(),
        tags: Vec::new(),
        grants: Grants { identity, ..Grants::default() },
        boundary: None,
        groups: Vec::new(),
        attached: Vec::new(),
        inline: Vec::new(),
        trust: None,
        password_hash: None,
        disabled: false,
        generation: 0,
        created_at: 0,
        metrics: metrics.principal(&arn),
        arn,
    }))
}
