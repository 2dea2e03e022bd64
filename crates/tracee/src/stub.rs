//! The stub: machine code that executes a list of system calls and then stops.
//!
//! A record is eleven words: call number, six arguments, address that also gets the result (or 0),
//! "go on after an error" (or 0), result, spare. Registers on entry: `rbx` first record, `rbp` end of the
//! records, `r12` process id, `r13` thread id, `r14` signal to stop with, `r15` stack pointer for
//! rt_sigreturn(2). None of them is changed by system calls.
//!
//! The stop is a signal that the thread sends to itself and that the supervisor takes away again. It
//! is one that does nothing by default, so that without a supervisor the thread just goes on to the
//! rt_sigreturn(2), whereas a breakpoint would kill it. A thread that is kept on one processor ([`HELD`]) first
//! takes back its own.
//!
//! A thread that a record bears (clone3(2) with a stack) begins with a list of its own: it takes `rbx`, `rbp`, `r13`
//! and `r14` from its stack. At the end of its list it sends nothing and waits ([`BORN`]).

/// Words of a record.
pub const RECORD_WORDS: usize = 11;
pub const RECORD_BYTES: usize = RECORD_WORDS * 8;

/// Index of the word with the result.
pub const RESULT: usize = 9;

/// Offset of the instruction after the stop.
pub const AFTER_STOP: u64 = 0x6f;

/// `syscall` instruction of the stub, for bare calls of blanks.
pub const SYSCALL: u64 = 0x22;

/// Offset of the instruction after the pause(2) in which born threads wait.
pub const AFTER_PAUSE: u64 = 0xa2;

/// Set in `r14` beside the signal, which is a 32-bit number for the kernel: the thread is kept on one processor,
/// and its own set of processors lies right below the frame.
pub const HELD: u64 = 1 << 32;

/// Set in `r14` in place of a signal: the thread was born by a record and has no frame to return to.
pub const BORN: u64 = 1 << 33;

pub const CODE: &[u8] = &[
    // next:
    0x48, 0x39, 0xeb, // 00: cmp rbx, rbp
    0x73, 0x5a, // 03: jae done
    0x48, 0x8b, 0x03, // 05: mov rax, [rbx]
    0x48, 0x8b, 0x7b, 0x08, // 08: mov rdi, [rbx+8]
    0x48, 0x8b, 0x73, 0x10, // 0c: mov rsi, [rbx+16]
    0x48, 0x8b, 0x53, 0x18, // 10: mov rdx, [rbx+24]
    0x4c, 0x8b, 0x53, 0x20, // 14: mov r10, [rbx+32]
    0x4c, 0x8b, 0x43, 0x28, // 18: mov r8, [rbx+40]
    0x4c, 0x8b, 0x4b, 0x30, // 1c: mov r9, [rbx+48]
    0x66, 0x90, // 20: nop
    0x0f, 0x05, // 22: syscall
    0x48, 0x85, 0xc0, // 24: test rax, rax
    0x75, 0x09, // 27: jnz returned
    0x48, 0x81, 0x3b, 0xb3, 0x01, 0x00, 0x00, // 29: cmp qword [rbx], 435 (clone3)
    0x74, 0x25, // 30: je born
    // returned:
    0x48, 0x89, 0x43, 0x48, // 32: mov [rbx+72], rax
    0x48, 0x8b, 0x4b, 0x38, // 36: mov rcx, [rbx+56]
    0x48, 0x85, 0xc9, // 3a: test rcx, rcx
    0x74, 0x03, // 3d: jz plain
    0x48, 0x89, 0x01, // 3f: mov [rcx], rax
    // plain:
    0x48, 0x83, 0x7b, 0x40, 0x00, // 42: cmp qword [rbx+64], 0
    0x75, 0x08, // 47: jne step
    0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, // 49: cmp rax, -4095
    0x73, 0x0e, // 4f: jae done
    // step:
    0x48, 0x83, 0xc3, 0x58, // 51: add rbx, 88
    0xeb, 0xa9, // 55: jmp next
    // born:
    0x5b, // 57: pop rbx
    0x5d, // 58: pop rbp
    0x41, 0x5d, // 59: pop r13
    0x41, 0x5e, // 5b: pop r14
    0xeb, 0xa1, // 5d: jmp next
    // done:
    0xb8, 0xea, 0x00, 0x00, 0x00, // 5f: mov eax, 234 (tgkill)
    0x4c, 0x89, 0xe7, // 64: mov rdi, r12
    0x4c, 0x89, 0xee, // 67: mov rsi, r13
    0x4c, 0x89, 0xf2, // 6a: mov rdx, r14
    0x0f, 0x05, // 6d: syscall
    // after_stop:
    0x49, 0x0f, 0xba, 0xe6, 0x21, // 6f: bt r14, 33
    0x72, 0x25, // 74: jc wait
    0x49, 0x0f, 0xba, 0xe6, 0x20, // 76: bt r14, 32
    0x73, 0x12, // 7b: jnc return
    0xb8, 0xcb, 0x00, 0x00, 0x00, // 7d: mov eax, 203 (sched_setaffinity)
    0x31, 0xff, // 82: xor edi, edi
    0xbe, 0x80, 0x00, 0x00, 0x00, // 84: mov esi, 128
    0x49, 0x8d, 0x57, 0x80, // 89: lea rdx, [r15-128]
    0x0f, 0x05, // 8d: syscall
    // return:
    0x4c, 0x89, 0xfc, // 8f: mov rsp, r15
    0xb8, 0x0f, 0x00, 0x00, 0x00, // 92: mov eax, 15 (rt_sigreturn)
    0x0f, 0x05, // 97: syscall
    0x0f, 0x0b, // 99: ud2
    // wait:
    0xb8, 0x22, 0x00, 0x00, 0x00, // 9b: mov eax, 34 (pause)
    0x0f, 0x05, // a0: syscall
    0xeb, 0xf7, // a2: jmp wait
];

