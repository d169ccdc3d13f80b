//! What `deploy/` ships works as shipped: units, sample configurations, the broker's installer.

#![expect(clippy::unwrap_used, reason = "a scene that cannot be set is a failed test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::processes::{DEPOT, VALIDATOR, said};

const ANALYZE: &str = "/usr/bin/systemd-analyze";

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

#[test]
fn systemd_takes_the_units_and_they_start_what_is_built() {
    assert!(
        Path::new(ANALYZE).exists(),
        "{ANALYZE} is missing: apt-get install systemd, or run tests/run, which does"
    );
    let folder = tempfile::tempdir().unwrap();
    // What a newer release understands, the package's validator need not: it checks nothing before.
    for (unit, installed, built, calls) in [
        ("tapline-validator.service", "/usr/bin/validator", VALIDATOR, 1),
        ("tapline-depot.service", "/usr/bin/depot-server", DEPOT, 2),
    ] {
        let text = fs::read_to_string(shipped("systemd").join(unit)).unwrap();
        assert_eq!(text.matches(installed).count(), calls, "{unit}: calls of {installed}");
        let copy = folder.path().join(unit);
        fs::write(&copy, text.replace(installed, built)).unwrap();
        let output =
            Command::new(ANALYZE).args(["verify", "--man=no"]).arg(&copy).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // It complains about the other units of this machine as well; only ours matter.
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("tapline")).collect();
        assert!(output.status.success() && ours.is_empty(), "{unit}: {said}");
        for line in text.lines().filter_map(|line| line.split_once(installed)) {
            assert!(knows(built, line.1), "{unit}: {installed}{} is no command", line.1);
        }
    }
}

/// Whether the program has the subcommand that a unit calls, with the option that it gives.
fn knows(program: &str, arguments: &str) -> bool {
    let mut words = arguments.split_whitespace();
    let (command, option) = (words.next().unwrap(), words.next().unwrap());
    let help = Command::new(program).args([command, "--help"]).output().unwrap();
    help.status.success() && String::from_utf8_lossy(&help.stdout).contains(option)
}

#[test]
fn the_sample_configurations_pass_their_own_check() {
    for (sample, program) in [("validator.toml", VALIDATOR), ("depot.toml", DEPOT)] {
        let mut command = Command::new(program);
        said(&command.args(["check-config", "--config"]).arg(shipped(sample)).output().unwrap());
    }
}

#[test]
fn the_brokers_installer_refuses_a_folder_without_certificates_and_says_how_to_make_them() {
    let folder = tempfile::tempdir().unwrap();
    let (conf, state) = (folder.path().join("conf"), folder.path().join("state"));
    let install = |arguments: &[&Path]| {
        Command::new(shipped("mosquitto/install")).args(arguments).output().unwrap()
    };
    let refused = install(&[&conf, &state]);
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{complaint}");
    assert!(complaint.contains("ca.crt is missing"), "{complaint}");
    assert!(complaint.contains("run deploy/pki/make-pki"), "{complaint}");
    assert!(!conf.join("tapline.conf").exists(), "nothing is half installed");
    let usage = install(&[]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&usage.stderr).contains("usage: install CONF_DIR STATE_DIR"));
}

#[test]
fn the_certificate_maker_refuses_a_name_that_is_no_validator() {
    let folder = tempfile::tempdir().unwrap();
    let make = Command::new(shipped("pki/make-pki"))
        .arg(folder.path())
        .args(["client", "bus 7"])
        .output()
        .unwrap();
    let complaint = String::from_utf8(make.stderr).unwrap();
    assert_eq!(make.status.code(), Some(2), "{complaint}");
    assert!(complaint.contains("bus 7: a client is 'depot' or a validator id"), "{complaint}");
}
