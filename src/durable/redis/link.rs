//! One connection that heals itself.
//!
//! The client's own connection manager is not used: it knows no sentinels, and waits for Redis where a caller here must
//! have its answer.

use super::Address;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ScriptInvocation, ServerErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Mutex as AsyncMutex;

/// What a call may take on top of the wait for one answer: time to connect anew and to ask again.
const SLACK: Duration = Duration::from_secs(1);

/// Redis did not do it; the text says why.
#[derive(Debug, Clone)]
pub(crate) struct Unavailable(pub(crate) String);

/// Which try it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The first.
    First,
    /// The connection broke during the first, so nobody knows whether Redis has done it.
    Again,
}

/// One connection, made when it is needed and again when it broke.
#[derive(Debug)]
pub(crate) struct Link {
    address: Arc<Address>,
    response: Duration,
    current: Mutex<Current>,
    /// Held while connecting, with the last failure, so that those who waited share it.
    connecting: AsyncMutex<Option<(Instant, String)>>,
}

#[derive(Default)]
struct Current {
    /// Counts connections, so that one that broke is dropped once.
    number: u64,
    connection: Option<MultiplexedConnection>,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Link {
    /// A link whose commands are answered within `response`, or the connection counts as broken.
    pub(crate) fn new(address: Arc<Address>, response: Duration) -> Self {
        Self { address, response, current: Mutex::default(), connecting: AsyncMutex::new(None) }
    }

    /// Runs a command. If the connection breaks under it, once more on a new one: `command` must be safe to repeat, and
    /// is told. Answers within `response` and a second, whatever state Redis is in.
    pub(crate) async fn run<'c, T>(
        &self,
        command: impl Fn(MultiplexedConnection, Attempt) -> BoxFuture<'c, Result<T, RedisError>>,
    ) -> Result<T, Unavailable> {
        let bound = self.response + SLACK;
        let answer = async {
            let (number, connection) = self.connection().await?;
            match command(connection, Attempt::First).await {
                Err(error) if is_broken(&error) => self.forget(number),
                other => return other.map_err(|error| told(&error)),
            }
            let (number, connection) = self.connection().await?;
            command(connection, Attempt::Again).await.map_err(|error| {
                if is_broken(&error) {
                    self.forget(number);
                }
                told(&error)
            })
        };
        match tokio::time::timeout(bound, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Unavailable(format!("redis did not answer within {bound:?}"))),
        }
    }

    /// One command that may be repeated.
    pub(crate) async fn ask<T: FromRedisValue + Send>(&self, command: &Cmd) -> Result<T, Unavailable> {
        let ask = |mut connection: MultiplexedConnection, _| {
            async move { command.query_async(&mut connection).await }.boxed()
        };
        self.run(ask).await
    }

    /// Commands in one transaction that may be repeated.
    pub(crate) async fn ask_all<T: FromRedisValue + Send>(&self, commands: &Pipeline) -> Result<T, Unavailable> {
        let ask = |mut connection: MultiplexedConnection, _| {
            async move { commands.query_async(&mut connection).await }.boxed()
        };
        self.run(ask).await
    }

    /// A script, which `prepare` may tell that it is tried again.
    pub(crate) async fn call<T: FromRedisValue + Send>(
        &self,
        prepare: impl Fn(Attempt) -> ScriptInvocation<'static>,
    ) -> Result<T, Unavailable> {
        let call = |mut connection: MultiplexedConnection, attempt| {
            let call = prepare(attempt);
            async move { call.invoke_async(&mut connection).await }.boxed()
        };
        self.run(call).await
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), Unavailable> {
        if let Some(found) = self.current() {
            return Ok(found);
        }
        let asked = Instant::now();
        let mut failed = self.connecting.lock().await;
        if let Some(found) = self.current() {
            return Ok(found);
        }
        if let Some((at, why)) = failed.as_ref()
            && *at > asked
        {
            return Err(Unavailable(why.clone()));
        }
        match self.address.connect(self.response).await {
            Ok((_, connection)) => {
                *failed = None;
                let mut current = self.lock();
                current.number += 1;
                current.connection = Some(connection.clone());
                Ok((current.number, connection))
            }
            Err(why) => {
                *failed = Some((Instant::now(), why.clone()));
                Err(Unavailable(why))
            }
        }
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        let current = self.lock();
        Some((current.number, current.connection.clone()?))
    }

    fn forget(&self, number: u64) {
        let mut current = self.lock();
        if current.number == number {
            current.connection = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another connection may do better: this one is cut or silent, or leads to a primary that is none any more.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) | ErrorKind::Parse
        )
}

fn told(error: &RedisError) -> Unavailable {
    Unavailable(format!("redis: {error}"))
}
