//! Folders of our own in places that others may write to.

use std::fs::{self, DirBuilder};
use std::io;
use std::path::Path;

use crate::Error;

/// Makes a folder, with those above it, that only its owner may read and write; or makes sure that one that is there is such a
/// folder: no link, owned by this user, never writable by others, in a place where others cannot put another one in its stead.
///
/// On systems without Unix modes it only makes the folder.
///
/// # Errors
/// [`Error::NotPrivate`], [`Error::Io`].
pub fn private_folder(path: &Path) -> Result<(), Error> {
    let failed = |error| Error::io(path, "create the folder", error);
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
    {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        _ => check(path),
    }
}

#[cfg(unix)]
fn check(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    const WRITABLE_BY_OTHERS: u32 = 0o022;
    const WRITABLE_BY_ALL: u32 = 0o002;
    const STICKY: u32 = 0o1000;

    let refused = |found: &'static str| {
        Err(Error::NotPrivate {
            path: path.to_owned(),
            found,
        })
    };
    let looked = |error| Error::io(path, "look up", error);
    let found = fs::symlink_metadata(path).map_err(looked)?;
    if !found.is_dir() {
        return refused("a link or a file");
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return refused("the folder of another user");
    }
    if found.mode() & WRITABLE_BY_OTHERS != 0 {
        return refused("a folder that others can write to");
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = fs::metadata(parent.unwrap_or(Path::new("."))).map_err(looked)?;
    if parent.mode() & WRITABLE_BY_ALL != 0 && parent.mode() & STICKY == 0 {
        return refused("a place where everybody can exchange folders");
    }
    if found.mode() & 0o777 != 0o700 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(looked)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn check(path: &Path) -> Result<(), Error> {
    match path.is_dir() {
        true => Ok(()),
        false => Err(Error::NotPrivate {
            path: path.to_owned(),
            found: "a link or a file",
        }),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refused(path: &Path) -> &'static str {
        match private_folder(path).unwrap_err() {
            Error::NotPrivate { found, .. } => found,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_others_prepared_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("new/folder");
        private_folder(&path).unwrap();
        private_folder(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        set_mode(&path, 0o755);
        private_folder(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        set_mode(&path, 0o770);
        assert_eq!(refused(&path), "a folder that others can write to");
        set_mode(&path, 0o700);

        let victim = parent.path().join("victim");
        fs::create_dir(&victim).unwrap();
        let link = parent.path().join("link");
        symlink(&victim, &link).unwrap();
        assert_eq!(refused(&link), "a link or a file");
        fs::write(parent.path().join("file"), b"").unwrap();
        assert_eq!(refused(&parent.path().join("file")), "a link or a file");

        set_mode(parent.path(), 0o777);
        let inside = parent.path().join("folder");
        assert_eq!(
            refused(&inside),
            "a place where everybody can exchange folders"
        );
        set_mode(parent.path(), 0o1777);
        private_folder(&inside).unwrap();
    }
}
