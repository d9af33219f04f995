//! A front started for one test: the real nginx on the shipped template, before an
//! upstream that tells what reached it.
//!
//! Invariant: no process outlives its [`Front`], however the test ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use super::upstream::Upstream;

/// The name the front answers to.
pub(super) const NAME: &str = "bi.example.test";

/// How long nginx may take to start or to end; it needs a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running nginx with its upstream.
pub(super) struct Front {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) upstream: Upstream,
    /// The certificate the front must show.
    pub(super) certificate: CertificateDer<'static>,
    authority: rcgen::Certificate,
    dir: TempDir,
    nginx: Nginx,
}

impl Front {
    /// Starts a front with the given variables changed from the tests' defaults.
    pub(super) async fn start(changes: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let upstream = Upstream::start().await;
        let (authority, certificate) = write_certificate(dir.path());

        // A free port may be taken before nginx binds it; then other ones are tried.
        let mut reasons = Vec::new();
        for _ in 0..4 {
            let [http, https] = free_addresses();
            let mut variables = variables(dir.path(), http, https, upstream.address);
            for (name, value) in changes {
                variables.insert((*name).to_owned(), (*value).to_owned());
            }
            let config = dir.path().join("nginx.conf");
            std::fs::write(&config, render(&variables)).expect("the configuration is written");
            match Nginx::start(&config) {
                Ok(nginx) => {
                    return Self { http, https, upstream, certificate, authority, dir, nginx };
                }
                Err(reason) if reason.contains("Address already in use") => reasons.push(reason),
                Err(reason) => panic!("nginx did not start:\n{reason}"),
            }
        }
        panic!("no free port for nginx:\n{}", reasons.join("\n"));
    }

    /// Says the address of `path` as a browser would type it.
    pub(super) fn url(&self, path: &str) -> String {
        format!("https://{NAME}:{}{path}", self.https.port())
    }

    /// Makes a client that trusts the front's authority and follows no redirect.
    pub(super) fn client(&self) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(self.authority.pem().as_bytes())
            .expect("the authority's certificate is PEM");
        reqwest::Client::builder()
            .tls_certs_only([root])
            .resolve(NAME, self.https)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client")
    }

    /// Puts a file where the certificate authority will ask for it.
    pub(super) fn put_challenge(&self, token: &str, content: &str) {
        let folder = self.dir.path().join("acme/.well-known/acme-challenge");
        std::fs::create_dir_all(&folder).expect("the webroot");
        std::fs::write(folder.join(token), content).expect("the challenge");
    }

    /// Reads what was logged of the requests so far.
    pub(super) fn access_log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("access.log")).expect("the access log")
    }

    /// The process id of nginx's master.
    pub(super) fn pid(&self) -> u32 {
        self.nginx.child.id()
    }

    /// Opens a TLS connection that asks for `name`, or for none.
    pub(super) async fn tls(
        &self,
        name: Option<&str>,
        protocol: &'static SupportedProtocolVersion,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).expect("the authority is a certificate");
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[protocol])
            .expect("ring speaks both")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.enable_sni = name.is_some();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.unwrap_or(NAME).to_owned()).expect("a host name");
        let stream = TcpStream::connect(self.https).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Sends one request as it stands, over TLS to our name, and reads all of the
    /// answer. A client library would tidy the path up before sending it.
    pub(super) async fn send(&self, request: &str) -> String {
        let mut stream = self.tls(Some(NAME), &version::TLS13, &["http/1.1"]).await.expect("a TLS connection");
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        let mut answer = Vec::new();
        // nginx hangs up without a TLS goodbye after `return 444`: that is an answer.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("the answer is text")
    }

    /// Asks for `path`, sent exactly as given.
    pub(super) async fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n")).await
    }
}

/// Sends one request over plain TCP and reads all of the answer.
pub(super) async fn send_plain(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("the answer is text")
}

/// Renders the shipped template with the shipped script.
pub(super) fn render(variables: &BTreeMap<String, String>) -> String {
    let output =
        Command::new(project().join("nginx/render.sh")).envs(variables).output().expect("nginx/render.sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the configuration is text")
}

