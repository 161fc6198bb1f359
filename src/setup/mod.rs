//! The way in: from nothing to a GitHub App that is made, known to the configuration, installed and heard of.
//!
//! What is done and what is next follows from what is there: the configuration (`standing`), the key and the secrets beside
//! it (`files`, `key`, `secret_lines`), and what GitHub says of the App. There is no state file of its own, so it can be cut
//! off and begun again at any step. `manifest` says what is asked of GitHub, `page` and `desk` take a person there and back,
//! `reference` writes into the configuration, `granted` says what an installation lacks, and `ping`, `receiver` and
//! `verdict` see a delivery arrive. The conversation around all of it is the command line's.

pub mod chance;
pub mod desk;
pub mod files;
pub mod granted;
pub mod key;
pub mod manifest;
pub mod page;
pub mod ping;
pub mod receiver;
pub mod reference;
pub mod secret_lines;
pub mod standing;
pub mod verdict;
