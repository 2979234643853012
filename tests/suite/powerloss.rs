/*!
What a power loss leaves.

A file system on a disk image is mounted, three containers get their addresses, and some seconds later
the image is copied as it is: what the copy holds is what the disk holds when the power goes. ext4
writes names at its next commit (after 5 s) and contents when they are flushed (after some 30 s), so
that in between a crash leaves reservations of length zero. The copy is mounted, as after the reboot:
what lives on /run is gone, the durable state lies on the same disk. Then the runtime sends its DELs,
or a GC, or nothing at all, and no address may be lost for good.
*/

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::{MountNamespace, Plugin, Scratch, Site, have, is_root, reference, skip_unless};

const PLUGINS: [Plugin; 2] = [Plugin::HostLocal, Plugin::NodeLocal];
const PODS: [&str; 3] = ["pod1", "pod2", "pod3"];
/// How many addresses a /29 has for pods: 8 without network, broadcast and gateway.
const CAPACITY: usize = 5;

/// The window in which names are on the disk and contents are not.
#[test]
fn power_loss_after_8_seconds() {
    after_power_loss("power_loss_after_8_seconds", &[8]);
}

#[test]
#[ignore = "minutes: run by make test-long"]
fn power_loss_after_0_to_40_seconds() {
    after_power_loss("power_loss_after_0_to_40_seconds", &[0, 2, 5, 6, 10, 20, 40]);
}

/// What comes after the reboot.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// The runtime's DELs.
    Del,
    /// The same without ranges and dataDir.
    StrippedDel,
    /// GC with nothing valid.
    Gc,
    /// New pods only.
    Adds,
}

fn after_power_loss(test: &str, seconds: &[u64]) {
    let loop_control = Path::new("/dev/loop-control").exists();
    let tools = ["unshare", "nsenter", "mount", "umount", "mkfs.ext4", "cp"];
    if !skip_unless(
        test,
        &[
            (is_root(), "root"),
            (loop_control, "loop devices"),
            (
                tools.iter().all(|tool| have(tool) || have(&format!("/usr/sbin/{tool}"))),
                "mkfs.ext4",
            ),
        ],
    ) {
        return;
    }
    let disk = Disk::new();
    let sites: Vec<Site> = PLUGINS.map(|plugin| disk.site(plugin)).into();
    let beside = reference("host-local")
        .map(|binary| disk.site_of("reference", Plugin::HostLocal, &binary, "boot1"));
    for site in sites.iter().chain(&beside) {
        for pod in PODS {
            assert_eq!(site.call("ADD", pod).run().addresses().len(), 2);
        }
    }
    let start = Instant::now();
    // What is on the disk at each moment; copying does not make anything go there.
    let images: Vec<PathBuf> = seconds
        .iter()
        .map(|after| {
            // The moment is the subject: nothing says when ext4 has written what.
            std::thread::sleep(Duration::from_secs(*after).saturating_sub(start.elapsed()));
            disk.power_off(*after)
        })
        .collect();
    let mut boots = 0;
    for (after, image) in seconds.iter().zip(&images) {
        for next in [Next::Del, Next::StrippedDel, Next::Gc, Next::Adds] {
            boots += 1;
            disk.boot(image, boots, || {
                for plugin in PLUGINS {
                    let site = disk.site_of(plugin.name(), plugin, &plugin_binary(plugin), "boot2");
                    reboot(&disk, &site, &format!("{plugin:?}, {after} s, {next:?}"), next);
                }
                if let (Next::Del, Some(binary)) = (next, reference("host-local")) {
                    report_reference(&disk, &binary, *after);
                }
            });
        }
    }
}

fn plugin_binary(plugin: Plugin) -> PathBuf {
    support::binary(plugin.name())
}

