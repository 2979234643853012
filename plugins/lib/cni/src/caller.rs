/*!
Whether anybody still waits for the answer.

A runtime that gives up kills the main plugin, not the IPAM plugin that the main plugin started, and
sends its DEL. An IPAM that has been waiting for a lock meanwhile must not reserve an address then:
nobody would ever free it.
*/

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, getppid};

/// The process that called, as it was at the start.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    parent: Option<Pid>,
}

impl Caller {
    /// To be called first thing.
    pub fn now() -> Self {
        Self { parent: getppid() }
    }

    /// Whether the parent is still the same and standard output still has a reader.
    pub fn is_waiting(self) -> bool {
        getppid() == self.parent && has_reader(std::io::stdout())
    }
}

/// A pipe or socket whose other end is closed says so at once; files and terminals never do.
fn has_reader(stream: impl std::os::fd::AsFd) -> bool {
    let mut fds = [PollFd::new(&stream, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut fds, Some(&now)) {
        Ok(_) => fds
            .iter()
            .all(|fd| !fd.revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)),
        // What cannot be asked is not held against the caller.
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_without_reader_is_noticed() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(has_reader(&writer));
        drop(reader);
        assert!(!has_reader(&writer));
    }

    #[test]
    fn files_always_have_a_reader() {
        assert!(has_reader(std::fs::File::open("/dev/null").unwrap()));
    }
}
