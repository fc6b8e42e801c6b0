//! The place that archives go to: a bucket of an S3-compatible store, or a folder.
//!
//! What such stores have in common is little: an object is there as a whole or not at all, what is sent is compared with the hash in the
//! request's signature, and a condition keeps a name from being written over. What is stored is only certain when it was read back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
};
use tokio::task::yield_now;

use super::connect::Connector;
use super::crypt::{CryptProblem, Opener, WrappingKey};
use super::pace::Pacer;
use super::put::{PIECE, remove_left};
use super::settings::{Settings, Target};
use super::source::Source;
use crate::archive::{Digest, hex};

/// A store that can be reached, as far as is known.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) kind: Kind,
    /// What objects' addresses begin with.
    base: String,
    prefix: Path,
    pub(super) pacer: Arc<Pacer>,
}

#[derive(Debug)]
pub(super) enum Kind {
    S3(Box<AmazonS3>),
    Folder(LocalFileSystem, PathBuf),
}

/// Why something cannot be brought to the store.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The store does not do what it is asked to. It may later.
    #[error("{0}")]
    Store(#[from] object_store::Error),
    /// Another object has its name.
    #[error("the store has something else under this name ({0}); move that away, nothing is written over")]
    Taken(String),
    /// What was stored is not what was sent.
    #[error("what the store has is not what was sent ({0}); remove it there, then it is sent again")]
    Damaged(String),
    /// The local file is not what the manifest says.
    #[error("the file here is not what it was when it was completed; `lockgate-recorder verify` tells more")]
    Changed,
    /// The local file cannot be read, or what is known of the upload not be written.
    #[error("{0}")]
    Local(#[from] std::io::Error),
}

impl Trouble {
    /// What it is about, without numbers and times: so that the same is not told again and again.
    pub(super) fn gist(&self) -> String {
        let mut innermost: &dyn std::error::Error = self;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        innermost.to_string().chars().take(GIST).collect()
    }
}

/// What reading an object back came to.
enum ReadBack {
    Content(Digest),
    Unreadable(CryptProblem),
}

/// What notes that from now on there may be an object of ours, so that a crash leaves nothing behind; with the number of an upload in
/// pieces as long as the store may have any, otherwise with nothing.
pub(super) type NotePending<'a> = &'a dyn Fn(&str) -> std::io::Result<()>;

impl Store {
    /// Makes ready; nothing is asked of the store yet.
    pub(super) fn open(settings: &Settings) -> object_store::Result<Self> {
        let pacer = Arc::new(Pacer::new(settings.rate));
        let (kind, prefix) = match &settings.target {
            Target::Folder(folder) => {
                let files = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
                (Kind::Folder(files, folder.clone()), Path::default())
            }
            Target::Bucket { bucket, prefix } => {
                let s3 = s3(settings, bucket, &pacer)?;
                (Kind::S3(Box::new(s3)), Path::parse(prefix)?)
            }
        };
        Ok(Self { kind, base: settings.base(), prefix, pacer })
    }

    pub(super) fn objects(&self) -> &dyn ObjectStore {
        match &self.kind {
            Kind::S3(s3) => s3.as_ref(),
            Kind::Folder(files, _) => files,
        }
    }

    /// The object with this name, `room/session/file`.
    pub(super) fn path(&self, name: &str) -> object_store::Result<Path> {
        let mut path = self.prefix.clone();
        Path::parse(name)?.parts().for_each(|part| path = path.clone().join(part));
        Ok(path)
    }

    /// Where it is, for people and for the ledger.
    pub(super) fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    /// The name of what is at such an address, if it is in this store.
    pub(super) fn name_of<'a>(&self, url: &'a str) -> Option<&'a str> {
        url.strip_prefix(&self.base)?.strip_prefix('/')
    }

    /// Whether it can be written and read, and keeps what is there when it is told to.
    pub(super) async fn probe(&self) -> Result<(), Trouble> {
        match self.head(MISSING).await {
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(std::io::Error::other(EVERYTHING).into()),
        }
        let (path, content) = (self.path(PROBE)?, PutPayload::from_static(b"lockgate-recorder may write here\n"));
        for _ in 0..2 {
            match self.objects().put_opts(&path, content.clone(), PutMode::Create.into()).await {
                Ok(_) => {}
                Err(object_store::Error::AlreadyExists { .. }) => {
                    self.objects().get(&path).await?.bytes().await?;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(std::io::Error::other(UNCONDITIONAL).into())
    }

    /// Uploads under a name that nothing has yet, and reads it back. It is no error if the same content is there.
    pub(super) async fn upload(
        &self,
        name: &str,
        source: &mut Source,
        key: Option<&WrappingKey>,
        note: NotePending<'_>,
    ) -> Result<(Digest, ObjectMeta), Trouble> {
        let path = self.path(name)?;
        let there = match self.objects().head(&path).await {
            Ok(_) => true,
            Err(object_store::Error::NotFound { .. }) => match self.put(&path, source, note).await {
                Ok(()) => false,
                Err(Trouble::Store(object_store::Error::AlreadyExists { .. })) => true,
                Err(trouble) => return Err(trouble),
            },
            Err(error) => return Err(error.into()),
        };
        // What was not sent is read all the same: its hash is what the store's is compared with.
        while there && !source.next(PIECE)?.is_empty() {
            // All that is uploaded shares one thread.
            yield_now().await;
        }
        let sent = source.digest().ok_or(Trouble::Changed)?;
        let (stored, meta) = self.read_back(&path, key).await?;
        match stored {
            ReadBack::Content(stored) if stored == sent => Ok((sent, meta)),
            ReadBack::Content(_) if there => Err(Trouble::Taken(format!("{} bytes", meta.size))),
            ReadBack::Content(stored) => Err(Trouble::Damaged(format!("SHA-256 {}", stored.sha256))),
            ReadBack::Unreadable(problem) if there => Err(Trouble::Taken(problem.to_string())),
            ReadBack::Unreadable(problem) => Err(Trouble::Damaged(problem.to_string())),
        }
    }

    async fn read_back(&self, path: &Path, key: Option<&WrappingKey>) -> Result<(ReadBack, ObjectMeta), Trouble> {
        let got = self.objects().get(path).await?;
        let meta = got.meta.clone();
        let mut stream = got.into_stream();
        let (mut context, mut bytes) = (Context::new(&SHA256), 0);
        let mut hash = |piece: &[u8]| {
            context.update(piece);
            bytes += piece.len() as u64;
            Ok::<_, CryptProblem>(())
        };
        let mut opener = key.map(Opener::new);
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            if matches!(self.kind, Kind::Folder(..)) {
                self.pacer.pass(piece.len()).await;
            }
            let read = match &mut opener {
                Some(opener) => opener.push(&piece, &mut hash),
                None => hash(&piece),
            };
            if let Err(problem) = read {
                return Ok((ReadBack::Unreadable(problem), meta));
            }
        }
        match opener.map_or(Ok(()), |opener| opener.finish(&mut hash)) {
            Err(problem) => Ok((ReadBack::Unreadable(problem), meta)),
            Ok(()) => Ok((ReadBack::Content(Digest { bytes, sha256: hex(context.finish().as_ref()) }), meta)),
        }
    }

    /// What the store says of an object.
    pub(super) async fn head(&self, name: &str) -> object_store::Result<ObjectMeta> {
        self.objects().head(&self.path(name)?).await
    }

    /// Removes an object; it is no error if there is none.
    pub(super) async fn delete(&self, name: &str) -> object_store::Result<()> {
        match self.objects().delete(&self.path(name)?).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            result => result,
        }
    }

    /// Clears away what an upload that did not come to its end left beside its object: the pieces of this number, or files.
    pub(super) async fn clear(&self, path: &Path, upload: &str) -> Result<(), Trouble> {
        match &self.kind {
            Kind::Folder(_, folder) => Ok(remove_left(&folder.join(path.as_ref()))?),
            Kind::S3(_) if upload.is_empty() => Ok(()),
            Kind::S3(s3) => match s3.abort_multipart(path, &upload.to_owned()).await {
                // It was completed, or the store has cleared it away.
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                result => Ok(result?),
            },
        }
    }
}

