//! Proving who we are with a certificate: assertions signed with its key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::x509;

/// Life of an assertion; Entra takes five to ten minutes.
const LIFE: TimeDelta = TimeDelta::seconds(600);

/// How long before its end an assertion is replaced.
const MARGIN: TimeDelta = TimeDelta::seconds(60);

/// Why a certificate cannot be used. Never holds any of the key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A file is not there, or holds no such thing in PEM.
    #[error("failed to read {what} from `{}`: {message}", path.display())]
    Read {
        /// `the certificate` or `the private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the reader says; it quotes nothing of the file.
        message: String,
    },
    /// The certificate is damaged.
    #[error("the certificate in `{}` was not understood", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
    },
    /// The key is none that Entra takes.
    #[error("the private key in `{}` is no RSA key of 2048 to 8192 bits", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The two files have nothing to do with each other.
    #[error("the private key in `{}` is not the one of the certificate in `{}`", key.display(), certificate.display())]
    Pair {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The key did not sign.
    #[error("failed to sign with the private key")]
    Sign,
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => Some(
                "`microsoft.certificate_file` and `microsoft.private_key_file` are PEM; both may stand in one file, the key not encrypted",
            ),
            Self::Certificate { .. } => Some("export the certificate again, as PEM"),
            Self::Key { .. } => Some("Entra takes RSA certificates only"),
            Self::Pair { .. } => Some("give the key that the certificate was made for"),
            Self::Sign => None,
        }
    }
}

/// A certificate with its key, and the assertion that is in use.
pub(super) struct Certificate {
    key: RsaKeyPair,
    thumbprint: String,
    pub(super) expires_at: DateTime<Utc>,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    text: String,
    audience: String,
    dies_at: DateTime<Utc>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate {}", self.thumbprint)
    }
}

impl Certificate {
    /// Reads both; the same file may hold both.
    pub(super) fn read(certificate_file: &Path, key_file: &Path) -> Result<Self, Error> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |error: rustls_pki_types::pem::Error| Error::Read { what, path, message: worded(&error) }
        };
        let certificate =
            CertificateDer::from_pem_file(certificate_file).map_err(failed("the certificate", certificate_file))?;
        let key = PrivateKeyDer::from_pem_file(key_file).map_err(failed("the private key", key_file))?;
        let refused = |_| Error::Key { path: key_file.to_owned() };
        let key = match &key {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(refused)?,
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(refused)?,
            _ => return Err(Error::Key { path: key_file.to_owned() }),
        };
        let facts =
            x509::facts(&certificate).ok_or_else(|| Error::Certificate { path: certificate_file.to_owned() })?;
        if facts.public_key != key.public_key().as_ref() {
            return Err(Error::Pair { key: key_file.to_owned(), certificate: certificate_file.to_owned() });
        }
        let expires_at = facts.expires_at;
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate));
        Ok(Self { key, thumbprint, expires_at, kept: Mutex::default() })
    }

    /// Gives an assertion for a token endpoint, a new one only when the last is about to end.
    pub(super) fn assertion(&self, audience: &str, client_id: &str, now: DateTime<Utc>) -> Result<String, Error> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &*kept
            && kept.audience == audience
            && now < kept.dies_at - MARGIN
            && now >= kept.dies_at - LIFE
        {
            return Ok(kept.text.clone());
        }
        let dies_at = now + LIFE;
        let text = self.signed(audience, client_id, now, dies_at)?;
        *kept = Some(Kept { text: text.clone(), audience: audience.to_owned(), dies_at });
        Ok(text)
    }

    fn signed(
        &self,
        audience: &str,
        client_id: &str,
        now: DateTime<Utc>,
        dies_at: DateTime<Utc>,
    ) -> Result<String, Error> {
        let header = serde_json::json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let claims = serde_json::json!({
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": Uuid::new_v4(),
            "nbf": now.timestamp(),
            "iat": now.timestamp(),
            "exp": dies_at.timestamp(),
        });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
            .map_err(|_| Error::Sign)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The reader's words, without the bytes that some of them quote.
fn worded(error: &rustls_pki_types::pem::Error) -> String {
    use rustls_pki_types::pem::Error as Pem;
    match error {
        Pem::Io(error) => error.to_string(),
        Pem::NoItemsFound => "there is none in the file".to_owned(),
        _ => "the file is no PEM".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    fn pem(tag: &str, der: &[u8]) -> String {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {tag}-----\n{text}\n-----END {tag}-----\n")
    }

    fn key() -> (RsaKeyPair, String) {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'static> = key.as_der().unwrap();
        let text = pem("PRIVATE KEY", der.as_ref());
        (key, text)
    }

    fn certificate(key_pem: &str) -> String {
        let pair = rcgen::KeyPair::from_pem(key_pem).unwrap();
        rcgen::CertificateParams::new(vec!["storekeeper".to_owned()]).unwrap().self_signed(&pair).unwrap().pem()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_764_414_000 + seconds, 0).unwrap()
    }

    #[test]
    fn an_assertion_is_signed_kept_and_replaced_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let (key, key_pem) = key();
        let both = dir.path().join("both.pem");
        std::fs::write(&both, format!("{key_pem}{}", certificate(&key_pem))).unwrap();
        let certificate = Certificate::read(&both, &both).unwrap();
        let first = certificate.assertion("https://l.example/t/token", "app", at(0)).unwrap();
        assert_eq!(certificate.assertion("https://l.example/t/token", "app", at(539)).unwrap(), first);
        assert_ne!(certificate.assertion("https://l.example/t/token", "app", at(540)).unwrap(), first);
        // A clock that was put back must not send what only begins later.
        assert_ne!(certificate.assertion("https://l.example/t/token", "app", at(-1)).unwrap(), first);

        let (message, signature) = first.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.public_key().as_ref());
        public.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(message.split_once('.').unwrap().1).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!((&claims["sub"], &claims["iss"]), (&"app".into(), &"app".into()));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 600);
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused_and_nothing_of_them_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (_, one) = key();
        let (_, two) = key();
        let key_file = write("key.pem", &one);
        let certificate_file = write("certificate.pem", &certificate(&two));
        let refused = |certificate: &Path, key: &Path| Certificate::read(certificate, key).unwrap_err();
        assert!(matches!(refused(&certificate_file, &key_file), Error::Pair { .. }));
        assert!(matches!(refused(&key_file, &key_file), Error::Read { what: "the certificate", .. }));
        assert!(matches!(refused(&certificate_file, &dir.path().join("none")), Error::Read { .. }));
        let broken = write("broken.pem", &one.replace("-----END PRIVATE KEY-----", "c2VjcmV0"));
        let error = refused(&certificate_file, &broken);
        let body = one.lines().nth(1).unwrap();
        assert!(!format!("{error} {error:?}").contains(&body[..32]), "{error:?}");
        let curve = rcgen::KeyPair::generate().unwrap();
        let curve_file = write("curve.pem", &curve.serialize_pem());
        assert!(matches!(refused(&certificate_file, &curve_file), Error::Key { .. }));
    }
}
