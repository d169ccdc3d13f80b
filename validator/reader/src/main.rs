//! `tapline-nfc`: drives a reader by libnfc for the program that starts it (ADR-0006).

fn main() -> std::process::ExitCode {
    tapline_reader::tapline_nfc()
}
