//! How far a TCP connection has come: the states of the kernel that a socket with an end can be in.

use stasis_model::SocketState;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    SynSent,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    LastAck,
    Closing,
    Closed,
}

impl Phase {
    pub fn of(state: SocketState) -> Option<Phase> {
        match state {
            SocketState::Established => Some(Phase::Established),
            SocketState::Closed => Some(Phase::Closed),
            SocketState::Other(2) => Some(Phase::SynSent),
            SocketState::Other(4) => Some(Phase::FinWait1),
            SocketState::Other(5) => Some(Phase::FinWait2),
            SocketState::Other(8) => Some(Phase::CloseWait),
            SocketState::Other(9) => Some(Phase::LastAck),
            SocketState::Other(11) => Some(Phase::Closing),
            SocketState::Listening | SocketState::Other(_) => None,
        }
    }

    pub fn has_received_fin(self) -> bool {
        match self {
            Phase::CloseWait | Phase::LastAck | Phase::Closing | Phase::Closed => true,
            Phase::SynSent | Phase::Established | Phase::FinWait1 | Phase::FinWait2 => false,
        }
    }

    pub fn has_sent_fin(self) -> bool {
        match self {
            Phase::FinWait1 | Phase::FinWait2 | Phase::LastAck | Phase::Closing | Phase::Closed => {
                true
            }
            Phase::SynSent | Phase::Established | Phase::CloseWait => false,
        }
    }

    /// The FIN that was sent is still in the send queue.
    pub fn has_fin_in_queue(self) -> bool {
        match self {
            Phase::FinWait1 | Phase::LastAck | Phase::Closing => true,
            Phase::SynSent
            | Phase::Established
            | Phase::FinWait2
            | Phase::CloseWait
            | Phase::Closed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_the_kernel_that_have_an_end() {
        let of = |number| Phase::of(SocketState::from_number(number));
        let known: Vec<u32> = (0..14).filter(|number| of(*number).is_some()).collect();
        assert_eq!(known, [1, 2, 4, 5, 7, 8, 9, 11]);
    }

    #[test]
    fn a_fin_in_the_queue_was_sent() {
        for number in 0..14 {
            let Some(phase) = Phase::of(SocketState::from_number(number)) else { continue };
            assert!(phase.has_sent_fin() || !phase.has_fin_in_queue(), "{phase:?}");
        }
    }
}
