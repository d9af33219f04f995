//! Builds every client from settings. Nothing else does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use crate::clock::Clock;
use crate::http::{self, Client, Expiry, Tokens};
use crate::notify::{self, Mailer};
use crate::pipelines::{self, Doors, Engine, Pipeline};
use crate::settings::{MailTransport, Settings};
use crate::warehouse::{self, Warehouse};

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
    #[error("{} mistakes in the definitions:\n{}", .0.len(), lines(.0))]
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
    /// Connects to the warehouse, or starts the private one.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn warehouse(&self) -> Result<Warehouse, Error> {
        let program = std::env::current_exe().map_err(Error::Program)?;
        Warehouse::connect(&self.settings.database, &self.settings.installation, &program)
            .await
            .map_err(Error::Warehouse)
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
        Ok(Engine::new(warehouse.clone(), self.doors()?, self.clock, self.settings.warehouse))
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
        let mut mail = self.settings.mail.clone();
        mail.to.extend(
            person.filter(|person| !self.settings.mail.to.iter().any(|known| known == person)).map(str::to_owned),
        );
        let mail = &mail;
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
