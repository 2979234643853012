/*!
The end of a connection.

VPP 26.02 does not notice every connection that just ends: it reads nothing, and looks at `errno`, which that does not
set (`vl_socket_read_ready` in VPP's `socket_api.c`). Once VPP could not send something at once, as in a long dump,
`errno` is `EAGAIN` until another system call fails, and connections that end stay. They take VPP's time, and sixteen of
them all of it: it looks for more as long as it finds sixteen at once (`vlib_file_poll`), answers nobody, and may run
out of memory.
*/

use std::path::Path;
use std::time::Duration;

use super::stream::Stream;
use super::{Client, Options, after, failure};
use crate::error::Error;
use crate::frame::frame;
use crate::msg::{FAREWELL, FAREWELL_REPLY};
use crate::wire::{Field as _, Reader};

/// How long VPP's answer is waited for at most: where it works on what others have asked for, nobody waits for that.
const LEAVE: Duration = Duration::from_millis(10);

impl Client {
    /// Takes leave of VPP, where nothing is owed on either side: VPP closes the connection.
    pub(super) fn leave(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        let numbers = (self.table.number(FAREWELL), self.table.number(FAREWELL_REPLY));
        let (Ok(number), Ok(answer)) = numbers else { return };
        let mut farewell = Vec::new();
        frame(&mut farewell, |out| {
            number.write(out);
            self.client_index.write(out);
            0u32.write(out);
            self.client_index.write(out);
        });
        let deadline = after(LEAVE);
        let until = self.options.until.map_or(deadline, |until| until.min(deadline));
        // Nothing depends on the answer: what was sent is read at any rate.
        let _ = stream.send_short(&farewell, LEAVE).and_then(|()| {
            stream.receive(until, |message| u16::read(&mut Reader::new(message)) == Ok(answer))
        });
    }

    /// Lets VPP notice the connections that have ended without a word, those of killed processes: it is asked for
    /// something by one who does not listen, so that sending fails, and `errno` is another. For who stays, when it
    /// begins.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`]; that VPP is not there, mostly.
    pub fn rouse(path: &Path, options: &Options) -> Result<(), Error> {
        Stream::say(path, options.deadline(), &options.hello()?)
            .map_err(|trouble| failure(path, options, trouble, "connect"))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.leave();
    }
}
