//! The schema and the steps to it. A step, once released, is never edited: a new one is added.

use rusqlite::Connection;

use super::StoreError;

const STEPS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_desk.sql"),
    include_str!("migrations/0003_tickets.sql"),
    include_str!("migrations/0004_told.sql"),
    include_str!("migrations/0005_days.sql"),
    include_str!("migrations/0006_due.sql"),
    include_str!("migrations/0007_settlement.sql"),
    include_str!("migrations/0008_lists.sql"),
    include_str!("migrations/0009_orders.sql"),
    include_str!("migrations/0010_hotlist.sql"),
    include_str!("migrations/0011_purses.sql"),
    include_str!("migrations/0012_channels.sql"),
    include_str!("migrations/0013_auto.sql"),
    include_str!("migrations/0014_issuers.sql"),
    include_str!("migrations/0015_office.sql"),
    include_str!("migrations/0016_corrections.sql"),
    include_str!("migrations/0017_products.sql"),
    include_str!("migrations/0018_credit.sql"),
    include_str!("migrations/0019_overdue.sql"),
    include_str!("migrations/0020_clocks.sql"),
    include_str!("migrations/0021_steering.sql"),
    include_str!("migrations/0022_work.sql"),
    include_str!("migrations/0023_releases.sql"),
    include_str!("migrations/0024_hotlist_of_epochs.sql"),
    include_str!("migrations/0025_list_keys.sql"),
];

/// Brings the schema up to date, one transaction per step.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = u32::try_from(STEPS.len()).expect("few steps");
    let found: u32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(StoreError::read("the schema's version"))?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (to, step) in (1..).zip(STEPS).skip(found as usize) {
        let failed = |source| StoreError::Migrate { to, source: Box::new(source) };
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(step).map_err(failed)?;
        transaction.pragma_update(None, "user_version", to).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing_and_a_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(migrate(&mut connection), Err(StoreError::Newer { found: 99, .. })));
    }

    #[test]
    fn the_document_explains_every_table() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema.md");
        let document = std::fs::read_to_string(path).unwrap();
        let sql = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'index')
                   AND name NOT LIKE 'sqlite_%'";
        let mut names = connection.prepare(sql).unwrap();
        let names = names.query_map([], |row| row.get::<_, String>(0)).unwrap();
        for name in names.map(Result::unwrap) {
            assert!(document.contains(&format!("`{name}`")), "docs/schema.md lacks {name}");
        }
    }
}
