//! queue: embedded (see mod.rs for the contract).
