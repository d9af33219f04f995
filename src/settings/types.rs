//! One struct a section; each module is handed its own by `app.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::NaiveDate;
use chrono_tz::Tz;
use secrecy::SecretString;
use serde::Deserialize;

use super::metabase::Metabase;
use crate::ids::BrandId;

/// Every option of an installation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `[installation]`
    pub installation: Installation,
    /// `[log]`
    pub log: Log,
    /// `[database]`
    pub database: Database,
    /// `[warehouse]`
    pub warehouse: Warehouse,
    /// `[http]`
    pub http: Http,
    /// `[microsoft]`; needed as soon as a pipeline reads a drive or Dataverse.
    pub microsoft: Option<Microsoft>,
    /// `[brands.<id>]`
    #[serde(default)]
    pub brands: BTreeMap<BrandId, Brand>,
    /// `[sources]`
    pub sources: Sources,
    /// `[forecast]`
    pub forecast: Forecast,
    /// `[metabase]`; needed by `plan`, `apply` and `audit`.
    pub metabase: Option<Metabase>,
    /// `[mail]`
    pub mail: Mail,
    /// `[scheduler]`
    pub scheduler: Scheduler,
    /// `[ops]`
    pub ops: Ops,
    /// `[backup]`
    pub backup: Backup,
    /// `[audit]`
    pub audit: Audit,
    /// `[key_vault]`
    pub key_vault: KeyVault,
    /// Secrets that lie in a vault: the setting's name and the secret's address.
    /// Until they are given to `read_with_secrets`, those settings are empty.
    #[serde(skip)]
    pub vault_secrets: BTreeMap<String, String>,
}

/// `[installation]`: what tells this installation from another on the same servers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installation {
    /// Prefix of database roles and of what we make in Metabase. Default: `storekeeper`.
    pub name: String,
    /// Folder for the private PostgreSQL, kept secrets and work files. Default: `var/data`.
    pub data_dir: PathBuf,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `auto` is text on a terminal and JSON elsewhere.
    pub format: LogFormat,
    /// A `tracing` filter such as `info` or `info,storekeeper::sources=debug`.
    pub filter: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[database]`: the PostgreSQL that holds everything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `postgres://user:password@host/database`; a secret. Without it a private
    /// server is started in `installation.data_dir`.
    pub url: Option<SecretString>,
    /// Connections kept at most. Default: 8.
    pub max_connections: u32,
}

/// `[warehouse]`: the upkeep of the tables, and what is kept besides their rows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warehouse {
    /// Monthly partitions made ahead. Default: 3.
    pub partitions_ahead: u32,
    /// A load that changes so many rows has its partitions analysed. Default: 10000.
    pub analyze_rows: u64,
    /// Days for which the rows that loads replaced are kept; 0: for ever. Default: 800.
    pub history_days: u32,
    /// Months after which a partition goes to a file; a pipeline may say otherwise.
    /// Without one, none does.
    pub archive_after_months: Option<u32>,
    /// Folder of the archived partitions. Default: `var/archive`.
    pub archive_dir: PathBuf,
    /// Days for which the bytes of loaded files are kept; 0 keeps none. Default: 400.
    pub keep_files_days: u32,
}

/// `[http]`: how patient the one way out is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// How long to wait for a connection. Default: 10.
    pub connect_timeout_seconds: u64,
    /// How long to wait for the next bytes of an answer. Default: 60.
    pub read_timeout_seconds: u64,
    /// How often a request that may be repeated is sent at most. Default: 5.
    pub attempts: u32,
    /// First pause after a passing failure; doubles, with jitter. Default: 500.
    pub backoff_milliseconds: u64,
    /// First pause after a 429 that names none; doubles. Default: 30.
    pub throttled_pause_seconds: u64,
    /// Longest `Retry-After` that is waited for. Default: 900.
    pub retry_after_limit_seconds: u64,
}

/// `[microsoft]`: the Entra application that reads drives and Dataverse.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Microsoft {
    /// Directory (tenant) id that issues the tokens.
    pub tenant_id: String,
    /// Application (client) id.
    pub client_id: String,
    /// A secret: `STOREKEEPER__MICROSOFT__CLIENT_SECRET` or `client_secret_file`.
    pub client_secret: Option<SecretString>,
    /// The day on which the secret ends, to be warned of it 30 days ahead.
    pub client_secret_expires_on: Option<NaiveDate>,
    /// Certificate in PEM; with one, no secret is used.
    pub certificate_file: Option<PathBuf>,
    /// Its RSA key in PEM, not encrypted. Default: `certificate_file`.
    pub private_key_file: Option<PathBuf>,
    /// Which cloud the tenant lives in. Default: `global`.
    #[serde(default)]
    pub cloud: Cloud,
    /// Where tokens come from. Default: as `cloud` says.
    pub authority_url: String,
    /// Graph without its version. Default: as `cloud` says.
    pub graph_url: String,
}

