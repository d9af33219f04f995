//! `$batch`: operations in order, change sets done whole or not at all.

use std::collections::{HashMap, HashSet};

use super::service::Refusal;
use crate::wire::{Request, Response, numbered_guid};

/// The most operations a batch may hold.
const LIMIT: usize = 1000;

/// What a batch asks for.
#[derive(Debug)]
pub(super) enum Item {
    One(Operation),
    ChangeSet(Vec<Operation>),
}

#[derive(Debug, Clone)]
pub(super) struct Operation {
    content_id: Option<String>,
    pub(super) request: Request,
}

/// Reads a batch; anything that is not as documented refuses the whole of it.
pub(super) fn read(request: &Request) -> Result<Vec<Item>, Refusal> {
    let kind = request.header("content-type").unwrap_or_default();
    let Some(boundary) = boundary_of(kind) else {
        return Err(malformed("The batch request must have Content-Type multipart/mixed."));
    };
    let mut items = Vec::new();
    let (mut count, mut ids) = (0, HashSet::new());
    for part in parts(&request.body, &boundary)? {
        let (headers, content) = headers_of(part)?;
        let kind = value(&headers, "content-type").unwrap_or_default();
        let item = match boundary_of(kind) {
            Some(inner) => {
                let mut operations = Vec::new();
                for part in parts(content, &inner)? {
                    let (headers, content) = headers_of(part)?;
                    let operation = operation(&headers, content)?;
                    if operation.content_id.is_none() {
                        return Err(malformed("A request in a change set must have a Content-ID."));
                    }
                    if operation.request.method == "GET" {
                        return Err(malformed("A change set cannot hold a GET request."));
                    }
                    operations.push(operation);
                }
                Item::ChangeSet(operations)
            }
            None => Item::One(operation(&headers, content)?),
        };
        let operations = match &item {
            Item::One(operation) => std::slice::from_ref(operation),
            Item::ChangeSet(operations) => operations,
        };
        count += operations.len();
        if !operations.iter().filter_map(|operation| operation.content_id.as_ref()).all(|id| ids.insert(id.clone())) {
            return Err(malformed("A Content-ID is used twice in the batch."));
        }
        items.push(item);
    }
    if count > LIMIT {
        return Err(malformed("The batch holds more than 1000 operations."));
    }
    Ok(items)
}

/// Runs a batch. `act` answers one operation; `mark` and `undo` keep a change set whole.
pub(super) fn run<S, M>(
    state: &mut S,
    request: &Request,
    number: u64,
    mut act: impl FnMut(&mut S, &Request) -> Response,
    mark: impl Fn(&S) -> M,
    undo: impl Fn(&mut S, M),
) -> Result<Response, Refusal> {
    let items = read(request)?;
    let go_on = request.header_parts("prefer").contains(&"odata.continue-on-error");
    let boundary = format!("batchresponse_{}", numbered_guid("batch answer", number));
    let mut body = Vec::new();
    let mut stopped = false;
    for (index, item) in items.iter().enumerate() {
        let failed = match item {
            Item::One(operation) => {
                let response = act(state, &operation.request);
                append(&mut body, &boundary, None, &response);
                response.status >= 400
            }
            Item::ChangeSet(operations) => {
                let before = mark(state);
                let mut answers: Vec<(String, Response)> = Vec::new();
                let mut created = HashMap::new();
                let mut failure = None;
                for operation in operations {
                    let id = operation.content_id.clone().unwrap_or_default();
                    let response = match resolved(&operation.request, &created) {
                        Some(request) => act(state, &request),
                        None => Response::json(
                            400,
                            &serde_json::json!({"error": {"code": "0x80060888", "message":
                                "A Content-ID is referred to before the request that bears it."}}),
                        ),
                    };
                    if response.status >= 400 {
                        failure = Some((id, response));
                        break;
                    }
                    if let Some(entity) = response.header("odata-entityid") {
                        created.insert(id.clone(), entity.to_owned());
                    }
                    answers.push((id, response));
                }
                let failed = failure.is_some();
                if let Some(failure) = failure {
                    // One answer stands for the whole set, of which nothing is left.
                    undo(state, before);
                    answers = vec![failure];
                }
                let inner = format!("changesetresponse_{}", numbered_guid(&boundary, index as u64));
                let head = format!("--{boundary}\r\nContent-Type: multipart/mixed; boundary={inner}\r\n\r\n");
                body.extend_from_slice(head.as_bytes());
                for (id, response) in &answers {
                    append(&mut body, &inner, Some(id), response);
                }
                body.extend_from_slice(format!("--{inner}--\r\n").as_bytes());
                failed
            }
        };
        if failed && !go_on {
            stopped = true;
            break;
        }
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let status = if stopped { 400 } else { 200 };
    Ok(Response::bytes(status, &format!("multipart/mixed; boundary={boundary}"), body))
}

/// Puts the addresses of earlier rows in place of `$1`; `None` where there is no such row yet.
fn resolved(request: &Request, created: &HashMap<String, String>) -> Option<Request> {
    let mut request = request.clone();
    if let Some(reference) = request.target.strip_prefix('$') {
        let (id, rest) = reference.split_at(reference.find(['/', '?']).unwrap_or(reference.len()));
        let entity = created.get(id)?;
        let path = entity.find("/api/").map_or(entity.as_str(), |at| &entity[at..]);
        request.target = format!("{path}{rest}");
    }
    // A lookup may lead to a row that the same set has just made.
    if let Ok(body) = std::str::from_utf8(&request.body)
        && body.contains("@odata.bind")
    {
        let bound = created.iter().fold(body.to_owned(), |body, (id, entity)| {
            let body = body.replace(&format!("@odata.bind\":\"${id}\""), &format!("@odata.bind\":\"{entity}\""));
            body.replace(&format!("@odata.bind\": \"${id}\""), &format!("@odata.bind\": \"{entity}\""))
        });
        request.body = bound.into_bytes();
    }
    Some(request)
}

fn append(body: &mut Vec<u8>, boundary: &str, content_id: Option<&str>, response: &Response) {
    let mut head = format!("--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n");
    if let Some(id) = content_id {
        head.push_str(&format!("Content-ID: {id}\r\n"));
    }
    head.push_str(&format!("\r\nHTTP/1.1 {} {}\r\n", response.status, phrase(response.status)));
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("OData-Version: 4.0\r\n\r\n");
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&response.body);
    body.extend_from_slice(b"\r\n");
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        412 => "Precondition Failed",
        429 => "Too Many Requests",
        501 => "Not Implemented",
        _ => "Error",
    }
}