/// A program of one page whose only instructions are `pause(2)` in a loop: the first blank. Exec of it
/// leaves an almost empty address space.
///
/// A static ELF with one read-and-execute segment at [`BLANK_BASE`] and a stack that need not be executable.
pub fn blank_elf() -> Vec<u8> {
    let len = BLANK_CODE_AT + (BLANK_CODE.len() + FOOTHOLD_NAME.len()) as u64;
    let mut elf = Vec::new();
    elf.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend_from_slice(&2u16.to_le_bytes()); // executable
    elf.extend_from_slice(&62u16.to_le_bytes()); // x86-64
    elf.extend_from_slice(&1u32.to_le_bytes());
    elf.extend_from_slice(&(BLANK_BASE + BLANK_CODE_AT).to_le_bytes()); // entry
    elf.extend_from_slice(&64u64.to_le_bytes()); // program headers
    elf.extend_from_slice(&0u64.to_le_bytes());
    elf.extend_from_slice(&0u32.to_le_bytes());
    for half in [64u16, 56, 2, 64, 0, 0] {
        elf.extend_from_slice(&half.to_le_bytes());
    }
    let segment = |kind: u32, flags: u32, address: u64, len: u64, align: u64| {
        let mut header = Vec::new();
        header.extend_from_slice(&kind.to_le_bytes());
        header.extend_from_slice(&flags.to_le_bytes());
        for word in [0, address, address, len, len, align] {
            header.extend_from_slice(&u64::to_le_bytes(word));
        }
        header
    };
    elf.extend(segment(1, 5, BLANK_BASE, len, 4096)); // PT_LOAD
    elf.extend(segment(0x6474_e551, 6, 0, 0, 16)); // PT_GNU_STACK
    elf.extend_from_slice(&BLANK_CODE);
    elf.extend_from_slice(FOOTHOLD_NAME);
    elf
}

/// Offset of the instructions, behind the header and two program headers.
const BLANK_CODE_AT: u64 = 64 + 2 * 56;

const BLANK_CODE: [u8; 9] = [0xb8, 0x22, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]; // mov eax, 34; syscall; jmp -9

/// What the foothold of blanks is called among their mappings.
const FOOTHOLD_NAME: &[u8] = b"stasis-foothold\0";

/// Address of that name in a fresh blank.
pub const BLANK_FOOTHOLD_NAME: u64 = BLANK_BASE + BLANK_CODE_AT + BLANK_CODE.len() as u64;

/// Where the blank's page lies.
pub const BLANK_BASE: u64 = 0x10000;

/// Address of the `syscall` instruction in a fresh blank.
pub const BLANK_SYSCALL: u64 = BLANK_BASE + BLANK_CODE_AT + 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// The target of a short jump at `at`.
    fn target(at: usize) -> usize {
        let displacement = i64::from(CODE[at + 1].cast_signed());
        usize::try_from(at as i64 + 2 + displacement).unwrap()
    }

    #[test]
    fn jumps_land_where_the_listing_says() {
        assert_eq!(target(0x03), 0x5f, "empty list");
        assert_eq!(target(0x27), 0x32, "not zero");
        assert_eq!(target(0x30), 0x57, "born");
        assert_eq!(target(0x3d), 0x42, "no second result");
        assert_eq!(target(0x47), 0x51, "tolerant");
        assert_eq!(target(0x4f), 0x5f, "error");
        assert_eq!(target(0x55), 0x00, "loop");
        assert_eq!(target(0x5d), 0x00, "list of its own");
        assert_eq!(target(0x74), 0x9b, "born threads wait");
        assert_eq!(target(0x7b), 0x8f, "not held");
        assert_eq!(target(0xa2), 0x9b, "waits on");
        assert_eq!(CODE[SYSCALL as usize..][..2], [0x0f, 0x05]);
        assert_eq!(CODE[0x51 + 3] as usize, RECORD_BYTES);
        assert_eq!(CODE[AFTER_STOP as usize - 2..][..2], [0x0f, 0x05]);
        assert_eq!(CODE[AFTER_PAUSE as usize - 2..][..2], [0x0f, 0x05]);
        assert_eq!(usize::from(CODE[0x85]), crate::affinity::SET_LEN);
        assert_eq!(usize::from(CODE[0x8c].cast_signed().unsigned_abs()), crate::affinity::SET_LEN);
    }

    #[test]
    fn blank_is_small() {
        let elf = blank_elf();
        assert!(elf.len() < 344);
        let at = (BLANK_SYSCALL - BLANK_BASE) as usize;
        assert_eq!(elf[at..at + 2], [0x0f, 0x05]);
        assert_eq!(elf[(BLANK_FOOTHOLD_NAME - BLANK_BASE) as usize..], *FOOTHOLD_NAME);
    }
}
