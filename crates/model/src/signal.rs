//! Signal dispositions and signals that wait.

/// Bytes of a kernel `siginfo_t`.
pub const SIGINFO_SIZE: usize = 128;

/// A set of signals, bit n-1 for signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalMask(pub u64);

impl SignalMask {
    pub const EMPTY: SignalMask = SignalMask(0);
    pub const ALL: SignalMask = SignalMask(u64::MAX);

    pub fn contains(self, signal: i32) -> bool {
        (1..=64).contains(&signal) && self.0 & (1 << (signal - 1)) != 0
    }

    #[must_use]
    pub fn with(self, signal: i32) -> Self {
        assert!((1..=64).contains(&signal), "signal {signal} is not a signal");
        SignalMask(self.0 | 1 << (signal - 1))
    }

    #[must_use]
    pub fn without(self, signal: i32) -> Self {
        assert!((1..=64).contains(&signal), "signal {signal} is not a signal");
        SignalMask(self.0 & !(1 << (signal - 1)))
    }
}

/// What rt_sigaction(2) reports, in the kernel's own form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalAction {
    /// Address of the handler, 0 for `SIG_DFL`, 1 for `SIG_IGN`.
    pub handler: u64,
    pub flags: u64,
    pub restorer: u64,
    pub mask: SignalMask,
}

/// A signal that was sent and not yet taken, with its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingSignal {
    /// The raw `siginfo_t`.
    pub siginfo: [u8; SIGINFO_SIZE],
}

impl PendingSignal {
    /// `si_signo`.
    pub fn signal(&self) -> i32 {
        i32::from_ne_bytes(self.siginfo[..4].try_into().expect("four bytes"))
    }
}
