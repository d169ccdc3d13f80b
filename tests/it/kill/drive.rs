//! A file system of its own on a loop device, whose power can be cut.
//!
//! What a cut leaves is what the device was given: the process is stopped, the device's bytes are
//! copied as they are, the process is killed, and the copy takes the device's place. ext4 mounts it
//! as after any loss of power. Data and names that nobody synced are lost so; what a memory card
//! loses out of a cache of its own is not modelled.

#![expect(clippy::unwrap_used, reason = "a device that cannot be set up is a failed test")]

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    broker::{now, pause},
    processes::{PATIENCE, Process, said},
};

/// Of a device, unless a test writes more: mounted, copied and filled up in no time.
pub(super) const BYTES: u64 = 64 << 20;
/// Writes that a device makes by itself, with nobody writing, end far sooner.
const STABLE: Duration = Duration::from_secs(20);

/// One mounted device.
pub(super) struct Drive {
    mount: PathBuf,
    /// Holds the bytes of the device.
    image: PathBuf,
    device: String,
    cuts: u32,
}

impl Drive {
    /// A new file system of so many bytes, mounted at `mount`, with what stood there before.
    pub(super) fn mount(mount: &Path, bytes: u64) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "cutting the power needs loop devices: run the tests as root",
        );
        let before = mount.with_extension("before");
        if mount.exists() {
            fs::rename(mount, &before).unwrap();
        }
        fs::create_dir_all(mount).unwrap();
        let image = mount.with_extension("image-0");
        File::create(&image).unwrap().set_len(bytes).unwrap();
        run("mkfs.ext4", &["-q", "-F", text(&image)]);
        let device = attach(&image, mount);
        if before.exists() {
            run("cp", &["-a", &format!("{}/.", text(&before)), text(mount)]);
            run("sync", &["--file-system", text(mount)]);
        }
        Self { mount: mount.to_owned(), image, device, cuts: 0 }
    }

    /// Waits for this many writes of the device, or a little while.
    pub(super) fn await_writes(&self, writes: u64) {
        let (from, deadline) = (self.writes(), now() + Duration::from_secs(2));
        while self.writes() < from + writes && now() < deadline {
            pause(Duration::from_micros(200));
        }
    }

    /// Takes up what is free, but for so many bytes.
    pub(super) fn fill_up_to(&self, left: u64) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let chunk = vec![0x5a; 64 << 10];
        while self.free() > left {
            if let Err(e) = ballast.write_all(&chunk) {
                assert_eq!(e.kind(), ErrorKind::StorageFull, "{e}");
                break;
            }
        }
        // The kernel gives no room for data that is only on its way.
        let synced = ballast.sync_all();
        assert!(synced.is_ok() || left == 0, "{synced:?}");
    }

    /// Gives it free again.
    pub(super) fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    /// From here on a write waits, as on a device that hangs.
    pub(super) fn hang(&self) {
        run("fsfreeze", &["--freeze", text(&self.mount)]);
    }

    /// Lets them go on.
    pub(super) fn hang_no_more(&self) {
        run("fsfreeze", &["--unfreeze", text(&self.mount)]);
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    fn free(&self) -> u64 {
        let said = rustix::fs::statvfs(&self.mount).unwrap();
        said.f_bavail * said.f_frsize
    }

    /// Cuts the power of `process`, which has its files here. It is not started again.
    pub(super) fn cut(&mut self, process: &mut Process) {
        process.freeze();
        let copy = self.mount.with_extension(format!("image-{}", self.cuts + 1));
        self.copy_at_rest(&copy);
        process.kill();
        self.detach();
        fs::remove_file(&self.image).unwrap();
        self.device = attach(&copy, &self.mount);
        self.image = copy;
        self.cuts += 1;
    }

    /// The bytes of one moment: the kernel may be writing, too, and a copy of two moments is no
    /// state that a device ever was in.
    fn copy_at_rest(&self, copy: &Path) {
        let deadline = now() + STABLE;
        loop {
            let before = self.statistics();
            if before.1 == 0 {
                run("cp", &["--sparse=always", text(&self.image), text(copy)]);
                if self.statistics() == before {
                    return;
                }
            }
            assert!(now() < deadline, "{} does not come to rest", self.device);
            pause(Duration::from_millis(1));
        }
    }

    fn writes(&self) -> u64 {
        self.statistics().0
    }

    /// Writes done, and requests on their way.
    fn statistics(&self) -> (u64, u64) {
        let name = Path::new(&self.device).file_name().unwrap();
        let path = Path::new("/sys/block").join(name).join("stat");
        let line = fs::read_to_string(path).unwrap();
        let field = |n: usize| line.split_whitespace().nth(n).unwrap().parse().unwrap();
        (field(4), field(8))
    }

    fn detach(&self) {
        run("umount", &[text(&self.mount)]);
        run("losetup", &["--detach", &self.device]);
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        // Whatever still runs there must not keep the device for ever, nor must a test that failed.
        let thawed = Command::new("fsfreeze").args(["--unfreeze", text(&self.mount)]).output();
        let lazily = Command::new("umount").args(["--lazy", text(&self.mount)]).output();
        let detached = Command::new("losetup").args(["--detach", &self.device]).output();
        drop((thawed, lazily, detached));
    }
}

fn attach(image: &Path, mount: &Path) -> String {
    let found = Command::new("losetup").args(["--find", "--show", text(image)]).output().unwrap();
    let device = said(&found).trim().to_owned();
    let deadline = now() + PATIENCE;
    while !Path::new(&device).exists() {
        assert!(now() < deadline, "{device} does not appear");
        pause(Duration::from_millis(1));
    }
    run("mount", &["-t", "ext4", &device, text(mount)]);
    device
}

fn run(program: &str, arguments: &[&str]) {
    said(&Command::new(program).args(arguments).output().unwrap());
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
