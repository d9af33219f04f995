//! Certificates as files: signed, kept, verified.
//!
//! The JSON document holds the certificate and, beside it, a signature over exactly its
//! bytes; the HTML page ends in a comment with a signature over everything before it. Who
//! verifies needs the installation's public key from elsewhere: the one in the file proves
//! nothing.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::certificate::{Certificate, FORM};
use super::page;
use crate::access::{Credentials, CredentialsError};
use crate::warehouse::hexadecimal;

/// The secret half, among the kept secrets.
const SECRET: &str = "certificate.key";
/// The public half, for whoever verifies elsewhere.
const PUBLIC: &str = "certificate.pub";
const COMMENT: &str = "\n<!-- signature ";

/// Why a certificate could not be kept or believed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kept secrets.
    #[error("failed to open the key that signs certificates")]
    Credentials(#[from] CredentialsError),
    /// The key's file holds something else.
    #[error("the kept key `{SECRET}` is no Ed25519 key")]
    Key,
    /// The page could not be laid out.
    #[error("failed to lay the certificate out")]
    Page(#[source] minijinja::Error),
    /// Disk.
    #[error("failed to {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is neither of our two kinds of files.
    #[error("`{path}` is no certificate")]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// Somebody else signed it.
    #[error("`{path}` was signed with another key, `{found}`, not with `{expected}`")]
    OtherKey {
        /// Which file.
        path: PathBuf,
        /// The key in the file.
        found: String,
        /// Ours.
        expected: String,
    },
    /// The bytes and the signature do not belong together.
    #[error("`{path}` was changed since it was signed")]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// A public key that cannot be read.
    #[error("`{path}` holds no public key of an installation")]
    NoKey {
        /// Which file.
        path: PathBuf,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Credentials(error) => error.hint(),
            Self::Key => {
                Some("delete the file: a new key is made; older certificates verify with the older public key")
            }
            Self::File { .. } => Some("check the disk and the rights on `audit.dir` and `installation.data_dir`"),
            Self::Foreign { .. } => Some("give the .json or the .html file that `storekeeper audit` wrote"),
            Self::OtherKey { .. } => Some("give the public key of the installation that made it with --key"),
            Self::Changed { .. } => Some("do not rely on it; ask for the original, or audit again"),
            Self::NoKey { .. } => Some("give the certificate.pub of the installation's data folder"),
            Self::Page(_) => None,
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}

/// A certificate that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The document.
    pub json: PathBuf,
    /// The page.
    pub html: PathBuf,
    /// SHA-256 of the document.
    pub sha256: String,
    /// The key that signed both.
    pub key: String,
}

/// What a verified file says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// The file.
    pub file: PathBuf,
    /// The key that signed it.
    pub key: String,
    /// The certificate; a page holds none to read back.
    pub certificate: Option<Certificate>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    algorithm: String,
    key: String,
    public_key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    certificate: Box<RawValue>,
    signature: Signature,
}

struct Signer {
    pair: Ed25519KeyPair,
}

impl Signer {
    fn open(credentials: &Credentials) -> Result<Self, Error> {
        let kept = match credentials.read(SECRET)? {
            Some(kept) => kept,
            None => {
                let fresh = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| Error::Key)?;
                credentials.keep_first(SECRET, &SecretString::from(STANDARD.encode(fresh.as_ref())))?
            }
        };
        let bytes = STANDARD.decode(kept.expose_secret()).map_err(|_| Error::Key)?;
        Ok(Self { pair: Ed25519KeyPair::from_pkcs8(&bytes).map_err(|_| Error::Key)? })
    }

    fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        Signature {
            algorithm: "Ed25519".to_owned(),
            key: short(self.public()),
            public_key: STANDARD.encode(self.public()),
            value: STANDARD.encode(self.pair.sign(bytes).as_ref()),
        }
    }
}

/// A key's short name.
fn short(public: &[u8]) -> String {
    hexadecimal(&Sha256::digest(public)[..8])
}

