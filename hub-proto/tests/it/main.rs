//! Whole-crate tests of the wire format, in one binary.

mod generated;
