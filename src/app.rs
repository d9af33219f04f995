//! Builds every client from settings. Nothing else does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use crate::backup::{self, What};
use crate::clock::Clock;
use crate::http::{self, Client, Expiry, ObjectsConnector, Tokens};
use crate::notify::{self, Mailer};
use crate::pipelines::{self, Doors, Engine, Pipeline};
use crate::settings::{self, MailTransport, Settings};
use crate::warehouse::{self, Duty, Endpoint, Kept, Located, Table, Warehouse, WriteDisposition, locate};
use crate::words::counted;

/// Why the program could not be put together.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says what it is")]
pub enum Error {
    #[error("failed to find our own program")]
    Program(#[source] std::io::Error),
    #[error("failed to prepare the HTTP client")]
    Http(#[source] http::Error),
    #[error("failed to prepare signing in")]
    Tokens(#[source] http::TokenError),
    #[error("failed to open the warehouse")]
    Warehouse(#[source] warehouse::Error),
    #[error("failed to prepare mail")]
    Mail(#[source] notify::Error),
    #[error("failed to open the place for backups")]
    Backups(#[source] backup::Error),
    #[error("{} in the definitions:\n{}", counted(.0.len(), "mistake", "mistakes"), lines(.0))]
    Definitions(Vec<pipelines::Problem>),
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Program(_) => None,
            Self::Http(error) => error.hint(),
            Self::Tokens(error) => error.hint(),
            Self::Warehouse(error) => error.hint(),
            Self::Mail(error) => error.hint(),
            Self::Backups(error) => error.hint(),
            Self::Definitions(_) => Some("docs/definitions.md explains every key"),
        }
    }
}

fn lines(problems: &[pipelines::Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// The program, with its settings; opens what a command needs.
#[derive(Debug)]
pub struct App {
    /// Every option.
    pub settings: Settings,
    /// The time.
    pub clock: Clock,
    /// The folder that holds `pipelines/`, `sql/`, `metabase/`.
    pub definitions: PathBuf,
}

impl App {
    /// Connects to the warehouse, or starts the private one, with the owner's rights.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn warehouse(&self) -> Result<Warehouse, Error> {
        self.warehouse_for(None).await
    }

    /// The same for what loads and reads what loads made, and needs to own nothing else.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn warehouse_to_load(&self) -> Result<Warehouse, Error> {
        self.warehouse_for(Some(Duty::Loader)).await
    }

    async fn warehouse_for(&self, duty: Option<Duty>) -> Result<Warehouse, Error> {
        Warehouse::connect_as(&self.settings.database, &self.settings.installation, &self.program()?, duty)
            .await
            .map(|warehouse| warehouse.analyzing_from(self.settings.warehouse.analyze_rows))
            .map_err(Error::Warehouse)
    }

    /// Our own program, which keeps private servers.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn program(&self) -> Result<PathBuf, Error> {
        std::env::current_exe().map_err(Error::Program)
    }

    /// Finds one of the two databases without connecting to it.
    ///
    /// # Errors
    /// When its URL is not set or cannot be read, or the private server not be had.
    pub async fn located(&self, what: What) -> Result<Located, Error> {
        match what {
            What::Warehouse => locate(&self.settings.database, &self.settings.installation, &self.program()?)
                .await
                .map_err(Error::Warehouse),
            What::Metabase => {
                let url = self.settings.backup.metabase_database_url.as_ref();
                let problem = if url.is_some() {
                    "it must be postgres://user:password@host:port/database"
                } else {
                    "it is not set"
                };
                url.and_then(Endpoint::from_url).map(Located::from).ok_or_else(|| {
                    let key = "backup.metabase_database_url";
                    Error::Backups(backup::Error::Setting { key, problem: problem.to_owned() })
                })
            }
        }
    }

    /// Opens the place where backups lie.
    ///
    /// # Errors
    /// When it is not set or makes no sense.
    pub fn backup_target(&self) -> Result<backup::Target, Error> {
        let connector = ObjectsConnector::new(&self.settings.http).map_err(Error::Http)?;
        backup::Target::open(&self.settings.backup, &connector).map_err(Error::Backups)
    }

    /// Builds the one way out over HTTP.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn client(&self) -> Result<Client, Error> {
        Client::new(&self.settings.http).map_err(Error::Http)
    }

    fn tokens(&self, client: &Client) -> Result<Option<Tokens>, Error> {
        self.settings
            .microsoft
            .as_ref()
            .map(|microsoft| Tokens::new(client, microsoft))
            .transpose()
            .map_err(Error::Tokens)
    }

    /// When the certificate or secret of `[microsoft]` ends, as far as that is known.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub fn sign_in_expiry(&self) -> Result<Option<Expiry>, Error> {
        Ok(self.tokens(&self.client()?)?.and_then(|tokens| tokens.expiry()))
    }

    /// Builds the doors to every brand's data.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn doors(&self) -> Result<Doors, Error> {
        let client = self.client()?;
        let microsoft = self.settings.microsoft.clone().zip(self.tokens(&client)?);
        Ok(Doors::new(client, microsoft, self.settings.brands.clone(), self.settings.sources.clone()))
    }

