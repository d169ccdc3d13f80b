//! The program `tapline-nfc`, built with the tests so that they run what is in the tree.

fn main() -> std::process::ExitCode {
    reader::tapline_nfc()
}
