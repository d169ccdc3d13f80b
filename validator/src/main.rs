//! The program `validator`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
