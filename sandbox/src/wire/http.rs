//! Reads requests and writes answers.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::message::{Delivery, Reply, Request, Response};
use super::port::{Port, Served};

/// More than the longest URL of the contracts (65,536 characters) and its headers.
const HEAD_LIMIT_BYTES: usize = 128 * 1024;
const BODY_LIMIT_BYTES: usize = 256 * 1024 * 1024;

/// A port on which a stand-in will answer; its origin is known before the first request.
#[derive(Debug)]
pub struct Listener {
    port: Port,
}

impl Listener {
    /// Takes a free port on 127.0.0.1.
    pub fn bind() -> io::Result<Self> {
        Ok(Self { port: Port::take()? })
    }

    /// Scheme, host and port, without a trailing slash.
    pub fn origin(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Answers every request with `handler`.
    pub fn serve<H>(self, handler: H) -> io::Result<Server>
    where
        H: Fn(Request) -> Reply + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        let served = self.port.serve(move |stream| {
            let handler = Arc::clone(&handler);
            async move {
                // Whatever ends a conversation early is the client's to notice.
                let _ = converse(stream, &*handler).await;
            }
        })?;
        Ok(Server { _served: served })
    }
}

/// A stand-in at work; dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Server {
    _served: Served,
}

type Reader<'a> = BufReader<tokio::net::tcp::ReadHalf<'a>>;

async fn converse<H>(mut stream: TcpStream, handler: &H) -> io::Result<()>
where
    H: Fn(Request) -> Reply + Sync,
{
    let (reading, mut writing) = stream.split();
    let mut reader = BufReader::new(reading);
    loop {
        let Some(head) = read_head(&mut reader).await? else {
            return Ok(());
        };
        let Some((mut request, version)) = parse_head(&head) else {
            let refusal = Response::text(400, "text/plain", "malformed request");
            return writing.write_all(&rendered(&refusal, false, true)).await;
        };
        if request.header("expect").is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue")) {
            writing.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        request.body = read_body(&mut reader, &request).await?;
        let closing = version != "HTTP/1.1"
            || request.header_parts("connection").iter().any(|part| part.eq_ignore_ascii_case("close"));
        let head_only = request.method == "HEAD";
        let Reply { response, delivery } = handler(request);
        match delivery {
            Delivery::Whole => {
                writing.write_all(&rendered(&response, head_only, closing)).await?;
                if closing {
                    return writing.shutdown().await;
                }
            }
            Delivery::Truncated(length) => {
                let whole = rendered(&response, head_only, false);
                let kept = whole.len() - response.body.len() + length.min(response.body.len());
                writing.write_all(&whole[..kept]).await?;
                return writing.shutdown().await;
            }
            Delivery::Lost => return Ok(()),
            Delivery::Withheld => {
                // Stays silent until the client gives up.
                let mut ignored = Vec::new();
                reader.read_to_end(&mut ignored).await?;
                return Ok(());
            }
        }
    }
}

/// Reads up to and with the empty line; `None` when the client closed in between requests.
async fn read_head(reader: &mut Reader<'_>) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        let mut limited = reader.take((HEAD_LIMIT_BYTES - before) as u64);
        if limited.read_until(b'\n', &mut head).await? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let empty_line = matches!(&head[before..], b"\r\n" | b"\n");
        if empty_line && before == 0 {
            head.clear();
        } else if empty_line {
            return Ok(Some(head));
        }
    }
}

fn parse_head(head: &[u8]) -> Option<(Request, String)> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let mut start = lines.next()?.splitn(3, ' ');
    let (method, target, version) = (start.next()?, start.next()?, start.next()?);
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return None;
    }
    let headers = lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        })
        .collect::<Option<Vec<_>>>()?;
    let request = Request { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new() };
    Some((request, version.trim_end().to_owned()))
}

async fn read_body(reader: &mut Reader<'_>, request: &Request) -> io::Result<Vec<u8>> {
    let chunked = request.header_parts("transfer-encoding").iter().any(|part| part.eq_ignore_ascii_case("chunked"));
    if chunked {
        return read_chunks(reader).await;
    }
    let length = match request.header("content-length") {
        None => 0,
        Some(text) => text.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?,
    };
    read_exactly(reader, length).await
}

async fn read_chunks(reader: &mut Reader<'_>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader).await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        if size == 0 {
            while !read_line(reader).await?.is_empty() {}
            return Ok(body);
        }
        if body.len() + size > BODY_LIMIT_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        body.extend(read_exactly(reader, size).await?);
        read_line(reader).await?;
    }
}

async fn read_line(reader: &mut Reader<'_>) -> io::Result<String> {
    let mut line = String::new();
    if reader.take(HEAD_LIMIT_BYTES as u64).read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

async fn read_exactly(reader: &mut Reader<'_>, length: usize) -> io::Result<Vec<u8>> {
    if length > BODY_LIMIT_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn rendered(response: &Response, head_only: bool, closing: bool) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    for (name, value) in &response.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    // These two have no body by definition, and a length would claim one.
    let bodiless = matches!(response.status, 204 | 304);
    if !bodiless && response.header("content-length").is_none() {
        text.push_str(&format!("Content-Length: {}\r\n", response.body.len()));
    }
    if closing {
        text.push_str("Connection: close\r\n");
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    if !head_only && !bodiless {
        bytes.extend_from_slice(&response.body);
    }
    bytes
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        416 => "Requested Range Not Satisfiable",
        423 => "Locked",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        507 => "Insufficient Storage",
        509 => "Bandwidth Limit Exceeded",
        _ => "Unnamed",
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn echo() -> anyhow::Result<(Server, String)> {
        let listener = Listener::bind()?;
        let address = listener.origin().replace("http://", "");
        let server = listener.serve(|request| {
            let body = format!("{} {} {}", request.method, request.target, request.body.len());
            Response::text(200, "text/plain", body).into()
        })?;
        Ok((server, address))
    }

    fn sent(address: &str, bytes: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(bytes.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn the_request_target_arrives_byte_for_byte() -> anyhow::Result<()> {
        let (_server, address) = echo()?;
        let answer = sent(&address, "GET /a%2fb/../c?x='%22'&y=%253c HTTP/1.1\r\nConnection: close\r\n\r\n")?;
        assert!(answer.ends_with("\r\n\r\nGET /a%2fb/../c?x='%22'&y=%253c 0"), "{answer}");
        Ok(())
    }

    #[test]
    fn two_requests_share_a_connection_and_chunks_are_joined() -> anyhow::Result<()> {
        let (_server, address) = echo()?;
        let answer = sent(
            &address,
            "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n\
             POST /2 HTTP/1.1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nabcd",
        )?;
        assert!(answer.contains("POST /1 5") && answer.ends_with("POST /2 4"), "{answer}");
        Ok(())
    }

    #[test]
    fn a_request_line_that_is_none_is_refused() -> anyhow::Result<()> {
        let (_server, address) = echo()?;
        assert!(sent(&address, "hello\r\n\r\n")?.starts_with("HTTP/1.1 400 "));
        Ok(())
    }

    #[test]
    fn the_port_is_closed_when_the_server_is_dropped() -> anyhow::Result<()> {
        let (server, address) = echo()?;
        let idle = TcpStream::connect(&address)?;
        drop(server);
        assert!(TcpStream::connect(&address).is_err());
        drop(idle);
        Ok(())
    }
}
