//! What planning, applying and auditing need, and how it is brought together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;

use super::actual::{self, Actual};
use super::client::{self, Client};
use super::content::Problem;
use super::desired::Desired;
use super::instance::MAIL_PASSWORD;
use super::plan::{self, Plan, Refusal};
use super::plan_settings::hold_mail;
use super::selection::Selection;
use super::session;
use super::tables::{Kind, Ledger, Objects};
use super::wishes::Wishes;
use crate::access::{self, Credentials, CredentialsError, Scope, TablesError, Tree};
use crate::http;
use crate::ids::BrandId;
use crate::settings;
use crate::warehouse::Warehouse;
use crate::words::counted;

/// Why an instance was not planned, changed or audited.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The content files have mistakes.
    #[error("{} in the files below metabase/:\n{}", counted(.0.len(), "mistake", "mistakes"), lines(.0))]
    Content(Vec<Problem>),
    /// A question or dashboard cannot be made for a scope.
    #[error("{} in the files below metabase/:\n  {}", counted(.0.len(), "mistake", "mistakes"), .0.join("\n  "))]
    Wishes(Vec<String>),
    /// People or stores could not be read.
    #[error("failed to read people and stores")]
    Access(#[source] TablesError),
    /// The kept secrets.
    #[error("failed to open the kept secrets")]
    Credentials(#[source] CredentialsError),
    /// No key.
    #[error("failed to sign in to Metabase")]
    Session(#[source] session::Error),
    /// A call failed.
    #[error("failed to read from Metabase")]
    Metabase(#[source] client::Error),
    /// A step failed; those before it are done.
    #[error("failed to {step}")]
    Step {
        /// The step, without any person's address.
        step: String,
        /// What Metabase said.
        source: client::Error,
    },
    /// Metabase refused what some steps about people sent; all others are done.
    #[error("{} refused; everything else is done:\n{}", counted(.0.len(), "step about people was", "steps about people were"), refusals(.0))]
    People(Vec<(String, client::Error)>),
    /// The plan would do what it must not.
    #[error("the plan is refused")]
    Refused(#[source] Refusal),
    /// A part of the plan was asked for that cannot be.
    #[error("there is no scope `{0}`")]
    NoSuchScope(Scope),
    /// Another process is writing to the instance.
    #[error("another process is changing this Metabase instance")]
    Busy,
    /// The plan does not fit any more.
    #[error("the plan is stale: the instance or what is wanted changed since it was made")]
    Stale,
    /// A step before should have made it.
    #[error("the {kind} `{key}` is not there")]
    Missing {
        /// Kind of object.
        kind: &'static str,
        /// Our key of it.
        key: String,
    },
    /// Our own list of objects.
    #[error("failed to {action} in `ops.metabase_objects`")]
    Ledger {
        /// What was tried.
        action: &'static str,
        /// What the server said.
        source: sqlx::Error,
    },
    /// Something in Metabase cannot become a file of ours.
    #[error("it cannot be taken over as a file: {0}")]
    Adopt(String),
    /// Nobody with an account of ours has that address.
    #[error("nobody with an account of ours has this address")]
    NobodyToInvite,
    /// Metabase gives no link, and has no mail server to send one.
    #[error("this release of Metabase gives nobody else a link to set a password, and has no mail server to mail one")]
    NoLink,
    /// No dashboard of that name, or none for that scope.
    #[error("no dashboard fits")]
    NothingToDraw,
    /// A page could not be written.
    #[error("failed to write `{path}`")]
    Draw {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A database role could not be tried.
    #[error("failed to read as the role `{role}`")]
    Role {
        /// Which one.
        role: String,
        /// What the server said.
        source: sqlx::Error,
    },
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

fn refusals(refused: &[(String, client::Error)]) -> String {
    refused.iter().map(|(step, error)| format!("  {step}: {error}")).collect::<Vec<_>>().join("\n")
}

impl Error {
    pub(super) fn draw(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Draw { path, source }
    }

    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Credentials(error) => error.hint(),
            Self::Session(error) => error.hint(),
            Self::Metabase(error) | Self::Step { source: error, .. } => error.hint(),
            Self::Refused(refusal) => refusal.hint(),
            Self::People(_) => Some("`plan` names them; correct the list of people, or the account in Metabase"),
            Self::NothingToDraw => Some(
                "a dashboard is named by its file without the end; a scope is e.g. store:harbor/000101, of the dashboard's level",
            ),
            Self::Adopt(_) => None,
            Self::NobodyToInvite => Some("`apply` makes the account first; `access show` tells who is known"),
            Self::NoLink => Some(
                "before v0.60: set Metabase's mail server when no account is to be made, invite, then clear it again; or upgrade",
            ),
            Self::Draw { .. } => Some("name a folder you may write to with --out"),
            Self::NoSuchScope(_) => Some(
                "a scope is e.g. brand:harbor, region:harbor/North or store:harbor/000101, a number with its zeros; `access show` lists those with people",
            ),
            Self::Busy => Some("wait for it to end; the claim ends with its process"),
            Self::Stale => Some("plan again, and apply that"),
            Self::Role { .. } => {
                Some("`plan` and `apply` make the roles first; check that the database user may create roles")
            }
            Self::Content(_) | Self::Wishes(_) | Self::Access(_) | Self::Missing { .. } | Self::Ledger { .. } => None,
        }
    }

    pub(super) fn ledger(action: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Ledger { action, source }
    }
}

/// What everything here works on.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// `[metabase]`
    pub settings: &'a settings::Metabase,
    /// `[installation]`
    pub installation: &'a settings::Installation,
    /// `[brands]`
    pub brands: &'a BTreeMap<BrandId, settings::Brand>,
    /// The way out.
    pub http: &'a http::Client,
    /// Where people, stores and our list of objects are.
    pub warehouse: &'a Warehouse,
    /// The folder that holds `metabase/`.
    pub definitions: &'a Path,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What is wanted and what is there.
pub(super) struct Gathered {
    pub(super) client: Client,
    pub(super) tree: Tree,
    pub(super) desired: Desired,
    pub(super) actual: Actual,
    pub(super) objects: Objects,
    pub(super) unscoped: Vec<String>,
    pub(super) credentials: Credentials,
}

/// What is wanted, before anything is asked of the instance.
pub(super) struct Wanted {
    pub(super) tree: Tree,
    pub(super) desired: Desired,
    /// Tables that belong to no store.
    pub(super) unscoped: Vec<String>,
    pub(super) credentials: Credentials,
}

/// Says what would be done, and does nothing. On an instance that was never set
/// up it does set it up: there is nothing to compare with before.
///
/// # Errors
/// When files are wrong, the instance cannot be read, or a guard refuses.
pub async fn plan(context: &Context<'_>) -> Result<Plan, Error> {
    plan_part(context, &Selection::default()).await
}

/// Says what would be done of one part of the whole.
///
/// # Errors
/// As [`plan`]; and the guards look at the part alone.
pub async fn plan_part(context: &Context<'_>, selection: &Selection) -> Result<Plan, Error> {
    let gathered = context.gather().await?;
    let mut plan = context.plan_of(&gathered, selection)?;
    if !context.ledger().owned().await.map_err(Error::ledger("read whether the instance is ours"))? {
        plan.notes
            .insert(0, "this Metabase is in use and was not ours so far: only `apply --own` changes it".to_owned());
    }
    Ok(plan)
}

/// Takes an instance over that others set up and use: from now on it is ours to change.
///
/// # Errors
/// When our own list cannot be written.
pub async fn own(context: &Context<'_>) -> Result<(), Error> {
    context.ledger().own("told").await.map_err(Error::ledger("note that the instance is ours"))
}

/// Makes a new API key in place of the kept one, and removes the older ones of ours.
/// At every moment the kept key works.
///
/// # Errors
/// When the instance refuses, or the key cannot be kept.
pub async fn rotate_key(context: &Context<'_>) -> Result<(), Error> {
    let claim = context.ledger().claim().await.map_err(Error::ledger("claim the instance"))?.ok_or(Error::Busy)?;
    let credentials = Credentials::open(&context.installation.data_dir).map_err(Error::Credentials)?;
    let outcome = async {
        let client = context.open(&credentials).await?;
        session::rotate(&client, context.settings, &context.installation.name, &credentials, context.now)
            .await
            .map_err(Error::Session)
    };
    let outcome = outcome.await;
    claim.release().await;
    outcome
}

impl<'a> Context<'a> {
    pub(super) fn ledger(&self) -> Ledger<'a> {
        Ledger { warehouse: self.warehouse, instance: self.settings.url.trim_end_matches('/'), now: self.now }
    }

    pub(super) async fn wanted(&self) -> Result<Wanted, Error> {
        let content = super::reading::read(self.definitions).map_err(Error::Content)?;
        let tree = access::tree(self.warehouse, self.brands).await.map_err(Error::Access)?;
        let people = access::people(self.warehouse).await.map_err(Error::Access)?;
        let credentials = Credentials::open(&self.installation.data_dir).map_err(Error::Credentials)?;
        let wishes = Wishes {
            settings: self.settings,
            installation: &self.installation.name,
            address: self.warehouse.address(),
            tree: &tree,
            people: &people,
            content: &content,
            password_mark: &|role| credentials.password_mark(role),
            secret_mark: &|secret| credentials.secret_mark(secret.expose_secret()),
        };
        let desired = wishes.desired().map_err(Error::Wishes)?;
        Ok(Wanted { tree, desired, unscoped: content.collections.unscoped, credentials })
    }

    pub(super) async fn open(&self, credentials: &Credentials) -> Result<Client, Error> {
        let bare = Client::new(self.http, &self.settings.url).map_err(Error::Metabase)?;
        let opened = session::open(&bare, self.settings, &self.installation.name, credentials, self.now)
            .await
            .map_err(Error::Session)?;
        if opened.fresh {
            // Ids of an instance that is no more would point at others' objects.
            self.ledger().forget_all().await.map_err(Error::ledger("forget an older instance"))?;
            self.ledger().own("set up").await.map_err(Error::ledger("note that the instance is ours"))?;
        }
        Ok(opened.client)
    }

    pub(super) async fn gather(&self) -> Result<Gathered, Error> {
        self.gathered(true).await
    }

    /// The same, with nothing taken for granted that was read before.
    pub(super) async fn gather_anew(&self) -> Result<Gathered, Error> {
        self.gathered(false).await
    }

    async fn gathered(&self, remembers: bool) -> Result<Gathered, Error> {
        let Wanted { tree, desired, unscoped, credentials } = self.wanted().await?;
        let client = self.open(&credentials).await?;
        let objects = self.ledger().read().await.map_err(Error::ledger("read what is ours"))?;
        let known = if remembers {
            self.ledger().graph().await.map_err(Error::ledger("read the rights that were read before"))?
        } else {
            None
        };
        let (mut actual, graph) = actual::read(&client, &objects, known.as_ref()).await.map_err(Error::Metabase)?;
        if let Some(setting) = actual.settings.get_mut(MAIL_PASSWORD) {
            // Even masked, it goes no further than here.
            setting.value = setting.value.as_str().map(|masked| credentials.secret_mark(masked)).into();
        }
        if desired.cache.is_some() {
            actual.cache = actual::cache(&client).await.map_err(Error::Metabase)?;
        }
        let goes = |(kind, key): &&(Kind, String)| *kind == Kind::Connection && !desired.connections.contains_key(key);
        let going = objects.iter().filter(|(object, _)| goes(object)).filter_map(|(_, known)| known.id);
        actual::standing(&client, &going.collect::<Vec<_>>(), &mut actual).await.map_err(Error::Metabase)?;
        if let Some(graph) = graph {
            self.ledger().keep_graph(&graph).await.map_err(Error::ledger("remember the rights"))?;
        }
        Ok(Gathered { client, tree, desired, actual, objects, unscoped, credentials })
    }

    /// The whole plan, whatever a guard would say to it.
    pub(super) fn plan_without_guards(&self, gathered: &Gathered) -> Plan {
        let Gathered { desired, actual, objects, .. } = gathered;
        plan::steps(desired, actual, objects).0
    }

    pub(super) fn plan_of(&self, gathered: &Gathered, selection: &Selection) -> Result<Plan, Error> {
        let Gathered { tree, desired, actual, objects, .. } = gathered;
        if desired.blocked && actual.views.is_none() {
            return Err(Error::Refused(Refusal::NoFeature { feature: "advanced_permissions" }));
        }
        let (plan, moves) = plan::steps(desired, actual, objects);
        // One that left the tree may have something to be taken away.
        let goes =
            |scope: &Scope| plan.steps.iter().any(|step| step.scope.split(" (").next() == Some(&scope.to_string()));
        if let Some(scope) = selection.scope.as_ref().filter(|scope| !tree.scopes().contains(scope) && !goes(scope)) {
            return Err(Error::NoSuchScope(scope.clone()));
        }
        let mut plan = selection.narrow(plan, tree, desired);
        hold_mail(&mut plan, desired, actual);
        plan::guard(&plan, moves, actual, self.settings).map_err(Error::Refused)?;
        Ok(plan)
    }
}
