//! The ledger on disk: an append-only file of checked lines, rewritten whole when it has grown.
//!
//! Owns crash safety. A line is `<16 hex digits of SHA-256> <JSON>\n` and counts only when its digest fits, so a torn or
//! truncated line is as if never written. An append returns after `fdatasync`; a rewrite goes to a second file that is
//! synced and renamed over the first. After a failed append the file is cut back to its last good length, so that half a
//! line never swallows the next one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{
    ledger::Record,
    limits::{JOURNAL_BYTES_MAX, JOURNAL_LINES_MAX},
};

const FILE_NAME: &str = "journal";
const DIGEST_HEX: usize = 16;

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the journal {}", path.display())]
pub struct JournalError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A journal file, or nothing at all for devices that keep their memory only while they run.
#[derive(Debug)]
pub struct Journal {
    disk: Option<Disk>,
}

#[derive(Debug)]
struct Disk {
    directory: PathBuf,
    path: PathBuf,
    file: File,
    /// Bytes known to hold whole lines.
    length: u64,
    lines: usize,
    /// The tail beyond `length` may hold half a line.
    torn: bool,
    /// Something could not be appended: only a rewrite makes the file whole again.
    stale: bool,
}

impl Journal {
    /// A journal that forgets when the process ends: for swarms of simulated devices.
    #[must_use]
    pub const fn in_memory() -> Self {
        Self { disk: None }
    }

    /// Opens or makes the journal in `directory` and reads what it holds. Lines that fail their check are skipped and
    /// the file is cut behind the last good one.
    ///
    /// # Errors
    /// When the directory or file cannot be made, read, or is larger than [`JOURNAL_BYTES_MAX`].
    pub fn open(directory: &Path) -> Result<(Self, Vec<Record>), JournalError> {
        let path = directory.join(FILE_NAME);
        let fail = |action| {
            let path = path.clone();
            move |source| JournalError {
                action,
                path,
                source,
            }
        };
        fs::create_dir_all(directory).map_err(fail("make the directory of"))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fail("open"))?;
        let mut bytes = Vec::new();
        let size = file.metadata().map_err(fail("measure"))?.len();
        if size > JOURNAL_BYTES_MAX {
            return Err(fail("read")(io::Error::from(io::ErrorKind::FileTooLarge)));
        }
        file.read_to_end(&mut bytes).map_err(fail("read"))?;
        let (records, length) = parse(&bytes);
        let mut disk = Disk {
            directory: directory.to_owned(),
            path: path.clone(),
            file,
            length,
            lines: records.len(),
            torn: length < size,
            stale: false,
        };
        disk.mend().map_err(fail("mend"))?;
        sync_directory(directory).map_err(fail("sync the directory of"))?;
        Ok((Self { disk: Some(disk) }, records))
    }

    /// Writes records and returns when they will survive a crash.
    ///
    /// # Errors
    /// When the disk refuses; then none of these records is in the journal.
    pub fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let Some(disk) = &mut self.disk else {
            return Ok(());
        };
        let fail = |path: &Path, source| JournalError {
            action: "append to",
            path: path.to_owned(),
            source,
        };
        let text = encode(records).map_err(|source| fail(&disk.path, source))?;
        disk.append(&text, records.len()).map_err(|source| {
            disk.stale = true;
            fail(&disk.path, source)
        })
    }

    /// Whether nothing is written at all.
    #[must_use]
    pub const fn is_in_memory(&self) -> bool {
        self.disk.is_none()
    }

    /// Whether the file has grown enough to be written anew, or missed a record.
    #[must_use]
    pub fn wants_rewrite(&self) -> bool {
        self.disk
            .as_ref()
            .is_some_and(|disk| disk.stale || disk.lines > JOURNAL_LINES_MAX)
    }

    /// Replaces the whole file by these records, in one atomic step.
    ///
    /// # Errors
    /// When the disk refuses; then the old file stays.
    pub fn rewrite(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let Some(disk) = &mut self.disk else {
            return Ok(());
        };
        disk.rewrite(records).map_err(|source| JournalError {
            action: "rewrite",
            path: disk.path.clone(),
            source,
        })
    }
}

impl Disk {
    fn append(&mut self, text: &str, lines: usize) -> io::Result<()> {
        if self.torn {
            self.mend()?;
        }
        self.torn = true;
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()?;
        self.torn = false;
        self.length += text.len() as u64;
        self.lines += lines;
        Ok(())
    }

