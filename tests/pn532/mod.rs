//! A PN532 made of software, on a pseudo-terminal: the other end of the line for tests.
//!
//! `chip` is the chip's side of the protocol and its field, without I/O; `line` is the terminal,
//! published under a path of the caller's choice; `fault` is what can be made to go wrong; `filed`
//! is a card that lives in a file. Our own driver and the C library libnfc both speak to it as they
//! would to the real chip. It keeps to ISO 14443-3: a medium put to sleep answers only to its
//! number or after the field was off, and a chip that was not woken up hears nothing.

mod chip;
mod fault;
mod filed;
mod line;

pub use chip::Chip;
pub use fault::Fault;
pub use filed::{CardFileError, FiledCard};
pub use line::Emulator;
