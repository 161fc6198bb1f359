//! The tables of the file.

use redb::{
    Database, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError, WriteTransaction,
};

/// Events that are not acknowledged: number in the line, JSON.
pub(crate) const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
/// Deliveries seen, by the first 128 bits of the SHA-256 of hook and GUID.
pub(crate) const MARKS: TableDefinition<u128, ()> = TableDefinition::new("marks");
/// The same deliveries by the moment they were received (microseconds), to age them out without a look at all of them.
const AGES: TableDefinition<(i64, u128), ()> = TableDefinition::new("ages");
/// Jobs by id and attempt; values as [`super::Row`] writes them.
pub(crate) const JOBS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("jobs");
/// Runners by name; values as [`super::Row`] writes them.
pub(crate) const RUNNERS: TableDefinition<&str, &[u8]> = TableDefinition::new("runners");
/// Until when each manager's lease holds, in nanoseconds.
pub(crate) const LEASES: TableDefinition<&str, i128> = TableDefinition::new("leases");
/// Small texts of loops, by name; values as [`super::Row`] writes them. Files of earlier versions have no such table until
/// something is written.
pub(crate) const NOTES: TableDefinition<&str, &[u8]> = TableDefinition::new("notes");
/// Numbers about the file itself.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

const META_FORMAT: &str = "format";
/// Written by a ping.
pub(crate) const META_PINGS: &str = "pings";

/// All tables, open for one transaction.
pub(crate) struct Tables<'txn> {
    pub(crate) events: Table<'txn, u64, &'static [u8]>,
    pub(crate) marks: Table<'txn, u128, ()>,
    pub(crate) ages: Table<'txn, (i64, u128), ()>,
    pub(crate) jobs: Table<'txn, (u64, u32), &'static [u8]>,
    pub(crate) runners: Table<'txn, &'static str, &'static [u8]>,
    pub(crate) leases: Table<'txn, &'static str, i128>,
    pub(crate) notes: Table<'txn, &'static str, &'static [u8]>,
    pub(crate) meta: Table<'txn, &'static str, u64>,
}

impl<'txn> Tables<'txn> {
    pub(crate) fn open(txn: &'txn WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            events: txn.open_table(EVENTS)?,
            marks: txn.open_table(MARKS)?,
            ages: txn.open_table(AGES)?,
            jobs: txn.open_table(JOBS)?,
            runners: txn.open_table(RUNNERS)?,
            leases: txn.open_table(LEASES)?,
            notes: txn.open_table(NOTES)?,
            meta: txn.open_table(META)?,
        })
    }
}

/// Makes all tables and writes the number of the layout, in one transaction.
pub(super) fn create(database: &Database, format: u64) -> Result<(), redb::Error> {
    let txn = database.begin_write()?;
    Tables::open(&txn)?.meta.insert(META_FORMAT, format)?;
    txn.commit()?;
    Ok(())
}

/// The number of the layout; none where the table for it is missing.
pub(super) fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    let meta: ReadOnlyTable<&str, u64> = match database.begin_read()?.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. }) => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    Ok(ReadableTable::get(&meta, META_FORMAT)?.map(|number| number.value()))
}
