//! What a person types, through the real program.

mod alone;
mod beside;
mod config;
mod init;
mod serving;
mod usage;
