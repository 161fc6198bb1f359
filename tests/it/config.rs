//! The configuration file: every problem told at once, with its place.
