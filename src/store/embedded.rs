//! store: embedded (see mod.rs for the contract).
