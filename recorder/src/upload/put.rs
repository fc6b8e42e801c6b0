//! How objects get to the store: small ones with one request, large ones in pieces that become an object all at once.

use std::io;
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
            note("")?;
            self.objects().put_opts(path, content.into(), PutOptions::from(PutMode::Create)).await?;
            return Ok(());
        }
        match &self.kind {
            Kind::S3(s3) => self.put_in_pieces(s3, path, source, note).await,
            Kind::Folder(files, folder) => {
                note("")?;
                self.put_aside(files, folder, path, source).await
            }
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
        remove_left(&folder.join(path.as_ref()))?;
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

    /// The pieces go one by one; the last request makes the object of them. Nothing can be seen under its name before.
    async fn put_in_pieces(
        &self,
        s3: &AmazonS3,
        path: &Path,
        source: &mut Source,
        note: NotePending<'_>,
    ) -> Result<(), Trouble> {
        let upload = s3.create_multipart(path).await?;
        note(&upload)?;
        let sent = send_pieces(s3, path, &upload, source).await;
        // If this fails, too, the note stays as it is, and it is tried again; what went wrong first is what is told.
        if sent.is_err() && self.clear(path, &upload).await.is_ok() {
            note("")?;
        }
        sent
    }
}

async fn send_pieces(s3: &AmazonS3, path: &Path, upload: &String, source: &mut Source) -> Result<(), Trouble> {
    let (mut parts, size) = (Vec::<PartId>::new(), piece_size(source.length));
    loop {
        let piece = source.next(size)?;
        if piece.is_empty() {
            break;
        }
        parts.push(s3.put_part(path, upload, parts.len(), piece.into()).await?);
    }
    source.digest().ok_or(Trouble::Changed)?;
    match s3.complete_multipart(path, upload, parts).await {
        // Another object has the name, or this one: it was completed, the answer was lost, and it was asked for once more.
        Err(error @ (object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. })) => {
            Err(object_store::Error::AlreadyExists { path: path.to_string(), source: Box::new(error) }.into())
        }
        result => Ok(result.map(drop)?),
    }
}

/// S3 takes 10,000 pieces.
fn piece_size(length: u64) -> u64 {
    PIECE.max(length.div_ceil(9_000))
}

/// Removes what a crash left beside an object in a folder: what was to be linked to its name, and what `object_store` writes to first,
/// with `#` and a number behind the name.
pub(super) fn remove_left(object: &FilePath) -> io::Result<()> {
    let (Some(folder), Some(name)) = (object.parent(), object.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let left = entry.file_name();
        let behind = left.to_str().and_then(|left| left.strip_prefix(name));
        if behind.is_some_and(|behind| behind.starts_with(ASIDE) || behind.starts_with('#')) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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
