//! What a person types, through the real program.

mod alone;
mod beside;
mod config;
mod notify;
mod scheduler;
mod serving;
mod usage;
