//! Archives on a disk of their own, and a store that they go to.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate_model::carrier::{FileState, NodeTime, StartSession};
use lockgate_model::{PublisherId, RecordingId, RoomName};
use tempfile::TempDir;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::server::Server;
use crate::archive::{Archive, Budget, Durable, FileEntry, Group, NewFile, SessionEnd, SigningKey, seal};
use crate::upload::crypt::WrappingKey;
use crate::upload::jobs::Jobs;
use crate::upload::ledger::Ledger;
use crate::upload::pass::Pass;
use crate::upload::secret::Credentials;
use crate::upload::settings::{Settings, Target};
use crate::upload::store::Store;
use crate::webm::Finished;

/// Archives, and where they go.
pub(super) struct Site {
    pub(super) folder: TempDir,
    pub(super) settings: Settings,
    pub(super) delete_after: Option<Duration>,
}

impl Site {
    pub(super) fn with(target: impl FnOnce(&Path) -> (Target, Option<String>)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (target, endpoint) = target(folder.path());
        let keys = folder.path().join("keys");
        fs::write(&keys, format!("aws_access_key_id = id\naws_secret_access_key = {SECRET}\n")).unwrap();
        own(&keys);
        let settings = Settings {
            target,
            endpoint,
            region: "us-east-1".into(),
            credentials: Credentials::File(keys),
            parallel: 2,
            rate: None,
            keep_local: None,
            encryption_key: None,
        };
        Self { folder, settings, delete_after: None }
    }

    pub(super) fn folder() -> Self {
        Self::with(|folder| {
            fs::create_dir(folder.join("store")).unwrap();
            (Target::Folder(folder.join("store")), None)
        })
    }

    pub(super) fn bucket(server: &Server) -> Self {
        Self::with(|_| (Target::Bucket { bucket: "b".into(), prefix: "p".into() }, Some(server.endpoint())))
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().join("rec")
    }

    pub(super) fn archive(&self) -> PathBuf {
        self.root().join("r").join("s-1")
    }

    /// A file of the store, where that is a folder.
    pub(super) fn stored(&self, name: &str) -> PathBuf {
        self.folder.path().join("store/r/s-1").join(name)
    }

    pub(super) fn key(&mut self) -> WrappingKey {
        let path = self.folder.path().join("key");
        fs::write(&path, "07".repeat(32)).unwrap();
        own(&path);
        self.settings.encryption_key = Some(path.clone());
        WrappingKey::load(&path).unwrap()
    }

    /// A session that has these files, each of so many bytes, and runs.
    pub(super) fn running(&self, sizes: &[usize]) -> Archive {
        self.running_as("s-1", sizes)
    }

    fn running_as(&self, session: &str, sizes: &[usize]) -> Archive {
        let mut archive = Archive::open(&self.root(), &start(session), Durable::idle()).unwrap().archive;
        sizes.iter().for_each(|&size| record(&mut archive, size));
        archive.flush().unwrap();
        archive
    }

    /// The same, ended and sealed.
    pub(super) fn ended(&self, sizes: &[usize]) {
        self.ended_as("s-1", sizes);
    }

    /// The same for another session; its folder.
    pub(super) fn ended_as(&self, session: &str, sizes: &[usize]) -> PathBuf {
        let mut archive = self.running_as(session, sizes);
        archive.end(SessionEnd::Interrupted, None, 0).unwrap();
        let key = SigningKey::load_or_make(&self.folder.path().join("archive.pem")).unwrap();
        seal(archive.folder(), Some(&key), &Budget::new()).unwrap();
        archive.folder().to_owned()
    }

    /// A new life of the uploader: it knows what the folder says.
    pub(super) fn pass(&self) -> Pass {
        let store = Store::open(&self.settings).unwrap();
        let key = self.settings.encryption_key.as_deref().map(|path| WrappingKey::load(path).unwrap());
        Pass::new(Jobs::new(self.root(), Some(store), Some(&self.settings), key, self.delete_after))
    }

    /// One look in a new life.
    pub(super) fn look(&self) -> bool {
        run(self.pass().run())
    }

    pub(super) fn ledger(&self) -> Ledger {
        Ledger::load(&self.archive()).unwrap()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.ledger().files.into_keys().collect()
    }
}

/// Waits, and lets others go on.
pub(super) async fn until(is: impl Fn() -> bool) {
    let waiting = async {
        while !is() {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), waiting).await.expect("it happens within a minute");
}

pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn own(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn start(session: &str) -> StartSession {
    StartSession {
        session: RecordingId::new(session).unwrap(),
        room: RoomName::new("r").unwrap(),
        started_at_us: 1_769_860_800_000_000,
        started: NodeTime(0),
        epoch: 0,
    }
}

/// Makes a complete file. What is in it is not the uploader's business.
fn record(archive: &mut Archive, size: usize) {
    let NewFile { mut file, name, part } = archive.create(PublisherId(7), Group::Camera, "webm").unwrap();
    let bytes: Vec<_> = (0..size).map(|index| (index * 31 % 251 + part as usize) as u8).collect();
    file.write_all(&bytes).unwrap();
    let entry = FileEntry {
        path: format!("{name}.part"),
        state: FileState::Open,
        publisher_id: PublisherId(7),
        user_id: None,
        username: "Ann".into(),
        group: Group::Camera,
        part,
        start_us: 0,
        duration_ms: 0,
        bytes: 0,
        tracks: Vec::new(),
        sha256: None,
        mended: false,
    };
    archive.opened(entry, 0);
    archive.closed(&name, Finished { bytes: size as u64, duration_ms: 1000 }, 0, |_| {}).unwrap();
}

/// The key to the stores.
pub(super) const SECRET: &str = "hush-hush-hush";
