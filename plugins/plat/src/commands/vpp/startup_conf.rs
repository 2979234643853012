//! `plat vpp startup-conf`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::files;
use super::preflight::lines;
use crate::cli::absolute;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::vpp::StartupConf as Document;
use crate::output::{self, escape};
use crate::vpp::pci::PciAddress;
use crate::vpp::preflight::{Answer, Asked, Facts, Finding, Verdict, against};
use crate::vpp::running::SOCKET;
use crate::vpp::startup::Startup;

/// Options of `plat vpp startup-conf`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the file; the packages of VPP read /etc/vpp/startup.conf. What speaks against a device is said \
                  on standard error. Exit status: 0 fine, 1 made, but something speaks against a device, 3 not made."
)]
pub(crate) struct StartupConf {
    /// A device that VPP takes over; can be given several times. Without one, VPP takes none.
    #[arg(long, value_name = "ADDR")]
    pci: Vec<PciAddress>,
    /// Whether VPP uses huge pages; without this, if there are any.
    #[arg(long, value_name = "WHETHER")]
    hugepages: Option<Whether>,
    /// Threads that forward beside the main one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    workers: u16,
    /// The socket that VPP makes for programs.
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: String,
    /// Writes it to FILE, which must not be there.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Writes over a file that is there, of which a copy is kept, and takes a device that carries the default route.
    #[arg(long, requires = "write")]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Whether {
    /// It does.
    Yes,
    /// It does without.
    No,
}

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    /// It is new.
    Made,
    /// It was so already.
    Unchanged,
    /// It was another one, which is here now.
    Replaced(PathBuf),
}

impl Command for StartupConf {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let files = files(context);
        let machine = files.machine();
        let has_huge_pages = machine.huge_pages.iter().any(|pages| pages.total > 0);
        let startup = Startup {
            pci: self.devices()?,
            dpdk: machine.dpdk_plugin != Some(false) || !self.pci.is_empty(),
            huge_pages: self.hugepages.map_or(has_huge_pages, |whether| whether == Whether::Yes),
            workers: self.workers,
            group: machine.vpp_group,
            socket: self.socket()?,
        };
        let processors = machine.processors;
        if processors > 0 && usize::from(self.workers) >= processors {
            return Err(Failure::new(
                format!(
                    "{} workers need as many processors beside the main thread's, and there are {processors} in all",
                    self.workers
                ),
                "fewer --workers; 0 is right for a node that does something else, too",
            ));
        }
        let inventory = files.inventory();
        let mut findings: Vec<Finding> = Vec::new();
        for address in &startup.pci {
            findings.extend(against(&Facts {
                is_root: true,
                socket: Path::new(SOCKET),
                socket_is_named: false,
                access: None,
                answer: &Answer::NoSocket,
                machine: &machine,
                inventory: &inventory,
                asked: &Asked::Pci(*address),
                networks: &[],
            }));
        }
        let text = startup.render();
        let Some(path) = &self.write else {
            warn(&findings);
            if context.json {
                output::json(
                    out,
                    &Document {
                        text,
                        file: None,
                        backup: None,
                        changed: None,
                        against: lines(&findings),
                    },
                )?;
            } else {
                out.write_all(text.as_bytes())?;
            }
            return Ok(exit(&findings));
        };
        let cuts = findings.iter().find(|finding| {
            finding.check == "nic-default-route" && finding.verdict == Verdict::Failure
        });
        if let Some(Finding { found, advice, .. }) = cuts
            && !self.force
        {
            return Err(Failure::new(escape(found), format!("{}; or --force", escape(advice))));
        }
        let shown = escape(&path.to_string_lossy()).into_owned();
        let written = write(&context.survey.at(&absolute(path)), &text, self.force).map_err(
            |(error, advice)| Failure::new(format!("cannot write {shown}: {error}"), advice),
        )?;
        warn(&findings);
        let backup = match &written {
            Written::Replaced(backup) => Some(backup.display().to_string()),
            Written::Made | Written::Unchanged => None,
        };
        if context.json {
            let document = Document {
                text,
                file: Some(path.display().to_string()),
                backup,
                changed: Some(written != Written::Unchanged),
                against: lines(&findings),
            };
            output::json(out, &document)?;
        } else {
            match backup {
                Some(backup) => {
                    writeln!(out, "{shown} is written; what it was is in {}", escape(&backup))?;
                }
                None if written == Written::Unchanged => writeln!(out, "{shown} was so already")?,
                None => writeln!(out, "{shown} is written")?,
            }
            writeln!(out, "VPP reads it when it starts: systemctl restart vpp")?;
        }
        Ok(exit(&findings))
    }
}

