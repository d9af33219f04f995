//! Verifies what a client signed with its certificate.

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::service::Refused;

pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Clocks may differ by so much; the real service allows five minutes.
const CLOCK_GAP_SECONDS: i64 = 300;

/// A certificate that was entered for an application.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The application.
    pub client_id: String,
    /// The certificate, of which only the thumbprint is used.
    pub der: Vec<u8>,
    /// Its RSA key, as PKCS#1 has it.
    pub public_key: Vec<u8>,
}

/// Says whose assertion it is.
pub(super) fn check(
    text: &str,
    client_id: &str,
    audience: &str,
    certificates: &[Registered],
    now: DateTime<Utc>,
) -> Result<String, Refused> {
    let (header, claims) = parts(text).ok_or_else(malformed)?;
    if header["alg"] != "PS256" || header["typ"] != "JWT" {
        return Err(malformed());
    }
    let thumbprint = header["x5t#S256"].as_str().unwrap_or_default();
    let known = certificates
        .iter()
        .find(|known| known.client_id == client_id && URL_SAFE_NO_PAD.encode(Sha256::digest(&known.der)) == thumbprint);
    let Some(known) = known else {
        let text = format!(
            "The certificate with identifier used to sign the client assertion is not registered on application. \
             [Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}']"
        );
        return Err((401, "invalid_client", 700_027, text));
    };
    if !is_signed(text, &known.public_key) {
        return Err((401, "invalid_client", 50_012, "Client assertion contains an invalid signature.".to_owned()));
    }
    if claims["iss"] != client_id || claims["sub"] != client_id || claims["aud"] != audience {
        let text = "Client assertion audience claim does not match Realm issuer, or its subject is another.";
        return Err((401, "invalid_client", 700_023, text.to_owned()));
    }
    let moment = |name: &str| claims[name].as_i64().ok_or_else(malformed);
    let (begins, ends, now) = (moment("nbf")?, moment("exp")?, now.timestamp());
    if claims["jti"].as_str().is_none_or(str::is_empty) || !(300..=600).contains(&(ends - begins)) {
        return Err(malformed());
    }
    if now + CLOCK_GAP_SECONDS < begins || now >= ends + CLOCK_GAP_SECONDS {
        let text = "Client assertion is not within its valid time range.";
        return Err((401, "invalid_client", 700_024, text.to_owned()));
    }
    Ok(client_id.to_owned())
}

fn parts(text: &str) -> Option<(Value, Value)> {
    let mut parts = text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let header = serde_json::from_slice(&parts.next()??).ok()?;
    let claims = serde_json::from_slice(&parts.next()??).ok()?;
    Some((header, claims))
}

fn is_signed(text: &str, public_key: &[u8]) -> bool {
    let Some((message, signature)) = text.rsplit_once('.') else { return false };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, public_key).verify(message.as_bytes(), &signature).is_ok()
}

fn malformed() -> Refused {
    (400, "invalid_request", 50_027, "JWT token is invalid or malformed.".to_owned())
}
