//! `/proc/PID/net/tcp` and `tcp6`: all TCP sockets of a network namespace (proc_pid_net(5)).

use std::net::{IpAddr, SocketAddr};

/// The remote end of the socket with this inode, connected or about to be.
///
/// Lines that are not understood are passed over.
pub fn remote_end(table: &[u8], inode: u64) -> Option<SocketAddr> {
    let text = std::str::from_utf8(table).ok()?;
    let mut fields = text.lines().skip(1).map(|line| line.split_ascii_whitespace());
    fields.find_map(|mut fields| {
        let remote = fields.nth(2)?;
        let found: u64 = fields.nth(6)?.parse().ok()?;
        if found == inode { end(remote) } else { None }
    })
}

/// An address as words of the machine's own order, and a port in plain hexadecimal.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok();
    let address: IpAddr = match address.len() {
        8 => word(0)?.to_ne_bytes().into(),
        32 => {
            let mut bytes = [0; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(index * 8)?.to_ne_bytes());
            }
            bytes.into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &[u8] = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
        uid  timeout inode\n   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 \
        0        0 27 1 0000000000000000 100 0 0 10 0\n   1: 0100007F:B2DC 0200000A:0050 02 \
        00000001:00000000 01:00000064 00000000     0        0 28 2 0000000000000000 100 0 0 10 -1\n";
    const V6: &[u8] = b"head\n 0: 00000000000000000000000001000000:0050 \
        B80D0120000000000000000009000000:01BB 02 0:0 00:0 0 0 0 5 1\n";

    #[test]
    fn ends_of_both_families() {
        assert_eq!(remote_end(V4, 28), Some("10.0.0.2:80".parse().unwrap()));
        assert_eq!(remote_end(V4, 29), None);
        assert_eq!(remote_end(V6, 5), Some("[2001:db8::9]:443".parse().unwrap()));
    }

    #[test]
    fn what_is_not_understood_is_passed_over() {
        assert_eq!(remote_end(b"", 1), None);
        assert_eq!(remote_end(b"head\nx\n 0: a b c\n 0: 0:0 12:zz 0 0 0 0 0 0 1\n\xff", 1), None);
        assert_eq!(remote_end(b"head\n 0: 0:0 \xc3\xa90000000000:1 0 0 0 0 0 0 1\n", 1), None);
    }
}
