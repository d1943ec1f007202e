//! Progress bars, all of one look.

use std::borrow::Cow;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for `length` steps of something.
pub(crate) fn bar(what: impl Into<Cow<'static, str>>, length: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:22} {bar:40} {pos}/{len} {elapsed}");
    ProgressBar::new(length.into())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}
