//! A loopback port with a thread of its own behind it.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A free loopback port, taken but not yet served.
#[derive(Debug)]
pub struct Port {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Takes a free port on 127.0.0.1.
    pub fn take() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands every connection to `converse`, until the answer of this call is dropped.
    ///
    /// The thread is its own: a caller that blocks, or whose runtime ends, does
    /// not stop the stand-in, and no runtime is needed to start one.
    pub fn serve<C, F>(self, converse: C) -> io::Result<Served>
    where
        C: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("stand-in".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(self.listener) else {
                    return;
                };
                tokio::select! {
                    () = accept(&listener, converse) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Served { stop: Some(stop), thread: Some(thread) })
    }
}

/// A port being served; dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Served {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed already; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

async fn accept<C, F>(listener: &TcpListener, converse: C)
where
    C: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut conversations = JoinSet::new();
    loop {
        // A failed accept is the client's connection gone again, or a moment
        // without file handles; the next one may do better.
        if let Ok((stream, _)) = listener.accept().await {
            // Small answers must not wait for the client's next packet.
            let _ = stream.set_nodelay(true);
            conversations.spawn(converse(stream));
        } else {
            tokio::task::yield_now().await;
        }
        while conversations.try_join_next().is_some() {}
    }
}
