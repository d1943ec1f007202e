//! Writes signed `.fw` files: for the demo, for tests, and for builds without fwup.
//!
//! Follows fwup's layout: signature, `meta.conf`, resources in the order added. The same input gives the same bytes,
//! because every entry carries one fixed time. One task, `complete`, writes the resources behind one another.

use std::fmt::Write as _;
use std::io::{Cursor, Seek, Write};

use blake2::{Blake2b256, Digest};
use uuid::Uuid;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::error::FirmwareError;
use crate::keys::SigningKey;
use crate::limits::Limits;
use crate::meta::{self, Metadata};
use crate::path;

/// Block that offsets of a task are counted in.
const BLOCK_BYTES: usize = 512;

/// Why a firmware could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// What would be written would be refused when read.
    #[error("this input makes no valid firmware")]
    Invalid(#[source] FirmwareError),
    /// The destination failed.
    #[error("the firmware cannot be written")]
    Write(#[source] zip::result::ZipError),
}

/// A firmware to be written.
#[derive(Clone, Debug)]
pub struct Builder {
    metadata: Metadata,
    resources: Vec<(String, Vec<u8>)>,
}

impl Builder {
    /// Starts with what every firmware must say about itself.
    pub fn new(product: &str, version: &str, platform: &str, architecture: &str) -> Self {
        Self {
            metadata: Metadata {
                product: product.into(),
                version: version.into(),
                platform: platform.into(),
                architecture: architecture.into(),
                ..Metadata::default()
            },
            resources: Vec::new(),
        }
    }

    /// Starts with complete metadata.
    pub fn with_metadata(metadata: Metadata) -> Self {
        Self {
            metadata,
            resources: Vec::new(),
        }
    }

    /// Adds the description.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.metadata.description = Some(text.into());
        self
    }

    /// Adds the author.
    #[must_use]
    pub fn author(mut self, text: &str) -> Self {
        self.metadata.author = Some(text.into());
        self
    }

    /// Adds the revision in version control.
    #[must_use]
    pub fn vcs(mut self, text: &str) -> Self {
        self.metadata.vcs = Some(text.into());
        self
    }

    /// Adds free text.
    #[must_use]
    pub fn misc(mut self, text: &str) -> Self {
        self.metadata.misc = Some(text.into());
        self
    }

    /// Adds a resource: `name` lies at `data/name`, `/name` at `name`.
    #[must_use]
    pub fn resource(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.resources.push((name.into(), content.into()));
        self
    }

    /// The text that gets signed.
    pub fn meta_conf(&self) -> String {
        let m = &self.metadata;
        let mut text = String::new();
        let mut line = |key: &str, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(text, "{key}={}", quoted(value));
            }
        };
        line("meta-product", &m.product);
        line(
            "meta-description",
            m.description.as_deref().unwrap_or_default(),
        );
        line("meta-version", &m.version);
        line("meta-author", m.author.as_deref().unwrap_or_default());
        line("meta-platform", &m.platform);
        line("meta-architecture", &m.architecture);
        line("meta-vcs-identifier", m.vcs.as_deref().unwrap_or_default());
        line("meta-misc", m.misc.as_deref().unwrap_or_default());
        for (key, value) in &m.extra {
            line(&format!("meta-{key}"), value);
        }
        line(
            "require-fwup-version",
            m.fwup_version.as_deref().unwrap_or_default(),
        );
        let mut task = String::new();
        let mut block = 0;
        for (name, content) in &self.resources {
            let name = in_quotes(name);
            let digest = Blake2b256::digest(content);
            let _ = writeln!(text, "file-resource {name} {{\n  length={}", content.len());
            let _ = writeln!(text, "  blake2b-256=\"{}\"\n}}", hex(&digest));
            let _ = writeln!(
                task,
                "  on-resource {name} {{\n    funlist = {{\"2\", \"raw_write\", \"{block}\"}}\n  }}"
            );
            block += content.len().div_ceil(BLOCK_BYTES);
        }
        if !task.is_empty() {
            let _ = writeln!(text, "task \"complete\" {{\n{task}}}");
        }
        text
    }

    /// Writes the firmware and returns its uuid. `None` as key writes it unsigned, as fwup would; the hub refuses that.
    pub fn write(
        &self,
        destination: impl Write + Seek,
        key: Option<&SigningKey>,
    ) -> Result<Uuid, BuildError> {
        let text = self.meta_conf();
        // What cannot be read must not be written: lengths, characters and names are checked by the reader's own rules.
        meta::parse(text.as_bytes(), &Limits::default()).map_err(BuildError::Invalid)?;
        let mut zip = ZipWriter::new(destination);
        let options = SimpleFileOptions::default()
            .last_modified_time(DateTime::DEFAULT)
            .unix_permissions(0o644);
        let stored = options.compression_method(CompressionMethod::Stored);
        let deflated = options
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(6));
        let mut add = |name: &str, options: SimpleFileOptions, content: &[u8]| {
            zip.start_file(name, options)?;
            zip.write_all(content).map_err(zip::result::ZipError::from)
        };
        if let Some(key) = key {
            add("meta.conf.ed25519", stored, &key.sign(text.as_bytes()))
                .map_err(BuildError::Write)?;
        }
        add("meta.conf", deflated, text.as_bytes()).map_err(BuildError::Write)?;
        for (name, content) in &self.resources {
            add(&path::entry_of(name), deflated, content).map_err(BuildError::Write)?;
        }
        zip.finish().map_err(BuildError::Write)?;
        Ok(meta::firmware_uuid(text.as_bytes()))
    }

    /// The signed firmware in memory.
    pub fn to_vec(&self, key: &SigningKey) -> Result<Vec<u8>, BuildError> {
        let mut bytes = Cursor::new(Vec::new());
        self.write(&mut bytes, Some(key))?;
        Ok(bytes.into_inner())
    }
}

/// fwup leaves out the quotes around values of safe characters.
fn quoted(value: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '.';
    if value.chars().all(safe) {
        value.to_owned()
    } else {
        in_quotes(value)
    }
}

fn in_quotes(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
