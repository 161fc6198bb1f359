//! What a person types, through the real program.

mod alone;
mod beside;
mod config;
mod golden;
mod help;
mod kept;
mod init;
mod serving;
mod terminal;
mod usage;
