//! TLS in front of the SMTP sink, from the first byte or after STARTTLS.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A relay to the sink; it ends when dropped.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    /// The authority that vouches for `localhost`, as PEM.
    pub(super) authority: String,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Starts a relay; with `starttls` it talks plainly until asked for TLS.
    pub(super) async fn start(sink: SocketAddr, starttls: bool) -> Self {
        let authority_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).expect("an authority").pem();
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(["localhost".to_owned()])
            .expect("a host name")
            .signed_by(&key, &issuer)
            .expect("a certificate");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks them")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a private key"),
            )
            .expect("key and certificate match");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whatever ends a conversation early is the client's to notice.
                let _ = relay(stream, sink, &acceptor, starttls).await;
            }
        });
        Self { address, authority, task }
    }
}

async fn relay(mut stream: TcpStream, sink: SocketAddr, acceptor: &TlsAcceptor, starttls: bool) -> std::io::Result<()> {
    let mut inner = BufReader::new(TcpStream::connect(sink).await?);
    if starttls {
        // The greeting is ours; the sink's would come a second time.
        inner.read_line(&mut String::new()).await?;
        stream.write_all(b"220 relay\r\n").await?;
        loop {
            // Byte by byte: what follows STARTTLS belongs to TLS.
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(tokio::io::AsyncReadExt::read_u8(&mut stream).await?);
            }
            match String::from_utf8_lossy(&line).trim_end().to_ascii_uppercase().as_str() {
                "STARTTLS" => break stream.write_all(b"220 go\r\n").await?,
                text if text.starts_with("EHLO") => {
                    stream.write_all(b"250-relay\r\n250 STARTTLS\r\n").await?;
                }
                _ => stream.write_all(b"530 5.7.0 STARTTLS first\r\n").await?,
            }
        }
    }
    let mut outer = acceptor.accept(stream).await?;
    tokio::io::copy_bidirectional(&mut outer, &mut inner).await.map(drop)
}
