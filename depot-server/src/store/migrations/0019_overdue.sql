-- Load orders that were paid long ago and are still on their way: work items (REC-14).
ALTER TABLE orders ADD COLUMN aged INTEGER NOT NULL DEFAULT 0;
