//! Which of two firmware versions is older, as far as that can be known from their text.

/// Whether `offered` is certainly older than `running`; versions that are not three numbers compare as unknown.
#[must_use]
pub fn is_older(offered: &str, running: &str) -> bool {
    let numbers = |version: &str| -> Option<[u64; 3]> {
        let core = version.trim_start_matches('v').split(['-', '+']).next()?;
        let mut parts = core.splitn(3, '.').map(str::parse);
        Some([
            parts.next()?.ok()?,
            parts.next()?.ok()?,
            parts.next()?.ok()?,
        ])
    };
    matches!((numbers(offered), numbers(running)), (Some(offered), Some(running)) if offered < running)
}

#[cfg(test)]
mod tests {
    use super::is_older;

    #[test]
    fn only_certain_knowledge_makes_a_version_older() {
        assert!(is_older("1.9.3", "1.10.0"));
        assert!(is_older("v1.0.0", "1.0.1-rc.1"));
        assert!(!is_older("1.0.0", "1.0.0"));
        assert!(!is_older("", "1.0.0"));
        assert!(!is_older("nightly", "1.0.0"));
    }
}