fn s3(settings: &Settings, bucket: &str, pacer: &Arc<Pacer>) -> object_store::Result<AmazonS3> {
    let types =
        [("webm", "video/webm"), ("mkv", "video/x-matroska"), ("json", "application/json"), ("vtt", "text/vtt")];
    let options = types
        .iter()
        .fold(ClientOptions::new(), |options, (ending, kind)| options.with_content_type_for_suffix(*ending, *kind));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&settings.region)
        .with_credentials(Arc::new(settings.credentials.clone()))
        .with_client_options(options)
        .with_allow_http(true)
        // Not every store knows how to delete many with one request.
        .with_disable_bulk_delete(true)
        .with_http_connector(Connector(Arc::clone(pacer)))
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: 4,
            retry_timeout: Duration::from_secs(60),
        });
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    builder.build()
}

/// When the store has refused so often in a row, it is away, and the rest need not be tried.
pub(super) const AWAY_AFTER: usize = 3;
/// Behind this stand request numbers and the like.
const GIST: usize = 60;
const PROBE: &str = ".lockgate-probe";
const MISSING: &str = ".lockgate-missing";
const EVERYTHING: &str = "the store has an object `.lockgate-missing`, which it must not: remove it";
const UNCONDITIONAL: &str = "the store writes over what is there although it is told not to (If-None-Match): use one that knows conditional writes";
