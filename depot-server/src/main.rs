//! The program `depot-server`.

fn main() -> std::process::ExitCode {
    depot_server::cli::main()
}
