//! Where Redis is: one address, or what the sentinels say.

use super::AddressError;
use crate::config::RedisConfig;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, Value};
use secrecy::ExposeSecret;
use std::time::Duration;

/// From the first packet to a connection that answers. Three sentinels, all silent, still leave a caller its answer in
/// time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A sentinel is near and quick, or it is down.
const SENTINEL_TIMEOUT: Duration = Duration::from_millis(500);

/// Where Redis is.
#[derive(Debug)]
pub(crate) enum Address {
    /// Here.
    One(ConnectionInfo),
    /// Wherever these sentinels say. User, password, database and TLS of the first address hold for the primary too.
    Sentinels {
        /// The sentinels.
        nodes: Vec<ConnectionInfo>,
        /// The name of the primary that they watch.
        primary: String,
    },
}

impl Address {
    pub(super) fn new(config: &RedisConfig) -> Result<Self, AddressError> {
        let read = |(place, url): (usize, &secrecy::SecretString)| {
            // The client's errors about an address do not repeat it.
            url.expose_secret()
                .into_connection_info()
                .map_err(|error| AddressError::Unreadable { number: place + 1, why: error.to_string() })
        };
        let mut nodes = config.urls.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        match &config.sentinel_master {
            Some(primary) if !nodes.is_empty() => Ok(Self::Sentinels { nodes, primary: primary.clone() }),
            _ if nodes.is_empty() => Err(AddressError::None),
            _ => Ok(Self::One(nodes.swap_remove(0))),
        }
    }

    /// A connection to the primary, and the client that made it. An error is a text without secrets.
    pub(crate) async fn connect(&self, response: Duration) -> Result<(Client, MultiplexedConnection), String> {
        match self {
            Self::One(info) => open(info, CONNECT_TIMEOUT, response).await.map_err(|error| told(info, &error)),
            Self::Sentinels { nodes, primary } => {
                let mut why = Vec::new();
                for node in nodes {
                    match through(node, primary, &nodes[0], response).await {
                        Ok(found) => return Ok(found),
                        Err(error) => why.push(error),
                    }
                }
                Err(format!("no sentinel led to the primary `{primary}`: {}", why.join("; ")))
            }
        }
    }
}

/// Asks one sentinel and goes where it says. One that has not heard of a failover names a replica: that is an error.
async fn through(
    node: &ConnectionInfo,
    primary: &str,
    like: &ConnectionInfo,
    response: Duration,
) -> Result<(Client, MultiplexedConnection), String> {
    let asked = tokio::time::timeout(SENTINEL_TIMEOUT, ask(node, primary)).await;
    let (host, port) = match asked {
        Ok(Ok(Some(place))) => place,
        Ok(Ok(None)) => return Err(format!("sentinel {} does not know it", node.addr())),
        Ok(Err(error)) => return Err(format!("sentinel {}", told(node, &error))),
        Err(_) => return Err(format!("sentinel {} does not answer", node.addr())),
    };
    let info = like.clone().set_addr(moved(like.addr(), host, port));
    let (client, mut connection) = open(&info, CONNECT_TIMEOUT, response).await.map_err(|error| told(&info, &error))?;
    // A user without the right to ask is taken at the sentinel's word.
    let role: Option<Vec<Value>> = redis::cmd("ROLE").query_async(&mut connection).await.ok();
    let word = role.and_then(|role| role.into_iter().next());
    match word.map(redis::from_redis_value::<String>) {
        Some(Ok(word)) if word != "master" => Err(format!("{} is not the primary any more", info.addr())),
        _ => Ok((client, connection)),
    }
}

/// Asks a sentinel for the primary's place. Most sentinels have no password while the primary has: those refuse one, and
/// are asked again without.
async fn ask(node: &ConnectionInfo, primary: &str) -> Result<Option<(String, u16)>, RedisError> {
    let settings = node.redis_settings().clone().set_db(0);
    let with = node.clone().set_redis_settings(settings.clone());
    let opened = open(&with, SENTINEL_TIMEOUT, SENTINEL_TIMEOUT).await;
    let (_, mut connection) = match opened {
        Err(error) if settings.password().is_some() && !error.is_io_error() => {
            let without = node.clone().set_redis_settings(redis::RedisConnectionInfo::default());
            open(&without, SENTINEL_TIMEOUT, SENTINEL_TIMEOUT).await?
        }
        other => other?,
    };
    redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(primary).query_async(&mut connection).await
}

async fn open(
    info: &ConnectionInfo,
    connect: Duration,
    response: Duration,
) -> Result<(Client, MultiplexedConnection), RedisError> {
    let client = Client::open(info.clone())?;
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(connect)).set_response_timeout(Some(response));
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok((client, connection))
}

/// The same kind of address at another place.
fn moved(like: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match like {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}

fn told(info: &ConnectionInfo, error: &RedisError) -> String {
    format!("redis at {}: {error}", info.addr())
}
