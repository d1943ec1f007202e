//! A short fault trial.
