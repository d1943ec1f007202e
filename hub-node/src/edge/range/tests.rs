//! Ranges and preconditions, each with its answer.

use hyper::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const TAG: &str = "\"abc\"";

fn ask(headers: &[(HeaderName, &str)]) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    answer(&Method::GET, &map, 100, TAG)
}

#[test]
fn one_range_is_served() {
    for (text, range) in [
        ("bytes=0-0", 0..1),
        ("bytes=10-19", 10..20),
        ("bytes=10-", 10..100),
        ("bytes=-10", 90..100),
        ("bytes=-1000", 0..100),
        ("bytes=90-1000", 90..100),
        ("Bytes = 0-9", 0..10),
        ("bytes=0-99999999999999999999999", 0..100),
    ] {
        assert_eq!(ask(&[(RANGE, text)]), Answer::Part(range), "{text}");
    }
    for text in [
        "bytes=100-",
        "bytes=100-200",
        "bytes=-0",
        "bytes=99999999999999999999999-",
    ] {
        assert_eq!(ask(&[(RANGE, text)]), Answer::Unsatisfiable, "{text}");
    }
}

#[test]
fn several_or_malformed_ranges_get_the_whole_file() {
    let many = format!("bytes={}", vec!["0-0"; 10_000].join(","));
    for text in [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-1",
        "bytes=+1-2",
        "bytes=0-1,3-4",
        "lines=0-1",
        &many,
    ] {
        assert_eq!(ask(&[(RANGE, text)]), Answer::Whole, "{text:.40}");
    }
    assert_eq!(
        ask(&[(RANGE, "bytes=0-1"), (RANGE, "bytes=3-4")]),
        Answer::Whole
    );
    let mut headers = HeaderMap::new();
    headers.insert(RANGE, HeaderValue::from_static("bytes=0-1"));
    assert_eq!(answer(&Method::HEAD, &headers, 100, TAG), Answer::Whole);
}

#[test]
fn a_download_resumes_only_with_the_same_file() {
    let range = (RANGE, "bytes=50-");
    assert_eq!(
        ask(&[range.clone(), (IF_RANGE, TAG)]),
        Answer::Part(50..100)
    );
    for other in ["\"abd\"", "W/\"abc\"", "Wed, 21 Oct 2026 07:28:00 GMT"] {
        assert_eq!(
            ask(&[range.clone(), (IF_RANGE, other)]),
            Answer::Whole,
            "{other}"
        );
    }
}

#[test]
fn preconditions_come_first() {
    for tag in [TAG, "*", "\"x\", \"abc\"", "W/\"abc\""] {
        assert_eq!(ask(&[(IF_NONE_MATCH, tag)]), Answer::NotModified, "{tag}");
    }
    assert_eq!(ask(&[(IF_NONE_MATCH, "\"x\"")]), Answer::Whole);
    assert_eq!(ask(&[(IF_MATCH, "\"x\"")]), Answer::Failed);
    assert_eq!(ask(&[(IF_MATCH, "W/\"abc\"")]), Answer::Failed);
    assert_eq!(
        ask(&[(IF_MATCH, TAG), (RANGE, "bytes=0-1")]),
        Answer::Part(0..2)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_range_lies_inside_the_file(text in "bytes=[0-9]{0,20}-[0-9]{0,20}|[ -~]{0,30}", size in 0_u64..200) {
        match parse(&text, size) {
            Answer::Part(range) => prop_assert!(range.start < range.end && range.end <= size),
            Answer::Whole | Answer::Unsatisfiable => {}
            Answer::NotModified | Answer::Failed => prop_assert!(false),
        }
    }
}