fn operation(headers: &[(String, String)], content: &[u8]) -> Result<Operation, Refusal> {
    if !value(headers, "content-type").is_some_and(|kind| kind.eq_ignore_ascii_case("application/http")) {
        return Err(malformed("A part must have Content-Type application/http."));
    }
    if !value(headers, "content-transfer-encoding").is_some_and(|kind| kind.eq_ignore_ascii_case("binary")) {
        return Err(malformed("A part must have Content-Transfer-Encoding binary."));
    }
    let (line, rest) = line_of(content)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed("A part has no request line."));
    };
    let (headers_inside, body) = headers_of(rest)?;
    let target = match target.split_once("://") {
        Some((_, absolute)) => absolute.find('/').map_or("/", |at| &absolute[at..]).to_owned(),
        None if target.starts_with(['/', '$']) => target.to_owned(),
        None => format!("/api/data/v9.2/{target}"),
    };
    let request = Request {
        method: method.to_owned(),
        target,
        headers: headers_inside,
        body: body.strip_suffix(b"\r\n").unwrap_or(body).to_vec(),
    };
    Ok(Operation { content_id: value(headers, "content-id").map(str::to_owned), request })
}

fn boundary_of(kind: &str) -> Option<String> {
    let rest = kind.strip_prefix("multipart/mixed")?;
    let (_, boundary) = rest.split_once("boundary=")?;
    let boundary = boundary.split(';').next().unwrap_or_default().trim().trim_matches('"');
    (!boundary.is_empty()).then(|| boundary.to_owned())
}

/// The parts of a multipart body, which must end with its closing line.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<&'a [u8]>, Refusal> {
    let (open, close) = (format!("--{boundary}"), format!("--{boundary}--"));
    let mut found = Vec::new();
    let (mut at, mut from) = (0, None);
    while at < body.len() {
        let end = body[at..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |found| at + found + 1);
        let line = &body[at..end];
        let bare = line.strip_suffix(b"\r\n").unwrap_or(line);
        if bare == open.as_bytes() || bare == close.as_bytes() {
            if let Some(from) = from.replace(end) {
                found.push(&body[from..at]);
            }
            if bare == close.as_bytes() {
                return Ok(found);
            }
        } else if bare.strip_suffix(b"\n").is_some_and(|bare| bare == open.as_bytes()) {
            return Err(malformed("The lines of a batch end with CRLF."));
        }
        at = end;
    }
    Err(malformed("The batch has no closing boundary."))
}

type Headers = Vec<(String, String)>;

fn headers_of(part: &[u8]) -> Result<(Headers, &[u8]), Refusal> {
    let (mut headers, mut rest) = (Vec::new(), part);
    loop {
        let (line, after) = line_of(rest)?;
        rest = after;
        if line.is_empty() {
            return Ok((headers, rest));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("A line of a part is no header."))?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
}

fn line_of(text: &[u8]) -> Result<(&str, &[u8]), Refusal> {
    let end = text.windows(2).position(|pair| pair == b"\r\n");
    let end = end.ok_or_else(|| malformed("The lines of a batch end with CRLF."))?;
    let line = std::str::from_utf8(&text[..end]).map_err(|_| malformed("A line of the batch is no text."))?;
    Ok((line, &text[end + 2..]))
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn malformed(message: &str) -> Refusal {
    Refusal::new(400, "0x80048d19", message)
}