impl StartupConf {
    fn devices(&self) -> Result<Vec<PciAddress>, Failure> {
        let mut devices: Vec<PciAddress> = Vec::with_capacity(self.pci.len());
        for address in &self.pci {
            if devices.contains(address) {
                return Err(Failure::new(format!("{address} is given twice"), "each device once"));
            }
            devices.push(*address);
        }
        Ok(devices)
    }

    /// The socket: a path that VPP's configuration can hold, and the kernel.
    fn socket(&self) -> Result<String, Failure> {
        const LONGEST: usize = 107;
        let plain = |c: char| c.is_ascii_graphic() && !"{}#'\"\\".contains(c);
        if self.socket.starts_with('/')
            && self.socket.chars().all(plain)
            && self.socket.len() <= LONGEST
        {
            return Ok(self.socket.clone());
        }
        Err(Failure::new(
            format!("{} is no place for VPP's socket", escape(&self.socket)),
            format!("an absolute path of up to {LONGEST} bytes without spaces, braces and quotes"),
        ))
    }
}

/// What speaks against the devices, to who looks at standard error.
fn warn(findings: &[Finding]) {
    let mut stderr = io::stderr().lock();
    for Finding { verdict, found, advice, .. } in findings {
        let _ = writeln!(stderr, "{}: {}", verdict.title(), escape(found));
        if !advice.is_empty() {
            let _ = writeln!(stderr, "      {}", escape(advice));
        }
    }
}

const fn exit(findings: &[Finding]) -> Exit {
    if findings.is_empty() { Exit::Fine } else { Exit::Warning }
}

/// Writes a file, all of it or nothing. One that is there stays unless `force`, and then as a copy beside it.
fn write(path: &Path, text: &str, force: bool) -> Result<Written, (io::Error, &'static str)> {
    let plain = |error| (error, "the directory must exist and be writable");
    // A symbolic link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let former = match fs::metadata(&path) {
        Ok(found) if !found.is_file() => {
            return Err((io::ErrorKind::InvalidInput.into(), "give the name of a regular file"));
        }
        Ok(found) => Some((fs::read(&path).map_err(plain)?, found.permissions())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(plain(error)),
    };
    if former.as_ref().is_some_and(|(content, _)| content == text.as_bytes()) {
        return Ok(Written::Unchanged);
    }
    if former.is_some() && !force {
        let advice = "--force writes over it, and keeps a copy; without --write it is printed";
        return Err((io::ErrorKind::AlreadyExists.into(), advice));
    }
    let temporary = beside(&path, &format!(".{}.tmp", std::process::id()));
    let mode = former.as_ref().map_or(0o644, |(_, permissions)| permissions.mode() & 0o7777);
    let result = create(&temporary, text.as_bytes(), mode).and_then(|()| {
        let Some((content, permissions)) = &former else {
            // Does not replace what somebody has made meanwhile.
            fs::hard_link(&temporary, &path)?;
            fs::remove_file(&temporary)?;
            return Ok(Written::Made);
        };
        let backup = keep(&path, content, permissions.mode() & 0o7777)?;
        fs::rename(&temporary, &path)?;
        Ok(Written::Replaced(backup))
    });
    result.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        plain(error)
    })
}

/// Keeps a copy beside a file, under the first free of so many names; never in place of another one.
fn keep(path: &Path, content: &[u8], mode: u32) -> io::Result<PathBuf> {
    const MOST: u32 = 1000;
    for n in 0..MOST {
        let name = if n == 0 { ".bak".to_owned() } else { format!(".bak{n}") };
        let backup = beside(path, &name);
        match create(&backup, content, mode) {
            Ok(()) => return Ok(backup),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A path with something behind its name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_never_lost() {
        let dir = std::env::temp_dir().join(format!("plat-startup-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("startup.conf");
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(write(&file, "one", false).unwrap(), Written::Made);
        assert_eq!(write(&file, "one", false).unwrap(), Written::Unchanged);
        let (error, advice) = write(&file, "two", false).unwrap_err();
        assert_eq!((error.kind(), read(&file).as_str()), (io::ErrorKind::AlreadyExists, "one"));
        assert!(advice.contains("--force"), "{advice}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        for (n, (text, backup)) in
            [("two", "startup.conf.bak"), ("three", "startup.conf.bak1")].into_iter().enumerate()
        {
            let written = write(&file, text, true).unwrap();
            assert_eq!(written, Written::Replaced(dir.join(backup)));
            assert_eq!(read(&file), text);
            assert_eq!(read(&dir.join(backup)), ["one", "two"][n]);
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "it is as private as before");
        }
        assert!(write(&dir, "x", true).is_err());
        assert!(write(&dir.join("none/startup.conf"), "x", true).is_err());
        let left = fs::read_dir(&dir).unwrap().count();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(left, 3, "no temporary file is left");
    }
}
