//! How a yard's day ends: everything stops in order, and its books are looked at.

use super::{Yard, said};

impl Yard {
    /// Validators and depot stop when asked to, and the books are what the journal says.
    pub(crate) fn close(&mut self) {
        for gate in &mut self.gates {
            assert!(gate.process.stop().success());
        }
        assert!(self.depot.stop().success());
        let verdict = said(&self.depot_server(&["verify", "--from-journal"], &[]));
        assert!(verdict.contains("the books are what the journal says"), "{verdict}");
    }

    /// How many work items there ever were.
    pub(crate) fn items(&self) -> i64 {
        let books = rusqlite::Connection::open(self.database()).unwrap();
        books.query_row("SELECT count(*) FROM exceptions", [], |row| row.get(0)).unwrap()
    }
}