/// The project's folder.
pub(super) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn variables(dir: &Path, http: SocketAddr, https: SocketAddr, metabase: SocketAddr) -> BTreeMap<String, String> {
    let path = |name: &str| dir.join(name).display().to_string();
    for folder in ["run", "acme"] {
        std::fs::create_dir_all(dir.join(folder)).expect("the front's folders");
    }
    [
        ("FRONT_SERVER_NAME", NAME.to_owned()),
        ("FRONT_PUBLIC_URL", format!("https://{NAME}:{}", https.port())),
        ("FRONT_HTTP_LISTEN", http.to_string()),
        ("FRONT_HTTPS_LISTEN", https.to_string()),
        ("FRONT_CERTIFICATE", path("fullchain.pem")),
        ("FRONT_CERTIFICATE_KEY", path("privkey.pem")),
        ("FRONT_ACME_ROOT", path("acme")),
        ("FRONT_HSTS", "max-age=31536000".to_owned()),
        ("FRONT_METABASE", metabase.to_string()),
        ("FRONT_STOREKEEPER", String::new()),
        ("FRONT_BODY_LIMIT", "64k".to_owned()),
        // Root where the tests are root, for the temporary folder is its own;
        // ignored where they are not.
        ("FRONT_USER", "root".to_owned()),
        ("FRONT_RUN_DIR", path("run")),
        // `notice` says when the workers run.
        ("FRONT_ERROR_LOG", "stderr notice".to_owned()),
        ("FRONT_ACCESS_LOG", path("access.log")),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("a bound address"))
}

/// Writes a certificate for [`NAME`] into `dir`; returns its authority and itself.
fn write_certificate(dir: &Path) -> (rcgen::Certificate, CertificateDer<'static>) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).expect("an authority");
    let issuer = Issuer::new(params, authority_key);

    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new([NAME.to_owned()])
        .expect("a host name")
        .signed_by(&key, &issuer)
        .expect("a certificate");
    std::fs::write(dir.join("fullchain.pem"), certificate.pem()).expect("the certificate");
    std::fs::write(dir.join("privkey.pem"), key.serialize_pem()).expect("the key");
    (authority, certificate.der().clone())
}

/// The process, with what it wrote to its standard error.
struct Nginx {
    child: Child,
    /// Closed when the last of its processes has gone.
    lines: Receiver<String>,
    log: Arc<Mutex<String>>,
}

impl Nginx {
    /// Starts nginx and waits until its workers run; else returns what it said.
    fn start(config: &Path) -> Result<Self, String> {
        let mut child = Command::new(program())
            .args(["-e", "stderr", "-g", "daemon off;", "-c"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A group of its own: ending it ends the workers too.
            .process_group(0)
            .spawn()
            .expect("nginx is started");

        let stderr = child.stderr.take().expect("stderr is piped");
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let copy = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = copy.lock().expect("nobody panics with the log");
                log.push_str(&line);
                log.push('\n');
                drop(log);
                // Nobody listens once it runs; the log goes on.
                let _ = sender.send(line);
            }
        });

        let nginx = Self { child, lines, log };
        loop {
            match nginx.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains("start worker process ") => return Ok(nginx),
                Ok(_) => {}
                Err(_) => return Err(nginx.log()),
            }
        }
    }

    fn log(&self) -> String {
        self.log.lock().expect("nobody panics with the log").clone()
    }
}

#[expect(clippy::print_stderr, reason = "what nginx said belongs to a failing test's output")]
impl Drop for Nginx {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        // Gone already is as good.
        let _ = killpg(group, Signal::SIGTERM);
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = killpg(group, Signal::SIGKILL);
                    break;
                }
            }
        }
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("nginx said:\n{}", self.log());
        }
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        // Not in everybody's PATH, but where Debian puts it.
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join("nginx"))
        .find(|program| program.is_file())
        .expect("nginx is not installed; `make test` installs it (or: scripts/install-debian.sh test)")
}
