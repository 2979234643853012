//! Packets between network namespaces: TCP streams whose ends are sockets of the test itself.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use kernel::Namespace;

/// Far more than a packet needs, also when the first ones are lost.
const DEADLINE: Duration = Duration::from_secs(60);
/// What is written at a time.
const PIECE: usize = 64 * 1024;

/// A sum that notices bytes that are changed, lost, repeated, or in another order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many bytes.
    pub bytes: u64,
    hash: u64,
}

impl Sum {
    /// Adds a whole number of words of eight bytes.
    fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        assert!(rest.is_empty(), "whole words");
        for word in words {
            self.hash = (self.hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x0100_0000_01b3);
            self.hash ^= self.hash >> 29;
        }
        self.bytes += bytes.len() as u64;
    }
}

/// Listens in a namespace, on a port that the kernel chooses.
pub fn listen(namespace: &Namespace, address: IpAddr) -> TcpListener {
    let listener = namespace.run(|| TcpListener::bind((address, 0))).expect("the namespace");
    listener.unwrap_or_else(|error| panic!("{address} cannot be listened on: {error}"))
}

/// Connects out of a namespace.
pub fn connect(namespace: &Namespace, to: SocketAddr) -> TcpStream {
    let stream =
        namespace.run(|| TcpStream::connect_timeout(&to, DEADLINE)).expect("the namespace");
    let stream = stream.unwrap_or_else(|error| panic!("{to} cannot be reached: {error}"));
    bounded(&stream);
    stream
}

fn bounded(stream: &TcpStream) {
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout can be set");
}

/// Sends so many bytes (whole pieces of 64 KiB are sent) from one namespace to an address of another, and has the
/// same come back, both at once. Panics if something else arrives, or nothing for a minute.
pub fn exchange(from: &Namespace, to: &Namespace, address: IpAddr, bytes: usize) -> Sum {
    let listener = listen(to, address);
    let target = listener.local_addr().expect("an address");
    std::thread::scope(|scope| {
        let far = scope.spawn(|| {
            let (stream, _) = listener.accept().expect("a connection comes");
            bounded(&stream);
            both_ways(&stream, bytes, 2)
        });
        let near = both_ways(&connect(from, target), bytes, 1);
        let far = far.join().expect("the other end");
        assert_eq!(near.0, far.1, "what was sent and what has come");
        assert_eq!(far.0, near.1, "what was sent and what has come back");
        far.1
    })
}

/// Sends and receives at the same time; the sums of both.
fn both_ways(stream: &TcpStream, bytes: usize, seed: u64) -> (Sum, Sum) {
    std::thread::scope(|scope| {
        let sends = scope.spawn(|| send(stream, bytes, seed));
        let received = receive(stream, bytes);
        (sends.join().expect("the sending thread"), received)
    })
}

/// Sends so many bytes, which `seed` determines.
pub fn send(mut stream: &TcpStream, bytes: usize, seed: u64) -> Sum {
    let mut sum = Sum::default();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut piece = vec![0; PIECE];
    for _ in 0..bytes.div_ceil(PIECE) {
        for word in piece.as_chunks_mut::<8>().0 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *word = state.to_le_bytes();
        }
        stream.write_all(&piece).expect("a piece is taken");
        sum.add(&piece);
    }
    sum
}

/// Receives as many bytes as [`send`] sends.
pub fn receive(mut stream: &TcpStream, bytes: usize) -> Sum {
    let mut sum = Sum::default();
    let mut piece = vec![0; PIECE];
    for _ in 0..bytes.div_ceil(PIECE) {
        stream.read_exact(&mut piece).expect("a piece comes");
        sum.add(&piece);
    }
    sum
}
