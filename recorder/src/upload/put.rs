//! How objects get to the store: small ones with one request, large ones in pieces that become an object all at once.

use std::path::Path as FilePath;

use object_store::aws::AmazonS3;
use object_store::local::LocalFileSystem;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutMode, PutOptions};

use super::source::Source;
use super::store::{Kind, NotePending, Store, Trouble};

impl Store {
    /// Stores under a name that nothing has.
    pub(super) async fn put(&self, path: &Path, source: &mut Source, note: NotePending<'_>) -> Result<(), Trouble> {
        if source.length <= PIECE {
            let content = source.next(PIECE + 1)?;
            source.digest().ok_or(Trouble::Changed)?;
            if matches!(self.kind, Kind::Folder(..)) {
                self.pacer.pass(content.len()).await;
            }
            self.objects().put_opts(path, content.into(), PutOptions::from(PutMode::Create)).await?;
            return Ok(());
        }
        match &self.kind {
            Kind::S3(s3) => put_in_pieces(s3, path, source, note).await,
            Kind::Folder(files, folder) => self.put_aside(files, folder, path, source).await,
        }
    }

    /// Into a folder: under another name first, which is then linked to the right one, unless that is taken.
    async fn put_aside(
        &self,
        files: &LocalFileSystem,
        folder: &FilePath,
        path: &Path,
        source: &mut Source,
    ) -> Result<(), Trouble> {
        let aside = Path::parse(format!("{path}{ASIDE}")).map_err(object_store::Error::from)?;
        remove_left(&folder.join(aside.as_ref()));
        let mut upload = files.put_multipart(&aside).await?;
        let written = self.write(upload.as_mut(), source).await;
        if let Err(trouble) = written {
            upload.abort().await?;
            return Err(trouble);
        }
        upload.complete().await?;
        let linked = files.rename_if_not_exists(&aside, path).await;
        if linked.is_err() {
            files.delete(&aside).await?;
        }
        Ok(linked?)
    }

    async fn write(&self, upload: &mut dyn MultipartUpload, source: &mut Source) -> Result<(), Trouble> {
        loop {
            let piece = source.next(PIECE)?;
            if piece.is_empty() {
                break;
            }
            self.pacer.pass(piece.len()).await;
            upload.put_part(piece.into()).await?;
        }
        source.digest().map(drop).ok_or(Trouble::Changed)
    }
}

/// The pieces go one by one; the last request makes the object of them. Nothing can be seen under its name before.
async fn put_in_pieces(s3: &AmazonS3, path: &Path, source: &mut Source, note: NotePending<'_>) -> Result<(), Trouble> {
    let upload = s3.create_multipart(path).await?;
    note(Some(&upload))?;
    let sent = async {
        let (mut parts, size) = (Vec::<PartId>::new(), piece_size(source.length));
        loop {
            let piece = source.next(size)?;
            if piece.is_empty() {
                break;
            }
            parts.push(s3.put_part(path, &upload, parts.len(), piece.into()).await?);
        }
        source.digest().ok_or(Trouble::Changed)?;
        match s3.complete_multipart(path, &upload, parts).await {
            Err(error @ object_store::Error::Precondition { .. }) => {
                let source = Box::new(error);
                Err(Trouble::Store(object_store::Error::AlreadyExists { path: path.to_string(), source }))
            }
            result => Ok(result.map(drop)?),
        }
    };
    if let Err(trouble) = sent.await {
        // If this fails, too, the note stays, and it is tried again.
        s3.abort_multipart(path, &upload).await?;
        note(None)?;
        return Err(trouble);
    }
    Ok(note(None)?)
}

/// S3 takes 10,000 pieces.
fn piece_size(length: u64) -> u64 {
    PIECE.max(length.div_ceil(9_000))
}

/// Removes what a crash left of an upload into a folder. `object_store` writes to a name with `#` and a number behind it.
fn remove_left(aside: &FilePath) {
    let (Some(folder), Some(name)) = (aside.parent(), aside.file_name().and_then(|name| name.to_str())) else { return };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|left| left.starts_with(name))
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            tracing::warn!(file = %entry.path().display(), %error, "what is left of an upload stays");
        }
    }
}

/// Sent at once, in bytes: S3 wants 5 MiB at least. This much of each file on its way is in memory.
pub(super) const PIECE: u64 = 8 << 20;
/// Behind the name of what is still written into a folder.
const ASIDE: &str = ".uploading";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_file_has_no_more_pieces_than_are_allowed() {
        assert_eq!(piece_size(1 << 20), PIECE);
        let most = 5_u64 << 40;
        assert!(most.div_ceil(piece_size(most)) <= 10_000);
    }
}
