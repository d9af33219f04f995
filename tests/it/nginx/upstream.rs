//! Stands for Metabase behind the front: answers every request with what reached it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State, WebSocketUpgrade};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// A request as it arrived.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Arrived {
    pub(super) method: String,
    /// Path and query, undecoded.
    pub(super) target: String,
    /// By lower-case name; a header sent twice is joined by `, `.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body_bytes: usize,
}

/// The server, which ends with the test's runtime.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Upstream {
    /// Starts on a free port.
    pub(super) async fn start() -> Self {
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new()
            .route("/websocket", any(echo_messages))
            .fallback(tell)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&arrived));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, arrived }
    }

    /// Lists the targets of the requests that came through, in order.
    pub(super) fn targets(&self) -> Vec<String> {
        self.arrived.lock().expect("nobody panics with the list").iter().map(|request| request.target.clone()).collect()
    }
}

async fn tell(
    State(arrived): State<Arc<Mutex<Vec<Arrived>>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut by_name = BTreeMap::<String, String>::new();
    for (name, value) in &headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        by_name
            .entry(name.as_str().to_owned())
            .and_modify(|known| {
                known.push_str(", ");
                known.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    let request =
        Arrived { method: method.to_string(), target: uri.to_string(), headers: by_name, body_bytes: body.len() };
    arrived.lock().expect("nobody panics with the list").push(request.clone());
    // Metabase sends these of its own accord.
    let own = [("x-frame-options", "DENY"), ("content-security-policy", "default-src 'none'")];
    (own, axum::Json(request)).into_response()
}

async fn echo_messages(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}
