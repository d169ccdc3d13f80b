//! The program `validator`, built with the tests so that they run what is in the tree.

fn main() -> std::process::ExitCode {
    validator::cli::main()
}
