//! The docker `config.json` that the controller was started with.
//!
//! In: its path. Out: its logins, as they are in the file now: it is read again when it changed, so that a rotated
//! password needs no restart. Never here: a login of an earlier content when the present one cannot be read.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::credentials::{ConfigFormat, Keyring, LARGEST_CONFIG, Source};

#[derive(Debug)]
pub struct CredentialFile {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Keyring>)>>,
}

/// What tells one content from another without reading it. A mounted Secret is swapped as a whole, with a new time.
type Stamp = (SystemTime, u64);

impl CredentialFile {
    /// Nothing is read yet: a Secret may be mounted later than the controller starts.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), read: Mutex::new(None) }
    }

    /// The logins, or a sentence about why there are none.
    pub async fn keyring(&self) -> Result<Arc<Keyring>, String> {
        self.load().await.map_err(|why| format!("the controller's credentials file {why}"))
    }

    async fn load(&self) -> Result<Arc<Keyring>, String> {
        let io = |error: std::io::Error| format!("cannot be read: {}", error.kind());
        let file = File::open(&self.path).await.map_err(io)?;
        // Of the open file, so that time and content belong together.
        let metadata = file.metadata().await.map_err(io)?;
        let stamp = (metadata.modified().map_err(io)?, metadata.len());
        if let Some((known, keyring)) = &*self.read.lock().unwrap_or_else(PoisonError::into_inner)
            && *known == stamp
        {
            return Ok(Arc::clone(keyring));
        }
        let mut bytes = Vec::new();
        // One byte more than allowed, so that the parser sees that it is too many.
        file.take(LARGEST_CONFIG as u64 + 1).read_to_end(&mut bytes).await.map_err(io)?;
        let keyring = Keyring::parse(ConfigFormat::Config, &bytes, &Source::ControllerFile).map_err(|error| error.to_string())?;
        let keyring = Arc::new(keyring);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((stamp, Arc::clone(&keyring)));
        tracing::info!(path = %self.path.display(), "registry credentials read");
        Ok(keyring)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn write(path: &Path, host: &str, age: u64) {
        fs::write(path, format!(r#"{{"auths": {{"{host}": {{"auth": "YTpi"}}}}}}"#)).unwrap();
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + age);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("bascule-{name}-{}.json", std::process::id()))
    }

    #[tokio::test]
    async fn a_file_that_changed_is_read_again_and_one_that_did_not_is_not() {
        let path = place("rotated");
        write(&path, "a.example", 1);
        let file = CredentialFile::new(&path);
        let first = file.keyring().await.unwrap();
        assert_eq!(first.logins("a.example", "web").count(), 1);
        assert!(Arc::ptr_eq(&first, &file.keyring().await.unwrap()));

        write(&path, "b.example", 2);
        let second = file.keyring().await.unwrap();
        assert_eq!((second.logins("a.example", "web").count(), second.logins("b.example", "web").count()), (0, 1));

        fs::remove_file(&path).unwrap();
        assert_eq!(file.keyring().await.unwrap_err(), "the controller's credentials file cannot be read: entity not found");
    }

    #[tokio::test]
    async fn a_broken_file_gives_no_logins_of_its_earlier_content() {
        let path = place("broken");
        write(&path, "a.example", 1);
        let file = CredentialFile::new(&path);
        file.keyring().await.unwrap();
        fs::write(&path, "{").unwrap();
        let why = file.keyring().await.unwrap_err();
        assert_eq!(why, "the controller's credentials file is not the JSON of a docker configuration (line 1, column 1)");
        fs::remove_file(&path).unwrap();
    }
}