/// The separate clouds of Microsoft, each with addresses of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// Everybody's, and US GCC.
    #[default]
    Global,
    /// US Government, level 4 (GCC High).
    UsGov,
    /// US Department of Defense.
    UsDod,
    /// China, run by 21Vianet.
    China,
}

impl Cloud {
    /// Where tokens come from.
    pub fn authority_url(self) -> &'static str {
        match self {
            Self::Global => "https://login.microsoftonline.com",
            Self::UsGov | Self::UsDod => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
        }
    }

    /// Where Graph answers.
    pub fn graph_url(self) -> &'static str {
        match self {
            Self::Global => "https://graph.microsoft.com",
            Self::UsGov => "https://graph.microsoft.us",
            Self::UsDod => "https://dod-graph.microsoft.us",
            Self::China => "https://microsoftgraph.chinacloudapi.cn",
        }
    }

    /// How the names of its key vaults end.
    pub fn vault_suffix(self) -> &'static str {
        match self {
            Self::Global => ".vault.azure.net",
            Self::UsGov | Self::UsDod => ".vault.usgovcloudapi.net",
            Self::China => ".vault.azure.cn",
        }
    }
}

/// `[key_vault]`: who opens the vaults that secrets lie in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyVault {
    /// Default: `managed_identity`.
    pub sign_in: VaultSignIn,
    /// Client id of the identity, where the machine has several.
    pub client_id: Option<String>,
    /// Where the machine's identity service answers. Default: `http://169.254.169.254`.
    pub identity_url: String,
}

/// Who opens a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VaultSignIn {
    /// The Azure machine we run on.
    ManagedIdentity,
    /// The application in `[microsoft]`.
    Application,
}

/// `[brands.<id>]`: a chain of stores with a schema of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brand {
    /// What people call it.
    pub title: String,
    /// Zone in which "today" is meant where a store has none. Default: `UTC`.
    #[serde(default = "utc")]
    pub time_zone: Tz,
    /// Its OneDrive or SharePoint library.
    pub drive: Option<Drive>,
    /// Its Dataverse organisation, e.g. `https://contoso.crm.dynamics.com`.
    pub dataverse_url: Option<String>,
    /// Folder that pipelines with `kind = "folder"` read below.
    pub folder: Option<PathBuf>,
}

fn utc() -> Tz {
    Tz::UTC
}

/// `[brands.<id>.drive]`: exactly one of the three ways to name a library.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drive {
    /// `host:/sites/path`, or a site id (`host,guid,guid`): the site whose default library is read.
    pub site: Option<String>,
    /// A drive id as Graph gives it.
    pub id: Option<String>,
    /// A user's id or principal name, for that person's OneDrive.
    pub user: Option<String>,
}

/// `[sources]`: bounds on what is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// Largest file fetched, in bytes. Default: 2 GiB.
    pub file_limit_bytes: u64,
    /// Largest uncompressed size of a workbook, in bytes. Default: 1 GiB.
    pub worksheet_limit_bytes: u64,
    /// Rows of a Dataverse page, 1 to 5000. Default: 5000.
    pub dataverse_page_size: u32,
    /// Files of a drive that are fetched at once. Default: 4.
    pub concurrent_downloads: usize,
    /// A file of a drive changed less than so many seconds ago is looked at twice, that
    /// far apart, and read only if it stayed the same. 0: never. Default: 10.
    pub settle_seconds: u32,
    /// How long a service may keep one run waiting in all, by asking for patience again and
    /// again, before the run ends with a message. Default: 1800.
    pub throttled_limit_seconds: u64,
    /// What becomes of a text whose size or hash is not what the drive lists, twice
    /// in a row. Default: `refuse`.
    pub mismatched_text: MismatchedText,
}

/// What becomes of a text that is not what its drive lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MismatchedText {
    /// The run fails and says so.
    Refuse,
    /// It is read, with a note.
    Accept,
}

/// `[forecast]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// Days ahead. Default: 35.
    pub horizon_days: u32,
}

