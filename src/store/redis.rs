//! store: redis (see mod.rs for the contract).
