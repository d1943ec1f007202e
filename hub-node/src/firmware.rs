//! `hub-node firmware …`: a signing key and a signed `.fw` file, one command each. For trying hub out and for devices that
//! are built without fwup; keys and files are those of fwup, so either side can be replaced by it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use hub_firmware::{Builder, Limits, SigningKey};

/// `hub-node firmware`.
#[derive(Debug, Args)]
pub struct FirmwareCommand {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Makes a key that signs firmware: NAME.pub for the hub and its devices, NAME.priv for whoever builds.
    Key {
        /// Where, without the endings; as fwup names them.
        #[arg(default_value = "fwup-key", value_name = "NAME")]
        name: PathBuf,
    },
    /// Builds and signs a firmware from files: devices with the built-in A/B updater get them as they are.
    #[command(
        after_help = "Example:\n  hub-node firmware build --product lamp --version 1.0.0 --platform rpi4 --architecture arm64 rootfs.img lamp-1.0.0.fw"
    )]
    Build(Build),
}

#[derive(Debug, Args)]
struct Build {
    /// The private key.
    #[arg(long, value_name = "FILE", default_value = "fwup-key.priv")]
    key: PathBuf,
    /// Product, as its maker calls it.
    #[arg(long)]
    product: String,
    /// Version of the firmware.
    #[arg(long, value_name = "VERSION")]
    version: String,
    /// Platform it runs on.
    #[arg(long)]
    platform: String,
    /// Architecture it runs on.
    #[arg(long)]
    architecture: String,
    /// Files to put in; each gets its own name there.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The firmware to write.
    #[arg(required = true, value_name = "OUT.fw")]
    out: PathBuf,
}

impl FirmwareCommand {
    /// Carries the command out and says on `output` what was written where.
    ///
    /// # Errors
    /// Files that cannot be read or are there already, and input that makes no valid firmware.
    pub fn run(self, output: &mut impl Write) -> anyhow::Result<()> {
        match self.kind {
            Kind::Key { name } => {
                let key = SigningKey::generate();
                let (private, public) = (ending(&name, ".priv"), ending(&name, ".pub"));
                ensure!(!public.exists(), "{} exists already", public.display());
                write_new(&private, key.to_secret_text().as_bytes(), 0o600)?;
                write_new(&public, key.public_key().to_string().as_bytes(), 0o644)?;
                writeln!(output, "private  {}", private.display())?;
                writeln!(output, "public   {}", public.display())?;
                writeln!(output, "         {}", key.public_key())?;
            }
            Kind::Build(build) => build.run(output)?,
        }
        Ok(())
    }
}

impl Build {
    fn run(self, output: &mut impl Write) -> anyhow::Result<()> {
        let text = fs::read_to_string(&self.key)
            .with_context(|| format!("cannot read {}", self.key.display()))?;
        let key: SigningKey = text
            .parse()
            .with_context(|| format!("{} holds no private key", self.key.display()))?;
        let mut builder = Builder::new(
            &self.product,
            &self.version,
            &self.platform,
            &self.architecture,
        );
        let mut bytes = 0;
        for file in &self.files {
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
                bail!("{} has no name to go by", file.display());
            };
            let size = fs::metadata(file).map(|found| found.len());
            bytes += size.with_context(|| format!("cannot read {}", file.display()))?;
            let most = Limits::default().container_bytes_max;
            ensure!(bytes <= most, "the files have more than {most} bytes");
            let content =
                fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            builder = builder.resource(name, content);
        }
        write_new(&self.out, &builder.to_vec(&key)?, 0o644)?;
        let made = hub_firmware::firmware_uuid(builder.meta_conf().as_bytes());
        writeln!(output, "firmware  {}", self.out.display())?;
        writeln!(output, "uuid      {made}")?;
        Ok(())
    }
}

fn ending(name: &Path, ending: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    options
        .open(path)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use hub_firmware::{PublicKey, verify_file};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        firmware: FirmwareCommand,
    }

    fn run(args: &[&str]) -> anyhow::Result<String> {
        let mut output = Vec::new();
        Cli::try_parse_from([&["firmware"], args].concat())?
            .firmware
            .run(&mut output)?;
        Ok(String::from_utf8(output)?)
    }

    #[test]
    fn what_is_built_verifies_with_the_key_that_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (key, image, out) = (path("release"), path("rootfs.img"), path("lamp.fw"));
        run(&["key", &key]).unwrap();
        assert!(run(&["key", &key]).is_err(), "a key is never replaced");
        fs::write(&image, "content").unwrap();
        let private = path("release.priv");
        let build = [
            &["build", "--product", "lamp", "--version", "1.0.0"][..],
            &["--platform", "p", "--architecture", "a", "--key", &private],
            &[&image, &out],
        ]
        .concat();
        let said = run(&build).unwrap();
        let public: PublicKey = fs::read_to_string(path("release.pub"))
            .unwrap()
            .parse()
            .unwrap();
        let firmware = verify_file(Path::new(&out), &[public], &Limits::default()).unwrap();
        assert_eq!(firmware.metadata.version, "1.0.0");
        assert!(said.contains(&firmware.uuid.to_string()), "{said}");
        assert!(run(&build).is_err(), "nothing is overwritten");
    }
}
