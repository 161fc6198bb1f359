//! Docker Engine behind the provider trait.
