//! The program `depot-server`, built with the tests so that they run what is in the tree.

fn main() -> std::process::ExitCode {
    depot_server::cli::main()
}