/// The runtime's calls after the reboot.
fn reboot(disk: &Disk, site: &Site, what: &str, next: Next) {
    let directory = disk.seen(site).directory();
    let intact = directory.reservations();
    let empty = intact.values().filter(|content| content.is_empty()).count();
    println!("{what}: {} reservations on the disk, {empty} of them empty", intact.len());
    match next {
        Next::Del | Next::StrippedDel => {
            for pod in PODS {
                let stripped = matches!(next, Next::StrippedDel);
                let config = if stripped { site.stripped_config() } else { site.config() };
                let outcome = site.call_with("DEL", pod, &config).run();
                assert_eq!(outcome.exit, Some(0), "{what}: {outcome:?}");
            }
        }
        Next::Gc => {
            let outcome = site.gc(&[]).run();
            assert_eq!(outcome.exit, Some(0), "{what}: {outcome:?}");
        }
        Next::Adds => {}
    }
    let left = directory.reservations();
    // Where the network's places are is recorded before the first reservation and on the same disk, so
    // that a DEL without configuration finds whatever is left, too.
    if !matches!(next, Next::Adds) {
        assert!(left.is_empty(), "{what}: still there: {left:?}");
    }
    // Every address that no file with a holder takes can be had.
    let free = CAPACITY - left.values().filter(|content| !content.is_empty()).count().div_ceil(2);
    for n in 0..free {
        let outcome = site.call("ADD", &format!("new{n}")).run();
        assert_eq!(outcome.exit, Some(0), "{what}: {n} of {free} new pods: {outcome:?}");
        assert_eq!(outcome.addresses().len(), 2, "{what}");
    }
    for pod in PODS.iter().map(|pod| (*pod).to_owned()).chain((0..free).map(|n| format!("new{n}")))
    {
        let outcome = site.call("DEL", &pod).run();
        assert_eq!(outcome.exit, Some(0), "{what}: {outcome:?}");
    }
    let left = directory.reservations();
    assert!(left.is_empty(), "{what}: lost for good: {left:?}");
}

/// The reference's losses, for comparison: they show that the disk has lost something.
fn report_reference(disk: &Disk, binary: &Path, after: u64) {
    let site = disk.site_of("reference", Plugin::HostLocal, binary, "boot2");
    let directory = disk.seen(&site).directory();
    let before = directory.reservations();
    for pod in PODS {
        site.call("DEL", pod).run().ok();
    }
    let lost = directory.reservations().len();
    println!("the reference, {after} s: {} on the disk, {lost} lost for good", before.len());
}

/// An ext4 image on tmpfs, mounted where only this test sees it.
struct Disk {
    // The namespace first: with it, the mounts of what lies in the scratch directory go.
    namespace: MountNamespace,
    scratch: Scratch,
}

impl Disk {
    fn new() -> Self {
        let disk = Self { namespace: MountNamespace::new(), scratch: Scratch::on_tmpfs("power") };
        let image = disk.image("disk");
        let file = fs::File::create(&image).expect("an image can be made");
        file.set_len(64 << 20).expect("an image can be made large");
        drop(file);
        disk.namespace.run("mkfs.ext4", &[OsStr::new("-q"), OsStr::new("-F"), image.as_os_str()]);
        fs::create_dir(disk.mounted()).expect("a directory");
        disk.mount(&image);
        disk
    }

    fn image(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("{name}.img"))
    }

    fn mounted(&self) -> PathBuf {
        self.scratch.path().join("mounted")
    }

    fn mount(&self, image: &Path) {
        let (image, at) = (image.as_os_str().to_owned(), self.mounted());
        let options = ["-t", "ext4", "-o", "loop"].map(OsStr::new);
        self.namespace.run("mount", &[&options[..], &[&image, at.as_os_str()]].concat());
    }

    /// The image as it is now.
    fn power_off(&self, after: u64) -> PathBuf {
        let copy = self.image(&format!("after{after}"));
        self.copy(&self.image("disk"), &copy);
        copy
    }

    /// Mounts a copy of an image where the first one was, for as long as `use_it` runs.
    fn boot(&self, image: &Path, nth: usize, use_it: impl FnOnce()) {
        let at = self.mounted();
        self.namespace.run("umount", &["--lazy".as_ref(), at.as_os_str()]);
        // Each time another file: the kernel may take a while to let go of the one before.
        let fresh = self.image(&format!("boot{nth}"));
        self.copy(image, &fresh);
        self.mount(&fresh);
        fs::remove_file(&fresh).expect("a mounted image can lose its name");
        let _ = fs::remove_dir_all(self.scratch.path().join("boot2"));
        use_it();
    }

    fn copy(&self, from: &Path, to: &Path) {
        let option = OsStr::new("--sparse=always");
        self.namespace.run("cp", &[option, from.as_os_str(), to.as_os_str()]);
    }

    fn site(&self, plugin: Plugin) -> Site {
        self.site_of(plugin.name(), plugin, &plugin_binary(plugin), "boot1")
    }

    /// A site whose reservations and durable state lie on the disk.
    fn site_of(&self, name: &str, plugin: Plugin, binary: &Path, boot: &str) -> Site {
        let script = self.scratch.join(&format!("bin/{name}-{boot}"));
        let wrapper = self.namespace.wrapper(binary, &script);
        Site::new(plugin, &self.mounted().join(name), &self.scratch.path().join(boot).join(name))
            .with_binary(wrapper)
            .with_prefix(29)
            .dual_stack(true)
    }

    /// The same site with the paths of this process.
    fn seen(&self, site: &Site) -> Site {
        site.clone().with_data(self.namespace.path(site.data()))
    }
}