    /// Cuts the file behind its last good line and puts the cursor there.
    fn mend(&mut self) -> io::Result<()> {
        use io::Seek as _;
        if self.torn {
            self.file.set_len(self.length)?;
            self.file.sync_data()?;
        }
        self.file.seek(io::SeekFrom::Start(self.length))?;
        self.torn = false;
        Ok(())
    }

    fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        let text = encode(records)?;
        let fresh = self.path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        // From here on the old file has no name: the new one is ours even when the directory cannot be synced.
        self.file = file;
        self.length = text.len() as u64;
        self.lines = records.len();
        (self.torn, self.stale) = (false, false);
        sync_directory(&self.directory)
    }
}

/// Makes a rename or a new name in `directory` survive a power cut.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn encode(records: &[Record]) -> io::Result<String> {
    let mut text = String::new();
    for record in records {
        let json = serde_json::to_string(record).map_err(io::Error::other)?;
        text.push_str(&digest(json.as_bytes()));
        text.push(' ');
        text.push_str(&json);
        text.push('\n');
    }
    Ok(text)
}

/// The good records, and the length up to the end of the last good line.
fn parse(bytes: &[u8]) -> (Vec<Record>, u64) {
    let (mut records, mut at, mut good) = (Vec::new(), 0, 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        if let Some(record) = parse_line(line) {
            records.push(record);
            good = at;
        }
    }
    (records, good as u64)
}

fn parse_line(line: &[u8]) -> Option<Record> {
    let line = line.strip_suffix(b"\n")?;
    let (check, rest) = line.split_at_checked(DIGEST_HEX)?;
    let json = rest.strip_prefix(b" ")?;
    (digest(json).as_bytes() == check)
        .then(|| serde_json::from_slice(json).ok())
        .flatten()
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(DIGEST_HEX);
    for byte in Sha256::digest(bytes).iter().take(DIGEST_HEX / 2) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ledger::Report;

    fn kept(key: u64) -> Record {
        Record::Kept(Report {
            key,
            event: "status_update".to_owned(),
            payload: json!({ "status": "failed", "n": key }),
        })
    }

    fn keys(records: &[Record]) -> Vec<u64> {
        records
            .iter()
            .filter_map(|record| {
                if let Record::Kept(report) = record {
                    Some(report.key)
                } else {
                    None
                }
            })
            .collect()
    }

    #[test]
    fn every_truncation_keeps_all_whole_lines_and_accepts_new_ones() {
        let source = tempfile::tempdir().unwrap();
        let (mut journal, found) = Journal::open(source.path()).unwrap();
        assert!(found.is_empty());
        journal.append(&[kept(0), kept(1)]).unwrap();
        journal.append(&[kept(2)]).unwrap();
        let whole = fs::read(source.path().join(FILE_NAME)).unwrap();
        let line = whole.len() / 3;
        let directory = tempfile::tempdir().unwrap();
        // Around every end of a line, and here and there inside.
        let edges = (0..=whole.len()).filter(|cut| (cut + 1) % line <= 2 || cut % 29 == 0);
        for cut in edges {
            fs::write(directory.path().join(FILE_NAME), &whole[..cut]).unwrap();
            let (mut journal, found) = Journal::open(directory.path()).unwrap();
            let expected: Vec<u64> = (0..(cut / line) as u64).collect();
            assert_eq!(keys(&found), expected, "cut at {cut}");
            journal.append(&[kept(9)]).unwrap();
            let (_, again) = Journal::open(directory.path()).unwrap();
            assert_eq!(keys(&again), [expected, vec![9]].concat(), "cut at {cut}");
        }
    }

    #[test]
    fn a_torn_line_in_the_middle_costs_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        journal.append(&[kept(0), kept(1), kept(2)]).unwrap();
        let path = directory.path().join(FILE_NAME);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
        fs::write(&path, bytes).unwrap();
        let (_, found) = Journal::open(directory.path()).unwrap();
        assert_eq!(keys(&found), [0, 2]);
    }

    #[test]
    fn a_rewrite_replaces_the_file_and_appends_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        for key in 0..20 {
            journal.append(&[kept(key)]).unwrap();
        }
        journal.rewrite(&[kept(19)]).unwrap();
        journal.append(&[kept(20)]).unwrap();
        let (_, found) = Journal::open(directory.path()).unwrap();
        assert_eq!(keys(&found), [19, 20]);
    }

    #[test]
    fn half_a_rewrite_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        journal.append(&[kept(1)]).unwrap();
        fs::write(directory.path().join("journal.new"), b"half").unwrap();
        let (_, found) = Journal::open(directory.path()).unwrap();
        assert_eq!(keys(&found), [1]);
    }
}
