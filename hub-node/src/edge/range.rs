//! Which bytes a download request asks for: RFC 9110 preconditions and at most one range. Pure.
//!
//! Files are immutable and have strong validators (the digest of their content), so a resumed download is never
//! patched together from two files. Several ranges are answered with the whole file: nobody who downloads firmware
//! needs them, and ten thousand of them in one request are an attack.

use std::ops::Range;

use hyper::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use hyper::{HeaderMap, Method};

#[cfg(test)]
mod tests;

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200 with all bytes.
    Whole,
    /// 206 with these bytes.
    Part(Range<u64>),
    /// 304.
    NotModified,
    /// 412.
    Failed,
    /// 416.
    Unsatisfiable,
}

/// Decides about a GET or HEAD of a file of `size` bytes with this entity tag (quotes included).
pub(super) fn answer(method: &Method, headers: &HeaderMap, size: u64, etag: &str) -> Answer {
    if headers.contains_key(IF_MATCH) && !names(headers, &IF_MATCH, etag, false) {
        return Answer::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) && names(headers, &IF_NONE_MATCH, etag, true) {
        return Answer::NotModified;
    }
    // A range means something to GET only.
    if method != Method::GET {
        return Answer::Whole;
    }
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return Answer::Whole;
    };
    // Dates are no validators here: without a `last-modified` nobody can have one from us.
    let changed = headers
        .get(IF_RANGE)
        .is_some_and(|validator| validator.as_bytes() != etag.as_bytes());
    match (changed, range.to_str()) {
        (false, Ok(range)) => parse(range, size),
        (true, _) | (false, Err(_)) => Answer::Whole,
    }
}

/// True when a list of tags is `*` or names ours; weak tags count where that is allowed.
fn names(headers: &HeaderMap, header: &hyper::header::HeaderName, etag: &str, weak: bool) -> bool {
    let lists = headers
        .get_all(header)
        .iter()
        .filter_map(|list| list.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|tag| {
            let tag = if weak {
                tag.strip_prefix("W/").unwrap_or(tag)
            } else {
                tag
            };
            tag == "*" || tag == etag
        })
}

/// Malformed ranges and foreign units are ignored, as the RFC wants.
fn parse(text: &str, size: u64) -> Answer {
    let Some((unit, spec)) = text.split_once('=') else {
        return Answer::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Answer::Whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Answer::Whole;
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => return Answer::Whole,
        (Some(first), Some(last)) => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(suffix)) if first.is_empty() => size.saturating_sub(suffix)..size,
        (Some(_) | None, None) | (None, Some(_)) => return Answer::Whole,
    };
    if range.is_empty() {
        Answer::Unsatisfiable
    } else {
        Answer::Part(range)
    }
}

/// Digits only: no sign, no space. More than 64 bits is as good as the end.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}
