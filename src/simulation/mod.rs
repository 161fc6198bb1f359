//! The simulated GitHub and the stand-in agent: what `demo` and the tests run against.

pub mod image;
