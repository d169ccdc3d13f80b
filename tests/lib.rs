//! What the tests share: the chip emulator.

pub mod pn532;
