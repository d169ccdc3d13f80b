//! What the tests share: the simulator, and whatever stands in for hardware.

pub mod day;
pub mod demo;
pub mod pn532;
pub mod sim;
