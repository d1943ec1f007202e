//! A file fits into a head: 500 lines at most, 800 for tests. Functions are clippy's (`too_many_lines`).

use crate::report;
use crate::tree;

/// Lines of a source file.
const SOURCE_LINES_MAX: usize = 500;
/// Lines of a file of tests.
const TEST_LINES_MAX: usize = 800;

/// Files that may be longer, with how long. The list may only shrink, and so may the numbers.
const EXCEPTIONS: [(&str, usize); 0] = [];

#[test]
fn files_are_short() {
    let mut findings = Vec::new();
    for file in tree::rust() {
        let lines = file.content.lines().count();
        let granted = EXCEPTIONS.iter().find(|(path, _)| *path == file.path);
        let max = match granted {
            Some((_, lines)) => *lines,
            None if file.is_test() => TEST_LINES_MAX,
            None => SOURCE_LINES_MAX,
        };
        if lines > max {
            findings.push(format!("{}: {lines} lines, at most {max}", file.path));
        }
    }
    report("files are short; split by rule, not by kind", &findings);
}

#[test]
fn exceptions_are_still_needed() {
    let files = tree::rust();
    let mut findings = Vec::new();
    for (path, granted) in EXCEPTIONS {
        let lines = files
            .iter()
            .find(|file| file.path == path)
            .map_or(0, |file| file.content.lines().count());
        if lines < granted {
            findings.push(format!("{path}: {lines} lines, but {granted} are granted"));
        }
    }
    report("the list of exceptions only shrinks", &findings);
}
