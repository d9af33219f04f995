//! What a client asks before it signs in: where the endpoints are, and whether the
//! authority is one of Microsoft's.

use serde_json::json;

use crate::wire::{Request, Response};

/// Answers the two documents that Microsoft's own client library reads first; `None` for any
/// other address.
pub(super) fn answer(base_url: &str, tenant_id: &str, request: &Request) -> Option<Response> {
    if request.method != "GET" {
        return None;
    }
    let host = base_url.split("://").last().unwrap_or(base_url);
    if request.path() == "/common/discovery/instance" {
        let body = json!({
            "tenant_discovery_endpoint": format!("{base_url}/{tenant_id}/v2.0/.well-known/openid-configuration"),
            "api-version": "1.1",
            "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
        });
        return Some(Response::json(200, &body));
    }
    let tenant = request.path().strip_suffix("/v2.0/.well-known/openid-configuration")?.strip_prefix('/')?;
    if !tenant.eq_ignore_ascii_case(tenant_id) {
        let text = format!("AADSTS90002: Tenant '{tenant}' not found.");
        return Some(Response::json(400, &json!({"error": "invalid_tenant", "error_description": text})));
    }
    let body = json!({
        "token_endpoint": format!("{base_url}/{tenant}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "issuer": format!("{base_url}/{tenant}/v2.0"),
        "authorization_endpoint": format!("{base_url}/{tenant}/oauth2/v2.0/authorize"),
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "subject_types_supported": ["pairwise"],
    });
    Some(Response::json(200, &body))
}
