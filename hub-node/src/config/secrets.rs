//! Secrets that stand in files instead of in the configuration, and a configuration that can be shown.

use std::path::Path;

use hub_core::limits::SECRET_FILE_BYTES_MAX;

use super::Config;

/// Keys whose values may hold a password.
pub(crate) const SECRETS: [&str; 2] = ["database_url", "redis_url"];

impl Config {
    /// Reads the files that are named in place of secrets. From here on the key itself has the value.
    pub(super) fn take_secrets(&mut self, problems: &mut Vec<String>) {
        let pairs = [
            (
                &mut self.database_url,
                &self.database_url_file,
                "database_url",
            ),
            (&mut self.redis_url, &self.redis_url_file, "redis_url"),
        ];
        for (value, file, key) in pairs {
            let Some(file) = file else { continue };
            if !value.is_empty() {
                problems.push(format!("{key}_file: {key} is set too; keep one of both"));
                continue;
            }
            match secret(file) {
                Ok(text) => *value = text,
                Err(why) => problems.push(format!("{key}_file: {}: {why}", file.display())),
            }
        }
    }

    /// The same without passwords, and without what came from files.
    #[must_use]
    pub fn shown(&self) -> Self {
        let mut shown = self.clone();
        for (value, file) in [
            (&mut shown.database_url, &shown.database_url_file),
            (&mut shown.redis_url, &shown.redis_url_file),
        ] {
            if file.is_some() {
                value.clear();
            } else {
                *value = without_password(value);
            }
        }
        shown
    }
}

fn secret(file: &Path) -> Result<String, String> {
    let bytes = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if bytes.len() > SECRET_FILE_BYTES_MAX {
        return Err(format!("is longer than {SECRET_FILE_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty; put the URL in it".into());
    }
    Ok(text.to_owned())
}

/// The URL with its password masked; what is no URL has no place for one, and is masked as a whole.
fn without_password(url: &str) -> String {
    if url.is_empty() {
        return String::new();
    }
    match reqwest::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => match parsed.set_password(Some("***")) {
            Ok(()) => parsed.into(),
            Err(()) => "***".into(),
        },
        Ok(_) => url.to_owned(),
        Err(_) => "***".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_its_file_and_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("url");
        std::fs::write(&file, "postgres://hub:secret@db/hub\n").unwrap();
        let mut config = Config {
            database_url_file: Some(file.clone()),
            redis_url: "redis://:hidden@bus:6379".into(),
            ..Config::default()
        };
        let mut problems = Vec::new();
        config.take_secrets(&mut problems);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(config.database_url, "postgres://hub:secret@db/hub");
        let shown = config.shown();
        assert_eq!(shown.database_url, "");
        assert_eq!(shown.redis_url, "redis://:***@bus:6379");
        assert_eq!(shown.database_url_file, Some(file));
    }

    #[test]
    fn files_that_are_no_use_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        std::fs::write(&empty, " \n").unwrap();
        let mut config = Config {
            database_url: "postgres://db/hub".into(),
            database_url_file: Some(empty.clone()),
            redis_url_file: Some(dir.path().join("missing")),
            ..Config::default()
        };
        let mut problems = Vec::new();
        config.take_secrets(&mut problems);
        assert!(problems[0].starts_with("database_url_file: database_url is set too"));
        assert!(problems[1].starts_with("redis_url_file: "), "{problems:?}");
        config.database_url.clear();
        let mut problems = Vec::new();
        config.take_secrets(&mut problems);
        assert!(problems[0].contains("is empty"), "{problems:?}");
    }
}
