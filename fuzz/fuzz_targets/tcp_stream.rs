//! The queues of a TCP connection: they lie inside the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stasis_files::{tcp_queues, wire::framing::RecordWriter, wire::magic::format_of};

fuzz_target!(|bytes: &[u8]| {
    let name = "tcp-stream-1.img";
    let mut file = RecordWriter::new(format_of(name).unwrap());
    file.raw(bytes);
    let file = file.into_bytes();
    let len = file.len() as u64;
    if let Ok(queues) = tcp_queues(name, file.as_slice(), len) {
        let lengths = u64::from(queues.received_bytes) + u64::from(queues.outgoing_bytes);
        assert!(queues.start.checked_add(lengths).unwrap() <= len);
    }
});
