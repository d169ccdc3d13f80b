-- Products that were paid for elsewhere and go onto cards by load orders (docs/adr/0024).

-- What an order puts on its card instead of value: the product as its slot holds it, and its rides.
ALTER TABLE orders ADD COLUMN product BLOB;
