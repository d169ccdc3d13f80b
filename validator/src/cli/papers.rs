//! `validator papers …`: what packages bring along, made from the command line itself.

use std::{fs, io::stdout, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

#[derive(Debug, Subcommand)]
pub(super) enum Papers {
    /// Print the completions of a shell, such as: validator papers completions bash
    Completions {
        /// Which.
        shell: Shell,
    },
    /// Write the manual pages, one a command.
    Man {
        /// The folder.
        folder: PathBuf,
    },
}

pub(super) fn run(command: Papers) -> anyhow::Result<ExitCode> {
    let mut cli = super::Cli::command();
    match command {
        Papers::Completions { shell } => {
            clap_complete::generate(shell, &mut cli, "validator", &mut stdout());
        }
        Papers::Man { folder } => {
            let failed = || format!("cannot write manual pages into {}", folder.display());
            fs::create_dir_all(&folder).with_context(failed)?;
            clap_mangen::generate_to(cli, &folder).with_context(failed)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