/// `[mail]`: how admins hear of runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// `smtp`, `graph`, `folder`, or `none`.
    pub transport: MailTransport,
    /// Sender, e.g. `storekeeper@example.com`.
    pub from: String,
    /// Who gets run summaries.
    pub to: Vec<String>,
    /// Folder in which every mail is kept as `.eml` and `.html`; empty for nowhere.
    pub keep_dir: Option<PathBuf>,
    /// `[mail.smtp]`
    pub smtp: Smtp,
}

/// Which way a mail leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTransport {
    /// An SMTP server.
    Smtp,
    /// Microsoft Graph's `sendMail` from the mailbox in `from`.
    Graph,
    /// Only the files in `keep_dir`.
    Folder,
    /// No mail.
    None,
}

/// `[mail.smtp]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Server's name.
    pub host: String,
    /// Server's port. Default: 587.
    pub port: u16,
    /// `none` (loopback or a trusted network only), `starttls` or `tls`.
    pub security: SmtpSecurity,
    /// Sign-in name, if the server wants one.
    pub username: Option<String>,
    /// A secret: `STOREKEEPER__MAIL__SMTP__PASSWORD` or `password_file`.
    pub password: Option<SecretString>,
    /// A PEM file of further authorities that may vouch for the server.
    pub ca_file: Option<PathBuf>,
}

/// How the SMTP conversation is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpSecurity {
    /// Plain text.
    None,
    /// Plain text first, then TLS; refused if the server does not offer it.
    Starttls,
    /// TLS from the first byte.
    Tls,
}

/// `[scheduler]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheduler {
    /// Whether `serve` starts pipelines on their schedules. Default: true.
    pub enabled: bool,
}

/// `[ops]`: the daemon's own HTTP face.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ops {
    /// Where `serve` listens. Default: `127.0.0.1:8080`.
    pub listen: SocketAddr,
}

/// `[backup]`: copies of the databases, and where they lie.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// A folder, `s3://bucket/prefix`, or `azure://container/prefix`.
    pub target: Option<String>,
    /// Age recipients (`age1…`) for whom backups are encrypted. Default: none.
    pub recipients: Vec<String>,
    /// Age identities that open backups; a secret, and only for `verify` and `restore`.
    pub identity: Option<SecretString>,
    /// Metabase's own database; a secret.
    pub metabase_database_url: Option<SecretString>,
    /// The newest backups that are kept, however old. Default: 7.
    pub keep_last: u32,
    /// Days of which the newest backup is kept. Default: 14.
    pub keep_daily: u32,
    /// Weeks of which the newest backup is kept. Default: 8.
    pub keep_weekly: u32,
    /// Folder of `pg_dump` and `pg_restore`. Default: the fitting ones that are installed.
    pub programs_dir: Option<PathBuf>,
    /// When `serve` makes backups, in five fields. Default: never.
    pub cron: Option<String>,
    /// Zone in which `cron` is meant. Default: `UTC`.
    pub time_zone: Tz,
    /// `[backup.s3]`
    pub s3: BackupS3,
    /// `[backup.azure]`
    pub azure: BackupAzure,
}

/// `[backup.s3]`: how a bucket is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupS3 {
    /// Its region. Default: `us-east-1`.
    pub region: String,
    /// Address of a service other than Amazon's.
    pub endpoint: Option<String>,
    /// Whether that may be plain HTTP. Default: false.
    pub allow_http: bool,
    /// Access key. Without one, the machine's own role.
    pub access_key_id: Option<String>,
    /// Its secret: `STOREKEEPER__BACKUP__S3__SECRET_ACCESS_KEY` or `secret_access_key_file`.
    pub secret_access_key: Option<SecretString>,
}

/// `[backup.azure]`: how a container is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupAzure {
    /// Storage account.
    pub account: Option<String>,
    /// Address of a service other than the public cloud's.
    pub endpoint: Option<String>,
    /// Whether that may be plain HTTP. Default: false.
    pub allow_http: bool,
    /// Its key, a secret. Without one, the machine's managed identity.
    pub access_key: Option<SecretString>,
}

/// `[audit]`: the proof of isolation, and its certificates.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// When `serve` audits, in five fields; empty: never. Default: `30 6 * * *`.
    pub cron: Option<String>,
    /// Zone in which `cron` is meant. Default: `UTC`.
    pub time_zone: Tz,
    /// Where certificates are kept. Default: `certificates` in `installation.data_dir`.
    pub dir: Option<PathBuf>,
    /// Certificates that are kept, the newest. Default: 90.
    pub keep_last: u32,
    /// In large chains, how many foreign places each group tries. Default: 16.
    pub sample: u32,
    /// Who is mailed what an audit found. Default: whoever `mail.to` names.
    pub mail_to: Vec<String>,
}
