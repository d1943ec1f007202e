//! The kept counts: more than a tenth above is a failure, more than a tenth below is a note.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

/// Instructions per operation, by the path's name.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Above this share of the kept count, in percent, a check fails.
const MOST: u64 = 110;
/// Below this share, in percent, the kept count is too loose to catch anything.
const LEAST: u64 = 90;

/// What a comparison found.
pub(crate) struct Verdict {
    /// Nothing grew, and both sides know the same paths.
    pub(crate) passed: bool,
    /// One line for each path.
    pub(crate) text: String,
}

pub(crate) fn read(file: &Path) -> anyhow::Result<Counts> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    toml::from_str(&text).with_context(|| file.display().to_string())
}

pub(crate) fn write(file: &Path, counts: &Counts) -> anyhow::Result<()> {
    let mut text = String::from(
        "# Instructions per operation, release build. Written by: cargo run --release -p hub-counts -- rewrite FILE\n",
    );
    text.push_str(&toml::to_string(counts)?);
    std::fs::write(file, text).with_context(|| file.display().to_string())
}

pub(crate) fn compare(kept: &Counts, counted: &Counts) -> Verdict {
    let mut verdict = Verdict {
        passed: true,
        text: String::new(),
    };
    for (name, count) in counted {
        let (word, passed) = match kept.get(name) {
            None => ("NOT KEPT".to_owned(), false),
            Some(kept) if count * 100 > kept * MOST => {
                (format!("MORE THAN {MOST} % of {kept}"), false)
            }
            Some(kept) if count * 100 < kept * LEAST => {
                let note =
                    format!("note: below {LEAST} % of {kept}; rewrite the file to keep it tight");
                (note, true)
            }
            Some(kept) => (format!("kept {kept}"), true),
        };
        verdict.passed &= passed;
        let _ = writeln!(verdict.text, "{name:<20} {count:>8}  {word}");
    }
    for name in kept.keys().filter(|name| !counted.contains_key(*name)) {
        verdict.passed = false;
        let _ = writeln!(verdict.text, "{name:<20} kept, but there is no such path");
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(count: u64) -> Counts {
        Counts::from([("path".to_owned(), count)])
    }

    #[test]
    fn growth_fails_and_shrinking_is_noted() {
        let against = |count| compare(&counts(1_000), &counts(count));
        assert!(against(1_100).passed);
        assert!(!against(1_101).passed);
        assert!(against(899).passed);
        assert!(against(899).text.contains("note"));
        assert!(!against(900).text.contains("note"));
    }

    #[test]
    fn both_sides_name_the_same_paths() {
        assert!(!compare(&Counts::new(), &counts(1)).passed);
        assert!(!compare(&counts(1), &Counts::new()).passed);
    }
}
