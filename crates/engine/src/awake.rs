//! Keeping idle processors awake while tasks are woken one after the other.
//!
//! On a virtual machine an idle processor halts, and to wake it the hypervisor must send it an interrupt. As long
//! as the device of `power/pm_qos_interface` (kernel documentation) is open, idle processors wait in a loop
//! instead. That takes from whoever shares a core with them, so it is for many tasks and for moments only.

use std::{
    fs::{File, OpenOptions},
    io::Write,
};

use stasis_tracee::FEW;

/// Idle processors stay awake until it is dropped; the kernel sees to that if we die.
#[derive(Debug)]
pub struct Awake {
    _device: File,
}

impl Awake {
    /// `None` if there are few threads to wake, or the device is not ours to use; then it takes longer.
    pub fn for_threads(nr_threads: usize) -> Option<Self> {
        const NO_LATENCY_US: i32 = 0;
        if nr_threads < FEW {
            return None;
        }
        let mut device = OpenOptions::new().write(true).open("/dev/cpu_dma_latency").ok()?;
        device.write_all(&NO_LATENCY_US.to_ne_bytes()).ok()?;
        Some(Awake { _device: device })
    }
}
