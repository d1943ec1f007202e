//! Names of archive entries: which are safe, and which resource each one carries.
//!
//! Nothing in hub unpacks an entry to a path of its own name, but the program that applies the firmware may:
//! a name that would be dangerous there is refused here.

use crate::error::FirmwareError;
use crate::limits::NAME_BYTES_MAX;

/// Characters of an unsafe name that a message shows.
const SHOWN_CHARS: usize = 80;

/// Accepts a relative, normalised name with `/` as the only separator, at most 255 bytes long.
pub(crate) fn check(raw: &[u8]) -> Result<&str, FirmwareError> {
    let unsafe_path = || FirmwareError::UnsafePath {
        name: String::from_utf8_lossy(raw)
            .chars()
            .take(SHOWN_CHARS)
            .collect(),
    };
    let name = std::str::from_utf8(raw).map_err(|_| unsafe_path())?;
    let odd = |c: char| c.is_control() || matches!(c, '\\' | ':');
    let climbs = |part: &str| part.is_empty() || part == "." || part == "..";
    if name.len() > NAME_BYTES_MAX || name.chars().any(odd) || name.split('/').any(climbs) {
        return Err(unsafe_path());
    }
    Ok(name)
}

/// The entry that carries a resource: `x` lies at `data/x`, and `/x` at `x`.
pub(crate) fn entry_of(resource: &str) -> String {
    match resource.strip_prefix('/') {
        Some(absolute) => absolute.to_owned(),
        None => format!("data/{resource}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_their_directory_are_refused() {
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "data/../../x",
            "data//x",
            "data/",
            "./x",
            "c:/x",
            "data\\x",
            "a\0b",
            "a\nb",
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(check(&[b'a'; NAME_BYTES_MAX + 1]).is_err());
        assert!(check(b"data/\xff").is_err());
        for good in [
            "meta.conf",
            "data/rootfs.img",
            "data/a/b..c",
            "data/...",
            "data/größe",
        ] {
            assert_eq!(check(good.as_bytes()).unwrap(), good);
        }
    }

    #[test]
    fn resources_lie_below_data_unless_absolute() {
        assert_eq!(entry_of("rootfs.img"), "data/rootfs.img");
        assert_eq!(entry_of("/boot/zImage"), "boot/zImage");
    }
}
