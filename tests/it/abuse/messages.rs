//! Cases 53 to 75: messages that are no frames, or frames that ask for what they may not have.

mod envelopes;
mod joins;
mod reports;
