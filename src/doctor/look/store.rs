//! The store.

use super::super::store::StoreFacts;
use super::{STORE, within};
use crate::config::{Backend, Config};
use crate::durable::embedded;

/// Without holding it, and without making it.
pub(super) async fn look(config: &Config) -> StoreFacts {
    match &config.store.backend {
        Backend::Embedded { path } => {
            let path = path.clone();
            let read = async {
                tokio::task::spawn_blocking(move || embedded::look(&path)).await.map_err(|error| error.to_string())
            };
            StoreFacts::Embedded(within(STORE, read).await.into())
        }
        Backend::Redis(redis) => {
            let ask = async {
                let db = crate::durable::redis::connect(redis, &config.host, config.store.visibility_timeout);
                db.map_err(|error| error.to_string())?.look().await
            };
            StoreFacts::Redis(within(STORE, ask).await.into())
        }
    }
}