/// Signs a certificate and writes both files, the newest `keep_last` of which stay.
///
/// # Errors
/// When the key or the folder cannot be used.
pub fn keep(
    certificate: &Certificate,
    credentials: &Credentials,
    data_dir: &Path,
    folder: &Path,
    keep_last: usize,
) -> Result<Kept, Error> {
    let signer = Signer::open(credentials)?;
    publish(&signer, data_dir)?;
    let body = serde_json::to_string_pretty(certificate).expect("a certificate is text and numbers");
    let signature = serde_json::to_string_pretty(&signer.sign(body.as_bytes())).expect("a signature is text");
    let json = format!("{{\n\"certificate\": {body},\n\"signature\": {signature}\n}}\n");
    let sha256 = hexadecimal(&Sha256::digest(&json));
    let mut html = page::render(certificate, &sha256, &short(signer.public())).map_err(Error::Page)?;
    let signature = serde_json::to_string(&signer.sign(html.as_bytes())).expect("a signature is text");
    writeln!(html, "{COMMENT}{signature} -->").expect("a string takes every text");
    fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
    let stem = format!("{}-{}", certificate.made_at.format("%Y%m%dT%H%M%SZ"), certificate.outcome);
    // Two audits of one second both stay.
    let free = (1_u32..).map(|number| if number == 1 { stem.clone() } else { format!("{stem}-{number}") });
    for stem in free {
        let (json_file, html_file) = (folder.join(format!("{stem}.json")), folder.join(format!("{stem}.html")));
        match new_file(&json_file, json.as_bytes()) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(failed("write", &json_file)(error)),
        }
        // A kill in between leaves a document without its page, which can be made anew.
        new_file(&html_file, html.as_bytes()).map_err(failed("write", &html_file))?;
        prune(folder, keep_last)?;
        return Ok(Kept { json: json_file, html: html_file, sha256, key: short(signer.public()) });
    }
    unreachable!("there are more numbers than files")
}

/// Puts the public key where others find it.
fn publish(signer: &Signer, data_dir: &Path) -> Result<(), Error> {
    let path = data_dir.join(PUBLIC);
    let text = format!("{}\n", STANDARD.encode(signer.public()));
    if fs::read_to_string(&path).is_ok_and(|known| known == text) {
        return Ok(());
    }
    fs::write(&path, text).map_err(failed("write", &path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(failed("open to readers", &path))
}

fn new_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

/// Removes the oldest; names begin with the time.
fn prune(folder: &Path, keep_last: usize) -> Result<(), Error> {
    let mut documents: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(failed("list", folder))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "json") && dated(path))
        .collect();
    documents.sort();
    let surplus = documents.len().saturating_sub(keep_last.max(1));
    for document in documents.into_iter().take(surplus) {
        for path in [document.with_extension("html"), document] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", &path)(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Only files of ours are ever removed.
fn dated(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.get(..16).is_some_and(|start| chrono::NaiveDateTime::parse_from_str(start, "%Y%m%dT%H%M%SZ").is_ok())
}

/// The public key that files are held against.
#[derive(Debug, Clone)]
pub struct Verifier(Vec<u8>);

impl Verifier {
    /// The installation's own key.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn own(credentials: &Credentials) -> Result<Self, Error> {
        Ok(Self(Signer::open(credentials)?.public().to_vec()))
    }

    /// The key of another installation, from its `certificate.pub`.
    ///
    /// # Errors
    /// When the file holds none.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(failed("read", path))?;
        let bytes = STANDARD.decode(text.trim()).ok().filter(|bytes| bytes.len() == 32);
        bytes.map(Self).ok_or_else(|| Error::NoKey { path: path.to_owned() })
    }
}

