//! What an endpoint may read: what whoever made it may, asked when a model is looked up for it.
//!
//! An endpoint over a prefix answers with models that came after it, so asking its maker once would let it serve what
//! they are denied. AWS asks the endpoint's execution role each time it fetches a model; here the maker stands for the
//! role. Disabling the maker ends their sign-in and not what their policies say, so endpoints go on answering when
//! an operator leaves; a maker is deleted only once their endpoints are, or are another's. Next: `catalog.rs`, which
//! remembers the answers.

use super::Service;
use super::endpoints::{Endpoint, Source};
use crate::authn::Caller;
use crate::authn::directory::Principal;
use crate::error::{Error, Kind, Result};
use crate::names::{EndpointName, ModelPath, Noun, Prefix};
use crate::policy::{Context, Denial, Permit, Request};
use crate::store::{Read, endpoints as kept, models, now};

const READ: &str = "s3:GetObject";
/// The rest of a path that no pattern was written for: of a character no path has, longer than any path. Only what
/// covers a prefix as a whole covers it.
const WHATEVER: &str = "\u{7f}";
const LONGER_THAN_PATHS: usize = 1100;

impl Service {
    /// Asks whether `endpoint` may read `path`; says as of which access write it may.
    ///
    /// # Errors
    /// [`Kind::Validation`], as AWS has it, whether or not there is such a model.
    pub(super) fn may_serve(&self, endpoint: &Endpoint, path: &ModelPath) -> Result<i64> {
        let snapshot = self.snapshot.load();
        let epoch = snapshot.epochs.access;
        let Some(maker) = endpoint.maker.as_deref() else { return Ok(epoch) };
        let name = &endpoint.name;
        let Some(maker) = snapshot.directory.maker(maker) else {
            return Err(Error::invalid(format!(
                "endpoint {name} may read no model any more, since who made it is gone; create it again with the same configuration as a user who may read its models"
            )));
        };
        let arn = path.arn();
        match reads(maker, &arn) {
            Ok(_permit) => Ok(epoch),
            Err(denial) => {
                // Who made it, and by what they are denied, is for the log alone.
                tracing::info!(target: "rookery::audit", endpoint = %name, %denial, "an endpoint was denied a model");
                Err(Error::invalid(format!(
                    "endpoint {name} may not read model `{path}`; whoever made it needs {READ} on {arn}, or create it again with the same configuration as a user who has it"
                )))
            }
        }
    }

    /// Whether `caller` may read all that `endpoint` would serve as it is now: each fixed model, each prefix as a whole, and
    /// every model there is under it; both as the caller who asks and as the maker who is asked about later.
    pub(super) fn may_make(&self, caller: &Caller, endpoint: &Endpoint) -> Result<()> {
        if caller.is_narrowed() {
            return Err(Error::new(
                Kind::Denied,
                "a key with a policy of its own cannot make endpoints, which read by the rights of its user; sign in, or use a key without one",
            ));
        }
        for source in endpoint.sources() {
            match source {
                Source::Fixed(path) => self.may_read(caller, &path.arn())?,
                Source::Multi { prefix, .. } => {
                    let whole = format!("arn:aws:s3:::{prefix}*");
                    self.may_read(caller, &whole)?;
                    // `*` is matched by a pattern of one character too.
                    let whatever = format!("arn:aws:s3:::{prefix}{}", WHATEVER.repeat(LONGER_THAN_PATHS));
                    self.may_read(caller, &whatever).map_err(|_| {
                        let message = format!("an endpoint serves whatever is put under `{prefix}`; it takes {READ} on all of {whole}");
                        Error::new(Kind::Denied, message)
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Whether `caller` may read `arn`, and as a maker may later.
    fn may_read(&self, caller: &Caller, arn: &str) -> Result<()> {
        let _now = self.authorise(caller, READ, arn, |_| ())?;
        let later = reads(caller.principal(), arn);
        let _later = later.map_err(|_| {
            Error::new(
                Kind::Denied,
                format!(
                    "an endpoint reads its models without an address, a transport or a user agent, and a condition on one of these denies it {READ} on {arn}; allow that without the condition"
                ),
            )
        })?;
        Ok(())
    }

    /// As [`Service::may_make`], for the models there are under a prefix.
    pub(super) fn may_read_all(&self, caller: &Caller, read: &Read<'_>, prefix: &Prefix) -> Result<()> {
        let mut after = String::new();
        loop {
            let page = models::paths(read, prefix.as_str(), &after, 1000)?;
            let Some(last) = page.last() else { return Ok(()) };
            for path in &page {
                self.may_read(caller, &format!("arn:aws:s3:::{path}")).map_err(|denied| {
                    // Which it is, only to those who may see that it is there.
                    let collection = path.split('/').next().unwrap_or_default();
                    if self.may(caller, "s3:ListBucket", &format!("arn:aws:s3:::{collection}")) {
                        return denied;
                    }
                    let message = format!("a model under `{prefix}` is denied you, and an endpoint over it would serve it; it takes {READ} on all of arn:aws:s3:::{prefix}*");
                    Error::new(Kind::Denied, message)
                })?;
            }
            after.clone_from(last);
        }
    }

    /// Refuses to let go of a principal by whose rights an endpoint reads its models.
    pub(super) fn makes_nothing(&self, caller: &Caller, read: &Read<'_>, noun: Noun, name: &str) -> Result<()> {
        let snapshot = self.snapshot.load();
        let Some(principal) = snapshot.directory.find(noun, name) else { return Ok(()) };
        let Some(endpoint) = kept::made_by(read, &principal.unique_id)? else { return Ok(()) };
        // Its name only to those who may see it.
        let arn = EndpointName::parse(&endpoint)?.arn();
        let seen = self.may(caller, "sagemaker:DescribeEndpoint", &arn);
        let endpoint = if seen { format!("endpoint `{endpoint}`") } else { "an endpoint".to_owned() };
        Err(Error::conflict(format!(
            "{endpoint} reads its models by the rights of {} `{name}`; delete it, or create it again with the same configuration as another user, and disable `{name}` meanwhile",
            noun.word()
        )))
    }
}

/// What the policies of an endpoint's maker say of a model, whoever calls the endpoint from wherever.
fn reads(maker: &Principal, arn: &str) -> std::result::Result<Permit, Box<Denial>> {
    let mut context = Context::new();
    context.principal(Some(&maker.name), &maker.unique_id, &maker.arn, &maker.tags);
    context.moment(now(), None);
    maker.grants.authorise(&Request { principal: &maker.arn, action: READ, resource: arn, context: &context })
}
