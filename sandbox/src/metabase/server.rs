//! The socket, the state behind it, and its file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State as Shared;
use axum::http::{Request, Response};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::clock::Clock;
use crate::wire::locked;

use super::call::{Call, pairs};
use super::faults::{Failure, Fault, take};
use super::profile::Profile;
use super::reply::Reply;
use super::routes;
use super::state::State;
use super::warehouse::Warehouse;

/// A body may be this large, in bytes.
const BODY_LIMIT: usize = 64 * 1024 * 1024;
/// Between two writes of the state file.
const SAVE_PAUSE: Duration = Duration::from_millis(200);

/// How a stand-in is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The release to behave like, as a tag. Default: `v0.61.2`.
    pub version: String,
    /// Refuse body keys a route does not declare. Default: true.
    pub strict: bool,
    /// Where the state is kept between two starts. Default: nowhere.
    pub state_file: Option<PathBuf>,
    /// The port to listen on. Default: a free one.
    pub port: Option<u16>,
    /// The token the first set-up needs. Default: made up.
    pub setup_token: Option<String>,
    /// Settings given by the server's environment, by key. Default: none.
    pub environment: BTreeMap<String, Value>,
    /// Paid features that the licence has, by their names in `token-features`. Default: none.
    pub features: BTreeSet<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: "v0.61.2".to_owned(),
            strict: true,
            state_file: None,
            port: None,
            setup_token: None,
            environment: BTreeMap::new(),
            features: BTreeSet::new(),
        }
    }
}

/// A running stand-in; it stops when dropped.
pub struct Metabase {
    /// `http://127.0.0.1:<port>`, without a slash at the end.
    pub base_url: String,
    pub(super) server: Arc<Server>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

/// A call as the stand-in saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// The query as `key=value` pairs.
    pub query: Vec<(String, String)>,
    /// What was answered; 0 when the connection was broken instead.
    pub status: u16,
}

/// Looks at the whole state after each change.
pub(super) type Watcher = Box<dyn Fn(&Value) + Send>;

/// What the handlers share.
pub(super) struct Server {
    state: Mutex<State>,
    pub(super) warehouse: Warehouse,
    pub(super) strict: bool,
    pub(super) starting: AtomicBool,
    pub(super) faults: Mutex<Vec<Fault>>,
    pub(super) log: Mutex<Vec<Recorded>>,
    pub(super) clock: Mutex<Clock>,
    pub(super) watcher: Mutex<Option<Watcher>>,
    state_file: Option<PathBuf>,
    changed: Notify,
    stopped: AtomicBool,
    saved: AtomicBool,
}

impl Metabase {
    /// Starts a stand-in: fresh, or as its state file left it.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let profile = Profile::parse(&options.version);
        let stored = options.state_file.as_deref().map(load).transpose()?.flatten();
        let mut state = match stored {
            Some(mut state) => {
                state.profile = profile;
                state
            }
            None => {
                let token = options.setup_token.unwrap_or_else(|| Uuid::new_v4().to_string());
                State::fresh(profile, token, Utc::now())
            }
        };
        state.environment = options.environment;
        state.features = options.features;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port.unwrap_or(0)));
        let listener = TcpListener::bind(address).await.with_context(|| format!("failed to listen on `{address}`"))?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let server = Arc::new(Server {
            state: Mutex::new(state),
            warehouse: Warehouse::new(),
            strict: options.strict,
            starting: AtomicBool::new(false),
            faults: Mutex::new(Vec::new()),
            log: Mutex::new(Vec::new()),
            clock: Mutex::new(Clock::system()),
            watcher: Mutex::new(None),
            state_file: options.state_file,
            changed: Notify::new(),
            stopped: AtomicBool::new(false),
            saved: AtomicBool::new(false),
        });
        server.save(false)?;
        let router = Router::new().fallback(serve).with_state(Arc::clone(&server));
        let (stop, stopped) = oneshot::channel::<()>();
        let saver = tokio::spawn(keep_saving(Arc::clone(&server)));
        let task = tokio::spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
                // Either word or a dropped sender means the same.
                let _told = stopped.await;
            });
            // A loopback listener that breaks ends the stand-in, nothing more.
            let _ended = serving.await;
            saver.abort();
        });
        Ok(Self { base_url, server, stop: Some(stop), task: Some(task) })
    }

    /// Stops, and waits until the port is free and the state is on disk.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.end();
        if let Some(task) = self.task.take() {
            let patience = Duration::from_secs(2);
            // Connections that stay open past this are left to their clients.
            let _ended = tokio::time::timeout(patience, task).await;
        }
        self.server.save(true)
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            self.server.stopped.store(true, Ordering::SeqCst);
            // Nobody listens any more when serving has ended by itself.
            let _sent = stop.send(());
        }
    }
}

