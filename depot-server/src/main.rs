//! The program `depot-server`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
