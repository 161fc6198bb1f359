//! The scripts, put together from their parts.

use redis::Script;
use std::sync::LazyLock;

const ROWS: &str = include_str!("rows.lua");
const WRITE_RUNNER: &str = include_str!("write_runner.lua");

pub(super) static JOBS: LazyLock<Script> = LazyLock::new(|| Script::new(&[ROWS, include_str!("jobs.lua")].concat()));

pub(super) static RUNNER: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[ROWS, WRITE_RUNNER, include_str!("runner.lua")].concat()));

pub(super) static RESERVE: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[ROWS, WRITE_RUNNER, include_str!("reserve.lua")].concat()));

pub(super) static NOTE: LazyLock<Script> = LazyLock::new(|| Script::new(&[ROWS, include_str!("note.lua")].concat()));

pub(super) static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("forget.lua")));