/// Says whether a file is what an audit of this installation wrote.
///
/// # Errors
/// When it is not, and why.
pub fn verify(path: &Path, verifier: &Verifier) -> Result<Verified, Error> {
    let foreign = || Error::Foreign { path: path.to_owned() };
    let text = fs::read_to_string(path).map_err(failed("read", path))?;
    let (signed, signature, certificate) = match text.rsplit_once(COMMENT) {
        Some((page, comment)) => {
            let comment = comment.strip_suffix(" -->\n").ok_or_else(foreign)?;
            let signature: Signature = serde_json::from_str(comment).map_err(|_| foreign())?;
            (page.to_owned(), signature, None)
        }
        None => {
            let document: Document = serde_json::from_str(&text).map_err(|_| foreign())?;
            let certificate: Certificate = serde_json::from_str(document.certificate.get()).map_err(|_| foreign())?;
            if certificate.form != FORM {
                return Err(foreign());
            }
            (document.certificate.get().to_owned(), document.signature, Some(certificate))
        }
    };
    let (found, expected) = (signature.key.clone(), short(&verifier.0));
    if signature.algorithm != "Ed25519" || STANDARD.decode(&signature.public_key).ok().as_ref() != Some(&verifier.0) {
        return Err(Error::OtherKey { path: path.to_owned(), found, expected });
    }
    let value = STANDARD.decode(&signature.value).map_err(|_| foreign())?;
    UnparsedPublicKey::new(&ED25519, &verifier.0)
        .verify(signed.as_bytes(), &value)
        .map_err(|_| Error::Changed { path: path.to_owned() })?;
    Ok(Verified { file: path.to_owned(), key: expected, certificate })
}

impl Verified {
    /// When the certificate was made, where the file tells.
    pub fn made_at(&self) -> Option<DateTime<Utc>> {
        self.certificate.as_ref().map(|certificate| certificate.made_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metabase::audit::certificate::{Coverage, Instance};

    fn certificate(outcome: &str, second: u32) -> Certificate {
        Certificate {
            form: FORM,
            installation: "demo".into(),
            instance: Instance { name: "BI".into(), url: "https://bi.example.com".into(), release: "v0.61.2".into() },
            storekeeper: "0.1.0".into(),
            made_at: format!("2026-03-02T06:00:{second:02}Z").parse().unwrap(),
            seconds: 1.0,
            wall: "store".into(),
            outcome: outcome.into(),
            outcome_hash: "00".into(),
            checks: 7,
            coverage: Coverage { full: true, seed: "s".into(), foreign_places: 1, foreign_tried: 1 },
            tried: [("questions".to_owned(), 7)].into(),
            leaks: Vec::new(),
            failures: Vec::new(),
            exposures: Vec::new(),
            unlisted: Vec::new(),
            groups: Vec::new(),
            people: Vec::new(),
            roles: Vec::new(),
        }
    }

    #[test]
    fn a_file_is_believed_as_it_was_written_and_in_no_other_form() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::open(folder.path()).unwrap();
        let kept = keep(&certificate("leaks", 1), &credentials, folder.path(), &folder.path().join("c"), 5).unwrap();
        let own = Verifier::own(&credentials).unwrap();
        let published = Verifier::from_file(&folder.path().join(PUBLIC)).unwrap();
        for verifier in [&own, &published] {
            assert_eq!(verify(&kept.json, verifier).unwrap().certificate.unwrap(), certificate("leaks", 1));
            assert!(verify(&kept.html, verifier).is_ok());
        }
        for file in [&kept.json, &kept.html] {
            let text = fs::read_to_string(file).unwrap();
            for (from, to) in [("v0.61.2", "v0.61.3"), ("leaks", "clean"), ("\n", "\n ")] {
                assert!(text.contains(from), "{from}");
                fs::write(file, text.replacen(from, to, 1)).unwrap();
                let refused = verify(file, &own);
                // A blank before the document's first key is none of its signed bytes.
                let outside = from == "\n" && file == &kept.json;
                assert_eq!(refused.is_ok(), outside, "{from} -> {to} in {}", file.display());
            }
            fs::write(file, text).unwrap();
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Verifier::own(&Credentials::open(elsewhere.path()).unwrap()).unwrap();
        assert!(matches!(verify(&kept.json, &other), Err(Error::OtherKey { .. })));
        fs::write(&kept.json, "{}").unwrap();
        assert!(matches!(verify(&kept.json, &own), Err(Error::Foreign { .. })));
    }

    #[test]
    fn the_newest_are_kept_and_what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::open(folder.path()).unwrap();
        let place = folder.path().join("c");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("notes.json"), "mine").unwrap();
        for second in [1, 1, 2, 3] {
            keep(&certificate("clean", second), &credentials, folder.path(), &place, 2).unwrap();
        }
        let mut names: Vec<String> =
            fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "20260302T060002Z-clean.html",
                "20260302T060002Z-clean.json",
                "20260302T060003Z-clean.html",
                "20260302T060003Z-clean.json",
                "notes.json"
            ]
        );
    }
}