    /// Puts the engine together.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn engine(&self, warehouse: &Warehouse) -> Result<Engine, Error> {
        Ok(Engine::new(warehouse.clone(), self.doors()?, self.clock, self.settings.warehouse.clone()))
    }

    /// Reads all pipelines, in the order in which they must run.
    ///
    /// # Errors
    /// All mistakes of all definitions.
    pub async fn pipelines(&self) -> Result<Vec<Pipeline>, Error> {
        let pipelines = pipelines::read_all(&self.definitions).await.map_err(Error::Definitions)?;
        let unknown: Vec<pipelines::Problem> = pipelines
            .iter()
            .flat_map(|pipeline| {
                let brands = pipeline.definition.brands.iter().flatten();
                brands.filter(|brand| !self.settings.brands.contains_key(brand)).map(|brand| pipelines::Problem {
                    file: relative(&self.definitions, &pipeline.folder.join("pipeline.toml")),
                    line: None,
                    message: format!("brand `{brand}` is not in the settings"),
                })
            })
            .collect();
        if unknown.is_empty() { Ok(pipelines) } else { Err(Error::Definitions(unknown)) }
    }

    /// Every table that pipelines load into, of each brand, with what keeps it.
    pub fn kept(&self, pipelines: &[Pipeline]) -> Vec<Kept> {
        let mut tables: BTreeMap<(String, String), Kept> = BTreeMap::new();
        for brand in self.settings.brands.keys() {
            let mut add = |table: Table, own: Option<u32>| {
                let archive_after_months = own.or(self.settings.warehouse.archive_after_months);
                let name = (table.schema.clone(), table.name.clone());
                let indexes = table.indexes.clone();
                let kept = Kept { brand: brand.clone(), table, archive_after_months };
                let kept = tables.entry(name).or_insert(kept);
                for index in indexes {
                    if !kept.table.indexes.contains(&index) {
                        kept.table.indexes.push(index);
                    }
                }
            };
            for pipeline in pipelines.iter().filter(|pipeline| pipeline.serves(brand)) {
                add(pipeline.table(brand), pipeline.definition.destination.archive_after_months);
                if !pipeline.definition.forecasts.is_empty() {
                    pipelines::forecast_tables(brand).into_iter().for_each(|table| add(table, None));
                }
                if pipeline.definition.staffing.is_some() {
                    pipelines::staffing_tables(brand).into_iter().for_each(|table| add(table, None));
                }
            }
        }
        // A table that each load replaces whole has no old part.
        for kept in tables.values_mut() {
            if kept.table.disposition == WriteDisposition::Replace || kept.table.partition_by.is_none() {
                kept.archive_after_months = None;
            }
        }
        tables.into_values().collect()
    }

    /// Builds the way mails leave.
    ///
    /// # Errors
    /// When the settings of mail make no sense.
    pub fn mailer(&self) -> Result<Mailer, Error> {
        self.mailer_also_to(None)
    }

    /// The same, to one more person.
    ///
    /// # Errors
    /// When the settings of mail make no sense.
    pub fn mailer_also_to(&self, person: Option<&str>) -> Result<Mailer, Error> {
        let mut to = self.settings.mail.to.clone();
        to.extend(person.filter(|person| !to.iter().any(|known| known == person)).map(str::to_owned));
        self.mailer_to(to)
    }

    /// The same, to whoever is told what audits found.
    ///
    /// # Errors
    /// When the settings of mail make no sense.
    pub fn mailer_of_audits(&self) -> Result<Mailer, Error> {
        let own = &self.settings.audit.mail_to;
        self.mailer_to(if own.is_empty() { self.settings.mail.to.clone() } else { own.clone() })
    }

    fn mailer_to(&self, to: Vec<String>) -> Result<Mailer, Error> {
        let mail = &settings::Mail { to, ..self.settings.mail.clone() };
        let graph = match (mail.transport, &self.settings.microsoft) {
            (MailTransport::Graph, Some(microsoft)) => {
                let client = self.client()?;
                let tokens = self.tokens(&client)?;
                let resource = microsoft.graph_url.clone();
                let bearer: notify::Bearer = Arc::new(move || {
                    let (tokens, resource) = (tokens.clone(), resource.clone());
                    Box::pin(async move {
                        let Some(tokens) = tokens else { return Err("`[microsoft]` is not set".to_owned()) };
                        let token = tokens.bearer(&resource).await.map_err(|error| crate::telemetry::chain(&error))?;
                        Ok(SecretString::from(token.expose().to_owned()))
                    })
                });
                microsoft.graph_url.parse().ok().map(|url| notify::Graph { client, url, bearer })
            }
            _ => None,
        };
        Mailer::new(mail, graph).map_err(Error::Mail)
    }
}

/// A path as people know it: below the definitions folder.
pub(crate) fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// The environment, as settings read it.
pub fn variables() -> BTreeMap<String, String> {
    std::env::vars().collect()
}
