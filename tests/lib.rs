//! What the tests share: the simulator, and whatever stands in for hardware.

pub mod demo;
pub mod pn532;
pub mod sim;
