//! Where programs of the system are, and who may run them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::unistd::{Uid, User};

/// A program on the search path, or in one of `elsewhere`.
///
/// # Errors
/// When it is nowhere; the message names the Debian package to install.
pub(crate) fn program(name: &str, elsewhere: &[PathBuf], package: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .chain(elsewhere.iter().cloned())
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .with_context(|| {
            format!("there is no {name}; on Debian, as root: apt-get install {package}")
        })
}

/// The account that programs run under that refuse to run as root; none when we are not root.
pub(crate) fn unprivileged() -> anyhow::Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    anyhow::bail!("there is no account but root to run a server under")
}

/// Gives a directory and what is in it to an account.
pub(crate) fn give(dir: &Path, user: &User) -> anyhow::Result<()> {
    std::os::unix::fs::chown(dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
        .with_context(|| format!("cannot give {} to {}", dir.display(), user.name))?;
    if dir.is_dir() {
        for entry in std::fs::read_dir(dir)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}
