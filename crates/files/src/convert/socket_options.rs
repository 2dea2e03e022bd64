//! Options of all sockets.

use stasis_model::{FurtherOption, SocketOptions};

use crate::wire::{extension, sk_opts::SkOptsEntry};

/// What the family of a socket makes different.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Unix,
    Inet,
}

pub(super) fn encode(options: &SocketOptions, family: Family) -> SkOptsEntry {
    // CRIU asks only unix sockets for these two.
    let unix_only = |value| (value || family == Family::Unix).then_some(value);
    SkOptsEntry {
        so_sndbuf: options.send_buffer,
        so_rcvbuf: options.receive_buffer,
        so_snd_tmo_sec: options.send_timeout.0,
        so_snd_tmo_usec: options.send_timeout.1,
        so_rcv_tmo_sec: options.receive_timeout.0,
        so_rcv_tmo_usec: options.receive_timeout.1,
        reuseaddr: Some(options.reuse_address),
        so_priority: options.priority,
        so_rcvlowat: options.receive_low_water,
        so_mark: options.mark,
        so_passcred: unix_only(options.pass_credentials),
        so_passsec: unix_only(options.pass_security),
        so_dontroute: Some(options.dont_route),
        so_no_check: Some(options.no_check),
        so_bound_dev: options.bound_device.clone(),
        so_filter: options.filter.clone(),
        so_reuseport: Some(options.reuse_port),
        so_broadcast: Some(options.broadcast),
        so_keepalive: Some(options.keep_alive),
        so_oobinline: options.out_of_band_inline,
        so_linger: options.linger,
        so_buf_lock: options.buffer_lock,
        further: options.further.iter().map(encode_further).collect(),
        ..Default::default()
    }
}

pub(super) fn decode(entry: &SkOptsEntry) -> SocketOptions {
    SocketOptions {
        send_buffer: entry.so_sndbuf,
        receive_buffer: entry.so_rcvbuf,
        send_timeout: (entry.so_snd_tmo_sec, entry.so_snd_tmo_usec),
        receive_timeout: (entry.so_rcv_tmo_sec, entry.so_rcv_tmo_usec),
        reuse_address: entry.reuseaddr == Some(true),
        reuse_port: entry.so_reuseport == Some(true),
        priority: entry.so_priority,
        receive_low_water: entry.so_rcvlowat,
        mark: entry.so_mark,
        pass_credentials: entry.so_passcred == Some(true),
        pass_security: entry.so_passsec == Some(true),
        dont_route: entry.so_dontroute == Some(true),
        no_check: entry.so_no_check == Some(true),
        bound_device: entry.so_bound_dev.clone(),
        filter: entry.so_filter.clone(),
        broadcast: entry.so_broadcast == Some(true),
        keep_alive: entry.so_keepalive == Some(true),
        out_of_band_inline: entry.so_oobinline,
        linger: entry.so_linger,
        buffer_lock: entry.so_buf_lock,
        further: entry.further.iter().map(decode_further).collect(),
    }
}

fn encode_further(option: &FurtherOption) -> extension::FurtherOption {
    let FurtherOption { level, name, value } = *option;
    extension::FurtherOption { level, name, value }
}

fn decode_further(option: &extension::FurtherOption) -> FurtherOption {
    let extension::FurtherOption { level, name, value } = *option;
    FurtherOption { level, name, value }
}