impl Drop for Metabase {
    fn drop(&mut self) {
        if self.stop.is_some() {
            self.end();
            // There is nobody left to tell; `stop` is for those who ask.
            let _saved = self.server.save(true);
        }
    }
}

impl Server {
    /// Looks at the state.
    pub(super) fn read<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.now = self.now();
        look(&mut state)
    }

    /// Changes the state; the file follows.
    pub(super) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.now = self.now();
        let answer = change(&mut state);
        if let Some(watcher) = &*locked(&self.watcher) {
            // Under the lock, so that no moment passes unseen.
            watcher(&serde_json::to_value(&*state).expect("the state has text keys only"));
        }
        drop(state);
        self.changed.notify_one();
        answer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    fn now(&self) -> DateTime<Utc> {
        locked(&self.clock).now()
    }

    /// Writes the state file, whole or not at all; after the `last` time nothing more.
    pub(super) fn save(&self, last: bool) -> anyhow::Result<()> {
        let Some(path) = &self.state_file else {
            return Ok(());
        };
        // The lock is held to the end, so that no older state overtakes.
        let state = self.state();
        // Where a server follows on the same file, a save that began before the stop comes too late.
        if self.saved.fetch_or(last, Ordering::SeqCst) {
            return Ok(());
        }
        let content = serde_json::to_vec(&*state).context("failed to write the state as JSON")?;
        let half = path.with_extension("half");
        std::fs::write(&half, content)
            .and_then(|()| std::fs::rename(&half, path))
            .with_context(|| format!("failed to save state file `{}`", path.display()))
    }
}

fn load(path: &Path) -> anyhow::Result<Option<State>> {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read state file `{}`", path.display()));
        }
    };
    serde_json::from_slice(&content)
        .map(Some)
        .with_context(|| format!("failed to understand state file `{}`", path.display()))
}

async fn keep_saving(server: Arc<Server>) {
    loop {
        server.changed.notified().await;
        let saving = Arc::clone(&server);
        // A full disk shows at the next explicit stop, which tries once more.
        let _saved = tokio::task::spawn_blocking(move || saving.save(false)).await;
        tokio::time::sleep(SAVE_PAUSE).await;
    }
}

async fn serve(Shared(server): Shared<Arc<Server>>, request: Request<Body>) -> Response<Body> {
    let call = match read_call(request).await {
        Ok(call) => call,
        Err(reply) => return reply.into_response(),
    };
    let method = call.method.as_str().to_owned();
    let failure = take(&mut locked(&server.faults), &method, &call.path);
    let mut record = Recorded { method, path: call.path.clone(), query: call.query.clone(), status: 0 };
    if server.stopped.load(Ordering::SeqCst) || failure == Some(Failure::Drop) {
        note(&server, record);
        break_connection();
    }
    let reply = match &failure {
        Some(Failure::Status(status, text)) => Reply::text(*status, text),
        Some(Failure::RetryAfter(status, seconds)) => Reply::text(*status, "").with("retry-after", seconds.to_string()),
        Some(Failure::Slow(wait)) => {
            tokio::time::sleep(*wait).await;
            routes::answer(&server, &call).await
        }
        _ => routes::answer(&server, &call).await,
    };
    if failure == Some(Failure::LoseAnswer) {
        note(&server, record);
        break_connection();
    }
    record.status = reply.status;
    note(&server, record);
    reply.into_response()
}

fn note(server: &Server, record: Recorded) {
    locked(&server.log).push(record);
}

/// Ends the task of the connection: the client sees it close without an answer.
fn break_connection() -> ! {
    std::panic::resume_unwind(Box::new("connection broken on request"))
}

async fn read_call(request: Request<Body>) -> Result<Call, Reply> {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, BODY_LIMIT).await.map_err(|_| Reply::text(400, "Request body could not be read."))?;
    let kind = parts.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body = if bytes.is_empty() {
        Value::Null
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        form(&String::from_utf8_lossy(&bytes))
    } else {
        serde_json::from_slice(&bytes).map_err(|_| Reply::text(400, "Malformed JSON in request body."))?
    };
    let address = parts
        .headers
        .get("x-forwarded-for")
        .and_then(|value| value.to_str().ok())
        .and_then(|list| list.split(',').next())
        .map_or("127.0.0.1", str::trim)
        .to_owned();
    Ok(Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: pairs(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        body,
        address,
    })
}

/// A form, whose fields may hold JSON, as the download forms do.
fn form(text: &str) -> Value {
    let fields: Map<String, Value> = pairs(text)
        .into_iter()
        .map(|(key, value)| {
            let parsed =
                serde_json::from_str(&value).ok().filter(|parsed: &Value| parsed.is_object() || parsed.is_array());
            (key, parsed.unwrap_or(Value::String(value)))
        })
        .collect();
    Value::Object(fields)
}
