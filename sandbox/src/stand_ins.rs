//! Everything outside, started together and filled from one generated world.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::dataverse::{Dataverse, DataverseOptions};
use crate::faults::Faults;
use crate::generator::World;
use crate::graph::{Graph, GraphOptions};
use crate::metabase::{Metabase, Options as MetabaseOptions};
use crate::smtp::SmtpSink;
use crate::token::{TokenOptions, TokenService};

const TENANT: &str = "5a1f6d2e-0000-4000-8000-00000000d3e0";
const CLIENT_ID: &str = "c11e2700-0000-4000-8000-00000000d3e0";
/// Worth nothing outside the stand-ins, which make it up here.
const CLIENT_SECRET: &str = "sandbox+only/secret=&1";
/// Sign-in of the stand-in Metabase's administrator.
pub const ADMIN_EMAIL: &str = "storekeeper@example.com";
/// Its password.
pub const ADMIN_PASSWORD: &str = "keeps-the-Stores-1";

/// By which names the Microsoft services speak of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Where they listen, without TLS.
    Loopback,
    /// The real ones: for clients that are led to a TLS front by a proxy.
    Microsoft,
}

/// The services, running until dropped.
pub struct StandIns {
    /// Signs the application in.
    pub token: TokenService,
    /// Drives, one site a brand.
    pub graph: Graph,
    /// One organisation a brand.
    pub dataverses: BTreeMap<String, Dataverse>,
    /// The dashboards.
    pub metabase: Metabase,
    /// Takes mails.
    pub smtp: SmtpSink,
    brands: Vec<(String, String, String, String)>,
}

impl StandIns {
    /// Starts all services at a fixed time. `keep` is a folder in which Metabase's
    /// state and port and the received mails outlive the services.
    ///
    /// # Errors
    /// When a port cannot be had or the folder cannot be written.
    pub async fn start(world: &World, now: DateTime<Utc>, keep: Option<&Path>) -> anyhow::Result<Self> {
        Self::start_as(world, now, keep, Names::Loopback).await
    }

    /// The same, with links that say other names than where the services listen.
    ///
    /// # Errors
    /// As [`StandIns::start`].
    pub async fn start_as(
        world: &World,
        now: DateTime<Utc>,
        keep: Option<&Path>,
        names: Names,
    ) -> anyhow::Result<Self> {
        let (clock, faults) = (Clock::fixed(now), Faults::new());
        let public = |name: &str| (names == Names::Microsoft).then(|| format!("https://{name}"));
        let token = TokenService::start(TokenOptions {
            tenant_id: TENANT.to_owned(),
            clients: vec![(CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned())],
            public_url: public("login.microsoftonline.com"),
            clock: clock.clone(),
            faults: faults.clone(),
            ..TokenOptions::default()
        })?;
        let graph = Graph::start(GraphOptions {
            book: token.book(),
            sites: world.brands.iter().map(|brand| brand.site_path.clone()).collect(),
            public_url: public("graph.microsoft.com"),
            public_download_url: public("example.sharepoint.com"),
            clock: clock.clone(),
            faults: faults.clone(),
            ..GraphOptions::default()
        })?;
        let mut dataverses = BTreeMap::new();
        for brand in &world.brands {
            for file in world.drive_files(&brand.id) {
                graph.put_file(&brand.site_path, &file.folder, &file.name, file.content, file.modified_at);
            }
            let dataverse = Dataverse::start(DataverseOptions {
                book: token.book(),
                tables: world.dataverse_tables(&brand.id),
                public_url: public(&format!("{}.crm4.dynamics.com", brand.id)),
                clock: clock.clone(),
                faults: faults.clone(),
            })?;
            dataverses.insert(brand.id.clone(), dataverse);
        }
        let smtp = SmtpSink::start(keep.map(|folder| folder.join("received")))?;
        let metabase = start_metabase(keep).await?;
        let zone =
            |stores: &[crate::generator::Store]| stores.first().map_or("UTC", |store| &store.time_zone).to_owned();
        let brands = world
            .brands
            .iter()
            .map(|brand| (brand.id.clone(), brand.name.clone(), zone(&brand.stores), brand.site_path.clone()))
            .collect();
        Ok(Self { token, graph, dataverses, metabase, smtp, brands })
    }

