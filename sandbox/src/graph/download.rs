//! The download host: signed URLs, ranges, and no token wanted.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::drive::{Drive, Item, Kind, Place};
use super::state::State;
use crate::wire::{Request, Response, encode_percent};

/// Makes the path and query under which a file can be fetched until it expires or changes.
///
/// The signature is over every byte of the target, and over the cTag.
pub(super) fn signed_target(drive: &Drive, item: &Item, expires_at: i64) -> String {
    let path = format!("/{}/_layouts/15/download.aspx", drive.owner);
    let query = |signature: &str| {
        format!("UniqueId={}&Translate=false&tempauth=v1.{expires_at}.{signature}&ApiVersion=2.0", item.guid)
    };
    let signed = format!("{path}?{} {} of the download host", query(""), item.c_tag());
    let signature = URL_SAFE_NO_PAD.encode(Sha256::digest(signed));
    format!("{path}?{}", query(&signature))
}

/// Answers the download host's one route.
pub(super) fn answer(state: &State, request: &Request) -> Response {
    if request.method != "GET" || !request.path().ends_with("/_layouts/15/download.aspx") {
        return Response::outside_contract(&format!("{} {}", request.method, request.path()));
    }
    if request.header("authorization").is_some() {
        return Response::text(
            401,
            "text/html; charset=utf-8",
            "<html><head><title>401 UNAUTHORIZED</title></head><body>Unauthorized</body></html>",
        );
    }
    let Some((drive, place)) = find(state, request) else {
        return Response::text(401, "text/html; charset=utf-8", "Unauthorized");
    };
    let item = state.drives[drive].item(place);
    if let Some(name) = &item.malware {
        let error = serde_json::json!({"error": {
            "code": "malwareDetected",
            "message": "Malware detected",
            "innerError": {"code": "virusSuspicious"},
        }});
        return Response::json(403, &error).with("X-Virus-Infected", name);
    }
    let Kind::File(content) = &item.kind else {
        return Response::empty(404);
    };
    let bytes = content.sent();
    let range = request.header("range").filter(|_| !state.ranges_ignored);
    send(&bytes, range)
        .with("Content-Disposition", format!("attachment; filename*=UTF-8''{}", encode_percent(&item.name, "")))
        .with("Accept-Ranges", "bytes")
        .with("ETag", item.e_tag())
}

fn find(state: &State, request: &Request) -> Option<(usize, Place)> {
    let value = |name: &str| request.query().split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let guid = value("UniqueId")?;
    let expires_at: i64 = value("tempauth")?.strip_prefix("v1.")?.split('.').next()?.parse().ok()?;
    let (drive, place) =
        state.drives.iter().enumerate().find_map(|(index, drive)| Some((index, drive.by_guid(guid)?)))?;
    let found = &state.drives[drive];
    let genuine = request.target == signed_target(found, found.item(place), expires_at);
    (genuine && state.now().timestamp() < expires_at).then_some((drive, place))
}

fn send(bytes: &[u8], range: Option<&str>) -> Response {
    let total = bytes.len();
    match range.and_then(|range| parse_range(range, total)) {
        None => Response::bytes(200, "application/octet-stream", bytes.to_vec()),
        Some((start, end)) if start < end => {
            Response::bytes(206, "application/octet-stream", bytes[start..end].to_vec())
                .with("Content-Range", format!("bytes {start}-{}/{total}", end - 1))
        }
        Some(_) => Response::empty(416).with("Content-Range", format!("bytes */{total}")),
    }
}

/// Start and end (exclusive) of a single range; an empty one cannot be satisfied.
///
/// `None` for what is no single byte range: such a header is ignored by RFC 9110.
fn parse_range(range: &str, total: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let length: usize = last.parse().ok()?;
        return Some((total.saturating_sub(length), total));
    }
    let start: usize = first.parse().ok()?;
    let end = if last.is_empty() { total } else { last.parse::<usize>().ok()?.checked_add(1)? };
    if !last.is_empty() && end <= start {
        return None;
    }
    Some((start.min(total), end.min(total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_satisfied_ignored_or_out_of_bounds() {
        let status = |range| send(b"0123456789", Some(range)).status;
        assert_eq!(send(b"0123456789", Some("bytes=4-6")).body, b"456");
        assert_eq!(send(b"0123456789", Some("bytes=-3")).body, b"789");
        assert_eq!(send(b"0123456789", Some("bytes=4-")).header("content-range"), Some("bytes 4-9/10"));
        assert_eq!(status("bytes=10-"), 416);
        assert_eq!(status("bytes=0-1,4-5"), 200);
        assert_eq!(status("bytes=6-4"), 200);
    }
}
