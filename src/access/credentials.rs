//! The passwords of database roles, and the folder in which secrets are kept.
//!
//! Passwords are not stored: each is derived from one master key, so that the
//! role and Metabase's connection get the same without passing it on. Deleting
//! the key changes every password at the next reconciliation.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::warehouse::hmac_sha256;

/// Why a kept secret could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or its folder.
    #[error("failed to keep secrets in `{path}`")]
    Keep {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody shortened the key.
    #[error("the master key in `{path}` is too short")]
    Short {
        /// Which one.
        path: PathBuf,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Keep { .. } => Some("check the disk and the rights on `installation.data_dir`"),
            Self::Short { .. } => Some("delete the file: a new key is made and every password changes with it"),
        }
    }
}

/// The folder `secrets/` of an installation, readable by its user alone.
#[derive(Debug, Clone)]
pub struct Credentials {
    folder: PathBuf,
    master: SecretString,
}

impl Credentials {
    /// Opens the folder; makes it and the master key on first use.
    ///
    /// # Errors
    /// When they cannot be read or made.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let folder = data_dir.join("secrets");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|source| Error::Keep { path: folder.clone(), source })?;
        let made = Self { folder, master: SecretString::default() };
        let master = match made.read("master.key")? {
            Some(key) => key,
            None => {
                let fresh = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
                made.keep_first("master.key", &SecretString::from(fresh))?
            }
        };
        if master.expose_secret().len() < 40 {
            return Err(Error::Short { path: made.folder.join("master.key") });
        }
        Ok(Self { master, ..made })
    }

    /// Derives a database role's password.
    pub fn password(&self, role: &str) -> SecretString {
        self.derive(&format!("postgres role {role}"))
    }

    /// Derives what tells that a role's password changed, without telling the password.
    pub fn password_mark(&self, role: &str) -> String {
        self.derive(&format!("mark of postgres role {role}")).expose_secret().to_owned()
    }

    /// Derives what tells one secret from another, without telling either.
    pub fn secret_mark(&self, secret: &str) -> String {
        self.derive(&format!("mark of the secret {secret}")).expose_secret().to_owned()
    }

    fn derive(&self, purpose: &str) -> SecretString {
        let digest = hmac_sha256(self.master.expose_secret().as_bytes(), purpose.as_bytes());
        SecretString::from(URL_SAFE_NO_PAD.encode(digest))
    }

    /// Reads a kept secret.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<SecretString>, Error> {
        let path = self.folder.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(SecretString::from(text.trim_end().to_owned()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Keep { path, source }),
        }
    }

    /// Keeps a secret, in place of what was there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, name: &str, secret: &SecretString) -> Result<(), Error> {
        let path = self.folder.join(name);
        let partial = self.write_partial(name, secret)?;
        std::fs::rename(&partial, &path).map_err(|source| Error::Keep { path, source })
    }

    /// Forgets a secret.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn forget(&self, name: &str) -> Result<(), Error> {
        let path = self.folder.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::Keep { path, source: error }),
            _ => Ok(()),
        }
    }

    /// Keeps a secret unless another process was first; gives the one that stays.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_first(&self, name: &str, secret: &SecretString) -> Result<SecretString, Error> {
        let path = self.folder.join(name);
        let partial = self.write_partial(name, secret)?;
        let linked = std::fs::hard_link(&partial, &path);
        // The link is what counts; a left-over name harms nobody.
        let _removed = std::fs::remove_file(&partial);
        match linked {
            Ok(()) => Ok(secret.clone()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.read(name)?.ok_or(Error::Short { path }),
            Err(source) => Err(Error::Keep { path, source }),
        }
    }

    fn write_partial(&self, name: &str, secret: &SecretString) -> Result<PathBuf, Error> {
        let path = self.folder.join(format!("{name}.{:016x}", rand::random::<u64>()));
        let failed = |source| Error::Keep { path: path.clone(), source };
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).map_err(failed)?;
        file.write_all(secret.expose_secret().as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_role_gets_the_same_password_every_time_and_no_other_role_does() {
        let folder = tempfile::tempdir().unwrap();
        let (first, again) = (Credentials::open(folder.path()).unwrap(), Credentials::open(folder.path()).unwrap());
        assert_eq!(first.password("a").expose_secret(), again.password("a").expose_secret());
        assert_ne!(first.password("a").expose_secret(), first.password("b").expose_secret());
        assert_ne!(first.password("a").expose_secret(), first.password_mark("a"));
        assert!(!format!("{first:?}").contains(first.master.expose_secret()));
    }

    #[test]
    fn only_the_owner_can_read_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::open(folder.path()).unwrap();
        credentials.keep("x", &SecretString::from("1")).unwrap();
        credentials.keep("x", &SecretString::from("2")).unwrap();
        assert_eq!(credentials.read("x").unwrap().unwrap().expose_secret(), "2");
        for file in std::fs::read_dir(folder.path().join("secrets")).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        credentials.forget("x").unwrap();
        assert!(credentials.read("x").unwrap().is_none());
    }
}
