//! What a person types, through the real program.

mod adopt;
mod alone;
mod beside;
mod config;
mod deliveries;
mod golden;
mod help;
mod init;
mod kept;
mod missed;
mod notify;
mod scheduler;
mod serving;
mod terminal;
mod usage;
