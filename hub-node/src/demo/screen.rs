//! What the demo shows: steps, lines and progress bars on a terminal; plain lines elsewhere.

use std::io::{IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The terminal, or whatever stands in for it.
pub(super) struct Screen {
    bars: MultiProgress,
    live: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        let live = std::io::stderr().is_terminal();
        let target = if live {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            live,
        }
    }

    /// Begins a part of the story.
    pub(super) fn step(&self, text: &str) {
        self.say(&format!("\n▶ {text}"));
    }

    /// Prints lines.
    pub(super) fn say(&self, text: &str) {
        self.bars.suspend(|| {
            // A closed pipe is the reader's wish to see no more.
            let _ = writeln!(std::io::stdout(), "{text}");
        });
    }

    /// Prints a line where there are no live bars to see the same thing on.
    pub(super) fn say_if_plain(&self, text: &str) {
        if !self.live {
            self.say(text);
        }
    }

    /// Prints a line that stays when the live bars are gone; elsewhere it was said already.
    pub(super) fn say_if_live(&self, text: &str) {
        if self.live {
            self.say(text);
        }
    }

    /// A bar with a name, from 0 to `length`.
    pub(super) fn bar(&self, name: &str, length: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("  {prefix:12} [{bar:32}] {pos:>3}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = self.bars.add(ProgressBar::new(length)).with_style(style);
        bar.set_prefix(name.to_owned());
        bar
    }
}