    /// The settings file that makes a program use these services.
    pub fn settings(&self, installation: &str, data_dir: &Path, mail_dir: &Path) -> String {
        let mut text = format!(
            "# Made for the stand-ins; their ports change with every start.\n\
             [installation]\nname = {installation:?}\ndata_dir = {data_dir:?}\n\n\
             [http]\nbackoff_milliseconds = 50\n\n\
             [microsoft]\ntenant_id = \"{TENANT}\"\nclient_id = \"{CLIENT_ID}\"\n\
             authority_url = {:?}\ngraph_url = {:?}\n\n\
             [metabase]\nurl = {:?}\nsite_name = \"storekeeper demo\"\nadmin_email = \"{ADMIN_EMAIL}\"\n\n\
             [mail]\ntransport = \"smtp\"\nfrom = \"storekeeper@example.com\"\nto = [\"admins@example.com\"]\n\
             keep_dir = {mail_dir:?}\n\n\
             [mail.smtp]\nhost = \"127.0.0.1\"\nport = {}\nsecurity = \"none\"\n\n\
             [ops]\nlisten = \"127.0.0.1:0\"\n\n\
             [scheduler]\nenabled = false\n",
            self.token.base_url,
            self.graph.base_url,
            self.metabase.base_url,
            self.smtp.address.port(),
        );
        for (id, title, zone, site_path) in &self.brands {
            // Writing to a String cannot fail.
            let _infallible = write!(
                text,
                "\n[brands.{id}]\ntitle = {title:?}\ntime_zone = {zone:?}\ndataverse_url = {:?}\n\
                 drive = {{ site = \"example.sharepoint.com:/{site_path}\" }}\n",
                self.dataverses[id].base_url
            );
        }
        text
    }

    /// What a client of its own needs to know: where each name's service listens,
    /// and what to sign in with. The secret is worth nothing outside.
    pub fn described(&self) -> Value {
        let host = |url: &str| url.split("://").last().unwrap_or(url).to_owned();
        let [graph, download] = &self.graph.listens_on;
        let mut hosts = serde_json::Map::new();
        hosts.insert(host(&self.token.base_url), json!(host(&self.token.listens_on)));
        hosts.insert(host(&self.graph.base_url), json!(host(graph)));
        hosts.insert(host(&self.graph.download_url), json!(host(download)));
        let mut brands = serde_json::Map::new();
        for (id, _, _, site_path) in &self.brands {
            let dataverse = &self.dataverses[id];
            hosts.insert(host(&dataverse.base_url), json!(host(&dataverse.listens_on)));
            brands.insert(id.clone(), json!({"site": site_path, "dataverse_url": dataverse.base_url}));
        }
        json!({
            "tenant_id": TENANT,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "authority_url": self.token.base_url,
            "graph_url": self.graph.base_url,
            "brands": brands,
            "hosts": hosts,
        })
    }

    /// The secrets, as variables.
    pub fn variables() -> [(&'static str, &'static str); 2] {
        [
            ("STOREKEEPER__MICROSOFT__CLIENT_SECRET", CLIENT_SECRET),
            ("STOREKEEPER__METABASE__ADMIN_PASSWORD", ADMIN_PASSWORD),
        ]
    }
}

/// Metabase keeps its address between starts, as an installation does.
async fn start_metabase(keep: Option<&Path>) -> anyhow::Result<Metabase> {
    let Some(folder) = keep else {
        return Metabase::start(MetabaseOptions::default()).await;
    };
    std::fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
    let port_file: PathBuf = folder.join("metabase.port");
    let last = std::fs::read_to_string(&port_file).ok().and_then(|text| text.trim().parse::<u16>().ok());
    let state_file = Some(folder.join("metabase.json"));
    let metabase = Metabase::start(MetabaseOptions { state_file, port: last, ..MetabaseOptions::default() })
        .await
        .with_context(|| format!("failed to start Metabase on its last port; `{}` holds it", port_file.display()))?;
    let port = metabase.base_url.rsplit(':').next().unwrap_or_default().trim_end_matches('/').to_owned();
    std::fs::write(&port_file, port)?;
    Ok(metabase)
}
