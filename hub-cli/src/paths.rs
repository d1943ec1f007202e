//! Paths of the API, with every name escaped so that it stays one segment.

/// A path below `/api/v1` of literal and escaped segments in turn.
pub(crate) fn path(segments: &[&str]) -> String {
    let mut path = String::from("/api/v1");
    for segment in segments {
        path.push('/');
        for byte in segment.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                    path.push(char::from(byte))
                }
                // Dots alone are steps in a path; elsewhere they are plain.
                b'.' if *segment != "." && *segment != ".." => path.push('.'),
                _ => path.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(path(&["orgs", "a.b-c"]), "/api/v1/orgs/a.b-c");
        assert_eq!(
            path(&["orgs", "a/../b?c#d"]),
            "/api/v1/orgs/a%2F..%2Fb%3Fc%23d"
        );
        assert_eq!(path(&["orgs", ".."]), "/api/v1/orgs/%2E%2E");
    }
}
